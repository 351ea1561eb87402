//! What is in this file?
//!
//! Axes with their units and where each number came from, what can be derived from them, and what does not fit together.

use std::fmt;
use std::path::Path;

use halotau::axes::{AIRY_FWHM, TimeAxis, TimeBasis, wavelength_nm};
use halotau::series::{
    Access, ChunkShape, FrameCount, SampleType, SeriesHeader, SeriesShape, Stated, Warning,
};
use halotau_io::OpenRequest;
use jiff::Timestamp;
use serde::Serialize;

use crate::error::Result;
use crate::memory::size_text;

/// Elementary charge, coulomb, exact since 2019.
const ELEMENTARY_CHARGE: f64 = 1.602_176_634e-19;

/// What is known of a series before its frames are read.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Inspection {
    /// The path as given.
    pub path: String,
    /// The container, in words.
    pub format: String,
    /// Number type of the samples.
    pub sample_type: SampleType,
    /// Bytes of all samples, uncompressed.
    pub n_bytes: Option<u64>,
    /// Lengths of the axes.
    pub shape: SeriesShape,
    /// Patterns in the series.
    pub n_frames: usize,
    /// Patterns that the file does not hold.
    pub n_missing_frames: usize,
    /// How many patterns there are according to each source that says so.
    pub frame_counts: Vec<FrameCount>,
    /// Where the shape of the scan came from, where not from the file's own axes.
    pub scan_origin: Option<String>,
    /// Start of the first pattern, in UTC.
    pub start: Option<String>,
    /// Measured start of each scan, s from the first.
    pub times_s: Option<Vec<f64>>,
    /// Distance of neighboring positions, nm.
    pub step_nm: Option<Stated>,
    /// Spatial frequency (1/d, no 2π) a pattern pixel, 1/nm.
    pub q_step_per_nm: Option<Stated>,
    /// Largest spatial frequency on all sides of a centered pattern, 1/nm.
    pub q_edge_per_nm: Option<f64>,
    /// The time axis, if the file states one.
    pub time: Option<TimeStatement>,
    /// Temperature of the sample, K.
    pub temperature_k: Option<Stated>,
    /// Exposure of one pattern, ms.
    pub dwell_ms: Option<Stated>,
    /// The illumination.
    pub beam: Beam,
    /// What is decoded at once.
    pub chunk: ChunkShape,
    /// Order in which frames can be had.
    pub access: Access,
    /// Whether the file is still being written.
    pub growing: bool,
    /// Keys of the recipe that the file cannot fill.
    pub missing_keys: Vec<String>,
    /// What a person should know.
    pub warnings: Vec<Warning>,
}

/// The time axis as it would be used.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TimeStatement {
    /// Which statement it rests on.
    pub basis: TimeBasis,
    /// Mean time from scan to scan, s.
    pub step_s: f64,
    /// Scans times step, s.
    pub record_s: f64,
}

/// Voltage and convergence, and what follows from them.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct Beam {
    /// Acceleration voltage, kV.
    pub voltage_kv: Option<Stated>,
    /// Wavelength of the electrons, nm.
    pub wavelength_nm: Option<f64>,
    /// Convergence semi-angle, mrad.
    pub convergence_mrad: Option<Stated>,
    /// The same as spatial frequency, α/λ: 0.638 1/nm for 1.6 mrad at 200 kV.
    pub convergence_per_nm: Option<f64>,
    /// Diffraction-limited width of the probe, 0.51 λ/α, nm.
    pub probe_fwhm_nm: Option<f64>,
    /// Electrons a pattern, where current and dwell are known.
    pub electrons_per_pattern: Option<f64>,
}

/// Opens a series and says what its header holds. No frame is read.
///
/// `probe_current_pa` gives the dose.
///
/// # Errors
///
/// Those of opening the file.
pub fn inspect(request: &OpenRequest, probe_current_pa: Option<f64>) -> Result<Inspection> {
    let source = halotau_io::open(request)?;
    Ok(Inspection::of(
        &request.path,
        source.header(),
        probe_current_pa,
    ))
}

impl Inspection {
    /// What a header says.
    pub fn of(path: &Path, header: &SeriesHeader, probe_current_pa: Option<f64>) -> Self {
        let mut warnings = header.warnings.clone();
        let time = TimeAxis::of(header, TimeBasis::Auto);
        let time = match time {
            // One scan has no time axis.
            _ if header.shape.n_times < 2 => None,
            Ok((axis, contradictions)) => {
                warnings.extend(contradictions);
                Some(TimeStatement {
                    basis: axis.basis(),
                    step_s: axis.step_s(),
                    record_s: axis.record_s(),
                })
            }
            Err(_) => None,
        };
        let beam = Beam::of(header, probe_current_pa);
        warnings.extend(doubts(header, &beam));
        let shape = header.shape;
        let shorter = shape.pattern_rows.min(shape.pattern_cols) as f64;
        let missing = [
            ("pattern.q_step_per_nm", header.q_step_per_nm.is_none()),
            ("data.temperature_k", header.temperature_k.is_none()),
            (
                "data.period_s or data.total_s",
                time.is_none() && shape.n_times > 1,
            ),
        ];
        Self {
            path: path.display().to_string(),
            format: header.format.clone(),
            sample_type: header.sample_type,
            n_bytes: shape.n_bytes(header.sample_type),
            shape,
            n_frames: shape.n_times * shape.n_positions(),
            n_missing_frames: header
                .missing
                .iter()
                .map(|run| run.n_times * run.n_frames)
                .sum(),
            frame_counts: header.frame_counts.clone(),
            scan_origin: header.scan_origin.clone(),
            start: header.start_unix_ns.and_then(utc),
            times_s: header.times_s.clone(),
            step_nm: header.step_nm.clone(),
            q_step_per_nm: header.q_step_per_nm.clone(),
            q_edge_per_nm: header
                .q_step_per_nm
                .as_ref()
                .map(|step| step.value * shorter / 2.0),
            time,
            temperature_k: header.temperature_k.clone(),
            dwell_ms: header.dwell_ms.clone(),
            beam,
            chunk: header.chunk,
            access: header.access,
            growing: header.growing,
            missing_keys: missing
                .into_iter()
                .filter(|(_, is_missing)| *is_missing)
                .map(|(key, _)| key.to_owned())
                .collect(),
            warnings,
        }
    }
}

impl Beam {
    fn of(header: &SeriesHeader, probe_current_pa: Option<f64>) -> Self {
        let value = |stated: &Option<Stated>| stated.as_ref().map(|stated| stated.value);
        let wavelength_nm = value(&header.voltage_kv).map(wavelength_nm);
        let convergence_rad = value(&header.convergence_mrad).map(|mrad| 1e-3 * mrad);
        let both = wavelength_nm.zip(convergence_rad);
        let charge = probe_current_pa.zip(value(&header.dwell_ms));
        Self {
            voltage_kv: header.voltage_kv.clone(),
            wavelength_nm,
            convergence_mrad: header.convergence_mrad.clone(),
            convergence_per_nm: both.map(|(wavelength, angle)| angle / wavelength),
            probe_fwhm_nm: both.map(|(wavelength, angle)| AIRY_FWHM * wavelength / angle),
            // pA · ms = 1e-15 C
            electrons_per_pattern: charge
                .map(|(current, dwell)| 1e-15 * current * dwell / ELEMENTARY_CHARGE),
        }
    }
}

/// A number with six digits that count, and no zeros behind them.
fn short(value: f64) -> String {
    let exponent = value.abs().log10().floor();
    let decimals = (5.0 - exponent).clamp(0.0, 15.0) as usize;
    let text = format!("{value:.decimals$}");
    match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => text,
    }
}

/// A moment as people write it, to the microsecond: no clock of a camera is better.
fn utc(unix_ns: i64) -> Option<String> {
    // Before 1980 there were no such cameras: then it is a time since some other start.
    const EARLIEST_NS: i64 = 315_532_800_000_000_000;
    let stamp = Timestamp::from_nanosecond(i128::from(unix_ns)).ok()?;
    (unix_ns >= EARLIEST_NS).then(|| format!("{stamp:.6}"))
}

/// What makes sense but should be known before hours are spent.
fn doubts(header: &SeriesHeader, beam: &Beam) -> Vec<Warning> {
    let mut warnings = Vec::new();
    let mut warn = |code: &str, text: String| warnings.push(Warning::new(code, text));
    if header.shape.n_times == 1 {
        warn(
            "W037",
            "There is one scan only: it has a variance but no correlation time. Is it one of several files of a series? Then give their folder."
                .to_owned(),
        );
    }
    if let (Some(step), Some(fwhm)) = (&header.step_nm, beam.probe_fwhm_nm)
        && step.value < 0.5 * fwhm
    {
        warn(
            "W038",
            format!(
                "The scan step of {} nm is much smaller than the probe of about {fwhm:.2} nm: neighboring positions see the same atoms, so positions count for fewer than there are.",
                step.value
            ),
        );
    }
    if let (Some(q_step), Some(radius)) = (&header.q_step_per_nm, beam.convergence_per_nm)
        && q_step.value > 2.0 * radius
    {
        warn(
            "W039",
            format!(
                "A pattern pixel of {} 1/nm is wider than a speckle (about {radius:.3} 1/nm, the convergence angle): contrast is lost. Is the q scale right?",
                q_step.value
            ),
        );
    }
    warnings
}

impl fmt::Display for Inspection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let size = self
            .n_bytes
            .map_or_else(|| "too large".to_owned(), size_text);
        writeln!(
            f,
            "{}   {size} uncompressed   {}, {}",
            self.path, self.format, self.sample_type
        )?;
        let mut line = |name: &str, text: String| writeln!(f, "  {name:<12} {text}");
        let origin = match &self.scan_origin {
            Some(origin) => format!("   (scan: {origin})"),
            None => String::new(),
        };
        line("axes", format!("{}{origin}", self.shape))?;
        let missing = match self.n_missing_frames {
            0 => String::new(),
            n => format!(", {n} missing"),
        };
        let counts: Vec<String> = self
            .frame_counts
            .iter()
            .map(|count| format!("{} by {}", count.n_frames, count.origin))
            .collect();
        let counts = match counts.as_slice() {
            [] => String::new(),
            counts => format!("   ({})", counts.join(", ")),
        };
        line("patterns", format!("{}{missing}{counts}", self.n_frames))?;
        if let Some(start) = &self.start {
            line("start", start.clone())?;
        }
        if let Some(step) = &self.step_nm {
            let (rows, cols) = (self.shape.n_rows as f64, self.shape.n_cols as f64);
            line(
                "scan",
                format!(
                    "{} nm a step, {:.1} x {:.1} nm   ({})",
                    short(step.value),
                    rows * step.value,
                    cols * step.value,
                    step.origin
                ),
            )?;
        }
        if let (Some(step), Some(edge)) = (&self.q_step_per_nm, self.q_edge_per_nm) {
            let text = format!(
                "{} 1/nm a pixel, {edge:.2} 1/nm at the edge   ({})",
                short(step.value),
                step.origin
            );
            line("pattern", text)?;
        }
        if let Some(time) = &self.time {
            line(
                "time",
                format!(
                    "{} scans over {:.1} s, {:.3} s apart   (from the {})",
                    self.shape.n_times,
                    time.record_s,
                    time.step_s,
                    format!("{:?}", time.basis).to_lowercase()
                ),
            )?;
        }
        if let Some(temperature) = &self.temperature_k {
            line(
                "temperature",
                format!("{} K   ({})", temperature.value, temperature.origin),
            )?;
        }
        if let Some(dwell) = &self.dwell_ms {
            let text = format!("{} ms   ({})", short(dwell.value), dwell.origin);
            line("dwell", text)?;
        }
        if let (Some(voltage), Some(wavelength)) = (&self.beam.voltage_kv, self.beam.wavelength_nm)
        {
            let text = format!(
                "{} kV, wavelength {:.3} pm   ({})",
                voltage.value,
                1e3 * wavelength,
                voltage.origin
            );
            line("beam", text)?;
        }
        if let Some(angle) = &self.beam.convergence_mrad {
            let derived = match (self.beam.convergence_per_nm, self.beam.probe_fwhm_nm) {
                (Some(radius), Some(fwhm)) => {
                    format!(" = {radius:.3} 1/nm, probe about {fwhm:.2} nm")
                }
                _ => String::new(),
            };
            line(
                "convergence",
                format!("{} mrad{derived}   ({})", angle.value, angle.origin),
            )?;
        }
        if let Some(electrons) = self.beam.electrons_per_pattern {
            line("dose", format!("{electrons:.0} electrons a pattern"))?;
        }
        let ChunkShape {
            n_times,
            n_rows,
            n_cols,
        } = self.chunk;
        let forward = if self.access == Access::Forward {
            ", forward only"
        } else {
            ""
        };
        let growing = if self.growing { ", still growing" } else { "" };
        line(
            "layout",
            format!(
                "{n_times} x {n_rows} x {n_cols} patterns (time x row x col) are decoded at once{forward}{growing}"
            ),
        )?;
        if !self.missing_keys.is_empty() {
            line(
                "not stated",
                format!(
                    "{} (the recipe must give them)",
                    self.missing_keys.join(", ")
                ),
            )?;
        }
        if !self.warnings.is_empty() {
            writeln!(f, "warnings")?;
        }
        for warning in &self.warnings {
            writeln!(f, "  {} {}", warning.code, warning.text)?;
        }
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests {
    use super::*;

    fn paper_header() -> SeriesHeader {
        let shape = SeriesShape {
            n_times: 106,
            n_rows: 60,
            n_cols: 120,
            pattern_rows: 264,
            pattern_cols: 264,
        };
        let mut header = SeriesHeader::new("633K", "HDF5", shape, SampleType::U16);
        let stated = |value| Some(Stated::new(value, "attribute"));
        header.step_nm = stated(0.1617);
        header.q_step_per_nm = stated(0.058);
        header.voltage_kv = stated(200.0);
        header.convergence_mrad = stated(1.6);
        header.dwell_ms = stated(1.0);
        header.period_s = stated(9.2);
        header.total_s = stated(1048.0);
        header
    }

    #[test]
    fn the_paper_s_own_numbers_are_cross_checked() {
        let found = Inspection::of(Path::new("633K.h5"), &paper_header(), Some(8.9));
        // 1.6 mrad at 200 kV is 0.638 1/nm, not 0.95 as printed; the FWHM of 0.78 nm fits.
        assert!((found.beam.convergence_per_nm.unwrap() - 0.638).abs() < 5e-4);
        assert!((found.beam.probe_fwhm_nm.unwrap() - 0.80).abs() < 0.005);
        // 8.9 pA for 1 ms.
        assert!((found.beam.electrons_per_pattern.unwrap() - 55_550.0).abs() < 10.0);
        assert!((found.q_edge_per_nm.unwrap() - 7.656).abs() < 1e-9);
        assert_eq!(found.n_bytes, Some(106_383_974_400));
        let codes: Vec<&str> = found
            .warnings
            .iter()
            .map(|warning| warning.code.as_str())
            .collect();
        assert_eq!(codes, ["W021", "W038"]);
        assert_eq!(found.missing_keys, ["data.temperature_k"]);
        let text = found.to_string();
        assert!(text.contains("0.638 1/nm, probe about 0.80 nm"), "{text}");
        assert!(text.contains("106 scans over 1048.0 s"), "{text}");
    }

    #[test]
    fn numbers_are_short() {
        for (value, text) in [
            (0.114_429_680_199, "0.11443"),
            (0.1617, "0.1617"),
            (1.464_212_499, "1.46421"),
            (100.0, "100"),
            (1_234_567.0, "1234567"),
            (0.0, "0"),
        ] {
            assert_eq!(short(value), text);
        }
    }

    #[test]
    fn a_bare_scan_says_what_is_missing() {
        let shape = SeriesShape {
            n_times: 1,
            n_rows: 2,
            n_cols: 3,
            pattern_rows: 8,
            pattern_cols: 9,
        };
        let header = SeriesHeader::new("a", ".npy", shape, SampleType::U8);
        let found = Inspection::of(Path::new("a.npy"), &header, None);
        assert_eq!(
            found.missing_keys,
            ["pattern.q_step_per_nm", "data.temperature_k"]
        );
        assert_eq!(found.warnings[0].code, "W037");
    }
}
