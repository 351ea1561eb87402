//! Where on the detector is which spatial frequency, and which pixels can be trusted?
//!
//! ```text
//! q = q_step · |E⁻¹ (pixel − center(position))|          pixel, center in native detector pixels
//! ```
//!
//! `E` is the ellipse: a circle of radius r becomes an ellipse of the same mean radius.

use ndarray::Array2;
use serde::{Deserialize, Serialize};

pub mod center;
pub mod mask;

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

/// Movement of the pattern over the scan: pattern pixels a scan step, linear in scan row and column.
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
        let descan = &self.descan;
        (
            descan.row_per_row * row + descan.row_per_col * col,
            descan.col_per_row * row + descan.col_per_col * col,
        )
    }
}
