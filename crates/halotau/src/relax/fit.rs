//! The best KWW function through one curve.

use super::shape::{FixedStretch, FreeStretch, Kww};
use super::starts::{MAX_STARTS, Start, lowest_starts};
use super::{ExponentFactor, FitOutcome, KwwFit, Stretch};
use crate::least_squares::{Buffers, Data, Minimum, Offset, Shape, padded, padded_len};

/// What is known of g at infinite lag before the fit.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum BaselineMode {
    /// Held at a value: 1, or what distant positions say.
    Given(f64),
    /// Fitted.
    Free,
}

/// The record that a curve of [`Normalization::PerPixel`](crate::correlate::Normalization::PerPixel) comes from.
///
/// Pixels that are divided by their own means over a finite record lose the part of their correlation that the means
/// took along. The expected curve is then, to first order in the contrast,
///
/// ```text
/// g(k) − baseline = c(k) − Σ_{i <= n−k} Σ_{j > k} c(|i − j|) / (n−k)²,     c = contrast · exp[−k (t/tau)^stretch]
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct FiniteWindow {
    /// Number of scans n.
    pub n_times: usize,
    /// Time from scan to scan; lags are rounded to whole steps.
    pub step_s: f64,
}

/// A curve and the settings of its fit.
///
/// `lag_s`, `g` and `weights` are `[lag]`; lags beyond the shortest of the three are ignored.
/// A lag takes part where lag and weight are positive and finite and g is finite.
#[derive(Debug, Clone, Copy)]
pub struct KwwProblem<'a> {
    /// Lag times.
    pub lag_s: &'a [f64],
    /// The curve, near 1 at long lags.
    pub g: &'a [f64],
    /// Weight of each squared residual, for example from [`lag_weights`](super::lag_weights).
    pub weights: &'a [f64],
    /// The factor in the exponent.
    pub exponent_factor: ExponentFactor,
    /// The stretch exponent.
    pub stretch: Stretch,
    /// The baseline.
    pub baseline: BaselineMode,
    /// Lowest and highest tau.
    pub tau_bounds_s: [f64; 2],
    /// The record, where each pixel was divided by its own means over it.
    pub finite_window: Option<FiniteWindow>,
}

/// Rows of the coarse scan are at most this far apart in ln stretch; the basins of attraction are wider.
const LN_STRETCH_SPACING: f64 = 0.4;

/// Exponents outside of this range describe no relaxation; near infinity the scan would never end.
const STRETCH_LIMITS: [f64; 2] = [0.01, 100.0];

/// A parameter within this distance of a bound, in its logarithm, ended at the bound.
const BOUND_MARGIN: f64 = 0.01;

/// Fits one curve: the lowest cost over all tau and stretch within bounds and every contrast >= 0.
///
/// The whole range of tau is scanned before the search, so that no start value is needed and curves without a clear
/// decay end in their lowest minimum too. How it ended is [`KwwFit::outcome`]. Without usable bounds (0 < lower tau <
/// upper tau, stretch between 0.01 and 100) nothing is tried, and the numbers are NaN; with [`FitOutcome::NoContrast`] the contrast is zero and tau is NaN.
///
/// # Example
///
/// ```
/// use halotau::relax::{BaselineMode, ExponentFactor, FitOutcome, KwwProblem, Stretch, fit};
///
/// let lag_s = [10.0, 20.0, 40.0, 80.0];
/// let g = lag_s.map(|t: f64| 1.0 + 0.5 * (-2.0 * t / 100.0).exp());
/// let found = fit(&KwwProblem {
///     lag_s: &lag_s,
///     g: &g,
///     weights: &[1.0; 4],
///     exponent_factor: ExponentFactor::Two,
///     stretch: Stretch::Fixed(1.0),
///     baseline: BaselineMode::Given(1.0),
///     tau_bounds_s: [1.0, 1e4],
///     finite_window: None,
/// });
/// assert_eq!(found.outcome, FitOutcome::Converged);
/// assert!((found.tau_s - 100.0).abs() < 1e-6);
/// assert!((found.contrast - 0.5).abs() < 1e-8);
/// ```
pub fn fit(problem: &KwwProblem<'_>) -> KwwFit {
    match Prepared::new(problem, Some(problem.g)) {
        Ok(prepared) => prepared.fit(problem.g, None),
        Err(outcome) => without_value(outcome),
    }
}

/// Fits one curve starting from the fit of one that is nearly the same, as in a jackknife.
///
/// Where that fit ended inside the bounds only the search from there is made, which is several times faster than
/// [`fit`]; else this is [`fit`].
///
/// # Example
///
/// ```
/// use halotau::relax::{BaselineMode, ExponentFactor, KwwProblem, Stretch, fit, fit_from};
///
/// let lag_s: Vec<f64> = (1..50).map(|lag| 10.0 * lag as f64).collect();
/// let curve = |contrast: f64| -> Vec<f64> {
///     lag_s.iter().map(|t| 1.0 + contrast * (-2.0 * t / 100.0).exp()).collect()
/// };
/// let (g, replicate, weights) = (curve(0.5), curve(0.4), vec![1.0; 49]);
/// let problem = KwwProblem {
///     lag_s: &lag_s,
///     g: &g,
///     weights: &weights,
///     exponent_factor: ExponentFactor::Two,
///     stretch: Stretch::Fixed(1.0),
///     baseline: BaselineMode::Given(1.0),
///     tau_bounds_s: [1.0, 1e4],
///     finite_window: None,
/// };
/// let whole = fit(&problem);
/// let part = fit_from(&KwwProblem { g: &replicate, ..problem }, &whole);
/// assert!((part.tau_s - 100.0).abs() < 1e-6);
/// assert!((part.contrast - 0.4).abs() < 1e-8);
/// ```
pub fn fit_from(problem: &KwwProblem<'_>, start: &KwwFit) -> KwwFit {
    let start = (start.outcome == FitOutcome::Converged).then_some(start);
    match Prepared::new(problem, Some(problem.g)) {
        Ok(prepared) => prepared.fit(problem.g, start),
        Err(outcome) => without_value(outcome),
    }
}

/// The fitted function at the lags of the problem, with the loss in a finite record where the problem names one.
///
/// NaN where the fit has no tau, and at lags that the finite-window model does not hold.
///
/// # Example
///
/// ```
/// use halotau::relax::{BaselineMode, ExponentFactor, FiniteWindow, KwwProblem, Stretch, fit, fitted_curve};
///
/// // Two scans: both means are those of one scan, and no correlation is left.
/// let problem = KwwProblem {
///     lag_s: &[1.0, 2.0],
///     g: &[1.2, 1.1],
///     weights: &[1.0, 1.0],
///     exponent_factor: ExponentFactor::Two,
///     stretch: Stretch::Fixed(1.0),
///     baseline: BaselineMode::Given(1.0),
///     tau_bounds_s: [0.1, 100.0],
///     finite_window: None,
/// };
/// let found = fit(&problem);
/// let plain = fitted_curve(&problem, &found);
/// assert!((plain[0] - 1.2).abs() < 1e-6 && (plain[1] - 1.1).abs() < 1e-6);
/// let window = Some(FiniteWindow { n_times: 2, step_s: 1.0 });
/// let lost = fitted_curve(&KwwProblem { finite_window: window, ..problem }, &found);
/// assert!((lost[0] - 1.0).abs() < 1e-12);
/// assert!(lost[1].is_nan());
/// ```
pub fn fitted_curve(problem: &KwwProblem<'_>, fit: &KwwFit) -> Vec<f64> {
    let mut curve = vec![f64::NAN; problem.lag_s.len()];
    let lags = (0..problem.lag_s.len()).filter(|&lag| problem.in_record(lag).is_some());
    let lags: Vec<usize> = lags.collect();
    let mut shape = vec![0.0; padded_len(lags.len())];
    let mut slope = [shape.clone()];
    let kww = problem.kww(&lags, 1.0);
    let parameters = [libm::log(fit.tau_s)];
    FixedStretch::new(&kww, fit.stretch).evaluate(&parameters, &mut shape, &mut slope);
    for (value, lag) in shape.into_iter().zip(lags) {
        curve[lag] = fit.baseline + fit.contrast * value;
    }
    curve
}

impl KwwProblem<'_> {
    /// The lag in steps of the record, or any number without one; `None` where the record has no such lag.
    fn in_record(&self, lag: usize) -> Option<usize> {
        let lag_s = self.lag_s[lag];
        if !(lag_s > 0.0 && lag_s.is_finite()) {
            return None;
        }
        let Some(window) = self.finite_window else {
            return Some(0);
        };
        let steps = (lag_s / window.step_s).round();
        (steps >= 1.0 && steps < window.n_times as f64).then_some(steps as usize)
    }

    /// The function at the given lags, times in units of `unit_s`.
    fn kww(&self, lags: &[usize], unit_s: f64) -> Kww {
        let factor = self.exponent_factor.value();
        match self.finite_window {
            None => {
                let times = lags.iter().map(|&lag| self.lag_s[lag] / unit_s);
                Kww::at_lags(times, factor)
            }
            Some(window) => {
                let kept = lags.iter().filter_map(|&lag| self.in_record(lag)).collect();
                Kww::in_window(window.n_times, window.step_s / unit_s, kept, factor)
            }
        }
    }

    fn ln_stretch_bounds(&self) -> [f64; 2] {
        match self.stretch {
            Stretch::Fixed(value) => [libm::log(value); 2],
            Stretch::Free { min, max } => [libm::log(min), libm::log(max)],
        }
    }
}

/// A problem with its usable lags picked out.
#[derive(Debug, Clone)]
pub(super) struct Prepared {
    lags: Vec<usize>,
    /// [`padded`].
    weights: Vec<f64>,
    /// Of the weights.
    roots: Vec<f64>,
    offset: Offset,
    kww: Kww,
    /// Times are in this unit, so that a stretched time axis gives the same arithmetic.
    unit_s: f64,
    ln_tau_bounds: [f64; 2],
    stretch: Stretch,
    ln_stretch_bounds: [f64; 2],
}

impl Prepared {
    /// The lags that have a weight and, where a curve is given, a value of it.
    pub(super) fn new(problem: &KwwProblem<'_>, g: Option<&[f64]>) -> Result<Self, FitOutcome> {
        let [tau_min_s, tau_max_s] = problem.tau_bounds_s;
        let ln_stretch_bounds = problem.ln_stretch_bounds();
        let usable_bounds = 0.0 < tau_min_s
            && tau_min_s < tau_max_s
            && tau_max_s.is_finite()
            && libm::log(STRETCH_LIMITS[0]) <= ln_stretch_bounds[0]
            && ln_stretch_bounds[0] <= ln_stretch_bounds[1]
            && ln_stretch_bounds[1] <= libm::log(STRETCH_LIMITS[1]);
        if !usable_bounds {
            return Err(FitOutcome::NotTried);
        }
        let n_lags = problem
            .lag_s
            .len()
            .min(g.map_or(usize::MAX, <[f64]>::len))
            .min(problem.weights.len());
        let usable = |lag: usize| {
            let weight = problem.weights[lag];
            weight > 0.0
                && weight.is_finite()
                && g.is_none_or(|g| g[lag].is_finite())
                && problem.in_record(lag).is_some()
        };
        let lags: Vec<usize> = (0..n_lags).filter(|&lag| usable(lag)).collect();
        let offset = match problem.baseline {
            BaselineMode::Given(value) => Offset::Fixed(value),
            BaselineMode::Free => Offset::Free,
        };
        let n_parameters = 2
            + usize::from(offset == Offset::Free)
            + usize::from(matches!(problem.stretch, Stretch::Free { .. }));
        if lags.len() < n_parameters {
            return Err(FitOutcome::TooFewLags);
        }
        let unit_s = lags
            .iter()
            .fold(0.0_f64, |longest, &lag| longest.max(problem.lag_s[lag]));
        let kww = problem.kww(&lags, unit_s);
        let weights = padded(lags.iter().map(|&lag| problem.weights[lag]));
        Ok(Self {
            roots: weights.iter().map(|weight| weight.sqrt()).collect(),
            weights,
            lags,
            offset,
            kww,
            unit_s,
            ln_tau_bounds: [tau_min_s, tau_max_s].map(|tau_s| libm::log(tau_s / unit_s)),
            stretch: problem.stretch,
            ln_stretch_bounds,
        })
    }

    /// Whether a curve has a value at every lag.
    pub(super) fn suits(&self, g: &[f64]) -> bool {
        self.lags
            .iter()
            .all(|&lag| g.get(lag).is_some_and(|g| g.is_finite()))
    }

    /// The values of a curve at the lags.
    pub(super) fn data(&self, g: &[f64]) -> Data<'_> {
        let values = padded(self.lags.iter().map(|&lag| g[lag]));
        Data::new(values, &self.weights, self.offset)
    }

    fn fit(&self, g: &[f64], start: Option<&KwwFit>) -> KwwFit {
        let data = self.data(g);
        let starts = match start {
            Some(fit) => vec![self.start(fit)],
            None => {
                let rows = self.rows().into_iter().map(|ln_stretch| {
                    let mut row = Vec::new();
                    self.scan_row(ln_stretch, |ln_tau, shape| {
                        let cost = data.signed_cost(shape);
                        row.push(Start {
                            cost,
                            ln_tau,
                            ln_stretch,
                        });
                    });
                    row
                });
                lowest_starts(&rows.collect::<Vec<_>>())
            }
        };
        self.follow(&data, &starts)
    }

    /// The place of a fit that was made before.
    pub(super) fn start(&self, fit: &KwwFit) -> Start {
        Start {
            cost: fit.cost,
            ln_tau: libm::log(fit.tau_s / self.unit_s),
            ln_stretch: libm::log(fit.stretch),
        }
    }

    /// Follows starts downhill to the lowest minimum.
    pub(super) fn follow(&self, data: &Data<'_>, starts: &[Start]) -> KwwFit {
        match self.stretch {
            Stretch::Fixed(stretch) => {
                let bounds = [self.ln_tau_bounds];
                let mut model = FixedStretch::new(&self.kww, stretch);
                let starts = starts.iter().map(|start| [start.ln_tau]);
                let mut buffers = Buffers::new(data.len());
                match lowest(data, &mut model, starts, &bounds, &mut buffers) {
                    Some(minimum) => {
                        let condition = data.condition(&mut model, &minimum, &self.roots, buffers);
                        let full = minimum.parameters[0];
                        self.result(&minimum, [full, self.ln_stretch_bounds[0]], condition)
                    }
                    None => no_contrast(data),
                }
            }
            Stretch::Free { .. } => {
                let bounds = [self.ln_tau_bounds, self.ln_stretch_bounds];
                let mut model = FreeStretch::new(&self.kww);
                let starts = starts.iter().map(|start| [start.ln_tau, start.ln_stretch]);
                let mut buffers = Buffers::new(data.len());
                match lowest(data, &mut model, starts, &bounds, &mut buffers) {
                    Some(minimum) => {
                        let condition = data.condition(&mut model, &minimum, &self.roots, buffers);
                        self.result(&minimum, minimum.parameters, condition)
                    }
                    None => no_contrast(data),
                }
            }
        }
    }

    /// Stretches, as logarithms, at which tau is scanned.
    pub(super) fn rows(&self) -> Vec<f64> {
        let [low, high] = self.ln_stretch_bounds;
        let n_gaps = ((high - low) / LN_STRETCH_SPACING).ceil();
        let n_rows = n_gaps as usize + 1;
        let row = |row: usize| low + (high - low) * row as f64 / n_gaps.max(1.0);
        (0..n_rows).map(row).collect()
    }

    /// Calls `visit(ln_tau, shape)` for every tau of a row.
    pub(super) fn scan_row(&self, ln_stretch: f64, visit: impl FnMut(f64, &mut [f64])) {
        let bounds = self.ln_tau_bounds;
        self.kww.scan(libm::exp(ln_stretch), bounds, visit);
    }

    /// Places in such a row.
    pub(super) fn n_places(&self, ln_stretch: f64) -> usize {
        2 * (Kww::n_octaves(libm::exp(ln_stretch), self.ln_tau_bounds) + 1)
    }

    /// Weights and offset of the data.
    pub(super) fn weighting(&self) -> (&[f64], Offset) {
        (&self.weights, self.offset)
    }

    fn result<const N: usize>(
        &self,
        minimum: &Minimum<N>,
        [ln_tau, ln_stretch]: [f64; 2],
        condition: f64,
    ) -> KwwFit {
        let [tau_lower, tau_upper] = self.ln_tau_bounds;
        let [stretch_lower, stretch_upper] = self.ln_stretch_bounds;
        let stretch_at_bound =
            ln_stretch - stretch_lower < BOUND_MARGIN || stretch_upper - ln_stretch < BOUND_MARGIN;
        let outcome = if !minimum.converged {
            FitOutcome::NotConverged
        } else if tau_upper - ln_tau < BOUND_MARGIN {
            FitOutcome::TauAtUpperBound
        } else if ln_tau - tau_lower < BOUND_MARGIN {
            FitOutcome::TauAtLowerBound
        } else if stretch_at_bound && matches!(self.stretch, Stretch::Free { .. }) {
            FitOutcome::StretchAtBound
        } else {
            FitOutcome::Converged
        };
        KwwFit {
            tau_s: self.unit_s * libm::exp(ln_tau),
            contrast: minimum.amplitude,
            stretch: match self.stretch {
                Stretch::Fixed(value) => value,
                Stretch::Free { .. } => libm::exp(ln_stretch),
            },
            baseline: minimum.offset,
            outcome,
            cost: minimum.cost,
            condition,
            iterations: minimum.iterations,
        }
    }
}

fn no_contrast(data: &Data<'_>) -> KwwFit {
    KwwFit {
        contrast: 0.0,
        baseline: data.level(),
        cost: data.cost_without_shape(),
        ..without_value(FitOutcome::NoContrast)
    }
}

/// Follows every start downhill; the lowest end with an amplitude, `None` where there is no such end.
fn lowest<const N: usize>(
    data: &Data<'_>,
    model: &mut impl Shape<N>,
    starts: impl Iterator<Item = [f64; N]>,
    bounds: &[[f64; 2]; N],
    buffers: &mut Buffers<N>,
) -> Option<Minimum<N>> {
    let mut ends: Vec<Minimum<N>> = Vec::with_capacity(MAX_STARTS);
    for start in starts {
        let end = data.minimize(model, start, bounds, &ends, buffers);
        ends.push(end);
    }
    ends.into_iter()
        .filter(|end| end.amplitude > 0.0)
        .min_by(|a, b| a.cost.total_cmp(&b.cost))
}

pub(super) fn without_value(outcome: FitOutcome) -> KwwFit {
    KwwFit {
        tau_s: f64::NAN,
        contrast: f64::NAN,
        stretch: f64::NAN,
        baseline: f64::NAN,
        outcome,
        cost: f64::NAN,
        condition: f64::INFINITY,
        iterations: 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const N_LAGS: usize = 60;

    fn lags(step_s: f64) -> Vec<f64> {
        (1..=N_LAGS).map(|lag| lag as f64 * step_s).collect()
    }

    fn problem<'a>(lag_s: &'a [f64], g: &'a [f64]) -> KwwProblem<'a> {
        KwwProblem {
            lag_s,
            g,
            weights: &[1.0; N_LAGS],
            exponent_factor: ExponentFactor::Two,
            stretch: Stretch::Fixed(1.0),
            baseline: BaselineMode::Given(1.0),
            tau_bounds_s: [0.1 * lag_s[0], 100.0 * lag_s[N_LAGS - 1]],
            finite_window: None,
        }
    }

    /// A decay with a deterministic ripple, so that the cost at the minimum is not zero.
    fn curve(lag_s: &[f64], tau_s: f64, stretch: f64) -> Vec<f64> {
        let ripple = |lag: usize| 0.004 * ((lag * lag) as f64).sin();
        let decay = |t: f64| 0.3 * (-2.0 * (t / tau_s).powf(stretch)).exp();
        let values = lag_s.iter().enumerate();
        values
            .map(|(lag, &t)| 1.0 + decay(t) + ripple(lag))
            .collect()
    }

    #[test]
    fn without_the_factor_tau_is_smaller_by_the_root_of_two() {
        let lag_s = lags(10.0);
        let g = curve(&lag_s, 150.0, 0.7);
        let free = Stretch::Free { min: 0.3, max: 2.0 };
        for stretch in [Stretch::Fixed(1.0), Stretch::Fixed(0.6), free] {
            let with = KwwProblem {
                stretch,
                ..problem(&lag_s, &g)
            };
            let without = KwwProblem {
                exponent_factor: ExponentFactor::One,
                ..with
            };
            let (with, without) = (fit(&with), fit(&without));
            assert_eq!(with.outcome, FitOutcome::Converged);
            let ratio = 2.0_f64.powf(1.0 / with.stretch);
            assert!((with.tau_s / without.tau_s / ratio - 1.0).abs() < 1e-6);
            assert!((with.cost / without.cost - 1.0).abs() < 1e-12);
        }
    }

    #[test]
    fn stretching_the_time_axis_stretches_tau_exactly() {
        let (short, long) = (lags(10.0), lags(40.0));
        let g = curve(&short, 150.0, 1.0);
        let free = Stretch::Free { min: 0.3, max: 2.0 };
        for stretch in [Stretch::Fixed(1.0), free] {
            let of = |lag_s| {
                fit(&KwwProblem {
                    stretch,
                    ..problem(lag_s, &g)
                })
            };
            let (before, after) = (of(&short), of(&long));
            assert_eq!(after.tau_s, 4.0 * before.tau_s);
            assert_eq!(after.cost, before.cost);
        }
    }

    #[test]
    fn flat_rising_and_sudden_curves_end_at_their_outcomes() {
        let lag_s = lags(10.0);
        let outcome = |g: &[f64]| fit(&problem(&lag_s, g)).outcome;
        assert_eq!(outcome(&[1.2; N_LAGS]), FitOutcome::TauAtUpperBound);
        assert_eq!(outcome(&[0.9; N_LAGS]), FitOutcome::NoContrast);
        let mut sudden = [0.999; N_LAGS];
        sudden[0] = 1.2;
        assert_eq!(outcome(&sudden), FitOutcome::TauAtLowerBound);
        let g = curve(&lag_s, 150.0, 2.0);
        let bounded = Stretch::Free { min: 0.3, max: 1.5 };
        let at_bound = fit(&KwwProblem {
            stretch: bounded,
            ..problem(&lag_s, &g)
        });
        assert_eq!(at_bound.outcome, FitOutcome::StretchAtBound);
        assert_eq!(at_bound.stretch, 1.5);
    }

    #[test]
    fn lags_without_a_value_or_weight_do_not_count() {
        let lag_s = lags(10.0);
        let mut g = curve(&lag_s, 150.0, 1.0);
        let mut weights = [1.0; N_LAGS];
        weights[7] = 0.0;
        weights[20] = 0.0;
        let clean = fit(&KwwProblem {
            weights: &weights,
            ..problem(&lag_s, &g)
        });
        g[7] = f64::NAN;
        g[20] = 1e9;
        weights[7] = 1.0;
        let dirty = fit(&KwwProblem {
            weights: &weights,
            ..problem(&lag_s, &g)
        });
        assert_eq!(clean, dirty);
        let nothing = [f64::NAN; N_LAGS];
        let empty = fit(&problem(&lag_s, &nothing));
        assert_eq!(empty.outcome, FitOutcome::TooFewLags);
    }

    #[test]
    fn impossible_bounds_are_not_tried() {
        let lag_s = lags(10.0);
        let g = curve(&lag_s, 150.0, 1.0);
        for tau_bounds_s in [[0.0, 1.0], [2.0, 1.0], [f64::NAN, 1.0]] {
            let found = fit(&KwwProblem {
                tau_bounds_s,
                ..problem(&lag_s, &g)
            });
            assert_eq!(found.outcome, FitOutcome::NotTried);
        }
        for stretch in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            let found = fit(&KwwProblem {
                stretch: Stretch::Fixed(stretch),
                ..problem(&lag_s, &g)
            });
            assert_eq!(found.outcome, FitOutcome::NotTried);
        }
    }

    #[test]
    fn extreme_numbers_end_in_an_outcome() {
        let lag_s = lags(10.0);
        let window = FiniteWindow {
            n_times: 5,
            step_s: 10.0,
        };
        for scale in [0.0, 1e-300, 1e160, f64::MAX] {
            for tau_bounds_s in [[1e-300, 1e300], [1.0, 1.0 + 1e-12], [1e5, 1e6]] {
                for finite_window in [None, Some(window)] {
                    for baseline in [BaselineMode::Given(0.0), BaselineMode::Free] {
                        let g = curve(&lag_s, 150.0, 1.0);
                        let g: Vec<f64> = g.iter().map(|g| scale * g).collect();
                        let found = fit(&KwwProblem {
                            stretch: Stretch::Free { min: 0.1, max: 3.0 },
                            tau_bounds_s,
                            finite_window,
                            baseline,
                            ..problem(&lag_s, &g)
                        });
                        assert_ne!(found.outcome, FitOutcome::NotTried);
                    }
                }
            }
        }
    }

    #[test]
    fn a_warm_start_finds_the_same_minimum() {
        let lag_s = lags(10.0);
        let whole = curve(&lag_s, 150.0, 0.8);
        let part: Vec<f64> = curve(&lag_s, 190.0, 0.9).iter().map(|g| g - 0.02).collect();
        let free = Stretch::Free { min: 0.3, max: 2.0 };
        for stretch in [Stretch::Fixed(1.0), free] {
            for baseline in [BaselineMode::Given(1.0), BaselineMode::Free] {
                let of = |g| KwwProblem {
                    stretch,
                    baseline,
                    ..problem(&lag_s, g)
                };
                let cold = fit(&of(&part));
                let warm = fit_from(&of(&part), &fit(&of(&whole)));
                assert!((warm.tau_s / cold.tau_s - 1.0).abs() < 1e-6);
                assert!((warm.cost / cold.cost - 1.0).abs() < 1e-10);
            }
        }
    }

    #[test]
    fn a_finite_record_is_undone() {
        let lag_s = lags(10.0);
        let window = FiniteWindow {
            n_times: N_LAGS + 1,
            step_s: 10.0,
        };
        let no_curve = [1.0; N_LAGS];
        let problem = KwwProblem {
            finite_window: Some(window),
            ..problem(&lag_s, &no_curve)
        };
        let truth = KwwFit {
            tau_s: 200.0,
            contrast: 0.2,
            stretch: 1.0,
            baseline: 1.0,
            ..without_value(FitOutcome::Converged)
        };
        let g = fitted_curve(&problem, &truth);
        // The record took correlation away: the curve must fall below 1.
        assert!(g.iter().any(|&value| value < 0.99));
        let found = fit(&KwwProblem { g: &g, ..problem });
        assert!((found.tau_s - 200.0).abs() < 1e-6, "{found:?}");
        assert!((found.contrast - 0.2).abs() < 1e-8);
    }
}
