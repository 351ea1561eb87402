//! How often do the tests of the dynamics cry wolf?
//!
//! ```console
//! cargo run --manifest-path studies/Cargo.toml --bin dynamics -- 100              # records of 400 independent positions
//! cargo run --manifest-path studies/Cargo.toml --bin dynamics -- 100 0 shared     # 24 x 24 positions under a probe of 2 steps; 0 is the first seed
//! cargo run --manifest-path studies/Cargo.toml --bin dynamics -- 100 0 varied     # the same, and tau varies with ln 0.5 over 4 steps
//! ```
//!
//! Positions have 40 speckles each, and no more than one relaxation time a position is there. Tests below 0.05 and 0.01 are counted.

#![allow(clippy::unwrap_used, reason = "a study ends where it cannot go on")]

#[path = "../../crates/halotau/tests/dynamics/light.rs"]
#[allow(dead_code, reason = "the tests use the rest")]
mod light;

use std::collections::BTreeMap;

use light::{Light, smooth};

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let number = |at: usize, or: u64| words.get(at).map_or(or, |n| n.parse().unwrap());
    let (n, first) = (number(0, 300), number(1, 0));
    let layout = words.get(2).map_or("apart", String::as_str);
    let (side, probe_steps) = if layout == "apart" {
        (20, None)
    } else {
        (24, Some(2.0))
    };
    let mut below: BTreeMap<String, [u64; 2]> = BTreeMap::new();
    let mut n_flagged = 0;
    let (mut covered, mut n_intervals) = ([0; 3], [0; 3]);
    for seed in first..first + n {
        let ln_tau = (layout == "varied").then(|| smooth(side, 4.0, 5000 + seed));
        let light = Light {
            seed: 1000 + seed,
            side,
            probe_steps,
            ln_tau: Box::new(move |row, col| {
                let varied = ln_tau.as_ref().map_or(0.0, |map| 0.5 * map[[row, col]]);
                0.3_f64.ln() + varied
            }),
            ..Light::default()
        };
        let (dynamics, changed) = light.dynamics();
        n_flagged += changed;
        let aging = dynamics.aging.unwrap();
        let fluctuations = dynamics.fluctuations.unwrap();
        let four = dynamics.four_point.unwrap();
        let stretch = dynamics.stretch.unwrap();
        let mut count = |name: &str, p: f64| {
            let hits = below.entry(name.to_owned()).or_default();
            hits[0] += u64::from(p < 0.05);
            hits[1] += u64::from(p < 0.01);
        };
        count("aging", aging.p_value);
        count("contrast", aging.contrast_p_value);
        count("bursts of places", fluctuations.local_p_value);
        count("bursts of all", fluctuations.shared_p_value);
        count("G4", four.p_value);
        count("part at rest", stretch.static_p_value);
        for model in &stretch.models {
            count(&format!("misfit: {}", model.name), model.fit_p_value);
            count(&format!("improvement: {}", model.name), model.p_value);
        }
        let holds =
            |lower: f64, upper: f64, truth: f64| usize::from(lower <= truth && truth <= upper);
        for (at, (estimate, truth)) in [
            (aging.ratio, 1.0),
            (stretch.region, 1.0),
            (stretch.local, 1.0),
        ]
        .into_iter()
        .enumerate()
        {
            covered[at] += holds(estimate.lower, estimate.upper, truth);
            n_intervals[at] += 1;
        }
        count(
            "length called resolved",
            if four.length.is_some() { 0.0 } else { 1.0 },
        );
    }
    println!(
        "{n} records, {n_flagged} of {} positions flagged",
        n * (side * side) as u64
    );
    for (name, [five, one]) in below {
        println!("{name:60} {five:4} below 0.05 {one:4} below 0.01");
    }
    for (name, at) in [
        ("ratio of the halves", 0),
        ("stretch of the region", 1),
        ("stretch of a place", 2),
    ] {
        println!(
            "{name:60} {:4} of {} intervals hold the truth",
            covered[at], n_intervals[at]
        );
    }
}
