//! How many electrons are expected in a pixel, and what does the detector make of them?
//!
//! ```text
//! expected = scale(position, time) · (halo(q) · [(1 − a) + a |E|²] + direct) + hot        a = sqrt(contrast)
//! value    = gain · gain_map · Poisson(expected) + dark + read noise
//! ```

use ndarray::Array2;
use rand::Rng;
use rand_distr::{Distribution, StandardNormal};
use rand_xoshiro::Xoshiro256PlusPlus;

use super::noise::{Purpose, stream};
use super::poisson::PoissonSampler;
use super::settings::SimulationSettings;

/// Charge of 1 pA in 1 ms, in electrons.
const ELECTRONS_PER_PA_MS: f64 = 1e-15 / 1.602_176_634e-19;

/// Mean intensity and pixels of the detector at one temperature.
#[derive(Debug, Clone)]
pub(super) struct Detector {
    settings: SimulationSettings,
    n_cols: usize,
    /// Electrons of a pattern, times the share collected, divided by the sum of the halo outside the stop.
    electrons_per_halo: f64,
    /// Electrons a pixel in the direct beam.
    direct_electrons: f64,
    pub(super) disc_radius_per_nm: f64,
    /// Share of the intensity that passes the stop, 0 in dead pixels.
    passed: Vec<f64>,
    /// False electrons a frame.
    pub(super) hot_electrons: Vec<f32>,
    /// Detector units an electron, pixel by pixel.
    adu_per_electron: Vec<f64>,
    /// Relative gain, `[pattern row, pattern col]`.
    pub(super) gain_map: Array2<f64>,
    /// Pixels outside the stop that are neither hot nor dead, `[pattern row, pattern col]`.
    pub(super) pixel_valid: Array2<bool>,
    pub(super) hot_pixels: Vec<[usize; 2]>,
    pub(super) dead_pixels: Vec<[usize; 2]>,
    poisson: PoissonSampler,
}

/// Expected electrons of a pattern, `[pattern row * cols + pattern col]`.
#[derive(Debug, Clone)]
pub(super) struct MeanElectrons {
    /// What carries speckle.
    pub(super) halo: Vec<f32>,
    /// What does not.
    pub(super) direct: Vec<f32>,
}

impl Detector {
    /// The detector of an experiment whose aperture has a given radius.
    pub(super) fn new(
        settings: &SimulationSettings,
        temperature_idx: usize,
        disc_radius_per_nm: f64,
    ) -> Self {
        let shape = (settings.pattern_rows, settings.pattern_cols);
        let parameters = &settings.artifacts.detector;
        let (hot_pixels, dead_pixels) = bad_pixels(settings);
        let mut rng = stream(settings.seed, Purpose::GainMap, &[]);
        let gain_map = Array2::from_shape_simple_fn(shape, || {
            let z: f64 = StandardNormal.sample(&mut rng);
            // A pixel never amplifies less than a tenth of the mean, however wide the spread.
            (1.0 + parameters.gain_map_spread * z).max(0.1)
        });

        let mut detector = Self {
            n_cols: settings.pattern_cols,
            electrons_per_halo: 0.0,
            direct_electrons: 0.0,
            disc_radius_per_nm,
            passed: Vec::new(),
            hot_electrons: vec![0.0; shape.0 * shape.1],
            adu_per_electron: gain_map
                .iter()
                .map(|gain| gain * parameters.gain_adu_per_electron)
                .collect(),
            gain_map,
            pixel_valid: Array2::from_elem(shape, true),
            hot_pixels,
            dead_pixels,
            poisson: PoissonSampler::new(),
            settings: settings.clone(),
        };

        let (center_row, center_col) = settings.center_px();
        let (mut halo_sum, mut n_direct) = (0.0, 0.0_f64);
        for row in 0..shape.0 {
            for col in 0..shape.1 {
                let row_px = row as f64 - center_row;
                let col_px = col as f64 - center_col;
                let shaded = detector.is_shaded(row_px, col_px);
                let leak = settings.artifacts.beam_stop.map_or(1.0, |stop| stop.leak);
                detector.passed.push(if shaded { leak } else { 1.0 });
                detector.pixel_valid[[row, col]] = !shaded;
                let q = detector.q_per_nm(row_px, col_px);
                if !shaded {
                    halo_sum += detector.halo(q);
                }
                if q < disc_radius_per_nm {
                    n_direct += 1.0;
                }
            }
        }
        let electrons =
            settings.probe_current_pa * settings.dwell_ms[temperature_idx] * ELECTRONS_PER_PA_MS;
        if halo_sum > 0.0 {
            detector.electrons_per_halo = electrons * settings.collected / halo_sum;
        }
        detector.direct_electrons = electrons * settings.halo.direct_share / n_direct.max(1.0);
        for &[row, col] in &detector.hot_pixels {
            detector.hot_electrons[row * shape.1 + col] = parameters.hot_electrons as f32;
            detector.pixel_valid[[row, col]] = false;
        }
        for &[row, col] in &detector.dead_pixels {
            detector.passed[row * shape.1 + col] = 0.0;
            detector.pixel_valid[[row, col]] = false;
        }
        detector
    }

    /// Expected electrons of a pattern with a given center, averaged over speckle, on a sample of mean thickness.
    pub(super) fn mean_electrons(&self, center_row: f64, center_col: f64) -> MeanElectrons {
        let pixel = |idx: usize| {
            let row = (idx / self.n_cols) as f64 - center_row;
            let col = (idx % self.n_cols) as f64 - center_col;
            self.q_per_nm(row, col)
        };
        let halo = self
            .passed
            .iter()
            .enumerate()
            .map(|(idx, passed)| (passed * self.electrons_per_halo * self.halo(pixel(idx))) as f32)
            .collect();
        let direct = self
            .passed
            .iter()
            .enumerate()
            .map(|(idx, passed)| {
                let inside = pixel(idx) < self.disc_radius_per_nm;
                (passed * self.direct_electrons * f64::from(u8::from(inside))) as f32
            })
            .collect();
        MeanElectrons { halo, direct }
    }

    /// The stream of a position's counts.
    pub(super) fn count_stream(
        &self,
        temperature_idx: usize,
        row: usize,
        col: usize,
    ) -> Xoshiro256PlusPlus {
        let words = [temperature_idx as u64, row as u64, col as u64];
        stream(self.settings.seed, Purpose::Counts, &words)
    }

    /// Reads out expected electrons, `[pattern row * cols + pattern col]`.
    pub(super) fn read(&self, expected: &[f32], rng: &mut impl Rng, values: &mut Vec<u16>) {
        let parameters = &self.settings.artifacts.detector;
        let counts_electrons = parameters.gain_adu_per_electron == 1.0
            && parameters.gain_map_spread == 0.0
            && parameters.dark_adu == 0.0
            && parameters.read_noise_adu == 0.0;
        if counts_electrons {
            values.extend(expected.iter().map(|&mean| {
                u16::try_from(self.poisson.sample(f64::from(mean), rng)).unwrap_or(u16::MAX)
            }));
            return;
        }
        for (&mean, adu_per_electron) in expected.iter().zip(&self.adu_per_electron) {
            let electrons = f64::from(self.poisson.sample(f64::from(mean), rng));
            let z: f64 = StandardNormal.sample(rng);
            let value =
                adu_per_electron * electrons + parameters.dark_adu + parameters.read_noise_adu * z;
            // A cast to an integer stops at the ends of its range, as a converter does.
            values.push(value.round() as u16);
        }
    }

    /// The reading without noise.
    pub(super) fn read_noise_free(&self, expected: &mut [f32]) {
        let dark_adu = self.settings.artifacts.detector.dark_adu;
        for (value, adu_per_electron) in expected.iter_mut().zip(&self.adu_per_electron) {
            *value = (f64::from(*value) * adu_per_electron + dark_adu) as f32;
        }
    }

    fn q_per_nm(&self, row_px: f64, col_px: f64) -> f64 {
        let (row, col) = self.settings.artifacts.ellipse.undo(row_px, col_px);
        libm::hypot(row, col) * self.settings.q_step_per_nm
    }

    fn halo(&self, q_per_nm: f64) -> f64 {
        let halo = &self.settings.halo;
        let widths = (q_per_nm - halo.q_ring_per_nm) / halo.width_per_nm;
        halo.background + libm::exp(-widths * widths / 2.0)
    }

    /// Whether the stop covers a pixel. The stop is a thing of the detector: no ellipse, no descan.
    fn is_shaded(&self, row_px: f64, col_px: f64) -> bool {
        let Some(stop) = self.settings.artifacts.beam_stop else {
            return false;
        };
        let (row, col) = (
            row_px * self.settings.q_step_per_nm,
            col_px * self.settings.q_step_per_nm,
        );
        let angle = stop.arm_angle_deg.to_radians();
        let (sin, cos) = (libm::sin(angle), libm::cos(angle));
        let along = cos * col + sin * row;
        let across = cos * row - sin * col;
        libm::hypot(row, col) < stop.radius_per_nm
            || (along >= 0.0 && 2.0 * across.abs() < stop.arm_width_per_nm)
    }
}

/// Hot and dead pixels, each drawn once, as `[row, col]` in ascending order.
fn bad_pixels(settings: &SimulationSettings) -> (Vec<[usize; 2]>, Vec<[usize; 2]>) {
    let parameters = &settings.artifacts.detector;
    let n_pixels = settings.pattern_rows * settings.pattern_cols;
    let mut rng = stream(settings.seed, Purpose::BadPixels, &[]);
    let mut drawn = draw_distinct(n_pixels, parameters.n_hot + parameters.n_dead, &mut rng);
    let mut dead = drawn.split_off(parameters.n_hot);
    drawn.sort_unstable();
    dead.sort_unstable();
    let place = |list: Vec<usize>| {
        list.into_iter()
            .map(|idx| [idx / settings.pattern_cols, idx % settings.pattern_cols])
            .collect()
    };
    (place(drawn), place(dead))
}

/// `n_drawn` different numbers below `n`, in the order drawn (Floyd's method needs memory for the drawn ones only).
pub(super) fn draw_distinct(n: usize, n_drawn: usize, rng: &mut impl Rng) -> Vec<usize> {
    let mut seen = std::collections::HashSet::new();
    let mut drawn = Vec::with_capacity(n_drawn);
    for limit in n - n_drawn..n {
        // A product of 64 bits by the limit, its upper half: below the limit, even to 2^-40 for any series.
        let candidate = ((u128::from(rng.next_u64()) * (limit as u128 + 1)) >> 64) as usize;
        let chosen = if seen.insert(candidate) {
            candidate
        } else {
            seen.insert(limit);
            limit
        };
        drawn.push(chosen);
    }
    drawn
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulate::settings::BeamStop;

    #[test]
    fn electrons_outside_the_stop_are_those_collected() {
        let mut settings = SimulationSettings::default();
        settings.artifacts.beam_stop = Some(BeamStop::default());
        let detector = Detector::new(&settings, 0, 0.64);
        let (row, col) = settings.center_px();
        let mean = detector.mean_electrons(row, col);
        let sum: f64 = mean
            .halo
            .iter()
            .zip(&detector.pixel_valid)
            .filter(|(_, valid)| **valid)
            .map(|(&value, _)| f64::from(value))
            .sum();
        // 8.9 pA in 1 ms are 55549.4 electrons.
        assert!((sum / (0.4 * 55_549.43) - 1.0).abs() < 1e-6);
        assert_eq!(detector.passed[33 * 66 + 33], 0.01);
        // The arm at 140 degrees points to smaller columns and larger rows.
        assert!(!detector.pixel_valid[[33 + 13, 33 - 15]]);
        assert!(detector.pixel_valid[[33 - 13, 33 + 15]]);
    }

    #[test]
    fn bad_pixels_are_distinct_and_as_many_as_asked_for() {
        let mut settings = SimulationSettings::default();
        settings.artifacts.detector.n_hot = 7;
        settings.artifacts.detector.n_dead = 9;
        let detector = Detector::new(&settings, 0, 0.64);
        assert_eq!(detector.hot_pixels.len(), 7);
        assert_eq!(detector.dead_pixels.len(), 9);
        let n_bad = detector.pixel_valid.iter().filter(|valid| !**valid).count();
        assert_eq!(n_bad, 16);
        let mean = detector.mean_electrons(33.0, 33.0);
        for &[row, col] in &detector.dead_pixels {
            assert_eq!(mean.halo[row * 66 + col], 0.0);
        }
    }

    #[test]
    fn all_numbers_can_be_drawn() {
        let mut rng = stream(1, Purpose::LostFrames, &[]);
        let mut all = draw_distinct(50, 50, &mut rng);
        all.sort_unstable();
        assert_eq!(all, (0..50).collect::<Vec<_>>());
    }
}
