//! Which gain map belongs to an acquisition?
//!
//! The camera's program exports it as a MATLAB file with the variable `GainMap`, or as a table with semicolons that has a line
//! for each column of the detector. A file beside the data is taken whose name holds the word "gain".

use std::path::{Path, PathBuf};

use super::matlab::{Matrix, variable};
use super::{Geometry, bad};
use crate::error::Result;
use crate::file_names::files_beside;
use crate::positioned::PositionedFile;

/// Bytes of a number in a table: fifteen digits, sign, point, exponent and what separates it.
const MOST_DIGITS: u64 = 32;

/// A gain map for each pixel of the patterns that are read.
pub(super) struct GainMap {
    pub(super) path: PathBuf,
    pub(super) values: Vec<f32>,
}

/// Finds and reads the gain map beside an acquisition; `base` is its path without number and ending.
pub(super) fn beside(base: &Path, geometry: &Geometry) -> Result<Option<GainMap>> {
    let mut found = candidates(base);
    let Some(path) = found.pop() else {
        return Ok(None);
    };
    if let Some(other) = found.pop() {
        return Err(bad(
            base,
            format!(
                "{} and {} could both be its gain map; leave one of them beside the data, or begin the name with that of the acquisition",
                other.display(),
                path.display()
            ),
        ));
    }
    let file = PositionedFile::open(&path)?;
    let n_pixels = geometry.n_rows * geometry.bin * geometry.n_cols;
    let most_bytes = (n_pixels as u64 + 1024).saturating_mul(MOST_DIGITS);
    if file.len() > most_bytes {
        return Err(bad(
            &path,
            format!(
                "a gain map has no {} bytes; take the word gain out of its name if it is none",
                file.len()
            ),
        ));
    }
    let bytes = file.start(file.len() as usize)?;
    let is_table = path
        .extension()
        .is_some_and(|e| e.eq_ignore_ascii_case("csv"));
    let matrix = if is_table {
        table(&String::from_utf8_lossy(&bytes))
    } else {
        variable(&bytes, "GainMap", n_pixels)
    };
    let values = matrix.and_then(|matrix| fit(&matrix, geometry));
    match values {
        Ok(values) => Ok(Some(GainMap { path, values })),
        Err(problem) => Err(bad(&path, format!("as a gain map: {problem}"))),
    }
}

/// Files whose name holds "gain"; where the names of some begin like the acquisition's, only those.
fn candidates(base: &Path) -> Vec<PathBuf> {
    let mut files = files_beside(base, |name| {
        let name = name.to_lowercase();
        name.contains("gain") && (name.ends_with(".mat") || name.ends_with(".csv"))
    });
    let name_of = |path: &Path| Some(path.file_name()?.to_str()?.to_owned());
    let start = name_of(base);
    let own = |path: &PathBuf| {
        let both = name_of(path).zip(start.as_ref());
        both.is_some_and(|(name, start)| name.starts_with(start))
    };
    if files.iter().any(own) {
        files.retain(own);
    }
    files
}

/// A table with semicolons, exchanged in rows and columns.
fn table(text: &str) -> Result<Matrix, String> {
    let mut lines: Vec<Vec<f32>> = Vec::new();
    for (line_idx, line) in text.lines().enumerate() {
        let numbers: Result<Vec<f32>, String> = line
            .split(';')
            .map(str::trim)
            .filter(|cell| !cell.is_empty())
            .map(|cell| {
                // Some computers write decimal commas.
                let number = cell.replace(',', ".").parse();
                number.map_err(|_| format!("line {} holds {cell:?}, no number", line_idx + 1))
            })
            .collect();
        let numbers = numbers?;
        if numbers.is_empty() {
            continue;
        }
        if lines
            .first()
            .is_some_and(|first| first.len() != numbers.len())
        {
            return Err(format!(
                "line {} has another number of values than the first",
                line_idx + 1
            ));
        }
        lines.push(numbers);
    }
    let n_rows = lines.first().map_or(0, Vec::len);
    Ok(Matrix {
        n_rows,
        n_cols: lines.len(),
        values: (0..n_rows)
            .flat_map(|row| lines.iter().map(move |line| line[row]))
            .collect(),
    })
}

/// Brings a map to the rows of the patterns: as many, or those of the detector where some were binned or repeated.
fn fit(matrix: &Matrix, geometry: &Geometry) -> Result<Vec<f32>, String> {
    let Geometry {
        n_rows,
        n_cols,
        bin,
        repeat,
        ..
    } = *geometry;
    let fits = matrix.n_cols == n_cols;
    let row = |row: usize| &matrix.values[row * n_cols..(row + 1) * n_cols];
    if fits && matrix.n_rows == n_rows * repeat {
        return Ok(matrix.values.clone());
    }
    if fits && matrix.n_rows == n_rows {
        let repeated = (0..n_rows * repeat).flat_map(|out| row(out / repeat).iter().copied());
        return Ok(repeated.collect());
    }
    if fits && matrix.n_rows == n_rows * bin {
        let mean = |out: usize, col: usize| {
            (0..bin).map(|of| row(out * bin + of)[col]).sum::<f32>() / bin as f32
        };
        let means = (0..n_rows).flat_map(|out| (0..n_cols).map(move |col| mean(out, col)));
        return Ok(means.collect());
    }
    Err(format!(
        "it has {} x {} values, and the patterns {} x {n_cols}",
        matrix.n_rows,
        matrix.n_cols,
        n_rows * repeat
    ))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests {
    use super::*;

    #[test]
    fn tables_are_transposed_and_fitted() {
        // Two columns of the detector, each with two rows.
        let matrix = table("1;2;\r\n3,5;4\n\n").unwrap();
        assert_eq!(matrix.values, [1.0, 3.5, 2.0, 4.0]);
        assert!(table("1;2\n3").is_err());
        assert!(table("1;x").is_err());
        let geometry = |n_rows: usize, bin: usize, repeat: usize| Geometry {
            stored_rows: n_rows / 2,
            n_rows,
            n_cols: 2,
            bin,
            repeat,
        };
        assert_eq!(fit(&matrix, &geometry(2, 1, 1)).unwrap(), matrix.values);
        let repeated = [1.0, 3.5, 1.0, 3.5, 2.0, 4.0, 2.0, 4.0];
        assert_eq!(fit(&matrix, &geometry(2, 2, 2)).unwrap(), repeated);
        assert_eq!(fit(&matrix, &geometry(1, 2, 1)).unwrap(), [1.5, 3.75]);
        assert!(fit(&matrix, &geometry(4, 1, 1)).is_err());
    }
}
