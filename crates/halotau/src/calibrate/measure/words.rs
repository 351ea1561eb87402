//! What the microscope did, in full sentences with a code each: every distortion that stands out from its error is named.

use std::f64::consts::PI;

use super::{Measured, Work};
use crate::series::Warning;

/// A distortion is told where it exceeds this many of its standard errors: of the dozens of numbers of a calibration, less than
/// one in a thousand is beyond it by chance.
const TOLD_IN_SD: f64 = 4.0;

/// Distance of the center from the middle of the detector that is told, pixels of the grid.
const MIN_OFF_CENTER: f64 = 0.5;

/// Distortion that is told: it moves a ring of 20 pixels by a twentieth of a pixel.
const MIN_DISTORTION: f64 = 0.0025;

/// Spread of the gain that is told: its square is added to V.
const MIN_GAIN_SPREAD: f64 = 0.01;

/// Pixels of a kind that are listed by place before the rest is counted.
const MAX_LISTED: usize = 6;

impl Work<'_> {
    /// What was measured and not given, where it is beyond chance.
    pub(super) fn named(&self, measured: &Measured) -> Vec<Warning> {
        let mut named = Vec::new();
        let mut name = |code: &str, text: Option<String>| {
            named.extend(text.map(|text| Warning::new(code, text)));
        };
        name("W090", self.off_center(measured));
        name("W091", self.descan_text(measured));
        name("W092", self.ellipse_text(measured));
        name("W093", stop_text(measured));
        name("W094", bad_text(measured));
        name("W095", gain_text(measured));
        name("W096", self.spikes_text(measured));
        name("W097", offset_text(measured));
        name("W098", electrons_text(measured));
        named
    }

    fn spikes_text(&self, measured: &Measured) -> Option<String> {
        if measured.n_spikes == 0 {
            return None;
        }
        let survey = self.survey;
        let listed: Vec<String> = survey
            .spiked_frames
            .iter()
            .take(MAX_LISTED)
            .map(|[time, row, col]| format!("time {time} at ({row}, {col})"))
            .collect();
        Some(format!(
            "Spikes: {} samples in {} of {} sampled frames ({}{}) are brighter than electrons can be: cosmic rays or X-rays. Such samples \
             are left out one by one.",
            measured.n_spikes,
            survey.n_spiked_frames,
            survey.n_frames,
            listed.join(", "),
            if survey.n_spiked_frames > MAX_LISTED as u64 {
                ", …"
            } else {
                ""
            }
        ))
    }

    fn off_center(&self, measured: &Measured) -> Option<String> {
        if self.request.center.is_some() {
            return None;
        }
        let [row, col] = measured.center;
        let (n_rows, n_cols) = measured.pixel_valid.dim();
        // The middle lies between two pixels of an even number, or at the one after, depending on who counts.
        let away = |at: f64, n: usize| {
            let half = n as f64 / 2.0;
            at - at.clamp(half - 0.5, half)
        };
        let (down, across) = (away(row.value, n_rows), away(col.value, n_cols));
        let distance = libm::hypot(down, across);
        let told = distance > MIN_OFF_CENTER * self.grid.scale()
            && distance > TOLD_IN_SD * libm::hypot(row.error, col.error);
        told.then(|| {
            format!(
                "Center: the patterns are centered at ({:.2} ± {:.2}, {:.2} ± {:.2}), {distance:.2} native pixels from the middle of \
                 the detector. This center is used.",
                row.value, row.error, col.value, col.error
            )
        })
    }

    fn descan_text(&self, measured: &Measured) -> Option<String> {
        if !measured.descan_matters {
            return None;
        }
        let (u, v) = self.middle();
        let corners = [(-u, -v), (-u, v), (u, -v), (u, v)].map(|(u, v)| measured.descan.at(u, v));
        let mut field = 0.0_f64;
        for a in corners {
            for b in corners {
                field = field.max(libm::hypot(a.0 - b.0, a.1 - b.1));
            }
        }
        let curved = measured.descan.row_quadratic != [0.0; 3];
        let descan = &measured.descan;
        let error = 2.0 * self.range_error(&measured.descan_error);
        Some(format!(
            "Descan: the pattern moves by {field:.2} ± {error:.2} native pixels from corner to corner of the scan{} (rows of the pattern \
             {:+.4} a scan row and {:+.4} a scan column, columns {:+.4} and {:+.4}). It is followed.",
            if curved {
                ", along a curved surface"
            } else {
                ""
            },
            descan.row_per_row,
            descan.row_per_col,
            descan.col_per_row,
            descan.col_per_col
        ))
    }

    fn ellipse_text(&self, measured: &Measured) -> Option<String> {
        let (ellipse, error) = (measured.ellipse, measured.distortion_error);
        let told = self.request.measure_ellipse
            && ellipse.distortion > MIN_DISTORTION
            && ellipse.distortion > TOLD_IN_SD * error;
        told.then(|| {
            format!(
                "Ellipse: rings are longer by {:.2} ± {:.2} % along {:.0}° (from +column toward +row) and shorter by as much across; the \
                 ratio of the axes is {:.3}. It is corrected.",
                100.0 * ellipse.distortion,
                100.0 * error,
                180.0 / PI * ellipse.angle_rad,
                (1.0 + ellipse.distortion) / (1.0 - ellipse.distortion)
            )
        })
    }
}

fn stop_text(measured: &Measured) -> Option<String> {
    let stop = measured.beam_stop.as_ref()?;
    let n = stop.shaded.iter().filter(|&&shaded| shaded).count();
    (n > 0).then(|| {
        let leak = if stop.leak.is_finite() {
            format!(", where {:.1} % passes", 100.0 * stop.leak)
        } else {
            String::new()
        };
        format!(
            "Beam stop: {n} pixels ({:.1} % of the detector) are shaded{leak}. They are masked.",
            100.0 * n as f64 / stop.shaded.len() as f64
        )
    })
}

fn bad_text(measured: &Measured) -> Option<String> {
    let bad = &measured.bad_pixels;
    let kinds = [
        ("hot", &bad.hot),
        ("dead", &bad.dead),
        ("noisy", &bad.noisy),
        ("saturated", &bad.saturated),
        ("broken", &bad.broken),
    ];
    let told: Vec<String> = kinds
        .into_iter()
        .filter(|(_, pixels)| !pixels.is_empty())
        .map(|(kind, pixels)| {
            let listed: Vec<String> = pixels
                .iter()
                .take(MAX_LISTED)
                .map(|[row, col]| format!("({row}, {col})"))
                .collect();
            let more = if pixels.len() > MAX_LISTED {
                ", …"
            } else {
                ""
            };
            format!("{} {kind} at {}{more}", pixels.len(), listed.join(", "))
        })
        .collect();
    (!told.is_empty()).then(|| {
        format!(
            "Bad pixels, (row, column): {}. They are masked.",
            told.join("; ")
        )
    })
}

fn offset_text(measured: &Measured) -> Option<String> {
    let shared = measured.shared_offset?;
    Some(format!(
        "Common mode: in each frame, rows share an offset over {} columns that varies by {:.3} ± {:.3} detector units. It is subtracted \
         where pattern.common_mode_cols = {} asks for it.",
        shared.cols, shared.sd.value, shared.sd.error, shared.cols
    ))
}

fn electrons_text(measured: &Measured) -> Option<String> {
    let units = measured.units_per_electron?;
    Some(format!(
        "Electrons: the peaks of single electrons are {:.3} ± {:.3} detector units apart. That is the gain of the shot noise where \
         structure.gain is left at 1.",
        units.value, units.error
    ))
}

fn gain_text(measured: &Measured) -> Option<String> {
    let gain = measured.gain_spread?;
    let told = gain.value > MIN_GAIN_SPREAD && gain.value > TOLD_IN_SD * gain.error;
    told.then(|| {
        format!(
            "Gain: it varies by {:.1} ± {:.1} % (standard deviation) from pixel to pixel, which adds about {:.4} to V and to g at every \
             lag. It is not corrected from these data; give a measured map as pattern.gain_file.",
            100.0 * gain.value,
            100.0 * gain.error,
            gain.value * gain.value
        )
    })
}
