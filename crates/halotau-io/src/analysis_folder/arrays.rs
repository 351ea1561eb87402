//! Writing the arrays of an analysis.

use halotau::analysis::Analysis;
use halotau::conditions::Conditions;
use halotau::drift::Drift;
use halotau::ndarray::{Array1, Array3, Axis};
use halotau::quality::Quality;
use halotau::series::Position;
use serde_json::{Map, Value, json};

use super::{TWO_TIME, TWO_TIME_ALL};
use crate::error::{Error, Result};
use crate::maps::{OUTCOMES, maps, outcome_code, positions_nm, region_start};
use crate::zarr_store::{Chunks, GroupWriter, Named};

const MAP: &[&str] = &["row", "col"];
const CURVES: &[&str] = &["row", "col", "lag"];
/// Writes all arrays, and gives the names of those that are coordinates.
pub(super) fn write_arrays(
    group: &mut GroupWriter<'_>,
    analysis: &Analysis,
) -> Result<Vec<&'static str>> {
    let (n_rows, n_cols) = analysis.quality.dim();
    for map in maps(analysis) {
        check_dim(map.name, map.values.dim(), (n_rows, n_cols))?;
        group.array(
            &Named::new(map.name, MAP, map.units, map.long_name),
            map.values,
        )?;
    }
    check_dim(
        "outcome",
        analysis.relaxation.outcome.dim(),
        (n_rows, n_cols),
    )?;
    let outcome = analysis.relaxation.outcome.mapv(outcome_code);
    group.array_with(
        &Named::new("outcome", MAP, "1", "how the fit ended"),
        &outcome,
        None,
        flags(
            "flag_values",
            OUTCOMES
                .iter()
                .map(|(_, code, word)| (u32::from(*code), *word)),
        ),
    )?;
    group.array_with(
        &Named::new("quality", MAP, "1", "flags of each position").filled(Quality::NOT_COMPUTED.0),
        &analysis.quality.mapv(|quality| quality.0),
        None,
        flags(
            "flag_masks",
            Quality::NAMES.iter().map(|(flag, word)| (flag.0, *word)),
        ),
    )?;
    write_conditions(
        group,
        &analysis.conditions,
        analysis.time.len(),
        (n_rows, n_cols),
    )?;
    write_curves(group, analysis)?;
    write_two_time(group, analysis)?;
    write_coordinates(group, analysis)
}

fn write_curves(group: &mut GroupWriter<'_>, analysis: &Analysis) -> Result<()> {
    let (n_rows, n_cols) = analysis.quality.dim();
    let curves = &analysis.curves;
    let dim = (n_rows, n_cols, curves.lag_s.len());
    check_dim("g", curves.g.dim(), dim)?;
    check_dim("g_error", curves.g_error.dim(), dim)?;
    check_dim("n_pairs", curves.n_pairs.len(), curves.lag_s.len())?;
    check_dim("ensemble_g", analysis.ensemble_g.len(), curves.lag_s.len())?;
    group.array(
        &Named::new("g", CURVES, "1", "correlation of the speckle"),
        &curves.g,
    )?;
    group.array(
        &Named::new("g_error", CURVES, "1", "standard error of the correlation"),
        &curves.g_error,
    )?;
    group.array(
        &Named::new("n_pairs", &["lag"], "1", "pairs of scans at each lag"),
        &curves
            .n_pairs
            .iter()
            .map(|&n| n as u64)
            .collect::<Array1<u64>>(),
    )?;
    group.array(
        &Named::new(
            "ensemble_g",
            &["lag"],
            "1",
            "correlation averaged over positions",
        ),
        &Array1::from(analysis.ensemble_g.clone()),
    )
}

/// Arrays over time that describe the drift, with what each is; none where drift was not looked for.
pub(super) fn drift_arrays(drift: &Drift) -> [(&'static str, &'static str, &Vec<f64>); 4] {
    [
        (
            "drift_row",
            "displacement of the sample's point under a position along rows, in scan steps",
            &drift.row.steps,
        ),
        (
            "drift_col",
            "displacement of the sample's point under a position along columns, in scan steps",
            &drift.col.steps,
        ),
        (
            "drift_row_error",
            "standard error of drift_row up to a constant, in scan steps",
            &drift.row.error,
        ),
        (
            "drift_col_error",
            "standard error of drift_col up to a constant, in scan steps",
            &drift.col.error,
        ),
    ]
}

/// Writes the arrays of conditions that are no maps of numbers.
pub(crate) fn write_conditions(
    group: &mut GroupWriter<'_>,
    conditions: &Conditions,
    n_times: usize,
    dim: (usize, usize),
) -> Result<()> {
    let mut over_time = |name, long_name, values: &Vec<f64>| -> Result<()> {
        check_dim(name, values.len(), n_times)?;
        group.array(
            &Named::new(name, &["time"], "1", long_name),
            &Array1::from(values.clone()),
        )
    };
    over_time(
        "beam_current",
        "beam current over its median",
        &conditions.current.relative,
    )?;
    if let Some(drift) = &conditions.drift {
        for (name, long_name, values) in drift_arrays(drift) {
            over_time(name, long_name, values)?;
        }
        if !drift.likeness.is_empty() {
            over_time(
                "speckle_likeness",
                "height of the correlation of the speckle with the scan before",
                &drift.likeness,
            )?;
        }
    }
    let region = &conditions.region;
    for (name, long_name, values) in [
        (
            "masked",
            "1 where a position is not looked at",
            &region.masked,
        ),
        ("vacuum", "1 where a position sees vacuum", &region.vacuum),
    ] {
        check_dim(name, values.dim(), dim)?;
        group.array(
            &Named::new(name, MAP, "1", long_name),
            &values.mapv(u8::from),
        )?;
    }
    Ok(())
}

fn write_two_time(group: &mut GroupWriter<'_>, analysis: &Analysis) -> Result<()> {
    let n_times = analysis.time.len();
    if !analysis.two_time.is_empty() {
        let mut kept = Array3::zeros((analysis.two_time.len(), n_times, n_times));
        for (idx, matrix) in analysis.two_time.iter().enumerate() {
            check_dim("two_time", matrix.values.dim(), (n_times, n_times))?;
            kept.index_axis_mut(Axis(0), idx).assign(&matrix.values);
        }
        let part = vec![1, n_times, n_times];
        group.array_with(
            &TWO_TIME,
            &kept,
            Some(Chunks {
                file: part,
                part: None,
            }),
            Map::new(),
        )?;
    }
    if let Some(all) = &analysis.two_time_all {
        let (n_rows, n_cols) = analysis.quality.dim();
        check_dim(
            "two_time_all",
            all.dim(),
            (n_rows * n_cols, n_times, n_times),
        )?;
        let all = all
            .view()
            .into_shape_with_order((n_rows, n_cols, n_times, n_times))
            .map_err(|error| mismatch("two_time_all", &n_times, &error))?
            .to_owned();
        let chunks = Chunks {
            file: vec![1, n_cols, n_times, n_times],
            part: Some(vec![1, 1, n_times, n_times]),
        };
        group.array_with(&TWO_TIME_ALL, &all, Some(chunks), Map::new())?;
    }
    Ok(())
}

fn write_coordinates(
    group: &mut GroupWriter<'_>,
    analysis: &Analysis,
) -> Result<Vec<&'static str>> {
    let (n_rows, n_cols) = analysis.quality.dim();
    let [first_row, first_col] = region_start(analysis);
    let mut coordinates = vec!["time_s", "lag_s"];
    let times = Array1::from(analysis.time.times_s().to_vec());
    group.array(
        &Named::new("time_s", &["time"], "s", "start of each scan"),
        &times,
    )?;
    group.array(
        &Named::new("lag_s", &["lag"], "s", "lag"),
        &Array1::from(analysis.curves.lag_s.clone()),
    )?;
    if let (Some(rows), Some(cols)) = (
        positions_nm(first_row, n_rows, analysis.step_nm),
        positions_nm(first_col, n_cols, analysis.step_nm),
    ) {
        group.array(
            &Named::new("row_nm", &["row"], "nm", "scan row"),
            &Array1::from(rows),
        )?;
        group.array(
            &Named::new("col_nm", &["col"], "nm", "scan column"),
            &Array1::from(cols),
        )?;
        coordinates.extend(["row_nm", "col_nm"]);
    }
    if !analysis.two_time.is_empty() {
        let index = |pick: fn(Position) -> usize| -> Result<Array1<i32>> {
            analysis
                .two_time
                .iter()
                .map(|matrix| match matrix.position {
                    None => Ok(-1),
                    Some(position) => i32::try_from(pick(position))
                        .map_err(|error| mismatch("two_time", &"a position", &error)),
                })
                .collect()
        };
        let rows = index(|position| position.row)?;
        let cols = index(|position| position.col)?;
        group.array(
            &Named::new(
                "two_time_row",
                &["kept"],
                "1",
                "scan row, -1 for the region mean",
            ),
            &rows,
        )?;
        group.array(
            &Named::new(
                "two_time_col",
                &["kept"],
                "1",
                "scan column, -1 for the region mean",
            ),
            &cols,
        )?;
        coordinates.extend(["two_time_row", "two_time_col"]);
    }
    if !analysis.two_time.is_empty() || analysis.two_time_all.is_some() {
        group.array(
            &Named::new("time_1_s", &["time_1"], "s", "start of the first scan"),
            &times,
        )?;
        group.array(
            &Named::new("time_2_s", &["time_2"], "s", "start of the second scan"),
            &times,
        )?;
        coordinates.extend(["time_1_s", "time_2_s"]);
    }
    Ok(coordinates)
}

/// The attributes by which the CF conventions explain flags.
fn flags<'a>(kind: &str, flags: impl Iterator<Item = (u32, &'a str)>) -> Map<String, Value> {
    let (values, words): (Vec<u32>, Vec<&str>) = flags.unzip();
    let mut attributes = Map::new();
    attributes.insert(kind.to_owned(), json!(values));
    attributes.insert("flag_meanings".to_owned(), json!(words.join(" ")));
    attributes
}

fn check_dim<D: PartialEq + std::fmt::Debug>(what: &str, found: D, expected: D) -> Result<()> {
    if found == expected {
        return Ok(());
    }
    Err(mismatch(what, &expected, &found))
}

fn mismatch(what: &str, expected: &dyn std::fmt::Debug, found: &dyn std::fmt::Debug) -> Error {
    Error::Value {
        what: format!("{what} of the analysis"),
        expected: format!("{expected:?}"),
        found: format!("{found:?}"),
    }
}
