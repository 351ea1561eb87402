//! Which binned pixels does an annulus take, and which native pixels does each sum?

use std::collections::BTreeSet;

use ndarray::Array2;

use super::Annulus;
use crate::axes::QRange;
use crate::calibrate::Calibration;
use crate::error::{Error, Result};

/// Whole native pixels (row, col) by which patterns are shifted to the common grid.
pub type Shift = (i32, i32);

impl Annulus {
    /// Takes the binned pixels of a range on the grid that starts at native pixel (0, 0).
    ///
    /// A binned pixel is taken where at least half of its native pixels are valid; its counts are the sum over those,
    /// and [`coverage`](Annulus::coverage) their share. `shifts` are the shifts of all positions: the beam stop stays on
    /// the detector while the pattern moves, so a pixel is taken with its largest coverage over the shifts. `margin_px`
    /// widens the range by what the centers of positions may differ from the common center after the shift.
    ///
    /// # Errors
    ///
    /// [`Error::RingOutside`] where the range begins beyond the corners of the detector; [`Error::EmptyRing`] where
    /// it holds no valid pixel.
    pub fn new(
        calibration: &Calibration,
        bin: usize,
        range: QRange,
        shifts: &BTreeSet<Shift>,
        margin_px: f64,
    ) -> Result<Self> {
        let (native_rows, native_cols) = calibration.pixel_valid.dim();
        let (grid_rows, grid_cols) = (native_rows / bin, native_cols / bin);
        let mut annulus = Self {
            range,
            bin,
            grid_rows,
            grid_cols,
            row: Vec::new(),
            col: Vec::new(),
            q_per_nm: Vec::new(),
            azimuth_rad: Vec::new(),
            coverage: Vec::new(),
        };
        let margin = margin_px * calibration.q_step_per_nm;
        let taken = QRange::new(range.min_per_nm - margin, range.max_per_nm + margin);
        let n_native = (bin * bin) as f64;
        let mut available: Option<QRange> = None;
        for row in 0..grid_rows {
            for col in 0..grid_cols {
                let (native_row, native_col) = grid_center(row, col, bin);
                let (q, azimuth) = calibration.polar(
                    native_row - calibration.center_row,
                    native_col - calibration.center_col,
                );
                available = Some(
                    available.map_or(QRange::new(q, q), |range| range.union(&QRange::new(q, q))),
                );
                if !taken.contains(q) {
                    continue;
                }
                let n_valid = shifts
                    .iter()
                    .map(|&shift| n_valid(&calibration.pixel_valid, row, col, bin, shift))
                    .max()
                    .unwrap_or(0);
                if 2 * n_valid < bin * bin || n_valid == 0 {
                    continue;
                }
                annulus.row.push(row as u32);
                annulus.col.push(col as u32);
                annulus.q_per_nm.push(q);
                annulus.azimuth_rad.push(azimuth);
                annulus.coverage.push(n_valid as f64 / n_native);
            }
        }
        if annulus.is_empty() {
            let outside = available.is_none_or(|available| {
                available.max_per_nm < range.min_per_nm || range.max_per_nm <= available.min_per_nm
            });
            return Err(if outside {
                let available = available.unwrap_or(QRange::new(0.0, 0.0));
                Error::RingOutside {
                    what: "the detector",
                    q_min_per_nm: range.min_per_nm,
                    q_max_per_nm: range.max_per_nm,
                    available_min_per_nm: available.min_per_nm,
                    available_max_per_nm: available.max_per_nm,
                }
            } else {
                Error::EmptyRing {
                    q_min_per_nm: range.min_per_nm,
                    q_max_per_nm: range.max_per_nm,
                    n_pixels: 0,
                    needed: super::MIN_RING_PIXELS,
                }
            });
        }
        Ok(annulus)
    }

    /// Which pixels have their full coverage at a shift, `[pixel]`.
    pub(crate) fn valid_at(&self, pixel_valid: &Array2<bool>, shift: Shift) -> Vec<bool> {
        let n_native = (self.bin * self.bin) as f64;
        (0..self.len())
            .map(|pixel| {
                let (row, col) = (self.row[pixel] as usize, self.col[pixel] as usize);
                let n_valid = n_valid(pixel_valid, row, col, self.bin, shift);
                n_valid as f64 / n_native == self.coverage[pixel]
            })
            .collect()
    }

    /// Spatial frequency and azimuth of each pixel where the center is off the common center by a remainder (native
    /// pixels), `[pixel]`.
    pub fn polar_at(
        &self,
        calibration: &Calibration,
        remainder: (f64, f64),
    ) -> (Vec<f64>, Vec<f64>) {
        if remainder == (0.0, 0.0) {
            return (self.q_per_nm.clone(), self.azimuth_rad.clone());
        }
        (0..self.len())
            .map(|pixel| {
                let (row, col) =
                    grid_center(self.row[pixel] as usize, self.col[pixel] as usize, self.bin);
                calibration.polar(
                    row - calibration.center_row - remainder.0,
                    col - calibration.center_col - remainder.1,
                )
            })
            .unzip()
    }
}

/// Center of a binned pixel in native pixels.
fn grid_center(row: usize, col: usize, bin: usize) -> (f64, f64) {
    let half = (bin as f64 - 1.0) / 2.0;
    ((row * bin) as f64 + half, (col * bin) as f64 + half)
}

/// Native pixels of a binned pixel at a shift that lie on the detector and are valid.
fn n_valid(pixel_valid: &Array2<bool>, row: usize, col: usize, bin: usize, shift: Shift) -> usize {
    native_pixels(row, col, bin, shift, pixel_valid.dim())
        .filter(|&(row, col)| pixel_valid[[row, col]])
        .count()
}

/// Native pixels of a binned pixel at a shift that lie on the detector.
pub(crate) fn native_pixels(
    row: usize,
    col: usize,
    bin: usize,
    shift: Shift,
    (n_rows, n_cols): (usize, usize),
) -> impl Iterator<Item = (usize, usize)> {
    let inside = move |start: usize, offset: usize, shift: i32, len: usize| {
        let at = (start * bin + offset) as i64 + i64::from(shift);
        usize::try_from(at).ok().filter(|&at| at < len)
    };
    (0..bin).flat_map(move |row_offset| {
        (0..bin).filter_map(move |col_offset| {
            Some((
                inside(row, row_offset, shift.0, n_rows)?,
                inside(col, col_offset, shift.1, n_cols)?,
            ))
        })
    })
}
