//! How does a JEOL 4DCanvas camera (PNDetector pnCCD) record frames?
//!
//! ```text
//! file  = header (1024 bytes) | (header (64 bytes) · H rows of W u16) for each frame
//! ```
//!
//! All numbers are little-endian. The two halves of the detector are read out away from each other and stored side by side, so a
//! stored row of `W = 2 w` pixels is one of the upper half and, backward, one of the lower half:
//!
//! ```text
//! pattern[y][x] = stored[y][x]                  y < H
//! pattern[y][x] = stored[2H - 1 - y][W - 1 - x]      y ≥ H,  x < w
//! ```
//!
//! Values are `(stored - dark) · gain`, where the dark is the mean of the frames of the file with number 0.

mod gain;
mod matlab;
mod sidecar;
mod unfold;

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock, PoisonError};

use halotau::recipe::{BinnedRows, Corrections};
use halotau::series::{FrameCount, SampleType, Samples, SeriesHeader, Stated, Warning};

use self::gain::GainMap;
use self::sidecar::{Acquisition, Sidecar};
use self::unfold::{Geometry, correct, unfold};
use super::{Format, Probe};
use crate::error::{Error, Result};
use crate::open::{OpenRequest, display_name};
use crate::positioned::PositionedFile;
use crate::stream::strided::{StridedFile, StridedFiles};
use crate::stream::{Certainty, FrameStream, ScanStatement, StreamHeader};

pub(crate) const FORMAT: Format = Format {
    name: "FRMS6 (JEOL 4DCanvas)",
    recognize,
    open,
};

const FILE_HEADER_BYTES: usize = 1024;
const FRAME_HEADER_BYTES: usize = 64;
const VERSION: u8 = 6;

fn recognize(probe: &Probe<'_>) -> Option<PathBuf> {
    let is_frames = FileHeader::parse(probe.start).is_some();
    if !is_frames && !sidecar::names_section(probe.start) {
        return None;
    }
    let acquisition = Acquisition::of(probe.path);
    match acquisition.main() {
        Some(main) => Some(main.to_owned()),
        // The dark frames alone, or a file whose name is not the camera's, are read as what they are.
        None => is_frames.then(|| probe.path.to_owned()),
    }
}

fn bad(path: &Path, problem: String) -> Error {
    Error::BadContainer {
        path: path.to_owned(),
        format: FORMAT.name,
        problem,
    }
}

/// Header of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct FileHeader {
    width: usize,
    height: usize,
    /// 0 where an older program wrote it.
    n_frames: u32,
}

impl FileHeader {
    fn parse(bytes: &[u8]) -> Option<Self> {
        let bytes = bytes.first_chunk::<FILE_HEADER_BYTES>()?;
        let u16_at = |at: usize| u16::from_le_bytes([bytes[at], bytes[at + 1]]);
        let lens = (usize::from(u16_at(0)), usize::from(u16_at(2)));
        if lens != (FILE_HEADER_BYTES, FRAME_HEADER_BYTES) || bytes[7] != VERSION {
            return None;
        }
        // The fields of 8 bits are older.
        let either = |true_at: usize, old_at: usize| match u16_at(true_at) {
            0 => usize::from(bytes[old_at]),
            n => usize::from(n),
        };
        Some(Self {
            width: either(88, 5),
            height: either(90, 6),
            n_frames: u32::from(u16_at(1020)) | u32::from(u16_at(1022)) << 16,
        })
    }
}

/// Opens a file of frames: those of the header's size, or of the height that the first frame states where only that fits.
fn open_frames(path: &Path) -> Result<(FileHeader, StridedFile)> {
    let file = PositionedFile::open(path)?;
    let start = file.start(FILE_HEADER_BYTES + FRAME_HEADER_BYTES)?;
    let Some(mut header) = FileHeader::parse(&start) else {
        return Err(bad(
            path,
            "the file header does not state lengths of 1024 and 64 bytes and version 6".to_owned(),
        ));
    };
    if header.width == 0 || !header.width.is_multiple_of(2) || header.height == 0 {
        return Err(bad(
            path,
            format!(
                "it states {} rows of {} pixels; a row holds two halves",
                header.height, header.width
            ),
        ));
    }
    let stride = |height: usize| FRAME_HEADER_BYTES as u64 + 2 * (height * header.width) as u64;
    let data = file.len() - FILE_HEADER_BYTES as u64;
    let lines = start
        .get(FILE_HEADER_BYTES + 26..FILE_HEADER_BYTES + 28)
        .and_then(|bytes| bytes.first_chunk())
        .map_or(0, |bytes| usize::from(u16::from_le_bytes(*bytes)));
    let is_window = (1..header.height).contains(&lines)
        && !data.is_multiple_of(stride(header.height))
        && data.is_multiple_of(stride(lines));
    if is_window {
        header.height = lines;
    }
    let stride = stride(header.height);
    Ok((
        header,
        StridedFile::new(file, FILE_HEADER_BYTES as u64, stride),
    ))
}

/// The dark frames of an acquisition, and their mean once it is needed.
struct Dark {
    frames: StridedFile,
    mean: OnceLock<Vec<f32>>,
    /// Held while the mean is computed, so that it is computed once.
    computing: Mutex<()>,
}

impl Dark {
    fn mean(&self, geometry: &Geometry) -> Result<&[f32]> {
        if let Some(mean) = self.mean.get() {
            return Ok(mean);
        }
        let _alone = self
            .computing
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if self.mean.get().is_none() {
            let n_frames = self.frames.n_records();
            let mut sums = vec![0_u64; geometry.n_rows * geometry.n_cols];
            self.frames.for_each(0..n_frames, |record| {
                let (pixels, _) = record[FRAME_HEADER_BYTES..].as_chunks::<2>();
                for (sum, pixel) in sums.iter_mut().zip(pixels) {
                    *sum += u64::from(u16::from_le_bytes(*pixel));
                }
                Ok(())
            })?;
            let stored: Vec<f32> = sums
                .iter()
                .map(|&sum| (sum as f64 / n_frames as f64) as f32)
                .collect();
            let mut mean = vec![0.0; stored.len()];
            let unrepeated = Geometry {
                repeat: 1,
                ..*geometry
            };
            unfold(&stored, &mut mean, &unrepeated);
            // Nobody else sets it while the lock is held.
            let _ = self.mean.set(mean);
        }
        Ok(self.mean.get().map_or(&[], Vec::as_slice))
    }
}

/// An acquisition.
struct Recording {
    header: StreamHeader,
    frames: StridedFiles,
    geometry: Geometry,
    dark: Option<Dark>,
    gain: Option<GainMap>,
}

fn open(path: &Path, request: &OpenRequest) -> Result<Box<dyn FrameStream>> {
    let mut acquisition = Acquisition::of(path);
    if acquisition.signal.is_empty() {
        acquisition.signal.push((1, path.to_owned()));
        acquisition.dark = None;
    }
    let about = match &acquisition.sidecar {
        Some(sidecar) => Sidecar::read(sidecar)?.map_err(|problem| bad(sidecar, problem))?,
        None => Sidecar::default(),
    };
    let signal = Signal::open(&acquisition)?;
    let bin = about.bin.unwrap_or(1);
    let geometry = Geometry {
        stored_rows: signal.first.height,
        n_rows: 2 * signal.first.height,
        n_cols: signal.first.width / 2,
        bin,
        repeat: match request.frames.binned_rows {
            BinnedRows::Repeat => bin,
            BinnedRows::Keep => 1,
        },
    };
    let corrections = request.frames.corrections;
    let (mut dark, mut gain) = (None, None);
    if corrections != Some(Corrections::None) {
        dark = acquisition
            .dark
            .as_deref()
            .map(|path| open_dark(path, signal.first))
            .transpose()?;
        gain = gain::beside(&acquisition.base, &geometry)?;
        if dark.is_none() && corrections == Some(Corrections::Apply) {
            return Err(bad(
                path,
                "there is no file _000.frms6 of dark frames beside it; leave data.frames.corrections out to read without"
                    .to_owned(),
            ));
        }
    }
    let is_corrected = dark.is_some() || gain.is_some();
    let mut header = StreamHeader::new(
        display_name(path),
        match &dark {
            Some(_) => format!("{}, dark subtracted", FORMAT.name),
            None => FORMAT.name.to_owned(),
        },
        signal.frames.n_records() as usize,
        (geometry.n_rows * geometry.repeat, geometry.n_cols),
        if is_corrected {
            SampleType::F32
        } else {
            SampleType::U16
        },
    );
    let wants_dark = corrections != Some(Corrections::None);
    describe(
        &mut header.series,
        &geometry,
        gain.as_ref(),
        wants_dark && dark.is_none(),
    );
    count_frames(&mut header.series, &acquisition, &signal, &about);
    header.scan = about.scan.map(|(rows, cols)| ScanStatement {
        certainty: Certainty::OrderUnsure,
        ..ScanStatement::new(rows, cols, "stemimagesize of the .hdr file")
    });
    if let Some(us) = about.dwell_us {
        header.series.dwell_ms = Some(Stated::new(
            us / 1e3,
            "dwelltimemicroseconds of the .hdr file",
        ));
    }
    Ok(Box::new(Recording {
        header,
        frames: signal.frames,
        geometry,
        dark,
        gain,
    }))
}

/// The files of the signal.
struct Signal {
    first: FileHeader,
    frames: StridedFiles,
    /// Frames that the headers state together, where all do.
    stated: Option<u64>,
    /// Whole frames by the lengths of the files.
    by_length: u64,
}

impl Signal {
    fn open(acquisition: &Acquisition) -> Result<Self> {
        let mut first: Option<(FileHeader, &Path)> = None;
        let mut files = Vec::with_capacity(acquisition.signal.len());
        let (mut stated, mut by_length) = (Some(0_u64), 0_u64);
        for (_, path) in &acquisition.signal {
            let (header, frames) = open_frames(path)?;
            match first {
                None => first = Some((header, path)),
                Some((first, first_path)) => check_same(first, first_path, header, path)?,
            }
            by_length = by_length.saturating_add(frames.n_records());
            stated = stated
                .filter(|_| header.n_frames > 0)
                .map(|sum| sum + u64::from(header.n_frames));
            files.push(match header.n_frames {
                0 => frames,
                n => frames.at_most(u64::from(n)),
            });
        }
        let frames = StridedFiles::new(files);
        match first {
            Some((first, _)) if frames.n_records() > 0 => Ok(Self {
                first,
                frames,
                stated,
                by_length,
            }),
            _ => Err(bad(
                &acquisition.base,
                "its files hold no whole frame".to_owned(),
            )),
        }
    }
}

fn check_same(first: FileHeader, first_path: &Path, found: FileHeader, path: &Path) -> Result<()> {
    if (first.width, first.height) == (found.width, found.height) {
        return Ok(());
    }
    let say = |header: FileHeader| format!("{} rows of {} pixels", header.height, header.width);
    Err(Error::FilesDiffer {
        path: path.to_owned(),
        first: first_path.to_owned(),
        found: say(found),
        expected: say(first),
    })
}

fn open_dark(path: &Path, first: FileHeader) -> Result<Dark> {
    let (header, frames) = open_frames(path)?;
    let frames = match header.n_frames {
        0 => frames,
        n => frames.at_most(u64::from(n)),
    };
    let problem = if (header.width, header.height) != (first.width, first.height) {
        format!(
            "the dark frames have {} rows of {} pixels, the others {} of {}",
            header.height, header.width, first.height, first.width
        )
    } else if frames.n_records() == 0 {
        "it holds no whole dark frame".to_owned()
    } else {
        return Ok(Dark {
            frames,
            mean: OnceLock::new(),
            computing: Mutex::new(()),
        });
    };
    Err(bad(
        path,
        format!("{problem}; data.frames.corrections = \"none\" reads without it"),
    ))
}

/// Says what is done to the values.
fn describe(
    series: &mut SeriesHeader,
    geometry: &Geometry,
    gain: Option<&GainMap>,
    lacks_dark: bool,
) {
    let Geometry { bin, repeat, .. } = *geometry;
    let mut done = Vec::new();
    if repeat > 1 {
        done.push(format!(
            "The camera summed {bin} rows to one; each is repeated {bin} times, so that pixels are square (values are not divided). data.frames.binned_rows = \"keep\" leaves them as they are."
        ));
    } else if bin > 1 {
        done.push(format!(
            "The camera summed {bin} rows to one, so pixels are {bin} times as high as wide, and rings are ellipses."
        ));
    }
    if let Some(gain) = gain {
        done.push(format!(
            "The gain map {} is applied.",
            display_name(&gain.path)
        ));
    }
    if lacks_dark {
        done.push("There is no file _000.frms6 of dark frames, so none are subtracted.".to_owned());
    }
    let warnings = done.into_iter().map(|text| Warning::new("W114", text));
    series.warnings.extend(warnings);
}

/// Notes who states how many frames, and warns where they do not agree.
fn count_frames(
    series: &mut SeriesHeader,
    acquisition: &Acquisition,
    signal: &Signal,
    about: &Sidecar,
) {
    let n_frames = signal.frames.n_records();
    let counts = [
        (Some(signal.by_length), "length of the files"),
        (signal.stated, "headers of the files"),
        (about.signal_frames, "signalframes of the .hdr file"),
    ];
    let mut differ = Vec::new();
    for (count, origin) in counts {
        let Some(count) = count else { continue };
        series.frame_counts.push(FrameCount::new(count, origin));
        if count != n_frames {
            differ.push(format!("{count} by the {origin}"));
        }
    }
    if !differ.is_empty() {
        series.warnings.push(Warning::new(
            "W113",
            format!(
                "{n_frames} whole frames are read, but there should be {}.",
                differ.join(", ")
            ),
        ));
    }
    if let Some(number) = acquisition.number_left_out() {
        series.warnings.push(Warning::new(
            "W113",
            format!("File number {number} of the acquisition is not there; the files are read one after another."),
        ));
    }
}

impl Recording {
    /// A number of a frame's header.
    fn u32_at(&self, frame: u64, at: u64) -> Result<Option<u32>> {
        let Some((file, record)) = self.frames.find(frame) else {
            return Ok(None);
        };
        let bytes = file.part(record, at, 4)?;
        Ok(bytes.first_chunk().map(|bytes| u32::from_le_bytes(*bytes)))
    }
}

impl FrameStream for Recording {
    fn header(&self) -> &StreamHeader {
        &self.header
    }

    fn read(&self, frames: Range<u64>, samples: &mut Samples, mut at: usize) -> Result<()> {
        let geometry = &self.geometry;
        let dark = self
            .dark
            .as_ref()
            .map(|dark| dark.mean(geometry))
            .transpose()?;
        let gain = self.gain.as_ref().map(|gain| gain.values.as_slice());
        let len = self.header.series.shape.frame_len();
        let mut stored = vec![0_u16; geometry.n_rows * geometry.n_cols];
        self.frames.for_each(frames, |record| {
            let (pixels, _) = record[FRAME_HEADER_BYTES..].as_chunks::<2>();
            for (to, bytes) in stored.iter_mut().zip(pixels) {
                *to = u16::from_le_bytes(*bytes);
            }
            match samples {
                Samples::U16(samples) => unfold(&stored, &mut samples[at..at + len], geometry),
                Samples::F32(samples) => {
                    correct(&stored, dark, gain, &mut samples[at..at + len], geometry);
                }
                _ => unreachable!("the header states u16 or f32"),
            }
            at += len;
            Ok(())
        })
    }

    fn expect(&self, frames: Range<u64>) {
        self.frames.expect(frames);
    }

    fn stamp_ns(&self, frame: u64) -> Result<Option<i64>> {
        let (Some(s), Some(us)) = (self.u32_at(frame, 4)?, self.u32_at(frame, 8)?) else {
            return Ok(None);
        };
        let ns = i64::from(s) * 1_000_000_000 + i64::from(us) * 1000;
        Ok((ns > 0).then_some(ns))
    }

    fn sequence(&self, frame: u64) -> Result<Option<u64>> {
        Ok(self.u32_at(frame, 12)?.map(u64::from))
    }
}
