//! How many scans are whole in a file or folder that is still written?
//!
//! The length of a raw or NumPy file tells: a scan counts when its last byte is there, and the half of a frame that a writer has flushed is
//! nothing yet. In a folder a file counts when it opens as a whole scan of the shape of the first, and all before it do. In a Zarr store a scan counts when all of its
//! chunks are there, in an HDF5 file when they are in the dataset's index, and in both when the last of them can be decoded; whatever is half written then is nothing yet,
//! metadata included. An HDF5 dataset without chunks has its full length from the beginning and is refused. What other formats hold is taken as finished.

use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::folder::scan_files;
use crate::hdf5;
use crate::npy;
use crate::open::{Container, OpenRequest, container, growing_shape, open, open_container};
use crate::positioned::PositionedFile;
use crate::raw::bytes_of_scans;
use crate::zarr_source::open_zarr;

/// Scans of a series that may still grow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Extent {
    /// Scans that are whole, from the first on.
    pub n_times: usize,
    /// Scans that there will be, where request or file say so.
    pub expected: Option<usize>,
}

impl Extent {
    /// Whether all is there that was expected.
    pub fn is_complete(&self) -> bool {
        self.expected
            .is_some_and(|expected| self.n_times >= expected)
    }
}

/// Looks how far a series has grown beyond the scans that are `known` to be whole. What is not there yet has no scans.
///
/// # Errors
///
/// [`Error::Shape`] where the lengths of a raw file's scan are not stated; [`Error::NotFollowed`] where the file does not tell what is written; errors of the system
/// other than that nothing is there.
pub fn extent(request: &OpenRequest, known: usize) -> Result<Extent> {
    let mut found = if request.files.is_empty() {
        of_path(request, known)?
    } else {
        let files = request.files.iter().map(|path| there(path, request));
        let files: Vec<_> = files.map_while(Result::transpose).collect::<Result<_>>()?;
        Extent {
            n_times: whole_files(&files, request)?,
            expected: Some(request.files.len()),
        }
    };
    let stated = request.shape.map(|shape| shape[0]).filter(|&n| n > 0);
    found.expected = request.n_times.or(stated).or(found.expected);
    if let Some(expected) = found.expected {
        found.n_times = found.n_times.min(expected);
    }
    Ok(found)
}

/// The container of a file that is there.
fn there(path: &Path, request: &OpenRequest) -> Result<Option<(PathBuf, Container)>> {
    match container(path, request.raw.is_some(), true) {
        Ok((container, main)) => Ok(Some((main, container))),
        // Its first bytes are not there yet.
        Err(Error::UnknownContainer { .. }) => Ok(None),
        Err(error) if error.exit_code() == 66 => Ok(None),
        Err(error) => Err(error),
    }
}

fn of_path(request: &OpenRequest, known: usize) -> Result<Extent> {
    let Some((path, container)) = there(&request.path, request)? else {
        return Ok(Extent::default());
    };
    match container {
        Container::Raw => of_raw(&path, request),
        Container::Npy => of_npy(&path, request),
        Container::Folder => Ok(Extent {
            n_times: whole_files(&scan_files(request)?, request)?,
            expected: None,
        }),
        Container::Zarr | Container::Hdf5 => {
            let dataset = request.dataset.as_deref();
            let shape = growing_shape(request).filter(|_| !request.frames.rearranges());
            let found = match container {
                Container::Zarr => {
                    open_zarr(&path, dataset, shape).map(|store| store.extent(known))
                }
                _ => hdf5::extent(&path, dataset, shape, known),
            };
            match found {
                // Metadata that are written right now.
                Err(error)
                    if error.exit_code() == 65 && !matches!(error, Error::NotFollowed { .. }) =>
                {
                    Ok(Extent::default())
                }
                found => found,
            }
        }
        _ => {
            let n_times = open(request)?.header().shape.n_times;
            Ok(Extent {
                n_times,
                expected: Some(n_times),
            })
        }
    }
}

fn of_raw(path: &Path, request: &OpenRequest) -> Result<Extent> {
    let file = PositionedFile::open(path)?;
    let layout = request.raw.as_ref();
    let bytes = |n_times: u64| {
        let [_, n_rows, n_cols, rows, cols] = request.shape?.map(|len| len as u64);
        bytes_of_scans(layout?, [n_times, n_rows, n_cols, rows, cols])
    };
    let (Some(header), Some(first)) = (bytes(0), bytes(1).filter(|&first| Some(first) > bytes(0)))
    else {
        return Err(Error::Shape {
            what: path.display().to_string(),
            mismatch: Box::new(crate::error::ShapeMismatch {
                wanted: Vec::new(),
                found: Vec::new(),
                problem: "a raw binary file that grows needs data.shape with all lengths but the number of scans"
                    .to_owned(),
                suggestions: Vec::new(),
            }),
        });
    };
    let n_times = file.len().saturating_sub(header) / (first - header);
    Ok(Extent {
        n_times: usize::try_from(n_times).unwrap_or(usize::MAX),
        expected: None,
    })
}

fn of_npy(path: &Path, request: &OpenRequest) -> Result<Extent> {
    let file = PositionedFile::open(path)?;
    // A header that is cut short is one that is still written.
    let Ok(header) = npy::read_header(&file) else {
        return Ok(Extent::default());
    };
    let Some(expected) = npy::stated_times(&header.dims, request.shape) else {
        return Ok(Extent::default());
    };
    let n_samples = header
        .dims
        .iter()
        .try_fold(1_u64, |n, &len| n.checked_mul(len));
    let scan_bytes = n_samples
        .and_then(|n| n.checked_mul(header.sample_type.n_bytes() as u64))
        .map_or(0, |n| n / expected.max(1) as u64);
    let there = file.len().saturating_sub(header.data_start);
    Ok(Extent {
        n_times: usize::try_from(there / scan_bytes.max(1)).unwrap_or(usize::MAX),
        expected: Some(expected),
    })
}

/// Files from the first on that open as one scan each, all of one shape.
fn whole_files(files: &[(PathBuf, Container)], request: &OpenRequest) -> Result<usize> {
    let mut one = OpenRequest {
        n_times: None,
        ..request.clone()
    };
    if let Some(shape) = &mut one.shape {
        shape[0] = 1;
    }
    let mut shape = None;
    for (number, (path, container)) in files.iter().enumerate() {
        let header = match open_container(path, *container, &one) {
            Ok(source) => source.header().shape,
            // Cut short, or locked by its writer.
            Err(_) if number > 0 => return Ok(number),
            Err(error) if error.exit_code() == 65 => return Ok(0),
            Err(error) => return Err(error),
        };
        if *shape.get_or_insert(header) != header {
            return Ok(number);
        }
    }
    Ok(files.len())
}
