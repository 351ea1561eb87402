//! Blocks of the scan that are nearly independent of each other.

use ndarray::Array2;

use crate::series::Position;
use crate::statistics::{Estimate, jackknife, jackknife_of_log, student_p_value};

/// Least width of a tile in probe widths. Neighbors under one probe share speckles, a third of a tile's errors with the tiles around it at this
/// width: [`TileErrors`] has that in its numbers.
const MIN_WIDTHS: f64 = 2.5;

/// Distance of 1/e of errors in probe widths: that of the squared correlation of the field, `exp(−2 ln 2 d²/F²)`.
const ERROR_LENGTH: f64 = 0.849_321_8;

/// At most this many tiles along a side: more would say no more about the error and make the work longer.
const MAX_ALONG: usize = 6;

/// Below this number of tiles no error is known.
const MIN_TILES: usize = 6;

/// Which block of the scan each position lies in.
#[derive(Debug, Clone, PartialEq)]
pub struct Tiles {
    /// `None` where a position is not looked at, or its block is nearly empty; `[row, col]`.
    of: Array2<Option<usize>>,
    n_tiles: usize,
    /// Full width of the probe, scan steps.
    probe_steps: f64,
}

/// How errors follow from tiles.
///
/// ```text
/// w² = V (m − 1)/(A − V)        V variance of the mean of all positions, A mean variance of the mean of one of m tiles
/// V  = Σ_(r, r') exp[−(d/ξ)²]/n²,    ξ of the probe; A likewise within each tile
/// ```
///
/// The scatter of independent tiles gives A/m for V. Tiles that touch share speckles under the probe along their edges, which
/// raises V and leaves their scatter: errors are w times what leaving out one tile after another says.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct TileErrors {
    /// Number of tiles.
    pub(super) n: usize,
    /// w.
    pub(super) widening: f64,
}

impl TileErrors {
    /// Replicates without each tile, moved away from the full value as far as their errors are wider.
    pub(super) fn widened(&self, full: f64, replicates: Vec<f64>) -> Vec<f64> {
        let moved = |value: f64| {
            if value.is_finite() {
                full + self.widening * (value - full)
            } else {
                value
            }
        };
        replicates.into_iter().map(moved).collect()
    }

    /// [`jackknife_of_log`] with these errors.
    pub(super) fn of_log(&self, full: f64, replicates: &[f64], level: f64) -> Estimate {
        let ln_full = libm::log(full);
        let logs = replicates.iter().map(|&value| libm::log(value)).collect();
        let widened = self.widened(ln_full, logs);
        let replicates: Vec<f64> = widened.into_iter().map(libm::exp).collect();
        jackknife_of_log(full, &replicates, level)
    }
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
            return Self {
                of,
                n_tiles: 0,
                probe_steps,
            };
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
        let mut tiles = Self {
            of,
            n_tiles,
            probe_steps,
        };
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

    /// How errors follow from these tiles.
    pub(super) fn errors(&self) -> TileErrors {
        let length = ERROR_LENGTH * self.probe_steps;
        let m = self.n_tiles as f64;
        // Where positions share nothing, neither do tiles.
        if !length.is_finite() || length < 0.3 || self.n_tiles < 2 {
            return TileErrors {
                n: self.n_tiles,
                widening: 1.0,
            };
        }
        let reach = libm::ceil(2.5 * length) as usize;
        let (n_rows, n_cols) = self.of.dim();
        let mut sizes = vec![0.0; self.n_tiles];
        let mut within = vec![0.0; self.n_tiles];
        let mut all = 0.0;
        let along: Vec<f64> = (0..=reach)
            .map(|d| libm::exp(-(d as f64 / length) * (d as f64 / length)))
            .collect();
        for ((row, col), here) in self.of.indexed_iter() {
            let Some(here) = *here else {
                continue;
            };
            sizes[here] += 1.0;
            for other_row in row.saturating_sub(reach)..n_rows.min(row + reach + 1) {
                for other_col in col.saturating_sub(reach)..n_cols.min(col + reach + 1) {
                    if let Some(there) = self.at(other_row, other_col) {
                        let shared =
                            along[row.abs_diff(other_row)] * along[col.abs_diff(other_col)];
                        all += shared;
                        if there == here {
                            within[here] += shared;
                        }
                    }
                }
            }
        }
        let n: f64 = sizes.iter().sum();
        let of_all = all / (n * n);
        let of_tiles = within
            .iter()
            .zip(&sizes)
            .map(|(sum, size)| sum / (size * size));
        let of_tile = of_tiles.sum::<f64>() / m;
        let square = of_all * (m - 1.0) / (of_tile - of_all);
        TileErrors {
            n: self.n_tiles,
            widening: if square.is_finite() {
                square.max(1.0).sqrt()
            } else {
                1.0
            },
        }
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
    errors: TileErrors,
    level: f64,
    mut value: impl FnMut(Option<usize>) -> f64,
) -> Estimate {
    let replicates: Vec<f64> = (0..errors.n).map(|tile| value(Some(tile))).collect();
    let full = value(None);
    jackknife(full, &errors.widened(full, replicates), level)
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
    fn errors_are_those_of_the_mean_of_all_positions() {
        use crate::correlogram::smooth_field;
        use rand::SeedableRng;
        let mut rng = rand_xoshiro::Xoshiro256PlusPlus::seed_from_u64(5);
        let tiles = Tiles::new(&Array2::from_elem((36, 36), true), 3.0);
        let errors = tiles.errors();
        assert_eq!(errors.n, 16);
        let (n, mut means, mut squares, mut plain) = (600, 0.0, 0.0, 0.0);
        for _ in 0..n {
            let field = smooth_field((36, 36), ERROR_LENGTH * 3.0, &mut rng);
            let mean = |without: Option<usize>| {
                let kept = field
                    .indexed_iter()
                    .filter(|((row, col), _)| tiles.at(*row, *col) != without);
                let (sum, n) = kept.fold((0.0, 0.0), |(sum, n), (_, v)| (sum + v, n + 1.0));
                sum / n
            };
            let estimate = without_each(errors, 0.95, mean);
            means += estimate.value * estimate.value / f64::from(n);
            squares += estimate.error * estimate.error / f64::from(n);
            plain += (estimate.error / errors.widening).powi(2) / f64::from(n);
        }
        // The mean square of 600 means is known to 6 %, and that of their errors to 1 %.
        assert!(
            (squares / means - 1.0).abs() < 0.2,
            "{squares} against {means}"
        );
        assert!(plain < 0.85 * means, "tiles alone: {plain} against {means}");
        let apart = Tiles::new(&Array2::from_elem((36, 36), true), 0.2).errors();
        assert_eq!(apart.widening, 1.0);
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
