//! New results are made beside the place of the earlier ones, and change places with them when they are whole.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};

/// The folders beside the place of the results in which they are made and put away.
#[derive(Debug)]
pub(crate) struct Place {
    /// Where the new results are written.
    pub(crate) new: PathBuf,
    old: PathBuf,
    /// Held while the new folder is written; beside it, so that it goes with no rename.
    lock: fs::File,
    lock_path: PathBuf,
}

impl Place {
    /// Takes the place for this process, and puts right what a killed run left. `check` says whether what is there may be replaced.
    pub(crate) fn take(path: &Path, check: fn(&Path) -> Result<()>) -> Result<Self> {
        let beside = |ending: &str| {
            let mut name = OsString::from(".");
            name.push(path.file_name().unwrap_or_default());
            name.push(ending);
            path.with_file_name(name)
        };
        let folder = path.parent().unwrap_or(Path::new("."));
        fs::create_dir_all(folder).map_err(|error| Error::io(folder, "create", error))?;
        let lock_path = beside(".lock");
        let failed = |error| Error::io(&lock_path, "open", error);
        let lock = fs::File::create(&lock_path).map_err(failed)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(fs::TryLockError::WouldBlock) => {
                return Err(Error::Locked {
                    path: path.to_owned(),
                    holder: None,
                });
            }
            Err(fs::TryLockError::Error(error))
                if error.kind() == std::io::ErrorKind::Unsupported => {}
            Err(fs::TryLockError::Error(error)) => return Err(failed(error)),
        }
        let place = Self {
            new: beside(".new"),
            old: beside(".old"),
            lock,
            lock_path,
        };
        if path.exists() {
            check(path).map_err(|error| match error {
                // Whatever is damaged may be replaced, as long as it is an analysis or was one.
                Error::Damaged { .. } => Error::NotResults {
                    path: path.to_owned(),
                    problem: "holds files that are no analysis; choose another output folder, or remove it",
                },
                Error::Io { source, .. } if source.kind() == std::io::ErrorKind::NotFound => Error::NotResults {
                    path: path.to_owned(),
                    problem: "holds files that are no analysis; choose another output folder, or remove it",
                },
                error => error,
            })?;
            remove(&place.old)?;
        } else if place.old.exists() {
            // The run was killed between the two renames.
            fs::rename(&place.old, path).map_err(|error| Error::io(path, "restore", error))?;
        }
        remove(&place.new)?;
        Ok(place)
    }

    /// Puts the new folder in its place and removes the earlier one.
    pub(crate) fn rename(self, path: &Path) -> Result<()> {
        let failed = |error| Error::io(path, "replace", error);
        if path.exists() {
            fs::rename(path, &self.old).map_err(failed)?;
        }
        fs::rename(&self.new, path).map_err(failed)?;
        remove(&self.old)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // Leftovers after an error are swept up by the next run; the lock goes with the handle in any case.
        let _ = remove(&self.new);
        let _ = fs::remove_file(&self.lock_path);
        let _ = self.lock.unlock();
    }
}

fn remove(folder: &Path) -> Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(Error::io(folder, "remove", error))
        }
        _ => Ok(()),
    }
}
