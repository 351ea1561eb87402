//! Blocks of the scan that are nearly independent of each other.

use ndarray::Array2;

use crate::series::Position;
use crate::statistics::{Estimate, jackknife, student_p_value};

/// Least width of a tile in probe widths. Neighbors under one probe share speckles; at this width 5 % of a tile's pairs of
/// positions do so with the next tile.
const MIN_WIDTHS: f64 = 2.5;

/// At most this many tiles along a side: more would say no more about the error and make the work longer.
const MAX_ALONG: usize = 6;

/// Below this number of tiles no error is known.
const MIN_TILES: usize = 6;

/// Which block of the scan each position lies in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tiles {
    /// `None` where a position is not looked at, or its block is nearly empty; `[row, col]`.
    of: Array2<Option<usize>>,
    n_tiles: usize,
}

impl Tiles {
    /// Cuts the positions that are looked at, `[row, col]`, into blocks at least 2.5 probe widths wide, at most six along a side.
    ///
    /// The blocks divide the rectangle around the positions evenly. One that is less than half as full as a block of the mean
    /// size is left out.
    ///
    /// # Example
    ///
    /// ```
    /// use halotau::dynamics::Tiles;
    /// use halotau::ndarray::Array2;
    ///
    /// // The paper's region: 60 x 60 positions, a probe of 4.9 steps.
    /// let tiles = Tiles::new(&Array2::from_elem((60, 60), true), 4.9);
    /// assert_eq!(tiles.len(), 16);
    /// ```
    pub fn new(looked_at: &Array2<bool>, probe_steps: f64) -> Self {
        let of = Array2::from_elem(looked_at.dim(), None);
        let places = || {
            let hit = looked_at.indexed_iter().filter(|(_, hit)| **hit);
            hit.map(|(place, _)| place)
        };
        let Some(first) = places().next() else {
            return Self { of, n_tiles: 0 };
        };
        let (mut low, mut high) = (first, first);
        for (row, col) in places() {
            low = (low.0.min(row), low.1.min(col));
            high = (high.0.max(row), high.1.max(col));
        }
        let width = if probe_steps.is_finite() {
            (MIN_WIDTHS * probe_steps).max(1.0)
        } else {
            MIN_WIDTHS
        };
        let along = |n: usize| ((n as f64 / width) as usize).clamp(1, MAX_ALONG);
        let extent = (high.0 - low.0 + 1, high.1 - low.1 + 1);
        let n = (along(extent.0), along(extent.1));
        let block = |(row, col): (usize, usize)| {
            (row - low.0) * n.0 / extent.0 * n.1 + (col - low.1) * n.1 / extent.1
        };
        let mut filled = vec![0_usize; n.0 * n.1];
        places().for_each(|place| filled[block(place)] += 1);
        let mean = filled.iter().sum::<usize>() as f64 / filled.len() as f64;
        let mut number = vec![None; filled.len()];
        let mut n_tiles = 0;
        for (number, &filled) in number.iter_mut().zip(&filled) {
            if filled > 0 && filled as f64 >= 0.5 * mean {
                *number = Some(n_tiles);
                n_tiles += 1;
            }
        }
        let mut tiles = Self { of, n_tiles };
        for place in places() {
            tiles.of[place] = number[block(place)];
        }
        tiles
    }

    /// Number of tiles.
    pub fn len(&self) -> usize {
        self.n_tiles
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.n_tiles == 0
    }

    /// The tile of a position.
    pub fn at(&self, row: usize, col: usize) -> Option<usize> {
        self.of.get((row, col)).copied().flatten()
    }

    /// Whether their scatter says how large an error is.
    pub fn are_enough(&self) -> bool {
        self.n_tiles >= MIN_TILES
    }

    /// The first position that lies in a tile.
    pub fn first(&self) -> Option<Position> {
        let mut inside = self.of.indexed_iter().filter(|(_, tile)| tile.is_some());
        inside.next().map(|((row, col), _)| Position { row, col })
    }

    /// Scan rows and columns.
    pub(super) fn dim(&self) -> (usize, usize) {
        self.of.dim()
    }
}

/// A number of all tiles, with the interval that leaving out one after another gives. `value` computes it without a tile.
pub(super) fn without_each(
    n_tiles: usize,
    level: f64,
    mut value: impl FnMut(Option<usize>) -> f64,
) -> Estimate {
    let replicates: Vec<f64> = (0..n_tiles).map(|tile| value(Some(tile))).collect();
    jackknife(value(None), &replicates, level)
}

/// Probability of a number so far from zero by chance, from its jackknife error over the tiles.
pub(super) fn p_value(estimate: &Estimate, n_tiles: usize) -> f64 {
    student_p_value(estimate.value / estimate.error, n_tiles.saturating_sub(1))
}

/// Probability of a number so far above zero by chance.
pub(super) fn p_value_above(estimate: &Estimate, n_tiles: usize) -> f64 {
    let both = p_value(estimate, n_tiles);
    if estimate.value > 0.0 {
        0.5 * both
    } else {
        1.0 - 0.5 * both
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tiles_are_wide_and_cover_what_is_looked_at() {
        let mut looked_at = Array2::from_elem((60, 120), false);
        looked_at.slice_mut(ndarray::s![.., 60..]).fill(true);
        let tiles = Tiles::new(&looked_at, 4.9);
        assert_eq!(tiles.len(), 16);
        assert_eq!(tiles.at(0, 0), None);
        assert_eq!(tiles.at(0, 60), Some(0));
        assert_eq!(tiles.at(59, 119), Some(15));
        let positions = |tile| tiles.of.iter().filter(|&&of| of == Some(tile)).count();
        assert!((0..16).all(|tile| positions(tile) == 225));
        assert!(Tiles::new(&Array2::from_elem((4, 4), false), 1.0).is_empty());
    }

    #[test]
    fn a_nearly_empty_tile_is_left_out() {
        let mut looked_at = Array2::from_elem((12, 12), true);
        looked_at.slice_mut(ndarray::s![..4, ..4]).fill(false);
        looked_at[[0, 0]] = true;
        let tiles = Tiles::new(&looked_at, 1.6);
        assert_eq!(tiles.len(), 8);
        assert_eq!(tiles.at(0, 0), None);
    }
}
