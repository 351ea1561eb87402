//! From scan after scan to pixel after pixel.
//!
//! ```text
//! counts [time, annulus pixel]  ->  values [pixel, padded time]
//! ```
//!
//! Sixteen scans by sixteen or more neighboring pixels are turned at once, in registers where counts are of 16 bits. The neighbors
//! are then written each to its place, from the first time to the last, before the next are read: memory is read in whole lines of
//! the cache, and written in runs as long as the series.

use super::pixel_series::TIME_PAD;
use crate::simd::dispatch;

/// A count, as it is stored.
pub(super) trait Stored: Copy + Default {
    /// Annulus pixels that are turned together.
    const WIDTH: usize;

    fn f32(self) -> f32;
    fn f64(self) -> f64;

    /// Shows each of [`Self::WIDTH`] pixels from `first` on with its counts in sixteen scans, `[time, annulus pixel]`.
    fn columns(
        scans: &[Self],
        n_annulus: usize,
        first: usize,
        see: impl FnMut(usize, [Self; TIME_PAD]),
    );
}

macro_rules! impl_stored {
    ($columns:ident, $width:expr; $($t:ty),*) => {$(
        impl Stored for $t {
            const WIDTH: usize = $width;

            #[inline(always)]
            fn f32(self) -> f32 {
                self as f32
            }

            #[inline(always)]
            fn f64(self) -> f64 {
                f64::from(self)
            }

            #[inline(always)]
            fn columns(
                scans: &[Self],
                n_annulus: usize,
                first: usize,
                see: impl FnMut(usize, [Self; TIME_PAD]),
            ) {
                $columns(scans, n_annulus, first, see)
            }
        }
    )*};
}
impl_stored!(columns_of_words, 4 * WORDS; u8, u16);
impl_stored!(columns_of_samples, TIME_PAD; u32, f32);

/// Words of four counts of a scan that are turned together.
const WORDS: usize = 8;

/// Every other 16 bits of a word.
const EVEN: u64 = 0x0000_ffff_0000_ffff;

/// The lower half of a word.
const LOWER: u64 = 0x0000_0000_ffff_ffff;

/// A count of at most 16 bits.
trait Narrow: Copy + Default {
    /// Four counts in a word, the first in its lowest bits.
    fn word(counts: &[Self; 4]) -> u64;

    /// The counts that were put into a word.
    fn counts(word: u64) -> [Self; 4];
}

impl Narrow for u16 {
    #[inline(always)]
    fn word(counts: &[Self; 4]) -> u64 {
        let [[a, b], [c, d], [e, f], [g, h]] = counts.map(Self::to_le_bytes);
        u64::from_le_bytes([a, b, c, d, e, f, g, h])
    }

    #[inline(always)]
    fn counts(word: u64) -> [Self; 4] {
        [0, 16, 32, 48].map(|shift| (word >> shift) as Self)
    }
}

impl Narrow for u8 {
    #[inline(always)]
    fn word(counts: &[Self; 4]) -> u64 {
        u16::word(&counts.map(u16::from))
    }

    #[inline(always)]
    fn counts(word: u64) -> [Self; 4] {
        u16::counts(word).map(|count| count as Self)
    }
}

/// Four scans by four pixels are turned within words, in vectors of words; each pixel's sixteen scans are four such words.
#[inline(always)]
fn columns_of_words<C: Narrow>(
    scans: &[C],
    n_annulus: usize,
    first: usize,
    mut see: impl FnMut(usize, [C; TIME_PAD]),
) {
    // [four scans][pixel of a word][word]
    let mut columns = [[[0_u64; WORDS]; 4]; TIME_PAD / 4];
    for (four, columns) in columns.iter_mut().enumerate() {
        let mut rows = [[0_u64; WORDS]; 4];
        for (time, row) in rows.iter_mut().enumerate() {
            let counts = &scans[(4 * four + time) * n_annulus + first..][..4 * WORDS];
            let (counts, _) = counts.as_chunks::<4>();
            for word in 0..WORDS {
                row[word] = C::word(&counts[word]);
            }
        }
        let [rows_0, rows_1, rows_2, rows_3] = rows;
        for word in 0..WORDS {
            let even = rows_0[word] & EVEN | (rows_1[word] & EVEN) << 16;
            let odd = rows_0[word] >> 16 & EVEN | rows_1[word] & !EVEN;
            let later_even = rows_2[word] & EVEN | (rows_3[word] & EVEN) << 16;
            let later_odd = rows_2[word] >> 16 & EVEN | rows_3[word] & !EVEN;
            columns[0][word] = even & LOWER | later_even << 32;
            columns[1][word] = odd & LOWER | later_odd << 32;
            columns[2][word] = even >> 32 | later_even & !LOWER;
            columns[3][word] = odd >> 32 | later_odd & !LOWER;
        }
    }
    for pixel in 0..4 * WORDS {
        let mut column = [C::default(); TIME_PAD];
        let (fours, _) = column.as_chunks_mut::<4>();
        for (times, columns) in fours.iter_mut().zip(&columns) {
            *times = C::counts(columns[pixel % 4][pixel / 4]);
        }
        see(pixel, column);
    }
}

/// Sixteen scans by sixteen pixels, sample by sample: the plain version, for counts that are stored in 32 bits.
#[inline(always)]
fn columns_of_samples<C: Copy + Default>(
    scans: &[C],
    n_annulus: usize,
    first: usize,
    mut see: impl FnMut(usize, [C; TIME_PAD]),
) {
    let mut columns = [[C::default(); TIME_PAD]; TIME_PAD];
    for time in 0..TIME_PAD {
        let counts = &scans[time * n_annulus + first..][..TIME_PAD];
        for (column, &count) in columns.iter_mut().zip(counts) {
            column[time] = count;
        }
    }
    for (pixel, column) in columns.into_iter().enumerate() {
        see(pixel, column);
    }
}

/// Where the counts of each annulus pixel go.
#[derive(Clone, Copy)]
pub(super) struct Order<'a> {
    pub(super) n_annulus: usize,
    /// The place of each annulus pixel, or [`NOWHERE`].
    pub(super) slots: &'a [u32],
    /// Room for the times of a pixel.
    pub(super) padded: usize,
}

/// The place of a pixel that is not asked for.
const NOWHERE: u32 = u32::MAX;

/// The place of each annulus pixel among the pixels that are asked for.
pub(super) fn slots(pixels: &[usize], n_annulus: usize) -> Vec<u32> {
    let mut slots = vec![NOWHERE; n_annulus];
    for (slot, &pixel) in pixels.iter().enumerate() {
        slots[pixel] = slot as u32;
    }
    slots
}

dispatch! {
    /// Picks pixels out of scans, `[time, annulus pixel]`, and writes them pixel by pixel, `[pixel, padded time]`.
    pub(super) fn turn [C: Stored, T, F: Fn(usize, C) -> T] [C, T, F] (
        counts: &[C],
        order: Order<'_>,
        values: &mut [T],
        value: F,
    ) {
        turn_columns(counts, order, values, value)
    }
}

/// Some neighboring annulus pixels at all times after the others: what is read are whole lines of the cache, and each pixel is written
/// from its first time to its last.
#[inline(always)]
fn turn_columns<C: Stored, T>(
    counts: &[C],
    order: Order<'_>,
    values: &mut [T],
    value: impl Fn(usize, C) -> T,
) {
    let Order {
        n_annulus,
        slots,
        padded,
    } = order;
    let block_len = TIME_PAD * n_annulus.max(1);
    let whole = counts.len() / block_len;
    let mut last = counts[whole * block_len..].to_vec();
    // Scans behind the last fill up the padding with zeros.
    last.resize(block_len, C::default());
    let n_blocks = counts.len().div_ceil(block_len);
    let mut first = 0;
    while first < n_annulus {
        // The last pixels together with some that were turned before.
        let start = first.min(n_annulus.saturating_sub(C::WIDTH));
        let width = C::WIDTH.min(n_annulus);
        first = start + width;
        let slots = &slots[start..first];
        if slots.iter().all(|&slot| slot == NOWHERE) {
            continue;
        }
        for block in 0..n_blocks {
            let scans = if block < whole {
                &counts[block * block_len..][..block_len]
            } else {
                &last
            };
            let see = |pixel: usize, column: [C; TIME_PAD]| {
                if slots[pixel] == NOWHERE {
                    return;
                }
                let slot = slots[pixel] as usize;
                let times = &mut values[slot * padded + block * TIME_PAD..][..TIME_PAD];
                for (time, count) in times.iter_mut().zip(column) {
                    *time = value(slot, count);
                }
            };
            if width == C::WIDTH {
                C::columns(scans, n_annulus, start, see);
            } else {
                one_by_one(scans, n_annulus, width, see);
            }
        }
    }
}

/// The plain version, for annuli of very few pixels.
#[inline(always)]
fn one_by_one<C: Stored>(
    scans: &[C],
    n_annulus: usize,
    width: usize,
    mut see: impl FnMut(usize, [C; TIME_PAD]),
) {
    for pixel in 0..width {
        let mut column = [C::default(); TIME_PAD];
        for (time, count) in column.iter_mut().enumerate() {
            *count = scans[time * n_annulus + pixel];
        }
        see(pixel, column);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simd::Isa;

    #[test]
    fn pixels_in_any_order_are_turned_by_any_processor() {
        // Runs with gaps and out of order; scans that do not fill a vector; fewer pixels than are turned at once.
        for n_annulus in [90, 16, 7] {
            let wanted = (3..40).chain([80, 79]).chain(42..60);
            let pixels: Vec<usize> = wanted.filter(|&pixel| pixel < n_annulus).collect();
            check(&pixels, n_annulus, |count| count as u8);
            check(&pixels, n_annulus, |count| count as u16);
            check(&pixels, n_annulus, |count| count as u32);
            check(&pixels, n_annulus, |count| count as f32);
        }
    }

    fn check<C: Stored>(pixels: &[usize], n_annulus: usize, count: fn(usize) -> C) {
        let n_times = 37;
        let counts: Vec<C> = (0..n_times * n_annulus)
            .map(|at| count(at * 37 % 251))
            .collect();
        let slots = slots(pixels, n_annulus);
        let order = Order {
            n_annulus,
            slots: &slots,
            padded: 48,
        };
        for isa in Isa::all() {
            let mut values = vec![0.0; 48 * pixels.len() + TIME_PAD];
            turn(isa, &counts, order, &mut values, |slot, count: C| {
                count.f32() * (slot + 1) as f32
            });
            for (slot, &pixel) in pixels.iter().enumerate() {
                for time in 0..48 {
                    let count = if time < n_times {
                        counts[time * n_annulus + pixel].f32()
                    } else {
                        0.0
                    };
                    let expected = count * (slot + 1) as f32;
                    assert_eq!(values[slot * 48 + time], expected, "{isa:?}");
                }
            }
        }
    }
}
