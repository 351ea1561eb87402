//! How well does one position know its tau and its V?
//!
//! Either is a quadratic form of the fluctuation of the ring, to first order in its error:
//!
//! ```text
//! y_p(i) = x_p(i) / (ring mean of scan i) − 1,   S_ij = mean over pixels of y_p(i) y_p(j)
//! δ ln τ = Σ_ij A_ij δS_ij,                      δV = Σ_i δS_ii / n
//! ```
//!
//! `A` follows from the estimator. Least squares of g(k) with weights w_k has the gain h = (JᵀWJ)⁻¹JᵀW of the parameters (ln τ, V) on the lags,
//! and A_ij = h_|i−j| / (2 (n − |i−j|)). The likelihood of C = V E + σ² has the score ½ C⁻¹ (∂C) C⁻¹ and the information
//! I_ab = ½ tr(C⁻¹ ∂_a C C⁻¹ ∂_b C), so that A = ½ Σ_b (I⁻¹)_{τb} C⁻¹ ∂_b C C⁻¹.
//!
//! The variance needs fourth moments of intensities, which are exponential, not normal. With e the memory of the field, E = e∘e that
//! of the intensity, B = A∘e, a_i = 2 V Σ_j A_ij E_ij (what dividing by the ring mean takes away) and the speckle numbers N₂, N₄ of P pixels:
//!
//! ```text
//! var = [4 V² tr(B e B e) + V aᵀE a − 4 V^(3/2) Σ_ij B_ij Σ_k e_ik a_k e_kj] / N₂
//!     + 2 V² [tr(A E A E) + Σ_ijkl A_ij A_kl e_ik e_kj e_jl e_li] / N₄
//!     + [4 V σ² tr(A E A) + 2 σ⁴ tr(A A) + σ² aᵀa] / P
//! ```
//!
//! The first and last terms in the upper two lines are the third and fourth cumulants of |field|² (products of the field's correlations around a cycle; Isserlis'
//! theorem), for a pattern that is a coherent speckle of the share √V above a smooth rest. The Fisher information with N₂, without
//! cumulants, gives errors that are 1.2 to 1.4 times too small.
//!
//! For spatial modes there is no such closed form here: they are taken at [`MODES_FACTOR`] of the likelihood's error, as simulated.
//!
//! Sources: Isserlis, Biometrika 12, 134 (1918), doi 10.1093/biomet/12.1-2.134; Porat, Digital Processing of Random Signals (1994), for the
//! information of Gaussian processes; Goodman, Speckle Phenomena in Optics (2007), for the moments of speckle.

use ndarray::{Array1, Array2, Axis};

use super::pixels::PixelSet;
use super::settings::Estimator;

/// Error of the likelihood in spatial modes over that of the pixel mean. The errors that the program had on simulated speckle (docs/validation.md) are
/// 0.67, 0.65, 0.65 and 0.60 of the formula at 0.1, 0.3, 1 and 3 records.
const MODES_FACTOR: f64 = 0.64;

/// Most scans that are computed at once; the cost grows with the fourth power.
const MAX_SCANS: usize = 72;

/// Neighboring scans are put together where tau is at least so many of the groups: the error changes by less than 2 %.
const GROUPS_PER_TAU: f64 = 12.0;

/// The scans of a series.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Scans {
    pub(super) n_times: usize,
    pub(super) step_s: f64,
}

/// What relaxes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Relaxation {
    pub(super) tau_s: f64,
    pub(super) stretch: f64,
    pub(super) contrast: f64,
}

/// A variance, or covariance, by what it falls with.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
struct Terms {
    by_speckle_2: f64,
    by_speckle_4: f64,
    by_pixel: f64,
}

impl Terms {
    fn over(&self, set: &PixelSet) -> f64 {
        self.by_speckle_2 / set.n_speckle_2
            + self.by_speckle_4 / set.n_speckle_4
            + self.by_pixel / set.n_pixels as f64
    }
}

/// How well tau and V are known, for any number of speckles.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Precision {
    ln_tau: Terms,
    fluctuation: Terms,
    both: Terms,
    factor: f64,
}

impl Precision {
    /// The precision of an estimator; `noise` is the variance of the shot noise of a relative intensity in one scan.
    pub(super) fn new(
        estimator: Estimator,
        scans: Scans,
        relaxation: Relaxation,
        noise: f64,
    ) -> Self {
        let Grouped {
            scans: grouped,
            per_group,
            scale,
        } = group(scans, relaxation.tau_s);
        let noise = noise / per_group as f64;
        let model = Model::new(grouped, relaxation, noise);
        let ln_tau = match estimator {
            Estimator::Paper => model.least_squares(1.0, |_| 1.0),
            Estimator::PairWeighted => {
                let n = grouped.n_times as f64;
                model.least_squares(0.5, |lag| n - lag as f64)
            }
            Estimator::PixelLikelihood | Estimator::Likelihood => model.likelihood(),
        };
        let n = grouped.n_times;
        let fluctuation = Array2::from_diag(&Array1::from_elem(n, 1.0 / n as f64));
        let terms = |one: &Array2<f64>, other: &Array2<f64>, cycle: f64| {
            let Terms {
                by_speckle_2,
                by_speckle_4,
                by_pixel,
            } = model.covariance(one, other, cycle);
            Terms {
                by_speckle_2: scale * by_speckle_2,
                by_speckle_4: scale * by_speckle_4,
                by_pixel: scale * by_pixel,
            }
        };
        let [cycle_tau, cycle_both, cycle_v] = model.cycles(&ln_tau);
        Self {
            ln_tau: terms(&ln_tau, &ln_tau, cycle_tau),
            fluctuation: terms(&fluctuation, &fluctuation, cycle_v),
            both: terms(&ln_tau, &fluctuation, cycle_both),
            factor: match estimator {
                Estimator::Likelihood => MODES_FACTOR,
                _ => 1.0,
            },
        }
    }

    /// Variance of ln tau.
    pub(super) fn ln_tau_variance(&self, set: &PixelSet) -> f64 {
        self.factor * self.factor * self.ln_tau.over(set)
    }

    /// Variance of V.
    pub(super) fn fluctuation_variance(&self, set: &PixelSet) -> f64 {
        self.fluctuation.over(set)
    }

    /// Correlation of the errors of ln tau and V from the same pixels.
    pub(super) fn error_correlation(&self, set: &PixelSet) -> f64 {
        // What modes add to tau they do not take from V: the errors become less alike as one of them falls.
        let scale = libm::sqrt(self.ln_tau.over(set) * self.fluctuation.over(set));
        self.factor * self.both.over(set) / scale
    }
}

/// Scans as they are computed, and what the variance is multiplied with for it.
struct Grouped {
    scans: Scans,
    per_group: usize,
    scale: f64,
}

/// Groups neighboring scans where tau is long, and takes a part of the record where tau is short: the variance falls as 1 + record/tau.
fn group(scans: Scans, tau_s: f64) -> Grouped {
    let Scans { n_times, step_s } = scans;
    let fine_enough = (tau_s / (GROUPS_PER_TAU * step_s)) as usize;
    let per_group = fine_enough.clamp(1, n_times.div_ceil(MAX_SCANS));
    let n_groups = n_times / per_group;
    let n_computed = n_groups.min(MAX_SCANS);
    let step_s = step_s * n_times as f64 / n_groups as f64;
    let areas = |n: usize| 1.0 + n as f64 * step_s / tau_s;
    Grouped {
        scans: Scans {
            n_times: n_computed,
            step_s,
        },
        per_group,
        scale: areas(n_computed) / areas(n_groups),
    }
}

/// Correlations of the scans at the expected tau.
struct Model {
    /// Time between scans so many apart.
    lag_s: Vec<f64>,
    relaxation: Relaxation,
    noise: f64,
    /// Memory of the field, e.
    field: Array2<f64>,
    /// Memory of the intensity, E.
    intensity: Array2<f64>,
}

impl Model {
    fn new(scans: Scans, relaxation: Relaxation, noise: f64) -> Self {
        let n = scans.n_times;
        let lag_s: Vec<f64> = (0..n).map(|lag| lag as f64 * scans.step_s).collect();
        let memory = |lag: usize| {
            libm::exp(-libm::pow(
                lag_s[lag] / relaxation.tau_s,
                relaxation.stretch,
            ))
        };
        let field = Array2::from_shape_fn((n, n), |(one, other)| memory(one.abs_diff(other)));
        Self {
            intensity: &field * &field,
            field,
            lag_s,
            relaxation,
            noise,
        }
    }

    /// Derivative of V E by ln tau at a lag: V E · 2 γ (t/τ)^γ.
    fn by_ln_tau(&self, lag: usize) -> f64 {
        let Relaxation {
            tau_s,
            stretch,
            contrast,
        } = self.relaxation;
        let power = libm::pow(self.lag_s[lag] / tau_s, stretch);
        contrast * self.intensity[[0, lag]] * 2.0 * stretch * power
    }

    /// A of the likelihood.
    fn likelihood(&self) -> Array2<f64> {
        let n = self.lag_s.len();
        let mut covariance = &self.intensity * self.relaxation.contrast;
        covariance
            .diag_mut()
            .map_inplace(|value| *value += self.noise);
        let inverse = inverse(covariance);
        let by_ln_tau =
            Array2::from_shape_fn((n, n), |(one, other)| self.by_ln_tau(one.abs_diff(other)));
        let score_tau = inverse.dot(&by_ln_tau).dot(&inverse);
        let score_contrast = inverse.dot(&self.intensity).dot(&inverse);
        let information = |score: &Array2<f64>, by: &Array2<f64>| 0.5 * (score * by).sum();
        let (tt, tc, cc) = (
            information(&score_tau, &by_ln_tau),
            information(&score_tau, &self.intensity),
            information(&score_contrast, &self.intensity),
        );
        let determinant = tt * cc - tc * tc;
        (score_tau * cc - score_contrast * tc) * (0.5 / determinant)
    }

    /// A of least squares of g over the lags up to a share of the record.
    fn least_squares(&self, lag_share: f64, weight: impl Fn(usize) -> f64) -> Array2<f64> {
        let n = self.lag_s.len();
        let last = (((n - 1) as f64 * lag_share) as usize).max(2);
        let (mut tt, mut tc, mut cc) = (0.0, 0.0, 0.0);
        for lag in 1..=last {
            let (w, by_tau, by_contrast) =
                (weight(lag), self.by_ln_tau(lag), self.intensity[[0, lag]]);
            tt += w * by_tau * by_tau;
            tc += w * by_tau * by_contrast;
            cc += w * by_contrast * by_contrast;
        }
        let determinant = tt * cc - tc * tc;
        Array2::from_shape_fn((n, n), |(one, other)| {
            let lag = one.abs_diff(other);
            if lag == 0 || lag > last {
                return 0.0;
            }
            let gain = weight(lag) * (cc * self.by_ln_tau(lag) - tc * self.intensity[[0, lag]])
                / determinant;
            0.5 * gain / (n - lag) as f64
        })
    }

    /// Σ_ijkl A_ij B_kl e_ik e_kj e_jl e_li of A with itself, of A with the form of V, of the form of V with itself.
    fn cycles(&self, a: &Array2<f64>) -> [f64; 3] {
        let e = &self.field;
        let share = 1.0 / e.nrows() as f64;
        let mut cycles = [0.0; 3];
        for (idx, (row, memory)) in a.rows().into_iter().zip(e.rows()).enumerate() {
            // u_kj = e_ik e_kj
            let u = e * &memory.insert_axis(Axis(1));
            let through = (&u * &a.dot(&u)).sum_axis(Axis(0));
            let own = u.column(idx);
            cycles[0] += row.dot(&through);
            cycles[1] += share * through[idx];
            cycles[2] += share * share * own.dot(&own);
        }
        cycles
    }

    /// Covariance of two quadratic forms with the sum around their cycle; see the module.
    fn covariance(&self, one: &Array2<f64>, other: &Array2<f64>, cycle: f64) -> Terms {
        let (e, intensity, noise) = (&self.field, &self.intensity, self.noise);
        let contrast = self.relaxation.contrast;
        let trace = |x: &Array2<f64>, y: &Array2<f64>| (x * &y.t()).sum();
        let (one_e, other_e) = (one.dot(intensity), other.dot(intensity));
        let (one_b, other_b) = (one * e, other * e);
        let mean_of = |a: &Array2<f64>| (a * intensity).sum_axis(Axis(1)) * (2.0 * contrast);
        let (one_mean, other_mean) = (mean_of(one), mean_of(other));
        // Σ_ij B_ij Σ_k e_ik a_k e_kj
        let third = |b: &Array2<f64>, mean: &Array1<f64>| {
            let weighted = e * mean;
            (b * &weighted.dot(e)).sum()
        };
        let v2 = contrast * contrast;
        Terms {
            by_speckle_2: 4.0 * v2 * trace(&one_b.dot(e), &other_b.dot(e))
                + contrast * one_mean.dot(&intensity.dot(&other_mean))
                - 2.0
                    * contrast
                    * libm::sqrt(contrast)
                    * (third(&one_b, &other_mean) + third(&other_b, &one_mean)),
            by_speckle_4: 2.0 * v2 * (trace(&one_e, &other_e) + cycle),
            by_pixel: 4.0 * contrast * noise * trace(&one_e, other)
                + 2.0 * noise * noise * trace(one, other)
                + noise * one_mean.dot(&other_mean),
        }
    }
}

/// Inverse of a symmetric positive definite matrix by Gauss-Jordan elimination, which needs no pivots there.
fn inverse(mut matrix: Array2<f64>) -> Array2<f64> {
    let n = matrix.nrows();
    for k in 0..n {
        let pivot = 1.0 / matrix[[k, k]];
        let row = matrix.row(k).to_owned() * pivot;
        for i in 0..n {
            if i == k {
                continue;
            }
            let factor = matrix[[i, k]];
            matrix.row_mut(i).scaled_add(-factor, &row);
            matrix[[i, k]] = -factor * pivot;
        }
        matrix.row_mut(k).assign(&row);
        matrix[[k, k]] = pivot;
    }
    matrix
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The study's band and ring: normal probe of 0.78 nm.
    const BAND: PixelSet = PixelSet {
        n_pixels: 1407,
        n_speckle_2: 114.8,
        n_speckle_4: 221.7,
        electrons_per_ms: 7.4,
        noise_ms: 0.16,
    };
    const RING: PixelSet = PixelSet {
        n_pixels: 188,
        n_speckle_2: 33.6,
        n_speckle_4: 51.0,
        electrons_per_ms: 17.2,
        noise_ms: 0.058,
    };
    const SCANS: Scans = Scans {
        n_times: 106,
        step_s: 1048.0 / 106.0,
    };

    fn error(estimator: Estimator, set: &PixelSet, records: f64) -> f64 {
        let relaxation = Relaxation {
            tau_s: 1048.0 * records,
            stretch: 1.0,
            contrast: 0.55,
        };
        let precision = Precision::new(estimator, SCANS, relaxation, set.noise_ms);
        libm::sqrt(precision.ln_tau_variance(set))
    }

    #[test]
    fn errors_are_those_of_simulated_patterns() {
        // 160-400 simulated positions each, so that a standard deviation is known to 4-5 %.
        let simulated = [
            (
                Estimator::PixelLikelihood,
                BAND,
                [0.049, 0.080, 0.115, 0.141],
            ),
            (Estimator::Likelihood, BAND, [0.031, 0.047, 0.072, 0.086]),
            (Estimator::Paper, RING, [f64::NAN, 0.31, 0.41, 0.46]),
        ];
        for (estimator, set, errors) in simulated {
            for (records, simulated) in [0.1, 0.3, 1.0, 3.0].into_iter().zip(errors) {
                let formula = error(estimator, &set, records);
                let off = formula / simulated - 1.0;
                assert!(
                    simulated.is_nan() || off.abs() < 0.1,
                    "{estimator:?} at {records} records: {formula:.4} against {simulated}"
                );
            }
        }
    }

    #[test]
    fn errors_of_tau_and_fluctuation_are_nearly_one_error() {
        let relaxation = Relaxation {
            tau_s: 1048.0,
            stretch: 1.0,
            contrast: 0.55,
        };
        let precision =
            Precision::new(Estimator::PixelLikelihood, SCANS, relaxation, BAND.noise_ms);
        // Spearman 0.83 was simulated, which is 0.84 for normal errors.
        let correlation = precision.error_correlation(&BAND);
        assert!((0.8..0.92).contains(&correlation), "{correlation}");
    }

    #[test]
    fn a_record_of_any_length_is_computed() {
        let relaxation = Relaxation {
            tau_s: 60.0,
            stretch: 1.0,
            contrast: 0.55,
        };
        let at = |n_times: usize| {
            let scans = Scans {
                n_times,
                step_s: 10.0,
            };
            Precision::new(Estimator::PixelLikelihood, scans, relaxation, 0.1)
                .ln_tau_variance(&BAND)
        };
        // Where tau is short, four times the record is four times the information.
        let ratio = at(2000) / at(8000);
        assert!((ratio - 4.0).abs() < 0.02, "{ratio}");
        // On either side of where a part of the record stands for all of it.
        let ratio = at(72) / at(73);
        assert!((1.0..1.03).contains(&ratio), "{ratio}");
    }

    #[test]
    fn grouped_scans_say_the_same_as_single_ones() {
        let relaxation = Relaxation {
            tau_s: 300.0,
            stretch: 1.0,
            contrast: 0.55,
        };
        let single = Scans {
            n_times: 72,
            step_s: 10.0,
        };
        let twice = Scans {
            n_times: 144,
            step_s: 5.0,
        };
        let at = |scans, noise| {
            Precision::new(Estimator::PixelLikelihood, scans, relaxation, noise)
                .ln_tau_variance(&BAND)
        };
        let ratio = at(twice, 0.2) / at(single, 0.1);
        assert!((ratio - 1.0).abs() < 1e-9, "{ratio}");
    }

    #[test]
    fn the_inverse_is_one() {
        let n = 9;
        let matrix = Array2::from_shape_fn((n, n), |(i, j)| {
            libm::exp(-0.3 * i.abs_diff(j) as f64) + if i == j { 0.2 } else { 0.0 }
        });
        let one = matrix.dot(&inverse(matrix.clone()));
        assert!(
            (one - Array2::<f64>::eye(n))
                .iter()
                .all(|v| v.abs() < 1e-12)
        );
    }
}
