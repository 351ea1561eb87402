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
pub mod common_mode;
pub mod dark;
pub mod electrons;
pub mod geometry;
pub(crate) mod linear;
pub mod mask;
pub mod measure;
mod path;
pub mod pixels;
pub mod profile;
pub mod scale;
pub(crate) mod sectors;
pub mod spikes;
pub(crate) mod symmetry;

pub use path::CenterPath;

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
    /// From `distortion · cos(2 angle)` and `distortion · sin(2 angle)`, which have no edge at 0 and π.
    pub(crate) fn of_components([e1, e2]: [f64; 2]) -> Self {
        let angle = (0.5 * libm::atan2(e2, e1)).rem_euclid(std::f64::consts::PI);
        Self {
            distortion: libm::hypot(e1, e2),
            // rem_euclid of a tiny negative angle rounds to π itself.
            angle_rad: if angle < std::f64::consts::PI {
                angle
            } else {
                0.0
            },
        }
    }

    /// `distortion · cos(2 angle)` and `distortion · sin(2 angle)`.
    pub(crate) fn components(&self) -> [f64; 2] {
        let (sin, cos) = libm::sincos(2.0 * self.angle_rad);
        [self.distortion * cos, self.distortion * sin]
    }

    /// The matrix of [`Ellipse::undo`], for many displacements.
    pub(crate) fn undoing(&self) -> [[f64; 2]; 2] {
        let (row, col) = (self.undo(1.0, 0.0), self.undo(0.0, 1.0));
        [[row.0, col.0], [row.1, col.1]]
    }

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

/// A pixel (row, col) after a move by whole pixels; `None` where it leaves a pattern.
pub(crate) fn moved_pixel(
    (row, col): (usize, usize),
    (down, across): (i32, i32),
    (n_rows, n_cols): (usize, usize),
) -> Option<(usize, usize)> {
    let row = usize::try_from(row as i64 + i64::from(down)).ok()?;
    let col = usize::try_from(col as i64 + i64::from(across)).ok()?;
    (row < n_rows && col < n_cols).then_some((row, col))
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
    /// Movement of the center during the record, the same at all positions; set by [`Calibration::follow`].
    #[serde(default, skip_serializing_if = "CenterPath::is_still")]
    pub center_path: CenterPath,
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
            center_path: CenterPath::default(),
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

    /// Follows a path of the center over `n_times` scans. From then on pixels are those of the pattern where the path is zero, and
    /// a pixel is valid where it is valid wherever the path takes it: a beam stop stays on the detector while the pattern moves.
    pub fn follow(&mut self, path: CenterPath, n_times: usize) {
        let moves: std::collections::BTreeSet<(i32, i32)> =
            (0..n_times).map(|time| path.whole(time)).collect();
        let valid = &self.pixel_valid;
        self.pixel_valid = Array2::from_shape_fn(valid.dim(), |at| {
            moves
                .iter()
                .all(|&moved| moved_pixel(at, moved, valid.dim()).is_some_and(|at| valid[at]))
        });
        self.center_path = path;
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
