//! How are frames read that were recorded in another order than that of the scan?

use std::ops::Range;

use halotau::series::Samples;

use super::{FrameStream, ScanStatement, StreamHeader};
use crate::error::Result;

/// The frames of a recording in the order of a scan.
pub(crate) struct ReorderedStream {
    header: StreamHeader,
    inner: Box<dyn FrameStream>,
    /// Number in the scan's order, and in the recording; sorted by the former.
    frames: Vec<(u64, u64)>,
}

impl ReorderedStream {
    /// `frames` gives for each frame of the recording, in order, the number that it has in the order of the scan.
    pub(crate) fn new(
        inner: Box<dyn FrameStream>,
        numbers: impl Iterator<Item = u64>,
        mut scan: ScanStatement,
    ) -> Self {
        let mut header = inner.header().clone();
        let stored = 0..header.n_frames();
        let mut frames: Vec<(u64, u64)> = numbers.zip(stored).collect();
        frames.sort_unstable();
        header.series.shape.n_cols = frames.len();
        // Positions before the first that was recorded, where the recording was cut short.
        let first = frames.first().map_or(0, |&(number, _)| number);
        scan.sync_offset = i64::try_from(first).map_or(0, |first| -first);
        header.scan = Some(scan);
        Self {
            header,
            inner,
            frames,
        }
    }
}

impl FrameStream for ReorderedStream {
    fn header(&self) -> &StreamHeader {
        &self.header
    }

    fn read(&self, frames: Range<u64>, samples: &mut Samples, mut at: usize) -> Result<()> {
        let frame_len = self.header.series.shape.frame_len();
        let frames = &self.frames[frames.start as usize..frames.end as usize];
        // Neighbors of the scan that are neighbors in the recording are read together.
        for run in frames.chunk_by(|a, b| a.1 + 1 == b.1) {
            let first = run[0].1;
            self.inner
                .read(first..first + run.len() as u64, samples, at)?;
            at += run.len() * frame_len;
        }
        Ok(())
    }

    fn stamp_ns(&self, frame: u64) -> Result<Option<i64>> {
        self.inner.stamp_ns(self.frames[frame as usize].1)
    }

    fn sequence(&self, frame: u64) -> Result<Option<u64>> {
        Ok(Some(self.frames[frame as usize].0))
    }
}
