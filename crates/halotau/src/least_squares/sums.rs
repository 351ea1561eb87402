//! Weighted sums over the points of a curve, all that a step of the search needs in two passes.
//!
//! Every sum is of eight partial sums, each over every eighth point, and no operation is fused with another: the result has the same
//! bits with and without vector instructions. Arrays are padded to whole vectors with points of weight zero ([`padded`]); loops over
//! the points that are left over would take longer than the vectors.

use super::Offset;
use crate::simd::{Isa, dispatch};

/// Partial sums: one vector of `f64` on the widest processor.
const LANES: usize = 8;

/// Shapes whose products with data are summed at once: sums that wait for each other would take longer than the sums.
pub(crate) const UNITS: usize = 32;

/// Numbers of a curve, with zeros behind them up to whole vectors.
///
/// ```text
/// [1, 2, 3]  ->  [1, 2, 3, 0, 0, 0, 0, 0]
/// ```
pub(crate) fn padded(values: impl IntoIterator<Item = f64>) -> Vec<f64> {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.resize(padded_len(values.len()), 0.0);
    values
}

/// The length of [`padded`] numbers.
pub(crate) fn padded_len(len: usize) -> usize {
    len.next_multiple_of(LANES)
}

/// Sums of a shape with itself, with the data and with its derivatives.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct ShapeSums<const N: usize> {
    pub(super) norm: f64,
    pub(super) product: f64,
    pub(super) cross: [f64; N],
}

/// Sums of what is left of the data and of the derivatives.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct ResidualSums<const N: usize> {
    pub(super) cost: f64,
    pub(super) gradient: [f64; N],
    pub(super) curvature: [[f64; N]; N],
}

/// Takes the weighted mean from values where the offset is free; gives what was taken.
pub(super) fn center(
    weights: &[f64],
    total_weight: f64,
    offset: Offset,
    values: &mut [f64],
) -> f64 {
    if offset != Offset::Free {
        return 0.0;
    }
    let mean = dot(Isa::best(), weights, values) / total_weight;
    for value in values {
        *value -= mean;
    }
    mean
}

/// Turns a shape into the vector whose product with the data, squared and with its sign, is what the shape takes from their cost.
///
/// Zero where the shape is nothing but an offset.
pub(crate) fn unit_shape(weights: &[f64], offset: Offset, shape: &mut [f64]) {
    let isa = Isa::best();
    center(weights, weights.iter().sum(), offset, shape);
    let (norm, _) = norm_and_product(isa, weights, shape, shape);
    let scale = if norm > 0.0 { 1.0 / norm.sqrt() } else { 0.0 };
    for (value, weight) in shape.iter_mut().zip(weights) {
        *value *= weight * scale;
    }
}

dispatch! {
    /// `Σ left · right`, of slices of the same length.
    pub(crate) fn dot(left: &[f64], right: &[f64]) -> f64 {
        plain_dot(left, right)
    }
}

dispatch! {
    /// `Σ weight · shape²` and `Σ weight · shape · data`.
    pub(super) fn norm_and_product(weights: &[f64], shape: &[f64], data: &[f64]) -> (f64, f64) {
        plain_norm_and_product(weights, shape, data)
    }
}

dispatch! {
    /// What the data cost with each of [`UNITS`] shapes, `[point][shape]`, where they cost `flat` without.
    pub(super) fn costs_of_units(units: &[[f64; UNITS]], data: &[f64], flat: f64) -> [f64; UNITS] {
        plain_costs_of_units(units, data, flat)
    }
}

dispatch! {
    /// The first pass of a step.
    pub(super) fn shape_sums [const N: usize] [N] (
        weights: &[f64],
        data: &[f64],
        shape: &[f64],
        derivatives: &[Vec<f64>; N],
    ) -> ShapeSums<N> {
        plain_shape_sums(weights, data, shape, derivatives)
    }
}

dispatch! {
    /// The second pass: of the residual `data − amplitude · shape` and of the derivatives of the model, freed of what the
    /// amplitude takes over, `amplitude · (derivative − share · shape)`.
    pub(super) fn residual_sums [const N: usize] [N] (
        weights: &[f64],
        data: &[f64],
        shape: &[f64],
        derivatives: &[Vec<f64>; N],
        amplitude: f64,
        share: &[f64; N],
    ) -> ResidualSums<N> {
        plain_residual_sums(weights, data, shape, derivatives, amplitude, share)
    }
}

/// Whole vectors of a slice; arrays of a fit are padded to them.
#[inline(always)]
fn vectors(values: &[f64]) -> &[[f64; LANES]] {
    let (vectors, _) = values.as_chunks::<LANES>();
    vectors
}

#[inline(always)]
fn total(sums: [f64; LANES]) -> f64 {
    let [a, b, c, d, e, f, g, h] = sums;
    ((a + e) + (c + g)) + ((b + f) + (d + h))
}

#[inline(always)]
fn plain_dot(left: &[f64], right: &[f64]) -> f64 {
    let ((left, left_rest), (right, right_rest)) =
        (left.as_chunks::<LANES>(), right.as_chunks::<LANES>());
    let mut sums = [0.0; LANES];
    for (l, r) in left.iter().zip(right) {
        for lane in 0..LANES {
            sums[lane] += l[lane] * r[lane];
        }
    }
    for (lane, (l, r)) in left_rest.iter().zip(right_rest).enumerate() {
        sums[lane] += l * r;
    }
    total(sums)
}

#[inline(always)]
fn plain_norm_and_product(weights: &[f64], shape: &[f64], data: &[f64]) -> (f64, f64) {
    let (mut norm, mut product) = ([0.0; LANES], [0.0; LANES]);
    let points = vectors(weights).iter().zip(vectors(shape));
    for ((w, s), y) in points.zip(vectors(data)) {
        for lane in 0..LANES {
            let weighted = w[lane] * s[lane];
            norm[lane] += weighted * s[lane];
            product[lane] += weighted * y[lane];
        }
    }
    (total(norm), total(product))
}

#[inline(always)]
fn plain_costs_of_units(units: &[[f64; UNITS]], data: &[f64], flat: f64) -> [f64; UNITS] {
    let mut products = [0.0_f64; UNITS];
    for (units, y) in units.iter().zip(data) {
        for lane in 0..UNITS {
            products[lane] += units[lane] * y;
        }
    }
    let mut costs = [flat; UNITS];
    for lane in 0..UNITS {
        costs[lane] -= products[lane] * products[lane].abs();
    }
    costs
}

#[inline(always)]
fn plain_shape_sums<const N: usize>(
    weights: &[f64],
    data: &[f64],
    shape: &[f64],
    derivatives: &[Vec<f64>; N],
) -> ShapeSums<N> {
    let (mut norm, mut product) = ([0.0; LANES], [0.0; LANES]);
    let mut cross = [[0.0; LANES]; N];
    let slopes: [_; N] = std::array::from_fn(|a| vectors(&derivatives[a]));
    let points = vectors(weights).iter().zip(vectors(shape));
    for (at, ((w, s), y)) in points.zip(vectors(data)).enumerate() {
        let mut weighted = [0.0; LANES];
        for lane in 0..LANES {
            weighted[lane] = w[lane] * s[lane];
            norm[lane] += weighted[lane] * s[lane];
            product[lane] += weighted[lane] * y[lane];
        }
        for a in 0..N {
            let d = &slopes[a][at];
            for lane in 0..LANES {
                cross[a][lane] += weighted[lane] * d[lane];
            }
        }
    }
    ShapeSums {
        norm: total(norm),
        product: total(product),
        cross: cross.map(total),
    }
}

#[inline(always)]
fn plain_residual_sums<const N: usize>(
    weights: &[f64],
    data: &[f64],
    shape: &[f64],
    derivatives: &[Vec<f64>; N],
    amplitude: f64,
    share: &[f64; N],
) -> ResidualSums<N> {
    let mut cost = [0.0; LANES];
    let mut gradient = [[0.0; LANES]; N];
    let mut curvature = [[[0.0; LANES]; N]; N];
    let slopes: [_; N] = std::array::from_fn(|a| vectors(&derivatives[a]));
    let points = vectors(weights).iter().zip(vectors(shape));
    for (at, ((w, s), y)) in points.zip(vectors(data)).enumerate() {
        let mut residual = [0.0; LANES];
        for lane in 0..LANES {
            residual[lane] = y[lane] - amplitude * s[lane];
            cost[lane] += w[lane] * residual[lane] * residual[lane];
        }
        let mut freed = [[0.0; LANES]; N];
        for a in 0..N {
            let d = &slopes[a][at];
            let mut weighted = [0.0; LANES];
            for lane in 0..LANES {
                freed[a][lane] = amplitude * (d[lane] - share[a] * s[lane]);
                weighted[lane] = w[lane] * freed[a][lane];
                gradient[a][lane] += weighted[lane] * residual[lane];
            }
            for b in 0..=a {
                for lane in 0..LANES {
                    curvature[a][b][lane] += weighted[lane] * freed[b][lane];
                }
            }
        }
    }
    ResidualSums {
        cost: total(cost),
        gradient: gradient.map(total),
        curvature: std::array::from_fn(|a| {
            std::array::from_fn(|b| total(curvature[a.max(b)][a.min(b)]))
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The sums that the definitions spell, of 105 points.
    #[test]
    fn sums_are_the_same_bits_on_every_processor_and_those_of_the_definitions() {
        let curve = |seed: f64| -> Vec<f64> {
            padded((0..105).map(|at| (seed * f64::from(at)).sin() + 1.5))
        };
        let (weights, data, shape) = (curve(0.3), curve(0.7), curve(1.1));
        let derivatives = [curve(1.3), curve(1.7)];
        let (amplitude, share) = (0.4, [0.2, -0.3]);
        let sum = |value: &dyn Fn(usize) -> f64| (0..105).map(value).sum::<f64>();
        let near =
            |value: f64, expected: f64| (value - expected).abs() < 1e-13 * expected.abs().max(1.0);
        let of = |isa| {
            (
                dot(isa, &data, &shape),
                norm_and_product(isa, &weights, &shape, &data),
                shape_sums(isa, &weights, &data, &shape, &derivatives),
                residual_sums(
                    isa,
                    &weights,
                    &data,
                    &shape,
                    &derivatives,
                    amplitude,
                    &share,
                ),
            )
        };
        let plain = of(Isa::all()[0]);
        for isa in Isa::all() {
            assert_eq!(of(isa), plain, "{isa:?}");
        }
        let (product, (norm, weighted), first, second) = plain;
        assert!(near(product, sum(&|at| data[at] * shape[at])));
        assert!(near(norm, sum(&|at| weights[at] * shape[at] * shape[at])));
        assert!(near(
            weighted,
            sum(&|at| weights[at] * shape[at] * data[at])
        ));
        assert_eq!((first.norm, first.product), (norm, weighted));
        let residual = |at: usize| data[at] - amplitude * shape[at];
        let slope = |a: usize, at: usize| amplitude * (derivatives[a][at] - share[a] * shape[at]);
        assert!(near(
            second.cost,
            sum(&|at| weights[at] * residual(at).powi(2))
        ));
        for (a, derivative) in derivatives.iter().enumerate() {
            let cross = sum(&|at| weights[at] * shape[at] * derivative[at]);
            assert!(near(first.cross[a], cross));
            assert!(near(
                second.gradient[a],
                sum(&|at| weights[at] * slope(a, at) * residual(at))
            ));
            for b in 0..2 {
                let curvature = sum(&|at| weights[at] * slope(a, at) * slope(b, at));
                assert!(near(second.curvature[a][b], curvature));
            }
        }
    }
}
