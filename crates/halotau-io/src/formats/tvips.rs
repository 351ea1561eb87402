//! How do the cameras of TVIPS hold a scan?
//!
//! ```text
//! NAME_000.tvips: series header 256 bytes | frame header · pattern | frame header · pattern | ...
//! NAME_001.tvips:                           frame header · pattern | ...
//! ```
//!
//! All numbers are little-endian. The camera is not triggered by the scan; which frame belongs to which position is told by
//! the frame headers, see [`positions`]. Patterns are read as they are stored, first row first.

mod positions;

use std::ops::Range;
use std::path::{Path, PathBuf};

use halotau::series::{FrameCount, SampleType, Samples, Stated, Warning};

use self::positions::Positions;
use super::fields::Fields;
use super::{Format, Probe};
use crate::error::{Error, Result};
use crate::open::{OpenRequest, display_name};
use crate::positioned::PositionedFile;
use crate::sample_bytes::copy_at;
use crate::stream::strided::{StridedFile, StridedFiles};
use crate::stream::{FrameStream, StreamHeader};

pub(crate) const FORMAT: Format = Format {
    name: "TVIPS recording",
    recognize,
    open,
};

/// Bytes of the series header.
const SERIES_HEADER: u32 = 256;
/// Bytes of a frame header of version 1, and the least of version 2: counter and time.
const LEAST_FRAME_HEADER: u32 = 12;
/// Files of one recording that are looked for: three digits number them.
const MOST_PARTS: usize = 1000;
/// Frame headers from this length on hold the measured temperature of a heating holder and the one that was set.
const HEATING_HEADER: u64 = 64;
/// No holder heats above this, so a larger number is no temperature.
const HOTTEST_CELSIUS: f32 = 2000.0;
/// 0 °C in kelvin.
const ZERO_CELSIUS_K: f64 = 273.15;

fn recognize(probe: &Probe<'_>) -> Option<PathBuf> {
    let has_header = SeriesFields::parse(probe.start).is_some_and(|fields| fields.is_credible());
    if has_header {
        return Some(probe.path.to_owned());
    }
    // Later parts have no header; the first one tells.
    let stem = part_stem(probe.path)?;
    let main = part(probe.path, stem, 0);
    let start = PositionedFile::open(&main).ok()?.start(64).ok()?;
    let fields = SeriesFields::parse(&start)?;
    (main != probe.path && fields.is_credible()).then_some(main)
}

/// The name that all parts of a recording share, where a file is named like one.
fn part_stem(path: &Path) -> Option<&str> {
    let is_tvips = path.extension()?.eq_ignore_ascii_case("tvips");
    let (stem, number) = path.file_stem()?.to_str()?.rsplit_once('_')?;
    let is_part = number.len() == 3 && number.bytes().all(|digit| digit.is_ascii_digit());
    (is_tvips && is_part).then_some(stem)
}

fn part(path: &Path, stem: &str, number: usize) -> PathBuf {
    let extension = path.extension().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!("{stem}_{number:03}.{extension}"))
}

/// What the series header states.
#[derive(Debug, Clone, Copy)]
struct SeriesFields {
    size: u32,
    version: u32,
    n_cols: u32,
    n_rows: u32,
    bits: u32,
    voltage_kv: u32,
    frame_header: u32,
}

impl SeriesFields {
    fn parse(start: &[u8]) -> Option<Self> {
        let fields = Fields::little_endian(start);
        let version = fields.u32(4)?;
        Some(Self {
            size: fields.u32(0)?,
            version,
            n_cols: fields.u32(8)?,
            n_rows: fields.u32(12)?,
            bits: fields.u32(16)?,
            voltage_kv: fields.u32(40)?,
            frame_header: match version {
                1 => LEAST_FRAME_HEADER,
                _ => fields.u32(48)?,
            },
        })
    }

    /// There is no signature, so several fields together must make sense.
    fn is_credible(&self) -> bool {
        self.size == SERIES_HEADER
            && matches!(self.version, 1 | 2)
            && matches!(self.bits, 8 | 16)
            && (1..=1 << 16).contains(&self.n_cols)
            && (1..=1 << 16).contains(&self.n_rows)
    }
}

struct Recording {
    header: StreamHeader,
    files: StridedFiles,
    frame_header: usize,
    /// Which frames belong to positions, where the frame headers say so.
    positions: Option<Positions>,
}

fn open(path: &Path, request: &OpenRequest) -> Result<Box<dyn FrameStream>> {
    let bad = |problem: String| Error::BadContainer {
        path: path.to_owned(),
        format: FORMAT.name,
        problem,
    };
    let file = PositionedFile::open(path)?;
    let fields = SeriesFields::parse(&file.start(SERIES_HEADER as usize)?)
        .ok_or_else(|| bad(format!("its header has 256 bytes, the file {}", file.len())))?;
    if !fields.is_credible() {
        return Err(bad(format!(
            "the header states {} bytes of header, version {}, {} x {} pixels of {} bits; 256 bytes, version 1 or 2 and 8 or 16 bits are read here",
            fields.size, fields.version, fields.n_rows, fields.n_cols, fields.bits
        )));
    }
    if fields.frame_header < LEAST_FRAME_HEADER {
        return Err(bad(format!(
            "frame headers are said to have {} bytes, at least {LEAST_FRAME_HEADER} are needed",
            fields.frame_header
        )));
    }
    let sample_type = if fields.bits == 8 {
        SampleType::U8
    } else {
        SampleType::U16
    };
    let (n_rows, n_cols) = (fields.n_rows as usize, fields.n_cols as usize);
    let frame_header = u64::from(fields.frame_header);
    // Both lengths are at most 65536.
    let frame_bytes = n_rows as u64 * n_cols as u64 * sample_type.n_bytes() as u64;
    let stride = frame_header + frame_bytes;
    let mut parts = vec![StridedFile::new(file, SERIES_HEADER.into(), stride)];
    if let Some(stem) = part_stem(path) {
        for number in 1..MOST_PARTS {
            let next = part(path, stem, number);
            if !next.is_file() {
                break;
            }
            parts.push(StridedFile::new(PositionedFile::open(&next)?, 0, stride));
        }
    }
    let n_parts = parts.len();
    let files = StridedFiles::new(parts);
    // Where a part that is not the last ends inside a frame, the frames behind it follow all the same.
    let cut = files.files()[..n_parts - 1]
        .iter()
        .find(|(_, file)| file.n_bytes_left() > 0)
        .map(|(_, file)| display_name(file.file().path()));
    let n_frames = files.n_records();
    if n_frames == 0 {
        return Err(bad(format!(
            "there is no whole frame: each needs {stride} bytes"
        )));
    }
    let positions = match request.frames.sync_offset {
        // A person who counts frames counts those of the camera.
        Some(_) => None,
        None => Positions::find(&files, frame_header)?,
    };
    let n_stream = positions
        .as_ref()
        .map_or(n_frames, |p| p.n_frames(n_frames));
    let mut header = StreamHeader::new(
        display_name(path),
        FORMAT.name,
        n_stream as usize,
        (n_rows, n_cols),
        sample_type,
    );
    let series = &mut header.series;
    if n_parts > 1 {
        series.format = format!("{}, {n_parts} parts", FORMAT.name);
    }
    series.frame_counts = vec![FrameCount::new(n_frames, "length of the files")];
    if fields.voltage_kv > 0 {
        let origin = "high tension of the header";
        series.voltage_kv = Some(Stated::new(fields.voltage_kv.into(), origin));
    }
    if let Some(cut) = cut {
        series.warnings.push(Warning::new(
            "W122",
            format!("{cut} ends inside a frame, though other parts follow; that frame is left out. Is the file complete?"),
        ));
    }
    if let Some(positions) = &positions {
        header.scan = positions.scan();
        positions.describe(n_frames, &mut header.series);
    }
    let recording = Recording {
        header,
        files,
        frame_header: fields.frame_header as usize,
        positions,
    };
    recording.with_temperature().map(|r| Box::new(r) as _)
}

impl Recording {
    /// The camera's number of a frame of the stream.
    fn recorded(&self, frame: u64) -> u64 {
        let positions = self.positions.as_ref();
        positions.map_or(frame, |positions| positions.recorded(frame))
    }

    fn field_u32(&self, frame: u64, at: u64) -> Result<Option<u32>> {
        let Some((file, record)) = self.files.find(self.recorded(frame)) else {
            return Ok(None);
        };
        Ok(Fields::little_endian(&file.part(record, at, 4)?).u32(0))
    }

    /// Takes the temperature of a heating holder from the first frame.
    fn with_temperature(mut self) -> Result<Self> {
        if (self.frame_header as u64) < HEATING_HEADER {
            return Ok(self);
        }
        let celsius = |at| -> Result<Option<f32>> {
            let value = self.field_u32(0, at)?.map(f32::from_bits);
            Ok(value.filter(|&value| value > 0.0 && value < HOTTEST_CELSIUS))
        };
        if let (Some(measured), Some(_set)) = (celsius(52)?, celsius(56)?) {
            let series = &mut self.header.series;
            series.temperature_k = Some(Stated::new(
                f64::from(measured) + ZERO_CELSIUS_K,
                "heating temperature of the first frame, taken as °C",
            ));
            series.warnings.push(Warning::new(
                "W121",
                format!("The frame headers state a heating temperature of {measured} without its unit. It is taken as °C, the unit of the holders' controllers; give data.temperature_k if it is another."),
            ));
        }
        Ok(self)
    }
}

impl FrameStream for Recording {
    fn header(&self) -> &StreamHeader {
        &self.header
    }

    fn read(&self, frames: Range<u64>, samples: &mut Samples, mut at: usize) -> Result<()> {
        let mut frame = frames.start;
        while frame < frames.end {
            // Frames that the camera recorded one after another are read at once.
            let first = self.recorded(frame);
            let mut n = 1;
            while frame + n < frames.end && self.recorded(frame + n) == first + n {
                n += 1;
            }
            self.files.for_each(first..first + n, |record| {
                let pattern = &record[self.frame_header..];
                copy_at(samples, at, pattern, false);
                at += pattern.len() / samples.sample_type().n_bytes();
                Ok(())
            })?;
            frame += n;
        }
        Ok(())
    }

    fn expect(&self, frames: Range<u64>) {
        if let Some(n) = frames.end.checked_sub(frames.start).filter(|&n| n > 0) {
            // Where frames were left out between them, that is a read too much, or too little.
            let first = self.recorded(frames.start);
            self.files.expect(first..first.saturating_add(n));
        }
    }

    fn stamp_ns(&self, frame: u64) -> Result<Option<i64>> {
        let seconds = self.field_u32(frame, 4)?.filter(|&seconds| seconds > 0);
        let ms = self.field_u32(frame, 8)?;
        Ok(seconds
            .zip(ms)
            .map(|(seconds, ms)| i64::from(seconds) * 1_000_000_000 + i64::from(ms) * 1_000_000))
    }

    fn sequence(&self, frame: u64) -> Result<Option<u64>> {
        match &self.positions {
            Some(positions) if positions.numbers_frames() => Ok(positions.sequence(frame)),
            _ => Ok(self.field_u32(frame, 0)?.map(u64::from)),
        }
    }
}
