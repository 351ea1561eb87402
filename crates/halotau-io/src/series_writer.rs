//! How does a series larger than memory get into a file?
//!
//! It is written in blocks, in any order: rows over all times where it is simulated so, some times of a row where it comes from
//! another file. Everything goes to a name that ends in `.partial` and gets its own name when it is complete, so that no reader
//! meets half a series.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use halotau::series::{SampleType, Samples, SeriesHeader, Stated};
use rayon::prelude::*;
use serde_json::{Map, Value, json};
use zarrs::array::{Array, ArrayBytes, ArrayMetadata, CodecOptions};
use zarrs::filesystem::FilesystemStore;

use crate::error::{Error, Result, io_error_inside};
use crate::positioned::write_all_at;
use crate::sample_bytes::{little_endian, to_numpy};

/// Times in a block: long enough that reading one position over all times opens few files.
const CHUNK_TIMES: usize = 16;

/// Scan columns in a block; with patterns of 66 x 66 u16 a block is then about 1 MB.
const CHUNK_COLS: usize = 8;

/// Counts compress nearly as well at the fastest level of zstd, and simulation should not wait for it.
const ZSTD_LEVEL: i32 = 1;

/// Container of a written series.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SeriesFormat {
    /// Zarr v3, compressed and with checksums; keeps what the header states.
    Zarr,
    /// NumPy; keeps shape and type only.
    Npy,
    /// Samples only, little-endian.
    Raw,
}

/// Writes a series in bands of scan rows.
///
/// # Example
///
/// ```
/// use halotau::series::{SampleType, Samples, SeriesHeader, SeriesShape};
/// use halotau_io::{OpenRequest, SeriesFormat, SeriesWriter, open};
///
/// let folder = tempfile::tempdir()?;
/// let path = folder.path().join("series.zarr");
/// let shape = SeriesShape { n_times: 2, n_rows: 1, n_cols: 1, pattern_rows: 1, pattern_cols: 2 };
/// let header = SeriesHeader::new("series", "memory", shape, SampleType::U8);
/// let mut writer = SeriesWriter::create(&path, &header, SeriesFormat::Zarr)?;
/// writer.write_block(0, 1, &Samples::U8(vec![1, 2, 3, 4]))?;
/// writer.finish()?;
/// assert_eq!(open(&OpenRequest::new(&path))?.header().shape, shape);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct SeriesWriter {
    path: PathBuf,
    partial: PathBuf,
    header: SeriesHeader,
    target: Target,
    written: Vec<bool>,
    finished: bool,
}

enum Target {
    Zarr(Box<Array<FilesystemStore>>),
    Linear { file: File, data_start: u64 },
}

impl SeriesWriter {
    /// Starts a series at a path where nothing is yet.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] where the path exists or cannot be created.
    pub fn create(path: &Path, header: &SeriesHeader, format: SeriesFormat) -> Result<Self> {
        if path.symlink_metadata().is_ok() {
            let exists = std::io::ErrorKind::AlreadyExists.into();
            return Err(Error::io(path, "create", exists));
        }
        let mut partial = path.as_os_str().to_owned();
        partial.push(".partial");
        let partial = PathBuf::from(partial);
        remove(&partial);
        let target = match format {
            SeriesFormat::Zarr => create_zarr(&partial, header)?,
            SeriesFormat::Npy => create_linear(&partial, header, &npy_header(header))?,
            SeriesFormat::Raw => create_linear(&partial, header, &[])?,
        };
        Ok(Self {
            path: path.to_owned(),
            partial,
            header: header.clone(),
            target,
            written: vec![false; n_chunks(header)],
            finished: false,
        })
    }

    /// Writes scan rows over all times: samples `[time, row, col, pattern row, pattern col]`.
    ///
    /// # Errors
    ///
    /// [`Error::Value`] where the samples are not those of `n_rows` rows, [`Error::Io`] where writing fails.
    pub fn write_block(
        &mut self,
        first_row: usize,
        n_rows: usize,
        samples: &Samples,
    ) -> Result<()> {
        let shape = self.header.shape;
        let block = SeriesBlock {
            first_time: 0,
            n_times: shape.n_times,
            first_row,
            n_rows,
            first_col: 0,
            n_cols: shape.n_cols,
        };
        self.write(&block, samples)
    }

    /// Blocks of at most so many bytes, or of the smallest size that can be written, that together are the series.
    ///
    /// Each is part of one scan row, so that its frames of one time follow each other.
    pub fn blocks(&self, most_bytes: u64) -> Vec<SeriesBlock> {
        let shape = self.header.shape;
        let (chunk_times, chunk_cols) = chunk_lens(&self.header);
        let frame_bytes = shape.frame_len() * self.header.sample_type.n_bytes();
        let chunk_bytes = (chunk_times * chunk_cols * frame_bytes).max(1) as u64;
        let cols_at_once = chunk_cols
            * usize::try_from(most_bytes / chunk_bytes)
                .unwrap_or(1)
                .max(1);
        let mut blocks = Vec::new();
        for first_time in (0..shape.n_times).step_by(chunk_times) {
            for first_row in 0..shape.n_rows {
                for first_col in (0..shape.n_cols).step_by(cols_at_once) {
                    blocks.push(SeriesBlock {
                        first_time,
                        n_times: chunk_times.min(shape.n_times - first_time),
                        first_row,
                        n_rows: 1,
                        first_col,
                        n_cols: cols_at_once.min(shape.n_cols - first_col),
                    });
                }
            }
        }
        blocks
    }

    /// Writes a block: samples `[time, row, col, pattern row, pattern col]`.
    ///
    /// # Errors
    ///
    /// [`Error::Value`] where the samples are not those of the block, or it does not begin and end where stored chunks do (see
    /// [`SeriesWriter::blocks`]), [`Error::Io`] where writing fails.
    pub fn write(&mut self, block: &SeriesBlock, samples: &Samples) -> Result<()> {
        let shape = self.header.shape;
        let frame_len = shape.frame_len();
        let (chunk_times, chunk_cols) = chunk_lens(&self.header);
        let aligned = |first: usize, n: usize, chunk: usize, len: usize| {
            let end = first.checked_add(n);
            first.is_multiple_of(chunk)
                && end.is_some_and(|end| end == len || (end < len && end.is_multiple_of(chunk)))
        };
        let fits = aligned(block.first_row, block.n_rows, 1, shape.n_rows)
            && aligned(block.first_time, block.n_times, chunk_times, shape.n_times)
            && aligned(block.first_col, block.n_cols, chunk_cols, shape.n_cols)
            && samples.sample_type() == self.header.sample_type
            && samples.len() == block.n_times * block.n_rows * block.n_cols * frame_len;
        if !fits {
            return Err(Error::Value {
                what: format!("{block:?} of {}", self.path.display()),
                expected: format!("{} of {shape}, whole chunks", self.header.sample_type),
                found: format!("{} {} samples", samples.len(), samples.sample_type()),
            });
        }
        let chunks = block.chunks(chunk_times, chunk_cols);
        match &self.target {
            Target::Zarr(array) => chunks
                .par_iter()
                .try_for_each(|chunk| self.store_chunk(array, block, samples, chunk))?,
            Target::Linear { file, data_start } => {
                let sample_bytes = self.header.sample_type.n_bytes();
                for time in 0..block.n_times {
                    for row in 0..block.n_rows {
                        let start = (time * block.n_rows + row) * block.n_cols * frame_len;
                        let bytes = little_endian(samples, start..start + block.n_cols * frame_len);
                        let frame =
                            ((block.first_time + time) * shape.n_rows + block.first_row + row)
                                * shape.n_cols
                                + block.first_col;
                        let offset = data_start + (frame * frame_len * sample_bytes) as u64;
                        write_all_at(file, &bytes, offset)
                            .map_err(|e| Error::io(&self.partial, "write", e))?;
                    }
                }
            }
        }
        let n_col_chunks = shape.n_cols.div_ceil(chunk_cols);
        for [time_chunk, row, col_chunk] in chunks {
            self.written[(time_chunk * shape.n_rows + row) * n_col_chunks + col_chunk] = true;
        }
        Ok(())
    }

    /// Makes the series durable and gives it its name.
    ///
    /// # Errors
    ///
    /// [`Error::Value`] where rows were never written, [`Error::Io`] where the system refuses.
    pub fn finish(mut self) -> Result<()> {
        if let Some(chunk) = self.written.iter().position(|&written| !written) {
            let shape = self.header.shape;
            let n_col_chunks = shape.n_cols.div_ceil(chunk_lens(&self.header).1);
            let row = chunk / n_col_chunks % shape.n_rows;
            return Err(Error::Value {
                what: self.path.display().to_string(),
                expected: format!("all {} scan rows", shape.n_rows),
                found: format!("no samples for row {row}"),
            });
        }
        if let Target::Linear { file, .. } = &self.target {
            file.sync_all()
                .map_err(|e| Error::io(&self.partial, "write", e))?;
        }
        std::fs::rename(&self.partial, &self.path)
            .map_err(|e| Error::io(&self.path, "create", e))?;
        self.finished = true;
        Ok(())
    }

    /// Stores the chunk `[time, row, col]` of the series from a block that holds all of it.
    fn store_chunk(
        &self,
        array: &Array<FilesystemStore>,
        block: &SeriesBlock,
        samples: &Samples,
        &[time_chunk, row, col_chunk]: &[usize; 3],
    ) -> Result<()> {
        let frame_len = self.header.shape.frame_len();
        let sample_bytes = self.header.sample_type.n_bytes();
        let (chunk_times, chunk_cols) = chunk_lens(&self.header);
        let first_time = time_chunk * chunk_times - block.first_time;
        let first_col = col_chunk * chunk_cols - block.first_col;
        let n_cols = chunk_cols.min(block.n_cols - first_col);
        // Chunks at the end are stored whole, filled up with zeros.
        let mut bytes = Vec::with_capacity(chunk_times * chunk_cols * frame_len * sample_bytes);
        for time in first_time..(first_time + chunk_times).min(block.n_times) {
            let row = time * block.n_rows + row - block.first_row;
            let start = (row * block.n_cols + first_col) * frame_len;
            bytes.extend(little_endian(samples, start..start + n_cols * frame_len));
            let filled = (time - first_time + 1) * chunk_cols * frame_len * sample_bytes;
            bytes.resize(filled, 0);
        }
        bytes.resize(chunk_times * chunk_cols * frame_len * sample_bytes, 0);
        if cfg!(target_endian = "big") {
            bytes
                .chunks_exact_mut(sample_bytes)
                .for_each(<[u8]>::reverse);
        }
        let index = [time_chunk as u64, row as u64, col_chunk as u64, 0, 0];
        // A chunk without counts is written too: a missing one means a broken copy.
        let mut options = CodecOptions::default();
        options.set_store_empty_chunks(true);
        array
            .store_chunk_opt(&index, ArrayBytes::new_flen(bytes), &options)
            .map_err(|e| write_error(&self.partial, &e))
    }
}

impl Drop for SeriesWriter {
    fn drop(&mut self) {
        if !self.finished {
            remove(&self.partial);
        }
    }
}

impl std::fmt::Debug for SeriesWriter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SeriesWriter")
            .field("path", &self.path)
            .field("header", &self.header)
            .finish_non_exhaustive()
    }
}

/// Part of a series: some times of some scan rows, or of some of their columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "each field is the index that it names")]
pub struct SeriesBlock {
    pub first_time: usize,
    pub n_times: usize,
    pub first_row: usize,
    pub n_rows: usize,
    pub first_col: usize,
    pub n_cols: usize,
}

impl SeriesBlock {
    /// Chunks `[time, row, col]` that the block holds, of one row each.
    fn chunks(&self, chunk_times: usize, chunk_cols: usize) -> Vec<[usize; 3]> {
        let mut chunks = Vec::new();
        for time in (self.first_time..self.first_time + self.n_times).step_by(chunk_times) {
            for row in self.first_row..self.first_row + self.n_rows {
                for col in (self.first_col..self.first_col + self.n_cols).step_by(chunk_cols) {
                    chunks.push([time / chunk_times, row, col / chunk_cols]);
                }
            }
        }
        chunks
    }
}

fn chunk_lens(header: &SeriesHeader) -> (usize, usize) {
    let shape = header.shape;
    (
        shape.n_times.clamp(1, CHUNK_TIMES),
        shape.n_cols.clamp(1, CHUNK_COLS),
    )
}

fn n_chunks(header: &SeriesHeader) -> usize {
    let (chunk_times, chunk_cols) = chunk_lens(header);
    let shape = header.shape;
    shape.n_times.div_ceil(chunk_times) * shape.n_rows * shape.n_cols.div_ceil(chunk_cols)
}

fn create_zarr(partial: &Path, header: &SeriesHeader) -> Result<Target> {
    let shape = header.shape;
    let (chunk_times, chunk_cols) = chunk_lens(header);
    let data_type = match header.sample_type {
        SampleType::U8 => "uint8",
        SampleType::U16 => "uint16",
        SampleType::U32 => "uint32",
        SampleType::I16 => "int16",
        SampleType::I32 => "int32",
        SampleType::F32 => "float32",
        SampleType::F64 => "float64",
    };
    let fill_value = match header.sample_type {
        SampleType::F32 | SampleType::F64 => json!(0.0),
        _ => json!(0),
    };
    let metadata = json!({
        "zarr_format": 3,
        "node_type": "array",
        "shape": [shape.n_times, shape.n_rows, shape.n_cols, shape.pattern_rows, shape.pattern_cols],
        "data_type": data_type,
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape":
            [chunk_times, 1, chunk_cols, shape.pattern_rows, shape.pattern_cols]}},
        "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
        "fill_value": fill_value,
        "codecs": [
            {"name": "bytes", "configuration": {"endian": "little"}},
            {"name": "zstd", "configuration": {"level": ZSTD_LEVEL, "checksum": false}},
            {"name": "crc32c"},
        ],
        "attributes": attributes(header),
        "dimension_names": ["time", "row", "col", "pattern_row", "pattern_col"],
    });
    std::fs::create_dir_all(partial).map_err(|e| Error::io(partial, "create", e))?;
    let store = FilesystemStore::new(partial).map_err(|e| write_error(partial, &e))?;
    let metadata =
        ArrayMetadata::V3(serde_json::from_value(metadata).map_err(|e| write_error(partial, &e))?);
    let array = Array::new_with_metadata(Arc::new(store), "/", metadata)
        .map_err(|e| write_error(partial, &e))?;
    array
        .store_metadata()
        .map_err(|e| write_error(partial, &e))?;
    Ok(Target::Zarr(Box::new(array)))
}

/// What the header states, under the names that the reader knows.
fn attributes(header: &SeriesHeader) -> Value {
    let stated: [(&str, &Option<Stated>); 8] = [
        ("step_nm", &header.step_nm),
        ("q_step_per_nm", &header.q_step_per_nm),
        ("voltage_kv", &header.voltage_kv),
        ("convergence_mrad", &header.convergence_mrad),
        ("dwell_ms", &header.dwell_ms),
        ("period_s", &header.period_s),
        ("total_s", &header.total_s),
        ("temperature_k", &header.temperature_k),
    ];
    let mut attributes: Map<String, Value> = stated
        .into_iter()
        .filter_map(|(name, stated)| Some((name.to_owned(), json!(stated.as_ref()?.value))))
        .collect();
    if let Some(times) = &header.times_s {
        attributes.insert("times_s".to_owned(), json!(times));
    }
    if let Some(start) = header.start_unix_ns {
        attributes.insert("start_unix_ns".to_owned(), json!(start));
    }
    if !header.missing.is_empty() {
        attributes.insert(crate::metadata::MISSING.to_owned(), json!(header.missing));
    }
    Value::Object(attributes)
}

fn create_linear(partial: &Path, header: &SeriesHeader, start: &[u8]) -> Result<Target> {
    let io = |action, e| Error::io(partial, action, e);
    let n_bytes = header
        .shape
        .n_bytes(header.sample_type)
        .and_then(|n| n.checked_add(start.len() as u64))
        .ok_or_else(|| Error::Value {
            what: partial.display().to_string(),
            expected: "a series of less than 2^64 bytes".to_owned(),
            found: header.shape.to_string(),
        })?;
    let file = File::create(partial).map_err(|e| io("create", e))?;
    file.set_len(n_bytes).map_err(|e| io("write", e))?;
    write_all_at(&file, start, 0).map_err(|e| io("write", e))?;
    Ok(Target::Linear {
        file,
        data_start: start.len() as u64,
    })
}

/// A version 1 header, padded so that the samples start at a multiple of 64 bytes.
fn npy_header(header: &SeriesHeader) -> Vec<u8> {
    let shape = header.shape;
    let mut text = format!(
        "{{'descr': '{}', 'fortran_order': False, 'shape': ({}, {}, {}, {}, {}), }}",
        to_numpy(header.sample_type),
        shape.n_times,
        shape.n_rows,
        shape.n_cols,
        shape.pattern_rows,
        shape.pattern_cols,
    );
    let padding = (64 - (10 + text.len() + 1) % 64) % 64;
    text.push_str(&" ".repeat(padding));
    text.push('\n');
    let mut bytes = crate::npy::MAGIC.to_vec();
    bytes.extend([1, 0]);
    // Five lengths of at most 20 digits and a type need less than 200 bytes.
    bytes.extend((text.len() as u16).to_le_bytes());
    bytes.extend(text.as_bytes());
    bytes
}

fn write_error(path: &Path, error: &(dyn std::error::Error + 'static)) -> Error {
    let source = io_error_inside(error).unwrap_or_else(|| std::io::Error::other(error.to_string()));
    Error::io(path, "write", source)
}

/// Removes what an earlier attempt left; where that fails, creating the same name says why.
fn remove(partial: &Path) {
    let _ = if partial.is_dir() {
        std::fs::remove_dir_all(partial)
    } else {
        std::fs::remove_file(partial)
    };
}
