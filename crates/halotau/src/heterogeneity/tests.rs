//! Maps of known variation: what comes back, and how often the truth lies within the interval.

use ndarray::Array2;
use rand::SeedableRng;
use rand_xoshiro::Xoshiro256PlusPlus;

use super::*;
use crate::correlogram::smooth_field;

const SHAPE: (usize, usize) = (40, 40);
/// Steps: 0.78 nm over 0.16 nm would be 4.9; a smaller probe makes a smaller field of as many areas.
const PROBE_STEPS: f64 = 3.0;
/// Distance of 1/e that it makes: 3/sqrt(2 ln 2).
const PROBE_LENGTH: f64 = 2.548;
const LIMIT_S: f64 = 3000.0;

/// Halves of ln tau about ln 1000 s with a spread and a length in steps, and errors as wide as the probe with the standard deviation 0.3.
fn halves(sd: f64, length: f64, seed: u64) -> [Array2<f64>; 2] {
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
    let truth = sd * smooth_field(SHAPE, length, &mut rng);
    [(); 2].map(|()| {
        let noise = 0.3 * smooth_field(SHAPE, PROBE_LENGTH, &mut rng);
        (&truth + noise).mapv(|around| (1000.0_f64.ln() + around).exp())
    })
}

fn measure(tau_s: &[Array2<f64>; 2]) -> Heterogeneity {
    let v = Array2::from_elem(SHAPE, 0.5);
    heterogeneity(&HeterogeneityInput {
        halves: HalfMaps {
            tau_s: [tau_s[0].view(), tau_s[1].view()],
            fluctuation: [v.view(), v.view()],
        },
        looked_at: Array2::from_elem(SHAPE, true).view(),
        limit_s: LIMIT_S,
        probe_steps: PROBE_STEPS,
        step_nm: 0.25,
        level: 0.95,
        seed: 1,
    })
}

/// Mean estimate and how many of so many intervals hold the truth.
fn mean_and_covered(estimates: &[Estimate], truth: f64) -> (f64, usize) {
    let mean =
        estimates.iter().map(|estimate| estimate.value).sum::<f64>() / estimates.len() as f64;
    let within = |estimate: &&Estimate| (estimate.lower..=estimate.upper).contains(&truth);
    (mean, estimates.iter().filter(within).count())
}

#[test]
fn spread_and_length_come_back_without_the_noise() {
    // 5 steps beyond the probe, seen through it.
    let (sd, length) = (0.5, 5.0);
    let seen = f64::hypot(length, PROBE_LENGTH);
    let (mut sds, mut lengths, mut n_censored) = (Vec::new(), Vec::new(), 0);
    let n = 16;
    for seed in 0..n {
        let tau_s = halves(sd, seen, seed);
        let found = measure(&tau_s).ln_tau.unwrap();
        assert!(found.is_beyond_noise());
        sds.push(found.sd);
        lengths.extend(found.length);
        n_censored += found.n_censored;
    }
    // A few per cent beyond the limit.
    assert!(n_censored > 16 * 10);
    let (mean, covered) = mean_and_covered(&sds, sd);
    assert!((mean - sd).abs() < 0.03, "{mean}");
    assert!(covered >= 13, "{covered} of {n}");
    let (_, covered) = mean_and_covered(&lengths, 0.25 * length);
    let values: Vec<f64> = lengths.iter().map(|length| length.value).collect();
    let median = crate::rank::median(&values);
    // A field of 16 independent areas says the length to 25 %.
    assert!((median - 0.25 * length).abs() < 0.25, "{median} nm");
    assert!(
        lengths.len() >= 11 && covered + 3 >= lengths.len(),
        "{covered} of {}",
        lengths.len()
    );
}

#[test]
fn noise_is_not_taken_for_differences() {
    let mut found = 0;
    for seed in 0..100 {
        let tau_s = halves(0.0, 5.0, 500 + seed);
        let of_tau = measure(&tau_s).ln_tau.unwrap();
        found += usize::from(of_tau.is_beyond_noise());
        assert!(
            of_tau.is_beyond_noise() || of_tau.sd.upper < 0.25,
            "{of_tau:?}"
        );
    }
    // 5 of 100 with a standard error of 2.
    assert!(found <= 12, "{found} of 100");
}

#[test]
fn censoring_does_not_narrow_the_spread() {
    // A third is beyond 3000 s.
    let shift = 2.0;
    let (mut mean, mut plain) = (0.0, 0.0);
    for seed in 0..6 {
        let tau_s = halves(0.8, 5.0, 900 + seed).map(|map| shift * map);
        let found = measure(&tau_s).ln_tau.unwrap();
        assert!(found.n_censored > 200, "{}", found.n_censored);
        mean += found.sd.value / 6.0;
        let cut = tau_s[0].mapv(|tau| tau.min(LIMIT_S).ln());
        plain += cut.std(0.0) / 6.0;
    }
    assert!((mean - 0.8).abs() < 0.08, "{mean}");
    assert!(plain < 0.72, "{plain}");
}

#[test]
fn a_map_as_wide_as_the_probe_has_no_length_of_its_own() {
    let resolved = (0..20)
        .filter(|&seed| {
            let tau_s = halves(0.5, PROBE_LENGTH, 2000 + seed);
            measure(&tau_s).ln_tau.unwrap().length.is_some()
        })
        .count();
    // The lower end of a 95 % interval: one of 40.
    assert!(resolved <= 3, "{resolved} of 20");
}

#[test]
fn few_positions_say_nothing() {
    let map = Array2::from_elem((4, 4), 1.0);
    let found = heterogeneity(&HeterogeneityInput {
        halves: HalfMaps {
            tau_s: [map.view(), map.view()],
            fluctuation: [map.view(), map.view()],
        },
        looked_at: Array2::from_elem((4, 4), true).view(),
        limit_s: 1e4,
        probe_steps: 4.9,
        step_nm: 0.16,
        level: 0.95,
        seed: 1,
    });
    assert_eq!((found.ln_tau, found.fluctuation), (None, None));
}
