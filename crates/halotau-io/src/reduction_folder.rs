//! How does the one pass over the data survive until it is asked?
//!
//! `reduction.zarr` is a Zarr group (version 3). The counts on the annulus are one array `[row, col, time, pixel]`, one
//! file a [`Shard`], one part inside it a position; everything else is small. A shard is written when it is done, so a
//! killed run goes on where it was and ends with the same bytes:
//!
//! 1. [`ReductionWriter::create`] takes the lock and finds the shards that are there;
//! 2. [`ReductionWriter::write_shard`] writes each file beside its place, flushes and renames it, and then adds a line
//!    with lengths and hashes to the manifest;
//! 3. [`ReductionWriter::finish`] writes the small arrays and, last of all, metadata that say `complete`.
//!
//! Several processes fill a reduction together after [`ReductionWriter::create`] was called once: each [`ReductionWriter::join`]s as
//! a [`Task`], with a lock and a manifest of its own. The next `create` takes their manifests into the common one. Two that do the
//! same shard write the same bytes.
//!
//! [`ReductionReader`] refuses what is incomplete and every byte that is not what was written.

mod arrays;
mod begun;
mod reader;
mod task;
mod writer;

use std::path::Path;

use halotau::axes::{QRange, TimeBasis};
use halotau::calibrate::Calibration;
use halotau::recipe::Region;
use halotau::reduce::{Reduction, Shard, shards};
use halotau::series::{SampleType, SeriesShape};
use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use reader::ReductionReader;
pub use task::Task;
pub use writer::ReductionWriter;

use crate::error::{Error, Result};
use crate::manifest::MANIFEST;
use crate::zarr_store::{Chunks, Named};

/// What kind of group this is; the first thing a reader looks at.
const KIND: &str = "halotau reduction";
/// Version of the names and axes in the folder.
const FORMAT: u32 = 1;
/// Folder of the partial sums while a reduction is unfinished.
const SUMS: &str = "sums";
/// How a damaged reduction is made again.
const CURE: &str = "restore it from a copy, or reduce the raw data again with --restart";

const RING_COUNTS: Named = Named::new(
    "ring_counts",
    &["row", "col", "time", "pixel"],
    "count",
    "counts on the annulus",
);
const FRAME_VALID: Named = Named::new(
    "frame_valid",
    &["row", "col", "time"],
    "1",
    "frames that hold data",
);
const PIXEL_VALID: Named = Named::new(
    "pixel_valid",
    &["row", "col", "pixel"],
    "1",
    "pixels that can be trusted at each position",
);

/// What a finished reduction is known by: the hash of its list of files, which holds the hash of each of them.
///
/// # Errors
///
/// [`Error::Io`].
pub fn identity(path: &Path) -> Result<String> {
    let list = path.join(MANIFEST);
    let bytes = std::fs::read(&list).map_err(|error| Error::io(&list, "read", error))?;
    Ok(blake3::hash(&bytes).to_hex().to_string())
}

/// Lengths and number type of the counts, known before the pass begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct RingLayout {
    /// Scan rows of the analyzed region.
    pub n_rows: usize,
    /// Scan columns of the analyzed region.
    pub n_cols: usize,
    /// Scans that are kept.
    pub n_times: usize,
    /// Pixels of the annulus.
    pub n_pixels: usize,
    /// Scan rows in a shard.
    pub shard_rows: usize,
    /// Scan columns in a shard.
    pub shard_cols: usize,
    /// Number type of the counts: `U8`, `U16`, `U32` or `F32`.
    pub sample_type: SampleType,
}

impl RingLayout {
    /// The shards, row by row.
    pub fn shards(&self) -> Vec<Shard> {
        shards(self.n_rows, self.n_cols, self.shard_rows, self.shard_cols)
    }

    /// Index of a shard's file along rows and columns.
    fn chunk(&self, shard: &Shard) -> [usize; 2] {
        [
            shard.first_row / self.shard_rows.max(1),
            shard.first_col / self.shard_cols.max(1),
        ]
    }

    /// How an array with axes row, col and some others is cut: a file a shard, a part a position.
    fn chunks(&self, others: &[usize]) -> Chunks {
        let with = |row: usize, col: usize| [&[row, col], others].concat();
        Chunks {
            file: with(self.shard_rows, self.shard_cols),
            part: Some(with(1, 1)),
        }
    }
}

/// The attributes of the group. What is written here must come back bit for bit.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Attributes {
    kind: String,
    format: u32,
    complete: bool,
    /// Version of the program that wrote it.
    version: String,
    /// Names of arrays that are coordinates, as the CF conventions have it.
    #[serde(default)]
    coordinates: String,
    /// Sentences that a reader of the numbers needs.
    conventions: Conventions,
    layout: RingLayout,
    /// What the pass was asked to do, with the fingerprint of the input.
    parameters: Value,
    /// All of the reduction that is no array; absent while unfinished.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    reduction: Option<Scalars>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Conventions {
    q: String,
    azimuth: String,
    coordinates: String,
    counts: String,
}

impl Default for Conventions {
    fn default() -> Self {
        Self {
            q: "spatial frequency s = 1/d in 1/nm, without 2 pi; a pixel belongs to q_min <= q < q_max at its center, after the ellipse"
                .to_owned(),
            azimuth: "from +column toward +row, in (-pi, pi]".to_owned(),
            coordinates: "count from 0 at the center of the first pixel".to_owned(),
            counts: "sums over the valid native pixels of a binned pixel; pixel_coverage is their share".to_owned(),
        }
    }
}

/// The part of a [`Reduction`] that is no array.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Scalars {
    name: String,
    source_shape: SeriesShape,
    sample_type: SampleType,
    region: Region,
    #[serde(with = "halotau::nonfinite")]
    temperature_k: f64,
    #[serde(with = "halotau::nonfinite")]
    step_nm: f64,
    time_basis: TimeBasis,
    calibration: Calibration,
    annulus_range_per_nm: QRange,
    bin: usize,
    grid_rows: usize,
    grid_cols: usize,
    n_nonfinite: u64,
    n_saturated: u64,
    n_negative: u64,
    n_missing_frames: u64,
}

impl Scalars {
    fn of(reduction: &Reduction) -> Self {
        let annulus = &reduction.annulus;
        Self {
            name: reduction.name.clone(),
            source_shape: reduction.source_shape,
            sample_type: reduction.sample_type,
            region: reduction.region,
            temperature_k: reduction.temperature_k,
            step_nm: reduction.step_nm,
            time_basis: reduction.time.basis(),
            calibration: reduction.calibration.clone(),
            annulus_range_per_nm: annulus.range,
            bin: annulus.bin,
            grid_rows: annulus.grid_rows,
            grid_cols: annulus.grid_cols,
            n_nonfinite: reduction.n_nonfinite,
            n_saturated: reduction.n_saturated,
            n_negative: reduction.n_negative,
            n_missing_frames: reduction.n_missing_frames,
        }
    }
}
