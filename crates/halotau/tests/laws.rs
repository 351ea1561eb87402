//! What is true for any data.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use halotau::analysis::Analysis;
use halotau::axes::{QRange, TimeAxis, TimeBasis};
use halotau::calibrate::{Calibration, CenterPath, Descan};
use halotau::correlate::{
    self, FourierSums, LagSpacing, LagSums, Lags, MultiTau, Normalization, TwoTimeKept,
};
use halotau::ndarray::{Array2, Array5, Axis, s};
use halotau::quality::Quality;
use halotau::recipe::Recipe;
use halotau::reduce::{ReducePlan, ReduceSettings};
use halotau::relax::{self, BaselineMode, ExponentFactor, KwwProblem, Stretch, Weights};
use halotau::ring::PixelSeries;
use halotau::series::{SampleType, Samples, SeriesHeader, SeriesShape, Stated};
use halotau::source::{FrameSource, MemorySeries};
use proptest::prelude::*;
use rand::{RngExt, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;

const SIDE: usize = 20;
const N_TIMES: usize = 12;

/// Counts that decay towards another pattern, so that fits have something to do.
fn series(seed: u64, n_rows: usize, n_cols: usize) -> Array5<u16> {
    series_of(N_TIMES, 5.0, seed, n_rows, n_cols)
}

/// As [`series`], with so many scans and that relaxation time in scans.
fn series_of(n_times: usize, tau: f64, seed: u64, n_rows: usize, n_cols: usize) -> Array5<u16> {
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
    let mut from = || {
        Array5::from_shape_fn((1, n_rows, n_cols, SIDE, SIDE), |_| {
            rng.random_range(2.0..60.0_f64)
        })
    };
    let (first, last) = (from(), from());
    Array5::from_shape_fn(
        (n_times, n_rows, n_cols, SIDE, SIDE),
        |(time, row, col, y, x)| {
            let left = (-(time as f64) / tau).exp();
            (left * first[[0, row, col, y, x]] + (1.0 - left) * last[[0, row, col, y, x]]).round()
                as u16
        },
    )
}

struct Options {
    buffer_bytes: usize,
    times_s: Vec<f64>,
    bin: usize,
    descan: Descan,
    center_path: CenterPath,
    center: (f64, f64),
}

impl Default for Options {
    fn default() -> Self {
        Self {
            buffer_bytes: 1 << 20,
            times_s: (0..N_TIMES).map(|time| 10.0 * time as f64).collect(),
            bin: 1,
            descan: Descan::default(),
            center_path: CenterPath::default(),
            center: (9.5, 9.5),
        }
    }
}

fn recipe() -> Recipe {
    let mut recipe = Recipe::default();
    recipe.dynamics.normalization = Normalization::Ring;
    recipe.dynamics.q_range_per_nm = QRange::new(2.0, 4.0);
    recipe.structure.q_range_per_nm = QRange::new(2.0, 4.5);
    recipe
}

fn analyze_source(source: &dyn FrameSource, recipe: &Recipe, options: &Options) -> Analysis {
    let SeriesShape {
        pattern_rows,
        pattern_cols,
        ..
    } = source.header().shape;
    let mut header = source.header().clone();
    header.times_s = Some(options.times_s.clone());
    header.step_nm = Some(Stated::new(1.0, "test"));
    let every_pixel = Array2::from_elem((pattern_rows, pattern_cols), true);
    let mut calibration = Calibration::centered(options.center, 0.5, every_pixel);
    calibration.descan = options.descan;
    calibration.follow(options.center_path.clone(), source.header().shape.n_times);
    let mut settings = ReduceSettings::of(&header, calibration, recipe.annulus_range()).unwrap();
    settings.bin = options.bin;
    let plan = ReducePlan::new(&header, settings).unwrap();
    let (reduction, rings) = plan.reduce(source, options.buffer_bytes).unwrap();
    halotau::map::analyze_in_memory(&reduction, &rings, recipe).unwrap()
}

fn analyze(counts: &Array5<u16>, recipe: &Recipe, options: &Options) -> Analysis {
    analyze_source(
        &MemorySeries::from_counts("law", counts.view()).unwrap(),
        recipe,
        options,
    )
}

/// Everything that an analysis holds, as bits; NaN equal to NaN.
fn bits(analysis: &Analysis) -> Vec<u64> {
    let relaxation = &analysis.relaxation;
    [
        &relaxation.tau_s,
        &relaxation.tau_upper_s,
        &relaxation.contrast,
        &analysis.fluctuation.values,
        &analysis.fluctuation.error,
    ]
    .into_iter()
    .flat_map(|map| map.iter())
    .chain(&analysis.curves.g)
    .chain(&analysis.curves.g_error)
    .chain(&analysis.two_time[0].values)
    .chain(&analysis.ensemble_g)
    .map(|value| value.to_bits())
    .collect()
}

#[test]
fn a_long_series_has_the_same_curves_with_and_without_the_matrices() {
    const LONG: usize = 800;
    let counts = series_of(LONG, 100.0, 8, 2, 2);
    let options = Options {
        times_s: (0..LONG).map(|time| 10.0 * time as f64).collect(),
        ..Options::default()
    };
    for normalization in [Normalization::Ring, Normalization::PerPixel] {
        let mut recipe = recipe();
        recipe.dynamics.normalization = normalization;
        let fourier = analyze(&counts, &recipe, &options);
        recipe.dynamics.two_time = TwoTimeKept::All;
        let pairs = analyze(&counts, &recipe, &options);
        assert_eq!(fourier.lag_sums, LagSums::Fourier);
        assert_eq!(pairs.lag_sums, LagSums::Pairs);
        let curves = fourier.curves.g.iter().zip(&pairs.curves.g);
        for (ours, expected) in
            curves.chain(fourier.curves.g_error.iter().zip(&pairs.curves.g_error))
        {
            assert!((ours - expected).abs() < 1e-9, "{ours} against {expected}");
        }
        for (ours, expected) in fourier.relaxation.tau_s.iter().zip(&pairs.relaxation.tau_s) {
            assert!(
                (ours / expected - 1.0).abs() < 1e-6,
                "{ours} against {expected}"
            );
        }
        // Four positions are fewer than enter the mean of a long series: it is the same mean.
        assert_eq!(fourier.two_time[0].position, None);
        assert_eq!(fourier.two_time.len(), pairs.two_time.len());
        for (ours, expected) in fourier.two_time[0]
            .values
            .iter()
            .zip(&pairs.two_time[0].values)
        {
            assert!((ours - expected).abs() < 1e-12);
        }
        assert!(
            fourier
                .warnings
                .iter()
                .any(|warning| warning.code == "W044")
        );
    }
}

#[test]
fn few_lags_of_a_long_series_have_the_numbers_of_all_of_them() {
    const LONG: usize = 700;
    let counts = series_of(LONG, 400.0, 8, 2, 2);
    let options = Options {
        times_s: (0..LONG).map(|time| 10.0 * time as f64).collect(),
        ..Options::default()
    };
    let mut recipe = recipe();
    recipe.dynamics.lags = LagSpacing::All;
    let all = analyze(&counts, &recipe, &options);
    recipe.dynamics.lags = LagSpacing::MultiTau;
    let few = analyze(&counts, &recipe, &options);
    assert_eq!(few.lag_sums, LagSums::MultiTau);
    assert_eq!(few.curves.lag_s.len(), few.curves.g.dim().2);
    assert!(few.curves.lag_s.len() < 64 && all.curves.lag_s.len() == LONG - 1);
    for (ours, expected) in few
        .curves
        .g
        .lanes(Axis(2))
        .into_iter()
        .zip(all.curves.g.lanes(Axis(2)))
    {
        for lag in 0..15 {
            assert!((ours[lag] - expected[lag]).abs() < 1e-9);
        }
    }
    for (ours, expected) in few.relaxation.tau_s.iter().zip(&all.relaxation.tau_s) {
        assert!(
            (ours / expected - 1.0).abs() < 0.03,
            "{ours} against {expected}"
        );
    }
    // Another way to the same numbers: which positions are good does not depend on it.
    assert_eq!(few.quality, all.quality);
}

/// tau of speckle whose field forgets itself in 40 scans, from 3,000 scans at every lag and at few.
#[test]
fn tau_of_a_long_record_does_not_depend_on_the_spacing_of_lags() {
    const LONG: usize = 3_000;
    const TAU: f64 = 40.0;
    let keep = (-1.0 / TAU).exp();
    let time = TimeAxis::uniform(LONG, 1.0, TimeBasis::Period).unwrap();
    let valid = [true; LONG];
    let tau = |lags: &Lags, g: &[f64]| {
        let lag_s = lags.times_s(&time);
        let weights = lags.weights(&lags.n_pairs(&valid), Weights::LagCount);
        relax::fit(&KwwProblem {
            lag_s: &lag_s,
            g,
            weights: &weights,
            exponent_factor: ExponentFactor::Two,
            stretch: Stretch::Fixed(1.0),
            baseline: BaselineMode::Given(1.0),
            tau_bounds_s: [0.1, 1e5],
            finite_window: None,
        })
        .tau_s
    };
    let (all, few) = (Lags::all(LONG), Lags::multi_tau(LONG));
    let (fourier, multi_tau) = (FourierSums::new(LONG), MultiTau::new(few.clone()));
    let mut ratios = Vec::new();
    let mut sum = 0.0;
    for seed in 0..4 {
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
        // Uniform steps: only the correlation of the intensities matters, not their distribution.
        let mut next = || rng.random_range(-1.0..1.0_f64);
        let mut intensity = Array2::zeros((LONG, 60));
        for mut pixel in intensity.columns_mut() {
            let mut field = [next(), next()];
            for count in &mut pixel {
                field = field.map(|part| keep * part + (1.0 - keep * keep).sqrt() * next());
                *count = field[0] * field[0] + field[1] * field[1];
            }
        }
        let series = PixelSeries::of(intensity.view());
        let sector = [0; 60];
        let of_all = fourier
            .sector_curves(&series, &sector, 1, &valid, Normalization::Ring)
            .unwrap();
        let of_few = multi_tau.sector_curves(&series, &sector, 1, &valid);
        let (of_all, of_few) = (tau(&all, &of_all.g), tau(&few, &of_few.g));
        ratios.push(of_few / of_all);
        sum += of_few / 4.0;
    }
    // The triangles over which lags are averaged lengthen tau by at most 0.3 %.
    assert!(
        ratios.iter().all(|ratio| (ratio - 1.0).abs() < 0.01),
        "{ratios:?}"
    );
    assert!((sum / TAU - 1.0).abs() < 0.1, "{sum}");
}

#[test]
fn scaling_a_scan_changes_neither_g_nor_v() {
    let counts = series(1, 2, 2);
    let mut scaled = counts.clone();
    for (time, mut scan) in scaled.outer_iter_mut().enumerate() {
        scan.mapv_inplace(|count| count * (1 + time as u16 % 3));
    }
    let mut recipe = recipe();
    recipe.structure.noise = halotau::fluctuate::Noise::None;
    let (a, b) = (
        analyze(&counts, &recipe, &Options::default()),
        analyze(&scaled, &recipe, &Options::default()),
    );
    for (a, b) in a
        .curves
        .g
        .iter()
        .zip(&b.curves.g)
        .chain(a.fluctuation.values.iter().zip(&b.fluctuation.values))
    {
        assert!((a - b).abs() < 1e-12, "{a} {b}");
    }
}

#[test]
fn a_uniform_ring_is_featureless() {
    let counts = Array5::from_elem((N_TIMES, 1, 2, SIDE, SIDE), 9);
    let mut recipe = recipe();
    recipe.structure.noise = halotau::fluctuate::Noise::None;
    let analysis = analyze(&counts, &recipe, &Options::default());
    assert!(analysis.curves.g.iter().all(|&g| g == 1.0));
    assert!(analysis.fluctuation.values.iter().all(|&v| v == 0.0));
    assert!(
        analysis
            .quality
            .iter()
            .all(|quality| quality.has(Quality::NO_DECAY) && quality.is_bad())
    );
}

#[test]
fn a_static_series_has_a_flat_g_and_a_censored_tau() {
    let counts = series(2, 2, 2);
    let still = Array5::from_shape_fn(counts.dim(), |(_, row, col, y, x)| {
        counts[[0, row, col, y, x]]
    });
    let analysis = analyze(&still, &recipe(), &Options::default());
    for g in analysis.curves.g.rows() {
        assert!(
            g.iter()
                .all(|value| (value - g[0]).abs() < 1e-12 && *value > 1.1)
        );
    }
    for quality in &analysis.quality {
        assert!(
            quality.has(Quality::TAU_GT_WINDOW)
                && quality.has(Quality::NO_DECAY)
                && !quality.is_bad()
        );
    }
    assert!(
        analysis
            .relaxation
            .tau_upper_s
            .iter()
            .all(|tau| tau.is_infinite())
    );
    assert_eq!(analysis.summary.n_censored, 4);
}

#[test]
fn a_pattern_that_is_the_same_everywhere_is_the_baseline() {
    let counts = series(9, 1, 1);
    // Four positions, each farther than two probe widths from the others, show one and the same static pattern: all of g − 1 is its structure.
    let same = Array5::from_shape_fn((N_TIMES, 2, 2, SIDE, SIDE), |(_, _, _, y, x)| {
        counts[[0, 0, 0, y, x]]
    });
    let mut recipe = recipe();
    recipe.microscope.probe_fwhm_nm = Some(0.3);
    let analysis = analyze(&same, &recipe, &Options::default());
    let baseline = analysis.distant_baseline.unwrap();
    assert!((baseline - analysis.curves.g[[0, 0, 0]]).abs() < 1e-12);
    assert!(baseline > 1.1);
}

#[test]
fn stretching_the_time_axis_stretches_tau() {
    let counts = series(3, 2, 3);
    let slow = Options {
        times_s: (0..N_TIMES).map(|time| 80.0 * time as f64).collect(),
        ..Options::default()
    };
    let (a, b) = (
        analyze(&counts, &recipe(), &Options::default()),
        analyze(&counts, &recipe(), &slow),
    );
    for (a, b) in a.relaxation.tau_s.iter().zip(&b.relaxation.tau_s) {
        assert!((b / a - 8.0).abs() < 1e-6, "{a} {b}");
    }
}

#[test]
fn threads_and_reading_buffer_change_no_bit() {
    let counts = series(4, 3, 5);
    let run = |n_threads: usize, buffer_bytes: usize| {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(n_threads)
            .build()
            .unwrap();
        let options = Options {
            buffer_bytes,
            ..Options::default()
        };
        pool.install(|| {
            bits(&analyze(
                &counts,
                &Recipe {
                    dynamics: recipe().dynamics,
                    ..recipe()
                },
                &options,
            ))
        })
    };
    let one = run(1, 1 << 20);
    assert_eq!(one, run(2, 1 << 20));
    assert_eq!(one, run(3, 1));
    // Floats are summed in a fixed order as well.
    let mut header = SeriesHeader::new("law", "memory", shape(&counts), SampleType::F32);
    header.chunk.n_times = 5;
    let floats: Vec<f32> = counts
        .iter()
        .map(|&count| f32::from(count) * 0.37)
        .collect();
    let source = MemorySeries::new(header, Samples::F32(floats)).unwrap();
    let run = |n_threads: usize, buffer_bytes: usize| {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(n_threads)
            .build()
            .unwrap();
        let options = Options {
            buffer_bytes,
            ..Options::default()
        };
        pool.install(|| bits(&analyze_source(&source, &recipe(), &options)))
    };
    assert_eq!(run(1, 1 << 20), run(2, 1));
}

fn shape(counts: &Array5<u16>) -> SeriesShape {
    let (n_times, n_rows, n_cols, pattern_rows, pattern_cols) = counts.dim();
    SeriesShape {
        n_times,
        n_rows,
        n_cols,
        pattern_rows,
        pattern_cols,
    }
}

#[test]
fn number_types_that_hold_the_counts_agree() {
    let counts = series(5, 2, 2);
    let expected = analyze(&counts, &recipe(), &Options::default());
    let as_type = |samples: Samples| {
        let header = SeriesHeader::new("law", "memory", shape(&counts), samples.sample_type());
        analyze_source(
            &MemorySeries::new(header, samples).unwrap(),
            &recipe(),
            &Options::default(),
        )
    };
    let values = || counts.iter().copied();
    for samples in [
        Samples::U8(values().map(|count| count as u8).collect()),
        Samples::U32(values().map(u32::from).collect()),
        Samples::I16(values().map(|count| count as i16).collect()),
        Samples::I32(values().map(i32::from).collect()),
        Samples::F32(values().map(f32::from).collect()),
        Samples::F64(values().map(f64::from).collect()),
    ] {
        let sample_type = samples.sample_type();
        assert_eq!(bits(&expected), bits(&as_type(samples)), "{sample_type}");
    }
}

#[test]
fn binning_before_and_inside_agree() {
    // 2 x 2 pixels around a center between binned pixels; the native center follows from the binned one.
    let fine = series(6, 1, 2);
    let coarse = Array5::from_shape_fn(
        (N_TIMES, 1, 2, SIDE / 2, SIDE / 2),
        |(time, row, col, y, x)| {
            fine.slice(s![time, row, col, 2 * y..2 * y + 2, 2 * x..2 * x + 2])
                .sum()
        },
    );
    let inside = analyze(
        &fine,
        &recipe(),
        &Options {
            bin: 2,
            ..Options::default()
        },
    );
    let mut recipe = recipe();
    // The q step is a native pixel's: the coarse series has half as many of twice the width.
    recipe.dynamics.q_range_per_nm = QRange::new(1.0, 2.0);
    recipe.structure.q_range_per_nm = QRange::new(1.0, 2.25);
    let before = analyze(
        &coarse,
        &recipe,
        &Options {
            center: (4.5, 4.5),
            ..Options::default()
        },
    );
    assert_eq!(inside.n_ring_pixels, before.n_ring_pixels);
    assert_eq!(bits(&inside), bits(&before));
}

#[test]
fn whole_pixel_descan_is_undone() {
    let counts = series(7, 1, 3);
    // The pattern moves by one row and two columns a scan column; what leaves the detector comes in on the other side,
    // outside the ring.
    let moved = Array5::from_shape_fn(counts.dim(), |(time, row, col, y, x)| {
        let (y, x) = (y + SIDE + 1 - col, x + SIDE + 2 - 2 * col);
        counts[[time, row, col, y % SIDE, x % SIDE]]
    });
    let descan = Descan {
        row_per_col: 1.0,
        col_per_col: 2.0,
        ..Descan::default()
    };
    let mut recipe = recipe();
    recipe.dynamics.q_range_per_nm = QRange::new(1.0, 3.0);
    recipe.structure.q_range_per_nm = QRange::new(1.0, 3.0);
    let still = analyze(&counts, &recipe, &Options::default());
    let undone = analyze(
        &moved,
        &recipe,
        &Options {
            descan,
            ..Options::default()
        },
    );
    assert_eq!(still.curves.g, undone.curves.g);
    assert_eq!(still.fluctuation.values, undone.fluctuation.values);
}

#[test]
fn whole_pixel_movement_over_time_is_undone() {
    let counts = series(8, 1, 3);
    // Down by a row every four scans, and back by two columns in the middle of the record, beside a descan.
    let place = |time: usize, col: usize| (time / 4 + col, if time < 6 { 1 } else { 3 });
    let moved = Array5::from_shape_fn(counts.dim(), |(time, row, col, y, x)| {
        let (down, across) = place(time, col);
        let (y, x) = (y + SIDE + 1 - down, x + SIDE + 1 - across);
        counts[[time, row, col, y % SIDE, x % SIDE]]
    });
    let knots = (0..N_TIMES).map(|time| {
        let (down, across) = place(time, 1);
        [time as f64, down as f64 - 1.0, across as f64 - 1.0]
    });
    let mut recipe = recipe();
    recipe.dynamics.q_range_per_nm = QRange::new(1.0, 3.0);
    recipe.structure.q_range_per_nm = QRange::new(1.0, 3.0);
    let still = analyze(&counts, &recipe, &Options::default());
    let undone = analyze(
        &moved,
        &recipe,
        &Options {
            descan: Descan {
                row_per_col: 1.0,
                ..Descan::default()
            },
            center_path: CenterPath::new(knots.collect()),
            ..Options::default()
        },
    );
    assert_eq!(still.curves.g, undone.curves.g);
    assert_eq!(still.fluctuation.values, undone.fluctuation.values);
}

#[test]
fn nan_in_a_masked_pixel_changes_nothing_and_in_the_ring_only_its_scan() {
    let counts = series(8, 1, 2);
    let clean: Vec<f64> = counts.iter().map(|&count| f64::from(count)).collect();
    let source = |values: &[f64]| {
        let header = SeriesHeader::new("law", "memory", shape(&counts), SampleType::F64);
        MemorySeries::new(header, Samples::F64(values.to_vec())).unwrap()
    };
    let expected = analyze_source(&source(&clean), &recipe(), &Options::default());
    // Pixel (0, 0) of the pattern is far outside the ring.
    let mut corner = clean.clone();
    corner[0] = f64::NAN;
    assert_eq!(
        bits(&expected),
        bits(&analyze_source(
            &source(&corner),
            &recipe(),
            &Options::default()
        ))
    );
    for broken in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        let frame = SIDE * SIDE;
        let mut ring = clean.clone();
        ring[3 * 2 * frame + 9 * SIDE + 14] = broken;
        let found = analyze_source(&source(&ring), &recipe(), &Options::default());
        assert!(
            found.quality[[0, 0]].has(Quality::NONFINITE_INPUT)
                && !found.quality[[0, 1]].has(Quality::NONFINITE_INPUT)
        );
        assert!(found.curves.g.iter().all(|g| g.is_finite()));
        let change = (&found.curves.g - &expected.curves.g).mapv(f64::abs);
        assert!(
            change
                .slice(s![0, 0, ..])
                .iter()
                .all(|&change| change < 0.02)
        );
        assert!(
            change
                .slice(s![0, 1, ..])
                .iter()
                .all(|&change| change == 0.0)
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    /// G is symmetric, does not care for the order of pixels, and time reversal leaves g.
    #[test]
    fn symmetries_of_two_time_correlation(values in prop::collection::vec(1_u16..500, 6 * 10)) {
        let ring = Array2::from_shape_vec((6, 10), values.iter().map(|&value| f64::from(value)).collect()).unwrap();
        let two_time = correlate::two_time(ring.view()).unwrap();
        let transposed = two_time.t();
        prop_assert!(two_time.iter().zip(&transposed).all(|(a, b)| (a - b).abs() <= 1e-13 * a));
        let reversed_pixels = correlate::two_time(ring.slice(s![.., ..;-1])).unwrap();
        prop_assert!(two_time.iter().zip(&reversed_pixels).all(|(a, b)| (a - b).abs() <= 1e-13 * a));
        let reversed = correlate::two_time(ring.slice(s![..;-1, ..])).unwrap();
        let (g, back) = (correlate::one_time(two_time.view(), &[true; 6]), correlate::one_time(reversed.view(), &[true; 6]));
        prop_assert!(g.iter().zip(&back).all(|(a, b)| (a - b).abs() <= 1e-13 * a));
    }
}
