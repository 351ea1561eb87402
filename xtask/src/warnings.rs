//! Does `docs/warnings.md` list every warning, and none that there is not?
//!
//! A code is what a person searches for; each of the program's must be explained, and a code that is gone must not stay in the table.

use std::collections::BTreeSet;
use std::fs;

use crate::workspace::Workspace;
use crate::{Done, Failure, notation};

const PAGE: &str = "docs/warnings.md";

/// Compares the codes in the sources of the crates with those of the page.
pub(crate) fn check(workspace: &Workspace) -> Result<Done, Failure> {
    let page =
        fs::read_to_string(workspace.path(PAGE)).map_err(|error| format!("{PAGE}: {error}"))?;
    let listed = listed(&page);
    let words = notation::words(&workspace.path("crates"))?;
    let used: BTreeSet<String> = words.into_iter().filter(|word| is_code(word)).collect();
    let missing: Vec<&str> = difference(&used, &listed);
    let gone: Vec<&str> = difference(&listed, &used);
    if missing.is_empty() && gone.is_empty() {
        println!("{} warnings, all in {PAGE}", used.len());
        return Ok(Done::Passed);
    }
    Err(format!(
        "{PAGE} lacks [{}] and has [{}], which no source file has",
        missing.join(", "),
        gone.join(", ")
    ))
}

fn difference<'a>(some: &'a BTreeSet<String>, others: &'a BTreeSet<String>) -> Vec<&'a str> {
    some.difference(others).map(String::as_str).collect()
}

/// First cells of the table's rows.
fn listed(page: &str) -> BTreeSet<String> {
    let first = |line: &str| Some(line.strip_prefix("| ")?.split_once(" |")?.0.to_owned());
    page.lines()
        .filter_map(first)
        .filter(|cell| is_code(cell))
        .collect()
}

fn is_code(text: &str) -> bool {
    text.len() == 4 && text.starts_with('W') && text[1..].bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_come_from_the_first_column() {
        let page = "| code | says |\n|---|---|\n| W021 | this, as W022 |\n| E0100 | |\n";
        assert_eq!(listed(page).into_iter().collect::<Vec<_>>(), ["W021"]);
    }
}
