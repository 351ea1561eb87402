//! Where on the sample is a scan position at a time?

use rand_distr::{Distribution, StandardNormal};

use super::noise::{Purpose, stream};
use super::settings::SimulationSettings;

/// Shift of the sample's point under a scan position, `[time]`, zero at the first time.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct DriftTrack {
    pub(super) row_nm: Vec<f64>,
    pub(super) col_nm: Vec<f64>,
    step_nm: f64,
}

/// A drift split into whole scan steps and what remains.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Shift {
    pub(super) rows: i64,
    pub(super) cols: i64,
    pub(super) rest_row_nm: f64,
    pub(super) rest_col_nm: f64,
}

/// A remainder below this many steps is rounding of the drift in nm, and an integer drift shall be exactly that.
const ROUNDING: f64 = 1e-9;

impl DriftTrack {
    /// The drift at given times.
    pub(super) fn new(
        settings: &SimulationSettings,
        temperature_idx: usize,
        times_s: &[f64],
    ) -> Self {
        let drift = &settings.artifacts.drift;
        let mut rng = stream(settings.seed, Purpose::Drift, &[temperature_idx as u64]);
        let (mut walk_row, mut walk_col) = (0.0, 0.0);
        let (row_nm, col_nm) = times_s
            .iter()
            .enumerate()
            .map(|(time, &time_s)| {
                if time > 0 {
                    let row: f64 = StandardNormal.sample(&mut rng);
                    let col: f64 = StandardNormal.sample(&mut rng);
                    walk_row += drift.walk_nm * row;
                    walk_col += drift.walk_nm * col;
                }
                let elapsed_s = time_s - times_s[0];
                (
                    drift.row_nm_per_s * elapsed_s + walk_row,
                    drift.col_nm_per_s * elapsed_s + walk_col,
                )
            })
            .unzip();
        Self {
            row_nm,
            col_nm,
            step_nm: settings.step_nm,
        }
    }

    /// The drift at a time.
    pub(super) fn at(&self, time: usize) -> Shift {
        let (rows, rest_row_nm) = self.split(self.row_nm[time]);
        let (cols, rest_col_nm) = self.split(self.col_nm[time]);
        Shift {
            rows,
            cols,
            rest_row_nm,
            rest_col_nm,
        }
    }

    /// Most steps along any direction, either way.
    pub(super) fn reach(&self) -> usize {
        (0..self.row_nm.len())
            .map(|time| self.at(time))
            .map(|shift| shift.rows.unsigned_abs().max(shift.cols.unsigned_abs()) as usize)
            .max()
            .unwrap_or(0)
    }

    fn split(&self, drift_nm: f64) -> (i64, f64) {
        let steps = drift_nm / self.step_nm;
        let whole = steps.round();
        let rest = steps - whole;
        let rest = if rest.abs() < ROUNDING { 0.0 } else { rest };
        (whole as i64, rest * self.step_nm)
    }
}
