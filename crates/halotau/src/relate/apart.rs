//! The same question asked of other pixels: tau from one ring, V from spatial frequencies that share no speckle with it.
//!
//! ```text
//! r     = mean over positions of x y          x: ranks of tau from the ring, y: V from |Q − ring| ≥ α/λ, both standardized
//! var r = (1/n²) Σ_h N_h C(x, x; h) C(y, y; h)
//! ```
//!
//! Speckles are as wide as the aperture of the probe, α/λ in radius. This number shares no pixel of V with the ring of tau and is, unlike
//! the halves of the directions, one direction only: tau and V never come from the same speckles, so that the variance has no common term.
//!
//! Source: Clifford, Richardson, Hémon, Biometrics 45, 123 (1989), doi 10.2307/2532039.

use ndarray::{Array2, ArrayView2};
use serde::{Deserialize, Serialize};

use super::decoupled::{HalfMaps, fisher, probability};
use super::fields::Fields;
use crate::statistics::Estimate;

/// Correlation of tau from one range of spatial frequencies with V from others.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ApartRelation {
    /// r of the module, with its interval by Fisher's z.
    pub correlation: Estimate,
    /// Probability of an |r| so large without a relation.
    #[serde(with = "crate::nonfinite")]
    pub p_value: f64,
    /// Positions that entered.
    pub n: usize,
    /// 1 + 1/var r.
    #[serde(with = "crate::nonfinite")]
    pub n_effective: f64,
}

/// Correlates the ranks of one map with the values of another, each `[row, col]`, NaN where there is no value.
///
/// `None` for fewer than ten positions with both, or where a map is constant. The maps must not share speckles.
///
/// # Example
///
/// ```
/// use halotau::ndarray::Array2;
///
/// let tau_s = Array2::from_shape_fn((8, 8), |(row, col)| 100.0 + (3 * row + 5 * col) as f64);
/// let relation = halotau::relate::apart(tau_s.view(), tau_s.mapv(|tau| -tau).view(), 0.95).unwrap();
/// assert!(relation.correlation.value < -0.97);
/// // A plane over the field is worth a handful of positions, not 64.
/// assert!(relation.n_effective < 20.0);
/// ```
pub fn apart(
    tau_s: ArrayView2<'_, f64>,
    fluctuation: ArrayView2<'_, f64>,
    level: f64,
) -> Option<ApartRelation> {
    let maps = HalfMaps {
        tau_s: [tau_s, tau_s],
        fluctuation: [fluctuation, fluctuation],
    };
    let mut fields = Fields::of(&maps)?;
    let (n, r) = (fields.n(), fields.crossed());
    // The crossed variance with a second half that holds nothing is a quarter of this one.
    let nothing = Array2::zeros(fields.valid.dim());
    fields.x[1] = nothing.clone();
    fields.y[0] = nothing;
    let variance = 4.0 * fields.variance(n);
    let n_effective = 1.0 + 1.0 / variance;
    Some(ApartRelation {
        correlation: fisher(r, n_effective, level),
        p_value: probability(r, n_effective),
        n,
        n_effective,
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests {
    use super::super::simulated::Simulated;
    use super::*;

    #[test]
    fn maps_without_a_link_are_called_related_as_often_as_stated() {
        let mut found = 0;
        for seed in 0..100 {
            let simulated = Simulated::new((24, 24), 0.7, 0.0, 9000 + seed);
            let relation = apart(simulated.tau[0].view(), simulated.v[1].view(), 0.95).unwrap();
            found += usize::from(relation.p_value < 0.05);
        }
        // 5 of 100 with a standard error of 2.
        assert!(found <= 12, "{found} of 100");
    }
}
