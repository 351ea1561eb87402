//! Opens and reads whole series for the tests of formats.

use std::path::Path;

use halotau::series::{FrameBlock, Samples};
use halotau::with_samples;
use halotau_io::{BoxedSource, OpenRequest, open};

/// A request for a path with a shape.
pub(crate) fn shaped(path: &Path, shape: [usize; 5]) -> OpenRequest {
    OpenRequest {
        shape: Some(shape),
        ..OpenRequest::new(path)
    }
}

/// All samples of a source, as numbers.
pub(crate) fn all_samples(source: &BoxedSource) -> Vec<f64> {
    let header = source.header();
    let mut block = FrameBlock::empty(header.sample_type);
    source.read(&header.shape.whole(), &mut block).unwrap();
    numbers(&block.samples)
}

/// Opens a request and reads all of it.
pub(crate) fn read_all(request: &OpenRequest) -> (BoxedSource, Vec<f64>) {
    let source = open(request).unwrap();
    let samples = all_samples(&source);
    (source, samples)
}

/// The codes of the warnings of a source, in their order.
pub(crate) fn codes(source: &BoxedSource) -> Vec<&str> {
    let warnings = &source.header().warnings;
    warnings.iter().map(|w| w.code.as_str()).collect()
}

/// The runs of missing frames of a source: first time, first frame of its scan, number of frames.
pub(crate) fn missing_runs(source: &BoxedSource) -> Vec<(usize, usize, usize)> {
    let missing = &source.header().missing;
    missing
        .iter()
        .map(|run| (run.first_time, run.first_frame, run.n_frames))
        .collect()
}

fn numbers(samples: &Samples) -> Vec<f64> {
    fn each<T: Copy + Into<f64>>(samples: &[T]) -> Vec<f64> {
        samples.iter().map(|&sample| sample.into()).collect()
    }
    with_samples!(samples, samples => each(samples))
}

/// An empty folder that Python readers look into after the tests of this crate: `tests/python/test_rosettasciio.py`.
pub(crate) fn for_other_readers(format: &str) -> std::path::PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"))
        .join("readers")
        .join(format);
    if folder.exists() {
        std::fs::remove_dir_all(&folder).unwrap();
    }
    std::fs::create_dir_all(&folder).unwrap();
    folder
}
