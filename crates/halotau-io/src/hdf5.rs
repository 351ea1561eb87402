//! How is an HDF5 file read, whoever wrote it?
//!
//! ```text
//! file ─▶ datasets ─▶ the one that is meant ─▶ axes by the writer's rules ─▶ series
//! ```
//!
//! HDF5 is a container, not a format: what the axes of a dataset are, and which dataset holds the frames, is said in
//! as many ways as there are programs. [`conventions`] knows them; a file of none is read by its shape.

mod bitshuffle;
mod chunk_index;
mod conventions;
pub(crate) mod counted;
mod counter;
mod dataset;
pub(crate) mod dectris;
mod file;
mod filters;
mod frames_last;
mod links;
mod listing;
mod lz4_block;
mod plain;
mod source;
mod value;
mod virtual_parts;

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::arrangement::{arrange, note_unknown_scan};
use crate::candidates::{Candidate, choose};
use crate::error::{Error, Result};
use crate::extent::Extent;
use crate::metadata::describe;
use crate::open::{BoxedSource, display_name};
use crate::stream::arranged::ArrangedSource;

use conventions::Convention;
use dataset::Dataset;
use file::{Hdf5File, Place};
use source::Hdf5Source;

pub(crate) use conventions::{nion_scan, nion_series};
pub(crate) use file::signature_offset;
pub(crate) use listing::list;

/// Links into other files that lead to links into other files.
const MOST_HOPS: usize = 16;

/// Other files that are opened to list what a file leads to.
const MOST_FILES: usize = 64;

/// Opens an HDF5 file as a series.
pub(crate) fn open_hdf5(
    path: &Path,
    dataset: Option<&str>,
    wanted: Option<[usize; 5]>,
    counter: usize,
) -> Result<BoxedSource> {
    Ok(match open_found(path, dataset, wanted, counter)? {
        Opened::Plain(source) => source,
        Opened::Other(source) => source,
    })
}

/// How many scans of a file that is still written are whole, `known` of them before.
///
/// # Errors
///
/// As [`open_hdf5`], and [`Error::NotFollowed`].
pub(crate) fn extent(
    path: &Path,
    dataset: Option<&str>,
    wanted: Option<[usize; 5]>,
    known: usize,
) -> Result<Extent> {
    match open_found(path, dataset, wanted, 0)? {
        Opened::Plain(source) => source.extent(known),
        Opened::Other(_) => Err(Error::NotFollowed {
            path: path.to_owned(),
            what: "an HDF5 file of this kind".to_owned(),
            problem: "only files with one dataset of whole patterns are. Leave out --follow when it is finished",
        }),
    }
}

/// A series as its file has it, or of frames that are put together from it.
enum Opened {
    Plain(Box<Hdf5Source>),
    Other(BoxedSource),
}

fn open_found(
    path: &Path,
    dataset: Option<&str>,
    wanted: Option<[usize; 5]>,
    counter: usize,
) -> Result<Opened> {
    let file = Hdf5File::open(path)?;
    let (dataset, convention) = find_dataset(&file, dataset)?;
    let name = display_name(path);
    let what = format!("{}, dataset {}", path.display(), dataset.name);
    if dataset.number().is_none() {
        return Err(Error::SampleType {
            what,
            found: dataset.datatype.to_string(),
        });
    }
    let axes = convention.axes(&dataset);
    if axes.frames_last {
        let stream = frames_last::open(dataset, &axes, &name, convention.format())?;
        let source = ArrangedSource::new(stream, wanted, &Default::default())?;
        return Ok(Opened::Other(Box::new(source)));
    }
    if axes.counters.is_some() {
        let source = counter::open(dataset, &axes, (&name, &convention), (wanted, counter));
        return source.map(Opened::Other);
    }
    let dims = match dataset.dims.as_slice() {
        &[rows, cols] => vec![1, rows, cols],
        dims => dims.to_vec(),
    };
    let asked = wanted.or(axes
        .scan
        .map(|[times, rows, cols]| [times, rows, cols, 0, 0]));
    let shape = match arrange(&what, &dims, asked) {
        // What the file says of its scan may contradict its frames, which then count.
        Err(_) if wanted.is_none() && asked.is_some() => arrange(&what, &dims, None)?,
        shape => shape?,
    };
    let notes = {
        let mut notes = axes.notes.clone();
        notes.splice(0..0, (notes.len()..dims.len()).map(|_| None));
        notes
    };
    let attributes = convention.attributes(&dataset, shape.n_times);
    let mut source = Hdf5Source::new(dataset, dims.clone(), shape, &name, convention.format())?;
    let header = source.header_mut();
    header.warnings.extend(axes.warnings);
    if axes.scan.is_none() {
        note_unknown_scan(header, &dims, wanted);
    }
    header.start_unix_ns = attributes.start_unix_ns;
    if wanted.is_none() && axes.scan.is_some() {
        header.scan_origin = axes.scan_origin;
    }
    describe(header, &attributes.list, &notes);
    Ok(Opened::Plain(Box::new(source)))
}

/// The dataset that a person named, or the one that the file's writer or its shape makes out.
fn find_dataset(file: &Arc<Hdf5File>, wanted: Option<&str>) -> Result<(Dataset, Convention)> {
    let convention = Convention::of(file);
    let path = file.path();
    if let Some(wanted) = wanted
        && let Some((file, inner)) = resolve(file, wanted)?
        && let Some(dataset) = Dataset::find(&file, &inner)
    {
        return Ok((dataset, convention));
    }
    if wanted.is_none()
        && let Some(name) = convention.main_dataset(file)
        && let Some((file, inner)) = resolve(file, &name)?
        && let Some(dataset) = Dataset::find(&file, &inner)
        && dataset.number().is_some()
        // What is plotted may be a curve or an image made of the frames.
        && dataset.dims.len() >= if convention == Convention::Nexus { 3 } else { 2 }
    {
        return Ok((dataset, convention));
    }
    let (candidates, mut datasets, absent) = candidates(file)?;
    if candidates.is_empty()
        && let Some((part, what)) = absent
    {
        return Err(Error::MissingPart {
            path: path.to_owned(),
            part,
            what,
        });
    }
    let chosen = choose(path, &candidates, wanted)?;
    let bad = |name: &str| Error::BadContainer {
        path: path.to_owned(),
        format: "HDF5 file",
        problem: format!("{name} cannot be opened"),
    };
    let dataset = datasets
        .remove(&chosen.name)
        .ok_or_else(|| bad(&chosen.name))?;
    Ok((dataset, convention))
}

/// All datasets, a file that a link misses, and what misses it.
type Listing = (
    Vec<Candidate>,
    HashMap<String, Dataset>,
    Option<(PathBuf, String)>,
);

fn candidates(file: &Arc<Hdf5File>) -> Result<Listing> {
    let mut candidates = Vec::new();
    let mut datasets = HashMap::new();
    let mut absent = None;
    let mut n_elsewhere = 0;
    let mut seen = HashSet::new();
    for path in file.paths() {
        let dataset = match file.find(path) {
            // A soft link leads to what is listed at its own place, and an object of two names is one.
            Some(Place::Here(object, real)) if real == path => seen
                .insert(std::ptr::from_ref(object))
                .then(|| Dataset::of(file, object, path))
                .flatten(),
            Some(Place::Elsewhere { .. }) if n_elsewhere < MOST_FILES => {
                n_elsewhere += 1;
                match resolve(file, path) {
                    Ok(Some((other, inner))) => Dataset::find(&other, &inner),
                    Ok(None) => None,
                    Err(Error::MissingPart { part, what, .. }) => {
                        absent.get_or_insert((part, what));
                        None
                    }
                    Err(error) => return Err(error),
                }
            }
            _ => None,
        };
        let Some(dataset) = dataset else { continue };
        candidates.push(Candidate {
            dims: dataset.dims.clone(),
            sample_type: dataset.number().map(|n| n.number_type.sample_type()),
            type_name: dataset.datatype.to_string(),
            name: path.to_owned(),
        });
        datasets.insert(path.to_owned(), dataset);
    }
    Ok((candidates, datasets, absent))
}

/// Follows a path through links into other files of the folder; `None` where it leads nowhere.
///
/// # Errors
///
/// [`Error::MissingPart`] where another file is not there, [`Error::BadContainer`] where it lies outside of the
/// folder or is no HDF5 file.
fn resolve(file: &Arc<Hdf5File>, path: &str) -> Result<Option<(Arc<Hdf5File>, String)>> {
    let mut file = file.clone();
    let mut path = path.to_owned();
    for _ in 0..MOST_HOPS {
        let (name, inner) = match file.find(&path) {
            None => return Ok(None),
            Some(Place::Here(_, real)) => return Ok(Some((file.clone(), real))),
            Some(Place::Elsewhere { file, path }) => (file, path),
        };
        let part = links::inside(file.path(), &name).map_err(|problem| Error::BadContainer {
            path: file.path().to_owned(),
            format: "HDF5 file",
            problem: format!("{path}: {problem}"),
        })?;
        if !part.is_file() {
            return Err(Error::MissingPart {
                path: file.path().to_owned(),
                part,
                what: path,
            });
        }
        (file, path) = (Hdf5File::open(&part)?, inner);
    }
    Ok(None)
}
