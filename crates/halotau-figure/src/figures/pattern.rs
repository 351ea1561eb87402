//! Which pixels were used? The mean pattern with center, rings and mask, and its radial mean.

use halotau::calibrate::Calibration;
use halotau::ndarray::Array2;
use halotau::recipe::Recipe;
use halotau::reduce::Reduction;

use crate::axes::{Plot, panel_heading};
use crate::color::{ColorMap, Rgb};
use crate::error::{Error, Result};
use crate::font::Text;
use crate::map::{self, MapStyle};
use crate::scale::{Axis, Scale, nice_length, short_number};
use crate::svg::{Anchor, Paint, Path, Rect, Svg, TextStyle};
use crate::theme::{FAST, SLOW, SMALL, TICK_TEXT, TWO_COLUMNS};

/// Rings on the image: brighter than in print on white.
pub(super) const SLOW_ON_IMAGE: Rgb = Rgb::hex(0xff_b4_3c);
pub(super) const FAST_ON_IMAGE: Rgb = Rgb::hex(0x4f_d0_e0);

/// The mean pattern on a logarithmic scale with center, rings and mask, and its mean over azimuth against q.
///
/// # Errors
///
/// [`Error::Nothing`] for a pattern without pixels, [`Error::Png`].
pub fn mean_pattern(reduction: &Reduction, recipe: &Recipe) -> Result<Svg> {
    let (n_rows, n_cols) = reduction.mean_pattern.dim();
    if n_rows == 0 || n_cols == 0 {
        return Err(Error::Nothing {
            figure: "the mean pattern",
            needed: "a pattern with pixels",
        });
    }
    let mut svg = Svg::new(TWO_COLUMNS, 196.0, "Mean diffraction pattern");
    let (width, height) = map::fit(n_rows, n_cols, 172.0, 172.0);
    let frame = Rect::new(4.0, 16.0, width, height);
    draw_image(&mut svg, reduction, recipe, frame)?;
    let left = 4.0 + 172.0 + map::COLOR_BAR_ROOM + 40.0;
    let plot_frame = Rect::new(left, 16.0, TWO_COLUMNS - left - 8.0, 144.0);
    draw_profile(&mut svg, reduction, recipe, plot_frame);
    svg.describe(&format!(
        "Mean diffraction pattern with the ring of the dynamics from {} to {} per nanometer and the band of the structure from {} to {}.",
        recipe.dynamics.q_range_per_nm.min_per_nm,
        recipe.dynamics.q_range_per_nm.max_per_nm,
        recipe.structure.q_range_per_nm.min_per_nm,
        recipe.structure.q_range_per_nm.max_per_nm
    ));
    Ok(svg)
}

fn draw_image(svg: &mut Svg, reduction: &Reduction, recipe: &Recipe, frame: Rect) -> Result<()> {
    let (n_rows, n_cols) = reduction.mean_pattern.dim();
    let valid = &reduction.calibration.pixel_valid;
    let masked = Array2::from_shape_fn((n_rows, n_cols), |place| {
        valid.get(place).is_some_and(|valid| !valid) || !reduction.mean_pattern[place].is_finite()
    });
    let mut values = reduction.mean_pattern.clone();
    values.zip_mut_with(&masked, |value, masked| {
        if *masked {
            *value = f64::NAN;
        }
    });
    let all: Vec<f64> = values.iter().copied().collect();
    let style = MapStyle {
        colors: ColorMap::Inferno,
        range: Axis::percentiles(Scale::Log, all.clone(), 0.005),
    };
    panel_heading(
        svg,
        frame.x,
        10.5,
        0,
        Text::new("mean pattern"),
        frame.width,
    );
    map::image(svg, frame, values.view(), style)?;
    map::hatch(svg, frame, &masked);
    let calibration = &reduction.calibration;
    let page = Page {
        frame,
        n_rows,
        n_cols,
    };
    svg.clipped(frame, |svg| {
        let rings = [
            (recipe.dynamics.q_range_per_nm, SLOW_ON_IMAGE, ""),
            // Dashed and on top: both are seen where they coincide.
            (recipe.structure.q_range_per_nm, FAST_ON_IMAGE, "3 3"),
        ];
        for (range, color, dash) in rings {
            for q in [range.min_per_nm, range.max_per_nm] {
                let path = ring(&page, calibration, q);
                svg.path(&path, Paint::line(Rgb::BLACK, 1.7).dashed(dash));
                svg.path(&path, Paint::line(color, 1.0).dashed(dash));
            }
        }
        cross(svg, &page, calibration);
    });
    map::frame(svg, frame);
    reciprocal_bar(svg, frame, n_cols, calibration.q_step_per_nm);
    let beyond = (
        all.iter().any(|value| *value < style.range.min),
        all.iter().any(|value| *value > style.range.max),
    );
    let bar = Rect::new(frame.right() + 8.0, frame.y + 8.0, 7.0, frame.height - 16.0);
    map::color_bar(
        svg,
        bar,
        style,
        &Text::new("Mean counts a pixel and frame"),
        beyond,
        &[],
    )
}

/// A cross at the center.
pub(super) fn cross(svg: &mut Svg, page: &Page, calibration: &Calibration) {
    let (x, y) = page.place(calibration.center_row, calibration.center_col);
    let mut cross = Path::default();
    cross.move_to(x - 4.0, y);
    cross.line_to(x + 4.0, y);
    cross.move_to(x, y - 4.0);
    cross.line_to(x, y + 4.0);
    svg.path(&cross, Paint::line(Rgb::BLACK, 2.2));
    svg.path(&cross, Paint::line(Rgb::WHITE, 1.0));
}

/// Native detector pixels on the page.
pub(super) struct Page {
    pub(super) frame: Rect,
    pub(super) n_rows: usize,
    pub(super) n_cols: usize,
}

impl Page {
    /// Coordinates count from 0 at the center of the first pixel.
    pub(super) fn place(&self, row: f64, col: f64) -> (f64, f64) {
        (
            self.frame.x + (col + 0.5) / self.n_cols as f64 * self.frame.width,
            self.frame.y + (row + 0.5) / self.n_rows as f64 * self.frame.height,
        )
    }
}

/// Where a spatial frequency lies on the detector, with the ellipse of the calibration.
pub(super) fn ring(page: &Page, calibration: &Calibration, q_per_nm: f64) -> Path {
    let mut path = Path::default();
    let radius = q_per_nm / calibration.q_step_per_nm;
    if !radius.is_finite() {
        return path;
    }
    let ellipse = calibration.ellipse;
    let (sin, cos) = ellipse.angle_rad.sin_cos();
    for step in 0..180 {
        let azimuth = f64::from(step) * std::f64::consts::TAU / 180.0;
        let along = radius * (1.0 + ellipse.distortion) * azimuth.cos();
        let across = radius * (1.0 - ellipse.distortion) * azimuth.sin();
        let (x, y) = page.place(
            calibration.center_row + sin * along + cos * across,
            calibration.center_col + cos * along - sin * across,
        );
        if step == 0 {
            path.move_to(x, y);
        } else {
            path.line_to(x, y);
        }
    }
    path.close();
    path
}

/// The label of axes over the radius of a pattern.
pub(super) fn q_label() -> Text {
    Text::new("Spatial frequency ")
        .italic("q")
        .plain(" = 1/")
        .italic("d")
        .plain(" (nm")
        .superscript("−1")
        .plain(")")
}

pub(super) fn reciprocal_bar(svg: &mut Svg, frame: Rect, n_cols: usize, q_step_per_nm: f64) {
    let whole = q_step_per_nm * n_cols as f64;
    if !(whole.is_finite() && whole > 0.0) || frame.height < 40.0 {
        return;
    }
    let length = nice_length(0.3 * whole);
    let width = frame.width * length / whole;
    let (x, y) = (frame.x + 5.0, frame.bottom() - 6.5);
    svg.rect(
        Rect::new(x, y, width, 2.0),
        Paint::fill(Rgb::WHITE).outlined(Rgb::BLACK, 0.5),
    );
    let label = Text::new(&format!("{} nm", short_number(length))).superscript("−1");
    let half = label.width_em() * SMALL / 2.0;
    svg.text(
        x + (width / 2.0).max(half),
        y - 2.8,
        &label,
        TextStyle::new(SMALL, Rgb::WHITE)
            .anchored(Anchor::Middle)
            .halo(Rgb::BLACK),
    );
}

fn draw_profile(svg: &mut Svg, reduction: &Reduction, recipe: &Recipe, frame: Rect) {
    let n_frames = reduction.time.len() as f64 * (reduction.n_rows() * reduction.n_cols()) as f64;
    let (n_rows, n_cols, n_bins) = reduction.q_sums.dim();
    let profile: Vec<(f64, f64)> = reduction
        .q_bins
        .iter()
        .zip(&reduction.q_pixels)
        .enumerate()
        .take(n_bins)
        .map(|(bin, (range, pixels))| {
            let mut sum = 0.0;
            for row in 0..n_rows {
                for col in 0..n_cols {
                    let counts = reduction.q_sums[[row, col, bin]];
                    if counts.is_finite() {
                        sum += counts;
                    }
                }
            }
            let mean = if *pixels > 0 {
                sum / (*pixels as f64 * n_frames)
            } else {
                f64::NAN
            };
            ((range.min_per_nm + range.max_per_nm) / 2.0, mean)
        })
        .collect();
    let x = Axis::linear(
        0.0,
        profile
            .iter()
            .filter(|(_, mean)| mean.is_finite())
            .map(|(q, _)| *q)
            .fold(f64::NAN, f64::max),
    );
    let y = Axis::around(Scale::Log, profile.iter().map(|(_, mean)| *mean), 0.06);
    let plot = Plot::new(frame, x, y);
    panel_heading(svg, frame.x, 10.5, 1, Text::new("profile"), frame.width);
    plot.clipped(svg, |svg| {
        for (range, color) in [
            (recipe.structure.q_range_per_nm, FAST.tint(0.16)),
            (recipe.dynamics.q_range_per_nm, SLOW.tint(0.30)),
        ] {
            let (left, right) = (plot.px(range.min_per_nm), plot.px(range.max_per_nm));
            svg.rect(
                Rect::new(left, frame.y, (right - left).max(0.0), frame.height),
                Paint::fill(color),
            );
        }
    });
    plot.grid(svg);
    plot.clipped(svg, |svg| {
        plot.line(
            svg,
            profile.iter().copied(),
            Paint::line(crate::theme::INK, 1.1).round(),
        );
    });
    plot.axes(svg, &q_label(), &Text::new("Mean counts a pixel and frame"));
    let entry = |name: &str, range: halotau::axes::QRange, color: Rgb| {
        let text = Text::new(&format!(
            "{name} {}–{} nm",
            short_number(range.min_per_nm),
            short_number(range.max_per_nm)
        ));
        (text.superscript("−1"), color)
    };
    let (dynamics, structure) = (
        recipe.dynamics.q_range_per_nm,
        recipe.structure.q_range_per_nm,
    );
    let entries = if dynamics == structure {
        vec![entry("dynamics and structure", dynamics, SLOW.tint(0.4))]
    } else {
        vec![
            entry("dynamics", dynamics, SLOW.tint(0.4)),
            entry("structure", structure, FAST.tint(0.25)),
        ]
    };
    // On the line of the heading, where no curve can run through it.
    let base = frame.y - 5.5;
    let mut right = frame.right();
    for (text, color) in entries.iter().rev() {
        let width = text.width_em() * SMALL;
        svg.text(right - width, base, text, TICK_TEXT);
        let patch = Rect::new(right - width - 11.0, base - 5.0, 8.0, 5.4);
        svg.rect(patch, Paint::fill(*color));
        right -= width + 19.0;
    }
}
