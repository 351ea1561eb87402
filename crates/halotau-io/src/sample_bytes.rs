//! How do the bytes of a file become samples, and samples bytes?

use halotau::series::{FrameBlock, FrameRun, SampleType, Samples, SeriesHeader};
use halotau::with_samples;

use crate::error::{Error, Result};

/// Makes room in a block for a run, reusing its buffer.
///
/// # Errors
///
/// The run lies outside the series, or the memory is not there.
pub(crate) fn prepare(block: &mut FrameBlock, run: &FrameRun, header: &SeriesHeader) -> Result<()> {
    run.check(&header.shape)?;
    let shape = &header.shape;
    if block.samples.sample_type() != header.sample_type {
        block.samples = Samples::empty(header.sample_type);
    }
    let n_samples = run
        .n_times
        .checked_mul(run.n_frames)
        .and_then(|n| n.checked_mul(shape.frame_len()));
    let no_memory = || Error::Memory {
        what: format!("reading {} frames of {} scans", run.n_frames, run.n_times),
        n_bytes: n_samples
            .map_or(u64::MAX, |n| n as u64)
            .saturating_mul(header.sample_type.n_bytes() as u64),
    };
    let len = n_samples.ok_or_else(no_memory)?;
    with_samples!(&mut block.samples, samples => {
        let more = len.saturating_sub(samples.len());
        samples.try_reserve_exact(more).map_err(|_| no_memory())?;
        samples.resize(len, Default::default());
    });
    block.run = *run;
    block.pattern_rows = shape.pattern_rows;
    block.pattern_cols = shape.pattern_cols;
    Ok(())
}

/// A number that is stored as bytes.
pub(crate) trait FromBytes: Copy + Default {
    /// Copies bytes into samples of the same total size.
    fn copy(bytes: &[u8], big_endian: bool, samples: &mut [Self]);
    /// Appends the little-endian bytes of samples.
    fn append(samples: &[Self], bytes: &mut Vec<u8>);
}

macro_rules! impl_from_bytes {
    ($($t:ty),*) => {$(
        impl FromBytes for $t {
            fn copy(bytes: &[u8], big_endian: bool, samples: &mut [Self]) {
                let (words, _) = bytes.as_chunks::<{ size_of::<$t>() }>();
                // The branch stays outside of the loops so that the native order is a plain copy.
                if big_endian {
                    for (sample, word) in samples.iter_mut().zip(words) {
                        *sample = <$t>::from_be_bytes(*word);
                    }
                } else {
                    for (sample, word) in samples.iter_mut().zip(words) {
                        *sample = <$t>::from_le_bytes(*word);
                    }
                }
            }

            fn append(samples: &[Self], bytes: &mut Vec<u8>) {
                bytes.reserve(size_of_val(samples));
                for sample in samples {
                    bytes.extend_from_slice(&sample.to_le_bytes());
                }
            }
        }
    )*};
}
impl_from_bytes!(u8, u16, u32, i16, i32, f32, f64);

/// Copies bytes into samples from an index on.
///
/// The caller has sized both: `bytes` holds whole samples that lie inside `samples`.
pub(crate) fn copy_at(samples: &mut Samples, at: usize, bytes: &[u8], big_endian: bool) {
    let n = bytes.len() / samples.sample_type().n_bytes();
    with_samples!(samples, samples => FromBytes::copy(bytes, big_endian, &mut samples[at..at + n]));
}

/// The memory of some samples, to be filled with their little-endian bytes; `None` where this processor keeps them otherwise.
pub(crate) fn little_endian_mut(
    samples: &mut Samples,
    range: std::ops::Range<usize>,
) -> Option<&mut [u8]> {
    cfg!(target_endian = "little")
        .then(|| with_samples!(samples, samples => bytemuck::cast_slice_mut(&mut samples[range])))
}

/// The little-endian bytes of a range of samples.
pub(crate) fn little_endian(samples: &Samples, range: std::ops::Range<usize>) -> Vec<u8> {
    let mut bytes = Vec::new();
    with_samples!(samples, samples => FromBytes::append(&samples[range], &mut bytes));
    bytes
}

/// So many zeros of a type.
pub(crate) fn zeroed(sample_type: SampleType, len: usize) -> Samples {
    let mut samples = Samples::empty(sample_type);
    with_samples!(&mut samples, samples => samples.resize(len, Default::default()));
    samples
}

/// The type that a NumPy type string names, such as `<u2`, and whether its bytes are big-endian.
///
/// `None` where the type is not among the seven that are read.
pub(crate) fn from_numpy(descr: &str) -> Option<(SampleType, bool)> {
    let mut chars = descr.chars();
    let order = chars.next()?;
    let sample_type = match chars.as_str() {
        // A mask of booleans holds bytes of 0 and 1.
        "u1" | "b1" => SampleType::U8,
        "u2" => SampleType::U16,
        "u4" => SampleType::U32,
        "i2" => SampleType::I16,
        "i4" => SampleType::I32,
        "f4" => SampleType::F32,
        "f8" => SampleType::F64,
        _ => return None,
    };
    match order {
        '<' => Some((sample_type, false)),
        '>' => Some((sample_type, true)),
        '|' if sample_type.n_bytes() == 1 => Some((sample_type, false)),
        _ => None,
    }
}

/// The NumPy type string of little-endian samples.
pub(crate) fn to_numpy(sample_type: SampleType) -> &'static str {
    match sample_type {
        SampleType::U8 => "|u1",
        SampleType::U16 => "<u2",
        SampleType::U32 => "<u4",
        SampleType::I16 => "<i2",
        SampleType::I32 => "<i4",
        SampleType::F32 => "<f4",
        SampleType::F64 => "<f8",
    }
}

/// Copies all samples of one buffer into another of the same type from an index on; gives their number.
pub(crate) fn copy_samples(into: &mut Samples, at: usize, from: &Samples) -> usize {
    macro_rules! copy {
        ($($variant:ident),*) => {
            match (into, from) {
                $((Samples::$variant(into), Samples::$variant(from)) => {
                    into[at..at + from.len()].copy_from_slice(from);
                })*
                _ => unreachable!("the types were compared when the files were opened"),
            }
        };
    }
    copy!(U8, U16, U32, I16, I32, F32, F64);
    from.len()
}
