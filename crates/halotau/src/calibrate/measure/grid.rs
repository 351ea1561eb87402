//! Patterns averaged to a grid on which geometry is fitted, and the way back to native pixels.

use ndarray::Array2;

use super::super::Descan;

/// Side of the grid at most: finer detail is speckle.
const GRID_SIDE: usize = 144;

/// A pixel of the grid needs this share of its native pixels.
const MIN_COVERED: f64 = 0.7;

/// The grid on which geometry is fitted: `factor` native pixels a side.
#[derive(Debug, Clone, Copy)]
pub(super) struct Grid {
    pub(super) factor: usize,
}

impl Grid {
    pub(super) fn new((n_rows, n_cols): (usize, usize)) -> Self {
        Self {
            factor: n_rows.max(n_cols).div_ceil(GRID_SIDE).max(1),
        }
    }

    pub(super) fn scale(self) -> f64 {
        self.factor as f64
    }

    /// From the grid to native pixels.
    pub(super) fn native(self, at: (f64, f64)) -> (f64, f64) {
        let half = (self.scale() - 1.0) / 2.0;
        (at.0 * self.scale() + half, at.1 * self.scale() + half)
    }

    /// From native pixels to the grid.
    pub(super) fn of(self, at: (f64, f64)) -> (f64, f64) {
        let half = (self.scale() - 1.0) / 2.0;
        ((at.0 - half) / self.scale(), (at.1 - half) / self.scale())
    }

    /// Means of the usable pixels; NaN where too few are.
    pub(super) fn bin(self, pattern: &Array2<f64>, usable: &Array2<bool>) -> Array2<f64> {
        let factor = self.factor;
        let (n_rows, n_cols) = (pattern.nrows() / factor, pattern.ncols() / factor);
        Array2::from_shape_fn((n_rows, n_cols), |(row, col)| {
            let (mut sum, mut n) = (0.0, 0_usize);
            for r in row * factor..(row + 1) * factor {
                for c in col * factor..(col + 1) * factor {
                    if usable[[r, c]] && pattern[[r, c]].is_finite() {
                        sum += pattern[[r, c]];
                        n += 1;
                    }
                }
            }
            let enough = n as f64 >= MIN_COVERED * (factor * factor) as f64;
            if enough { sum / n as f64 } else { f64::NAN }
        })
    }
}

pub(super) fn scaled(descan: &Descan, factor: f64) -> Descan {
    Descan {
        row_per_row: factor * descan.row_per_row,
        row_per_col: factor * descan.row_per_col,
        col_per_row: factor * descan.col_per_row,
        col_per_col: factor * descan.col_per_col,
        row_quadratic: descan.row_quadratic.map(|c| factor * c),
        col_quadratic: descan.col_quadratic.map(|c| factor * c),
    }
}

/// A mask and all pixels within a distance of it.
pub(super) fn widened(mask: &Array2<bool>, pixels: usize) -> Array2<bool> {
    let (n_rows, n_cols) = mask.dim();
    let reach = pixels as i64;
    let mut wide = mask.clone();
    for ((row, col), _) in mask.indexed_iter().filter(|(_, masked)| **masked) {
        for down in -reach..=reach {
            for across in -reach..=reach {
                if down * down + across * across > reach * reach {
                    continue;
                }
                let at = (row as i64 + down, col as i64 + across);
                if (0..n_rows as i64).contains(&at.0) && (0..n_cols as i64).contains(&at.1) {
                    wide[[at.0 as usize, at.1 as usize]] = true;
                }
            }
        }
    }
    wide
}
