//! How does the intensity depend on the distance from the center alone?
//!
//! ```text
//! f(r) = trimmed mean of M(pixel) over the pixels with round(r_pixel) = r
//! ```
//!
//! The trimmed mean leaves out the lowest and the highest tenth, so that an arm or a hot pixel that was not masked does not
//! pull. Between the bins f is linear.

use ndarray::Array2;

use super::Ellipse;

/// Share of the pixels of a ring that is left out at either end.
const TRIMMED: f64 = 0.1;

/// A ring of which less than this share of the circumference is seen has no mean.
const MIN_SEEN: f64 = 0.3;

/// Distance and azimuth of a pixel from a center, pixels and radian, after the ellipse.
pub(crate) fn polar_px(ellipse: &Ellipse, row: f64, col: f64) -> (f64, f64) {
    let (row, col) = ellipse.undo(row, col);
    (libm::hypot(row, col), libm::atan2(row, col))
}

/// Intensity against distance from the center, one bin a pixel; NaN where too little of a ring is seen.
#[derive(Debug, Clone, PartialEq)]
pub struct RadialProfile {
    /// Mean distance of the pixels of a bin.
    pub radius: Vec<f64>,
    /// Mean of the pixels of a bin.
    pub mean: Vec<f64>,
    /// Share of the ring's circumference whose pixels are valid and on the detector.
    pub seen: Vec<f64>,
}

impl RadialProfile {
    /// Of a pattern, NaN for pixels that are not used, about a center (row, col).
    pub fn of(pattern: &Array2<f64>, center: (f64, f64), ellipse: &Ellipse) -> Self {
        Self::summarize(pattern, center, ellipse, |values| {
            let cut = (TRIMMED * values.len() as f64) as usize;
            let kept = &values[cut..values.len() - cut];
            kept.iter().sum::<f64>() / kept.len() as f64
        })
    }

    /// As [`RadialProfile::of`], but a quantile of the pixels of each ring.
    pub fn quantile(
        pattern: &Array2<f64>,
        center: (f64, f64),
        ellipse: &Ellipse,
        share: f64,
    ) -> Self {
        Self::summarize(pattern, center, ellipse, |values| {
            values[(share * (values.len() - 1) as f64).round() as usize]
        })
    }

    fn summarize(
        pattern: &Array2<f64>,
        center: (f64, f64),
        ellipse: &Ellipse,
        summary: impl Fn(&[f64]) -> f64,
    ) -> Self {
        let mut rings: Vec<(f64, Vec<f64>)> = Vec::new();
        for ((row, col), &value) in pattern.indexed_iter() {
            if !value.is_finite() {
                continue;
            }
            let (radius, _) = polar_px(ellipse, row as f64 - center.0, col as f64 - center.1);
            let ring = radius.round() as usize;
            if rings.len() <= ring {
                rings.resize(ring + 1, (0.0, Vec::new()));
            }
            rings[ring].0 += radius;
            rings[ring].1.push(value);
        }
        let mut profile = Self {
            radius: Vec::with_capacity(rings.len()),
            mean: Vec::with_capacity(rings.len()),
            seen: Vec::with_capacity(rings.len()),
        };
        for (ring, (radii, mut values)) in rings.into_iter().enumerate() {
            // The innermost bin is a disc of radius 1/2.
            let whole = (std::f64::consts::TAU * ring as f64).max(std::f64::consts::FRAC_PI_4);
            let seen = values.len() as f64 / whole;
            let n_values = values.len() as f64;
            profile.seen.push(seen.min(1.0));
            if seen < MIN_SEEN || values.is_empty() {
                profile.radius.push(ring as f64);
                profile.mean.push(f64::NAN);
                continue;
            }
            values.sort_by(f64::total_cmp);
            profile.radius.push(radii / n_values);
            profile.mean.push(summary(&values));
        }
        profile
    }

    /// Value and slope at a distance; `None` outside the bins that have one.
    pub fn at(&self, radius: f64) -> Option<(f64, f64)> {
        let near = radius.round() as usize;
        let first = if *self.radius.get(near)? <= radius {
            near
        } else {
            near.checked_sub(1)?
        };
        let second = first + 1;
        let (a, b) = (*self.radius.get(first)?, *self.radius.get(second)?);
        let slope = (self.mean[second] - self.mean[first]) / (b - a);
        let value = self.mean[first] + slope * (radius - a);
        value.is_finite().then_some((value, slope))
    }

    /// Distance of the outermost bin that has a mean.
    pub fn outermost(&self) -> f64 {
        let last = (0..self.mean.len())
            .rev()
            .find(|&bin| self.mean[bin].is_finite());
        last.map_or(0.0, |bin| self.radius[bin])
    }

    /// The highest local maximum beyond a distance that stands out from the valleys at both sides by a share of itself:
    /// the first halo. The vertex of a parabola through the bins above three quarters of the prominence.
    pub fn halo(&self, beyond: f64, prominence: f64) -> Option<HaloPeak> {
        let bins: Vec<usize> = (0..self.mean.len())
            .filter(|&bin| self.radius[bin] >= beyond && self.mean[bin].is_finite())
            .collect();
        let smooth: Vec<f64> = (0..bins.len())
            .map(|at| {
                let around = at.saturating_sub(1)..(at + 2).min(bins.len());
                let n = around.len() as f64;
                around.map(|at| self.mean[bins[at]]).sum::<f64>() / n
            })
            .collect();
        let mut best: Option<(f64, usize)> = None;
        for at in 1..smooth.len().saturating_sub(1) {
            if smooth[at] < smooth[at - 1] || smooth[at] < smooth[at + 1] {
                continue;
            }
            let valley = |side: &mut dyn Iterator<Item = usize>| {
                let mut lowest = smooth[at];
                for at_side in side {
                    if smooth[at_side] > smooth[at] {
                        break;
                    }
                    lowest = lowest.min(smooth[at_side]);
                }
                lowest
            };
            let (inner, outer) = (
                valley(&mut (0..at).rev()),
                valley(&mut (at + 1..smooth.len())),
            );
            let height = smooth[at] - inner.max(outer);
            if height > prominence * smooth[at] && best.is_none_or(|best| height > best.0) {
                best = Some((height, at));
            }
        }
        let (height, top) = best?;
        let floor = smooth[top] - 0.25 * height;
        let (mut first, mut last) = (top, top);
        while first > 0 && smooth[first - 1] > floor {
            first -= 1;
        }
        while last + 1 < smooth.len() && smooth[last + 1] > floor {
            last += 1;
        }
        let (first, last) = (first.min(top - 1), last.max(top + 1));
        let points = (first..=last).map(|at| (self.radius[bins[at]], self.mean[bins[at]]));
        let radius = vertex(points).unwrap_or(self.radius[bins[top]]);
        Some(HaloPeak {
            radius_px: radius.clamp(self.radius[bins[first]], self.radius[bins[last]]),
            height: smooth[top],
            prominence: height / smooth[top],
        })
    }
}

impl RadialProfile {
    /// Distance from its top at which the halo has lost 0.4 of its prominence (the standard deviation of a Gaussian ring): its
    /// mean over both sides.
    pub(crate) fn halo_width(&self, halo: &HaloPeak) -> f64 {
        let floor = halo.height * (1.0 - 0.4 * halo.prominence);
        let above = (0..self.mean.len()).filter(|&bin| {
            (self.radius[bin] - halo.radius_px).abs() < 0.5 * halo.radius_px
                && self.mean[bin] > floor
        });
        above.count() as f64 / 2.0
    }
}

/// The first halo of a profile.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct HaloPeak {
    /// Distance of its maximum from the center.
    pub radius_px: f64,
    /// Its mean intensity.
    pub height: f64,
    /// Its height over the higher valley beside it, as a share of its intensity.
    pub prominence: f64,
}

/// Where the least-squares parabola through points has its maximum; `None` where it has none.
pub(crate) fn vertex(points: impl Iterator<Item = (f64, f64)> + Clone) -> Option<f64> {
    let n = points.clone().count() as f64;
    let middle = points.clone().map(|(x, _)| x).sum::<f64>() / n;
    let mut moments = [0.0; 5];
    let mut products = [0.0; 3];
    for (x, y) in points {
        let x = x - middle;
        let mut power = 1.0;
        for degree in 0..5 {
            moments[degree] += power;
            if degree < 3 {
                products[degree] += power * y;
            }
            power *= x;
        }
    }
    let normal = ndarray::arr2(&[
        [moments[0], moments[1], moments[2]],
        [moments[1], moments[2], moments[3]],
        [moments[2], moments[3], moments[4]],
    ]);
    let solution = super::linear::solve(&normal, &ndarray::arr1(&products))?;
    (solution[2] < 0.0).then(|| middle - solution[1] / (2.0 * solution[2]))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests {
    use super::*;

    fn halo(center: (f64, f64), ellipse: Ellipse) -> Array2<f64> {
        Array2::from_shape_fn((66, 70), |(row, col)| {
            let (radius, _) = polar_px(&ellipse, row as f64 - center.0, col as f64 - center.1);
            let widths = (radius - 19.0) / 3.0;
            10.0 * (0.35 + libm::exp(-widths * widths / 2.0))
        })
    }

    #[test]
    fn the_profile_of_an_ellipse_is_that_of_the_circle() {
        let ellipse = Ellipse {
            distortion: 0.03,
            angle_rad: 0.7,
        };
        let profile = RadialProfile::of(&halo((33.2, 34.9), ellipse), (33.2, 34.9), &ellipse);
        let (value, _) = profile.at(19.0).unwrap();
        assert!((value - 13.5).abs() < 0.1, "{value}");
        let peak = profile.halo(3.0, 0.05).unwrap();
        assert!((peak.radius_px - 19.0).abs() < 0.1, "{peak:?}");
        // The valley outside is as deep as the one inside: 0.35 of 1.35.
        assert!((peak.prominence - 1.0 / 1.35).abs() < 0.03, "{peak:?}");
    }

    #[test]
    fn a_falling_profile_has_no_halo() {
        let pattern = Array2::from_shape_fn((40, 40), |(row, col)| {
            100.0 / (1.0 + libm::hypot(row as f64 - 20.0, col as f64 - 20.0))
        });
        let profile = RadialProfile::of(&pattern, (20.0, 20.0), &Ellipse::default());
        assert_eq!(profile.halo(2.0, 0.05), None);
    }
}
