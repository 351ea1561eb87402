//! Which arrays does a Zarr folder hold?
//!
//! The metadata files are read directly, so that every array can be listed with shape and type, whatever
//! its name and codecs.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use halotau::series::SampleType;
use serde_json::{Map, Value};

use crate::error::{Error, Result};
use crate::metadata::{Attribute, AttributeValue};
use crate::number_type::NumberType;

/// Metadata files are a few kilobytes; those of HyperSpy with a microscope's whole record reach megabytes.
const LARGEST_METADATA_BYTES: u64 = 64 << 20;

/// Groups inside groups.
const DEEPEST: usize = 16;

/// Folders looked at in one store.
const MOST_FOLDERS: usize = 10_000;

/// The metadata of a group or an array.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    version: u8,
    metadata: Map<String, Value>,
    attributes: Map<String, Value>,
}

impl Node {
    /// Version of the format, 2 or 3.
    pub(crate) fn version(&self) -> u8 {
        self.version
    }

    pub(crate) fn is_array(&self) -> bool {
        match self.version {
            2 => self.metadata.contains_key("chunks"),
            _ => self.metadata.get("node_type").is_some_and(|t| t == "array"),
        }
    }

    /// Lengths of an array's axes; empty for a group.
    pub(crate) fn dims(&self) -> Vec<u64> {
        self.metadata
            .get("shape")
            .and_then(Value::as_array)
            .and_then(|lens| lens.iter().map(Value::as_u64).collect())
            .unwrap_or_default()
    }

    /// Whether the files of the blocks hold their samples and nothing else, little-endian, last axis fastest.
    pub(crate) fn is_plain(&self) -> bool {
        let get = |key: &str| self.metadata.get(key).unwrap_or(&Value::Null);
        let is_empty =
            |value: &Value| value.is_null() || value.as_array().is_some_and(Vec::is_empty);
        if self.version == 2 {
            let descr = get("dtype").as_str().unwrap_or_default();
            return get("compressor").is_null()
                && is_empty(get("filters"))
                && get("order") == "C"
                && (descr.starts_with('<') || descr.ends_with('1'));
        }
        let Some([codec]) = get("codecs").as_array().map(Vec::as_slice) else {
            return false;
        };
        let endian = codec.pointer("/configuration/endian");
        codec["name"] == "bytes"
            && endian.is_none_or(|endian| endian == "little")
            && get("chunk_grid")["name"] == "regular"
            && is_empty(get("storage_transformers"))
    }

    /// The number type, where it is one that is read.
    pub(crate) fn number_type(&self) -> Option<NumberType> {
        if self.version == 2 {
            // The order of the bytes is undone when a block is decoded.
            let descr = self.metadata.get("dtype")?.as_str()?;
            let name = descr.strip_prefix(['<', '>', '|', '='])?;
            return NumberType::from_numpy(name);
        }
        let name = match self.metadata.get("data_type")?.as_str()? {
            "bool" => "b1",
            "uint8" => "u1",
            "uint16" => "u2",
            "uint32" => "u4",
            "uint64" => "u8",
            "int8" => "i1",
            "int16" => "i2",
            "int32" => "i4",
            "int64" => "i8",
            "float16" => "f2",
            "float32" => "f4",
            "float64" => "f8",
            _ => return None,
        };
        NumberType::from_numpy(name)
    }

    /// The type of the samples that come out.
    pub(crate) fn sample_type(&self) -> Option<SampleType> {
        self.number_type().map(NumberType::sample_type)
    }

    /// The number type as the file writes it.
    pub(crate) fn type_name(&self) -> String {
        let key = if self.version == 2 {
            "dtype"
        } else {
            "data_type"
        };
        match self.metadata.get(key) {
            Some(Value::String(name)) => name.clone(),
            Some(other) => other.to_string(),
            None => "of no stated type".to_owned(),
        }
    }

    /// The usable attributes; `owner` says whose they are.
    pub(crate) fn attributes(&self, owner: &str) -> Vec<Attribute> {
        self.attributes
            .iter()
            .filter_map(|(name, value)| {
                Some(Attribute {
                    name: name.clone(),
                    value: AttributeValue::from_json(value)?,
                    origin: format!("attribute {name} of {owner}"),
                })
            })
            .collect()
    }
}

/// Whether a folder is the root of a Zarr store.
pub(crate) fn is_zarr(folder: &Path) -> bool {
    ["zarr.json", ".zarray", ".zgroup"]
        .iter()
        .any(|name| folder.join(name).is_file())
}

/// The metadata of a folder, or `None` where it is no Zarr node.
pub(crate) fn read_node(folder: &Path) -> Result<Option<Node>> {
    if let Some(mut metadata) = read_json(&folder.join("zarr.json"))? {
        let attributes = match metadata.remove("attributes") {
            Some(Value::Object(attributes)) => attributes,
            _ => Map::new(),
        };
        return Ok(Some(Node {
            version: 3,
            metadata,
            attributes,
        }));
    }
    let metadata = match read_json(&folder.join(".zarray"))? {
        Some(metadata) => metadata,
        None => match read_json(&folder.join(".zgroup"))? {
            Some(metadata) => metadata,
            None => return Ok(None),
        },
    };
    Ok(Some(Node {
        version: 2,
        metadata,
        attributes: read_json(&folder.join(".zattrs"))?.unwrap_or_default(),
    }))
}

/// Every array at or below a folder, in order of path.
pub(crate) fn find_arrays(root: &Path) -> Result<Vec<(PathBuf, Node)>> {
    let mut arrays = Vec::new();
    let mut folders = vec![(root.to_owned(), 0)];
    let mut n_seen = 0;
    while let Some((folder, depth)) = folders.pop() {
        n_seen += 1;
        if n_seen > MOST_FOLDERS {
            return Err(Error::BadContainer {
                path: root.to_owned(),
                format: "Zarr store",
                problem: format!("more than {MOST_FOLDERS} groups"),
            });
        }
        match read_node(&folder)? {
            Some(node) if node.is_array() => arrays.push((folder, node)),
            // Version 3 allows groups without metadata.
            _ if depth < DEEPEST => {
                let entries =
                    std::fs::read_dir(&folder).map_err(|e| Error::io(&folder, "list", e))?;
                for entry in entries {
                    let entry = entry.map_err(|e| Error::io(&folder, "list", e))?;
                    // A link could lead out of the store or back into it.
                    if entry.file_type().is_ok_and(|t| t.is_dir()) {
                        folders.push((entry.path(), depth + 1));
                    }
                }
            }
            _ => {}
        }
    }
    arrays.sort_by(|(a, _), (b, _)| a.cmp(b));
    Ok(arrays)
}

fn read_json(path: &Path) -> Result<Option<Map<String, Value>>> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(Error::io(path, "open", e)),
    };
    let mut bytes = Vec::new();
    file.take(LARGEST_METADATA_BYTES)
        .read_to_end(&mut bytes)
        .map_err(|e| Error::io(path, "read", e))?;
    serde_json::from_slice(&bytes)
        .map(Some)
        .map_err(|e| Error::BadContainer {
            path: path.to_owned(),
            format: "Zarr metadata file",
            problem: e.to_string(),
        })
}
