//! Numbers of halotau against an independent implementation in NumPy and SciPy (`reference/README.md`).
//!
//! The whole way is taken: source, plan, pass, analysis.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;

use halotau::analysis::Analysis;
use halotau::arrhenius::{self, ArrheniusPoint, Average};
use halotau::axes::QRange;
use halotau::calibrate::Calibration;
use halotau::correlate::{Flattening, Normalization};
use halotau::fluctuate::{Grouping, Noise};
use halotau::ndarray::{Array2, Array5};
use halotau::rank;
use halotau::recipe::Recipe;
use halotau::reduce::{ReducePlan, ReduceSettings};
use halotau::relax::{
    self, BaselineMode, Estimator, ExponentFactor, FiniteWindow, KwwProblem, Stretch, Weights,
};
use halotau::series::Position;
use halotau::source::{FrameSource, MemorySeries};
use serde_json::Value;

/// Sums of products of counts below 2^53 are exact; what remains are a few divisions.
const EXACT: f64 = 1e-12;

/// Minimizers stop when steps vanish; two of them agree to about 1e-7 in tau.
const MINIMUM: f64 = 1e-6;

fn json(name: &str) -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/reference")
        .join(name);
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

/// The data of a version-1 `.npy` file, behind its header.
fn npy(name: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/reference")
        .join(name);
    let bytes = std::fs::read(path).unwrap();
    let header = usize::from(u16::from_le_bytes([bytes[8], bytes[9]]));
    bytes[10 + header..].to_vec()
}

fn numbers(value: &Value) -> Vec<f64> {
    match value {
        Value::Array(values) => values.iter().flat_map(numbers).collect(),
        Value::Null => vec![f64::NAN],
        value => vec![value.as_f64().unwrap()],
    }
}

#[track_caller]
fn assert_close<'a>(found: impl IntoIterator<Item = &'a f64>, expected: &Value, tolerance: f64) {
    let expected = numbers(expected);
    let found: Vec<f64> = found.into_iter().copied().collect();
    assert_eq!(found.len(), expected.len());
    for (at, (found, expected)) in found.iter().zip(&expected).enumerate() {
        let scale = expected.abs().max(1e-3);
        assert!(
            (found - expected).abs() <= tolerance * scale,
            "at {at}: {found} instead of {expected}"
        );
    }
}

fn analyze(choose: impl FnOnce(&mut Recipe)) -> Analysis {
    let settings = json("settings.json");
    let range = |key: &str| {
        let edges = numbers(&settings[key]);
        QRange::new(edges[0], edges[1])
    };
    let counts: Vec<u16> = npy("series.npy")
        .chunks(2)
        .map(|pair| u16::from_le_bytes([pair[0], pair[1]]))
        .collect();
    let counts = Array5::from_shape_vec((12, 3, 4, 24, 24), counts).unwrap();
    let mask: Vec<bool> = npy("mask.npy").iter().map(|&valid| valid != 0).collect();
    let mut source = MemorySeries::from_counts("reference", counts.view()).unwrap();
    source.header_mut().times_s = Some(numbers(&settings["times_s"]));
    let center = numbers(&settings["center"]);
    let mut recipe = Recipe::default();
    recipe.dynamics.q_range_per_nm = range("ring_per_nm");
    recipe.structure.q_range_per_nm = range("band_per_nm");
    recipe.structure.gain = settings["gain"].as_f64().unwrap();
    recipe.structure.excess_factor = settings["excess_factor"].as_f64().unwrap();
    recipe.relaxation.estimator = Estimator::LeastSquares;
    recipe.relaxation.lag_fraction = 1.0;
    choose(&mut recipe);
    let calibration = Calibration::centered(
        (center[0], center[1]),
        settings["q_step_per_nm"].as_f64().unwrap(),
        Array2::from_shape_vec((24, 24), mask).unwrap(),
    );
    let plan_settings =
        ReduceSettings::of(source.header(), calibration, recipe.annulus_range()).unwrap();
    let plan = ReducePlan::new(source.header(), plan_settings).unwrap();
    let (reduction, rings) = plan.reduce(&source, 1 << 20).unwrap();
    halotau::map::analyze_in_memory(&reduction, &rings, &recipe).unwrap()
}

#[test]
fn ring_correlation_and_its_fits() {
    let expected = json("expected.json");
    let two_time = |recipe: &mut Recipe| {
        recipe.dynamics.normalization = Normalization::Ring;
        recipe.dynamics.two_time = halotau::correlate::TwoTimeKept::All;
    };
    let analysis = analyze(two_time);
    let correlation = &expected["correlation"];
    assert_eq!(
        analysis.n_ring_pixels as u64,
        correlation["n_ring_pixels"].as_u64().unwrap()
    );
    assert_close(&analysis.curves.g, &correlation["g_ring"], EXACT);
    assert_close(
        analysis.two_time_all.as_ref().unwrap(),
        &correlation["two_time"],
        EXACT,
    );
    assert_close(
        &analysis.curves.lag_s,
        &expected["relaxation"]["lag_s"],
        EXACT,
    );
    let fits = &expected["relaxation"]["pair_weights"];
    assert_close(&analysis.relaxation.tau_s, &fits["tau_s"], MINIMUM);
    assert_close(&analysis.relaxation.contrast, &fits["contrast"], MINIMUM);
    let uniform = analyze(|recipe| {
        two_time(recipe);
        recipe.relaxation.weights = Weights::None;
    });
    assert_close(
        &uniform.relaxation.tau_s,
        &expected["relaxation"]["uniform_weights"]["tau_s"],
        MINIMUM,
    );
}

#[test]
fn flattened_and_per_pixel_correlation() {
    let expected = &json("expected.json")["correlation"];
    for (flattening, key) in [
        (Flattening::Pixel, "g_flattened_pixel"),
        (Flattening::Radial, "g_flattened_radial"),
    ] {
        let analysis = analyze(|recipe| {
            recipe.dynamics.normalization = Normalization::Flattened;
            recipe.dynamics.flattening = flattening;
        });
        assert_eq!(analysis.flattening, Some(flattening));
        assert_close(&analysis.curves.g, &expected[key], EXACT);
    }
    let analysis = analyze(|recipe| recipe.dynamics.normalization = Normalization::PerPixel);
    assert_close(&analysis.curves.g, &expected["g_per_pixel"], EXACT);
}

#[test]
fn azimuthal_variance_in_all_forms() {
    let expected = &json("expected.json")["fluctuation"];
    for (grouping, suffix) in [(Grouping::PerRing, "ring"), (Grouping::Band, "band")] {
        let analysis = analyze(|recipe| {
            recipe.structure.grouping = grouping;
            recipe.structure.noise = Noise::Factorial;
        });
        let found = &analysis.fluctuation;
        assert_close(&found.mean_counts, &expected["mean_counts"], EXACT);
        assert_close(&found.raw_ring, &expected["raw_ring"], EXACT);
        assert_close(&found.raw_band, &expected["raw_band"], EXACT);
        // Differences of numbers near 1 keep fewer digits than the numbers.
        assert_close(
            &found.counting,
            &expected[format!("counting_{suffix}")],
            1e3 * EXACT,
        );
        assert_close(
            &found.factorial,
            &expected[format!("factorial_{suffix}")],
            1e3 * EXACT,
        );
        assert_close(
            &found.two_frame,
            &expected[format!("two_frame_{suffix}")],
            1e3 * EXACT,
        );
        assert_eq!(found.values, found.factorial);
        let finite = analyze(|recipe| {
            recipe.structure.grouping = grouping;
            recipe.structure.noise = Noise::FiniteCounting;
        });
        let expected = &expected[format!("finite_counting_{suffix}")];
        assert_close(&finite.fluctuation.values, expected, 1e3 * EXACT);
    }
}

#[test]
fn two_time_correlation_of_scikit_beam() {
    let expected = json("scikit_beam.json");
    let position = numbers(&expected["position"]);
    let position = Position {
        row: position[0] as usize,
        col: position[1] as usize,
    };
    let analysis = analyze(|recipe| {
        recipe.dynamics.normalization = Normalization::Ring;
        recipe.dynamics.two_time_positions = vec![position];
    });
    let kept = analysis
        .two_time
        .iter()
        .find(|two_time| two_time.position == Some(position))
        .unwrap();
    assert_close(&kept.values, &expected["two_time"], EXACT);
    let one_time = &expected["one_time"].as_array().unwrap()[1..];
    let g = analysis
        .curves
        .g
        .slice(halotau::ndarray::s![position.row, position.col, ..])
        .to_vec();
    assert_close(&g, &Value::Array(one_time.to_vec()), EXACT);
}

#[test]
fn fits_of_curves_in_every_variant() {
    for case in json("expected.json")["relaxation"]["synthetic"]
        .as_array()
        .unwrap()
    {
        let (lag_s, g) = (numbers(&case["lag_s"]), numbers(&case["g"]));
        let weights = numbers(&case["n_pairs"]);
        let flag = |key: &str| case[key].as_bool().unwrap();
        let problem = KwwProblem {
            lag_s: &lag_s,
            g: &g,
            weights: &weights,
            exponent_factor: match case["exponent_factor"].as_f64() {
                Some(1.0) => ExponentFactor::One,
                _ => ExponentFactor::Two,
            },
            stretch: if flag("free_stretch") {
                Stretch::Free { min: 0.2, max: 3.0 }
            } else {
                Stretch::Fixed(1.0)
            },
            baseline: if flag("free_baseline") {
                BaselineMode::Free
            } else {
                BaselineMode::Given(1.0)
            },
            tau_bounds_s: [0.5, 30_000.0],
            finite_window: flag("finite_window").then(|| FiniteWindow {
                n_times: case["n_times"].as_u64().unwrap() as usize,
                step_s: 5.0,
            }),
        };
        let fit = relax::fit(&problem);
        for (key, found) in [
            ("tau_s", fit.tau_s),
            ("contrast", fit.contrast),
            ("stretch", fit.stretch),
            ("baseline", fit.baseline),
        ] {
            // Free stretch, baseline and tau lie along a shallow valley; the cost below says that it is the same minimum.
            assert_close(&[found], &case[key], 20.0 * MINIMUM);
        }
        assert_close(&[fit.cost], &case["cost"], 1e-9);
    }
}

#[test]
fn ranks_and_activation_energy() {
    let expected = json("expected.json");
    let ties = &expected["relation"]["ties"];
    let spearman = rank::spearman(&numbers(&ties["x"]), &numbers(&ties["y"]));
    assert_close(&[spearman], &ties["spearman"], EXACT);

    let study = &expected["arrhenius"];
    let points = |error: &dyn Fn(usize) -> f64| -> Vec<ArrheniusPoint> {
        let (temperature_k, tau_s) = (numbers(&study["temperature_k"]), numbers(&study["tau_s"]));
        (0..temperature_k.len())
            .map(|at| ArrheniusPoint {
                temperature_k: temperature_k[at],
                tau_s: tau_s[at],
                ln_tau_error: error(at),
            })
            .collect()
    };
    let errors = numbers(&study["ln_tau_error"]);
    let weighted = arrhenius::fit(&points(&|at| errors[at]), Average::Median, 0.95).unwrap();
    let unweighted = arrhenius::fit(&points(&|_| f64::NAN), Average::Median, 0.95).unwrap();
    for (fit, key) in [(&weighted, "weighted"), (&unweighted, "unweighted")] {
        let expected = &study[key];
        for (found, key) in [
            (
                fit.activation_energy_kj_per_mol,
                "activation_energy_kj_per_mol",
            ),
            (
                fit.activation_energy_error_kj_per_mol,
                "activation_energy_error_kj_per_mol",
            ),
            (fit.ln_tau_infinite, "ln_tau_infinite"),
            (fit.ln_tau_infinite_error, "ln_tau_infinite_error"),
            (fit.covariance, "covariance"),
        ] {
            assert_close(&[found], &expected[key], 1e-9);
        }
    }
    let without: Vec<f64> = weighted
        .leave_one_out
        .iter()
        .map(|without| without.activation_energy_kj_per_mol)
        .collect();
    assert_close(&without, &study["leave_one_out_kj_per_mol"], 1e-9);
}
