//! Drift, beam and region: what the microscope did comes back from the counts alone.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::borrow::Cow;

use halotau::analysis::Analysis;
use halotau::calibrate::Calibration;
use halotau::conditions::{self, Measured};
use halotau::correlate::Normalization;
use halotau::current::Reason;
use halotau::drift::{Course, DriftMethod};
use halotau::ndarray::{Array2, Array5, s};
use halotau::rank;
use halotau::recipe::Recipe;
use halotau::reduce::{ReducePlan, ReduceSettings, Reduction, Shard};
use halotau::ring::RingSeries;
use halotau::series::Stated;
use halotau::simulate::{SampleDrift, Simulation, SimulationSettings};
use halotau::source::{FrameSource, MemorySeries};

/// Overlapping probes on 3.8 nm, slower than the record.
fn settings() -> SimulationSettings {
    let mut settings = SimulationSettings {
        seed: 3,
        n_rows: 16,
        n_cols: 16,
        step_nm: 0.24,
        pattern_rows: 54,
        pattern_cols: 54,
        temperature_k: vec![633.0],
        total_s: vec![300.0],
        dwell_ms: vec![1.0],
        n_times: 30,
        ..SimulationSettings::default()
    };
    settings.glass.tau_median_s = 400.0;
    settings.glass.ln_tau_spread = 0.2;
    settings
}

fn counts(settings: &SimulationSettings) -> Array5<u16> {
    let simulation = Simulation::new(settings, 0).unwrap();
    let shape = simulation.header().shape;
    let halotau::series::Samples::U16(samples) = simulation.block(0..shape.n_rows).unwrap() else {
        panic!("counts are u16");
    };
    let dim = (
        shape.n_times,
        shape.n_rows,
        shape.n_cols,
        shape.pattern_rows,
        shape.pattern_cols,
    );
    Array5::from_shape_vec(dim, samples).unwrap()
}

fn reduced(
    settings: &SimulationSettings,
    counts: &Array5<u16>,
    recipe: &Recipe,
) -> (Reduction, Vec<RingSeries>) {
    let mut source = MemorySeries::from_counts("simulated", counts.view()).unwrap();
    let stated = |value| Some(Stated::new(value, "test"));
    let header = source.header_mut();
    (header.temperature_k, header.step_nm, header.period_s) =
        (stated(633.0), stated(settings.step_nm), stated(10.0));
    let every_pixel = Array2::from_elem((settings.pattern_rows, settings.pattern_cols), true);
    let calibration =
        Calibration::centered(settings.center_px(), settings.q_step_per_nm, every_pixel);
    let plan = ReduceSettings::of(source.header(), calibration, recipe.annulus_range()).unwrap();
    let plan = ReducePlan::new(source.header(), plan).unwrap();
    plan.reduce(&source, 1 << 24).unwrap()
}

fn recipe() -> Recipe {
    let mut recipe = Recipe::default();
    recipe.microscope.voltage_kv = Some(200.0);
    recipe.microscope.convergence_mrad = Some(1.6);
    recipe
}

fn measured(settings: &SimulationSettings, counts: &Array5<u16>, recipe: &Recipe) -> Measured {
    let (reduction, rings) = reduced(settings, counts, recipe);
    let load = |shard: &Shard| Ok(Cow::Borrowed(&rings[shard.index]));
    conditions::measure(&reduction, recipe, None, &load).unwrap()
}

fn codes(measured: &Measured) -> Vec<&str> {
    let warnings = measured.warnings.iter();
    warnings.map(|warning| warning.code.as_str()).collect()
}

/// Root mean square difference from the truth up to a constant, scan steps.
fn off(course: &Course, truth_nm: &[f64], step_nm: f64) -> f64 {
    let pairs = course.steps.iter().zip(truth_nm);
    let difference: Vec<f64> = pairs
        .map(|(found, truth)| found - truth / step_nm)
        .collect();
    let n = difference.len() as f64;
    let mean = difference.iter().sum::<f64>() / n;
    let squares: f64 = difference.iter().map(|d| (d - mean).powi(2)).sum();
    (squares / n).sqrt()
}

#[test]
fn drift_comes_back_from_speckle_with_its_error() {
    let mut settings = settings();
    settings.artifacts.drift = SampleDrift {
        row_nm_per_s: 2.0 * settings.step_nm / 300.0,
        col_nm_per_s: -1.4 * settings.step_nm / 300.0,
        walk_nm: 0.05 * settings.step_nm,
    };
    let measured = measured(&settings, &counts(&settings), &recipe());
    let simulation = Simulation::new(&settings, 0).unwrap();
    let truth = simulation.truth();
    let drift = measured.conditions.drift.as_ref().unwrap();
    for (course, truth_nm) in [
        (&drift.row, &truth.drift_row_nm),
        (&drift.col, &truth.drift_col_nm),
    ] {
        let off = off(course, truth_nm, settings.step_nm);
        assert!(off < 0.1, "{off} scan steps");
        assert!(course.rms_error() < 0.12 && off < 2.5 * course.rms_error());
    }
    // The drift is named, and a perfectly still speckle would seem to relax in a few records.
    assert!(codes(&measured).contains(&"W071"));
    let limit = measured.conditions.drift_limit;
    assert!(limit.before_s.unwrap() < 3000.0, "{limit:?}");
}

/// A6: a drift of 0.05 nm a scan, which takes a probe width within half of the record, changes tau by less than 5 % where it is followed.
#[test]
fn drift_that_is_followed_leaves_tau() {
    let mut settings = settings();
    (settings.n_rows, settings.n_cols) = (20, 20);
    (settings.glass.tau_median_s, settings.glass.ln_tau_spread) = (150.0, 0.0);
    let analyze = |settings: &SimulationSettings, recipe: &Recipe| -> Analysis {
        let (reduction, rings) = reduced(settings, &counts(settings), recipe);
        halotau::map::analyze_in_memory(&reduction, &rings, recipe).unwrap()
    };
    let still = analyze(&settings, &recipe());
    settings.artifacts.drift = SampleDrift {
        row_nm_per_s: 0.004,
        col_nm_per_s: 0.003,
        walk_nm: 0.0,
    };
    let followed = analyze(&settings, &recipe());
    let mut blind = recipe();
    blind.drift.method = DriftMethod::None;
    let left = analyze(&settings, &blind);
    let tau_s = |analysis: &Analysis| analysis.summary.tau_median_s.value;
    // The same sample: most of the scatter of its speckles is in both.
    let ratio = tau_s(&followed) / tau_s(&still);
    assert!((ratio - 1.0).abs() < 0.05, "{ratio}");
    let ratio = tau_s(&left) / tau_s(&still);
    assert!(ratio < 0.8, "{ratio}");
}

/// What is lost below a step would shorten the tau of the likelihood, the more the longer it is: two records became a third of one. The likelihood
/// knows it where the course is known; where only its whole steps are, they are followed, and the fit of g is taken.
#[test]
fn a_long_tau_outlives_what_drift_forgets() {
    let mut settings = settings();
    (settings.n_rows, settings.n_cols) = (20, 20);
    (settings.glass.tau_median_s, settings.glass.ln_tau_spread) = (600.0, 0.0);
    let tau_s = |settings: &SimulationSettings, recipe: Recipe| {
        let (reduction, rings) = reduced(settings, &counts(settings), &recipe);
        let found = halotau::map::analyze_in_memory(&reduction, &rings, &recipe).unwrap();
        let code = |warning: &halotau::series::Warning| warning.code == "W052";
        let taus: Vec<f64> = found.relaxation.tau_s.iter().copied().collect();
        let taus: Vec<f64> = taus.into_iter().filter(|tau_s| tau_s.is_finite()).collect();
        let off = taus.iter().map(|tau_s| (tau_s / 600.0).ln().powi(2));
        let error = (off.sum::<f64>() / taus.len() as f64).sqrt();
        let replaced = found.warnings.iter().any(code);
        assert_eq!(replaced, found.q_dependence.is_none());
        (rank::median(&taus) / 600.0, error, replaced)
    };
    let (still, still_error, replaced) = tau_s(&settings, recipe());
    assert!(!replaced && (still - 1.0).abs() < 0.1, "{still}");
    settings.artifacts.drift = SampleDrift {
        row_nm_per_s: 0.004,
        col_nm_per_s: 0.003,
        walk_nm: 0.0,
    };
    let (known, known_error, replaced) = tau_s(&settings, recipe());
    assert!(!replaced && (known - 1.0).abs() < 0.1, "{known}");
    assert!(
        known_error < 1.5 * still_error,
        "{known_error} {still_error}"
    );
    let simulation = Simulation::new(&settings, 0).unwrap();
    let whole = |course_nm: &[f64]| -> Vec<f64> {
        let steps = course_nm.iter().map(|nm| (nm / settings.step_nm).round());
        steps.collect()
    };
    let mut steps_alone = recipe();
    steps_alone.drift.method = DriftMethod::Given;
    steps_alone.drift.row_steps = whole(&simulation.truth().drift_row_nm);
    steps_alone.drift.col_steps = whole(&simulation.truth().drift_col_nm);
    let (followed, followed_error, replaced) = tau_s(&settings, steps_alone);
    assert!(replaced && (followed - 1.0).abs() < 0.15, "{followed}");
    assert!(followed_error > 1.5 * known_error, "{followed_error}");
}

/// Neighbors that forget at different rates lean the peak of their correlation as a drift would.
#[test]
fn a_gradient_of_tau_moves_nothing() {
    for seed in [1, 2] {
        let mut settings = settings();
        (settings.seed, settings.n_rows, settings.n_cols) = (seed, 20, 20);
        (settings.n_times, settings.total_s, settings.step_nm) = (40, vec![400.0], 0.16);
        (settings.glass.tau_median_s, settings.glass.ln_tau_spread) = (250.0, 0.7);
        settings.glass.correlation_length_nm = 2.0;
        let measured = measured(&settings, &counts(&settings), &recipe());
        let drift = measured.conditions.drift.as_ref().unwrap();
        for course in [&drift.row, &drift.col] {
            let off = off(course, &vec![0.0; 40], settings.step_nm);
            assert!(off < 2.5 * course.rms_error(), "{off} steps at seed {seed}");
            assert!(course.rms_error() < 0.2, "{}", course.rms_error());
        }
        assert!(measured.alignment.is_still(), "seed {seed}");
    }
}

#[test]
fn an_ideal_experiment_raises_no_alarm() {
    let settings = settings();
    let measured = measured(&settings, &counts(&settings), &recipe());
    assert_eq!(
        codes(&measured),
        Vec::<&str>::new(),
        "{:?}",
        measured.warnings
    );
    assert!(measured.alignment.is_identity());
    assert!(measured.excluded.is_empty());
    assert!(
        measured
            .conditions
            .region
            .masked
            .iter()
            .all(|&masked| !masked)
    );
}

#[test]
fn blinks_doubled_scans_and_lost_frames_are_left_out() {
    let settings = settings();
    let mut counts = counts(&settings);
    counts
        .slice_mut(s![7, .., .., .., ..])
        .mapv_inplace(|count| count / 2);
    let before = counts.slice(s![15, .., .., .., ..]).to_owned();
    counts.slice_mut(s![16, .., .., .., ..]).assign(&before);
    counts.slice_mut(s![22, 4, 5, .., ..]).fill(0);
    let same = counts.slice(s![24, 9, 2, .., ..]).to_owned();
    counts.slice_mut(s![24, 9, 3, .., ..]).assign(&same);
    let measured = measured(&settings, &counts, &recipe());
    let found: Vec<(usize, Reason, Option<usize>)> = measured
        .conditions
        .left_out
        .iter()
        .map(|out| (out.time, out.reason, out.n_frames))
        .collect();
    assert_eq!(
        found,
        [
            (7, Reason::Blink, None),
            (16, Reason::Doubled, None),
            (22, Reason::Lost, Some(1)),
            (24, Reason::Doubled, Some(1)),
        ]
    );
    assert_eq!(measured.excluded, [7, 16]);
    let left_out = measured.alignment.left_out.as_ref().unwrap();
    assert!(left_out[[22, 4, 5]] && left_out[[24, 9, 3]]);
}

#[test]
fn the_edge_is_found_and_a_margin_kept() {
    let mut settings = settings();
    settings.artifacts.vacuum_cols = 4;
    settings.artifacts.thickness_gradient = 0.4;
    let mut recipe = recipe();
    recipe.scan.edge_margin_nm = 0.5;
    let measured = measured(&settings, &counts(&settings), &recipe);
    let region = &measured.conditions.region;
    // 0.5 nm are two steps: the distances of the first columns are 0.12, 0.36 and 0.6 nm.
    for ((_, col), &masked) in region.masked.indexed_iter() {
        assert_eq!(masked, col < 6, "column {col}");
    }
    assert!(
        region
            .vacuum
            .indexed_iter()
            .all(|((_, col), &vacuum)| vacuum == (col < 4))
    );
    assert!(codes(&measured).contains(&"W079"));
    let proxy = region.thickness_proxy.slice(s![.., 6..]);
    let mean = |col: usize| proxy.column(col).mean().unwrap();
    assert!(mean(9) > 1.1 * mean(0), "{} {}", mean(0), mean(9));
}

/// A drift of whole steps that is given is undone exactly, for any number of threads.
#[test]
fn images_do_not_move_what_speckle_shows_at_rest() {
    // Probes that share nothing: images hold the texture of the speckle alone, which changes all along the record.
    let mut settings = settings();
    (settings.overlap, settings.step_nm) = (false, 2.0);
    settings.glass.tau_median_s = 300.0;
    for seed in [1, 2, 3] {
        settings.seed = seed;
        let measured = measured(&settings, &counts(&settings), &recipe());
        assert!(measured.alignment.is_still(), "seed {seed}");
        let words = measured.warnings.iter();
        let said = words.filter(|warning| warning.text.contains("alike at the same position"));
        assert_eq!(said.count(), 1, "seed {seed}: {:?}", measured.warnings);
    }
}

#[test]
fn whole_steps_are_undone_bit_for_bit() {
    let mut settings = settings();
    (settings.n_rows, settings.n_cols, settings.n_times) = (8, 9, 20);
    settings.total_s = vec![200.0];
    let still = counts(&settings);
    let mut recipe = recipe();
    // Flattening depends on all positions, and a few leave the scan.
    recipe.dynamics.normalization = Normalization::Ring;
    recipe.drift.method = DriftMethod::Given;
    let analyze = |counts: &Array5<u16>, recipe: &Recipe| -> Analysis {
        let (reduction, rings) = reduced(&settings, counts, recipe);
        halotau::map::analyze_in_memory(&reduction, &rings, recipe).unwrap()
    };
    let steps = |time: usize| (time / 7, time / 10);
    let moved = Array5::from_shape_fn(still.dim(), |(time, row, col, a, b)| {
        let (down, right) = steps(time);
        let at = (row + down, (col + right).min(8));
        still.get([time, at.0, at.1, a, b]).copied().unwrap_or(1)
    });
    recipe.drift.row_steps = vec![0.0; 20];
    recipe.drift.col_steps = vec![0.0; 20];
    let expected = analyze(&still, &recipe);
    recipe.drift.row_steps = (0..20).map(|time| steps(time).0 as f64 + 0.2).collect();
    recipe.drift.col_steps = (0..20).map(|time| steps(time).1 as f64).collect();
    let found = analyze(&moved, &recipe);
    // Points that stay inside: seen by position (row − 2, col − 1) at the end.
    let inner = s![2.., 1..];
    assert_eq!(
        found.relaxation.tau_s.slice(inner),
        expected.relaxation.tau_s.slice(inner)
    );
    assert_eq!(
        found.fluctuation.values.slice(inner),
        expected.fluctuation.values.slice(inner)
    );
    let one = rayon::ThreadPoolBuilder::new()
        .num_threads(1)
        .build()
        .unwrap();
    let single = one.install(|| analyze(&moved, &recipe));
    assert_eq!(
        single.relaxation.tau_s.mapv(f64::to_bits),
        found.relaxation.tau_s.mapv(f64::to_bits)
    );
}
