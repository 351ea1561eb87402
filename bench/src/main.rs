//! How fast are reduce and analyze, beside their plain versions?
//!
//! Times are CPU seconds of the process on a pool of one thread, so that they compare between machines and loads; the
//! least of five runs counts, being the least disturbed. Every version's answer is compared with the plain one's, and
//! the relaxation times with the truth of the simulation. The series is left in `target/` for `reference.py`, which does
//! the same job with NumPy and SciPy.

use std::borrow::Cow;
use std::error::Error;
use std::path::Path;

use cpu_time::ProcessTime;
use halotau::axes::{QRange, TimeAxis, TimeBasis};
use halotau::calibrate::{Calibration, CenterOrigin, CenterPath, Descan, Ellipse};
use halotau::correlate;
use halotau::map::analyze;
use halotau::ndarray::Array2;
use halotau::recipe::{Profile, Recipe, Region};
use halotau::reduce::{ReducePlan, ReduceSettings, Reduction};
use halotau::relax::{BaselineMode, ExponentFactor, FitOutcome, KwwProblem, Stretch, fit};
use halotau::ring::{Ring, RingSeries};
use halotau::source::FrameSource;
use halotau::with_counts;

mod plain;
mod simulated;

use simulated::{CENTER, PERIOD_S, Q_STEP_PER_NM, Simulated};

/// Annulus that is kept, ring that is correlated, 1/nm.
const ANNULUS: QRange = QRange::new(3.0, 5.8);
const RING: QRange = QRange::new(4.2, 4.6);

/// Runs of which the fastest counts.
const RUNS: usize = 5;

/// Reading buffer of `reduce`; results do not depend on it.
const BUFFER_BYTES: usize = 4 << 20;

/// Sums of float products in another order; a few hundred terms of like size.
const CORRELATION_TOLERANCE: f64 = 1e-12;

/// A minimum is flat: the square root of the correlations' tolerance.
const FIT_TOLERANCE: f64 = 1e-6;

/// The median over positions of tau / truth: about 0.15 a position with 188 independent pixels, 256 positions.
const TAU_TOLERANCE: f64 = 0.05;

type Outcome = Result<(), Box<dyn Error + Send + Sync>>;

fn main() -> Outcome {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build()?;
    pool.install(run)
}

fn run() -> Outcome {
    let simulated = Simulated::new();
    simulated.write(&Path::new(env!("CARGO_MANIFEST_DIR")).join("target"))?;
    let counts = simulated.counts.view();
    let source = simulated.source()?;
    let shape = source.header().shape;
    let n_patterns = (shape.n_times * shape.n_positions()) as f64;
    let read_bytes = (simulated.counts.len() * size_of::<u16>()) as f64;
    println!("series: {shape}, u16, {:.2} GB", read_bytes / 1e9);
    println!("| step | version | patterns/s | GB/s | s |");
    println!("|---|---|---|---|---|");
    let row = |step: &str, version: &str, bytes: f64, seconds: f64| {
        println!(
            "| {step} | {version} | {:.0} | {:.3} | {seconds:.4} |",
            n_patterns / seconds,
            bytes / 1e9 / seconds
        );
    };

    let (seconds, reduced) = fastest(|| reduce(&source));
    let (reduction, series) = reduced?;
    row("reduce", "halotau", read_bytes, seconds);
    let (seconds, plain) = fastest(|| plain::reduce(counts, CENTER, Q_STEP_PER_NM, ANNULUS));
    row("reduce", "plain", read_bytes, seconds);
    plain.assert_same(&reduction, &series);

    let ring = reduction.annulus.ring(RING)?;
    let ring_bytes = n_patterns * (ring.pixels.len() * count_bytes(&series[0])) as f64;
    let (seconds, curves) = fastest(|| correlate_all(&series, &ring));
    let curves = curves?;
    row("correlate", "halotau", ring_bytes, seconds);
    let (seconds, plain) = fastest(|| plain::correlate(&series, &ring));
    row("correlate", "plain", ring_bytes, seconds);
    for (fast, plain) in curves.iter().zip(&plain) {
        assert!((fast - plain).abs() <= CORRELATION_TOLERANCE * plain.abs());
    }

    let lag_s = reduction.time.lags_s();
    let n_pairs = correlate::n_pairs(&vec![true; shape.n_times]);
    let weights: Vec<f64> = n_pairs.iter().map(|&pairs| pairs as f64).collect();
    let (seconds, tau_s) = fastest(|| fit_all(&curves, &lag_s, &weights));
    row("fit", "halotau", ring_bytes, seconds);
    let median = simulated::median_ratio(tau_s.iter(), &simulated.tau_s, TAU_TOLERANCE);

    let recipe = Recipe::of(Profile::Paper);
    let annulus_bytes = n_patterns * (reduction.annulus.len() * count_bytes(&series[0])) as f64;
    let (seconds, analysis) = fastest(|| {
        analyze(
            &reduction,
            &recipe,
            &|shard| Ok(Cow::Borrowed(&series[shard.index])),
            &|_| true,
        )
    });
    row("analyze", "halotau", annulus_bytes, seconds);
    let uniform = vec![1.0; lag_s.len()];
    for (whole, parts) in analysis?
        .relaxation
        .tau_s
        .iter()
        .zip(fit_all(&plain, &lag_s, &uniform))
    {
        assert!(
            (whole - parts).abs() <= FIT_TOLERANCE * parts,
            "{whole} against {parts}"
        );
    }
    println!("\nmedian of tau / truth {median:.3}");
    Ok(())
}

/// The answer, and the CPU seconds of the fastest of several runs.
fn fastest<T>(mut work: impl FnMut() -> T) -> (f64, T) {
    let mut timed = || {
        let start = ProcessTime::now();
        let answer = work();
        (start.elapsed().as_secs_f64(), answer)
    };
    let (mut least, mut answer) = timed();
    for _ in 1..RUNS {
        let (seconds, again) = timed();
        least = least.min(seconds);
        answer = again;
    }
    (least, answer)
}

/// The whole pass: counts on the annulus, mean pattern, virtual images, sums per q.
fn reduce(source: &dyn FrameSource) -> halotau::Result<(Reduction, Vec<RingSeries>)> {
    let header = source.header();
    let shape = header.shape;
    let plan = ReducePlan::new(
        header,
        ReduceSettings {
            region: Region {
                rows: [0, shape.n_rows],
                cols: [0, shape.n_cols],
            },
            bin: 1,
            q_range: ANNULUS,
            calibration: Calibration {
                center_row: CENTER[0],
                center_col: CENTER[1],
                center_error: 0.0,
                center_origin: CenterOrigin::Given,
                descan: Descan::default(),
                center_path: CenterPath::default(),
                ellipse: Ellipse::default(),
                q_step_per_nm: Q_STEP_PER_NM,
                pixel_valid: Array2::from_elem((shape.pattern_rows, shape.pattern_cols), true),
            },
            dark: None,
            gain: None,
            time: TimeAxis::uniform(shape.n_times, PERIOD_S, TimeBasis::Period)?,
            temperature_k: 633.0,
            step_nm: 0.8,
        },
    )?;
    plan.reduce(source, BUFFER_BYTES)
}

/// g of every position, one after another.
fn correlate_all(series: &[RingSeries], ring: &Ring) -> halotau::Result<Vec<f64>> {
    let mut curves = Vec::new();
    for block in series {
        let (n_rows, n_cols, n_times, _) = block.dim();
        for row in 0..n_rows {
            for col in 0..n_cols {
                let two_time = correlate::two_time(block.position(row, col, &ring.pixels).view())?;
                curves.extend(correlate::one_time(two_time.view(), &vec![true; n_times]));
            }
        }
    }
    Ok(curves)
}

/// tau of every curve with the paper's model; NaN where there is none.
fn fit_all(curves: &[f64], lag_s: &[f64], weights: &[f64]) -> Vec<f64> {
    curves
        .chunks(lag_s.len())
        .map(|g| {
            let found = fit(&KwwProblem {
                lag_s,
                g,
                weights,
                exponent_factor: ExponentFactor::Two,
                stretch: Stretch::Fixed(1.0),
                baseline: BaselineMode::Given(1.0),
                tau_bounds_s: [0.1 * PERIOD_S, 1e5],
                finite_window: None,
            });
            if found.outcome == FitOutcome::Converged {
                found.tau_s
            } else {
                f64::NAN
            }
        })
        .collect()
}

/// Bytes of a stored count.
fn count_bytes(series: &RingSeries) -> usize {
    with_counts!(&series.counts, counts => counts.first().map_or(0, size_of_val))
}
