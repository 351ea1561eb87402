//! What does a reader do with any bytes at all?
//!
//! One target a format. `cargo test` runs the stored corpus (`__fuzz__/`, the specimens of the formats' tests and whatever
//! once went wrong) and some random bytes; with `cargo install cargo-bolero`,
//! `cargo bolero test -p halotau-io --test formats fuzz::mib` searches guided by coverage and stores what it finds.
//!
//! An input holds the files of an acquisition one after another, each but the last after its length as u16.

use std::ffi::OsStr;
use std::fs;
use std::path::Path;

use halotau_io::OpenRequest;

use crate::hostile::{SpecimenFile, survive};

/// Random inputs of each target in a plain test run.
const RANDOM_INPUTS: usize = 200;

/// Longest random input; headers are shorter.
const MOST_BYTES: usize = 2048;

/// A format's files, the one that is opened first.
struct Target {
    name: &'static str,
    files: &'static [&'static str],
}

macro_rules! targets {
    ($($name:ident: $($file:literal),+;)*) => {
        const TARGETS: &[Target] = &[$(Target { name: stringify!($name), files: &[$($file),+] }),*];

        $(
            #[test]
            fn $name() {
                bolero::check!()
                    .with_iterations(RANDOM_INPUTS)
                    .with_max_len(MOST_BYTES)
                    .for_each(|input: &[u8]| read(stringify!($name), input));
            }
        )*
    };
}

targets! {
    blo: "scan.blo";
    counted: "counted.h5";
    dm: "run.dm4", "run.raw", "run.raw_1";
    frms6: "scan.hdr", "scan_000.frms6", "scan_001.frms6", "scan_002.frms6";
    hdf5: "scan_master.h5", "scan_data_000001.h5", "scan.h5";
    mib: "scan.mib", "scan.hdr";
    mrc: "a_movie.mrc", "a_info.txt", "a_scan_coordinates.csv";
    npy: "a.npy";
    described_raw: "frames.raw", "frames.raw.toml";
    empad: "a.xml", "a.raw";
    ser: "scan_1.ser", "scan.emi";
    seq: "a.seq", "a.seq.dark.mrc", "a.seq.Config.Metadata.xml";
    tiff: "stack.tif";
    timepix3: "scan.tpx3", "scan.tpx3.toml";
    tvips: "a_000.tvips", "a_001.tvips";
}

fn target(name: &str) -> Option<&'static Target> {
    TARGETS.iter().find(|target| target.name == name)
}

/// Writes the files that an input holds and opens the first.
fn read(name: &str, input: &[u8]) {
    let target = target(name).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let mut rest = input;
    for (idx, file) in target.files.iter().enumerate() {
        let is_last = idx + 1 == target.files.len();
        let bytes = match rest.split_first_chunk() {
            Some((len, after)) if !is_last => {
                let (bytes, after) =
                    after.split_at(after.len().min(u16::from_le_bytes(*len).into()));
                rest = after;
                bytes
            }
            _ => std::mem::take(&mut rest),
        };
        // An absent sidecar is another case than an empty one.
        if idx == 0 || !bytes.is_empty() {
            fs::write(folder.path().join(file), bytes).unwrap();
        }
    }
    let request = OpenRequest::new(folder.path().join(target.files[0]));
    survive(&request, &format!("a fuzzed {name} file"));
}

/// Stores a specimen as an input of the target of its format, where it is not too large.
pub(crate) fn store(specimen: &[SpecimenFile], corpus: &OsStr, format: &str) {
    let main = |target: &&Target| specimen.iter().any(|file| file.name == target.files[0]);
    let Some(target) = target(format).filter(main) else {
        return;
    };
    let mut input = Vec::new();
    for (idx, name) in target.files.iter().enumerate() {
        let bytes = specimen
            .iter()
            .find(|file| file.name == *name)
            .map_or(&[][..], |file| &file.bytes);
        let Ok(len) = u16::try_from(bytes.len()) else {
            return;
        };
        if idx + 1 < target.files.len() {
            input.extend(len.to_le_bytes());
        }
        input.extend(bytes);
    }
    let folder = Path::new(corpus)
        .join(format!("fuzz__{format}"))
        .join("corpus");
    fs::create_dir_all(&folder).unwrap();
    let n_stored = fs::read_dir(&folder).unwrap().count();
    fs::write(folder.join(format!("specimen-{n_stored}")), input).unwrap();
}
