//! Does a plan foretell what the test of the relation then finds?
//!
//! `plan [experiments]` draws pairs of maps of a true rank correlation as normal fields: true maps and errors with the correlations over the
//! field, the reliabilities and the likeness of errors that the plan states. The program's own test says in how many a relation is found.

#[path = "../../crates/halotau/tests/plan/smooth.rs"]
mod smooth;

use std::f64::consts::PI;

use halotau::ndarray::Array2;
use halotau::plan::{Estimator, ExpectedRelation, PlanSettings, plan};
use halotau::relate::{HalfMaps, decoupled};
use rand_xoshiro::Xoshiro256PlusPlus;
use rand_xoshiro::rand_core::SeedableRng;
use rayon::prelude::*;
use smooth::smooth;

/// Full width at half maximum of a normal distribution in standard deviations.
const FWHM_PER_SIGMA: f64 = 2.354_820_045_030_949;

const FWHM_NM: f64 = 0.78;

fn main() {
    let n = std::env::args()
        .nth(1)
        .and_then(|text| text.parse().ok())
        .unwrap_or(400);
    println!(
        "| field | step, nm | estimator | true ρ | reliability τ, V | M planned | M found | power planned | power found |"
    );
    println!("|---|---|---|---|---|---|---|---|---|");
    let base = PlanSettings {
        temperature_k: vec![633.0],
        total_s: vec![1048.0],
        dwell_ms: vec![1.0],
        probe_fwhm_nm: Some(FWHM_NM),
        ..PlanSettings::default()
    };
    let with = |side: usize, step_nm: f64, estimator: Estimator, spearman: f64| {
        let mut settings = base.clone();
        (settings.n_rows, settings.n_cols, settings.step_nm) = (side, side, step_nm);
        settings.estimator = estimator;
        settings.glass.spearman = spearman;
        settings
    };
    for settings in [
        with(60, 0.16, Estimator::Likelihood, 0.4),
        with(60, 0.16, Estimator::PairWeighted, 0.4),
        with(60, 0.16, Estimator::Likelihood, 0.2),
        with(60, 0.16, Estimator::Likelihood, 0.0),
        with(40, 0.16, Estimator::Likelihood, 0.4),
        with(30, 0.32, Estimator::Likelihood, 0.4),
    ] {
        study(&settings, n);
    }
}

fn study(settings: &PlanSettings, n: usize) {
    let expected = plan(settings)
        .expect("the settings make sense")
        .expected
        .temperatures[0]
        .relation;
    let found: Vec<(bool, f64)> = (0..n)
        .into_par_iter()
        .filter_map(|seed| {
            let [tau_a, v_a, tau_b, v_b] = experiment(settings, &expected, seed as u64);
            let maps = HalfMaps {
                tau_s: [tau_a.view(), tau_b.view()],
                fluctuation: [v_a.view(), v_b.view()],
            };
            let relation = decoupled(&maps, 0.95)?;
            Some((relation.p_value < 0.05, relation.n_effective))
        })
        .collect();
    let power = found.iter().filter(|(found, _)| *found).count() as f64 / n as f64;
    let mut effective: Vec<f64> = found.iter().map(|(_, n_effective)| *n_effective).collect();
    effective.sort_by(f64::total_cmp);
    println!(
        "| {} x {} | {} | {:?} | {} | {:.2}, {:.2} | {:.0} | {:.0} | {:.1} % | {:.1} ± {:.1} % |",
        settings.n_rows,
        settings.n_cols,
        settings.step_nm,
        settings.estimator,
        settings.glass.spearman,
        expected.tau_reliability,
        expected.fluctuation_reliability,
        expected.n_effective,
        effective
            .get(effective.len() / 2)
            .copied()
            .unwrap_or(f64::NAN),
        100.0 * expected.power,
        100.0 * power,
        100.0 * (power * (1.0 - power) / n as f64).sqrt(),
    );
}

/// Maps of tau and V of both halves.
fn experiment(settings: &PlanSettings, expected: &ExpectedRelation, seed: u64) -> [Array2<f64>; 4] {
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
    let (n, step_nm) = (settings.n_rows, settings.step_nm);
    let of_truth = 0.5 * settings.glass.correlation_length_nm / step_nm;
    let of_errors = FWHM_NM / FWHM_PER_SIGMA / step_nm;
    let mut field = |window_steps: f64| smooth(n, window_steps, &mut rng);
    // Rank correlations of normal variables, back to those of their values.
    let pearson = 2.0 * libm::sin(PI / 6.0 * settings.glass.spearman);
    let tau_reliability = 2.0 * libm::sin(PI / 6.0 * expected.tau_reliability);
    let join = |one: &Array2<f64>, other: &Array2<f64>, correlation: f64| {
        one * correlation + other * (1.0 - correlation * correlation).sqrt()
    };
    let truth_tau = field(of_truth);
    let truth_v = join(&truth_tau, &field(of_truth), pearson);
    let mut half = || {
        let error_tau = field(of_errors);
        let error_v = join(&error_tau, &field(of_errors), expected.errors_alike);
        let share = |reliability: f64| reliability.sqrt();
        [
            join(&truth_tau, &error_tau, share(tau_reliability)),
            join(&truth_v, &error_v, share(expected.fluctuation_reliability)),
        ]
    };
    let ([tau_a, v_a], [tau_b, v_b]) = (half(), half());
    [tau_a, v_a, tau_b, v_b]
}
