//! Light data: the pixels of a ring and nothing else, each a speckle of its own.
//!
//! ```text
//! I(p, t) = mean over modes of |E|²        E Gaussian, ⟨E(t) E*(t')⟩ = (1 − f) + f exp[−(|c(t) − c(t')|/tau)^stretch]
//! ⟨E(r) E*(r + d)⟩ = exp(−ln 2 d²/F²)       where positions share a probe of the full width F, and their noise before it is given a memory
//! ```

use halotau::correlate::two_time;
use halotau::dynamics::{Collector, CurveSettings, Dynamics, HalfRecord, Tiles};
use halotau::ndarray::{Array2, s};
use halotau::relax::{
    BaselineMode, ExponentFactor, KwwProblem, Stretch, Weights, fit, lag_weights,
};
use halotau::series::Position;
use rand_distr::{Distribution, StandardNormal};
use rand_xoshiro::Xoshiro256PlusPlus;
use rand_xoshiro::rand_core::SeedableRng;

/// What is simulated. Times are in records.
pub(crate) struct Light {
    pub(crate) seed: u64,
    pub(crate) side: usize,
    /// Full width of the probe in scan steps; none where positions share nothing.
    pub(crate) probe_steps: Option<f64>,
    pub(crate) n_times: usize,
    /// Speckles of each half of the directions.
    pub(crate) n_speckles: usize,
    /// Incoherent modes; the contrast is one over it.
    pub(crate) n_modes: usize,
    pub(crate) stretch: f64,
    /// Share of the intensity that moves.
    pub(crate) moving: f64,
    /// ln tau of a position.
    pub(crate) ln_tau: Box<dyn Fn(usize, usize) -> f64>,
    /// The sample's own time at a position.
    pub(crate) clock: Box<dyn Fn(f64, usize, usize) -> f64>,
}

impl Default for Light {
    fn default() -> Self {
        Self {
            seed: 1,
            side: 20,
            probe_steps: None,
            n_times: 48,
            n_speckles: 20,
            n_modes: 3,
            stretch: 1.0,
            moving: 1.0,
            ln_tau: Box::new(|_, _| (0.3_f64).ln()),
            clock: Box::new(|time, _, _| time),
        }
    }
}

/// Standard normal noise of a seed.
pub(crate) fn normal(seed: u64) -> impl FnMut() -> f64 {
    let mut random = Xoshiro256PlusPlus::seed_from_u64(seed);
    move || StandardNormal.sample(&mut random)
}

/// A map of independent normal values, smoothed over a Gaussian whose correlation falls to 1/e at `length` steps, with unit variance.
pub(crate) fn smooth(side: usize, length: f64, seed: u64) -> Array2<f64> {
    let mut next = normal(seed);
    let margin = (2.0 * length).ceil() as usize;
    let wide = side + 2 * margin;
    let white = Array2::from_shape_simple_fn((wide, wide), &mut next);
    let kernel = |d: f64| (-2.0 * d * d / (length * length)).exp();
    let mut weight = 0.0;
    let mut map = Array2::zeros((side, side));
    for rows in 0..=2 * margin {
        for cols in 0..=2 * margin {
            let k = kernel((rows as f64 - margin as f64).hypot(cols as f64 - margin as f64));
            weight += k * k;
            let part = white.slice(s![rows..rows + side, cols..cols + side]);
            map.scaled_add(k, &part);
        }
    }
    map / weight.sqrt()
}

impl Light {
    fn factor(&self, row: usize, col: usize) -> Array2<f64> {
        let n = self.n_times;
        let tau = (self.ln_tau)(row, col).exp();
        let clock: Vec<f64> = (0..n)
            .map(|time| (self.clock)(time as f64 / n as f64, row, col))
            .collect();
        let mut factor = Array2::<f64>::zeros((n, n));
        for late in 0..n {
            for early in 0..=late {
                let elapsed = (clock[late] - clock[early]).abs() / tau;
                let memory = (-elapsed.powf(self.stretch)).exp();
                let mut value = (1.0 - self.moving) + self.moving * memory;
                if late == early {
                    value += 1e-9;
                }
                let known: f64 = (0..early)
                    .map(|k| factor[[late, k]] * factor[[early, k]])
                    .sum();
                factor[[late, early]] = if late == early {
                    (value - known).max(1e-12).sqrt()
                } else {
                    (value - known) / factor[[early, early]]
                };
            }
        }
        factor
    }

    /// Real and imaginary parts of the fields of all pixels.
    fn n_fields(&self) -> usize {
        4 * self.n_speckles * self.n_modes
    }

    /// Noise of positions that share the probe, `[position][time, field]`.
    fn shared_noise(&self, probe_steps: f64, next: &mut impl FnMut() -> f64) -> Vec<Array2<f64>> {
        // A window of σ correlates as exp[−d²/(4σ²)].
        let sigma = probe_steps / (2.0 * std::f64::consts::LN_2.sqrt());
        let reach = (3.0 * sigma).ceil() as usize;
        let mut window: Vec<f64> = (0..=2 * reach)
            .map(|at| (-0.5 * ((at as f64 - reach as f64) / sigma).powi(2)).exp())
            .collect();
        let norm = window.iter().map(|w| w * w).sum::<f64>().sqrt();
        window.iter_mut().for_each(|w| *w /= norm);
        let (side, wide) = (self.side, self.side + 2 * reach);
        let shape = (self.n_times, self.n_fields());
        let mut noise = vec![Array2::<f64>::zeros(shape); side * side];
        for time in 0..shape.0 {
            for field in 0..shape.1 {
                let white = Array2::from_shape_simple_fn((wide, wide), &mut *next);
                let mut along_rows = Array2::<f64>::zeros((side, wide));
                for (at, &weight) in window.iter().enumerate() {
                    along_rows.scaled_add(weight, &white.slice(s![at..at + side, ..]));
                }
                let mut smooth = Array2::<f64>::zeros((side, side));
                for (at, &weight) in window.iter().enumerate() {
                    smooth.scaled_add(weight, &along_rows.slice(s![.., at..at + side]));
                }
                for (noise, &value) in noise.iter_mut().zip(&smooth) {
                    noise[[time, field]] = value;
                }
            }
        }
        noise
    }

    /// Counts of the pixels of both halves, `[time, pixel]`.
    fn pixels(&self, factor: &Array2<f64>, noise: &Array2<f64>) -> Array2<f64> {
        let n_pixels = 2 * self.n_speckles;
        let parts = 2 * self.n_modes;
        let fields = factor.dot(noise);
        Array2::from_shape_fn((self.n_times, n_pixels), |(time, pixel)| {
            (0..parts)
                .map(|part| fields[[time, pixel * parts + part]].powi(2))
                .sum()
        })
    }

    pub(crate) fn settings(&self) -> CurveSettings {
        let lag_s: Vec<f64> = (1..self.n_times)
            .map(|lag| lag as f64 / self.n_times as f64)
            .collect();
        CurveSettings {
            lag_s,
            record_s: 1.0,
            valid: vec![true; self.n_times],
            exponent_factor: ExponentFactor::Two,
            stretch: Stretch::Fixed(1.0),
            baseline: 1.0,
            tau_bounds_s: [0.1 / self.n_times as f64, 100.0],
            level: 0.95,
            step_nm: 1.0,
            probe_steps: self.probe_steps.unwrap_or(1.0),
        }
    }

    /// Mean curve of each position over all of its pixels, in the order of rows.
    pub(crate) fn curves(&self) -> Vec<Vec<f64>> {
        let mut next = normal(self.seed);
        let factor = self.factor(0, 0);
        let valid = vec![true; self.n_times];
        (0..self.side * self.side)
            .map(|_| {
                let shape = (self.n_times, self.n_fields());
                let noise = Array2::from_shape_simple_fn(shape, &mut next);
                let matrix = two_time(self.pixels(&factor, &noise).view()).unwrap();
                halotau::correlate::one_time(matrix.view(), &valid)
            })
            .collect()
    }

    /// All tests, and the number of positions that were flagged.
    pub(crate) fn dynamics(&self) -> (Dynamics, usize) {
        let settings = self.settings();
        let looked_at = Array2::from_elem((self.side, self.side), true);
        let mut collector = Collector::new(
            settings.clone(),
            Tiles::new(&looked_at, settings.probe_steps),
        );
        let mut next = normal(self.seed);
        let shared = self
            .probe_steps
            .map(|probe_steps| self.shared_noise(probe_steps, &mut next));
        let valid = vec![true; self.n_times];
        let pairs: Vec<usize> = (1..self.n_times).rev().collect();
        let weights = lag_weights(&pairs, Weights::LagCount);
        let mut known = None;
        for row in 0..self.side {
            for col in 0..self.side {
                let key = (
                    (self.ln_tau)(row, col).to_bits(),
                    (self.clock)(0.7, row, col).to_bits(),
                );
                if known.as_ref().is_none_or(|(k, _)| *k != key) {
                    known = Some((key, self.factor(row, col)));
                }
                let factor = &known.as_ref().unwrap().1;
                let own;
                let noise = match &shared {
                    Some(shared) => &shared[row * self.side + col],
                    None => {
                        let shape = (self.n_times, self.n_fields());
                        own = Array2::from_shape_simple_fn(shape, &mut next);
                        &own
                    }
                };
                let pixels = self.pixels(factor, noise);
                let position = Position { row, col };
                let whole = two_time(pixels.view()).unwrap();
                collector.add_matrix(position, whole.view());
                let halves: [HalfRecord; 2] = [0, 1].map(|half| {
                    let own =
                        pixels.slice(s![.., half * self.n_speckles..(half + 1) * self.n_speckles]);
                    let matrix = two_time(own).unwrap();
                    let g = halotau::correlate::one_time(matrix.view(), &valid);
                    let found = fit(&KwwProblem {
                        lag_s: &settings.lag_s,
                        g: &g,
                        weights: &weights,
                        exponent_factor: ExponentFactor::Two,
                        stretch: Stretch::Fixed(1.0),
                        baseline: BaselineMode::Given(1.0),
                        tau_bounds_s: settings.tau_bounds_s,
                        finite_window: None,
                    });
                    collector.keep(matrix.view(), &valid, found.tau_s)
                });
                collector.add_halves(position, halves);
            }
        }
        let (dynamics, changed) = collector.finish();
        let n_changed = changed.iter().filter(|&&changed| changed).count();
        (dynamics, n_changed)
    }
}
