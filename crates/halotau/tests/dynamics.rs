//! More than one relaxation time: what is there is found, and what is not there is not.
//!
//! Light data, each position independent: the false alarms of many seeds are in `docs/validation.md`; here few seeds keep the tests honest.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "dynamics/light.rs"]
mod light;

use halotau::analysis::Estimate;
use halotau::dynamics::rings::RingGeometry;
use halotau::dynamics::{Dynamics, RingCurves, RingTimes, Tiles};
use halotau::ndarray::Array2;
use halotau::series::Position;
use light::{Light, smooth};

fn holds(estimate: &Estimate, value: f64) -> bool {
    estimate.lower <= value && value <= estimate.upper
}

/// Probabilities of tests that have little to do with each other.
fn p_values(dynamics: &Dynamics) -> [f64; 6] {
    let aging = dynamics.aging.as_ref().unwrap();
    let fluctuations = dynamics.fluctuations.as_ref().unwrap();
    let stretch = dynamics.stretch.as_ref().unwrap();
    [
        aging.p_value,
        aging.contrast_p_value,
        fluctuations.local_p_value,
        fluctuations.shared_p_value,
        dynamics.four_point.as_ref().unwrap().p_value,
        stretch.static_p_value,
    ]
}

#[test]
fn nothing_is_found_where_nothing_is() {
    let n_seeds = 4;
    let (mut n_flagged, mut n_low) = (0, 0);
    for seed in 0..n_seeds {
        let light = Light {
            seed: 100 + seed,
            ..Light::default()
        };
        let (dynamics, changed) = light.dynamics();
        n_flagged += changed;
        let all = p_values(&dynamics);
        // Ten thousand such numbers hold one so low.
        assert!(all.iter().all(|&p| p > 1e-4), "seed {seed}: {all:?}");
        n_low += all.iter().filter(|&&p| p < 0.05).count();
        assert!(dynamics.four_point.unwrap().length.is_none());
    }
    // 5 % of 24 are one; those of one record are not independent of each other.
    assert!(n_low <= 8, "{n_low} of 24");
    // 1 % of 1600 are 16.
    assert!((4..=34).contains(&n_flagged), "{n_flagged}");
}

#[test]
fn aging_is_found_with_its_size() {
    // The sample's clock runs at 1 − 0.3 t: 0.925 in the middle of the early half, 0.775 of the late.
    let light = Light {
        clock: Box::new(|time, _, _| time - 0.15 * time * time),
        ..Light::default()
    };
    let aging = light.dynamics().0.aging.unwrap();
    assert!(aging.p_value < 1e-4 && aging.slope.value > 0.0);
    assert!(holds(&aging.ratio, 0.925 / 0.775), "{:?}", aging.ratio);
    assert!(aging.sentence().contains("slower with age"));
}

#[test]
fn single_positions_that_change_are_flagged() {
    // One position of twenty stops for good in the middle of the record.
    let stops = |row: usize, col: usize| (row + 3 * col).is_multiple_of(20);
    let light = Light {
        n_speckles: 60,
        clock: Box::new(move |time, row, col| {
            if stops(row, col) {
                3.0 * time.min(0.5)
            } else {
                time
            }
        }),
        ..Light::default()
    };
    let (dynamics, n_flagged) = light.dynamics();
    assert!(n_flagged >= 14, "{n_flagged} of 20");
    assert!(n_flagged <= 30, "{n_flagged} of 20");
    assert!(dynamics.aging.unwrap().n_changed == n_flagged);
}

#[test]
fn bursts_of_places_are_told_from_those_of_all() {
    let at = smooth(20, 0.3, 9).mapv(|x| 0.5 + 0.25 * x.sin());
    let burst = |time: f64, at: f64| 0.7 * time + if time > at { 0.3 } else { 0.0 };
    let local = Light {
        clock: Box::new(move |time, row, col| burst(time, at[[row, col]])),
        ..Light::default()
    };
    let found = local.dynamics().0.fluctuations.unwrap();
    assert!(found.local_p_value < 1e-3, "{found:?}");
    let all = Light {
        clock: Box::new(move |time, _, _| burst(time, 0.5)),
        ..Light::default()
    };
    let found = all.dynamics().0.fluctuations.unwrap();
    assert!(
        found.shared_p_value < 1e-3 && found.local_p_value > 1e-3,
        "{found:?}"
    );
    assert!(found.sentence().contains("Distant places"));
}

#[test]
fn a_mixture_is_told_from_a_stretched_decay() {
    let map = smooth(20, 0.3, 5);
    let truth = 0.6 * map.std(0.0);
    let mixed = Light {
        ln_tau: Box::new(move |row, col| 0.25_f64.ln() + 0.6 * map[[row, col]]),
        ..Light::default()
    };
    let test = mixed.dynamics().0.stretch.unwrap();
    assert!(test.region.upper < 0.9, "{:?}", test.region);
    assert!(holds(&test.local, 1.0), "{:?}", test.local);
    assert!(
        (test.ln_tau_spread.value - truth).abs() < 0.08,
        "{:?}",
        test.ln_tau_spread
    );
    // Groups are narrower than the region, and their decay is nearer to that of a place.
    assert!(
        test.groups
            .iter()
            .all(|group| group.stretch.value > test.region.value)
    );
    assert!(test.sentence().contains("mixture of places is enough"));

    let stretched = Light {
        stretch: 0.6,
        ..Light::default()
    };
    let test = stretched.dynamics().0.stretch.unwrap();
    assert!((test.local.value - 0.6).abs() < 0.08, "{:?}", test.local);
    assert!(test.local.upper < 0.8);
    assert!(test.sentence().contains("not shown"), "{}", test.sentence());
}

#[test]
fn a_part_at_rest_is_found_with_its_share() {
    let light = Light {
        moving: 0.7,
        ln_tau: Box::new(|_, _| 0.2_f64.ln()),
        ..Light::default()
    };
    let test = light.dynamics().0.stretch.unwrap();
    assert!(test.static_p_value < 1e-3);
    assert!(
        (test.static_share - 0.3).abs() < 0.08,
        "{}",
        test.static_share
    );
    assert!(test.sentence().contains("does not move within the record"));
}

#[test]
fn dynamics_correlated_in_space_have_their_length() {
    let map = smooth(20, 3.0, 6);
    let light = Light {
        ln_tau: Box::new(move |row, col| 0.3_f64.ln() + 0.5 * map[[row, col]]),
        ..Light::default()
    };
    let four = light.dynamics().0.four_point.unwrap();
    assert!(four.p_value < 1e-3);
    let length = four.length.unwrap();
    assert!(holds(&length, 3.0) && length.lower > 1.0, "{length:?}");
    // chi4 is S4 at zero frequency, highest at a lag near tau/2 where the overlap falls fastest.
    let best = four
        .chi4
        .iter()
        .max_by(|a, b| a.estimate.value.total_cmp(&b.estimate.value))
        .unwrap();
    assert!((0.07..0.3).contains(&best.lag_s), "{}", best.lag_s);
}

/// Two rings whose tau differ by a factor.
fn rings(factor: f64) -> RingTimes {
    let of = |seed: u64, tau: f64| Light {
        seed,
        side: 14,
        ln_tau: Box::new(move |_, _| tau.ln()),
        ..Light::default()
    };
    let lights = [of(1, 0.3), of(2, 0.3 * factor), of(3, 0.3)];
    let looked_at = Array2::from_elem((14, 14), true);
    let geometry = [3.0, 3.5, 4.0].map(|q| RingGeometry {
        q_min_per_nm: q,
        q_max_per_nm: q + 0.5,
        q_per_nm: q + 0.25,
        n_pixels: 40,
    });
    let tiles = Tiles::new(&looked_at, 1.0);
    let mut curves = RingCurves::new(lights[0].settings(), tiles, geometry.to_vec());
    let made = lights.each_ref().map(Light::curves);
    for index in 0..14 * 14 {
        let position = Position {
            row: index / 14,
            col: index % 14,
        };
        let of_rings: Vec<(Vec<f64>, f64)> = made
            .iter()
            .map(|curves| (curves[index].clone(), 5.0))
            .collect();
        curves.add(position, &of_rings);
    }
    curves.finish().unwrap()
}

#[test]
fn tau_against_q_is_equal_where_it_is() {
    let same = rings(1.0);
    assert!(same.p_value > 1e-3, "{same:?}");
    let other = rings(1.3);
    assert!(other.p_value < 1e-3, "{other:?}");
    let tau = other.rings[1].tau_s;
    assert!(holds(&tau, 0.39), "{tau:?}");
    assert!(other.sentence().contains("depends on Q"));
}
