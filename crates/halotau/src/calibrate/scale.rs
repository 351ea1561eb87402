//! How many 1/nm is a pixel, and does that fit everything else that is known?
//!
//! ```text
//! q_step = q_ring / r_ring                                   from a ring whose spatial frequency is known
//! q_step = pixel / (L · λ(U))                                from camera length and voltage (small angles)
//! ```
//!
//! q is 1/d without 2π. A scale that came from somewhere is checked against the halo of the material, the aperture against the
//! probe, and the rings that are asked for against the edge of the detector.

use serde::{Deserialize, Serialize};

use super::measure::WithError;
use crate::axes::{AIRY_FWHM, QRange, wavelength_nm};
use crate::series::Warning;

/// The halo may be this far, as a share, from where the material is said to have it.
const HALO_TOLERANCE: f64 = 0.02;

/// First halos of glasses, from chalcogenides and silica to metals.
const USUAL_HALO_PER_NM: (f64, f64) = (1.2, 8.0);

/// The width of the probe may be this far, as a share, from what the aperture allows.
const PROBE_TOLERANCE: f64 = 0.15;

/// A ring of which less than this share is seen is worth a word.
const MIN_SEEN: f64 = 0.5;

/// Where the scale of spatial frequency came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ScaleOrigin {
    /// Stated by the user.
    Given,
    /// From a ring of known spatial frequency.
    Ring,
    /// From pixel size, camera length and voltage.
    CameraLength,
    /// Stated by the file.
    File,
}

/// Spatial frequency a native pixel from the halo's radius and its known spatial frequency.
pub fn from_ring(ring_per_nm: f64, radius_px: WithError) -> WithError {
    let value = ring_per_nm / radius_px.value;
    WithError {
        value,
        error: value * radius_px.error / radius_px.value,
    }
}

/// Spatial frequency a native pixel from the size of a pixel, the camera length and the voltage.
///
/// # Example
///
/// ```
/// // A 48 µm pixel at 330 mm is 0.1455 mrad, at 200 kV 0.058 1/nm.
/// let q_step = halotau::calibrate::scale::from_camera_length(48.0, 330.0, 200.0);
/// assert!((q_step - 0.058).abs() < 1e-4);
/// ```
pub fn from_camera_length(pixel_um: f64, camera_length_mm: f64, voltage_kv: f64) -> f64 {
    1e-3 * pixel_um / (camera_length_mm * wavelength_nm(voltage_kv))
}

/// What is known beside the scale.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Known {
    /// Spatial frequency a native pixel.
    pub q_step_per_nm: f64,
    /// The halo, where it was measured.
    pub halo: Option<Halo>,
    /// Where the material has its first diffraction peak.
    pub first_peak_per_nm: Option<f64>,
    /// Voltage.
    pub voltage_kv: Option<f64>,
    /// Convergence semi-angle.
    pub convergence_mrad: Option<f64>,
    /// Full width at half maximum of the probe, as stated.
    pub probe_fwhm_nm: Option<f64>,
    /// The rings that are analyzed.
    pub dynamics: QRange,
    /// As `dynamics`.
    pub structure: QRange,
}

/// The halo as it was measured.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Halo {
    /// Radius in native pixels.
    pub radius_px: WithError,
    /// Whether the scale was made from the halo, which then says nothing about it.
    pub is_scale: bool,
}

/// What does not fit together. `seen` is the share of a ring that is usable.
pub fn check(known: &Known, seen: &dyn Fn(QRange) -> f64) -> Vec<Warning> {
    let mut warnings = Vec::new();
    if let Some(halo) = &known.halo {
        check_halo(known, halo, &mut warnings);
    }
    check_aperture(known, &mut warnings);
    check_rings(known, seen, &mut warnings);
    warnings
}

/// The halo lies where the material has it, and in a ring that is looked at.
fn check_halo(known: &Known, halo: &Halo, warnings: &mut Vec<Warning>) {
    let halo_per_nm = halo.radius_px.value * known.q_step_per_nm;
    if let Some(expected) = known.first_peak_per_nm.filter(|_| !halo.is_scale) {
        let away = halo_per_nm / expected - 1.0;
        // Few areas leave the halo uncertain by a per cent or more, which is no fault of the scale.
        let error = halo.radius_px.error / halo.radius_px.value;
        let doubt = if error.is_finite() { 2.0 * error } else { 0.0 };
        if away.abs() > HALO_TOLERANCE + doubt {
            warnings.push(Warning::new(
                "W085",
                format!(
                    "The halo lies at {halo_per_nm:.3} 1/nm, {:+.1} % from the {expected} 1/nm of sample.first_peak_per_nm; check \
                     pattern.q_step_per_nm (here {:.5}), or take the scale from the halo with calibration.ring_per_nm = {expected}.",
                    100.0 * away, known.q_step_per_nm
                ),
            ));
        }
    } else if !(USUAL_HALO_PER_NM.0..USUAL_HALO_PER_NM.1).contains(&halo_per_nm) {
        warnings.push(Warning::new(
            "W085",
            format!(
                "The halo lies at {halo_per_nm:.3} 1/nm; first halos of glasses lie at {} to {} 1/nm (1/d, without 2 pi). Check \
                 pattern.q_step_per_nm.",
                USUAL_HALO_PER_NM.0, USUAL_HALO_PER_NM.1
            ),
        ));
    }
    if !known.dynamics.contains(halo_per_nm) && !known.structure.contains(halo_per_nm) {
        warnings.push(Warning::new(
            "W086",
            format!(
                "Neither the ring of the dynamics ({}-{} 1/nm) nor the band of the structure ({}-{} 1/nm) holds the halo at \
                 {halo_per_nm:.2} 1/nm.",
                known.dynamics.min_per_nm,
                known.dynamics.max_per_nm,
                known.structure.min_per_nm,
                known.structure.max_per_nm
            ),
        ));
    }
}

/// The width of the probe is that of the aperture.
fn check_aperture(known: &Known, warnings: &mut Vec<Warning>) {
    if let (Some(voltage_kv), Some(mrad)) = (known.voltage_kv, known.convergence_mrad) {
        let radius_per_nm = 1e-3 * mrad / wavelength_nm(voltage_kv);
        let allowed_nm = AIRY_FWHM / radius_per_nm;
        if let Some(stated_nm) = known.probe_fwhm_nm
            && (stated_nm / allowed_nm - 1.0).abs() > PROBE_TOLERANCE
        {
            warnings.push(Warning::new(
                "W087",
                format!(
                    "{mrad} mrad at {voltage_kv} kV is {radius_per_nm:.3} 1/nm and gives a probe of {allowed_nm:.2} nm, but \
                     microscope.probe_fwhm_nm is {stated_nm} nm."
                ),
            ));
        }
    }
}

/// Enough of each ring is seen.
fn check_rings(known: &Known, seen: &dyn Fn(QRange) -> f64, warnings: &mut Vec<Warning>) {
    let mut rings = vec![("dynamics", known.dynamics), ("structure", known.structure)];
    if known.dynamics == known.structure {
        rings.pop();
    }
    for (name, range) in rings {
        let share = seen(range);
        if share < MIN_SEEN {
            warnings.push(Warning::new(
                "W088",
                format!(
                    "Of {name}.q_range_per_nm = [{}, {}] only {:.0} % can be used: the rest is masked or beyond the edge of the \
                     detector.",
                    range.min_per_nm,
                    range.max_per_nm,
                    100.0 * share
                ),
            ));
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests {
    use super::*;

    fn halo(error: f64) -> Option<Halo> {
        Some(Halo {
            radius_px: WithError { value: 75.9, error },
            is_scale: false,
        })
    }

    fn known() -> Known {
        Known {
            q_step_per_nm: 0.058,
            halo: halo(0.1),
            first_peak_per_nm: Some(4.4),
            voltage_kv: Some(200.0),
            convergence_mrad: Some(1.6),
            probe_fwhm_nm: Some(0.78),
            dynamics: QRange::new(4.2, 4.6),
            structure: QRange::new(3.0, 5.8),
        }
    }

    fn codes(known: &Known) -> Vec<String> {
        let warnings = check(known, &|_| 0.9);
        warnings.into_iter().map(|warning| warning.code).collect()
    }

    #[test]
    fn what_fits_gives_no_warning_and_what_does_not_its_own() {
        assert!(codes(&known()).is_empty());
        let scale = Known {
            q_step_per_nm: 0.062,
            ..known()
        };
        assert_eq!(codes(&scale), ["W085"]);
        // Two per cent and a half is too much where the halo is known to a thousandth, but not where it is known to a hundredth.
        let near = |error: f64| Known {
            q_step_per_nm: 0.0594,
            halo: halo(error),
            ..known()
        };
        assert_eq!(codes(&near(0.1)), ["W085"]);
        assert!(codes(&near(0.8)).is_empty());
        // 1/Å taken for 1/nm: outside of every glass and of both rings.
        let unit = Known {
            q_step_per_nm: 0.0058,
            first_peak_per_nm: None,
            ..known()
        };
        assert_eq!(codes(&unit), ["W085", "W086"]);
        // The paper's 0.95 1/nm would be 2.4 mrad and a probe of 0.53 nm.
        let aperture = Known {
            convergence_mrad: Some(2.4),
            ..known()
        };
        assert_eq!(codes(&aperture), ["W087"]);
        // Without a look at the patterns, as with a halo that is missed.
        let unseen = Known {
            halo: None,
            ..aperture
        };
        assert_eq!(codes(&unseen), ["W087"]);
        let masked = check(&known(), &|range| {
            if range.max_per_nm > 5.0 { 0.2 } else { 1.0 }
        });
        assert_eq!(masked.len(), 1);
        assert!(masked[0].text.contains("structure.q_range_per_nm"));
    }

    #[test]
    fn a_known_ring_makes_the_scale() {
        let scale = from_ring(4.4, halo(0.1).unwrap().radius_px);
        assert!((scale.value - 0.05797).abs() < 1e-5);
        assert!((scale.error / scale.value - 0.1 / 75.9).abs() < 1e-9);
    }
}
