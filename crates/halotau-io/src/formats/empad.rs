//! How does the EMPAD (Cornell, Thermo Fisher) hold a scan?
//!
//! ```text
//! NAME.raw: 128 rows of image and 2 of metadata, 128 columns, f32 little-endian | the next frame | ...
//! NAME.xml: which .raw file, the size of the scan (in several places that can disagree), microscope
//! ```
//!
//! The rows of metadata are left out: their meaning changes from version to version. Samples are read as they are stored,
//! first row first, NaN included. The background is commonly subtracted already, so samples can be negative.

mod sidecar;

use std::ops::Range;
use std::path::{Path, PathBuf};

use halotau::series::{FrameCount, SampleType, Samples, Warning};

use self::sidecar::{ScanSize, Sidecar};
use super::{Format, Probe};
use crate::error::{Error, Result};
use crate::open::{OpenRequest, display_name};
use crate::positioned::PositionedFile;
use crate::sample_bytes::copy_at;
use crate::stream::strided::StridedFile;
use crate::stream::{FrameStream, ScanStatement, StreamHeader};

pub(crate) const FORMAT: Format = Format {
    name: "EMPAD raw",
    recognize,
    open,
};

/// Rows and columns of the image.
const SIDE: usize = 128;
const FRAME_BYTES: usize = SIDE * SIDE * 4;
/// Bytes from frame to frame: two rows of metadata follow the image.
const STRIDE: u64 = (SIDE as u64 + 2) * SIDE as u64 * 4;

fn recognize(probe: &Probe<'_>) -> Option<PathBuf> {
    if sidecar::is_sidecar(probe) {
        return Some(probe.path.to_owned());
    }
    if !has_raw_name(probe.path) {
        return None;
    }
    // A .raw file says nothing of itself: the sidecar does, or its name together with its length.
    sidecar::of_raw(probe.path).or_else(|| {
        let named = sidecar::size_in_name(probe.path).is_some();
        let whole = probe.len > 0 && probe.len.is_multiple_of(STRIDE);
        (named && whole).then(|| probe.path.to_owned())
    })
}

fn has_raw_name(path: &Path) -> bool {
    path.extension()
        .is_some_and(|extension| extension.eq_ignore_ascii_case("raw"))
}

struct Recording {
    header: StreamHeader,
    frames: StridedFile,
}

fn open(path: &Path, _request: &OpenRequest) -> Result<Box<dyn FrameStream>> {
    let (raw, sidecar) = if has_raw_name(path) {
        (path.to_owned(), Sidecar::default())
    } else {
        let sidecar = Sidecar::read(path)?;
        (sidecar.raw_file(path)?, sidecar)
    };
    let frames = StridedFile::new(PositionedFile::open(&raw)?, 0, STRIDE);
    let n_frames = frames.n_records();
    if n_frames == 0 {
        return Err(Error::BadContainer {
            path: raw,
            format: FORMAT.name,
            problem: format!(
                "a frame has {STRIDE} bytes, the file {}",
                frames.file().len()
            ),
        });
    }
    let mut header = StreamHeader::new(
        display_name(path),
        FORMAT.name,
        n_frames as usize,
        (SIDE, SIDE),
        SampleType::F32,
    );
    let mut sizes = sidecar.sizes.clone();
    sizes.extend(sidecar::size_in_name(&raw));
    let series = &mut header.series;
    series.frame_counts = vec![FrameCount::new(n_frames, "length of the .raw file")];
    for size in &sizes {
        series
            .frame_counts
            .push(FrameCount::new(size.n_frames(), &size.origin));
    }
    sidecar.describe(series);
    if let Some(size) = choose(&sizes, n_frames) {
        if !size.fits(n_frames) {
            series.warnings.push(Warning::new(
                "W120",
                format!(
                    "None of the sizes that are stated for the scan uses up the {n_frames} frames of {}; {} x {} is taken, {}. Give data.shape if it is another.",
                    display_name(&raw),
                    size.n_rows,
                    size.n_cols,
                    size.origin
                ),
            ));
        }
        sidecar.describe_step(size, series);
        header.scan = Some(size.statement());
    }
    Ok(Box::new(Recording { header, frames }))
}

/// The size that is believed: one that uses up the file; else one that it holds several times; else the nearest that is larger,
/// of a recording that was cut short.
fn choose(sizes: &[ScanSize], n_frames: u64) -> Option<&ScanSize> {
    let exact = sizes.iter().find(|size| size.n_frames() == n_frames);
    let repeated = || {
        sizes
            .iter()
            .filter(|size| size.fits(n_frames))
            .max_by_key(|size| size.n_frames())
    };
    let larger = || {
        sizes
            .iter()
            .filter(|size| size.n_frames() > n_frames)
            .min_by_key(|size| size.n_frames())
    };
    exact.or_else(repeated).or_else(larger)
}

impl ScanSize {
    fn statement(&self) -> ScanStatement {
        ScanStatement {
            // Patterns one after another at the same place.
            n_times: self.is_series.then_some(self.n_cols),
            ..ScanStatement::new(
                self.n_rows,
                if self.is_series { 1 } else { self.n_cols },
                self.origin.clone(),
            )
        }
    }
}

impl FrameStream for Recording {
    fn header(&self) -> &StreamHeader {
        &self.header
    }

    fn read(&self, frames: Range<u64>, samples: &mut Samples, mut at: usize) -> Result<()> {
        self.frames.for_each(frames, |record| {
            copy_at(samples, at, &record[..FRAME_BYTES], false);
            at += SIDE * SIDE;
            Ok(())
        })
    }

    fn expect(&self, frames: Range<u64>) {
        self.frames.expect(frames);
    }
}
