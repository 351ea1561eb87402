//! Which random number belongs to which place?
//!
//! Every stream of random numbers starts from a hash of the seed and of what the numbers are for, so that neither threads
//! nor the order of work change a single bit. The sample's noise belongs to cells of the sample: two probes that overlap
//! see the same numbers there.

use rand::SeedableRng;
use rand_distr::{Distribution, StandardNormal};
use rand_xoshiro::Xoshiro256PlusPlus;

/// What a stream is for; the first word of every hash, so that no two purposes share numbers.
#[derive(Debug, Clone, Copy)]
pub(super) enum Purpose {
    Sample = 1,
    TauField = 2,
    ContrastField = 3,
    Drift = 4,
    SlowCurrent = 5,
    FrameCurrent = 6,
    GainMap = 7,
    BadPixels = 8,
    LostFrames = 9,
    Counts = 10,
}

/// A stream that depends on the seed, the purpose and the words only.
pub(super) fn stream(seed: u64, purpose: Purpose, words: &[u64]) -> Xoshiro256PlusPlus {
    let start = mix(seed ^ mix(purpose as u64));
    let hash = words.iter().fold(start, |hash, &word| {
        mix(hash.rotate_left(23) ^ mix(word.wrapping_add(0x9e37_79b9_7f4a_7c15)))
    });
    Xoshiro256PlusPlus::seed_from_u64(hash)
}

/// The finalizer of SplitMix64 (Steele, Lea and Flood 2014, doi 10.1145/2714064.2660195): every input bit changes about half
/// of the output bits, and no two inputs collide.
fn mix(word: u64) -> u64 {
    let word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}

/// Cells of a tile along either side. A normal variate takes an unpredictable number of words, so a cell has no stream of its
/// own; small tiles waste few cells at the rim of a window (20 % for 66 cells), larger ones start fewer streams.
const TILE: i64 = 8;

/// A window of cells of the sample's grid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Window {
    pub(super) first_row: i64,
    pub(super) first_col: i64,
    pub(super) n_rows: usize,
    pub(super) n_cols: usize,
}

impl Window {
    /// Number of cells.
    pub(super) fn len(&self) -> usize {
        self.n_rows * self.n_cols
    }

    /// The smallest window that holds both.
    pub(super) fn around(self, other: Self) -> Self {
        let first_row = self.first_row.min(other.first_row);
        let first_col = self.first_col.min(other.first_col);
        let end = |first: i64, n: usize| first + n as i64;
        let end_row = end(self.first_row, self.n_rows).max(end(other.first_row, other.n_rows));
        let end_col = end(self.first_col, self.n_cols).max(end(other.first_col, other.n_cols));
        Self {
            first_row,
            first_col,
            n_rows: (end_row - first_row) as usize,
            n_cols: (end_col - first_col) as usize,
        }
    }
}

/// White noise on the cells of the sample, new at every time.
#[derive(Debug, Clone, Copy)]
pub(super) struct SampleNoise {
    seed: u64,
    temperature_idx: u64,
    /// Standard deviations of the real and the imaginary part; their squares sum to 1.
    scale: [f32; 2],
}

impl SampleNoise {
    /// Noise whose real and imaginary parts have variances `(1 + f)/2` and `(1 - f)/2` with `f = sqrt(friedel_degree)`.
    ///
    /// A field made of it has `⟨E(Q) E(-Q)⟩ = f`, and its intensities at `Q` and `-Q` are correlated by `f²`.
    pub(super) fn new(seed: u64, temperature_idx: usize, friedel_degree: f64) -> Self {
        let f = friedel_degree.sqrt();
        Self {
            seed,
            temperature_idx: temperature_idx as u64,
            scale: [
                ((1.0 + f) / 2.0).sqrt() as f32,
                ((1.0 - f) / 2.0).sqrt() as f32,
            ],
        }
    }

    /// Fills `[row, col, (re, im)]` of a window with the noise of a time; `place` tells apart samples that share nothing.
    pub(super) fn fill(&self, window: Window, time: usize, place: u64, out: &mut [f32]) {
        let end_row = window.first_row + window.n_rows as i64;
        let end_col = window.first_col + window.n_cols as i64;
        for tile_row in window.first_row.div_euclid(TILE)..=(end_row - 1).div_euclid(TILE) {
            for tile_col in window.first_col.div_euclid(TILE)..=(end_col - 1).div_euclid(TILE) {
                let mut rng = stream(
                    self.seed,
                    Purpose::Sample,
                    &[
                        self.temperature_idx,
                        time as u64,
                        place,
                        tile_row as u64,
                        tile_col as u64,
                    ],
                );
                let (row_0, col_0) = (tile_row * TILE, tile_col * TILE);
                let skip = (window.first_col - col_0).max(0) as usize;
                let keep = (end_col - col_0).min(TILE) as usize;
                for row in row_0..(row_0 + TILE).min(end_row) {
                    let mut cells = [0.0_f32; 2 * TILE as usize];
                    for cell in &mut cells {
                        *cell = StandardNormal.sample(&mut rng);
                    }
                    if row < window.first_row {
                        continue;
                    }
                    let line = (row - window.first_row) as usize * window.n_cols;
                    let first = line + (col_0 + skip as i64 - window.first_col) as usize;
                    let target = &mut out[2 * first..2 * (first + keep - skip)];
                    let source = &cells[2 * skip..2 * keep];
                    for (target, source) in target.chunks_exact_mut(2).zip(source.chunks_exact(2)) {
                        target[0] = self.scale[0] * source[0];
                        target[1] = self.scale[1] * source[1];
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn overlapping_windows_share_their_cells() {
        let noise = SampleNoise::new(3, 1, 0.0);
        let small = Window {
            first_row: -5,
            first_col: 3,
            n_rows: 7,
            n_cols: 9,
        };
        let large = Window {
            first_row: -11,
            first_col: -4,
            n_rows: 30,
            n_cols: 33,
        };
        let mut a = vec![f32::NAN; 2 * small.len()];
        let mut b = vec![f32::NAN; 2 * large.len()];
        noise.fill(small, 4, 0, &mut a);
        noise.fill(large, 4, 0, &mut b);
        for row in 0..small.n_rows {
            for col in 0..small.n_cols {
                let in_a = 2 * (row * small.n_cols + col);
                let in_b = 2 * ((row + 6) * large.n_cols + col + 7);
                assert_eq!(a[in_a..in_a + 2], b[in_b..in_b + 2]);
            }
        }
        assert!(b.iter().all(|value| value.is_finite()));
        let mut other = vec![0.0; 2 * small.len()];
        noise.fill(small, 5, 0, &mut other);
        assert_ne!(a, other);
        noise.fill(small, 4, 1, &mut other);
        assert_ne!(a, other);
    }

    #[test]
    fn parts_carry_the_friedel_degree() {
        let window = Window {
            first_row: 0,
            first_col: 0,
            n_rows: 256,
            n_cols: 256,
        };
        for (degree, real) in [(0.0, 0.5), (0.25, 0.75), (1.0, 1.0)] {
            let mut cells = vec![0.0; 2 * window.len()];
            SampleNoise::new(1, 0, degree).fill(window, 0, 0, &mut cells);
            let mut power = [0.0_f64; 2];
            for cell in cells.chunks_exact(2) {
                power[0] += f64::from(cell[0]).powi(2);
                power[1] += f64::from(cell[1]).powi(2);
            }
            // The variance of 65536 normal variates is known to 0.55 %; five times that.
            assert!((power[0] / window.len() as f64 - real).abs() < 0.028 * real);
            assert!((power[1] / window.len() as f64 - (1.0 - real)).abs() < 0.028);
        }
    }
}
