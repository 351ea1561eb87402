//! What is simulated: every parameter of a simulated experiment, with the paper's values as defaults.

use serde::{Deserialize, Serialize};

use crate::arrhenius::GAS_CONSTANT;
use crate::axes::{TimeAxis, TimeBasis};
use crate::calibrate::{Descan, Ellipse};
use crate::error::{Error, Result};
use crate::series::Position;

/// Every parameter of a simulated experiment.
///
/// The defaults are the paper's experiment on Zr-Cu-Al (five temperatures, 106 scans, 66 x 66 patterns) with a scan step
/// of one probe width, so that positions are nearly independent and few of them say much. Artifacts are off.
/// The median of tau is 300 s at 633 K, so that with 97 kJ/mol nearly every tau lies between two time steps and the record
/// at each temperature.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SimulationSettings {
    /// Seed of every random number.
    pub seed: u64,
    /// Scan rows.
    pub n_rows: usize,
    /// Scan columns.
    pub n_cols: usize,
    /// Distance of neighboring scan positions.
    pub step_nm: f64,
    /// Rows of a pattern.
    pub pattern_rows: usize,
    /// Columns of a pattern.
    pub pattern_cols: usize,
    /// Spatial frequency a pattern pixel.
    pub q_step_per_nm: f64,
    /// Acceleration voltage; it sets the wavelength.
    pub voltage_kv: f64,
    /// Convergence semi-angle; with the wavelength it sets the size of probe and speckle.
    pub convergence_mrad: f64,
    /// Temperatures of the study; the lists of dwell and total time go along.
    pub temperature_k: Vec<f64>,
    /// Number of scans.
    pub n_times: usize,
    /// Time from the start of the first scan to the end of the last, `[temperature]`.
    pub total_s: Vec<f64>,
    /// Start of each scan, for irregular series; without it scans are `total_s / n_times` apart.
    pub times_s: Option<Vec<f64>>,
    /// Exposure of one pattern, `[temperature]`.
    pub dwell_ms: Vec<f64>,
    /// Beam current.
    pub probe_current_pa: f64,
    /// Share of the electrons that arrives in the halo, outside the beam stop.
    pub collected: f64,
    /// No Poisson and no read noise: expected values as f32 instead of counts.
    pub noise_free: bool,
    /// Whether the probes of neighboring positions see the same atoms where they overlap. Without it, positions are independent.
    pub overlap: bool,
    /// Degree of Friedel symmetry, `C(π)/C(0)` of the intensity correlation over azimuth: 0 none, 1 perfect.
    pub friedel_degree: f64,
    /// Maps and kinetics.
    pub glass: Glass,
    /// Mean intensity over the pattern.
    pub halo: Halo,
    /// What is not ideal about the microscope and the sample.
    pub artifacts: Artifacts,
}

impl Default for SimulationSettings {
    fn default() -> Self {
        Self {
            seed: 1,
            n_rows: 16,
            n_cols: 16,
            step_nm: 0.8,
            pattern_rows: 66,
            pattern_cols: 66,
            q_step_per_nm: 0.232,
            voltage_kv: 200.0,
            convergence_mrad: 1.6,
            temperature_k: vec![633.0, 643.0, 653.0, 663.0, 673.0],
            n_times: 106,
            total_s: vec![1048.0, 1048.0, 524.0, 524.0, 524.0],
            times_s: None,
            dwell_ms: vec![1.0, 1.0, 0.5, 0.5, 0.5],
            probe_current_pa: 8.9,
            collected: 0.4,
            noise_free: false,
            overlap: true,
            friedel_degree: 0.0,
            glass: Glass::default(),
            halo: Halo::default(),
            artifacts: Artifacts::default(),
        }
    }
}

/// How contrast is distributed over the map.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ContrastDistribution {
    /// Every contrast of the range is as likely.
    #[default]
    Uniform,
    /// Normal about the middle of the range, which is two standard deviations to either side; what lies outside is put
    /// at the edge.
    Normal,
}

/// Truth of the sample: relaxation times, contrast and how they go together.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Glass {
    /// Median of the relaxation time over the scan at the reference temperature.
    pub tau_median_s: f64,
    /// Temperature of that median.
    pub reference_temperature_k: f64,
    /// Standard deviation of ln tau over the scan; 0 makes tau the same everywhere.
    pub ln_tau_spread: f64,
    /// Exponent of `exp(-2 (t/tau)^stretch)`, in (0, 2].
    pub stretch: f64,
    /// Activation energy of tau.
    pub activation_energy_kj_per_mol: f64,
    /// Lower and upper end of the contrast of a noise-free pattern, in (0, 1].
    pub contrast_range: [f64; 2],
    /// Distribution of the contrast within its range.
    pub contrast_distribution: ContrastDistribution,
    /// Rank correlation of tau and contrast over the scan.
    pub spearman: f64,
    /// Distance at which the spatial correlation of either map has fallen to 1/e.
    pub correlation_length_nm: f64,
}

impl Default for Glass {
    fn default() -> Self {
        Self {
            tau_median_s: 300.0,
            reference_temperature_k: 633.0,
            ln_tau_spread: 0.6,
            stretch: 1.0,
            activation_energy_kj_per_mol: 97.0,
            contrast_range: [0.45, 0.75],
            contrast_distribution: ContrastDistribution::Uniform,
            spearman: 0.39,
            correlation_length_nm: 1.5,
        }
    }
}

/// Mean intensity over q: `background + exp(-(q - q_ring)² / (2 width²))`, scaled to the electrons collected.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Halo {
    /// Level far from the ring, relative to the height of the ring.
    pub background: f64,
    /// Spatial frequency of the first halo.
    pub q_ring_per_nm: f64,
    /// Standard deviation of the ring.
    pub width_per_nm: f64,
    /// Share of the electrons in the direct beam, a disc of the radius of the aperture without speckle.
    pub direct_share: f64,
}

impl Default for Halo {
    fn default() -> Self {
        Self {
            background: 0.35,
            q_ring_per_nm: 4.4,
            width_per_nm: 0.55,
            direct_share: 0.0,
        }
    }
}

/// A disc and an arm that shade the detector, centered on the pattern's center at the middle of the scan.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BeamStop {
    /// Radius of the disc.
    pub radius_per_nm: f64,
    /// Full width of the arm; 0 for none.
    pub arm_width_per_nm: f64,
    /// Direction of the arm, from +column toward +row.
    pub arm_angle_deg: f64,
    /// Share of the intensity that passes.
    pub leak: f64,
}

impl Default for BeamStop {
    fn default() -> Self {
        Self {
            radius_per_nm: 1.3,
            arm_width_per_nm: 0.6,
            arm_angle_deg: 140.0,
            leak: 0.01,
        }
    }
}

/// Movement of the sample under the scan: a straight line and a random walk. The first scan is at 0.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SampleDrift {
    /// Speed along scan rows' index.
    pub row_nm_per_s: f64,
    /// Speed along scan columns' index.
    pub col_nm_per_s: f64,
    /// Standard deviation of the random step from scan to scan, in either direction.
    pub walk_nm: f64,
}

/// Deviations of the beam current, each as a factor of mean 1.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CurrentChanges {
    /// Relative standard deviation from pattern to pattern.
    pub per_frame: f64,
    /// Relative standard deviation of a slow change, the same for all positions of a scan, correlated over a tenth of the record.
    pub slow: f64,
}

/// A frame of the series.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct FrameIndex {
    /// Index of the scan.
    pub time: usize,
    /// Scan row.
    pub row: usize,
    /// Scan column.
    pub col: usize,
}

/// What the detector does to electrons: `value = gain · gain_map · electrons + dark + read noise`, rounded.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DetectorSettings {
    /// Mean detector units an electron.
    pub gain_adu_per_electron: f64,
    /// Relative standard deviation of the gain from pixel to pixel.
    pub gain_map_spread: f64,
    /// Reading without electrons.
    pub dark_adu: f64,
    /// Standard deviation of the read noise.
    pub read_noise_adu: f64,
    /// Number of pixels that see [`DetectorSettings::hot_electrons`] more than they should.
    pub n_hot: usize,
    /// Mean false electrons a frame in a hot pixel.
    pub hot_electrons: f64,
    /// Number of pixels that see none.
    pub n_dead: usize,
}

impl Default for DetectorSettings {
    fn default() -> Self {
        Self {
            gain_adu_per_electron: 1.0,
            gain_map_spread: 0.0,
            dark_adu: 0.0,
            read_noise_adu: 0.0,
            n_hot: 0,
            hot_electrons: 500.0,
            n_dead: 0,
        }
    }
}

/// Everything that is not ideal; the default is an ideal experiment.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Artifacts {
    /// Shade on the detector.
    pub beam_stop: Option<BeamStop>,
    /// Relative growth of the intensity from the first to the last scan column; the mean stays.
    pub thickness_gradient: f64,
    /// Scan columns left of this one see vacuum.
    pub vacuum_cols: usize,
    /// Intensity in vacuum relative to the sample; it has no speckle.
    pub vacuum_level: f64,
    /// Shift of the pattern's center from pixel `[pattern_rows / 2, pattern_cols / 2]`, in pixels `[row, col]`.
    pub center_offset_px: [f64; 2],
    /// Movement of the pattern over the scan.
    pub descan: Descan,
    /// Movement of the pattern from the first to the last scan, the same at all positions and zero in the mean, pixels `[row, col]`.
    pub center_drift_px: [f64; 2],
    /// Elliptic distortion of the pattern.
    pub ellipse: Ellipse,
    /// Movement of the sample.
    pub drift: SampleDrift,
    /// Changes of the beam current.
    pub current: CurrentChanges,
    /// The detector's own properties.
    pub detector: DetectorSettings,
    /// Number of frames lost at random.
    pub n_lost: usize,
    /// Frames lost besides.
    pub lost_frames: Vec<FrameIndex>,
}

impl SimulationSettings {
    /// Start of each scan at a temperature, from the first.
    ///
    /// # Errors
    ///
    /// [`Error::TimesNotIncreasing`], and [`Error::Shape`] where given times are not `n_times`.
    pub fn time_axis(&self, temperature_idx: usize) -> Result<TimeAxis> {
        match &self.times_s {
            Some(times) if times.len() != self.n_times => Err(Error::Shape {
                what: "simulation.times_s",
                expected: vec![self.n_times],
                found: vec![times.len()],
            }),
            Some(times) => TimeAxis::new(times.clone(), TimeBasis::Timestamps),
            None => TimeAxis::uniform(
                self.n_times,
                self.total_s[temperature_idx] / self.n_times as f64,
                TimeBasis::Total,
            ),
        }
    }

    /// Pattern pixel of the center at the middle of the scan, (row, col).
    pub fn center_px(&self) -> (f64, f64) {
        let [row, col] = self.artifacts.center_offset_px;
        (
            (self.pattern_rows / 2) as f64 + row,
            (self.pattern_cols / 2) as f64 + col,
        )
    }

    /// Median of tau over the scan at a temperature: `median · exp(E/R · (1/T − 1/T_reference))`.
    pub fn median_tau_s(&self, temperature_idx: usize) -> f64 {
        let glass = &self.glass;
        let inverse =
            1.0 / self.temperature_k[temperature_idx] - 1.0 / glass.reference_temperature_k;
        let energy = 1e3 * glass.activation_energy_kj_per_mol / GAS_CONSTANT;
        glass.tau_median_s * libm::exp(energy * inverse)
    }

    /// Checks every value that can be wrong by itself.
    ///
    /// # Errors
    ///
    /// [`Error::Setting`] with the key and what would be right.
    pub fn check(&self) -> Result<()> {
        let need = |holds: bool, key: &str, value: &dyn std::fmt::Debug, problem: &str| {
            if holds {
                return Ok(());
            }
            Err(Error::Setting {
                key: format!("simulation.{key}"),
                value: format!("{value:?}"),
                problem: problem.to_owned(),
            })
        };
        let positive = |key: &str, value: f64| {
            need(
                value.is_finite() && value > 0.0,
                key,
                &value,
                "must be positive",
            )
        };
        let not_negative = |key: &str, value: f64| {
            need(
                value.is_finite() && value >= 0.0,
                key,
                &value,
                "must not be negative",
            )
        };
        let finite =
            |key: &str, value: f64| need(value.is_finite(), key, &value, "must be a finite number");
        let share = |key: &str, value: f64| {
            need(
                (0.0..=1.0).contains(&value),
                key,
                &value,
                "must lie between 0 and 1",
            )
        };
        for (key, value) in [
            ("n_rows", self.n_rows),
            ("n_cols", self.n_cols),
            ("n_times", self.n_times),
        ] {
            need(value > 0, key, &value, "must be at least 1")?;
        }
        for (key, value) in [
            ("pattern_rows", self.pattern_rows),
            ("pattern_cols", self.pattern_cols),
        ] {
            need(value >= 4, key, &value, "must be at least 4")?;
        }
        positive("step_nm", self.step_nm)?;
        positive("q_step_per_nm", self.q_step_per_nm)?;
        positive("voltage_kv", self.voltage_kv)?;
        positive("convergence_mrad", self.convergence_mrad)?;
        positive("probe_current_pa", self.probe_current_pa)?;
        share("collected", self.collected)?;
        share("friedel_degree", self.friedel_degree)?;
        let n_temperatures = self.temperature_k.len();
        need(
            n_temperatures > 0,
            "temperature_k",
            &self.temperature_k,
            "name at least one temperature",
        )?;
        for (key, list) in [
            ("temperature_k", &self.temperature_k),
            ("total_s", &self.total_s),
            ("dwell_ms", &self.dwell_ms),
        ] {
            let problem =
                format!("must hold one positive value for each of {n_temperatures} temperatures");
            let holds = list.len() == n_temperatures && list.iter().all(|&v| v > 0.0);
            need(holds, key, list, &problem)?;
        }

        let glass = &self.glass;
        positive("glass.tau_median_s", glass.tau_median_s)?;
        positive(
            "glass.reference_temperature_k",
            glass.reference_temperature_k,
        )?;
        not_negative("glass.ln_tau_spread", glass.ln_tau_spread)?;
        not_negative("glass.correlation_length_nm", glass.correlation_length_nm)?;
        finite(
            "glass.activation_energy_kj_per_mol",
            glass.activation_energy_kj_per_mol,
        )?;
        need(
            glass.stretch > 0.0 && glass.stretch <= 2.0,
            "glass.stretch",
            &glass.stretch,
            "must lie in (0, 2]: beyond 2 no stationary process has this correlation",
        )?;
        let [low, high] = glass.contrast_range;
        need(
            low > 0.0 && low <= high && high <= 1.0,
            "glass.contrast_range",
            &glass.contrast_range,
            "must be [lower, upper] with 0 < lower <= upper <= 1",
        )?;
        need(
            (-1.0..=1.0).contains(&glass.spearman),
            "glass.spearman",
            &glass.spearman,
            "must lie between -1 and 1",
        )?;

        not_negative("halo.background", self.halo.background)?;
        finite("halo.q_ring_per_nm", self.halo.q_ring_per_nm)?;
        positive("halo.width_per_nm", self.halo.width_per_nm)?;
        share("halo.direct_share", self.halo.direct_share)?;

        let artifacts = &self.artifacts;
        if let Some(stop) = &artifacts.beam_stop {
            not_negative("artifacts.beam_stop.radius_per_nm", stop.radius_per_nm)?;
            not_negative(
                "artifacts.beam_stop.arm_width_per_nm",
                stop.arm_width_per_nm,
            )?;
            finite("artifacts.beam_stop.arm_angle_deg", stop.arm_angle_deg)?;
            share("artifacts.beam_stop.leak", stop.leak)?;
        }
        need(
            artifacts.thickness_gradient.abs() < 2.0,
            "artifacts.thickness_gradient",
            &artifacts.thickness_gradient,
            "must lie between -2 and 2, or the intensity becomes negative at one side",
        )?;
        need(
            artifacts.vacuum_cols < self.n_cols,
            "artifacts.vacuum_cols",
            &artifacts.vacuum_cols,
            "must leave at least one scan column on the sample",
        )?;
        not_negative("artifacts.vacuum_level", artifacts.vacuum_level)?;
        for value in artifacts.center_offset_px {
            finite("artifacts.center_offset_px", value)?;
        }
        for value in artifacts.center_drift_px {
            finite("artifacts.center_drift_px", value)?;
        }
        let descan = &artifacts.descan;
        let plane = [
            descan.row_per_row,
            descan.row_per_col,
            descan.col_per_row,
            descan.col_per_col,
        ];
        let curved = descan.row_quadratic.iter().chain(&descan.col_quadratic);
        for &value in plane.iter().chain(curved) {
            finite("artifacts.descan", value)?;
        }
        need(
            artifacts.ellipse.distortion.abs() < 0.5 && artifacts.ellipse.angle_rad.is_finite(),
            "artifacts.ellipse",
            &artifacts.ellipse,
            "the distortion must lie between -0.5 and 0.5",
        )?;
        finite("artifacts.drift.row_nm_per_s", artifacts.drift.row_nm_per_s)?;
        finite("artifacts.drift.col_nm_per_s", artifacts.drift.col_nm_per_s)?;
        not_negative("artifacts.drift.walk_nm", artifacts.drift.walk_nm)?;
        not_negative("artifacts.current.per_frame", artifacts.current.per_frame)?;
        not_negative("artifacts.current.slow", artifacts.current.slow)?;
        let detector = &artifacts.detector;
        positive(
            "artifacts.detector.gain_adu_per_electron",
            detector.gain_adu_per_electron,
        )?;
        not_negative(
            "artifacts.detector.gain_map_spread",
            detector.gain_map_spread,
        )?;
        not_negative("artifacts.detector.dark_adu", detector.dark_adu)?;
        not_negative("artifacts.detector.read_noise_adu", detector.read_noise_adu)?;
        not_negative("artifacts.detector.hot_electrons", detector.hot_electrons)?;
        let n_bad = detector.n_hot.saturating_add(detector.n_dead);
        need(
            n_bad <= self.pattern_rows * self.pattern_cols,
            "artifacts.detector.n_hot + n_dead",
            &n_bad,
            "more bad pixels than the pattern has",
        )?;
        let n_frames = self.n_times * self.n_rows * self.n_cols;
        need(
            artifacts.n_lost <= n_frames,
            "artifacts.n_lost",
            &artifacts.n_lost,
            "more lost frames than the series has",
        )?;
        for frame in &artifacts.lost_frames {
            need(
                frame.time < self.n_times && self.holds(frame.row, frame.col),
                "artifacts.lost_frames",
                frame,
                "lies outside the series",
            )?;
        }
        for temperature_idx in 0..n_temperatures {
            self.time_axis(temperature_idx)?;
        }
        Ok(())
    }

    fn holds(&self, row: usize, col: usize) -> bool {
        row < self.n_rows && col < self.n_cols
    }

    /// Checks that a position lies inside the scan.
    ///
    /// # Errors
    ///
    /// [`Error::PositionOutside`].
    pub fn check_position(&self, position: Position) -> Result<()> {
        if self.holds(position.row, position.col) {
            return Ok(());
        }
        Err(Error::PositionOutside {
            position,
            n_rows: self.n_rows,
            n_cols: self.n_cols,
        })
    }
}
