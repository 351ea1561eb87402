//! The paper's experiment from beginning to end, on data with known truth.

use std::path::{Path, PathBuf};

use halotau::analysis::{Analysis, Study};
use halotau::rank;
use halotau::recipe::Recipe;
use halotau::simulate::{Artifacts, BeamStop, SimulationSettings, Truth};
use halotau_figure::report::Table;
use halotau_figure::scale::short_number;
use halotau_io::SeriesFormat;
use serde::Serialize;

use crate::context::Context;
use crate::error::Result;
use crate::recipe_file::Loaded;
use crate::run::{RunOutcome, run_with_truth};
use crate::simulate;

/// Folder of the simulated data inside the demo's folder.
const DATA: &str = "data";

/// What the demo leaves.
#[derive(Debug)]
pub struct DemoOutcome {
    /// As of any run.
    pub run: RunOutcome,
    /// Recovered numbers beside the truth.
    pub recovered: Vec<Recovered>,
}

/// A recovered number beside its truth.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Recovered {
    /// What it is, with its unit.
    pub quantity: String,
    /// Temperature; `None` for what belongs to all.
    pub temperature_k: Option<f64>,
    /// The truth.
    pub truth: f64,
    /// What was found.
    pub found: f64,
    /// Interval of what was found, where it has one.
    pub interval: Option<[f64; 2]>,
}

/// The simulated experiment: the paper's, with a beam stop and a center that must be found.
pub fn settings(seed: u64) -> SimulationSettings {
    SimulationSettings {
        seed,
        artifacts: Artifacts {
            beam_stop: Some(BeamStop::default()),
            center_offset_px: [0.4, -0.3],
            ..Artifacts::default()
        },
        ..SimulationSettings::default()
    }
}

/// Simulates, analyzes and reports into a folder.
///
/// # Errors
///
/// Where the folder cannot be written.
pub fn demo(
    folder: &Path,
    settings: &SimulationSettings,
    context: &Context<'_>,
) -> Result<DemoOutcome> {
    let folder =
        std::path::absolute(folder).map_err(|source| crate::Error::create(folder, source))?;
    let data = folder.join(DATA);
    let series = simulate::simulate_or_reuse(settings, &data, SeriesFormat::Zarr, context)?;
    let truths: Vec<&Truth> = series.iter().map(|series| &series.truth).collect();
    let loaded = Loaded::of(recipe(settings), &folder)?;
    let table = |study: &Study| table(&recovered(study, &truths));
    let run = run_with_truth(&loaded, Some(&table), context)?;
    let recovered = recovered(&run.study, &truths);
    Ok(DemoOutcome { run, recovered })
}

/// The recipe of the simulated series, for results beside the folder of the data.
fn recipe(settings: &SimulationSettings) -> Recipe {
    let mut recipe = simulate::recipe_of(settings, SeriesFormat::Zarr);
    recipe.title = "Simulated Zr50Cu40Al10, 633-673 K".to_owned();
    recipe.sample.composition = "Zr50Cu40Al10 (simulated)".to_owned();
    recipe.sample.glass_transition_k = Some(673.0);
    for block in &mut recipe.data {
        block.path = Path::new(DATA).join(&block.path);
    }
    recipe.output.folder = PathBuf::from(".");
    recipe
}

fn recovered(study: &Study, truths: &[&Truth]) -> Vec<Recovered> {
    let mut rows = Vec::new();
    for analysis in &study.analyses {
        if let Some(truth) = truths
            .iter()
            .find(|truth| truth.temperature_k == analysis.temperature_k)
        {
            rows.extend(of_temperature(analysis, truth));
        }
    }
    if let (Some(fit), Some(truth)) = (
        study
            .arrhenius
            .iter()
            .find(|fit| fit.average == study.headline),
        truths.first(),
    ) {
        rows.push(Recovered {
            quantity: "activation energy (kJ/mol)".to_owned(),
            temperature_k: None,
            truth: truth.activation_energy_kj_per_mol,
            found: fit.activation_energy_kj_per_mol,
            interval: Some(fit.activation_energy_interval_kj_per_mol),
        });
    }
    rows
}

fn of_temperature(analysis: &Analysis, truth: &Truth) -> Vec<Recovered> {
    let taus: Vec<f64> = truth.tau_s.iter().copied().collect();
    let found: Vec<f64> = analysis.relaxation.tau_s.iter().copied().collect();
    let logs: Vec<f64> = taus.iter().map(|tau| tau.ln()).collect();
    let mean_contrast = truth.contrast.mean().unwrap_or(f64::NAN);
    let summary = &analysis.summary;
    let row = |quantity: &str, truth: f64, found: f64, interval: Option<[f64; 2]>| Recovered {
        quantity: quantity.to_owned(),
        temperature_k: Some(analysis.temperature_k),
        truth,
        found,
        interval,
    };
    let of = |estimate: halotau::analysis::Estimate| Some([estimate.lower, estimate.upper]);
    vec![
        row(
            "median τ (s)",
            rank::median(&taus),
            summary.tau_median_s.value,
            of(summary.tau_median_s),
        ),
        row(
            "exp⟨ln τ⟩ (s)",
            (logs.iter().sum::<f64>() / logs.len() as f64).exp(),
            summary.tau_log_mean_s.value,
            of(summary.tau_log_mean_s),
        ),
        row(
            "mean contrast",
            mean_contrast,
            summary.contrast_mean.value,
            of(summary.contrast_mean),
        ),
        // V of a ring is short of the contrast: it holds few speckles, and its own mean takes their share.
        row(
            "mean V of many speckles",
            mean_contrast,
            summary.fluctuation_unbiased_mean.value,
            of(summary.fluctuation_unbiased_mean),
        ),
        row(
            "rank correlation of τ with its truth",
            1.0,
            rank::spearman(&found, &taus),
            None,
        ),
        row(
            "Spearman's ρ of τ and V",
            truth.spearman.unwrap_or(f64::NAN),
            analysis.relation.spearman,
            None,
        ),
    ]
}

fn table(rows: &[Recovered]) -> Table {
    let number = |value: f64| short_number(value);
    let mut table = Table::new(
        "What was recovered, beside what was simulated",
        &["quantity", "T (K)", "truth", "found", "interval"],
    );
    table.rows = rows
        .iter()
        .map(|row| {
            vec![
                row.quantity.clone(),
                row.temperature_k.map_or_else(String::new, number),
                number(row.truth),
                number(row.found),
                row.interval.map_or_else(String::new, |[lower, upper]| {
                    format!("{} to {}", number(lower), number(upper))
                }),
            ]
        })
        .collect();
    table
}
