//! Where on the detector is which spatial frequency, and which pixels can be trusted?
//!
//! ```text
//! q = q_step · |E⁻¹ (pixel − center(position))|          pixel, center in native detector pixels
//! ```
//!
//! `E` is the ellipse: a circle of radius r becomes an ellipse of the same mean radius.

use ndarray::Array2;
use serde::{Deserialize, Serialize};

use crate::axes::QRange;

pub mod beam_stop;
pub mod center;
pub mod geometry;
pub(crate) mod linear;
pub mod mask;
pub mod measure;
pub mod pixels;
pub mod profile;
pub mod scale;
pub(crate) mod symmetry;

/// An elliptic distortion that preserves the mean radius.
///
/// Along the direction `angle_rad` (from +column toward +row, in `[0, π)`) radii are stretched by `1 + distortion`,
/// across it by `1 − distortion`.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Ellipse {
    /// Half of the relative difference of the axes; 0.01 means axes of 1.01 and 0.99.
    pub distortion: f64,
    /// Direction of the long axis, from +column toward +row.
    pub angle_rad: f64,
}

impl Ellipse {
    /// Undoes the distortion of a displacement (row, col) from the center.
    pub fn undo(&self, row: f64, col: f64) -> (f64, f64) {
        if self.distortion == 0.0 {
            return (row, col);
        }
        let (sin, cos) = (libm::sin(self.angle_rad), libm::cos(self.angle_rad));
        let along = (cos * col + sin * row) / (1.0 + self.distortion);
        let across = (cos * row - sin * col) / (1.0 - self.distortion);
        (sin * along + cos * across, cos * along - sin * across)
    }
}

/// Movement of the pattern over the scan: pattern pixels a scan step, linear in scan row and column, and quadratic where
/// needed.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Descan {
    /// Pattern rows a scan row.
    pub row_per_row: f64,
    /// Pattern rows a scan column.
    pub row_per_col: f64,
    /// Pattern columns a scan row.
    pub col_per_row: f64,
    /// Pattern columns a scan column.
    pub col_per_col: f64,
    /// Pattern rows a squared scan row, a scan row times a scan column, and a squared scan column, from the middle of the scan.
    #[serde(skip_serializing_if = "is_zero")]
    pub row_quadratic: [f64; 3],
    /// As `row_quadratic`, pattern columns.
    #[serde(skip_serializing_if = "is_zero")]
    pub col_quadratic: [f64; 3],
}

fn is_zero(coefficients: &[f64; 3]) -> bool {
    *coefficients == [0.0; 3]
}

impl Descan {
    /// Displacement (pattern rows, pattern columns) at a position counted in scan rows and columns from the middle of the scan.
    pub fn at(&self, row: f64, col: f64) -> (f64, f64) {
        let quadratic = |[a, b, c]: [f64; 3]| a * row * row + b * row * col + c * col * col;
        (
            self.row_per_row * row + self.row_per_col * col + quadratic(self.row_quadratic),
            self.col_per_row * row + self.col_per_col * col + quadratic(self.col_quadratic),
        )
    }
}

/// Where the center came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CenterOrigin {
    /// Stated by the user.
    Given,
    /// Found from the halo of the mean pattern.
    Halo,
}

/// Geometry and pixels of the detector for one series.
///
/// Coordinates are native detector pixels (before binning), 0 at the center of the first pixel.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Calibration {
    /// Row of the pattern center at the middle of the scan.
    pub center_row: f64,
    /// Column of the pattern center at the middle of the scan.
    pub center_col: f64,
    /// Standard error of either coordinate; 0 where the center was given.
    pub center_error: f64,
    /// How the center was found.
    pub center_origin: CenterOrigin,
    /// Movement of the center over the scan.
    pub descan: Descan,
    /// Elliptic distortion.
    pub ellipse: Ellipse,
    /// Spatial frequency a native pixel.
    pub q_step_per_nm: f64,
    /// Native detector pixels that can be trusted, `[pattern row, pattern col]`.
    #[serde(skip)]
    pub pixel_valid: Array2<bool>,
}

impl Calibration {
    /// A given center without descan and ellipse.
    ///
    /// # Example
    ///
    /// ```
    /// use halotau::calibrate::Calibration;
    /// use halotau::ndarray::Array2;
    /// let calibration = Calibration::centered((2.0, 2.0), 0.5, Array2::from_elem((5, 5), true));
    /// // Two pixels to the right of the center: q = 1 1/nm, azimuth 0.
    /// assert_eq!(calibration.polar(0.0, 2.0), (1.0, 0.0));
    /// ```
    pub fn centered(
        (center_row, center_col): (f64, f64),
        q_step_per_nm: f64,
        pixel_valid: Array2<bool>,
    ) -> Self {
        Self {
            center_row,
            center_col,
            center_error: 0.0,
            center_origin: CenterOrigin::Given,
            descan: Descan::default(),
            ellipse: Ellipse::default(),
            q_step_per_nm,
            pixel_valid,
        }
    }

    /// Spatial frequency and azimuth (from +column toward +row, in `(−π, π]`) of a displacement from the center,
    /// in native pixels.
    pub fn polar(&self, row: f64, col: f64) -> (f64, f64) {
        let (row, col) = self.ellipse.undo(row, col);
        (
            libm::hypot(row, col) * self.q_step_per_nm,
            libm::atan2(row, col),
        )
    }

    /// Share of a range's area (a ring of whole circles) whose pixels are on the detector and valid.
    pub fn usable_share(&self, range: QRange) -> f64 {
        let valid = self.pixel_valid.indexed_iter().filter(|(_, valid)| **valid);
        let n_valid = valid
            .filter(|((row, col), _)| {
                let (row, col) = (*row as f64 - self.center_row, *col as f64 - self.center_col);
                range.contains(self.polar(row, col).0)
            })
            .count();
        // An ellipse of this convention has the area of its circle but for distortion².
        let (min, max) = (range.min_per_nm.max(0.0), range.max_per_nm);
        let area = std::f64::consts::PI * (max * max - min * min) / self.q_step_per_nm.powi(2);
        (n_valid as f64 / area).min(1.0)
    }

    /// Displacement of the center at a position from the center at the middle of the scan, native pixels (row, col).
    ///
    /// `row` and `col` count scan positions of the whole scan of the file, of `n_rows` x `n_cols`.
    pub fn center_offset(
        &self,
        row: usize,
        col: usize,
        n_rows: usize,
        n_cols: usize,
    ) -> (f64, f64) {
        let row = row as f64 - (n_rows as f64 - 1.0) / 2.0;
        let col = col as f64 - (n_cols as f64 - 1.0) / 2.0;
        self.descan.at(row, col)
    }
}
