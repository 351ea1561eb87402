//! Known truth comes back: simulated experiments through the whole way.
//!
//! A1, A2, A3, A5 and A12 of the acceptance checks. Positions are independent (no probe overlap), so that
//! few of them say much.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use halotau::alike::{self, Common, Own};
use halotau::analysis::Analysis;
use halotau::arrhenius::{self, ArrheniusPoint, Average};
use halotau::calibrate::Calibration;
use halotau::map::curves::Taken;
use halotau::ndarray::{Array2, Array5};
use halotau::quality::Quality;
use halotau::rank;
use halotau::recipe::{Profile, Recipe};
use halotau::reduce::{ReducePlan, ReduceSettings, Shard};
use halotau::relax::Estimator;
use halotau::series::Samples;
use halotau::simulate::{Simulation, SimulationSettings};
use halotau::source::{FrameSource, MemorySeries};
use rand::SeedableRng;
use rand_distr::{Distribution, Poisson};
use rand_xoshiro::Xoshiro256PlusPlus;

/// Length of the simulated records.
const RECORD_S: f64 = 1000.0;

/// A small experiment of independent positions that all have one tau and one contrast.
fn settings(n_rows: usize, n_cols: usize, tau_s: f64) -> SimulationSettings {
    let mut settings = SimulationSettings {
        seed: 7,
        n_rows,
        n_cols,
        pattern_rows: 54,
        pattern_cols: 54,
        temperature_k: vec![633.0],
        total_s: vec![RECORD_S],
        dwell_ms: vec![1.0],
        n_times: 100,
        overlap: false,
        ..SimulationSettings::default()
    };
    settings.glass.tau_median_s = tau_s;
    settings.glass.ln_tau_spread = 0.0;
    settings.glass.contrast_range = [0.6, 0.6];
    settings.glass.spearman = 0.0;
    settings
}

fn analyze(
    source: &dyn FrameSource,
    recipe: &Recipe,
    center: (f64, f64),
    q_step_per_nm: f64,
) -> Analysis {
    let header = source.header();
    let every_pixel =
        Array2::from_elem((header.shape.pattern_rows, header.shape.pattern_cols), true);
    let calibration = Calibration::centered(center, q_step_per_nm, every_pixel);
    let settings = ReduceSettings::of(header, calibration, recipe.annulus_range()).unwrap();
    let plan = ReducePlan::new(header, settings).unwrap();
    let (reduction, rings) = plan.reduce(source, 1 << 24).unwrap();
    halotau::map::analyze_in_memory(&reduction, &rings, recipe).unwrap()
}

fn recover(settings: &SimulationSettings, recipe: &Recipe) -> Analysis {
    let series = Simulation::new(settings, 0).unwrap().series().unwrap();
    analyze(
        &series,
        recipe,
        settings.center_px(),
        settings.q_step_per_nm,
    )
}

fn tau_median_s(analysis: &Analysis) -> f64 {
    rank::median(
        &analysis
            .relaxation
            .tau_s
            .iter()
            .copied()
            .collect::<Vec<_>>(),
    )
}

/// A1: nothing but counting noise on a flat pattern has no variance, no contrast and no correlation.
#[test]
fn counting_noise_alone_is_nothing() {
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(11);
    let noise = Poisson::new(20.0).unwrap();
    let counts = Array5::from_shape_simple_fn((40, 6, 6, 54, 54), || noise.sample(&mut rng) as u16);
    let mut source = MemorySeries::from_counts("Poisson", counts.view()).unwrap();
    let stated = |value| Some(halotau::series::Stated::new(value, "test"));
    let header = source.header_mut();
    (header.temperature_k, header.step_nm, header.period_s) =
        (stated(633.0), stated(0.8), stated(10.0));
    let analysis = analyze(&source, &Recipe::default(), (27.0, 27.0), 0.232);
    let n_positions = 36.0_f64;
    let mean = |values: &Array2<f64>| values.mean().unwrap();
    // The standard deviation of V of P Poisson pixels over T frames is sqrt(2/(P T)) / mean, P about 1,400 here.
    let sd = (2.0 / (1_400.0_f64 * 40.0 * n_positions)).sqrt() / 20.0;
    for values in [
        &analysis.fluctuation.values,
        &analysis.fluctuation.two_frame,
    ] {
        assert!(
            mean(values).abs() < 3.0 * sd,
            "{} against {sd}",
            mean(values)
        );
    }
    // The plain formulas are short by 1/(P mean) on rings of P pixels, 117 on average.
    for values in [
        &analysis.fluctuation.counting,
        &analysis.fluctuation.factorial,
    ] {
        assert!(
            (mean(values) + 1.0 / (117.0 * 20.0)).abs() < 1.5e-4,
            "{}",
            mean(values)
        );
    }
    // G off its diagonal: the mean over all pairs and positions has a scatter of 1/(20 sqrt(P T²/2)).
    let sd_g = 1.0 / 20.0 / (1_400.0 * 800.0 * n_positions).sqrt();
    assert!((analysis.ensemble_g.iter().sum::<f64>() / 39.0 - 1.0).abs() < 5.0 * sd_g);
    let flat = analysis
        .quality
        .iter()
        .filter(|quality| quality.has(Quality::NO_DECAY))
        .count();
    assert!(flat >= 30, "{flat} of 36 flagged as flat");
    assert!(analysis.summary.contrast_mean.value.abs() < 1e-3 || analysis.summary.n_valid == 0);
}

/// A2: a speckle that never moves has g = 1 + V at every lag, and its tau is only a lower limit.
#[test]
fn a_static_speckle_is_censored() {
    let settings = settings(4, 4, 1e9);
    let mut fitted = Recipe::default();
    fitted.relaxation.estimator = Estimator::LeastSquares;
    for recipe in [fitted, Recipe::default()] {
        let analysis = recover(&settings, &recipe);
        let curves = analysis.curves.g.rows().into_iter();
        for (g, &contrast) in curves.zip(&analysis.relaxation.contrast) {
            // Counting noise of g is some 1e-3; the rest is the same speckle at every lag. The likelihood's contrast is that of the speckle
            // around the mean of all positions, g's that of this position's pixels around their own mean.
            let height = match recipe.relaxation.estimator {
                Estimator::LeastSquares => contrast,
                Estimator::Likelihood => g.sum() / g.len() as f64 - 1.0,
            };
            let flat = |value: &f64| (value - 1.0 - height).abs() < 0.05 * height;
            assert!(g.iter().all(flat), "{height}: {g}");
        }
        assert!((analysis.summary.contrast_mean.value / 0.6 - 1.0).abs() < 0.15);
        assert_eq!(analysis.summary.n_censored, 16);
        let beyond = |&lower: &f64| lower > RECORD_S / 3.0;
        assert!(analysis.relaxation.tau_lower_s.iter().all(beyond));
    }
}

/// A3: the median of tau is right up to half of the record, and censoring grows with tau.
#[test]
fn tau_is_unbiased_up_to_half_of_the_record() {
    // The scatter of ln tau on 3.0-5.8 1/nm is below 0.2 up to half the record: the median of 144 has an error of 2 %.
    for (share, tolerance) in [(0.05, 0.03), (0.5, 0.06)] {
        let analysis = recover(&settings(12, 12, share * RECORD_S), &Recipe::default());
        let ratio = tau_median_s(&analysis) / (share * RECORD_S);
        assert!(
            (ratio - 1.0).abs() < tolerance,
            "tau = {share} T: median ratio {ratio}"
        );
        let contrast = analysis.summary.contrast_mean.value;
        // Finite numbers of speckles take beta (1 + beta) / N, about 1 %.
        assert!((contrast / 0.6 - 1.0).abs() < 0.06, "contrast {contrast}");
        // A ring of one pixel's width holds some 30 speckles, which take 5 % of V; leaving out sectors says so.
        let [plain, unbiased] = [
            analysis.summary.fluctuation_mean,
            analysis.summary.fluctuation_unbiased_mean,
        ];
        assert!(plain.value < 0.58, "{plain:?}");
        assert!(
            unbiased.lower < 0.6 && 0.6 < unbiased.upper && (unbiased.value - 0.6).abs() < 0.015,
            "{unbiased:?}"
        );
        let over_ring = analysis.q_dependence.unwrap();
        assert!(!over_ring.is_dependent(), "{over_ring:?}");
        assert!(
            (over_ring.outer_over_inner.value - 1.0).abs() < 0.06,
            "{over_ring:?}"
        );
    }
    let summaries = [0.2, 1.0, 5.0]
        .map(|share| recover(&settings(5, 5, share * RECORD_S), &Recipe::default()).summary);
    // About half of the times are beyond the record, and none of them is taken for a number.
    let within = summaries[1].tau_within_record_s;
    assert!((within.value / RECORD_S - 1.0).abs() < 0.2, "{within:?}");
    let censored = summaries.map(|summary| summary.n_censored);
    assert!(
        censored[0] < censored[1] && censored[1] < censored[2] && censored[2] >= 23,
        "{censored:?}"
    );
}

/// A ring whose outer part relaxes slower than its inner part is not taken for one: patterns of two experiments with 4.4 1/nm between them.
#[test]
fn a_ring_of_two_relaxation_times_is_told() {
    let inner = settings(7, 7, 150.0);
    let mut outer = inner.clone();
    outer.glass.tau_median_s = 210.0;
    let [inner_counts, outer_counts] = [&inner, &outer].map(|settings| {
        let simulation = Simulation::new(settings, 0).unwrap();
        match simulation.block(0..settings.n_rows).unwrap() {
            Samples::U16(counts) => counts,
            other => panic!("{other:?} are no counts of 16 bits"),
        }
    });
    let (row, col) = inner.center_px();
    let is_inner = |at: usize| {
        let (p, q) = ((at / 54 % 54) as f64 - row, (at % 54) as f64 - col);
        p.hypot(q) * inner.q_step_per_nm < 4.4
    };
    let counts = inner_counts.iter().zip(&outer_counts).enumerate();
    let spliced: Vec<u16> = counts
        .map(|(at, (&inner, &outer))| if is_inner(at) { inner } else { outer })
        .collect();
    let header = Simulation::new(&inner, 0).unwrap().header().clone();
    let series = MemorySeries::new(header, Samples::U16(spliced)).unwrap();
    let analysis = analyze(&series, &Recipe::default(), (row, col), inner.q_step_per_nm);
    let found = analysis.q_dependence.unwrap();
    assert!(found.is_dependent() && found.p_value < 1e-4, "{found:?}");
    let ratio = found.outer_over_inner.value;
    assert!((ratio / 1.4 - 1.0).abs() < 0.08, "{found:?}");
    assert!(
        analysis
            .warnings
            .iter()
            .any(|warning| warning.code == "W054")
    );
}

/// A stretch other than 1 comes back where it is fitted.
#[test]
fn a_compressed_decay_is_told_from_a_simple_one() {
    let mut settings = settings(6, 6, 150.0);
    settings.glass.stretch = 1.6;
    let mut recipe = Recipe::default();
    recipe.relaxation.stretch = halotau::relax::Stretch::Free { min: 0.3, max: 2.5 };
    let analysis = recover(&settings, &recipe);
    let fit = analysis.ensemble_fit;
    assert!((fit.stretch - 1.6).abs() < 0.12, "stretch {}", fit.stretch);
    assert!((fit.tau_s / 150.0 - 1.0).abs() < 0.05, "tau {}", fit.tau_s);
}

/// A5: a beam current that changes by 10 % from frame to frame and slowly changes tau by less than 2 %.
#[test]
fn beam_current_does_not_matter() {
    for profile in [Profile::Paper, Profile::Recommended] {
        let recipe = Recipe::of(profile);
        let steady = settings(6, 6, 200.0);
        let mut unsteady = steady.clone();
        unsteady.artifacts.current.per_frame = 0.1;
        unsteady.artifacts.current.slow = 0.1;
        let (a, b) = (recover(&steady, &recipe), recover(&unsteady, &recipe));
        let ratio = a.ensemble_fit.tau_s / b.ensemble_fit.tau_s;
        assert!((ratio - 1.0).abs() < 0.02, "{profile:?}: {ratio}");
    }
}

/// The activation energy and the rank of tau come back from maps of different tau.
#[test]
fn activation_energy_and_ranks_come_back() {
    let mut settings = SimulationSettings {
        seed: 3,
        n_rows: 8,
        n_cols: 8,
        pattern_rows: 54,
        pattern_cols: 54,
        temperature_k: vec![633.0, 653.0, 673.0],
        total_s: vec![1048.0, 524.0, 524.0],
        dwell_ms: vec![1.0, 0.5, 0.5],
        overlap: false,
        ..SimulationSettings::default()
    };
    settings.glass.ln_tau_spread = 0.7;
    let mut points = Vec::new();
    for temperature_idx in 0..3 {
        let simulation = Simulation::new(&settings, temperature_idx).unwrap();
        let series = simulation.series().unwrap();
        let analysis = analyze(
            &series,
            &Recipe::default(),
            settings.center_px(),
            settings.q_step_per_nm,
        );
        let truth: Vec<f64> = simulation.truth().tau_s.iter().copied().collect();
        let found: Vec<f64> = analysis.relaxation.tau_s.iter().copied().collect();
        let spearman = rank::spearman(&found, &truth);
        assert!(
            spearman > 0.93,
            "rank correlation with the truth {spearman}"
        );
        let tau = analysis.summary.tau_s(Average::LogMean);
        points.push(ArrheniusPoint {
            temperature_k: analysis.temperature_k,
            tau_s: tau.value,
            ln_tau_error: tau.error / tau.value,
        });
    }
    let fit = arrhenius::fit(&points, Average::LogMean, 0.95).unwrap();
    let [lower, upper] = fit.activation_energy_interval_kj_per_mol;
    assert!(lower < 97.0 && 97.0 < upper, "{lower} to {upper}");
    assert!(fit.activation_energy_error_kj_per_mol < 20.0, "{fit:?}");
}

/// A12: one tau at all temperatures has no energy, whatever records, steps and doses they were measured with.
#[test]
fn temperatures_measured_alike_make_no_energy() {
    let measured: Vec<_> = [(633.0, RECORD_S, 1.0), (673.0, 0.5 * RECORD_S, 0.5)]
        .map(|(temperature_k, record_s, dwell_ms)| {
            let mut settings = settings(6, 6, 250.0);
            settings.glass.activation_energy_kj_per_mol = 0.0;
            settings.temperature_k = vec![temperature_k];
            settings.total_s = vec![record_s];
            settings.dwell_ms = vec![dwell_ms];
            settings.n_times = 60;
            settings.seed = temperature_k as u64;
            let source = Simulation::new(&settings, 0).unwrap().series().unwrap();
            let recipe = Recipe::default();
            let every_pixel = Array2::from_elem((54, 54), true);
            let calibration =
                Calibration::centered(settings.center_px(), settings.q_step_per_nm, every_pixel);
            let header = source.header();
            let reduce = ReduceSettings::of(header, calibration, recipe.annulus_range()).unwrap();
            let plan = ReducePlan::new(header, reduce).unwrap();
            let (reduction, rings) = plan.reduce(&source, 1 << 24).unwrap();
            let analysis = halotau::map::analyze_in_memory(&reduction, &rings, &recipe).unwrap();
            (reduction, rings, recipe, analysis)
        })
        .into();
    let counts: Vec<f64> = measured
        .iter()
        .map(|(.., analysis)| analysis.fluctuation.mean_counts.mean().unwrap())
        .collect();
    assert!((counts[0] / counts[1] - 2.0).abs() < 0.1, "{counts:?}");
    let own = [0, 1].map(|at| Own {
        time: &measured[at].0.time,
        counts: counts[at],
    });
    let common = Common::of(&own).unwrap();
    let found = [0, 1].map(|at| {
        let (reduction, rings, recipe, _) = &measured[at];
        let load = |shard: &Shard| Ok(std::borrow::Cow::Borrowed(&rings[shard.index]));
        let conditions = halotau::conditions::measure(reduction, recipe, None, &load).unwrap();
        alike::analyze(
            reduction,
            recipe,
            &conditions,
            (counts[at], &common),
            &mut Taken::default(),
            &load,
            &|_| true,
        )
        .unwrap()
    });
    for one in &found {
        assert_eq!((one.n_times, one.n_times_measured), (30, 60));
        assert!((one.counts / counts[1] - 1.0).abs() < 0.05, "{one:?}");
    }
    assert!((found[0].kept_share - 0.5).abs() < 0.05 && found[1].kept_share == 1.0);
    let points = found.map(|one| {
        let tau = one.summary.tau_median_s;
        ArrheniusPoint {
            temperature_k: one.temperature_k,
            tau_s: tau.value,
            ln_tau_error: tau.error / tau.value,
        }
    });
    let line = arrhenius::fit(&points, Average::Median, 0.99).unwrap();
    let [lower, upper] = line.activation_energy_interval_kj_per_mol;
    assert!(lower < 0.0 && 0.0 < upper, "{line:?}");
}
