//! What does the `.hdr` file beside a recording say?
//!
//! ```text
//! HDR,
//! Frames in Acquisition (Number):    256
//! ScanX:    16
//! End
//! ```

use std::path::{Path, PathBuf};

use crate::error::Result;
use crate::file_names::files_beside;
use crate::positioned::PositionedFile;
use crate::stream::{Certainty, ScanStatement};

/// First bytes of the sidecar.
pub(super) const MAGIC: &[u8] = b"HDR,";
/// Bytes of a sidecar that are read; they are written with 2048.
const MOST_BYTES: usize = 1 << 16;
/// Frames a trigger above which a trigger starts no line: no scan line is as long.
const LONGEST_LINE: u64 = 4096;

/// The values that are used.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Sidecar {
    /// The sidecar of several files that are one recording.
    pub(super) of_set: bool,
    pub(super) n_frames: Option<u64>,
    pub(super) depth: Option<u64>,
    pub(super) scan: Option<ScanStatement>,
}

impl Sidecar {
    /// The sidecar of a `.mib` file: of the same name, or of the name without the number at its end.
    pub(super) fn beside(path: &Path) -> Result<Option<Self>> {
        let Some(sidecar) = beside(path) else {
            return Ok(None);
        };
        let text = PositionedFile::open(&sidecar)?.start(MOST_BYTES)?;
        let mut found = Self::parse(&String::from_utf8_lossy(&text));
        found.of_set = sidecar.file_stem() != path.file_stem();
        Ok(Some(found))
    }

    pub(super) fn parse(text: &str) -> Self {
        let value = |name: &str| {
            text.lines().find_map(|line| {
                let (key, value) = line.split_once('\t').or_else(|| line.split_once(':'))?;
                let key = key.trim().to_ascii_lowercase();
                key.starts_with(name)
                    .then(|| value.trim_matches([' ', '\t', '\0', '\r']))
            })
        };
        let number = |name: &str| value(name)?.parse::<u64>().ok();
        let n_frames = number("frames in acquisition");
        let side = |name: &str| usize::try_from(number(name)?).ok().filter(|&n| n > 0);
        let stated = side("scany").zip(side("scanx")).map(|(n_rows, n_cols)| {
            ScanStatement::new(n_rows, n_cols, "ScanY and ScanX of the .hdr file")
        });
        let by_trigger = || {
            let (all, line) = (n_frames?, number("frames per trigger")?);
            // One trigger a frame, or one for all, says nothing of lines.
            let is_line =
                line > 1 && line < all && line <= LONGEST_LINE && all.is_multiple_of(line);
            let (n_rows, n_cols) = (usize::try_from(all / line.max(1)), usize::try_from(line));
            let mut scan = ScanStatement::new(
                n_rows.ok()?,
                n_cols.ok()?,
                "frames per trigger of the .hdr file",
            );
            scan.certainty = Certainty::Guess;
            is_line.then_some(scan)
        };
        Self {
            of_set: false,
            n_frames,
            depth: number("counter depth"),
            scan: stated.or_else(by_trigger),
        }
    }
}

/// Path of the sidecar that belongs to a `.mib` file.
pub(super) fn beside(path: &Path) -> Option<PathBuf> {
    let own = with_ending(path, "hdr");
    if is_sidecar(&own) {
        return Some(own);
    }
    let of_set = set_path(path, "hdr")?;
    // A file of the set's name has the sidecar for itself.
    (is_sidecar(&of_set) && !with_ending(&of_set, "mib").exists()).then_some(of_set)
}

/// The `.mib` file of a sidecar, where it is one file.
pub(super) fn main_of(sidecar: &Path) -> Option<PathBuf> {
    let main = with_ending(sidecar, "mib");
    main.exists().then_some(main)
}

/// The `.mib` files of a sidecar that are its name and a number.
pub(super) fn set_of(sidecar: &Path) -> Vec<PathBuf> {
    let set = sidecar.with_extension("hdr");
    let mut files = files_beside(sidecar, |name| name.to_lowercase().ends_with(".mib"));
    files.retain(|path| {
        set_path(path, "hdr").as_ref() == Some(&set) && !with_ending(path, "hdr").exists()
    });
    files
}

fn is_sidecar(path: &Path) -> bool {
    PositionedFile::open(path)
        .and_then(|file| file.start(MAGIC.len()))
        .is_ok_and(|start| start == MAGIC)
}

/// The path with another ending, in capitals where only that is there.
fn with_ending(path: &Path, ending: &str) -> PathBuf {
    let small = path.with_extension(ending);
    let capital = path.with_extension(ending.to_ascii_uppercase());
    if !small.exists() && capital.exists() {
        capital
    } else {
        small
    }
}

/// The name without the number at its end; `None` where there is no number.
fn set_path(path: &Path, ending: &str) -> Option<PathBuf> {
    let stem = path.file_stem()?.to_str()?;
    let base = stem.trim_end_matches(|c: char| c.is_ascii_digit());
    let is_numbered = base.len() < stem.len();
    (is_numbered && !base.is_empty()).then(|| path.with_file_name(format!("{base}.{ending}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scans_are_stated_guessed_or_not_said() {
        let scan = |frames: u64, per_trigger: u64, more: &str| {
            let text = format!(
                "HDR,\t\r\nFrames in Acquisition (Number):\t{frames}\r\nFrames per Trigger (Number):\t{per_trigger}\r\n{more}End\t   "
            );
            Sidecar::parse(&text)
                .scan
                .map(|scan| (scan.n_rows, scan.n_cols, scan.certainty))
        };
        let stated = Some((4, 8, Certainty::Stated));
        assert_eq!(scan(32, 1, "ScanX:\t8\r\nScanY:\t4\r\n"), stated);
        assert_eq!(scan(32, 8, ""), Some((4, 8, Certainty::Guess)));
        // A trigger a frame, one for all (a 16 x 16 scan with a flyback column), one that does not divide.
        for (frames, per_trigger) in [(32, 1), (272, 272), (32, 0), (33, 8), (0, 0), (8192, 4097)] {
            assert_eq!(scan(frames, per_trigger, ""), None);
        }
    }
}
