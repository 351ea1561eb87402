//! What does the probe see at a place, over time?
//!
//! `|E(Q, t)|²` of the sample's noise under the probe, one discrete Fourier transform a pattern.

use std::sync::Arc;

use rustfft::num_complex::Complex32;
use rustfft::{Fft, FftPlanner};

use super::memory::Memory;
use super::noise::{SampleNoise, Window};

/// Two-dimensional transforms of patterns of one shape.
#[derive(Clone)]
pub(super) struct Diffraction {
    n_rows: usize,
    n_cols: usize,
    along_rows: Arc<dyn Fft<f32>>,
    along_cols: Arc<dyn Fft<f32>>,
}

impl std::fmt::Debug for Diffraction {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Diffraction({} x {})", self.n_rows, self.n_cols)
    }
}

/// Buffers of one thread, reused from position to position.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    /// Noise, then sample, of a window at all times, `[time, row, col, (re, im)]`.
    sample: Vec<f32>,
    field: Vec<Complex32>,
    transposed: Vec<Complex32>,
    fft: Vec<Complex32>,
    /// `|E|²` of the last pattern, `[pattern row, pattern col]`.
    pub(super) intensity: Vec<f32>,
}

impl Diffraction {
    /// Plans the transforms.
    pub(super) fn new(n_rows: usize, n_cols: usize) -> Self {
        let mut planner = FftPlanner::new();
        Self {
            n_rows,
            n_cols,
            along_rows: planner.plan_fft_forward(n_rows),
            along_cols: planner.plan_fft_forward(n_cols),
        }
    }

    /// Prepares the sample in a window at all of `n_times`.
    pub(super) fn grow(
        &self,
        noise: &SampleNoise,
        memory: &Memory,
        window: Window,
        place: u64,
        n_times: usize,
        scratch: &mut Scratch,
    ) {
        let n_values = 2 * window.len();
        scratch.sample.resize(n_times * n_values, 0.0);
        for (time, cells) in scratch.sample.chunks_exact_mut(n_values).enumerate() {
            noise.fill(window, time, place, cells);
        }
        memory.evolve(&mut scratch.sample, n_values);
    }

    /// Writes `|E|²` at a time to `scratch.intensity`; the probe covers `inner`, a part of the window that was grown.
    pub(super) fn intensity(
        &self,
        probe: &[Complex32],
        window: Window,
        inner: Window,
        time: usize,
        scratch: &mut Scratch,
    ) {
        let cells = &scratch.sample[time * 2 * window.len()..][..2 * window.len()];
        let skip_rows = (inner.first_row - window.first_row) as usize;
        let skip_cols = (inner.first_col - window.first_col) as usize;
        scratch.field.clear();
        for (row, probe) in probe.chunks_exact(self.n_cols).enumerate() {
            let line = 2 * ((row + skip_rows) * window.n_cols + skip_cols);
            let cells = &cells[line..line + 2 * self.n_cols];
            let product = probe
                .iter()
                .zip(cells.chunks_exact(2))
                .map(|(probe, cell)| probe * Complex32::new(cell[0], cell[1]));
            scratch.field.extend(product);
        }

        let n_scratch = self
            .along_rows
            .get_inplace_scratch_len()
            .max(self.along_cols.get_inplace_scratch_len());
        scratch.fft.resize(n_scratch, Complex32::default());
        let (n_rows, n_cols) = (self.n_rows, self.n_cols);
        self.along_cols
            .process_with_scratch(&mut scratch.field, &mut scratch.fft);
        scratch
            .transposed
            .resize(n_rows * n_cols, Complex32::default());
        for (row, line) in scratch.field.chunks_exact(n_cols).enumerate() {
            for (col, value) in line.iter().enumerate() {
                scratch.transposed[col * n_rows + row] = *value;
            }
        }
        self.along_rows
            .process_with_scratch(&mut scratch.transposed, &mut scratch.fft);
        scratch.intensity.resize(n_rows * n_cols, 0.0);
        for (row, line) in scratch.intensity.chunks_exact_mut(n_cols).enumerate() {
            for (col, value) in line.iter_mut().enumerate() {
                *value = scratch.transposed[col * n_rows + row].norm_sqr();
            }
        }
    }
}
