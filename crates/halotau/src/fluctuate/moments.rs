//! Sums, squares and products with the next scan, over pixels, for all scans at once.
//!
//! Pixels hold their times one after another, so that a vector of scans is summed over the pixels in registers. Small integers
//! are summed in `f32` as long as squares are exact and then in `f64`: the sums are the integers themselves.

use std::ops::{Add, Mul, Range};

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
            Values::Counts { values, block, .. } => {
                let values = &values[part];
                sum_times(Isa::best(), values, &values[1..], padded, *block, self);
            }
            Values::F64 { values, .. } => {
                let values = &values[part];
                sum_times(Isa::best(), values, &values[1..], padded, usize::MAX, self);
            }
        }
    }
}

dispatch! {
    /// `values` is `[pixel, padded time]` and one more vector, `later` the same from the second on; sums over `block` pixels are added up in
    /// `f64`. That both are the same numbers is nothing to know here: vectors of both are read, instead of one put together from the other.
    fn sum_times [T: Summed] [T] (
        values: &[T],
        later: &[T],
        padded: usize,
        block: usize,
        sums: &mut TimeSums,
    ) {
        sum_in_vectors(values, later, padded, block, sums)
    }
}

/// A sample that is summed.
trait Summed: Copy {
    /// What sums of a block are exact in.
    type Sum: Copy + Default + Into<f64> + Add<Output = Self::Sum> + Mul<Output = Self::Sum>;

    fn number(self) -> Self::Sum;
}

impl Summed for u16 {
    type Sum = f32;

    #[inline(always)]
    fn number(self) -> f32 {
        f32::from(self)
    }
}

impl Summed for f64 {
    type Sum = f64;

    #[inline(always)]
    fn number(self) -> f64 {
        self
    }
}

#[inline(always)]
fn sum_in_vectors<T: Summed>(
    values: &[T],
    later: &[T],
    padded: usize,
    block: usize,
    sums: &mut TimeSums,
) {
    let n_pixels = (values.len() - TIME_PAD) / padded.max(1);
    for first_time in (0..padded).step_by(TIME_PAD) {
        let mut first = 0;
        while first < n_pixels {
            let last = n_pixels.min(first.saturating_add(block.max(1)));
            let [mut sum, mut square, mut product] = [[T::Sum::default(); TIME_PAD]; 3];
            for pixel in first..last {
                let start = pixel * padded + first_time;
                let here = values[start..].first_chunk::<TIME_PAD>();
                let next = later[start..].first_chunk::<TIME_PAD>();
                // Both are there: a vector follows the last pixel.
                let (Some(here), Some(next)) = (here, next) else {
                    continue;
                };
                // A loop each, so that each is one vector.
                for lane in 0..TIME_PAD {
                    sum[lane] = sum[lane] + here[lane].number();
                }
                for lane in 0..TIME_PAD {
                    square[lane] = square[lane] + here[lane].number() * here[lane].number();
                }
                for lane in 0..TIME_PAD {
                    product[lane] = product[lane] + here[lane].number() * next[lane].number();
                }
            }
            for (to, from) in [
                (&mut sums.sum, sum),
                (&mut sums.square, square),
                (&mut sums.product, product),
            ] {
                let to = &mut to[first_time..][..TIME_PAD];
                if first == 0 {
                    to.fill(0.0);
                }
                for lane in 0..TIME_PAD {
                    to[lane] += from[lane].into();
                }
            }
            first = last;
        }
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
        let mut narrow = vec![0_u16; padded * n_pixels + TIME_PAD];
        for pixel in 0..n_pixels {
            for time in 0..n_times {
                narrow[pixel * padded + time] = count(pixel, time) as u16;
            }
        }
        let wide: Vec<f64> = narrow.iter().map(|&value| f64::from(value)).collect();
        for isa in Isa::all() {
            let (mut of_u16, mut of_f64) = (TimeSums::new(padded), TimeSums::new(padded));
            sum_times(isa, &narrow, &narrow[1..], padded, 256, &mut of_u16);
            sum_times(isa, &wide, &wide[1..], padded, usize::MAX, &mut of_f64);
            for time in 0..n_times - 1 {
                let over = |value: &dyn Fn(usize) -> f64| (0..n_pixels).map(value).sum::<f64>();
                for sums in [&of_u16, &of_f64] {
                    assert_eq!(sums.sum[time], over(&|pixel| count(pixel, time)));
                    assert_eq!(sums.square[time], over(&|pixel| count(pixel, time).powi(2)));
                    let product = over(&|pixel| count(pixel, time) * count(pixel, time + 1));
                    assert_eq!(sums.product[time], product, "{isa:?}, time {time}");
                }
            }
        }
    }
}
