//! The truth of a simulated series, and what its file would state.

use ndarray::Array2;
use rand_distr::{Distribution, StandardNormal};
use serde::{Deserialize, Serialize};

use super::detector::{Detector, draw_distinct};
use super::drift::DriftTrack;
use super::maps::{Point, SampleMaps};
use super::noise::{Purpose, stream};
use super::settings::{FrameIndex, SimulationSettings};
use crate::arrhenius::GAS_CONSTANT;
use crate::axes::TimeAxis;
use crate::calibrate::{Descan, Ellipse};
use crate::series::{
    ChunkShape, FrameRun, Position, SampleType, SeriesHeader, SeriesShape, Stated,
};

/// What a perfect analysis of a simulated series would find.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Truth {
    /// Temperature.
    pub temperature_k: f64,
    /// Start of each scan, `[time]`.
    pub times_s: Vec<f64>,
    /// Relaxation time in `exp(-2 (t/tau)^stretch)` at the first scan, `[row, col]`.
    pub tau_s: Array2<f64>,
    /// Contrast of a noise-free pattern at the first scan, `[row, col]`; 0 in vacuum.
    pub contrast: Array2<f64>,
    /// Whether a position sees the sample at the first scan, `[row, col]`.
    pub on_sample: Array2<bool>,
    /// Exponent of the relaxation.
    pub stretch: f64,
    /// Rank correlation of tau and contrast over the positions on the sample, where both vary.
    pub spearman: Option<f64>,
    /// Activation energy of every position's tau.
    pub activation_energy_kj_per_mol: f64,
    /// Median of tau over the positions on the sample, extrapolated to infinite temperature.
    pub tau_infinite_s: f64,
    /// Correlation of the intensities at Q and −Q.
    pub friedel_degree: f64,
    /// Radius of the aperture's disc; a speckle's correlation ends at twice that.
    pub disc_radius_per_nm: f64,
    /// Row of the pattern's center at the middle of the scan, in pattern pixels.
    pub center_row: f64,
    /// Column of it.
    pub center_col: f64,
    /// Movement of the pattern over the scan.
    pub descan: Descan,
    /// Elliptic distortion.
    pub ellipse: Ellipse,
    /// Displacement of the sample's point under a position, along scan rows' index, `[time]`.
    pub drift_row_nm: Vec<f64>,
    /// Displacement along scan columns' index, `[time]`.
    pub drift_col_nm: Vec<f64>,
    /// Beam current of a scan relative to its mean, without the changes from frame to frame, `[time]`.
    pub slow_current: Vec<f64>,
    /// Intensity relative to the middle of the scan, at the first scan, `[row, col]`.
    pub thickness: Array2<f64>,
    /// Expected electrons of a pattern at the middle of the scan, averaged over speckle, `[pattern row, pattern col]`.
    pub mean_electrons: Array2<f64>,
    /// Relative gain of the pixels, `[pattern row, pattern col]`.
    pub gain_map: Array2<f64>,
    /// Pixels outside the stop that are neither hot nor dead, `[pattern row, pattern col]`.
    pub pixel_valid: Array2<bool>,
    /// Hot pixels, `[row, col]` each.
    pub hot_pixels: Vec<[usize; 2]>,
    /// Dead pixels, `[row, col]` each.
    pub dead_pixels: Vec<[usize; 2]>,
    /// Frames that were lost and read as zeros, in ascending order.
    pub lost_frames: Vec<FrameIndex>,
}

impl Truth {
    /// Collects the truth of one temperature.
    pub(super) fn new(
        settings: &SimulationSettings,
        temperature_idx: usize,
        times: &TimeAxis,
        drift: &DriftTrack,
        maps: &SampleMaps,
        detector: &Detector,
    ) -> Self {
        let map = |value: &dyn Fn(Point) -> f64| {
            Array2::from_shape_fn((settings.n_rows, settings.n_cols), |(row, col)| {
                value(Point::of(Position { row, col }))
            })
        };
        let temperature_k = settings.temperature_k[temperature_idx];
        let median_tau_s = settings.median_tau_s(temperature_idx);
        let energy = settings.glass.activation_energy_kj_per_mol;
        let (center_row, center_col) = settings.center_px();
        let mean = detector.mean_electrons(center_row, center_col);
        let mean_electrons = mean
            .halo
            .iter()
            .zip(&mean.direct)
            .zip(&detector.hot_electrons)
            .map(|((halo, direct), hot)| f64::from(halo + direct + hot))
            .collect();
        Self {
            temperature_k,
            times_s: times.times_s().to_vec(),
            tau_s: map(&|point| maps.tau_s(point, median_tau_s)),
            contrast: map(&|point| maps.contrast(point)),
            on_sample: map(&|point| f64::from(u8::from(maps.on_sample(point)))).mapv(|v| v > 0.0),
            stretch: settings.glass.stretch,
            spearman: maps.spearman,
            activation_energy_kj_per_mol: energy,
            tau_infinite_s: median_tau_s
                * libm::exp(-1e3 * energy / (GAS_CONSTANT * temperature_k)),
            friedel_degree: settings.friedel_degree,
            disc_radius_per_nm: detector.disc_radius_per_nm,
            center_row,
            center_col,
            descan: settings.artifacts.descan,
            ellipse: settings.artifacts.ellipse,
            drift_row_nm: drift.row_nm.clone(),
            drift_col_nm: drift.col_nm.clone(),
            slow_current: slow_current(settings, temperature_idx, times),
            thickness: map(&|point| maps.thickness(point.col as f64)),
            mean_electrons: Array2::from_shape_vec(detector.gain_map.dim(), mean_electrons)
                .expect("one value a pattern pixel"),
            gain_map: detector.gain_map.clone(),
            pixel_valid: detector.pixel_valid.clone(),
            hot_pixels: detector.hot_pixels.clone(),
            dead_pixels: detector.dead_pixels.clone(),
            lost_frames: lost_frames(settings, temperature_idx),
        }
    }
}

/// What a file of the series would state.
pub(super) fn header(
    settings: &SimulationSettings,
    temperature_idx: usize,
    times: &TimeAxis,
    lost_frames: &[FrameIndex],
) -> SeriesHeader {
    let temperature_k = settings.temperature_k[temperature_idx];
    let shape = SeriesShape {
        n_times: settings.n_times,
        n_rows: settings.n_rows,
        n_cols: settings.n_cols,
        pattern_rows: settings.pattern_rows,
        pattern_cols: settings.pattern_cols,
    };
    let sample_type = if settings.noise_free {
        SampleType::F32
    } else {
        SampleType::U16
    };
    let stated = |value: f64| Some(Stated::new(value, "simulation"));
    let mut header = SeriesHeader::new(
        format!("simulation at {temperature_k} K"),
        "simulation",
        shape,
        sample_type,
    );
    header.step_nm = stated(settings.step_nm);
    header.q_step_per_nm = stated(settings.q_step_per_nm);
    header.voltage_kv = stated(settings.voltage_kv);
    header.convergence_mrad = stated(settings.convergence_mrad);
    header.dwell_ms = stated(settings.dwell_ms[temperature_idx]);
    header.temperature_k = stated(temperature_k);
    header.times_s = Some(times.times_s().to_vec());
    // Irregular times stand for themselves; a total or a period would contradict them.
    if settings.times_s.is_none() {
        header.total_s = stated(settings.total_s[temperature_idx]);
        header.period_s = stated(settings.total_s[temperature_idx] / settings.n_times as f64);
    }
    header.missing = lost_frames
        .iter()
        .map(|lost| FrameRun {
            first_time: lost.time,
            n_times: 1,
            first_frame: lost.row * settings.n_cols + lost.col,
            n_frames: 1,
        })
        .collect();
    header.chunk = ChunkShape {
        n_times: settings.n_times,
        n_rows: 1,
        n_cols: settings.n_cols,
    };
    header
}

/// A factor of mean 1 and the given relative standard deviation (to first order), never negative.
pub(super) fn log_normal(spread: f64, z: f64) -> f64 {
    libm::exp(spread * z - spread * spread / 2.0)
}

/// Beam current of each scan: a stationary process that forgets in a tenth of the record.
fn slow_current(
    settings: &SimulationSettings,
    temperature_idx: usize,
    times: &TimeAxis,
) -> Vec<f64> {
    let spread = settings.artifacts.current.slow;
    let memory_s = times.record_s() / 10.0;
    let words = [temperature_idx as u64];
    let mut rng = stream(settings.seed, Purpose::SlowCurrent, &words);
    let mut state: f64 = StandardNormal.sample(&mut rng);
    let mut before_s = 0.0;
    times
        .times_s()
        .iter()
        .enumerate()
        .map(|(time, &time_s)| {
            if time > 0 {
                let keep = libm::exp(-(time_s - before_s) / memory_s);
                let fresh: f64 = StandardNormal.sample(&mut rng);
                state = keep * state + (1.0 - keep * keep).sqrt() * fresh;
            }
            before_s = time_s;
            log_normal(spread, state)
        })
        .collect()
}

/// Frames lost by name and at random, in ascending order, each once.
fn lost_frames(settings: &SimulationSettings, temperature_idx: usize) -> Vec<FrameIndex> {
    let per_scan = settings.n_rows * settings.n_cols;
    let words = [temperature_idx as u64];
    let mut rng = stream(settings.seed, Purpose::LostFrames, &words);
    let drawn = draw_distinct(
        settings.n_times * per_scan,
        settings.artifacts.n_lost,
        &mut rng,
    );
    let mut lost: Vec<FrameIndex> = drawn
        .into_iter()
        .map(|idx| FrameIndex {
            time: idx / per_scan,
            row: idx % per_scan / settings.n_cols,
            col: idx % settings.n_cols,
        })
        .chain(settings.artifacts.lost_frames.iter().copied())
        .collect();
    lost.sort_unstable();
    lost.dedup();
    lost
}
