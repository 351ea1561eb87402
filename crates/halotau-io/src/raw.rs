//! How are frames laid out in a raw binary file?
//!
//! ```text
//! header | scan header | frame header | pattern | frame footer | frame header | pattern | ... | scan header | ...
//! ```
//!
//! A file whose length is not exactly that of its layout is refused: it was cut short, or the layout is wrong.

use std::path::Path;

use halotau::recipe::RawLayout;
use halotau::series::{FrameBlock, FrameRun, SeriesHeader, SeriesShape};
use halotau::source::FrameSource;

use crate::arrangement::nearest_shapes;
use crate::error::{Error, Result, ShapeMismatch, SizeMismatch};
use crate::positioned::PositionedFile;
use crate::sample_bytes::{copy_at, little_endian_mut, prepare};

/// Bytes read at once: large against a request's cost, small against the caches that the copy goes through.
const PIECE_BYTES: u64 = 1 << 20;

/// Frames that lie one after another in a file.
#[derive(Debug)]
pub(crate) struct LinearSource {
    file: PositionedFile,
    header: SeriesHeader,
    layout: RawLayout,
    frame_bytes: u64,
    frame_stride: u64,
    scan_stride: u64,
}

impl LinearSource {
    /// Checks a layout against the length of its file. `format` is the container in words.
    ///
    /// # Errors
    ///
    /// [`Error::Size`] where they differ.
    pub(crate) fn new(
        file: PositionedFile,
        format: &str,
        shape: SeriesShape,
        layout: RawLayout,
    ) -> Result<Self> {
        let sizes = Sizes::of(
            &layout,
            shape.pattern_rows as u64,
            shape.pattern_cols as u64,
        );
        let n_positions = (shape.n_rows as u64).checked_mul(shape.n_cols as u64);
        let scan_stride = sizes.and_then(|s| s.scan_stride(n_positions?));
        let expected = scan_stride
            .and_then(|stride| stride.checked_mul(shape.n_times as u64))
            .and_then(|n| n.checked_add(layout.header_bytes));
        let (Some(sizes), Some(scan_stride), true) =
            (sizes, scan_stride, expected == Some(file.len()))
        else {
            return Err(size_error(&file, &layout, shape, expected));
        };
        let name = crate::open::display_name(file.path());
        Ok(Self {
            header: SeriesHeader::new(name, format, shape, layout.sample_type),
            file,
            frame_bytes: sizes.frame,
            frame_stride: sizes.frame_stride,
            scan_stride,
            layout,
        })
    }

    /// What is known, to note what the file does not say.
    pub(crate) fn header_mut(&mut self) -> &mut SeriesHeader {
        &mut self.header
    }

    /// Where a frame of a scan starts in the file.
    fn frame_start(&self, time: usize, frame: usize) -> u64 {
        self.layout.header_bytes
            + time as u64 * self.scan_stride
            + self.layout.scan_header_bytes
            + frame as u64 * self.frame_stride
    }

    fn read_frames(&self, run: &FrameRun, block: &mut FrameBlock) -> Result<()> {
        prepare(block, run, &self.header)?;
        let frame_len = self.header.shape.frame_len();
        if self.frame_stride == self.frame_bytes && !self.layout.big_endian {
            return self.read_plain(run, block);
        }
        let per_piece = (PIECE_BYTES / self.frame_stride).max(1) as usize;
        let mut bytes = vec![0_u8; per_piece.min(run.n_frames) * self.frame_stride as usize];
        let mut at = 0;
        for time in run.first_time..run.first_time + run.n_times {
            let mut frame = run.first_frame;
            while frame < run.first_frame + run.n_frames {
                let n = per_piece.min(run.first_frame + run.n_frames - frame);
                let start = self.frame_start(time, frame);
                let bytes = &mut bytes[..n * self.frame_stride as usize];
                self.file.read_exact_at(bytes, start)?;
                for one in bytes.chunks_exact(self.frame_stride as usize) {
                    let skip = self.layout.frame_header_bytes as usize;
                    let pattern = &one[skip..skip + self.frame_bytes as usize];
                    copy_at(&mut block.samples, at, pattern, self.layout.big_endian);
                    at += frame_len;
                }
                frame += n;
            }
        }
        Ok(())
    }

    /// Frames without anything between them, in the processor's own order: read to where they are kept.
    fn read_plain(&self, run: &FrameRun, block: &mut FrameBlock) -> Result<()> {
        let per_time = run.n_frames * self.header.shape.frame_len();
        for (number, time) in (run.first_time..run.first_time + run.n_times).enumerate() {
            let start = self.frame_start(time, run.first_frame);
            let range = number * per_time..(number + 1) * per_time;
            match little_endian_mut(&mut block.samples, range.clone()) {
                Some(bytes) => self.file.read_exact_at(bytes, start)?,
                None => {
                    let mut bytes = vec![0; run.n_frames * self.frame_bytes as usize];
                    self.file.read_exact_at(&mut bytes, start)?;
                    copy_at(&mut block.samples, range.start, &bytes, false);
                }
            }
        }
        Ok(())
    }
}

impl FrameSource for LinearSource {
    fn header(&self) -> &SeriesHeader {
        &self.header
    }

    fn read(&self, run: &FrameRun, block: &mut FrameBlock) -> halotau::Result<()> {
        self.read_frames(run, block)
            .map_err(|e| e.into_core(&self.header.name))
    }

    fn expect(&self, run: &FrameRun) {
        if run.check(&self.header.shape).is_err() {
            return;
        }
        for time in run.first_time..run.first_time + run.n_times {
            let start = self.frame_start(time, run.first_frame);
            self.file
                .expect(start, run.n_frames as u64 * self.frame_stride);
        }
    }
}

/// Opens a raw binary file. One entry of the shape may be 0: it follows from the length of the file.
///
/// # Errors
///
/// [`Error::Size`] with the whole frames and scans that the file holds, where its length is another.
pub(crate) fn open_raw(
    path: &Path,
    layout: &RawLayout,
    wanted: Option<[usize; 5]>,
    n_times: Option<usize>,
) -> Result<LinearSource> {
    let mut file = PositionedFile::open(path)?;
    let Some(mut wanted) = wanted else {
        return Err(shape_missing(
            path,
            &[],
            "a raw binary file does not state its shape; give data.shape = [times, scan rows, scan columns, pattern rows, pattern columns]",
        ));
    };
    if let Some(n_times) = n_times {
        // What follows the last scan that is taken is none of ours.
        wanted[0] = n_times;
        let end = bytes_of_scans(layout, wanted.map(|len| len as u64));
        if let Some(end) = end.filter(|&end| end < file.len()) {
            file = file.cut(end);
        }
    }
    let n_unknown = wanted.iter().filter(|&&len| len == 0).count();
    if n_unknown > 1 {
        return Err(shape_missing(
            path,
            &wanted,
            "only one length can be found out from the size of a raw binary file",
        ));
    }
    let shape = match wanted.iter().position(|&len| len == 0) {
        None => wanted,
        Some(unknown) => solve(&file, layout, wanted, unknown)?,
    };
    let shape = SeriesShape {
        n_times: shape[0],
        n_rows: shape[1],
        n_cols: shape[2],
        pattern_rows: shape[3],
        pattern_cols: shape[4],
    };
    LinearSource::new(file, "raw binary", shape, layout.clone())
}

/// Bytes of a file with so many scans, `[time, row, col, pattern row, pattern col]`; `None` where they cannot be counted.
pub(crate) fn bytes_of_scans(layout: &RawLayout, shape: [u64; 5]) -> Option<u64> {
    let sizes = Sizes::of(layout, shape[3], shape[4])?;
    let scan = sizes.scan_stride(shape[1].checked_mul(shape[2])?)?;
    scan.checked_mul(shape[0])?.checked_add(layout.header_bytes)
}

/// Tries the length that would use up the file; [`LinearSource::new`] checks that nothing is left.
fn solve(
    file: &PositionedFile,
    layout: &RawLayout,
    wanted: [usize; 5],
    unknown: usize,
) -> Result<[usize; 5]> {
    let bytes_with = |len: u64| {
        let mut w = wanted.map(|l| l as u64);
        w[unknown] = len;
        bytes_of_scans(layout, w)
    };
    // The length of the file is linear in the unknown length, so two points give it.
    let len = bytes_with(0).zip(bytes_with(1)).and_then(|(none, one)| {
        let each = one.checked_sub(none).filter(|&each| each > 0)?;
        let len = file.len().checked_sub(none)? / each;
        usize::try_from(len).ok()
    });
    let mut shape = wanted;
    shape[unknown] = len.unwrap_or(0).max(1);
    Ok(shape)
}

/// Bytes of the parts of a layout.
#[derive(Debug, Clone, Copy)]
struct Sizes {
    frame: u64,
    frame_stride: u64,
    scan_header: u64,
}

impl Sizes {
    /// `None` where a product overflows.
    fn of(layout: &RawLayout, pattern_rows: u64, pattern_cols: u64) -> Option<Self> {
        let frame = pattern_rows
            .checked_mul(pattern_cols)?
            .checked_mul(layout.sample_type.n_bytes() as u64)?;
        let frame_stride = frame
            .checked_add(layout.frame_header_bytes)?
            .checked_add(layout.frame_footer_bytes)?;
        Some(Self {
            frame,
            frame_stride,
            scan_header: layout.scan_header_bytes,
        })
    }

    fn scan_stride(self, n_positions: u64) -> Option<u64> {
        self.frame_stride
            .checked_mul(n_positions)?
            .checked_add(self.scan_header)
    }
}

fn shape_missing(path: &Path, wanted: &[usize], problem: &str) -> Error {
    Error::Shape {
        what: path.display().to_string(),
        mismatch: Box::new(ShapeMismatch {
            wanted: wanted.iter().map(|&len| len as u64).collect(),
            found: Vec::new(),
            problem: problem.to_owned(),
            suggestions: Vec::new(),
        }),
    }
}

fn size_error(
    file: &PositionedFile,
    layout: &RawLayout,
    shape: SeriesShape,
    expected: Option<u64>,
) -> Error {
    let actual = file.len();
    let data = actual.saturating_sub(layout.header_bytes);
    let sizes = Sizes::of(layout, shape.pattern_rows as u64, shape.pattern_cols as u64)
        .filter(|sizes| sizes.frame_stride > 0);
    let positions = (shape.n_rows as u64).saturating_mul(shape.n_cols as u64);
    let scan = sizes
        .and_then(|sizes| sizes.scan_stride(positions))
        .filter(|&n| n > 0);
    let whole_times = scan.map_or(0, |scan| data / scan);
    let whole_frames = sizes.map_or(0, |sizes| {
        let rest = scan.map_or(data, |scan| data % scan);
        let rest = rest.saturating_sub(sizes.scan_header) / sizes.frame_stride;
        whole_times
            .saturating_mul(positions)
            .saturating_add(rest.min(positions))
    });
    let wanted = [shape.n_times, shape.n_rows, shape.n_cols].map(|len| len as u64);
    Error::Size {
        path: file.path().to_owned(),
        size: Box::new(SizeMismatch {
            expected_bytes: expected,
            actual_bytes: actual,
            whole_frames,
            whole_times,
            suggestions: nearest_shapes(whole_frames, wanted),
        }),
    }
}
