//! Which scan made these time stamps?
//!
//! ```text
//! . . . . . .   . . . . . .   . . . . . .        . . . . . .   ...
//!  dwell     line gap                     scan gap
//! ```
//!
//! Frames follow each other after one dwell time; the beam's return to the start of the next line takes longer, and longer still
//! its return to the start of the next scan. Stamps are looked at only as far as the period of the lines is sure, then
//! once a line.

use super::ScanStatement;
use crate::error::Result;

/// Frames whose stamps are read at first; four times as many each time that the period is not sure yet.
const FIRST_LOOK: u64 = 256;
/// Frames whose stamps are read at most to find the lines. No scan line is nearly as long.
const LAST_LOOK: u64 = 1 << 16;
/// Lines that must agree before their length is believed.
const LINES_NEEDED: usize = 4;
/// A gap is this much longer than a dwell time. Cameras jitter by a few per cent; a flyback takes at least a tenth.
const GAP_FACTOR: f64 = 1.08;
/// A scan gap is this much longer than a line gap. Line gaps are made by one program and differ by their jitter only.
const SCAN_GAP_FACTOR: f64 = 1.2;

/// Finds lines and scans from the gaps between the stamps of `n_frames` frames.
///
/// `None` where there are no gaps, or where they do not repeat.
pub(super) fn from_stamps(
    n_frames: u64,
    mut stamp_ns: impl FnMut(u64) -> Result<Option<i64>>,
) -> Result<Option<ScanStatement>> {
    let mut stamps: Vec<i64> = Vec::new();
    let mut look = FIRST_LOOK;
    let lines = loop {
        let end = look.min(n_frames);
        while (stamps.len() as u64) < end {
            match stamp_ns(stamps.len() as u64)? {
                Some(stamp) => stamps.push(stamp),
                None => return Ok(None),
            }
        }
        if let Some(lines) = Lines::of(&stamps, end == n_frames) {
            break lines;
        }
        if end == n_frames || look >= LAST_LOOK {
            return Ok(None);
        }
        look *= 4;
    };
    let first = lines.first as u64;
    let n_lines = (n_frames - first) / lines.n_cols as u64;
    let mut last_of_scan = Vec::new();
    for line in 1..n_lines {
        let start = first + line * lines.n_cols as u64;
        let (Some(before), Some(after)) = (stamp_ns(start - 1)?, stamp_ns(start)?) else {
            return Ok(None);
        };
        let gap = (after.saturating_sub(before)) as f64;
        if gap < lines.gap_ns / SCAN_GAP_FACTOR {
            // The lines do not go on as they began.
            return Ok(None);
        }
        if gap > SCAN_GAP_FACTOR * lines.gap_ns {
            last_of_scan.push(line);
        }
    }
    let n_rows = match last_of_scan.as_slice() {
        [] => n_lines,
        [n_rows, ..] => *n_rows,
    };
    let regular = last_of_scan
        .iter()
        .zip(1..)
        .all(|(&line, scan)| line == scan * n_rows);
    let (Ok(n_rows), true) = (usize::try_from(n_rows), regular && n_rows > 1) else {
        return Ok(None);
    };
    Ok(Some(ScanStatement {
        sync_offset: first as i64,
        ..ScanStatement::new(n_rows, lines.n_cols, "gaps between the time stamps")
    }))
}

/// The period of the lines.
struct Lines {
    /// First frame of the first whole line.
    first: usize,
    n_cols: usize,
    gap_ns: f64,
}

impl Lines {
    fn of(stamps: &[i64], is_all: bool) -> Option<Self> {
        let steps: Vec<f64> = stamps
            .windows(2)
            .map(|pair| pair[1].saturating_sub(pair[0]) as f64)
            .collect();
        let dwell = median(&steps)?;
        if dwell <= 0.0 {
            return None;
        }
        // Frame after each gap.
        let starts: Vec<usize> = (0..steps.len())
            .filter(|&idx| steps[idx] > GAP_FACTOR * dwell)
            .map(|idx| idx + 1)
            .collect();
        let (&first, &last) = (starts.first()?, starts.last()?);
        let n_cols = starts.windows(2).map(|pair| pair[1] - pair[0]).next()?;
        let regular = starts.windows(2).all(|pair| pair[1] - pair[0] == n_cols);
        // A short recording of few lines is believed when nothing contradicts it.
        let needed = if is_all { 2 } else { LINES_NEEDED };
        if n_cols < 2 || !regular || starts.len() < needed || first > n_cols {
            return None;
        }
        if is_all && stamps.len() - last > n_cols {
            return None;
        }
        let gaps: Vec<f64> = starts.iter().map(|&start| steps[start - 1]).collect();
        Some(Self {
            first: first % n_cols,
            n_cols,
            gap_ns: median(&gaps)?,
        })
    }
}

fn median(values: &[f64]) -> Option<f64> {
    let mut values = values.to_vec();
    let middle = values.len() / 2;
    (!values.is_empty()).then(|| *values.select_nth_unstable_by(middle, f64::total_cmp).1)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests {
    use super::*;

    /// Stamps of a scan with dwell 1 ms, and gaps as given, jittered by up to 3 % of the dwell time.
    fn stamps(scans: usize, rows: usize, cols: usize, line_ns: i64, scan_ns: i64) -> Vec<i64> {
        let mut now = 1_600_000_000_000_000_000_i64;
        let mut stamps = Vec::new();
        for _ in 0..scans {
            for _ in 0..rows {
                for col in 0..cols {
                    let jitter = (stamps.len() as i64 * 7919 % 61 - 30) * 1000;
                    stamps.push(now + jitter);
                    now += if col + 1 == cols { line_ns } else { 1_000_000 };
                }
            }
            now += scan_ns;
        }
        stamps
    }

    fn found(stamps: &[i64]) -> Option<(usize, usize, i64)> {
        let statement = from_stamps(stamps.len() as u64, |frame| {
            Ok(Some(stamps[frame as usize]))
        });
        statement
            .unwrap()
            .map(|scan| (scan.n_rows, scan.n_cols, scan.sync_offset))
    }

    #[test]
    fn lines_and_scans_are_found_from_their_gaps() {
        assert_eq!(
            found(&stamps(5, 12, 20, 1_500_000, 8_000_000)),
            Some((12, 20, 0))
        );
        assert_eq!(found(&stamps(1, 9, 7, 1_300_000, 0)), Some((9, 7, 0)));
        // Long lines need a longer look.
        assert_eq!(
            found(&stamps(2, 5, 700, 40_000_000, 500_000_000)),
            Some((5, 700, 0))
        );
        // Three frames before the first line.
        let mut early = vec![1_599_999_999_900_000_000, 1_599_999_999_901_000_000];
        early.push(1_599_999_999_902_000_000);
        early.extend(stamps(3, 12, 20, 1_500_000, 8_000_000));
        assert_eq!(found(&early), Some((12, 20, 3)));
        // A recording that ends inside a line.
        let mut cut = stamps(2, 12, 20, 1_500_000, 8_000_000);
        cut.truncate(cut.len() - 9);
        assert_eq!(found(&cut), Some((12, 20, 0)));
    }

    #[test]
    fn stamps_without_a_pattern_give_none() {
        let even: Vec<i64> = (0..1000).map(|frame| frame * 1_000_000).collect();
        assert_eq!(found(&even), None);
        assert_eq!(found(&[5; 100]), None);
        assert_eq!(found(&[]), None);
        // One pause is no line.
        let pause: Vec<i64> = (0..1000)
            .map(|frame| frame * 1_000_000 + i64::from(frame > 400) * 9_000_000)
            .collect();
        assert_eq!(found(&pause), None);
        // Lines of changing length.
        let uneven: Vec<i64> = (0..1000_i64)
            .map(|frame| frame * 1_000_000 + 700_000 * (frame as f64).sqrt() as i64)
            .collect();
        assert_eq!(found(&uneven), None);
    }
}
