//! Where was the probe, as the speckle itself says?
//!
//! ```text
//! C_ij(D) = ⟨ y_p(i; r) · y_p(j; r + D) ⟩ over ring pixels p and positions r     peaks at D = d(i) − d(j)
//! y_p(i; r) = x_p(i; r) / (s(i; r) · M_p) − 1
//! ```
//!
//! Probes that overlap see the same atoms, so the pattern of one scan comes back in another scan at the position that the probe
//! has there. All pixels and positions contribute, both directions are measured, and no edge is needed; it works where
//! neighbors share speckle and tau is not far below the time between scans. The peak is fitted with the correlation of two
//! probes whose width is taken from the data. Pairs of scans from neighbors to the whole record are measured, as far as
//! they are still alike, and the course that fits all of them is taken (`network`): neighbors alone would add up their errors,
//! the first scan alone would be forgotten.
//!
//! Where tau grows along the scan, the pair of an early and a late position may forget more or less than the pair of opposite
//! order, and the peak would lean that way. Half of what is possible is taken back, and the rest is a part of the error (`lean`).
//!
//! Errors come from leaving out one group of directions on the detector at a time: different directions hold independent speckle.

use ndarray::ArrayView3;
use rayon::prelude::*;

use super::lean::{self, gradients};
use super::network::{Link, Network};
use super::overlap::{FIRST_ZERO, Kernel, Peak, Sample};
use super::spectra::{PairMap, Shifts, correlate};
use crate::conditions::sample::{Blocks, N_GROUPS};
use crate::rank;
use crate::statistics::jackknife_error;

/// Distances of the pairs of scans that are compared, growing as the Fibonacci numbers: close pairs are alike, distant pairs
/// keep errors from adding up.
const LAGS: [usize; 13] = [1, 2, 3, 5, 8, 13, 21, 34, 55, 89, 144, 233, 377];

/// Shifts that are looked at, scan steps either way.
const REACH: usize = 16;

/// The peak must exceed its error by this much. A peak by chance among a thousand shifts reaches four.
const MIN_SIGNIFICANCE: f64 = 6.0;

/// Neighbors share speckle where their correlation is at least this share of the peak.
const MIN_SHARED: f64 = 0.01;

/// Share of the peaks of distant pairs that lie at the same position where the sample is still.
const STILL_SHARE: f64 = 0.95;

/// A course from speckle.
#[derive(Debug, Clone, PartialEq)]
pub struct Tracking {
    /// Displacement of the sample's point under a position, along scan rows' index, scan steps, `[time]`; 0 at the first scan.
    pub row: Vec<f64>,
    /// As `row`, along columns.
    pub col: Vec<f64>,
    /// Standard error of `row` up to a constant, `[time]`.
    pub row_error: Vec<f64>,
    /// Standard error of `col` up to a constant, `[time]`.
    pub col_error: Vec<f64>,
    /// `v` a scan step in the overlap `[2 J₁(v)/v]²` of two probes, as a pixel sees it.
    pub kernel_per_step: f64,
    /// Height of the correlation with the scan before, `[time]`; NaN at the first and where there is no peak.
    pub likeness: Vec<f64>,
}

/// Why speckle could not be tracked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Untracked {
    /// Fewer than three usable scans, or fewer than four positions along a side.
    TooFew,
    /// Scans share no speckle: tau is below the time between scans, or there are too few counts.
    NoLikeness,
    /// Neighboring positions share no speckle: the step is wider than the probe. `still` where scans far apart are alike at the same
    /// position all the same, so that the sample did not move by half of a step.
    NoOverlap {
        /// Whether the sample did not move by half of a step.
        still: bool,
    },
}

/// Tracks the speckle of some blocks of ring pixels. `used` says which scans count, `[time]`; `scale` is the mean counts of each
/// frame that its blocks are divided by, `[time, row, col]` of the window, NaN where a frame is left out; `left` what the movement of
/// the pattern leaves of the correlation of positions some shift apart.
pub(crate) fn track(
    blocks: &Blocks,
    scale: ArrayView3<'_, f64>,
    used: &[bool],
    left: &dyn Fn(i64, i64) -> f64,
) -> Result<Tracking, Untracked> {
    let (n_times, n_rows, n_cols) = scale.dim();
    let times: Vec<usize> = (0..n_times).filter(|&time| used[time]).collect();
    if times.len() < 3 || n_rows.min(n_cols) < 4 || blocks.values.len() < 2 * N_GROUPS {
        return Err(Untracked::TooFew);
    }
    let shifts = Shifts {
        rows: (n_rows / 2).min(REACH) as i64,
        cols: (n_cols / 2).min(REACH) as i64,
    };
    let pairs = pairs(times.len());
    let lags: Vec<usize> = LAGS.into_iter().filter(|&lag| lag < times.len()).collect();
    let gradients = gradients(blocks, scale, &times, &lags);
    let maps = correlate(blocks, scale, &times, &pairs, &shifts);
    let left: Vec<f64> = (0..shifts.len())
        .map(|index| {
            let (row, col) = shifts.at(index);
            left(row, col)
        })
        .collect();
    let tracker = Tracker {
        maps,
        shifts,
        left,
        group_pixels: (0..N_GROUPS)
            .map(|group| blocks.group.iter().filter(|&&of| of == group).count() as f64)
            .collect(),
        n: times.len(),
        gradients: lags.into_iter().zip(gradients).collect(),
    };
    let mut tracking = tracker.course()?.over_all(&times, n_times);
    tracking.kernel_per_step /= blocks.narrowing.sqrt();
    Ok(tracking)
}

/// Pairs of scans to compare, by their places among the used scans.
fn pairs(n: usize) -> Vec<(usize, usize)> {
    let lags = LAGS.iter().take_while(|&&lag| lag < n);
    lags.flat_map(|&lag| (0..n - lag).map(move |first| (first, first + lag)))
        .collect()
}

struct Tracker {
    maps: Vec<PairMap>,
    shifts: Shifts,
    left: Vec<f64>,
    group_pixels: Vec<f64>,
    n: usize,
    /// Gradient of the logarithm of the memory at each lag.
    gradients: Vec<(usize, (f64, f64))>,
}

/// A pair whose peak was found.
#[derive(Debug, Clone, Copy)]
struct Found {
    map: usize,
    lag: usize,
    peak: Peak,
}

/// The course over the used scans.
struct Course {
    row: Vec<f64>,
    col: Vec<f64>,
    row_error: Vec<f64>,
    col_error: Vec<f64>,
    kernel: Kernel,
    likeness: Vec<f64>,
}

impl Tracker {
    /// Mean product at a shift, over all groups or without one.
    fn value(&self, map: &PairMap, shift: usize, without: Option<usize>) -> f64 {
        let (mut sum, mut pixels) = (0.0, 0.0);
        for (group, sums) in map.sums.iter().enumerate() {
            if Some(group) != without {
                sum += f64::from(sums[shift]);
                pixels += self.group_pixels[group];
            }
        }
        sum / (f64::from(map.counts[shift]) * pixels)
    }

    /// Error of the mean product at a shift, from the scatter of groups.
    fn noise(&self, map: &PairMap, shift: usize) -> f64 {
        let replicates: Vec<f64> = (0..N_GROUPS)
            .filter(|&group| self.group_pixels[group] > 0.0)
            .map(|group| self.value(map, shift, Some(group)))
            .collect();
        jackknife_error(&replicates)
    }

    /// The shifts that hold at least a quarter of the positions.
    fn populated(&self, map: &PairMap) -> impl Iterator<Item = usize> {
        let most = map.counts.iter().fold(0.0_f32, |a, &b| a.max(b));
        let counts = map.counts.clone();
        (0..counts.len()).filter(move |&shift| counts[shift] > 0.25 * most)
    }

    fn samples(
        &self,
        map: &PairMap,
        around: (f64, f64),
        radius: f64,
        without: Option<usize>,
    ) -> Vec<Sample> {
        self.populated(map)
            .filter_map(|shift| {
                let (row, col) = self.shifts.at(shift);
                let (row, col) = (row as f64, col as f64);
                let far = (row - around.0).abs().max((col - around.1).abs()) > radius;
                (!far).then(|| Sample {
                    row,
                    col,
                    value: self.value(map, shift, without),
                    left: self.left[shift],
                })
            })
            .collect()
    }

    /// The whole-step shift with the highest correlation, where it stands out.
    fn whole_peak(&self, map: &PairMap, around: (f64, f64), radius: f64) -> Option<(f64, f64)> {
        let near = self.populated(map).filter(|&shift| {
            let (row, col) = self.shifts.at(shift);
            (row as f64 - around.0)
                .abs()
                .max((col as f64 - around.1).abs())
                <= radius
        });
        let best = near.max_by(|&a, &b| {
            self.value(map, a, None)
                .total_cmp(&self.value(map, b, None))
        })?;
        let all: Vec<f64> = self
            .populated(map)
            .map(|shift| self.value(map, shift, None))
            .collect();
        let height = self.value(map, best, None) - rank::quantile(&all, 0.1);
        (height > MIN_SIGNIFICANCE * self.noise(map, best)).then(|| {
            let (row, col) = self.shifts.at(best);
            (row as f64, col as f64)
        })
    }

    fn course(&self) -> Result<Course, Untracked> {
        let whole: Vec<Option<(f64, f64)>> = self
            .maps
            .par_iter()
            .map(|map| {
                (map.second - map.first <= 3)
                    .then(|| self.whole_peak(map, (0.0, 0.0), f64::INFINITY))
                    .flatten()
            })
            .collect();
        let near = self
            .maps
            .iter()
            .zip(&whole)
            .filter(|(map, _)| map.second - map.first == 1);
        let n_alike = near.clone().filter(|(_, peak)| peak.is_some()).count();
        if 2 * n_alike < near.count() {
            return Err(Untracked::NoLikeness);
        }
        let kernel = self.kernel(&whole)?;
        let radius = (2.4 / kernel.per_step).ceil().max(1.0);
        let first: Vec<Found> = (0..self.maps.len())
            .into_par_iter()
            .filter_map(|at| {
                let map = &self.maps[at];
                let start = whole[at]?;
                let peak = kernel.fit(&self.samples(map, start, radius, None), start, 1.5)?;
                Some(Found {
                    map: at,
                    lag: map.second - map.first,
                    peak,
                })
            })
            .collect();
        if first.len() < self.n - 1 {
            return Err(Untracked::NoLikeness);
        }
        let (row, col) = self.solve(&first, &vec![1.0; first.len()]);
        let found: Vec<Found> = (0..self.maps.len())
            .into_par_iter()
            .filter_map(|at| self.found_near(at, kernel, radius, &row, &col))
            .collect();
        let (weights, mut row, mut col) = self.weighted(&found, row, col);
        let (mut row_error, mut col_error) = self.errors(&found, &weights, kernel, radius);
        let (row_lean, col_lean) = self.leaning(&found, &weights, kernel);
        for (course, error, lean) in [
            (&mut row, &mut row_error, row_lean),
            (&mut col, &mut col_error, col_lean),
        ] {
            for ((course, error), lean) in course.iter_mut().zip(error).zip(lean) {
                *course -= lean::LIKELY * lean;
                *error = libm::hypot(*error, lean::UNKNOWN * lean);
            }
        }
        let mut likeness = vec![f64::NAN; self.n];
        for found in found.iter().filter(|found| found.lag == 1) {
            likeness[self.maps[found.map].second] = found.peak.amplitude;
        }
        Ok(Course {
            row,
            col,
            row_error,
            col_error,
            kernel,
            likeness,
        })
    }

    /// The overlap of probes, from scans that follow one another without a shift.
    fn kernel(&self, whole: &[Option<(f64, f64)>]) -> Result<Kernel, Untracked> {
        let still: Vec<&PairMap> = self
            .maps
            .iter()
            .zip(whole)
            .filter(|(map, peak)| map.second - map.first == 1 && **peak == Some((0.0, 0.0)))
            .map(|(map, _)| map)
            .collect();
        let Some(first) = still.first() else {
            return Err(Untracked::NoLikeness);
        };
        // Farther shifts are probes that share nothing, of which a few show the offset.
        let samples: Vec<Sample> = self
            .populated(first)
            .map(|shift| {
                let (row, col) = self.shifts.at(shift);
                let values = still.iter().map(|map| self.value(map, shift, None));
                Sample {
                    row: row as f64,
                    col: col as f64,
                    value: values.sum::<f64>() / still.len() as f64,
                    left: self.left[shift],
                }
            })
            .collect();
        let (kernel, amplitude) = Kernel::of(&samples).ok_or(Untracked::NoLikeness)?;
        let shared = kernel.value(0.0, 1.0);
        if amplitude <= 0.0 || kernel.per_step > FIRST_ZERO || shared < MIN_SHARED {
            return Err(Untracked::NoOverlap {
                still: self.is_still(),
            });
        }
        Ok(kernel)
    }

    /// Whether scans at least a third of the record apart are alike, and at the same position.
    fn is_still(&self) -> bool {
        let far = |map: &&PairMap| 3 * (map.second - map.first) >= self.n;
        let n_far = self.maps.iter().filter(far).count();
        let peaks: Vec<(f64, f64)> = self
            .maps
            .iter()
            .filter(far)
            .filter_map(|map| self.whole_peak(map, (0.0, 0.0), f64::INFINITY))
            .collect();
        let n_still = peaks.iter().filter(|peak| **peak == (0.0, 0.0)).count();
        2 * peaks.len() >= n_far && n_still as f64 > STILL_SHARE * peaks.len() as f64
    }

    /// The peak of a pair near where the course so far puts it.
    fn found_near(
        &self,
        at: usize,
        kernel: Kernel,
        radius: f64,
        row: &[f64],
        col: &[f64],
    ) -> Option<Found> {
        let map = &self.maps[at];
        // The same atoms are found at D = d(first) − d(second).
        let expected = (
            row[map.first] - row[map.second],
            col[map.first] - col[map.second],
        );
        let whole = self.whole_peak(map, expected, 2.0 + radius)?;
        let around = (expected.0.round(), expected.1.round());
        let start = if (whole.0 - around.0).abs().max((whole.1 - around.1).abs()) <= 1.0 {
            expected
        } else {
            whole
        };
        let center = (start.0.round(), start.1.round());
        let peak = kernel.fit(&self.samples(map, center, radius, None), start, 1.5)?;
        Some(Found {
            map: at,
            lag: map.second - map.first,
            peak,
        })
    }

    fn links(&self, found: &[Found], weights: &[f64]) -> Vec<Link> {
        found
            .iter()
            .zip(weights)
            .map(|(found, &weight)| Link {
                first: self.maps[found.map].first,
                second: self.maps[found.map].second,
                weight,
            })
            .collect()
    }

    fn solve(&self, found: &[Found], weights: &[f64]) -> (Vec<f64>, Vec<f64>) {
        let network = Network::new(self.n, self.links(found, weights));
        let rows: Vec<f64> = found.iter().map(|found| -found.peak.row).collect();
        let cols: Vec<f64> = found.iter().map(|found| -found.peak.col).collect();
        (network.solve(&rows), network.solve(&cols))
    }

    /// The full lean of the peak of pairs at a lag, scan steps along rows and columns.
    fn lean(&self, kernel: Kernel, lag: usize) -> (f64, f64) {
        let of = self.gradients.iter().find(|(of, _)| *of == lag);
        of.map_or((0.0, 0.0), |(_, (row, col))| {
            let a_gradient = kernel.per_step.powi(-2);
            (row * a_gradient, col * a_gradient)
        })
    }

    /// What the full lean makes of the course, less its mean.
    fn leaning(&self, found: &[Found], weights: &[f64], kernel: Kernel) -> (Vec<f64>, Vec<f64>) {
        let network = Network::new(self.n, self.links(found, weights));
        let (rows, cols): (Vec<f64>, Vec<f64>) = found
            .iter()
            .map(|found| {
                let (row, col) = self.lean(kernel, found.lag);
                (-row, -col)
            })
            .unzip();
        (
            centered(network.solve(&rows)),
            centered(network.solve(&cols)),
        )
    }

    /// Weights from the scatter of the pairs of each distance about the course; pairs far off it count nothing.
    fn weighted(
        &self,
        found: &[Found],
        mut row: Vec<f64>,
        mut col: Vec<f64>,
    ) -> (Vec<f64>, Vec<f64>, Vec<f64>) {
        let mut weights = vec![1.0; found.len()];
        for _ in 0..3 {
            let misfit: Vec<f64> = found
                .iter()
                .map(|found| {
                    let map = &self.maps[found.map];
                    let along_row = row[map.second] - row[map.first] + found.peak.row;
                    let along_col = col[map.second] - col[map.first] + found.peak.col;
                    libm::hypot(along_row, along_col)
                })
                .collect();
            for lag in LAGS {
                let of: Vec<f64> = found
                    .iter()
                    .zip(&misfit)
                    .filter(|(found, _)| found.lag == lag)
                    .map(|(_, misfit)| *misfit)
                    .collect();
                if of.is_empty() {
                    continue;
                }
                // The median of a hypotenuse of two normal errors is 1.18 of one.
                let spread = (rank::median(&of) / 1.18).max(1e-3);
                for ((found, weight), misfit) in found.iter().zip(&mut weights).zip(&misfit) {
                    if found.lag == lag {
                        let outlier = *misfit > 6.0 * spread;
                        *weight = if outlier {
                            0.0
                        } else {
                            (spread * spread).recip()
                        };
                    }
                }
            }
            (row, col) = self.solve(found, &weights);
        }
        (weights, row, col)
    }

    /// Jackknife over groups of directions, of the course less its mean.
    fn errors(
        &self,
        found: &[Found],
        weights: &[f64],
        kernel: Kernel,
        radius: f64,
    ) -> (Vec<f64>, Vec<f64>) {
        let network = Network::new(self.n, self.links(found, weights));
        let courses: Vec<Replicate> = (0..N_GROUPS)
            .into_par_iter()
            .filter(|&group| self.group_pixels[group] > 0.0)
            .map(|group| {
                let peaks: Vec<Peak> = found
                    .iter()
                    .map(|found| {
                        let start = (found.peak.row, found.peak.col);
                        let center = (start.0.round(), start.1.round());
                        let samples =
                            self.samples(&self.maps[found.map], center, radius, Some(group));
                        kernel.fit(&samples, start, 3.0).unwrap_or(found.peak)
                    })
                    .collect();
                let rows: Vec<f64> = peaks.iter().map(|peak| -peak.row).collect();
                let cols: Vec<f64> = peaks.iter().map(|peak| -peak.col).collect();
                (
                    centered(network.solve(&rows)),
                    centered(network.solve(&cols)),
                )
            })
            .collect();
        let error = |pick: fn(&Replicate) -> &Vec<f64>| -> Vec<f64> {
            let single: Vec<f64> = (0..self.n)
                .map(|time| {
                    let replicates: Vec<f64> =
                        courses.iter().map(|course| pick(course)[time]).collect();
                    jackknife_error(&replicates)
                })
                .collect();
            smoothed(&single)
        };
        (error(|course| &course.0), error(|course| &course.1))
    }
}

/// A course along rows and columns without one group.
type Replicate = (Vec<f64>, Vec<f64>);

fn centered(mut course: Vec<f64>) -> Vec<f64> {
    let mean = course.iter().sum::<f64>() / course.len() as f64;
    course.iter_mut().for_each(|value| *value -= mean);
    course
}

/// A jackknife of few groups scatters by a third; the errors of neighboring scans are alike, so their mean square is taken.
fn smoothed(errors: &[f64]) -> Vec<f64> {
    let half = (errors.len() / 10).max(2);
    (0..errors.len())
        .map(|time| {
            let near = &errors[time.saturating_sub(half)..(time + half + 1).min(errors.len())];
            (near.iter().map(|error| error * error).sum::<f64>() / near.len() as f64).sqrt()
        })
        .collect()
}

impl Course {
    /// The course at every scan: straight lines across scans that were left out.
    fn over_all(self, times: &[usize], n_times: usize) -> Tracking {
        let fill = |values: &[f64]| -> Vec<f64> {
            (0..n_times)
                .map(|time| super::between(times, values, time))
                .collect()
        };
        let mut likeness = vec![f64::NAN; n_times];
        for (&time, &value) in times.iter().zip(&self.likeness) {
            likeness[time] = value;
        }
        Tracking {
            row: super::from_first(fill(&self.row)),
            col: super::from_first(fill(&self.col)),
            row_error: fill(&self.row_error),
            col_error: fill(&self.col_error),
            kernel_per_step: self.kernel.per_step,
            likeness,
        }
    }
}
