//! Are structure and dynamics related?
//!
//! Spearman's rank correlation of two maps, within one temperature: a common trend with temperature makes any two
//! quantities correlate. No p-value stands here: neighboring positions share the probe, and both maps come from the same
//! speckles, so that the textbook p-value is wrong.

use serde::{Deserialize, Serialize};

/// Rank correlation of two maps.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct StructureDynamics {
    /// Spearman's rho with mid-ranks; NaN for fewer than 3 positions.
    pub spearman: f64,
    /// Positions that entered.
    pub n: usize,
}
