//! Do the pixels of a row segment share an offset in each frame?
//!
//! The channels of a readout chip that are converted together see the same disturbance, the common mode:
//!
//! ```text
//! x(frame, pixel) = s(frame) · M(pixel) + c(frame, segment) + noise         M: mean over frames, s: brightness of the frame
//! variance of c   = (⟨a b⟩ − ⟨a b'⟩)/1.5      a, b: mean residual of the two halves of a segment less that of the rows beside it;
//!                                           b': of the same half in other rows
//! ```
//!
//! Noise is not shared by the halves, and what the patterns share (current, thickness, movement) is shared by other rows as well. The
//! offset of a frame is estimated by the mean residual of the segment, weighted with 1/variance so that dark pixels decide. That
//! mean holds speckle as well, of variance s² beside that c² of the offset. Of it the share
//!
//! ```text
//! 1 − √(s² / (s² + c²))
//! ```
//!
//! is subtracted, segment by segment: the variance of what is left is then that without an offset, so that V is right on average.
//! Nothing is subtracted where there is no common mode, and little where a row is too bright to tell. Left alone a common mode adds to V,
//! and to g at all lags where it lasts longer than a frame.

use ndarray::{Array2, Array3, ArrayView2, Axis, s};

use super::measure::WithError;
use crate::rank::median;

/// Pixels next to the middle of a segment that belong to neither half: speckle reaches over them.
const GAP: usize = 3;

/// A half needs this many pixels.
const MIN_HALF: usize = 4;

/// Rows that are compared lie this share of the detector apart.
const APART: f64 = 0.3;

/// A residual farther from the rest than this many standard deviations is no offset.
const CLIP_SD: f64 = 5.0;

/// A wider segment explains the offset where it shows this share of what a narrower one shows.
const EXPLAINED: f64 = 0.8;

/// The offset of row segments as measured.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SharedOffset {
    /// Columns of a segment.
    pub cols: usize,
    /// Standard deviation over frames, detector units.
    pub sd: WithError,
}

/// Measures the shared offset of frames, `[frame, pattern row, pattern col]`; `None` where it is no more than chance.
pub fn measure(frames: &Array3<f32>, usable: &Array2<bool>) -> Option<SharedOffset> {
    let (n_frames, n_rows, n_cols) = frames.dim();
    if n_frames < 16 || n_rows < 8 {
        return None;
    }
    let residuals = residuals(frames, usable)?;
    let found: Vec<SharedOffset> = [1, 2, 4]
        .into_iter()
        .filter(|parts| n_cols % parts == 0)
        .filter_map(|parts| of_segments(&residuals, usable, n_cols / parts))
        .collect();
    let most = found
        .iter()
        .map(|offset| offset.sd.value)
        .fold(0.0, f64::max);
    let shared = found
        .into_iter()
        .find(|offset| offset.sd.value > EXPLAINED * most)?;
    (shared.sd.value > 5.0 * shared.sd.error).then_some(shared)
}

/// Frames without their share of the mean; 0 where not usable.
fn residuals(frames: &Array3<f32>, usable: &Array2<bool>) -> Option<Array3<f32>> {
    let mean = frames.mapv(f64::from).mean_axis(Axis(0))?;
    let mut residuals = frames.clone();
    for mut frame in residuals.outer_iter_mut() {
        let brightness = brightness(frame.view(), &mean, usable);
        for ((at, value), mean) in frame.indexed_iter_mut().zip(&mean) {
            let residual = f64::from(*value) - brightness * mean;
            *value = if usable[at] && residual.is_finite() {
                residual as f32
            } else {
                0.0
            };
        }
    }
    Some(residuals)
}

/// Brightness of a frame: its sum over that of the mean.
fn brightness(frame: ArrayView2<'_, f32>, mean: &Array2<f64>, usable: &Array2<bool>) -> f64 {
    let (mut sum, mut of_mean) = (0.0, 0.0);
    for ((&value, &mean), &usable) in frame.iter().zip(mean).zip(usable) {
        if usable && value.is_finite() && mean.is_finite() {
            sum += f64::from(value);
            of_mean += mean;
        }
    }
    if of_mean > 0.0 { sum / of_mean } else { 0.0 }
}

fn of_segments(
    residuals: &Array3<f32>,
    usable: &Array2<bool>,
    cols: usize,
) -> Option<SharedOffset> {
    let (n_frames, n_rows, n_cols) = residuals.dim();
    let half = (cols / 2).checked_sub(GAP).filter(|n| *n >= MIN_HALF)?;
    let apart = ((APART * n_rows as f64) as usize).max(1);
    // Mean residual of each half, `[frame, row]`.
    let means = |first: usize| -> Array2<f64> {
        let n_usable: Vec<usize> = (0..n_rows)
            .map(|row| {
                let there = usable.slice(s![row, first..first + half]);
                there.iter().filter(|usable| **usable).count()
            })
            .collect();
        Array2::from_shape_fn((n_frames, n_rows), |(frame, row)| {
            let there = residuals.slice(s![frame, row, first..first + half]);
            if n_usable[row] < MIN_HALF {
                return f64::NAN;
            }
            there.iter().map(|&value| f64::from(value)).sum::<f64>() / n_usable[row] as f64
        })
    };
    // A pattern that moves brightens neighboring rows alike: only what a row has beyond its neighbors counts.
    let beyond_neighbors = |means: Array2<f64>| -> Array2<f64> {
        Array2::from_shape_fn((n_frames, n_rows - 2), |(frame, row)| {
            means[[frame, row + 1]] - 0.5 * (means[[frame, row]] + means[[frame, row + 2]])
        })
    };
    let mut covariances = Vec::new();
    for start in (0..n_cols).step_by(cols) {
        let a = beyond_neighbors(means(start));
        let b = beyond_neighbors(means(start + cols - half));
        for row in 0..n_rows - 2 {
            let other = (row + apart) % (n_rows - 2);
            let mut sum = 0.0;
            for frame in 0..n_frames {
                sum += a[[frame, row]] * (b[[frame, row]] - b[[frame, other]]);
            }
            if sum.is_finite() {
                covariances.push(sum / (1.5 * n_frames as f64));
            }
        }
    }
    if covariances.len() < 8 {
        return None;
    }
    let variance = median(&covariances);
    let away: Vec<f64> = covariances.iter().map(|c| (c - variance).abs()).collect();
    // Of the median of as many rows, of which neighbors share what they have beyond each other: their products correlate by
    // 4/9 and 1/36. d(√x) = dx / 2√x, at least where x is one standard error.
    let shared = f64::sqrt(1.0 + 2.0 * (4.0 / 9.0 + 1.0 / 36.0));
    let error = 1.2533 * 1.4826 * shared * median(&away) / (covariances.len() as f64).sqrt();
    Some(SharedOffset {
        cols,
        sd: WithError {
            value: variance.max(0.0).sqrt(),
            error: error / (2.0 * variance.max(error).sqrt()),
        },
    })
}

/// Takes the shared offset out of frames.
#[derive(Debug, Clone, PartialEq)]
pub struct CommonMode {
    cols: usize,
    mean: Array2<f64>,
    /// 1/variance of each pixel; 0 where it is not used.
    weight: Array2<f64>,
    usable: Array2<bool>,
    /// Share of each segment's mean residual that is subtracted, `[row, segment]`.
    share: Array2<f64>,
}

impl CommonMode {
    /// For segments of `cols` columns, from the mean of frames as stored and their variance; `sd` is that of the offset as
    /// [`measure`] found it, and `frames` are those it was found in.
    pub fn new(
        cols: usize,
        mean: Array2<f64>,
        variance: &Array2<f64>,
        usable: &Array2<bool>,
        sd: f64,
        frames: &Array3<f32>,
    ) -> Self {
        let floor = 1e-6
            * variance
                .iter()
                .copied()
                .filter(|v| v.is_finite())
                .fold(0.0, f64::max);
        let weight = Array2::from_shape_fn(mean.dim(), |at| {
            let known = usable[at] && mean[at].is_finite() && variance[at] > floor;
            if known { 1.0 / variance[at] } else { 0.0 }
        });
        let cols = cols.max(1);
        let n_segments = mean.ncols().div_ceil(cols);
        let mut common = Self {
            cols,
            usable: weight.mapv(|weight| weight > 0.0),
            share: Array2::zeros((mean.nrows(), n_segments)),
            mean,
            weight,
        };
        let mut square = Array2::<f64>::zeros(common.share.dim());
        for frame in frames.outer_iter() {
            let brightness = brightness(frame, &common.mean, &common.usable);
            for ((row, segment), square) in square.indexed_iter_mut() {
                let first = segment * cols;
                let last = (first + cols).min(frame.ncols());
                let pixels: Vec<f32> = frame.slice(s![row, first..last]).to_vec();
                *square += common.offset(&pixels, row, first, brightness).powi(2);
            }
        }
        let n_frames = frames.dim().0 as f64;
        common.share = square.mapv(|square| {
            let of_offset = sd * sd * n_frames / square;
            if of_offset.is_finite() {
                1.0 - (1.0 - of_offset.min(1.0)).sqrt()
            } else {
                0.0
            }
        });
        common
    }

    /// Subtracts from every pixel of a frame, row by row as stored, the offset of its segment.
    pub(crate) fn subtract(&self, frame: &mut [f32]) {
        let n_cols = self.mean.ncols();
        let view = ArrayView2::from_shape(self.mean.dim(), &*frame);
        let Ok(view) = view else { return };
        let brightness = brightness(view, &self.mean, &self.usable);
        for (row, pixels) in frame.chunks_mut(n_cols).enumerate() {
            for (segment, pixels) in pixels.chunks_mut(self.cols).enumerate() {
                let first = segment * self.cols;
                let offset =
                    self.share[[row, segment]] * self.offset(pixels, row, first, brightness);
                pixels.iter_mut().for_each(|value| *value -= offset as f32);
            }
        }
    }

    /// Mean residual of a segment.
    fn offset(&self, pixels: &[f32], row: usize, first: usize, brightness: f64) -> f64 {
        let residual = |at: usize| {
            let place = [row, first + at];
            let weight = self.weight[place];
            let residual = f64::from(pixels[at]) - brightness * self.mean[place];
            (weight > 0.0 && residual.is_finite()).then_some((residual, weight))
        };
        let known: Vec<(f64, f64)> = (0..pixels.len()).filter_map(residual).collect();
        if known.is_empty() {
            return 0.0;
        }
        let middle = median(
            &known
                .iter()
                .map(|(residual, _)| *residual)
                .collect::<Vec<_>>(),
        );
        let (mut sum, mut weights) = (0.0, 0.0);
        for (residual, weight) in known {
            if (residual - middle).abs() * weight.sqrt() < CLIP_SD {
                sum += weight * residual;
                weights += weight;
            }
        }
        if weights > 0.0 { sum / weights } else { 0.0 }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests {
    use rand::SeedableRng;
    use rand_distr::{Distribution, StandardNormal};
    use rand_xoshiro::Xoshiro256PlusPlus;

    use super::*;

    /// Patterns of noise 2 about a slope, brighter and dimmer by a tenth, with an offset of `sd` shared by 16 columns.
    fn frames(sd: f64) -> (Array3<f32>, Array3<f32>) {
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(5);
        let mut normal = move || -> f64 { StandardNormal.sample(&mut rng) };
        let mut clean = Array3::zeros((300, 20, 32));
        let mut frames = Array3::zeros((300, 20, 32));
        for frame in 0..300 {
            let brightness = 1.0 + 0.1 * normal();
            for row in 0..20 {
                let offsets = [sd * normal(), sd * normal()];
                for col in 0..32 {
                    let value = brightness * (5.0 + row as f64) + 2.0 * normal();
                    clean[[frame, row, col]] = value as f32;
                    frames[[frame, row, col]] = (value + offsets[col / 16]) as f32;
                }
            }
        }
        (frames, clean)
    }

    #[test]
    fn an_offset_is_measured_and_taken_out() {
        let (frames, clean) = frames(3.0);
        let usable = Array2::from_elem((20, 32), true);
        let shared = measure(&frames, &usable).unwrap();
        assert_eq!(shared.cols, 16);
        let off = (shared.sd.value - 3.0).abs();
        assert!(
            off < 4.0 * shared.sd.error && shared.sd.error < 0.1,
            "{shared:?}"
        );
        let mean = frames.mapv(f64::from).mean_axis(Axis(0)).unwrap();
        let variance = frames.mapv(f64::from).var_axis(Axis(0), 0.0);
        let common = CommonMode::new(16, mean, &variance, &usable, shared.sd.value, &frames);
        let (mut before, mut after) = (0.0, 0.0);
        for (frame, clean) in frames.outer_iter().zip(clean.outer_iter()) {
            let mut taken: Vec<f32> = frame.iter().copied().collect();
            common.subtract(&mut taken);
            for ((taken, frame), clean) in taken.iter().zip(frame).zip(clean) {
                before += f64::from(frame - clean).powi(2);
                after += f64::from(taken - clean).powi(2);
            }
        }
        // What is left is a sixth of the offset, and as much noise of a mean over 16 pixels.
        assert!((after / before).sqrt() < 0.3, "{}", (after / before).sqrt());
    }

    #[test]
    fn brightness_alone_is_no_offset() {
        let usable = Array2::from_elem((20, 32), true);
        assert_eq!(measure(&frames(0.0).0, &usable), None);
    }
}
