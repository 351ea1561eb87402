//! Would maps that are as smooth, but have nothing to do with each other, correlate as much?
//!
//! ```text
//! torus    V of both halves moved together by whole steps, wrapped around the field, against tau where it is
//! phases   Fourier phases of V of both halves replaced by the same random ones: same power spectrum, other place
//! p        = (1 + number of surrogates with |r| at least as large) / (1 + number of surrogates)
//! ```
//!
//! Both are checks of the probability of [`decoupled`](super::decoupled), not a replacement: they move V of both halves together and so
//! lose what tau and V of one half have in common, and moved maps meet at the seam. In simulations both call unrelated maps related in 4 to 9 %
//! at a nominal 5 %, and in up to 17 % where the map of tau is all noise.
//!
//! Source: Theiler et al., Physica D 58, 77 (1992), doi 10.1016/0167-2789(92)90102-S, for random phases.

use std::sync::Arc;

use ndarray::Array2;
use rand::SeedableRng;
use rand_distr::{Distribution, StandardNormal};
use rand_xoshiro::Xoshiro256PlusPlus;
use rayon::prelude::*;
use rustfft::num_complex::Complex64;
use rustfft::{Fft, FftDirection, FftPlanner};

use super::fields::Fields;

/// Surrogates of random phases: p is known to a tenth of itself at 0.17, and to 0.01 at 0.05.
const N_PHASES: u64 = 499;

/// Displacements of the torus that are looked at, at most.
const MAX_SHIFTS: usize = 2_000;

/// Displacements whose maps are still alike by more than this are no surrogates.
const ALIKE: f64 = 0.1;

/// Probability from the torus: V moved by every displacement beyond its own correlation length. NaN where there are fewer than 19.
pub(super) fn torus(fields: &Fields) -> f64 {
    let (n_rows, n_cols) = fields.valid.dim();
    let length = correlation_length(fields);
    let apart = |steps: usize, n: usize| steps.min(n - steps) as f64;
    let shifts: Vec<(usize, usize)> = (0..n_rows)
        .flat_map(|row| (0..n_cols).map(move |col| (row, col)))
        .filter(|&(row, col)| libm::hypot(apart(row, n_rows), apart(col, n_cols)) > length)
        .collect();
    let stride = shifts.len().div_ceil(MAX_SHIFTS).max(1);
    let shifts: Vec<(usize, usize)> = shifts.into_iter().step_by(stride).collect();
    if shifts.len() < 19 {
        return f64::NAN;
    }
    let r = fields.crossed().abs();
    let n_larger = shifts
        .par_iter()
        .filter(|&&(rows, cols)| {
            let (mut sum, mut n) = (0.0, 0.0);
            for ((row, col), &valid) in fields.valid.indexed_iter() {
                let there = [(row + rows) % n_rows, (col + cols) % n_cols];
                if valid && fields.valid[there] {
                    let here = [row, col];
                    sum += 0.5
                        * (fields.x[0][here] * fields.y[1][there]
                            + fields.x[1][here] * fields.y[0][there]);
                    n += 1.0;
                }
            }
            (sum / n).abs() >= r
        })
        .count();
    (1.0 + n_larger as f64) / (1.0 + shifts.len() as f64)
}

/// Steps beyond which V is alike by less than [`ALIKE`].
fn correlation_length(fields: &Fields) -> f64 {
    let (n_rows, n_cols) = fields.valid.dim();
    let half = n_rows.min(n_cols) / 2;
    let likeness = |steps: usize| {
        let (mut sum, mut n) = (0.0, 0.0);
        for ((row, col), &valid) in fields.valid.indexed_iter() {
            for there in [[row + steps, col], [row, col + steps]] {
                if valid && fields.valid.get(there).is_some_and(|&valid| valid) {
                    let alike = |map: &Array2<f64>| map[[row, col]] * map[there];
                    sum += 0.25
                        * (fields.x.iter().map(alike).sum::<f64>()
                            + fields.y.iter().map(alike).sum::<f64>());
                    n += 1.0;
                }
            }
        }
        sum / n
    };
    let beyond = (1..half).find(|&steps| likeness(steps) < ALIKE);
    beyond.unwrap_or(half) as f64
}

/// Probability from maps of random phases; positions without a value count as average ones. NaN where a spectrum is empty.
pub(super) fn phases(fields: &Fields, seed: u64) -> f64 {
    let forward = Transform::new(fields.valid.dim(), FftDirection::Forward);
    let inverse = Transform::new(fields.valid.dim(), FftDirection::Inverse);
    let spectra = fields.y.each_ref().map(|map| {
        let mut spectrum = map.mapv(|value| Complex64::new(value, 0.0));
        forward.apply(&mut spectrum);
        spectrum
    });
    let r = fields.crossed().abs();
    let larger: Vec<bool> = (0..N_PHASES)
        .into_par_iter()
        .map(|item| {
            let mut rng = Xoshiro256PlusPlus::seed_from_u64(
                seed ^ (item + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15),
            );
            let mut noise = Array2::from_shape_simple_fn(fields.valid.dim(), || {
                Complex64::new(StandardNormal.sample(&mut rng), 0.0)
            });
            forward.apply(&mut noise);
            // The spectrum of a real map has opposite phases at opposite frequencies; so has its product with another.
            let size = |w: Complex64| libm::sqrt(w.norm_sqr()).max(f64::MIN_POSITIVE);
            let phase = noise.mapv(|w| w / size(w));
            let surrogate = |spectrum: &Array2<Complex64>| {
                let mut map = spectrum * &phase;
                inverse.apply(&mut map);
                map
            };
            let y = spectra.each_ref().map(surrogate);
            // Over the valid positions only, with the moments that the surrogates have there.
            let cross = |x: &Array2<f64>, y: &Array2<Complex64>| {
                let (mut sum, mut one, mut two, mut n) = (0.0, 0.0, 0.0, 0.0);
                for ((x, y), &valid) in x.iter().zip(y).zip(&fields.valid) {
                    if valid {
                        sum += x * y.re;
                        one += y.re;
                        two += y.re * y.re;
                        n += 1.0;
                    }
                }
                sum / n / libm::sqrt((two / n - (one / n) * (one / n)).max(f64::MIN_POSITIVE))
            };
            (0.5 * (cross(&fields.x[0], &y[1]) + cross(&fields.x[1], &y[0]))).abs() >= r
        })
        .collect();
    let n_larger = larger.iter().filter(|&&larger| larger).count();
    (1.0 + n_larger as f64) / (1.0 + N_PHASES as f64)
}

/// Fourier transform along both axes, without a factor.
struct Transform {
    along_row: Arc<dyn Fft<f64>>,
    along_col: Arc<dyn Fft<f64>>,
}

impl Transform {
    fn new((n_rows, n_cols): (usize, usize), direction: FftDirection) -> Self {
        let mut planner = FftPlanner::new();
        Self {
            along_row: planner.plan_fft(n_cols, direction),
            along_col: planner.plan_fft(n_rows, direction),
        }
    }

    fn apply(&self, map: &mut Array2<Complex64>) {
        let mut line = vec![Complex64::default(); map.ncols()];
        for mut row in map.rows_mut() {
            line.iter_mut().zip(&row).for_each(|(to, from)| *to = *from);
            self.along_row.process(&mut line);
            row.iter_mut().zip(&line).for_each(|(to, from)| *to = *from);
        }
        line.resize(map.nrows(), Complex64::default());
        for mut col in map.columns_mut() {
            line.iter_mut().zip(&col).for_each(|(to, from)| *to = *from);
            self.along_col.process(&mut line);
            col.iter_mut().zip(&line).for_each(|(to, from)| *to = *from);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::simulated::Simulated;
    use super::*;

    #[test]
    fn surrogates_find_a_relation_and_seldom_one_that_is_not_there() {
        let (mut by_torus, mut by_phases) = (0, 0);
        let n = 20;
        for seed in 0..n {
            let maps = Simulated::new((30, 30), 0.6, 0.0, 500 + seed);
            let fields = Fields::of(&maps.halves()).expect("maps with values");
            by_torus += usize::from(torus(&fields) < 0.05);
            by_phases += usize::from(phases(&fields, seed) < 0.05);
        }
        // 1 expected, or twice as many with the liberal torus.
        assert!(
            by_torus <= 6 && by_phases <= 5,
            "{by_torus} and {by_phases} of {n}"
        );
        let related = Simulated::new((40, 40), 0.3, 0.9, 1);
        let fields = Fields::of(&related.halves()).expect("maps with values");
        assert!(torus(&fields) < 0.02 && phases(&fields, 1) < 0.02);
    }
}
