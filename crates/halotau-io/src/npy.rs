//! How is a NumPy file read without running what it says?
//!
//! ```text
//! \x93NUMPY | major | minor | header length, u16 or u32 | {'descr': '<u2', 'fortran_order': False, 'shape': (106, 8, 9, 66, 66), } | samples
//! ```
//!
//! The header is a Python dictionary; here a grammar of its own reads the three entries that may occur and
//! refuses everything else. Format: NumPy Enhancement Proposal 1, versions 1 to 3.

use std::path::Path;

use halotau::ndarray::{Array2, Array3, Axis};
use halotau::recipe::RawLayout;
use halotau::series::{Sample, SampleType};
use halotau::with_samples;

use crate::arrangement::{arrange, note_unknown_scan};
use crate::error::{Error, Result, SizeMismatch};
use crate::positioned::PositionedFile;
use crate::raw::LinearSource;
use crate::sample_bytes::{copy_at, from_numpy, zeroed};

/// The first bytes of every NumPy file.
pub(crate) const MAGIC: &[u8; 6] = b"\x93NUMPY";

/// Longer headers are refused; five lengths and a type need a hundred bytes.
const LONGEST_HEADER: u32 = 65_535;

/// More axes than any array of frames has.
const MOST_AXES: usize = 32;

/// What the header of a NumPy file states.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NpyHeader {
    /// Bytes before the first sample.
    pub(crate) data_start: u64,
    /// Number type.
    pub(crate) sample_type: SampleType,
    /// Whether the most significant byte comes first.
    pub(crate) big_endian: bool,
    /// Lengths of the axes, last fastest.
    pub(crate) dims: Vec<u64>,
}

impl NpyHeader {
    /// Bytes of all samples; `None` where they cannot be counted.
    fn n_bytes(&self) -> Option<u64> {
        let sample = self.sample_type.n_bytes() as u64;
        let mut dims = self.dims.iter();
        dims.try_fold(sample, |n, &len| n.checked_mul(len))
    }
}

/// Opens a NumPy file as a series. `n_times` are the scans to take, from the first.
pub(crate) fn open_npy(
    path: &Path,
    wanted: Option<[usize; 5]>,
    n_times: Option<usize>,
) -> Result<LinearSource> {
    let mut file = PositionedFile::open(path)?;
    let mut npy = read_header(&file)?;
    let stated = stated_times(&npy.dims, wanted);
    let mut wanted = wanted;
    if let (Some(n_times), Some(stated)) = (n_times, stated)
        && n_times < stated
        && let Some(bytes) = npy.n_bytes()
    {
        // The header tells of scans that need not be there yet.
        file = file.cut(npy.data_start + bytes / stated as u64 * n_times as u64);
        npy.dims[0] = npy.dims[0] / stated as u64 * n_times as u64;
        if let Some(shape) = &mut wanted {
            shape[0] = n_times;
        }
    }
    open_with(file, npy, wanted)
}

/// Scans that a header tells of; `None` where the axes are no scans of that shape.
pub(crate) fn stated_times(dims: &[u64], wanted: Option<[usize; 5]>) -> Option<usize> {
    let times = match (dims, wanted) {
        ([times, _, _, _, _], _) => *times,
        // Frames one after another, whose scans a person knows.
        ([n_frames, _, _], Some([_, n_rows, n_cols, ..])) => {
            let per_scan = (n_rows as u64).checked_mul(n_cols as u64)?;
            n_frames.checked_div(per_scan)?
        }
        _ => return None,
    };
    usize::try_from(times).ok().filter(|&times| times > 0)
}

/// Opens a NumPy array that is a file or a part of one.
pub(crate) fn open_array(file: PositionedFile, wanted: Option<[usize; 5]>) -> Result<LinearSource> {
    let npy = read_header(&file)?;
    open_with(file, npy, wanted)
}

fn open_with(
    file: PositionedFile,
    npy: NpyHeader,
    wanted: Option<[usize; 5]>,
) -> Result<LinearSource> {
    let n_bytes = npy.n_bytes().and_then(|n| n.checked_add(npy.data_start));
    if n_bytes != Some(file.len()) {
        return Err(size_error(&file, &npy, n_bytes));
    }
    let shape = arrange(&file.path().display().to_string(), &npy.dims, wanted)?;
    let layout = RawLayout {
        sample_type: npy.sample_type,
        big_endian: npy.big_endian,
        header_bytes: npy.data_start,
        frame_header_bytes: 0,
        frame_footer_bytes: 0,
        scan_header_bytes: 0,
    };
    let mut source = LinearSource::new(file, "NumPy", shape, layout)?;
    note_unknown_scan(source.header_mut(), &npy.dims, wanted);
    Ok(source)
}

/// Reads a detector-sized pattern from a NumPy file, as numbers: a mask (nonzero is valid), a dark or a gain pattern.
///
/// `[pattern row, pattern col]`; further axes of length 1 before them are allowed.
///
/// # Errors
///
/// As [`read_patterns`], and [`Error::BadContainer`] where there are several.
pub fn read_pattern(path: &Path) -> Result<Array2<f64>> {
    let patterns = read_patterns(path)?;
    let (n, rows, cols) = patterns.dim();
    if n != 1 {
        return Err(Error::BadContainer {
            path: path.to_owned(),
            format: "NumPy file",
            problem: format!("one pattern is needed, these are {n} of {rows} x {cols} pixels"),
        });
    }
    Ok(patterns.index_axis_move(Axis(0), 0))
}

/// Reads detector-sized patterns from a NumPy file, as numbers: dark frames.
///
/// `[pattern, pattern row, pattern col]`; all axes before the last two count patterns.
///
/// # Errors
///
/// [`Error::BadContainer`] for another number of axes or a file of another length than its header says, and as
/// [`open`](crate::open()).
pub fn read_patterns(path: &Path) -> Result<Array3<f64>> {
    let file = PositionedFile::open(path)?;
    let npy = read_header(&file)?;
    let bad = |problem: String| Error::BadContainer {
        path: path.to_owned(),
        format: "NumPy file",
        problem,
    };
    let [before @ .., rows, cols] = npy.dims.as_slice() else {
        return Err(bad(format!(
            "a pattern has rows and columns, this has {} axes",
            npy.dims.len()
        )));
    };
    let n_patterns = before.iter().try_fold(1_u64, |n, &len| n.checked_mul(len));
    let n_bytes = rows
        .checked_mul(*cols)
        .and_then(|n| n.checked_mul(n_patterns?))
        .and_then(|n| n.checked_mul(npy.sample_type.n_bytes() as u64));
    let end = n_bytes.and_then(|n| n.checked_add(npy.data_start));
    if end != Some(file.len()) {
        return Err(size_error(&file, &npy, end));
    }
    let mut bytes = vec![0; (file.len() - npy.data_start) as usize];
    file.read_exact_at(&mut bytes, npy.data_start)?;
    let (rows, cols) = (*rows as usize, *cols as usize);
    let n_samples = bytes.len() / npy.sample_type.n_bytes();
    let n_patterns = n_patterns.unwrap_or(0) as usize;
    let mut samples = zeroed(npy.sample_type, n_samples);
    copy_at(&mut samples, 0, &bytes, npy.big_endian);
    let values =
        with_samples!(&samples, samples => samples.iter().map(|sample| sample.to_f64()).collect());
    let dim = (n_patterns, rows, cols);
    Ok(Array3::from_shape_vec(dim, values).expect("the length was checked"))
}

/// Reads the header of a NumPy file.
pub(crate) fn read_header(file: &PositionedFile) -> Result<NpyHeader> {
    let bad = |problem: String| Error::BadContainer {
        path: file.path().to_owned(),
        format: "NumPy file",
        problem,
    };
    let start = file.start(12)?;
    if !start.starts_with(MAGIC) {
        return Err(bad("it does not start with \\x93NUMPY".to_owned()));
    }
    let (header_len, header_start) = match start.get(6..) {
        Some(&[1, _, a, b, ..]) => (u32::from(u16::from_le_bytes([a, b])), 10_u64),
        Some(&[2 | 3, _, a, b, c, d]) => (u32::from_le_bytes([a, b, c, d]), 12),
        Some(&[major @ 1..=3, ..]) => {
            return Err(bad(format!(
                "it ends inside the fixed part of a version {major} header"
            )));
        }
        Some(&[major, ..]) => return Err(bad(format!("format version {major} is not known"))),
        _ => return Err(bad("it ends after the magic bytes".to_owned())),
    };
    if header_len > LONGEST_HEADER {
        return Err(bad(format!(
            "the header claims {header_len} bytes; {LONGEST_HEADER} are the most that is read"
        )));
    }
    let data_start = header_start + u64::from(header_len);
    if data_start > file.len() {
        return Err(bad(format!(
            "the header needs {data_start} bytes, the file has {}",
            file.len()
        )));
    }
    let mut text = vec![0; header_len as usize];
    file.read_exact_at(&mut text, header_start)?;
    let dictionary = Parser {
        bytes: &text,
        at: 0,
    }
    .dictionary()
    .map_err(|at| {
        bad(format!(
            "the header cannot be understood at byte {}: {:?}",
            header_start + at as u64,
            String::from_utf8_lossy(&text[at.min(text.len())..(at + 40).min(text.len())]),
        ))
    })?;
    let descr = match dictionary.descr {
        Descr::Text(descr) => descr,
        Descr::Record => {
            return Err(Error::SampleType {
                what: file.path().display().to_string(),
                found: "records of several fields".to_owned(),
            });
        }
    };
    if descr.contains('O') {
        return Err(Error::ObjectArray {
            path: file.path().to_owned(),
        });
    }
    let (sample_type, big_endian) = from_numpy(&descr).ok_or_else(|| Error::SampleType {
        what: file.path().display().to_string(),
        found: format!("of NumPy type {descr}"),
    })?;
    // With one axis longer than 1 both orders are the same.
    if dictionary.fortran_order && dictionary.dims.iter().filter(|&&len| len > 1).count() > 1 {
        return Err(Error::FortranOrder {
            path: file.path().to_owned(),
        });
    }
    Ok(NpyHeader {
        data_start,
        sample_type,
        big_endian,
        dims: dictionary.dims,
    })
}

fn size_error(file: &PositionedFile, npy: &NpyHeader, expected: Option<u64>) -> Error {
    let data = file.len().saturating_sub(npy.data_start);
    let pattern = npy
        .dims
        .iter()
        .rev()
        .take(2)
        .try_fold(npy.sample_type.n_bytes() as u64, |n, &len| {
            n.checked_mul(len)
        });
    let whole_frames = pattern
        .filter(|&n| n > 0)
        .map_or(0, |pattern| data / pattern);
    let positions = match npy.dims[..] {
        [_, rows, cols, _, _] | [rows, cols, _, _] => rows.saturating_mul(cols),
        _ => 1,
    };
    Error::Size {
        path: file.path().to_owned(),
        size: Box::new(SizeMismatch {
            expected_bytes: expected,
            actual_bytes: file.len(),
            whole_frames,
            whole_times: whole_frames.checked_div(positions).unwrap_or(0),
            suggestions: Vec::new(),
        }),
    }
}

enum Descr {
    Text(String),
    Record,
}

struct Dictionary {
    descr: Descr,
    fortran_order: bool,
    dims: Vec<u64>,
}

/// Reads the dictionary; an error is the byte where it stopped to make sense.
struct Parser<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Parser<'_> {
    fn dictionary(mut self) -> Result<Dictionary, usize> {
        let (mut descr, mut fortran_order, mut dims) = (None, None, None);
        self.expect(b'{')?;
        loop {
            self.skip_spaces();
            if self.take(b'}') {
                break;
            }
            let key_at = self.at;
            let key = self.text()?;
            self.expect(b':')?;
            self.skip_spaces();
            match key.as_str() {
                "descr" if descr.is_none() => descr = Some(self.descr()?),
                "fortran_order" if fortran_order.is_none() => {
                    fortran_order = Some(self.boolean()?);
                }
                "shape" if dims.is_none() => dims = Some(self.tuple()?),
                _ => return Err(key_at),
            }
            self.skip_spaces();
            if !self.take(b',') {
                self.expect(b'}')?;
                break;
            }
        }
        self.skip_spaces();
        if self.at != self.bytes.len() {
            return Err(self.at);
        }
        match (descr, fortran_order, dims) {
            (Some(descr), Some(fortran_order), Some(dims)) => Ok(Dictionary {
                descr,
                fortran_order,
                dims,
            }),
            _ => Err(self.at),
        }
    }

    fn skip_spaces(&mut self) {
        while matches!(self.bytes.get(self.at), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn take(&mut self, byte: u8) -> bool {
        let found = self.bytes.get(self.at) == Some(&byte);
        self.at += usize::from(found);
        found
    }

    fn expect(&mut self, byte: u8) -> Result<(), usize> {
        self.skip_spaces();
        if self.take(byte) {
            Ok(())
        } else {
            Err(self.at)
        }
    }

    /// A string in single or double quotes, without escapes.
    fn text(&mut self) -> Result<String, usize> {
        let quote = match self.bytes.get(self.at) {
            Some(&quote @ (b'\'' | b'"')) => quote,
            _ => return Err(self.at),
        };
        let start = self.at + 1;
        let len = self.bytes[start..]
            .iter()
            .position(|&b| b == quote || b == b'\\' || !(b' '..=b'~').contains(&b))
            .ok_or(self.at)?;
        self.at = start + len;
        if !self.take(quote) {
            return Err(self.at);
        }
        Ok(String::from_utf8_lossy(&self.bytes[start..start + len]).into_owned())
    }

    /// A type string, or the start of a record, which is refused whatever it holds.
    fn descr(&mut self) -> Result<Descr, usize> {
        if self.bytes.get(self.at) != Some(&b'[') {
            return self.text().map(Descr::Text);
        }
        let mut depth = 0_usize;
        while let Some(&byte) = self.bytes.get(self.at) {
            self.at += 1;
            match byte {
                b'[' | b'(' => depth += 1,
                b']' | b')' => depth = depth.saturating_sub(1),
                _ => {}
            }
            if depth == 0 {
                return Ok(Descr::Record);
            }
        }
        Err(self.at)
    }

    fn boolean(&mut self) -> Result<bool, usize> {
        for (word, value) in [(&b"True"[..], true), (&b"False"[..], false)] {
            if self.bytes[self.at..].starts_with(word) {
                self.at += word.len();
                return Ok(value);
            }
        }
        Err(self.at)
    }

    fn tuple(&mut self) -> Result<Vec<u64>, usize> {
        let mut dims = Vec::new();
        self.expect(b'(')?;
        loop {
            self.skip_spaces();
            if self.take(b')') {
                return Ok(dims);
            }
            if dims.len() == MOST_AXES {
                return Err(self.at);
            }
            dims.push(self.number()?);
            self.skip_spaces();
            if !self.take(b',') {
                self.expect(b')')?;
                return Ok(dims);
            }
        }
    }

    fn number(&mut self) -> Result<u64, usize> {
        let start = self.at;
        let mut value = 0_u64;
        while let Some(digit) = self.bytes.get(self.at).filter(|b| b.is_ascii_digit()) {
            value = value
                .checked_mul(10)
                .and_then(|v| v.checked_add(u64::from(digit - b'0')))
                .ok_or(start)?;
            self.at += 1;
        }
        // NumPy of Python 2 wrote long integers with an L.
        self.take(b'L');
        if self.at == start || self.bytes[start] == b'L' {
            return Err(start);
        }
        Ok(value)
    }
}
