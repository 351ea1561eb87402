//! How does a series of any detector get into a container that every program reads?
//!
//! It is read and written in blocks of scan rows, so that memory is bounded. Each frame is read once.

use std::fmt;
use std::path::Path;

use halotau::series::{FrameBlock, FrameRun, SampleType, SeriesShape, Warning};
use halotau_io::{OpenRequest, SeriesFormat, SeriesWriter};
use serde::Serialize;

use crate::context::{Context, Unit};
use crate::error::{Error, Result};
use crate::memory::size_text;

/// A block is held as it is stored and as it is read, and compressed beside that.
const COPIES: u64 = 3;

/// Larger blocks are not faster, and smaller ones keep the progress alive.
const MOST_BLOCK_BYTES: u64 = 256 << 20;

/// What was written.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Converted {
    /// Where.
    pub path: String,
    /// Lengths of the axes.
    pub shape: SeriesShape,
    /// Number type of the samples.
    pub sample_type: SampleType,
    /// Frames that the recording did not have, written as zeros.
    pub n_missing_frames: usize,
    /// What a person should know.
    pub warnings: Vec<Warning>,
}

/// Reads a series and writes it as Zarr, `.npy` or raw binary.
///
/// Samples keep their number type. Zarr keeps axes, times and the list of missing frames; the others keep samples only.
///
/// # Errors
///
/// Those of opening and reading; [`Error::Io`] with 73 where the output exists, [`Error::Memory`] where a block does not fit.
pub fn convert(
    request: &OpenRequest,
    output: &Path,
    format: SeriesFormat,
    context: &Context<'_>,
) -> Result<Converted> {
    let source = halotau_io::open(request)?;
    let header = source.header();
    let shape = header.shape;
    let mut warnings = header.warnings.clone();
    let n_missing_frames = header
        .missing
        .iter()
        .map(|run| run.n_times * run.n_frames)
        .sum();
    if n_missing_frames > 0 && format != SeriesFormat::Zarr {
        warnings.push(Warning::new(
            "W109",
            format!(
                "{n_missing_frames} missing frames are written as zeros, and this format cannot say so; .zarr can."
            ),
        ));
    }
    for warning in &warnings {
        context.warn(warning);
    }
    let limit_bytes = context.memory_limit();
    let mut writer = SeriesWriter::create(output, header, format)?;
    let blocks = writer.blocks((limit_bytes / COPIES).min(MOST_BLOCK_BYTES));
    let frame_bytes = (shape.frame_len() * header.sample_type.n_bytes()) as u64;
    let bytes_of = |n_times: usize, n_cols: usize| (n_times * n_cols) as u64 * frame_bytes;
    let largest = blocks
        .iter()
        .map(|block| bytes_of(block.n_times, block.n_cols));
    let needed_bytes = COPIES * largest.max().unwrap_or(0);
    if needed_bytes > limit_bytes {
        return Err(Error::Memory {
            what: "converting one block of frames".to_owned(),
            limit_bytes,
            needed_bytes,
        });
    }
    let total = bytes_of(shape.n_times, shape.n_positions());
    context.stage(format!("convert {}", header.name), total, Unit::Bytes);
    let mut frames = FrameBlock::empty(header.sample_type);
    for block in blocks {
        let run = FrameRun {
            first_time: block.first_time,
            n_times: block.n_times,
            first_frame: block.first_row * shape.n_cols + block.first_col,
            n_frames: block.n_cols,
        };
        context.install(|| {
            source.read(&run, &mut frames)?;
            Ok(writer.write(&block, &frames.samples)?)
        })?;
        context.advance(bytes_of(block.n_times, block.n_cols));
    }
    writer.finish()?;
    context.stage_done();
    Ok(Converted {
        path: output.display().to_string(),
        shape,
        sample_type: header.sample_type,
        n_missing_frames,
        warnings,
    })
}

impl fmt::Display for Converted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let n_bytes = self.shape.n_bytes(self.sample_type).unwrap_or(u64::MAX);
        write!(
            f,
            "wrote {}: {}, {}, {} uncompressed",
            self.path,
            self.shape,
            self.sample_type,
            size_text(n_bytes)
        )
    }
}
