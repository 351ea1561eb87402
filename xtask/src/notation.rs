//! Does every name in `docs/notation.md` occur in the source?
//!
//! The page is read by people who look for a symbol of the paper in the code; a renamed field must not leave it behind.

use std::collections::HashSet;
use std::fs;
use std::path::Path;

use crate::workspace::Workspace;
use crate::{Done, Failure};

const PAGE: &str = "docs/notation.md";

/// The column of a table that holds names.
const COLUMN: &str = "code";

/// Looks up each name of the page among the words of the Rust sources.
pub(crate) fn check(workspace: &Workspace) -> Result<Done, Failure> {
    let page =
        fs::read_to_string(workspace.path(PAGE)).map_err(|error| format!("{PAGE}: {error}"))?;
    let words = words(&workspace.path("crates"))?;
    let names = names(&page);
    let missing: Vec<&str> = names
        .iter()
        .copied()
        .filter(|name| !words.contains(*name))
        .collect();
    if missing.is_empty() {
        println!("{} names of {PAGE}, all in the source", names.len());
        Ok(Done::Passed)
    } else {
        Err(format!(
            "{PAGE} has names that no source file has: {}",
            missing.join(", ")
        ))
    }
}

/// What stands in backticks in the column of names of every table.
fn names(page: &str) -> Vec<&str> {
    let mut names = Vec::new();
    let mut column = None;
    for line in page.lines() {
        if !line.starts_with('|') {
            column = None;
            continue;
        }
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        match column {
            None => column = cells.iter().position(|&cell| cell == COLUMN),
            Some(column) => {
                if let Some(cell) = cells.get(column) {
                    names.extend(cell.split('`').skip(1).step_by(2));
                }
            }
        }
    }
    names
}

/// Every word of the Rust sources below a folder.
pub(crate) fn words(folder: &Path) -> Result<HashSet<String>, Failure> {
    let mut words = HashSet::new();
    collect_words(folder, &mut words)?;
    Ok(words)
}

fn collect_words(folder: &Path, words: &mut HashSet<String>) -> Result<(), Failure> {
    let complain = |error: std::io::Error| format!("{}: {error}", folder.display());
    for entry in fs::read_dir(folder).map_err(complain)? {
        let path = entry.map_err(complain)?.path();
        if path.is_dir() {
            collect_words(&path, words)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path)
                .map_err(|error| format!("{}: {error}", path.display()))?;
            words.extend(
                text.split(|c: char| !c.is_alphanumeric() && c != '_')
                    .filter(|word| !word.is_empty())
                    .map(str::to_owned),
            );
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::names;

    #[test]
    fn names_come_from_the_code_column_only() {
        let page = "\
| symbol | code | unit |
|---|---|---|
| `Q` | `q_per_nm`, `QRange` | `nm` |

| other | table |
|---|---|
| `a` | `b` |
";
        assert_eq!(names(page), ["q_per_nm", "QRange"]);
    }
}
