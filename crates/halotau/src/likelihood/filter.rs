//! How much did each scan of a mode surprise, given the scans before?
//!
//! ```text
//! surprise      e_i = a(i) − m_i                       m_i what was expected
//! its variance  F_i = P_i + n                          P_i variance of the hidden value, n noise
//! gain          G_i = P_i / F_i
//! next          m_(i+1) = f_i (m_i + G_i e_i),   P_(i+1) = f_i² P_i (1 − G_i) + V l (1 − f_i²),   f_i = exp[−k (t_(i+1) − t_i)/tau]
//! D             Σ_i ln F_i + e_i²/F_i
//! ```
//!
//! F, G and f are the same for all modes of a class, so that only the surprises are computed mode by mode.

use crate::simd::{Isa, dispatch};

/// Modes that are computed at once: whole vectors on every processor, and sums in the same order on all.
const LANES: usize = 8;

/// Variances that are multiplied before a logarithm is taken: each is between 1e-12 and 1e12.
const FACTORS_A_LOGARITHM: usize = 16;

/// Lags of the products of amplitudes, from 0.
pub(crate) const N_PRODUCTS: usize = 4;

/// Modes of one position that have nearly the same share of speckle.
#[derive(Debug, Clone)]
pub(crate) struct ModeClass {
    n_modes: usize,
    /// `[time, padded mode]`; modes that pad are zero and add nothing.
    amplitudes: Vec<f64>,
    padded: usize,
    /// Variance of their noise.
    noise: f64,
    /// Variance of their speckle for V = 1.
    scale: f64,
}

/// What a scan does to the expectation of every mode of a class.
#[derive(Debug, Clone, Copy)]
struct Step {
    /// f of the module.
    kept: f64,
    /// f G.
    corrected: f64,
    /// 1/F.
    weight: f64,
}

impl ModeClass {
    /// A class whose mode `mode` has the amplitude `amplitude(time, mode)`.
    pub(crate) fn new(
        n_times: usize,
        n_modes: usize,
        noise: f64,
        scale: f64,
        amplitude: impl Fn(usize, usize) -> f64,
    ) -> Self {
        let padded = n_modes.next_multiple_of(LANES);
        let mut amplitudes = vec![0.0; n_times * padded];
        for (time, row) in amplitudes.chunks_exact_mut(padded.max(1)).enumerate() {
            for (mode, value) in row[..n_modes].iter_mut().enumerate() {
                *value = amplitude(time, mode);
            }
        }
        Self {
            n_modes,
            amplitudes,
            padded,
            noise,
            scale,
        }
    }

    /// Mean products of amplitudes with those of the same scan and of the next three.
    pub(crate) fn products(&self) -> [f64; N_PRODUCTS] {
        std::array::from_fn(|lag| {
            let earlier = &self.amplitudes;
            let later = earlier.get(lag * self.padded..).unwrap_or(&[]);
            let sum: f64 = earlier.iter().zip(later).map(|(a, b)| a * b).sum();
            let n = later.len() / self.padded.max(1) * self.n_modes;
            sum / n as f64
        })
    }

    /// Number of modes.
    pub(crate) fn n_modes(&self) -> usize {
        self.n_modes
    }

    /// Variance of their noise.
    pub(crate) fn noise(&self) -> f64 {
        self.noise
    }

    /// Variance of their speckle for V = 1.
    pub(crate) fn scale(&self) -> f64 {
        self.scale
    }

    /// D of the class for a speckle variance V; `kept` holds f from each scan to the next.
    pub(crate) fn deviance(&self, kept: &[f64], variance: f64) -> f64 {
        let signal = variance * self.scale;
        let mut spread = signal;
        let (mut logarithms, mut product) = (0.0, 1.0);
        let n_times = kept.len() + 1;
        let mut steps = Vec::with_capacity(n_times);
        for time in 0..n_times {
            let total = spread + self.noise;
            let gain = spread / total;
            product *= total;
            if time % FACTORS_A_LOGARITHM == 0 {
                logarithms += libm::log(product);
                product = 1.0;
            }
            let kept = kept.get(time).copied().unwrap_or(0.0);
            steps.push(Step {
                kept,
                corrected: kept * gain,
                weight: 1.0 / total,
            });
            spread = kept * kept * spread * (1.0 - gain) + signal * (1.0 - kept * kept);
        }
        logarithms += libm::log(product);
        let mut expected = vec![0.0; self.padded];
        let squares = squared_surprises(Isa::best(), &self.amplitudes, &mut expected, &steps);
        self.n_modes as f64 * logarithms + squares
    }
}

dispatch! {
    /// Σ e²/F over scans and modes.
    fn squared_surprises(amplitudes: &[f64], expected: &mut [f64], steps: &[Step]) -> f64 {
        avx512: sum_squares::<true>(amplitudes, expected, steps),
        avx2: sum_squares::<true>(amplitudes, expected, steps),
        plain: sum_squares::<false>(amplitudes, expected, steps),
    }
}

#[inline(always)]
fn sum_squares<const FUSED: bool>(amplitudes: &[f64], expected: &mut [f64], steps: &[Step]) -> f64 {
    let multiply_add = |a: f64, b: f64, c: f64| if FUSED { a.mul_add(b, c) } else { a * b + c };
    let mut sums = [0.0; LANES];
    let width = expected.len().max(1);
    for (row, step) in amplitudes.chunks_exact(width).zip(steps) {
        let mut squares = [0.0; LANES];
        let (values, _) = row.as_chunks::<LANES>();
        let (expected, _) = expected.as_chunks_mut::<LANES>();
        for (values, expected) in values.iter().zip(expected) {
            for lane in 0..LANES {
                let surprise = values[lane] - expected[lane];
                squares[lane] = multiply_add(surprise, surprise, squares[lane]);
                expected[lane] = multiply_add(step.corrected, surprise, step.kept * expected[lane]);
            }
        }
        for lane in 0..LANES {
            sums[lane] = multiply_add(squares[lane], step.weight, sums[lane]);
        }
    }
    sums.iter().sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use nalgebra::{DMatrix, DVector};

    #[test]
    fn surprises_are_the_determinant_and_the_quadratic_form() {
        let times_s = [0.0, 9.0, 19.5, 28.0, 51.0, 60.0];
        let (tau_s, variance, scale, noise) = (70.0_f64, 0.4, 3.0, 0.8);
        let amplitude = |time: usize, mode: usize| {
            ((time * 7 + mode * 13 + time * mode) % 11) as f64 / 5.0 - 1.0
        };
        let class = ModeClass::new(6, 3, noise, scale, amplitude);
        let kept: Vec<f64> = times_s
            .windows(2)
            .map(|pair| libm::exp(-2.0 * (pair[1] - pair[0]) / tau_s))
            .collect();
        let covariance = DMatrix::from_fn(6, 6, |i, j| {
            let decay = libm::exp(-2.0 * f64::abs(times_s[i] - times_s[j]) / tau_s);
            variance * scale * decay + if i == j { noise } else { 0.0 }
        });
        let cholesky = covariance.cholesky().expect("a covariance");
        let expected: f64 = (0..3)
            .map(|mode| {
                let values = DVector::from_fn(6, |time, _| amplitude(time, mode));
                libm::log(cholesky.determinant()) + values.dot(&cholesky.solve(&values))
            })
            .sum();
        let deviance = class.deviance(&kept, variance);
        assert!((deviance - expected).abs() < 1e-10 * expected.abs());
    }

    #[test]
    fn every_processor_says_the_same() {
        let class = ModeClass::new(40, 19, 1.0, 2.0, |time, mode| {
            ((time * 31 + mode * 17) % 23) as f64 / 11.0 - 1.0
        });
        let steps = [Step {
            kept: 0.98,
            corrected: 0.2,
            weight: 0.7,
        }; 40];
        let sums: Vec<f64> = Isa::all()
            .into_iter()
            .map(|isa| squared_surprises(isa, &class.amplitudes, &mut [0.0; 24], &steps))
            .collect();
        for sum in &sums {
            assert!((sum - sums[0]).abs() < 1e-12 * sums[0]);
        }
    }
}
