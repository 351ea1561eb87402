//! Is every tracked file of a size that a person can read and a clone can carry?

use std::fs;

use crate::workspace::Workspace;
use crate::{Done, Failure};

/// Above this a source file holds more than one topic.
const MAX_LINES: usize = 700;

/// Above this a file belongs into a data archive, not into every clone.
const MAX_BYTES: u64 = 400 * 1000;

/// Checks every file that git tracks, or that is new and not ignored.
pub(crate) fn check(workspace: &Workspace) -> Result<Done, Failure> {
    let listing = workspace.output(
        "git",
        &[
            "ls-files",
            "-z",
            "--cached",
            "--others",
            "--exclude-standard",
        ],
    )?;
    let listing = String::from_utf8(listing)
        .map_err(|error| format!("a tracked file has a name that is not UTF-8: {error}"))?;
    let mut problems = Vec::new();
    let mut n_files = 0;
    for name in listing.split('\0').filter(|name| !name.is_empty()) {
        let path = workspace.path(name);
        // Deleted, but not yet in the index.
        let Ok(metadata) = fs::metadata(&path) else {
            continue;
        };
        n_files += 1;
        if metadata.len() > MAX_BYTES {
            problems.push(format!(
                "{name} has {} bytes, more than {MAX_BYTES}",
                metadata.len()
            ));
        }
        if name.ends_with(".rs") {
            let text = fs::read_to_string(&path).map_err(|error| format!("{name}: {error}"))?;
            let n_lines = text.lines().count();
            if n_lines > MAX_LINES {
                problems.push(format!("{name} has {n_lines} lines, more than {MAX_LINES}"));
            }
        }
    }
    if problems.is_empty() {
        println!(
            "{n_files} files, none above {MAX_BYTES} bytes; no Rust file above {MAX_LINES} lines"
        );
        Ok(Done::Passed)
    } else {
        Err(problems.join("\n"))
    }
}
