//! Which pixels belong to a ring, and what was counted there?
//!
//! A pixel belongs to a ring when `q_min <= q < q_max` at the pixel's center, after the ellipse.
//! The [`Annulus`] is the widest ring that is kept; a [`Ring`] is a part of it.

use ndarray::{Array2, Array3, Array4, s};
use serde::{Deserialize, Serialize};

use crate::axes::QRange;
use crate::calibrate::Calibration;
use crate::error::{Error, Result};

pub(crate) mod pixel_series;
pub mod select;
mod turn;

pub use pixel_series::PixelSeries;

/// Fewer pixels than this on a ring give no useful mean: the error of a ring mean would exceed 20 %.
pub const MIN_RING_PIXELS: usize = 8;

/// The pixels of a range of spatial frequency on the common, centered and binned grid.
///
/// One entry a pixel in each vector, row by row.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Annulus {
    /// The range.
    pub range: QRange,
    /// Native pixels that are summed along each side of a binned pixel.
    pub bin: usize,
    /// Rows of the binned grid.
    pub grid_rows: usize,
    /// Columns of the binned grid.
    pub grid_cols: usize,
    /// Row on the binned grid.
    pub row: Vec<u32>,
    /// Column on the binned grid.
    pub col: Vec<u32>,
    /// Spatial frequency.
    pub q_per_nm: Vec<f64>,
    /// Azimuth from +column toward +row, in (−π, π].
    pub azimuth_rad: Vec<f64>,
    /// Share of the native pixels of the binned pixel that are valid; counts are sums over those.
    pub coverage: Vec<f64>,
}

impl Annulus {
    /// Number of pixels.
    pub fn len(&self) -> usize {
        self.q_per_nm.len()
    }

    /// Whether there is no pixel.
    pub fn is_empty(&self) -> bool {
        self.q_per_nm.is_empty()
    }

    /// Spatial frequency a binned pixel.
    pub fn q_step_per_nm(&self, calibration: &Calibration) -> f64 {
        calibration.q_step_per_nm * self.bin as f64
    }

    /// The pixels of a narrower range.
    ///
    /// # Errors
    ///
    /// [`Error::RingOutside`] where the range reaches beyond the annulus, [`Error::EmptyRing`] where it holds
    /// fewer than [`MIN_RING_PIXELS`] pixels.
    pub fn ring(&self, range: QRange) -> Result<Ring> {
        if !self.range.covers(&range) {
            return Err(Error::RingOutside {
                what: "the stored annulus",
                q_min_per_nm: range.min_per_nm,
                q_max_per_nm: range.max_per_nm,
                available_min_per_nm: self.range.min_per_nm,
                available_max_per_nm: self.range.max_per_nm,
            });
        }
        let pixels: Vec<usize> = (0..self.len())
            .filter(|&pixel| range.contains(self.q_per_nm[pixel]))
            .collect();
        if pixels.len() < MIN_RING_PIXELS {
            return Err(Error::EmptyRing {
                q_min_per_nm: range.min_per_nm,
                q_max_per_nm: range.max_per_nm,
                n_pixels: pixels.len(),
                needed: MIN_RING_PIXELS,
            });
        }
        Ok(Ring { range, pixels })
    }
}

/// A part of an [`Annulus`].
#[derive(Debug, Clone, PartialEq)]
pub struct Ring {
    /// The range of spatial frequency.
    pub range: QRange,
    /// Indices into the annulus, increasing.
    pub pixels: Vec<usize>,
}

/// Counts on the annulus, `[row, col, time, pixel]`, in the narrowest type that holds them.
///
/// Unsigned integers are exact counts; `F32` after dark or gain correction and for signed or floating input,
/// where NaN marks a sample that is missing.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs, reason = "each variant is the number type that it names")]
pub enum RingCounts {
    U8(Array4<u8>),
    U16(Array4<u16>),
    U32(Array4<u32>),
    F32(Array4<f32>),
}

/// Calls `$body` with `$counts` bound to the typed array inside a [`RingCounts`].
#[macro_export]
macro_rules! with_counts {
    ($value:expr, $counts:ident => $body:expr) => {
        match $value {
            $crate::ring::RingCounts::U8($counts) => $body,
            $crate::ring::RingCounts::U16($counts) => $body,
            $crate::ring::RingCounts::U32($counts) => $body,
            $crate::ring::RingCounts::F32($counts) => $body,
        }
    };
}

/// The counts of a block of scan rows on the annulus: the compact cube that every analysis starts from.
#[derive(Debug, Clone, PartialEq)]
pub struct RingSeries {
    /// First scan row of the block, in the analyzed region.
    pub first_row: usize,
    /// First scan column of the block, in the analyzed region.
    pub first_col: usize,
    /// `[row, col, time, pixel]`.
    pub counts: RingCounts,
    /// Frames that hold data, `[row, col, time]`.
    pub frame_valid: Array3<bool>,
    /// Pixels that can be trusted at each position, `[row, col, pixel]`; `None` where all can.
    pub pixel_valid: Option<Array3<bool>>,
}

impl RingSeries {
    /// Shape `(rows, cols, times, pixels)`.
    pub fn dim(&self) -> (usize, usize, usize, usize) {
        with_counts!(&self.counts, counts => counts.dim())
    }

    /// Whether the counts are exact integers, so that factorial statistics hold.
    pub fn is_integer(&self) -> bool {
        !matches!(self.counts, RingCounts::F32(_))
    }

    /// Counts of one position of the block on some pixels, `[time, pixel]`.
    pub fn position(&self, row: usize, col: usize, pixels: &[usize]) -> Array2<f64> {
        with_counts!(&self.counts, counts => {
            let series = counts.slice(s![row, col, .., ..]);
            let mut chosen = Vec::with_capacity(series.nrows() * pixels.len());
            for scan in series.rows() {
                chosen.extend(pixels.iter().map(|&pixel| f64::from(scan[pixel])));
            }
            Array2::from_shape_vec((series.nrows(), pixels.len()), chosen)
                .expect("one count a scan and pixel")
        })
    }
}
