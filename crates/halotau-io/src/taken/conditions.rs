//! The conditions of a series, with what the analysis needs of them beside the results.

use std::path::Path;

use halotau::conditions::Measured;
use halotau::drift::align::Alignment;
use halotau::ndarray::Array3;
use halotau::series::Warning;
use serde::{Deserialize, Serialize};

use crate::analysis_folder::ConditionsAttributes;
use crate::analysis_folder::arrays;
use crate::error::Result;
use crate::zarr_store::Named;

const PART: &str = "conditions";
const FRAMES: &[&str] = &["time", "row", "col"];
const MAP: &[&str] = &["row", "col"];

#[derive(Debug, Serialize, Deserialize)]
struct Values {
    conditions: ConditionsAttributes,
    row_steps: Vec<i64>,
    col_steps: Vec<i64>,
    excluded: Vec<usize>,
    warnings: Vec<Warning>,
}

/// Keeps the conditions of a series.
///
/// # Errors
///
/// [`Error::Locked`](crate::Error::Locked), [`Error::Io`](crate::Error::Io).
pub fn write_conditions(path: &Path, key: &str, measured: &Measured) -> Result<()> {
    let conditions = &measured.conditions;
    let alignment = &measured.alignment;
    let values = Values {
        conditions: ConditionsAttributes::of(conditions),
        row_steps: alignment.row_steps.clone(),
        col_steps: alignment.col_steps.clone(),
        excluded: measured.excluded.clone(),
        warnings: measured.warnings.clone(),
    };
    super::write(path, PART, key, &values, |group| {
        let n_times = alignment.row_steps.len();
        let dim = conditions.ring_intensity.dim();
        arrays::write_conditions(group, conditions, n_times, dim)?;
        let region = &conditions.region;
        for (name, values) in [
            ("ring_intensity", Some(&conditions.ring_intensity)),
            ("thickness_proxy", Some(&region.thickness_proxy)),
            ("edge_distance", region.edge_distance.as_ref()),
        ] {
            if let Some(values) = values {
                group.array(&Named::new(name, MAP, "1", "as in the results"), values)?;
            }
        }
        let level = "counts of each frame at the points of the sample, at the median current";
        group.array(
            &Named::new("level_counts", FRAMES, "count", level),
            &measured.level_counts,
        )?;
        if let Some(left_out) = &alignment.left_out {
            let name = Named::new("left_out", FRAMES, "1", "1 where a frame is left out");
            group.array(&name, &left_out.mapv(u8::from))?;
        }
        Ok(())
    })
}

/// Gives back what [`write_conditions`] kept.
///
/// # Errors
///
/// [`Error::Io`](crate::Error::Io) and [`Error::Damaged`](crate::Error::Damaged), also where it was kept under another key.
pub fn read_conditions(path: &Path, key: &str) -> Result<Measured> {
    let (group, values): (_, Values) = super::open(path, PART, key)?;
    let left_out: Option<Array3<u8>> = group
        .has("left_out")
        .then(|| group.array("left_out"))
        .transpose()?;
    Ok(Measured {
        conditions: values.conditions.with_arrays(&group)?,
        alignment: Alignment {
            row_steps: values.row_steps,
            col_steps: values.col_steps,
            left_out: left_out.map(|codes| codes.mapv(|code| code != 0)),
        },
        excluded: values.excluded,
        level_counts: group.array("level_counts")?,
        warnings: values.warnings,
    })
}
