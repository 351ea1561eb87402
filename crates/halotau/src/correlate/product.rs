//! The symmetric product of a series with itself: what every pair of times has in common.
//!
//! ```text
//! product(t1, t2) = Σ_p x_p(t1) · x_p(t2)        for t1 <= t2
//! ```
//!
//! Pixels follow one another, each with all its times, padded with zeros to whole vectors. A few times of the first scan by a few
//! vectors of the second are summed in registers over all pixels; blocks below the diagonal are left out, which saves
//! nearly half of the work.
//!
//! Counts are small integers. Their products are exact in `f32` as long as the sum of a block of pixels stays below 2^24, and
//! blocks are added in `f64`: then the sums are the integers themselves, on any processor and in any order. Where counts are
//! too large for that, or are no integers, all is done in `f64` at half the speed.

use crate::ring::pixel_series::TIME_PAD;
use crate::simd::{Isa, dispatch};

/// Scans whose products are summed at once.
const ROWS: usize = 4;

/// Vectors of scans that they are multiplied with at most. Four rows by three vectors, the vectors and one factor are sixteen
/// registers, which is what all but the newest processors have.
const VECTORS: usize = 3;

const _: () = assert!(TIME_PAD.is_multiple_of(ROWS));

/// A number that is multiplied in vectors.
pub(super) trait Real: Copy + Default + Into<f64> {
    /// `a · b + c`, with one rounding where the processor does it at once.
    fn multiply_add<const FUSED: bool>(a: Self, b: Self, c: Self) -> Self;
}

macro_rules! impl_real {
    ($($t:ty),*) => {$(
        impl Real for $t {
            #[inline(always)]
            fn multiply_add<const FUSED: bool>(a: Self, b: Self, c: Self) -> Self {
                if FUSED { a.mul_add(b, c) } else { a * b + c }
            }
        }
    )*};
}
impl_real!(f32, f64);

dispatch! {
    /// Adds the products of pixels to `sums`, `[time_1, time_2]` of padded times; those below the diagonal are not defined.
    ///
    /// `values` is `[pixel, padded time]`. Products are summed in `f32` over `block` pixels and then in `f64`.
    pub(super) fn add_products_f32(values: &[f32], padded: usize, block: usize, sums: &mut [f64]) {
        avx512: add_blocks::<f32, 16, true>(values, padded, block, sums),
        avx2: add_blocks::<f32, 8, true>(values, padded, block, sums),
        plain: add_blocks::<f32, 4, false>(values, padded, block, sums),
    }
}

dispatch! {
    /// As [`add_products_f32`], all in `f64`.
    pub(super) fn add_products_f64(values: &[f64], padded: usize, block: usize, sums: &mut [f64]) {
        avx512: add_blocks::<f64, 8, true>(values, padded, block, sums),
        avx2: add_blocks::<f64, 4, true>(values, padded, block, sums),
        plain: add_blocks::<f64, 2, false>(values, padded, block, sums),
    }
}

#[inline(always)]
fn add_blocks<T: Real, const LANES: usize, const FUSED: bool>(
    values: &[T],
    padded: usize,
    block: usize,
    sums: &mut [f64],
) {
    let (vectors, _) = values.as_chunks::<LANES>();
    let n_vectors = padded / LANES;
    if n_vectors == 0 {
        return;
    }
    for pixels in vectors.chunks(block.max(1) * n_vectors) {
        for row in (0..padded).step_by(ROWS) {
            let mut vector = row / LANES;
            while vector < n_vectors {
                let left = n_vectors - vector;
                // Four are two pairs: a single vector would keep too few sums going at once.
                if left >= VECTORS && left != VECTORS + 1 {
                    add_tile::<T, LANES, 3, FUSED>(pixels, n_vectors, row, vector, sums);
                    vector += 3;
                } else if left >= 2 {
                    add_tile::<T, LANES, 2, FUSED>(pixels, n_vectors, row, vector, sums);
                    vector += 2;
                } else {
                    add_tile::<T, LANES, 1, FUSED>(pixels, n_vectors, row, vector, sums);
                    vector += 1;
                }
            }
        }
    }
}

#[inline(always)]
fn add_tile<T: Real, const LANES: usize, const COLS: usize, const FUSED: bool>(
    pixels: &[[T; LANES]],
    n_vectors: usize,
    row: usize,
    vector: usize,
    sums: &mut [f64],
) {
    let mut tile = [[[T::default(); LANES]; COLS]; ROWS];
    for pixel in pixels.chunks_exact(n_vectors) {
        let (rows, _) = pixel.as_flattened()[row..].as_chunks::<ROWS>();
        let (cols, _) = pixel[vector..].as_chunks::<COLS>();
        // Both are there: rows are a part of the padded times, and so are the vectors.
        let ([first, ..], [second, ..]) = (rows, cols) else {
            continue;
        };
        for at_row in 0..ROWS {
            for at_col in 0..COLS {
                tile[at_row][at_col] = multiply_add::<T, LANES, FUSED>(
                    first[at_row],
                    &second[at_col],
                    &tile[at_row][at_col],
                );
            }
        }
    }
    let stride = n_vectors * LANES;
    for (at_row, tile) in tile.iter().enumerate() {
        let start = (row + at_row) * stride + vector * LANES;
        let sums = &mut sums[start..start + COLS * LANES];
        for (sum, &product) in sums.iter_mut().zip(tile.as_flattened()) {
            *sum += product.into();
        }
    }
}

#[inline(always)]
fn multiply_add<T: Real, const LANES: usize, const FUSED: bool>(
    factor: T,
    vector: &[T; LANES],
    sums: &[T; LANES],
) -> [T; LANES] {
    let mut result = [T::default(); LANES];
    for lane in 0..LANES {
        result[lane] = T::multiply_add::<FUSED>(factor, vector[lane], sums[lane]);
    }
    result
}

/// The products with the instructions of this processor.
pub(super) fn add_products<T: Products>(
    values: &[T],
    padded: usize,
    block: usize,
    sums: &mut [f64],
) {
    T::add(Isa::best(), values, padded, block, sums);
}

/// A number that products are summed of.
pub(super) trait Products: Real {
    /// The kernel of this type.
    fn add(isa: Isa, values: &[Self], padded: usize, block: usize, sums: &mut [f64]);
}

impl Products for f32 {
    fn add(isa: Isa, values: &[Self], padded: usize, block: usize, sums: &mut [f64]) {
        add_products_f32(isa, values, padded, block, sums);
    }
}

impl Products for f64 {
    fn add(isa: Isa, values: &[Self], padded: usize, block: usize, sums: &mut [f64]) {
        add_products_f64(isa, values, padded, block, sums);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every body against the loop that the equation spells.
    fn check<T: Products>(value: fn(u32) -> T, tolerance: f64) {
        let mut state = 7_u32;
        for (n_times, n_pixels, block) in [(1, 1, 1), (16, 5, 3), (31, 40, 16), (106, 209, 256)] {
            let padded = usize::next_multiple_of(n_times, TIME_PAD);
            let mut values = vec![T::default(); padded * n_pixels];
            for pixel in values.chunks_mut(padded) {
                for count in &mut pixel[..n_times] {
                    state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    *count = value(state >> 24);
                }
            }
            for isa in Isa::all() {
                let mut sums = vec![1.0; padded * padded];
                T::add(isa, &values, padded, block, &mut sums);
                for first in 0..n_times {
                    for second in first..n_times {
                        let plain = values.chunks(padded).fold(1.0, |sum, pixel| {
                            let (x, y): (f64, f64) = (pixel[first].into(), pixel[second].into());
                            sum + x * y
                        });
                        let sum = sums[first * padded + second];
                        assert!(
                            (sum - plain).abs() <= tolerance * plain,
                            "{isa:?}, times {first} and {second}: {sum} against {plain}"
                        );
                    }
                }
            }
        }
    }

    #[test]
    fn products_of_counts_are_exact_on_every_processor() {
        // 256 pixels of 255 counts: below 2^24.
        check::<f32>(|random| random as f32, 0.0);
        check::<f64>(f64::from, 0.0);
    }

    #[test]
    fn products_of_fractions_agree_to_rounding() {
        // Sums of a few hundred terms of one sign.
        check::<f64>(|random| f64::from(random) / 7.0, 1e-14);
    }
}
