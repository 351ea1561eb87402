//! How are the samples of one HDF5 dataset stored?

use std::sync::{Arc, OnceLock};

use rust_hdf5::format::UNDEF_ADDR;
use rust_hdf5::format::messages::data_layout::DataLayoutMessage;
use rust_hdf5::format::messages::dataspace::DataspaceMessage;
use rust_hdf5::format::messages::{
    MSG_DATA_LAYOUT, MSG_DATASPACE, MSG_DATATYPE, MSG_EXTERNAL_FILE_LIST, MSG_FILTER_PIPELINE,
};
use rust_hdf5::{DatatypeMessage, Filter, FilterPipeline};

use super::chunk_index::{ChunkIndex, Stored};
use super::file::{Hdf5File, Object, Problem};
use super::filters::{self, Refusal};
use super::value::{StoredNumber, Value};
use crate::chunked::ChunkGrid;
use crate::error::{Error, Result};

/// Decoded blocks are at most this large in HDF5.
const LARGEST_CHUNK_BYTES: u64 = 4 << 30;

/// Bytes of a dataset that is read as metadata.
const MOST_METADATA_BYTES: u64 = 16 << 20;

/// A dataset of an open file.
#[derive(Debug)]
pub(super) struct Dataset {
    pub(super) file: Arc<Hdf5File>,
    /// Its path, without the first slash.
    pub(super) name: String,
    pub(super) dims: Vec<u64>,
    largest: Vec<u64>,
    pub(super) datatype: DatatypeMessage,
    pub(super) layout: DataLayoutMessage,
    filters: Vec<Filter>,
    is_external: bool,
    index: OnceLock<Problem<ChunkIndex>>,
}

/// Where samples are.
#[derive(Debug)]
pub(super) enum Place<'a> {
    /// One after another from an address on.
    Contiguous(u64),
    /// In the header itself.
    Inside(&'a [u8]),
    /// In blocks of this shape.
    Chunks(&'a [u64]),
    /// In parts of other datasets.
    Virtual,
}

impl Dataset {
    /// The dataset that an object is; `None` for groups and types, and for what cannot be decoded.
    pub(super) fn of(file: &Arc<Hdf5File>, object: &Object, name: &str) -> Option<Self> {
        let context = &file.context;
        let (space, _) = DataspaceMessage::decode(object.message(MSG_DATASPACE)?, context).ok()?;
        let (datatype, _) = DatatypeMessage::decode(object.message(MSG_DATATYPE)?, context).ok()?;
        let (layout, _) =
            DataLayoutMessage::decode(object.message(MSG_DATA_LAYOUT)?, context).ok()?;
        let filters = match object.message(MSG_FILTER_PIPELINE) {
            Some(message) => FilterPipeline::decode(message).ok()?.0.filters,
            None => Vec::new(),
        };
        let largest = space.max_dims.unwrap_or_else(|| space.dims.clone());
        Some(Self {
            file: file.clone(),
            name: name.to_owned(),
            dims: space.dims,
            largest,
            datatype,
            layout,
            filters,
            is_external: object.message(MSG_EXTERNAL_FILE_LIST).is_some(),
            index: OnceLock::new(),
        })
    }

    /// The dataset at a path inside a file.
    pub(super) fn find(file: &Arc<Hdf5File>, path: &str) -> Option<Self> {
        Self::of(file, file.object(path)?, path.trim_matches('/'))
    }

    /// Whether its first axis may become longer.
    pub(super) fn may_grow(&self) -> bool {
        self.largest.first() > self.dims.first()
    }

    /// Whether its blocks are compressed, or changed in another way.
    pub(super) fn is_filtered(&self) -> bool {
        !self.filters.is_empty()
    }

    /// Its number type, where it is one that is read.
    pub(super) fn number(&self) -> Option<StoredNumber> {
        StoredNumber::of(&self.datatype)
    }

    /// Where its samples are.
    ///
    /// # Errors
    ///
    /// In words, where the layout contradicts the shape, or is of a kind that is not read.
    pub(super) fn place(&self) -> Problem<Place<'_>> {
        if self.is_external {
            return Err("its samples are in another, raw file".to_owned());
        }
        match &self.layout {
            DataLayoutMessage::Contiguous { address, .. } => {
                let n_bytes = self
                    .n_bytes()
                    .ok_or("it has more samples than can be counted")?;
                match *address {
                    _ if n_bytes == 0 => Ok(Place::Inside(&[])),
                    UNDEF_ADDR => Err("no sample of it was written".to_owned()),
                    address if self.file.holds(address, n_bytes) => Ok(Place::Contiguous(address)),
                    _ => Err(format!(
                        "its {n_bytes} bytes reach over the end of the file"
                    )),
                }
            }
            DataLayoutMessage::Compact { data } if Some(data.len() as u64) == self.n_bytes() => {
                Ok(Place::Inside(data))
            }
            DataLayoutMessage::Compact { data } => Err(format!(
                "it holds {} bytes, its shape another number",
                data.len()
            )),
            DataLayoutMessage::ChunkedV3 { chunk_dims, .. }
            | DataLayoutMessage::ChunkedV4 { chunk_dims, .. } => {
                // The last length is that of a sample.
                let chunk = &chunk_dims[..chunk_dims.len().saturating_sub(1)];
                if chunk.len() != self.dims.len() || chunk.contains(&0) {
                    return Err(format!("blocks of shape {chunk:?} do not fit the axes"));
                }
                let sample_bytes = u64::from(self.datatype.element_size());
                let n_bytes = chunk
                    .iter()
                    .try_fold(sample_bytes, |n, &len| n.checked_mul(len));
                if n_bytes.is_none_or(|n| n > LARGEST_CHUNK_BYTES) {
                    return Err(format!(
                        "blocks of shape {chunk:?} hold more than {LARGEST_CHUNK_BYTES} bytes"
                    ));
                }
                Ok(Place::Chunks(chunk))
            }
            DataLayoutMessage::Virtual { .. } => Ok(Place::Virtual),
        }
    }

    fn n_bytes(&self) -> Option<u64> {
        let sample_bytes = u64::from(self.datatype.element_size());
        self.dims
            .iter()
            .try_fold(sample_bytes, |n, &len| n.checked_mul(len))
    }

    /// The index of its blocks, which is read when it is first asked for.
    pub(super) fn index(&self) -> Problem<&ChunkIndex> {
        let index = self.index.get_or_init(|| {
            let Place::Chunks(chunk) = self.place()? else {
                return Ok(ChunkIndex::default());
            };
            let grid = ChunkGrid {
                dims: self.dims.clone(),
                chunk: chunk.to_vec(),
                sample_bytes: u64::from(self.datatype.element_size()),
            };
            ChunkIndex::read(&self.file, &self.layout, &grid, &self.largest)
        });
        index.as_ref().map_err(Clone::clone)
    }

    /// Fetches and decodes a block.
    pub(super) fn read_chunk(&self, stored: Stored, place: impl Fn() -> String) -> Result<Vec<u8>> {
        let n_bytes = match self.place() {
            Ok(Place::Chunks(chunk)) => chunk.iter().product::<u64>(),
            _ => 0,
        };
        let n_bytes = n_bytes * u64::from(self.datatype.element_size());
        // Stored blocks lie inside the file, which the index has made sure of.
        let mut bytes = vec![0; stored.n_bytes as usize];
        self.file.read_samples(stored.address, &mut bytes)?;
        filters::decode(&self.filters, bytes, stored.mask, n_bytes as usize).map_err(|refusal| {
            match refusal {
                Refusal::Unsupported(problem) => Error::Unsupported {
                    path: self.file.path().to_owned(),
                    dataset: self.say(),
                    problem,
                },
                Refusal::Damaged(problem) => self.corrupt(place(), problem),
            }
        })
    }

    pub(super) fn corrupt(&self, place: String, problem: String) -> Error {
        Error::Corrupt {
            path: self.file.path().to_owned(),
            dataset: self.say(),
            place,
            problem,
        }
    }

    /// What errors call it.
    pub(super) fn say(&self) -> String {
        format!("dataset {}", self.name)
    }

    /// All of its bytes, last axis fastest; `None` where they are many, or not all there.
    pub(super) fn read_all(&self) -> Option<Vec<u8>> {
        let n_bytes = self.n_bytes().filter(|&n| n <= MOST_METADATA_BYTES)?;
        match self.place().ok()? {
            Place::Contiguous(address) => self.file.read(address, n_bytes).ok(),
            Place::Inside(bytes) => Some(bytes.to_vec()),
            Place::Virtual => None,
            Place::Chunks(chunk) => self.read_all_chunks(chunk, n_bytes as usize),
        }
    }

    fn read_all_chunks(&self, chunk: &[u64], n_bytes: usize) -> Option<Vec<u8>> {
        let index = self.index().ok()?;
        let sample_bytes = self.datatype.element_size() as usize;
        let counts: Vec<u64> = self
            .dims
            .iter()
            .zip(chunk)
            .map(|(len, chunk)| len.div_ceil(*chunk))
            .collect();
        let n_chunks: u64 = counts.iter().product();
        let mut out = vec![0; n_bytes];
        for number in 0..n_chunks {
            let stored = index.find(number)?;
            let bytes = self.read_chunk(stored, || format!("chunk {number}")).ok()?;
            let mut rest = number;
            let mut first = vec![0; chunk.len()];
            for axis in (0..chunk.len()).rev() {
                first[axis] = rest % counts[axis] * chunk[axis];
                rest /= counts[axis];
            }
            let last = chunk.len().checked_sub(1)?;
            let row = (chunk[last].min(self.dims[last] - first[last]) as usize) * sample_bytes;
            let row_bytes = chunk[last] as usize * sample_bytes;
            for (nth, from) in bytes.chunks_exact(row_bytes).enumerate() {
                let mut rest = nth as u64;
                let mut at = 0;
                let mut scale = self.dims[last];
                let mut inside = true;
                for axis in (0..last).rev() {
                    let coord = first[axis] + rest % chunk[axis];
                    rest /= chunk[axis];
                    inside &= coord < self.dims[axis];
                    at += coord * scale;
                    scale *= self.dims[axis];
                }
                if inside {
                    let at = (at + first[last]) as usize * sample_bytes;
                    out[at..at + row].copy_from_slice(&from[..row]);
                }
            }
        }
        Some(out)
    }

    /// What it holds, where that is little.
    pub(super) fn value(&self) -> Option<Value> {
        Value::decode(&self.file, &self.datatype, &self.read_all()?)
    }
}

/// The value of a small dataset.
pub(super) fn value_at(file: &Arc<Hdf5File>, path: &str) -> Option<Value> {
    Dataset::find(file, path)?.value()
}
