//! What did the microscope do? Drift, beam current, thickness and the edge.

use halotau::analysis::Analysis;
use halotau::drift::{Course, Drift};
use halotau::ndarray::Array2;

use crate::axes::{LegendEntry, Marker, Plot, legend, panel_heading};
use crate::color::ColorMap;
use crate::error::Result;
use crate::font::Text;
use crate::map::{self, MapStyle};
use crate::scale::{Axis, Scale};
use crate::svg::{Paint, Path, Rect, Svg};
use crate::theme::{FAST, INK, MUTED, SLOW, TWO_COLUMNS};

/// Drift and beam current against time, thickness proxy and distance to the edge as maps.
///
/// # Errors
///
/// [`Error::Png`](crate::Error::Png).
pub fn conditions(analysis: &Analysis) -> Result<Svg> {
    let (n_rows, n_cols) = analysis.quality.dim();
    let (width, height) = map::fit(n_rows, n_cols, 150.0, 130.0);
    let curves = 86.0;
    let mut svg = Svg::new(
        TWO_COLUMNS,
        16.0 + curves + 44.0 + height.max(60.0) + 12.0,
        "Conditions",
    );
    let half = TWO_COLUMNS / 2.0;
    let left = Rect::new(40.0, 16.0, half - 52.0, curves);
    let right = Rect::new(half + 40.0, 16.0, half - 48.0, curves);
    drift_panel(&mut svg, analysis, left);
    current_panel(&mut svg, analysis, right);
    let upper = 16.0 + curves + 44.0;
    let region = &analysis.conditions.region;
    let first = Rect::new(4.0, upper, width, height);
    map_panel(
        &mut svg,
        first,
        2,
        "thickness proxy",
        &region.thickness_proxy,
        &region.masked,
        &Text::new("Ring / median"),
    )?;
    if let Some(distance) = &region.edge_distance {
        let second = Rect::new(half, upper, width, height);
        let unit = if analysis.step_nm.is_finite() {
            "Distance (nm)"
        } else {
            "Distance (steps)"
        };
        map_panel(
            &mut svg,
            second,
            3,
            "distance to vacuum",
            distance,
            &region.masked,
            &Text::new(unit),
        )?;
    }
    svg.describe(
        "Drift and beam current against time; thickness proxy and distance to vacuum as maps, positions that are not looked at hatched.",
    );
    Ok(svg)
}

fn drift_panel(svg: &mut Svg, analysis: &Analysis, frame: Rect) {
    let times = analysis.time.times_s();
    panel_heading(
        svg,
        frame.x,
        frame.y - 5.5,
        0,
        Text::new("drift"),
        frame.width,
    );
    let x = Axis::around(Scale::Linear, times.iter().copied(), 0.01);
    let drift = analysis.conditions.drift.as_ref();
    let courses = |drift: &Drift| [drift.row.steps.clone(), drift.col.steps.clone()].concat();
    let values = drift.map(courses).unwrap_or_default();
    let y = Axis::around(Scale::Linear, values.into_iter().chain([-0.5, 0.5]), 0.08);
    let plot = Plot::new(frame, x, y);
    plot.grid(svg);
    if let Some(drift) = drift {
        plot.clipped(svg, |svg| {
            for (course, color) in [(&drift.row, SLOW), (&drift.col, FAST)] {
                plot.band(svg, &band(times, course), color, 0.25);
                let line = times.iter().copied().zip(course.steps.iter().copied());
                plot.line(svg, line, Paint::line(color, 1.0).round());
            }
        });
    }
    plot.axes(svg, &Text::new("Time (s)"), &Text::new("Scan steps"));
    let entry = |words: &str, color| LegendEntry {
        text: Text::new(words),
        marker: None,
        paint: Paint::line(color, 1.2),
    };
    if drift.is_some() {
        legend(
            svg,
            frame.x + 5.0,
            frame.y + 5.0,
            &[entry("rows", SLOW), entry("columns", FAST)],
        );
    }
}

/// Standard errors about a course that is known.
fn band(times: &[f64], course: &Course) -> Vec<(f64, f64, f64)> {
    let steps = course.steps.iter().zip(&course.error);
    times
        .iter()
        .zip(steps)
        .filter(|(_, (_, error))| error.is_finite())
        .map(|(&time, (step, error))| (time, step - error, step + error))
        .collect()
}

fn current_panel(svg: &mut Svg, analysis: &Analysis, frame: Rect) {
    let times = analysis.time.times_s();
    let conditions = &analysis.conditions;
    let relative = &conditions.current.relative;
    panel_heading(
        svg,
        frame.x,
        frame.y - 5.5,
        1,
        Text::new("beam current, crosses left out"),
        frame.width,
    );
    let x = Axis::around(Scale::Linear, times.iter().copied(), 0.01);
    let finite = relative.iter().copied().filter(|value| value.is_finite());
    let y = Axis::around(Scale::Linear, finite.chain([0.99, 1.01]), 0.08);
    let plot = Plot::new(frame, x, y);
    plot.grid(svg);
    plot.clipped(svg, |svg| {
        let line = times.iter().copied().zip(relative.iter().copied());
        plot.line(svg, line.clone(), Paint::line(INK, 1.0).round());
        plot.points(svg, line, Marker::Circle, 0.8, Paint::fill(INK));
        let mut crosses = Path::default();
        for out in &conditions.left_out {
            let (Some(&time), Some(&value)) = (times.get(out.time), relative.get(out.time)) else {
                continue;
            };
            // A lost scan has no current: it is marked at the usual one.
            let value = if value.is_finite() { value } else { 1.0 };
            let (at_x, at_y) = (plot.px(time), plot.py(value));
            let arm = if out.n_frames.is_none() { 3.0 } else { 1.6 };
            crosses.move_to(at_x - arm, at_y - arm);
            crosses.line_to(at_x + arm, at_y + arm);
            crosses.move_to(at_x - arm, at_y + arm);
            crosses.line_to(at_x + arm, at_y - arm);
        }
        svg.path(&crosses, Paint::line(MUTED, 1.0));
    });
    plot.axes(svg, &Text::new("Time (s)"), &Text::new("Current / median"));
}

fn map_panel(
    svg: &mut Svg,
    frame: Rect,
    index: usize,
    heading: &str,
    values: &Array2<f64>,
    masked: &Array2<bool>,
    label: &Text,
) -> Result<()> {
    panel_heading(
        svg,
        frame.x,
        frame.y - 5.5,
        index,
        Text::new(heading),
        frame.width.max(120.0),
    );
    let all: Vec<f64> = values.iter().copied().filter(|v| v.is_finite()).collect();
    let style = MapStyle {
        colors: ColorMap::Viridis,
        range: Axis::percentiles(Scale::Linear, all.clone(), 0.01),
    };
    map::image(svg, frame, values.view(), style)?;
    map::hatch(svg, frame, masked);
    map::frame(svg, frame);
    let beyond = (
        all.iter().any(|value| *value < style.range.min),
        all.iter().any(|value| *value > style.range.max),
    );
    let bar = Rect::new(frame.right() + 8.0, frame.y, 7.0, frame.height.max(40.0));
    map::color_bar(svg, bar, style, label, beyond, &[])
}
