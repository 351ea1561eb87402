//! From scan after scan to pixel after pixel.
//!
//! ```text
//! counts [time, annulus pixel]  ->  values [pixel, padded time]
//! ```
//!
//! Sixteen scans by sixteen or more neighboring pixels are turned at once, in registers where counts are of 16 bits. The neighbors
//! are then written each to its place, from the first time to the last, before the next are read: memory is read in whole lines of
//! the cache, and written in runs as long as the series.
//!
//! All is spelled in loops: what arrays are mapped with is not always inlined, and then lacks the instructions of this processor.

use super::pixel_series::TIME_PAD;
use crate::simd::dispatch;

/// A count, as it is stored.
pub(super) trait Stored: Copy + Default + PartialOrd {
    /// Annulus pixels that are turned together, [`MOST_WIDTH`] at most.
    const WIDTH: usize;

    /// A count that fits.
    fn u16(self) -> u16;
    fn f64(self) -> f64;

    /// Turns [`Self::WIDTH`] pixels from `first` on in sixteen scans, `[time, annulus pixel]`.
    fn columns(scans: &[Self], n_annulus: usize, first: usize, columns: &mut Columns<Self>);
}

/// Pixels that are turned together at most.
const MOST_WIDTH: usize = 4 * WORDS;

/// The counts of some pixels in sixteen scans.
type Columns<C> = [[C; TIME_PAD]; MOST_WIDTH];

macro_rules! impl_stored {
    ($columns:ident, $width:expr; $($t:ty),*) => {$(
        impl Stored for $t {
            const WIDTH: usize = $width;

            #[inline(always)]
            fn u16(self) -> u16 {
                self as u16
            }

            #[inline(always)]
            fn f64(self) -> f64 {
                f64::from(self)
            }

            #[inline(always)]
            fn columns(scans: &[Self], n_annulus: usize, first: usize, columns: &mut Columns<Self>) {
                $columns(scans, n_annulus, first, columns)
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
    fn word(counts: [Self; 4]) -> u64;

    /// The counts that were put into a word.
    fn counts(word: u64) -> [Self; 4];
}

impl Narrow for u16 {
    #[inline(always)]
    fn word([a, b, c, d]: [Self; 4]) -> u64 {
        u64::from(a) | u64::from(b) << 16 | u64::from(c) << 32 | u64::from(d) << 48
    }

    #[inline(always)]
    fn counts(word: u64) -> [Self; 4] {
        [
            word as Self,
            (word >> 16) as Self,
            (word >> 32) as Self,
            (word >> 48) as Self,
        ]
    }
}

impl Narrow for u8 {
    #[inline(always)]
    fn word([a, b, c, d]: [Self; 4]) -> u64 {
        u16::word([u16::from(a), u16::from(b), u16::from(c), u16::from(d)])
    }

    #[inline(always)]
    fn counts(word: u64) -> [Self; 4] {
        [
            word as Self,
            (word >> 16) as Self,
            (word >> 32) as Self,
            (word >> 48) as Self,
        ]
    }
}

/// Four scans by four pixels are turned within words, in vectors of words; each pixel's sixteen scans are four such words.
#[inline(always)]
fn columns_of_words<C: Narrow>(
    scans: &[C],
    n_annulus: usize,
    first: usize,
    columns: &mut Columns<C>,
) {
    // [four scans][pixel of a word][word]
    let mut turned = [[[0_u64; WORDS]; 4]; TIME_PAD / 4];
    for (four, turned) in turned.iter_mut().enumerate() {
        let mut rows = [[0_u64; WORDS]; 4];
        for (time, row) in rows.iter_mut().enumerate() {
            let counts = &scans[(4 * four + time) * n_annulus + first..][..4 * WORDS];
            let (counts, _) = counts.as_chunks::<4>();
            for word in 0..WORDS {
                row[word] = C::word(counts[word]);
            }
        }
        let [rows_0, rows_1, rows_2, rows_3] = rows;
        for word in 0..WORDS {
            let even = rows_0[word] & EVEN | (rows_1[word] & EVEN) << 16;
            let odd = rows_0[word] >> 16 & EVEN | rows_1[word] & !EVEN;
            let later_even = rows_2[word] & EVEN | (rows_3[word] & EVEN) << 16;
            let later_odd = rows_2[word] >> 16 & EVEN | rows_3[word] & !EVEN;
            turned[0][word] = even & LOWER | later_even << 32;
            turned[1][word] = odd & LOWER | later_odd << 32;
            turned[2][word] = even >> 32 | later_even & !LOWER;
            turned[3][word] = odd >> 32 | later_odd & !LOWER;
        }
    }
    for pixel in 0..4 * WORDS {
        let (fours, _) = columns[pixel].as_chunks_mut::<4>();
        for four in 0..TIME_PAD / 4 {
            fours[four] = C::counts(turned[four][pixel % 4][pixel / 4]);
        }
    }
}

/// Sixteen scans by sixteen pixels, sample by sample: the plain version, for counts that are stored in 32 bits.
#[inline(always)]
fn columns_of_samples<C: Copy + Default>(
    scans: &[C],
    n_annulus: usize,
    first: usize,
    columns: &mut Columns<C>,
) {
    for time in 0..TIME_PAD {
        let counts = &scans[time * n_annulus + first..][..TIME_PAD];
        for (column, &count) in columns.iter_mut().zip(counts) {
            column[time] = count;
        }
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
    let mut columns = [[C::default(); TIME_PAD]; MOST_WIDTH];
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
            if width == C::WIDTH {
                C::columns(scans, n_annulus, start, &mut columns);
            } else {
                one_by_one(scans, n_annulus, width, &mut columns);
            }
            for (column, &slot) in columns.iter().zip(slots) {
                if slot == NOWHERE {
                    continue;
                }
                let slot = slot as usize;
                let times = &mut values[slot * padded + block * TIME_PAD..][..TIME_PAD];
                for at in 0..TIME_PAD {
                    times[at] = value(slot, column[at]);
                }
            }
        }
    }
}

/// The plain version, for annuli of very few pixels.
#[inline(always)]
fn one_by_one<C: Stored>(scans: &[C], n_annulus: usize, width: usize, columns: &mut Columns<C>) {
    for (pixel, column) in columns[..width].iter_mut().enumerate() {
        for (time, count) in column.iter_mut().enumerate() {
            *count = scans[time * n_annulus + pixel];
        }
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
                count.f64() * (slot + 1) as f64
            });
            for (slot, &pixel) in pixels.iter().enumerate() {
                for time in 0..48 {
                    let count = if time < n_times {
                        counts[time * n_annulus + pixel].f64()
                    } else {
                        0.0
                    };
                    let expected = count * (slot + 1) as f64;
                    assert_eq!(values[slot * 48 + time], expected, "{isa:?}");
                }
            }
        }
    }
}
