//! What does a slow place look like, and a fast one? Curves, fits and the patterns behind them.

use halotau::analysis::Analysis;
use halotau::ndarray::{Array2, s};
use halotau::series::Position;

use crate::axes::{Marker, Plot, panel_heading};
use crate::color::{ColorMap, Rgb};
use crate::error::{Error, Result};
use crate::font::Text;
use crate::map::{self, MapStyle};
use crate::scale::{Axis, Scale, short_number, significant, with_interval};
use crate::svg::{Anchor, Paint, Rect, Svg};
use crate::theme::{FAST, MUTED, ONE_COLUMN, SLOW, SMALL, TICK_TEXT, TWO_COLUMNS};

/// Patterns of the example positions at a few times.
#[derive(Debug, Clone, PartialEq)]
pub struct ExamplePatterns {
    /// A slow and a fast position.
    pub positions: [Position; 2],
    /// Times of the patterns.
    pub times_s: Vec<f64>,
    /// All patterns of the first position, then those of the second; NaN where nothing is known.
    pub patterns: Vec<Array2<f64>>,
}

/// g(t) with its standard error and fit for a slow and a fast position, and their patterns.
///
/// Without patterns only the curves are drawn.
///
/// # Errors
///
/// [`Error::Length`] where the number of patterns is not twice that of the times, [`Error::Png`].
pub fn example_curves(analysis: &Analysis, examples: &ExamplePatterns) -> Result<Svg> {
    let n_times = examples.times_s.len();
    if examples.patterns.len() != 2 * n_times {
        return Err(Error::Length {
            what: "the list of example patterns",
            expected: 2 * n_times,
            found: examples.patterns.len(),
        });
    }
    let shown = n_times.min(5);
    let (width, curve_width) = if shown == 0 {
        (ONE_COLUMN, ONE_COLUMN - 46.0)
    } else {
        (TWO_COLUMNS, 178.0)
    };
    let mut svg = Svg::new(width, 176.0, "Correlation of a slow and a fast position");
    let frame = Rect::new(38.0, 27.0, curve_width, 120.0);
    draw_curves(&mut svg, analysis, &examples.positions, frame);
    if shown > 0 {
        let area = Rect::new(
            frame.right() + 20.0,
            16.0,
            width - frame.right() - 20.0,
            160.0,
        );
        draw_patterns(&mut svg, examples, shown, area)?;
    }
    svg.describe(&format!(
        "Correlation g against lag for {} and {}, with fits.",
        position_text(examples.positions[0]),
        position_text(examples.positions[1])
    ));
    Ok(svg)
}

fn position_text(position: Position) -> String {
    format!("({}, {})", position.row, position.col)
}

fn draw_curves(svg: &mut Svg, analysis: &Analysis, positions: &[Position; 2], frame: Rect) {
    let curves = &analysis.curves;
    let (n_rows, n_cols, _) = curves.g.dim();
    let inside = |position: &Position| position.row < n_rows && position.col < n_cols;
    let x = Axis::around(Scale::Log, curves.lag_s.iter().copied(), 0.03);
    let values = positions.iter().filter(|p| inside(p)).flat_map(|p| {
        let g = curves.g.slice(s![p.row, p.col, ..]);
        // The longest lags rest on few pairs of scans and must not stretch the axis.
        let kept = (g.len() * 9 / 10).max(1).min(g.len());
        g.slice(s![..kept]).to_vec()
    });
    let y = Axis::around(Scale::Linear, values.chain([1.0]), 0.06);
    let plot = Plot::new(frame, x, y);
    panel_heading(
        svg,
        frame.x,
        frame.y - 15.0,
        0,
        Text::default(),
        frame.width,
    );
    plot.grid(svg);
    plot.clipped(svg, |svg| {
        plot.line(
            svg,
            [(x.min, 1.0), (x.max, 1.0)],
            Paint::line(MUTED, 0.7).dashed("2 2"),
        );
    });
    let look = [
        ("slow", SLOW, Marker::Circle),
        ("fast", FAST, Marker::Diamond),
    ];
    // Above the frame, where no curve can run through it.
    let mut legend_base = frame.y - 5.0 - SMALL - 3.0;
    for (position, (name, color, marker)) in positions.iter().zip(look) {
        let text = legend_text(analysis, *position, name, inside(position));
        let mut path = crate::svg::Path::default();
        marker.draw(&mut path, frame.x + 16.0, legend_base - 2.3, 2.0);
        svg.path(&path, Paint::fill(Rgb::WHITE).outlined(color, 0.8));
        let style = crate::svg::TextStyle::new(SMALL, color);
        let fitted = text.fitted((frame.width - 16.0) / SMALL);
        svg.text(frame.x + 22.0, legend_base, &fitted, style);
        legend_base += SMALL + 3.0;
        if inside(position) {
            plot.clipped(svg, |svg| {
                one_curve(svg, &plot, analysis, *position, color, marker)
            });
        }
    }
    plot.axes(
        svg,
        &Text::new("Lag ").italic("t").plain(" (s)"),
        &Text::default()
            .italic("g")
            .plain("(")
            .italic("t")
            .plain(")"),
    );
}

fn one_curve(
    svg: &mut Svg,
    plot: &Plot,
    analysis: &Analysis,
    position: Position,
    color: Rgb,
    marker: Marker,
) {
    let curves = &analysis.curves;
    let place = [position.row, position.col];
    let g = curves.g.slice(s![position.row, position.col, ..]);
    let error = curves.g_error.slice(s![position.row, position.col, ..]);
    let band: Vec<_> = curves
        .lag_s
        .iter()
        .zip(g.iter().zip(error.iter()))
        .map(|(lag, (g, error))| (*lag, g - error, g + error))
        .collect();
    plot.band(svg, &band, color, 0.16);
    // Points that would cover each other on the logarithmic axis are thinned, never moved.
    let mut last = f64::NEG_INFINITY;
    let points: Vec<_> = curves
        .lag_s
        .iter()
        .copied()
        .zip(g.iter().copied())
        .filter(|(lag, _)| {
            let apart = plot.px(*lag) - last > 2.4;
            if apart {
                last = plot.px(*lag);
            }
            apart
        })
        .collect();
    plot.points(
        svg,
        points,
        marker,
        1.5,
        Paint::fill(Rgb::WHITE).outlined(color, 0.7),
    );
    let fit = &analysis.relaxation;
    let k = analysis.recipe.relaxation.exponent_factor.value();
    let (tau, contrast) = (fit.tau_s[place], fit.contrast[place]);
    let (stretch, baseline) = (fit.stretch[place], fit.baseline[place]);
    let model = |lag: f64| baseline + contrast * (-k * (lag / tau).powf(stretch)).exp();
    let fitted_to = analysis.recipe.relaxation.lag_fraction * analysis.time.record_s();
    let abscissas = |from: f64, to: f64| {
        (0..=80).map(move |step| from * (to / from).powf(f64::from(step) / 80.0))
    };
    let (from, to) = (plot.x.min, fitted_to.clamp(plot.x.min, plot.x.max));
    plot.line(
        svg,
        abscissas(from, to).map(|lag| (lag, model(lag))),
        Paint::line(color, 1.3),
    );
    if to < plot.x.max {
        // Beyond the fitted lags the line is an extrapolation.
        plot.line(
            svg,
            abscissas(to, plot.x.max).map(|lag| (lag, model(lag))),
            Paint::line(color, 1.0).dashed("3 2"),
        );
    }
}

fn legend_text(analysis: &Analysis, position: Position, name: &str, inside: bool) -> Text {
    let text = Text::default().bold(&format!("{name} {}  ", position_text(position)));
    if !inside {
        return text.plain("outside of the scan");
    }
    let place = [position.row, position.col];
    let fit = &analysis.relaxation;
    let text = text.italic("τ").plain(&format!(
        " = {} s",
        with_interval(
            fit.tau_s[place],
            fit.tau_lower_s[place],
            fit.tau_upper_s[place]
        )
    ));
    let fluctuation = analysis.fluctuation.values[place];
    if fluctuation.is_finite() {
        text.plain(",  ")
            .italic("V")
            .plain(&format!(" = {}", significant(fluctuation, 3)))
    } else {
        text
    }
}

fn draw_patterns(
    svg: &mut Svg,
    examples: &ExamplePatterns,
    shown: usize,
    area: Rect,
) -> Result<()> {
    let n_times = examples.times_s.len();
    // Evenly chosen, with the first and the last.
    let chosen: Vec<usize> = (0..shown)
        .map(|n| n * (n_times - 1) / (shown - 1).max(1))
        .collect();
    let gap = 4.0;
    let room = Rect::new(area.x, area.y, area.width - 16.0, area.height);
    let size = ((room.width - 4.0 - gap * (shown - 1) as f64) / shown as f64).min(62.0);
    let colors = ColorMap::Inferno;
    let all: Vec<f64> = examples.patterns.iter().flatten().copied().collect();
    let lowest = Axis::percentiles(Scale::Linear, all.clone(), 0.01);
    let range = Axis::percentiles(Scale::Linear, all, 0.002);
    let style = MapStyle {
        colors,
        range: Axis::linear(lowest.min.min(range.max), range.max),
    };
    for (row, (name, color)) in [("slow", SLOW), ("fast", FAST)].into_iter().enumerate() {
        let top = area.y + row as f64 * (size + 27.0);
        let heading = Text::default().bold(name).plain(&format!(
            " position {}",
            position_text(examples.positions[row])
        ));
        panel_heading(svg, room.x, top - 5.5, row + 1, heading, room.width);
        for (col, &time) in chosen.iter().enumerate() {
            let pattern = &examples.patterns[row * n_times + time];
            let cell = Rect::new(room.x + col as f64 * (size + gap), top, size, size);
            let (width, height) = map::fit(pattern.nrows(), pattern.ncols(), size, size);
            let frame = Rect::new(cell.x, cell.y, width, height);
            map::image(svg, frame, pattern.view(), style)?;
            svg.rect(frame, Paint::line(color, 0.9));
            if row == 0 {
                // Times stand between the two rows and hold for both.
                let text = format!("{} s", short_number(examples.times_s[time].round()));
                svg.text(
                    frame.center().0,
                    top + size + SMALL + 1.5,
                    &Text::new(&text),
                    TICK_TEXT.anchored(Anchor::Middle),
                );
            }
        }
    }
    let bar = Rect::new(
        room.x,
        area.y + 2.0 * size + 27.0 + 7.0,
        (shown as f64 * (size + gap) - gap).min(room.width),
        4.0,
    );
    horizontal_bar(svg, bar, style)?;
    Ok(())
}

/// A thin bar under the patterns with its ends in numbers.
fn horizontal_bar(svg: &mut Svg, bar: Rect, style: MapStyle) -> Result<()> {
    let label = Text::new("counts");
    let low = Text::new(&significant(style.range.min, 2));
    let high = Text::new(&significant(style.range.max, 2));
    let (low_width, high_width) = (low.width_em() * SMALL, high.width_em() * SMALL);
    let label_width = label.width_em() * SMALL;
    let width = (bar.width - low_width - high_width - label_width - 12.0).clamp(20.0, 120.0);
    let left = bar.x + label_width + 4.0 + low_width + 3.0;
    let base = bar.y + bar.height / 2.0 + 2.3;
    svg.text(bar.x, base, &label, TICK_TEXT);
    svg.text(bar.x + label_width + 4.0, base, &low, TICK_TEXT);
    let gradient = Array2::from_shape_fn((1, 128), |(_, col)| {
        style.range.min + (style.range.max - style.range.min) * col as f64 / 127.0
    });
    let frame = Rect::new(left, bar.y, width, bar.height);
    map::image(svg, frame, gradient.view(), style)?;
    map::frame(svg, frame);
    svg.text(frame.right() + 3.0, base, &high, TICK_TEXT);
    Ok(())
}

/// Two-time matrices of the region mean, the slow and the fast position on one scale.
///
/// The diagonal holds shot noise and is left blank.
///
/// # Errors
///
/// [`Error::Nothing`] where no matrix was kept, [`Error::Png`].
pub fn two_time(analysis: &Analysis) -> Result<Svg> {
    let kept: Vec<_> = analysis.two_time.iter().take(3).collect();
    if kept.is_empty() {
        return Err(Error::Nothing {
            figure: "the two-time matrix",
            needed: "a kept matrix",
        });
    }
    let blank = |values: &Array2<f64>| {
        let mut values = values.clone();
        values.diag_mut().fill(f64::NAN);
        values
    };
    let matrices: Vec<Array2<f64>> = kept
        .iter()
        .map(|two_time| blank(&two_time.values))
        .collect();
    let all: Vec<f64> = matrices.iter().flatten().copied().collect();
    let style = MapStyle {
        colors: ColorMap::Cividis,
        range: Axis::percentiles(Scale::Linear, all.clone(), 0.01),
    };
    let n = matrices.len();
    let width = if n == 1 { ONE_COLUMN } else { TWO_COLUMNS };
    let (left, gap) = (38.0, 12.0);
    let size = ((width - left - map::COLOR_BAR_ROOM - gap * n as f64) / n as f64).min(170.0);
    let mut svg = Svg::new(width, size + 46.0, "Two-time correlation");
    let times = analysis.time.times_s();
    let step = analysis.time.step_s();
    let first = times.first().copied().unwrap_or(0.0);
    let last = times.last().copied().unwrap_or(0.0);
    let axis = Axis::linear(first - step / 2.0, last + step / 2.0);
    for (index, (two_time, values)) in kept.iter().zip(&matrices).enumerate() {
        let frame = Rect::new(left + index as f64 * (size + gap), 16.0, size, size);
        let heading = match two_time.position {
            None => Text::new("mean of the region"),
            Some(position) => {
                let name = match analysis.examples {
                    Some([slow, _]) if slow == position => "slow ",
                    Some([_, fast]) if fast == position => "fast ",
                    _ => "position ",
                };
                Text::new(&format!("{name}{}", position_text(position)))
            }
        };
        panel_heading(&mut svg, frame.x, 10.5, index, heading, size);
        // Time runs upward, the rows of an image downward.
        map::image(&mut svg, frame, values.slice(s![..;-1, ..]), style)?;
        let plot = Plot::new(frame, axis, axis);
        let t = |n: &str| Text::default().italic("t").subscript(n).plain(" (s)");
        plot.x_axis(&mut svg, &t("1"));
        if index == 0 {
            plot.y_axis(&mut svg, &t("2"));
        }
        map::frame(&mut svg, frame);
    }
    let beyond = (
        all.iter().any(|value| *value < style.range.min),
        all.iter().any(|value| *value > style.range.max),
    );
    let bar = Rect::new(left + n as f64 * (size + gap) + 2.0, 24.0, 7.0, size - 16.0);
    let label = Text::default()
        .italic("G")
        .plain("(")
        .italic("t")
        .subscript("1")
        .plain(", ")
        .italic("t")
        .subscript("2")
        .plain(")");
    map::color_bar(&mut svg, bar, style, &label, beyond, &[])?;
    svg.describe("Two-time correlation G; both axes are the times of the two scans.");
    Ok(svg)
}
