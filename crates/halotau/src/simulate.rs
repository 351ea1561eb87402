//! What would the experiment show if the truth were known?
//!
//! ```text
//! I(Q, t) = scale(position, t) · halo(|Q|) · [(1 − a) + a |E(Q, t)|²],        a = sqrt(contrast)
//! ⟨I(t) I(t')⟩ / (⟨I(t)⟩ ⟨I(t')⟩) = 1 + contrast · exp(−2 (|t − t'| / tau)^stretch)
//! ```
//!
//! `E` is complex Gaussian with unit mean square: the diffraction of a stationary Gaussian sample (white in space, with the
//! memory of its position in time) through a probe of the aperture's size. The correlation is exact at every stored pixel for
//! every stretch in (0, 2] and contrast in (0, 1], and speckle size and mean intensity are exact as well.
//!
//! **Neighbors.** Where probes overlap they see the same innovations, each filtered by the memory of its own position. So every
//! position by itself has exactly its own tau and contrast, and that is the truth. What neighbors share follows: their
//! fields at times t and t' are correlated by the overlap of the probes times `Σ_s L(t, s) L'(t', s)`, with `L` the causal factor
//! of the one position's memory and `L'` that of the other's. At equal times this is at most the overlap, and equal to it
//! where the two tau are equal. A place of the sample has no single tau of its own under two probes of different tau.
//!
//! **Friedel symmetry.** The sample's real and imaginary parts have different variances, such that the intensities at Q and −Q
//! are correlated by `friedel_degree`. For |Q| below half the speckle's diameter, Q and −Q lie in one speckle; there the field is not
//! circular and the contrast is up to twice the truth. Nobody measures there: it is where the direct beam is.
//!
//! **Edges.** A pattern is one discrete Fourier transform, so speckle at one edge continues at the opposite edge.
//!
//! **Drift.** A scan position looks at the sample's scan point that is nearest after the drift and at the remainder with a shifted
//! probe. Relaxation time and contrast belong to the scan point, thickness and edge move with the remainder too. A drift of whole
//! steps is thus undone exactly by an index.
//!
//! **Cost.** A position takes one normal variate and a Fourier transform a pixel and time. For a stretch other than 1 the
//! memory costs a product with a triangular matrix, which grows as the square of the number of times; a thread holds
//! 8 bytes for each time and pixel of a position.

mod detector;
mod drift;
mod maps;
mod memory;
mod noise;
mod poisson;
mod probe;
mod settings;
mod speckle;
mod truth;

use std::collections::BTreeMap;
use std::ops::Range;

use ndarray::Array3;
pub use probe::circle_overlap;
use rand_distr::{Distribution, StandardNormal};
use rayon::prelude::*;
use rustfft::num_complex::Complex32;
pub use settings::{
    Artifacts, BeamStop, ContrastDistribution, CurrentChanges, DetectorSettings, FrameIndex, Glass,
    Halo, SampleDrift, SimulationSettings,
};
pub use truth::Truth;

use crate::error::{Error, Result};
use crate::series::{FrameRun, Position, Samples, SeriesHeader};
use crate::source::MemorySeries;
use detector::{Detector, MeanElectrons};
use drift::{DriftTrack, Shift};
use maps::{Point, SampleMaps};
use memory::Memory;
use noise::{Purpose, SampleNoise, Window, stream};
use probe::{Place, Probe};
use speckle::{Diffraction, Scratch};

/// A simulated series at one temperature, computed position by position when asked for.
///
/// Every value depends on the settings and the temperature's index only: not on threads, and not on what was asked before.
#[derive(Debug, Clone)]
pub struct Simulation {
    settings: SimulationSettings,
    temperature_idx: usize,
    header: SeriesHeader,
    truth: Truth,
    maps: SampleMaps,
    median_tau_s: f64,
    drift: DriftTrack,
    probe: Probe,
    noise: SampleNoise,
    diffraction: Diffraction,
    detector: Detector,
}

impl Simulation {
    /// Prepares the series of one temperature: maps, drift, detector, but no frame.
    ///
    /// # Errors
    ///
    /// [`Error::Setting`] for values that make no sense, with their key; [`Error::Shape`] or
    /// [`Error::TimesNotIncreasing`] for broken times.
    pub fn new(settings: &SimulationSettings, temperature_idx: usize) -> Result<Self> {
        settings.check()?;
        if temperature_idx >= settings.temperature_k.len() {
            return Err(Error::Setting {
                key: "temperature index".to_owned(),
                value: temperature_idx.to_string(),
                problem: format!(
                    "simulation.temperature_k holds {} temperatures, counted from 0",
                    settings.temperature_k.len()
                ),
            });
        }
        let times = settings.time_axis(temperature_idx)?;
        let drift = DriftTrack::new(settings, temperature_idx, times.times_s());
        let maps = SampleMaps::new(settings, drift.reach());
        let probe = Probe::new(settings)?;
        let detector = Detector::new(settings, temperature_idx, probe.radius_per_nm());
        let truth = Truth::new(settings, temperature_idx, &times, &drift, &maps, &detector);
        Ok(Self {
            header: truth::header(settings, temperature_idx, &times, &truth.lost_frames),
            truth,
            noise: SampleNoise::new(settings.seed, temperature_idx, settings.friedel_degree),
            diffraction: Diffraction::new(settings.pattern_rows, settings.pattern_cols),
            settings: settings.clone(),
            temperature_idx,
            median_tau_s: settings.median_tau_s(temperature_idx),
            maps,
            drift,
            probe,
            detector,
        })
    }

    /// What a perfect analysis would find.
    pub fn truth(&self) -> &Truth {
        &self.truth
    }

    /// The header of the series, as a file of it would state.
    pub fn header(&self) -> &SeriesHeader {
        &self.header
    }

    /// The settings.
    pub fn settings(&self) -> &SimulationSettings {
        &self.settings
    }

    /// `⟨E(Q) E*(Q')⟩` of two pixels so many rows and columns apart: the overlap of two discs. The intensities are
    /// correlated by `contrast` times its square.
    pub fn speckle_correlation(&self, row_px: f64, col_px: f64) -> f64 {
        self.probe.speckle_correlation(row_px, col_px)
    }

    /// `⟨E(r) E*(r')⟩` of the fields of two positions at equal time, up to a phase, were their tau equal; see the module.
    ///
    /// # Errors
    ///
    /// [`Error::PositionOutside`].
    pub fn probe_overlap(&self, one: Position, other: Position) -> Result<f64> {
        self.settings.check_position(one)?;
        self.settings.check_position(other)?;
        if one != other && !self.settings.overlap {
            return Ok(0.0);
        }
        let place = |position: Position| {
            let point = Point::of(position);
            self.place(point, 0.0, 0.0)
        };
        Ok(self.probe.overlap(place(one), place(other)))
    }

    /// Expected readings of all frames of a position, without Poisson and read noise, `[time, pattern row, pattern col]`.
    ///
    /// Detector units; lost frames are zeros.
    ///
    /// # Errors
    ///
    /// [`Error::PositionOutside`].
    pub fn position(&self, position: Position) -> Result<Array3<f32>> {
        self.settings.check_position(position)?;
        Ok(self.stack(self.expected(position, &mut Scratch::default())))
    }

    /// Readings of all frames of a position, `[time, pattern row, pattern col]`.
    ///
    /// # Errors
    ///
    /// [`Error::PositionOutside`].
    pub fn counts(&self, position: Position) -> Result<Array3<u16>> {
        self.settings.check_position(position)?;
        Ok(self.stack(self.counted(position, &mut Scratch::default())))
    }

    /// All frames of some scan rows, `[time, row in block, col, pattern row, pattern col]`, in the header's sample type.
    ///
    /// Writing a series block by block bounds the memory. Positions are computed in parallel on the current rayon pool.
    ///
    /// # Errors
    ///
    /// [`Error::RunOutside`].
    pub fn block(&self, rows: Range<usize>) -> Result<Samples> {
        let shape = &self.header.shape;
        let n_frames = rows.len() * shape.n_cols;
        FrameRun {
            first_time: 0,
            n_times: shape.n_times,
            first_frame: rows.start.saturating_mul(shape.n_cols),
            n_frames,
        }
        .check(shape)?;
        let positions: Vec<Position> = rows
            .flat_map(|row| (0..shape.n_cols).map(move |col| Position { row, col }))
            .collect();
        Ok(if self.settings.noise_free {
            Samples::F32(self.gather(&positions, Self::expected))
        } else {
            Samples::U16(self.gather(&positions, Self::counted))
        })
    }

    /// The whole series in memory.
    ///
    /// # Errors
    ///
    /// [`Error::Setting`] where the series is larger than memory can be.
    pub fn series(&self) -> Result<MemorySeries> {
        let mut header = self.header.clone();
        "memory".clone_into(&mut header.format);
        MemorySeries::new(header, self.block(0..self.header.shape.n_rows)?)
    }

    /// Computes positions in parallel and sorts their frames by time.
    fn gather<T: Copy + Default + Send + Sync>(
        &self,
        positions: &[Position],
        compute: impl Fn(&Self, Position, &mut Scratch) -> Vec<T> + Sync,
    ) -> Vec<T> {
        let shape = &self.header.shape;
        let frame_len = shape.frame_len();
        let scan_len = positions.len() * frame_len;
        let mut samples = vec![T::default(); shape.n_times * scan_len];
        // A batch is copied to its place and forgotten: the copies need little memory beside the block itself.
        for (batch_idx, batch) in positions.chunks(BATCH).enumerate() {
            let frames: Vec<Vec<T>> = batch
                .par_iter()
                .map_init(Scratch::default, |scratch, &position| {
                    compute(self, position, scratch)
                })
                .collect();
            let first = batch_idx * BATCH * frame_len;
            samples
                .par_chunks_mut(scan_len)
                .enumerate()
                .for_each(|(time, scan)| {
                    let target = scan[first..].chunks_exact_mut(frame_len);
                    for (target, frames) in target.zip(&frames) {
                        target.copy_from_slice(&frames[time * frame_len..][..frame_len]);
                    }
                });
        }
        samples
    }

    fn stack<T>(&self, samples: Vec<T>) -> Array3<T> {
        let shape = &self.header.shape;
        Array3::from_shape_vec(
            (shape.n_times, shape.pattern_rows, shape.pattern_cols),
            samples,
        )
        .expect("a position has one frame a time")
    }

    /// Expected readings of a position, `[time, pattern pixel]`.
    fn expected(&self, position: Position, scratch: &mut Scratch) -> Vec<f32> {
        let mut frames = self.electrons(position, scratch);
        for frame in frames.chunks_exact_mut(self.header.shape.frame_len()) {
            self.detector.read_noise_free(frame);
        }
        self.lose(position, &mut frames);
        frames
    }

    /// Noisy readings of a position, `[time, pattern pixel]`.
    fn counted(&self, position: Position, scratch: &mut Scratch) -> Vec<u16> {
        let electrons = self.electrons(position, scratch);
        let mut rng = self
            .detector
            .count_stream(self.temperature_idx, position.row, position.col);
        let mut frames = Vec::with_capacity(electrons.len());
        for frame in electrons.chunks_exact(self.header.shape.frame_len()) {
            self.detector.read(frame, &mut rng, &mut frames);
        }
        self.lose(position, &mut frames);
        frames
    }

    fn lose<T: Copy + Default>(&self, position: Position, frames: &mut [T]) {
        let frame_len = self.header.shape.frame_len();
        for lost in &self.truth.lost_frames {
            if (lost.row, lost.col) == (position.row, position.col) {
                frames[lost.time * frame_len..][..frame_len].fill(T::default());
            }
        }
    }

    /// Expected electrons of a position, `[time, pattern pixel]`.
    fn electrons(&self, position: Position, scratch: &mut Scratch) -> Vec<f32> {
        let shape = &self.header.shape;
        let center = self.center(position);
        let view = View {
            position,
            center,
            mean: self.detector.mean_electrons(center.row, center.col),
        };
        let mut frames = vec![0.0_f32; shape.n_times * shape.frame_len()];
        for (point, times) in self.visits(position) {
            self.visit(&view, point, &times, scratch, &mut frames);
        }
        frames
    }

    /// The points of the sample that a position sees, each with its times.
    fn visits(&self, position: Position) -> BTreeMap<Point, Vec<usize>> {
        let mut visits = BTreeMap::<Point, Vec<usize>>::new();
        for time in 0..self.header.shape.n_times {
            let shift = self.drift.at(time);
            let Point { row, col } = Point::of(position);
            let point = Point {
                row: row + shift.rows,
                col: col + shift.cols,
            };
            visits.entry(point).or_default().push(time);
        }
        visits
    }

    /// Frames of a position at the times when it sees one point of the sample.
    fn visit(
        &self,
        view: &View,
        point: Point,
        times: &[usize],
        scratch: &mut Scratch,
        frames: &mut [f32],
    ) {
        let frame_len = self.header.shape.frame_len();
        let on_sample = self.maps.on_sample(point);
        let contrast_root = self.maps.contrast(point).sqrt() as f32;
        let probes: Vec<(Shift, Place)> = times
            .iter()
            .map(|&time| {
                let shift = self.drift.at(time);
                (
                    shift,
                    self.place(point, shift.rest_row_nm, shift.rest_col_nm),
                )
            })
            .collect();
        let window = probes
            .iter()
            .map(|(_, place)| self.probe.window(*place))
            .reduce(Window::around)
            .expect("a visit has at least one time");
        if on_sample {
            let memory = Memory::new(
                &self.truth.times_s,
                self.maps.tau_s(point, self.median_tau_s),
                self.truth.stretch,
            );
            let last = times.iter().max().map_or(0, |time| time + 1);
            self.diffraction.grow(
                &self.noise,
                &memory,
                window,
                self.sample_place(point),
                last,
                scratch,
            );
        }
        let mut before: Option<(Shift, Place)> = None;
        let mut amplitude: Vec<Complex32> = Vec::new();
        let mut moved: Option<MeanElectrons> = None;
        for (&time, &(shift, place)) in times.iter().zip(&probes) {
            let center = self.center_at(view.center, time);
            // Neither changes without drift, and either costs as much as a frame.
            if before.replace((shift, center)) != Some((shift, center)) {
                amplitude = self.probe.centered(place, center.row, center.col);
                moved = (center != view.center)
                    .then(|| self.detector.mean_electrons(center.row, center.col));
            }
            let col = point.col as f64 + shift.rest_col_nm / self.settings.step_nm;
            let level = self.maps.thickness(col);
            let mean = moved.as_ref().unwrap_or(&view.mean);
            let scale = (level * self.current(view.position, time)) as f32;
            let frame = &mut frames[time * frame_len..][..frame_len];
            if on_sample {
                let inner = self.probe.window(place);
                self.diffraction
                    .intensity(&amplitude, window, inner, time, scratch);
            } else {
                scratch.intensity.clear();
                scratch.intensity.resize(frame_len, 1.0);
            }
            for (pixel, value) in frame.iter_mut().enumerate() {
                let speckle = 1.0 + contrast_root * (scratch.intensity[pixel] - 1.0);
                *value = scale * (mean.halo[pixel] * speckle + mean.direct[pixel])
                    + self.detector.hot_electrons[pixel];
            }
        }
    }

    /// The place of a point plus a remainder, in cells.
    fn place(&self, point: Point, rest_row_nm: f64, rest_col_nm: f64) -> Place {
        let step_nm = self.settings.step_nm;
        self.probe.place(
            point.row as f64 * step_nm + rest_row_nm,
            point.col as f64 * step_nm + rest_col_nm,
        )
    }

    /// 0 where all points share one sample, else a number of its own for each point.
    fn sample_place(&self, point: Point) -> u64 {
        if self.settings.overlap {
            return 0;
        }
        // Scan points reach at most a drift beyond the scan; 32 bits for either index hold every one.
        1 + ((point.row as u32 as u64) << 32 | point.col as u32 as u64)
    }

    /// Beam current of a frame relative to its mean.
    fn current(&self, position: Position, time: usize) -> f64 {
        let slow = self.truth.slow_current[time];
        let spread = self.settings.artifacts.current.per_frame;
        if spread == 0.0 {
            return slow;
        }
        let words =
            [self.temperature_idx, time, position.row, position.col].map(|word| word as u64);
        let z = StandardNormal.sample(&mut stream(
            self.settings.seed,
            Purpose::FrameCurrent,
            &words,
        ));
        slow * truth::log_normal(spread, z)
    }

    /// Center of the pattern of a position, in pattern pixels.
    fn center(&self, position: Position) -> Place {
        let descan = &self.settings.artifacts.descan;
        let row = position.row as f64 - (self.settings.n_rows as f64 - 1.0) / 2.0;
        let col = position.col as f64 - (self.settings.n_cols as f64 - 1.0) / 2.0;
        let (down, across) = descan.at(row, col);
        Place {
            row: self.truth.center_row + down,
            col: self.truth.center_col + across,
        }
    }

    /// A center at a time.
    fn center_at(&self, center: Place, time: usize) -> Place {
        let [rows, cols] = self.settings.artifacts.center_drift_px;
        let share = time as f64 / (self.header.shape.n_times as f64 - 1.0).max(1.0) - 0.5;
        Place {
            row: center.row + share * rows,
            col: center.col + share * cols,
        }
    }
}

/// Positions computed before their frames are put in place. Enough for all threads of a machine to be busy,
/// and 60 MB for the paper's patterns.
const BATCH: usize = 64;

/// What a position's patterns have in common.
#[derive(Debug)]
struct View {
    position: Position,
    /// Center of the pattern, in pattern pixels.
    center: Place,
    mean: MeanElectrons,
}
