//! How alike are the patterns of one position at two times?
//!
//! ```text
//! G(t1, t2) = ⟨I(t1)·I(t2)⟩ / (⟨I(t1)⟩·⟨I(t2)⟩)        eq. (1), ⟨·⟩ over ring pixels
//! g(t)      = ⟨G(t1, t1 + t)⟩ over t1                  eq. (2)
//! ```
//!
//! The ring mean in the denominator makes changes of beam current vanish and leaves no finite-window bias.
//! Lag 0 is left out: its diagonal holds the shot noise.
//!
//! Source: Nakazawa et al., NPG Asia Mater. 16 (2024), doi 10.1038/s41427-024-00577-1; the same form as the
//! two-time correlation of X-ray photon correlation spectroscopy.

use ndarray::{Array2, Array3};
use serde::{Deserialize, Serialize};

use crate::axes::QRange;
use crate::series::Position;

/// What the counts are divided by before they are correlated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Normalization {
    /// The mean over the ring in each scan (the paper's eq. (1)). Static structure along the azimuth adds a constant to g − 1.
    Ring,
    /// As `Ring`, after division by the pattern averaged over positions and times, which removes static structure.
    #[default]
    Flattened,
    /// Each pixel by its means over the two time windows, then averaged over pixels (the form of electron correlation
    /// microscopy). Biased in finite records: always fitted with the finite-window model.
    PerPixel,
}

/// How the mean pattern for [`Normalization::Flattened`] is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Flattening {
    /// `Pixel` where the scan holds at least 300 independent probe areas, else `Radial`.
    #[default]
    Auto,
    /// Each pixel's own mean. Removes real speckle where few areas are averaged.
    Pixel,
    /// The mean over azimuth, in bins of one binned pixel.
    Radial,
}

/// Which two-time matrices are kept.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TwoTimeKept {
    /// The mean over the region, and the positions named, and a slow and a fast one for the figures.
    #[default]
    Region,
    /// Every position: `n_times²` numbers each.
    All,
}

/// Settings of the two-time correlation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CorrelateSettings {
    /// The ring.
    pub q_range_per_nm: QRange,
    /// What is divided by.
    pub normalization: Normalization,
    /// How the mean pattern is made.
    pub flattening: Flattening,
    /// Two-time matrices to keep.
    pub two_time: TwoTimeKept,
    /// Positions whose two-time matrix is kept as well.
    pub two_time_positions: Vec<Position>,
}

impl Default for CorrelateSettings {
    fn default() -> Self {
        Self {
            q_range_per_nm: QRange::new(4.2, 4.6),
            normalization: Normalization::default(),
            flattening: Flattening::default(),
            two_time: TwoTimeKept::default(),
            two_time_positions: Vec::new(),
        }
    }
}

/// g(t) of every position, `[row, col, lag]`, lags 1 to `n_times − 1` steps.
#[derive(Debug, Clone, PartialEq)]
pub struct CorrelationCurves {
    /// Mean time between scans that far apart, `[lag]`.
    pub lag_s: Vec<f64>,
    /// Pairs of scans at each lag, without missing ones, `[lag]`.
    pub n_pairs: Vec<usize>,
    /// g, `[row, col, lag]`; NaN where it cannot be computed.
    pub g: Array3<f64>,
    /// Standard error of g from the sector jackknife, `[row, col, lag]`.
    pub g_error: Array3<f64>,
}

/// G(t1, t2) of one position or of the region mean.
#[derive(Debug, Clone, PartialEq)]
pub struct TwoTime {
    /// The position, or `None` for the mean over all valid positions.
    pub position: Option<Position>,
    /// `[time_1, time_2]`; the diagonal holds shot noise.
    pub values: Array2<f64>,
}
