//! A plan says what the program then finds on simulated data.

#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

#[path = "plan/smooth.rs"]
mod smooth;

use halotau::calibrate::Calibration;
use halotau::map;
use halotau::ndarray::Array2;
use halotau::plan::{Aim, ChangeKind, Estimator, PlanSettings, plan};
use halotau::recipe::{Profile, Recipe};
use halotau::reduce::{ReducePlan, ReduceSettings};
use halotau::relate::{HalfMaps, decoupled};
use halotau::simulate::{BeamStop, Simulation, SimulationSettings};
use halotau::source::FrameSource;
use rand::SeedableRng;
use rand_xoshiro::Xoshiro256PlusPlus;
use smooth::smooth;

const NO_STOP: BeamStop = BeamStop {
    radius_per_nm: 0.0,
    arm_width_per_nm: 0.0,
    arm_angle_deg: 0.0,
    leak: 1.0,
};

fn one_temperature() -> PlanSettings {
    PlanSettings {
        temperature_k: vec![633.0],
        total_s: vec![1048.0],
        dwell_ms: vec![1.0],
        ..PlanSettings::default()
    }
}

#[test]
fn errors_are_those_that_the_analysis_has() {
    // One tau and one contrast everywhere: all spread of the maps is error. Positions share nothing.
    let mut settings = SimulationSettings {
        n_rows: 10,
        n_cols: 10,
        overlap: false,
        ..SimulationSettings::default()
    };
    settings.glass.tau_median_s = 150.0;
    settings.glass.ln_tau_spread = 0.0;
    settings.glass.contrast_range = [0.55, 0.55];
    let series = Simulation::new(&settings, 0).unwrap().series().unwrap();
    let every_pixel = Array2::from_elem((66, 66), true);
    let calibration =
        Calibration::centered(settings.center_px(), settings.q_step_per_nm, every_pixel);
    let recipe = Recipe::of(Profile::Paper);
    let reduce = ReduceSettings::of(series.header(), calibration, recipe.annulus_range()).unwrap();
    let (reduction, rings) = ReducePlan::new(series.header(), reduce)
        .unwrap()
        .reduce(&series, 1 << 24)
        .unwrap();
    let analysis = map::analyze_in_memory(&reduction, &rings, &recipe).unwrap();
    let sd = |values: Vec<f64>| {
        let n = values.len() as f64;
        let mean = values.iter().sum::<f64>() / n;
        (values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / (n - 1.0)).sqrt()
    };
    let ln_tau = analysis.relaxation.tau_s.iter().map(|tau| tau.ln());
    let (tau_sd, v_sd) = (
        sd(ln_tau.collect()),
        sd(analysis.fluctuation.values.iter().copied().collect()),
    );

    let mut planned = one_temperature();
    planned.estimator = Estimator::Paper;
    planned.tau_range_per_nm = recipe.dynamics.q_range_per_nm;
    planned.beam_stop = NO_STOP;
    planned.glass.tau_median_s = 150.0;
    planned.glass.ln_tau_spread = 0.0;
    planned.glass.contrast_mean = 0.55;
    let expected = plan(&planned).unwrap().expected.temperatures[0];
    // A standard deviation of 100 values is known to 7 %; three of those.
    for (found, expected) in [
        (tau_sd, expected.ln_tau_error),
        (v_sd, expected.fluctuation_error),
    ] {
        assert!(
            (found / expected - 1.0).abs() < 0.21,
            "found {found:.4}, planned {expected:.4}"
        );
    }
}

#[test]
fn power_is_that_of_the_test_on_simulated_maps() {
    let mut settings = one_temperature();
    settings.n_rows = 30;
    settings.n_cols = 30;
    settings.step_nm = 0.28;
    settings.probe_fwhm_nm = Some(0.78);
    settings.glass.spearman = 0.45;
    let expected = plan(&settings).unwrap().expected.temperatures[0].relation;
    let tau_reliability = 2.0 * (std::f64::consts::PI / 6.0 * expected.tau_reliability).sin();
    let v_reliability = expected.fluctuation_reliability;
    let pearson = 2.0 * (std::f64::consts::PI / 6.0 * settings.glass.spearman).sin();
    let of_truth = 0.5 * settings.glass.correlation_length_nm / settings.step_nm;
    let of_errors = 0.78 / 2.354_82 / settings.step_nm;
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(7);
    const N_EXPERIMENTS: usize = 150;
    let mut n_found = 0;
    for _ in 0..N_EXPERIMENTS {
        let mut field = |window| smooth(30, window, &mut rng);
        let (common, other) = (field(of_truth), field(of_truth));
        let truth_v = &common * pearson + &other * (1.0 - pearson * pearson).sqrt();
        let halves = [0, 1].map(|_| {
            let (of_tau, own) = (field(of_errors), field(of_errors));
            let alike = expected.errors_alike;
            let of_v = &of_tau * alike + &own * (1.0 - alike * alike).sqrt();
            let mixed = |truth: &Array2<f64>, error: &Array2<f64>, reliability: f64| {
                truth * reliability.sqrt() + error * (1.0 - reliability).sqrt()
            };
            (
                mixed(&common, &of_tau, tau_reliability),
                mixed(&truth_v, &of_v, v_reliability),
            )
        });
        let maps = HalfMaps {
            tau_s: [halves[0].0.view(), halves[1].0.view()],
            fluctuation: [halves[0].1.view(), halves[1].1.view()],
        };
        let relation = decoupled(&maps, 0.95).unwrap();
        n_found += usize::from(relation.p_value < 0.05);
    }
    let power = n_found as f64 / N_EXPERIMENTS as f64;
    // Three standard errors of 150 yes-or-no answers.
    assert!((0.3..0.9).contains(&expected.power), "{expected:?}");
    assert!(
        (power - expected.power).abs() < 0.12,
        "{power} against {expected:?}"
    );
}

#[test]
fn the_energy_has_the_leverage_of_the_temperatures() {
    let settings = PlanSettings {
        total_s: vec![1048.0],
        dwell_ms: vec![0.5],
        ..PlanSettings::default()
    };
    let expected = plan(&settings).unwrap().expected;
    let mean_error = expected
        .temperatures
        .iter()
        .map(|t| t.ln_tau_mean_error)
        .sum::<f64>()
        / 5.0;
    let error = expected.activation_energy_kj_per_mol.unwrap().error;
    // R over the root of the sum of squares of 1/T about its mean, for 633 to 673 K in tens.
    assert!(
        (error / mean_error / 112.0 - 1.0).abs() < 0.03,
        "{error} {mean_error}"
    );
}

#[test]
fn advice_is_cheap_and_helps() {
    let plan = plan(&PlanSettings {
        tau_range_per_nm: halotau::axes::QRange::new(4.2, 4.6),
        estimator: Estimator::Paper,
        ..PlanSettings::default()
    })
    .unwrap();
    let change = |kind: ChangeKind| {
        plan.changes
            .iter()
            .find(|change| change.kind == kind)
            .unwrap()
    };
    let maps = &plan.expected.temperatures[plan.reference];
    // The data as they are say more with the other estimator, and more on the wide ring.
    for kind in [ChangeKind::BetterEstimator, ChangeKind::WiderRing] {
        let change = change(kind);
        assert_eq!((change.time, change.dose), (1.0, 1.0));
        assert!(change.ln_tau_error < 0.8 * maps.ln_tau_error, "{change:?}");
    }
    // Speckles limit, not electrons: half of the current costs little.
    assert!(change(ChangeKind::HalfCurrent).ln_tau_error < 1.15 * maps.ln_tau_error);
    assert!(change(ChangeKind::LargerStep).power > maps.relation.power + 0.1);
    assert_eq!(change(ChangeKind::LongerRecord).time, 2.0);
    for advice in &plan.advice {
        let Some(first) = advice.first.map(|first| &plan.changes[first]) else {
            continue;
        };
        match advice.aim {
            Aim::Tau => assert!(first.ln_tau_error < maps.ln_tau_error),
            Aim::Relation => assert!(first.power > maps.relation.power && first.time == 1.0),
            Aim::Energy => assert!(first.activation_energy_error_kj_per_mol.is_some()),
        }
    }
    // More scans than planned, fewer than never.
    assert!(plan.needs.n_times.is_none_or(|n_times| n_times > 106));
}

#[test]
fn impossible_experiments_are_refused_with_their_key() {
    let refused = |change: &dyn Fn(&mut PlanSettings)| {
        let mut settings = one_temperature();
        change(&mut settings);
        plan(&settings).unwrap_err().to_string()
    };
    let too_slow = refused(&|plan| plan.n_scanned = Some(20_000));
    assert!(
        too_slow.contains("total_s") && too_slow.contains("20000 positions"),
        "{too_slow}"
    );
    assert!(refused(&|plan| plan.step_nm = -1.0).starts_with("step_nm = -1"));
    assert!(refused(&|plan| plan.total_s = vec![1.0, 2.0]).starts_with("total_s"));
    assert!(refused(&|plan| plan.n_scanned = Some(10)).contains("3600"));
    let outside = refused(&|plan| plan.tau_range_per_nm = halotau::axes::QRange::new(42.0, 46.0));
    assert!(outside.contains("outside the detector"), "{outside}");
}
