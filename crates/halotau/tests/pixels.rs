//! Are all pixels beyond 8 standard deviations found, and hardly any other?
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use halotau::calibrate::measure::{Measured, Request, measure};
use halotau::ndarray::Array2;
use halotau::recipe::Region;
use halotau::series::{FrameBlock, FrameRun, Samples, SeriesHeader};
use halotau::simulate::{BeamStop, Simulation, SimulationSettings, Truth};
use halotau::source::FrameSource;
use halotau::survey::{SurveyPlan, survey};

/// A pixel farther from its ring than this must be found.
const BEYOND_SD: f64 = 8.0;

/// Share of the good pixels that may be taken for bad.
const MOST_FALSE: f64 = 1e-3;

/// The middle of the pattern, behind the stop, is not judged: radius in pixels.
const BEHIND_STOP: f64 = 7.0;

/// Positions apart, 20 electrons a pixel in the halo.
fn apart(seed: u64) -> SimulationSettings {
    let mut settings = SimulationSettings {
        seed,
        n_rows: 8,
        n_cols: 10,
        n_times: 4,
        total_s: vec![2400.0],
        temperature_k: vec![633.0],
        dwell_ms: vec![1.0],
        overlap: false,
        ..SimulationSettings::default()
    };
    settings.artifacts.beam_stop = Some(BeamStop::default());
    settings.artifacts.detector.n_hot = 6;
    settings.artifacts.detector.n_dead = 6;
    settings.artifacts.detector.hot_electrons = 12.0;
    settings
}

fn with_gain_map(mut settings: SimulationSettings) -> SimulationSettings {
    settings.artifacts.detector.gain_adu_per_electron = 20.0;
    settings.artifacts.detector.gain_map_spread = 0.05;
    settings.artifacts.detector.dark_adu = 100.0;
    settings.artifacts.detector.read_noise_adu = 4.0;
    settings
}

/// Positions a fifth of the probe apart: a dozen areas.
fn overlapping(mut settings: SimulationSettings) -> SimulationSettings {
    settings.overlap = true;
    settings.step_nm = 0.1617;
    settings.n_rows = 12;
    settings.n_cols = 18;
    settings
}

/// About 1 electron a pixel in the halo.
fn few_counts(mut settings: SimulationSettings) -> SimulationSettings {
    settings.probe_current_pa = 0.5;
    settings.artifacts.detector.hot_electrons = 3.0;
    settings
}

/// A series some of whose pixels flicker, and some of which end at the highest value now and then.
struct Damaged {
    series: Box<dyn FrameSource>,
    flickering: Vec<[usize; 2]>,
    saturated: Vec<[usize; 2]>,
}

impl FrameSource for Damaged {
    fn header(&self) -> &SeriesHeader {
        self.series.header()
    }

    fn read(&self, run: &FrameRun, block: &mut FrameBlock) -> halotau::Result<()> {
        self.series.read(run, block)?;
        let (len, n_cols) = (block.frame_len(), block.pattern_cols);
        let Samples::U16(samples) = &mut block.samples else {
            panic!("the simulation counts in u16");
        };
        for (number, frame) in samples.chunks_mut(len).enumerate() {
            // The same mean, three times the contrast.
            for [row, col] in &self.flickering {
                frame[row * n_cols + col] *= if (number + row) % 3 == 0 { 3 } else { 0 };
            }
            for [row, col] in &self.saturated {
                if number % 50 == 0 {
                    frame[row * n_cols + col] = u16::MAX;
                }
            }
        }
        Ok(())
    }
}

fn measured(source: &dyn FrameSource, settings: &SimulationSettings) -> (Array2<f64>, Measured) {
    let header = source.header();
    let region = Region {
        rows: [0, header.shape.n_rows],
        cols: [0, header.shape.n_cols],
    };
    let plan = SurveyPlan::new(header, region, 1 << 30);
    let dark = Array2::from_elem((66, 66), settings.artifacts.detector.dark_adu);
    let sampled = survey(source, &plan, Some(&dark), None, &|_| true).unwrap();
    let measured = measure(&sampled, &Request::all((66, 66))).unwrap();
    (sampled.mean, measured)
}

/// Distance of a hot or dead pixel from the good pixels of similar radius, in their standard deviations.
fn deviation(at: [usize; 2], mean: &Array2<f64>, truth: &Truth) -> f64 {
    let radius = |[row, col]: [usize; 2]| {
        (row as f64 - truth.center_row).hypot(col as f64 - truth.center_col)
    };
    if radius(at) < BEHIND_STOP {
        return 0.0;
    }
    let near: Vec<f64> = truth
        .pixel_valid
        .indexed_iter()
        .filter(|((row, col), valid)| **valid && (radius([*row, *col]) - radius(at)).abs() < 1.0)
        .map(|(other, _)| mean[other])
        .collect();
    let n = near.len() as f64;
    let middle = near.iter().sum::<f64>() / n;
    let square = near
        .iter()
        .map(|value| (value - middle).powi(2))
        .sum::<f64>();
    (mean[at] - middle) / (square / n).sqrt()
}

#[test]
fn bad_pixels_are_found_and_good_ones_left() {
    let cases = [
        ("apart, gain map", with_gain_map(apart(2))),
        ("apart, few counts", few_counts(apart(3))),
        (
            "overlapping, gain map",
            overlapping(with_gain_map(apart(5))),
        ),
        ("overlapping, few counts", overlapping(few_counts(apart(6)))),
    ];
    let mut n_beyond = 0;
    for (name, settings) in cases {
        let simulation = Simulation::new(&settings, 0).unwrap();
        let truth = simulation.truth();
        let (mean, measured) = measured(&simulation.series().unwrap(), &settings);
        let found: Vec<[usize; 2]> = measured.bad_pixels.all().collect();
        for &at in truth.hot_pixels.iter().chain(&truth.dead_pixels) {
            let away = deviation(at, &mean, truth);
            let masked = !measured.pixel_valid[at];
            if away.abs() > BEYOND_SD {
                n_beyond += 1;
                assert!(
                    masked,
                    "{name}: {at:?} is {away:.1} standard deviations away"
                );
            }
        }
        let n_false = found.iter().filter(|at| truth.pixel_valid[**at]).count();
        let n_good = truth.pixel_valid.iter().filter(|valid| **valid).count();
        assert!(
            n_false as f64 <= MOST_FALSE * n_good as f64,
            "{name}: {n_false} of {n_good} good pixels are taken for bad"
        );
    }
    // Or the test would say nothing.
    assert!(n_beyond > 20, "only {n_beyond} pixels are that far away");
}

#[test]
fn flickering_and_saturated_pixels_are_found() {
    let settings = apart(7);
    let simulation = Simulation::new(&settings, 0).unwrap();
    let damaged = Damaged {
        series: Box::new(simulation.series().unwrap()),
        flickering: vec![[12, 30], [30, 50], [50, 40]],
        saturated: vec![[20, 12], [48, 52]],
    };
    let (_, measured) = measured(&damaged, &settings);
    let bad = &measured.bad_pixels;
    assert_eq!(bad.saturated, damaged.saturated);
    for at in &damaged.flickering {
        assert!(bad.all().any(|found| found == *at), "{at:?} of {bad:?}");
    }
    let truth = simulation.truth();
    let is_known = |at: &[usize; 2]| {
        damaged.flickering.contains(at) || damaged.saturated.contains(at) || !truth.pixel_valid[*at]
    };
    assert!(bad.all().filter(|at| !is_known(at)).count() <= 4, "{bad:?}");
}
