//! How uneven is a ring?
//!
//! ```text
//! V(Q, r) = ⟨I²⟩ / ⟨I⟩² − 1        eq. (5), ⟨·⟩ over azimuth, per scan, then the mean over scans
//! ```
//!
//! Per ring of one binned pixel width, averaged with the number of pixels, or over the whole band at once:
//! the latter holds the radial profile of the halo as well. Shot noise adds `gain · excess / ⟨I⟩`.

mod groups;
mod moments;
mod variance;

use ndarray::Array2;
use serde::{Deserialize, Serialize};

use crate::axes::QRange;

pub use variance::{BandGeometry, Fluctuation, fluctuation};
pub(crate) use variance::{BandParts, fluctuation_of_parts};

/// Over which pixels the azimuthal averages go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Grouping {
    /// Per ring of one binned pixel width, averaged over the band with the number of pixels.
    #[default]
    PerRing,
    /// Over the whole band at once; holds the shape of the halo.
    Band,
}

/// What is done about shot noise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Noise {
    /// Nothing: raw V (the paper).
    None,
    /// `gain · excess_factor / ⟨I⟩` is subtracted.
    Counting,
    /// `gain · excess_factor / ⟨I⟩ · (1 − 1/P)` is subtracted, P pixels in the ring: the ring's own mean takes the share
    /// 1/P of the noise away before. Zero on average for counting noise alone; `Counting` is short by `1/(P ⟨I⟩)` there.
    #[default]
    FiniteCounting,
    /// `⟨I (I − 1)⟩ / ⟨I⟩² − 1`; exact integers only.
    Factorial,
    /// `G(t, t + step) − 1`: consecutive scans share no noise. Needs tau far above the step.
    TwoFrame,
}

/// Settings of the azimuthal variance.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FluctuateSettings {
    /// The band.
    pub q_range_per_nm: QRange,
    /// Ring by ring or the band at once.
    pub grouping: Grouping,
    /// Which correction the headline V has; all are stored.
    pub noise: Noise,
    /// Detector units an electron.
    pub gain: f64,
    /// Excess of the variance of an electron's signal over counting, at least 1.
    pub excess_factor: f64,
}

impl Default for FluctuateSettings {
    fn default() -> Self {
        Self {
            q_range_per_nm: QRange::new(3.0, 5.8),
            grouping: Grouping::default(),
            noise: Noise::default(),
            gain: 1.0,
            excess_factor: 1.0,
        }
    }
}

/// V of every position, each `[row, col]`; NaN where there is no value.
#[derive(Debug, Clone, PartialEq)]
pub struct FluctuationMap {
    /// V in the grouping and with the correction of the settings.
    pub values: Array2<f64>,
    /// Its standard error from the sector jackknife.
    pub error: Array2<f64>,
    /// Raw, per ring.
    pub raw_ring: Array2<f64>,
    /// Raw, over the band at once.
    pub raw_band: Array2<f64>,
    /// Counting-corrected, in the grouping of the settings.
    pub counting: Array2<f64>,
    /// Factorial, in the grouping of the settings; NaN for counts that are not integers.
    pub factorial: Array2<f64>,
    /// From consecutive scans, in the grouping of the settings.
    pub two_frame: Array2<f64>,
    /// Mean counts a pixel of the band.
    pub mean_counts: Array2<f64>,
}
