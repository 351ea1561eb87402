//! Which frames did the camera lose?
//!
//! Cameras number their frames. Where the number of the last frame is larger than the count of frames allows, some were
//! lost; a bisection finds each gap with few reads, because `number - index` never falls.

use std::ops::Range;

use super::FrameStream;
use crate::error::Result;

/// Gaps beyond which the numbers are taken to be no count of frames.
const MOST_GAPS: usize = 4096;

/// Frames that follow each other without a gap.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Stretch {
    /// Number of the first in the order of acquisition, lost frames counted.
    pub(super) acquired: u64,
    /// Number of the first among the frames that there are.
    pub(super) stored: u64,
    pub(super) n_frames: u64,
}

/// Stretches of frames without gaps, in order; one that holds all where the camera gives no numbers.
pub(super) fn stretches(stream: &dyn FrameStream) -> Result<Vec<Stretch>> {
    let n_frames = stream.header().n_frames();
    let whole = Stretch {
        acquired: 0,
        stored: 0,
        n_frames,
    };
    let Some(last) = n_frames.checked_sub(1) else {
        return Ok(vec![whole]);
    };
    let (Some(first_number), Some(last_number)) = (stream.sequence(0)?, stream.sequence(last)?)
    else {
        return Ok(vec![whole]);
    };
    // Numbers that start again or stand still count something else.
    let lost_before =
        |frame: u64, number: u64| number.checked_sub(first_number)?.checked_sub(frame);
    match lost_before(last, last_number) {
        None | Some(0) => return Ok(vec![whole]),
        Some(lost) if lost > n_frames => return Ok(vec![whole]),
        Some(_) => {}
    }
    let lost = |frame: u64| -> Result<Option<u64>> {
        Ok(stream
            .sequence(frame)?
            .and_then(|number| lost_before(frame, number)))
    };
    let mut gaps = Vec::new();
    let mut open: Vec<(Range<u64>, u64, u64)> = vec![(
        0..last,
        0,
        lost_before(last, last_number).unwrap_or_default(),
    )];
    while let Some((frames, lost_start, lost_end)) = open.pop() {
        if lost_start == lost_end {
            continue;
        }
        if frames.end - frames.start == 1 {
            gaps.push((frames.end, lost_end));
            if gaps.len() > MOST_GAPS {
                return Ok(vec![whole]);
            }
            continue;
        }
        let middle = frames.start + (frames.end - frames.start) / 2;
        match lost(middle)? {
            Some(lost) if (lost_start..=lost_end).contains(&lost) => {
                open.push((middle..frames.end, lost, lost_end));
                open.push((frames.start..middle, lost_start, lost));
            }
            _ => return Ok(vec![whole]),
        }
    }
    let mut stretches = Vec::with_capacity(gaps.len() + 1);
    let mut start = 0;
    let mut lost_so_far = 0;
    for (frame, lost) in gaps {
        stretches.push(Stretch {
            acquired: start + lost_so_far,
            stored: start,
            n_frames: frame - start,
        });
        (start, lost_so_far) = (frame, lost);
    }
    stretches.push(Stretch {
        acquired: start + lost_so_far,
        stored: start,
        n_frames: n_frames - start,
    });
    Ok(stretches)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests {
    use halotau::series::{SampleType, Samples};

    use super::*;
    use crate::stream::StreamHeader;

    struct Numbered(StreamHeader, Vec<u64>);

    impl FrameStream for Numbered {
        fn header(&self) -> &StreamHeader {
            &self.0
        }
        fn read(&self, _: Range<u64>, _: &mut Samples, _: usize) -> Result<()> {
            Ok(())
        }
        fn sequence(&self, frame: u64) -> Result<Option<u64>> {
            Ok(Some(self.1[frame as usize]))
        }
    }

    fn found(numbers: &[u64]) -> Vec<(u64, u64, u64)> {
        let header = StreamHeader::new("a", "b", numbers.len(), (1, 1), SampleType::U8);
        stretches(&Numbered(header, numbers.to_vec()))
            .unwrap()
            .iter()
            .map(|s| (s.acquired, s.stored, s.n_frames))
            .collect()
    }

    #[test]
    fn every_gap_is_found() {
        assert_eq!(found(&[5, 6, 7, 8]), [(0, 0, 4)]);
        assert_eq!(
            found(&[5, 6, 9, 10, 11, 13, 14]),
            [(0, 0, 2), (4, 2, 3), (8, 5, 2)]
        );
        assert_eq!(found(&[1, 3, 5]), [(0, 0, 1), (2, 1, 1), (4, 2, 1)]);
        // Not a count of frames: it starts again, stands still, or jumps by more than the recording holds.
        for numbers in [&[1, 2, 1, 2][..], &[7, 7, 7], &[1, 1000, 1001]] {
            assert_eq!(found(numbers), [(0, 0, numbers.len() as u64)]);
        }
        // Middle numbers that contradict the ends.
        assert_eq!(found(&[1, 2, 9, 4, 6]), [(0, 0, 5)]);
    }
}
