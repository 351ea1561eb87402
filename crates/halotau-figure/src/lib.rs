//! What do the results look like? Figures in print quality, and a report in one file.
//!
//! - [`figures`]: one function a figure, from results to a drawing; [`caption`]: its words.
//! - [`report`]: figures, tables, settings and warnings in one HTML file that needs no network.
//! - The kit below: [`font`] (one embedded font, text as outlines), [`color`] (perceptually uniform maps), [`scale`]
//!   (round numbers), [`svg`] (shapes), [`axes`] (frames), [`map`] (images with color bar and scale bar), [`theme`]
//!   (sizes and colors), [`raster`] (PNG), and `pdf` where the crate is built with the feature of that name.
//!
//! Figures are 86 or 178 mm wide with text of 7 to 9 points. The same input gives the same bytes, whatever fonts the
//! machine has.

pub mod axes;
pub mod caption;
pub mod color;
pub mod error;
pub mod figures;
pub mod font;
pub mod map;
#[cfg(feature = "pdf")]
pub mod pdf;
pub mod raster;
pub mod report;
pub mod scale;
pub mod svg;
pub mod theme;

pub use error::{Error, Result};
pub use figures::Figure;
#[cfg(feature = "pdf")]
pub use pdf::pdf;
pub use raster::png;
pub use svg::Svg;
