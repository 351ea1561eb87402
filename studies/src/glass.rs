//! A moving glass that shares nothing with the simulation of halotau.
//!
//! Every pattern pixel is a speckle of its own: a random field on the grid of the scan, seen through the aperture of the probe at the
//! position to which the sample has moved. How neighbors of different relaxation times share their memory can be chosen.

use std::f64::consts::TAU;
use std::sync::Arc;

use halotau::ndarray::{Array2, Array5};
use rand_distr::{Distribution, Poisson, StandardNormal};
use rand_xoshiro::Xoshiro256PlusPlus;
use rand_xoshiro::rand_core::SeedableRng;
use rayon::prelude::*;
use rustfft::num_complex::Complex32;
use rustfft::{Fft, FftPlanner};

/// Whose relaxation time is it?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Memory {
    /// Every atom keeps its own time.
    OfAtoms,
    /// The pattern of a position relaxes with the time of that position.
    OfPositions,
}

/// What moves.
#[derive(Debug, Clone)]
pub(crate) struct Glass {
    pub(crate) seed: u64,
    pub(crate) n_rows: usize,
    pub(crate) n_cols: usize,
    pub(crate) n_times: usize,
    pub(crate) step_nm: f64,
    /// Radius of the aperture, 1/nm.
    pub(crate) aperture_per_nm: f64,
    /// Relaxation time in scans at the sample's point (row, col), median over the scan.
    pub(crate) tau_scans: f64,
    /// Standard deviation of ln tau.
    pub(crate) ln_tau_spread: f64,
    /// Correlation length of ln tau, scan steps.
    pub(crate) tau_length: f64,
    pub(crate) memory: Memory,
    /// Mean counts of a pixel.
    pub(crate) counts: f64,
    /// Displacement of the sample's point under a position, scan steps, `[time]`.
    pub(crate) course: Vec<(f64, f64)>,
    /// Change of thickness across all columns, as a share of its mean.
    pub(crate) thickness_gradient: f64,
    /// Distance of a scan position to the edge, scan steps, negative in vacuum; none without an edge.
    pub(crate) edge: Option<fn(f64, f64) -> f64>,
    /// Current of each scan, `[time]`, and its spread from frame to frame.
    pub(crate) current: Vec<f64>,
    pub(crate) flicker: f64,
}

/// Pattern of 18 x 18 pixels of 0.75 1/nm, center (8.5, 8.5).
pub(crate) const SIDE: usize = 18;
pub(crate) const Q_STEP_PER_NM: f64 = 0.75;

/// Standard deviation of the probe across an edge, nm.
const EDGE_WIDTH_NM: f64 = 0.3;

/// Root of the contrast, 0.5.
const CONTRAST_ROOT: f32 = 0.707;

/// Classes of relaxation times where positions have their own.
const N_CLASSES: usize = 8;

/// Periodic border beyond the scan, scan steps.
const BORDER: usize = 14;

fn stream(seed: u64, item: u64) -> Xoshiro256PlusPlus {
    Xoshiro256PlusPlus::seed_from_u64(
        seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ (item + 1).wrapping_mul(0xd1b5_4a32_d192_ed03),
    )
}

impl Glass {
    /// Counts `[time, row, col, pattern row, pattern col]`.
    pub(crate) fn counts(&self) -> Array5<u16> {
        let pixels: Vec<(usize, usize)> = (0..SIDE)
            .flat_map(|row| (0..SIDE).map(move |col| (row, col)))
            .filter(|&(row, col)| {
                let radius = (row as f64 - 8.5).hypot(col as f64 - 8.5) * Q_STEP_PER_NM;
                (2.9..5.9).contains(&radius)
            })
            .collect();
        let flicker = self.flicker_map();
        let made: Vec<Vec<u16>> = pixels
            .par_iter()
            .enumerate()
            .map(|(at, _)| self.pixel(at as u64, &flicker))
            .collect();
        let mut counts = Array5::zeros((self.n_times, self.n_rows, self.n_cols, SIDE, SIDE));
        for (&(a, b), made) in pixels.iter().zip(&made) {
            let mut made = made.iter();
            for time in 0..self.n_times {
                for row in 0..self.n_rows {
                    for col in 0..self.n_cols {
                        counts[[time, row, col, a, b]] = *made.next().expect("one a frame");
                    }
                }
            }
        }
        counts
    }

    fn flicker_map(&self) -> Vec<f64> {
        let mut rng = stream(self.seed, 1 << 40);
        (0..self.n_times * self.n_rows * self.n_cols)
            .map(|at| {
                let z: f64 = StandardNormal.sample(&mut rng);
                (self.current[at / (self.n_rows * self.n_cols)] * (1.0 + self.flicker * z)).max(0.0)
            })
            .collect()
    }

    fn grid(&self) -> (usize, usize) {
        (self.n_rows + BORDER, self.n_cols + BORDER)
    }

    /// ln tau over the grid, periodic; standardized over the scan.
    fn ln_tau(&self) -> Array2<f64> {
        let (rows, cols) = self.grid();
        let mut rng = stream(self.seed, 1 << 41);
        let white: Vec<f64> = (0..rows * cols)
            .map(|_| StandardNormal.sample(&mut rng))
            .collect();
        let width = self.tau_length / 2.0;
        let window = |distance: f64| (-distance * distance / (2.0 * width * width)).exp();
        let apart = |a: usize, b: usize, n: usize| {
            let d = a.abs_diff(b);
            d.min(n - d) as f64
        };
        let along: Vec<f64> = (0..rows * cols)
            .map(|at| {
                let (row, col) = (at / cols, at % cols);
                (0..cols)
                    .map(|other| window(apart(col, other, cols)) * white[row * cols + other])
                    .sum()
            })
            .collect();
        let field = Array2::from_shape_fn((rows, cols), |(row, col)| {
            (0..rows)
                .map(|other| window(apart(row, other, rows)) * along[other * cols + col])
                .sum::<f64>()
        });
        let inside: Vec<f64> = (0..self.n_rows)
            .flat_map(|row| (0..self.n_cols).map(move |col| (row, col)))
            .map(|at| field[at])
            .collect();
        let mean = inside.iter().sum::<f64>() / inside.len() as f64;
        let spread =
            (inside.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / inside.len() as f64).sqrt();
        field.mapv(|v| self.tau_scans.ln() + self.ln_tau_spread * (v - mean) / spread)
    }

    /// Counts of one pixel, `[time, row, col]`.
    fn pixel(&self, pixel: u64, flicker: &[f64]) -> Vec<u16> {
        let (rows, cols) = self.grid();
        let n = rows * cols;
        let ln_tau = self.ln_tau();
        let tau: Vec<f64> = ln_tau.iter().map(|v| v.exp()).collect();
        let mut rng = stream(self.seed, pixel);
        let mut planner = FftPlanner::new();
        let transform = Transform::new(&mut planner, rows, cols);
        // Classes of tau, or one class whose cells differ.
        let class_tau: Vec<Vec<f64>>;
        let class_of: Vec<usize>;
        match self.memory {
            Memory::OfAtoms => {
                class_tau = vec![tau];
                class_of = vec![0; n];
            }
            Memory::OfPositions => {
                let (low, high) = (
                    self.tau_scans.ln() - 2.0 * self.ln_tau_spread,
                    self.tau_scans.ln() + 2.0 * self.ln_tau_spread,
                );
                let of = |k: usize| low + (high - low) * (k as f64 + 0.5) / N_CLASSES as f64;
                class_tau = (0..N_CLASSES).map(|k| vec![of(k).exp(); n]).collect();
                class_of = ln_tau
                    .iter()
                    .map(|v| {
                        (((v - low) / (high - low).max(1e-9) * N_CLASSES as f64).max(0.0) as usize)
                            .min(N_CLASSES - 1)
                    })
                    .collect();
            }
        }
        let draw = |rng: &mut Xoshiro256PlusPlus| -> Vec<Complex32> {
            (0..n)
                .map(|_| Complex32::new(StandardNormal.sample(rng), StandardNormal.sample(rng)))
                .collect()
        };
        let start = draw(&mut rng);
        let mut fields = vec![start; class_tau.len()];
        let mut counts = Vec::with_capacity(self.n_times * self.n_rows * self.n_cols);
        for time in 0..self.n_times {
            if time > 0 {
                let fresh = draw(&mut rng);
                for (field, tau) in fields.iter_mut().zip(&class_tau) {
                    for ((value, &fresh), tau) in field.iter_mut().zip(&fresh).zip(tau) {
                        let left = (-1.0 / tau).exp();
                        *value = *value * left as f32 + fresh * (1.0 - left * left).sqrt() as f32;
                    }
                }
            }
            let course = self.course[time];
            let seen: Vec<Vec<f32>> = fields
                .iter()
                .map(|field| self.intensity(&transform, field, course))
                .collect();
            for row in 0..self.n_rows {
                for col in 0..self.n_cols {
                    let nearest = |at: usize, moved: f64, n: usize| {
                        (at as f64 + moved).round().rem_euclid(n as f64) as usize % n
                    };
                    let point = nearest(row, course.0, rows) * cols + nearest(col, course.1, cols);
                    let intensity = f64::from(seen[class_of[point]][row * cols + col]);
                    let level = self.level(row as f64 + course.0, col as f64 + course.1);
                    let current = flicker[(time * self.n_rows + row) * self.n_cols + col];
                    let mean = self.counts * level * current * intensity;
                    let count: f64 = if mean > 0.0 {
                        Poisson::new(mean).map_or(0.0, |p| p.sample(&mut rng))
                    } else {
                        0.0
                    };
                    counts.push(count as u16);
                }
            }
        }
        counts
    }

    /// Intensity of a place relative to the middle of the sample.
    fn level(&self, row: f64, col: f64) -> f64 {
        let last = (self.n_cols as f64 - 1.0).max(1.0);
        let thickness = (1.0 + self.thickness_gradient * (col / last - 0.5)).max(0.0);
        let inside = self.edge.map_or(1.0, |edge| {
            0.5 * libm::erfc(-edge(row, col) * self.step_nm / (EDGE_WIDTH_NM * 2f64.sqrt()))
        });
        thickness * inside
    }

    fn intensity(
        &self,
        transform: &Transform,
        field: &[Complex32],
        course: (f64, f64),
    ) -> Vec<f32> {
        let (rows, cols) = self.grid();
        let mut data = field.to_vec();
        transform.forward(&mut data);
        let frequency = |at: usize, n: usize| {
            let at = if 2 * at > n {
                at as f64 - n as f64
            } else {
                at as f64
            };
            at / n as f64
        };
        let mut passed = 0.0;
        for (at, value) in data.iter_mut().enumerate() {
            let (down, right) = (frequency(at / cols, rows), frequency(at % cols, cols));
            if down.hypot(right) / self.step_nm < self.aperture_per_nm {
                let phase = TAU * (down * course.0 + right * course.1);
                *value *= Complex32::new(phase.cos() as f32, phase.sin() as f32);
                passed += 1.0;
            } else {
                *value = Complex32::default();
            }
        }
        transform.back(&mut data);
        // Unit variance of either part: |field|² has mean 2, and `passed` of n waves are left, n² from the transforms.
        let scale = 1.0 / (2.0 * passed * (rows * cols) as f32);
        data.iter()
            .map(|value| 1.0 + CONTRAST_ROOT * (value.norm_sqr() * scale - 1.0))
            .collect()
    }
}

struct Transform {
    rows: usize,
    cols: usize,
    forward: (Arc<dyn Fft<f32>>, Arc<dyn Fft<f32>>),
    back: (Arc<dyn Fft<f32>>, Arc<dyn Fft<f32>>),
}

impl Transform {
    fn new(planner: &mut FftPlanner<f32>, rows: usize, cols: usize) -> Self {
        Self {
            rows,
            cols,
            forward: (
                planner.plan_fft_forward(cols),
                planner.plan_fft_forward(rows),
            ),
            back: (
                planner.plan_fft_inverse(cols),
                planner.plan_fft_inverse(rows),
            ),
        }
    }

    fn forward(&self, data: &mut [Complex32]) {
        self.both(data, &self.forward);
    }

    fn back(&self, data: &mut [Complex32]) {
        self.both(data, &self.back);
    }

    fn both(
        &self,
        data: &mut [Complex32],
        (along_row, along_col): &(Arc<dyn Fft<f32>>, Arc<dyn Fft<f32>>),
    ) {
        along_row.process(data);
        let mut turned = vec![Complex32::default(); data.len()];
        for row in 0..self.rows {
            for col in 0..self.cols {
                turned[col * self.rows + row] = data[row * self.cols + col];
            }
        }
        along_col.process(&mut turned);
        for row in 0..self.rows {
            for col in 0..self.cols {
                data[row * self.cols + col] = turned[col * self.rows + row];
            }
        }
    }
}
