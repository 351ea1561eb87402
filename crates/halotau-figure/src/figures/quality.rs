//! Can the maps be trusted? Flags, residuals and counts.

use halotau::analysis::Analysis;
use halotau::ndarray::{Array2, Axis as Along};
use halotau::quality::Quality;
use halotau::reduce::Reduction;

use super::maps::usable;
use crate::axes::{Plot, panel_heading};
use crate::color::{ColorMap, Rgb};
use crate::error::Result;
use crate::font::{CAP_HEIGHT, Text};
use crate::map::{self, MapStyle};
use crate::scale::{Axis, Scale};
use crate::svg::{Anchor, Paint, Path, Rect, Svg, TextStyle};
use crate::theme::{BAD, GRID, INK, MUTED, SLOW, SMALL, TICK_TEXT, TWO_COLUMNS};

/// Counts against time.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct TimeTraces {
    /// Start of each scan.
    pub times_s: Vec<f64>,
    /// Mean counts of a frame over the whole detector, `[time]`.
    pub total_counts: Vec<f64>,
    /// Mean counts of a pixel of the ring, `[time]`; empty where not known.
    pub ring_mean: Vec<f64>,
}

impl TimeTraces {
    /// The total counts of a reduction; those of the ring must be added by whoever reads the ring.
    pub fn of(reduction: &Reduction) -> Self {
        let total_counts = reduction
            .virtual_image
            .axis_iter(Along(0))
            .map(|image| {
                let (sum, n) = image
                    .iter()
                    .filter(|counts| counts.is_finite())
                    .fold((0.0, 0), |(sum, n), counts| (sum + counts, n + 1));
                if n == 0 { f64::NAN } else { sum / f64::from(n) }
            })
            .collect();
        Self {
            times_s: reduction.time.times_s().to_vec(),
            total_counts,
            ring_mean: Vec::new(),
        }
    }
}

/// Classes of the flag map with their colors.
const CLASSES: [(&str, Rgb); 4] = [
    ("no flag", Rgb::hex(0xf1_f3_f4)),
    ("note", Rgb::hex(0x8f_c7_d3)),
    ("lower limit", Rgb::hex(0xe3_a8_4f)),
    ("no number", BAD),
];

fn class(quality: Quality) -> u8 {
    if quality.is_bad() {
        3
    } else if quality.is_censored() {
        2
    } else {
        u8::from(quality != Quality::default())
    }
}

/// Flags as a map and in numbers, residuals of the fits, and counts against time.
///
/// # Errors
///
/// [`Error::Png`](crate::Error::Png).
pub fn quality(analysis: &Analysis, traces: &TimeTraces) -> Result<Svg> {
    let (n_rows, n_cols) = analysis.quality.dim();
    let (width, height) = map::fit(n_rows, n_cols, 150.0, 150.0);
    let n_bars = shown_flags(analysis).len() as f64;
    let upper = height.max(n_bars * 11.0).max(60.0);
    let mut svg = Svg::new(
        TWO_COLUMNS,
        16.0 + upper + 20.0 + 16.0 + 92.0 + 28.0,
        "Quality",
    );
    let frame = Rect::new(4.0, 16.0, width, height);
    flag_map(&mut svg, analysis, frame)?;
    let residual_frame = Rect::new(4.0 + 150.0 + 14.0, 16.0, width, height);
    residual_map(&mut svg, analysis, residual_frame)?;
    let left = residual_frame.x + 150.0 + map::COLOR_BAR_ROOM + 66.0;
    let bars = Rect::new(left, 16.0, TWO_COLUMNS - left - 26.0, upper);
    flag_bars(&mut svg, analysis, bars);
    let lower = Rect::new(40.0, 16.0 + upper + 20.0 + 16.0, TWO_COLUMNS - 48.0, 92.0);
    time_panel(&mut svg, traces, lower);
    svg.describe("Quality flags of each position, residuals of the fits, and counts against time.");
    Ok(svg)
}

fn flag_map(svg: &mut Svg, analysis: &Analysis, frame: Rect) -> Result<()> {
    panel_heading(svg, frame.x, 10.5, 0, Text::new("flags"), 150.0);
    let classes = analysis.quality.mapv(class);
    let colors = CLASSES.map(|(_, color)| color);
    map::class_image(svg, frame, &classes, &colors)?;
    map::hatch(svg, frame, &classes.mapv(|class| class == 3));
    map::frame(svg, frame);
    let mut x = frame.x;
    let base = frame.bottom() + SMALL + 4.0;
    for (name, color) in CLASSES {
        svg.rect(
            Rect::new(x, base - 5.0, 5.4, 5.4),
            Paint::fill(color).outlined(MUTED, 0.4),
        );
        x += 7.4 + svg.text(x + 7.4, base, &Text::new(name), TICK_TEXT) + 5.0;
    }
    Ok(())
}

fn residual_map(svg: &mut Svg, analysis: &Analysis, frame: Rect) -> Result<()> {
    panel_heading(
        svg,
        frame.x,
        10.5,
        1,
        Text::new("residual of the fits"),
        150.0,
    );
    let values: Array2<f64> = usable(&analysis.relaxation.residual, analysis);
    let all: Vec<f64> = values.iter().copied().collect();
    let style = MapStyle {
        colors: ColorMap::Viridis,
        range: Axis::percentiles(Scale::Linear, all.clone(), 0.01),
    };
    map::image(svg, frame, values.view(), style)?;
    map::hatch(svg, frame, &values.mapv(f64::is_nan));
    map::frame(svg, frame);
    let beyond = (
        all.iter().any(|value| *value < style.range.min),
        all.iter().any(|value| *value > style.range.max),
    );
    let height = (frame.height - 16.0).max(40.0);
    let bar = Rect::new(frame.right() + 8.0, frame.y + 8.0, 7.0, height);
    let label = Text::new("RMS of ").italic("g").plain(" − fit");
    map::color_bar(svg, bar, style, &label, beyond, &[])
}

/// Flags that at least one position has, with how many have it.
fn shown_flags(analysis: &Analysis) -> Vec<&(String, usize)> {
    let counts = analysis.summary.flag_counts.iter();
    counts.filter(|(_, count)| *count > 0).collect()
}

/// The short words of a flag's name in a figure.
fn flag_label(name: &str) -> String {
    match name {
        "tau_gt_window" => "beyond the record".to_owned(),
        "tau_lt_step" => "below two steps".to_owned(),
        "fit_no_converge" => "not converged".to_owned(),
        "nonfinite_input" => "broken samples".to_owned(),
        other => other.replace('_', " "),
    }
}

fn flag_bars(svg: &mut Svg, analysis: &Analysis, frame: Rect) {
    let shown = shown_flags(analysis);
    panel_heading(
        svg,
        frame.x - 56.0,
        10.5,
        2,
        Text::new("positions with a flag"),
        frame.width + 60.0,
    );
    let n_positions = analysis.summary.n_positions.max(1) as f64;
    if shown.is_empty() {
        svg.text(
            frame.x - 56.0,
            frame.y + 14.0,
            &Text::new("none"),
            TextStyle::new(SMALL, MUTED),
        );
        return;
    }
    let pitch = (frame.height / shown.len() as f64).clamp(8.5, 14.0);
    for (index, (name, count)) in shown.iter().enumerate() {
        let y = frame.y + (index as f64 + 0.5) * pitch;
        let base = y + CAP_HEIGHT * SMALL / 2.0;
        let words = Text::new(&flag_label(name)).fitted(64.0 / SMALL);
        svg.text(frame.x - 4.0, base, &words, TICK_TEXT.anchored(Anchor::End));
        let share = *count as f64 / n_positions;
        let whole = Rect::new(frame.x, y - 2.8, frame.width, 5.6);
        svg.rect(whole, Paint::fill(GRID));
        svg.rect(
            Rect::new(whole.x, whole.y, frame.width * share.min(1.0), whole.height),
            Paint::fill(flag_color(name)),
        );
        let percent = if share < 0.01 {
            "< 1 %".to_owned()
        } else {
            format!("{:.0} %", 100.0 * share)
        };
        svg.text(frame.right() + 3.0, base, &Text::new(&percent), TICK_TEXT);
    }
}

fn flag_color(name: &str) -> Rgb {
    Quality::NAMES
        .iter()
        .find(|(_, known)| *known == name)
        .map_or(MUTED, |(flag, _)| match class(*flag) {
            3 => Rgb::hex(0x7d_83_88),
            2 => CLASSES[2].1,
            _ => CLASSES[1].1,
        })
}

/// Both traces relative to their mean, so that one axis holds them.
fn time_panel(svg: &mut Svg, traces: &TimeTraces, frame: Rect) {
    let relative = |counts: &[f64]| -> Vec<(f64, f64)> {
        let finite: Vec<f64> = counts.iter().copied().filter(|c| c.is_finite()).collect();
        let mean = finite.iter().sum::<f64>() / finite.len().max(1) as f64;
        traces
            .times_s
            .iter()
            .zip(counts)
            .map(|(time, counts)| (*time, counts / mean))
            .collect()
    };
    let total = relative(&traces.total_counts);
    let ring = relative(&traces.ring_mean);
    let x = Axis::around(Scale::Linear, traces.times_s.iter().copied(), 0.01);
    let y = Axis::around(
        Scale::Linear,
        total
            .iter()
            .chain(&ring)
            .map(|(_, value)| *value)
            .chain([0.99, 1.01]),
        0.08,
    );
    let plot = Plot::new(frame, x, y);
    panel_heading(
        svg,
        frame.x,
        frame.y - 5.5,
        3,
        Text::new("counts against time"),
        frame.width,
    );
    plot.grid(svg);
    plot.clipped(svg, |svg| {
        for (trace, color) in [(&total, INK), (&ring, SLOW)] {
            plot.line(svg, trace.iter().copied(), Paint::line(color, 1.0).round());
            // A lost scan leaves a gap; a scan between two gaps would leave no line at all.
            if trace.len() < 40 {
                plot.points(
                    svg,
                    trace.iter().copied(),
                    crate::axes::Marker::Circle,
                    1.4,
                    Paint::fill(color),
                );
            }
        }
    });
    plot.axes(svg, &Text::new("Time (s)"), &Text::new("Counts / mean"));
    let mut x = frame.right() - 4.0;
    let mut entries = vec![("whole detector", INK)];
    if !ring.is_empty() {
        entries.push(("ring", SLOW));
    }
    for (name, color) in entries.into_iter().rev() {
        let text = Text::new(name);
        let width = text.width_em() * SMALL;
        svg.text(x - width, frame.y - 5.5, &text, TICK_TEXT);
        let middle = frame.y - 5.5 - CAP_HEIGHT * SMALL / 2.0;
        let mut path = Path::default();
        path.move_to(x - width - 13.0, middle);
        path.line_to(x - width - 4.0, middle);
        svg.path(&path, Paint::line(color, 1.2));
        x -= width + 22.0;
    }
}
