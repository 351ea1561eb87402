//! g(t) of the ring and of the ring without each of its sectors, for the jackknife.
//!
//! Sectors, not times, are left out: speckles in different directions are independent even where tau is as long as the
//! record. Opposite sectors stay together, because a thin sample shows the same speckle at +Q and −Q.

use ndarray::Array2;

use super::{Normalization, PairSums, per_pixel};
use crate::ring::PixelSeries;

/// Curves of one position.
#[derive(Debug, Clone)]
pub struct SectorCurves {
    /// g of all pixels, `[lag]`.
    pub g: Vec<f64>,
    /// g without each sector that holds pixels, `[sector][lag]`.
    pub without: Vec<Vec<f64>>,
    /// G of all pixels in the ring's normalization, `[time_1, time_2]`, where it was computed.
    pub two_time: Option<Array2<f64>>,
    /// Scans that entered: valid, and with counts in the ring.
    pub valid: Vec<bool>,
    /// Mean counts a pixel in each scan, `[time]`.
    pub ring_mean: Vec<f64>,
}

/// Correlates one position with each pixel's sector (below `n_sectors`) and the valid scans.
///
/// Fastest where the pixels of a sector follow one another. Scans without counts are left out (their `valid` becomes false).
pub fn sector_curves(
    series: &PixelSeries,
    sector: &[usize],
    n_sectors: usize,
    valid: &[bool],
    normalization: Normalization,
) -> SectorCurves {
    let mut by_sector: Vec<Option<PairSums>> = vec![None; n_sectors];
    let mut first = 0;
    for run in sector.chunk_by(|a, b| a == b) {
        let sums = PairSums::of_pixels(series, first..first + run.len());
        match &mut by_sector[run[0]] {
            Some(earlier) => earlier.add(&sums),
            none => *none = Some(sums),
        }
        first += run.len();
    }
    let parts: Vec<PairSums> = by_sector.into_iter().flatten().collect();
    let whole = match parts.split_first() {
        Some((first, rest)) => {
            let mut whole = first.clone();
            rest.iter().for_each(|part| whole.add(part));
            whole
        }
        None => PairSums::of(series),
    };
    let ring_mean: Vec<f64> = (0..series.n_times())
        .map(|time| whole.mean_at(time))
        .collect();
    let valid: Vec<bool> = valid
        .iter()
        .zip(&ring_mean)
        .map(|(&valid, &mean)| valid && mean > 0.0)
        .collect();
    let two_time = whole.two_time();
    let (g, without) = if normalization == Normalization::PerPixel {
        per_pixel::sector_curves(
            series.array(0..series.n_pixels()).view(),
            sector,
            n_sectors,
            &valid,
        )
    } else {
        let without = if parts.len() < 2 {
            Vec::new()
        } else {
            parts
                .iter()
                .map(|part| whole.one_time_without(part, &valid))
                .collect()
        };
        (whole.one_time(&valid), without)
    };
    SectorCurves {
        g,
        without,
        two_time: Some(two_time),
        valid,
        ring_mean,
    }
}
