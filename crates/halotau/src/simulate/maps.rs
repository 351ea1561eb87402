//! What is the truth at each point of the sample?
//!
//! ```text
//! ln tau = ln median + spread · z₁          z₁, z₂ Gaussian fields, correlation exp(−(r / length)²)
//! contrast = F(cos φ · z₁ + sin φ · z₂)     φ such that the rank correlation over the scan is the one asked for
//! ```
//!
//! A pair of points changes its order in `cos φ · z₁ + sin φ · z₂` at most once as φ goes from 0 to π, so the rank correlation
//! falls from 1 to −1 without turning back, and bisection finds φ.

use ndarray::{Array2, s};
use rand_distr::{Distribution, StandardNormal};

use super::noise::{Purpose, stream};
use super::settings::{ContrastDistribution, SimulationSettings};
use crate::rank;
use crate::series::Position;

/// A point of the sample, in scan steps; drift leads outside the scan.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Point {
    pub(super) row: i64,
    pub(super) col: i64,
}

impl Point {
    /// The point under a position at the first scan.
    pub(super) fn of(position: Position) -> Self {
        Self {
            row: position.row as i64,
            col: position.col as i64,
        }
    }
}

/// Relaxation time and contrast of the sample, on the scan's grid with a margin on every side.
#[derive(Debug, Clone)]
pub(super) struct SampleMaps {
    margin: usize,
    n_cols: usize,
    vacuum_cols: usize,
    vacuum_level: f64,
    thickness_gradient: f64,
    /// tau divided by its median over the scan, `[row, col]` with margin.
    tau_ratio: Array2<f64>,
    /// Contrast of a noise-free pattern, `[row, col]` with margin.
    contrast: Array2<f64>,
    /// Rank correlation reached over the positions on the sample; none where tau or contrast do not vary.
    pub(super) spearman: Option<f64>,
}

impl SampleMaps {
    /// Draws the maps. They depend on the seed and the glass, not on the margin or the temperature.
    pub(super) fn new(settings: &SimulationSettings, margin: usize) -> Self {
        let glass = &settings.glass;
        let scan = Scan {
            margin,
            n_rows: settings.n_rows,
            n_cols: settings.n_cols,
            vacuum_cols: settings.artifacts.vacuum_cols,
        };
        let tau_field = scan.standardized(&field(settings, Purpose::TauField, margin));
        let other_field = scan.standardized(&field(settings, Purpose::ContrastField, margin));
        let tau_ratio = tau_field.mapv(|z| libm::exp(glass.ln_tau_spread * z));

        let mixed = |angle: f64| {
            scan.standardized(&(&tau_field * libm::cos(angle) + &other_field * libm::sin(angle)))
        };
        let contrast_of = |angle: f64| mixed(angle).mapv(|z| contrast(settings, z));
        let taus = scan.on_sample(&tau_ratio);
        let reached = |angle: f64| {
            let spearman = rank::spearman(&taus, &scan.on_sample(&contrast_of(angle)));
            (!spearman.is_nan()).then_some(spearman)
        };
        let angle = match reached(std::f64::consts::FRAC_PI_2) {
            Some(_) => bisect(glass.spearman, |angle| reached(angle).unwrap_or(0.0)),
            None => std::f64::consts::FRAC_PI_2,
        };
        Self {
            margin,
            n_cols: settings.n_cols,
            vacuum_cols: settings.artifacts.vacuum_cols,
            vacuum_level: settings.artifacts.vacuum_level,
            thickness_gradient: settings.artifacts.thickness_gradient,
            tau_ratio,
            contrast: contrast_of(angle),
            spearman: reached(angle),
        }
    }

    /// Whether there is sample at a point. Without vacuum in the scan there is none beside it either, wherever drift leads.
    pub(super) fn on_sample(&self, point: Point) -> bool {
        self.vacuum_cols == 0 || point.col >= self.vacuum_cols as i64
    }

    /// Relaxation time of a point where the scan's median is given.
    pub(super) fn tau_s(&self, point: Point, median_tau_s: f64) -> f64 {
        median_tau_s * self.tau_ratio[self.idx(point)]
    }

    /// Contrast of a point; vacuum has none.
    pub(super) fn contrast(&self, point: Point) -> f64 {
        if self.on_sample(point) {
            self.contrast[self.idx(point)]
        } else {
            0.0
        }
    }

    /// Intensity at a column, between columns too, relative to the middle of the scan.
    ///
    /// From the last column in vacuum to the first on the sample it changes in a straight line, so that the edge moves as far as the sample.
    pub(super) fn thickness(&self, col: f64) -> f64 {
        let last = (self.n_cols as f64 - 1.0).max(1.0);
        // Where drift leads beyond the thin end of the wedge, there is nothing.
        let sample = (1.0 + self.thickness_gradient * (col / last - 0.5)).max(0.0);
        if self.vacuum_cols == 0 {
            return sample;
        }
        let covered = (col - self.vacuum_cols as f64 + 1.0).clamp(0.0, 1.0);
        covered * sample + (1.0 - covered) * self.vacuum_level
    }

    fn idx(&self, point: Point) -> [usize; 2] {
        [point.row, point.col].map(|idx| (idx + self.margin as i64) as usize)
    }
}

/// The angle in `[0, π]` at which a falling function comes closest to a value.
fn bisect(target: f64, falling: impl Fn(f64) -> f64) -> f64 {
    let (mut low, mut high) = (0.0, std::f64::consts::PI);
    // 50 halvings of π leave 3e-15, below the rounding of the fields.
    for _ in 0..50 {
        let middle = (low + high) / 2.0;
        if falling(middle) > target {
            low = middle;
        } else {
            high = middle;
        }
    }
    if falling(low) - target < target - falling(high) {
        low
    } else {
        high
    }
}

fn contrast(settings: &SimulationSettings, z: f64) -> f64 {
    let [low, high] = settings.glass.contrast_range;
    let share = match settings.glass.contrast_distribution {
        ContrastDistribution::Uniform => 0.5 * libm::erfc(-z / std::f64::consts::SQRT_2),
        ContrastDistribution::Normal => (0.5 + z / 4.0).clamp(0.0, 1.0),
    };
    low + (high - low) * share
}

/// The part of a field that the scan covers at the first time.
#[derive(Debug, Clone, Copy)]
struct Scan {
    margin: usize,
    n_rows: usize,
    n_cols: usize,
    vacuum_cols: usize,
}

impl Scan {
    /// Values at the scan positions that are on the sample.
    fn on_sample(&self, field: &Array2<f64>) -> Vec<f64> {
        let first = self.margin;
        let cols = first + self.vacuum_cols..first + self.n_cols;
        field
            .slice(s![first..first + self.n_rows, cols])
            .iter()
            .copied()
            .collect()
    }

    /// The field with median 0 and standard deviation 1 over the scan; zero where it does not vary.
    fn standardized(&self, field: &Array2<f64>) -> Array2<f64> {
        let values = self.on_sample(field);
        let n = values.len();
        let median = rank::median(&values);
        let mean = values.iter().sum::<f64>() / n as f64;
        let variance = values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / n as f64;
        if variance > 0.0 {
            (field - median) / variance.sqrt()
        } else {
            field * 0.0
        }
    }
}

/// A Gaussian random field of unit variance: white noise through a Gaussian window, rows and columns in turn.
///
/// The noise belongs to the scan position, not to the place in the array, so that a wider margin adds values and changes none.
/// A window `exp(−x² / (2 s²))` leaves a correlation `exp(−r² / (4 s²))`: `s` is half the correlation length.
fn field(settings: &SimulationSettings, purpose: Purpose, margin: usize) -> Array2<f64> {
    let width = settings.glass.correlation_length_nm / settings.step_nm / 2.0;
    // Beyond four widths the window is below 4e-4.
    let reach = (4.0 * width).ceil() as usize;
    let mut window: Vec<f64> = (0..=2 * reach)
        .map(|idx| {
            let distance = idx as f64 - reach as f64;
            if distance == 0.0 {
                1.0
            } else {
                libm::exp(-distance * distance / (2.0 * width * width))
            }
        })
        .collect();
    let norm = window.iter().map(|w| w * w).sum::<f64>().sqrt();
    window.iter_mut().for_each(|w| *w /= norm);

    let first = -((margin + reach) as i64);
    let shape = (
        settings.n_rows + 2 * (margin + reach),
        settings.n_cols + 2 * (margin + reach),
    );
    let white = Array2::from_shape_fn(shape, |(row, col)| -> f64 {
        let place = [(first + row as i64) as u64, (first + col as i64) as u64];
        StandardNormal.sample(&mut stream(settings.seed, purpose, &place))
    });
    let along_rows = Array2::from_shape_fn((shape.0 - 2 * reach, shape.1), |(row, col)| {
        (0..window.len())
            .map(|k| window[k] * white[[row + k, col]])
            .sum::<f64>()
    });
    Array2::from_shape_fn((shape.0 - 2 * reach, shape.1 - 2 * reach), |(row, col)| {
        (0..window.len())
            .map(|k| window[k] * along_rows[[row, col + k]])
            .sum()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rank_correlation_is_reached() {
        for (seed, spearman) in [(1, 0.39), (2, -0.7), (3, 0.0), (4, 1.0), (5, -1.0)] {
            for distribution in [ContrastDistribution::Uniform, ContrastDistribution::Normal] {
                let mut settings = SimulationSettings {
                    seed,
                    ..SimulationSettings::default()
                };
                settings.glass.spearman = spearman;
                settings.glass.contrast_distribution = distribution;
                let maps = SampleMaps::new(&settings, 0);
                // Values put at the edge of a normal distribution are tied and keep ±1 out of reach.
                let allowed = match (distribution, spearman.abs() == 1.0) {
                    (ContrastDistribution::Normal, true) => 0.01,
                    _ => 1e-3,
                };
                assert!((maps.spearman.expect("both vary") - spearman).abs() < allowed);
                let [low, high] = settings.glass.contrast_range;
                assert!(maps.contrast.iter().all(|c| (low..=high).contains(c)));
            }
        }
    }

    #[test]
    fn the_edge_moves_between_columns() {
        let mut settings = SimulationSettings::default();
        settings.artifacts.vacuum_cols = 4;
        settings.artifacts.vacuum_level = 0.1;
        let maps = SampleMaps::new(&settings, 0);
        for (col, level) in [(2.0, 0.1), (3.0, 0.1), (3.5, 0.55), (4.0, 1.0), (9.0, 1.0)] {
            assert!((maps.thickness(col) - level).abs() < 1e-12, "column {col}");
        }
    }

    #[test]
    fn margin_adds_and_changes_nothing() {
        let settings = SimulationSettings::default();
        let narrow = SampleMaps::new(&settings, 0);
        let wide = SampleMaps::new(&settings, 3);
        assert_eq!(wide.tau_ratio.dim(), (22, 22));
        assert_eq!(wide.tau_ratio.slice(s![3..19, 3..19]), narrow.tau_ratio);
        assert_eq!(wide.contrast.slice(s![3..19, 3..19]), narrow.contrast);
    }

    #[test]
    fn spread_median_and_length_are_those_asked_for() {
        let mut settings = SimulationSettings {
            n_rows: 120,
            n_cols: 120,
            ..SimulationSettings::default()
        };
        settings.glass.correlation_length_nm = 2.4;
        let logs = SampleMaps::new(&settings, 0).tau_ratio.mapv(libm::log);
        let n = logs.len() as f64;
        let mean = logs.sum() / n;
        let variance = logs.mapv(|v| (v - mean).powi(2)).sum() / n;
        assert!((variance.sqrt() - 0.6).abs() < 1e-9);
        let below = logs.iter().filter(|&&v| v < 0.0).count();
        assert_eq!(below, 7200);
        // Three steps of 0.8 nm are the correlation length. About 14400 / (π 3²) independent areas: 4.4 % of one.
        let product: f64 = logs
            .slice(s![.., 3..])
            .iter()
            .zip(logs.slice(s![.., ..-3]))
            .map(|(a, b)| (a - mean) * (b - mean))
            .sum();
        let correlation = product / (n - 360.0) / variance;
        assert!(
            (correlation - libm::exp(-1.0)).abs() < 0.13,
            "{correlation}"
        );
    }

    #[test]
    fn uniform_tau_has_no_rank_correlation() {
        let mut settings = SimulationSettings::default();
        settings.glass.ln_tau_spread = 0.0;
        let maps = SampleMaps::new(&settings, 0);
        assert_eq!(maps.spearman, None);
        assert!(maps.tau_ratio.iter().all(|&ratio| ratio == 1.0));
    }
}
