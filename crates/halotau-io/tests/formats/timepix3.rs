//! Streams of Timepix3 events that the test writes itself.

use std::path::{Path, PathBuf};

use halotau_io::{BoxedSource, OpenRequest, open};

use crate::hostile::{SpecimenFile, attack};
use crate::reading::read_all;
use crate::samples;

/// Units of 25 ns in a microsecond.
const PER_US: u64 = 40;

/// A packet of one chip.
fn packet(chip: u64, words: &[u64]) -> Vec<u8> {
    let header =
        u64::from(u32::from_le_bytes(*b"TPX3")) | chip << 32 | (words.len() as u64 * 8) << 48;
    let mut bytes = header.to_le_bytes().to_vec();
    bytes.extend(words.iter().flat_map(|word| word.to_le_bytes()));
    bytes
}

/// A hit of a pixel of the chip, at a time in units of 25 ns.
fn hit(row: u64, col: u64, time: u64) -> u64 {
    let address = (col / 2) << 9 | (row / 4) << 3 | (col % 2) << 2 | (row % 4);
    let (toa, spidr) = (time & 0x3fff, time >> 14 & 0xffff);
    0xb << 60 | address << 44 | toa << 30 | 9 << 20 | spidr
}

/// A rising edge of TDC 1.
fn pulse(time: u64) -> u64 {
    0x6f << 56 | (time * 8) << 9 | 1 << 5
}

/// Both halves of the global time.
fn global(time: u64) -> [u64; 2] {
    [
        0x44 << 56 | (time & 0xffff_ffff) << 16,
        0x45 << 56 | (time >> 32) << 16,
    ]
}

fn write(folder: &Path, bytes: &[u8], toml: &str) -> PathBuf {
    let path = folder.join("scan.tpx3");
    std::fs::write(&path, bytes).unwrap();
    std::fs::write(folder.join("scan.tpx3.toml"), toml).unwrap();
    path
}

/// Two scans of 2 lines of 3 positions of 10 us; `position + 1` hits at each, in pixel (position, scan), the last early.
/// Every line has 5 us of flyback with hits that belong to no frame. The first pulse comes at `start`.
fn lines(start: u64) -> Vec<u8> {
    let mut bytes = packet(0, &global(start));
    for line in 0..4_u64 {
        let line_start = start + line * 35 * PER_US;
        let mut words = vec![pulse(line_start)];
        for col in 0..3 {
            let (scan, position) = (line / 2, line % 2 * 3 + col);
            for n in 0..=position {
                let time = line_start + col * 10 * PER_US + 3 + n * 7;
                words.push(hit(position, scan, time));
            }
        }
        words.push(hit(99, 99, line_start + 32 * PER_US));
        // Out of order, as several columns of the chip send their hits.
        words[1..].reverse();
        bytes.extend(packet(0, &words));
    }
    bytes
}

const LINES: &str = "[events]\ntrigger = \"tdc1_rise\"\nstarts = \"line\"\nn_rows = 2\nn_cols = 3\ndwell_us = 10.0\n";

#[test]
fn lines_of_pulses_make_scans() {
    let folder = tempfile::tempdir().unwrap();
    // From the start of the clock, over its turn at 2^30 units, and long after.
    for start in [100 * PER_US, (1 << 30) - 30 * PER_US, 5 << 31] {
        let path = write(folder.path(), &lines(start), LINES);
        let (source, samples) = read_all(&OpenRequest::new(&path));
        assert!(source.events().is_some(), "read_all compares them");
        let header = source.header();
        let shape = header.shape;
        assert_eq!((shape.n_times, shape.n_rows, shape.n_cols), (2, 2, 3));
        assert_eq!((shape.pattern_rows, shape.pattern_cols), (256, 256));
        assert!(header.warnings.is_empty(), "{:?}", header.warnings);
        // The second scan starts two lines later.
        let times = header.times_s.as_ref().unwrap();
        assert!((times[1] - 70e-6).abs() < 1e-15, "{times:?}");
        assert_eq!(header.dwell_ms.as_ref().unwrap().value, 0.01);
        for (idx, frame) in samples.chunks(1 << 16).enumerate() {
            let (scan, position) = (idx / 6, idx % 6);
            assert_eq!(frame[position * 256 + scan], (position + 1) as f64, "{idx}");
            assert_eq!(frame.iter().sum::<f64>(), (position + 1) as f64, "{idx}");
        }
    }
}

#[test]
fn scans_and_frames_of_pulses_and_plain_dwell_agree() {
    let folder = tempfile::tempdir().unwrap();
    let stream = lines(100 * PER_US);
    let read = |toml: &str| {
        let path = write(folder.path(), &stream, toml);
        read_all(&OpenRequest::new(path))
    };
    let (_, by_line) = read(LINES);
    // The same pulses taken for those of scans with one line each.
    let (_, by_scan) = read(
        &LINES
            .replace("\"line\"", "\"scan\"")
            .replace("n_rows = 2", "n_rows = 1"),
    );
    assert_eq!(by_line, by_scan);
    let (source, frames) = read("[events]\nstarts = \"frame\"\ndwell_us = 10.0\n");
    assert_eq!(source.header().shape.n_cols, 4);
    assert_eq!(frames[..1 << 16], by_line[..1 << 16]);
    let (source, free) = read("[events]\ntrigger = \"none\"\ndwell_us = 5.0\n");
    assert_eq!(source.header().shape.n_positions(), (3 * 35 + 32) / 5);
    assert_eq!(free.iter().sum::<f64>(), (4 + 2 * 21 - 1) as f64);
}

#[test]
fn chips_are_put_to_their_places_and_pulses_counted_once() {
    let folder = tempfile::tempdir().unwrap();
    let mut stream = Vec::new();
    for chip in 0..4 {
        let pulses = [pulse(4000), hit(2, 3, 4100), pulse(8000), hit(2, 3, 8100)];
        stream.extend(packet(chip, &pulses));
    }
    stream.extend(packet(0, &[hit(0, 0, 12_000)]));
    let path = write(folder.path(), &stream, "[events]\n");
    let (source, samples) = read_all(&OpenRequest::new(&path));
    assert_eq!(source.header().shape.n_positions(), 2);
    let warns = |source: &BoxedSource, code| {
        let warnings = &source.header().warnings;
        assert!(
            warnings.iter().any(|warning| warning.code == code),
            "{warnings:?}"
        );
    };
    warns(&source, "W124");
    for place in [2 * 512 + 259, 509 * 512 + 508, 509 * 512 + 252, 2 * 512 + 3] {
        assert_eq!(samples[place], 1.0);
    }
    let turned =
        "[events]\nchips = [{ chip = 0, row = 0, col = 0, turn = { transpose = true } }]\n";
    let path = write(folder.path(), &stream, turned);
    let (source, samples) = read_all(&OpenRequest::new(&path));
    assert_eq!(samples[3 * 256 + 2], 1.0);
    warns(&source, "W122");
}

#[test]
fn a_stream_that_was_cut_keeps_its_whole_frames() {
    let folder = tempfile::tempdir().unwrap();
    let stream = lines(100 * PER_US);
    // The last line has a pulse, a flyback, and 4, 5 and 6 hits.
    let mut cut = stream[..stream.len() - (2 + 17) * 8 + 8].to_vec();
    let line_start = (100 + 3 * 35) * PER_US;
    cut.extend(packet(
        0,
        &[pulse(line_start), hit(0, 0, line_start + 22 * PER_US)],
    ));
    let path = write(folder.path(), &cut, LINES);
    let (source, _) = read_all(&OpenRequest::new(&path));
    let missing = &source.header().missing;
    assert_eq!((missing[0].first_time, missing[0].first_frame), (1, 5));
}

#[test]
fn settings_that_make_no_sense_are_told() {
    let folder = tempfile::tempdir().unwrap();
    let stream = lines(100 * PER_US);
    for (toml, word) in [
        ("[events]\nstarts = \"line\"\nn_cols = 3\n", "dwell_us"),
        ("[events]\nstarts = \"line\"\ndwell_us = 3\n", "n_cols"),
        ("[events]\ndwell_us = -1.0\n", "dwell_us"),
        ("[events]\ntrigger = \"tdc2_fall\"\n", "none of the pulses"),
        ("[events]\ntriger = \"none\"\n", "triger"),
        ("[events]\nchips = []\n", "chips"),
        ("[events]\nn_rows = 0\n", "n_rows"),
    ] {
        let path = write(folder.path(), &stream, toml);
        let error = open(&OpenRequest::new(&path)).err().unwrap();
        assert!(error.to_string().contains(word), "{toml}: {error}");
    }
}

#[test]
fn broken_files_give_errors() {
    let files = [
        SpecimenFile {
            name: "scan.tpx3",
            bytes: lines(4000),
            header_bytes: 56,
        },
        SpecimenFile {
            name: "scan.tpx3.toml",
            bytes: LINES.as_bytes().to_vec(),
            header_bytes: 0,
        },
    ];
    attack(&files, "scan.tpx3", |path| OpenRequest::new(path));
}

#[test]
fn words_of_real_files_are_counted() {
    let Some(folder) = samples::folder() else {
        return;
    };
    let path = folder.join("tpx3/raw_test_data_tdc_02.tpx3");
    let source = open(&OpenRequest::new(&path)).unwrap();
    let warning = &source.header().warnings[0];
    assert_eq!(warning.code, "W123");
    let counts = "26 hits, 16001 trigger pulses, 160 global times, 6008 other words and 0 that belong to no packet in 5364 packets";
    assert!(warning.text.contains(counts), "{}", warning.text);
    // This one has no hits, so there are no frames.
    let path = folder.join("tpx3/raw_test_data_03.tpx3");
    let error = open(&OpenRequest::new(&path)).err().unwrap().to_string();
    let counts = "0 hits, 0 trigger pulses, 348 global times, 1396 other words and 0 that belong to no packet in 1396 packets";
    assert!(error.contains(counts), "{error}");
}
