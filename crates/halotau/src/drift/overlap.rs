//! How alike are the speckles of two probes some way apart?
//!
//! ```text
//! K(d)² = [2 J₁(v) / v]²,   v = |d| · per_step          intensity correlation of two round probes at distance d
//! C(D)  = amplitude · K(D − shift)² · W(D) + offset     what neighbors D scan steps apart show
//! ```
//!
//! `per_step` is 2π · aperture radius · scan step for a perfect probe; it is fitted, because a real probe is wider. `W` is what the
//! movement of the pattern between the two positions leaves of the correlation.

use super::network::solve_small;

/// Intensity correlation of two round probes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Kernel {
    /// `v` a scan step.
    pub(super) per_step: f64,
}

/// First zero of J₁: probes farther apart share next to nothing.
pub(super) const FIRST_ZERO: f64 = 3.8317;

impl Kernel {
    /// `K²` at a distance in scan steps.
    pub(super) fn value(self, row: f64, col: f64) -> f64 {
        let field = airy(self.per_step * libm::hypot(row, col)).0;
        field * field
    }

    /// `K²` and its derivatives along row and column.
    pub(super) fn with_slopes(self, row: f64, col: f64) -> (f64, f64, f64) {
        let distance = libm::hypot(row, col);
        let (field, slope) = airy(self.per_step * distance);
        if distance == 0.0 {
            return (1.0, 0.0, 0.0);
        }
        let along = 2.0 * field * slope * self.per_step / distance;
        (field * field, along * row, along * col)
    }
}

/// `2 J₁(v)/v` and its derivative `−2 J₂(v)/v`.
fn airy(v: f64) -> (f64, f64) {
    if v < 1e-3 {
        // The series; the next terms are below rounding.
        return (1.0 - v * v / 8.0, -v / 4.0);
    }
    let first = libm::j1(v);
    let second = 2.0 * first / v - libm::j0(v);
    (2.0 * first / v, -2.0 * second / v)
}

/// One correlation over shifts: the value of each whole-step shift (row, col) and what the pattern's movement leaves there.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sample {
    pub(super) row: f64,
    pub(super) col: f64,
    pub(super) value: f64,
    pub(super) left: f64,
}

/// Where the correlation peaks.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Peak {
    pub(super) row: f64,
    pub(super) col: f64,
    pub(super) amplitude: f64,
}

/// Steps after which a search that still moves is given up.
const MAX_STEPS: usize = 30;

impl Kernel {
    /// Fits amplitude, offset and shift to a correlation near its peak; `None` where that does not settle inside `reach`
    /// scan steps from the start.
    pub(super) fn fit(self, samples: &[Sample], start: (f64, f64), reach: f64) -> Option<Peak> {
        let (mut row, mut col) = start;
        for _ in 0..MAX_STEPS {
            let mut matrix = [[0.0; 4]; 4];
            let mut right = [0.0; 4];
            let (amplitude, offset) = self.linear(samples, row, col)?;
            for sample in samples {
                let (value, along_row, along_col) =
                    self.with_slopes(sample.row - row, sample.col - col);
                let residual = sample.value - amplitude * value * sample.left - offset;
                let scale = -amplitude * sample.left;
                let slopes = [
                    value * sample.left,
                    1.0,
                    scale * along_row,
                    scale * along_col,
                ];
                for first in 0..4 {
                    right[first] += slopes[first] * residual;
                    for second in 0..4 {
                        matrix[first][second] += slopes[first] * slopes[second];
                    }
                }
            }
            let step = solve_small(matrix, right)?;
            // Half a peak at most: far from the peak the straight line leads astray.
            let largest = 1.0 / self.per_step;
            let (step_row, step_col) = (
                step[2].clamp(-largest, largest),
                step[3].clamp(-largest, largest),
            );
            row += step_row;
            col += step_col;
            if libm::hypot(row - start.0, col - start.1) > reach {
                return None;
            }
            if step_row.abs().max(step_col.abs()) < 1e-6 {
                return (amplitude > 0.0).then_some(Peak {
                    row,
                    col,
                    amplitude,
                });
            }
        }
        None
    }

    /// The best amplitude and offset at a shift.
    fn linear(self, samples: &[Sample], row: f64, col: f64) -> Option<(f64, f64)> {
        let (mut n, mut sx, mut sy, mut sxx, mut sxy) = (0.0, 0.0, 0.0, 0.0, 0.0);
        for sample in samples {
            let x = self.value(sample.row - row, sample.col - col) * sample.left;
            n += 1.0;
            sx += x;
            sy += sample.value;
            sxx += x * x;
            sxy += x * sample.value;
        }
        let spread = n * sxx - sx * sx;
        if spread <= 1e-12 * n * sxx {
            return None;
        }
        let amplitude = (n * sxy - sx * sy) / spread;
        Some((amplitude, (sy - amplitude * sx) / n))
    }

    /// The kernel whose peak at zero shift fits a correlation best, and its amplitude.
    pub(super) fn of(samples: &[Sample]) -> Option<(Self, f64)> {
        let cost = |ln_per_step: f64| -> f64 {
            let kernel = Self {
                per_step: libm::exp(ln_per_step),
            };
            kernel
                .linear(samples, 0.0, 0.0)
                .map_or(f64::INFINITY, |(amplitude, offset)| {
                    let misfit = samples.iter().map(|sample| {
                        let shape = kernel.value(sample.row, sample.col) * sample.left;
                        (sample.value - amplitude * shape - offset).powi(2)
                    });
                    misfit.sum()
                })
        };
        // From a probe of 40 steps to one of a third of a step; finer than 3 % is found by the parabola.
        let nodes: Vec<f64> = (0..=120)
            .map(|node| libm::log(0.05) + 0.04 * f64::from(node))
            .collect();
        let costs: Vec<f64> = nodes.iter().map(|&node| cost(node)).collect();
        let best = (0..nodes.len()).min_by(|&a, &b| costs[a].total_cmp(&costs[b]))?;
        let inner = best.clamp(1, nodes.len() - 2);
        let (before, here, after) = (costs[inner - 1], costs[inner], costs[inner + 1]);
        let bend = before - 2.0 * here + after;
        let shift = if bend > 0.0 && inner == best {
            0.5 * (before - after) / bend
        } else {
            0.0
        };
        let kernel = Self {
            per_step: libm::exp(nodes[best] + 0.04 * shift),
        };
        let (amplitude, _) = kernel.linear(samples, 0.0, 0.0)?;
        Some((kernel, amplitude))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples(kernel: Kernel, shift: (f64, f64)) -> Vec<Sample> {
        let steps = || (-4..=4).map(f64::from);
        steps()
            .flat_map(|row| steps().map(move |col| (row, col)))
            .map(|(row, col)| Sample {
                row,
                col,
                value: 0.4 * kernel.value(row - shift.0, col - shift.1) + 0.03,
                left: 1.0,
            })
            .collect()
    }

    #[test]
    fn a_shift_between_steps_comes_back() {
        let kernel = Kernel { per_step: 0.64 };
        let peak = kernel
            .fit(&samples(kernel, (0.37, -1.21)), (0.0, -1.0), 3.0)
            .expect("the peak lies inside");
        assert!((peak.row - 0.37).abs() < 1e-5 && (peak.col + 1.21).abs() < 1e-5);
        assert!((peak.amplitude - 0.4).abs() < 1e-5);
    }

    #[test]
    fn the_width_of_the_probe_comes_back() {
        for per_step in [0.3, 0.64, 2.0] {
            let kernel = Kernel { per_step };
            let (found, _) = Kernel::of(&samples(kernel, (0.0, 0.0))).expect("there is a peak");
            assert!((found.per_step / per_step - 1.0).abs() < 0.01, "{found:?}");
        }
    }
}
