//! What is kept of frames that are lists of events?
//!
//! What the pass over patterns keeps, bit for bit, since sums of integers do not depend on their order:
//!
//! ```text
//! kept[time, pixel_of[p − offset]] += count        for each event (p, count) of the frame, p its pixel in the pattern
//! offset                            = shift row · pattern columns + shift column
//! pixel_of[p]                       = pixel of the annulus that holds the unmoved pixel p, if one does
//! ```

use super::exact::Frame;
use super::plan::{INVALID, ReducePlan, ShiftTables};
use super::position::{Count, Patterns, PositionSums};
use crate::source::{Event, EventBlock, EventSource, FrameSource};

/// A pattern is summed about this many times faster, a pixel, than a list, an event.
const PIXELS_AN_EVENT: f64 = 16.0;

/// What a frame's list takes for each of its events, with room for frames that have more than the mean.
const BYTES_AN_EVENT: f64 = 2.0 * size_of::<Event>() as f64;

impl ReducePlan {
    /// The lists of a source, where it has them, they are shorter than patterns, and nothing is subtracted or divided.
    pub(super) fn events_of<'a>(&self, source: &'a dyn FrameSource) -> Option<&'a dyn EventSource> {
        let events = source.events().filter(|_| !self.is_corrected())?;
        let is_short = events.events_per_frame() * PIXELS_AN_EVENT <= self.shape.frame_len() as f64;
        (is_short && self.sample_type.is_unsigned()).then_some(events)
    }

    /// Keeps frames of one position; `kept` is its `[time, pixel]`, zero so far.
    pub(super) fn keep_events<C: Count>(
        &self,
        block: &EventBlock,
        frames: &[Frame],
        tables: &ShiftTables,
        kept: &mut [C],
        sums: &mut PositionSums,
    ) {
        let n_pixels = self.annulus.len();
        let highest = self.sample_type.highest_count();
        let pixel_of = tables.pixel_of(&self.settings.calibration.pixel_valid);
        for frame in frames {
            let offset = self.moves[frame.move_idx].offset;
            let kept = &mut kept[frame.time * n_pixels..][..n_pixels];
            let (mut total, mut n_saturated) = (0_u64, 0);
            for &Event { pixel, count } in block.frame(frame.number) {
                let at = pixel as usize;
                match &mut sums.patterns {
                    Patterns::Counts(patterns) => patterns[frame.move_idx][at] += count,
                    Patterns::Real(patterns) => {
                        patterns[frame.move_idx].counts[at] += f64::from(count);
                    }
                }
                // Where it would be had the pattern not moved.
                let unmoved = usize::try_from(at as isize - offset).ok();
                let pixel = unmoved.and_then(|at| pixel_of.get(at)).copied();
                let pixel = pixel.unwrap_or(INVALID);
                let is_valid = pixel != INVALID;
                total += u64::from(count) * u64::from(is_valid);
                n_saturated += u64::from(is_valid & (Some(count) == highest));
                if let Some(kept) = kept.get_mut(pixel as usize) {
                    sums.overflow |= kept.add(count).is_none();
                }
            }
            sums.n_saturated += n_saturated;
            sums.n_frames[frame.move_idx] += 1;
            sums.totals[frame.time] = total as f64;
        }
    }
}

/// Bytes of the list of a frame.
pub(super) fn list_bytes(events: &dyn EventSource) -> usize {
    (events.events_per_frame() * BYTES_AN_EVENT) as usize + size_of::<usize>()
}
