//! Where is the center over scan and record?

use halotau::calibrate::geometry::BlockCenter;

use super::CalibrationView;
use crate::axes::{LegendEntry, Marker, Plot, legend, panel_heading};
use crate::error::Result;
use crate::font::Text;
use crate::map;
use crate::scale::{Axis, Scale, nice_length, short_number};
use crate::svg::{Paint, Path, Rect, Svg};
use crate::theme::{FAST, INK, LABEL_TEXT, MUTED, SLOW, SMALL, TICK_TEXT, TWO_COLUMNS};

/// Displacement of the center over the scan and over time.
pub(super) fn descan(view: &CalibrationView<'_>) -> Result<Svg> {
    let mut svg = Svg::new(TWO_COLUMNS, 200.0, "Center over scan and time");
    let (n_rows, n_cols) = view.scan;
    let (width, height) = map::fit(n_rows, n_cols, 200.0, 150.0);
    // A scan of one row still needs room for its arrows.
    let frame = Rect::new(34.0, 18.0, width.max(60.0), height.max(60.0));
    let heading = Text::new("center over the scan");
    panel_heading(&mut svg, frame.x, 10.5, 0, heading, 230.0);
    // Around the scan there is room for the arrows at its border.
    let room = 0.08 * n_rows.max(n_cols) as f64;
    let plot = Plot::new(
        frame,
        Axis::linear(-0.5 - room, n_cols as f64 - 0.5 + room),
        Axis::linear(-0.5 - room, n_rows as f64 - 0.5 + room),
    );
    let scan_plot = ScanPlot::new(view, &plot);
    svg.clipped(frame, |svg| scan_plot.draw(svg));
    plot.x_axis(&mut svg, &Text::new("Scan column"));
    map::frame(&mut svg, frame);
    rows_downward(&mut svg, &plot, n_rows);
    scan_plot.legend(&mut svg);
    periods(&mut svg, view);
    svg.describe(
        "Displacement of the pattern's center over the scan as arrows, and over time as a curve.",
    );
    Ok(svg)
}

/// Labels of scan rows, which count downward as in every map.
fn rows_downward(svg: &mut Svg, plot: &Plot, n_rows: usize) {
    let frame = plot.frame;
    let step = (nice_length(n_rows as f64 / 3.0) as usize).max(1);
    for row in (0..n_rows).step_by(step) {
        let y = plot.py((n_rows - 1 - row) as f64);
        svg.line((frame.x - 3.0, y), (frame.x, y), Paint::line(INK, 0.6));
        let label = Text::new(&row.to_string());
        let width = label.width_em() * SMALL;
        svg.text(frame.x - 5.0 - width, y + 2.4, &label, TICK_TEXT);
    }
    let at = (frame.x - 22.0, frame.center().1);
    svg.text(at.0, at.1, &Text::new("Scan row"), LABEL_TEXT.upward());
}

/// Arrows over the scan.
struct ScanPlot<'a> {
    view: &'a CalibrationView<'a>,
    plot: Plot,
    /// Points of the page a native pixel.
    zoom: f64,
    length_px: f64,
}

impl<'a> ScanPlot<'a> {
    fn new(view: &'a CalibrationView<'a>, plot: &Plot) -> Self {
        let measured = view.measured;
        let counted = measured.blocks.iter().filter(|block| block.weight > 0.0);
        let longest = counted
            .map(|block| {
                let (row, col) = (
                    block.center_row - measured.center[0].value,
                    block.center_col - measured.center[1].value,
                );
                row.hypot(col)
            })
            .fold(0.05, f64::max);
        let length_px = nice_length(longest);
        // As long as the way to the next part of the scan: no arrow reaches the next but one. Parts in one row of the scan may differ
        // by fractions of a step, where frames were lost.
        let steps = |of: fn(&BlockCenter) -> f64| {
            let mut places: Vec<f64> = measured.blocks.iter().map(of).collect();
            places.sort_by(f64::total_cmp);
            let steps = places.windows(2).map(|pair| pair[1] - pair[0]);
            steps
                .filter(|step| *step > 0.5)
                .fold(f64::INFINITY, f64::min)
        };
        let apart = steps(|block| block.row).min(steps(|block| block.col));
        let points = (plot.px(1.0) - plot.px(0.0)) * apart;
        let cell = points.min(plot.frame.width.min(plot.frame.height) / 6.0);
        Self {
            view,
            plot: *plot,
            zoom: cell / longest,
            length_px,
        }
    }

    fn draw(&self, svg: &mut Svg) {
        let measured = self.view.measured;
        let (mid_row, mid_col) = (
            (self.view.scan.0 as f64 - 1.0) / 2.0,
            (self.view.scan.1 as f64 - 1.0) / 2.0,
        );
        let (mut used, mut arrows) = (Path::default(), Path::default());
        let (mut tips, mut strays) = (Path::default(), Path::default());
        for block in &measured.blocks {
            // Rows count downward, as in every map.
            let row = self.view.scan.0 as f64 - 1.0 - block.row;
            let (x, y) = (self.plot.px(block.col), self.plot.py(row));
            let (down, across) = self
                .view
                .calibration
                .descan
                .at(block.row - mid_row, block.col - mid_col);
            used.move_to(x, y);
            used.line_to(x + self.zoom * across, y + self.zoom * down);
            if block.weight == 0.0 {
                Marker::Square.draw(&mut strays, x, y, 2.4);
                continue;
            }
            let tip = (
                x + self.zoom * (block.center_col - measured.center[1].value),
                y + self.zoom * (block.center_row - measured.center[0].value),
            );
            arrows.move_to(x, y);
            arrows.line_to(tip.0, tip.1);
            Marker::Circle.draw(&mut tips, tip.0, tip.1, 1.5);
        }
        svg.path(&used, Paint::line(SLOW.tint(0.55), 3.0).round());
        svg.path(&arrows, Paint::line(INK, 0.7));
        svg.path(&tips, Paint::fill(INK));
        svg.path(&strays, Paint::line(MUTED, 0.9));
    }

    fn legend(&self, svg: &mut Svg) {
        let x = self.plot.frame.right() + 10.0;
        let base = self.plot.frame.y + 10.0;
        let length = self.zoom * self.length_px;
        svg.line((x, base), (x + length, base), Paint::line(INK, 1.4));
        let label = Text::new(&format!("{} px", short_number(self.length_px)));
        svg.text(x, base + 9.0, &label, TICK_TEXT);
        let entry = |text: &str, marker, paint| LegendEntry {
            text: Text::new(text),
            marker,
            paint,
        };
        let entries = [
            entry("measured", None, Paint::line(INK, 0.8)),
            entry("used", None, Paint::line(SLOW.tint(0.55), 3.0)),
            entry("left out", Some(Marker::Square), Paint::line(MUTED, 0.9)),
        ];
        legend(svg, x, base + 16.0, &entries);
    }
}

fn periods(svg: &mut Svg, view: &CalibrationView<'_>) {
    let frame = Rect::new(TWO_COLUMNS - 186.0, 18.0, 178.0, 150.0);
    panel_heading(
        svg,
        frame.x,
        10.5,
        1,
        Text::new("center over the record"),
        178.0,
    );
    let periods = &view.measured.periods;
    let ends = periods.iter().flat_map(|period| {
        [period.row, period.col].into_iter().flat_map(|shift| {
            let error = if shift.error.is_finite() {
                shift.error
            } else {
                0.0
            };
            [shift.value - error, shift.value + error]
        })
    });
    let y = Axis::around(Scale::Linear, ends.chain([-0.05, 0.05]), 0.1);
    let x = Axis::around(
        Scale::Linear,
        periods.iter().map(|period| period.time),
        0.06,
    );
    let plot = Plot::new(frame, x, y);
    plot.grid(svg);
    plot.clipped(svg, |svg| {
        for (color, marker, of) in [
            (
                SLOW,
                Marker::Circle,
                (|p| p.row) as fn(&halotau::calibrate::measure::PeriodCenter) -> _,
            ),
            (FAST, Marker::Square, |p| p.col),
        ] {
            let points = || periods.iter().map(move |period| (period.time, of(period)));
            plot.line(
                svg,
                points().map(
                    |(time, shift): (f64, halotau::calibrate::measure::WithError)| {
                        (time, shift.value)
                    },
                ),
                Paint::line(color, 0.8),
            );
            plot.error_bars(
                svg,
                points().map(|(time, shift)| {
                    (time, shift.value - shift.error, shift.value + shift.error)
                }),
                1.6,
                Paint::line(color, 0.8),
            );
            plot.points(
                svg,
                points().map(|(time, shift)| (time, shift.value)),
                marker,
                2.0,
                Paint::fill(color),
            );
        }
    });
    plot.axes(
        svg,
        &Text::new("Scan"),
        &Text::new("Displacement (native pixels)"),
    );
    let entry = |text: &str, marker, color| LegendEntry {
        text: Text::new(text),
        marker: Some(marker),
        paint: Paint::fill(color),
    };
    let entries = [
        entry("rows", Marker::Circle, SLOW),
        entry("columns", Marker::Square, FAST),
    ];
    legend(svg, frame.x + 5.0, frame.y + 3.0, &entries);
}
