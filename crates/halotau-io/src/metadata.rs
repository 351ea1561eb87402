//! What does a file say about its axes, in the words of the program that wrote it?
//!
//! Attributes are found by name, without regard to case, in a table of aliases. The dataset's own come
//! before those of its group. Each value is kept with its origin in words, because two files that disagree
//! can only be settled by someone who sees where each number came from.

use halotau::series::{SeriesHeader, Stated, Warning};

/// Code of the warning about an attribute that makes no sense.
const SENSELESS_ATTRIBUTE: &str = "W101";

/// Attribute of our own series in which frames are listed that the recording did not have.
pub(crate) const MISSING: &str = "missing_frames";

/// One attribute, or a small dataset beside the frames.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Attribute {
    /// Its name in the file.
    pub(crate) name: String,
    /// Its value.
    pub(crate) value: AttributeValue,
    /// Where it was found: "attribute dt_s of dataset data".
    pub(crate) origin: String,
}

/// A value of a kind that can be used.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum AttributeValue {
    /// Numbers, one or more.
    Numbers(Vec<f64>),
    /// A text.
    Text(String),
}

impl AttributeValue {
    /// The value of JSON metadata, where it is of a kind that can be used.
    pub(crate) fn from_json(value: &serde_json::Value) -> Option<Self> {
        match value {
            serde_json::Value::Number(number) => Some(Self::Numbers(vec![number.as_f64()?])),
            serde_json::Value::String(text) => Some(Self::Text(text.clone())),
            serde_json::Value::Array(values) => values
                .iter()
                .map(serde_json::Value::as_f64)
                .collect::<Option<_>>()
                .map(Self::Numbers),
            _ => None,
        }
    }

    fn number(&self) -> Option<f64> {
        match self {
            Self::Numbers(numbers) => match numbers[..] {
                [number] => Some(number),
                _ => None,
            },
            Self::Text(text) => text.trim().parse().ok(),
        }
    }
}

/// The factor from a written unit of time to seconds; `None` where it is none.
pub(crate) fn time_factor(unit: &str) -> Option<f64> {
    unit_factor(unit, Field::Period)
}

impl AxisNote {
    /// Whether the unit is one of time.
    pub(crate) fn is_time(&self) -> bool {
        unit_factor(&self.unit, Field::Period).is_some()
    }
}

/// One axis as HyperSpy, EMD or py4DSTEM describe it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct AxisNote {
    /// Distance of neighboring points.
    pub(crate) step: f64,
    /// Unit of the distance, as written.
    pub(crate) unit: String,
    /// Where it was found.
    pub(crate) origin: String,
}

/// Fills what attributes and axes state into a header. `axes` are those of the dataset, in order; the last
/// two are the pattern's.
pub(crate) fn describe(
    header: &mut SeriesHeader,
    attributes: &[Attribute],
    axes: &[Option<AxisNote>],
) {
    for attribute in attributes {
        let Some((field, factor)) = field(&attribute.name) else {
            continue;
        };
        if field == Field::Times {
            describe_times(header, attribute);
            continue;
        }
        let slot = slot(header, field);
        if slot.is_some() {
            continue;
        }
        match attribute.value.number().map(|number| number * factor) {
            Some(value) if value.is_finite() && value > 0.0 => {
                *slot = Some(Stated::new(value, &attribute.origin));
            }
            _ => header.warnings.push(Warning::new(
                SENSELESS_ATTRIBUTE,
                format!(
                    "The {} is {:?}, not a positive number; it is ignored.",
                    attribute.origin, attribute.value
                ),
            )),
        }
    }
    let Some(lead) = axes.len().checked_sub(2) else {
        return;
    };
    let note = |axis: usize| axes.get(axis).and_then(Option::as_ref);
    let scan_axis = lead.checked_sub(1).and_then(note);
    // Stacks and lines in time have fewer axes.
    let time_axis = match lead {
        1 | 2 if header.shape.n_times > 1 => note(0),
        _ => lead.checked_sub(3).and_then(note),
    };
    for (note, field) in [
        (note(lead).or(note(lead + 1)), Field::QStep),
        (scan_axis, Field::Step),
        (time_axis, Field::Period),
    ] {
        let Some(note) = note else { continue };
        let Some(factor) = unit_factor(&note.unit, field) else {
            continue;
        };
        let value = note.step * factor;
        let slot = slot(header, field);
        if slot.is_none() && value.is_finite() && value > 0.0 {
            *slot = Some(Stated::new(value, &note.origin));
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Field {
    Step,
    QStep,
    Voltage,
    Convergence,
    Dwell,
    Period,
    Total,
    Temperature,
    Times,
}

/// The field that an attribute's name stands for, and the factor to the field's unit.
fn field(name: &str) -> Option<(Field, f64)> {
    Some(match name.to_lowercase().as_str() {
        "step_nm" | "scan_step_nm" => (Field::Step, 1.0),
        "scan_step_pm" => (Field::Step, 1e-3),
        "q_step_per_nm" | "dk_invnm" | "dk_per_nm" | "q_step_invnm" => (Field::QStep, 1.0),
        "dk_inva" | "q_step_per_a" => (Field::QStep, 10.0),
        "voltage_kv" | "acceleration_voltage_kv" => (Field::Voltage, 1.0),
        "voltage_v" => (Field::Voltage, 1e-3),
        "convergence_mrad" | "alpha_mrad" | "convergence_angle_mrad" => (Field::Convergence, 1.0),
        "dwell_ms" | "dwell_time_ms" | "exposure_ms" => (Field::Dwell, 1.0),
        "dwell_s" | "dwell_time_s" | "exposure_s" => (Field::Dwell, 1e3),
        "period_s" | "dt_s" | "frame_period_s" => (Field::Period, 1.0),
        "total_s" | "total_time_s" | "duration_s" => (Field::Total, 1.0),
        "temperature_k" => (Field::Temperature, 1.0),
        "times_s" | "timestamps_s" | "timestamps" => (Field::Times, 1.0),
        _ => return None,
    })
}

/// Whether a dataset of this name holds the times of the scans.
pub(crate) fn names_times(name: &str) -> bool {
    matches!(field(name), Some((Field::Times, _)))
}

fn slot(header: &mut SeriesHeader, field: Field) -> &mut Option<Stated> {
    match field {
        Field::Step => &mut header.step_nm,
        Field::QStep => &mut header.q_step_per_nm,
        Field::Voltage => &mut header.voltage_kv,
        Field::Convergence => &mut header.convergence_mrad,
        Field::Dwell => &mut header.dwell_ms,
        Field::Total => &mut header.total_s,
        Field::Temperature => &mut header.temperature_k,
        // Times are a list and are taken by `describe_times` before.
        Field::Period | Field::Times => &mut header.period_s,
    }
}

/// Takes timestamps, from the first, where there is one for each scan.
fn describe_times(header: &mut SeriesHeader, attribute: &Attribute) {
    if header.times_s.is_some() {
        return;
    }
    if let AttributeValue::Numbers(times) = &attribute.value
        && times.len() == header.shape.n_times
        && times.iter().all(|time| time.is_finite())
    {
        header.times_s = Some(times.iter().map(|time| time - times[0]).collect());
        return;
    }
    header.warnings.push(Warning::new(
        SENSELESS_ATTRIBUTE,
        format!(
            "The {} does not hold one finite number for each of the {} scans; it is ignored.",
            attribute.origin, header.shape.n_times
        ),
    ));
}

/// The factor from a written unit to a field's; `None` where the unit is not understood.
fn unit_factor(unit: &str, field: Field) -> Option<f64> {
    let unit = unit.trim();
    let factor = match field {
        Field::QStep => match unit {
            "1/nm" | "nm^-1" | "nm-1" | "nm⁻¹" | "$nm^{-1}$" | "n_m^-1" | "[n_m^-1]" => 1.0,
            "1/A" | "1/Å" | "A^-1" | "Å^-1" | "A-1" | "$A^{-1}$" => 10.0,
            _ => return None,
        },
        Field::Step => match unit {
            "nm" | "n_m" | "[n_m]" => 1.0,
            "A" | "Å" => 0.1,
            "pm" => 1e-3,
            "µm" | "um" => 1e3,
            _ => return None,
        },
        _ => match unit {
            "s" | "sec" => 1.0,
            "ms" => 1e-3,
            "min" => 60.0,
            _ => return None,
        },
    };
    Some(factor)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests {
    use halotau::series::{SampleType, SeriesShape};

    use super::*;

    fn attribute(name: &str, value: AttributeValue) -> Attribute {
        Attribute {
            name: name.to_owned(),
            value,
            origin: format!("attribute {name} of dataset data"),
        }
    }

    #[test]
    fn aliases_fill_the_header_and_senseless_values_warn() {
        let shape = SeriesShape {
            n_times: 3,
            n_rows: 1,
            n_cols: 1,
            pattern_rows: 2,
            pattern_cols: 2,
        };
        let mut header = SeriesHeader::new("x", "test", shape, SampleType::U8);
        let attributes = [
            attribute("dk_invA", AttributeValue::Numbers(vec![0.023])),
            attribute("q_step_per_nm", AttributeValue::Numbers(vec![9.0])),
            attribute("Temperature_K", AttributeValue::Text(" 633 ".to_owned())),
            attribute("dt_s", AttributeValue::Numbers(vec![-1.0])),
            attribute("timestamps", AttributeValue::Numbers(vec![5.0, 6.0, 8.0])),
        ];
        let axes = [None, None, None].map(|_: Option<()>| None);
        describe(&mut header, &attributes, &axes);
        let q = header.q_step_per_nm.unwrap();
        assert!((q.value - 0.23).abs() < 1e-12);
        assert_eq!(q.origin, "attribute dk_invA of dataset data");
        assert_eq!(header.temperature_k.unwrap().value, 633.0);
        assert_eq!(header.period_s, None);
        assert_eq!(header.times_s, Some(vec![0.0, 1.0, 3.0]));
        assert_eq!(header.warnings.len(), 1);
    }

    #[test]
    fn axes_with_units_fill_what_attributes_leave_open() {
        let shape = SeriesShape {
            n_times: 2,
            n_rows: 1,
            n_cols: 1,
            pattern_rows: 2,
            pattern_cols: 2,
        };
        let mut header = SeriesHeader::new("x", "test", shape, SampleType::U8);
        let axis = |step: f64, unit: &str| {
            Some(AxisNote {
                step,
                unit: unit.to_owned(),
                origin: "axis".to_owned(),
            })
        };
        let axes = [
            axis(4.8, "s"),
            axis(1.6, "A"),
            axis(1.6, "A"),
            axis(0.1, "1/nm"),
            axis(0.1, "1/nm"),
        ];
        describe(&mut header, &[], &axes);
        assert_eq!(header.period_s.unwrap().value, 4.8);
        assert!((header.step_nm.unwrap().value - 0.16).abs() < 1e-12);
        assert_eq!(header.q_step_per_nm.unwrap().value, 0.1);
    }
}
