//! Which detectors' own files are read?
//!
//! One module a format. Each says by content whether a file is of its format and which is the acquisition's main file, and
//! opens that as a [`FrameStream`]. To add one, see "Add a reader" in `CONTRIBUTING.md`.

mod blo;
mod described_raw;
mod dm;
mod empad;
mod fields;
mod frms6;
mod mib;
mod mrc;
mod ndata;
mod seq;
mod ser;
mod sidecar;
mod tiff;
mod timepix3;
mod tvips;

use std::path::{Path, PathBuf};

use crate::error::Result;
use crate::hdf5::{counted, dectris};
use crate::open::OpenRequest;
use crate::positioned::PositionedFile;
use crate::stream::FrameStream;

/// A format of a detector or microscope.
pub(crate) struct Format {
    /// What a person calls it.
    pub(crate) name: &'static str,
    /// The main file of the acquisition that a file belongs to, where the file is of this format.
    ///
    /// A part of an acquisition (a sidecar, the second of several files) gives the main file, so that a person may name any.
    pub(crate) recognize: fn(&Probe<'_>) -> Option<PathBuf>,
    /// Opens an acquisition by its main file.
    pub(crate) open: fn(&Path, &OpenRequest) -> Result<Box<dyn FrameStream>>,
}

/// Formats in the order in which they are tried: those with a signature first, those that are known by a sidecar last. What a person
/// has described in a sidecar of ours is taken as described. StreamPix comes before MRC, because its references are files of the latter.
const FORMATS: &[Format] = &[
    timepix3::FORMAT,
    described_raw::FORMAT,
    blo::FORMAT,
    mib::FORMAT,
    frms6::FORMAT,
    seq::FORMAT,
    mrc::FORMAT,
    dm::FORMAT,
    ser::FORMAT,
    tvips::FORMAT,
    tiff::FORMAT,
    empad::FORMAT,
    dectris::FORMAT,
    counted::FORMAT,
    ndata::FORMAT,
];

/// Bytes at the start of a file that recognition may look at.
const PROBE_BYTES: usize = 4096;

/// What is known of a file before its format is.
pub(crate) struct Probe<'a> {
    pub(crate) path: &'a Path,
    /// The first bytes, up to 4096.
    pub(crate) start: &'a [u8],
    /// Length of the file.
    pub(crate) len: u64,
    /// Whether a person named this very file, rather than its folder: some sidecars can be looked at by themselves.
    pub(crate) named: bool,
}

/// The format of a file, and the main file of its acquisition.
pub(crate) fn recognize(
    file: &PositionedFile,
    named: bool,
) -> Result<Option<(&'static Format, PathBuf)>> {
    let start = file.start(PROBE_BYTES)?;
    let probe = Probe {
        path: file.path(),
        start: &start,
        len: file.len(),
        named,
    };
    Ok(FORMATS
        .iter()
        .find_map(|format| Some((format, (format.recognize)(&probe)?))))
}

/// Whether files of a format are commonly pictures that lie beside the recording they were made of.
pub(crate) fn is_picture(format: &Format) -> bool {
    format.name == tiff::FORMAT.name
}

/// What a person calls the formats of detectors that are read, besides HDF5, Zarr, `.npy` and raw binary.
pub fn names() -> Vec<&'static str> {
    FORMATS.iter().map(|format| format.name).collect()
}
