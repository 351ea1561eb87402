//! Is simulated data what its truth says?
//!
//! A position of these patterns holds `n_speckle = P² / Σ|μ|²` independent speckles, about 170 for 66 x 66 pixels and a disc of 5.5
//! pixels, and as many again for every time tau that passes. Tolerances are multiples of the errors that follow.

#![allow(
    clippy::unwrap_used,
    reason = "a test stops at the first thing that is not as it should be"
)]

use halotau::calibrate::{Descan, Ellipse};
use halotau::ndarray::{Array2, Array3, Axis, s};
use halotau::series::{FrameBlock, FrameRun, Position, SampleType, Samples};
use halotau::simulate::{BeamStop, FrameIndex, SampleDrift, Simulation, SimulationSettings};
use halotau::source::FrameSource;

/// One temperature, a flat halo, and one tau and contrast: a law at its plainest.
fn plain() -> SimulationSettings {
    let mut settings = SimulationSettings {
        temperature_k: vec![633.0],
        total_s: vec![400.0],
        dwell_ms: vec![1.0],
        n_times: 40,
        n_rows: 4,
        n_cols: 4,
        overlap: false,
        noise_free: true,
        ..SimulationSettings::default()
    };
    settings.halo.background = 1e9;
    settings.glass.tau_median_s = 30.0;
    settings.glass.ln_tau_spread = 0.0;
    settings.glass.contrast_range = [0.6, 0.6];
    settings
}

fn all_positions(simulation: &Simulation) -> Vec<Position> {
    let shape = simulation.header().shape;
    (0..shape.n_rows)
        .flat_map(|row| (0..shape.n_cols).map(move |col| Position { row, col }))
        .collect()
}

/// Frames of a position divided by their expectation.
fn relative(simulation: &Simulation, position: Position) -> Array3<f64> {
    let mean = &simulation.truth().mean_electrons;
    simulation.position(position).unwrap().mapv(f64::from) / mean
}

/// `⟨I(t) I(t + lag)⟩ − 1` over pixels, times and positions, and its standard error from the scatter of positions.
fn correlation(simulation: &Simulation, lag: usize) -> (f64, f64) {
    let values: Vec<f64> = all_positions(simulation)
        .into_iter()
        .map(|position| {
            let frames = relative(simulation, position);
            let n_times = frames.dim().0;
            let early = frames.slice(s![..n_times - lag, .., ..]);
            let late = frames.slice(s![lag.., .., ..]);
            ((&early - 1.0) * (&late - 1.0)).mean().unwrap()
        })
        .collect();
    mean_and_error(&values)
}

fn mean_and_error(values: &[f64]) -> (f64, f64) {
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    let variance = values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / (n - 1.0);
    (mean, (variance / n).sqrt())
}

/// Standard errors that a correct simulation may be away: with seeds fixed, five is a fault.
const SIGMAS: f64 = 5.0;

#[test]
fn intensity_correlation_is_the_law_for_every_stretch() {
    for (stretch, contrast) in [(0.5, 0.3), (1.0, 0.6), (1.5, 0.6), (2.0, 1.0)] {
        let mut settings = plain();
        settings.glass.stretch = stretch;
        settings.glass.contrast_range = [contrast, contrast];
        let simulation = Simulation::new(&settings, 0).unwrap();
        for lag in [0, 1, 2, 4, 12] {
            let elapsed = 10.0 * lag as f64 / 30.0;
            let law = contrast * (-2.0 * f64::powf(elapsed, stretch)).exp();
            let (found, error) = correlation(&simulation, lag);
            // 16 positions of 170 speckles over 13 tau: 1 to 2 per cent of the contrast.
            assert!(error < 0.03 * contrast, "error {error}");
            assert!(
                (found - law).abs() < SIGMAS * error,
                "stretch {stretch}, lag {lag}: {found:.4} +- {error:.4} against {law:.4}"
            );
        }
    }
}

#[test]
fn intensity_is_one_on_average_and_has_its_own_distribution() {
    let mut settings = plain();
    settings.glass.contrast_range = [1.0, 1.0];
    let simulation = Simulation::new(&settings, 0).unwrap();
    let means: Vec<[f64; 2]> = all_positions(&simulation)
        .into_iter()
        .map(|position| {
            let frames = relative(&simulation, position);
            // Fully developed speckle: exponential, so exp(-1) of the pixels lie above the mean.
            let above = frames.mapv(|value| f64::from(u8::from(value > 1.0)));
            [frames.mean().unwrap(), above.mean().unwrap()]
        })
        .collect();
    for (idx, wanted) in [(0, 1.0), (1, (-1.0_f64).exp())] {
        let list: Vec<f64> = means.iter().map(|pair| pair[idx]).collect();
        let (found, error) = mean_and_error(&list);
        assert!(error < 0.02);
        assert!(
            (found - wanted).abs() < SIGMAS * error,
            "{found} +- {error}"
        );
    }
}

#[test]
fn irregular_times_keep_the_law() {
    let mut settings = plain();
    let times: Vec<f64> = (0..40)
        .map(|time| if time % 2 == 0 { 10.0 } else { 16.0 } + 10.0 * f64::from(time))
        .map(|time_s| time_s - 10.0)
        .collect();
    settings.times_s = Some(times);
    let simulation = Simulation::new(&settings, 0).unwrap();
    for (first, gap_s) in [(0, 16.0), (1, 4.0)] {
        let values: Vec<f64> = all_positions(&simulation)
            .into_iter()
            .map(|position| {
                let frames = relative(&simulation, position) - 1.0;
                let early = frames.slice(s![first..38;2, .., ..]).to_owned();
                let late = frames.slice(s![first + 1..39;2, .., ..]);
                (early * late).mean().unwrap()
            })
            .collect();
        let (found, error) = mean_and_error(&values);
        let law = 0.6 * f64::exp(-2.0 * gap_s / 30.0);
        assert!((found - law).abs() < SIGMAS * error, "{found} +- {error}");
    }
}

#[test]
fn speckle_is_as_large_as_the_disc_says() {
    let mut settings = plain();
    settings.artifacts.ellipse = Ellipse {
        distortion: 0.1,
        angle_rad: 0.0,
    };
    for settings in [plain(), settings] {
        let simulation = Simulation::new(&settings, 0).unwrap();
        for (row_lag, col_lag) in [(1, 0), (0, 1), (0, 3), (3, 0), (2, 2), (7, 0)] {
            let values: Vec<f64> = all_positions(&simulation)
                .into_iter()
                .map(|position| {
                    let frames = relative(&simulation, position) - 1.0;
                    let (_, n_rows, n_cols) = frames.dim();
                    let here = frames.slice(s![.., ..n_rows - row_lag, ..n_cols - col_lag]);
                    let there = frames.slice(s![.., row_lag.., col_lag..]);
                    (&here * &there).mean().unwrap()
                })
                .collect();
            let (found, error) = mean_and_error(&values);
            let field = simulation.speckle_correlation(row_lag as f64, col_lag as f64);
            let law = 0.6 * field * field;
            assert!(error < 0.012);
            assert!(
                (found - law).abs() < SIGMAS * error,
                "({row_lag}, {col_lag}): {found:.4} +- {error:.4} against {law:.4}"
            );
        }
    }
    // 1.6 mrad at 2.508 pm and 0.232 1/nm: discs of 5.5 pixels, so 3 pixels are 0.54548 of a diameter.
    let simulation = Simulation::new(&plain(), 0).unwrap();
    assert!((simulation.speckle_correlation(3.0, 0.0) - 0.341_65).abs() < 1e-5);
}

/// Correlation of the intensities of two sets of frames, over all pixels and times.
fn shared(a: &Array3<f64>, b: &Array3<f64>) -> f64 {
    ((a - 1.0) * (b - 1.0)).mean().unwrap()
}

#[test]
fn neighbors_share_what_their_probes_share() {
    let mut settings = plain();
    settings.step_nm = 0.4;
    for overlap in [false, true] {
        settings.overlap = overlap;
        let simulation = Simulation::new(&settings, 0).unwrap();
        for distance in [1, 2, 3] {
            let pairs: Vec<[Position; 2]> = all_positions(&simulation)
                .into_iter()
                .filter(|position| position.col + distance < 4)
                .map(|one| {
                    let col = one.col + distance;
                    [one, Position { col, ..one }]
                })
                .collect();
            let values: Vec<f64> = pairs
                .iter()
                .map(|[one, other]| {
                    shared(&relative(&simulation, *one), &relative(&simulation, *other))
                })
                .collect();
            let (found, error) = mean_and_error(&values);
            let field = simulation.probe_overlap(pairs[0][0], pairs[0][1]).unwrap();
            assert_eq!(field == 0.0, !overlap);
            let law = 0.6 * field * field;
            // A pair has 170 speckles over 13 tau. Few pairs scatter by chance less than that, and pairs share positions.
            let error = error.max(0.6 / (170.0 * 13.0 * pairs.len() as f64).sqrt());
            assert!(
                (found - law).abs() < 1.5 * SIGMAS * error,
                "overlap {overlap}, {distance} steps: {found:.4} +- {error:.4} against {law:.4}"
            );
        }
    }
}

#[test]
fn friedel_pairs_are_correlated_by_their_degree() {
    for (degree, offset) in [(0.0, 0.0), (0.5, 0.0), (1.0, 0.0), (1.0, 0.5)] {
        let mut settings = plain();
        settings.friedel_degree = degree;
        settings.artifacts.center_offset_px = [0.0, offset];
        settings.n_times = 20;
        let simulation = Simulation::new(&settings, 0).unwrap();
        let mut values = Vec::new();
        let mut largest: f64 = 0.0;
        for position in all_positions(&simulation) {
            let frames = relative(&simulation, position);
            // Pixel 33 (or 33.5) is the center. A band away from it: there Q and -Q are different speckles.
            let upper = frames.slice(s![.., 5..25, 1..]).to_owned();
            let first_col = if offset == 0.0 { 1 } else { 2 };
            let lower = frames.slice(s![.., 42..62;-1, first_col..;-1]);
            let upper = upper.slice_move(s![.., .., first_col - 1..]);
            largest = (&upper - &lower)
                .iter()
                .fold(largest, |max, d| max.max(d.abs()));
            values.push(((&upper - 1.0) * (&lower - 1.0)).mean().unwrap());
        }
        let (found, error) = mean_and_error(&values);
        let law = 0.6 * degree;
        assert!(
            (found - law).abs() < SIGMAS * error,
            "degree {degree}: {found:.4} +- {error:.4} against {law:.4}"
        );
        // Perfect symmetry holds pixel by pixel, to single precision of intensities of up to 15.
        assert_eq!(largest < 2e-4, degree == 1.0, "{largest}");
    }
}

#[test]
fn whole_steps_of_drift_are_an_index() {
    let mut still = SimulationSettings {
        temperature_k: vec![633.0],
        total_s: vec![120.0],
        dwell_ms: vec![1.0],
        n_times: 12,
        n_rows: 3,
        n_cols: 6,
        noise_free: true,
        ..SimulationSettings::default()
    };
    still.artifacts.thickness_gradient = 0.2;
    let mut moving = still.clone();
    // 10 s from scan to scan: a third of a step.
    moving.artifacts.drift = SampleDrift {
        col_nm_per_s: 0.8 / 30.0,
        ..SampleDrift::default()
    };
    let still = Simulation::new(&still, 0).unwrap();
    let moving = Simulation::new(&moving, 0).unwrap();
    assert_eq!(still.truth().tau_s, moving.truth().tau_s);
    assert!((moving.truth().drift_col_nm[3] - 0.8).abs() < 1e-12);
    let at = |col| Position { row: 1, col };
    let seen = moving.position(at(2)).unwrap();
    for (time, steps) in [(0, 0), (3, 1), (6, 2), (9, 3)] {
        let there = still.position(at(2 + steps)).unwrap();
        assert_eq!(
            seen.index_axis(Axis(0), time),
            there.index_axis(Axis(0), time)
        );
    }
    // Between, the pattern is that of neither neighbor.
    for col in [2, 3] {
        let there = still.position(at(col)).unwrap();
        assert_ne!(seen.index_axis(Axis(0), 1), there.index_axis(Axis(0), 1));
    }
}

#[test]
fn drifting_probe_forgets_by_its_overlap() {
    let mut settings = plain();
    settings.overlap = true;
    settings.glass.tau_median_s = 1e7;
    settings.n_times = 3;
    settings.total_s = vec![3.0];
    // Frames 0.3 nm apart stay within half a step of 0.8 nm only once; the same field is seen through a moved probe.
    settings.artifacts.drift.row_nm_per_s = 0.3;
    let simulation = Simulation::new(&settings, 0).unwrap();
    let v = std::f64::consts::TAU * simulation.truth().disc_radius_per_nm * 0.3;
    let values: Vec<f64> = all_positions(&simulation)
        .into_iter()
        .map(|position| {
            let frames = relative(&simulation, position) - 1.0;
            let product = &frames.index_axis(Axis(0), 0) * &frames.index_axis(Axis(0), 1);
            product.mean().unwrap()
        })
        .collect();
    let (found, error) = mean_and_error(&values);
    // Airy amplitude of the distance, squared; J1 by its series, exact enough below v = 1.5.
    let airy = 1.0 - v * v / 8.0 + v.powi(4) / 192.0 - v.powi(6) / 9216.0;
    let law = 0.6 * airy * airy;
    assert!(
        (found - law).abs() < SIGMAS * error + 0.02,
        "{found:.4} +- {error:.4} against {law:.4}"
    );
}

#[test]
fn counts_are_poisson_about_the_expectation() {
    let mut settings = plain();
    settings.noise_free = false;
    let simulation = Simulation::new(&settings, 0).unwrap();
    let position = Position { row: 1, col: 2 };
    let counts = simulation.counts(position).unwrap().mapv(f64::from);
    let expected = simulation.position(position).unwrap().mapv(f64::from);
    let n = counts.len() as f64;
    let mean = expected.mean().unwrap();
    let difference = &counts - &expected;
    let error = (mean / n).sqrt();
    assert!(difference.mean().unwrap().abs() < SIGMAS * error);
    let variance = difference.mapv(|d| d * d).mean().unwrap();
    // The square of a Poisson deviation scatters by about 2.2 times its mean for the means here.
    assert!((variance / mean - 1.0).abs() < SIGMAS * 2.2 / n.sqrt());
    // 22220 electrons in the halo, up to speckle: one frame has 170 speckles of contrast 0.6.
    let first = counts.index_axis(Axis(0), 0).sum();
    assert!((first / 22_220.0 - 1.0).abs() < SIGMAS * (0.6_f64 / 170.0).sqrt());
}

/// 64-bit FNV-1a of counts.
fn hash(samples: &Samples) -> u64 {
    let Samples::U16(counts) = samples else {
        panic!("counts expected")
    };
    counts
        .iter()
        .flat_map(|count| count.to_le_bytes())
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        })
}

#[test]
fn bits_do_not_depend_on_threads_or_order() {
    let mut settings = SimulationSettings {
        n_rows: 3,
        n_cols: 5,
        n_times: 9,
        total_s: vec![300.0; 5],
        ..SimulationSettings::default()
    };
    settings.artifacts.drift.walk_nm = 0.3;
    settings.artifacts.current.per_frame = 0.05;
    let simulation = Simulation::new(&settings, 2).unwrap();
    let on = |n_threads| {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(n_threads)
            .build()
            .unwrap();
        pool.install(|| simulation.block(0..3).unwrap())
    };
    let whole = on(1);
    assert_eq!(hash(&whole), hash(&on(2)));
    // A new simulation, asked for the last row only, gives that row.
    let again = Simulation::new(&settings, 2).unwrap();
    let Samples::U16(last_row) = again.block(2..3).unwrap() else {
        panic!("counts expected")
    };
    let mut block = FrameBlock::empty(SampleType::U16);
    let run = FrameRun {
        first_time: 0,
        n_times: 9,
        first_frame: 10,
        n_frames: 5,
    };
    let series = simulation.series().unwrap();
    series.read(&run, &mut block).unwrap();
    assert_eq!(block.samples, Samples::U16(last_row));
    // Another seed or temperature is another series.
    let other = Simulation::new(&settings, 3).unwrap();
    assert_ne!(hash(&whole), hash(&other.block(0..3).unwrap()));
    let seeded = SimulationSettings {
        seed: 2,
        ..settings
    };
    let other = Simulation::new(&seeded, 2).unwrap();
    assert_ne!(hash(&whole), hash(&other.block(0..3).unwrap()));
}

#[test]
fn truth_is_arrhenius_at_every_position() {
    let settings = SimulationSettings::default();
    let truths: Vec<_> = (0..5)
        .map(|idx| Simulation::new(&settings, idx).unwrap().truth().clone())
        .collect();
    // exp[(97 / R)(1/633 - 1/673)] = 2.99.
    for (cold, hot) in truths[0].tau_s.iter().zip(&truths[4].tau_s) {
        assert!((cold / hot - 2.99).abs() < 0.005);
    }
    for truth in &truths {
        assert_eq!(truth.contrast, truths[0].contrast);
        assert!((truth.spearman.unwrap() - 0.39).abs() < 1e-3);
        assert!((truth.tau_infinite_s / truths[0].tau_infinite_s - 1.0).abs() < 1e-9);
        // Most relaxation times lie where the experiment can see them.
        let step_s = truth.times_s[1];
        let seen = |tau: &&f64| **tau > 2.0 * step_s && **tau < 106.0 * step_s;
        let n_seen = truth.tau_s.iter().filter(seen).count();
        assert!(n_seen > 240, "{n_seen} of 256");
    }
}

/// Settings in which only an artifact differs from a uniform glass that hardly moves.
fn with(change: impl Fn(&mut SimulationSettings)) -> (Simulation, Array3<f64>) {
    let mut settings = plain();
    settings.n_times = 8;
    settings.total_s = vec![80.0];
    change(&mut settings);
    let simulation = Simulation::new(&settings, 0).unwrap();
    let frames = simulation
        .position(Position { row: 1, col: 1 })
        .unwrap()
        .mapv(f64::from);
    (simulation, frames)
}

#[test]
fn beam_stop_and_direct_beam() {
    let (plain, open) = with(|_| ());
    let (shaded, frames) = with(|settings| {
        settings.artifacts.beam_stop = Some(BeamStop::default());
        settings.collected *= 0.5;
    });
    let valid = &shaded.truth().pixel_valid;
    assert!(!valid[[33, 33]] && valid[[10, 60]]);
    // The stop passes one per cent, and what is collected falls on fewer pixels.
    let share = |row, col| frames[[3, row, col]] / open[[3, row, col]];
    assert!((share(33, 33) / share(10, 60) - 0.01).abs() < 1e-6);
    assert!(share(10, 60) > 0.5);
    let (direct, _) = with(|settings| settings.halo.direct_share = 0.25);
    let more = &direct.truth().mean_electrons - &plain.truth().mean_electrons;
    assert!((more.sum() / (0.25 * 55_549.43) - 1.0).abs() < 1e-4);
    assert!(more[[33, 30]] == 0.0 && more[[33, 35]] > 0.0);
}

#[test]
fn wedge_and_vacuum() {
    let (simulation, _) = with(|settings| {
        settings.artifacts.thickness_gradient = 0.3;
        settings.artifacts.vacuum_cols = 1;
        settings.artifacts.vacuum_level = 0.02;
    });
    let truth = simulation.truth();
    assert_eq!(truth.on_sample.row(0).to_vec(), [false, true, true, true]);
    assert!((truth.thickness[[2, 3]] - 1.15).abs() < 1e-12);
    assert_eq!(truth.contrast[[0, 0]], 0.0);
    let vacuum = relative(&simulation, Position { row: 0, col: 0 });
    assert!(vacuum.iter().all(|value| (value - 0.02).abs() < 1e-6));
    let sample = relative(&simulation, Position { row: 0, col: 3 });
    // Eight frames of 170 speckles, hardly independent in time.
    assert!((sample.mean().unwrap() - 1.15).abs() < 0.15);
}

/// Center of mass of the mean intensity of a position.
fn center_of_mass(frames: &Array3<f64>) -> (f64, f64) {
    let mean = frames.mean_axis(Axis(0)).unwrap();
    let sum = mean.sum();
    let moment = |weight: &dyn Fn(usize, usize) -> usize| -> f64 {
        mean.indexed_iter()
            .map(|((row, col), value)| weight(row, col) as f64 * value)
            .sum::<f64>()
            / sum
    };
    (moment(&|row, _| row), moment(&|_, col| col))
}

#[test]
fn center_descan_and_ellipse_move_the_halo() {
    // A narrow halo in the middle, so that its center of mass is the pattern's.
    let narrow = |settings: &mut SimulationSettings| {
        settings.halo.background = 0.0;
        settings.halo.q_ring_per_nm = 0.0;
        settings.halo.width_per_nm = 1.5;
        settings.glass.contrast_range = [1e-12, 1e-12];
    };
    let descan = Descan {
        row_per_col: 0.5,
        col_per_row: -0.25,
        ..Descan::default()
    };
    let (simulation, frames) = with(|settings| {
        narrow(settings);
        settings.artifacts.center_offset_px = [1.3, -0.7];
        settings.artifacts.descan = descan;
    });
    assert_eq!(simulation.truth().center_row, 34.3);
    // Position (1, 1) is half a step before the middle of 4 x 4 on both axes.
    let (row, col) = center_of_mass(&frames);
    assert!((row - (34.3 - 0.25)).abs() < 0.01, "{row}");
    assert!((col - (32.3 + 0.125)).abs() < 0.01, "{col}");

    let (_, frames) = with(|settings| {
        narrow(settings);
        settings.artifacts.ellipse = Ellipse {
            distortion: 0.1,
            angle_rad: 0.0,
        };
    });
    let spread = |axis: usize| -> f64 {
        frames
            .indexed_iter()
            .map(|((_, row, col), value)| {
                let distance = [row, col][axis] as f64 - 33.0;
                distance * distance * value
            })
            .sum()
    };
    // The long axis lies along columns: standard deviations as 1.1 to 0.9.
    assert!(((spread(1) / spread(0)).sqrt() - 1.1 / 0.9).abs() < 0.01);
}

#[test]
fn speckle_moves_with_a_fractional_center() {
    let (simulation, here) = with(|_| ());
    let (_, there) = with(|settings| settings.artifacts.center_offset_px = [2.0, 0.0]);
    let moved = there.slice(s![.., 2.., ..]);
    let largest = (&here.slice(s![.., ..64, ..]) - &moved)
        .iter()
        .fold(0.0_f64, |max, d| max.max(d.abs()));
    // Single precision of about 5 electrons times speckle.
    assert!(largest < 1e-3, "{largest}");
    let (_, half) = with(|settings| settings.artifacts.center_offset_px = [0.5, 0.0]);
    // Half a pixel away, a pixel of this pattern is as close to one neighbor as to the other, and closer than discs whole pixels
    // apart can tell. 170 speckles in about four independent frames: 3 % of the variance.
    let likeness = |here: Array3<f64>, half: Array3<f64>| {
        ((&here - 5.1) * (&half - 5.1)).mean().unwrap()
            / here.mapv(|v| (v - 5.1).powi(2)).mean().unwrap()
    };
    let below = likeness(here.clone(), half.clone());
    let above = likeness(
        here.slice(s![.., ..65, ..]).to_owned(),
        half.slice(s![.., 1.., ..]).to_owned(),
    );
    assert!((below - above).abs() < 0.03, "{below} and {above}");
    let law = simulation.speckle_correlation(0.5, 0.0).powi(2);
    assert!(below > law && below < 0.95);
}

#[test]
fn current_changes_whole_frames() {
    let (_, steady) = with(|_| ());
    for slow in [false, true] {
        let (simulation, frames) = with(|settings| {
            if slow {
                settings.artifacts.current.slow = 0.2;
            } else {
                settings.artifacts.current.per_frame = 0.2;
            }
        });
        let factors: Vec<f64> = frames
            .outer_iter()
            .zip(steady.outer_iter())
            .map(|(frame, steady)| {
                let factor = frame.sum() / steady.sum();
                let largest = (&frame - &(&steady * factor))
                    .iter()
                    .fold(0.0_f64, |max, d| max.max(d.abs()));
                assert!(largest < 1e-3);
                factor
            })
            .collect();
        let (mean, error) = mean_and_error(&factors);
        let spread = error * (factors.len() as f64).sqrt();
        assert!((mean - 1.0).abs() < 0.4 && spread > 0.05 && spread < 0.5);
        let other = simulation.position(Position { row: 3, col: 0 }).unwrap();
        let same = Simulation::new(
            &SimulationSettings {
                artifacts: Default::default(),
                ..simulation.settings().clone()
            },
            0,
        )
        .unwrap()
        .position(Position { row: 3, col: 0 })
        .unwrap();
        let factor =
            f64::from(other.index_axis(Axis(0), 5).sum() / same.index_axis(Axis(0), 5).sum());
        // A slow change is the same at every position, one from frame to frame is not.
        assert_eq!((factor - factors[5]).abs() < 1e-4, slow);
    }
}

#[test]
fn detector_units_and_bad_pixels() {
    let (simulation, expected) = with(|settings| {
        settings.noise_free = false;
        settings.n_times = 200;
        let detector = &mut settings.artifacts.detector;
        detector.gain_adu_per_electron = 20.0;
        detector.gain_map_spread = 0.1;
        detector.dark_adu = 100.0;
        detector.read_noise_adu = 5.0;
        detector.n_hot = 3;
        detector.n_dead = 2;
    });
    let truth = simulation.truth();
    let position = Position { row: 1, col: 1 };
    let counts = simulation.counts(position).unwrap().mapv(f64::from);
    let difference = &counts - &expected;
    let over_time =
        |row: usize, col: usize| -> Vec<f64> { difference.slice(s![.., row, col]).to_vec() };
    for &[row, col] in &truth.dead_pixels {
        assert!(expected.slice(s![.., row, col]).iter().all(|v| *v == 100.0));
        let (mean, error) = mean_and_error(&over_time(row, col));
        assert!(mean.abs() < SIGMAS * error);
        // Read noise alone, and 1/12 of rounding; 200 frames know a deviation to 5 %.
        assert!((error * 200.0_f64.sqrt() / 5.008 - 1.0).abs() < 0.25);
    }
    for &[row, col] in &truth.hot_pixels {
        let gain = 20.0 * truth.gain_map[[row, col]];
        assert!(expected[[0, row, col]] > 100.0 + 450.0 * gain);
    }
    // Variance = gain² · electrons + read noise², pixel by pixel.
    let electrons = (&expected - 100.0) / (&truth.gain_map * 20.0);
    let wanted = &electrons * &(&truth.gain_map * 20.0).mapv(|g| g * g) + 25.0 + 1.0 / 12.0;
    let ratio = difference.mapv(|d| d * d).sum() / wanted.sum();
    assert!((ratio - 1.0).abs() < 0.01, "{ratio}");
    let gains: Array2<f64> = &truth.gain_map - 1.0;
    assert!((gains.mapv(|g| g * g).mean().unwrap().sqrt() - 0.1).abs() < 0.005);
}

#[test]
fn lost_frames_read_as_zeros_and_are_listed() {
    let (simulation, frames) = with(|settings| {
        settings.artifacts.n_lost = 5;
        settings.artifacts.lost_frames = vec![FrameIndex {
            time: 4,
            row: 1,
            col: 1,
        }];
    });
    assert!(frames.index_axis(Axis(0), 4).iter().all(|v| *v == 0.0));
    assert!(frames.index_axis(Axis(0), 5).iter().all(|v| *v > 0.0));
    let missing = &simulation.header().missing;
    assert!(missing.contains(&FrameRun {
        first_time: 4,
        n_times: 1,
        first_frame: 5,
        n_frames: 1
    }));
    // The one by name may also be among the five by chance.
    assert!((5..=6).contains(&missing.len()));
    let series = simulation.series().unwrap();
    let mut block = FrameBlock::empty(SampleType::F32);
    for run in missing {
        series.read(run, &mut block).unwrap();
        assert!(matches!(&block.samples, Samples::F32(v) if v.iter().all(|v| *v == 0.0)));
    }
}

#[test]
fn wrong_settings_are_named() {
    let message = |change: &dyn Fn(&mut SimulationSettings)| {
        let mut settings = SimulationSettings::default();
        change(&mut settings);
        Simulation::new(&settings, 0).unwrap_err().to_string()
    };
    for (found, key) in [
        (message(&|s| s.glass.stretch = 2.5), "glass.stretch"),
        (
            message(&|s| s.glass.contrast_range = [0.0, 0.5]),
            "glass.contrast_range",
        ),
        (message(&|s| s.dwell_ms = vec![1.0]), "dwell_ms"),
        (message(&|s| s.n_rows = 0), "n_rows"),
        (message(&|s| s.artifacts.vacuum_cols = 16), "vacuum_cols"),
        (message(&|s| s.friedel_degree = f64::NAN), "friedel_degree"),
    ] {
        assert!(found.contains(key), "{found}");
    }
    assert!(Simulation::new(&SimulationSettings::default(), 5).is_err());
    let simulation = Simulation::new(&SimulationSettings::default(), 0).unwrap();
    assert!(simulation.position(Position { row: 16, col: 0 }).is_err());
    assert!(simulation.block(15..17).is_err());
}
