//! NumPy files: a header in text, then the numbers.
//!
//! Format: <https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html>.

use std::path::{Path, PathBuf};

use halotau::analysis::Analysis;
use halotau::ndarray::Array2;

use crate::error::Result;
use crate::manifest::{Sync, write_whole};
use crate::maps::maps;

/// Writes every map as `NAME.npy`, `[row, col]` in f64, and `quality.npy` in u32, into a folder.
///
/// # Errors
///
/// [`Error::Io`](crate::Error::Io).
pub fn write_npys(folder: &Path, analysis: &Analysis) -> Result<Vec<PathBuf>> {
    let mut written = Vec::new();
    let mut write = |name: &str, descr: &str, values: &mut dyn Iterator<Item = u8>| -> Result<()> {
        let path = folder.join(format!("{name}.npy"));
        let mut bytes = header(descr, analysis.quality.shape());
        bytes.extend(values);
        write_whole(&path, &bytes, Sync::Cache)?;
        written.push(path);
        Ok(())
    };
    for map in maps(analysis) {
        // Iteration is in the order of the indices, whatever the order in memory.
        write(
            map.name,
            "<f8",
            &mut map.values.iter().flat_map(|value| value.to_le_bytes()),
        )?;
    }
    write(
        "quality",
        "<u4",
        &mut analysis
            .quality
            .iter()
            .flat_map(|quality| quality.0.to_le_bytes()),
    )?;
    Ok(written)
}

/// Writes a pattern of small numbers, such as a mask, as `.npy` in u8.
///
/// # Errors
///
/// [`Error::Io`](crate::Error::Io).
pub fn write_pattern(path: &Path, pattern: &Array2<u8>) -> Result<()> {
    let mut bytes = header("|u1", pattern.shape());
    bytes.extend(pattern.iter());
    write_whole(path, &bytes, Sync::Cache)
}

fn header(descr: &str, shape: &[usize]) -> Vec<u8> {
    let lengths: String = shape.iter().map(|len| format!("{len}, ")).collect();
    let mut text =
        format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': ({lengths}), }}");
    // Magic, version and length take 10 bytes; the numbers begin at a multiple of 64.
    let padding = 63 - (10 + text.len()) % 64;
    text.push_str(&" ".repeat(padding));
    text.push('\n');
    let length = u16::try_from(text.len()).expect("a header of a few axes is short");
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend(length.to_le_bytes());
    bytes.extend(text.as_bytes());
    bytes
}
