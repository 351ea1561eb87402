//! Is what was measured of the microscope right? Pictures by which a person can tell.

use halotau::axes::QRange;
use halotau::calibrate::measure::Measured;
use halotau::calibrate::profile::RadialProfile;
use halotau::calibrate::{Calibration, Ellipse};
use halotau::ndarray::Array2;

use super::Figure;
use super::pattern::{FAST_ON_IMAGE, Page, SLOW_ON_IMAGE, cross, q_label, reciprocal_bar, ring};
use crate::axes::{Plot, panel_heading};
use crate::color::{ColorMap, Rgb};
use crate::error::{Error, Result};
use crate::font::Text;
use crate::map::{self, MapStyle};
use crate::scale::{Axis, Scale, short_number};
use crate::svg::{Paint, Path, Rect, Svg, TextStyle};
use crate::theme::{FAST, INK, MUTED, SLOW, SMALL, TICK_TEXT, TWO_COLUMNS};

mod descan;

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
            descan::descan(view)?,
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
    let words = Text::new(reason).fitted((TWO_COLUMNS - 8.0) / SMALL);
    svg.text(4.0, frame.bottom() + 14.0, &words, TICK_TEXT);
    profile_about_the_middle(&mut svg, mean, usable);
    svg.describe("Mean pattern with its mask, and its profile about the middle of the detector.");
    Ok(Figure::new(
        "calibration_failed",
        "Not calibrated",
        format!(
            "Left: mean of the sampled frames; hatched: masked pixels. Right: its radial profile about the middle of the detector; a glass \
             shows a halo there. {reason}."
        ),
        svg,
    ))
}

/// What a person would look at for a halo: the mean over rings about the middle of the detector.
fn profile_about_the_middle(svg: &mut Svg, mean: &Array2<f64>, usable: &Array2<bool>) {
    let frame = Rect::new(
        TWO_COLUMNS / 2.0 + 40.0,
        16.0,
        TWO_COLUMNS / 2.0 - 48.0,
        140.0,
    );
    let heading = Text::new("profile about the middle of the detector");
    panel_heading(svg, frame.x, 10.5, 1, heading, frame.width);
    let mut lit = mean.clone();
    // Where nothing is left, what lies under the mask says whether it should be.
    let any = usable.iter().any(|&usable| usable);
    lit.zip_mut_with(usable, |value, usable| {
        if any && !usable {
            *value = f64::NAN;
        }
    });
    let (n_rows, n_cols) = mean.dim();
    let middle = ((n_rows as f64 - 1.0) / 2.0, (n_cols as f64 - 1.0) / 2.0);
    let profile = RadialProfile::of(&lit, middle, &Ellipse::default());
    let points = || {
        let points = profile
            .radius
            .iter()
            .copied()
            .zip(profile.mean.iter().copied());
        points.filter(|(_, mean)| mean.is_finite())
    };
    let x = Axis::linear(0.0, middle.0.hypot(middle.1));
    let y = Axis::around(
        Scale::Linear,
        points().map(|(_, mean)| mean).chain([0.0]),
        0.06,
    );
    let plot = Plot::new(frame, x, y);
    plot.grid(svg);
    plot.clipped(svg, |svg| {
        plot.line(svg, points(), Paint::line(INK, 1.1).round())
    });
    plot.axes(
        svg,
        &Text::new("Distance (native pixels)"),
        &Text::new("Counts a pixel and frame"),
    );
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
        224.0,
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
    let profile = &view.measured.profile;
    let innermost = profile
        .radius
        .iter()
        .copied()
        .zip(profile.mean.iter().copied())
        .find(|(_, mean)| mean.is_finite());
    let flat = Array2::from_shape_fn(view.mean.dim(), |(row, col)| {
        let (q, _) = calibration.polar(
            row as f64 - calibration.center_row,
            col as f64 - calibration.center_col,
        );
        let radius = q / calibration.q_step_per_nm;
        let expected = match (profile.at(radius), innermost) {
            (Some((value, _)), _) => value,
            // Behind a stop nobody sees the profile; it is held there, so that the shade is seen.
            (None, Some((first, value))) if radius < first => value,
            _ => f64::NAN,
        };
        view.mean[[row, col]] / expected
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
    let words = Text::new(&found(view)).fitted((TWO_COLUMNS - 8.0) / SMALL);
    svg.text(frame.x, frame.bottom() + 13.0, &words, TICK_TEXT);
    svg.describe("Mean pattern with center, halo, rings and masked pixels, and the pattern divided by its radial profile.");
    Ok(svg)
}

/// What the picture shows, in numbers.
fn found(view: &CalibrationView<'_>) -> String {
    let measured = view.measured;
    let [row, col] = measured.center;
    let error = |error: f64| {
        if error > 0.0 {
            format!(" ± {error:.2}")
        } else {
            String::new()
        }
    };
    let mut words = vec![format!(
        "center ({:.2}{}, {:.2}{})",
        row.value,
        error(row.error),
        col.value,
        error(col.error)
    )];
    let percent = 100.0 * measured.ellipse.distortion;
    words.push(format!(
        "ellipse {percent:.2}{} % at {:.0}°",
        error(100.0 * measured.distortion_error),
        measured.ellipse.angle_rad.to_degrees()
    ));
    if let Some(stop) = &measured.beam_stop {
        let n = stop.shaded.iter().filter(|&&shaded| shaded).count();
        words.push(format!("{n} pixels shaded"));
    }
    words.push(format!("{} bad pixels", measured.bad_pixels.len()));
    words.join("   ·   ")
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
