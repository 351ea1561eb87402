//! How do DigitalMicrograph files (.dm3, .dm4) and in-situ recordings (.raw beside them) hold a scan?
//!
//! ```text
//! frames one after another:   (kx, ky, x, y) and (kx, ky, x, y, time), fastest axis first; "Data Order Swapped" is 1
//! scan fastest (older files): (x, y, kx, ky): each detector pixel is an image of the scan
//! in-situ:                    one scan after another in NAME.raw, NAME.raw_1, ...; NAME.dm4 or NAME.dm5 describes one
//! ```
//!
//! Frames and scans are read as they are stored, first row first. An image is one frame, a stack of images a recording of
//! frames; where the stack's axis is a time, each is a time of its own unless a shape says otherwise.

mod director;
mod image;
mod insitu;
mod scan_fastest;
mod stamp;
mod tags;

use std::ops::Range;
use std::path::{Path, PathBuf};

use halotau::axes::wavelength_nm;
use halotau::series::{FrameCount, Samples, SeriesHeader, Stated, Warning};

use self::image::Image;
use self::insitu::Parts;
use self::scan_fastest::ScanFastest;
use self::tags::{Group, TagTree};
use super::{Format, Probe};
use crate::error::{Error, Result};
use crate::number_type::NumberType;
use crate::open::{OpenRequest, display_name};
use crate::positioned::PositionedFile;
use crate::sample_bytes::copy_at;
use crate::stream::strided::StridedFile;
use crate::stream::{FrameStream, ScanStatement, StreamHeader};

pub(crate) const FORMAT: Format = Format {
    name: "DigitalMicrograph file",
    recognize,
    open,
};

/// Bytes that tell the format.
const PROBE_BYTES: usize = 32;

fn recognize(probe: &Probe<'_>) -> Option<PathBuf> {
    if tags::is_dm(probe.start) {
        return Some(probe.path.to_owned());
    }
    insitu::director_of(probe.path, probe.start)
}

fn open(path: &Path, request: &OpenRequest) -> Result<Box<dyn FrameStream>> {
    let file = PositionedFile::open(path)?;
    let tags = if tags::is_dm(&file.start(PROBE_BYTES)?) {
        TagTree::read(&file)?
    } else {
        director::read(path)?
    };
    let image = Image::choose(path, &tags, request.dataset.as_deref())?;
    let parts = Parts::beside(path)?;
    let n_slices = image
        .tags()
        .and_then(|tags| tags.count("In-situ.Recorded.# Frames"));
    let frames = Frames::of(path, &image, false)?;
    // A director in HDF5 comes here only because there are parts.
    let is_hdf5 = tags.version == director::VERSION;
    let opener = |frames| Opener {
        path,
        request,
        tags: &tags,
        image: &image,
        frames,
    };
    match parts {
        // A file of this ending may be an export of the image itself; then it holds one scan of the same numbers.
        Some(parts) if is_hdf5 || n_slices.is_some() || parts.hold_whole(frames.n_bytes()) => {
            let frames = Frames::of(path, &image, true)?;
            opener(frames).open_parts(parts, n_slices)
        }
        _ => opener(frames).open_image(file),
    }
}

/// Lengths of an image's axes.
#[derive(Debug, Clone, Copy)]
struct Frames {
    pixel: NumberType,
    pattern_rows: u64,
    pattern_cols: u64,
    frame_bytes: u64,
    /// Frames of the image.
    n_frames: u64,
    /// Whether the scan's axes come before the pattern's.
    scan_fastest: bool,
}

impl Frames {
    /// Tells which axes are which, and refuses what holds no frames.
    ///
    /// Recordings in parts are written as the camera gives the frames, whatever the image in the director.
    fn of(path: &Path, image: &Image<'_>, in_parts: bool) -> Result<Self> {
        let bad = |problem: String| Error::BadContainer {
            path: path.to_owned(),
            format: FORMAT.name,
            problem,
        };
        let data_type = image.group.count("ImageData.DataType").unwrap_or(0);
        let pixel = image::number_type(data_type).map_err(|found| Error::SampleType {
            what: format!("{}, image {}", path.display(), image.index),
            found: format!("{found} (DataType {data_type})"),
        })?;
        let pixel_bytes = pixel.n_bytes() as u64;
        let dims = image.dims.as_slice();
        let meta = image.tags().and_then(|tags| tags.group("Meta Data"));
        let kind = meta.and_then(|meta| meta.text("Format")).unwrap_or("");
        let axes = (0..dims.len()).filter_map(|axis| image.calibration(axis));
        if kind.to_lowercase().starts_with("spectrum") || axes.clone().any(|axis| axis.is_energy())
        {
            return Err(bad(format!(
                "image {} holds spectra, not diffraction patterns",
                image.index
            )));
        }
        let swapped = meta.and_then(|meta| meta.number("Data Order Swapped"));
        let scan_fastest = match (dims.len(), swapped) {
            (0 | 1, _) => {
                return Err(bad(format!(
                    "image {} has {} axes; a frame has 2, a scan of frames 4",
                    image.index,
                    dims.len()
                )));
            }
            (2 | 3, _) => false,
            (4 | 5, _) if in_parts => false,
            (4, Some(swapped)) => swapped == 0.0,
            // Without the tag, the units tell; without units, the file is one of the programs that wrote none.
            (4, None) => {
                let is_reciprocal = |axis| image.calibration(axis).map(|c| c.is_reciprocal());
                !matches!(
                    (is_reciprocal(0), is_reciprocal(2)),
                    (Some(true), Some(false))
                )
            }
            (5, Some(0.0)) => {
                return Err(bad(
                    "it has five axes with the scan's first; export it with the frames first"
                        .to_owned(),
                ));
            }
            (5, _) => false,
            (n_dims, _) => {
                return Err(bad(format!("image {} has {n_dims} axes", image.index)));
            }
        };
        let (cols, rows) = if scan_fastest {
            (dims[2], dims[3])
        } else {
            (dims[0], dims[1])
        };
        let n_samples = dims.iter().try_fold(1_u64, |n, &len| n.checked_mul(len));
        let n_bytes = n_samples.and_then(|n| n.checked_mul(pixel_bytes));
        let (Some(n_samples), Some(_)) = (n_samples.filter(|&n| n > 0), n_bytes) else {
            return Err(bad(format!("its axes have the lengths {dims:?}")));
        };
        let frame_len = rows * cols;
        Ok(Self {
            pixel,
            pattern_rows: rows,
            pattern_cols: cols,
            frame_bytes: frame_len * pixel_bytes,
            n_frames: n_samples / frame_len,
            scan_fastest,
        })
    }

    fn n_bytes(&self) -> u64 {
        self.n_frames * self.frame_bytes
    }
}

/// What is known while a file is opened.
struct Opener<'a> {
    path: &'a Path,
    request: &'a OpenRequest,
    tags: &'a TagTree,
    image: &'a Image<'a>,
    frames: Frames,
}

impl Opener<'_> {
    fn bad(&self, problem: String) -> Error {
        Error::BadContainer {
            path: self.path.to_owned(),
            format: FORMAT.name,
            problem,
        }
    }

    /// A header of so many frames, with all that the tags say.
    fn header(&self, n_frames: u64) -> Result<StreamHeader> {
        let frames = &self.frames;
        let lens = [n_frames, frames.pattern_rows, frames.pattern_cols];
        let [Ok(n_frames), Ok(rows), Ok(cols)] = lens.map(usize::try_from) else {
            return Err(self.bad("an axis is longer than this computer can count".to_owned()));
        };
        let mut header = StreamHeader::new(
            display_name(self.path),
            if self.tags.version == 3 { "DM3" } else { "DM4" },
            n_frames,
            (rows, cols),
            frames.pixel.sample_type(),
        );
        if let Some(tags) = self.image.tags() {
            describe(&mut header.series, tags);
        }
        let pattern_axis = if frames.scan_fastest { 2 } else { 0 };
        let voltage_kv = header.series.voltage_kv.as_ref().map(|v| v.value);
        if let Some(axis) = self.image.calibration(pattern_axis)
            && let Some(q_step) = axis.q_step_per_nm(voltage_kv.map(wavelength_nm))
        {
            let origin = format!("calibration of axis {pattern_axis} in {}", axis.units);
            header.series.q_step_per_nm = Some(Stated::new(q_step, origin));
        }
        let scan_axis = if frames.scan_fastest { 0 } else { 2 };
        if self.image.dims.len() >= 4
            && let Some(axis) = self.image.calibration(scan_axis)
            && let Some(step_nm) = axis.step_nm()
        {
            let origin = format!("calibration of axis {scan_axis} in {}", axis.units);
            header.series.step_nm = Some(Stated::new(step_nm, origin));
        }
        Ok(header)
    }

    /// Rows and columns of the scan, where the image has them.
    fn scan(&self) -> Option<(usize, usize)> {
        let dims = &self.image.dims;
        let first = if self.frames.scan_fastest { 0 } else { 2 };
        let (cols, rows) = (dims.get(first)?, dims.get(first + 1)?);
        Some((usize::try_from(*rows).ok()?, usize::try_from(*cols).ok()?))
    }

    fn start_ns(&self) -> Option<i64> {
        self.image.tags().and_then(stamp::start_unix_ns)
    }

    /// Frames of the image itself.
    fn open_image(&self, file: PositionedFile) -> Result<Box<dyn FrameStream>> {
        let frames = self.frames;
        let pixels = self.image.pixels;
        if pixels.n_bytes() != frames.n_bytes() {
            return Err(self.bad(format!(
                "image {} has axes {:?} of {} bytes a pixel, but {} bytes of pixels",
                self.image.index,
                self.image.dims,
                frames.pixel.n_bytes(),
                pixels.n_bytes()
            )));
        }
        let mut header = self.header(frames.n_frames)?;
        header.series.frame_counts = vec![FrameCount::new(frames.n_frames, "axes of the image")];
        let dims = &self.image.dims;
        let time_axis = match dims.len() {
            3 => Some(2),
            5 => Some(4),
            _ => None,
        };
        let time = time_axis
            .and_then(|axis| Some((axis, self.image.calibration(axis)?.step_s()?)))
            .map(|(axis, step_s)| Stated::new(step_s, format!("calibration of axis {axis}")));
        let mut frame_step_ns = None;
        if let Some((n_rows, n_cols)) = self.scan() {
            header.scan = Some(ScanStatement {
                n_times: dims
                    .get(4)
                    .and_then(|&n| usize::try_from(n).ok())
                    .or(Some(1)),
                ..ScanStatement::new(n_rows, n_cols, "axes of the image")
            });
            header.series.period_s = time;
        } else if let Some(step) = time {
            frame_step_ns = Some(step.value * 1e9);
            // A recording of which someone knows the scan is one frame a position, not one a time.
            if self.request.shape.is_none() {
                header.scan = Some(each_a_time(frames.n_frames));
                header.series.period_s = Some(step);
            } else if header.series.dwell_ms.is_none() {
                header.series.dwell_ms = Some(Stated::new(step.value * 1e3, step.origin));
            }
        }
        let pixels = if frames.scan_fastest {
            header.series.warnings.push(Warning::new(
                "W115",
                format!(
                    "The file holds an image of the scan for each detector pixel, not one frame after another. Every block of frames is gathered from all over the file, which is slow; convert it once with `halotau convert`. If the frames do follow each other, the tag Data Order Swapped is missing: read the file as raw binary from byte {} on (data.raw).",
                    pixels.offset
                ),
            ));
            let n_frames = frames.n_frames;
            let sample_bytes = frames.pixel.n_bytes() as u64;
            Pixels::ScanFastest(ScanFastest::new(
                file,
                pixels.offset,
                n_frames,
                sample_bytes,
            ))
        } else {
            let strided = StridedFile::new(file, pixels.offset, frames.frame_bytes);
            Pixels::Frames(strided.at_most(frames.n_frames))
        };
        Ok(Box::new(DmStream {
            header,
            pixels,
            frames,
            big_endian: self.tags.big_endian,
            start_ns: self.start_ns(),
            frame_step_ns,
        }))
    }

    /// Frames of the parts beside the director.
    fn open_parts(&self, parts: Parts, stated: Option<u64>) -> Result<Box<dyn FrameStream>> {
        let frames = self.frames;
        let per_slice = match self.scan() {
            Some((n_rows, n_cols)) => n_rows as u64 * n_cols as u64,
            None => 1,
        };
        let n_frames = parts.n_bytes() / frames.frame_bytes;
        let mut header = self.header(n_frames)?;
        header.series.format = format!("Gatan in-situ, {} parts", parts.n_parts());
        let by_length = FrameCount::new(n_frames, "length of the parts");
        header.series.frame_counts = vec![by_length];
        if let Some(slices) = stated {
            let counted = slices.saturating_mul(per_slice);
            let origin = "tag # Frames of In-situ.Recorded";
            header
                .series
                .frame_counts
                .push(FrameCount::new(counted, origin));
            if counted < n_frames {
                header.series.warnings.push(Warning::new(
                    "W116",
                    format!("The director counts {slices} scans, but its parts hold more; all of them are read."),
                ));
            }
        }
        // More than the parts hold is marked as missing.
        let slices_begun = n_frames.div_ceil(per_slice);
        let n_slices = stated.map_or(slices_begun, |stated| stated.max(slices_begun));
        header.scan = match self.scan() {
            Some((n_rows, n_cols)) => Some(ScanStatement {
                n_times: usize::try_from(n_slices).ok(),
                ..ScanStatement::new(n_rows, n_cols, "axes of the director's image")
            }),
            None if self.request.shape.is_none() => Some(each_a_time(n_slices)),
            None => None,
        };
        let time_axis = if per_slice > 1 { 4 } else { 2 };
        if let Some(step_s) = self.image.calibration(time_axis).and_then(|c| c.step_s()) {
            let origin = format!("calibration of axis {time_axis}");
            header.series.period_s = Some(Stated::new(step_s, origin));
        }
        Ok(Box::new(DmStream {
            header,
            pixels: Pixels::Parts(parts),
            frames,
            big_endian: self.tags.big_endian,
            start_ns: self.start_ns(),
            frame_step_ns: None,
        }))
    }
}

/// A scan of one position, many times.
fn each_a_time(n_frames: u64) -> ScanStatement {
    ScanStatement {
        n_times: usize::try_from(n_frames).ok(),
        ..ScanStatement::new(1, 1, "the axis of the stack is a time")
    }
}

/// What the tags of an image say about microscope and camera.
fn describe(series: &mut SeriesHeader, tags: &Group) {
    let stated = |places: &[(&str, f64)]| {
        places.iter().find_map(|(place, factor)| {
            let value = tags.number(place)? * factor;
            let is_set = value.is_finite() && value > 0.0;
            is_set.then(|| Stated::new(value, format!("tag {place}")))
        })
    };
    series.voltage_kv = stated(&[("Microscope Info.Voltage", 1e-3)]);
    series.convergence_mrad = stated(&[
        ("Microscope Info.Convergence semi-angle (mrad)", 1.0),
        (
            "EELS.Experimental Conditions.Convergence semi-angle (mrad)",
            1.0,
        ),
    ]);
    series.dwell_ms = stated(&[
        ("SI.Acquisition.Pixel time (s)", 1e3),
        ("Acquisition.Parameters.High Level.Exposure (s)", 1e3),
        ("DataBar.Exposure Time (s)", 1e3),
    ]);
}

/// Frames of a file or of several.
struct DmStream {
    header: StreamHeader,
    pixels: Pixels,
    frames: Frames,
    big_endian: bool,
    start_ns: Option<i64>,
    /// From frame to frame, where the stack's axis is a time.
    frame_step_ns: Option<f64>,
}

enum Pixels {
    Frames(StridedFile),
    Parts(Parts),
    ScanFastest(ScanFastest),
}

impl FrameStream for DmStream {
    fn header(&self) -> &StreamHeader {
        &self.header
    }

    fn read(&self, range: Range<u64>, samples: &mut Samples, mut at: usize) -> Result<()> {
        let mut frame = range.start;
        let decode = |record: &[u8]| {
            self.decode(record, frame, samples, at)?;
            at += record.len() / self.frames.pixel.n_bytes();
            frame += 1;
            Ok(())
        };
        match &self.pixels {
            Pixels::Frames(file) => file.for_each(range, decode),
            Pixels::Parts(parts) => parts.for_each(range, self.frames.frame_bytes, decode),
            Pixels::ScanFastest(scan) => {
                let frame_len = self.frames.pattern_rows * self.frames.pattern_cols;
                scan.for_each(range, frame_len, decode)
            }
        }
    }

    fn expect(&self, frames: Range<u64>) {
        if let Pixels::Frames(file) = &self.pixels {
            file.expect(frames);
        }
    }

    fn stamp_ns(&self, frame: u64) -> Result<Option<i64>> {
        let Some(start) = self.start_ns else {
            return Ok(None);
        };
        let since = match self.frame_step_ns {
            Some(step) => Some((frame as f64 * step).round() as i64),
            None => (frame == 0).then_some(0),
        };
        Ok(since.map(|since| start.saturating_add(since)))
    }
}

impl DmStream {
    /// Decodes one frame into samples from an index on.
    fn decode(&self, record: &[u8], frame: u64, samples: &mut Samples, at: usize) -> Result<()> {
        let pixel = self.frames.pixel;
        if pixel.is_sample() {
            copy_at(samples, at, record, self.big_endian);
            return Ok(());
        }
        let converted = pixel.convert(record, self.big_endian);
        let bytes = converted.map_err(|too_large| Error::BadContainer {
            path: PathBuf::from(&self.header.series.name),
            format: FORMAT.name,
            problem: format!(
                "frame {frame} holds the 64-bit count {}, which 32 bits do not hold",
                too_large.value
            ),
        })?;
        copy_at(samples, at, &bytes, false);
        Ok(())
    }
}
