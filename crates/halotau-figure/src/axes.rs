//! Where in a frame does a number lie? Frames with ticks and labels, and lines, bands and points in them.

use crate::color::Rgb;
use crate::font::{CAP_HEIGHT, Text};
use crate::scale::{Axis, Scale, Ticks};
use crate::svg::{Anchor, Paint, Path, Rect, Svg, TextStyle};
use crate::theme::{FRAME, GRID, HEADING, INK, LABEL, LABEL_TEXT, SMALL, TICK_TEXT};

/// Length of a major tick, points.
const TICK: f64 = 3.0;
/// Length of a minor tick, points.
const MINOR_TICK: f64 = 1.6;
/// Room between a tick and its label, points.
const TICK_GAP: f64 = 2.0;

/// Shape of a point: the second sign beside color.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Marker {
    /// ●
    Circle,
    /// ■
    Square,
    /// ▲
    Triangle,
    /// ◆
    Diamond,
    /// ▼
    Inverted,
}

impl Marker {
    /// All, in the order in which they are given away.
    pub const ALL: [Self; 5] = [
        Self::Circle,
        Self::Square,
        Self::Triangle,
        Self::Diamond,
        Self::Inverted,
    ];

    /// The shape of one of several series.
    pub fn of(index: usize) -> Self {
        Self::ALL[index % Self::ALL.len()]
    }

    /// Adds the shape to a path; shapes of one radius look equally large.
    pub fn draw(self, path: &mut Path, x: f64, y: f64, radius: f64) {
        let polygon = |path: &mut Path, corners: &[(f64, f64)]| {
            for (n, (dx, dy)) in corners.iter().enumerate() {
                let (x, y) = (x + radius * dx, y + radius * dy);
                if n == 0 {
                    path.move_to(x, y);
                } else {
                    path.line_to(x, y);
                }
            }
            path.close();
        };
        match self {
            Self::Circle => path.circle(x, y, radius),
            Self::Square => path.rectangle(Rect::new(
                x - 0.9 * radius,
                y - 0.9 * radius,
                1.8 * radius,
                1.8 * radius,
            )),
            Self::Triangle => polygon(path, &[(0.0, -1.25), (1.1, 0.75), (-1.1, 0.75)]),
            Self::Inverted => polygon(path, &[(0.0, 1.25), (1.1, -0.75), (-1.1, -0.75)]),
            Self::Diamond => polygon(path, &[(0.0, -1.3), (1.1, 0.0), (0.0, 1.3), (-1.1, 0.0)]),
        }
    }
}

/// A frame with two axes.
#[derive(Debug, Clone, Copy)]
pub struct Plot {
    /// The frame.
    pub frame: Rect,
    /// From left to right.
    pub x: Axis,
    /// From bottom to top.
    pub y: Axis,
}

impl Plot {
    /// A frame with its axes.
    pub fn new(frame: Rect, x: Axis, y: Axis) -> Self {
        Self { frame, x, y }
    }

    /// Abscissa on the page.
    pub fn px(&self, x: f64) -> f64 {
        self.frame.x + self.frame.width * self.x.fraction(x)
    }

    /// Ordinate on the page.
    pub fn py(&self, y: f64) -> f64 {
        self.frame.bottom() - self.frame.height * self.y.fraction(y)
    }

    /// Ticks along the lower edge, about one every 34 points.
    pub fn x_ticks(&self) -> Ticks {
        self.x
            .ticks((self.frame.width / 34.0).clamp(2.0, 9.0) as usize)
    }

    /// Ticks along the left edge, about one every 24 points.
    pub fn y_ticks(&self) -> Ticks {
        self.y
            .ticks((self.frame.height / 24.0).clamp(2.0, 9.0) as usize)
    }

    /// Grid lines at the major ticks; drawn before the data.
    pub fn grid(&self, svg: &mut Svg) {
        let mut path = Path::default();
        for (x, _) in self.x_ticks().major {
            path.move_to(self.px(x), self.frame.y);
            path.line_to(self.px(x), self.frame.bottom());
        }
        for (y, _) in self.y_ticks().major {
            path.move_to(self.frame.x, self.py(y));
            path.line_to(self.frame.right(), self.py(y));
        }
        svg.path(&path, Paint::line(GRID, 0.5));
    }

    /// The frame and both axes; drawn after the data.
    pub fn axes(&self, svg: &mut Svg, x_label: &Text, y_label: &Text) {
        self.x_axis(svg, x_label);
        self.y_axis(svg, y_label);
        svg.rect(self.frame, FRAME);
    }

    /// Ticks, their labels and the label of the lower edge.
    pub fn x_axis(&self, svg: &mut Svg, label: &Text) {
        let ticks = self.x_ticks();
        let bottom = self.frame.bottom();
        let mut path = Path::default();
        for (x, _) in &ticks.major {
            path.move_to(self.px(*x), bottom);
            path.line_to(self.px(*x), bottom + TICK);
        }
        for x in &ticks.minor {
            path.move_to(self.px(*x), bottom);
            path.line_to(self.px(*x), bottom + MINOR_TICK);
        }
        svg.path(&path, FRAME);
        let base = bottom + TICK + TICK_GAP + CAP_HEIGHT * SMALL;
        let mut free_from = f64::NEG_INFINITY;
        for (x, tick) in &ticks.major {
            let text = Text::new(tick);
            let half = text.width_em() * SMALL / 2.0;
            let center = self.px(*x);
            // A label that would touch the one before is left out; its tick stays.
            if center - half < free_from {
                continue;
            }
            free_from = center + half + 3.0;
            svg.text(center, base, &text, TICK_TEXT.anchored(Anchor::Middle));
        }
        let center = self.frame.center().0;
        svg.text(center, base + LABEL + 3.0, label, LABEL_TEXT);
    }

    /// Ticks, their labels and the label of the left edge.
    pub fn y_axis(&self, svg: &mut Svg, label: &Text) {
        let ticks = self.y_ticks();
        let left = self.frame.x;
        let mut path = Path::default();
        for (y, _) in &ticks.major {
            path.move_to(left, self.py(*y));
            path.line_to(left - TICK, self.py(*y));
        }
        for y in &ticks.minor {
            path.move_to(left, self.py(*y));
            path.line_to(left - MINOR_TICK, self.py(*y));
        }
        svg.path(&path, FRAME);
        let mut widest = 0.0_f64;
        for (y, tick) in &ticks.major {
            let base = self.py(*y) + CAP_HEIGHT * SMALL / 2.0;
            let right = left - TICK - TICK_GAP;
            let width = svg.text(
                right,
                base,
                &Text::new(tick),
                TICK_TEXT.anchored(Anchor::End),
            );
            widest = widest.max(width);
        }
        let x = left - TICK - TICK_GAP - widest - 5.0;
        svg.text(x, self.frame.center().1, label, LABEL_TEXT.upward());
    }

    /// A line through finite points; it breaks where one is not.
    pub fn line(&self, svg: &mut Svg, points: impl IntoIterator<Item = (f64, f64)>, paint: Paint) {
        let mut path = Path::default();
        let mut pen_down = false;
        for (x, y) in points {
            let (px, py) = (self.px(x), self.py(y));
            if !(px.is_finite() && py.is_finite()) {
                pen_down = false;
            } else if pen_down {
                path.line_to(px, py);
            } else {
                path.move_to(px, py);
                pen_down = true;
            }
        }
        svg.path(&path, paint);
    }

    /// The area between two curves over finite points `(x, low, high)`.
    pub fn band(&self, svg: &mut Svg, points: &[(f64, f64, f64)], color: Rgb, opacity: f64) {
        let on_page = |x: f64, y: f64| {
            // Ends of intervals may be infinite or, on a logarithmic axis, not positive: the clip hides what lies beyond.
            let far = self.frame.height * 2.0;
            let py = self.py(y);
            let py = if py.is_nan() || py == f64::INFINITY {
                self.frame.bottom() + far
            } else {
                py.max(self.frame.y - far)
            };
            (self.px(x), py)
        };
        let finite: Vec<_> = points
            .iter()
            .filter(|(x, low, high)| self.px(*x).is_finite() && !low.is_nan() && !high.is_nan())
            .collect();
        if finite.len() < 2 {
            return;
        }
        let mut path = Path::default();
        let upper = finite.iter().map(|(x, _, high)| on_page(*x, *high));
        let lower = finite.iter().rev().map(|(x, low, _)| on_page(*x, *low));
        for (n, (x, y)) in upper.chain(lower).enumerate() {
            if n == 0 {
                path.move_to(x, y);
            } else {
                path.line_to(x, y);
            }
        }
        path.close();
        svg.path(&path, Paint::fill(color).opacity(opacity));
    }

    /// Marks at finite points.
    pub fn points(
        &self,
        svg: &mut Svg,
        points: impl IntoIterator<Item = (f64, f64)>,
        marker: Marker,
        radius: f64,
        paint: Paint,
    ) {
        let mut path = Path::default();
        for (x, y) in points {
            let (px, py) = (self.px(x), self.py(y));
            if px.is_finite() && py.is_finite() {
                marker.draw(&mut path, px, py, radius);
            }
        }
        svg.path(&path, paint);
    }

    /// Vertical bars with caps, `(x, low, high)`; an end outside of the frame is drawn as an open end at its edge.
    pub fn error_bars(
        &self,
        svg: &mut Svg,
        bars: impl IntoIterator<Item = (f64, f64, f64)>,
        cap: f64,
        paint: Paint,
    ) {
        let mut path = Path::default();
        for (x, low, high) in bars {
            let px = self.px(x);
            if !px.is_finite() || low.is_nan() || high.is_nan() {
                continue;
            }
            let inside = |value: f64| {
                let fraction = self.y.fraction(value);
                (0.0..=1.0).contains(&fraction)
            };
            let place = |value: f64, outside: f64| {
                if inside(value) {
                    self.py(value)
                } else {
                    outside
                }
            };
            let non_positive = self.y.scale == Scale::Log && high <= 0.0;
            if non_positive {
                continue;
            }
            let (from, to) = (place(low, self.frame.bottom()), place(high, self.frame.y));
            path.move_to(px, from);
            path.line_to(px, to);
            for (value, y) in [(low, from), (high, to)] {
                if inside(value) && cap > 0.0 {
                    path.move_to(px - cap, y);
                    path.line_to(px + cap, y);
                }
            }
        }
        svg.path(&path, paint);
    }

    /// Draws inside the frame only.
    pub fn clipped(&self, svg: &mut Svg, draw: impl FnOnce(&mut Svg)) {
        svg.clipped(self.frame, draw);
    }
}

/// "(a) 633 K" with its base line above a frame; shortened to the width given.
pub fn panel_heading(svg: &mut Svg, x: f64, base: f64, index: usize, heading: Text, width: f64) {
    let text = panel_letter(index).join(heading);
    let style = TextStyle::new(HEADING, INK);
    svg.text(x, base, &text.fitted(width / HEADING), style);
}

fn panel_letter(index: usize) -> Text {
    // After z comes aa, as in spreadsheets.
    let letter = |index: usize| char::from(b'a' + (index % 26) as u8);
    let mut name = String::new();
    if index >= 26 {
        name.push(letter(index / 26 - 1));
    }
    name.push(letter(index));
    Text::default().bold(&format!("{name}  "))
}

/// One line of a legend.
#[derive(Debug, Clone)]
pub struct LegendEntry {
    /// What it stands for.
    pub text: Text,
    /// Shape, where it is a point.
    pub marker: Option<Marker>,
    /// Fill and outline of the point, or the line.
    pub paint: Paint,
}

/// The vertical axis of a panel made longer at its upper end, so that a legend of so many lines covers no data.
pub fn with_legend(axis: Axis, place: Rect, n_lines: usize) -> Axis {
    let share = (n_lines as f64 * (SMALL + 3.0) + 4.0) / place.height;
    let stretch = 1.0 / (1.0 - share.clamp(0.0, 0.6));
    let max = match axis.scale {
        Scale::Linear => axis.min + (axis.max - axis.min) * stretch,
        Scale::Log => axis.min * (axis.max / axis.min).powf(stretch),
    };
    Axis { max, ..axis }
}

/// A legend with its upper left corner at a point, one line an entry. Returns its width.
pub fn legend(svg: &mut Svg, x: f64, y: f64, entries: &[LegendEntry]) -> f64 {
    let mut widest = 0.0_f64;
    for (n, entry) in entries.iter().enumerate() {
        let base = y + SMALL + n as f64 * (SMALL + 3.0);
        let middle = base - CAP_HEIGHT * SMALL / 2.0;
        match entry.marker {
            Some(marker) => {
                let mut path = Path::default();
                marker.draw(&mut path, x + 4.0, middle, 2.2);
                svg.path(&path, entry.paint);
            }
            None => svg.line((x, middle), (x + 9.0, middle), entry.paint),
        }
        let width = svg.text(x + 13.0, base, &entry.text, TICK_TEXT);
        widest = widest.max(width + 13.0);
    }
    widest
}
