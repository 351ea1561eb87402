//! What the shards add up to.

use ndarray::{Array2, Array3, s};

use super::{ReducePlan, Reduction, Shard, ShardSums};
use crate::error::{Error, Result};

/// The sums of the shards so far, added in their order, so that no more than one of them need be in memory.
#[derive(Debug)]
pub struct Totals {
    shards: Vec<Shard>,
    n_added: usize,
    pattern_sum: Array2<f64>,
    pattern_count: Array2<f64>,
    virtual_image: Array3<f64>,
    q_sums: Array3<f64>,
    n_nonfinite: u64,
    n_saturated: u64,
    n_negative: u64,
    n_missing_frames: u64,
}

impl Totals {
    /// Nothing yet.
    pub fn new(plan: &ReducePlan) -> Self {
        let (n_rows, n_cols) = plan.shift_row.dim();
        let pattern = (plan.shape.pattern_rows, plan.shape.pattern_cols);
        Self {
            shards: plan.shards(),
            n_added: 0,
            pattern_sum: Array2::zeros(pattern),
            pattern_count: Array2::zeros(pattern),
            virtual_image: Array3::from_elem((plan.shape.n_times, n_rows, n_cols), f64::NAN),
            q_sums: Array3::zeros((n_rows, n_cols, plan.q_bins.len())),
            n_nonfinite: 0,
            n_saturated: 0,
            n_negative: 0,
            n_missing_frames: 0,
        }
    }

    /// Number of shards that were added.
    pub fn n_added(&self) -> usize {
        self.n_added
    }

    /// Adds the sums of the next shard.
    ///
    /// # Errors
    ///
    /// [`Error::Shape`] where the sums are those of another shard or another plan.
    pub fn add(&mut self, sums: &ShardSums) -> Result<()> {
        let Some(shard) = self.shards.get(self.n_added) else {
            return Err(self.wrong_number(self.n_added + 1));
        };
        let (n_times, n_bins) = (self.virtual_image.dim().0, self.q_sums.dim().2);
        let expected = [n_times, shard.n_rows, shard.n_cols, n_bins];
        let (times, rows, cols) = sums.virtual_image.dim();
        let found = [times, rows, cols, sums.q_sums.dim().2];
        if found != expected || sums.pattern_sum.dim() != self.pattern_sum.dim() {
            return Err(Error::Shape {
                what: "the sums of a shard",
                expected: expected.to_vec(),
                found: found.to_vec(),
            });
        }
        self.pattern_sum += &sums.pattern_sum;
        self.pattern_count += &sums.pattern_count;
        let rows = shard.first_row..shard.first_row + shard.n_rows;
        let cols = shard.first_col..shard.first_col + shard.n_cols;
        self.virtual_image
            .slice_mut(s![.., rows.clone(), cols.clone()])
            .assign(&sums.virtual_image);
        self.q_sums
            .slice_mut(s![rows, cols, ..])
            .assign(&sums.q_sums);
        self.n_nonfinite += sums.n_nonfinite;
        self.n_saturated += sums.n_saturated;
        self.n_negative += sums.n_negative;
        self.n_missing_frames += sums.n_missing_frames;
        self.n_added += 1;
        Ok(())
    }

    fn wrong_number(&self, found: usize) -> Error {
        Error::Shape {
            what: "the sums of the shards",
            expected: vec![self.shards.len()],
            found: vec![found],
        }
    }
}

impl ReducePlan {
    /// The reduction, from the sums of all shards.
    ///
    /// # Errors
    ///
    /// [`Error::Shape`] where a shard is missing.
    pub fn finish(self, totals: Totals) -> Result<Reduction> {
        if totals.n_added != totals.shards.len() {
            return Err(totals.wrong_number(totals.n_added));
        }
        let (shard_rows, shard_cols) = self.shard_shape();
        Ok(Reduction {
            name: self.name,
            source_shape: self.shape,
            sample_type: self.sample_type,
            region: self.settings.region,
            temperature_k: self.settings.temperature_k,
            step_nm: self.settings.step_nm,
            time: self.settings.time,
            calibration: self.settings.calibration,
            annulus: self.annulus,
            mean_pattern: totals.pattern_sum / totals.pattern_count,
            virtual_image: totals.virtual_image,
            q_bins: self.q_bins,
            q_pixels: self.q_pixels,
            q_sums: totals.q_sums,
            shift_row: self.shift_row,
            shift_col: self.shift_col,
            n_nonfinite: totals.n_nonfinite,
            n_saturated: totals.n_saturated,
            n_negative: totals.n_negative,
            n_missing_frames: totals.n_missing_frames,
            shard_rows,
            shard_cols,
        })
    }
}
