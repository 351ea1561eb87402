//! What the figures need of the counts.

use std::path::Path;

use halotau::ndarray::{Array1, Array3};
use halotau::series::Position;

use crate::error::Result;
use crate::zarr_store::Named;

const PART: &str = "pictures";
const RING_MEAN: Named = Named::new(
    "ring_mean",
    &["time"],
    "count",
    "mean counts of a pixel of the ring over all positions",
);
const PATTERNS: Named = Named::new(
    "patterns",
    &["shown", "pattern_row", "pattern_col"],
    "count",
    "patterns of chosen positions at chosen scans",
);

/// What the figures need of the counts.
#[derive(Debug, Clone, PartialEq)]
pub struct Pictures {
    /// Mean counts of a pixel of the ring in each scan, over all positions, `[time]`.
    pub ring_mean: Vec<f64>,
    /// Positions whose patterns are shown.
    pub positions: Vec<Position>,
    /// Their patterns, as many of each position, `[shown, pattern row, pattern col]`.
    pub patterns: Array3<f64>,
}

/// Keeps what the figures need.
///
/// # Errors
///
/// [`Error::Locked`](crate::Error::Locked), [`Error::Io`](crate::Error::Io).
pub fn write_pictures(path: &Path, key: &str, pictures: &Pictures) -> Result<()> {
    super::write(path, PART, key, &pictures.positions, |group| {
        group.array(&RING_MEAN, &Array1::from(pictures.ring_mean.clone()))?;
        group.array(&PATTERNS, &pictures.patterns)
    })
}

/// Gives back what [`write_pictures`] kept.
///
/// # Errors
///
/// As [`read_conditions`](super::read_conditions).
pub fn read_pictures(path: &Path, key: &str) -> Result<Pictures> {
    let (group, positions) = super::open(path, PART, key)?;
    Ok(Pictures {
        ring_mean: group.vector(RING_MEAN.name)?,
        positions,
        patterns: group.array(PATTERNS.name)?,
    })
}
