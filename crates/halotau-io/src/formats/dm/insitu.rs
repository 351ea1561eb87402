//! Where are the frames of a Gatan in-situ recording?
//!
//! ```text
//! NAME.dm4 or NAME.dm5     the director: shape of one scan, tags
//! NAME.raw, NAME.raw_1...  one stream of bytes, cut into parts anywhere
//! ```

use std::ffi::OsString;
use std::ops::Range;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::positioned::PositionedFile;

/// Parts that are kept open. Systems commonly allow a process 1024 files; the others are opened when read.
const MOST_OPEN: usize = 256;
/// Bytes read at once.
const PIECE_BYTES: u64 = 1 << 20;
/// Numbers beyond the last part that are looked at for one that was left behind.
const LOOK_AHEAD: usize = 4;

/// Endings of directors, as programs and file systems write them.
const DIRECTORS: [&str; 4] = ["dm4", "dm5", "DM4", "DM5"];

/// The director of a part, or of a `.dm5` file with parts.
pub(super) fn director_of(path: &Path, start: &[u8]) -> Option<PathBuf> {
    let ending = path.extension()?.to_str()?;
    if ending.eq_ignore_ascii_case("dm5") && start.starts_with(b"\x89HDF") {
        return part_path(path, 0).is_file().then(|| path.to_owned());
    }
    let number = ending.strip_prefix("raw")?;
    let is_part = number.is_empty()
        || number
            .strip_prefix('_')
            .is_some_and(|n| !n.is_empty() && n.bytes().all(|byte| byte.is_ascii_digit()));
    if !is_part {
        return None;
    }
    DIRECTORS
        .iter()
        .map(|ending| path.with_extension(ending))
        .find(|director| director.is_file())
}

fn part_path(director: &Path, number: usize) -> PathBuf {
    let mut name = OsString::from(director.file_stem().unwrap_or_default());
    name.push(".raw");
    if number > 0 {
        name.push(format!("_{number}"));
    }
    director.with_file_name(name)
}

/// The parts of a recording as one stream of bytes.
#[derive(Debug)]
pub(super) struct Parts {
    parts: Vec<Part>,
    n_bytes: u64,
}

#[derive(Debug)]
struct Part {
    path: PathBuf,
    /// Number of its first byte in the stream.
    first: u64,
    n_bytes: u64,
    file: Option<PositionedFile>,
}

impl Parts {
    /// The parts beside a director; `None` where there are none.
    ///
    /// # Errors
    ///
    /// [`Error::BadContainer`] where a part is missing between two others.
    pub(super) fn beside(director: &Path) -> Result<Option<Self>> {
        let mut parts = Vec::new();
        let mut n_bytes = 0_u64;
        loop {
            let path = part_path(director, parts.len());
            if !path.is_file() {
                break;
            }
            let file = PositionedFile::open(&path)?;
            let part = Part {
                path,
                first: n_bytes,
                n_bytes: file.len(),
                file: (parts.len() < MOST_OPEN).then_some(file),
            };
            n_bytes = n_bytes.saturating_add(part.n_bytes);
            parts.push(part);
        }
        if parts.is_empty() {
            return Ok(None);
        }
        let missing = parts.len();
        let later = (missing + 1..=missing + LOOK_AHEAD)
            .map(|number| part_path(director, number))
            .find(|path| path.is_file());
        if let Some(later) = later {
            return Err(Error::BadContainer {
                path: director.to_owned(),
                format: super::FORMAT.name,
                problem: format!(
                    "part {} is missing, but {} is there; copy all parts into one folder",
                    crate::open::display_name(&part_path(director, missing)),
                    crate::open::display_name(&later)
                ),
            });
        }
        Ok(Some(Self { parts, n_bytes }))
    }

    pub(super) fn n_bytes(&self) -> u64 {
        self.n_bytes
    }

    /// Whether the parts hold one scan or more, and nothing besides.
    pub(super) fn hold_whole(&self, scan_bytes: u64) -> bool {
        self.n_bytes > 0 && self.n_bytes.is_multiple_of(scan_bytes)
    }

    pub(super) fn n_parts(&self) -> usize {
        self.parts.len()
    }

    /// Hands the bytes of each frame to a function, in order. Frames may lie in two parts or more.
    pub(super) fn for_each(
        &self,
        frames: Range<u64>,
        frame_bytes: u64,
        mut decode: impl FnMut(&[u8]) -> Result<()>,
    ) -> Result<()> {
        let at_once = (PIECE_BYTES / frame_bytes).max(1);
        let most = at_once.min(frames.end.saturating_sub(frames.start));
        let mut bytes = vec![0; (most * frame_bytes) as usize];
        let mut first = frames.start;
        while first < frames.end {
            let n = at_once.min(frames.end - first);
            let piece = &mut bytes[..(n * frame_bytes) as usize];
            self.read_exact_at(piece, first * frame_bytes)?;
            for frame in piece.chunks_exact(frame_bytes as usize) {
                decode(frame)?;
            }
            first += n;
        }
        Ok(())
    }

    /// Fills a buffer from an offset in the stream.
    fn read_exact_at(&self, mut buffer: &mut [u8], mut offset: u64) -> Result<()> {
        let mut number = self.parts.partition_point(|part| part.first <= offset);
        number = number.saturating_sub(1);
        while !buffer.is_empty() {
            let Some(part) = self.parts.get(number) else {
                return Err(Error::io(
                    &self.parts[self.parts.len() - 1].path,
                    "read",
                    std::io::ErrorKind::UnexpectedEof.into(),
                ));
            };
            let within = offset - part.first;
            let left = usize::try_from(part.n_bytes - within).unwrap_or(usize::MAX);
            let (now, rest) = buffer.split_at_mut(left.min(buffer.len()));
            match &part.file {
                Some(file) => file.read_exact_at(now, within)?,
                None => PositionedFile::open(&part.path)?.read_exact_at(now, within)?,
            }
            offset += now.len() as u64;
            buffer = rest;
            number += 1;
        }
        Ok(())
    }
}
