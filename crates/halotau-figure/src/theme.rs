//! How does every figure look? The one place for sizes and colors.

use crate::color::{ColorMap, Rgb};
use crate::svg::{Anchor, POINTS_PER_MM, Paint, TextStyle};

/// Width of a figure in one column of a journal: 86 mm.
pub const ONE_COLUMN: f64 = 86.0 * POINTS_PER_MM;
/// Width of a figure over two columns: 178 mm.
pub const TWO_COLUMNS: f64 = 178.0 * POINTS_PER_MM;

/// Size of tick labels and notes; no text is smaller but super- and subscripts.
pub const SMALL: f64 = 7.0;
/// Size of axis labels.
pub const LABEL: f64 = 8.0;
/// Size of panel letters and headings.
pub const HEADING: f64 = 9.0;

/// Text and frames.
pub const INK: Rgb = Rgb::hex(0x1a_1a_1a);
/// Notes and minor marks.
pub const MUTED: Rgb = Rgb::hex(0x5f_66_6d);
/// Grid lines.
pub const GRID: Rgb = Rgb::hex(0xe3_e6_e9);
/// Positions without a number.
pub const BAD: Rgb = Rgb::hex(0xb4_b8_bc);
/// Hatching of positions without a number.
pub const BAD_HATCH: Rgb = Rgb::hex(0x7d_83_88);
/// The slow position, and the ring of the dynamics.
pub const SLOW: Rgb = Rgb::hex(0xc9_7a_0a);
/// The fast position, and the band of the structure.
pub const FAST: Rgb = Rgb::hex(0x12_7c_91);

/// Width of frames and ticks.
pub const HAIRLINE: f64 = 0.6;

/// Frames and ticks.
pub const FRAME: Paint = Paint::line(INK, HAIRLINE);

/// Tick labels and notes.
pub const TICK_TEXT: TextStyle = TextStyle::new(SMALL, INK);
/// Axis labels.
pub const LABEL_TEXT: TextStyle = TextStyle::new(LABEL, INK).anchored(Anchor::Middle);

/// The color of one of several temperatures, from the coldest, dark, to the hottest, light.
pub fn temperature_color(index: usize, n: usize) -> Rgb {
    let fraction = if n > 1 {
        index as f64 / (n - 1) as f64
    } else {
        0.3
    };
    // The ends of the map are too near to black and to paper for thin lines.
    ColorMap::Inferno.at(0.12 + 0.63 * fraction)
}
