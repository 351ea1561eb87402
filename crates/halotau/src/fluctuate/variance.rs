//! V of one position, in all its forms, and without each sector.

use std::ops::Range;

use super::moments::TimeSums;
use super::{FluctuateSettings, Grouping, Noise};
use crate::ring::PixelSeries;
use crate::ring::pixel_series::Values;

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

/// Sums over the pixels of one ring, sector and scan. For integer counts all are exact below 2^53.
#[derive(Debug, Clone, Copy, Default)]
struct Moments {
    n: f64,
    sum: f64,
    square: f64,
    /// Sum of counts over coverage: the variance that an electron adds, at unit gain.
    shot: f64,
    /// Of the pixels that the next scan has as well: number, sum here, sum there, product.
    both: [f64; 4],
}

impl Moments {
    /// Where samples are missing; `next` are the counts of the next scan where it is valid.
    fn of_gaps(here: &[f64], next: Option<&[f64]>, noise_share: &[f64]) -> Self {
        let mut sums = Self::default();
        for (pixel, (&count, share)) in here.iter().zip(noise_share).enumerate() {
            if count.is_nan() {
                continue;
            }
            sums.n += 1.0;
            sums.sum += count;
            sums.square += count * count;
            sums.shot += count * share;
            let next = next.map_or(f64::NAN, |next| next[pixel]);
            if !next.is_nan() {
                for (both, value) in sums.both.iter_mut().zip([1.0, count, next, count * next]) {
                    *both += value;
                }
            }
        }
        sums
    }

    fn add(&mut self, other: &Self, sign: f64) {
        self.n += sign * other.n;
        self.sum += sign * other.sum;
        self.square += sign * other.square;
        self.shot += sign * other.shot;
        for (both, other) in self.both.iter_mut().zip(other.both) {
            *both += sign * other;
        }
    }

    fn raw(&self) -> f64 {
        self.square * self.n / (self.sum * self.sum) - 1.0
    }

    fn shot_noise(&self) -> f64 {
        self.shot * self.n / (self.sum * self.sum)
    }

    fn two_frame(&self) -> f64 {
        let [n, here, there, product] = self.both;
        product * n / (here * there) - 1.0
    }

    /// What the variance of these pixels is made of.
    fn parts(&self) -> Parts {
        let shot = self.shot_noise();
        Parts {
            raw: self.raw(),
            shot,
            // What is left of it after the pixels' own mean was taken.
            finite_shot: shot * (1.0 - 1.0 / self.n),
            two_frame: self.two_frame(),
        }
    }
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
    fn add(&mut self, other: &Self, weight: f64) {
        self.raw += weight * other.raw;
        self.shot += weight * other.shot;
        self.finite_shot += weight * other.finite_shot;
        self.two_frame += weight * other.two_frame;
    }

    fn over(&self, weight: f64) -> Self {
        Self {
            raw: self.raw / weight,
            shot: self.shot / weight,
            finite_shot: self.finite_shot / weight,
            two_frame: self.two_frame / weight,
        }
    }

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
    let BandGeometry {
        n_rings, n_sectors, ..
    } = *geometry;
    let cells = cells(band, geometry, valid);
    let rings: Vec<Moments> = cells
        .chunks(n_sectors.max(1))
        .map(|sectors| {
            let mut ring = Moments::default();
            sectors.iter().for_each(|sector| ring.add(sector, 1.0));
            ring
        })
        .collect();
    let sums = Sums {
        cells: &cells,
        rings: &rings,
        n_times: band.n_times(),
        n_rings,
        n_sectors,
    };
    let grouping = settings.grouping;
    let noise = settings.gain * settings.excess_factor;
    let corrected = |parts: &Parts, noise_kind| parts.corrected(noise_kind, noise, is_integer);
    let filled: Vec<usize> = (0..n_sectors)
        .filter(|number| geometry.sector.contains(number))
        .collect();
    let without = if filled.len() < 2 {
        Vec::new()
    } else {
        filled
            .iter()
            .map(|&sector| corrected(&sums.mean(grouping, Some(sector)), settings.noise))
            .collect()
    };
    let per_ring = sums.mean(Grouping::PerRing, None);
    let over_band = sums.mean(Grouping::Band, None);
    let chosen = match grouping {
        Grouping::PerRing => per_ring,
        Grouping::Band => over_band,
    };
    let total = rings
        .iter()
        .fold((0.0, 0.0), |(sum, n), ring| (sum + ring.sum, n + ring.n));
    Fluctuation {
        value: corrected(&chosen, settings.noise),
        without,
        raw_ring: per_ring.raw,
        raw_band: over_band.raw,
        counting: corrected(&chosen, Noise::Counting),
        factorial: corrected(&chosen, Noise::Factorial),
        two_frame: chosen.two_frame,
        mean_counts: total.0 / total.1,
    }
}

/// Sums over the pixels of each cell, `[time, ring, sector]`; zero for scans that are not valid.
fn cells(band: &PixelSeries, geometry: &BandGeometry, valid: &[bool]) -> Vec<Moments> {
    let (n_times, padded) = (band.n_times(), band.padded());
    let n_cells = geometry.n_rings * geometry.n_sectors;
    let mut cells = vec![Moments::default(); n_times * n_cells];
    let share: Vec<f64> = geometry.coverage.iter().map(|share| 1.0 / share).collect();
    let followed = |time: usize| time + 1 < n_times && valid[time + 1];
    let mut sums = TimeSums::new(padded);
    for (cell, pixels) in runs(geometry) {
        if let Values::F64 { has_nan: true, .. } = &band.values {
            let counts = band.array(pixels.clone());
            let scan = |time: usize| counts.row(time).to_vec();
            for time in (0..n_times).filter(|&time| valid[time]) {
                let next = followed(time).then(|| scan(time + 1));
                let part = Moments::of_gaps(&scan(time), next.as_deref(), &share[pixels.clone()]);
                cells[time * n_cells + cell].add(&part, 1.0);
            }
            continue;
        }
        // A cell holds few coverages, mostly the whole one alone.
        let mut first = pixels.start;
        for same in share[pixels].chunk_by(|a, b| a == b) {
            sums.of(band, first..first + same.len());
            first += same.len();
            let n = same.len() as f64;
            for time in (0..n_times).filter(|&time| valid[time]) {
                let (sum, product) = (sums.sum[time], sums.product[time]);
                let part = Moments {
                    n,
                    sum,
                    square: sums.square[time],
                    shot: sum * same[0],
                    both: if followed(time) {
                        [n, sum, sums.sum[time + 1], product]
                    } else {
                        [0.0; 4]
                    },
                };
                cells[time * n_cells + cell].add(&part, 1.0);
            }
        }
    }
    cells
}

/// Consecutive pixels of one cell, each with the number of the cell. Few where the pixels are in order of their cells.
fn runs(geometry: &BandGeometry) -> Vec<(usize, Range<usize>)> {
    let mut runs: Vec<(usize, Range<usize>)> = Vec::new();
    for (pixel, (ring, sector)) in geometry.ring.iter().zip(&geometry.sector).enumerate() {
        let cell = ring * geometry.n_sectors + sector;
        match runs.last_mut() {
            Some((last, pixels)) if *last == cell => pixels.end = pixel + 1,
            _ => runs.push((cell, pixel..pixel + 1)),
        }
    }
    runs
}

struct Sums<'a> {
    /// `[time, ring, sector]`.
    cells: &'a [Moments],
    /// Over all sectors, `[time, ring]`.
    rings: &'a [Moments],
    n_times: usize,
    n_rings: usize,
    n_sectors: usize,
}

impl Sums<'_> {
    /// Means over scans of each ring, weighted with its pixels, or of the whole band.
    fn mean(&self, grouping: Grouping, left_out: Option<usize>) -> Parts {
        let mut sum = Parts::default();
        // A scan without counts or without a next one has no value.
        let (mut n_valid, mut n_followed) = (0_usize, 0_usize);
        for time in 0..self.n_times {
            let rings = (0..self.n_rings).map(|ring| self.ring(time, ring, left_out));
            let at_time = match grouping {
                Grouping::PerRing => {
                    let (mut weighted, mut n) = (Parts::default(), 0.0);
                    for ring in rings.filter(|ring| ring.n > 0.0) {
                        weighted.add(&ring.parts(), ring.n);
                        n += ring.n;
                    }
                    weighted.over(n)
                }
                Grouping::Band => {
                    let mut band = Moments::default();
                    rings.for_each(|ring| band.add(&ring, 1.0));
                    band.parts()
                }
            };
            if at_time.raw.is_finite() {
                sum.raw += at_time.raw;
                sum.shot += at_time.shot;
                sum.finite_shot += at_time.finite_shot;
                n_valid += 1;
            }
            if at_time.two_frame.is_finite() {
                sum.two_frame += at_time.two_frame;
                n_followed += 1;
            }
        }
        let mut mean = sum.over(n_valid as f64);
        mean.two_frame = sum.two_frame / n_followed as f64;
        mean
    }

    fn ring(&self, time: usize, ring: usize, left_out: Option<usize>) -> Moments {
        let at = time * self.n_rings + ring;
        let mut sum = self.rings[at];
        if let Some(sector) = left_out {
            sum.add(&self.cells[at * self.n_sectors + sector], -1.0);
        }
        sum
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
