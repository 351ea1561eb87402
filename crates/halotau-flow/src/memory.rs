//! How much memory may be used?
//!
//! Allocation never fails on an overcommitting system: the process is killed instead. So the limit is planned from what the
//! machine, the control group and the process limit state, before anything is allocated.

use std::fs;
use std::path::Path;

/// Used where the system does not say how much memory there is: a small laptop.
const UNKNOWN_MACHINE: u64 = 8 << 30;

/// Half of the smallest of physical memory, control-group limit and address-space limit, in bytes.
///
/// Half, because the page cache of a file that is read once and the arrays of other programs need room too.
pub fn default_limit() -> u64 {
    let limits = [physical(), control_group(), address_space()];
    limits
        .into_iter()
        .flatten()
        .min()
        .unwrap_or(UNKNOWN_MACHINE)
        / 2
}

fn physical() -> Option<u64> {
    let text = fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find(|line| line.starts_with("MemTotal:"))?;
    let kib: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    kib.checked_mul(1024)
}

/// The smallest limit of the process's control group and of all groups above it, version 2 or 1.
fn control_group() -> Option<u64> {
    let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
    let limits = groups.lines().filter_map(|line| {
        // hierarchy:controllers:path
        let mut fields = line.splitn(3, ':');
        let controllers = fields.nth(1)?;
        let group = fields.next()?.trim_start_matches('/');
        if controllers.is_empty() {
            smallest_above(Path::new("/sys/fs/cgroup"), group, "memory.max")
        } else if controllers.split(',').any(|name| name == "memory") {
            let root = Path::new("/sys/fs/cgroup/memory");
            smallest_above(root, group, "memory.limit_in_bytes")
        } else {
            None
        }
    });
    limits.min()
}

fn smallest_above(root: &Path, group: &str, file: &str) -> Option<u64> {
    let folder = root.join(group);
    let folders = folder.ancestors().take_while(|path| path.starts_with(root));
    folders
        .filter_map(|folder| fs::read_to_string(folder.join(file)).ok())
        // "max" in version 2 does not parse: no limit there.
        .filter_map(|text| text.trim().parse().ok())
        .min()
}

fn address_space() -> Option<u64> {
    let text = fs::read_to_string("/proc/self/limits").ok()?;
    let line = text.strip_prefix("Max address space").or_else(|| {
        let start = text.find("\nMax address space")?;
        text[start..].strip_prefix("\nMax address space")
    })?;
    line.split_whitespace().next()?.parse().ok()
}

/// Reads a size such as `4GiB`, `500 MB`, `1.5G` or plain bytes.
///
/// `kB MB GB TB` are powers of 1000, `KiB MiB GiB TiB` and the bare letters `K M G T` powers of 1024. `None` for anything else.
///
/// ```
/// assert_eq!(halotau_flow::memory::parse_size("4GiB"), Some(4 << 30));
/// assert_eq!(halotau_flow::memory::parse_size("500 MB"), Some(500_000_000));
/// assert_eq!(halotau_flow::memory::parse_size("much"), None);
/// ```
pub fn parse_size(text: &str) -> Option<u64> {
    let text = text.trim();
    let end = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(text.len());
    let number: f64 = text[..end].parse().ok()?;
    let factor = match text[end..].trim().to_ascii_lowercase().as_str() {
        "" | "b" => 1.0,
        "kb" => 1e3,
        "mb" => 1e6,
        "gb" => 1e9,
        "tb" => 1e12,
        "k" | "kib" => 1024.0,
        "m" | "mib" => 1024.0 * 1024.0,
        "g" | "gib" => 1024.0 * 1024.0 * 1024.0,
        "t" | "tib" => 1024.0 * 1024.0 * 1024.0 * 1024.0,
        _ => return None,
    };
    let bytes = number * factor;
    // Above 2^63 the conversion would only saturate; no machine has that much.
    (1.0..9.0e18).contains(&bytes).then_some(bytes as u64)
}

/// A size for people, three significant digits in powers of 1000: `106 GB`.
///
/// ```
/// assert_eq!(halotau_flow::memory::size_text(106_300_000_000), "106 GB");
/// assert_eq!(halotau_flow::memory::size_text(999), "999 B");
/// ```
pub fn size_text(bytes: u64) -> String {
    if bytes < 1000 {
        return format!("{bytes} B");
    }
    let mut value = bytes as f64;
    let mut units = ["B", "kB", "MB", "GB", "TB", "PB", "EB"].iter();
    let mut unit = units.next().unwrap_or(&"B");
    // 999.5 would be printed as 1000 of the smaller unit.
    while value >= 999.5 {
        let Some(larger) = units.next() else { break };
        value /= 1000.0;
        unit = larger;
    }
    let digits = if value < 9.995 {
        2
    } else if value < 99.95 {
        1
    } else {
        0
    };
    format!("{value:.digits$} {unit}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_in_both_powers() {
        for (text, bytes) in [
            ("4GiB", 4 << 30),
            ("8G", 8 << 30),
            ("1.5 kB", 1500),
            ("12", 12),
            ("2tb", 2_000_000_000_000),
        ] {
            assert_eq!(parse_size(text), Some(bytes), "{text}");
        }
        for text in [
            "",
            "GiB",
            "-1G",
            "1e3",
            "0",
            "4 GiBs",
            "1.2.3G",
            "99999999999T",
        ] {
            assert_eq!(parse_size(text), None, "{text}");
        }
    }

    #[test]
    fn sizes_are_printed_with_three_digits() {
        for (bytes, text) in [
            (0, "0 B"),
            (1000, "1.00 kB"),
            (9_994, "9.99 kB"),
            (65_432, "65.4 kB"),
            (999_600, "1.00 MB"),
            (106_293_657_600, "106 GB"),
        ] {
            assert_eq!(size_text(bytes), text);
        }
    }

    #[test]
    fn there_is_some_memory_but_not_all_of_it() {
        let limit = default_limit();
        assert!(limit > 1 << 20, "{limit}");
        assert!(physical().is_none_or(|all| limit <= all / 2));
    }
}
