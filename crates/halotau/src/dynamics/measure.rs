//! Collects what the tests need, position by position, and makes the tests.

use ndarray::{Array2, ArrayView2};

use super::aging::{self, Ages};
use super::overlap::{HalfRecord, LagClasses};
use super::tiles::Tiles;
use super::{ChangedPositions, Dynamics, PositionRecord, fluctuations, four_point, stretch};
use crate::correlate::{n_pairs, one_time};
use crate::relax::{
    BaselineMode, ExponentFactor, KwwFit, KwwProblem, Stretch, Weights, fit, lag_weights,
};
use crate::series::Position;

/// How mean curves are fitted.
#[derive(Debug, Clone, PartialEq)]
pub struct CurveSettings {
    /// Mean time between the scans, `[lag]` from one step.
    pub lag_s: Vec<f64>,
    /// Time from the first scan to the end of the last.
    pub record_s: f64,
    /// Scans that are not left out at all positions, `[time]`.
    pub valid: Vec<bool>,
    /// The factor in the exponent.
    pub exponent_factor: ExponentFactor,
    /// The stretch exponent where it is not what is tested.
    pub stretch: Stretch,
    /// Value of g at infinite lag.
    pub baseline: f64,
    /// Lowest and highest tau.
    pub tau_bounds_s: [f64; 2],
    /// Probability that an interval is meant to cover.
    pub level: f64,
    /// Distance of neighboring positions; NaN where not known.
    pub step_nm: f64,
    /// Full width of the probe at half of its height, in scan steps; NaN where not known.
    pub probe_steps: f64,
}

impl CurveSettings {
    /// The fit of a curve less the baseline.
    pub(super) fn fit(&self, excess: &[f64], valid: &[bool], stretch: Stretch) -> KwwFit {
        let weights = lag_weights(&n_pairs(valid), Weights::LagCount);
        fit(&KwwProblem {
            lag_s: &self.lag_s,
            g: excess,
            weights: &weights,
            exponent_factor: self.exponent_factor,
            stretch,
            baseline: BaselineMode::Given(0.0),
            tau_bounds_s: self.tau_bounds_s,
            finite_window: None,
        })
    }

    /// Whether a curve `[lag]` has a value wherever the record holds a pair of scans.
    pub(super) fn is_whole(&self, mut curve: impl Iterator<Item = f64>) -> bool {
        n_pairs(&self.valid).into_iter().all(|n| {
            curve
                .next()
                .is_some_and(|value| n == 0 || value.is_finite())
        })
    }

    /// Independent probe areas a position at most 1: the square of the step over the width of the probe.
    pub(super) fn area_of_position(&self) -> f64 {
        if self.probe_steps > 1.0 {
            1.0 / (self.probe_steps * self.probe_steps)
        } else {
            1.0
        }
    }
}

/// Mean of two-time matrices over a tile, in parts.
#[derive(Debug, Clone)]
struct MatrixSum {
    sum: Array2<f64>,
    n: Array2<f64>,
}

/// Collects two-time matrices position by position.
#[derive(Debug)]
pub struct Collector {
    settings: CurveSettings,
    tiles: Tiles,
    classes: LagClasses,
    matrices: Vec<MatrixSum>,
    records: Vec<PositionRecord>,
}

impl Collector {
    /// An empty collection.
    pub fn new(settings: CurveSettings, tiles: Tiles) -> Self {
        let n_times = settings.lag_s.len() + 1;
        let zeros = Array2::zeros((n_times, n_times));
        let empty = MatrixSum {
            sum: zeros.clone(),
            n: zeros,
        };
        Self {
            classes: LagClasses::new(&settings.lag_s),
            matrices: vec![empty; tiles.len()],
            records: Vec::new(),
            settings,
            tiles,
        }
    }

    /// What [`Collector::keep`] needs to run on other threads.
    pub fn classes(&self) -> &LagClasses {
        &self.classes
    }

    /// How curves are fitted.
    pub fn settings(&self) -> &CurveSettings {
        &self.settings
    }

    /// What is kept of the two-time matrix `[time_1, time_2]` of a half of the directions, whose own tau is `tau_s`.
    pub fn keep(&self, two_time: ArrayView2<'_, f64>, valid: &[bool], tau_s: f64) -> HalfRecord {
        HalfRecord::new(
            &self.classes,
            two_time,
            valid,
            self.settings.baseline,
            tau_s,
        )
    }

    /// Adds the two-time matrix of the whole ring at a position; entries that are not finite are left out.
    pub fn add_matrix(&mut self, position: Position, two_time: ArrayView2<'_, f64>) {
        let Some(tile) = self.tiles.at(position.row, position.col) else {
            return;
        };
        let part = &mut self.matrices[tile];
        let sums = part.sum.iter_mut().zip(part.n.iter_mut());
        for ((sum, n), &value) in sums.zip(two_time) {
            if value.is_finite() {
                *sum += value;
                *n += 1.0;
            }
        }
    }

    /// Adds what was kept of the two halves of a position.
    pub fn add_halves(&mut self, position: Position, halves: [HalfRecord; 2]) {
        if self.tiles.at(position.row, position.col).is_some() {
            self.records.push(PositionRecord { position, halves });
        }
    }

    /// The tiles.
    pub fn tiles(&self) -> &Tiles {
        &self.tiles
    }

    /// Makes all tests but that of Q, and tells where the dynamics change with age.
    pub fn finish(&self) -> (Dynamics, ChangedPositions) {
        let changed = aging::changed(&self.records, &self.classes, self.tiles.dim());
        let mut dynamics = Dynamics {
            n_tiles: self.tiles.len(),
            n_positions: self.records.len(),
            ..Dynamics::default()
        };
        if !self.tiles.are_enough() || self.settings.lag_s.len() < 8 {
            return (dynamics, changed);
        }
        let settings = &self.settings;
        let curves: Vec<Array2<f64>> = self
            .matrices
            .iter()
            .map(|part| &part.sum / &part.n - settings.baseline)
            .collect();
        let ages = Ages {
            settings,
            classes: &self.classes,
            tiles: &curves,
            weights: self
                .matrices
                .iter()
                .map(|part| part.n.iter().fold(0.0_f64, |most, &n| most.max(n)))
                .collect(),
            errors: self.tiles.errors(),
        };
        let n_changed = changed.iter().filter(|&&changed| changed).count();
        dynamics.aging = aging::test(&ages, n_changed, self.records.len());
        let field = Field {
            settings,
            tiles: &self.tiles,
            classes: &self.classes,
            records: &self.records,
        };
        dynamics.fluctuations = fluctuations::measure(&field);
        dynamics.four_point = four_point::measure(&field);
        let of_tiles: Vec<Vec<f64>> = curves
            .iter()
            .map(|matrix| one_time(matrix.view(), &settings.valid))
            .collect();
        dynamics.stretch = stretch::test(&field, &of_tiles);
        (dynamics, changed)
    }
}

/// What the tests on halves look at.
#[derive(Debug, Clone, Copy)]
pub(super) struct Field<'a> {
    pub(super) settings: &'a CurveSettings,
    pub(super) tiles: &'a Tiles,
    pub(super) classes: &'a LagClasses,
    pub(super) records: &'a [PositionRecord],
}

impl Field<'_> {
    /// Tile of a record; records outside of all tiles are not kept.
    pub(super) fn tile(&self, record: &PositionRecord) -> usize {
        let Position { row, col } = record.position;
        self.tiles.at(row, col).unwrap_or(0)
    }

    /// Mean excess over all positions and both halves in each class.
    pub(super) fn mean_excess(&self) -> Vec<f64> {
        let n_ages = self.classes.n_ages();
        (0..self.classes.len())
            .map(|class| {
                let values = self
                    .records
                    .iter()
                    .flat_map(|record| record.halves.iter().map(|half| half.mean(class, n_ages)))
                    .filter(|value| value.is_finite());
                let (sum, n) = values.fold((0.0, 0.0), |(sum, n), value| (sum + value, n + 1.0));
                sum / n
            })
            .collect()
    }
}
