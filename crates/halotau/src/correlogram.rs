//! How far do the values of a map belong together?
//!
//! ```text
//! C(D) = ⟨½ [a(r) b(r + D) + b(r) a(r + D)]⟩ over pairs of positions, D in classes a step wide
//! C(D) ~ A exp[−(D/ξ)²]
//! ```
//!
//! a and b are two maps of one quantity whose errors share nothing, so that C has no noise in its mean at any D, D = 0 included. The
//! products are kept by the tile of the first position, so that leaving out tiles gives errors.

use ndarray::Array2;
use rand::Rng;
use rand_distr::{Distribution, StandardNormal};

use crate::dynamics::Tiles;

/// Pairs of positions of a scan by distance.
#[derive(Debug, Clone)]
pub(crate) struct Distances {
    n_rows: usize,
    n_cols: usize,
    /// Displacements of one half plane, with the class of each.
    displacements: Vec<(usize, i64, usize)>,
    /// Mean distance of each class, steps.
    pub(crate) distance: Vec<f64>,
    /// Squared lengths that are looked through for the best, in equal steps of their logarithm.
    lengths: Vec<Length>,
    /// Displacements in each class, both directions counted.
    pub(crate) n_displacements: Vec<f64>,
}

impl Distances {
    /// Distances up to `reach` steps in a scan of so many rows and columns.
    pub(crate) fn new((n_rows, n_cols): (usize, usize), reach: usize) -> Self {
        let along = reach.min(n_cols.saturating_sub(1)) as i64;
        let mut displacements = vec![(0, 0, 0)];
        for rows in 0..=reach.min(n_rows.saturating_sub(1)) {
            for cols in -along..=along {
                let distance = libm::hypot(rows as f64, cols as f64);
                let class = libm::round(distance) as usize;
                let is_first = rows > 0 || cols > 0;
                if is_first && class <= reach {
                    displacements.push((rows, cols, class));
                }
            }
        }
        let mut sums = vec![(0.0, 0.0); reach + 1];
        for &(rows, cols, class) in &displacements {
            sums[class].0 += libm::hypot(rows as f64, cols as f64);
            sums[class].1 += 1.0;
        }
        let distance: Vec<f64> = sums.iter().map(|(sum, n)| sum / n).collect();
        let longest = distance.last().copied().unwrap_or(1.0).max(1.0);
        Self {
            n_rows,
            n_cols,
            displacements,
            lengths: (0..=N_LENGTHS)
                .map(|step| Length::new(step_square(longest, step as f64), &distance))
                .collect(),
            distance,
            n_displacements: sums
                .iter()
                .enumerate()
                .map(|(class, (_, n))| if class == 0 { 1.0 } else { 2.0 * n })
                .collect(),
        }
    }

    /// Square of the distance of 1/e, and A, by least squares of A exp(−D²/ξ²) to sums of products and numbers of pairs; NaN without a
    /// positive correlation.
    pub(crate) fn squared_length(&self, values: &[(f64, f64)]) -> (f64, f64) {
        // Number of the class, its mean product and its pairs.
        let points: Vec<(usize, f64, f64)> = values
            .iter()
            .take(self.distance.len())
            .enumerate()
            .filter(|(_, (_, n))| *n > 0.0)
            .map(|(class, &(sum, n))| (class, sum / n, n))
            .collect();
        let products = |length: &Length| {
            let (mut fg, mut ff) = (0.0, 0.0);
            for &(class, value, n) in &points {
                let f = length.of_class[class];
                fg += n * f * value;
                ff += n * f * f;
            }
            (fg, ff)
        };
        // Fit quality with the best amplitude; larger is better.
        let gain = |length: &Length| {
            let (fg, ff) = products(length);
            if fg > 0.0 { fg * fg / ff } else { 0.0 }
        };
        let gains: Vec<f64> = self.lengths.iter().map(gain).collect();
        let best = (0..gains.len()).max_by(|&a, &b| gains[a].total_cmp(&gains[b]));
        match best {
            Some(best) if gains[best] > 0.0 => {
                let longest = self.distance.last().copied().unwrap_or(1.0).max(1.0);
                let at = |step: f64| Length::new(step_square(longest, step), &self.distance);
                // A parabola through the three highest.
                let [left, middle, right] =
                    [-1.0, 0.0, 1.0].map(|step| gain(&at(best as f64 + step)));
                let curvature = left - 2.0 * middle + right;
                let shift = if curvature < 0.0 {
                    (0.5 * (left - right) / curvature).clamp(-1.0, 1.0)
                } else {
                    0.0
                };
                let found = at(best as f64 + shift);
                let (fg, ff) = products(&found);
                (found.square, fg / ff)
            }
            _ => (f64::NAN, f64::NAN),
        }
    }
}

/// Steps between the shortest and the longest distance of 1/e that is looked for.
const N_LENGTHS: usize = 200;

/// Square of a distance of 1/e: from what no two positions are apart to twice the longest distance.
fn step_square(longest: f64, step: f64) -> f64 {
    let (low, high) = (libm::log(0.05), libm::log(4.0 * longest * longest));
    libm::exp(low + (high - low) * step / N_LENGTHS as f64)
}

/// A distance of 1/e, and what the Gaussian is at the mean distance of each class.
#[derive(Debug, Clone)]
struct Length {
    square: f64,
    of_class: Vec<f64>,
}

impl Length {
    fn new(square: f64, distance: &[f64]) -> Self {
        let gaussian = |distance: &f64| libm::exp(-distance * distance / square);
        Self {
            square,
            of_class: distance.iter().map(gaussian).collect(),
        }
    }
}

/// Sums of products of two maps by tile of the first position and by class of distance.
#[derive(Debug, Clone)]
pub(crate) struct Products {
    /// `[tile][class]`: sum of products, number of pairs.
    sums: Vec<Vec<(f64, f64)>>,
}

impl Products {
    pub(crate) fn new(tiles: &Tiles, distances: &Distances) -> Self {
        Self {
            sums: vec![vec![(0.0, 0.0); distances.distance.len()]; tiles.len()],
        }
    }

    /// Adds the products of two maps, row by row, zero where `there` is zero and not one.
    pub(crate) fn add(
        &mut self,
        tiles: &Tiles,
        distances: &Distances,
        there: &[f64],
        [a, b]: [&[f64]; 2],
    ) {
        let (n_rows, n_cols) = (distances.n_rows, distances.n_cols);
        // Runs of positions of one row that lie in one tile.
        let mut runs = Vec::new();
        for row in 0..n_rows {
            let line: Vec<Option<usize>> = (0..n_cols).map(|col| tiles.at(row, col)).collect();
            let mut first = 0;
            for run in line.chunk_by(|a, b| a == b) {
                if let Some(tile) = run[0] {
                    runs.push((row, first, first + run.len(), tile));
                }
                first += run.len();
            }
        }
        for &(rows, cols, distance) in &distances.displacements {
            for &(row, first, end, tile) in &runs {
                let first = first.max((-cols).max(0) as usize);
                let end = end.min((n_cols as i64 - cols.max(0)).max(0) as usize);
                if row + rows >= n_rows || first >= end {
                    continue;
                }
                let from = row * n_cols + first;
                let to = (((row + rows) * n_cols + first) as i64 + cols) as usize;
                let length = end - first;
                let (a_here, b_here) = (&a[from..][..length], &b[from..][..length]);
                let (a_there, b_there) = (&a[to..][..length], &b[to..][..length]);
                let (w_here, w_there) = (&there[from..][..length], &there[to..][..length]);
                let (mut sum, mut n) = (0.0, 0.0);
                for at in 0..length {
                    sum += a_here[at] * b_there[at] + b_here[at] * a_there[at];
                    n += w_here[at] * w_there[at];
                }
                let total = &mut self.sums[tile][distance];
                *total = (total.0 + 0.5 * sum, total.1 + n);
            }
        }
    }

    /// The sum of products and the number of pairs at each class of distance, without a tile.
    pub(crate) fn values(&self, without: Option<usize>) -> Vec<(f64, f64)> {
        let n_classes = self.sums.first().map_or(0, Vec::len);
        (0..n_classes)
            .map(|class| {
                let kept = self
                    .sums
                    .iter()
                    .enumerate()
                    .filter(|(tile, _)| Some(*tile) != without);
                kept.fold((0.0, 0.0), |(sum, n), (_, tile)| {
                    (sum + tile[class].0, n + tile[class].1)
                })
            })
            .collect()
    }
}

/// A normal field with mean 0, variance 1 and the correlation exp[−(D/length)²], lengths in steps, `[row, col]`.
pub(crate) fn smooth_field(
    (n_rows, n_cols): (usize, usize),
    length: f64,
    rng: &mut impl Rng,
) -> Array2<f64> {
    // White noise averaged over a Gaussian of σ correlates as exp[−D²/(4σ²)]. A window narrower than a step averages nothing.
    let sigma = (0.5 * length).max(1e-3);
    let reach = libm::ceil(3.0 * sigma) as usize;
    let mut window: Vec<f64> = (0..=2 * reach)
        .map(|at| (at as f64 - reach as f64) / sigma)
        .map(|at| libm::exp(-0.5 * at * at))
        .collect();
    let norm = libm::sqrt(window.iter().map(|weight| weight * weight).sum::<f64>());
    window.iter_mut().for_each(|weight| *weight /= norm);
    let wide = (n_rows + 2 * reach, n_cols + 2 * reach);
    let white: Array2<f64> = Array2::from_shape_simple_fn(wide, || StandardNormal.sample(rng));
    let mut along_rows = Array2::<f64>::zeros((n_rows, wide.1));
    for (row, mut to) in along_rows.outer_iter_mut().enumerate() {
        for (at, &weight) in window.iter().enumerate() {
            to.scaled_add(weight, &white.row(row + at));
        }
    }
    Array2::from_shape_fn((n_rows, n_cols), |(row, col)| {
        let terms = window.iter().enumerate();
        terms
            .map(|(at, weight)| weight * along_rows[[row, col + at]])
            .sum()
    })
}
