//! Which frame of the camera belongs to which position?
//!
//! Two statements of the frame headers can tell:
//!
//! ```text
//! rotator index   0 0 0 1 2 2 3 5 ...     0 before the scan; 2 was recorded twice, 4 was missed
//! scan x, y       (0,0) (0,0) (1,0) ...   the scan starts at the last (0,0) before the first (1,0)
//! ```
//!
//! The first frame of a position is taken, positions without a frame are missing. Where an index falls, a new scan begins.

use halotau::series::{FrameCount, SeriesHeader, Warning};

use crate::error::Result;
use crate::formats::fields::Fields;
use crate::stream::ScanStatement;
use crate::stream::strided::StridedFiles;

/// Where the rotator index is in a frame header, and how long a header must be to hold it.
const ROTATOR_AT: u64 = 48;
const ROTATOR_HEADER: u64 = 52;
/// The same of the scan's x; y follows.
const SCAN_AT: u64 = 68;
const SCAN_HEADER: u64 = 76;
/// Headers that are looked at to see whether any states something, before all are read.
const SAMPLED: u64 = 64;
/// No scan is as long; a larger number is none.
const LONGEST_SCAN: f32 = 65_536.0;

/// What the frame headers say of positions.
pub(super) enum Positions {
    /// Frames by their rotator index.
    Indexed {
        /// The camera's number of each frame that is taken, and its position, counted through all scans.
        frames: Vec<(u64, u64)>,
        /// Positions of a scan.
        n_positions: u64,
    },
    /// All frames from the start of the scan on follow each other in its order.
    Raster(ScanStatement),
}

impl Positions {
    /// Reads the frame headers, where they state positions.
    pub(super) fn find(files: &StridedFiles, frame_header: u64) -> Result<Option<Self>> {
        if frame_header >= ROTATOR_HEADER {
            let index = |frame| word(files, frame, ROTATOR_AT);
            if any_sampled(files, |frame| Ok(index(frame)? != 0))? {
                return indexed(files.n_records(), index);
            }
        }
        if frame_header >= SCAN_HEADER {
            let place = |frame| -> Result<(f32, f32)> {
                Ok((
                    f32::from_bits(word(files, frame, SCAN_AT)?),
                    f32::from_bits(word(files, frame, SCAN_AT + 4)?),
                ))
            };
            let moves = |frame| place(frame).map(|(x, y)| x != 0.0 || y != 0.0);
            if any_sampled(files, moves)? {
                return raster(files.n_records(), place);
            }
        }
        Ok(None)
    }

    /// Frames of the stream, of `n_recorded` of the camera.
    pub(super) fn n_frames(&self, n_recorded: u64) -> u64 {
        match self {
            Self::Indexed { frames, .. } => frames.len() as u64,
            Self::Raster(_) => n_recorded,
        }
    }

    /// The camera's number of a frame of the stream.
    pub(super) fn recorded(&self, frame: u64) -> u64 {
        match self {
            Self::Indexed { frames, .. } => frames[frame as usize].0,
            Self::Raster(_) => frame,
        }
    }

    /// Whether the numbers of positions take the place of the camera's counter.
    pub(super) fn numbers_frames(&self) -> bool {
        matches!(self, Self::Indexed { .. })
    }

    /// The position of a frame, counted through all scans.
    pub(super) fn sequence(&self, frame: u64) -> Option<u64> {
        match self {
            Self::Indexed { frames, .. } => frames.get(frame as usize).map(|&(_, number)| number),
            Self::Raster(_) => None,
        }
    }

    /// The scan, where it is known or can be guessed.
    pub(super) fn scan(&self) -> Option<ScanStatement> {
        match self {
            Self::Indexed { n_positions, .. } => {
                let side = usize::try_from(n_positions.isqrt()).ok()?;
                let is_square = (side as u64).checked_mul(side as u64) == Some(*n_positions);
                (is_square && side > 1).then(|| {
                    ScanStatement::new(side, side, "largest rotator index, taken for a square")
                })
            }
            Self::Raster(statement) => Some(statement.clone()),
        }
    }

    /// Says what was found, of `n_recorded` frames of the camera.
    pub(super) fn describe(&self, n_recorded: u64, header: &mut SeriesHeader) {
        let Self::Indexed {
            frames,
            n_positions,
        } = self
        else {
            return;
        };
        let n_used = frames.len() as u64;
        header
            .frame_counts
            .push(FrameCount::new(n_used, "positions with a frame"));
        header
            .frame_counts
            .push(FrameCount::new(*n_positions, "largest rotator index"));
        let left = n_recorded.saturating_sub(n_used);
        let shape = if self.scan().is_some() {
            " The scan is taken for a square; give data.shape if it is none."
        } else {
            ""
        };
        header.warnings.push(Warning::new(
            "W120",
            format!("Frames are put to positions by the rotator index of their headers; {left} of {n_recorded} lie before the scan or repeat a position and are left out.{shape}"),
        ));
    }
}

/// Whether something holds for any of some frames spread over the recording, the last among them.
fn any_sampled(files: &StridedFiles, holds: impl Fn(u64) -> Result<bool>) -> Result<bool> {
    let n_frames = files.n_records();
    let n = n_frames.min(SAMPLED);
    for idx in 1..=n {
        let frame = u128::from(n_frames) * u128::from(idx) / u128::from(n) - 1;
        if holds(frame as u64)? {
            return Ok(true);
        }
    }
    Ok(false)
}

fn word(files: &StridedFiles, frame: u64, at: u64) -> Result<u32> {
    let Some((file, record)) = files.find(frame) else {
        return Ok(0);
    };
    let bytes = file.part(record, at, 4)?;
    Ok(Fields::little_endian(&bytes).u32(0).unwrap_or(0))
}

fn indexed(n_recorded: u64, index: impl Fn(u64) -> Result<u32>) -> Result<Option<Positions>> {
    // Camera's number, number of the scan, index in it.
    let mut found: Vec<(u64, u64, u32)> = Vec::new();
    // An index that is the number of the frame says nothing of positions.
    let mut counts_frames = true;
    for frame in 0..n_recorded {
        let index = index(frame)?;
        counts_frames &= u64::from(index) == frame;
        if index == 0 {
            continue;
        }
        let scan = match found.last() {
            Some(&(_, _, last)) if last == index => continue,
            Some(&(_, scan, last)) => scan + u64::from(index < last),
            None => 0,
        };
        found.push((frame, scan, index));
    }
    let n_positions = found.iter().map(|&(_, _, index)| u64::from(index)).max();
    // Indices far beyond the count of frames count something else, too.
    let is_count = |&n: &u64| !counts_frames && n <= n_recorded.saturating_mul(2);
    let Some(n_positions) = n_positions.filter(is_count) else {
        return Ok(None);
    };
    let frames = found
        .into_iter()
        .map(|(frame, scan, index)| (frame, scan * n_positions + u64::from(index)))
        .collect();
    Ok(Some(Positions::Indexed {
        frames,
        n_positions,
    }))
}

fn raster(n_recorded: u64, place: impl Fn(u64) -> Result<(f32, f32)>) -> Result<Option<Positions>> {
    let mut places = Vec::new();
    for frame in 0..n_recorded {
        let (x, y) = place(frame)?;
        let is_index = |value: f32| value.fract() == 0.0 && (0.0..LONGEST_SCAN).contains(&value);
        if !(is_index(x) && is_index(y)) {
            return Ok(None);
        }
        places.push((x as usize, y as usize));
    }
    let start = places.windows(2).position(|pair| pair == [(0, 0), (1, 0)]);
    let Some(start) = start else {
        return Ok(None);
    };
    let scanned = &places[start..];
    let n_cols = scanned.iter().map(|&(x, _)| x + 1).max().unwrap_or(1);
    let n_rows = scanned.iter().map(|&(_, y)| y + 1).max().unwrap_or(1);
    let n_in_order = scanned
        .iter()
        .enumerate()
        .take_while(|&(idx, &place)| place == (idx % n_cols, idx / n_cols % n_rows))
        .count();
    // The camera may go on after the scan.
    let is_raster = n_in_order == scanned.len() || n_in_order / n_cols >= n_rows;
    Ok(is_raster.then(|| {
        Positions::Raster(ScanStatement {
            sync_offset: start as i64,
            ..ScanStatement::new(n_rows, n_cols, "scan x and y of the frame headers")
        })
    }))
}
