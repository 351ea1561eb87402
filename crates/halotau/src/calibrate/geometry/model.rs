//! The parameters of the geometry of a scan.

use ndarray::Array2;

use super::super::{Descan, Ellipse};

/// The mean pattern of a block of positions on the grid that is fitted; NaN for pixels that are not used.
#[derive(Debug, Clone)]
pub(crate) struct Block {
    pub(crate) row: f64,
    pub(crate) col: f64,
    pub(crate) pattern: Array2<f64>,
}

/// What is not to be fitted, in pixels of the grid.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Fixed {
    pub(crate) center: bool,
    pub(crate) descan: bool,
    pub(crate) ellipse: bool,
}

/// Where the pattern lies, in pixels of the grid that was fitted.
#[derive(Debug, Clone)]
pub(crate) struct Model {
    /// Coefficients of the center's row and column over (1, u, v, u², uv, v²); u and v count scan rows and columns from the
    /// middle of the scan.
    pub(crate) row: [f64; 6],
    pub(crate) col: [f64; 6],
    pub(crate) ellipse: [f64; 2],
}

impl Model {
    pub(crate) fn new(center: (f64, f64), descan: &Descan, ellipse: &Ellipse) -> Self {
        let [a, b, c] = descan.row_quadratic;
        let [d, e, f] = descan.col_quadratic;
        Self {
            row: [center.0, descan.row_per_row, descan.row_per_col, a, b, c],
            col: [center.1, descan.col_per_row, descan.col_per_col, d, e, f],
            ellipse: ellipse.components(),
        }
    }

    pub(crate) fn descan(&self) -> Descan {
        Descan {
            row_per_row: self.row[1],
            row_per_col: self.row[2],
            col_per_row: self.col[1],
            col_per_col: self.col[2],
            row_quadratic: [self.row[3], self.row[4], self.row[5]],
            col_quadratic: [self.col[3], self.col[4], self.col[5]],
        }
    }

    pub(crate) fn ellipse(&self) -> Ellipse {
        Ellipse::of_components(self.ellipse)
    }

    pub(crate) fn center(&self, basis: &[f64; 6]) -> (f64, f64) {
        let sum = |c: &[f64; 6]| c.iter().zip(basis).map(|(c, b)| c * b).sum();
        (sum(&self.row), sum(&self.col))
    }

    /// Parameter by its number: row and column coefficients by turns, then the ellipse.
    pub(super) fn parameter(&mut self, at: usize) -> &mut f64 {
        match at {
            0..12 if at.is_multiple_of(2) => &mut self.row[at / 2],
            0..12 => &mut self.col[at / 2],
            _ => &mut self.ellipse[at - 12],
        }
    }
}

/// (1, u, v, u², uv, v²) of a scan position counted from the middle of the scan.
pub(crate) fn basis(u: f64, v: f64) -> [f64; 6] {
    [1.0, u, v, u * u, u * v, v * v]
}

/// Six coefficients of either coordinate, and two of the ellipse.
pub(super) const N_PARAMETERS: usize = 14;
