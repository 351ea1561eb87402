//! Reads at a position, without a cursor that threads would have to share.
//!
//! Files of users are never mapped into memory: one that shrinks while it is read would kill the process,
//! where a read gives an error.

use std::fs::File;
use std::path::{Path, PathBuf};

#[cfg(target_os = "linux")]
mod around;

use crate::error::{Error, Result};

/// The system's number of a failed read, EIO; on Windows, of a checksum that the disk found wrong.
const DISK_FAILED: i32 = if cfg!(windows) { 23 } else { 5 };

/// Disks on a network or a loose cable fail once in a while; one that fails three times in a row is broken.
const MOST_TRIES: usize = 3;

/// Linux cuts each request to fetch at a limit of the disk, of which this is the usual least.
const EXPECTED_PIECE: u64 = 128 << 10;

/// A file that is read at positions.
#[derive(Debug)]
pub(crate) struct PositionedFile {
    path: PathBuf,
    file: File,
    /// Where the part that is read starts.
    start: u64,
    len: u64,
    #[cfg(target_os = "linux")]
    around: around::Around,
}

impl PositionedFile {
    /// Opens a file; its length is taken once and holds from then on.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let file = File::open(path).map_err(|e| Error::io(path, "open", e))?;
        let metadata = file.metadata().map_err(|e| Error::io(path, "look at", e))?;
        Ok(Self {
            path: path.to_owned(),
            file,
            start: 0,
            len: metadata.len(),
            #[cfg(target_os = "linux")]
            around: around::Around::new(),
        })
    }

    /// A part of the file, as a file of its own; `None` where the file ends before.
    pub(crate) fn part(self, start: u64, len: u64) -> Option<Self> {
        let end = start.checked_add(len)?;
        (end <= self.len).then(|| Self {
            start: self.start + start,
            len,
            ..self
        })
    }

    /// The file as if it ended at an earlier byte.
    pub(crate) fn cut(self, len: u64) -> Self {
        let len = len.min(self.len);
        Self { len, ..self }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Bytes in the file when it was opened.
    pub(crate) fn len(&self) -> u64 {
        self.len
    }

    /// Fills a buffer from an offset. What the disk fails to read is tried again.
    pub(crate) fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> Result<()> {
        let offset = self.start.saturating_add(offset);
        #[cfg(target_os = "linux")]
        if self.around.read(&self.file, buffer, offset) {
            return Ok(());
        }
        let mut tries = 1;
        loop {
            let error = match read_exact_at(&self.file, buffer, offset) {
                Ok(()) => return Ok(()),
                Err(error) => error,
            };
            let error = match error.raw_os_error() {
                Some(DISK_FAILED) if tries < MOST_TRIES => {
                    tries += 1;
                    continue;
                }
                Some(DISK_FAILED) => std::io::Error::other(format!(
                    "{error}, {} bytes at byte {offset}, tried {tries} times",
                    buffer.len()
                )),
                _ => error,
            };
            return Err(Error::io(&self.path, "read", error));
        }
    }

    /// Has a part of the file fetched that will be read, in this order, without waiting; where that cannot be, nothing happens.
    pub(crate) fn expect(&self, offset: u64, len: u64) {
        let start = self.start.saturating_add(offset);
        #[cfg(target_os = "linux")]
        if self.around.expect(&self.file, start, len) {
            return;
        }
        expect(&self.file, start, len);
    }

    /// The first bytes of the file, fewer where it is shorter.
    pub(crate) fn start(&self, n_bytes: usize) -> Result<Vec<u8>> {
        let n_bytes = n_bytes.min(usize::try_from(self.len).unwrap_or(usize::MAX));
        let mut bytes = vec![0; n_bytes];
        self.read_exact_at(&mut bytes, 0)?;
        Ok(bytes)
    }
}

#[cfg(unix)]
fn read_exact_at(file: &File, buffer: &mut [u8], offset: u64) -> std::io::Result<()> {
    std::os::unix::fs::FileExt::read_exact_at(file, buffer, offset)
}

#[cfg(windows)]
fn read_exact_at(file: &File, mut buffer: &mut [u8], mut offset: u64) -> std::io::Result<()> {
    while !buffer.is_empty() {
        match std::os::windows::fs::FileExt::seek_read(file, buffer, offset) {
            Ok(0) => return Err(std::io::ErrorKind::UnexpectedEof.into()),
            Ok(n) => {
                buffer = &mut buffer[n..];
                offset += n as u64;
            }
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(())
}

/// Has a small file fetched into the cache that will be read, without waiting; where that cannot be, nothing happens.
pub(crate) fn expect_file(path: &Path) {
    if let Ok(file) = File::open(path)
        && let Ok(metadata) = file.metadata()
    {
        expect(&file, 0, metadata.len());
    }
}

#[cfg(target_os = "linux")]
fn expect(file: &File, start: u64, len: u64) {
    let end = start.saturating_add(len);
    for piece in (start..end).step_by(EXPECTED_PIECE as usize) {
        // Only a hint: a file system that knows no such thing reads when it is asked to.
        let _ = rustix::fs::fadvise(
            file,
            piece,
            std::num::NonZeroU64::new(EXPECTED_PIECE.min(end - piece)),
            rustix::fs::Advice::WillNeed,
        );
    }
}

#[cfg(not(target_os = "linux"))]
fn expect(_file: &File, _start: u64, _len: u64) {}

/// Writes all bytes at an offset.
#[cfg(unix)]
pub(crate) fn write_all_at(file: &File, bytes: &[u8], offset: u64) -> std::io::Result<()> {
    std::os::unix::fs::FileExt::write_all_at(file, bytes, offset)
}

/// Writes all bytes at an offset.
#[cfg(windows)]
pub(crate) fn write_all_at(file: &File, mut bytes: &[u8], mut offset: u64) -> std::io::Result<()> {
    while !bytes.is_empty() {
        match std::os::windows::fs::FileExt::seek_write(file, bytes, offset) {
            Ok(0) => return Err(std::io::ErrorKind::WriteZero.into()),
            Ok(n) => {
                bytes = &bytes[n..];
                offset += n as u64;
            }
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(())
}
