//! Is what was measured of the microscope right? Pictures by which a person can tell.

use halotau::axes::QRange;
use halotau::calibrate::Calibration;
use halotau::calibrate::measure::Measured;
use halotau::ndarray::Array2;

use super::Figure;
use super::pattern::{FAST_ON_IMAGE, Page, SLOW_ON_IMAGE, cross, q_label, reciprocal_bar, ring};
use crate::axes::{LegendEntry, Marker, Plot, legend, panel_heading};
use crate::color::{ColorMap, Rgb};
use crate::error::{Error, Result};
use crate::font::Text;
use crate::map::{self, MapStyle};
use crate::scale::{Axis, Scale, nice_length, short_number};
use crate::svg::{Paint, Path, Rect, Svg, TextStyle};
use crate::theme::{FAST, INK, LABEL_TEXT, MUTED, SLOW, SMALL, TICK_TEXT, TWO_COLUMNS};

/// The ring of the halo as it was fitted.
const HALO_ON_IMAGE: Rgb = Rgb::hex(0xff_ff_ff);
/// Bad pixels.
const BAD_ON_IMAGE: Rgb = Rgb::hex(0x37_e0_4b);

/// What the pictures of a calibration show.
#[derive(Debug, Clone, Copy)]
pub struct CalibrationView<'a> {
    /// Mean of the sampled frames, native pixels.
    pub mean: &'a Array2<f64>,
    /// What was measured.
    pub measured: &'a Measured,
    /// What is used.
    pub calibration: &'a Calibration,
    /// Rows and columns of the scan.
    pub scan: (usize, usize),
    /// The ring of the dynamics.
    pub dynamics: QRange,
    /// The band of the structure.
    pub structure: QRange,
}

/// The pictures of a calibration: pattern, descan, profile.
///
/// # Errors
///
/// Those of the drawings.
pub fn of_calibration(view: &CalibrationView<'_>) -> Result<Vec<Figure>> {
    Ok(vec![
        Figure::new(
            "calibration_pattern",
            "Center, ellipse, rings and mask",
            "Left: mean of the sampled frames on a logarithmic scale. Cross: center; white: halo as fitted, with the ellipse; \
             amber: ring of the dynamics; dashed cyan: band of the structure; hatched: masked pixels; green: bad pixels. \
             Right: the same divided by its radial profile; all that is lit is 1 but for speckle, and the mask must cover \
             what is dark."
                .to_owned(),
            pattern(view)?,
        ),
        Figure::new(
            "calibration_descan",
            "Center over scan and time",
            "Left: displacement of the center over the scan, as each part of the scan says by itself (dots at the tip of the \
             arrow) and as it is used (line). Crossed: parts that were left out. Right: displacement of the center during the record \
             with standard errors."
                .to_owned(),
            descan(view)?,
        ),
        Figure::new(
            "calibration_profile",
            "Radial profile",
            "Mean intensity against spatial frequency q = 1/d, without 2π, after center, descan and ellipse, with the ring of \
             the dynamics, the band of the structure and the halo as found; below: the share of each ring that is on the \
             detector and not masked."
                .to_owned(),
            profile(view)?,
        ),
    ])
}

/// A pattern that could not be calibrated: its mean and its mask, with the reason.
///
/// # Errors
///
/// [`Error::Nothing`] for a pattern without pixels, [`Error::Png`].
pub fn uncalibrated(mean: &Array2<f64>, usable: &Array2<bool>, reason: &str) -> Result<Figure> {
    let (n_rows, n_cols) = checked(mean)?;
    let mut svg = Svg::new(TWO_COLUMNS, 216.0, "A pattern that could not be calibrated");
    let (width, height) = map::fit(n_rows, n_cols, 176.0, 176.0);
    let frame = Rect::new(4.0, 16.0, width, height);
    let heading = Text::new("mean of the sampled frames");
    panel_heading(&mut svg, frame.x, 10.5, 0, heading, TWO_COLUMNS - 8.0);
    image(&mut svg, frame, mean, usable, ColorMap::Inferno, Scale::Log)?;
    map::hatch(&mut svg, frame, &usable.mapv(|usable| !usable));
    map::frame(&mut svg, frame);
    svg.text(4.0, frame.bottom() + 14.0, &Text::new(reason), TICK_TEXT);
    svg.describe("Mean pattern with its mask.");
    Ok(Figure::new(
        "calibration_failed",
        "Not calibrated",
        format!("Mean of the sampled frames; hatched: masked pixels. {reason}."),
        svg,
    ))
}

fn checked(mean: &Array2<f64>) -> Result<(usize, usize)> {
    if mean.is_empty() {
        return Err(Error::Nothing {
            figure: "the mean pattern",
            needed: "a pattern with pixels",
        });
    }
    Ok(mean.dim())
}

/// Draws values of valid pixels with their color bar; linear values from 0 to twice the profile.
fn image(
    svg: &mut Svg,
    frame: Rect,
    values: &Array2<f64>,
    valid: &Array2<bool>,
    colors: ColorMap,
    scale: Scale,
) -> Result<()> {
    let range = match scale {
        Scale::Log => {
            let lit = values.iter().zip(valid).filter(|(_, valid)| **valid);
            Axis::percentiles(scale, lit.map(|(value, _)| *value).collect(), 0.003)
        }
        Scale::Linear => Axis::linear(0.0, 2.0),
    };
    let style = MapStyle { colors, range };
    map::image(svg, frame, values.view(), style)?;
    let beyond = (
        values.iter().any(|value| *value < range.min),
        values.iter().any(|value| *value > range.max),
    );
    let bar = Rect::new(frame.right() + 6.0, frame.y + 8.0, 6.0, frame.height - 16.0);
    let label = match scale {
        Scale::Log => Text::new("Counts a pixel and frame"),
        Scale::Linear => Text::new("Share of the profile"),
    };
    map::color_bar(svg, bar, style, &label, beyond, &[])
}

/// Mean pattern with everything on it, and the pattern divided by its profile.
fn pattern(view: &CalibrationView<'_>) -> Result<Svg> {
    let (n_rows, n_cols) = checked(view.mean)?;
    let calibration = view.calibration;
    let mut svg = Svg::new(
        TWO_COLUMNS,
        212.0,
        "Mean pattern with center, rings and mask",
    );
    let (width, height) = map::fit(n_rows, n_cols, 190.0, 190.0);
    let masked = calibration.pixel_valid.mapv(|valid| !valid);
    let frame = Rect::new(4.0, 16.0, width, height);
    panel_heading(&mut svg, frame.x, 10.5, 0, Text::new("mean pattern"), 190.0);
    let valid = &calibration.pixel_valid;
    image(
        &mut svg,
        frame,
        view.mean,
        valid,
        ColorMap::Inferno,
        Scale::Log,
    )?;
    map::hatch(&mut svg, frame, &masked);
    let page = Page {
        frame,
        n_rows,
        n_cols,
    };
    let halo_per_nm = view.measured.halo_radius_px.value * calibration.q_step_per_nm;
    svg.clipped(frame, |svg| {
        let rings = [
            (view.dynamics.min_per_nm, SLOW_ON_IMAGE, ""),
            (view.dynamics.max_per_nm, SLOW_ON_IMAGE, ""),
            (view.structure.min_per_nm, FAST_ON_IMAGE, "3 3"),
            (view.structure.max_per_nm, FAST_ON_IMAGE, "3 3"),
            (halo_per_nm, HALO_ON_IMAGE, "1 2"),
        ];
        for (q, color, dash) in rings {
            let path = ring(&page, calibration, q);
            svg.path(&path, Paint::line(Rgb::BLACK, 1.7).dashed(dash));
            svg.path(&path, Paint::line(color, 1.0).dashed(dash));
        }
        cross(svg, &page, calibration);
        mark_bad(svg, &page, view.measured);
    });
    map::frame(&mut svg, frame);
    reciprocal_bar(&mut svg, frame, n_cols, calibration.q_step_per_nm);
    let flat = Array2::from_shape_fn(view.mean.dim(), |(row, col)| {
        let (q, _) = calibration.polar(
            row as f64 - calibration.center_row,
            col as f64 - calibration.center_col,
        );
        let inner = view
            .measured
            .profile
            .radius
            .iter()
            .zip(&view.measured.profile.mean);
        let nearest = inner
            .filter(|(_, mean)| mean.is_finite())
            .map(|(_, mean)| *mean)
            .next();
        let at = view.measured.profile.at(q / calibration.q_step_per_nm);
        let expected = at.map(|(value, _)| value).or(nearest);
        view.mean[[row, col]] / expected.unwrap_or(f64::NAN)
    });
    let right = Rect::new(frame.x + TWO_COLUMNS / 2.0 + 4.0, 16.0, width, height);
    let heading = Text::new("divided by its profile");
    panel_heading(&mut svg, right.x, 10.5, 1, heading, 190.0);
    image(
        &mut svg,
        right,
        &flat,
        valid,
        ColorMap::Viridis,
        Scale::Linear,
    )?;
    outline(&mut svg, right, &masked);
    map::frame(&mut svg, right);
    svg.describe("Mean pattern with center, halo, rings and masked pixels, and the pattern divided by its radial profile.");
    Ok(svg)
}

/// Small squares around bad pixels.
fn mark_bad(svg: &mut Svg, page: &Page, measured: &Measured) {
    let mut path = Path::default();
    for [row, col] in measured.bad_pixels.all() {
        let (x, y) = page.place(row as f64, col as f64);
        path.rectangle(Rect::new(x - 2.2, y - 2.2, 4.4, 4.4));
    }
    svg.path(&path, Paint::line(Rgb::BLACK, 1.6));
    svg.path(&path, Paint::line(BAD_ON_IMAGE, 0.9));
}

/// A line around masked pixels.
fn outline(svg: &mut Svg, frame: Rect, mask: &Array2<bool>) {
    let (n_rows, n_cols) = mask.dim();
    let x = |col: usize| frame.x + col as f64 / n_cols as f64 * frame.width;
    let y = |row: usize| frame.y + row as f64 / n_rows as f64 * frame.height;
    let mut path = Path::default();
    let at = |row: usize, col: usize| mask.get((row, col)).copied().unwrap_or(false);
    for row in 0..=n_rows {
        for col in 0..=n_cols {
            let above = row > 0 && at(row - 1, col);
            let before = col > 0 && at(row, col - 1);
            if col < n_cols && above != at(row, col) {
                path.move_to(x(col), y(row));
                path.line_to(x(col + 1), y(row));
            }
            if row < n_rows && before != at(row, col) {
                path.move_to(x(col), y(row));
                path.line_to(x(col), y(row + 1));
            }
        }
    }
    svg.path(&path, Paint::line(Rgb::BLACK, 1.6));
    svg.path(&path, Paint::line(Rgb::WHITE, 0.8));
}

/// Displacement of the center over the scan and over time.
fn descan(view: &CalibrationView<'_>) -> Result<Svg> {
    let mut svg = Svg::new(TWO_COLUMNS, 200.0, "Center over scan and time");
    let (n_rows, n_cols) = view.scan;
    let (width, height) = map::fit(n_rows, n_cols, 200.0, 150.0);
    // A scan of one row still needs room for its arrows.
    let frame = Rect::new(34.0, 18.0, width.max(60.0), height.max(60.0));
    let heading = Text::new("center over the scan");
    panel_heading(&mut svg, frame.x, 10.5, 0, heading, 230.0);
    let plot = Plot::new(
        frame,
        Axis::linear(-0.5, n_cols as f64 - 0.5),
        Axis::linear(-0.5, n_rows as f64 - 0.5),
    );
    let scan_plot = ScanPlot::new(view, &plot);
    svg.clipped(frame, |svg| scan_plot.draw(svg));
    plot.x_axis(&mut svg, &Text::new("Scan column"));
    map::frame(&mut svg, frame);
    let label = Text::new(&format!(
        "Scan rows, 0 above to {}",
        n_rows.saturating_sub(1)
    ));
    svg.text(frame.x - 8.0, frame.center().1, &label, LABEL_TEXT.upward());
    scan_plot.legend(&mut svg);
    periods(&mut svg, view);
    svg.describe(
        "Displacement of the pattern's center over the scan as arrows, and over time as a curve.",
    );
    Ok(svg)
}

/// Arrows over the scan.
struct ScanPlot<'a> {
    view: &'a CalibrationView<'a>,
    plot: Plot,
    /// Points of the page a native pixel.
    zoom: f64,
    length_px: f64,
}

impl<'a> ScanPlot<'a> {
    fn new(view: &'a CalibrationView<'a>, plot: &Plot) -> Self {
        let measured = view.measured;
        let counted = measured.blocks.iter().filter(|block| block.weight > 0.0);
        let longest = counted
            .map(|block| {
                let (row, col) = (
                    block.center_row - measured.center[0].value,
                    block.center_col - measured.center[1].value,
                );
                row.hypot(col)
            })
            .fold(0.05, f64::max);
        let length_px = nice_length(longest);
        let cell = plot.frame.width.min(plot.frame.height) / 6.0;
        Self {
            view,
            plot: *plot,
            zoom: cell / longest,
            length_px,
        }
    }

    fn draw(&self, svg: &mut Svg) {
        let measured = self.view.measured;
        let (mid_row, mid_col) = (
            (self.view.scan.0 as f64 - 1.0) / 2.0,
            (self.view.scan.1 as f64 - 1.0) / 2.0,
        );
        let (mut used, mut arrows) = (Path::default(), Path::default());
        let (mut tips, mut strays) = (Path::default(), Path::default());
        for block in &measured.blocks {
            // Rows count downward, as in every map.
            let row = self.view.scan.0 as f64 - 1.0 - block.row;
            let (x, y) = (self.plot.px(block.col), self.plot.py(row));
            let (down, across) = self
                .view
                .calibration
                .descan
                .at(block.row - mid_row, block.col - mid_col);
            used.move_to(x, y);
            used.line_to(x + self.zoom * across, y + self.zoom * down);
            if block.weight == 0.0 {
                Marker::Square.draw(&mut strays, x, y, 2.4);
                continue;
            }
            let tip = (
                x + self.zoom * (block.center_col - measured.center[1].value),
                y + self.zoom * (block.center_row - measured.center[0].value),
            );
            arrows.move_to(x, y);
            arrows.line_to(tip.0, tip.1);
            Marker::Circle.draw(&mut tips, tip.0, tip.1, 1.5);
        }
        svg.path(&used, Paint::line(SLOW.tint(0.55), 3.0).round());
        svg.path(&arrows, Paint::line(INK, 0.7));
        svg.path(&tips, Paint::fill(INK));
        svg.path(&strays, Paint::line(MUTED, 0.9));
    }

    fn legend(&self, svg: &mut Svg) {
        let x = self.plot.frame.right() + 10.0;
        let base = self.plot.frame.y + 10.0;
        let length = self.zoom * self.length_px;
        svg.line((x, base), (x + length, base), Paint::line(INK, 1.4));
        let label = Text::new(&format!("{} px", short_number(self.length_px)));
        svg.text(x, base + 9.0, &label, TICK_TEXT);
        let entry = |text: &str, marker, paint| LegendEntry {
            text: Text::new(text),
            marker,
            paint,
        };
        let entries = [
            entry("measured", None, Paint::line(INK, 0.8)),
            entry("used", None, Paint::line(SLOW.tint(0.55), 3.0)),
            entry("left out", Some(Marker::Square), Paint::line(MUTED, 0.9)),
        ];
        legend(svg, x, base + 16.0, &entries);
    }
}

fn periods(svg: &mut Svg, view: &CalibrationView<'_>) {
    let frame = Rect::new(TWO_COLUMNS - 186.0, 18.0, 178.0, 150.0);
    panel_heading(
        svg,
        frame.x,
        10.5,
        1,
        Text::new("center over the record"),
        178.0,
    );
    let periods = &view.measured.periods;
    let ends = periods.iter().flat_map(|period| {
        [period.row, period.col].into_iter().flat_map(|shift| {
            let error = if shift.error.is_finite() {
                shift.error
            } else {
                0.0
            };
            [shift.value - error, shift.value + error]
        })
    });
    let y = Axis::around(Scale::Linear, ends.chain([-0.05, 0.05]), 0.1);
    let x = Axis::around(
        Scale::Linear,
        periods.iter().map(|period| period.time),
        0.06,
    );
    let plot = Plot::new(frame, x, y);
    plot.grid(svg);
    plot.clipped(svg, |svg| {
        for (color, marker, of) in [
            (
                SLOW,
                Marker::Circle,
                (|p| p.row) as fn(&halotau::calibrate::measure::PeriodCenter) -> _,
            ),
            (FAST, Marker::Square, |p| p.col),
        ] {
            let points = || periods.iter().map(move |period| (period.time, of(period)));
            plot.line(
                svg,
                points().map(
                    |(time, shift): (f64, halotau::calibrate::measure::WithError)| {
                        (time, shift.value)
                    },
                ),
                Paint::line(color, 0.8),
            );
            plot.error_bars(
                svg,
                points().map(|(time, shift)| {
                    (time, shift.value - shift.error, shift.value + shift.error)
                }),
                1.6,
                Paint::line(color, 0.8),
            );
            plot.points(
                svg,
                points().map(|(time, shift)| (time, shift.value)),
                marker,
                2.0,
                Paint::fill(color),
            );
        }
    });
    plot.axes(
        svg,
        &Text::new("Scan"),
        &Text::new("Displacement (native pixels)"),
    );
    let entry = |text: &str, marker, color| LegendEntry {
        text: Text::new(text),
        marker: Some(marker),
        paint: Paint::fill(color),
    };
    let entries = [
        entry("rows", Marker::Circle, SLOW),
        entry("columns", Marker::Square, FAST),
    ];
    legend(svg, frame.x + 5.0, frame.y + 3.0, &entries);
}

/// The radial profile with the rings, and the share of each ring that is used.
fn profile(view: &CalibrationView<'_>) -> Result<Svg> {
    let mut svg = Svg::new(TWO_COLUMNS, 232.0, "Radial profile");
    let q_step = view.calibration.q_step_per_nm;
    let profile = &view.measured.profile;
    let points: Vec<(f64, f64)> = profile
        .radius
        .iter()
        .zip(&profile.mean)
        .map(|(radius, mean)| (radius * q_step, *mean))
        .collect();
    let largest = points.iter().map(|(q, _)| *q).fold(0.0, f64::max);
    let x = Axis::linear(0.0, largest);
    let upper = Rect::new(46.0, 18.0, TWO_COLUMNS - 54.0, 120.0);
    let y = Axis::around(Scale::Log, points.iter().map(|(_, mean)| *mean), 0.06);
    let plot = Plot::new(upper, x, y);
    bands(&mut svg, &plot, view);
    plot.grid(&mut svg);
    let halo = view.measured.halo_radius_px.value * q_step;
    plot.clipped(&mut svg, |svg| {
        let line = |q: f64| [(q, y.min), (q, y.max)];
        plot.line(svg, line(halo), Paint::line(MUTED, 0.9).dashed("2 2"));
        plot.line(svg, points.iter().copied(), Paint::line(INK, 1.1).round());
    });
    plot.y_axis(&mut svg, &Text::new("Counts a pixel and frame"));
    svg.rect(upper, Paint::line(INK, 0.6));
    let text = Text::new(&format!("halo at {halo:.3} nm")).superscript("−1");
    let style = TextStyle::new(SMALL, MUTED);
    svg.text(plot.px(halo) + 4.0, upper.bottom() - 5.0, &text, style);
    panel_heading(&mut svg, upper.x, 10.5, 0, Text::new("profile"), 120.0);
    key(&mut svg, upper, view);
    let lower = Rect::new(46.0, 152.0, TWO_COLUMNS - 54.0, 48.0);
    let plot = Plot::new(lower, x, Axis::linear(0.0, 1.05));
    bands(&mut svg, &plot, view);
    plot.grid(&mut svg);
    plot.clipped(&mut svg, |svg| {
        let seen = seen(view, largest);
        plot.line(svg, seen, Paint::line(INK, 1.1).round());
    });
    plot.axes(&mut svg, &q_label(), &Text::new("Used share"));
    svg.describe("Radial profile of the mean pattern with the analyzed rings, and the used share of each ring.");
    Ok(svg)
}

fn bands(svg: &mut Svg, plot: &Plot, view: &CalibrationView<'_>) {
    plot.clipped(svg, |svg| {
        for (range, color) in [
            (view.structure, FAST.tint(0.16)),
            (view.dynamics, SLOW.tint(0.30)),
        ] {
            let (left, right) = (plot.px(range.min_per_nm), plot.px(range.max_per_nm));
            let area = Rect::new(
                left,
                plot.frame.y,
                (right - left).max(0.0),
                plot.frame.height,
            );
            // Both are seen where they coincide.
            svg.rect(area, Paint::fill(color).opacity(0.8));
        }
    });
}

fn key(svg: &mut Svg, frame: Rect, view: &CalibrationView<'_>) {
    let base = frame.y - 5.5;
    let mut right = frame.right();
    for (name, range, color) in [
        ("structure", view.structure, FAST.tint(0.25)),
        ("dynamics", view.dynamics, SLOW.tint(0.4)),
    ] {
        let text = Text::new(&format!(
            "{name} {}–{} nm",
            short_number(range.min_per_nm),
            short_number(range.max_per_nm)
        ))
        .superscript("−1");
        let width = text.width_em() * SMALL;
        svg.text(right - width, base, &text, TICK_TEXT);
        let patch = Rect::new(right - width - 11.0, base - 5.0, 8.0, 5.4);
        svg.rect(patch, Paint::fill(color));
        right -= width + 19.0;
    }
}

/// Share of the ring around each spatial frequency that is on the detector and valid.
fn seen(view: &CalibrationView<'_>, largest_per_nm: f64) -> Vec<(f64, f64)> {
    let calibration = view.calibration;
    let n_bins = 60;
    let width = largest_per_nm / f64::from(n_bins);
    (0..n_bins)
        .map(|bin| {
            let range = QRange::new(f64::from(bin) * width, f64::from(bin + 1) * width);
            let middle = (f64::from(bin) + 0.5) * width;
            (middle, calibration.usable_share(range))
        })
        .collect()
}
