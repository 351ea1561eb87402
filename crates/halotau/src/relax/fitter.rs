//! Many curves with the same lags, weights and bounds.
//!
//! What the coarse scan computes of a curve are its products with the same few hundred shapes. They are computed once; for each curve
//! a product of a matrix with a vector is left of the scan, and the search from its lowest places.

use super::fit::{Prepared, without_value};
use super::starts::{Start, lowest_starts};
use super::{
    BaselineMode, ExponentFactor, FiniteWindow, FitOutcome, KwwFit, KwwProblem, Stretch, fit,
    fit_from,
};
use crate::least_squares::{Data, UNITS, unit_shape};

/// Numbers of shapes that are kept at most, 8 MiB; wider bounds are scanned anew for each curve.
const MAX_KEPT: usize = 1 << 20;

/// Fits curves one after another that differ in nothing but their values.
///
/// # Example
///
/// ```
/// use halotau::relax::{BaselineMode, ExponentFactor, KwwFitter, KwwProblem, Stretch, fit};
///
/// let lag_s: Vec<f64> = (1..50).map(|lag| 10.0 * lag as f64).collect();
/// let curve = |tau_s: f64| -> Vec<f64> {
///     lag_s.iter().map(|t| 1.0 + 0.5 * (-2.0 * t / tau_s).exp()).collect()
/// };
/// let problem = KwwProblem {
///     lag_s: &lag_s,
///     g: &[],
///     weights: &[1.0; 49],
///     exponent_factor: ExponentFactor::Two,
///     stretch: Stretch::Free { min: 0.3, max: 2.0 },
///     baseline: BaselineMode::Given(1.0),
///     tau_bounds_s: [1.0, 1e4],
///     finite_window: None,
/// };
/// let fitter = KwwFitter::new(&problem);
/// for tau_s in [50.0, 100.0, 200.0] {
///     let found = fitter.fit(&curve(tau_s));
///     assert!((found.tau_s / tau_s - 1.0).abs() < 1e-6);
///     assert!((found.stretch - 1.0).abs() < 1e-6);
/// }
/// ```
#[derive(Debug, Clone)]
pub struct KwwFitter {
    lag_s: Vec<f64>,
    weights: Vec<f64>,
    exponent_factor: ExponentFactor,
    stretch: Stretch,
    baseline: BaselineMode,
    tau_bounds_s: [f64; 2],
    finite_window: Option<FiniteWindow>,
    prepared: Result<Prepared, FitOutcome>,
    /// `None` where the shapes would take too much memory.
    shapes: Option<Shapes>,
}

/// The shapes of the coarse scan.
#[derive(Debug, Clone)]
struct Shapes {
    /// Logarithms of stretch and tau of each place, by stretch, from the highest tau to the lowest.
    places: Vec<(f64, Vec<f64>)>,
    /// The shape of each place as [`unit_shape`] makes it, `[block of places][point]`, places of a block side by side.
    units: Vec<[f64; UNITS]>,
    /// Points of a curve.
    n_points: usize,
}

impl KwwFitter {
    /// Prepares for the lags, weights and settings of a problem; its curve is not looked at.
    pub fn new(problem: &KwwProblem<'_>) -> Self {
        let prepared = Prepared::new(problem, None);
        let shapes = prepared.as_ref().ok().and_then(Shapes::new);
        Self {
            lag_s: problem.lag_s.to_vec(),
            weights: problem.weights.to_vec(),
            exponent_factor: problem.exponent_factor,
            stretch: problem.stretch,
            baseline: problem.baseline,
            tau_bounds_s: problem.tau_bounds_s,
            finite_window: problem.finite_window,
            prepared,
            shapes,
        }
    }

    /// Weights of the lags.
    pub fn weights(&self) -> &[f64] {
        &self.weights
    }

    /// As [`fit`] of the problem with this curve: the same minimum, to rounding.
    ///
    /// `g` is `[lag]`. A curve that lacks a value at a lag with a weight is fitted by [`fit`].
    pub fn fit(&self, g: &[f64]) -> KwwFit {
        match (&self.prepared, &self.shapes) {
            (Ok(prepared), Some(shapes)) if prepared.suits(g) => {
                let data = prepared.data(g);
                let starts = lowest_starts(&shapes.rows(&data));
                prepared.follow(&data, &starts)
            }
            _ => fit(&self.problem(g)),
        }
    }

    /// As [`fit_from`] of the problem with this curve.
    pub fn fit_from(&self, g: &[f64], start: &KwwFit) -> KwwFit {
        match &self.prepared {
            _ if start.outcome != FitOutcome::Converged => self.fit(g),
            Ok(prepared) if prepared.suits(g) => {
                let starts = [prepared.start(start)];
                prepared.follow(&prepared.data(g), &starts)
            }
            Ok(_) => fit_from(&self.problem(g), start),
            Err(outcome) => without_value(*outcome),
        }
    }

    fn problem<'a>(&'a self, g: &'a [f64]) -> KwwProblem<'a> {
        KwwProblem {
            lag_s: &self.lag_s,
            g,
            weights: &self.weights,
            exponent_factor: self.exponent_factor,
            stretch: self.stretch,
            baseline: self.baseline,
            tau_bounds_s: self.tau_bounds_s,
            finite_window: self.finite_window,
        }
    }
}

impl Shapes {
    fn new(prepared: &Prepared) -> Option<Self> {
        let (weights, offset) = prepared.weighting();
        let rows = prepared.rows();
        let n_places: usize = rows.iter().try_fold(0_usize, |n_places, &ln_stretch| {
            n_places.checked_add(prepared.n_places(ln_stretch))
        })?;
        let n_blocks = n_places.div_ceil(UNITS);
        let n_points = weights.len();
        if n_blocks.checked_mul(n_points)? > MAX_KEPT / UNITS {
            return None;
        }
        let mut shapes = Self {
            places: Vec::new(),
            units: vec![[0.0; UNITS]; n_blocks * n_points],
            n_points,
        };
        let mut place = 0;
        for ln_stretch in rows {
            let mut row = Vec::new();
            prepared.scan_row(ln_stretch, |ln_tau, shape| {
                unit_shape(weights, offset, shape);
                let block = &mut shapes.units[place / UNITS * n_points..][..n_points];
                for (units, &value) in block.iter_mut().zip(&*shape) {
                    units[place % UNITS] = value;
                }
                place += 1;
                row.push(ln_tau);
            });
            shapes.places.push((ln_stretch, row));
        }
        Some(shapes)
    }

    /// The scan of one curve.
    fn rows(&self, data: &Data<'_>) -> Vec<Vec<Start>> {
        let blocks = self.units.chunks_exact(self.n_points.max(1));
        let mut costs = Vec::with_capacity(blocks.len() * UNITS);
        blocks.for_each(|units| costs.extend_from_slice(&data.signed_costs_of_units(units)));
        let mut left = &costs[..];
        let row = |(ln_stretch, row): &(f64, Vec<f64>)| {
            let own = left.split_off(..row.len()).unwrap_or_default();
            let start = |(&ln_tau, &cost)| Start {
                cost,
                ln_tau,
                ln_stretch: *ln_stretch,
            };
            row.iter().zip(own).map(start).collect()
        };
        self.places.iter().map(row).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_curve_among_many_is_fitted_as_alone() {
        let lag_s: Vec<f64> = (1..=60).map(|lag| 10.0 * f64::from(lag)).collect();
        let curve = |number: usize| -> Vec<f64> {
            let tau_s = 40.0 * 1.3_f64.powi(number as i32);
            let ripple = |lag: f64| 0.004 * (lag * lag + number as f64).sin();
            lag_s
                .iter()
                .map(|t| 1.0 + 0.3 * (-2.0 * t / tau_s).exp() + ripple(*t))
                .collect()
        };
        let free = Stretch::Free { min: 0.3, max: 2.0 };
        let window = FiniteWindow {
            n_times: 61,
            step_s: 10.0,
        };
        for (stretch, baseline, finite_window) in [
            (Stretch::Fixed(1.0), BaselineMode::Given(1.0), None),
            (free, BaselineMode::Given(1.0), Some(window)),
            (free, BaselineMode::Free, None),
        ] {
            let problem = KwwProblem {
                lag_s: &lag_s,
                g: &[],
                weights: &[1.0; 60],
                exponent_factor: ExponentFactor::Two,
                stretch,
                baseline,
                tau_bounds_s: [1.0, 1e5],
                finite_window,
            };
            let fitter = KwwFitter::new(&problem);
            assert!(fitter.shapes.is_some());
            for number in 0..12 {
                let mut g = curve(number);
                if number == 5 {
                    g[3] = f64::NAN;
                }
                let alone = fit(&KwwProblem { g: &g, ..problem });
                let among = fitter.fit(&g);
                assert_eq!(alone.outcome, among.outcome);
                assert!(
                    (alone.cost / among.cost - 1.0).abs() < 1e-9,
                    "{alone:?} {among:?}"
                );
                let again = fitter.fit_from(&g, &among);
                assert!((alone.cost / again.cost - 1.0).abs() < 1e-9);
            }
        }
    }

    #[test]
    fn bounds_too_wide_to_keep_are_scanned_anew() {
        let lag_s = [1.0, 2.0, 3.0, 4.0];
        let g = [1.4, 1.2, 1.1, 1.05];
        let problem = KwwProblem {
            lag_s: &lag_s,
            g: &g,
            weights: &[1.0; 4],
            exponent_factor: ExponentFactor::Two,
            stretch: Stretch::Free {
                min: 0.3,
                max: 90.0,
            },
            baseline: BaselineMode::Given(1.0),
            tau_bounds_s: [1e-300, 1e300],
            finite_window: None,
        };
        let fitter = KwwFitter::new(&problem);
        assert!(fitter.shapes.is_none());
        assert_eq!(fitter.fit(&g), fit(&problem));
    }
}
