//! Would all temperatures say the same, had they been measured alike?
//!
//! Records, steps and doses that differ between temperatures move tau by what the estimator does with them, and an activation energy is a small
//! difference of logarithms: twice the record from 643 K on is up to 74 kJ/mol for an estimator whose tau follows the record. So all
//! temperatures are analyzed again from the stored counts, each cut to what all of them have:
//!
//! ```text
//! record   the shortest: later scans are left out
//! step     the longest: of scans that follow faster, those nearest to its multiples are kept
//! dose     the lowest: each electron is kept with the probability  p = lowest counts / own counts
//! ```
//!
//! Thinned counts of a Poisson process are Poisson counts of the thinner beam, exactly; counts after a gain or a dark correction are not, and stay
//! as they are. Records and steps that differ by less than two per cent count as equal, doses by less than five.

use std::borrow::Cow;

use ndarray::{Array4, Axis};
use rand::{Rng, SeedableRng};
use rand_distr::{Binomial, Distribution};
use rand_xoshiro::Xoshiro256PlusPlus;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::analysis::MapSummary;
use crate::arrhenius::ArrheniusFit;
use crate::axes::TimeAxis;
use crate::conditions::Measured;
use crate::drift::align::Alignment;
use crate::error::{Error, Result};
use crate::map::curves::Taken;
use crate::map::{self, LoadShard};
use crate::recipe::Recipe;
use crate::reduce::{Reduction, Shard};
use crate::ring::{RingCounts, RingSeries};

/// Records and steps that differ by less than this share are equal.
const EQUAL: f64 = 0.02;

/// Doses that differ by less than this share are equal: thickness and temperature change the counts, too.
const EQUAL_DOSE: f64 = 0.05;

/// Scans below which nothing can be fitted.
const MIN_TIMES: usize = 8;

/// What all temperatures have.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Common {
    /// The shortest record, seconds.
    pub record_s: f64,
    /// The longest time from scan to scan, seconds.
    pub step_s: f64,
    /// The lowest mean counts of a pixel.
    pub counts: f64,
}

/// What one temperature has.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Own<'a> {
    /// Start of each scan.
    pub time: &'a TimeAxis,
    /// Mean counts of a pixel and scan in the band; NaN where not known.
    pub counts: f64,
}

impl Common {
    /// What all have; `None` for fewer than two temperatures.
    pub fn of(all: &[Own<'_>]) -> Option<Self> {
        if all.len() < 2 {
            return None;
        }
        let least =
            |value: &dyn Fn(&Own<'_>) -> f64| all.iter().map(value).fold(f64::NAN, f64::min);
        Some(Self {
            record_s: least(&|own| own.time.record_s()),
            step_s: -least(&|own| -own.time.step_s()),
            counts: least(&|own| own.counts),
        })
    }

    /// Whether a temperature has more than that.
    pub fn is_less_than(&self, own: &Own<'_>) -> bool {
        own.time.record_s() > (1.0 + EQUAL) * self.record_s
            || own.time.step_s() < (1.0 - EQUAL) * self.step_s
            || own.counts > (1.0 + EQUAL_DOSE) * self.counts
    }

    /// Whether what was left of all temperatures has the same dose.
    pub fn has_equal_dose(&self, temperatures: &[AlikeTemperature]) -> bool {
        temperatures
            .iter()
            .all(|one| one.counts <= (1.0 + EQUAL_DOSE) * self.counts)
    }

    /// The scans of a temperature that are kept: those nearest to the multiples of the step, within the record.
    fn times(&self, time: &TimeAxis) -> Vec<usize> {
        let times_s = time.times_s();
        let ratio = (self.step_s / time.step_s()).max(1.0);
        let n = libm::floor(self.record_s / self.step_s + EQUAL) as usize;
        if ratio < 1.0 + EQUAL {
            return (0..n.min(times_s.len())).collect();
        }
        let mut kept = Vec::new();
        let mut next = 0;
        for multiple in 0..n {
            let Some(first_s) = times_s.first() else {
                break;
            };
            let target_s = first_s + multiple as f64 * self.step_s;
            let away = |at: &usize| (times_s[*at] - target_s).abs();
            let nearest = (next..times_s.len()).min_by(|a, b| away(a).total_cmp(&away(b)));
            let Some(nearest) = nearest.filter(|at| away(at) <= 0.5 * self.step_s) else {
                break;
            };
            kept.push(nearest);
            next = nearest + 1;
        }
        kept
    }
}

/// One temperature measured like all others.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AlikeTemperature {
    /// Temperature.
    #[serde(with = "crate::nonfinite")]
    pub temperature_k: f64,
    /// Scans that were kept.
    pub n_times: usize,
    /// Scans of the record.
    pub n_times_measured: usize,
    /// Share of the electrons that was kept; 1 where they were not thinned.
    pub kept_share: f64,
    /// Mean counts of a pixel and scan that were left.
    #[serde(with = "crate::nonfinite")]
    pub counts: f64,
    /// The maps in a few numbers.
    pub summary: MapSummary,
}

/// All temperatures measured alike.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Alike {
    /// What all of them have.
    pub common: Common,
    /// Each temperature.
    pub temperatures: Vec<AlikeTemperature>,
    /// One fit an average.
    pub arrhenius: Vec<ArrheniusFit>,
    /// Whether the dose is equal, too: it cannot be made so for counts after gain or dark correction.
    pub equal_dose: bool,
}

/// Analyzes one temperature as if it had been measured with what all of them have.
///
/// `own_counts` are the mean counts of a pixel and scan in the band, of which the lowest of all temperatures is in `common`. The seed of the
/// recipe chooses the electrons. `taken` is what an earlier call took from the counts, as for [`map::analyze_from`]; it must come from the same
/// `own_counts`, `common` and seed as well.
///
/// # Errors
///
/// [`Error::TooFewTimes`] where fewer than eight scans are left, and as [`map::analyze_under`].
pub fn analyze(
    reduction: &Reduction,
    recipe: &Recipe,
    measured: &Measured,
    (own_counts, common): (f64, &Common),
    taken: &mut Taken,
    load: &LoadShard<'_>,
    done: &(dyn Fn(u64) -> bool + Sync),
) -> Result<AlikeTemperature> {
    let times = common.times(&reduction.time);
    if times.len() < MIN_TIMES {
        return Err(Error::TooFewTimes {
            what: "an analysis of what all temperatures have",
            n_times: times.len(),
            needed: MIN_TIMES,
        });
    }
    let share = common.counts / own_counts;
    // One count must be one electron.
    let kept_share =
        if share < 1.0 - EQUAL_DOSE && recipe.structure.gain == 1.0 && is_counted(reduction, load)?
        {
            share
        } else {
            1.0
        };
    let cut = cut_reduction(reduction, &times)?;
    let cut_measured = cut_conditions(measured, &times);
    let load = |shard: &Shard| -> Result<Cow<'_, RingSeries>> {
        let rings = load(shard)?;
        Ok(Cow::Owned(cut_rings(
            &rings,
            &times,
            kept_share,
            recipe.seed,
        )))
    };
    let mut recipe = recipe.clone();
    // No number of a summary comes from the tests of the dynamics.
    recipe.dynamics.tests = false;
    let (summary, _) = map::numbers_from(&cut, &recipe, &cut_measured, taken, &load, done)?;
    Ok(AlikeTemperature {
        temperature_k: reduction.temperature_k,
        n_times: times.len(),
        n_times_measured: reduction.time.len(),
        kept_share,
        counts: own_counts * kept_share,
        summary,
    })
}

/// Whether the counts are whole numbers as the detector gave them.
fn is_counted(reduction: &Reduction, load: &LoadShard<'_>) -> Result<bool> {
    match reduction.shards().first() {
        Some(shard) => Ok(load(shard)?.is_integer()),
        None => Ok(false),
    }
}

fn cut_reduction(reduction: &Reduction, times: &[usize]) -> Result<Reduction> {
    let times_s = times.iter().map(|&time| reduction.time.times_s()[time]);
    Ok(Reduction {
        time: TimeAxis::new(times_s.collect(), reduction.time.basis())?,
        virtual_image: reduction.virtual_image.select(Axis(0), times),
        ..reduction.clone()
    })
}

fn cut_conditions(measured: &Measured, times: &[usize]) -> Measured {
    let alignment = &measured.alignment;
    let of = |steps: &[i64]| times.iter().map(|&time| steps[time]).collect();
    Measured {
        conditions: measured.conditions.clone(),
        alignment: Alignment {
            row_steps: of(&alignment.row_steps),
            col_steps: of(&alignment.col_steps),
            left_out: alignment
                .left_out
                .as_ref()
                .map(|left_out| left_out.select(Axis(0), times)),
        },
        excluded: (0..times.len())
            .filter(|&index| measured.excluded.contains(&times[index]))
            .collect(),
        level_counts: measured.level_counts.select(Axis(0), times),
        warnings: Vec::new(),
    }
}

fn cut_rings(rings: &RingSeries, times: &[usize], share: f64, seed: u64) -> RingSeries {
    let counts = match &rings.counts {
        RingCounts::U8(counts) => RingCounts::U8(thinned(counts, times, share, rings, seed)),
        RingCounts::U16(counts) => RingCounts::U16(thinned(counts, times, share, rings, seed)),
        RingCounts::U32(counts) => RingCounts::U32(thinned(counts, times, share, rings, seed)),
        RingCounts::F32(counts) => RingCounts::F32(at_times(counts, times)),
    };
    RingSeries {
        first_row: rings.first_row,
        first_col: rings.first_col,
        counts,
        frame_valid: rings.frame_valid.select(Axis(2), times),
        pixel_valid: rings.pixel_valid.clone(),
    }
}

/// Counts at some times, pixels next to each other as in all counts.
fn at_times<T: Copy>(counts: &Array4<T>, times: &[usize]) -> Array4<T> {
    let cut = counts.select(Axis(2), times);
    if cut.is_standard_layout() {
        cut
    } else {
        cut.as_standard_layout().into_owned()
    }
}

/// Counts at some times with every electron kept with a probability; a stream of random numbers a position.
fn thinned<T>(
    counts: &Array4<T>,
    times: &[usize],
    share: f64,
    rings: &RingSeries,
    seed: u64,
) -> Array4<T>
where
    T: Copy + Into<u32> + TryFrom<u64> + Send + Sync,
{
    let mut cut = at_times(counts, times);
    if share >= 1.0 {
        return cut;
    }
    let thinning = Thinning::new(share);
    let mut rows: Vec<_> = cut.outer_iter_mut().collect();
    rows.par_iter_mut()
        .enumerate()
        .for_each(|(row, positions)| {
            for (col, mut series) in positions.outer_iter_mut().enumerate() {
                let place = ((rings.first_row + row) as u64) << 32 | (rings.first_col + col) as u64;
                let mut rng = Xoshiro256PlusPlus::seed_from_u64(
                    seed ^ (place + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15),
                );
                for count in &mut series {
                    let kept = thinning.draw((*count).into(), &mut rng);
                    // Never more than there was, so that it fits.
                    *count = T::try_from(kept).unwrap_or(*count);
                }
            }
        });
    cut
}

/// Counts up to which the chances are in a table.
const TABLE: usize = 256;

/// How many electrons of a count are kept.
struct Thinning {
    share: f64,
    /// Chance to keep at most 0, 1, 2 ... of a count, in parts of 2³², for each count.
    at_most: Vec<Vec<u32>>,
}

impl Thinning {
    fn new(share: f64) -> Self {
        let at_most = (0..TABLE).map(|count| {
            let odds = share / (1.0 - share);
            let mut chance = libm::pow(1.0 - share, count as f64);
            let mut sum = 0.0;
            (0..count)
                .map(|kept| {
                    sum += chance;
                    chance *= odds * (count - kept) as f64 / (kept + 1) as f64;
                    (sum.min(1.0) * f64::from(u32::MAX)) as u32
                })
                .collect()
        });
        Self {
            share,
            at_most: at_most.collect(),
        }
    }

    fn draw(&self, count: u32, rng: &mut Xoshiro256PlusPlus) -> u64 {
        if let Some(at_most) = self.at_most.get(count as usize) {
            let chance = rng.next_u32();
            return at_most.iter().take_while(|&&limit| chance > limit).count() as u64;
        }
        // A share is a probability, so that this does not fail.
        Binomial::new(u64::from(count), self.share)
            .map_or(u64::from(count), |kept| kept.sample(rng))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests {
    use super::*;
    use crate::axes::TimeBasis;

    fn axis(n: usize, step_s: f64) -> TimeAxis {
        TimeAxis::uniform(n, step_s, TimeBasis::Timestamps).unwrap()
    }

    #[test]
    fn scans_are_kept_as_the_poorest_temperature_has_them() {
        // The paper: 106 scans in 1048 s below, in 524 s above.
        let (slow, fast) = (axis(106, 1048.0 / 106.0), axis(106, 524.0 / 106.0));
        let own = |time, counts| Own { time, counts };
        let common = Common::of(&[own(&slow, 17.0), own(&fast, 8.5)]).unwrap();
        assert!((common.record_s - 524.0).abs() < 1e-9 && common.counts == 8.5);
        assert_eq!(common.times(&slow), (0..53).collect::<Vec<_>>());
        assert_eq!(
            common.times(&fast),
            (0..53).map(|at| 2 * at).collect::<Vec<_>>()
        );
        assert!(common.is_less_than(&own(&slow, 17.0)) && common.is_less_than(&own(&fast, 8.5)));
        let alike = Common::of(&[own(&slow, 17.0), own(&slow, 16.9)]).unwrap();
        assert!(!alike.is_less_than(&own(&slow, 17.0)));
        // Not whole multiples: the nearest, each once.
        let uneven = Common {
            step_s: 15.0,
            record_s: 150.0,
            counts: 1.0,
        };
        assert_eq!(
            uneven.times(&axis(30, 10.0)),
            [0, 1, 3, 4, 6, 7, 9, 10, 12, 13]
        );
        assert!(Common::of(&[own(&slow, 1.0)]).is_none());
    }

    #[test]
    fn thinned_counts_are_poisson_counts_of_a_thinner_beam() {
        let thinning = Thinning::new(0.4);
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(1);
        for mean in [0.5, 12.0, 400.0] {
            let poisson = rand_distr::Poisson::new(mean).unwrap();
            let (mut sum, mut squares, n) = (0.0, 0.0, 40_000);
            for _ in 0..n {
                let count: f64 = poisson.sample(&mut rng);
                let kept = thinning.draw(count as u32, &mut rng) as f64;
                sum += kept;
                squares += kept * kept;
            }
            let (found, n) = (sum / f64::from(n), f64::from(n));
            let variance = squares / n - found * found;
            // Poisson: variance equal to the mean; five standard errors.
            let error = (0.4 * mean / n).sqrt();
            assert!(
                (found - 0.4 * mean).abs() < 5.0 * error,
                "{found} of {mean}"
            );
            let relative = (2.0 / n + 1.0 / (0.4 * mean * n)).sqrt();
            assert!(
                (variance / (0.4 * mean) - 1.0).abs() < 5.0 * relative,
                "{variance} of {mean}"
            );
        }
        assert_eq!(thinning.draw(0, &mut rng), 0);
    }
}
