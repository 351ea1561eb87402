//! Every point of the sample, followed through the scans: an index, no interpolation.
//!
//! ```text
//! counts of the point (row, col) at time t = counts of the position (row − s_row(t), col − s_col(t)),   s = round(d)
//! ```
//!
//! A point whose position lies outside the scan at some time has no frame there: the validity of each position and time says so. What
//! the rounding leaves, at most half a step, is kept with the drift.
//!
//! Neighboring positions may have been centered by different whole detector pixels. Where patterns are not binned the pixels of
//! the annulus are moved back by the difference, so that a point stays on its own detector pixels; pixels that leave the annulus
//! are not valid at that position. Where they are binned the difference is below half a binned pixel and is left.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use ndarray::{Array2, Array3, Array4, s};
use rayon::prelude::*;

use crate::error::Result;
use crate::map::LoadShard;
use crate::reduce::{Reduction, Shard};
use crate::ring::{RingCounts, RingSeries};

/// The whole-step index of every scan, and the frames that are left out.
#[derive(Debug, Clone, PartialEq)]
pub struct Alignment {
    /// Whole steps from a position to the sample's point under it, `[time]`.
    pub row_steps: Vec<i64>,
    /// As `row_steps`, along columns.
    pub col_steps: Vec<i64>,
    /// Frames of the scan that are left out, `[time, row, col]`; none where absent.
    pub left_out: Option<Array3<bool>>,
}

impl Alignment {
    /// Every point stays at its position.
    pub fn none(n_times: usize) -> Self {
        Self {
            row_steps: vec![0; n_times],
            col_steps: vec![0; n_times],
            left_out: None,
        }
    }

    /// Whether nothing is moved or left out.
    pub fn is_identity(&self) -> bool {
        self.left_out.is_none() && self.is_still()
    }

    /// Whether nothing is moved.
    pub fn is_still(&self) -> bool {
        self.row_steps
            .iter()
            .chain(&self.col_steps)
            .all(|&step| step == 0)
    }

    /// The position that a point is seen at, where it lies inside a scan of `n_rows` x `n_cols`.
    pub fn position(
        &self,
        time: usize,
        (row, col): (usize, usize),
        (n_rows, n_cols): (usize, usize),
    ) -> Option<(usize, usize)> {
        let at = |index: usize, step: i64, n: usize| {
            usize::try_from(index as i64 - step)
                .ok()
                .filter(|&at| at < n)
        };
        Some((
            at(row, self.row_steps[time], n_rows)?,
            at(col, self.col_steps[time], n_cols)?,
        ))
    }

    /// The frame of a point at a time, where there is one that counts.
    fn frame(
        &self,
        time: usize,
        point: (usize, usize),
        shape: (usize, usize),
    ) -> Option<(usize, usize)> {
        let at = self.position(time, point, shape)?;
        let out = self
            .left_out
            .as_ref()
            .is_some_and(|left_out| left_out[[time, at.0, at.1]]);
        (!out).then_some(at)
    }

    /// Images of a series, `[time, row, col]`, at the points of the sample; NaN where there is none.
    pub fn images(&self, images: &Array3<f64>) -> Array3<f64> {
        let (_, n_rows, n_cols) = images.dim();
        Array3::from_shape_fn(images.dim(), |(time, row, col)| {
            self.frame(time, (row, col), (n_rows, n_cols))
                .map_or(f64::NAN, |(row, col)| images[[time, row, col]])
        })
    }

    /// Whole-pixel differences of the pattern's shift among the positions that a point is seen at, without zero.
    pub(crate) fn pattern_moves(
        &self,
        reduction: &Reduction,
        point: (usize, usize),
    ) -> Vec<(i32, i32)> {
        let shape = (reduction.n_rows(), reduction.n_cols());
        let mut moves: Vec<(i32, i32)> = (0..self.row_steps.len())
            .filter_map(|time| self.position(time, point, shape))
            .map(|at| pattern_move(reduction, point, at))
            .filter(|&moved| moved != (0, 0))
            .collect();
        moves.sort_unstable();
        moves.dedup();
        moves
    }
}

/// By how much the pattern at a position was shifted less than at a point's own position, native pixels.
fn pattern_move(reduction: &Reduction, point: (usize, usize), at: (usize, usize)) -> (i32, i32) {
    let of = |map: &Array2<i32>| map[[point.0, point.1]] - map[[at.0, at.1]];
    (of(&reduction.shift_row), of(&reduction.shift_col))
}

/// Where each annulus pixel lies in the annulus after a move by whole pixels; `None` for pixels that leave it.
pub(crate) fn moved_pixels(reduction: &Reduction, moved: (i32, i32)) -> Vec<Option<usize>> {
    let annulus = &reduction.annulus;
    if annulus.bin != 1 {
        return (0..annulus.len()).map(Some).collect();
    }
    let places: BTreeMap<(i64, i64), usize> = (0..annulus.len())
        .map(|pixel| {
            (
                (i64::from(annulus.row[pixel]), i64::from(annulus.col[pixel])),
                pixel,
            )
        })
        .collect();
    (0..annulus.len())
        .map(|pixel| {
            let place = (
                i64::from(annulus.row[pixel]) + i64::from(moved.0),
                i64::from(annulus.col[pixel]) + i64::from(moved.1),
            );
            places.get(&place).copied()
        })
        .collect()
}

/// The counts of a reduction at the points of the sample, shard by shard, with the shards around kept while they are needed.
pub(crate) struct AlignedCounts<'a, 'rings> {
    reduction: &'a Reduction,
    alignment: &'a Alignment,
    load: &'a LoadShard<'rings>,
    moves: BTreeMap<(i32, i32), Vec<Option<usize>>>,
    near: Mutex<BTreeMap<usize, Arc<RingSeries>>>,
}

impl<'a, 'rings> AlignedCounts<'a, 'rings> {
    pub(crate) fn new(
        reduction: &'a Reduction,
        alignment: &'a Alignment,
        load: &'a LoadShard<'rings>,
    ) -> Self {
        let mut moves = BTreeMap::new();
        if !alignment.is_still() {
            for row in 0..reduction.n_rows() {
                for col in 0..reduction.n_cols() {
                    for moved in alignment.pattern_moves(reduction, (row, col)) {
                        moves
                            .entry(moved)
                            .or_insert_with(|| moved_pixels(reduction, moved));
                    }
                }
            }
        }
        Self {
            reduction,
            alignment,
            load,
            moves,
            near: Mutex::new(BTreeMap::new()),
        }
    }

    /// The counts of a shard's points.
    pub(crate) fn shard(&self, shard: &Shard) -> Result<Cow<'rings, RingSeries>> {
        if self.alignment.is_identity() {
            return (self.load)(shard);
        }
        let sources = self.sources(shard)?;
        let frames = Frames {
            counts: self,
            shard,
            sources: &sources,
        };
        let first = &sources[0].1;
        let counts = match &first.counts {
            RingCounts::U8(_) => RingCounts::U8(frames.gather(|counts| match counts {
                RingCounts::U8(counts) => Some(counts),
                _ => None,
            })),
            RingCounts::U16(_) => RingCounts::U16(frames.gather(|counts| match counts {
                RingCounts::U16(counts) => Some(counts),
                _ => None,
            })),
            RingCounts::U32(_) => RingCounts::U32(frames.gather(|counts| match counts {
                RingCounts::U32(counts) => Some(counts),
                _ => None,
            })),
            RingCounts::F32(_) => RingCounts::F32(frames.gather(|counts| match counts {
                RingCounts::F32(counts) => Some(counts),
                _ => None,
            })),
        };
        let n_times = self.reduction.time.len();
        let frame_valid =
            Array3::from_shape_fn((shard.n_rows, shard.n_cols, n_times), |(row, col, time)| {
                frames
                    .of(row, col, time)
                    .is_some_and(|(rings, at, _)| rings.frame_valid[[at.0, at.1, time]])
            });
        Ok(Cow::Owned(RingSeries {
            first_row: shard.first_row,
            first_col: shard.first_col,
            counts,
            frame_valid,
            pixel_valid: None,
        }))
    }

    /// The shards that hold a frame of a point of this shard.
    fn sources(&self, shard: &Shard) -> Result<Vec<(Shard, Arc<RingSeries>)>> {
        let range = |steps: &[i64], first: usize, n: usize, all: usize| {
            let most = steps.iter().copied().max().unwrap_or(0);
            let least = steps.iter().copied().min().unwrap_or(0);
            let clamp = |at: i64| at.clamp(0, all as i64) as usize;
            (
                clamp(first as i64 - most),
                clamp((first + n) as i64 - least),
            )
        };
        let alignment = self.alignment;
        let rows = range(
            &alignment.row_steps,
            shard.first_row,
            shard.n_rows,
            self.reduction.n_rows(),
        );
        let cols = range(
            &alignment.col_steps,
            shard.first_col,
            shard.n_cols,
            self.reduction.n_cols(),
        );
        let needed: Vec<Shard> = self
            .reduction
            .shards()
            .into_iter()
            .filter(|other| {
                other.index == shard.index
                    || (other.first_row < rows.1
                        && other.first_row + other.n_rows > rows.0
                        && other.first_col < cols.1
                        && other.first_col + other.n_cols > cols.0)
            })
            .collect();
        let mut near = self.near.lock().unwrap_or_else(PoisonError::into_inner);
        near.retain(|index, _| needed.iter().any(|shard| shard.index == *index));
        needed
            .into_iter()
            .map(|shard| {
                if let Some(kept) = near.get(&shard.index) {
                    return Ok((shard, Arc::clone(kept)));
                }
                let rings = Arc::new((self.load)(&shard)?.into_owned());
                near.insert(shard.index, Arc::clone(&rings));
                Ok((shard, rings))
            })
            .collect()
    }
}

/// The block that holds a frame, the place in it, and the move of the pattern.
type PointFrame<'a> = (&'a RingSeries, (usize, usize), (i32, i32));

/// Where the frames of a shard's points are.
struct Frames<'s, 'a, 'rings> {
    counts: &'s AlignedCounts<'a, 'rings>,
    shard: &'s Shard,
    sources: &'s [(Shard, Arc<RingSeries>)],
}

impl Frames<'_, '_, '_> {
    /// The block, the place in it, and the move of the pattern.
    fn of(&self, row: usize, col: usize, time: usize) -> Option<PointFrame<'_>> {
        let reduction = self.counts.reduction;
        let shape = (reduction.n_rows(), reduction.n_cols());
        let point = (self.shard.first_row + row, self.shard.first_col + col);
        let at = self.counts.alignment.frame(time, point, shape)?;
        let (shard, rings) = self.sources.iter().find(|(shard, _)| {
            (shard.first_row..shard.first_row + shard.n_rows).contains(&at.0)
                && (shard.first_col..shard.first_col + shard.n_cols).contains(&at.1)
        })?;
        Some((
            rings,
            (at.0 - shard.first_row, at.1 - shard.first_col),
            pattern_move(reduction, point, at),
        ))
    }

    fn gather<T: Copy + Default + Send + Sync>(
        &self,
        typed: impl Fn(&RingCounts) -> Option<&Array4<T>> + Sync,
    ) -> Array4<T> {
        let (n_times, n_pixels) = (
            self.counts.reduction.time.len(),
            self.counts.reduction.annulus.len(),
        );
        let (n_rows, n_cols) = (self.shard.n_rows, self.shard.n_cols);
        let mut samples = vec![T::default(); n_rows * n_cols * n_times * n_pixels];
        samples
            .par_chunks_mut((n_times * n_pixels).max(1))
            .enumerate()
            .for_each(|(position, series)| {
                let (row, col) = (position / n_cols, position % n_cols);
                for (time, kept) in series.chunks_exact_mut(n_pixels.max(1)).enumerate() {
                    let Some((rings, at, moved)) = self.of(row, col, time) else {
                        continue;
                    };
                    let Some(counts) = typed(&rings.counts) else {
                        continue;
                    };
                    let frame = counts.slice(s![at.0, at.1, time, ..]);
                    match self.counts.moves.get(&moved) {
                        None => kept
                            .iter_mut()
                            .zip(frame)
                            .for_each(|(kept, &count)| *kept = count),
                        Some(places) => kept.iter_mut().zip(places).for_each(|(kept, place)| {
                            if let Some(place) = *place {
                                *kept = frame[place];
                            }
                        }),
                    }
                }
            });
        Array4::from_shape_vec((n_rows, n_cols, n_times, n_pixels), samples)
            .expect("one sample a position, time and pixel")
    }
}
