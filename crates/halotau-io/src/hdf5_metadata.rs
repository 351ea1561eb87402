//! What do the attributes and small datasets of an HDF5 file say about the series?

use rust_hdf5::{H5Dataset, H5File};

use crate::metadata::{Attribute, AttributeValue, AxisNote, names_times};

/// The attributes of a dataset, then those of its group that are texts, then those of the file.
pub(crate) fn attributes_of(file: &H5File, name: &str) -> Vec<Attribute> {
    let mut attributes = Vec::new();
    if let Ok(dataset) = file.dataset(name) {
        for attribute in dataset.attr_names().unwrap_or_default() {
            if let Some(value) = dataset_attribute(&dataset, &attribute) {
                attributes.push(Attribute {
                    origin: format!("attribute {attribute} of dataset {name}"),
                    name: attribute,
                    value,
                });
            }
        }
    }
    let root = file.root_group();
    let group_name = name.rsplit_once('/').map(|(group, _)| group);
    if let Some(group_name) = group_name
        && let Ok(group) = root.group(group_name)
    {
        attributes.extend(group_texts(&group, &format!("group {group_name}")));
    }
    attributes.extend(group_texts(&root, "the file"));
    attributes
}

fn dataset_attribute(dataset: &H5Dataset, name: &str) -> Option<AttributeValue> {
    let attribute = dataset.attr(name).ok()?;
    if let Ok(numbers) = attribute.read_numeric_as::<f64>() {
        return Some(AttributeValue::Numbers(numbers));
    }
    if let Ok(numbers) = attribute.read_numeric_as::<i64>() {
        return Some(AttributeValue::Numbers(
            numbers.into_iter().map(|n| n as f64).collect(),
        ));
    }
    attribute.read_string().ok().map(AttributeValue::Text)
}

fn group_texts(group: &rust_hdf5::H5Group, owner: &str) -> Vec<Attribute> {
    group
        .attr_names()
        .unwrap_or_default()
        .into_iter()
        .filter_map(|name| {
            Some(Attribute {
                value: AttributeValue::Text(group.attr_string(&name).ok()?),
                origin: format!("attribute {name} of {owner}"),
                name,
            })
        })
        .collect()
}

/// A one-dimensional dataset of times beside the frames.
pub(crate) fn times_beside(file: &H5File, name: &str, n_times: usize) -> Option<Attribute> {
    let group = name.rsplit_once('/').map_or("", |(group, _)| group);
    let mut names: Vec<String> = file
        .dataset_names()
        .into_iter()
        .map(|other| other.trim_start_matches('/').to_owned())
        .filter(|other| {
            let (other_group, other_name) = other.rsplit_once('/').unwrap_or(("", other));
            other_group == group && names_times(other_name)
        })
        .collect();
    names.sort();
    let times = names.into_iter().next()?;
    let dataset = file.dataset(&times).ok()?;
    if dataset.shape() != [n_times] {
        return None;
    }
    let values = dataset.read_numeric_as::<f64>().ok()?;
    Some(Attribute {
        name: times.rsplit('/').next().unwrap_or(&times).to_owned(),
        value: AttributeValue::Numbers(values),
        origin: format!("dataset {times}"),
    })
}

/// The descriptions of EMD and py4DSTEM: datasets `dim0`, `dim1` and so on, or `dim1` up, beside the frames,
/// with the first positions along each axis and a unit.
pub(crate) fn axes_beside(file: &H5File, name: &str, n_axes: usize) -> Vec<Option<AxisNote>> {
    let group = name.rsplit_once('/').map_or("", |(group, _)| group);
    let dim = |number: usize| {
        let path = if group.is_empty() {
            format!("dim{number}")
        } else {
            format!("{group}/dim{number}")
        };
        file.dataset(&path).ok().map(|dataset| (path, dataset))
    };
    let from_zero = dim(0).is_some();
    (0..n_axes)
        .map(|axis| {
            let (path, dataset) = dim(axis + usize::from(!from_zero))?;
            let positions = dataset.read_numeric_as::<f64>().ok()?;
            let AttributeValue::Text(unit) = dataset_attribute(&dataset, "units")? else {
                return None;
            };
            let &[first, second, ..] = positions.as_slice() else {
                return None;
            };
            Some(AxisNote {
                step: second - first,
                unit,
                origin: format!("dataset {path}"),
            })
        })
        .collect()
}
