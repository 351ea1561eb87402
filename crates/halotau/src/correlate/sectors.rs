//! g(t) of the ring and of the ring without each of its sectors, for the jackknife.
//!
//! Sectors, not times, are left out: speckles in different directions are independent even where tau is as long as the
//! record. Opposite sectors stay together, because a thin sample shows the same speckle at +Q and −Q.

use ndarray::{Array2, ArrayView2, Axis};

use super::{Normalization, PairSums, lag_means, per_pixel};

/// Curves of one position.
#[derive(Debug, Clone)]
pub struct SectorCurves {
    /// g of all pixels, `[lag]`.
    pub g: Vec<f64>,
    /// g without each sector that holds pixels, `[sector][lag]`.
    pub without: Vec<Vec<f64>>,
    /// G of all pixels in the ring's normalization, `[time_1, time_2]`.
    pub two_time: Array2<f64>,
    /// Scans that entered: valid, and with counts in the ring.
    pub valid: Vec<bool>,
    /// Mean counts a pixel in each scan, `[time]`.
    pub ring_mean: Vec<f64>,
}

/// Correlates one position, `[time, pixel]`, with each pixel's sector (below `n_sectors`) and the valid scans.
///
/// Scans without counts are left out (their `valid` becomes false).
pub fn sector_curves(
    ring: ArrayView2<'_, f64>,
    sector: &[usize],
    n_sectors: usize,
    valid: &[bool],
    normalization: Normalization,
) -> SectorCurves {
    let parts: Vec<PairSums> = (0..n_sectors)
        .filter_map(|number| {
            let pixels: Vec<usize> = (0..sector.len())
                .filter(|&pixel| sector[pixel] == number)
                .collect();
            (!pixels.is_empty()).then(|| PairSums::of(ring.select(Axis(1), &pixels).view()))
        })
        .collect();
    let whole = match parts.split_first() {
        Some((first, rest)) => rest.iter().fold(first.clone(), |sum, part| sum.plus(part)),
        None => PairSums::of(ring),
    };
    let ring_mean: Vec<f64> = (0..ring.nrows()).map(|time| whole.mean_at(time)).collect();
    let valid: Vec<bool> = valid
        .iter()
        .zip(&ring_mean)
        .map(|(&valid, &mean)| valid && mean > 0.0)
        .collect();
    let two_time = whole.two_time();
    let (g, without) = if normalization == Normalization::PerPixel {
        per_pixel::sector_curves(ring, sector, n_sectors, &valid)
    } else {
        let without = if parts.len() < 2 {
            Vec::new()
        } else {
            parts
                .iter()
                .map(|part| {
                    let rest = whole.minus(part);
                    lag_means(&valid, |first, second| rest.at(first, second))
                })
                .collect()
        };
        (
            lag_means(&valid, |first, second| two_time[[first, second]]),
            without,
        )
    };
    SectorCurves {
        g,
        without,
        two_time,
        valid,
        ring_mean,
    }
}
