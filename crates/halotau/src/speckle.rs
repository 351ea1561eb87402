//! How many independent speckles does a set of pixels hold?
//!
//! ```text
//! N₂ = P² / Σ_pq |μ(Q_p − Q_q)|²        N₄ = P² / Σ_pq |μ(Q_p − Q_q)|⁴
//! μ  = overlap of two discs of the radius α/λ, as a share of one         |μ|² = exp(−4π² σ² ΔQ²) for a normal probe of width σ
//! ```
//!
//! A mean over the pixels scatters as one over N₂ independent numbers, an average of products of two fluctuations as one over N₄. A mask enters by
//! the pixels that it leaves. The sum runs over distances of whole pixels: pairs of a distance are counted, their correlation is the same. A sample so thin that
//! it shows every speckle at Q and −Q has half as many.
//!
//! Where the probe moves by r the products of speckle fall as well, those of two pixels more slowly than those of one: of the two discs only the
//! lens that they share counts, and a narrower aperture sees less of a movement.
//!
//! ```text
//! |μ(ΔQ, r)|² = |∫_lens exp(2πi q·r) dq|² / (area of a disc)² ≈ |μ(ΔQ, 0)|² K²(r sqrt(narrowing(ΔQ)))
//! narrowing   = ⟨q²⟩ over the lens / ⟨q²⟩ over the disc           averaged over directions; 1 for a normal probe
//! ```
//!
//! Source: J. W. Goodman, Speckle Phenomena in Optics (2007), for the number of degrees of freedom of an integrated speckle pattern.

use ndarray::Array2;

use crate::recipe::Recipe;
use crate::simulate::circle_overlap;

/// Full width at half maximum of a normal distribution in standard deviations.
pub(crate) const FWHM_PER_SIGMA: f64 = 2.354_820_045_030_949;

/// |μ|² below this is none.
const LEAST_CORRELATION: f64 = 1e-9;

/// What makes speckles as wide as they are.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Aperture {
    /// A round aperture of this radius, the convergence angle over the wavelength.
    Disc { radius_per_nm: f64 },
    /// A probe whose intensity is a normal distribution.
    Normal { fwhm_nm: f64 },
}

/// Independent speckles of a set of pixels.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct SpeckleNumbers {
    /// For means, N₂.
    pub(crate) n_2: f64,
    /// For products, N₄.
    pub(crate) n_4: f64,
}

impl Aperture {
    /// That of the microscope: the probe's width where it is given, else the disc; `None` where neither is known.
    pub(crate) fn of(recipe: &Recipe) -> Option<Self> {
        let radius_per_nm = recipe.disc_radius_per_nm();
        let disc = radius_per_nm
            .is_finite()
            .then_some(Self::Disc { radius_per_nm });
        let probe = recipe.microscope.probe_fwhm_nm;
        probe.map(|fwhm_nm| Self::Normal { fwhm_nm }).or(disc)
    }

    /// The aperture as a movement of the probe is seen through it: round, by the convergence angle, else that whose probe is as wide as stated.
    /// A normal distribution stands for a width alone: its probe, which no microscope has, looks the same from all pixels.
    pub(crate) fn round(recipe: &Recipe) -> Option<Self> {
        let radius_per_nm = recipe.aperture_radius_per_nm();
        radius_per_nm
            .is_finite()
            .then_some(Self::Disc { radius_per_nm })
    }

    /// |μ|² of two pixels.
    fn correlation(&self, distance_per_nm: f64) -> f64 {
        match *self {
            Self::Normal { fwhm_nm } => {
                let phase = std::f64::consts::TAU * fwhm_nm / FWHM_PER_SIGMA * distance_per_nm;
                libm::exp(-phase * phase)
            }
            Self::Disc { radius_per_nm } => {
                circle_overlap(distance_per_nm / (2.0 * radius_per_nm)).powi(2)
            }
        }
    }

    /// Mean square of the aperture that two pixels share over that of one of them, as a movement of the probe sees it.
    pub(crate) fn narrowing(&self, distance_per_nm: f64) -> f64 {
        let Self::Disc { radius_per_nm } = *self else {
            return 1.0;
        };
        // Half of the distance of the centers, in radii: the lens is twice the segment beyond it.
        let t = (distance_per_nm / (2.0 * radius_per_nm)).min(0.99);
        let (angle, s) = (libm::acos(t), (1.0 - t * t).sqrt());
        // Integrals from t to 1 of h, u h, u² h and h³ with h = sqrt(1 − u²), the half chord at u.
        let chord = 0.5 * (angle - t * s);
        let first = s * s * s / 3.0;
        let second = (angle - t * (2.0 * t * t - 1.0) * s) / 8.0;
        let cube = (3.0 * angle - t * (5.0 - 2.0 * t * t) * s) / 8.0;
        // Twice: along the line of centers, where u − t counts, and across.
        let moment = 2.0 * (2.0 * (second - 2.0 * t * first + t * t * chord) + 2.0 / 3.0 * cube);
        let area = 4.0 * chord;
        2.0 * moment / area
    }

    /// As [`Aperture::narrowing`], of the mean over some pixels (row, column): each pair counts as much as its speckle is alike.
    pub(crate) fn narrowing_of_mean(&self, pixels: &[(u32, u32)], q_step_per_nm: f64) -> f64 {
        let (mut sum, mut alike) = (0.0, 0.0);
        for &(row, col) in pixels {
            for &(other_row, other_col) in pixels {
                let apart = (row.abs_diff(other_row), col.abs_diff(other_col));
                let distance = q_step_per_nm * libm::hypot(apart.0.into(), apart.1.into());
                let correlation = self.correlation(distance);
                sum += correlation * self.narrowing(distance);
                alike += correlation;
            }
        }
        sum / alike
    }

    /// Farthest distance at which pixels share a speckle.
    fn reach_per_nm(&self) -> f64 {
        match *self {
            // |μ|² is LEAST_CORRELATION there.
            Self::Normal { fwhm_nm } => 4.55 * FWHM_PER_SIGMA / (std::f64::consts::TAU * fwhm_nm),
            Self::Disc { radius_per_nm } => 2.0 * radius_per_nm,
        }
    }

    /// Speckles of pixels (row, column) that are `q_step_per_nm` wide; NaN of none.
    pub(crate) fn speckles(&self, pixels: &[(u32, u32)], q_step_per_nm: f64) -> SpeckleNumbers {
        let ends = |of: fn(&(u32, u32)) -> u32| {
            let ends = pixels.iter().map(of);
            ends.clone().min().zip(ends.max()).unwrap_or_default()
        };
        let ((top, bottom), (left, right)) = (ends(|pixel| pixel.0), ends(|pixel| pixel.1));
        let shape = ((bottom - top) as usize + 1, (right - left) as usize + 1);
        let mut inside = Array2::from_elem(shape, false);
        for &(row, col) in pixels {
            inside[[(row - top) as usize, (col - left) as usize]] = true;
        }
        let side = shape.0.max(shape.1) as i64;
        let reach = ((self.reach_per_nm() / q_step_per_nm).ceil() as i64).min(side);
        let (mut sum_2, mut sum_4) = (0.0, 0.0);
        for rows in -reach..=reach {
            for cols in -reach..=reach {
                let distance = q_step_per_nm * libm::hypot(rows as f64, cols as f64);
                let correlation = self.correlation(distance);
                if correlation < LEAST_CORRELATION {
                    continue;
                }
                let is_pair = |&&(row, col): &&(u32, u32)| {
                    let at = (i64::from(row - top) + rows, i64::from(col - left) + cols);
                    let at = usize::try_from(at.0).ok().zip(usize::try_from(at.1).ok());
                    at.is_some_and(|at| inside.get(at) == Some(&true))
                };
                let n_pairs = pixels.iter().filter(is_pair).count() as f64;
                sum_2 += n_pairs * correlation;
                sum_4 += n_pairs * correlation * correlation;
            }
        }
        let square = (pixels.len() as f64).powi(2);
        SpeckleNumbers {
            n_2: square / sum_2,
            n_4: square / sum_4,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lens_sees_less_of_a_movement() {
        let radius_per_nm = 0.64;
        let disc = Aperture::Disc { radius_per_nm };
        assert!((disc.narrowing(0.0) - 1.0).abs() < 1e-12);
        for distance_per_nm in [0.1, 0.4, 0.9] {
            // Points of a grid that lie in both discs.
            let grid = || (-400..=400).map(|at| f64::from(at) * radius_per_nm / 400.0);
            let (mut inside, mut squares) = (0.0, 0.0);
            for (x, y) in grid().flat_map(|x| grid().map(move |y| (x, y))) {
                let in_disc =
                    |side: f64| (x - side * distance_per_nm / 2.0).hypot(y) < radius_per_nm;
                if in_disc(1.0) && in_disc(-1.0) {
                    inside += 1.0;
                    squares += x * x + y * y;
                }
            }
            let expected = squares / inside / (radius_per_nm * radius_per_nm / 2.0);
            let found = disc.narrowing(distance_per_nm);
            assert!(
                (found / expected - 1.0).abs() < 0.01,
                "{found} for {expected}"
            );
        }
        // Two by two pixels of 0.232 1/nm, as simulated speckle shows it: 1.166 instead of 1.281 a step.
        let block = [(3, 4), (3, 5), (4, 4), (4, 5)];
        let of_block = disc.narrowing_of_mean(&block, 0.232).sqrt();
        assert!(
            (of_block / (1.166 / 1.281) - 1.0).abs() < 0.02,
            "{of_block}"
        );
    }

    #[test]
    fn a_stated_width_of_the_probe_leaves_the_aperture_round() {
        let mut recipe = Recipe::default();
        assert!(Aperture::round(&recipe).is_none());
        let radius = |recipe: &Recipe| match Aperture::round(recipe) {
            Some(Aperture::Disc { radius_per_nm }) => radius_per_nm,
            other => panic!("{other:?}"),
        };
        recipe.microscope.probe_fwhm_nm = Some(0.78);
        assert!((radius(&recipe) - 0.654).abs() < 0.001);
        recipe.microscope.voltage_kv = Some(200.0);
        recipe.microscope.convergence_mrad = Some(1.6);
        assert!((radius(&recipe) - 0.638).abs() < 0.001);
        assert!(matches!(
            Aperture::of(&recipe),
            Some(Aperture::Normal { .. })
        ));
    }

    #[test]
    fn speckles_are_those_of_a_direct_sum_over_pairs() {
        let q_step = 0.23;
        let place = |at: u32| (f64::from(at) - 33.0) * q_step;
        // A ring with a masked arm.
        let pixels: Vec<(u32, u32)> = (0..66)
            .flat_map(|row| (0..66).map(move |col| (row, col)))
            .filter(|&(row, col)| {
                (4.2..4.6).contains(&place(row).hypot(place(col))) && !(row == 33 && col > 33)
            })
            .collect();
        for aperture in [
            Aperture::Disc {
                radius_per_nm: 0.64,
            },
            Aperture::Normal { fwhm_nm: 0.78 },
        ] {
            let (mut sum_2, mut sum_4) = (0.0, 0.0);
            for one in &pixels {
                for other in &pixels {
                    let distance =
                        (place(one.0) - place(other.0)).hypot(place(one.1) - place(other.1));
                    let square = match aperture {
                        Aperture::Disc { radius_per_nm } => {
                            let t = (distance / (2.0 * radius_per_nm)).min(1.0);
                            let overlap = t.acos() - t * (1.0 - t * t).sqrt();
                            (2.0 / std::f64::consts::PI * overlap).powi(2)
                        }
                        Aperture::Normal { fwhm_nm } => {
                            let sigma = fwhm_nm / FWHM_PER_SIGMA;
                            (-(std::f64::consts::TAU * sigma * distance).powi(2)).exp()
                        }
                    };
                    sum_2 += square;
                    sum_4 += square * square;
                }
            }
            let square = (pixels.len() as f64).powi(2);
            let found = aperture.speckles(&pixels, q_step);
            assert!((found.n_2 * sum_2 / square - 1.0).abs() < 1e-6, "{found:?}");
            assert!((found.n_4 * sum_4 / square - 1.0).abs() < 1e-6, "{found:?}");
        }
        assert!(
            Aperture::Normal { fwhm_nm: 0.78 }
                .speckles(&[], q_step)
                .n_2
                .is_nan()
        );
    }
}
