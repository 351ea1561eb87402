//! Where is the center at every position of the scan, and how elliptic is the pattern?
//!
//! The halo of a glass depends on the distance from the center alone. With the radial profile f, a pixel at distance r and
//! azimuth φ whose center is off by d and whose ellipse is off by e shows
//!
//! ```text
//! M / f(r) − 1  =  (f′/f) · [ −d_row sin φ − d_col cos φ − r (e₁ cos 2φ + e₂ sin 2φ) ]  +  speckle
//! center(row, col) = c + plane (or quadratic) of the scan position        e₁ = e cos 2θ,  e₂ = e sin 2θ
//! ```
//!
//! All blocks of the scan are fitted at once by Gauss-Newton steps. The mean over each ring is taken out of both sides, block
//! by block, so that thickness and profile cannot pull; Huber weights limit pixels, Tukey weights leave out blocks whose
//! center does not fit (an edge, a crystal). How far the truth may be from the result is the question of `errors`.

use ndarray::{Array1, Array2};

use super::linear::solve_scaled;
use super::profile::{HaloPeak, RadialProfile};
use crate::error::{Error, Result};

mod errors;
mod model;
mod votes;

use errors::Errors;
use model::N_PARAMETERS;
pub(crate) use model::{Block, Fixed, Model, basis};
use votes::{Residual, Shape, Vote, residuals};

/// Tukey's constant for blocks: only what is far from all others loses its vote.
const TUKEY: f64 = 6.0;

/// A plane over the scan needs this many blocks; a quadratic this many that are worth an independent one each.
const MIN_PLANE: usize = 6;
const MIN_QUADRATIC: f64 = 12.0;

/// What varies less than this over the field (pixels of the grid that is fitted) is not worth a higher order.
const WORTH_PX: f64 = 0.1;

/// Steps of a fit at most; it converges by a factor of ten or so a step.
const MAX_STEPS: usize = 20;

/// Lengthening of a step at most.
const MAX_STRIDE: f64 = 2.5;

/// A fit has converged where no parameter moves any pixel by more than this: a fiftieth of the best standard errors.
const CONVERGED_PX: f64 = 1e-3;

/// χ² of six coefficients beyond which chance is below one in a thousand.
const CHI2_SIX: f64 = 22.46;

/// The center of one block by its own vote.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BlockCenter {
    /// Scan row of the block.
    pub row: f64,
    /// Scan column of the block.
    pub col: f64,
    /// Center, pattern row.
    pub center_row: f64,
    /// Center, pattern column.
    pub center_col: f64,
    /// Share of its vote that counted; 0 for an outlier.
    pub weight: f64,
}

/// What was fitted, in pixels of the grid.
#[derive(Debug, Clone)]
pub(crate) struct Fit {
    pub(crate) model: Model,
    /// Covariance of the fourteen parameters; zero for those that were not fitted.
    pub(crate) covariance: Array2<f64>,
    pub(crate) quadratic: bool,
    pub(crate) blocks: Vec<BlockCenter>,
    pub(crate) profile: RadialProfile,
    pub(crate) halo: HaloPeak,
    /// Standard error of the halo's radius; NaN for one block.
    pub(crate) halo_error_px: f64,
    /// Number of independent blocks that are worth as much as all of these.
    pub(crate) n_independent: f64,
}

/// Fits center, descan and ellipse to the blocks of a scan, from a start that is right to a few pixels. `middle` is the middle
/// of the scan (row, col).
///
/// # Errors
///
/// [`Error::CenterNotFound`] where there is no halo or the fit leaves the pattern.
pub(crate) fn fit(blocks: &[Block], middle: (f64, f64), start: Model, fixed: Fixed) -> Result<Fit> {
    let bases: Vec<[f64; 6]> = blocks
        .iter()
        .map(|block| basis(block.row - middle.0, block.col - middle.1))
        .collect();
    let mut active = vec![false; N_PARAMETERS];
    active[0..2].fill(!fixed.center);
    active[12..14].fill(!fixed.ellipse);
    if !fixed.descan && blocks.len() >= MIN_PLANE {
        let spread = |axis: usize| {
            let values = bases.iter().map(|basis| basis[axis]);
            values.clone().fold(f64::MIN, f64::max) - values.fold(f64::MAX, f64::min)
        };
        active[2..4].fill(spread(1) > 0.0);
        active[4..6].fill(spread(2) > 0.0);
    }
    let both_axes = active[2] && active[4];
    let mut fitter = Fitter {
        blocks,
        bases,
        active,
    };
    let mut fitted = fitter.fit(start)?;
    if both_axes && blocks.len() as f64 >= MIN_QUADRATIC {
        fitter.active[6..12].fill(true);
        // A curvature that is not fitted makes blocks alike: only the fit with it knows how many are independent.
        if let Ok(quadratic) = fitter.fit(fitted.model.clone())
            && quadratic.n_independent >= MIN_QUADRATIC
            && fitter.needs_quadratic(&quadratic)
        {
            fitted = quadratic;
            fitted.quadratic = true;
        }
    }
    Ok(fitted)
}

struct Fitter<'a> {
    blocks: &'a [Block],
    bases: Vec<[f64; 6]>,
    active: Vec<bool>,
}

impl Fitter<'_> {
    fn fit(&self, start: Model) -> Result<Fit> {
        let mut model = start;
        let mut weights = vec![1.0; self.blocks.len()];
        let (n_rows, n_cols) = self.blocks[0].pattern.dim();
        let limit = 0.5 * n_rows.min(n_cols) as f64;
        let (mut stride, mut before) = (1.0, Array1::<f64>::zeros(N_PARAMETERS));
        for _ in 0..MAX_STEPS {
            let shape = self.shape(&model)?;
            let votes = self.votes(&model, &shape);
            let (matrix, right) = self.sum(&votes, &weights);
            let step = self
                .solve(&matrix, &right)
                .ok_or_else(|| lost("the mean pattern is flat"))?;
            // A safe step goes about half of the way; what is left of the one before says which part.
            let left = step.dot(&before) / before.dot(&before).max(1e-300);
            if before.iter().any(|&step| step != 0.0) {
                stride = (stride / (1.0 - left).max(1e-3)).clamp(1.0, MAX_STRIDE);
            }
            before.assign(&step);
            let step = step * stride;
            let mut largest = 0.0_f64;
            for (at, step) in step.into_iter().enumerate() {
                // Of the parameters only the ellipse is not in pixels (a step).
                let (most, size) = if at < 12 {
                    (2.0, 1.0)
                } else {
                    (0.03, shape.halo.radius_px)
                };
                *model.parameter(at) += step.clamp(-most, most);
                largest = largest.max((step * size).abs() * self.reach(at));
            }
            let (row, col) = (model.row[0], model.col[0]);
            let inside =
                row > -0.5 && col > -0.5 && row < n_rows as f64 - 0.5 && col < n_cols as f64 - 0.5;
            if !inside || libm::hypot(model.ellipse[0], model.ellipse[1]) > 0.3 || largest > limit {
                return Err(lost("the fit of the halo runs away from the pattern"));
            }
            weights = self.block_weights(&votes);
            if largest < CONVERGED_PX {
                break;
            }
        }
        let shape = self.shape(&model)?;
        let votes = self.votes(&model, &shape);
        let Errors {
            covariance,
            halo_error_px,
            n_independent,
        } = self.errors(&model, &shape, &weights)?;
        let blocks = self.block_centers(&model, &votes, &weights);
        Ok(Fit {
            covariance,
            halo_error_px,
            n_independent,
            quadratic: false,
            blocks,
            halo: shape.halo,
            profile: shape.profile,
            model,
        })
    }

    /// Largest value of a parameter's basis function, to turn it into pixels.
    fn reach(&self, at: usize) -> f64 {
        if at >= 12 {
            return 1.0;
        }
        let values = self.bases.iter().map(|basis| basis[at / 2].abs());
        values.fold(0.0, f64::max)
    }

    /// The profile about the centers of all blocks, with the halo.
    fn shape(&self, model: &Model) -> Result<Shape> {
        Shape::of(self.blocks, |block| model.center(&self.bases[block]), model).ok_or_else(|| {
            lost("there is no halo about any center on the detector: no ring is brighter than the rings inside and outside of it")
        })
    }

    fn residuals(&self, model: &Model, shape: &Shape, block: usize) -> Vec<Residual> {
        let center = model.center(&self.bases[block]);
        residuals(&self.blocks[block].pattern, center, model, shape)
    }

    fn votes(&self, model: &Model, shape: &Shape) -> Vec<Vote> {
        (0..self.blocks.len())
            .map(|block| Vote::of(&self.residuals(model, shape, block)))
            .collect()
    }

    /// What a vote says of all parameters.
    fn expand(&self, block: usize, vote: &Vote) -> (Array2<f64>, Array1<f64>) {
        let basis = &self.bases[block];
        let factor = |at: usize| if at < 12 { basis[at / 2] } else { 1.0 };
        let part = |at: usize| if at < 12 { at % 2 } else { at - 10 };
        let matrix = Array2::from_shape_fn((N_PARAMETERS, N_PARAMETERS), |(a, b)| {
            factor(a) * factor(b) * vote.matrix[part(a)][part(b)]
        });
        let right = Array1::from_shape_fn(N_PARAMETERS, |at| factor(at) * vote.right[part(at)]);
        (matrix, right)
    }

    fn sum(&self, votes: &[Vote], weights: &[f64]) -> (Array2<f64>, Array1<f64>) {
        let mut matrix = Array2::zeros((N_PARAMETERS, N_PARAMETERS));
        let mut right = Array1::zeros(N_PARAMETERS);
        for (block, vote) in votes.iter().enumerate() {
            let (m, r) = self.expand(block, vote);
            matrix.scaled_add(weights[block], &m);
            right.scaled_add(weights[block], &r);
        }
        (matrix, right)
    }

    /// Solves for the active parameters; zero for the others.
    fn solve(&self, matrix: &Array2<f64>, right: &Array1<f64>) -> Option<Array1<f64>> {
        let active: Vec<usize> = (0..N_PARAMETERS).filter(|&at| self.active[at]).collect();
        let mut full = Array1::zeros(N_PARAMETERS);
        if active.is_empty() {
            return Some(full);
        }
        let small = Array2::from_shape_fn((active.len(), active.len()), |(a, b)| {
            matrix[[active[a], active[b]]]
        });
        let solution = solve_scaled(&small, &active.iter().map(|&at| right[at]).collect())?;
        for (&at, value) in active.iter().zip(solution) {
            full[at] = value;
        }
        full.iter().all(|value| value.is_finite()).then_some(full)
    }

    /// Tukey weights of the blocks' own steps.
    fn block_weights(&self, votes: &[Vote]) -> Vec<f64> {
        let n_blocks = self.blocks.len();
        if n_blocks < MIN_PLANE || !self.active[0] {
            return vec![1.0; n_blocks];
        }
        let steps: Vec<f64> = (0..n_blocks)
            .map(|block| {
                votes[block]
                    .center_step()
                    .map_or(f64::INFINITY, |(row, col)| libm::hypot(row, col))
            })
            .collect();
        // The median length of a two-dimensional normal vector is 1.177 standard deviations.
        let scale = crate::rank::median(&steps) / 1.177;
        steps
            .iter()
            .map(|step| {
                let share = step / (TUKEY * scale.max(1e-6));
                if share < 1.0 {
                    (1.0 - share * share).powi(2)
                } else {
                    0.0
                }
            })
            .collect()
    }

    fn block_centers(&self, model: &Model, votes: &[Vote], weights: &[f64]) -> Vec<BlockCenter> {
        let centers = self.blocks.iter().enumerate().filter_map(|(at, block)| {
            let (row, col) = model.center(&self.bases[at]);
            let (step_row, step_col) = votes[at].center_step()?;
            Some(BlockCenter {
                row: block.row,
                col: block.col,
                center_row: row + step_row,
                center_col: col + step_col,
                weight: weights[at],
            })
        });
        centers.collect()
    }

    fn needs_quadratic(&self, fit: &Fit) -> bool {
        let coefficients = 6..12;
        let small = fit
            .covariance
            .slice(ndarray::s![coefficients.clone(), coefficients.clone()])
            .to_owned();
        let mut model = fit.model.clone();
        let values: Array1<f64> = coefficients.map(|at| *model.parameter(at)).collect();
        let chi2 = solve_scaled(&small, &values).map_or(0.0, |weighted| weighted.dot(&values));
        let most = self.bases.iter().map(|basis| {
            let only = [0.0, 0.0, 0.0, basis[3], basis[4], basis[5]];
            let (row, col) = fit.model.center(&only);
            libm::hypot(row, col)
        });
        chi2 > CHI2_SIX && most.fold(0.0, f64::max) > WORTH_PX
    }
}

fn lost(problem: &str) -> Error {
    Error::CenterNotFound {
        problem: problem.to_owned(),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests {
    use super::super::profile::polar_px;
    use super::super::{Descan, Ellipse};
    use super::*;

    fn pattern(model: &Model, basis: &[f64; 6], wobble: f64, phase: f64) -> Array2<f64> {
        let (row, col) = model.center(basis);
        let ellipse = model.ellipse();
        Array2::from_shape_fn((66, 66), |(r, c)| {
            if (r as f64 - 33.0).hypot(c as f64 - 33.0) < 7.0 || (r > 33 && (31..36).contains(&c)) {
                return f64::NAN;
            }
            let (radius, azimuth) = polar_px(&ellipse, r as f64 - row, c as f64 - col);
            let widths = (radius - 19.0) / 2.6;
            // A wobble over azimuth that is no center and no ellipse, and another in each block, as speckle is.
            let speckle = 1.0 + wobble * libm::cos(7.0 * azimuth + radius + phase);
            (0.35 + libm::exp(-widths * widths / 2.0)) * speckle
        })
    }

    #[test]
    fn finds_center_descan_and_ellipse_together() {
        let descan = Descan {
            row_per_row: 0.05,
            row_per_col: 0.02,
            col_per_row: -0.03,
            col_per_col: 0.1,
            row_quadratic: [0.0; 3],
            col_quadratic: [0.0, 0.0, 0.004],
        };
        let ellipse = Ellipse {
            distortion: 0.03,
            angle_rad: 2.9,
        };
        let truth = Model::new((34.2, 31.7), &descan, &ellipse);
        let blocks: Vec<Block> = (0..30)
            .map(|at| {
                let (row, col) = ((at / 6) as f64 * 4.0, (at % 6) as f64 * 4.0);
                // The golden angle, so that no two blocks are alike.
                let phase = 2.4 * at as f64;
                let pattern = pattern(&truth, &basis(row - 8.0, col - 10.0), 0.02, phase);
                Block { row, col, pattern }
            })
            .collect();
        let start = Model::new((33.5, 32.5), &Descan::default(), &Ellipse::default());
        let fit = fit(&blocks, (8.0, 10.0), start, Fixed::default()).unwrap();
        assert!(fit.quadratic);
        let (center, found) = ((fit.model.row[0], fit.model.col[0]), fit.model.ellipse());
        assert!(
            (center.0 - 34.2).abs() < 0.01 && (center.1 - 31.7).abs() < 0.01,
            "{center:?}"
        );
        assert!((found.distortion - 0.03).abs() < 2e-4, "{found:?}");
        assert!((found.angle_rad - 2.9).abs() < 0.01, "{found:?}");
        let found = fit.model.descan();
        assert!((found.col_per_col - 0.1).abs() < 1e-3, "{found:?}");
        assert!((found.col_quadratic[2] - 0.004).abs() < 2e-4, "{found:?}");
    }

    #[test]
    fn no_halo_is_an_error() {
        let pattern = Array2::from_shape_fn((66, 66), |(r, c)| {
            100.0 / (1.0 + (r as f64 - 33.0).hypot(c as f64 - 33.0))
        });
        let block = Block {
            row: 0.0,
            col: 0.0,
            pattern,
        };
        let start = Model::new((33.0, 33.0), &Descan::default(), &Ellipse::default());
        let error = fit(&[block], (0.0, 0.0), start, Fixed::default()).unwrap_err();
        assert!(error.to_string().contains("no halo"), "{error}");
    }
}
