//! Which frame of a recording is which time and scan position?
//!
//! ```text
//! acquired = sync_offset + time · (rows · line + between_scans) + row · line + prescan_cols + col
//! line     = prescan_cols + cols + flyback_cols
//! ```
//!
//! The scan's shape is what the person gives, else what the file states, else what the gaps between the time stamps
//! say; where nothing does, all frames are one row of positions and a warning says so. Frames that should be there and are
//! not (cut short, lost) are listed as missing and read as zeros.

use std::ops::Range;

use halotau::recipe::{FrameLayout, Orientation};
use halotau::series::{FrameBlock, FrameRun, SeriesHeader, SeriesShape, Warning};
use halotau::source::{EventBlock, EventSource, FrameSource};
use halotau::with_samples;

use super::gaps::{Stretch, stretches};
use super::{Certainty, EventStream, FrameStream, ScanStatement, counters, scan_shape};
use crate::arrangement::{NOT_STATED, nearest_shapes, not_stated};
use crate::error::{Error, Result, ShapeMismatch};
use crate::sample_bytes::prepare;

/// A recording is cut short, not of another shape, where it holds at least one in this many frames ...
const MISSING_FACTOR: u64 = 1000;
/// ... or where at most this many are missing.
const MOST_MISSING: u64 = 100_000;

/// A stamp before 1990, when no camera here was built, counts from another moment than 1970.
const FIRST_DATE_NS: i64 = 631_152_000_000_000_000;

/// A recording as a series of scans.
pub(crate) struct ArrangedSource {
    header: SeriesHeader,
    stream: Box<dyn FrameStream>,
    scan: Scan,
    stretches: Vec<Stretch>,
    pattern: Orientation,
}

/// Where the positions of a scan are in the order of acquisition.
#[derive(Debug, Clone, Copy)]
struct Scan {
    /// As acquired, before it is turned.
    n_rows: usize,
    n_cols: usize,
    sync_offset: i64,
    prescan_cols: usize,
    flyback_cols: usize,
    between_scans: usize,
    snake: bool,
    turn: Orientation,
}

impl Scan {
    fn of(statement: &ScanStatement, layout: &FrameLayout) -> Self {
        Self {
            n_rows: statement.n_rows,
            n_cols: statement.n_cols,
            sync_offset: layout.sync_offset.unwrap_or(statement.sync_offset),
            prescan_cols: layout.prescan_cols.unwrap_or(statement.prescan_cols),
            flyback_cols: layout.flyback_cols.unwrap_or(statement.flyback_cols),
            between_scans: layout.between_scans,
            snake: layout.snake,
            turn: layout.scan,
        }
    }

    /// Frames from the start of one line to the start of the next, `None` where that is beyond counting.
    fn line(&self) -> Option<i64> {
        let line = self.prescan_cols.checked_add(self.n_cols)?;
        i64::try_from(line.checked_add(self.flyback_cols)?).ok()
    }

    /// Frames from the start of one scan to the start of the next.
    fn stride(&self) -> Option<i64> {
        let rows = i64::try_from(self.n_rows).ok()?;
        let between = i64::try_from(self.between_scans).ok()?;
        self.line()?.checked_mul(rows)?.checked_add(between)
    }

    /// Frames from the start of a scan to its last position.
    fn length(&self) -> Option<i64> {
        let between = i64::try_from(self.between_scans + self.flyback_cols).ok()?;
        self.stride()?.checked_sub(between)
    }

    /// Whether neighboring columns are neighboring frames.
    fn keeps_rows(&self) -> bool {
        !self.snake && !self.turn.transpose && !self.turn.flip_cols
    }

    /// Number in the order of acquisition of a frame of the turned scan. The constructor has checked that it can be counted.
    fn acquired(&self, time: usize, frame: usize) -> i64 {
        let (n_rows, n_cols) = self.turn.turned(self.n_rows, self.n_cols);
        let (row, col) = (frame / n_cols, frame % n_cols);
        let (row, col) = self.turn.before(row, col, n_rows, n_cols);
        let col = if self.snake && row % 2 == 1 {
            self.n_cols - 1 - col
        } else {
            col
        };
        let line = (self.prescan_cols + self.n_cols + self.flyback_cols) as i64;
        let stride = line * self.n_rows as i64 + self.between_scans as i64;
        self.sync_offset
            + time as i64 * stride
            + row as i64 * line
            + self.prescan_cols as i64
            + col as i64
    }
}

/// Frames of a scan that follow each other, and where they are stored, if they are.
struct Piece {
    n_frames: usize,
    stored: Option<u64>,
}

impl ArrangedSource {
    /// Finds the scan and what is missing of it.
    ///
    /// `wanted` is the shape that a person gave, with 0 for "find out".
    ///
    /// # Errors
    ///
    /// [`Error::Shape`] where the shape contradicts the frames, or what reading headers of frames gives.
    pub(crate) fn new(
        stream: Box<dyn FrameStream>,
        wanted: Option<[usize; 5]>,
        layout: &FrameLayout,
    ) -> Result<Self> {
        let stream = counters::choose(stream, layout.counter)?;
        let about = stream.header();
        let mut header = about.series.clone();
        let n_frames = about.n_frames();
        let shape = header.shape;
        let name = header.name.clone();
        let fail = |problem: String| Error::Shape {
            what: name.clone(),
            mismatch: Box::new(ShapeMismatch {
                wanted: wanted.map_or_else(Vec::new, |w| w.map(|len| len as u64).to_vec()),
                found: vec![
                    n_frames,
                    shape.pattern_rows as u64,
                    shape.pattern_cols as u64,
                ],
                problem,
                suggestions: nearest_shapes(
                    n_frames,
                    wanted.map_or([0; 3], |w| [w[0], w[1], w[2]].map(|len| len as u64)),
                ),
            }),
        };
        if n_frames == 0 || shape.frame_len() == 0 {
            return Err(fail("there is no whole frame".to_owned()));
        }
        let given = |len: usize, found: usize| len == 0 || len == found;
        let (rows, cols) = layout
            .pattern
            .turned(shape.pattern_rows, shape.pattern_cols);
        if let Some(w) = wanted
            && !(given(w[3], rows) && given(w[4], cols))
        {
            return Err(fail("the patterns have another size".to_owned()));
        }
        let stretches = stretches(stream.as_ref())?;
        let n_acquired = stretches.last().map_or(0, |s| s.acquired + s.n_frames);
        let lost = n_acquired - n_frames;
        if lost > 0 {
            header.warnings.push(Warning::new(
                "W108",
                format!("The camera's numbers say that {lost} frames were lost between the first and the last; they are marked as missing."),
            ));
        }
        let statement = state(
            stream.as_ref(),
            n_acquired,
            wanted,
            layout,
            lost > 0,
            &mut header,
        )
        .map_err(|problem| match problem {
            Problem::Shape(problem) => fail(problem),
            Problem::Read(error) => error,
        })?;
        let scan = Scan::of(&statement, layout);
        let n_times = match (wanted.map_or(0, |w| w[0]), statement.n_times) {
            (0, Some(n_times)) if n_times > 0 => Some(n_times),
            (0, _) => times_begun(&scan, n_acquired),
            (n_times, _) => Some(n_times),
        };
        let n_bytes = |n_times: usize| {
            let (n_rows, n_cols) = scan.turn.turned(scan.n_rows, scan.n_cols);
            let shape = SeriesShape {
                n_times,
                n_rows,
                n_cols,
                pattern_rows: rows,
                pattern_cols: cols,
            };
            // Everything that is counted later is smaller.
            let end = scan.stride()?.checked_mul(n_times as i64)?;
            end.checked_add(scan.sync_offset.checked_abs()?)?;
            let n_bytes = shape.n_bytes(header.sample_type)?;
            let n_positions = (n_times as u64).checked_mul(shape.n_positions() as u64)?;
            let credible = n_positions <= MOST_MISSING.saturating_add(MISSING_FACTOR * n_acquired);
            (credible && usize::try_from(n_bytes).is_ok()).then_some(shape)
        };
        let Some(shape) = n_times.and_then(n_bytes) else {
            let found = format!(
                "{n_acquired} frames are far too few for scans of {} x {} positions",
                statement.n_rows, statement.n_cols
            );
            return Err(fail(found));
        };
        header.shape = shape;
        header.scan_origin = Some(statement.origin.clone());
        header.chunk.n_times = 1;
        header.chunk.n_rows = 1;
        header.chunk.n_cols = header.chunk.n_cols.clamp(1, shape.n_cols);
        let mut source = Self {
            header,
            stream,
            scan,
            stretches,
            pattern: layout.pattern,
        };
        source.find_missing()?;
        source.warn_of_frames_left(n_acquired);
        source.find_times()?;
        Ok(source)
    }

    /// The layout that was found, said explicitly, so that another recording can be arranged in the same way.
    pub(crate) fn layout(&self, asked: &FrameLayout) -> FrameLayout {
        FrameLayout {
            sync_offset: Some(self.scan.sync_offset),
            prescan_cols: Some(self.scan.prescan_cols),
            flyback_cols: Some(self.scan.flyback_cols),
            ..*asked
        }
    }

    /// Where frames of a scan are stored, in pieces that follow each other.
    fn pieces(&self, time: usize, frames: Range<usize>) -> Vec<Piece> {
        let n_cols = self.header.shape.n_cols;
        let mut pieces: Vec<Piece> = Vec::new();
        let mut push = |n_frames: usize, stored: Option<u64>| {
            if let Some(last) = pieces.last_mut() {
                let follows = match (last.stored, stored) {
                    (None, None) => true,
                    (Some(before), Some(this)) => before + last.n_frames as u64 == this,
                    _ => false,
                };
                if follows {
                    last.n_frames += n_frames;
                    return;
                }
            }
            pieces.push(Piece { n_frames, stored });
        };
        let mut frame = frames.start;
        while frame < frames.end {
            let n = if self.scan.keeps_rows() {
                (n_cols - frame % n_cols).min(frames.end - frame)
            } else {
                1
            };
            let mut acquired = self.scan.acquired(time, frame);
            let end = acquired + n as i64;
            while acquired < end {
                let (n, stored) = self.stored(acquired, end);
                push(n, stored);
                acquired += n as i64;
            }
            frame += n;
        }
        pieces
    }

    /// How many frames from `acquired` on, before `end`, are stored one after another (and where), or are missing.
    fn stored(&self, acquired: i64, end: i64) -> (usize, Option<u64>) {
        let Ok(first) = u64::try_from(acquired) else {
            return ((end.min(0) - acquired) as usize, None);
        };
        let end = end as u64;
        let after = self.stretches.partition_point(|s| s.acquired <= first);
        let stretch = after.checked_sub(1).map(|idx| &self.stretches[idx]);
        if let Some(s) = stretch
            && first < s.acquired + s.n_frames
        {
            let n = (s.acquired + s.n_frames).min(end) - first;
            return (n as usize, Some(s.stored + (first - s.acquired)));
        }
        let next = self.stretches.get(after).map_or(end, |s| s.acquired);
        ((next.min(end) - first) as usize, None)
    }

    /// Lists the frames that should be there and are not.
    fn find_missing(&mut self) -> Result<()> {
        let shape = self.header.shape;
        let mut n_missing = 0;
        for first_time in 0..shape.n_times {
            let mut first_frame = 0;
            for piece in self.pieces(first_time, 0..shape.n_positions()) {
                if piece.stored.is_none() {
                    n_missing += piece.n_frames;
                    self.header.missing.push(FrameRun {
                        first_time,
                        n_times: 1,
                        first_frame,
                        n_frames: piece.n_frames,
                    });
                }
                first_frame += piece.n_frames;
            }
        }
        let n_frames = shape.n_times * shape.n_positions();
        if n_missing == n_frames {
            return Err(Error::Shape {
                what: self.header.name.clone(),
                mismatch: Box::new(ShapeMismatch {
                    wanted: Vec::new(),
                    found: vec![self.stream.header().n_frames()],
                    problem: "no frame belongs to a position (sync_offset?)".to_owned(),
                    suggestions: Vec::new(),
                }),
            });
        }
        if n_missing > 0 {
            self.header.warnings.push(Warning::new(
                "W103",
                format!(
                    "{n_missing} of {n_frames} frames are not there: the recording was cut short, frames were lost, or the scan has another shape. They are marked as missing and take part in nothing."
                ),
            ));
        }
        Ok(())
    }

    fn warn_of_frames_left(&mut self, n_acquired: u64) {
        let scan = &self.scan;
        let end = scan
            .stride()
            .zip(scan.length())
            .map_or(0, |(stride, length)| {
                scan.sync_offset + stride * (self.header.shape.n_times as i64 - 1) + length
            });
        let flyback = (scan.between_scans + scan.flyback_cols) as u64;
        let left = n_acquired.saturating_sub(end.max(0) as u64);
        if left > flyback {
            self.header.warnings.push(Warning::new(
                "W104",
                format!(
                    "{left} frames after the last scan belong to no position and are left out. If the scan has another shape, give data.shape."
                ),
            ));
        }
    }

    /// Starts of the scans from the stamps of their first frames.
    fn find_times(&mut self) -> Result<()> {
        let shape = self.header.shape;
        let first_stored = |time: usize| {
            let mut pieces = self.pieces(time, 0..shape.n_positions()).into_iter();
            let first = pieces.next()?;
            first.stored
        };
        let mut stamps = Vec::with_capacity(shape.n_times);
        for time in 0..shape.n_times {
            let Some(frame) = first_stored(time) else {
                break;
            };
            match self.stream.stamp_ns(frame)? {
                Some(stamp) => stamps.push(stamp),
                None => break,
            }
        }
        let Some(&first) = stamps.first() else {
            return Ok(());
        };
        // Clocks that start with the detector count from no date.
        self.header.start_unix_ns = Some(first).filter(|&first| first > FIRST_DATE_NS);
        // A source of frames that knew its scans' times is arranged anew, so they hold no longer.
        self.header.times_s = None;
        if stamps.len() < shape.n_times || shape.n_times < 2 {
            return Ok(());
        }
        if stamps.windows(2).all(|pair| pair[0] < pair[1]) {
            let since = |stamp: &i64| stamp.saturating_sub(first) as f64 * 1e-9;
            self.header.times_s = Some(stamps.iter().map(since).collect());
        } else {
            self.header.warnings.push(Warning::new(
                "W110",
                "The time stamps of the scans do not grow from scan to scan (some cameras stamp a burst when it is transferred), so they are not used; give data.total_s or data.period_s.",
            ));
        }
        Ok(())
    }

    fn read_frames(&self, run: &FrameRun, block: &mut FrameBlock) -> Result<()> {
        prepare(block, run, &self.header)?;
        let frame_len = self.header.shape.frame_len();
        let mut at = 0;
        for time in run.first_time..run.first_time + run.n_times {
            let frames = run.first_frame..run.first_frame + run.n_frames;
            for piece in self.pieces(time, frames) {
                let len = piece.n_frames * frame_len;
                match piece.stored {
                    Some(first) => {
                        let frames = first..first + piece.n_frames as u64;
                        self.stream.read(frames, &mut block.samples, at)?;
                    }
                    None => with_samples!(&mut block.samples, samples => {
                        samples[at..at + len].fill(Default::default());
                    }),
                }
                at += len;
            }
        }
        if !self.pattern.is_identity() {
            let shape = self.header.shape;
            with_samples!(&mut block.samples, samples => {
                turn_patterns(samples, self.pattern, shape.pattern_rows, shape.pattern_cols);
            });
        }
        Ok(())
    }
}

/// Turns each of several patterns, whose size after the turn is given.
fn turn_patterns<T: Copy>(samples: &mut [T], turn: Orientation, n_rows: usize, n_cols: usize) {
    let cols_before = if turn.transpose { n_rows } else { n_cols };
    let mut before = Vec::with_capacity(n_rows * n_cols);
    for pattern in samples.chunks_exact_mut(n_rows * n_cols) {
        before.clear();
        before.extend_from_slice(pattern);
        for (idx, sample) in pattern.iter_mut().enumerate() {
            let (row, col) = turn.before(idx / n_cols, idx % n_cols, n_rows, n_cols);
            *sample = before[row * cols_before + col];
        }
    }
}

/// Why a scan could not be stated.
enum Problem {
    Shape(String),
    Read(Error),
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        Self::Read(error)
    }
}

/// What a person gave, else what the file states, else what the stamps say, else one row.
fn state(
    stream: &dyn FrameStream,
    n_acquired: u64,
    wanted: Option<[usize; 5]>,
    layout: &FrameLayout,
    has_gaps: bool,
    header: &mut SeriesHeader,
) -> Result<ScanStatement, Problem> {
    let stated = stream.header().scan.clone();
    let scan = wanted.map(|w| {
        let (rows, cols) = layout.scan.turned(w[1], w[2]);
        [w[0], rows, cols]
    });
    if let Some([n_times, n_rows, n_cols]) = scan.filter(|scan| scan[1..] != [0, 0]) {
        return given(n_times, n_rows, n_cols, n_acquired, stated, layout).map_err(Problem::Shape);
    }
    // Lost frames shift the lines, so that gaps no longer repeat.
    let from_stamps = || match has_gaps {
        true => Ok(None),
        false => scan_shape::from_stamps(n_acquired, |frame| stream.stamp_ns(frame)),
    };
    let mut guess = None;
    if let Some(mut statement) = stated {
        match statement.certainty {
            Certainty::Stated => {}
            Certainty::OrderUnsure => check_order(&mut statement, from_stamps, header)?,
            Certainty::Guess => guess = Some(statement.clone()),
        }
        if guess.is_none() {
            warn_of_flyback(&mut statement, n_acquired, layout, header);
            return Ok(statement);
        }
    }
    if let Some(statement) = from_stamps()? {
        header.warnings.push(Warning::new(
            "W107",
            format!(
                "The shape of the scan, {} rows of {} positions, was found from the gaps between the time stamps; give data.shape if it is another.",
                statement.n_rows, statement.n_cols
            ),
        ));
        return Ok(statement);
    }
    if let Some(statement) = guess {
        header.warnings.push(Warning::new(
            "W107",
            format!(
                "The shape of the scan, {} rows of {} positions, is a guess from the {}; give data.shape if it is another.",
                statement.n_rows, statement.n_cols, statement.origin
            ),
        ));
        return Ok(statement);
    }
    let offset = layout.sync_offset.unwrap_or(0);
    let n_times = wanted.map_or(0, |w| w[0]).max(1) as i64;
    let n_cols = i64::try_from(n_acquired)
        .ok()
        .and_then(|n| n.checked_sub(offset))
        .map_or(0, |n| n / n_times);
    let n_cols = usize::try_from(n_cols).ok().filter(|&n| n > 0);
    let n_cols = n_cols.ok_or_else(|| {
        Problem::Shape("there are fewer frames than sync_offset and times ask for".to_owned())
    })?;
    if n_cols > 1 {
        header
            .warnings
            .push(Warning::new("W105", not_stated(n_acquired)));
    }
    Ok(ScanStatement::new(1, n_cols, NOT_STATED))
}

/// The scan that a person gave, where rows or columns may be 0 for "find out".
fn given(
    n_times: usize,
    n_rows: usize,
    n_cols: usize,
    n_acquired: u64,
    stated: Option<ScanStatement>,
    layout: &FrameLayout,
) -> Result<ScanStatement, String> {
    let origin = "data.shape";
    // Flyback that the file states holds for its own shape only.
    let same = stated.filter(|s| (s.n_rows, s.n_cols) == (n_rows, n_cols));
    if n_rows > 0 && n_cols > 0 {
        return Ok(ScanStatement {
            n_times: None,
            origin: origin.to_owned(),
            ..same.unwrap_or_else(|| ScanStatement::new(n_rows, n_cols, origin))
        });
    }
    if n_times == 0 {
        return Err("only one length of the scan can be found out".to_owned());
    }
    let extra = layout
        .prescan_cols
        .unwrap_or(0)
        .saturating_add(layout.flyback_cols.unwrap_or(0)) as u64;
    let used = i64::try_from(n_acquired)
        .unwrap_or(i64::MAX)
        .saturating_sub(layout.sync_offset.unwrap_or(0));
    let per_scan =
        (used.max(0) as u64 / n_times as u64).saturating_sub(layout.between_scans as u64);
    let (n_rows, n_cols) = if n_rows == 0 {
        (
            per_scan / (n_cols as u64).saturating_add(extra),
            n_cols as u64,
        )
    } else {
        let line = per_scan / n_rows as u64;
        (n_rows as u64, line.saturating_sub(extra))
    };
    match (usize::try_from(n_rows), usize::try_from(n_cols)) {
        (Ok(n_rows), Ok(n_cols)) if n_rows > 0 && n_cols > 0 => {
            Ok(ScanStatement::new(n_rows, n_cols, origin))
        }
        _ => Err("there are fewer frames than one scan needs".to_owned()),
    }
}

/// Exchanges rows and columns where the gaps between the time stamps say that the lines are as long as the stated rows are many.
fn check_order(
    statement: &mut ScanStatement,
    from_stamps: impl FnOnce() -> Result<Option<ScanStatement>>,
    header: &mut SeriesHeader,
) -> Result<()> {
    let (rows, cols) = (statement.n_rows, statement.n_cols);
    if rows == cols {
        return Ok(());
    }
    let line = from_stamps()?.map(|found| found.n_cols);
    if line == Some(rows) {
        (statement.n_rows, statement.n_cols) = (cols, rows);
        header.warnings.push(Warning::new(
            "W107",
            format!(
                "The {} is {rows} x {cols}, but the gaps between the time stamps say that lines have {rows} positions, so the scan is read as {cols} rows of {rows}; give data.shape if it is another.",
                statement.origin
            ),
        ));
    }
    Ok(())
}

/// Assumes one flyback column where the frames fit with it and not without it.
fn warn_of_flyback(
    statement: &mut ScanStatement,
    n_acquired: u64,
    layout: &FrameLayout,
    header: &mut SeriesHeader,
) {
    let asked = layout.flyback_cols.is_some() || layout.prescan_cols.is_some();
    if asked || statement.flyback_cols + statement.prescan_cols > 0 || statement.n_times.is_some() {
        return;
    }
    // Frames before the first line are none of its lines.
    let offset = layout.sync_offset.unwrap_or(statement.sync_offset);
    let n_acquired = n_acquired.saturating_sub(u64::try_from(offset).unwrap_or(0));
    let (rows, cols) = (statement.n_rows as u64, statement.n_cols as u64);
    let divides = |line: u64| {
        let per_scan = rows.checked_mul(line);
        per_scan.is_some_and(|per_scan| per_scan > 0 && n_acquired.is_multiple_of(per_scan))
    };
    if !divides(cols) && divides(cols.saturating_add(1)) {
        statement.flyback_cols = 1;
        header.warnings.push(Warning::new(
            "W106",
            format!(
                "{n_acquired} frames are no whole number of {rows} x {cols} scans, but they are with one frame more a line, so the last frame of each line is taken for the flyback; give data.frames.flyback_cols if it is not."
            ),
        ));
    }
}

/// Scans of which at least one frame was recorded.
fn times_begun(scan: &Scan, n_acquired: u64) -> Option<usize> {
    let n = i64::try_from(n_acquired)
        .ok()?
        .checked_sub(scan.sync_offset)?;
    let stride = scan.stride().filter(|&stride| stride > 0)?;
    // Trailing flyback frames begin no scan.
    let prescan = i64::try_from(scan.prescan_cols).ok()?;
    let whole = n.max(0) / stride;
    let begun = whole + i64::from(n.max(0) % stride > prescan);
    usize::try_from(begun.max(1)).ok()
}

impl FrameSource for ArrangedSource {
    fn header(&self) -> &SeriesHeader {
        &self.header
    }

    fn read(&self, run: &FrameRun, block: &mut FrameBlock) -> halotau::Result<()> {
        self.read_frames(run, block)
            .map_err(|e| e.into_core(&self.header.name))
    }

    fn events(&self) -> Option<&dyn EventSource> {
        let listed = self.pattern.is_identity() && self.stream.events().is_some();
        listed.then_some(self)
    }

    fn expect(&self, run: &FrameRun) {
        if run.check(&self.header.shape).is_err() {
            return;
        }
        for time in run.first_time..run.first_time + run.n_times {
            let frames = run.first_frame..run.first_frame + run.n_frames;
            for piece in self.pieces(time, frames) {
                if let Some(first) = piece.stored {
                    self.stream.expect(first..first + piece.n_frames as u64);
                }
            }
        }
    }
}

impl EventSource for ArrangedSource {
    fn events_per_frame(&self) -> f64 {
        self.stream
            .events()
            .map_or(0.0, EventStream::events_per_frame)
    }

    fn read_events(&self, run: &FrameRun, block: &mut EventBlock) -> halotau::Result<()> {
        run.check(&self.header.shape)?;
        let Some(events) = self.stream.events() else {
            return Ok(());
        };
        for time in run.first_time..run.first_time + run.n_times {
            for piece in self.pieces(time, run.first_frame..run.first_frame + run.n_frames) {
                match piece.stored {
                    Some(first) => events
                        .read_events(first..first + piece.n_frames as u64, block)
                        .map_err(|e| e.into_core(&self.header.name))?,
                    None => (0..piece.n_frames).for_each(|_| block.begin_frame()),
                }
            }
        }
        Ok(())
    }
}
