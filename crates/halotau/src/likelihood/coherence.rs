//! How far does a speckle reach?
//!
//! ```text
//! |mu(d)|² = ⟨y_p(i) y_(p+d)(i+1)⟩ / ⟨y_p(i) y_p(i+1)⟩      y = x/(s H) − 1, over pixels, adjacent scans and positions
//! ```
//!
//! Adjacent scans share speckle but no shot noise, so that distance 0 needs no correction. Directions are averaged: the aperture is round.

use super::modes::{Cell, CellSeries};
use crate::least_squares::dot;
use crate::simd::Isa;
use crate::speckle::Aperture;

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
    /// How much less of a movement of the probe two cells see than one, by the square of the distance.
    narrowing: Vec<f64>,
}

impl Coherence {
    /// |mu|² between two cells.
    pub(crate) fn between(&self, first: &Cell, second: &Cell) -> f64 {
        let value = self.by_square.get(square_apart(first, second));
        value.copied().unwrap_or(0.0)
    }

    /// |mu|² of two cells times their narrowing.
    pub(crate) fn narrowed(&self, first: &Cell, second: &Cell) -> f64 {
        let narrowing = self.narrowing.get(square_apart(first, second));
        self.between(first, second) * narrowing.copied().unwrap_or(1.0)
    }

    /// With the narrowing of an aperture, for cells that are `cell_per_nm` wide.
    pub(crate) fn seen_through(self, aperture: &Aperture, cell_per_nm: f64) -> Self {
        let of_square = |square| aperture.narrowing(cell_per_nm * f64::sqrt(square as f64));
        Self {
            narrowing: (0..N_SQUARES).map(of_square).collect(),
            ..self
        }
    }
}

/// Square of the distance of two cells, in cells.
fn square_apart(first: &Cell, second: &Cell) -> usize {
    let (rows, cols) = (first.row - second.row, first.col - second.col);
    (rows * rows + cols * cols) as usize
}

/// Squares of distances that count.
const N_SQUARES: usize = (REACH * REACH + 1) as usize;

/// Pairs of cells whose speckle is compared.
#[derive(Debug, Clone)]
pub(crate) struct CoherencePairs {
    /// Pairs with the square of their distance.
    pairs: Vec<(usize, usize, usize)>,
}

/// Sums over pairs of cells and positions, by the square of the distance.
#[derive(Debug, Clone)]
pub(crate) struct CoherenceSums {
    products: [f64; N_SQUARES],
    weights: [f64; N_SQUARES],
}

impl Default for CoherenceSums {
    fn default() -> Self {
        Self {
            products: [0.0; N_SQUARES],
            weights: [0.0; N_SQUARES],
        }
    }
}

impl CoherencePairs {
    /// The pairs of these cells.
    pub(crate) fn new(cells: &[Cell]) -> Self {
        let mut pairs = Vec::new();
        for (number, first) in cells.iter().enumerate() {
            for (other, second) in cells.iter().enumerate().skip(number) {
                let square = square_apart(first, second);
                if square < N_SQUARES {
                    pairs.push((number, other, square));
                }
            }
        }
        Self { pairs }
    }

    /// The sums of one position.
    pub(crate) fn of_position(&self, cells: &[Cell], counts: &CellSeries) -> CoherenceSums {
        let mut sums = CoherenceSums::default();
        let level = counts.level(cells, |_| true);
        let worth = |number: usize| {
            let expected = level * cells[number].expected;
            expected / (expected + HALF_WORTH)
        };
        let fluctuations: Vec<Vec<f64>> = (0..cells.len())
            .map(|number| {
                let expected = level * cells[number].expected;
                let value = |&count: &f64| worth(number) * (count / expected - 1.0);
                counts.of_cell(number).iter().map(value).collect()
            })
            .collect();
        let isa = Isa::best();
        for &(first, second, square) in &self.pairs {
            if counts.missing[first] || counts.missing[second] {
                continue;
            }
            let next = &fluctuations[second][1..];
            let product = dot(isa, &fluctuations[first][..next.len()], next);
            if product.is_finite() {
                sums.products[square] += product;
                sums.weights[square] += worth(first) * worth(second) * next.len() as f64;
            }
        }
        sums
    }
}

impl CoherenceSums {
    /// Adds the sums of other positions.
    pub(crate) fn add(&mut self, other: &Self) {
        for (sum, product) in self.products.iter_mut().zip(&other.products) {
            *sum += product;
        }
        for (sum, weight) in self.weights.iter_mut().zip(&other.weights) {
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
        Some(Coherence {
            by_square,
            narrowing: vec![1.0; N_SQUARES],
        })
    }
}
