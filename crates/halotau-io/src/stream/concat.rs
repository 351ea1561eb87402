//! How do several files become one recording?
//!
//! Some programs write one file a frame, or begin a new file every so many frames. Their frames are numbered through.

use std::ops::Range;
use std::path::{Path, PathBuf};

use halotau::series::{FrameCount, Samples, Warning};
use halotau::source::EventBlock;

use super::{EventStream, FrameStream, StreamHeader};
use crate::error::{Error, Result};
use crate::formats::Format;
use crate::open::{OpenRequest, display_name};

/// Files that are kept open. Systems commonly allow a process 1024; the others are opened when read.
const MOST_OPEN: usize = 256;

/// In which order files follow each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    /// As a person listed them.
    Given,
    /// As the camera numbered their frames, where the numbers of no two files overlap; otherwise as given.
    Recorded,
}

/// Recordings one after another.
pub(crate) struct ConcatStream {
    header: StreamHeader,
    parts: Vec<Part>,
    request: OpenRequest,
    continues: bool,
    /// Mean number of events of a frame, where all files list them.
    events_per_frame: Option<f64>,
}

/// A file of a recording.
struct Part {
    path: PathBuf,
    format: &'static Format,
    /// Number of its first frame.
    first: u64,
    n_frames: u64,
    /// Numbers that the camera gave its first and last frame.
    numbers: Option<(u64, u64)>,
    stream: Option<Box<dyn FrameStream>>,
}

impl ConcatStream {
    /// Opens each file once to count its frames.
    ///
    /// # Errors
    ///
    /// [`Error::FilesDiffer`] where patterns differ in size or type, and those of opening a file.
    pub(crate) fn new(
        files: Vec<(PathBuf, &'static Format)>,
        name: String,
        request: &OpenRequest,
        order: Order,
        warning: Option<Warning>,
    ) -> Result<Self> {
        let mut parts: Vec<Part> = Vec::with_capacity(files.len());
        let mut first_header: Option<StreamHeader> = None;
        let mut n_frames = 0_u64;
        let mut n_events = Some(0.0);
        for (path, format) in files {
            let stream = (format.open)(&path, request)?;
            let about = stream.header();
            if let Some(first) = &first_header {
                let say = |header: &StreamHeader| {
                    let series = &header.series;
                    format!(
                        "patterns of {} x {} {}",
                        series.shape.pattern_rows, series.shape.pattern_cols, series.sample_type
                    )
                };
                if say(first) != say(about) {
                    return Err(Error::FilesDiffer {
                        found: say(about),
                        expected: say(first),
                        first: parts[0].path.clone(),
                        path,
                    });
                }
            } else {
                first_header = Some(about.clone());
            }
            let per_frame = stream.events().map(EventStream::events_per_frame);
            let part = Part {
                path,
                format,
                first: 0,
                n_frames: about.n_frames(),
                numbers: numbers(stream.as_ref())?,
                stream: (parts.len() < MOST_OPEN).then_some(stream),
            };
            n_frames = n_frames.saturating_add(part.n_frames);
            n_events = n_events
                .zip(per_frame)
                .map(|(n, per_frame)| n + per_frame * part.n_frames as f64);
            parts.push(part);
        }
        if order == Order::Recorded && numbers_are_disjoint(&parts) {
            parts.sort_by_key(|part| part.numbers);
        }
        let mut first = 0;
        for part in &mut parts {
            part.first = first;
            first = first.saturating_add(part.n_frames);
        }
        let follows = |pair: &[Part]| match (pair[0].numbers, pair[1].numbers) {
            (Some((_, last)), Some((next, _))) => last.checked_add(1) == Some(next),
            _ => false,
        };
        let continues = parts.len() > 1 && parts.windows(2).all(follows);
        let (Some(mut header), Ok(n_cols)) = (first_header, usize::try_from(n_frames)) else {
            return Err(Error::EmptyFolder {
                path: request.path.clone(),
            });
        };
        if parts.len() > 1 {
            header.series.format = format!("{} files, {}", parts.len(), header.series.format);
            header.series.frame_counts = vec![FrameCount::new(n_frames, "all files together")];
        }
        header.series.name = name;
        header.series.warnings.extend(warning);
        header.series.shape.n_cols = n_cols;
        Ok(Self {
            header,
            parts,
            request: request.clone(),
            continues,
            events_per_frame: n_events.map(|n_events| n_events / n_frames as f64),
        })
    }

    /// What is known of the recording, for what its files have in common.
    pub(crate) fn header_mut(&mut self) -> &mut StreamHeader {
        &mut self.header
    }

    /// The files in the order in which they follow each other.
    pub(crate) fn files(&self) -> impl Iterator<Item = (&Path, &'static Format)> {
        self.parts
            .iter()
            .map(|part| (part.path.as_path(), part.format))
    }

    /// Whether the camera's numbers go on from each file to the next, as they do where a program begins a new file every so many
    /// frames.
    pub(crate) fn continues(&self) -> bool {
        self.continues
    }

    /// Frames of each file.
    pub(crate) fn frames_per_file(&self) -> impl Iterator<Item = u64> {
        self.parts.iter().map(|part| part.n_frames)
    }

    /// Calls a function with the file that holds a frame and the frame's number in it.
    fn with_part<T>(
        &self,
        frame: u64,
        with: impl FnOnce(&Part, &dyn FrameStream, u64) -> Result<T>,
    ) -> Result<T> {
        let after = self.parts.partition_point(|part| part.first <= frame);
        let part = &self.parts[after.saturating_sub(1)];
        let within = frame - part.first;
        if let Some(stream) = &part.stream {
            return with(part, stream.as_ref(), within);
        }
        let stream = (part.format.open)(&part.path, &self.request)?;
        if stream.header().n_frames() != part.n_frames {
            return Err(Error::BadContainer {
                path: part.path.clone(),
                format: part.format.name,
                problem: format!(
                    "{} held {} frames when it was first opened and holds {} now",
                    display_name(&part.path),
                    part.n_frames,
                    stream.header().n_frames()
                ),
            });
        }
        with(part, stream.as_ref(), within)
    }
}

fn numbers(stream: &dyn FrameStream) -> Result<Option<(u64, u64)>> {
    let Some(last) = stream.header().n_frames().checked_sub(1) else {
        return Ok(None);
    };
    Ok(stream.sequence(0)?.zip(stream.sequence(last)?))
}

fn numbers_are_disjoint(parts: &[Part]) -> bool {
    let numbers: Option<Vec<(u64, u64)>> = parts.iter().map(|part| part.numbers).collect();
    numbers.is_some_and(|mut numbers| {
        numbers.sort_unstable();
        numbers.iter().all(|(first, last)| first <= last)
            && numbers.windows(2).all(|pair| pair[0].1 < pair[1].0)
    })
}

impl FrameStream for ConcatStream {
    fn header(&self) -> &StreamHeader {
        &self.header
    }

    fn read(&self, frames: Range<u64>, samples: &mut Samples, mut at: usize) -> Result<()> {
        let frame_len = self.header.series.shape.frame_len();
        let mut frame = frames.start;
        while frame < frames.end {
            let n = self.with_part(frame, |part, stream, within| {
                let n = (part.n_frames - within).min(frames.end - frame);
                stream.read(within..within + n, samples, at)?;
                Ok(n)
            })?;
            at += n as usize * frame_len;
            frame += n;
        }
        Ok(())
    }

    fn events(&self) -> Option<&dyn EventStream> {
        self.events_per_frame.is_some().then_some(self)
    }

    fn expect(&self, frames: Range<u64>) {
        for part in &self.parts {
            let start = frames.start.max(part.first);
            let end = frames.end.min(part.first + part.n_frames);
            // Files that are opened for each read are not opened for a hint.
            if let Some(stream) = part.stream.as_ref().filter(|_| start < end) {
                stream.expect(start - part.first..end - part.first);
            }
        }
    }

    fn stamp_ns(&self, frame: u64) -> Result<Option<i64>> {
        self.with_part(frame, |_, stream, within| stream.stamp_ns(within))
    }

    fn sequence(&self, frame: u64) -> Result<Option<u64>> {
        self.with_part(frame, |_, stream, within| stream.sequence(within))
    }

    fn counter(&self, frame: u64) -> Result<Option<u64>> {
        self.with_part(frame, |_, stream, within| stream.counter(within))
    }
}

impl EventStream for ConcatStream {
    fn events_per_frame(&self) -> f64 {
        self.events_per_frame.unwrap_or(0.0)
    }

    fn read_events(&self, frames: Range<u64>, block: &mut EventBlock) -> Result<()> {
        let mut frame = frames.start;
        while frame < frames.end {
            frame += self.with_part(frame, |part, stream, within| {
                let n = (part.n_frames - within).min(frames.end - frame);
                if let Some(events) = stream.events() {
                    events.read_events(within..within + n, block)?;
                }
                Ok(n)
            })?;
        }
        Ok(())
    }
}
