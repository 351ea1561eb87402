//! How are frames of few electrons handed over?
//!
//! A frame that was counted has an event for each electron, in a thousandth of its pixels. It is a list `(pixel, count)`, each pixel at
//! most once, that stands for the pattern `I[pixel] = count`, zero elsewhere. Such frames are not unfolded into patterns, so that the
//! cost is that of the events.

use crate::error::Result;
use crate::series::FrameRun;

/// Delivers frames as lists of events.
pub trait EventSource: Sync {
    /// Mean number of events of a frame, which says how many frames are read at once and whether lists are worth it.
    fn events_per_frame(&self) -> f64;

    /// Adds the frames of a run to a block, `[time, frame]`; missing frames have no events.
    ///
    /// # Errors
    ///
    /// As [`FrameSource::read`](super::FrameSource::read).
    fn read_events(&self, run: &FrameRun, block: &mut EventBlock) -> Result<()>;
}

/// The counts of one pixel of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Event {
    /// Index in the pattern, `row * pattern columns + column`.
    pub pixel: u32,
    /// Counts.
    pub count: u32,
}

/// Events of several frames, each pixel of a frame at most once. Its buffers are reused from read to read.
#[derive(Debug, Clone)]
pub struct EventBlock {
    events: Vec<Event>,
    /// Where the events of each frame begin.
    starts: Vec<usize>,
    /// Whether pixels of the last frame came in growing order so far, so that none was there before.
    in_order: bool,
    /// Where in its frame the event of a pixel would be. Never cleared: what is written there is believed only of an event of this
    /// frame and pixel.
    places: Vec<u32>,
}

impl EventBlock {
    /// Room for frames of so many pixels.
    pub fn new(frame_len: usize) -> Self {
        Self {
            events: Vec::new(),
            starts: Vec::new(),
            in_order: true,
            places: vec![0; frame_len],
        }
    }

    /// Forgets all frames.
    pub fn clear(&mut self) {
        self.events.clear();
        self.starts.clear();
    }

    /// Begins the next frame, which has no events yet.
    pub fn begin_frame(&mut self) {
        self.starts.push(self.events.len());
        self.in_order = true;
    }

    /// The count of a pixel of the frame that was begun last, 0 where it had no event; `None` for a pixel that does not exist.
    pub fn count_mut(&mut self, pixel: usize) -> Option<&mut u32> {
        let start = *self.starts.last()?;
        if pixel >= self.places.len() {
            return None;
        }
        let frame = &self.events[start..];
        let follows = frame
            .last()
            .is_none_or(|last| (last.pixel as usize) < pixel);
        let mut at = self.events.len();
        if !(self.in_order && follows) {
            if self.in_order {
                self.in_order = false;
                for (place, event) in frame.iter().enumerate() {
                    self.places[event.pixel as usize] = place as u32;
                }
            }
            let place = &mut self.places[pixel];
            let known = frame.get(*place as usize);
            if known.is_some_and(|event| event.pixel as usize == pixel) {
                at = start + *place as usize;
            } else {
                *place = frame.len() as u32;
            }
        }
        if at == self.events.len() {
            self.events.push(Event {
                pixel: pixel as u32,
                count: 0,
            });
        }
        Some(&mut self.events[at].count)
    }

    /// Frames.
    pub fn n_frames(&self) -> usize {
        self.starts.len()
    }

    /// The events of a frame, in the order in which they came; none for a frame that is not there.
    pub fn frame(&self, number: usize) -> &[Event] {
        let Some(&start) = self.starts.get(number) else {
            return &[];
        };
        let end = self.starts.get(number + 1);
        &self.events[start..end.copied().unwrap_or(self.events.len())]
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests {
    use super::*;

    #[test]
    fn a_pixel_is_listed_once_a_frame() {
        let mut block = EventBlock::new(9);
        for frame in [&[3, 8, 3, 0][..], &[], &[8, 3, 8]] {
            block.begin_frame();
            for &pixel in frame {
                *block.count_mut(pixel).unwrap() += 1;
            }
        }
        let listed = |number| -> Vec<(u32, u32)> {
            let events = block.frame(number).iter();
            events.map(|event| (event.pixel, event.count)).collect()
        };
        assert_eq!(block.n_frames(), 3);
        assert_eq!(listed(0), [(3, 2), (8, 1), (0, 1)]);
        assert_eq!(listed(1), []);
        assert_eq!(listed(2), [(8, 2), (3, 1)]);
        assert_eq!(listed(3), []);
        assert!(block.count_mut(9).is_none());
        block.clear();
        assert!(block.count_mut(3).is_none());
    }
}
