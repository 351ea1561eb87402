//! How long does a position take, from the file to its relaxation time and its variance?
//!
//! Two files hold the same counts: one binned, one of native patterns whose 4 x 4 pixels add up to them. Each is opened,
//! read from the page cache, reduced into memory and analyzed with the paper's settings: G and g of every position, V in all its
//! forms, and the fit. The jackknife's six repetitions and the search for drift are left out, because the reference
//! (`reference.py`) does not do them. CPU seconds of the process on a pool of one thread, the least of five runs.
//!
//! Then one thread and two take turns over the binned file; of these the clock counts.
//!
//! The answers of both files are the same bits, and the relaxation times those of the simulation.

use std::borrow::Cow;
use std::error::Error;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::time::Instant;

use cpu_time::ProcessTime;
use halotau::analysis::Analysis;
use halotau::calibrate::Calibration;
use halotau::conditions::{Conditions, Measured};
use halotau::drift::align::Alignment;
use halotau::map::analyze_under;
use halotau::ndarray::Array2;
use halotau::recipe::{Profile, Recipe};
use halotau::reduce::{ReducePlan, ReduceSettings};
use halotau::relax::Stretch;
use halotau::series::Stated;
use halotau_io::{OpenRequest, open};

#[allow(
    dead_code,
    reason = "the series itself was written by the other benchmark"
)]
mod simulated;

use simulated::{CENTER, N_TIMES, PERIOD_S, Q_STEP_PER_NM, SCAN, SIDE};

/// Native pixels along the side of a binned one, as in the paper.
const BIN: usize = 4;

/// Scan rows of the native file: 64 positions are 0.95 GB.
const NATIVE_ROWS: usize = 4;

/// Runs of which the fastest counts.
const RUNS: usize = 5;

/// Reading buffer; results do not depend on it.
const BUFFER_BYTES: usize = 64 << 20;

/// The median over positions of tau / truth: about 0.15 a position with 188 independent pixels.
const TAU_TOLERANCE: f64 = 0.08;

type Outcome<T = ()> = Result<T, Box<dyn Error + Send + Sync>>;

/// Steps of a run of which the time is taken.
const STEPS: [&str; 3] = ["read and reduce", "analyze", "whole"];

/// What one run took, by step.
struct Run {
    cpu_s: [f64; STEPS.len()],
    wall_s: [f64; STEPS.len()],
    analysis: Analysis,
}

fn main() -> Outcome {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("target");
    let binned = folder.join("series.npy");
    let native = folder.join("native.npy");
    pool(1)?.install(|| one_thread(&folder, &binned, &native))?;
    more_threads(&binned)
}

fn pool(threads: usize) -> Outcome<rayon::ThreadPool> {
    Ok(rayon::ThreadPoolBuilder::new()
        .num_threads(threads)
        .build()?)
}

/// Prints what a second thread gains, in turns with one.
fn more_threads(binned: &Path) -> Outcome {
    let pools = [pool(1)?, pool(2)?];
    let mut least = [[f64::INFINITY; 2]; STEPS.len()];
    let mut answers = [None, None];
    for _ in 0..2 * RUNS {
        for (at, pool) in pools.iter().enumerate() {
            let run = pool.install(|| once(binned, 1, Stretch::Fixed(1.0)))?;
            for (least, seconds) in least.iter_mut().zip(run.wall_s) {
                least[at] = least[at].min(seconds);
            }
            answers[at] = Some(run.analysis.relaxation.tau_s.mapv(f64::to_bits));
        }
    }
    assert_eq!(answers[0], answers[1]);
    println!();
    println!("| step | one thread s | two threads s | times faster |");
    println!("|---|---|---|---|");
    for (step, [one, two]) in STEPS.iter().zip(least) {
        println!("| {step} | {one:.4} | {two:.4} | {:.2} |", one / two);
    }
    Ok(())
}

fn one_thread(folder: &Path, binned: &Path, native: &Path) -> Outcome {
    write_native(binned, native)?;
    let truth = std::fs::read(folder.join("truth.npy"))?;
    let truth: Vec<f64> = npy_data(&truth)
        .chunks_exact(8)
        .filter_map(|bytes| Some(f64::from_le_bytes(bytes.try_into().ok()?)))
        .collect();
    println!("| file | stretch | step | ms a position |");
    println!("|---|---|---|---|");
    let fixed = Stretch::Fixed(1.0);
    let free = Stretch::Free { min: 0.3, max: 2.0 };
    let mut answers = Vec::new();
    for (name, file, bin, stretch) in [
        ("binned", binned, 1, fixed),
        ("binned", binned, 1, free),
        ("native", native, BIN, fixed),
    ] {
        let stretch_name = if stretch == fixed { "fixed" } else { "free" };
        let mut least = [f64::INFINITY; STEPS.len()];
        let mut answer = None;
        for _ in 0..RUNS {
            let run = once(file, bin, stretch)?;
            for (least, seconds) in least.iter_mut().zip(run.cpu_s) {
                *least = least.min(seconds);
            }
            answer = Some(run.analysis);
        }
        let analysis = answer.ok_or("no run was made")?;
        let n_positions = analysis.relaxation.tau_s.len() as f64;
        for (step, seconds) in STEPS.iter().zip(least) {
            println!(
                "| {name} | {stretch_name} | {step} | {:.3} |",
                1e3 * seconds / n_positions
            );
        }
        simulated::median_ratio(analysis.relaxation.tau_s.iter(), &truth, TAU_TOLERANCE);
        answers.push(analysis);
    }
    let (binned, native) = (&answers[0], &answers[2]);
    for (at, native_tau) in native.relaxation.tau_s.indexed_iter() {
        assert_eq!(native_tau.to_bits(), binned.relaxation.tau_s[at].to_bits());
        let (a, b) = (native.fluctuation.values[at], binned.fluctuation.values[at]);
        assert_eq!(a.to_bits(), b.to_bits());
    }
    Ok(())
}

/// From the file to the analysis, on the threads of the pool that calls.
fn once(file: &Path, bin: usize, stretch: Stretch) -> Outcome<Run> {
    let clock = Instant::now();
    let start = ProcessTime::now();
    let source = open(&OpenRequest::new(file.to_path_buf()))?;
    let header = source.header();
    let shape = header.shape;
    let valid = Array2::from_elem((shape.pattern_rows, shape.pattern_cols), true);
    // The center of a binned pixel lies between its native ones.
    let native = |binned: f64| (binned + 0.5) * bin as f64 - 0.5;
    let center = (native(CENTER[0]), native(CENTER[1]));
    let calibration = Calibration::centered(center, Q_STEP_PER_NM / bin as f64, valid);
    let mut recipe = Recipe::of(Profile::Paper);
    recipe.relaxation.stretch = stretch;
    recipe.interval.sectors = 1;
    let mut header = header.clone();
    header.period_s = Some(Stated::new(PERIOD_S, "benchmark"));
    let settings = ReduceSettings {
        bin,
        ..ReduceSettings::of(&header, calibration, recipe.annulus_range())?
    };
    let plan = ReducePlan::new(&header, settings)?;
    let (reduction, rings) = plan.reduce(source.as_ref(), BUFFER_BYTES)?;
    let reduced = start.elapsed().as_secs_f64();
    let reduced_wall = clock.elapsed().as_secs_f64();
    let dim = (reduction.n_rows(), reduction.n_cols());
    let measured = Measured {
        conditions: Conditions::ideal(shape.n_times, dim),
        alignment: Alignment::none(shape.n_times),
        excluded: Vec::new(),
        level_counts: reduction.virtual_image.clone(),
        warnings: Vec::new(),
    };
    let load = |shard: &halotau::reduce::Shard| Ok(Cow::Borrowed(&rings[shard.index]));
    let analysis = analyze_under(&reduction, &recipe, &measured, &load, &|_| true)?;
    let whole = start.elapsed().as_secs_f64();
    let whole_wall = clock.elapsed().as_secs_f64();
    Ok(Run {
        cpu_s: [reduced, whole - reduced, whole],
        wall_s: [reduced_wall, whole_wall - reduced_wall, whole_wall],
        analysis,
    })
}

/// The samples of a NumPy file of format 1.0.
fn npy_data(file: &[u8]) -> &[u8] {
    &file[10 + usize::from(u16::from_le_bytes([file[8], file[9]]))..]
}

/// Writes native patterns that add up to the first rows of the binned ones: each count is spread over its pixels evenly, and what
/// is left over over some of them, in turn.
fn write_native(binned: &Path, native: &Path) -> Outcome {
    let file = std::fs::read(binned)?;
    let counts = npy_data(&file);
    let shape = [N_TIMES, NATIVE_ROWS, SCAN[1], BIN * SIDE, BIN * SIDE];
    let header = format!("{{'descr': '<u2', 'fortran_order': False, 'shape': {shape:?}, }}");
    let header = header.replace('[', "(").replace(']', ")");
    let length = (10 + header.len() + 1).next_multiple_of(64) - 10;
    let mut file = BufWriter::with_capacity(1 << 20, File::create(native)?);
    file.write_all(b"\x93NUMPY\x01\x00")?;
    file.write_all(&(length as u16).to_le_bytes())?;
    file.write_all(format!("{header:<width$}\n", width = length - 1).as_bytes())?;
    let frame_bytes = 2 * SIDE * SIDE;
    let mut turn = 0_usize;
    let mut pattern = vec![0_u8; frame_bytes * BIN * BIN];
    for scan in counts.chunks_exact(SCAN[0] * SCAN[1] * frame_bytes) {
        for frame in scan.chunks_exact(frame_bytes).take(NATIVE_ROWS * SCAN[1]) {
            for (at, bytes) in frame.chunks_exact(2).enumerate() {
                let count = u16::from_le_bytes([bytes[0], bytes[1]]);
                let (row, col) = (at / SIDE * BIN, at % SIDE * BIN);
                for part in 0..BIN * BIN {
                    let share = usize::from(count) / (BIN * BIN);
                    let more = (part + turn) % (BIN * BIN) < usize::from(count) % (BIN * BIN);
                    let sample = (share + usize::from(more)) as u16;
                    let to = (row + part / BIN) * BIN * SIDE + col + part % BIN;
                    pattern[2 * to..2 * to + 2].copy_from_slice(&sample.to_le_bytes());
                }
                turn += 5;
            }
            file.write_all(&pattern)?;
        }
    }
    file.flush()?;
    Ok(())
}
