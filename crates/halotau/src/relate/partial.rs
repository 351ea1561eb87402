//! What is left of the relation when what a covariate explains is taken away?
//!
//! ```text
//! x' = x − Σ_k b_k z_k        y' likewise, z_k: ranks of the covariates, standardized; b by least squares; then as before
//! ```
//!
//! Thickness, the edge and the course of the scan can move tau and V together. Each half loses what the covariates explain of it. A
//! covariate that is itself a consequence of structure takes real relation away, too, so that a smaller number is no proof of an artefact;
//! a number that stays says that these covariates do not make it.

use ndarray::{Array2, ArrayView2};
use serde::{Deserialize, Serialize};

use super::decoupled::{HalfMaps, of_fields};
use super::fields::{Fields, common, standardized};
use crate::statistics::Estimate;

/// A map that may move both tau and V, `[row, col]`; NaN where it has no value.
#[derive(Debug, Clone, Copy)]
pub struct Covariate<'a> {
    /// What it is, for people.
    pub name: &'a str,
    /// Its values.
    pub values: ArrayView2<'a, f64>,
}

/// The relation without what covariates explain.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PartialRelation {
    /// Which covariates.
    pub without: Vec<String>,
    /// The correlation that is left.
    pub correlation: Estimate,
    /// Probability of an |r| so large without a relation.
    #[serde(with = "crate::nonfinite")]
    pub p_value: f64,
    /// Positions that entered.
    pub n: usize,
    /// Effective positions.
    #[serde(with = "crate::nonfinite")]
    pub n_effective: f64,
}

/// Each covariate alone, then all together where there are several; those that are constant or missing are left out.
pub(super) fn partial(
    halves: &HalfMaps<'_>,
    covariates: &[Covariate<'_>],
    level: f64,
) -> Vec<PartialRelation> {
    let usable: Vec<Covariate<'_>> = covariates
        .iter()
        .copied()
        .filter(|&covariate| residuals(halves, &[covariate]).is_some())
        .collect();
    let mut sets: Vec<Vec<Covariate<'_>>> = usable.iter().map(|&one| vec![one]).collect();
    if usable.len() > 1 {
        sets.push(usable);
    }
    sets.iter()
        .filter_map(|set| {
            let relation = of_fields(&residuals(halves, set)?, level);
            Some(PartialRelation {
                without: set.iter().map(|one| one.name.to_owned()).collect(),
                correlation: relation.correlation,
                p_value: relation.p_value,
                n: relation.n,
                n_effective: relation.n_effective,
            })
        })
        .collect()
}

/// What the covariates leave of the maps; `None` where that, or a covariate, is constant.
fn residuals(halves: &HalfMaps<'_>, covariates: &[Covariate<'_>]) -> Option<Fields> {
    let mut valid = common(halves);
    for (at, valid) in valid.indexed_iter_mut() {
        *valid &= covariates
            .iter()
            .all(|covariate| covariate.values.get(at).is_some_and(|z| z.is_finite()));
    }
    let mut fields = Fields::over(halves, valid)?;
    let mut basis: Vec<Array2<f64>> = Vec::new();
    for covariate in covariates {
        let mut z = standardized(covariate.values, &fields.valid, true)?;
        // Gram and Schmidt, twice for rounding; what is nothing but earlier covariates says nothing new.
        for _ in 0..2 {
            for other in &basis {
                let share = fields.mean(&z, other);
                z.scaled_add(-share, other);
            }
        }
        let size = libm::sqrt(fields.mean(&z, &z));
        if size > 1e-6 {
            basis.push(z / size);
        }
    }
    let maps = fields.x.iter().chain(&fields.y);
    let left: Option<Vec<Array2<f64>>> = maps
        .map(|map| {
            let mut map = map.clone();
            for z in &basis {
                let share = fields.mean(&map, z);
                map.scaled_add(-share, z);
            }
            let size = libm::sqrt(fields.mean(&map, &map));
            (size > 1e-6).then(|| map / size)
        })
        .collect();
    let mut left = left?.into_iter();
    for map in fields.x.iter_mut().chain(&mut fields.y) {
        *map = left.next()?;
    }
    Some(fields)
}

#[cfg(test)]
mod tests {
    use super::super::simulated::Simulated;
    use super::*;

    #[test]
    fn what_thickness_makes_is_taken_away_and_the_rest_stays() {
        // Thickness grows along the columns and moves both; nothing else relates them.
        let mut simulated = Simulated::new((40, 40), 0.5, 0.0, 7);
        let thickness = Array2::from_shape_fn((40, 40), |(_, col)| col as f64 / 10.0);
        for (tau, v) in simulated.tau.iter_mut().zip(&mut simulated.v) {
            *tau *= &thickness.mapv(f64::exp);
            *v += &thickness;
        }
        let noise = Simulated::new((40, 40), 0.5, 0.0, 8);
        let covariates = [
            Covariate {
                name: "thickness",
                values: thickness.view(),
            },
            Covariate {
                name: "something else",
                values: noise.v[0].view(),
            },
        ];
        let halves = simulated.halves();
        let raw = of_fields(&Fields::of(&halves).expect("four maps"), 0.95)
            .correlation
            .value;
        let found = partial(&halves, &covariates, 0.95);
        assert_eq!(found.len(), 3);
        assert!(raw > 0.5, "{raw}");
        assert!(found[0].correlation.value.abs() < 0.25, "{found:?}");
        assert!(found[1].correlation.value > 0.5);
        assert_eq!(found[2].without, ["thickness", "something else"]);
        assert!(found[2].correlation.value.abs() < 0.25);
    }
}
