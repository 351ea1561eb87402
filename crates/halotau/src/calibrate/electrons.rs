//! How many detector units is one electron?
//!
//! Where the read noise is well below the signal of one electron, the values of a pixel lie in peaks a distance g apart:
//! 0, 1, 2 … electrons. That period is found without knowing where the peaks are, hence without a dark pattern, from the power of
//!
//! ```text
//! φ(f) = ⟨exp(2πi f x)⟩ over the frames of a pixel        |φ|² averaged over pixels; its first maximum beyond f = 0 is at 1/g
//! ```
//!
//! as high as exp(−(2π σ/g)²) for read noise σ. Smooth distributions have no such maximum. Read noise up to a fifth of an electron may blur
//! the peaks of a few electrons a pixel, a tenth those of one in ten frames.

use ndarray::{Array2, Array3};

use super::measure::WithError;

/// Pixels that are looked at.
const MAX_PIXELS: usize = 48;

/// Groups of pixels whose scatter is the error.
const GROUPS: usize = 8;

/// Values of a pixel are counted in at most this many bins.
const MAX_BINS: usize = 512;

/// Frequencies up to this share of the inverse of a bin: beyond lies the period of the numbers themselves.
const HIGHEST: f64 = 0.4;

/// A maximum must exceed the valley before it by this.
const LEAST_RISE: f64 = 0.02;

/// Detector units an electron, from frames as stored, `[frame, pattern row, pattern col]`; `None` where no peaks are seen: too much
/// read noise, too few frames, or a detector that counts.
pub fn units_per_electron(frames: &Array3<f32>, usable: &Array2<bool>) -> Option<WithError> {
    let n_frames = frames.dim().0;
    if n_frames < 64 {
        return None;
    }
    let pixels = weak_pixels(frames, usable);
    if pixels.len() < 2 * GROUPS {
        return None;
    }
    let bin = bin_width(frames, &pixels);
    let counted: Vec<Vec<(f64, f64)>> = pixels
        .iter()
        .map(|&(row, col)| histogram(frames, row, col, bin))
        .collect();
    let widest = counted
        .iter()
        .map(|bins| {
            bins.last().map_or(0.0, |last| last.0) - bins.first().map_or(0.0, |first| first.0)
        })
        .fold(0.0, f64::max);
    if widest <= 0.0 {
        return None;
    }
    // An eighth of the finest detail.
    let step = 1.0 / (8.0 * (widest + 1.0));
    let power = |members: &[Vec<(f64, f64)>], frequency: f64| -> f64 {
        let all: f64 = members.iter().map(|bins| power(bins, frequency)).sum();
        all / members.len() as f64
    };
    // What chance leaves of the mean of |φ|² over pixels of so many frames.
    let noise = 1.0 / ((counted.len() * n_frames) as f64).sqrt();
    let least = LEAST_RISE.max(5.0 * noise);
    let n_steps = (HIGHEST / step) as usize;
    let (mut valley, mut top) = (1.0_f64, None::<(usize, f64)>);
    for at in 1..n_steps {
        let here = power(&counted, at as f64 * step);
        match top {
            // The first maximum is over where the power has fallen by half of its rise.
            Some((_, height)) if here < height - 0.5 * (height - valley) => break,
            Some((_, height)) if here <= height => {}
            _ if here > valley + least => top = Some((at, here)),
            _ => {
                valley = valley.min(here);
            }
        }
    }
    let (at, _) = top.filter(|(at, _)| at + 2 < n_steps)?;
    let near = at as f64 * step;
    let value = 1.0 / peak(&|f| power(&counted, f), near, step);
    let groups: Vec<f64> = (0..GROUPS)
        .map(|group| {
            let own: Vec<Vec<(f64, f64)>> = counted
                .iter()
                .skip(group)
                .step_by(GROUPS)
                .cloned()
                .collect();
            1.0 / peak(&|f| power(&own, f), near, step)
        })
        .collect();
    let mean = groups.iter().sum::<f64>() / GROUPS as f64;
    let variance = groups.iter().map(|g| (g - mean).powi(2)).sum::<f64>() / (GROUPS - 1) as f64;
    Some(WithError {
        value: value * bin,
        error: (variance / GROUPS as f64).sqrt() * bin,
    })
}

/// Usable pixels of the lower half of variances, evenly over it: few electrons make few peaks, which blur least.
fn weak_pixels(frames: &Array3<f32>, usable: &Array2<bool>) -> Vec<(usize, usize)> {
    let n_frames = frames.dim().0;
    let mut varied: Vec<(f64, (usize, usize))> = Vec::new();
    for (at, _) in usable.indexed_iter().filter(|(_, usable)| **usable) {
        let values = (0..n_frames).map(|frame| f64::from(frames[[frame, at.0, at.1]]));
        let (mut sum, mut square) = (0.0, 0.0);
        for value in values {
            sum += value;
            square += value * value;
        }
        let mean = sum / n_frames as f64;
        let variance = square / n_frames as f64 - mean * mean;
        if variance.is_finite() && variance > 1e-9 * (mean * mean).max(1e-300) {
            varied.push((variance, at));
        }
    }
    varied.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
    let half = varied.len().div_ceil(2);
    let step = half.div_ceil(MAX_PIXELS).max(1);
    varied[..half]
        .iter()
        .step_by(step)
        .map(|(_, at)| *at)
        .collect()
}

/// One unit where values are whole numbers of less than [`MAX_BINS`]; else a share of the widest range.
fn bin_width(frames: &Array3<f32>, pixels: &[(usize, usize)]) -> f64 {
    let (mut range, mut whole) = (0.0_f64, true);
    for &(row, col) in pixels {
        let (mut low, mut high) = (f64::INFINITY, f64::NEG_INFINITY);
        for value in frames.slice(ndarray::s![.., row, col]) {
            let value = f64::from(*value);
            if value.is_finite() {
                (low, high) = (low.min(value), high.max(value));
                whole &= value == value.round();
            }
        }
        range = range.max(high - low);
    }
    let wide = range / MAX_BINS as f64;
    if whole { wide.ceil().max(1.0) } else { wide }
}

/// Values of a pixel in bins from the lowest, and the share of the frames in each.
fn histogram(frames: &Array3<f32>, row: usize, col: usize, bin: f64) -> Vec<(f64, f64)> {
    let values = frames.slice(ndarray::s![.., row, col]);
    let mut places: Vec<i64> = values
        .iter()
        .filter(|value| value.is_finite())
        .map(|&value| (f64::from(value) / bin).round() as i64)
        .collect();
    places.sort_unstable();
    let n = places.len() as f64;
    let first = places.first().copied().unwrap_or(0);
    places
        .chunk_by(|a, b| a == b)
        .map(|same| ((same[0] - first) as f64, same.len() as f64 / n))
        .collect()
}

/// |φ|² of a pixel.
fn power(bins: &[(f64, f64)], frequency: f64) -> f64 {
    let (mut real, mut imaginary) = (0.0, 0.0);
    for &(place, share) in bins {
        let (sin, cos) = libm::sincos(std::f64::consts::TAU * frequency * place);
        real += share * cos;
        imaginary += share * sin;
    }
    real * real + imaginary * imaginary
}

/// Where the power has its maximum near a place, but for the read noise, which makes it fall with frequency and would move the
/// maximum inward: the height of the maximum tells that fall.
fn peak(power: &dyn Fn(f64) -> f64, near: f64, step: f64) -> f64 {
    let mut at = vertex(power, near, step);
    for _ in 0..3 {
        let fall = -libm::log(power(at).clamp(1e-6, 1.0)) / (at * at);
        at = vertex(&|f| power(f) * libm::exp(fall * f * f), at, step);
    }
    at
}

/// Where a function has its maximum near a place: the highest of finer steps, and the vertex of the parabola there.
fn vertex(power: &dyn Fn(f64) -> f64, near: f64, step: f64) -> f64 {
    let fine = step / 4.0;
    let at = |idx: i64| near + idx as f64 * fine;
    let best = (-8..=8)
        .max_by(|&a, &b| power(at(a)).total_cmp(&power(at(b))))
        .unwrap_or(0);
    let [a, b, c] = [best - 1, best, best + 1].map(|idx| power(at(idx)));
    let bend = a - 2.0 * b + c;
    let away = if bend < 0.0 {
        0.5 * (a - c) / bend
    } else {
        0.0
    };
    at(best) + away.clamp(-1.0, 1.0) * fine
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests {
    use rand::SeedableRng;
    use rand_distr::{Distribution, Poisson, StandardNormal};
    use rand_xoshiro::Xoshiro256PlusPlus;

    use super::*;

    /// Patterns of `mean` electrons at 17.3 units, an offset of each pixel, read noise, and rounding.
    fn frames(mean: f64, units: f64, noise: f64) -> Array3<f32> {
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(3);
        Array3::from_shape_fn((400, 12, 12), |(_, row, col)| {
            let mean: f64 = mean * (1.0 + row as f64 / 12.0);
            let electrons: f64 = Poisson::new(mean).unwrap().sample(&mut rng);
            let z: f64 = StandardNormal.sample(&mut rng);
            (units * electrons + (31 * row + 7 * col) as f64 + noise * z).round() as f32
        })
    }

    #[test]
    fn peaks_are_counted_without_a_dark() {
        let usable = Array2::from_elem((12, 12), true);
        for mean in [0.1, 1.0, 6.0] {
            let found = units_per_electron(&frames(mean, 17.3, 1.7), &usable).unwrap();
            let off = (found.value - 17.3).abs();
            assert!(
                off < 4.0 * found.error.max(0.01) && found.error < 0.1,
                "{mean}: {found:?}"
            );
        }
    }

    #[test]
    fn counts_and_blurred_peaks_have_no_units() {
        let usable = Array2::from_elem((12, 12), true);
        assert_eq!(units_per_electron(&frames(2.0, 1.0, 0.0), &usable), None);
        assert_eq!(units_per_electron(&frames(2.0, 17.3, 12.0), &usable), None);
    }
}
