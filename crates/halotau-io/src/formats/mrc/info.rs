//! What does the server of Direct Electron say about a scan?
//!
//! `NAME_info.txt` holds lines `key = value`. The scan's repeats are its times:
//!
//! ```text
//! frames = repeats · rows · columns · frames per point
//! period = time per scan + repeat delay
//! ```

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use halotau::series::{SeriesHeader, Stated};

use crate::error::{Error, Result};
use crate::file_names::files_beside;

/// Real files have 40 KB.
const MOST_BYTES: u64 = 4 << 20;
/// Ending of the name.
pub(super) const ENDING: &str = "_info.txt";

/// The keys and values of an info file.
#[derive(Debug, Default)]
pub(super) struct Info {
    values: HashMap<String, String>,
}

/// A scan as the server describes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Scan {
    pub(super) n_repeats: u64,
    pub(super) n_rows: u64,
    pub(super) n_cols: u64,
    /// Frames of the file that belong to one position.
    pub(super) frames_per_point: u64,
}

impl Info {
    /// The info beside a movie.
    pub(super) fn beside(movie: &Path) -> Result<Option<Self>> {
        let Some(path) = path_of(movie, ENDING).filter(|path| path.is_file()) else {
            return Ok(None);
        };
        let metadata = std::fs::metadata(&path).map_err(|e| Error::io(&path, "look at", e))?;
        if metadata.len() > MOST_BYTES {
            return Err(Error::BadContainer {
                path,
                format: super::FORMAT.name,
                problem: format!(
                    "the description of a scan has {} bytes; {MOST_BYTES} are far more than any needs",
                    metadata.len()
                ),
            });
        }
        let bytes = std::fs::read(&path).map_err(|e| Error::io(&path, "read", e))?;
        Ok(Some(Self::parse(&String::from_utf8_lossy(&bytes))))
    }

    fn parse(text: &str) -> Self {
        let pair = |line: &str| {
            let (key, value) = line.split_once('=')?;
            Some((key.trim().to_owned(), value.trim().to_owned()))
        };
        Self {
            values: text.lines().filter_map(pair).collect(),
        }
    }

    fn text(&self, key: &str) -> Option<&str> {
        self.values.get(key).map(String::as_str)
    }

    fn number(&self, key: &str) -> Option<f64> {
        let number: f64 = self.text(key)?.parse().ok()?;
        number.is_finite().then_some(number)
    }

    fn count(&self, key: &str) -> Option<u64> {
        self.text(key)?.parse().ok()
    }

    fn is_enabled(&self, key: &str) -> bool {
        self.text(key) == Some("Enable")
    }

    /// Whether frames belong to scan positions at all.
    pub(super) fn is_scan(&self) -> bool {
        self.is_enabled("Scan - Enable")
    }

    /// Whether the positions are visited row by row.
    pub(super) fn is_raster(&self) -> bool {
        let region = self.is_enabled("Scan - ROI Enable");
        let key = if region {
            "Scan - ROI Type"
        } else {
            "Scan - Type"
        };
        let kind = self.text(key).or(self.text("Scan - Type"));
        kind.is_none_or(|kind| kind.eq_ignore_ascii_case("raster"))
    }

    /// Frames that the server says it wrote.
    pub(super) fn n_written(&self) -> Option<u64> {
        self.count("Autosave Movie Frames Written")
            .filter(|&n| n > 0)
    }

    /// Scans one after another.
    pub(super) fn n_repeats(&self) -> u64 {
        self.count("Scan - Repeats").unwrap_or(1).max(1)
    }

    /// Frames of the file that belong to one position; the server may have summed some of them already.
    pub(super) fn frames_per_point(&self) -> Result<u64, String> {
        let frames = self
            .count("Scan - Camera Frames Per Point")
            .unwrap_or(1)
            .max(1);
        let summed = self.count("Autosave Movie Sum Count").unwrap_or(1).max(1);
        if frames.is_multiple_of(summed) {
            return Ok(frames / summed);
        }
        Err(format!(
            "{frames} camera frames belong to a position, of which the server summed {summed} at a time, so that frames of the file belong to two positions"
        ))
    }

    /// A raster scan; an error where frames and positions do not match.
    pub(super) fn raster(&self) -> Result<Option<Scan>, String> {
        let region = self.is_enabled("Scan - ROI Enable");
        let key = |axis: &str| {
            if region {
                format!("Scan - ROI Size {axis}")
            } else {
                format!("Scan - Size {axis}")
            }
        };
        let (Some(n_cols), Some(n_rows)) = (self.count(&key("X")), self.count(&key("Y"))) else {
            return Ok(None);
        };
        if n_cols == 0 || n_rows == 0 {
            return Ok(None);
        }
        // A camera that is slower than the scan sees several points in a frame.
        let points_per_frame = self
            .count("Scan - Points Per Camera Frame")
            .unwrap_or(1)
            .max(1);
        if !n_cols.is_multiple_of(points_per_frame) {
            return Err(format!(
                "each frame covers {points_per_frame} points, and a line has {n_cols}, so that frames reach over the ends of lines; give data.shape to read them in order"
            ));
        }
        Ok(Some(Scan {
            n_repeats: self.n_repeats(),
            n_rows,
            n_cols: n_cols / points_per_frame,
            frames_per_point: self.frames_per_point()?,
        }))
    }

    /// Start of the acquisition, nanoseconds since 1970.
    pub(super) fn start_ns(&self) -> Option<i64> {
        let seconds = self.number("Timestamp (seconds since Epoch)")?;
        let in_range = seconds > 0.0 && seconds < 9.0e9;
        in_range.then_some((seconds * 1e9) as i64)
    }

    /// Fills what the info states about microscope and camera into a header.
    pub(super) fn describe(&self, series: &mut SeriesHeader) {
        let stated = |key: &str, factor: f64| {
            let value = self.number(key)? * factor;
            (value > 0.0).then(|| Stated::new(value, format!("{key} of the info file")))
        };
        series.q_step_per_nm = stated("Diffraction Pixel Size X", 1.0);
        series.voltage_kv = stated("Instrument Accelerating Voltage (V)", 1e-3);
        if !self.is_scan() {
            series.dwell_ms = stated("Frame Time (nanoseconds)", 1e-6);
            return;
        }
        series.step_nm = stated("Specimen Pixel Size X (nanometers)", 1.0);
        series.dwell_ms = stated("Scan - Dwell Time (microseconds)", 1e-3)
            .or_else(|| stated("Frame Time (nanoseconds)", 1e-6));
        if self.n_repeats() > 1
            && let Some(scan_s) = stated("Scan - Time Per Scan (seconds)", 1.0)
        {
            let delay_s = self.number("Scan - Repeat Delay (seconds)").unwrap_or(0.0);
            series.period_s = Some(Stated::new(
                scan_s.value + delay_s.max(0.0),
                "Scan - Time Per Scan and Repeat Delay of the info file",
            ));
        }
    }
}

/// The prefix that the files of an acquisition share, of a movie's name.
fn prefix(movie: &Path) -> Option<&str> {
    let stem = movie.file_stem()?.to_str()?;
    Some(match stem.rfind("_movie") {
        Some(end) => &stem[..end],
        None => stem,
    })
}

/// Path of a sidecar of a movie.
pub(super) fn path_of(movie: &Path, ending: &str) -> Option<PathBuf> {
    Some(movie.with_file_name(format!("{}{ending}", prefix(movie)?)))
}

/// The movie of an acquisition with a prefix: `PREFIX_movie.mrc`, or another whose name begins so.
pub(super) fn movie_of(sidecar: &Path, prefix: &str) -> Option<PathBuf> {
    let usual = sidecar.with_file_name(format!("{prefix}_movie.mrc"));
    if usual.is_file() {
        return Some(usual);
    }
    let begin = format!("{prefix}_movie");
    let is_movie = |name: &str| name.starts_with(&begin) && name.ends_with(".mrc");
    files_beside(sidecar, is_movie).into_iter().next()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests {
    use super::*;

    #[test]
    fn repeats_are_times_and_summed_frames_belong_to_one_point() {
        let text = "Scan - Enable   = Enable\nScan - Type = Raster\nScan - Size X = 8\nScan - Size Y = 4\nScan - ROI Enable = Enable\n\
                    Scan - ROI Size X = 6\nScan - ROI Size Y = 2\nScan - Repeats = 3\nScan - Camera Frames Per Point = 4\nno pair\n\
                    Autosave Movie Sum Count = 2\nScan - Time Per Scan (seconds) = 0.5\nScan - Repeat Delay (seconds) = 3\n";
        let info = Info::parse(text);
        let expected = Scan {
            n_repeats: 3,
            n_rows: 2,
            n_cols: 6,
            frames_per_point: 2,
        };
        assert_eq!(info.raster(), Ok(Some(expected)));
        let odd = Info::parse(&text.replace("Point = 4", "Point = 3"));
        assert!(odd.raster().unwrap_err().contains("two positions"));
        let fast = Info::parse(&format!("{text}Scan - Points Per Camera Frame = 4\n"));
        assert!(fast.raster().unwrap_err().contains("ends of lines"));
    }
}
