//! Which parameters bring a model closest to data, where a scale and an offset enter linearly?
//!
//! ```text
//! y(i) ≈ offset + amplitude · shape(i; parameters),        amplitude >= 0
//! cost(parameters) = min over amplitude and offset of Σ weight(i) · (y(i) − model(i))²
//! ```
//!
//! The linear part is solved exactly at every step (variable projection), so that the search runs over the nonlinear
//! parameters alone: one or two instead of up to four, and no start values for the rest. With p(a) the derivative of
//! the model to parameter a, freed of what amplitude and offset could take over, the damped Gauss-Newton step δ is
//!
//! ```text
//! Σ_b [⟨p_a, p_b⟩ + damping · δ_ab ⟨p_a, p_a⟩] δ_b = ⟨p_a, residual⟩
//! ```
//!
//! The right-hand side is the exact gradient; the matrix leaves out the change of the projection itself.
//! A parameter at its bound that wants to leave is held there; steps end at the bounds.
//!
//! Sources: Golub and Pereyra, SIAM J. Numer. Anal. 10, 413 (1973), doi 10.1137/0710036; Kaufman, BIT 15, 49 (1975),
//! doi 10.1007/BF01932995; Marquardt, J. SIAM 11, 431 (1963), doi 10.1137/0111030; the damping by the gain as in Madsen,
//! Nielsen and Tingleff, Methods for Non-Linear Least Squares Problems, 2nd ed., section 3.2 (2004).

mod condition;
mod sums;

use crate::simd::Isa;
use condition::condition;
use sums::{center, costs_of_units, norm_and_product, residual_sums, shape_sums};

pub(crate) use sums::{UNITS, dot, padded, padded_len, unit_shape};

/// A family of curves with `N` nonlinear parameters.
pub(crate) trait Shape<const N: usize> {
    /// Writes the shape and its derivative to each parameter, all of the length of the padded data; any finite number behind the last
    /// point.
    fn evaluate(
        &mut self,
        parameters: &[f64; N],
        shape: &mut [f64],
        derivatives: &mut [Vec<f64>; N],
    );
}

/// What the model tends to where the shape is zero.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Offset {
    /// Held at a value.
    Fixed(f64),
    /// Fitted with the amplitude.
    Free,
}

/// The data of a fit: values, weights of their squared residuals, and what is known of the offset.
#[derive(Debug, Clone)]
pub(crate) struct Data<'a> {
    /// Values less the fixed offset or less their weighted mean, [`padded`].
    centered: Vec<f64>,
    /// [`padded`].
    weights: &'a [f64],
    total_weight: f64,
    level: f64,
    offset: Offset,
    flat_cost: f64,
}

/// Where a search ended.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Minimum<const N: usize> {
    /// The nonlinear parameters.
    pub(crate) parameters: [f64; N],
    /// The scale; zero where the best is not positive.
    pub(crate) amplitude: f64,
    /// The offset.
    pub(crate) offset: f64,
    /// Weighted sum of squared residuals.
    pub(crate) cost: f64,
    /// Steps taken.
    pub(crate) iterations: usize,
    /// Whether no step can lower the cost noticeably.
    pub(crate) converged: bool,
}

impl<const N: usize> Minimum<N> {
    /// Whether a search that is here ends in this minimum, where it is one: basins are far wider.
    fn is_near(&self, parameters: &[f64; N]) -> bool {
        let mut pairs = self.parameters.iter().zip(parameters);
        self.amplitude > 0.0 && pairs.all(|(there, here)| (there - here).abs() < NEAR)
    }
}

/// Distance in each parameter below which two searches are in one basin; basins are some tenths wide.
const NEAR: f64 = 1e-2;

/// The search ends where a full step would lower the cost by less than this share. The parameters are then within
/// 1e-6 standard errors for a hundred points: far below what the data say, far above rounding.
const COST_TOLERANCE: f64 = 1e-13;

/// A search is given up where so many times the gain of a full step would not bring it below a minimum that is known. Steps
/// of the search gain what the linear model says to within a third near a minimum, and the sum of all later gains is less than the first.
const LEAD: f64 = 5.0;

/// The cost of a perfect fit is rounding of the data: squares of 1e-15 of them.
const ROUNDING: f64 = 1e-30;

/// Curves with a decay need about six steps, curves of noise up to fifty.
const MAX_ITERATIONS: usize = 200;

/// Above this damping a step is below rounding, and none lowers the cost.
const MAX_DAMPING: f64 = 1e14;

impl<'a> Data<'a> {
    /// Pairs values and weights, both [`padded`]; weights must be positive up to the padding and values finite for a finite cost.
    pub(crate) fn new(values: Vec<f64>, weights: &'a [f64], offset: Offset) -> Self {
        let total_weight = weights.iter().sum::<f64>();
        let level = match offset {
            Offset::Fixed(level) => level,
            Offset::Free => dot(Isa::best(), &values, weights) / total_weight,
        };
        let mut centered = values;
        for value in &mut centered {
            *value -= level;
        }
        let (flat_cost, _) = norm_and_product(Isa::best(), weights, &centered, &centered);
        Self {
            centered,
            weights,
            total_weight,
            level,
            offset,
            flat_cost,
        }
    }

    /// Number of values with their padding.
    pub(crate) fn len(&self) -> usize {
        self.centered.len()
    }

    /// Weighted sum of squares without a shape: what an amplitude of zero costs.
    pub(crate) fn cost_without_shape(&self) -> f64 {
        self.flat_cost
    }

    /// The offset where the amplitude is zero.
    pub(crate) fn level(&self) -> f64 {
        self.level
    }

    /// The signed cost of a shape, which is centered in place where the offset is free.
    ///
    /// This is the cost of the best amplitude where that is positive. A negative one counts against the shape by as
    /// much as it would gain, so that the search finds its way to positive amplitudes.
    /// Good to about 1e-16 of [`Self::cost_without_shape`]: enough to choose where a search starts.
    pub(crate) fn signed_cost(&self, shape: &mut [f64]) -> f64 {
        center(self.weights, self.total_weight, self.offset, shape);
        let (norm, product) = norm_and_product(Isa::best(), self.weights, shape, &self.centered);
        if norm > 0.0 {
            self.flat_cost - product * product.abs() / norm
        } else {
            self.flat_cost
        }
    }

    /// [`Self::signed_cost`] of shapes that [`unit_shape`] prepared for the weights and offset of these data, `[point][shape]`.
    pub(crate) fn signed_costs_of_units(&self, units: &[[f64; UNITS]]) -> [f64; UNITS] {
        costs_of_units(Isa::best(), units, &self.centered, self.flat_cost)
    }

    /// Searches downhill from `start` within `bounds`, `[lower, upper]` of each parameter.
    ///
    /// The search ends early where it comes close to a minimum that is `known`, since it would end there as well, and where it has no
    /// hope to end lower.
    pub(crate) fn minimize<const N: usize>(
        &self,
        model: &mut impl Shape<N>,
        start: [f64; N],
        bounds: &[[f64; 2]; N],
        known: &[Minimum<N>],
        buffers: &mut Buffers<N>,
    ) -> Minimum<N> {
        let mut here = self.project(model, clamp(start, bounds), buffers);
        let rounding = ROUNDING * self.flat_cost;
        let mut damping = 1e-3;
        let mut iterations = 0;
        let converged = loop {
            let equations = Equations::new(&here, bounds);
            let full = equations.solve(0.0);
            let expected = here.decrease(&full);
            if expected <= COST_TOLERANCE * here.cost || here.cost <= rounding {
                break true;
            }
            let hopeless = |minimum: &Minimum<N>| {
                minimum.amplitude > 0.0 && here.cost - LEAD * expected > minimum.cost
            };
            if known.iter().any(hopeless) {
                break false;
            }
            if let Some(minimum) = known
                .iter()
                .find(|minimum| minimum.is_near(&here.parameters))
            {
                return *minimum;
            }
            if iterations == MAX_ITERATIONS {
                break false;
            }
            iterations += 1;
            let step = equations.solve(damping);
            let moved = clamp(
                std::array::from_fn(|a| here.parameters[a] + step[a]),
                bounds,
            );
            let there = self.project(model, moved, buffers);
            if there.cost < here.cost {
                // Where the curvature is off by two, full steps jump from one side of the minimum to the other and
                // gain next to nothing: the damping falls only as far as the gain was the one expected.
                let taken = std::array::from_fn(|a| moved[a] - here.parameters[a]);
                let gain = (here.cost - there.cost) / here.decrease(&taken);
                damping *= (1.0 - (2.0 * gain - 1.0).powi(3)).clamp(0.1, 2.0);
                here = there;
            } else {
                damping = (damping * 4.0).max(1e-6);
                if damping > MAX_DAMPING {
                    break true;
                }
            }
        };
        let positive = here.amplitude > 0.0;
        Minimum {
            parameters: here.parameters,
            amplitude: if positive { here.amplitude } else { 0.0 },
            offset: if positive { here.offset } else { self.level },
            cost: if positive { here.cost } else { self.flat_cost },
            iterations,
            converged,
        }
    }

    fn project<const N: usize>(
        &self,
        model: &mut impl Shape<N>,
        parameters: [f64; N],
        buffers: &mut Buffers<N>,
    ) -> Point<N> {
        let Buffers { shape, derivatives } = buffers;
        model.evaluate(&parameters, shape, derivatives);
        let mean = center(self.weights, self.total_weight, self.offset, shape);
        for derivative in derivatives.iter_mut() {
            center(self.weights, self.total_weight, self.offset, derivative);
        }
        let isa = Isa::best();
        let first = shape_sums(isa, self.weights, &self.centered, shape, derivatives);
        if first.norm.is_nan() || first.norm <= 0.0 {
            return Point {
                parameters,
                amplitude: 0.0,
                offset: self.level,
                cost: self.flat_cost,
                gradient: [0.0; N],
                curvature: [[0.0; N]; N],
            };
        }
        let amplitude = first.product / first.norm;
        let share = first.cross.map(|cross| cross / first.norm);
        let second = residual_sums(
            isa,
            self.weights,
            &self.centered,
            shape,
            derivatives,
            amplitude,
            &share,
        );
        let (cost, sign) = if amplitude > 0.0 {
            (second.cost, 1.0)
        } else {
            (self.flat_cost - first.product * amplitude.abs(), -1.0)
        };
        Point {
            parameters,
            amplitude,
            offset: self.level - amplitude * mean,
            cost,
            gradient: second.gradient.map(|slope| sign * slope),
            curvature: second.curvature,
        }
    }

    /// Condition number of the Jacobian of amplitude, free offset and parameters, columns scaled to unit length.
    ///
    /// Infinite where a column vanishes: then the data do not determine that parameter at all. `roots` are those of the weights.
    pub(crate) fn condition<const N: usize>(
        &self,
        model: &mut impl Shape<N>,
        minimum: &Minimum<N>,
        roots: &[f64],
        mut buffers: Buffers<N>,
    ) -> f64 {
        model.evaluate(
            &minimum.parameters,
            &mut buffers.shape,
            &mut buffers.derivatives,
        );
        let mut columns = vec![buffers.shape];
        if self.offset == Offset::Free {
            columns.push(vec![1.0; self.len()]);
        }
        columns.extend(buffers.derivatives);
        for column in &mut columns {
            for (value, root) in column.iter_mut().zip(roots) {
                *value *= root;
            }
        }
        condition(columns)
    }
}

/// One place of the search; `cost` and its gradient are the signed ones of [`Data::signed_cost`].
struct Point<const N: usize> {
    parameters: [f64; N],
    amplitude: f64,
    offset: f64,
    cost: f64,
    gradient: [f64; N],
    curvature: [[f64; N]; N],
}

impl<const N: usize> Point<N> {
    /// By how much the linearized model lets the cost fall.
    fn decrease(&self, step: &[f64; N]) -> f64 {
        let mut decrease = 0.0;
        for a in 0..N {
            decrease += 2.0 * step[a] * self.gradient[a];
            for b in 0..N {
                decrease -= step[a] * self.curvature[a][b] * step[b];
            }
        }
        decrease
    }
}

/// Where the shape and its derivatives are computed.
pub(crate) struct Buffers<const N: usize> {
    shape: Vec<f64>,
    derivatives: [Vec<f64>; N],
}

impl<const N: usize> Buffers<N> {
    /// For data of this length with padding.
    pub(crate) fn new(len: usize) -> Self {
        Self {
            shape: vec![0.0; len],
            derivatives: std::array::from_fn(|_| vec![0.0; len]),
        }
    }
}

fn clamp<const N: usize>(parameters: [f64; N], bounds: &[[f64; 2]; N]) -> [f64; N] {
    std::array::from_fn(|a| parameters[a].max(bounds[a][0]).min(bounds[a][1]))
}

fn free_parameters<const N: usize>(point: &Point<N>, bounds: &[[f64; 2]; N]) -> [bool; N] {
    std::array::from_fn(|a| {
        let [lower, upper] = bounds[a];
        let held_below = point.parameters[a] <= lower && point.gradient[a] <= 0.0;
        let held_above = point.parameters[a] >= upper && point.gradient[a] >= 0.0;
        // Without curvature the cost does not depend on the parameter here.
        !held_below && !held_above && point.curvature[a][a] > 0.0
    })
}

/// The equations of a step at a place, in units in which the diagonal of the curvature is 1.
struct Equations<const N: usize> {
    free: [bool; N],
    /// One over the unit of each parameter.
    scale: [f64; N],
    curvature: [[f64; N]; N],
    gradient: [f64; N],
}

impl<const N: usize> Equations<N> {
    fn new(point: &Point<N>, bounds: &[[f64; 2]; N]) -> Self {
        let free = free_parameters(point, bounds);
        let mut equations = Self {
            free,
            scale: [0.0; N],
            curvature: [[0.0; N]; N],
            gradient: [0.0; N],
        };
        for a in (0..N).filter(|&a| free[a]) {
            let scale = 1.0 / point.curvature[a][a].sqrt();
            equations.scale[a] = scale;
            equations.gradient[a] = point.gradient[a] * scale;
            for b in (0..a).filter(|&b| free[b]) {
                let curvature = point.curvature[a][b] * scale * equations.scale[b];
                equations.curvature[a][b] = curvature;
                equations.curvature[b][a] = curvature;
            }
        }
        equations
    }

    /// The damped step of the free parameters, by Gaussian elimination; none of the others.
    fn solve(&self, damping: f64) -> [f64; N] {
        let (mut matrix, mut step) = (self.curvature, self.gradient);
        for (a, row) in matrix.iter_mut().enumerate() {
            // The least damping keeps the matrix regular where two parameters act alike.
            row[a] = if self.free[a] {
                1.0 + damping.max(1e-14)
            } else {
                1.0
            };
        }
        for pivot in 0..N {
            let pivot_row = matrix[pivot];
            for row in pivot + 1..N {
                let ratio = matrix[row][pivot] / pivot_row[pivot];
                for (value, above) in matrix[row].iter_mut().zip(pivot_row) {
                    *value -= ratio * above;
                }
                step[row] -= ratio * step[pivot];
            }
        }
        for row in (0..N).rev() {
            for col in row + 1..N {
                step[row] -= matrix[row][col] * step[col];
            }
            step[row] /= matrix[row][row];
        }
        // The scale of what is held is zero, and so is its step.
        for (step, scale) in step.iter_mut().zip(self.scale) {
            *step *= scale;
        }
        step
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `exp(−rate · i)` at i = 0, 1, 2, ...
    struct Decay;

    impl Shape<1> for Decay {
        fn evaluate(
            &mut self,
            parameters: &[f64; 1],
            shape: &mut [f64],
            derivatives: &mut [Vec<f64>; 1],
        ) {
            for (i, value) in shape.iter_mut().enumerate() {
                *value = (-parameters[0] * i as f64).exp();
                derivatives[0][i] = -(i as f64) * *value;
            }
        }
    }

    fn search(
        values: &[f64],
        weights: &[f64],
        offset: Offset,
        start: f64,
        bounds: [f64; 2],
    ) -> Minimum<1> {
        let weights = padded(weights.iter().copied());
        let data = Data::new(padded(values.iter().copied()), &weights, offset);
        let mut buffers = Buffers::new(data.len());
        data.minimize(&mut Decay, [start], &[bounds], &[], &mut buffers)
    }

    #[test]
    fn halving_values_have_the_rate_ln_2() {
        let minimum = search(
            &[9.0, 5.0, 3.0, 2.0],
            &[1.0, 2.0, 1.0, 3.0],
            Offset::Fixed(1.0),
            0.1,
            [0.0, 5.0],
        );
        assert!(minimum.converged);
        assert!((minimum.parameters[0] - 2.0_f64.ln()).abs() < 1e-12);
        assert!((minimum.amplitude - 8.0).abs() < 1e-11);
    }

    #[test]
    fn a_free_offset_is_found() {
        let values = [9.0, 5.0, 3.0, 2.0, 1.5];
        let minimum = search(&values, &[1.0; 5], Offset::Free, 0.3, [0.01, 5.0]);
        assert!((minimum.offset - 1.0).abs() < 1e-9, "{minimum:?}");
        assert!((minimum.parameters[0] - 2.0_f64.ln()).abs() < 1e-9);
    }

    #[test]
    fn the_search_ends_at_a_bound_and_a_rising_curve_has_no_amplitude() {
        let within =
            |values: &[f64]| search(values, &[1.0; 3], Offset::Fixed(0.0), 0.1, [0.0, 0.5]);
        let minimum = within(&[8.0, 4.0, 2.0]);
        assert_eq!(minimum.parameters[0], 0.5);
        assert!(minimum.converged);
        let minimum = within(&[-3.0, -2.0, -1.0]);
        assert_eq!((minimum.amplitude, minimum.cost), (0.0, 14.0));
    }
}
