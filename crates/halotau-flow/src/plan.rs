//! What to expect of an experiment before it is done: settings from a file, a recipe or results, and the plan as text.

use std::fs;
use std::path::Path;

use halotau::analysis::Analysis;
use halotau::axes::{AIRY_FWHM, wavelength_nm};
use halotau::calibrate::Calibration;
use halotau::plan::{Estimator, Plan, PlanSettings, plan};
use halotau::recipe::Recipe;
use halotau::relax::Weights;
use halotau_io::reduction_folder::ReductionReader;
use serde::Serialize;
use toml::{Table, Value};

use crate::error::{Error, Result};
use crate::recipe_file::{self, merge, override_settings};
use crate::reduce::REDUCTION;
use crate::series;

mod text;

/// Settings, and where they came from.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Planned {
    /// Complete.
    pub settings: PlanSettings,
    /// What was taken from a recipe or results, as a sentence.
    pub taken: Option<String>,
}

/// A plan with the settings it was made for.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Predicted {
    /// Version of the program.
    pub halotau: &'static str,
    /// The settings, complete.
    pub settings: PlanSettings,
    /// What was taken from a recipe or results, as a sentence.
    pub taken: Option<String>,
    /// What is expected.
    #[serde(flatten)]
    pub plan: Plan,
}

impl Predicted {
    /// The plan for people.
    pub fn text(&self) -> String {
        text::text(self)
    }
}

/// Settings from a TOML file (the paper's experiment where `None`), above what is known from a recipe or results, below overrides such as `step_nm=0.3`.
///
/// # Errors
///
/// [`Error::Read`]; [`Error::Recipe`] for what is wrong inside; [`Error::Core`] for values that make no sense.
pub fn load_settings(
    path: Option<&Path>,
    from: Option<&Path>,
    overrides: &[String],
) -> Result<Planned> {
    let (name, text) = match path {
        Some(path) => {
            let text = fs::read_to_string(path).map_err(|source| Error::read(path, source))?;
            (path.display().to_string(), text)
        }
        None => ("defaults".to_owned(), String::new()),
    };
    let Some(from) = from else {
        let settings: PlanSettings = override_settings(&text, &name, overrides)?;
        settings.check()?;
        return Ok(Planned {
            settings,
            taken: None,
        });
    };
    let (mut known, taken) = known_from(from)?;
    // Once for its errors, which know their places.
    let _: PlanSettings = override_settings(&text, &name, &[])?;
    let given: Table = toml::from_str(&text).expect("it was read above");
    merge(&mut known, given);
    let settings: PlanSettings = override_settings(&known.to_string(), &name, overrides)?;
    settings.check()?;
    Ok(Planned {
        settings,
        taken: Some(taken),
    })
}

/// Predicts.
///
/// # Errors
///
/// [`Error::Core`].
pub fn predict(planned: Planned) -> Result<Predicted> {
    let plan = plan(&planned.settings)?;
    Ok(Predicted {
        halotau: env!("CARGO_PKG_VERSION"),
        settings: planned.settings,
        taken: planned.taken,
        plan,
    })
}

/// Settings as a file to edit.
pub fn to_toml(settings: &PlanSettings) -> String {
    toml::to_string(settings).expect("settings are a TOML table")
}

/// What a recipe or results say, as settings, and as a sentence.
fn known_from(path: &Path) -> Result<(Table, String)> {
    // A result folder has a recipe too; its analysis says more.
    let results = path
        .is_dir()
        .then(|| series::read(&[path.to_owned()]))
        .transpose()?;
    match results {
        Some(results) => {
            let analyses = &results.study.analyses;
            let first = analyses.first().ok_or_else(|| {
                Error::content(path, "no analysis in this folder; `halotau run` makes one")
            })?;
            let mut known = of_recipe(&first.recipe);
            let folder = results.folders.first().map(|folder| folder.as_path());
            of_analyses(&mut known, analyses, folder.unwrap_or(path));
            if let Some(line) = results
                .study
                .arrhenius
                .iter()
                .find(|line| line.average == results.study.headline)
                .filter(|line| line.activation_energy_kj_per_mol.is_finite())
            {
                set(
                    &mut known,
                    "glass.activation_energy_kj_per_mol",
                    line.activation_energy_kj_per_mol,
                );
            }
            scale_to_counts(&mut known, first);
            let keys = said(&known);
            Ok((
                known,
                format!("{keys} from the results in {}", path.display()),
            ))
        }
        None => {
            let loaded = recipe_file::load(path, &[])?;
            let known = of_recipe(&loaded.recipe);
            let keys = said(&known);
            Ok((known, format!("{keys} from the recipe {}", path.display())))
        }
    }
}

/// The keys that are known, in one line.
fn said(known: &Table) -> String {
    let keys = known.iter().flat_map(|(key, value)| match value {
        Value::Table(inner) => inner.keys().map(|name| format!("{key}.{name}")).collect(),
        _ => vec![key.clone()],
    });
    keys.collect::<Vec<_>>().join(", ")
}

/// Sets a key such as `glass.stretch`.
fn set(known: &mut Table, key: &str, value: impl Into<Value>) {
    match key.split_once('.') {
        None => {
            known.insert(key.to_owned(), value.into());
        }
        Some((section, key)) => {
            let inner = known
                .entry(section)
                .or_insert_with(|| Value::Table(Table::new()));
            if let Value::Table(inner) = inner {
                inner.insert(key.to_owned(), value.into());
            }
        }
    }
}

fn set_if(known: &mut Table, key: &str, value: Option<f64>) {
    if let Some(value) = value.filter(|value| value.is_finite() && *value > 0.0) {
        set(known, key, value);
    }
}

fn of_recipe(recipe: &Recipe) -> Table {
    let mut known = Table::new();
    let microscope = &recipe.microscope;
    set_if(&mut known, "voltage_kv", microscope.voltage_kv);
    set_if(&mut known, "convergence_mrad", microscope.convergence_mrad);
    set_if(&mut known, "probe_current_pa", microscope.probe_current_pa);
    // A width near the limit of the aperture is that limit; a larger one is the width of something else.
    let limit_nm = microscope
        .voltage_kv
        .zip(microscope.convergence_mrad)
        .map(|(voltage_kv, mrad)| AIRY_FWHM * wavelength_nm(voltage_kv) / (1e-3 * mrad));
    let wider = microscope
        .probe_fwhm_nm
        .filter(|&fwhm_nm| limit_nm.is_none_or(|limit_nm| fwhm_nm > 1.2 * limit_nm));
    set_if(&mut known, "probe_fwhm_nm", wider);
    set_if(&mut known, "step_nm", recipe.scan.step_nm);
    set_if(
        &mut known,
        "q_step_per_nm",
        recipe
            .pattern
            .q_step_per_nm
            .map(|step| step * recipe.pattern.bin as f64),
    );
    if let Some(region) = &recipe.scan.region {
        let length = |[first, end]: [usize; 2]| end.saturating_sub(first) as i64;
        set(&mut known, "n_rows", length(region.rows));
        set(&mut known, "n_cols", length(region.cols));
    }
    for (key, range) in [
        ("tau_range_per_nm", recipe.dynamics.q_range_per_nm),
        ("structure_range_per_nm", recipe.structure.q_range_per_nm),
    ] {
        let range = Value::try_from(range).expect("a range is two numbers");
        set(&mut known, key, range);
    }
    let estimator = match recipe.relaxation.weights {
        _ if recipe.uses_likelihood() => Estimator::Likelihood,
        Weights::None => Estimator::Paper,
        Weights::LagCount => Estimator::PairWeighted,
    };
    let estimator = Value::try_from(estimator).expect("a choice is a word");
    set(&mut known, "estimator", estimator);
    set(&mut known, "level", recipe.interval.level);
    let all = |value: &dyn Fn(&halotau::recipe::DataBlock) -> Option<f64>| -> Option<Vec<f64>> {
        let values: Option<Vec<f64>> = recipe.data.iter().map(value).collect();
        values.filter(|values| !values.is_empty())
    };
    let Some(temperature_k) = all(&|block| block.temperature_k) else {
        return known;
    };
    set(&mut known, "temperature_k", temperature_k);
    let lists = [
        ("total_s", all(&|block| block.total_s)),
        ("period_s", all(&|block| block.period_s)),
        ("dwell_ms", all(&|block| block.dwell_ms)),
    ];
    for (key, list) in lists {
        if let Some(list) = list {
            set(&mut known, key, list);
        }
    }
    if let Some([n_times, n_rows, n_cols, ..]) = recipe.data.first().and_then(|block| block.shape) {
        let lengths = [("n_times", n_times), ("n_rows", n_rows), ("n_cols", n_cols)];
        for (key, length) in lengths {
            if length > 0 && !known.contains_key(key) {
                set(&mut known, key, length as i64);
            }
        }
    }
    known
}

/// What was measured wins over what the recipe says.
fn of_analyses(known: &mut Table, analyses: &[Analysis], folder: &Path) {
    let Some(first) = analyses.first() else {
        return;
    };
    let (n_rows, n_cols) = first.quality.dim();
    set(known, "n_rows", n_rows as i64);
    set(known, "n_cols", n_cols as i64);
    set(known, "n_times", first.time.times_s().len() as i64);
    set_if(known, "step_nm", Some(first.step_nm));
    let list = |value: &dyn Fn(&Analysis) -> f64| analyses.iter().map(value).collect::<Vec<f64>>();
    set(
        known,
        "temperature_k",
        list(&|analysis| analysis.temperature_k),
    );
    set(known, "period_s", list(&|analysis| analysis.time.step_s()));
    known.remove("total_s");
    let dwells: Option<Vec<f64>> = analyses.iter().map(dwell_ms).collect();
    match dwells {
        Some(dwells) => set(known, "dwell_ms", dwells),
        None => {
            // A dwell that is not known fills the scan.
            let n_positions = (n_rows * n_cols) as f64;
            let longest = |analysis: &Analysis| 1e3 * analysis.time.step_s() / n_positions;
            set(
                known,
                "dwell_ms",
                list(&|analysis| longest(analysis).min(1.0)),
            );
        }
    }
    let text = fs::read_to_string(folder.join("calibration.toml")).unwrap_or_default();
    if let Ok(calibration) = toml::from_str::<Calibration>(&text) {
        let bin = first.recipe.pattern.bin.max(1);
        set(
            known,
            "q_step_per_nm",
            calibration.q_step_per_nm * bin as f64,
        );
    }
    // Where the counts were not kept, patterns are those of the defaults.
    let reduction = ReductionReader::open(&folder.join(REDUCTION));
    if let Ok(reduction) = reduction.and_then(|reader| reader.reduction()) {
        let bin = first.recipe.pattern.bin.max(1);
        let (rows, cols) = reduction.mean_pattern.dim();
        set(known, "pattern_rows", (rows / bin) as i64);
        set(known, "pattern_cols", (cols / bin) as i64);
    }
    let summary = &first.summary;
    set_if(
        known,
        "glass.tau_median_s",
        Some(summary.tau_median_s.value),
    );
    set_if(
        known,
        "glass.reference_temperature_k",
        Some(first.temperature_k),
    );
    set_if(
        known,
        "glass.contrast_mean",
        Some(summary.fluctuation_mean.value.min(1.0)),
    );
    if let Some(relation) = &first.decoupled {
        // Spearman and Brown: a map of both halves is this much more reliable than one of a half.
        let of_both = |half: f64| (2.0 * half / (1.0 + half)).clamp(0.0, 1.0);
        let truth = |sd: f64, half: f64| sd * of_both(half).sqrt();
        set_if(
            known,
            "glass.ln_tau_spread",
            Some(truth(summary.ln_tau_sd, relation.tau_reliability)),
        );
        set_if(
            known,
            "glass.contrast_spread",
            Some(truth(
                summary.fluctuation_sd,
                relation.fluctuation_reliability,
            )),
        );
    }
}

/// Exposure of a pattern: as the recipe states it, else from the dose.
fn dwell_ms(analysis: &Analysis) -> Option<f64> {
    let stated = analysis
        .recipe
        .data
        .iter()
        .find(|block| block.temperature_k == Some(analysis.temperature_k))
        .and_then(|block| block.dwell_ms);
    let of_dose = || {
        let dose = analysis.conditions.dose?;
        let current_pa = analysis.recipe.microscope.probe_current_pa?;
        let per_ms = halotau::beam::Dose::new(current_pa, 1.0, 1.0, 1, 1.0).electrons;
        Some(dose.electrons / per_ms)
    };
    stated.or_else(of_dose).filter(|dwell_ms| *dwell_ms > 0.0)
}

/// Sets the share of the electrons that is collected such that a pixel has as many as were counted.
fn scale_to_counts(known: &mut Table, analysis: &Analysis) {
    let counts: Vec<f64> = analysis
        .fluctuation
        .mean_counts
        .iter()
        .copied()
        .filter(|counts| counts.is_finite() && *counts > 0.0)
        .collect();
    let mean = counts.iter().sum::<f64>() / counts.len() as f64 / analysis.recipe.structure.gain;
    let Ok(settings) = known.clone().try_into::<PlanSettings>() else {
        return;
    };
    let one = PlanSettings {
        temperature_k: vec![analysis.temperature_k],
        period_s: Some(vec![settings.step_s(0)]),
        ..settings.clone()
    };
    let Ok(rings) = halotau::plan::rings(&one) else {
        return;
    };
    let expected = rings[1].electrons_per_ms * settings.dwell_at_ms(0);
    let collected = settings.collected * mean / expected;
    set_if(known, "collected", Some(collected.min(1.0)));
}
