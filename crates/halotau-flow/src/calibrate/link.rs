//! Naming a calibration in a recipe file, without touching anything else in it.

use std::fs;
use std::path::Path;

use crate::error::{Error, Result};
use crate::recipe_file;
use crate::results;

/// Writes `calibration = "FILE"` into the `idx`-th `[[data]]` block of a recipe. `false` where the blocks are written in
/// another way, so that a person must do it.
///
/// # Errors
///
/// [`Error::Read`] and [`Error::Write`].
pub(super) fn link(recipe: &Path, idx: usize, file: &str) -> Result<bool> {
    let text = fs::read_to_string(recipe).map_err(|source| Error::read(recipe, source))?;
    let Some(linked) = linked(&text, idx, file) else {
        return Ok(false);
    };
    let folder = recipe.parent().unwrap_or(Path::new("."));
    // Only a recipe that names the file where it should replaces the old one.
    let loads = recipe_file::parse(&linked, "recipe", folder, &[]).is_ok_and(|loaded| {
        let block = loaded.recipe.data.get(idx);
        block.is_some_and(|block| {
            block
                .calibration
                .as_ref()
                .is_some_and(|path| path.ends_with(file))
        })
    });
    if loads && linked != text {
        results::write_file(recipe, linked.as_bytes())?;
    }
    Ok(loads)
}

fn linked(text: &str, idx: usize, file: &str) -> Option<String> {
    let line = format!("calibration = \"{file}\"");
    let mut lines: Vec<&str> = text.lines().collect();
    let is_head = |line: &str| line.split('#').next().unwrap_or("").trim() == "[[data]]";
    let head = (0..lines.len()).filter(|&at| is_head(lines[at])).nth(idx)?;
    let end = (head + 1..lines.len())
        .find(|&at| lines[at].trim_start().starts_with('['))
        .unwrap_or(lines.len());
    let is_key = |line: &str| {
        let key = line.split_once('=').map(|(key, _)| key.trim());
        key == Some("calibration") || key == Some("# calibration")
    };
    match (head + 1..end).find(|&at| is_key(lines[at])) {
        Some(at) => lines[at] = &line,
        None => lines.insert(head + 1, &line),
    }
    Some(lines.join("\n") + "\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_the_file_in_its_own_block_only() {
        let text = "title = \"a\"\n[[data]] # first\npath = \"a\"\n\n[[data]]\npath = \"b\"\n[output]\npng = true\n";
        let second = linked(text, 1, "calibration-2K.toml").unwrap_or_default();
        assert_eq!(
            second,
            text.replace(
                "[[data]]\npath = \"b\"",
                "[[data]]\ncalibration = \"calibration-2K.toml\"\npath = \"b\""
            )
        );
        // Again: the line is replaced, not repeated.
        let again = linked(&second, 1, "other.toml").unwrap_or_default();
        assert_eq!(again, second.replace("calibration-2K.toml", "other.toml"));
        assert_eq!(linked("data = [{ path = \"a\" }]\n", 0, "x.toml"), None);
    }
}
