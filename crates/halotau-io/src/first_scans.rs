//! The first scans of a series as a series of their own.

use halotau::series::{FrameBlock, FrameRun, SeriesHeader};
use halotau::source::{EventSource, FrameSource};

use crate::error::{Error, Result, ShapeMismatch};
use crate::open::BoxedSource;

/// A series without its last scans.
pub(crate) struct FirstScans {
    source: BoxedSource,
    header: SeriesHeader,
}

/// Takes the first scans of a series; all of it where it has no more.
///
/// # Errors
///
/// [`Error::Shape`] where it has fewer.
pub(crate) fn first_scans(source: BoxedSource, n_times: usize) -> Result<BoxedSource> {
    let mut header = source.header().clone();
    let found = header.shape.n_times;
    if found == n_times {
        return Ok(source);
    }
    if found < n_times {
        return Err(Error::Shape {
            what: header.name,
            mismatch: Box::new(ShapeMismatch {
                wanted: vec![n_times as u64],
                found: vec![found as u64],
                problem: "it holds fewer scans than data.n_times asks for".to_owned(),
                suggestions: Vec::new(),
            }),
        });
    }
    header.shape.n_times = n_times;
    header.chunk.n_times = header.chunk.n_times.min(n_times);
    if let Some(times_s) = &mut header.times_s {
        times_s.truncate(n_times);
    }
    // The whole record is longer than its beginning.
    header.total_s = None;
    header.missing.retain(|run| run.first_time < n_times);
    for run in &mut header.missing {
        run.n_times = run.n_times.min(n_times - run.first_time);
    }
    Ok(Box::new(FirstScans { source, header }))
}

impl FrameSource for FirstScans {
    fn header(&self) -> &SeriesHeader {
        &self.header
    }

    fn read(&self, run: &FrameRun, block: &mut FrameBlock) -> halotau::Result<()> {
        run.check(&self.header.shape)?;
        self.source.read(run, block)
    }

    fn events(&self) -> Option<&dyn EventSource> {
        self.source.events()
    }

    fn expect(&self, run: &FrameRun) {
        if run.check(&self.header.shape).is_ok() {
            self.source.expect(run);
        }
    }
}
