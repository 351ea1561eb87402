//! What does a director in HDF5 (`NAME.dm5`) say about its in-situ recording?
//!
//! It holds the tags of a `.dm4` file: groups are groups, named `[0]`, `[1]`, ... where tags have numbers, and simple tags are attributes. The
//! shape of a scan is that of the dataset `ImageList/[n]/ImageData/Data`, slowest axis first.

use std::path::Path;

use halotau::series::SampleType;

use super::tags::{ArrayPlace, Group, Tag, TagTree};
use crate::error::Result;
use crate::hdf5::list;
use crate::metadata::AttributeValue;
use crate::number_type::NumberType;

/// The version that such a file stands for.
pub(super) const VERSION: u32 = 5;

/// Reads a director as the tags that a `.dm4` file would hold.
pub(super) fn read(path: &Path) -> Result<TagTree> {
    let listing = list(path)?;
    let mut root = Group::default();
    for (object, name, value) in listing.attributes {
        let tag = match value {
            AttributeValue::Text(text) => Tag::Text(text),
            AttributeValue::Numbers(numbers) => match numbers[..] {
                [number] => Tag::Number(number),
                _ => Tag::Other,
            },
        };
        let place = parts(&object).chain([unnumbered(&name)]);
        root.put(place, tag);
    }
    for (object, lens, number_type) in listing.datasets {
        let Some(image) = object.strip_suffix("/Data") else {
            continue;
        };
        let Some(data_type) = data_type(number_type) else {
            continue;
        };
        let put = |root: &mut Group, name: &str, tag: Tag| {
            root.put(parts(image).chain(name.split('.')), tag);
        };
        for (axis, &len) in lens.iter().rev().enumerate() {
            put(
                &mut root,
                &format!("Dimensions.{axis}"),
                Tag::Number(len as f64),
            );
        }
        put(&mut root, "DataType", Tag::Number(data_type));
        let n_elements = lens.iter().try_fold(1_u64, |n, &len| n.checked_mul(len));
        let place = ArrayPlace {
            offset: 0,
            n_elements: n_elements.unwrap_or(0),
            element_bytes: number_type.n_bytes() as u64,
        };
        put(&mut root, "Data", Tag::Array(place));
    }
    Ok(TagTree {
        root,
        big_endian: false,
        version: VERSION,
    })
}

/// The names of groups on the way to an object, `[3]` as `3`.
fn parts(path: &str) -> impl Iterator<Item = &str> {
    path.split('/')
        .filter(|part| !part.is_empty())
        .map(unnumbered)
}

fn unnumbered(name: &str) -> &str {
    let number = name
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'));
    number.unwrap_or(name)
}

/// The code that a `.dm4` file has for a number type.
fn data_type(number_type: NumberType) -> Option<f64> {
    Some(match number_type {
        NumberType::Sample(SampleType::I16) => 1.0,
        NumberType::Sample(SampleType::F32) => 2.0,
        NumberType::Sample(SampleType::U8) => 6.0,
        NumberType::Sample(SampleType::I32) => 7.0,
        NumberType::I8 => 9.0,
        NumberType::Sample(SampleType::U16) => 10.0,
        NumberType::Sample(SampleType::U32) => 11.0,
        NumberType::Sample(SampleType::F64) => 12.0,
        NumberType::Bool => 14.0,
        NumberType::I64 => 39.0,
        NumberType::U64 => 40.0,
        NumberType::F16 => return None,
    })
}
