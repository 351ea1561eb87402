//! The figures, one function each. Captions are in [`crate::caption`].

mod calibration;
mod conditions;
mod curves;
mod dynamics;
mod maps;
mod pattern;
mod quality;
mod scatter;
mod temperature;

pub use calibration::{CalibrationView, of_calibration, uncalibrated};
pub use conditions::{ConditionsView, conditions, moved_away};
pub use curves::{ExamplePatterns, example_curves, two_time};
pub use dynamics::{dynamics_form, dynamics_in_space, dynamics_in_time};
pub use maps::{fluctuation_maps, tau_maps};
pub use pattern::mean_pattern;
pub use quality::{TimeTraces, quality};
pub use scatter::scatter;
pub use temperature::{arrhenius, averages_against_temperature};

pub(crate) use scatter::relation_text;
pub(crate) use temperature::{average_name, energy_text};

use halotau::analysis::{Analysis, Study};
use halotau::reduce::Reduction;

use crate::caption;
use crate::error::Result;
use crate::svg::Svg;

/// A figure with its words, as a report shows it.
#[derive(Debug, Clone, PartialEq)]
pub struct Figure {
    /// Name of its files, and anchor on the page: lower case, with underscores.
    pub id: String,
    /// What it shows, in a few words.
    pub title: String,
    /// All that a reader must know, with the conventions used.
    pub caption: String,
    /// The drawing.
    pub svg: Svg,
}

impl Figure {
    fn new(id: &str, title: &str, caption: String, svg: Svg) -> Self {
        Self {
            id: id.to_owned(),
            title: title.to_owned(),
            caption,
            svg,
        }
    }
}

/// The figures of several temperatures, in their order; without the averages where no temperature is known, and without the
/// Arrhenius plot where there is no fit.
///
/// # Errors
///
/// Those of the figures.
pub fn of_study(study: &Study) -> Result<Vec<Figure>> {
    let mut figures = vec![
        Figure::new(
            "tau_maps",
            "Relaxation time",
            caption::tau_maps(study),
            tau_maps(study)?,
        ),
        Figure::new(
            "fluctuation_maps",
            "Azimuthal variance",
            caption::fluctuation_maps(study),
            fluctuation_maps(study)?,
        ),
        Figure::new(
            "scatter",
            "Structure and dynamics",
            caption::scatter(study),
            scatter(study)?,
        ),
    ];
    // Where no temperature is known there is no axis to draw along.
    if study.analyses.iter().any(|a| a.temperature_k.is_finite()) {
        figures.push(Figure::new(
            "averages",
            "Averages against temperature",
            caption::averages_against_temperature(study),
            averages_against_temperature(study)?,
        ));
    }
    if !study.arrhenius.is_empty() {
        figures.push(Figure::new(
            "arrhenius",
            "Activation energy",
            caption::arrhenius(study),
            arrhenius(study)?,
        ));
    }
    Ok(figures)
}

/// The conditions of a series that is calibrated; `name` stands in the caption.
///
/// # Errors
///
/// Those of the figure.
pub fn of_conditions(view: &ConditionsView<'_>, name: &str) -> Result<Figure> {
    Ok(Figure::new(
        "calibration_conditions",
        "Drift, beam and region",
        caption::conditions(view.conditions, name),
        conditions(view)?,
    ))
}

/// The figures of one temperature; those whose data are not given are left out.
///
/// # Errors
///
/// Those of the figures.
pub fn of_analysis(
    analysis: &Analysis,
    examples: Option<&ExamplePatterns>,
    reduction: Option<&Reduction>,
    traces: &TimeTraces,
) -> Result<Vec<Figure>> {
    let at = maps::temperature(analysis).to_plain();
    let titled = |title: &str| format!("{title} at {at}");
    let mut figures = Vec::new();
    if let Some(examples) = examples {
        figures.push(Figure::new(
            "example_curves",
            &titled("A slow and a fast position"),
            caption::example_curves(analysis),
            example_curves(analysis, examples)?,
        ));
    }
    if !analysis.two_time.is_empty() {
        figures.push(Figure::new(
            "two_time",
            &titled("Two-time correlation"),
            caption::two_time(analysis),
            two_time(analysis)?,
        ));
    }
    if dynamics::has_time(analysis) {
        figures.push(Figure::new(
            "dynamics_time",
            &titled("Dynamics in time"),
            caption::dynamics_in_time(analysis),
            dynamics_in_time(analysis)?,
        ));
    }
    if dynamics::has_space(analysis) {
        figures.push(Figure::new(
            "dynamics_space",
            &titled("Dynamics in space"),
            caption::dynamics_in_space(analysis),
            dynamics_in_space(analysis)?,
        ));
    }
    if dynamics::has_form(analysis) {
        figures.push(Figure::new(
            "dynamics_form",
            &titled("Form of the decay"),
            caption::dynamics_form(analysis),
            dynamics_form(analysis)?,
        ));
    }
    if let Some(reduction) = reduction {
        figures.push(Figure::new(
            "mean_pattern",
            &titled("Mean pattern"),
            caption::mean_pattern(&analysis.recipe),
            mean_pattern(reduction, &analysis.recipe)?,
        ));
    }
    figures.push(Figure::new(
        "conditions",
        &titled("Drift, beam and region"),
        caption::conditions(&analysis.conditions, &at),
        conditions(&ConditionsView::of(analysis))?,
    ));
    figures.push(Figure::new(
        "quality",
        &titled("Quality"),
        caption::quality(analysis),
        quality(analysis, traces)?,
    ));
    Ok(figures)
}
