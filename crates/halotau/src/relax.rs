//! How fast does the speckle forget itself?
//!
//! ```text
//! g(t) = 1 + b + contrast · exp[−k (t/tau)^stretch]      eq. (3), k = 2 (default) or 1, b = baseline − 1
//! ```
//!
//! The factor k = 2 comes from the square of the field correlation (Siegert relation) and is used throughout the
//! electron-correlation literature; `tau(k = 2) = 2^(1/stretch) · tau(k = 1)`.

use ndarray::Array2;
use serde::{Deserialize, Serialize};

/// The factor in the exponent of eq. (3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ExponentFactor {
    /// `exp[−2 (t/tau)^stretch]`: tau is the relaxation time of the field.
    #[default]
    Two,
    /// `exp[−(t/tau)^stretch]`: tau is the relaxation time of the intensity.
    One,
}

impl ExponentFactor {
    /// The number k.
    pub fn value(self) -> f64 {
        match self {
            Self::Two => 2.0,
            Self::One => 1.0,
        }
    }
}

/// The stretch exponent.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stretch {
    /// Held at a value; the paper holds 1.
    Fixed(f64),
    /// Fitted between bounds, from a start value.
    Free {
        /// Lower bound.
        min: f64,
        /// Upper bound.
        max: f64,
    },
}

/// The value of g at infinite lag.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Baseline {
    /// Exactly 1.
    One,
    /// Fitted. Costly where tau is not much shorter than the record: baseline and tau are nearly degenerate.
    Free,
    /// Measured from pairs of positions too far apart to share speckle: no dynamics can contribute.
    DistantPairs,
}

/// Weights of the lags.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Weights {
    /// All lags alike (the paper).
    None,
    /// By the number of pairs of scans.
    #[default]
    LagCount,
}

/// Settings of the fit.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RelaxSettings {
    /// The factor k.
    pub exponent_factor: ExponentFactor,
    /// The stretch exponent.
    pub stretch: Stretch,
    /// The baseline.
    pub baseline: Baseline,
    /// Lags up to this share of the record are fitted.
    pub lag_fraction: f64,
    /// Weights of the lags.
    pub weights: Weights,
    /// Bounds of tau in units of the record's mean step and of its length: `[0.1 steps, 100 records]`.
    pub tau_bounds: [f64; 2],
    /// Fewer valid scans than this give no fit.
    pub min_times: usize,
}

impl Default for RelaxSettings {
    fn default() -> Self {
        Self {
            exponent_factor: ExponentFactor::default(),
            stretch: Stretch::Fixed(1.0),
            baseline: Baseline::One,
            lag_fraction: 1.0,
            weights: Weights::default(),
            tau_bounds: [0.1, 100.0],
            min_times: 8,
        }
    }
}

/// How a fit ended; a value, not an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FitOutcome {
    /// Not tried: the position is masked or carries no data.
    #[default]
    NotTried,
    /// A minimum inside the bounds.
    Converged,
    /// The best tau is the largest allowed: no decay is seen.
    TauAtUpperBound,
    /// The best tau is the smallest allowed: all is lost within a step.
    TauAtLowerBound,
    /// The best stretch exponent is at a bound.
    StretchAtBound,
    /// The best contrast is zero or negative: nothing decays.
    NoContrast,
    /// Fewer usable lags than parameters, or fewer scans than asked for.
    TooFewLags,
    /// The iteration limit was reached.
    NotConverged,
}

/// The fit of one curve.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct KwwFit {
    /// Relaxation time in the convention of the settings.
    pub tau_s: f64,
    /// Amplitude of the decay, g(0) − baseline.
    pub contrast: f64,
    /// Stretch exponent.
    pub stretch: f64,
    /// Value of g at infinite lag.
    pub baseline: f64,
    /// How it ended.
    pub outcome: FitOutcome,
    /// Weighted sum of squared residuals.
    pub cost: f64,
    /// Condition number of the Jacobian, columns scaled to unit length; infinite where not known.
    pub condition: f64,
    /// Iterations taken.
    pub iterations: usize,
}

/// Relaxation of every position, each `[row, col]`; NaN where there is no value.
#[derive(Debug, Clone, PartialEq)]
pub struct RelaxationMap {
    /// Relaxation time.
    pub tau_s: Array2<f64>,
    /// Lower end of its interval.
    pub tau_lower_s: Array2<f64>,
    /// Upper end; infinite where the interval is open above.
    pub tau_upper_s: Array2<f64>,
    /// Standard error of ln tau from the sector jackknife.
    pub ln_tau_error: Array2<f64>,
    /// Amplitude of the decay.
    pub contrast: Array2<f64>,
    /// Its standard error.
    pub contrast_error: Array2<f64>,
    /// Stretch exponent.
    pub stretch: Array2<f64>,
    /// Its standard error; zero where it was fixed.
    pub stretch_error: Array2<f64>,
    /// Value of g at infinite lag.
    pub baseline: Array2<f64>,
    /// Mean relaxation time of the intensity: `(tau / k^(1/stretch)) Γ(1/stretch)/stretch`.
    pub mean_relaxation_time_s: Array2<f64>,
    /// Fit-free persistence: `(g(T/4..T/3) − baseline) / (g(lags 1..3) − baseline)`.
    pub persistence: Array2<f64>,
    /// Root mean square of the residuals.
    pub residual: Array2<f64>,
    /// How each fit ended.
    pub outcome: Array2<FitOutcome>,
}
