//! At which lags is g computed?
//!
//! Every lag of a record has its own number up to some hundred scans. A record of thousands has thousands of them, each noisier than the last and
//! nearly the same as its neighbors; there lags follow one another in the ratio in which a decay changes:
//!
//! ```text
//! level 0         lags 1 … 15 scans, each by itself
//! level l > 0     lags 8 … 15 blocks of 2^l scans, as long as the record has them          8·2^l … 15·2^l scans
//! ```
//!
//! Blocks are what one gets by adding up scans in pairs again and again. The mean over all pairs of scans of two blocks is a mean over lags,
//! weighted with a triangle 2^l to both sides, which the triangles of neighboring lags complete to 1 (a little more where levels meet). Over a triangle of
//! at most an eighth of its lag an exponential decay bends so little that tau is at most 0.3 % longer (at 2 t/tau = 2; less elsewhere).
//!
//! Sources: Schätzel, Inst. Phys. Conf. Ser. 77, 175 (1985); Schätzel, Drewel and Stimac, J. Mod. Opt. 35, 711 (1988), doi
//! 10.1080/09500348814550731; 16 channels at the first and 8 at every other level are those of the correlators of light scattering.

use serde::{Deserialize, Serialize};

use crate::axes::TimeAxis;
use crate::relax::{Weights, lag_weights};

/// Channels of a level: lags 0 to 15, of which levels above the first repeat the lower half of what was there.
const CHANNELS: usize = 16;

/// From so many scans on, lags are spaced as in [`Lags::multi_tau`] where nobody chose: fits of all lags would take longer than making them,
/// and the curves of a map of a few thousand positions more memory than a small computer has.
pub const MIN_MULTI_TAU_TIMES: usize = 1_000;

/// Which lags g is computed at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LagSpacing {
    /// `MultiTau` from 1,000 scans on, else `All`.
    #[default]
    Auto,
    /// Every lag of the record.
    All,
    /// Lags of 1 to 15 scans, then eight each time they double, each from blocks of scans.
    MultiTau,
}

/// The lags of a record's g, in their order.
///
/// # Example
///
/// ```
/// use halotau::correlate::Lags;
///
/// let lags = Lags::multi_tau(100);
/// assert_eq!(lags.steps()[..16], [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16]);
/// // The second level: blocks of two scans.
/// assert_eq!(lags.steps()[15..22], [16, 18, 20, 22, 24, 26, 28]);
/// assert_eq!(Lags::multi_tau(4000).len(), 79);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lags {
    n_times: usize,
    levels: Vec<Level>,
}

/// Lags between blocks of the same size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Level {
    /// Scans of a block.
    pub(super) width: usize,
    /// Blocks of the record; the last may hold fewer scans.
    pub(super) n_blocks: usize,
    /// The first lag in blocks, and one past the last.
    pub(super) first: usize,
    pub(super) end: usize,
}

impl Lags {
    /// Every lag of a record, 1 to `n_times − 1`.
    pub fn all(n_times: usize) -> Self {
        let level = Level {
            width: 1,
            n_blocks: n_times,
            first: 1,
            end: n_times.max(1),
        };
        Self {
            n_times,
            levels: vec![level],
        }
    }

    /// Lags of single scans, and from 16 on of blocks of 2, 4, 8 … scans.
    pub fn multi_tau(n_times: usize) -> Self {
        let level = |width: usize| {
            let n_blocks = n_times.div_ceil(width);
            let first = if width == 1 { 1 } else { CHANNELS / 2 };
            Level {
                width,
                n_blocks,
                first,
                end: CHANNELS.min(n_blocks),
            }
        };
        let widths = std::iter::successors(Some(1_usize), |width| width.checked_mul(2));
        let levels = widths
            .map(level)
            .take_while(|level| level.first < level.end);
        Self {
            n_times,
            levels: levels.collect(),
        }
    }

    pub(super) fn levels(&self) -> &[Level] {
        &self.levels
    }

    /// Number of scans of the record.
    pub fn n_times(&self) -> usize {
        self.n_times
    }

    /// Number of lags.
    pub fn len(&self) -> usize {
        let lags = self.levels.iter().map(|level| level.end - level.first);
        lags.sum()
    }

    /// Whether there is no lag: the record is a single scan.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether these are all lags of the record.
    pub fn is_all(&self) -> bool {
        self.len() + 1 >= self.n_times
    }

    /// Each lag in scans, `[lag]`.
    pub fn steps(&self) -> Vec<usize> {
        self.each(|level, lag| lag * level.width)
    }

    /// Over how many lags each is a mean, `[lag]`.
    pub fn widths(&self) -> Vec<usize> {
        self.each(|level, _| level.width)
    }

    fn each(&self, value: impl Fn(&Level, usize) -> usize) -> Vec<usize> {
        let value = &value;
        let levels = self.levels.iter();
        levels
            .flat_map(|level| (level.first..level.end).map(move |lag| value(level, lag)))
            .collect()
    }

    /// Mean time between the scans of all pairs, without missing ones, `[lag]`.
    pub fn times_s(&self, time: &TimeAxis) -> Vec<f64> {
        if self.is_all() {
            return time.lags_s();
        }
        let times_s = time.times_s();
        let mut lags_s = Vec::with_capacity(self.len());
        for level in &self.levels {
            let blocks = times_s.chunks(level.width);
            let sums: Vec<(f64, f64)> = blocks
                .map(|block| (block.iter().sum::<f64>(), block.len() as f64))
                .collect();
            for lag in level.first..level.end {
                let pairs = sums.iter().zip(&sums[lag..]);
                let (sum, n) = pairs.fold((0.0, 0.0), |(sum, n), (early, late)| {
                    // Times from the middle of the first, so that a long record costs no digits.
                    let apart = late.0 / late.1 - early.0 / early.1;
                    let n_pairs = early.1 * late.1;
                    (sum + n_pairs * apart, n + n_pairs)
                });
                lags_s.push(sum / n);
            }
        }
        lags_s
    }

    /// Number of pairs of valid scans at each lag, `[lag]`.
    pub fn n_pairs(&self, valid: &[bool]) -> Vec<usize> {
        let mut n_pairs = Vec::with_capacity(self.len());
        for level in &self.levels {
            if level.width == 1 {
                n_pairs.extend(&super::n_pairs(valid)[level.first - 1..level.end - 1]);
                continue;
            }
            let n_valid = level.n_valid(valid);
            n_pairs.extend((level.first..level.end).map(|lag| {
                let pairs = n_valid.iter().zip(&n_valid[lag..]);
                pairs.map(|(early, late)| early * late).sum::<usize>()
            }));
        }
        n_pairs
    }

    /// Weight of each lag in a fit: by its pairs of scans, or by the lags that it is the mean of.
    pub fn weights(&self, n_pairs: &[usize], weights: Weights) -> Vec<f64> {
        let mut of_lags = lag_weights(n_pairs, weights);
        if weights == Weights::None {
            let scaled = of_lags.iter_mut().zip(self.widths());
            scaled.for_each(|(weight, width)| *weight *= width as f64);
        }
        of_lags
    }
}

impl Level {
    /// Valid scans of each block.
    pub(super) fn n_valid(&self, valid: &[bool]) -> Vec<usize> {
        let blocks = valid.chunks(self.width);
        blocks
            .map(|block| block.iter().filter(|&&valid| valid).count())
            .collect()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests {
    use super::*;
    use crate::axes::TimeBasis;
    #[test]
    fn all_lags_are_those_of_the_time_axis() {
        let times = (0..37).map(|time| 3.0 * time as f64 + 0.1 * f64::from(time % 3));
        let time = TimeAxis::new(times.collect(), TimeBasis::Timestamps).unwrap();
        let lags = Lags::all(37);
        assert_eq!(lags.steps(), (1..37).collect::<Vec<_>>());
        assert_eq!(lags.times_s(&time), time.lags_s());
        let mut valid = [true; 37];
        valid[4] = false;
        let pairs = |lag: usize| valid.iter().zip(&valid[lag..]);
        let both = |lag: usize| pairs(lag).filter(|&(&one, &other)| one && other).count();
        assert_eq!(lags.n_pairs(&valid), (1..37).map(both).collect::<Vec<_>>());
        let few = Lags::multi_tau(37);
        assert_eq!(few.times_s(&time)[..15], time.lags_s()[..15]);
        assert_eq!(few.n_pairs(&valid)[..15], lags.n_pairs(&valid)[..15]);
    }

    #[test]
    fn short_records_have_the_lags_there_are() {
        for n_times in 0..40 {
            let steps = Lags::multi_tau(n_times).steps();
            assert!(steps.iter().all(|&step| step < n_times.max(1)), "{n_times}");
            assert!(steps.len() >= n_times.saturating_sub(1).min(15));
            assert!(steps.is_sorted_by(|one, next| one < next));
        }
    }

    #[test]
    fn every_pair_of_scans_counts_once() {
        // Between the first lags and the end of the record the triangles add up to all pairs there are.
        let valid = [true; 4096];
        let lags = Lags::multi_tau(valid.len());
        let total: usize = lags.n_pairs(&valid).iter().sum();
        let all: usize = super::super::n_pairs(&valid).iter().sum();
        assert!(
            (total as f64 / all as f64 - 1.0).abs() < 0.1,
            "{total} of {all}"
        );
    }
}
