//! Which frame of a scan without rows is which position?
//!
//! `NAME_scan_coordinates.csv` holds a line `x,y` for each frame, fast axis first. Positions that fill a grid are a scan whose
//! frames were recorded in another order; a position that occurs several times was visited at several times.

use std::path::Path;

use crate::error::{Error, Result};
use crate::stream::ScanStatement;

/// Ending of the name.
pub(super) const ENDING: &str = "_scan_coordinates.csv";
/// Six million positions.
const MOST_BYTES: u64 = 64 << 20;

/// Positions in the order of recording.
#[derive(Debug)]
pub(super) struct Coordinates(Vec<(i64, i64)>);

/// Positions as a grid.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Grid {
    pub(super) n_rows: usize,
    pub(super) n_cols: usize,
    /// Visits of each position.
    pub(super) n_visits: usize,
    /// Number, in the order of times and rows, of each line.
    numbers: Vec<u64>,
}

impl Coordinates {
    /// The coordinates beside a movie.
    pub(super) fn beside(movie: &Path) -> Result<Option<Self>> {
        let Some(path) = super::info::path_of(movie, ENDING).filter(|path| path.is_file()) else {
            return Ok(None);
        };
        let bad = |problem: String| Error::BadContainer {
            path: path.clone(),
            format: "list of scan coordinates",
            problem,
        };
        let metadata = std::fs::metadata(&path).map_err(|e| Error::io(&path, "look at", e))?;
        if metadata.len() > MOST_BYTES {
            return Err(bad(format!(
                "it has {} bytes, and at most {MOST_BYTES} are read",
                metadata.len()
            )));
        }
        let bytes = std::fs::read(&path).map_err(|e| Error::io(&path, "read", e))?;
        Self::parse(&String::from_utf8_lossy(&bytes))
            .map(Some)
            .map_err(bad)
    }

    fn parse(text: &str) -> Result<Self, String> {
        let mut positions = Vec::new();
        for (number, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let position = line
                .split_once(',')
                .and_then(|(x, y)| Some((x.trim().parse().ok()?, y.trim().parse().ok()?)));
            match position {
                Some(position) => positions.push(position),
                // The names of the columns.
                None if positions.is_empty() => {}
                None => return Err(format!("line {} is {line:?}, not x,y", number + 1)),
            }
        }
        if positions.is_empty() {
            return Err("it holds no line x,y".to_owned());
        }
        Ok(Self(positions))
    }

    /// One line for each position where there is one for each of several frames of it.
    pub(super) fn per_point(self, frames_per_point: u64) -> Self {
        let per_point = usize::try_from(frames_per_point).unwrap_or(usize::MAX);
        let is_per_frame = self.0.len().is_multiple_of(per_point)
            && self
                .0
                .chunks(per_point)
                .all(|lines| lines.iter().all(|line| *line == lines[0]));
        if is_per_frame && per_point > 1 {
            Self(self.0.into_iter().step_by(per_point).collect())
        } else {
            self
        }
    }

    /// The grid that the positions fill.
    ///
    /// # Errors
    ///
    /// In words, where they fill none or are not visited equally often.
    pub(super) fn grid(&self) -> Result<Grid, String> {
        let distinct = |of: fn(&(i64, i64)) -> i64| {
            let mut values: Vec<i64> = self.0.iter().map(of).collect();
            values.sort_unstable();
            values.dedup();
            values
        };
        let (xs, ys) = (
            distinct(|position| position.0),
            distinct(|position| position.1),
        );
        let n_lines = self.0.len();
        let fail = || {
            format!(
                "its {n_lines} lines do not visit each of {} x {} positions equally often, so that they are no scan of rows and columns; give data.shape to read the frames in the order of recording",
                ys.len(),
                xs.len()
            )
        };
        let n_positions = xs.len().checked_mul(ys.len());
        let n_positions = n_positions
            .filter(|&n| n <= n_lines && n_lines.is_multiple_of(n))
            .ok_or_else(fail)?;
        let n_visits = n_lines / n_positions;
        let mut visits = vec![0_usize; n_positions];
        let mut numbers = Vec::with_capacity(n_lines);
        for (x, y) in &self.0 {
            let (Ok(col), Ok(row)) = (xs.binary_search(x), ys.binary_search(y)) else {
                return Err(fail());
            };
            let position = row * xs.len() + col;
            if visits[position] == n_visits {
                return Err(fail());
            }
            numbers.push((visits[position] * n_positions + position) as u64);
            visits[position] += 1;
        }
        Ok(Grid {
            n_rows: ys.len(),
            n_cols: xs.len(),
            n_visits,
            numbers,
        })
    }
}

impl Grid {
    /// Numbers of frames in the order of the scan, again and again where the list holds for each repeat.
    pub(super) fn numbers(&self) -> impl Iterator<Item = u64> {
        let per_list = self.numbers.len() as u64;
        (0_u64..).flat_map(move |repeat| {
            self.numbers
                .iter()
                .map(move |number| repeat * per_list + number)
        })
    }

    /// The scan, where the list holds for each of so many repeats or for all of them.
    pub(super) fn statement(&self, n_frames: u64, n_repeats: u64) -> ScanStatement {
        let per_list = self.numbers.len() as u64;
        // A list of all repeats says so by its visits.
        let n_repeats = if (self.n_visits as u64).is_multiple_of(n_repeats) {
            1
        } else {
            n_repeats
        };
        let n_lists = n_repeats.max(n_frames.div_ceil(per_list));
        let n_times = n_lists.saturating_mul(self.n_visits as u64);
        ScanStatement {
            n_times: usize::try_from(n_times).ok(),
            ..ScanStatement::new(self.n_rows, self.n_cols, "the list of scan coordinates")
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests {
    use super::*;

    #[test]
    fn positions_in_any_order_fill_a_grid() {
        let list = Coordinates::parse("x,y\n10,0\n0,0\n0,5\n10,5\n0,0\n10,0\n10,5\n0,5\n").unwrap();
        let grid = list.grid().unwrap();
        assert_eq!((grid.n_rows, grid.n_cols, grid.n_visits), (2, 2, 2));
        assert_eq!(grid.numbers, [1, 0, 2, 3, 4, 5, 7, 6]);
        let repeated: Vec<u64> = grid.numbers().skip(7).take(3).collect();
        assert_eq!(repeated, [6, 9, 8]);
    }

    #[test]
    fn scattered_positions_are_refused() {
        for text in [
            "0,0\n1,1\n2,2\n",
            "0,0\n0,0\n1,0\n0,1\n",
            "0,0\n1,0\n0,0\n0,0\n",
        ] {
            let error = Coordinates::parse(text).unwrap().grid().unwrap_err();
            assert!(error.contains("data.shape"), "{error}");
        }
        assert!(Coordinates::parse("x,y\n").is_err());
        assert!(Coordinates::parse("0,0\nz\n").is_err());
    }

    #[test]
    fn lines_of_the_same_point_are_one() {
        let list = Coordinates::parse("0,0\n0,0\n1,0\n1,0\n").unwrap();
        assert_eq!(list.per_point(2).0, [(0, 0), (1, 0)]);
        let list = Coordinates::parse("0,0\n1,0\n").unwrap();
        assert_eq!(list.per_point(2).0, [(0, 0), (1, 0)]);
    }
}
