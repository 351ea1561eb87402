//! What is kept of a two-time matrix: its excess over the baseline in classes of lag and age.
//!
//! ```text
//! lag  = t2 − t1        age = (t1 + t2)/2
//! ```
//!
//! Lags up to half of the record in classes that grow with the lag, ages in blocks that are symmetric about the middle of the record:
//! read backward, a record fills the same blocks in the opposite order.

use ndarray::ArrayView2;

/// Classes of lag at most.
const MAX_CLASSES: usize = 8;

/// Blocks of age at most. Odd, as any number of them: the edge between two blocks then falls on no pair of scans.
const MAX_AGES: usize = 23;

/// Which scans are how far apart, and how old.
#[derive(Debug, Clone, PartialEq)]
pub struct LagClasses {
    n_times: usize,
    /// Class of each lag, from lag 1; `None` beyond the last.
    class_of: Vec<Option<usize>>,
    /// Mean time of the lags of a class.
    lag_s: Vec<f64>,
    n_ages: usize,
}

impl LagClasses {
    /// Classes for a record whose lags, from one step, last `lag_s`.
    pub fn new(lag_s: &[f64]) -> Self {
        let n_times = lag_s.len() + 1;
        let longest = n_times / 2;
        let mut edges: Vec<usize> = (0..=MAX_CLASSES)
            .map(|edge| {
                let share = edge as f64 / MAX_CLASSES as f64;
                libm::round(libm::pow(longest as f64 + 1.0, share)) as usize
            })
            .collect();
        edges.dedup();
        let mut class_of = vec![None; lag_s.len()];
        let mut mean = Vec::new();
        for pair in edges.windows(2) {
            let lags = pair[0]..pair[1].min(lag_s.len() + 1);
            if lags.is_empty() {
                continue;
            }
            mean.push(lags.clone().map(|lag| lag_s[lag - 1]).sum::<f64>() / lags.len() as f64);
            lags.for_each(|lag| class_of[lag - 1] = Some(mean.len() - 1));
        }
        Self {
            n_times,
            class_of,
            lag_s: mean,
            n_ages: MAX_AGES.min((n_times / 4).saturating_sub(1) | 1),
        }
    }

    /// Number of classes.
    pub(super) fn len(&self) -> usize {
        self.lag_s.len()
    }

    /// Number of blocks of age.
    pub(super) fn n_ages(&self) -> usize {
        self.n_ages
    }

    /// Mean lag of a class.
    pub(super) fn lag_s(&self, class: usize) -> f64 {
        self.lag_s[class]
    }

    /// Age of the middle of a block, as a share of the record.
    pub(super) fn age(&self, block: usize) -> f64 {
        (block as f64 + 0.5) / self.n_ages as f64
    }

    /// Block of a pair of scans.
    fn block(&self, first: usize, second: usize) -> usize {
        // Never on an edge, because an odd number over an even one is no whole number: both directions of time agree.
        (2 * (first + second) + 1) * self.n_ages / (2 * (2 * self.n_times - 1))
    }

    /// Mean of the excess over each class and block, `[class * n_ages + block]`; NaN where there is no pair of valid scans.
    pub(super) fn excess(
        &self,
        two_time: ArrayView2<'_, f64>,
        valid: &[bool],
        baseline: f64,
    ) -> Vec<f64> {
        let mut sums = vec![(0.0, 0_u32); self.len() * self.n_ages];
        let n_lags = self
            .class_of
            .iter()
            .take_while(|class| class.is_some())
            .count();
        for first in (0..self.n_times).filter(|&first| valid[first]) {
            let row = two_time.row(first);
            for second in first + 1..self.n_times.min(first + n_lags + 1) {
                let (Some(class), true) = (self.class_of[second - first - 1], valid[second]) else {
                    continue;
                };
                let value = row[second];
                if value.is_finite() {
                    let sum = &mut sums[class * self.n_ages + self.block(first, second)];
                    *sum = (sum.0 + value, sum.1 + 1);
                }
            }
        }
        sums.into_iter()
            .map(|(sum, n)| sum / f64::from(n) - baseline)
            .collect()
    }
}

/// What is kept of one half of the directions at a position.
#[derive(Debug, Clone, PartialEq)]
pub struct HalfRecord {
    /// Relaxation time of this half alone; NaN where it was not fitted.
    pub tau_s: f64,
    /// g less the baseline, `[lag]` from one step.
    pub(super) curve: Vec<f32>,
    /// The excess in classes, `[class * n_ages + block]`.
    pub(super) excess: Vec<f32>,
}

impl HalfRecord {
    /// Keeps what the tests need of a two-time matrix `[time_1, time_2]` of the pixels of a half.
    pub fn new(
        classes: &LagClasses,
        two_time: ArrayView2<'_, f64>,
        valid: &[bool],
        baseline: f64,
        tau_s: f64,
    ) -> Self {
        let curve = crate::correlate::one_time(two_time, valid);
        let excess = classes.excess(two_time, valid, baseline);
        Self {
            tau_s,
            curve: curve.iter().map(|g| (g - baseline) as f32).collect(),
            excess: excess.iter().map(|&value| value as f32).collect(),
        }
    }

    /// The same with the relaxation time of the half.
    pub(crate) fn with_tau(self, tau_s: f64) -> Self {
        Self { tau_s, ..self }
    }

    /// Mean over the ages of a class; NaN where there is none.
    pub(super) fn mean(&self, class: usize, n_ages: usize) -> f64 {
        let values = self.excess[class * n_ages..][..n_ages].iter();
        let (sum, n) = values
            .filter(|value| value.is_finite())
            .fold((0.0, 0.0), |(sum, n), &value| {
                (sum + f64::from(value), n + 1.0)
            });
        sum / n
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::Array2;

    #[test]
    fn a_record_read_backward_fills_the_blocks_in_the_opposite_order() {
        let n = 37;
        let lag_s: Vec<f64> = (1..n).map(|lag| 2.0 * lag as f64).collect();
        let classes = LagClasses::new(&lag_s);
        let value = |a: usize, b: usize| (1.3 * (a * b) as f64 + (a + b) as f64).sin();
        let forward = Array2::from_shape_fn((n, n), |(a, b)| value(a, b));
        let backward = Array2::from_shape_fn((n, n), |(a, b)| value(n - 1 - a, n - 1 - b));
        let valid = vec![true; n];
        let forward = classes.excess(forward.view(), &valid, 0.0);
        let backward = classes.excess(backward.view(), &valid, 0.0);
        let n_ages = classes.n_ages();
        for class in 0..classes.len() {
            for block in 0..n_ages {
                let a = forward[class * n_ages + block];
                let b = backward[class * n_ages + n_ages - 1 - block];
                assert!((a - b).abs() < 1e-12 || (a.is_nan() && b.is_nan()));
            }
        }
    }

    #[test]
    fn classes_hold_each_lag_up_to_half_of_the_record_once() {
        let lag_s: Vec<f64> = (1..106).map(f64::from).collect();
        let classes = LagClasses::new(&lag_s);
        assert_eq!(classes.class_of[0], Some(0));
        assert!(classes.class_of[..53].iter().all(Option::is_some));
        assert!(classes.class_of[53..].iter().all(Option::is_none));
        assert!(classes.lag_s.windows(2).all(|pair| pair[0] < pair[1]));
        // A matrix that holds the lag gives each class its own mean lag.
        let matrix = Array2::from_shape_fn((106, 106), |(a, b)| a.abs_diff(b) as f64);
        let excess = classes.excess(matrix.view(), &[true; 106], 0.0);
        assert_eq!(excess[classes.n_ages() / 2], 1.0);
    }
}
