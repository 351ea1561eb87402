//! How is one of several counters read whose patterns lie beside each other?
//!
//! Detectors that count above several thresholds give several patterns for each position. Files of fpd keep them
//! along an axis before those of the pattern, `[row, col, counter, pattern row, pattern col]`, and have that
//! axis for detectors with one counter, too.

use std::ops::Range;

use halotau::series::{Samples, SeriesShape, Warning};

use super::conventions::{Axes, Convention};
use super::dataset::Dataset;
use super::source::Hdf5Source;
use crate::arrangement::arrange;
use crate::error::{Error, Result};
use crate::metadata::describe;
use crate::open::BoxedSource;
use crate::sample_bytes::zeroed;
use crate::stream::arranged::ArrangedSource;
use crate::stream::{FrameStream, ScanStatement, SourceStream, StreamHeader};

/// Code of the warning about counters that are left out.
const COUNTERS_LEFT_OUT: &str = "W131";

/// One of the patterns of each position.
struct OneCounter {
    header: StreamHeader,
    /// Frames of all counters, in the order of the file.
    all: SourceStream,
    n_counters: u64,
    counter: u64,
}

/// Opens a dataset whose third of five axes is that of the counters.
pub(super) fn open(
    dataset: Dataset,
    axes: &Axes,
    (name, convention): (&str, &Convention),
    (wanted, counter): (Option<[usize; 5]>, usize),
) -> Result<BoxedSource> {
    let what = format!(
        "{}, dataset {}",
        dataset.file.path().display(),
        dataset.name
    );
    let n_counters = axes.counters.unwrap_or(1);
    if counter >= n_counters {
        return Err(Error::BadContainer {
            path: dataset.file.path().to_owned(),
            format: "HDF5 file",
            problem: format!(
                "counter {counter} was asked for, and {} has {n_counters}, from 0",
                dataset.name
            ),
        });
    }
    let dims = dataset.dims.clone();
    let shape = arrange(&what, &dims, None)?;
    let attributes = convention.attributes(&dataset, 1);
    let mut source = Hdf5Source::new(dataset, dims, shape, name, convention.format())?;
    let mut notes = axes.notes.clone();
    notes.remove(2);
    let header = source.header_mut();
    describe(header, &attributes.list, &notes);
    header.start_unix_ns = attributes.start_unix_ns;
    header.warnings.extend(axes.warnings.iter().cloned());
    if n_counters > 1 {
        header.warnings.push(Warning::new(
            COUNTERS_LEFT_OUT,
            format!("The file holds patterns of {n_counters} counters; counter {counter} is read. Choose another as data.frames.counter."),
        ));
    }
    // Rows of positions are what the file calls times here, and columns what it calls rows.
    let SeriesShape {
        n_times: n_rows,
        n_rows: n_cols,
        ..
    } = shape;
    let all = SourceStream::new(Box::new(source));
    let mut header = all.header().clone();
    header.series.shape.n_cols = n_rows * n_cols;
    header.scan = Some(ScanStatement {
        n_times: Some(1),
        ..ScanStatement::new(n_rows, n_cols, "axes of the file")
    });
    let stream = Box::new(OneCounter {
        header,
        all,
        n_counters: n_counters as u64,
        counter: counter as u64,
    });
    let source = ArrangedSource::new(stream, wanted, &Default::default())?;
    Ok(Box::new(source))
}

impl FrameStream for OneCounter {
    fn header(&self) -> &StreamHeader {
        &self.header
    }

    fn expect(&self, frames: Range<u64>) {
        let n = self.n_counters;
        self.all.expect(frames.start * n..frames.end * n);
    }

    fn read(&self, frames: Range<u64>, samples: &mut Samples, at: usize) -> Result<()> {
        let n = self.n_counters;
        if n == 1 {
            return self.all.read(frames, samples, at);
        }
        // The patterns of all counters are in the same blocks, so they are decoded together.
        let frame_len = self.header.series.shape.frame_len();
        let n_all = (frames.end - frames.start) * n;
        let sample_type = self.header.series.sample_type;
        let mut all = zeroed(sample_type, n_all as usize * frame_len);
        self.all
            .read(frames.start * n..frames.end * n, &mut all, 0)?;
        let first = self.counter as usize * frame_len;
        macro_rules! pick {
            ($($variant:ident),*) => {
                match (samples, &all) {
                    $((Samples::$variant(into), Samples::$variant(all)) => {
                        let of_counter = all.chunks_exact(frame_len * n as usize);
                        let out = into[at..].chunks_exact_mut(frame_len);
                        for (out, all) in out.zip(of_counter) {
                            out.copy_from_slice(&all[first..first + frame_len]);
                        }
                    })*
                    _ => unreachable!("both have the type of the header"),
                }
            };
        }
        pick!(U8, U16, U32, I16, I32, F32, F64);
        Ok(())
    }
}
