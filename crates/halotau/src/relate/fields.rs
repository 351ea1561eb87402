//! Maps with mean 0 and standard deviation 1, and how their values at a distance belong together.
//!
//! ```text
//! C(f, g; h) = mean over pairs of positions at the distance h of f(here) g(there), h in classes a step wide
//! ```
//!
//! Positions without a value hold 0, so that they take part in no sum.

use std::ops::Range;

use ndarray::{Array2, ArrayView2, s};
use rayon::prelude::*;

use super::decoupled::HalfMaps;
use crate::rank::mid_ranks;

/// Positions below which nothing is said.
pub(super) const MIN_POSITIONS: usize = 10;

/// Positions that hold all four values.
pub(super) fn common(halves: &HalfMaps<'_>) -> Array2<bool> {
    let maps = [halves.tau_s, halves.fluctuation].concat();
    Array2::from_shape_fn(halves.tau_s[0].dim(), |at| {
        maps.iter()
            .all(|map| map.get(at).is_some_and(|value| value.is_finite()))
    })
}

/// A map, or its ranks, with mean 0 and standard deviation 1 over the valid positions, and 0 elsewhere. `None` where it is constant.
pub(super) fn standardized(
    map: ArrayView2<'_, f64>,
    valid: &Array2<bool>,
    ranked: bool,
) -> Option<Array2<f64>> {
    let mut values: Vec<f64> = valid
        .indexed_iter()
        .filter(|(_, valid)| **valid)
        .map(|(at, _)| map[at])
        .collect();
    if ranked {
        values = mid_ranks(&values);
    }
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    let variance = values.iter().map(|v| (v - mean) * (v - mean)).sum::<f64>() / n;
    if variance.is_nan() || variance <= 0.0 {
        return None;
    }
    let sd = libm::sqrt(variance);
    let mut next = values.into_iter();
    Some(Array2::from_shape_fn(valid.dim(), |at| {
        if valid[at] {
            next.next().map_or(0.0, |value| (value - mean) / sd)
        } else {
            0.0
        }
    }))
}

/// tau (in ranks) and V of both halves, standardized over the positions that hold all four.
#[derive(Debug, Clone)]
pub(super) struct Fields {
    pub(super) valid: Array2<bool>,
    pub(super) x: [Array2<f64>; 2],
    pub(super) y: [Array2<f64>; 2],
}

/// Sums over pairs of positions of the products that the variance needs.
#[derive(Debug, Clone, Copy, Default)]
struct Sums {
    n_pairs: f64,
    /// x_A x_A, x_B x_B, x_A x_B, y_A y_A, y_B y_B, y_A y_B, x_A y_A, x_B y_B.
    products: [f64; 8],
}

impl Sums {
    fn add(&mut self, other: &Self) {
        self.n_pairs += other.n_pairs;
        for (sum, product) in self.products.iter_mut().zip(other.products) {
            *sum += product;
        }
    }

    /// The pairs times the bracket of the variance.
    fn term(&self) -> f64 {
        if self.n_pairs == 0.0 {
            return 0.0;
        }
        let [x_aa, x_bb, x_ab, y_aa, y_bb, y_ab, xy_a, xy_b] =
            self.products.map(|sum| sum / self.n_pairs);
        self.n_pairs * (x_aa * y_bb + x_bb * y_aa + 2.0 * x_ab * y_ab + 2.0 * xy_a * xy_b)
    }
}

impl Fields {
    /// `None` for fewer than ten positions with all four values, or where a map is constant.
    pub(super) fn of(halves: &HalfMaps<'_>) -> Option<Self> {
        Self::over(halves, common(halves))
    }

    /// As [`of`](Self::of), over chosen positions, which must hold all four values.
    pub(super) fn over(halves: &HalfMaps<'_>, valid: Array2<bool>) -> Option<Self> {
        if valid.iter().filter(|&&valid| valid).count() < MIN_POSITIONS {
            return None;
        }
        let [tau_a, tau_b] = halves.tau_s;
        let [v_a, v_b] = halves.fluctuation;
        Some(Self {
            x: [
                standardized(tau_a, &valid, true)?,
                standardized(tau_b, &valid, true)?,
            ],
            y: [
                standardized(v_a, &valid, false)?,
                standardized(v_b, &valid, false)?,
            ],
            valid,
        })
    }

    /// Positions that hold all four values.
    pub(super) fn n(&self) -> usize {
        self.valid.iter().filter(|&&valid| valid).count()
    }

    /// Mean product of two maps.
    pub(super) fn mean(&self, first: &Array2<f64>, second: &Array2<f64>) -> f64 {
        let products = first.iter().zip(second).map(|(a, b)| a * b);
        products.sum::<f64>() / self.n() as f64
    }

    /// Mean of the correlations of tau from one half with V from the other.
    pub(super) fn crossed(&self) -> f64 {
        let ([x_a, x_b], [y_a, y_b]) = (&self.x, &self.y);
        0.5 * (self.mean(x_a, y_b) + self.mean(x_b, y_a))
    }

    /// Variance of r without a link; distances are summed in classes a step wide, up to half of the longer side.
    pub(super) fn variance(&self, n: usize) -> f64 {
        let (n_rows, n_cols) = self.valid.dim();
        let reach = n_rows.max(n_cols) / 2;
        // Each displacement is summed by itself, in order, whatever thread does it.
        let displacements: Vec<(usize, i64)> = (0..=reach.min(n_rows - 1))
            .flat_map(|rows| {
                let cols = reach.min(n_cols - 1) as i64;
                (-cols..=cols).map(move |cols| (rows, cols))
            })
            .filter(|&(rows, cols)| (rows > 0 || cols > 0) && class(rows, cols) <= reach)
            .collect();
        let sums: Vec<Sums> = displacements
            .par_iter()
            .map(|&(rows, cols)| self.sums(rows, cols))
            .collect();
        let mut classes = vec![Sums::default(); reach + 1];
        for (&(rows, cols), sums) in displacements.iter().zip(&sums) {
            classes[class(rows, cols)].add(sums);
        }
        let here = self.sums(0, 0).term();
        // Each displacement stands for its opposite, too.
        let apart: f64 = classes.iter().map(|class| 2.0 * class.term()).sum();
        let n = n as f64;
        // Positions that share something do not know more than as many that share nothing.
        (here + apart).max(here) / (4.0 * n * n)
    }

    /// Covariance of a standardized map with itself by distance, 0 to half of the longer side, steps.
    pub(super) fn correlogram(&self, map: &Array2<f64>) -> Vec<f64> {
        let (n_rows, n_cols) = self.valid.dim();
        let reach = n_rows.max(n_cols) / 2;
        let rows_at: Vec<Vec<(f64, f64)>> = (0..=reach.min(n_rows - 1))
            .into_par_iter()
            .map(|rows| {
                let mut classes = vec![(0.0, 0.0); reach + 1];
                let cols = reach.min(n_cols - 1) as i64;
                // Each displacement stands for its opposite, too.
                let first = if rows == 0 { 0 } else { -cols };
                for cols in first..=cols {
                    let distance = class(rows, cols);
                    if distance > reach {
                        continue;
                    }
                    let (from, to) = ((-cols).max(0) as usize, n_cols - cols.max(0) as usize);
                    for row in 0..n_rows - rows {
                        for col in from..to {
                            let there = [row + rows, (col as i64 + cols) as usize];
                            if self.valid[[row, col]] && self.valid[there] {
                                classes[distance].0 += map[[row, col]] * map[there];
                                classes[distance].1 += 1.0;
                            }
                        }
                    }
                }
                classes
            })
            .collect();
        (0..=reach)
            .map(|distance| {
                let parts = rows_at.iter().map(|classes| classes[distance]);
                let (sum, n) = parts.fold((0.0, 0.0), |(sum, n), (s, m)| (sum + s, n + m));
                if n > 0.0 { sum / n } else { 0.0 }
            })
            .collect()
    }

    fn sums(&self, rows: usize, cols: i64) -> Sums {
        let (n_rows, n_cols) = self.valid.dim();
        let first_col = (-cols).max(0) as usize;
        let end_col = (n_cols as i64 - cols.max(0)) as usize;
        let mut sums = Sums::default();
        let maps = [&self.x[0], &self.x[1], &self.y[0], &self.y[1]];
        let there = (first_col as i64 + cols) as usize..(end_col as i64 + cols) as usize;
        for row in 0..n_rows - rows {
            // Slices, because this is the longest of all loops over the maps.
            let line = |row: usize, cols: Range<usize>| {
                maps.map(|map| map.slice(s![row, cols.clone()]).to_slice().unwrap_or(&[]))
            };
            let [x_a, x_b, y_a, y_b] = line(row, first_col..end_col);
            let [x_a_there, x_b_there, y_a_there, y_b_there] = line(row + rows, there.clone());
            let valid = self.valid.slice(s![row, first_col..end_col]);
            let valid_there = self.valid.slice(s![row + rows, there.clone()]);
            for (col, (&valid, &valid_there)) in valid.iter().zip(valid_there).enumerate() {
                if !(valid && valid_there) {
                    continue;
                }
                let (x_a, x_b, y_a, y_b) = (x_a[col], x_b[col], y_a[col], y_b[col]);
                let (x_a_there, x_b_there) = (x_a_there[col], x_b_there[col]);
                let (y_a_there, y_b_there) = (y_a_there[col], y_b_there[col]);
                let products = [
                    x_a * x_a_there,
                    x_b * x_b_there,
                    0.5 * (x_a * x_b_there + x_b * x_a_there),
                    y_a * y_a_there,
                    y_b * y_b_there,
                    0.5 * (y_a * y_b_there + y_b * y_a_there),
                    0.5 * (x_a * y_a_there + y_a * x_a_there),
                    0.5 * (x_b * y_b_there + y_b * x_b_there),
                ];
                sums.add(&Sums {
                    n_pairs: 1.0,
                    products,
                });
            }
        }
        sums
    }
}

/// Distance of a displacement in whole steps.
pub(super) fn class(rows: usize, cols: i64) -> usize {
    libm::round(libm::hypot(rows as f64, cols as f64)) as usize
}
