//! How does the sample forget?
//!
//! ```text
//! ⟨n(t) n*(t')⟩ = exp(−(|t − t'| / tau)^stretch)        n = L · W,  L Lᵀ = that matrix
//! ```
//!
//! `W` is white in time, `L` the lower triangular Cholesky factor: what happens at a time depends on innovations up to that
//! time only, so samples of different tau that share their innovations move together. For `stretch = 1` and any times the factor
//! is the recursion `n(t) = c n(t') + sqrt(1 − c²) W(t)`, which costs a step a time instead of a row of the factor.

use ndarray::Array2;

/// A stationary process with the relaxation of one position.
#[derive(Debug, Clone)]
pub(super) enum Memory {
    /// What is kept of the state before and added of fresh noise, `[time]`.
    Recursion { keep: Vec<f32>, fresh: Vec<f32> },
    /// Lower triangular factor, `[time, innovation]`.
    Factor(Array2<f32>),
}

/// White noise mixed into the process, as a share of its variance. Near stretch 2 a fine time step leaves the matrix singular to
/// rounding; with this share the factorization is stable, and no number of frames shows it.
const WHITE_SHARE: f64 = 1e-10;

impl Memory {
    /// The process at given times.
    pub(super) fn new(times_s: &[f64], tau_s: f64, stretch: f64) -> Self {
        if stretch == 1.0 {
            let keep: Vec<f64> = std::iter::once(0.0)
                .chain(
                    times_s
                        .windows(2)
                        .map(|pair| libm::exp(-(pair[1] - pair[0]) / tau_s)),
                )
                .collect();
            return Self::Recursion {
                fresh: keep.iter().map(|c| (1.0 - c * c).sqrt() as f32).collect(),
                keep: keep.iter().map(|&c| c as f32).collect(),
            };
        }
        Self::Factor(factor(times_s, tau_s, stretch).mapv(|value| value as f32))
    }

    /// Turns white noise into the process, in place, `[time, value]`; later times may be left out.
    pub(super) fn evolve(&self, noise: &mut [f32], n_values: usize) {
        match self {
            Self::Recursion { keep, fresh } => {
                for time in 1..noise.len() / n_values {
                    let (past, now) = noise.split_at_mut(time * n_values);
                    let before = &past[(time - 1) * n_values..];
                    for (now, before) in now[..n_values].iter_mut().zip(before) {
                        *now = keep[time] * before + fresh[time] * *now;
                    }
                }
            }
            // From the last time backward: a row of the product needs the noise of earlier times only.
            Self::Factor(factor) => {
                for time in (0..noise.len() / n_values).rev() {
                    let row = factor.row(time);
                    let (past, now) = noise.split_at_mut(time * n_values);
                    let now = &mut now[..n_values];
                    now.iter_mut().for_each(|value| *value *= row[time]);
                    for (innovation, past) in past.chunks_exact(n_values).enumerate() {
                        let weight = row[innovation];
                        for (now, past) in now.iter_mut().zip(past) {
                            *now += weight * past;
                        }
                    }
                }
            }
        }
    }
}

/// Cholesky factor of the correlation matrix of the times, which is positive for every stretch up to 2.
fn factor(times_s: &[f64], tau_s: f64, stretch: f64) -> Array2<f64> {
    let n = times_s.len();
    let mut factor = Array2::<f64>::zeros((n, n));
    for late in 0..n {
        for early in 0..late {
            let elapsed = (times_s[late] - times_s[early]) / tau_s;
            let known: f64 = (0..early)
                .map(|k| factor[[late, k]] * factor[[early, k]])
                .sum();
            let correlation = (1.0 - WHITE_SHARE) * libm::exp(-libm::pow(elapsed, stretch));
            factor[[late, early]] = (correlation - known) / factor[[early, early]];
        }
        let known: f64 = (0..late).map(|k| factor[[late, k]].powi(2)).sum();
        // Positive by WHITE_SHARE: rounding is below 1e-12 even for thousands of times.
        factor[[late, late]] = (1.0 - known).sqrt();
    }
    factor
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The process on unit vectors of noise is the factor itself; its square must be the correlation asked for.
    fn realized(memory: &Memory, n: usize) -> Array2<f64> {
        let mut noise = vec![0.0_f32; n * n];
        (0..n).for_each(|time| noise[time * n + time] = 1.0);
        memory.evolve(&mut noise, n);
        let rows = Array2::from_shape_vec((n, n), noise)
            .expect("n rows of n")
            .mapv(f64::from);
        rows.dot(&rows.t())
    }

    #[test]
    fn correlation_is_the_one_asked_for_at_irregular_times() {
        let times: Vec<f64> = (0..60)
            .map(|t| f64::from(t) * 9.9 + 3.0 * libm::sin(f64::from(t)))
            .collect();
        for stretch in [0.3, 0.5, 1.0, 1.5, 2.0] {
            for tau_s in [3.0, 300.0, 30_000.0] {
                let found = realized(&Memory::new(&times, tau_s, stretch), times.len());
                for ((late, early), value) in found.indexed_iter() {
                    let elapsed = (times[late] - times[early]).abs() / tau_s;
                    let wanted = libm::exp(-libm::pow(elapsed, stretch));
                    // Single precision of the factor.
                    assert!(
                        (value - wanted).abs() < 1e-6,
                        "stretch {stretch}, tau {tau_s}: {value} against {wanted}"
                    );
                }
            }
        }
    }

    #[test]
    fn recursion_is_the_factor() {
        let times: Vec<f64> = (0..20).map(|t| f64::from(t) * 4.0).collect();
        let factor = factor(&times, 30.0, 1.0).mapv(|value| value as f32);
        let a = realized(&Memory::Factor(factor), 20);
        let b = realized(&Memory::new(&times, 30.0, 1.0), 20);
        assert!(a.iter().zip(&b).all(|(a, b)| (a - b).abs() < 1e-6));
    }
}
