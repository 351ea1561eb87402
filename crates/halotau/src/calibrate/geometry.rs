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
//! center does not fit (an edge, a crystal). Standard errors come from the scatter of the blocks' own votes, widened by the
//! correlation of neighboring blocks, which share the probe; a scan of few blocks is cut into sectors as well.

use ndarray::{Array1, Array2};

use super::linear::{solve, solve_scaled};
use super::profile::{HaloPeak, RadialProfile, polar_px};
use crate::error::{Error, Result};

mod model;

use model::N_PARAMETERS;
pub(crate) use model::{Block, Fixed, Model, basis};

/// Huber's constant: 95 % efficiency for normal errors.
const HUBER: f64 = 1.345;

/// Tukey's constant for blocks: only what is far from all others loses its vote.
const TUKEY: f64 = 6.0;

/// With fewer blocks than this, sectors of each block are the units of the jackknife.
const MIN_BLOCKS: usize = 12;

/// Sectors of a block then, each several speckles wide.
const N_SECTORS: usize = 8;

/// A plane over the scan needs this many blocks; a quadratic more.
const MIN_PLANE: usize = 6;
const MIN_QUADRATIC: f64 = 16.0;

/// What varies less than this over the field (pixels of the grid that is fitted) is not worth a higher order.
const WORTH_PX: f64 = 0.1;

/// Steps of a fit at most; it converges by a factor of ten or so a step.
const MAX_STEPS: usize = 20;

/// A fit has converged where no parameter moves any pixel by more than this: a fiftieth of the best standard errors.
const CONVERGED_PX: f64 = 1e-3;

/// χ² of six coefficients beyond which chance is below one in a thousand.
const CHI2_SIX: f64 = 22.46;

/// Pixels nearer to the center than this share of the halo's radius are not fitted: there are the edge of a stop and the
/// direct beam.
const INNER_SHARE: f64 = 0.45;

/// Rings dimmer than this share of the halo are noise.
const DIM: f64 = 0.02;

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
}

/// Fits center, descan and ellipse to the blocks of a scan, from a start that is right to a few pixels. `middle` is the middle
/// of the scan (row, col); `n_areas` the number of independent areas of the sample that the scan sees, where the probe is known.
///
/// # Errors
///
/// [`Error::CenterNotFound`] where there is no halo or the fit leaves the pattern.
pub(crate) fn fit(
    blocks: &[Block],
    middle: (f64, f64),
    start: Model,
    fixed: Fixed,
    n_areas: Option<f64>,
) -> Result<Fit> {
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
        n_areas,
    };
    let mut fitted = fitter.fit(start)?;
    let n_independent = n_areas.unwrap_or(f64::INFINITY).min(blocks.len() as f64);
    if both_axes && n_independent >= MIN_QUADRATIC {
        fitter.active[6..12].fill(true);
        if let Ok(quadratic) = fitter.fit(fitted.model.clone())
            && fitter.needs_quadratic(&quadratic)
        {
            fitted = quadratic;
            fitted.quadratic = true;
        }
    }
    Ok(fitted)
}

/// How much less a residual gets by a step.
#[derive(Debug, Clone, Copy)]
enum Stiffness {
    /// At least what it is, so that no step goes too far, however far away the minimum is.
    Safe,
    /// Only pixels within Huber's limits yield to a step, each by its own brightness: speckle multiplies the profile. Without
    /// this the votes look surer than they are by a factor of nearly two.
    True,
}

struct Fitter<'a> {
    blocks: &'a [Block],
    bases: Vec<[f64; 6]>,
    active: Vec<bool>,
    n_areas: Option<f64>,
}

/// Normal equations of one block, or of a sector of it: of (d_row, d_col, e₁, e₂).
#[derive(Debug, Clone)]
struct Vote {
    block: usize,
    matrix: [[f64; 4]; 4],
    right: [f64; 4],
}

impl Vote {
    fn new(block: usize) -> Self {
        Self {
            block,
            matrix: [[0.0; 4]; 4],
            right: [0.0; 4],
        }
    }

    /// `pull` is the weight of the residual, `stiffness` how much less it gets by a step along the slope.
    fn add(&mut self, pull: f64, stiffness: f64, slope: &[f64; 4], residual: f64) {
        for (a, slope_a) in slope.iter().enumerate() {
            for (b, slope_b) in slope.iter().enumerate() {
                self.matrix[a][b] += stiffness * slope_a * slope_b;
            }
            self.right[a] += pull * slope_a * residual;
        }
    }

    /// Step of the center that this vote alone asks for.
    fn center_step(&self) -> Option<(f64, f64)> {
        let m = &self.matrix;
        let matrix = ndarray::arr2(&[[m[0][0], m[0][1]], [m[1][0], m[1][1]]]);
        let step = solve(&matrix, &ndarray::arr1(&self.right[..2]))?;
        Some((step[0], step[1]))
    }
}

impl Fitter<'_> {
    fn fit(&self, start: Model) -> Result<Fit> {
        let mut model = start;
        let mut weights = vec![1.0; self.blocks.len()];
        let (n_rows, n_cols) = self.blocks[0].pattern.dim();
        let limit = 0.5 * n_rows.min(n_cols) as f64;
        for _ in 0..MAX_STEPS {
            let shape = self.shape(&model)?;
            let votes = self.votes(&model, &shape, Stiffness::Safe);
            let (matrix, right) = self.sum(&votes, &weights);
            let step = self
                .solve(&matrix, &right)
                .ok_or_else(|| lost("the mean pattern is flat"))?;
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
        let votes = self.votes(&model, &shape, Stiffness::True);
        let covariance = self.covariance(&votes, &weights);
        let blocks = self.block_centers(&model, &votes, &weights);
        Ok(Fit {
            covariance,
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
        let ellipse = model.ellipse();
        let mut sums: Vec<[f64; 3]> = Vec::new();
        for (block, basis) in self.blocks.iter().zip(&self.bases) {
            let (row, col) = model.center(basis);
            for ((r, c), &value) in block.pattern.indexed_iter() {
                if value.is_finite() {
                    let (radius, _) = polar_px(&ellipse, r as f64 - row, c as f64 - col);
                    let ring = radius.round() as usize;
                    if sums.len() <= ring {
                        sums.resize(ring + 1, [0.0; 3]);
                    }
                    sums[ring][0] += value;
                    sums[ring][1] += radius;
                    sums[ring][2] += 1.0;
                }
            }
        }
        let n_blocks = self.blocks.len() as f64;
        let mut profile = RadialProfile {
            radius: Vec::new(),
            mean: Vec::new(),
            seen: Vec::new(),
        };
        for (ring, &[value, radius, n]) in sums.iter().enumerate() {
            let whole = n_blocks * (std::f64::consts::TAU * ring as f64).max(1.0);
            let seen = n / whole;
            profile.seen.push(seen.min(1.0));
            let is_seen = seen > 0.3;
            profile
                .radius
                .push(if is_seen { radius / n } else { ring as f64 });
            profile
                .mean
                .push(if is_seen { value / n } else { f64::NAN });
        }
        let beyond = 0.12 * profile.outermost();
        let halo = profile.halo(beyond, 0.04).ok_or_else(|| {
            lost("there is no halo about any center on the detector: no ring is brighter than the rings inside and outside of it")
        })?;
        Ok(Shape { profile, halo })
    }

    /// Relative residuals about the profile and their slopes, ring means taken out.
    fn residuals(&self, model: &Model, shape: &Shape, block: usize) -> Vec<Residual> {
        let ellipse = model.ellipse();
        let (row, col) = model.center(&self.bases[block]);
        let inner = INNER_SHARE * shape.halo.radius_px;
        let mut residuals: Vec<Residual> = Vec::new();
        for ((r, c), &value) in self.blocks[block].pattern.indexed_iter() {
            if !value.is_finite() {
                continue;
            }
            let (radius, azimuth) = polar_px(&ellipse, r as f64 - row, c as f64 - col);
            if radius < inner {
                continue;
            }
            let Some((mean, slope)) = shape.profile.at(radius) else {
                continue;
            };
            if mean < DIM * shape.halo.height {
                continue;
            }
            let relative = slope / mean;
            let (sin, cos) = libm::sincos(azimuth);
            residuals.push(Residual {
                ring: radius.round() as usize,
                sector: ((azimuth / std::f64::consts::TAU + 0.5) * N_SECTORS as f64) as usize
                    % N_SECTORS,
                value: value / mean,
                slope: [
                    -relative * sin,
                    -relative * cos,
                    -relative * radius * (cos * cos - sin * sin),
                    -relative * radius * 2.0 * sin * cos,
                ],
            });
        }
        take_out_rings(&mut residuals);
        residuals
    }

    fn votes(&self, model: &Model, shape: &Shape, stiffness: Stiffness) -> Vec<Vote> {
        let n_sectors = if self.blocks.len() < MIN_BLOCKS {
            N_SECTORS
        } else {
            1
        };
        let mut votes = Vec::with_capacity(self.blocks.len() * n_sectors);
        for block in 0..self.blocks.len() {
            let residuals = self.residuals(model, shape, block);
            let mut own = vec![Vote::new(block); n_sectors];
            let scatter = scatter_of(&residuals).max(1e-9);
            for residual in &residuals {
                let weight = 1.0 / (scatter * scatter);
                let huber = (HUBER * scatter / residual.value.abs().max(1e-300)).min(1.0);
                let yields = match stiffness {
                    Stiffness::Safe => huber,
                    Stiffness::True if huber < 1.0 => 0.0,
                    Stiffness::True => (1.0 + residual.value).max(0.0),
                };
                own[residual.sector * n_sectors / N_SECTORS].add(
                    huber * weight,
                    yields * weight,
                    &residual.slope,
                    residual.value,
                );
            }
            votes.extend(own);
        }
        votes
    }

    /// What a vote says of all parameters.
    fn expand(&self, vote: &Vote) -> (Array2<f64>, Array1<f64>) {
        let basis = &self.bases[vote.block];
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
        for vote in votes {
            let (m, r) = self.expand(vote);
            matrix.scaled_add(weights[vote.block], &m);
            right.scaled_add(weights[vote.block], &r);
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
                self.block_step(votes, block)
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

    fn block_step(&self, votes: &[Vote], block: usize) -> Option<(f64, f64)> {
        let mut whole = Vote::new(block);
        for vote in votes.iter().filter(|vote| vote.block == block) {
            for a in 0..4 {
                for b in 0..4 {
                    whole.matrix[a][b] += vote.matrix[a][b];
                }
                whole.right[a] += vote.right[a];
            }
        }
        whole.center_step()
    }

    fn block_centers(&self, model: &Model, votes: &[Vote], weights: &[f64]) -> Vec<BlockCenter> {
        let centers = self.blocks.iter().enumerate().filter_map(|(at, block)| {
            let (row, col) = model.center(&self.bases[at]);
            let (step_row, step_col) = self.block_step(votes, at)?;
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

    /// Jackknife over votes, widened by the correlation of neighboring blocks.
    fn covariance(&self, votes: &[Vote], weights: &[f64]) -> Array2<f64> {
        let mut covariance = Array2::zeros((N_PARAMETERS, N_PARAMETERS));
        let (matrix, _) = self.sum(votes, weights);
        let counted: Vec<&Vote> = votes
            .iter()
            .filter(|vote| weights[vote.block] > 0.0)
            .collect();
        let n = counted.len() as f64;
        for vote in &counted {
            let (own, right) = self.expand(vote);
            let weight = weights[vote.block];
            let rest = &matrix - &(own * weight);
            let Some(step) = self.solve(&rest, &(right * weight)) else {
                continue;
            };
            for a in 0..N_PARAMETERS {
                for b in 0..N_PARAMETERS {
                    covariance[[a, b]] += step[a] * step[b] * (n - 1.0) / n;
                }
            }
        }
        covariance * self.inflation(votes, weights)
    }

    /// Variance of a mean over blocks in units of that of independent ones: `1 + Σ ρ(lag) · pairs / n` as the blocks show it,
    /// at least the number of blocks in an independent area. The blocks alone show too little of it in small scans, where the
    /// plane takes out what they have in common.
    fn inflation(&self, votes: &[Vote], weights: &[f64]) -> f64 {
        let least = self
            .n_areas
            .map_or(1.0, |n_areas| (self.blocks.len() as f64 / n_areas).max(1.0));
        let steps: Vec<(f64, f64, [f64; 4])> = votes
            .iter()
            .filter(|vote| weights[vote.block] > 0.0)
            .map(|vote| {
                let block = &self.blocks[vote.block];
                let scale = |a: usize| vote.matrix[a][a].sqrt().max(1e-300);
                let scores = std::array::from_fn(|a| vote.right[a] / scale(a));
                (block.row, block.col, scores)
            })
            .collect();
        if self.blocks.len() < MIN_BLOCKS {
            return least;
        }
        let variance: f64 = steps
            .iter()
            .flat_map(|step| step.2)
            .map(|z| z * z)
            .sum::<f64>()
            / (4 * steps.len()) as f64;
        let pitch = |axis: fn(&Block) -> f64| {
            let mut values: Vec<f64> = self.blocks.iter().map(axis).collect();
            values.sort_by(f64::total_cmp);
            let n_lines = (self.blocks.len() as f64).sqrt();
            ((values[values.len() - 1] - values[0]) / (n_lines - 1.0).max(1.0)).max(1e-9)
        };
        let (pitch_row, pitch_col) = (pitch(|block| block.row), pitch(|block| block.col));
        let mut by_lag = [(0.0, 0_usize); 4];
        for (at, a) in steps.iter().enumerate() {
            for b in &steps[..at] {
                let lag = libm::hypot((a.0 - b.0) / pitch_row, (a.1 - b.1) / pitch_col).round();
                if lag >= 1.0 && lag <= by_lag.len() as f64 {
                    let product: f64 = a.2.iter().zip(&b.2).map(|(a, b)| a * b).sum();
                    let (sum, n) = &mut by_lag[lag as usize - 1];
                    *sum += product / 4.0;
                    *n += 1;
                }
            }
        }
        let mut inflation = 1.0;
        for (sum, n) in by_lag {
            let correlation = sum / (n.max(1) as f64 * variance.max(1e-300));
            // Beyond the first lag without correlation there is only noise.
            if correlation < 0.03 {
                break;
            }
            inflation += 2.0 * correlation * n as f64 / steps.len() as f64;
        }
        inflation.max(least)
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

/// The profile with its halo.
struct Shape {
    profile: RadialProfile,
    halo: HaloPeak,
}

/// A pixel's distance from the profile.
struct Residual {
    ring: usize,
    sector: usize,
    value: f64,
    slope: [f64; 4],
}

/// Divides values by their ring's mean and subtracts 1; subtracts ring means from slopes.
fn take_out_rings(residuals: &mut [Residual]) {
    let n_rings = residuals
        .iter()
        .map(|residual| residual.ring + 1)
        .max()
        .unwrap_or(0);
    let mut sums = vec![[0.0; 6]; n_rings];
    for residual in residuals.iter() {
        let sum = &mut sums[residual.ring];
        sum[0] += residual.value;
        for (sum, slope) in sum[1..5].iter_mut().zip(&residual.slope) {
            *sum += slope;
        }
        sum[5] += 1.0;
    }
    for residual in residuals.iter_mut() {
        let sum = &sums[residual.ring];
        let mean = sum[0] / sum[5];
        residual.value = if mean > 0.0 {
            residual.value / mean - 1.0
        } else {
            0.0
        };
        for (slope, sum_of) in residual.slope.iter_mut().zip(&sum[1..5]) {
            *slope -= sum_of / sum[5];
        }
    }
}

fn scatter_of(residuals: &[Residual]) -> f64 {
    let sizes: Vec<f64> = residuals
        .iter()
        .map(|residual| residual.value.abs())
        .collect();
    if sizes.is_empty() {
        return 1.0;
    }
    1.4826 * crate::rank::median(&sizes)
}

fn lost(problem: &str) -> Error {
    Error::CenterNotFound {
        problem: problem.to_owned(),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests {
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
        let fit = fit(&blocks, (8.0, 10.0), start, Fixed::default(), None).unwrap();
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
        let error = fit(&[block], (0.0, 0.0), start, Fixed::default(), None).unwrap_err();
        assert!(error.to_string().contains("no halo"), "{error}");
    }
}
