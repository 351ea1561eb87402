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
//! they are still alike, and the course that fits all of them is taken ([`super::network`]): neighbors alone would add up their errors,
//! the first scan alone would be forgotten.
//!
//! Where tau grows along the scan, the pair of an early and a late position may forget more or less than the pair of opposite
//! order, and the peak would lean that way. Positions are weighted such that the gradient of the memory vanishes on average
//! ([`balance`]): whatever the lean of one place, it is taken back at another.
//!
//! Errors come from leaving out one group of directions on the detector at a time: different directions hold independent speckle.

use ndarray::{Array2, Array3, ArrayView3};
use rayon::prelude::*;
use rustfft::num_complex::Complex32;
use rustfft::{Fft, FftPlanner};
use std::sync::Arc;

use super::network::{Link, Network, solve_small};
use super::overlap::{FIRST_ZERO, Kernel, Peak, Sample};
use crate::conditions::sample::{Blocks, N_GROUPS};
use crate::rank;
use crate::statistics::jackknife_error;

/// Distances of the pairs of scans that are compared, growing as the Fibonacci numbers: close pairs are alike, distant pairs
/// keep errors from adding up.
const LAGS: [usize; 13] = [1, 2, 3, 5, 8, 13, 21, 34, 55, 89, 144, 233, 377];

/// Shifts that are looked at, scan steps either way.
const REACH: usize = 16;

/// Spectra of pairs that are in memory at once, 64 MB.
const MAX_SPECTRA: usize = 8 << 20;

/// The peak must exceed its error by this much. A peak by chance among a thousand shifts reaches four.
const MIN_SIGNIFICANCE: f64 = 6.0;

/// Neighbors share speckle where their correlation is at least this share of the peak.
const MIN_SHARED: f64 = 0.01;

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
    /// `v` a scan step in the overlap `[2 J₁(v)/v]²` of two probes.
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
    /// Neighboring positions share no speckle: the step is wider than the probe.
    NoOverlap,
}

/// Correlations over shifts of one pair of scans, one a group of pixels.
struct PairMap {
    first: usize,
    second: usize,
    /// Sum of products, `[group][shift]`.
    sums: Vec<Vec<f32>>,
    /// Products that were summed, a pixel, `[shift]`.
    counts: Vec<f32>,
}

struct Shifts {
    rows: i64,
    cols: i64,
}

impl Shifts {
    fn len(&self) -> usize {
        ((2 * self.rows + 1) * (2 * self.cols + 1)) as usize
    }

    fn at(&self, index: usize) -> (i64, i64) {
        let width = 2 * self.cols + 1;
        (
            index as i64 / width - self.rows,
            index as i64 % width - self.cols,
        )
    }
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
    let (weight, lean) = balance(blocks, scale, &times);
    let maps = correlate(blocks, scale, &times, &weight, &pairs, &shifts);
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
    };
    let mut course = tracker.course()?;
    course.add_lean(lean);
    Ok(course.over_all(&times, n_times))
}

/// Pairs of scans to compare, by their places among the used scans.
fn pairs(n: usize) -> Vec<(usize, usize)> {
    let lags = LAGS.iter().take_while(|&&lag| lag < n);
    lags.flat_map(|&lag| (0..n - lag).map(move |first| (first, first + lag)))
        .collect()
}

/// The smallest length of small factors that is not below `n`.
fn fast_length(n: usize) -> usize {
    (n..)
        .find(|&length| {
            let mut rest = length;
            for factor in [2, 3, 5] {
                while rest.is_multiple_of(factor) {
                    rest /= factor;
                }
            }
            rest == 1
        })
        .unwrap_or(n)
}

/// A two-dimensional transform of images that are padded with zeros, so that opposite edges do not meet.
struct Transform {
    rows: usize,
    cols: usize,
    along_row: Arc<dyn Fft<f32>>,
    along_col: Arc<dyn Fft<f32>>,
    back_row: Arc<dyn Fft<f32>>,
    back_col: Arc<dyn Fft<f32>>,
}

impl Transform {
    fn new(rows: usize, cols: usize) -> Self {
        let mut planner = FftPlanner::new();
        Self {
            rows,
            cols,
            along_row: planner.plan_fft_forward(cols),
            along_col: planner.plan_fft_forward(rows),
            back_row: planner.plan_fft_inverse(cols),
            back_col: planner.plan_fft_inverse(rows),
        }
    }

    fn forward(&self, image: &Array2<f32>) -> Vec<Complex32> {
        let mut data = vec![Complex32::default(); self.rows * self.cols];
        for ((row, col), &value) in image.indexed_iter() {
            data[row * self.cols + col].re = value;
        }
        self.along_row.process(&mut data);
        self.columns(&mut data, &self.along_col);
        data
    }

    fn back(&self, spectrum: &[Complex32]) -> Vec<f32> {
        let mut data = spectrum.to_vec();
        self.columns(&mut data, &self.back_col);
        self.back_row.process(&mut data);
        let scale = 1.0 / (self.rows * self.cols) as f32;
        data.into_iter().map(|value| value.re * scale).collect()
    }

    fn columns(&self, data: &mut [Complex32], fft: &Arc<dyn Fft<f32>>) {
        let mut turned = vec![Complex32::default(); data.len()];
        for row in 0..self.rows {
            for col in 0..self.cols {
                turned[col * self.rows + row] = data[row * self.cols + col];
            }
        }
        fft.process(&mut turned);
        for row in 0..self.rows {
            for col in 0..self.cols {
                data[row * self.cols + col] = turned[col * self.rows + row];
            }
        }
    }
}

fn correlate(
    blocks: &Blocks,
    scale: ArrayView3<'_, f64>,
    times: &[usize],
    weight: &Array2<f64>,
    pairs: &[(usize, usize)],
    shifts: &Shifts,
) -> Vec<PairMap> {
    let (_, n_rows, n_cols) = scale.dim();
    let transform = Transform::new(
        fast_length(n_rows + shifts.rows as usize),
        fast_length(n_cols + shifts.cols as usize),
    );
    let n_fft = transform.rows * transform.cols;
    let extract = |spectrum: &[Complex32]| -> Vec<f32> {
        let image = transform.back(spectrum);
        (0..shifts.len())
            .map(|index| {
                let (row, col) = shifts.at(index);
                let row = row.rem_euclid(transform.rows as i64) as usize;
                let col = col.rem_euclid(transform.cols as i64) as usize;
                image[row * transform.cols + col]
            })
            .collect()
    };
    let there: Vec<Vec<Complex32>> = times
        .par_iter()
        .map(|&time| {
            let image = Array2::from_shape_fn((n_rows, n_cols), |(row, col)| {
                if usable(scale[[time, row, col]]) {
                    weight[[row, col]] as f32
                } else {
                    0.0
                }
            });
            transform.forward(&image)
        })
        .collect();
    let mut maps = Vec::with_capacity(pairs.len());
    for batch in pairs.chunks((MAX_SPECTRA / n_fft).max(1)) {
        let mut sums: Vec<Vec<Vec<f32>>> = vec![Vec::with_capacity(N_GROUPS); batch.len()];
        for group in 0..N_GROUPS {
            let mut spectra = vec![vec![Complex32::default(); n_fft]; batch.len()];
            let members = blocks.values.iter().zip(&blocks.group);
            for (values, _) in members.filter(|(_, of)| **of == group) {
                let mut images = fluctuations(values, scale, times);
                for image in &mut images {
                    image.zip_mut_with(weight, |value, &weight| *value *= weight as f32);
                }
                let transformed: Vec<Vec<Complex32>> = images
                    .par_iter()
                    .map(|image| transform.forward(image))
                    .collect();
                spectra
                    .par_iter_mut()
                    .zip(batch)
                    .for_each(|(spectrum, &(first, second))| {
                        let both = transformed[first].iter().zip(&transformed[second]);
                        for (sum, (one, other)) in spectrum.iter_mut().zip(both) {
                            *sum += one.conj() * other;
                        }
                    });
            }
            let extracted: Vec<Vec<f32>> = spectra
                .par_iter()
                .map(|spectrum| extract(spectrum))
                .collect();
            for (sums, extracted) in sums.iter_mut().zip(extracted) {
                sums.push(extracted);
            }
        }
        let made: Vec<PairMap> = batch
            .par_iter()
            .zip(sums)
            .map(|(&(first, second), sums)| {
                let product: Vec<Complex32> = there[first]
                    .iter()
                    .zip(&there[second])
                    .map(|(one, other)| one.conj() * other)
                    .collect();
                PairMap {
                    first,
                    second,
                    sums,
                    counts: extract(&product),
                }
            })
            .collect();
        maps.extend(made);
    }
    maps
}

fn usable(scale: f64) -> bool {
    scale > 0.0
}

/// Relative fluctuation of a block about its mean over all frames, an image a used scan; 0 where a frame is left out.
fn fluctuations(
    values: &Array3<f32>,
    scale: ArrayView3<'_, f64>,
    times: &[usize],
) -> Vec<Array2<f32>> {
    let (_, n_rows, n_cols) = scale.dim();
    let relative = |time: usize, row: usize, col: usize| {
        let scale = scale[[time, row, col]];
        let value = f64::from(values[[time, row, col]]) / scale;
        (usable(scale) && value.is_finite()).then_some(value)
    };
    let (mut sum, mut n) = (0.0, 0.0);
    for &time in times {
        for row in 0..n_rows {
            for col in 0..n_cols {
                if let Some(value) = relative(time, row, col) {
                    sum += value;
                    n += 1.0;
                }
            }
        }
    }
    let mean = sum / n;
    times
        .iter()
        .map(|&time| {
            Array2::from_shape_fn((n_rows, n_cols), |(row, col)| {
                relative(time, row, col).map_or(0.0, |value| (value / mean - 1.0) as f32)
            })
        })
        .collect()
}

/// Share of the early memory that is left at the distance of scans at which memories are compared.
const COMPARED_MEMORY: f64 = 0.5;

/// Weights change by at most this factor, so that no place decides alone.
const MAX_WEIGHT: f64 = 3.0;

/// Square roots of weights, `[row, col]`: `w/contrast` with `Σ w ∇rate = 0` and `w = 1 + α ∂rate/∂row + β ∂rate/∂col`.
///
/// Contrast is the correlation of consecutive patterns of a position, rate the logarithm of what is left of it at the distance of scans
/// at which about half is left on average.
///
/// Where the rate grows across the whole scan no weights take that back. The gradient that is left, rate a step and scan along rows and
/// columns, is given as well: it is a part of the error.
fn balance(
    blocks: &Blocks,
    scale: ArrayView3<'_, f64>,
    times: &[usize],
) -> (Array2<f64>, (f64, f64)) {
    let (_, n_rows, n_cols) = scale.dim();
    let even = (Array2::ones((n_rows, n_cols)), (0.0, 0.0));
    let lags: Vec<usize> = LAGS
        .into_iter()
        .take_while(|&lag| 2 * lag < times.len())
        .collect();
    let memories: Vec<Array2<f64>> = blocks
        .values
        .par_iter()
        .map(|values| {
            let images = fluctuations(values, scale, times);
            let mut sums = vec![Array2::<f64>::zeros((n_rows, n_cols)); lags.len()];
            for (sum, &lag) in sums.iter_mut().zip(&lags) {
                for (one, other) in images.iter().zip(&images[lag..]) {
                    ndarray::Zip::from(&mut *sum)
                        .and(one)
                        .and(other)
                        .for_each(|sum, &one, &other| *sum += f64::from(one * other));
                }
                *sum /= (times.len() - lag) as f64;
            }
            sums
        })
        // Blocks are added in their order, whatever thread was first.
        .collect::<Vec<_>>()
        .into_iter()
        .reduce(|mut all, one| {
            all.iter_mut().zip(&one).for_each(|(all, one)| *all += one);
            all
        })
        .unwrap_or_default();
    let Some(first) = memories.first().and_then(|memory| memory.mean()) else {
        return even;
    };
    let left = |memory: &Array2<f64>| memory.mean().map_or(0.0, |mean| mean / first);
    let compared = memories.iter().zip(&lags).min_by(|(a, _), (b, _)| {
        let off = |memory: &Array2<f64>| (left(memory) - COMPARED_MEMORY).abs();
        off(a).total_cmp(&off(b))
    });
    let Some((memory, &lag)) = compared else {
        return even;
    };
    let contrast = &memories[0];
    let usual = rank::median(&contrast.iter().copied().collect::<Vec<_>>());
    if usual <= 0.0 {
        return even;
    }
    // Few speckles make single values wild.
    let contrast = contrast.mapv(|contrast| contrast.clamp(usual / 3.0, 3.0 * usual) / usual);
    let mut rate = memory / usual / &contrast;
    rate.mapv_inplace(|left| -libm::log(left.clamp(0.05, 1.2)));
    let slope = |row: usize, col: usize| -> (f64, f64) {
        let along = |at: usize, n: usize, value: &dyn Fn(usize) -> f64| {
            let (before, after) = (at.saturating_sub(1), (at + 1).min(n - 1));
            (value(after) - value(before)) / (after - before) as f64
        };
        (
            along(row, n_rows, &|row| rate[[row, col]]),
            along(col, n_cols, &|col| rate[[row, col]]),
        )
    };
    let slopes = Array2::from_shape_fn((n_rows, n_cols), |(row, col)| slope(row, col));
    let mut weight = even.0;
    // Clipped weights leave a rest, which further rounds take.
    for _ in 0..5 {
        let (mut sr, mut sc, mut srr, mut src, mut scc) = (0.0, 0.0, 0.0, 0.0, 0.0);
        for (&(row, col), &weight) in slopes.iter().zip(&weight) {
            sr += weight * row;
            sc += weight * col;
            srr += row * row;
            src += row * col;
            scc += col * col;
        }
        let Some([alpha, beta]) = solve_small([[srr, src], [src, scc]], [-sr, -sc]) else {
            break;
        };
        ndarray::Zip::from(&mut weight)
            .and(&slopes)
            .for_each(|weight, &(row, col)| {
                *weight =
                    (*weight + alpha * row + beta * col).clamp(MAX_WEIGHT.recip(), MAX_WEIGHT);
            });
    }
    let total = weight.sum() * (lag as f64 - 1.0).max(1.0);
    let of = |pick: fn(&(f64, f64)) -> f64| {
        let sum: f64 = slopes
            .iter()
            .zip(&weight)
            .map(|(slope, weight)| weight * pick(slope))
            .sum();
        sum / total
    };
    let lean = (of(|slope| slope.0), of(|slope| slope.1));
    ((weight / contrast).mapv(f64::sqrt), lean)
}

struct Tracker {
    maps: Vec<PairMap>,
    shifts: Shifts,
    left: Vec<f64>,
    group_pixels: Vec<f64>,
    n: usize,
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
        let (weights, row, col) = self.weighted(&found, row, col);
        let (row_error, col_error) = self.errors(&found, &weights, kernel, radius);
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
            return Err(Untracked::NoOverlap);
        }
        Ok(kernel)
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
        let courses: Vec<(Vec<f64>, Vec<f64>)> = (0..N_GROUPS)
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
        let error = |pick: &dyn Fn(&(Vec<f64>, Vec<f64>)) -> &Vec<f64>| -> Vec<f64> {
            let single: Vec<f64> = (0..self.n)
                .map(|time| {
                    let replicates: Vec<f64> =
                        courses.iter().map(|course| pick(course)[time]).collect();
                    jackknife_error(&replicates)
                })
                .collect();
            smoothed(&single)
        };
        (error(&|course| &course.0), error(&|course| &course.1))
    }
}

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
    /// Adds what a gradient of the memory may make of the course: a lean of the peak that grows with the time between scans.
    ///
    /// ```text
    /// A(D) = A exp(∓ lean · lag · D/2),  K² ≈ exp(−v²/4)   →   shift = ± lean · lag / per_step²
    /// ```
    fn add_lean(&mut self, lean: (f64, f64)) {
        let middle = (self.row.len() as f64 - 1.0) / 2.0;
        let a_scan = self.kernel.per_step.powi(-2);
        let errors = self.row_error.iter_mut().zip(&mut self.col_error);
        for (time, (row, col)) in errors.enumerate() {
            let away = (time as f64 - middle) * a_scan;
            *row = libm::hypot(*row, away * lean.0);
            *col = libm::hypot(*col, away * lean.1);
        }
    }

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
