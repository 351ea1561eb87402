//! Which reader does a file need?
//!
//! The content decides, never the ending of the name.

use std::path::{Path, PathBuf};

use halotau::recipe::{DataBlock, RawLayout};
use halotau::source::FrameSource;

use crate::error::{Error, Result};
use crate::hdf5_source::open_hdf5;
use crate::npy::open_npy;
use crate::positioned::PositionedFile;
use crate::raw::open_raw;
use crate::zarr_source::open_zarr;
use crate::{folder, npy, zarr_tree};

/// A source of frames that may move between threads.
pub type BoxedSource = Box<dyn FrameSource + Send>;

/// What to open, and what its files do not say themselves.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct OpenRequest {
    /// A file, a Zarr folder, or a folder of one-scan files.
    pub path: PathBuf,
    /// One-scan files in order of time, instead of a folder.
    pub files: Vec<PathBuf>,
    /// Path of the dataset inside an HDF5 file or Zarr group.
    pub dataset: Option<String>,
    /// `[time, scan row, scan col, pattern row, pattern col]`; one entry may be 0 for "find out".
    pub shape: Option<[usize; 5]>,
    /// Layout of a raw binary file; where given, files are read as raw binary whatever they look like.
    pub raw: Option<RawLayout>,
}

impl OpenRequest {
    /// A file or folder that says all there is to know.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            ..Self::default()
        }
    }

    /// The request of a recipe's data block, whose paths are relative to a folder.
    pub fn from_block(block: &DataBlock, base: &Path) -> Self {
        Self {
            path: base.join(&block.path),
            files: block.files.iter().map(|file| base.join(file)).collect(),
            dataset: block.dataset.clone(),
            shape: block.shape,
            raw: block.raw.clone(),
        }
    }
}

/// Opens a series of scans.
///
/// # Errors
///
/// [`Error::Io`] where the system refuses, [`Error::UnknownContainer`] where the content is none of the
/// formats, [`Error::Size`] and [`Error::Shape`] where shape and file contradict each other, and others that
/// say what is wrong with the file.
///
/// # Example
///
/// ```
/// use halotau_io::{OpenRequest, open};
///
/// let error = open(&OpenRequest::new("no/such/series.npy")).err().expect("there is none");
/// assert_eq!(error.exit_code(), 66);
/// ```
pub fn open(request: &OpenRequest) -> Result<BoxedSource> {
    if !request.files.is_empty() {
        return folder::open_files(&request.files, request);
    }
    match container(&request.path, request.raw.is_some())? {
        Container::Folder => folder::open_folder(request),
        container => open_container(&request.path, container, request),
    }
}

/// A format that is recognized by its content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Container {
    Npy,
    Raw,
    Hdf5,
    Zarr,
    Folder,
}

/// Opens a single file or store.
pub(crate) fn open_container(
    path: &Path,
    container: Container,
    request: &OpenRequest,
) -> Result<BoxedSource> {
    let dataset = request.dataset.as_deref();
    let shape = request.shape;
    Ok(match (container, &request.raw) {
        (Container::Npy, _) => Box::new(open_npy(path, shape)?),
        (Container::Hdf5, _) => Box::new(open_hdf5(path, dataset, shape)?),
        (Container::Zarr, _) => Box::new(open_zarr(path, dataset, shape)?),
        (Container::Raw, Some(layout)) => Box::new(open_raw(path, layout, shape)?),
        (Container::Raw | Container::Folder, _) => {
            return Err(Error::UnknownContainer {
                path: path.to_owned(),
                found: "a folder or raw data inside a series of files".to_owned(),
            });
        }
    })
}

/// Looks at a path to tell its format.
///
/// # Errors
///
/// [`Error::UnknownContainer`] where it is none.
pub(crate) fn container(path: &Path, is_raw: bool) -> Result<Container> {
    let metadata = std::fs::metadata(path).map_err(|e| Error::io(path, "open", e))?;
    if metadata.is_dir() {
        return Ok(if zarr_tree::is_zarr(path) {
            Container::Zarr
        } else {
            Container::Folder
        });
    }
    if !metadata.is_file() {
        return Err(Error::UnknownContainer {
            path: path.to_owned(),
            found: "it is neither a file nor a folder".to_owned(),
        });
    }
    if is_raw {
        return Ok(Container::Raw);
    }
    let file = PositionedFile::open(path)?;
    let start = file.start(16)?;
    if start.starts_with(npy::MAGIC) {
        return Ok(Container::Npy);
    }
    if crate::hdf5_source::signature_offset(&file)?.is_some() {
        return Ok(Container::Hdf5);
    }
    Err(Error::UnknownContainer {
        path: path.to_owned(),
        found: guess(&start).to_owned(),
    })
}

/// What a file that is not read looks like.
fn guess(start: &[u8]) -> &'static str {
    match start {
        [] => "the file is empty",
        [b'P', b'K', 3, 4, ..] => "it looks like a zip archive: unpack it, or save .npy, not .npz",
        [b'I', b'I', 42, 0, ..] | [b'M', b'M', 0, 42, ..] => "it looks like a TIFF file",
        [0, 0, 0, 3 | 4, ..] => "it looks like a DigitalMicrograph file",
        [b'M', b'Q', b'1', ..] => "it looks like a Merlin file",
        [0x1f, 0x8b, ..] => "it is compressed by gzip: unpack it",
        [b'{' | b'[', ..] => "it looks like a text file",
        _ => "its first bytes belong to no format that is known here",
    }
}

/// What a person calls a file: its name without the folders before it.
pub(crate) fn display_name(path: &Path) -> String {
    path.file_name().map_or_else(
        || path.display().to_string(),
        |name| name.to_string_lossy().into_owned(),
    )
}
