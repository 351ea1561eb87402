//! How many electrons arrive where `mean` are expected?
//!
//! Poisson numbers add: a number of mean `m` is one of mean `m₀` plus one of mean `m − m₀`. For `m₀` on a fixed grid the numbers
//! come from tables by the alias method (Walker 1977, doi 10.1145/355744.355749) in a constant time; the rest has so small a mean
//! that it is nearly always 0. The distribution is exact, and sampling several times faster than without tables,
//! which is what a simulation of 10⁹ pixels waits for.

use rand::Rng;
use rand_distr::{Distribution, Poisson};

/// Distance of the tabulated means.
const GRID: f64 = 0.25;
/// Number of tabulated means; the largest is 63.75. Together with [`SUPPORT`] 512 KiB, of which a pattern uses a part.
const N_MEANS: usize = 256;
/// Numbers in a table: 0 to 255. Beyond lies a probability below 1e-60 even for a mean of 64.
const SUPPORT: usize = 256;

/// Poisson numbers of any mean.
#[derive(Debug, Clone)]
pub(super) struct PoissonSampler {
    /// `[mean, entry]`: the upper 56 bits are the share of the entry's own number, the lower 8 the number of the remaining share.
    entries: Vec<u64>,
}

impl PoissonSampler {
    /// Builds the tables.
    pub(super) fn new() -> Self {
        let entries = (0..N_MEANS)
            .flat_map(|idx| alias_table(&probabilities(idx as f64 * GRID)))
            .collect();
        Self { entries }
    }

    /// A Poisson number; 0 for a mean that is not positive.
    pub(super) fn sample(&self, mean: f64, rng: &mut impl Rng) -> u32 {
        if mean.is_nan() || mean <= 0.0 {
            return 0;
        }
        let idx = (mean * (1.0 / GRID)) as usize;
        if idx >= N_MEANS {
            return Poisson::new(mean).map_or(u32::MAX, |poisson| poisson.sample(rng) as u32);
        }
        let word = rng.next_u64();
        let own = word & 0xff;
        let entry = self.entries[idx * SUPPORT + own as usize];
        let tabulated = if word >> 8 < entry >> 8 {
            own
        } else {
            entry & 0xff
        };
        tabulated as u32 + rest(mean - idx as f64 * GRID, rng)
    }
}

/// A Poisson number of a small mean by inversion.
fn rest(mean: f64, rng: &mut impl Rng) -> u32 {
    let uniform = (rng.next_u64() >> 11) as f64 * (1.0 / (1_u64 << 53) as f64);
    // 1 - m <= exp(-m): below it the number is 0 without the exponential.
    if uniform < 1.0 - mean {
        return 0;
    }
    let mut probability = libm::exp(-mean);
    let mut below = probability;
    let mut number = 0;
    // The probabilities fall so fast that beyond 20 none is left in 53 bits.
    while uniform >= below && number < 20 {
        number += 1;
        probability *= mean / f64::from(number);
        below += probability;
    }
    number
}

/// Poisson probabilities of 0 to `SUPPORT - 1`, summing to 1.
fn probabilities(mean: f64) -> Vec<f64> {
    let mut list = vec![0.0; SUPPORT];
    let mode = mean as usize;
    list[mode] = 1.0;
    for number in mode + 1..SUPPORT {
        list[number] = list[number - 1] * mean / number as f64;
    }
    for number in (0..mode).rev() {
        list[number] = list[number + 1] * (number + 1) as f64 / mean;
    }
    let sum: f64 = list.iter().sum();
    list.iter_mut().for_each(|p| *p /= sum);
    list
}

/// Vose's construction: each entry holds its own number and one other, together of probability `1 / SUPPORT`.
fn alias_table(probabilities: &[f64]) -> Vec<u64> {
    const FULL: f64 = (1_u64 << 56) as f64;
    let mut share: Vec<f64> = probabilities.iter().map(|p| p * SUPPORT as f64).collect();
    let (mut small, mut large): (Vec<usize>, Vec<usize>) =
        (0..SUPPORT).partition(|&number| share[number] < 1.0);
    // An entry without partner is its own alias: its share does not matter.
    let mut entries: Vec<u64> = (0..SUPPORT as u64).collect();
    while let (Some(poor), Some(rich)) = (small.pop(), large.pop()) {
        entries[poor] = ((share[poor] * FULL) as u64) << 8 | rich as u64;
        share[rich] -= 1.0 - share[poor];
        if share[rich] < 1.0 {
            small.push(rich);
        } else {
            large.push(rich);
        }
    }
    entries
}

#[cfg(test)]
mod tests {
    use super::super::noise::{Purpose, stream};
    use super::*;

    #[test]
    fn tables_hold_the_probabilities() {
        for mean in [0.0, 0.25, 3.5, 17.25, 63.75] {
            let wanted = probabilities(mean);
            let table = alias_table(&wanted);
            let mut found = vec![0.0; SUPPORT];
            for (own, entry) in table.iter().enumerate() {
                let share = (entry >> 8) as f64 / (1_u64 << 56) as f64;
                found[own] += share / SUPPORT as f64;
                found[(entry & 0xff) as usize] += (1.0 - share) / SUPPORT as f64;
            }
            for (found, wanted) in found.iter().zip(&wanted) {
                assert!((found - wanted).abs() < 1e-15);
            }
        }
    }

    /// Every number of the distribution is as frequent as it should be, by chi-square with its own standard deviation.
    #[test]
    fn numbers_follow_poisson() {
        let sampler = PoissonSampler::new();
        let mut rng = stream(1, Purpose::Counts, &[]);
        const DRAWS: usize = 200_000;
        for mean in [0.03_f64, 0.2, 1.0, 5.13, 20.2, 63.9, 90.0] {
            let mut seen = vec![0.0; 400];
            for _ in 0..DRAWS {
                seen[sampler.sample(mean, &mut rng) as usize] += 1.0;
            }
            let mut probability = libm::exp(-mean);
            let (mut chi2, mut cells) = (0.0, 0.0_f64);
            for (number, seen) in seen.iter().enumerate() {
                let expected = probability * DRAWS as f64;
                if expected > 10.0 {
                    chi2 += (seen - expected).powi(2) / expected;
                    cells += 1.0;
                }
                probability *= mean / (number + 1) as f64;
            }
            assert!(
                chi2 < cells + 5.0 * (2.0 * cells).sqrt(),
                "mean {mean}: chi2 {chi2:.1} of {cells}"
            );
        }
        assert_eq!(sampler.sample(0.0, &mut rng), 0);
        assert_eq!(sampler.sample(f64::NAN, &mut rng), 0);
    }
}
