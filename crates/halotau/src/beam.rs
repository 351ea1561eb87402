//! How much beam did the sample take, and does the beam drive what is measured?
//!
//! ```text
//! electrons = current · dwell / e,   dose of a scan = electrons / step²,   dose rate = electrons a scan / time from scan to scan
//! 1/τ = 1/τ₀ + a · rate                       zero-dose regression over series of one temperature at several rates
//! ```
//!
//! Rates add, so that the reciprocal relaxation time is linear in the dose rate and its value without beam is the intercept. The
//! form is that of X-ray photon correlation at several fluxes (Chushkin, J. Synchrotron Rad. 27 (2020)).

use serde::{Deserialize, Serialize};

use crate::statistics::student_quantile;

/// Charge of an electron, pA·ms: `1.602e-19 C = 1.602e-4 pA·ms`.
const CHARGE_PA_MS: f64 = 1.602_176_634e-4;

/// Dose of one series.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Dose {
    /// Electrons in one pattern.
    pub electrons: f64,
    /// Electrons a square angstrom in one scan; NaN where the step is not known.
    #[serde(with = "crate::nonfinite")]
    pub scan_per_a2: f64,
    /// Accumulated over the record.
    #[serde(with = "crate::nonfinite")]
    pub total_per_a2: f64,
    /// Mean electrons a second that a position receives.
    pub electrons_per_s: f64,
    /// Mean electrons a square angstrom and second.
    #[serde(with = "crate::nonfinite")]
    pub rate_per_a2_s: f64,
}

impl Dose {
    /// The dose of a series of scans.
    pub fn new(
        current_pa: f64,
        dwell_ms: f64,
        step_nm: f64,
        n_times: usize,
        time_step_s: f64,
    ) -> Self {
        let electrons = current_pa * dwell_ms / CHARGE_PA_MS;
        let scan_per_a2 = electrons / (100.0 * step_nm * step_nm);
        Self {
            electrons,
            scan_per_a2,
            total_per_a2: scan_per_a2 * n_times as f64,
            electrons_per_s: electrons / time_step_s,
            rate_per_a2_s: scan_per_a2 / time_step_s,
        }
    }
}

/// One series of a zero-dose regression.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct DosePoint {
    /// Dose rate, in any unit that is the same for all.
    pub rate: f64,
    /// Average relaxation time.
    pub tau_s: f64,
    /// Its relative standard error.
    pub ln_tau_error: f64,
}

/// The relaxation without beam.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ZeroDose {
    /// Temperature of the series.
    pub temperature_k: f64,
    /// The series.
    pub points: Vec<DosePoint>,
    /// 1/τ₀: relaxation rate at no dose rate, 1/s.
    pub rate_per_s: f64,
    /// Its standard error.
    pub rate_error_per_s: f64,
    /// Lower and upper end of its interval.
    pub rate_interval_per_s: [f64; 2],
    /// Increase of the relaxation rate a unit of dose rate.
    pub slope: f64,
    /// Its standard error.
    pub slope_error: f64,
    /// τ₀; infinite where nothing relaxes without beam.
    #[serde(with = "crate::nonfinite")]
    pub tau_s: f64,
    /// Whether the beam causes more than half of the relaxation at the lowest dose rate.
    pub dominated_by_beam: bool,
}

/// Two dose rates that differ by less than this ratio are the same.
const MIN_RATIO: f64 = 1.1;

/// The weighted straight line of 1/τ against the dose rate; none where fewer than two dose rates differ.
///
/// Errors are those of the points, larger where the points scatter more than these say.
pub fn zero_dose(temperature_k: f64, points: &[DosePoint], level: f64) -> Option<ZeroDose> {
    let usable: Vec<DosePoint> = points
        .iter()
        .copied()
        .filter(|point| {
            point.rate > 0.0
                && point.tau_s > 0.0
                && point.tau_s.is_finite()
                && point.ln_tau_error > 0.0
        })
        .collect();
    let lowest = usable
        .iter()
        .map(|point| point.rate)
        .fold(f64::INFINITY, f64::min);
    let highest = usable.iter().map(|point| point.rate).fold(0.0, f64::max);
    if usable.len() < 2 || highest < MIN_RATIO * lowest {
        return None;
    }
    let (mut s, mut sx, mut sy, mut sxx, mut sxy) = (0.0, 0.0, 0.0, 0.0, 0.0);
    for point in &usable {
        let rate = 1.0 / point.tau_s;
        let weight = (rate * point.ln_tau_error).powi(-2);
        s += weight;
        sx += weight * point.rate;
        sy += weight * rate;
        sxx += weight * point.rate * point.rate;
        sxy += weight * point.rate * rate;
    }
    let determinant = s * sxx - sx * sx;
    let slope = (s * sxy - sx * sy) / determinant;
    let intercept = (sxx * sy - sx * sxy) / determinant;
    let chi2: f64 = usable
        .iter()
        .map(|point| {
            let misfit = 1.0 / point.tau_s - intercept - slope * point.rate;
            (misfit * point.tau_s / point.ln_tau_error).powi(2)
        })
        .sum();
    let degrees = usable.len() - 2;
    let inflation = if degrees > 0 {
        (chi2 / degrees as f64).sqrt().max(1.0)
    } else {
        1.0
    };
    let rate_error_per_s = inflation * (sxx / determinant).sqrt();
    // The errors of the points are known, not estimated from the scatter: the normal quantile.
    let half = student_quantile(0.5 + level / 2.0, 1000) * rate_error_per_s;
    Some(ZeroDose {
        temperature_k,
        rate_per_s: intercept,
        rate_error_per_s,
        rate_interval_per_s: [intercept - half, intercept + half],
        slope,
        slope_error: inflation * (s / determinant).sqrt(),
        tau_s: if intercept > 0.0 {
            1.0 / intercept
        } else {
            f64::INFINITY
        },
        dominated_by_beam: slope * lowest > intercept,
        points: usable,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_dose_of_the_paper() {
        // 8.9 pA for 1 ms are 55,500 electrons; on 0.16 nm squared 2.2e4 a square angstrom; 106 scans 2.3e6.
        let dose = Dose::new(8.9, 1.0, 0.16, 106, 9.2);
        assert!((dose.electrons / 55_550.0 - 1.0).abs() < 1e-3);
        assert!((dose.scan_per_a2 / 2.17e4 - 1.0).abs() < 1e-2);
        assert!((dose.total_per_a2 / 2.3e6 - 1.0).abs() < 1e-2);
        assert!((dose.electrons_per_s / 6.04e3 - 1.0).abs() < 1e-2);
    }

    #[test]
    fn two_fluxes_give_the_rate_without_beam() {
        // 1/τ = 1/1000 + 2e-4 F at F = 1 and 3.
        let point = |rate: f64| DosePoint {
            rate,
            tau_s: 1.0 / (1e-3 + 2e-4 * rate),
            ln_tau_error: 0.05,
        };
        let fit = zero_dose(633.0, &[point(1.0), point(3.0)], 0.95).expect("two rates");
        assert!((fit.tau_s - 1000.0).abs() < 1e-6 && (fit.slope - 2e-4).abs() < 1e-12);
        assert!(!fit.dominated_by_beam);
        // (F1/τ2 − F2/τ1)/(F1 − F2) with relative errors of 5 %: σ² = (3/2 · 0.05 · 1.2e-3)² + (1/2 · 0.05 · 1.6e-3)².
        assert!((fit.rate_error_per_s - libm::hypot(9e-5, 4e-5)).abs() < 1e-9);
        let driven = |rate: f64| DosePoint {
            rate,
            tau_s: 1.0 / (1e-4 + 1e-3 * rate),
            ln_tau_error: 0.05,
        };
        assert!(
            zero_dose(633.0, &[driven(1.0), driven(2.0)], 0.95)
                .expect("two rates")
                .dominated_by_beam
        );
        assert_eq!(zero_dose(633.0, &[point(1.0), point(1.05)], 0.95), None);
    }
}
