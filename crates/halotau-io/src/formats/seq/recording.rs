//! How does one StreamPix file hold its frames?
//!
//! ```text
//! 0 0xFEED · 4 "Norpix seq" · 28 version · 548 columns · 552 rows · 556 bits · 564 bytes of a frame · 572 frames
//! · 580 bytes from frame to frame · 584 frames/s · 620 compression
//! | from 8192 on (before version 5: 1024): pixels · seconds u32 · milliseconds u16 · microseconds u16 · padding | ...
//! ```
//!
//! All numbers are little-endian. Space may have been set aside for more frames than were recorded: slots at the end whose time
//! is zero hold none.

use std::ops::Range;

use halotau::series::{FrameCount, SampleType};

use crate::error::{Error, Result};
use crate::positioned::PositionedFile;
use crate::stream::strided::StridedFile;

/// Bytes of the fields that are read.
const HEADER_BYTES: usize = 640;
/// The first four bytes, and "Norpix seq" in UTF-16.
const MAGIC: &[u8] = b"\xed\xfe\0\0N\0o\0r\0p\0i\0x\0 \0s\0e\0q\0";
/// From this version on frames start later, and times have microseconds.
const LATER_VERSION: i32 = 5;

pub(super) fn is_seq(start: &[u8]) -> bool {
    start.starts_with(MAGIC)
}

/// The frames of a file and their times.
pub(super) struct Recording {
    pub(super) n_rows: u64,
    pub(super) n_cols: u64,
    pub(super) sample_type: SampleType,
    /// Frames a second, where the header states it.
    pub(super) rate_hz: Option<f64>,
    pub(super) frame_counts: Vec<FrameCount>,
    pub(super) frames: StridedFile,
    /// Bytes of the pixels of a frame.
    frame_bytes: u64,
    /// Byte of a record at which its stamp is.
    stamp_at: u64,
    times: Times,
}

/// What the stamps of frames are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Times {
    None,
    /// In milliseconds, or in microseconds.
    Stamped {
        has_us: bool,
    },
    /// Those of all frames are the same.
    Burst,
}

impl Recording {
    pub(super) fn open(file: PositionedFile) -> Result<Self> {
        let path = file.path().to_owned();
        let bad = |problem: String| Error::BadContainer {
            path: path.clone(),
            format: super::FORMAT.name,
            problem,
        };
        let start = file.start(HEADER_BYTES)?;
        let Some(fields) = start.first_chunk::<HEADER_BYTES>() else {
            return Err(bad(format!(
                "the header has {HEADER_BYTES} bytes, the file {}",
                file.len()
            )));
        };
        let u32_at = |at: usize| {
            u32::from_le_bytes([fields[at], fields[at + 1], fields[at + 2], fields[at + 3]])
        };
        let u64_at = |at: usize| u64::from(u32_at(at)) | u64::from(u32_at(at + 4)) << 32;
        let version = u32_at(28).cast_signed();
        let (n_cols, n_rows) = (u64::from(u32_at(548)), u64::from(u32_at(552)));
        let (sample_type, sample_bytes) = match u32_at(556) {
            8 => (SampleType::U8, 1),
            16 => (SampleType::U16, 2),
            32 => (SampleType::U32, 4),
            bits => {
                return Err(bad(format!(
                    "pixels have {bits} bits; 8, 16 and 32 are read"
                )));
            }
        };
        if u32_at(620) != 0 {
            return Err(bad(
                "its frames are compressed; save them without compression".to_owned(),
            ));
        }
        let (stated_bytes, stride) = (u64::from(u32_at(564)), u64::from(u32_at(580)));
        let needed = n_cols
            .checked_mul(n_rows)
            .and_then(|n| n.checked_mul(sample_bytes));
        let frame_bytes = needed.filter(|&n| n > 0 && n <= stated_bytes && stated_bytes <= stride);
        let Some(frame_bytes) = frame_bytes else {
            return Err(bad(format!(
                "it states {n_rows} x {n_cols} pixels of {sample_bytes} bytes, {stated_bytes} bytes a frame, {stride} bytes from frame to frame"
            )));
        };
        let is_later = version >= LATER_VERSION;
        let stamp_bytes = if is_later { 8 } else { 6 };
        let times = if stride >= stated_bytes + stamp_bytes {
            Times::Stamped { has_us: is_later }
        } else {
            Times::None
        };
        let used = match times {
            Times::None => stated_bytes,
            _ => stated_bytes + stamp_bytes,
        };
        let data = if is_later { 8192 } else { 1024 };
        let frames = StridedFile::padded(file, data, stride, used);
        let n_slots = frames.n_records();
        let stated = u64::from(u32_at(572));
        let frame_counts = vec![
            FrameCount::new(stated, "frames of the header"),
            FrameCount::new(n_slots, "length of the file"),
        ];
        let frames = if stated > 0 {
            frames.at_most(stated)
        } else {
            frames
        };
        let mut recording = Self {
            n_rows,
            n_cols,
            sample_type,
            rate_hz: Some(f64::from_bits(u64_at(584))).filter(|&r| r.is_finite() && r > 0.0),
            frame_counts,
            frames,
            frame_bytes,
            // Stamps follow the stated bytes, which may be more than the pixels.
            stamp_at: stated_bytes,
            times,
        };
        let n_stamped = recording.n_stamped()?;
        if n_stamped < recording.frames.n_records() {
            let count = FrameCount::new(n_stamped, "frames with a time stamp");
            recording.frame_counts.push(count);
            recording.frames = recording.frames.at_most(n_stamped);
        }
        if recording.frames.n_records() == 0 {
            return Err(bad("it holds no whole frame".to_owned()));
        }
        if recording.frames.n_records() > 1 && recording.times != Times::None {
            let last = recording.frames.n_records() - 1;
            if recording.stored_ns(0)? == recording.stored_ns(last)? {
                recording.times = Times::Burst;
            }
        }
        Ok(recording)
    }

    /// Frames before the slots at the end that hold none.
    fn n_stamped(&self) -> Result<u64> {
        let n_slots = self.frames.n_records();
        let is_empty = |frame: u64| -> Result<bool> { Ok(self.stored_ns(frame)? == Some(0)) };
        let Some(last) = n_slots.checked_sub(1) else {
            return Ok(0);
        };
        // Where the first has no time either, the camera gave none.
        if self.times == Times::None || !is_empty(last)? || is_empty(0)? {
            return Ok(n_slots);
        }
        let (mut stamped, mut empty) = (0, last);
        while empty - stamped > 1 {
            let middle = stamped + (empty - stamped) / 2;
            if is_empty(middle)? {
                empty = middle;
            } else {
                stamped = middle;
            }
        }
        Ok(empty)
    }

    /// The stamp of a frame as it is stored.
    fn stored_ns(&self, frame: u64) -> Result<Option<i64>> {
        let has_us = match self.times {
            Times::None => return Ok(None),
            Times::Stamped { has_us } => has_us,
            Times::Burst => true,
        };
        let bytes = self
            .frames
            .part(frame, self.stamp_at, if has_us { 8 } else { 6 })?;
        let u16_at = |at: usize| match bytes.get(at..at + 2) {
            Some(bytes) => i64::from(u16::from_le_bytes([bytes[0], bytes[1]])),
            None => 0,
        };
        let seconds = u16_at(0) | u16_at(2) << 16;
        Ok(Some(
            seconds * 1_000_000_000 + u16_at(4) * 1_000_000 + u16_at(6) * 1000,
        ))
    }

    /// Whether all frames have the time at which they were transferred.
    pub(super) fn is_burst(&self) -> bool {
        self.times == Times::Burst
    }

    /// When a frame was recorded. The frames of a burst follow each other at the rate of the header.
    pub(super) fn stamp_ns(&self, frame: u64) -> Result<Option<i64>> {
        match self.times {
            Times::None => Ok(None),
            Times::Stamped { .. } => Ok(self.stored_ns(frame)?.filter(|&stamp| stamp > 0)),
            Times::Burst => {
                let first = self.stored_ns(0)?.filter(|&stamp| stamp > 0);
                let since = self.rate_hz.map(|rate| (frame as f64 / rate * 1e9) as i64);
                Ok(first
                    .zip(since)
                    .map(|(first, since)| first.saturating_add(since)))
            }
        }
    }

    /// Hands the pixels of each frame to a function, in order.
    pub(super) fn for_each(
        &self,
        frames: Range<u64>,
        mut decode: impl FnMut(&[u8]) -> Result<()>,
    ) -> Result<()> {
        let n_bytes = self.frame_bytes as usize;
        self.frames
            .for_each(frames, |record| decode(&record[..n_bytes]))
    }
}
