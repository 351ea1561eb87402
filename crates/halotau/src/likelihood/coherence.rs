//! How far does a speckle reach?
//!
//! ```text
//! |mu(d)|² = ⟨y_p(i) y_(p+d)(i+1)⟩ / ⟨y_p(i) y_p(i+1)⟩      y = x/(s H) − 1, over pixels, adjacent scans and positions
//! ```
//!
//! Adjacent scans share speckle but no shot noise, so that distance 0 needs no correction. Directions are averaged: the aperture is round.

use super::modes::{Cell, CellSeries};

/// Cells farther apart share no speckle: cells are at most a quarter of the width of a speckle.
const REACH: i32 = 6;

/// The autocorrelation ends where it first falls below this: what is beyond is noise, which would make a speckle of everything.
const END: f64 = 0.02;

/// Expected counts at which a pixel's speckle is worth half of that of a bright one.
const HALF_WORTH: f64 = 2.0;

/// |mu|² by the square of the distance in cells.
#[derive(Debug, Clone)]
pub(crate) struct Coherence {
    by_square: Vec<f64>,
}

impl Coherence {
    /// |mu|² between two cells.
    pub(crate) fn between(&self, first: &Cell, second: &Cell) -> f64 {
        let (rows, cols) = (first.row - second.row, first.col - second.col);
        let square = rows * rows + cols * cols;
        self.by_square.get(square as usize).copied().unwrap_or(0.0)
    }
}

/// Sums over positions.
#[derive(Debug, Clone)]
pub(crate) struct CoherenceSums {
    /// Pairs of cells with the square of their distance.
    pairs: Vec<(usize, usize, usize)>,
    products: Vec<f64>,
    weights: Vec<f64>,
}

impl CoherenceSums {
    /// Empty sums for these cells.
    pub(crate) fn new(cells: &[Cell]) -> Self {
        let n_squares = (REACH * REACH + 1) as usize;
        let mut pairs = Vec::new();
        for (number, first) in cells.iter().enumerate() {
            for (other, second) in cells.iter().enumerate().skip(number) {
                let (rows, cols) = (first.row - second.row, first.col - second.col);
                if rows.abs() <= REACH && cols.abs() <= REACH {
                    let square = (rows * rows + cols * cols) as usize;
                    if square < n_squares {
                        pairs.push((number, other, square));
                    }
                }
            }
        }
        Self {
            pairs,
            products: vec![0.0; n_squares],
            weights: vec![0.0; n_squares],
        }
    }

    /// The sums of one position alone, with the same pairs.
    pub(crate) fn of_position(&self, cells: &[Cell], counts: &CellSeries) -> (Vec<f64>, Vec<f64>) {
        let n_squares = self.products.len();
        let (mut products, mut weights) = (vec![0.0; n_squares], vec![0.0; n_squares]);
        let level = counts.level(cells, |_| true);
        let fluctuations: Vec<Vec<f64>> = cells
            .iter()
            .enumerate()
            .map(|(number, cell)| {
                let expected = level * cell.expected;
                let worth = expected / (expected + HALF_WORTH);
                let value = |&count: &f64| worth * (count / expected - 1.0);
                counts.of_cell(number).iter().map(value).collect()
            })
            .collect();
        let worth = |number: usize| {
            let expected = level * cells[number].expected;
            expected / (expected + HALF_WORTH)
        };
        for &(first, second, square) in &self.pairs {
            if counts.missing[first] || counts.missing[second] {
                continue;
            }
            let later = fluctuations[second].iter().skip(1);
            let product: f64 = fluctuations[first]
                .iter()
                .zip(later)
                .map(|(now, next)| now * next)
                .sum();
            if product.is_finite() {
                products[square] += product;
                weights[square] +=
                    worth(first) * worth(second) * (fluctuations[first].len() - 1) as f64;
            }
        }
        (products, weights)
    }

    /// Adds the sums of a position.
    pub(crate) fn add(&mut self, (products, weights): &(Vec<f64>, Vec<f64>)) {
        for (sum, product) in self.products.iter_mut().zip(products) {
            *sum += product;
        }
        for (sum, weight) in self.weights.iter_mut().zip(weights) {
            *sum += weight;
        }
    }

    /// The autocorrelation; `None` where there is no speckle that lasts from one scan to the next.
    pub(crate) fn coherence(&self) -> Option<Coherence> {
        let mean = |square: usize| self.products[square] / self.weights[square];
        let whole = mean(0);
        if whole.is_nan() || whole <= 0.0 {
            return None;
        }
        let mut by_square = vec![0.0; self.products.len()];
        for (square, value) in by_square.iter_mut().enumerate() {
            let share = mean(square) / whole;
            if self.weights[square] > 0.0 {
                if share < END || share.is_nan() {
                    break;
                }
                *value = share.min(1.0);
            }
        }
        Some(Coherence { by_square })
    }
}
