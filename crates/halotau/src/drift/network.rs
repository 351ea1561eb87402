//! Which course of positions fits many differences between pairs of times best?
//!
//! ```text
//! Σ over pairs (i, j) of weight · (x(j) − x(i) − difference)²  →  least,   x(first) = 0
//! ```
//!
//! Differences of neighboring times alone would add up their errors; differences of distant times hold the sum together.

/// A measured difference of two times.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Link {
    pub(super) first: usize,
    pub(super) second: usize,
    pub(super) weight: f64,
}

/// The normal matrix of a network, factored once for many right-hand sides.
#[derive(Debug)]
pub(super) struct Network {
    n: usize,
    links: Vec<Link>,
    /// Lower triangle, row by row.
    factor: Vec<f64>,
}

/// Neighboring times that nothing links are held together with this share of the mean weight, so that there is one answer.
const TIE: f64 = 1e-6;

impl Network {
    /// The network of `n` times.
    pub(super) fn new(n: usize, links: Vec<Link>) -> Self {
        let mean = links.iter().map(|link| link.weight).sum::<f64>() / n.max(1) as f64;
        let tie = TIE * if mean > 0.0 { mean } else { 1.0 };
        let mut matrix = vec![0.0; n * n];
        let mut add = |first: usize, second: usize, weight: f64| {
            matrix[first * n + first] += weight;
            matrix[second * n + second] += weight;
            let (low, high) = (first.min(second), first.max(second));
            matrix[high * n + low] -= weight;
        };
        for link in &links {
            add(link.first, link.second, link.weight);
        }
        for first in 1..n {
            add(first - 1, first, tie);
        }
        if n > 0 {
            // Holds the first time at zero.
            matrix[0] += mean.max(tie);
        }
        Self {
            n,
            links,
            factor: cholesky(matrix, n),
        }
    }

    /// The course for one difference a link, `[time]`, zero at the first time.
    pub(super) fn solve(&self, differences: &[f64]) -> Vec<f64> {
        let n = self.n;
        let mut x = vec![0.0; n];
        for (link, difference) in self.links.iter().zip(differences) {
            x[link.second] += link.weight * difference;
            x[link.first] -= link.weight * difference;
        }
        for row in 0..n {
            let known: f64 = (0..row)
                .map(|col| self.factor[row * n + col] * x[col])
                .sum();
            x[row] = (x[row] - known) / self.factor[row * n + row];
        }
        for row in (0..n).rev() {
            let known: f64 = (row + 1..n)
                .map(|col| self.factor[col * n + row] * x[col])
                .sum();
            x[row] = (x[row] - known) / self.factor[row * n + row];
        }
        let start = x.first().copied().unwrap_or(0.0);
        x.iter_mut().for_each(|value| *value -= start);
        x
    }
}

/// The factor `L` of `L Lᵀ` of a positive matrix of which the lower triangle is given.
fn cholesky(mut matrix: Vec<f64>, n: usize) -> Vec<f64> {
    for row in 0..n {
        for col in 0..=row {
            let done: f64 = (0..col)
                .map(|k| matrix[row * n + k] * matrix[col * n + k])
                .sum();
            let rest = matrix[row * n + col] - done;
            matrix[row * n + col] = if row == col {
                rest.max(f64::MIN_POSITIVE).sqrt()
            } else {
                rest / matrix[col * n + col]
            };
        }
    }
    matrix
}

/// Solves a few linear equations with the largest pivot; `None` where they do not determine the unknowns.
pub(crate) fn solve_small<const N: usize>(
    mut matrix: [[f64; N]; N],
    mut right: [f64; N],
) -> Option<[f64; N]> {
    let size = matrix.iter().flatten().fold(0.0_f64, |a, b| a.max(b.abs()));
    for at in 0..N {
        let pivot = (at..N).max_by(|&a, &b| matrix[a][at].abs().total_cmp(&matrix[b][at].abs()))?;
        if matrix[pivot][at].abs() <= 1e-14 * size {
            return None;
        }
        matrix.swap(at, pivot);
        right.swap(at, pivot);
        let (above, below) = matrix.split_at_mut(at + 1);
        let pivot_row = &above[at];
        for (offset, row) in below.iter_mut().enumerate() {
            let share = row[at] / pivot_row[at];
            for col in at..N {
                row[col] -= share * pivot_row[col];
            }
            right[at + 1 + offset] -= share * right[at];
        }
    }
    for at in (0..N).rev() {
        let known: f64 = (at + 1..N).map(|col| matrix[at][col] * right[col]).sum();
        right[at] = (right[at] - known) / matrix[at][at];
    }
    Some(right)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_course_comes_back_from_its_differences() {
        let course = [0.0, 0.4, 1.1, -0.3, 2.0];
        let links: Vec<Link> = [(0, 1), (1, 2), (2, 3), (3, 4), (0, 4), (1, 3)]
            .map(|(first, second)| Link {
                first,
                second,
                weight: 1.0 + first as f64,
            })
            .to_vec();
        let differences: Vec<f64> = links
            .iter()
            .map(|link| course[link.second] - course[link.first])
            .collect();
        let found = Network::new(5, links).solve(&differences);
        for (found, course) in found.iter().zip(course) {
            assert!((found - course).abs() < 1e-5, "{found} {course}");
        }
    }

    #[test]
    fn small_systems_are_solved_or_refused() {
        let solved = solve_small([[0.0, 2.0], [3.0, 1.0]], [4.0, 5.0]).expect("determined");
        assert!((solved[0] - 1.0).abs() < 1e-15 && (solved[1] - 2.0).abs() < 1e-15);
        assert_eq!(solve_small([[1.0, 2.0], [2.0, 4.0]], [1.0, 2.0]), None);
    }
}
