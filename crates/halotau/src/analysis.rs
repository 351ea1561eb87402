//! All results of one temperature, and of several.

use ndarray::{Array2, Array3};
use serde::{Deserialize, Serialize};

use crate::alike::Alike;
use crate::arrhenius::{ArrheniusFit, Average};
use crate::axes::TimeAxis;
use crate::beam::ZeroDose;
use crate::conditions::Conditions;
use crate::correlate::{CorrelationCurves, Flattening, LagSums, TwoTime};
use crate::dynamics::Dynamics;
use crate::fluctuate::FluctuationMap;
use crate::heterogeneity::Heterogeneity;
use crate::q_dependence::QDependence;
use crate::quality::Quality;
use crate::recipe::Recipe;
use crate::relate::{CombinedRelation, DecoupledRelation, RelationChecks, StructureDynamics};
use crate::relax::{KwwFit, RelaxationMap};
use crate::series::{Position, Warning};
pub use crate::statistics::Estimate;

/// The maps of one temperature in a few numbers. BAD positions are left out; censored ones enter as the text of each says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MapSummary {
    /// Positions analyzed.
    pub n_positions: usize,
    /// Positions that are not BAD.
    pub n_valid: usize,
    /// Of those, positions whose tau is only a lower limit.
    pub n_censored: usize,
    /// Arithmetic mean of tau, seconds; of the log-normal distribution where some are censored beyond three records.
    pub tau_mean_s: Estimate,
    /// exp of the mean of ln tau, by maximum likelihood where some are censored, seconds.
    pub tau_log_mean_s: Estimate,
    /// Median of tau, seconds; NaN with a lower limit where half of the times or more are beyond three records.
    pub tau_median_s: Estimate,
    /// tau of the position-averaged curve, seconds.
    pub tau_ensemble_s: Estimate,
    /// As `tau_log_mean_s`, with all times beyond one record censored there, seconds; NaN where fewer than two are within, and in results
    /// that were written before it was computed.
    #[serde(default = "Estimate::not_known")]
    pub tau_within_record_s: Estimate,
    /// 16th and 84th percentile of tau, seconds.
    #[serde(with = "crate::nonfinite::pair")]
    pub tau_spread_s: [f64; 2],
    /// Standard deviation of ln tau over positions, with the noise; by maximum likelihood where some are censored.
    #[serde(with = "crate::nonfinite")]
    pub ln_tau_sd: f64,
    /// Mean V.
    pub fluctuation_mean: Estimate,
    /// Mean V of a ring of infinitely many speckles: the mean intensity of a ring holds a share of its own fluctuations, and V is V (1 + V)/N
    /// lower for it. What leaving out sectors changes says how much. NaN without sectors, and in results that were written before it was computed.
    #[serde(default = "Estimate::not_known")]
    pub fluctuation_unbiased_mean: Estimate,
    /// Standard deviation of V over positions, with the noise.
    #[serde(with = "crate::nonfinite")]
    pub fluctuation_sd: f64,
    /// Mean contrast of the fits.
    pub contrast_mean: Estimate,
    /// Number of positions with each quality flag, in the order of [`Quality::NAMES`].
    pub flag_counts: Vec<(String, usize)>,
}

impl MapSummary {
    /// The average of tau that is asked for.
    pub fn tau_s(&self, average: Average) -> Estimate {
        match average {
            Average::Mean => self.tau_mean_s,
            Average::LogMean => self.tau_log_mean_s,
            Average::Median => self.tau_median_s,
            Average::Ensemble => self.tau_ensemble_s,
            Average::WithinRecord => self.tau_within_record_s,
        }
    }
}

/// All results of one temperature.
#[derive(Debug, Clone, PartialEq)]
pub struct Analysis {
    /// Name of the series.
    pub name: String,
    /// Temperature of the sample.
    pub temperature_k: f64,
    /// Distance of neighboring positions; NaN where not known.
    pub step_nm: f64,
    /// Start of each scan.
    pub time: TimeAxis,
    /// The recipe, complete.
    pub recipe: Recipe,
    /// Pixels of the ring that was correlated.
    pub n_ring_pixels: usize,
    /// Independent speckles of the correlated ring, N₂ = P² / Σ |μ|² over pairs of its pixels, μ from the aperture; `None` where neither probe nor
    /// aperture are known. As if +Q and −Q were not alike.
    pub n_ring_speckles: Option<f64>,
    /// How the mean over pairs of scans was computed.
    pub lag_sums: LagSums,
    /// Which flattening was used, where it was.
    pub flattening: Option<Flattening>,
    /// How many times wider than the curvature of the likelihood the intervals of tau are, as its halves differ; where it was used.
    pub interval_factor: Option<f64>,
    /// Whether tau is the same over the ring, where the likelihood takes it for that.
    pub q_dependence: Option<QDependence>,
    /// Baseline from distant pairs of positions, where it was measured or could be.
    pub distant_baseline: Option<f64>,
    /// g(t) of every position.
    pub curves: CorrelationCurves,
    /// Fits of every position.
    pub relaxation: RelaxationMap,
    /// V of every position.
    pub fluctuation: FluctuationMap,
    /// Flags of every position, `[row, col]`.
    pub quality: Array2<Quality>,
    /// Drift, beam, scans left out, region.
    pub conditions: Conditions,
    /// Two-time matrices that were kept; the first is the region mean, where there is one.
    pub two_time: Vec<TwoTime>,
    /// Every position's two-time matrix where asked for, `[row * n_cols + col, time_1, time_2]`.
    pub two_time_all: Option<Array3<f64>>,
    /// g averaged over valid positions, `[lag]`, and its fit.
    pub ensemble_g: Vec<f64>,
    /// The fit to it.
    pub ensemble_fit: KwwFit,
    /// A slow and a fast position with good fits, for the figures.
    pub examples: Option<[Position; 2]>,
    /// The maps in a few numbers.
    pub summary: MapSummary,
    /// Rank correlation of tau and V.
    pub relation: StructureDynamics,
    /// Their relation without what shared speckles make of it, where there are enough positions.
    pub decoupled: Option<DecoupledRelation>,
    /// The same from other sides.
    pub relation_checks: Option<RelationChecks>,
    /// How tau and V vary over the map beyond their noise; folders that were written before it was measured have none.
    pub heterogeneity: Option<Heterogeneity>,
    /// Tests of a relaxation with more than one number, where they were asked for.
    pub dynamics: Option<Dynamics>,
    /// What a person should know.
    pub warnings: Vec<Warning>,
}

impl Analysis {
    /// Flags the positions that change with age, `[row, col]`, and counts the flag again.
    pub(crate) fn note_changes(&mut self, changed: &Array2<bool>) {
        for (quality, &changed) in self.quality.iter_mut().zip(changed) {
            quality.set_if(changed, Quality::CHANGES_WITH_AGE);
        }
        let flagged = self.quality.iter();
        let n = flagged
            .filter(|quality| quality.has(Quality::CHANGES_WITH_AGE))
            .count();
        for (name, count) in &mut self.summary.flag_counts {
            if name == "changes_with_age" {
                *count = n;
            }
        }
    }
}

/// Several temperatures of one sample, from the lowest.
#[derive(Debug, Clone, PartialEq)]
pub struct Study {
    /// One analysis a temperature.
    pub analyses: Vec<Analysis>,
    /// One fit an average, in the order of [`Average::ALL`]; empty below two temperatures, and without `WithinRecord` where no time is beyond
    /// a record.
    pub arrhenius: Vec<ArrheniusFit>,
    /// Which of them is the headline.
    pub headline: Average,
    /// Relaxation without beam, for each temperature that was measured at several dose rates.
    pub zero_dose: Vec<ZeroDose>,
    /// The energy of relaxation without beam, where at least two temperatures were measured at several dose rates.
    pub arrhenius_without_beam: Option<ArrheniusFit>,
    /// All temperatures as if measured with the same record, step and dose, where these differ and the counts were kept.
    pub alike: Option<Alike>,
    /// Structure and dynamics over all temperatures; `None` where none of them can be tested.
    pub relation: Option<CombinedRelation>,
}
