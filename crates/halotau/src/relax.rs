//! How fast does the speckle forget itself?
//!
//! ```text
//! g(t) = 1 + b + contrast · exp[−k (t/tau)^stretch]      eq. (3), k = 2 (default) or 1, b = baseline − 1
//! ```
//!
//! The factor k = 2 comes from the square of the field correlation (Siegert relation) and is used throughout the
//! electron-correlation literature; `tau(k = 2) = 2^(1/stretch) · tau(k = 1)`.

mod fit;
mod fitter;
mod shape;
mod starts;

use ndarray::Array2;
use serde::{Deserialize, Serialize};

pub use fit::{BaselineMode, FiniteWindow, KwwProblem, fit, fit_from, fitted_curve};
pub use fitter::KwwFitter;

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

/// How tau is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Estimator {
    /// Least squares on g, eq. (3); intervals by the sector jackknife (the paper's fit).
    #[default]
    LeastSquares,
    /// The likelihood of the speckle's fluctuations, mode by mode: half the error or less. For a stretch of 1, a baseline of one and
    /// flattened counts; with others least squares are used, and a warning says so.
    Likelihood,
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
    /// How tau is found.
    pub estimator: Estimator,
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
            estimator: Estimator::default(),
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

impl RelaxSettings {
    /// The bounds of tau for scans `step_s` apart over a record of `record_s`.
    ///
    /// # Example
    ///
    /// ```
    /// let settings = halotau::relax::RelaxSettings::default();
    /// assert_eq!(settings.tau_bounds_s(10.0, 1000.0), [1.0, 100_000.0]);
    /// ```
    pub fn tau_bounds_s(&self, step_s: f64, record_s: f64) -> [f64; 2] {
        let [steps, records] = self.tau_bounds;
        [steps * step_s, records * record_s]
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
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct KwwFit {
    /// Relaxation time in the convention of the settings.
    #[serde(with = "crate::nonfinite")]
    pub tau_s: f64,
    /// Amplitude of the decay, g(0) − baseline.
    #[serde(with = "crate::nonfinite")]
    pub contrast: f64,
    /// Stretch exponent.
    #[serde(with = "crate::nonfinite")]
    pub stretch: f64,
    /// Value of g at infinite lag.
    #[serde(with = "crate::nonfinite")]
    pub baseline: f64,
    /// How it ended.
    pub outcome: FitOutcome,
    /// Weighted sum of squared residuals.
    #[serde(with = "crate::nonfinite")]
    pub cost: f64,
    /// Condition number of the Jacobian, columns scaled to unit length; infinite where not known.
    #[serde(with = "crate::nonfinite")]
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

/// g(t) of a fit, eq. (3), for any lag time; NaN where the fit has no tau.
///
/// # Example
///
/// ```
/// use halotau::relax::{ExponentFactor, FitOutcome, KwwFit, model};
///
/// let fit = KwwFit {
///     tau_s: 100.0,
///     contrast: 0.5,
///     stretch: 1.0,
///     baseline: 1.0,
///     outcome: FitOutcome::Converged,
///     cost: 0.0,
///     condition: 2.0,
///     iterations: 5,
/// };
/// assert_eq!(model(&fit, 0.0, ExponentFactor::Two), 1.5);
/// assert!((model(&fit, 50.0, ExponentFactor::Two) - 1.0 - 0.5 / std::f64::consts::E).abs() < 1e-15);
/// ```
pub fn model(fit: &KwwFit, lag_s: f64, factor: ExponentFactor) -> f64 {
    let exponent = factor.value() * libm::pow(lag_s / fit.tau_s, fit.stretch);
    fit.baseline + fit.contrast * libm::exp(-exponent)
}

/// Area under the decay of the intensity, which does not depend on the convention of tau.
///
/// ```text
/// ⟨tau⟩ = ∫ exp[−k (t/tau)^stretch] dt = (tau / k^(1/stretch)) Γ(1/stretch)/stretch
/// ```
///
/// # Example
///
/// ```
/// use halotau::relax::{ExponentFactor, mean_relaxation_time_s};
///
/// assert!((mean_relaxation_time_s(100.0, 1.0, ExponentFactor::Two) - 50.0).abs() < 1e-12);
/// // Γ(2)/0.5 = 2
/// assert!((mean_relaxation_time_s(100.0, 0.5, ExponentFactor::One) - 200.0).abs() < 1e-12);
/// ```
pub fn mean_relaxation_time_s(tau_s: f64, stretch: f64, factor: ExponentFactor) -> f64 {
    let inverse = 1.0 / stretch;
    tau_s / libm::pow(factor.value(), inverse) * libm::tgamma(inverse) * inverse
}

/// How much of the correlation is left after a quarter to a third of the record: a rank of tau without a fit.
///
/// ```text
/// (⟨g(k)⟩ − baseline over T/4 <= k <= T/3) / (⟨g(k)⟩ − baseline over k = 1, 2, 3)
/// ```
///
/// `g` is `[lag]` at lags of `steps` scans, increasing, in a record of T = `n_times`. NaN values are left out; NaN where nothing is left
/// or the short lags do not exceed the baseline.
///
/// # Example
///
/// ```
/// // Thirteen scans: the long lags are 4 (of T/4 = 3.25) to 4 (of T/3 = 4.33).
/// let mut g = [1.0; 12];
/// g[..3].fill(1.4);
/// g[3] = 1.1;
/// let steps: Vec<usize> = (1..13).collect();
/// assert!((halotau::relax::persistence(&steps, 13, &g, 1.0) - 0.25).abs() < 1e-12);
/// ```
pub fn persistence(steps: &[usize], n_times: usize, g: &[f64], baseline: f64) -> f64 {
    let mean_excess = |first: usize, last: usize| {
        let inside = steps
            .iter()
            .zip(g)
            .filter(|(step, _)| (first..=last).contains(*step));
        let (sum, count) = inside
            .map(|(_, &value)| value)
            .filter(|value| value.is_finite())
            .fold((0.0, 0_usize), |(sum, count), value| {
                (sum + (value - baseline), count + 1)
            });
        sum / count as f64
    };
    let short = mean_excess(1, 3);
    let long = mean_excess(n_times.div_ceil(4), n_times / 3);
    if short > 0.0 { long / short } else { f64::NAN }
}

/// Weight of each lag from its number of pairs of scans; zero where there is no pair.
///
/// # Example
///
/// ```
/// use halotau::relax::{Weights, lag_weights};
///
/// assert_eq!(lag_weights(&[3, 2, 0], Weights::LagCount), [3.0, 2.0, 0.0]);
/// assert_eq!(lag_weights(&[3, 2, 0], Weights::None), [1.0, 1.0, 0.0]);
/// ```
pub fn lag_weights(n_pairs: &[usize], weights: Weights) -> Vec<f64> {
    let weight = |&pairs: &usize| match weights {
        Weights::None if pairs > 0 => 1.0,
        Weights::None => 0.0,
        Weights::LagCount => pairs as f64,
    };
    n_pairs.iter().map(weight).collect()
}

/// How many lags, from the shortest, are at most a fraction of the record. `lag_s` increases.
///
/// # Example
///
/// ```
/// assert_eq!(halotau::relax::n_lags_within(&[10.0, 20.0, 30.0], 40.0, 0.5), 2);
/// ```
pub fn n_lags_within(lag_s: &[f64], record_s: f64, fraction: f64) -> usize {
    // The last lag of a whole record may lie above it by rounding.
    let longest = fraction * record_s * (1.0 + 1e-12);
    lag_s.iter().take_while(|&&lag| lag <= longest).count()
}
