//! Is the decay stretched at each place, or is it a mixture of places; does a part of it not move?
//!
//! ```text
//! groups  positions sorted by tau from one half of the directions, their mean curve from the other, both ways
//! spread  σ² = cov over positions (ln tau_A, ln tau_B)                       of tau itself, without noise
//! mean    g − 1 = contrast · ∫ N(z) exp[−k (t / (tau e^{σz}))^stretch] dz     with σ held: `stretch` is that of a place
//! static  g − 1 = contrast · ⟨(1 − f)² + 2 f (1 − f) h + f² h²⟩_z,            h² the decay above, 1 − f of the field at rest
//! two     g − 1 = contrast · [(1 − w) exp(−k t/tau₁) + w exp(−k t/tau₂)]
//! ```
//!
//! Choosing slow positions by the half that is then averaged would choose slow noise and bend the curve; the other half knows nothing of it.
//! Groups hold positions of different tau still, because tau of a half is noisy, so that their stretch lies between that of the region and that of a
//! place. Models are compared by the covariance of the lags among tiles.

use serde::{Deserialize, Serialize};

use super::covariance::{Fitted, TileMean};
use super::measure::Field;
use super::simplex::minimize;
use super::tiles::without_each;
use super::{interval_text, p_text};
use crate::correlate::n_pairs;
use crate::relax::Stretch;
use crate::statistics::Estimate;

/// Groups of tau.
const N_GROUPS: usize = 4;

/// Bounds of a stretch that is looked for.
const STRETCH_BOUNDS: [f64; 2] = [0.2, 3.0];

/// Relaxation times beyond this many records are not told apart.
const LONGEST_RECORDS: f64 = 3.0;

/// Classes of lag at most for the comparison of models; tiles must outnumber them.
const MAX_CLASSES: usize = 7;

/// Lags up to this share of the record are compared; beyond, few pairs of scans are left.
const COMPARED: f64 = 0.6;

/// A static part is told from a slow one in records that hold at least this many tau.
const MIN_RECORDS_OF_TAU: f64 = 2.0;

/// Differences of Akaike's criterion below this mean little.
const MIN_AICC: f64 = 2.0;

/// Names of two models.
const STRETCHED: &str = "stretched, measured spread of tau";
const AT_REST: &str = "part at rest, measured spread of tau";

/// Nodes and weights of the mean over a standard normal variable: Gauss and Hermite with nine points.
const NODES: [(f64, f64); 9] = [
    (-4.512_745_863_399_783, 2.234_584_400_774_66e-5),
    (-3.205_429_002_856_47, 2.789_141_321_231_77e-3),
    (-2.076_847_978_677_83, 4.991_640_676_521_78e-2),
    (-1.023_255_663_789_13, 0.244_097_502_894_939),
    (0.0, 0.406_349_206_349_206),
    (1.023_255_663_789_13, 0.244_097_502_894_939),
    (2.076_847_978_677_83, 4.991_640_676_521_78e-2),
    (3.205_429_002_856_47, 2.789_141_321_231_77e-3),
    (4.512_745_863_399_783, 2.234_584_400_774_66e-5),
];

/// The form of the decay.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StretchTest {
    /// Stretch of the mean curve of the region.
    pub region: Estimate,
    /// Its tau, with the stretch free.
    pub region_tau_s: Estimate,
    /// Standard deviation of ln tau over positions without noise.
    pub ln_tau_spread: Estimate,
    /// Stretch of a place: that of the mean curve with the spread taken out.
    pub local: Estimate,
    /// Mean curves of positions of similar tau, from the fastest.
    pub groups: Vec<Group>,
    /// Models of the mean curve.
    pub models: Vec<Model>,
    /// Share of the field at rest, 1 − f of the model, where the record is long enough to tell; in [0, 1].
    #[serde(with = "crate::nonfinite")]
    pub static_share: f64,
    /// Probability of so much of it where nothing is at rest.
    #[serde(with = "crate::nonfinite")]
    pub static_p_value: f64,
    /// Records in tau of the region.
    #[serde(with = "crate::nonfinite")]
    pub records_of_tau: f64,
    /// The mean curve: lag in seconds, excess over the baseline with its interval, in classes of lag.
    pub curve: Vec<super::AtLag>,
}

/// The mean curve of positions of similar tau.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Group {
    /// Positions, counted once for each half.
    pub n: usize,
    /// tau of the curve.
    pub tau_s: Estimate,
    /// Its stretch.
    pub stretch: Estimate,
}

/// A model of the mean curve.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Model {
    /// What it is.
    pub name: String,
    /// Its parameters, the contrast included.
    pub n_parameters: usize,
    /// Probability of a misfit so large where it is true.
    #[serde(with = "crate::nonfinite")]
    pub fit_p_value: f64,
    /// The simpler model it is compared with.
    pub against: Option<String>,
    /// Probability of an improvement so large over that one where that one is true.
    #[serde(with = "crate::nonfinite")]
    pub p_value: f64,
    /// Akaike's criterion for few tiles; the lowest is best, and differences below 2 mean little.
    #[serde(with = "crate::nonfinite")]
    pub aicc: f64,
}

impl StretchTest {
    /// What it says.
    pub fn sentence(&self) -> String {
        let excludes_one = |estimate: &Estimate| estimate.lower > 1.0 || estimate.upper < 1.0;
        let mut text = format!(
            "The mean curve has the stretch {}; places differ by σ(ln τ) = {} beyond noise, and with that taken out the stretch of a place is {}",
            interval_text(&self.region),
            interval_text(&self.ln_tau_spread),
            interval_text(&self.local)
        );
        text.push_str(match (excludes_one(&self.region), excludes_one(&self.local)) {
            (_, true) => ": the decay of a place departs from an exponential, as far as τ is spread log-normally.",
            (true, false) => ": the mixture of places is enough to explain the form of the mean curve.",
            (false, false) => ": an exponential decay is not excluded.",
        });
        text.push_str(&self.at_rest());
        text
    }

    /// What it says of a part at rest.
    fn at_rest(&self) -> String {
        if self.records_of_tau < MIN_RECORDS_OF_TAU {
            return format!(
                " The record is {:.1} τ long: a part at rest cannot be told from a slow one.",
                self.records_of_tau
            );
        }
        if self.static_p_value.is_nan() {
            return String::new();
        }
        let p = p_text(self.static_p_value);
        if self.static_p_value >= 0.05 {
            return format!(" No part at rest is needed ({p}).");
        }
        let aicc = |name: &str| {
            let model = self.models.iter().find(|model| model.name == name);
            model.map_or(f64::NAN, |model| model.aicc)
        };
        if aicc(AT_REST) < aicc(STRETCHED) - MIN_AICC {
            format!(
                " A share of {:.2} of the field that does not move within the record describes the curve better than an exponential ({p}) and \
                 than a stretched decay.",
                self.static_share
            )
        } else {
            " A part at rest would describe the curve better than an exponential, but a stretched decay does so as well: it is not \
             shown."
                .to_owned()
        }
    }
}

/// Tests the form of the decay; `tiles` holds the mean excess of each tile, `[tile][lag]`. `None` without enough positions or contrast.
pub(super) fn test(field: &Field<'_>, tiles: &[Vec<f64>]) -> Option<StretchTest> {
    let settings = field.settings;
    let n_tiles = tiles.len();
    let errors = field.tiles.errors();
    if field.records.len() < 2 * N_GROUPS * n_tiles {
        return None;
    }
    let free = Stretch::Free {
        min: STRETCH_BOUNDS[0],
        max: STRETCH_BOUNDS[1],
    };
    let level = settings.level;
    let spreads = Spreads::of(field);
    let mean_curve = |without: Option<usize>| -> Vec<f64> {
        (0..settings.lag_s.len())
            .map(|lag| {
                let kept = tiles
                    .iter()
                    .enumerate()
                    .filter(|(tile, _)| Some(*tile) != without);
                let values = kept
                    .map(|(_, curve)| curve[lag])
                    .filter(|value| value.is_finite());
                let (sum, n) = values.fold((0.0, 0.0), |(sum, n), value| (sum + value, n + 1.0));
                sum / n
            })
            .collect()
    };
    let fit = |without| settings.fit(&mean_curve(without), &settings.valid, free);
    let region = without_each(errors, level, |without| fit(without).stretch);
    if !region.value.is_finite() {
        return None;
    }
    let region_tau_s = without_each(errors, level, |without| fit(without).tau_s);
    let k = settings.exponent_factor.value();
    let pairs = n_pairs(&settings.valid);
    let local = without_each(errors, level, |without| {
        let curve = mean_curve(without);
        let spread = spreads.spread(without);
        local_stretch(
            &settings.lag_s,
            &curve,
            &pairs,
            k,
            spread,
            fit(without).tau_s,
        )
    });
    let (lag_classes, class_s) = classes(&settings.lag_s, settings.record_s, n_tiles);
    let of_classes: Vec<Vec<f64>> = tiles
        .iter()
        .map(|curve| {
            let mean = |lags: &std::ops::Range<usize>| {
                let values = curve[lags.clone()].iter().filter(|value| value.is_finite());
                let (sum, n) = values.fold((0.0, 0.0), |(sum, n), value| (sum + value, n + 1.0));
                sum / n
            };
            lag_classes.iter().map(mean).collect()
        })
        .collect();
    let curve = class_s
        .iter()
        .enumerate()
        .map(|(class, &lag_s)| super::AtLag {
            lag_s,
            estimate: without_each(errors, level, |without| {
                let kept = of_classes
                    .iter()
                    .enumerate()
                    .filter(|(tile, _)| Some(*tile) != without);
                let (sum, n) = kept.fold((0.0, 0.0), |(sum, n), (_, c)| (sum + c[class], n + 1.0));
                sum / n
            }),
        })
        .collect();
    let decay = Decay {
        lag_s: &settings.lag_s,
        classes: &lag_classes,
        k,
        spread: spreads.spread(None),
        tau_s: region_tau_s.value,
        widening: errors.widening,
    };
    let records_of_tau = settings.record_s / region_tau_s.value;
    let (models, static_share, static_p_value) = decay.models(&of_classes);
    let told = records_of_tau >= MIN_RECORDS_OF_TAU;
    Some(StretchTest {
        region,
        region_tau_s,
        ln_tau_spread: root(&without_each(errors, level, |without| {
            spreads.variance(without)
        })),
        local,
        groups: groups(field, free),
        models,
        static_share: if told { static_share } else { f64::NAN },
        static_p_value: if told { static_p_value } else { f64::NAN },
        records_of_tau,
        curve,
    })
}

/// Sums of each tile that give the spread of ln tau.
struct Spreads {
    /// n, Σ x_A, Σ x_B, Σ x_A x_B.
    tiles: Vec<[f64; 4]>,
}

impl Spreads {
    fn of(field: &Field<'_>) -> Self {
        let longest = LONGEST_RECORDS * field.settings.record_s;
        let mut tiles = vec![[0.0; 4]; field.tiles.len()];
        for record in field.records {
            let [a, b] = record
                .halves
                .each_ref()
                .map(|half| libm::log(half.tau_s.min(longest)));
            if a.is_finite() && b.is_finite() {
                let sums = &mut tiles[field.tile(record)];
                [1.0, a, b, a * b]
                    .into_iter()
                    .zip(sums)
                    .for_each(|(value, sum)| *sum += value);
            }
        }
        Self { tiles }
    }

    /// Variance of ln tau without noise; negative where the halves disagree by chance.
    fn variance(&self, without: Option<usize>) -> f64 {
        let kept = self
            .tiles
            .iter()
            .enumerate()
            .filter(|(tile, _)| Some(*tile) != without);
        let [n, a, b, ab] = kept.fold([0.0; 4], |mut sum, (_, tile)| {
            sum.iter_mut()
                .zip(tile)
                .for_each(|(sum, value)| *sum += value);
            sum
        });
        ab / n - a / n * b / n
    }

    /// Standard deviation of ln tau without noise; 0 where the halves disagree.
    fn spread(&self, without: Option<usize>) -> f64 {
        libm::sqrt(self.variance(without).max(0.0))
    }
}

/// The root of a variance with the roots of its interval, zero where it is negative.
fn root(variance: &Estimate) -> Estimate {
    let root = |value: f64| libm::sqrt(value.max(0.0));
    Estimate {
        value: root(variance.value),
        error: 0.5 * variance.error / root(variance.value).max(root(variance.error)),
        lower: root(variance.lower),
        upper: root(variance.upper),
    }
}

/// Mean over a log-normal spread of a function of the relative time constant.
fn over_spread(spread: f64, f: impl Fn(f64) -> f64) -> f64 {
    if spread < 1e-3 {
        return f(0.0);
    }
    NODES
        .iter()
        .map(|&(node, weight)| weight * f(spread * node))
        .sum()
}

/// Stretch of the mean curve with the spread held, by least squares with the numbers of pairs as weights.
fn local_stretch(
    lag_s: &[f64],
    curve: &[f64],
    pairs: &[usize],
    k: f64,
    spread: f64,
    tau_s: f64,
) -> f64 {
    let logs: Vec<f64> = lag_s.iter().map(|&lag| libm::log(lag)).collect();
    let cost = |at: &[f64]| {
        let stretch = libm::exp(at[1]);
        if !(STRETCH_BOUNDS[0]..=STRETCH_BOUNDS[1]).contains(&stretch) {
            return f64::INFINITY;
        }
        let (mut ff, mut fg, mut gg) = (0.0, 0.0, 0.0);
        for ((ln_lag, &g), &n) in logs.iter().zip(curve).zip(pairs) {
            if n == 0 || !g.is_finite() {
                continue;
            }
            let f = over_spread(spread, |z| {
                libm::exp(-k * libm::exp(stretch * (ln_lag - at[0] - z)))
            });
            let weight = n as f64;
            ff += weight * f * f;
            fg += weight * f * g;
            gg += weight * g * g;
        }
        gg - if fg > 0.0 { fg * fg / ff } else { 0.0 }
    };
    let (at, cost) = minimize(&[libm::log(tau_s), 0.0], &[0.3, -0.2], &cost);
    if cost.is_finite() {
        libm::exp(at[1])
    } else {
        f64::NAN
    }
}

/// Ranges of lags, by index, for the comparison of models, with their mean lags.
fn classes(
    lag_s: &[f64],
    record_s: f64,
    n_tiles: usize,
) -> (Vec<std::ops::Range<usize>>, Vec<f64>) {
    let n_lags = lag_s
        .iter()
        .take_while(|&&lag| lag <= COMPARED * record_s)
        .count();
    let n = MAX_CLASSES.min((n_tiles / 2).saturating_sub(1)).max(4);
    let mut edges: Vec<usize> = (0..=n)
        .map(|edge| {
            let share = edge as f64 / n as f64;
            libm::round(libm::pow(n_lags as f64 + 1.0, share)) as usize - 1
        })
        .collect();
    edges.dedup();
    let ranges: Vec<std::ops::Range<usize>> =
        edges.windows(2).map(|pair| pair[0]..pair[1]).collect();
    let means = ranges
        .iter()
        .map(|range| lag_s[range.clone()].iter().sum::<f64>() / range.len() as f64)
        .collect();
    (ranges, means)
}

/// The models of the mean curve.
struct Decay<'a> {
    lag_s: &'a [f64],
    classes: &'a [std::ops::Range<usize>],
    k: f64,
    spread: f64,
    tau_s: f64,
    /// How much more mean curves scatter than tiles say.
    widening: f64,
}

impl Decay<'_> {
    /// Mean over the lags of each class of a function of ln lag.
    fn of_classes(&self, f: &dyn Fn(f64) -> f64) -> Option<Vec<f64>> {
        let mean = |class: &std::ops::Range<usize>| {
            let values = self.lag_s[class.clone()]
                .iter()
                .map(|&lag| f(libm::log(lag)));
            values.sum::<f64>() / class.len() as f64
        };
        let values: Vec<f64> = self.classes.iter().map(mean).collect();
        values
            .iter()
            .all(|value| value.is_finite())
            .then_some(values)
    }

    fn kww(&self, spread: f64, ln_tau: f64, stretch: f64) -> Option<Vec<f64>> {
        if !(STRETCH_BOUNDS[0]..=STRETCH_BOUNDS[1]).contains(&stretch) {
            return None;
        }
        self.of_classes(&|ln_lag| {
            over_spread(spread, |z| {
                libm::exp(-self.k * libm::exp(stretch * (ln_lag - ln_tau - z)))
            })
        })
    }

    /// All models, the share at rest and its probability.
    fn models(&self, tiles: &[Vec<f64>]) -> (Vec<Model>, f64, f64) {
        let Some(mean) = TileMean::new(tiles, self.widening) else {
            return (Vec::new(), f64::NAN, f64::NAN);
        };
        let ln_tau = libm::log(self.tau_s);
        let one = |spread: f64| {
            mean.fit(&[vec![ln_tau], vec![ln_tau + 1.0]], &[0.3], &|at| {
                self.kww(spread, at[0], 1.0)
            })
        };
        let stretched = |spread: f64| {
            let starts = [vec![ln_tau, 0.0], vec![ln_tau, -0.4]];
            mean.fit(&starts, &[0.3, -0.2], &|at| {
                self.kww(spread, at[0], libm::exp(at[1]))
            })
        };
        let (plain, kww) = (one(0.0), stretched(0.0));
        let (mixture, mixture_kww) = (one(self.spread), stretched(self.spread));
        // The share that moves, kept within (0, 1] by its form.
        let moving = |at: &[f64]| 1.0 - at[1] * at[1];
        let resting = mean.fit(
            &[vec![ln_tau, 0.1], vec![ln_tau - 0.5, 0.6]],
            &[0.3, 0.2],
            &|at| {
                let f = moving(at);
                if f <= 0.0 {
                    return None;
                }
                self.of_classes(&|ln_lag| {
                    over_spread(self.spread, |z| {
                        let h = libm::exp(-0.5 * self.k * libm::exp(ln_lag - at[0] - z));
                        (1.0 - f) * (1.0 - f) + 2.0 * f * (1.0 - f) * h + f * f * h * h
                    })
                })
            },
        );
        let share = resting.parameters.get(1).map_or(f64::NAN, |x| x * x);
        // A share has one side: half of the improvements that chance makes go the other way.
        let static_p = 0.5 * mean.extra_p_value(&mixture, &resting);
        let name = |text: &str| text.to_owned();
        let model = |text: &str, fitted: &Fitted, against: Option<(&str, f64)>| Model {
            name: name(text),
            n_parameters: fitted.n_parameters,
            fit_p_value: mean.fit_p_value(fitted),
            against: against.map(|(text, _)| name(text)),
            p_value: against.map_or(f64::NAN, |(_, p)| p),
            aicc: mean.aicc(fitted),
        };
        let extra = |simple: &Fitted, rich: &Fitted| mean.extra_p_value(simple, rich);
        let mut models = vec![
            model("exponential", &plain, None),
            model(
                "stretched",
                &kww,
                Some(("exponential", extra(&plain, &kww))),
            ),
            model("exponential, measured spread of tau", &mixture, None),
            model(
                STRETCHED,
                &mixture_kww,
                Some((
                    "exponential, measured spread of tau",
                    extra(&mixture, &mixture_kww),
                )),
            ),
            model(
                AT_REST,
                &resting,
                Some(("exponential, measured spread of tau", static_p)),
            ),
        ];
        if mean.len() > 4 {
            let two = mean.fit(
                &[vec![ln_tau - 0.7, 1.5, 0.0], vec![ln_tau - 0.2, 2.5, -1.0]],
                &[0.3, 0.5, 0.5],
                &|at| {
                    let slow = 1.0 / (1.0 + libm::exp(-at[2]));
                    self.of_classes(&|ln_lag| {
                        let part = |ln_tau: f64| libm::exp(-self.k * libm::exp(ln_lag - ln_tau));
                        (1.0 - slow) * part(at[0]) + slow * part(at[0] + at[1])
                    })
                },
            );
            let p = extra(&plain, &two);
            models.push(model("two exponentials", &two, Some(("exponential", p))));
        }
        (models, share, static_p)
    }
}

/// Mean curves of groups of tau, each half sorted by the other.
fn groups(field: &Field<'_>, free: Stretch) -> Vec<Group> {
    let settings = field.settings;
    let (n_tiles, n_lags) = (field.tiles.len(), settings.lag_s.len());
    let errors = field.tiles.errors();
    // [group][tile]: sum of curves, and how many.
    let mut sums = vec![vec![(vec![0.0; n_lags], 0.0); n_tiles]; N_GROUPS];
    for half in 0..2 {
        let mut order: Vec<usize> = (0..field.records.len())
            .filter(|&index| !field.records[index].halves[1 - half].tau_s.is_nan())
            .collect();
        let tau = |index: usize| field.records[index].halves[1 - half].tau_s;
        order.sort_by(|&a, &b| tau(a).total_cmp(&tau(b)));
        for (rank, &index) in order.iter().enumerate() {
            let record = &field.records[index];
            let curve = &record.halves[half].curve;
            if !settings.is_whole(curve.iter().map(|&value| f64::from(value))) {
                continue;
            }
            let part = &mut sums[rank * N_GROUPS / order.len()][field.tile(record)];
            let values = part.0.iter_mut().zip(curve);
            values.for_each(|(sum, &value)| *sum += f64::from(value));
            part.1 += 1.0;
        }
    }
    sums.iter()
        .map(|tiles| {
            let fit = |without: Option<usize>| {
                let mut mean = vec![0.0; n_lags];
                let mut n = 0.0;
                for (_, (sum, count)) in tiles
                    .iter()
                    .enumerate()
                    .filter(|(t, _)| Some(*t) != without)
                {
                    mean.iter_mut()
                        .zip(sum)
                        .for_each(|(mean, sum)| *mean += sum);
                    n += count;
                }
                mean.iter_mut().for_each(|mean| *mean /= n);
                settings.fit(&mean, &settings.valid, free)
            };
            Group {
                n: tiles.iter().map(|(_, n)| *n as usize).sum(),
                tau_s: without_each(errors, settings.level, |without| fit(without).tau_s),
                stretch: without_each(errors, settings.level, |without| fit(without).stretch),
            }
        })
        .collect()
}
