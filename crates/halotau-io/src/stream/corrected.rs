//! How are dark and gain references applied to frames?
//!
//! ```text
//! corrected = (stored - dark) · gain
//! ```

use std::ops::Range;

use halotau::series::{Sample, SampleType, Samples};
use halotau::with_samples;

use super::{FrameStream, StreamHeader};
use crate::error::Result;
use crate::sample_bytes::zeroed;

/// Bytes of stored frames that are read at once.
const PIECE_BYTES: usize = 8 << 20;

/// A recording whose frames are corrected, as 32-bit floats.
pub(crate) struct CorrectedStream {
    header: StreamHeader,
    inner: Box<dyn FrameStream>,
    references: References,
}

/// One value for each pixel of a frame.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct References {
    pub(crate) dark: Option<Vec<f32>>,
    pub(crate) gain: Option<Vec<f32>>,
}

impl CorrectedStream {
    /// The caller has compared the references' size with that of a frame.
    pub(crate) fn new(inner: Box<dyn FrameStream>, references: References) -> Self {
        let mut header = inner.header().clone();
        header.series.sample_type = SampleType::F32;
        Self {
            header,
            inner,
            references,
        }
    }
}

impl FrameStream for CorrectedStream {
    fn header(&self) -> &StreamHeader {
        &self.header
    }

    fn read(&self, frames: Range<u64>, samples: &mut Samples, mut at: usize) -> Result<()> {
        let Samples::F32(corrected) = samples else {
            unreachable!("the header says what the caller makes room for");
        };
        let about = &self.inner.header().series;
        let frame_len = about.shape.frame_len();
        let at_once =
            (PIECE_BYTES / (frame_len * about.sample_type.n_bytes()).max(1)).max(1) as u64;
        let mut frame = frames.start;
        while frame < frames.end {
            let n = at_once.min(frames.end - frame);
            let mut stored = zeroed(about.sample_type, n as usize * frame_len);
            self.inner.read(frame..frame + n, &mut stored, 0)?;
            let into = &mut corrected[at..at + stored.len()];
            with_samples!(&stored, stored => {
                for (value, &sample) in into.iter_mut().zip(stored) {
                    *value = sample.to_f64() as f32;
                }
            });
            for frame in into.chunks_exact_mut(frame_len) {
                if let Some(dark) = &self.references.dark {
                    for (value, dark) in frame.iter_mut().zip(dark) {
                        *value -= dark;
                    }
                }
                if let Some(gain) = &self.references.gain {
                    for (value, gain) in frame.iter_mut().zip(gain) {
                        *value *= gain;
                    }
                }
            }
            at += n as usize * frame_len;
            frame += n;
        }
        Ok(())
    }

    fn expect(&self, frames: Range<u64>) {
        self.inner.expect(frames);
    }

    fn stamp_ns(&self, frame: u64) -> Result<Option<i64>> {
        self.inner.stamp_ns(frame)
    }

    fn sequence(&self, frame: u64) -> Result<Option<u64>> {
        self.inner.sequence(frame)
    }
}
