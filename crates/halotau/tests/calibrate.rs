//! Is what the simulated microscope did found from its patterns?
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use halotau::Error;
use halotau::calibrate::measure::{Measured, Request, measure};
use halotau::calibrate::{CenterPath, Descan, Ellipse};
use halotau::ndarray::Array2;
use halotau::recipe::Region;
use halotau::series::FrameRun;
use halotau::simulate::{BeamStop, DetectorSettings, Simulation, SimulationSettings, Truth};
use halotau::source::FrameSource;
use halotau::survey::{Survey, SurveyPlan, survey};

/// Estimates may be this many of their standard errors from the truth: with a dozen of them and normal errors, one in a
/// thousand runs would fail; the seed is fixed.
const MOST_SD: f64 = 4.0;

/// Positions that share nothing, a beam stop, and everything off by what microscopes are off by.
fn settings() -> SimulationSettings {
    let mut settings = SimulationSettings {
        n_rows: 12,
        n_cols: 12,
        n_times: 5,
        total_s: vec![2400.0],
        temperature_k: vec![633.0],
        dwell_ms: vec![1.0],
        overlap: false,
        ..SimulationSettings::default()
    };
    let artifacts = &mut settings.artifacts;
    artifacts.beam_stop = Some(BeamStop::default());
    artifacts.center_offset_px = [1.3, -0.8];
    artifacts.ellipse = Ellipse {
        distortion: 0.03,
        angle_rad: 0.6,
    };
    artifacts.descan = Descan {
        row_per_row: 0.1,
        row_per_col: 0.02,
        col_per_row: -0.03,
        col_per_col: 0.25,
        ..Descan::default()
    };
    artifacts.thickness_gradient = 0.4;
    artifacts.detector.n_hot = 5;
    artifacts.detector.hot_electrons = 8.0;
    artifacts.detector.n_dead = 6;
    // Many units an electron, so that rounding does not hide the gain.
    artifacts.detector.gain_adu_per_electron = 20.0;
    artifacts.detector.gain_map_spread = 0.03;
    settings
}

fn surveyed(settings: &SimulationSettings) -> (Survey, Truth) {
    let simulation = Simulation::new(settings, 0).unwrap();
    let series = simulation.series().unwrap();
    let header = series.header();
    let region = Region {
        rows: [0, header.shape.n_rows],
        cols: [0, header.shape.n_cols],
    };
    let plan = SurveyPlan::new(header, region, 1 << 30);
    let survey = survey(&series, &plan, None, None, &|_| true).unwrap();
    (survey, simulation.truth().clone())
}

fn assert_near(what: &str, value: f64, error: f64, truth: f64, least_error: f64) {
    assert!(
        (value - truth).abs() <= MOST_SD * error,
        "{what}: {value} ± {error}, but it is {truth}"
    );
    assert!(
        error > least_error && error < 20.0 * least_error,
        "{what}: a standard error of {error} is not one"
    );
}

fn check_geometry(measured: &Measured, settings: &SimulationSettings) {
    let artifacts = &settings.artifacts;
    let (row, col) = settings.center_px();
    for (found, truth) in measured.center.iter().zip([row, col]) {
        assert_near("center", found.value, found.error, truth, 0.005);
    }
    let symmetry = measured.symmetry_center.unwrap();
    for (found, truth) in symmetry.iter().zip([row, col]) {
        assert_near("center by symmetry", found.value, found.error, truth, 0.005);
    }
    let (found, error) = (&measured.descan, &measured.descan_error);
    for (what, found, error, truth) in [
        (
            "row/row",
            found.row_per_row,
            error.row_per_row,
            artifacts.descan.row_per_row,
        ),
        (
            "row/col",
            found.row_per_col,
            error.row_per_col,
            artifacts.descan.row_per_col,
        ),
        (
            "col/row",
            found.col_per_row,
            error.col_per_row,
            artifacts.descan.col_per_row,
        ),
        (
            "col/col",
            found.col_per_col,
            error.col_per_col,
            artifacts.descan.col_per_col,
        ),
    ] {
        assert_near(what, found, error, truth, 0.001);
    }
    let ellipse = &measured.ellipse;
    assert_near(
        "distortion",
        ellipse.distortion,
        measured.distortion_error,
        0.03,
        2e-4,
    );
    assert_near(
        "angle",
        ellipse.angle_rad,
        measured.angle_error_rad,
        0.6,
        0.003,
    );
}

/// A11: beam stop, ellipse, descan and center together, each within its errors; `studies/` has the size of the errors over 50 seeds.
#[test]
fn everything_at_once_is_found_with_its_errors() {
    let settings = settings();
    let (survey, truth) = surveyed(&settings);
    let measured = measure(&survey, &Request::all((66, 66))).unwrap();
    assert!(measured.descan_matters);
    check_geometry(&measured, &settings);
    let spread = measured.gain_spread.unwrap();
    assert_near("gain", spread.value, spread.error, 0.03, 2e-4);

    let bad: Vec<[usize; 2]> = [truth.hot_pixels.clone(), truth.dead_pixels.clone()].concat();
    let found: Vec<[usize; 2]> = measured.bad_pixels.all().collect();
    let stop = &measured.beam_stop.as_ref().unwrap().shaded;
    let missed = bad
        .iter()
        .filter(|at| !found.contains(at) && !stop[**at])
        .count();
    let wrong = found.iter().filter(|at| !bad.contains(at)).count();
    // A tenth of a per cent of the pixels may be taken for bad.
    assert!(missed == 0 && wrong <= 4, "missed {missed}, wrong {wrong}");

    // Pixels of the stop are those that are not valid and not bad.
    let is_stop = |at: [usize; 2]| !truth.pixel_valid[at] && !bad.contains(&at);
    let (mut n_stop, mut n_found, mut n_lit, mut n_lost) = (0, 0, 0, 0);
    for ((row, col), &shaded) in stop.indexed_iter() {
        if is_stop([row, col]) {
            n_stop += 1;
            n_found += usize::from(shaded);
        } else {
            n_lit += 1;
            n_lost += usize::from(shaded);
        }
    }
    assert!(
        n_found as f64 >= 0.98 * n_stop as f64,
        "{n_found} of {n_stop}"
    );
    assert!(50 * n_lost <= n_lit, "{n_lost} of {n_lit}");
}

#[test]
fn without_stop_and_with_the_direct_beam_the_halo_decides() {
    let mut settings = settings();
    settings.artifacts.beam_stop = None;
    settings.artifacts.detector = DetectorSettings::default();
    settings.halo.direct_share = 0.3;
    let (survey, _) = surveyed(&settings);
    let measured = measure(&survey, &Request::all((66, 66))).unwrap();
    check_geometry(&measured, &settings);
    assert!(measured.bad_pixels.len() <= 4, "{:?}", measured.bad_pixels);
    let stop = measured.beam_stop.unwrap();
    assert!(stop.shaded.iter().all(|shaded| !shaded));
}

#[test]
fn shared_probes_are_known_by_the_patterns_alone() {
    // A third of a probe from position to position: 60 areas in 400 positions, of which the request says nothing.
    let mut settings = settings();
    settings.overlap = true;
    settings.step_nm = 0.27;
    (settings.n_rows, settings.n_cols, settings.n_times) = (20, 20, 3);
    settings.artifacts.beam_stop = None;
    settings.artifacts.descan = Descan::default();
    settings.artifacts.detector = DetectorSettings::default();
    settings.halo.direct_share = 0.3;
    let (survey, _) = surveyed(&settings);
    let measured = measure(&survey, &Request::all((66, 66))).unwrap();
    assert!(measured.n_independent < 30.0, "{}", measured.n_independent);
    let ring = measured.sector_ring.unwrap();
    for (distortion, error) in [
        (measured.ellipse.distortion, measured.distortion_error),
        (ring.ellipse.distortion, ring.distortion_error),
    ] {
        assert_near("distortion", distortion, error, 0.03, 1e-3);
    }
    let (row, col) = settings.center_px();
    for (found, truth) in measured.center.iter().zip([row, col]) {
        assert_near("center", found.value, found.error, truth, 0.02);
    }
}

#[test]
fn a_curved_descan_is_followed() {
    let mut settings = settings();
    settings.artifacts.descan.col_quadratic = [0.0, 0.0, 0.03];
    settings.artifacts.descan.row_quadratic = [0.0, -0.02, 0.0];
    let (survey, _) = surveyed(&settings);
    let measured = measure(&survey, &Request::all((66, 66))).unwrap();
    check_geometry(&measured, &settings);
    let (found, error) = (&measured.descan, &measured.descan_error);
    for at in 0..3 {
        let truth = &settings.artifacts.descan;
        for (found, error, truth) in [
            (
                found.row_quadratic[at],
                error.row_quadratic[at],
                truth.row_quadratic[at],
            ),
            (
                found.col_quadratic[at],
                error.col_quadratic[at],
                truth.col_quadratic[at],
            ),
        ] {
            assert_near("quadratic", found, error, truth, 3e-4);
        }
    }
}

#[test]
fn patterns_of_the_whole_detector_are_measured_in_native_pixels() {
    let mut settings = settings();
    (settings.n_rows, settings.n_cols, settings.n_times) = (6, 6, 2);
    (settings.pattern_rows, settings.pattern_cols) = (264, 264);
    settings.q_step_per_nm = 0.058;
    settings.artifacts.center_offset_px = [5.2, -3.2];
    settings.artifacts.descan = Descan {
        col_per_col: 1.2,
        ..Descan::default()
    };
    let (survey, _) = surveyed(&settings);
    let measured = measure(&survey, &Request::all((264, 264))).unwrap();
    let (row, col) = settings.center_px();
    for (found, truth) in measured.center.iter().zip([row, col]) {
        assert_near("center", found.value, found.error, truth, 0.05);
    }
    let halo = measured.halo_radius_px;
    assert_near("halo", halo.value, halo.error, 4.4 / 0.058, 0.05);
    let (found, error) = (&measured.descan, &measured.descan_error);
    assert_near("descan", found.col_per_col, error.col_per_col, 1.2, 0.02);
    let (ellipse, error) = (measured.ellipse, measured.distortion_error);
    assert_near("distortion", ellipse.distortion, error, 0.03, 5e-4);
}

#[test]
fn a_center_that_moves_during_the_record_is_followed() {
    let mut settings = settings();
    settings.n_times = 8;
    settings.artifacts.center_drift_px = [2.4, -0.9];
    let (survey, _) = surveyed(&settings);
    let measured = measure(&survey, &Request::all((66, 66))).unwrap();
    assert!(measured.path_matters, "{:?}", measured.periods);
    let warning = measured
        .warnings
        .iter()
        .find(|warning| warning.code == "W083");
    assert!(
        warning.is_some_and(|warning| warning.text.contains("1.28")),
        "{warning:?}"
    );
    let (first, last) = (measured.center_path.at(0.0), measured.center_path.at(7.0));
    for (found, truth) in [
        (first.0, -1.2),
        (first.1, 0.45),
        (last.0, 1.2),
        (last.1, -0.45),
    ] {
        assert!((found - truth).abs() < 0.1, "{found}, but it is {truth}");
    }
    assert_eq!(
        (measured.center_path.whole(0), measured.center_path.whole(7)),
        ((-1, 0), (1, 0))
    );

    // What is given is taken, and the center is the one where the path is zero.
    let path = CenterPath::new(vec![[0.0, 0.0, 0.0], [7.0, 2.4, -0.9]]);
    let request = Request {
        center_path: Some(path.clone()),
        ..Request::all((66, 66))
    };
    let given = measure(&survey, &request).unwrap();
    assert_eq!(given.center_path, path);
    assert!((given.center[0].value + 1.2 - measured.center[0].value).abs() < 1e-6);
}

#[test]
fn what_is_given_is_not_measured() {
    let mut settings = settings();
    settings.n_times = 2;
    let (survey, _) = surveyed(&settings);
    let given = Request {
        center: Some((34.0, 32.0)),
        measure_ellipse: false,
        ellipse: Ellipse {
            distortion: 0.01,
            angle_rad: 0.2,
        },
        measure_descan: false,
        find_beam_stop: false,
        ..Request::all((66, 66))
    };
    let measured = measure(&survey, &given).unwrap();
    assert_eq!(
        (measured.center[0].value, measured.center[1].value),
        (34.0, 32.0)
    );
    assert_eq!(measured.center[0].error, 0.0);
    assert!((measured.ellipse.distortion - 0.01).abs() < 1e-12);
    assert!(!measured.descan_matters && measured.beam_stop.is_none());
}

#[test]
fn what_cannot_be_calibrated_says_why() {
    let mut settings = settings();
    settings.n_times = 2;
    let (survey, _) = surveyed(&settings);
    // Only a corner is left.
    let corner = Request {
        usable: Array2::from_shape_fn((66, 66), |(row, col)| row + col < 40),
        ..Request::all((66, 66))
    };
    let outside = Request {
        center: Some((80.0, 3.0)),
        ..Request::all((66, 66))
    };
    for request in [corner, outside] {
        let error = measure(&survey, &request).unwrap_err();
        assert!(matches!(error, Error::CenterNotFound { .. }), "{error}");
    }
    // No halo: the same everywhere, but for noise.
    settings.halo.width_per_nm = 1e3;
    let (flat, _) = surveyed(&settings);
    let error = measure(&flat, &Request::all((66, 66))).unwrap_err();
    assert!(matches!(error, Error::CenterNotFound { .. }), "{error}");
}

#[test]
fn a_survey_of_a_part_reads_only_that_part() {
    let settings = SimulationSettings {
        n_rows: 4,
        n_cols: 5,
        n_times: 4,
        ..SimulationSettings::default()
    };
    let series = Simulation::new(&settings, 0).unwrap().series().unwrap();
    let region = Region {
        rows: [1, 3],
        cols: [2, 4],
    };
    let plan = SurveyPlan::new(series.header(), region, 1 << 30);
    let sampled = survey(&series, &plan, None, None, &|_| true).unwrap();
    let mut block = halotau::series::FrameBlock::empty(series.header().sample_type);
    let run = FrameRun {
        first_time: 0,
        n_times: 4,
        first_frame: 5 + 2,
        n_frames: 2,
    };
    series.read(&run, &mut block).unwrap();
    assert_eq!(sampled.n_frames, 16);
    assert_eq!(sampled.blocks.len(), 4);
}
