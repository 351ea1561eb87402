//! How high is the barrier?
//!
//! ```text
//! tau = tau_infinite · exp(E / (R T))        eq. (4)
//! ```

use serde::{Deserialize, Serialize};

/// Molar gas constant, J/(mol K), exact since 2019.
pub const GAS_CONSTANT: f64 = 8.314_462_618_153_24;

/// Which average of the relaxation times of a map stands for a temperature.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Average {
    /// Arithmetic mean of tau (the paper); dominated by the slowest positions.
    Mean,
    /// Mean of ln tau.
    #[default]
    LogMean,
    /// Median; right under censoring of less than half of the positions.
    Median,
    /// tau of the fit to g averaged over positions.
    Ensemble,
}

impl Average {
    /// All, in the order in which they are shown.
    pub const ALL: [Self; 4] = [Self::Mean, Self::LogMean, Self::Median, Self::Ensemble];

    /// As written in tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::Mean => "mean",
            Self::LogMean => "log_mean",
            Self::Median => "median",
            Self::Ensemble => "ensemble",
        }
    }
}

/// One temperature of an Arrhenius fit.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ArrheniusPoint {
    /// Temperature.
    pub temperature_k: f64,
    /// Average relaxation time.
    pub tau_s: f64,
    /// Standard error of its logarithm; NaN or 0 where not known, then all points weigh alike.
    pub ln_tau_error: f64,
}

/// The line ln tau = ln tau_infinite + E/(R T).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ArrheniusFit {
    /// Which average the points are.
    pub average: Average,
    /// The points.
    pub points: Vec<ArrheniusPoint>,
    /// Activation energy.
    pub activation_energy_kj_per_mol: f64,
    /// Its standard error, widened by the square root of the reduced chi² where that exceeds 1.
    pub activation_energy_error_kj_per_mol: f64,
    /// Interval at the level of the settings.
    pub activation_energy_interval_kj_per_mol: [f64; 2],
    /// Logarithm of tau at infinite temperature, in seconds.
    pub ln_tau_infinite: f64,
    /// Its standard error.
    pub ln_tau_infinite_error: f64,
    /// Covariance of `ln_tau_infinite` and of E in kJ/mol, for the band of the figure.
    pub covariance: f64,
    /// tau at infinite temperature.
    pub tau_infinite_s: f64,
    /// Sum of squared residuals over squared errors.
    pub chi2: f64,
    /// Points less 2.
    pub degrees_of_freedom: usize,
    /// E with one temperature left out: (that temperature, E).
    pub leave_one_out: Vec<LeaveOneOut>,
}

/// The energy without one temperature.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct LeaveOneOut {
    /// The temperature left out.
    pub temperature_k: f64,
    /// E from the others.
    pub activation_energy_kj_per_mol: f64,
}
