//! Are places that forget early near each other?
//!
//! ```text
//! q(r, k, a) = [e(r, k, a) − s(k) e(r, 1)] / ē(1)        overlap at lag k and age a, whatever the contrast of the place
//! δq         = q − mean of q over positions
//! G4(D, k)   = ⟨δq_A(r) δq_B(r + D)⟩ over r, a           halves A, B of the directions: no speckle noise at any D
//! S4(p, k)   = (σ/σ_probe) Σ_D G4(D, k) J0(2π p D)       σ: area of a position, σ_probe = π (width/2)²
//! chi4(k)    = S4(0, k)                                  probe areas that relax together, times the variance
//! ```
//!
//! The mean over the field takes `chi4/N` away from every G4(D); it is put back. The probe alone correlates neighbors: an arrangement of fast and slow places without
//! any correlation is seen with that of the probe's intensity with itself. Both are near Gaussian, so that their squared lengths
//! subtract. G4 ~ exp[−(D/ξ)²].

use serde::{Deserialize, Serialize};

use super::measure::Field;
use super::tiles::{p_value_above, without_each};
use super::{AtLag, interval_text, number_text, p_text};
use crate::correlogram::{Distances, Products};
use crate::statistics::Estimate;

/// Blocks of ages that are looked at apart: G4 of a block needs all pairs of positions, and the excess changes little within tau/2.
const N_AGES: usize = 5;

/// Correlation is looked for up to this many probe widths.
const REACH_WIDTHS: f64 = 4.0;

/// Values of S4 up to the inverse width of the probe.
const N_WAVES: usize = 12;

/// The four-point functions.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FourPoint {
    /// chi4 at each lag.
    pub chi4: Vec<AtLag>,
    /// G4(0), the variance of the overlap over places and ages, at each lag.
    pub variance: Vec<AtLag>,
    /// The lag at which G4(0) is best known; the functions below are at this lag.
    pub lag_s: f64,
    /// Probability of a G4(0) so large, at the mean over the lags, where all places relax alike.
    #[serde(with = "crate::nonfinite")]
    pub p_value: f64,
    /// G4 against distance.
    pub g4: Vec<AtDistance>,
    /// S4 against spatial frequency.
    pub s4: Vec<AtWave>,
    /// Distance of 1/e of G4 as it is seen, in the unit of `unit`; NaN where there is no variance.
    pub apparent_length: Estimate,
    /// Distance of 1/e that the probe alone makes; NaN where its width is not known.
    #[serde(with = "crate::nonfinite")]
    pub probe_length: f64,
    /// Distance of 1/e beyond the probe; `None` where it is not resolved.
    pub length: Option<Estimate>,
    /// `nm`, or `steps` where the step is not known.
    pub unit: String,
}

/// G4 at a distance.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct AtDistance {
    /// Mean distance.
    pub distance: f64,
    /// The quantity.
    pub estimate: Estimate,
}

/// S4 at a spatial frequency.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct AtWave {
    /// Spatial frequency, one over the unit of length.
    pub wave: f64,
    /// The quantity.
    pub estimate: Estimate,
}

impl FourPoint {
    /// What it says.
    pub fn sentence(&self) -> String {
        if self.p_value.is_nan() || self.p_value >= 0.05 {
            return format!(
                "Places that relax faster than others are not found beyond the speckle noise ({}), so that there is no length of them: not \
                 resolved.",
                p_text(self.p_value)
            );
        }
        let known = self.variance.iter().find(|at| at.lag_s == self.lag_s);
        let spread = known.map_or(f64::NAN, |at| {
            100.0 * libm::sqrt(at.estimate.value.max(0.0))
        });
        let begin = format!(
            "The overlap after {} s differs from place to place by {spread:.0} % of the contrast beyond the speckle noise ({} over all lags).",
            number_text(self.lag_s),
            p_text(self.p_value)
        );
        match &self.length {
            Some(length) => format!(
                "{begin} It is correlated over ξ = {} {} beyond the probe.",
                interval_text(length),
                self.unit
            ),
            None => format!(
                "{begin} Its length in space, {} {}, is not resolved beyond the probe's {:.2} {}.",
                interval_text(&self.apparent_length),
                self.unit,
                self.probe_length,
                self.unit
            ),
        }
    }
}

/// Fields of both halves at one lag and age, less their means; zero where there is none.
struct Pair {
    there: Vec<f64>,
    halves: [Vec<f64>; 2],
}

/// Measures the four-point functions. `None` without enough positions or contrast.
pub(super) fn measure(field: &Field<'_>) -> Option<FourPoint> {
    let mean = field.mean_excess();
    let contrast = *mean.first()?;
    let n_tiles = field.tiles.len();
    let errors = field.tiles.errors();
    if field.records.len() < 2 * n_tiles || mean.len() < 3 || contrast.is_nan() || contrast <= 0.0 {
        return None;
    }
    let settings = field.settings;
    let probe_steps = if settings.probe_steps.is_finite() {
        settings.probe_steps.max(1.0)
    } else {
        1.0
    };
    let (n_rows, n_cols) = field.tiles.dim();
    let reach = ((REACH_WIDTHS * probe_steps) as usize).clamp(1, (n_rows.max(n_cols) / 3).max(1));
    let places = Places {
        distances: Distances::new((n_rows, n_cols), reach),
    };
    // The shortest class measures the contrast; from there on.
    let used: Vec<usize> = (1..mean.len()).collect();
    let products: Vec<Products> = used
        .iter()
        .map(|&class| {
            let share = mean[class] / contrast;
            places.products(field, class, share, contrast)
        })
        .collect();
    let level = settings.level;
    let at_zero = |lag: usize, without: Option<usize>| {
        let (sum, n) = products[lag].values(without)[0];
        sum / n
    };
    let n_areas = field.records.len() as f64 * settings.area_of_position();
    let s4 = |lag: usize, wave_per_step: f64, without: Option<usize>| {
        let g4 = products[lag].values(without);
        places.s4(&g4, wave_per_step, n_areas, settings.area_of_position())
    };
    let at_lags = |value: &dyn Fn(usize, Option<usize>) -> f64| -> Vec<AtLag> {
        (0..used.len())
            .map(|lag| AtLag {
                lag_s: field.classes.lag_s(used[lag]),
                estimate: without_each(errors, level, |without| value(lag, without)),
            })
            .collect()
    };
    let variance = at_lags(&at_zero);
    let pooled = without_each(errors, level, |without| {
        (0..used.len())
            .map(|lag| at_zero(lag, without))
            .sum::<f64>()
            / used.len() as f64
    });
    let significance = |at: &AtLag| {
        let t = at.estimate.value / at.estimate.error;
        if t.is_nan() { f64::NEG_INFINITY } else { t }
    };
    let best = (0..used.len())
        .max_by(|&a, &b| significance(&variance[a]).total_cmp(&significance(&variance[b])))?;
    let (scale, unit) = if settings.step_nm.is_finite() {
        (settings.step_nm, "nm")
    } else {
        (1.0, "steps")
    };
    // A Gaussian of full width w has exp[−(D/ξ)²] with ξ = w/(2 sqrt(ln 2)); with itself it is sqrt 2 wider.
    let probe_square = if settings.probe_steps.is_finite() {
        let length = settings.probe_steps / (2.0 * libm::sqrt(std::f64::consts::LN_2));
        2.0 * length * length
    } else {
        f64::NAN
    };
    let square = without_each(errors, level, |without| {
        places
            .distances
            .squared_length(&products[best].values(without))
            .0
    });
    let p = p_value_above(&pooled, n_tiles);
    let is_there = p < 0.05 && square.value.is_finite();
    let root = |value: f64| scale * libm::sqrt(value.max(0.0));
    let rooted = |less: f64| Estimate {
        value: root(square.value - less),
        error: scale * 0.5 * square.error
            / libm::sqrt((square.value - less).max(f64::MIN_POSITIVE)),
        lower: root(square.lower - less),
        upper: root(square.upper - less),
    };
    Some(FourPoint {
        chi4: at_lags(&|lag, without| s4(lag, 0.0, without)),
        variance,
        lag_s: field.classes.lag_s(used[best]),
        p_value: p,
        g4: (0..places.distances.distance.len())
            .map(|class| AtDistance {
                distance: scale * places.distances.distance[class],
                estimate: without_each(errors, level, |without| {
                    let (sum, n) = products[best].values(without)[class];
                    sum / n
                }),
            })
            .filter(|at| at.estimate.value.is_finite())
            .collect(),
        s4: (0..N_WAVES)
            .map(|wave| {
                let per_step = wave as f64 / (N_WAVES - 1) as f64 / probe_steps;
                AtWave {
                    wave: per_step / scale,
                    estimate: without_each(errors, level, |without| s4(best, per_step, without)),
                }
            })
            .collect(),
        apparent_length: if is_there {
            rooted(0.0)
        } else {
            Estimate::not_known()
        },
        probe_length: root(probe_square),
        length: (is_there && square.lower > probe_square).then(|| rooted(probe_square)),
        unit: unit.to_owned(),
    })
}

/// The positions of the field, and which pairs of them are how far apart.
struct Places {
    distances: Distances,
}

impl Places {
    /// Overlap of both halves at a lag, in one block of ages.
    fn fields(
        &self,
        field: &Field<'_>,
        class: usize,
        share: f64,
        contrast: f64,
        block: usize,
    ) -> Pair {
        let n_ages = field.classes.n_ages();
        let ages = block * n_ages / N_AGES..(block + 1) * n_ages / N_AGES;
        let (n_rows, n_cols) = field.tiles.dim();
        let n = n_rows * n_cols;
        let mut pair = Pair {
            there: vec![0.0; n],
            halves: [vec![0.0; n], vec![0.0; n]],
        };
        let mut total = [0.0; 2];
        let mut count = 0.0;
        for record in field.records {
            let overlap = record.halves.each_ref().map(|half| {
                let values = half.excess[class * n_ages..][ages.clone()].iter();
                let (sum, n) = values
                    .filter(|value| value.is_finite())
                    .fold((0.0, 0.0), |(sum, n), &value| {
                        (sum + f64::from(value), n + 1.0)
                    });
                (sum / n - share * half.mean(0, n_ages)) / contrast
            });
            if overlap.iter().all(|value| value.is_finite()) {
                let at = record.position.row * n_cols + record.position.col;
                pair.there[at] = 1.0;
                count += 1.0;
                for half in 0..2 {
                    pair.halves[half][at] = overlap[half];
                    total[half] += overlap[half];
                }
            }
        }
        // Long lags have no pairs at the ends of the record.
        if count == 0.0 {
            return pair;
        }
        for (values, total) in pair.halves.iter_mut().zip(total) {
            let mean = total / count;
            let values = values.iter_mut().zip(&pair.there);
            values.for_each(|(value, there)| *value -= there * mean);
        }
        pair
    }

    fn products(&self, field: &Field<'_>, class: usize, share: f64, contrast: f64) -> Products {
        let mut products = Products::new(field.tiles, &self.distances);
        for block in 0..N_AGES {
            let pair = self.fields(field, class, share, contrast, block);
            let [a, b] = &pair.halves;
            products.add(field.tiles, &self.distances, &pair.there, [a, b]);
        }
        products
    }

    /// The sum of G4 over displacements with the wave, in probe areas.
    fn s4(&self, g4: &[(f64, f64)], wave_per_step: f64, n_areas: f64, area: f64) -> f64 {
        let mut zero = 0.0;
        let mut total = 0.0;
        let mut inside = 0.0;
        let mut inside_wave = 0.0;
        for (class, &(sum, n)) in g4.iter().enumerate() {
            if n == 0.0 {
                continue;
            }
            let weight = area * self.distances.n_displacements[class];
            let wave =
                libm::j0(std::f64::consts::TAU * wave_per_step * self.distances.distance[class]);
            zero += weight * sum / n;
            inside += weight;
            total += weight * wave * sum / n;
            inside_wave += weight * wave;
        }
        // What the mean over the field took away, from the sum at zero frequency.
        let chi = zero / (1.0 - inside / n_areas).max(0.2);
        total + inside_wave * chi / n_areas
    }
}
