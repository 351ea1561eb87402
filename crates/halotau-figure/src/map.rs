//! How is a map of the scan drawn? Cells in the aspect of the scan, a color bar, a scale bar, the probe to scale,
//! positions without a number hatched in gray, and lower limits dotted.

use halotau::ndarray::{Array2, ArrayView2};

use crate::color::{ColorMap, Rgb};
use crate::error::Result;
use crate::font::{CAP_HEIGHT, Text};
use crate::raster::palette_png;
use crate::scale::{Axis, nice_length, short_number};
use crate::svg::{Anchor, Paint, Path, Rect, Svg, TextStyle};
use crate::theme::{BAD, BAD_HATCH, FRAME, HAIRLINE, INK, LABEL_TEXT, SLOW, SMALL, TICK_TEXT};

/// What a map looks like beside its numbers.
#[derive(Debug, Clone, Copy)]
pub struct MapStyle {
    /// Colors.
    pub colors: ColorMap,
    /// Which number has which color.
    pub range: Axis,
}

/// The image of numbers, gray where one is NaN.
///
/// # Errors
///
/// [`Error::Png`](crate::Error::Png).
pub fn image(
    svg: &mut Svg,
    frame: Rect,
    values: ArrayView2<'_, f64>,
    style: MapStyle,
) -> Result<()> {
    // Entry 0 stands for "no number", which leaves 255 colors.
    let indices = values.map(|value| {
        let fraction = style.range.fraction(*value);
        if value.is_nan() || fraction.is_nan() {
            // The logarithm of a negative number: below the range, not absent.
            u8::from(!value.is_nan())
        } else {
            1 + (fraction * 255.0).clamp(0.0, 254.0) as u8
        }
    });
    let colors = style.colors.colors();
    let mut palette = vec![BAD];
    palette.extend((0..255).map(|level| colors[level * 255 / 254]));
    svg.image(frame, &palette_png(&indices, &palette)?);
    Ok(())
}

/// An image of a few classes, each with its color.
///
/// # Errors
///
/// [`Error::Png`](crate::Error::Png).
pub fn class_image(svg: &mut Svg, frame: Rect, classes: &Array2<u8>, colors: &[Rgb]) -> Result<()> {
    svg.image(frame, &palette_png(classes, colors)?);
    Ok(())
}

/// Cells of a frame that are marked, as runs along rows.
fn marked(frame: Rect, mask: &Array2<bool>) -> Path {
    let (n_rows, n_cols) = mask.dim();
    let (width, height) = (
        frame.width / n_cols.max(1) as f64,
        frame.height / n_rows.max(1) as f64,
    );
    let mut path = Path::default();
    for (row, line) in mask.rows().into_iter().enumerate() {
        let mut col = 0;
        while col < n_cols {
            let start = col;
            while col < n_cols && line[col] {
                col += 1;
            }
            if col > start {
                path.rectangle(Rect::new(
                    frame.x + start as f64 * width,
                    frame.y + row as f64 * height,
                    (col - start) as f64 * width,
                    height,
                ));
            }
            col += 1;
        }
    }
    path
}

/// Hatches the cells that carry no number.
pub fn hatch(svg: &mut Svg, frame: Rect, mask: &Array2<bool>) {
    svg.hatch(&marked(frame, mask), BAD_HATCH, 2.4);
}

/// Dots on cells whose number is only a lower limit. Where cells are smaller than 1.7 points, dots are thinned to
/// that distance; each still stands on a cell that is one.
pub fn dot(
    svg: &mut Svg,
    frame: Rect,
    mask: &Array2<bool>,
    values: ArrayView2<'_, f64>,
    style: MapStyle,
) {
    let (n_rows, n_cols) = mask.dim();
    let (width, height) = (
        frame.width / n_cols.max(1) as f64,
        frame.height / n_rows.max(1) as f64,
    );
    let every_row = (1.7 / height).ceil().max(1.0) as usize;
    let every_col = (1.7 / width).ceil().max(1.0) as usize;
    let pitch = (width * every_col as f64).min(height * every_row as f64);
    let radius = (0.16 * pitch).clamp(0.28, 0.8);
    let (mut dark, mut light) = (Path::default(), Path::default());
    for ((row, col), marked) in mask.indexed_iter() {
        if !marked || row % every_row != 0 || col % every_col != 0 {
            continue;
        }
        let color = style.colors.at(style.range.fraction(values[[row, col]]));
        let path = if color.luma() > 0.45 {
            &mut dark
        } else {
            &mut light
        };
        let (x, y) = (
            frame.x + (col as f64 + 0.5) * width,
            frame.y + (row as f64 + 0.5) * height,
        );
        path.rectangle(Rect::new(
            x - radius,
            y - radius,
            2.0 * radius,
            2.0 * radius,
        ));
    }
    svg.path(&dark, Paint::fill(Rgb::BLACK));
    svg.path(&light, Paint::fill(Rgb::WHITE));
}

/// A bar of 1, 2 or 5 times a power of ten, in nanometers or, where the step is not known, in positions.
pub fn scale_bar(svg: &mut Svg, frame: Rect, n_cols: usize, step_nm: f64) {
    let known = step_nm.is_finite() && step_nm > 0.0;
    let step = if known { step_nm } else { 1.0 };
    let whole = step * n_cols.max(1) as f64;
    let length = nice_length(0.4 * whole);
    if !known && (length < 1.0 || frame.width < 40.0) {
        return;
    }
    let width = frame.width * length / whole;
    let unit = match (known, length == 1.0) {
        (true, _) => "nm",
        (false, true) => "position",
        (false, false) => "positions",
    };
    let label = Text::new(&format!("{} {unit}", short_number(length)));
    let (x, y) = (frame.x + 4.0, frame.bottom() - 5.6);
    let text_width = label.width_em() * SMALL;
    // On a map that is too small for it the bar stands below.
    if frame.height < 22.0 || frame.width < text_width + 8.0 {
        let y = frame.bottom() + 4.0;
        svg.rect(Rect::new(frame.x, y, width, 1.6), Paint::fill(INK));
        let base = y + 2.4 + CAP_HEIGHT * SMALL / 2.0;
        svg.text(frame.x + width + 4.0, base, &label, TICK_TEXT);
        return;
    }
    svg.rect(
        Rect::new(x, y, width, 2.0),
        Paint::fill(Rgb::WHITE).outlined(Rgb::BLACK, 0.5),
    );
    let half = text_width / 2.0;
    let center = (x + width / 2.0).max(x + half);
    svg.text(
        center,
        y - 2.6,
        &label,
        TextStyle::new(SMALL, Rgb::WHITE)
            .anchored(Anchor::Middle)
            .halo(Rgb::BLACK),
    );
}

/// The probe as a circle of its full width at half maximum, in the lower right corner.
pub fn probe(svg: &mut Svg, frame: Rect, n_cols: usize, step_nm: f64, fwhm_nm: f64) {
    let radius = frame.width * fwhm_nm / (2.0 * step_nm * n_cols.max(1) as f64);
    if !radius.is_finite() || radius < 0.4 || radius > frame.height.min(frame.width) / 3.0 {
        return;
    }
    let (x, y) = (frame.right() - radius - 4.0, frame.bottom() - radius - 4.0);
    svg.circle(x, y, radius, Paint::line(Rgb::BLACK, 1.8));
    svg.circle(x, y, radius, Paint::line(Rgb::WHITE, 0.9));
}

/// Room that a vertical color bar needs to the right of the images, points.
pub const COLOR_BAR_ROOM: f64 = 47.0;

/// A vertical color bar with ticks and label; arrowheads where numbers lie beyond its ends, triangles at marks.
///
/// # Errors
///
/// [`Error::Png`](crate::Error::Png).
pub fn color_bar(
    svg: &mut Svg,
    bar: Rect,
    style: MapStyle,
    label: &Text,
    beyond: (bool, bool),
    marks: &[f64],
) -> Result<()> {
    let gradient = Array2::from_shape_fn((255, 1), |(row, _)| 255 - row as u8);
    let colors = style.colors.colors();
    let mut palette = vec![BAD];
    palette.extend((0..255).map(|level| colors[level * 255 / 254]));
    svg.image(bar, &palette_png(&gradient, &palette)?);
    let (left, middle, right) = (bar.x, bar.center().0, bar.right());
    let point = 0.75 * bar.width;
    let mut outline = Path::default();
    outline.move_to(left, bar.y);
    if beyond.1 {
        let mut head = Path::default();
        head.move_to(left, bar.y);
        head.line_to(middle, bar.y - point);
        head.line_to(right, bar.y);
        head.close();
        svg.path(&head, Paint::fill(colors[255]));
        outline.line_to(middle, bar.y - point);
    }
    outline.line_to(right, bar.y);
    outline.line_to(right, bar.bottom());
    if beyond.0 {
        let mut head = Path::default();
        head.move_to(left, bar.bottom());
        head.line_to(middle, bar.bottom() + point);
        head.line_to(right, bar.bottom());
        head.close();
        svg.path(&head, Paint::fill(colors[0]));
        outline.line_to(middle, bar.bottom() + point);
    }
    outline.line_to(left, bar.bottom());
    outline.close();
    svg.path(&outline, FRAME);
    let y_of = |value: f64| bar.bottom() - bar.height * style.range.fraction(value);
    let ticks = style
        .range
        .ticks((bar.height / 18.0).clamp(2.0, 7.0) as usize);
    let mut path = Path::default();
    for (value, _) in &ticks.major {
        path.move_to(right, y_of(*value));
        path.line_to(right + 2.6, y_of(*value));
    }
    for value in &ticks.minor {
        path.move_to(right, y_of(*value));
        path.line_to(right + 1.4, y_of(*value));
    }
    svg.path(&path, FRAME);
    let mut widest = 0.0_f64;
    for (value, tick) in &ticks.major {
        let base = y_of(*value) + CAP_HEIGHT * SMALL / 2.0;
        let width = svg.text(right + 4.4, base, &Text::new(tick), TICK_TEXT);
        widest = widest.max(width);
    }
    for mark in marks.iter().filter(|mark| style.range.holds(**mark)) {
        let y = y_of(*mark);
        let mut head = Path::default();
        head.move_to(left - 4.2, y - 2.2);
        head.line_to(left - 0.6, y);
        head.line_to(left - 4.2, y + 2.2);
        head.close();
        svg.path(&head, Paint::fill(SLOW));
        svg.line((left, y), (right, y), Paint::line(Rgb::WHITE, 1.4));
        svg.line((left, y), (right, y), Paint::line(SLOW, 0.8));
    }
    let x = right + 4.4 + widest + 3.0 + CAP_HEIGHT * LABEL_TEXT.size;
    svg.text(x, bar.center().1, label, LABEL_TEXT.upward());
    Ok(())
}

/// Size of the image of a scan in a box: as large as fits, in the aspect of the scan.
///
/// A scan of one row or of one column is widened to 10 points, so that it can be seen.
pub fn fit(n_rows: usize, n_cols: usize, width: f64, height: f64) -> (f64, f64) {
    let (rows, cols) = (n_rows.max(1) as f64, n_cols.max(1) as f64);
    let cell = (width / cols).min(height / rows);
    let least = 10.0_f64.min(width).min(height);
    ((cell * cols).max(least), (cell * rows).max(least))
}

/// A thin frame around an image.
pub fn frame(svg: &mut Svg, frame: Rect) {
    svg.rect(frame, Paint::line(INK, HAIRLINE));
}
