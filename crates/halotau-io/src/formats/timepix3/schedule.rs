//! Which stretch of time is which frame?
//!
//! ```text
//! time = start + delay + row · line + col · dwell ... + dwell
//! ```
//!
//! A start is a pulse of a trigger input: of a frame, of a scan line, or of a whole scan; without pulses there is one start, the first
//! hit. What comes after the last column of a line is flyback and belongs to no frame.

use serde::Deserialize;

use super::index::{Index, LONGEST};
use super::words::Edge;

/// Ticks in a microsecond.
const TICKS_PER_US: f64 = 3840.0;
/// No exposure is shorter, in microseconds: hits jitter by as much.
const LEAST_US: f64 = 1e-3;
/// Positions of a scan line and lines of a scan beyond which a number is a mistake.
const MOST_POSITIONS: u32 = 1 << 20;

/// How a stream of events is cut into frames, as its sidecar says it.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct EventSettings {
    /// The pulses that begin something.
    trigger: Trigger,
    /// What they begin.
    starts: Starts,
    /// Lines of the scan.
    pub(super) n_rows: Option<u32>,
    /// Positions of a line.
    pub(super) n_cols: Option<u32>,
    /// Exposure of a frame.
    pub(super) dwell_us: Option<f64>,
    /// From a pulse to the first frame that it begins.
    delay_us: f64,
    /// From line to line where pulses begin scans; where it is not given, lines follow each other without flyback.
    line_us: Option<f64>,
    /// Where the chips are on the detector.
    pub(super) chips: Option<super::layout::Chips>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Trigger {
    #[default]
    Tdc1Rise,
    Tdc1Fall,
    Tdc2Rise,
    Tdc2Fall,
    None,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Starts {
    #[default]
    Frame,
    Line,
    Scan,
}

impl Trigger {
    fn edge(self) -> Option<Edge> {
        match self {
            Self::Tdc1Rise => Some(Edge::Tdc1Rise),
            Self::Tdc1Fall => Some(Edge::Tdc1Fall),
            Self::Tdc2Rise => Some(Edge::Tdc2Rise),
            Self::Tdc2Fall => Some(Edge::Tdc2Fall),
            Self::None => None,
        }
    }
}

/// The frames of a stream in time, all in ticks.
#[derive(Debug, Clone)]
pub(super) struct Schedule {
    /// Growing; with the delay.
    starts: Vec<i64>,
    n_rows: u64,
    n_cols: u64,
    dwell: f64,
    line: f64,
    pub(super) n_frames: u64,
}

impl EventSettings {
    /// Settings for a stream without any: each pulse of the edge that has most begins a frame, or all is one frame.
    pub(super) fn guess(index: &Index) -> Self {
        let most = Edge::ALL
            .into_iter()
            .rev()
            .max_by_key(|&edge| index.pulses(edge).len());
        let trigger = match most.filter(|&edge| index.pulses(edge).len() > 1) {
            Some(Edge::Tdc1Rise) => Trigger::Tdc1Rise,
            Some(Edge::Tdc1Fall) => Trigger::Tdc1Fall,
            Some(Edge::Tdc2Rise) => Trigger::Tdc2Rise,
            Some(Edge::Tdc2Fall) => Trigger::Tdc2Fall,
            None => Trigger::None,
        };
        Self {
            trigger,
            ..Self::default()
        }
    }

    /// What the settings do, in words.
    pub(super) fn describe(&self) -> String {
        match self.trigger.edge() {
            Some(edge) => format!("a new frame at each pulse {}", edge.name()),
            None => "one frame of all hits".to_owned(),
        }
    }

    /// Scan lines and positions of a line, where both are known.
    pub(super) fn scan(&self, n_starts: usize) -> Option<(usize, usize)> {
        let n_cols = usize::try_from(self.n_cols?).ok()?;
        let n_rows = match (self.n_rows, self.starts) {
            (Some(n_rows), _) => usize::try_from(n_rows).ok()?,
            (None, Starts::Line) => n_starts,
            (None, _) => return None,
        };
        Some((n_rows, n_cols))
    }

    /// Lays the frames over the time of a stream.
    ///
    /// # Errors
    ///
    /// In words, which setting is missing or makes no sense.
    pub(super) fn schedule(&self, index: &Index) -> Result<Schedule, String> {
        let ticks = |key: &str, us: Option<f64>| match us {
            Some(us) if !(us.is_finite() && (LEAST_US..1e12).contains(&us)) => {
                Err(format!("events.{key} = {us} is no time in microseconds"))
            }
            us => Ok(us.map(|us| us * TICKS_PER_US)),
        };
        let dwell = ticks("dwell_us", self.dwell_us)?;
        let line = ticks("line_us", self.line_us)?;
        if !(self.delay_us.is_finite() && self.delay_us.abs() < 1e12) {
            return Err(format!(
                "events.delay_us = {} is no time in microseconds",
                self.delay_us
            ));
        }
        for (key, len) in [("n_rows", self.n_rows), ("n_cols", self.n_cols)] {
            if len.is_some_and(|len| !(1..=MOST_POSITIONS).contains(&len)) {
                return Err(format!(
                    "events.{key} is not between 1 and {MOST_POSITIONS}"
                ));
            }
        }
        let delay = (self.delay_us * TICKS_PER_US) as i64;
        let (starts, is_triggered): (Vec<i64>, bool) = match self.trigger.edge() {
            Some(edge) => (index.pulses(edge).iter().map(|t| t + delay).collect(), true),
            None => (index.first_hit.iter().map(|t| t + delay).collect(), false),
        };
        let Some((&first, &last)) = starts.first().zip(starts.last()) else {
            return Err("it holds none of the pulses, or hits, that begin frames".to_owned());
        };
        let need = |key: &str, value: Option<u32>| {
            value.map(u64::from).ok_or_else(|| {
                format!("events.{key} is needed where pulses begin more than a frame")
            })
        };
        let forever = LONGEST as f64;
        // Until the next pulse, where no exposure is given.
        let gap = (last - first) as f64 / (starts.len() as f64 - 1.0).max(1.0);
        let mut schedule = Schedule {
            n_rows: 1,
            n_cols: 1,
            dwell: dwell.unwrap_or(forever),
            line: forever,
            n_frames: 0,
            starts,
        };
        let since_last = (index.end - last).max(0) as f64;
        if !is_triggered {
            let n_frames = (since_last / schedule.dwell) as u64;
            schedule.n_cols = n_frames.max(1);
            schedule.n_frames = schedule.n_cols;
            return Ok(schedule);
        }
        if self.starts != Starts::Frame {
            let dwell =
                dwell.ok_or("events.dwell_us is needed where pulses begin more than a frame")?;
            schedule.n_cols = need("n_cols", self.n_cols)?;
            let used = dwell * schedule.n_cols as f64;
            if self.starts == Starts::Scan {
                schedule.n_rows = need("n_rows", self.n_rows)?;
                schedule.line = line.unwrap_or(used);
            }
            if schedule.line < used * (1.0 - 1e-9) {
                return Err(format!(
                    "events.line_us is shorter than {} times events.dwell_us",
                    schedule.n_cols
                ));
            }
        }
        schedule.count(since_last, dwell.unwrap_or(gap));
        Ok(schedule)
    }
}

impl Schedule {
    fn per_start(&self) -> u64 {
        self.n_rows * self.n_cols
    }

    pub(super) fn n_starts(&self) -> usize {
        self.starts.len()
    }

    /// From a start to one of the frames that it begins.
    fn offset(&self, frame: u64) -> f64 {
        (frame / self.n_cols) as f64 * self.line + (frame % self.n_cols) as f64 * self.dwell
    }

    /// Counts the frames that ended before the stream did. The end of the stream is that of its last word, so the very last frame
    /// of what a pulse begins is whole where more than half of its exposure was seen.
    fn count(&mut self, since_last: f64, exposure: f64) {
        let per_start = self.per_start();
        let (mut whole, mut end) = (0, per_start);
        while whole < end {
            let middle = whole + (end - whole) / 2;
            if self.offset(middle) + exposure <= since_last {
                whole = middle + 1;
            } else {
                end = middle;
            }
        }
        let is_last = whole + 1 == per_start;
        if is_last && self.offset(whole) + exposure / 2.0 <= since_last {
            whole += 1;
        }
        self.n_frames = (self.starts.len() as u64 - 1) * per_start + whole;
    }

    /// When a frame begins and ends.
    pub(super) fn window(&self, frame: u64) -> (i64, i64) {
        let start_idx = (frame / self.per_start()) as usize;
        let offset = self.offset(frame % self.per_start());
        let start = self.starts[start_idx];
        let end = start.saturating_add((offset + self.dwell).ceil() as i64);
        let next = self.starts.get(start_idx + 1).copied();
        (
            start + offset.ceil() as i64,
            next.map_or(end, |next| end.min(next)),
        )
    }

    /// The frame that was exposed at a time.
    pub(super) fn frame_at(&self, time: i64) -> Option<u64> {
        let start_idx = self
            .starts
            .partition_point(|&start| start <= time)
            .checked_sub(1)?;
        let since = (time - self.starts[start_idx]) as f64;
        let row = (since / self.line) as u64;
        let col = ((since - row as f64 * self.line) / self.dwell) as u64;
        (row < self.n_rows && col < self.n_cols)
            .then(|| start_idx as u64 * self.per_start() + row * self.n_cols + col)
    }
}
