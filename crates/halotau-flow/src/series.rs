//! From result folders to a study, figures and a report, without the data.

use std::path::{Path, PathBuf};

use halotau::alike::Alike;
use halotau::analysis::{Analysis, Study};
use halotau::recipe::OutputSettings;
use halotau_figure::Figure;
use halotau_io::analysis_folder::read_analysis;

use crate::alike::{Part, alike};
use crate::analyze::Comparison;
use crate::calibrate::Record;
use crate::context::Context;
use crate::draw::{self, Drawable};
use crate::error::{Error, Result};
use crate::reduce::{REDUCTION, Reduced};
use crate::report::{self, ReportParts};
use crate::results;
use crate::study::study;
use crate::taken::Kept;

/// What is in result folders.
#[derive(Debug)]
pub struct Results {
    /// All temperatures, from the lowest.
    pub study: Study,
    /// The folder of each.
    pub folders: Vec<PathBuf>,
    /// The same data under both profiles, where it was computed.
    pub comparison: Vec<Comparison>,
    /// What was measured of the microscope at each, where that was asked for.
    pub records: Vec<Option<Record>>,
}

impl Results {
    /// What the first temperature's recipe says about files.
    pub fn output(&self) -> OutputSettings {
        let first = self.study.analyses.first();
        first.map_or_else(OutputSettings::default, |analysis| {
            analysis.recipe.output.clone()
        })
    }
}

/// Reads result folders; each holds one temperature or several.
///
/// # Errors
///
/// Where there is no analysis, or it is damaged.
pub fn read(folders: &[PathBuf]) -> Result<Results> {
    let mut found: Vec<(PathBuf, Analysis)> = Vec::new();
    let mut comparison = Vec::new();
    let mut alike = None;
    for folder in folders {
        alike = alike.or_else(|| results::read_alike(folder));
        comparison.extend(results::read_comparison(folder));
        for own in results::temperature_folders(folder, results::ANALYSIS)? {
            let analysis = read_analysis(&own.join(results::ANALYSIS))?;
            found.push((own, analysis));
        }
    }
    found.sort_by(|a, b| a.1.temperature_k.total_cmp(&b.1.temperature_k));
    comparison.sort_by(|a, b| a.temperature_k.total_cmp(&b.temperature_k));
    let (folders, analyses): (Vec<PathBuf>, Vec<Analysis>) = found.into_iter().unzip();
    let mut study = study(analyses);
    // Of these temperatures, not of some others in the folder.
    study.alike = alike.filter(|alike: &Alike| {
        let own = study.analyses.iter().map(|one| one.temperature_k);
        own.eq(alike.temperatures.iter().map(|one| one.temperature_k))
    });
    Ok(Results {
        study,
        records: folders
            .iter()
            .map(|folder| results::read_record(folder))
            .collect(),
        folders,
        comparison,
    })
}

/// Puts several temperatures together in a new folder: numbers, table, figures and report.
///
/// # Errors
///
/// As [`read`]; [`Error::Usage`] for fewer than two temperatures.
pub fn series(folders: &[PathBuf], out: &Path, context: &Context<'_>) -> Result<Results> {
    let mut results = read(folders)?;
    if results.study.analyses.len() < 2 {
        return Err(Error::usage(
            "series",
            "at least two temperatures are needed; name their result folders",
        ));
    }
    let parts: Vec<Part<'_>> = results
        .study
        .analyses
        .iter()
        .zip(&results.folders)
        .map(|(analysis, folder)| Part {
            folder,
            analysis,
            measured: None,
        })
        .collect();
    results.study.alike = alike(&parts, context)?;
    results::create_folder(out)?;
    results::write_summary(out, &results.study, &results.comparison, &results.records)?;
    figures(&results, out, &results.output(), context)?;
    write_report(&results, out)?;
    Ok(results)
}

/// Draws the figures of result folders: those of all temperatures into `out`, those of one beside its results.
///
/// # Errors
///
/// Where a figure cannot be drawn or written.
pub fn figures(
    results: &Results,
    out: &Path,
    output: &OutputSettings,
    context: &Context<'_>,
) -> Result<()> {
    draw::write(
        &halotau_figure::figures::of_study(&results.study)?,
        &out.join(results::FIGURES),
        output,
        context,
    )?;
    for (analysis, folder) in results.study.analyses.iter().zip(&results.folders) {
        draw::write(
            &own_figures(analysis, folder)?,
            &folder.join(results::FIGURES),
            output,
            context,
        )?;
    }
    Ok(())
}

/// Writes the report of result folders.
///
/// # Errors
///
/// Where a figure cannot be drawn or the file not be written.
pub fn write_report(results: &Results, out: &Path) -> Result<PathBuf> {
    let study = &results.study;
    let mut figures = halotau_figure::figures::of_study(study)?;
    let mut fingerprints = Vec::new();
    for (analysis, folder) in study.analyses.iter().zip(&results.folders) {
        let own = own_figures(analysis, folder)?;
        figures.extend(if study.analyses.len() > 1 {
            report::of_temperature(own, analysis)
        } else {
            own
        });
        if folder.join(REDUCTION).is_dir() {
            fingerprints.push((
                analysis.name.clone(),
                Reduced::open(folder, &analysis.recipe, 0)?.fingerprint,
            ));
        }
    }
    let Some(first) = study.analyses.first() else {
        return Err(Error::usage("report", "there is no result"));
    };
    let mut recipe = first.recipe.clone();
    recipe.data = study
        .analyses
        .iter()
        .flat_map(|analysis| analysis.recipe.data.clone())
        .collect();
    let parts = ReportParts {
        study,
        comparison: &results.comparison,
        records: &results.records,
        figures,
        fingerprints: &fingerprints,
        recipe: &recipe,
        truth: None,
    };
    report::write(out, &parts)
}

/// The figures of one temperature; those that need the counts only where the reduction was kept.
fn own_figures(analysis: &Analysis, folder: &Path) -> Result<Vec<Figure>> {
    let drawable = if folder.join(REDUCTION).is_dir() {
        let reduced = Reduced::open(folder, &analysis.recipe, 0)?;
        let kept = Kept::of(folder, &reduced, &analysis.recipe);
        Drawable::of(&reduced, analysis, &kept, &Context::new(&|_| {}))?
    } else {
        Drawable::without_reduction(analysis)
    };
    drawable.figures(analysis)
}
