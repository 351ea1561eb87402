//! How wide is a word, and what is its outline?
//!
//! All text is set in one embedded font (a subset of Source Sans 3, SIL Open Font License, see `fonts/`) and drawn as
//! outlines. So a figure looks the same in a browser, in print and as PNG, on a machine with no fonts at all, and the
//! width of a label is known when the figure is laid out. Lengths are in em, 1 em being the size of the font.

use std::fmt::Write as _;
use std::sync::LazyLock;

use ttf_parser::gpos::{PairAdjustment, PositioningSubtable};
use ttf_parser::{GlyphId, OutlineBuilder};

/// A style of the embedded font.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Face {
    /// Upright, normal weight.
    Regular,
    /// For symbols of quantities.
    Italic,
    /// For panel letters and headings.
    Bold,
}

static FACES: LazyLock<[ttf_parser::Face<'static>; 3]> = LazyLock::new(|| {
    [
        include_bytes!("../fonts/halotau-sans-regular.ttf").as_slice(),
        include_bytes!("../fonts/halotau-sans-italic.ttf").as_slice(),
        include_bytes!("../fonts/halotau-sans-bold.ttf").as_slice(),
    ]
    .map(|bytes| ttf_parser::Face::parse(bytes, 0).expect("the embedded fonts are valid TrueType"))
});

/// Units of an em in all three faces; outlines are given in these.
pub const UNITS_PER_EM: f64 = 1000.0;

/// Height of a capital letter, em.
pub const CAP_HEIGHT: f64 = 0.66;

/// Drawn for a character that the font does not have.
const MISSING: char = '□';

impl Face {
    fn parsed(self) -> &'static ttf_parser::Face<'static> {
        &FACES[self as usize]
    }

    /// Whether the font has a character.
    pub fn has(self, character: char) -> bool {
        self.parsed().glyph_index(character).is_some()
    }

    /// The glyph of a character, a hollow square where the font has none.
    pub(crate) fn glyph(self, character: char) -> u16 {
        let face = self.parsed();
        face.glyph_index(character)
            .or_else(|| face.glyph_index(MISSING))
            .map_or(0, |glyph| glyph.0)
    }

    fn advance(self, glyph: u16) -> f64 {
        let units = self.parsed().glyph_hor_advance(GlyphId(glyph)).unwrap_or(0);
        f64::from(units) / UNITS_PER_EM
    }

    /// How much nearer (negative) or farther the right glyph stands.
    fn kerning(self, left: u16, right: u16) -> f64 {
        let (left, right) = (GlyphId(left), GlyphId(right));
        let Some(positioning) = self.parsed().tables().gpos else {
            return 0.0;
        };
        for lookup in positioning.lookups {
            for subtable in lookup.subtables.into_iter::<PositioningSubtable<'_>>() {
                let PositioningSubtable::Pair(pair) = subtable else {
                    continue;
                };
                let Some(covered) = pair.coverage().get(left) else {
                    continue;
                };
                let value = match pair {
                    PairAdjustment::Format1 { sets, .. } => {
                        sets.get(covered).and_then(|set| set.get(right))
                    }
                    PairAdjustment::Format2 {
                        classes, matrix, ..
                    } => matrix.get((classes.0.get(left), classes.1.get(right))),
                };
                if let Some((first, _)) = value {
                    return f64::from(first.x_advance) / UNITS_PER_EM;
                }
            }
        }
        0.0
    }

    /// Outline of a glyph as SVG path data in font units, y downward; empty for a space.
    pub(crate) fn outline(self, glyph: u16) -> String {
        let mut outline = Outline(String::new());
        self.parsed().outline_glyph(GlyphId(glyph), &mut outline);
        outline.0
    }
}

struct Outline(String);

impl Outline {
    fn push(&mut self, command: char, points: &[(f32, f32)]) {
        self.0.push(command);
        for (n, (x, y)) in points.iter().enumerate() {
            let space = if n == 0 { "" } else { " " };
            // Writing to a string cannot fail.
            let _ = write!(self.0, "{space}{} {}", x.round(), 0.0 - y.round());
        }
    }
}

impl OutlineBuilder for Outline {
    fn move_to(&mut self, x: f32, y: f32) {
        self.push('M', &[(x, y)]);
    }
    fn line_to(&mut self, x: f32, y: f32) {
        self.push('L', &[(x, y)]);
    }
    fn quad_to(&mut self, x1: f32, y1: f32, x: f32, y: f32) {
        self.push('Q', &[(x1, y1), (x, y)]);
    }
    fn curve_to(&mut self, x1: f32, y1: f32, x2: f32, y2: f32, x: f32, y: f32) {
        self.push('C', &[(x1, y1), (x2, y2), (x, y)]);
    }
    fn close(&mut self) {
        self.0.push('Z');
    }
}

/// Height of a run over the base line, and its size.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Level {
    Base,
    Super,
    Sub,
}

impl Level {
    /// Size and rise in em of the base text.
    fn size_and_rise(self) -> (f64, f64) {
        match self {
            Self::Base => (1.0, 0.0),
            Self::Super => (0.70, 0.33),
            Self::Sub => (0.70, -0.17),
        }
    }
}

/// A line of text with italics, bold, superscripts and subscripts.
///
/// ```
/// use halotau_figure::font::Text;
/// let label = Text::new("Spatial frequency ").italic("q").plain(" (nm").superscript("−1").plain(")");
/// assert_eq!(label.to_plain(), "Spatial frequency q (nm−1)");
/// ```
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Text {
    runs: Vec<(String, Face, Level)>,
}

impl From<&str> for Text {
    fn from(text: &str) -> Self {
        Self::new(text)
    }
}

impl From<String> for Text {
    fn from(text: String) -> Self {
        Self::new(&text)
    }
}

impl Text {
    /// Upright text.
    pub fn new(text: &str) -> Self {
        Self::default().plain(text)
    }

    fn push(mut self, text: &str, face: Face, level: Level) -> Self {
        if !text.is_empty() {
            self.runs.push((text.to_owned(), face, level));
        }
        self
    }

    /// Adds upright text.
    pub fn plain(self, text: &str) -> Self {
        self.push(text, Face::Regular, Level::Base)
    }

    /// Adds the symbol of a quantity.
    pub fn italic(self, text: &str) -> Self {
        self.push(text, Face::Italic, Level::Base)
    }

    /// Adds bold text.
    pub fn bold(self, text: &str) -> Self {
        self.push(text, Face::Bold, Level::Base)
    }

    /// Adds a superscript.
    pub fn superscript(self, text: &str) -> Self {
        self.push(text, Face::Regular, Level::Super)
    }

    /// Adds a subscript.
    pub fn subscript(self, text: &str) -> Self {
        self.push(text, Face::Regular, Level::Sub)
    }

    /// Adds another text.
    pub fn join(mut self, other: Self) -> Self {
        self.runs.extend(other.runs);
        self
    }

    /// The characters alone.
    pub fn to_plain(&self) -> String {
        self.runs.iter().map(|(text, ..)| text.as_str()).collect()
    }

    /// Width at a size of 1.
    pub fn width_em(&self) -> f64 {
        self.lay_out().1
    }

    /// Shortened with an ellipsis to a width, for names that people give.
    pub fn fitted(&self, width_em: f64) -> Self {
        if self.width_em() <= width_em {
            return self.clone();
        }
        let mut short = self.clone();
        while let Some((text, face, _)) = short.runs.last_mut() {
            let face = *face;
            text.pop();
            if text.is_empty() {
                short.runs.pop();
                continue;
            }
            let candidate = short.clone().push("…", face, Level::Base);
            if candidate.width_em() <= width_em {
                return candidate;
            }
        }
        Self::new("…")
    }

    /// Every glyph with its place, and the width, em.
    pub(crate) fn lay_out(&self) -> (Vec<PlacedGlyph>, f64) {
        let mut glyphs = Vec::new();
        let mut x = 0.0;
        for (text, face, level) in &self.runs {
            let (size, rise) = level.size_and_rise();
            let mut before = None;
            for character in text.chars() {
                let character = if character.is_control() {
                    ' '
                } else {
                    character
                };
                let glyph = face.glyph(character);
                if let Some(before) = before {
                    x += size * face.kerning(before, glyph);
                }
                glyphs.push(PlacedGlyph {
                    face: *face,
                    glyph,
                    missing: (!face.has(character)).then_some(character),
                    x,
                    rise,
                    size,
                });
                x += size * face.advance(glyph);
                before = Some(glyph);
            }
        }
        (glyphs, x)
    }
}

/// One glyph of a line, lengths in em of the base text.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PlacedGlyph {
    pub(crate) face: Face,
    pub(crate) glyph: u16,
    /// The character that the font does not have.
    pub(crate) missing: Option<char>,
    pub(crate) x: f64,
    pub(crate) rise: f64,
    pub(crate) size: f64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn widths_come_from_the_font() {
        // Digits are as wide as each other, so that columns of numbers align.
        assert_eq!(Text::new("111").width_em(), Text::new("888").width_em());
        assert!((Text::new("0").width_em() - 0.497).abs() < 0.01);
        // "Te" is kerned: nearer than the sum of its parts.
        let parts = Text::new("T").width_em() + Text::new("e").width_em();
        assert!(Text::new("Te").width_em() < parts - 0.02);
    }

    #[test]
    fn long_names_are_shortened() {
        let name = Text::new("a very long name of a sample").fitted(5.0);
        assert!(name.width_em() <= 5.0);
        assert!(name.to_plain().ends_with('…'));
        assert_eq!(Text::new("x").fitted(0.0).to_plain(), "…");
    }
}
