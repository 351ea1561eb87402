//! Does the test of the relation find what is there, and only that? And does a constant tau give no energy?
//!
//! ```console
//! cargo run --manifest-path studies/Cargo.toml --bin relation -- size 100       # data sets of every situation without a relation
//! cargo run --manifest-path studies/Cargo.toml --bin relation -- one 200        # the same, of those with one tau (A8)
//! cargo run --manifest-path studies/Cargo.toml --bin relation -- varied 250     # the same, of those where tau varies
//! cargo run --manifest-path studies/Cargo.toml --bin relation -- link 25        # a relation of known strength
//! cargo run --manifest-path studies/Cargo.toml --bin relation -- power 20       # the paper's field, true rank correlation 0.4
//! cargo run --manifest-path studies/Cargo.toml --bin relation -- arrhenius 20   # series of constant tau with the paper's records
//! ```
//!
//! A second number is the first seed; after it `independent` or `overlapping` leaves out the other in `size`, `one` and `varied`. The glass is made by `light.rs`: pixels of the ring 4.2-4.6 1/nm alone, so that tau and V of a half of the
//! directions rest on about 14 speckles, a seventh of what the band holds.

mod light;

use halotau::arrhenius::{ArrheniusPoint, Average, fit};
use halotau::correlate::{n_pairs, one_time, per_pixel_curve, two_time};
use halotau::ndarray::{Array2, Array3, ArrayView2, Axis, s};
use halotau::rank::{median, spearman};
use halotau::relate::{
    ChecksInput, DecoupledRelation, HalfMaps, RelationChecks, checks, decoupled,
};
use halotau::relax::{
    BaselineMode, ExponentFactor, KwwFitter, KwwProblem, Stretch, Weights, lag_weights,
};
use light::{
    N_TIMES, RECORD_S, RingPixels, STEP_S, Sample, flattened, fluctuation, normal_map, uniform_of,
};
use rand_xoshiro::Xoshiro256PlusPlus;
use rand_xoshiro::rand_core::SeedableRng;

/// What tau and V are.
#[derive(Debug, Clone, Copy)]
enum Truth {
    /// One tau, in records, and V = 0.55.
    One(f64),
    /// ln tau normal about 1000 s with 0.7, V = 0.55.
    TauVaries,
    /// The same, and V from 0.45 to 0.75 with this correlation of the normal scores.
    Both(f64),
}

impl Truth {
    fn name(self) -> String {
        match self {
            Self::One(records) => format!("one tau, {records} records"),
            Self::TauVaries => "tau varies".to_owned(),
            Self::Both(0.0) => "tau and V vary apart".to_owned(),
            Self::Both(link) => format!("linked by {link}"),
        }
    }

    fn sample(self, shape: (usize, usize), step_nm: Option<f64>, seed: u64) -> Sample {
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed ^ 0x5eed_0000_0000);
        // Truth is smoother than the probe: sigma 0.58 nm.
        let sigma = step_nm.map(|step_nm| 0.576 / step_nm);
        let (a, b) = (
            normal_map(shape, sigma, &mut rng),
            normal_map(shape, sigma, &mut rng),
        );
        let varied = a.mapv(|a| (1000.0 * (0.7 * a).exp()).clamp(200.0, 5000.0));
        let (tau_s, fluctuation) = match self {
            Self::One(records) => (
                Array2::from_elem(shape, records * RECORD_S),
                Array2::from_elem(shape, 0.55),
            ),
            Self::TauVaries => (varied, Array2::from_elem(shape, 0.55)),
            Self::Both(link) => (
                varied,
                Array2::from_shape_fn(shape, |at| {
                    let score = link * a[at] + (1.0 - link * link).sqrt() * b[at];
                    0.45 + 0.3 * uniform_of(score)
                }),
            ),
        };
        Sample {
            tau_s,
            fluctuation,
            step_nm,
            tau_power: 0.0,
        }
    }
}

/// The fit of the paper's form to curves of so many scans.
fn fitter(n_times: usize, step_s: f64) -> KwwFitter {
    let lag_s: Vec<f64> = (1..n_times).map(|lag| lag as f64 * step_s).collect();
    let mut weights = lag_weights(&n_pairs(&vec![true; n_times]), Weights::LagCount);
    // Lags beyond half of the record add more scatter than they know.
    weights
        .iter_mut()
        .skip(n_times / 2)
        .for_each(|weight| *weight = 0.0);
    KwwFitter::new(&KwwProblem {
        lag_s: &lag_s,
        g: &[],
        weights: &weights,
        exponent_factor: ExponentFactor::Two,
        stretch: Stretch::Fixed(1.0),
        baseline: BaselineMode::Given(1.0),
        tau_bounds_s: [0.5 * step_s, 20.0 * n_times as f64 * step_s],
        finite_window: None,
    })
}

fn curve(scans: ArrayView2<'_, f64>) -> Vec<f64> {
    let two_time = two_time(scans).expect("every scan has counts");
    one_time(two_time.view(), &vec![true; scans.nrows()])
}

/// tau and V of both halves and of the whole ring.
struct Maps {
    tau: [Array2<f64>; 3],
    v: [Array2<f64>; 3],
}

impl Maps {
    fn measure(sample: &Sample, pixels: &RingPixels, seed: u64) -> Self {
        let counts = sample.counts(pixels, seed);
        let fitter = fitter(N_TIMES, STEP_S);
        let [first, second] = pixels.halves();
        let sets = [first, second, (0..pixels.len()).collect()];
        let shape = sample.tau_s.dim();
        let map = |of: &dyn Fn(ArrayView2<'_, f32>) -> f64| {
            let values = counts.outer_iter().map(of).collect();
            Array2::from_shape_vec(shape, values).expect("a value a position")
        };
        Self {
            tau: sets.each_ref().map(|set| {
                map(&|counts| {
                    fitter
                        .fit(&curve(flattened(counts, pixels, set).view()))
                        .tau_s
                })
            }),
            v: sets
                .each_ref()
                .map(|set| map(&|counts| fluctuation(counts, pixels, set))),
        }
    }

    fn halves(&self) -> HalfMaps<'_> {
        HalfMaps {
            tau_s: [self.tau[0].view(), self.tau[1].view()],
            fluctuation: [self.v[0].view(), self.v[1].view()],
        }
    }

    fn relation(&self) -> DecoupledRelation {
        decoupled(&self.halves(), 0.95).expect("maps with values")
    }

    fn checks(&self, seed: u64) -> RelationChecks {
        checks(&ChecksInput {
            halves: self.halves(),
            apart: [self.tau[0].view(), self.v[1].view()],
            gap_per_nm: f64::NAN,
            covariates: &[],
            level: 0.95,
            seed,
        })
        .expect("maps with values")
    }

    fn coupled(&self) -> f64 {
        let list = |map: &Array2<f64>| map.iter().copied().collect::<Vec<f64>>();
        spearman(&list(&self.tau[2]), &list(&self.v[2]))
    }
}

fn mean_and_error(values: &[f64]) -> (f64, f64) {
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    let variance = values.iter().map(|v| (v - mean) * (v - mean)).sum::<f64>() / (n - 1.0);
    (mean, (variance / n).sqrt())
}

/// Largest distance of p-values from even ones over what 5 % of even ones exceed (Kolmogorov and Smirnov).
fn unevenness(mut p_values: Vec<f64>) -> f64 {
    p_values.sort_by(f64::total_cmp);
    let n = p_values.len() as f64;
    let distances = p_values.iter().enumerate().map(|(rank, p)| {
        let (below, above) = (rank as f64 / n, (rank + 1) as f64 / n);
        (p - below).abs().max((p - above).abs())
    });
    distances.fold(0.0, f64::max) * n.sqrt() / 1.358
}

fn size(n_sets: u64, first: u64, only: Option<&str>, what: Option<&str>) {
    println!(
        "layout,speckles at -Q,situation,data sets,positions,found at 5 %,mean r,error,unevenness of p,tau halves,V halves,\
         phases found,torus found,coupled rho,predicted as here,predicted one tau"
    );
    let (mut all, mut all_found) = (0, 0);
    // 10 x 10 positions that share nothing; 24 x 24 positions 0.32 nm apart.
    for (layout, shape, step_nm) in [
        ("independent", (10, 10), None),
        ("overlapping", (24, 24), Some(0.32)),
    ] {
        if only.is_some_and(|only| only != layout) {
            continue;
        }
        for (friedel, truth) in [
            (false, Truth::One(0.3)),
            (false, Truth::One(1.0)),
            (false, Truth::One(3.0)),
            (false, Truth::TauVaries),
            (false, Truth::Both(0.0)),
            (true, Truth::One(1.0)),
            (true, Truth::TauVaries),
            (true, Truth::Both(0.0)),
        ] {
            let is_one = matches!(truth, Truth::One(_));
            if what == Some("one") && !is_one || what == Some("varied") && is_one {
                continue;
            }
            let pixels = RingPixels::new(4.2, 4.6, friedel);
            let mut p_values = Vec::new();
            let (mut found, mut phases, mut torus) = (0, 0, 0);
            let mut columns: [Vec<f64>; 6] = Default::default();
            for seed in first..first + n_sets {
                let item = seed * 64 + u64::from(friedel) * 16 + layout.len() as u64;
                let sample = truth.sample(shape, step_nm, item);
                let maps = Maps::measure(&sample, &pixels, item);
                let relation = maps.relation();
                let checks = maps.checks(seed);
                found += u64::from(relation.p_value < 0.05);
                p_values.push(relation.p_value);
                phases += u64::from(checks.p_phases < 0.05);
                torus += u64::from(checks.p_torus < 0.05);
                let numbers = [
                    relation.correlation.value,
                    relation.tau_reliability,
                    relation.fluctuation_reliability,
                    maps.coupled(),
                    checks.coupled.as_here,
                    checks.coupled.one_tau,
                ];
                columns
                    .iter_mut()
                    .zip(numbers)
                    .for_each(|(column, number)| column.push(number));
            }
            let [r, tau, v, coupled, as_here, one_tau] =
                columns.map(|column| mean_and_error(&column));
            println!(
                "{layout},{},{},{n_sets},{},{found},{:.4},{:.4},{:.2},{:.3},{:.3},{phases},{torus},{:.3},{:.3},{:.3}",
                if friedel { "the same" } else { "others" },
                truth.name(),
                n_sets as usize * shape.0 * shape.1,
                r.0,
                r.1,
                unevenness(p_values),
                tau.0,
                v.0,
                coupled.0,
                as_here.0,
                one_tau.0
            );
            all += n_sets;
            all_found += found;
        }
    }
    println!(
        "all: {all_found} of {all} found, {:.2} %",
        100.0 * all_found as f64 / all as f64
    );
}

fn link(n_sets: u64, first: u64) {
    println!("true,r,corrected,refused");
    let pixels = RingPixels::new(4.2, 4.6, false);
    let (mut truths, mut raw, mut corrected, mut refused) = (vec![], vec![], vec![], 0);
    for seed in first..first + n_sets {
        let sample = Truth::Both(0.4).sample((20, 20), None, seed);
        let relation = Maps::measure(&sample, &pixels, seed).relation();
        let list = |map: &Array2<f64>| map.iter().copied().collect::<Vec<f64>>();
        truths.push(spearman(&list(&sample.tau_s), &list(&sample.fluctuation)));
        raw.push(relation.correlation.value);
        match relation.corrected {
            Some(estimate) => corrected.push(estimate.value),
            None => refused += 1,
        }
    }
    for (name, values) in [("true", &truths), ("r", &raw), ("corrected", &corrected)] {
        let (mean, error) = mean_and_error(values);
        println!("{name}: {mean:.3} ± {error:.3} of {}", values.len());
    }
    println!("refused: {refused} of {n_sets}");
}

fn power(n_sets: u64, first: u64) {
    let pixels = RingPixels::new(4.2, 4.6, false);
    let mut found = 0;
    let mut columns: [Vec<f64>; 4] = Default::default();
    for seed in first..first + n_sets {
        let sample = Truth::Both(0.415).sample((60, 60), Some(0.16), seed);
        let relation = Maps::measure(&sample, &pixels, seed).relation();
        found += u64::from(relation.p_value < 0.05);
        let numbers = [
            relation.correlation.value,
            relation.tau_reliability,
            relation.fluctuation_reliability,
            relation.n_effective,
        ];
        columns
            .iter_mut()
            .zip(numbers)
            .for_each(|(column, number)| column.push(number));
    }
    let [r, tau, v, n] = columns.map(|column| mean_and_error(&column).0);
    println!(
        "found {found} of {n_sets}; r {r:.3}, reliabilities {tau:.2} and {v:.2}, effective positions {n:.0}"
    );
}

/// What a tau is measured with.
#[derive(Debug, Clone, Copy)]
enum Estimator {
    Ring,
    PerPixel,
    /// The ring after every temperature was cut to the shortest record and the longest step.
    RingAlike,
}

fn arrhenius(n_series: u64, first: u64) {
    println!("tau (s),estimator,E (kJ/mol),its standard error,mean stated error,zero inside");
    let pixels = RingPixels::new(4.2, 4.6, false);
    let all: Vec<usize> = (0..pixels.len()).collect();
    let n_positions = 100;
    for tau_s in [300.0, 1000.0] {
        for estimator in [Estimator::Ring, Estimator::PerPixel, Estimator::RingAlike] {
            let (mut energies, mut errors, mut inside) = (vec![], vec![], 0);
            for seed in first..first + n_series {
                let points: Vec<ArrheniusPoint> = [633.0, 643.0, 653.0, 663.0, 673.0]
                    .into_iter()
                    .enumerate()
                    .map(|(index, temperature_k)| {
                        // Half the record from 653 K on: the simulator's scan is then half as long.
                        let slower = if index < 2 { 1.0 } else { 0.5 };
                        let sample = Sample {
                            tau_s: Array2::from_elem((10, n_positions / 10), tau_s / slower),
                            fluctuation: Array2::from_elem((10, n_positions / 10), 0.55),
                            step_nm: None,
                            tau_power: 0.0,
                        };
                        let counts = sample.counts(&pixels, seed * 8 + index as u64);
                        let taus = taus(&counts, &pixels, &all, slower * STEP_S, estimator, index);
                        let logs: Vec<f64> = taus.iter().map(|tau| tau.ln()).collect();
                        let (_, error) = mean_and_error(&logs);
                        ArrheniusPoint {
                            temperature_k,
                            tau_s: median(&taus),
                            // The median of normal values scatters by sqrt(π/2) more than the mean.
                            ln_tau_error: 1.2533 * error,
                        }
                    })
                    .collect();
                let line = fit(&points, Average::Median, 0.95).expect("five temperatures");
                let [lower, upper] = line.activation_energy_interval_kj_per_mol;
                inside += u64::from(lower <= 0.0 && 0.0 <= upper);
                energies.push(line.activation_energy_kj_per_mol);
                errors.push(line.activation_energy_error_kj_per_mol);
            }
            let (mean, error) = mean_and_error(&energies);
            println!(
                "{tau_s},{estimator:?},{mean:.1},{error:.1},{:.1},{inside} of {n_series}",
                mean_and_error(&errors).0
            );
        }
    }
}

fn taus(
    counts: &Array3<f32>,
    pixels: &RingPixels,
    all: &[usize],
    step_s: f64,
    estimator: Estimator,
    temperature: usize,
) -> Vec<f64> {
    let counts = match (estimator, temperature) {
        (Estimator::RingAlike, 0 | 1) => counts.slice(s![.., ..N_TIMES / 2, ..]).to_owned(),
        (Estimator::RingAlike, _) => counts.slice(s![.., ..;2, ..]).to_owned(),
        _ => counts.clone(),
    };
    let step_s = match (estimator, temperature) {
        (Estimator::RingAlike, 2..) => 2.0 * step_s,
        _ => step_s,
    };
    let fitter = fitter(counts.len_of(Axis(1)), step_s);
    counts
        .outer_iter()
        .map(|counts| {
            let scans = flattened(counts, pixels, all);
            let g = match estimator {
                Estimator::PerPixel => per_pixel_curve(scans.view(), &vec![true; scans.nrows()]),
                _ => curve(scans.view()),
            };
            fitter.fit(&g).tau_s
        })
        .collect()
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number = |at: usize, or: u64| arguments.get(at).and_then(|n| n.parse().ok()).unwrap_or(or);
    let (n, first) = (number(1, 10), number(2, 1));
    match arguments.first().map(String::as_str) {
        Some("link") => link(n, first),
        Some("power") => power(n, first),
        Some("arrhenius") => arrhenius(n, first),
        Some("speckles") => {
            let pixels = RingPixels::new(4.2, 4.6, false);
            let all: Vec<usize> = (0..pixels.len()).collect();
            println!(
                "{} pixels, {:.1} speckles",
                all.len(),
                pixels.n_speckles(&all)
            );
        }
        what => {
            let only = arguments.get(3).map(String::as_str);
            size(n, first, only, what);
        }
    }
}
