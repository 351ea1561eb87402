//! How is a virtual dataset read, whose samples are in other datasets?
//!
//! The crate `rust-hdf5` puts the parts together. It gives zeros for a part whose file is not there, so all parts
//! are looked for before; and they must lie in the folder of the file, because a file from elsewhere should not
//! choose what else is read.

use std::sync::{Mutex, PoisonError};

use halotau::series::{SampleType, Samples};
use rust_hdf5::{H5Dataset, H5File};

use super::dataset::Dataset;
use super::links::inside;
use super::value::StoredNumber;
use crate::chunked::Span;
use crate::error::{Error, Result};
use crate::number_type::NumberType;
use crate::sample_bytes::little_endian;

/// Opens a virtual dataset after its parts were found.
pub(super) fn open(dataset: &Dataset, number: StoredNumber) -> Result<H5Dataset> {
    let path = dataset.file.path();
    let refuse = |problem: String| Error::Unsupported {
        path: path.to_owned(),
        dataset: dataset.say(),
        problem,
    };
    if !number.number_type.is_sample() {
        return Err(refuse(format!(
            "a virtual dataset of {}; open the files that it is made of as data.files",
            dataset.datatype
        )));
    }
    let file = H5File::options()
        .no_locking()
        .open(path)
        .map_err(|e| refuse(e.to_string()))?;
    let parts = file
        .dataset(&dataset.name)
        .map_err(|e| refuse(e.to_string()))?;
    for mapping in parts
        .virtual_mappings()
        .map_err(|e| refuse(e.to_string()))?
    {
        let name = &mapping.source_file_name;
        if name == "." {
            continue;
        }
        if name.contains('%') || mapping.source_dset_name.contains('%') {
            return Err(refuse(format!(
                "a virtual dataset of numbered parts {name}; open them as data.files"
            )));
        }
        let part = inside(path, name).map_err(refuse)?;
        if !part.is_file() {
            return Err(Error::MissingPart {
                path: path.to_owned(),
                part,
                what: dataset.say(),
            });
        }
    }
    Ok(parts)
}

/// The little-endian samples of a box.
pub(super) fn read(
    parts: &Mutex<H5Dataset>,
    number: StoredNumber,
    span: &Span,
) -> std::result::Result<Vec<u8>, String> {
    // A box of the padded axes; the dataset has the last of them.
    let parts = parts.lock().unwrap_or_else(PoisonError::into_inner);
    let n_axes = parts.ndims();
    let tail = |lens: &[u64]| -> Vec<usize> {
        let tail = &lens[lens.len().saturating_sub(n_axes)..];
        tail.iter().map(|&n| n as usize).collect()
    };
    let (first, lens) = (tail(&span.first), tail(&span.lens));
    let NumberType::Sample(sample_type) = number.number_type else {
        return Err("a virtual dataset of a type that is converted".to_owned());
    };
    let samples = match sample_type {
        SampleType::U8 => parts.read_slice(&first, &lens).map(Samples::U8),
        SampleType::U16 => parts.read_slice(&first, &lens).map(Samples::U16),
        SampleType::U32 => parts.read_slice(&first, &lens).map(Samples::U32),
        SampleType::I16 => parts.read_slice(&first, &lens).map(Samples::I16),
        SampleType::I32 => parts.read_slice(&first, &lens).map(Samples::I32),
        SampleType::F32 => parts.read_slice(&first, &lens).map(Samples::F32),
        SampleType::F64 => parts.read_slice(&first, &lens).map(Samples::F64),
    };
    let samples = samples.map_err(|e| e.to_string())?;
    Ok(little_endian(&samples, 0..samples.len()))
}
