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
    let mut sums = SectorSums::new(n_sectors, n_lags);
    for (counts, &sector) in ring.columns().into_iter().zip(sector) {
        for lag in 1..=n_lags {
            if let Some(g) = pixel_at_lag(counts, valid, lag) {
                sums.add(sector, lag, g);
            }
        }
    }
    sums.curves(sector)
}

/// Sums of the g of pixels and their numbers, `[sector][lag]`.
pub(super) struct SectorSums {
    sums: Vec<Vec<f64>>,
    n_pixels: Vec<Vec<f64>>,
}

impl SectorSums {
    pub(super) fn new(n_sectors: usize, n_lags: usize) -> Self {
        Self {
            sums: vec![vec![0.0; n_lags]; n_sectors],
            n_pixels: vec![vec![0.0; n_lags]; n_sectors],
        }
    }

    /// Adds a pixel at a lag, from 1.
    pub(super) fn add(&mut self, sector: usize, lag: usize, g: f64) {
        self.sums[sector][lag - 1] += g;
        self.n_pixels[sector][lag - 1] += 1.0;
    }

    /// g of all pixels and without each sector that holds pixels; `sector` is that of each pixel.
    pub(super) fn curves(&self, sector: &[usize]) -> (Vec<f64>, Vec<Vec<f64>>) {
        let filled = (0..self.sums.len()).filter(|number| sector.contains(number));
        let filled: Vec<usize> = filled.collect();
        let without = match filled.len() {
            0 | 1 => Vec::new(),
            _ => filled
                .iter()
                .map(|&number| self.mean(Some(number)))
                .collect(),
        };
        (self.mean(None), without)
    }

    fn mean(&self, left_out: Option<usize>) -> Vec<f64> {
        let n_lags = self.sums.first().map_or(0, Vec::len);
        let total = |of: &[Vec<f64>], lag: usize| -> f64 {
            let kept = of.iter().enumerate();
            let kept = kept.filter(|(sector, _)| Some(*sector) != left_out);
            kept.map(|(_, values)| values[lag]).sum()
        };
        (0..n_lags)
            .map(|lag| total(&self.sums, lag) / total(&self.n_pixels, lag))
            .collect()
    }
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
