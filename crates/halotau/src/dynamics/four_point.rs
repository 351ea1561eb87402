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

/// Products of the halves by tile of the first position and by class of distance.
#[derive(Debug, Clone)]
struct Products {
    /// `[tile][class]`: sum of products, number of pairs.
    sums: Vec<Vec<(f64, f64)>>,
}

impl Products {
    /// G4 at each class of distance without a tile.
    fn g4(&self, without: Option<usize>) -> Vec<(f64, f64)> {
        let n_classes = self.sums.first().map_or(0, Vec::len);
        (0..n_classes)
            .map(|class| {
                let kept = self
                    .sums
                    .iter()
                    .enumerate()
                    .filter(|(tile, _)| Some(*tile) != without);
                kept.fold((0.0, 0.0), |(sum, n), (_, tile)| {
                    (sum + tile[class].0, n + tile[class].1)
                })
            })
            .collect()
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
    let places = Places::of(field, reach);
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
        let (sum, n) = products[lag].g4(without)[0];
        sum / n
    };
    let n_areas = field.records.len() as f64 * settings.area_of_position();
    let s4 = |lag: usize, wave_per_step: f64, without: Option<usize>| {
        let g4 = products[lag].g4(without);
        places.s4(&g4, wave_per_step, n_areas, settings.area_of_position())
    };
    let at_lags = |value: &dyn Fn(usize, Option<usize>) -> f64| -> Vec<AtLag> {
        (0..used.len())
            .map(|lag| AtLag {
                lag_s: field.classes.lag_s(used[lag]),
                estimate: without_each(n_tiles, level, |without| value(lag, without)),
            })
            .collect()
    };
    let variance = at_lags(&at_zero);
    let pooled = without_each(n_tiles, level, |without| {
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
    let square = without_each(n_tiles, level, |without| {
        places.squared_length(&products[best].g4(without))
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
    let none = Estimate {
        value: f64::NAN,
        error: f64::NAN,
        lower: f64::NAN,
        upper: f64::NAN,
    };
    Some(FourPoint {
        chi4: at_lags(&|lag, without| s4(lag, 0.0, without)),
        variance,
        lag_s: field.classes.lag_s(used[best]),
        p_value: p,
        g4: (0..places.distance.len())
            .map(|class| AtDistance {
                distance: scale * places.distance[class],
                estimate: without_each(n_tiles, level, |without| {
                    let (sum, n) = products[best].g4(without)[class];
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
                    estimate: without_each(n_tiles, level, |without| s4(best, per_step, without)),
                }
            })
            .collect(),
        apparent_length: if is_there { rooted(0.0) } else { none },
        probe_length: root(probe_square),
        length: (is_there && square.lower > probe_square).then(|| rooted(probe_square)),
        unit: unit.to_owned(),
    })
}

/// Where the positions lie, and which pairs of them are how far apart.
struct Places {
    n_rows: usize,
    n_cols: usize,
    /// Displacements of one half plane, with the class of each.
    displacements: Vec<(usize, i64, usize)>,
    /// Mean distance of each class, steps.
    distance: Vec<f64>,
    /// Displacements in each class, both directions counted.
    n_displacements: Vec<f64>,
}

impl Places {
    fn of(field: &Field<'_>, reach: usize) -> Self {
        let (n_rows, n_cols) = field.tiles.dim();
        let along = reach.min(n_cols - 1) as i64;
        let mut displacements = vec![(0, 0, 0)];
        for rows in 0..=reach.min(n_rows - 1) {
            for cols in -along..=along {
                let distance = libm::hypot(rows as f64, cols as f64);
                let class = libm::round(distance) as usize;
                if (rows > 0 || cols > 0) && class <= reach {
                    displacements.push((rows, cols, class));
                }
            }
        }
        let mut sums = vec![(0.0, 0.0); reach + 1];
        for &(rows, cols, class) in &displacements {
            sums[class].0 += libm::hypot(rows as f64, cols as f64);
            sums[class].1 += 1.0;
        }
        Self {
            n_rows,
            n_cols,
            displacements,
            distance: sums.iter().map(|(sum, n)| sum / n).collect(),
            n_displacements: sums
                .iter()
                .enumerate()
                .map(|(class, (_, n))| if class == 0 { 1.0 } else { 2.0 * n })
                .collect(),
        }
    }

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
        let n = self.n_rows * self.n_cols;
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
                let at = record.position.row * self.n_cols + record.position.col;
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
        let n_tiles = field.tiles.len();
        let mut sums = vec![vec![(0.0, 0.0); self.distance.len()]; n_tiles];
        let tile_of: Vec<Option<usize>> = (0..self.n_rows * self.n_cols)
            .map(|at| field.tiles.at(at / self.n_cols, at % self.n_cols))
            .collect();
        // Runs of positions of one row that lie in one tile.
        let mut runs = Vec::new();
        for row in 0..self.n_rows {
            let line = &tile_of[row * self.n_cols..][..self.n_cols];
            let mut first = 0;
            for run in line.chunk_by(|a, b| a == b) {
                if let Some(tile) = run[0] {
                    runs.push((row, first, first + run.len(), tile));
                }
                first += run.len();
            }
        }
        for block in 0..N_AGES {
            let pair = self.fields(field, class, share, contrast, block);
            let [a, b] = &pair.halves;
            for &(rows, cols, distance) in &self.displacements {
                for &(row, first, end, tile) in &runs {
                    let first = first.max((-cols).max(0) as usize);
                    let end = end.min((self.n_cols as i64 - cols.max(0)).max(0) as usize);
                    if row + rows >= self.n_rows || first >= end {
                        continue;
                    }
                    let here = row * self.n_cols + first;
                    let there = ((row + rows) * self.n_cols + first) as i64 + cols;
                    let (there, length) = (there as usize, end - first);
                    let (a_here, b_here) = (&a[here..][..length], &b[here..][..length]);
                    let (a_there, b_there) = (&a[there..][..length], &b[there..][..length]);
                    let (w_here, w_there) = (
                        &pair.there[here..][..length],
                        &pair.there[there..][..length],
                    );
                    let (mut sum, mut n) = (0.0, 0.0);
                    for at in 0..length {
                        sum += a_here[at] * b_there[at] + b_here[at] * a_there[at];
                        n += w_here[at] * w_there[at];
                    }
                    let total = &mut sums[tile][distance];
                    *total = (total.0 + 0.5 * sum, total.1 + n);
                }
            }
        }
        Products { sums }
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
            let weight = area * self.n_displacements[class];
            let wave = libm::j0(std::f64::consts::TAU * wave_per_step * self.distance[class]);
            zero += weight * sum / n;
            inside += weight;
            total += weight * wave * sum / n;
            inside_wave += weight * wave;
        }
        // What the mean over the field took away, from the sum at zero frequency.
        let chi = zero / (1.0 - inside / n_areas).max(0.2);
        total + inside_wave * chi / n_areas
    }

    /// Square of the distance of 1/e, by least squares of A exp(−D²/ξ²); NaN without a positive correlation.
    fn squared_length(&self, g4: &[(f64, f64)]) -> f64 {
        let points: Vec<(f64, f64, f64)> = g4
            .iter()
            .zip(&self.distance)
            .filter(|((_, n), _)| *n > 0.0)
            .map(|(&(sum, n), &distance)| (distance, sum / n, n))
            .collect();
        let longest = self.distance.last().copied().unwrap_or(1.0).max(1.0);
        // Fit quality with the best amplitude; larger is better.
        let gain = |square: f64| {
            let (mut fg, mut ff) = (0.0, 0.0);
            for &(distance, value, n) in &points {
                let f = libm::exp(-distance * distance / square);
                fg += n * f * value;
                ff += n * f * f;
            }
            if fg > 0.0 { fg * fg / ff } else { 0.0 }
        };
        let (low, high) = (libm::log(0.05), libm::log(4.0 * longest * longest));
        let at = |step: f64| libm::exp(low + (high - low) * step / 200.0);
        let best =
            (0..=200).max_by(|&a, &b| gain(at(f64::from(a))).total_cmp(&gain(at(f64::from(b)))));
        match best {
            Some(best) if gain(at(f64::from(best))) > 0.0 => {
                // A parabola through the three highest.
                let best = f64::from(best);
                let [left, middle, right] = [-1.0, 0.0, 1.0].map(|step| gain(at(best + step)));
                let curvature = left - 2.0 * middle + right;
                let shift = if curvature < 0.0 {
                    (0.5 * (left - right) / curvature).clamp(-1.0, 1.0)
                } else {
                    0.0
                };
                at(best + shift)
            }
            _ => f64::NAN,
        }
    }
}
