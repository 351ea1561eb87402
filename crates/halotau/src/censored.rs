//! What is the average of times of which some are only known to be longer?
//!
//! Values at or above a limit are censored there. A mean with the limit in their place is too low, one without them is lower still. The
//! log-normal distribution of highest likelihood says how far beyond they lie:
//!
//! ```text
//! ln L = Σ_(below) ln φ((y − m)/s)/s + n_beyond ln Q((c − m)/s)        y = ln value, c = ln limit, Q = 1 − Φ
//! ```
//!
//! The field calls this the Tobit estimate. The median needs no distribution: where all values share one limit, the product-limit estimate of Kaplan and Meier, and
//! that of Turnbull, is the quantile of the values with the censored ones above all others, and there is none where half are censored.
//!
//! The distribution is found by repeated expectation: with m and s, a censored y has the mean m + s h and the mean square
//! m² + s² + (c + m) s h, h = φ(a)/Q(a), a = (c − m)/s. Without censored values m and s are mean and standard deviation.
//!
//! Sources: J. Tobin, Econometrica 26, 24 (1958), doi 10.2307/1907382; E. L. Kaplan, P. Meier, J. Am. Stat. Assoc. 53, 457 (1958), doi
//! 10.1080/01621459.1958.10501452; B. W. Turnbull, J. R. Stat. Soc. B 38, 290 (1976), doi 10.1111/j.2517-6161.1976.tb01597.x; A. P. Dempster, N. M. Laird, D. B. Rubin, J. R. Stat. Soc. B 39, 1 (1977), doi 10.1111/j.2517-6161.1977.tb01600.x.

/// Rounds at most; each gains what share of the values is not censored, so that twenty are usual.
const MAX_ROUNDS: usize = 500;

/// A log-normal distribution.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct LogNormal {
    /// Mean of the logarithm.
    pub(crate) mean: f64,
    /// Standard deviation of the logarithm.
    pub(crate) sd: f64,
}

impl LogNormal {
    /// The distribution of values of which those at or above `limit` are only known to be so. NaN for no value, and where fewer than two
    /// are below the limit.
    pub(crate) fn of(values: &[f64], limit: f64) -> Self {
        let below: Vec<f64> = values
            .iter()
            .filter(|&&value| value < limit)
            .map(|&value| libm::log(value))
            .collect();
        let n = values.len() as f64;
        let n_beyond = n - below.len() as f64;
        if below.len() < 2 {
            let mean = if n_beyond > 0.0 {
                f64::NAN
            } else {
                below.iter().sum::<f64>() / n
            };
            return Self { mean, sd: f64::NAN };
        }
        let sum: f64 = below.iter().sum();
        let mean = sum / below.len() as f64;
        let around: f64 = below.iter().map(|log| (log - mean) * (log - mean)).sum();
        let mut found = Self {
            mean,
            sd: (around / (below.len() as f64 - 1.0)).sqrt(),
        };
        if n_beyond == 0.0 {
            return found;
        }
        let squares: f64 = below.iter().map(|log| log * log).sum();
        let limit = libm::log(limit);
        for _ in 0..MAX_ROUNDS {
            let Self { mean, sd } = found;
            let hazard = hazard((limit - mean) / sd);
            let beyond = mean + sd * hazard;
            let beyond_square = mean * mean + sd * sd + (limit + mean) * sd * hazard;
            let mean = (sum + n_beyond * beyond) / n;
            let square = (squares + n_beyond * beyond_square) / n;
            let next = Self {
                mean,
                sd: (square - mean * mean).max(0.0).sqrt(),
            };
            let moved = (next.mean - found.mean)
                .abs()
                .max((next.sd - found.sd).abs());
            found = next;
            if moved < 1e-9 || !moved.is_finite() {
                break;
            }
        }
        found
    }
}

/// Mean of values: the plain one, or that of the log-normal distribution where some are censored at `limit`.
pub(crate) fn mean(values: &[f64], limit: f64) -> f64 {
    if values.iter().all(|&value| value < limit) {
        return values.iter().sum::<f64>() / values.len() as f64;
    }
    let LogNormal { mean, sd } = LogNormal::of(values, limit);
    libm::exp(mean + 0.5 * sd * sd)
}

/// φ(a)/(1 − Φ(a)).
fn hazard(a: f64) -> f64 {
    if a > 30.0 {
        // Asymptotic, where both are zero in a double.
        return a + 1.0 / a;
    }
    let density = libm::exp(-0.5 * a * a) / (2.0 * std::f64::consts::PI).sqrt();
    density / (0.5 * libm::erfc(a / std::f64::consts::SQRT_2))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::statistics::normal_quantile;

    #[test]
    fn censored_values_do_not_pull_the_mean() {
        // Evenly spaced quantiles of a log-normal distribution, a third of them beyond the limit.
        let (center, width, n) = (6.0, 0.8, 2000);
        let values: Vec<f64> = (0..n)
            .map(|rank| (f64::from(rank) + 0.5) / f64::from(n))
            .map(|share| libm::exp(center + width * normal_quantile(share)))
            .collect();
        let limit = libm::exp(center + width * normal_quantile(2.0 / 3.0));
        let clipped: Vec<f64> = values.iter().map(|value| value.min(limit)).collect();
        let found = LogNormal::of(&clipped, limit);
        assert!((found.mean - center).abs() < 3e-3, "{found:?}");
        assert!((found.sd - width).abs() < 3e-3, "{found:?}");
        let expected = libm::exp(center + 0.5 * width * width);
        assert!((mean(&clipped, limit) / expected - 1.0).abs() < 0.01);
        // What clipping would have said.
        let plain: f64 = clipped.iter().sum::<f64>() / f64::from(n);
        assert!(plain < 0.85 * expected);
    }

    #[test]
    fn the_median_of_values_with_one_limit_is_that_of_kaplan_and_meier() {
        // As it is defined: at each time that ends, survival falls by the share of those still there.
        let product_limit = |values: &[f64], limit: f64| {
            let mut sorted = values.to_vec();
            sorted.sort_by(f64::total_cmp);
            let mut survival = 1.0;
            for (at, &value) in sorted.iter().enumerate() {
                if value >= limit {
                    return None;
                }
                survival *= 1.0 - 1.0 / (sorted.len() - at) as f64;
                if survival <= 0.5 + 1e-12 {
                    return Some(value);
                }
            }
            None
        };
        let values: Vec<f64> = (0..101_u32)
            .map(|at| f64::from(at * 37 % 101) + 1.0)
            .collect();
        for limit in [60.0, 80.0, 200.0] {
            let capped: Vec<f64> = values.iter().map(|value| value.min(limit)).collect();
            let median = crate::rank::quantile(&capped, 0.5);
            assert_eq!(product_limit(&capped, limit), Some(median));
        }
        let capped: Vec<f64> = values.iter().map(|value| value.min(40.0)).collect();
        assert_eq!(product_limit(&capped, 40.0), None);
        assert_eq!(crate::rank::quantile(&capped, 0.5), 40.0);
    }

    #[test]
    fn without_censoring_it_is_the_plain_mean() {
        let found = LogNormal::of(&[1.0, std::f64::consts::E, libm::exp(2.0)], 100.0);
        assert!((found.mean - 1.0).abs() < 1e-15 && (found.sd - 1.0).abs() < 1e-15);
        assert_eq!(mean(&[1.0, 3.0], 100.0), 2.0);
        assert!(LogNormal::of(&[200.0], 100.0).mean.is_nan());
    }
}
