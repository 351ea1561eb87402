//! What does one block say of center and ellipse?

use ndarray::Array2;

use super::super::linear::solve;
use super::super::profile::{HaloPeak, RadialProfile};
use super::{Block, Model};

/// Huber's constant: 95 % efficiency for normal errors.
const HUBER: f64 = 1.345;

/// Pixels nearer to the center than this share of the halo's radius are not fitted: there are the edge of a stop and the
/// direct beam.
const INNER_SHARE: f64 = 0.45;

/// Rings dimmer than this share of the halo are noise.
const DIM: f64 = 0.02;

/// A ring of which less than this share of the circumference is seen has no mean.
const MIN_SEEN: f64 = 0.3;

/// The halo is looked for beyond this share of the outermost ring.
const BEYOND: f64 = 0.12;

/// A halo stands out from the valleys beside it by this share of itself.
const PROMINENCE: f64 = 0.04;

/// Undoes the ellipse of a displacement from the center: (distance, row / distance, col / distance).
pub(super) fn polar(undo: &[[f64; 2]; 2], row: f64, col: f64) -> (f64, f64, f64) {
    let (row, col) = (
        undo[0][0] * row + undo[0][1] * col,
        undo[1][0] * row + undo[1][1] * col,
    );
    let radius = (row * row + col * col).sqrt();
    let inverse = 1.0 / radius.max(1e-12);
    (radius, row * inverse, col * inverse)
}

/// Sums of value, distance and number of the pixels of a ring.
pub(super) type RingSum = [f64; 3];

/// The profile with its halo.
pub(super) struct Shape {
    pub(super) profile: RadialProfile,
    pub(super) halo: HaloPeak,
    /// `[block][ring]`.
    pub(super) rings: Vec<Vec<RingSum>>,
}

impl Shape {
    /// The profile about the centers of all blocks; `None` where it has no halo.
    pub(super) fn of(
        blocks: &[Block],
        center: impl Fn(usize) -> (f64, f64),
        model: &Model,
    ) -> Option<Self> {
        let undo = model.ellipse().undoing();
        let of_block = |(at, block): (usize, &Block)| {
            let (row, col) = center(at);
            let mut rings: Vec<RingSum> = Vec::new();
            for ((r, c), &value) in block.pattern.indexed_iter() {
                if value.is_finite() {
                    let (radius, ..) = polar(&undo, r as f64 - row, c as f64 - col);
                    let ring = radius.round() as usize;
                    if rings.len() <= ring {
                        rings.resize(ring + 1, [0.0; 3]);
                    }
                    let sum = &mut rings[ring];
                    *sum = [sum[0] + value, sum[1] + radius, sum[2] + 1.0];
                }
            }
            rings
        };
        let rings: Vec<Vec<RingSum>> = blocks.iter().enumerate().map(of_block).collect();
        let mut sums: Vec<RingSum> = Vec::new();
        for block in &rings {
            sums.resize(sums.len().max(block.len()), [0.0; 3]);
            for (sum, ring) in sums.iter_mut().zip(block) {
                *sum = std::array::from_fn(|part| sum[part] + ring[part]);
            }
        }
        let (profile, halo) = profile_of(&sums, blocks.len() as f64)?;
        Some(Self {
            profile,
            halo,
            rings,
        })
    }
}

/// The profile of ring sums over a number of blocks.
pub(super) fn profile_of(sums: &[RingSum], n_blocks: f64) -> Option<(RadialProfile, HaloPeak)> {
    let mut profile = RadialProfile {
        radius: Vec::with_capacity(sums.len()),
        mean: Vec::with_capacity(sums.len()),
        seen: Vec::with_capacity(sums.len()),
    };
    for (ring, &[value, radius, n]) in sums.iter().enumerate() {
        let whole = n_blocks * (std::f64::consts::TAU * ring as f64).max(1.0);
        let seen = n / whole;
        let is_seen = seen > MIN_SEEN;
        profile.seen.push(seen.min(1.0));
        profile
            .radius
            .push(if is_seen { radius / n } else { ring as f64 });
        profile
            .mean
            .push(if is_seen { value / n } else { f64::NAN });
    }
    let halo = profile.halo(BEYOND * profile.outermost(), PROMINENCE)?;
    Some((profile, halo))
}

/// A pixel's distance from the profile, as a share of it, and the change of that with (row, col, e₁, e₂).
#[derive(Debug, Clone, Copy)]
pub(super) struct Residual {
    /// Row and column of the pixel.
    pub(super) at: (usize, usize),
    pub(super) ring: usize,
    /// Sine and cosine of its azimuth.
    pub(super) direction: (f64, f64),
    pub(super) value: f64,
    pub(super) slope: [f64; 4],
}

/// Relative residuals about the profile and their slopes, ring means taken out.
pub(super) fn residuals(
    pattern: &Array2<f64>,
    (row, col): (f64, f64),
    model: &Model,
    shape: &Shape,
) -> Vec<Residual> {
    let undo = model.ellipse().undoing();
    let inner = INNER_SHARE * shape.halo.radius_px;
    let mut residuals: Vec<Residual> = Vec::new();
    for (at, &value) in pattern.indexed_iter() {
        if !value.is_finite() {
            continue;
        }
        let (radius, sin, cos) = polar(&undo, at.0 as f64 - row, at.1 as f64 - col);
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
        residuals.push(Residual {
            at,
            ring: radius.round() as usize,
            direction: (sin, cos),
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

/// Values within Huber's limits of their own scatter, and that scatter.
pub(super) fn limited(residuals: &[Residual]) -> (Vec<f64>, f64) {
    let sizes: Vec<f64> = residuals
        .iter()
        .map(|residual| residual.value.abs())
        .collect();
    // 1.4826 makes the median absolute residual a standard deviation for normal errors.
    let scatter = if sizes.is_empty() {
        1.0
    } else {
        (1.4826 * crate::rank::median(&sizes)).max(1e-9)
    };
    let limit = HUBER * scatter;
    let values = residuals.iter();
    (
        values
            .map(|residual| residual.value.clamp(-limit, limit))
            .collect(),
        scatter,
    )
}

/// Normal equations of one block: of (d_row, d_col, e₁, e₂).
#[derive(Debug, Clone)]
pub(super) struct Vote {
    pub(super) matrix: [[f64; 4]; 4],
    pub(super) right: [f64; 4],
}

impl Vote {
    pub(super) fn of(residuals: &[Residual]) -> Self {
        let mut vote = Self {
            matrix: [[0.0; 4]; 4],
            right: [0.0; 4],
        };
        let (values, scatter) = limited(residuals);
        let weight = 1.0 / (scatter * scatter);
        for (residual, value) in residuals.iter().zip(values) {
            // What Huber's limits hold back yields as little as it pulls, so that no step goes too far, however far away
            // the minimum is.
            let yields = if value == residual.value {
                weight
            } else {
                weight * value / residual.value
            };
            for (a, slope_a) in residual.slope.iter().enumerate() {
                for (b, slope_b) in residual.slope.iter().enumerate() {
                    vote.matrix[a][b] += yields * slope_a * slope_b;
                }
                vote.right[a] += weight * slope_a * value;
            }
        }
        vote
    }

    /// Step of the center that this vote alone asks for.
    pub(super) fn center_step(&self) -> Option<(f64, f64)> {
        let m = &self.matrix;
        let matrix = ndarray::arr2(&[[m[0][0], m[0][1]], [m[1][0], m[1][1]]]);
        let step = solve(&matrix, &ndarray::arr1(&self.right[..2]))?;
        Some((step[0], step[1]))
    }
}
