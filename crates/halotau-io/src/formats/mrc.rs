//! How do MRC files, those of Direct Electron above all, hold a scan?
//!
//! ```text
//! NAME_movie.mrc · NAME_info.txt · NAME_scan_coordinates.csv · NAME_..._sum.mrc, NAME_final.mrc, NAME_ext1_... (images)
//! ```
//!
//! The movie holds the frames, one after another; the info says which scan they are. Images that the server computed count
//! as sidecars of their movie, but open by their own name. A file without info is a recording of frames. Frames are read
//! as they are stored, first row first.

mod coordinates;
mod header;
mod info;

use std::ops::Range;
use std::path::{Path, PathBuf};

use halotau::series::{FrameCount, Samples, Warning};

use self::coordinates::Coordinates;
pub(super) use self::header::MrcHeader;
use self::info::{Info, Scan, movie_of};
use super::{Format, Probe};
use crate::error::{Error, Result};
use crate::open::{OpenRequest, display_name};
use crate::positioned::PositionedFile;
use crate::stream::reordered::ReorderedStream;
use crate::stream::strided::StridedFile;
use crate::stream::summed::SummedStream;
use crate::stream::{FrameStream, ScanStatement, StreamHeader};

pub(crate) const FORMAT: Format = Format {
    name: "MRC file",
    recognize,
    open,
};

fn recognize(probe: &Probe<'_>) -> Option<PathBuf> {
    let name = probe.path.file_name()?.to_str()?;
    for ending in [info::ENDING, coordinates::ENDING] {
        if let Some(prefix) = name.strip_suffix(ending) {
            return movie_of(probe.path, prefix);
        }
    }
    if !header::is_mrc(probe.path, probe.start, probe.len) {
        return None;
    }
    if probe.named {
        return Some(probe.path.to_owned());
    }
    // Names of images begin like that of their movie.
    let begins = name.match_indices('_').map(|(end, _)| &name[..end]);
    let movie = begins
        .filter(|_| !name.contains("_movie"))
        .map(|prefix| probe.path.with_file_name(format!("{prefix}_movie.mrc")))
        .find(|movie| movie.is_file());
    Some(movie.unwrap_or_else(|| probe.path.to_owned()))
}

/// Frames of a file in the order of recording.
struct MrcStream {
    about: StreamHeader,
    header: MrcHeader,
    frames: StridedFile,
    start_ns: Option<i64>,
}

impl FrameStream for MrcStream {
    fn header(&self) -> &StreamHeader {
        &self.about
    }

    fn read(&self, frames: Range<u64>, samples: &mut Samples, mut at: usize) -> Result<()> {
        let frame_len = self.about.series.shape.frame_len();
        self.frames.for_each(frames, |frame| {
            self.header.decode(frame, samples, at);
            at += frame_len;
            Ok(())
        })
    }

    fn expect(&self, frames: Range<u64>) {
        self.frames.expect(frames);
    }

    fn stamp_ns(&self, frame: u64) -> Result<Option<i64>> {
        Ok(self.start_ns.filter(|_| frame == 0))
    }
}

fn open(path: &Path, request: &OpenRequest) -> Result<Box<dyn FrameStream>> {
    let bad = |problem: String| Error::BadContainer {
        path: path.to_owned(),
        format: FORMAT.name,
        problem,
    };
    let info = Info::beside(path)?;
    let file = PositionedFile::open(path)?;
    let header = MrcHeader::read(&file, info.is_some())?;
    let frames = header.frames(file);
    let n_frames = frames.n_records();
    let lens = [n_frames, header.n_rows, header.n_cols].map(usize::try_from);
    let [Ok(n_cols), Ok(pattern_rows), Ok(pattern_cols)] = lens else {
        return Err(bad(
            "an axis is longer than this computer can count".to_owned()
        ));
    };
    let mut about = StreamHeader::new(
        display_name(path),
        if info.is_some() {
            "Direct Electron MRC"
        } else {
            "MRC"
        },
        n_cols,
        (pattern_rows, pattern_cols),
        header.pixel.sample_type(),
    );
    let series = &mut about.series;
    series.frame_counts = vec![FrameCount::new(n_frames, "length of the file")];
    if let Ok(stated) = u64::try_from(header.n_frames) {
        series
            .frame_counts
            .push(FrameCount::new(stated, "NZ of the header"));
    }
    let Some(info) = info else {
        return Ok(Box::new(MrcStream {
            about,
            header,
            frames,
            start_ns: None,
        }));
    };
    if let Some(written) = info.n_written() {
        let origin = "Autosave Movie Frames Written of the info file";
        series.frame_counts.push(FrameCount::new(written, origin));
    }
    info.describe(series);
    let stream = Box::new(MrcStream {
        about,
        header,
        frames,
        start_ns: info.start_ns(),
    });
    arrange(path, request, &info, stream).map_err(|problem| match problem {
        Problem::Words(problem) => bad(problem),
        Problem::Read(error) => error,
    })
}

/// Why frames could not be arranged.
enum Problem {
    Words(String),
    Read(Error),
}

impl From<String> for Problem {
    fn from(problem: String) -> Self {
        Self::Words(problem)
    }
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        Self::Read(error)
    }
}

/// Sums the frames of each point and puts them into the order of the scan.
fn arrange(
    path: &Path,
    request: &OpenRequest,
    info: &Info,
    mut stream: Box<MrcStream>,
) -> Result<Box<dyn FrameStream>, Problem> {
    if !info.is_scan() {
        return Ok(stream);
    }
    let n_frames = stream.about.n_frames();
    let has_shape = request.shape.is_some_and(|shape| shape[1..3] != [0, 0]);
    let raster = if info.is_raster() {
        // A shape that a person gives stands in for a scan that cannot be told.
        match info.raster() {
            Err(_) if has_shape => None,
            raster => raster?,
        }
    } else {
        None
    };
    let per_point = match info.frames_per_point() {
        Err(_) if has_shape => 1,
        per_point => per_point?,
    };
    let fills = |scan: &Scan| {
        let positions = scan
            .n_rows
            .checked_mul(scan.n_cols)?
            .checked_mul(scan.n_repeats)?;
        let frames = positions.checked_mul(scan.frames_per_point)?;
        Some(info.n_written().unwrap_or(frames) == frames)
    };
    let is_plain = raster.as_ref().and_then(fills) == Some(true);
    let coordinates = if has_shape || is_plain {
        None
    } else {
        Coordinates::beside(path)?
    };
    if coordinates.is_none() && raster.is_none() && !has_shape {
        return Err(Problem::Words(
            "the scan does not go row by row, and the list of its coordinates is missing beside the movie; give data.shape to read the frames in the order of recording".to_owned(),
        ));
    }
    if has_shape && !info.is_raster() {
        stream.about.series.warnings.push(Warning::new(
            "W118",
            "The scan did not go row by row; with the shape that was given, its frames are read in the order of recording.",
        ));
    }
    if let Some(scan) = raster.filter(|_| coordinates.is_none()) {
        stream.about.scan = statement(&scan, n_frames / per_point.max(1));
    }
    let mut stream: Box<dyn FrameStream> = stream;
    if per_point > 1 {
        stream = Box::new(SummedStream::new(stream, per_point)?);
    }
    let Some(coordinates) = coordinates else {
        return Ok(stream);
    };
    let grid = coordinates.per_point(per_point).grid()?;
    let scan = grid.statement(stream.header().n_frames(), info.n_repeats());
    let numbers = grid.numbers();
    Ok(Box::new(ReorderedStream::new(stream, numbers, scan)))
}

/// The scan, as many times as stated or as there are whole ones, whatever is more.
fn statement(scan: &Scan, n_points: u64) -> Option<ScanStatement> {
    let per_scan = scan.n_rows.checked_mul(scan.n_cols)?;
    let n_times = scan.n_repeats.max(n_points / per_scan);
    let rows = usize::try_from(scan.n_rows).ok()?;
    let cols = usize::try_from(scan.n_cols).ok()?;
    Some(ScanStatement {
        n_times: usize::try_from(n_times).ok(),
        ..ScanStatement::new(rows, cols, "Scan - Size and Repeats of the info file")
    })
}
