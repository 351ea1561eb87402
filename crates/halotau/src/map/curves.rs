//! What does an analysis take from the counts, before anything is fitted?
//!
//! Going over the counts takes most of the time of an analysis; what comes after takes a second. So the work is two stages with a type between
//! them, and an analysis that starts from the [`Taken`] of another one asks the counts for nothing that is there:
//!
//! ```text
//! counts ─▶ Curves, Likelihoods, Matrices ─▶ fits, intervals, flags, maps, relation
//! ```
//!
//! Each part depends on some settings only, [`curve_settings`], [`likelihood_settings`]. Whoever keeps a part must keep these beside it, with
//! what else it came from: the counts, the conditions, and [`METHOD`]. Under equal ones it is bit for bit what the counts would give again.

use std::sync::Arc;

use ndarray::Array2;

use super::likelihood::PositionLikelihood;
use crate::conditions;
use crate::correlate::{CorrelateSettings, Flattening, Lags, TwoTime, TwoTimeKept};
use crate::fluctuate::Fluctuation;
use crate::quality::Quality;
use crate::recipe::{IntervalSettings, Recipe};
use crate::relax::RelaxSettings;
use crate::series::Warning;
use crate::simd::Isa;

/// Version of how numbers are made from counts. It is raised by whoever changes one of them, so that no analysis starts from what an
/// earlier program kept.
pub const METHOD: u32 = 6;

/// What an analysis starts from, as far as it is there, and leaves for the next.
#[derive(Debug, Clone, Default)]
pub struct Taken {
    /// Curves and V of every position.
    pub curves: Option<Curves>,
    /// The likelihood of every position.
    pub likelihoods: Option<Likelihoods>,
    /// Two-time matrices.
    pub matrices: Option<Matrices>,
}

impl Taken {
    /// Drops what does not fit a scan of so many positions and a record with these lags.
    pub(super) fn drop_unfitting(&mut self, n_positions: usize, lags: &Lags) {
        let (n_times, n_lags) = (lags.n_times(), lags.len());
        let fits = |one: &Arc<PositionCurves>| {
            let lengths = |g: &[f64], valid: &[bool]| g.len() == n_lags && valid.len() == n_times;
            let parts = one.parts.iter().flatten();
            lengths(&one.g, &one.valid)
                && one.without.iter().all(|g| g.len() == n_lags)
                && parts.into_iter().all(|part| lengths(&part.g, &part.valid))
        };
        self.curves.take_if(|curves| {
            curves.positions.len() != n_positions || !curves.positions.iter().all(fits)
        });
        self.likelihoods.take_if(|found| {
            let positions = found.positions();
            positions.is_some_and(|positions| positions.len() != n_positions)
        });
        if let Some(matrices) = &mut self.matrices {
            matrices
                .positions
                .retain(|one| one.values.dim() == (n_times, n_times));
        }
    }
}

/// Curves and V of every position, and what all positions share.
#[derive(Debug, Clone, PartialEq)]
pub struct Curves {
    /// What all positions share.
    pub common: Common,
    /// One entry a position, row by row.
    pub positions: Vec<Arc<PositionCurves>>,
}

/// What is measured over all positions before any is looked at.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Common {
    /// Which flattening was used, where it was.
    pub flattening: Option<Flattening>,
    /// The mean pattern that is divided by, `[pixel]` of the annulus.
    pub pattern: Option<Vec<f64>>,
    /// Baseline from distant pairs of positions, where it could be measured.
    pub distant_baseline: Option<f64>,
    /// What a person should know about it.
    pub warnings: Vec<Warning>,
}

/// What is taken from the counts of one position.
#[derive(Debug, Clone, PartialEq)]
pub struct PositionCurves {
    /// g of the ring, `[lag]`.
    pub g: Vec<f64>,
    /// g without each sector that holds pixels.
    pub without: Vec<Vec<f64>>,
    /// Scans that entered, `[time]`.
    pub valid: Vec<bool>,
    /// V of the band.
    pub fluctuation: Fluctuation,
    /// What the counts say about the position, without any fit.
    pub quality: Quality,
    /// Two halves of the directions, and spatial frequencies apart; none where there are too few pixels.
    pub parts: [Option<PartCurves>; 3],
}

/// g and V of some of the pixels of a position.
#[derive(Debug, Clone, PartialEq)]
pub struct PartCurves {
    /// g, `[lag]`.
    pub g: Vec<f64>,
    /// Scans that entered, `[time]`.
    pub valid: Vec<bool>,
    /// V.
    pub fluctuation: f64,
}

/// What the likelihood found, before any choice of convention or level.
#[derive(Debug, Clone, PartialEq)]
pub struct Likelihoods {
    /// One entry a position, row by row; `None` where no speckle was found that lasts.
    positions: Option<Vec<Option<PositionLikelihood>>>,
}

impl Likelihoods {
    /// Numbers of a position in [`Likelihoods::to_numbers`].
    pub const N_NUMBERS: usize = PositionLikelihood::N_NUMBERS;

    pub(super) fn new(positions: Option<Vec<Option<PositionLikelihood>>>) -> Self {
        Self { positions }
    }

    /// The positions; `None` where no speckle was found that lasts.
    pub(super) fn positions(&self) -> Option<&[Option<PositionLikelihood>]> {
        self.positions.as_deref()
    }

    /// As numbers, `[position, number]`, for those who keep them; `None` where no speckle was found that lasts.
    pub fn to_numbers(&self) -> Option<Array2<f64>> {
        let positions = self.positions.as_ref()?;
        let mut numbers = Array2::zeros((positions.len(), Self::N_NUMBERS));
        for (mut row, found) in numbers.rows_mut().into_iter().zip(positions) {
            let own = found
                .as_ref()
                .map_or([f64::NAN; Self::N_NUMBERS], PositionLikelihood::to_numbers);
            row.iter_mut().zip(own).for_each(|(to, from)| *to = from);
        }
        Some(numbers)
    }

    /// What [`Likelihoods::to_numbers`] gave; `None` where numbers are none that it gives.
    pub fn from_numbers(numbers: Option<&Array2<f64>>) -> Option<Self> {
        let Some(numbers) = numbers else {
            return Some(Self::new(None));
        };
        let positions = numbers.rows().into_iter().map(|row| {
            let own: [f64; Self::N_NUMBERS] = row.to_vec().try_into().ok()?;
            if own[0].is_nan() {
                return Some(None);
            }
            PositionLikelihood::from_numbers(&own).map(Some)
        });
        let positions: Option<Vec<_>> = positions.collect();
        Some(Self::new(Some(positions?)))
    }
}

/// Two-time matrices of the region and of single positions.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Matrices {
    /// The sum over the region.
    pub region: RegionSum,
    /// Single positions.
    pub positions: Vec<TwoTime>,
}

/// The sum of G over positions, added in their order.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct RegionSum {
    /// Which positions were asked for, row by row.
    pub asked: Vec<bool>,
    /// The sum over those that have a value at every pair of scans.
    pub sum: Array2<f64>,
    /// How many these are.
    pub n: usize,
}

impl RegionSum {
    pub(super) fn new(n_times: usize, n_positions: usize) -> Self {
        Self {
            asked: vec![false; n_positions],
            sum: Array2::zeros((n_times, n_times)),
            n: 0,
        }
    }

    /// Adds G of a position; where all scans entered, there is a value at every pair.
    pub(super) fn add(&mut self, position: usize, two_time: &Array2<f64>, valid: &[bool]) {
        self.asked[position] = true;
        let is_whole = || two_time.iter().all(|value| value.is_finite());
        if valid.iter().all(|&valid| valid) || is_whole() {
            self.sum += two_time;
            self.n += 1;
        }
    }

    /// The mean over the region.
    pub(super) fn two_time(&self) -> TwoTime {
        TwoTime {
            position: None,
            values: &self.sum / self.n as f64,
        }
    }
}

/// Whether an analysis may start from curves that were taken before: tests of the dynamics and matrices of all positions need the counts.
pub fn can_start_from_curves(recipe: &Recipe) -> bool {
    !recipe.dynamics.tests && recipe.dynamics.two_time != TwoTimeKept::All
}

/// The settings that [`Curves`] and [`Matrices`] depend on beside the conditions; all others are at their defaults.
pub fn curve_settings(recipe: &Recipe) -> Recipe {
    Recipe {
        dynamics: CorrelateSettings {
            two_time_positions: Vec::new(),
            tests: false,
            q_rings: 0,
            ..recipe.dynamics.clone()
        },
        structure: recipe.structure.clone(),
        interval: IntervalSettings {
            level: IntervalSettings::default().level,
            ..recipe.interval.clone()
        },
        ..conditions::settings(recipe)
    }
}

/// The settings that [`Likelihoods`] depend on beside the conditions; all others are at their defaults.
pub fn likelihood_settings(recipe: &Recipe) -> Recipe {
    Recipe {
        relaxation: RelaxSettings {
            tau_bounds: recipe.relaxation.tau_bounds,
            ..RelaxSettings::default()
        },
        ..curve_settings(recipe)
    }
}

/// The vector instructions that numbers are made with on this computer: other ones give other last digits.
pub fn instructions() -> String {
    format!("{} {:?}", std::env::consts::ARCH, Isa::best().set())
}
