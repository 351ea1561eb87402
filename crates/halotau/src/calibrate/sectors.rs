//! Where is the halo in each direction?
//!
//! ```text
//! r(φ) = R · (1 + e₁ cos 2φ + e₂ sin 2φ) + d_row sin φ + d_col cos φ          r: vertex of a parabola through the halo in a sector
//! ```
//!
//! The position of the ring needs its top only, no model of the profile, and hears nothing of what happens inside and outside of
//! it. So it checks center and ellipse of [`geometry`](super::geometry) and is used for nothing else. Sectors that the mask cuts
//! or whose halo has no top are left out; the others are fitted with Huber's weights, and the sectors are made anew along
//! the ring that was found until it stays. Errors are a jackknife over blocks of the scan.

use ndarray::{Array1, Array2};

use super::linear::solve_scaled;

/// Sectors: on a halo of 19 pixels each is 3.3 pixels wide, less than a speckle.
const N_SECTORS: usize = 36;

/// At least so many sectors tell five parameters and have a scatter.
const MIN_SECTORS: usize = 12;

/// A bin of a sector needs this share of the pixels of its area.
const MIN_SEEN: f64 = 0.6;

/// Huber's constant: 95 % efficiency for normal errors.
const HUBER: f64 = 1.345;

/// Times that sectors are made anew at most.
const MAX_STEPS: usize = 8;

/// The ring stays where its center moves by less, pixels.
const CONVERGED_PX: f64 = 1e-3;

/// The pattern of a part of the scan, NaN for pixels that are not used, and where its center is thought to be.
pub(crate) struct Part<'a> {
    pub(crate) pattern: &'a Array2<f64>,
    pub(crate) center: (f64, f64),
}

/// The ring as five numbers: row and column from the centers of the parts (pixels), e₁, e₂, and R (pixels).
pub(crate) type RingShape = [f64; 5];

/// The ring of all parts, and with each part left out in turn. `start` is its shape as known before, `half_width` how
/// far (pixels) from there the halo is a parabola.
pub(crate) fn find(
    parts: &[Part<'_>],
    start: RingShape,
    half_width: f64,
) -> Option<(RingShape, Vec<RingShape>)> {
    let reach = (half_width.ceil() as usize).max(2);
    let mut shape = start;
    for _ in 0..MAX_STEPS {
        let bins: Vec<Bins> = parts
            .iter()
            .map(|part| Bins::of(part, &shape, reach))
            .collect();
        let all = Bins::sum(&bins);
        let step = all.step(&shape, None)?;
        for (value, step) in shape.iter_mut().zip(step) {
            *value += step;
        }
        if libm::hypot(step[0], step[1]) < CONVERGED_PX {
            let left_out = bins.iter().filter_map(|own| {
                // The first step is where the ring was; what the replicate adds to it is the part's share.
                let step = all.step(&shape, Some(own))?;
                Some(std::array::from_fn(|at| shape[at] + step[at]))
            });
            return Some((shape, left_out.collect()));
        }
    }
    None
}

/// Sums of counts and pixels around the ring, `[sector][bin]`.
#[derive(Clone)]
struct Bins {
    sum: Vec<f64>,
    n: Vec<f64>,
    /// Sum of the distances of the bin's pixels from the ring.
    away: Vec<f64>,
    n_bins: usize,
}

impl Bins {
    fn of(part: &Part<'_>, shape: &RingShape, reach: usize) -> Self {
        let n_bins = 2 * reach + 1;
        let mut bins = Self {
            sum: vec![0.0; N_SECTORS * n_bins],
            n: vec![0.0; N_SECTORS * n_bins],
            away: vec![0.0; N_SECTORS * n_bins],
            n_bins,
        };
        let [down, across, e1, e2, radius] = *shape;
        let (row, col) = (part.center.0 + down, part.center.1 + across);
        let limit = reach as f64 + 0.5;
        // No ellipse reaches beyond this.
        let (least, most) = (0.7 * radius - limit, 1.3 * radius + limit);
        for ((r, c), &value) in part.pattern.indexed_iter() {
            let (y, x) = (r as f64 - row, c as f64 - col);
            let square = x * x + y * y;
            if !value.is_finite() || square > most * most || (least > 0.0 && square < least * least)
            {
                continue;
            }
            let distance = square.sqrt();
            let (double_cos, double_sin) = (
                (x * x - y * y) / square.max(1e-12),
                2.0 * x * y / square.max(1e-12),
            );
            let away = distance - radius * (1.0 + e1 * double_cos + e2 * double_sin);
            if away.abs() >= limit {
                continue;
            }
            let turn = libm::atan2(y, x) / std::f64::consts::TAU + 0.5;
            let sector = (turn * N_SECTORS as f64) as usize % N_SECTORS;
            let at = sector * n_bins + (away + limit) as usize;
            bins.sum[at] += value;
            bins.n[at] += 1.0;
            bins.away[at] += away;
        }
        bins
    }

    fn sum(parts: &[Self]) -> Self {
        let mut all = parts[0].clone();
        for part in &parts[1..] {
            all.add(part, 1.0);
        }
        all
    }

    fn add(&mut self, other: &Self, factor: f64) {
        for (own, other) in [
            (&mut self.sum, &other.sum),
            (&mut self.n, &other.n),
            (&mut self.away, &other.away),
        ] {
            own.iter_mut()
                .zip(other)
                .for_each(|(own, other)| *own += factor * other);
        }
    }

    /// What the ring's shape must change by to pass through the tops of the sectors.
    fn step(&self, shape: &RingShape, without: Option<&Self>) -> Option<RingShape> {
        let mut bins = self.clone();
        if let Some(without) = without {
            bins.add(without, -1.0);
        }
        let most = bins.n.iter().fold(0.0_f64, |most, &n| most.max(n));
        let tops: Vec<(f64, f64)> = (0..N_SECTORS)
            .filter_map(|sector| {
                let range = sector * bins.n_bins..(sector + 1) * bins.n_bins;
                if range.clone().any(|at| bins.n[at] < 0.5 * MIN_SEEN * most) {
                    return None;
                }
                let points =
                    range.map(|at| (bins.away[at] / bins.n[at], bins.sum[at] / bins.n[at]));
                let top = super::profile::vertex(points)?;
                let angle = (sector as f64 + 0.5) / N_SECTORS as f64 - 0.5;
                (top.abs() < bins.n_bins as f64).then_some((std::f64::consts::TAU * angle, top))
            })
            .collect();
        if tops.len() < MIN_SECTORS {
            return None;
        }
        let radius = shape[4];
        let slopes: Vec<[f64; 5]> = tops
            .iter()
            .map(|(azimuth, _)| {
                let (sin, cos) = libm::sincos(*azimuth);
                [
                    sin,
                    cos,
                    radius * (cos * cos - sin * sin),
                    radius * 2.0 * sin * cos,
                    1.0,
                ]
            })
            .collect();
        let mut weights = vec![1.0; tops.len()];
        let mut step = [0.0; 5];
        for _ in 0..5 {
            let mut matrix = Array2::<f64>::zeros((5, 5));
            let mut right = Array1::<f64>::zeros(5);
            for ((slope, (_, top)), weight) in slopes.iter().zip(&tops).zip(&weights) {
                for a in 0..5 {
                    for b in 0..5 {
                        matrix[[a, b]] += weight * slope[a] * slope[b];
                    }
                    right[a] += weight * slope[a] * top;
                }
            }
            let solution = solve_scaled(&matrix, &right)?;
            step = std::array::from_fn(|at| solution[at]);
            let away: Vec<f64> = slopes
                .iter()
                .zip(&tops)
                .map(|(slope, (_, top))| {
                    let fitted: f64 = slope.iter().zip(&step).map(|(a, b)| a * b).sum();
                    (top - fitted).abs()
                })
                .collect();
            let limit = (HUBER * 1.4826 * crate::rank::median(&away)).max(1e-9);
            weights = away.iter().map(|away| (limit / away).min(1.0)).collect();
        }
        Some(step)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests {
    use super::*;
    use crate::calibrate::Ellipse;
    use crate::calibrate::profile::polar_px;

    #[test]
    fn a_stop_and_a_crystal_do_not_pull() {
        let ellipse = Ellipse {
            distortion: 0.03,
            angle_rad: 0.8,
        };
        let pattern = Array2::from_shape_fn((66, 66), |(row, col)| {
            let (y, x) = (row as f64 - 33.6, col as f64 - 31.9);
            if (row as f64 - 33.0).hypot(col as f64 - 33.0) < 7.0
                || (row > 33 && (31..36).contains(&col))
            {
                return f64::NAN;
            }
            let (radius, _) = polar_px(&ellipse, y, x);
            let widths = (radius - 19.0) / 2.4;
            // A reflection beside the halo.
            let spot = libm::exp(-((y - 15.0).powi(2) + (x - 16.0).powi(2)) / 2.0);
            0.35 + libm::exp(-widths * widths / 2.0) + 2.0 * spot
        });
        let part = Part {
            pattern: &pattern,
            center: (33.0, 33.0),
        };
        let start = [0.0, 0.0, 0.0, 0.0, 19.3];
        let (shape, _) = find(&[part], start, 2.4).unwrap();
        let center = (33.0 + shape[0], 33.0 + shape[1]);
        assert!(
            (center.0 - 33.6).abs() < 0.05 && (center.1 - 31.9).abs() < 0.05,
            "{center:?}"
        );
        let (e1, e2) = (0.03 * libm::cos(1.6), 0.03 * libm::sin(1.6));
        assert!(
            (shape[2] - e1).abs() < 3e-3 && (shape[3] - e2).abs() < 3e-3,
            "{shape:?}"
        );
        assert!((shape[4] - 19.0).abs() < 0.1, "{shape:?}");
    }

    #[test]
    fn a_ring_without_top_is_none() {
        let pattern = Array2::from_shape_fn((66, 66), |(row, col)| row as f64 + col as f64);
        let part = Part {
            pattern: &pattern,
            center: (33.0, 33.0),
        };
        assert!(find(&[part], [0.0, 0.0, 0.0, 0.0, 19.0], 2.0).is_none());
    }
}
