//! What is a recording of frames, before anyone says which scan they belong to?
//!
//! A camera writes frames one after another. Which scan position a frame belongs to is often not in its file. So the
//! reader of a detector's format gives a [`FrameStream`], frames numbered in the order of recording, and
//! [`arranged`] makes a series of it: scan shape, frames before the first position, flyback, lost frames, turns.

pub(crate) mod arranged;
pub(crate) mod concat;
pub(crate) mod corrected;
mod counters;
mod gaps;
mod of_source;
pub(crate) mod reordered;
mod scan_shape;
pub(crate) mod strided;
pub(crate) mod summed;

use std::ops::Range;

use halotau::series::{SampleType, Samples, SeriesHeader, SeriesShape};
use halotau::source::EventBlock;

pub(crate) use of_source::SourceStream;

use crate::error::Result;

/// Frames of a recording, in the order in which they were recorded.
pub(crate) trait FrameStream: Send + Sync {
    /// What is known before frames are read.
    fn header(&self) -> &StreamHeader;

    /// Decodes frames into `samples` from index `at` on.
    ///
    /// The caller keeps the range inside the recording, and has sized `samples`, of the header's type.
    ///
    /// # Errors
    ///
    /// What is wrong with the file at these frames.
    fn read(&self, frames: Range<u64>, samples: &mut Samples, at: usize) -> Result<()>;

    /// Says that frames will be read soon, so that a disk can fetch them meanwhile. A hint: returns at once, and changes no result.
    fn expect(&self, _frames: Range<u64>) {}

    /// The same frames as lists of events, where the file lists them.
    fn events(&self) -> Option<&dyn EventStream> {
        None
    }

    /// When a frame was recorded, nanoseconds since 1970 in UTC (or from any other fixed moment).
    ///
    /// # Errors
    ///
    /// The file cannot be read there.
    fn stamp_ns(&self, _frame: u64) -> Result<Option<i64>> {
        Ok(None)
    }

    /// The number that the camera gave a frame. It grows by one from frame to frame unless frames were lost.
    ///
    /// # Errors
    ///
    /// The file cannot be read there.
    fn sequence(&self, _frame: u64) -> Result<Option<u64>> {
        Ok(None)
    }

    /// Which of the detector's counters (thresholds) a frame is from, where it says so.
    ///
    /// # Errors
    ///
    /// The file cannot be read there.
    fn counter(&self, _frame: u64) -> Result<Option<u64>> {
        Ok(None)
    }
}

/// Frames of a recording as lists of events.
pub(crate) trait EventStream: Send + Sync {
    /// Mean number of events of a frame.
    fn events_per_frame(&self) -> f64;

    /// Adds frames to a block.
    ///
    /// # Errors
    ///
    /// As [`FrameStream::read`].
    fn read_events(&self, frames: Range<u64>, block: &mut EventBlock) -> Result<()>;
}

/// Makes patterns of lists of events, which fit in the type of the samples.
pub(crate) fn unfold(block: &EventBlock, frame_len: usize, samples: &mut Samples, at: usize) {
    macro_rules! unfold {
        ($($variant:ident: $t:ty),*) => {
            match samples {
                $(Samples::$variant(samples) => {
                    let patterns = samples[at..].chunks_exact_mut(frame_len);
                    for (number, pattern) in patterns.take(block.n_frames()).enumerate() {
                        pattern.fill(0);
                        for event in block.frame(number) {
                            pattern[event.pixel as usize] = event.count as $t;
                        }
                    }
                })*
                _ => unreachable!("lists are of unsigned counts"),
            }
        };
    }
    unfold!(U8: u8, U16: u16, U32: u32);
}

/// What is known of a recording.
#[derive(Debug, Clone)]
pub(crate) struct StreamHeader {
    /// Format, number type, axes, counts of frames and warnings. Its shape is one row that holds every whole frame of the recording.
    pub(crate) series: SeriesHeader,
    /// The scan, where the file or a sidecar states it.
    pub(crate) scan: Option<ScanStatement>,
}

impl StreamHeader {
    /// A header that knows nothing but the frames.
    pub(crate) fn new(
        name: impl Into<String>,
        format: impl Into<String>,
        n_frames: usize,
        (pattern_rows, pattern_cols): (usize, usize),
        sample_type: SampleType,
    ) -> Self {
        let shape = SeriesShape {
            n_times: 1,
            n_rows: 1,
            n_cols: n_frames,
            pattern_rows,
            pattern_cols,
        };
        Self {
            series: SeriesHeader::new(name, format, shape, sample_type),
            scan: None,
        }
    }

    /// Whole frames in the recording.
    pub(crate) fn n_frames(&self) -> u64 {
        self.series.shape.n_cols as u64
    }
}

/// What a file says about its scan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ScanStatement {
    /// Scans, where stated; otherwise as many as there are frames for.
    pub(crate) n_times: Option<usize>,
    /// Scan rows.
    pub(crate) n_rows: usize,
    /// Scan columns that belong to positions.
    pub(crate) n_cols: usize,
    /// Frames before the first line.
    pub(crate) sync_offset: i64,
    /// Frames before the first column of each line.
    pub(crate) prescan_cols: usize,
    /// Frames after the last column of each line.
    pub(crate) flyback_cols: usize,
    /// In words: "ScanX and ScanY of the .hdr file".
    pub(crate) origin: String,
    /// How far it is to be believed.
    pub(crate) certainty: Certainty,
}

/// How far a statement of a scan is to be believed against the gaps between time stamps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Certainty {
    /// Rows and columns are named.
    Stated,
    /// Two lengths are stated, and which of them is the columns is a convention.
    OrderUnsure,
    /// The numbers may mean something else.
    Guess,
}

impl ScanStatement {
    /// Rows and columns, without flyback.
    pub(crate) fn new(n_rows: usize, n_cols: usize, origin: impl Into<String>) -> Self {
        Self {
            n_times: None,
            n_rows,
            n_cols,
            sync_offset: 0,
            prescan_cols: 0,
            flyback_cols: 0,
            origin: origin.into(),
            certainty: Certainty::Stated,
        }
    }
}
