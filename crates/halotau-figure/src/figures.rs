//! The figures, one function each. Captions are in [`crate::caption`].

mod curves;
mod maps;
mod pattern;
mod quality;
mod scatter;
mod temperature;

pub use curves::{ExamplePatterns, example_curves, two_time};
pub use maps::{fluctuation_maps, tau_maps};
pub use pattern::mean_pattern;
pub use quality::{TimeTraces, quality};
pub use scatter::scatter;
pub use temperature::{arrhenius, averages_against_temperature};

pub(crate) use scatter::relation_text;
pub(crate) use temperature::{average_name, energy_text};

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
