//! Is a tau that differs over the ring found, and one that does not left alone?
//!
//! ```console
//! cargo run --manifest-path studies/Cargo.toml --bin over_ring -- 20          # data sets of every situation
//! cargo run --manifest-path studies/Cargo.toml --bin over_ring -- 20 1 null   # of those whose name holds "null"; 1 is the first seed
//! ```
//!
//! The glass is that of `light.rs`, all pixels of 3.0-5.8 1/nm, with Poisson counts; the whole analysis runs on patterns made of them. *Alone*: 12 x 12 positions that
//! share nothing. *Shared*: 16 x 16 positions 0.32 nm apart under a probe of 0.78 nm.

#[allow(dead_code, reason = "other studies use the rest")]
mod light;

use halotau::analysis::Analysis;
use halotau::calibrate::Calibration;
use halotau::ndarray::{Array2, Array5};
use halotau::recipe::{Profile, Recipe};
use halotau::reduce::{ReducePlan, ReduceSettings};
use halotau::series::Stated;
use halotau::source::{FrameSource, MemorySeries};
use light::{N_TIMES, PROBE_NM, Q_STEP_PER_NM, RECORD_S, RingPixels, STEP_S, Sample, normal_map};
use rand_distr::{Distribution, Poisson};
use rand_xoshiro::Xoshiro256PlusPlus;
use rand_xoshiro::rand_core::SeedableRng;

/// Patterns hold all pixels up to 5.8 1/nm.
const SIDE: usize = 52;
const CENTER: f64 = 25.5;

/// What is simulated.
#[derive(Debug, Clone, Copy)]
struct Situation {
    name: &'static str,
    shared: bool,
    friedel: bool,
    /// In records, at the middle of the ring.
    tau: f64,
    /// Of ln tau over positions.
    spread: f64,
    power: f64,
    /// Counts over those of the paper.
    dose: f32,
}

const PLAIN: Situation = Situation {
    name: "null",
    shared: false,
    friedel: false,
    tau: 0.3,
    spread: 0.0,
    power: 0.0,
    dose: 1.0,
};

const SITUATIONS: [Situation; 10] = [
    PLAIN,
    Situation {
        name: "null, one record",
        tau: 1.0,
        ..PLAIN
    },
    Situation {
        name: "null, three records",
        tau: 3.0,
        ..PLAIN
    },
    Situation {
        name: "null, tau varies",
        tau: 0.7,
        spread: 0.7,
        ..PLAIN
    },
    Situation {
        name: "null, +Q and -Q alike",
        friedel: true,
        ..PLAIN
    },
    Situation {
        name: "null, a fifth of the counts",
        dose: 0.2,
        ..PLAIN
    },
    Situation {
        name: "null, shared",
        shared: true,
        ..PLAIN
    },
    Situation {
        name: "null, shared, tau varies",
        shared: true,
        tau: 0.7,
        spread: 0.7,
        ..PLAIN
    },
    Situation {
        name: "Q^-2",
        power: -2.0,
        ..PLAIN
    },
    Situation {
        name: "Q^-0.5, shared",
        shared: true,
        power: -0.5,
        ..PLAIN
    },
];

impl Situation {
    fn analysis(&self, pixels: &RingPixels, seed: u64) -> Analysis {
        let (shape, step_nm) = if self.shared {
            ((16, 16), Some(0.32))
        } else {
            ((12, 12), None)
        };
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed ^ 0x5eed_0000_0000);
        let varied = normal_map(shape, step_nm.map(|step| 0.576 / step), &mut rng);
        let sample = Sample {
            tau_s: varied.mapv(|score| self.tau * RECORD_S * (self.spread * score).exp()),
            fluctuation: Array2::from_elem(shape, 0.55),
            step_nm,
            tau_power: self.power,
        };
        let counts = sample.counted(pixels, seed, |mean, rng| {
            let expected = (mean * self.dose).max(1e-6);
            Poisson::new(expected).map_or(0.0, |poisson| poisson.sample(rng))
        });
        let mut patterns = Array5::<u16>::zeros((N_TIMES, shape.0, shape.1, SIDE, SIDE));
        let place = |at: f64| (at + CENTER) as usize;
        for (at, position) in counts.outer_iter().enumerate() {
            for (time, scan) in position.outer_iter().enumerate() {
                for (pixel, count) in scan.iter().enumerate() {
                    let (row, col) = (place(pixels.row[pixel]), place(pixels.col[pixel]));
                    patterns[[time, at / shape.1, at % shape.1, row, col]] = *count as u16;
                }
            }
        }
        let mut source = MemorySeries::from_counts("study", patterns.view()).expect("a series");
        let stated = |value| Some(Stated::new(value, "study"));
        let header = source.header_mut();
        header.temperature_k = stated(633.0);
        header.step_nm = stated(step_nm.unwrap_or(2.0));
        header.period_s = stated(STEP_S);
        let open = Array2::from_shape_fn((SIDE, SIDE), |(row, col)| {
            (row as f64 - CENTER).abs() >= 3.0 || (col as f64) > CENTER
        });
        let calibration = Calibration::centered((CENTER, CENTER), Q_STEP_PER_NM, open);
        let mut recipe = Recipe::of(Profile::Recommended);
        recipe.microscope.probe_fwhm_nm = Some(PROBE_NM);
        let settings = ReduceSettings::of(source.header(), calibration, recipe.annulus_range())
            .expect("settings");
        let plan = ReducePlan::new(source.header(), settings).expect("a plan");
        let (reduction, rings) = plan.reduce(&source, 1 << 28).expect("a reduction");
        halotau::map::analyze_in_memory(&reduction, &rings, &recipe).expect("an analysis")
    }
}

fn mean_and_error(values: &[f64]) -> (f64, f64) {
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    let variance = values.iter().map(|v| (v - mean) * (v - mean)).sum::<f64>() / (n - 1.0);
    (mean, (variance / n).sqrt())
}

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let number = |at: usize, or: u64| words.get(at).and_then(|n| n.parse().ok()).unwrap_or(or);
    let (n_sets, first) = (number(0, 10), number(1, 1));
    println!(
        "| situation | data sets | p below 0.05 | 0.01 | called different | outer over inner | stated error, % | true inside | d ln tau/d ln Q | bands over their mean | M | other warnings |"
    );
    for situation in SITUATIONS {
        if words
            .get(2)
            .is_some_and(|word| !situation.name.contains(word.as_str()))
        {
            continue;
        }
        let pixels = RingPixels::new(3.0, 5.8, situation.friedel);
        let (mut below, mut far_below, mut called, mut inside, mut missing) = (0, 0, 0, 0, 0);
        let mut columns: [Vec<f64>; 4] = Default::default();
        let mut bands: Vec<Vec<f64>> = Vec::new();
        let mut warned = 0;
        for seed in first..first + n_sets {
            let analysis = situation.analysis(&pixels, seed * 64 + situation.name.len() as u64);
            warned += u64::from(analysis.warnings.iter().any(|one| one.code == "W052"));
            let Some(found) = analysis.q_dependence else {
                missing += 1;
                continue;
            };
            below += u64::from(found.p_value < 0.05);
            far_below += u64::from(found.p_value < 0.01);
            called += u64::from(found.is_dependent());
            let q_ratio = found.bands[found.bands.len() - 1].q_per_nm / found.bands[0].q_per_nm;
            let ratio = found.outer_over_inner;
            let truth = q_ratio.powf(situation.power);
            inside += u64::from(ratio.lower <= truth && truth <= ratio.upper);
            let numbers = [
                ratio.value / truth,
                100.0 * ratio.error / ratio.value,
                found.slope.value,
                found.n_effective,
            ];
            columns
                .iter_mut()
                .zip(numbers)
                .for_each(|(column, number)| column.push(number));
            bands.resize(bands.len().max(found.bands.len()), Vec::new());
            for (to, band) in bands.iter_mut().zip(&found.bands) {
                to.push(band.tau_ratio.value);
            }
        }
        let [ratio, error, slope, n] = columns.map(|column| mean_and_error(&column));
        let bands: Vec<String> = bands
            .iter()
            .map(|band| format!("{:.3}", mean_and_error(band).0))
            .collect();
        println!(
            "| {} | {} | {below} | {far_below} | {called} | {:.3} ± {:.3} of the truth | {:.1} | {inside} | {:.2} ± {:.2} | {} | {:.0} | W052 {warned}, none {missing} |",
            situation.name,
            n_sets,
            ratio.0,
            ratio.1,
            error.0,
            slope.0,
            slope.1,
            bands.join(" "),
            n.0,
        );
    }
}
