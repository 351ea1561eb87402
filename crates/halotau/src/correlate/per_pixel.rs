//! The time-normalized correlation of each pixel, averaged over pixels.
//!
//! ```text
//! g_p(k) = (n − k) Σ_i x_p(i) x_p(i+k) / ( Σ_{i ≤ n−k} x_p(i) · Σ_{i > k} x_p(i) )
//! ```
//!
//! The symmetric normalization of Schätzel, J. Mod. Opt. 35, 711 (1988), used in electron correlation microscopy. In a
//! record of n scans its expectation is short of the true curve by the covariance of the two window means; fitted
//! with a baseline of 1 it returns times that saturate near a quarter of the record. It must be fitted with the
//! finite-window model.

use ndarray::{ArrayView1, ArrayView2};

/// g of the pixels of a ring, `[time, pixel]`, lags 1 to `n_times − 1`; NaN samples and invalid scans are left out.
pub fn per_pixel_curve(ring: ArrayView2<'_, f64>, valid: &[bool]) -> Vec<f64> {
    sector_curves(ring, &vec![0; ring.ncols()], 1, valid).0
}

/// g of all pixels and without each sector that holds pixels.
pub(super) fn sector_curves(
    ring: ArrayView2<'_, f64>,
    sector: &[usize],
    n_sectors: usize,
    valid: &[bool],
) -> (Vec<f64>, Vec<Vec<f64>>) {
    let n_lags = valid.len().saturating_sub(1);
    let mut sums = vec![vec![0.0; n_lags]; n_sectors];
    let mut n_pixels = vec![vec![0.0; n_lags]; n_sectors];
    for (counts, &sector) in ring.columns().into_iter().zip(sector) {
        for lag in 1..=n_lags {
            if let Some(g) = pixel_at_lag(counts, valid, lag) {
                sums[sector][lag - 1] += g;
                n_pixels[sector][lag - 1] += 1.0;
            }
        }
    }
    let mean = |kept: &dyn Fn(usize) -> bool| -> Vec<f64> {
        (0..n_lags)
            .map(|lag| {
                let total = |of: &[Vec<f64>]| -> f64 {
                    (0..n_sectors)
                        .filter(|&sector| kept(sector))
                        .map(|sector| of[sector][lag])
                        .sum()
                };
                total(&sums) / total(&n_pixels)
            })
            .collect()
    };
    let filled: Vec<usize> = (0..n_sectors)
        .filter(|number| sector.contains(number))
        .collect();
    let without = if filled.len() < 2 {
        Vec::new()
    } else {
        filled
            .iter()
            .map(|&left_out| mean(&|sector| sector != left_out))
            .collect()
    };
    (mean(&|_| true), without)
}

fn pixel_at_lag(counts: ArrayView1<'_, f64>, valid: &[bool], lag: usize) -> Option<f64> {
    let (mut product, mut early, mut late, mut n_pairs) = (0.0, 0.0, 0.0, 0.0);
    for first in 0..valid.len() - lag {
        let (a, b) = (counts[first], counts[first + lag]);
        if valid[first] && valid[first + lag] && !a.is_nan() && !b.is_nan() {
            product += a * b;
            early += a;
            late += b;
            n_pairs += 1.0;
        }
    }
    (early * late > 0.0).then(|| n_pairs * product / (early * late))
}
