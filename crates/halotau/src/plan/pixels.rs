//! How many speckles and electrons does a ring hold?
//!
//! ```text
//! N₂ = P² / Σ_pq |μ(Q_p − Q_q)|²        N₄ = P² / Σ_pq |μ(Q_p − Q_q)|⁴
//! μ  = overlap of two discs of the radius α/λ, as a share of one         |μ|² = exp(−4π² σ² ΔQ²) for a normal probe of width σ
//! ```
//!
//! N₂ is for means, N₄ for averages of products of two pixels. Where Q and −Q show the same speckle to the degree Φ, N₂ is divided by 1 + Φ
//! and N₄ by 1 + Φ². The sum runs over distances of whole pixels: pairs of a distance are counted, their correlation is the same.

use ndarray::Array2;
use serde::{Deserialize, Serialize};

use super::settings::PlanSettings;
use crate::axes::QRange;
use crate::beam::Dose;
use crate::error::{Error, Result};
use crate::simulate::circle_overlap;

/// Fewest pixels of which something can be said: a ring that a mask has nearly closed is a slip.
const MIN_PIXELS: usize = 8;

/// Distance of the boundary of halves within which pixels are in neither, times the width of the probe. As in the analysis.
const GUARD_WIDTHS: f64 = 0.36;

/// Full width at half maximum of a normal distribution in standard deviations.
pub(super) const FWHM_PER_SIGMA: f64 = 2.354_820_045_030_949;

/// What a set of pixels holds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct PixelSet {
    /// Pixels, P.
    pub n_pixels: usize,
    /// Independent speckles for means, N₂.
    pub n_speckle_2: f64,
    /// Independent speckles for products, N₄.
    pub n_speckle_4: f64,
    /// Mean electrons a pixel in one pattern, at a dwell of 1 ms.
    pub electrons_per_ms: f64,
    /// Mean over pixels of 1/electrons, at 1 ms: the variance of the shot noise of a relative intensity.
    pub noise_ms: f64,
}

/// The pixel sets of a plan.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct PixelSets {
    /// The ring of tau; one of its halves.
    pub(super) tau: [PixelSet; 2],
    /// The ring of V; one of its halves.
    pub(super) structure: [PixelSet; 2],
}

impl PixelSets {
    /// Counts speckles and electrons.
    ///
    /// # Errors
    ///
    /// [`Error::RingOutside`], [`Error::EmptyRing`].
    pub(super) fn new(settings: &PlanSettings) -> Result<Self> {
        let pattern = Pattern::new(settings);
        let sets = |range: QRange| -> Result<[PixelSet; 2]> {
            Ok([pattern.set(range, false)?, pattern.set(range, true)?])
        };
        let tau = sets(settings.tau_range_per_nm)?;
        let structure = if settings.structure_range_per_nm == settings.tau_range_per_nm {
            tau
        } else {
            sets(settings.structure_range_per_nm)?
        };
        Ok(Self { tau, structure })
    }
}

struct Pattern<'a> {
    settings: &'a PlanSettings,
    q_step: f64,
    /// Electrons in 1 ms over the sum of the halo.
    electrons_per_halo: f64,
}

impl<'a> Pattern<'a> {
    fn new(settings: &'a PlanSettings) -> Self {
        let mut pattern = Self {
            settings,
            q_step: settings.pixel_per_nm(),
            electrons_per_halo: 0.0,
        };
        let mut sum = 0.0;
        for row in 0..settings.pattern_rows {
            for col in 0..settings.pattern_cols {
                let (row, col) = pattern.place(row, col);
                if !pattern.is_shaded(row, col) {
                    sum += pattern.halo(row.hypot(col));
                }
            }
        }
        let dose = Dose::new(settings.probe_current_pa, 1.0, 1.0, 1, 1.0);
        pattern.electrons_per_halo = dose.electrons * settings.collected / sum;
        pattern
    }

    /// Spatial frequency of a pixel along rows and columns; the center is where the simulation has it.
    fn place(&self, row: usize, col: usize) -> (f64, f64) {
        let along = |idx: usize, len: usize| (idx as f64 - (len / 2) as f64) * self.q_step;
        (
            along(row, self.settings.pattern_rows),
            along(col, self.settings.pattern_cols),
        )
    }

    fn halo(&self, q: f64) -> f64 {
        let halo = &self.settings.halo;
        let z = (q - halo.q_ring_per_nm) / halo.width_per_nm;
        halo.background + libm::exp(-0.5 * z * z)
    }

    fn is_shaded(&self, row: f64, col: f64) -> bool {
        let stop = &self.settings.beam_stop;
        let angle = stop.arm_angle_deg.to_radians();
        let along = col * libm::cos(angle) + row * libm::sin(angle);
        let across = row * libm::cos(angle) - col * libm::sin(angle);
        row.hypot(col) < stop.radius_per_nm
            || (along > 0.0 && 2.0 * across.abs() < stop.arm_width_per_nm)
    }

    /// |μ|² of two pixels.
    fn intensity_correlation(&self, distance_per_nm: f64) -> f64 {
        match self.settings.probe_fwhm_nm {
            Some(fwhm_nm) => {
                let phase = std::f64::consts::TAU * fwhm_nm / FWHM_PER_SIGMA * distance_per_nm;
                libm::exp(-phase * phase)
            }
            None => {
                let disc = self.settings.disc_radius_per_nm();
                circle_overlap(distance_per_nm / (2.0 * disc)).powi(2)
            }
        }
    }

    /// Farthest distance at which pixels share a speckle.
    fn reach_per_nm(&self) -> f64 {
        match self.settings.probe_fwhm_nm {
            // |μ|² is 1e-9 there.
            Some(fwhm_nm) => 4.55 * FWHM_PER_SIGMA / (std::f64::consts::TAU * fwhm_nm),
            None => 2.0 * self.settings.disc_radius_per_nm(),
        }
    }

    fn set(&self, range: QRange, halved: bool) -> Result<PixelSet> {
        let settings = self.settings;
        let guard = GUARD_WIDTHS / settings.fwhm_nm();
        let shape = (settings.pattern_rows, settings.pattern_cols);
        let edge = self.q_step * (shape.0.min(shape.1) as f64 - 1.0) / 2.0;
        if range.min_per_nm >= edge || range.max_per_nm > std::f64::consts::SQRT_2 * edge {
            return Err(Error::RingOutside {
                what: "the detector",
                q_min_per_nm: range.min_per_nm,
                q_max_per_nm: range.max_per_nm,
                available_min_per_nm: 0.0,
                available_max_per_nm: edge,
            });
        }
        let inside = Array2::from_shape_fn(shape, |(row, col)| {
            let (row, col) = self.place(row, col);
            let in_half = !halved || (row.abs().min(col.abs()) >= guard && row * col > 0.0);
            range.contains(row.hypot(col)) && in_half && !self.is_shaded(row, col)
        });
        let pixels: Vec<(usize, usize)> = inside
            .indexed_iter()
            .filter(|(_, inside)| **inside)
            .map(|(at, _)| at)
            .collect();
        let n_pixels = pixels.len();
        if n_pixels < MIN_PIXELS {
            return Err(Error::EmptyRing {
                q_min_per_nm: range.min_per_nm,
                q_max_per_nm: range.max_per_nm,
                n_pixels,
                needed: MIN_PIXELS,
            });
        }
        let (mut sum_2, mut sum_4) = (0.0, 0.0);
        let reach = (self.reach_per_nm() / self.q_step).ceil() as i64;
        for rows in -reach..=reach {
            for cols in -reach..=reach {
                let distance = self.q_step * (rows as f64).hypot(cols as f64);
                let correlation = self.intensity_correlation(distance);
                if correlation < 1e-9 {
                    continue;
                }
                let is_pair = |&&(row, col): &&(usize, usize)| {
                    let (row, col) = (row as i64 + rows, col as i64 + cols);
                    let there = usize::try_from(row).ok().zip(usize::try_from(col).ok());
                    there.is_some_and(|at| inside.get(at) == Some(&true))
                };
                let n_pairs = pixels.iter().filter(is_pair).count() as f64;
                sum_2 += n_pairs * correlation;
                sum_4 += n_pairs * correlation * correlation;
            }
        }
        let electrons = |&(row, col): &(usize, usize)| {
            let (row, col) = self.place(row, col);
            self.electrons_per_halo * self.halo(row.hypot(col))
        };
        let mean = |value: &dyn Fn(f64) -> f64| {
            pixels.iter().map(|at| value(electrons(at))).sum::<f64>() / n_pixels as f64
        };
        let n = n_pixels as f64;
        let degree = settings.friedel_degree;
        Ok(PixelSet {
            n_pixels,
            n_speckle_2: n * n / (sum_2 * (1.0 + degree)),
            n_speckle_4: n * n / (sum_4 * (1.0 + degree * degree)),
            electrons_per_ms: mean(&|electrons| electrons),
            noise_ms: mean(&|electrons| 1.0 / electrons),
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests {
    use super::*;

    #[test]
    fn speckle_numbers_are_those_of_a_direct_sum_over_pairs() {
        let settings = PlanSettings {
            tau_range_per_nm: QRange::new(4.2, 4.6),
            ..PlanSettings::default()
        };
        let set = PixelSets::new(&settings).unwrap().tau[0];
        let pattern = Pattern::new(&settings);
        let mut pixels = Vec::new();
        for row in 0..66 {
            for col in 0..66 {
                let (row, col) = pattern.place(row, col);
                let q = row.hypot(col);
                if (4.2..4.6).contains(&q) && !pattern.is_shaded(row, col) {
                    pixels.push((row, col));
                }
            }
        }
        let (mut sum_2, mut sum_4) = (0.0, 0.0);
        for one in &pixels {
            for other in &pixels {
                let t = (one.0 - other.0).hypot(one.1 - other.1)
                    / (2.0 * settings.disc_radius_per_nm());
                if t < 1.0 {
                    let overlap =
                        (2.0 / std::f64::consts::PI) * (t.acos() - t * (1.0 - t * t).sqrt());
                    sum_2 += overlap.powi(2);
                    sum_4 += overlap.powi(4);
                }
            }
        }
        let n = pixels.len() as f64;
        assert_eq!(set.n_pixels, pixels.len());
        assert!((set.n_speckle_2 * sum_2 / (n * n) - 1.0).abs() < 1e-9);
        assert!((set.n_speckle_4 * sum_4 / (n * n) - 1.0).abs() < 1e-9);
        // The values that are quoted for this ring: 42 and 78 with a slightly wider one.
        assert!((set.n_speckle_2 - 42.0).abs() < 1.5, "{}", set.n_speckle_2);
    }

    #[test]
    fn friedel_symmetry_halves_the_speckles_and_a_wide_probe_multiplies_them() {
        let count = |settings: &PlanSettings| PixelSets::new(settings).unwrap().tau[0];
        let thick = PlanSettings::default();
        let thin = PlanSettings {
            friedel_degree: 1.0,
            ..thick.clone()
        };
        let ratio = count(&thick).n_speckle_2 / count(&thin).n_speckle_2;
        assert!((ratio - 2.0).abs() < 1e-9);
        let narrow = PlanSettings {
            convergence_mrad: 0.8,
            ..thick.clone()
        };
        // A quarter of the disc's area; the ring's edges keep it below 4.
        let ratio = count(&narrow).n_speckle_2 / count(&thick).n_speckle_2;
        assert!((3.0..4.0).contains(&ratio), "{ratio}");
        // The study's probe: normal, 0.78 nm: 114.8 speckles of the band, one half 40-55.
        let normal = PlanSettings {
            probe_fwhm_nm: Some(0.78),
            ..thick
        };
        let sets = PixelSets::new(&normal).unwrap();
        assert!((sets.tau[0].n_speckle_2 - 114.8).abs() < 2.0, "{sets:?}");
        assert!((40.0..55.0).contains(&sets.tau[1].n_speckle_2), "{sets:?}");
    }
}
