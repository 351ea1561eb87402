//! How many independent positions is a field worth, and is a relation of its maps found?
//!
//! ```text
//! C_τ(h) = R_τ c(h) + (1 − R_τ) k(h)        c(h) = exp(−(h/ξ)²) true maps,   k(h) = squared overlap of the probes, errors
//! var r  = (1/4n²) Σ_h N_h [2 C_τ C_V + 2 R_τ R_V c² + 2 κ² (1 − R_τ)(1 − R_V) k²](h),        M = 1 + 1/var r
//! E r    = sqrt(3/π) · 2 sin(π ρ/6) · sqrt(R_τ R_V)
//! power  = Φ(|atanh E r| sqrt(M − 3) − atanh r_c · sqrt(M − 3)),     r_c = t_c / sqrt(M − 2 + t_c²)
//! ```
//!
//! R are the reliabilities of the maps of one half, κ the correlation of the errors of tau and V of one half, N_h the ordered pairs of positions at the distance h.
//! Correlations are about the mean of the map: the mean of C over all pairs is taken off, and the rest divided by what remains at h = 0.
//! ρ is the true rank correlation of normal maps, whose Pearson correlation is 2 sin(π ρ/6); ranks against plain values are sqrt(3/π) of that.
//! It is the expectation of what [`crate::relate::decoupled`] measures.
//!
//! Sources: Clifford, Richardson, Hémon, Biometrics 45, 123 (1989), doi 10.2307/2532039; Fisher, Metron 1, 3 (1921); Pearson (1907) for the rank
//! correlation of normal variables; Spearman, Am. J. Psychol. 15, 72 (1904), for attenuation.

use serde::{Deserialize, Serialize};

use super::settings::PlanSettings;
use crate::speckle::FWHM_PER_SIGMA;
use crate::statistics::{Estimate, normal_quantile, student_quantile};

/// Two-sided level of the test of the relation.
const SIGNIFICANCE: f64 = 0.05;

/// Effective positions below which nothing is tested. As in the analysis.
const MIN_EFFECTIVE: f64 = 6.0;

/// Correlations over a field of positions.
#[derive(Debug, Clone)]
pub(super) struct Field {
    /// Ordered pairs at a distance as a share of all, with the correlation of the true maps and of the errors.
    pairs: Vec<Pair>,
    /// Mean over all pairs of either correlation: the variance of the map's mean.
    mean_truth: f64,
    mean_error: f64,
}

#[derive(Debug, Clone, Copy)]
struct Pair {
    share: f64,
    truth: f64,
    error: f64,
}

impl Field {
    pub(super) fn new(settings: &PlanSettings) -> Self {
        let (n_rows, n_cols) = (settings.n_rows, settings.n_cols);
        let overlap = Overlap::new(settings);
        let n = (n_rows * n_cols) as f64;
        let mut pairs = Vec::with_capacity(n_rows * n_cols);
        for rows in 0..n_rows {
            for cols in 0..n_cols {
                // Each distance stands for its mirror images.
                let images = if rows == 0 { 1.0 } else { 2.0 } * if cols == 0 { 1.0 } else { 2.0 };
                let distance_nm = settings.step_nm * (rows as f64).hypot(cols as f64);
                let z = distance_nm / settings.glass.correlation_length_nm;
                pairs.push(Pair {
                    share: images * ((n_rows - rows) * (n_cols - cols)) as f64 / (n * n),
                    truth: libm::exp(-z * z),
                    error: overlap.squared(distance_nm),
                });
            }
        }
        let mean =
            |value: &dyn Fn(&Pair) -> f64| pairs.iter().map(|pair| pair.share * value(pair)).sum();
        Self {
            mean_truth: mean(&|pair| pair.truth),
            mean_error: mean(&|pair| pair.error),
            pairs,
        }
    }

    /// Variance of the mean of a map with variances of truth and error.
    pub(super) fn variance_of_mean(&self, truth: f64, error: f64) -> f64 {
        truth * self.mean_truth + error * self.mean_error
    }

    /// Variance of r without a link.
    fn variance(&self, maps: &Maps) -> f64 {
        let Maps {
            tau,
            fluctuation,
            errors_alike,
        } = *maps;
        let left = |reliability: f64| {
            1.0 - reliability * self.mean_truth - (1.0 - reliability) * self.mean_error
        };
        let (left_tau, left_v) = (left(tau), left(fluctuation));
        let shared = errors_alike * libm::sqrt((1.0 - tau) * (1.0 - fluctuation));
        let sum: f64 = self
            .pairs
            .iter()
            .map(|pair| {
                let (truth, error) = (pair.truth - self.mean_truth, pair.error - self.mean_error);
                let of = |reliability: f64| reliability * truth + (1.0 - reliability) * error;
                let halves = of(tau) * of(fluctuation);
                let across = tau * fluctuation * truth * truth;
                let alike = shared * shared * error * error;
                pair.share * (halves + across + alike)
            })
            .sum();
        0.5 * sum / (left_tau * left_v)
    }

    /// What a test of the relation would give.
    pub(super) fn relation(&self, maps: &Maps, spearman: f64, level: f64) -> ExpectedRelation {
        let n_effective = 1.0 + 1.0 / self.variance(maps);
        let attenuation = libm::sqrt(maps.tau * maps.fluctuation);
        let slope = libm::sqrt(3.0 / std::f64::consts::PI) * attenuation;
        let r = slope * 2.0 * libm::sin(std::f64::consts::PI * spearman / 6.0);
        // Reliability of tau is measured in ranks: Pearson's formula for the rank correlation.
        let in_ranks = 6.0 / std::f64::consts::PI * libm::asin(0.5 * maps.tau);
        let testable = n_effective >= MIN_EFFECTIVE;
        let root = libm::sqrt((n_effective - 3.0).max(0.0));
        let half = normal_quantile(0.5 + 0.5 * level) / root;
        let correlation = if testable {
            Estimate {
                value: r,
                error: (1.0 - r * r) / root,
                lower: libm::tanh(libm::atanh(r) - half),
                upper: libm::tanh(libm::atanh(r) + half),
            }
        } else {
            Estimate {
                value: r,
                error: f64::NAN,
                lower: -1.0,
                upper: 1.0,
            }
        };
        let scale = libm::sqrt(in_ranks * maps.fluctuation);
        let can_correct =
            testable && in_ranks.min(maps.fluctuation) >= crate::relate::MIN_RELIABILITY;
        let critical = critical(n_effective);
        let power = |r: f64| {
            if !testable {
                return SIGNIFICANCE;
            }
            let (shift, bound) = (libm::atanh(r.abs()) * root, libm::atanh(critical) * root);
            normal_below(shift - bound) + normal_below(-shift - bound)
        };
        let needed_r = libm::tanh(libm::atanh(critical) + normal_quantile(0.8) / root);
        let needed = needed_r / (2.0 * slope);
        ExpectedRelation {
            correlation,
            corrected: can_correct.then(|| Estimate {
                value: correlation.value / scale,
                error: correlation.error / scale,
                lower: correlation.lower / scale,
                upper: correlation.upper / scale,
            }),
            n_effective,
            power: power(r),
            detectable: (testable && needed < 0.5)
                .then(|| 6.0 / std::f64::consts::PI * libm::asin(needed)),
            tau_reliability: in_ranks,
            fluctuation_reliability: maps.fluctuation,
            errors_alike: maps.errors_alike,
        }
    }
}

/// What the maps of one half of the directions are worth.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Maps {
    /// Share of the variance of ln tau that is the sample's.
    pub(super) tau: f64,
    /// Share of the variance of V that is the sample's.
    pub(super) fluctuation: f64,
    /// Correlation of the errors of tau and V from the same pixels.
    pub(super) errors_alike: f64,
}

/// What a test of the relation of tau and V would give.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ExpectedRelation {
    /// Expected r of the decoupled relation, with the interval that would be printed around it.
    pub correlation: Estimate,
    /// The same without the noise of the halves; none where a reliability is too low.
    pub corrected: Option<Estimate>,
    /// Independent positions that the field is worth, M.
    pub n_effective: f64,
    /// Probability that the relation is found at 5 %.
    pub power: f64,
    /// The smallest true rank correlation that is found with a probability of 80 %; none where not even a perfect one is.
    pub detectable: Option<f64>,
    /// Expected correlation of tau between the halves, in ranks.
    pub tau_reliability: f64,
    /// Expected correlation of V between the halves.
    pub fluctuation_reliability: f64,
    /// Correlation of the errors of tau and V from the same pixels.
    pub errors_alike: f64,
}

/// The smallest |r| that is significant.
fn critical(n_effective: f64) -> f64 {
    let degrees = (n_effective - 2.0).max(1.0);
    let t = student_quantile(1.0 - 0.5 * SIGNIFICANCE, degrees as usize);
    t / libm::sqrt(degrees + t * t)
}

fn normal_below(z: f64) -> f64 {
    0.5 * libm::erfc(-z * std::f64::consts::FRAC_1_SQRT_2)
}

/// What neighboring probes share.
enum Overlap {
    /// `[2 J₁(v)/v]²` with `v = 2π · disc radius · distance`: a round aperture.
    Disc { radius_per_nm: f64 },
    /// `exp(−d²/(4σ²))` with the width σ of the probe's intensity: a normal probe.
    Normal { sigma_nm: f64 },
}

impl Overlap {
    fn new(settings: &PlanSettings) -> Self {
        match settings.probe_fwhm_nm {
            Some(fwhm_nm) => Self::Normal {
                sigma_nm: fwhm_nm / FWHM_PER_SIGMA,
            },
            None => Self::Disc {
                radius_per_nm: settings.disc_radius_per_nm(),
            },
        }
    }

    fn squared(&self, distance_nm: f64) -> f64 {
        match *self {
            Self::Disc { radius_per_nm } => {
                let v = std::f64::consts::TAU * radius_per_nm * distance_nm;
                if v == 0.0 {
                    return 1.0;
                }
                let overlap = 2.0 * libm::j1(v) / v;
                overlap * overlap
            }
            Self::Normal { sigma_nm } => {
                let z = distance_nm / (2.0 * sigma_nm);
                libm::exp(-z * z)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The study's field: a normal probe of amplitude width 2.9 steps, true maps white through a window of 3.6 steps.
    fn field(n: usize, window_steps: f64) -> Field {
        let step_nm = 0.16;
        Field::new(&PlanSettings {
            n_rows: n,
            n_cols: n,
            step_nm,
            probe_fwhm_nm: Some(FWHM_PER_SIGMA * step_nm * 2.9 * std::f64::consts::FRAC_1_SQRT_2),
            glass: super::super::ExpectedGlass {
                correlation_length_nm: 2.0 * window_steps * step_nm,
                ..super::super::ExpectedGlass::default()
            },
            ..PlanSettings::default()
        })
    }

    #[test]
    fn power_is_that_of_simulated_maps() {
        // Simulated with 300-500 pairs of maps: standard errors of 2 to 3 points. Field, reliabilities, likeness of errors, power.
        let simulated = [
            (60, 3.6, [0.86, 0.62, 0.0], 0.77),
            (60, 3.6, [0.86, 0.35, 0.0], 0.64),
            (60, 3.6, [0.94, 0.63, 0.8], 0.75),
            (60, 5.5, [0.86, 0.62, 0.0], 0.48),
            (40, 3.6, [0.6, 0.6, 0.0], 0.42),
            (30, 3.6, [0.6, 0.6, 0.0], 0.26),
        ];
        for (n, window, [tau, fluctuation, errors_alike], power) in simulated {
            let maps = Maps {
                tau,
                fluctuation,
                errors_alike,
            };
            let relation = field(n, window).relation(&maps, 0.4, 0.95);
            assert!(
                (relation.power - power).abs() < 0.06,
                "{n}: {relation:?} against {power}"
            );
        }
    }

    #[test]
    fn positions_that_share_nothing_count_each() {
        let mut settings = PlanSettings {
            step_nm: 20.0,
            ..PlanSettings::default()
        };
        settings.n_cols = 30;
        let maps = Maps {
            tau: 0.5,
            fluctuation: 0.5,
            errors_alike: 0.0,
        };
        let relation = Field::new(&settings).relation(&maps, 0.0, 0.95);
        // 1800 positions; a crossed mean of halves with reliabilities of 1/2 has the variance (1 + 1/4)/2 of a single one.
        let wanted = 1800.0 / 0.625;
        assert!((relation.n_effective / wanted - 1.0).abs() < 0.01);
        // Without a relation it is found as often as the level says.
        assert!((relation.power - SIGNIFICANCE).abs() < 1e-3);
    }

    #[test]
    fn the_weakest_relation_is_found_in_four_of_five() {
        let maps = Maps {
            tau: 0.9,
            fluctuation: 0.6,
            errors_alike: 0.5,
        };
        let field = field(60, 3.6);
        let weakest = field.relation(&maps, 0.4, 0.95).detectable;
        let power = weakest.map(|rho| field.relation(&maps, rho, 0.95).power);
        assert!(
            power.is_some_and(|power| (power - 0.8).abs() < 1e-3),
            "{power:?}"
        );
    }
}
