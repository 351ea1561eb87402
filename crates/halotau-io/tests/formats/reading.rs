//! Opens and reads whole series for the tests of formats.

use std::path::Path;

use halotau::series::{FrameBlock, FrameRun, Samples, SeriesShape};
use halotau::source::{EventBlock, EventSource};
use halotau::with_samples;
use halotau_io::{BoxedSource, OpenRequest, open};

/// A request for a path with a shape.
pub(crate) fn shaped(path: &Path, shape: [usize; 5]) -> OpenRequest {
    OpenRequest {
        shape: Some(shape),
        ..OpenRequest::new(path)
    }
}

/// All samples of a source, as numbers. Lists of events, where it has them, must say the same.
pub(crate) fn all_samples(source: &BoxedSource) -> Vec<f64> {
    let header = source.header();
    let mut block = FrameBlock::empty(header.sample_type);
    source.read(&header.shape.whole(), &mut block).unwrap();
    let samples = numbers(&block.samples);
    if let Some(events) = source.events() {
        assert_eq!(of_lists(events, &header.shape), samples);
        let n_events = samples.iter().filter(|&&count| count > 0.0).count() as f64;
        let n_frames = (header.shape.n_times * header.shape.n_positions()) as f64;
        assert!(events.events_per_frame() * n_frames >= n_events);
    }
    samples
}

/// The samples that lists of events make, read frame by frame from the last to the first.
fn of_lists(events: &dyn EventSource, shape: &SeriesShape) -> Vec<f64> {
    let (frame_len, n_positions) = (shape.frame_len(), shape.n_positions());
    let mut samples = vec![0.0; shape.n_times * n_positions * frame_len];
    let mut block = EventBlock::new(frame_len);
    for first_frame in (0..n_positions).rev() {
        let run = FrameRun {
            first_frame,
            n_frames: 1,
            ..shape.whole()
        };
        block.clear();
        events.read_events(&run, &mut block).unwrap();
        assert_eq!(block.n_frames(), shape.n_times);
        for time in 0..shape.n_times {
            for event in block.frame(time) {
                let at = (time * n_positions + first_frame) * frame_len + event.pixel as usize;
                assert_eq!(samples[at], 0.0, "a pixel is listed once");
                samples[at] = f64::from(event.count);
            }
        }
    }
    samples
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
