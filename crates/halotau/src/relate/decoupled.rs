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

use ndarray::{Array2, ArrayView2};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::rank::mid_ranks;
use crate::statistics::{Estimate, normal_quantile, student_p_value};

/// Below this reliability a correction for noise says more about the noise.
pub const MIN_RELIABILITY: f64 = 0.2;

/// Positions below which nothing is said.
const MIN_POSITIONS: usize = 10;

/// Effective positions below which an interval has no meaning.
const MIN_EFFECTIVE: f64 = 6.0;

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
        let p = if self.p_value < 1e-12 {
            "p < 1e-12".to_owned()
        } else if self.p_value < 1e-3 {
            format!("p = {:.0e}", self.p_value)
        } else {
            format!("p = {:.2}", self.p_value)
        };
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
        // A minus as it is printed.
        text.replace("= -", "= −")
            .replace("[-", "[−")
            .replace(", -", ", −")
            .replace(": -", ": −")
    }
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
    let valid = common(halves);
    let n = valid.iter().filter(|&&valid| valid).count();
    if n < MIN_POSITIONS {
        return None;
    }
    let [tau_a, tau_b] = halves.tau_s;
    let [v_a, v_b] = halves.fluctuation;
    let fields = Fields {
        x: [
            standardized(tau_a, &valid, true)?,
            standardized(tau_b, &valid, true)?,
        ],
        y: [
            standardized(v_a, &valid, false)?,
            standardized(v_b, &valid, false)?,
        ],
        valid,
    };
    let mean = |first: &Array2<f64>, second: &Array2<f64>| {
        let products = first.iter().zip(second).map(|(a, b)| a * b);
        products.sum::<f64>() / n as f64
    };
    let ([x_a, x_b], [y_a, y_b]) = (&fields.x, &fields.y);
    let r = 0.5 * (mean(x_a, y_b) + mean(x_b, y_a));
    let variance = fields.variance(n);
    let n_effective = 1.0 + 1.0 / variance;
    let (tau_reliability, fluctuation_reliability) = (mean(x_a, x_b), mean(y_a, y_b));
    let degrees = n_effective - 2.0;
    let t = r * libm::sqrt(degrees / (1.0 - r * r).max(f64::MIN_POSITIVE));
    let is_known = n_effective >= MIN_EFFECTIVE;
    let correlation = if is_known {
        fisher(r, n_effective, level)
    } else {
        Estimate {
            value: r,
            error: f64::NAN,
            lower: -1.0,
            upper: 1.0,
        }
    };
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
    Some(DecoupledRelation {
        correlation,
        p_value: if is_known {
            // Rounded down, which is on the safe side.
            student_p_value(t, degrees as usize)
        } else {
            1.0
        },
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
    })
}

/// A correlation with its interval: atanh r is normal with the variance 1/(M − 3).
fn fisher(r: f64, n_effective: f64, level: f64) -> Estimate {
    let (z, error) = (libm::atanh(r), 1.0 / libm::sqrt(n_effective - 3.0));
    let half = normal_quantile(0.5 + 0.5 * level) * error;
    Estimate {
        value: r,
        error: error * (1.0 - r * r),
        lower: libm::tanh(z - half),
        upper: libm::tanh(z + half),
    }
}

/// Positions that hold all four values.
fn common(halves: &HalfMaps<'_>) -> Array2<bool> {
    let maps = [halves.tau_s, halves.fluctuation].concat();
    Array2::from_shape_fn(halves.tau_s[0].dim(), |at| {
        maps.iter()
            .all(|map| map.get(at).is_some_and(|value| value.is_finite()))
    })
}

/// A map, or its ranks, with mean 0 and standard deviation 1 over the valid positions, and 0 elsewhere. `None` where it is constant.
fn standardized(
    map: ArrayView2<'_, f64>,
    valid: &Array2<bool>,
    ranked: bool,
) -> Option<Array2<f64>> {
    let mut values: Vec<f64> = valid
        .indexed_iter()
        .filter(|(_, valid)| **valid)
        .map(|(at, _)| map[at])
        .collect();
    if ranked {
        values = mid_ranks(&values);
    }
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    let variance = values.iter().map(|v| (v - mean) * (v - mean)).sum::<f64>() / n;
    if variance.is_nan() || variance <= 0.0 {
        return None;
    }
    let sd = libm::sqrt(variance);
    let mut next = values.into_iter();
    Some(Array2::from_shape_fn(valid.dim(), |at| {
        if valid[at] {
            next.next().map_or(0.0, |value| (value - mean) / sd)
        } else {
            0.0
        }
    }))
}

struct Fields {
    valid: Array2<bool>,
    x: [Array2<f64>; 2],
    y: [Array2<f64>; 2],
}

/// Sums over pairs of positions of the products that the variance needs.
#[derive(Debug, Clone, Copy, Default)]
struct Sums {
    n_pairs: f64,
    /// x_A x_A, x_B x_B, x_A x_B, y_A y_A, y_B y_B, y_A y_B, x_A y_A, x_B y_B.
    products: [f64; 8],
}

impl Sums {
    fn add(&mut self, other: &Self) {
        self.n_pairs += other.n_pairs;
        for (sum, product) in self.products.iter_mut().zip(other.products) {
            *sum += product;
        }
    }

    /// The pairs times the bracket of the variance.
    fn term(&self) -> f64 {
        if self.n_pairs == 0.0 {
            return 0.0;
        }
        let [x_aa, x_bb, x_ab, y_aa, y_bb, y_ab, xy_a, xy_b] =
            self.products.map(|sum| sum / self.n_pairs);
        self.n_pairs * (x_aa * y_bb + x_bb * y_aa + 2.0 * x_ab * y_ab + 2.0 * xy_a * xy_b)
    }
}

impl Fields {
    /// Variance of r without a link; distances are summed in classes a step wide, up to half of the longer side.
    fn variance(&self, n: usize) -> f64 {
        let (n_rows, n_cols) = self.valid.dim();
        let reach = n_rows.max(n_cols) / 2;
        // Each displacement is summed by itself, in order, whatever thread does it.
        let displacements: Vec<(usize, i64)> = (0..=reach.min(n_rows - 1))
            .flat_map(|rows| {
                let cols = reach.min(n_cols - 1) as i64;
                (-cols..=cols).map(move |cols| (rows, cols))
            })
            .filter(|&(rows, cols)| (rows > 0 || cols > 0) && class(rows, cols) <= reach)
            .collect();
        let sums: Vec<Sums> = displacements
            .par_iter()
            .map(|&(rows, cols)| self.sums(rows, cols))
            .collect();
        let mut classes = vec![Sums::default(); reach + 1];
        for (&(rows, cols), sums) in displacements.iter().zip(&sums) {
            classes[class(rows, cols)].add(sums);
        }
        let here = self.sums(0, 0).term();
        // Each displacement stands for its opposite, too.
        let apart: f64 = classes.iter().map(|class| 2.0 * class.term()).sum();
        let n = n as f64;
        // Positions that share something do not know more than as many that share nothing.
        (here + apart).max(here) / (4.0 * n * n)
    }

    fn sums(&self, rows: usize, cols: i64) -> Sums {
        let (n_rows, n_cols) = self.valid.dim();
        let first_col = (-cols).max(0) as usize;
        let end_col = (n_cols as i64 - cols.max(0)) as usize;
        let mut sums = Sums::default();
        let ([x_a, x_b], [y_a, y_b]) = (&self.x, &self.y);
        for row in 0..n_rows - rows {
            for col in first_col..end_col {
                let (here, there) = ([row, col], [row + rows, (col as i64 + cols) as usize]);
                if !(self.valid[here] && self.valid[there]) {
                    continue;
                }
                let both = |f: &Array2<f64>, g: &Array2<f64>| {
                    0.5 * (f[here] * g[there] + g[here] * f[there])
                };
                let products = [
                    x_a[here] * x_a[there],
                    x_b[here] * x_b[there],
                    both(x_a, x_b),
                    y_a[here] * y_a[there],
                    y_b[here] * y_b[there],
                    both(y_a, y_b),
                    both(x_a, y_a),
                    both(x_b, y_b),
                ];
                sums.add(&Sums {
                    n_pairs: 1.0,
                    products,
                });
            }
        }
        sums
    }
}

/// Distance of a displacement in whole steps.
fn class(rows: usize, cols: i64) -> usize {
    libm::round(libm::hypot(rows as f64, cols as f64)) as usize
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests {
    use super::*;
    use rand::SeedableRng;
    use rand_distr::{Distribution, StandardNormal};
    use rand_xoshiro::Xoshiro256PlusPlus;

    /// White noise averaged over a Gaussian of sigma steps, variance 1, `[row, col]`.
    fn smooth(shape: (usize, usize), sigma: f64, rng: &mut Xoshiro256PlusPlus) -> Array2<f64> {
        let reach = (3.0 * sigma).ceil() as usize;
        let weight = |d: usize| {
            let d = d as f64 - reach as f64;
            (-0.5 * d * d / (sigma * sigma)).exp()
        };
        let norm: f64 = (0..=2 * reach).map(|d| weight(d) * weight(d)).sum();
        let wide = (shape.0 + 2 * reach, shape.1 + 2 * reach);
        let white: Array2<f64> = Array2::from_shape_simple_fn(wide, || StandardNormal.sample(rng));
        let along_rows = Array2::from_shape_fn((shape.0, wide.1), |(row, col)| {
            let terms = (0..=2 * reach).map(|d| weight(d) * white[[row + d, col]]);
            terms.sum::<f64>()
        });
        Array2::from_shape_fn(shape, |(row, col)| {
            let terms = (0..=2 * reach).map(|d| weight(d) * along_rows[[row, col + d]]);
            terms.sum::<f64>() / norm
        })
    }

    /// tau and V of both halves; errors of one half are shared by tau and V.
    struct Simulated {
        tau: [Array2<f64>; 2],
        v: [Array2<f64>; 2],
    }

    impl Simulated {
        fn new(shape: (usize, usize), noise: f64, link: f64, seed: u64) -> Self {
            let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
            let structure = smooth(shape, 2.0, &mut rng);
            let own = smooth(shape, 2.0, &mut rng);
            let dynamics = link * &structure + (1.0 - link * link).sqrt() * own;
            let mut half = || {
                let shared = smooth(shape, 1.5, &mut rng);
                let errors_of_v = 0.8 * &shared + 0.6 * smooth(shape, 1.5, &mut rng);
                let ln_tau = &dynamics + noise * shared;
                (ln_tau.exp(), &structure + noise * errors_of_v)
            };
            let ((tau_a, v_a), (tau_b, v_b)) = (half(), half());
            Self {
                tau: [tau_a, tau_b],
                v: [v_a, v_b],
            }
        }

        fn halves(&self) -> HalfMaps<'_> {
            HalfMaps {
                tau_s: self.tau.each_ref().map(|map| map.view()),
                fluctuation: self.v.each_ref().map(|map| map.view()),
            }
        }

        fn relation(&self) -> DecoupledRelation {
            decoupled(&self.halves(), 0.95).unwrap()
        }
    }

    #[test]
    fn maps_without_a_link_are_called_related_as_often_as_stated() {
        for noise in [0.6, 3.0] {
            let (mut found, mut naive) = (0, 0);
            for seed in 0..200 {
                let relation = Simulated::new((30, 30), noise, 0.0, seed).relation();
                found += usize::from(relation.p_value < 0.05);
                // The textbook, for the mean of two correlations of independent positions.
                let z = relation.correlation.value * (2.0 * relation.n as f64).sqrt();
                naive += usize::from(z.abs() > 1.96);
            }
            // 10 of 200 with a standard error of 3.
            assert!((2..=20).contains(&found), "noise {noise}: {found} of 200");
            assert!(naive > 60, "the textbook finds {naive} of 200");
        }
    }

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
        let valid = common(&halves);
        let field = |map, ranked| standardized(map, &valid, ranked).unwrap();
        let fields = Fields {
            x: halves.tau_s.map(|map| field(map, true)),
            y: halves.fluctuation.map(|map| field(map, false)),
            valid: valid.clone(),
        };
        let places: Vec<(usize, usize)> = valid
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
