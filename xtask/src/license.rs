//! May every dependency be shipped under MIT or Apache-2.0?
//!
//! Each package states an SPDX expression: names joined by `OR`, `AND`, `WITH` and parentheses (older ones write `/`
//! for `OR`). It passes when the names on the list below satisfy it.

use serde_json::Value;

use crate::workspace::Workspace;
use crate::{Done, Failure};

/// Permissive licenses whose only demand is that their text is kept.
const ALLOWED: [&str; 12] = [
    "0BSD",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CC0-1.0",
    "ISC",
    "MIT",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
];

/// Checks every package of the lock file, for all platforms.
pub(crate) fn check(workspace: &Workspace) -> Result<Done, Failure> {
    let metadata = workspace.output("cargo", &["metadata", "--format-version", "1", "--locked"])?;
    let metadata: Value = serde_json::from_slice(&metadata)
        .map_err(|error| format!("`cargo metadata` is not JSON: {error}"))?;
    let packages = metadata["packages"]
        .as_array()
        .ok_or("`cargo metadata` lists no packages")?;
    let refused: Vec<String> = packages
        .iter()
        .filter_map(|package| {
            let license = package["license"].as_str().unwrap_or("");
            let allowed = is_allowed(license);
            (allowed != Some(true)).then(|| {
                format!(
                    "{} {} has license `{license}`, which {}",
                    package["name"].as_str().unwrap_or("?"),
                    package["version"].as_str().unwrap_or("?"),
                    if allowed.is_some() {
                        "is not on the list of xtask/src/license.rs"
                    } else {
                        "is not an SPDX expression"
                    }
                )
            })
        })
        .collect();
    if refused.is_empty() {
        println!("{} packages, all with permissive licenses", packages.len());
        Ok(Done::Passed)
    } else {
        Err(refused.join("\n"))
    }
}

/// Whether an expression is satisfied by [`ALLOWED`]; `None` where it cannot be read.
fn is_allowed(expression: &str) -> Option<bool> {
    let spaced = expression
        .replace('/', " OR ")
        .replace('(', " ( ")
        .replace(')', " ) ");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let mut rest = words.as_slice();
    let allowed = any_of(&mut rest)?;
    rest.is_empty().then_some(allowed)
}

/// Terms joined by `OR`, which binds weakest.
fn any_of(words: &mut &[&str]) -> Option<bool> {
    let mut allowed = all_of(words)?;
    while let ["OR", rest @ ..] = *words {
        *words = rest;
        allowed |= all_of(words)?;
    }
    Some(allowed)
}

/// Terms joined by `AND`.
fn all_of(words: &mut &[&str]) -> Option<bool> {
    let mut allowed = one(words)?;
    while let ["AND", rest @ ..] = *words {
        *words = rest;
        allowed &= one(words)?;
    }
    Some(allowed)
}

/// A name, a name with an exception, or an expression in parentheses.
fn one(words: &mut &[&str]) -> Option<bool> {
    match *words {
        ["(", rest @ ..] => {
            *words = rest;
            let allowed = any_of(words)?;
            let [")", rest @ ..] = *words else {
                return None;
            };
            *words = rest;
            Some(allowed)
        }
        [")" | "OR" | "AND" | "WITH", ..] | [] => None,
        [name, "WITH", exception, rest @ ..] => {
            *words = rest;
            Some(ALLOWED.contains(&format!("{name} WITH {exception}").as_str()))
        }
        [name, rest @ ..] => {
            *words = rest;
            Some(ALLOWED.contains(name))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::is_allowed;

    #[test]
    fn one_allowed_alternative_is_enough() {
        assert_eq!(is_allowed("MIT OR GPL-3.0"), Some(true));
        assert_eq!(is_allowed("Unlicense/MIT"), Some(true));
        assert_eq!(
            is_allowed("GPL-2.0 OR Apache-2.0 WITH LLVM-exception"),
            Some(true)
        );
    }

    #[test]
    fn every_joined_term_is_needed() {
        assert_eq!(is_allowed("MIT AND GPL-3.0"), Some(false));
        assert_eq!(
            is_allowed("(MIT OR Apache-2.0) AND Unicode-3.0"),
            Some(true)
        );
        // AND binds tighter than OR.
        assert_eq!(is_allowed("MIT OR MPL-2.0 AND GPL-3.0"), Some(true));
        assert_eq!(is_allowed("(MIT OR MPL-2.0) AND GPL-3.0"), Some(false));
    }

    #[test]
    fn what_cannot_be_read_is_not_allowed() {
        assert_eq!(is_allowed(""), None);
        assert_eq!(is_allowed("(MIT"), None);
        assert_eq!(is_allowed("MIT Apache-2.0"), None);
        assert_eq!(is_allowed("MIT OR"), None);
    }
}
