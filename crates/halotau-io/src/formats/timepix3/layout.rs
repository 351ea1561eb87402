//! Where on the detector is a pixel of a chip?
//!
//! The four chips of a quad are mounted head to head, so that two of them are turned by half a turn:
//!
//! ```text
//! 3 | 0        unturned
//! 2 | 1        turned
//! ```

use std::collections::BTreeSet;

use halotau::recipe::Orientation;
use serde::Deserialize;

use super::words::Hit;

/// Rows and columns of a chip.
const SIDE: usize = 256;
/// Rows and columns of a detector beyond which a place is a mistake: sixteen chips in a row.
const MOST_SIDE: usize = 4096;

/// Chips as a sidecar places them.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
pub(super) enum Chips {
    /// A layout by its name.
    Named(Named),
    /// Each chip by its place.
    Listed(Vec<Chip>),
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Named {
    Single,
    Quad,
}

/// A chip: which rows and columns of the detector its first ones are, and how it is turned.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Chip {
    chip: u8,
    row: usize,
    col: usize,
    #[serde(default)]
    turn: Orientation,
}

/// The detector pixel of each pixel of each chip.
pub(super) struct Layout {
    pub(super) n_rows: usize,
    pub(super) n_cols: usize,
    /// By number of the chip.
    chips: Vec<Option<Vec<u32>>>,
}

impl Chips {
    /// One chip, or the usual mounting of four.
    pub(super) fn guess(chips: &BTreeSet<u8>) -> Self {
        if chips.iter().all(|&chip| chip == 0) {
            Self::Named(Named::Single)
        } else {
            Self::Named(Named::Quad)
        }
    }

    fn list(&self) -> Vec<Chip> {
        let half = Orientation {
            flip_rows: true,
            flip_cols: true,
            ..Orientation::default()
        };
        let place = |chip, row, col, turn| Chip {
            chip,
            row,
            col,
            turn,
        };
        let straight = Orientation::default();
        match self {
            Self::Named(Named::Single) => vec![place(0, 0, 0, straight)],
            Self::Named(Named::Quad) => vec![
                place(0, 0, SIDE, straight),
                place(1, SIDE, SIDE, half),
                place(2, SIDE, 0, half),
                place(3, 0, 0, straight),
            ],
            Self::Listed(chips) => chips.clone(),
        }
    }

    /// Looks up every pixel.
    ///
    /// # Errors
    ///
    /// In words, what is wrong with the places.
    pub(super) fn layout(&self) -> Result<Layout, String> {
        let list = self.list();
        let farthest = list.iter().map(|chip| chip.row.max(chip.col)).max();
        if farthest.is_none_or(|farthest| farthest > MOST_SIDE - SIDE) {
            return Err(format!(
                "events.chips must list at least one chip, with row and col up to {}",
                MOST_SIDE - SIDE
            ));
        }
        let n_rows = list
            .iter()
            .map(|chip| chip.row + SIDE)
            .max()
            .unwrap_or(SIDE);
        let n_cols = list
            .iter()
            .map(|chip| chip.col + SIDE)
            .max()
            .unwrap_or(SIDE);
        let mut chips: Vec<Option<Vec<u32>>> = vec![None; 256];
        for chip in &list {
            let mut pixels = vec![0; SIDE * SIDE];
            for idx in 0..SIDE * SIDE {
                let (row, col) = chip.turn.before(idx / SIDE, idx % SIDE, SIDE, SIDE);
                let on_detector = (chip.row + idx / SIDE) * n_cols + chip.col + idx % SIDE;
                pixels[row * SIDE + col] = on_detector as u32;
            }
            let slot = &mut chips[usize::from(chip.chip)];
            if slot.replace(pixels).is_some() {
                return Err(format!("events.chips lists chip {} twice", chip.chip));
            }
        }
        Ok(Layout {
            n_rows,
            n_cols,
            chips,
        })
    }
}

impl Layout {
    /// Number of the detector pixel of a hit, `None` where its chip has no place.
    pub(super) fn pixel(&self, chip: u8, hit: &Hit) -> Option<usize> {
        let pixels = self.chips[usize::from(chip)].as_ref()?;
        let pixel = pixels.get(usize::from(hit.row) * SIDE + usize::from(hit.col))?;
        Some(*pixel as usize)
    }

    pub(super) fn has(&self, chip: u8) -> bool {
        self.chips[usize::from(chip)].is_some()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests {
    use super::*;

    #[test]
    fn four_chips_are_mounted_head_to_head() {
        let layout = Chips::Named(Named::Quad).layout().unwrap();
        assert_eq!((layout.n_rows, layout.n_cols), (512, 512));
        let at = |chip| {
            let hit = Hit {
                row: 2,
                col: 3,
                ticks: 0,
            };
            let pixel = layout.pixel(chip, &hit).unwrap();
            (pixel / 512, pixel % 512)
        };
        assert_eq!(at(0), (2, 259));
        assert_eq!(at(1), (509, 508));
        assert_eq!(at(2), (509, 252));
        assert_eq!(at(3), (2, 3));
    }
}
