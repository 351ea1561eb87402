//! What is a drawing made of?
//!
//! [`Svg`] collects shapes, text and images in the order in which they cover each other. Lengths are points
//! (1/72 inch), x to the right and y downward from the upper left corner. Numbers are written with two decimals, a
//! hundredth of a point, so that the same drawing always is the same bytes. All strings of users are escaped here.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use crate::color::Rgb;
use crate::font::{Face, Text, UNITS_PER_EM};

/// Points a millimeter.
pub const POINTS_PER_MM: f64 = 72.0 / 25.4;

/// Stands for the prefix of all ids until the drawing is written; no XML text can hold it.
const PREFIX: char = '\u{1}';

/// Text for XML, inside elements and attributes.
///
/// Characters that XML forbids become spaces.
pub fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            '\n' | '\t' => escaped.push(character),
            '\u{fffe}' | '\u{ffff}' => escaped.push(' '),
            other if other.is_control() => escaped.push(' '),
            other => escaped.push(other),
        }
    }
    escaped
}

/// A length with two decimals, as short as possible; 0 for NaN and infinity.
pub(crate) fn number(value: f64) -> String {
    if !value.is_finite() {
        return "0".to_owned();
    }
    let text = format!("{value:.2}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    match text {
        "-0" => "0".to_owned(),
        other => other.to_owned(),
    }
}

/// A rectangle on the page.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rect {
    /// Left edge.
    pub x: f64,
    /// Upper edge.
    pub y: f64,
    /// Width.
    pub width: f64,
    /// Height.
    pub height: f64,
}

impl Rect {
    /// The rectangle with this upper left corner and size.
    pub const fn new(x: f64, y: f64, width: f64, height: f64) -> Self {
        Self {
            x,
            y,
            width,
            height,
        }
    }

    /// Right edge.
    pub fn right(&self) -> f64 {
        self.x + self.width
    }

    /// Lower edge.
    pub fn bottom(&self) -> f64 {
        self.y + self.height
    }

    /// Middle.
    pub fn center(&self) -> (f64, f64) {
        (self.x + self.width / 2.0, self.y + self.height / 2.0)
    }
}

/// How a shape is filled and stroked.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Paint {
    fill: Option<Rgb>,
    fill_opacity: f64,
    stroke: Option<Rgb>,
    width: f64,
    dash: &'static str,
    round: bool,
}

impl Paint {
    /// Filled, without an outline.
    pub const fn fill(color: Rgb) -> Self {
        Self {
            fill: Some(color),
            fill_opacity: 1.0,
            stroke: None,
            width: 0.0,
            dash: "",
            round: false,
        }
    }

    /// A line, not filled.
    pub const fn line(color: Rgb, width: f64) -> Self {
        Self {
            fill: None,
            fill_opacity: 1.0,
            stroke: Some(color),
            width,
            dash: "",
            round: false,
        }
    }

    /// With an outline.
    pub const fn outlined(mut self, color: Rgb, width: f64) -> Self {
        self.stroke = Some(color);
        self.width = width;
        self
    }

    /// With a filling that lets the background through.
    pub const fn opacity(mut self, opacity: f64) -> Self {
        self.fill_opacity = opacity;
        self
    }

    /// With a broken line, `"on off"` in points.
    pub const fn dashed(mut self, dash: &'static str) -> Self {
        self.dash = dash;
        self
    }

    /// With round ends and joins.
    pub const fn round(mut self) -> Self {
        self.round = true;
        self
    }

    fn attributes(&self) -> String {
        let mut text = match self.fill {
            Some(color) => format!(" fill=\"{color}\""),
            None => " fill=\"none\"".to_owned(),
        };
        if self.fill_opacity < 1.0 {
            let _ = write!(text, " fill-opacity=\"{}\"", number(self.fill_opacity));
        }
        if let Some(color) = self.stroke {
            let _ = write!(
                text,
                " stroke=\"{color}\" stroke-width=\"{}\"",
                number(self.width)
            );
            if !self.dash.is_empty() {
                let _ = write!(text, " stroke-dasharray=\"{}\"", self.dash);
            }
            if self.round {
                text.push_str(" stroke-linecap=\"round\" stroke-linejoin=\"round\"");
            }
        }
        text
    }
}

/// Where the given point of a text lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Anchor {
    /// At its left end.
    Start,
    /// In its middle.
    Middle,
    /// At its right end.
    End,
}

/// Size, color, place and direction of a line of text.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TextStyle {
    /// Size, points.
    pub size: f64,
    /// Color.
    pub color: Rgb,
    /// Which end of the text the point is.
    pub anchor: Anchor,
    /// Turned by a quarter to read upward.
    pub upward: bool,
    /// Outline that makes it readable on an image.
    pub halo: Option<Rgb>,
}

impl TextStyle {
    /// Horizontal text that starts at its point.
    pub const fn new(size: f64, color: Rgb) -> Self {
        Self {
            size,
            color,
            anchor: Anchor::Start,
            upward: false,
            halo: None,
        }
    }

    /// With another anchor.
    pub const fn anchored(mut self, anchor: Anchor) -> Self {
        self.anchor = anchor;
        self
    }

    /// Reading upward.
    pub const fn upward(mut self) -> Self {
        self.upward = true;
        self
    }

    /// With an outline.
    pub const fn halo(mut self, color: Rgb) -> Self {
        self.halo = Some(color);
        self
    }
}

/// Path data.
#[derive(Debug, Clone, Default)]
pub struct Path(String);

impl Path {
    /// Starts a new part.
    pub fn move_to(&mut self, x: f64, y: f64) {
        let _ = write!(self.0, "M{} {}", number(x), number(y));
    }

    /// A straight line.
    pub fn line_to(&mut self, x: f64, y: f64) {
        let _ = write!(self.0, "L{} {}", number(x), number(y));
    }

    /// A closed rectangle.
    pub fn rectangle(&mut self, rect: Rect) {
        let _ = write!(
            self.0,
            "M{} {}h{}v{}h-{}z",
            number(rect.x),
            number(rect.y),
            number(rect.width),
            number(rect.height),
            number(rect.width)
        );
    }

    /// A closed circle.
    pub fn circle(&mut self, x: f64, y: f64, radius: f64) {
        let (r, d) = (number(radius), number(2.0 * radius));
        let _ = write!(
            self.0,
            "M{} {}a{r} {r} 0 1 0 {d} 0a{r} {r} 0 1 0 -{d} 0z",
            number(x - radius),
            number(y)
        );
    }

    /// Closes the part.
    pub fn close(&mut self) {
        self.0.push('Z');
    }

    /// Whether nothing was drawn.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// A drawing.
#[derive(Debug, Clone, PartialEq)]
pub struct Svg {
    width: f64,
    height: f64,
    title: String,
    description: String,
    definitions: String,
    body: String,
    glyphs: BTreeMap<(Face, u16), String>,
    missing: BTreeSet<char>,
    n_ids: usize,
}

impl Svg {
    /// An empty white page of a size in points, with its title for screen readers and file managers.
    pub fn new(width: f64, height: f64, title: &str) -> Self {
        let mut svg = Self {
            width,
            height,
            title: title.to_owned(),
            description: String::new(),
            definitions: String::new(),
            body: String::new(),
            glyphs: BTreeMap::new(),
            missing: BTreeSet::new(),
            n_ids: 0,
        };
        svg.rect(Rect::new(0.0, 0.0, width, height), Paint::fill(Rgb::WHITE));
        svg
    }

    /// Says in words what the drawing shows, for those who cannot see it.
    pub fn describe(&mut self, description: &str) {
        description.clone_into(&mut self.description);
    }

    /// Width in points.
    pub fn width(&self) -> f64 {
        self.width
    }

    /// Height in points.
    pub fn height(&self) -> f64 {
        self.height
    }

    /// Title.
    pub fn title(&self) -> &str {
        &self.title
    }

    /// Characters that the font does not have; each was drawn as a hollow square.
    pub fn missing_characters(&self) -> &BTreeSet<char> {
        &self.missing
    }

    fn new_id(&mut self, kind: &str) -> String {
        self.n_ids += 1;
        format!("{PREFIX}{kind}{}", self.n_ids)
    }

    /// A rectangle.
    pub fn rect(&mut self, rect: Rect, paint: Paint) {
        let _ = writeln!(
            self.body,
            "<rect x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\"{}/>",
            number(rect.x),
            number(rect.y),
            number(rect.width),
            number(rect.height),
            paint.attributes()
        );
    }

    /// A straight line.
    pub fn line(&mut self, from: (f64, f64), to: (f64, f64), paint: Paint) {
        let mut path = Path::default();
        path.move_to(from.0, from.1);
        path.line_to(to.0, to.1);
        self.path(&path, paint);
    }

    /// A circle.
    pub fn circle(&mut self, x: f64, y: f64, radius: f64, paint: Paint) {
        let _ = writeln!(
            self.body,
            "<circle cx=\"{}\" cy=\"{}\" r=\"{}\"{}/>",
            number(x),
            number(y),
            number(radius),
            paint.attributes()
        );
    }

    /// A path; nothing where it is empty.
    pub fn path(&mut self, path: &Path, paint: Paint) {
        if !path.is_empty() {
            let _ = writeln!(self.body, "<path d=\"{}\"{}/>", path.0, paint.attributes());
        }
    }

    /// Fills a path with diagonal lines.
    pub fn hatch(&mut self, path: &Path, color: Rgb, spacing: f64) {
        if path.is_empty() {
            return;
        }
        let id = self.new_id("hatch");
        let (s, half) = (number(spacing), number(spacing / 2.0));
        let _ = writeln!(
            self.definitions,
            "<pattern id=\"{id}\" width=\"{s}\" height=\"{s}\" patternUnits=\"userSpaceOnUse\" patternTransform=\"rotate(45)\">\
             <path d=\"M{half} 0V{s}\" stroke=\"{color}\" stroke-width=\"{}\"/></pattern>",
            number(spacing * 0.28)
        );
        let _ = writeln!(self.body, "<path d=\"{}\" fill=\"url(#{id})\"/>", path.0);
    }

    /// Draws only inside a rectangle.
    pub fn clipped(&mut self, rect: Rect, draw: impl FnOnce(&mut Self)) {
        let id = self.new_id("clip");
        let _ = writeln!(
            self.definitions,
            "<clipPath id=\"{id}\"><rect x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\"/></clipPath>",
            number(rect.x),
            number(rect.y),
            number(rect.width),
            number(rect.height)
        );
        let _ = writeln!(self.body, "<g clip-path=\"url(#{id})\">");
        draw(self);
        self.body.push_str("</g>\n");
    }

    /// An image whose pixels stay sharp, as the bytes of a PNG file.
    pub fn image(&mut self, rect: Rect, png: &[u8]) {
        let _ = writeln!(
            self.body,
            "<image x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\" preserveAspectRatio=\"none\" \
             style=\"image-rendering:pixelated\" xlink:href=\"data:image/png;base64,{}\"/>",
            number(rect.x),
            number(rect.y),
            number(rect.width),
            number(rect.height),
            base64(png)
        );
    }

    /// A line of text with its base line at a point; returns its width.
    pub fn text(&mut self, x: f64, y: f64, text: &Text, style: TextStyle) -> f64 {
        let (glyphs, width_em) = text.lay_out();
        let width = width_em * style.size;
        let offset = match style.anchor {
            Anchor::Start => 0.0,
            Anchor::Middle => -width / 2.0,
            Anchor::End => -width,
        };
        let mut uses = String::new();
        for glyph in &glyphs {
            self.missing.extend(glyph.missing);
            let key = (glyph.face, glyph.glyph);
            let outline = self
                .glyphs
                .entry(key)
                .or_insert_with(|| glyph.face.outline(glyph.glyph));
            if outline.is_empty() {
                continue;
            }
            let along = offset + glyph.x * style.size;
            let up = glyph.rise * style.size;
            let scale = glyph.size * style.size / UNITS_PER_EM;
            let place = if style.upward {
                format!(
                    "matrix(0 {0} {1} 0 {2} {3})",
                    scale_number(-scale),
                    scale_number(scale),
                    number(x - up),
                    number(y - along)
                )
            } else {
                format!(
                    "matrix({0} 0 0 {0} {1} {2})",
                    scale_number(scale),
                    number(x + along),
                    number(y - up)
                )
            };
            let _ = write!(
                uses,
                "<use xlink:href=\"#{}\" transform=\"{place}\"/>",
                glyph_id(key)
            );
        }
        if !uses.is_empty() {
            if let Some(halo) = style.halo {
                // A stroke of 0.24 em around glyphs of UNITS_PER_EM: an outline of 0.12 em outside of each.
                let _ = writeln!(
                    self.body,
                    "<g fill=\"{halo}\" stroke=\"{halo}\" stroke-width=\"{}\" stroke-linejoin=\"round\">{uses}</g>",
                    number(0.24 * UNITS_PER_EM)
                );
            }
            let label = escape(&text.to_plain());
            let _ = writeln!(
                self.body,
                "<g fill=\"{}\" aria-label=\"{label}\">{uses}</g>",
                style.color
            );
        }
        width
    }

    /// The drawing as a file of its own.
    pub fn to_xml(&self) -> String {
        format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n{}",
            self.to_element("")
        )
    }

    /// The drawing as an element of an HTML page; the prefix keeps its ids apart from those of other drawings.
    pub fn to_element(&self, prefix: &str) -> String {
        let mut glyphs = String::new();
        for (key, outline) in &self.glyphs {
            if !outline.is_empty() {
                let _ = writeln!(glyphs, "<path id=\"{}\" d=\"{outline}\"/>", glyph_id(*key));
            }
        }
        let description = if self.description.is_empty() {
            String::new()
        } else {
            format!("<desc>{}</desc>\n", escape(&self.description))
        };
        let text = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" xmlns:xlink=\"http://www.w3.org/1999/xlink\" role=\"img\" \
             width=\"{}mm\" height=\"{}mm\" viewBox=\"0 0 {} {}\">\n<title>{}</title>\n{description}<defs>\n{glyphs}{}</defs>\n{}</svg>\n",
            number(self.width / POINTS_PER_MM),
            number(self.height / POINTS_PER_MM),
            number(self.width),
            number(self.height),
            escape(&self.title),
            self.definitions,
            self.body
        );
        text.replace(PREFIX, prefix)
    }
}

fn glyph_id((face, glyph): (Face, u16)) -> String {
    let letter = match face {
        Face::Regular => 'r',
        Face::Italic => 'i',
        Face::Bold => 'b',
    };
    format!("{PREFIX}{letter}{glyph}")
}

/// Scales of glyphs need more decimals than lengths.
fn scale_number(value: f64) -> String {
    let text = format!("{value:.5}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// Base64 with padding, RFC 4648.
pub fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let mut group = [0_u8; 3];
        group[..chunk.len()].copy_from_slice(chunk);
        let bits = u32::from_be_bytes([0, group[0], group[1], group[2]]);
        for position in 0..4 {
            if position <= chunk.len() {
                let index = (bits >> (18 - 6 * position)) & 63;
                text.push(char::from(ALPHABET[index as usize]));
            } else {
                text.push('=');
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short_and_never_broken() {
        assert_eq!(number(1.0), "1");
        assert_eq!(number(-0.001), "0");
        assert_eq!(number(12.345), "12.35");
        assert_eq!(number(f64::NAN), "0");
    }

    #[test]
    fn strings_are_escaped() {
        assert_eq!(
            escape("<a b=\"c\">&'\u{1}"),
            "&lt;a b=&quot;c&quot;&gt;&amp;&#39; "
        );
    }

    #[test]
    fn base64_of_the_standard() {
        // Test vectors of RFC 4648, section 10.
        assert_eq!(base64(b""), "");
        assert_eq!(base64(b"f"), "Zg==");
        assert_eq!(base64(b"fo"), "Zm8=");
        assert_eq!(base64(b"foobar"), "Zm9vYmFy");
    }

    #[test]
    fn ids_of_two_drawings_on_a_page_differ() {
        let mut svg = Svg::new(10.0, 10.0, "test");
        svg.text(0.0, 5.0, &Text::new("a"), TextStyle::new(5.0, Rgb::BLACK));
        assert!(svg.to_element("one-").contains("id=\"one-r"));
        assert!(svg.to_element("two-").contains("href=\"#two-r"));
        assert!(!svg.to_xml().contains(PREFIX));
    }
}
