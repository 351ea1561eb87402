//! How does the center move during the record?
//!
//! The mean pattern of each part of the record has a center of its own. Where these differ by more than their errors, a straight
//! line goes through them, or a line from each to the next where one line does not fit.

use super::super::CenterPath;
use super::super::geometry::{self, Block, Fit, Fixed};
use super::{Measured, PeriodCenter, WithError, Work};
use crate::series::Warning;

/// A displacement beyond this many standard errors is none by chance: of 16 (8 parts, two axes) one in a thousand.
const BEYOND_CHANCE: f64 = 4.0;

/// Displacements below this (pixels of the grid) are not worth a word.
const WORTH_PX: f64 = 0.2;

/// Whole pixels follow what is farther away than this.
const FOLLOWED_PX: f64 = 0.5;

/// At least so many parts tell a movement from a part that is odd.
const MIN_PERIODS: usize = 3;

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
            if let Ok(own) = geometry::fit(&[block], self.middle(), start, fixed) {
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

    /// The path through the centers of the periods, and whether it is beyond chance and worth to be followed.
    pub(super) fn path(&self, periods: &[PeriodCenter]) -> (CenterPath, bool) {
        let beyond = |away: f64, error: f64| {
            away.abs() > BEYOND_CHANCE * error && away.abs() > WORTH_PX * self.grid.scale()
        };
        let moves = periods.iter().any(|period| {
            [period.row, period.col]
                .iter()
                .any(|at| beyond(at.value, at.error))
        });
        if periods.len() < MIN_PERIODS || !moves {
            return (CenterPath::default(), false);
        }
        let line = |of: fn(&PeriodCenter) -> WithError| {
            let n = periods.len() as f64;
            let time = periods.iter().map(|period| period.time).sum::<f64>() / n;
            let value = periods.iter().map(|period| of(period).value).sum::<f64>() / n;
            let (mut product, mut square) = (0.0, 0.0);
            for period in periods {
                product += (period.time - time) * (of(period).value - value);
                square += (period.time - time).powi(2);
            }
            let slope = product / square;
            move |at: f64| value + slope * (at - time)
        };
        let (row, col) = (line(|period| period.row), line(|period| period.col));
        let bent = periods.iter().any(|period| {
            beyond(period.row.value - row(period.time), period.row.error)
                || beyond(period.col.value - col(period.time), period.col.error)
        });
        let knots = if bent {
            periods
                .iter()
                .map(|period| [period.time, period.row.value, period.col.value])
                .collect()
        } else {
            let last = self.survey.shape.n_times as f64 - 1.0;
            vec![[0.0, row(0.0), col(0.0)], [last, row(last), col(last)]]
        };
        (CenterPath::new(knots), true)
    }

    pub(super) fn path_warning(&self, measured: &Measured) -> Option<Warning> {
        if !measured.path_matters {
            return None;
        }
        let away = |time: usize| {
            let (row, col) = measured.center_path.at(time as f64);
            (row.abs().max(col.abs()), libm::hypot(row, col))
        };
        let times = 0..self.survey.shape.n_times;
        let (most, distance) = times.map(away).fold((0.0, 0.0), |most: (f64, f64), own| {
            (most.0.max(own.0), most.1.max(own.1))
        });
        let consequence = if most > FOLLOWED_PX {
            "it is followed by whole pixels, and the speckle still moves by up to half a pixel, which looks like relaxation"
        } else {
            "that is too little to be followed by whole pixels, but a speckle that moves looks like relaxation"
        };
        Some(Warning::new(
            "W083",
            format!(
                "The center moves by up to {distance:.2} native pixels from its mean during the record; {consequence}. Compare with \
                 the width of a speckle, which is twice the convergence angle."
            ),
        ))
    }
}
