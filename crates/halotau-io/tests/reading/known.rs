//! A series whose samples are known without reading: each is a function of its index.

use halotau::series::{FrameBlock, FrameRun, SampleType, Samples, SeriesShape};
use halotau::with_samples;
use halotau_io::BoxedSource;

/// All lengths differ and none is a multiple of a block, so that mixed-up axes show.
pub(crate) const SHAPE: SeriesShape = SeriesShape {
    n_times: 7,
    n_rows: 3,
    n_cols: 5,
    pattern_rows: 4,
    pattern_cols: 6,
};

pub(crate) const ALL_TYPES: [SampleType; 7] = [
    SampleType::U8,
    SampleType::U16,
    SampleType::U32,
    SampleType::I16,
    SampleType::I32,
    SampleType::F32,
    SampleType::F64,
];

/// Samples that use every byte of their type, and its sign.
pub(crate) fn samples(sample_type: SampleType, n: usize) -> Samples {
    let bits = (0..n as u32).map(|idx| idx.wrapping_mul(2_654_435_761).rotate_left(7));
    match sample_type {
        SampleType::U8 => Samples::U8(bits.map(|b| (b >> 24) as u8).collect()),
        SampleType::U16 => Samples::U16(bits.map(|b| (b >> 16) as u16).collect()),
        SampleType::U32 => Samples::U32(bits.collect()),
        SampleType::I16 => Samples::I16(bits.map(|b| (b >> 16) as i16).collect()),
        SampleType::I32 => Samples::I32(bits.map(|b| b as i32).collect()),
        SampleType::F32 => Samples::F32(bits.map(|b| b as i32 as f32 / 3.0).collect()),
        SampleType::F64 => Samples::F64(bits.map(|b| f64::from(b as i32) / 3.0).collect()),
    }
}

pub(crate) fn whole(sample_type: SampleType) -> Samples {
    let n = SHAPE.n_times * SHAPE.n_positions() * SHAPE.frame_len();
    samples(sample_type, n)
}

/// The bytes of samples in either order.
pub(crate) fn bytes(samples: &Samples, big_endian: bool) -> Vec<u8> {
    with_samples!(samples, samples => samples
        .iter()
        .flat_map(|sample| {
            let mut bytes = sample.to_le_bytes().to_vec();
            if big_endian {
                bytes.reverse();
            }
            bytes
        })
        .collect())
}

/// The samples of a run, picked one by one.
pub(crate) fn pick(all: &Samples, shape: &SeriesShape, run: &FrameRun) -> Samples {
    let frame_len = shape.frame_len();
    let mut indices = Vec::new();
    for time in run.first_time..run.first_time + run.n_times {
        for frame in run.first_frame..run.first_frame + run.n_frames {
            for pixel in 0..frame_len {
                indices.push((time * shape.n_positions() + frame) * frame_len + pixel);
            }
        }
    }
    with_samples!(all, all => indices.iter().map(|&idx| all[idx]).collect::<Vec<_>>().into())
}

/// Reads the whole series, each single frame, and runs that cross rows and blocks.
pub(crate) fn check(source: &BoxedSource, shape: SeriesShape, expected: &Samples, what: &str) {
    let header = source.header();
    assert_eq!(header.shape, shape, "{what}");
    assert_eq!(header.sample_type, expected.sample_type(), "{what}");
    let mut runs = vec![shape.whole()];
    for first_frame in 0..shape.n_positions() {
        runs.push(FrameRun {
            first_time: first_frame % shape.n_times,
            n_times: 1,
            first_frame,
            n_frames: 1,
        });
    }
    if shape.n_times > 2 {
        runs.push(FrameRun {
            first_time: 1,
            n_times: shape.n_times - 2,
            first_frame: 2,
            n_frames: shape.n_positions() - 4,
        });
    }
    runs.push(FrameRun {
        first_time: 0,
        n_times: shape.n_times,
        first_frame: 1,
        n_frames: 0,
    });
    // One block for all reads: its buffer is reused.
    let mut block = FrameBlock::empty(SampleType::U8);
    for run in runs {
        source.expect(&run);
        source
            .read(&run, &mut block)
            .unwrap_or_else(|e| panic!("{what} {run:?}: {e}"));
        assert_eq!(block.run, run);
        assert_eq!(
            block.samples,
            pick(expected, &shape, &run),
            "{what} {run:?}"
        );
    }
    let outside = FrameRun {
        first_time: 0,
        n_times: shape.n_times + 1,
        first_frame: 0,
        n_frames: 1,
    };
    assert!(source.read(&outside, &mut block).is_err(), "{what}");
}
