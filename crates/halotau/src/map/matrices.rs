//! Two-time matrices of the region and of single positions; those that are known are not computed again.

use ndarray::Array2;
use rayon::prelude::*;

use super::curves::RegionSum;
use super::position::{PositionResult, PositionTask};
use super::{POSITIONS_AT_ONCE, Run, positions_of};
use crate::correlate::{LagSums, TwoTime};
use crate::error::Result;
use crate::series::Position;

/// Positions whose G is averaged for the region where g is computed without it: each costs as many products as there are pairs of
/// scans, and speckles of a few tens average out as well as a picture shows.
const MATRICES_OF_LONG_SERIES: usize = 32;

/// Bytes of matrices that are made at once.
const BYTES_AT_ONCE: usize = 64 << 20;

impl Run<'_, '_> {
    /// The sum of G over the region, where the one that is there is not it.
    pub(super) fn region(
        &self,
        task: &PositionTask<'_>,
        results: &[PositionResult],
        region: &mut RegionSum,
    ) -> Result<()> {
        let mut entering: Vec<usize> = (0..results.len())
            .filter(|&index| results[index].enters_ensemble())
            .collect();
        if task.lag_sums() != LagSums::Pairs {
            // Some, evenly spread in the order of the scan.
            let stride = entering.len().div_ceil(MATRICES_OF_LONG_SERIES).max(1);
            entering = entering.into_iter().step_by(stride).collect();
        }
        let mut asked = vec![false; results.len()];
        entering.iter().for_each(|&index| asked[index] = true);
        let n_times = self.reduction.time.len();
        if region.asked == asked && region.sum.dim() == (n_times, n_times) {
            return Ok(());
        }
        *region = RegionSum::new(n_times, results.len());
        let n_at_once = (BYTES_AT_ONCE / (8 * n_times * n_times)).clamp(1, POSITIONS_AT_ONCE);
        let n_cols = self.reduction.n_cols();
        for shard in self.reduction.shards() {
            let index =
                |at: &Position| (shard.first_row + at.row) * n_cols + shard.first_col + at.col;
            let positions = positions_of(&shard).into_iter();
            let wanted: Vec<Position> = positions.filter(|at| asked[index(at)]).collect();
            if wanted.is_empty() {
                continue;
            }
            let rings = (self.load)(&shard)?;
            for chunk in wanted.chunks(n_at_once) {
                let made: Vec<Array2<f64>> = chunk
                    .par_iter()
                    .map(|&at| task.whole_two_time(&rings, at, self.geometry(&rings, at)))
                    .collect();
                for (at, two_time) in chunk.iter().zip(made) {
                    let at = index(at);
                    region.add(at, &two_time, &results[at].curves.valid);
                }
            }
        }
        Ok(())
    }

    /// G of some positions, in their order; those that are known are not computed again.
    pub(super) fn two_time_of(
        &self,
        task: &PositionTask<'_>,
        wanted: &[Position],
        mut known: Vec<TwoTime>,
    ) -> Result<Vec<TwoTime>> {
        known.retain(|two_time| two_time.position.is_some_and(|at| wanted.contains(&at)));
        for shard in self.reduction.shards() {
            let is_missing = |position: &&Position| {
                (shard.first_row..shard.first_row + shard.n_rows).contains(&position.row)
                    && (shard.first_col..shard.first_col + shard.n_cols).contains(&position.col)
                    && !known
                        .iter()
                        .any(|two_time| two_time.position.as_ref() == Some(*position))
            };
            let missing: Vec<&Position> = wanted.iter().filter(is_missing).collect();
            if missing.is_empty() {
                continue;
            }
            let rings = (self.load)(&shard)?;
            for &&place in &missing {
                let at = Position {
                    row: place.row - rings.first_row,
                    col: place.col - rings.first_col,
                };
                let values = task.two_time(&rings, at, self.geometry(&rings, at));
                known.push(TwoTime {
                    position: Some(place),
                    values,
                });
            }
        }
        known.sort_by_key(|two_time| two_time.position);
        Ok(known)
    }
}
