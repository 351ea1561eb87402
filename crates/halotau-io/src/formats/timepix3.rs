//! How do the events of a Timepix3 detector become frames?
//!
//! ```text
//! TPX3 chip length | word word word ... | TPX3 chip length | word ...        64 bits a word, little-endian
//! ```
//!
//! Each hit has its own time, so nothing in the file is a frame. Pulses that the scan sends to a trigger input say when a frame,
//! a line or a scan begins; which input, and how long a frame is, the sidecar `NAME.tpx3.toml` says in its table `[events]`.
//! A frame holds the number of hits of each pixel. The stream stays in its file: an [`Index`](index::Index) knows where the
//! hits of which time are, and frames are counted when they are asked for.

mod index;
mod layout;
mod schedule;
mod words;

use std::ops::Range;
use std::path::{Path, PathBuf};

use halotau::series::{FrameCount, SampleType, Samples, Stated, Warning};
use halotau::source::EventBlock;

use self::index::Index;
use self::layout::{Chips, Layout};
pub(super) use self::schedule::EventSettings;
use self::schedule::Schedule;
use self::words::TICKS_PER_25_NS;
use super::sidecar::{self, Sidecar};
use super::{Format, Probe};
use crate::error::{Error, Result};
use crate::open::{OpenRequest, display_name};
use crate::positioned::PositionedFile;
use crate::stream::{EventStream, FrameStream, ScanStatement, StreamHeader, unfold};

pub(crate) const FORMAT: Format = Format {
    name: "Timepix3 events",
    recognize,
    open,
};

fn recognize(probe: &Probe<'_>) -> Option<PathBuf> {
    let is_stream = |start: &[u8]| start.starts_with(b"TPX3") && start.len() >= 8;
    if is_stream(probe.start) {
        return Some(probe.path.to_owned());
    }
    // The sidecar stands for its stream.
    let stream = probe.path.with_extension("");
    let is_sidecar = sidecar::path_of(&stream) == probe.path && stream.is_file();
    let start = is_sidecar.then(|| PositionedFile::open(&stream).ok()?.start(8).ok());
    start
        .flatten()
        .filter(|start| is_stream(start))
        .map(|_| stream)
}

struct EventFile {
    header: StreamHeader,
    index: Index,
    schedule: Schedule,
    layout: Layout,
}

fn open(path: &Path, _request: &OpenRequest) -> Result<Box<dyn FrameStream>> {
    let bad = |problem: String| Error::BadContainer {
        path: path.to_owned(),
        format: FORMAT.name,
        problem,
    };
    let sidecar = Sidecar::of(path)?.unwrap_or_default();
    let index = Index::of(PositionedFile::open(path)?)?;
    let settings = sidecar
        .events
        .clone()
        .unwrap_or_else(|| EventSettings::guess(&index));
    let counts = index.counts;
    let found = format!(
        "{} hits, {} trigger pulses, {} global times, {} other words and {} that belong to no packet in {} packets",
        counts.hits,
        counts.pulses,
        counts.global_times,
        counts.others,
        counts.strays,
        counts.packets
    );
    let schedule = settings
        .schedule(&index)
        .map_err(|problem| bad(format!("{problem} (it holds {found})")))?;
    let chips = settings
        .chips
        .clone()
        .unwrap_or_else(|| Chips::guess(&index.chips));
    let layout = chips.layout().map_err(bad)?;
    let n_frames = usize::try_from(schedule.n_frames)
        .ok()
        .filter(|&n| n > 0)
        .ok_or_else(|| bad(format!("no frame ends before the stream does ({found})")))?;
    let mut header = StreamHeader::new(
        display_name(path),
        FORMAT.name,
        n_frames,
        (layout.n_rows, layout.n_cols),
        SampleType::U16,
    );
    header.scan = settings
        .scan(schedule.n_starts())
        .map(|(rows, cols)| ScanStatement {
            sync_offset: sidecar.sync_offset,
            prescan_cols: sidecar.prescan_cols,
            flyback_cols: sidecar.flyback_cols,
            ..ScanStatement::new(rows, cols, "events of the .toml file")
        });
    let series = &mut header.series;
    series.frame_counts = vec![FrameCount::new(n_frames as u64, "pulses and dwell time")];
    sidecar.describe(series);
    if let Some(dwell_us) = settings.dwell_us {
        series.dwell_ms = Some(Stated::new(
            dwell_us / 1e3,
            "events.dwell_us of the .toml file",
        ));
    }
    if sidecar.events.is_none() {
        series.warnings.push(Warning::new(
            "W123",
            format!(
                "Nothing says how the events are cut into frames, so they are read as {}; write {} (docs/formats.md). The file holds {found}.",
                settings.describe(),
                display_name(&sidecar::path_of(path))
            ),
        ));
    }
    if settings.chips.is_none() && index.chips.iter().any(|&chip| chip > 0) {
        series.warnings.push(Warning::new(
            "W124",
            "The file does not say how its chips are mounted, so the usual mounting of four is taken, 3 and 0 above, 2 and 1 below and turned; give events.chips if it is another.",
        ));
    }
    if counts.strays > 0 || index.chips.iter().any(|&chip| !layout.has(chip)) {
        series.warnings.push(Warning::new(
            "W122",
            format!("Parts of the stream are damaged, or of chips that have no place, and are left out. It holds {found}."),
        ));
    }
    Ok(Box::new(EventFile {
        header,
        index,
        schedule,
        layout,
    }))
}

impl FrameStream for EventFile {
    fn header(&self) -> &StreamHeader {
        &self.header
    }

    fn read(&self, frames: Range<u64>, samples: &mut Samples, at: usize) -> Result<()> {
        let frame_len = self.header.series.shape.frame_len();
        let mut block = EventBlock::new(frame_len);
        self.read_events(frames, &mut block)?;
        unfold(&block, frame_len, samples, at);
        Ok(())
    }

    fn events(&self) -> Option<&dyn EventStream> {
        Some(self)
    }

    /// Nanoseconds since the detector's clock was started.
    fn stamp_ns(&self, frame: u64) -> Result<Option<i64>> {
        let (start, _) = self.schedule.window(frame);
        let ns = i128::from(start) * 25 / i128::from(TICKS_PER_25_NS);
        Ok(i64::try_from(ns).ok())
    }
}

impl EventStream for EventFile {
    fn events_per_frame(&self) -> f64 {
        self.index.counts.hits as f64 / self.header.n_frames() as f64
    }

    fn read_events(&self, frames: Range<u64>, block: &mut EventBlock) -> Result<()> {
        if frames.is_empty() {
            return Ok(());
        }
        let (from, _) = self.schedule.window(frames.start);
        let (_, to) = self.schedule.window(frames.end - 1);
        let mut hits: Vec<(u64, usize)> = Vec::new();
        self.index.for_each_hit(from, to, |chip, hit, time| {
            let frame = self.schedule.frame_at(time).filter(|f| frames.contains(f));
            hits.extend(frame.zip(self.layout.pixel(chip, &hit)));
        })?;
        // Nearly in order already.
        hits.sort_by_key(|&(frame, _)| frame);
        let mut hits = hits.into_iter().peekable();
        for frame in frames {
            block.begin_frame();
            while let Some((_, pixel)) = hits.next_if(|&(of, _)| of == frame) {
                if let Some(count) = block.count_mut(pixel) {
                    *count = (*count + 1).min(u32::from(u16::MAX));
                }
            }
        }
        Ok(())
    }
}
