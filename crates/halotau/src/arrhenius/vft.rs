//! Does the barrier grow on cooling?
//!
//! ```text
//! ln tau = ln tau_0 + B / (T − T_0)        Vogel, Fulcher, Tammann; T_0 = 0 is Arrhenius with E = R B
//! ```
//!
//! For a given T_0 a straight line in 1/(T − T_0), so that only T_0 is searched, from 0 to just below the lowest temperature. Forty kelvin
//! bend an Arrhenius line by so little that T_0 is seldom told: then it is said to be open, and the straight line stands.

use serde::{Deserialize, Serialize};

use super::ArrheniusPoint;
use crate::statistics::chi2_p_value;

/// Temperatures below which a curved line of three parameters says nothing.
const MIN_POINTS: usize = 4;

/// Distance of T_0 from the lowest temperature, K.
const MARGIN_K: f64 = 5.0;

/// The curved line, beside the straight one.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct VftFit {
    /// T_0 of the smallest chi², K.
    pub t0_k: f64,
    /// The T_0 whose chi² is larger by less than 3.84 (times the reduced chi² where that exceeds 1): 95 %.
    pub t0_interval_k: [f64; 2],
    /// B, K.
    pub b_k: f64,
    /// ln(tau_0/s).
    pub ln_tau_0: f64,
    /// Sum of squared residuals over squared errors.
    pub chi2: f64,
    /// Probability that a straight line bends as much by chance.
    pub straight_p: f64,
}

impl VftFit {
    /// Whether the data bend: an Arrhenius line is not enough.
    pub fn bends(&self) -> bool {
        self.straight_p < 0.05
    }
}

/// Fits the curved line. `None` for fewer than four different temperatures, or where an error is not known: then nothing says how much is bending
/// and how much is scatter.
///
/// # Example
///
/// ```
/// use halotau::arrhenius::{ArrheniusPoint, vft};
///
/// let point = |temperature_k: f64| ArrheniusPoint {
///     temperature_k,
///     tau_s: (-20.0 + 4000.0 / (temperature_k - 500.0)).exp(),
///     ln_tau_error: 0.05,
/// };
/// let fit = vft(&[640.0, 660.0, 680.0, 700.0, 720.0].map(point)).unwrap();
/// assert!(fit.bends() && (fit.t0_k - 500.0).abs() < 1.0 && (fit.b_k / 4000.0 - 1.0).abs() < 0.03);
/// ```
pub fn vft(points: &[ArrheniusPoint]) -> Option<VftFit> {
    let mut temperatures: Vec<f64> = points.iter().map(|point| point.temperature_k).collect();
    temperatures.sort_by(f64::total_cmp);
    temperatures.dedup();
    let lowest = *temperatures.first()?;
    let known = |point: &ArrheniusPoint| {
        point.ln_tau_error > 0.0 && point.ln_tau_error.is_finite() && point.tau_s > 0.0
    };
    if temperatures.len() < MIN_POINTS || !points.iter().all(known) {
        return None;
    }
    let highest_t0 = lowest - MARGIN_K;
    // A kelvin is far below what data can tell.
    let lines: Vec<(f64, Line)> = (0..=highest_t0.max(0.0) as usize)
        .map(|t0| (t0 as f64, Line::at(points, t0 as f64)))
        .collect();
    let (t0_k, best) = lines.iter().min_by(|a, b| a.1.chi2.total_cmp(&b.1.chi2))?;
    let straight = &lines.first()?.1;
    let degrees = points.len().saturating_sub(3).max(1) as f64;
    let scale = (best.chi2 / degrees).max(1.0);
    let inside = |line: &&(f64, Line)| line.1.chi2 - best.chi2 < 3.84 * scale;
    Some(VftFit {
        t0_k: *t0_k,
        t0_interval_k: [
            lines.iter().find(inside)?.0,
            lines.iter().rev().find(inside)?.0,
        ],
        b_k: best.slope,
        ln_tau_0: best.intercept,
        chi2: best.chi2,
        straight_p: chi2_p_value((straight.chi2 - best.chi2) / scale, 1),
    })
}

struct Line {
    slope: f64,
    intercept: f64,
    chi2: f64,
}

impl Line {
    fn at(points: &[ArrheniusPoint], t0_k: f64) -> Self {
        let data: Vec<(f64, f64, f64)> = points
            .iter()
            .map(|point| {
                (
                    point.ln_tau_error.powi(-2),
                    1.0 / (point.temperature_k - t0_k),
                    libm::log(point.tau_s),
                )
            })
            .collect();
        let total: f64 = data.iter().map(|(w, ..)| w).sum();
        let x_mean = data.iter().map(|(w, x, _)| w * x).sum::<f64>() / total;
        let y_mean = data.iter().map(|(w, _, y)| w * y).sum::<f64>() / total;
        let sum = |term: &dyn Fn(f64, f64) -> f64| -> f64 {
            data.iter()
                .map(|(w, x, y)| w * term(x - x_mean, y - y_mean))
                .sum()
        };
        let slope = sum(&|x, y| x * y) / sum(&|x, _| x * x);
        Self {
            slope,
            intercept: y_mean - slope * x_mean,
            chi2: sum(&|x, y| (y - slope * x) * (y - slope * x)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn points(ln_tau: impl Fn(f64) -> f64, error: f64) -> Vec<ArrheniusPoint> {
        [633.0, 643.0, 653.0, 663.0, 673.0]
            .map(|temperature_k| ArrheniusPoint {
                temperature_k,
                tau_s: ln_tau(temperature_k).exp(),
                ln_tau_error: error,
            })
            .to_vec()
    }

    #[test]
    fn forty_kelvin_seldom_tell_a_bend() {
        // Kinks of one and a half errors about a straight line of 97 kJ/mol.
        let kink = |t: f64| {
            if (t / 10.0) as i64 % 2 == 0 {
                0.04
            } else {
                -0.04
            }
        };
        let fit = vft(&points(|t| -11.0 + 11_666.0 / t + kink(t), 0.05)).expect("five points");
        assert!(!fit.bends(), "{fit:?}");
        assert_eq!(fit.t0_interval_k[0], 0.0);
        // A strong bend, known to a hundredth.
        let bent = vft(&points(|t| -30.0 + 4000.0 / (t - 530.0), 0.01)).expect("five points");
        assert!(bent.bends() && (bent.t0_k - 530.0).abs() < 1.5, "{bent:?}");
        assert!(bent.t0_interval_k[0] <= 530.0 && bent.t0_interval_k[1] >= 530.0);
        assert_eq!(vft(&points(|_| 1.0, f64::NAN)), None);
        assert_eq!(vft(&points(|_| 1.0, 0.1)[..3]), None);
    }
}
