//! What did the microscope do? Drift, beam current, thickness and the edge.

use halotau::analysis::Analysis;
use halotau::conditions::Conditions;
use halotau::drift::{Course, Drift, DriftOrigin};
use halotau::ndarray::Array2;

use crate::axes::{LegendEntry, Marker, Plot, legend, panel_heading};
use crate::caption::capitalized;
use crate::color::{ColorMap, Rgb};
use crate::error::Result;
use crate::figures::Figure;
use crate::font::Text;
use crate::map::{self, MapStyle};
use crate::scale::{Axis, Scale};
use crate::svg::{Paint, Path, Rect, Svg};
use crate::theme::{FAST, GRID, INK, LABEL_TEXT, SLOW, TICK_TEXT, TWO_COLUMNS};

/// What the figure of the conditions shows.
#[derive(Debug, Clone, Copy)]
pub struct ConditionsView<'a> {
    /// The conditions.
    pub conditions: &'a Conditions,
    /// Start of each scan, seconds, `[time]`.
    pub times_s: &'a [f64],
    /// From position to position; NaN where not known.
    pub step_nm: f64,
}

impl<'a> ConditionsView<'a> {
    /// Of one temperature.
    pub fn of(analysis: &'a Analysis) -> Self {
        Self {
            conditions: &analysis.conditions,
            times_s: analysis.time.times_s(),
            step_nm: analysis.step_nm,
        }
    }
}

/// Height of the panels with curves.
const CURVES: f64 = 86.0;

/// Drift and beam current against time, thickness proxy and distance to the edge as maps; without an edge the likeness of the speckle
/// of consecutive scans, where it was tracked.
///
/// # Errors
///
/// [`Error::Png`](crate::Error::Png).
pub fn conditions(view: &ConditionsView<'_>) -> Result<Svg> {
    let region = &view.conditions.region;
    let (n_rows, n_cols) = region.masked.dim();
    let (width, height) = map::fit(n_rows, n_cols, 150.0, 130.0);
    let mut svg = Svg::new(
        TWO_COLUMNS,
        16.0 + CURVES + 44.0 + (height + 12.0).max(CURVES + 30.0),
        "Conditions",
    );
    let half = TWO_COLUMNS / 2.0;
    let left = |upper: f64| Rect::new(40.0, upper, half - 52.0, CURVES);
    let right = |upper: f64| Rect::new(half + 40.0, upper, half - 48.0, CURVES);
    drift_panel(
        &mut svg,
        view.conditions.drift.as_ref(),
        view.times_s,
        left(16.0),
    );
    current_panel(&mut svg, view, right(16.0));
    let upper = 16.0 + CURVES + 44.0;
    map_panel(
        &mut svg,
        Rect::new(4.0, upper, width, height),
        &Words {
            index: 2,
            heading: "thickness proxy",
            label: "Ring / median",
            looked_at: true,
        },
        &region.thickness_proxy,
        &region.masked,
    )?;
    let tracked = view.conditions.drift.as_ref().map(|drift| &drift.likeness);
    if let Some(distance) = &region.edge_distance {
        let second = Rect::new(half, upper, width, height);
        let unit = if view.step_nm.is_finite() {
            "Distance (nm)"
        } else {
            "Distance (steps)"
        };
        map_panel(
            &mut svg,
            second,
            &Words {
                index: 3,
                heading: "distance to vacuum",
                label: unit,
                looked_at: false,
            },
            distance,
            &region.masked,
        )?;
    } else if let Some(likeness) = tracked.filter(|likeness| !likeness.is_empty()) {
        likeness_panel(&mut svg, likeness, view.times_s, right(upper));
    }
    svg.describe(
        "Drift and beam current against time; thickness proxy and distance to vacuum as maps, positions that are not looked at hatched.",
    );
    Ok(svg)
}

/// The course of a sample that left the field, and why nothing more can be done.
pub fn moved_away(drift: &Drift, times_s: &[f64], reason: &str) -> Figure {
    let mut svg = Svg::new(TWO_COLUMNS, 16.0 + 130.0 + 46.0, "A drift beyond the field");
    let frame = Rect::new(40.0, 16.0, TWO_COLUMNS - 48.0, 130.0);
    drift_panel(&mut svg, Some(drift), times_s, frame);
    let reason = capitalized(reason);
    svg.text(4.0, frame.bottom() + 40.0, &Text::new(&reason), TICK_TEXT);
    svg.describe("Drift against time.");
    Figure::new(
        "drift_failed",
        "Drift beyond the field",
        format!("Displacement of the sample under the scan with its standard error. {reason}."),
        svg,
    )
}

fn drift_panel(svg: &mut Svg, drift: Option<&Drift>, times: &[f64], frame: Rect) {
    panel_heading(
        svg,
        frame.x,
        frame.y - 5.5,
        0,
        Text::new("drift"),
        frame.width,
    );
    let courses: Vec<(&str, &Course, Rgb)> = drift
        .map(|drift| [("rows", &drift.row, SLOW), ("columns", &drift.col, FAST)])
        .into_iter()
        .flatten()
        .collect();
    let known = || {
        courses
            .iter()
            .filter(|(_, course, _)| course.origin != DriftOrigin::Unknown)
    };
    let x = Axis::around(Scale::Linear, times.iter().copied(), 0.01);
    let values = known().flat_map(|(_, course, _)| course.steps.iter().copied());
    let y = Axis::around(Scale::Linear, values.chain([-0.5, 0.5]), 0.08);
    let plot = Plot::new(frame, x, y);
    plot.grid(svg);
    plot.clipped(svg, |svg| {
        for (_, course, color) in known() {
            plot.band(svg, &band(times, course), *color, 0.25);
            let whole = course.whole_steps();
            if whole.iter().any(|&step| step != 0) {
                let applied = stairs(times, &whole);
                plot.line(svg, applied, Paint::line(*color, 0.4));
            }
            let line = times.iter().copied().zip(course.steps.iter().copied());
            plot.line(svg, line, Paint::line(*color, 1.0).round());
        }
    });
    plot.axes(svg, &Text::new("Time (s)"), &Text::new("Scan steps"));
    if drift.is_none() {
        let (x, y) = frame.center();
        svg.text(x, y - 6.0, &Text::new("not looked for"), LABEL_TEXT);
        return;
    }
    let entries: Vec<LegendEntry> = courses
        .iter()
        .map(|(direction, course, color)| LegendEntry {
            text: Text::new(&format!("{direction}, {}", found_from(course))),
            marker: None,
            // What is not drawn has no color.
            paint: if course.origin == DriftOrigin::Unknown {
                Paint::line(GRID, 1.2)
            } else {
                Paint::line(*color, 1.2)
            },
        })
        .collect();
    // Beside the courses: in the lower corner where they rise.
    let rises = known()
        .map(|(_, course, _)| course.steps.iter().sum::<f64>())
        .sum::<f64>()
        > 0.0;
    let below = frame.bottom() - 5.0 - entries.len() as f64 * 10.0;
    let (x, y) = if rises {
        (frame.right() - 96.0, below)
    } else {
        (frame.right() - 96.0, frame.y + 5.0)
    };
    legend(svg, x, y, &entries);
}

/// Where a course came from and whether it is used.
fn found_from(course: &Course) -> &'static str {
    match course.origin {
        DriftOrigin::Unknown => "not measured",
        _ if !course.is_certain() => "too uncertain",
        DriftOrigin::Speckle => "from speckle",
        DriftOrigin::Images => "from images",
        DriftOrigin::Both => "from both",
        DriftOrigin::Given => "given",
    }
}

/// A line that stays at each value for the time of its scan.
fn stairs(times: &[f64], steps: &[i64]) -> Vec<(f64, f64)> {
    let mut line = Vec::with_capacity(2 * steps.len());
    for (time, &step) in steps.iter().enumerate() {
        let at = times[time];
        let before = time.checked_sub(1).map_or(at, |before| times[before]);
        let after = times.get(time + 1).copied().unwrap_or(at);
        line.push(((before + at) / 2.0, step as f64));
        line.push(((at + after) / 2.0, step as f64));
    }
    line
}

/// Likeness of the speckle of each scan with the scan before.
fn likeness_panel(svg: &mut Svg, likeness: &[f64], times: &[f64], frame: Rect) {
    let heading = Text::new("speckle, likeness to the scan before");
    panel_heading(svg, frame.x, frame.y - 5.5, 3, heading, frame.width);
    let x = Axis::around(Scale::Linear, times.iter().copied(), 0.01);
    let finite = likeness.iter().copied().filter(|value| value.is_finite());
    let y = Axis::around(Scale::Linear, finite.chain([0.0]), 0.08);
    let plot = Plot::new(frame, x, y);
    plot.grid(svg);
    plot.clipped(svg, |svg| {
        let line = times.iter().copied().zip(likeness.iter().copied());
        plot.line(svg, line.clone(), Paint::line(INK, 1.0).round());
        plot.points(svg, line, Marker::Circle, 0.8, Paint::fill(INK));
    });
    plot.axes(svg, &Text::new("Time (s)"), &Text::new("Correlation"));
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

fn current_panel(svg: &mut Svg, view: &ConditionsView<'_>, frame: Rect) {
    let (times, conditions) = (view.times_s, view.conditions);
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
        svg.path(&crosses, Paint::line(SLOW, 1.2));
    });
    plot.axes(svg, &Text::new("Time (s)"), &Text::new("Current / median"));
}

/// The words of a map, and which positions its colors stretch over.
struct Words<'a> {
    index: usize,
    heading: &'a str,
    label: &'a str,
    /// What is not looked at does not stretch the colors of what is.
    looked_at: bool,
}

fn map_panel(
    svg: &mut Svg,
    frame: Rect,
    words: &Words<'_>,
    values: &Array2<f64>,
    masked: &Array2<bool>,
) -> Result<()> {
    panel_heading(
        svg,
        frame.x,
        frame.y - 5.5,
        words.index,
        Text::new(words.heading),
        frame.width.max(120.0),
    );
    let all: Vec<f64> = values.iter().copied().filter(|v| v.is_finite()).collect();
    let shown = values.iter().zip(masked);
    let shown = shown.filter(|(_, masked)| !(words.looked_at && **masked));
    let shown: Vec<f64> = shown.map(|(value, _)| *value).collect();
    let style = MapStyle {
        colors: ColorMap::Viridis,
        range: Axis::percentiles(Scale::Linear, shown, 0.01),
    };
    map::image(svg, frame, values.view(), style)?;
    map::hatch(svg, frame, masked);
    map::frame(svg, frame);
    let beyond = (
        all.iter().any(|value| *value < style.range.min),
        all.iter().any(|value| *value > style.range.max),
    );
    let bar = Rect::new(frame.right() + 8.0, frame.y, 7.0, frame.height.max(40.0));
    map::color_bar(svg, bar, style, &Text::new(words.label), beyond, &[])
}
