//! How is a series read from an HDF5 file?
//!
//! The number type is checked before anything is read, because the reader would reinterpret the bytes of
//! another type without a word. Compressed blocks are fetched one after another and decoded on the current
//! thread pool. A block that was never written is an error that names it, not zeros.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use halotau::series::{FrameBlock, FrameRun, SampleType, Samples, SeriesHeader, SeriesShape};
use halotau::source::FrameSource;
use rust_hdf5::format::messages::filter::reverse_filters_masked_into;
use rust_hdf5::{ByteOrder, DatatypeMessage, FilterPipeline, H5Dataset, H5File, StorageLayout};

use crate::arrangement::{arrange, note_unknown_scan};
use crate::candidates::{Candidate, choose};
use crate::chunked::{ChunkGrid, Decoded, Span, read_chunked};
use crate::error::{Error, Result};
use crate::hdf5_metadata::{attributes_of, axes_beside, times_beside};
use crate::metadata::describe;
use crate::positioned::PositionedFile;
use crate::sample_bytes::{little_endian, prepare};

/// The first bytes of an HDF5 file, or of its part after a user block.
const SIGNATURE: &[u8; 8] = b"\x89HDF\r\n\x1a\n";

/// Blocks up to which each is looked up by itself. The reader goes through the whole index for every
/// look-up, about 50 ns an entry, which beyond this costs more than decoding a block.
const MOST_CHUNKS_BY_LOOKUP: u64 = 4096;

/// Bytes read at once from contiguous storage or through the reader's own index.
const SPAN_BYTES: u64 = 16 << 20;

/// Decoded blocks are at most this large in HDF5.
const LARGEST_CHUNK_BYTES: u64 = 4 << 30;

/// Attempts to find the signature behind a user block, at 512 bytes and each doubling of it.
const USER_BLOCK_STEPS: u32 = 12;

/// A series in an HDF5 dataset.
pub(crate) struct Hdf5Source {
    header: SeriesHeader,
    path: PathBuf,
    name: String,
    /// The reader moves a file's cursor and caches its index, so one thread uses it at a time.
    dataset: Mutex<H5Dataset>,
    storage: Storage,
    sample: Sample,
}

/// How samples get from the file into a box.
enum Storage {
    /// Each block is fetched as stored, then decoded outside of the lock.
    Chunks {
        grid: ChunkGrid,
        pipeline: FilterPipeline,
    },
    /// The reader fills boxes; `chunk` is the true block where there are blocks.
    Spans {
        grid: ChunkGrid,
        chunk: Option<Vec<u64>>,
    },
}

#[derive(Debug, Clone, Copy)]
struct Sample {
    sample_type: SampleType,
    big_endian: bool,
}

/// Opens an HDF5 file as a series.
pub(crate) fn open_hdf5(
    path: &Path,
    dataset: Option<&str>,
    wanted: Option<[usize; 5]>,
) -> Result<Hdf5Source> {
    check_length(path)?;
    let bad = |problem: String| Error::BadContainer {
        path: path.to_owned(),
        format: "HDF5 file",
        problem,
    };
    let file = H5File::options()
        .no_locking()
        .open(path)
        .map_err(|e| bad(e.to_string()))?;
    let candidates = candidates(&file);
    let chosen = choose(path, &candidates, dataset)?;
    let name = chosen.name.clone();
    let what = format!("{}, dataset {name}", path.display());
    let dataset = file.dataset(&name).map_err(|e| bad(e.to_string()))?;
    let datatype = dataset.datatype().map_err(|e| bad(e.to_string()))?;
    let sample = sample_of(&datatype).ok_or_else(|| Error::SampleType {
        what: what.clone(),
        found: datatype.to_string(),
    })?;
    if name.starts_with("Data/Image/") && chosen.dims.len() == 3 {
        return Err(Error::Dataset {
            path: path.to_owned(),
            problem: format!(
                "{name} is a Velox series, whose last axis counts the frames; export it with the frames first"
            ),
            candidates: Vec::new(),
        });
    }
    let shape = arrange(&what, &chosen.dims, wanted)?;
    let mut header = SeriesHeader::new(
        crate::open::display_name(path),
        "HDF5",
        shape,
        sample.sample_type,
    );
    note_unknown_scan(&mut header, &chosen.dims, wanted);
    let storage = Storage::of(&dataset, chosen, &shape, sample).map_err(bad)?;
    if let Some(chunk) = storage.chunk() {
        let grid = ChunkGrid {
            chunk: chunk.to_vec(),
            ..storage.grid().clone()
        };
        header.chunk = grid.chunk_shape(&shape);
    }
    let attributes: Vec<_> = attributes_of(&file, &name)
        .into_iter()
        .chain(times_beside(&file, &name, shape.n_times))
        .collect();
    let axes = axes_beside(&file, &name, chosen.dims.len());
    describe(&mut header, &attributes, &axes);
    Ok(Hdf5Source {
        header,
        path: path.to_owned(),
        name,
        dataset: Mutex::new(dataset),
        storage,
        sample,
    })
}

/// Where the HDF5 part of a file starts, or `None` where there is none.
pub(crate) fn signature_offset(file: &PositionedFile) -> Result<Option<u64>> {
    let offsets = std::iter::once(0).chain((0..USER_BLOCK_STEPS).map(|step| 512_u64 << step));
    for offset in offsets.take_while(|offset| offset + 8 <= file.len()) {
        let mut start = [0; 8];
        file.read_exact_at(&mut start, offset)?;
        if &start == SIGNATURE {
            return Ok(Some(offset));
        }
    }
    Ok(None)
}

/// Compares the length that the superblock states with that of the file: the reader itself would give
/// zeros for the blocks behind the end of a file that was cut short.
fn check_length(path: &Path) -> Result<()> {
    let file = PositionedFile::open(path)?;
    let bad = |problem: String| Error::BadContainer {
        path: path.to_owned(),
        format: "HDF5 file",
        problem,
    };
    let Some(start) = signature_offset(&file)? else {
        return Err(bad("there is no HDF5 signature".to_owned()));
    };
    let rest = usize::try_from(file.len() - start)
        .unwrap_or(usize::MAX)
        .min(64);
    let mut superblock = vec![0; rest];
    file.read_exact_at(&mut superblock, start)?;
    // The end of file address: after base and free-space addresses in versions 0 and 1 (which has four
    // bytes more before them), after base and extension addresses in versions 2 and 3.
    let (size_at, end_at) = match superblock.get(8) {
        Some(0) => (13, 24 + 16),
        Some(1) => (13, 28 + 16),
        Some(2 | 3) => (9, 12 + 16),
        version => return Err(bad(format!("superblock version {version:?} is not known"))),
    };
    if superblock.get(size_at) != Some(&8) {
        // Addresses of other sizes are left to the reader.
        return Ok(());
    }
    let end: Option<[u8; 8]> = superblock
        .get(end_at..end_at + 8)
        .and_then(|bytes| bytes.try_into().ok());
    let Some(end) = end.map(u64::from_le_bytes) else {
        return Err(bad("it ends inside the superblock".to_owned()));
    };
    if end > file.len() {
        return Err(bad(format!(
            "the file was cut short or is still being written: it should have {end} bytes and has {}",
            file.len()
        )));
    }
    Ok(())
}

/// All datasets of numbers or other things, in order of path.
fn candidates(file: &H5File) -> Vec<Candidate> {
    let mut names = file.dataset_names();
    names.sort();
    names
        .into_iter()
        .filter_map(|name| {
            let dataset = file.dataset(&name).ok()?;
            let datatype = dataset.datatype().ok()?;
            Some(Candidate {
                dims: dataset.shape().iter().map(|&len| len as u64).collect(),
                sample_type: sample_of(&datatype).map(|sample| sample.sample_type),
                type_name: datatype.to_string(),
                name: name.trim_start_matches('/').to_owned(),
            })
        })
        .collect()
}

/// The number type of a datatype, where it is one of the seven and uses all of its bits.
fn sample_of(datatype: &DatatypeMessage) -> Option<Sample> {
    let (sample_type, order) = match *datatype {
        DatatypeMessage::FixedPoint {
            size,
            byte_order,
            signed,
            bit_offset: 0,
            bit_precision,
        } if u32::from(bit_precision) == 8 * size => {
            let sample_type = match (size, signed) {
                (1, false) => SampleType::U8,
                (2, false) => SampleType::U16,
                (4, false) => SampleType::U32,
                (2, true) => SampleType::I16,
                (4, true) => SampleType::I32,
                _ => return None,
            };
            (sample_type, byte_order)
        }
        DatatypeMessage::FloatingPoint {
            size: 4,
            byte_order,
            bit_offset: 0,
            bit_precision: 32,
            exponent_size: 8,
            mantissa_size: 23,
            exponent_bias: 127,
            ..
        } => (SampleType::F32, byte_order),
        DatatypeMessage::FloatingPoint {
            size: 8,
            byte_order,
            bit_offset: 0,
            bit_precision: 64,
            exponent_size: 11,
            mantissa_size: 52,
            exponent_bias: 1023,
            ..
        } => (SampleType::F64, byte_order),
        _ => return None,
    };
    let big_endian = match order {
        ByteOrder::LittleEndian => false,
        ByteOrder::BigEndian => true,
        // The order of the VAX.
        #[allow(
            unreachable_patterns,
            reason = "some versions of the reader know more orders"
        )]
        _ => return None,
    };
    Some(Sample {
        sample_type,
        big_endian,
    })
}

impl Storage {
    fn of(
        dataset: &H5Dataset,
        chosen: &Candidate,
        shape: &SeriesShape,
        sample: Sample,
    ) -> Result<Self, String> {
        let dims = chosen.dims.clone();
        let sample_bytes = sample.sample_type.n_bytes() as u64;
        let chunk = match dataset.storage_layout().map_err(|e| e.to_string())? {
            StorageLayout::Chunked => {
                let chunk = dataset.chunk_dims().ok_or("blocks without a shape")?;
                Some(chunk.iter().map(|&len| len as u64).collect::<Vec<u64>>())
            }
            StorageLayout::Virtual => {
                return Err(format!(
                    "{} is a virtual dataset, made of parts of other files; list those files as data.files",
                    chosen.name
                ));
            }
            StorageLayout::Contiguous | StorageLayout::Compact => None,
        };
        let frame_bytes = (shape.frame_len() as u64).saturating_mul(sample_bytes);
        let Some(chunk) = chunk else {
            let n_frames = (SPAN_BYTES / frame_bytes.max(1)).max(1);
            let mut lens = vec![1; dims.len() - 3];
            lens.push(n_frames.min(dims[dims.len() - 3]));
            lens.extend(&dims[dims.len() - 2..]);
            let grid = ChunkGrid {
                dims,
                chunk: lens,
                sample_bytes,
            };
            return Ok(Self::Spans { grid, chunk: None });
        };
        let grid = ChunkGrid {
            dims,
            chunk,
            sample_bytes,
        };
        if !grid.is_valid() {
            return Err(format!(
                "blocks of shape {:?} do not fit the axes",
                grid.chunk
            ));
        }
        let chunk_bytes = grid
            .chunk
            .iter()
            .try_fold(sample_bytes, |n, &len| n.checked_mul(len));
        if chunk_bytes.is_none_or(|n| n > LARGEST_CHUNK_BYTES) {
            return Err(format!(
                "blocks of shape {:?} hold more than {LARGEST_CHUNK_BYTES} bytes",
                grid.chunk
            ));
        }
        let n_chunks = grid
            .counts()
            .iter()
            .fold(1, |n: u64, &c| n.saturating_mul(c));
        if n_chunks <= MOST_CHUNKS_BY_LOOKUP {
            let filters = dataset.filters().map_err(|e| e.to_string())?;
            return Ok(Self::Chunks {
                grid,
                pipeline: FilterPipeline { filters },
            });
        }
        let chunk = grid.chunk.clone();
        Ok(Self::Spans {
            grid: widened(grid, shape, frame_bytes),
            chunk: Some(chunk),
        })
    }

    fn grid(&self) -> &ChunkGrid {
        match self {
            Self::Chunks { grid, .. } | Self::Spans { grid, .. } => grid,
        }
    }

    /// The file's own block.
    fn chunk(&self) -> Option<&[u64]> {
        match self {
            Self::Chunks { grid, .. } => Some(&grid.chunk),
            Self::Spans { chunk, .. } => chunk.as_deref(),
        }
    }
}

/// Joins neighboring blocks along columns, then along times, up to [`SPAN_BYTES`].
fn widened(mut grid: ChunkGrid, shape: &SeriesShape, frame_bytes: u64) -> ChunkGrid {
    let lead = grid.dims.len() - 2;
    grid.chunk[lead..].copy_from_slice(&grid.dims[lead..]);
    // In a stack, a box that reaches into the next scan would read frames that are not wanted.
    let longest = if lead == 1 {
        shape.n_positions() as u64
    } else {
        grid.dims[lead - 1]
    };
    for (axis, longest) in [(lead - 1, longest), (0, grid.dims[0])] {
        let frames = grid.chunk[..lead].iter().product::<u64>();
        let fits = SPAN_BYTES / frame_bytes.max(1).saturating_mul(frames).max(1);
        let whole = longest.div_ceil(grid.chunk[axis]);
        if axis != 0 || lead == 1 || lead == 3 {
            grid.chunk[axis] *= fits.clamp(1, whole.max(1));
        }
        if lead == 1 {
            break;
        }
    }
    grid
}

impl Hdf5Source {
    fn lock(&self) -> MutexGuard<'_, H5Dataset> {
        self.dataset.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn corrupt(&self, place: String, problem: String) -> Error {
        // The decoder has no kind of its own for a codec that it lacks.
        if problem.starts_with("unsupported") {
            return Error::Unsupported {
                path: self.path.clone(),
                dataset: format!("dataset {}", self.name),
                problem,
            };
        }
        Error::Corrupt {
            path: self.path.clone(),
            dataset: format!("dataset {}", self.name),
            place,
            problem,
        }
    }

    /// Fetches and decodes one block.
    fn decode_chunk(
        &self,
        grid: &ChunkGrid,
        pipeline: &FilterPipeline,
        chunk: &[u64],
    ) -> Result<Decoded> {
        let (stored, mask) = self.fetch(chunk)?;
        let n_bytes = grid.chunk.iter().product::<u64>() * grid.sample_bytes;
        let mut bytes = Vec::new();
        bytes
            .try_reserve_exact(n_bytes as usize)
            .map_err(|_| Error::Memory {
                what: format!("chunk {chunk:?} of {}", self.path.display()),
                n_bytes,
            })?;
        bytes.resize(n_bytes as usize, 0);
        reverse_filters_masked_into(pipeline, &stored, mask, &mut bytes)
            .map_err(|e| self.corrupt(format!("chunk {chunk:?}"), e.to_string()))?;
        Ok(Decoded {
            span: Span {
                first: chunk
                    .iter()
                    .zip(&grid.chunk)
                    .map(|(c, len)| c * len)
                    .collect(),
                lens: grid.chunk.clone(),
            },
            bytes,
            big_endian: self.sample.big_endian,
        })
    }

    /// The stored bytes of a block.
    fn fetch(&self, chunk: &[u64]) -> Result<(Vec<u8>, u32)> {
        let index: Vec<usize> = chunk.iter().map(|&c| c as usize).collect();
        self.lock().read_chunk_raw_at(&index).map_err(|e| {
            let problem = e.to_string();
            if problem.contains("has not been written") {
                return Error::MissingChunk {
                    path: self.path.clone(),
                    dataset: format!("dataset {}", self.name),
                    chunk: chunk.to_vec(),
                    entry: "the file from its origin".to_owned(),
                };
            }
            self.corrupt(format!("chunk {chunk:?}"), problem)
        })
    }

    /// Lets the reader fill a box.
    fn read_span(&self, span: &Span, chunk: Option<&[u64]>) -> Result<Decoded> {
        let first: Vec<usize> = span.first.iter().map(|&n| n as usize).collect();
        let lens: Vec<usize> = span.lens.iter().map(|&n| n as usize).collect();
        let dataset = self.lock();
        let samples = match self.sample.sample_type {
            SampleType::U8 => dataset.read_slice(&first, &lens).map(Samples::U8),
            SampleType::U16 => dataset.read_slice(&first, &lens).map(Samples::U16),
            SampleType::U32 => dataset.read_slice(&first, &lens).map(Samples::U32),
            SampleType::I16 => dataset.read_slice(&first, &lens).map(Samples::I16),
            SampleType::I32 => dataset.read_slice(&first, &lens).map(Samples::I32),
            SampleType::F32 => dataset.read_slice(&first, &lens).map(Samples::F32),
            SampleType::F64 => dataset.read_slice(&first, &lens).map(Samples::F64),
        };
        drop(dataset);
        let samples = samples
            .map_err(|e| self.corrupt(format!("box {:?} from {first:?}", lens), e.to_string()))?;
        let bytes = little_endian(&samples, 0..samples.len());
        if let Some(chunk) = chunk {
            self.check_empty_chunks(span, chunk, &bytes)?;
        }
        Ok(Decoded {
            span: span.clone(),
            bytes,
            big_endian: false,
        })
    }

    /// Makes sure that blocks without any count were written: the reader fills missing ones with zeros.
    fn check_empty_chunks(&self, span: &Span, chunk: &[u64], bytes: &[u8]) -> Result<()> {
        let sample_bytes = self.sample.sample_type.n_bytes();
        let last = span.lens.len() - 1;
        let row_bytes = span.lens[last] as usize * sample_bytes;
        let mut empty = std::collections::BTreeMap::new();
        for (row, samples) in bytes.chunks_exact(row_bytes).enumerate() {
            let mut index = vec![0; last + 1];
            let mut rest = row as u64;
            for axis in (0..last).rev() {
                index[axis] = (span.first[axis] + rest % span.lens[axis]) / chunk[axis];
                rest /= span.lens[axis];
            }
            let mut col = 0;
            while col < span.lens[last] {
                let at = span.first[last] + col;
                index[last] = at / chunk[last];
                let n = (chunk[last] - at % chunk[last]).min(span.lens[last] - col);
                let range = col as usize * sample_bytes..(col + n) as usize * sample_bytes;
                let is_empty = samples[range].iter().all(|&byte| byte == 0);
                *empty.entry(index.clone()).or_insert(true) &= is_empty;
                col += n;
            }
        }
        for (index, _) in empty.iter().filter(|&(_, &is_empty)| is_empty) {
            self.fetch(index)?;
        }
        Ok(())
    }
}

impl FrameSource for Hdf5Source {
    fn header(&self) -> &SeriesHeader {
        &self.header
    }

    fn read(&self, run: &FrameRun, block: &mut FrameBlock) -> halotau::Result<()> {
        let shape = &self.header.shape;
        prepare(block, run, &self.header)
            .and_then(|()| match &self.storage {
                Storage::Chunks { grid, pipeline } => {
                    read_chunked(grid, shape, run, block, |chunk, _| {
                        self.decode_chunk(grid, pipeline, chunk)
                    })
                }
                Storage::Spans { grid, chunk } => {
                    read_chunked(grid, shape, run, block, |_, needed| {
                        self.read_span(needed, chunk.as_deref())
                    })
                }
            })
            .map_err(|e| e.into_core(&self.header.name))
    }
}

impl std::fmt::Debug for Hdf5Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Hdf5Source")
            .field("path", &self.path)
            .field("dataset", &self.name)
            .field("header", &self.header)
            .finish_non_exhaustive()
    }
}
