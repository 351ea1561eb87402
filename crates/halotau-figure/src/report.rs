//! What came out, for people? One HTML file with figures, tables, settings and warnings in words.
//!
//! The file needs no network and no other file, works without JavaScript (which only adds copy buttons), follows the
//! light or dark setting of the reader and prints on A4. All strings of users are escaped.

mod dynamics;
mod energy;
mod headline;
mod heterogeneity;
mod html;
mod methods;
mod q_dependence;
mod relation;
mod sections;

use halotau::analysis::Study;
use halotau::series::Warning;

use crate::Figure;
pub use headline::{Light, light};
pub use html::Table;
pub use methods::methods;

/// One number with the choices of both profiles, from the same data.
#[derive(Debug, Clone, PartialEq)]
pub struct ComparisonRow {
    /// What it is, with its unit: "median τ (s)".
    pub quantity: String,
    /// Temperature; `None` for what belongs to all, as the activation energy.
    pub temperature_k: Option<f64>,
    /// With the choices of the paper.
    pub paper: f64,
    /// With the recommended estimators.
    pub recommended: f64,
}

/// All that a report shows.
#[derive(Debug, Clone)]
pub struct ReportInput<'a> {
    /// What the report is called.
    pub title: String,
    /// The results.
    pub study: &'a Study,
    /// Figures in their order.
    pub figures: Vec<Figure>,
    /// The same data with the choices of both profiles; empty where only one was computed.
    pub comparison: Vec<ComparisonRow>,
    /// What was measured of the microscope; `None` where nothing was.
    pub microscope: Option<Table>,
    /// Warnings beside those of the analyses: of files, of the recipe.
    pub warnings: Vec<Warning>,
    /// Recovered numbers beside the truth, for simulated data.
    pub truth: Option<Table>,
    /// The methods paragraph; [`methods`] writes one.
    pub methods: String,
    /// The effective recipe.
    pub recipe_toml: String,
    /// Versions, fingerprints of the input, the command to repeat: (key, value).
    pub provenance: Vec<(String, String)>,
}

/// The report as a text of HTML.
pub fn html(input: &ReportInput<'_>) -> String {
    let mut page = html::Page::new(&input.title);
    headline::write(&mut page, input);
    sections::contents(&mut page, input);
    sections::figures(&mut page, input);
    sections::results(&mut page, input);
    dynamics::write(&mut page, input);
    sections::comparison(&mut page, input);
    sections::warnings(&mut page, input);
    sections::flags(&mut page, input);
    sections::methods(&mut page, input);
    sections::provenance(&mut page, input);
    page.finish()
}
