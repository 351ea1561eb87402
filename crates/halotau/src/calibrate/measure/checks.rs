//! Is what was measured the same by another way, over time, and from pixel to pixel?

use ndarray::Array2;

use super::super::geometry::{self, Fit};
use super::super::sectors::{self, Part};
use super::super::{Ellipse, pixels, symmetry};
use super::{Measured, SectorRing, WithError, Work, ellipse_errors};
use crate::series::Warning;

/// Fewer areas than this do not tell a gain map from the speckle that both halves of the scan share.
const MIN_AREAS: f64 = 24.0;

/// Two ways to the center that differ by more than this many standard errors, and by more than a fifth of a pixel of the
/// grid, contradict each other.
const CONTRADICTION: f64 = 4.0;

/// Two ellipses that differ by less do no harm: it moves the halo by a tenth of a binned pixel.
const WORTH_DISTORTION: f64 = 0.005;

/// What mask and paraboloid add to the error of the center by symmetry, pixels of the grid.
const SYMMETRY_BIAS: f64 = 0.02;

impl Work<'_> {
    /// The center by symmetry, with the scatter over parts of the scan.
    pub(super) fn symmetry(&self, measured: &Measured) -> Option<[WithError; 2]> {
        let clear = self.clear();
        let blocks = &self.survey.blocks;
        let counts: Vec<f64> = blocks
            .iter()
            .map(|block| {
                let lit = block.mean.iter().zip(&clear).filter(|(_, clear)| **clear);
                lit.map(|(mean, _)| mean.max(0.0))
                    .filter(|mean| mean.is_finite())
                    .sum()
            })
            .collect();
        let start = self
            .grid
            .of((measured.center[0].value, measured.center[1].value));
        let of = |left_out: Option<usize>, start: (f64, f64), reach: usize| {
            let (mut sum, mut n) = (Array2::<f64>::zeros(clear.dim()), 0.0);
            let (mut row, mut col) = (0.0, 0.0);
            for (at, block) in blocks.iter().enumerate() {
                if left_out == Some(at) {
                    continue;
                }
                let weight = block.n_frames as f64;
                sum.scaled_add(weight, &block.mean);
                // Brighter blocks count for more in the sum.
                let weight = weight * counts[at];
                let (u, v) = (block.row - self.middle().0, block.col - self.middle().1);
                let (down, across) = measured.descan.at(u, v);
                (row, col) = (row + weight * down, col + weight * across);
                n += weight;
            }
            let pattern = self.grid.bin(&sum, &clear);
            let found = symmetry::center(&pattern, start, reach)?;
            let (found_row, found_col) = self.grid.native(found);
            // The mean pattern of these blocks lies where their mean descan puts it.
            let place = (found_row - row / n, found_col - col / n);
            Some((place, found))
        };
        let ((row, col), found) = of(None, start, symmetry::REACH)?;
        let replicates: Vec<(f64, f64)> = (0..blocks.len())
            .filter_map(|at| Some(of(Some(at), found, symmetry::NEAR + 2)?.0))
            .collect();
        let widened = (blocks.len() as f64 / measured.n_independent).sqrt();
        let error = |axis: fn(&(f64, f64)) -> f64| {
            let values: Vec<f64> = replicates.iter().map(axis).collect();
            libm::hypot(
                crate::statistics::jackknife_error(&values) * widened,
                SYMMETRY_BIAS * self.grid.scale(),
            )
        };
        Some([
            WithError {
                value: row,
                error: error(|at| at.0),
            },
            WithError {
                value: col,
                error: error(|at| at.1),
            },
        ])
    }

    /// Center and ellipse by the position of the halo in each direction, the descan followed.
    pub(super) fn sector_ring(&self, fit: &Fit) -> Option<SectorRing> {
        let clear = self.clear();
        let (u, v) = self.middle();
        let blocks = &self.survey.blocks;
        let patterns: Vec<Array2<f64>> = blocks
            .iter()
            .map(|block| self.grid.bin(&block.mean, &clear))
            .collect();
        let parts: Vec<Part<'_>> = patterns
            .iter()
            .zip(blocks)
            .map(|(pattern, block)| Part {
                pattern,
                center: fit
                    .model
                    .center(&geometry::basis(block.row - u, block.col - v)),
            })
            .collect();
        let [e1, e2] = fit.model.ellipse;
        let start = [0.0, 0.0, e1, e2, fit.halo.radius_px];
        let width = fit.profile.halo_width(&fit.halo);
        let (shape, left_out) = sectors::find(&parts, start, width)?;
        let n = left_out.len() as f64;
        if n < 3.0 {
            return None;
        }
        let mean = |at: usize| left_out.iter().map(|other| other[at]).sum::<f64>() / n;
        let lost = (1.0 - 1.0 / fit.n_independent).max(0.1);
        let factor = (n - 1.0) / fit.n_independent / lost;
        let covariance = |a: usize, b: usize| {
            let (mean_a, mean_b) = (mean(a), mean(b));
            let products = left_out
                .iter()
                .map(|other| (other[a] - mean_a) * (other[b] - mean_b));
            factor * products.sum::<f64>()
        };
        let scale = self.grid.scale();
        let (row, col) = self
            .grid
            .native((fit.model.row[0] + shape[0], fit.model.col[0] + shape[1]));
        let ellipse = Ellipse::of_components([shape[2], shape[3]]);
        let (distortion_error, angle_error_rad) =
            ellipse_errors(&ellipse, |a, b| covariance(2 + a, 2 + b));
        Some(SectorRing {
            center: [
                WithError {
                    value: row,
                    error: covariance(0, 0).sqrt() * scale,
                },
                WithError {
                    value: col,
                    error: covariance(1, 1).sqrt() * scale,
                },
            ],
            ellipse,
            distortion_error,
            angle_error_rad,
        })
    }

    pub(super) fn gain_spread(&self, fit: &Fit, good: &Array2<bool>) -> Option<WithError> {
        let blocks = &self.survey.blocks;
        let few = self
            .request
            .n_areas
            .is_some_and(|n_areas| n_areas < MIN_AREAS);
        if blocks.len() < 2 || few {
            return None;
        }
        // Halves across the longer side of the scan, which share the least of the probe.
        let along_cols = self.survey.shape.n_cols >= self.survey.shape.n_rows;
        let place = |at: &usize| {
            let block = &blocks[*at];
            if along_cols { block.col } else { block.row }
        };
        let mut order: Vec<usize> = (0..blocks.len()).collect();
        order.sort_by(|a, b| place(a).total_cmp(&place(b)));
        let mean = |members: &[usize]| {
            let mut sum = Array2::<f64>::zeros(good.dim());
            let mut n = 0.0;
            for &at in members {
                sum.scaled_add(blocks[at].n_frames as f64, &blocks[at].mean);
                n += blocks[at].n_frames as f64;
            }
            sum / n
        };
        let (first, second) = order.split_at(order.len() / 2);
        let halves = [mean(first), mean(second)];
        let (value, error) =
            pixels::gain_spread([&halves[0], &halves[1]], good, &self.flattening(fit))?;
        Some(WithError { value, error })
    }

    /// Whether two centers are farther apart than their errors and a fifth of a pixel of the grid explain.
    fn contradict(&self, one: &[WithError; 2], other: &[WithError; 2]) -> bool {
        one.iter().zip(other).any(|(a, b)| {
            let distance = (a.value - b.value).abs();
            let error = libm::hypot(a.error, if b.error.is_finite() { b.error } else { 0.0 });
            distance > CONTRADICTION * error && distance > 0.2 * self.grid.scale()
        })
    }

    pub(super) fn warnings(&self, measured: &Measured) -> Vec<Warning> {
        let mut warnings = Vec::new();
        let others = [
            ("symmetry", measured.symmetry_center),
            (
                "the ring in sectors",
                measured.sector_ring.map(|ring| ring.center),
            ),
        ];
        for (name, other) in others {
            if let Some(other) = other
                && self.request.center.is_none()
                && self.contradict(&measured.center, &other)
            {
                warnings.push(Warning::new(
                    "W081",
                    format!(
                        "The center from the halo ({:.2}, {:.2}) and from {name} ({:.2}, {:.2}) differ by more than their errors; \
                         look at the picture of the mean pattern: is something lit from one side, or part of the stop not masked?",
                        measured.center[0].value, measured.center[1].value, other[0].value, other[1].value
                    ),
                ));
            }
        }
        if let Some(ring) = &measured.sector_ring
            && self.request.measure_ellipse
        {
            let (one, other) = (measured.ellipse, ring.ellipse);
            let away = {
                let ([a, b], [c, d]) = (one.components(), other.components());
                libm::hypot(a - c, b - d)
            };
            let error = libm::hypot(measured.distortion_error, ring.distortion_error);
            if away > CONTRADICTION * error && away > WORTH_DISTORTION {
                warnings.push(Warning::new(
                    "W081",
                    format!(
                        "The ellipse from the halo ({:.2} % at {:.0} deg) and from the ring in sectors ({:.2} % at {:.0} deg) differ by \
                         more than their errors; look at the picture of the mean pattern: is the halo masked or overlaid on one side?",
                        100.0 * one.distortion,
                        one.angle_rad.to_degrees(),
                        100.0 * other.distortion,
                        other.angle_rad.to_degrees()
                    ),
                ));
            }
        }
        let strays = measured
            .blocks
            .iter()
            .filter(|block| block.weight == 0.0)
            .count();
        if 5 * strays > measured.blocks.len() {
            warnings.push(Warning::new(
                "W082",
                format!(
                    "{strays} of {} parts of the scan have a center that does not fit the others; look at the picture of the \
                     descan: is there an edge, a crystal or a second phase?",
                    measured.blocks.len()
                ),
            ));
        }
        warnings.extend(self.path_warning(measured));
        warnings
    }
}
