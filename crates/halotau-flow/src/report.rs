//! The report of a study: what was computed, put into words and one file.

use std::path::{Path, PathBuf};

use halotau::analysis::{Analysis, Study};
use halotau::recipe::Recipe;
use halotau_figure::Figure;
use halotau_figure::report::{self, ComparisonRow, ReportInput, Table};

use crate::analyze::{Comparison, ProfileNumbers};
use crate::calibrate::{Record, microscope};
use crate::error::Result;
use crate::recipe_file::to_toml;
use crate::results;

/// What a report is made of.
#[derive(Debug)]
pub struct ReportParts<'a> {
    /// The results.
    pub study: &'a Study,
    /// The same data under both profiles.
    pub comparison: &'a [Comparison],
    /// What was measured of the microscope, in the order of the study; none where nothing was measured.
    pub records: &'a [Option<Record>],
    /// Figures in their order.
    pub figures: Vec<Figure>,
    /// Name and fingerprint of each input.
    pub fingerprints: &'a [(String, String)],
    /// The effective recipe.
    pub recipe: &'a Recipe,
    /// Recovered numbers beside the truth, for simulated data.
    pub truth: Option<Table>,
}

/// Writes `report.html` into a folder.
///
/// # Errors
///
/// [`Error::Write`](crate::Error::Write).
pub fn write(folder: &Path, parts: &ReportParts<'_>) -> Result<PathBuf> {
    let title = match parts.recipe.title.as_str() {
        "" => "halotau report",
        title => title,
    };
    let version = env!("CARGO_PKG_VERSION");
    let mut provenance = vec![
        ("program".to_owned(), format!("halotau {version}")),
        (
            "method".to_owned(),
            "Nakazawa et al., NPG Asia Mater. 16 (2024), doi 10.1038/s41427-024-00577-1".to_owned(),
        ),
        (
            "generator of random numbers".to_owned(),
            format!("xoshiro256++, seed {}", parts.recipe.seed),
        ),
        (
            "to repeat".to_owned(),
            "halotau run recipe.toml (the recipe is below and in the result folder)".to_owned(),
        ),
    ];
    provenance.extend(
        parts
            .fingerprints
            .iter()
            .map(|(name, fingerprint)| (format!("input {name}"), format!("BLAKE3 {fingerprint}"))),
    );
    let html = report::html(&ReportInput {
        title: title.to_owned(),
        study: parts.study,
        figures: parts.figures.clone(),
        comparison: comparison_rows(parts.comparison),
        microscope: microscope(parts.records),
        warnings: Vec::new(),
        truth: parts.truth.clone(),
        methods: report::methods(parts.study, version),
        recipe_toml: to_toml(parts.recipe),
        provenance,
    });
    let path = folder.join(results::REPORT);
    results::write_file(&path, html.as_bytes())?;
    Ok(path)
}

/// The figures of one temperature for the report of several, with names of their own.
pub fn of_temperature(figures: Vec<Figure>, analysis: &Analysis) -> Vec<Figure> {
    let of = format!("_{}k", analysis.temperature_k).replace('.', "_");
    figures
        .into_iter()
        .map(|figure| Figure {
            id: figure.id.clone() + &of,
            ..figure
        })
        .collect()
}

fn comparison_rows(comparison: &[Comparison]) -> Vec<ComparisonRow> {
    type Number = fn(&ProfileNumbers) -> f64;
    let quantities: [(&str, Number); 8] = [
        ("median τ (s)", |numbers| numbers.tau_median_s.value),
        ("average τ of the profile (s)", |numbers| {
            numbers.tau_average_s.value
        }),
        ("τ of the mean curve (s)", |numbers| {
            numbers.tau_ensemble_s.value
        }),
        ("standard deviation of ln τ", |numbers| numbers.ln_tau_sd),
        ("share with only a lower limit of τ", |numbers| {
            numbers.censored_share
        }),
        ("mean V", |numbers| numbers.fluctuation_mean.value),
        ("Spearman's ρ of τ and V", |numbers| numbers.spearman),
        ("positions in ρ", |numbers| numbers.n as f64),
    ];
    comparison
        .iter()
        .flat_map(|at| {
            quantities.iter().map(|(quantity, number)| ComparisonRow {
                quantity: (*quantity).to_owned(),
                temperature_k: Some(at.temperature_k),
                paper: number(&at.paper),
                recommended: number(&at.recommended),
            })
        })
        .collect()
}
