//! Does the dynamics change while it is watched?
//!
//! ```text
//! e(k, a)    = mean of G − baseline over pairs at lag k and age a                       of a tile
//! persists   = e(k, a) − s(k) e(1, a),     s(k) = ē(k)/ē(1)                             whatever the contrast does
//! slope      = Σ_k Σ_a (a − ā) persists(k, a) / Σ_k Σ_a (a − ā)² ē(k)                   relative change over the record
//! ratio      = tau(both scans in the late half) / tau(both in the early half)
//! ```
//!
//! Errors of both come from leaving out tiles of the scan one after another; under the null a tile's slope is zero in the mean whatever its
//! tau is. A stationary record looks the same read backward. So the late-less-early differences δ_A, δ_B of the two halves of the
//! directions at a position are as likely as −δ_A and −δ_B, and |δ_A + δ_B| is as large by chance as |δ_A − δ_B|, which
//! no change of the sample enters. That is the scale of the flag of single positions.

use ndarray::Array2;
use serde::{Deserialize, Serialize};

use super::measure::CurveSettings;
use super::overlap::{HalfRecord, LagClasses};
use super::tiles::{TileErrors, p_value, without_each};
use super::{AtLag, ChangedPositions, PositionRecord, interval_text, p_text};
use crate::correlate::one_time;
use crate::relax::Stretch;
use crate::statistics::{Estimate, normal_quantile};

/// Probability that a position is flagged where nothing changes.
pub const FLAG_RISK: f64 = 0.01;

/// Positions of similar tau that share a scale for the flag.
const GROUP: usize = 60;

/// Windows of age in which tau is shown.
const N_WINDOWS: usize = 4;

/// Change of the dynamics from the beginning of the record to its end.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Aging {
    /// Change of the persistence over the record, relative to the mean excess at the same lags; positive where the sample slows.
    pub slope: Estimate,
    /// Probability of a slope so large in a stationary record.
    #[serde(with = "crate::nonfinite")]
    pub p_value: f64,
    /// The slope at each lag by itself.
    pub slopes: Vec<AtLag>,
    /// Change of the contrast (excess at the shortest lag) over the record, relative.
    pub contrast_slope: Estimate,
    /// Probability of such a change of the contrast in a stationary record.
    #[serde(with = "crate::nonfinite")]
    pub contrast_p_value: f64,
    /// tau of the mean curve of the early half of the record.
    pub tau_early_s: Estimate,
    /// tau of the mean curve of the late half.
    pub tau_late_s: Estimate,
    /// tau late over early; open above where a half is too short for its tau.
    pub ratio: Estimate,
    /// tau in overlapping windows of a third of the record: age of the middle as a share of the record, tau.
    pub windows: Vec<AtAge>,
    /// Excess of the regional mean in classes of lag, relative to the mean of the shortest class, against age.
    pub course: Vec<Course>,
    /// Positions flagged as changing, at a risk of [`FLAG_RISK`] each.
    pub n_changed: usize,
    /// Positions that were looked at for it.
    pub n_positions: usize,
}

/// tau in a window of the record.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct AtAge {
    /// Middle of the window as a share of the record.
    pub age: f64,
    /// tau.
    pub tau_s: Estimate,
}

/// The fall of the correlation at one lag as a function of age.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Course {
    /// Mean lag.
    pub lag_s: f64,
    /// Age as a share of the record, and the excess.
    pub points: Vec<(f64, Estimate)>,
}

impl Aging {
    /// What it says.
    pub fn sentence(&self) -> String {
        let ratio = if self.ratio.value.is_finite() && self.ratio.upper.is_finite() {
            format!(
                "τ of the late over the early half {}",
                interval_text(&self.ratio)
            )
        } else {
            "τ of the halves of the record cannot be compared, because they are too short for it"
                .to_owned()
        };
        let expected = FLAG_RISK * self.n_positions as f64;
        let flagged = format!(
            "{} of {} positions are flagged as changing, where about {expected:.0} would be by chance",
            self.n_changed, self.n_positions
        );
        if self.p_value.is_nan() {
            return format!(
                "Whether the dynamics change with age cannot be told: hardly any correlation is left beyond the shortest lags. {flagged}."
            );
        }
        if self.p_value < 0.05 {
            let direction = if self.slope.value > 0.0 {
                "slower"
            } else {
                "faster"
            };
            format!(
                "The record is not stationary: its dynamics become {direction} with age ({}; {ratio}). Drift, contamination or the beam do \
                 this as well as aging of the glass. {flagged}.",
                p_text(self.p_value)
            )
        } else {
            format!(
                "No change of the dynamics with age beyond chance ({}; {ratio}). {flagged}.",
                p_text(self.p_value)
            )
        }
    }
}

/// Mean two-time excess of each tile.
#[derive(Debug)]
pub(super) struct Ages<'a> {
    pub(super) settings: &'a CurveSettings,
    pub(super) classes: &'a LagClasses,
    /// G − baseline, `[time_1, time_2]` a tile.
    pub(super) tiles: &'a [Array2<f64>],
    /// Positions of each tile.
    pub(super) weights: Vec<f64>,
    /// How errors follow from the tiles.
    pub(super) errors: TileErrors,
}

impl Ages<'_> {
    /// Mean over the tiles but one of what each has at an index.
    fn mean(&self, values: &[Vec<f64>], without: Option<usize>, index: usize) -> f64 {
        let (mut sum, mut weight) = (0.0, 0.0);
        for (tile, values) in values.iter().enumerate() {
            if Some(tile) != without && values[index].is_finite() {
                sum += self.weights[tile] * values[index];
                weight += self.weights[tile];
            }
        }
        sum / weight
    }

    /// tau of the mean curve of scans in a part of the record.
    fn tau_s(&self, part: &[bool]) -> (Estimate, Vec<f64>) {
        let curves: Vec<Vec<f64>> = self
            .tiles
            .iter()
            .map(|matrix| one_time(matrix.view(), part))
            .collect();
        let stretch = match self.settings.stretch {
            Stretch::Free { .. } => Stretch::Fixed(1.0),
            fixed => fixed,
        };
        let tau = |without: Option<usize>| {
            let curve: Vec<f64> = (0..self.settings.lag_s.len())
                .map(|lag| self.mean(&curves, without, lag))
                .collect();
            let fit = self.settings.fit(&curve, part, stretch);
            // What a part of the record cannot tell from no decay is open above.
            if fit.tau_s < 0.99 * self.settings.tau_bounds_s[1] {
                fit.tau_s
            } else {
                f64::INFINITY
            }
        };
        let full = tau(None);
        let replicates: Vec<f64> = (0..self.tiles.len()).map(|tile| tau(Some(tile))).collect();
        (
            self.errors.of_log(full, &replicates, self.settings.level),
            std::iter::once(full).chain(replicates).collect(),
        )
    }
}

/// Tests a region for a change with age; `n_changed` of `n_positions` were flagged. `None` where the mean curve holds no decay.
pub(super) fn test(ages: &Ages<'_>, n_changed: usize, n_positions: usize) -> Option<Aging> {
    let settings = ages.settings;
    let (classes, n_ages) = (ages.classes, ages.classes.n_ages());
    if n_ages < 3 || classes.len() < 3 {
        return None;
    }
    let excess: Vec<Vec<f64>> = ages
        .tiles
        .iter()
        .map(|matrix| classes.excess(matrix.view(), &settings.valid, 0.0))
        .collect();
    let mean_of = |class: usize, without: Option<usize>| {
        let at = |block| ages.mean(&excess, without, class * n_ages + block);
        let values = (0..n_ages).map(at).filter(|value| value.is_finite());
        let (sum, n) = values.fold((0.0, 0.0), |(sum, n), value| (sum + value, n + 1.0));
        sum / n
    };
    let contrast = mean_of(0, None);
    if contrast.is_nan() || contrast <= 0.0 {
        return None;
    }
    // Numerator and denominator of the slope of a class; the shortest class is the measure of the contrast.
    let slope_sums = |class: usize, without: Option<usize>| {
        let share = if class == 0 {
            0.0
        } else {
            mean_of(class, without) / mean_of(0, without)
        };
        let points: Vec<(f64, f64)> = (0..n_ages)
            .filter_map(|block| {
                let value = ages.mean(&excess, without, class * n_ages + block);
                let short = ages.mean(&excess, without, block);
                let short = if class == 0 { 0.0 } else { short };
                let persists = value - share * short;
                persists
                    .is_finite()
                    .then_some((classes.age(block), persists))
            })
            .collect();
        let middle = points.iter().map(|point| point.0).sum::<f64>() / points.len() as f64;
        let (mut above, mut below) = (0.0, 0.0);
        for (age, persists) in points {
            above += (age - middle) * persists;
            below += (age - middle) * (age - middle);
        }
        (above, below * mean_of(class, without))
    };
    let used: Vec<usize> = (1..classes.len())
        // Lags at which nothing is left say nothing about its change.
        .filter(|&class| mean_of(class, None) > 0.1 * contrast)
        .collect();
    let n_tiles = ages.tiles.len();
    let relative = |classes: &[usize]| {
        without_each(ages.errors, settings.level, |without| {
            let sums = classes.iter().map(|&class| slope_sums(class, without));
            let (above, below) =
                sums.fold((0.0, 0.0), |(a, b), (above, below)| (a + above, b + below));
            above / below
        })
    };
    let slope = relative(&used);
    let contrast_slope = relative(&[0]);
    let n_times = settings.valid.len();
    let part = |first: usize, end: usize| -> Vec<bool> {
        (0..n_times)
            .map(|time| settings.valid[time] && (first..end).contains(&time))
            .collect()
    };
    let (tau_early_s, early) = ages.tau_s(&part(0, n_times / 2));
    let (tau_late_s, late) = ages.tau_s(&part(n_times - n_times / 2, n_times));
    let ratios: Vec<f64> = late
        .iter()
        .zip(&early)
        .map(|(late, early)| late / early)
        .collect();
    let window = n_times / 3;
    let windows = (0..N_WINDOWS)
        .map(|at| {
            let first = at * (n_times - window) / (N_WINDOWS - 1);
            AtAge {
                age: (first as f64 + 0.5 * window as f64) / n_times as f64,
                tau_s: ages.tau_s(&part(first, first + window)).0,
            }
        })
        .collect();
    let course = (0..classes.len())
        .step_by(2)
        .map(|class| Course {
            lag_s: classes.lag_s(class),
            points: (0..n_ages)
                .map(|block| {
                    let value =
                        |without| ages.mean(&excess, without, class * n_ages + block) / contrast;
                    let estimate = without_each(ages.errors, settings.level, value);
                    (classes.age(block), estimate)
                })
                .filter(|(_, estimate)| estimate.value.is_finite())
                .collect(),
        })
        .collect();
    Some(Aging {
        p_value: p_value(&slope, n_tiles),
        slope,
        slopes: used
            .iter()
            .map(|&class| AtLag {
                lag_s: classes.lag_s(class),
                estimate: relative(&[class]),
            })
            .collect(),
        contrast_p_value: p_value(&contrast_slope, n_tiles),
        contrast_slope,
        tau_early_s,
        tau_late_s,
        ratio: ages.errors.of_log(ratios[0], &ratios[1..], settings.level),
        windows,
        course,
        n_changed,
        n_positions,
    })
}

/// Late less early of one half of the directions, over all lags.
fn late_less_early(half: &HalfRecord, classes: &LagClasses) -> f64 {
    let n_ages = classes.n_ages();
    let mut total = 0.0;
    for class in half.excess.chunks_exact(n_ages) {
        // The same number of blocks on either side, so that both directions of time agree.
        for early in 0..n_ages / 2 {
            let difference = f64::from(class[n_ages - 1 - early]) - f64::from(class[early]);
            if difference.is_finite() {
                total += difference;
            }
        }
    }
    total
}

/// Positions whose late half differs from the early one by more than chance at [`FLAG_RISK`], `[row, col]` of `dim`.
pub(super) fn changed(
    records: &[PositionRecord],
    classes: &LagClasses,
    dim: (usize, usize),
) -> ChangedPositions {
    let mut changed = Array2::from_elem(dim, false);
    if records.len() < GROUP / 2 {
        return changed;
    }
    let mut by_tau: Vec<(f64, f64, f64, usize)> = records
        .iter()
        .enumerate()
        .map(|(index, record)| {
            let [a, b] = &record.halves;
            let (d_a, d_b) = (late_less_early(a, classes), late_less_early(b, classes));
            // The scatter of the differences goes with tau and contrast; both halves tell them, in either direction of time.
            let size = a.mean(0, classes.n_ages()) + b.mean(0, classes.n_ages());
            let size = size.max(f64::MIN_POSITIVE);
            let tau = libm::log(a.tau_s) + libm::log(b.tau_s);
            (tau, (d_a + d_b) / size, (d_a - d_b) / size, index)
        })
        .collect();
    by_tau.sort_by(|one, other| one.0.total_cmp(&other.0));
    let n_groups = (by_tau.len() / GROUP).max(1);
    let mut scaled: Vec<(f64, f64, usize)> = Vec::with_capacity(by_tau.len());
    for group in 0..n_groups {
        let part = &by_tau[group * by_tau.len() / n_groups..(group + 1) * by_tau.len() / n_groups];
        let square: f64 = part.iter().map(|entry| entry.2 * entry.2).sum();
        let scale = libm::sqrt(square / part.len() as f64);
        scaled.extend(
            part.iter()
                .map(|entry| ((entry.1 / scale).abs(), (entry.2 / scale).abs(), entry.3)),
        );
    }
    // The differences have heavier tails than a normal variable; they themselves say how heavy.
    let by_chance: Vec<f64> = scaled.iter().map(|entry| entry.1).collect();
    let threshold = crate::rank::quantile(&by_chance, 1.0 - FLAG_RISK)
        .max(normal_quantile(1.0 - 0.5 * FLAG_RISK));
    for (sum, _, index) in scaled {
        if sum > threshold {
            let position = records[index].position;
            changed[[position.row, position.col]] = true;
        }
    }
    changed
}
