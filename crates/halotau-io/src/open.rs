//! Which reader does a file need?
//!
//! The content decides, never the ending of the name.

use std::path::{Path, PathBuf};

use halotau::recipe::{DataBlock, FrameLayout, RawLayout};
use halotau::source::FrameSource;

use crate::error::{Error, Result};
use crate::first_scans::first_scans;
use crate::formats::{self, Format};
use crate::hdf5::open_hdf5;
use crate::npy::open_npy;
use crate::positioned::PositionedFile;
use crate::raw::open_raw;
use crate::stream::SourceStream;
use crate::stream::arranged::ArrangedSource;
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
    /// Scans to take, from the first; what follows them in a raw or NumPy file may be cut short.
    pub n_times: Option<usize>,
    /// Layout of a raw binary file; where given, files are read as raw binary whatever they look like.
    pub raw: Option<RawLayout>,
    /// Which frames belong to which positions, and how both planes are turned.
    pub frames: FrameLayout,
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
            n_times: block.n_times,
            raw: block.raw.clone(),
            frames: block.frames,
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
    let source = if !request.files.is_empty() {
        folder::open_files(&request.files, request)
    } else {
        match container(&request.path, request.raw.is_some(), true)? {
            (Container::Folder, _) => folder::open_folder(request),
            (container, main) => open_container(&main, container, request),
        }
    }?;
    match request.n_times {
        Some(n_times) => first_scans(source, n_times),
        None => Ok(source),
    }
}

/// A format that is recognized by its content.
#[derive(Clone, Copy)]
pub(crate) enum Container {
    Npy,
    Raw,
    Hdf5,
    Zarr,
    Folder,
    /// The format of a detector.
    Detector(&'static Format),
}

/// Opens a single file or store.
pub(crate) fn open_container(
    path: &Path,
    container: Container,
    request: &OpenRequest,
) -> Result<BoxedSource> {
    let layout = &request.frames;
    if let Container::Detector(format) = container {
        let stream = (format.open)(path, request)?;
        let source = ArrangedSource::new(stream, request.shape, layout)?;
        return Ok(Box::new(source));
    }
    // A shape that a person gives counts the positions, not the frames of the flyback that the file holds besides.
    let shape = request.shape.filter(|_| !layout.rearranges());
    let dataset = request.dataset.as_deref();
    // Of a file that still grows only the first scans are asked for, and it has not the number that there will be.
    let of_beginning = || match request.n_times {
        Some(_) => shape.and(growing_shape(request)),
        None => shape,
    };
    let source: BoxedSource = match (container, &request.raw) {
        (Container::Npy, _) => Box::new(open_npy(path, shape, request.n_times)?),
        (Container::Hdf5, _) => open_hdf5(path, dataset, of_beginning(), layout.counter)?,
        (Container::Zarr, _) => Box::new(open_zarr(path, dataset, of_beginning())?),
        (Container::Raw, Some(layout)) => {
            Box::new(open_raw(path, layout, request.shape, request.n_times)?)
        }
        (Container::Raw | Container::Folder | Container::Detector(_), _) => {
            return Err(Error::UnknownContainer {
                path: path.to_owned(),
                found: "a folder or raw data inside a series of files".to_owned(),
            });
        }
    };
    if !layout.rearranges() {
        return Ok(source);
    }
    let stream = Box::new(SourceStream::new(source));
    Ok(Box::new(ArrangedSource::new(
        stream,
        request.shape,
        layout,
    )?))
}

/// The shape asked for, of a series of which only the first scans are there: their number is the file's.
pub(crate) fn growing_shape(request: &OpenRequest) -> Option<[usize; 5]> {
    let [n_times, n_rows, n_cols, rows, cols] = request.shape?;
    // Without the scan's lengths nothing else tells how the frames are arranged.
    let is_told = n_rows > 0 && n_cols > 0;
    Some([
        if is_told { 0 } else { n_times },
        n_rows,
        n_cols,
        rows,
        cols,
    ])
}

/// Looks at a path to tell its format, and which is the main file of the acquisition that it belongs to. `named` says that a
/// person named the path, rather than its folder.
///
/// # Errors
///
/// [`Error::UnknownContainer`] where it is none.
pub(crate) fn container(path: &Path, is_raw: bool, named: bool) -> Result<(Container, PathBuf)> {
    let of = |container| Ok((container, path.to_owned()));
    let metadata = std::fs::metadata(path).map_err(|e| Error::io(path, "open", e))?;
    if metadata.is_dir() {
        return of(if zarr_tree::is_zarr(path) {
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
        return of(Container::Raw);
    }
    let file = PositionedFile::open(path)?;
    let start = file.start(16)?;
    if start.starts_with(npy::MAGIC) {
        return of(Container::Npy);
    }
    if let Some((format, main)) = formats::recognize(&file, named)? {
        return Ok((Container::Detector(format), main));
    }
    if crate::hdf5::signature_offset(&file)?.is_some() {
        return of(Container::Hdf5);
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
        [0x1f, 0x8b, ..] => "it is compressed by gzip: unpack it",
        [b'H', b'D', b'R', b',', ..] => {
            "it looks like the header of a Merlin recording: put the .mib file of the same name beside it"
        }
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
