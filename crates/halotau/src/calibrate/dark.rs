//! What does the detector show without electrons?
//!
//! ```text
//! dark(pixel)  = mean of the dark frames        noise(pixel) = their standard deviation
//! ```
//!
//! both without the frames that are farther than 3 standard deviations from the median of the pixel: a cosmic ray in a
//! dark frame would otherwise be subtracted from every pattern. Values after the dark was subtracted may be negative and stay
//! so: a cut at zero would raise weak pixels and with them V and g.

use ndarray::{Array2, ArrayView3, Axis};

use crate::error::{Error, Result};
use crate::rank::median;

/// Frames farther than this from the median, in standard deviations, are left out of a pixel's mean.
const CLIP_SD: f64 = 3.0;

/// Standard deviation of a normal distribution that is cut at [`CLIP_SD`].
const CLIPPED_SD: f64 = 0.9866;

/// Rounds of leaving out; a handful of outliers is gone after two.
const MAX_ROUNDS: usize = 6;

/// A pixel whose noise exceeds the median by this many robust standard deviations is noisy.
const NOISY_SD: f64 = 5.0;

/// And by this factor: of very many frames the noise of each pixel is known so well that all differ.
const NOISY_FACTOR: f64 = 1.5;

/// Fewer frames than this do not tell a noisy pixel.
const MIN_FRAMES: usize = 8;

/// Mean and noise of the dark frames of a detector.
#[derive(Debug, Clone, PartialEq)]
pub struct Dark {
    /// Clipped mean, `[pattern row, pattern col]`.
    pub mean: Array2<f64>,
    /// Standard deviation of a frame, `[pattern row, pattern col]`; NaN for a single frame.
    pub noise: Array2<f64>,
    /// Frames.
    pub n_frames: usize,
}

impl Dark {
    /// From dark frames, `[frame, pattern row, pattern col]`; a single one is a mean that was made elsewhere.
    ///
    /// # Errors
    ///
    /// [`Error::TooFew`] where there is none.
    ///
    /// # Example
    ///
    /// ```
    /// use halotau::calibrate::dark::Dark;
    /// use halotau::ndarray::Array3;
    /// // Ten frames of one pixel; a cosmic ray in the last.
    /// let frames = Array3::from_shape_fn((20, 1, 1), |(frame, _, _)| if frame == 19 { 900.0 } else { [4.0, 6.0][frame % 2] });
    /// let dark = Dark::of_frames(frames.view())?;
    /// assert!((dark.mean[[0, 0]] - 5.0).abs() < 0.1);
    /// # Ok::<(), halotau::Error>(())
    /// ```
    pub fn of_frames(frames: ArrayView3<'_, f64>) -> Result<Self> {
        let (n_frames, n_rows, n_cols) = frames.dim();
        if n_frames == 0 {
            return Err(Error::TooFew {
                what: "a dark pattern (frames)",
                needed: 1,
                found: 0,
            });
        }
        if n_frames == 1 {
            return Ok(Self {
                mean: frames.index_axis(Axis(0), 0).to_owned(),
                noise: Array2::from_elem((n_rows, n_cols), f64::NAN),
                n_frames,
            });
        }
        let mut mean = Array2::zeros((n_rows, n_cols));
        let mut noise = Array2::zeros((n_rows, n_cols));
        for (at, pixel) in frames.lanes(Axis(0)).into_iter().enumerate() {
            let at = [at / n_cols, at % n_cols];
            let values: Vec<f64> = pixel.iter().copied().filter(|v| v.is_finite()).collect();
            (mean[at], noise[at]) = clipped(values);
        }
        Ok(Self {
            mean,
            noise,
            n_frames,
        })
    }

    /// Median of the noise of all pixels: the read noise; NaN for a single frame.
    pub fn read_noise(&self) -> f64 {
        median(&self.finite_noise())
    }

    /// Pixels that are noisy without electrons, or show nothing but one value while others vary, `[row, col]`.
    pub fn noisy(&self) -> Vec<[usize; 2]> {
        let known = self.finite_noise();
        if self.n_frames < MIN_FRAMES || known.is_empty() {
            return Vec::new();
        }
        let middle = median(&known);
        let away: Vec<f64> = known.iter().map(|noise| (noise - middle).abs()).collect();
        let limit = (middle + NOISY_SD * 1.4826 * median(&away)).max(NOISY_FACTOR * middle);
        let pixels = self.noise.indexed_iter();
        pixels
            .filter(|(_, noise)| {
                let stuck = **noise == 0.0 && middle > 0.0;
                stuck || (**noise > limit && limit > 0.0) || noise.is_nan()
            })
            .map(|((row, col), _)| [row, col])
            .collect()
    }

    fn finite_noise(&self) -> Vec<f64> {
        let noise = self.noise.iter().copied();
        noise.filter(|noise| noise.is_finite()).collect()
    }
}

/// Mean and standard deviation of the values within [`CLIP_SD`] of their median; NaN where there is none.
fn clipped(mut values: Vec<f64>) -> (f64, f64) {
    let mut clipped_any = false;
    for round in 0..MAX_ROUNDS {
        let n = values.len() as f64;
        let mean = values.iter().sum::<f64>() / n;
        let square = values.iter().map(|v| (v - mean) * (v - mean)).sum::<f64>();
        let sd = (square / (n - 1.0).max(1.0)).sqrt();
        let middle = median(&values);
        let before = values.len();
        values.retain(|value| (value - middle).abs() <= CLIP_SD * sd);
        if values.len() == before || round + 1 == MAX_ROUNDS || sd == 0.0 {
            let cut = if clipped_any { CLIPPED_SD } else { 1.0 };
            return (mean, sd / cut);
        }
        clipped_any = true;
    }
    (f64::NAN, f64::NAN)
}

/// Checks that the patterns that are subtracted and divided by have the shape of the detector.
///
/// # Errors
///
/// [`Error::Shape`].
pub(crate) fn check_shapes(
    native: (usize, usize),
    dark: Option<&Array2<f64>>,
    gain: Option<&Array2<f64>>,
) -> Result<()> {
    for (what, pattern) in [("the dark pattern", dark), ("the gain pattern", gain)] {
        if let Some(pattern) = pattern
            && pattern.dim() != native
        {
            return Err(Error::Shape {
                what,
                expected: vec![native.0, native.1],
                found: pattern.shape().to_vec(),
            });
        }
    }
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests {
    use ndarray::Array3;

    use super::*;

    /// Values of standard deviation 2 about 100, in the order of a golden rotation.
    fn value(frame: usize, pixel: usize) -> f64 {
        let share = ((frame * 61 + pixel * 17) as f64 * 0.618_034).fract();
        100.0 + 2.0 * 12.0_f64.sqrt() * (share - 0.5)
    }

    #[test]
    fn outliers_do_not_count_and_noisy_pixels_are_named() {
        let mut frames =
            Array3::from_shape_fn((64, 6, 6), |(frame, row, col)| value(frame, 6 * row + col));
        frames[[9, 2, 3]] = 5000.0;
        frames
            .slice_mut(ndarray::s![.., 4, 4])
            .mapv_inplace(|v| 100.0 + 3.0 * (v - 100.0));
        frames.slice_mut(ndarray::s![.., 0, 1]).fill(7.0);
        let dark = Dark::of_frames(frames.view()).unwrap();
        assert!(
            (dark.mean[[2, 3]] - 100.0).abs() < 0.5,
            "{}",
            dark.mean[[2, 3]]
        );
        assert!(
            (dark.read_noise() - 2.0).abs() < 0.1,
            "{}",
            dark.read_noise()
        );
        assert_eq!(dark.noisy(), [[0, 1], [4, 4]]);
    }

    #[test]
    fn one_frame_is_the_dark_itself() {
        let frame = Array3::from_shape_fn((1, 2, 2), |(_, row, col)| (2 * row + col) as f64);
        let dark = Dark::of_frames(frame.view()).unwrap();
        assert_eq!(dark.mean, frame.index_axis(Axis(0), 0));
        assert!(dark.noisy().is_empty() && dark.read_noise().is_nan());
        assert!(Dark::of_frames(Array3::zeros((0, 2, 2)).view()).is_err());
    }
}
