//! How does a run of frames come out of a file that stores compressed blocks?
//!
//! Every block that holds a frame of the run is decoded once, whatever the number of its frames that are
//! wanted, a few at a time on the current thread pool; then its frames are copied to their places. The
//! result does not depend on the number of threads.

use std::collections::BTreeMap;

use halotau::series::{ChunkShape, FrameBlock, FrameRun, SeriesShape};
use rayon::prelude::*;

use crate::error::{Error, Result};
use crate::sample_bytes::copy_at;

/// Blocks decoded at once, for each thread: enough that no thread waits long for the slowest of a batch.
const BATCH_PER_THREAD: usize = 4;

/// Bytes of decoded blocks held at once, if there are several.
const BATCH_BYTES: u64 = 256 << 20;

/// How the axes of a dataset are cut into blocks.
#[derive(Debug, Clone)]
pub(crate) struct ChunkGrid {
    /// Lengths of the dataset's axes.
    pub(crate) dims: Vec<u64>,
    /// Lengths of a block.
    pub(crate) chunk: Vec<u64>,
    /// Bytes of a sample.
    pub(crate) sample_bytes: u64,
}

/// A box inside a dataset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Span {
    /// First index along each axis.
    pub(crate) first: Vec<u64>,
    /// Length along each axis.
    pub(crate) lens: Vec<u64>,
}

/// All blocks that are the same along the first axis, in order; `counts` are the blocks along each axis.
pub(crate) fn blocks_of_slab(slab: u64, counts: &[u64]) -> Vec<Vec<u64>> {
    let mut blocks = vec![vec![slab]];
    for &count in &counts[1..] {
        let longer =
            |block: Vec<u64>| (0..count).map(move |next| [block.as_slice(), &[next]].concat());
        blocks = blocks.into_iter().flat_map(longer).collect();
    }
    blocks
}

/// Samples of a box, last axis fastest.
#[derive(Debug)]
pub(crate) struct Decoded {
    /// The box in the dataset; it may reach over the dataset's end.
    pub(crate) span: Span,
    /// Its samples.
    pub(crate) bytes: Vec<u8>,
    /// Whether the most significant byte comes first.
    pub(crate) big_endian: bool,
}

/// Frames that follow each other in one block and in the result.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Piece {
    /// Number of the first frame in the dataset.
    first: u64,
    pub(crate) n_frames: u64,
    /// Index of the first frame in the result.
    pub(crate) out: usize,
}

struct Job<'a> {
    chunk: Vec<u64>,
    needed: Span,
    pieces: &'a [Piece],
}

impl ChunkGrid {
    fn lead(&self) -> usize {
        self.dims.len() - 2
    }

    /// Checks that every length is positive and the number of axes is right.
    pub(crate) fn is_valid(&self) -> bool {
        self.chunk.len() == self.dims.len()
            && self.dims.len() >= 3
            && self.chunk.iter().all(|&len| len > 0)
    }

    /// Blocks along each axis.
    pub(crate) fn counts(&self) -> Vec<u64> {
        self.dims
            .iter()
            .zip(&self.chunk)
            .map(|(len, chunk)| len.div_ceil(*chunk))
            .collect()
    }

    /// What a block holds of each axis of the series.
    pub(crate) fn chunk_shape(&self, shape: &SeriesShape) -> ChunkShape {
        let lead: Vec<usize> = self.chunk[..self.lead()]
            .iter()
            .zip(&self.dims)
            .map(|(&chunk, &len)| chunk.min(len) as usize)
            .collect();
        match (lead.as_slice(), shape.n_times) {
            (&[n_times, n_rows, n_cols], _) => ChunkShape {
                n_times,
                n_rows,
                n_cols,
            },
            (&[n_rows, n_cols], 1) => ChunkShape {
                n_times: 1,
                n_rows,
                n_cols,
            },
            // A stack is cut along its one axis; whole scans or whole rows are said as such.
            (lead, _) => {
                let frames: usize = lead.iter().product();
                ChunkShape {
                    n_times: (frames / shape.n_positions()).max(1),
                    n_rows: (frames / shape.n_cols).clamp(1, shape.n_rows),
                    n_cols: frames.clamp(1, shape.n_cols),
                }
            }
        }
    }

    /// Whole scans in the blocks before one of the first axis.
    pub(crate) fn scans_before(&self, slab: u64, shape: &SeriesShape) -> usize {
        let first = (slab * self.chunk[0]).min(self.dims[0]);
        let frames = first * self.dims[1..self.lead()].iter().product::<u64>();
        (frames / shape.n_positions().max(1) as u64) as usize
    }

    /// The part of the dataset that a block covers, cut at the dataset's end.
    pub(crate) fn chunk_span(&self, chunk: &[u64]) -> Span {
        let first: Vec<u64> = chunk
            .iter()
            .zip(&self.chunk)
            .map(|(c, len)| c * len)
            .collect();
        let lens = first
            .iter()
            .zip(&self.chunk)
            .zip(&self.dims)
            .map(|((first, chunk), len)| (*chunk).min(len - first))
            .collect();
        Span { first, lens }
    }

    /// Whether a block holds all of the patterns that it holds anything of.
    pub(crate) fn holds_whole_frames(&self) -> bool {
        self.chunk[self.lead()..] == self.dims[self.lead()..]
    }

    /// Where in its block the first frame of a piece lies, in frames.
    pub(crate) fn frame_in_block(&self, piece: &Piece) -> u64 {
        let coords = self.coords(piece.first);
        let lens = coords.iter().zip(&self.chunk);
        lens.fold(0, |at, (coord, len)| at * len + coord % len)
    }

    /// The blocks that hold the patterns of some frames, whose place along the leading axes is given.
    pub(crate) fn tiles(&self, lead_block: &[u64]) -> impl Iterator<Item = Vec<u64>> {
        let counts = self.counts();
        let (n_rows, n_cols) = (counts[self.lead()], counts[self.lead() + 1]);
        let tiles = (0..n_rows).flat_map(move |row| (0..n_cols).map(move |col| [row, col]));
        tiles.map(move |tile| [lead_block, &tile].concat())
    }

    /// Cuts a run into pieces that lie in one row of the dataset and one block, in order of blocks.
    pub(crate) fn pieces(
        &self,
        shape: &SeriesShape,
        run: &FrameRun,
    ) -> BTreeMap<Vec<u64>, Vec<Piece>> {
        let last = self.lead() - 1;
        let (row_len, chunk_len) = (self.dims[last], self.chunk[last]);
        let mut pieces: BTreeMap<Vec<u64>, Vec<Piece>> = BTreeMap::new();
        let mut out = 0;
        for time in run.first_time..run.first_time + run.n_times {
            let mut frame = (time * shape.n_positions() + run.first_frame) as u64;
            let end = frame + run.n_frames as u64;
            while frame < end {
                let coords = self.coords(frame);
                let col = coords[last];
                let n_frames = (end - frame)
                    .min(row_len - col)
                    .min(chunk_len - col % chunk_len);
                let chunk = coords
                    .iter()
                    .zip(&self.chunk)
                    .map(|(c, len)| c / len)
                    .collect();
                pieces.entry(chunk).or_default().push(Piece {
                    first: frame,
                    n_frames,
                    out,
                });
                frame += n_frames;
                out += n_frames as usize;
            }
        }
        pieces
    }

    /// Coordinates of a frame along the leading axes.
    fn coords(&self, frame: u64) -> Vec<u64> {
        let mut rest = frame;
        let mut coords: Vec<u64> = self.dims[..self.lead()]
            .iter()
            .rev()
            .map(|len| {
                let coord = rest % len;
                rest /= len;
                coord
            })
            .collect();
        coords.reverse();
        coords
    }

    /// The smallest box that holds some frames of a block, with all of the block's part of the pattern.
    fn needed(&self, pieces: &[Piece], tile: &Span) -> Span {
        let lead = self.lead();
        let mut first = vec![u64::MAX; lead];
        let mut end = vec![0; lead];
        for piece in pieces {
            let mut coords = self.coords(piece.first);
            for (axis, &coord) in coords.iter().enumerate() {
                first[axis] = first[axis].min(coord);
            }
            coords[lead - 1] += piece.n_frames - 1;
            for (axis, &coord) in coords.iter().enumerate() {
                end[axis] = end[axis].max(coord + 1);
            }
        }
        let mut lens: Vec<u64> = end.iter().zip(&first).map(|(e, f)| e - f).collect();
        first.extend(&tile.first[lead..]);
        lens.extend(&tile.lens[lead..]);
        Span { first, lens }
    }
}

/// Fills a prepared block with the frames of a run; `decode` gets the index of a block and the part of the
/// dataset that is needed of it.
pub(crate) fn read_chunked(
    grid: &ChunkGrid,
    shape: &SeriesShape,
    run: &FrameRun,
    block: &mut FrameBlock,
    decode: impl Fn(&[u64], &Span) -> Result<Decoded> + Sync,
) -> Result<()> {
    let pieces = grid.pieces(shape, run);
    let mut jobs = Vec::new();
    for (lead_chunk, pieces) in &pieces {
        for chunk in grid.tiles(lead_chunk) {
            let needed = grid.needed(pieces, &grid.chunk_span(&chunk));
            jobs.push(Job {
                chunk,
                needed,
                pieces,
            });
        }
    }
    let chunk_bytes = grid
        .chunk
        .iter()
        .try_fold(grid.sample_bytes, |n, &len| n.checked_mul(len))
        .unwrap_or(u64::MAX);
    let batch = (BATCH_PER_THREAD * rayon::current_num_threads())
        .min((BATCH_BYTES / chunk_bytes.max(1)) as usize)
        .max(1);
    for jobs in jobs.chunks(batch) {
        let decoded: Vec<Decoded> = jobs
            .par_iter()
            .map(|job| decode(&job.chunk, &job.needed))
            .collect::<Result<_>>()?;
        for (job, decoded) in jobs.iter().zip(&decoded) {
            scatter(grid, job, decoded, block)?;
        }
    }
    Ok(())
}

/// Copies the frames of one block to their places.
fn scatter(
    grid: &ChunkGrid,
    job: &Job<'_>,
    decoded: &Decoded,
    block: &mut FrameBlock,
) -> Result<()> {
    let lead = grid.lead();
    let Span { first, lens } = &decoded.span;
    let sample_bytes = grid.sample_bytes as usize;
    let n_bytes = lens.iter().product::<u64>() * grid.sample_bytes;
    if decoded.bytes.len() as u64 != n_bytes {
        return Err(Error::Value {
            what: format!("decoded chunk {:?}", job.chunk),
            expected: format!("{n_bytes} bytes"),
            found: format!("{} bytes", decoded.bytes.len()),
        });
    }
    let (tile_rows, tile_cols) = (lens[lead] as usize, lens[lead + 1] as usize);
    let tile_len = tile_rows * tile_cols;
    let (pattern_rows, pattern_cols) = (block.pattern_rows, block.pattern_cols);
    let (row0, col0) = (first[lead] as usize, first[lead + 1] as usize);
    let whole = (tile_rows, tile_cols) == (pattern_rows, pattern_cols);
    // A block may reach over the end of the pattern.
    let rows = tile_rows.min(pattern_rows - row0);
    let cols = tile_cols.min(pattern_cols - col0);
    for piece in job.pieces {
        let start = grid
            .coords(piece.first)
            .iter()
            .zip(first.iter().zip(lens))
            .fold(0, |at, (coord, (first, len))| at * len + (coord - first));
        let start = start as usize * tile_len;
        let n_frames = piece.n_frames as usize;
        let out = piece.out * pattern_rows * pattern_cols;
        if whole {
            let range = start * sample_bytes..(start + n_frames * tile_len) * sample_bytes;
            copy_at(
                &mut block.samples,
                out,
                &decoded.bytes[range],
                decoded.big_endian,
            );
            continue;
        }
        for frame in 0..n_frames {
            for row in 0..rows {
                let from = (start + frame * tile_len + row * tile_cols) * sample_bytes;
                let to = out + (frame * pattern_rows + row0 + row) * pattern_cols + col0;
                let bytes = &decoded.bytes[from..from + cols * sample_bytes];
                copy_at(&mut block.samples, to, bytes, decoded.big_endian);
            }
        }
    }
    Ok(())
}
