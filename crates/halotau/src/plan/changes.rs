//! What would make the experiment better, and at what price?
//!
//! Each change is predicted by itself, in full. Its price is the beam time and the dose on the sample, relative to the plan; what it costs otherwise is said in
//! words. The cheapest is the one with the least time, then the least dose, then the largest gain, of those that bring an aim clearly nearer:
//! an error of 0.9 times, or a power that is 0.05 higher.

use serde::{Deserialize, Serialize};

use super::settings::{Estimator, PlanSettings};
use super::{Expected, Known};

/// What is wanted of an experiment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Aim {
    /// Relaxation times of single positions.
    Tau,
    /// Whether structure and dynamics are related.
    Relation,
    /// The activation energy.
    Energy,
}

/// A change of the experiment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ChangeKind {
    /// The likelihood instead of least squares.
    BetterEstimator,
    /// The ring of tau as wide as that of V.
    WiderRing,
    /// Half of the current.
    HalfCurrent,
    /// Twice the step at the same number of positions.
    LargerStep,
    /// Twice the positions and half of the scans, in the same time.
    LargerField,
    /// A convergence angle smaller by √2.
    NarrowerCone,
    /// Twice the scans of half of the dwell, in the same time.
    FasterScans,
    /// Temperatures 1.5 times as far apart.
    WiderTemperatures,
    /// The lowest and the highest temperature once more, elsewhere.
    RepeatedEnds,
    /// The same number of scans over twice the time.
    SlowerScans,
    /// Twice the scans over twice the time.
    LongerRecord,
}

/// A change with its price and what it brings.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Change {
    /// Which.
    pub kind: ChangeKind,
    /// What to do.
    pub what: String,
    /// What it costs beside time and dose.
    pub price: String,
    /// Beam time relative to the plan.
    pub time: f64,
    /// Dose on an area of the sample relative to the plan.
    pub dose: f64,
    /// Error of ln tau of one position.
    pub ln_tau_error: f64,
    /// Reliability of the map of tau.
    pub tau_reliability: f64,
    /// Reliability of the map of V.
    pub fluctuation_reliability: f64,
    /// Probability that the relation is found.
    pub power: f64,
    /// Standard error of the activation energy; none for one temperature.
    pub activation_energy_error_kj_per_mol: Option<f64>,
}

/// How far an aim is, and what to change first.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Advice {
    /// Which.
    pub aim: Aim,
    /// Whether the plan is good enough as it is.
    pub reached: bool,
    /// The cheapest change that brings it clearly nearer, as an index into the changes.
    pub first: Option<usize>,
}

/// How far one would have to go with one change alone. None where the goal is reached, or is not within a factor of 64 (8 for the step).
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Needs {
    /// Scans, at the same time from scan to scan, for the error of tau.
    pub n_times: Option<usize>,
    /// Step, at the same number of positions, for the power.
    pub step_nm: Option<f64>,
    /// Fields measured at each temperature, for the energy.
    pub n_fields: Option<usize>,
}

/// Predicts each change. One that is impossible is left out.
pub(super) fn changes(
    settings: &PlanSettings,
    expected: &Expected,
    reference: usize,
    known: &mut Known,
) -> Vec<Change> {
    let planned_dose = expected.temperatures[reference].dose.total_per_a2;
    candidates(settings, expected)
        .into_iter()
        .filter_map(
            |Candidate {
                 kind,
                 what,
                 price,
                 changed,
             }| {
                let changed_to = known.expect(&changed).ok()?;
                // Other temperatures leave the maps of the reference as they are.
                let maps = match kind {
                    ChangeKind::WiderTemperatures | ChangeKind::RepeatedEnds => {
                        &expected.temperatures[reference]
                    }
                    _ => &changed_to.temperatures[reference],
                };
                Some(Change {
                    kind,
                    what,
                    price: price.to_owned(),
                    time: changed_to.total_s / expected.total_s,
                    dose: maps.dose.total_per_a2 / planned_dose,
                    ln_tau_error: maps.ln_tau_error,
                    tau_reliability: maps.tau_reliability,
                    fluctuation_reliability: maps.fluctuation_reliability,
                    power: maps.relation.power,
                    activation_energy_error_kj_per_mol: changed_to
                        .activation_energy_kj_per_mol
                        .map(|energy| energy.error),
                })
            },
        )
        .collect()
}

struct Candidate {
    kind: ChangeKind,
    what: String,
    price: &'static str,
    changed: PlanSettings,
}

/// The changes that are thinkable, from those that cost nothing to those that cost time.
fn candidates(settings: &PlanSettings, expected: &Expected) -> Vec<Candidate> {
    let mut candidates = Candidates {
        settings,
        list: Vec::new(),
    };
    let scaled = |list: &mut Vec<f64>, factor: f64| list.iter_mut().for_each(|v| *v *= factor);
    let best = Estimator::Likelihood;
    if settings.estimator != best {
        candidates.add(
            ChangeKind::BetterEstimator,
            "relaxation.estimator = \"likelihood\"".to_owned(),
            "nothing: the data stay as they are",
            &|plan| plan.estimator = best,
        );
    }
    let both = settings
        .tau_range_per_nm
        .union(&settings.structure_range_per_nm);
    if both != settings.tau_range_per_nm {
        candidates.add(
            ChangeKind::WiderRing,
            format!("tau from {}-{} 1/nm", both.min_per_nm, both.max_per_nm),
            "tau must be the same over the ring: test it",
            &|plan| plan.tau_range_per_nm = both,
        );
    }
    candidates.add(
        ChangeKind::HalfCurrent,
        format!(
            "half of the current, {} pA",
            short(0.5 * settings.probe_current_pa)
        ),
        "nothing, where the image is still good enough for drift",
        &|plan| plan.probe_current_pa *= 0.5,
    );
    candidates.add(
        ChangeKind::LargerStep,
        format!("a step of {} nm", short(2.0 * settings.step_nm)),
        "coarser maps, of four times the area",
        &|plan| plan.step_nm *= 2.0,
    );
    candidates.add(
        ChangeKind::LargerField,
        format!(
            "{} x {} positions, {} scans",
            settings.n_rows,
            2 * settings.n_cols,
            settings.n_times / 2
        ),
        "half of the scans: short relaxation times are lost",
        &|plan| {
            plan.n_cols *= 2;
            plan.n_scanned = plan.n_scanned.map(|n| n.saturating_mul(2));
            plan.n_times /= 2;
            if let Some(period_s) = &mut plan.period_s {
                scaled(period_s, 2.0);
            }
        },
    );
    let widened = std::f64::consts::SQRT_2;
    candidates.add(
        ChangeKind::NarrowerCone,
        format!(
            "a convergence of {} mrad, a probe of {} nm",
            short(settings.convergence_mrad / widened),
            short(expected.probe_fwhm_nm * widened)
        ),
        "resolution; V may be lower under a wider probe",
        &|plan| {
            plan.convergence_mrad /= widened;
            plan.probe_fwhm_nm = plan.probe_fwhm_nm.map(|fwhm_nm| fwhm_nm * widened);
        },
    );
    candidates.add(
        ChangeKind::FasterScans,
        format!("{} scans of half of the dwell", 2 * settings.n_times),
        "twice the data",
        &|plan| {
            plan.n_times *= 2;
            scaled(&mut plan.dwell_ms, 0.5);
            if let Some(period_s) = &mut plan.period_s {
                scaled(period_s, 0.5);
            }
        },
    );
    candidates.add_temperatures();
    candidates.add(
        ChangeKind::SlowerScans,
        format!("{} scans over twice the time", settings.n_times),
        "time; short relaxation times are lost; drift",
        &|plan| match &mut plan.period_s {
            Some(period_s) => scaled(period_s, 2.0),
            None => scaled(&mut plan.total_s, 2.0),
        },
    );
    candidates.add(
        ChangeKind::LongerRecord,
        format!("{} scans over twice the time", 2 * settings.n_times),
        "time and dose; drift",
        &|plan| {
            plan.n_times *= 2;
            if plan.period_s.is_none() {
                scaled(&mut plan.total_s, 2.0);
            }
        },
    );
    candidates.list
}

struct Candidates<'a> {
    settings: &'a PlanSettings,
    list: Vec<Candidate>,
}

impl Candidates<'_> {
    fn add(
        &mut self,
        kind: ChangeKind,
        what: String,
        price: &'static str,
        change: &dyn Fn(&mut PlanSettings),
    ) {
        let mut changed = self.settings.clone();
        change(&mut changed);
        self.list.push(Candidate {
            kind,
            what,
            price,
            changed,
        });
    }

    /// Changes of the temperatures, where there are several.
    fn add_temperatures(&mut self) {
        let temperatures = &self.settings.temperature_k;
        let order = |a: &&f64, b: &&f64| a.total_cmp(b);
        let (Some(&lowest), Some(&highest)) = (
            temperatures.iter().min_by(order),
            temperatures.iter().max_by(order),
        ) else {
            return;
        };
        if lowest == highest {
            return;
        }
        let middle = 0.5 * (lowest + highest);
        let away = |temperature_k: f64| middle + 1.5 * (temperature_k - middle);
        self.add(
            ChangeKind::WiderTemperatures,
            format!(
                "temperatures from {} to {} K",
                short(away(lowest)),
                short(away(highest))
            ),
            "tau leaves the window sooner; crystallization above Tg",
            &|plan| plan.temperature_k.iter_mut().for_each(|t| *t = away(*t)),
        );
        self.add(
            ChangeKind::RepeatedEnds,
            format!(
                "{} and {} K once more, elsewhere",
                short(lowest),
                short(highest)
            ),
            "time",
            &|plan| {
                for end in [lowest, highest] {
                    let at = temperatures.iter().position(|&t| t == end);
                    plan.temperature_k.push(end);
                    let lists = [
                        Some(&mut plan.total_s),
                        plan.period_s.as_mut(),
                        Some(&mut plan.dwell_ms),
                    ];
                    // A list of one value goes on standing for all.
                    for list in lists.into_iter().flatten().filter(|list| list.len() > 1) {
                        if let Some(&value) = at.and_then(|at| list.get(at)) {
                            list.push(value);
                        }
                    }
                }
            },
        );
    }
}

/// A number with at most three digits that mean something.
fn short(value: f64) -> String {
    let rounded: f64 = format!("{value:.2e}").parse().unwrap_or(value);
    rounded.to_string()
}

/// Times and doses that differ by less than this are the same.
const SAME_PRICE: f64 = 1e-3;

/// An error that falls to this share is clearly smaller.
const CLEARLY: f64 = 0.9;

/// A power that grows by this much is clearly larger.
const CLEARLY_POWER: f64 = 0.05;

/// What to change first for each aim.
pub(super) fn advice(
    settings: &PlanSettings,
    expected: &Expected,
    reference: usize,
    changes: &[Change],
) -> Vec<Advice> {
    let maps = &expected.temperatures[reference];
    let goal = &settings.goal;
    let mut advice = vec![
        Advice {
            aim: Aim::Tau,
            reached: maps.ln_tau_error <= goal.ln_tau_error,
            first: cheapest(changes, |change| {
                let ratio = change.ln_tau_error / maps.ln_tau_error;
                (ratio < CLEARLY).then_some(1.0 - ratio)
            }),
        },
        Advice {
            aim: Aim::Relation,
            reached: maps.relation.power >= goal.power,
            first: cheapest(changes, |change| {
                let gain = change.power - maps.relation.power;
                (gain > CLEARLY_POWER).then_some(gain)
            }),
        },
    ];
    if let Some(energy) = &expected.activation_energy_kj_per_mol {
        advice.push(Advice {
            aim: Aim::Energy,
            reached: energy.error <= goal.activation_energy_error_kj_per_mol,
            first: cheapest(changes, |change| {
                let ratio = change.activation_energy_error_kj_per_mol? / energy.error;
                (ratio < CLEARLY).then_some(1.0 - ratio)
            }),
        });
    }
    advice
}

/// The cheapest of the changes that have a gain: least time, then least dose, then most gain. What costs less than the plan is as cheap as it.
fn cheapest(changes: &[Change], gain: impl Fn(&Change) -> Option<f64>) -> Option<usize> {
    let price = |factor: f64| (factor.max(1.0) / SAME_PRICE).round();
    let helpful = changes
        .iter()
        .enumerate()
        .filter_map(|(idx, change)| Some((idx, change, gain(change)?)));
    helpful
        .min_by(|(_, one, one_gain), (_, other, other_gain)| {
            price(one.time)
                .total_cmp(&price(other.time))
                .then(price(one.dose).total_cmp(&price(other.dose)))
                .then(other_gain.total_cmp(one_gain))
        })
        .map(|(idx, _, _)| idx)
}

/// How far one would have to go with one change alone.
pub(super) fn needs(
    settings: &PlanSettings,
    expected: &Expected,
    reference: usize,
    known: &mut Known,
) -> Needs {
    let maps = &expected.temperatures[reference];
    let goal = &settings.goal;
    let mut needs = Needs::default();
    if maps.ln_tau_error > goal.ln_tau_error {
        let idx = reference;
        let noise = expected.ring.noise_ms / settings.dwell_at_ms(idx);
        let mut enough = |n_times: usize| {
            let mut longer = settings.clone();
            longer.n_times = n_times;
            longer.period_s = Some(vec![settings.step_s(idx)]);
            let precision = known.precision(&longer, idx, settings.tau_s(idx), noise);
            precision.ln_tau_variance(&expected.ring) <= goal.ln_tau_error.powi(2)
        };
        needs.n_times = first_true(settings.n_times, 64 * settings.n_times, &mut enough);
    }
    if maps.relation.power < goal.power && settings.glass.spearman != 0.0 {
        // In steps of 0.01 of the planned one.
        let mut enough = |percent: usize| {
            let mut wider = settings.clone();
            wider.step_nm *= percent as f64 / 100.0;
            let expected = known.expect(&wider).ok();
            expected.is_some_and(|expected| {
                expected.temperatures[reference].relation.power >= goal.power
            })
        };
        needs.step_nm = first_true(100, 800, &mut enough)
            .map(|percent| settings.step_nm * percent as f64 / 100.0);
    }
    if let Some(energy) = &expected.activation_energy_kj_per_mol {
        let ratio = energy.error / goal.activation_energy_error_kj_per_mol;
        // Independent fields: the error falls with the square root of their number.
        let n_fields = (ratio * ratio).ceil();
        needs.n_fields = (ratio > 1.0 && n_fields <= 64.0).then_some(n_fields as usize);
    }
    needs
}

/// The smallest number between two ends for which something that stays true becomes true; none if it never does.
fn first_true(from: usize, to: usize, holds: &mut impl FnMut(usize) -> bool) -> Option<usize> {
    if !holds(to) {
        return None;
    }
    let (mut low, mut high) = (from, to);
    // To a hundredth: more would be more than a plan knows.
    while high - low > 1 && high - low > low / 100 {
        let middle = low + (high - low) / 2;
        if holds(middle) {
            high = middle;
        } else {
            low = middle;
        }
    }
    Some(high)
}
