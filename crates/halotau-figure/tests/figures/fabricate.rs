//! Results that nobody measured, to draw figures from: smooth maps with noise, lower limits and bad positions.

use halotau::analysis::{Analysis, Estimate, MapSummary, Study};
use halotau::arrhenius::{ArrheniusFit, ArrheniusPoint, Average, GAS_CONSTANT, LeaveOneOut};
use halotau::axes::{QRange, TimeAxis, TimeBasis};
use halotau::calibrate::{Calibration, CenterOrigin, Descan, Ellipse};
use halotau::conditions::Conditions;
use halotau::correlate::{CorrelationCurves, LagSums, TwoTime};
use halotau::dynamics::four_point::AtDistance;
use halotau::fluctuate::FluctuationMap;
use halotau::heterogeneity::{Heterogeneity, MapVariation};
use halotau::ndarray::{Array2, Array3};
use halotau::q_dependence::{QBand, QDependence};
use halotau::quality::Quality;
use halotau::recipe::{Recipe, Region};
use halotau::reduce::Reduction;
use halotau::relate::{DecoupledRelation, StructureDynamics};
use halotau::relax::{FitOutcome, KwwFit, RelaxationMap};
use halotau::ring::Annulus;
use halotau::series::{Position, SampleType, SeriesShape, Warning};
use halotau_figure::figures::{self, ExamplePatterns, TimeTraces};
use halotau_figure::report::{self, ComparisonRow, ReportInput, Table};

/// A number between −1 and 1 that depends on integers alone.
fn noise(a: usize, b: usize, c: usize) -> f64 {
    let mut x = (a as u64 + 1)
        .wrapping_mul(0x9e37_79b9_7f4a_7c15)
        .wrapping_add((b as u64 + 7).wrapping_mul(0xbf58_476d_1ce4_e5b9))
        .wrapping_add((c as u64 + 3).wrapping_mul(0x94d0_49bb_1331_11eb));
    x ^= x >> 30;
    x = x.wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x ^= x >> 27;
    x = x.wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^= x >> 31;
    (x >> 11) as f64 / (1_u64 << 52) as f64 - 1.0
}

fn smooth(row: usize, col: usize, seed: usize) -> f64 {
    let (y, x) = (row as f64, col as f64);
    (0..6)
        .map(|k| {
            let kx = 0.25 * noise(k, seed, 1);
            let ky = 0.25 * noise(k, seed, 2);
            (kx * x + ky * y + 3.0 * noise(k, seed, 3)).cos()
        })
        .sum::<f64>()
        / 2.5
}

fn estimate(value: f64, relative: f64) -> Estimate {
    Estimate {
        value,
        error: value * relative,
        lower: value * (1.0 - 2.0 * relative),
        upper: value * (1.0 + 2.0 * relative),
    }
}

/// One temperature.
pub(crate) fn analysis(
    temperature_k: f64,
    n_rows: usize,
    n_cols: usize,
    n_times: usize,
) -> Analysis {
    let seed = temperature_k as usize;
    let record_s = if temperature_k < 650.0 { 1048.0 } else { 524.0 };
    let time = TimeAxis::uniform(n_times, record_s / n_times as f64, TimeBasis::Total)
        .expect("the step is positive");
    let mean = (-11.2 + 97.0e3 / (GAS_CONSTANT * temperature_k)).exp();
    let shape = (n_rows, n_cols);
    let ln_tau = Array2::from_shape_fn(shape, |(row, col)| {
        mean.ln() + 0.5 * smooth(row, col, seed) + 0.2 * noise(row, col, seed)
    });
    let tau_s = ln_tau.mapv(f64::exp);
    let fluctuation = Array2::from_shape_fn(shape, |(row, col)| {
        0.55 + 0.03 * smooth(row, col, seed)
            + 0.03 * smooth(row, col, seed + 50)
            + 0.015 * noise(row, col, seed + 9)
    });
    let quality = Array2::from_shape_fn(shape, |(row, col)| {
        let mut quality = Quality::default();
        quality.set_if(tau_s[[row, col]] > record_s, Quality::TAU_GT_WINDOW);
        quality.set_if(noise(row, col, 77) > 0.97, Quality::FIT_NO_CONVERGE);
        quality.set_if(row < n_rows / 8 && col < n_cols / 5, Quality::MASKED);
        quality.set_if(noise(row, col, 78) > 0.9, Quality::LOW_COUNTS);
        quality.set_if(noise(row, col, 79) > 0.99, Quality::POOR_FIT);
        quality
    });
    let lag_s = time.lags_s();
    let n_lags = lag_s.len();
    let g = Array3::from_shape_fn((n_rows, n_cols, n_lags), |(row, col, lag)| {
        let t = lag_s[lag];
        let scatter = 0.006 / (1.0 - lag as f64 / n_times as f64).sqrt();
        1.0 + 0.3 * (-2.0 * t / tau_s[[row, col]]).exp() + scatter * noise(row, col, lag / 3)
    });
    let g_error = Array3::from_shape_fn((n_rows, n_cols, n_lags), |(_, _, lag)| {
        0.008 / (1.0 - lag as f64 / n_times as f64).sqrt()
    });
    let full = |value: f64| Array2::from_elem(shape, value);
    let relaxation = RelaxationMap {
        tau_lower_s: tau_s.mapv(|tau| tau / 1.5),
        tau_upper_s: tau_s.mapv(|tau| {
            if tau > record_s {
                f64::INFINITY
            } else {
                tau * 1.6
            }
        }),
        ln_tau_error: full(0.2),
        contrast: full(0.3),
        contrast_error: full(0.02),
        stretch: full(1.0),
        stretch_error: full(0.0),
        baseline: full(1.0),
        mean_relaxation_time_s: tau_s.mapv(|tau| tau / 2.0),
        persistence: full(0.6),
        residual: Array2::from_shape_fn(shape, |(row, col)| 0.006 + 0.002 * noise(row, col, 5)),
        outcome: Array2::from_elem(shape, FitOutcome::Converged),
        tau_s: tau_s.clone(),
    };
    let mut order: Vec<(usize, usize)> = tau_s.indexed_iter().map(|(place, _)| place).collect();
    order.sort_by(|a, b| tau_s[*a].total_cmp(&tau_s[*b]));
    let at = |share: f64| {
        let (row, col) = order[(share * (order.len() - 1) as f64) as usize];
        Position { row, col }
    };
    let examples = [at(0.9), at(0.1)];
    let matrix = |position: Option<Position>| TwoTime {
        position,
        values: Array2::from_shape_fn((n_times, n_times), |(one, two)| {
            let tau = position.map_or(mean, |p| tau_s[[p.row, p.col]]);
            let lag = (time.times_s()[one] - time.times_s()[two]).abs();
            let level = if position.is_some() { 0.03 } else { 0.004 };
            let ragged =
                noise(one.min(two), one.max(two), 6) + noise(one / 8, 0, 8) + noise(two / 8, 0, 8);
            let shot = if one == two { 0.4 } else { 0.0 };
            1.0 + 0.3 * (-2.0 * lag / tau).exp() + level * ragged + shot
        }),
    };
    let mut recipe = Recipe::default();
    recipe.microscope.probe_fwhm_nm = Some(0.78);
    recipe.microscope.voltage_kv = Some(200.0);
    recipe.microscope.convergence_mrad = Some(1.6);
    recipe.sample.composition = "Zr50Cu40Al10".to_owned();
    recipe.sample.glass_transition_k = Some(673.0);
    let n_bad = quality.iter().filter(|q| q.is_bad()).count();
    let n_censored = quality
        .iter()
        .filter(|q| !q.is_bad() && q.is_censored())
        .count();
    let n_positions = n_rows * n_cols;
    let summary = MapSummary {
        n_positions,
        n_valid: n_positions - n_bad,
        n_censored,
        tau_mean_s: estimate(mean * 1.17, 0.06),
        tau_log_mean_s: estimate(mean, 0.05),
        tau_median_s: estimate(mean * 0.97, 0.06),
        tau_ensemble_s: estimate(mean * 1.08, 0.04),
        tau_within_record_s: estimate(mean * 0.94, 0.05),
        tau_spread_s: [mean / 1.8, mean * 1.8],
        ln_tau_sd: 0.56,
        fluctuation_mean: estimate(0.55, 0.008),
        fluctuation_unbiased_mean: estimate(0.57, 0.008),
        fluctuation_sd: 0.04,
        contrast_mean: estimate(0.3, 0.01),
        flag_counts: Quality::NAMES
            .iter()
            .map(|(flag, name)| {
                let count = quality.iter().filter(|q| q.has(*flag)).count();
                ((*name).to_owned(), count)
            })
            .collect(),
    };
    Analysis {
        dynamics: Some(crate::dynamics::dynamics(record_s)),
        name: format!("{temperature_k}K"),
        temperature_k,
        step_nm: 0.32,
        time: time.clone(),
        recipe,
        n_ring_pixels: 209,
        n_ring_speckles: Some(42.0),
        lag_sums: LagSums::Pairs,
        flattening: None,
        interval_factor: Some(1.75),
        q_dependence: Some(q_dependence()),
        distant_baseline: Some(1.002),
        curves: CorrelationCurves {
            n_pairs: (1..n_times).rev().collect(),
            lag_s,
            g,
            g_error,
        },
        relaxation,
        fluctuation: FluctuationMap {
            error: full(0.01),
            raw_ring: fluctuation.mapv(|v| v + 0.1),
            raw_band: fluctuation.mapv(|v| v + 0.2),
            counting: fluctuation.clone(),
            factorial: fluctuation.clone(),
            two_frame: fluctuation.clone(),
            mean_counts: full(10.0),
            values: fluctuation,
        },
        conditions: Conditions::ideal(n_times, shape),
        two_time: vec![
            matrix(None),
            matrix(Some(examples[0])),
            matrix(Some(examples[1])),
        ],
        two_time_all: None,
        ensemble_g: Vec::new(),
        ensemble_fit: KwwFit {
            tau_s: mean,
            contrast: 0.3,
            stretch: 1.0,
            baseline: 1.0,
            outcome: FitOutcome::Converged,
            cost: 0.0,
            condition: 10.0,
            iterations: 5,
        },
        examples: Some(examples),
        summary,
        relation: StructureDynamics {
            spearman: 0.39 - 0.002 * (temperature_k - 633.0),
            n: n_positions - n_bad,
        },
        heterogeneity: Some(Heterogeneity {
            ln_tau: Some(variation(0.52)),
            fluctuation: None,
            probe_length: 0.66,
            unit: "nm".to_owned(),
        }),
        relation_checks: None,
        decoupled: Some(DecoupledRelation {
            correlation: Estimate {
                value: 0.27,
                error: 0.09,
                lower: 0.09,
                upper: 0.44,
            },
            p_value: 0.004,
            n: n_positions - n_bad,
            n_effective: 97.0,
            tau_reliability: 0.93,
            fluctuation_reliability: 0.52,
            corrected: None,
            detectable: 0.28,
        }),
        warnings: vec![Warning::new(
            "W021",
            "the period of 9.2 s means 975.2 s for 106 scans, but the total means 1048.0 s (+7.5 %). \
             The total is used; tau scales with it.",
        )],
        quality,
    }
}

/// Bands of the ring whose tau differs.
fn q_dependence() -> QDependence {
    let about = |value: f64| Estimate {
        value,
        error: 0.03,
        lower: value - 0.06,
        upper: value + 0.06,
    };
    let band = |q_min_per_nm: f64, ratio: f64| QBand {
        q_min_per_nm,
        q_max_per_nm: q_min_per_nm + 1.4,
        q_per_nm: q_min_per_nm + 0.7,
        tau_ratio: about(ratio),
    };
    QDependence {
        bands: vec![band(3.0, 1.1), band(4.4, 0.9)],
        n_positions: 900,
        n_effective: 120.0,
        p_value: 1e-5,
        outer_over_inner: about(0.82),
        slope: about(-0.55),
    }
}

/// A map that varies beyond noise, over a distance that is resolved.
fn variation(sd: f64) -> MapVariation {
    let about = |value: f64| Estimate {
        value,
        error: 0.1 * value,
        lower: 0.8 * value,
        upper: 1.2 * value,
    };
    MapVariation {
        n_positions: 3500,
        n_effective: 110.0,
        n_censored: 120,
        sd: about(sd),
        p_value: 1e-6,
        reliability: about(0.6),
        map_reliability: 0.75,
        covariance: vec![AtDistance {
            distance: 0.0,
            estimate: about(sd * sd),
        }],
        apparent_length: about(1.3),
        length: Some(about(1.1)),
    }
}

/// Several temperatures with their Arrhenius fits.
pub(crate) fn study(temperatures_k: &[f64], n_rows: usize, n_cols: usize, n_times: usize) -> Study {
    let analyses: Vec<Analysis> = temperatures_k
        .iter()
        .map(|temperature_k| analysis(*temperature_k, n_rows, n_cols, n_times))
        .collect();
    let fit = |average: Average| {
        let points: Vec<ArrheniusPoint> = analyses
            .iter()
            .map(|analysis| ArrheniusPoint {
                temperature_k: analysis.temperature_k,
                tau_s: analysis.summary.tau_s(average).value,
                ln_tau_error: 0.06,
            })
            .collect();
        let n = points.len() as f64;
        let x: Vec<f64> = points
            .iter()
            .map(|p| 1000.0 / (GAS_CONSTANT * p.temperature_k))
            .collect();
        let y: Vec<f64> = points.iter().map(|p| p.tau_s.ln()).collect();
        let (mx, my) = (x.iter().sum::<f64>() / n, y.iter().sum::<f64>() / n);
        let sxx: f64 = x.iter().map(|x| (x - mx).powi(2)).sum();
        let sxy: f64 = x.iter().zip(&y).map(|(x, y)| (x - mx) * (y - my)).sum();
        let energy = sxy / sxx;
        let error = 0.06 / sxx.sqrt();
        let ln_tau_infinite = my - energy * mx;
        ArrheniusFit {
            average,
            leave_one_out: points
                .iter()
                .enumerate()
                .map(|(n, p)| LeaveOneOut {
                    temperature_k: p.temperature_k,
                    activation_energy_kj_per_mol: energy + 4.0 * noise(n, 1, 2),
                })
                .collect(),
            activation_energy_kj_per_mol: energy,
            activation_energy_error_kj_per_mol: error,
            activation_energy_interval_kj_per_mol: [energy - 2.0 * error, energy + 2.0 * error],
            ln_tau_infinite,
            ln_tau_infinite_error: 0.06 * (1.0 / n + mx * mx / sxx).sqrt(),
            covariance: -0.06 * 0.06 * mx / sxx,
            tau_infinite_s: ln_tau_infinite.exp(),
            chi2: 2.9,
            degrees_of_freedom: points.len().saturating_sub(2),
            points,
        }
    };
    Study {
        zero_dose: Vec::new(),
        relation: None,
        alike: None,
        arrhenius_without_beam: None,
        arrhenius: if analyses.len() > 1 {
            Average::ALL.into_iter().map(fit).collect()
        } else {
            Vec::new()
        },
        analyses,
        headline: Average::LogMean,
    }
}

/// A halo with a beam stop.
pub(crate) fn reduction(
    n_rows: usize,
    n_cols: usize,
    n_times: usize,
    n_pixels: usize,
) -> Reduction {
    let center = [n_pixels as f64 / 2.0 + 0.7, n_pixels as f64 / 2.0 - 1.2];
    let q_step_per_nm = 15.3 / n_pixels as f64;
    let profile = |q: f64| {
        60.0 * (-q * 1.4).exp()
            + 9.0 * (-((q - 4.4) / 0.45).powi(2)).exp()
            + 1.5 * (-q / 6.0).exp()
            + 1.6 * (-((q - 7.3) / 0.6).powi(2)).exp()
    };
    let radius = |row: usize, col: usize| (row as f64 - center[0]).hypot(col as f64 - center[1]);
    let mean_pattern = Array2::from_shape_fn((n_pixels, n_pixels), |(row, col)| {
        profile(radius(row, col) * q_step_per_nm) * (1.0 + 0.03 * noise(row, col, 3))
    });
    let pixel_valid = Array2::from_shape_fn((n_pixels, n_pixels), |(row, col)| {
        let arm =
            (col as f64 - center[1]).abs() < 0.03 * n_pixels as f64 && (row as f64) < center[0];
        radius(row, col) * q_step_per_nm > 1.2 && !arm
    });
    let time = TimeAxis::uniform(n_times, 9.9, TimeBasis::Total).expect("the step is positive");
    let q_bins: Vec<QRange> = (0..40)
        .map(|bin| QRange::new(0.2 * f64::from(bin), 0.2 * f64::from(bin + 1)))
        .collect();
    let n_bins = q_bins.len();
    Reduction {
        name: "633K".to_owned(),
        source_shape: SeriesShape {
            n_times,
            n_rows,
            n_cols,
            pattern_rows: n_pixels,
            pattern_cols: n_pixels,
        },
        sample_type: SampleType::U16,
        region: Region {
            rows: [0, n_rows],
            cols: [0, n_cols],
        },
        temperature_k: 633.0,
        step_nm: 0.32,
        time,
        calibration: Calibration {
            center_row: center[0],
            center_col: center[1],
            center_error: 0.05,
            center_origin: CenterOrigin::Halo,
            descan: Descan::default(),
            center_path: halotau::calibrate::CenterPath::default(),
            ellipse: Ellipse {
                distortion: 0.01,
                angle_rad: 0.6,
            },
            q_step_per_nm,
            pixel_valid,
        },
        annulus: Annulus {
            range: QRange::new(3.0, 5.8),
            bin: 1,
            grid_rows: n_pixels,
            grid_cols: n_pixels,
            row: Vec::new(),
            col: Vec::new(),
            q_per_nm: Vec::new(),
            azimuth_rad: Vec::new(),
            coverage: Vec::new(),
        },
        mean_pattern,
        virtual_image: Array3::from_shape_fn((n_times, n_rows, n_cols), |(time, row, col)| {
            if time == n_times / 2 {
                f64::NAN
            } else {
                2e4 * (1.0 - 0.0002 * time as f64) * (1.0 + 0.02 * noise(time, row, col))
            }
        }),
        q_pixels: (0..n_bins)
            .map(|bin| if bin < 6 { 0 } else { 6 * bin as u64 })
            .collect(),
        q_sums: Array3::from_shape_fn((n_rows, n_cols, n_bins), |(_, _, bin)| {
            let q = 0.2 * (bin as f64 + 0.5);
            if bin < 6 {
                0.0
            } else {
                profile(q) * 6.0 * bin as f64 * n_times as f64
            }
        }),
        q_bins,
        shift_row: Array2::zeros((n_rows, n_cols)),
        shift_col: Array2::zeros((n_rows, n_cols)),
        n_nonfinite: 0,
        n_saturated: 0,
        n_negative: 0,
        n_missing_frames: 1,
        shard_rows: 1,
        shard_cols: n_cols,
    }
}

/// Speckle on an annulus for two positions at five times.
pub(crate) fn patterns(positions: [Position; 2]) -> ExamplePatterns {
    let n = 48;
    let patterns = (0..10)
        .map(|index| {
            Array2::from_shape_fn((n, n), |(row, col)| {
                let radius = (row as f64 - 23.5).hypot(col as f64 - 23.5);
                if !(9.0..20.0).contains(&radius) {
                    return f64::NAN;
                }
                let halo = 10.0 * (-((radius - 14.0) / 3.0).powi(2)).exp();
                halo * (1.2 + noise(row / 3, col / 3, index / 2)) + 1.0
            })
        })
        .collect();
    ExamplePatterns {
        positions,
        times_s: vec![0.0, 98.9, 247.2, 494.3, 988.6],
        patterns,
    }
}

/// Counts against time with a lost scan.
pub(crate) fn traces(reduction: &Reduction) -> TimeTraces {
    let mut traces = TimeTraces::of(reduction);
    traces.ring_mean = (0..traces.times_s.len())
        .map(|time| 8.0 + 0.1 * noise(time, 1, 1))
        .collect();
    traces
}

/// A report with every part.
pub(crate) fn report_input(study: &Study) -> ReportInput<'_> {
    let analysis = &study.analyses[0];
    let (n_rows, n_cols) = analysis.quality.dim();
    let reduction = reduction(n_rows, n_cols, analysis.time.len(), 132);
    let examples = patterns(
        analysis
            .examples
            .expect("the fabricated results have examples"),
    );
    let drawn = "the fabricated results can be drawn";
    let mut figures = figures::of_study(study).expect(drawn);
    figures.extend(
        figures::of_analysis(
            analysis,
            Some(&examples),
            Some(&reduction),
            &traces(&reduction),
        )
        .expect(drawn),
    );
    let mut truth = Table::new(
        "Recovered beside the truth",
        &["quantity", "recovered", "truth"],
    );
    truth.rows.push(vec![
        "E (kJ/mol)".to_owned(),
        "97 [84, 110]".to_owned(),
        "97.0".to_owned(),
    ]);
    ReportInput {
        microscope: None,
        title: "Zr50Cu40Al10, 633-673 K".to_owned(),
        study,
        figures,
        comparison: study
            .analyses
            .iter()
            .map(|analysis| ComparisonRow {
                quantity: "mean τ (s)".to_owned(),
                temperature_k: Some(analysis.temperature_k),
                paper: analysis.summary.tau_mean_s.value,
                recommended: analysis.summary.tau_log_mean_s.value,
            })
            .chain([ComparisonRow {
                quantity: "ρ".to_owned(),
                temperature_k: Some(633.0),
                paper: 0.31,
                recommended: 0.39,
            }])
            .collect(),
        warnings: vec![Warning::new(
            "W034",
            "the convergence angle and the q scale disagree.",
        )],
        truth: Some(truth),
        methods: report::methods(study, "0.1.0"),
        recipe_toml: "schema = 1\ntitle = \"demo\"\n".to_owned(),
        provenance: vec![
            ("program".to_owned(), "halotau 0.1.0".to_owned()),
            ("command".to_owned(), "halotau run halotau.toml".to_owned()),
        ],
    }
}
