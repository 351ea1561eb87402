//! Sums over pixels for every pair of times: additive over sectors of the ring.

use std::ops::Range;

use ndarray::Array2;

use super::events::{add_products_of_events, are_few};
use super::product::add_products;
use super::sectors::RingSums;
use crate::ring::PixelSeries;
use crate::ring::pixel_series::Values;
use crate::simd::{Isa, dispatch};

/// Sums over pixels that give G for every pair of times.
#[derive(Debug, Clone)]
pub(super) struct PairSums {
    n_times: usize,
    /// Length of a row of `product`.
    stride: usize,
    /// `Σ I(t1) I(t2)` for t1 <= t2, `[time_1, time_2]`; what is below the diagonal means nothing.
    product: Vec<f64>,
    means: Means,
}

/// Sums and numbers of pixels for the means in the denominator.
#[derive(Debug, Clone)]
enum Means {
    /// Every pixel has every time: `Σ I(t)` and the number of pixels.
    Whole { sums: Vec<f64>, n_pixels: f64 },
    /// Samples are missing: `Σ I(t1)` over the pixels that have both times, and their number.
    Pairwise {
        sums: Array2<f64>,
        n_pixels: Array2<f64>,
    },
}

impl PairSums {
    /// The sums of all pixels of a series.
    pub(super) fn of(series: &PixelSeries) -> Self {
        Self::of_pixels(series, 0..series.n_pixels())
    }

    /// The sums of some pixels of a series.
    pub(super) fn of_pixels(series: &PixelSeries, pixels: Range<usize>) -> Self {
        let (n_times, stride) = (series.n_times(), series.padded());
        let part = pixels.start * stride..pixels.end * stride;
        let mut product = vec![0.0; stride * stride];
        let sums = match &series.values {
            Values::Counts {
                values,
                block,
                occupancy,
                ..
            } => {
                let values = &values[part];
                if are_few(*occupancy) {
                    add_products_of_events(values, stride, &mut product);
                } else {
                    let mut numbers = vec![0.0; values.len()];
                    convert(Isa::best(), values, &mut numbers);
                    add_products(&numbers, stride, *block, &mut product);
                }
                time_sums(values, stride, n_times)
            }
            Values::F64 {
                values,
                has_nan: false,
            } => {
                let values = &values[part];
                add_products(values, stride, BLOCK_PIXELS, &mut product);
                time_sums(values, stride, n_times)
            }
            Values::F64 { has_nan: true, .. } => {
                return Self::of_gaps(&series.array(pixels), stride);
            }
        };
        Self {
            n_times,
            stride,
            product,
            means: Means::Whole {
                sums,
                n_pixels: pixels.len() as f64,
            },
        }
    }

    /// The sums of pixels of which some samples are missing, `[time, pixel]`.
    fn of_gaps(ring: &Array2<f64>, stride: usize) -> Self {
        let there = ring.mapv(|count| f64::from(u8::from(!count.is_nan())));
        let counts = ring.mapv(|count| if count.is_nan() { 0.0 } else { count });
        let n_times = ring.nrows();
        let products = counts.dot(&counts.t());
        let mut product = vec![0.0; stride * stride];
        for (row, products) in product.chunks_mut(stride.max(1)).zip(products.rows()) {
            let values = row.iter_mut().zip(products);
            values.for_each(|(value, &product)| *value = product);
        }
        Self {
            n_times,
            stride,
            product,
            means: Means::Pairwise {
                sums: counts.dot(&there.t()),
                n_pixels: there.dot(&there.t()),
            },
        }
    }

    /// Mean over pixels of one scan.
    pub(super) fn mean_at(&self, time: usize) -> f64 {
        match &self.means {
            Means::Whole { sums, n_pixels } => sums[time] / n_pixels,
            Means::Pairwise { sums, n_pixels } => sums[[time, time]] / n_pixels[[time, time]],
        }
    }

    /// Products of one scan and each from `from` on; `from` is not before the first.
    fn products_of(&self, first: usize, from: usize) -> &[f64] {
        &self.product[first * self.stride..][from..self.n_times]
    }

    /// Writes G of one scan and each from `from` on.
    fn row(&self, first: usize, from: usize, values: &mut [f64]) {
        values.copy_from_slice(self.products_of(first, from));
        self.means.normalize(first, from, values);
    }

    /// The sums of products themselves, `[time_1, time_2]`.
    pub(super) fn products(&self) -> Array2<f64> {
        Array2::from_shape_fn((self.n_times, self.n_times), |(first, second)| {
            self.product[first.min(second) * self.stride + first.max(second)]
        })
    }

    /// G of all pairs, `[time_1, time_2]`.
    pub(super) fn two_time(&self) -> Array2<f64> {
        let n_times = self.n_times;
        let mut values = vec![0.0; n_times * n_times];
        for first in 0..n_times {
            let row = &mut values[first * n_times + first..][..n_times - first];
            self.row(first, first, row);
        }
        // What is below the diagonal, a few columns at a time: their rows are read side by side.
        for start in (0..n_times).step_by(MIRRORED) {
            for second in start + 1..n_times {
                for first in start..second.min(start + MIRRORED) {
                    values[second * n_times + first] = values[first * n_times + second];
                }
            }
        }
        Array2::from_shape_vec((n_times, n_times), values).expect("a square was filled")
    }
}

impl RingSums for PairSums {
    fn add(&mut self, other: &Self) {
        // What is below the diagonal means nothing.
        for first in 0..self.n_times {
            let row = first * self.stride + first..(first + 1) * self.stride;
            let both = self.product[row.clone()]
                .iter_mut()
                .zip(&other.product[row]);
            both.for_each(|(sum, other)| *sum += other);
        }
        self.means = self.means.combine(&other.means, 1.0);
    }

    fn mean_at(&self, time: usize) -> f64 {
        Self::mean_at(self, time)
    }

    fn one_time(&self, valid: &[bool]) -> Vec<f64> {
        lag_means(valid, |first, later| self.row(first, first + 1, later))
    }

    fn one_time_without(&self, part: &Self, valid: &[bool]) -> Vec<f64> {
        let means = self.means.combine(&part.means, -1.0);
        lag_means(valid, |first, later| {
            let whole = self.products_of(first, first + 1).iter();
            let products = whole.zip(part.products_of(first, first + 1));
            for (value, (whole, part)) in later.iter_mut().zip(products) {
                *value = whole - part;
            }
            means.normalize(first, first + 1, later);
        })
    }

    fn two_time(&self) -> Option<Array2<f64>> {
        Some(Self::two_time(self))
    }
}

/// Mean over pairs of valid scans of a quantity of two times, `[lag]` from 1; `row` writes it for one first scan and all later ones.
///
/// Row by row, as matrices lie in memory; each lag is summed in the order of its first scan.
pub(super) fn lag_means(valid: &[bool], mut row: impl FnMut(usize, &mut [f64])) -> Vec<f64> {
    let n = valid.len();
    let mut sums = vec![0.0; n.saturating_sub(1)];
    let mut values = sums.clone();
    for first in (0..n.saturating_sub(1)).filter(|&first| valid[first]) {
        let values = &mut values[..n - 1 - first];
        row(first, values);
        add_valid(Isa::best(), values, &valid[first + 1..], &mut sums);
    }
    let means = sums.iter().zip(super::n_pairs(valid));
    means.map(|(sum, n_pairs)| sum / n_pairs as f64).collect()
}

dispatch! {
    fn convert(counts: &[u16], numbers: &mut [f32]) {
        convert_in_vectors(counts, numbers)
    }
}

#[inline(always)]
fn convert_in_vectors(counts: &[u16], numbers: &mut [f32]) {
    for (number, &count) in numbers.iter_mut().zip(counts) {
        *number = f32::from(count);
    }
}

dispatch! {
    fn add_valid(values: &[f64], valid: &[bool], sums: &mut [f64]) {
        add_valid_in_vectors(values, valid, sums)
    }
}

#[inline(always)]
fn add_valid_in_vectors(values: &[f64], valid: &[bool], sums: &mut [f64]) {
    for ((sum, value), &valid) in sums.iter_mut().zip(values).zip(valid) {
        // What is not valid may be NaN.
        *sum += if valid { *value } else { 0.0 };
    }
}

/// Columns of G that are mirrored at once: a line of the cache.
const MIRRORED: usize = 8;

/// Pixels whose products are summed in the cache at once; the result does not depend on it by more than rounding.
const BLOCK_PIXELS: usize = 128;

/// Sum over pixels at each time.
fn time_sums<T: Copy + Into<f64>>(values: &[T], padded: usize, n_times: usize) -> Vec<f64> {
    let mut sums = vec![0.0; padded];
    add_pixels(Isa::best(), values, &mut sums);
    sums.truncate(n_times);
    sums
}

dispatch! {
    /// Adds each time of all pixels, `[pixel, padded time]`.
    pub(super) fn add_pixels [T: Copy + Into<f64>] [T] (values: &[T], sums: &mut [f64]) {
        add_pixels_in_vectors(values, sums)
    }
}

#[inline(always)]
fn add_pixels_in_vectors<T: Copy + Into<f64>>(values: &[T], sums: &mut [f64]) {
    for pixel in values.chunks_exact(sums.len().max(1)) {
        for (sum, &value) in sums.iter_mut().zip(pixel) {
            *sum += value.into();
        }
    }
}

impl Means {
    /// Turns products of one scan and each from `from` on into G.
    fn normalize(&self, first: usize, from: usize, values: &mut [f64]) {
        match self {
            Self::Whole { sums, n_pixels } => {
                normalize(Isa::best(), values, &sums[from..], sums[first], *n_pixels);
            }
            Self::Pairwise { sums, n_pixels } => {
                for (value, second) in values.iter_mut().zip(from..) {
                    *value = *value * n_pixels[[first, second]]
                        / (sums[[first, second]] * sums[[second, first]]);
                }
            }
        }
    }

    fn combine(&self, other: &Self, sign: f64) -> Self {
        match (self, other) {
            (
                Self::Whole { sums, n_pixels },
                Self::Whole {
                    sums: others,
                    n_pixels: n_others,
                },
            ) => Self::Whole {
                sums: sums
                    .iter()
                    .zip(others)
                    .map(|(sum, other)| sum + sign * other)
                    .collect(),
                n_pixels: n_pixels + sign * n_others,
            },
            _ => {
                let (sums, n_pixels) = self.pairwise();
                let (others, n_others) = other.pairwise();
                Self::Pairwise {
                    sums: sums + sign * others,
                    n_pixels: n_pixels + sign * n_others,
                }
            }
        }
    }

    fn pairwise(&self) -> (Array2<f64>, Array2<f64>) {
        match self {
            Self::Whole { sums, n_pixels } => (
                Array2::from_shape_fn((sums.len(), sums.len()), |(first, _)| sums[first]),
                Array2::from_elem((sums.len(), sums.len()), *n_pixels),
            ),
            Self::Pairwise { sums, n_pixels } => (sums.clone(), n_pixels.clone()),
        }
    }
}

dispatch! {
    /// Turns products of a scan whose sum is `own` and each of those whose sums are given into G.
    fn normalize(values: &mut [f64], sums: &[f64], own: f64, n_pixels: f64) {
        normalize_in_vectors(values, sums, own, n_pixels)
    }
}

#[inline(always)]
fn normalize_in_vectors(values: &mut [f64], sums: &[f64], own: f64, n_pixels: f64) {
    for (value, sum) in values.iter_mut().zip(sums) {
        *value = *value * n_pixels / (own * sum);
    }
}
