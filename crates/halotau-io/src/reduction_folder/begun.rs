//! What is in the folder already, and whose is it?

use std::collections::BTreeSet;
use std::fs::{self, File, TryLockError};
use std::io::{Read as _, Seek as _, Write as _};
use std::path::Path;

use serde_json::{Map, Value};

use super::{Attributes, KIND, Task};
use crate::error::{Error, Holder, Result};
use crate::manifest::{entries, of_processes, sweep};
use crate::steps::{Step, Steps};
use crate::zarr_store::METADATA;

/// The file that one process holds locked while it writes; processes that write together hold it together.
pub(super) const LOCK: &str = ".lock";

/// The file that one of several processes holds locked for itself.
pub(super) fn own_lock(task: Task) -> String {
    format!("{LOCK}-{}", task.label())
}

/// Whether a lock excludes all others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Hold {
    Alone,
    Together,
}

/// Takes a lock of a folder, which the system gives back when the process ends, however it ends.
pub(super) fn lock(folder: &Path, name: &str, hold: Hold, steps: &dyn Steps) -> Result<File> {
    let path = folder.join(name);
    let failed = |error| Error::io(&path, "open", error);
    steps.before(Step::Lock, &path).map_err(failed)?;
    let mut file = File::options()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(&path)
        .map_err(failed)?;
    let taken = match hold {
        Hold::Alone => file.try_lock(),
        Hold::Together => file.try_lock_shared(),
    };
    match taken {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            return Err(Error::Locked {
                path: folder.to_owned(),
                holder: holder(&mut file),
            });
        }
        // Some network file systems know no locks; there, starting two runs at once stays the user's care.
        Err(TryLockError::Error(error)) if error.kind() == std::io::ErrorKind::Unsupported => {}
        Err(TryLockError::Error(error)) => return Err(failed(error)),
    }
    if hold == Hold::Together {
        return Ok(file);
    }
    let text = format!("{} {}", std::process::id(), host());
    steps
        .before(Step::Write, &path)
        .and_then(|()| file.set_len(0))
        .and_then(|()| file.rewind())
        .and_then(|()| file.write_all(text.trim_end().as_bytes()))
        .map_err(failed)?;
    Ok(file)
}

/// Name of this computer, where the system keeps it in a file. Locks of a network folder may be held elsewhere.
fn host() -> String {
    let name = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    name.trim().to_owned()
}

/// Who wrote itself into a lock, and when. It is a courtesy; what cannot be read is left out.
fn holder(file: &mut File) -> Option<Holder> {
    let mut text = String::new();
    file.read_to_string(&mut text).ok()?;
    let (process, host) = text.split_once(' ').unwrap_or((&text, ""));
    Some(Holder {
        process: process.trim().parse().ok()?,
        host: Some(host.trim().to_owned()).filter(|host| !host.is_empty()),
        since: file
            .metadata()
            .and_then(|metadata| metadata.modified())
            .ok(),
    })
}

/// The attributes of a reduction that was begun in a folder; `None` where the folder is empty.
pub(super) fn begun(folder: &Path, steps: &dyn Steps) -> Result<Option<Attributes>> {
    let path = folder.join(METADATA);
    let other = |problem| Error::NotResults {
        path: folder.to_owned(),
        problem,
    };
    let bytes = match fs::read(&path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            sweep(folder, steps)?;
            let is_empty = entries(folder)?.iter().all(is_lock);
            return if is_empty {
                Ok(None)
            } else {
                Err(other(
                    "holds files that are no reduction; choose another output folder",
                ))
            };
        }
        Err(error) => return Err(Error::io(&path, "read", error)),
    };
    let metadata: Value = serde_json::from_slice(&bytes).unwrap_or_default();
    if metadata["attributes"]["kind"] != KIND {
        return Err(other(
            "is not a reduction made by halotau; choose another output folder",
        ));
    }
    serde_json::from_value(metadata["attributes"].clone())
        .map(Some)
        .map_err(|_| other("is a reduction of another version of halotau; choose another output folder, or remove it"))
}

fn is_lock(entry: &fs::DirEntry) -> bool {
    entry.file_name().to_string_lossy().starts_with(LOCK)
}

/// Removes what processes that wrote together left for themselves, after it was taken over.
pub(super) fn remove_own_files(folder: &Path, steps: &dyn Steps) -> Result<()> {
    let all = entries(folder)?;
    let locks = all
        .iter()
        .filter(|entry| is_lock(entry) && entry.file_name() != LOCK)
        .map(fs::DirEntry::path);
    for path in of_processes(folder)?.into_iter().chain(locks) {
        steps
            .before(Step::Remove, &path)
            .and_then(|()| fs::remove_file(&path))
            .map_err(|error| Error::io(&path, "remove", error))?;
    }
    Ok(())
}

/// Removes all but the lock.
pub(super) fn empty(folder: &Path, steps: &dyn Steps) -> Result<()> {
    // The metadata go last, so that a crash on the way leaves something that is still known as a reduction.
    let all = entries(folder)?;
    let (metadata, others): (Vec<_>, Vec<_>) = all
        .iter()
        .filter(|entry| entry.file_name() != LOCK)
        .partition(|entry| entry.file_name() == METADATA);
    for entry in others.into_iter().chain(metadata) {
        let path = entry.path();
        let remove = || {
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                fs::remove_dir_all(&path)
            } else {
                fs::remove_file(&path)
            }
        };
        let removed = steps.before(Step::Remove, &path).and_then(|()| remove());
        removed.map_err(|error| Error::io(&path, "remove", error))?;
    }
    Ok(())
}

/// Every key whose value is not the same: "ring.q_max: 4.6 -> 4.8".
pub(super) fn differences(begun: &Attributes, wanted: &Attributes) -> Vec<String> {
    let mut found = Vec::new();
    if begun.format != wanted.format {
        found.push(format!("format: {} -> {}", begun.format, wanted.format));
    }
    let layout = |attributes: &Attributes| {
        serde_json::to_value(attributes.layout).expect("integers and words always serialize")
    };
    compare("layout", &layout(begun), &layout(wanted), &mut found);
    compare("", &begun.parameters, &wanted.parameters, &mut found);
    found
}

fn compare(key: &str, before: &Value, after: &Value, found: &mut Vec<String>) {
    if let (Value::Object(before), Value::Object(after)) = (before, after) {
        let keys: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
        for name in keys {
            let key = if key.is_empty() {
                name.clone()
            } else {
                format!("{key}.{name}")
            };
            let value = |object: &Map<String, Value>| object.get(name).cloned().unwrap_or_default();
            compare(&key, &value(before), &value(after), found);
        }
    } else if before != after {
        let key = if key.is_empty() { "parameters" } else { key };
        found.push(format!("{key}: {} -> {}", short(before), short(after)));
    }
}

fn short(value: &Value) -> String {
    const LONGEST: usize = 60;
    let text = value.to_string();
    if text.chars().count() <= LONGEST {
        return text;
    }
    text.chars().take(LONGEST).chain("...".chars()).collect()
}
