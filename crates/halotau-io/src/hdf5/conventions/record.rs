//! What do the attributes and small datasets of an HDF5 file say about microscope and acquisition?

use std::sync::Arc;

use serde_json::Value as Json;

use super::super::dataset::{Dataset, value_at};
use super::super::file::{Hdf5File, join};
use super::super::value::{Value, attribute, attributes};
use super::{Convention, nexus_axes};
use crate::clock::unix_ns;
use crate::metadata::{Attribute, AttributeValue, names_times, time_factor};

/// What a file says besides its frames and axes.
#[derive(Debug, Default)]
pub(in crate::hdf5) struct Record {
    pub(in crate::hdf5) list: Vec<Attribute>,
    /// Start of the acquisition, nanoseconds since 1970 in UTC.
    pub(in crate::hdf5) start_unix_ns: Option<i64>,
}

/// The attributes of the dataset, of its group and of the file, then what the writer's own rules say.
pub(super) fn collect(convention: &Convention, dataset: &Dataset, n_times: usize) -> Record {
    let file = &dataset.file;
    let group = dataset.name.rsplit_once('/').map_or("", |(group, _)| group);
    let mut record = Record::default();
    record.add_object(file, &dataset.name, &format!("dataset {}", dataset.name));
    if !group.is_empty() {
        record.add_object(file, group, &format!("group {group}"));
    }
    record.add_object(file, "", "the file");
    record.list.extend(times_beside(file, group, n_times));
    match convention {
        Convention::HyperSpy => record.add_hyperspy(file, group),
        Convention::Emd => record.add_emd(file, group),
        Convention::Nion(properties) => record.add_nion(properties),
        Convention::Dm5 => record.add_dm5(file, group),
        Convention::Nexus => record.add_nexus(dataset, group, n_times),
        Convention::Velox | Convention::Matlab | Convention::Plain => {}
    }
    record
}

impl Record {
    fn add(&mut self, name: &str, value: f64, origin: String) {
        self.list.push(Attribute {
            name: name.to_owned(),
            value: AttributeValue::Numbers(vec![value]),
            origin,
        });
    }

    /// Adds a number under a name that metadata know, where it is positive: programs write 0 for "not known".
    fn add_positive(&mut self, name: &str, value: Option<f64>, factor: f64, origin: &str) {
        if let Some(value) = value.filter(|value| *value > 0.0) {
            self.add(name, value * factor, origin.to_owned());
        }
    }

    fn add_object(&mut self, file: &Hdf5File, path: &str, owner: &str) {
        let Some(object) = file.object(path) else {
            return;
        };
        for (name, value) in attributes(file, object) {
            if let Some(value) = value.into_attribute() {
                self.list.push(Attribute {
                    origin: format!("attribute {name} of {owner}"),
                    name,
                    value,
                });
            }
        }
    }

    /// The moments of an axis in time, which need not be even, and when the first was.
    fn add_nexus(&mut self, dataset: &Dataset, group: &str, n_times: usize) {
        let file = &dataset.file;
        let text = |path: &str| -> Option<String> {
            let value = value_at(file, path)?;
            value.text().map(str::to_owned)
        };
        let entry = group.split('/').next().unwrap_or_default();
        self.start_unix_ns = text(&join(entry, "start_time")).and_then(|text| unix_ns(&text));
        let axes = nexus_axes(file, group, dataset.dims.len());
        let Some(time) = axes.first().filter(|axis| axis.is_time()) else {
            return;
        };
        let path = join(group, &time.name);
        let start = attribute(file, &path, "start");
        if let Some(start) = start.as_ref().and_then(Value::text).and_then(unix_ns) {
            self.start_unix_ns = Some(start);
        }
        let factor = time_factor(&time.unit);
        if let (Some(factor), Some(Value::Numbers(times))) = (factor, value_at(file, &path))
            && n_times > 1
            && times.len() == n_times
        {
            self.list.push(Attribute {
                name: "times_s".to_owned(),
                value: AttributeValue::Numbers(times.iter().map(|time| time * factor).collect()),
                origin: format!("dataset {path}"),
            });
        }
    }

    fn add_hyperspy(&mut self, file: &Hdf5File, group: &str) {
        let find = |path: &str, name: &str| {
            let object = file.object(&join(group, path))?;
            let said = attributes(file, object);
            said.into_iter()
                .find(|(n, _)| n == name)
                .map(|(_, value)| value)
        };
        let microscope = "metadata/Acquisition_instrument/TEM";
        let camera = "metadata/Acquisition_instrument/TEM/Detector/Camera";
        for (path, name, known, factor) in [
            (microscope, "beam_energy", "voltage_kv", 1.0),
            (microscope, "convergence_angle", "convergence_mrad", 1.0),
            (camera, "exposure", "dwell_ms", 1e3),
            (camera, "dwell_time", "dwell_ms", 1e3),
        ] {
            let value = find(path, name).and_then(|value| value.number());
            self.add_positive(known, value, factor, &format!("{name} of {path}"));
        }
        let text = |name: &str| {
            let value = find("metadata/General", name)?;
            value.text().map(str::to_owned)
        };
        if let (Some(date), Some(time)) = (text("date"), text("time")) {
            self.start_unix_ns = unix_ns(&format!("{date}T{time}"));
        }
    }

    /// The calibration of py4DSTEM, which is kept beside the array, or above it.
    fn add_emd(&mut self, file: &Arc<Hdf5File>, group: &str) {
        let above = group.rsplit_once('/').map_or("", |(above, _)| above);
        for owner in [group, above] {
            let calibration = join(owner, "metadatabundle/calibration");
            let value = |name: &str| value_at(file, &join(&calibration, name));
            let number = |name: &str| value(name).and_then(|value| value.number());
            let unit = |name: &str| {
                let value = value(name)?;
                value.text().map(str::to_owned)
            };
            for (name, known) in [("R", "scan_step_nm"), ("Q", "q_step_per_nm")] {
                let factor = match unit(&format!("{name}_pixel_units")).as_deref() {
                    Some("nm" | "nm^-1" | "1/nm") => 1.0,
                    Some("A^-1" | "1/A" | "Å^-1") => 10.0,
                    Some("A" | "Å") => 0.1,
                    // Pixels, or milliradians, which need the wavelength.
                    _ => continue,
                };
                let origin = format!("{name}_pixel_size of {calibration}");
                self.add_positive(
                    known,
                    number(&format!("{name}_pixel_size")),
                    factor,
                    &origin,
                );
            }
            let origin = |name: &str| format!("{name} of {calibration}");
            self.add_positive(
                "voltage_v",
                number("accelerating_voltage"),
                1.0,
                &origin("accelerating_voltage"),
            );
            self.add_positive(
                "convergence_mrad",
                number("convergence_semiangle_mrad"),
                1.0,
                &origin("convergence_semiangle_mrad"),
            );
        }
    }

    /// What Nion Swift keeps of instrument and camera.
    pub(in crate::hdf5) fn add_nion(&mut self, properties: &Json) {
        let metadata = &properties["metadata"];
        let origin = |name: &str| format!("{name} of the properties");
        for (block, name, known, factor) in [
            ("instrument", "high_tension", "voltage_v", 1.0),
            ("instrument", "high_tension_v", "voltage_v", 1.0),
            ("hardware_source", "exposure", "dwell_ms", 1e3),
        ] {
            let value = metadata[block][name].as_f64();
            self.add_positive(known, value, factor, &origin(name));
        }
        let created = properties["timestamp"]
            .as_str()
            .or(properties["created"].as_str());
        self.start_unix_ns = created.and_then(unix_ns);
    }

    fn add_dm5(&mut self, file: &Hdf5File, group: &str) {
        let image = group.rsplit_once('/').map_or("", |(image, _)| image);
        let number = |path: &str, name: &str| {
            let object = file.object(&join(image, path))?;
            let said = attributes(file, object);
            let value = said
                .into_iter()
                .find(|(n, _)| n == name)
                .map(|(_, value)| value);
            value?.number()
        };
        let microscope = "ImageTags/Microscope Info";
        let voltage = number(microscope, "Voltage");
        self.add_positive("voltage_v", voltage, 1.0, "Voltage of Microscope Info");
    }
}

/// A one-dimensional dataset of times beside the frames.
fn times_beside(file: &Arc<Hdf5File>, group: &str, n_times: usize) -> Option<Attribute> {
    let names = file.names_in(group);
    let name = names.into_iter().find(|name| names_times(name))?;
    let path = join(group, name);
    let dataset = Dataset::find(file, &path)?;
    if dataset.dims != [n_times as u64] {
        return None;
    }
    let Value::Numbers(values) = dataset.value()? else {
        return None;
    };
    Some(Attribute {
        name: name.to_owned(),
        value: AttributeValue::Numbers(values),
        origin: format!("dataset {path}"),
    })
}
