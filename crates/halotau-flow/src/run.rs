//! The whole job: reduce, analyze, compare, write, draw, report; one temperature or several.

use std::path::{Path, PathBuf};

use halotau::alike::Alike;
use halotau::analysis::{Analysis, Study};
use halotau::conditions::Measured;
use halotau::quality::Quality;
use halotau::series::{SeriesShape, Warning};
use halotau_figure::Figure;
use halotau_figure::figures;
use halotau_figure::report::Table;
use serde::Serialize;

use crate::alike::{Part, alike};
use crate::analyze::{Comparison, analyze, compare};
use crate::calibrate::Record;
use crate::context::Context;
use crate::draw::{self, Drawable};
use crate::error::{Error, Result};
use crate::memory::{AnalysisSize, MemoryPlan, check_analysis, memory_plan};
use crate::prepare::{merged_header, prepare};
use crate::recipe_file::{self, Loaded};
use crate::reduce::{self, REDUCTION, Reduced, reduce};
use crate::report::{self, ReportParts};
use crate::results;
use crate::study::study;
use crate::taken::Kept;

/// What a run leaves.
#[derive(Debug)]
pub struct RunOutcome {
    /// All temperatures.
    pub study: Study,
    /// The same data under both profiles.
    pub comparison: Vec<Comparison>,
    /// What was measured of the microscope at each temperature, where the recipe asked for it.
    pub records: Vec<Option<Record>>,
    /// Where the results are.
    pub folder: PathBuf,
    /// The report.
    pub report: PathBuf,
}

/// What a run would do.
#[derive(Debug, Clone, Serialize)]
pub struct Plan {
    /// Where results go.
    pub folder: PathBuf,
    /// One entry a series.
    pub series: Vec<SeriesPlan>,
    /// Bytes that are read in all.
    pub read_bytes: u64,
    /// Seconds that the passes over the data will take, from a trial on a part of each.
    pub pass_s: f64,
    /// The largest memory of any step.
    pub memory_bytes: u64,
}

/// What a run would do with one series.
#[derive(Debug, Clone, Serialize)]
pub struct SeriesPlan {
    /// Its name.
    pub name: String,
    /// Its shape in the file.
    pub shape: SeriesShape,
    /// Temperature; NaN where not known.
    pub temperature_k: f64,
    /// Positions that are analyzed.
    pub n_positions: usize,
    /// Pixels of the annulus.
    pub n_annulus_pixels: usize,
    /// Shards of the pass.
    pub n_shards: usize,
    /// Bytes that are read.
    pub read_bytes: u64,
    /// Seconds that the pass will take, from a trial on a part of the data.
    pub pass_s: f64,
    /// Memory of the pass.
    pub memory: MemoryPlan,
    /// Bytes that the analysis takes at most, without the counts that stay in memory where there is room for them.
    pub analysis_bytes: u64,
    /// Center of the pattern, native pixels.
    pub center: [f64; 2],
    /// What a person should know.
    pub warnings: Vec<Warning>,
}

/// Says what [`run`] would do, without writing anything. `clock` gives seconds since any moment, for the trial that tells how long.
///
/// # Errors
///
/// All that [`run`] would find before its first pass.
pub fn plan(
    loaded: &Loaded,
    context: &Context<'_>,
    clock: &(dyn Fn() -> f64 + Sync),
) -> Result<Plan> {
    let mut series = Vec::new();
    for block in loaded.require_data()? {
        let prepared =
            prepare(loaded, block, None, context).map_err(|error| loaded.locate(error))?;
        let memory = memory_plan(&prepared.plan, &prepared.header, context)?;
        let size = AnalysisSize::planned(
            &prepared.plan,
            prepared.header.shape.n_times,
            &loaded.recipe,
        );
        check_analysis(&prepared.header.name, size, &loaded.recipe, context)?;
        let shards = prepared.plan.shards();
        let n_positions = shards.iter().map(|shard| shard.n_rows * shard.n_cols).sum();
        let shape = prepared.header.shape;
        let frame_bytes = shape.frame_len() * prepared.header.sample_type.n_bytes();
        let calibration = prepared.plan.calibration();
        let read_bytes = (n_positions * shape.n_times * frame_bytes) as u64;
        let bytes_per_s = reduce::trial(&prepared, memory, context, clock)?;
        series.push(SeriesPlan {
            name: prepared.header.name.clone(),
            shape,
            temperature_k: prepared
                .header
                .temperature_k
                .as_ref()
                .map_or(f64::NAN, |stated| stated.value),
            n_positions,
            n_annulus_pixels: prepared.plan.annulus().len(),
            n_shards: shards.len(),
            read_bytes,
            pass_s: read_bytes as f64 / bytes_per_s,
            memory,
            analysis_bytes: size.bytes(&loaded.recipe, context.n_threads()),
            center: [calibration.center_row, calibration.center_col],
            warnings: prepared.warnings,
        });
    }
    Ok(Plan {
        folder: output_folder(loaded),
        read_bytes: series.iter().map(|series| series.read_bytes).sum(),
        pass_s: series.iter().map(|series| series.pass_s).sum(),
        memory_bytes: series
            .iter()
            .map(|series| series.memory.peak_bytes().max(series.analysis_bytes))
            .max()
            .unwrap_or(0),
        series,
    })
}

/// Reduces and analyzes all data of a recipe and writes results, figures and report.
///
/// # Errors
///
/// What is wrong with recipe, data or output folder; [`Error::TooManyBad`] after everything was written.
pub fn run(loaded: &Loaded, context: &Context<'_>) -> Result<RunOutcome> {
    run_with_truth(loaded, None, context)
}

/// Reduces all data of a recipe; the reductions are what [`analyze_again`] starts from.
///
/// # Errors
///
/// What is wrong with recipe, data or output folder.
pub fn reduce_all(loaded: &Loaded, context: &Context<'_>) -> Result<Vec<PathBuf>> {
    let folders = block_folders(loaded)?;
    let mut written = Vec::new();
    for (block, folder) in loaded.require_data()?.iter().zip(folders) {
        results::create_folder(&folder)?;
        let reduced = reduce(
            loaded,
            block,
            Some(&folder),
            Some(&folder.join(results::FIGURES)),
            context,
        )
        .map_err(|error| loaded.locate(error))?;
        results::write_recipe(&folder, &reduced.recipe)?;
        results::write_record(&folder, reduced.record.as_ref())?;
        reduced
            .warnings
            .iter()
            .for_each(|warning| context.warn(warning));
        written.push(folder.join(REDUCTION));
    }
    if written.len() > 1 {
        results::write_recipe(&output_folder(loaded), &loaded.recipe)?;
    }
    Ok(written)
}

/// Analyzes reductions that are there, without the raw data.
///
/// # Errors
///
/// Where a reduction is missing, incomplete or damaged, or does not hold the rings asked for.
pub fn analyze_again(loaded: &Loaded, context: &Context<'_>) -> Result<RunOutcome> {
    let folder = output_folder(loaded);
    let folders = results::temperature_folders(&folder, REDUCTION)?;
    let mut parts = Parts::default();
    for folder in &folders {
        let mut recipe = loaded.recipe.clone();
        if let Ok(own) = recipe_file::load(folder, &[]) {
            // Only the folder knows which of the data blocks it came from.
            recipe.data = own.recipe.data;
        }
        let reduced = Reduced::open_to_analyze(folder, &recipe, context)?;
        parts
            .add(folder, &reduced, context)
            .map_err(|error| loaded.locate(error))?;
    }
    parts.finish(loaded, &folder, None, context)
}

/// The table of recovered numbers beside the truth, where the truth is known.
pub type TruthTable<'a> = dyn Fn(&Study) -> Table + 'a;

/// As [`run`], for simulated data: the report has a table of what was recovered beside the truth.
///
/// # Errors
///
/// As [`run`].
pub fn run_with_truth(
    loaded: &Loaded,
    truth: Option<&TruthTable<'_>>,
    context: &Context<'_>,
) -> Result<RunOutcome> {
    // All inputs are opened before the first long pass, so that a typo in the last block costs seconds.
    let folders = block_folders(loaded)?;
    let folder = output_folder(loaded);
    // What is in the folder stays as it is until the reduction has said that it may be continued or replaced.
    let mut parts = Parts::default();
    for (block, folder) in loaded.require_data()?.iter().zip(&folders) {
        results::create_folder(folder)?;
        let keep = loaded
            .recipe
            .output
            .keep_reduction
            .then_some(folder.as_path());
        let pictures = folder.join(results::FIGURES);
        let reduced = reduce::reduce_to_analyze(loaded, block, keep, Some(&pictures), context)
            .map_err(|error| loaded.locate(error))?;
        parts
            .add(folder, &reduced, context)
            .map_err(|error| loaded.locate(error))?;
    }
    parts.finish(loaded, &folder, truth, context)
}

/// One temperature, written and drawn.
struct Finished {
    folder: PathBuf,
    analysis: Analysis,
    measured: Measured,
    comparison: Comparison,
    record: Option<Record>,
    figures: Vec<Figure>,
    fingerprint: (String, String),
}

/// What is collected over temperatures.
#[derive(Default)]
struct Parts {
    finished: Vec<Finished>,
}

impl Parts {
    /// Analyzes one temperature and writes its folder, complete in itself.
    fn add(&mut self, folder: &Path, reduced: &Reduced, context: &Context<'_>) -> Result<()> {
        let pictures = folder.join(results::FIGURES);
        if context.restart {
            Kept::discard(folder)?;
        }
        let kept = Kept::of(folder, reduced, &reduced.recipe);
        let measured = kept.measure(reduced, &reduced.recipe, Some(&pictures), context)?;
        let analysis = analyze(reduced, &reduced.recipe, &measured, &kept, context)?;
        analysis
            .warnings
            .iter()
            .for_each(|warning| context.warn(warning));
        results::write_temperature(folder, &analysis, Some(&reduced.reduction.calibration))?;
        let comparison = compare(reduced, &analysis, &measured, &kept, context)?;
        results::write_record(folder, reduced.record.as_ref())?;
        let drawable = Drawable::of(reduced, &analysis, &kept, context)?;
        kept.sweep();
        let mut own = drawable.figures(&analysis)?;
        own.extend(reduced.pictures.iter().cloned());
        let fingerprint = (analysis.name.clone(), reduced.fingerprint.clone());
        let mut single = study(vec![analysis]);
        let parts = ReportParts {
            study: &single,
            comparison: std::slice::from_ref(&comparison),
            records: std::slice::from_ref(&reduced.record),
            figures: figures::of_study(&single)?
                .into_iter()
                .chain(own.iter().cloned())
                .collect(),
            fingerprints: std::slice::from_ref(&fingerprint),
            recipe: &reduced.recipe,
            truth: None,
        };
        write_study(folder, &parts, parts.figures.clone(), context)?;
        self.finished.extend(single.analyses.pop().map(|analysis| {
            let figures = report::of_temperature(own, &analysis);
            Finished {
                folder: folder.to_owned(),
                analysis,
                measured,
                comparison,
                record: reduced.record.clone(),
                figures,
                fingerprint,
            }
        }));
        Ok(())
    }

    /// All temperatures as if measured alike.
    fn alike(&self, context: &Context<'_>) -> Result<Option<Alike>> {
        let parts: Vec<Part<'_>> = self
            .finished
            .iter()
            .map(|finished| Part {
                folder: &finished.folder,
                analysis: &finished.analysis,
                measured: Some(&finished.measured),
            })
            .collect();
        alike(&parts, context)
    }

    /// Writes what belongs to all temperatures together.
    fn finish(
        mut self,
        loaded: &Loaded,
        folder: &Path,
        truth: Option<&TruthTable<'_>>,
        context: &Context<'_>,
    ) -> Result<RunOutcome> {
        self.finished.sort_by(|a, b| {
            let temperatures = (a.analysis.temperature_k, b.analysis.temperature_k);
            temperatures.0.total_cmp(&temperatures.1)
        });
        let several = self.finished.len() > 1;
        let mut analyses = Vec::new();
        let mut comparison = Vec::new();
        let mut records = Vec::new();
        let mut own_figures = Vec::new();
        let mut fingerprints = Vec::new();
        let alike = self.alike(context)?;
        for finished in self.finished {
            analyses.push(finished.analysis);
            comparison.push(finished.comparison);
            records.push(finished.record);
            own_figures.extend(finished.figures);
            fingerprints.push(finished.fingerprint);
        }
        let mut study = study(analyses);
        study.alike = alike;
        if several {
            results::write_recipe(folder, &loaded.recipe)?;
            let shared = figures::of_study(&study)?;
            let parts = ReportParts {
                study: &study,
                comparison: &comparison,
                records: &records,
                figures: shared.iter().cloned().chain(own_figures).collect(),
                fingerprints: &fingerprints,
                recipe: &loaded.recipe,
                truth: truth.map(|truth| truth(&study)),
            };
            write_study(folder, &parts, shared, context)?;
        }
        check_bad(&study, context)?;
        Ok(RunOutcome {
            study,
            comparison,
            records,
            report: folder.join(results::REPORT),
            folder: folder.to_owned(),
        })
    }
}

/// Writes numbers, tables, some of the figures, and the report with all of them.
fn write_study(
    folder: &Path,
    parts: &ReportParts<'_>,
    figures: Vec<Figure>,
    context: &Context<'_>,
) -> Result<()> {
    results::write_summary(folder, parts.study, parts.comparison, parts.records)?;
    let output = &parts.recipe.output;
    draw::write(&figures, &folder.join(results::FIGURES), output, context)?;
    report::write(folder, parts)?;
    Ok(())
}

/// The folder of all results.
pub fn output_folder(loaded: &Loaded) -> PathBuf {
    loaded.folder.join(&loaded.recipe.output.folder)
}

/// The folder of each data block: the output folder itself for one, `633K` and so on for several.
pub(crate) fn block_folders(loaded: &Loaded) -> Result<Vec<PathBuf>> {
    let blocks = loaded.require_data()?;
    let folder = output_folder(loaded);
    let mut folders: Vec<PathBuf> = Vec::new();
    let mut names: Vec<String> = Vec::new();
    for block in blocks {
        let source = halotau_io::open(&halotau_io::OpenRequest::from_block(block, &loaded.folder))?;
        let header = merged_header(source.header(), &loaded.recipe, block);
        if blocks.len() == 1 {
            return Ok(vec![folder]);
        }
        let Some(temperature) = &header.temperature_k else {
            return Err(loaded.locate(Error::Core(halotau::Error::Setting {
                key: "data".to_owned(),
                value: header.name.clone(),
                problem: "several series need a temperature each: add temperature_k to this [[data]] block".to_owned(),
            })));
        };
        let name = format!("{}K", temperature.value);
        let n_same = names.iter().filter(|other| **other == name).count();
        folders.push(folder.join(if n_same == 0 {
            name.clone()
        } else {
            format!("{name}-{}", n_same + 1)
        }));
        names.push(name);
    }
    Ok(folders)
}

fn check_bad(study: &Study, context: &Context<'_>) -> Result<()> {
    for analysis in &study.analyses {
        let max_bad = if context.strict {
            0.5
        } else {
            analysis.recipe.output.max_bad
        };
        let summary = &analysis.summary;
        // Positions that nobody wanted to look at are not bad.
        let masked = analysis.conditions.region.masked.iter();
        let n_masked = masked.filter(|&&masked| masked).count();
        let n_positions = summary.n_positions - n_masked;
        let n_bad = n_positions.saturating_sub(summary.n_valid);
        if n_bad as f64 > max_bad * n_positions as f64 {
            return Err(Error::TooManyBad {
                name: analysis.name.clone(),
                n_bad,
                n_positions,
                max_bad,
                flags: bad_flags(analysis),
            });
        }
    }
    Ok(())
}

/// Why positions are BAD: "few_frames at 12, tau_lt_step at 3".
fn bad_flags(analysis: &Analysis) -> String {
    let n_with = |flag: Quality| {
        let flags = analysis.quality.iter();
        flags.filter(|quality| quality.has(flag)).count()
    };
    let counted: Vec<String> = Quality::NAMES
        .into_iter()
        .filter(|(flag, _)| Quality::BAD.has(*flag) && n_with(*flag) > 0)
        .map(|(flag, name)| format!("{name} at {}", n_with(flag)))
        .collect();
    counted.join(", ")
}
