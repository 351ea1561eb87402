//! Does a model go through a mean curve, by the covariance that the tiles show?
//!
//! ```text
//! T²(model) = m min (ȳ − f)ᵀ S⁻¹ (ȳ − f)                     m tiles, mean ȳ, covariance S of p classes of lag
//! fit       : T² (m − p + k)/((m − 1)(p − k))                 F with p − k and m − p + k degrees of freedom, k parameters
//! k₁ over k₀: (m − p + k₀)/(k₁ − k₀) (T₀² − T₁²)/(m − 1 + T₁²)   F with k₁ − k₀ and m − p + k₀
//! AICc      = m ln[1 + T²/(m − 1)] + 2k + 2k(k + 1)/(m − k − 1)
//! ```
//!
//! Lags share scans, so that their errors are one error in large part. The tiles know: S is their scatter, with what tau differs from place to
//! place in it. That S itself is known from m tiles only is what makes F of chi².
//!
//! Source: Rao, Linear Statistical Inference and its Applications, 8b and 8c (Hotelling's T², additional information).

use ndarray::Array2;

use super::simplex::minimize;
use crate::statistics::f_p_value;

/// The mean of curves of tiles, whitened by the inverse of their covariance.
#[derive(Debug, Clone)]
pub(super) struct TileMean {
    n_tiles: usize,
    mean: Vec<f64>,
    /// Inverse of the lower triangular Cholesky factor of S.
    whiten: Array2<f64>,
}

/// A model that was fitted.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Fitted {
    pub(super) t_square: f64,
    /// All parameters, the amplitude included.
    pub(super) n_parameters: usize,
    /// Those besides the amplitude.
    pub(super) parameters: Vec<f64>,
}

impl TileMean {
    /// `curves[tile][class]`, whose mean scatters `widening` times as much as they say; `None` for fewer than three tiles more than classes, or a
    /// covariance that is singular.
    pub(super) fn new(curves: &[Vec<f64>], widening: f64) -> Option<Self> {
        let (m, p) = (curves.len(), curves.first()?.len());
        if m < p + 2 {
            return None;
        }
        let mean: Vec<f64> = (0..p)
            .map(|class| curves.iter().map(|curve| curve[class]).sum::<f64>() / m as f64)
            .collect();
        let covariance = Array2::from_shape_fn((p, p), |(a, b)| {
            let products = curves
                .iter()
                .map(|curve| (curve[a] - mean[a]) * (curve[b] - mean[b]));
            widening * widening * products.sum::<f64>() / (m - 1) as f64
        });
        Some(Self {
            n_tiles: m,
            mean,
            whiten: inverse_factor(&covariance)?,
        })
    }

    /// Number of classes.
    pub(super) fn len(&self) -> usize {
        self.mean.len()
    }

    fn whitened(&self, values: &[f64]) -> Vec<f64> {
        (0..values.len())
            .map(|row| {
                (0..=row)
                    .map(|col| self.whiten[[row, col]] * values[col])
                    .sum()
            })
            .collect()
    }

    /// The best amplitude times the shape `f` of some parameters, from several starts.
    pub(super) fn fit(
        &self,
        starts: &[Vec<f64>],
        step: &[f64],
        f: &dyn Fn(&[f64]) -> Option<Vec<f64>>,
    ) -> Fitted {
        let y = self.whitened(&self.mean);
        let t_square = |parameters: &[f64]| {
            let Some(shape) = f(parameters) else {
                return f64::INFINITY;
            };
            let x = self.whitened(&shape);
            let (mut xx, mut xy, mut yy) = (0.0, 0.0, 0.0);
            for (x, y) in x.iter().zip(&y) {
                xx += x * x;
                xy += x * y;
                yy += y * y;
            }
            let gain = if xy > 0.0 { xy * xy / xx } else { 0.0 };
            self.n_tiles as f64 * (yy - gain).max(0.0)
        };
        let found = starts
            .iter()
            .map(|start| minimize(start, step, &t_square))
            .min_by(|a, b| a.1.total_cmp(&b.1));
        let (parameters, t_square) = found.unwrap_or((Vec::new(), f64::NAN));
        Fitted {
            t_square,
            n_parameters: parameters.len() + 1,
            parameters,
        }
    }

    /// Probability that a curve of the model departs from it so far.
    pub(super) fn fit_p_value(&self, fitted: &Fitted) -> f64 {
        let (m, p, k) = (self.n_tiles, self.len(), fitted.n_parameters);
        if p <= k {
            return f64::NAN;
        }
        let f = fitted.t_square * (m - p + k) as f64 / ((m - 1) * (p - k)) as f64;
        f_p_value(f, p - k, m - p + k)
    }

    /// Probability that parameters which are not needed improve the fit so much.
    pub(super) fn extra_p_value(&self, simple: &Fitted, rich: &Fitted) -> f64 {
        let (m, p) = (self.n_tiles, self.len());
        let extra = rich.n_parameters - simple.n_parameters;
        if p < rich.n_parameters {
            return f64::NAN;
        }
        let degrees = m - p + simple.n_parameters;
        let gained = (simple.t_square - rich.t_square).max(0.0);
        let f = degrees as f64 / extra as f64 * gained / ((m - 1) as f64 + rich.t_square);
        f_p_value(f, extra, degrees)
    }

    /// Akaike's criterion, corrected for few tiles.
    pub(super) fn aicc(&self, fitted: &Fitted) -> f64 {
        let (m, k) = (self.n_tiles as f64, fitted.n_parameters as f64);
        m * libm::log1p(fitted.t_square / (m - 1.0)) + 2.0 * k + 2.0 * k * (k + 1.0) / (m - k - 1.0)
    }
}

/// T² of a difference from zero in all components: probability of values so far from zero, for curves of tiles (or pseudo-values).
pub(super) fn zero_p_value(curves: &[Vec<f64>], widening: f64) -> f64 {
    let Some(mean) = TileMean::new(curves, widening) else {
        return f64::NAN;
    };
    let white = mean.whitened(&mean.mean);
    let t_square = mean.n_tiles as f64 * white.iter().map(|x| x * x).sum::<f64>();
    let (m, p) = (mean.n_tiles, mean.len());
    f_p_value(t_square * (m - p) as f64 / ((m - 1) * p) as f64, p, m - p)
}

/// Inverse of the lower triangular L with L Lᵀ = matrix; `None` where the matrix is not positive.
fn inverse_factor(matrix: &Array2<f64>) -> Option<Array2<f64>> {
    let n = matrix.nrows();
    let mut factor = Array2::<f64>::zeros((n, n));
    for row in 0..n {
        for col in 0..=row {
            let known: f64 = (0..col).map(|k| factor[[row, k]] * factor[[col, k]]).sum();
            let rest = matrix[[row, col]] - known;
            if row == col {
                // What rounding leaves of a singular matrix.
                if rest.is_nan() || rest <= 1e-12 * matrix[[row, row]] {
                    return None;
                }
                factor[[row, row]] = libm::sqrt(rest);
            } else {
                factor[[row, col]] = rest / factor[[col, col]];
            }
        }
    }
    let mut inverse = Array2::<f64>::zeros((n, n));
    for col in 0..n {
        inverse[[col, col]] = 1.0 / factor[[col, col]];
        for row in col + 1..n {
            let known: f64 = (col..row)
                .map(|k| factor[[row, k]] * inverse[[k, col]])
                .sum();
            inverse[[row, col]] = -known / factor[[row, row]];
        }
    }
    Some(inverse)
}
