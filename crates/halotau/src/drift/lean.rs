//! What a gradient of the memory does to the peak of the correlation.
//!
//! ```text
//! C(r, r + D) ∝ K²(D − shift) · exp(κ · D · g/2),   K² ≈ exp(−v²/4)   →   the peak leans by κ · g/per_step²
//! g(lag) = Σ A ∇(m/A) / Σ m                         m: likeness of a position with itself at a lag, A: at the first lag
//! ```
//!
//! `g` is the mean gradient of the logarithm of the memory, weighted as the correlation weights it. How the memories of two positions make
//! that of their pair is not known: where every atom keeps its own time the pair has the mean of both, in either order, and nothing
//! leans (κ = 0); where the pattern of a position relaxes at the rate of the later of the two (a simulation with one rate a position), κ
//! = 1. A uniform gradient with a lean that grows with the lag looks exactly like a steady drift. So half of the lean is taken
//! back, and what is not known of it is a part of the error.

use ndarray::{Array2, ArrayView3, Zip};
use rayon::prelude::*;

use super::spectra::fluctuations;
use crate::conditions::sample::Blocks;

/// Share of the full lean that is taken back: the middle of what is possible.
pub(super) const LIKELY: f64 = 0.5;

/// Standard error of that share: either end of what is possible is one error away.
pub(super) const UNKNOWN: f64 = 0.5;

/// Memory that is left of the first lag's, below which its gradient is noise.
const MIN_MEMORY: f64 = 0.05;

/// The mean gradient of the logarithm of the memory at each lag of a list, along (row, col) a scan step; constant where too little is left.
pub(super) fn gradients(
    blocks: &Blocks,
    scale: ArrayView3<'_, f64>,
    times: &[usize],
    lags: &[usize],
) -> Vec<(f64, f64)> {
    let (_, n_rows, n_cols) = scale.dim();
    let memories = memories(blocks, scale, times, lags, (n_rows, n_cols));
    let Some(first) = memories.first() else {
        return Vec::new();
    };
    // Single positions hold few speckles, which their neighbors share.
    let first = smooth(first);
    let mut last = (0.0, 0.0);
    let start = first.sum();
    memories
        .iter()
        .map(|memory| {
            let memory = smooth(memory);
            let total = memory.sum();
            if start > 0.0 && total > MIN_MEMORY * start {
                last = gradient(&memory, &first, total);
            }
            last
        })
        .collect()
}

/// Likeness of each position with itself at each lag, summed over blocks and averaged over times, `[row, col]`.
fn memories(
    blocks: &Blocks,
    scale: ArrayView3<'_, f64>,
    times: &[usize],
    lags: &[usize],
    dim: (usize, usize),
) -> Vec<Array2<f64>> {
    let values: Vec<ArrayView3<'_, f32>> = blocks.values.outer_iter().collect();
    values
        .into_par_iter()
        .map(|values| {
            let images = fluctuations(values, scale, times);
            let mut sums = vec![Array2::<f64>::zeros(dim); lags.len()];
            for (sum, &lag) in sums.iter_mut().zip(lags) {
                for (one, other) in images.iter().zip(&images[lag..]) {
                    Zip::from(&mut *sum)
                        .and(one)
                        .and(other)
                        .for_each(|sum, &one, &other| *sum += f64::from(one * other));
                }
                *sum /= (times.len() - lag) as f64;
            }
            sums
        })
        // Blocks are added in their order, whatever thread was first.
        .collect::<Vec<_>>()
        .into_iter()
        .reduce(|mut all, one| {
            all.iter_mut().zip(&one).for_each(|(all, one)| *all += one);
            all
        })
        .unwrap_or_default()
}

/// `Σ A ∇(m/A) / Σ m`, central differences.
fn gradient(memory: &Array2<f64>, first: &Array2<f64>, total: f64) -> (f64, f64) {
    let (n_rows, n_cols) = memory.dim();
    let left = Zip::from(memory).and(first).map_collect(|&memory, &first| {
        if first > 0.0 {
            (memory / first).clamp(0.0, 1.5)
        } else {
            0.0
        }
    });
    let (mut along_row, mut along_col) = (0.0, 0.0);
    for ((row, col), &weight) in first.indexed_iter() {
        let rows = (row.saturating_sub(1), (row + 1).min(n_rows - 1));
        let cols = (col.saturating_sub(1), (col + 1).min(n_cols - 1));
        along_row +=
            weight * (left[[rows.1, col]] - left[[rows.0, col]]) / (rows.1 - rows.0) as f64;
        along_col +=
            weight * (left[[row, cols.1]] - left[[row, cols.0]]) / (cols.1 - cols.0) as f64;
    }
    (along_row / total, along_col / total)
}

/// Mean over three by three positions.
fn smooth(map: &Array2<f64>) -> Array2<f64> {
    let (n_rows, n_cols) = map.dim();
    Array2::from_shape_fn(map.dim(), |(row, col)| {
        let rows = row.saturating_sub(1)..(row + 2).min(n_rows);
        let cols = col.saturating_sub(1)..(col + 2).min(n_cols);
        map.slice(ndarray::s![rows, cols]).mean().unwrap_or(0.0)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exponential_memory_has_its_gradient() {
        let first = Array2::from_elem((12, 16), 2.0);
        let memory =
            Array2::from_shape_fn((12, 16), |(_, col)| libm::exp(-1.0 + 0.02 * col as f64));
        let (along_row, along_col) = gradient(&memory, &first, memory.sum());
        assert!(along_row.abs() < 1e-12);
        assert!((along_col - 0.02).abs() < 1e-3, "{along_col}");
    }
}
