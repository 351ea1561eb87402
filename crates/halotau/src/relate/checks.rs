//! What else must hold if structure and dynamics are related?
//!
//! The verdict of [`decoupled`](super::decoupled) is looked at from other sides: spatial frequencies far from the ring of tau,
//! covariates taken away, Kendall's tau in place of ranks against values, another estimate of the effective number, surrogate maps, and the
//! place where the correlation is largest. Beside it stands what shared speckles make of tau and V of the same directions:
//!
//! ```text
//! s          = mean over halves of the correlation of tau and V of one half, less r      what their errors share
//! one tau    = s / sqrt((1 − r_τ)(1 − r_V))               the coupled correlation where neither tau nor V varies
//! as here    = (s/2) / sqrt((1 + r_τ)/2 · (1 + r_V)/2)    where both vary apart as much as their reliabilities r_τ, r_V say
//! ```
//!
//! All directions have half of the error variance of one half, hence the factors. The coupled correlation has no p-value; these two say
//! between which values it lies without any relation.

use ndarray::{Array2, ArrayView2};
use serde::{Deserialize, Serialize};

use super::apart::{ApartRelation, apart};
use super::decoupled::{HalfMaps, MIN_EFFECTIVE};
use super::fields::Fields;
use super::partial::{Covariate, PartialRelation, partial};
use super::surrogates;
use crate::rank::kendall;
use crate::statistics::normal_p_value;

/// Displacements up to this many steps are looked at, at most.
const MAX_DISPLACEMENT: usize = 12;

/// Positions up to which the matrices of Dutilleul's number are summed; it costs the square of the positions.
const MAX_DUTILLEUL: usize = 10_000;

/// What the checks start from.
#[derive(Debug, Clone, Copy)]
pub struct ChecksInput<'a> {
    /// tau and V of both halves.
    pub halves: HalfMaps<'a>,
    /// tau from a ring and V from spatial frequencies that share no speckle with it.
    pub apart: [ArrayView2<'a, f64>; 2],
    /// Their distance, 1/nm.
    pub gap_per_nm: f64,
    /// What may move both.
    pub covariates: &'a [Covariate<'a>],
    /// Probability of the intervals.
    pub level: f64,
    /// Seed of the surrogates.
    pub seed: u64,
}

/// The relation from other sides.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RelationChecks {
    /// tau and V from separate spatial frequencies; `None` where the annulus is too narrow.
    pub apart: Option<ApartRelation>,
    /// Distance of those, 1/nm.
    #[serde(with = "crate::nonfinite")]
    pub gap_per_nm: f64,
    /// What is left without each covariate, and without all.
    pub partial: Vec<PartialRelation>,
    /// Where the coupled correlation lies without a relation.
    pub coupled: CoupledRange,
    /// Kendall's tau of ranks, crossed.
    pub kendall: RankAgreement,
    /// Effective positions by Dutilleul's formula, which knows that means were subtracted; NaN for very large maps.
    #[serde(with = "crate::nonfinite")]
    pub n_effective_dutilleul: f64,
    /// Probability from V moved around the field.
    #[serde(with = "crate::nonfinite")]
    pub p_torus: f64,
    /// Probability from V with random phases.
    #[serde(with = "crate::nonfinite")]
    pub p_phases: f64,
    /// The correlation against displacement.
    pub displaced: Displaced,
}

/// Values of the coupled correlation that mean nothing.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct CoupledRange {
    /// Correlation of tau with V of the same half.
    #[serde(with = "crate::nonfinite")]
    pub same_half: f64,
    /// Without a relation, where tau and V vary as here.
    #[serde(with = "crate::nonfinite")]
    pub as_here: f64,
    /// Without a relation, where tau and V are the same everywhere.
    #[serde(with = "crate::nonfinite")]
    pub one_tau: f64,
}

/// Kendall's rank correlation with its probability.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct RankAgreement {
    /// tau_b, mean of the two crossed ones.
    #[serde(with = "crate::nonfinite")]
    pub kendall: f64,
    /// Probability of one so large without a relation, with as many positions as are effective.
    #[serde(with = "crate::nonfinite")]
    pub p_value: f64,
}

/// The correlation of tau here with V there.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Displaced {
    /// Mean over directions at a distance of 0, 1, 2 ... steps.
    #[serde(with = "crate::nonfinite::list")]
    pub profile: Vec<f64>,
    /// Rows and columns from tau to V at which its size is largest.
    pub peak: [i64; 2],
    /// The correlation there.
    #[serde(with = "crate::nonfinite")]
    pub peak_correlation: f64,
}

impl Displaced {
    /// Whether it is largest elsewhere than at the same place, by more than neighbors differ anyway.
    pub fn is_elsewhere(&self) -> bool {
        let here = self.profile.first().copied().unwrap_or(f64::NAN);
        let distance = libm::hypot(self.peak[0] as f64, self.peak[1] as f64);
        distance > 2.0 && self.peak_correlation.abs() > 1.5 * here.abs()
    }
}

/// Looks at the relation from other sides. `None` where [`decoupled`](super::decoupled) is.
pub fn checks(input: &ChecksInput<'_>) -> Option<RelationChecks> {
    let fields = Fields::of(&input.halves)?;
    let n = fields.n();
    let n_effective = 1.0 + 1.0 / fields.variance(n);
    Some(RelationChecks {
        apart: apart(input.apart[0], input.apart[1], input.level),
        gap_per_nm: input.gap_per_nm,
        partial: partial(&input.halves, input.covariates, input.level),
        coupled: coupled(&fields),
        kendall: agreement(&fields, n_effective),
        n_effective_dutilleul: dutilleul(&fields),
        p_torus: surrogates::torus(&fields),
        p_phases: surrogates::phases(&fields, input.seed),
        displaced: displaced(&fields),
    })
}

fn coupled(fields: &Fields) -> CoupledRange {
    let ([x_a, x_b], [y_a, y_b]) = (&fields.x, &fields.y);
    let same_half = 0.5 * (fields.mean(x_a, y_a) + fields.mean(x_b, y_b));
    let shared = same_half - fields.crossed();
    let reliability = |a, b| fields.mean(a, b).clamp(0.0, 1.0);
    let (of_tau, of_v) = (reliability(x_a, x_b), reliability(y_a, y_b));
    let one_tau = shared / libm::sqrt((1.0 - of_tau) * (1.0 - of_v));
    CoupledRange {
        same_half,
        as_here: 0.5 * shared / libm::sqrt(0.25 * (1.0 + of_tau) * (1.0 + of_v)),
        // Estimates of estimates: what is beyond 1 is 1.
        one_tau: one_tau.clamp(-1.0, 1.0),
    }
}

fn agreement(fields: &Fields, n_effective: f64) -> RankAgreement {
    let of = |x: &Array2<f64>, y: &Array2<f64>| {
        let pairs = x.iter().zip(y).zip(&fields.valid);
        let (x, y): (Vec<f64>, Vec<f64>) = pairs
            .filter(|(_, valid)| **valid)
            .map(|((x, y), _)| (*x, *y))
            .unzip();
        kendall(&x, &y)
    };
    let mean = 0.5 * (of(&fields.x[0], &fields.y[1]) + of(&fields.x[1], &fields.y[0]));
    // Without a relation, the variance of tau for as many independent positions.
    let m = n_effective;
    let variance = 2.0 * (2.0 * m + 5.0) / (9.0 * m * (m - 1.0));
    RankAgreement {
        kendall: mean,
        p_value: if m >= MIN_EFFECTIVE {
            normal_p_value(mean / libm::sqrt(variance))
        } else {
            1.0
        },
    }
}

/// 1 + 1/var r with var r = tr(B S_x B S_y) / (tr(B S_x) tr(B S_y)), B = (1 − 11ᵀ/n)/n, S from the correlograms of one crossed pair.
///
/// Source: Dutilleul, Biometrics 49, 305 (1993), doi 10.2307/2532625.
fn dutilleul(fields: &Fields) -> f64 {
    let n = fields.n();
    if n > MAX_DUTILLEUL {
        return f64::NAN;
    }
    let at = |x: &Array2<f64>, y: &Array2<f64>| {
        let (of_x, of_y) = (fields.correlogram(x), fields.correlogram(y));
        let places: Vec<(usize, usize)> = fields
            .valid
            .indexed_iter()
            .filter(|(_, valid)| **valid)
            .map(|(at, _)| at)
            .collect();
        // Of every displacement once: there are as many pairs as the square of the positions.
        let covariances = Array2::from_shape_fn(fields.valid.dim(), |(rows, cols)| {
            let distance = super::fields::class(rows, cols as i64);
            [&of_x, &of_y].map(|of| of.get(distance).copied().unwrap_or(0.0))
        });
        let (mut both, mut of_sums, mut sum_x, mut sum_y) = (0.0, 0.0, 0.0, 0.0);
        for here in &places {
            let (mut row_x, mut row_y) = (0.0, 0.0);
            for there in &places {
                let apart = [here.0.abs_diff(there.0), here.1.abs_diff(there.1)];
                let [c_x, c_y] = covariances[apart];
                both += c_x * c_y;
                row_x += c_x;
                row_y += c_y;
            }
            of_sums += row_x * row_y;
            sum_x += row_x;
            sum_y += row_y;
        }
        let n = n as f64;
        let trace = both - 2.0 / n * of_sums + sum_x * sum_y / (n * n);
        let of_one = |c: &[f64], sum: f64| n * c.first().copied().unwrap_or(1.0) - sum / n;
        trace / (of_one(&of_x, sum_x) * of_one(&of_y, sum_y))
    };
    1.0 + 1.0 / at(&fields.x[0], &fields.y[1])
}

fn displaced(fields: &Fields) -> Displaced {
    let (n_rows, n_cols) = fields.valid.dim();
    let reach = (n_rows.min(n_cols) / 4).min(MAX_DISPLACEMENT) as i64;
    let correlation = |rows: i64, cols: i64| {
        let (mut sum, mut n) = (0.0, 0.0);
        for ((row, col), &valid) in fields.valid.indexed_iter() {
            let (Ok(row_there), Ok(col_there)) = (
                usize::try_from(row as i64 + rows),
                usize::try_from(col as i64 + cols),
            ) else {
                continue;
            };
            let there = [row_there, col_there];
            if valid && fields.valid.get(there).is_some_and(|&valid| valid) {
                let here = [row, col];
                sum += 0.5
                    * (fields.x[0][here] * fields.y[1][there]
                        + fields.x[1][here] * fields.y[0][there]);
                n += 1.0;
            }
        }
        sum / n
    };
    let mut sums = vec![(0.0, 0.0); reach as usize + 1];
    let (mut peak, mut peak_correlation) = ([0, 0], 0.0_f64);
    for rows in -reach..=reach {
        for cols in -reach..=reach {
            let c = correlation(rows, cols);
            let distance = super::fields::class(rows.unsigned_abs() as usize, cols.abs());
            if !c.is_finite() || distance >= sums.len() {
                continue;
            }
            sums[distance].0 += c;
            sums[distance].1 += 1.0;
            if c.abs() > peak_correlation.abs() {
                (peak, peak_correlation) = ([rows, cols], c);
            }
        }
    }
    Displaced {
        profile: sums.into_iter().map(|(sum, n)| sum / n).collect(),
        peak,
        peak_correlation,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests {
    use super::super::simulated::Simulated;
    use super::*;

    fn of(simulated: &Simulated) -> RelationChecks {
        checks(&ChecksInput {
            halves: simulated.halves(),
            apart: [simulated.tau[0].view(), simulated.v[1].view()],
            gap_per_nm: 0.64,
            covariates: &[],
            level: 0.95,
            seed: 1,
        })
        .unwrap()
    }

    #[test]
    fn the_no_link_range_is_what_the_errors_share() {
        // Errors of one half correlate by 0.8 (before ranks are taken, which costs a few per cent).
        let all_noise = of(&Simulated::new((40, 40), 20.0, 0.0, 3)).coupled;
        assert!((all_noise.one_tau - 0.78).abs() < 0.1, "{all_noise:?}");
        // Where nothing varies the two are one, but for the chance correlation of the halves.
        assert!((all_noise.as_here - 0.78).abs() < 0.2, "{all_noise:?}");
        // Errors with half of the variance: the variances add up to 1 + 0.5 in a half, and to 1 + 0.25 in the whole.
        let mixed = of(&Simulated::new((40, 40), 0.7, 0.0, 4)).coupled;
        assert!((mixed.one_tau - 0.78).abs() < 0.15, "{mixed:?}");
        assert!(
            (mixed.as_here - 0.8 * 0.245 / 1.245).abs() < 0.05,
            "{mixed:?}"
        );
    }

    #[test]
    fn a_relation_is_where_it_is_and_all_sides_agree() {
        let mut simulated = Simulated::new((40, 40), 0.4, 0.8, 11);
        let found = of(&simulated);
        assert!(found.kendall.kendall > 0.3 && found.kendall.p_value < 1e-3);
        assert!(found.apart.unwrap().correlation.value > 0.4);
        assert!(found.p_torus < 0.05 && found.p_phases < 0.05);
        assert!(!found.displaced.is_elsewhere());
        assert!(found.displaced.profile[0] > found.displaced.profile[4]);
        // Two estimates of one number; Dutilleul's knows that the means were taken off.
        let plain = found.apart.unwrap().n_effective;
        let ratio = found.n_effective_dutilleul / plain;
        assert!((0.5..2.0).contains(&ratio), "{found:?}");
        // V that is three rows and two columns away from where it belongs.
        for v in &mut simulated.v {
            *v =
                Array2::from_shape_fn((40, 40), |(row, col)| v[[(row + 37) % 40, (col + 38) % 40]]);
        }
        let moved = of(&simulated).displaced;
        assert!(
            (moved.peak[0] - 3).abs() <= 1 && (moved.peak[1] - 2).abs() <= 1,
            "{moved:?}"
        );
    }
}
