//! Is tau the same at every Q of a ring that is taken as one?
//!
//! A likelihood over all speckles of a wide ring takes their relaxation time for one. So the ring is cut into bands of Q, each about as wide as a speckle's radius
//! or wider, and the likelihood of each is computed around the tau of the position, V of the band being free:
//!
//! ```text
//! D_rb(s)    minus twice the logarithm of the likelihood of band b at position r, at ln tau_r + s
//! s_b        where Σ_r D_rb(s) is lowest                                tau of the band over that of the whole: exp(s_b)
//! e_rb       = −D'_rb(s_b) / ⟨D''_b(s_b)⟩_r                             what position r adds to s_b, mean 0
//! c_b        = s_b − Σ w s,    w_b = D''_b / Σ D''                      against the mean of the bands
//! var c      = S/M + σ² (1 − w)(1 − w)'                                 S covariance of e_b − Σ w e over positions, σ what is not chance
//! M          = n² / Σ_(r, r') exp[−(d_rr'/ξ)²]                          effective positions; ξ from the products of e at distances
//! T²         = c' (var c)⁻¹ c                                               F with B − 1 and M − B + 1 degrees of freedom
//! ```
//!
//! So errors are those that places show, whatever intensities are distributed like, whether +Q and −Q show one speckle or two, and however much neighbors share of
//! the probe. A common tau of all bands makes no difference, so that its own error, which all bands of a position share, cancels.
//!
//! A small difference between bands is not chance alone: in simulations of one tau the model of modes moves the tau of a band by one or two per cent,
//! whatever the number of positions. σ = 2 % in the errors is for that, so that a large field does not call it physics. And tau
//! is called different only where two bands differ by more than [`MIN_DIFFERENCE`] as well.
//!
//! Sources: Rao, Linear Statistical Inference and its Applications, 8b (Hotelling's T²); White, Econometrica 50, 1 (1982), doi 10.2307/1912526, for
//! the error of a maximum whose likelihood is not the truth's; Clifford, Richardson, Hémon, Biometrics 45, 123 (1989), doi
//! 10.2307/2532039, for the effective number of positions.

use nalgebra::{DMatrix, DVector};
use serde::{Deserialize, Serialize};

use crate::axes::QRange;
use crate::statistics::{Estimate, f_p_value, student_quantile};

/// Bands of a ring at most.
pub(crate) const MAX_BANDS: usize = 4;

/// Distances from ln tau of a position at which D of each band is computed: the polynomial through them is right to 1e-4 of D.
pub(crate) const NODES: [f64; N_NODES] = [-1.6, -0.8, -0.4, 0.0, 0.4, 0.8, 1.6];

/// Their number.
pub(crate) const N_NODES: usize = 7;

/// Within this the lowest sum is looked for: tau of a band from a quarter to four times that of the whole.
const REACH: f64 = 1.4;

/// Probability of a difference by chance below which it counts.
pub const RISK: f64 = 0.01;

/// Smallest difference of ln tau between two bands that counts.
pub const MIN_DIFFERENCE: f64 = 0.06;

/// Below this number of effective positions nothing is said.
const MIN_EFFECTIVE: f64 = 8.0;

/// A band whose ln tau is known worse than this is left out.
const MAX_ERROR: f64 = 0.3;

/// Distances up to this many probe widths tell how far errors belong together.
const REACH_WIDTHS: f64 = 2.0;

/// D over D at the position's tau at each of [`NODES`], by band; NaN for bands that are not there.
pub(crate) type BandProfiles = [[f64; N_NODES]; MAX_BANDS];

/// What there is to compare.
#[derive(Debug)]
pub(crate) struct BandsInput<'a> {
    /// The bands from the lowest Q, each with the Q that its speckle has in the mean.
    pub(crate) bands: &'a [(QRange, f64)],
    /// Row and column of each position, scan steps.
    pub(crate) places: &'a [(usize, usize)],
    /// One a position.
    pub(crate) profiles: &'a [BandProfiles],
    /// Full width of the probe in scan steps.
    pub(crate) probe_steps: f64,
    /// σ of the module: error of ln tau of a band that is no chance.
    pub(crate) systematic: f64,
    /// Probability of the intervals.
    pub(crate) level: f64,
}

/// Whether relaxation depends on Q within the ring that is taken as one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct QDependence {
    /// From the lowest Q; bands that tell nothing are left out.
    pub bands: Vec<QBand>,
    /// Positions that were compared.
    pub n_positions: usize,
    /// As many independent ones they are worth.
    #[serde(with = "crate::nonfinite")]
    pub n_effective: f64,
    /// Probability of differences so large where tau is the same at every Q.
    #[serde(with = "crate::nonfinite")]
    pub p_value: f64,
    /// tau of the outermost band over that of the innermost.
    pub outer_over_inner: Estimate,
    /// d ln tau / d ln Q.
    pub slope: Estimate,
}

/// One band.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct QBand {
    /// Its lower end.
    pub q_min_per_nm: f64,
    /// Its upper end.
    pub q_max_per_nm: f64,
    /// Mean Q of its speckle.
    pub q_per_nm: f64,
    /// Its tau over the mean of all bands, weighted as the likelihood of the whole ring weighs them.
    pub tau_ratio: Estimate,
}

impl QDependence {
    /// Whether tau differs between bands by more than chance and by more than matters.
    pub fn is_dependent(&self) -> bool {
        self.p_value < RISK && self.largest_difference() > MIN_DIFFERENCE
    }

    /// Largest difference of ln tau between two bands.
    pub fn largest_difference(&self) -> f64 {
        let ratios = self.bands.iter().map(|band| band.tau_ratio.value);
        let (low, high) = ratios.fold((f64::INFINITY, 0.0_f64), |(low, high), ratio| {
            (low.min(ratio), high.max(ratio))
        });
        libm::log(high / low)
    }

    /// What it says.
    pub fn sentence(&self) -> String {
        let (Some(first), Some(last)) = (self.bands.first(), self.bands.last()) else {
            return String::new();
        };
        let range = format!("{:.1}-{:.1} 1/nm", first.q_min_per_nm, last.q_max_per_nm);
        let ratio = interval(&self.outer_over_inner);
        let slope = interval(&self.slope);
        let chance = if self.p_value < 1e-4 {
            "p < 1e-4".to_owned()
        } else {
            format!("p = {:.4}", self.p_value)
        };
        let numbers = format!(
            "τ of {:.1}-{:.1} over that of {:.1}-{:.1} 1/nm is {ratio}, d ln τ/d ln Q is {slope}; {chance}",
            last.q_min_per_nm, last.q_max_per_nm, first.q_min_per_nm, first.q_max_per_nm,
        );
        if self.is_dependent() {
            format!(
                "τ is not the same over the ring {range}: {numbers}. The map of one τ is a mean over the ring, and its intervals take the ring for alike."
            )
        } else if self.p_value < RISK {
            format!(
                "τ is the same over the ring {range} within {:.0} %, a difference beyond chance but below what counts: {numbers}.",
                100.0 * libm::expm1(self.largest_difference()).abs().max(0.01)
            )
        } else {
            format!("No dependence of τ on Q over the ring {range} beyond chance: {numbers}.")
        }
    }
}

fn interval(estimate: &Estimate) -> String {
    format!(
        "{:.2} [{:.2}, {:.2}]",
        estimate.value, estimate.lower, estimate.upper
    )
    .replace('-', "−")
}

/// The comparison; `None` where fewer than two bands tell something, or too few positions are independent.
pub(crate) fn q_dependence(input: &BandsInput<'_>) -> Option<QDependence> {
    let basis = basis();
    let n = input.profiles.len();
    let found: Vec<Band> = (0..input.bands.len())
        .filter_map(|band| Band::of(band, input.profiles, &basis))
        .collect();
    if found.len() < 2 {
        return None;
    }
    let all = Comparison::of(&found, input)?;
    // Without the bands that tell nothing, whose noise would be in the numbers of the others.
    let kept: Vec<Band> = found
        .into_iter()
        .enumerate()
        .filter(|&(at, _)| all.error(&all.unit(at)) < MAX_ERROR)
        .map(|(_, band)| band)
        .collect();
    if kept.len() < 2 {
        return None;
    }
    let compared = Comparison::of(&kept, input)?;
    let last = kept.len() - 1;
    let ln_q: Vec<f64> = kept
        .iter()
        .map(|band| libm::log(input.bands[band.number].1))
        .collect();
    let middle: f64 = ln_q.iter().zip(&compared.weights).map(|(x, w)| x * w).sum();
    let around: Vec<f64> = ln_q
        .iter()
        .zip(&compared.weights)
        .map(|(x, w)| w * (x - middle))
        .collect();
    let spread: f64 = around.iter().zip(&ln_q).map(|(a, x)| a * x).sum();
    let slope = DVector::from_iterator(kept.len(), around.iter().map(|a| a / spread));
    let outer = compared.unit(last) - compared.unit(0);
    let ratio = |estimate: Estimate| Estimate {
        value: libm::exp(estimate.value),
        error: libm::exp(estimate.value) * estimate.error,
        lower: libm::exp(estimate.lower),
        upper: libm::exp(estimate.upper),
    };
    Some(QDependence {
        bands: kept
            .iter()
            .enumerate()
            .map(|(at, band)| QBand {
                q_min_per_nm: input.bands[band.number].0.min_per_nm,
                q_max_per_nm: input.bands[band.number].0.max_per_nm,
                q_per_nm: input.bands[band.number].1,
                tau_ratio: ratio(compared.estimate(&compared.unit(at), input.level)),
            })
            .collect(),
        n_positions: n,
        n_effective: compared.n_effective,
        p_value: compared.p_value(),
        outer_over_inner: ratio(compared.estimate(&outer, input.level)),
        slope: compared.estimate(&slope, input.level),
    })
}

/// A band that tells something.
struct Band {
    number: usize,
    /// s_b.
    shift: f64,
    /// Mean of D'' there.
    curvature: f64,
    /// e_rb.
    influence: Vec<f64>,
}

impl Band {
    fn of(
        number: usize,
        profiles: &[BandProfiles],
        basis: &[[f64; N_NODES]; N_NODES],
    ) -> Option<Self> {
        let n = profiles.len() as f64;
        let mut sum = [0.0; N_NODES];
        for profile in profiles {
            for (sum, value) in sum.iter_mut().zip(profile[number]) {
                *sum += value / n;
            }
        }
        if !sum.iter().all(|value| value.is_finite()) {
            return None;
        }
        let whole = polynomial(&sum, basis);
        let steps = 280;
        let at = |step: usize| REACH * (2.0 * step as f64 / steps as f64 - 1.0);
        let lowest = (0..=steps)
            .map(at)
            .min_by(|a, b| derivative(&whole, 0, *a).total_cmp(&derivative(&whole, 0, *b)))?;
        let mut shift = lowest;
        for _ in 0..4 {
            let curvature = derivative(&whole, 2, shift);
            if curvature > 0.0 {
                let step = derivative(&whole, 1, shift) / curvature;
                shift = (shift - step)
                    .clamp(lowest - 0.01, lowest + 0.01)
                    .clamp(-REACH, REACH);
            }
        }
        let curvature = derivative(&whole, 2, shift);
        if curvature.is_nan() || curvature <= 0.0 {
            return None;
        }
        let slopes: Vec<f64> = profiles
            .iter()
            .map(|profile| derivative(&polynomial(&profile[number], basis), 1, shift))
            .collect();
        let mean = slopes.iter().sum::<f64>() / n;
        Some(Self {
            number,
            shift,
            curvature,
            influence: slopes
                .iter()
                .map(|slope| (mean - slope) / curvature)
                .collect(),
        })
    }
}

/// The bands against their mean.
struct Comparison {
    /// c.
    differences: DVector<f64>,
    weights: Vec<f64>,
    /// var c.
    covariance: DMatrix<f64>,
    n_effective: f64,
}

impl Comparison {
    fn of(bands: &[Band], input: &BandsInput<'_>) -> Option<Self> {
        let (n, n_bands) = (input.profiles.len(), bands.len());
        let total: f64 = bands.iter().map(|band| band.curvature).sum();
        let weights: Vec<f64> = bands.iter().map(|band| band.curvature / total).collect();
        let against_mean = |values: &dyn Fn(&Band) -> f64| -> DVector<f64> {
            let mean: f64 = bands
                .iter()
                .zip(&weights)
                .map(|(band, w)| w * values(band))
                .sum();
            DVector::from_iterator(n_bands, bands.iter().map(|band| values(band) - mean))
        };
        let differences = against_mean(&|band| band.shift);
        let own: Vec<DVector<f64>> = (0..n)
            .map(|position| against_mean(&|band| band.influence[position]))
            .collect();
        let mut covariance = DMatrix::zeros(n_bands, n_bands);
        for one in &own {
            covariance += one * one.transpose() / (n as f64 - 1.0);
        }
        let errors: Vec<f64> = (0..n_bands)
            .map(|band| covariance[(band, band)].sqrt())
            .collect();
        if !errors.iter().all(|error| *error > 0.0) {
            return None;
        }
        let unit: Vec<Vec<f64>> = own
            .iter()
            .map(|one| {
                one.iter()
                    .zip(&errors)
                    .map(|(e, error)| e / error)
                    .collect()
            })
            .collect();
        let n_effective = n_effective(&unit, input.places, input.probe_steps);
        let less_mean = DMatrix::from_fn(n_bands, n_bands, |band, other| {
            f64::from(u8::from(band == other)) - weights[other]
        });
        let systematic = input.systematic * input.systematic * &less_mean * less_mean.transpose();
        (n_effective >= MIN_EFFECTIVE.max(n_bands as f64 + 2.0)).then(|| Self {
            differences,
            weights,
            covariance: covariance / n_effective + systematic,
            n_effective,
        })
    }

    fn unit(&self, band: usize) -> DVector<f64> {
        DVector::from_fn(self.weights.len(), |at, _| f64::from(u8::from(at == band)))
    }

    /// Error of a linear combination of the bands.
    fn error(&self, of: &DVector<f64>) -> f64 {
        (of.transpose() * &self.covariance * of)[(0, 0)].sqrt()
    }

    fn estimate(&self, of: &DVector<f64>, level: f64) -> Estimate {
        let (value, error) = (of.dot(&self.differences), self.error(of));
        let half = student_quantile(0.5 + level / 2.0, self.n_effective as usize - 1) * error;
        Estimate {
            value,
            error,
            lower: value - half,
            upper: value + half,
        }
    }

    /// Probability of differences so large by chance: all but the last, which follows from the others.
    fn p_value(&self) -> f64 {
        let n = self.weights.len() - 1;
        let covariance = self.covariance.view((0, 0), (n, n)).into_owned();
        let differences = self.differences.rows(0, n).into_owned();
        let Some(cholesky) = covariance.cholesky() else {
            return f64::NAN;
        };
        let t_square = differences.dot(&cholesky.solve(&differences));
        let below = self.n_effective as usize - n;
        let f = t_square * below as f64 / ((self.n_effective - 1.0) * n as f64);
        f_p_value(f, n, below)
    }
}

/// M of the module, from values of unit variance, `[position][band]`.
fn n_effective(values: &[Vec<f64>], places: &[(usize, usize)], probe_steps: f64) -> f64 {
    let n = values.len() as f64;
    let reach = REACH_WIDTHS * probe_steps.max(1.0);
    let n_classes = libm::ceil(reach) as usize + 1;
    let mut sums = vec![(0.0, 0.0, 0.0); n_classes];
    for (at, (here, value)) in places.iter().zip(values).enumerate() {
        for (there, other) in places[at + 1..].iter().zip(&values[at + 1..]) {
            let apart = (
                here.0.abs_diff(there.0) as f64,
                here.1.abs_diff(there.1) as f64,
            );
            if apart.0 > reach || apart.1 > reach {
                continue;
            }
            let distance = libm::hypot(apart.0, apart.1);
            if distance > reach {
                continue;
            }
            let product: f64 = value.iter().zip(other).map(|(a, b)| a * b).sum();
            let sum = &mut sums[libm::round(distance) as usize];
            *sum = (
                sum.0 + product / value.len() as f64,
                sum.1 + distance,
                sum.2 + 1.0,
            );
        }
    }
    // Mean distance, correlation, pairs.
    let classes: Vec<(f64, f64, f64)> = sums
        .iter()
        .filter(|(_, _, n_pairs)| *n_pairs > 0.0)
        .map(|&(sum, distance, n_pairs)| (distance / n_pairs, sum / n_pairs, n_pairs))
        .collect();
    let misfit = |length: f64| -> f64 {
        let parts = classes.iter().map(|&(distance, correlation, n_pairs)| {
            let off = correlation - kernel(distance, length);
            n_pairs * off * off
        });
        parts.sum()
    };
    // From nothing in common to the whole reach.
    let lengths = (0..=200).map(|step| 0.2 + (reach - 0.2) * f64::from(step) / 200.0);
    let length = lengths
        .min_by(|a, b| misfit(*a).total_cmp(&misfit(*b)))
        .unwrap_or(reach);
    let shared: f64 = classes
        .iter()
        .map(|&(distance, _, n_pairs)| 2.0 * n_pairs * kernel(distance, length))
        .sum();
    n * n / (n + shared)
}

fn kernel(distance: f64, length: f64) -> f64 {
    libm::exp(-(distance / length) * (distance / length))
}

/// Coefficients of the polynomial that is 1 at one node and 0 at the others, `[node][power]`.
fn basis() -> [[f64; N_NODES]; N_NODES] {
    std::array::from_fn(|node| {
        let mut coefficients = [0.0; N_NODES];
        coefficients[0] = 1.0;
        for (other, place) in NODES.iter().enumerate() {
            if other == node {
                continue;
            }
            let height = NODES[node] - place;
            for power in (0..N_NODES).rev() {
                let lower = if power > 0 {
                    coefficients[power - 1]
                } else {
                    0.0
                };
                coefficients[power] = (lower - place * coefficients[power]) / height;
            }
        }
        coefficients
    })
}

fn polynomial(values: &[f64; N_NODES], basis: &[[f64; N_NODES]; N_NODES]) -> [f64; N_NODES] {
    std::array::from_fn(|power| {
        let terms = values
            .iter()
            .zip(basis)
            .map(|(value, own)| value * own[power]);
        terms.sum()
    })
}

/// A derivative of a polynomial at a place.
fn derivative(coefficients: &[f64; N_NODES], order: usize, at: f64) -> f64 {
    let mut value = 0.0;
    for power in (order..N_NODES).rev() {
        let falling: f64 = (power + 1 - order..=power)
            .map(|factor| factor as f64)
            .product();
        value = value * at + falling * coefficients[power];
    }
    value
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests {
    use super::*;
    use crate::correlogram::smooth_field;
    use crate::statistics::student_p_value;
    use rand::SeedableRng;
    use rand_xoshiro::Xoshiro256PlusPlus;

    /// Likelihoods of a memory that is well seen, `N [ln tau + S/tau]`: S has the mean of the true tau and errors as smooth as a probe of
    /// three steps leaves them. What all bands of a position share is another error, that of the position's tau.
    fn compared(differences: [f64; 3], seed: u64) -> QDependence {
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
        let (side, probe_steps) = (30, 3.0);
        let mut field = || smooth_field((side, side), 0.85 * probe_steps, &mut rng);
        let common = field();
        let errors = [field(), field(), field()];
        let information = [60.0_f64, 100.0, 30.0];
        let places: Vec<(usize, usize)> =
            (0..side * side).map(|at| (at / side, at % side)).collect();
        let profiles: Vec<BandProfiles> = places
            .iter()
            .map(|&at| {
                let mut profile = [[f64::NAN; N_NODES]; MAX_BANDS];
                for band in 0..3 {
                    let size = (2.0 / information[band]).sqrt();
                    let measured = 1.0 + size * errors[band][at];
                    let offset = differences[band] + 0.1 * common[at];
                    profile[band] =
                        NODES.map(|s| information[band] * (s + measured * libm::exp(offset - s)));
                }
                profile
            })
            .collect();
        let bands = [3.0, 4.0, 5.0].map(|q| (QRange::new(q, q + 1.0), q + 0.5));
        q_dependence(&BandsInput {
            bands: &bands,
            places: &places,
            profiles: &profiles,
            probe_steps,
            systematic: 0.0,
            level: 0.95,
        })
        .unwrap()
    }

    #[test]
    fn one_tau_is_called_one_as_often_as_stated() {
        let n = 300;
        let (mut below, mut flagged, mut covered, mut naive) = (0, 0, 0, 0);
        for seed in 0..n {
            let found = compared([0.0; 3], seed);
            below += u32::from(found.p_value < 0.05);
            flagged += u32::from(found.is_dependent());
            let ratio = found.outer_over_inner;
            covered += u32::from((ratio.lower..ratio.upper).contains(&1.0));
            // Had all positions been independent.
            let t = libm::log(ratio.value) / (ratio.error / ratio.value)
                * (found.n_positions as f64 / found.n_effective).sqrt();
            naive += u32::from(student_p_value(t, 899) < 0.05);
            assert!(
                (35.0..90.0).contains(&found.n_effective),
                "{}",
                found.n_effective
            );
        }
        // 15 of 300 with a standard error of 4.
        assert!((5..=27).contains(&below), "{below} of {n}");
        assert!(flagged <= 8, "{flagged} of {n}");
        assert!(covered >= 275, "{covered} of {n}");
        assert!(naive > 100, "{naive} of {n} as if independent");
    }

    #[test]
    fn a_dependence_comes_back() {
        // tau ~ Q^-2 at the middle of the bands.
        let truth = [3.5, 4.5, 5.5].map(|q: f64| -2.0 * libm::log(q / 4.3));
        let n = 40;
        let (mut inside, mut sum) = (0, 0.0);
        for seed in 0..n {
            let found = compared(truth, 900 + seed);
            assert!(found.is_dependent() && found.p_value < 1e-4, "{found:?}");
            sum += found.slope.value;
            inside += u32::from((found.slope.lower..found.slope.upper).contains(&-2.0));
        }
        assert!(
            (sum / f64::from(n as u32) + 2.0).abs() < 0.05,
            "{}",
            sum / 40.0
        );
        assert!(inside >= 34, "{inside} of {n}");
        let words = compared(truth, 1).sentence();
        assert!(
            words.contains("not the same over the ring 3.0-6.0 1/nm"),
            "{words}"
        );
    }

    #[test]
    fn what_tells_nothing_is_left_out() {
        let profiles = vec![[[0.0; N_NODES]; MAX_BANDS]; 100];
        let places: Vec<(usize, usize)> = (0..100).map(|at| (at / 10, at % 10)).collect();
        let bands = [3.0, 4.0].map(|q| (QRange::new(q, q + 1.0), q + 0.5));
        let found = q_dependence(&BandsInput {
            bands: &bands,
            places: &places,
            profiles: &profiles,
            probe_steps: 1.0,
            systematic: 0.0,
            level: 0.95,
        });
        assert!(found.is_none());
    }

    #[test]
    fn the_polynomial_goes_through_its_nodes() {
        let values = NODES.map(|s| libm::exp(-s) + s);
        let found = polynomial(&values, &basis());
        for (place, value) in NODES.iter().zip(values) {
            assert!((derivative(&found, 0, *place) - value).abs() < 1e-12);
        }
        assert!((derivative(&found, 1, 0.1) - 1.0 + libm::exp(-0.1)).abs() < 1e-3);
        assert!((derivative(&found, 2, 0.1) - libm::exp(-0.1)).abs() < 1e-2);
    }
}
