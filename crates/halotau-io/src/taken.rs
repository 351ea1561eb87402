//! How is what an analysis took from the counts kept, so that the next one need not ask them again?
//!
//! ```text
//! taken/                     in the folder of results
//!   conditions-<key>.zarr    drift, beam, region, level of every frame
//!   curves-<key>.zarr        g of every position, whole, without each sector and in parts; V in its variants
//!   likelihoods-<key>.zarr   what the likelihood found
//!   matrices-<key>.zarr      G of the region and of chosen positions
//!   pictures-<key>.zarr      patterns of chosen positions, mean of the ring in every scan
//! ```
//!
//! Each part is a Zarr group of its own, written beside its place and renamed, with the key of all it depends on inside. A part that is
//! half written, changed in one byte or of another key is no part: [`read`](read_curves) gives an error, and whoever asked takes the counts. The
//! folder may be removed at any time.

mod conditions;
mod curves;
mod pictures;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::analysis_folder::place::Place;
use crate::error::{Error, Result};
use crate::manifest::Sync;
use crate::zarr_store::{GroupReader, GroupWriter, METADATA};

pub use conditions::{read_conditions, write_conditions};
pub use curves::{
    read_curves, read_likelihoods, read_matrices, write_curves, write_likelihoods, write_matrices,
};
pub use pictures::{Pictures, read_pictures, write_pictures};

const KIND: &str = "halotau taken";
/// Version of the names and axes in the folder.
const FORMAT: u32 = 1;
const CURE: &str = "remove the folder; the next analysis makes it again";

/// The attributes of the group.
#[derive(Debug, Serialize, Deserialize)]
struct Attributes {
    kind: String,
    format: u32,
    complete: bool,
    /// What it is.
    part: String,
    /// Hash of all it depends on.
    key: String,
    /// What is no array.
    values: Value,
}

/// Removes the parts in a folder that nobody keeps, and what a killed run left of one. What another process writes just now stays.
pub fn sweep(folder: &Path, is_kept: &dyn Fn(&str) -> bool) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let begun = name.strip_prefix('.').and_then(|name| {
            let name = name.strip_suffix(".new").or(name.strip_suffix(".old"))?;
            Some(folder.join(format!(".{name}.lock")))
        });
        let is_left = match begun {
            Some(lock) => fs::File::open(lock).map_or(true, |lock| lock.try_lock().is_ok()),
            None => name.ends_with(".zarr") && !is_kept(&name),
        };
        if is_left {
            // What cannot be removed takes room and nothing else.
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

/// Writes one part whole.
fn write<T: Serialize>(
    path: &Path,
    part: &str,
    key: &str,
    values: &T,
    arrays: impl FnOnce(&mut GroupWriter<'_>) -> Result<()>,
) -> Result<()> {
    // Whatever lies under a name that holds the key is an earlier copy, or a damaged one.
    let place = Place::take(path, |_| Ok(()))?;
    let mut group = GroupWriter::new(&place.new, Sync::Cache);
    arrays(&mut group)?;
    let unexpected = |found: String| Error::Value {
        what: format!("the {part} of an analysis"),
        expected: "text and numbers that JSON can hold".to_owned(),
        found,
    };
    let values = serde_json::to_value(values).map_err(|error| unexpected(error.to_string()))?;
    let attributes = json!(Attributes {
        kind: KIND.to_owned(),
        format: FORMAT,
        complete: true,
        part: part.to_owned(),
        key: key.to_owned(),
        values,
    });
    let Value::Object(attributes) = attributes else {
        return Err(unexpected(attributes.to_string()));
    };
    group.finish(attributes, BTreeMap::new())?;
    place.rename(path)
}

/// Opens one part, and refuses what is not that part under that key.
fn open<T: DeserializeOwned>(path: &Path, part: &str, key: &str) -> Result<(GroupReader, T)> {
    let group = GroupReader::open(path, CURE)?;
    let attributes: Attributes = group.attributes()?;
    let is_it = attributes.kind == KIND
        && attributes.format == FORMAT
        && attributes.part == part
        && attributes.key == key;
    if !is_it {
        let problem = format!("it is not the {part} that its name says");
        return Err(group.damaged(METADATA, problem));
    }
    let values = serde_json::from_value(attributes.values)
        .map_err(|error| group.damaged(METADATA, error.to_string()))?;
    Ok((group, values))
}
