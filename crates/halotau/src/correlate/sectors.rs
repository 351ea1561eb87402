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
    curves_of_parts(
        series,
        sector,
        n_sectors,
        RingParts::NONE,
        valid,
        normalization,
    )
    .0
}

/// Parts of the ring whose g is wanted as well.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RingParts<'a> {
    /// The parts of each pixel of the ring, a bit each.
    pub(crate) of: &'a [u8],
    /// Number of parts.
    pub(crate) n_parts: usize,
    /// Whether G of the parts is kept.
    pub(crate) keep_matrices: bool,
}

impl RingParts<'_> {
    const NONE: Self = Self {
        of: &[],
        n_parts: 0,
        keep_matrices: false,
    };
}

/// As [`sector_curves`] of the first pixels of a series, as many as `sector` names, with the curves of some parts of the ring, in the
/// ring's normalization and without those of their sectors.
///
/// Fastest where pixels of the same sector and parts follow one another: their products are made once.
pub(crate) fn curves_of_parts(
    series: &PixelSeries,
    sector: &[usize],
    n_sectors: usize,
    parts: RingParts<'_>,
    valid: &[bool],
    normalization: Normalization,
) -> (SectorCurves, Vec<SectorCurves>) {
    let mut by_sector: Vec<Option<PairSums>> = vec![None; n_sectors];
    let mut by_part: Vec<Option<PairSums>> = vec![None; parts.n_parts];
    let part_of = |pixel: usize| parts.of.get(pixel).copied().unwrap_or(0);
    let key = |pixel: usize| (sector[pixel], part_of(pixel));
    let mut first = 0;
    while first < sector.len() {
        let same = (first..sector.len()).take_while(|&pixel| key(pixel) == key(first));
        let end = first + same.count();
        let sums = PairSums::of_pixels(series, first..end);
        for (part, of_part) in by_part.iter_mut().enumerate() {
            if part_of(first) >> part & 1 == 1 {
                match of_part {
                    Some(earlier) => earlier.add(&sums),
                    none => *none = Some(sums.clone()),
                }
            }
        }
        match &mut by_sector[sector[first]] {
            Some(earlier) => earlier.add(&sums),
            none => *none = Some(sums),
        }
        first = end;
    }
    let of_parts = by_part.into_iter().map(|sums| {
        let sums = sums.unwrap_or_else(|| PairSums::of_pixels(series, 0..0));
        let (ring_mean, valid) = with_counts(&sums, valid);
        SectorCurves {
            g: sums.one_time(&valid),
            without: Vec::new(),
            two_time: parts.keep_matrices.then(|| sums.two_time()),
            valid,
            ring_mean,
        }
    });
    let of_parts = of_parts.collect();
    let by_sector: Vec<PairSums> = by_sector.into_iter().flatten().collect();
    let whole = match by_sector.split_first() {
        Some((first, rest)) => {
            let mut whole = first.clone();
            rest.iter().for_each(|part| whole.add(part));
            whole
        }
        None => PairSums::of_pixels(series, 0..sector.len()),
    };
    let (ring_mean, valid) = with_counts(&whole, valid);
    let two_time = whole.two_time();
    let (g, without) = if normalization == Normalization::PerPixel {
        per_pixel::sector_curves(
            series.array(0..sector.len()).view(),
            sector,
            n_sectors,
            &valid,
        )
    } else {
        let without = if by_sector.len() < 2 {
            Vec::new()
        } else {
            by_sector
                .iter()
                .map(|part| whole.one_time_without(part, &valid))
                .collect()
        };
        (whole.one_time(&valid), without)
    };
    let whole = SectorCurves {
        g,
        without,
        two_time: Some(two_time),
        valid,
        ring_mean,
    };
    (whole, of_parts)
}

/// The mean counts of each scan, and the valid scans that hold any.
fn with_counts(sums: &PairSums, valid: &[bool]) -> (Vec<f64>, Vec<bool>) {
    let ring_mean: Vec<f64> = (0..valid.len()).map(|time| sums.mean_at(time)).collect();
    let there = |(&valid, &mean): (&bool, &f64)| valid && mean > 0.0;
    let valid = valid.iter().zip(&ring_mean).map(there).collect();
    (ring_mean, valid)
}
