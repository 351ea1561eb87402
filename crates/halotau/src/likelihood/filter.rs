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

/// Numbers of the widest vector: modes are padded to a multiple of it, and so many classes are followed at once.
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

/// What a scan does to the expectation of every mode of a class, for [`LANES`] classes.
#[derive(Debug, Clone, Copy)]
struct Step {
    /// f of the module.
    kept: f64,
    /// f G.
    corrected: [f64; LANES],
    /// 1/F.
    weight: [f64; LANES],
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
}

/// D of some classes for a speckle variance V; `kept` holds f from each scan to the next.
pub(crate) fn deviance<'a>(
    classes: impl Iterator<Item = &'a ModeClass>,
    kept: &[f64],
    variance: f64,
) -> f64 {
    let isa = Isa::best();
    let classes: Vec<&ModeClass> = classes.collect();
    let none = Step {
        kept: 0.0,
        corrected: [0.0; LANES],
        weight: [0.0; LANES],
    };
    let mut steps = vec![none; kept.len() + 1];
    let widest = classes.iter().map(|class| class.padded).max().unwrap_or(0);
    let mut memory = vec![0.0; 2 * widest];
    let mut deviance = 0.0;
    for lanes in classes.chunks(LANES) {
        // Lanes without a class: noise of variance 1.
        let (mut noise, mut signal) = ([1.0; LANES], [0.0; LANES]);
        for (lane, class) in lanes.iter().enumerate() {
            (noise[lane], signal[lane]) = (class.noise, variance * class.scale);
        }
        let logarithms = follow(isa, kept, &noise, &signal, &mut steps);
        for (lane, class) in lanes.iter().enumerate() {
            let memory = &mut memory[..2 * class.padded];
            let squares = squared_surprises(isa, &class.amplitudes, memory, &steps, lane);
            deviance += class.n_modes as f64 * logarithms[lane] + squares;
        }
    }
    deviance
}

dispatch! {
    /// Writes the steps of some classes, and returns Σ ln F of each.
    fn follow(
        kept: &[f64],
        noise: &[f64; LANES],
        signal: &[f64; LANES],
        steps: &mut [Step],
    ) -> [f64; LANES] {
        follow_in_lanes(kept, noise, signal, steps)
    }
}

#[inline(always)]
fn follow_in_lanes(
    kept: &[f64],
    noise: &[f64; LANES],
    signal: &[f64; LANES],
    steps: &mut [Step],
) -> [f64; LANES] {
    let mut spread = *signal;
    let (mut logarithms, mut product) = ([0.0; LANES], [1.0; LANES]);
    for (time, step) in steps.iter_mut().enumerate() {
        let kept = kept.get(time).copied().unwrap_or(0.0);
        step.kept = kept;
        for lane in 0..LANES {
            let total = spread[lane] + noise[lane];
            let gain = spread[lane] / total;
            product[lane] *= total;
            step.corrected[lane] = kept * gain;
            step.weight[lane] = 1.0 / total;
            spread[lane] =
                kept * kept * spread[lane] * (1.0 - gain) + signal[lane] * (1.0 - kept * kept);
        }
        if time % FACTORS_A_LOGARITHM == 0 {
            for lane in 0..LANES {
                logarithms[lane] += libm::log(product[lane]);
            }
            product = [1.0; LANES];
        }
    }
    for lane in 0..LANES {
        logarithms[lane] += libm::log(product[lane]);
    }
    logarithms
}

dispatch! {
    /// Σ e²/F over scans and modes of the class in a lane; `memory` has two numbers a padded mode.
    fn squared_surprises(
        amplitudes: &[f64],
        memory: &mut [f64],
        steps: &[Step],
        lane: usize,
    ) -> f64 {
        avx512: sum_squares::<true>(amplitudes, memory, steps, lane),
        avx2: sum_squares::<true>(amplitudes, memory, steps, lane),
        plain: sum_squares::<false>(amplitudes, memory, steps, lane),
    }
}

#[inline(always)]
fn sum_squares<const FUSED: bool>(
    amplitudes: &[f64],
    memory: &mut [f64],
    steps: &[Step],
    of_class: usize,
) -> f64 {
    let multiply_add = |a: f64, b: f64, c: f64| if FUSED { a.mul_add(b, c) } else { a * b + c };
    let width = memory.len() / 2;
    memory.fill(0.0);
    let (expected, squares) = memory.split_at_mut(width);
    for (row, step) in amplitudes.chunks_exact(width.max(1)).zip(steps) {
        let (kept, corrected, weight) =
            (step.kept, step.corrected[of_class], step.weight[of_class]);
        // Mode by mode, also the squares: what is summed across modes here is no vector to every compiler.
        let modes = row.iter().zip(&mut *expected).zip(&mut *squares);
        for ((value, expected), squares) in modes {
            let surprise = value - *expected;
            *squares = multiply_add(weight * surprise, surprise, *squares);
            *expected = multiply_add(corrected, surprise, kept * *expected);
        }
    }
    squares.iter().sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use nalgebra::{DMatrix, DVector};

    #[test]
    fn surprises_are_the_determinant_and_the_quadratic_form() {
        let times_s = [0.0, 9.0, 19.5, 28.0, 51.0, 60.0];
        let (tau_s, variance) = (70.0_f64, 0.4);
        let amplitude = |time: usize, mode: usize| {
            ((time * 7 + mode * 13 + time * mode) % 11) as f64 / 5.0 - 1.0
        };
        // More than are followed at once, of different noise and scale.
        let noise_and_scale: Vec<(f64, f64)> = (0..11_u8)
            .map(|number| (0.3 + 0.1 * f64::from(number), 4.0 - 0.3 * f64::from(number)))
            .collect();
        let classes: Vec<ModeClass> = noise_and_scale
            .iter()
            .map(|&(noise, scale)| ModeClass::new(6, 3, noise, scale, amplitude))
            .collect();
        let kept: Vec<f64> = times_s
            .windows(2)
            .map(|pair| libm::exp(-2.0 * (pair[1] - pair[0]) / tau_s))
            .collect();
        let expected: f64 = noise_and_scale
            .iter()
            .map(|&(noise, scale)| {
                let covariance = DMatrix::from_fn(6, 6, |i, j| {
                    let decay = libm::exp(-2.0 * f64::abs(times_s[i] - times_s[j]) / tau_s);
                    variance * scale * decay + if i == j { noise } else { 0.0 }
                });
                let cholesky = covariance.cholesky().expect("a covariance");
                let of_mode = |mode: usize| {
                    let values = DVector::from_fn(6, |time, _| amplitude(time, mode));
                    libm::log(cholesky.determinant()) + values.dot(&cholesky.solve(&values))
                };
                (0..3).map(of_mode).sum::<f64>()
            })
            .sum();
        let deviance = deviance(classes.iter(), &kept, variance);
        assert!((deviance - expected).abs() < 1e-10 * expected.abs());
    }

    #[test]
    fn every_processor_says_the_same() {
        let class = ModeClass::new(40, 19, 1.0, 2.0, |time, mode| {
            ((time * 31 + mode * 17) % 23) as f64 / 11.0 - 1.0
        });
        let steps = [Step {
            kept: 0.98,
            corrected: [0.2; LANES],
            weight: [0.7; LANES],
        }; 40];
        let sums: Vec<f64> = Isa::all()
            .into_iter()
            .map(|isa| squared_surprises(isa, &class.amplitudes, &mut [0.0; 48], &steps, 3))
            .collect();
        for sum in &sums {
            assert!((sum - sums[0]).abs() < 1e-12 * sums[0]);
        }
    }
}
