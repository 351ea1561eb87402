//! Reading the frames of one shard and keeping what is asked of them.
//!
//! Threads share the positions of a shard; what a position sums, it sums in the order of time. Sums over positions are
//! made afterwards in the order of positions. So the result is the same bits for any number of threads and any
//! reading buffer.

use ndarray::{Array2, Array3, Array4};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::Shard;
use super::plan::{CountType, Move, ReducePlan, ShiftTables};
use crate::error::{Error, Result};
use crate::ring::{RingCounts, RingSeries};
use crate::series::{FrameBlock, FrameRun, Sample};
use crate::source::FrameSource;
use crate::with_samples;

/// What a shard adds to sums over the whole scan.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ShardSums {
    /// Sum over valid frames of each native pixel, before dark and gain, `[pattern row, pattern col]`.
    pub pattern_sum: Array2<f64>,
    /// Finite samples in `pattern_sum`.
    pub pattern_count: Array2<f64>,
    /// Counts of each frame over all valid pixels, after dark and gain, `[time, row, col]`; NaN for missing frames.
    pub virtual_image: Array3<f64>,
    /// Sum over scans of the counts in each q bin, `[row, col, q]`.
    pub q_sums: Array3<f64>,
    /// Samples that were NaN or infinite.
    pub n_nonfinite: u64,
    /// Samples of valid pixels at the highest value of their type.
    pub n_saturated: u64,
    /// Samples of valid pixels below zero.
    pub n_negative: u64,
    /// Frames that the source misses.
    pub n_missing_frames: u64,
}

/// Partial totals of a frame; a constant, so that the total is the same bits anywhere.
const LANES: usize = 8;

/// What one position collects over time.
struct PositionSums {
    /// For each move of the pattern.
    patterns: Vec<PatternSum>,
    totals: Vec<f64>,
    n_saturated: u64,
    n_negative: u64,
    overflow: bool,
}

/// Sum of the patterns of one move.
#[derive(Clone)]
struct PatternSum {
    counts: Vec<f64>,
    /// Broken samples of each pixel; empty until the first unusual one.
    broken: Vec<u32>,
    n_frames: usize,
}

/// A type that counts are kept in.
trait Count: Copy + Send + Sync + Default {
    /// From a sum of samples, exact for integers; `None` where it does not fit.
    fn from_sum(sum: f64) -> Option<Self>;
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
}

impl ReducePlan {
    /// Reads one shard and keeps its counts on the annulus and its sums.
    ///
    /// `buffer_bytes` bounds the reading buffer; results do not depend on it. `read` is called with the bytes of
    /// each read, for a progress bar; it may return `false` to stop.
    ///
    /// # Errors
    ///
    /// The source's errors; [`Error::CountOverflow`] where a binned sum does not fit in 32 bits;
    /// [`Error::Stopped`] where `read` said so.
    pub fn reduce_shard(
        &self,
        source: &dyn FrameSource,
        shard: &Shard,
        buffer_bytes: usize,
        read: &(dyn Fn(u64) -> bool + Sync),
    ) -> Result<(RingSeries, ShardSums)> {
        match self.count_type {
            CountType::U8 => self.pass(source, shard, buffer_bytes, read, RingCounts::U8),
            CountType::U16 => self.pass(source, shard, buffer_bytes, read, RingCounts::U16),
            CountType::U32 => self.pass(source, shard, buffer_bytes, read, RingCounts::U32),
            CountType::F32 => self.pass(source, shard, buffer_bytes, read, RingCounts::F32),
        }
    }

    fn pass<C: Count>(
        &self,
        source: &dyn FrameSource,
        shard: &Shard,
        buffer_bytes: usize,
        read: &(dyn Fn(u64) -> bool + Sync),
        wrap: fn(Array4<C>) -> RingCounts,
    ) -> Result<(RingSeries, ShardSums)> {
        let shape = &self.shape;
        let (n_times, n_pixels) = (shape.n_times, self.annulus.len());
        let n_positions = shard.n_rows * shard.n_cols;
        let mut counts = vec![C::default(); n_positions * n_times * n_pixels];
        let mut sums: Vec<PositionSums> = (0..n_positions)
            .map(|_| PositionSums::new(shape.frame_len(), n_times, self.moves.len()))
            .collect();
        let missing = self.missing_frames(shard);
        let region = &self.settings.region;
        let first_file_row = region.rows[0] + shard.first_row;
        let first_file_col = region.cols[0] + shard.first_col;
        // Whole scan rows are one run; a narrower block is a run a row.
        let whole_rows = shard.n_cols == shape.n_cols;
        let rows_per_run = if whole_rows { shard.n_rows } else { 1 };
        let per_read = self.times_per_read(buffer_bytes);
        let mut block = FrameBlock::empty(self.sample_type);
        for first_time in (0..n_times).step_by(per_read) {
            let read_times = per_read.min(n_times - first_time);
            for first_row in (0..shard.n_rows).step_by(rows_per_run) {
                let run = FrameRun {
                    first_time,
                    n_times: read_times,
                    first_frame: (first_file_row + first_row) * shape.n_cols + first_file_col,
                    n_frames: rows_per_run * shard.n_cols,
                };
                source.read(&run, &mut block)?;
                if !read((block.samples.len() * self.sample_type.n_bytes()) as u64) {
                    return Err(Error::Stopped);
                }
                let first_position = first_row * shard.n_cols;
                let positions = first_position..first_position + run.n_frames;
                let stride = n_times * n_pixels;
                let counts = &mut counts[positions.start * stride..positions.end * stride];
                with_samples!(&block.samples, samples => {
                    counts
                        .par_chunks_mut(stride)
                        .zip(&mut sums[positions.clone()])
                        .enumerate()
                        .for_each(|(frame, (counts, sums))| {
                            let position = positions.start + frame;
                            let tables = self.tables_of(shard, position);
                            for time in 0..read_times {
                                if missing.contains(&(position, first_time + time)) {
                                    continue;
                                }
                                let start = (time * run.n_frames + frame) * shape.frame_len();
                                let kept = &mut counts[(first_time + time) * n_pixels..][..n_pixels];
                                let pattern = &samples[start..start + shape.frame_len()];
                                self.keep(pattern, tables, first_time + time, kept, sums);
                            }
                        });
                });
            }
        }
        if sums.iter().any(|sums| sums.overflow) {
            return Err(Error::CountOverflow {
                bin: self.settings.bin,
            });
        }
        let frame_valid =
            Array3::from_shape_fn((shard.n_rows, shard.n_cols, n_times), |(row, col, time)| {
                !missing.contains(&(row * shard.n_cols + col, time))
            });
        let pixel_valid = self
            .tables
            .values()
            .any(|tables| tables.valid.contains(&false))
            .then(|| {
                Array3::from_shape_fn(
                    (shard.n_rows, shard.n_cols, n_pixels),
                    |(row, col, pixel)| {
                        self.tables_of(shard, row * shard.n_cols + col).valid[pixel]
                    },
                )
            });
        let dim = (shard.n_rows, shard.n_cols, n_times, n_pixels);
        let counts =
            Array4::from_shape_vec(dim, counts).expect("the buffer was made with this length");
        let rings = RingSeries {
            first_row: shard.first_row,
            first_col: shard.first_col,
            counts: wrap(counts),
            frame_valid,
            pixel_valid,
        };
        Ok((rings, self.combine(shard, &sums, missing.len())))
    }

    fn tables_of(&self, shard: &Shard, position: usize) -> &ShiftTables {
        let at = [
            shard.first_row + position / shard.n_cols,
            shard.first_col + position % shard.n_cols,
        ];
        &self.tables[&(self.shift_row[at], self.shift_col[at])]
    }

    /// Keeps one frame.
    fn keep<S: Sample, C: Count>(
        &self,
        pattern: &[S],
        tables: &ShiftTables,
        time: usize,
        kept: &mut [C],
        sums: &mut PositionSums,
    ) {
        // First, because it goes through memory in order: the gather below then finds the pattern in the cache.
        let move_idx = self.move_of[time];
        let Move { offset, weight } = &self.moves[move_idx];
        sums.add(pattern, weight, self.dark.as_deref(), time, move_idx);
        let corrected = self.dark.is_some() || self.settings.gain.is_some();
        let value = |at: u32| -> f64 {
            let at = (at as isize + offset) as usize;
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
                keep(count, pattern[(at as isize + offset) as usize].to_f64());
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

    fn missing_frames(&self, shard: &Shard) -> std::collections::BTreeSet<(usize, usize)> {
        let region = &self.settings.region;
        let mut missing = std::collections::BTreeSet::new();
        for run in &self.missing {
            for frame in run.first_frame..run.first_frame + run.n_frames {
                let row = (frame / self.shape.n_cols).checked_sub(region.rows[0] + shard.first_row);
                let col = (frame % self.shape.n_cols).checked_sub(region.cols[0] + shard.first_col);
                if let (Some(row), Some(col)) = (row, col)
                    && row < shard.n_rows
                    && col < shard.n_cols
                {
                    let times =
                        run.first_time..(run.first_time + run.n_times).min(self.shape.n_times);
                    missing.extend(times.map(|time| (row * shard.n_cols + col, time)));
                }
            }
        }
        missing
    }

    fn combine(&self, shard: &Shard, positions: &[PositionSums], n_missing: usize) -> ShardSums {
        let shape = &self.shape;
        let frame_len = shape.frame_len();
        let mut pattern_sum = vec![0.0; frame_len];
        let mut pattern_count = vec![0.0; frame_len];
        let mut q_sums = Array3::zeros((shard.n_rows, shard.n_cols, self.q_bins.len()));
        let mut n_nonfinite = 0;
        for (position, sums) in positions.iter().enumerate() {
            let tables = self.tables_of(shard, position);
            let (row, col) = (position / shard.n_cols, position % shard.n_cols);
            for (sums, Move { offset, weight }) in sums.patterns.iter().zip(&self.moves) {
                for at in 0..frame_len {
                    let broken = sums.broken.get(at).copied().unwrap_or(0);
                    let n_finite = (sums.n_frames - broken as usize) as f64;
                    pattern_sum[at] += sums.counts[at];
                    pattern_count[at] += n_finite;
                    if weight[at] == 0.0 {
                        continue;
                    }
                    n_nonfinite += u64::from(broken);
                    let q_bin = tables.q_bin[(at as isize - offset) as usize];
                    if q_bin != u16::MAX {
                        let dark = self.dark.as_ref().map_or(0.0, |dark| dark[at]);
                        q_sums[[row, col, usize::from(q_bin)]] +=
                            (sums.counts[at] - n_finite * dark) * weight[at];
                    }
                }
            }
        }
        let virtual_image = Array3::from_shape_fn(
            (shape.n_times, shard.n_rows, shard.n_cols),
            |(time, row, col)| positions[row * shard.n_cols + col].totals[time],
        );
        let pattern = (shape.pattern_rows, shape.pattern_cols);
        let pattern_array =
            |values| Array2::from_shape_vec(pattern, values).expect("one value a pixel");
        ShardSums {
            pattern_sum: pattern_array(pattern_sum),
            pattern_count: pattern_array(pattern_count),
            virtual_image,
            q_sums,
            n_nonfinite,
            n_saturated: positions.iter().map(|sums| sums.n_saturated).sum(),
            n_negative: positions.iter().map(|sums| sums.n_negative).sum(),
            n_missing_frames: n_missing as u64,
        }
    }
}

impl PositionSums {
    fn new(frame_len: usize, n_times: usize, n_moves: usize) -> Self {
        let pattern = PatternSum {
            counts: vec![0.0; frame_len],
            broken: Vec::new(),
            n_frames: 0,
        };
        Self {
            patterns: vec![pattern; n_moves],
            totals: vec![f64::NAN; n_times],
            n_saturated: 0,
            n_negative: 0,
            overflow: false,
        }
    }

    /// Adds a frame to the sums over time; broken samples are counted and left out.
    fn add<S: Sample>(
        &mut self,
        pattern: &[S],
        weight: &[f64],
        dark: Option<&[f64]>,
        time: usize,
        move_idx: usize,
    ) {
        if pattern
            .iter()
            .fold(false, |any, sample| any | sample.is_unusual())
        {
            self.count_unusual(pattern, weight, move_idx);
        }
        let own = &mut self.patterns[move_idx];
        own.n_frames += 1;
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
        self.totals[time] = total;
    }

    fn count_unusual<S: Sample>(&mut self, pattern: &[S], weight: &[f64], move_idx: usize) {
        let broken = &mut self.patterns[move_idx].broken;
        broken.resize(pattern.len(), 0);
        for ((&sample, broken), &weight) in pattern.iter().zip(broken).zip(weight) {
            let value = sample.to_f64();
            *broken += u32::from(!value.is_finite());
            if weight != 0.0 {
                self.n_saturated += u64::from(sample.is_saturated());
                self.n_negative += u64::from(value.is_finite() && value < 0.0);
            }
        }
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

    #[test]
    fn unusual_samples_are_counted_once_and_broken_ones_left_out() {
        // A length that is no multiple of LANES; the last pixel is masked.
        let mut frame: Vec<f32> = (1..=11_u8).map(f32::from).collect();
        let mut weight = vec![1.0; 11];
        weight[10] = 0.0;
        let mut sums = PositionSums::new(11, 2, 1);
        sums.add(&frame, &weight, None, 0, 0);
        assert!(sums.patterns[0].broken.is_empty());
        frame[3] = f32::NAN;
        frame[9] = -10.0;
        frame[10] = f32::NEG_INFINITY;
        sums.add(&frame, &weight, None, 1, 0);
        assert_eq!(sums.totals, [55.0, 55.0 - 4.0 - 20.0]);
        assert_eq!(sums.n_negative, 1);
        let broken: Vec<usize> = (0..11)
            .filter(|&at| sums.patterns[0].broken[at] == 1)
            .collect();
        assert_eq!(broken, [3, 10]);
        assert_eq!(sums.patterns[0].counts[..4], [2.0, 4.0, 6.0, 4.0]);
        assert_eq!(sums.patterns[0].counts[9..], [0.0, 11.0]);

        let mut sums = PositionSums::new(3, 1, 1);
        sums.add(&[u8::MAX, 7, u8::MAX], &[1.0, 1.0, 0.0], None, 0, 0);
        assert_eq!((sums.n_saturated, sums.totals[0]), (1, 262.0));
    }
}
