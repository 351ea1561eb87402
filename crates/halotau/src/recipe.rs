//! Every parameter of an analysis, in one value.
//!
//! A recipe is what a person edits and what is stored with every result. Two published definitions of one
//! quantity are two variants here, never a silent default. Keys are lower case, units last.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::arrhenius::Average;
use crate::axes::{AIRY_FWHM, QRange, TimeBasis, wavelength_nm};
use crate::calibrate::{CenterPath, Descan, Ellipse};
use crate::correlate::{CorrelateSettings, Normalization};
use crate::drift::DriftSettings;
use crate::fluctuate::{FluctuateSettings, Noise};
use crate::relax::{Baseline, Estimator, RelaxSettings, Stretch, Weights};

mod frame_layout;

pub use frame_layout::{BinnedRows, Corrections, FrameLayout, Orientation};

/// Version of the recipe's keys.
pub const SCHEMA: u32 = 1;

/// A published set of choices.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Profile {
    /// The choices of Nakazawa et al. 2024.
    Paper,
    /// The estimators with the least bias and scatter in simulation.
    #[default]
    Recommended,
}

/// Every parameter, as written in the TOML file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Recipe {
    /// [`SCHEMA`].
    pub schema: u32,
    /// What the figures and the report are called.
    pub title: String,
    /// Which published choices the defaults are.
    pub profile: Profile,
    /// Seed of every random number.
    pub seed: u64,
    /// The sample.
    pub sample: Sample,
    /// The microscope.
    pub microscope: Microscope,
    /// The scan.
    pub scan: Scan,
    /// The diffraction pattern.
    pub pattern: Pattern,
    /// How it is found what the microscope did to the patterns.
    pub calibration: CalibrationSettings,
    /// What the one pass keeps.
    pub reduction: ReductionSettings,
    /// The time axis.
    pub time: TimeSettings,
    /// Movement of the sample under the scan.
    pub drift: DriftSettings,
    /// Two-time correlation, eqs. (1) and (2).
    pub dynamics: CorrelateSettings,
    /// The fit, eq. (3).
    pub relaxation: RelaxSettings,
    /// The azimuthal variance, eq. (5).
    pub structure: FluctuateSettings,
    /// Intervals.
    pub interval: IntervalSettings,
    /// Several temperatures, eq. (4).
    pub arrhenius: ArrheniusSettings,
    /// What is written.
    pub output: OutputSettings,
    /// One block a temperature.
    pub data: Vec<DataBlock>,
}

impl Default for Recipe {
    fn default() -> Self {
        Self::of(Profile::Recommended)
    }
}

impl Recipe {
    /// The defaults of a profile, without data.
    pub fn of(profile: Profile) -> Self {
        let mut recipe = Self {
            schema: SCHEMA,
            title: String::new(),
            profile,
            seed: 1,
            sample: Sample::default(),
            microscope: Microscope::default(),
            scan: Scan::default(),
            pattern: Pattern::default(),
            calibration: CalibrationSettings::default(),
            reduction: ReductionSettings::default(),
            time: TimeSettings::default(),
            drift: DriftSettings::default(),
            dynamics: CorrelateSettings::default(),
            relaxation: RelaxSettings::default(),
            structure: FluctuateSettings::default(),
            interval: IntervalSettings::default(),
            arrhenius: ArrheniusSettings::default(),
            output: OutputSettings::default(),
            data: Vec::new(),
        };
        recipe.apply(profile);
        recipe
    }

    /// Sets the choices in which the profiles differ; leaves all else as it is.
    pub fn apply(&mut self, profile: Profile) {
        self.profile = profile;
        match profile {
            Profile::Paper => {
                self.dynamics.normalization = Normalization::Ring;
                self.dynamics.q_range_per_nm = QRange::new(4.2, 4.6);
                self.relaxation.estimator = Estimator::LeastSquares;
                self.relaxation.weights = Weights::None;
                self.relaxation.lag_fraction = 1.0;
                self.relaxation.stretch = Stretch::Fixed(1.0);
                self.relaxation.baseline = Baseline::One;
                self.structure.noise = Noise::None;
                self.arrhenius.average = Average::Mean;
            }
            Profile::Recommended => {
                self.dynamics.normalization = Normalization::Flattened;
                self.dynamics.q_range_per_nm = QRange::new(3.0, 5.8);
                self.relaxation.estimator = Estimator::Likelihood;
                self.relaxation.weights = Weights::LagCount;
                // Long lags rest on few pairs of scans; leaving them out lowers the scatter of tau.
                self.relaxation.lag_fraction = 0.5;
                self.relaxation.stretch = Stretch::Fixed(1.0);
                self.relaxation.baseline = Baseline::One;
                self.structure.noise = Noise::FiniteCounting;
                self.arrhenius.average = Average::LogMean;
            }
        }
    }

    /// Whether tau is that of the likelihood: asked for, and with the other choices that it is made for.
    pub fn uses_likelihood(&self) -> bool {
        self.relaxation.estimator == Estimator::Likelihood
            && self.relaxation.stretch == Stretch::Fixed(1.0)
            && self.relaxation.baseline == Baseline::One
            && self.dynamics.normalization == Normalization::Flattened
    }

    /// Radius of the aperture's disc in spatial frequency, `α / λ`; NaN where voltage or angle are not known.
    pub fn disc_radius_per_nm(&self) -> f64 {
        let microscope = &self.microscope;
        match (microscope.voltage_kv, microscope.convergence_mrad) {
            (Some(voltage_kv), Some(mrad)) => 1e-3 * mrad / wavelength_nm(voltage_kv),
            _ => f64::NAN,
        }
    }

    /// Radius of the aperture in spatial frequency: that of the disc, else that of the aperture whose probe is as wide as stated; NaN where
    /// neither is known.
    pub fn aperture_radius_per_nm(&self) -> f64 {
        let disc = self.disc_radius_per_nm();
        match self.microscope.probe_fwhm_nm {
            Some(fwhm_nm) if disc.is_nan() => AIRY_FWHM / fwhm_nm,
            _ => disc,
        }
    }

    /// Full width at half maximum of the probe: as given, else `0.51 λ / α`; NaN where neither is known.
    pub fn probe_fwhm_nm(&self) -> f64 {
        let of_disc = || AIRY_FWHM / self.disc_radius_per_nm();
        self.microscope.probe_fwhm_nm.unwrap_or_else(of_disc)
    }

    /// The range that the annulus must hold: the union of the ranges asked for.
    pub fn annulus_range(&self) -> QRange {
        let asked = self
            .dynamics
            .q_range_per_nm
            .union(&self.structure.q_range_per_nm);
        self.reduction
            .q_range_per_nm
            .map_or(asked, |range| range.union(&asked))
    }
}

/// What was measured.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Sample {
    /// Such as "Zr50Cu40Al10".
    pub composition: String,
    /// Glass transition.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub glass_transition_k: Option<f64>,
    /// Spatial frequency (1/d, no 2π) of the first diffraction peak, to check the scale.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_peak_per_nm: Option<f64>,
}

/// How it was illuminated. What is given here wins over what the file states.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Microscope {
    /// Acceleration voltage.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub voltage_kv: Option<f64>,
    /// Convergence semi-angle.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub convergence_mrad: Option<f64>,
    /// Full width at half maximum of the probe.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub probe_fwhm_nm: Option<f64>,
    /// Probe current.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub probe_current_pa: Option<f64>,
}

/// The scan and the part of it that is analyzed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Scan {
    /// Distance of neighboring positions.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub step_nm: Option<f64>,
    /// The analyzed part; the whole scan where absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub region: Option<Region>,
    /// Only positions inside this polygon are looked at, corners `[row, col]` in scan positions of the file.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub polygon: Vec<[f64; 2]>,
    /// File of positions to look at (nonzero), `.npy`, in the shape of the scan or of the region.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mask_file: Option<PathBuf>,
    /// Whether vacuum is looked for.
    pub vacuum: VacuumSearch,
    /// Distance from the edge of vacuum within which positions are left out; at most half of the way to the deepest point.
    pub edge_margin_nm: f64,
    /// Lowest and highest thickness proxy (ring intensity over its median) that is looked at.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub thickness_window: Option<[f64; 2]>,
}

impl Default for Scan {
    fn default() -> Self {
        Self {
            step_nm: None,
            region: None,
            polygon: Vec::new(),
            mask_file: None,
            vacuum: VacuumSearch::default(),
            // A surface layer of about 1 nm is faster than the inside, and the probe reaches another one.
            edge_margin_nm: 2.0,
            thickness_window: None,
        }
    }
}

/// Whether vacuum is looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum VacuumSearch {
    /// Dark positions at the border of the scan that are clearly apart from the sample are vacuum.
    #[default]
    Auto,
    /// Every position is sample.
    None,
}

/// A rectangle, half-open: `[first, end]` along each axis.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Region {
    /// `[first row, one past the last]`.
    pub rows: [usize; 2],
    /// `[first column, one past the last]`.
    pub cols: [usize; 2],
}

/// Geometry and pixels of the pattern. Lengths are native detector pixels.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Pattern {
    /// Spatial frequency (1/d, no 2π) a native pixel.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub q_step_per_nm: Option<f64>,
    /// Native pixels summed along each side.
    pub bin: usize,
    /// `[row, col]`; found from the halo where absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub center: Option<[f64; 2]>,
    /// Movement of the center over the scan.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub descan: Option<Descan>,
    /// Movement of the center during the record.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub center_path: Option<CenterPath>,
    /// Elliptic distortion.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ellipse: Option<Ellipse>,
    /// Only this part of the pattern is used, the rest is treated as masked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub crop: Option<Region>,
    /// File of valid (nonzero) pixels, `.npy`, in the pattern's native shape.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mask_file: Option<PathBuf>,
    /// Parts of the pattern that are masked: beam stop, arm, dead areas.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub mask: Vec<MaskShape>,
    /// Dark pattern that is subtracted, or dark frames whose clipped mean is, `.npy`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dark_file: Option<PathBuf>,
    /// Gain pattern that is divided by (after the dark), `.npy`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gain_file: Option<PathBuf>,
    /// Columns of the row segments whose shared offset is subtracted from each frame.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub common_mode_cols: Option<usize>,
}

impl Default for Pattern {
    fn default() -> Self {
        Self {
            q_step_per_nm: None,
            bin: 1,
            center: None,
            descan: None,
            center_path: None,
            ellipse: None,
            crop: None,
            mask_file: None,
            mask: Vec::new(),
            dark_file: None,
            gain_file: None,
            common_mode_cols: None,
        }
    }
}

/// A part of the detector whose pixels are not used. Native pixels, `[row, col]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "shape", rename_all = "snake_case", deny_unknown_fields)]
pub enum MaskShape {
    /// Pixels within a radius of a point.
    Circle {
        /// `[row, col]`.
        center: [f64; 2],
        /// Radius in native pixels.
        radius: f64,
    },
    /// Pixels within half a width of the ray that starts at a point: the arm of a beam stop.
    Arm {
        /// Where the ray starts, `[row, col]`.
        start: [f64; 2],
        /// Direction from +column toward +row.
        angle_deg: f64,
        /// Full width in native pixels.
        width: f64,
    },
    /// Pixels whose azimuth about a point lies between two angles.
    Wedge {
        /// `[row, col]`.
        center: [f64; 2],
        /// First angle, from +column toward +row.
        from_deg: f64,
        /// Last angle.
        to_deg: f64,
    },
    /// A rectangle, half-open.
    Rectangle {
        /// `[first row, one past the last]`.
        rows: [usize; 2],
        /// `[first column, one past the last]`.
        cols: [usize; 2],
    },
    /// A polygon of `[row, col]` corners.
    Polygon {
        /// At least three corners.
        corners: Vec<[f64; 2]>,
    },
}

/// Whether something is measured from the data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Find {
    /// It is not measured.
    #[default]
    Off,
    /// It is measured from a sample of the frames, unless the recipe states it elsewhere.
    Auto,
}

/// How it is found what the microscope did to the patterns. What `pattern` states wins over what is measured.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CalibrationSettings {
    /// The center, from halo and symmetry; `off`: from a quick look at a few hundred frames.
    pub center: Find,
    /// Movement of the center over the scan.
    pub descan: Find,
    /// Movement of the center during the record.
    pub center_path: Find,
    /// Elliptic distortion.
    pub ellipse: Find,
    /// Pixels that the beam stop shades, beside those of `pattern.mask` and `pattern.mask_file`.
    pub beam_stop: Find,
    /// Native pixels by which the stop that was found is widened.
    pub grow_px: usize,
    /// Hot, dead, noisy and saturated pixels, and spikes of single frames.
    pub bad_pixels: Find,
    /// Spatial frequency of the first halo where it is known: it makes the scale instead of `pattern.q_step_per_nm`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ring_per_nm: Option<f64>,
    /// Camera length; with the pixel size and the voltage it makes the scale where none is stated.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub camera_length_mm: Option<f64>,
    /// Size of a native detector pixel.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pixel_um: Option<f64>,
    /// Frames that are read for it, in MiB.
    pub sample_mib: u64,
}

impl Default for CalibrationSettings {
    fn default() -> Self {
        Self {
            center: Find::Off,
            descan: Find::Off,
            center_path: Find::Off,
            ellipse: Find::Off,
            beam_stop: Find::Off,
            grow_px: 0,
            bad_pixels: Find::Off,
            ring_per_nm: None,
            camera_length_mm: None,
            pixel_um: None,
            // 250 000 patterns of 66 x 66, 7 700 of 264 x 264: read in seconds.
            sample_mib: 1024,
        }
    }
}

impl CalibrationSettings {
    /// The same where everything is measured.
    pub fn auto(self) -> Self {
        Self {
            center: Find::Auto,
            descan: Find::Auto,
            center_path: Find::Auto,
            ellipse: Find::Auto,
            beam_stop: Find::Auto,
            bad_pixels: Find::Auto,
            ..self
        }
    }

    /// Whether anything needs the sample of frames.
    pub fn needs_survey(&self) -> bool {
        let found = [
            self.center,
            self.descan,
            self.center_path,
            self.ellipse,
            self.beam_stop,
            self.bad_pixels,
        ];
        found.contains(&Find::Auto) || self.ring_per_nm.is_some()
    }
}

/// What the one pass over the data keeps.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ReductionSettings {
    /// The annulus; at least the union of the ranges that are analyzed is kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub q_range_per_nm: Option<QRange>,
}

/// The time axis.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TimeSettings {
    /// Which statement about time is believed.
    pub basis: TimeBasis,
    /// Scans that are left out, by index.
    pub exclude: Vec<usize>,
    /// What happens to blinks, doubled, distorted and lost scans and frames.
    pub bad_scans: BadScans,
}

/// What happens to scans and frames that are none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BadScans {
    /// They are found, listed and left out.
    #[default]
    LeaveOut,
    /// They are used like all others.
    Keep,
}

/// How intervals are made.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct IntervalSettings {
    /// Folded azimuthal sectors (opposite ones together) that the jackknife leaves out one at a time.
    pub sectors: usize,
    /// Probability that the interval is meant to cover.
    pub level: f64,
}

impl Default for IntervalSettings {
    fn default() -> Self {
        // Six folded sectors with Student's t cover best of the sector jackknives that were simulated.
        Self {
            sectors: 6,
            level: 0.95,
        }
    }
}

/// Several temperatures.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ArrheniusSettings {
    /// Which average of the map is the headline; all are shown.
    pub average: Average,
}

/// What is written.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct OutputSettings {
    /// Folder of the results, beside the recipe unless absolute.
    pub folder: PathBuf,
    /// Whether the reduction is kept, so that other settings do not read the raw data again.
    pub keep_reduction: bool,
    /// Draw PNG files beside the SVG files.
    pub png: bool,
    /// Draw PDF files as well; needs a build with the feature `pdf`.
    pub pdf: bool,
    /// Share of bad positions above which the exit code is 10.
    pub max_bad: f64,
}

impl Default for OutputSettings {
    fn default() -> Self {
        Self {
            folder: PathBuf::from("halotau-results"),
            keep_reduction: true,
            png: true,
            pdf: false,
            max_bad: 0.5,
        }
    }
}

/// One series of scans. What is given here wins over what the file states.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DataBlock {
    /// Temperature of the sample.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub temperature_k: Option<f64>,
    /// A file, or a folder of one-scan files in natural order. Relative to the recipe.
    pub path: PathBuf,
    /// One-scan files in order, instead of a folder.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<PathBuf>,
    /// Path of the dataset inside an HDF5 file or a Zarr group.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dataset: Option<String>,
    /// `[time, scan row, scan col, pattern row, pattern col]` where the file does not know; one entry may be 0 for "find out".
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shape: Option<[usize; 5]>,
    /// Scans to take, from the first; what follows them in the file may be cut short.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub n_times: Option<usize>,
    /// Layout of a raw binary file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub raw: Option<RawLayout>,
    /// Which frames of a camera's recording belong to which positions.
    #[serde(skip_serializing_if = "FrameLayout::is_default")]
    pub frames: FrameLayout,
    /// What `halotau calibrate --write` found for this series; it wins over `calibration`, and `pattern` over both.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub calibration: Option<PathBuf>,
    /// Nominal time from scan to scan.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub period_s: Option<f64>,
    /// Time from the start of the first scan to the end of the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub total_s: Option<f64>,
    /// Start of each scan.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub times_s: Option<Vec<f64>>,
    /// Exposure of one pattern.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dwell_ms: Option<f64>,
}

/// Layout of a raw binary file: a header, then frames with a gap between them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawLayout {
    /// Number type of the samples.
    pub sample_type: crate::series::SampleType,
    /// Whether the most significant byte comes first.
    #[serde(default)]
    pub big_endian: bool,
    /// Bytes before the first frame.
    #[serde(default)]
    pub header_bytes: u64,
    /// Bytes before each frame.
    #[serde(default)]
    pub frame_header_bytes: u64,
    /// Bytes after each frame.
    #[serde(default)]
    pub frame_footer_bytes: u64,
    /// Bytes before each scan, in addition.
    #[serde(default)]
    pub scan_header_bytes: u64,
}
