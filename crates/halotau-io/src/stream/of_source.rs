//! How does a series become a recording again, to be arranged in another way?

use std::ops::Range;

use halotau::series::{FrameBlock, FrameRun, Samples};

use super::{FrameStream, ScanStatement, StreamHeader};
use crate::error::Result;
use crate::open::BoxedSource;
use crate::sample_bytes::copy_samples;

/// Frames of a series in the order of its own axes.
pub(crate) struct SourceStream {
    header: StreamHeader,
    source: BoxedSource,
}

impl SourceStream {
    /// The scan of the series is what its stream states.
    pub(crate) fn new(source: BoxedSource) -> Self {
        let series = source.header().clone();
        let shape = series.shape;
        let mut header = StreamHeader::new(
            series.name.clone(),
            series.format.clone(),
            shape.n_times * shape.n_positions(),
            (shape.pattern_rows, shape.pattern_cols),
            series.sample_type,
        );
        let row = header.series.shape;
        header.series = series;
        header.series.shape = row;
        // One row is what a stack of frames is read as whose scan is not known.
        header.scan = (shape.n_times > 1 || shape.n_rows > 1).then(|| ScanStatement {
            n_times: Some(shape.n_times),
            ..ScanStatement::new(shape.n_rows, shape.n_cols, "axes of the file")
        });
        Self { header, source }
    }

    fn frames_per_scan(&self) -> u64 {
        self.source.header().shape.n_positions() as u64
    }

    /// The parts of a range of frames that lie in one scan each.
    fn runs(&self, frames: Range<u64>) -> impl Iterator<Item = FrameRun> + use<> {
        let per_scan = self.frames_per_scan();
        let mut frame = frames.start;
        std::iter::from_fn(move || {
            let first_frame = frame % per_scan;
            let n = (per_scan - first_frame).min(frames.end.saturating_sub(frame));
            let run = FrameRun {
                first_time: (frame / per_scan) as usize,
                n_times: 1,
                first_frame: first_frame as usize,
                n_frames: n as usize,
            };
            frame += n;
            (n > 0).then_some(run)
        })
    }
}

impl FrameStream for SourceStream {
    fn header(&self) -> &StreamHeader {
        &self.header
    }

    fn read(&self, frames: Range<u64>, samples: &mut Samples, mut at: usize) -> Result<()> {
        let mut block = FrameBlock::empty(self.header.series.sample_type);
        for run in self.runs(frames) {
            self.source.read(&run, &mut block)?;
            at += copy_samples(samples, at, &block.samples);
        }
        Ok(())
    }

    fn expect(&self, frames: Range<u64>) {
        for run in self.runs(frames) {
            self.source.expect(&run);
        }
    }

    fn stamp_ns(&self, frame: u64) -> Result<Option<i64>> {
        // Only the starts of scans are known.
        let per_scan = self.frames_per_scan();
        let series = &self.header.series;
        let time = series
            .times_s
            .as_ref()
            .filter(|_| frame.is_multiple_of(per_scan))
            .and_then(|times| times.get((frame / per_scan) as usize));
        Ok(time.map(|time| series.start_unix_ns.unwrap_or(0) + (time * 1e9).round() as i64))
    }
}
