//! The pass over frames of unsigned counts without dark and gain: all that is kept are sums of integers, hence exact.
//!
//! Native patterns are large and the annulus is a third of them at most. A frame is gone through twice: once in order for the sums over
//! the whole detector, a few thousand pixels of all scans at hand at a time, so that their sums stay in the cache; and once more,
//! from the cache, for the pixels of the annulus alone, which are summed and converted on the way. The plain version is
//! [`keep_frame`](super::position::PositionSums::keep_frame), which takes samples of any type.

use super::gather::Gather;
use super::plan::Move;
use super::position::Count;
use crate::simd::dispatch;

/// Pixels whose sums stay in the innermost cache while the scans go by; so few that a frame's share fits in 32 bits.
const BLOCK_PIXELS: usize = 6144;

/// Scans whose counts of one pixel fit in 32 bits.
pub(super) const MAX_TIMES: usize = 65_537;

/// Native pixels along the side of a binned one whose counts fit in 32 bits together.
pub(super) const MAX_BIN: usize = 256;

/// A sample that is an unsigned count of at most 16 bits.
pub(super) trait Unsigned: Copy + Default + PartialEq + Into<u32> {
    /// The highest value.
    const HIGHEST: u32;
}

impl Unsigned for u8 {
    const HIGHEST: u32 = u8::MAX as u32;
}

impl Unsigned for u16 {
    const HIGHEST: u32 = u16::MAX as u32;
}

/// One frame of a position in a block.
#[derive(Debug, Clone, Copy)]
pub(super) struct Frame {
    /// Its number in the block.
    pub(super) number: usize,
    /// Its scan.
    pub(super) time: usize,
    /// The move of the pattern in that scan.
    pub(super) move_idx: usize,
}

/// The frames of one position among the samples of a block.
#[derive(Debug, Clone, Copy)]
pub(super) struct Frames<'a, S> {
    pub(super) samples: &'a [S],
    pub(super) frames: &'a [Frame],
    pub(super) moves: &'a [Move],
}

/// What one position collects.
#[derive(Debug)]
pub(super) struct Sums<'a> {
    /// Over time, for each native pixel, for each move.
    pub(super) patterns: &'a mut [Vec<u32>],
    /// Over valid pixels, for each scan.
    pub(super) totals: &'a mut [f64],
    /// Samples of valid pixels at the highest value.
    pub(super) n_saturated: &'a mut u64,
}

dispatch! {
    /// Keeps the frames of one position: their counts on the annulus, `[time, pixel]`, and their sums.
    pub(super) fn keep [S: Unsigned, C: Count] [S, C] (
        frames: &Frames<'_, S>,
        gather: &Gather,
        kept: &mut [C],
        sums: &mut Sums<'_>,
    ) {
        keep_in_vectors(frames, gather, kept, sums)
    }
}

#[inline(always)]
fn keep_in_vectors<S: Unsigned, C: Count>(
    frames: &Frames<'_, S>,
    gather: &Gather,
    kept: &mut [C],
    sums: &mut Sums<'_>,
) {
    let Some(frame_len) = sums.patterns.first().map(Vec::len) else {
        return;
    };
    add(frames, frame_len, sums);
    for frame in frames.frames {
        let kept = &mut kept[frame.time * gather.len()..][..gather.len()];
        let pattern = &frames.samples[frame.number * frame_len..][..frame_len];
        gather.take(pattern, frames.moves[frame.move_idx].offset, kept);
    }
}

#[inline(always)]
fn add<S: Unsigned>(frames: &Frames<'_, S>, frame_len: usize, sums: &mut Sums<'_>) {
    for frame in frames.frames {
        sums.totals[frame.time] = 0.0;
    }
    for first in (0..frame_len).step_by(BLOCK_PIXELS) {
        let len = BLOCK_PIXELS.min(frame_len - first);
        for frame in frames.frames {
            let samples = &frames.samples[frame.number * frame_len + first..][..len];
            let pattern = &mut sums.patterns[frame.move_idx][first..][..len];
            let mask = frames.moves[frame.move_idx].mask.as_ref();
            let (mut total, mut highest) = (0_u32, 0_u32);
            match mask {
                None => {
                    for (sum, &sample) in pattern.iter_mut().zip(samples) {
                        let count: u32 = sample.into();
                        *sum += count;
                        total += count;
                        highest = highest.max(count);
                    }
                }
                Some(mask) => {
                    let mask = &mask[first..][..len];
                    for ((sum, &sample), valid) in pattern.iter_mut().zip(samples).zip(mask) {
                        let count: u32 = sample.into();
                        *sum += count;
                        total += count & valid;
                        highest = highest.max(count & valid);
                    }
                }
            }
            // Integers below 2^53: exact in any order.
            sums.totals[frame.time] += f64::from(total);
            if highest == S::HIGHEST {
                let valid = |at: usize| mask.is_none_or(|mask| mask[first + at] != 0);
                let saturated =
                    |&(at, &sample): &(usize, &S)| sample.into() == S::HIGHEST && valid(at);
                *sums.n_saturated += samples.iter().enumerate().filter(saturated).count() as u64;
            }
        }
    }
}
