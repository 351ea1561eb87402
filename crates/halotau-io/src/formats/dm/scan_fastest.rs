//! How are frames gathered from a file that holds an image of the scan for each detector pixel?
//!
//! ```text
//! sample of frame f at pixel p:  byte (p · n_frames + f) · sample_bytes
//! ```
//!
//! Whole planes are read where much of each is asked for, otherwise the part of each plane.

use std::ops::Range;

use crate::error::Result;
use crate::positioned::PositionedFile;

/// Bytes read at once.
const PIECE_BYTES: u64 = 1 << 20;
/// Bytes that are read for one that is needed, at most: a larger jump costs less than reading over it.
const MOST_OVERHEAD: u64 = 8;
/// Frames gathered at once, in bytes.
const MOST_GATHERED: u64 = 32 << 20;

/// The planes of a file.
#[derive(Debug)]
pub(super) struct ScanFastest {
    file: PositionedFile,
    start: u64,
    n_frames: u64,
    sample_bytes: u64,
}

impl ScanFastest {
    /// The caller has compared the size of all planes with that of the file.
    pub(super) fn new(file: PositionedFile, start: u64, n_frames: u64, sample_bytes: u64) -> Self {
        Self {
            file,
            start,
            n_frames,
            sample_bytes,
        }
    }

    /// Hands the bytes of each frame of `frame_len` samples to a function, in order.
    pub(super) fn for_each(
        &self,
        frames: Range<u64>,
        frame_len: u64,
        mut decode: impl FnMut(&[u8]) -> Result<()>,
    ) -> Result<()> {
        let frame_bytes = frame_len * self.sample_bytes;
        let at_once = (MOST_GATHERED / frame_bytes.max(1)).max(1);
        let mut first = frames.start;
        while first < frames.end {
            let n = at_once.min(frames.end - first);
            let gathered = self.gather(first..first + n, frame_len)?;
            for frame in gathered.chunks_exact(frame_bytes as usize) {
                decode(frame)?;
            }
            first += n;
        }
        Ok(())
    }

    fn gather(&self, frames: Range<u64>, frame_len: u64) -> Result<Vec<u8>> {
        let n = frames.end - frames.start;
        let sample = self.sample_bytes as usize;
        let plane_bytes = self.n_frames * self.sample_bytes;
        let mut gathered = vec![0; (n * frame_len) as usize * sample];
        let whole_planes = self.n_frames / n <= MOST_OVERHEAD;
        let at_once = if whole_planes {
            (PIECE_BYTES / plane_bytes.max(1)).clamp(1, frame_len)
        } else {
            1
        };
        // From the first sample that is needed to the last.
        let span = |n_planes: u64| ((n_planes - 1) * plane_bytes + n * self.sample_bytes) as usize;
        let mut bytes = vec![0; span(at_once)];
        let mut pixel = 0;
        while pixel < frame_len {
            let n_planes = at_once.min(frame_len - pixel);
            let piece = &mut bytes[..span(n_planes)];
            let offset = pixel * plane_bytes + frames.start * self.sample_bytes;
            self.file.read_exact_at(piece, self.start + offset)?;
            for plane in 0..n_planes {
                let from = &piece[(plane * plane_bytes) as usize..];
                let into = (pixel + plane) as usize * sample;
                let frame_bytes = frame_len as usize * sample;
                for (frame, value) in from.chunks_exact(sample).take(n as usize).enumerate() {
                    let at = frame * frame_bytes + into;
                    gathered[at..at + sample].copy_from_slice(value);
                }
            }
            pixel += n_planes;
        }
        Ok(gathered)
    }
}
