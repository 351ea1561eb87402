//! How different are places, beyond the noise of their numbers, and over which distance?
//!
//! A map of tau or V shows the sample and the error of each number. Two halves of the directions share no speckle, so that what both
//! halves say in common is the sample's:
//!
//! ```text
//! x_A, x_B     ln tau (or V) of the halves, at each position
//! reliability  = cov(x_A, x_B) / sqrt(var x_A var x_B)           of a half; of both together 2 r/(1 + r)
//! C(D)         = ⟨½ [δx_A(r) δx_B(r + D) + δx_B(r) δx_A(r + D)]⟩ + m ~ A exp[−(D/ξ)²]
//! m            = A ⟨exp[−(D/ξ)²]⟩ over all pairs of positions    what taking off the mean over the field takes from every C(D)
//! σ²           = C(0)                     variance over the sample without noise
//! ξ²           = ξ²(seen) − w²/(2 ln 2)   w: full width of the probe at half maximum
//! ```
//!
//! The probe alone correlates neighbors: places without any correlation are seen with that of the probe's intensity with itself, a
//! Gaussian, and squared lengths add up. Whether places differ at all is asked of the correlation of the halves, with the effective number of
//! positions of [`apart`]. Intervals are those of normal fields with the variance and the length that were found, and errors as wide as the
//! probe: σ² and ξ² of such fields, measured in the same way at the same positions, scatter in their logarithm as the measured ones do, and
//! their mean says by how much a finite field makes both too small. So an interval holds for the glass, not only for the part of it that was looked at.
//!
//! Times beyond a limit are only known to be longer. Then variances are those of the log-normal distribution with this censoring, the
//! correlation of the halves is that of highest likelihood for a binormal distribution censored in both, and C(D) is that of the
//! map in which longer times count as the limit, scaled to that variance.

mod censored_pairs;

use ndarray::{Array2, ArrayView2};
use rand::SeedableRng;
use rand_xoshiro::Xoshiro256PlusPlus;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::censored::LogNormal;
use crate::correlogram::{Distances, Products, smooth_field};
use crate::dynamics::Tiles;
use crate::dynamics::four_point::AtDistance;
use crate::relate::{HalfMaps, apart};
use crate::statistics::{Estimate, normal_quantile};

use censored_pairs::correlation;

/// Correlation is looked for up to this many probe widths.
const REACH_WIDTHS: f64 = 4.0;

/// With more than this share of censored positions the form of the map is that of the limit.
const MAX_CENSORED: f64 = 0.5;

/// Fields that make an interval: its width is then known to 9 %.
const N_FIELDS: u64 = 60;

/// Rounds in which the mean over the field is put back; each leaves a tenth of the error of the last.
const N_ROUNDS: usize = 4;

/// Positions below which nothing is said.
const MIN_POSITIONS: usize = 20;

/// Probability below which differences between places are called more than noise.
const RISK: f64 = 0.05;

/// What is known of the maps besides their values.
#[derive(Debug, Clone, Copy)]
pub struct HeterogeneityInput<'a> {
    /// tau and V of both halves of the directions.
    pub halves: HalfMaps<'a>,
    /// Positions that are looked at, `[row, col]`.
    pub looked_at: ArrayView2<'a, bool>,
    /// Relaxation times beyond this are only known to be longer, seconds.
    pub limit_s: f64,
    /// Full width of the probe at half maximum in scan steps; NaN where not known.
    pub probe_steps: f64,
    /// Distance of positions; NaN where not known.
    pub step_nm: f64,
    /// Probability of the intervals.
    pub level: f64,
    /// Seed of the fields that make the intervals.
    pub seed: u64,
}

/// How different places are, beyond noise.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Heterogeneity {
    /// Of the relaxation time, as its logarithm.
    pub ln_tau: Option<MapVariation>,
    /// Of the azimuthal variance.
    pub fluctuation: Option<MapVariation>,
    /// Distance of 1/e that the probe alone makes; NaN where its width is not known.
    #[serde(with = "crate::nonfinite")]
    pub probe_length: f64,
    /// Unit of lengths: `nm`, or `steps` where the step is not known.
    pub unit: String,
}

/// How a quantity varies over a map.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MapVariation {
    /// Positions with a value from both halves.
    pub n_positions: usize,
    /// As many independent ones they are worth for the test.
    #[serde(with = "crate::nonfinite")]
    pub n_effective: f64,
    /// Of those, positions where a half is only a lower limit.
    pub n_censored: usize,
    /// Standard deviation over positions without the noise; 0 where the halves have nothing in common.
    pub sd: Estimate,
    /// Probability of halves that have so much in common where all places are the same.
    #[serde(with = "crate::nonfinite")]
    pub p_value: f64,
    /// Share of the variance of a half's map that is the sample's.
    pub reliability: Estimate,
    /// The same of the map of all directions, which has at least the data of both halves.
    #[serde(with = "crate::nonfinite")]
    pub map_reliability: f64,
    /// Covariance of the halves against distance.
    pub covariance: Vec<AtDistance>,
    /// Distance of 1/e as it is seen; NaN where places do not differ beyond noise.
    pub apparent_length: Estimate,
    /// Distance of 1/e beyond the probe; `None` where it is not resolved.
    pub length: Option<Estimate>,
}

impl MapVariation {
    /// Whether places differ by more than noise.
    pub fn is_beyond_noise(&self) -> bool {
        self.p_value < RISK
    }
}

impl Heterogeneity {
    /// What it says, a sentence or two a quantity.
    pub fn sentences(&self) -> Vec<String> {
        let tau = self.ln_tau.as_ref().map(|variation| {
            let factor = number(libm::exp(variation.sd.value));
            let begin = if variation.is_beyond_noise() {
                format!(
                    "Relaxation times differ from place to place beyond noise: σ(ln τ) = {}, a factor of {factor} about the middle.",
                    interval(&variation.sd)
                )
            } else {
                format!(
                    "The map of τ shows no differences between places beyond its noise (σ(ln τ) below {}): its bright and dark places \
                     are not to be read.",
                    number(variation.sd.upper)
                )
            };
            self.with_length(begin, variation, "τ")
        });
        let fluctuation = self.fluctuation.as_ref().map(|variation| {
            let begin = if variation.is_beyond_noise() {
                format!(
                    "V differs from place to place beyond noise: σ(V) = {}.",
                    interval(&variation.sd)
                )
            } else {
                format!(
                    "The map of V shows no differences between places beyond its noise (σ(V) below {}).",
                    number(variation.sd.upper)
                )
            };
            self.with_length(begin, variation, "V")
        });
        tau.into_iter().chain(fluctuation).collect()
    }

    fn with_length(&self, begin: String, variation: &MapVariation, of: &str) -> String {
        if !variation.is_beyond_noise() {
            return begin;
        }
        let share = format!(
            "{:.0} % of the variance of the map of {of} is the sample's.",
            100.0 * variation.map_reliability
        );
        let unit = &self.unit;
        let length = match &variation.length {
            Some(length) => format!(
                "Beyond the probe it is correlated over ξ = {} {unit}.",
                interval(length)
            ),
            None if variation.apparent_length.value.is_finite() => format!(
                "Its correlation over {} {unit} is not resolved from the {} {unit} that the probe makes of any map.",
                interval(&variation.apparent_length),
                number(self.probe_length)
            ),
            None => "Over which distance is not known.".to_owned(),
        };
        format!("{begin} {share} {length}")
    }
}

/// A number with about two digits.
fn number(value: f64) -> String {
    match value.abs() {
        _ if !value.is_finite() => "an unknown number".to_owned(),
        size if size >= 10.0 => format!("{value:.0}"),
        size if size >= 1.0 => format!("{value:.1}"),
        size if size >= 0.1 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}

/// A number with its interval.
fn interval(estimate: &Estimate) -> String {
    let upper = if estimate.upper.is_finite() {
        number(estimate.upper)
    } else {
        "open".to_owned()
    };
    format!(
        "{} [{}, {upper}]",
        number(estimate.value),
        number(estimate.lower)
    )
}

/// Measures how maps vary beyond their noise. A map is `None` below 20 positions with both values.
///
/// # Example
///
/// ```
/// use halotau::heterogeneity::{HeterogeneityInput, heterogeneity};
/// use halotau::ndarray::Array2;
/// use halotau::relate::HalfMaps;
///
/// // Numbers spread evenly from −1 to 1, the same on every machine.
/// let mut state = 1_u32;
/// let mut noise = |_| Array2::from_shape_simple_fn((30, 30), || {
///     state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
///     2.0 * f64::from(state) / f64::from(u32::MAX) - 1.0
/// });
/// let glass = noise(0);
/// let tau_s = [1, 2].map(|half| (&glass + noise(half)).mapv(|ln_tau: f64| 500.0 * ln_tau.exp()));
/// let v = [1, 2].map(noise);
/// let found = heterogeneity(&HeterogeneityInput {
///     halves: HalfMaps {
///         tau_s: [tau_s[0].view(), tau_s[1].view()],
///         fluctuation: [v[0].view(), v[1].view()],
///     },
///     looked_at: Array2::from_elem((30, 30), true).view(),
///     limit_s: 1e4,
///     probe_steps: 1.0,
///     step_nm: 0.5,
///     level: 0.95,
///     seed: 1,
/// });
/// // Such numbers have the standard deviation 1/√3, and as much noise was added to each half.
/// let of_tau = found.ln_tau.unwrap();
/// assert!((of_tau.sd.value - 1.0 / 3.0_f64.sqrt()).abs() < 0.05);
/// assert!((of_tau.reliability.value - 0.5).abs() < 0.08);
/// assert!(!found.fluctuation.unwrap().is_beyond_noise());
/// ```
pub fn heterogeneity(input: &HeterogeneityInput<'_>) -> Heterogeneity {
    let is_scaled = input.step_nm.is_finite();
    let scale = if is_scaled { input.step_nm } else { 1.0 };
    let shape = input.looked_at.dim();
    let widths = input.probe_steps.max(1.0);
    let reach = ((REACH_WIDTHS * widths) as usize).clamp(1, (shape.0.max(shape.1) / 3).max(1));
    let frame = Frame {
        input,
        // One that holds all.
        tile: Tiles::new(&input.looked_at.to_owned(), f64::MAX),
        distances: Distances::new(shape, reach),
        scale,
        // A Gaussian of full width w has exp[−(D/ξ)²] with ξ = w/(2 sqrt(ln 2)); with itself it is sqrt 2 wider.
        probe_square: input.probe_steps * input.probe_steps / (2.0 * std::f64::consts::LN_2),
    };
    let logarithms = input.halves.tau_s.map(|map| map.mapv(libm::log));
    let [of_a, of_b] = input.halves.fluctuation;
    Heterogeneity {
        ln_tau: frame.variation([&logarithms[0], &logarithms[1]], libm::log(input.limit_s)),
        fluctuation: frame.variation([&of_a.to_owned(), &of_b.to_owned()], f64::INFINITY),
        probe_length: scale * libm::sqrt(frame.probe_square),
        unit: if is_scaled { "nm" } else { "steps" }.to_owned(),
    }
}

/// What both maps are looked at in.
struct Frame<'a, 'maps> {
    input: &'a HeterogeneityInput<'maps>,
    tile: Tiles,
    distances: Distances,
    scale: f64,
    probe_square: f64,
}

/// What both halves of a map say in common.
#[derive(Debug, Clone)]
struct Common {
    /// Variance of each half.
    of_half: [f64; 2],
    /// Correlation of the halves.
    reliability: f64,
    /// Variance over the sample: C(0).
    variance: f64,
    /// Squared distance of 1/e, steps.
    square: f64,
    /// C(D), with the number of pairs.
    covariance: Vec<(f64, f64)>,
}

impl Frame<'_, '_> {
    fn variation(&self, maps: [&Array2<f64>; 2], limit: f64) -> Option<MapVariation> {
        let places: Vec<(usize, usize)> = self
            .input
            .looked_at
            .indexed_iter()
            .filter(|(_, looked_at)| **looked_at)
            .map(|(at, _)| at)
            .filter(|&at| {
                maps.iter()
                    .all(|map| map.get(at).is_some_and(|x| x.is_finite()))
            })
            .collect();
        if places.len() < MIN_POSITIONS {
            return None;
        }
        let values = maps.map(|map| places.iter().map(|&at| map[at].min(limit)).collect());
        let is_beyond = |at: &&(usize, usize)| maps.iter().any(|map| map[**at] >= limit);
        let n_censored = places.iter().filter(is_beyond).count();
        let found = self.common(&places, &values, limit);
        if !found.variance.is_finite() || found.of_half.iter().any(|&of| of <= 0.0) {
            return None;
        }
        let inside = maps.map(|map| {
            let mut inside = Array2::from_elem(map.dim(), f64::NAN);
            places
                .iter()
                .for_each(|&at| inside[at] = map[at].min(limit));
            inside
        });
        let test = apart(inside[0].view(), inside[1].view(), self.input.level);
        let p_value = test.map_or(1.0, |test| {
            if test.correlation.value > 0.0 {
                0.5 * test.p_value
            } else {
                1.0 - 0.5 * test.p_value
            }
        });
        let n_effective = test.map_or(f64::NAN, |test| test.n_effective);
        let is_there = p_value < RISK && found.variance > 0.0;
        let like = if is_there {
            self.alike(&places, &found, &values, limit)
        } else {
            Vec::new()
        };
        // The error of a covariance where the halves have nothing in common.
        let of_nothing = libm::sqrt(found.of_half[0] * found.of_half[1] / n_effective);
        let quantile = normal_quantile(0.5 + 0.5 * self.input.level);
        let sd = if is_there {
            root(
                &log_interval(found.variance, like.iter().map(|of| of.variance), quantile),
                0.0,
                1.0,
            )
        } else {
            let variance = found.variance.max(0.0);
            Estimate {
                value: libm::sqrt(variance),
                error: libm::sqrt(of_nothing),
                lower: 0.0,
                upper: libm::sqrt(variance + quantile * of_nothing),
            }
        };
        let square = log_interval(found.square, like.iter().map(|of| of.square), quantile);
        let is_formed = is_there
            && square.error.is_finite()
            && (n_censored as f64) < MAX_CENSORED * places.len() as f64;
        Some(MapVariation {
            n_positions: places.len(),
            n_effective,
            n_censored,
            sd,
            p_value,
            map_reliability: 2.0 * found.reliability / (1.0 + found.reliability),
            reliability: self.reliability(&found, &like, n_effective, quantile),
            covariance: self.covariance(&found, &like, of_nothing, quantile),
            apparent_length: if is_formed {
                root(&square, 0.0, self.scale)
            } else {
                Estimate::not_known()
            },
            length: (is_formed && square.lower > self.probe_square)
                .then(|| root(&square, self.probe_square, self.scale)),
        })
    }

    /// Normal fields with what was found, measured in the same way; none where it has no length.
    fn alike(
        &self,
        places: &[(usize, usize)],
        found: &Common,
        values: &[Vec<f64>; 2],
        limit: f64,
    ) -> Vec<Common> {
        let truth = found.variance;
        if truth.is_nan() || truth <= 0.0 || !found.square.is_finite() {
            return Vec::new();
        }
        let shape = self.input.looked_at.dim();
        let errors = found.of_half.map(|of| libm::sqrt((of - truth).max(0.0)));
        let n = places.len() as f64;
        let middle = values
            .each_ref()
            .map(|values| values.iter().sum::<f64>() / n);
        let of_errors = if self.probe_square.is_finite() {
            libm::sqrt(self.probe_square)
        } else {
            1.0
        };
        (0..N_FIELDS)
            .into_par_iter()
            .map(|number| {
                let seed = self.input.seed.wrapping_mul(N_FIELDS).wrapping_add(number);
                let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
                let glass = smooth_field(shape, libm::sqrt(found.square), &mut rng);
                let halves = [0, 1].map(|half| {
                    let noise = smooth_field(shape, of_errors, &mut rng);
                    let value = |at: &(usize, usize)| {
                        let around = libm::sqrt(truth) * glass[*at] + errors[half] * noise[*at];
                        (middle[half] + around).min(limit)
                    };
                    places.iter().map(value).collect()
                });
                self.common(places, &halves, limit)
            })
            .collect()
    }

    /// What the values of both halves, at most the limit, have in common.
    fn common(&self, places: &[(usize, usize)], values: &[Vec<f64>; 2], limit: f64) -> Common {
        let n = places.len() as f64;
        let mean = values
            .each_ref()
            .map(|values| values.iter().sum::<f64>() / n);
        let distribution = [0, 1].map(|half| {
            if limit.is_finite() {
                let times: Vec<f64> = values[half].iter().map(|&value| libm::exp(value)).collect();
                return LogNormal::of(&times, libm::exp(limit));
            }
            let around = values[half].iter().map(|value| value - mean[half]);
            LogNormal {
                mean: mean[half],
                sd: libm::sqrt(around.map(|around| around * around).sum::<f64>() / n),
            }
        });
        let reliability = correlation(values, &distribution, limit);
        let of_clipped = self.correlogram(places, values, mean);
        let (square, taken) = self.with_mean(&of_clipped);
        // A map that is cut at the limit varies less; its form is taken, its size is that of the distribution.
        let size = reliability * distribution[0].sd * distribution[1].sd;
        let clipped = of_clipped[0].0 / of_clipped[0].1;
        let scale = if clipped > 0.0 && size > 0.0 {
            size / clipped
        } else {
            1.0
        };
        let covariance = of_clipped
            .iter()
            .map(|&(sum, n)| (scale * (sum + n * taken), n));
        Common {
            of_half: distribution.map(|of| of.sd * of.sd + scale * taken),
            reliability,
            variance: size + scale * taken,
            square,
            covariance: covariance.collect(),
        }
    }

    /// Sums of products of the halves' deviations, and numbers of pairs, by distance.
    fn correlogram(
        &self,
        places: &[(usize, usize)],
        values: &[Vec<f64>; 2],
        mean: [f64; 2],
    ) -> Vec<(f64, f64)> {
        let shape = self.input.looked_at.dim();
        let mut there = vec![0.0; shape.0 * shape.1];
        let mut halves = [there.clone(), there.clone()];
        for (number, &(row, col)) in places.iter().enumerate() {
            let at = row * shape.1 + col;
            there[at] = 1.0;
            for half in 0..2 {
                halves[half][at] = values[half][number] - mean[half];
            }
        }
        let mut products = Products::new(&self.tile, &self.distances);
        products.add(
            &self.tile,
            &self.distances,
            &there,
            [&halves[0], &halves[1]],
        );
        products.values(None)
    }

    /// The squared length, and m of the module, which belong to each other.
    fn with_mean(&self, sums: &[(f64, f64)]) -> (f64, f64) {
        let n = sums[0].1;
        let mut taken = 0.0;
        let mut square = f64::NAN;
        for _ in 0..N_ROUNDS {
            let restored: Vec<(f64, f64)> =
                sums.iter().map(|&(sum, n)| (sum + n * taken, n)).collect();
            let (found, amplitude) = self.distances.squared_length(&restored);
            if !found.is_finite() {
                return (f64::NAN, 0.0);
            }
            square = found;
            // Each displacement stands for its opposite, too.
            let share: f64 = sums
                .iter()
                .zip(&self.distances.distance)
                .enumerate()
                .map(|(class, ((_, n), distance))| {
                    let pairs = if class == 0 { *n } else { 2.0 * n };
                    pairs * libm::exp(-distance * distance / square)
                })
                .sum::<f64>()
                / (n * n);
            // Of a field within which all is alike nothing is known of the mean.
            taken = amplitude * share.min(0.5);
        }
        (square, taken)
    }

    fn reliability(
        &self,
        found: &Common,
        like: &[Common],
        n_effective: f64,
        quantile: f64,
    ) -> Estimate {
        let z = libm::atanh(found.reliability);
        let error = if like.is_empty() {
            1.0 / libm::sqrt((n_effective - 3.0).max(1.0))
        } else {
            standard_deviation(like.iter().map(|of| libm::atanh(of.reliability)))
        };
        Estimate {
            value: found.reliability,
            error: error * (1.0 - found.reliability * found.reliability),
            lower: libm::tanh(z - quantile * error),
            upper: libm::tanh(z + quantile * error),
        }
    }

    fn covariance(
        &self,
        found: &Common,
        like: &[Common],
        of_nothing: f64,
        quantile: f64,
    ) -> Vec<AtDistance> {
        let value = |of: &Common, class: usize| of.covariance[class].0 / of.covariance[class].1;
        (0..self.distances.distance.len())
            .map(|class| {
                let error = if like.is_empty() {
                    of_nothing
                } else {
                    standard_deviation(like.iter().map(|of| value(of, class)))
                };
                let value = value(found, class);
                AtDistance {
                    distance: self.scale * self.distances.distance[class],
                    estimate: Estimate {
                        value,
                        error,
                        lower: value - quantile * error,
                        upper: value + quantile * error,
                    },
                }
            })
            .filter(|at| at.estimate.value.is_finite())
            .collect()
    }
}

fn standard_deviation(values: impl Iterator<Item = f64>) -> f64 {
    let values: Vec<f64> = values.filter(|value| value.is_finite()).collect();
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    let around: f64 = values
        .iter()
        .map(|value| (value - mean) * (value - mean))
        .sum();
    libm::sqrt(around / (n - 1.0))
}

/// A positive number with the interval in which its logarithm scatters as it does over fields that are alike, and less their bias.
fn log_interval(value: f64, alike: impl Iterator<Item = f64>, quantile: f64) -> Estimate {
    // Where nothing was found in a field, a thousandth stands for it.
    let ratios: Vec<f64> = alike
        .filter(|of| of.is_finite())
        .map(|of| libm::log((of / value).max(1e-3)))
        .collect();
    if ratios.len() < 2 || value.is_nan() || value <= 0.0 {
        return Estimate::not_known();
    }
    let error = standard_deviation(ratios.iter().copied());
    let middle = crate::rank::median(&ratios);
    let value = value * libm::exp(-middle);
    Estimate {
        value,
        error: value * error,
        lower: value * libm::exp(-quantile * error),
        upper: value * libm::exp(quantile * error),
    }
}

/// The square root of a square less another, in another unit; what is below 0 is 0.
fn root(square: &Estimate, less: f64, scale: f64) -> Estimate {
    let of = |value: f64| scale * libm::sqrt((value - less).max(0.0));
    let value = of(square.value);
    Estimate {
        value,
        error: 0.5 * scale * scale * square.error / value,
        lower: of(square.lower),
        upper: of(square.upper),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests;
