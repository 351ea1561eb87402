//! How are the results of one temperature kept, so that figures, reports and exports start from them?
//!
//! `analysis.zarr` is a Zarr group (version 3): every map `[row, col]`, the curves `[row, col, lag]`, two-time matrices, and
//! in the attributes the recipe, the summary and the conventions. `xarray.open_zarr` opens it with names, units and
//! coordinates. The folder is written beside its place and renamed, so that the earlier results stay until the new ones are
//! whole; [`read_analysis`] gives back every bit and refuses what was changed.

pub(crate) mod arrays;
pub(crate) mod place;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use halotau::analysis::{Analysis, MapSummary};
use halotau::axes::{TimeAxis, TimeBasis};
use halotau::beam::Dose;
use halotau::conditions::{Conditions, DriftLimit};
use halotau::correlate::{CorrelationCurves, Flattening, LagSums, TwoTime};
use halotau::current::{BeamCurrent, LeftOut};
use halotau::drift::Drift;
use halotau::dynamics::Dynamics;
use halotau::fluctuate::FluctuationMap;
use halotau::heterogeneity::Heterogeneity;
use halotau::ndarray::{Array2, Array3, Array4};
use halotau::q_dependence::QDependence;
use halotau::quality::Quality;
use halotau::recipe::Recipe;
use halotau::region::Region;
use halotau::relate::{DecoupledRelation, RelationChecks, StructureDynamics};
use halotau::relax::{KwwFit, RelaxationMap};
use halotau::series::{Position, Warning};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::error::{Error, Result};
use crate::manifest::Sync;
use crate::maps::outcome_of;
use crate::zarr_store::{GroupReader, GroupWriter, METADATA, Named};
use arrays::write_arrays;
use place::Place;

const KIND: &str = "halotau analysis";
/// Version of the names and axes in the folder.
const FORMAT: u32 = 2;
const CURE: &str = "restore it from a copy, or analyze again";

const TWO_TIME: Named = Named::new(
    "two_time",
    &["kept", "time_1", "time_2"],
    "1",
    "two-time correlation of the region mean and of chosen positions",
);
const TWO_TIME_ALL: Named = Named::new(
    "two_time_all",
    &["row", "col", "time_1", "time_2"],
    "1",
    "two-time correlation of every position",
);

/// The attributes of the group. What is written here must come back bit for bit.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Attributes {
    kind: String,
    format: u32,
    complete: bool,
    version: String,
    coordinates: String,
    name: String,
    #[serde(with = "halotau::nonfinite")]
    temperature_k: f64,
    #[serde(with = "halotau::nonfinite")]
    step_nm: f64,
    time_basis: TimeBasis,
    n_ring_pixels: usize,
    /// Folders written before they were counted lack it.
    #[serde(default)]
    n_ring_speckles: Option<f64>,
    /// Folders that were written before there were several ways hold none.
    #[serde(default)]
    lag_sums: LagSums,
    flattening: Option<Flattening>,
    /// Folders written before the likelihood lack it.
    #[serde(default)]
    interval_factor: Option<f64>,
    /// Folders written before it was tested lack it.
    #[serde(default)]
    q_dependence: Option<QDependence>,
    distant_baseline: Option<f64>,
    ensemble_fit: KwwFit,
    examples: Option<[Position; 2]>,
    summary: MapSummary,
    relation: StructureDynamics,
    decoupled: Option<DecoupledRelation>,
    #[serde(default)]
    relation_checks: Option<RelationChecks>,
    /// Folders written before it was measured lack it.
    #[serde(default)]
    heterogeneity: Option<Heterogeneity>,
    #[serde(default)]
    dynamics: Option<Dynamics>,
    warnings: Vec<Warning>,
    conditions: ConditionsAttributes,
    /// For programs.
    recipe: Recipe,
    /// For people: the text of `recipe.toml`.
    recipe_toml: String,
    conventions: Map<String, Value>,
}

/// The conditions without their arrays.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct ConditionsAttributes {
    drift: Option<Drift>,
    drift_limit: DriftLimit,
    current: BeamCurrent,
    left_out: Vec<LeftOut>,
    edge_margin: f64,
    dose: Option<Dose>,
}

impl ConditionsAttributes {
    pub(crate) fn of(conditions: &Conditions) -> Self {
        Self {
            drift: conditions.drift.clone(),
            drift_limit: conditions.drift_limit,
            current: conditions.current.clone(),
            left_out: conditions.left_out.clone(),
            edge_margin: conditions.region.margin,
            dose: conditions.dose,
        }
    }

    pub(crate) fn with_arrays(self, group: &GroupReader) -> Result<Conditions> {
        let drift = self
            .drift
            .map(|mut drift| -> Result<Drift> {
                drift.row.steps = group.vector("drift_row")?;
                drift.col.steps = group.vector("drift_col")?;
                drift.row.error = group.vector("drift_row_error")?;
                drift.col.error = group.vector("drift_col_error")?;
                if group.has("speckle_likeness") {
                    drift.likeness = group.vector("speckle_likeness")?;
                }
                Ok(drift)
            })
            .transpose()?;
        let bits = |name: &str| -> Result<Array2<bool>> {
            let codes: Array2<u8> = group.array(name)?;
            Ok(codes.mapv(|code| code != 0))
        };
        let edge_distance = ["edge_distance_nm", "edge_distance"]
            .into_iter()
            .find(|name| group.has(name))
            .map(|name| group.array(name))
            .transpose()?;
        Ok(Conditions {
            drift,
            drift_limit: self.drift_limit,
            current: BeamCurrent {
                relative: group.vector("beam_current")?,
                ..self.current
            },
            left_out: self.left_out,
            region: Region {
                masked: bits("masked")?,
                vacuum: bits("vacuum")?,
                edge_distance,
                margin: self.edge_margin,
                thickness_proxy: group.array("thickness_proxy")?,
            },
            ring_intensity: group.array("ring_intensity")?,
            dose: self.dose,
        })
    }
}

/// Writes `analysis.zarr`. An earlier one is replaced when the new one is whole.
///
/// `recipe_toml` is the text of the effective recipe, for people who open the folder in other programs.
///
/// # Errors
///
/// [`Error::Locked`] while another process writes there, [`Error::NotResults`] where something else is in the place,
/// [`Error::Value`] where the parts of the analysis do not fit together, [`Error::Io`].
pub fn write_analysis(path: &Path, analysis: &Analysis, recipe_toml: &str) -> Result<()> {
    let place = Place::take(path, check_kind)?;
    let mut group = GroupWriter::new(&place.new, Sync::Cache);
    let coordinates = write_arrays(&mut group, analysis)?;
    let attributes = Attributes {
        kind: KIND.to_owned(),
        format: FORMAT,
        complete: true,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        coordinates: coordinates.join(" "),
        name: analysis.name.clone(),
        temperature_k: analysis.temperature_k,
        step_nm: analysis.step_nm,
        time_basis: analysis.time.basis(),
        n_ring_pixels: analysis.n_ring_pixels,
        n_ring_speckles: analysis.n_ring_speckles,
        lag_sums: analysis.lag_sums,
        flattening: analysis.flattening,
        interval_factor: analysis.interval_factor,
        q_dependence: analysis.q_dependence.clone(),
        distant_baseline: analysis.distant_baseline,
        ensemble_fit: analysis.ensemble_fit,
        examples: analysis.examples,
        summary: analysis.summary.clone(),
        relation: analysis.relation,
        decoupled: analysis.decoupled,
        relation_checks: analysis.relation_checks.clone(),
        heterogeneity: analysis.heterogeneity.clone(),
        dynamics: analysis.dynamics.clone(),
        warnings: analysis.warnings.clone(),
        conditions: ConditionsAttributes::of(&analysis.conditions),
        recipe: analysis.recipe.clone(),
        recipe_toml: recipe_toml.to_owned(),
        conventions: conventions(&analysis.recipe),
    };
    let Ok(Value::Object(attributes)) = serde_json::to_value(attributes) else {
        return Err(Error::Value {
            what: "the recipe".to_owned(),
            expected: "text and numbers that JSON can hold".to_owned(),
            found: "a path that is not Unicode".to_owned(),
        });
    };
    group.finish(attributes, BTreeMap::new())?;
    place.rename(path)
}

/// What the numbers depend on, in words.
fn conventions(recipe: &Recipe) -> Map<String, Value> {
    let word = |value: Value| value.as_str().map(str::to_owned).unwrap_or_default();
    let named = |value: serde_json::Result<Value>| json!(word(value.unwrap_or_default()));
    let mut conventions = Map::new();
    let mut add = |key: &str, value: Value| conventions.insert(key.to_owned(), value);
    add(
        "normalization",
        named(serde_json::to_value(recipe.dynamics.normalization)),
    );
    add(
        "exponent_factor",
        json!(recipe.relaxation.exponent_factor.value()),
    );
    add(
        "relaxation",
        json!("g(t) = baseline + contrast * exp(-exponent_factor * (t / tau_s)^stretch)"),
    );
    add(
        "grouping",
        named(serde_json::to_value(recipe.structure.grouping)),
    );
    add("noise", named(serde_json::to_value(recipe.structure.noise)));
    add("time_basis", named(serde_json::to_value(recipe.time.basis)));
    add("interval_level", json!(recipe.interval.level));
    add(
        "dynamics_q_range_per_nm",
        json!(recipe.dynamics.q_range_per_nm),
    );
    add(
        "structure_q_range_per_nm",
        json!(recipe.structure.q_range_per_nm),
    );
    add(
        "q",
        json!(
            "spatial frequency s = 1/d in 1/nm, without 2 pi; a pixel belongs to q_min <= q < q_max at its center"
        ),
    );
    add("no_value", json!("NaN; quality says why"));
    conventions
}

/// Reads `analysis.zarr`; every byte is checked, every number comes back as it was.
///
/// # Errors
///
/// [`Error::Io`] where there is none, [`Error::NotResults`] where it is something else, [`Error::Damaged`] where a file
/// is not what was written.
pub fn read_analysis(path: &Path) -> Result<Analysis> {
    check_kind(path)?;
    let group = GroupReader::open(path, CURE)?;
    let attributes: Attributes = group.attributes()?;
    if attributes.format != FORMAT {
        return Err(group.damaged(
            METADATA,
            "it was written by another version of halotau".to_owned(),
        ));
    }
    group.verify(&attributes.coordinates)?;
    let map = |name: &str| -> Result<Array2<f64>> { group.array(name) };
    let codes: Array2<u8> = group.array("outcome")?;
    if let Some(code) = codes.iter().find(|code| outcome_of(**code).is_none()) {
        return Err(group.damaged("outcome", format!("{code} stands for no outcome")));
    }
    let quality: Array2<u32> = group.array("quality")?;
    let n_pairs: Vec<u64> = group.vector("n_pairs")?;
    Ok(Analysis {
        time: TimeAxis::new(group.vector("time_s")?, attributes.time_basis)?,
        curves: CorrelationCurves {
            lag_s: group.vector("lag_s")?,
            n_pairs: n_pairs.into_iter().map(|n| n as usize).collect(),
            g: group.array("g")?,
            g_error: group.array("g_error")?,
        },
        relaxation: RelaxationMap {
            tau_s: map("tau_s")?,
            tau_lower_s: map("tau_lower_s")?,
            tau_upper_s: map("tau_upper_s")?,
            ln_tau_error: map("ln_tau_error")?,
            contrast: map("contrast")?,
            contrast_error: map("contrast_error")?,
            stretch: map("stretch")?,
            stretch_error: map("stretch_error")?,
            baseline: map("baseline")?,
            mean_relaxation_time_s: map("mean_relaxation_time_s")?,
            persistence: map("persistence")?,
            residual: map("residual")?,
            outcome: codes.mapv(|code| outcome_of(code).unwrap_or_default()),
        },
        fluctuation: FluctuationMap {
            values: map("fluctuation")?,
            error: map("fluctuation_error")?,
            raw_ring: map("fluctuation_raw_ring")?,
            raw_band: map("fluctuation_raw_band")?,
            counting: map("fluctuation_counting")?,
            factorial: map("fluctuation_factorial")?,
            two_frame: map("fluctuation_two_frame")?,
            mean_counts: map("mean_counts")?,
        },
        quality: quality.mapv(Quality),
        conditions: attributes.conditions.with_arrays(&group)?,
        two_time: read_two_time(&group)?,
        two_time_all: read_two_time_all(&group)?,
        ensemble_g: group.vector("ensemble_g")?,
        name: attributes.name,
        temperature_k: attributes.temperature_k,
        step_nm: attributes.step_nm,
        recipe: attributes.recipe,
        n_ring_pixels: attributes.n_ring_pixels,
        n_ring_speckles: attributes.n_ring_speckles,
        lag_sums: attributes.lag_sums,
        flattening: attributes.flattening,
        interval_factor: attributes.interval_factor,
        q_dependence: attributes.q_dependence,
        distant_baseline: attributes.distant_baseline,
        ensemble_fit: attributes.ensemble_fit,
        examples: attributes.examples,
        summary: attributes.summary,
        relation: attributes.relation,
        decoupled: attributes.decoupled,
        relation_checks: attributes.relation_checks,
        heterogeneity: attributes.heterogeneity,
        dynamics: attributes.dynamics,
        warnings: attributes.warnings,
    })
}

fn read_two_time(group: &GroupReader) -> Result<Vec<TwoTime>> {
    if !group.has(TWO_TIME.name) {
        return Ok(Vec::new());
    }
    let kept: Array3<f64> = group.array(TWO_TIME.name)?;
    let rows: Vec<i32> = group.vector("two_time_row")?;
    let cols: Vec<i32> = group.vector("two_time_col")?;
    let index = |idx: i32| usize::try_from(idx).ok();
    Ok(kept
        .outer_iter()
        .zip(rows.into_iter().zip(cols))
        .map(|(values, (row, col))| TwoTime {
            position: index(row)
                .zip(index(col))
                .map(|(row, col)| Position { row, col }),
            values: values.to_owned(),
        })
        .collect())
}

fn read_two_time_all(group: &GroupReader) -> Result<Option<Array3<f64>>> {
    if !group.has(TWO_TIME_ALL.name) {
        return Ok(None);
    }
    let all: Array4<f64> = group.array(TWO_TIME_ALL.name)?;
    let (n_rows, n_cols, n_1, n_2) = all.dim();
    all.into_shape_with_order((n_rows * n_cols, n_1, n_2))
        .map(Some)
        .map_err(|error| group.damaged(TWO_TIME_ALL.name, error.to_string()))
}

/// Whether the folder is an analysis at all, before anything is asked of it.
fn check_kind(path: &Path) -> Result<()> {
    let metadata = path.join(METADATA);
    let bytes = fs::read(&metadata).map_err(|error| Error::io(&metadata, "read", error))?;
    let unverified: Value = serde_json::from_slice(&bytes).map_err(|_| Error::Damaged {
        path: metadata,
        problem: "it is not JSON".to_owned(),
        cure: CURE,
    })?;
    if unverified["attributes"]["kind"] == KIND {
        return Ok(());
    }
    Err(Error::NotResults {
        path: path.to_owned(),
        problem: "is not an analysis made by halotau",
    })
}
