//! What is in an HDF5 file apart from the samples?
//!
//! Readers whose files keep metadata in attributes of many groups take them from here, all at once.

use std::path::Path;

use super::dataset::Dataset;
use super::file::Hdf5File;
use super::value::attributes;
use crate::error::Result;
use crate::metadata::AttributeValue;
use crate::number_type::NumberType;

/// The attributes and datasets of a file.
#[derive(Debug, Default)]
pub(crate) struct Listing {
    /// Path of the object, name and value of each attribute that is a text or holds numbers.
    pub(crate) attributes: Vec<(String, String, AttributeValue)>,
    /// Path, lengths and number type of each dataset of numbers.
    pub(crate) datasets: Vec<(String, Vec<u64>, NumberType)>,
}

/// Lists a file.
///
/// # Errors
///
/// Where the file's structure makes no sense or its end is missing.
pub(crate) fn list(path: &Path) -> Result<Listing> {
    let file = Hdf5File::open(path)?;
    let mut listing = Listing::default();
    for path in file.paths() {
        let Some(object) = file.object(path) else {
            continue;
        };
        for (name, value) in attributes(&file, object) {
            if let Some(value) = value.into_attribute() {
                listing.attributes.push((path.to_owned(), name, value));
            }
        }
        if let Some(dataset) = Dataset::of(&file, object, path)
            && let Some(number) = dataset.number()
        {
            let lens = dataset.dims.clone();
            listing
                .datasets
                .push((path.to_owned(), lens, number.number_type));
        }
    }
    Ok(listing)
}
