//! Are structure and dynamics related beyond what their common speckles make of it?
//!
//! tau and V of one position come from the same speckles, and their errors are one error: with the same tau everywhere their rank
//! correlation is 0.2 to 0.8. So tau is taken from one half of the directions and V from the other, which share no speckle:
//!
//! ```text
//! x_A, x_B   ranks of tau from the halves A and B       y_A, y_B   V from the halves (plain, not ranked)
//!            each less its mean, divided by its standard deviation
//! r          = mean over positions of (x_A y_B + x_B y_A)/2
//! var r      = (1/4n²) Σ_h N_h [C(x_A,x_A) C(y_B,y_B) + C(x_B,x_B) C(y_A,y_A) + 2 C(x_A,x_B) C(y_A,y_B) + 2 C(x_A,y_A) C(x_B,y_B)](h)
//! M          = 1 + 1/var r                              effective number of positions
//! t          = r sqrt((M − 2)/(1 − r²))                 with M − 2 degrees of freedom
//! corrected  = r / sqrt(r(x_A, x_B) r(y_A, y_B))        where both reliabilities are above 0.2
//! ```
//!
//! Halves are quarters of the circle and their opposites, because a thin sample shows the same speckle at +Q and −Q. V is not
//! ranked: the skew of its errors grows with tau, and ranks would see that. Neighboring positions share the probe and maps are smooth:
//! N_h pairs of positions at the distance h have the covariances C, so that M is far below n. The last term is what errors of one
//! half have in common; shifts of maps against each other would miss it.
//!
//! Sources: Clifford, Richardson, Hémon, Biometrics 45, 123 (1989), doi 10.2307/2532039, for a variance from correlograms; the terms
//! of the crossed mean follow from the fourth moments of normal fields without a link.

use ndarray::ArrayView2;
use serde::{Deserialize, Serialize};

use super::fields::Fields;
use crate::statistics::{Estimate, normal_quantile, student_p_value};

/// Below this reliability a correction for noise says more about the noise.
pub const MIN_RELIABILITY: f64 = 0.2;

/// Effective positions below which an interval has no meaning.
pub(super) const MIN_EFFECTIVE: f64 = 6.0;

/// Maps of the two halves of the directions, each `[row, col]`; NaN where there is no value.
#[derive(Debug, Clone, Copy)]
pub struct HalfMaps<'a> {
    /// tau from each half.
    pub tau_s: [ArrayView2<'a, f64>; 2],
    /// V from each half.
    pub fluctuation: [ArrayView2<'a, f64>; 2],
}

/// The relation of structure and dynamics without what shared speckles make of it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct DecoupledRelation {
    /// r of the module, with its interval by Fisher's z.
    pub correlation: Estimate,
    /// Probability of an |r| so large without a relation.
    #[serde(with = "crate::nonfinite")]
    pub p_value: f64,
    /// Positions that entered.
    pub n: usize,
    /// M of the module.
    #[serde(with = "crate::nonfinite")]
    pub n_effective: f64,
    /// Correlation of tau between the halves, in ranks: the share of the map's spread that is no noise.
    #[serde(with = "crate::nonfinite")]
    pub tau_reliability: f64,
    /// Correlation of V between the halves.
    #[serde(with = "crate::nonfinite")]
    pub fluctuation_reliability: f64,
    /// r without the noise of the halves, where both reliabilities are above [`MIN_RELIABILITY`]. Its interval takes the reliabilities
    /// as exact.
    pub corrected: Option<Estimate>,
    /// The smallest |r| that would be found with a probability of 80 % at 5 %.
    #[serde(with = "crate::nonfinite")]
    pub detectable: f64,
}

impl DecoupledRelation {
    /// What it says, as a sentence or two for people.
    pub fn sentence(&self) -> String {
        let Estimate {
            value,
            lower,
            upper,
            ..
        } = self.correlation;
        if self.n_effective.is_nan() || self.n_effective < MIN_EFFECTIVE {
            return format!(
                "A relation of structure and dynamics cannot be tested: the {} positions are worth about {:.0} independent ones.",
                self.n, self.n_effective
            );
        }
        let p = p_text(self.p_value);
        let number = format!(
            "r = {value:.2} [{lower:.2}, {upper:.2}], {p}, {:.0} effective positions",
            self.n_effective
        );
        let mut text = if self.p_value < 0.05 {
            format!(
                "Structure and dynamics are related beyond what shared speckles make of them: {number}."
            )
        } else {
            format!(
                "No relation of structure and dynamics beyond chance: {number}. One of |r| = {:.2} would be found in four of five \
                 such measurements.",
                self.detectable
            )
        };
        match &self.corrected {
            Some(Estimate { value, lower, upper, .. }) => text.push_str(&format!(
                " Without the noise of the maps: {value:.2} [{lower:.2}, {upper:.2}]."
            )),
            None => text.push_str(&format!(
                " How strong it is cannot be told: of the spread of τ and V over the map the shares {:.2} and {:.2} come back in an \
                 independent half.",
                self.tau_reliability, self.fluctuation_reliability
            )),
        }
        with_minus(&text)
    }
}

/// "p = 0.03"
pub(super) fn p_text(p: f64) -> String {
    if p < 1e-12 {
        "p < 1e-12".to_owned()
    } else if p < 1e-3 {
        format!("p = {p:.0e}")
    } else if p < 0.1 {
        format!("p = {p:.3}")
    } else {
        format!("p = {p:.2}")
    }
}

/// A minus as it is printed.
pub(super) fn with_minus(text: &str) -> String {
    text.replace("= -", "= −")
        .replace("[-", "[−")
        .replace(", -", ", −")
        .replace(": -", ": −")
}

/// Measures the relation of two pairs of maps. `None` for fewer than ten positions with all four values, or where a map is constant.
///
/// `level` is the probability of the interval, such as 0.95. Rows and columns count as equally far apart.
///
/// # Example
///
/// ```
/// use halotau::ndarray::Array2;
/// use halotau::relate::{HalfMaps, decoupled};
///
/// // Something that looks like noise and is the same on every machine.
/// let noise = |seed: f64| Array2::from_shape_fn((12, 12), |(row, col)| {
///     (1e4 * (seed + 1.3 * row as f64 + 7.7 * col as f64).sin()).fract().abs()
/// });
/// let structure = noise(0.1);
/// let measured = |seed| &structure + noise(seed);
/// let (tau_a, tau_b, v_a, v_b) = (measured(1.0), measured(2.0), measured(3.0), measured(4.0));
/// let halves = HalfMaps { tau_s: [tau_a.view(), tau_b.view()], fluctuation: [v_a.view(), v_b.view()] };
/// let relation = decoupled(&halves, 0.95).unwrap();
/// assert!(relation.p_value < 1e-6);
/// // Half of the variance of each map is noise, and the relation below it is perfect.
/// assert!((relation.corrected.unwrap().value - 1.0).abs() < 0.2);
/// ```
pub fn decoupled(halves: &HalfMaps<'_>, level: f64) -> Option<DecoupledRelation> {
    Some(of_fields(&Fields::of(halves)?, level))
}

/// The relation of standardized maps.
pub(super) fn of_fields(fields: &Fields, level: f64) -> DecoupledRelation {
    let n = fields.n();
    let ([x_a, x_b], [y_a, y_b]) = (&fields.x, &fields.y);
    let r = fields.crossed();
    let variance = fields.variance(n);
    let n_effective = 1.0 + 1.0 / variance;
    let (tau_reliability, fluctuation_reliability) = (fields.mean(x_a, x_b), fields.mean(y_a, y_b));
    let is_known = n_effective >= MIN_EFFECTIVE;
    let correlation = fisher(r, n_effective, level);
    let can_correct = tau_reliability.min(fluctuation_reliability) >= MIN_RELIABILITY;
    let corrected = can_correct.then(|| {
        let scale = libm::sqrt(tau_reliability * fluctuation_reliability);
        Estimate {
            value: correlation.value / scale,
            error: correlation.error / scale,
            lower: correlation.lower / scale,
            upper: correlation.upper / scale,
        }
    });
    let z_detectable = normal_quantile(0.975) + normal_quantile(0.8);
    DecoupledRelation {
        correlation,
        p_value: probability(r, n_effective),
        n,
        n_effective,
        tau_reliability,
        fluctuation_reliability,
        corrected,
        detectable: if is_known {
            libm::tanh(z_detectable / libm::sqrt(n_effective - 3.0))
        } else {
            1.0
        },
    }
}

/// Probability of an |r| so large without a relation, by Student's t of the module; 1 where there are too few effective positions.
pub(super) fn probability(r: f64, n_effective: f64) -> f64 {
    if n_effective.is_nan() || n_effective < MIN_EFFECTIVE {
        return 1.0;
    }
    let degrees = n_effective - 2.0;
    let t = r * libm::sqrt(degrees / (1.0 - r * r).max(f64::MIN_POSITIVE));
    // Rounded down, which is on the safe side.
    student_p_value(t, degrees as usize)
}

/// A correlation with its interval: atanh r is normal with the variance 1/(M − 3). Everything is possible where there are too few
/// effective positions.
pub(super) fn fisher(r: f64, n_effective: f64, level: f64) -> Estimate {
    if n_effective.is_nan() || n_effective < MIN_EFFECTIVE {
        return Estimate {
            value: r,
            error: f64::NAN,
            lower: -1.0,
            upper: 1.0,
        };
    }
    let (z, error) = (libm::atanh(r), 1.0 / libm::sqrt(n_effective - 3.0));
    let half = normal_quantile(0.5 + 0.5 * level) * error;
    Estimate {
        value: r,
        error: error * (1.0 - r * r),
        lower: libm::tanh(z - half),
        upper: libm::tanh(z + half),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests {
    use super::super::simulated::Simulated;
    use super::*;
    use crate::rank::spearman;
    use ndarray::Array2;

    /// A7 and A8 of the acceptance checks: maps without a link have p-values evenly spread from 0 to 1 and a mean correlation of 0, where tau
    /// and V of the same half correlate.
    #[test]
    fn maps_without_a_link_are_called_related_as_often_as_stated() {
        for (noise, shared) in [(0.6, 0.1), (3.0, 0.5)] {
            let (mut found, mut naive) = (0, 0);
            let (mut mean, mut coupled) = (0.0, 0.0);
            let mut p_values = Vec::new();
            for seed in 0..200 {
                let simulated = Simulated::new((30, 30), noise, 0.0, seed);
                let relation = simulated.relation();
                found += usize::from(relation.p_value < 0.05);
                p_values.push(relation.p_value);
                mean += relation.correlation.value / 200.0;
                let list = |map: &Array2<f64>| map.iter().copied().collect::<Vec<f64>>();
                coupled += spearman(&list(&simulated.tau[0]), &list(&simulated.v[0])) / 200.0;
                // The textbook, for the mean of two correlations of independent positions.
                let z = relation.correlation.value * (2.0 * relation.n as f64).sqrt();
                naive += usize::from(z.abs() > 1.96);
            }
            // 10 of 200 with a standard error of 3.
            assert!((2..=20).contains(&found), "noise {noise}: {found} of 200");
            assert!(naive > 60, "the textbook finds {naive} of 200");
            assert!(mean.abs() < 0.02, "noise {noise}: {mean}");
            assert!(coupled > shared, "noise {noise}: {coupled}");
            // Kolmogorov and Smirnov: larger in one of a hundred sets of 200 even values.
            p_values.sort_by(f64::total_cmp);
            let distance = p_values.iter().enumerate().map(|(rank, p)| {
                (p - rank as f64 / 200.0)
                    .abs()
                    .max((p - (rank + 1) as f64 / 200.0).abs())
            });
            let largest = distance.fold(0.0, f64::max);
            assert!(largest < 0.115, "noise {noise}: {largest}");
        }
    }

    /// A9: the sign, and the size within 0.1.
    #[test]
    fn a_link_comes_back_without_its_noise() {
        let n = 40;
        let (mut sum, mut covered) = (0.0, 0);
        for seed in 0..n {
            let relation = Simulated::new((40, 40), 0.7, 0.6, 1000 + seed).relation();
            let corrected = relation.corrected.unwrap();
            sum += corrected.value;
            covered += usize::from((corrected.lower..corrected.upper).contains(&0.6));
            assert!(relation.n_effective < 400.0 && relation.n == 1600);
        }
        let mean = sum / n as f64;
        assert!((mean - 0.6).abs() < 0.06, "{mean}");
        assert!(covered >= 33, "{covered} of {n}");
    }

    #[test]
    fn the_variance_is_its_definition() {
        let mut simulated = Simulated::new((5, 7), 0.5, 0.0, 3);
        simulated.tau[0][[2, 3]] = f64::NAN;
        let halves = simulated.halves();
        let fields = Fields::of(&halves).unwrap();
        let places: Vec<(usize, usize)> = fields
            .valid
            .indexed_iter()
            .filter(|(_, valid)| **valid)
            .map(|(at, _)| at)
            .collect();
        assert_eq!(places.len(), 34);
        // Covariance of two fields over all ordered pairs of positions at a rounded distance, and the number of pairs.
        let covariance = |f: &Array2<f64>, g: &Array2<f64>, distance: f64| {
            let (mut sum, mut n_pairs) = (0.0, 0.0);
            for &p in &places {
                for &q in &places {
                    let d = (p.0 as f64 - q.0 as f64).hypot(p.1 as f64 - q.1 as f64);
                    if d.round() == distance {
                        sum += f[p] * g[q];
                        n_pairs += 1.0;
                    }
                }
            }
            (sum / n_pairs, n_pairs)
        };
        let ([x_a, x_b], [y_a, y_b]) = (&fields.x, &fields.y);
        let (mut here, mut total) = (0.0, 0.0);
        for distance in [0.0, 1.0, 2.0, 3.0] {
            let c = |f, g| covariance(f, g, distance).0;
            let bracket = c(x_a, x_a) * c(y_b, y_b)
                + c(x_b, x_b) * c(y_a, y_a)
                + 2.0 * c(x_a, x_b) * c(y_a, y_b)
                + 2.0 * c(x_a, y_a) * c(x_b, y_b);
            total += covariance(x_a, x_a, distance).1 * bracket;
            if distance == 0.0 {
                here = total;
            }
        }
        let expected = f64::max(total, here) / (4.0 * 34.0 * 34.0);
        assert!((fields.variance(34) / expected - 1.0).abs() < 1e-12);
    }

    #[test]
    fn what_cannot_be_told_is_not_told() {
        let simulated = Simulated::new((6, 6), 0.5, 0.0, 1);
        let with_v = |v: &Array2<f64>| {
            let fluctuation = [v.view(), v.view()];
            let halves = simulated.halves();
            decoupled(
                &HalfMaps {
                    fluctuation,
                    ..halves
                },
                0.95,
            )
        };
        assert_eq!(with_v(&Array2::from_elem((6, 6), 1.0)), None);
        let mut few = Array2::from_elem((6, 6), f64::NAN);
        for (value, number) in few.iter_mut().zip(0..9) {
            *value = f64::from(number);
        }
        assert_eq!(with_v(&few), None);
        // V is all noise.
        let noisy = Simulated::new((30, 30), 20.0, 0.0, 5).relation();
        assert_eq!(noisy.corrected, None);
    }
}
