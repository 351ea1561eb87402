//! How large is a speckle, and what do neighboring probes share?
//!
//! ```text
//! p(x) = ∫_disc exp(2πi q·x) dq        disc radius = convergence / wavelength
//! ⟨E(Q) E*(Q')⟩ = overlap of two discs at distance |Q − Q'| / area of one
//! ⟨E(r) E*(r')⟩ = ∫ p(x − r) p(x − r') dx,  without a grid 2 J₁(v)/v with v = 2π · radius · |r − r'|
//! ```
//!
//! The sample's cells are as wide as the reciprocal of the whole pattern, so a pattern is one discrete Fourier transform.
//! A pattern's pixels see the probe repeated with the period `1 / q_step`. Therefore the *square* of the probe is taken
//! from its Fourier series, whose coefficients are the overlaps of two discs whole pixels apart: a sum over all the repetitions
//! of the Airy disc, not negative, and right at any fraction of a cell. Mean intensity and the speckle's correlation
//! at whole pixels are then exact (between pixels, where two centers differ by a fraction, it is the smooth curve through them). The
//! probe's sign is that of the nearest repetition; only the overlap of neighbors depends on it, and departs from the law
//! without a grid by what the periods share (below 0.03 for 66 pixels of 0.232 1/nm and 1.6 mrad).

use rustfft::num_complex::Complex32;

use super::noise::Window;
use super::settings::SimulationSettings;
use crate::axes::wavelength_nm;
use crate::error::{Error, Result};

/// Area that two equal circles share, divided by the area of one; `distance` is in diameters.
pub fn circle_overlap(distance: f64) -> f64 {
    if distance >= 1.0 {
        return 0.0;
    }
    let t = distance.abs();
    std::f64::consts::FRAC_2_PI * (libm::acos(t) - t * (1.0 - t * t).sqrt())
}

/// A place in the sample, in cells (row, col), fractions included.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Place {
    pub(super) row: f64,
    pub(super) col: f64,
}

/// The probe on the grid of the sample.
#[derive(Debug, Clone)]
pub(super) struct Probe {
    n_rows: usize,
    n_cols: usize,
    radius_per_nm: f64,
    q_step_per_nm: f64,
    /// Detector to true displacement, `[[rr, rc], [cr, cc]]`: symmetric, the inverse of the elliptic distortion.
    undo: [[f64; 2]; 2],
    /// Overlap of two discs that are this many pixels apart, `[row lag, col lag]`, lags from `-reach` to `reach`.
    overlaps: Vec<f64>,
    reach: usize,
}

impl Probe {
    /// The probe of an experiment.
    ///
    /// # Errors
    ///
    /// [`Error::Setting`] where the disc is too large for the pattern.
    pub(super) fn new(settings: &SimulationSettings) -> Result<Self> {
        let radius_per_nm = 1e-3 * settings.convergence_mrad / wavelength_nm(settings.voltage_kv);
        let ellipse = settings.artifacts.ellipse;
        let undo = {
            let (rr, cr) = ellipse.undo(1.0, 0.0);
            let (rc, cc) = ellipse.undo(0.0, 1.0);
            [[rr, rc], [cr, cc]]
        };
        let diameter_px =
            2.0 * radius_per_nm / settings.q_step_per_nm * (1.0 + ellipse.distortion.abs());
        let n_smaller = settings.pattern_rows.min(settings.pattern_cols);
        // Two discs must not touch around the edge of the pattern, or the Fourier series would not be a sum of squares.
        if 2.0 * diameter_px >= n_smaller as f64 - 1.0 {
            return Err(Error::Setting {
                key: "simulation.convergence_mrad".to_owned(),
                value: settings.convergence_mrad.to_string(),
                problem: format!(
                    "the discs are {diameter_px:.1} pixels wide, and a pattern must be more than two discs wide; \
                     {n_smaller} pixels are too few (more pixels, a larger q_step_per_nm, or a smaller angle)"
                ),
            });
        }
        let reach = diameter_px.ceil() as usize;
        let mut probe = Self {
            n_rows: settings.pattern_rows,
            n_cols: settings.pattern_cols,
            radius_per_nm,
            q_step_per_nm: settings.q_step_per_nm,
            undo,
            overlaps: Vec::new(),
            reach,
        };
        let lags = || -(reach as i64)..=reach as i64;
        probe.overlaps = lags()
            .flat_map(|row| lags().map(move |col| (row as f64, col as f64)))
            .map(|(row, col)| probe.speckle_correlation(row, col))
            .collect();
        Ok(probe)
    }

    /// Radius of the disc.
    pub(super) fn radius_per_nm(&self) -> f64 {
        self.radius_per_nm
    }

    /// `⟨E(Q) E*(Q')⟩` of two pixels so many rows and columns apart.
    pub(super) fn speckle_correlation(&self, row_px: f64, col_px: f64) -> f64 {
        let [[rr, rc], [cr, cc]] = self.undo;
        let true_px = libm::hypot(rr * row_px + rc * col_px, cr * row_px + cc * col_px);
        circle_overlap(true_px * self.q_step_per_nm / (2.0 * self.radius_per_nm))
    }

    /// Cells of a place given in nm.
    ///
    /// White noise stays white under a linear map of the plane. So where the pattern is an ellipse, the cells are laid on the
    /// sample as that ellipse demands, and the Fourier transform stays a plain one.
    pub(super) fn place(&self, row_nm: f64, col_nm: f64) -> Place {
        let [[rr, rc], [cr, cc]] = self.undo;
        Place {
            row: (rr * row_nm + rc * col_nm) * self.n_rows as f64 * self.q_step_per_nm,
            col: (cr * row_nm + cc * col_nm) * self.n_cols as f64 * self.q_step_per_nm,
        }
    }

    /// The cells that a probe at a place sees.
    pub(super) fn window(&self, place: Place) -> Window {
        Window {
            first_row: place.row.round() as i64 - self.n_rows as i64 / 2,
            first_col: place.col.round() as i64 - self.n_cols as i64 / 2,
            n_rows: self.n_rows,
            n_cols: self.n_cols,
        }
    }

    /// Amplitude of a probe at a place on the cells of its window, `[row, col]`; the squares sum to 1.
    pub(super) fn amplitude(&self, place: Place) -> Vec<f64> {
        let window = self.window(place);
        let rows: Vec<f64> = (0..self.n_rows)
            .map(|row| (window.first_row + row as i64) as f64 - place.row)
            .collect();
        let cols: Vec<f64> = (0..self.n_cols)
            .map(|col| (window.first_col + col as i64) as f64 - place.col)
            .collect();
        let square = self.square(&rows, &cols);
        let mut amplitude = Vec::with_capacity(square.len());
        for (row_idx, &row) in rows.iter().enumerate() {
            for (col_idx, &col) in cols.iter().enumerate() {
                // The series of a non-negative function is negative by rounding only.
                let size = square[row_idx * self.n_cols + col_idx].max(0.0).sqrt();
                amplitude.push(size * self.sign(row, col));
            }
        }
        amplitude
    }

    /// The probe with the phase that puts `Q = 0` on a pixel of the pattern, fractions included.
    pub(super) fn centered(
        &self,
        place: Place,
        center_row: f64,
        center_col: f64,
    ) -> Vec<Complex32> {
        let ramp = |center: f64, n: usize| -> Vec<(f64, f64)> {
            (0..n)
                .map(|cell| {
                    let turns = (center * cell as f64 / n as f64).fract();
                    let phase = std::f64::consts::TAU * turns;
                    (libm::cos(phase), libm::sin(phase))
                })
                .collect()
        };
        let (rows, cols) = (ramp(center_row, self.n_rows), ramp(center_col, self.n_cols));
        let phases = rows.iter().flat_map(|a| cols.iter().map(move |b| (a, b)));
        self.amplitude(place)
            .iter()
            .zip(phases)
            .map(|(amplitude, (a, b))| {
                Complex32::new(
                    (amplitude * (a.0 * b.0 - a.1 * b.1)) as f32,
                    (amplitude * (a.0 * b.1 + a.1 * b.0)) as f32,
                )
            })
            .collect()
    }

    /// `⟨E(r) E*(r')⟩` of fields that share their noise at every time, up to a phase.
    pub(super) fn overlap(&self, one: Place, other: Place) -> f64 {
        let (window, other_window) = (self.window(one), self.window(other));
        let (a, b) = (self.amplitude(one), self.amplitude(other));
        let mut sum = 0.0;
        for row in 0..self.n_rows {
            for col in 0..self.n_cols {
                let other_row = window.first_row + row as i64 - other_window.first_row;
                let other_col = window.first_col + col as i64 - other_window.first_col;
                if (0..self.n_rows as i64).contains(&other_row)
                    && (0..self.n_cols as i64).contains(&other_col)
                {
                    sum += a[row * self.n_cols + col]
                        * b[other_row as usize * self.n_cols + other_col as usize];
                }
            }
        }
        sum
    }

    /// Square of the probe from its Fourier series, `[row, col]`, at displacements in cells.
    fn square(&self, rows: &[f64], cols: &[f64]) -> Vec<f64> {
        let n_lags = 2 * self.reach + 1;
        let waves = |displacements: &[f64], n: usize| -> Vec<(f64, f64)> {
            displacements
                .iter()
                .flat_map(|d| {
                    (0..n_lags).map(move |lag| {
                        let phase =
                            std::f64::consts::TAU * (lag as f64 - self.reach as f64) * d / n as f64;
                        (libm::cos(phase), libm::sin(phase))
                    })
                })
                .collect()
        };
        let row_waves = waves(rows, self.n_rows);
        let col_waves = waves(cols, self.n_cols);
        let norm = 1.0 / (self.n_rows * self.n_cols) as f64;
        let mut square = Vec::with_capacity(rows.len() * cols.len());
        let mut partial = vec![(0.0, 0.0); n_lags];
        for row_wave in row_waves.chunks_exact(n_lags) {
            for (col_lag, partial) in partial.iter_mut().enumerate() {
                *partial = row_wave.iter().enumerate().fold(
                    (0.0, 0.0),
                    |(re, im), (row_lag, &(cos, sin))| {
                        let overlap = self.overlaps[row_lag * n_lags + col_lag];
                        (re + overlap * cos, im + overlap * sin)
                    },
                );
            }
            for col_wave in col_waves.chunks_exact(n_lags) {
                let sum: f64 = partial
                    .iter()
                    .zip(col_wave)
                    .map(|(&(re, im), &(cos, sin))| re * cos - im * sin)
                    .sum();
                square.push(norm * sum);
            }
        }
        square
    }

    /// Sign of the Airy amplitude `2 J₁(v)/v` at a displacement in cells.
    fn sign(&self, row: f64, col: f64) -> f64 {
        let row_nm = row / (self.n_rows as f64 * self.q_step_per_nm);
        let col_nm = col / (self.n_cols as f64 * self.q_step_per_nm);
        // The inverse of `undo` leads from cells to the sample.
        let [[rr, rc], [cr, cc]] = self.undo;
        let det = rr * cc - rc * cr;
        let distance_nm = libm::hypot(
            (cc * row_nm - rc * col_nm) / det,
            (rr * col_nm - cr * row_nm) / det,
        );
        let v = std::f64::consts::TAU * self.radius_per_nm * distance_nm;
        if libm::j1(v) < 0.0 { -1.0 } else { 1.0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::calibrate::Ellipse;

    #[test]
    fn wavelengths_are_those_of_the_tables() {
        for (kv, pm) in [(100.0, 3.7014), (200.0, 2.5079), (300.0, 1.9687)] {
            assert!((1e3 * wavelength_nm(kv) - pm).abs() < 1e-4);
        }
    }

    #[test]
    fn circles_overlap_as_geometry_says() {
        assert_eq!(circle_overlap(0.0), 1.0);
        assert_eq!(circle_overlap(1.0), 0.0);
        // Each center on the other's rim: 2/3 - sqrt(3)/(2 pi).
        assert!((circle_overlap(0.5) - 0.391_002_218_955_771).abs() < 1e-12);
    }

    /// The transform of the squared probe must give back the overlap of discs, wherever the probe stands.
    #[test]
    fn squared_probe_has_the_speckle_correlation() {
        let mut settings = SimulationSettings {
            pattern_cols: 54,
            ..SimulationSettings::default()
        };
        settings.artifacts.ellipse = Ellipse {
            distortion: 0.08,
            angle_rad: 0.6,
        };
        let probe = Probe::new(&settings).expect("the discs fit");
        let place = Place {
            row: 17.31,
            col: -3.87,
        };
        let amplitude = probe.amplitude(place);
        let window = probe.window(place);
        for (row_lag, col_lag) in [(0, 0), (1, 0), (0, 2), (3, -2), (4, 4), (9, 1)] {
            let (mut re, mut im) = (0.0, 0.0);
            for (cell, amplitude) in amplitude.iter().enumerate() {
                let row = (window.first_row + (cell / 54) as i64) as f64 - place.row;
                let col = (window.first_col + (cell % 54) as i64) as f64 - place.col;
                let phase = std::f64::consts::TAU
                    * (f64::from(row_lag) * row / 66.0 + f64::from(col_lag) * col / 54.0);
                re += amplitude * amplitude * phase.cos();
                im += amplitude * amplitude * phase.sin();
            }
            let wanted = probe.speckle_correlation(f64::from(row_lag), f64::from(col_lag));
            assert!((re - wanted).abs() < 1e-12 && im.abs() < 1e-12);
        }
    }

    #[test]
    fn overlap_of_neighbors_follows_the_airy_law() {
        let probe = Probe::new(&SimulationSettings::default()).expect("the discs fit");
        let one = probe.place(0.3, -0.2);
        assert!((probe.overlap(one, one) - 1.0).abs() < 1e-12);
        for distance_nm in [0.16, 0.4, 0.8, 1.2] {
            let v = std::f64::consts::TAU * probe.radius_per_nm() * distance_nm;
            let law = 2.0 * libm::j1(v) / v;
            let found = probe.overlap(one, probe.place(0.3, -0.2 + distance_nm));
            // What the periods of the probe share; see the module.
            assert!(
                (found - law).abs() < 0.03,
                "{distance_nm} nm: {found:.4} against {law:.4}"
            );
        }
    }

    #[test]
    fn discs_too_large_for_the_pattern_are_refused() {
        let settings = SimulationSettings {
            pattern_rows: 10,
            ..SimulationSettings::default()
        };
        let message = Probe::new(&settings)
            .expect_err("the discs overlap")
            .to_string();
        assert!(message.contains("5.5 pixels"), "{message}");
    }
}
