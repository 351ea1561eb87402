//! How are two quantities correlated of which each may only be known to be beyond a limit?
//!
//! ```text
//! u, v      (x − mean)/sd of both quantities; u and v are binormal with the correlation ρ
//! ln L(ρ)   = Σ_(both known) ln φ₂(u, v; ρ) + Σ_(one known) ln Q((b − ρ u)/sqrt(1 − ρ²)) + n_(none known) ln L(a, b; ρ)
//! L(a, b; ρ) = Q(a) Q(b) + ∫₀^ρ φ₂(a, b; r) dr       probability of both beyond a and b, Q = 1 − Φ
//! ```
//!
//! Means and standard deviations are given. Where all are known the maximum is the mean of u v, and this is what is returned then.
//!
//! Source: Z. Drezner, G. O. Wesolowsky, J. Stat. Comput. Simul. 35, 101 (1990), doi 10.1080/00949659008811236, for the integral.

use crate::censored::LogNormal;

/// Correlations beyond this are not told apart.
const LARGEST_Z: f64 = 3.0;

/// Rounds of the search; each narrows by 0.62, to 1e-5 of the range.
const N_ROUNDS: usize = 24;

/// Nodes and weights of the quadrature of Gauss and Legendre with 8 points from −1 to 1, one sign.
const NODES: [(f64, f64); 4] = [
    (0.183_434_642_495_649_8, 0.362_683_783_378_362),
    (0.525_532_409_916_329, 0.313_706_645_877_887_3),
    (0.796_666_477_413_626_7, 0.222_381_034_453_374_47),
    (0.960_289_856_497_536_2, 0.101_228_536_290_376_26),
];

/// Correlation of pairs of values of which those at the limit are only known to be beyond it.
pub(super) fn correlation(values: &[Vec<f64>; 2], of_half: &[LogNormal; 2], limit: f64) -> f64 {
    let standard = |value: f64, half: usize| (value - of_half[half].mean) / of_half[half].sd;
    let (mut uu, mut vv, mut uv, mut n_known) = (0.0, 0.0, 0.0, 0.0);
    // The value of the known one of each pair, and the limit of the other.
    let mut one_known = Vec::new();
    let mut n_beyond = 0.0;
    let limits = [0, 1].map(|half| standard(limit, half));
    for (&first, &second) in values[0].iter().zip(&values[1]) {
        match (first < limit, second < limit) {
            (true, true) => {
                let (u, v) = (standard(first, 0), standard(second, 1));
                uu += u * u;
                vv += v * v;
                uv += u * v;
                n_known += 1.0;
            }
            (true, false) => one_known.push((standard(first, 0), limits[1])),
            (false, true) => one_known.push((standard(second, 1), limits[0])),
            (false, false) => n_beyond += 1.0,
        }
    }
    if one_known.is_empty() && n_beyond == 0.0 {
        return uv / libm::sqrt(uu * vv);
    }
    let log_likelihood = |z: f64| {
        let correlation = libm::tanh(z);
        let rest = 1.0 - correlation * correlation;
        let known =
            -0.5 * n_known * libm::log(rest) - 0.5 * (uu - 2.0 * correlation * uv + vv) / rest;
        let half: f64 = one_known
            .iter()
            .map(|&(u, b)| libm::log(upper_tail((b - correlation * u) / libm::sqrt(rest))))
            .sum();
        known + half + n_beyond * libm::log(both_beyond(limits, correlation))
    };
    libm::tanh(highest(log_likelihood))
}

/// Where a function with one maximum within the largest correlations has it, by golden sections.
fn highest(of: impl Fn(f64) -> f64) -> f64 {
    let golden = 0.5 * (libm::sqrt(5.0) - 1.0);
    let (mut low, mut high) = (-LARGEST_Z, LARGEST_Z);
    let (mut left, mut right) = (high - golden * (high - low), low + golden * (high - low));
    let (mut at_left, mut at_right) = (of(left), of(right));
    for _ in 0..N_ROUNDS {
        if at_left > at_right {
            (high, right, at_right) = (right, left, at_left);
            left = high - golden * (high - low);
            at_left = of(left);
        } else {
            (low, left, at_left) = (left, right, at_right);
            right = low + golden * (high - low);
            at_right = of(right);
        }
    }
    0.5 * (low + high)
}

/// Q(a), never so small that it has no logarithm.
fn upper_tail(a: f64) -> f64 {
    (0.5 * libm::erfc(a / std::f64::consts::SQRT_2)).max(f64::MIN_POSITIVE)
}

/// L(a, b; ρ) of the module.
fn both_beyond([a, b]: [f64; 2], correlation: f64) -> f64 {
    let density = |r: f64| {
        let rest = 1.0 - r * r;
        libm::exp(-0.5 * (a * a - 2.0 * r * a * b + b * b) / rest)
            / (std::f64::consts::TAU * libm::sqrt(rest))
    };
    // By the angle, r = sin θ, in which the density times dr is smooth up to r = 1.
    let end = libm::asin(correlation);
    let part = |node: f64| {
        let angle = 0.5 * end * (1.0 + node);
        density(libm::sin(angle)) * libm::cos(angle)
    };
    let integral: f64 = NODES
        .iter()
        .map(|&(node, weight)| weight * (part(node) + part(-node)))
        .sum();
    (upper_tail(a) * upper_tail(b) + 0.5 * end * integral).max(f64::MIN_POSITIVE)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::correlogram::smooth_field;
    use rand::SeedableRng;
    use rand_xoshiro::Xoshiro256PlusPlus;

    #[test]
    fn the_probability_of_both_is_that_of_scipy() {
        // scipy.stats.multivariate_normal([0, 0], [[1, r], [r, 1]]).cdf([-a, -b])
        for (a, b, r, expected) in [
            (0.0, 0.0, 0.5, 1.0 / 3.0),
            (1.0, 0.5, 0.8, 0.135_080_483_8),
            (1.0, 0.5, -0.3, 0.025_399_118_5),
        ] {
            let found = both_beyond([a, b], r);
            assert!((found - expected).abs() < 1e-6, "{a} {b} {r}: {found}");
        }
    }

    #[test]
    fn a_correlation_comes_back_from_what_is_censored() {
        let truth = 0.7;
        // Windows far narrower than a step smooth nothing.
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(1);
        let mut normal = || smooth_field((1, 4000), 0.0, &mut rng);
        let (x, noise) = (normal(), normal());
        let y = truth * &x + (1.0 - truth * truth).sqrt() * noise;
        let values = [x, y].map(|values| values.into_iter().collect::<Vec<f64>>());
        let standard = [LogNormal { mean: 0.0, sd: 1.0 }; 2];
        // A third of each is beyond 0.43.
        let limit = 0.43;
        let cut = values
            .each_ref()
            .map(|values| values.iter().map(|value| value.min(limit)).collect());
        for (values, limit) in [(&values, f64::INFINITY), (&cut, limit)] {
            let found = correlation(values, &standard, limit);
            assert!((found - truth).abs() < 0.03, "{found} up to {limit}");
        }
    }
}
