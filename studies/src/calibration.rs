//! Are the values of a calibration right, and their errors?
//!
//! ```console
//! cargo run --manifest-path studies/Cargo.toml --bin calibration -- 50          # every case, seeds 1 to 50
//! cargo run --manifest-path studies/Cargo.toml --bin calibration -- 10 sparse   # cases whose name holds a word
//! ```
//!
//! Each seed is another sample, and another center (within 3 pixels), ellipse (1 to 5 %, any angle) and descan (within 3 pixels
//! over the field). With the truth known, z = (value − truth) / error; were the errors right, rms z would be 1. Prints
//! a table for each case; what is beyond a factor of 1.5 is marked.

use std::f64::consts::PI;
use std::process::ExitCode;

use halotau::calibrate::measure::{Measured, Request, measure};
use halotau::calibrate::{Descan, Ellipse};
use halotau::recipe::Region;
use halotau::simulate::{BeamStop, Simulation, SimulationSettings};
use halotau::source::FrameSource;
use halotau::survey::{Survey, SurveyPlan, survey};

/// Errors within this factor of the scatter are right.
const RIGHT: f64 = 1.5;

/// What is simulated.
#[derive(Debug, Clone, Copy)]
struct Case {
    name: &'static str,
    side: usize,
    n_times: usize,
    step_nm: f64,
    overlap: bool,
    direct_beam: bool,
    probe_current_pa: f64,
}

/// Positions that share nothing.
const SPARSE: Case = Case {
    name: "sparse, stop",
    side: 24,
    n_times: 3,
    step_nm: 0.8,
    overlap: false,
    direct_beam: false,
    probe_current_pa: 8.9,
};

/// A third of a probe from position to position.
const DENSE: Case = Case {
    name: "dense, stop",
    step_nm: 0.27,
    overlap: true,
    ..SPARSE
};

const CASES: [Case; 7] = [
    SPARSE,
    Case {
        name: "sparse, direct beam",
        direct_beam: true,
        ..SPARSE
    },
    Case {
        name: "sparse, stop, a tenth of the current",
        probe_current_pa: 0.89,
        ..SPARSE
    },
    DENSE,
    Case {
        name: "dense, direct beam",
        direct_beam: true,
        ..DENSE
    },
    Case {
        name: "ten areas, direct beam",
        side: 16,
        step_nm: 0.1617,
        direct_beam: true,
        ..DENSE
    },
    Case {
        name: "large, stop",
        side: 60,
        n_times: 2,
        ..SPARSE
    },
];

/// The `axis`-th coordinate of the `seed`-th point of an even sequence in the unit cube (Kronecker's, with roots of primes).
fn even(seed: u64, axis: usize) -> f64 {
    const PRIMES: [f64; 9] = [2.0, 3.0, 5.0, 7.0, 11.0, 13.0, 17.0, 19.0, 23.0];
    (seed as f64 * PRIMES[axis].sqrt()).fract()
}

fn settings(case: &Case, seed: u64) -> SimulationSettings {
    let mut settings = SimulationSettings {
        seed,
        n_rows: case.side,
        n_cols: case.side,
        step_nm: case.step_nm,
        n_times: case.n_times,
        total_s: vec![2400.0],
        temperature_k: vec![633.0],
        dwell_ms: vec![1.0],
        overlap: case.overlap,
        probe_current_pa: case.probe_current_pa,
        ..SimulationSettings::default()
    };
    let symmetric = |axis: usize| 2.0 * even(seed, axis) - 1.0;
    let artifacts = &mut settings.artifacts;
    artifacts.center_offset_px = [3.0 * symmetric(0), 3.0 * symmetric(1)];
    artifacts.ellipse = Ellipse {
        distortion: 0.01 + 0.04 * even(seed, 2),
        angle_rad: PI * even(seed, 3),
    };
    let slope = |axis: usize| 1.5 * symmetric(axis) / case.side as f64;
    artifacts.descan = Descan {
        row_per_row: slope(4),
        row_per_col: slope(5),
        col_per_row: slope(6),
        col_per_col: slope(7),
        ..Descan::default()
    };
    artifacts.thickness_gradient = 0.4;
    if case.direct_beam {
        settings.halo.direct_share = 0.3;
    } else {
        artifacts.beam_stop = Some(BeamStop::default());
    }
    settings
}

fn surveyed(settings: &SimulationSettings) -> halotau::Result<Survey> {
    let series = Simulation::new(settings, 0)?.series()?;
    let header = series.header();
    let region = Region {
        rows: [0, header.shape.n_rows],
        cols: [0, header.shape.n_cols],
    };
    let plan = SurveyPlan::new(header, region, 1 << 30);
    survey(&series, &plan, None, None, &|_| true)
}

/// A value, its error and the truth.
type Outcome = (f64, f64, f64);

/// What was measured of one seed, in the order of [`QUANTITIES`].
fn outcomes(measured: &Measured, settings: &SimulationSettings) -> Vec<Outcome> {
    let artifacts = &settings.artifacts;
    let (row, col) = settings.center_px();
    let truth = &artifacts.ellipse;
    // The angle nearest to the truth: both ends of [0, pi) are one direction.
    let angle = measured.ellipse.angle_rad;
    let turns = ((angle - truth.angle_rad) / PI).round();
    let (descan, error, true_descan) =
        (&measured.descan, &measured.descan_error, &artifacts.descan);
    let halo = measured.halo_radius_px;
    let mut outcomes = vec![
        (measured.center[0].value, measured.center[0].error, row),
        (measured.center[1].value, measured.center[1].error, col),
        (
            measured.ellipse.distortion,
            measured.distortion_error,
            truth.distortion,
        ),
        (
            angle - PI * turns,
            measured.angle_error_rad,
            truth.angle_rad,
        ),
        (
            descan.row_per_row,
            error.row_per_row,
            true_descan.row_per_row,
        ),
        (
            descan.row_per_col,
            error.row_per_col,
            true_descan.row_per_col,
        ),
        (
            descan.col_per_row,
            error.col_per_row,
            true_descan.col_per_row,
        ),
        (
            descan.col_per_col,
            error.col_per_col,
            true_descan.col_per_col,
        ),
        (
            halo.value,
            halo.error,
            settings.halo.q_ring_per_nm / settings.q_step_per_nm,
        ),
    ];
    let unknown = (f64::NAN, f64::NAN, f64::NAN);
    let symmetry = measured.symmetry_center;
    for (axis, truth) in [row, col].into_iter().enumerate() {
        outcomes.push(symmetry.map_or(unknown, |at| (at[axis].value, at[axis].error, truth)));
    }
    let ring = measured.sector_ring;
    for (axis, truth) in [row, col].into_iter().enumerate() {
        outcomes.push(ring.map_or(unknown, |ring| {
            (ring.center[axis].value, ring.center[axis].error, truth)
        }));
    }
    outcomes.push(ring.map_or(unknown, |ring| {
        (
            ring.ellipse.distortion,
            ring.distortion_error,
            truth.distortion,
        )
    }));
    outcomes
}

const QUANTITIES: [&str; 14] = [
    "center row, px",
    "center col, px",
    "distortion",
    "angle, rad",
    "descan row/row, px",
    "descan row/col, px",
    "descan col/row, px",
    "descan col/col, px",
    "halo radius, px",
    "symmetry row, px",
    "symmetry col, px",
    "sectors row, px",
    "sectors col, px",
    "sectors distortion",
];

fn rms(values: impl Iterator<Item = f64>) -> f64 {
    let (mut sum, mut n) = (0.0, 0.0);
    for value in values {
        sum += value * value;
        n += 1.0;
    }
    (sum / n).sqrt()
}

fn print_table(case: &Case, all: &[Vec<Outcome>]) {
    println!("\n### {} ({} seeds)\n", case.name, all.len());
    println!("| | rms (value - truth) | mean (value - truth) | rms error | rms z | beyond 2 | |");
    println!("|---|---|---|---|---|---|---|");
    for (at, name) in QUANTITIES.iter().enumerate() {
        let known: Vec<Outcome> = all
            .iter()
            .map(|outcomes| outcomes[at])
            .filter(|(value, error, _)| value.is_finite() && error.is_finite())
            .collect();
        let away = known.iter().map(|(value, _, truth)| value - truth);
        let z: Vec<f64> = known
            .iter()
            .map(|(value, error, truth)| (value - truth) / error)
            .collect();
        let rms_z = rms(z.iter().copied());
        println!(
            "| {name} | {:.5} | {:+.5} | {:.5} | {rms_z:.2} | {} of {} | {} |",
            rms(away.clone()),
            away.sum::<f64>() / known.len() as f64,
            rms(known.iter().map(|(_, error, _)| *error)),
            z.iter().filter(|z| z.abs() > 2.0).count(),
            known.len(),
            if (1.0 / RIGHT..=RIGHT).contains(&rms_z) {
                ""
            } else {
                "**beyond**"
            }
        );
    }
}

fn study(case: &Case, n_seeds: u64) -> halotau::Result<()> {
    let mut all = Vec::new();
    let mut n_independent = 0.0;
    let mut codes = std::collections::BTreeMap::<String, usize>::new();
    for seed in 1..=n_seeds {
        let settings = settings(case, seed);
        let survey = surveyed(&settings)?;
        let measured = measure(&survey, &Request::all(survey.mean.dim()))?;
        n_independent += measured.n_independent / n_seeds as f64;
        for warning in &measured.warnings {
            *codes.entry(warning.code.clone()).or_default() += 1;
        }
        all.push(outcomes(&measured, &settings));
    }
    print_table(case, &all);
    println!("\nWorth {n_independent:.1} independent parts of the scan; warnings: {codes:?}");
    Ok(())
}

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let n_seeds = arguments.next().and_then(|n| n.parse().ok()).unwrap_or(50);
    let word = arguments.next().unwrap_or_default();
    for case in CASES.iter().filter(|case| case.name.contains(&word)) {
        if let Err(error) = study(case, n_seeds) {
            eprintln!("{}: {error}", case.name);
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}
