//! What changes with temperature? Averages of tau and V, and the Arrhenius plot.

use halotau::analysis::Study;
use halotau::arrhenius::{ArrheniusFit, Average, GAS_CONSTANT};

use crate::axes::{LegendEntry, Marker, Plot, legend, panel_heading};
use crate::color::Rgb;
use crate::error::{Error, Result};
use crate::font::{CAP_HEIGHT, Text};
use crate::scale::{Axis, Scale, with_interval};
use crate::svg::{Anchor, Paint, Path, Rect, Svg};
use crate::theme::{FAST, FRAME, LABEL_TEXT, MUTED, SLOW, SMALL, TICK_TEXT, TWO_COLUMNS};

/// The average in words.
pub(crate) fn average_name(average: Average) -> &'static str {
    match average {
        Average::Mean => "arithmetic mean",
        Average::LogMean => "log mean",
        Average::Median => "median",
        Average::Ensemble => "ensemble curve",
        Average::WithinRecord => "log mean within the record",
    }
}

fn average_color(average: Average) -> Rgb {
    match average {
        Average::Mean => Rgb::hex(0x8a_3f_a0),
        Average::LogMean => SLOW,
        Average::Median => FAST,
        Average::Ensemble => Rgb::hex(0x4a_55_60),
        Average::WithinRecord => Rgb::hex(0x2e_7d_5b),
    }
}

fn average_marker(average: Average) -> Marker {
    match average {
        Average::Mean => Marker::Square,
        Average::LogMean => Marker::Circle,
        Average::Median => Marker::Diamond,
        Average::Ensemble => Marker::Triangle,
        Average::WithinRecord => Marker::Inverted,
    }
}

/// Mean tau and mean V against temperature. Thin bars with caps are intervals of the mean, wide pale bars the spread
/// over positions.
///
/// # Errors
///
/// [`Error::Nothing`] for a study without analyses.
pub fn averages_against_temperature(study: &Study) -> Result<Svg> {
    if study.analyses.is_empty() {
        return Err(Error::Nothing {
            figure: "averages against temperature",
            needed: "at least one temperature",
        });
    }
    let mut svg = Svg::new(TWO_COLUMNS, 168.0, "Averages against temperature");
    let temperatures: Vec<f64> = study.analyses.iter().map(|a| a.temperature_k).collect();
    let x = if temperatures.len() > 1 {
        Axis::around(Scale::Linear, temperatures.iter().copied(), 0.08)
    } else {
        let middle = temperatures[0];
        Axis::linear(middle - 10.0, middle + 10.0)
    };
    let half = (TWO_COLUMNS - 40.0 - 44.0 - 6.0) / 2.0;
    let frames = [
        Rect::new(40.0, 16.0, half, 120.0),
        Rect::new(40.0 + half + 44.0, 16.0, half, 120.0),
    ];
    let tau: Vec<Bar> = study
        .analyses
        .iter()
        .map(|analysis| {
            let summary = &analysis.summary;
            let estimate = summary.tau_s(study.headline);
            Bar {
                x: analysis.temperature_k,
                value: estimate.value,
                interval: (estimate.lower, estimate.upper),
                spread: (summary.tau_spread_s[0], summary.tau_spread_s[1]),
            }
        })
        .collect();
    let fluctuation: Vec<Bar> = study
        .analyses
        .iter()
        .map(|analysis| {
            let summary = &analysis.summary;
            let (mean, sd) = (summary.fluctuation_mean, summary.fluctuation_sd);
            Bar {
                x: analysis.temperature_k,
                value: mean.value,
                interval: (mean.lower, mean.upper),
                spread: (mean.value - sd, mean.value + sd),
            }
        })
        .collect();
    let tau_label = Text::new("Relaxation time ⟨").italic("τ").plain("⟩ (s)");
    let fluctuation_label = Text::new("Azimuthal variance ⟨").italic("V").plain("⟩");
    let tau_heading = Text::new(&format!("{} of ", average_name(study.headline))).italic("τ");
    let fluctuation_heading = Text::new("mean of ").italic("V");
    let panels = [
        (tau, Scale::Log, tau_label, SLOW, tau_heading),
        (
            fluctuation,
            Scale::Linear,
            fluctuation_label,
            FAST,
            fluctuation_heading,
        ),
    ];
    for (index, ((bars, scale, label, color, name), frame)) in
        panels.into_iter().zip(frames).enumerate()
    {
        let y = Axis::around(
            scale,
            bars.iter().flat_map(|bar| {
                // An interval without an upper end must not stretch the axis.
                let reach = |end: f64| {
                    let near = match scale {
                        Scale::Log => end < 30.0 * bar.value,
                        Scale::Linear => true,
                    };
                    if near { end } else { f64::NAN }
                };
                [
                    bar.value,
                    bar.interval.0,
                    reach(bar.interval.1),
                    bar.spread.0,
                    reach(bar.spread.1),
                ]
            }),
            0.08,
        );
        let plot = Plot::new(frame, x, y);
        panel_heading(&mut svg, frame.x, frame.y - 5.0, index, name, frame.width);
        plot.grid(&mut svg);
        plot.clipped(&mut svg, |svg| draw_bars(svg, &plot, &bars, color));
        plot.axes(
            &mut svg,
            &Text::new("Temperature ").italic("T").plain(" (K)"),
            &label,
        );
    }
    svg.describe("Mean relaxation time and mean azimuthal variance against temperature.");
    Ok(svg)
}

struct Bar {
    x: f64,
    value: f64,
    interval: (f64, f64),
    spread: (f64, f64),
}

fn draw_bars(svg: &mut Svg, plot: &Plot, bars: &[Bar], color: Rgb) {
    for bar in bars {
        let (x, low, high) = (plot.px(bar.x), plot.py(bar.spread.0), plot.py(bar.spread.1));
        if x.is_finite() && low.is_finite() && high.is_finite() {
            svg.rect(
                Rect::new(x - 4.0, high, 8.0, (low - high).max(0.0)),
                Paint::fill(color.tint(0.25)),
            );
        }
    }
    plot.line(
        svg,
        bars.iter().map(|bar| (bar.x, bar.value)),
        Paint::line(color, 0.8).dashed("2 2"),
    );
    plot.error_bars(
        svg,
        bars.iter()
            .map(|bar| (bar.x, bar.interval.0, bar.interval.1)),
        2.6,
        Paint::line(color, 1.0),
    );
    plot.points(
        svg,
        bars.iter().map(|bar| (bar.x, bar.value)),
        Marker::Circle,
        2.6,
        Paint::fill(color).outlined(Rgb::WHITE, 0.5),
    );
}

/// "97 [84, 110]", kJ/mol.
pub(crate) fn energy_text(fit: &ArrheniusFit) -> String {
    let [lower, upper] = fit.activation_energy_interval_kj_per_mol;
    with_interval(fit.activation_energy_kj_per_mol, lower, upper)
}

/// 1000/T in 1/K.
fn reciprocal(temperature_k: f64) -> f64 {
    1000.0 / temperature_k
}

/// Arrhenius plot of the headline average with the band of its line, the other averages beside it, and the activation
/// energies of all averages and with each temperature left out.
///
/// # Errors
///
/// [`Error::Nothing`] where there is no Arrhenius fit, which needs two temperatures.
pub fn arrhenius(study: &Study) -> Result<Svg> {
    let headline = study
        .arrhenius
        .iter()
        .find(|fit| fit.average == study.headline)
        .or_else(|| study.arrhenius.first())
        .ok_or(Error::Nothing {
            figure: "the Arrhenius plot",
            needed: "a fit over at least two temperatures",
        })?;
    let mut svg = Svg::new(TWO_COLUMNS, 196.0, "Arrhenius plot");
    line_panel(
        &mut svg,
        study,
        headline,
        Rect::new(40.0, 34.0, 238.0, 132.0),
    );
    energy_panel(
        &mut svg,
        study,
        headline,
        Rect::new(378.0, 34.0, 118.0, 132.0),
    );
    svg.describe(&format!(
        "Logarithm of the relaxation time against reciprocal temperature; activation energy {} kJ/mol.",
        energy_text(headline)
    ));
    Ok(svg)
}

/// ln tau of the line and the half width of its band at a temperature.
fn line_at(fit: &ArrheniusFit, temperature_k: f64) -> (f64, f64) {
    // 1/(RT) in mol/kJ, as E is in kJ/mol.
    let x = 1000.0 / (GAS_CONSTANT * temperature_k);
    let (energy, error) = (
        fit.activation_energy_kj_per_mol,
        fit.activation_energy_error_kj_per_mol,
    );
    let variance =
        fit.ln_tau_infinite_error.powi(2) + (x * error).powi(2) + 2.0 * x * fit.covariance;
    // The quantile that made the interval of E.
    let [lower, upper] = fit.activation_energy_interval_kj_per_mol;
    let quantile = (upper - lower) / (2.0 * error);
    (
        fit.ln_tau_infinite + energy * x,
        quantile * variance.max(0.0).sqrt(),
    )
}

fn line_panel(svg: &mut Svg, study: &Study, headline: &ArrheniusFit, frame: Rect) {
    let x = Axis::around(
        Scale::Linear,
        headline
            .points
            .iter()
            .map(|point| reciprocal(point.temperature_k)),
        0.1,
    );
    let points = study.arrhenius.iter().flat_map(|fit| &fit.points);
    let y = Axis::around(
        Scale::Log,
        points.flat_map(|point| {
            // A point with hardly any precision must not stretch the axis.
            let reach = if point.ln_tau_error.is_finite() {
                (2.0 * point.ln_tau_error).min(1.5)
            } else {
                0.0
            };
            [point.tau_s * reach.exp(), point.tau_s * (-reach).exp()]
        }),
        0.08,
    );
    let plot = Plot::new(frame, x, y);
    panel_heading(
        svg,
        frame.x - 32.0,
        11.0,
        0,
        Text::new("Arrhenius plot"),
        frame.width,
    );
    plot.grid(svg);
    let color = average_color(headline.average);
    let curve: Vec<(f64, f64, f64, f64)> = (0..=60)
        .map(|step| {
            let abscissa = x.min + (x.max - x.min) * f64::from(step) / 60.0;
            let (ln_tau, half) = line_at(headline, 1000.0 / abscissa);
            (
                abscissa,
                ln_tau.exp(),
                (ln_tau - half).exp(),
                (ln_tau + half).exp(),
            )
        })
        .collect();
    plot.clipped(svg, |svg| {
        let band: Vec<_> = curve
            .iter()
            .map(|(x, _, low, high)| (*x, *low, *high))
            .collect();
        plot.band(svg, &band, color, 0.18);
        if let Some(glass_transition) = study
            .analyses
            .iter()
            .find_map(|analysis| analysis.recipe.sample.glass_transition_k)
        {
            let x = plot.px(reciprocal(glass_transition));
            if x > frame.x + 1.0 && x < frame.right() - 1.0 {
                svg.line(
                    (x, frame.y),
                    (x, frame.bottom()),
                    Paint::line(MUTED, 0.8).dashed("2 2"),
                );
                let text = Text::default().italic("T").subscript("g");
                svg.text(x + 3.0, frame.bottom() - 4.0, &text, TICK_TEXT);
            }
        }
        for fit in &study.arrhenius {
            if fit.average != headline.average {
                plot.points(
                    svg,
                    fit.points
                        .iter()
                        .map(|p| (reciprocal(p.temperature_k), p.tau_s)),
                    average_marker(fit.average),
                    2.0,
                    Paint::fill(Rgb::WHITE).outlined(average_color(fit.average), 0.8),
                );
            }
        }
        plot.line(
            svg,
            curve.iter().map(|(x, tau, ..)| (*x, *tau)),
            Paint::line(color, 1.2),
        );
        plot.error_bars(
            svg,
            headline
                .points
                .iter()
                .filter(|p| p.ln_tau_error > 0.0)
                .map(|p| {
                    let factor = p.ln_tau_error.exp();
                    (
                        reciprocal(p.temperature_k),
                        p.tau_s / factor,
                        p.tau_s * factor,
                    )
                }),
            2.6,
            Paint::line(color, 1.0),
        );
        plot.points(
            svg,
            headline
                .points
                .iter()
                .map(|p| (reciprocal(p.temperature_k), p.tau_s)),
            average_marker(headline.average),
            2.6,
            Paint::fill(color).outlined(Rgb::WHITE, 0.5),
        );
    });
    plot.axes(
        svg,
        &Text::new("1000/")
            .italic("T")
            .plain(" (K")
            .superscript("−1")
            .plain(")"),
        &Text::new("Relaxation time ⟨").italic("τ").plain("⟩ (s)"),
    );
    temperature_axis(svg, &plot, headline);
    let entries: Vec<LegendEntry> = study
        .arrhenius
        .iter()
        .map(|fit| {
            let own = average_color(fit.average);
            LegendEntry {
                text: Text::new(average_name(fit.average)),
                marker: Some(average_marker(fit.average)),
                paint: if fit.average == headline.average {
                    Paint::fill(own)
                } else {
                    Paint::fill(Rgb::WHITE).outlined(own, 0.8)
                },
            }
        })
        .collect();
    // Slow where cold: the points rise to the right, so the upper left corner is free.
    let widest = entries
        .iter()
        .map(|entry| entry.text.width_em() * SMALL)
        .fold(0.0, f64::max);
    let height = entries.len() as f64 * (SMALL + 3.0) + 3.0;
    svg.rect(
        Rect::new(frame.x + 3.0, frame.y + 3.0, widest + 18.0, height),
        Paint::fill(Rgb::WHITE),
    );
    legend(svg, frame.x + 5.0, frame.y + 4.0, &entries);
}

/// The temperatures themselves along the upper edge.
fn temperature_axis(svg: &mut Svg, plot: &Plot, fit: &ArrheniusFit) {
    let top = plot.frame.y;
    let mut path = Path::default();
    let mut free_until = f64::INFINITY;
    for point in &fit.points {
        let x = plot.px(reciprocal(point.temperature_k));
        path.move_to(x, top);
        path.line_to(x, top - 3.0);
        let text = Text::new(&crate::scale::short_number(point.temperature_k));
        let half = text.width_em() * SMALL / 2.0;
        // Labels that would overlap are left out; points come from cold, right, to hot, left.
        if x + half < free_until {
            svg.text(x, top - 5.0, &text, TICK_TEXT.anchored(Anchor::Middle));
            free_until = x - half - 3.0;
        }
    }
    svg.path(&path, FRAME);
    let label = Text::default().italic("T").plain(" (K)");
    svg.text(
        plot.frame.right(),
        top - 5.0 - SMALL - 2.0,
        &label,
        LABEL_TEXT.anchored(Anchor::End),
    );
}

/// One row of the energies.
struct EnergyRow {
    text: Text,
    energy: f64,
    interval: Option<[f64; 2]>,
    marker: Marker,
    color: Rgb,
}

fn energy_panel(svg: &mut Svg, study: &Study, headline: &ArrheniusFit, frame: Rect) {
    let mut rows: Vec<EnergyRow> = study
        .arrhenius
        .iter()
        .map(|fit| EnergyRow {
            text: Text::new(average_name(fit.average)),
            energy: fit.activation_energy_kj_per_mol,
            interval: Some(fit.activation_energy_interval_kj_per_mol),
            marker: average_marker(fit.average),
            color: average_color(fit.average),
        })
        .collect();
    let n_averages = rows.len();
    rows.extend(headline.leave_one_out.iter().map(|left| EnergyRow {
        text: Text::new(&format!(
            "without {} K",
            crate::scale::short_number(left.temperature_k)
        )),
        energy: left.activation_energy_kj_per_mol,
        interval: None,
        marker: average_marker(headline.average),
        color: average_color(headline.average),
    }));
    // Intervals far wider than the energies (two points) are cut at the frame.
    let typical = headline.activation_energy_kj_per_mol.abs().max(1.0);
    let near = |value: f64| {
        let distance = (value - headline.activation_energy_kj_per_mol).abs();
        (distance < 3.0 * typical).then_some(value)
    };
    let x = Axis::around(
        Scale::Linear,
        rows.iter().flat_map(|row| {
            let [low, high] = row.interval.unwrap_or([f64::NAN; 2]);
            [near(row.energy), near(low), near(high)]
                .into_iter()
                .flatten()
                .collect::<Vec<_>>()
        }),
        0.06,
    );
    let plot = Plot::new(frame, x, Axis::linear(0.0, 1.0));
    panel_heading(
        svg,
        frame.x - 78.0,
        11.0,
        1,
        Text::new("Activation energy ").italic("E"),
        frame.width + 78.0,
    );
    let mut grid = Path::default();
    for (value, _) in plot.x_ticks().major {
        grid.move_to(plot.px(value), frame.y);
        grid.line_to(plot.px(value), frame.bottom());
    }
    svg.path(&grid, Paint::line(crate::theme::GRID, 0.5));
    let n_slots = rows.len() as f64 + if rows.len() > n_averages { 0.8 } else { 0.0 };
    let pitch = (frame.height / n_slots.max(1.0)).min(18.0);
    let mut y = frame.y + pitch / 2.0;
    for (index, row) in rows.iter().enumerate() {
        if index == n_averages {
            let between = y - pitch * 0.1;
            svg.line(
                (frame.x, between),
                (frame.right(), between),
                Paint::line(crate::theme::GRID, 0.8),
            );
            y += pitch * 0.8;
        }
        svg.text(
            frame.x - 5.0,
            y + CAP_HEIGHT * SMALL / 2.0,
            &row.text,
            TICK_TEXT.anchored(Anchor::End),
        );
        plot.clipped(svg, |svg| {
            if let Some([low, high]) = row.interval {
                let place = |value: f64| plot.px(value).clamp(frame.x - 5.0, frame.right() + 5.0);
                let mut path = Path::default();
                path.move_to(place(low), y);
                path.line_to(place(high), y);
                for end in [low, high] {
                    path.move_to(place(end), y - 2.4);
                    path.line_to(place(end), y + 2.4);
                }
                if low.is_finite() && high.is_finite() {
                    svg.path(&path, Paint::line(row.color, 1.0));
                }
            }
            let mut path = Path::default();
            if plot.px(row.energy).is_finite() {
                row.marker.draw(&mut path, plot.px(row.energy), y, 2.4);
            }
            let filled = row.interval.is_some() && index < n_averages;
            let paint = if filled {
                Paint::fill(row.color).outlined(Rgb::WHITE, 0.5)
            } else {
                Paint::fill(Rgb::WHITE).outlined(row.color, 0.8)
            };
            svg.path(&path, paint);
        });
        y += pitch;
    }
    plot.x_axis(
        svg,
        &Text::default()
            .italic("E")
            .plain(" (kJ mol")
            .superscript("−1")
            .plain(")"),
    );
    svg.rect(frame, FRAME);
    let text = Text::default()
        .italic("E")
        .plain(&format!(" = {} kJ mol", energy_text(headline)))
        .superscript("−1");
    svg.text(
        frame.right(),
        frame.y - 6.0,
        &text.fitted((frame.width + 78.0) / SMALL),
        TICK_TEXT.anchored(Anchor::End),
    );
}
