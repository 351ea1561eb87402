//! How is one matrix of numbers read from a MATLAB file of level 5?
//!
//! ```text
//! 128 bytes of header | element | element | ...
//! element = type u32 · length u32 · data, padded to 8 bytes; or, up to 4 bytes long, length u16 · type u16 · data
//! matrix  = element 14 of elements: flags and class · dimensions · name · values, first index fastest
//! ```
//!
//! An element of type 15 is another element, compressed by zlib. Reference: "MAT-File Format", The MathWorks, chapter 1.

use std::io::Read;

use flate2::read::ZlibDecoder;

/// A table of numbers, row by row.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Matrix {
    pub(super) n_rows: usize,
    pub(super) n_cols: usize,
    pub(super) values: Vec<f32>,
}

const HEADER_BYTES: usize = 128;
/// Bytes of a matrix beside its values: flags, dimensions, name, and their padding.
const MATRIX_HEADER_BYTES: usize = 1024;
const MATRIX: u32 = 14;
const COMPRESSED: u32 = 15;

/// Reads the real matrix of a name, of at most so many values.
pub(super) fn variable(bytes: &[u8], name: &str, most_values: usize) -> Result<Matrix, String> {
    if bytes.starts_with(b"\x89HDF") || bytes.starts_with(b"MATLAB 7.3") {
        return Err("it is a MATLAB file of version 7.3; save it again with -v7".to_owned());
    }
    let order = bytes.get(124..HEADER_BYTES).unwrap_or_default();
    let big_endian = match order {
        [0, 1, b'I', b'M'] => false,
        [1, 0, b'M', b'I'] => true,
        _ => return Err("it is no MATLAB file of level 5".to_owned()),
    };
    let elements = Elements {
        bytes,
        at: HEADER_BYTES,
        big_endian,
    };
    let most_bytes = most_values
        .saturating_mul(8)
        .saturating_add(MATRIX_HEADER_BYTES);
    let mut names = Vec::new();
    for element in elements {
        let element = element?;
        let found = match element.kind {
            MATRIX => matrix(element.data, big_endian, name, most_values)?,
            COMPRESSED => {
                // A matrix that is larger than asked for is cut, and refused if it is the one that is asked for.
                let mut plain = Vec::new();
                ZlibDecoder::new(element.data)
                    .take(most_bytes as u64)
                    .read_to_end(&mut plain)
                    .map_err(|error| format!("a compressed element is damaged ({error})"))?;
                inside(&plain, big_endian, name, most_values)?
            }
            _ => continue,
        };
        match found {
            Found::Matrix(matrix) => return Ok(matrix),
            Found::Other(other) => names.push(other),
        }
    }
    Err(format!("it holds no matrix {name}, but {names:?}"))
}

enum Found {
    Matrix(Matrix),
    /// Name of another matrix.
    Other(String),
}

/// The matrix inside a decompressed element.
fn inside(plain: &[u8], big_endian: bool, name: &str, most_values: usize) -> Result<Found, String> {
    let kind = plain.first_chunk().map(|bytes| u32_of(*bytes, big_endian));
    if kind != Some(MATRIX) {
        return Err("a compressed element is no matrix".to_owned());
    }
    matrix(
        plain.get(8..).unwrap_or_default(),
        big_endian,
        name,
        most_values,
    )
}

/// Reads the elements inside a matrix.
fn matrix(data: &[u8], big_endian: bool, name: &str, most_values: usize) -> Result<Found, String> {
    let mut parts = Elements {
        bytes: data,
        at: 0,
        big_endian,
    };
    let mut part = |what: &str| match parts.next() {
        Some(Ok(part)) => Ok(part),
        Some(Err(problem)) => Err(problem),
        None => Err(format!("a matrix has no {what}")),
    };
    let flags = part("flags")?;
    let dimensions = part("dimensions")?;
    let found = String::from_utf8_lossy(part("name")?.data).into_owned();
    if found != name {
        return Ok(Found::Other(found));
    }
    let flags = flags
        .data
        .first_chunk()
        .map_or(0, |b| u32_of(*b, big_endian));
    // Classes 6 to 15 are numbers; bit 11 says that they are complex.
    let class = flags & 0xff;
    if !(6..=15).contains(&class) || flags & 0x800 != 0 {
        return Err(format!("{name} is no matrix of real numbers"));
    }
    let lens: Vec<usize> = dimensions
        .data
        .chunks_exact(4)
        .filter_map(|b| b.first_chunk().map(|b| u32_of(*b, big_endian) as usize))
        .collect();
    let [n_rows, n_cols] = lens[..] else {
        return Err(format!("{name} has {} dimensions, not 2", lens.len()));
    };
    let n = n_rows
        .checked_mul(n_cols)
        .filter(|&n| (1..=most_values).contains(&n));
    let Some(n) = n else {
        return Err(format!(
            "{name} has {n_rows} x {n_cols} values, and a frame at most {most_values}"
        ));
    };
    let values = numbers(&part("values")?, big_endian)?;
    if values.len() != n {
        return Err(format!(
            "{name} holds {} values, not {n_rows} x {n_cols}",
            values.len()
        ));
    }
    let by_row = (0..n).map(|idx| values[idx % n_cols * n_rows + idx / n_cols]);
    Ok(Found::Matrix(Matrix {
        n_rows,
        n_cols,
        values: by_row.collect(),
    }))
}

/// Values of any of the types of numbers; whole numbers are often stored in a smaller one than the matrix has.
fn numbers(element: &Element<'_>, big_endian: bool) -> Result<Vec<f32>, String> {
    macro_rules! read {
        ($t:ty) => {
            element
                .data
                .as_chunks::<{ size_of::<$t>() }>()
                .0
                .iter()
                .map(|bytes| {
                    if big_endian {
                        <$t>::from_be_bytes(*bytes) as f32
                    } else {
                        <$t>::from_le_bytes(*bytes) as f32
                    }
                })
                .collect()
        };
    }
    Ok(match element.kind {
        1 => read!(i8),
        2 => read!(u8),
        3 => read!(i16),
        4 => read!(u16),
        5 => read!(i32),
        6 => read!(u32),
        7 => read!(f32),
        9 => read!(f64),
        12 => read!(i64),
        13 => read!(u64),
        other => return Err(format!("values are of type {other}, no number")),
    })
}

struct Element<'a> {
    kind: u32,
    data: &'a [u8],
}

/// Elements one after another.
struct Elements<'a> {
    bytes: &'a [u8],
    at: usize,
    big_endian: bool,
}

impl<'a> Iterator for Elements<'a> {
    type Item = Result<Element<'a>, String>;

    fn next(&mut self) -> Option<Self::Item> {
        let rest = self.bytes.get(self.at..)?;
        let (tag, data) = rest.split_first_chunk::<8>()?;
        let [t0, t1, t2, t3, l0, l1, l2, l3] = *tag;
        let kind = u32_of([t0, t1, t2, t3], self.big_endian);
        if kind >> 16 != 0 {
            // A short element has its length and its data in the tag.
            let (len, kind) = ((kind >> 16) as usize, kind & 0xffff);
            self.at += 8;
            let data = rest.get(4..4 + len).filter(|_| len <= 4);
            return Some(data.map(|data| Element { kind, data }).ok_or_else(|| {
                format!("a short element is said to have {len} bytes, and has at most 4")
            }));
        }
        let len = u32_of([l0, l1, l2, l3], self.big_endian) as usize;
        let Some(data) = data.get(..len) else {
            // The caller stops at an error, and the end is the end.
            self.at = self.bytes.len();
            return Some(Err(format!(
                "an element is said to have {len} bytes, and the file has {} more",
                data.len()
            )));
        };
        // Compressed elements are not padded.
        let padded = if kind == COMPRESSED {
            len
        } else {
            len.next_multiple_of(8)
        };
        self.at += 8 + padded;
        Some(Ok(Element { kind, data }))
    }
}

fn u32_of(bytes: [u8; 4], big_endian: bool) -> u32 {
    if big_endian {
        u32::from_be_bytes(bytes)
    } else {
        u32::from_le_bytes(bytes)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests {
    use std::io::Write;

    use super::*;

    fn element(kind: u32, data: &[u8]) -> Vec<u8> {
        let mut bytes = kind.to_le_bytes().to_vec();
        bytes.extend((data.len() as u32).to_le_bytes());
        bytes.extend(data);
        bytes.resize(bytes.len().next_multiple_of(8), 0);
        bytes
    }

    fn matrix_element(name: &str, values: &[u8]) -> Vec<u8> {
        let mut parts = element(6, &[6, 0, 0, 0, 0, 0, 0, 0]);
        parts.extend(element(5, &[2, 0, 0, 0, 3, 0, 0, 0]));
        parts.extend(element(1, name.as_bytes()));
        parts.extend(values);
        element(MATRIX, &parts)
    }

    fn file(elements: &[Vec<u8>]) -> Vec<u8> {
        let mut bytes = vec![b' '; 124];
        bytes.extend([0, 1, b'I', b'M']);
        bytes.extend(elements.concat());
        bytes
    }

    fn compressed(element: &[u8]) -> Vec<u8> {
        let mut encoder =
            flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::default());
        encoder.write_all(element).unwrap();
        let data = encoder.finish().unwrap();
        let mut bytes = COMPRESSED.to_le_bytes().to_vec();
        bytes.extend((data.len() as u32).to_le_bytes());
        bytes.extend(data);
        bytes
    }

    #[test]
    fn matrices_are_found_by_name_plain_and_compressed() {
        // Columns [1 2], [3 4], [5 6], as doubles and as bytes.
        let doubles: Vec<u8> = (1..=6).flat_map(|n| f64::from(n).to_le_bytes()).collect();
        let doubles = matrix_element("GainMap", &element(9, &doubles));
        let bytes = matrix_element("GainMap", &element(2, &[1, 2, 3, 4, 5, 6]));
        let other = matrix_element("Other", &element(2, &[9; 6]));
        // A short element, whose data are in its tag.
        let mut short = matrix_element("GainMap", &[2, 0, 4, 0, 1, 2, 3, 4]);
        let expected = Matrix {
            n_rows: 2,
            n_cols: 3,
            values: vec![1.0, 3.0, 5.0, 2.0, 4.0, 6.0],
        };
        for elements in [
            vec![doubles.clone()],
            vec![other.clone(), bytes.clone()],
            vec![compressed(&other), compressed(&bytes)],
            vec![compressed(&doubles)],
        ] {
            let bytes = file(&elements);
            assert_eq!(variable(&bytes, "GainMap", 6).unwrap(), expected);
            assert!(variable(&bytes, "GainMap", 5).is_err());
            // Cut anywhere and changed anywhere, it is refused or read, and nothing worse.
            for at in 0..bytes.len() {
                let cut = variable(&bytes[..at], "GainMap", 6);
                assert!(cut.is_err(), "cut at {at}");
                for value in [0, 0x7f, 0xff] {
                    let mut bytes = bytes.clone();
                    bytes[at] = value;
                    let _ = variable(&bytes, "GainMap", 6);
                }
            }
        }
        let problem = variable(&file(&[short.clone()]), "GainMap", 6).unwrap_err();
        assert!(problem.contains("holds 4 values"), "{problem}");
        short.truncate(20);
        assert!(variable(&file(&[short]), "GainMap", 6).is_err());
        let problem = variable(&file(&[other]), "GainMap", 6).unwrap_err();
        assert!(problem.contains("Other"), "{problem}");
    }
}
