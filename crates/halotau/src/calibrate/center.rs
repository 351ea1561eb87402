//! Where is the center of the pattern?
//!
//! The halo of a glass depends on the distance from the center alone. The center is the point about which the mean
//! pattern is closest to its own radial profile f:
//!
//! ```text
//! minimize over center:  Σ ρ( M(pixel) / f(|pixel − center|) − 1 )
//! ```
//!
//! ρ is Huber's: a beam stop that was not masked is an outlier and does not pull. A coarse search is followed by
//! Gauss-Newton steps; the error comes from the scatter about the profile.

use ndarray::Array2;

use super::Ellipse;
use crate::error::{Error, Result};

/// A center and its standard error, native pixels.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Center {
    /// Row.
    pub row: f64,
    /// Column.
    pub col: f64,
    /// Standard error of either coordinate.
    pub error: f64,
}

/// The search covers this share of the pattern's half-width around its middle: a pattern farther off would lose
/// half of its halo beyond the detector's edge.
const SEARCH_SHARE: f64 = 0.35;

/// The coarse search works on at most this many pixels along a side; finer detail is noise there.
const COARSE_SIDE: usize = 72;

/// Residuals beyond this many robust standard deviations lose weight (Huber's constant: 95 % efficiency for
/// normal errors).
const HUBER: f64 = 1.345;

/// Neighboring pixels of a speckle pattern are not independent; about this many share a speckle on a
/// binned pattern. Used for the error only.
const PIXELS_PER_SPECKLE: f64 = 20.0;

/// Finds the center from a mean pattern, `[pattern row, pattern col]`, using valid pixels only.
///
/// # Errors
///
/// [`Error::CenterNotFound`] where the pattern is flat or has too few valid pixels.
pub fn find(
    mean_pattern: &Array2<f64>,
    pixel_valid: &Array2<bool>,
    ellipse: Ellipse,
) -> Result<Center> {
    let (rows, cols) = mean_pattern.dim();
    let factor = rows.max(cols).div_ceil(COARSE_SIDE).max(1);
    let coarse = Pattern::binned(mean_pattern, pixel_valid, factor, ellipse);
    if coarse.values.len() < 50 {
        return Err(Error::CenterNotFound {
            problem: "fewer than 50 valid pixels carry counts".to_owned(),
        });
    }
    let (mid_row, mid_col) = (
        (coarse.rows as f64 - 1.0) / 2.0,
        (coarse.cols as f64 - 1.0) / 2.0,
    );
    let reach = (SEARCH_SHARE * coarse.rows.min(coarse.cols) as f64 / 2.0).floor() as i64;
    let mut best = (f64::INFINITY, mid_row, mid_col);
    for row in -reach..=reach {
        for col in -reach..=reach {
            let (row, col) = (mid_row + row as f64, mid_col + col as f64);
            let cost = coarse.cost(row, col);
            if cost < best.0 {
                best = (cost, row, col);
            }
        }
    }
    let start = coarse.refine(best.1, best.2)?;
    let native = |at: f64| at * factor as f64 + (factor as f64 - 1.0) / 2.0;
    if factor == 1 {
        return Ok(start);
    }
    Pattern::binned(mean_pattern, pixel_valid, 1, ellipse)
        .refine(native(start.row), native(start.col))
}

/// Valid pixels of a pattern as a list.
struct Pattern {
    rows: usize,
    cols: usize,
    ellipse: Ellipse,
    /// (row, col, value)
    values: Vec<(f64, f64, f64)>,
}

impl Pattern {
    fn binned(mean: &Array2<f64>, valid: &Array2<bool>, factor: usize, ellipse: Ellipse) -> Self {
        let (rows, cols) = (mean.nrows() / factor, mean.ncols() / factor);
        let mut values = Vec::with_capacity(rows * cols);
        for row in 0..rows {
            for col in 0..cols {
                let (mut sum, mut n) = (0.0, 0_usize);
                for native_row in row * factor..(row + 1) * factor {
                    for native_col in col * factor..(col + 1) * factor {
                        let value = mean[[native_row, native_col]];
                        if valid[[native_row, native_col]] && value.is_finite() {
                            sum += value;
                            n += 1;
                        }
                    }
                }
                if 2 * n >= factor * factor && n > 0 {
                    values.push((row as f64, col as f64, sum / n as f64));
                }
            }
        }
        Self {
            rows,
            cols,
            ellipse,
            values,
        }
    }

    /// Distance and unit vector (row, col) from a center.
    fn radius(&self, row: f64, col: f64, center_row: f64, center_col: f64) -> (f64, f64, f64) {
        let (row, col) = self.ellipse.undo(row - center_row, col - center_col);
        let radius = libm::hypot(row, col);
        (radius, row / radius.max(1e-9), col / radius.max(1e-9))
    }

    /// Median of each ring one pixel wide, smoothed over three rings; NaN for rings that are mostly cut off.
    fn profile(&self, center_row: f64, center_col: f64) -> Vec<f64> {
        let mut rings: Vec<Vec<f64>> = Vec::new();
        for &(row, col, value) in &self.values {
            let ring = self.radius(row, col, center_row, center_col).0.round() as usize;
            if rings.len() <= ring {
                rings.resize(ring + 1, Vec::new());
            }
            rings[ring].push(value);
        }
        let medians: Vec<f64> = rings
            .iter_mut()
            .enumerate()
            .map(|(ring, values)| {
                // A third of the circumference keeps rings that a stop's arm crosses and drops the corners.
                let whole = std::f64::consts::TAU * ring as f64;
                if ring < 2 || (values.len() as f64) < whole / 3.0 {
                    return f64::NAN;
                }
                values.sort_by(f64::total_cmp);
                values[values.len() / 2]
            })
            .collect();
        (0..medians.len())
            .map(|ring| {
                let around = [
                    ring.saturating_sub(1),
                    ring,
                    ring,
                    (ring + 1).min(medians.len() - 1),
                ];
                around.iter().map(|&at| medians[at]).sum::<f64>() / 4.0
            })
            .collect()
    }

    /// Relative residual, relative slope of the profile and unit vector of every pixel with a profile.
    fn residuals(&self, center_row: f64, center_col: f64) -> Vec<(f64, f64, f64, f64)> {
        let profile = self.profile(center_row, center_col);
        let mut levels: Vec<f64> = profile.iter().copied().filter(|v| v.is_finite()).collect();
        levels.sort_by(f64::total_cmp);
        let quantile = |share: f64| {
            let at = (share * levels.len() as f64) as usize;
            levels.get(at).or(levels.last()).copied().unwrap_or(0.0)
        };
        // A direct beam is a hundred times as bright as the halo, on few rings; it must not make all others too dark to count.
        let floor = 0.02 * quantile(1.0).min(10.0 * quantile(0.75));
        self.values
            .iter()
            .filter_map(|&(row, col, value)| {
                let (radius, unit_row, unit_col) = self.radius(row, col, center_row, center_col);
                let ring = radius.floor() as usize;
                let (&inner, &outer) = (profile.get(ring)?, profile.get(ring + 1)?);
                let model = inner + (outer - inner) * (radius - ring as f64);
                (model.is_finite() && model > floor).then(|| {
                    (
                        value / model - 1.0,
                        (outer - inner) / model,
                        unit_row,
                        unit_col,
                    )
                })
            })
            .collect()
    }

    fn cost(&self, center_row: f64, center_col: f64) -> f64 {
        let residuals = self.residuals(center_row, center_col);
        if residuals.len() < self.values.len() / 4 {
            return f64::INFINITY;
        }
        // Bounded, so that a shadow or a bright spot counts the same wherever the center is.
        residuals
            .iter()
            .map(|residual| residual.0.abs().min(0.5))
            .sum::<f64>()
            / residuals.len() as f64
    }

    fn refine(&self, mut row: f64, mut col: f64) -> Result<Center> {
        let mut error = f64::NAN;
        for _ in 0..30 {
            let residuals = self.residuals(row, col);
            let mut sizes: Vec<f64> = residuals.iter().map(|residual| residual.0.abs()).collect();
            if sizes.len() < 50 {
                return Err(Error::CenterNotFound {
                    problem: "too few pixels lie on whole rings".to_owned(),
                });
            }
            sizes.sort_by(f64::total_cmp);
            // 1.4826 makes the median absolute residual a standard deviation for normal errors.
            let sd = (1.4826 * sizes[sizes.len() / 2]).max(1e-12);
            let (mut a, mut b, mut c, mut u, mut v) = (0.0, 0.0, 0.0, 0.0, 0.0);
            for (residual, slope, unit_row, unit_col) in residuals {
                let weight = (HUBER * sd / residual.abs().max(1e-300)).min(1.0);
                let (along_row, along_col) = (-slope * unit_row, -slope * unit_col);
                a += weight * along_row * along_row;
                b += weight * along_row * along_col;
                c += weight * along_col * along_col;
                u += weight * along_row * residual;
                v += weight * along_col * residual;
            }
            let determinant = a * c - b * b;
            if determinant <= 1e-12 * (a + c) * (a + c) || !determinant.is_finite() {
                return Err(Error::CenterNotFound {
                    problem: "the mean pattern is flat".to_owned(),
                });
            }
            let step_row = ((c * u - b * v) / determinant).clamp(-2.0, 2.0);
            let step_col = ((a * v - b * u) / determinant).clamp(-2.0, 2.0);
            row += step_row;
            col += step_col;
            error = sd * (PIXELS_PER_SPECKLE * (a + c) / (2.0 * determinant)).sqrt();
            if step_row.hypot(step_col) < 1e-4 {
                break;
            }
        }
        let inside = 0.0 <= row && row < self.rows as f64 && 0.0 <= col && col < self.cols as f64;
        if !inside || !error.is_finite() {
            return Err(Error::CenterNotFound {
                problem: "the search for the center left the detector: the middle of the halo lies outside".to_owned(),
            });
        }
        Ok(Center { row, col, error })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn halo(rows: usize, cols: usize, center: (f64, f64)) -> Array2<f64> {
        Array2::from_shape_fn((rows, cols), |(row, col)| {
            let radius = libm::hypot(row as f64 - center.0, col as f64 - center.1);
            let offset = (radius - 19.0) / 2.4;
            100.0 * (0.35 + libm::exp(-offset * offset / 2.0))
        })
    }

    #[test]
    fn finds_an_off_center_halo_behind_an_unmasked_stop() {
        let mut pattern = halo(66, 66, (34.3, 30.9));
        for row in 30..36 {
            for col in 0..34 {
                pattern[[row, col]] = 1.0;
            }
        }
        let valid = Array2::from_elem(pattern.dim(), true);
        let center = find(&pattern, &valid, Ellipse::default()).unwrap();
        assert!(
            (center.row - 34.3).abs() < 0.05 && (center.col - 30.9).abs() < 0.05,
            "{center:?}"
        );
    }

    #[test]
    fn a_flat_pattern_has_no_center() {
        let pattern = Array2::from_elem((40, 40), 5.0);
        let valid = Array2::from_elem(pattern.dim(), true);
        assert!(matches!(
            find(&pattern, &valid, Ellipse::default()),
            Err(Error::CenterNotFound { .. })
        ));
    }
}
