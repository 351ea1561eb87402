//! Is one relaxation time all there is?
//!
//! A map of tau takes for granted that the record is stationary, that a position forgets at one rate, and that this rate does not
//! depend on Q. This module asks the two-time matrices whether that is so:
//!
//! - [`aging`]: does the correlation at a fixed lag change with age, and tau from the early to the late half of the record;
//! - [`fluctuations`]: does it change with time by more than a finite number of speckles must, chi_t;
//! - [`four_point`]: are positions that relax early near each other, chi4, G4 and S4;
//! - [`stretch`]: is a stretched mean curve stretched everywhere, or a mixture of positions with different tau; is there a part that
//!   does not move;
//! - [`rings`]: is tau the same at every Q.
//!
//! Every test has its null from the data. Two ideas carry them:
//!
//! ```text
//! halves   two halves of the directions that share no speckle: the product of what each says has no noise in its mean,
//!          ⟨δ_A δ_B⟩ = 0 where nothing but a finite number of speckles is at work, also between overlapping probes
//! tiles    blocks of the scan that are several probe widths wide: nearly independent, so that leaving out one after another
//!          gives errors that know about probe overlap; entries of a two-time matrix are never taken for independent
//! ```
//!
//! What is found is a property of the record, not yet of the glass: drift, contamination and the beam change correlations too.
//!
//! Sources: Bikondoa, J. Appl. Cryst. 50, 357 (2017), doi 10.1107/S1600576717000577, for age and lag; Duri et al., Phys. Rev. E 72,
//! 051401 (2005), doi 10.1103/PhysRevE.72.051401, for fluctuations beyond the number of speckles; Glotzer, Novikov, Schrøder,
//! J. Chem. Phys. 112, 509 (2000), doi 10.1063/1.480541, for the four-point susceptibility; Rao, Linear Statistical Inference
//! and its Applications, 8c, for tests with a covariance that was measured.

pub mod aging;
mod covariance;
pub mod fluctuations;
pub mod four_point;
mod measure;
mod overlap;
pub mod rings;
mod simplex;
pub mod stretch;
mod tiles;

use ndarray::Array2;
use serde::{Deserialize, Serialize};

pub use aging::Aging;
pub use fluctuations::Fluctuations;
pub use four_point::FourPoint;
pub use measure::{Collector, CurveSettings};
pub use overlap::{HalfRecord, LagClasses};
pub use rings::{RingCurves, RingTimes};
pub use stretch::StretchTest;
pub use tiles::Tiles;

use crate::series::Position;
pub use crate::statistics::Estimate;

/// Tests of a relaxation with more than one number; a part is `None` where there are too few positions or scans for it.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Dynamics {
    /// Blocks of the scan whose scatter makes the errors.
    pub n_tiles: usize,
    /// Positions whose two halves of directions entered.
    pub n_positions: usize,
    /// Change with age.
    pub aging: Option<Aging>,
    /// Change with time beyond the number of speckles.
    pub fluctuations: Option<Fluctuations>,
    /// Correlation of the dynamics in space.
    pub four_point: Option<FourPoint>,
    /// Form of the decay.
    pub stretch: Option<StretchTest>,
    /// tau against Q.
    pub rings: Option<RingTimes>,
}

impl Dynamics {
    /// All that it says, one sentence or two a part.
    pub fn sentences(&self) -> Vec<String> {
        let parts = [
            self.aging.as_ref().map(Aging::sentence),
            self.fluctuations.as_ref().map(Fluctuations::sentence),
            self.four_point.as_ref().map(FourPoint::sentence),
            self.stretch.as_ref().map(StretchTest::sentence),
            self.rings.as_ref().map(RingTimes::sentence),
        ];
        parts.into_iter().flatten().collect()
    }
}

/// A quantity at a lag, with its interval.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct AtLag {
    /// Mean time between the scans.
    pub lag_s: f64,
    /// The quantity.
    pub estimate: Estimate,
}

/// Where the change with age is larger than chance at [`aging::FLAG_RISK`], `[row, col]`.
pub type ChangedPositions = Array2<bool>;

/// Everything that was collected of one position.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct PositionRecord {
    pub(crate) position: Position,
    pub(crate) halves: [HalfRecord; 2],
}

/// A probability as a reader wants it.
fn p_text(p_value: f64) -> String {
    if p_value.is_nan() {
        "p not known".to_owned()
    } else if p_value < 1e-4 {
        "p < 1e-4".to_owned()
    } else if p_value < 0.01 {
        format!("p = {p_value:.4}")
    } else {
        format!("p = {p_value:.2}")
    }
}

/// A number with about three digits and a minus as it is printed.
fn number_text(value: f64) -> String {
    let size = value.abs();
    let text = if !value.is_finite() {
        "open".to_owned()
    } else if size >= 100.0 {
        format!("{value:.0}")
    } else if size >= 10.0 {
        format!("{value:.1}")
    } else {
        format!("{value:.2}")
    };
    text.replace('-', "−")
}

/// A number with its interval.
fn interval_text(estimate: &Estimate) -> String {
    let [value, lower, upper] = [estimate.value, estimate.lower, estimate.upper].map(number_text);
    format!("{value} [{lower}, {upper}]")
}
