//! Maps as smooth as a probe makes them.

use halotau::ndarray::Array2;
use rand_distr::{Distribution, StandardNormal};
use rand_xoshiro::Xoshiro256PlusPlus;

/// White noise through a normal window, with unit variance: correlation `exp(−d²/(4 w²))`.
pub(crate) fn smooth(n: usize, window_steps: f64, rng: &mut Xoshiro256PlusPlus) -> Array2<f64> {
    let reach = (4.0 * window_steps).ceil() as usize;
    let mut window: Vec<f64> = (0..=2 * reach)
        .map(|at| (-((at as f64 - reach as f64) / window_steps).powi(2) / 2.0).exp())
        .collect();
    let norm = window.iter().map(|w| w * w).sum::<f64>().sqrt();
    window.iter_mut().for_each(|w| *w /= norm);
    let wide = n + 2 * reach;
    let white =
        Array2::from_shape_simple_fn((wide, wide), || -> f64 { StandardNormal.sample(rng) });
    let rows = Array2::from_shape_fn((n, wide), |(row, col)| {
        (0..window.len())
            .map(|k| window[k] * white[[row + k, col]])
            .sum::<f64>()
    });
    Array2::from_shape_fn((n, n), |(row, col)| {
        (0..window.len())
            .map(|k| window[k] * rows[[row, col + k]])
            .sum()
    })
}
