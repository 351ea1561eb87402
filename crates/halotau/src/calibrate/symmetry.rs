//! About which point is a pattern most alike to itself turned by half?
//!
//! ```text
//! NCC(t) = Σ (f(p) − a)(f(t − p) − a) / Σ (f(p) − a)²        over p for which p and t − p are both valid
//! center = argmax NCC / 2,         a = mean of f over those p
//! ```
//!
//! The correlation of a pattern with its own inversion needs no model of the profile: it holds for the direct beam as well
//! as for the halo, and is independent of the fit in [`geometry`](super::geometry), which it checks. Each t is normalized over
//! its own valid pairs, so that a beam stop does not pull (Padfield, IEEE Trans. Image Process. 21, 2012,
//! doi 10.1109/TIP.2011.2181402, for two images). f is the square root of the counts, whose noise is the same everywhere.

use ndarray::Array2;

use super::linear::solve;

/// Half-pixels around the start that are searched for the center.
pub(crate) const REACH: usize = 8;

/// Half-pixels around the maximum through which the paraboloid is laid.
pub(crate) const NEAR: usize = 3;

/// The center of a mean pattern, NaN for pixels that are not used, within so many half-pixels of a start (row, col); `None`
/// where the correlation has no maximum there.
pub(crate) fn center(pattern: &Array2<f64>, start: (f64, f64), reach: usize) -> Option<(f64, f64)> {
    let root = pattern.mapv(|value| {
        if value.is_finite() {
            value.max(0.0).sqrt()
        } else {
            f64::NAN
        }
    });
    let first = (
        (2.0 * start.0).round() as i64 - reach as i64,
        (2.0 * start.1).round() as i64 - reach as i64,
    );
    let side = 2 * reach + 1;
    let surface = Array2::from_shape_fn((side, side), |(row, col)| {
        correlation(&root, first.0 + row as i64, first.1 + col as i64)
    });
    let (top, _) = surface
        .indexed_iter()
        .filter(|(_, value)| value.is_finite())
        .max_by(|a, b| a.1.total_cmp(b.1))?;
    let inside = |at: usize| at as i64 >= 1 && (at as i64) < side as i64 - 1;
    if !inside(top.0) || !inside(top.1) {
        return None;
    }
    let (mut row, mut col) = (top.0 as f64, top.1 as f64);
    let (down, across) = paraboloid(&surface, top)?;
    row += down;
    col += across;
    Some(((first.0 as f64 + row) / 2.0, (first.1 as f64 + col) / 2.0))
}

/// Normalized correlation of a pattern with itself turned about half of (row, col).
fn correlation(root: &Array2<f64>, row_sum: i64, col_sum: i64) -> f64 {
    let (n_rows, n_cols) = root.dim();
    let (mut n, mut sum, mut square, mut product) = (0.0, 0.0, 0.0, 0.0);
    for row in 0..n_rows {
        let Some(other_row) = usize::try_from(row_sum - row as i64)
            .ok()
            .filter(|&r| r < n_rows)
        else {
            continue;
        };
        for col in 0..n_cols {
            let Some(other_col) = usize::try_from(col_sum - col as i64)
                .ok()
                .filter(|&c| c < n_cols)
            else {
                continue;
            };
            let (a, b) = (root[[row, col]], root[[other_row, other_col]]);
            if a.is_finite() && b.is_finite() {
                n += 1.0;
                sum += a;
                square += a * a;
                product += a * b;
            }
        }
    }
    let variance = square - sum * sum / n;
    if n < 50.0 || variance <= 0.0 {
        return f64::NAN;
    }
    (product - sum * sum / n) / variance
}

/// Where the least-squares paraboloid about the highest point has its top, relative to it.
fn paraboloid(surface: &Array2<f64>, top: (usize, usize)) -> Option<(f64, f64)> {
    let near = NEAR as i64;
    let mut matrix = Array2::<f64>::zeros((6, 6));
    let mut right = ndarray::Array1::<f64>::zeros(6);
    for down in -near..=near {
        for across in -near..=near {
            let at = (top.0 as i64 + down, top.1 as i64 + across);
            let (Ok(row), Ok(col)) = (usize::try_from(at.0), usize::try_from(at.1)) else {
                continue;
            };
            let Some(value) = surface.get((row, col)).filter(|value| value.is_finite()) else {
                continue;
            };
            let (x, y) = (down as f64, across as f64);
            let terms = [1.0, x, y, x * x, x * y, y * y];
            for (a, term) in terms.iter().enumerate() {
                for (b, other) in terms.iter().enumerate() {
                    matrix[[a, b]] += term * other;
                }
                right[a] += term * value;
            }
        }
    }
    let c = solve(&matrix, &right)?;
    let determinant = 4.0 * c[3] * c[5] - c[4] * c[4];
    if c[3] >= 0.0 || determinant <= 0.0 {
        return None;
    }
    let down = (c[4] * c[2] - 2.0 * c[5] * c[1]) / determinant;
    let across = (c[4] * c[1] - 2.0 * c[3] * c[2]) / determinant;
    let limit = NEAR as f64;
    (down.abs() <= limit && across.abs() <= limit).then_some((down, across))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests {
    use super::*;

    #[test]
    fn a_stop_on_one_side_does_not_pull() {
        let pattern = Array2::from_shape_fn((66, 66), |(row, col)| {
            let stopped = (row as f64 - 33.0).hypot(col as f64 - 33.0) < 6.0
                || (col > 33 && (30..36).contains(&row));
            let widths = ((row as f64 - 34.3).hypot(col as f64 - 31.6) - 19.0) / 2.5;
            if stopped {
                f64::NAN
            } else {
                50.0 * (0.35 + libm::exp(-widths * widths / 2.0))
            }
        });
        let (row, col) = center(&pattern, (33.0, 33.0), REACH).unwrap();
        assert!(
            (row - 34.3).abs() < 0.05 && (col - 31.6).abs() < 0.05,
            "{row} {col}"
        );
    }

    #[test]
    fn a_flat_pattern_has_no_center() {
        assert_eq!(
            center(&Array2::from_elem((30, 30), 4.0), (15.0, 15.0), REACH),
            None
        );
    }
}
