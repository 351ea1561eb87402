//! How far is tau from the truth, and does its interval say so?
//!
//! ```console
//! cargo run --manifest-path studies/Cargo.toml --bin tau -- one 500         # one tau: bias, spread, coverage, halves; 500 positions a case
//! cargo run --manifest-path studies/Cargo.toml --bin tau -- one 500 none 1  # only the case "none" at one record
//! cargo run --manifest-path studies/Cargo.toml --bin tau -- many 500        # tau from 200 to 5000 s: errors and ranks
//! ```
//!
//! The speckle is made here, not by the simulation of halotau: a complex normal field with the coherence of a Gaussian probe of
//! 0.78 nm on 66 x 66 pixels of 0.23 1/nm, which forgets itself exponentially, 106 scans in 1048 s, with the halo and
//! the counts of the paper (8.9 pA, 1 ms) and its beam stop. Positions share nothing.

use halotau::analysis::Analysis;
use halotau::axes::QRange;
use halotau::calibrate::Calibration;
use halotau::ndarray::{Array2, Array5};
use halotau::rank;
use halotau::recipe::{Profile, Recipe};
use halotau::reduce::{ReducePlan, ReduceSettings};
use halotau::series::Stated;
use halotau::source::{FrameSource, MemorySeries};
use rand_distr::{Distribution, Poisson, StandardNormal};
use rand_xoshiro::Xoshiro256PlusPlus;
use rand_xoshiro::rand_core::{Rng, SeedableRng};
use rayon::prelude::*;
use rustfft::FftPlanner;
use rustfft::num_complex::Complex32;

const SIDE: usize = 66;
const CENTER: f64 = 32.5;
const Q_STEP_PER_NM: f64 = 0.23;
const N_TIMES: usize = 106;
const RECORD_S: f64 = 1048.0;
const FWHM_NM: f64 = 0.78;
const CONTRAST: f64 = 0.55;

/// What differs from the plain experiment.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Trouble {
    None,
    /// +Q and −Q show the same speckle.
    Friedel,
    /// The gain of every pixel is off by 4 %.
    Gain,
    /// The beam flickers by 3 % from frame to frame.
    Flicker,
    /// The speckle is the sum of four, at less contrast.
    Modes,
}

fn halo(q_per_nm: f64) -> f64 {
    1.3 + 17.5 * libm::exp(-0.5 * ((q_per_nm - 4.3) / 0.38).powi(2))
}

fn stream(seed: u64, item: usize) -> Xoshiro256PlusPlus {
    Xoshiro256PlusPlus::seed_from_u64(
        seed.wrapping_mul(0x9e37_79b9_7f4a_7c15)
            ^ (item as u64 + 1).wrapping_mul(0xd1b5_4a32_d192_ed03),
    )
}

/// Intensities of one speckle, mean 1, `[time, pixel]`.
fn speckle(rng: &mut Xoshiro256PlusPlus, tau_s: f64, friedel: bool) -> Vec<f32> {
    let sigma = FWHM_NM / (8.0 * std::f64::consts::LN_2).sqrt();
    let place = |at: usize| {
        let at = if at < SIDE / 2 {
            at as f64
        } else {
            at as f64 - SIDE as f64
        };
        at / (SIDE as f64 * Q_STEP_PER_NM)
    };
    let mut probe: Vec<f64> = (0..SIDE * SIDE)
        .map(|at| {
            let (x, y) = (place(at / SIDE), place(at % SIDE));
            libm::exp(-(x * x + y * y) / (4.0 * sigma * sigma))
        })
        .collect();
    let power: f64 = probe.iter().map(|value| value * value).sum();
    probe.iter_mut().for_each(|value| *value /= power.sqrt());
    let transform = FftPlanner::new().plan_fft_forward(SIDE);
    let kept = libm::exp(-RECORD_S / N_TIMES as f64 / tau_s);
    let fresh = (0.5 * (1.0 - kept * kept)).sqrt();
    let mut normal = |size: f64| -> f32 {
        let value: f64 = StandardNormal.sample(rng);
        (size * value) as f32
    };
    let mut wave: Vec<Complex32> = (0..SIDE * SIDE)
        .map(|_| Complex32::new(normal(0.5_f64.sqrt()), normal(0.5_f64.sqrt())))
        .collect();
    let mut intensity = Vec::with_capacity(N_TIMES * SIDE * SIDE);
    for _ in 0..N_TIMES {
        let mut field: Vec<Complex32> = wave
            .iter()
            .zip(&probe)
            .map(|(wave, &probe)| wave * probe as f32)
            .collect();
        for _ in 0..2 {
            transform.process(&mut field);
            let turned: Vec<Complex32> = (0..SIDE * SIDE)
                .map(|at| field[at % SIDE * SIDE + at / SIDE])
                .collect();
            field = turned;
        }
        let of = |row: usize, col: usize| field[row * SIDE + col].norm_sqr();
        for row in 0..SIDE {
            for col in 0..SIDE {
                intensity.push(if friedel && row >= SIDE / 2 {
                    of(SIDE - 1 - row, SIDE - 1 - col)
                } else {
                    of(row, col)
                });
            }
        }
        for value in &mut wave {
            *value = *value * kept as f32 + Complex32::new(normal(fresh), normal(fresh));
        }
    }
    intensity
}

/// Counts of a scan of independent positions, `[time, row, col, pattern row, pattern col]`.
fn counts(seed: u64, tau_s: &Array2<f64>, trouble: Trouble) -> Array5<u16> {
    let mut rng = stream(seed, usize::MAX - 1);
    let gain: Vec<f64> = (0..SIDE * SIDE)
        .map(|_| {
            let off: f64 = StandardNormal.sample(&mut rng);
            if trouble == Trouble::Gain {
                1.0 + 0.04 * off
            } else {
                1.0
            }
        })
        .collect();
    let expected: Vec<f64> = (0..SIDE * SIDE)
        .map(|at| {
            let (row, col) = ((at / SIDE) as f64 - CENTER, (at % SIDE) as f64 - CENTER);
            halo(row.hypot(col) * Q_STEP_PER_NM) * gain[at]
        })
        .collect();
    let n_modes = if trouble == Trouble::Modes { 4 } else { 1 };
    let contrast = if trouble == Trouble::Modes {
        0.2
    } else {
        CONTRAST
    };
    let share = (contrast * n_modes as f64).sqrt();
    let (n_rows, n_cols) = tau_s.dim();
    let made: Vec<Vec<u16>> = (0..n_rows * n_cols)
        .into_par_iter()
        .map(|at| {
            let mut rng = stream(seed, at);
            let tau_s = tau_s[[at / n_cols, at % n_cols]];
            let mut intensity = vec![0.0; N_TIMES * SIDE * SIDE];
            for _ in 0..n_modes {
                let part = speckle(&mut rng, tau_s, trouble == Trouble::Friedel);
                for (sum, part) in intensity.iter_mut().zip(part) {
                    *sum += f64::from(part) / n_modes as f64;
                }
            }
            let mut flicker = 1.0;
            intensity
                .iter()
                .enumerate()
                .map(|(at, intensity)| {
                    let pixel = at % (SIDE * SIDE);
                    if pixel == 0 && trouble == Trouble::Flicker {
                        let off: f64 = StandardNormal.sample(&mut rng);
                        flicker = 1.0 + 0.03 * off;
                    }
                    let mean = expected[pixel] * flicker * (1.0 - share + share * intensity);
                    Poisson::new(mean.max(1e-6))
                        .map_or(0, |poisson| poisson.sample(&mut rng) as u16)
                })
                .collect()
        })
        .collect();
    Array5::from_shape_fn(
        (N_TIMES, n_rows, n_cols, SIDE, SIDE),
        |(time, row, col, a, b)| made[row * n_cols + col][(time * SIDE + a) * SIDE + b],
    )
}

fn analyze(counts: &Array5<u16>, recipe: &Recipe) -> Analysis {
    let mut source = MemorySeries::from_counts("study", counts.view()).expect("a series");
    let stated = |value| Some(Stated::new(value, "study"));
    let header = source.header_mut();
    (header.temperature_k, header.step_nm) = (stated(633.0), stated(2.0));
    header.period_s = stated(RECORD_S / N_TIMES as f64);
    let open = Array2::from_shape_fn((SIDE, SIDE), |(row, col)| {
        (row as f64 - CENTER).abs() > 2.6 || (col as f64) < CENTER
    });
    let calibration = Calibration::centered((CENTER, CENTER), Q_STEP_PER_NM, open);
    let settings =
        ReduceSettings::of(source.header(), calibration, recipe.annulus_range()).expect("settings");
    let plan = ReducePlan::new(source.header(), settings).expect("a plan");
    let (reduction, rings) = plan.reduce(&source, 1 << 28).expect("a reduction");
    halotau::map::analyze_in_memory(&reduction, &rings, recipe).expect("an analysis")
}

fn recipe(profile: Profile, level: f64) -> Recipe {
    let mut recipe = Recipe::of(profile);
    recipe.microscope.probe_fwhm_nm = Some(FWHM_NM);
    recipe.interval.level = level;
    recipe.structure.q_range_per_nm = QRange::new(3.0, 5.8);
    recipe
}

/// Share of truths inside the intervals, percent.
fn coverage(analysis: &Analysis, truth_s: &Array2<f64>) -> f64 {
    let map = &analysis.relaxation;
    let inside = truth_s
        .indexed_iter()
        .filter(|&(at, &truth)| map.tau_lower_s[at] <= truth && truth <= map.tau_upper_s[at]);
    100.0 * inside.count() as f64 / truth_s.len() as f64
}

fn one_tau(n_positions: usize, trouble: Trouble, only: Option<f64>) {
    let n_cols = 10;
    let shape = (n_positions.div_ceil(n_cols), n_cols);
    for (number, records) in [0.1, 0.3, 1.0, 3.0].into_iter().enumerate() {
        if only.is_some_and(|only| only != records) {
            continue;
        }
        let truth = Array2::from_elem(shape, records * RECORD_S);
        let counts = counts(17 + number as u64, &truth, trouble);
        let wide = analyze(&counts, &recipe(Profile::Recommended, 0.95));
        let narrow = analyze(&counts, &recipe(Profile::Recommended, 0.68));
        for warning in &wide.warnings {
            eprintln!("{}: {}", warning.code, warning.text);
        }
        let tau: Vec<f64> = wide.relaxation.tau_s.iter().copied().collect();
        let logs: Vec<f64> = tau
            .iter()
            .map(|tau| libm::log(tau / (records * RECORD_S)))
            .collect();
        let mean = logs.iter().sum::<f64>() / logs.len() as f64;
        let sd =
            (logs.iter().map(|log| (log - mean).powi(2)).sum::<f64>() / logs.len() as f64).sqrt();
        let off: Vec<f64> = logs
            .iter()
            .map(|log| (libm::exp(*log) - 1.0).abs())
            .collect();
        println!(
            "| {trouble:?} | {records} | {:+.1} | {sd:.3} | {:.3} | {:.0} / {:.0} | {:.2} | {:.3} | {:+.2} |",
            100.0 * (libm::exp(rank::median(&logs)) - 1.0),
            rank::median(&off),
            coverage(&narrow, &truth),
            coverage(&wide, &truth),
            wide.interval_factor.unwrap_or(f64::NAN),
            rank::median(&wide.relaxation.contrast.iter().copied().collect::<Vec<_>>()),
            wide.decoupled
                .map_or(f64::NAN, |relation| relation.tau_reliability),
        );
    }
}

fn many_taus(n_positions: usize) {
    let n_cols = 20;
    let shape = (n_positions.div_ceil(n_cols), n_cols);
    let mut rng = stream(5, 0);
    let truth = Array2::from_shape_simple_fn(shape, || {
        let share = rng.next_u64() as f64 / u64::MAX as f64;
        200.0 * libm::exp(share * libm::log(25.0))
    });
    let counts = counts(3, &truth, Trouble::None);
    for (name, profile, range) in [
        (
            "likelihood, 3.0-5.8",
            Profile::Recommended,
            QRange::new(3.0, 5.8),
        ),
        (
            "likelihood, 4.2-4.6",
            Profile::Recommended,
            QRange::new(4.2, 4.6),
        ),
        ("paper, 4.2-4.6", Profile::Paper, QRange::new(4.2, 4.6)),
    ] {
        let mut recipe = recipe(profile, 0.95);
        recipe.dynamics.q_range_per_nm = range;
        let analysis = analyze(&counts, &recipe);
        let off = |from_s: f64| -> Vec<f64> {
            let tau = analysis.relaxation.tau_s.iter().zip(&truth);
            tau.filter(|(_, truth)| **truth >= from_s)
                .map(|(tau, truth)| (tau / truth - 1.0).abs())
                .map(|off| if off.is_nan() { f64::INFINITY } else { off })
                .collect()
        };
        let all = off(0.0);
        let within = all.iter().filter(|off| **off <= 0.2).count() as f64 / all.len() as f64;
        let relation = halotau::relate::relate(
            analysis.relaxation.tau_s.view(),
            truth.view(),
            analysis.quality.view(),
        );
        println!(
            "| {name} | {:.3} | {:.3} | {within:.2} | {:.3} | {:.0} |",
            rank::median(&all),
            rank::median(&off(RECORD_S)),
            relation.spearman,
            coverage(&analysis, &truth),
        );
    }
}

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let n_positions = words
        .get(1)
        .and_then(|word| word.parse().ok())
        .unwrap_or(200);
    match words.first().map(String::as_str) {
        Some("many") => many_taus(n_positions),
        _ => {
            println!(
                "| case | tau, records | off, % | sd ln tau | median off | 68 / 95 % cover | factor | V | halves |"
            );
            let troubles = [
                Trouble::None,
                Trouble::Friedel,
                Trouble::Gain,
                Trouble::Flicker,
                Trouble::Modes,
            ];
            for trouble in troubles {
                if words
                    .get(2)
                    .is_none_or(|word| *word == format!("{trouble:?}").to_lowercase())
                {
                    let only = words.get(3).and_then(|word| word.parse().ok());
                    one_tau(n_positions, trouble, only);
                }
            }
        }
    }
}
