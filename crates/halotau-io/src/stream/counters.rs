//! Which frames were counted above the threshold that is asked for?
//!
//! Detectors with two counters a pixel record two frames at each position, one a threshold, in turn. One of them is a series of
//! its own. Frames that all come from one counter are taken as they are, whichever it is.

use std::ops::Range;

use halotau::series::{Samples, Warning};

use super::{FrameStream, StreamHeader};
use crate::error::{Error, Result, ShapeMismatch};

/// Frames whose counter is looked at, spread over the recording.
const FRAMES_ASKED: u64 = 64;

/// The frames of one counter.
struct EverySecond {
    header: StreamHeader,
    stream: Box<dyn FrameStream>,
    first: u64,
    /// Whether the frames of both counters have the same number.
    share_numbers: bool,
}

/// The recording itself, or the frames of the counter asked for where two take turns.
pub(super) fn choose(stream: Box<dyn FrameStream>, counter: usize) -> Result<Box<dyn FrameStream>> {
    let asked = counter as u64;
    let n_frames = stream.header().n_frames();
    let fail = |problem: String| Error::Shape {
        what: stream.header().series.name.clone(),
        mismatch: Box::new(ShapeMismatch {
            wanted: Vec::new(),
            found: vec![n_frames],
            problem,
            suggestions: Vec::new(),
        }),
    };
    let of = |frame: u64| -> Result<Option<u64>> {
        if frame < n_frames {
            stream.counter(frame)
        } else {
            Ok(None)
        }
    };
    let pair = match (of(0)?, of(1)?) {
        (Some(first), Some(second)) if first != second => [first, second],
        (first, _) if asked == 0 || first == Some(asked) => return Ok(stream),
        _ => {
            return Err(fail(format!(
                "frames.counter asks for counter {asked}, but the frames are of one counter only"
            )));
        }
    };
    let Some(first) = pair.iter().position(|&counter| counter == asked) else {
        return Err(fail(format!(
            "frames.counter asks for counter {asked}, but the frames are of counters {} and {}",
            pair[0], pair[1]
        )));
    };
    let step = (n_frames / FRAMES_ASKED).max(1) | 1;
    let asked_frames = (0..n_frames).step_by(usize::try_from(step).unwrap_or(usize::MAX));
    for frame in asked_frames.chain([n_frames - 1]) {
        let found = of(frame)?;
        if found != Some(pair[(frame % 2) as usize]) {
            return Err(fail(format!(
                "the two counters take turns at first, but frame {frame} is of counter {}",
                found.map_or_else(|| "none".to_owned(), |counter| counter.to_string())
            )));
        }
    }
    let share_numbers = stream.sequence(0)? == stream.sequence(1)?;
    let first = first as u64;
    let mut header = stream.header().clone();
    let of_one = |n: u64| n.saturating_sub(first).div_ceil(2);
    header.series.shape.n_cols = of_one(n_frames) as usize;
    for count in &mut header.series.frame_counts {
        if count.n_frames == n_frames {
            count.n_frames = of_one(n_frames);
            count.origin.push_str(", one of two counters");
        }
    }
    header.series.warnings.push(Warning::new(
        "W111",
        format!(
            "Two counters (thresholds) take turns from frame to frame; those of counter {asked} are read. Choose with data.frames.counter."
        ),
    ));
    Ok(Box::new(EverySecond {
        header,
        stream,
        first,
        share_numbers,
    }))
}

impl FrameStream for EverySecond {
    fn header(&self) -> &StreamHeader {
        &self.header
    }

    fn read(&self, frames: Range<u64>, samples: &mut Samples, mut at: usize) -> Result<()> {
        for frame in frames {
            let stored = 2 * frame + self.first;
            self.stream.read(stored..stored + 1, samples, at)?;
            at += self.header.series.shape.frame_len();
        }
        Ok(())
    }

    fn stamp_ns(&self, frame: u64) -> Result<Option<i64>> {
        self.stream.stamp_ns(2 * frame + self.first)
    }

    fn sequence(&self, frame: u64) -> Result<Option<u64>> {
        let number = self.stream.sequence(2 * frame + self.first)?;
        if self.share_numbers {
            return Ok(number);
        }
        let start = self.stream.sequence(self.first)?;
        Ok(number
            .zip(start)
            .and_then(|(number, start)| Some(number.checked_sub(start)? / 2)))
    }
}
