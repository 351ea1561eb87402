//! How fast are the two kernels that everything waits for?
//!
//! The product of a ring's counts with themselves, in floating-point operations of the full product although only half of it is
//! computed; and the fit of a stretched exponential, in curves a second, among others with the same lags and alone. Both must end at
//! the same cost, which the core's tests compare with two published solvers. CPU seconds of one thread, the least of several runs.

use std::hint::black_box;

use cpu_time::ThreadTime;
use halotau::correlate::{
    FourierSums, LagSums, Lags, MultiTau, Normalization, products, sector_curves,
};
use halotau::ndarray::{Array2, Array3, Array4};
use halotau::relax::{BaselineMode, ExponentFactor, KwwFit, KwwFitter, KwwProblem, Stretch, fit};
use halotau::ring::{PixelSeries, RingCounts, RingSeries};
use rand::{RngExt, SeedableRng};
use rand_distr::{Distribution, StandardNormal};
use rand_xoshiro::Xoshiro256PlusPlus;

const N_TIMES: usize = 106;
const N_PIXELS: usize = 209;
const PERIOD_S: f64 = 9.89;
const N_CURVES: usize = 5000;
const STRETCH: [f64; 2] = [0.3, 2.0];
const TAU_S: [f64; 2] = [0.1 * PERIOD_S, 1e5];

/// Costs that differ by less are equal: the search stops where a step would gain 1e-13 of the cost.
const COST_TOLERANCE: f64 = 1e-8;

fn main() {
    println!("| kernel | version | rate |");
    println!("|---|---|---|");
    product();
    sparse_product();
    lags();
    fits();
}

/// The least CPU seconds of some runs, and the last answer.
fn fastest<T>(runs: usize, mut work: impl FnMut() -> T) -> (f64, T) {
    let mut timed = || {
        let start = ThreadTime::now();
        let answer = black_box(work());
        (start.elapsed().as_secs_f64(), answer)
    };
    let (mut least, mut answer) = timed();
    for _ in 1..runs {
        let (seconds, again) = timed();
        least = least.min(seconds);
        answer = again;
    }
    (least, answer)
}

fn product() {
    let mut random = Xoshiro256PlusPlus::seed_from_u64(3);
    let counts = Array4::from_shape_fn((1, 1, N_TIMES, N_PIXELS), |_| {
        random.random_range(0..120_u16)
    });
    let plain_counts = counts
        .mapv(f64::from)
        .into_shape_with_order((N_TIMES, N_PIXELS))
        .expect("one position");
    let rings = RingSeries {
        first_row: 0,
        first_col: 0,
        counts: RingCounts::U16(counts),
        frame_valid: Array3::from_elem((1, 1, N_TIMES), true),
        pixel_valid: None,
    };
    let pixels: Vec<usize> = (0..N_PIXELS).collect();
    let operations = 2.0 * (N_TIMES * N_TIMES * N_PIXELS) as f64;
    let row = |version: &str, seconds: f64| {
        println!(
            "| product 106 x 209 | {version} | {:.1} GFLOP/s |",
            operations / seconds / 1e9
        );
    };
    let series = PixelSeries::gather(&rings, (0, 0), &pixels, None);
    let (seconds, fast) = fastest(2000, || products(black_box(&series)));
    row("halotau, counts", seconds);
    let (seconds, _) = fastest(2000, || {
        PixelSeries::gather(black_box(&rings), (0, 0), &pixels, None)
    });
    println!(
        "| gather 106 x 209 | halotau, counts | {:.1} us |",
        1e6 * seconds
    );
    let real = PixelSeries::of(plain_counts.view());
    let (seconds, of_real) = fastest(500, || products(black_box(&real)));
    row("halotau, f64", seconds);
    let (seconds, plain) = fastest(20, || plain_products(black_box(&plain_counts)));
    row("plain", seconds);
    assert_eq!(fast, plain);
    assert_eq!(of_real, plain);
}

fn plain_products(counts: &Array2<f64>) -> Array2<f64> {
    Array2::from_shape_fn((N_TIMES, N_TIMES), |(first, second)| {
        let pairs = counts.row(first).into_iter().zip(counts.row(second));
        pairs.map(|(x, y)| x * y).sum()
    })
}

/// The product of counts most of which are zero: with the share of those that are not.
fn sparse_product() {
    let mut random = Xoshiro256PlusPlus::seed_from_u64(9);
    for n_times in [N_TIMES, 1000] {
        for occupancy in [0.02, 0.1, 0.2] {
            let counts = Array4::from_shape_fn((1, 1, n_times, N_PIXELS), |_| {
                let there = random.random::<f64>() < occupancy;
                if there {
                    random.random_range(1..4_u16)
                } else {
                    0
                }
            });
            let rings = RingSeries {
                first_row: 0,
                first_col: 0,
                counts: RingCounts::U16(counts),
                frame_valid: Array3::from_elem((1, 1, n_times), true),
                pixel_valid: None,
            };
            let pixels: Vec<usize> = (0..N_PIXELS).collect();
            let series = PixelSeries::gather(&rings, (0, 0), &pixels, None);
            let (seconds, _) = fastest(100_000 / n_times, || products(black_box(&series)));
            println!(
                "| product {n_times} x 209 | counts, {occupancy} of them not zero | {:.1} us |",
                1e6 * seconds
            );
        }
    }
}

/// g and g without each of six sectors, from all pairs of scans, by Fourier transform and at few lags, for short and long series.
fn lags() {
    const N_SECTORS: usize = 6;
    let mut random = Xoshiro256PlusPlus::seed_from_u64(5);
    let sector: Vec<usize> = (0..N_PIXELS)
        .map(|pixel| pixel * N_SECTORS / N_PIXELS)
        .collect();
    for n_times in [106, 500, 1000, 4000] {
        let counts = Array2::from_shape_fn((n_times, N_PIXELS), |_| random.random_range(0..40_u32));
        let series = PixelSeries::of(counts.mapv(f64::from).view());
        let valid: Vec<bool> = (0..n_times).map(|time| time % 97 != 5).collect();
        let runs = (20_000 / n_times).clamp(1, 50);
        let row = |version: &str, seconds: f64| {
            println!(
                "| g of 209 pixels and without 6 sectors | {n_times} scans, {version} | {:.2} ms |",
                1e3 * seconds
            );
        };
        let (seconds, pairs) = fastest(runs, || {
            sector_curves(&series, &sector, N_SECTORS, &valid, Normalization::Ring)
        });
        row("all pairs", seconds);
        let sums = FourierSums::new(n_times);
        let (seconds, fourier) = fastest(runs, || {
            sums.sector_curves(&series, &sector, N_SECTORS, &valid, Normalization::Ring)
                .expect("no sample is missing")
        });
        row("Fourier", seconds);
        let few = MultiTau::new(Lags::multi_tau(n_times));
        let (seconds, multi_tau) = fastest(runs, || {
            few.sector_curves(&series, &sector, N_SECTORS, &valid)
        });
        row("few lags", seconds);
        for (ours, expected) in multi_tau.g.iter().zip(&pairs.g).take(15) {
            assert!((ours - expected).abs() < 1e-11);
        }
        let chosen = LagSums::cheaper(n_times, N_PIXELS, N_SECTORS);
        println!("| | {n_times} scans, chosen | {chosen:?} |");
        for (ours, expected) in fourier.without.iter().zip(&pairs.without) {
            let same = |(g, expected): (&f64, &f64)| (g - expected).abs() < 1e-11 || g.is_nan();
            assert!(ours.iter().zip(expected).all(same));
        }
    }
}

/// `tau` within the record or a few times longer, noise that grows with the lag as pairs become few.
fn curves(lag_s: &[f64]) -> Vec<Vec<f64>> {
    let mut random = Xoshiro256PlusPlus::seed_from_u64(11);
    let mut curve = || {
        let mut uniform = |low: f64, high: f64| low + (high - low) * random.random::<f64>();
        let (tau_s, stretch) = (200.0 * 25.0_f64.powf(uniform(0.0, 1.0)), uniform(0.6, 1.6));
        let noise = uniform(0.002, 0.02);
        let g = lag_s.iter().enumerate().map(|(lag, t)| {
            let normal: f64 = StandardNormal.sample(&mut random);
            let few = (100.0 / (N_TIMES - 1 - lag) as f64).sqrt();
            1.0 + 0.3 * (-2.0 * (t / tau_s).powf(stretch)).exp() + noise * few * normal
        });
        g.collect()
    };
    (0..N_CURVES).map(|_| curve()).collect()
}

fn fits() {
    let lag_s: Vec<f64> = (1..N_TIMES).map(|lag| lag as f64 * PERIOD_S).collect();
    let weights: Vec<f64> = (1..N_TIMES).map(|lag| (N_TIMES - lag) as f64).collect();
    let curves = curves(&lag_s);
    let problem = KwwProblem {
        lag_s: &lag_s,
        g: &[],
        weights: &weights,
        exponent_factor: ExponentFactor::Two,
        stretch: Stretch::Free {
            min: STRETCH[0],
            max: STRETCH[1],
        },
        baseline: BaselineMode::Given(1.0),
        tau_bounds_s: TAU_S,
        finite_window: None,
    };
    let row = |version: &str, n: usize, seconds: f64| {
        println!(
            "| fit, stretch free, 105 lags | {version} | {:.0} a second |",
            n as f64 / seconds
        );
    };
    let fitter = KwwFitter::new(&problem);
    let (seconds, found) = fastest(5, || -> Vec<KwwFit> {
        curves.iter().map(|g| fitter.fit(g)).collect()
    });
    row("halotau", N_CURVES, seconds);
    let (seconds, alone) = fastest(2, || -> Vec<KwwFit> {
        let alone = |g: &Vec<f64>| fit(&KwwProblem { g, ..problem });
        curves.iter().map(alone).collect()
    });
    row("halotau, each curve alone", N_CURVES, seconds);
    for (among, alone) in found.iter().zip(&alone) {
        assert!((among.cost / alone.cost - 1.0).abs() < COST_TOLERANCE);
    }
}
