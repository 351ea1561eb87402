//! Which steps does safe writing take, and who may refuse them?
//!
//! What cost hours to read is written so that a crash between any two steps loses nothing that was complete:
//!
//! ```text
//! folder ─▶ lock ─▶ create beside the place ─▶ write ─▶ flush ─▶ rename ─▶ flush the folder ─▶ append a line ─▶ flush
//! ```
//!
//! [`Steps`] is asked before each of them. A program grants all; a test refuses the n-th for every n, as a full disk or a kill
//! would, and looks whether the next run ends with the same bytes. (SQLite is tested in this way:
//! <https://sqlite.org/testing.html>.)

use std::fmt;
use std::io;
use std::path::Path;

/// One step of writing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Step {
    /// A folder is made where there is none.
    MakeFolder,
    /// A lock is taken.
    Lock,
    /// An empty file is made beside its place.
    Create,
    /// Its bytes are written, or those of a lock.
    Write,
    /// They are flushed to the disk.
    Flush,
    /// The file is moved to its place.
    Rename,
    /// The entries of its folder are flushed to the disk.
    FlushFolder,
    /// A line is added to a list.
    Append,
    /// A file or folder is removed.
    Remove,
}

/// Is asked before each step.
pub trait Steps: fmt::Debug + Send + Sync {
    /// Whether the step may be taken on this file or folder.
    ///
    /// # Errors
    ///
    /// What the system would have said, had it refused.
    fn before(&self, step: Step, path: &Path) -> io::Result<()>;
}

/// Grants every step.
#[derive(Debug, Clone, Copy, Default)]
pub struct Granted;

impl Steps for Granted {
    fn before(&self, _: Step, _: &Path) -> io::Result<()> {
        Ok(())
    }
}
