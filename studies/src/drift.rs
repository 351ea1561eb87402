//! Are drift, its error, bad scans and the vacuum edge right?
//!
//! ```console
//! cargo run --manifest-path studies/Cargo.toml --bin drift -- course 50        # drift, seeds 1 to 50 of every case
//! cargo run --manifest-path studies/Cargo.toml --bin drift -- course 10 edge   # cases whose name holds a word
//! cargo run --manifest-path studies/Cargo.toml --bin drift -- scans 50         # bad scans and false alarms
//! cargo run --manifest-path studies/Cargo.toml --bin drift -- edge 20          # vacuum
//! ```
//!
//! The glass is made by `glass.rs`, not by the simulation of halotau.

mod glass;

use std::borrow::Cow;

use glass::{Glass, Memory, Q_STEP_PER_NM, SIDE};
use halotau::calibrate::Calibration;
use halotau::conditions::{self, Measured};
use halotau::current::Reason;
use halotau::drift::{Course, DriftMethod, DriftOrigin};
use halotau::ndarray::{Array2, Array5, s};
use halotau::recipe::Recipe;
use halotau::reduce::{ReducePlan, ReduceSettings, Shard};
use halotau::series::Stated;
use halotau::source::{FrameSource, MemorySeries};
use rand_distr::{Distribution, StandardNormal};
use rand_xoshiro::Xoshiro256PlusPlus;
use rand_xoshiro::rand_core::SeedableRng;

const PERIOD_S: f64 = 10.0;

/// A sample with vacuum beside it that grows thicker away from it.
fn wedge(seed: u64) -> Glass {
    Glass {
        edge: Some(straight_edge),
        thickness_gradient: 0.4,
        ..base(seed)
    }
}

fn base(seed: u64) -> Glass {
    let n_times = 40;
    Glass {
        seed,
        n_rows: 20,
        n_cols: 20,
        n_times,
        step_nm: 0.16,
        aperture_per_nm: 0.638,
        tau_scans: 30.0,
        ln_tau_spread: 0.3,
        tau_length: 5.0,
        memory: Memory::OfAtoms,
        counts: 20.0,
        course: vec![(0.0, 0.0); n_times],
        thickness_gradient: 0.0,
        edge: None,
        current: vec![1.0; n_times],
        flicker: 0.0,
    }
}

/// A steady drift of `total` steps over the record, 0.7 of it along columns the other way, and a random walk of `jitter` steps a scan.
fn moving(mut glass: Glass, total: f64, jitter: f64) -> Glass {
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(glass.seed ^ 0x5eed);
    let mut walk = (0.0, 0.0);
    let n = glass.n_times as f64;
    glass.course = (0..glass.n_times)
        .map(|time| {
            if time > 0 {
                let (a, b): (f64, f64) = (
                    StandardNormal.sample(&mut rng),
                    StandardNormal.sample(&mut rng),
                );
                walk.0 += jitter * a;
                walk.1 += jitter * b;
            }
            let at = time as f64 / n;
            (total * at + walk.0, -0.7 * total * at + walk.1)
        })
        .collect();
    glass
}

fn measure(glass: &Glass, counts: &Array5<u16>, method: DriftMethod) -> Measured {
    let mut source =
        MemorySeries::from_counts("glass", counts.view()).expect("counts are a series");
    let stated = |value| Some(Stated::new(value, "study"));
    let header = source.header_mut();
    (header.temperature_k, header.step_nm, header.period_s) =
        (stated(633.0), stated(glass.step_nm), stated(PERIOD_S));
    let every_pixel = Array2::from_elem((SIDE, SIDE), true);
    let calibration = Calibration::centered((8.5, 8.5), Q_STEP_PER_NM, every_pixel);
    let mut recipe = Recipe::default();
    recipe.microscope.voltage_kv = Some(200.0);
    recipe.microscope.convergence_mrad = Some(1.6);
    recipe.drift.method = method;
    recipe.scan.edge_margin_nm = 0.0;
    let plan = ReduceSettings::of(source.header(), calibration, recipe.annulus_range())
        .expect("the ring is there");
    let plan = ReducePlan::new(source.header(), plan).expect("the plan fits");
    let (reduction, rings) = plan.reduce(&source, 1 << 24).expect("all frames are there");
    let load = |shard: &Shard| Ok(Cow::Borrowed(&rings[shard.index]));
    conditions::measure(&reduction, &recipe, None, &load).expect("the drift is inside the field")
}

/// Errors of one direction over seeds.
#[derive(Default)]
struct Tally {
    off: Vec<f64>,
    error: Vec<f64>,
    unknown: usize,
    wrong_steps: usize,
    contradicted: usize,
    origin: [usize; 3],
}

impl Tally {
    fn add(&mut self, course: &Course, truth: &[f64]) {
        if course.origin == DriftOrigin::Unknown || !course.is_certain() {
            self.unknown += 1;
            return;
        }
        match course.origin {
            DriftOrigin::Speckle => self.origin[0] += 1,
            DriftOrigin::Images => self.origin[1] += 1,
            _ => self.origin[2] += 1,
        }
        let difference: Vec<f64> = course.steps.iter().zip(truth).map(|(a, b)| a - b).collect();
        let n = difference.len() as f64;
        let mean = difference.iter().sum::<f64>() / n;
        self.off
            .push((difference.iter().map(|d| (d - mean).powi(2)).sum::<f64>() / n).sqrt());
        self.error.push(course.rms_error());
        self.contradicted += usize::from(course.is_contradicted());
        // A whole step is wrong where it leaves more than one step of the truth.
        let left: Vec<f64> = course
            .whole_steps()
            .iter()
            .zip(truth)
            .map(|(whole, truth)| truth - *whole as f64)
            .collect();
        let middle = left.iter().sum::<f64>() / n;
        self.wrong_steps += left
            .iter()
            .filter(|left| (*left - middle).abs() > 1.0)
            .count();
    }

    fn row(&self) -> String {
        let rms = |values: &[f64]| {
            (values.iter().map(|v| v * v).sum::<f64>() / values.len() as f64).sqrt()
        };
        let within = self
            .off
            .iter()
            .zip(&self.error)
            .filter(|(off, error)| **off <= 2.0 * **error)
            .count();
        let most = self.off.iter().copied().fold(0.0, f64::max);
        let (off, error) = (rms(&self.off), rms(&self.error));
        format!(
            "{off:.3} | {most:.2} | {error:.3} | {:.2} | {within}/{} | {} | {} | {:?} | {}",
            off / error,
            self.off.len(),
            self.unknown,
            self.wrong_steps,
            self.origin,
            self.contradicted
        )
    }
}

fn straight_edge(_: f64, col: f64) -> f64 {
    col - 4.5
}

fn course(n_seeds: u64, word: &str) {
    println!(
        "| case | direction | rms off | largest | rms error | off/error | within 2σ | unknown | wrong steps | speckle, images, both | contradicted |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|---|");
    type Make = fn(u64) -> Glass;
    let cases: [(&str, DriftMethod, Make); 16] = [
        ("still", DriftMethod::Auto, base),
        ("1 step", DriftMethod::Auto, |seed| {
            moving(base(seed), 1.0, 0.03)
        }),
        ("3 steps", DriftMethod::Auto, |seed| {
            moving(base(seed), 3.0, 0.05)
        }),
        ("3 steps, 0.1 jitter", DriftMethod::Auto, |seed| {
            moving(base(seed), 3.0, 0.1)
        }),
        ("3 steps, 2 counts", DriftMethod::Auto, |seed| {
            moving(
                Glass {
                    counts: 2.0,
                    ..base(seed)
                },
                3.0,
                0.05,
            )
        }),
        ("3 steps, 0.5 counts", DriftMethod::Auto, |seed| {
            moving(
                Glass {
                    counts: 0.5,
                    ..base(seed)
                },
                3.0,
                0.05,
            )
        }),
        ("3 steps, 0.1 counts", DriftMethod::Auto, |seed| {
            moving(
                Glass {
                    counts: 0.1,
                    ..base(seed)
                },
                3.0,
                0.05,
            )
        }),
        ("3 steps, 0.04 counts", DriftMethod::Auto, |seed| {
            moving(
                Glass {
                    counts: 0.04,
                    ..base(seed)
                },
                3.0,
                0.05,
            )
        }),
        ("3 steps, fast", DriftMethod::Auto, |seed| {
            moving(
                Glass {
                    tau_scans: 4.0,
                    ..base(seed)
                },
                3.0,
                0.05,
            )
        }),
        ("gradient of tau, atoms, still", DriftMethod::Auto, |seed| {
            Glass {
                ln_tau_spread: 0.7,
                tau_length: 16.0,
                ..base(seed)
            }
        }),
        (
            "gradient of tau, positions, still",
            DriftMethod::Auto,
            |seed| Glass {
                ln_tau_spread: 0.7,
                tau_length: 16.0,
                memory: Memory::OfPositions,
                ..base(seed)
            },
        ),
        ("tau map, positions, 3 steps", DriftMethod::Auto, |seed| {
            moving(
                Glass {
                    ln_tau_spread: 0.6,
                    memory: Memory::OfPositions,
                    ..base(seed)
                },
                3.0,
                0.05,
            )
        }),
        ("tau map, atoms, 3 steps", DriftMethod::Auto, |seed| {
            moving(
                Glass {
                    ln_tau_spread: 0.6,
                    ..base(seed)
                },
                3.0,
                0.05,
            )
        }),
        ("edge, 3 steps", DriftMethod::Auto, |seed| {
            moving(wedge(seed), 3.0, 0.05)
        }),
        (
            "edge, 3 steps, speckle alone",
            DriftMethod::Speckle,
            |seed| moving(wedge(seed), 3.0, 0.05),
        ),
        ("edge, 3 steps, images alone", DriftMethod::Images, |seed| {
            moving(wedge(seed), 3.0, 0.05)
        }),
    ];
    for (name, method, make) in cases.into_iter().filter(|(name, ..)| name.contains(word)) {
        let (mut row, mut col) = (Tally::default(), Tally::default());
        for seed in 1..=n_seeds {
            let glass = make(seed);
            let measured = measure(&glass, &glass.counts(), method);
            let drift = measured
                .conditions
                .drift
                .as_ref()
                .expect("it was looked for");
            let (rows, cols): (Vec<f64>, Vec<f64>) = glass.course.iter().copied().unzip();
            row.add(&drift.row, &rows);
            col.add(&drift.col, &cols);
        }
        println!("| {name} | rows | {} |", row.row());
        println!("| {name} | columns | {} |", col.row());
    }
}

/// Share of seeds in which what happened is found, and how much else is left out.
fn scans(n_seeds: u64, word: &str) {
    println!("| case | found | scans left out in error | frames left out in error |");
    println!("|---|---|---|---|");
    type Spoil = fn(&mut Array5<u16>);
    // Flicker from frame to frame; current of scan 17.
    let cases: [(&str, Option<Reason>, Spoil, f64, f64); 9] = [
        ("nothing", None, |_| {}, 0.0, 1.0),
        ("5 % flicker", None, |_| {}, 0.05, 1.0),
        ("15 % flicker", None, |_| {}, 0.15, 1.0),
        ("50 % drop", Some(Reason::Blink), |_| {}, 0.05, 0.5),
        ("20 % drop", Some(Reason::Blink), |_| {}, 0.05, 0.8),
        (
            "dropped scan",
            Some(Reason::Lost),
            |counts: &mut Array5<u16>| counts.slice_mut(s![17, .., .., .., ..]).fill(0),
            0.05,
            1.0,
        ),
        (
            "doubled scan",
            Some(Reason::Doubled),
            |counts: &mut Array5<u16>| {
                let before = counts.slice(s![16, .., .., .., ..]).to_owned();
                counts.slice_mut(s![17, .., .., .., ..]).assign(&before);
            },
            0.05,
            1.0,
        ),
        (
            "jump of the stage in one scan",
            Some(Reason::Distorted),
            |counts: &mut Array5<u16>| {
                let cut = counts.slice(s![17, .., .., .., ..]).to_owned();
                let n_rows = counts.dim().1;
                for row in 0..n_rows {
                    let from = 7 * row % n_rows;
                    counts
                        .slice_mut(s![17, row, .., .., ..])
                        .assign(&cut.slice(s![from, .., .., ..]));
                }
            },
            0.05,
            1.0,
        ),
        (
            "half a scan lost",
            Some(Reason::Lost),
            |counts: &mut Array5<u16>| counts.slice_mut(s![17, 10.., .., .., ..]).fill(0),
            0.05,
            1.0,
        ),
    ];
    for (name, expected, spoil, flicker, current) in
        cases.into_iter().filter(|(name, ..)| name.contains(word))
    {
        let (mut found, mut false_scans, mut false_frames) = (0, 0, 0);
        for seed in 1..=n_seeds {
            let mut glass = Glass {
                flicker,
                ..moving(base(seed), 1.0, 0.03)
            };
            glass.current[17] = current;
            let mut counts = glass.counts();
            spoil(&mut counts);
            let measured = measure(&glass, &counts, DriftMethod::Auto);
            for out in &measured.conditions.left_out {
                if out.time == 17 && expected.is_some() && out.n_frames.is_none() {
                    found += 1;
                } else if let Some(n) = out.n_frames {
                    false_frames += n;
                } else {
                    false_scans += 1;
                }
            }
        }
        let found = expected.map_or("-".to_owned(), |_| format!("{found}/{n_seeds}"));
        println!(
            "| {name} | {found} | {false_scans} of {} | {false_frames} of {} |",
            n_seeds * 40,
            n_seeds * 40 * 400
        );
    }
}

/// Whether vacuum is found to within a step.
fn edges(n_seeds: u64, word: &str) {
    println!(
        "| edge | edges found | vacuum too wide by (steps) | farthest misplaced position | vacuum positions without an edge |"
    );
    println!("|---|---|---|---|---|");
    type Edge = fn(f64, f64) -> f64;
    let cases: [(&str, Option<Edge>, f64); 9] = [
        ("none", None, 0.0),
        ("none, 40 % wedge", None, 0.4),
        ("vertical", Some(|_, col| col - 4.3), 0.0),
        ("vertical, 40 % wedge", Some(|_, col| col - 4.3), 0.4),
        ("vertical, right", Some(|_, col| 15.2 - col), 0.4),
        ("horizontal", Some(|row, _| row - 5.6), 0.0),
        (
            "oblique",
            Some(|row, col| (row + col - 12.0) / 2f64.sqrt()),
            0.4,
        ),
        (
            "oblique, flat",
            Some(|row, col| (3.0 * col + row - 18.0) / 10f64.sqrt()),
            0.4,
        ),
        (
            "curved",
            Some(|row, col| (row - 30.0).hypot(col - 30.0).mul_add(-1.0, 33.0)),
            0.4,
        ),
    ];
    for (name, edge, thickness_gradient) in
        cases.into_iter().filter(|(name, ..)| name.contains(word))
    {
        let (mut n_found, mut n_false, mut wider, mut most) = (0, 0, 0.0, 0.0_f64);
        for seed in 1..=n_seeds {
            let glass = Glass {
                edge,
                thickness_gradient,
                n_times: 20,
                ..moving(base(seed), 1.0, 0.02)
            };
            let measured = measure(&glass, &glass.counts(), DriftMethod::Auto);
            let vacuum = &measured.conditions.region.vacuum;
            let Some(edge) = edge else {
                n_false += vacuum.iter().filter(|&&v| v).count();
                continue;
            };
            n_found += usize::from(vacuum.iter().any(|&v| v));
            let is_at_edge =
                |&(row, col): &(usize, usize)| edge(row as f64, col as f64).abs() < 0.5;
            let length = (0..20)
                .flat_map(|row| (0..20).map(move |col| (row, col)))
                .filter(is_at_edge)
                .count();
            for ((row, col), &found) in vacuum.indexed_iter() {
                let truth = edge(row as f64, col as f64);
                if found != (truth < 0.0) {
                    wider += if found { 1.0 } else { -1.0 } / length as f64;
                    most = most.max(truth.abs());
                }
            }
        }
        println!(
            "| {name} | {n_found}/{n_seeds} | {:+.2} | {most:.2} | {n_false} |",
            wider / n_seeds as f64
        );
    }
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let n_seeds = arguments.get(1).and_then(|n| n.parse().ok()).unwrap_or(10);
    let word = arguments.get(2).map_or("", String::as_str);
    match arguments.first().map(String::as_str) {
        Some("scans") => scans(n_seeds, word),
        Some("edge") => edges(n_seeds, word),
        _ => course(n_seeds, word),
    }
}
