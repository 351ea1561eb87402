//! V of one position, in all its forms, and without each sector.

use ndarray::Array2;

use super::groups::{BOTH, Groups, Layout, N, PARTS, PRODUCT, SHOT, SQUARE, SUM, add_parts};
use super::moments::TimeSums;
use super::{FluctuateSettings, Grouping, Noise};
use crate::ring::PixelSeries;
use crate::ring::pixel_series::{TIME_PAD, Values};
use crate::simd::Isa;

/// Where each pixel of the band belongs.
#[derive(Debug, Clone)]
pub struct BandGeometry {
    /// Index into the annulus of each band pixel.
    pub pixels: Vec<usize>,
    /// Ring of one binned pixel width, from the lower edge of the band.
    pub ring: Vec<usize>,
    /// Folded azimuthal sector.
    pub sector: Vec<usize>,
    /// Share of the native pixels that a binned pixel holds; counts are divided by it.
    pub coverage: Vec<f64>,
    /// Number of rings.
    pub n_rings: usize,
    /// Number of sectors.
    pub n_sectors: usize,
}

/// V of one position.
#[derive(Debug, Clone, PartialEq)]
pub struct Fluctuation {
    /// In the grouping and with the correction of the settings.
    pub value: f64,
    /// The same without each sector that holds pixels.
    pub without: Vec<f64>,
    /// Raw, per ring.
    pub raw_ring: f64,
    /// Raw, over the band at once.
    pub raw_band: f64,
    /// Counting-corrected, in the grouping of the settings.
    pub counting: f64,
    /// Factorial, in the grouping of the settings; NaN unless the counts are integers.
    pub factorial: f64,
    /// From consecutive scans, in the grouping of the settings.
    pub two_frame: f64,
    /// Mean counts a pixel of the band.
    pub mean_counts: f64,
}

/// What V is made of; all are linear in each other, so that their means give the mean of every variant.
#[derive(Debug, Clone, Copy, Default)]
struct Parts {
    raw: f64,
    shot: f64,
    finite_shot: f64,
    two_frame: f64,
}

impl Parts {
    /// V with a correction; `noise` is the variance that an electron adds.
    fn corrected(&self, correction: Noise, noise: f64, is_integer: bool) -> f64 {
        match correction {
            Noise::None => self.raw,
            Noise::Counting => self.raw - noise * self.shot,
            Noise::FiniteCounting => self.raw - noise * self.finite_shot,
            Noise::Factorial if is_integer => self.raw - self.shot,
            Noise::Factorial => f64::NAN,
            Noise::TwoFrame => self.two_frame,
        }
    }
}

/// The normalized azimuthal variance of one position, eq. (5).
///
/// `band` holds the pixels of `geometry` in their order, counts divided by the coverage; NaN samples and invalid scans are left
/// out.
pub fn fluctuation(
    band: &PixelSeries,
    geometry: &BandGeometry,
    valid: &[bool],
    is_integer: bool,
    settings: &FluctuateSettings,
) -> Fluctuation {
    let parts = BandParts {
        first: 0,
        of: &[],
        n_parts: 0,
    };
    fluctuation_of_parts(band, geometry, parts, valid, is_integer, settings).0
}

/// Parts of the band whose V is wanted as well.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BandParts<'a> {
    /// The pixel of the series that is the first of the band.
    pub(crate) first: usize,
    /// The parts of each pixel of the band, a bit each.
    pub(crate) of: &'a [u8],
    /// Number of parts.
    pub(crate) n_parts: usize,
}

/// As [`fluctuation`], with V of some parts of the band. Fastest where pixels of the same ring, sector and parts follow one another.
pub(crate) fn fluctuation_of_parts(
    series: &PixelSeries,
    geometry: &BandGeometry,
    parts: BandParts<'_>,
    valid: &[bool],
    is_integer: bool,
    settings: &FluctuateSettings,
) -> (Fluctuation, Vec<f64>) {
    let BandGeometry {
        n_rings, n_sectors, ..
    } = *geometry;
    let filled: Vec<usize> = (0..n_sectors)
        .filter(|number| geometry.sector.contains(number))
        .collect();
    let sums = Sums::of(series, geometry, parts, valid, filled.len() > 1);
    let grouping = settings.grouping;
    let noise = settings.gain * settings.excess_factor;
    let corrected = |parts: &Parts, noise_kind| parts.corrected(noise_kind, noise, is_integer);
    let value = |rings: &Groups| corrected(&sums.mean(grouping, rings.iter()), settings.noise);
    let mut without = Vec::new();
    if filled.len() > 1 {
        let mut others = Groups::new(n_rings, sums.layout);
        for sector in filled {
            others.clear();
            for ring in 0..n_rings {
                others.add(ring, sums.rings.sums(ring), 1.0);
                others.add(ring, sums.cells.sums(ring * n_sectors + sector), -1.0);
            }
            without.push(value(&others));
        }
    }
    let per_ring = sums.mean(Grouping::PerRing, sums.rings.iter());
    let over_band = sums.mean(Grouping::Band, sums.rings.iter());
    let chosen = match grouping {
        Grouping::PerRing => per_ring,
        Grouping::Band => over_band,
    };
    let (mut total, mut n) = (0.0, 0.0);
    for ring in sums.rings.iter() {
        let stride = sums.layout.stride;
        for (time, _) in valid.iter().enumerate().filter(|(_, valid)| **valid) {
            total += ring[SUM * stride + time];
            n += ring[N * stride + time];
        }
    }
    let whole = Fluctuation {
        value: corrected(&chosen, settings.noise),
        without,
        raw_ring: per_ring.raw,
        raw_band: over_band.raw,
        counting: corrected(&chosen, Noise::Counting),
        factorial: corrected(&chosen, Noise::Factorial),
        two_frame: chosen.two_frame,
        mean_counts: total / n,
    };
    (whole, sums.parts.iter().map(value).collect())
}

/// The sums of one position.
struct Sums<'a> {
    layout: Layout,
    valid: &'a [bool],
    /// `[ring, sector]`; empty where no sector is left out.
    cells: Groups,
    /// Over all sectors, `[ring]`.
    rings: Groups,
    /// Of each part, `[ring]`.
    parts: Vec<Groups>,
}

impl<'a> Sums<'a> {
    fn of(
        series: &PixelSeries,
        geometry: &BandGeometry,
        parts: BandParts<'_>,
        valid: &'a [bool],
        by_sector: bool,
    ) -> Self {
        let BandGeometry {
            n_rings, n_sectors, ..
        } = *geometry;
        let layout = Layout {
            stride: series.padded() + TIME_PAD,
            has_gaps: matches!(series.values, Values::F64 { has_nan: true, .. }),
        };
        let mut sums = Self {
            layout,
            valid,
            cells: Groups::new(if by_sector { n_rings * n_sectors } else { 0 }, layout),
            rings: Groups::new(n_rings, layout),
            parts: (0..parts.n_parts)
                .map(|_| Groups::new(n_rings, layout))
                .collect(),
        };
        let (ring, sector, coverage) = (&geometry.ring, &geometry.sector, &geometry.coverage);
        let part_of = |pixel: usize| parts.of.get(pixel).copied().unwrap_or(0);
        let key = |pixel: usize| (ring[pixel], sector[pixel], part_of(pixel), coverage[pixel]);
        let mut own = vec![0.0; layout.len()];
        let mut of_times = TimeSums::new(series.padded());
        let mut first = 0;
        while first < ring.len() {
            let same = (first..ring.len()).take_while(|&pixel| key(pixel) == key(first));
            let pixels = first..first + same.count();
            let in_series = parts.first + pixels.start..parts.first + pixels.end;
            let share = 1.0 / coverage[first];
            if layout.has_gaps {
                add_up_gaps(&series.array(in_series), share, layout, valid, &mut own);
            } else {
                of_times.of(series, in_series);
                add_up(&of_times, pixels.len(), share, layout, &mut own);
            }
            sums.rings.add(ring[first], &own, 1.0);
            if by_sector {
                let cell = ring[first] * n_sectors + sector[first];
                sums.cells.add(cell, &own, 1.0);
            }
            for (number, part) in sums.parts.iter_mut().enumerate() {
                if part_of(first) >> number & 1 == 1 {
                    part.add(ring[first], &own, 1.0);
                }
            }
            first = pixels.end;
        }
        sums
    }

    /// Means over scans of each ring, weighted with its pixels, or of the whole band.
    fn mean<'b>(&self, grouping: Grouping, rings: impl Iterator<Item = &'b [f64]>) -> Parts {
        let stride = self.layout.stride;
        let mut parts = vec![0.0; PARTS * stride];
        match grouping {
            Grouping::PerRing => {
                rings.for_each(|ring| add_parts(Isa::best(), ring, self.layout, &mut parts));
            }
            Grouping::Band => {
                let mut band = Groups::new(1, self.layout);
                rings.for_each(|ring| band.add(0, ring, 1.0));
                add_parts(Isa::best(), band.sums(0), self.layout, &mut parts);
            }
        }
        let at = |part: usize, time: usize| {
            parts[part * stride + time] / parts[(PARTS - 1) * stride + time]
        };
        let mut sum = Parts::default();
        // A scan without counts or without a next one has no value.
        let (mut n_valid, mut n_followed) = (0_usize, 0_usize);
        let n_times = self.valid.len();
        for time in (0..n_times).filter(|&time| self.valid[time]) {
            let raw = at(0, time);
            if raw.is_finite() {
                sum.raw += raw;
                sum.shot += at(1, time);
                sum.finite_shot += at(2, time);
                n_valid += 1;
            }
            let two_frame = at(3, time);
            if time + 1 < n_times && self.valid[time + 1] && two_frame.is_finite() {
                sum.two_frame += two_frame;
                n_followed += 1;
            }
        }
        Parts {
            raw: sum.raw / n_valid as f64,
            shot: sum.shot / n_valid as f64,
            finite_shot: sum.finite_shot / n_valid as f64,
            two_frame: sum.two_frame / n_followed as f64,
        }
    }
}

/// The rows of some pixels that lack no sample.
fn add_up(of_times: &TimeSums, n_pixels: usize, share: f64, layout: Layout, rows: &mut [f64]) {
    let len = of_times.sum.len();
    let stride = layout.stride;
    rows[N * stride..][..len].fill(n_pixels as f64);
    for (row, sums) in [
        (SUM, &of_times.sum),
        (SQUARE, &of_times.square),
        (PRODUCT, &of_times.product),
    ] {
        rows[row * stride..][..len].copy_from_slice(sums);
    }
    let shot = &mut rows[SHOT * stride..][..len];
    for (shot, sum) in shot.iter_mut().zip(&of_times.sum) {
        *shot = sum * share;
    }
}

/// The rows of some pixels of which samples are missing, `[time, pixel]`.
fn add_up_gaps(counts: &Array2<f64>, share: f64, layout: Layout, valid: &[bool], rows: &mut [f64]) {
    rows.fill(0.0);
    for time in (0..valid.len()).filter(|&time| valid[time]) {
        let mut add = |row: usize, value: f64| rows[row * layout.stride + time] += value;
        let next = (time + 1 < valid.len() && valid[time + 1]).then(|| counts.row(time + 1));
        for (pixel, &count) in counts.row(time).iter().enumerate() {
            if count.is_nan() {
                continue;
            }
            add(N, 1.0);
            add(SUM, count);
            add(SQUARE, count * count);
            add(SHOT, count * share);
            let later = next.map_or(f64::NAN, |next| next[pixel]);
            if !later.is_nan() {
                let [n, here, there] = BOTH;
                add(n, 1.0);
                add(here, count);
                add(there, later);
                add(PRODUCT, count * later);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::{Array2, array};

    fn geometry(ring: Vec<usize>) -> BandGeometry {
        let n_rings = ring.iter().max().map_or(0, |&last| last + 1);
        let n = ring.len();
        BandGeometry {
            pixels: (0..n).collect(),
            ring,
            sector: (0..n).map(|pixel| pixel % 2).collect(),
            coverage: vec![1.0; n],
            n_rings,
            n_sectors: 2,
        }
    }

    #[test]
    fn two_rings_by_hand() {
        // Ring 0: 1, 3 (V = 5/4 − 1); ring 1: 4, 4, 4, 8 (⟨I²⟩ = 28, ⟨I⟩² = 25).
        let band = array![[1.0, 3.0, 4.0, 4.0, 4.0, 8.0]];
        let geometry = geometry(vec![0, 0, 1, 1, 1, 1]);
        let result = fluctuation(
            &PixelSeries::of(band.view()),
            &geometry,
            &[true],
            true,
            &FluctuateSettings::default(),
        );
        let raw = (2.0 * 0.25 + 4.0 * (28.0 / 25.0 - 1.0)) / 6.0;
        assert!((result.raw_ring - raw).abs() < 1e-15);
        let shot = (2.0 * 0.5 + 4.0 * 0.2) / 6.0;
        assert!((result.counting - (raw - shot)).abs() < 1e-15);
        // The default takes 1 − 1/P of each ring's shot noise.
        let finite = (2.0 * 0.5 * 0.5 + 4.0 * 0.2 * 0.75) / 6.0;
        assert!((result.value - (raw - finite)).abs() < 1e-15);
        assert!((result.factorial - result.counting).abs() < 1e-15);
        let band_raw = (122.0 / 6.0) / 16.0 - 1.0;
        assert!((result.raw_band - band_raw).abs() < 1e-15);
        assert!(result.two_frame.is_nan());
        assert_eq!(result.mean_counts, 4.0);
    }

    #[test]
    fn a_uniform_ring_has_no_variance() {
        let band = Array2::from_elem((3, 4), 7.0);
        let settings = FluctuateSettings {
            noise: Noise::None,
            ..FluctuateSettings::default()
        };
        let result = fluctuation(
            &PixelSeries::of(band.view()),
            &geometry(vec![0; 4]),
            &[true; 3],
            true,
            &settings,
        );
        assert_eq!(
            (result.value, result.raw_band, result.two_frame),
            (0.0, 0.0, 0.0)
        );
        assert_eq!(result.without, vec![0.0, 0.0]);
    }
}
