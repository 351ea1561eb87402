//! How do the programs that write HDF5 say which dataset holds the frames, and what its axes are?
//!
//! ```text
//! HyperSpy      Experiments/NAME/data, groups axis-0, axis-1, ... with name, scale, units, navigate
//! EMD, emdfile  datasets dim0 (or dim1), ... beside the data, with their first positions and attributes name, units
//! NeXus         attribute default from group to group, then signal and axes of a group of class NXdata
//! Nion Swift    attribute properties of /data: JSON with the kinds and calibrations of the axes
//! Gatan DM5     ImageList/[n]/ImageData/Data and Calibrations/Dimension/[k], fastest axis first
//! Velox         Data/Image/ID/Data, frames along the last axis, JSON of each frame in Metadata
//! ```

mod record;

use std::sync::Arc;

use halotau::series::{SeriesHeader, Warning};
use serde_json::Value as Json;

use super::dataset::{Dataset, value_at};
use super::file::{Hdf5File, join};
use super::value::{Value, attribute, attributes};
use crate::metadata::{AxisNote, describe, time_factor};

pub(in crate::hdf5) use record::Record;

/// Code of the warning about axes in an order that is not read.
const ODD_AXES: &str = "W130";

/// Groups that `default` may lead through.
const MOST_DEFAULTS: usize = 8;

/// The rules of a writer.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Convention {
    HyperSpy,
    Emd,
    Nexus,
    Nion(Json),
    Dm5,
    Velox,
    Matlab,
    Plain,
}

/// What the axes of a dataset are.
#[derive(Debug, Default)]
pub(super) struct Axes {
    /// Steps and units, one for each axis of the dataset.
    pub(super) notes: Vec<Option<AxisNote>>,
    /// Times, scan rows and scan columns, where they are not what the number of axes says.
    pub(super) scan: Option<[usize; 3]>,
    pub(super) scan_origin: Option<String>,
    /// Whether the last axis counts frames.
    pub(super) frames_last: bool,
    /// Counters of the detector that lie along the axis before the patterns.
    pub(super) counters: Option<usize>,
    pub(super) warnings: Vec<Warning>,
}

/// An axis as a writer describes it.
#[derive(Debug, Default)]
struct Axis {
    name: String,
    step: Option<f64>,
    unit: String,
    origin: String,
}

impl Convention {
    /// The rules by which a file was written.
    pub(super) fn of(file: &Arc<Hdf5File>) -> Self {
        let text = |path: &str, name: &str| match attribute(file, path, name)? {
            Value::Texts(texts) => texts.into_iter().next(),
            Value::Numbers(_) => None,
        };
        let format = text("", "file_format").unwrap_or_default();
        if format.eq_ignore_ascii_case("hyperspy") {
            return Self::HyperSpy;
        }
        if file.object("ImageList").is_some() {
            return Self::Dm5;
        }
        if file.object("Data/Image").is_some() {
            return Self::Velox;
        }
        let properties = text("data", "properties").and_then(|p| serde_json::from_str(&p).ok());
        if let Some(properties @ Json::Object(_)) = properties {
            return Self::Nion(properties);
        }
        let groups = file.names_in("");
        let is_nexus = text("", "default").is_some()
            || groups.iter().any(|group| text(group, "NX_class").is_some());
        if is_nexus {
            return Self::Nexus;
        }
        let marks = ["emd_group_type", "version_major"];
        let is_emd = marks.iter().any(|mark| attribute(file, "", mark).is_some())
            || groups
                .iter()
                .any(|group| attribute(file, group, "emd_group_type").is_some());
        if is_emd {
            return Self::Emd;
        }
        if file.is_matlab() {
            return Self::Matlab;
        }
        Self::Plain
    }

    /// What a person calls the format.
    pub(super) fn format(&self) -> &'static str {
        match self {
            Self::HyperSpy => "HDF5 (HyperSpy)",
            Self::Emd => "HDF5 (EMD)",
            Self::Nexus => "HDF5 (NeXus)",
            Self::Nion(_) => "HDF5 (Nion Swift)",
            Self::Dm5 => "HDF5 (Gatan DM5)",
            Self::Velox => "HDF5 (Velox)",
            Self::Matlab => "HDF5 (MATLAB)",
            Self::Plain => "HDF5",
        }
    }

    /// The dataset that the writer means, where its rules name one.
    pub(super) fn main_dataset(&self, file: &Arc<Hdf5File>) -> Option<String> {
        match self {
            Self::HyperSpy => match file.names_in("Experiments").as_slice() {
                [one] => Some(format!("Experiments/{one}/data")),
                _ => None,
            },
            Self::Nexus => default_signal(file),
            Self::Nion(_) => Some("data".to_owned()),
            Self::Dm5 | Self::Velox => {
                let (list, data) = match self {
                    Self::Dm5 => ("ImageList", "ImageData/Data"),
                    _ => ("Data/Image", "Data"),
                };
                // The others are previews, or images of other detectors.
                file.names_in(list)
                    .into_iter()
                    .map(|name| format!("{list}/{name}/{data}"))
                    .filter_map(|path| {
                        let dataset = Dataset::find(file, &path)?;
                        dataset.number()?;
                        let n = dataset
                            .dims
                            .iter()
                            .fold(1, |n: u64, &l| n.saturating_mul(l));
                        Some((dataset.dims.len().clamp(2, 3), n, path))
                    })
                    .max()
                    .map(|(_, _, path)| path)
            }
            _ => None,
        }
    }

    /// What the axes of a dataset are by the writer's rules.
    pub(super) fn axes(&self, dataset: &Dataset) -> Axes {
        let file = &dataset.file;
        let group = dataset.name.rsplit_once('/').map_or("", |(group, _)| group);
        let n_axes = dataset.dims.len();
        let described: Vec<Axis> = match self {
            Self::HyperSpy => hyperspy_axes(file, group, n_axes),
            Self::Nexus => nexus_axes(file, group, n_axes),
            Self::Nion(properties) => nion_axes(properties, n_axes),
            Self::Dm5 => dm5_axes(file, group, n_axes),
            Self::Velox => Vec::new(),
            Self::Emd | Self::Matlab | Self::Plain => emd_axes(file, group, n_axes),
        };
        let mut axes = Axes {
            frames_last: *self == Self::Velox && n_axes == 3,
            ..Axes::default()
        };
        let lead = n_axes.saturating_sub(2);
        // The detectors of fpd files count at several thresholds, or have one and the axis nevertheless.
        let is_counter =
            |axis: &Axis| matches!(axis.name.to_lowercase().as_str(), "colour" | "color");
        if n_axes == 5 && described.get(2).is_some_and(is_counter) {
            axes.counters = usize::try_from(dataset.dims[2]).ok();
        }
        let is_time: Vec<bool> = (0..lead)
            .map(|axis| described.get(axis).is_some_and(Axis::is_time))
            .collect();
        let len = |axis: usize| usize::try_from(dataset.dims[axis]).unwrap_or(usize::MAX);
        axes.scan = match (self, is_time.as_slice()) {
            (Self::Nion(properties), _) => nion_scan(properties, &dataset.dims),
            (_, [true]) => Some([len(0), 1, 1]),
            (_, [true, false]) => Some([len(0), 1, len(1)]),
            (_, [false, true]) => Some([len(1), 1, len(0)]).filter(|_| len(0) == 1),
            _ => scan_beside(file, group, lead, &dataset.dims),
        };
        axes.scan_origin = axes.scan.map(|_| match self {
            Self::Nion(_) => "properties of the dataset".to_owned(),
            _ if is_time.contains(&true) => "names of the axes".to_owned(),
            _ => "numbers of rows and columns beside the dataset".to_owned(),
        });
        if is_time.iter().skip(1).any(|&time| time) && axes.scan.is_none() {
            axes.warnings.push(Warning::new(
                ODD_AXES,
                format!(
                    "Axis {} of {} is time by its name, but the first axis is read as time; store the array with time first.",
                    is_time.iter().position(|&time| time).unwrap_or(0),
                    dataset.name
                ),
            ));
        }
        if *self == Self::Matlab {
            axes.warnings.push(Warning::new(
                ODD_AXES,
                "MATLAB stores the last index of its arrays first: what size() calls [rows, cols, ...] is read in reverse order. If the patterns are mirrored, set data.frames.pattern.transpose.",
            ));
        }
        axes.notes = described.into_iter().map(Axis::note).collect();
        axes.notes.resize_with(n_axes, || None);
        axes
    }

    /// What is said of the microscope and the acquisition.
    pub(super) fn attributes(&self, dataset: &Dataset, n_times: usize) -> Record {
        record::collect(self, dataset, n_times)
    }
}

impl Axis {
    fn note(self) -> Option<AxisNote> {
        Some(AxisNote {
            step: self.step?,
            unit: self.unit,
            origin: self.origin,
        })
    }

    fn is_time(&self) -> bool {
        let name = self.name.to_lowercase();
        let named = name == "t" || name.starts_with("time") || name == "frames_t";
        named || time_factor(&self.unit).is_some()
    }
}

fn hyperspy_axes(file: &Hdf5File, group: &str, n_axes: usize) -> Vec<Axis> {
    let mut axes: Vec<Axis> = (0..n_axes).map(|_| Axis::default()).collect();
    for number in 0..n_axes {
        let path = join(group, &format!("axis-{number}"));
        let Some(object) = file.object(&path) else {
            continue;
        };
        let said = attributes(file, object);
        let find = |name: &str| said.iter().find(|(n, _)| n == name).map(|(_, value)| value);
        // Axes are numbered as those of the array; old files may say so for each.
        let index = find("index_in_array").and_then(Value::number);
        let index = index.map_or(number, |index| index as usize);
        let step = match find("scale").and_then(Value::number) {
            Some(scale) => Some(scale),
            // Positions one by one.
            None => find("axis").and_then(even_step),
        };
        let text = |name: &str| find(name).and_then(Value::text).unwrap_or_default();
        if let Some(axis) = axes.get_mut(index) {
            *axis = Axis {
                name: text("name").to_owned(),
                step,
                unit: text("units").to_owned(),
                origin: format!("attribute scale of group {path}"),
            };
        }
    }
    axes
}

/// Distance of neighbors in positions, where it is the same everywhere to a millionth.
fn even_step(positions: &Value) -> Option<f64> {
    let Value::Numbers(positions) = positions else {
        return None;
    };
    let n = positions.len();
    let step = (positions.last()? - positions.first()?) / (n.checked_sub(1)? as f64);
    let even = positions
        .windows(2)
        .all(|pair| ((pair[1] - pair[0]) - step).abs() <= 1e-6 * step.abs());
    (n > 1 && even).then_some(step)
}

/// EMD numbers its axes from 1 up to version 0.2 and from 0 later.
fn emd_axes(file: &Arc<Hdf5File>, group: &str, n_axes: usize) -> Vec<Axis> {
    let path = |number: usize| join(group, &format!("dim{number}"));
    let start = usize::from(file.object(&path(0)).is_none());
    (start..start + n_axes)
        .map(|number| {
            let path = path(number);
            let text = |name: &str| {
                let value = attribute(file, &path, name);
                value.and_then(|value| value.text().map(str::to_owned))
            };
            // Two positions stand for a whole axis of equal steps.
            let step = value_at(file, &path).as_ref().and_then(even_step);
            Axis {
                name: text("name").unwrap_or_default(),
                step,
                unit: text("units").unwrap_or_default(),
                origin: format!("dataset {path}"),
            }
        })
        .collect()
}

/// Follows `default` to the group that is plotted, and its `signal`.
fn default_signal(file: &Arc<Hdf5File>) -> Option<String> {
    let text = |path: &str, name: &str| -> Option<String> {
        let value = attribute(file, path, name)?;
        value.text().map(str::to_owned)
    };
    let mut path = String::new();
    for _ in 0..MOST_DEFAULTS {
        let Some(next) = text(&path, "default") else {
            break;
        };
        path = if next.starts_with('/') {
            next.trim_matches('/').to_owned()
        } else {
            join(&path, &next)
        };
    }
    let class = |path: &str| text(path, "NX_class").unwrap_or_default();
    // Without `default`, the only entry and the only data.
    for wanted in ["NXentry", "NXdata"] {
        if class(&path) == "NXdata" || class(&path) == wanted {
            continue;
        }
        let inside: Vec<String> = file
            .names_in(&path)
            .into_iter()
            .map(|name| join(&path, name))
            .filter(|path| class(path) == wanted)
            .collect();
        let [one] = <[String; 1]>::try_from(inside).ok()?;
        path = one;
    }
    if class(&path) != "NXdata" {
        return None;
    }
    if let Some(signal) = text(&path, "signal") {
        return Some(join(&path, &signal));
    }
    // Before 2014 the dataset itself was marked.
    file.names_in(&path)
        .into_iter()
        .map(|name| join(&path, name))
        .find(|path| attribute(file, path, "signal").is_some())
}

fn nexus_axes(file: &Arc<Hdf5File>, group: &str, n_axes: usize) -> Vec<Axis> {
    let names: Vec<String> = match attribute(file, group, "axes") {
        Some(Value::Texts(texts)) => match texts.as_slice() {
            [one] => one
                .split([':', ','])
                .map(|name| name.trim().to_owned())
                .collect(),
            _ => texts,
        },
        _ => Vec::new(),
    };
    let mut axes: Vec<Axis> = (0..n_axes).map(|_| Axis::default()).collect();
    for (nth, name) in names.iter().enumerate().filter(|(_, name)| *name != ".") {
        let indices = attribute(file, group, &format!("{name}_indices"));
        let index = match indices {
            // Axes of several indices are positions of points, not steps.
            Some(Value::Numbers(indices)) => match indices.as_slice() {
                [one] if *one >= 0.0 => *one as usize,
                _ => continue,
            },
            _ => nth,
        };
        let path = join(group, name);
        let unit = attribute(file, &path, "units");
        if let Some(axis) = axes.get_mut(index) {
            *axis = Axis {
                name: name.clone(),
                step: value_at(file, &path).as_ref().and_then(even_step),
                unit: unit
                    .as_ref()
                    .and_then(Value::text)
                    .unwrap_or_default()
                    .to_owned(),
                origin: format!("dataset {path}"),
            };
        }
    }
    axes
}

fn nion_axes(properties: &Json, n_axes: usize) -> Vec<Axis> {
    let calibrations = properties["dimensional_calibrations"].as_array();
    let calibrations = calibrations.map_or(&[][..], Vec::as_slice);
    (0..n_axes)
        .map(|axis| {
            let calibration = calibrations.get(axis);
            Axis {
                step: calibration.and_then(|c| c["scale"].as_f64()),
                unit: calibration
                    .and_then(|c| c["units"].as_str())
                    .unwrap_or_default()
                    .to_owned(),
                origin: format!("dimensional_calibrations {axis} of the properties"),
                ..Axis::default()
            }
        })
        .collect()
}

/// Times, rows and columns of a sequence or a collection of Nion Swift, where its patterns have two axes.
pub(crate) fn nion_scan(properties: &Json, dims: &[u64]) -> Option<[usize; 3]> {
    let is_sequence = properties["is_sequence"].as_bool().unwrap_or(false);
    let n_collection = properties["collection_dimension_count"]
        .as_u64()
        .unwrap_or(0);
    let lens: Vec<usize> = dims
        .iter()
        .map(|&len| usize::try_from(len).unwrap_or(usize::MAX))
        .collect();
    match (is_sequence, n_collection, lens.as_slice()) {
        (true, 0, &[times, _, _]) => Some([times, 1, 1]),
        (true, 1, &[times, cols, _, _]) => Some([times, 1, cols]),
        (true, 2, &[times, rows, cols, _, _]) => Some([times, rows, cols]),
        (false, 1, &[cols, _, _]) => Some([1, 1, cols]),
        (false, 2, &[rows, cols, _, _]) => Some([1, rows, cols]),
        _ => None,
    }
}

/// Takes into a header what the properties of data of Nion Swift say of axes, microscope and time.
pub(crate) fn nion_series(properties: &Json, n_axes: usize, header: &mut SeriesHeader) {
    let notes: Vec<Option<AxisNote>> = nion_axes(properties, n_axes)
        .into_iter()
        .map(Axis::note)
        .collect();
    let mut record = Record::default();
    record.add_nion(properties);
    header.start_unix_ns = record.start_unix_ns;
    describe(header, &record.list, &notes);
}

fn dm5_axes(file: &Hdf5File, group: &str, n_axes: usize) -> Vec<Axis> {
    (0..n_axes)
        .map(|axis| {
            let path = join(
                group,
                &format!("Calibrations/Dimension/[{}]", n_axes - 1 - axis),
            );
            let said = file
                .object(&path)
                .map(|object| attributes(file, object))
                .unwrap_or_default();
            let find = |name: &str| said.iter().find(|(n, _)| n == name).map(|(_, value)| value);
            let text = |name: &str| find(name).and_then(Value::text).unwrap_or_default();
            Axis {
                name: text("Label").to_owned(),
                step: find("Scale").and_then(Value::number),
                unit: text("Units").to_owned(),
                origin: format!("attribute Scale of {path}"),
            }
        })
        .collect()
}

/// Rows and columns of the scan of a stack, as files of electron backscatter diffraction give them.
fn scan_beside(file: &Arc<Hdf5File>, group: &str, lead: usize, dims: &[u64]) -> Option<[usize; 3]> {
    if lead != 1 {
        return None;
    }
    let above = group.rsplit_once('/').map_or("", |(above, _)| above);
    let names = [
        ("n_rows", "n_columns"),
        ("nRows", "nColumns"),
        ("NROWS", "NCOLS"),
    ];
    for place in ["Header", "header"] {
        let header = join(above, place);
        for (rows, cols) in names {
            let number = |name: &str| value_at(file, &join(&header, name))?.number();
            let (Some(rows), Some(cols)) = (number(rows), number(cols)) else {
                continue;
            };
            if rows >= 1.0 && cols >= 1.0 && rows * cols == dims[0] as f64 {
                return Some([1, rows as usize, cols as usize]);
            }
        }
    }
    None
}
