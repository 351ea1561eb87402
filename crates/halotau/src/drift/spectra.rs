//! Correlation of every pair of scans over all shifts, by Fourier transforms over the scan.
//!
//! ```text
//! Σ over r of y(i; r) y(j; r + D) = F⁻¹[conj(F y(i)) · F y(j)](D)         images padded with zeros
//! ```

use std::sync::Arc;

use ndarray::{Array2, ArrayView3};
use rayon::prelude::*;
use rustfft::num_complex::Complex32;
use rustfft::{Fft, FftPlanner};

use crate::conditions::sample::{Blocks, N_GROUPS};

/// Spectra of pairs that are in memory at once.
pub(crate) const MAX_SPECTRA_BYTES: usize = 64 << 20;

/// Correlations over shifts of one pair of scans, one a group of pixels.
pub(super) struct PairMap {
    pub(super) first: usize,
    pub(super) second: usize,
    /// Sum of products, `[group][shift]`.
    pub(super) sums: Vec<Vec<f32>>,
    /// Products that were summed, a pixel, `[shift]`.
    pub(super) counts: Vec<f32>,
}

/// Whole-step shifts up to a reach along either direction.
pub(super) struct Shifts {
    pub(super) rows: i64,
    pub(super) cols: i64,
}

impl Shifts {
    /// How many.
    pub(super) fn len(&self) -> usize {
        ((2 * self.rows + 1) * (2 * self.cols + 1)) as usize
    }

    /// The shift (row, col) of an index.
    pub(super) fn at(&self, index: usize) -> (i64, i64) {
        let width = 2 * self.cols + 1;
        (
            index as i64 / width - self.rows,
            index as i64 % width - self.cols,
        )
    }
}

/// The smallest length of small factors that is not below `n`.
fn fast_length(n: usize) -> usize {
    (n..)
        .find(|&length| {
            let mut rest = length;
            for factor in [2, 3, 5] {
                while rest.is_multiple_of(factor) {
                    rest /= factor;
                }
            }
            rest == 1
        })
        .unwrap_or(n)
}

/// A two-dimensional transform of images that are padded with zeros, so that opposite edges do not meet.
struct Transform {
    rows: usize,
    cols: usize,
    along_row: Arc<dyn Fft<f32>>,
    along_col: Arc<dyn Fft<f32>>,
    back_row: Arc<dyn Fft<f32>>,
    back_col: Arc<dyn Fft<f32>>,
}

impl Transform {
    fn new(rows: usize, cols: usize) -> Self {
        let mut planner = FftPlanner::new();
        Self {
            rows,
            cols,
            along_row: planner.plan_fft_forward(cols),
            along_col: planner.plan_fft_forward(rows),
            back_row: planner.plan_fft_inverse(cols),
            back_col: planner.plan_fft_inverse(rows),
        }
    }

    fn forward(&self, image: &Array2<f32>) -> Vec<Complex32> {
        let mut data = vec![Complex32::default(); self.rows * self.cols];
        for ((row, col), &value) in image.indexed_iter() {
            data[row * self.cols + col].re = value;
        }
        self.along_row.process(&mut data);
        self.columns(&mut data, &self.along_col);
        data
    }

    fn back(&self, spectrum: &[Complex32]) -> Vec<f32> {
        let mut data = spectrum.to_vec();
        self.columns(&mut data, &self.back_col);
        self.back_row.process(&mut data);
        let scale = 1.0 / (self.rows * self.cols) as f32;
        data.into_iter().map(|value| value.re * scale).collect()
    }

    fn columns(&self, data: &mut [Complex32], fft: &Arc<dyn Fft<f32>>) {
        let mut turned = vec![Complex32::default(); data.len()];
        for row in 0..self.rows {
            for col in 0..self.cols {
                turned[col * self.rows + row] = data[row * self.cols + col];
            }
        }
        fft.process(&mut turned);
        for row in 0..self.rows {
            for col in 0..self.cols {
                data[row * self.cols + col] = turned[col * self.rows + row];
            }
        }
    }
}

/// The correlations of pairs of used scans.
pub(super) fn correlate(
    blocks: &Blocks,
    scale: ArrayView3<'_, f64>,
    times: &[usize],
    pairs: &[(usize, usize)],
    shifts: &Shifts,
) -> Vec<PairMap> {
    let (_, n_rows, n_cols) = scale.dim();
    let transform = Transform::new(
        fast_length(n_rows + shifts.rows as usize),
        fast_length(n_cols + shifts.cols as usize),
    );
    let n_fft = transform.rows * transform.cols;
    let extract = |spectrum: &[Complex32]| -> Vec<f32> {
        let image = transform.back(spectrum);
        (0..shifts.len())
            .map(|index| {
                let (row, col) = shifts.at(index);
                let row = row.rem_euclid(transform.rows as i64) as usize;
                let col = col.rem_euclid(transform.cols as i64) as usize;
                image[row * transform.cols + col]
            })
            .collect()
    };
    let there: Vec<Vec<Complex32>> = times
        .par_iter()
        .map(|&time| {
            let image = Array2::from_shape_fn((n_rows, n_cols), |(row, col)| {
                if usable(scale[[time, row, col]]) {
                    1.0
                } else {
                    0.0
                }
            });
            transform.forward(&image)
        })
        .collect();
    let mut maps = Vec::with_capacity(pairs.len());
    for batch in pairs.chunks((MAX_SPECTRA_BYTES / (n_fft * size_of::<Complex32>())).max(1)) {
        let mut sums: Vec<Vec<Vec<f32>>> = vec![Vec::with_capacity(N_GROUPS); batch.len()];
        for group in 0..N_GROUPS {
            let mut spectra = vec![vec![Complex32::default(); n_fft]; batch.len()];
            let members = blocks.values.outer_iter().zip(&blocks.group);
            for (values, _) in members.filter(|(_, of)| **of == group) {
                let images = fluctuations(values, scale, times);
                let transformed: Vec<Vec<Complex32>> = images
                    .par_iter()
                    .map(|image| transform.forward(image))
                    .collect();
                spectra
                    .par_iter_mut()
                    .zip(batch)
                    .for_each(|(spectrum, &(first, second))| {
                        let both = transformed[first].iter().zip(&transformed[second]);
                        for (sum, (one, other)) in spectrum.iter_mut().zip(both) {
                            *sum += one.conj() * other;
                        }
                    });
            }
            let extracted: Vec<Vec<f32>> = spectra
                .par_iter()
                .map(|spectrum| extract(spectrum))
                .collect();
            for (sums, extracted) in sums.iter_mut().zip(extracted) {
                sums.push(extracted);
            }
        }
        let made: Vec<PairMap> = batch
            .par_iter()
            .zip(sums)
            .map(|(&(first, second), sums)| {
                let product: Vec<Complex32> = there[first]
                    .iter()
                    .zip(&there[second])
                    .map(|(one, other)| one.conj() * other)
                    .collect();
                PairMap {
                    first,
                    second,
                    sums,
                    counts: extract(&product),
                }
            })
            .collect();
        maps.extend(made);
    }
    maps
}

fn usable(scale: f64) -> bool {
    scale > 0.0
}

/// Relative fluctuation of a block about its mean over all frames, an image a used scan; 0 where a frame is left out.
pub(super) fn fluctuations(
    values: ArrayView3<'_, f32>,
    scale: ArrayView3<'_, f64>,
    times: &[usize],
) -> Vec<Array2<f32>> {
    let (_, n_rows, n_cols) = scale.dim();
    let relative = |time: usize, row: usize, col: usize| {
        let scale = scale[[time, row, col]];
        let value = f64::from(values[[time, row, col]]) / scale;
        (usable(scale) && value.is_finite()).then_some(value)
    };
    let (mut sum, mut n) = (0.0, 0.0);
    for &time in times {
        for row in 0..n_rows {
            for col in 0..n_cols {
                if let Some(value) = relative(time, row, col) {
                    sum += value;
                    n += 1.0;
                }
            }
        }
    }
    let mean = sum / n;
    times
        .iter()
        .map(|&time| {
            Array2::from_shape_fn((n_rows, n_cols), |(row, col)| {
                relative(time, row, col).map_or(0.0, |value| (value / mean - 1.0) as f32)
            })
        })
        .collect()
}
