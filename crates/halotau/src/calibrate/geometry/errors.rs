//! How far may the truth be from what was fitted?
//!
//! Speckle, not counting, is what the fit mistakes for a center. With the scores s of the blocks (the pull of their residuals
//! on row, column and ellipse) and the parameters θ,
//!
//! ```text
//! cov(θ) = A⁻¹ · [ Σ_ab ρ_ab B_a Σ B_bᵀ ] · A⁻ᵀ          A = −d Σ_a B_a s_a / dθ        B: basis of a block's place in the scan
//! Σ      = mean over blocks of Σ_jk s_j s_kᵀ over sectors j, k that are the same, neighbors, or opposite
//! ρ_ab   = correlation of the residual patterns of two blocks, as a function of their distance
//! ```
//!
//! - A is a difference quotient of what was solved, with weights, profile and ring means made anew. A sum over squared slopes
//!   is too large by a factor of up to two: residuals are limited, and speckle multiplies the profile.
//! - A speckle lies in a sector or in two neighboring ones, and again opposite where Friedel's law holds. Sectors are many in each
//!   block, so Σ is known even where a scan sees few independent areas.
//! - Neighboring blocks share the probe. Their patterns of thousands of pixels say how much, where their centers alone (of which
//!   the fit took out what they have in common) could not; and they know of noise, of several times, and of what the detector
//!   adds to all blocks alike.

use ndarray::{Array1, Array2, Axis};

use super::votes::{Residual, Shape, limited, profile_of};
use super::{Fitter, Model, N_PARAMETERS, lost};
use crate::error::Result;

/// Sectors of a block, each about two speckles wide on the halo.
const N_SECTORS: usize = 12;

/// Share of the pairs of sectors that make up Σ: itself, two neighbors, the opposite one. What is common to all sectors is taken
/// out by the fit and missing in Σ by this share, divided by the number of independent blocks.
const PAIRED: f64 = 4.0 / N_SECTORS as f64;

/// Steps of the difference quotient: center, pixels; the ellipse moves the halo by as much.
const STEP_PX: f64 = 0.15;

/// Classes of distance a mean distance of neighboring blocks.
const CLASSES: f64 = 2.0;

pub(super) struct Errors {
    pub(super) covariance: Array2<f64>,
    pub(super) halo_error_px: f64,
    pub(super) n_independent: f64,
}

/// Half of the side of the squares, as a share of the halo's radius, over which residuals are averaged before they are compared:
/// about a speckle. Scores add up what a speckle has in common, while the noise of its pixels cancels; pixel by pixel, noise would
/// hide how alike two blocks are.
const SPECKLE_SHARE: f64 = 0.12;

/// What a block says at the fitted model.
struct Said {
    /// Limited residuals averaged over about a speckle, 0 where there are none.
    pattern: Vec<f64>,
    sectors: [[f64; 4]; N_SECTORS],
}

impl Fitter<'_> {
    pub(super) fn errors(&self, model: &Model, shape: &Shape, weights: &[f64]) -> Result<Errors> {
        let said: Vec<Said> = (0..self.blocks.len())
            .map(|block| {
                let pattern = &self.blocks[block].pattern;
                let reach = (SPECKLE_SHARE * shape.halo.radius_px).round() as usize;
                Said::of(&self.residuals(model, shape, block), pattern.dim(), reach)
            })
            .collect();
        let correlations = self.correlations(&said);
        let n_blocks = self.blocks.len() as f64;
        let n_independent = (n_blocks * n_blocks / correlations.sum()).clamp(1.0, n_blocks);
        let stiffness = self.stiffness(model, shape)?;
        let sigma = score_covariance(&said) / (1.0 - PAIRED / n_independent).max(0.5);
        // By information: a block whose scores are stiffer has more of them.
        let mean_stiffness = stiffness.iter().map(trace).sum::<f64>() / n_blocks;
        let size: Vec<f64> = stiffness
            .iter()
            .zip(weights)
            .map(|(own, weight)| weight * (trace(own) / mean_stiffness).max(0.0).sqrt())
            .collect();
        let mut matrix = Array2::zeros((N_PARAMETERS, N_PARAMETERS));
        for (block, own) in stiffness.iter().enumerate() {
            matrix.scaled_add(weights[block], &self.spread(block, block, own));
        }
        let meat = |correlation: &dyn Fn(usize, usize) -> f64| {
            let mut meat = Array2::zeros((N_PARAMETERS, N_PARAMETERS));
            for a in 0..size.len() {
                for b in 0..size.len() {
                    let factor = size[a] * size[b] * correlation(a, b);
                    if factor != 0.0 {
                        meat.scaled_add(factor, &self.spread(a, b, &sigma));
                    }
                }
            }
            meat
        };
        let sandwich = |meat: &Array2<f64>| -> Option<Array2<f64>> {
            let half = self.solve_columns(&matrix, meat)?;
            self.solve_columns(&matrix, &half.t().to_owned())
        };
        let flat = || lost("the mean pattern is flat");
        let mut covariance = sandwich(&meat(&|a, b| correlations[[a, b]])).ok_or_else(flat)?;
        // Correlations that are known with an error must not make anything surer than independent blocks would.
        let least = sandwich(&meat(&|a, b| f64::from(u8::from(a == b)))).ok_or_else(flat)?;
        let factor: Vec<f64> = (0..N_PARAMETERS)
            .map(|at| {
                let (found, least) = (covariance[[at, at]], least[[at, at]]);
                if found < least {
                    (least / found.max(1e-3 * least)).sqrt()
                } else {
                    1.0
                }
            })
            .collect();
        for ((a, b), value) in covariance.indexed_iter_mut() {
            *value *= factor[a] * factor[b];
        }
        Ok(Errors {
            covariance,
            halo_error_px: halo_error(shape, n_independent),
            n_independent,
        })
    }

    /// `B_a · part · B_bᵀ` of a 4 x 4 matrix.
    fn spread(&self, a: usize, b: usize, part: &Array2<f64>) -> Array2<f64> {
        let factor = |block: usize, at: usize| {
            if at < 12 {
                self.bases[block][at / 2]
            } else {
                1.0
            }
        };
        let of = |at: usize| if at < 12 { at % 2 } else { at - 10 };
        Array2::from_shape_fn((N_PARAMETERS, N_PARAMETERS), |(row, col)| {
            factor(a, row) * factor(b, col) * part[[of(row), of(col)]]
        })
    }

    /// `matrix⁻¹ · right`, for active parameters.
    fn solve_columns(&self, matrix: &Array2<f64>, right: &Array2<f64>) -> Option<Array2<f64>> {
        let mut solved = Array2::zeros(right.dim());
        for (col, column) in right.columns().into_iter().enumerate() {
            let solution = self.solve(matrix, &column.to_owned())?;
            solved.column_mut(col).assign(&solution);
        }
        Some(solved)
    }

    /// How much less the scores of each block get by a step of (row, col, e₁, e₂) of all, `[block]` of `[score, step]`.
    fn stiffness(&self, model: &Model, shape: &Shape) -> Result<Vec<Array2<f64>>> {
        let mut stiffness = vec![Array2::zeros((4, 4)); self.blocks.len()];
        for (direction, at) in [0, 1, 12, 13].into_iter().enumerate() {
            let step = if at < 12 {
                STEP_PX
            } else {
                STEP_PX / shape.halo.radius_px
            };
            for sign in [-1.0, 1.0] {
                let mut moved = model.clone();
                *moved.parameter(at) += sign * step;
                let shape = self.shape(&moved)?;
                for (own, vote) in stiffness.iter_mut().zip(self.votes(&moved, &shape)) {
                    for (score, right) in vote.right.iter().enumerate() {
                        own[[score, direction]] -= sign * right / (2.0 * step);
                    }
                }
            }
        }
        Ok(stiffness)
    }

    /// Correlation of the blocks' residual patterns by the distance of the blocks, `[block, block]`.
    fn correlations(&self, said: &[Said]) -> Array2<f64> {
        let n_blocks = said.len();
        let place = |at: usize| (self.blocks[at].row, self.blocks[at].col);
        let range = |axis: fn((f64, f64)) -> f64| {
            let values = (0..n_blocks).map(|at| axis(place(at)));
            values.clone().fold(f64::MIN, f64::max) - values.fold(f64::MAX, f64::min)
        };
        let (height, width) = (range(|at| at.0), range(|at| at.1));
        let pitch = ((height * width).max(height.max(width)) / n_blocks as f64)
            .sqrt()
            .max(1e-9);
        let class = |a: usize, b: usize| {
            let (a, b) = (place(a), place(b));
            (CLASSES * libm::hypot(a.0 - b.0, a.1 - b.1) / pitch).round() as usize
        };
        let square: Vec<f64> = said
            .iter()
            .map(|said| said.pattern.iter().map(|value| value * value).sum())
            .collect();
        let mut classes: Vec<(f64, f64)> = Vec::new();
        for a in 0..n_blocks {
            for b in 0..a {
                let class = class(a, b);
                if classes.len() <= class {
                    classes.resize(class + 1, (0.0, 0.0));
                }
                let pixels = said[a].pattern.iter().zip(&said[b].pattern);
                let product: f64 = pixels.map(|(a, b)| a * b).sum();
                classes[class].0 += product;
                classes[class].1 += (square[a] * square[b]).sqrt();
            }
        }
        Array2::from_shape_fn((n_blocks, n_blocks), |(a, b)| {
            if a == b {
                1.0
            } else {
                let (product, most) = classes[class(a, b)];
                product / most.max(1e-300)
            }
        })
    }
}

impl Said {
    fn of(residuals: &[Residual], (n_rows, n_cols): (usize, usize), reach: usize) -> Self {
        let mut pattern = Array2::<f64>::zeros((n_rows, n_cols));
        let mut sectors = [[0.0; 4]; N_SECTORS];
        let (values, scatter) = limited(residuals);
        for (residual, value) in residuals.iter().zip(values) {
            pattern[residual.at] = value / scatter;
            let (sin, cos) = residual.direction;
            let turn = libm::atan2(sin, cos) / std::f64::consts::TAU + 0.5;
            let sector = &mut sectors[(turn * N_SECTORS as f64) as usize % N_SECTORS];
            for (score, slope) in sector.iter_mut().zip(&residual.slope) {
                *score += slope * value / (scatter * scatter);
            }
        }
        // Squares are sums along one axis after the other.
        for axis in [Axis(0), Axis(1)] {
            for mut lane in pattern.lanes_mut(axis) {
                let line = lane.to_vec();
                for (at, value) in lane.iter_mut().enumerate() {
                    let around = at.saturating_sub(reach)..(at + reach + 1).min(line.len());
                    *value = line[around].iter().sum();
                }
            }
        }
        Self {
            pattern: pattern.into_raw_vec_and_offset().0,
            sectors,
        }
    }
}

/// Covariance of a block's scores.
fn score_covariance(said: &[Said]) -> Array2<f64> {
    let mut sigma = Array2::<f64>::zeros((4, 4));
    for said in said {
        for (at, own) in said.sectors.iter().enumerate() {
            for other in [0, 1, N_SECTORS / 2, N_SECTORS - 1] {
                let other = &said.sectors[(at + other) % N_SECTORS];
                for ((a, b), sum) in sigma.indexed_iter_mut() {
                    *sum += own[a] * other[b];
                }
            }
        }
    }
    let n_blocks = said.len() as f64;
    // Products of neighbors may make a variance that is known with an error too small.
    let mut own = Array1::<f64>::zeros(4);
    for sector in said.iter().flat_map(|said| &said.sectors) {
        own += &Array1::from_shape_fn(4, |a| sector[a] * sector[a]);
    }
    for at in 0..4 {
        sigma[[at, at]] = sigma[[at, at]].max(0.5 * own[at]);
    }
    sigma / n_blocks
}

fn trace(matrix: &Array2<f64>) -> f64 {
    // Center and ellipse have different units; both grow alike with what a block says.
    matrix[[0, 0]] + matrix[[1, 1]]
}

/// Jackknife over blocks of the radius of the halo, for as many as are independent.
fn halo_error(shape: &Shape, n_independent: f64) -> f64 {
    let n_blocks = shape.rings.len();
    if n_blocks < 3 {
        return f64::NAN;
    }
    let n_rings = shape.rings.iter().map(Vec::len).max().unwrap_or(0);
    let mut all = vec![[0.0; 3]; n_rings];
    for rings in &shape.rings {
        for (all, ring) in all.iter_mut().zip(rings) {
            *all = std::array::from_fn(|part| all[part] + ring[part]);
        }
    }
    let radii: Vec<f64> = shape
        .rings
        .iter()
        .filter_map(|rings| {
            let mut rest = all.clone();
            for (rest, ring) in rest.iter_mut().zip(rings) {
                *rest = std::array::from_fn(|part| rest[part] - ring[part]);
            }
            let (_, halo) = profile_of(&rest, (n_blocks - 1) as f64)?;
            Some(halo.radius_px)
        })
        .collect();
    let n_lost = (1.0 - 1.0 / n_independent).max(0.1);
    let widened = n_blocks as f64 / n_independent / n_lost;
    crate::statistics::jackknife_error(&radii) * widened.sqrt()
}
