//! Which frames of a recording belong to which scan positions?

use serde::{Deserialize, Serialize};

/// How the frames of a recording belong to scan positions, beyond their order; and how both planes are turned.
///
/// A camera that is triggered by the scan records frames in the order of the scan, but it may start early or late, and may go
/// on while the beam returns to the start of the next line:
///
/// ```text
/// sync_offset | prescan_cols · columns · flyback_cols | prescan_cols · columns · flyback_cols | ... | between_scans | ...
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FrameLayout {
    /// Frames before the first line; where negative, positions before the first frame.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sync_offset: Option<i64>,
    /// Frames before the first column of each line that belong to no position.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prescan_cols: Option<usize>,
    /// Frames after the last column of each line that belong to no position.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub flyback_cols: Option<usize>,
    /// Frames between one scan and the next that belong to no position.
    pub between_scans: usize,
    /// Whether every second line, from the second on, was scanned backward.
    pub snake: bool,
    /// How the scan's rows and columns are turned.
    pub scan: Orientation,
    /// How the rows and columns of each pattern are turned.
    pub pattern: Orientation,
    /// Dark and gain references that lie beside the frames; `None` leaves it to the format.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub corrections: Option<Corrections>,
    /// Which of several counters (energy thresholds) of a detector is read, from 0.
    pub counter: usize,
    /// What becomes of rows that the camera summed to one.
    pub binned_rows: BinnedRows,
}

impl FrameLayout {
    /// Whether nothing is asked for.
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }

    /// Whether frames are to be taken in another order than that of the file's own axes.
    pub fn rearranges(&self) -> bool {
        let kept = Self {
            corrections: self.corrections,
            counter: self.counter,
            binned_rows: self.binned_rows,
            ..Self::default()
        };
        *self != kept
    }
}

/// Turns of an image: rows and columns are exchanged first, then either may be reversed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Orientation {
    /// Whether rows and columns are exchanged.
    pub transpose: bool,
    /// Whether the last row (after the exchange) becomes the first.
    pub flip_rows: bool,
    /// Whether the last column (after the exchange) becomes the first.
    pub flip_cols: bool,
}

impl Orientation {
    /// Whether nothing is turned.
    pub fn is_identity(self) -> bool {
        self == Self::default()
    }

    /// Lengths of the axes of the turned image.
    pub fn turned(self, n_rows: usize, n_cols: usize) -> (usize, usize) {
        if self.transpose {
            (n_cols, n_rows)
        } else {
            (n_rows, n_cols)
        }
    }

    /// Where a pixel of the turned image, of `n_rows` by `n_cols`, was before.
    pub fn before(self, row: usize, col: usize, n_rows: usize, n_cols: usize) -> (usize, usize) {
        let row = if self.flip_rows {
            n_rows - 1 - row
        } else {
            row
        };
        let col = if self.flip_cols {
            n_cols - 1 - col
        } else {
            col
        };
        if self.transpose {
            (col, row)
        } else {
            (row, col)
        }
    }
}

/// What is done with the dark and gain references of a recording.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Corrections {
    /// Frames are read as they are stored.
    None,
    /// The references that lie beside the file are applied: (stored - dark) * gain.
    Apply,
}

/// What becomes of the rows of a pattern where the camera summed several of the detector to one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BinnedRows {
    /// Each is repeated as often as rows were summed, so that pixels are square; values are not divided.
    #[default]
    Repeat,
    /// They stay as they are, higher than wide.
    Keep,
}
