//! Where do frames come from?
//!
//! A [`FrameSource`] only decodes. Cropping, binning, dark, gain, mask and centering are one plan inside
//! [`reduce`](crate::reduce), which touches only the pixels that the annulus needs.

use std::ops::Range;

use ndarray::ArrayView5;

use crate::error::{Error, Result};
use crate::series::{FrameBlock, FrameRun, SampleType, Samples, SeriesHeader, SeriesShape};

mod cleaned;
mod events;

pub use cleaned::CleanedFrames;
pub use events::{Event, EventBlock, EventSource};

/// Delivers the frames of a series.
pub trait FrameSource: Sync {
    /// What is known before reading.
    fn header(&self) -> &SeriesHeader;

    /// Reads a run of frames into a block, whose buffer is reused.
    ///
    /// Missing frames (see [`SeriesHeader::missing`]) read as zeros.
    ///
    /// # Errors
    ///
    /// [`Error::RunOutside`], or [`Error::Source`] with the reader's error.
    fn read(&self, run: &FrameRun, block: &mut FrameBlock) -> Result<()>;

    /// Says that a run will be read soon, so that a disk can fetch it meanwhile. A hint: returns at once, and changes no result. What
    /// is fetched takes as much memory again as the block that it is read into.
    fn expect(&self, _run: &FrameRun) {}

    /// The same frames as lists of events, where the file lists them.
    fn events(&self) -> Option<&dyn EventSource> {
        None
    }
}

/// A series held in memory, for simulations, tests and arrays from other programs.
#[derive(Debug, Clone)]
pub struct MemorySeries {
    header: SeriesHeader,
    samples: Samples,
}

impl MemorySeries {
    /// Takes samples in the order `(time, scan row, scan column, pattern row, pattern column)`.
    ///
    /// # Errors
    ///
    /// [`Error::Shape`] where the number of samples is not that of the header's shape, and
    /// [`Error::SampleType`] where their type is another.
    pub fn new(header: SeriesHeader, samples: Samples) -> Result<Self> {
        let SeriesShape {
            n_times,
            n_rows,
            n_cols,
            pattern_rows,
            pattern_cols,
        } = header.shape;
        let expected = n_times * n_rows * n_cols * pattern_rows * pattern_cols;
        if samples.len() != expected {
            return Err(Error::Shape {
                what: "the samples of a series in memory",
                expected: vec![n_times, n_rows, n_cols, pattern_rows, pattern_cols],
                found: vec![samples.len()],
            });
        }
        if samples.sample_type() != header.sample_type {
            return Err(Error::SampleType {
                what: "a series in memory",
                expected: "the type that its header states",
                found: samples.sample_type(),
            });
        }
        Ok(Self { header, samples })
    }

    /// Copies a five-dimensional array of counts.
    ///
    /// # Errors
    ///
    /// As [`MemorySeries::new`].
    pub fn from_counts(name: &str, counts: ArrayView5<'_, u16>) -> Result<Self> {
        let (n_times, n_rows, n_cols, pattern_rows, pattern_cols) = counts.dim();
        let shape = SeriesShape {
            n_times,
            n_rows,
            n_cols,
            pattern_rows,
            pattern_cols,
        };
        let header = SeriesHeader::new(name, "memory", shape, SampleType::U16);
        Self::new(header, Samples::U16(counts.iter().copied().collect()))
    }

    /// The header, to fill in what is known of the axes.
    pub fn header_mut(&mut self) -> &mut SeriesHeader {
        &mut self.header
    }
}

impl FrameSource for MemorySeries {
    fn header(&self) -> &SeriesHeader {
        &self.header
    }

    fn read(&self, run: &FrameRun, block: &mut FrameBlock) -> Result<()> {
        let shape = &self.header.shape;
        run.check(shape)?;
        let frame_len = shape.frame_len();
        let per_time = shape.n_positions() * frame_len;
        block.run = *run;
        block.pattern_rows = shape.pattern_rows;
        block.pattern_cols = shape.pattern_cols;
        if block.samples.sample_type() != self.samples.sample_type() {
            block.samples = Samples::empty(self.samples.sample_type());
        }
        let starts = (run.first_time..run.first_time + run.n_times)
            .map(|time| time * per_time + run.first_frame * frame_len);
        let ranges = starts.map(|start| start..start + run.n_frames * frame_len);
        copy_ranges(&self.samples, ranges, &mut block.samples);
        Ok(())
    }
}

/// Fills `to` with ranges of samples of the same type, one after another.
fn copy_ranges(from: &Samples, ranges: impl Iterator<Item = Range<usize>>, to: &mut Samples) {
    macro_rules! copy {
        ($($variant:ident),*) => {
            match (from, to) {
                $((Samples::$variant(from), Samples::$variant(to)) => {
                    to.clear();
                    ranges.for_each(|range| to.extend_from_slice(&from[range]));
                })*
                _ => unreachable!("the block was made for this type"),
            }
        };
    }
    copy!(U8, U16, U32, I16, I32, F32, F64);
}

macro_rules! impl_from_vec {
    ($($variant:ident: $t:ty),*) => {$(
        impl From<Vec<$t>> for Samples {
            fn from(samples: Vec<$t>) -> Self {
                Self::$variant(samples)
            }
        }
    )*};
}
impl_from_vec!(U8: u8, U16: u16, U32: u32, I16: i16, I32: i32, F32: f32, F64: f64);
