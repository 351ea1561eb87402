//! How does a TIA series file (`.ser`) hold a scan?
//!
//! ```text
//! header | dimensions | ... elements (calibration 40 · type, nx, ny 10 · pixels) and their tags anywhere ...
//! offset array: where each element is | where each tag is
//! ```
//!
//! All numbers are little-endian. An element is one pattern; a tag holds the second in which it was recorded and, in scans,
//! where. The first stored row is the bottom of the image as the program shows it, so rows are reversed here. What only
//! the sidecar `.emi` knows, the voltage and the exposure, is taken from the XML that is embedded in it.

mod emi;

use std::ops::Range;
use std::path::{Path, PathBuf};

use halotau::series::{FrameCount, SampleType, Samples, Stated};

use super::fields::Fields;
use super::{Format, Probe};
use crate::error::{Error, Result};
use crate::open::{OpenRequest, display_name};
use crate::positioned::PositionedFile;
use crate::sample_bytes::copy_at;
use crate::stream::{FrameStream, ScanStatement, StreamHeader};

pub(crate) const FORMAT: Format = Format {
    name: "TIA series",
    recognize,
    open,
};

/// `II` for little-endian, then the number of the format.
const MAGIC: &[u8] = &[0x49, 0x49, 0x97, 0x01];
/// Bytes of header and dimensions that are read at most; a dimension has two names.
const MOST_HEADER: usize = 1 << 16;
/// Axes of a scan and a time axis, with room to spare.
const MOST_DIMENSIONS: u32 = 8;
/// Bytes before the pixels of an element.
const ELEMENT_HEADER: u64 = 50;
/// Steps above this, in the meters or reciprocal meters that elements state without saying which, are reciprocal: no image has
/// pixels of a kilometer, and no pattern has pixels finer than 1000 per meter.
const RECIPROCAL_ABOVE: f64 = 1e3;

fn recognize(probe: &Probe<'_>) -> Option<PathBuf> {
    if probe.start.starts_with(MAGIC) {
        return Some(probe.path.to_owned());
    }
    emi::series_of(probe)
}

/// One axis of the series.
struct Dimension {
    size: u32,
    delta: f64,
    unit: String,
}

impl Dimension {
    /// Reads a dimension at `at`, which is moved behind it.
    fn parse(fields: &Fields<'_>, at: &mut usize) -> Option<Self> {
        let text = |at: &mut usize| {
            let n_bytes = usize::try_from(fields.u32(*at)?).ok()?;
            let bytes = fields.slice(*at + 4, n_bytes)?;
            *at += 4 + n_bytes;
            Some(String::from_utf8_lossy(bytes).into_owned())
        };
        let (size, delta) = (fields.u32(*at)?, fields.f64(*at + 12)?);
        *at += 24;
        let _description = text(at)?;
        let unit = text(at)?;
        Some(Self { size, delta, unit })
    }
}

/// What the header states.
struct SeriesHeaderFields {
    total: u64,
    valid: u64,
    has_positions: bool,
    offset_array: u64,
    /// Bytes of an offset.
    width: u64,
    /// Fastest first.
    dimensions: Vec<Dimension>,
}

impl SeriesHeaderFields {
    fn parse(start: &[u8]) -> Result<Self, String> {
        let fields = Fields::little_endian(start);
        let cut = || "it ends inside its header".to_owned();
        match fields.u32(6).ok_or_else(cut)? {
            0x4122 => {}
            0x4120 => return Err("it holds spectra, not patterns".to_owned()),
            other => return Err(format!("elements of kind {other:#06x}, not 0x4122, images")),
        }
        let has_positions = match fields.u32(10).ok_or_else(cut)? {
            0x4142 => true,
            0x4152 => false,
            other => return Err(format!("tags of kind {other:#06x}, not 0x4142 or 0x4152")),
        };
        let (total, valid) = fields.u32(14).zip(fields.u32(18)).ok_or_else(cut)?;
        let version = fields.u16(4).ok_or_else(cut)?;
        let (offset_array, width) = match version {
            0x0210 => (fields.u32(22).map(u64::from), 4),
            0x0220 => (fields.u64(22), 8),
            other => {
                return Err(format!(
                    "version {other:#06x}; 0x0210 and 0x0220 are read here"
                ));
            }
        };
        let offset_array = offset_array.ok_or_else(cut)?;
        let mut at = 22 + width as usize;
        let n_dimensions = fields.u32(at).ok_or_else(cut)?;
        if n_dimensions > MOST_DIMENSIONS {
            return Err(format!(
                "it states {n_dimensions} dimensions; at most {MOST_DIMENSIONS} make sense"
            ));
        }
        at += 4;
        let dimensions: Option<Vec<_>> = (0..n_dimensions)
            .map(|_| Dimension::parse(&fields, &mut at))
            .collect();
        if valid == 0 || valid > total {
            return Err(format!("{valid} of {total} elements are said to be valid"));
        }
        Ok(Self {
            total: total.into(),
            valid: valid.into(),
            has_positions,
            offset_array,
            width,
            dimensions: dimensions.ok_or_else(cut)?,
        })
    }

    /// Reads offsets of elements or, from number `total` on, of tags.
    fn offsets(&self, file: &PositionedFile, first: u64, n: u64) -> Result<Option<Vec<u64>>> {
        let place = first
            .checked_mul(self.width)
            .and_then(|before| before.checked_add(self.offset_array));
        let end = place.and_then(|place| place.checked_add(n.checked_mul(self.width)?));
        let (Some(place), true) = (place, end.is_some_and(|end| end <= file.len())) else {
            return Ok(None);
        };
        // No longer than the file, as was just compared.
        let mut bytes = vec![0; (n * self.width) as usize];
        file.read_exact_at(&mut bytes, place)?;
        let fields = Fields::little_endian(&bytes);
        let offset = |idx: usize| match self.width {
            4 => fields.u32(idx * 4).map(u64::from),
            _ => fields.u64(idx * 8),
        };
        Ok((0..n as usize).map(offset).collect())
    }

    /// The scan, where the dimensions state one.
    fn scan(&self) -> Option<ScanStatement> {
        let lens: Vec<usize> = self
            .dimensions
            .iter()
            .map(|dimension| dimension.size as usize)
            .collect();
        let product = lens.iter().try_fold(1_u64, |n, &len| {
            n.checked_mul(u64::try_from(len).ok().filter(|&len| len > 0)?)
        });
        if product != Some(self.total) {
            return None;
        }
        let origin = "dimensions of the header";
        match *lens.as_slice() {
            // A line of positions, or patterns one after another at the same place.
            [n] if n > 1 && self.has_positions => Some(ScanStatement::new(1, n, origin)),
            [n] if n > 1 && self.dimensions[0].unit == "s" => Some(ScanStatement {
                n_times: Some(n),
                ..ScanStatement::new(1, 1, origin)
            }),
            [n_cols, n_rows] => Some(ScanStatement::new(n_rows, n_cols, origin)),
            [n_cols, n_rows, n_times] => Some(ScanStatement {
                n_times: Some(n_times),
                ..ScanStatement::new(n_rows, n_cols, origin)
            }),
            _ => None,
        }
    }
}

/// Number type, rows and columns of the pattern of an element.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Pattern {
    kind: u16,
    n_rows: u32,
    n_cols: u32,
}

impl Pattern {
    fn of(element: &[u8]) -> Option<Self> {
        let fields = Fields::little_endian(element);
        Some(Self {
            kind: fields.u16(40)?,
            n_cols: fields.u32(42)?,
            n_rows: fields.u32(46)?,
        })
    }

    /// The number type that is read, and bytes of a stored pixel.
    fn sample_type(self) -> Result<(SampleType, u64), &'static str> {
        Ok(match self.kind {
            1 => (SampleType::U8, 1),
            2 => (SampleType::U16, 2),
            3 => (SampleType::U32, 4),
            // There is no type of one signed byte here; two hold every value.
            4 => (SampleType::I16, 1),
            5 => (SampleType::I16, 2),
            6 => (SampleType::I32, 4),
            7 => (SampleType::F32, 4),
            8 => (SampleType::F64, 8),
            9 | 10 => return Err("complex numbers"),
            _ => return Err("of a type that is not in the format"),
        })
    }
}

struct SeriesFile {
    header: StreamHeader,
    file: PositionedFile,
    pattern: Pattern,
    row_bytes: usize,
    /// Where each whole element is.
    elements: Vec<u64>,
    /// Where each tag is, if the tags tell the elements apart in time.
    tags: Vec<u64>,
}

fn open(path: &Path, _request: &OpenRequest) -> Result<Box<dyn FrameStream>> {
    let bad = |problem: String| Error::BadContainer {
        path: path.to_owned(),
        format: FORMAT.name,
        problem,
    };
    let file = PositionedFile::open(path)?;
    let fields = SeriesHeaderFields::parse(&file.start(MOST_HEADER)?).map_err(bad)?;
    let mut elements = fields.offsets(&file, 0, fields.valid)?.ok_or_else(|| {
        bad(format!(
            "the list of {} elements at byte {} reaches beyond the end of the file, {} bytes",
            fields.total,
            fields.offset_array,
            file.len()
        ))
    })?;
    let mut first = [0; ELEMENT_HEADER as usize];
    let first_at = elements[0];
    if first_at
        .checked_add(ELEMENT_HEADER)
        .is_none_or(|end| end > file.len())
    {
        return Err(bad(format!(
            "the first element is said to be at byte {first_at} of {}",
            file.len()
        )));
    }
    file.read_exact_at(&mut first, first_at)?;
    let pattern = Pattern::of(&first).ok_or_else(|| bad("no element".to_owned()))?;
    let (sample_type, pixel_bytes) = pattern.sample_type().map_err(|found| Error::SampleType {
        what: path.display().to_string(),
        found: found.to_owned(),
    })?;
    let (n_rows, n_cols) = (u64::from(pattern.n_rows), u64::from(pattern.n_cols));
    let row_bytes = n_cols * pixel_bytes;
    let element_bytes = row_bytes
        .checked_mul(n_rows)
        .and_then(|n| n.checked_add(ELEMENT_HEADER))
        .filter(|&n| n <= file.len() && n > ELEMENT_HEADER)
        .ok_or_else(|| {
            bad(format!(
                "patterns are said to be {n_rows} x {n_cols}, which {} bytes cannot hold",
                file.len()
            ))
        })?;
    // Elements of an aborted acquisition were never written.
    let is_whole = |&offset: &u64| {
        offset > 0
            && offset
                .checked_add(element_bytes)
                .is_some_and(|end| end <= file.len())
    };
    let n_whole = elements
        .iter()
        .take_while(|offset| is_whole(offset))
        .count();
    elements.truncate(n_whole);
    let tags = fields
        .offsets(&file, fields.total, n_whole as u64)?
        .unwrap_or_default();
    let mut header = StreamHeader::new(
        display_name(path),
        FORMAT.name,
        n_whole,
        (pattern.n_rows as usize, pattern.n_cols as usize),
        sample_type,
    );
    header.scan = fields.scan();
    let series = &mut header.series;
    series.frame_counts = vec![
        FrameCount::new(fields.total, "elements that the header plans"),
        FrameCount::new(fields.valid, "valid elements of the header"),
        FrameCount::new(n_whole as u64, "whole elements in the file"),
    ];
    if let Some(dimension) = fields.dimensions.first()
        && dimension.unit == "m"
        && dimension.delta.is_finite()
        && dimension.delta > 0.0
    {
        series.step_nm = Some(Stated::new(dimension.delta * 1e9, "x step of the header"));
    }
    let delta = Fields::little_endian(&first).f64(8).unwrap_or(0.0);
    if delta.is_finite() && delta > RECIPROCAL_ABOVE {
        let origin = "calibration of the first element";
        series.q_step_per_nm = Some(Stated::new(delta * 1e-9, origin));
    }
    emi::describe(path, series)?;
    let mut stream = SeriesFile {
        header,
        file,
        pattern,
        row_bytes: row_bytes as usize,
        elements,
        tags,
    };
    let start = stream.stamp_ns(0)?;
    let last = stream.stamp_ns(stream.elements.len().saturating_sub(1) as u64)?;
    stream.header.series.start_unix_ns = start;
    if start == last {
        // All patterns of a short scan bear the same second, that of the first.
        stream.tags.clear();
    }
    Ok(Box::new(stream))
}

impl FrameStream for SeriesFile {
    fn header(&self) -> &StreamHeader {
        &self.header
    }

    fn read(&self, frames: Range<u64>, samples: &mut Samples, mut at: usize) -> Result<()> {
        let n_bytes = ELEMENT_HEADER as usize + self.row_bytes * self.pattern.n_rows as usize;
        let mut element = vec![0; n_bytes];
        for frame in frames {
            self.file
                .read_exact_at(&mut element, self.elements[frame as usize])?;
            if Pattern::of(&element) != Some(self.pattern) {
                return Err(Error::BadContainer {
                    path: self.file.path().to_owned(),
                    format: FORMAT.name,
                    problem: format!(
                        "element {frame} has another size or number type than the first"
                    ),
                });
            }
            let pixels = &element[ELEMENT_HEADER as usize..];
            for row in pixels.chunks_exact(self.row_bytes).rev() {
                match &mut *samples {
                    Samples::I16(samples) if self.pattern.kind == 4 => {
                        for (sample, &byte) in samples[at..].iter_mut().zip(row) {
                            *sample = i16::from(byte.cast_signed());
                        }
                    }
                    samples => copy_at(samples, at, row, false),
                }
                at += self.pattern.n_cols as usize;
            }
        }
        Ok(())
    }

    fn stamp_ns(&self, frame: u64) -> Result<Option<i64>> {
        let Some(&tag) = self.tags.get(frame as usize) else {
            return Ok(None);
        };
        // Kind of the tag, two bytes of filling, then the second.
        if tag == 0 || tag.checked_add(8).is_none_or(|end| end > self.file.len()) {
            return Ok(None);
        }
        let mut bytes = [0; 8];
        self.file.read_exact_at(&mut bytes, tag)?;
        let seconds = Fields::little_endian(&bytes).u32(4).filter(|&s| s > 0);
        Ok(seconds.map(|seconds| i64::from(seconds) * 1_000_000_000))
    }
}
