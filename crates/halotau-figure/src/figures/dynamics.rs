//! Is one relaxation time all there is? Change with age and time, correlation in space, form of the decay, dependence on Q.

use halotau::analysis::{Analysis, Estimate};
use halotau::dynamics::{Aging, AtLag, Dynamics, FourPoint};

use crate::axes::{LegendEntry, Marker, Plot, legend, panel_heading, with_legend};
use crate::color::Rgb;
use crate::error::{Error, Result};
use crate::font::Text;
use crate::scale::{Axis, Scale, short_number};
use crate::svg::{Paint, Rect, Svg};
use crate::theme::{FAST, MUTED, SLOW, TWO_COLUMNS, temperature_color};

/// Room for the labels left of a panel, points.
const LEFT: f64 = 42.0;
/// Heights of a figure of one row and of its frames, points.
const HEIGHT: f64 = 160.0;
const FRAME_HEIGHT: f64 = 112.0;

/// The frame of one of `n` panels.
fn frame(index: usize, n: usize) -> Rect {
    let width = (TWO_COLUMNS - 6.0) / n as f64;
    Rect::new(
        LEFT + index as f64 * width,
        16.0,
        width - LEFT - 4.0,
        FRAME_HEIGHT,
    )
}

/// A value and its interval at an abscissa.
type Point = (f64, Estimate);

/// An axis around values and those ends of intervals that do not dwarf them.
fn around(scale: Scale, points: &[Point], also: &[f64]) -> Axis {
    let values: Vec<f64> = points
        .iter()
        .map(|(_, estimate)| estimate.value)
        .filter(|value| value.is_finite())
        .chain(also.iter().copied())
        .collect();
    let low = values.iter().copied().fold(f64::INFINITY, f64::min);
    let high = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let reach = match scale {
        Scale::Linear => [low - 1.5 * (high - low), high + 1.5 * (high - low)],
        Scale::Log => [low / 6.0, high * 6.0],
    };
    let ends = points
        .iter()
        .flat_map(|(_, estimate)| [estimate.lower, estimate.upper])
        .filter(|end| (reach[0]..=reach[1]).contains(end));
    Axis::around(scale, values.iter().copied().chain(ends), 0.08)
}

/// Heading and grid of a panel.
fn begin_panel(svg: &mut Svg, plot: &Plot, place: Rect, index: usize, heading: Text) {
    panel_heading(
        svg,
        place.x - 20.0,
        10.5,
        index,
        heading,
        place.width + 20.0,
    );
    plot.grid(svg);
}

/// A marker's line of a legend.
fn entry(text: &str, marker: Marker, color: Rgb) -> LegendEntry {
    LegendEntry {
        text: Text::new(text),
        marker: Some(marker),
        paint: Paint::fill(color),
    }
}

fn bars(svg: &mut Svg, plot: &Plot, points: &[Point], color: Rgb, marker: Marker) {
    let intervals = points
        .iter()
        .map(|(x, estimate)| (*x, estimate.lower, estimate.upper));
    plot.error_bars(svg, intervals, 1.6, Paint::line(color, 0.8));
    plot.points(
        svg,
        points.iter().map(|(x, estimate)| (*x, estimate.value)),
        marker,
        2.1,
        Paint::fill(color).outlined(Rgb::WHITE, 0.4),
    );
}

fn zero_line(svg: &mut Svg, plot: &Plot, at: f64) {
    plot.line(
        svg,
        [(plot.x.min, at), (plot.x.max, at)],
        Paint::line(MUTED, 0.8).dashed("2 2"),
    );
}

fn at_lags(points: &[AtLag]) -> Vec<Point> {
    points.iter().map(|at| (at.lag_s, at.estimate)).collect()
}

fn lag_label() -> Text {
    Text::new("Lag ").italic("t").plain(" (s)")
}

/// An axis of lags, logarithmic.
fn lag_axis(points: &[Point]) -> Axis {
    Axis::around(Scale::Log, points.iter().map(|point| point.0), 0.08)
}

fn found(analysis: &Analysis) -> Result<&Dynamics> {
    analysis.dynamics.as_ref().ok_or(Error::Nothing {
        figure: "the tests of the dynamics",
        needed: "an analysis that made them",
    })
}

/// Whether there is anything to draw over time.
pub(crate) fn has_time(analysis: &Analysis) -> bool {
    let found = analysis.dynamics.as_ref();
    found.is_some_and(|found| found.aging.is_some() && found.fluctuations.is_some())
}

/// Whether there is anything to draw over space.
pub(crate) fn has_space(analysis: &Analysis) -> bool {
    let found = analysis.dynamics.as_ref();
    found.is_some_and(|found| found.four_point.is_some())
}

/// Whether there is anything to draw of groups of tau and rings of Q.
pub(crate) fn has_form(analysis: &Analysis) -> bool {
    let found = analysis.dynamics.as_ref();
    found.is_some_and(|found| found.stretch.is_some() || found.rings.is_some())
}

/// Correlation against age, tau in windows of the record, and fluctuation in time for a finite and an infinite number of speckles.
///
/// # Errors
///
/// [`Error::Nothing`] where the tests were not made.
pub fn dynamics_in_time(analysis: &Analysis) -> Result<Svg> {
    let dynamics = found(analysis)?;
    let (Some(aging), Some(fluctuations)) = (&dynamics.aging, &dynamics.fluctuations) else {
        return Err(Error::Nothing {
            figure: "the dynamics in time",
            needed: "six blocks of the scan",
        });
    };
    let mut svg = Svg::new(TWO_COLUMNS, HEIGHT, "Dynamics in time");
    let record_s = analysis.time.record_s();
    courses(&mut svg, frame(0, 3), aging, record_s);
    windows(&mut svg, frame(1, 3), aging, record_s);
    let place = frame(2, 3);
    let (both, chi) = (at_lags(&fluctuations.both), at_lags(&fluctuations.chi));
    let all: Vec<Point> = both.iter().chain(&chi).copied().collect();
    let y = with_legend(around(Scale::Linear, &all, &[0.0]), place, 2);
    let plot = Plot::new(place, lag_axis(&chi), y);
    let heading = Text::new("fluctuation in time");
    begin_panel(&mut svg, &plot, place, 2, heading);
    plot.clipped(&mut svg, |svg| {
        zero_line(svg, &plot, 0.0);
        bars(svg, &plot, &both, MUTED, Marker::Square);
        bars(svg, &plot, &chi, SLOW, Marker::Circle);
    });
    let label = Text::new("Variance / contrast").superscript("2");
    plot.axes(&mut svg, &lag_label(), &label);
    legend(
        &mut svg,
        place.x + 5.0,
        place.y + 3.0,
        &[
            entry("as seen", Marker::Square, MUTED),
            entry("infinitely many speckles", Marker::Circle, SLOW),
        ],
    );
    svg.describe(&dynamics.sentences().join(" "));
    Ok(svg)
}

fn courses(svg: &mut Svg, place: Rect, aging: &Aging, record_s: f64) {
    let all: Vec<Point> = aging
        .course
        .iter()
        .flat_map(|course| course.points.iter().copied())
        .collect();
    let y = with_legend(
        around(Scale::Linear, &all, &[0.0]),
        place,
        aging.course.len(),
    );
    let plot = Plot::new(place, Axis::linear(0.0, record_s), y);
    let heading = Text::new("correlation against age");
    begin_panel(svg, &plot, place, 0, heading);
    let n = aging.course.len();
    let mut entries = Vec::new();
    for (index, course) in aging.course.iter().enumerate() {
        let color = temperature_color(index, n);
        let band: Vec<(f64, f64, f64)> = course
            .points
            .iter()
            .map(|(age, e)| (age * record_s, e.lower, e.upper))
            .collect();
        let line: Vec<(f64, f64)> = course
            .points
            .iter()
            .map(|(age, e)| (age * record_s, e.value))
            .collect();
        plot.clipped(svg, |svg| {
            plot.band(svg, &band, color, 0.2);
            plot.line(svg, line, Paint::line(color, 1.0));
        });
        entries.push(LegendEntry {
            text: Text::new(&format!("{} s", short_number(course.lag_s.round()))),
            marker: None,
            paint: Paint::line(color, 1.2),
        });
    }
    let label = Text::new("(").italic("G").plain(" − 1) / contrast");
    plot.axes(svg, &Text::new("Age (s)"), &label);
    legend(svg, place.x + 5.0, place.y + 3.0, &entries);
}

fn windows(svg: &mut Svg, place: Rect, aging: &Aging, record_s: f64) {
    let windows: Vec<Point> = aging
        .windows
        .iter()
        .map(|window| (window.age * record_s, window.tau_s))
        .collect();
    let halves = [
        (0.25 * record_s, aging.tau_early_s),
        (0.75 * record_s, aging.tau_late_s),
    ];
    let all: Vec<Point> = windows.iter().chain(&halves).copied().collect();
    let y = with_legend(around(Scale::Log, &all, &[]), place, 2);
    let plot = Plot::new(place, Axis::linear(0.0, record_s), y);
    let heading = Text::default().italic("τ").plain(" against age");
    begin_panel(svg, &plot, place, 1, heading);
    plot.clipped(svg, |svg| {
        bars(svg, &plot, &windows, FAST, Marker::Circle);
        bars(svg, &plot, &halves, SLOW, Marker::Diamond);
    });
    let label = Text::new("Relaxation time ").italic("τ").plain(" (s)");
    plot.axes(svg, &Text::new("Age (s)"), &label);
    legend(
        svg,
        place.x + 5.0,
        place.y + 3.0,
        &[
            entry("thirds of the record", Marker::Circle, FAST),
            entry("halves", Marker::Diamond, SLOW),
        ],
    );
}

/// chi4 against lag, G4 against distance with what the probe alone makes, and S4 against spatial frequency.
///
/// # Errors
///
/// [`Error::Nothing`] where the functions were not computed.
pub fn dynamics_in_space(analysis: &Analysis) -> Result<Svg> {
    let Some(four) = &found(analysis)?.four_point else {
        return Err(Error::Nothing {
            figure: "the four-point functions",
            needed: "six blocks of the scan",
        });
    };
    let mut svg = Svg::new(TWO_COLUMNS, HEIGHT, "Dynamics in space");
    let place = frame(0, 3);
    let chi4 = at_lags(&four.chi4);
    let plot = Plot::new(place, lag_axis(&chi4), around(Scale::Linear, &chi4, &[0.0]));
    let heading = Text::new("four-point susceptibility");
    begin_panel(&mut svg, &plot, place, 0, heading);
    plot.clipped(&mut svg, |svg| {
        zero_line(svg, &plot, 0.0);
        bars(svg, &plot, &chi4, SLOW, Marker::Circle);
    });
    let label = Text::default()
        .italic("χ")
        .subscript("4")
        .plain(" (probe areas)");
    plot.axes(&mut svg, &lag_label(), &label);
    four_point_correlation(&mut svg, frame(1, 3), four);
    let place = frame(2, 3);
    let s4: Vec<Point> = four.s4.iter().map(|at| (at.wave, at.estimate)).collect();
    let x = Axis::linear(0.0, s4.last().map_or(1.0, |point| 1.03 * point.0));
    let plot = Plot::new(place, x, around(Scale::Linear, &s4, &[0.0]));
    let heading = Text::new(&format!("at {} s", short_number(four.lag_s.round())));
    begin_panel(&mut svg, &plot, place, 2, heading);
    plot.clipped(&mut svg, |svg| {
        zero_line(svg, &plot, 0.0);
        bars(svg, &plot, &s4, SLOW, Marker::Circle);
    });
    let unit = if four.unit == "nm" {
        "(1/nm)"
    } else {
        "(1/step)"
    };
    let x_label = Text::new("Spatial frequency ")
        .italic("p")
        .plain(&format!(" {unit}"));
    let label = Text::default()
        .italic("S")
        .subscript("4")
        .plain(" (probe areas)");
    plot.axes(&mut svg, &x_label, &label);
    svg.describe(&four.sentence());
    Ok(svg)
}

fn four_point_correlation(svg: &mut Svg, place: Rect, four: &FourPoint) {
    let g4: Vec<Point> = four
        .g4
        .iter()
        .map(|at| (at.distance, at.estimate))
        .collect();
    let x = Axis::linear(0.0, g4.last().map_or(1.0, |point| 1.03 * point.0));
    let plot = Plot::new(place, x, around(Scale::Linear, &g4, &[0.0]));
    let heading = Text::new(&format!("at {} s", short_number(four.lag_s.round())));
    begin_panel(svg, &plot, place, 1, heading);
    let height = g4.first().map_or(f64::NAN, |point| point.1.value);
    let gauss = |length: f64| -> Vec<(f64, f64)> {
        (0..=80)
            .map(|step| {
                let distance = x.max * f64::from(step) / 80.0;
                (distance, height * (-(distance / length).powi(2)).exp())
            })
            .collect()
    };
    plot.clipped(svg, |svg| {
        zero_line(svg, &plot, 0.0);
        if four.probe_length > 0.0 && height > 0.0 {
            plot.line(svg, gauss(four.probe_length), Paint::line(MUTED, 1.0));
        }
        bars(svg, &plot, &g4, SLOW, Marker::Circle);
    });
    let x_label = Text::new("Distance ")
        .italic("D")
        .plain(&format!(" ({})", four.unit));
    let label = Text::default()
        .italic("G")
        .subscript("4")
        .plain(" / contrast")
        .superscript("2");
    plot.axes(svg, &x_label, &label);
    if four.probe_length > 0.0 {
        let entry = LegendEntry {
            text: Text::new("the probe alone"),
            marker: None,
            paint: Paint::line(MUTED, 1.2),
        };
        legend(svg, place.right() - 72.0, place.y + 3.0, &[entry]);
    }
}

/// Mean curve, stretch of groups of similar tau, and tau of rings of Q.
///
/// # Errors
///
/// [`Error::Nothing`] where neither was measured.
pub fn dynamics_form(analysis: &Analysis) -> Result<Svg> {
    let dynamics = found(analysis)?;
    if dynamics.stretch.is_none() && dynamics.rings.is_none() {
        return Err(Error::Nothing {
            figure: "the form of the decay",
            needed: "six blocks of the scan",
        });
    }
    let mut svg = Svg::new(TWO_COLUMNS, HEIGHT, "Form of the decay");
    let mut panel = 0;
    let tau_label = || Text::new("Relaxation time ").italic("τ").plain(" (s)");
    if let Some(test) = &dynamics.stretch {
        let place = frame(panel, 2);
        let groups: Vec<Point> = test
            .groups
            .iter()
            .map(|group| (group.tau_s.value, group.stretch))
            .collect();
        let region = [(test.region_tau_s.value, test.region)];
        let local = [(test.region_tau_s.value * 1.08, test.local)];
        let all: Vec<Point> = groups
            .iter()
            .chain(&region)
            .chain(&local)
            .copied()
            .collect();
        let x = Axis::around(Scale::Log, all.iter().map(|point| point.0), 0.12);
        let y = with_legend(around(Scale::Linear, &all, &[1.0]), place, 3);
        let plot = Plot::new(place, x, y);
        let heading = Text::new("stretch of mean curves");
        begin_panel(&mut svg, &plot, place, panel, heading);
        plot.clipped(&mut svg, |svg| {
            zero_line(svg, &plot, 1.0);
            bars(svg, &plot, &groups, FAST, Marker::Circle);
            bars(svg, &plot, &region, SLOW, Marker::Diamond);
            bars(svg, &plot, &local, MUTED, Marker::Square);
        });
        plot.axes(&mut svg, &tau_label(), &Text::new("Stretch exponent"));
        legend(
            &mut svg,
            place.x + 5.0,
            place.y + 3.0,
            &[
                entry("groups of similar τ", Marker::Circle, FAST),
                entry("all positions", Marker::Diamond, SLOW),
                entry("all, spread of τ taken out", Marker::Square, MUTED),
            ],
        );
        panel += 1;
    }
    if let Some(rings) = &dynamics.rings {
        let place = frame(panel, 2);
        let tau: Vec<Point> = rings
            .rings
            .iter()
            .map(|ring| (ring.q_per_nm, ring.tau_s))
            .collect();
        let ends = rings
            .rings
            .iter()
            .flat_map(|ring| [ring.q_min_per_nm, ring.q_max_per_nm]);
        let x = Axis::around(Scale::Linear, ends, 0.03);
        let y = around(Scale::Log, &tau, &[]);
        let plot = Plot::new(place, x, y);
        let heading = Text::default()
            .italic("τ")
            .plain(" of rings of ")
            .italic("Q");
        begin_panel(&mut svg, &plot, place, panel, heading);
        // The halo in the same frame: its highest at four fifths of the height.
        let most = rings
            .rings
            .iter()
            .map(|ring| ring.mean_counts)
            .fold(0.0, f64::max);
        plot.clipped(&mut svg, |svg| {
            for ring in &rings.rings {
                let height = 0.8 * place.height * ring.mean_counts / most;
                if height.is_finite() {
                    let (left, right) = (plot.px(ring.q_min_per_nm), plot.px(ring.q_max_per_nm));
                    let bar = Rect::new(
                        left + 0.5,
                        place.bottom() - height,
                        (right - left - 1.0).max(0.0),
                        height,
                    );
                    svg.rect(bar, Paint::fill(MUTED.tint(0.25)));
                }
            }
            bars(svg, &plot, &tau, SLOW, Marker::Circle);
        });
        let x_label = Text::new("Spatial frequency ").italic("Q").plain(" (1/nm)");
        plot.axes(&mut svg, &x_label, &tau_label());
    }
    svg.describe(&dynamics.sentences().join(" "));
    Ok(svg)
}
