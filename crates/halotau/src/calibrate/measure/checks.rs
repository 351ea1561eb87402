//! Is what was measured the same by another way, over time, and from pixel to pixel?

use ndarray::Array2;

use super::super::geometry::{self, Block, Fit, Fixed};
use super::super::{pixels, symmetry};
use super::{Measured, PeriodCenter, WithError, Work};
use crate::series::Warning;

/// Fewer areas than this do not tell a gain map from the speckle that both halves of the scan share.
const MIN_AREAS: f64 = 24.0;

/// Two ways to the center that differ by more than this many standard errors, and by more than a tenth of a pixel of the
/// grid, contradict each other.
const CONTRADICTION: f64 = 4.0;

/// What mask and paraboloid add to the error of the center by symmetry, pixels of the grid.
const SYMMETRY_BIAS: f64 = 0.03;

impl Work<'_> {
    /// The center of each part of the record, everything else held.
    pub(super) fn periods(&self, fit: &Fit) -> Vec<PeriodCenter> {
        if self.survey.periods.len() < 2 {
            return Vec::new();
        }
        let clear = self.clear();
        let scale = self.grid.scale();
        let mut found = Vec::new();
        for period in &self.survey.periods {
            let (row, col) = self.middle();
            let block = Block {
                row,
                col,
                pattern: self.grid.bin(&period.mean, &clear),
            };
            let fixed = Fixed {
                ellipse: true,
                ..Fixed::default()
            };
            let start = fit.model.clone();
            if let Ok(own) = geometry::fit(&[block], self.middle(), start, fixed, None) {
                let error = |at: usize| own.covariance[[at, at]].sqrt() * scale;
                found.push(PeriodCenter {
                    time: period.time,
                    row: WithError {
                        value: own.model.row[0] * scale,
                        error: error(0),
                    },
                    col: WithError {
                        value: own.model.col[0] * scale,
                        error: error(1),
                    },
                });
            }
        }
        // From their own mean: what the descan blurs is the same in all.
        let n = found.len().max(1) as f64;
        let mean = |of: fn(&PeriodCenter) -> f64| found.iter().map(of).sum::<f64>() / n;
        let (row, col) = (
            mean(|period| period.row.value),
            mean(|period| period.col.value),
        );
        for period in &mut found {
            period.row.value -= row;
            period.col.value -= col;
        }
        found
    }

    /// The center by symmetry, with the scatter over parts of the scan.
    pub(super) fn symmetry(&self, measured: &Measured) -> Option<[WithError; 2]> {
        let clear = self.clear();
        let blocks = &self.survey.blocks;
        let counts: Vec<f64> = blocks
            .iter()
            .map(|block| {
                let lit = block.mean.iter().zip(&clear).filter(|(_, clear)| **clear);
                lit.map(|(mean, _)| mean.max(0.0))
                    .filter(|mean| mean.is_finite())
                    .sum()
            })
            .collect();
        let start = self
            .grid
            .of((measured.center[0].value, measured.center[1].value));
        let of = |left_out: &dyn Fn(usize) -> bool| {
            let (mut sum, mut n) = (Array2::<f64>::zeros(clear.dim()), 0.0);
            let (mut row, mut col) = (0.0, 0.0);
            for (at, block) in blocks.iter().enumerate().filter(|(at, _)| !left_out(*at)) {
                let weight = block.n_frames as f64;
                sum.scaled_add(weight, &block.mean);
                // Brighter blocks count for more in the sum.
                let weight = weight * counts[at];
                let (u, v) = (block.row - self.middle().0, block.col - self.middle().1);
                let (down, across) = measured.descan.at(u, v);
                (row, col) = (row + weight * down, col + weight * across);
                n += weight;
            }
            let pattern = self.grid.bin(&sum, &clear);
            let (found_row, found_col) = self.grid.native(symmetry::center(&pattern, start)?);
            // The mean pattern of these blocks lies where their mean descan puts it.
            Some((found_row - row / n, found_col - col / n))
        };
        let (row, col) = of(&|_| false)?;
        let n_parts = blocks.len().min(8);
        let mut replicates = (Vec::new(), Vec::new());
        if n_parts > 1 {
            for part in 0..n_parts {
                let own = part * blocks.len() / n_parts..(part + 1) * blocks.len() / n_parts;
                let (row, col) = of(&|at| own.contains(&at))?;
                replicates.0.push(row);
                replicates.1.push(col);
            }
        }
        let error = |replicates: &[f64]| {
            if replicates.len() < 2 {
                return f64::NAN;
            }
            let scatter = crate::statistics::jackknife_error(replicates);
            libm::hypot(scatter, SYMMETRY_BIAS * self.grid.scale())
        };
        Some([
            WithError {
                value: row,
                error: error(&replicates.0),
            },
            WithError {
                value: col,
                error: error(&replicates.1),
            },
        ])
    }

    pub(super) fn gain_spread(&self, fit: &Fit, good: &Array2<bool>) -> Option<WithError> {
        let blocks = &self.survey.blocks;
        let few = self
            .request
            .n_areas
            .is_some_and(|n_areas| n_areas < MIN_AREAS);
        if blocks.len() < 2 || few {
            return None;
        }
        // Halves across the longer side of the scan, which share the least of the probe.
        let along_cols = self.survey.shape.n_cols >= self.survey.shape.n_rows;
        let place = |at: &usize| {
            let block = &blocks[*at];
            if along_cols { block.col } else { block.row }
        };
        let mut order: Vec<usize> = (0..blocks.len()).collect();
        order.sort_by(|a, b| place(a).total_cmp(&place(b)));
        let mean = |members: &[usize]| {
            let mut sum = Array2::<f64>::zeros(good.dim());
            let mut n = 0.0;
            for &at in members {
                sum.scaled_add(blocks[at].n_frames as f64, &blocks[at].mean);
                n += blocks[at].n_frames as f64;
            }
            sum / n
        };
        let (first, second) = order.split_at(order.len() / 2);
        let halves = [mean(first), mean(second)];
        let (value, error) =
            pixels::gain_spread([&halves[0], &halves[1]], good, &self.flattening(fit))?;
        Some(WithError { value, error })
    }

    pub(super) fn warnings(&self, measured: &Measured) -> Vec<Warning> {
        let mut warnings = Vec::new();
        if let Some(symmetry) = &measured.symmetry_center
            && self.request.center.is_none()
        {
            let away = (0..2).map(|axis| {
                let (a, b) = (measured.center[axis], symmetry[axis]);
                let distance = (a.value - b.value).abs();
                let error = libm::hypot(a.error, if b.error.is_finite() { b.error } else { 0.0 });
                (distance, distance / error.max(1e-9))
            });
            if away
                .clone()
                .any(|(distance, sd)| sd > CONTRADICTION && distance > 0.2 * self.grid.scale())
            {
                warnings.push(Warning::new(
                    "W081",
                    format!(
                        "The center from the halo ({:.2}, {:.2}) and from symmetry ({:.2}, {:.2}) differ by more than their errors; \
                         look at the picture of the mean pattern: is something lit from one side, or part of the stop not masked?",
                        measured.center[0].value, measured.center[1].value, symmetry[0].value, symmetry[1].value
                    ),
                ));
            }
        }
        let strays = measured
            .blocks
            .iter()
            .filter(|block| block.weight == 0.0)
            .count();
        if 5 * strays > measured.blocks.len() {
            warnings.push(Warning::new(
                "W082",
                format!(
                    "{strays} of {} parts of the scan have a center that does not fit the others; look at the picture of the \
                     descan: is there an edge, a crystal or a second phase?",
                    measured.blocks.len()
                ),
            ));
        }
        let moved = measured.periods.iter().filter(|period| {
            [period.row, period.col].iter().any(|shift| {
                shift.value.abs() > 4.0 * shift.error && shift.value.abs() > 0.2 * self.grid.scale()
            })
        });
        if moved.count() > 0 {
            let most = measured
                .periods
                .iter()
                .map(|period| libm::hypot(period.row.value, period.col.value))
                .fold(0.0, f64::max);
            warnings.push(Warning::new(
                "W083",
                format!(
                    "The center moves by up to {most:.2} native pixels during the record; one center is used for all times."
                ),
            ));
        }
        warnings
    }
}
