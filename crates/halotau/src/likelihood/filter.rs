//! How much did each scan of a mode surprise, given the scans before?
//!
//! ```text
//! surprise      e_i = a(i) − h_i·m_i                   m_i what was expected of the hidden values, h_i what the scan has of them
//! its variance  F_i = h_i'P_i h_i + rest_i V l + n     P_i covariance of the hidden values, n noise
//! gain          G_i = P_i h_i / F_i
//! next          m_(i+1) = f_i (m_i + G_i e_i),   P_(i+1) = f_i² (P_i − F_i G_i G_i') + V l (1 − f_i²),   f_i = exp[−k (t_(i+1) − t_i)/tau]
//! D             Σ_i ln F_i + e_i²/F_i
//! ```
//!
//! There is one hidden value, and h is 1, where probes stayed; as many as the [`Overlap`] has terms where they moved.
//!
//! F, G and f are the same for all modes of a class, so that only the surprises are computed mode by mode: for some vectors of modes, of whatever
//! classes, through all scans.

use super::overlap::{MAX_TERMS, Overlap};
use crate::simd::{Isa, dispatch};

/// Numbers of the widest vector: modes are padded to a multiple of it, and so many classes are followed at once.
const LANES: usize = 8;

/// Numbers of terms that filters are made for, up to [`MAX_TERMS`].
const FILTERS: [usize; 4] = [1, 4, 6, 8];

/// Vectors that are followed at once.
const VECTORS: usize = 8;

/// Variances that are multiplied before a logarithm is taken: each is between 1e-12 and 1e12.
const FACTORS_A_LOGARITHM: usize = 16;

/// Lags of the products of amplitudes, from 0.
pub(crate) const N_PRODUCTS: usize = 4;

/// A vector of modes at one time.
type Amplitudes = [f64; LANES];

/// How speckle decays from scan to scan.
#[derive(Debug, Clone)]
pub(crate) struct Memory {
    /// Time from each scan to the next.
    pub(crate) steps_s: Vec<f64>,
    /// The factor k of the exponent.
    pub(crate) exponent_factor: f64,
    /// What drift leaves of it, by class of modes; one for all where nothing moved.
    pub(crate) overlaps: Vec<Overlap>,
}

impl Memory {
    /// f from each scan to the next.
    fn kept(&self, tau_s: f64) -> Vec<f64> {
        let rate = self.exponent_factor / tau_s;
        let kept = |step_s: &f64| libm::exp(-rate * step_s);
        self.steps_s.iter().map(kept).collect()
    }

    /// What drift leaves of a class.
    fn overlap(&self, class: &ModeClass) -> &Overlap {
        let is_one = self.overlaps.len() == 1;
        &self.overlaps[if is_one { 0 } else { class.number }]
    }
}

/// Modes of one position that have nearly the same share of speckle.
#[derive(Debug, Clone)]
pub(crate) struct ModeClass {
    number: usize,
    n_modes: usize,
    n_times: usize,
    /// `[vector of modes, time]`; modes that pad the last vector are zero and add nothing.
    amplitudes: Vec<Amplitudes>,
    /// Variance of their noise.
    noise: f64,
    /// Variance of their speckle for V = 1.
    scale: f64,
}

/// What a scan does to the expectation of every mode of a class, for [`LANES`] classes.
#[derive(Debug, Clone, Copy)]
struct Step<const TERMS: usize> {
    /// f of the module.
    kept: f64,
    /// h.
    shares: [[f64; LANES]; TERMS],
    /// Speckle that no other scan shares.
    rest: [f64; LANES],
    /// f G.
    corrected: [[f64; LANES]; TERMS],
    /// 1/F.
    weight: [f64; LANES],
}

impl ModeClass {
    /// A class whose mode `mode` has the amplitude `amplitude(time, mode)`; classes of one number see a movement of the probe alike.
    pub(crate) fn new(
        number: usize,
        n_times: usize,
        n_modes: usize,
        noise: f64,
        scale: f64,
        amplitude: impl Fn(usize, usize) -> f64,
    ) -> Self {
        let mut amplitudes = vec![[0.0; LANES]; n_times * n_modes.div_ceil(LANES)];
        for (vector, times) in amplitudes.chunks_exact_mut(n_times.max(1)).enumerate() {
            let first = vector * LANES;
            for (time, values) in times.iter_mut().enumerate() {
                for (mode, value) in (first..n_modes).zip(values) {
                    *value = amplitude(time, mode);
                }
            }
        }
        Self {
            number,
            n_modes,
            n_times,
            amplitudes,
            noise,
            scale,
        }
    }

    /// Mean products of amplitudes with those of the same scan and of the next three.
    pub(crate) fn products(&self) -> [f64; N_PRODUCTS] {
        std::array::from_fn(|lag| {
            let sum: f64 = self
                .vectors()
                .map(|times| {
                    let later = times.get(lag..).unwrap_or(&[]);
                    let pairs = times.as_flattened().iter().zip(later.as_flattened());
                    pairs.map(|(a, b)| a * b).sum::<f64>()
                })
                .sum();
            sum / (self.n_times.saturating_sub(lag) * self.n_modes) as f64
        })
    }

    /// Its vectors of modes, `[time]` each.
    fn vectors(&self) -> impl Iterator<Item = &[Amplitudes]> {
        self.amplitudes.chunks_exact(self.n_times.max(1))
    }

    /// Which class it is.
    pub(crate) fn number(&self) -> usize {
        self.number
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

/// D of some classes for a relaxation time and a speckle variance V.
pub(crate) fn deviance<'a>(
    classes: impl Iterator<Item = &'a ModeClass>,
    memory: &Memory,
    tau_s: f64,
    variance: f64,
) -> f64 {
    let mut classes: Vec<&ModeClass> = classes.collect();
    let n_terms = |class: &ModeClass| {
        let needed = memory.overlap(class).n_terms();
        let enough = FILTERS.into_iter().find(|&made| made >= needed);
        enough.unwrap_or(MAX_TERMS)
    };
    classes.sort_by_key(|class| n_terms(class));
    let kept = memory.kept(tau_s);
    let alike = classes.chunk_by(|one, other| n_terms(one) == n_terms(other));
    let of_alike = |classes: &[&ModeClass]| match n_terms(classes[0]) {
        1 => with_terms::<1>(classes, &kept, memory, variance),
        4 => with_terms::<4>(classes, &kept, memory, variance),
        6 => with_terms::<6>(classes, &kept, memory, variance),
        8 => with_terms::<8>(classes, &kept, memory, variance),
        _ => with_terms::<MAX_TERMS>(classes, &kept, memory, variance),
    };
    alike.map(of_alike).sum()
}

fn with_terms<const TERMS: usize>(
    classes: &[&ModeClass],
    kept: &[f64],
    memory: &Memory,
    variance: f64,
) -> f64 {
    let isa = Isa::best();
    let mut steps: Vec<Step<TERMS>> = kept.iter().map(|&kept| Step::new(kept)).collect();
    steps.push(Step::new(0.0));
    let nothing = vec![[0.0; LANES]; steps.len()];
    let mut vectors = Vec::new();
    let mut deviance = 0.0;
    for lanes in classes.chunks(LANES) {
        // Lanes without a class: noise of variance 1.
        let (mut noise, mut signal) = ([1.0; LANES], [0.0; LANES]);
        vectors.clear();
        for (lane, class) in lanes.iter().enumerate() {
            (noise[lane], signal[lane]) = (class.noise, variance * class.scale);
            vectors.extend(class.vectors().map(|times| (lane, times)));
            for (step, scan) in steps.iter_mut().zip(memory.overlap(class).scans()) {
                step.rest[lane] = scan.rest;
                for (shares, term) in step.shares.iter_mut().zip(&scan.terms) {
                    shares[lane] = *term;
                }
            }
        }
        // What fills the last group has no surprises.
        vectors.resize(
            vectors.len().next_multiple_of(VECTORS),
            (0, nothing.as_slice()),
        );
        let logarithms = follow(isa, &noise, &signal, &mut steps);
        for (class, logarithm) in lanes.iter().zip(logarithms) {
            deviance += class.n_modes as f64 * logarithm;
        }
        deviance += squared_surprises(isa, &vectors, &steps);
    }
    deviance
}

impl<const TERMS: usize> Step<TERMS> {
    fn new(kept: f64) -> Self {
        Self {
            kept,
            shares: [[0.0; LANES]; TERMS],
            rest: [0.0; LANES],
            corrected: [[0.0; LANES]; TERMS],
            weight: [0.0; LANES],
        }
    }
}

dispatch! {
    /// Writes the steps of some classes, and returns Σ ln F of each.
    fn follow[const TERMS: usize][TERMS](
        noise: &[f64; LANES],
        signal: &[f64; LANES],
        steps: &mut [Step<TERMS>],
    ) -> [f64; LANES] {
        follow_in_lanes(noise, signal, steps)
    }
}

#[inline(always)]
fn follow_in_lanes<const TERMS: usize>(
    noise: &[f64; LANES],
    signal: &[f64; LANES],
    steps: &mut [Step<TERMS>],
) -> [f64; LANES] {
    let mut spread = [[[0.0; LANES]; TERMS]; TERMS];
    for (term, row) in spread.iter_mut().enumerate() {
        row[term] = *signal;
    }
    let (mut logarithms, mut product) = ([0.0; LANES], [1.0; LANES]);
    for (time, step) in steps.iter_mut().enumerate() {
        let kept = step.kept;
        // P h, and F.
        let mut seen = [[0.0; LANES]; TERMS];
        let mut total = *noise;
        for lane in 0..LANES {
            total[lane] += step.rest[lane] * signal[lane];
        }
        for (seen, row) in seen.iter_mut().zip(&spread) {
            for (spread, share) in row.iter().zip(&step.shares) {
                for lane in 0..LANES {
                    seen[lane] += spread[lane] * share[lane];
                }
            }
        }
        for (seen, share) in seen.iter().zip(&step.shares) {
            for lane in 0..LANES {
                total[lane] += seen[lane] * share[lane];
            }
        }
        for lane in 0..LANES {
            product[lane] *= total[lane];
            step.weight[lane] = 1.0 / total[lane];
        }
        for term in 0..TERMS {
            let mut known = [0.0; LANES];
            for lane in 0..LANES {
                let corrected = kept * seen[term][lane] * step.weight[lane];
                step.corrected[term][lane] = corrected;
                known[lane] = kept * corrected;
            }
            // Symmetric: the other half is copied.
            for other in term..TERMS {
                for lane in 0..LANES {
                    let value = kept * kept * spread[term][other][lane];
                    spread[term][other][lane] = value - known[lane] * seen[other][lane];
                }
                spread[other][term] = spread[term][other];
            }
            for lane in 0..LANES {
                spread[term][term][lane] += signal[lane] * (1.0 - kept * kept);
            }
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
    /// Σ e²/F over scans and modes of groups of [`VECTORS`] vectors, each with the lane of its class.
    fn squared_surprises[const TERMS: usize][TERMS](
        vectors: &[(usize, &[Amplitudes])],
        steps: &[Step<TERMS>],
    ) -> f64 {
        avx512: sum_squares::<true, TERMS>(vectors, steps),
        avx2: sum_squares::<true, TERMS>(vectors, steps),
        plain: sum_squares::<false, TERMS>(vectors, steps),
    }
}

#[inline(always)]
fn sum_squares<const FUSED: bool, const TERMS: usize>(
    vectors: &[(usize, &[Amplitudes])],
    steps: &[Step<TERMS>],
) -> f64 {
    // No iterator that takes a closure: what is not inlined is compiled without the instructions.
    let mut sum = 0.0;
    let (groups, _) = vectors.as_chunks::<VECTORS>();
    for group in groups {
        sum += squares_of::<FUSED, TERMS>(group, steps);
    }
    sum
}

#[inline(always)]
fn squares_of<const FUSED: bool, const TERMS: usize>(
    vectors: &[(usize, &[Amplitudes]); VECTORS],
    steps: &[Step<TERMS>],
) -> f64 {
    let multiply_add = |a: f64, b: f64, c: f64| if FUSED { a.mul_add(b, c) } else { a * b + c };
    let lanes = vectors.map(|(lane, _)| lane % LANES);
    let rows = vectors.map(|(_, times)| &times[..steps.len()]);
    let of_modes = |of_lanes: &[f64; LANES]| {
        let mut values = [[0.0; LANES]; VECTORS];
        for (values, &lane) in values.iter_mut().zip(&lanes) {
            values.fill(of_lanes[lane]);
        }
        values
    };
    let mut expected = [[[0.0; LANES]; VECTORS]; TERMS];
    let mut surprise = [[0.0; LANES]; VECTORS];
    let mut squares = [[0.0; LANES]; VECTORS];
    for (time, step) in steps.iter().enumerate() {
        for (surprise, times) in surprise.iter_mut().zip(&rows) {
            *surprise = times[time];
        }
        // One loop over all modes of the group: it is long enough to become vectors whatever the number of terms.
        let surprise = surprise.as_flattened_mut();
        for (expected, share) in expected.iter().zip(&step.shares) {
            let share = of_modes(share);
            let modes = expected.as_flattened().iter().zip(share.as_flattened());
            for (surprise, (expected, share)) in surprise.iter_mut().zip(modes) {
                *surprise = multiply_add(-share, *expected, *surprise);
            }
        }
        let weight = of_modes(&step.weight);
        let modes = surprise.iter().zip(weight.as_flattened());
        for (squares, (surprise, weight)) in squares.as_flattened_mut().iter_mut().zip(modes) {
            *squares = multiply_add(weight * surprise, *surprise, *squares);
        }
        for (expected, corrected) in expected.iter_mut().zip(&step.corrected) {
            let corrected = of_modes(corrected);
            let modes = surprise.iter().zip(corrected.as_flattened());
            for (expected, (surprise, corrected)) in
                expected.as_flattened_mut().iter_mut().zip(modes)
            {
                *expected = multiply_add(*corrected, *surprise, step.kept * *expected);
            }
        }
    }
    squares.as_flattened().iter().sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use nalgebra::{DMatrix, DVector};

    /// A drift of a third of a step a scan along one direction, followed in whole steps.
    fn moved(first: usize, second: usize, narrowing: f64) -> f64 {
        let left = |time: usize| (0.3 * time as f64 + 0.5).rem_euclid(1.0) - 0.5;
        libm::exp(-0.6 * narrowing * (left(first) - left(second)).powi(2))
    }

    #[test]
    fn surprises_are_the_determinant_and_the_quadratic_form() {
        let times_s = [0.0, 9.0, 19.5, 28.0, 51.0, 60.0];
        let (tau_s, variance) = (70.0_f64, 0.4);
        let amplitude = |time: usize, mode: usize| {
            ((time * 7 + mode * 13 + time * mode) % 11) as f64 / 5.0 - 1.0
        };
        // More than are followed at once, of different noise and scale, and modes that fill no vector.
        let noise_and_scale: Vec<(f64, f64)> = (0..11_u8)
            .map(|number| (0.3 + 0.1 * f64::from(number), 4.0 - 0.3 * f64::from(number)))
            .collect();
        let n_modes = |class: usize| 3 + 4 * (class % 3);
        let classes: Vec<ModeClass> = noise_and_scale
            .iter()
            .enumerate()
            .map(|(class, &(noise, scale))| {
                ModeClass::new(class % 2, 6, n_modes(class), noise, scale, amplitude)
            })
            .collect();
        let seen = |narrowing| {
            Overlap::new(6, 1e-9, move |first, second| {
                moved(first, second, narrowing)
            })
        };
        for overlaps in [vec![Overlap::whole(6)], vec![seen(1.0), seen(0.6)]] {
            let expected: f64 = noise_and_scale
                .iter()
                .enumerate()
                .map(|(class, &(noise, scale))| {
                    let covariance = DMatrix::from_fn(6, 6, |i, j| {
                        let decay = libm::exp(-2.0 * f64::abs(times_s[i] - times_s[j]) / tau_s);
                        variance * scale * decay * overlaps[class % overlaps.len()].between(i, j)
                            + if i == j { noise } else { 0.0 }
                    });
                    let cholesky = covariance.cholesky().expect("a covariance");
                    let of_mode = |mode: usize| {
                        let values = DVector::from_fn(6, |time, _| amplitude(time, mode));
                        libm::log(cholesky.determinant()) + values.dot(&cholesky.solve(&values))
                    };
                    (0..n_modes(class)).map(of_mode).sum::<f64>()
                })
                .sum();
            let memory = Memory {
                steps_s: times_s.windows(2).map(|pair| pair[1] - pair[0]).collect(),
                exponent_factor: 2.0,
                overlaps,
            };
            let deviance = deviance(classes.iter(), &memory, tau_s, variance);
            let off = (deviance - expected).abs() / expected.abs();
            assert!(off < 1e-10, "{off} with {} overlaps", memory.overlaps.len());
        }
    }

    #[test]
    fn every_processor_says_the_same() {
        let class = ModeClass::new(0, 40, 61, 1.0, 2.0, |time, mode| {
            ((time * 31 + mode * 17) % 23) as f64 / 11.0 - 1.0
        });
        let vectors: Vec<_> = class.vectors().map(|times| (3, times)).collect();
        let steps = [Step {
            kept: 0.98,
            shares: [[0.9; LANES], [0.2; LANES], [-0.1; LANES]],
            rest: [0.0; LANES],
            corrected: [[0.2; LANES], [0.1; LANES], [-0.05; LANES]],
            weight: [0.7; LANES],
        }; 40];
        let sums: Vec<f64> = Isa::all()
            .into_iter()
            .map(|isa| squared_surprises(isa, &vectors, &steps))
            .collect();
        for sum in &sums {
            assert!((sum - sums[0]).abs() < 1e-12 * sums[0]);
        }
    }
}
