//! Merlin recordings that the test writes itself.

use std::fs;
use std::path::Path;

use halotau_io::{OpenRequest, open};

use crate::hostile::{SpecimenFile, attack};
use crate::reading::{codes, read_all, shaped};

/// Microseconds from frame to frame, and more at the end of a line.
const DWELL_US: u64 = 1000;

/// What the header of a recording's frames says.
#[derive(Clone, Copy)]
struct Format {
    chips: usize,
    layout: &'static str,
    kind: &'static str,
    depth: usize,
    /// As written in the header.
    rows: usize,
    cols: usize,
    header_bytes: usize,
    has_tail: bool,
}

const U16: Format = Format {
    chips: 1,
    layout: "1x1",
    kind: "U16",
    depth: 12,
    rows: 8,
    cols: 8,
    header_bytes: 384,
    has_tail: true,
};

impl Format {
    fn header(&self, sequence: u64, counter: u64, us: u64) -> Vec<u8> {
        let (second, us) = (us / 1_000_000, us % 1_000_000);
        let mut text = format!(
            "MQ1,{sequence:06},{:05},{:02},{:04},{:04},{},{:>6},0F,2021-04-15 16:00:{second:02}.{us:06},0.000500,{counter},0,0,2.0E+0,5.11E+2,",
            self.header_bytes, self.chips, self.cols, self.rows, self.kind, self.layout
        );
        if self.has_tail {
            text += &format!(
                "3RX,011,511,MQ1A,2021-04-15T14:00:{second:02}.{us:06}250Z,500000ns,{},",
                self.depth
            );
        }
        let mut bytes = text.into_bytes();
        bytes.resize(self.header_bytes, 0);
        bytes
    }
}

/// Count of a pixel of a frame, in so many bits.
fn value(frame: u64, pixel: usize, depth: usize) -> u32 {
    let mixed = (frame as u32 * 977 + pixel as u32 + 1).wrapping_mul(2_654_435_761);
    (mixed >> 7) & ((1 << depth) - 1)
}

/// Frame `frame` of a small processed recording.
fn frame_u16(frame: u64) -> Vec<u8> {
    (0..64)
        .flat_map(|pixel| (value(frame, pixel, 12) as u16).to_be_bytes())
        .collect()
}

/// A recording of patterns of 8 x 8; frame and sequence number of each, lines of so many frames.
fn recording(format: &Format, frames: &[(u64, u64)], line: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    for &(frame, sequence) in frames {
        let us = frame * DWELL_US + frame / line * 700 + frame / (line * line) * 9000;
        bytes.extend(format.header(sequence, 0, us));
        bytes.extend(frame_u16(frame));
    }
    bytes
}

fn numbered(frames: std::ops::Range<u64>) -> Vec<(u64, u64)> {
    frames.map(|frame| (frame, frame + 1)).collect()
}

fn sidecar(frames: u64, per_trigger: u64, more: &str) -> String {
    format!(
        "HDR,\t\r\nCounter Depth (number):\t12\r\nActive Counters:\tAlternating\r\nFrames in Acquisition (Number):\t{frames}\r\nFrames per Trigger (Number):\t{per_trigger}\r\n{more}End\t   "
    )
}

/// Which frame each pattern is, by its first pixel; 0 for a missing one.
fn frames_of(samples: &[f64]) -> Vec<u64> {
    samples
        .chunks(64)
        .map(|pattern| {
            (0..1000)
                .find(|&frame| (0..64).all(|px| pattern[px] == f64::from(value(frame, px, 12))))
                .unwrap_or(u64::MAX)
        })
        .collect()
}

/// Stores rows of pixels as the chips send them.
fn raw(pixels: &[u32], depth: usize) -> Vec<u8> {
    let width = match depth {
        1 => 1,
        6 => 8,
        12 => 16,
        _ => {
            let high: Vec<u32> = pixels.iter().map(|p| p >> 12).collect();
            let low: Vec<u32> = pixels.iter().map(|p| p & 0xfff).collect();
            return [raw(&high, 12), raw(&low, 12)].concat();
        }
    };
    pixels
        .chunks(64 / width)
        .flat_map(|word| {
            let word = word
                .iter()
                .rev()
                .fold(0_u64, |word, &p| word << (width % 64) | u64::from(p));
            word.to_be_bytes()
        })
        .collect()
}

#[test]
fn raw_and_processed_twins_agree() {
    let folder = tempfile::tempdir().unwrap();
    for depth in [1, 6, 12, 24] {
        let (kind, n_bytes) = match depth {
            1 | 6 => ("U08", 1),
            12 => ("U16", 2),
            _ => ("U32", 4),
        };
        // The pattern's rows and columns, and of which stored column of which stored row each pixel is.
        type Stored = fn(usize, usize) -> (usize, usize);
        type Layout = (usize, &'static str, [usize; 2], [usize; 2], Stored);
        let layouts: [Layout; 3] = [
            (1, "1x1", [8, 8], [8, 8], |row, col| (row, col)),
            (4, "4x1", [8, 32], [8, 32], |row, col| (row, col)),
            (4, "2x2", [16, 16], [8, 32], |row, col| {
                match (row < 8, col < 8) {
                    (true, true) => (row, col + 24),
                    (true, false) => (row, col + 8),
                    (false, true) => (15 - row, 7 - col + 8),
                    (false, false) => (15 - row, 15 - col),
                }
            }),
        ];
        for (chips, layout, [rows, cols], [stored_rows, stored_cols], stored) in layouts {
            let pattern = |frame: u64| -> Vec<u32> {
                (0..rows * cols)
                    .map(|pixel| value(frame, pixel, depth))
                    .collect()
            };
            let processed = Format {
                chips,
                layout,
                kind,
                depth,
                rows,
                cols,
                ..U16
            };
            let planes = if depth == 24 { 2 } else { 1 };
            let raw_format = Format {
                kind: "R64",
                rows: stored_rows,
                cols: stored_cols * planes,
                header_bytes: 768,
                ..processed
            };
            let (mut plain_bytes, mut raw_bytes) = (Vec::new(), Vec::new());
            for frame in 0..3 {
                let pattern = pattern(frame);
                plain_bytes.extend(processed.header(frame + 5, 0, frame));
                for pixel in &pattern {
                    plain_bytes.extend(&pixel.to_be_bytes()[4 - n_bytes..]);
                }
                let mut sent = vec![0; pattern.len()];
                for (pixel, &count) in pattern.iter().enumerate() {
                    let (row, col) = stored(pixel / cols, pixel % cols);
                    sent[row * stored_cols + col] = count;
                }
                raw_bytes.extend(raw_format.header(frame + 5, 0, frame));
                raw_bytes.extend(raw(&sent, depth));
            }
            let name = folder.path().join(format!("{depth}_{layout}"));
            let (plain_path, raw_path) = (name.with_extension("mib"), name.with_extension("raw"));
            fs::write(&plain_path, plain_bytes).unwrap();
            fs::write(&raw_path, raw_bytes).unwrap();
            let expected: Vec<f64> = (0..3).flat_map(pattern).map(f64::from).collect();
            let (source, samples) = read_all(&OpenRequest::new(&plain_path));
            let raw_source = read_all(&OpenRequest::new(&raw_path));
            assert_eq!(samples, expected, "{depth} bits, {layout}");
            assert_eq!(raw_source.1, expected, "{depth} bits, {layout}, raw");
            assert_eq!(source.header().shape, raw_source.0.header().shape);
            assert_eq!(
                source.header().sample_type,
                raw_source.0.header().sample_type
            );
        }
    }
}

#[test]
fn the_sidecar_states_the_scan_and_the_header_the_times() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("scan.mib");
    // Two scans of 3 x 4, of which the last 5 frames and half a frame are missing.
    let mut bytes = recording(&U16, &numbered(0..20), 4);
    bytes.truncate(bytes.len() - 70);
    fs::write(&path, bytes).unwrap();
    let more = "ScanX:\t4\r\nScanY:\t3\r\n";
    fs::write(folder.path().join("scan.hdr"), sidecar(24, 1, more)).unwrap();
    for named in ["scan.mib", "scan.hdr", "."] {
        let request = OpenRequest::new(folder.path().join(named));
        let (source, samples) = read_all(&request);
        let header = source.header();
        assert_eq!(
            (
                header.shape.n_times,
                header.shape.n_rows,
                header.shape.n_cols
            ),
            (2, 3, 4)
        );
        assert_eq!(frames_of(&samples)[..19], (0..19).collect::<Vec<_>>());
        assert_eq!(header.missing.len(), 1);
        assert_eq!(header.missing[0].n_frames, 5);
        assert_eq!(header.dwell_ms.as_ref().unwrap().value, 0.5);
        assert_eq!(header.start_unix_ns, Some(1_618_495_200_000_000_250));
        let times = header.times_s.clone().unwrap();
        // Twelve frames, three ends of lines.
        assert!((times[1] - 0.0141).abs() < 1e-9, "{times:?}");
        let counts: Vec<u64> = header.frame_counts.iter().map(|c| c.n_frames).collect();
        assert_eq!(counts, [19, 24]);
        assert_eq!(codes(&open(&request).unwrap()), ["W113", "W103"]);
    }
}

#[test]
fn the_scan_is_found_from_time_stamps_or_guessed_from_the_trigger() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.mib");
    fs::write(&path, recording(&U16, &numbered(0..72), 6)).unwrap();
    let shape = |request: &OpenRequest| {
        let shape = open(request).unwrap().header().shape;
        [shape.n_times, shape.n_rows, shape.n_cols]
    };
    let request = OpenRequest::new(&path);
    assert_eq!(shape(&request), [2, 6, 6]);
    // Stamps without gaps: the trigger, one a line. With gaps they tell that a trigger was a scan.
    let even = recording(&U16, &numbered(0..72), 1000);
    fs::write(folder.path().join("a.hdr"), sidecar(72, 12, "")).unwrap();
    assert_eq!(shape(&request), [2, 6, 6]);
    fs::write(&path, even).unwrap();
    assert_eq!(shape(&request), [1, 6, 12]);
    assert_eq!(codes(&open(&request).unwrap()), ["W107"]);
    fs::write(folder.path().join("a.hdr"), sidecar(72, 72, "")).unwrap();
    assert_eq!(shape(&request), [1, 1, 72]);
    assert_eq!(codes(&open(&request).unwrap()), ["W105"]);
}

#[test]
fn files_of_one_recording_follow_their_numbers() {
    // One frame a file, named against their order; then four frames a file where a scan has six.
    for per_file in [1, 4] {
        let folder = tempfile::tempdir().unwrap();
        for first in (0..12).step_by(per_file) {
            let frames: Vec<(u64, u64)> = (first..first + per_file as u64)
                .map(|frame| (frame, frame + 31))
                .collect();
            let name = format!("run{:03}.mib", 500 - first);
            fs::write(folder.path().join(name), recording(&U16, &frames, 1000)).unwrap();
        }
        let check = |path: &Path| {
            let (source, samples) = read_all(&shaped(path, [0, 2, 3, 0, 0]));
            assert_eq!(source.header().shape.n_times, 2, "{}", path.display());
            assert_eq!(frames_of(&samples), (0..12).collect::<Vec<_>>());
        };
        check(folder.path());
        // With a sidecar of the common name, any of the files stands for all.
        fs::write(folder.path().join("run.hdr"), sidecar(12, 1, "")).unwrap();
        for name in [".", "run.hdr", "run500.mib", "run496.mib"] {
            check(&folder.path().join(name));
        }
    }
}

#[test]
fn one_scan_a_file_makes_a_series_and_keeps_the_order_of_names() {
    let folder = tempfile::tempdir().unwrap();
    for scan in [0, 1, 10] {
        let frames: Vec<(u64, u64)> = (0..6).map(|n| (scan * 6 + n, n + 1)).collect();
        let path = folder.path().join(format!("scan{scan}.mib"));
        fs::write(&path, recording(&U16, &frames, 3)).unwrap();
        fs::write(
            path.with_extension("hdr"),
            sidecar(6, 1, "ScanX:\t3\r\nScanY:\t2\r\n"),
        )
        .unwrap();
    }
    let (source, samples) = read_all(&OpenRequest::new(folder.path()));
    let shape = source.header().shape;
    assert_eq!([shape.n_times, shape.n_rows, shape.n_cols], [3, 2, 3]);
    let expected: Vec<u64> = (0..12).chain(60..66).collect();
    assert_eq!(frames_of(&samples), expected);
    assert!(
        source.header().warnings.is_empty(),
        "{:?}",
        source.header().warnings
    );
    let path = folder.path().join("scan1.mib");
    assert_eq!(frames_of(&read_all(&OpenRequest::new(path)).1)[0], 6);
}

#[test]
fn one_of_two_counters_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("both.mib");
    let one = |frame: u64, counter: u64| {
        [
            U16.header(frame + 1, counter, frame * 1000),
            frame_u16(frame),
        ]
        .concat()
    };
    let bytes: Vec<u8> = (0..12).flat_map(|frame| one(frame, frame % 2)).collect();
    fs::write(&path, bytes).unwrap();
    let mut request = shaped(&path, [1, 2, 3, 0, 0]);
    assert_eq!(frames_of(&read_all(&request).1), [0, 2, 4, 6, 8, 10]);
    assert_eq!(codes(&open(&request).unwrap()), ["W111"]);
    request.frames.counter = 1;
    assert_eq!(frames_of(&read_all(&request).1), [1, 3, 5, 7, 9, 11]);
    request.frames.counter = 2;
    assert!(
        open(&request)
            .err()
            .unwrap()
            .to_string()
            .contains("counters 0 and 1")
    );
    // One file a frame.
    let files = tempfile::tempdir().unwrap();
    for frame in 0..12 {
        let name = files.path().join(format!("f{frame}.mib"));
        fs::write(name, one(frame, frame % 2)).unwrap();
    }
    request.path = files.path().to_owned();
    request.frames.counter = 1;
    assert_eq!(frames_of(&read_all(&request).1), [1, 3, 5, 7, 9, 11]);
    // A frame that was lost puts the counters out of step.
    let bytes: Vec<u8> = (0..12)
        .filter(|&f| f != 5)
        .flat_map(|f| one(f, f % 2))
        .collect();
    fs::write(&path, bytes).unwrap();
    request.path = path;
    assert!(
        open(&request)
            .err()
            .unwrap()
            .to_string()
            .contains("take turns")
    );
}

#[test]
fn headers_may_be_old_but_not_change() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("old.mib");
    let old = Format {
        has_tail: false,
        header_bytes: 300,
        ..U16
    };
    fs::write(&path, recording(&old, &numbered(0..4), 1000)).unwrap();
    let request = shaped(&path, [1, 2, 2, 0, 0]);
    let (source, samples) = read_all(&request);
    assert_eq!(frames_of(&samples), [0, 1, 2, 3]);
    assert_eq!(source.header().dwell_ms.as_ref().unwrap().value, 0.5);
    assert_eq!(codes(&open(&request).unwrap()), ["W112"]);
    // A frame in the middle has another kind of pixels of the same size in all.
    let mut bytes = recording(&U16, &numbered(0..4), 1000);
    let stride = 384 + 128;
    let at = stride
        + bytes[stride..]
            .windows(4)
            .position(|w| w == b"U16,")
            .unwrap();
    bytes[at..at + 3].copy_from_slice(b"U08");
    fs::write(&path, bytes).unwrap();
    let source = open(&request).unwrap();
    let mut block = halotau::series::FrameBlock::empty(source.header().sample_type);
    let error = source
        .read(&source.header().shape.whole(), &mut block)
        .err()
        .unwrap();
    assert!(error.to_string().contains("frame 1"), "{error}");
    // The length of the header changes after the first frame.
    let long = Format {
        header_bytes: 400,
        ..U16
    };
    let mut bytes = recording(&U16, &numbered(0..1), 1000);
    bytes.extend(recording(&long, &numbered(1..4), 1000));
    fs::write(&path, bytes).unwrap();
    assert!(open(&request).is_err());
}

#[test]
fn frames_that_were_reserved_and_not_written_are_missing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("stopped.mib");
    let mut bytes = recording(&U16, &numbered(0..5), 1000);
    bytes.resize(9 * (384 + 128), 0);
    fs::write(&path, bytes).unwrap();
    let request = shaped(&path, [1, 3, 3, 0, 0]);
    let (source, samples) = read_all(&request);
    assert_eq!(frames_of(&samples)[..5], [0, 1, 2, 3, 4]);
    assert!(samples[5 * 64..].iter().all(|&sample| sample == 0.0));
    assert_eq!(source.header().missing[0].n_frames, 4);
    assert_eq!(codes(&open(&request).unwrap()), ["W113", "W103"]);
}

#[test]
fn broken_files_give_errors() {
    let files = [
        SpecimenFile {
            name: "scan.mib",
            bytes: recording(&U16, &numbered(0..6), 3),
            header_bytes: 230,
        },
        SpecimenFile {
            name: "scan.hdr",
            bytes: sidecar(6, 3, "ScanX:\t3\r\nScanY:\t2\r\n").into_bytes(),
            header_bytes: 200,
        },
    ];
    attack(&files, "scan.mib", |path| OpenRequest::new(path));
}
