//! How well do the columns of a Jacobian tell its parameters apart?

use super::sums::dot;
use crate::simd::Isa;

/// Ratio of the largest to the smallest singular value of columns that are first scaled to unit length.
///
/// The columns are first written in as many orthogonal directions as there are columns, one after another (Gram and Schmidt), and
/// there, scaled, made orthogonal pair by pair (one-sided Jacobi). Both keep small singular values to the precision of the columns
/// themselves; the eigenvalues of the normal matrix would lose everything above 1e8.
pub(super) fn condition(mut columns: Vec<Vec<f64>>) -> f64 {
    let isa = Isa::best();
    let n = columns.len();
    let mut small = vec![vec![0.0; n]; n];
    for (col, small) in small.iter_mut().enumerate() {
        let (directions, rest) = columns.split_at_mut(col);
        let column = &mut rest[0];
        for (row, direction) in directions.iter().enumerate() {
            let share = dot(isa, direction, column);
            small[row] = share;
            let values = column.iter_mut().zip(direction);
            values.for_each(|(value, direction)| *value -= share * direction);
        }
        let norm = dot(isa, column, column).sqrt();
        small[col] = norm;
        if norm > 0.0 {
            let scale = 1.0 / norm;
            column.iter_mut().for_each(|value| *value *= scale);
        }
    }
    for column in &mut small {
        let norm = product(column, column).sqrt();
        if !(norm > 0.0 && norm.is_finite()) {
            return f64::INFINITY;
        }
        column.iter_mut().for_each(|value| *value /= norm);
    }
    // Four columns are orthogonal to rounding after five sweeps or fewer.
    for _ in 0..8 {
        let mut largest_cosine = 0.0_f64;
        for first in 0..n {
            for second in first + 1..n {
                let (head, tail) = small.split_at_mut(second);
                largest_cosine = largest_cosine.max(rotate(&mut head[first], &mut tail[0]));
            }
        }
        if largest_cosine < 1e-12 {
            break;
        }
    }
    let norms = small.iter().map(|column| product(column, column).sqrt());
    let (smallest, largest) = norms.fold((f64::INFINITY, 0.0_f64), |(low, high), norm| {
        (low.min(norm), high.max(norm))
    });
    largest / smallest
}

/// Rotates two columns in their plane until they are orthogonal; returns the cosine between them before.
fn rotate(first: &mut [f64], second: &mut [f64]) -> f64 {
    let (first_square, second_square) = (product(first, first), product(second, second));
    let product = product(first, second);
    let cosine = product.abs() / (first_square * second_square).sqrt();
    if product == 0.0 || cosine.is_nan() {
        return 0.0;
    }
    let zeta = (second_square - first_square) / (2.0 * product);
    let tangent = zeta.signum() / (zeta.abs() + (1.0 + zeta * zeta).sqrt());
    let cos = 1.0 / (1.0 + tangent * tangent).sqrt();
    let sin = cos * tangent;
    for (x, y) in first.iter_mut().zip(second) {
        (*x, *y) = (cos * *x - sin * *y, sin * *x + cos * *y);
    }
    cosine
}

fn product(left: &[f64], right: &[f64]) -> f64 {
    left.iter().zip(right).map(|(x, y)| x * y).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn condition_of_two_columns_is_that_of_their_angle() {
        // Unit columns at an angle of 60 degrees: singular values sqrt(1 ± cos 60°), ratio sqrt(3).
        let columns = vec![vec![2.0, 0.0], vec![1.0, 3.0_f64.sqrt()]];
        assert!((condition(columns) - 3.0_f64.sqrt()).abs() < 1e-14);
        // An angle of 1e-9: far beyond what the normal matrix could tell.
        let close = condition(vec![vec![1.0, 0.0], vec![1.0, 1e-9]]);
        assert!((close / 2e9 - 1.0).abs() < 1e-6, "{close}");
        assert_eq!(
            condition(vec![vec![1.0, 0.0], vec![0.0, 0.0]]),
            f64::INFINITY
        );
    }
}
