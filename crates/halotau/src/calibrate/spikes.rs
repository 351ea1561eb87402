//! Which samples of single frames are too bright for any number of electrons?
//!
//! A cosmic ray or an X-ray leaves thousands of units in one or a few pixels of one frame. In V a sample of A times the mean
//! weighs A²: one among 10⁴ with A = 100 adds 1 to a V of 0.5.
//!
//! ```text
//! spike: x > 4 L + 8 √(4 L u) + 20 u        L: the larger of the pixel's mean over frames and the mean around it in its frame
//! ```
//!
//! u is the variance over the mean in units of the detector, speckle included, so that a pattern of high contrast is given more
//! room. Speckle, Bragg spots and the direct beam are wider than a pixel: the mean around follows them. It leaves the six
//! brightest of 24 neighbors out, so that a spike may reach over up to seven pixels. What more pixels share at half of its
//! brightness is no spike: the edge of the direct beam that comes to another pixel. Spikes become NaN, which every
//! analysis leaves out; nothing is filled in.

use ndarray::Array2;

use crate::series::Sample;

/// Counts may be this many times the mean around.
const PEAK: f64 = 4.0;

/// Standard deviations beyond that.
const SD: f64 = 8.0;

/// And so many units, for the skewed numbers of few electrons.
const ELECTRONS: f64 = 20.0;

/// The brightest neighbors of 24 that are left out.
const LEFT_OUT: usize = 6;

/// Fewer frames than this do not tell what a pixel shows.
const MIN_FRAMES: usize = 8;

/// Frames of a block from which the levels are learned at most.
const MAX_FRAMES: usize = 64;

/// What samples may be, pixel by pixel.
#[derive(Debug, Clone, PartialEq)]
pub struct SpikeLimits {
    n_cols: usize,
    /// Mean over frames after the dark.
    level: Vec<f64>,
    dark: Vec<f64>,
    /// Variance over mean.
    unit: f64,
    /// Samples up to here are no spike whatever is around.
    least: Vec<f64>,
}

impl SpikeLimits {
    /// From the mean over frames after the dark and the variance over that mean, `[pattern row, pattern col]`.
    pub fn new(mean: &Array2<f64>, variance: &Array2<f64>, dark: Option<&Array2<f64>>) -> Self {
        let ratios: Vec<f64> = mean
            .iter()
            .zip(variance)
            .filter(|(mean, variance)| **mean > 0.0 && **variance > 0.0)
            .map(|(mean, variance)| variance / mean)
            .collect();
        let unit = if ratios.is_empty() {
            1.0
        } else {
            crate::rank::median(&ratios)
        };
        let level: Vec<f64> = mean.iter().copied().collect();
        let dark: Vec<f64> = match dark {
            Some(dark) => dark.iter().copied().collect(),
            None => vec![0.0; level.len()],
        };
        let least = level
            .iter()
            .zip(&dark)
            .map(|(&level, dark)| dark + bound(level, unit))
            .collect();
        Self {
            n_cols: mean.ncols(),
            level,
            dark,
            unit,
            least,
        }
    }

    /// From the frames at hand, one after another; `None` where they are too few.
    pub(crate) fn learned<S: Sample>(
        samples: &[S],
        (n_rows, n_cols): (usize, usize),
        dark: Option<&Array2<f64>>,
    ) -> Option<Self> {
        let len = n_rows * n_cols;
        let n_frames = samples.len() / len.max(1);
        if n_frames < MIN_FRAMES {
            return None;
        }
        let step = n_frames.div_ceil(MAX_FRAMES);
        let mut mean = Array2::zeros((n_rows, n_cols));
        let mut variance = Array2::zeros((n_rows, n_cols));
        for at in 0..len {
            let mut values: Vec<f64> = (0..n_frames)
                .step_by(step)
                .map(|frame| samples[frame * len + at].to_f64())
                .filter(|value| value.is_finite())
                .collect();
            values.sort_by(f64::total_cmp);
            // The frames from which is learned hold spikes, too.
            values.truncate(values.len() - values.len().div_ceil(16));
            let n = values.len() as f64;
            let place = [at / n_cols, at % n_cols];
            let average = values.iter().sum::<f64>() / n;
            mean[place] = average - dark.map_or(0.0, |dark| dark[place]);
            variance[place] = values.iter().map(|v| (v - average).powi(2)).sum::<f64>() / n;
        }
        Some(Self::new(&mean, &variance, dark))
    }

    /// What a pixel shows on average, as stored.
    pub(crate) fn typical(&self, at: usize) -> f64 {
        self.level[at] + self.dark[at]
    }

    /// Adds the pixels of a frame that are spikes to `found`, in ascending order.
    pub(crate) fn find<S: Sample>(&self, frame: &[S], found: &mut Vec<usize>) {
        for (at, (sample, least)) in frame.iter().zip(&self.least).enumerate() {
            let value = sample.to_f64();
            if value > *least && self.is_spike(value - self.dark[at], frame, at) {
                found.push(at);
            }
        }
    }

    /// Whether a sample after the dark is more than what is around it explains.
    fn is_spike<S: Sample>(&self, value: f64, frame: &[S], at: usize) -> bool {
        let (row, col) = (at / self.n_cols, at % self.n_cols);
        let n_rows = frame.len() / self.n_cols;
        let mut around = Vec::with_capacity(24);
        for r in row.saturating_sub(2)..(row + 3).min(n_rows) {
            for c in col.saturating_sub(2)..(col + 3).min(self.n_cols) {
                let other = r * self.n_cols + c;
                let value = frame[other].to_f64() - self.dark[other];
                if other != at && value.is_finite() {
                    around.push(value);
                }
            }
        }
        if around.iter().filter(|&&other| other > 0.5 * value).count() > LEFT_OUT {
            return false;
        }
        around.sort_by(f64::total_cmp);
        around.truncate(around.len().saturating_sub(LEFT_OUT));
        let mean = around.iter().sum::<f64>() / around.len().max(1) as f64;
        value > bound(mean.max(self.level[at]), self.unit)
    }
}

fn bound(level: f64, unit: f64) -> f64 {
    let peak = PEAK * level.max(0.0);
    peak + SD * (peak * unit).sqrt() + ELECTRONS * unit
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Speckle of contrast 1 on 10 electrons is no spike, a cosmic ray over four pixels is.
    #[test]
    fn a_ray_is_told_from_speckle() {
        let mean = Array2::from_elem((12, 12), 10.0);
        let variance = Array2::from_elem((12, 12), 110.0);
        let limits = SpikeLimits::new(&mean, &variance, None);
        let mut frame = vec![3_u16; 144];
        for at in [40, 41, 42, 52, 53, 54, 64, 65, 66] {
            frame[at] = 150;
        }
        let mut found = Vec::new();
        limits.find(&frame, &mut found);
        assert!(found.is_empty(), "{found:?}");
        for at in [90, 91, 102, 103] {
            frame[at] = 2000;
        }
        limits.find(&frame, &mut found);
        assert_eq!(found, [90, 91, 102, 103]);
    }

    #[test]
    fn levels_are_learned_from_frames_that_hold_rays() {
        let mut frames: Vec<u16> = (0..32 * 36).map(|at| 8 + (at * 7 % 5) as u16).collect();
        frames[5 * 36 + 14] = 4000;
        let limits = SpikeLimits::learned(&frames, (6, 6), None);
        let mut found = Vec::new();
        for frame in frames.chunks(36) {
            limits
                .iter()
                .for_each(|limits| limits.find(frame, &mut found));
        }
        assert_eq!(found, [14]);
        assert!(SpikeLimits::learned(&frames[..36], (6, 6), None).is_none());
    }
}
