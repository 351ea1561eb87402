//! How good will the experiment be, and what would make it better?
//!
//! Before beam time is spent, all that limits the result is known: how many speckles the ring holds, how many electrons and scans there are, how
//! much of the sample the field covers. [`plan`] goes from there to the numbers that a report will print, with the same estimators:
//!
//! ```text
//! ring, aperture        ─▶ pixels, speckles N₂ and N₄, shot noise                    plan/pixels
//! scans, tau, estimator ─▶ errors of ln tau and V of one position                    plan/precision
//! interval              = τ exp(± z σ(ln τ)),       reliability R = s²/(s² + ⟨σ²⟩)    s: true spread over the sample
//! too long, too short   = share of positions with an estimate above the record, below two steps
//! field, step, probe    ─▶ effective positions, r, its interval, power               plan/field
//! σ²(mean ln τ)         = s² c̄ + ⟨σ²⟩ k̄         c̄, k̄: means over all pairs of positions of the correlation of truth and errors
//! E                     = line through the means, eq. (4), with these errors         arrhenius
//! ```
//!
//! ⟨σ²⟩ is over the expected log-normal distribution of tau (Gauss-Hermite, five points). With `same_field` the spread of the sample is
//! the same at all temperatures and leaves E alone. Drift, damage, thickness and everything else that is not counting speckles comes on top: a
//! plan is what is left when nothing goes wrong.
//!
//! Sources: the modules named; Kuder and Richardson's reliability as in Spearman, Am. J. Psychol. 15, 72 (1904). Nakazawa et al., NPG Asia
//! Mater. 16 (2024), for the defaults.

mod changes;
mod field;
mod pixels;
mod precision;
mod settings;

use serde::{Deserialize, Serialize};

use crate::arrhenius::{self, ArrheniusPoint, Average};
use crate::axes::AIRY_FWHM;
use crate::beam::Dose;
use crate::error::Result;
use crate::statistics::{Estimate, normal_quantile};
use field::{Field, Maps};
use pixels::PixelSets;
use precision::{Precision, Relaxation, Scans};

pub use changes::{Advice, Aim, Change, ChangeKind, Needs};
pub use field::ExpectedRelation;
pub use pixels::PixelSet;
pub use settings::{Estimator, ExpectedGlass, Goal, PlanSettings};

/// What is expected of an experiment, and what would change it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// The experiment as planned.
    pub expected: Expected,
    /// Index of the temperature that the changes are judged at.
    pub reference: usize,
    /// Changes, each by itself, with what they cost and bring.
    pub changes: Vec<Change>,
    /// For each aim whether it is reached, and the cheapest change that brings it nearer.
    pub advice: Vec<Advice>,
    /// How far one would have to go with one change alone.
    pub needs: Needs,
    /// What a person should know.
    pub notes: Vec<String>,
}

/// What is expected of an experiment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Expected {
    /// The ring of tau.
    pub ring: PixelSet,
    /// The ring of V.
    pub structure_ring: PixelSet,
    /// Width of a speckle in pattern pixels.
    pub speckle_px: f64,
    /// Full width at half maximum of the probe.
    pub probe_fwhm_nm: f64,
    /// One entry a temperature, in the order of the settings.
    pub temperatures: Vec<ExpectedMaps>,
    /// Activation energy with its interval; none for one temperature.
    pub activation_energy_kj_per_mol: Option<Estimate>,
    /// Time of all records together, s.
    pub total_s: f64,
}

/// What is expected of one temperature.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ExpectedMaps {
    /// Temperature.
    pub temperature_k: f64,
    /// Expected median of tau.
    pub tau_s: f64,
    /// Time from scan to scan.
    pub step_s: f64,
    /// Length of the record.
    pub record_s: f64,
    /// The dose.
    pub dose: Dose,
    /// Electrons in a pixel of the ring in one pattern.
    pub electrons_per_pixel: f64,
    /// Standard error of ln tau of one position with the median tau.
    pub ln_tau_error: f64,
    /// The interval that one such position would get.
    pub tau_interval_s: [f64; 2],
    /// Share of positions whose estimate lies beyond the record: limits only.
    pub beyond_record: f64,
    /// Share of positions whose estimate lies below two steps: no number.
    pub below_step: f64,
    /// Share of the variance of the map of ln tau that is the sample's.
    pub tau_reliability: f64,
    /// Standard error of V of one position.
    pub fluctuation_error: f64,
    /// Share of the variance of the map of V that is the sample's.
    pub fluctuation_reliability: f64,
    /// The test of the relation.
    pub relation: ExpectedRelation,
    /// Standard error of the mean of ln tau over the field.
    pub ln_tau_mean_error: f64,
}

/// Predicts how good an experiment will be.
///
/// # Errors
///
/// [`Error::Setting`](crate::Error::Setting) for values that make no sense, with their key, such as scans that start before the last one is done;
/// [`Error::RingOutside`](crate::Error::RingOutside) and [`Error::EmptyRing`](crate::Error::EmptyRing) for rings that the detector does not hold.
///
/// # Example
///
/// ```
/// use halotau::plan::{Estimator, PlanSettings, plan};
///
/// // One temperature of the paper.
/// let settings = PlanSettings { temperature_k: vec![633.0], total_s: vec![1048.0], dwell_ms: vec![1.0], ..PlanSettings::default() };
/// let expected = plan(&settings)?.expected.temperatures[0];
/// // With tau as long as the record, one position knows it to 6 % by the likelihood, to 15 % by a fit of g.
/// assert!((0.05..0.07).contains(&expected.ln_tau_error));
/// let fit = PlanSettings { estimator: Estimator::PairWeighted, ..settings };
/// assert!((0.13..0.17).contains(&plan(&fit)?.expected.temperatures[0].ln_tau_error));
/// // 3600 positions that share probes are worth about a hundred.
/// assert!((60.0..150.0).contains(&expected.relation.n_effective));
/// # Ok::<(), halotau::Error>(())
/// ```
pub fn plan(settings: &PlanSettings) -> Result<Plan> {
    let mut known = Known::default();
    let expected = known.expect(settings)?;
    let reference = settings.reference_idx();
    let changes = changes::changes(settings, &expected, reference, &mut known);
    Ok(Plan {
        advice: changes::advice(settings, &expected, reference, &changes),
        needs: changes::needs(settings, &expected, reference, &mut known),
        notes: notes(settings, &expected),
        changes,
        reference,
        expected,
    })
}

/// The ring of tau and the ring of V: pixels, speckles and electrons.
///
/// # Errors
///
/// As [`plan`].
pub fn rings(settings: &PlanSettings) -> Result<[PixelSet; 2]> {
    settings.check()?;
    let sets = PixelSets::new(settings)?;
    Ok([sets.tau[0], sets.structure[0]])
}

/// Precisions that were computed before: most changes leave most of them as they are.
#[derive(Debug, Default)]
struct Known {
    precisions: Vec<(PrecisionKey, Precision)>,
}

/// Estimator, scans, relaxation and noise.
type PrecisionKey = (Estimator, Scans, Relaxation, f64);

/// Points and weights of Gauss-Hermite quadrature for a standard normal variable.
const NORMAL_POINTS: [(f64, f64); 5] = [
    (-2.856_970_013_872_806, 0.011_257_411_327_720_69),
    (-1.355_626_179_974_266, 0.222_075_922_005_612_6),
    (0.0, 0.533_333_333_333_333_3),
    (1.355_626_179_974_266, 0.222_075_922_005_612_6),
    (2.856_970_013_872_806, 0.011_257_411_327_720_69),
];

impl Known {
    fn precision(
        &mut self,
        settings: &PlanSettings,
        idx: usize,
        tau_s: f64,
        noise: f64,
    ) -> Precision {
        let scans = Scans {
            n_times: settings.n_times,
            step_s: settings.step_s(idx),
        };
        let relaxation = Relaxation {
            tau_s,
            stretch: settings.glass.stretch,
            contrast: settings.glass.contrast_mean,
        };
        let key = (settings.estimator, scans, relaxation, noise);
        if let Some((_, precision)) = self.precisions.iter().find(|(known, _)| *known == key) {
            return *precision;
        }
        let precision = Precision::new(settings.estimator, scans, relaxation, noise);
        self.precisions.push((key, precision));
        precision
    }

    /// Predicts all temperatures and the energy.
    fn expect(&mut self, settings: &PlanSettings) -> Result<Expected> {
        settings.check()?;
        let sets = PixelSets::new(settings)?;
        let field = Field::new(settings);
        let temperatures: Vec<ExpectedMaps> = (0..settings.temperature_k.len())
            .map(|idx| self.maps(settings, &sets, &field, idx))
            .collect();
        let speckle_per_nm = match settings.probe_fwhm_nm {
            // As wide as the disc of an aperture whose probe has this width.
            Some(fwhm_nm) => 2.0 * AIRY_FWHM / fwhm_nm,
            None => 2.0 * settings.disc_radius_per_nm(),
        };
        Ok(Expected {
            ring: sets.tau[0],
            structure_ring: sets.structure[0],
            speckle_px: speckle_per_nm / settings.pixel_per_nm(),
            probe_fwhm_nm: settings.fwhm_nm(),
            activation_energy_kj_per_mol: energy(settings, &temperatures),
            total_s: temperatures.iter().map(|maps| maps.record_s).sum(),
            temperatures,
        })
    }

    fn maps(
        &mut self,
        settings: &PlanSettings,
        sets: &PixelSets,
        field: &Field,
        idx: usize,
    ) -> ExpectedMaps {
        let glass = &settings.glass;
        let (tau_s, step_s) = (settings.tau_s(idx), settings.step_s(idx));
        let (record_s, dwell_ms) = (settings.record_s(idx), settings.dwell_at_ms(idx));
        let noise = sets.tau[0].noise_ms / dwell_ms;
        let median = self.precision(settings, idx, tau_s, noise);
        let points: Vec<(Precision, f64)> = if glass.ln_tau_spread == 0.0 {
            vec![(median, 1.0)]
        } else {
            NORMAL_POINTS
                .iter()
                .map(|&(z, weight)| {
                    let tau_s = tau_s * libm::exp(glass.ln_tau_spread * z);
                    (self.precision(settings, idx, tau_s, noise), weight)
                })
                .collect()
        };
        let mean = |value: &dyn Fn(&Precision) -> f64| -> f64 {
            points.iter().map(|(at, weight)| weight * value(at)).sum()
        };
        let share = |truth: f64, error: f64| {
            if truth > 0.0 {
                truth / (truth + error)
            } else {
                0.0
            }
        };
        let truth_tau = glass.ln_tau_spread.powi(2);
        let truth_v = glass.contrast_spread.powi(2);
        let [ring, half_ring] = &sets.tau;
        let [structure, half_structure] = &sets.structure;
        let noise_tau = mean(&|at| at.ln_tau_variance(ring));
        let noise_v = mean(&|at| at.fluctuation_variance(structure));
        let maps = Maps {
            tau: share(truth_tau, mean(&|at| at.ln_tau_variance(half_ring))),
            fluctuation: share(truth_v, mean(&|at| at.fluctuation_variance(half_structure))),
            errors_alike: median.error_correlation(half_ring),
        };
        let ln_tau_error = libm::sqrt(median.ln_tau_variance(ring));
        let half = normal_quantile(0.5 + 0.5 * settings.level) * ln_tau_error;
        let spread = libm::sqrt(truth_tau + noise_tau);
        let below = |limit_s: f64| {
            let z = libm::log(limit_s / tau_s) / spread;
            0.5 * libm::erfc(-z * std::f64::consts::FRAC_1_SQRT_2)
        };
        let of_sample = if settings.same_field { 0.0 } else { truth_tau };
        ExpectedMaps {
            temperature_k: settings.temperature_k[idx],
            tau_s,
            step_s,
            record_s,
            dose: Dose::new(
                settings.probe_current_pa,
                dwell_ms,
                settings.step_nm,
                settings.n_times,
                step_s,
            ),
            electrons_per_pixel: ring.electrons_per_ms * dwell_ms,
            ln_tau_error,
            tau_interval_s: [tau_s * libm::exp(-half), tau_s * libm::exp(half)],
            beyond_record: 1.0 - below(record_s),
            below_step: below(2.0 * step_s),
            tau_reliability: share(truth_tau, noise_tau),
            fluctuation_error: libm::sqrt(noise_v),
            fluctuation_reliability: share(truth_v, noise_v),
            relation: field.relation(&maps, glass.spearman, settings.level),
            ln_tau_mean_error: libm::sqrt(field.variance_of_mean(of_sample, noise_tau)),
        }
    }
}

/// The energy that the line through the expected means has, with their errors.
fn energy(settings: &PlanSettings, temperatures: &[ExpectedMaps]) -> Option<Estimate> {
    let points: Vec<ArrheniusPoint> = temperatures
        .iter()
        .map(|maps| ArrheniusPoint {
            temperature_k: maps.temperature_k,
            tau_s: maps.tau_s,
            ln_tau_error: maps.ln_tau_mean_error,
        })
        .collect();
    // One temperature alone has no line.
    let line = arrhenius::fit(&points, Average::LogMean, settings.level).ok()?;
    let [lower, upper] = line.activation_energy_interval_kj_per_mol;
    Some(Estimate {
        value: line.activation_energy_kj_per_mol,
        error: line.activation_energy_error_kj_per_mol,
        lower,
        upper,
    })
}

/// What a person should know of the settings.
fn notes(settings: &PlanSettings, expected: &Expected) -> Vec<String> {
    let mut notes = Vec::new();
    if expected.speckle_px < 2.0 {
        notes.push(format!(
            "A speckle is {:.1} pattern pixels wide: below two, pixels average over speckles and V is lower than expected here; bin less.",
            expected.speckle_px
        ));
    }
    for maps in &expected.temperatures {
        let at = format!("At {} K", maps.temperature_k);
        if maps.beyond_record > 0.5 {
            notes.push(format!(
                "{at} {:.0} % of the positions relax slower than the record: their tau is extrapolated, and averages rest on the model.",
                100.0 * maps.beyond_record
            ));
        }
        if maps.below_step > 0.1 {
            notes.push(format!(
                "{at} {:.0} % of the positions relax within two scans and give no number: scan faster.",
                100.0 * maps.below_step
            ));
        }
    }
    if expected.probe_fwhm_nm < 1.5 * settings.step_nm {
        notes.push(format!(
            "Positions are {:.2} nm apart under a probe of {:.2} nm: drift cannot be told from the speckle of neighbors; an edge of the sample is needed.",
            settings.step_nm, expected.probe_fwhm_nm
        ));
    }
    notes
}
