//! g(t) of the ring and of the ring without each of its sectors, for the jackknife.
//!
//! Sectors, not times, are left out: speckles in different directions are independent even where tau is as long as the
//! record. Opposite sectors stay together, because a thin sample shows the same speckle at +Q and −Q.

use std::ops::Range;
use std::rc::Rc;

use ndarray::Array2;

use super::{Normalization, PairSums, one_time, per_pixel};
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
    pub(super) const NONE: Self = Self {
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
    let sums = |pixels| PairSums::of_pixels(series, pixels);
    let (mut whole, of_parts) = of_sectors(sector, n_sectors, parts, valid, &sums);
    if normalization == Normalization::PerPixel {
        (whole.g, whole.without) = per_pixel::sector_curves(
            series.array(0..sector.len()).view(),
            sector,
            n_sectors,
            &whole.valid,
        );
    }
    (whole, of_parts)
}

/// Sums over pixels that give g in the ring's normalization, additive over pixels.
pub(super) trait RingSums: Clone {
    /// Adds the sums over other pixels.
    fn add(&mut self, other: &Self);

    /// Mean over pixels of one scan.
    fn mean_at(&self, time: usize) -> f64;

    /// g from the valid scans, `[lag]`.
    fn one_time(&self, valid: &[bool]) -> Vec<f64>;

    /// As [`Self::one_time`] of this set without a part of it.
    fn one_time_without(&self, part: &Self, valid: &[bool]) -> Vec<f64>;

    /// G, where g is computed from it.
    fn two_time(&self) -> Option<Array2<f64>>;
}

/// As [`curves_of_parts`], from what `of_pixels` sums over a run of pixels.
pub(super) fn of_sectors<S: RingSums>(
    sector: &[usize],
    n_sectors: usize,
    parts: RingParts<'_>,
    valid: &[bool],
    of_pixels: &dyn Fn(Range<usize>) -> S,
) -> (SectorCurves, Vec<SectorCurves>) {
    // The same sums may belong to several of them, until others are added.
    let mut by_sector: Vec<Option<Rc<S>>> = vec![None; n_sectors];
    let mut by_part: Vec<Option<Rc<S>>> = vec![None; parts.n_parts];
    let add = |to: &mut Option<Rc<S>>, sums: &Rc<S>| match to {
        Some(earlier) => Rc::make_mut(earlier).add(sums),
        none => *none = Some(Rc::clone(sums)),
    };
    let part_of = |pixel: usize| parts.of.get(pixel).copied().unwrap_or(0);
    let is_in = |pixel: usize, part: usize| part_of(pixel) >> part & 1 == 1;
    // A part that holds all pixels is the whole.
    let is_whole = |part: usize| (0..sector.len()).all(|pixel| is_in(pixel, part));
    let own_parts: Vec<usize> = (0..parts.n_parts).filter(|&part| !is_whole(part)).collect();
    let key = |pixel: usize| (sector[pixel], part_of(pixel));
    let mut first = 0;
    while first < sector.len() {
        let same = (first..sector.len()).take_while(|&pixel| key(pixel) == key(first));
        let end = first + same.count();
        let sums = Rc::new(of_pixels(first..end));
        for &part in own_parts.iter().filter(|&&part| is_in(first, part)) {
            add(&mut by_part[part], &sums);
        }
        add(&mut by_sector[sector[first]], &sums);
        first = end;
    }
    let by_sector: Vec<Rc<S>> = by_sector.into_iter().flatten().collect();
    let mut whole = None;
    by_sector.iter().for_each(|sums| add(&mut whole, sums));
    let none = || Rc::new(of_pixels(0..0));
    let whole = whole.unwrap_or_else(none);
    let (ring_mean, whole_valid) = with_counts(&*whole, valid);
    let two_time = whole.two_time();
    let g = match &two_time {
        Some(two_time) => one_time(two_time.view(), &whole_valid),
        None => whole.one_time(&whole_valid),
    };
    let of_parts = by_part.into_iter().enumerate().map(|(part, sums)| {
        if is_whole(part) {
            return SectorCurves {
                g: g.clone(),
                without: Vec::new(),
                two_time: two_time.clone().filter(|_| parts.keep_matrices),
                valid: whole_valid.clone(),
                ring_mean: ring_mean.clone(),
            };
        }
        let sums = sums.unwrap_or_else(none);
        let (ring_mean, valid) = with_counts(&*sums, valid);
        SectorCurves {
            g: sums.one_time(&valid),
            without: Vec::new(),
            two_time: parts.keep_matrices.then(|| sums.two_time()).flatten(),
            valid,
            ring_mean,
        }
    });
    let of_parts = of_parts.collect();
    let valid = whole_valid;
    let without = if by_sector.len() < 2 {
        Vec::new()
    } else {
        let without = by_sector.iter();
        without
            .map(|part| whole.one_time_without(part, &valid))
            .collect()
    };
    let whole = SectorCurves {
        g,
        without,
        two_time,
        valid,
        ring_mean,
    };
    (whole, of_parts)
}

/// The mean counts of each scan, and the valid scans that hold any.
fn with_counts(sums: &impl RingSums, valid: &[bool]) -> (Vec<f64>, Vec<bool>) {
    let ring_mean: Vec<f64> = (0..valid.len()).map(|time| sums.mean_at(time)).collect();
    let there = |(&valid, &mean): (&bool, &f64)| valid && mean > 0.0;
    let valid = valid.iter().zip(&ring_mean).map(there).collect();
    (ring_mean, valid)
}
