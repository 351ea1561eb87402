//! What does one pass over the frames keep?
//!
//! Everything that is asked later needs only the counts on an annulus, a few per cent of the data.

mod exact;
mod gather;
mod listed;
mod pass;
mod plan;
mod position;
mod tiles;
mod totals;

use ndarray::{Array2, Array3};

use crate::axes::{QRange, TimeAxis};
use crate::calibrate::Calibration;
use crate::recipe::Region;
use crate::ring::Annulus;
use crate::series::{SampleType, SeriesShape};

pub use pass::ShardSums;
pub use plan::{CountType, ReducePlan, ReduceSettings};
pub use totals::Totals;

/// All that the pass keeps, beside the counts on the annulus ([`RingSeries`](crate::ring::RingSeries), one a shard).
#[derive(Debug, Clone, PartialEq)]
pub struct Reduction {
    /// Name of the series.
    pub name: String,
    /// Shape of the series in the file.
    pub source_shape: SeriesShape,
    /// Number type of the file's samples.
    pub sample_type: SampleType,
    /// The analyzed part of the scan.
    pub region: Region,
    /// Temperature of the sample.
    pub temperature_k: f64,
    /// Distance of neighboring positions; NaN where not known.
    pub step_nm: f64,
    /// Start of each scan that is kept.
    pub time: TimeAxis,
    /// Geometry and pixels.
    pub calibration: Calibration,
    /// The pixels kept.
    pub annulus: Annulus,
    /// Mean counts of each native detector pixel over all valid frames of the region, before dark and gain,
    /// `[pattern row, pattern col]`.
    pub mean_pattern: Array2<f64>,
    /// Counts of each frame over all valid pixels, after dark and gain, `[time, row, col]`; NaN for missing frames.
    pub virtual_image: Array3<f64>,
    /// Spatial frequency bins of `q_sums`, one binned pixel wide, over the whole detector, `[q]`.
    pub q_bins: Vec<QRange>,
    /// Valid binned pixels in each q bin, `[q]`.
    pub q_pixels: Vec<u64>,
    /// Sum over all scans of the counts in each q bin, `[row, col, q]`.
    pub q_sums: Array3<f64>,
    /// Whole native pixels by which each position's pattern was shifted, `[row, col]`.
    pub shift_row: Array2<i32>,
    /// As `shift_row`, along columns.
    pub shift_col: Array2<i32>,
    /// Samples that were NaN or infinite.
    pub n_nonfinite: u64,
    /// Samples at the highest value of their type.
    pub n_saturated: u64,
    /// Samples below zero.
    pub n_negative: u64,
    /// Frames that the source misses in the region.
    pub n_missing_frames: u64,
    /// Scan rows and columns in a shard.
    pub shard_rows: usize,
    /// Columns in a shard; all of them unless one row is too large.
    pub shard_cols: usize,
}

impl Reduction {
    /// Rows of the analyzed region.
    pub fn n_rows(&self) -> usize {
        self.region.rows[1] - self.region.rows[0]
    }

    /// Columns of the analyzed region.
    pub fn n_cols(&self) -> usize {
        self.region.cols[1] - self.region.cols[0]
    }

    /// The shards that its counts are kept in, row by row.
    pub fn shards(&self) -> Vec<Shard> {
        shards(
            self.n_rows(),
            self.n_cols(),
            self.shard_rows,
            self.shard_cols,
        )
    }

    /// What remains of a position's center offset after the shift by whole pixels, native pixels (row, col).
    pub fn center_remainder(&self, row: usize, col: usize) -> (f64, f64) {
        let (file_row, file_col) = (self.region.rows[0] + row, self.region.cols[0] + col);
        let shape = &self.source_shape;
        let offset = self
            .calibration
            .center_offset(file_row, file_col, shape.n_rows, shape.n_cols);
        // Adding zero makes −0 the same as 0, so that positions without descan are alike bit for bit.
        (
            offset.0 - f64::from(self.shift_row[[row, col]]) + 0.0,
            offset.1 - f64::from(self.shift_col[[row, col]]) + 0.0,
        )
    }
}

/// A block of positions over all times: the unit of work, of retry, of lock and of checksum.
///
/// Its size is chosen from the shape alone, never from memory or threads, so that results and files are the same anywhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shard {
    /// Number of the shard, row by row.
    pub index: usize,
    /// First row in the analyzed region.
    pub first_row: usize,
    /// Rows.
    pub n_rows: usize,
    /// First column in the analyzed region.
    pub first_col: usize,
    /// Columns.
    pub n_cols: usize,
}

/// The shards of a region, row by row.
pub fn shards(n_rows: usize, n_cols: usize, shard_rows: usize, shard_cols: usize) -> Vec<Shard> {
    let mut shards = Vec::new();
    for first_row in (0..n_rows).step_by(shard_rows.max(1)) {
        for first_col in (0..n_cols).step_by(shard_cols.max(1)) {
            shards.push(Shard {
                index: shards.len(),
                first_row,
                n_rows: shard_rows.min(n_rows - first_row),
                first_col,
                n_cols: shard_cols.min(n_cols - first_col),
            });
        }
    }
    shards
}
