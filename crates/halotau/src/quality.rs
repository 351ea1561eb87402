//! Can this position be read?
//!
//! One bit mask a position stands beside every map. [`Quality::BAD`] positions carry no number and are left out of
//! every statistic; the others are notes: the number stands, with its condition.

use serde::{Deserialize, Serialize};

/// Flags of one position; the bit numbers are part of the file format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Quality(pub u32);

impl Quality {
    /// Nothing was computed here; the fill value.
    pub const NOT_COMPUTED: Self = Self(1);
    /// Left out by the user, by an edge or by a mask.
    pub const MASKED: Self = Self(1 << 1);
    /// Too few valid scans.
    pub const FEW_FRAMES: Self = Self(1 << 2);
    /// A scan without counts in the ring.
    pub const ZERO_INTENSITY: Self = Self(1 << 3);
    /// NaN or infinite samples were seen (and left out).
    pub const NONFINITE_INPUT: Self = Self(1 << 4);
    /// More than 0.1 % of the ring's samples at the highest value of their type.
    pub const SATURATED: Self = Self(1 << 5);
    /// Shot noise is more than half of the variance on the ring.
    pub const LOW_COUNTS: Self = Self(1 << 6);
    /// The counts change by more than 20 % over the record, beyond the beam current: thickness, contamination.
    pub const DRIFT: Self = Self(1 << 7);
    /// The fit did not converge.
    pub const FIT_NO_CONVERGE: Self = Self(1 << 8);
    /// A fitted parameter ended at its bound.
    pub const FIT_AT_BOUND: Self = Self(1 << 9);
    /// tau is below two time steps: it was not resolved.
    pub const TAU_LT_STEP: Self = Self(1 << 10);
    /// tau is beyond the record, or its interval is open above: censored in summaries.
    pub const TAU_GT_WINDOW: Self = Self(1 << 11);
    /// A flat curve explains the data as well as a decay.
    pub const NO_DECAY: Self = Self(1 << 12);
    /// The curve is not of the fitted form.
    pub const POOR_FIT: Self = Self(1 << 13);
    /// The parameters cannot be told apart.
    pub const ILL_CONDITIONED: Self = Self(1 << 14);
    /// Frames are missing.
    pub const PARTIAL_DATA: Self = Self(1 << 15);
    /// tau is above half of what drift that is left would give perfectly still speckle.
    pub const DRIFT_LIMITED: Self = Self(1 << 16);
    /// The late half of the record differs from the early one by more than chance in 99 of 100 stationary records.
    pub const CHANGES_WITH_AGE: Self = Self(1 << 17);

    /// No number possible: left out of every statistic.
    pub const BAD: Self = Self(
        Self::NOT_COMPUTED.0
            | Self::MASKED.0
            | Self::FEW_FRAMES.0
            | Self::FIT_NO_CONVERGE.0
            | Self::TAU_LT_STEP.0,
    );

    /// All flags with their names as written in files and reports.
    pub const NAMES: [(Self, &'static str); 18] = [
        (Self::NOT_COMPUTED, "not_computed"),
        (Self::MASKED, "masked"),
        (Self::FEW_FRAMES, "few_frames"),
        (Self::ZERO_INTENSITY, "zero_intensity"),
        (Self::NONFINITE_INPUT, "nonfinite_input"),
        (Self::SATURATED, "saturated"),
        (Self::LOW_COUNTS, "low_counts"),
        (Self::DRIFT, "drift"),
        (Self::FIT_NO_CONVERGE, "fit_no_converge"),
        (Self::FIT_AT_BOUND, "fit_at_bound"),
        (Self::TAU_LT_STEP, "tau_lt_step"),
        (Self::TAU_GT_WINDOW, "tau_gt_window"),
        (Self::NO_DECAY, "no_decay"),
        (Self::POOR_FIT, "poor_fit"),
        (Self::ILL_CONDITIONED, "ill_conditioned"),
        (Self::PARTIAL_DATA, "partial_data"),
        (Self::DRIFT_LIMITED, "drift_limited"),
        (Self::CHANGES_WITH_AGE, "changes_with_age"),
    ];

    /// Whether any of the given flags is set.
    pub fn has(self, flags: Self) -> bool {
        self.0 & flags.0 != 0
    }

    /// Sets flags.
    pub fn set(&mut self, flags: Self) {
        self.0 |= flags.0;
    }

    /// Sets flags where a condition holds.
    pub fn set_if(&mut self, condition: bool, flags: Self) {
        if condition {
            self.set(flags);
        }
    }

    /// Whether the position must be left out of statistics.
    pub fn is_bad(self) -> bool {
        self.has(Self::BAD)
    }

    /// Whether tau is only a lower limit.
    pub fn is_censored(self) -> bool {
        self.has(Self::TAU_GT_WINDOW)
    }

    /// Names of the flags that are set.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        Self::NAMES
            .into_iter()
            .filter(move |(flag, _)| self.has(*flag))
            .map(|(_, name)| name)
    }
}
