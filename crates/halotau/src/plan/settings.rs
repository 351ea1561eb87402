//! What is planned: the experiment as it would be done, and the glass as it is expected. The defaults are the paper's.

use serde::{Deserialize, Serialize};

use crate::arrhenius::GAS_CONSTANT;
use crate::axes::{AIRY_FWHM, QRange, wavelength_nm};
use crate::error::{Error, Result};
use crate::simulate::{BeamStop, Halo};

/// How tau would be estimated. The error follows from it, so that a plan names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Estimator {
    /// The paper's: least squares of g at all lags, every lag with the same weight.
    Paper,
    /// Least squares of g at lags up to half of the record, weighted with the pairs of scans: `relaxation.estimator = "least_squares"` in the
    /// profile `recommended`.
    PairWeighted,
    /// The likelihood of the covariance of the scans, averaged over pixels.
    PixelLikelihood,
    /// The likelihood of the fluctuations in spatial modes of the speckle: that of the profile `recommended`.
    #[default]
    Likelihood,
}

/// Every parameter of a plan. Keys that `simulate` has too have the same names here.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PlanSettings {
    /// Rows of the part of the scan that is analyzed.
    pub n_rows: usize,
    /// Columns of it.
    pub n_cols: usize,
    /// Positions of a whole scan, those that are not analyzed too; `n_rows * n_cols` where absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub n_scanned: Option<usize>,
    /// Distance of neighboring positions.
    pub step_nm: f64,
    /// Number of scans.
    pub n_times: usize,
    /// Temperatures; the lists of dwell and total time go along, or hold one value for all.
    pub temperature_k: Vec<f64>,
    /// Time from the start of the first scan to the end of the last, `[temperature]`.
    pub total_s: Vec<f64>,
    /// Time from scan to scan, `[temperature]`, instead of `total_s`; wins where both are given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub period_s: Option<Vec<f64>>,
    /// Exposure of one pattern, `[temperature]`.
    pub dwell_ms: Vec<f64>,
    /// Acceleration voltage; it sets the wavelength.
    pub voltage_kv: f64,
    /// Convergence semi-angle; with the wavelength it sets the size of probe and speckle.
    pub convergence_mrad: f64,
    /// Full width at half maximum of a probe that is wider than `0.51 λ / α`; its profile is then taken as normal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub probe_fwhm_nm: Option<f64>,
    /// Beam current.
    pub probe_current_pa: f64,
    /// Share of the electrons that arrives in the halo, outside the beam stop.
    pub collected: f64,
    /// Rows of a pattern, after binning.
    pub pattern_rows: usize,
    /// Columns of a pattern, after binning.
    pub pattern_cols: usize,
    /// Spatial frequency (1/d, no 2π) a pattern pixel, after binning.
    pub q_step_per_nm: f64,
    /// Camera length; with `pixel_um` and the voltage it makes the scale instead of `q_step_per_nm`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub camera_length_mm: Option<f64>,
    /// Size of a pattern pixel, after binning.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pixel_um: Option<f64>,
    /// Degree of Friedel symmetry: 0 in thick samples, 1 in thin ones, where Q and −Q are one speckle.
    pub friedel_degree: f64,
    /// Ring of the relaxation time.
    pub tau_range_per_nm: QRange,
    /// Ring of V.
    pub structure_range_per_nm: QRange,
    /// How tau is estimated.
    pub estimator: Estimator,
    /// Probability of the intervals.
    pub level: f64,
    /// Whether every temperature sees the same part of the sample; else the spread of the sample is in the error of E.
    pub same_field: bool,
    /// What is expected of the glass.
    pub glass: ExpectedGlass,
    /// Mean intensity over the pattern.
    pub halo: Halo,
    /// What shades the detector; a radius and a width of 0 for nothing.
    pub beam_stop: BeamStop,
    /// What would be enough.
    pub goal: Goal,
}

/// What is expected of the glass.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ExpectedGlass {
    /// Median of tau at the reference temperature.
    pub tau_median_s: f64,
    /// Temperature of that median.
    pub reference_temperature_k: f64,
    /// Standard deviation of the true ln tau over the sample.
    pub ln_tau_spread: f64,
    /// Exponent of the relaxation.
    pub stretch: f64,
    /// Activation energy of tau.
    pub activation_energy_kj_per_mol: f64,
    /// Mean contrast V of a noise-free pattern.
    pub contrast_mean: f64,
    /// Standard deviation of the true V over the sample.
    pub contrast_spread: f64,
    /// True rank correlation of tau and V that is to be found.
    pub spearman: f64,
    /// Distance at which the spatial correlation of the true maps has fallen to 1/e.
    pub correlation_length_nm: f64,
}

impl Default for ExpectedGlass {
    fn default() -> Self {
        Self {
            tau_median_s: 1000.0,
            reference_temperature_k: 633.0,
            // The paper's 200-5000 s are two such spreads to either side of 1000 s.
            ln_tau_spread: 0.7,
            stretch: 1.0,
            activation_energy_kj_per_mol: 97.0,
            contrast_mean: 0.6,
            // Evenly between the paper's 0.45 and 0.75.
            contrast_spread: 0.087,
            spearman: 0.4,
            // White maps seen through a window of 3.6 steps of 0.16 nm, as in the study of the relation.
            correlation_length_nm: 1.15,
        }
    }
}

/// What would be enough.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Goal {
    /// Probability to find the relation.
    pub power: f64,
    /// Standard error of ln tau of one position at the median tau.
    pub ln_tau_error: f64,
    /// Standard error of the activation energy.
    pub activation_energy_error_kj_per_mol: f64,
}

impl Default for Goal {
    fn default() -> Self {
        Self {
            // Four of five experiments: the custom of trials.
            power: 0.8,
            // Two thirds of the positions then have a tau within 10 %.
            ln_tau_error: 0.1,
            // A tenth of the paper's energy.
            activation_energy_error_kj_per_mol: 10.0,
        }
    }
}

impl Default for PlanSettings {
    fn default() -> Self {
        Self {
            n_rows: 60,
            n_cols: 60,
            n_scanned: None,
            step_nm: 0.16,
            n_times: 106,
            temperature_k: vec![633.0, 643.0, 653.0, 663.0, 673.0],
            total_s: vec![1048.0, 1048.0, 524.0, 524.0, 524.0],
            period_s: None,
            dwell_ms: vec![1.0, 1.0, 0.5, 0.5, 0.5],
            voltage_kv: 200.0,
            convergence_mrad: 1.6,
            probe_fwhm_nm: None,
            probe_current_pa: 8.9,
            collected: 0.4,
            pattern_rows: 66,
            pattern_cols: 66,
            q_step_per_nm: 0.232,
            camera_length_mm: None,
            pixel_um: None,
            friedel_degree: 0.0,
            tau_range_per_nm: QRange::new(3.0, 5.8),
            structure_range_per_nm: QRange::new(3.0, 5.8),
            estimator: Estimator::default(),
            level: 0.95,
            same_field: false,
            glass: ExpectedGlass::default(),
            halo: Halo::default(),
            // An arm five binned pixels wide: 4.2-4.6 1/nm then keeps as many pixels as the paper's ring.
            beam_stop: BeamStop {
                arm_width_per_nm: 1.16,
                arm_angle_deg: 180.0,
                ..BeamStop::default()
            },
            goal: Goal::default(),
        }
    }
}

/// The value of a list for a temperature; one value stands for all.
fn of(list: &[f64], idx: usize) -> f64 {
    list.get(idx).or(list.first()).copied().unwrap_or(f64::NAN)
}

impl PlanSettings {
    /// Time from scan to scan at a temperature.
    pub fn step_s(&self, idx: usize) -> f64 {
        match &self.period_s {
            Some(period_s) => of(period_s, idx),
            None => of(&self.total_s, idx) / self.n_times as f64,
        }
    }

    /// Length of the record at a temperature.
    pub fn record_s(&self, idx: usize) -> f64 {
        self.step_s(idx) * self.n_times as f64
    }

    /// Exposure of one pattern at a temperature.
    pub fn dwell_at_ms(&self, idx: usize) -> f64 {
        of(&self.dwell_ms, idx)
    }

    /// Median of tau at a temperature: `median · exp(E/R · (1/T − 1/T_reference))`.
    pub fn tau_s(&self, idx: usize) -> f64 {
        let glass = &self.glass;
        let inverse = 1.0 / self.temperature_k[idx] - 1.0 / glass.reference_temperature_k;
        let energy = 1e3 * glass.activation_energy_kj_per_mol / GAS_CONSTANT;
        glass.tau_median_s * libm::exp(energy * inverse)
    }

    /// The temperature that is nearest to the reference.
    pub fn reference_idx(&self) -> usize {
        let off =
            |idx: &usize| (self.temperature_k[*idx] - self.glass.reference_temperature_k).abs();
        (0..self.temperature_k.len())
            .min_by(|one, other| off(one).total_cmp(&off(other)))
            .unwrap_or(0)
    }

    /// Positions of a whole scan.
    pub fn positions_scanned(&self) -> usize {
        self.n_scanned
            .unwrap_or(self.n_rows.saturating_mul(self.n_cols))
    }

    /// Radius of a diffraction disc.
    pub fn disc_radius_per_nm(&self) -> f64 {
        1e-3 * self.convergence_mrad / wavelength_nm(self.voltage_kv)
    }

    /// Full width at half maximum of the probe: as given, else `0.51 λ / α`.
    pub fn fwhm_nm(&self) -> f64 {
        self.probe_fwhm_nm
            .unwrap_or_else(|| AIRY_FWHM / self.disc_radius_per_nm())
    }

    /// Spatial frequency a pattern pixel: from the camera length where that is given, `pixel / (λ · camera length)`.
    pub fn pixel_per_nm(&self) -> f64 {
        match (self.camera_length_mm, self.pixel_um) {
            (Some(camera_length_mm), Some(pixel_um)) => {
                1e-3 * pixel_um / (wavelength_nm(self.voltage_kv) * camera_length_mm)
            }
            _ => self.q_step_per_nm,
        }
    }

    /// Checks every value that can be wrong by itself.
    ///
    /// # Errors
    ///
    /// [`Error::Setting`] with the key and what would be right.
    pub fn check(&self) -> Result<()> {
        let glass = &self.glass;
        let positive = [
            ("step_nm", self.step_nm),
            ("voltage_kv", self.voltage_kv),
            ("convergence_mrad", self.convergence_mrad),
            ("probe_current_pa", self.probe_current_pa),
            ("collected", self.collected),
            ("q_step_per_nm", self.q_step_per_nm),
            ("probe_fwhm_nm", self.probe_fwhm_nm.unwrap_or(1.0)),
            ("camera_length_mm", self.camera_length_mm.unwrap_or(1.0)),
            ("pixel_um", self.pixel_um.unwrap_or(1.0)),
            ("glass.tau_median_s", glass.tau_median_s),
            (
                "glass.reference_temperature_k",
                glass.reference_temperature_k,
            ),
            ("glass.contrast_mean", glass.contrast_mean),
            ("glass.correlation_length_nm", glass.correlation_length_nm),
            ("halo.width_per_nm", self.halo.width_per_nm),
            ("goal.ln_tau_error", self.goal.ln_tau_error),
            (
                "goal.activation_energy_error_kj_per_mol",
                self.goal.activation_energy_error_kj_per_mol,
            ),
        ];
        for (key, value) in positive {
            need(
                value.is_finite() && value > 0.0,
                key,
                value,
                "must be positive",
            )?;
        }
        let not_negative = [
            ("glass.ln_tau_spread", glass.ln_tau_spread),
            ("glass.contrast_spread", glass.contrast_spread),
            ("halo.background", self.halo.background),
            ("beam_stop.radius_per_nm", self.beam_stop.radius_per_nm),
            (
                "beam_stop.arm_width_per_nm",
                self.beam_stop.arm_width_per_nm,
            ),
        ];
        for (key, value) in not_negative {
            need(
                value.is_finite() && value >= 0.0,
                key,
                value,
                "must not be negative",
            )?;
        }
        let finite = [
            (
                "glass.activation_energy_kj_per_mol",
                glass.activation_energy_kj_per_mol,
            ),
            ("halo.q_ring_per_nm", self.halo.q_ring_per_nm),
            ("beam_stop.arm_angle_deg", self.beam_stop.arm_angle_deg),
        ];
        for (key, value) in finite {
            need(value.is_finite(), key, value, "must be a finite number")?;
        }
        let shares = [
            ("collected", self.collected),
            ("friedel_degree", self.friedel_degree),
            ("glass.contrast_mean", glass.contrast_mean),
        ];
        for (key, value) in shares {
            need(
                (0.0..=1.0).contains(&value),
                key,
                value,
                "must lie between 0 and 1",
            )?;
        }
        for (key, value) in [("level", self.level), ("goal.power", self.goal.power)] {
            need(
                value > 0.0 && value < 1.0,
                key,
                value,
                "is a probability between 0 and 1, such as 0.95",
            )?;
        }
        need(
            glass.spearman.abs() < 1.0,
            "glass.spearman",
            glass.spearman,
            "must lie between -1 and 1",
        )?;
        need(
            glass.stretch > 0.0 && glass.stretch <= 2.0,
            "glass.stretch",
            glass.stretch,
            "must lie in (0, 2]: beyond 2 no stationary process has this correlation",
        )?;
        self.check_counts()?;
        self.check_lists()?;
        self.tau_range_per_nm.check("tau_range_per_nm")?;
        self.structure_range_per_nm.check("structure_range_per_nm")
    }

    fn check_counts(&self) -> Result<()> {
        // The bounds keep a slip of the keyboard from costing hours; real experiments are far inside.
        let counts = [
            ("n_rows", self.n_rows, 1, 4096),
            ("n_cols", self.n_cols, 1, 4096),
            ("n_times", self.n_times, 8, 1_000_000),
            ("pattern_rows", self.pattern_rows, 8, 2048),
            ("pattern_cols", self.pattern_cols, 8, 2048),
        ];
        for (key, value, least, most) in counts {
            need(
                (least..=most).contains(&value),
                key,
                value,
                &format!("must lie between {least} and {most}"),
            )?;
        }
        let n_analyzed = self.n_rows * self.n_cols;
        need(
            self.positions_scanned() >= n_analyzed,
            "n_scanned",
            self.positions_scanned(),
            &format!("the analyzed part alone has {n_analyzed} positions"),
        )?;
        need(
            self.camera_length_mm.is_some() == self.pixel_um.is_some(),
            "camera_length_mm",
            self.camera_length_mm.unwrap_or(f64::NAN),
            "camera_length_mm and pixel_um make the scale together; give both, or q_step_per_nm",
        )
    }

    fn check_lists(&self) -> Result<()> {
        let n_temperatures = self.temperature_k.len();
        let lists = [
            ("temperature_k", Some(&self.temperature_k)),
            ("total_s", Some(&self.total_s)),
            ("period_s", self.period_s.as_ref()),
            ("dwell_ms", Some(&self.dwell_ms)),
        ];
        for (key, list) in lists {
            let Some(list) = list else { continue };
            // What a period makes needless may be of any length.
            if key == "total_s" && self.period_s.is_some() {
                continue;
            }
            let holds = n_temperatures > 0
                && (list.len() == n_temperatures || list.len() == 1)
                && list.iter().all(|&value| value.is_finite() && value > 0.0);
            let problem = if n_temperatures == 0 {
                "name at least one temperature".to_owned()
            } else {
                format!(
                    "must hold one positive value, or one for each of {n_temperatures} temperatures"
                )
            };
            need(holds, key, format!("{list:?}"), &problem)?;
        }
        let n_scanned = self.positions_scanned();
        for idx in 0..n_temperatures {
            let scan_s = 1e-3 * self.dwell_at_ms(idx) * n_scanned as f64;
            let step_s = self.step_s(idx);
            // A hair of rounding is no contradiction.
            need(
                scan_s <= 1.001 * step_s,
                if self.period_s.is_some() {
                    "period_s"
                } else {
                    "total_s"
                },
                if self.period_s.is_some() {
                    step_s
                } else {
                    self.record_s(idx)
                },
                &format!(
                    "{n_scanned} positions of {} ms take {scan_s:.2} s, but scans would start every {step_s:.2} s at {} K; \
                     fewer positions, a shorter dwell, or fewer scans in the record",
                    self.dwell_at_ms(idx),
                    self.temperature_k[idx]
                ),
            )?;
        }
        Ok(())
    }
}

fn need(holds: bool, key: &str, value: impl std::fmt::Display, problem: &str) -> Result<()> {
    if holds {
        return Ok(());
    }
    Err(Error::Setting {
        key: key.to_owned(),
        value: value.to_string(),
        problem: problem.to_owned(),
    })
}
