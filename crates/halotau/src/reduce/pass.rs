//! Reading the frames of one shard and keeping what is asked of them.
//!
//! Threads share the positions of a shard; what a position sums, it sums in the order of time. Sums over positions are
//! made afterwards in the order of positions. So the result is the same bits for any number of threads and any
//! reading buffer.

use ndarray::{Array2, Array3, Array4};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::Shard;
use super::plan::{CountType, ReducePlan, ShiftTables};
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

/// What one position collects over time.
struct PositionSums {
    pattern: Vec<f64>,
    /// Broken samples of each pixel; empty until the first.
    broken: Vec<u32>,
    totals: Vec<f64>,
    n_frames: usize,
    n_saturated: u64,
    n_negative: u64,
    overflow: bool,
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
                (0.0 <= sum && sum <= f64::from(<$t>::MAX)).then_some(sum as $t)
            }
        }
    )*};
}
impl_count!(u8, u16, u32);

impl Count for f32 {
    #[inline(always)]
    fn from_sum(sum: f64) -> Option<Self> {
        Some(sum as f32)
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
            .map(|_| PositionSums::new(shape.frame_len(), n_times))
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
        let value = |at: u32| -> f64 {
            let at = at as usize;
            match &self.dark {
                None if self.settings.gain.is_none() => pattern[at].to_f64(),
                dark => {
                    (pattern[at].to_f64() - dark.as_ref().map_or(0.0, |dark| dark[at]))
                        * self.weight[at]
                }
            }
        };
        let mut start = 0;
        for (count, &end) in kept.iter_mut().zip(&tables.end) {
            let sum = tables.native[start..end as usize]
                .iter()
                .map(|&at| value(at))
                .sum::<f64>();
            start = end as usize;
            match C::from_sum(sum) {
                Some(kept) => *count = kept,
                None => sums.overflow = true,
            }
        }
        sums.add(pattern, &self.weight, self.dark.as_deref(), time);
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
            for at in 0..frame_len {
                let broken = sums.broken.get(at).copied().unwrap_or(0);
                let n_finite = (sums.n_frames - broken as usize) as f64;
                if self.weight[at] != 0.0 {
                    n_nonfinite += u64::from(broken);
                }
                pattern_sum[at] += sums.pattern[at];
                pattern_count[at] += n_finite;
                if tables.q_bin[at] != u16::MAX {
                    let dark = self.dark.as_ref().map_or(0.0, |dark| dark[at]);
                    q_sums[[row, col, usize::from(tables.q_bin[at])]] +=
                        (sums.pattern[at] - n_finite * dark) * self.weight[at];
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
    fn new(frame_len: usize, n_times: usize) -> Self {
        Self {
            pattern: vec![0.0; frame_len],
            broken: Vec::new(),
            totals: vec![f64::NAN; n_times],
            n_frames: 0,
            n_saturated: 0,
            n_negative: 0,
            overflow: false,
        }
    }

    /// Adds a frame to the sums over time; broken samples are counted and left out.
    fn add<S: Sample>(&mut self, pattern: &[S], weight: &[f64], dark: Option<&[f64]>, time: usize) {
        self.n_frames += 1;
        let mut total = 0.0;
        let (mut n_broken, mut n_saturated, mut n_negative) = (0_u32, 0_u32, 0_u32);
        for ((&sample, sum), &weight) in pattern.iter().zip(&mut self.pattern).zip(weight) {
            let value = sample.to_f64();
            let finite = value.is_finite();
            let value = if finite { value } else { 0.0 };
            *sum += value;
            total += value * weight;
            n_broken += u32::from(!finite);
            n_saturated += u32::from(weight != 0.0 && sample.is_saturated());
            n_negative += u32::from(weight != 0.0 && value < 0.0);
        }
        if n_broken > 0 {
            self.broken.resize(pattern.len(), 0);
            for (broken, sample) in self.broken.iter_mut().zip(pattern) {
                *broken += u32::from(!sample.to_f64().is_finite());
            }
        }
        if let Some(dark) = dark {
            total -= dark
                .iter()
                .zip(weight)
                .map(|(dark, weight)| dark * weight)
                .sum::<f64>();
        }
        self.n_saturated += u64::from(n_saturated);
        self.n_negative += u64::from(n_negative);
        self.totals[time] = total;
    }
}
