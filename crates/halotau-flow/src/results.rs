//! What is written, and where it is found again.
//!
//! ```text
//! NAME/     one temperature                    STUDY/     several
//!   recipe.toml  calibration.toml                recipe.toml
//!   microscope.toml  dynamics.csv
//!   reduction.zarr/  analysis.zarr/              633K/ 643K/ …  as left
//!   summary.json  maps.csv  series.csv           summary.json  series.csv
//!   figures/  report.html                        figures/  report.html
//! ```

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use halotau::alike::Alike;
use halotau::analysis::{Analysis, MapSummary, Study};
use halotau::arrhenius::{ArrheniusFit, Average};
use halotau::beam::{Dose, ZeroDose};
use halotau::calibrate::Calibration;
use halotau::conditions::{Conditions, DriftLimit};
use halotau::correlate::Flattening;
use halotau::current::{BeamCurrent, LeftOut};
use halotau::drift::Drift;
use halotau::dynamics::Dynamics;
use halotau::heterogeneity::Heterogeneity;
use halotau::ndarray::Array2;
use halotau::q_dependence::QDependence;
use halotau::recipe::Recipe;
use halotau::relate::{CombinedRelation, DecoupledRelation, RelationChecks, StructureDynamics};
use halotau::relax::KwwFit;
use halotau::series::Warning;
use halotau_io::analysis_folder::write_analysis;
use halotau_io::export::{self, Comments};
use serde::{Deserialize, Serialize};

use crate::analyze::Comparison;
use crate::calibrate::{Record, Values};
use crate::error::{Error, Result};
use crate::recipe_file::to_toml;

/// Name of the analysis inside a result folder.
pub const ANALYSIS: &str = "analysis.zarr";
/// Name of the recipe inside a result folder.
pub const RECIPE: &str = "recipe.toml";
/// Name of the numbers inside a result folder.
pub const SUMMARY: &str = "summary.json";
/// Name of the folder of figures.
pub const FIGURES: &str = "figures";
/// Name of the report.
pub const REPORT: &str = "report.html";
/// Name of what was measured of the microscope; the form of `halotau calibrate --write`.
pub const MICROSCOPE: &str = "microscope.toml";

/// The numbers of a study, as `summary.json`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Summary {
    /// Version of the program.
    pub halotau: &'static str,
    /// Title of the recipe.
    pub title: String,
    /// One entry a temperature, from the lowest.
    pub temperatures: Vec<TemperatureSummary>,
    /// One fit an average.
    pub arrhenius: Vec<ArrheniusFit>,
    /// Which average is the headline.
    pub headline: Average,
    /// Relaxation without beam, where one temperature was measured at several dose rates.
    pub zero_dose: Vec<ZeroDose>,
    /// The energy of relaxation without beam.
    pub arrhenius_without_beam: Option<ArrheniusFit>,
    /// All temperatures as if measured alike.
    pub alike: Option<Alike>,
    /// Structure and dynamics over all temperatures.
    pub relation: Option<CombinedRelation>,
    /// The same data under the choices of both profiles.
    pub comparison: Vec<Comparison>,
}

/// The numbers of one temperature.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TemperatureSummary {
    /// Name of the series.
    pub name: String,
    /// Temperature.
    pub temperature_k: f64,
    /// Start of the last scan.
    pub last_scan_s: f64,
    /// Pixels of the correlated ring.
    pub n_ring_pixels: usize,
    /// Independent speckles among them, from the aperture.
    pub n_ring_speckles: Option<f64>,
    /// Flattening that was used.
    pub flattening: Option<Flattening>,
    /// How many times wider than the curvature of the likelihood the intervals of tau are; where it was used.
    pub interval_factor: Option<f64>,
    /// Whether tau is the same over the ring that the likelihood takes as one.
    pub q_dependence: Option<QDependence>,
    /// What that says.
    pub q_dependence_verdict: Option<String>,
    /// Baseline of g from distant pairs of positions.
    pub distant_baseline: Option<f64>,
    /// The maps in a few numbers.
    pub summary: MapSummary,
    /// Rank correlation of tau and V; n positions. No p-value: neighbors are not independent, and both hold the same speckles.
    pub relation: StructureDynamics,
    /// The relation without what shared speckles make of it, and its words.
    pub decoupled: Option<DecoupledRelation>,
    /// The same from other sides.
    pub relation_checks: Option<RelationChecks>,
    /// The relation as a sentence.
    pub verdict: Option<String>,
    /// How tau and V vary over the map beyond their noise.
    pub heterogeneity: Option<Heterogeneity>,
    /// What that says.
    pub heterogeneity_verdicts: Vec<String>,
    /// Tests of a relaxation with more than one number.
    pub dynamics: Option<Dynamics>,
    /// What they say.
    pub dynamics_verdicts: Vec<String>,
    /// tau, contrast and stretch of the position-averaged curve.
    pub ensemble: EnsembleSummary,
    /// What was measured of the microscope, where the recipe asked for it.
    pub calibration: Option<Values>,
    /// Drift, beam and what was left out.
    pub conditions: ConditionsSummary,
    /// What a person should know.
    pub warnings: Vec<Warning>,
}

/// The conditions in a few numbers; the courses and maps are in `analysis.zarr`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ConditionsSummary {
    /// Where the drift came from, and how well its two estimates agree.
    pub drift: Option<Drift>,
    /// Largest movement along rows and columns, scan steps; null where it was not looked for.
    pub drift_range_steps: Option<[f64; 2]>,
    /// Root mean square error of the drift along rows and columns up to a constant, scan steps; null where it is not known.
    pub drift_error_steps: Option<[f64; 2]>,
    /// Relaxation times that drift would give perfectly still speckle.
    pub drift_limit: DriftLimit,
    /// Changes of the beam current.
    pub current: BeamCurrent,
    /// Scans and frames that are left out.
    pub left_out: Vec<LeftOut>,
    /// Positions that are not looked at.
    pub n_masked: usize,
    /// Positions in vacuum.
    pub n_vacuum: usize,
    /// Margin kept from the edge of vacuum, nm.
    pub edge_margin_nm: f64,
    /// The dose, where it is known.
    pub dose: Option<Dose>,
}

impl From<&Conditions> for ConditionsSummary {
    fn from(conditions: &Conditions) -> Self {
        let count = |values: &Array2<bool>| values.iter().filter(|&&value| value).count();
        let drift = conditions.drift.as_ref();
        Self {
            drift: conditions.drift.clone(),
            drift_range_steps: drift.map(|drift| [drift.row.range(), drift.col.range()]),
            drift_error_steps: drift.map(|drift| [drift.row.rms_error(), drift.col.rms_error()]),
            drift_limit: conditions.drift_limit,
            current: conditions.current.clone(),
            left_out: conditions.left_out.clone(),
            n_masked: count(&conditions.region.masked),
            n_vacuum: count(&conditions.region.vacuum),
            edge_margin_nm: conditions.region.margin,
            dose: conditions.dose,
        }
    }
}

/// The fit of the position-averaged curve.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct EnsembleSummary {
    /// Relaxation time.
    pub tau_s: f64,
    /// Amplitude of the decay.
    pub contrast: f64,
    /// Stretch exponent.
    pub stretch: f64,
    /// Value of g at infinite lag.
    pub baseline: f64,
}

impl From<&KwwFit> for EnsembleSummary {
    fn from(fit: &KwwFit) -> Self {
        Self {
            tau_s: fit.tau_s,
            contrast: fit.contrast,
            stretch: fit.stretch,
            baseline: fit.baseline,
        }
    }
}

impl Summary {
    /// The numbers of a study; `records` are those of its analyses in their order, none where nothing was measured.
    pub fn of(study: &Study, comparison: &[Comparison], records: &[Option<Record>]) -> Self {
        Self {
            halotau: env!("CARGO_PKG_VERSION"),
            title: study
                .analyses
                .first()
                .map_or_else(String::new, |analysis| analysis.recipe.title.clone()),
            temperatures: study
                .analyses
                .iter()
                .enumerate()
                .map(|(at, analysis)| {
                    let record = records.get(at).and_then(Option::as_ref);
                    TemperatureSummary::of(analysis, record)
                })
                .collect(),
            arrhenius: study.arrhenius.clone(),
            headline: study.headline,
            zero_dose: study.zero_dose.clone(),
            arrhenius_without_beam: study.arrhenius_without_beam.clone(),
            alike: study.alike.clone(),
            relation: study.relation.clone(),
            comparison: comparison.to_vec(),
        }
    }
}

impl TemperatureSummary {
    fn of(analysis: &Analysis, record: Option<&Record>) -> Self {
        Self {
            name: analysis.name.clone(),
            temperature_k: analysis.temperature_k,
            last_scan_s: analysis.time.times_s().last().copied().unwrap_or(0.0),
            n_ring_pixels: analysis.n_ring_pixels,
            n_ring_speckles: analysis.n_ring_speckles,
            flattening: analysis.flattening,
            interval_factor: analysis.interval_factor,
            q_dependence: analysis.q_dependence.clone(),
            q_dependence_verdict: analysis.q_dependence.as_ref().map(QDependence::sentence),
            distant_baseline: analysis.distant_baseline,
            summary: analysis.summary.clone(),
            relation: analysis.relation,
            decoupled: analysis.decoupled,
            relation_checks: analysis.relation_checks.clone(),
            verdict: analysis.decoupled.map(|relation| relation.sentence()),
            heterogeneity: analysis.heterogeneity.clone(),
            heterogeneity_verdicts: analysis
                .heterogeneity
                .as_ref()
                .map_or_else(Vec::new, Heterogeneity::sentences),
            dynamics: analysis.dynamics.clone(),
            dynamics_verdicts: analysis
                .dynamics
                .as_ref()
                .map_or_else(Vec::new, Dynamics::sentences),
            ensemble: (&analysis.ensemble_fit).into(),
            calibration: record.map(|record| record.calibration.clone()),
            conditions: (&analysis.conditions).into(),
            warnings: analysis.warnings.clone(),
        }
    }
}

/// The comparison as stored; what a report is made from again.
#[derive(Debug, Default, Deserialize)]
struct StoredComparison {
    #[serde(default)]
    comparison: Vec<Comparison>,
}

/// What all temperatures say alike, as stored.
#[derive(Debug, Default, Deserialize)]
struct StoredAlike {
    #[serde(default)]
    alike: Option<Alike>,
}

/// What all temperatures say alike, in the folder of a study; `None` where it was not computed.
pub fn read_alike(folder: &Path) -> Option<Alike> {
    let text = fs::read_to_string(folder.join(SUMMARY)).unwrap_or_default();
    serde_json::from_str::<StoredAlike>(&text)
        .unwrap_or_default()
        .alike
}

/// The comparison in a result folder; empty where there is none.
pub fn read_comparison(folder: &Path) -> Vec<Comparison> {
    let text = fs::read_to_string(folder.join(SUMMARY)).unwrap_or_default();
    serde_json::from_str::<StoredComparison>(&text)
        .unwrap_or_default()
        .comparison
}

/// Writes the numbers of a study and its table.
///
/// # Errors
///
/// [`Error::Create`] and [`Error::Write`].
pub fn write_summary(
    folder: &Path,
    study: &Study,
    comparison: &[Comparison],
    records: &[Option<Record>],
) -> Result<()> {
    let summary = serde_json::to_string_pretty(&Summary::of(study, comparison, records))
        .expect("numbers and texts become JSON");
    write_file(&folder.join(SUMMARY), (summary + "\n").as_bytes())?;
    export::write_series_csv(&folder.join("series.csv"), study, Comments::With)?;
    Ok(())
}

/// Writes all of one temperature but figures and report.
///
/// # Errors
///
/// [`Error::Create`] and [`Error::Write`].
pub fn write_temperature(
    folder: &Path,
    analysis: &Analysis,
    calibration: Option<&Calibration>,
) -> Result<()> {
    create_folder(folder)?;
    let recipe = stored_recipe(&analysis.recipe);
    write_file(&folder.join(RECIPE), recipe.as_bytes())?;
    if let Some(calibration) = calibration {
        let text = toml::to_string_pretty(calibration).expect("a calibration is numbers and texts");
        write_file(&folder.join("calibration.toml"), text.as_bytes())?;
    }
    write_analysis(&folder.join(ANALYSIS), analysis, &recipe)?;
    export::write_maps_csv(&folder.join("maps.csv"), analysis, Comments::With)?;
    export::write_dynamics_csv(&folder.join("dynamics.csv"), analysis, Comments::With)?;
    Ok(())
}

/// Writes what was measured of the microscope, or takes away what an earlier run measured where nothing was.
///
/// # Errors
///
/// [`Error::Write`].
pub fn write_record(folder: &Path, record: Option<&Record>) -> Result<()> {
    let path = folder.join(MICROSCOPE);
    match record {
        Some(record) => write_file(&path, record.to_toml().as_bytes()),
        None => match fs::remove_file(&path) {
            Err(source) if source.kind() != ErrorKind::NotFound => Err(Error::write(&path, source)),
            _ => Ok(()),
        },
    }
}

/// What was measured of the microscope, as [`write_record`] left it in a result folder.
pub fn read_record(folder: &Path) -> Option<Record> {
    Record::read(&folder.join(MICROSCOPE)).ok()
}

/// Writes the recipe of a study.
///
/// # Errors
///
/// [`Error::Create`] and [`Error::Write`].
pub fn write_recipe(folder: &Path, recipe: &Recipe) -> Result<()> {
    create_folder(folder)?;
    write_file(&folder.join(RECIPE), stored_recipe(recipe).as_bytes())
}

/// A recipe as it is kept beside results: they are where it is, even after the folder was moved.
fn stored_recipe(recipe: &Recipe) -> String {
    let mut recipe = recipe.clone();
    recipe.output.folder = PathBuf::from(".");
    to_toml(&recipe)
}

/// Makes a folder and those above it.
///
/// # Errors
///
/// [`Error::Create`].
pub fn create_folder(folder: &Path) -> Result<()> {
    fs::create_dir_all(folder).map_err(|source| Error::create(folder, source))
}

/// Writes a file whole: beside its place first, so that no reader sees half of it.
///
/// # Errors
///
/// [`Error::Write`].
pub fn write_file(path: &Path, bytes: &[u8]) -> Result<()> {
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(format!(".tmp-{}", std::process::id()));
    let temporary = PathBuf::from(temporary);
    fs::write(&temporary, bytes)
        .and_then(|()| fs::rename(&temporary, path))
        .map_err(|source| {
            // What was written of it is of no use; the error that matters is the first.
            let _ = fs::remove_file(&temporary);
            Error::write(path, source)
        })
}

/// The folders of single temperatures in a result folder: itself, or its subfolders in natural order of temperature.
///
/// # Errors
///
/// [`Error::Read`], and [`Error::NoResult`] where there is no result.
pub fn temperature_folders(folder: &Path, holding: &str) -> Result<Vec<PathBuf>> {
    if folder.join(holding).is_dir() {
        return Ok(vec![folder.to_owned()]);
    }
    let none = || Error::NoResult {
        folder: folder.to_owned(),
        holding: holding.to_owned(),
    };
    let entries = fs::read_dir(folder).map_err(|source| match source.kind() {
        ErrorKind::NotFound => none(),
        _ => Error::read(folder, source),
    })?;
    let mut folders = Vec::new();
    for entry in entries {
        let path = entry.map_err(|source| Error::read(folder, source))?.path();
        if path.join(holding).is_dir() {
            folders.push(path);
        }
    }
    folders.sort();
    if folders.is_empty() {
        return Err(none());
    }
    Ok(folders)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_without_results_says_where_they_are_looked_for() {
        let folder = tempfile::tempdir().expect("a folder");
        for looked in [folder.path().to_owned(), folder.path().join("missing")] {
            let error = temperature_folders(&looked, "reduction.zarr").expect_err("nothing there");
            assert_eq!((error.exit_code(), error.code()), (66, "E0401"));
            assert!(error.to_string().contains("hold no reduction.zarr"));
            assert!(error.help().is_some_and(|help| help.contains("beside")));
        }
    }
}
