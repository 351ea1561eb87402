//! How does an array of numbers become files that other programs open?
//!
//! Zarr version 3: each array is a folder with `zarr.json` and chunks `c/i/j/...`, compressed by zstd and closed with
//! a CRC-32C, so that zarr-python and xarray notice damage as well. The metadata of all arrays stand once more in
//! the group's `zarr.json`, as zarr-python writes them, so that `xarray.open_zarr` reads one file.
//!
//! Specification: <https://zarr-specs.readthedocs.io/en/latest/v3/core/index.html>.

mod chunked;

use std::path::{Path, PathBuf};

use halotau::ndarray::{Array, ArrayD, Dimension, IxDyn, Slice};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};
use zarrs::array::ElementOwned;

pub(crate) use chunked::{ChunkedArray, Chunks};

use crate::error::{Error, Result};
use crate::manifest::{
    FileRecord, MANIFEST, Manifest, Sync, check_length, read_verified, write_whole,
};

/// Name of the metadata file of a group or an array.
pub(crate) const METADATA: &str = "zarr.json";

/// A number type that is stored.
pub(crate) trait Number: ElementOwned + Copy + Send + std::marker::Sync + 'static {
    /// Its name in Zarr metadata.
    const DATA_TYPE: &'static str;
    /// What stands where nothing was written.
    const FILL: Self;
    /// As `FILL`, in Zarr metadata.
    fn fill_metadata() -> Value;
}

macro_rules! impl_number {
    ($($t:ty, $name:literal, $fill:expr, $json:expr;)*) => {$(
        impl Number for $t {
            const DATA_TYPE: &'static str = $name;
            const FILL: Self = $fill;
            fn fill_metadata() -> Value {
                json!($json)
            }
        }
    )*};
}
impl_number! {
    u8, "uint8", 0, 0;
    u16, "uint16", 0, 0;
    u32, "uint32", 0, 0;
    u64, "uint64", 0, 0;
    i32, "int32", 0, 0;
    f32, "float32", f32::NAN, "NaN";
    f64, "float64", f64::NAN, "NaN";
    bool, "bool", true, true;
}

/// What an array is called and what its numbers mean.
#[derive(Debug, Clone)]
pub(crate) struct Named {
    /// Name of the folder, and of the variable in xarray.
    pub(crate) name: &'static str,
    /// Names of the axes.
    pub(crate) dimensions: &'static [&'static str],
    /// Unit in the spelling of UDUNITS; "1" where there is none.
    pub(crate) units: &'static str,
    /// In words, for axis labels.
    pub(crate) long_name: &'static str,
    /// What other readers see where a file is missing, if not what the number type has.
    pub(crate) fill: Option<u32>,
}

impl Named {
    /// A description of an array.
    pub(crate) const fn new(
        name: &'static str,
        dimensions: &'static [&'static str],
        units: &'static str,
        long_name: &'static str,
    ) -> Self {
        Self {
            name,
            dimensions,
            units,
            long_name,
            fill: None,
        }
    }

    /// The same with a value that other readers see where a file is missing.
    pub(crate) const fn filled(mut self, fill: u32) -> Self {
        self.fill = Some(fill);
        self
    }
}

/// Writes the arrays and metadata of one group, and remembers what it wrote.
#[derive(Debug)]
pub(crate) struct GroupWriter<'a> {
    folder: PathBuf,
    sync: Sync<'a>,
    arrays: Map<String, Value>,
    /// What was written, in order.
    pub(crate) files: Vec<FileRecord>,
}

impl<'a> GroupWriter<'a> {
    /// A group in a folder.
    pub(crate) fn new(folder: &Path, sync: Sync<'a>) -> Self {
        Self {
            folder: folder.to_owned(),
            sync,
            arrays: Map::new(),
            files: Vec::new(),
        }
    }

    /// Writes a file and remembers it.
    pub(crate) fn file(&mut self, path: &str, bytes: &[u8]) -> Result<()> {
        write_whole(&self.folder.join(path), bytes, self.sync)?;
        self.files.push(FileRecord::of(path, bytes));
        Ok(())
    }

    /// Writes the metadata of an array, without its chunks.
    pub(crate) fn declare(&mut self, array: &ChunkedArray) -> Result<()> {
        self.file(
            &format!("{}/{METADATA}", array.name),
            &pretty(&array.metadata),
        )?;
        self.arrays
            .insert(array.name.clone(), array.metadata.clone());
        Ok(())
    }

    /// Writes a whole array as one chunk.
    pub(crate) fn array<T: Number, D: Dimension>(
        &mut self,
        named: &Named,
        values: &Array<T, D>,
    ) -> Result<()> {
        self.array_with(named, values, None, Map::new())
    }

    /// Writes a whole array in given chunks, with more attributes.
    pub(crate) fn array_with<T: Number, D: Dimension>(
        &mut self,
        named: &Named,
        values: &Array<T, D>,
        chunks: Option<Chunks>,
        attributes: Map<String, Value>,
    ) -> Result<()> {
        let chunks = chunks.unwrap_or_else(|| Chunks {
            file: values.shape().to_vec(),
            part: None,
        });
        let array = ChunkedArray::new::<T>(named, values.shape(), &chunks, attributes)?;
        let view = values.view().into_dyn();
        for chunk in array.chunk_indices() {
            let region = array.region(&chunk);
            let part = view.slice_each_axis(|axis| region[axis.axis.index()]);
            let bytes = array.encode(part)?;
            self.file(&array.key(&chunk), &bytes)?;
        }
        self.declare(&array)
    }

    /// Writes the manifest, then the group's metadata: when these are there, all is there.
    pub(crate) fn finish(
        self,
        attributes: Map<String, Value>,
        shards: std::collections::BTreeMap<usize, Vec<FileRecord>>,
    ) -> Result<()> {
        let group = pretty(&group_metadata(attributes, Some(self.arrays)));
        let mut files = self.files;
        files.push(FileRecord::of(METADATA, &group));
        let manifest = Manifest {
            shards,
            files,
            closed: true,
        };
        write_whole(
            &self.folder.join(MANIFEST),
            manifest.to_text().as_bytes(),
            self.sync,
        )?;
        write_whole(&self.folder.join(METADATA), &group, self.sync)
    }
}

/// The metadata of a group, with those of its arrays once it is finished.
pub(crate) fn group_metadata(
    attributes: Map<String, Value>,
    arrays: Option<Map<String, Value>>,
) -> Value {
    let mut metadata = json!({"zarr_format": 3, "node_type": "group", "attributes": attributes});
    if let Some(mut arrays) = arrays {
        arrays.sort_keys();
        metadata["consolidated_metadata"] =
            json!({"kind": "inline", "must_understand": false, "metadata": arrays});
    }
    metadata
}

/// JSON as it is written: indented, for people, and closed with a line feed.
pub(crate) fn pretty(value: &Value) -> Vec<u8> {
    let mut bytes = serde_json::to_vec_pretty(value).expect("a JSON value always serializes");
    bytes.push(b'\n');
    bytes
}

/// Reads the arrays and metadata of one finished group, and believes nothing that the manifest does not vouch for.
#[derive(Debug)]
pub(crate) struct GroupReader {
    folder: PathBuf,
    cure: &'static str,
    manifest: Manifest,
    metadata: Value,
}

impl GroupReader {
    /// Opens a finished group and checks that every file is there with its length. `cure` says how to make it again.
    pub(crate) fn open(folder: &Path, cure: &'static str) -> Result<Self> {
        let manifest = Manifest::read(folder)?;
        let damaged = |path: PathBuf, problem: &str| Error::Damaged {
            path,
            problem: problem.to_owned(),
            cure,
        };
        if !manifest.closed {
            return Err(damaged(
                folder.join(MANIFEST),
                "the list of files is missing, cut short or changed",
            ));
        }
        for record in manifest
            .files
            .iter()
            .chain(manifest.shards.values().flatten())
        {
            // Metadata are small, and the copies in single arrays are read by other programs only.
            if record.path.ends_with(METADATA) {
                read_verified(folder, record, cure)?;
            } else {
                check_length(folder, record, cure)?;
            }
        }
        let mut reader = Self {
            folder: folder.to_owned(),
            cure,
            manifest,
            metadata: Value::Null,
        };
        let bytes = reader.bytes(METADATA)?;
        reader.metadata = serde_json::from_slice(&bytes)
            .map_err(|error| reader.damaged(METADATA, format!("it is not JSON: {error}")))?;
        Ok(reader)
    }

    /// The group's attributes.
    pub(crate) fn attributes<T: DeserializeOwned>(&self) -> Result<T> {
        serde_json::from_value(self.metadata["attributes"].clone()).map_err(|error| {
            self.damaged(
                METADATA,
                format!("its attributes are not those of this version of halotau: {error}"),
            )
        })
    }

    /// The verified bytes of a file.
    fn bytes(&self, path: &str) -> Result<Vec<u8>> {
        let record = self
            .manifest
            .record(path)
            .ok_or_else(|| self.damaged(path, "the list of files does not know it".to_owned()))?;
        read_verified(&self.folder, record, self.cure)
    }

    /// Whether the group has an array of this name.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.array_metadata(name).is_some()
    }

    fn array_metadata(&self, name: &str) -> Option<&Value> {
        self.metadata["consolidated_metadata"]["metadata"].get(name)
    }

    /// The description of an array.
    pub(crate) fn chunked(&self, name: &str) -> Result<ChunkedArray> {
        let path = format!("{name}/{METADATA}");
        let metadata = self
            .array_metadata(name)
            .ok_or_else(|| self.damaged(&path, "the group has no such array".to_owned()))?;
        ChunkedArray::from_metadata(name, metadata.clone())
            .map_err(|problem| self.damaged(&path, problem))
    }

    /// One chunk, cut at the array's edge; `None` where it was never written.
    pub(crate) fn chunk<T: Number>(
        &self,
        array: &ChunkedArray,
        chunk: &[usize],
    ) -> Result<Option<ArrayD<T>>> {
        let key = array.key(chunk);
        if self.manifest.record(&key).is_none() {
            return Ok(None);
        }
        let bytes = self.bytes(&key)?;
        let mut values = array
            .decode(bytes)
            .map_err(|problem| self.damaged(&key, problem))?;
        let lengths: Vec<usize> = array
            .region(chunk)
            .iter()
            .map(|slice| (slice.end.unwrap_or(slice.start) - slice.start).unsigned_abs())
            .collect();
        if values.shape() != lengths.as_slice() {
            // Copied, so that an array at the edge is laid out like any other.
            let cut = values.slice_each_axis(|axis| Slice::from(0..lengths[axis.axis.index()]));
            values = ArrayD::from_shape_fn(IxDyn(&lengths), |idx| cut[idx]);
        }
        Ok(Some(values))
    }

    /// A whole array with a given number of axes.
    pub(crate) fn array<T: Number, D: Dimension>(&self, name: &str) -> Result<Array<T, D>> {
        let array = self.chunked(name)?;
        let mut whole = ArrayD::from_elem(IxDyn(&array.shape), T::FILL);
        for chunk in array.chunk_indices() {
            let values = self.chunk::<T>(&array, &chunk)?.ok_or_else(|| {
                self.damaged(&array.key(&chunk), "the file is missing".to_owned())
            })?;
            let region = array.region(&chunk);
            whole
                .slice_each_axis_mut(|axis| region[axis.axis.index()])
                .assign(&values);
        }
        let n_axes = whole.ndim();
        whole.into_dimensionality().map_err(|_| {
            self.damaged(
                &format!("{name}/{METADATA}"),
                format!("it has {n_axes} axes, which is not the number expected"),
            )
        })
    }

    /// A whole array with one axis, as a vector.
    pub(crate) fn vector<T: Number>(&self, name: &str) -> Result<Vec<T>> {
        self.array::<T, halotau::ndarray::Ix1>(name)
            .map(|array| array.to_vec())
    }

    /// Checks the files of arrays that other programs rely on and this one does not read: names with spaces between.
    pub(crate) fn verify(&self, names: &str) -> Result<()> {
        for name in names.split_whitespace() {
            let prefix = format!("{name}/");
            for record in &self.manifest.files {
                if record.path.starts_with(&prefix) {
                    read_verified(&self.folder, record, self.cure)?;
                }
            }
        }
        Ok(())
    }

    /// An error of one of the group's files.
    pub(crate) fn damaged(&self, path: &str, problem: String) -> Error {
        Error::Damaged {
            path: self.folder.join(path),
            problem,
            cure: self.cure,
        }
    }
}
