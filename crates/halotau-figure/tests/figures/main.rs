//! Every figure from fabricated results: the same bytes twice, readable as SVG, no glyph missing, no panic on odd shapes.

#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod dynamics;
mod fabricate;

use halotau::analysis::Study;
use halotau::ndarray::{Array2, Array3};
use halotau::quality::Quality;
use halotau_figure::figures::{self, ExamplePatterns, TimeTraces};
use halotau_figure::{Error, Svg, caption, raster, report};
use resvg::usvg;

/// All figures of a study that can be drawn.
fn all(study: &Study) -> Vec<(String, Svg)> {
    let figures = fabricate::report_input(study).figures;
    let known = study.analyses[0].temperature_k.is_finite();
    let n_expected = 11 + usize::from(known) + usize::from(!study.arrhenius.is_empty());
    assert_eq!(figures.len(), n_expected);
    figures
        .into_iter()
        .map(|figure| (figure.id, figure.svg))
        .collect()
}

/// Whether a drawing is well-formed, of a journal's width, and its text has all glyphs.
fn check(name: &str, svg: &Svg) {
    let xml = svg.to_xml();
    usvg::Tree::from_str(&xml, &usvg::Options::default())
        .unwrap_or_else(|error| panic!("{name}: {error}"));
    assert!(
        svg.missing_characters().is_empty(),
        "{name} lacks {:?}",
        svg.missing_characters()
    );
    for width_mm in [86.0, 178.0] {
        if (svg.width() * 25.4 / 72.0 - width_mm).abs() < 0.01 {
            // A figure must leave room for its caption on a page.
            assert!(svg.height() * 25.4 / 72.0 < 230.0, "{name} is too tall");
            return;
        }
    }
    panic!("{name} is {} points wide", svg.width());
}

const FIVE: [f64; 5] = [633.0, 643.0, 653.0, 663.0, 673.0];

#[test]
fn same_input_same_bytes() {
    let study = fabricate::study(&FIVE, 12, 14, 30);
    for ((name, one), (_, two)) in all(&study).into_iter().zip(all(&study)) {
        check(&name, &one);
        assert_eq!(one.to_xml(), two.to_xml(), "{name}");
        assert_eq!(
            raster::png(&one, 72.0).unwrap(),
            raster::png(&two, 72.0).unwrap(),
            "{name}"
        );
    }
}

#[test]
fn odd_shapes_are_drawn() {
    for (temperatures, n_rows, n_cols) in [
        (&FIVE[..1], 1, 1),
        (&FIVE[..2], 1, 200),
        (&FIVE[..3], 200, 1),
        (&FIVE[..], 60, 120),
        (&FIVE[..1], 9, 7),
    ] {
        let study = fabricate::study(temperatures, n_rows, n_cols, 12);
        for (name, svg) in all(&study) {
            check(&format!("{name} of {n_rows} x {n_cols}"), &svg);
            // Five maps of 7200 positions must not make a report too large.
            assert!(
                svg.to_xml().len() < 700_000,
                "{name}: {}",
                svg.to_xml().len()
            );
        }
    }
}

#[test]
fn nothing_but_nan_is_drawn() {
    let mut study = fabricate::study(&FIVE[..2], 6, 5, 12);
    for analysis in &mut study.analyses {
        let nan = Array2::from_elem((6, 5), f64::NAN);
        analysis.quality.fill(Quality::NOT_COMPUTED);
        analysis.relaxation.tau_s = nan.clone();
        analysis.relaxation.tau_lower_s = nan.clone();
        analysis.relaxation.tau_upper_s = nan.clone();
        analysis.relaxation.contrast = nan.clone();
        analysis.relaxation.residual = nan.clone();
        analysis.fluctuation.values = nan;
        analysis.curves.g = Array3::from_elem(analysis.curves.g.dim(), f64::NAN);
        analysis.curves.g_error = analysis.curves.g.clone();
        for two_time in &mut analysis.two_time {
            two_time.values.fill(f64::NAN);
        }
        let nothing = halotau::analysis::Estimate {
            value: f64::NAN,
            error: f64::NAN,
            lower: f64::NAN,
            upper: f64::NAN,
        };
        analysis.summary.tau_log_mean_s = nothing;
        analysis.summary.fluctuation_mean = nothing;
        analysis.summary.tau_spread_s = [f64::NAN; 2];
        analysis.relation.spearman = f64::NAN;
        analysis.step_nm = f64::NAN;
        analysis.temperature_k = f64::NAN;
    }
    for fit in &mut study.arrhenius {
        fit.activation_energy_kj_per_mol = f64::NAN;
        fit.activation_energy_interval_kj_per_mol = [f64::NAN, f64::INFINITY];
        fit.ln_tau_infinite = f64::NAN;
        for point in &mut fit.points {
            point.tau_s = f64::NAN;
        }
    }
    for (name, svg) in all(&study) {
        check(&name, &svg);
    }
}

#[test]
fn tests_of_the_dynamics_without_numbers_are_drawn_or_refused() {
    let mut study = fabricate::study(&FIVE[..1], 6, 5, 12);
    let analysis = &mut study.analyses[0];
    let nothing = dynamics::estimate(f64::NAN, f64::NAN);
    let found = analysis.dynamics.as_mut().unwrap();
    let aging = found.aging.as_mut().unwrap();
    aging
        .windows
        .iter_mut()
        .for_each(|window| window.tau_s = nothing);
    aging.tau_early_s.upper = f64::INFINITY;
    let four = found.four_point.as_mut().unwrap();
    four.g4.iter_mut().for_each(|at| at.estimate = nothing);
    four.probe_length = f64::NAN;
    four.length = None;
    let rings = found.rings.as_mut().unwrap();
    rings.rings.iter_mut().for_each(|ring| ring.tau_s = nothing);
    for svg in [
        figures::dynamics_in_time(analysis).unwrap(),
        figures::dynamics_in_space(analysis).unwrap(),
        figures::dynamics_form(analysis).unwrap(),
    ] {
        check("without numbers", &svg);
    }
    analysis.dynamics = None;
    assert!(matches!(
        figures::dynamics_in_time(analysis),
        Err(Error::Nothing { .. })
    ));
}

#[test]
fn positions_stand_in_for_an_unknown_step() {
    let mut study = fabricate::study(&FIVE[..1], 20, 20, 12);
    study.analyses[0].step_nm = f64::NAN;
    let xml = figures::tau_maps(&study).unwrap().to_xml();
    assert!(xml.contains("5 positions"));
    assert!(!xml.contains(" nm\""));
    assert!(caption::tau_maps(&study).contains("step is not known"));
}

#[test]
fn names_of_users_are_escaped_and_shortened() {
    let mut study = fabricate::study(&FIVE[..1], 8, 8, 12);
    study.analyses[0].temperature_k = f64::NAN;
    study.analyses[0].name = format!("<script>&\"'\u{7} 金属ガラス {}", "long ".repeat(60));
    for (name, svg) in all(&study) {
        let xml = svg.to_xml();
        assert!(!xml.contains("<script>"), "{name}");
        usvg::Tree::from_str(&xml, &usvg::Options::default()).unwrap();
    }
    // A character that the font lacks is a hollow square, and known to be one.
    let maps = figures::tau_maps(&study).unwrap();
    assert!(maps.missing_characters().contains(&'金'));
}

#[test]
fn captions_name_the_conventions() {
    let mut study = fabricate::study(&FIVE, 6, 6, 12);
    let tau = caption::tau_maps(&study);
    for part in [
        "factor 2",
        "3 to 5.8 nm⁻¹",
        "95 % interval",
        "after division",
        "0.78 nm",
    ] {
        assert!(tau.contains(part), "{part} is not in: {tau}");
    }
    study.analyses[0].recipe.relaxation.exponent_factor = halotau::relax::ExponentFactor::One;
    assert!(caption::tau_maps(&study).contains("no factor 2"));
    assert!(caption::fluctuation_maps(&study).contains("shot noise subtracted"));
}

#[test]
fn what_is_missing_is_said() {
    let empty = Study {
        zero_dose: Vec::new(),
        relation: None,
        alike: None,
        arrhenius_without_beam: None,
        analyses: Vec::new(),
        arrhenius: Vec::new(),
        headline: halotau::arrhenius::Average::LogMean,
    };
    assert!(matches!(
        figures::tau_maps(&empty),
        Err(Error::Nothing { .. })
    ));
    assert!(matches!(
        figures::scatter(&empty),
        Err(Error::Nothing { .. })
    ));
    assert!(matches!(
        figures::arrhenius(&empty),
        Err(Error::Nothing { .. })
    ));
    let mut analysis = fabricate::analysis(633.0, 4, 4, 12);
    analysis.two_time.clear();
    assert!(matches!(
        figures::two_time(&analysis),
        Err(Error::Nothing { .. })
    ));
    let none = ExamplePatterns {
        positions: analysis.examples.unwrap(),
        times_s: vec![0.0],
        patterns: Vec::new(),
    };
    assert!(matches!(
        figures::example_curves(&analysis, &none),
        Err(Error::Length {
            expected: 2,
            found: 0,
            ..
        })
    ));
    // Without patterns and without counts there still are curves and flags.
    let none = ExamplePatterns {
        times_s: Vec::new(),
        ..none
    };
    check(
        "curves",
        &figures::example_curves(&analysis, &none).unwrap(),
    );
    check(
        "quality",
        &figures::quality(&analysis, &TimeTraces::default()).unwrap(),
    );
}

#[test]
fn a_map_has_the_colors_of_its_numbers() {
    let mut study = fabricate::study(&FIVE[..1], 2, 2, 12);
    let analysis = &mut study.analyses[0];
    analysis.quality.fill(Quality::default());
    analysis.recipe.microscope.probe_fwhm_nm = None;
    analysis.fluctuation.values = halotau::ndarray::array![[0.1, 0.2], [0.3, f64::NAN]];
    let svg = figures::fluctuation_maps(&study).unwrap();
    let bytes = raster::png(&svg, 144.0).unwrap();
    let mut reader = png_reader(&bytes);
    let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
    let info = reader.next_frame(&mut pixels).unwrap();
    let at = |x: f64, y: f64| {
        let start = ((y * 2.0) as usize * info.width as usize + (x * 2.0) as usize) * 3;
        [pixels[start], pixels[start + 1], pixels[start + 2]]
    };
    // The lowest and the highest number have the ends of viridis, in the upper left and lower left cell.
    assert_eq!(at(20.0, 40.0), [0x44, 0x01, 0x54]);
    assert_eq!(at(20.0, 150.0), [0xfd, 0xe7, 0x25]);
}

fn png_reader(bytes: &[u8]) -> png::Reader<std::io::Cursor<&[u8]>> {
    png::Decoder::new(std::io::Cursor::new(bytes))
        .read_info()
        .unwrap()
}

#[test]
fn a_report_names_the_temperatures_of_each_estimator() {
    let mut study = fabricate::study(&FIVE, 4, 4, 12);
    let mixed = "at 643\u{a0}K those of the fit of g";
    let html = |study: &Study| report::html(&fabricate::report_input(study));
    assert!(!html(&study).contains("those of the fit of g"));
    let fitted = &mut study.analyses[1];
    assert_eq!(fitted.temperature_k, 643.0);
    fitted.interval_factor = None;
    // Once with the energy, once in the methods.
    assert_eq!(html(&study).matches(mixed).count(), 2);
}

#[test]
fn a_report_is_one_file_that_asks_for_nothing() {
    let study = fabricate::study(&FIVE, 60, 120, 12);
    let html = report::html(&fabricate::report_input(&study));
    assert_eq!(html, report::html(&fabricate::report_input(&study)));
    assert!(html.len() < 5_000_000, "{} bytes", html.len());
    for asks in [
        "src=\"http",
        "href=\"http",
        "url(http",
        "@import",
        "<link",
        "<iframe",
        "fetch(",
    ] {
        assert!(!html.contains(asks), "{asks}");
    }
    // Every id once: figures share their glyphs' names but for the prefix.
    let mut ids: Vec<&str> = html
        .split(" id=\"")
        .skip(1)
        .map(|rest| &rest[..rest.find('"').unwrap()])
        .collect();
    let n_ids = ids.len();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), n_ids);
    for part in [
        "#warnings",
        "W021",
        "W034",
        "tau_gt_window",
        "doi 10.1038",
        "halotau run halotau.toml",
        "<figcaption>",
        "scope=\"col\"",
    ] {
        assert!(html.contains(part), "{part}");
    }
    // A warning that all temperatures share is said once.
    assert_eq!(html.matches("W021").count(), 1);
}

#[test]
fn a_report_escapes_what_users_wrote() {
    let mut study = fabricate::study(&FIVE[..1], 6, 6, 12);
    let evil = "</pre><script>alert(1)</script>\"'&";
    study.analyses[0].recipe.sample.composition = evil.to_owned();
    study.analyses[0].name = evil.to_owned();
    study.analyses[0].temperature_k = f64::NAN;
    study.analyses[0].warnings[0].text = evil.to_owned();
    let mut input = fabricate::report_input(&study);
    input.title = evil.to_owned();
    input.recipe_toml = evil.to_owned();
    input.methods = evil.to_owned();
    input.provenance = vec![(evil.to_owned(), evil.to_owned())];
    input.figures[0].title = evil.to_owned();
    input.figures[0].caption = evil.to_owned();
    input.comparison[0].quantity = evil.to_owned();
    let html = report::html(&input);
    assert!(!html.contains("<script>alert"));
    assert_eq!(html.matches("<script>").count(), 1);
}

#[test]
fn the_light_says_how_far_to_trust() {
    let mut study = fabricate::study(&FIVE[..2], 6, 6, 12);
    for analysis in &mut study.analyses {
        analysis.summary.n_positions = 100;
        analysis.summary.n_valid = 98;
        analysis.summary.n_censored = 10;
    }
    assert_eq!(report::light(&study), (report::Light::Green, Vec::new()));
    study.analyses[1].summary.n_censored = 40;
    let (light, reasons) = report::light(&study);
    assert_eq!(light, report::Light::Yellow);
    assert!(reasons[0].contains("643\u{a0}K"), "{reasons:?}");
    study.analyses[0].summary.n_valid = 40;
    assert_eq!(report::light(&study).0, report::Light::Red);
}

#[cfg(feature = "pdf")]
#[test]
fn a_pdf_is_one_page_of_the_size_of_the_drawing() {
    let study = fabricate::study(&FIVE, 12, 14, 30);
    for (name, svg) in all(&study) {
        let bytes = halotau_figure::pdf(&svg).unwrap();
        assert_eq!(bytes, halotau_figure::pdf(&svg).unwrap(), "{name}");
        let text = String::from_utf8_lossy(&bytes);
        assert_eq!(text.matches("/MediaBox").count(), 1, "{name}");
        let (_, after) = text.split_once("/MediaBox").unwrap();
        let (_, numbers) = after.split_once('[').unwrap();
        let (numbers, _) = numbers.split_once(']').unwrap();
        let page: Vec<f64> = numbers
            .split_whitespace()
            .map(|number| number.parse().unwrap())
            .collect();
        assert!((page[2] - svg.width()).abs() < 0.01, "{name}: {page:?}");
        assert!((page[3] - svg.height()).abs() < 0.01, "{name}: {page:?}");
    }
}
