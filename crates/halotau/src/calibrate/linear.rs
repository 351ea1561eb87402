//! Small systems of linear equations, for fits of a handful of parameters.

use ndarray::{Array1, Array2};

/// Solves `matrix · x = right` by elimination with pivots; `None` where the matrix is singular to 1e-12.
pub(crate) fn solve(matrix: &Array2<f64>, right: &Array1<f64>) -> Option<Array1<f64>> {
    let n = right.len();
    let mut a = matrix.clone();
    let mut x = right.clone();
    let scale = a
        .iter()
        .fold(0.0_f64, |scale, value| scale.max(value.abs()));
    for step in 0..n {
        let pivot = (step..n).max_by(|&p, &q| a[[p, step]].abs().total_cmp(&a[[q, step]].abs()))?;
        if a[[pivot, step]].abs() <= 1e-12 * scale || !a[[pivot, step]].is_finite() {
            return None;
        }
        for col in 0..n {
            a.swap([step, col], [pivot, col]);
        }
        x.swap(step, pivot);
        for row in step + 1..n {
            let factor = a[[row, step]] / a[[step, step]];
            for col in step..n {
                a[[row, col]] -= factor * a[[step, col]];
            }
            x[row] -= factor * x[step];
        }
    }
    for row in (0..n).rev() {
        let known: f64 = (row + 1..n).map(|col| a[[row, col]] * x[col]).sum();
        x[row] = (x[row] - known) / a[[row, row]];
    }
    Some(x)
}

/// As [`solve`], scaled by the diagonal first, for parameters of different units; all entries of a parameter whose diagonal
/// is zero make it singular.
pub(crate) fn solve_scaled(matrix: &Array2<f64>, right: &Array1<f64>) -> Option<Array1<f64>> {
    let scale = matrix.diag().mapv(f64::sqrt);
    let scaled = Array2::from_shape_fn(matrix.dim(), |(row, col)| {
        matrix[[row, col]] / (scale[row] * scale[col])
    });
    solve(&scaled, &(right / &scale)).map(|x| x / &scale)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests {
    use ndarray::{arr1, arr2};

    use super::*;

    #[test]
    fn solves_what_can_be_solved() {
        let matrix = arr2(&[[0.0, 2.0, 1.0], [1.0, 1.0, 0.0], [3.0, 0.0, 1.0]]);
        let x = solve(&matrix, &arr1(&[7.0, 3.0, 6.0])).unwrap();
        assert!(
            (&matrix.dot(&x) - &arr1(&[7.0, 3.0, 6.0]))
                .iter()
                .all(|d| d.abs() < 1e-12)
        );
        let singular = arr2(&[[1.0, 2.0], [2.0, 4.0]]);
        assert_eq!(solve(&singular, &arr1(&[1.0, 2.0])), None);
        let units = arr2(&[[1e-12, 0.0], [0.0, 1e12]]);
        let x = solve_scaled(&units, &arr1(&[2e-12, 3e12])).unwrap();
        assert!((x[0] - 2.0).abs() < 1e-9 && (x[1] - 3.0).abs() < 1e-9);
    }
}
