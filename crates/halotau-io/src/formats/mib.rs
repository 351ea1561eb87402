//! How does a Merlin detector (Medipix3 chips, Quantum Detectors) record frames?
//!
//! ```text
//! MQ1,sequence,length,...,MQ1A,time,exposure,depth · padding · pixels | MQ1,... | ...
//! ```
//!
//! Every frame has a header of text and pixels of the same size. The scan is stated at most by a `.hdr` file beside. Patterns
//! are read as they are stored, first row first; frames of four chips that are stored raw are put together as the detector's own
//! program shows them.

mod header;
mod pixels;
mod sidecar;

use std::ops::Range;
use std::path::{Path, PathBuf};

use halotau::series::{FrameCount, Samples, Stated, Warning};

use self::header::{FIELDS_BYTES, FrameHeader, MOST_HEADER_BYTES};
use self::pixels::Pixels;
use self::sidecar::Sidecar;
use super::{Format, Probe};
use crate::error::{Error, Result};
use crate::open::{OpenRequest, display_name};
use crate::positioned::PositionedFile;
use crate::stream::concat::{ConcatStream, Order};
use crate::stream::strided::StridedFile;
use crate::stream::{FrameStream, StreamHeader};

pub(crate) const FORMAT: Format = Format {
    name: "Merlin MIB",
    recognize,
    open,
};

fn recognize(probe: &Probe<'_>) -> Option<PathBuf> {
    if probe.start.starts_with(header::MAGIC) {
        let sidecar = sidecar::beside(probe.path);
        // Of several files that are one recording, the sidecar is what they have in common.
        let of_set = sidecar.filter(|sidecar| sidecar.file_stem() != probe.path.file_stem());
        return Some(of_set.unwrap_or_else(|| probe.path.to_owned()));
    }
    if !probe.start.starts_with(sidecar::MAGIC) {
        return None;
    }
    sidecar::main_of(probe.path).or_else(|| {
        let set = sidecar::set_of(probe.path);
        (!set.is_empty()).then(|| probe.path.to_owned())
    })
}

fn bad(path: &Path, problem: String) -> Error {
    Error::BadContainer {
        path: path.to_owned(),
        format: FORMAT.name,
        problem,
    }
}

/// Opens one file, or all files of a sidecar.
fn open(path: &Path, request: &OpenRequest) -> Result<Box<dyn FrameStream>> {
    let file = PositionedFile::open(path)?;
    if file.start(sidecar::MAGIC.len())? == sidecar::MAGIC {
        return open_set(path, request);
    }
    Ok(Box::new(MibFile::open(file)?))
}

fn open_set(path: &Path, request: &OpenRequest) -> Result<Box<dyn FrameStream>> {
    let set = sidecar::set_of(path);
    let Some(first) = set.first() else {
        return Err(bad(
            path,
            "there is no .mib file of its name beside it".to_owned(),
        ));
    };
    let sidecar = Sidecar::beside(first)?.unwrap_or_default();
    let files = set.into_iter().map(|path| (path, &FORMAT)).collect();
    let mut stream = ConcatStream::new(files, display_name(path), request, Order::Recorded, None)?;
    let n_frames = stream.header().n_frames();
    count_frames(stream.header_mut(), &sidecar, n_frames);
    Ok(Box::new(stream))
}

/// Notes how many frames the sidecar states, and warns where there are others.
fn count_frames(header: &mut StreamHeader, sidecar: &Sidecar, n_frames: u64) {
    let Some(stated) = sidecar.n_frames else {
        return;
    };
    let series = &mut header.series;
    series.frame_counts.push(FrameCount::new(
        stated,
        "frames in acquisition of the .hdr file",
    ));
    // With two counters, a frame of the acquisition is two of the recording.
    if stated != n_frames && stated.saturating_mul(2) != n_frames {
        series.warnings.push(Warning::new(
            "W113",
            format!("The .hdr file states {stated} frames, the recording holds {n_frames} whole ones; these are read."),
        ));
    }
}

/// A `.mib` file.
struct MibFile {
    header: StreamHeader,
    frames: StridedFile,
    header_bytes: usize,
    pixels: Pixels,
    /// What the header of each frame must repeat.
    format_fields: Vec<u8>,
}

impl MibFile {
    fn open(file: PositionedFile) -> Result<Self> {
        let path = file.path().to_owned();
        let start = file.start(MOST_HEADER_BYTES)?;
        let fail = |problem| bad(&path, problem);
        let about = FrameHeader::parse(&start).map_err(fail)?;
        let Some(format_fields) = header::format_fields(&start) else {
            return Err(fail(
                "the header has no field of the sensor's layout".to_owned(),
            ));
        };
        let format_fields = format_fields.to_vec();
        let sidecar = Sidecar::beside(&path)?;
        let depth = sidecar.as_ref().and_then(|sidecar| sidecar.depth);
        let pixels = Pixels::of(&about, depth).map_err(fail)?;
        let stride = about.n_bytes as u64 + pixels.n_bytes as u64;
        let len = file.len();
        let frames = StridedFile::new(file, 0, stride);
        let by_length = frames.n_records();
        let n_frames = n_written(&frames)?;
        let frames = frames.at_most(n_frames);
        if n_frames == 0 {
            return Err(fail(format!("a frame has {stride} bytes, the file {len}")));
        }
        let mut header = StreamHeader::new(
            display_name(&path),
            FORMAT.name,
            n_frames as usize,
            (pixels.n_rows, pixels.n_cols),
            pixels.sample_type,
        );
        describe(&mut header, &about, &pixels, by_length);
        if let Some(sidecar) = sidecar {
            header.scan.clone_from(&sidecar.scan);
            if !sidecar.of_set {
                count_frames(&mut header, &sidecar, n_frames);
            }
        }
        let found = Self {
            header,
            frames,
            header_bytes: about.n_bytes,
            pixels,
            format_fields,
        };
        let last = found.part(n_frames - 1, found.header_bytes)?;
        found.check(n_frames - 1, &last)?;
        Ok(found)
    }

    /// The start of a frame's header.
    fn part(&self, frame: u64, n_bytes: usize) -> Result<Vec<u8>> {
        self.frames.part(frame, 0, n_bytes.min(self.header_bytes))
    }

    /// Whether a frame's header is one, and of the same format as the first.
    fn check(&self, frame: u64, header: &[u8]) -> Result<()> {
        let fields = header::format_fields(header);
        if fields == Some(&self.format_fields) {
            return Ok(());
        }
        let say = |fields: &[u8]| String::from_utf8_lossy(fields).into_owned();
        let found = fields.map_or_else(
            || "it does not begin with MQ1".to_owned(),
            |fields| format!("its header says {:?}", say(fields)),
        );
        Err(bad(
            self.frames.file().path(),
            format!(
                "frame {frame} differs from the first: {found}, the first frame's {:?}; all frames of a file must have one size and layout",
                say(&self.format_fields)
            ),
        ))
    }
}

/// Frames that begin with a header: a program that makes the file as long as it will be, and is stopped, leaves zeros.
fn n_written(frames: &StridedFile) -> Result<u64> {
    let is_blank = |frame: u64| Ok::<_, Error>(frames.part(frame, 0, 4)? == [0; 4]);
    let n_frames = frames.n_records();
    if n_frames == 0 || !is_blank(n_frames - 1)? {
        return Ok(n_frames);
    }
    // The first frame has a header, which was read.
    let (mut written, mut blank) = (0, n_frames - 1);
    while blank - written > 1 {
        let middle = written + (blank - written) / 2;
        if is_blank(middle)? {
            blank = middle;
        } else {
            written = middle;
        }
    }
    Ok(blank)
}

/// Fills in what the first frame's header says.
fn describe(header: &mut StreamHeader, about: &FrameHeader, pixels: &Pixels, by_length: u64) {
    let series = &mut header.series;
    let n_frames = series.shape.n_cols as u64;
    series.frame_counts = vec![FrameCount::new(by_length, "length of the file")];
    if by_length != n_frames {
        let count = FrameCount::new(n_frames, "headers in the file");
        series.frame_counts.push(count);
        series.warnings.push(Warning::new(
            "W113",
            format!("The file has room for {by_length} frames, but only {n_frames} were written; these are read."),
        ));
    }
    if let Some(ms) = about.exposure_ms {
        series.dwell_ms = Some(Stated::new(ms, "exposure of the first frame's header"));
    }
    if about.stamp.is_some_and(|stamp| !stamp.is_utc) {
        series.warnings.push(Warning::new(
            "W112",
            "The time stamps name no time zone and are taken for UTC; their differences are right.",
        ));
    }
    if pixels.is_raw_row(about.n_chips) {
        series.warnings.push(Warning::new(
            "W114",
            format!(
                "The {} chips of this raw recording are taken side by side as they are stored; compare with a processed recording, and turn with data.frames.pattern.",
                about.n_chips
            ),
        ));
    }
}

impl FrameStream for MibFile {
    fn header(&self) -> &StreamHeader {
        &self.header
    }

    fn read(&self, frames: Range<u64>, samples: &mut Samples, mut at: usize) -> Result<()> {
        let mut frame = frames.start;
        let mut stored = Samples::empty(self.pixels.sample_type);
        self.frames.for_each(frames, |record| {
            let (header, bytes) = record.split_at(self.header_bytes);
            self.check(frame, header)?;
            self.pixels.decode(bytes, samples, at, &mut stored);
            at += self.pixels.n_rows * self.pixels.n_cols;
            frame += 1;
            Ok(())
        })
    }

    fn expect(&self, frames: Range<u64>) {
        self.frames.expect(frames);
    }

    fn stamp_ns(&self, frame: u64) -> Result<Option<i64>> {
        let header = self.part(frame, self.header_bytes)?;
        let about = FrameHeader::parse(&header).ok();
        Ok(about.and_then(|about| about.stamp).map(|stamp| stamp.ns))
    }

    fn sequence(&self, frame: u64) -> Result<Option<u64>> {
        Ok(header::sequence(&self.part(frame, FIELDS_BYTES)?))
    }

    fn counter(&self, frame: u64) -> Result<Option<u64>> {
        Ok(header::counter(&self.part(frame, FIELDS_BYTES)?))
    }
}
