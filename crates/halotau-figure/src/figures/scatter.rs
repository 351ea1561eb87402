//! Are slow places ordered? V against tau, one point a position, one panel a temperature and all together.

use halotau::analysis::{Analysis, Study};
use halotau::ndarray::Array2;

use super::maps::{temperature, usable};
use crate::axes::{LegendEntry, Marker, Plot, legend, panel_heading};
use crate::color::{ColorMap, Rgb};
use crate::error::{Error, Result};
use crate::font::Text;
use crate::map::{self, MapStyle};
use crate::scale::{Axis, Scale};
use crate::svg::{Anchor, Paint, Rect, Svg};
use crate::theme::{INK, ONE_COLUMN, SMALL, TICK_TEXT, TWO_COLUMNS, temperature_color};

/// More points than this in a panel are drawn as their density: they would cover each other.
const MOST_POINTS: usize = 3000;
/// The panel with all temperatures shows at most about this many points of each, evenly chosen.
const MOST_SHARED: usize = 900;
/// Share of positions beyond each end of the axes.
const OUTLIERS: f64 = 0.001;

struct Cloud {
    /// (tau, V) of positions with a resolved tau.
    resolved: Vec<(f64, f64)>,
    /// (lower limit of tau, V).
    censored: Vec<(f64, f64)>,
}

impl Cloud {
    fn of(analysis: &Analysis) -> Self {
        let tau = usable(&analysis.relaxation.tau_s, analysis);
        let fluctuation = usable(&analysis.fluctuation.values, analysis);
        let mut cloud = Self {
            resolved: Vec::new(),
            censored: Vec::new(),
        };
        for (place, tau) in tau.indexed_iter() {
            let Some(value) = fluctuation.get(place).filter(|v| v.is_finite()) else {
                continue;
            };
            if !(tau.is_finite() && *tau > 0.0) {
                continue;
            }
            let censored = analysis
                .quality
                .get(place)
                .is_some_and(|quality| quality.is_censored());
            if censored {
                cloud.censored.push((*tau, *value));
            } else {
                cloud.resolved.push((*tau, *value));
            }
        }
        cloud
    }

    fn len(&self) -> usize {
        self.resolved.len() + self.censored.len()
    }

    fn all(&self) -> impl Iterator<Item = (f64, f64)> + '_ {
        self.resolved.iter().chain(&self.censored).copied()
    }
}

/// V against tau with Spearman's rho and the number of positions. No p-value: neighboring positions share the probe,
/// and both maps come from the same speckles.
///
/// # Errors
///
/// [`Error::Nothing`] for a study without analyses, [`Error::Png`].
pub fn scatter(study: &Study) -> Result<Svg> {
    let n = study.analyses.len();
    if n == 0 {
        return Err(Error::Nothing {
            figure: "V against tau",
            needed: "at least one temperature",
        });
    }
    let clouds: Vec<Cloud> = study.analyses.iter().map(Cloud::of).collect();
    let x = Axis::percentiles(
        Scale::Log,
        clouds
            .iter()
            .flat_map(Cloud::all)
            .map(|(tau, _)| tau)
            .collect(),
        OUTLIERS,
    );
    let x = Axis::around(Scale::Log, [x.min, x.max], 0.04);
    let y = Axis::percentiles(
        Scale::Linear,
        clouds.iter().flat_map(Cloud::all).map(|(_, v)| v).collect(),
        OUTLIERS,
    );
    let y = Axis::around(Scale::Linear, [y.min, y.max], 0.06);
    let n_panels = if n > 1 { n + 1 } else { 1 };
    let n_cols = match n_panels {
        1 => 1,
        2 => 2,
        4 => 2,
        _ => 3,
    };
    let n_rows = n_panels.div_ceil(n_cols);
    let width = if n_cols == 1 { ONE_COLUMN } else { TWO_COLUMNS };
    let (left, right, heading, gap) = (38.0, 8.0, 16.0, 8.0);
    let panel_width = (width - left - right - gap * (n_cols - 1) as f64) / n_cols as f64;
    let panel_height = (0.82 * panel_width).min(165.0);
    let pitch = panel_height + heading + 6.0;
    let mut svg = Svg::new(
        width,
        n_rows as f64 * pitch + 28.0,
        "Azimuthal variance against relaxation time",
    );
    let x_label = Text::new("Relaxation time ").italic("τ").plain(" (s)");
    let y_label = Text::new("Azimuthal variance ").italic("V");
    for index in 0..n_panels {
        let (row, col) = (index / n_cols, index % n_cols);
        let frame = Rect::new(
            left + col as f64 * (panel_width + gap),
            heading + row as f64 * pitch,
            panel_width,
            panel_height,
        );
        let plot = Plot::new(frame, x, y);
        plot.grid(&mut svg);
        if index < n {
            let analysis = &study.analyses[index];
            let name = temperature(analysis);
            // The statistics stand at the right end of the same line.
            let room = panel_width - 74.0;
            panel_heading(&mut svg, frame.x, frame.y - 5.0, index, name, room);
            draw_cloud(&mut svg, &plot, &clouds[index])?;
            statistics(&mut svg, &plot, analysis);
        } else {
            let name = Text::new("all temperatures");
            panel_heading(&mut svg, frame.x, frame.y - 5.0, index, name, panel_width);
            draw_all(&mut svg, &plot, study, &clouds);
        }
        // Inner panels share the axes of the outer ones.
        let lowest = index + n_cols >= n_panels;
        match (lowest, col == 0) {
            (true, true) => plot.axes(&mut svg, &x_label, &y_label),
            (true, false) => {
                plot.x_axis(&mut svg, &x_label);
                svg.rect(frame, crate::theme::FRAME);
            }
            (false, true) => {
                plot.y_axis(&mut svg, &y_label);
                svg.rect(frame, crate::theme::FRAME);
            }
            (false, false) => svg.rect(frame, crate::theme::FRAME),
        }
    }
    let relations: Vec<String> = study
        .analyses
        .iter()
        .map(|analysis| {
            format!(
                "{}: {}",
                temperature(analysis).to_plain(),
                relation_text(analysis)
            )
        })
        .collect();
    svg.describe(&format!(
        "Azimuthal variance against relaxation time. Spearman's rank correlation {}.",
        relations.join("; ")
    ));
    Ok(svg)
}

/// "rho = 0.39, n = 3600"
pub(crate) fn relation_text(analysis: &Analysis) -> String {
    let relation = analysis.relation;
    if relation.spearman.is_finite() {
        format!("ρ = {:.2}, n = {}", relation.spearman, relation.n).replace('-', "−")
    } else {
        format!("no rank correlation from n = {}", relation.n)
    }
}

fn statistics(svg: &mut Svg, plot: &Plot, analysis: &Analysis) {
    let relation = analysis.relation;
    let text = if relation.spearman.is_finite() {
        Text::default()
            .italic("ρ")
            .plain(&format!(" = {:.2}   ", relation.spearman).replace('-', "−"))
    } else {
        Text::default().italic("ρ").plain(" –   ")
    };
    let text = text.italic("n").plain(&format!(" = {}", relation.n));
    svg.text(
        plot.frame.right() - 4.0,
        plot.frame.y - 5.0,
        &text,
        TICK_TEXT.anchored(Anchor::End),
    );
}

fn draw_cloud(svg: &mut Svg, plot: &Plot, cloud: &Cloud) -> Result<()> {
    if cloud.len() > MOST_POINTS {
        return draw_density(svg, plot, cloud);
    }
    let radius = if cloud.len() > 800 { 0.7 } else { 1.1 };
    plot.clipped(svg, |svg| {
        plot.points(
            svg,
            cloud.censored.iter().copied(),
            Marker::Circle,
            radius,
            Paint::line(Rgb::hex(0x9a_a1_a8), 0.4),
        );
        plot.points(
            svg,
            cloud.resolved.iter().copied(),
            Marker::Circle,
            radius,
            Paint::fill(INK).opacity(0.6),
        );
    });
    Ok(())
}

fn draw_density(svg: &mut Svg, plot: &Plot, cloud: &Cloud) -> Result<()> {
    let (n_rows, n_cols) = (48, 60);
    let mut counts = Array2::<f64>::zeros((n_rows, n_cols));
    for (tau, value) in cloud.all() {
        let (x, y) = (plot.x.fraction(tau), plot.y.fraction(value));
        if (0.0..1.0).contains(&x) && (0.0..1.0).contains(&y) {
            let row = ((1.0 - y) * n_rows as f64) as usize;
            counts[[row.min(n_rows - 1), (x * n_cols as f64) as usize]] += 1.0;
        }
    }
    let highest = counts.iter().copied().fold(1.0, f64::max);
    let style = MapStyle {
        colors: ColorMap::Gray,
        // Square roots of counts: their noise is the same everywhere.
        range: Axis::linear(0.0, 1.15 * highest.sqrt()),
    };
    map::image(svg, plot.frame, counts.mapv(f64::sqrt).view(), style)
}

fn draw_all(svg: &mut Svg, plot: &Plot, study: &Study, clouds: &[Cloud]) {
    let n = clouds.len();
    plot.clipped(svg, |svg| {
        for (index, cloud) in clouds.iter().enumerate() {
            let every = cloud.len().div_ceil(MOST_SHARED).max(1);
            plot.points(
                svg,
                cloud.all().step_by(every),
                Marker::of(index),
                1.0,
                Paint::fill(temperature_color(index, n)).opacity(0.7),
            );
        }
    });
    let entries: Vec<LegendEntry> = study
        .analyses
        .iter()
        .enumerate()
        .map(|(index, analysis)| LegendEntry {
            text: temperature(analysis).fitted(60.0 / SMALL),
            marker: Some(Marker::of(index)),
            paint: Paint::fill(temperature_color(index, n)),
        })
        .collect();
    let height = entries.len() as f64 * (SMALL + 3.0) + 5.0;
    let widest = entries
        .iter()
        .map(|entry| entry.text.width_em() * SMALL + 20.0)
        .fold(0.0, f64::max);
    // Too many temperatures for a legend are told apart by the panels beside.
    if height < plot.frame.height - 4.0 {
        let corner = Rect::new(plot.frame.x + 2.0, plot.frame.y + 2.0, widest, height);
        svg.rect(corner, Paint::fill(Rgb::WHITE).opacity(0.85));
        legend(svg, corner.x + 3.0, corner.y + 2.0, &entries);
    }
}
