//! Are all pixels beyond 8 standard deviations found, and hardly any other?
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use halotau::axes::QRange;
use halotau::calibrate::Calibration;
use halotau::calibrate::measure::{Measured, Request, measure};
use halotau::ndarray::Array2;
use halotau::recipe::Region;
use halotau::reduce::{ReducePlan, ReduceSettings};
use halotau::ring::RingCounts;
use halotau::series::{
    FrameBlock, FrameRun, SampleType, Samples, SeriesHeader, SeriesShape, Stated,
};
use halotau::simulate::{BeamStop, Simulation, SimulationSettings, Truth};
use halotau::source::{FrameSource, MemorySeries};
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

/// A series some of whose pixels flicker, some end at the highest value now and then, and some frames are hit by cosmic rays.
struct Damaged {
    series: Box<dyn FrameSource>,
    flickering: Vec<[usize; 2]>,
    saturated: Vec<[usize; 2]>,
    rays: bool,
}

impl Damaged {
    /// Whether a cosmic ray hits a frame, by its number in the block.
    fn has_ray(&self, number: usize) -> bool {
        self.rays && number % 3 == 1
    }
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
            if self.has_ray(number) {
                // Anywhere, so that no pixel is hit often.
                let place = (number + 1009 * (run.first_time + run.first_frame)) * 2741;
                frame[place % len] += 3000;
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
        rays: false,
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

#[test]
fn cosmic_rays_are_counted_and_make_no_bad_pixels() {
    let settings = SimulationSettings {
        n_times: 6,
        ..apart(8)
    };
    let simulation = Simulation::new(&settings, 0).unwrap();
    let damaged = Damaged {
        series: Box::new(simulation.series().unwrap()),
        flickering: Vec::new(),
        saturated: Vec::new(),
        rays: true,
    };
    let (_, measured) = measured(&damaged, &settings);
    // One in three of 480 frames; none where the pixel is masked would be missed either.
    assert_eq!(measured.n_spikes, 160);
    let truth = simulation.truth();
    let is_wrong = |at: &[usize; 2]| truth.pixel_valid[*at];
    let wrong = measured.bad_pixels.all().filter(is_wrong).count();
    assert!(wrong <= 4, "{:?}", measured.bad_pixels);
}

#[test]
fn values_below_zero_stay_below_zero() {
    let shape = SeriesShape {
        n_times: 2,
        n_rows: 1,
        n_cols: 2,
        pattern_rows: 9,
        pattern_cols: 9,
    };
    let mut header = SeriesHeader::new("negative", "memory", shape, SampleType::I16);
    header.period_s = Some(Stated::new(1.0, "test"));
    let stored: Vec<i16> = (0..4 * 81).map(|at| (at % 7) as i16 - 5).collect();
    let series = MemorySeries::new(header, Samples::I16(stored.clone())).unwrap();
    let calibration = Calibration::centered((4.0, 4.0), 0.5, Array2::from_elem((9, 9), true));
    let mut settings =
        ReduceSettings::of(series.header(), calibration, QRange::new(0.0, 9.0)).unwrap();
    settings.dark = Some(Array2::from_elem((9, 9), 1.0));
    let plan = ReducePlan::new(series.header(), settings).unwrap();
    let (reduction, rings) = plan.reduce(&series, 1 << 20).unwrap();
    let RingCounts::F32(counts) = &rings[0].counts else {
        panic!("values after a dark are f32");
    };
    let sum: f32 = counts.iter().sum();
    let expected: i32 = stored.iter().map(|&value| i32::from(value) - 1).sum();
    assert_eq!(sum, expected as f32);
    assert!(counts.iter().any(|&count| count == -6.0));
    assert_eq!(reduction.virtual_image.sum(), f64::from(expected));
}
