//! Sums, squares and products with the next scan, over pixels, for all scans at once.
//!
//! Pixels hold their times one after another, so that a vector of scans is summed over the pixels in registers. Small integers
//! are summed in `f32` as long as squares are exact and then in `f64`: the sums are the integers themselves.

use std::ops::Range;

use crate::ring::PixelSeries;
use crate::ring::pixel_series::{TIME_PAD, Values};
use crate::simd::{Isa, dispatch};

/// Sums over some pixels at each padded time.
#[derive(Debug)]
pub(super) struct TimeSums {
    /// Of the counts.
    pub(super) sum: Vec<f64>,
    /// Of their squares.
    pub(super) square: Vec<f64>,
    /// Of the products with the next scan; the last one means nothing.
    pub(super) product: Vec<f64>,
}

impl TimeSums {
    pub(super) fn new(padded: usize) -> Self {
        Self {
            sum: vec![0.0; padded],
            square: vec![0.0; padded],
            product: vec![0.0; padded],
        }
    }

    /// Replaces the sums by those of some pixels, none of which lacks a sample.
    pub(super) fn of(&mut self, series: &PixelSeries, pixels: Range<usize>) {
        let padded = series.padded();
        let part = pixels.start * padded..pixels.end * padded + TIME_PAD;
        match &series.values {
            Values::F32 { values, block, .. } => {
                sum_f32(Isa::best(), &values[part], padded, *block, self);
            }
            Values::F64 { values, .. } => {
                sum_f64(Isa::best(), &values[part], padded, usize::MAX, self);
            }
        }
    }
}

dispatch! {
    /// `values` is `[pixel, padded time]` and one more vector; sums over `block` pixels are added up in `f64`.
    fn sum_f32(values: &[f32], padded: usize, block: usize, sums: &mut TimeSums) {
        sum_all::<f32>(values, padded, block, sums)
    }
}

dispatch! {
    /// As [`sum_f32`], all in `f64`.
    fn sum_f64(values: &[f64], padded: usize, block: usize, sums: &mut TimeSums) {
        sum_all::<f64>(values, padded, block, sums)
    }
}

/// A number that is summed.
trait Summed:
    Copy + Default + Into<f64> + std::ops::Add<Output = Self> + std::ops::Mul<Output = Self>
{
}

impl Summed for f32 {}
impl Summed for f64 {}

#[inline(always)]
fn sum_all<T: Summed>(values: &[T], padded: usize, block: usize, sums: &mut TimeSums) {
    let n_pixels = (values.len() - TIME_PAD) / padded.max(1);
    for first_time in (0..padded).step_by(TIME_PAD) {
        let [mut sum, mut square, mut product] = [[0.0_f64; TIME_PAD]; 3];
        let mut first = 0;
        while first < n_pixels {
            let last = n_pixels.min(first.saturating_add(block.max(1)));
            let [mut sum_here, mut square_here, mut product_here] = [[T::default(); TIME_PAD]; 3];
            for pixel in first..last {
                let start = pixel * padded + first_time;
                let here = values[start..].first_chunk::<TIME_PAD>();
                let next = values[start + 1..].first_chunk::<TIME_PAD>();
                // Both are there: a vector follows the last pixel.
                let (Some(here), Some(next)) = (here, next) else {
                    continue;
                };
                for lane in 0..TIME_PAD {
                    sum_here[lane] = sum_here[lane] + here[lane];
                    square_here[lane] = square_here[lane] + here[lane] * here[lane];
                    product_here[lane] = product_here[lane] + here[lane] * next[lane];
                }
            }
            for lane in 0..TIME_PAD {
                sum[lane] += sum_here[lane].into();
                square[lane] += square_here[lane].into();
                product[lane] += product_here[lane].into();
            }
            first = last;
        }
        let times = first_time..first_time + TIME_PAD;
        sums.sum[times.clone()].copy_from_slice(&sum);
        sums.square[times.clone()].copy_from_slice(&square);
        sums.product[times].copy_from_slice(&product);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_are_exact_on_every_processor() {
        let (n_times, n_pixels) = (37, 300);
        let padded = 48;
        let count = |pixel: usize, time: usize| ((pixel * 37 + time * time * 11) % 251) as f64;
        let mut narrow = vec![0.0_f32; padded * n_pixels + TIME_PAD];
        for pixel in 0..n_pixels {
            for time in 0..n_times {
                narrow[pixel * padded + time] = count(pixel, time) as f32;
            }
        }
        let wide: Vec<f64> = narrow.iter().map(|&value| f64::from(value)).collect();
        for isa in Isa::all() {
            let (mut of_f32, mut of_f64) = (TimeSums::new(padded), TimeSums::new(padded));
            sum_f32(isa, &narrow, padded, 256, &mut of_f32);
            sum_f64(isa, &wide, padded, usize::MAX, &mut of_f64);
            for time in 0..n_times - 1 {
                let over = |value: &dyn Fn(usize) -> f64| (0..n_pixels).map(value).sum::<f64>();
                for sums in [&of_f32, &of_f64] {
                    assert_eq!(sums.sum[time], over(&|pixel| count(pixel, time)));
                    assert_eq!(sums.square[time], over(&|pixel| count(pixel, time).powi(2)));
                    let product = over(&|pixel| count(pixel, time) * count(pixel, time + 1));
                    assert_eq!(sums.product[time], product, "{isa:?}, time {time}");
                }
            }
        }
    }
}
