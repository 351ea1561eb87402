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

mod events;
mod flatten;
mod fourier;
mod lags;
mod multi_tau;
mod pairs;
mod per_pixel;
mod product;
mod sectors;

use ndarray::{Array2, Array3, ArrayView2};
use serde::{Deserialize, Serialize};

use crate::axes::QRange;
use crate::error::{Error, Result};
use crate::ring::PixelSeries;
use crate::series::Position;

pub use flatten::{DistantPairs, FlattenSums, MIN_AREAS_FOR_PIXEL_FLATTENING};
pub use fourier::{FourierSums, LagSums};
pub use lags::{LagSpacing, Lags, MIN_MULTI_TAU_TIMES};
pub use multi_tau::MultiTau;
pub use per_pixel::per_pixel_curve;
pub(crate) use sectors::{RingParts, curves_of_parts};
pub use sectors::{SectorCurves, sector_curves};

use pairs::{PairSums, lag_means};

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
    /// The lags of g.
    pub lags: LagSpacing,
    /// Two-time matrices to keep.
    pub two_time: TwoTimeKept,
    /// Positions whose two-time matrix is kept as well.
    pub two_time_positions: Vec<Position>,
    /// Whether the tests of [`dynamics`](crate::dynamics) are made.
    pub tests: bool,
    /// Rings of Q whose tau is compared, over the band of the variance; 0 compares none.
    pub q_rings: usize,
}

impl Default for CorrelateSettings {
    fn default() -> Self {
        Self {
            q_range_per_nm: QRange::new(4.2, 4.6),
            normalization: Normalization::default(),
            flattening: Flattening::default(),
            lags: LagSpacing::default(),
            two_time: TwoTimeKept::default(),
            two_time_positions: Vec::new(),
            tests: false,
            q_rings: 5,
        }
    }
}

impl CorrelateSettings {
    /// The lags of a record of so many scans. All of them where a setting needs them: G of every position, and normalization by pixel.
    ///
    /// # Example
    ///
    /// ```
    /// use halotau::correlate::CorrelateSettings;
    ///
    /// let settings = CorrelateSettings::default();
    /// assert_eq!(settings.lags(106).len(), 105);
    /// assert_eq!(settings.lags(4000).len(), 79);
    /// ```
    pub fn lags(&self, n_times: usize) -> Lags {
        let is_wanted = match self.lags {
            LagSpacing::Auto => n_times >= MIN_MULTI_TAU_TIMES,
            LagSpacing::All => false,
            LagSpacing::MultiTau => true,
        };
        if is_wanted && self.allows_multi_tau() {
            Lags::multi_tau(n_times)
        } else {
            Lags::all(n_times)
        }
    }

    /// Whether g may be computed at few lags.
    pub fn allows_multi_tau(&self) -> bool {
        self.normalization != Normalization::PerPixel && self.two_time != TwoTimeKept::All
    }
}

/// g(t) of every position, `[row, col, lag]`, at the lags of [`CorrelateSettings::lags`].
#[derive(Debug, Clone, PartialEq)]
pub struct CorrelationCurves {
    /// Mean time between scans that far apart, `[lag]`.
    pub lag_s: Vec<f64>,
    /// Pairs of scans that each lag is the mean of, without missing ones, `[lag]`.
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

/// Two-time correlation of one scan position over the pixels of a ring.
///
/// ```text
/// G(t1, t2) = ⟨I(t1)·I(t2)⟩ / (⟨I(t1)⟩·⟨I(t2)⟩)        eq. (1), ⟨·⟩ over ring pixels
/// ```
///
/// `ring` is `[time, pixel]` in counts; NaN marks a sample that is missing, and each pair of times uses the pixels
/// that both have. The result is `[time, time]`, dimensionless and symmetric.
/// Multiplying one scan by a constant (a change of beam current) leaves it unchanged.
///
/// # Errors
///
/// [`Error::DarkFrame`] where a scan has no counts in the ring; [`Error::EmptyRing`] without pixels.
///
/// # Example
///
/// ```
/// use halotau::ndarray::array;
/// // Two pixels, two scans that swap them: ⟨I1 I2⟩ = 3, means 2 and 2.
/// let two_time = halotau::correlate::two_time(array![[1.0, 3.0], [3.0, 1.0]].view())?;
/// assert_eq!(two_time, array![[1.25, 0.75], [0.75, 1.25]]);
/// # Ok::<(), halotau::Error>(())
/// ```
pub fn two_time(ring: ArrayView2<'_, f64>) -> Result<Array2<f64>> {
    if ring.ncols() == 0 {
        return Err(Error::EmptyRing {
            q_min_per_nm: f64::NAN,
            q_max_per_nm: f64::NAN,
            n_pixels: 0,
            needed: 1,
        });
    }
    let sums = PairSums::of(&PixelSeries::of(ring));
    let is_dark = |&time: &usize| sums.mean_at(time).is_nan() || sums.mean_at(time) <= 0.0;
    if let Some(time) = (0..ring.nrows()).find(is_dark) {
        return Err(Error::DarkFrame { time });
    }
    Ok(sums.two_time())
}

/// What every pair of scans has in common: the sum over pixels of the product of their counts, `[time_1, time_2]`.
///
/// Exact for counts. This is the numerator of eq. (1) before it is divided by the number of pixels, with the vector instructions of
/// this processor. A missing sample counts as zero.
///
/// # Example
///
/// ```
/// use halotau::correlate::products;
/// use halotau::ndarray::array;
/// use halotau::ring::PixelSeries;
///
/// let series = PixelSeries::of(array![[1.0, 3.0], [3.0, 1.0]].view());
/// assert_eq!(products(&series), array![[10.0, 6.0], [6.0, 10.0]]);
/// ```
pub fn products(series: &PixelSeries) -> Array2<f64> {
    PairSums::of(series).products()
}

/// G of the pixels of a series, `[time_1, time_2]`, without the checks of [`two_time`].
pub(crate) fn pair_matrix(series: &PixelSeries) -> Array2<f64> {
    PairSums::of(series).two_time()
}

/// g(t): the mean of G over each diagonal, lags 1 to `n_times − 1`, eq. (2).
///
/// `valid` says which scans count, `[time]`; a lag without pairs is NaN. Lag 0 is left out: it holds the shot noise.
///
/// # Example
///
/// ```
/// use halotau::ndarray::array;
/// let two_time = array![[9.0, 1.2, 1.1], [1.2, 9.0, 1.4], [1.1, 1.4, 9.0]];
/// let g = halotau::correlate::one_time(two_time.view(), &[true; 3]);
/// assert_eq!(g, [(1.2 + 1.4) / 2.0, 1.1]);
/// ```
pub fn one_time(two_time: ArrayView2<'_, f64>, valid: &[bool]) -> Vec<f64> {
    lag_means(valid, |first, later| {
        let row = two_time.row(first);
        match row.as_slice() {
            Some(row) => later.copy_from_slice(&row[first + 1..]),
            None => {
                let values = later.iter_mut().zip(row.into_iter().skip(first + 1));
                values.for_each(|(later, value)| *later = *value);
            }
        }
    })
}

/// Number of pairs of valid scans at each lag, `[lag]`.
pub fn n_pairs(valid: &[bool]) -> Vec<usize> {
    let n = valid.len();
    // Few scans are missing: what they take is counted, instead of what is left.
    let missing: Vec<usize> = (0..n).filter(|&time| !valid[time]).collect();
    let before = |time: usize| missing.partition_point(|&missing| missing < time);
    (1..n)
        .map(|lag| {
            let both = missing
                .iter()
                .filter(|&&time| time + lag < n && !valid[time + lag])
                .count();
            let (early, late) = (before(n - lag), missing.len() - before(lag));
            n - lag + both - early - late
        })
        .collect()
}
