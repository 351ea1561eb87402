//! Does the dynamics come in bursts?
//!
//! ```text
//! chi_t(k) = mean over positions of cov over ages a of [ e_A(k, a), e_B(k, a) ] / ē(1)²
//! ```
//!
//! `e_A` and `e_B` are the excess of G over the baseline from two halves of the directions. The variance over time of one half is
//! `chi_t + b/N` with N speckles; of both together `chi_t + b/2N`; the straight line in 1/N through the two meets 1/N = 0 at exactly the
//! covariance of the halves. Fluctuations that distant tiles have in common are told apart: bursts of
//! a glass are local, those of beam, stage and registration and a change of all of the sample with age are not.

use serde::{Deserialize, Serialize};

use super::measure::Field;
use super::tiles::{p_value_above, without_each};
use super::{AtLag, p_text};
use crate::statistics::Estimate;

/// The common part is called so below this probability. Products of different tiles are few independent numbers: in simulations
/// without fluctuations one record of ten has a probability below 0.05.
const SHARED_RISK: f64 = 0.01;

/// Fluctuations of the dynamics over time, relative to the square of the contrast.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Fluctuations {
    /// chi_t of single positions at each lag, for infinitely many speckles.
    pub chi: Vec<AtLag>,
    /// The part that distant tiles have in common.
    pub common: Vec<AtLag>,
    /// Variance with the speckles of one half of the directions, at each lag.
    pub half: Vec<AtLag>,
    /// Variance with the speckles of both halves.
    pub both: Vec<AtLag>,
    /// Mean over the lags of chi_t less the common part.
    pub local: Estimate,
    /// Probability of a local part so large without fluctuations.
    #[serde(with = "crate::nonfinite")]
    pub local_p_value: f64,
    /// Mean over the lags of the common part.
    pub shared: Estimate,
    /// Probability of a common part so large without fluctuations.
    #[serde(with = "crate::nonfinite")]
    pub shared_p_value: f64,
    /// Mean over the lags of the variance with both halves: what is seen before the number of speckles is accounted for.
    pub seen: Estimate,
}

impl Fluctuations {
    /// What it says.
    pub fn sentence(&self) -> String {
        let percent = |estimate: &Estimate| 100.0 * libm::sqrt(estimate.value.max(0.0));
        let limit = 100.0 * libm::sqrt(self.local.upper.max(0.0));
        let seen = percent(&self.seen);
        let local = if self.local_p_value < 0.05 {
            format!(
                "The correlation of single positions fluctuates in time by {:.0} % of the contrast beyond what the number of speckles \
                 gives ({}; {seen:.0} % before that is accounted for).",
                percent(&self.local),
                p_text(self.local_p_value)
            )
        } else {
            format!(
                "No fluctuation in time beyond what the number of speckles gives ({}): of the {seen:.0} % of the contrast that are seen, \
                 at most {limit:.0} % are the sample's.",
                p_text(self.local_p_value)
            )
        };
        if self.shared_p_value < SHARED_RISK {
            format!(
                "{local} Distant places fluctuate together by {:.0} % ({}): that is beam, stage, registration or a change of the whole \
                 sample with age, not a burst of a place.",
                percent(&self.shared),
                p_text(self.shared_p_value)
            )
        } else {
            local
        }
    }
}

/// Sums of one tile at one lag.
#[derive(Debug, Clone, Default)]
struct TileSums {
    n: f64,
    cross: f64,
    half: f64,
    both: f64,
    /// Sums over the positions of what each half deviates from its mean over time, `[half][age]`, and how many entered.
    course: [Vec<f64>; 2],
    n_course: Vec<f64>,
}

/// Measures the fluctuations. `None` without enough positions, ages or contrast.
pub(super) fn measure(field: &Field<'_>) -> Option<Fluctuations> {
    let (n_ages, n_classes) = (field.classes.n_ages(), field.classes.len());
    let n_tiles = field.tiles.len();
    let errors = field.tiles.errors();
    let contrast = *field.mean_excess().first()?;
    if field.records.len() < 2 * n_tiles || n_ages < 5 || contrast.is_nan() || contrast <= 0.0 {
        return None;
    }
    let scale = 1.0 / (contrast * contrast);
    let sums: Vec<Vec<TileSums>> = (0..n_classes)
        .map(|class| {
            let mut tiles = vec![
                TileSums {
                    course: [vec![0.0; n_ages], vec![0.0; n_ages]],
                    n_course: vec![0.0; n_ages],
                    ..TileSums::default()
                };
                n_tiles
            ];
            for record in field.records {
                add(&mut tiles[field.tile(record)], record, class, n_ages);
            }
            tiles
        })
        .collect();
    let level = field.settings.level;
    let over = |class: usize, of: &dyn Fn(&TileSums) -> f64, without: Option<usize>| {
        let kept = sums[class]
            .iter()
            .enumerate()
            .filter(|(tile, _)| Some(*tile) != without);
        let (sum, n) = kept.fold((0.0, 0.0), |(sum, n), (_, tile)| {
            (sum + of(tile), n + tile.n)
        });
        scale * sum / n
    };
    let common = |class: usize, without: Option<usize>| scale * shared(&sums[class], without);
    let used: Vec<usize> = (0..n_classes).collect();
    let mean = |value: &dyn Fn(usize) -> f64| {
        used.iter().map(|&class| value(class)).sum::<f64>() / used.len() as f64
    };
    let at_lags = |value: &dyn Fn(usize, Option<usize>) -> f64| -> Vec<AtLag> {
        (0..n_classes)
            .map(|class| AtLag {
                lag_s: field.classes.lag_s(class),
                estimate: without_each(errors, level, |without| value(class, without)),
            })
            .collect()
    };
    let cross = |tile: &TileSums| tile.cross;
    let local = without_each(errors, level, |without| {
        mean(&|class| over(class, &cross, without) - common(class, without))
    });
    let shared = without_each(errors, level, |without| {
        mean(&|class| common(class, without))
    });
    Some(Fluctuations {
        chi: at_lags(&|class, without| over(class, &cross, without)),
        common: at_lags(&common),
        half: at_lags(&|class, without| over(class, &|tile| tile.half, without)),
        both: at_lags(&|class, without| over(class, &|tile| tile.both, without)),
        local_p_value: p_value_above(&local, n_tiles),
        local,
        shared_p_value: p_value_above(&shared, n_tiles),
        shared,
        seen: without_each(errors, level, |without| {
            mean(&|class| over(class, &|tile| tile.both, without))
        }),
    })
}

fn add(tile: &mut TileSums, record: &super::PositionRecord, class: usize, n_ages: usize) {
    let part = |half: usize| &record.halves[half].excess[class * n_ages..][..n_ages];
    let (a, b) = (part(0), part(1));
    let ages: Vec<usize> = (0..n_ages)
        .filter(|&age| a[age].is_finite() && b[age].is_finite())
        .collect();
    if ages.len() < 3 {
        return;
    }
    let n = ages.len() as f64;
    let mean = |values: &[f32]| ages.iter().map(|&age| f64::from(values[age])).sum::<f64>() / n;
    let (mean_a, mean_b) = (mean(a), mean(b));
    let (mut aa, mut bb, mut ab) = (0.0, 0.0, 0.0);
    for &age in &ages {
        let (a, b) = (f64::from(a[age]) - mean_a, f64::from(b[age]) - mean_b);
        aa += a * a;
        bb += b * b;
        ab += a * b;
        tile.course[0][age] += a;
        tile.course[1][age] += b;
        tile.n_course[age] += 1.0;
    }
    tile.n += 1.0;
    tile.cross += ab / n;
    tile.half += 0.5 * (aa + bb) / n;
    tile.both += 0.25 * (aa + bb + 2.0 * ab) / n;
}

/// Covariance over time of the mean courses of different tiles, each from the other half of the directions.
fn shared(tiles: &[TileSums], without: Option<usize>) -> f64 {
    let kept: Vec<&TileSums> = tiles
        .iter()
        .enumerate()
        .filter(|(tile, sums)| Some(*tile) != without && sums.n > 0.0)
        .map(|(_, sums)| sums)
        .collect();
    let n_ages = kept.first().map_or(0, |tile| tile.n_course.len());
    let (mut total, mut n_total) = (0.0, 0.0);
    for age in 0..n_ages {
        let mean = |tile: &TileSums, half: usize| tile.course[half][age] / tile.n_course[age];
        // Sum over pairs of different tiles: the product of the sums less what each has with itself.
        let (mut sum_a, mut sum_b, mut own, mut n) = (0.0, 0.0, 0.0, 0.0);
        for tile in kept.iter().filter(|tile| tile.n_course[age] > 0.0) {
            let (a, b) = (mean(tile, 0), mean(tile, 1));
            sum_a += a;
            sum_b += b;
            own += a * b;
            n += 1.0;
        }
        if n > 1.0 {
            total += (sum_a * sum_b - own) / (n * (n - 1.0));
            n_total += 1.0;
        }
    }
    total / n_total
}
