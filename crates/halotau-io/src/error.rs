//! What can be wrong with files, said for the person who can cure it.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use jiff::Timestamp;

/// The result of every fallible function of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An error of a file, a folder or a store.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The operating system refused something.
    #[error("cannot {action} {}: {}", .path.display(), say_io(.source))]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What was tried, to follow "cannot": "open", "read", "write".
        action: &'static str,
        /// The system's error.
        #[source]
        source: io::Error,
    },
    /// The container is none that this program reads.
    #[error(
        "{} is of no format that is read here ({found}); give the layout of a raw binary file as data.raw, or let scripts/convert_any.py, which reads with RosettaSciIO, write a Zarr store (docs/formats.md)",
        .path.display()
    )]
    UnknownContainer {
        /// The file or folder.
        path: PathBuf,
        /// What its first bytes or entries look like.
        found: String,
    },
    /// A container is recognized, but its header or metadata contradict the format.
    #[error("{} cannot be read as {format}: {problem}", .path.display())]
    BadContainer {
        /// The file or folder.
        path: PathBuf,
        /// The format, in words.
        format: &'static str,
        /// What is wrong, and where.
        problem: String,
    },
    /// A NumPy file of Python objects, which NumPy itself could read only by running code.
    #[error(
        "{}: object arrays are refused, because reading one would run code from the file; save it as an array of numbers",
        .path.display()
    )]
    ObjectArray {
        /// The file.
        path: PathBuf,
    },
    /// An array whose first index is the fastest.
    #[error(
        "{}: the array is stored in Fortran order, first index fastest; save numpy.ascontiguousarray(array) instead",
        .path.display()
    )]
    FortranOrder {
        /// The file.
        path: PathBuf,
    },
    /// Samples of a type that is not read.
    #[error(
        "{what}: samples are {found}; u8, u16, u32, i16, i32, f32 and f64 are read, and i8, i64, u64, f16 and bool where one of these holds every value; convert to the smallest that holds the counts"
    )]
    SampleType {
        /// The file and the dataset in it.
        what: String,
        /// The type, in words.
        found: String,
    },
    /// The file is longer or shorter than shape and type demand.
    #[error("{}: {size}", .path.display())]
    Size {
        /// The file.
        path: PathBuf,
        /// What was expected, what was found, and what would fit.
        size: Box<SizeMismatch>,
    },
    /// The frames of a dataset cannot be arranged in the shape asked for.
    #[error("{what}: {mismatch}")]
    Shape {
        /// The file and the dataset in it.
        what: String,
        /// What was asked for, what is there, and what would fit.
        mismatch: Box<ShapeMismatch>,
    },
    /// An HDF5 file or Zarr group has no dataset of the name given, or none that could hold frames.
    #[error("{}: {problem}; {}", .path.display(), say_candidates(.candidates))]
    Dataset {
        /// The file or folder.
        path: PathBuf,
        /// Which name was looked for, or that several would do.
        problem: String,
        /// The datasets there are, with shape and type.
        candidates: Vec<String>,
    },
    /// A block of a chunked dataset is not there.
    #[error(
        "{}: chunk {chunk:?} of {dataset} is missing; copy the data again, or restore {entry}",
        .path.display()
    )]
    MissingChunk {
        /// The file or folder.
        path: PathBuf,
        /// The dataset in it.
        dataset: String,
        /// Index of the chunk along each axis.
        chunk: Vec<u64>,
        /// What to restore: what the store calls it, and whence.
        entry: String,
    },
    /// A file that another file is made of is not there.
    #[error(
        "{}: {what} is in {}, which is not there; copy it to that place, from where the acquisition was stored",
        .path.display(), .part.display()
    )]
    MissingPart {
        /// The file that refers to the other.
        path: PathBuf,
        /// The file that is not there.
        part: PathBuf,
        /// What of the first file is in it.
        what: String,
    },
    /// A block of a chunked dataset is cut short or damaged.
    #[error("{}: {dataset} cannot be decoded at {place}: {problem}; copy the data again", .path.display())]
    Corrupt {
        /// The file or folder.
        path: PathBuf,
        /// The dataset in it.
        dataset: String,
        /// Which part: "chunk [0, 3, 1]", "times 0..4".
        place: String,
        /// The decoder's words.
        problem: String,
    },
    /// A block is stored in a way that is not read.
    #[error(
        "{}: {dataset} is stored in a way that is not read here ({problem}); store it again uncompressed, or with gzip, LZ4, Zstandard or bitshuffle",
        .path.display()
    )]
    Unsupported {
        /// The file or folder.
        path: PathBuf,
        /// The dataset in it.
        dataset: String,
        /// The decoder's words.
        problem: String,
    },
    /// A file that is still written does not tell how far.
    #[error("{}: {what} cannot be followed while it is written: {problem}", .path.display())]
    NotFollowed {
        /// The file.
        path: PathBuf,
        /// What of it.
        what: String,
        /// Why.
        problem: &'static str,
    },
    /// The one-scan files of a series do not agree.
    #[error(
        "{} has {found}, but {} has {expected}; all files of one series must agree",
        .path.display(), .first.display()
    )]
    FilesDiffer {
        /// The first file that differs.
        path: PathBuf,
        /// The file it is compared with.
        first: PathBuf,
        /// Shape and type of the file that differs.
        found: String,
        /// Shape and type of the first file.
        expected: String,
    },
    /// A folder holds no file that could be a scan.
    #[error(
        "{} holds no .npy, HDF5, Zarr or raw file (raw files need data.raw)",
        .path.display()
    )]
    EmptyFolder {
        /// The folder.
        path: PathBuf,
    },
    /// A buffer does not fit in memory.
    #[error(
        "{what} needs {n_bytes} bytes at once, which this machine does not give; lower --memory or convert to smaller chunks"
    )]
    Memory {
        /// What is to be held.
        what: String,
        /// Bytes asked for.
        n_bytes: u64,
    },
    /// A value in memory does not have the shape or type that writing it needs.
    #[error("{what}: expected {expected}, found {found}")]
    Value {
        /// What is to be written.
        what: String,
        /// What is needed.
        expected: String,
        /// What was given.
        found: String,
    },
    /// Another process writes the same results.
    #[error(
        "{} is being written by another process{}; wait until it is done, or choose another output folder",
        .path.display(), say_holder(.holder)
    )]
    Locked {
        /// The folder.
        path: PathBuf,
        /// Who that is, where it left word.
        holder: Option<Holder>,
    },
    /// An unfinished or finished reduction was made with other parameters.
    #[error(
        "{} was made with other parameters: {}; choose another output folder, or discard it with --restart",
        .path.display(), .differences.join(", ")
    )]
    StaleParameters {
        /// The folder.
        path: PathBuf,
        /// Each key that differs: "ring.q_max: 4.6 -> 4.8".
        differences: Vec<String>,
    },
    /// A reduction was not finished.
    #[error(
        "{} is incomplete: {done} of {total} shards; repeat the command that made it, it goes on where it was",
        .path.display()
    )]
    Incomplete {
        /// The folder.
        path: PathBuf,
        /// Shards that are complete.
        done: usize,
        /// Shards that there should be.
        total: usize,
    },
    /// A file of the results is missing, cut short or changed.
    #[error("{}: {problem}; {cure}", .path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
        /// How to make it again.
        cure: &'static str,
    },
    /// A folder that should hold results, or should be made, holds something else.
    #[error("{} {problem}", .path.display())]
    NotResults {
        /// The folder.
        path: PathBuf,
        /// What it is, and what to do.
        problem: &'static str,
    },
    /// A file format refused what was to be written.
    #[error("cannot write {} as {format}: {problem}", .path.display())]
    Export {
        /// The file.
        path: PathBuf,
        /// The format, in words.
        format: &'static str,
        /// The encoder's words.
        problem: String,
    },
    /// An error of the core, met while a file was used.
    #[error(transparent)]
    Core(#[from] halotau::Error),
}

impl Error {
    /// An error of the operating system on a path.
    pub(crate) fn io(path: &Path, action: &'static str, source: io::Error) -> Self {
        Self::Io {
            path: path.to_owned(),
            action,
            source,
        }
    }

    /// The exit code of a command that fails with this error, after `sysexits.h`.
    ///
    /// 65 for bad data, 66 for a missing input, 71 for memory, 74 for an input or output error,
    /// 75 for results that another process writes, 77 for a missing permission, 78 for parameters that contradict
    /// what is there.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Io { source, .. } => io_exit_code(source),
            Self::EmptyFolder { .. } | Self::MissingPart { .. } => 66,
            Self::Memory { .. } => 71,
            Self::Core(halotau::Error::Source { source, .. }) => {
                source.downcast_ref::<Self>().map_or(65, Self::exit_code)
            }
            Self::Value { .. } | Self::Export { .. } => 70,
            Self::Locked { .. } => 75,
            Self::StaleParameters { .. } => 78,
            _ => 65,
        }
    }

    /// Wraps the error for [`FrameSource::read`](halotau::source::FrameSource::read); it can be had back by downcasting.
    pub fn into_core(self, name: &str) -> halotau::Error {
        match self {
            Self::Core(error) => error,
            error => halotau::Error::Source {
                name: name.to_owned(),
                source: Box::new(error),
            },
        }
    }
}

/// The exit code that an error of the operating system stands for.
///
/// A missing file is 66, a refused one 77, memory 71, an output that is there already 73; everything else (disk full, read error, file that
/// shrinks while it is read) is 74.
pub fn io_exit_code(error: &io::Error) -> u8 {
    match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::IsADirectory | io::ErrorKind::NotADirectory => 66,
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => 77,
        io::ErrorKind::OutOfMemory => 71,
        io::ErrorKind::AlreadyExists => 73,
        _ => 74,
    }
}

fn say_io(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "there is no such file or folder".to_owned(),
        io::ErrorKind::UnexpectedEof => {
            "it ends too early (did it change while it was read?)".to_owned()
        }
        io::ErrorKind::PermissionDenied => "the permission is missing".to_owned(),
        io::ErrorKind::AlreadyExists => {
            "it exists already; remove it or give another name".to_owned()
        }
        io::ErrorKind::StorageFull => "the disk is full".to_owned(),
        _ => error.to_string(),
    }
}

/// Who holds a lock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// Number of the process.
    pub process: u32,
    /// Name of its computer, where known.
    pub host: Option<String>,
    /// When it took the lock, by the clock of the file system.
    pub since: Option<SystemTime>,
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "process {}", self.process)?;
        if let Some(host) = &self.host {
            write!(f, " on {host}")?;
        }
        let since = self.since.and_then(|time| Timestamp::try_from(time).ok());
        if let Some(since) = since {
            write!(f, " since {}", since.strftime("%Y-%m-%d %H:%M:%S UTC"))?;
        }
        Ok(())
    }
}

fn say_holder(holder: &Option<Holder>) -> String {
    let say = |holder: &Holder| format!(" ({holder})");
    holder.as_ref().map_or_else(String::new, say)
}

fn say_candidates(candidates: &[String]) -> String {
    if candidates.is_empty() {
        return "it holds no array of numbers with 2 to 5 axes".to_owned();
    }
    /// Enough to see the pattern of the names, few enough to read.
    const SHOWN: usize = 12;
    let mut text = format!(
        "it holds {}",
        candidates[..candidates.len().min(SHOWN)].join(", ")
    );
    if let Some(n_more) = candidates.len().checked_sub(SHOWN + 1) {
        text.push_str(&format!(" and {} more", n_more + 1));
    }
    text
}

/// A file length that does not fit shape and type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SizeMismatch {
    /// Bytes that the shape demands; `None` where that overflows 64 bits.
    pub expected_bytes: Option<u64>,
    /// Bytes in the file.
    pub actual_bytes: u64,
    /// Whole frames that the file holds.
    pub whole_frames: u64,
    /// Whole scans that the file holds.
    pub whole_times: u64,
    /// Shapes that would fit the whole frames.
    pub suggestions: Vec<ScanShape>,
}

impl fmt::Display for SizeMismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.expected_bytes {
            Some(n) => write!(f, "the shape needs {n} bytes, ")?,
            None => write!(f, "the shape needs more bytes than a file can have, ")?,
        }
        write!(
            f,
            "the file has {}: {} whole frames, {} whole scans",
            self.actual_bytes, self.whole_frames, self.whole_times
        )?;
        write_suggestions(f, &self.suggestions)
    }
}

/// Frames that cannot be arranged as asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShapeMismatch {
    /// The shape asked for, 0 where it was to be found out; empty where none was given.
    pub wanted: Vec<u64>,
    /// The shape in the file.
    pub found: Vec<u64>,
    /// What does not fit, in words.
    pub problem: String,
    /// Shapes that would fit.
    pub suggestions: Vec<ScanShape>,
}

impl fmt::Display for ShapeMismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: the file has shape {:?}", self.problem, self.found)?;
        if !self.wanted.is_empty() {
            write!(f, ", asked for {:?}", self.wanted)?;
        }
        write_suggestions(f, &self.suggestions)
    }
}

/// Times, scan rows and scan columns of a series.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ScanShape {
    /// Scans.
    pub n_times: u64,
    /// Scan rows.
    pub n_rows: u64,
    /// Scan columns.
    pub n_cols: u64,
}

fn write_suggestions(f: &mut fmt::Formatter<'_>, suggestions: &[ScanShape]) -> fmt::Result {
    if suggestions.is_empty() {
        return Ok(());
    }
    f.write_str("; these would fit (time x row x col): ")?;
    for (idx, s) in suggestions.iter().enumerate() {
        let comma = if idx == 0 { "" } else { ", " };
        write!(f, "{comma}{} x {} x {}", s.n_times, s.n_rows, s.n_cols)?;
    }
    Ok(())
}

/// An error of the operating system among the causes of another error, as an error of its own.
pub(crate) fn io_error_inside(error: &(dyn std::error::Error + 'static)) -> Option<io::Error> {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(io) = error.downcast_ref::<io::Error>() {
            return Some(match io.raw_os_error() {
                Some(code) => io::Error::from_raw_os_error(code),
                None => io::Error::new(io.kind(), io.to_string()),
            });
        }
        cause = error.source();
    }
    None
}
