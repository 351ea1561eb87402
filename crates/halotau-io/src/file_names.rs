//! Which files lie beside a file, and in which order do their names come?

use std::cmp::Ordering;
use std::path::{Path, PathBuf};

/// Files in the folder of a path whose names are wanted, in natural order; none where the folder cannot be listed.
pub(crate) fn files_beside(path: &Path, is_wanted: impl Fn(&str) -> bool) -> Vec<PathBuf> {
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let mut names: Vec<String> = std::fs::read_dir(folder)
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| is_wanted(name))
        .collect();
    names.sort_by(|a, b| natural_order(a, b));
    names.iter().map(|name| path.with_file_name(name)).collect()
}

/// Compares names so that numbers in them count as numbers.
pub(crate) fn natural_order(a: &str, b: &str) -> Ordering {
    let (mut a_rest, mut b_rest) = (a, b);
    loop {
        let (a_head, a_tail) = next_part(a_rest);
        let (b_head, b_tail) = next_part(b_rest);
        let order = match (is_number(a_head), is_number(b_head)) {
            (true, true) => {
                let (a_digits, b_digits) = (
                    a_head.trim_start_matches('0'),
                    b_head.trim_start_matches('0'),
                );
                a_digits
                    .len()
                    .cmp(&b_digits.len())
                    .then_with(|| a_digits.cmp(b_digits))
            }
            _ => a_head.cmp(b_head),
        };
        // Names that are equal as numbers, 1 and 01, keep a fixed order.
        if order != Ordering::Equal || a_head.is_empty() {
            return order.then_with(|| a.cmp(b));
        }
        (a_rest, b_rest) = (a_tail, b_tail);
    }
}

fn is_number(part: &str) -> bool {
    part.starts_with(|c: char| c.is_ascii_digit())
}

/// The longest start of a name that is all digits or has none, and the rest.
fn next_part(name: &str) -> (&str, &str) {
    let number = is_number(name);
    let end = name
        .find(|c: char| c.is_ascii_digit() != number)
        .unwrap_or(name.len());
    name.split_at(end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_comes_before_ten() {
        let mut names = ["scan10", "scan2", "scan02", "scan1b", "scan1", "a", "scan"];
        names.sort_by(|a, b| natural_order(a, b));
        assert_eq!(
            names,
            ["a", "scan", "scan1", "scan1b", "scan02", "scan2", "scan10"]
        );
    }
}
