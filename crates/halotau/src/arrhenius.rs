//! How high is the barrier?
//!
//! ```text
//! tau = tau_infinite · exp(E / (R T))        eq. (4)
//! ln tau = ln tau_infinite + E · 1/(R T)     the line that is fitted, weights 1/error²(ln tau)
//! ```
//!
//! The leverage is short: from 633 to 673 K, 1/(R T) changes by 0.0113 mol/kJ, so that an error of 0.1 in ln tau at one
//! end is 9 kJ/mol in E.

mod sanity;
mod vft;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::statistics::{normal_quantile, student_quantile};

pub use sanity::SECONDARY_RTG;
pub use vft::{VftFit, vft};

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
    /// Median, that of Kaplan and Meier: right under censoring of less than half of the positions, and none beyond.
    Median,
    /// tau of the fit to g averaged over positions.
    Ensemble,
    /// Mean of ln tau of the log-normal distribution, every time beyond the record taken for nothing but a lower limit; nothing that rests
    /// on extrapolation enters. That of `LogMean` where no time is beyond the record.
    WithinRecord,
}

impl Average {
    /// All, in the order in which they are shown.
    pub const ALL: [Self; 5] = [
        Self::Mean,
        Self::LogMean,
        Self::Median,
        Self::Ensemble,
        Self::WithinRecord,
    ];

    /// As written in tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::Mean => "mean",
            Self::LogMean => "log_mean",
            Self::Median => "median",
            Self::Ensemble => "ensemble",
            Self::WithinRecord => "within_record",
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
    #[serde(with = "crate::nonfinite")]
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
    #[serde(with = "crate::nonfinite")]
    pub activation_energy_error_kj_per_mol: f64,
    /// Interval at the level of the settings.
    #[serde(with = "crate::nonfinite::pair")]
    pub activation_energy_interval_kj_per_mol: [f64; 2],
    /// Logarithm of tau at infinite temperature, in seconds.
    pub ln_tau_infinite: f64,
    /// Its standard error.
    #[serde(with = "crate::nonfinite")]
    pub ln_tau_infinite_error: f64,
    /// Covariance of `ln_tau_infinite` and of E in kJ/mol, for the band of the figure.
    #[serde(with = "crate::nonfinite")]
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

/// Fits the line to the average relaxation times of several temperatures, in any order.
///
/// `level` is the probability that the interval is meant to cover.
///
/// - Where every point has a positive error, points weigh by 1/error², and the errors of the line follow from those of
///   the points. Where chi² exceeds its degrees of freedom, the errors of the line are widened by the square root of the
///   ratio, since then the errors of the points do not tell the whole scatter. The interval is the normal
///   quantile times the widened error: for few temperatures the widening is itself uncertain and the interval a guide.
/// - Where an error is not known, all points weigh alike, the errors come from the scatter about the line (so that
///   `chi2` equals the degrees of freedom) and the interval from Student's t. For two points errors and interval
///   are then NaN.
/// - Two temperatures give the exact line with the errors of the points carried over.
///
/// # Errors
///
/// [`Error::Setting`] for a temperature or tau that is not positive and finite, or a level outside 0 to 1;
/// [`Error::TooFew`] for fewer than two different temperatures.
///
/// # Example
///
/// ```
/// use halotau::arrhenius::{ArrheniusPoint, Average, GAS_CONSTANT, fit};
///
/// let point = |temperature_k: f64| ArrheniusPoint {
///     temperature_k,
///     tau_s: 1e-5 * (97_000.0 / (GAS_CONSTANT * temperature_k)).exp(),
///     ln_tau_error: 0.05,
/// };
/// let line = fit(&[point(633.0), point(653.0), point(673.0)], Average::Mean, 0.95)?;
/// assert!((line.activation_energy_kj_per_mol - 97.0).abs() < 1e-8);
/// assert!((line.tau_infinite_s / 1e-5 - 1.0).abs() < 1e-9);
/// # Ok::<(), halotau::Error>(())
/// ```
pub fn fit(points: &[ArrheniusPoint], average: Average, level: f64) -> Result<ArrheniusFit> {
    check(points, level)?;
    let weighted = points.iter().all(|point| has_error(point.ln_tau_error));
    let line = Line::through(points, weighted);
    let degrees_of_freedom = points.len() - 2;
    let variance_scale = match (weighted, degrees_of_freedom) {
        (true, 0) => 1.0,
        (true, degrees) => (line.chi2 / degrees as f64).max(1.0),
        (false, 0) => f64::NAN,
        (false, degrees) => line.chi2 / degrees as f64,
    };
    let quantile = if weighted {
        normal_quantile(0.5 + 0.5 * level)
    } else {
        student_quantile(0.5 + 0.5 * level, degrees_of_freedom)
    };
    let energy_error = (variance_scale * line.slope_variance).sqrt();
    let leave_one_out = (0..points.len()).filter_map(|left_out| {
        let mut others = points.to_vec();
        let point = others.remove(left_out);
        has_two_temperatures(&others).then(|| LeaveOneOut {
            temperature_k: point.temperature_k,
            activation_energy_kj_per_mol: Line::through(&others, weighted).slope,
        })
    });
    Ok(ArrheniusFit {
        average,
        points: points.to_vec(),
        activation_energy_kj_per_mol: line.slope,
        activation_energy_error_kj_per_mol: energy_error,
        activation_energy_interval_kj_per_mol: [
            line.slope - quantile * energy_error,
            line.slope + quantile * energy_error,
        ],
        ln_tau_infinite: line.intercept,
        ln_tau_infinite_error: (variance_scale * line.intercept_variance).sqrt(),
        covariance: variance_scale * line.covariance,
        tau_infinite_s: libm::exp(line.intercept),
        chi2: if weighted {
            line.chi2
        } else {
            degrees_of_freedom as f64
        },
        degrees_of_freedom,
        leave_one_out: leave_one_out.collect(),
    })
}

impl ArrheniusFit {
    /// ln tau of the line at a temperature, and its standard error: the band of the figure.
    ///
    /// # Example
    ///
    /// ```
    /// use halotau::arrhenius::{ArrheniusPoint, Average, fit};
    ///
    /// let point = |temperature_k: f64, tau_s: f64| ArrheniusPoint {
    ///     temperature_k,
    ///     tau_s,
    ///     ln_tau_error: 0.1,
    /// };
    /// let line = fit(&[point(633.0, 900.0), point(673.0, 300.0)], Average::Mean, 0.95)?;
    /// // A line through two points is as uncertain as the point it goes through.
    /// let (ln_tau, error) = line.ln_tau(633.0);
    /// assert!((ln_tau - 900.0_f64.ln()).abs() < 1e-9);
    /// assert!((error - 0.1).abs() < 1e-9);
    /// # Ok::<(), halotau::Error>(())
    /// ```
    pub fn ln_tau(&self, temperature_k: f64) -> (f64, f64) {
        let x = inverse_temperature(temperature_k);
        let variance = self.ln_tau_infinite_error.powi(2)
            + 2.0 * x * self.covariance
            + (x * self.activation_energy_error_kj_per_mol).powi(2);
        let ln_tau = self.ln_tau_infinite + self.activation_energy_kj_per_mol * x;
        (ln_tau, variance.max(0.0).sqrt())
    }
}

/// 1/(R T) in mol/kJ.
fn inverse_temperature(temperature_k: f64) -> f64 {
    1000.0 / (GAS_CONSTANT * temperature_k)
}

fn has_error(ln_tau_error: f64) -> bool {
    ln_tau_error > 0.0 && ln_tau_error.is_finite()
}

fn has_two_temperatures(points: &[ArrheniusPoint]) -> bool {
    points
        .windows(2)
        .any(|pair| pair[0].temperature_k != pair[1].temperature_k)
}

fn check(points: &[ArrheniusPoint], level: f64) -> Result<()> {
    if !(0.0 < level && level < 1.0) {
        return Err(Error::Setting {
            key: "level".to_owned(),
            value: level.to_string(),
            problem: "the probability of an interval lies between 0 and 1, such as 0.95".to_owned(),
        });
    }
    for point in points {
        let ArrheniusPoint {
            temperature_k,
            tau_s,
            ..
        } = *point;
        let (key, value, problem) = if !(temperature_k > 0.0 && temperature_k.is_finite()) {
            let problem = "a temperature is positive, in kelvin; correct it in the [[data]] block";
            ("temperature_k", temperature_k, problem.to_owned())
        } else if !(tau_s > 0.0 && tau_s.is_finite()) {
            let problem = format!(
                "the relaxation time at {temperature_k} K is not a positive number and has no logarithm; \
                 leave this temperature out of the Arrhenius fit"
            );
            ("tau_s", tau_s, problem)
        } else {
            continue;
        };
        return Err(Error::Setting {
            key: key.to_owned(),
            value: value.to_string(),
            problem,
        });
    }
    if !has_two_temperatures(points) {
        return Err(Error::TooFew {
            what: "an Arrhenius fit (which takes different temperatures)",
            needed: 2,
            found: points.len().min(1),
        });
    }
    Ok(())
}

/// A weighted straight line ln tau = intercept + slope · 1/(R T) with the variances of unit chi².
struct Line {
    slope: f64,
    intercept: f64,
    slope_variance: f64,
    intercept_variance: f64,
    covariance: f64,
    chi2: f64,
}

impl Line {
    fn through(points: &[ArrheniusPoint], weighted: bool) -> Self {
        let weight = |point: &ArrheniusPoint| {
            if weighted {
                point.ln_tau_error.powi(-2)
            } else {
                1.0
            }
        };
        let data = points.iter().map(|point| {
            let x = inverse_temperature(point.temperature_k);
            (weight(point), x, libm::log(point.tau_s))
        });
        let data: Vec<(f64, f64, f64)> = data.collect();
        let total: f64 = data.iter().map(|(w, ..)| w).sum();
        let x_mean = data.iter().map(|(w, x, _)| w * x).sum::<f64>() / total;
        let y_mean = data.iter().map(|(w, _, y)| w * y).sum::<f64>() / total;
        // Differences from the means: 1/(R T) itself varies by a few per cent only.
        let centered = data.iter().map(|(w, x, y)| (*w, x - x_mean, y - y_mean));
        let (xx, xy) = centered.clone().fold((0.0, 0.0), |(xx, xy), (w, x, y)| {
            (xx + w * x * x, xy + w * x * y)
        });
        let slope = xy / xx;
        Self {
            slope,
            intercept: y_mean - slope * x_mean,
            slope_variance: 1.0 / xx,
            intercept_variance: 1.0 / total + x_mean * x_mean / xx,
            covariance: -x_mean / xx,
            chi2: centered.map(|(w, x, y)| w * (y - slope * x).powi(2)).sum(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEMPERATURES: [f64; 5] = [633.0, 643.0, 653.0, 663.0, 673.0];
    const TAUS: [f64; 5] = [1100.0, 900.0, 610.0, 480.0, 390.0];
    const ERRORS: [f64; 5] = [0.05, 0.04, 0.03, 0.04, 0.06];

    fn points(errors: [f64; 5]) -> Vec<ArrheniusPoint> {
        let of = |index: usize| ArrheniusPoint {
            temperature_k: TEMPERATURES[index],
            tau_s: TAUS[index],
            ln_tau_error: errors[index],
        };
        (0..5).map(of).collect()
    }

    fn assert_close(found: f64, expected: f64) {
        assert!(
            (found / expected - 1.0).abs() < 1e-8,
            "{found}, expected {expected}"
        );
    }

    // numpy.polyfit(1000/(8.31446261815324 T), ln tau, 1), numpy 2.4.

    #[test]
    fn the_weighted_line_equals_numpy() {
        let line = fit(&points(ERRORS), Average::LogMean, 0.95).expect("five good points");
        assert_close(line.activation_energy_kj_per_mol, 98.39630908961881);
        assert_close(line.ln_tau_infinite, -11.670068025736326);
        assert_close(line.chi2, 5.556387146141087);
        // polyfit(w = 1/error, cov = "unscaled"), widened by chi²/3.
        let widened = 5.556387146141087 / 3.0;
        let energy_error = (widened * 31.66982193268271_f64).sqrt();
        assert_close(line.activation_energy_error_kj_per_mol, energy_error);
        assert_close(
            line.ln_tau_infinite_error,
            (widened * 1.0780008943166064_f64).sqrt(),
        );
        assert_close(line.covariance, -widened * 5.842060839520911);
        let [lower, upper] = line.activation_energy_interval_kj_per_mol;
        assert_close(upper - lower, 2.0 * 1.959963984540054 * energy_error);
        assert_eq!(line.leave_one_out.len(), 5);
        let without = [
            101.68723767112253,
            93.18673021438171,
            97.77202419066748,
            97.81373441685625,
            102.64253950397872,
        ];
        for (left_out, (expected, temperature_k)) in line
            .leave_one_out
            .iter()
            .zip(without.into_iter().zip(TEMPERATURES))
        {
            assert_close(left_out.activation_energy_kj_per_mol, expected);
            assert_eq!(left_out.temperature_k, temperature_k);
        }
    }

    #[test]
    fn without_errors_the_scatter_counts() {
        let mut errors = ERRORS;
        errors[2] = f64::NAN;
        let line = fit(&points(errors), Average::Mean, 0.95).expect("five good points");
        // polyfit(cov = True)
        assert_close(line.activation_energy_kj_per_mol, 95.77483245424655);
        let energy_error = 34.57879464553755_f64.sqrt();
        assert_close(line.activation_energy_error_kj_per_mol, energy_error);
        assert_close(line.covariance, -6.371861061372767);
        let [lower, upper] = line.activation_energy_interval_kj_per_mol;
        assert_close(upper - lower, 2.0 * 3.1824463052837078 * energy_error);
        assert_eq!(line.chi2, 3.0);
    }

    #[test]
    fn two_temperatures_give_the_exact_line() {
        let ends = [points(ERRORS)[0], points(ERRORS)[4]];
        let line = fit(&ends, Average::Median, 0.68).expect("two good points");
        let distance = inverse_temperature(633.0) - inverse_temperature(673.0);
        assert_close(
            line.activation_energy_kj_per_mol,
            (1100.0_f64 / 390.0).ln() / distance,
        );
        let error = 0.05_f64.hypot(0.06) / distance;
        assert_close(line.activation_energy_error_kj_per_mol, error);
        assert!(line.leave_one_out.is_empty());
        let unknown = ends.map(|point| ArrheniusPoint {
            ln_tau_error: 0.0,
            ..point
        });
        let line = fit(&unknown, Average::Median, 0.68).expect("two good points");
        assert!(line.activation_energy_error_kj_per_mol.is_nan());
    }

    #[test]
    fn impossible_points_are_named() {
        let mut bad = points(ERRORS);
        bad[3].tau_s = -1.0;
        let message = fit(&bad, Average::Mean, 0.95)
            .expect_err("negative tau")
            .to_string();
        assert!(message.contains("663 K"), "{message}");
        let mut cold = points(ERRORS);
        cold[0].temperature_k = 0.0;
        assert!(matches!(
            fit(&cold, Average::Mean, 0.95),
            Err(Error::Setting { .. })
        ));
        let same = [points(ERRORS)[0]; 3];
        assert!(matches!(
            fit(&same, Average::Mean, 0.95),
            Err(Error::TooFew { .. })
        ));
        assert!(matches!(
            fit(&[], Average::Mean, 0.95),
            Err(Error::TooFew { .. })
        ));
        assert!(fit(&points(ERRORS), Average::Mean, 1.0).is_err());
    }
}
