//! A glass reduced to the pixels of one ring: thousands of data sets in minutes.
//!
//! ```text
//! ⟨E(q) E*(q')⟩ = exp(−π² F² |q − q'|² / (4 ln 2))       F: full width of the probe; L Lᵀ is this matrix
//! ⟨E(r) E*(r')⟩ = exp(−ln 2 · d² / F²), d: distance over the scan
//! E(t + Δ)      = c E(t) + √(1 − c²) η,   c = exp(−Δ/τ)
//! I             = (1 − √V) + √V |E|²,      counts = H I + noise of variance H I
//! ```
//!
//! It shares nothing with the simulation of halotau but these equations: no patterns, no probe, no files.

use std::f64::consts::{LN_2, PI, TAU};

use halotau::ndarray::{Array2, Array3, ArrayView2, Axis, s};
use rand_distr::{Distribution, StandardNormal};
use rand_xoshiro::Xoshiro256PlusPlus;
use rand_xoshiro::rand_core::SeedableRng;

/// The paper's scans: 106 in 1048 s.
pub(crate) const N_TIMES: usize = 106;
pub(crate) const STEP_S: f64 = 1048.0 / 106.0;
pub(crate) const RECORD_S: f64 = 1048.0;
pub(crate) const PROBE_NM: f64 = 0.78;
pub(crate) const Q_STEP_PER_NM: f64 = 0.232;

/// Pixels of a ring behind a beam stop that comes from the left.
#[derive(Debug, Clone)]
pub(crate) struct RingPixels {
    pub(crate) row: Vec<f64>,
    pub(crate) col: Vec<f64>,
    /// Mean counts of each.
    pub(crate) halo: Vec<f32>,
    /// Lower triangle of the correlation of the field over pixels.
    factor: Array2<f32>,
    /// Where each pixel takes its field from: itself, or the opposite pixel.
    source: Vec<usize>,
}

impl RingPixels {
    /// The ring with 17 counts a pixel at its maximum; `friedel` makes opposite pixels the same speckle.
    pub(crate) fn new(q_min_per_nm: f64, q_max_per_nm: f64, friedel: bool) -> Self {
        let half = (q_max_per_nm / Q_STEP_PER_NM) as i64 + 1;
        let mut places = Vec::new();
        for row in -half..half {
            for col in -half..half {
                let (row, col) = (row as f64 + 0.5, col as f64 + 0.5);
                let q = row.hypot(col) * Q_STEP_PER_NM;
                let behind_stop = row.abs() < 3.0 && col < 0.0;
                if (q_min_per_nm..q_max_per_nm).contains(&q) && !behind_stop {
                    places.push((row, col));
                }
            }
        }
        let opposite = |&(row, col): &(f64, f64)| {
            let lower = row < 0.0 || (row == 0.0 && col < 0.0);
            lower.then(|| places.iter().position(|&there| there == (-row, -col)))
        };
        let sources: Vec<Option<usize>> = places
            .iter()
            .map(|place| {
                if friedel {
                    opposite(place).flatten()
                } else {
                    None
                }
            })
            .collect();
        let own: Vec<usize> = (0..places.len())
            .filter(|&at| sources[at].is_none())
            .collect();
        let index_of = |at: usize| own.iter().position(|&other| other == at);
        let source = (0..places.len())
            .map(|at| index_of(sources[at].unwrap_or(at)).expect("sources are their own"))
            .collect();
        let mu = |a: usize, b: usize| {
            let k = Q_STEP_PER_NM * (places[a].0 - places[b].0).hypot(places[a].1 - places[b].1);
            (-(PI * PROBE_NM * k).powi(2) / (4.0 * LN_2)).exp()
        };
        let halo = places
            .iter()
            .map(|(row, col)| {
                let away = (row.hypot(*col) * Q_STEP_PER_NM - 4.4) / 0.55;
                (17.5 * (0.02 + (-0.5 * away * away).exp())) as f32
            })
            .collect();
        Self {
            row: places.iter().map(|place| place.0).collect(),
            col: places.iter().map(|place| place.1).collect(),
            halo,
            factor: cholesky(own.len(), &|a, b| mu(own[a], own[b])),
            source,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.row.len()
    }

    /// Which half of the directions a pixel belongs to, as the program divides them: quarters of the circle with their opposites, two
    /// pixels away from the boundary.
    pub(crate) fn halves(&self) -> [Vec<usize>; 2] {
        [false, true].map(|second| {
            (0..self.len())
                .filter(|&at| {
                    let (row, col) = (self.row[at], self.col[at]);
                    row.abs().min(col.abs()) >= 2.0 && ((row < 0.0) != (col < 0.0)) == second
                })
                .collect()
        })
    }

    /// P² / Σ |μ|² of some of the pixels.
    pub(crate) fn n_speckles(&self, pixels: &[usize]) -> f64 {
        let mut sum = 0.0;
        for &a in pixels {
            for &b in pixels {
                let k =
                    Q_STEP_PER_NM * (self.row[a] - self.row[b]).hypot(self.col[a] - self.col[b]);
                sum += (-(PI * PROBE_NM * k).powi(2) / (2.0 * LN_2)).exp();
            }
        }
        (pixels.len() * pixels.len()) as f64 / sum
    }
}

/// Lower triangle with L Lᵀ = the matrix, with a millionth on the diagonal for rounding.
fn cholesky(n: usize, matrix: &dyn Fn(usize, usize) -> f64) -> Array2<f32> {
    let mut l = Array2::<f64>::zeros((n, n));
    for row in 0..n {
        for col in 0..=row {
            let done: f64 = (0..col).map(|k| l[[row, k]] * l[[col, k]]).sum();
            l[[row, col]] = if row == col {
                (matrix(row, row) + 1e-6 - done).max(1e-9).sqrt()
            } else {
                (matrix(row, col) - done) / l[[col, col]]
            };
        }
    }
    l.mapv(|value| value as f32)
}

/// A part of a glass: positions with a relaxation time and a contrast each.
#[derive(Debug, Clone)]
pub(crate) struct Sample {
    /// `[row, col]`, seconds.
    pub(crate) tau_s: Array2<f64>,
    /// `[row, col]`.
    pub(crate) fluctuation: Array2<f64>,
    /// Distance of positions; none where they share nothing.
    pub(crate) step_nm: Option<f64>,
    /// Power of Q that tau goes with; `tau_s` is that at [`MIDDLE_PER_NM`].
    pub(crate) tau_power: f64,
}

/// Where tau is what it is said to be whatever power of Q it goes with.
pub(crate) const MIDDLE_PER_NM: f64 = 4.4;

impl Sample {
    /// Counts `[position, time, pixel]`, positions row by row, with normal noise of the variance of counting.
    pub(crate) fn counts(&self, pixels: &RingPixels, seed: u64) -> Array3<f32> {
        self.counted(pixels, seed, |mean, rng| {
            let noise: f32 = StandardNormal.sample(rng);
            mean + mean.sqrt() * noise
        })
    }

    /// The same with counts that `count` draws from their expectation.
    pub(crate) fn counted(
        &self,
        pixels: &RingPixels,
        seed: u64,
        count: impl Fn(f32, &mut Xoshiro256PlusPlus) -> f32,
    ) -> Array3<f32> {
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
        let (n_rows, n_cols) = self.tau_s.dim();
        let n = n_rows * n_cols;
        let n_own = pixels.factor.nrows();
        let kernel = self.kernel();
        let reach = kernel.len() / 2;
        let (wide_rows, wide_cols) = (n_rows + 2 * reach, n_cols + 2 * reach);
        // tau of the pixels that have a field of their own, over that of the middle.
        let own = (0..n_own).map(|own| pixels.source.iter().position(|&source| source == own));
        let of_q: Vec<f64> = own
            .map(|pixel| {
                let pixel = pixel.expect("every field is some pixel's");
                let q = pixels.row[pixel].hypot(pixels.col[pixel]) * Q_STEP_PER_NM;
                (q / MIDDLE_PER_NM).powf(self.tau_power)
            })
            .collect();
        let keep = Array2::from_shape_fn((n, n_own), |(at, own)| {
            let tau = self.tau_s[[at / n_cols, at % n_cols]];
            (-STEP_S / (tau * of_q[own])).exp() as f32
        });
        let root: Vec<f32> = self.fluctuation.iter().map(|v| v.sqrt() as f32).collect();
        let mut field = Array2::<f32>::zeros((n, 2 * n_own));
        let mut counts = Array3::<f32>::zeros((n, N_TIMES, pixels.len()));
        for time in 0..N_TIMES {
            let white: Array2<f32> =
                Array2::from_shape_simple_fn((wide_rows * wide_cols, 2 * n_own), || {
                    StandardNormal.sample(&mut rng)
                });
            let smooth = smoothed(white, (wide_rows, wide_cols), (n_rows, n_cols), &kernel);
            for part in [s![.., ..n_own], s![.., n_own..]] {
                let innovation = smooth.slice(part).dot(&pixels.factor.t());
                let mut field = field.slice_mut(part);
                for (at, (mut old, new)) in field
                    .outer_iter_mut()
                    .zip(innovation.outer_iter())
                    .enumerate()
                {
                    for ((old, new), &c) in old.iter_mut().zip(new).zip(keep.row(at)) {
                        let c = if time == 0 { 0.0 } else { c };
                        *old = c * *old + (1.0 - c * c).sqrt() * new;
                    }
                }
            }
            for (at, mut scan) in counts
                .index_axis_mut(Axis(1), time)
                .outer_iter_mut()
                .enumerate()
            {
                for (pixel, value) in scan.iter_mut().enumerate() {
                    let own = pixels.source[pixel];
                    let (re, im) = (field[[at, own]], field[[at, n_own + own]]);
                    // Real and imaginary part have the variance 1 each.
                    let intensity = 1.0 - root[at] + root[at] * 0.5 * (re * re + im * im);
                    let mean = pixels.halo[pixel] * intensity;
                    *value = count(mean, &mut rng);
                }
            }
        }
        counts
    }

    /// What the probe averages over the scan, with squares that sum to 1; a single 1 where positions share nothing.
    fn kernel(&self) -> Vec<f32> {
        let Some(step_nm) = self.step_nm else {
            return vec![1.0];
        };
        // Field correlation exp(−d²/(4σ²)) with σ = F/(2 √ln 2): the squared one has σ.
        let sigma = PROBE_NM / (2.0 * LN_2.sqrt()) / step_nm;
        gaussian(sigma)
    }
}

/// A Gaussian of sigma steps whose squares sum to 1.
pub(crate) fn gaussian(sigma: f64) -> Vec<f32> {
    let reach = (3.0 * sigma).ceil() as i64;
    let values: Vec<f64> = (-reach..=reach)
        .map(|d| (-0.5 * (d as f64 / sigma).powi(2)).exp())
        .collect();
    let norm = values.iter().map(|v| v * v).sum::<f64>().sqrt();
    values.iter().map(|v| (v / norm) as f32).collect()
}

/// Convolves along both axes of the scan: `[wide position, value]` to `[position, value]`.
fn smoothed(
    white: Array2<f32>,
    wide: (usize, usize),
    shape: (usize, usize),
    kernel: &[f32],
) -> Array2<f32> {
    if kernel.len() == 1 {
        return white;
    }
    let n_values = white.ncols();
    let mut along_rows = Array2::<f32>::zeros((shape.0 * wide.1, n_values));
    for row in 0..shape.0 {
        for col in 0..wide.1 {
            let mut to = along_rows.row_mut(row * wide.1 + col);
            for (k, &weight) in kernel.iter().enumerate() {
                to.scaled_add(weight, &white.row((row + k) * wide.1 + col));
            }
        }
    }
    let mut all = Array2::<f32>::zeros((shape.0 * shape.1, n_values));
    for row in 0..shape.0 {
        for col in 0..shape.1 {
            let mut to = all.row_mut(row * shape.1 + col);
            for (k, &weight) in kernel.iter().enumerate() {
                to.scaled_add(weight, &along_rows.row(row * wide.1 + col + k));
            }
        }
    }
    all
}

/// White normal noise, or smooth over `sigma` steps, variance 1, `[row, col]`.
pub(crate) fn normal_map(
    (n_rows, n_cols): (usize, usize),
    sigma: Option<f64>,
    rng: &mut Xoshiro256PlusPlus,
) -> Array2<f64> {
    let kernel = sigma.map_or_else(|| vec![1.0], gaussian);
    let wide = (n_rows + kernel.len() - 1, n_cols + kernel.len() - 1);
    let white = Array2::from_shape_simple_fn((wide.0 * wide.1, 1), || StandardNormal.sample(rng));
    let smooth = smoothed(white, wide, (n_rows, n_cols), &kernel);
    Array2::from_shape_fn((n_rows, n_cols), |(row, col)| {
        f64::from(smooth[[row * n_cols + col, 0]])
    })
}

/// Counts of some pixels of a position over the halo: the flattened scans, `[time, pixel]`.
pub(crate) fn flattened(
    counts: ArrayView2<'_, f32>,
    pixels: &RingPixels,
    chosen: &[usize],
) -> Array2<f64> {
    Array2::from_shape_fn((counts.nrows(), chosen.len()), |(time, at)| {
        f64::from(counts[[time, chosen[at]]] / pixels.halo[chosen[at]])
    })
}

/// V of some pixels, mean over scans, without the noise of counting, from these pixels alone.
pub(crate) fn fluctuation(
    counts: ArrayView2<'_, f32>,
    pixels: &RingPixels,
    chosen: &[usize],
) -> f64 {
    let of_scan = |scan: halotau::ndarray::ArrayView1<'_, f32>| {
        let (mut one, mut two) = (0.0, 0.0);
        for &pixel in chosen {
            let (x, h) = (f64::from(scan[pixel]), f64::from(pixels.halo[pixel]));
            one += x / h;
            two += x * (x - 1.0) / (h * h);
        }
        let n = chosen.len() as f64;
        (two / n) / (one / n).powi(2) - 1.0
    };
    counts.outer_iter().map(of_scan).sum::<f64>() / counts.nrows() as f64
}

/// Uniform in 0 to 1 of a standard normal number.
pub(crate) fn uniform_of(normal: f64) -> f64 {
    // Hastings' form, good to 1e-7.
    let t = 1.0 / (1.0 + 0.2316419 * normal.abs());
    let tail = (-0.5 * normal * normal).exp() / TAU.sqrt()
        * t
        * (0.319381530
            + t * (-0.356563782 + t * (1.781477937 + t * (-1.821255978 + t * 1.330274429))));
    if normal > 0.0 { 1.0 - tail } else { tail }
}
