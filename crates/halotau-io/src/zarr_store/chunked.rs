//! One array: its metadata, its cutting into files, and the bytes of each.

use std::num::NonZeroU64;
use std::sync::Arc;

use halotau::ndarray::{ArrayD, ArrayViewD, CowArray, Dimension as _, IxDyn, Slice, indices};
use serde_json::{Map, Value, json};
use zarrs::array::{
    Array as ZarrArray, ArrayBytes, ArrayMetadata, ArrayToBytesCodecTraits as _, CodecChain,
    CodecOptions, DataType, FillValue,
};
use zarrs::storage::store::MemoryStore;

use super::{Named, Number};
use crate::error::{Error, Result};

/// Level of zstd. Counts are nearly random: higher levels cost time and gain 2 %.
const ZSTD_LEVEL: i32 = 1;

/// How an array is cut into files.
#[derive(Debug, Clone)]
pub(crate) struct Chunks {
    /// Lengths of one file along each axis.
    pub(crate) file: Vec<usize>,
    /// Lengths of the parts inside a file that can be read alone; `None` where the file is one part.
    pub(crate) part: Option<Vec<usize>>,
}

/// The metadata of one array and the codecs that they name.
#[derive(Debug)]
pub(crate) struct ChunkedArray {
    pub(crate) name: String,
    pub(crate) shape: Vec<usize>,
    pub(crate) metadata: Value,
    chunk: Vec<usize>,
    codecs: Arc<CodecChain>,
    data_type: DataType,
    fill_value: FillValue,
}

impl ChunkedArray {
    /// An array to be written.
    pub(crate) fn new<T: Number>(
        named: &Named,
        shape: &[usize],
        chunks: &Chunks,
        more_attributes: Map<String, Value>,
    ) -> Result<Self> {
        let mut attributes = Map::new();
        attributes.insert("units".to_owned(), json!(named.units));
        attributes.insert("long_name".to_owned(), json!(named.long_name));
        attributes.extend(more_attributes);
        let at_least_one =
            |lengths: &[usize]| -> Vec<usize> { lengths.iter().map(|&n| n.max(1)).collect() };
        let file = at_least_one(&chunks.file);
        let encoding = json!([
            {"name": "bytes", "configuration": {"endian": "little"}},
            {"name": "zstd", "configuration": {"level": ZSTD_LEVEL, "checksum": false}},
            {"name": "crc32c"},
        ]);
        let codecs = match &chunks.part {
            None => encoding,
            Some(part) => json!([{"name": "sharding_indexed", "configuration": {
                "chunk_shape": at_least_one(part),
                "codecs": encoding,
                "index_codecs": [
                    {"name": "bytes", "configuration": {"endian": "little"}},
                    {"name": "crc32c"},
                ],
                "index_location": "end",
            }}]),
        };
        Self::from_metadata(
            named.name,
            json!({
                "zarr_format": 3,
                "node_type": "array",
                "shape": shape,
                "data_type": T::DATA_TYPE,
                "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": file}},
                "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
                "fill_value": named.fill.map_or_else(T::fill_metadata, Value::from),
                "codecs": codecs,
                "attributes": attributes,
                "dimension_names": named.dimensions,
                "storage_transformers": [],
            }),
        )
        .map_err(|problem| Error::Value {
            what: format!("array {}", named.name),
            expected: "metadata that Zarr allows".to_owned(),
            found: problem,
        })
    }

    /// The array that metadata describe; the error is in words.
    pub(super) fn from_metadata(name: &str, metadata: Value) -> std::result::Result<Self, String> {
        let lengths = |value: &Value| -> Option<Vec<usize>> {
            value
                .as_array()?
                .iter()
                .map(|n| usize::try_from(n.as_u64()?).ok())
                .collect()
        };
        let shape = lengths(&metadata["shape"]).ok_or("it has no shape")?;
        let chunk = lengths(&metadata["chunk_grid"]["configuration"]["chunk_shape"])
            .filter(|chunk| chunk.len() == shape.len() && !chunk.contains(&0))
            .ok_or("it has no regular chunks")?;
        let parsed: ArrayMetadata =
            serde_json::from_value(metadata.clone()).map_err(|error| error.to_string())?;
        // The store stays empty: files are read and written by this crate, which checks and renames them.
        let array = ZarrArray::new_with_metadata(Arc::new(MemoryStore::new()), "/", parsed)
            .map_err(|error| error.to_string())?;
        Ok(Self {
            name: name.to_owned(),
            shape,
            metadata,
            chunk,
            codecs: array.codecs(),
            data_type: array.data_type().clone(),
            fill_value: array.fill_value().clone(),
        })
    }

    /// Path of a chunk below the group.
    pub(crate) fn key(&self, chunk: &[usize]) -> String {
        let mut key = format!("{}/c", self.name);
        for idx in chunk {
            key += &format!("/{idx}");
        }
        key
    }

    /// Indices of all chunks, the last fastest.
    pub(super) fn chunk_indices(&self) -> Vec<Vec<usize>> {
        let counts: Vec<usize> = self
            .shape
            .iter()
            .zip(&self.chunk)
            .map(|(&len, &chunk)| len.div_ceil(chunk))
            .collect();
        indices(IxDyn(&counts))
            .into_iter()
            .map(|idx| idx.slice().to_vec())
            .collect()
    }

    /// Where a chunk lies in the array, cut at the array's edge.
    pub(super) fn region(&self, chunk: &[usize]) -> Vec<Slice> {
        chunk
            .iter()
            .zip(self.chunk.iter().zip(&self.shape))
            .map(|(&idx, (&chunk, &len))| Slice::from(idx * chunk..((idx + 1) * chunk).min(len)))
            .collect()
    }

    /// The bytes of one chunk. Chunks at the far edges are filled up, as the format wants.
    pub(crate) fn encode<T: Number>(&self, values: ArrayViewD<'_, T>) -> Result<Vec<u8>> {
        let padded;
        let whole = if values.shape() == self.chunk.as_slice() {
            values.as_standard_layout()
        } else {
            let mut whole = ArrayD::from_elem(IxDyn(&self.chunk), T::FILL);
            let lengths = values.shape().to_vec();
            whole
                .slice_each_axis_mut(|axis| Slice::from(0..lengths[axis.axis.index()]))
                .assign(&values);
            padded = whole;
            CowArray::from(padded.view())
        };
        let unexpected = |problem: String| Error::Value {
            what: format!("array {}", self.name),
            expected: format!("values that encode as {:?}", self.data_type),
            found: problem,
        };
        let values = whole.as_slice().expect("a standard layout is contiguous");
        let bytes = T::to_array_bytes(&self.data_type, values)
            .map_err(|error| unexpected(error.to_string()))?;
        self.codecs
            .encode(
                bytes,
                &self.chunk_lengths(),
                &self.data_type,
                &self.fill_value,
                &options(),
            )
            .map(|bytes| bytes.into_owned())
            .map_err(|error| unexpected(error.to_string()))
    }

    /// The numbers of one chunk, with what fills it up; the error is in words.
    pub(crate) fn decode<T: Number>(
        &self,
        bytes: Vec<u8>,
    ) -> std::result::Result<ArrayD<T>, String> {
        let bytes: ArrayBytes<'_> = self
            .codecs
            .decode(
                bytes.into(),
                &self.chunk_lengths(),
                &self.data_type,
                &self.fill_value,
                &options(),
            )
            .map_err(|error| error.to_string())?;
        let values =
            T::from_array_bytes(&self.data_type, bytes).map_err(|error| error.to_string())?;
        ArrayD::from_shape_vec(IxDyn(&self.chunk), values).map_err(|error| error.to_string())
    }

    fn chunk_lengths(&self) -> Vec<NonZeroU64> {
        self.chunk
            .iter()
            .map(|&len| {
                NonZeroU64::new(len as u64).expect("chunk lengths are checked to be positive")
            })
            .collect()
    }
}

/// One thread for each chunk: the parts of a shard then lie in fixed order, and parallelism stays with the caller.
fn options() -> CodecOptions {
    CodecOptions::default().with_concurrent_target(1)
}
