//! g(t) of long series without the matrix of all pairs of scans.
//!
//! The ring's normalization is one number a scan, so that a position's pixels are divided by it first and the mean over pairs of scans
//! becomes an autocorrelation along time, summed over pixels:
//!
//! ```text
//! δ_p(i) = n x_p(i) / Σ_p x_p(i) − 1  where scan i is valid, else 0          n pixels
//! g(k) = 1 + Σ_i Σ_p δ_p(i) δ_p(i + k) / (n · n_pairs(k))
//! Σ_i Σ_p δ_p(i) δ_p(i + k) = inverse Fourier transform of Σ_p |δ̂_p|²
//! ```
//!
//! This is eq. (2) itself, not an approximation: the number of valid pairs takes care of missing scans, zeros behind the record of its
//! end, and δ instead of x keeps the rounding of the transform below 1e-12 of g − 1. Two pixels share a transform as its real and imaginary part,
//! whose crossed terms are imaginary. The cost grows as T log T instead of T², and so does the memory.
//!
//! Sources: Wiener, Acta Math. 55, 117 (1930), doi 10.1007/BF02546511; the ring's normalization as in [`super`].

use std::fmt;
use std::sync::Arc;

use rustfft::num_complex::Complex64;
use rustfft::{Fft, FftPlanner};
use serde::{Deserialize, Serialize};

use super::{Normalization, SectorCurves, per_pixel};
use crate::ring::PixelSeries;
use crate::ring::pixel_series::Values;

/// How the mean over pairs of scans is computed. At all lags the result is the same to 1e-12.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LagSums {
    /// From G of all pairs of scans.
    #[default]
    Pairs,
    /// By Fourier transform along time. G is computed only for the positions whose matrix is kept.
    Fourier,
    /// At few lags, from scans that are added up the more the longer the lag. G as for `Fourier`.
    MultiTau,
}

/// Below so many scans G of every position is cheap, and its mean over the region is kept.
const MIN_TIMES: usize = 256;

/// Nanoseconds a pair of scans and pixel for the product of all pairs.
const PRODUCT_NS: f64 = 0.012;

/// Nanoseconds a pair of scans for each sector's matrix: added, subtracted, normalized, averaged.
const MATRIX_NS: f64 = 2.5;

/// Nanoseconds a point of a transform and factor of two of its length, two pixels at once.
const TRANSFORM_NS: f64 = 1.0;

impl LagSums {
    /// The cheaper one for T scans, n pixels and s sectors that are left out one after another.
    ///
    /// ```text
    /// pairs:    T² · (n · 0.012 ns + (s + 1) · 2.5 ns)
    /// Fourier:  (s + 1) · n/2 · L log2 L · 1.0 ns,        L = 2 T
    /// ```
    ///
    /// Always pairs below 256 scans. The numbers are of one core with 64-byte vectors (`bench/README.md`); on another processor the
    /// choice may not be the fastest, but it is the same everywhere.
    ///
    /// # Example
    ///
    /// ```
    /// use halotau::correlate::LagSums;
    ///
    /// assert_eq!(LagSums::cheaper(106, 209, 6), LagSums::Pairs);
    /// assert_eq!(LagSums::cheaper(4000, 209, 6), LagSums::Fourier);
    /// ```
    pub fn cheaper(n_times: usize, n_pixels: usize, n_sectors: usize) -> Self {
        if n_times < MIN_TIMES {
            return Self::Pairs;
        }
        let (n_times, n_pixels) = (n_times as f64, n_pixels as f64);
        let n_sets = n_sectors as f64 + 1.0;
        let length = 2.0 * n_times;
        let pairs = n_times * n_times * (n_pixels * PRODUCT_NS + n_sets * MATRIX_NS);
        let fourier = n_sets * n_pixels / 2.0 * length * length.log2() * TRANSFORM_NS;
        if fourier < pairs {
            Self::Fourier
        } else {
            Self::Pairs
        }
    }
}

/// Transforms along time of one length, prepared for many positions.
#[derive(Clone)]
pub struct FourierSums {
    n_times: usize,
    forward: Arc<dyn Fft<f64>>,
    inverse: Arc<dyn Fft<f64>>,
}

impl fmt::Debug for FourierSums {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FourierSums")
            .field("n_times", &self.n_times)
            .field("length", &self.forward.len())
            .finish()
    }
}

impl FourierSums {
    /// For series of so many scans.
    pub fn new(n_times: usize) -> Self {
        let length = transform_length(n_times);
        let mut planner = FftPlanner::new();
        Self {
            n_times,
            forward: planner.plan_fft_forward(length),
            inverse: planner.plan_fft_inverse(length),
        }
    }

    /// As [`sector_curves`](super::sector_curves), but without G.
    ///
    /// `None` where g is no autocorrelation: a sample is missing in a scan that counts, or a scan is dark in what is left of the ring
    /// without a sector. The sum over pairs has an answer for these.
    ///
    /// # Example
    ///
    /// ```
    /// use halotau::correlate::{FourierSums, Normalization, sector_curves};
    /// use halotau::ndarray::Array2;
    /// use halotau::ring::PixelSeries;
    ///
    /// let counts = Array2::from_shape_fn((50, 12), |(time, pixel)| ((time * pixel * 7) % 11 + 1) as f64);
    /// let (series, sector) = (PixelSeries::of(counts.view()), [0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2]);
    /// let mut valid = [true; 50];
    /// valid[7] = false;
    /// let pairs = sector_curves(&series, &sector, 3, &valid, Normalization::Ring);
    /// let fourier = FourierSums::new(50).sector_curves(&series, &sector, 3, &valid, Normalization::Ring).expect("no sample is missing");
    /// for (g, of_pairs) in fourier.g.iter().zip(&pairs.g) {
    ///     assert!((g - of_pairs).abs() < 1e-12);
    /// }
    /// ```
    pub fn sector_curves(
        &self,
        series: &PixelSeries,
        sector: &[usize],
        n_sectors: usize,
        valid: &[bool],
        normalization: Normalization,
    ) -> Option<SectorCurves> {
        if matches!(series.values, Values::F64 { has_nan: true, .. })
            || series.n_times() != self.n_times
            || series.n_pixels() == 0
        {
            return None;
        }
        let sectors = Sectors::of(series, sector, n_sectors);
        let (sums, n_pixels) = sectors.without(None);
        let ring_mean: Vec<f64> = sums.iter().map(|sum| sum / n_pixels).collect();
        let there = |(&valid, &mean): (&bool, &f64)| valid && mean > 0.0;
        let valid: Vec<bool> = valid.iter().zip(&ring_mean).map(there).collect();
        let mut buffers = Buffers::new(self);
        let (g, without) = if normalization == Normalization::PerPixel {
            self.per_pixel(series, sector, n_sectors, &valid, &mut buffers)
        } else {
            let mut left_out = vec![None];
            let filled = sectors.filled();
            if filled.len() > 1 {
                left_out.extend(filled.into_iter().map(Some));
            }
            let curve =
                |left_out| self.curve(series, &sectors, left_out, sector, &valid, &mut buffers);
            let curves: Option<Vec<Vec<f64>>> = left_out.into_iter().map(curve).collect();
            let mut curves = curves?;
            let g = curves.remove(0);
            (g, curves)
        };
        Some(SectorCurves {
            g,
            without,
            two_time: None,
            valid,
            ring_mean,
        })
    }

    /// As [`per_pixel::sector_curves`]: the product of a pixel is the autocorrelation of its counts in valid scans.
    fn per_pixel(
        &self,
        series: &PixelSeries,
        sector: &[usize],
        n_sectors: usize,
        valid: &[bool],
        buffers: &mut Buffers,
    ) -> (Vec<f64>, Vec<Vec<f64>>) {
        let length = self.forward.len();
        let n_pairs = super::n_pairs(valid);
        let missing: Vec<usize> = (0..valid.len()).filter(|&time| !valid[time]).collect();
        let mut counts = vec![0.0; valid.len()];
        let mut parts = per_pixel::SectorSums::new(n_sectors, n_pairs.len());
        for (pixel, &sector) in sector.iter().enumerate() {
            each_time(series, pixel, |time, count| {
                counts[time] = if valid[time] { count } else { 0.0 };
            });
            let values = &mut buffers.values;
            values.fill(Complex64::ZERO);
            for (value, &count) in values.iter_mut().zip(&counts) {
                value.re = count;
            }
            self.forward
                .process_with_scratch(values, &mut buffers.scratch);
            for value in values.iter_mut() {
                *value = Complex64::new(value.norm_sqr(), 0.0);
            }
            self.inverse
                .process_with_scratch(values, &mut buffers.scratch);
            let windows = WindowSums::of(&counts);
            for (lag, &n_pairs) in (1..).zip(&n_pairs) {
                let (early, late) = windows.at(lag, &counts, &missing);
                if early * late > 0.0 {
                    let product = values[lag].re / length as f64;
                    parts.add(sector, lag, n_pairs as f64 * product / (early * late));
                }
            }
        }
        parts.curves(sector)
    }

    /// g of all pixels but those of a sector.
    fn curve(
        &self,
        series: &PixelSeries,
        sectors: &Sectors,
        left_out: Option<usize>,
        sector: &[usize],
        valid: &[bool],
        buffers: &mut Buffers,
    ) -> Option<Vec<f64>> {
        let (sums, n_pixels) = sectors.without(left_out);
        let scale: Option<Vec<f64>> = sums
            .iter()
            .zip(valid)
            .map(|(&sum, &valid)| match valid {
                true if sum > 0.0 => Some(n_pixels / sum),
                true => None,
                false => Some(0.0),
            })
            .collect();
        let scale = scale?;
        let kept = |&pixel: &usize| left_out != Some(sector[pixel]);
        let pixels: Vec<usize> = (0..series.n_pixels()).filter(kept).collect();
        buffers.power.fill(0.0);
        for pair in pixels.chunks(2) {
            buffers.values.fill(Complex64::ZERO);
            let delta = |time: usize, count: f64| {
                if valid[time] {
                    count * scale[time] - 1.0
                } else {
                    0.0
                }
            };
            each_time(series, pair[0], |time, count| {
                buffers.values[time].re = delta(time, count);
            });
            if let Some(&second) = pair.get(1) {
                each_time(series, second, |time, count| {
                    buffers.values[time].im = delta(time, count);
                });
            }
            self.forward
                .process_with_scratch(&mut buffers.values, &mut buffers.scratch);
            for (power, value) in buffers.power.iter_mut().zip(&buffers.values) {
                *power += value.norm_sqr();
            }
        }
        for (value, &power) in buffers.values.iter_mut().zip(&buffers.power) {
            *value = Complex64::new(power, 0.0);
        }
        self.inverse
            .process_with_scratch(&mut buffers.values, &mut buffers.scratch);
        let scale = 1.0 / (n_pixels * self.forward.len() as f64);
        let lags = buffers.values[1..].iter().zip(super::n_pairs(valid));
        let g = lags.map(|(sum, n_pairs)| match n_pairs {
            0 => f64::NAN,
            _ => 1.0 + sum.re * scale / n_pairs as f64,
        });
        Some(g.collect())
    }
}

/// Calls `visit(time, count)` for each time of a pixel.
#[inline(always)]
fn each_time(series: &PixelSeries, pixel: usize, mut visit: impl FnMut(usize, f64)) {
    let times = pixel * series.padded()..pixel * series.padded() + series.n_times();
    match &series.values {
        Values::Counts { values, .. } => {
            let counts = values[times].iter().enumerate();
            counts.for_each(|(time, &count)| visit(time, f64::from(count)));
        }
        Values::F64 { values, .. } => {
            let counts = values[times].iter().enumerate();
            counts.for_each(|(time, &count)| visit(time, count));
        }
    }
}

/// Sums of a pixel's counts up to each scan; counts of scans that do not count are zero.
struct WindowSums {
    before: Vec<f64>,
}

impl WindowSums {
    fn of(counts: &[f64]) -> Self {
        let mut before = vec![0.0];
        let mut sum = 0.0;
        before.extend(counts.iter().map(|count| {
            sum += count;
            sum
        }));
        Self { before }
    }

    /// Sums over the first and over the second scan of all pairs at a lag: the two windows without the partners of missing scans.
    fn at(&self, lag: usize, counts: &[f64], missing: &[usize]) -> (f64, f64) {
        let n = counts.len();
        let mut early = self.before[n - lag];
        let mut late = self.before[n] - self.before[lag];
        for &time in missing {
            if time >= lag {
                early -= counts[time - lag];
            }
            if time + lag < n {
                late -= counts[time + lag];
            }
        }
        (early, late)
    }
}

/// Room for one transform.
struct Buffers {
    values: Vec<Complex64>,
    power: Vec<f64>,
    scratch: Vec<Complex64>,
}

impl Buffers {
    fn new(sums: &FourierSums) -> Self {
        let length = sums.forward.len();
        let scratch = sums
            .forward
            .get_inplace_scratch_len()
            .max(sums.inverse.get_inplace_scratch_len());
        Self {
            values: vec![Complex64::ZERO; length],
            power: vec![0.0; length],
            scratch: vec![Complex64::ZERO; scratch],
        }
    }
}

/// The shortest fast length at which the end of the record does not meet its beginning.
fn transform_length(n_times: usize) -> usize {
    let needed = (2 * n_times).max(2);
    let fits = |odd: usize| odd * needed.div_ceil(odd).next_power_of_two();
    [1, 3, 5, 9, 15]
        .map(fits)
        .into_iter()
        .min()
        .unwrap_or(needed)
}

/// Sums over the pixels of each sector in each scan, `[sector][time]`, and numbers of pixels.
struct Sectors {
    sums: Vec<Vec<f64>>,
    n_pixels: Vec<f64>,
}

impl Sectors {
    fn of(series: &PixelSeries, sector: &[usize], n_sectors: usize) -> Self {
        let n_times = series.n_times();
        let mut sums = vec![vec![0.0; n_times]; n_sectors];
        let mut n_pixels = vec![0.0; n_sectors];
        for (pixel, &sector) in sector.iter().enumerate() {
            n_pixels[sector] += 1.0;
            each_time(series, pixel, |time, count| sums[sector][time] += count);
        }
        Self { sums, n_pixels }
    }

    /// Sums over the pixels of all sectors but one, `[time]`, and their number.
    fn without(&self, left_out: Option<usize>) -> (Vec<f64>, f64) {
        let n_times = self.sums.first().map_or(0, Vec::len);
        let mut total = (vec![0.0; n_times], 0.0);
        for (sector, (sums, n_pixels)) in self.sums.iter().zip(&self.n_pixels).enumerate() {
            if Some(sector) != left_out {
                total
                    .0
                    .iter_mut()
                    .zip(sums)
                    .for_each(|(total, sum)| *total += sum);
                total.1 += n_pixels;
            }
        }
        total
    }

    /// Sectors that hold pixels.
    fn filled(&self) -> Vec<usize> {
        let filled = |&sector: &usize| self.n_pixels[sector] > 0.0;
        (0..self.n_pixels.len()).filter(filled).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::correlate::{Normalization, sector_curves};
    use ndarray::Array2;

    /// Counts of low and of high mean that are alike over some tens of scans.
    fn series(n_times: usize, scale: f64) -> PixelSeries {
        let mut state = 5_u32;
        let mut random = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            f64::from(state >> 16) / 65_536.0
        };
        let phases: Vec<f64> = (0..40).map(|_| 6.3 * random()).collect();
        let counts = Array2::from_shape_fn((n_times, 40), |(time, pixel)| {
            let slow = 1.0 + 0.6 * (phases[pixel] + 0.03 * time as f64).sin();
            (scale * slow * random()).floor()
        });
        PixelSeries::of(counts.view())
    }

    #[test]
    fn curves_equal_the_sum_over_pairs_with_scans_missing_anywhere() {
        let sector: Vec<usize> = (0..40)
            .map(|pixel| pixel / 10 + usize::from(pixel >= 20))
            .collect();
        for n_times in [2, 3, 30, 257] {
            for missing in [0, 3, 10] {
                let valid: Vec<bool> = (0..n_times)
                    .map(|time| missing == 0 || (time * time + 1) % 11 >= missing)
                    .collect();
                for scale in [3.0, 900.0] {
                    let series = series(n_times, scale);
                    for normalization in [Normalization::Ring, Normalization::PerPixel] {
                        let pairs = sector_curves(&series, &sector, 6, &valid, normalization);
                        let fourier = FourierSums::new(n_times)
                            .sector_curves(&series, &sector, 6, &valid, normalization)
                            .expect("no sample is missing");
                        assert_eq!(fourier.valid, pairs.valid);
                        assert_eq!(fourier.without.len(), pairs.without.len());
                        let ours = fourier.without.iter().chain([&fourier.g]);
                        for (ours, expected) in ours.zip(pairs.without.iter().chain([&pairs.g])) {
                            for (lag, (g, expected)) in ours.iter().zip(expected).enumerate() {
                                let same = (g - expected).abs() < 1e-11 * (1.0 + expected.abs())
                                    || (g.is_nan() && expected.is_nan());
                                assert!(
                                    same,
                                    "{normalization:?}, lag {lag} of {n_times}: {g} against {expected}"
                                );
                            }
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn what_is_no_autocorrelation_is_left_to_the_pairs() {
        let sums = FourierSums::new(4);
        let curves = |counts: [[f64; 4]; 4]| {
            let counts = Array2::from_shape_fn((4, 4), |(time, pixel)| counts[time][pixel]);
            let series = PixelSeries::of(counts.view());
            sums.sector_curves(&series, &[0, 0, 1, 1], 2, &[true; 4], Normalization::Ring)
        };
        let whole = [[1.0, 2.0, 3.0, 4.0]; 4];
        assert!(curves(whole).is_some());
        let mut gap = whole;
        gap[2][1] = f64::NAN;
        assert!(curves(gap).is_none());
        // Dark without the first sector, but not with it.
        let mut dark = whole;
        dark[1][2..].fill(0.0);
        assert!(curves(dark).is_none());
    }

    #[test]
    fn transforms_are_long_enough_and_fast() {
        for n_times in [1, 2, 106, 500, 1000, 4001] {
            let length = transform_length(n_times);
            assert!(
                length >= 2 * n_times && length <= 3 * n_times + 2,
                "{length}"
            );
            let odd = length >> length.trailing_zeros();
            assert!([1, 3, 5, 9, 15].contains(&odd));
        }
    }
}
