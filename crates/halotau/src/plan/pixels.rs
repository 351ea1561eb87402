//! How many speckles and electrons does a ring hold?
//!
//! Speckles are those of [`crate::speckle`], N₂ for means and N₄ for averages of products of two pixels. Where Q and −Q show the same speckle to the degree
//! Φ, N₂ is divided by 1 + Φ and N₄ by 1 + Φ².

use ndarray::Array2;
use serde::{Deserialize, Serialize};

use super::settings::PlanSettings;
use crate::axes::QRange;
use crate::beam::Dose;
use crate::error::{Error, Result};
use crate::speckle::Aperture;

/// Fewest pixels of which something can be said: a ring that a mask has nearly closed is a slip.
const MIN_PIXELS: usize = 8;

/// Distance of the boundary of halves within which pixels are in neither, times the width of the probe. As in the analysis.
const GUARD_WIDTHS: f64 = 0.36;

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
        let pixels: Vec<(u32, u32)> = inside
            .indexed_iter()
            .filter(|(_, inside)| **inside)
            .map(|((row, col), _)| (row as u32, col as u32))
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
        let aperture = match settings.probe_fwhm_nm {
            Some(fwhm_nm) => Aperture::Normal { fwhm_nm },
            None => Aperture::Disc {
                radius_per_nm: settings.disc_radius_per_nm(),
            },
        };
        let speckles = aperture.speckles(&pixels, self.q_step);
        let electrons = |&(row, col): &(u32, u32)| {
            let (row, col) = self.place(row as usize, col as usize);
            self.electrons_per_halo * self.halo(row.hypot(col))
        };
        let mean = |value: &dyn Fn(f64) -> f64| {
            pixels.iter().map(|at| value(electrons(at))).sum::<f64>() / n_pixels as f64
        };
        let degree = settings.friedel_degree;
        Ok(PixelSet {
            n_pixels,
            n_speckle_2: speckles.n_2 / (1.0 + degree),
            n_speckle_4: speckles.n_4 / (1.0 + degree * degree),
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
    fn the_ring_of_the_paper_holds_as_many_speckles_as_quoted() {
        let settings = PlanSettings {
            tau_range_per_nm: QRange::new(4.2, 4.6),
            ..PlanSettings::default()
        };
        let set = PixelSets::new(&settings).unwrap().tau[0];
        // 42 and 78 are quoted for a slightly wider ring.
        assert!((set.n_speckle_2 - 42.0).abs() < 1.5, "{}", set.n_speckle_2);
        assert!((set.n_speckle_4 - 78.0).abs() < 4.0, "{}", set.n_speckle_4);
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
