//! How does a NanoMEGAS block file hold a scan?
//!
//! ```text
//! IMGBLO | header | virtual image | (AA 55 · number u32 · pattern u8 [side, side]) for each position, row by row
//! ```
//!
//! All numbers are little-endian. Frames have no times of their own, the file has one: a series is a folder of files. Patterns
//! are read as they are stored, first row first.

use std::ops::Range;
use std::path::{Path, PathBuf};

use halotau::series::{FrameCount, SampleType, Samples, Stated};

use super::{Format, Probe};
use crate::clock::unix_ns_of_seconds;
use crate::error::{Error, Result};
use crate::open::{OpenRequest, display_name};
use crate::positioned::PositionedFile;
use crate::sample_bytes::copy_at;
use crate::stream::strided::StridedFile;
use crate::stream::{FrameStream, ScanStatement, StreamHeader};

pub(crate) const FORMAT: Format = Format {
    name: "NanoMEGAS block file",
    recognize,
    open,
};

const MAGIC: &[u8] = b"IMGBLO";
/// Bytes of the fields that are read.
const HEADER_BYTES: usize = 64;
/// 1970-01-01 in days since 1899-12-30, from which the header counts.
const UNIX_EPOCH_DAYS: f64 = 25_569.0;
/// Bytes before each pattern.
const FRAME_HEADER_BYTES: u64 = 6;

fn recognize(probe: &Probe<'_>) -> Option<PathBuf> {
    probe
        .start
        .starts_with(MAGIC)
        .then(|| probe.path.to_owned())
}

struct BlockFile {
    header: StreamHeader,
    frames: StridedFile,
}

fn open(path: &Path, _request: &OpenRequest) -> Result<Box<dyn FrameStream>> {
    let bad = |problem: String| Error::BadContainer {
        path: path.to_owned(),
        format: FORMAT.name,
        problem,
    };
    let file = PositionedFile::open(path)?;
    let start = file.start(HEADER_BYTES)?;
    let Some(fields) = start.first_chunk::<HEADER_BYTES>() else {
        return Err(bad(format!(
            "the header has {HEADER_BYTES} bytes, the file {}",
            file.len()
        )));
    };
    let u16_at = |at: usize| u16::from_le_bytes([fields[at], fields[at + 1]]);
    let u32_at = |at: usize| u32::from(u16_at(at)) | u32::from(u16_at(at + 2)) << 16;
    let f64_at =
        |at: usize| f64::from_bits(u64::from(u32_at(at)) | u64::from(u32_at(at + 4)) << 32);
    let (side, n_cols, n_rows) = (u16_at(20), u16_at(24), u16_at(26));
    if side == 0 || n_cols == 0 || n_rows == 0 {
        return Err(bad(format!(
            "it states {n_rows} x {n_cols} positions of {side} x {side} patterns"
        )));
    }
    let data = u64::from(u32_at(12));
    if data < HEADER_BYTES as u64 || data > file.len() {
        return Err(bad(format!(
            "patterns are said to start at byte {data} of {}",
            file.len()
        )));
    }
    let frame_bytes = u64::from(side) * u64::from(side);
    let stated = u64::from(n_rows) * u64::from(n_cols);
    let frames = StridedFile::new(file, data, FRAME_HEADER_BYTES + frame_bytes);
    let by_length = frames.n_records();
    let frames = frames.at_most(stated);
    let side = usize::from(side);
    let mut header = StreamHeader::new(
        display_name(path),
        FORMAT.name,
        frames.n_records() as usize,
        (side, side),
        SampleType::U8,
    );
    header.scan = Some(ScanStatement::new(
        usize::from(n_rows),
        usize::from(n_cols),
        "NX and NY of the header",
    ));
    let series = &mut header.series;
    series.frame_counts = vec![
        FrameCount::new(stated, "NX times NY of the header"),
        FrameCount::new(by_length, "length of the file"),
    ];
    let step_nm = f64_at(30);
    if step_nm.is_finite() && step_nm > 0.0 {
        series.step_nm = Some(Stated::new(step_nm, "x step of the header"));
    }
    let voltage_kv = f64::from(u32_at(46)) / 1e3;
    if voltage_kv > 0.0 {
        series.voltage_kv = Some(Stated::new(voltage_kv, "voltage of the header"));
    }
    // A serial date in the time of the place. The zone is not stated, so times between files are right and the hour may not be.
    let days = f64_at(56);
    if days >= UNIX_EPOCH_DAYS {
        series.start_unix_ns = unix_ns_of_seconds((days - UNIX_EPOCH_DAYS) * 86_400.0);
    }
    Ok(Box::new(BlockFile { header, frames }))
}

impl FrameStream for BlockFile {
    fn header(&self) -> &StreamHeader {
        &self.header
    }

    fn read(&self, frames: Range<u64>, samples: &mut Samples, mut at: usize) -> Result<()> {
        self.frames.for_each(frames, |record| {
            let pattern = &record[FRAME_HEADER_BYTES as usize..];
            copy_at(samples, at, pattern, false);
            at += pattern.len();
            Ok(())
        })
    }

    fn expect(&self, frames: Range<u64>) {
        self.frames.expect(frames);
    }

    fn sequence(&self, frame: u64) -> Result<Option<u64>> {
        let number = self.frames.part(frame, 2, 4)?;
        let number = number.first_chunk().map(|bytes| u32::from_le_bytes(*bytes));
        Ok(number.map(u64::from))
    }
}
