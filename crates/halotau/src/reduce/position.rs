//! What one position keeps of its frames, one after another in the order of time.

use super::Shard;
use super::exact::{self, Frame, Frames, Unsigned};
use super::gather::moved;
use super::plan::{Kernel, Move, ReducePlan, ShiftTables};
use crate::series::{Sample, Samples};
use crate::with_samples;

/// Partial totals of a frame; a constant, so that the total is the same bits anywhere.
const LANES: usize = 8;

/// What one position collects over time.
#[derive(Debug)]
pub(super) struct PositionSums {
    pub(super) patterns: Patterns,
    /// Frames of each move of the pattern.
    pub(super) n_frames: Vec<usize>,
    /// Over valid pixels, for each scan; NaN where the frame is missing.
    pub(super) totals: Vec<f64>,
    pub(super) n_saturated: u64,
    pub(super) n_negative: u64,
    pub(super) overflow: bool,
    /// Sum over scans in each q bin, once all scans are in.
    pub(super) q_sums: Vec<f64>,
}

/// Sums over time of each native pixel, for each move of the pattern.
#[derive(Debug)]
pub(super) enum Patterns {
    /// Unsigned counts of which the sum fits.
    Counts(Vec<Vec<u32>>),
    /// Anything else.
    Real(Vec<RealSum>),
}

/// Sum of patterns of which samples may be broken.
#[derive(Debug, Clone)]
pub(super) struct RealSum {
    pub(super) counts: Vec<f64>,
    /// Broken samples of each pixel; empty until the first unusual one.
    pub(super) broken: Vec<u32>,
}

/// A type that counts are kept in.
pub(super) trait Count: Copy + Send + Sync + Default {
    /// From a sum of samples, exact for integers; `None` where it does not fit.
    fn from_sum(sum: f64) -> Option<Self>;

    /// From a sum that fits.
    fn from_exact(sum: u32) -> Self;

    /// Adds a count; `None` where the sum does not fit.
    fn add(&mut self, count: u32) -> Option<()>;
}

macro_rules! impl_count {
    ($($t:ty),*) => {$(
        impl Count for $t {
            #[inline(always)]
            fn from_sum(sum: f64) -> Option<Self> {
                // The last bits of 2^52 + n are those of n, which is faster to take than a checked conversion.
                let bits = (sum + (1_u64 << 52) as f64).to_bits();
                (0.0 <= sum && sum <= f64::from(<$t>::MAX)).then_some(bits as $t)
            }

            #[inline(always)]
            fn from_exact(sum: u32) -> Self {
                sum as $t
            }

            #[inline(always)]
            fn add(&mut self, count: u32) -> Option<()> {
                *self = self.checked_add(<$t>::try_from(count).ok()?)?;
                Some(())
            }
        }
    )*};
}
impl_count!(u8, u16, u32);

impl Count for f32 {
    #[inline(always)]
    fn from_sum(sum: f64) -> Option<Self> {
        // An infinite sample is as little there as NaN; one mark for both is enough for all that comes after.
        let sum = sum as f32;
        Some(if sum.is_finite() { sum } else { f32::NAN })
    }

    #[inline(always)]
    fn from_exact(sum: u32) -> Self {
        sum as f32
    }

    #[inline(always)]
    fn add(&mut self, count: u32) -> Option<()> {
        *self += count as f32;
        Some(())
    }
}

impl ReducePlan {
    /// Keeps frames of one position; `kept` is its `[time, pixel]`.
    pub(super) fn keep<C: Count>(
        &self,
        samples: &Samples,
        frames: &[Frame],
        tables: &ShiftTables,
        kept: &mut [C],
        sums: &mut PositionSums,
    ) {
        match (samples, self.kernel) {
            (Samples::U8(samples), Kernel::Exact(_)) => {
                self.keep_exactly(samples, frames, tables, kept, sums);
            }
            (Samples::U16(samples), Kernel::Exact(_)) => {
                self.keep_exactly(samples, frames, tables, kept, sums);
            }
            _ => with_samples!(samples, samples => {
                let (n_pixels, frame_len) = (self.annulus.len(), self.shape.frame_len());
                for frame in frames {
                    let pattern = &samples[frame.number * frame_len..][..frame_len];
                    let kept = &mut kept[frame.time * n_pixels..][..n_pixels];
                    self.keep_frame(pattern, *frame, tables, kept, sums);
                }
            }),
        }
    }

    fn keep_exactly<S: Unsigned, C: Count>(
        &self,
        samples: &[S],
        frames: &[Frame],
        tables: &ShiftTables,
        kept: &mut [C],
        sums: &mut PositionSums,
    ) {
        let (Patterns::Counts(patterns), Kernel::Exact(isa)) = (&mut sums.patterns, self.kernel)
        else {
            unreachable!("the sums were made for this kernel");
        };
        for frame in frames {
            sums.n_frames[frame.move_idx] += 1;
        }
        let frames = Frames {
            samples,
            frames,
            moves: &self.moves,
        };
        let mut sums = exact::Sums {
            patterns,
            totals: &mut sums.totals,
            n_saturated: &mut sums.n_saturated,
        };
        exact::keep(isa, &frames, &tables.gather, kept, &mut sums);
    }

    /// Keeps one frame of samples of any type; the plain version of [`exact::keep`].
    fn keep_frame<S: Sample, C: Count>(
        &self,
        pattern: &[S],
        frame: Frame,
        tables: &ShiftTables,
        kept: &mut [C],
        sums: &mut PositionSums,
    ) {
        // First, because it goes through memory in order: the gather below then finds the pattern in the cache.
        let Move { offset, weight, .. } = &self.moves[frame.move_idx];
        sums.add(pattern, weight, self.dark.as_deref(), frame);
        let corrected = self.is_corrected();
        let value = |at: u32| -> f64 {
            let at = moved(at, *offset);
            if corrected {
                let dark = self.dark.as_ref().map_or(0.0, |dark| dark[at]);
                (pattern[at].to_f64() - dark) * weight[at]
            } else {
                pattern[at].to_f64()
            }
        };
        let mut keep = |count: &mut C, sum: f64| match C::from_sum(sum) {
            Some(kept) => *count = kept,
            None => sums.overflow = true,
        };
        if self.settings.bin == 1 && tables.native.len() == kept.len() && !corrected {
            for (count, &at) in kept.iter_mut().zip(&tables.native) {
                keep(count, pattern[moved(at, *offset)].to_f64());
            }
        } else {
            let mut start = 0;
            for (count, &end) in kept.iter_mut().zip(&tables.end) {
                let native = &tables.native[start..end as usize];
                keep(count, native.iter().map(|&at| value(at)).sum());
                start = end as usize;
            }
        }
    }

    /// Sums the pattern of a position in bins of q, once all scans are in.
    pub(super) fn sum_bins(&self, shard: &Shard, position: usize, sums: &mut PositionSums) {
        let tables = self.tables_of(shard, position);
        let mut q_sums = vec![0.0; self.q_bins.len()];
        for (move_idx, Move { offset, weight, .. }) in self.moves.iter().enumerate() {
            let mut add = |at: usize, value: f64| {
                // Pixels that are not valid are in no bin, and may come from outside of the detector.
                if weight[at] != 0.0 {
                    let q_bin = tables.q_bin[(at as isize - offset) as usize];
                    if let Some(sum) = q_sums.get_mut(usize::from(q_bin)) {
                        *sum += value;
                    }
                }
            };
            match &sums.patterns {
                Patterns::Counts(patterns) => {
                    for (at, &sum) in patterns[move_idx].iter().enumerate() {
                        add(at, f64::from(sum));
                    }
                }
                Patterns::Real(patterns) => {
                    let RealSum { counts, broken } = &patterns[move_idx];
                    for (at, &sum) in counts.iter().enumerate() {
                        let broken = broken.get(at).copied().unwrap_or(0);
                        let n_finite = (sums.n_frames[move_idx] - broken as usize) as f64;
                        let dark = self.dark.as_ref().map_or(0.0, |dark| dark[at]);
                        add(at, (sum - n_finite * dark) * weight[at]);
                    }
                }
            }
        }
        sums.q_sums = q_sums;
    }
}

impl PositionSums {
    pub(super) fn new(plan: &ReducePlan) -> Self {
        let (n_moves, frame_len) = (plan.moves.len(), plan.shape.frame_len());
        let none = || RealSum {
            counts: vec![0.0; frame_len],
            broken: Vec::new(),
        };
        Self {
            patterns: match plan.kernel {
                Kernel::Exact(_) => {
                    Patterns::Counts((0..n_moves).map(|_| vec![0; frame_len]).collect())
                }
                Kernel::Plain => Patterns::Real((0..n_moves).map(|_| none()).collect()),
            },
            n_frames: vec![0; n_moves],
            totals: vec![f64::NAN; plan.shape.n_times],
            n_saturated: 0,
            n_negative: 0,
            overflow: false,
            q_sums: Vec::new(),
        }
    }

    /// Adds a frame to the sums over time; broken samples are counted and left out.
    fn add<S: Sample>(
        &mut self,
        pattern: &[S],
        weight: &[f64],
        dark: Option<&[f64]>,
        frame: Frame,
    ) {
        let Patterns::Real(patterns) = &mut self.patterns else {
            unreachable!("the sums were made for this kernel");
        };
        let own = &mut patterns[frame.move_idx];
        if pattern
            .iter()
            .fold(false, |any, sample| any | sample.is_unusual())
        {
            own.broken.resize(pattern.len(), 0);
            for ((&sample, broken), &weight) in pattern.iter().zip(&mut own.broken).zip(weight) {
                let value = sample.to_f64();
                *broken += u32::from(!value.is_finite());
                if weight != 0.0 {
                    self.n_saturated += u64::from(sample.is_saturated());
                    self.n_negative += u64::from(value.is_finite() && value < 0.0);
                }
            }
        }
        self.n_frames[frame.move_idx] += 1;
        // Totals of every LANES-th sample: a fixed order that leaves independent additions to the processor.
        let mut totals = [0.0; LANES];
        let (samples, last_samples) = pattern.as_chunks::<LANES>();
        let (sums, last_sums) = own.counts.as_chunks_mut::<LANES>();
        let (weights, last_weights) = weight.as_chunks::<LANES>();
        for ((samples, sums), weights) in samples.iter().zip(sums).zip(weights) {
            let values = samples.map(finite_or_zero);
            for lane in 0..LANES {
                sums[lane] += values[lane];
            }
            for lane in 0..LANES {
                totals[lane] += values[lane] * weights[lane];
            }
        }
        let last = last_samples.iter().zip(last_sums).zip(last_weights);
        for (total, ((&sample, sum), weight)) in totals.iter_mut().zip(last) {
            let value = finite_or_zero(sample);
            *sum += value;
            *total += value * weight;
        }
        let mut total: f64 = totals.iter().sum();
        if let Some(dark) = dark {
            total -= dark
                .iter()
                .zip(weight)
                .map(|(dark, weight)| dark * weight)
                .sum::<f64>();
        }
        self.totals[frame.time] = total;
    }
}

#[inline(always)]
fn finite_or_zero<S: Sample>(sample: S) -> f64 {
    let value = sample.to_f64();
    if value.is_finite() { value } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sums(frame_len: usize, n_times: usize) -> PositionSums {
        let none = RealSum {
            counts: vec![0.0; frame_len],
            broken: Vec::new(),
        };
        PositionSums {
            patterns: Patterns::Real(vec![none]),
            n_frames: vec![0],
            totals: vec![f64::NAN; n_times],
            n_saturated: 0,
            n_negative: 0,
            overflow: false,
            q_sums: Vec::new(),
        }
    }

    fn at(time: usize) -> Frame {
        Frame {
            number: 0,
            time,
            move_idx: 0,
        }
    }

    #[test]
    fn unusual_samples_are_counted_once_and_broken_ones_left_out() {
        // A length that is no multiple of LANES; the last pixel is masked.
        let mut frame: Vec<f32> = (1..=11_u8).map(f32::from).collect();
        let mut weight = vec![1.0; 11];
        weight[10] = 0.0;
        let mut found = sums(11, 2);
        found.add(&frame, &weight, None, at(0));
        frame[3] = f32::NAN;
        frame[9] = -10.0;
        frame[10] = f32::NEG_INFINITY;
        found.add(&frame, &weight, None, at(1));
        assert_eq!(found.totals, [55.0, 55.0 - 4.0 - 20.0]);
        assert_eq!(found.n_negative, 1);
        let Patterns::Real(patterns) = &found.patterns else {
            panic!("sums of floats are floats");
        };
        let RealSum { counts, broken } = &patterns[0];
        let broken: Vec<usize> = (0..11).filter(|&at| broken[at] == 1).collect();
        assert_eq!(broken, [3, 10]);
        assert_eq!(counts[..4], [2.0, 4.0, 6.0, 4.0]);
        assert_eq!(counts[9..], [0.0, 11.0]);

        let mut found = sums(3, 1);
        found.add(&[u8::MAX, 7, u8::MAX], &[1.0, 1.0, 0.0], None, at(0));
        assert_eq!((found.n_saturated, found.totals[0]), (1, 262.0));
    }
}
