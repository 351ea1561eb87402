//! How is a series read from an HDF5 dataset?
//!
//! Stored blocks are fetched at their positions and decoded on the threads of the caller. A block that was never
//! written is an error that names it, not zeros; where all blocks after one were never written, the acquisition
//! was cut short, and their frames are missing.

use std::path::Path;
use std::sync::Mutex;

use halotau::series::{FrameBlock, FrameCount, FrameRun, SeriesHeader, SeriesShape, Warning};
use halotau::source::FrameSource;
use rust_hdf5::H5Dataset;

use super::dataset::{Dataset, Place};
use super::value::StoredNumber;
use super::virtual_parts;
use crate::chunked::{ChunkGrid, Decoded, Span, blocks_of_slab, read_chunked};
use crate::error::{Error, Result};
use crate::extent::Extent;
use crate::number_type::NumberType;
use crate::sample_bytes::prepare;

/// Bytes read at once from contiguous storage.
const SPAN_BYTES: u64 = 16 << 20;

/// A dataset was cut short, not made for something else, where it holds at least one in this many blocks ...
const MISSING_FACTOR: u64 = 1000;
/// ... or where at most this many are missing.
const MOST_MISSING: u64 = 100_000;

/// A series in an HDF5 dataset.
pub(crate) struct Hdf5Source {
    pub(super) header: SeriesHeader,
    pub(super) dataset: Dataset,
    pub(super) number: StoredNumber,
    pub(super) storage: Storage,
    /// Blocks in units of samples as they come out; the axes are those of the dataset, or one more in front.
    pub(super) grid: ChunkGrid,
    /// Blocks of patterns from this one on were never written.
    n_written: u64,
}

pub(super) enum Storage {
    Contiguous(u64),
    Inside,
    Chunks,
    /// The reader of virtual datasets moves cursors, so one thread uses it at a time.
    Virtual(Mutex<H5Dataset>),
}

impl Hdf5Source {
    /// A dataset whose axes make a shape: its own, or with one of length 1 in front.
    ///
    /// # Errors
    ///
    /// [`Error::BadContainer`] where the dataset contradicts itself, [`Error::SampleType`] where it holds no
    /// numbers that are read.
    pub(super) fn new(
        dataset: Dataset,
        dims: Vec<u64>,
        shape: SeriesShape,
        name: &str,
        format: &str,
    ) -> Result<Self> {
        let path = dataset.file.path().to_owned();
        let bad = |problem: String| Error::BadContainer {
            path: path.clone(),
            format: "HDF5 file",
            problem: format!("{}: {problem}", dataset.name),
        };
        let number = dataset.number().ok_or_else(|| Error::SampleType {
            what: format!("{}, dataset {}", path.display(), dataset.name),
            found: dataset.datatype.to_string(),
        })?;
        let sample_type = number.number_type.sample_type();
        let sample_bytes = sample_type.n_bytes() as u64;
        let mut header = SeriesHeader::new(name, format, shape, sample_type);
        let (storage, chunk) = match dataset.place().map_err(bad)? {
            Place::Contiguous(address) => (Storage::Contiguous(address), None),
            Place::Inside(_) => (Storage::Inside, None),
            Place::Virtual => {
                let parts = virtual_parts::open(&dataset, number)?;
                (Storage::Virtual(Mutex::new(parts)), None)
            }
            Place::Chunks(chunk) => {
                let mut padded = vec![1; dims.len() - chunk.len()];
                padded.extend(chunk);
                (Storage::Chunks, Some(padded))
            }
        };
        let is_chunked = chunk.is_some();
        let grid = ChunkGrid {
            chunk: chunk.unwrap_or_else(|| spans(&dims, &shape, sample_bytes)),
            dims,
            sample_bytes,
        };
        if is_chunked {
            header.chunk = grid.chunk_shape(&shape);
        }
        let mut n_written = u64::MAX;
        if is_chunked {
            let written = Written::of(&dataset, &grid).map_err(bad)?;
            n_written = written.n_lead_chunks;
            let missing = written.missing(&grid, &shape);
            let n_missing: u64 = missing.iter().map(|run| run.n_frames as u64).sum();
            if n_missing > 0 {
                let n_frames = (shape.n_times * shape.n_positions()) as u64;
                header.frame_counts = vec![
                    FrameCount::new(n_frames, format!("shape of {}", dataset.name)),
                    FrameCount::new(n_frames - n_missing, "blocks that were written"),
                ];
                header.warnings.push(Warning::new(
                    "W103",
                    format!("{n_missing} of {n_frames} frames, from the last block that was written on, are not there: the recording was cut short. They are marked as missing and take part in nothing."),
                ));
                header.missing = missing;
            }
        }
        Ok(Self {
            header,
            dataset,
            number,
            storage,
            grid,
            n_written,
        })
    }

    pub(super) fn header_mut(&mut self) -> &mut SeriesHeader {
        &mut self.header
    }

    /// The file's path.
    fn path(&self) -> &Path {
        self.dataset.file.path()
    }

    /// The number of a block in the grid, and of the block of whole patterns that it is a part of.
    pub(super) fn numbers(&self, chunk: &[u64]) -> (u64, u64) {
        let counts = self.grid.counts();
        let lead = counts.len() - 2;
        let number = |range: std::ops::Range<usize>, start: u64| {
            range.fold(start, |n, axis| n * counts[axis] + chunk[axis])
        };
        let lead_number = number(0..lead, 0);
        (number(lead..counts.len(), lead_number), lead_number)
    }

    fn decode_chunk(&self, chunk: &[u64]) -> Result<Decoded> {
        let (number, lead_number) = self.numbers(chunk);
        let place = || format!("chunk {chunk:?}");
        let index = self
            .dataset
            .index()
            .map_err(|problem| self.dataset.corrupt(place(), problem))?;
        let span = Span {
            first: chunk
                .iter()
                .zip(&self.grid.chunk)
                .map(|(c, len)| c * len)
                .collect(),
            lens: self.grid.chunk.clone(),
        };
        let bytes = match index.find(number) {
            Some(stored) => self.dataset.read_chunk(stored, place)?,
            None if lead_number >= self.n_written => {
                let n_samples = self.grid.chunk.iter().product::<u64>();
                vec![0; n_samples as usize * self.number.number_type.n_bytes()]
            }
            None => {
                return Err(Error::MissingChunk {
                    path: self.path().to_owned(),
                    dataset: self.dataset.say(),
                    chunk: chunk.to_vec(),
                    entry: "the file from its origin".to_owned(),
                });
            }
        };
        self.decoded(span, bytes)
    }

    /// A box of samples that follow each other in the file.
    fn read_span(&self, span: &Span) -> Result<Decoded> {
        let at = span
            .first
            .iter()
            .zip(&self.grid.dims)
            .fold(0, |at, (first, len)| at * len + first);
        let width = self.number.number_type.n_bytes() as u64;
        let n_bytes = span.lens.iter().product::<u64>() * width;
        let bytes = match (&self.storage, self.dataset.place()) {
            (Storage::Contiguous(address), _) => {
                let mut bytes = Vec::new();
                bytes
                    .try_reserve_exact(n_bytes as usize)
                    .map_err(|_| Error::Memory {
                        what: format!("frames of {}", self.path().display()),
                        n_bytes,
                    })?;
                bytes.resize(n_bytes as usize, 0);
                let address = address + at * width;
                self.dataset.file.read_samples(address, &mut bytes)?;
                bytes
            }
            (Storage::Inside, Ok(Place::Inside(all))) => {
                let start = (at * width) as usize;
                let part = all.get(start..start + n_bytes as usize);
                part.unwrap_or_default().to_vec()
            }
            (Storage::Virtual(parts), _) => {
                let bytes = virtual_parts::read(parts, self.number, span).map_err(|problem| {
                    self.dataset.corrupt(format!("{:?}", span.first), problem)
                })?;
                return Ok(Decoded {
                    span: span.clone(),
                    bytes,
                    big_endian: false,
                });
            }
            _ => Vec::new(),
        };
        self.decoded(span.clone(), bytes)
    }

    /// Scans of which every block was written; the last block of those beyond `known` is decoded.
    ///
    /// # Errors
    ///
    /// [`Error::NotFollowed`] where there are no blocks.
    pub(super) fn extent(&self, known: usize) -> Result<Extent> {
        if !matches!(self.storage, Storage::Chunks) {
            return Err(Error::NotFollowed {
                path: self.path().to_owned(),
                what: self.dataset.say(),
                problem: "it is not stored in chunks, or in several files, and has its full length from the beginning. Let its writer store one scan a chunk and append \
                          (SWMR), or leave out --follow when it is finished",
            });
        }
        let corrupt = |problem| self.dataset.corrupt("its index".to_owned(), problem);
        let index = self.dataset.index().map_err(corrupt)?;
        let n_times = self.header.shape.n_times;
        let counts = self.grid.counts();
        let mut n_whole = 0;
        for slab in 0..counts[0] {
            let mut blocks = blocks_of_slab(slab, &counts);
            let scans_after = self.grid.scans_before(slab + 1, &self.header.shape);
            let was_written = |block: &Vec<u64>| index.find(self.numbers(block).0).is_some();
            if !blocks.iter().all(was_written) {
                break;
            }
            let is_decoded = |block: Vec<u64>| self.decode_chunk(&block).is_ok();
            if scans_after > known && !blocks.pop().is_none_or(is_decoded) {
                break;
            }
            n_whole = scans_after;
        }
        let may_grow = self.dataset.may_grow();
        Ok(Extent {
            n_times: n_whole,
            expected: (n_whole < n_times || !may_grow).then_some(n_times),
        })
    }

    /// Samples of one of the seven types from those of the file.
    fn decoded(&self, span: Span, bytes: Vec<u8>) -> Result<Decoded> {
        let StoredNumber {
            number_type,
            big_endian,
        } = self.number;
        if number_type.is_sample() {
            return Ok(Decoded {
                span,
                bytes,
                big_endian,
            });
        }
        let bytes = number_type.convert(&bytes, big_endian).map_err(|large| {
            let mut rest = large.idx as u64;
            let mut place = span.first.clone();
            for (axis, len) in span.lens.iter().enumerate().rev() {
                place[axis] += rest % len;
                rest /= len;
            }
            Error::SampleType {
                what: format!("{}, {}", self.path().display(), self.dataset.say()),
                found: match number_type {
                    NumberType::I64 => format!(
                        "i64, of which {} at {place:?} does not fit in i32",
                        large.value
                    ),
                    _ => format!(
                        "u64, of which {} at {place:?} does not fit in u32",
                        large.value
                    ),
                },
            }
        })?;
        Ok(Decoded {
            span,
            bytes,
            big_endian: false,
        })
    }
}

/// How much of a dataset was written.
struct Written {
    /// One more than the number of the last block of patterns of which anything was written.
    n_lead_chunks: u64,
}

impl Written {
    fn of(dataset: &Dataset, grid: &ChunkGrid) -> std::result::Result<Self, String> {
        let counts = grid.counts();
        let lead = counts.len() - 2;
        let product = |lens: &[u64]| lens.iter().try_fold(1_u64, |n, &len| n.checked_mul(len));
        let (Some(n_lead), Some(n_tiles)) = (product(&counts[..lead]), product(&counts[lead..]))
        else {
            return Err("more blocks than can be counted".to_owned());
        };
        let index = dataset.index()?;
        let Some(last) = index.last() else {
            return Err("no block of it was written".to_owned());
        };
        let n_chunks = n_lead.saturating_mul(n_tiles);
        if n_chunks.saturating_sub(MOST_MISSING) / MISSING_FACTOR > index.len() {
            return Err(format!(
                "only {} of {n_chunks} blocks were written",
                index.len()
            ));
        }
        Ok(Self {
            n_lead_chunks: last / n_tiles + 1,
        })
    }

    /// Frames in the blocks after the last.
    fn missing(&self, grid: &ChunkGrid, shape: &SeriesShape) -> Vec<FrameRun> {
        let counts = grid.counts();
        let lead = counts.len() - 2;
        let per_slab: u64 = counts[1..lead].iter().product();
        let n_lead: u64 = counts[..lead].iter().product();
        if self.n_lead_chunks >= n_lead {
            return Vec::new();
        }
        let per_first: u64 = grid.dims[1..lead].iter().product();
        let first = self.n_lead_chunks / per_slab * grid.chunk[0] * per_first;
        let end = grid.dims[..lead].iter().product::<u64>();
        let row = grid.dims[lead - 1];
        let n_positions = shape.n_positions() as u64;
        let mut runs: Vec<FrameRun> = Vec::new();
        let mut frame = first;
        while frame < end {
            let mut number = 0;
            let mut rest = frame;
            let mut scale = 1;
            for axis in (0..lead).rev() {
                number += rest % grid.dims[axis] / grid.chunk[axis] * scale;
                rest /= grid.dims[axis];
                scale *= counts[axis];
            }
            let col = frame % row;
            let in_chunk = grid.chunk[lead - 1] - col % grid.chunk[lead - 1];
            let in_scan = n_positions - frame % n_positions;
            let n = in_chunk.min(row - col).min(in_scan).min(end - frame);
            if number >= self.n_lead_chunks {
                let run = FrameRun {
                    first_time: (frame / n_positions) as usize,
                    n_times: 1,
                    first_frame: (frame % n_positions) as usize,
                    n_frames: n as usize,
                };
                match runs.last_mut() {
                    Some(last)
                        if last.first_time == run.first_time
                            && last.first_frame + last.n_frames == run.first_frame =>
                    {
                        last.n_frames += run.n_frames;
                    }
                    _ => runs.push(run),
                }
            }
            frame += n;
        }
        runs
    }
}

/// Boxes in which contiguous samples are read: whole patterns of one row, up to [`SPAN_BYTES`].
fn spans(dims: &[u64], shape: &SeriesShape, sample_bytes: u64) -> Vec<u64> {
    let frame_bytes = (shape.frame_len() as u64).saturating_mul(sample_bytes);
    let n_frames = (SPAN_BYTES / frame_bytes.max(1)).max(1);
    let lead = dims.len() - 2;
    let mut lens = vec![1; lead - 1];
    lens.push(n_frames.min(dims[lead - 1]));
    lens.extend(&dims[lead..]);
    lens
}

impl FrameSource for Hdf5Source {
    fn header(&self) -> &SeriesHeader {
        &self.header
    }

    fn read(&self, run: &FrameRun, block: &mut FrameBlock) -> halotau::Result<()> {
        let shape = &self.header.shape;
        prepare(block, run, &self.header)
            .and_then(|()| match self.stretches(run) {
                Some(stretches) => self.read_stretches(&stretches, block),
                None => read_chunked(&self.grid, shape, run, block, |chunk, needed| {
                    match self.storage {
                        Storage::Chunks => self.decode_chunk(chunk),
                        _ => self.read_span(needed),
                    }
                }),
            })
            .map_err(|e| e.into_core(&self.header.name))
    }

    fn expect(&self, run: &FrameRun) {
        if run.check(&self.header.shape).is_ok() {
            for (address, n_bytes) in self.stored_parts(run) {
                self.dataset.file.expect_samples(address, n_bytes);
            }
        }
    }
}

impl std::fmt::Debug for Hdf5Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Hdf5Source")
            .field("path", &self.path())
            .field("dataset", &self.dataset.name)
            .field("header", &self.header)
            .finish_non_exhaustive()
    }
}
