//! Where is the glass slow, and where is it ordered? Maps of all temperatures on one scale.

use halotau::analysis::{Analysis, Study};
use halotau::ndarray::{Array2, Zip};
use halotau::quality::Quality;

use crate::axes::panel_heading;
use crate::color::ColorMap;
use crate::error::{Error, Result};
use crate::font::Text;
use crate::map::{self, COLOR_BAR_ROOM, MapStyle};
use crate::scale::{Axis, Scale};
use crate::svg::{Anchor, Rect, Svg, TextStyle};
use crate::theme::{MUTED, ONE_COLUMN, SMALL, TWO_COLUMNS};

/// Share of positions beyond each end of the color scale.
const OUTLIERS: f64 = 0.01;

/// Maps of tau of all temperatures on one logarithmic scale.
///
/// Positions without a number are hatched in gray; those whose tau is only a lower limit are dotted; triangles at the
/// color bar mark the length of the records.
///
/// # Errors
///
/// [`Error::Nothing`] for a study without analyses, [`Error::Png`].
pub fn tau_maps(study: &Study) -> Result<Svg> {
    let mut records: Vec<f64> = Vec::new();
    for analysis in &study.analyses {
        let record = analysis.time.record_s();
        if !records
            .iter()
            .any(|known| (known / record - 1.0).abs() < 0.02)
        {
            records.push(record);
        }
    }
    draw(
        study,
        &MapFigure {
            title: "Maps of the relaxation time",
            colors: ColorMap::Magma,
            scale: Scale::Log,
            label: Text::new("Relaxation time ").italic("τ").plain(" (s)"),
            marks: records,
            dotted: true,
        },
        |analysis| usable(&analysis.relaxation.tau_s, analysis),
    )
}

/// Maps of V of all temperatures on one scale.
///
/// # Errors
///
/// [`Error::Nothing`] for a study without analyses, [`Error::Png`].
pub fn fluctuation_maps(study: &Study) -> Result<Svg> {
    draw(
        study,
        &MapFigure {
            title: "Maps of the azimuthal variance",
            colors: ColorMap::Viridis,
            scale: Scale::Linear,
            label: Text::new("Azimuthal variance ").italic("V"),
            marks: Vec::new(),
            dotted: false,
        },
        usable_fluctuation,
    )
}

/// A map with NaN at positions that are BAD.
pub(super) fn usable(values: &Array2<f64>, analysis: &Analysis) -> Array2<f64> {
    let mut values = values.clone();
    if values.dim() == analysis.quality.dim() {
        Zip::from(&mut values)
            .and(&analysis.quality)
            .for_each(|value, quality| {
                if quality.is_bad() || !value.is_finite() {
                    *value = f64::NAN;
                }
            });
    }
    values
}

/// V where the position was analyzed; one whose fit of g failed may still have a good V.
fn usable_fluctuation(analysis: &Analysis) -> Array2<f64> {
    let without = Quality(Quality::NOT_COMPUTED.0 | Quality::MASKED.0 | Quality::FEW_FRAMES.0);
    let mut values = analysis.fluctuation.values.clone();
    for (place, value) in values.indexed_iter_mut() {
        let quality = analysis.quality.get(place).copied().unwrap_or_default();
        if quality.has(without) || !value.is_finite() {
            *value = f64::NAN;
        }
    }
    values
}

struct MapFigure {
    title: &'static str,
    colors: ColorMap,
    scale: Scale,
    label: Text,
    marks: Vec<f64>,
    dotted: bool,
}

/// How panels of one aspect are set out on a page.
#[derive(Debug, Clone, Copy)]
pub(super) struct Tiling {
    pub(super) width: f64,
    pub(super) height: f64,
    pub(super) n_cols: usize,
    panel_width: f64,
    panel_height: f64,
    left: f64,
    gap: f64,
    heading: f64,
}

impl Tiling {
    /// Panels of scans of an aspect (width over height), with room for a color bar.
    fn maps(n: usize, aspect: f64) -> Self {
        let most = if aspect <= 1.3 {
            5
        } else if aspect <= 3.0 {
            3
        } else if aspect <= 6.0 {
            2
        } else {
            1
        };
        let n_cols = n.div_ceil(n.div_ceil(most).max(1)).max(1);
        let width = if n_cols == 1 || (n_cols == 2 && aspect <= 1.3) {
            ONE_COLUMN
        } else {
            TWO_COLUMNS
        };
        let (left, gap, heading) = (4.0, 9.0, 15.0);
        let room = width - left - COLOR_BAR_ROOM - gap * n_cols as f64;
        let panel_width = room / n_cols as f64;
        // A tall scan must leave room on the page for its caption.
        let panel_height = (panel_width / aspect).clamp(16.0, 300.0);
        let n_rows = n.div_ceil(n_cols).max(1) as f64;
        Self {
            width,
            height: n_rows * (heading + panel_height + gap) + 2.0,
            n_cols,
            panel_width,
            panel_height,
            left,
            gap,
            heading,
        }
    }

    /// The box of a panel.
    fn panel(&self, index: usize) -> Rect {
        let (row, col) = (index / self.n_cols, index % self.n_cols);
        Rect::new(
            self.left + col as f64 * (self.panel_width + self.gap),
            self.heading + row as f64 * (self.heading + self.panel_height + self.gap),
            self.panel_width,
            self.panel_height,
        )
    }
}

fn draw(
    study: &Study,
    figure: &MapFigure,
    values_of: impl Fn(&Analysis) -> Array2<f64>,
) -> Result<Svg> {
    if study.analyses.is_empty() {
        return Err(Error::Nothing {
            figure: figure.title,
            needed: "at least one temperature",
        });
    }
    let maps: Vec<Array2<f64>> = study.analyses.iter().map(values_of).collect();
    // The widest aspect decides, so that all panels fit.
    let aspect = maps
        .iter()
        .map(|map| map.ncols().max(1) as f64 / map.nrows().max(1) as f64)
        .fold(0.0_f64, f64::max);
    let tiling = Tiling::maps(maps.len(), aspect);
    let all: Vec<f64> = maps.iter().flat_map(|map| map.iter().copied()).collect();
    let style = MapStyle {
        colors: figure.colors,
        range: Axis::percentiles(figure.scale, all.clone(), OUTLIERS),
    };
    let mut svg = Svg::new(tiling.width, tiling.height, figure.title);
    for (index, (analysis, values)) in study.analyses.iter().zip(&maps).enumerate() {
        let panel = tiling.panel(index);
        let (n_rows, n_cols) = values.dim();
        let (width, height) = map::fit(n_rows, n_cols, panel.width, panel.height);
        let frame = Rect::new(panel.x, panel.y, width, height);
        panel_heading(
            &mut svg,
            frame.x,
            frame.y - 4.5,
            index,
            temperature(analysis),
            panel.width,
        );
        map::image(&mut svg, frame, values.view(), style)?;
        map::hatch(&mut svg, frame, &values.mapv(f64::is_nan));
        if figure.dotted {
            let censored = Array2::from_shape_fn(values.dim(), |place| {
                analysis
                    .quality
                    .get(place)
                    .is_some_and(|quality| quality.is_censored())
                    && !values[place].is_nan()
            });
            map::dot(&mut svg, frame, &censored, values.view(), style);
        }
        if values.iter().all(|value| value.is_nan()) {
            no_value(&mut svg, frame);
        }
        map::frame(&mut svg, frame);
        map::scale_bar(&mut svg, frame, n_cols, analysis.step_nm);
        let fwhm = analysis.recipe.probe_fwhm_nm();
        if fwhm.is_finite() {
            map::probe(&mut svg, frame, n_cols, analysis.step_nm, fwhm);
        }
    }
    let (first, last) = (tiling.panel(0), tiling.panel(maps.len() - 1));
    // Beside one row of maps the bar is as high as they are, but never too short for its ticks.
    let height = (last.bottom() - first.y - 12.0).clamp(36.0_f64.min(tiling.height - 30.0), 190.0);
    let center = (first.y + last.bottom()) / 2.0;
    let bar = Rect::new(
        tiling.width - COLOR_BAR_ROOM + 4.0,
        (center - height / 2.0).max(9.0),
        7.0,
        height.max(10.0),
    );
    let beyond = (
        all.iter().any(|value| *value < style.range.min),
        all.iter().any(|value| *value > style.range.max),
    );
    map::color_bar(&mut svg, bar, style, &figure.label, beyond, &figure.marks)?;
    svg.describe(&describe(study, figure.title));
    Ok(svg)
}

/// "633 K", or the name where the temperature is not known.
pub(super) fn temperature(analysis: &Analysis) -> Text {
    if analysis.temperature_k.is_finite() {
        Text::new(&format!(
            "{} K",
            crate::scale::short_number(analysis.temperature_k)
        ))
    } else {
        Text::new(&analysis.name)
    }
}

fn no_value(svg: &mut Svg, frame: Rect) {
    let (x, y) = frame.center();
    svg.text(
        x,
        y + 2.5,
        &Text::new("no value"),
        TextStyle::new(SMALL, MUTED)
            .anchored(Anchor::Middle)
            .halo(crate::color::Rgb::WHITE),
    );
}

fn describe(study: &Study, title: &str) -> String {
    let names: Vec<String> = study
        .analyses
        .iter()
        .map(|analysis| temperature(analysis).to_plain())
        .collect();
    format!("{title} at {}.", names.join(", "))
}
