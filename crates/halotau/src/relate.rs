//! Are structure and dynamics related?
//!
//! [`relate`] is Spearman's rank correlation of two maps, within one temperature: a common trend with temperature makes any two
//! quantities correlate. It has no p-value: neighboring positions share the probe, and both maps come from the same
//! speckles, so that the textbook p-value is wrong. [`decoupled`] is the number that has one.

mod apart;
mod checks;
mod combine;
mod decoupled;
mod fields;
mod partial;
#[cfg(test)]
mod simulated;
mod surrogates;

use ndarray::ArrayView2;
use serde::{Deserialize, Serialize};

use crate::quality::Quality;
use crate::rank::spearman;
use crate::series::Position;

pub use apart::{ApartRelation, apart};
pub use checks::{ChecksInput, CoupledRange, Displaced, RankAgreement, RelationChecks, checks};
pub use combine::{Combined, CombinedRelation, combine};
pub use decoupled::{DecoupledRelation, HalfMaps, MIN_RELIABILITY, decoupled};
pub use partial::{Covariate, PartialRelation};

/// Rank correlation of two maps.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct StructureDynamics {
    /// Spearman's rho with mid-ranks; NaN for fewer than 3 positions.
    #[serde(with = "crate::nonfinite")]
    pub spearman: f64,
    /// Positions that entered.
    pub n: usize,
}

/// One position of the scatter plot of two maps.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ScatterRow {
    /// Where.
    pub position: Position,
    /// Value of the first map, for example tau in seconds.
    pub x: f64,
    /// Value of the second map, for example V.
    pub y: f64,
    /// Flags of the position; none of them is BAD.
    pub quality: Quality,
}

/// Rank correlation of two maps of one temperature, each `[row, col]`, over the positions of [`scatter`].
///
/// Unchanged by any monotone change of scale of a map. A tau that is only a lower limit enters at its estimate.
///
/// # Example
///
/// ```
/// use halotau::ndarray::array;
/// use halotau::{quality::Quality, relate::relate};
///
/// let tau_s = array![[200.0, 400.0, 800.0, f64::NAN]];
/// let fluctuation = array![[0.1, 0.3, 0.2, 0.9]];
/// let quality = tau_s.map(|_| Quality::default());
/// let relation = relate(tau_s.view(), fluctuation.view(), quality.view());
/// // Ranks 1 2 3 against 1 3 2: 1 − 6·2/(3·8)
/// assert!((relation.spearman - 0.5).abs() < 1e-12);
/// assert_eq!(relation.n, 3);
/// ```
pub fn relate(
    x: ArrayView2<'_, f64>,
    y: ArrayView2<'_, f64>,
    quality: ArrayView2<'_, Quality>,
) -> StructureDynamics {
    let rows = scatter(x, y, quality);
    let (x, y): (Vec<f64>, Vec<f64>) = rows.iter().map(|row| (row.x, row.y)).unzip();
    StructureDynamics {
        spearman: spearman(&x, &y),
        n: rows.len(),
    }
}

/// The positions at which both maps have a finite value and no flag is BAD, in row order.
///
/// Positions that not all three maps hold are left out.
///
/// # Example
///
/// ```
/// use halotau::ndarray::array;
/// use halotau::{quality::Quality, relate::scatter};
///
/// let tau_s = array![[200.0, 400.0]];
/// let fluctuation = array![[0.1, 0.3]];
/// let quality = array![[Quality::default(), Quality::MASKED]];
/// let rows = scatter(tau_s.view(), fluctuation.view(), quality.view());
/// assert_eq!(rows.len(), 1);
/// assert_eq!((rows[0].x, rows[0].y), (200.0, 0.1));
/// ```
pub fn scatter(
    x: ArrayView2<'_, f64>,
    y: ArrayView2<'_, f64>,
    quality: ArrayView2<'_, Quality>,
) -> Vec<ScatterRow> {
    let row_at = |((row, col), &x): ((usize, usize), &f64)| {
        let (&y, &quality) = (y.get((row, col))?, quality.get((row, col))?);
        let usable = x.is_finite() && y.is_finite() && !quality.is_bad();
        usable.then_some(ScatterRow {
            position: Position { row, col },
            x,
            y,
            quality,
        })
    };
    x.indexed_iter().filter_map(row_at).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::array;

    #[test]
    fn bad_and_missing_positions_are_left_out_and_notes_are_kept() {
        let mut bad_and_noted = Quality::TAU_GT_WINDOW;
        bad_and_noted.set(Quality::TAU_LT_STEP);
        let x = array![[1.0, 2.0, 3.0], [4.0, f64::INFINITY, 6.0]];
        let y = array![[1.0, 2.0, 3.0], [-9.0, 5.0, f64::NAN]];
        let none = Quality::default();
        let quality = array![
            [none, Quality::TAU_GT_WINDOW, none],
            [bad_and_noted, none, none]
        ];
        let rows = scatter(x.view(), y.view(), quality.view());
        let values: Vec<f64> = rows.iter().map(|row| row.x).collect();
        assert_eq!(values, [1.0, 2.0, 3.0]);
        assert_eq!(rows[1].position, Position { row: 0, col: 1 });
        let relation = relate(x.view(), y.view(), quality.view());
        assert_eq!((relation.spearman, relation.n), (1.0, 3));
    }
}
