//! How did the beam current change, and which scans and frames are none?
//!
//! ```text
//! S(t, r) = c(t) · m(r) · (1 + flicker + speckle)        counts of a frame; c: current of the scan, m: the position's own level
//! c(t) = median over r of S(t, r)/m(r),   m(r) = median over t of S(t, r)
//! ```
//!
//! Medians keep an edge that drifts through the scan, lost frames and blinks out of both. Changes of the current from scan to scan leave G
//! and V as they are (every frame is divided by its own ring mean); a scan is left out only where the beam was nearly gone or the
//! counts are not its own:
//!
//! - **blink**: the current is off the scans around it by more than 15 % and six of their scatter;
//! - **doubled**: the counts are those of the scan before, electron by electron;
//! - **distorted**: its speckle is unlike both neighbors, which are alike themselves: the stage jumped within the scan;
//! - **lost**: frames without counts where counts must be.
//!
//! A step that stays is a jump: it is reported, and nothing is left out.

use ndarray::{Array2, Array3, ArrayView3, Axis};
use serde::{Deserialize, Serialize};

use crate::rank;

/// Relative deviation of a scan's current below which no scan is left out: normalization takes it.
const MIN_BLINK: f64 = 0.15;

/// Deviations in units of the scatter, of scans; with thousands of scans chance reaches five.
const SCAN_SIGMAS: f64 = 6.0;

/// As [`SCAN_SIGMAS`], of single frames, of which there are millions.
const FRAME_SIGMAS: f64 = 8.0;

/// Relative deviation of a frame's counts below which it is kept.
const MIN_FRAME_BLINK: f64 = 0.3;

/// Share of a scan's frames that, left out, leave nothing worth keeping of it.
const MAX_LOST_SHARE: f64 = 0.3;

/// Expected counts above which a frame of zero is lost and not dark by chance.
const MIN_EXPECTED_COUNTS: f64 = 30.0;

/// Relative step of the current that is called a jump.
const MIN_JUMP: f64 = 0.05;

/// Speckle correlation with a neighbor, relative to the usual, below which a scan is distorted.
const MAX_DISTORTED: f64 = 0.5;

/// Scans on either side with which a scan is compared.
const NEIGHBORS: usize = 5;

/// Why a scan or frames of it are left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// The user said so.
    Given,
    /// The beam was interrupted, or much too bright.
    Blink,
    /// The counts are those of another frame.
    Doubled,
    /// The speckle is unlike that of the scans around.
    Distorted,
    /// No counts where there must be some.
    Lost,
}

impl Reason {
    /// In words.
    pub fn words(self) -> &'static str {
        match self {
            Self::Given => "left out by the recipe",
            Self::Blink => "beam blink",
            Self::Doubled => "doubled: the counts of the scan or frame before",
            Self::Distorted => "distorted: its speckle is unlike the scans around it",
            Self::Lost => "lost: no counts",
        }
    }
}

/// A scan, or some of its frames, that is left out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LeftOut {
    /// Index of the scan.
    pub time: usize,
    /// How many of its frames; all where absent.
    pub n_frames: Option<usize>,
    /// Why.
    pub reason: Reason,
    /// Current of the scan relative to the scans around it.
    #[serde(with = "crate::nonfinite")]
    pub relative_current: f64,
}

/// A lasting step of the current.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Jump {
    /// First scan after it.
    pub time: usize,
    /// Current after it relative to before.
    pub ratio: f64,
}

/// The beam current of the series.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BeamCurrent {
    /// Current of each scan relative to the median, `[time]`; NaN for scans without frames.
    #[serde(skip)]
    pub relative: Vec<f64>,
    /// Relative standard deviation of `relative` over the scans that are used.
    #[serde(with = "crate::nonfinite")]
    pub spread: f64,
    /// What speckle and counting alone would make of `spread`.
    #[serde(with = "crate::nonfinite")]
    pub spread_expected: f64,
    /// Relative standard deviation of the current from frame to frame, above counting noise and speckle; 0 where it is below its
    /// own error, NaN where it cannot be told.
    #[serde(with = "crate::nonfinite")]
    pub flicker: f64,
    /// Lasting steps.
    pub jumps: Vec<Jump>,
}

/// Current of each scan relative to the median of all, `[time]`, from the counts of frames, `[time, row, col]`.
pub fn of_scans(counts: ArrayView3<'_, f64>) -> Vec<f64> {
    let (n_times, n_rows, n_cols) = counts.dim();
    let own = Array2::from_shape_fn((n_rows, n_cols), |(row, col)| {
        let series = counts.index_axis(Axis(2), col);
        rank::median(&series.index_axis(Axis(1), row).to_vec())
    });
    // Dark positions say nothing of the current: vacuum, and what an edge passes.
    let level = rank::median(
        &own.iter()
            .copied()
            .filter(|&own| own > 0.0)
            .collect::<Vec<_>>(),
    );
    let current: Vec<f64> = (0..n_times)
        .map(|time| {
            let ratios: Vec<f64> = counts
                .index_axis(Axis(0), time)
                .iter()
                .zip(&own)
                .filter(|(counts, own)| counts.is_finite() && **own > 0.5 * level)
                .map(|(counts, own)| counts / own)
                .collect();
            if ratios.is_empty() {
                f64::NAN
            } else {
                rank::median(&ratios)
            }
        })
        .collect();
    let middle = rank::median(&current);
    current.iter().map(|current| current / middle).collect()
}

/// Standard deviation that speckle and counting alone give the current of a scan: the scatter of positions over the square root of
/// the number of independent ones.
pub fn expected_spread(level_counts: &Array3<f64>, steady: &Array2<bool>, n_areas: f64) -> f64 {
    let mut scatter = Vec::new();
    for ((row, col), _) in steady.indexed_iter().filter(|(_, steady)| **steady) {
        let series: Vec<f64> = level_counts
            .index_axis(Axis(2), col)
            .index_axis(Axis(1), row)
            .iter()
            .copied()
            .filter(|counts| counts.is_finite())
            .collect();
        scatter.push(robust_spread(&series) / rank::median(&series));
    }
    // The median of a sample scatters by 1.25 times as much as its mean.
    1.25 * rank::median(&scatter) / n_areas.max(1.0).sqrt()
}

/// Standard deviation from the median absolute deviation.
fn robust_spread(values: &[f64]) -> f64 {
    let finite: Vec<f64> = values.iter().copied().filter(|v| v.is_finite()).collect();
    let middle = rank::median(&finite);
    let away: Vec<f64> = finite.iter().map(|value| (value - middle).abs()).collect();
    1.4826 * rank::median(&away)
}

/// Each value less the median of its neighbors, `[time]`.
fn off_neighbors(values: &[f64]) -> Vec<f64> {
    (0..values.len())
        .map(|time| {
            let last = (time + NEIGHBORS + 1).min(values.len());
            let near: Vec<f64> = (time.saturating_sub(NEIGHBORS)..last)
                .filter(|&other| other != time)
                .map(|other| values[other])
                .filter(|value| value.is_finite())
                .collect();
            values[time] - rank::median(&near)
        })
        .collect()
}

/// Scans whose current is off, and scans whose counts are those of the scan before.
pub fn bad_scans(relative: &[f64], repeats_scan: &Array3<bool>) -> Vec<LeftOut> {
    let logs: Vec<f64> = relative
        .iter()
        .map(|&current| {
            if current > 0.0 {
                libm::log(current)
            } else {
                libm::log(1e-3)
            }
        })
        .collect();
    let off = off_neighbors(&logs);
    let spread = robust_spread(&off);
    let n_frames = repeats_scan.len() / repeats_scan.dim().0.max(1);
    let mut left_out = Vec::new();
    for (time, &off) in off.iter().enumerate() {
        let repeated = repeats_scan.index_axis(Axis(0), time);
        let n_repeated = repeated.iter().filter(|&&repeats| repeats).count();
        let reason = if 2 * n_repeated > n_frames {
            Reason::Doubled
        } else if relative[time].is_finite()
            && off.abs() > (SCAN_SIGMAS * spread).max(MIN_BLINK)
            && !steps_here(&logs, time)
        {
            Reason::Blink
        } else {
            continue;
        };
        left_out.push(LeftOut {
            time,
            n_frames: None,
            reason,
            relative_current: libm::exp(off),
        });
    }
    left_out
}

/// Whether a scan lies beside a lasting step, so that the median of its neighbors is of the other side.
fn steps_here(logs: &[f64], time: usize) -> bool {
    let alike = |others: std::ops::Range<usize>| {
        let near: Vec<f64> = others.map(|other| logs[other]).collect();
        near.len() >= 2 && (rank::median(&near) - logs[time]).abs() < MIN_BLINK / 2.0
    };
    alike(time.saturating_sub(3)..time)
        || alike((time + 1).min(logs.len())..(time + 4).min(logs.len()))
}

/// Lasting steps of the current between used scans.
pub fn jumps(relative: &[f64], used: &[bool]) -> Vec<Jump> {
    let times: Vec<usize> = (0..relative.len())
        .filter(|&time| used[time] && relative[time] > 0.0)
        .collect();
    let logs: Vec<f64> = times
        .iter()
        .map(|&time| libm::log(relative[time]))
        .collect();
    let steps: Vec<f64> = logs.windows(2).map(|pair| pair[1] - pair[0]).collect();
    let spread = robust_spread(&steps);
    let mut jumps = Vec::new();
    for (at, &step) in steps.iter().enumerate() {
        let (before, after) = (
            &logs[(at + 1).saturating_sub(NEIGHBORS)..=at],
            &logs[at + 1..(at + 1 + NEIGHBORS).min(logs.len())],
        );
        if before.len() < 3 || after.len() < 3 {
            continue;
        }
        let lasting = rank::median(after) - rank::median(before);
        let threshold = (FRAME_SIGMAS * spread).max(MIN_JUMP);
        if step.abs() > threshold && lasting * step > 0.0 && lasting.abs() > 0.6 * step.abs() {
            jumps.push(Jump {
                time: times[at + 1],
                ratio: libm::exp(lasting),
            });
        }
    }
    jumps
}

/// Scans whose speckle is unlike both neighbors; `likeness` is the correlation with the scan before, `[time]`.
pub fn distorted(likeness: &[f64]) -> Vec<usize> {
    let usual = off_level(likeness);
    let unlike = |time: usize| {
        likeness
            .get(time)
            .is_none_or(|&value| value.is_nan() || value < MAX_DISTORTED * usual[time])
    };
    (1..likeness.len().saturating_sub(1))
        .filter(|&time| unlike(time) && unlike(time + 1))
        // Where everything is unlike, nothing stands out.
        .filter(|&time| usual[time] > 0.0)
        .collect()
}

/// The median of the likeness around each scan.
fn off_level(likeness: &[f64]) -> Vec<f64> {
    (0..likeness.len())
        .map(|time| {
            let last = (time + 2 * NEIGHBORS + 1).min(likeness.len());
            let near: Vec<f64> = likeness[time.saturating_sub(2 * NEIGHBORS)..last]
                .iter()
                .copied()
                .filter(|value| value.is_finite())
                .collect();
            if 2 * near.len() < last - time.saturating_sub(2 * NEIGHBORS) {
                f64::NAN
            } else {
                rank::median(&near)
            }
        })
        .collect()
}

/// Frames that are left out, `[time, row, col]`, and why, a scan and reason together.
pub struct BadFrames {
    /// True where a frame is left out.
    pub frames: Array3<bool>,
    /// What was found.
    pub left_out: Vec<LeftOut>,
}

impl std::fmt::Debug for BadFrames {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BadFrames")
            .field("left_out", &self.left_out)
            .finish_non_exhaustive()
    }
}

/// Single frames without counts, with the counts of another frame, or far off the level of their position.
///
/// `counts` are those of whole frames, `[time, row, col]`; `relative` the current of each scan; `used` the scans that are looked at;
/// `steady` the positions, `[row, col]`, whose counts no edge changes.
pub fn bad_frames(
    counts: &Array3<f64>,
    relative: &[f64],
    used: &[bool],
    steady: &Array2<bool>,
    repeats_before: &Array3<bool>,
) -> BadFrames {
    let (n_times, n_rows, n_cols) = counts.dim();
    let ratio = ratios(counts, relative, used);
    let kept: Vec<f64> = (0..n_times)
        .filter(|&time| used[time])
        .flat_map(|time| {
            let ratio = &ratio;
            steady
                .indexed_iter()
                .filter(|(_, steady)| **steady)
                .map(move |((row, col), _)| ratio.logs[[time, row, col]])
        })
        .collect();
    let spread = robust_spread(&kept);
    let mut frames = Array3::from_elem((n_times, n_rows, n_cols), false);
    let mut left_out = Vec::new();
    for time in (0..n_times).filter(|&time| used[time]) {
        let mut n_by_reason = [(Reason::Lost, 0), (Reason::Doubled, 0), (Reason::Blink, 0)];
        for row in 0..n_rows {
            for col in 0..n_cols {
                let at = [time, row, col];
                let expected = ratio.own[[row, col]] * relative[time];
                let log = ratio.logs[at];
                let limit = FRAME_SIGMAS * spread.max(ratio.spread[[row, col]]);
                let reason = if counts[at] <= 0.0 && expected > MIN_EXPECTED_COUNTS {
                    0
                } else if repeats_before[at] {
                    1
                } else if steady[[row, col]] && log.abs() > limit.max(MIN_FRAME_BLINK) {
                    2
                } else {
                    continue;
                };
                frames[at] = true;
                n_by_reason[reason].1 += 1;
            }
        }
        for (reason, n_frames) in n_by_reason.into_iter().filter(|(_, n)| *n > 0) {
            let whole = n_frames as f64 > MAX_LOST_SHARE * (n_rows * n_cols) as f64;
            left_out.push(LeftOut {
                time,
                n_frames: (!whole).then_some(n_frames),
                reason,
                relative_current: relative[time],
            });
        }
    }
    BadFrames { frames, left_out }
}

struct Ratios {
    /// Logarithm of the counts over what the position and the scan lead to expect, `[time, row, col]`; NaN where not known.
    logs: Array3<f64>,
    /// Counts of the position at the usual current, `[row, col]`.
    own: Array2<f64>,
    /// Scatter of the logarithm of the position over time, `[row, col]`.
    spread: Array2<f64>,
}

fn ratios(counts: &Array3<f64>, relative: &[f64], used: &[bool]) -> Ratios {
    let (n_times, n_rows, n_cols) = counts.dim();
    let mut own = Array2::from_elem((n_rows, n_cols), f64::NAN);
    let mut spread = Array2::from_elem((n_rows, n_cols), f64::NAN);
    let mut logs = Array3::from_elem((n_times, n_rows, n_cols), f64::NAN);
    for row in 0..n_rows {
        for col in 0..n_cols {
            let scaled: Vec<f64> = (0..n_times)
                .filter(|&time| used[time] && counts[[time, row, col]].is_finite())
                .map(|time| counts[[time, row, col]] / relative[time])
                .collect();
            if scaled.is_empty() {
                continue;
            }
            let level = rank::median(&scaled);
            own[[row, col]] = level;
            for time in (0..n_times).filter(|&time| used[time]) {
                let value = counts[[time, row, col]] / (relative[time] * level);
                if value > 0.0 {
                    logs[[time, row, col]] = libm::log(value);
                }
            }
            let of: Vec<f64> = (0..n_times).map(|time| logs[[time, row, col]]).collect();
            spread[[row, col]] = robust_spread(&of);
        }
    }
    Ratios { logs, own, spread }
}

/// Relative flicker of the current from frame to frame, above counting noise; 0 where it is below its error.
///
/// ```text
/// D(k) = ⟨[ln S(t + k) − ln S(t)]²⟩/2 = flicker² + 1/electrons + speckle² (1 − likeness(k))
/// flicker² = 2 D(1) − D(2) − 1/electrons
/// ```
///
/// Speckle changes little from scan to scan, and in proportion to the time; the extrapolation to no time is without it.
pub fn flicker(
    counts: &Array3<f64>,
    relative: &[f64],
    used: &[bool],
    steady: &Array2<bool>,
    gain: f64,
) -> f64 {
    let n_times = counts.dim().0;
    let log =
        |time: usize, row: usize, col: usize| libm::log(counts[[time, row, col]] / relative[time]);
    let structure = |lag: usize| -> Vec<f64> {
        let mut values = Vec::new();
        for time in (0..n_times.saturating_sub(lag)).filter(|&time| used[time] && used[time + lag])
        {
            let (mut sum, mut n) = (0.0, 0.0);
            for ((row, col), _) in steady.indexed_iter().filter(|(_, steady)| **steady) {
                let change = log(time + lag, row, col) - log(time, row, col);
                // A blink that is left out must not be called flicker.
                if change.is_finite() && change.abs() < 1.0 {
                    sum += change * change / 2.0;
                    n += 1.0;
                }
            }
            if n > 0.0 {
                values.push(sum / n);
            }
        }
        values
    };
    let (one, two) = (structure(1), structure(2));
    if one.len() < 3 || two.len() < 3 {
        return f64::NAN;
    }
    let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
    let inverse: Vec<f64> = steady
        .indexed_iter()
        .filter(|(_, steady)| **steady)
        .map(|((row, col), _)| {
            let series: Vec<f64> = (0..n_times)
                .filter(|&time| used[time])
                .map(|time| counts[[time, row, col]])
                .filter(|count| count.is_finite())
                .collect();
            gain / rank::median(&series)
        })
        .filter(|value| value.is_finite())
        .collect();
    let excess = 2.0 * mean(&one) - mean(&two) - mean(&inverse);
    let scatter: f64 = one.iter().map(|value| (value - mean(&one)).powi(2)).sum();
    let error = 2.5 * (scatter / (one.len() * one.len()) as f64).sqrt();
    // Speckle of a short tau bends the structure function: a tenth of it may be left.
    let floor = (5.0 * error).max(0.1 * mean(&one));
    if excess > floor { excess.sqrt() } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn none(n_times: usize) -> Array3<bool> {
        Array3::from_elem((n_times, 2, 2), false)
    }

    #[test]
    fn a_blink_is_left_out_and_a_jump_is_not() {
        let mut current = vec![1.0; 30];
        for (time, current) in current.iter_mut().enumerate() {
            *current += 0.004 * f64::from(time as u32 % 3) + if time >= 20 { -0.3 } else { 0.0 };
        }
        current[9] = 0.6;
        let left_out = bad_scans(&current, &none(30));
        assert_eq!(left_out.len(), 1, "{left_out:?}");
        assert_eq!((left_out[0].time, left_out[0].reason), (9, Reason::Blink));
        let mut used = vec![true; 30];
        used[9] = false;
        let jumps = jumps(&current, &used);
        assert_eq!(jumps.len(), 1);
        assert_eq!(jumps[0].time, 20);
        assert!((jumps[0].ratio - 0.7).abs() < 0.01);
    }

    #[test]
    fn a_steady_beam_is_left_alone() {
        let wobble = |time: usize| 1.0 + 0.1 * libm::sin(time as f64 / 8.0);
        let current: Vec<f64> = (0..60).map(wobble).collect();
        assert!(bad_scans(&current, &none(60)).is_empty());
        assert!(jumps(&current, &[true; 60]).is_empty());
    }

    #[test]
    fn doubled_lost_and_dark_frames_are_found() {
        let mut counts = Array3::from_shape_fn((12, 4, 5), |(time, row, col)| {
            1000.0 + 7.0 * ((time * 31 + row * 17 + col * 5) % 11) as f64
        });
        counts[[3, 1, 2]] = 0.0;
        counts[[5, 2, 2]] = 400.0;
        let mut repeats = Array3::from_elem((12, 4, 5), false);
        repeats[[7, 0, 3]] = true;
        let bad = bad_frames(
            &counts,
            &[1.0; 12],
            &[true; 12],
            &Array2::from_elem((4, 5), true),
            &repeats,
        );
        let found: Vec<(usize, Reason)> = bad
            .left_out
            .iter()
            .map(|out| (out.time, out.reason))
            .collect();
        assert_eq!(
            found,
            [(3, Reason::Lost), (5, Reason::Blink), (7, Reason::Doubled)]
        );
        assert_eq!(bad.frames.iter().filter(|&&out| out).count(), 3);
    }

    #[test]
    fn a_scan_unlike_both_neighbors_stands_out() {
        let mut likeness = vec![0.4; 20];
        likeness[0] = f64::NAN;
        likeness[8] = 0.02;
        likeness[9] = 0.03;
        assert_eq!(distorted(&likeness), [8]);
    }
}
