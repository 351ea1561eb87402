//! Reading the frames of one shard, or of a few together, and keeping what is asked of them.
//!
//! A shard is read in tiles: some positions, some times. Each thread reads tiles of its own positions, so that reading, decoding and
//! summing overlap, and several times of a position are at hand when its sums are. While a tile is summed, the source knows
//! which is next, also at the end of a shard, and may fetch it. What a position sums, it sums in the order of time; sums over positions are made
//! afterwards in their order. So the result is the same bits for any number of threads and any reading buffer.

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::{Mutex, PoisonError};

use ndarray::{Array2, Array3, Array4};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::Shard;
use super::exact::Frame;
use super::plan::{CountType, ReducePlan, ShiftTables};
use super::position::{Count, Patterns, PositionSums};
use super::tiles::Tiles;
use crate::error::{Error, Result};
use crate::ring::{RingCounts, RingSeries};
use crate::series::{FrameBlock, FrameRun};
use crate::source::{EventBlock, EventSource, FrameSource};

#[cfg(test)]
mod tests;

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

/// Positions that a thread takes at once from a tile that threads share, worth the handing over.
const POSITIONS_A_TASK: usize = 4;

/// Pixels of which a thread adds the sums of all positions at once.
const PIXELS_A_TASK: usize = 4096;

/// The frames of a run, as the source gives them.
enum Block<'a> {
    Patterns(FrameBlock),
    Lists(&'a dyn EventSource, EventBlock),
}

impl Block<'_> {
    /// Reads a run, all frames of it, each of so many pixels.
    fn read(&mut self, source: &dyn FrameSource, run: &FrameRun, frame_len: usize) -> Result<()> {
        let n_frames = run.n_times * run.n_frames;
        let (what, expected, found) = match self {
            Self::Patterns(block) => {
                source.read(run, block)?;
                let len = block.samples.len();
                ("the samples of a run of frames", n_frames * frame_len, len)
            }
            Self::Lists(events, block) => {
                block.clear();
                events.read_events(run, block)?;
                ("the lists of a run of frames", n_frames, block.n_frames())
            }
        };
        if found != expected {
            return Err(Error::Shape {
                what,
                expected: vec![expected],
                found: vec![found],
            });
        }
        Ok(())
    }
}

/// The groups of positions that nobody has taken yet, with the room for what they keep.
struct Open<'a, C> {
    groups: &'a [Range<usize>],
    counts: &'a mut [C],
    sums: &'a mut [PositionSums],
}

/// A group of positions that a thread has taken.
struct Taken<'a, C> {
    positions: Range<usize>,
    counts: &'a mut [C],
    sums: &'a mut [PositionSums],
}

impl<'a, C> Open<'a, C> {
    /// Takes the next group; `stride` counts belong to a position.
    fn take(&mut self, stride: usize) -> Option<Taken<'a, C>> {
        let (positions, rest) = self.groups.split_first()?;
        self.groups = rest;
        Some(Taken {
            positions: positions.clone(),
            counts: split_off(&mut self.counts, positions.len() * stride),
            sums: split_off(&mut self.sums, positions.len()),
        })
    }
}

/// The first elements of a slice, which keeps the others.
fn split_off<'a, T>(slice: &mut &'a mut [T], len: usize) -> &'a mut [T] {
    let (first, rest) = std::mem::take(slice).split_at_mut(len);
    *slice = rest;
    first
}

/// Zeros, written by all threads: clearing memory takes one thread as long as a fifth of the pass over a file in the page cache.
fn zeros<C: Count>(len: usize) -> Vec<C> {
    const AT_ONCE: usize = 4096;
    let blocks = (0..len.div_ceil(AT_ONCE)).into_par_iter();
    let blocks: Vec<[C; AT_ONCE]> = blocks.map(|_| [C::default(); AT_ONCE]).collect();
    let mut zeros = blocks.into_flattened();
    zeros.truncate(len);
    zeros
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
        let mut one = self.reduce_shards(source, &[*shard], &[], buffer_bytes, read)?;
        Ok(one.pop().expect("a result for each shard"))
    }

    /// Reads neighboring shards together, for each what [`Self::reduce_shard`] gives. They are held in memory at the same time,
    /// with all that lies between the first and the last. Of the shards that are reduced `next`, together as well, the source hears
    /// what is read first, so that a disk is busy until then; there need not be any.
    ///
    /// # Errors
    ///
    /// As [`Self::reduce_shard`].
    pub fn reduce_shards(
        &self,
        source: &dyn FrameSource,
        shards: &[Shard],
        next: &[Shard],
        buffer_bytes: usize,
        read: &(dyn Fn(u64) -> bool + Sync),
    ) -> Result<Vec<(RingSeries, ShardSums)>> {
        let first = self.first_runs(source, next, buffer_bytes);
        match self.count_type {
            CountType::U8 => self.pass(source, shards, &first, buffer_bytes, read, RingCounts::U8),
            CountType::U16 => {
                self.pass(source, shards, &first, buffer_bytes, read, RingCounts::U16)
            }
            CountType::U32 => {
                self.pass(source, shards, &first, buffer_bytes, read, RingCounts::U32)
            }
            CountType::F32 => {
                self.pass(source, shards, &first, buffer_bytes, read, RingCounts::F32)
            }
        }
    }

    /// The block of positions that holds neighboring shards.
    fn hull(&self, shards: &[Shard]) -> Option<Shard> {
        let (first, last) = (shards.first()?, shards.last()?);
        let (_, n_cols) = self.shift_row.dim();
        Some(if shards.len() == 1 {
            *first
        } else {
            Shard {
                index: first.index,
                first_row: first.first_row,
                n_rows: last.first_row + last.n_rows - first.first_row,
                first_col: 0,
                n_cols,
            }
        })
    }

    /// What is read first of shards: a tile for each thread.
    fn first_runs(
        &self,
        source: &dyn FrameSource,
        shards: &[Shard],
        buffer_bytes: usize,
    ) -> Vec<FrameRun> {
        let Some(hull) = self.hull(shards) else {
            return Vec::new();
        };
        let tiles = Tiles::of(self, source, &hull, buffer_bytes);
        let first = tiles.groups.iter().take(tiles.n_at_once);
        first
            .map(|positions| self.run(&hull, &tiles, positions, 0))
            .collect()
    }

    /// The frames of a tile: those of some positions, and of so many scans as there are left.
    fn run(
        &self,
        shard: &Shard,
        tiles: &Tiles,
        positions: &Range<usize>,
        first_time: usize,
    ) -> FrameRun {
        let frames = self.frames_of(shard, positions);
        FrameRun {
            first_time,
            n_times: tiles.n_times.min(self.shape.n_times - first_time),
            first_frame: frames.start,
            n_frames: frames.len(),
        }
    }

    fn pass<C: Count>(
        &self,
        source: &dyn FrameSource,
        shards: &[Shard],
        afterwards: &[FrameRun],
        buffer_bytes: usize,
        read: &(dyn Fn(u64) -> bool + Sync),
        wrap: fn(Array4<C>) -> RingCounts,
    ) -> Result<Vec<(RingSeries, ShardSums)>> {
        let Some(hull) = self.hull(shards) else {
            return Ok(Vec::new());
        };
        let stride = self.shape.n_times * self.annulus.len();
        let n_positions = hull.n_rows * hull.n_cols;
        let mut counts = zeros::<C>(n_positions * stride);
        let positions = (0..n_positions).into_par_iter();
        let mut sums: Vec<PositionSums> = positions.map(|_| PositionSums::new(self)).collect();
        let missing = self.missing_frames(&hull);
        let tiles = Tiles::of(self, source, &hull, buffer_bytes);
        let open = Mutex::new(Open {
            groups: &tiles.groups,
            counts: &mut counts,
            sums: &mut sums,
        });
        // One group of positions after another, taken by whichever thread is free.
        let take = || {
            open.lock()
                .unwrap_or_else(PoisonError::into_inner)
                .take(stride)
        };
        (0..tiles.n_at_once).into_par_iter().try_for_each(|_| {
            let mut block = match self.events_of(source) {
                Some(events) => Block::Lists(events, EventBlock::new(self.shape.frame_len())),
                None => Block::Patterns(FrameBlock::empty(self.sample_type)),
            };
            let mut taken = take();
            if let Some(first) = &taken {
                source.expect(&self.run(&hull, &tiles, &first.positions, 0));
            }
            while let Some(mut group) = taken {
                taken = self.keep_group(
                    (source, &hull, &tiles, &missing),
                    &mut group,
                    (&take, afterwards),
                    &mut block,
                    read,
                )?;
            }
            Ok(())
        })?;
        // From the last to the first, so that what a shard takes with it is given back at once.
        let mut results = Vec::with_capacity(shards.len());
        for shard in shards.iter().rev() {
            let first =
                (shard.first_row - hull.first_row) * hull.n_cols + shard.first_col - hull.first_col;
            let end = first + shard.n_rows * shard.n_cols;
            counts.truncate(end * stride);
            sums.truncate(end);
            let (own_counts, own_sums) = if first == 0 {
                (std::mem::take(&mut counts), std::mem::take(&mut sums))
            } else {
                (counts.split_off(first * stride), sums.split_off(first))
            };
            counts.shrink_to_fit();
            results.push(self.completed(shard, own_counts, &own_sums, wrap)?);
        }
        results.reverse();
        Ok(results)
    }

    /// What one shard gives, of the counts and sums of its positions.
    fn completed<C: Count>(
        &self,
        shard: &Shard,
        counts: Vec<C>,
        sums: &[PositionSums],
        wrap: fn(Array4<C>) -> RingCounts,
    ) -> Result<(RingSeries, ShardSums)> {
        if sums.iter().any(|sums| sums.overflow) {
            return Err(Error::CountOverflow {
                bin: self.settings.bin,
            });
        }
        let (n_times, n_pixels) = (self.shape.n_times, self.annulus.len());
        let missing = self.missing_frames(shard);
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
        Ok((rings, self.combine(shard, sums, missing.len())))
    }

    /// Reads all scans of a group of positions, tile by tile. The next group is taken when the last tile is read, and given back, so that
    /// the source knows what this thread reads next; where there is none, that is what is read `afterwards`.
    fn keep_group<'a, C: Count>(
        &self,
        (source, shard, tiles, missing): (
            &dyn FrameSource,
            &Shard,
            &Tiles,
            &BTreeSet<(usize, usize)>,
        ),
        group: &mut Taken<'_, C>,
        (take, afterwards): (&dyn Fn() -> Option<Taken<'a, C>>, &[FrameRun]),
        block: &mut Block<'_>,
        read: &(dyn Fn(u64) -> bool + Sync),
    ) -> Result<Option<Taken<'a, C>>> {
        let frame_len = self.shape.frame_len();
        let n_times = self.shape.n_times;
        let stride = n_times * self.annulus.len();
        let shared = tiles.n_at_once < rayon::current_num_threads();
        let a_task = if shared { POSITIONS_A_TASK } else { usize::MAX };
        let mut taken = None;
        for first_time in (0..n_times).step_by(tiles.n_times) {
            let run = self.run(shard, tiles, &group.positions, first_time);
            let next_time = first_time + run.n_times;
            if next_time < n_times {
                source.expect(&self.run(shard, tiles, &group.positions, next_time));
            } else {
                taken = take();
                match &taken {
                    Some(next) => source.expect(&self.run(shard, tiles, &next.positions, 0)),
                    None => afterwards.iter().for_each(|run| source.expect(run)),
                }
            }
            for piece in tiles.pieces(&group.positions) {
                let run = self.run(shard, tiles, piece, first_time);
                block.read(source, &run, frame_len)?;
                let n_samples = piece.len() * run.n_times * frame_len;
                if !read((n_samples * self.sample_type.n_bytes()) as u64) {
                    return Err(Error::Stopped);
                }
                let inside = piece.start - group.positions.start..piece.end - group.positions.start;
                group.counts[inside.start * stride..inside.end * stride]
                    .par_chunks_mut(stride.max(1))
                    .zip(group.sums[inside].par_iter_mut())
                    .with_min_len(a_task)
                    .enumerate()
                    .for_each(|(number, (counts, sums))| {
                        let position = piece.start + number;
                        let in_run = self.frame_of(shard, position) - run.first_frame;
                        let frames: Vec<Frame> = (0..run.n_times)
                            .map(|time| Frame {
                                number: time * run.n_frames + in_run,
                                time: first_time + time,
                                move_idx: self.move_of[first_time + time],
                            })
                            .filter(|frame| !missing.contains(&(position, frame.time)))
                            .collect();
                        let tables = self.tables_of(shard, position);
                        match &*block {
                            Block::Patterns(block) => {
                                self.keep(&block.samples, &frames, tables, counts, sums);
                            }
                            Block::Lists(_, lists) => {
                                self.keep_events(lists, &frames, tables, counts, sums);
                            }
                        }
                    });
            }
        }
        for (number, sums) in group.sums.iter_mut().enumerate() {
            self.sum_bins(shard, group.positions.start + number, sums);
        }
        Ok(taken)
    }

    pub(super) fn tables_of(&self, shard: &Shard, position: usize) -> &ShiftTables {
        let at = [
            shard.first_row + position / shard.n_cols,
            shard.first_col + position % shard.n_cols,
        ];
        &self.tables[&(self.shift_row[at], self.shift_col[at])]
    }

    /// Number of the frame of a position in each scan of the file.
    pub(super) fn frame_of(&self, shard: &Shard, position: usize) -> usize {
        let region = &self.settings.region;
        let row = region.rows[0] + shard.first_row + position / shard.n_cols;
        let col = region.cols[0] + shard.first_col + position % shard.n_cols;
        row * self.shape.n_cols + col
    }

    fn missing_frames(&self, shard: &Shard) -> BTreeSet<(usize, usize)> {
        let region = &self.settings.region;
        let mut missing = BTreeSet::new();
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
        let parts = pattern_sum.par_chunks_mut(PIXELS_A_TASK);
        let n_nonfinite = parts
            .zip(pattern_count.par_chunks_mut(PIXELS_A_TASK))
            .enumerate()
            .map(|(part, (sum, count))| {
                self.add_patterns(positions, part * PIXELS_A_TASK, sum, count)
            })
            .sum();
        let mut q_sums = Array3::zeros((shard.n_rows, shard.n_cols, self.q_bins.len()));
        for (position, sums) in positions.iter().enumerate() {
            let (row, col) = (position / shard.n_cols, position % shard.n_cols);
            for (bin, &sum) in sums.q_sums.iter().enumerate() {
                q_sums[[row, col, bin]] = sum;
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

    /// Adds some pixels of all patterns, position after position; gives the number of broken samples among valid ones.
    fn add_patterns(
        &self,
        positions: &[PositionSums],
        first: usize,
        sum: &mut [f64],
        count: &mut [f64],
    ) -> u64 {
        let mut n_nonfinite = 0;
        for position in positions {
            for (move_idx, &n_frames) in position.n_frames.iter().enumerate() {
                count.iter_mut().for_each(|count| *count += n_frames as f64);
                match &position.patterns {
                    Patterns::Counts(patterns) => {
                        for (sum, &own) in sum.iter_mut().zip(&patterns[move_idx][first..]) {
                            *sum += f64::from(own);
                        }
                    }
                    Patterns::Real(patterns) => {
                        let own = &patterns[move_idx];
                        for (sum, own) in sum.iter_mut().zip(&own.counts[first..]) {
                            *sum += own;
                        }
                        let weight = &self.moves[move_idx].weight[first..];
                        let broken = own.broken.iter().skip(first);
                        for ((count, &broken), &weight) in count.iter_mut().zip(broken).zip(weight)
                        {
                            *count -= f64::from(broken);
                            n_nonfinite += u64::from(broken) * u64::from(weight != 0.0);
                        }
                    }
                }
            }
        }
        n_nonfinite
    }
}
