//! How do StreamPix files (.seq) of the cameras of Direct Electron hold frames?
//!
//! A file is a recording of frames; which scan they are is not in it. A camera whose sensor is split writes a file for each
//! half, whose records hold `p` half frames, one below the other:
//!
//! ```text
//! frame = top half, its last row first
//!         bottom half
//! ```
//!
//! Dark and gain references lie beside. Frames are read as they are stored unless the person asks for
//! `(stored - dark) · gain`. The first row of a frame is the first that is read.

mod recording;
mod sidecars;

use std::ops::Range;
use std::path::{Path, PathBuf};

use halotau::recipe::Corrections;
use halotau::series::{Samples, SeriesHeader, Stated, Warning};

use self::recording::Recording;
use self::sidecars::{Acquisition, Config};
use super::{Format, Probe};
use crate::error::{Error, Result};
use crate::open::{OpenRequest, display_name};
use crate::positioned::PositionedFile;
use crate::sample_bytes::copy_at;
use crate::stream::corrected::CorrectedStream;
use crate::stream::{FrameStream, StreamHeader};

pub(crate) const FORMAT: Format = Format {
    name: "StreamPix sequence",
    recognize,
    open,
};

fn recognize(probe: &Probe<'_>) -> Option<PathBuf> {
    if recording::is_seq(probe.start) {
        return Some(Acquisition::of(probe.path).main);
    }
    // References are MRC files, and a person who names one wants to see it.
    let is_reference = probe.path.extension().is_some_and(|ending| ending == "mrc");
    if is_reference && probe.named {
        return None;
    }
    sidecars::main_of_sidecar(probe.path)
}

/// Frames of one file, or stitched from two.
struct SeqStream {
    header: StreamHeader,
    main: Recording,
    /// The other half of the sensor, and how many half frames each record holds.
    bottom: Option<(Recording, u64)>,
}

fn open(path: &Path, request: &OpenRequest) -> Result<Box<dyn FrameStream>> {
    let acquisition = Acquisition::of(path);
    let config = acquisition.config()?;
    let main = Recording::open(PositionedFile::open(&acquisition.main)?)?;
    let stream = match &acquisition.bottom {
        Some(bottom) => {
            let bottom = Recording::open(PositionedFile::open(bottom)?)?;
            SeqStream::of_halves(path, main, bottom, config.as_ref())?
        }
        None => SeqStream::of_one(path, main)?,
    };
    let mut stream = stream;
    let series = &mut stream.header.series;
    note(series, config.as_ref(), &stream.main);
    if acquisition.is_half {
        series.warnings.push(Warning::new(
            "W119",
            "The file is one half of a split sensor, and the other half is not beside it; the frames are half frames, as they are stored.",
        ));
    }
    let n_lost = acquisition.n_lost()?;
    if n_lost > 0 {
        series.warnings.push(Warning::new(
            "W119",
            format!("Missing_Frame_Info.txt lists {n_lost} frames as lost; the frames that there are are read one after another, so that later ones may belong to earlier positions."),
        ));
    }
    correct(stream, &acquisition, request)
}

/// What configuration and header say besides.
fn note(series: &mut SeriesHeader, config: Option<&Config>, main: &Recording) {
    if let Some(rate_hz) = main.rate_hz {
        series.dwell_ms = Some(Stated::new(1e3 / rate_hz, "frame rate of the header"));
    }
    if main.is_burst() {
        series.warnings.push(Warning::new(
            "W119",
            "All frames have the same time stamp, that of their transfer; their times are taken from the frame rate of the header.",
        ));
    }
    let Some(config) = config else { return };
    if let Some(voltage_kv) = config.voltage_kv {
        series.voltage_kv = Some(Stated::new(voltage_kv, "HT of Config.Metadata.xml"));
    }
    if config.n_defects > 0 {
        series.warnings.push(Warning::new(
            "W119",
            format!(
                "Config.Metadata.xml lists {} bad rows, columns or pixels of the whole sensor; they are not masked here.",
                config.n_defects
            ),
        ));
    }
}

/// Applies the references, or says that they are there.
fn correct(
    mut stream: SeqStream,
    acquisition: &Acquisition,
    request: &OpenRequest,
) -> Result<Box<dyn FrameStream>> {
    let (dark, gain) = (acquisition.dark(), acquisition.gain());
    let names: Vec<String> = [&dark, &gain]
        .into_iter()
        .flatten()
        .map(|path| display_name(path))
        .collect();
    match request.frames.corrections {
        Some(Corrections::Apply) => {
            if names.is_empty() {
                return Err(Error::BadContainer {
                    path: acquisition.main.clone(),
                    format: FORMAT.name,
                    problem: "corrections were asked for, but there is no NAME.seq.dark.mrc or NAME.seq.gain.mrc beside it".to_owned(),
                });
            }
            let shape = stream.header.series.shape;
            let size = (shape.pattern_rows, shape.pattern_cols);
            let references = sidecars::references(dark.as_deref(), gain.as_deref(), size)?;
            if names.len() == 1 {
                stream.header.series.warnings.push(Warning::new(
                    "W117",
                    format!("Only one reference was found and applied: {}.", names[0]),
                ));
            }
            Ok(Box::new(CorrectedStream::new(Box::new(stream), references)))
        }
        Some(Corrections::None) => Ok(Box::new(stream)),
        None => {
            if !names.is_empty() {
                stream.header.series.warnings.push(Warning::new(
                    "W117",
                    format!(
                        "References lie beside ({}), and frames are read as they are stored; data.frames.corrections = \"apply\" gives (stored - dark) * gain, \"none\" silences this.",
                        names.join(", ")
                    ),
                ));
            }
            Ok(Box::new(stream))
        }
    }
}

impl SeqStream {
    fn of_one(path: &Path, main: Recording) -> Result<Self> {
        let header = header(path, &main, main.frames.n_records(), main.n_rows)?;
        Ok(Self {
            header,
            main,
            bottom: None,
        })
    }

    fn of_halves(
        path: &Path,
        top: Recording,
        bottom: Recording,
        config: Option<&Config>,
    ) -> Result<Self> {
        let bad = |problem: String| Error::BadContainer {
            path: path.to_owned(),
            format: FORMAT.name,
            problem,
        };
        let say = |half: &Recording| {
            format!(
                "{} x {} pixels of {}",
                half.n_rows, half.n_cols, half.sample_type
            )
        };
        if say(&top) != say(&bottom) {
            return Err(bad(format!(
                "the top half has {}, the bottom half {}",
                say(&top),
                say(&bottom)
            )));
        }
        // The configuration may be lost; then the rows of a whole frame, or one half frame a record.
        let by_rows = config
            .and_then(|config| config.n_rows)
            .map(|n_rows| 2 * top.n_rows / n_rows.max(1));
        let stated = config.and_then(|config| config.prebuffer);
        let per_record = stated.or(by_rows).unwrap_or(1).max(1);
        if !top.n_rows.is_multiple_of(per_record) {
            return Err(bad(format!(
                "records of {} rows cannot hold {per_record} half frames",
                top.n_rows
            )));
        }
        let (n_top, n_bottom) = (top.frames.n_records(), bottom.frames.n_records());
        let n_records = n_top.min(n_bottom);
        let half_rows = top.n_rows / per_record;
        let n_frames = n_records.saturating_mul(per_record);
        let mut header = header(path, &top, n_frames, 2 * half_rows)?;
        let warnings = &mut header.series.warnings;
        if n_top != n_bottom {
            warnings.push(Warning::new(
                "W119",
                format!("The top half has {n_top} records, the bottom half {n_bottom}; as many as both have are read."),
            ));
        }
        if stated.is_none() || by_rows.is_some_and(|by_rows| by_rows != per_record) {
            warnings.push(Warning::new(
                "W119",
                format!("SegmentPreBuffer of Config.Metadata.xml is missing or does not fit ImageSizeY; each record is taken for {per_record} half frames."),
            ));
        }
        for count in &mut header.series.frame_counts {
            count.n_frames = count.n_frames.saturating_mul(per_record);
            count.origin = format!("{} of the top half", count.origin);
        }
        Ok(Self {
            header,
            main: top,
            bottom: Some((bottom, per_record)),
        })
    }

    /// Decodes the half frames of one half into their rows of the frames.
    fn read_half(
        &self,
        half: &Recording,
        is_top: bool,
        per_record: u64,
        frames: &Range<u64>,
        samples: &mut Samples,
        at: usize,
    ) -> Result<()> {
        let shape = self.header.series.shape;
        let row_bytes = shape.pattern_cols * self.header.series.sample_type.n_bytes();
        let n_rows = shape.pattern_rows / 2;
        let records = frames.start / per_record..frames.end.div_ceil(per_record);
        let mut frame = records.start * per_record;
        half.for_each(records, |record| {
            for stored in record.chunks_exact(n_rows * row_bytes) {
                if frames.contains(&frame) {
                    let first = at + (frame - frames.start) as usize * shape.frame_len();
                    for (row, bytes) in stored.chunks_exact(row_bytes).enumerate() {
                        let row = if is_top {
                            n_rows - 1 - row
                        } else {
                            n_rows + row
                        };
                        copy_at(samples, first + row * shape.pattern_cols, bytes, false);
                    }
                }
                frame += 1;
            }
            Ok(())
        })
    }
}

/// A header of so many frames of so many rows.
fn header(path: &Path, main: &Recording, n_frames: u64, n_rows: u64) -> Result<StreamHeader> {
    let lens = [n_frames, n_rows, main.n_cols].map(usize::try_from);
    let [Ok(n_frames), Ok(n_rows), Ok(n_cols)] = lens else {
        return Err(Error::BadContainer {
            path: path.to_owned(),
            format: FORMAT.name,
            problem: "an axis is longer than this computer can count".to_owned(),
        });
    };
    let mut header = StreamHeader::new(
        display_name(path),
        FORMAT.name,
        n_frames,
        (n_rows, n_cols),
        main.sample_type,
    );
    header.series.frame_counts.clone_from(&main.frame_counts);
    Ok(header)
}

impl FrameStream for SeqStream {
    fn header(&self) -> &StreamHeader {
        &self.header
    }

    fn read(&self, frames: Range<u64>, samples: &mut Samples, mut at: usize) -> Result<()> {
        if let Some((bottom, per_record)) = &self.bottom {
            self.read_half(&self.main, true, *per_record, &frames, samples, at)?;
            return self.read_half(bottom, false, *per_record, &frames, samples, at);
        }
        let frame_len = self.header.series.shape.frame_len();
        self.main.for_each(frames, |frame| {
            copy_at(samples, at, frame, false);
            at += frame_len;
            Ok(())
        })
    }

    fn expect(&self, frames: Range<u64>) {
        if self.bottom.is_none() {
            self.main.frames.expect(frames);
        }
    }

    fn stamp_ns(&self, frame: u64) -> Result<Option<i64>> {
        let Some((_, per_record)) = &self.bottom else {
            return self.main.stamp_ns(frame);
        };
        let (record, within) = (frame / per_record, frame % per_record);
        let Some(start) = self.main.stamp_ns(record)? else {
            return Ok(None);
        };
        if within == 0 {
            return Ok(Some(start));
        }
        // A record is stamped once; its half frames follow each other evenly until the next record.
        let (before, after) = if record + 1 < self.main.frames.n_records() {
            (record, record + 1)
        } else {
            (record.saturating_sub(1), record)
        };
        let ends = (self.main.stamp_ns(before)?, self.main.stamp_ns(after)?);
        let (Some(before), Some(after)) = ends else {
            return Ok(None);
        };
        let step = after.saturating_sub(before) as f64 / *per_record as f64;
        Ok(Some(start.saturating_add((within as f64 * step) as i64)))
    }
}
