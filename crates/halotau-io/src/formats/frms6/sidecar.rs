//! Which files are one acquisition, and what does its `.hdr` file say?
//!
//! ```text
//! NAME.hdr   NAME_000.frms6 (dark)   NAME_001.frms6   NAME_002.frms6   ...
//! ```

use std::path::{Path, PathBuf};

use crate::error::Result;
use crate::file_names::files_beside;
use crate::positioned::PositionedFile;

/// Section of the `.hdr` file, in small letters.
const SECTION: &str = "[measurementinfo]";
/// Bytes of the `.hdr` file that are read; it holds some dozen lines.
const MOST_BYTES: usize = 1 << 20;

/// The files of an acquisition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Acquisition {
    /// Path without number and ending.
    pub(super) base: PathBuf,
    pub(super) sidecar: Option<PathBuf>,
    pub(super) dark: Option<PathBuf>,
    /// With their numbers, in order.
    pub(super) signal: Vec<(u64, PathBuf)>,
}

impl Acquisition {
    /// The acquisition that a file belongs to.
    pub(super) fn of(path: &Path) -> Self {
        let base = match numbered(path) {
            Some((base, _)) => base,
            None => path.with_extension(""),
        };
        let sidecar = base_with(&base, "hdr");
        let mut found = Self {
            sidecar: is_sidecar(&sidecar).then_some(sidecar),
            dark: None,
            signal: Vec::new(),
            base,
        };
        for file in files_beside(path, |name| name.to_lowercase().ends_with(".frms6")) {
            match numbered(&file) {
                Some((base, 0)) if base == found.base => found.dark = Some(file),
                Some((base, number)) if base == found.base => found.signal.push((number, file)),
                _ => {}
            }
        }
        found.signal.sort();
        if found.signal.is_empty() && numbered(path).is_none() && is_frames(path) {
            // A file without a number is an acquisition of its own.
            found.signal.push((1, path.to_owned()));
        }
        found
    }

    /// The file that stands for all.
    pub(super) fn main(&self) -> Option<&Path> {
        let signal = self.signal.first().map(|(_, path)| path.as_path());
        // Without signal there is nothing to open.
        signal.map(|signal| self.sidecar.as_deref().unwrap_or(signal))
    }

    /// The first number that no file of the signal has, below the last.
    pub(super) fn number_left_out(&self) -> Option<u64> {
        let numbers = self.signal.iter().map(|(number, _)| *number);
        numbers
            .zip(1..)
            .find(|(number, expected)| number != expected)
            .map(|(_, expected)| expected)
    }
}

/// Path before the number, and the number, of a file of frames.
fn numbered(path: &Path) -> Option<(PathBuf, u64)> {
    if !is_frames(path) {
        return None;
    }
    let (base, number) = path.file_stem()?.to_str()?.rsplit_once('_')?;
    let valid = !base.is_empty() && number.bytes().all(|b| b.is_ascii_digit());
    valid
        .then(|| Some((path.with_file_name(base), number.parse().ok()?)))
        .flatten()
}

fn is_frames(path: &Path) -> bool {
    path.extension()
        .is_some_and(|ending| ending.eq_ignore_ascii_case("frms6"))
}

/// A name with an ending after it; the name may have points of its own.
fn base_with(base: &Path, ending: &str) -> PathBuf {
    let mut name = base.file_name().unwrap_or_default().to_owned();
    name.push(".");
    name.push(ending);
    base.with_file_name(name)
}

/// Whether the start of a text names the section.
pub(super) fn names_section(start: &[u8]) -> bool {
    let text = String::from_utf8_lossy(start);
    text.to_ascii_lowercase().contains(SECTION)
}

fn is_sidecar(path: &Path) -> bool {
    PositionedFile::open(path)
        .and_then(|file| file.start(4096))
        .is_ok_and(|start| names_section(&start))
}

/// The values of a `.hdr` file that are used.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Sidecar {
    pub(super) signal_frames: Option<u64>,
    pub(super) dwell_us: Option<f64>,
    /// As written, `AxB`.
    pub(super) scan: Option<(usize, usize)>,
    /// Rows that the camera summed to one.
    pub(super) bin: Option<usize>,
}

impl Sidecar {
    pub(super) fn read(path: &Path) -> Result<Result<Self, String>> {
        let text = PositionedFile::open(path)?.start(MOST_BYTES)?;
        Ok(Self::parse(&String::from_utf8_lossy(&text)))
    }

    fn parse(text: &str) -> Result<Self, String> {
        let lines = text
            .lines()
            .map(str::trim)
            .skip_while(|line| !line.to_ascii_lowercase().ends_with(SECTION))
            .skip(1)
            .take_while(|line| !line.starts_with('['));
        let mut found = Self::default();
        for line in lines {
            let Some((key, value)) = line.split_once(['=', ':']) else {
                continue;
            };
            let value = value.trim();
            match key.trim().to_ascii_lowercase().as_str() {
                "signalframes" => found.signal_frames = value.parse().ok(),
                "dwelltimemicroseconds" => {
                    let us = value.parse().ok();
                    found.dwell_us = us.filter(|us: &f64| us.is_finite() && *us > 0.0);
                }
                "stemimagesize" => {
                    let sides = value.trim_matches('"').split_once(['x', 'X']);
                    found.scan = sides
                        .and_then(|(a, b)| a.trim().parse().ok().zip(b.trim().parse().ok()))
                        .filter(|&(a, b): &(usize, usize)| a > 0 && b > 0);
                }
                "readoutmode" => found.bin = Some(bin(value)?),
                _ => {}
            }
        }
        Ok(found)
    }
}

/// The rows that are binned, of `"bin: 2, windowing: 1 x 1 "`.
fn bin(mode: &str) -> Result<usize, String> {
    let number = mode.split_once("bin:").and_then(|(_, rest)| {
        let rest = rest.trim_start();
        let end = rest
            .find(|c: char| !c.is_ascii_digit())
            .unwrap_or(rest.len());
        rest[..end].parse().ok()
    });
    match number {
        // The camera sums one, two or four rows.
        Some(bin @ (1 | 2 | 4)) => Ok(bin),
        _ => Err(format!("readoutmode is {mode}, and bin: 1, 2 or 4 is read")),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests {
    use super::*;

    #[test]
    fn the_values_of_the_section_are_read() {
        let text = "\u{feff}[MeasurementInfo]\r\ndarkFrames = 3\r\nsignalframes=12\r\nDwellTimeMicroseconds = 500\r\ngain= 1\r\nstemimagesize = \"3x4\"\r\nreadoutmode = \"bin: 2, windowing: 1 x 1 \"\r\n[other]\nsignalframes = 99\n";
        let found = Sidecar::parse(text).unwrap();
        assert_eq!(found.signal_frames, Some(12));
        assert_eq!(found.dwell_us, Some(500.0));
        assert_eq!(found.scan, Some((3, 4)));
        assert_eq!(found.bin, Some(2));
        assert!(names_section(text.as_bytes()));
        for mode in [
            "\"bin: 3, windowing\"",
            "",
            "\"bin: -1\"",
            "\"bin: 99999999999999999999\"",
        ] {
            assert!(bin(mode).is_err(), "{mode}");
        }
        let odd = "[measurementInfo]\nstemimagesize = 0x4\nsignalframes = many\n";
        assert_eq!(Sidecar::parse(odd).unwrap(), Sidecar::default());
    }
}
