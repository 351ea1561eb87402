//! Frames without what single frames add: the offset that row segments share, and spikes.

use rayon::prelude::*;

use super::FrameSource;
use crate::calibrate::common_mode::CommonMode;
use crate::calibrate::spikes::SpikeLimits;
use crate::error::Result;
use crate::series::{FrameBlock, FrameRun, SampleType, Samples, SeriesHeader};
use crate::with_samples;

/// A source whose frames are cleaned one by one: spikes become NaN, the common mode is subtracted. Samples are f32, and may be
/// negative.
///
/// This is a source and not a step of [`reduce`](crate::reduce) because both need whole frames, of which the annulus is a few per
/// cent; what the pass touches stays what the annulus needs.
pub struct CleanedFrames {
    source: Box<dyn FrameSource + Send>,
    header: SeriesHeader,
    spikes: Option<SpikeLimits>,
    common_mode: Option<CommonMode>,
}

impl std::fmt::Debug for CleanedFrames {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CleanedFrames")
            .field("header", &self.header)
            .finish_non_exhaustive()
    }
}

impl CleanedFrames {
    /// Cleans the frames of a source.
    pub fn new(
        source: Box<dyn FrameSource + Send>,
        spikes: Option<SpikeLimits>,
        common_mode: Option<CommonMode>,
    ) -> Self {
        let header = SeriesHeader {
            sample_type: SampleType::F32,
            ..source.header().clone()
        };
        Self {
            source,
            header,
            spikes,
            common_mode,
        }
    }
}

impl FrameSource for CleanedFrames {
    fn header(&self) -> &SeriesHeader {
        &self.header
    }

    fn expect(&self, run: &FrameRun) {
        self.source.expect(run);
    }

    fn read(&self, run: &FrameRun, block: &mut FrameBlock) -> Result<()> {
        let mut stored = FrameBlock::empty(self.source.header().sample_type);
        self.source.read(run, &mut stored)?;
        block.run = stored.run;
        block.pattern_rows = stored.pattern_rows;
        block.pattern_cols = stored.pattern_cols;
        let len = stored.frame_len().max(1);
        let mut cleaned = match std::mem::replace(&mut block.samples, Samples::F32(Vec::new())) {
            Samples::F32(samples) => samples,
            _ => Vec::new(),
        };
        cleaned.clear();
        cleaned.resize(stored.samples.len(), 0.0);
        with_samples!(&stored.samples, samples => {
            cleaned.par_chunks_mut(len).zip(samples.par_chunks(len)).for_each(|(cleaned, frame)| {
                for (cleaned, sample) in cleaned.iter_mut().zip(frame) {
                    *cleaned = crate::series::Sample::to_f64(*sample) as f32;
                }
                let mut spikes = Vec::new();
                if let Some(limits) = &self.spikes {
                    limits.find(frame, &mut spikes);
                }
                spikes.into_iter().for_each(|at| cleaned[at] = f32::NAN);
                if let Some(common_mode) = &self.common_mode {
                    common_mode.subtract(cleaned);
                }
            });
        });
        block.samples = Samples::F32(cleaned);
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests {
    use ndarray::Array2;

    use super::*;
    use crate::series::SeriesShape;
    use crate::source::MemorySeries;

    #[test]
    fn spikes_are_left_out_and_negative_values_kept() {
        let shape = SeriesShape {
            n_times: 2,
            n_rows: 1,
            n_cols: 1,
            pattern_rows: 6,
            pattern_cols: 8,
        };
        let mut samples: Vec<i16> = (0..96).map(|at| (at % 5) as i16 - 2).collect();
        samples[48 + 20] = 9000;
        let header = SeriesHeader::new("small", "memory", shape, SampleType::I16);
        let series = MemorySeries::new(header, Samples::I16(samples.clone())).unwrap();
        let flat = |value| Array2::from_elem((6, 8), value);
        let limits = SpikeLimits::new(&flat(1.0), &flat(3.0), None);
        let cleaned = CleanedFrames::new(Box::new(series), Some(limits), None);
        assert_eq!(cleaned.header().sample_type, SampleType::F32);
        let run = FrameRun {
            first_time: 0,
            n_times: 2,
            first_frame: 0,
            n_frames: 1,
        };
        let mut block = FrameBlock::empty(SampleType::F32);
        cleaned.read(&run, &mut block).unwrap();
        let Samples::F32(values) = block.samples else {
            panic!("cleaned frames are f32");
        };
        for (at, (value, sample)) in values.iter().zip(&samples).enumerate() {
            if at == 48 + 20 {
                assert!(value.is_nan());
            } else {
                assert_eq!(*value, f32::from(*sample));
            }
        }
    }
}
