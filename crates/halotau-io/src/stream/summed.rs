//! How do several camera frames become the pattern of one position?
//!
//! Cameras that are faster than the scan record several frames at each position. Their counts are added in a type that
//! holds the sum, so that integers stay exact.

use std::ops::Range;

use halotau::series::{SampleType, Samples};

use super::{FrameStream, StreamHeader};
use crate::error::Result;
use crate::sample_bytes::zeroed;

/// Bytes of camera frames that are read at once.
const PIECE_BYTES: usize = 8 << 20;

/// A recording whose frames are sums of a fixed number of frames of another.
pub(crate) struct SummedStream {
    header: StreamHeader,
    inner: Box<dyn FrameStream>,
    per_sum: u64,
}

/// The smallest type that holds the sum of so many samples of a type.
fn sum_type(sample_type: SampleType, per_sum: u64) -> Option<SampleType> {
    let holds =
        |highest: u64, most: u64| highest.checked_mul(per_sum).is_some_and(|sum| sum <= most);
    match sample_type {
        SampleType::U8 if holds(u8::MAX.into(), u16::MAX.into()) => Some(SampleType::U16),
        SampleType::U8 if holds(u8::MAX.into(), u32::MAX.into()) => Some(SampleType::U32),
        SampleType::U16 if holds(u16::MAX.into(), u32::MAX.into()) => Some(SampleType::U32),
        // The most negative value is the one of the largest size.
        SampleType::I16 if holds(1 << 15, i32::MAX as u64) => Some(SampleType::I32),
        SampleType::F32 | SampleType::F64 => Some(SampleType::F64),
        _ => None,
    }
}

impl SummedStream {
    /// Sums each `per_sum` frames; what is left over at the end is no whole sum.
    ///
    /// # Errors
    ///
    /// In words, where no type holds the sums, or there is not one whole sum.
    pub(crate) fn new(inner: Box<dyn FrameStream>, per_sum: u64) -> Result<Self, String> {
        let mut header = inner.header().clone();
        let found = header.series.sample_type;
        let Some(sample_type) = sum_type(found, per_sum) else {
            return Err(format!(
                "the sum of {per_sum} frames of {found} for each position does not fit into 32 bits"
            ));
        };
        let n_frames = header.n_frames() / per_sum.max(1);
        if n_frames == 0 {
            return Err(format!(
                "{per_sum} frames belong to each position, and there are {}",
                header.n_frames()
            ));
        }
        header.series.sample_type = sample_type;
        // Not larger than the number of frames, which the header holds as such a number.
        header.series.shape.n_cols = n_frames as usize;
        for count in &mut header.series.frame_counts {
            count.n_frames /= per_sum;
            count.origin = format!("{}, each {per_sum} summed", count.origin);
        }
        Ok(Self {
            header,
            inner,
            per_sum,
        })
    }
}

/// Adds frames, `[frame, pixel]`, to the samples of one frame.
macro_rules! add {
    ($from:expr, $into:expr, $at:expr, $frame_len:expr, $($small:ident => $large:ident: $t:ty),*) => {
        match ($from, $into) {
            $((Samples::$small(from), Samples::$large(into)) => {
                let into = &mut into[$at..$at + $frame_len];
                into.fill(<$t>::default());
                for frame in from.chunks_exact($frame_len) {
                    for (sum, &sample) in into.iter_mut().zip(frame) {
                        *sum += <$t>::from(sample);
                    }
                }
            })*
            _ => unreachable!("the constructor chose the type of the sums"),
        }
    };
}

impl FrameStream for SummedStream {
    fn header(&self) -> &StreamHeader {
        &self.header
    }

    fn read(&self, frames: Range<u64>, samples: &mut Samples, mut at: usize) -> Result<()> {
        let about = &self.inner.header().series;
        let frame_len = about.shape.frame_len();
        let frame_bytes = frame_len.saturating_mul(about.sample_type.n_bytes());
        // One position may have more frames than are read at once.
        let at_once = (PIECE_BYTES / frame_bytes.max(1)).max(1) as u64;
        let at_once = at_once.min(self.per_sum);
        let mut buffer = zeroed(about.sample_type, at_once as usize * frame_len);
        let mut partial = zeroed(self.header.series.sample_type, frame_len);
        for frame in frames {
            let mut first = frame * self.per_sum;
            let end = first + self.per_sum;
            let mut is_first = true;
            while first < end {
                let n = at_once.min(end - first);
                if n < at_once {
                    buffer = zeroed(about.sample_type, n as usize * frame_len);
                }
                self.inner.read(first..first + n, &mut buffer, 0)?;
                if is_first {
                    sum(&buffer, samples, at, frame_len);
                } else {
                    sum(&buffer, &mut partial, 0, frame_len);
                    add_frame(&partial, samples, at);
                }
                is_first = false;
                first += n;
            }
            if buffer.len() < at_once as usize * frame_len {
                buffer = zeroed(about.sample_type, at_once as usize * frame_len);
            }
            at += frame_len;
        }
        Ok(())
    }

    fn stamp_ns(&self, frame: u64) -> Result<Option<i64>> {
        self.inner.stamp_ns(frame * self.per_sum)
    }
}

fn sum(from: &Samples, into: &mut Samples, at: usize, frame_len: usize) {
    add!(from, into, at, frame_len,
        U8 => U16: u16, U8 => U32: u32, U16 => U32: u32, I16 => I32: i32, F32 => F64: f64, F64 => F64: f64);
}

/// Adds the sums of one frame to those of another.
fn add_frame(from: &Samples, into: &mut Samples, at: usize) {
    macro_rules! add_same {
        ($($variant:ident),*) => {
            match (from, into) {
                $((Samples::$variant(from), Samples::$variant(into)) => {
                    for (sum, &sample) in into[at..].iter_mut().zip(from) {
                        *sum += sample;
                    }
                })*
                _ => unreachable!("both are of the type of the sums"),
            }
        };
    }
    add_same!(U16, U32, I32, F64);
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests {
    use super::*;

    /// Frames of two pixels: 255 and the frame's number.
    struct Ramp(StreamHeader);

    impl FrameStream for Ramp {
        fn header(&self) -> &StreamHeader {
            &self.0
        }
        fn read(&self, frames: Range<u64>, samples: &mut Samples, mut at: usize) -> Result<()> {
            let Samples::U8(samples) = samples else {
                panic!("asked for another type");
            };
            for frame in frames {
                samples[at..at + 2].copy_from_slice(&[255, frame as u8]);
                at += 2;
            }
            Ok(())
        }
    }

    #[test]
    fn sums_are_exact_and_left_over_frames_belong_to_none() {
        let ramp = |n| Box::new(Ramp(StreamHeader::new("a", "b", n, (1, 2), SampleType::U8)));
        let summed = SummedStream::new(ramp(11), 5).unwrap();
        assert_eq!(summed.header().n_frames(), 2);
        let mut samples = zeroed(SampleType::U16, 5);
        summed.read(0..2, &mut samples, 1).unwrap();
        assert_eq!(samples, Samples::U16(vec![0, 1275, 10, 1275, 35]));
        assert!(SummedStream::new(ramp(4), 5).is_err());
    }

    #[test]
    fn types_hold_their_sums() {
        assert_eq!(sum_type(SampleType::U8, 257), Some(SampleType::U16));
        assert_eq!(sum_type(SampleType::U8, 258), Some(SampleType::U32));
        assert_eq!(sum_type(SampleType::U16, 65_537), Some(SampleType::U32));
        assert_eq!(sum_type(SampleType::U16, 65_538), None);
        assert_eq!(sum_type(SampleType::I16, 65_535), Some(SampleType::I32));
        assert_eq!(sum_type(SampleType::I16, 65_536), None);
        assert_eq!(sum_type(SampleType::U32, 2), None);
    }
}
