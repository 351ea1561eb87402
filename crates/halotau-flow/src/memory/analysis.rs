//! How much memory will an analysis take?
//!
//! ```text
//! frames      T · P · 80 B                               images of the beam, the drift and the region while they are compared
//! curves      P · (8 B · lags · (2 s + 9) + 4 T + 1 kB)  g, its error, without each of s sectors, of three parts; once more while they are written
//! matrices    T² · 8 B · (2 · named + 8 of the region or P of all, and 64 at once where g comes from G)
//! a thread    8 B · T · ring pixels · 5
//! ```
//!
//! Counts come on top as far as there is room; they are read again where there is none. So the first two decide: of thousands of scans at all lags the curves are most
//! of it, and [`LagSpacing::MultiTau`] makes them fifty times smaller.

use halotau::conditions::tracking_bytes;
use halotau::correlate::{LagSpacing, LagSums, TwoTimeKept};
use halotau::map::MAX_MATRIX_TIMES;
use halotau::recipe::Recipe;
use halotau::reduce::ReducePlan;
use halotau::ring::Annulus;
use halotau_io::reduction_folder::RingLayout;

use super::PROGRAM_BYTES;
use crate::context::Context;
use crate::error::{Error, Result};

/// Bytes a frame: ten images in `f64` while the beam, the drift and the region are measured.
const FRAME_BYTES: u64 = 80;

/// Bytes a frame while speckle is tracked: three of these images.
const TRACKED_FRAME_BYTES: u64 = 24;

/// Bytes a position beside its curves: fits, flags and maps.
const POSITION_BYTES: u64 = 1_024;

/// Matrices of the region and of the examples, as sums, means, of the analysis before and of this one.
const REGION_MATRICES: u64 = 8;

/// Positions whose G is in memory at once where g is computed from it.
const MATRICES_AT_ONCE: u64 = 64;

/// Copies of the counts on the ring that a thread holds: as gathered, flattened, and added up in blocks.
const RING_COPIES: u64 = 5;

/// A shard while it is decoded: as numbers, as bytes, and as those of its parts.
const DECODE_COPIES: u64 = 4;

/// What the memory of an analysis depends on, beside the recipe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AnalysisSize {
    /// Scans.
    pub n_times: usize,
    /// Positions.
    pub n_positions: usize,
    /// Pixels of the correlated ring.
    pub n_ring_pixels: usize,
    /// Bytes of the counts of a shard.
    pub shard_bytes: u64,
}

impl AnalysisSize {
    /// Of a series that is still to be reduced.
    pub fn planned(plan: &ReducePlan, n_times: usize, recipe: &Recipe) -> Self {
        let region = plan.region();
        let n_positions = (region.rows[1] - region.rows[0]) * (region.cols[1] - region.cols[0]);
        let (shard_rows, shard_cols) = plan.shard_shape();
        let count_bytes = plan.count_type().n_bytes();
        let in_shard = shard_rows * shard_cols;
        Self::new(
            n_times,
            n_positions,
            (in_shard, count_bytes),
            plan.annulus(),
            recipe,
        )
    }

    /// Of a reduction.
    pub fn reduced(layout: &RingLayout, annulus: &Annulus, recipe: &Recipe) -> Self {
        Self::new(
            layout.n_times,
            layout.n_rows * layout.n_cols,
            (
                layout.shard_rows * layout.shard_cols,
                layout.sample_type.n_bytes(),
            ),
            annulus,
            recipe,
        )
    }

    fn new(
        n_times: usize,
        n_positions: usize,
        (in_shard, count_bytes): (usize, usize),
        annulus: &Annulus,
        recipe: &Recipe,
    ) -> Self {
        let ring = annulus.ring(recipe.dynamics.q_range_per_nm);
        Self {
            n_times,
            n_positions,
            n_ring_pixels: ring.map_or(0, |ring| ring.pixels.len()),
            shard_bytes: (in_shard * n_times * annulus.len() * count_bytes) as u64,
        }
    }

    /// Bytes that an analysis with the choices of a recipe takes at most, without the counts.
    pub fn bytes(&self, recipe: &Recipe, n_threads: usize) -> u64 {
        let [n_times, n_positions, n_ring, n_threads] = [
            self.n_times,
            self.n_positions,
            self.n_ring_pixels,
            n_threads,
        ]
        .map(|n| n as u64);
        let dynamics = &recipe.dynamics;
        let lags = dynamics.lags(self.n_times);
        let n_sectors = recipe.interval.sectors.max(1);
        let n_curves = 2 * n_sectors as u64 + 9;
        let position = sum(&[
            product(&[8, lags.len() as u64, n_curves]),
            product(&[4, n_times]),
            POSITION_BYTES,
        ]);
        let of_all = dynamics.two_time == TwoTimeKept::All;
        let from_matrices = of_all
            || lags.is_all()
                && LagSums::cheaper(self.n_times, self.n_ring_pixels, n_sectors) == LagSums::Pairs;
        let n_matrices = sum(&[
            product(&[2, dynamics.two_time_positions.len() as u64]),
            if of_all || self.n_times <= MAX_MATRIX_TIMES {
                REGION_MATRICES
            } else {
                0
            },
            if of_all { n_positions } else { 0 },
            if from_matrices {
                MATRICES_AT_ONCE.min(n_positions)
            } else {
                0
            },
        ]);
        let tracking = sum(&[
            tracking_bytes(self.n_positions, self.n_times) as u64,
            product(&[n_times, n_positions, TRACKED_FRAME_BYTES]),
        ]);
        sum(&[
            PROGRAM_BYTES,
            product(&[DECODE_COPIES, self.shard_bytes]),
            product(&[n_times, n_positions, FRAME_BYTES]).max(tracking),
            product(&[n_positions, position]),
            product(&[n_times, n_times, 8, n_matrices]),
            product(&[8, n_times, n_ring, RING_COPIES, n_threads]),
        ])
    }
}

/// No more than there is: what is too large for 64 bits is too large.
fn product(factors: &[u64]) -> u64 {
    factors
        .iter()
        .fold(1, |product, &factor| product.saturating_mul(factor))
}

fn sum(terms: &[u64]) -> u64 {
    terms.iter().fold(0, |sum, &term| sum.saturating_add(term))
}

/// Refuses an analysis that does not fit in memory.
///
/// # Errors
///
/// [`Error::Memory`], with the setting that makes it smaller where one does.
pub fn check_analysis(
    name: &str,
    size: AnalysisSize,
    recipe: &Recipe,
    context: &Context<'_>,
) -> Result<()> {
    let limit_bytes = context.memory_limit();
    let needed_bytes = size.bytes(recipe, context.n_threads());
    if needed_bytes <= limit_bytes {
        return Ok(());
    }
    let mut smaller = recipe.clone();
    let mut cures = Vec::new();
    let mut cure = |smaller: &Recipe, words: &'static str| {
        let cured = size.bytes(smaller, context.n_threads());
        if 10 * cured < 9 * needed_bytes {
            cures.push(words);
        }
    };
    if recipe.dynamics.two_time == TwoTimeKept::All {
        smaller.dynamics.two_time = TwoTimeKept::Region;
        cure(&smaller, "dynamics.two_time = \"region\"");
    }
    if smaller.dynamics.lags == LagSpacing::All {
        smaller.dynamics.lags = LagSpacing::MultiTau;
        cure(&smaller, "dynamics.lags = \"multi_tau\"");
    }
    cures.push("a smaller scan.region");
    Err(Error::Memory {
        what: format!(
            "the analysis of {name}, {} scans of {} positions (less with {}),",
            size.n_times,
            size.n_positions,
            cures.join(", or ")
        ),
        limit_bytes,
        needed_bytes,
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests {
    use super::*;

    const LONG: AnalysisSize = AnalysisSize {
        n_times: 4_000,
        n_positions: 3_600,
        n_ring_pixels: 209,
        shard_bytes: 0,
    };

    #[test]
    fn curves_of_few_lags_leave_the_memory_to_the_frames() {
        let mut recipe = Recipe::default();
        let few = LONG.bytes(&recipe, 2);
        recipe.dynamics.lags = LagSpacing::All;
        let all = LONG.bytes(&recipe, 2);
        let frames = 4_000 * 3_600 * FRAME_BYTES;
        assert!(few < frames + (400 << 20), "{few}");
        assert!(all > frames + (2 << 30), "{all}");
        recipe.dynamics.two_time = TwoTimeKept::All;
        assert!(LONG.bytes(&recipe, 2) > 3_600 * 4_000 * 4_000 * 8);
        let paper = AnalysisSize {
            n_times: 106,
            ..LONG
        };
        let tracking = tracking_bytes(paper.n_positions, paper.n_times) as u64;
        let all = paper.bytes(&Recipe::default(), 2);
        assert!(all - tracking - PROGRAM_BYTES < 200 << 20, "{all}");
        let shard = AnalysisSize {
            shard_bytes: 50 << 20,
            ..paper
        };
        assert!(shard.bytes(&Recipe::default(), 2) >= all + (50 << 20));
    }

    #[test]
    fn what_does_not_fit_is_refused_with_its_cure() {
        let ignore = |_| ();
        let mut context = Context::new(&ignore);
        context.memory_bytes = Some(2 << 30);
        let mut recipe = Recipe::default();
        assert!(check_analysis("633K", LONG, &recipe, &context).is_ok());
        recipe.dynamics.lags = LagSpacing::All;
        let refused = check_analysis("633K", LONG, &recipe, &context).unwrap_err();
        assert!(
            refused
                .to_string()
                .contains("dynamics.lags = \"multi_tau\""),
            "{refused}"
        );
        recipe.dynamics.two_time = TwoTimeKept::All;
        let refused = check_analysis("633K", LONG, &recipe, &context).unwrap_err();
        assert!(
            refused
                .to_string()
                .contains("dynamics.two_time = \"region\""),
            "{refused}"
        );
    }
}
