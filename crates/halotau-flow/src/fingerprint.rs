//! Is this the same input as before?
//!
//! Raw data have no checksum, and hashing 100 GB takes as long as the whole analysis. The fingerprint of a file is its
//! length and the hash of sixteen blocks spread over it, first and last included; that of a folder is of its files in
//! the order of their names. A changed header, a longer or shorter file and a file of another experiment are seen;
//! a single changed byte in the middle need not be.

use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};

/// Bytes of each sampled block.
const BLOCK: u64 = 1 << 16;

/// Sampled blocks of a file.
const N_BLOCKS: u64 = 16;

/// Files of a folder that are sampled; of the others only name and length count.
const N_SAMPLED_FILES: usize = 64;

/// The fingerprint of files and folders, as hexadecimal BLAKE3.
///
/// # Errors
///
/// [`Error::Read`].
pub fn of(paths: &[PathBuf]) -> Result<String> {
    let mut hasher = blake3::Hasher::new();
    for path in paths {
        let mut files = Vec::new();
        list(path, &mut files)?;
        let stride = files.len().div_ceil(N_SAMPLED_FILES).max(1);
        for (number, file) in files.iter().enumerate() {
            let length = fs::metadata(file)
                .map_err(|source| Error::read(file, source))?
                .len();
            let name = file.strip_prefix(path).unwrap_or(file);
            hasher.update(name.to_string_lossy().as_bytes());
            hasher.update(&length.to_le_bytes());
            if number % stride == 0 {
                sample(file, length, &mut hasher).map_err(|source| Error::read(file, source))?;
            }
        }
    }
    Ok(hasher.finalize().to_hex().to_string())
}

fn list(path: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    if !path.is_dir() {
        files.push(path.to_owned());
        return Ok(());
    }
    let entries = fs::read_dir(path).map_err(|source| Error::read(path, source))?;
    let mut inside = entries
        .map(|entry| {
            entry
                .map(|entry| entry.path())
                .map_err(|source| Error::read(path, source))
        })
        .collect::<Result<Vec<_>>>()?;
    inside.sort();
    inside.iter().try_for_each(|path| list(path, files))
}

fn sample(path: &Path, length: u64, hasher: &mut blake3::Hasher) -> std::io::Result<()> {
    let mut file = File::open(path)?;
    let mut block = Vec::with_capacity(BLOCK as usize);
    let last = length.saturating_sub(BLOCK);
    for number in 0..N_BLOCKS {
        let start = last / (N_BLOCKS - 1) * number;
        let start = if number == N_BLOCKS - 1 { last } else { start };
        file.seek(SeekFrom::Start(start))?;
        block.clear();
        file.by_ref().take(BLOCK).read_to_end(&mut block)?;
        hasher.update(&block);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sees_length_and_ends() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("series.raw");
        let print = |bytes: &[u8]| {
            fs::write(&path, bytes).unwrap();
            of(std::slice::from_ref(&path)).unwrap()
        };
        let mut bytes = vec![7_u8; 3 << 20];
        let before = print(&bytes);
        assert_eq!(before, print(&bytes));
        *bytes.last_mut().unwrap() = 8;
        let changed = print(&bytes);
        assert_ne!(before, changed);
        bytes.push(8);
        assert_ne!(changed, print(&bytes));
    }
}
