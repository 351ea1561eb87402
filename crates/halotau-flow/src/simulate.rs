//! An experiment with known truth, as files that are read like measured ones.
//!
//! ```text
//! FOLDER/
//!   633K.zarr ...       one series a temperature
//!   truth.json          what a perfect analysis would find: maps as nested lists
//!   simulation.toml     the settings, complete
//!   recipe.toml         to analyze the series
//! ```

use std::fs;
use std::path::{Path, PathBuf};

use halotau::recipe::{DataBlock, MaskShape, Profile, Recipe};
use halotau::series::SeriesHeader;
use halotau::simulate::{Simulation, SimulationSettings, Truth};
use halotau_io::{SeriesFormat, SeriesWriter};
use serde::Serialize;
use serde_json::{Map, Value};

use crate::context::{Context, Unit};
use crate::error::{Error, Result};
use crate::memory::size_text;
use crate::recipe_file::{override_settings, to_toml};

/// Name of the settings beside the series.
const SETTINGS: &str = "simulation.toml";

/// What was written.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Simulated {
    /// The folder.
    pub folder: PathBuf,
    /// One series a temperature.
    pub series: Vec<SimulatedSeries>,
    /// The recipe that analyzes them.
    pub recipe: PathBuf,
    /// The truth of all temperatures.
    pub truth: PathBuf,
    /// Bytes of the samples, uncompressed.
    pub n_bytes: u64,
}

/// One series, and what a perfect analysis of it would find.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SimulatedSeries {
    /// Where it is.
    pub path: PathBuf,
    /// The same as in `truth.json`.
    #[serde(skip)]
    pub truth: Truth,
}

/// Settings from a TOML file (the defaults where `None`), with overrides such as `glass.spearman=0.5`.
///
/// # Errors
///
/// [`Error::Read`]; [`Error::Recipe`] for what is wrong inside; [`Error::Core`] for values that make no sense.
pub fn load_settings(path: Option<&Path>, overrides: &[String]) -> Result<SimulationSettings> {
    let (name, text) = match path {
        Some(path) => {
            let text = fs::read_to_string(path).map_err(|source| Error::read(path, source))?;
            (path.display().to_string(), text)
        }
        None => ("defaults".to_owned(), String::new()),
    };
    let settings: SimulationSettings = override_settings(&text, &name, overrides)?;
    settings.check()?;
    Ok(settings)
}

/// Bytes of all samples, uncompressed; saturates.
pub fn n_bytes(settings: &SimulationSettings) -> u64 {
    let sample_bytes = if settings.noise_free { 4 } else { 2 };
    [
        settings.temperature_k.len(),
        settings.n_times,
        settings.n_rows,
        settings.n_cols,
        settings.pattern_rows,
        settings.pattern_cols,
    ]
    .iter()
    .fold(sample_bytes, |bytes: u64, &length| {
        bytes.saturating_mul(length as u64)
    })
}

/// Simulates every temperature into a folder, block by block, so that the series may be larger than memory.
///
/// # Errors
///
/// [`Error::Exists`] where a series is there already and nothing may be discarded; errors of writing;
/// [`Error::Memory`] where not even one scan row fits.
pub fn simulate(
    settings: &SimulationSettings,
    folder: &Path,
    format: SeriesFormat,
    context: &Context<'_>,
) -> Result<Simulated> {
    fs::create_dir_all(folder).map_err(|source| Error::create(folder, source))?;
    let mut series = Vec::new();
    let mut truths = Vec::new();
    for (idx, &temperature_k) in settings.temperature_k.iter().enumerate() {
        let path = folder.join(series_name(temperature_k, format));
        discard(&path, context.restart)?;
        let simulation = context.install(|| Ok(Simulation::new(settings, idx)?))?;
        write_series(&simulation, &path, format, context)?;
        let truth = serde_json::to_value(simulation.truth());
        truths.push(nested(truth.expect("the truth is plain numbers and lists")));
        series.push(SimulatedSeries {
            path,
            truth: simulation.truth().clone(),
        });
    }
    let write = |name: &str, text: String| -> Result<PathBuf> {
        let path = folder.join(name);
        fs::write(&path, text).map_err(|source| Error::write(&path, source))?;
        Ok(path)
    };
    let truth = Value::from(Map::from_iter([(
        "temperatures".to_owned(),
        Value::from(truths),
    )]));
    let truth = write("truth.json", format!("{truth}\n"))?;
    let text = toml::to_string(settings).expect("settings are a TOML table");
    write(SETTINGS, text)?;
    let recipe = write("recipe.toml", to_toml(&recipe_of(settings, format)))?;
    Ok(Simulated {
        folder: folder.to_owned(),
        series,
        recipe,
        truth,
        n_bytes: n_bytes(settings),
    })
}

/// As [`simulate`], but series that were finished before with the same settings are used as they are.
///
/// # Errors
///
/// As [`simulate`].
pub fn simulate_or_reuse(
    settings: &SimulationSettings,
    folder: &Path,
    format: SeriesFormat,
    context: &Context<'_>,
) -> Result<Vec<SimulatedSeries>> {
    // The settings are written after all series.
    let finished = fs::read_to_string(folder.join(SETTINGS));
    if context.restart || finished.ok() != toml::to_string(settings).ok() {
        return Ok(simulate(settings, folder, format, context)?.series);
    }
    context.note(format!(
        "the series in {} are there already",
        folder.display()
    ));
    let temperatures = settings.temperature_k.iter().enumerate();
    temperatures
        .map(|(idx, &temperature_k)| {
            Ok(SimulatedSeries {
                path: folder.join(series_name(temperature_k, format)),
                truth: Simulation::new(settings, idx)?.truth().clone(),
            })
        })
        .collect()
}

/// The recipe for simulated series that lie beside it, with the beam stop masked and the center left to be found.
pub fn recipe_of(settings: &SimulationSettings, format: SeriesFormat) -> Recipe {
    let mut recipe = Recipe::of(Profile::Recommended);
    recipe.title = "Simulated glass".to_owned();
    recipe.seed = settings.seed;
    recipe.microscope.voltage_kv = Some(settings.voltage_kv);
    recipe.microscope.convergence_mrad = Some(settings.convergence_mrad);
    recipe.microscope.probe_current_pa = Some(settings.probe_current_pa);
    recipe.scan.step_nm = Some(settings.step_nm);
    recipe.pattern.q_step_per_nm = Some(settings.q_step_per_nm);
    if let Some(stop) = settings.artifacts.beam_stop {
        let (row, col) = settings.center_px();
        // One pixel more: the pixels at the edge are half shaded.
        let pixels = |length_per_nm: f64| length_per_nm / settings.q_step_per_nm + 1.0;
        recipe.pattern.mask.push(MaskShape::Circle {
            center: [row, col],
            radius: pixels(stop.radius_per_nm),
        });
        if stop.arm_width_per_nm > 0.0 {
            recipe.pattern.mask.push(MaskShape::Arm {
                start: [row, col],
                angle_deg: stop.arm_angle_deg,
                width: pixels(stop.arm_width_per_nm) + 1.0,
            });
        }
    }
    recipe.structure.gain = settings.artifacts.detector.gain_adu_per_electron;
    let temperatures = settings.temperature_k.iter().enumerate();
    recipe.data = temperatures
        .map(|(idx, &temperature_k)| DataBlock {
            temperature_k: Some(temperature_k),
            path: series_name(temperature_k, format).into(),
            total_s: settings.times_s.is_none().then(|| settings.total_s[idx]),
            times_s: settings.times_s.clone(),
            dwell_ms: Some(settings.dwell_ms[idx]),
            ..DataBlock::default()
        })
        .collect();
    recipe
}

fn series_name(temperature_k: f64, format: SeriesFormat) -> String {
    let ending = match format {
        SeriesFormat::Zarr => "zarr",
        SeriesFormat::Npy => "npy",
        SeriesFormat::Raw => "raw",
    };
    format!("{temperature_k}K.{ending}")
}

fn discard(path: &Path, may_discard: bool) -> Result<()> {
    let Ok(metadata) = path.symlink_metadata() else {
        return Ok(());
    };
    if !may_discard {
        return Err(Error::Exists {
            path: path.to_owned(),
        });
    }
    let removed = if metadata.is_dir() {
        fs::remove_dir_all(path)
    } else {
        fs::remove_file(path)
    };
    removed.map_err(|source| Error::create(path, source))
}

fn write_series(
    simulation: &Simulation,
    path: &Path,
    format: SeriesFormat,
    context: &Context<'_>,
) -> Result<()> {
    let header = simulation.header();
    let rows_at_once = rows_at_once(header, context)?;
    let n_rows = header.shape.n_rows;
    let row_bytes = row_bytes(header);
    context.stage(header.name.clone(), row_bytes * n_rows as u64, Unit::Bytes);
    let mut writer = SeriesWriter::create(path, header, format)?;
    for first_row in (0..n_rows).step_by(rows_at_once) {
        let end = n_rows.min(first_row + rows_at_once);
        context.install(|| {
            let samples = simulation.block(first_row..end)?;
            Ok(writer.write_block(first_row, end - first_row, &samples)?)
        })?;
        context.advance(row_bytes * (end - first_row) as u64);
    }
    writer.finish()?;
    context.stage_done();
    Ok(())
}

fn row_bytes(header: &SeriesHeader) -> u64 {
    let shape = &header.shape;
    (shape.n_times * shape.n_cols * shape.frame_len() * header.sample_type.n_bytes()) as u64
}

/// Scan rows in memory at once: a row is held as computed, as stored, and compressed, hence a third of the limit.
fn rows_at_once(header: &SeriesHeader, context: &Context<'_>) -> Result<usize> {
    let limit_bytes = context.memory_limit();
    let needed_bytes = 3 * row_bytes(header);
    if needed_bytes > limit_bytes {
        return Err(Error::Memory {
            what: "simulating one scan row".to_owned(),
            limit_bytes,
            needed_bytes,
        });
    }
    // Small blocks keep the progress alive.
    let rows = (limit_bytes / needed_bytes.max(1)).min(8);
    Ok((rows as usize).clamp(1, header.shape.n_rows.max(1)))
}

/// Replaces the arrays of a value by nested lists, which any program reads.
fn nested(value: Value) -> Value {
    match value {
        Value::Object(object) => match array_parts(&object) {
            Some((dims, data)) => nest(&dims, data),
            None => object
                .into_iter()
                .map(|(key, value)| (key, nested(value)))
                .collect(),
        },
        other => other,
    }
}

/// Lengths and elements of an array as ndarray serializes it.
fn array_parts(object: &Map<String, Value>) -> Option<(Vec<usize>, &[Value])> {
    object.get("v")?;
    let data = object.get("data")?.as_array()?;
    let dims = object.get("dim")?.as_array()?.iter();
    let dims = dims.map(|length| length.as_u64().map(|length| length as usize));
    Some((dims.collect::<Option<_>>()?, data))
}

fn nest(dims: &[usize], data: &[Value]) -> Value {
    match dims {
        [_, inner @ ..] if !inner.is_empty() => {
            let length = inner.iter().product::<usize>().max(1);
            data.chunks(length).map(|part| nest(inner, part)).collect()
        }
        _ => Value::from(data.to_vec()),
    }
}

/// What simulating would write, for people.
pub fn plan_text(settings: &SimulationSettings, folder: &Path, format: SeriesFormat) -> String {
    let mut text = format!(
        "simulate {} temperatures · time {} · scan {} x {} · pattern {} x {} · {} uncompressed\n",
        settings.temperature_k.len(),
        settings.n_times,
        settings.n_rows,
        settings.n_cols,
        settings.pattern_rows,
        settings.pattern_cols,
        size_text(n_bytes(settings)),
    );
    for &temperature_k in &settings.temperature_k {
        let path = folder.join(series_name(temperature_k, format));
        text.push_str(&format!("  {}\n", path.display()));
    }
    text
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests {
    use halotau::ndarray::Array2;
    use halotau::series::FrameBlock;
    use halotau_io::{OpenRequest, open};

    use super::*;
    use crate::recipe_file::load;

    fn small() -> SimulationSettings {
        let mut settings = SimulationSettings {
            n_rows: 3,
            n_cols: 2,
            n_times: 6,
            pattern_rows: 20,
            pattern_cols: 22,
            q_step_per_nm: 0.7,
            temperature_k: vec![633.0, 673.5],
            total_s: vec![60.0, 30.0],
            dwell_ms: vec![1.0, 0.5],
            ..SimulationSettings::default()
        };
        settings.artifacts.beam_stop = Some(Default::default());
        settings
    }

    #[test]
    fn files_hold_the_series_whatever_the_memory() {
        let settings = small();
        let folder = tempfile::tempdir().unwrap();
        let ignore = |_| ();
        for (name, format) in [("zarr", SeriesFormat::Zarr), ("npy", SeriesFormat::Npy)] {
            let mut context = Context::new(&ignore);
            // Two rows at once.
            context.memory_bytes = Some(6 * 6 * 2 * 20 * 22 * 2);
            let written = simulate(&settings, &folder.path().join(name), format, &context).unwrap();
            assert_eq!(written.series.len(), 2);
            let source = open(&OpenRequest::new(&written.series[1].path)).unwrap();
            let simulation = Simulation::new(&settings, 1).unwrap();
            let mut block = FrameBlock::empty(source.header().sample_type);
            source
                .read(&source.header().shape.whole(), &mut block)
                .unwrap();
            assert_eq!(block.samples, simulation.block(0..3).unwrap());
            let again = simulate(&settings, &written.folder, format, &context).unwrap_err();
            assert_eq!(again.exit_code(), 73);
        }
    }

    #[test]
    fn the_recipe_finds_the_series_and_the_truth_is_nested() {
        let settings = small();
        let folder = tempfile::tempdir().unwrap();
        let ignore = |_| ();
        let context = Context::new(&ignore);
        let written = simulate(&settings, folder.path(), SeriesFormat::Zarr, &context).unwrap();
        let recipe = load(&written.recipe, &[]).unwrap().recipe;
        assert_eq!(recipe.data[1].path, folder.path().join("673.5K.zarr"));
        assert_eq!(recipe.pattern.mask.len(), 2);
        let truth: Value =
            serde_json::from_str(&fs::read_to_string(&written.truth).unwrap()).unwrap();
        let tau_s: Array2<f64> = Simulation::new(&settings, 1).unwrap().truth().tau_s.clone();
        assert_eq!(truth["temperatures"][1]["tau_s"][2][1], tau_s[[2, 1]]);
        let text = folder.path().join("simulation.toml");
        assert_eq!(load_settings(Some(&text), &[]).unwrap(), settings);
    }

    #[test]
    fn too_little_memory_is_said_before_anything_is_allocated() {
        let folder = tempfile::tempdir().unwrap();
        let ignore = |_| ();
        let mut context = Context::new(&ignore);
        context.memory_bytes = Some(1000);
        let error = simulate(&small(), folder.path(), SeriesFormat::Zarr, &context).unwrap_err();
        assert_eq!(error.exit_code(), 71);
    }

    #[test]
    fn settings_are_overridden_and_slips_are_named() {
        let settings = load_settings(
            None,
            &["glass.spearman=0.5".to_owned(), "n_times=12".to_owned()],
        )
        .unwrap();
        assert_eq!((settings.glass.spearman, settings.n_times), (0.5, 12));
        let error = load_settings(None, &["glass.spearmann=0.5".to_owned()]).unwrap_err();
        assert_eq!(error.help().unwrap(), "did you mean `spearman`?");
    }
}
