//! How is a file of raw samples read that a sidecar describes?
//!
//! ```text
//! header | scan header | frame header | pattern | frame footer | frame header | ... | scan header | ...
//! ```
//!
//! Unlike `data.raw` of a recipe, which refuses a file of another length, this reads what there is and lists the rest as missing:
//! the sidecar was written with the file, so that a shorter file was cut short. Samples of 12 bits are packed in pairs,
//!
//! ```text
//! little-endian: aaaaaaaa bbbbAAAA BBBBbbbb     (capitals: the high bits; least significant bit last)
//! big-endian:    AAAAaaaa aaaaBBBB bbbbbbbb
//! ```
//!
//! and each frame begins at a whole byte.

use std::ops::Range;
use std::path::{Path, PathBuf};

use halotau::series::{FrameCount, SampleType, Samples, Warning};

use super::sidecar::{Sidecar, StoredType};
use super::{Format, Probe, sidecar};
use crate::error::{Error, Result};
use crate::open::{OpenRequest, display_name};
use crate::positioned::PositionedFile;
use crate::sample_bytes::copy_at;
use crate::stream::{FrameStream, ScanStatement, StreamHeader};

pub(crate) const FORMAT: Format = Format {
    name: "raw binary with a .toml sidecar",
    recognize,
    open,
};

/// Bytes read at once: large against a request's cost, small against the caches that the copy goes through.
const PIECE_BYTES: u64 = 1 << 20;

fn recognize(probe: &Probe<'_>) -> Option<PathBuf> {
    let is_toml = |path: &Path| path.extension().is_some_and(|end| end == "toml");
    let recording = if is_toml(probe.path) {
        probe.path.with_extension("")
    } else {
        probe.path.to_owned()
    };
    // A sidecar that cannot be understood is an error to be told, so that the file still counts as described.
    let describes_raw = || match Sidecar::of(&recording) {
        Ok(Some(sidecar)) => sidecar.sample_type.is_some(),
        Ok(None) => false,
        Err(_) => !is_toml(probe.path),
    };
    (recording.is_file() && describes_raw()).then_some(recording)
}

impl StoredType {
    fn sample_type(self) -> SampleType {
        match self {
            Self::U8 => SampleType::U8,
            Self::U12 | Self::U16 => SampleType::U16,
            Self::U32 => SampleType::U32,
            Self::I16 => SampleType::I16,
            Self::I32 => SampleType::I32,
            Self::F32 => SampleType::F32,
            Self::F64 => SampleType::F64,
        }
    }

    fn n_bytes(self, n_samples: u64) -> Option<u64> {
        match self {
            Self::U12 => Some(n_samples.checked_mul(12)?.div_ceil(8)),
            stored => n_samples.checked_mul(stored.sample_type().n_bytes() as u64),
        }
    }
}

struct RawFile {
    header: StreamHeader,
    file: PositionedFile,
    stored: StoredType,
    sizes: Sizes,
    sidecar: Sidecar,
}

/// Bytes of the parts of the file.
struct Sizes {
    frame: u64,
    /// From frame to frame.
    stride: u64,
    /// Frames and bytes from one scan header to the next; one endless scan where there are no scan headers.
    scan: Option<(u64, u64)>,
}

impl Sizes {
    /// `None` where a product overflows.
    fn of(sidecar: &Sidecar, stored: StoredType, shape: [u64; 5]) -> Option<Self> {
        let frame = stored.n_bytes(shape[3].checked_mul(shape[4])?)?;
        let stride = frame
            .checked_add(sidecar.frame_header_bytes)?
            .checked_add(sidecar.frame_footer_bytes)?;
        let scan = if sidecar.scan_header_bytes > 0 {
            let n_frames = shape[1].checked_mul(shape[2])?;
            let n_bytes = n_frames.checked_mul(stride)?;
            Some((n_frames, n_bytes.checked_add(sidecar.scan_header_bytes)?))
        } else {
            None
        };
        Some(Self {
            frame,
            stride,
            scan,
        })
    }

    /// Whole frames in so many bytes after the header, and the bytes that belong to none.
    fn n_frames(&self, n_bytes: u64) -> (u64, u64) {
        match self.scan {
            None => (n_bytes / self.stride, n_bytes % self.stride),
            Some((per_scan, scan_bytes)) => {
                let scan_header = scan_bytes - per_scan * self.stride;
                let rest = (n_bytes % scan_bytes).saturating_sub(scan_header);
                (
                    n_bytes / scan_bytes * per_scan + rest / self.stride,
                    rest % self.stride,
                )
            }
        }
    }

    /// Where a frame begins after the header, and how many frames follow it without a gap.
    fn place(&self, frame: u64) -> (u64, u64) {
        match self.scan {
            None => (frame * self.stride, u64::MAX),
            Some((per_scan, scan_bytes)) => {
                let within = frame % per_scan;
                let scan_header = scan_bytes - per_scan * self.stride;
                let start = frame / per_scan * scan_bytes + scan_header;
                (start + within * self.stride, per_scan - within)
            }
        }
    }
}

fn open(path: &Path, _request: &OpenRequest) -> Result<Box<dyn FrameStream>> {
    let bad = |problem: String| Error::BadContainer {
        path: sidecar::path_of(path),
        format: "sidecar",
        problem,
    };
    let sidecar = Sidecar::of(path)?.ok_or_else(|| bad("it is gone".to_owned()))?;
    let (Some(stored), Some(shape)) = (sidecar.sample_type, sidecar.shape) else {
        return Err(bad(
            "raw samples need sample_type and shape = [times, scan rows, scan columns, pattern rows, pattern columns]"
                .to_owned(),
        ));
    };
    let n_unknown = shape[..3].iter().filter(|&&len| len == 0).count();
    if n_unknown > 1 || shape[3..].contains(&0) {
        return Err(bad(format!(
            "shape = {shape:?}: the pattern must be given, and of times, rows and columns at most one may be 0"
        )));
    }
    if sidecar.scan_header_bytes > 0 && shape[1..3].contains(&0) {
        return Err(bad(
            "scan_header_bytes needs the rows and columns of the scan".to_owned(),
        ));
    }
    let file = PositionedFile::open(path)?;
    let lens = shape.map(|len| len as u64);
    let too_large = || {
        bad(format!(
            "shape = {shape:?} asks for more bytes than a file can have"
        ))
    };
    let sizes = Sizes::of(&sidecar, stored, lens).ok_or_else(too_large)?;
    let data = file.len().saturating_sub(sidecar.header_bytes);
    let (n_frames, left) = sizes.n_frames(data);
    if n_frames == 0 {
        return Err(bad(format!(
            "a frame has {} bytes and begins after {}, but {} has {}",
            sizes.stride,
            sidecar.header_bytes,
            display_name(path),
            file.len()
        )));
    }
    let extra = sidecar.prescan_cols.saturating_add(sidecar.flyback_cols);
    let scan = find_shape(shape, n_frames, &sidecar, extra).ok_or_else(too_large)?;
    let mut header = StreamHeader::new(
        display_name(path),
        FORMAT.name,
        n_frames as usize,
        (shape[3], shape[4]),
        stored.sample_type(),
    );
    header.scan = Some(ScanStatement {
        n_times: (scan[0] > 0).then_some(scan[0]),
        sync_offset: sidecar.sync_offset,
        prescan_cols: sidecar.prescan_cols,
        flyback_cols: sidecar.flyback_cols,
        ..ScanStatement::new(scan[1], scan[2], "shape of the .toml file")
    });
    let series = &mut header.series;
    series.frame_counts = vec![FrameCount::new(n_frames, "length of the file")];
    let stated = (shape[..3].iter())
        .try_fold(1_u64, |n, &len| n.checked_mul(len as u64))
        .filter(|&n| n > 0 && extra == 0);
    if let Some(stated) = stated {
        series
            .frame_counts
            .push(FrameCount::new(stated, "shape of the .toml file"));
        if n_frames >= stated && left > 0 {
            series.warnings.push(Warning::new(
                "W122",
                format!("{left} bytes after the last whole frame belong to none. Is the layout in the .toml file right?"),
            ));
        }
    }
    sidecar.describe(series);
    Ok(Box::new(RawFile {
        header,
        file,
        stored,
        sizes,
        sidecar,
    }))
}

/// The scan, with the unknown rows or columns from the count of frames; unknown times stay 0.
fn find_shape(
    shape: [usize; 5],
    n_frames: u64,
    sidecar: &Sidecar,
    extra: usize,
) -> Option<[usize; 3]> {
    let [n_times, mut n_rows, mut n_cols, ..] = shape;
    let used = n_frames.saturating_sub(u64::try_from(sidecar.sync_offset).unwrap_or(0));
    let per_scan = usize::try_from(used / (n_times as u64).max(1)).ok()?;
    if n_rows == 0 {
        n_rows = (per_scan / n_cols.checked_add(extra)?).max(1);
    } else if n_cols == 0 {
        n_cols = (per_scan / n_rows).checked_sub(extra)?.max(1);
    }
    Some([n_times, n_rows, n_cols])
}

impl FrameStream for RawFile {
    fn header(&self) -> &StreamHeader {
        &self.header
    }

    fn expect(&self, frames: Range<u64>) {
        let Some(last) = frames
            .end
            .checked_sub(1)
            .filter(|&last| frames.start <= last)
        else {
            return;
        };
        // With the headers of scans that lie between.
        let start = self.sizes.place(frames.start).0;
        let end = self.sizes.place(last).0.saturating_add(self.sizes.stride);
        self.file
            .expect(self.sidecar.header_bytes + start, end - start);
    }

    fn read(&self, frames: Range<u64>, samples: &mut Samples, mut at: usize) -> Result<()> {
        let frame_len = self.header.series.shape.frame_len();
        let stride = self.sizes.stride as usize;
        let skip = self.sidecar.frame_header_bytes as usize;
        let per_piece = (PIECE_BYTES / self.sizes.stride).max(1);
        let mut bytes = Vec::new();
        let mut frame = frames.start;
        while frame < frames.end {
            let (start, n_follow) = self.sizes.place(frame);
            let n = per_piece.min(n_follow).min(frames.end - frame);
            bytes.resize(n as usize * stride, 0);
            self.file
                .read_exact_at(&mut bytes, self.sidecar.header_bytes + start)?;
            for record in bytes.chunks_exact(stride) {
                let pattern = &record[skip..skip + self.sizes.frame as usize];
                match &mut *samples {
                    Samples::U16(samples) if self.stored == StoredType::U12 => {
                        let samples = &mut samples[at..at + frame_len];
                        unpack(pattern, self.sidecar.big_endian, samples);
                    }
                    samples => copy_at(samples, at, pattern, self.sidecar.big_endian),
                }
                at += frame_len;
            }
            frame += n;
        }
        Ok(())
    }
}

/// Samples of 12 bits from three bytes a pair; the last of an odd number has two.
fn unpack(packed: &[u8], big_endian: bool, samples: &mut [u16]) {
    for (pair, bytes) in samples.chunks_mut(2).zip(packed.chunks(3)) {
        let byte = |idx: usize| u16::from(bytes.get(idx).copied().unwrap_or(0));
        let (first, second) = if big_endian {
            (byte(0) << 4 | byte(1) >> 4, (byte(1) & 0xf) << 8 | byte(2))
        } else {
            (byte(0) | (byte(1) & 0xf) << 8, byte(1) >> 4 | byte(2) << 4)
        };
        for (sample, value) in pair.iter_mut().zip([first, second]) {
            *sample = value;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_of_twelve_bits_unpack_in_both_orders() {
        let mut samples = [0; 3];
        unpack(&[0xbc, 0x6a, 0x45, 0x23, 0x01], false, &mut samples);
        assert_eq!(samples, [0xabc, 0x456, 0x123]);
        unpack(&[0xab, 0xc4, 0x56, 0x12, 0x30], true, &mut samples);
        assert_eq!(samples, [0xabc, 0x456, 0x123]);
    }
}
