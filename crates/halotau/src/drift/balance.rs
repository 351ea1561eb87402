//! Weights of positions that take back what a gradient of the memory does to the peak.

use ndarray::{Array2, ArrayView3, Zip};
use rayon::prelude::*;

use super::network::solve_small;
use super::speckle::LAGS;
use super::spectra::fluctuations;
use crate::conditions::sample::Blocks;
use crate::rank;

/// Share of the early memory that is left at the distance of scans at which memories are compared.
const COMPARED_MEMORY: f64 = 0.5;

/// Weights change by at most this factor, so that no place decides alone.
const MAX_WEIGHT: f64 = 3.0;

/// Square roots of weights, `[row, col]`: `w/contrast` with `Σ w ∇rate = 0` and `w = 1 + α ∂rate/∂row + β ∂rate/∂col`.
///
/// Contrast is the correlation of consecutive patterns of a position, rate the logarithm of what is left of it at the distance of scans
/// at which about half is left on average.
///
/// Where the rate grows across the whole scan no weights take that back. The gradient that is left, rate a step and scan along rows and
/// columns, is given as well: it is a part of the error.
pub(super) fn balance(
    blocks: &Blocks,
    scale: ArrayView3<'_, f64>,
    times: &[usize],
) -> (Array2<f64>, (f64, f64)) {
    let (_, n_rows, n_cols) = scale.dim();
    let even = (Array2::ones((n_rows, n_cols)), (0.0, 0.0));
    let lags: Vec<usize> = LAGS
        .into_iter()
        .take_while(|&lag| 2 * lag < times.len())
        .collect();
    let memories: Vec<Array2<f64>> = blocks
        .values
        .par_iter()
        .map(|values| {
            let images = fluctuations(values, scale, times);
            let mut sums = vec![Array2::<f64>::zeros((n_rows, n_cols)); lags.len()];
            for (sum, &lag) in sums.iter_mut().zip(&lags) {
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
        .unwrap_or_default();
    let Some(first) = memories.first().and_then(|memory| memory.mean()) else {
        return even;
    };
    let left = |memory: &Array2<f64>| memory.mean().map_or(0.0, |mean| mean / first);
    let compared = memories.iter().zip(&lags).min_by(|(a, _), (b, _)| {
        let off = |memory: &Array2<f64>| (left(memory) - COMPARED_MEMORY).abs();
        off(a).total_cmp(&off(b))
    });
    let Some((memory, &lag)) = compared else {
        return even;
    };
    let contrast = &memories[0];
    let usual = rank::median(&contrast.iter().copied().collect::<Vec<_>>());
    if usual <= 0.0 {
        return even;
    }
    // Few speckles make single values wild.
    let contrast = contrast.mapv(|contrast| contrast.clamp(usual / 3.0, 3.0 * usual) / usual);
    let mut rate = memory / usual / &contrast;
    rate.mapv_inplace(|left| -libm::log(left.clamp(0.05, 1.2)));
    let slope = |row: usize, col: usize| -> (f64, f64) {
        let along = |at: usize, n: usize, value: &dyn Fn(usize) -> f64| {
            let (before, after) = (at.saturating_sub(1), (at + 1).min(n - 1));
            (value(after) - value(before)) / (after - before) as f64
        };
        (
            along(row, n_rows, &|row| rate[[row, col]]),
            along(col, n_cols, &|col| rate[[row, col]]),
        )
    };
    let slopes = Array2::from_shape_fn((n_rows, n_cols), |(row, col)| slope(row, col));
    let mut weight = even.0;
    // Clipped weights leave a rest, which further rounds take.
    for _ in 0..5 {
        let (mut sr, mut sc, mut srr, mut src, mut scc) = (0.0, 0.0, 0.0, 0.0, 0.0);
        for (&(row, col), &weight) in slopes.iter().zip(&weight) {
            sr += weight * row;
            sc += weight * col;
            srr += row * row;
            src += row * col;
            scc += col * col;
        }
        let Some([alpha, beta]) = solve_small([[srr, src], [src, scc]], [-sr, -sc]) else {
            break;
        };
        Zip::from(&mut weight)
            .and(&slopes)
            .for_each(|weight, &(row, col)| {
                *weight =
                    (*weight + alpha * row + beta * col).clamp(MAX_WEIGHT.recip(), MAX_WEIGHT);
            });
    }
    let total = weight.sum() * (lag as f64 - 1.0).max(1.0);
    let of = |pick: fn(&(f64, f64)) -> f64| {
        let sum: f64 = slopes
            .iter()
            .zip(&weight)
            .map(|(slope, weight)| weight * pick(slope))
            .sum();
        sum / total
    };
    let lean = (of(|slope| slope.0), of(|slope| slope.1));
    ((weight / contrast).mapv(f64::sqrt), lean)
}
