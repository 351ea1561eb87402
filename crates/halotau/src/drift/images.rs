//! Where did the sample go, as its edge and its thickness say?
//!
//! ```text
//! image_t(r) ≈ gain_t · reference(r + d_t) + level_t          weighted least squares over valid positions
//! ```
//!
//! Every scan is compared with scans 1, 2, 3, 5, 8 ... before it: near ones still show the same texture of the glass, distant ones keep
//! errors from adding up, and the course that fits all of them is taken (`network`). The whole step is the highest masked, normalized
//! correlation (mean and spread taken over the positions that both have, as in Padfield, IEEE Trans. Image Process. 21, 2706 (2012), doi
//! 10.1109/TIP.2011.2181402); the part of a step is the least-squares registration from there. Gain and level take changes of the beam
//! current away, and with them a wedge of thickness: only structure counts. Whitening the spectrum, as a pure phase correlation does,
//! would lift the noise of a glass, whose images hold low frequencies only. Images are smoothed over a step, because interpolated noise is
//! least between positions and would draw every shift there.
//!
//! Along an edge nothing moves visibly: each direction has its own error, from leaving out one tile of the image at a time.

use ndarray::{Array2, Array3, ArrayView2, ArrayView3, Axis};
use rayon::prelude::*;

use super::network::{Link, Network, solve_small};
use crate::rank;
use crate::statistics::jackknife_error;

/// Whole steps that a scan may move from the one before.
const REACH: i64 = 3;

/// Times that the mean reference is made again.
const ROUNDS: usize = 2;

/// Tiles along either side; each should hold several probe areas.
const TILES: usize = 4;

/// Distances of the scans that are compared.
const LAGS: [usize; 9] = [1, 2, 3, 5, 8, 13, 21, 34, 55];

/// Steps from the start beyond which a registration is lost.
const MAX_REFINED: f64 = 2.0;

/// Errors below this are better than interpolation can be.
const MIN_ERROR: f64 = 0.02;

/// A pair whose error is larger says nothing about a direction.
const MAX_PAIR_ERROR: f64 = 1.0;

/// What the images are registered to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reference {
    /// The mean of all scans at their shifts: less noise.
    #[default]
    Mean,
    /// The first usable scan.
    First,
}

/// A course from images.
#[derive(Debug, Clone, PartialEq)]
pub struct Registration {
    /// Displacement of the sample's point under a position, along scan rows' index, scan steps, `[time]`; 0 at the first scan.
    pub row: Vec<f64>,
    /// As `row`, along columns.
    pub col: Vec<f64>,
    /// Standard error of `row`, `[time]`.
    pub row_error: Vec<f64>,
    /// Standard error of `col`, `[time]`.
    pub col_error: Vec<f64>,
    /// Normalized correlation with the reference at the shift, `[time]`; NaN for scans that were left out.
    pub likeness: Vec<f64>,
}

/// Registers the images of a series, `[time, row, col]`, NaN where a frame is missing. `None` below three usable scans or four
/// positions along a side.
pub fn register(
    images: ArrayView3<'_, f64>,
    used: &[bool],
    reference: Reference,
) -> Option<Registration> {
    let (n_times, n_rows, n_cols) = images.dim();
    let times: Vec<usize> = (0..n_times).filter(|&time| used[time]).collect();
    if times.len() < 3 || n_rows.min(n_cols) < 4 {
        return None;
    }
    let images = smoothed(&images);
    let image = |time: usize| images.index_axis(Axis(0), time);
    let pairs = Pairs::new(&images, &times);
    let mut shifts: Vec<(f64, f64)> = pairs.steps(0).into_iter().zip(pairs.steps(1)).collect();
    let mut fits: Vec<Option<Fit>> = Vec::new();
    for _ in 0..ROUNDS {
        let base = Base::new(match reference {
            Reference::First => image(times[0]).to_owned(),
            Reference::Mean => mean_at(&images, &times, &shifts),
        });
        fits = times
            .par_iter()
            .zip(&shifts)
            .map(|(&time, &start)| base.refine(image(time), start))
            .collect();
        for (shift, fit) in shifts.iter_mut().zip(&fits) {
            *shift = fit.as_ref().map_or(*shift, |fit| fit.shift);
        }
    }
    let errors = |pick: fn(&Fit) -> f64| -> Vec<f64> {
        let known = fits
            .iter()
            .map(|fit| fit.as_ref().map_or(f64::INFINITY, pick));
        tolerant(known.collect())
    };
    let (row_error, col_error) = (errors(|fit| fit.error.0), errors(|fit| fit.error.1));
    let mut likeness = vec![f64::NAN; n_times];
    for (&time, fit) in times.iter().zip(&fits) {
        likeness[time] = fit.as_ref().map_or(f64::NAN, |fit| fit.likeness);
    }
    let rows: Vec<f64> = shifts.iter().map(|shift| shift.0).collect();
    let cols: Vec<f64> = shifts.iter().map(|shift| shift.1).collect();
    let over_all = |values: &[f64]| -> Vec<f64> {
        (0..n_times)
            .map(|time| super::between(&times, values, time))
            .collect()
    };
    Some(Registration {
        row: super::from_first(over_all(&rows)),
        col: super::from_first(over_all(&cols)),
        row_error: over_all(&row_error),
        col_error: over_all(&col_error),
        likeness,
    })
}

/// A few scans that could not be placed keep the place that their neighbors give them, with three times the usual error.
fn tolerant(mut errors: Vec<f64>) -> Vec<f64> {
    let finite: Vec<f64> = errors.iter().copied().filter(|e| e.is_finite()).collect();
    if 10 * finite.len() >= 9 * errors.len() {
        let usual = rank::median(&finite);
        for error in errors.iter_mut().filter(|error| error.is_infinite()) {
            *error = 3.0 * usual;
        }
    }
    errors
}

/// Every image averaged with its neighbors, weights 1, 2, 1 along either direction; NaN where it is not known.
fn smoothed(images: &ArrayView3<'_, f64>) -> Array3<f64> {
    let (_, n_rows, n_cols) = images.dim();
    let mut smooth = Array3::from_elem(images.dim(), f64::NAN);
    for (mut smooth, image) in smooth.outer_iter_mut().zip(images.outer_iter()) {
        for ((row, col), smooth) in smooth.indexed_iter_mut() {
            if !image[[row, col]].is_finite() {
                continue;
            }
            let (mut sum, mut weight) = (0.0, 0.0);
            for at_row in row.saturating_sub(1)..(row + 2).min(n_rows) {
                for at_col in col.saturating_sub(1)..(col + 2).min(n_cols) {
                    let value = image[[at_row, at_col]];
                    if value.is_finite() {
                        let away = at_row.abs_diff(row) + at_col.abs_diff(col);
                        let share = 0.5_f64.powi(away as i32);
                        sum += share * value;
                        weight += share;
                    }
                }
            }
            *smooth = sum / weight;
        }
    }
    smooth
}

/// Two scans, by their places among the used ones, and how they lie to one another.
struct Pair {
    first: usize,
    second: usize,
    fit: Fit,
}

struct Pairs {
    n: usize,
    found: Vec<Pair>,
}

impl Pairs {
    /// Registers pairs, near ones first: their course says where to look for distant ones.
    fn new(images: &Array3<f64>, times: &[usize]) -> Self {
        let n = times.len();
        let mut pairs = Self {
            n,
            found: Vec::new(),
        };
        for lag in LAGS.into_iter().take_while(|&lag| lag < n) {
            let (rows, cols) = (pairs.steps(0), pairs.steps(1));
            let found: Vec<Pair> = (0..n - lag)
                .into_par_iter()
                .filter_map(|first| {
                    let second = first + lag;
                    let image = images.index_axis(Axis(0), times[second]);
                    let base = Base::new(images.index_axis(Axis(0), times[first]).to_owned());
                    let start = if lag == 1 {
                        base.whole_step(image, (0.0, 0.0))
                    } else {
                        (rows[second] - rows[first], cols[second] - cols[first])
                    };
                    base.refine(image, start)
                        .map(|fit| Pair { first, second, fit })
                })
                .collect();
            pairs.found.extend(found);
        }
        pairs
    }

    fn network(&self, direction: usize) -> Option<Network> {
        let weight = |pair: &Pair| {
            let error = [pair.fit.error.0, pair.fit.error.1][direction];
            if error < MAX_PAIR_ERROR {
                error.max(MIN_ERROR).powi(-2)
            } else {
                0.0
            }
        };
        let links: Vec<Link> = self
            .found
            .iter()
            .map(|pair| Link {
                first: pair.first,
                second: pair.second,
                weight: weight(pair),
            })
            .collect();
        // Fewer pairs than scans leave some to chance.
        let n_known = links.iter().filter(|link| link.weight > 0.0).count();
        (n_known + 1 >= self.n).then(|| Network::new(self.n, links))
    }

    /// The course along rows (0) or columns (1) over the used scans.
    fn steps(&self, direction: usize) -> Vec<f64> {
        let differences: Vec<f64> = self
            .found
            .iter()
            .map(|pair| [pair.fit.shift.0, pair.fit.shift.1][direction])
            .collect();
        self.network(direction)
            .map_or_else(|| vec![0.0; self.n], |network| network.solve(&differences))
    }
}

/// Mean of all images at their shifts; NaN where none reaches.
fn mean_at(images: &Array3<f64>, times: &[usize], shifts: &[(f64, f64)]) -> Array2<f64> {
    let (_, n_rows, n_cols) = images.dim();
    let mut sum = Array2::<f64>::zeros((n_rows, n_cols));
    let mut n = Array2::<f64>::zeros((n_rows, n_cols));
    for (&time, shift) in times.iter().zip(shifts) {
        let image = images.index_axis(Axis(0), time);
        let level = mean_of(image.iter().copied());
        for row in 0..n_rows {
            for col in 0..n_cols {
                // The sample's point (row, col) lies under the position that is the shift behind it.
                let at = (row as f64 - shift.0, col as f64 - shift.1);
                if let Some((value, ..)) = interpolate(image, at.0, at.1)
                    && level > 0.0
                {
                    sum[[row, col]] += value / level;
                    n[[row, col]] += 1.0;
                }
            }
        }
    }
    sum / n
}

fn mean_of(values: impl Iterator<Item = f64>) -> f64 {
    let (sum, n) = values
        .filter(|value| value.is_finite())
        .fold((0.0, 0.0), |(sum, n), value| (sum + value, n + 1.0));
    sum / n
}

/// Value of an image between positions with its slopes along row and column: cubic through the four nearest along either
/// direction. `None` outside and beside missing positions.
fn interpolate(image: ArrayView2<'_, f64>, row: f64, col: f64) -> Option<(f64, f64, f64)> {
    let (n_rows, n_cols) = image.dim();
    let inside = |at: f64, n: usize| (0.0..=(n - 1) as f64).contains(&at);
    if !inside(row, n_rows) || !inside(col, n_cols) {
        return None;
    }
    let (first_row, first_col) = (row.floor(), col.floor());
    let (in_row, row_slopes) = cubic(row - first_row);
    let (in_col, col_slopes) = cubic(col - first_col);
    let place = |first: f64, offset: usize, n: usize| {
        // At the border the last position stands for the one beyond.
        (first as i64 + offset as i64 - 1).clamp(0, n as i64 - 1) as usize
    };
    let (mut value, mut along_row, mut along_col) = (0.0, 0.0, 0.0);
    for row_at in 0..4 {
        for col_at in 0..4 {
            let weight = in_row[row_at] * in_col[col_at];
            let slopes = (
                row_slopes[row_at] * in_col[col_at],
                in_row[row_at] * col_slopes[col_at],
            );
            if weight == 0.0 && slopes == (0.0, 0.0) {
                continue;
            }
            let sample = image[[
                place(first_row, row_at, n_rows),
                place(first_col, col_at, n_cols),
            ]];
            value += weight * sample;
            along_row += slopes.0 * sample;
            along_col += slopes.1 * sample;
        }
    }
    (value.is_finite() && along_row.is_finite() && along_col.is_finite())
        .then_some((value, along_row, along_col))
}

/// Weights of four neighbors at a fraction of a step behind the second, and their derivatives (Catmull-Rom).
fn cubic(at: f64) -> ([f64; 4], [f64; 4]) {
    let (square, cube) = (at * at, at * at * at);
    (
        [
            0.5 * (-cube + 2.0 * square - at),
            0.5 * (3.0 * cube - 5.0 * square + 2.0),
            0.5 * (-3.0 * cube + 4.0 * square + at),
            0.5 * (cube - square),
        ],
        [
            0.5 * (-3.0 * square + 4.0 * at - 1.0),
            0.5 * (9.0 * square - 10.0 * at),
            0.5 * (-9.0 * square + 8.0 * at + 1.0),
            0.5 * (3.0 * square - 2.0 * at),
        ],
    )
}

/// A reference.
struct Base {
    image: Array2<f64>,
}

struct Fit {
    shift: (f64, f64),
    error: (f64, f64),
    likeness: f64,
}

/// Normal equations of one tile.
#[derive(Clone, Copy, Default)]
struct Normal {
    matrix: [[f64; 4]; 4],
    right: [f64; 4],
    n: f64,
}

impl Normal {
    fn add(&mut self, other: &Self, sign: f64) {
        for row in 0..4 {
            self.right[row] += sign * other.right[row];
            for col in 0..4 {
                self.matrix[row][col] += sign * other.matrix[row][col];
            }
        }
        self.n += sign * other.n;
    }

    /// Changes of gain, level, row and column; zero along a direction in which the image is flat.
    fn solve(&self) -> Option<[f64; 4]> {
        let mut matrix = self.matrix;
        let slopes = matrix[2][2] + matrix[3][3];
        matrix[2][2] += FLAT * slopes;
        matrix[3][3] += FLAT * slopes;
        solve_small(matrix, self.right)
    }
}

/// Share of the squared slopes below which a direction is flat.
const FLAT: f64 = 1e-6;

impl Base {
    fn new(image: Array2<f64>) -> Self {
        let level = mean_of(image.iter().copied());
        Self {
            image: image / level,
        }
    }

    /// The whole-step shift near an earlier one with the highest normalized correlation.
    fn whole_step(&self, image: ArrayView2<'_, f64>, last: (f64, f64)) -> (f64, f64) {
        let center = (last.0.round() as i64, last.1.round() as i64);
        let mut best = (f64::NEG_INFINITY, last);
        for row in center.0 - REACH..=center.0 + REACH {
            for col in center.1 - REACH..=center.1 + REACH {
                let score = self.correlation(image, row, col);
                // Of equal ones the smaller move, so that a flat image stays where it is.
                let distance = ((row - center.0).pow(2) + (col - center.1).pow(2)) as f64;
                let score = score - 1e-9 * distance;
                if score > best.0 {
                    best = (score, (row as f64, col as f64));
                }
            }
        }
        best.1
    }

    /// Normalized correlation at a whole-step shift over the positions that both have; at least a quarter of all.
    fn correlation(&self, image: ArrayView2<'_, f64>, row: i64, col: i64) -> f64 {
        let (n_rows, n_cols) = image.dim();
        let (mut n, mut sx, mut sy, mut sxx, mut syy, mut sxy) = (0.0, 0.0, 0.0, 0.0, 0.0, 0.0);
        for at_row in 0..n_rows {
            let Ok(base_row) = usize::try_from(at_row as i64 + row) else {
                continue;
            };
            if base_row >= n_rows {
                continue;
            }
            for at_col in 0..n_cols {
                let base_col = at_col as i64 + col;
                if base_col < 0 || base_col >= n_cols as i64 {
                    continue;
                }
                let (x, y) = (
                    self.image[[base_row, base_col as usize]],
                    image[[at_row, at_col]],
                );
                if x.is_finite() && y.is_finite() {
                    n += 1.0;
                    sx += x;
                    sy += y;
                    sxx += x * x;
                    syy += y * y;
                    sxy += x * y;
                }
            }
        }
        if 4.0 * n < (n_rows * n_cols) as f64 {
            return f64::NEG_INFINITY;
        }
        let spread = (n * sxx - sx * sx) * (n * syy - sy * sy);
        if spread > 0.0 {
            (n * sxy - sx * sy) / spread.sqrt()
        } else {
            f64::NEG_INFINITY
        }
    }

    /// Least-squares registration from a start, at most [`MAX_REFINED`] steps away from it along either direction.
    fn refine(&self, image: ArrayView2<'_, f64>, start: (f64, f64)) -> Option<Fit> {
        let mut shift = start;
        for _ in 0..25 {
            let (gain, level, _) = self.linear(image, shift)?;
            let tiles = self.normals(image, shift, gain, level);
            let mut all = Normal::default();
            tiles.iter().for_each(|tile| all.add(tile, 1.0));
            let step = all.solve()?;
            let (row, col) = (step[2].clamp(-1.0, 1.0), step[3].clamp(-1.0, 1.0));
            // A direction that shows nothing must not take the other with it.
            let next = (
                (shift.0 + row).clamp(start.0 - MAX_REFINED, start.0 + MAX_REFINED),
                (shift.1 + col).clamp(start.1 - MAX_REFINED, start.1 + MAX_REFINED),
            );
            let moved = (next.0 - shift.0).abs().max((next.1 - shift.1).abs());
            shift = next;
            if moved < 1e-4 {
                break;
            }
        }
        let (gain, level, likeness) = self.linear(image, shift)?;
        let tiles = self.normals(image, shift, gain, level);
        let mut all = Normal::default();
        tiles.iter().for_each(|tile| all.add(tile, 1.0));
        let replicates: Vec<(f64, f64)> = tiles
            .iter()
            .filter(|tile| tile.n > 0.0)
            .filter_map(|tile| {
                let mut rest = all;
                rest.add(tile, -1.0);
                rest.solve().map(|step| (step[2], step[3]))
            })
            .collect();
        if replicates.len() < 3 {
            return None;
        }
        let of = |pick: fn(&(f64, f64)) -> f64, slopes: f64| {
            let values: Vec<f64> = replicates.iter().map(pick).collect();
            let is_lost = (pick(&shift) - pick(&start)).abs() >= MAX_REFINED;
            // Where nothing changes along a direction nothing is known of it.
            if is_lost || slopes <= FLAT * (all.matrix[2][2] + all.matrix[3][3]) {
                f64::INFINITY
            } else {
                jackknife_error(&values)
            }
        };
        Some(Fit {
            shift,
            error: (
                of(|shift| shift.0, all.matrix[2][2]),
                of(|shift| shift.1, all.matrix[3][3]),
            ),
            likeness,
        })
    }

    /// Every position that both have: its tile, its value, and the reference with slopes.
    fn common<'a>(
        &'a self,
        image: ArrayView2<'a, f64>,
        shift: (f64, f64),
    ) -> impl Iterator<Item = (usize, f64, (f64, f64, f64))> + 'a {
        let (n_rows, n_cols) = image.dim();
        (0..n_rows).flat_map(move |row| {
            (0..n_cols).filter_map(move |col| {
                let value = image[[row, col]];
                let there = value.is_finite().then(|| {
                    interpolate(
                        self.image.view(),
                        row as f64 + shift.0,
                        col as f64 + shift.1,
                    )
                })??;
                let tile = row * TILES / n_rows * TILES + col * TILES / n_cols;
                Some((tile, value, there))
            })
        })
    }

    /// Gain, level and correlation at a shift.
    fn linear(&self, image: ArrayView2<'_, f64>, shift: (f64, f64)) -> Option<(f64, f64, f64)> {
        let (mut n, mut sx, mut sy, mut sxx, mut syy, mut sxy) = (0.0, 0.0, 0.0, 0.0, 0.0, 0.0);
        for (_, y, (x, ..)) in self.common(image, shift) {
            n += 1.0;
            sx += x;
            sy += y;
            sxx += x * x;
            syy += y * y;
            sxy += x * y;
        }
        let (spread, other) = (n * sxx - sx * sx, n * syy - sy * sy);
        if n < 12.0 || spread <= 0.0 || other <= 0.0 {
            return None;
        }
        let gain = (n * sxy - sx * sy) / spread;
        let likeness = (n * sxy - sx * sy) / (spread * other).sqrt();
        Some((gain, (sy - gain * sx) / n, likeness))
    }

    fn normals(
        &self,
        image: ArrayView2<'_, f64>,
        shift: (f64, f64),
        gain: f64,
        level: f64,
    ) -> Vec<Normal> {
        let mut tiles = vec![Normal::default(); TILES * TILES];
        for (tile, y, (x, along_row, along_col)) in self.common(image, shift) {
            let residual = y - gain * x - level;
            let slopes = [x, 1.0, gain * along_row, gain * along_col];
            let tile = &mut tiles[tile];
            tile.n += 1.0;
            for first in 0..4 {
                tile.right[first] += slopes[first] * residual;
                for second in 0..4 {
                    tile.matrix[first][second] += slopes[first] * slopes[second];
                }
            }
        }
        tiles
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::Array3;

    /// A soft edge across columns and a bump, seen through a moving scan whose current changes.
    fn scene(shifts: &[(f64, f64)]) -> Array3<f64> {
        Array3::from_shape_fn((shifts.len(), 20, 24), |(time, row, col)| {
            let (row, col) = (row as f64 + shifts[time].0, col as f64 + shifts[time].1);
            let edge = 0.5 * libm::erfc((6.0 - col) / 2.0);
            let bump = libm::exp(-((row - 10.0).powi(2) + (col - 14.0).powi(2)) / 18.0);
            (1.0 + 0.1 * time as f64) * (edge + 0.4 * bump)
        })
    }

    #[test]
    fn shifts_come_back_without_a_change_of_current() {
        let shifts = [(0.0, 0.0), (0.3, -0.4), (0.9, -1.3), (1.6, -2.2)];
        let images = scene(&shifts);
        for reference in [Reference::Mean, Reference::First] {
            let found = register(images.view(), &[true; 4], reference).expect("there is structure");
            for (time, shift) in shifts.iter().enumerate() {
                assert!(
                    (found.row[time] - shift.0).abs() < 0.05
                        && (found.col[time] - shift.1).abs() < 0.05,
                    "{reference:?} {time}: {} {}",
                    found.row[time],
                    found.col[time]
                );
            }
        }
    }

    #[test]
    fn flat_images_say_nothing() {
        let images = Array3::from_elem((4, 12, 12), 3.0);
        let found = register(images.view(), &[true; 4], Reference::First).expect("large enough");
        assert!(found.row_error.iter().all(|error| error.is_infinite()));
    }
}
