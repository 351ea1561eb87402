//! How much memory may be used?
//!
//! Allocation never fails on an overcommitting system: the process is killed instead. So the limit is planned from what the
//! machine, the control group and the process limit state, before anything is allocated.

mod analysis;

use std::fs;
use std::path::Path;

use halotau::reduce::ReducePlan;
use halotau::series::SeriesHeader;

use crate::context::Context;
use crate::error::{Error, Result};

pub use analysis::{AnalysisSize, check_analysis};

/// Used where the system does not say how much memory there is: a small laptop.
const UNKNOWN_MACHINE: u64 = 8 << 30;

/// What is planned with where nobody states a limit and a series does not need more: faster disks than there are would not be
/// read faster with more, and with what the plan does not count the process stays below 1 GiB.
pub const ENOUGH: u64 = 768 << 20;

/// What a process takes before it has read anything and what its allocator keeps: code, stacks, small things.
pub const PROGRAM_BYTES: u64 = 32 << 20;

/// The reading buffer is at most this; larger reads are not faster.
const MAX_BUFFER: u64 = 256 << 20;

/// A read is held twice: what is summed, and what is decoded or fetched for the next.
const READ_COPIES: u64 = 2;

/// Counts are held as numbers, as their bytes and compressed while they are written.
const WRITE_COPIES: u64 = 3;

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

/// What a pass will take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct MemoryPlan {
    /// Scan rows whose shards are made together: those that the file decodes at once, where there is memory for them.
    pub rows_at_once: usize,
    /// Bytes of the shards that are made together, while they are.
    pub shard_bytes: u64,
    /// Bytes of one shard while it is written.
    pub write_bytes: u64,
    /// Bytes of the reading buffer.
    pub buffer_bytes: u64,
    /// Bytes that the file decodes at once, which a smaller buffer does not change.
    pub read_bytes: u64,
    /// Bytes of all counts on the annulus.
    pub counts_bytes: u64,
    /// Whether a shard is written while the next is made.
    pub overlapped: bool,
    /// Whether counts that are written also stay in memory for the analysis.
    pub in_memory: bool,
    /// The smallest limit with which they can stay there where nothing is written.
    pub unwritten_bytes: u64,
}

impl MemoryPlan {
    /// Bytes at the same time, at most.
    pub fn peak_bytes(&self) -> u64 {
        let work = if self.overlapped {
            self.shard_bytes + self.write_bytes
        } else {
            self.shard_bytes.max(self.write_bytes)
        };
        let kept = if self.in_memory { self.counts_bytes } else { 0 };
        PROGRAM_BYTES + work + READ_COPIES * self.buffer_bytes.max(self.read_bytes) + kept
    }
}

/// Plans the memory of a pass.
///
/// Where nobody states a limit, [`ENOUGH`] is planned with, and more, up to [`default_limit`], only for a series that
/// needs it.
///
/// # Errors
///
/// [`Error::Memory`] where the limit is too small for one shard and one read.
pub fn memory_plan(
    plan: &ReducePlan,
    header: &SeriesHeader,
    context: &Context<'_>,
) -> Result<MemoryPlan> {
    let limit_bytes = context.memory_limit().saturating_sub(PROGRAM_BYTES);
    let per_position = header.shape.n_times as u64
        * plan.annulus().len() as u64
        * plan.count_type().n_bytes() as u64;
    let (shard_rows, shard_cols) = plan.shard_shape();
    let mut shard_bytes = plan.shard_bytes() as u64;
    let write_bytes = WRITE_COPIES * per_position * (shard_rows * shard_cols) as u64;
    let (mut rows_at_once, mut read_bytes) =
        (shard_rows, plan.smallest_read_bytes(shard_rows) as u64);
    // What the file decodes at once and one shard does not hold is worth all the memory that there is; the fewer rows, the more often it
    // is decoded. One shard is held twice when they are parted.
    let fewer = |rows: &usize| Some(rows.div_ceil(2)).filter(|fewer| fewer < rows);
    let rows = std::iter::successors(Some(plan.rows_decoded()), fewer);
    for rows in rows.take_while(|&rows| rows > shard_rows) {
        let made = plan.bytes_of_rows(rows) as u64 + shard_bytes;
        let read = plan.smallest_read_bytes(rows) as u64;
        if made + write_bytes + READ_COPIES * read <= limit_bytes {
            (rows_at_once, shard_bytes, read_bytes) = (rows, made, read);
            break;
        }
    }
    let smallest_read = READ_COPIES * read_bytes;
    let needed_bytes = shard_bytes.max(write_bytes) + smallest_read;
    if needed_bytes > limit_bytes {
        return Err(Error::Memory {
            what: format!("reducing {}", header.name),
            limit_bytes: context.memory_limit(),
            needed_bytes: needed_bytes + PROGRAM_BYTES,
        });
    }
    let frugal = match context.memory_bytes {
        Some(_) => limit_bytes,
        None => limit_bytes.min(ENOUGH),
    };
    let wanted = shard_bytes + write_bytes + smallest_read;
    let within = if wanted <= frugal {
        frugal
    } else {
        limit_bytes
    };
    let overlapped = wanted <= within;
    let work = if overlapped {
        shard_bytes + write_bytes
    } else {
        shard_bytes.max(write_bytes)
    };
    let buffer_bytes = ((within - work) / (2 * READ_COPIES)).min(MAX_BUFFER);
    let n_positions: u64 = plan
        .shards()
        .iter()
        .map(|shard| (shard.n_rows * shard.n_cols) as u64)
        .sum();
    let counts_bytes = n_positions * per_position;
    // The analysis needs about as much as the counts again, and there are more limits to a machine than this one.
    let roomy = 4 * counts_bytes;
    let made_bytes = smallest_read.max(READ_COPIES * buffer_bytes) + counts_bytes;
    Ok(MemoryPlan {
        rows_at_once,
        shard_bytes,
        write_bytes,
        buffer_bytes,
        read_bytes,
        counts_bytes,
        overlapped,
        in_memory: roomy.max(work + made_bytes) <= within,
        unwritten_bytes: PROGRAM_BYTES + roomy.max(shard_bytes + made_bytes),
    })
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

/// A size for people that is enough: as [`size_text`], rounded up, so that it can be given back as a limit.
///
/// ```
/// assert_eq!(halotau_flow::memory::enough_text(106_300_000_000), "107 GB");
/// assert_eq!(halotau_flow::memory::enough_text(5000), "5.00 kB");
/// ```
pub fn enough_text(bytes: u64) -> String {
    let mut rounded = bytes;
    loop {
        let text = size_text(rounded);
        if parse_size(&text).is_none_or(|said| said >= bytes) {
            return text;
        }
        // Three digits: half of the last is at most five thousandths.
        rounded = rounded.saturating_add(bytes / 1000 + 1);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests {
    use halotau::axes::QRange;
    use halotau::calibrate::Calibration;
    use halotau::ndarray::Array2;
    use halotau::reduce::ReduceSettings;
    use halotau::series::{SampleType, SeriesShape, Stated};

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

    #[test]
    fn a_pass_keeps_within_its_limit_and_below_one_gib_by_default() {
        // 106 scans of 7200 native patterns, and ten times as many.
        for n_rows in [60, 600] {
            let shape = SeriesShape {
                n_times: 106,
                n_rows,
                n_cols: 120,
                pattern_rows: 264,
                pattern_cols: 264,
            };
            let mut header = SeriesHeader::new("test", "memory", shape, SampleType::U16);
            header.period_s = Some(Stated::new(9.89, "test"));
            let valid = Array2::from_elem((264, 264), true);
            let calibration = Calibration::centered((131.4, 130.9), 0.058, valid);
            let range = QRange::new(3.0, 5.8);
            for bin in [1, 4] {
                let mut settings = ReduceSettings::of(&header, calibration.clone(), range).unwrap();
                settings.bin = bin;
                let plan = ReducePlan::new(&header, settings).unwrap();
                let ignore = |_| ();
                let mut context = Context::new(&ignore);
                let found = memory_plan(&plan, &header, &context).unwrap();
                assert!(found.overlapped && !found.in_memory);
                assert!(found.peak_bytes() <= ENOUGH.min(context.memory_limit()));
                let mut refused = false;
                for limit in [16 << 20, 192 << 20, 400 << 20, 2 << 30] {
                    context.memory_bytes = Some(limit);
                    match memory_plan(&plan, &header, &context) {
                        Ok(found) => assert!(found.peak_bytes() <= limit, "{limit} {found:?}"),
                        Err(Error::Memory { needed_bytes, .. }) => {
                            refused = true;
                            context.memory_bytes = Some(needed_bytes);
                            let least = memory_plan(&plan, &header, &context).unwrap();
                            assert!(!least.overlapped && least.peak_bytes() <= needed_bytes);
                        }
                        Err(other) => panic!("{other}"),
                    }
                }
                assert!(refused);
            }
        }
    }
}
