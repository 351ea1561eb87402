//! g and V of a position and of parts of its pixels that share no speckle.
//!
//! Counts are gathered once. Pixels are in an order in which those of the same sector and parts follow one another: their sums are made
//! once and belong to the whole and to each of their parts.

use std::borrow::Cow;

use super::curves::PartCurves;
use super::geometry::{self, Geometry, N_PARTS};
use super::position::{PositionTask, Sums, valid_times};
use crate::correlate::{
    DistantPairs, Normalization, RingParts, SectorCurves, curves_of_parts, sector_curves,
};
use crate::dynamics::HalfRecord;
use crate::fluctuate::{BandParts, Fluctuation, fluctuation_of_parts};
use crate::ring::{MIN_RING_PIXELS, PixelSeries, RingSeries};
use crate::series::Position;

/// tau and V from some of the directions.
#[derive(Debug, Clone, Copy)]
pub(super) struct HalfValues {
    pub(super) tau_s: f64,
    pub(super) fluctuation: f64,
}

impl Default for HalfValues {
    fn default() -> Self {
        Self {
            tau_s: f64::NAN,
            fluctuation: f64::NAN,
        }
    }
}

impl PositionTask<'_> {
    /// g of the ring and without each sector, and of each part that holds enough pixels; `counts` are those of the geometry's pixels. The mean
    /// of each pixel of the ring as well, where that is wanted.
    pub(super) fn curves(
        &self,
        counts: &PixelSeries,
        valid: &[bool],
        geometry: &Geometry,
    ) -> (
        SectorCurves,
        [Option<SectorCurves>; N_PARTS],
        Option<Vec<f64>>,
    ) {
        let n_sectors = self.recipe.interval.sectors.max(1);
        let normalization = self.recipe.dynamics.normalization;
        let ring_len = geometry.ring.len();
        let annulus = &self.reduction.annulus;
        let factors = geometry::factors(&geometry.ring, annulus, self.flatten);
        let is_enough = |part: usize| {
            let smallest = geometry.n_of_parts[part].into_iter().min();
            smallest >= Some(MIN_RING_PIXELS)
        };
        if self.is_summed_set_by_set() {
            let factors = factors.unwrap_or_else(|| vec![1.0; ring_len]);
            let ring = counts.scaled(factors.into_iter().enumerate());
            let whole = self.curves_of(&ring, &geometry.ring_sector, n_sectors, valid);
            let parts = std::array::from_fn(|part| {
                let own: Vec<usize> = (0..ring_len)
                    .filter(|&pixel| geometry.ring_parts[pixel] >> part & 1 == 1)
                    .collect();
                let sector = vec![0; own.len()];
                let own = || ring.scaled(own.iter().map(|&pixel| (pixel, 1.0)));
                is_enough(part).then(|| self.curves_of(&own(), &sector, 1, valid))
            });
            let means = self.ring_means(&ring, valid, geometry);
            return (whole, parts, means);
        }
        let ring = match factors {
            Some(factors) => Cow::Owned(counts.scaled(factors.into_iter().enumerate())),
            None => Cow::Borrowed(counts),
        };
        let parts = RingParts {
            of: &geometry.ring_parts,
            n_parts: N_PARTS,
            keep_matrices: self.classes.is_some(),
        };
        let sector = &geometry.ring_sector;
        let (whole, parts) = match &self.sums {
            Sums::MultiTau(few) => few.curves_of_parts(&ring, sector, n_sectors, parts, valid),
            _ => curves_of_parts(&ring, sector, n_sectors, parts, valid, normalization),
        };
        let mut parts = parts.into_iter();
        let parts = std::array::from_fn(|part| parts.next().filter(|_| is_enough(part)));
        let means = self.ring_means(&ring, valid, geometry);
        (whole, parts, means)
    }

    fn ring_means(
        &self,
        ring: &PixelSeries,
        valid: &[bool],
        geometry: &Geometry,
    ) -> Option<Vec<f64>> {
        let n_pixels = geometry.ring.len();
        self.wants_means
            .then(|| DistantPairs::series_mean(ring, n_pixels, valid))
    }

    /// Whether what is summed over pixels of one part of the ring is of no use for another.
    fn is_summed_set_by_set(&self) -> bool {
        matches!(self.sums, Sums::Fourier(_))
            || self.recipe.dynamics.normalization == Normalization::PerPixel
    }

    fn curves_of(
        &self,
        series: &PixelSeries,
        sectors: &[usize],
        n_sectors: usize,
        valid: &[bool],
    ) -> SectorCurves {
        let normalization = self.recipe.dynamics.normalization;
        let fourier = match &self.sums {
            Sums::Fourier(fourier) => {
                fourier.sector_curves(series, sectors, n_sectors, valid, normalization)
            }
            _ => None,
        };
        fourier.unwrap_or_else(|| sector_curves(series, sectors, n_sectors, valid, normalization))
    }

    /// V of the band, and of each of its parts.
    pub(super) fn fluctuation(
        &self,
        counts: &PixelSeries,
        valid: &[bool],
        geometry: &Geometry,
        is_integer: bool,
    ) -> (Fluctuation, Vec<f64>) {
        let band = &geometry.band;
        let n_pixels = geometry.pixels.len();
        let first = n_pixels - band.pixels.len();
        let factors = geometry::factors(&band.pixels, &self.reduction.annulus, None);
        let (series, first) = match factors {
            Some(factors) => {
                let of_band = factors.into_iter().enumerate();
                let scaled = counts.scaled(of_band.map(|(at, factor)| (first + at, factor)));
                (Cow::Owned(scaled), 0)
            }
            None => (Cow::Borrowed(counts), first),
        };
        let parts = BandParts {
            first,
            of: &geometry.band_parts,
            n_parts: N_PARTS,
        };
        let settings = &self.recipe.structure;
        fluctuation_of_parts(&series, band, parts, valid, is_integer, settings)
    }

    /// g and V of each part, none where it holds too few pixels; and what the tests of the dynamics keep of the halves of the directions.
    pub(super) fn parts(
        &self,
        curves: [Option<SectorCurves>; N_PARTS],
        fluctuations: &[f64],
    ) -> ([Option<PartCurves>; N_PARTS], Option<[HalfRecord; 2]>) {
        let record = |part: usize| {
            let (classes, baseline) = self.classes.as_ref()?;
            let curves = curves[part].as_ref()?;
            let two_time = curves.two_time.as_ref()?.view();
            let valid = &curves.valid;
            Some(HalfRecord::new(
                classes,
                two_time,
                valid,
                *baseline,
                f64::NAN,
            ))
        };
        let records = record(0).zip(record(1)).map(|(one, other)| [one, other]);
        let mut fluctuations = fluctuations.iter().copied();
        let parts = curves.map(|curves| {
            let fluctuation = fluctuations.next().unwrap_or(f64::NAN);
            curves.map(|curves| PartCurves {
                g: curves.g,
                valid: curves.valid,
                fluctuation,
            })
        });
        (parts, records)
    }

    /// g of some pixels of a position after division by a mean pattern, and their mean over pixels and scans.
    pub(super) fn curve_of(
        &self,
        rings: &RingSeries,
        at: Position,
        pixels: &[usize],
        flatten: &[f64],
    ) -> (Vec<f64>, f64) {
        let factors = geometry::factors(pixels, &self.reduction.annulus, Some(flatten));
        let series = PixelSeries::gather(rings, (at.row, at.col), pixels, factors.as_deref());
        let valid = valid_times(rings, at, self.measured);
        let one_sector = vec![0; pixels.len()];
        let curves = sector_curves(&series, &one_sector, 1, &valid, Normalization::Flattened);
        let means = || {
            let means = curves.ring_mean.iter().zip(&curves.valid);
            means.filter(|(_, valid)| **valid).map(|(mean, _)| *mean)
        };
        let mean = means().sum::<f64>() / means().count() as f64;
        (curves.g, mean)
    }
}
