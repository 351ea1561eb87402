//! The counts of one position in the order in which they are computed with: pixel after pixel, each with all its times.
//!
//! They are stored the other way, scan after scan: picking the pixels out [turns](super::turn) them.

use std::ops::Range;

use ndarray::{Array2, ArrayView2, ShapeBuilder};

use crate::ring::RingSeries;
use crate::simd::{Isa, dispatch};
use crate::with_counts;

use super::turn::{Order, Stored, slots, turn};

/// Times of a pixel are padded with zeros to a multiple of this: one vector of `f32` on the widest processor.
pub(crate) const TIME_PAD: usize = 16;

/// Pixels whose products are summed in one go before they are added up in `f64`.
const BLOCK_PIXELS: usize = 256;

/// With fewer pixels a block adding up costs more than the faster products gain.
const MIN_EXACT_PIXELS: f64 = 16.0;

/// Integers up to this are exact in `f32`; a count whose square comes so far fits in 16 bits.
const EXACT_F32: f64 = 16_777_216.0;

/// Counts of one position on some pixels over time.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct PixelSeries {
    n_times: usize,
    n_pixels: usize,
    padded: usize,
    pub(crate) values: Values,
}

/// `[pixel, padded time]`, and zeros behind the last pixel, so that what follows a time is always there.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Values {
    /// Integers so small that the products of a block of pixels are exact in `f32`; they take half of its room in the cache.
    Counts {
        values: Vec<u16>,
        block: usize,
        /// Share of the position's samples that are not zero, on the whole annulus.
        occupancy: f64,
        /// The position's largest sample, on the whole annulus.
        largest: f64,
    },
    /// Anything else; NaN marks a missing sample where there is one.
    F64 { values: Vec<f64>, has_nan: bool },
}

impl Default for Values {
    fn default() -> Self {
        Self::F64 {
            values: Vec::new(),
            has_nan: false,
        }
    }
}

impl PixelSeries {
    /// The counts of a position of a block on some annulus pixels, each of them named once, in that order; each pixel is multiplied by its factor where there
    /// are factors.
    pub fn gather(
        rings: &RingSeries,
        (row, col): (usize, usize),
        pixels: &[usize],
        factors: Option<&[f64]>,
    ) -> Self {
        Self::default().gathered_again(rings, (row, col), pixels, factors)
    }

    /// As [`PixelSeries::gather`], in the memory of an earlier series.
    pub(crate) fn gathered_again(
        self,
        rings: &RingSeries,
        (row, col): (usize, usize),
        pixels: &[usize],
        factors: Option<&[f64]>,
    ) -> Self {
        let (_, _, n_times, n_annulus) = rings.dim();
        let series = Self {
            n_times,
            n_pixels: pixels.len(),
            padded: n_times.next_multiple_of(TIME_PAD),
            values: self.values,
        };
        let len = n_times * n_annulus;
        let start = (row * rings.dim().1 + col) * len;
        with_counts!(&rings.counts, counts => {
            // Whoever made the counts in another order pays for a copy of them.
            let ordered = counts.as_standard_layout();
            let counts = ordered.as_slice().unwrap_or_default();
            series.filled(&counts[start..start + len], n_annulus, pixels, factors, rings.is_integer())
        })
    }

    fn filled<C: Stored>(
        mut self,
        counts: &[C],
        n_annulus: usize,
        pixels: &[usize],
        factors: Option<&[f64]>,
        is_integer: bool,
    ) -> Self {
        let isa = Isa::best();
        let slots = slots(pixels, n_annulus);
        let order = Order {
            n_annulus,
            slots: &slots,
            padded: self.padded,
        };
        if is_integer && factors.is_none() {
            // In the order of memory, which also brings the counts into the cache for what comes next.
            let (largest, n_events) = survey(isa, counts);
            if let Some(block) = exact_block(largest.f64()) {
                let mut values = match self.values {
                    Values::Counts { values, .. } => values,
                    Values::F64 { .. } => Vec::new(),
                };
                // All but what follows the last pixel is written.
                values.resize(self.padded * self.n_pixels, 0);
                turn(isa, counts, order, &mut values, |_, count: C| count.u16());
                values.resize(values.len() + TIME_PAD, 0);
                self.values = Values::Counts {
                    values,
                    block,
                    occupancy: n_events as f64 / counts.len().max(1) as f64,
                    largest: largest.f64(),
                };
                return self;
            }
        }
        let mut values = vec![0.0; self.len()];
        match factors {
            None => turn(isa, counts, order, &mut values, |_, count: C| count.f64()),
            Some(factors) => {
                let value = |slot: usize, count: C| count.f64() * factors[slot];
                turn(isa, counts, order, &mut values, value);
            }
        }
        let has_nan = !is_integer && values.iter().any(|value| value.is_nan());
        self.values = Values::F64 { values, has_nan };
        self
    }

    /// Some of the pixels, in the order given, each multiplied by its factor.
    pub(crate) fn scaled(&self, pixels: impl ExactSizeIterator<Item = (usize, f64)>) -> Self {
        let (padded, n_pixels) = (self.padded, pixels.len());
        let len = padded * n_pixels + TIME_PAD;
        let mut values = Vec::with_capacity(len);
        for (pixel, factor) in pixels {
            let part = pixel * padded..(pixel + 1) * padded;
            match &self.values {
                Values::Counts { values: own, .. } => {
                    values.extend(own[part].iter().map(|&count| f64::from(count) * factor));
                }
                Values::F64 { values: own, .. } => {
                    values.extend(own[part].iter().map(|count| count * factor));
                }
            }
        }
        values.resize(len, 0.0);
        // Some of the pixels may lack no sample although others do.
        let has_nan = matches!(self.values, Values::F64 { has_nan: true, .. })
            && values.iter().any(|value| value.is_nan());
        Self {
            n_pixels,
            values: Values::F64 { values, has_nan },
            ..*self
        }
    }

    /// The largest count of the position on the annulus, where all are small integers.
    pub(crate) fn largest(&self) -> Option<f64> {
        match self.values {
            Values::Counts { largest, .. } => Some(largest),
            Values::F64 { .. } => None,
        }
    }

    /// Counts that are `[time, pixel]`; NaN marks a missing sample.
    pub fn of(ring: ArrayView2<'_, f64>) -> Self {
        let (n_times, n_pixels) = ring.dim();
        let padded = n_times.next_multiple_of(TIME_PAD);
        let mut values = vec![0.0; padded * n_pixels + TIME_PAD];
        for (pixel, counts) in values.chunks_mut(padded.max(1)).zip(ring.columns()) {
            pixel
                .iter_mut()
                .zip(counts)
                .for_each(|(value, &count)| *value = count);
        }
        let has_nan = ring.iter().any(|count| count.is_nan());
        Self {
            n_times,
            n_pixels,
            padded,
            values: Values::F64 { values, has_nan },
        }
    }

    fn len(&self) -> usize {
        self.padded * self.n_pixels + TIME_PAD
    }

    /// Number of scans.
    pub fn n_times(&self) -> usize {
        self.n_times
    }

    /// Number of pixels.
    pub fn n_pixels(&self) -> usize {
        self.n_pixels
    }

    pub(crate) fn padded(&self) -> usize {
        self.padded
    }

    /// Writes the counts of one pixel, `[time]`.
    pub(crate) fn read(&self, pixel: usize, counts: &mut [f64]) {
        let times = pixel * self.padded..pixel * self.padded + self.n_times;
        match &self.values {
            Values::Counts { values, .. } => {
                let own = counts.iter_mut().zip(&values[times]);
                own.for_each(|(to, &from)| *to = f64::from(from));
            }
            Values::F64 { values, .. } => counts.copy_from_slice(&values[times]),
        }
    }

    /// Counts of some pixels, `[time, pixel]`.
    pub(crate) fn array(&self, pixels: Range<usize>) -> Array2<f64> {
        let shape = (self.padded, pixels.len()).f();
        let values = match &self.values {
            Values::Counts { values, .. } => {
                let part = &values[pixels.start * self.padded..pixels.end * self.padded];
                part.iter().map(|&value| f64::from(value)).collect()
            }
            Values::F64 { values, .. } => {
                values[pixels.start * self.padded..pixels.end * self.padded].to_vec()
            }
        };
        let all = Array2::from_shape_vec(shape, values).expect("whole pixels were taken");
        all.slice_move(ndarray::s![..self.n_times, ..])
    }
}

/// The largest number of pixels whose products are exact in `f32`; `None` where that is too few.
fn exact_block(largest: f64) -> Option<usize> {
    let pixels = EXACT_F32 / (largest * largest).max(1.0);
    (pixels >= MIN_EXACT_PIXELS).then(|| (pixels as usize).min(BLOCK_PIXELS))
}

dispatch! {
    /// The largest of some counts, and how many are not zero.
    fn survey [C: Stored] [C] (counts: &[C]) -> (C, usize) {
        survey_in_vectors(counts)
    }
}

#[inline(always)]
fn survey_in_vectors<C: Stored>(counts: &[C]) -> (C, usize) {
    /// Counts of a vector of the widest processor, where they are of 16 bits.
    const LANES: usize = 32;
    let zero = C::default();
    let mut largest = [zero; LANES];
    let mut n_events = 0_usize;
    // So few vectors at once that their numbers are exact in 16 bits.
    for part in counts.chunks(LANES * usize::from(u16::MAX)) {
        let mut n_here = [0_u16; LANES];
        let (vectors, rest) = part.as_chunks::<LANES>();
        for vector in vectors {
            for at in 0..LANES {
                // Not `max`, which has a rule of its own for NaN; counts are none.
                largest[at] = if vector[at] > largest[at] {
                    vector[at]
                } else {
                    largest[at]
                };
                n_here[at] += u16::from(vector[at] != zero);
            }
        }
        for (largest, &count) in largest.iter_mut().zip(rest) {
            *largest = if count > *largest { count } else { *largest };
            n_events += usize::from(count != zero);
        }
        n_events += n_here.iter().map(|&n| usize::from(n)).sum::<usize>();
    }
    let larger = |most: C, &count: &C| if count > most { count } else { most };
    (largest.iter().fold(zero, larger), n_events)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ring::RingCounts;
    use ndarray::{Array3, Array4, array};

    fn rings(counts: Array4<u16>) -> RingSeries {
        let (n_rows, n_cols, n_times, _) = counts.dim();
        RingSeries {
            first_row: 0,
            first_col: 0,
            counts: RingCounts::U16(counts),
            frame_valid: Array3::from_elem((n_rows, n_cols, n_times), true),
            pixel_valid: None,
        }
    }

    #[test]
    fn pixels_are_picked_and_turned() {
        let count = |(row, col, time, pixel): (usize, usize, usize, usize)| {
            (1000 * row + 500 * col + 10 * time + pixel) as u16
        };
        let rings = rings(Array4::from_shape_fn((2, 2, 19, 5), count));
        for factors in [None, Some([0.5, 2.0, 1.0].as_slice())] {
            let series = PixelSeries::gather(&rings, (1, 0), &[4, 0, 3], factors);
            let array = series.array(1..3);
            assert_eq!(array.dim(), (19, 2));
            for time in 0..19 {
                let factor = factors.map_or(1.0, |factors| factors[1]);
                assert_eq!(array[[time, 0]], factor * f64::from(count((1, 0, time, 0))));
            }
        }
    }

    #[test]
    fn every_processor_finds_the_largest_and_the_events() {
        let counts: Vec<u16> = (0..1000_u16).map(|at| (at * 37) % 251 / 5).collect();
        for isa in Isa::all() {
            for part in [&counts[..], &counts[..5]] {
                let most = part.iter().copied().max().unwrap_or(0);
                let n_events = part.iter().filter(|&&count| count != 0).count();
                assert_eq!(survey(isa, part), (most, n_events));
            }
        }
    }

    #[test]
    fn a_part_is_scaled() {
        let count = |(_, _, time, pixel): (usize, usize, usize, usize)| (10 * time + pixel) as u16;
        let rings = rings(Array4::from_shape_fn((1, 1, 3, 5), count));
        let series = PixelSeries::gather(&rings, (0, 0), &[4, 0, 3], None);
        let scaled = PixelSeries::gather(&rings, (0, 0), &[0, 3], Some(&[0.5, 3.0]));
        let last = PixelSeries::gather(&rings, (0, 0), &[3], Some(&[3.0]));
        assert_eq!(scaled.scaled([(1, 1.0)].into_iter()), last);
        let parts = [(1, 0.5), (2, 3.0)];
        assert_eq!(series.scaled(parts.into_iter()), scaled);
    }

    #[test]
    fn large_counts_are_not_rounded() {
        assert_eq!(exact_block(255.0), Some(BLOCK_PIXELS));
        assert_eq!(exact_block(1024.0), Some(16));
        assert_eq!(exact_block(1025.0), None);
        let rings = rings(Array4::from_elem((1, 1, 3, 4), 60_001));
        let series = PixelSeries::gather(&rings, (0, 0), &[0, 1], None);
        assert!(matches!(series.values, Values::F64 { .. }));
        assert_eq!(
            series.array(0..1),
            array![[60_001.0], [60_001.0], [60_001.0]]
        );
    }
}
