//! Is every byte of a result still what was written?
//!
//! A folder of results holds `manifest.jsonl`: one JSON line for each shard or array that is complete, with the
//! length and the BLAKE3 hash of each of its files. Lines are appended while a run goes on, so a killed run knows
//! what it has; at the end the file is rewritten in fixed order and closed with a line that vouches for the lines
//! before it. A file that is missing, shorter or different is an error that names it, never a number.
//!
//! Every file is written beside its place, flushed to the disk where that is asked for, and renamed: a reader sees
//! the whole file or none.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::steps::{Step, Steps};

/// Name of the manifest in a folder of results.
pub(crate) const MANIFEST: &str = "manifest.jsonl";

/// How the manifests of processes that fill a folder together begin.
const PROCESS_MANIFEST: &str = "manifest-";

/// Ending of files that are not complete; nothing else in a folder of results ends so.
const TEMPORARY: &str = ".tmp";

/// Length and hash of one file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct FileRecord {
    /// Relative to the folder, with `/`.
    pub(crate) path: String,
    /// Bytes.
    pub(crate) length: u64,
    /// BLAKE3 hash, hexadecimal.
    pub(crate) blake3: String,
}

impl FileRecord {
    /// The record of some bytes.
    pub(crate) fn of(path: &str, bytes: &[u8]) -> Self {
        Self {
            path: path.to_owned(),
            length: bytes.len() as u64,
            blake3: blake3::hash(bytes).to_hex().to_string(),
        }
    }
}

/// One line: the files of a shard, or of the arrays that are written at the end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Entry {
    /// The shard; absent for whole arrays and metadata.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) shard: Option<usize>,
    /// Its files.
    pub(crate) files: Vec<FileRecord>,
}

/// The last line of a finished manifest.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct End {
    /// BLAKE3 hash of all bytes before this line.
    end: String,
}

/// What a folder of results is known to hold.
#[derive(Debug, Default)]
pub(crate) struct Manifest {
    /// Shards that are complete.
    pub(crate) shards: BTreeMap<usize, Vec<FileRecord>>,
    /// Files that belong to no shard.
    pub(crate) files: Vec<FileRecord>,
    /// Whether the closing line is there and vouches for the others.
    pub(crate) closed: bool,
}

impl Manifest {
    /// Reads the manifest of a folder. A line that was cut short by a crash ends the reading.
    pub(crate) fn read(folder: &Path) -> Result<Self> {
        Self::read_file(&folder.join(MANIFEST))
    }

    /// Reads the manifest of a folder, and those of processes that fill it together.
    pub(crate) fn read_all(folder: &Path) -> Result<Self> {
        let mut all = Self::read(folder)?;
        for path in of_processes(folder)? {
            let own = Self::read_file(&path)?;
            all.shards.extend(own.shards);
        }
        Ok(all)
    }

    /// Reads one file of lines; none where it is not there.
    pub(crate) fn read_file(path: &Path) -> Result<Self> {
        let text = match fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Ok(Self::default());
            }
            Err(error) => return Err(Error::io(path, "read", error)),
        };
        let mut manifest = Self::default();
        let mut n_bytes = 0;
        for line in text.split_inclusive('\n') {
            let Some(json) = line.strip_suffix('\n') else {
                break;
            };
            if let Ok(end) = serde_json::from_str::<End>(json) {
                let hash = blake3::hash(&text.as_bytes()[..n_bytes]).to_hex();
                manifest.closed = end.end == hash.as_str() && n_bytes + line.len() == text.len();
                break;
            }
            let Ok(entry) = serde_json::from_str::<Entry>(json) else {
                break;
            };
            match entry.shard {
                Some(shard) => {
                    manifest.shards.insert(shard, entry.files);
                }
                None => manifest.files.extend(entry.files),
            }
            n_bytes += line.len();
        }
        Ok(manifest)
    }

    /// The finished text: shards in order, then the other files, then the closing line.
    pub(crate) fn to_text(&self) -> String {
        let mut text = String::new();
        for (&shard, files) in &self.shards {
            text += &line(Some(shard), files);
        }
        for file in &self.files {
            text += &line(None, std::slice::from_ref(file));
        }
        let end = End {
            end: blake3::hash(text.as_bytes()).to_hex().to_string(),
        };
        text += &to_json(&end);
        text.push('\n');
        text
    }

    /// The record of a file.
    pub(crate) fn record(&self, path: &str) -> Option<&FileRecord> {
        self.files
            .iter()
            .chain(self.shards.values().flatten())
            .find(|file| file.path == path)
    }
}

/// Name of the manifest of one of several processes that fill a folder together.
pub(crate) fn of_process(label: &str) -> String {
    format!("{PROCESS_MANIFEST}{label}.jsonl")
}

/// The manifests of processes that fill a folder together, by name.
pub(crate) fn of_processes(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut paths: Vec<PathBuf> = entries(folder)?
        .iter()
        .map(fs::DirEntry::path)
        .filter(|path| {
            let name = path.file_name().and_then(|name| name.to_str());
            name.is_some_and(|name| name.starts_with(PROCESS_MANIFEST) && name.ends_with(".jsonl"))
        })
        .collect();
    paths.sort();
    Ok(paths)
}

/// The lines of complete shards, while a run goes on.
pub(crate) fn lines(shards: &BTreeMap<usize, Vec<FileRecord>>) -> String {
    shards
        .iter()
        .map(|(&shard, files)| line(Some(shard), files))
        .collect()
}

/// The line of one shard, or of files that belong to none.
pub(crate) fn line(shard: Option<usize>, files: &[FileRecord]) -> String {
    let mut text = to_json(&Entry {
        shard,
        files: files.to_vec(),
    });
    text.push('\n');
    text
}

fn to_json<T: Serialize>(value: &T) -> String {
    serde_json::to_string(value).expect("strings and integers always serialize")
}

/// Whether a write must have reached the disk before the next step.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Sync<'a> {
    /// Flushed: what took hours to read survives a power cut. Each step is asked for.
    Disk(&'a dyn Steps),
    /// Left to the system: what can be made again in seconds. A power cut may leave a file short, which the manifest tells.
    Cache,
}

impl Sync<'_> {
    fn before(self, step: Step, path: &Path) -> std::io::Result<()> {
        match self {
            Sync::Disk(steps) => steps.before(step, path),
            Sync::Cache => Ok(()),
        }
    }
}

/// Writes a file as a whole: beside its place, then renamed. Folders on the way are made.
pub(crate) fn write_whole(path: &Path, bytes: &[u8], sync: Sync<'_>) -> Result<()> {
    write_whole_as("", path, bytes, sync)
}

/// As [`write_whole`], beside other processes that may write the same file: the label is of this process alone.
pub(crate) fn write_whole_as(label: &str, path: &Path, bytes: &[u8], sync: Sync<'_>) -> Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    sync.before(Step::MakeFolder, folder)
        .and_then(|()| fs::create_dir_all(folder))
        .map_err(|error| Error::io(folder, "create", error))?;
    let temporary = temporary_of(path, label);
    let written = write_file(&temporary, bytes, sync)
        .and_then(|()| sync.before(Step::Rename, path))
        .and_then(|()| fs::rename(&temporary, path));
    if let Err(error) = written {
        // The first error is the one to tell; a leftover is swept up by the next run.
        let _ = sync
            .before(Step::Remove, &temporary)
            .and_then(|()| fs::remove_file(&temporary));
        return Err(Error::io(path, "write", error));
    }
    match sync {
        Sync::Disk(steps) => sync_folder(folder, steps),
        Sync::Cache => Ok(()),
    }
}

fn write_file(path: &Path, bytes: &[u8], sync: Sync<'_>) -> std::io::Result<()> {
    sync.before(Step::Create, path)?;
    let mut file = File::create(path)?;
    sync.before(Step::Write, path)?;
    file.write_all(bytes)?;
    sync.before(Step::Flush, path)?;
    match sync {
        Sync::Disk(_) => file.sync_all(),
        Sync::Cache => Ok(()),
    }
}

fn temporary_of(path: &Path, label: &str) -> PathBuf {
    let mut name = OsString::from(path.file_name().unwrap_or_default());
    name.push(label);
    name.push(TEMPORARY);
    path.with_file_name(name)
}

/// Makes renames in a folder survive a power cut.
pub(crate) fn sync_folder(folder: &Path, steps: &dyn Steps) -> Result<()> {
    // Windows has no handle to flush a folder with; its file system keeps renames in a journal.
    if cfg!(unix) {
        steps
            .before(Step::FlushFolder, folder)
            .and_then(|()| File::open(folder)?.sync_all())
            .map_err(|error| Error::io(folder, "write", error))?;
    }
    Ok(())
}

/// Removes files that a killed run left unfinished, in a folder and those below it.
pub(crate) fn sweep(folder: &Path, steps: &dyn Steps) -> Result<()> {
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in entries(&folder)? {
            let path = entry.path();
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                folders.push(path);
            } else if entry.file_name().to_string_lossy().ends_with(TEMPORARY) {
                steps
                    .before(Step::Remove, &path)
                    .and_then(|()| fs::remove_file(&path))
                    .map_err(|error| Error::io(&path, "remove", error))?;
            }
        }
    }
    Ok(())
}

/// The entries of a folder.
pub(crate) fn entries(folder: &Path) -> Result<Vec<fs::DirEntry>> {
    fs::read_dir(folder)
        .and_then(Iterator::collect)
        .map_err(|error| Error::io(folder, "list", error))
}

/// Reads a file that a record vouches for.
pub(crate) fn read_verified(
    folder: &Path,
    record: &FileRecord,
    cure: &'static str,
) -> Result<Vec<u8>> {
    let path = folder.join(&record.path);
    let damaged = |problem: String| Error::Damaged {
        path: path.clone(),
        problem,
        cure,
    };
    let bytes = match fs::read(&path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Err(damaged("the file is missing".to_owned()));
        }
        Err(error) => return Err(Error::io(&path, "read", error)),
    };
    if bytes.len() as u64 != record.length {
        return Err(damaged(length_problem(record.length, bytes.len() as u64)));
    }
    if blake3::hash(&bytes).to_hex().as_str() != record.blake3 {
        return Err(damaged(
            "its bytes differ from those that were written (checksum)".to_owned(),
        ));
    }
    Ok(bytes)
}

/// Checks that a file is there and as long as when it was written, without reading it.
pub(crate) fn check_length(folder: &Path, record: &FileRecord, cure: &'static str) -> Result<()> {
    let path = folder.join(&record.path);
    let problem = match fs::metadata(&path) {
        Ok(metadata) if metadata.len() == record.length => return Ok(()),
        Ok(metadata) => length_problem(record.length, metadata.len()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            "the file is missing".to_owned()
        }
        Err(error) => return Err(Error::io(&path, "read", error)),
    };
    Err(Error::Damaged {
        path,
        problem,
        cure,
    })
}

fn length_problem(expected: u64, found: u64) -> String {
    format!("it has {found} bytes, {expected} were written")
}
