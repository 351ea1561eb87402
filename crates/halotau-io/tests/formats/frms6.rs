//! Acquisitions of a JEOL 4DCanvas that the test writes itself.

use std::fs;
use std::path::{Path, PathBuf};

use halotau::recipe::{BinnedRows, Corrections, Orientation};
use halotau::series::SampleType;
use halotau_io::{OpenRequest, open};

use crate::hostile::{SpecimenFile, attack};
use crate::reading::{codes, missing_runs, read_all, shaped};

/// Dark frames of each acquisition.
const N_DARK: u64 = 3;

/// What is written.
#[derive(Clone, Copy)]
struct Camera {
    /// Rows and columns of an unfolded frame.
    rows: usize,
    cols: usize,
    bin: usize,
    scan: (usize, usize),
    /// Frames in each file of the signal.
    per_file: u64,
    n_frames: u64,
    counts_in_header: bool,
}

const SMALL: Camera = Camera {
    rows: 4,
    cols: 3,
    bin: 1,
    scan: (2, 3),
    per_file: 4,
    n_frames: 6,
    counts_in_header: true,
};

/// Count of a pixel of an unfolded frame; those of the dark frames are smaller.
fn count(camera: &Camera, frame: u64, row: usize, col: usize) -> u16 {
    let pixel = (row * camera.cols + col) as u64;
    (200 + (frame * 131 + pixel * 17) % 5000) as u16
}

fn dark_count(camera: &Camera, frame: u64, row: usize, col: usize) -> u16 {
    ((row * camera.cols + col) as u64 % 90 + frame) as u16
}

/// A file of frames; `count` gives the pixels of the unfolded frame.
fn frames_file(
    camera: &Camera,
    frames: std::ops::Range<u64>,
    count: impl Fn(&Camera, u64, usize, usize) -> u16,
) -> Vec<u8> {
    let Camera { rows, cols, .. } = *camera;
    let mut bytes = vec![0_u8; 1024];
    bytes[0..2].copy_from_slice(&1024_u16.to_le_bytes());
    bytes[2..4].copy_from_slice(&64_u16.to_le_bytes());
    bytes[4] = 1;
    bytes[7] = 6;
    bytes[88..90].copy_from_slice(&(2 * cols as u16).to_le_bytes());
    bytes[90..92].copy_from_slice(&(rows as u16 / 2).to_le_bytes());
    if camera.counts_in_header {
        let n = (frames.end - frames.start) as u32;
        bytes[1020..1024].copy_from_slice(&n.to_le_bytes());
    }
    for frame in frames {
        let mut header = [0_u8; 64];
        let line = camera.scan.1 as u64;
        let us = frame * 1000 + frame / line * 900 + frame / (line * camera.scan.0 as u64) * 20_000;
        header[4..8].copy_from_slice(&1_600_000_000_u32.to_le_bytes());
        header[8..12].copy_from_slice(&(us as u32).to_le_bytes());
        header[12..16].copy_from_slice(&(frame as u32 + 7).to_le_bytes());
        header[26..28].copy_from_slice(&(rows as u16 / 2).to_le_bytes());
        bytes.extend(header);
        for row in 0..rows / 2 {
            let upper = (0..cols).map(|col| count(camera, frame, row, col));
            let lower = (0..cols)
                .rev()
                .map(|col| count(camera, frame, rows - 1 - row, col));
            bytes.extend(upper.chain(lower).flat_map(u16::to_le_bytes));
        }
    }
    bytes
}

fn sidecar(camera: &Camera) -> String {
    format!(
        "[measurementInfo]\ndarkframes = {N_DARK}\ndwelltimemicroseconds = 500\ngain = 1\nsignalframes = {}\nstemimagesize = {}x{}\nreadoutmode = \"bin: {}, windowing: 1 x 1 \"\nnote = made by a test\n",
        camera.n_frames, camera.scan.0, camera.scan.1, camera.bin
    )
}

fn write(folder: &Path, name: &str, camera: &Camera) -> PathBuf {
    let file = |number: u64| folder.join(format!("{name}_{number:03}.frms6"));
    fs::write(file(0), frames_file(camera, 0..N_DARK, dark_count)).unwrap();
    let starts = (0..camera.n_frames).step_by(camera.per_file as usize);
    for (number, start) in (1..).zip(starts) {
        let end = (start + camera.per_file).min(camera.n_frames);
        fs::write(file(number), frames_file(camera, start..end, count)).unwrap();
    }
    let path = folder.join(format!("{name}.hdr"));
    fs::write(&path, sidecar(camera)).unwrap();
    path
}

/// What an acquisition should read to, rows repeated.
fn expected(
    camera: &Camera,
    is_dark_subtracted: bool,
    gain: impl Fn(usize, usize) -> f64,
) -> Vec<f64> {
    let mut values = Vec::new();
    for frame in 0..camera.n_frames {
        for out_row in 0..camera.rows * camera.bin {
            let row = out_row / camera.bin;
            for col in 0..camera.cols {
                let dark: f64 = (0..N_DARK)
                    .map(|frame| f64::from(dark_count(camera, frame, row, col)) / N_DARK as f64)
                    .sum();
                let dark = if is_dark_subtracted { dark } else { 0.0 };
                values
                    .push((f64::from(count(camera, frame, row, col)) - dark) * gain(out_row, col));
            }
        }
    }
    values
}

#[test]
fn any_file_of_an_acquisition_gives_all_of_it() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "scan", &SMALL);
    for name in ["scan.hdr", "scan_000.frms6", "scan_002.frms6", "."] {
        let request = OpenRequest::new(folder.path().join(name));
        let (source, samples) = read_all(&request);
        let header = source.header();
        assert_eq!(
            header.shape.to_string(),
            open(&request).unwrap().header().shape.to_string()
        );
        assert_eq!((header.shape.n_rows, header.shape.n_cols), (2, 3), "{name}");
        assert_eq!(
            (header.shape.pattern_rows, header.shape.pattern_cols),
            (4, 3)
        );
        assert_eq!(header.sample_type, SampleType::F32);
        assert_eq!(samples, expected(&SMALL, true, |_, _| 1.0), "{name}");
        assert_eq!(header.dwell_ms.as_ref().unwrap().value, 0.5);
        assert_eq!(header.start_unix_ns, Some(1_600_000_000_000_000_000));
        let counts: Vec<u64> = header.frame_counts.iter().map(|c| c.n_frames).collect();
        assert_eq!(counts, [6, 6, 6]);
        assert!(header.warnings.is_empty(), "{:?}", header.warnings);
    }
    let mut request = OpenRequest::new(folder.path().join("scan.hdr"));
    request.frames.corrections = Some(Corrections::None);
    let (source, samples) = read_all(&request);
    assert_eq!(source.header().sample_type, SampleType::U16);
    assert_eq!(samples, expected(&SMALL, false, |_, _| 1.0));
    // The other reader's orientation.
    request.frames.pattern = Orientation {
        flip_rows: true,
        flip_cols: true,
        transpose: false,
    };
    let turned = read_all(&request).1;
    assert!(turned[..12].iter().eq(samples[..12].iter().rev()));
}

#[test]
fn binned_rows_are_repeated_or_kept_and_the_gain_map_fits() {
    let camera = Camera {
        bin: 2,
        counts_in_header: false,
        ..SMALL
    };
    let folder = tempfile::tempdir().unwrap();
    let mut request = OpenRequest::new(write(folder.path(), "scan", &camera));
    let (source, samples) = read_all(&request);
    assert_eq!(source.header().shape.pattern_rows, 8);
    assert_eq!(samples, expected(&camera, true, |_, _| 1.0));
    assert_eq!(codes(&open(&request).unwrap()), ["W114"]);
    // A line for each of the three columns, and in it the eight rows.
    let gain = |row: usize, col: usize| 0.5 + row as f64 * 0.25 + col as f64;
    let lines: Vec<String> = (0..3)
        .map(|col| (0..8).map(|row| format!("{};", gain(row, col))).collect())
        .collect();
    let map = folder.path().join("scan_gain.csv");
    fs::write(&map, lines.join("\n")).unwrap();
    let close = |a: &[f64], b: &[f64]| {
        a.len() == b.len()
            && a.iter()
                .zip(b)
                .all(|(a, b)| (a - b).abs() <= 1e-6 * b.abs())
    };
    let with_gain = read_all(&request).1;
    assert!(close(&with_gain, &expected(&camera, true, gain)));
    assert_eq!(codes(&open(&request).unwrap()), ["W114", "W114"]);
    fs::write(folder.path().join("scan_gain.mat"), "x").unwrap();
    assert!(
        open(&request)
            .err()
            .unwrap()
            .to_string()
            .contains("scan_gain.csv")
    );
    fs::remove_file(folder.path().join("scan_gain.mat")).unwrap();
    fs::write(&map, "1;2;3").unwrap();
    assert!(
        open(&request)
            .err()
            .unwrap()
            .to_string()
            .contains("gain map")
    );
    fs::remove_file(&map).unwrap();
    request.frames.binned_rows = BinnedRows::Keep;
    let kept = Camera { bin: 1, ..camera };
    assert_eq!(read_all(&request).1, expected(&kept, true, |_, _| 1.0));
}

#[test]
fn long_and_cut_acquisitions_are_scans_in_time() {
    // Two scans in one acquisition, the last file cut inside frame 10.
    let camera = Camera {
        n_frames: 12,
        ..SMALL
    };
    let folder = tempfile::tempdir().unwrap();
    let path = write(folder.path(), "scan", &camera);
    let last = folder.path().join("scan_003.frms6");
    let bytes = fs::read(&last).unwrap();
    let stride = 64 + 2 * 12;
    fs::write(&last, &bytes[..1024 + 2 * stride + 30]).unwrap();
    let request = OpenRequest::new(&path);
    let (source, samples) = read_all(&request);
    let header = source.header();
    assert_eq!(
        (
            header.shape.n_times,
            header.shape.n_rows,
            header.shape.n_cols
        ),
        (2, 2, 3)
    );
    assert_eq!(samples[..120], expected(&camera, true, |_, _| 1.0)[..120]);
    assert_eq!(
        header.missing.iter().map(|run| run.n_frames).sum::<usize>(),
        2
    );
    assert_eq!(codes(&open(&request).unwrap()), ["W113", "W103"]);
    let times = header.times_s.clone().unwrap();
    assert!((times[1] - 0.0278).abs() < 1e-9, "{times:?}");
    // A file in the middle that was not copied: the camera's numbers tell which frames are missing.
    fs::remove_file(folder.path().join("scan_002.frms6")).unwrap();
    let (source, samples) = read_all(&request);
    assert_eq!(missing_runs(&source), [(0, 4, 2), (1, 0, 2), (1, 4, 2)]);
    assert_eq!(
        samples[8 * 12..10 * 12],
        expected(&camera, true, |_, _| 1.0)[8 * 12..10 * 12]
    );
}

#[test]
fn stamps_settle_which_side_of_the_scan_is_the_line() {
    // The camera's lines have 8 positions, but the sizes are written as columns and rows.
    let camera = Camera {
        scan: (6, 8),
        n_frames: 48,
        per_file: 48,
        ..SMALL
    };
    let folder = tempfile::tempdir().unwrap();
    let path = write(folder.path(), "scan", &camera);
    fs::write(
        &path,
        sidecar(&Camera {
            scan: (8, 6),
            ..camera
        }),
    )
    .unwrap();
    let request = OpenRequest::new(&path);
    let source = open(&request).unwrap();
    assert_eq!(
        (source.header().shape.n_rows, source.header().shape.n_cols),
        (6, 8)
    );
    assert_eq!(codes(&open(&request).unwrap()), ["W107"]);
    let source = open(&shaped(&path, [1, 8, 6, 0, 0])).unwrap();
    assert_eq!(
        (source.header().shape.n_rows, source.header().shape.n_cols),
        (8, 6)
    );
}

#[test]
fn a_folder_of_acquisitions_is_a_series() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["scan10", "scan9"] {
        write(folder.path(), name, &SMALL);
    }
    let (source, samples) = read_all(&OpenRequest::new(folder.path()));
    let shape = source.header().shape;
    assert_eq!((shape.n_times, shape.n_rows, shape.n_cols), (2, 2, 3));
    assert_eq!(samples[..72], expected(&SMALL, true, |_, _| 1.0));
}

#[test]
fn a_window_and_a_lonely_file_are_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("alone.frms6");
    // The file's header states the whole detector, the frames the lines of the window.
    let mut bytes = frames_file(
        &Camera {
            counts_in_header: false,
            ..SMALL
        },
        0..6,
        count,
    );
    bytes[90..92].copy_from_slice(&132_u16.to_le_bytes());
    fs::write(&path, bytes).unwrap();
    let request = shaped(&path, [1, 2, 3, 0, 0]);
    let (source, samples) = read_all(&request);
    assert_eq!(source.header().sample_type, SampleType::U16);
    assert_eq!(samples, expected(&SMALL, false, |_, _| 1.0));
    assert_eq!(codes(&open(&request).unwrap()), ["W114"]);
    let mut request = request;
    request.frames.corrections = Some(Corrections::Apply);
    assert!(open(&request).err().unwrap().to_string().contains("dark"));
}

#[test]
fn broken_files_give_errors() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "scan", &SMALL);
    let specimen = |name: &'static str, header_bytes: usize| SpecimenFile {
        name,
        bytes: fs::read(folder.path().join(name)).unwrap(),
        header_bytes,
    };
    // The fill of the file header is long and says nothing.
    let files = [
        specimen("scan.hdr", 200),
        specimen("scan_000.frms6", 96),
        specimen("scan_001.frms6", 96),
        specimen("scan_002.frms6", 8),
    ];
    attack(&files, "scan.hdr", |path| OpenRequest::new(path));
    // The count of frames and the first frame's header lie behind the fill: a senseless one loses frames at most.
    let path = folder.path().join("scan_001.frms6");
    let bytes = fs::read(&path).unwrap();
    let request = OpenRequest::new(folder.path().join("scan.hdr"));
    for at in 1020..=1024 + 64 - 4 {
        for value in [0x00, 0x01, 0x7f, 0xff] {
            let mut bytes = bytes.clone();
            bytes[at..at + 4].fill(value);
            fs::write(&path, bytes).unwrap();
            let (source, samples) = read_all(&request);
            assert_eq!(source.header().shape.n_cols, 3);
            assert_eq!(
                samples[..12],
                expected(&SMALL, true, |_, _| 1.0)[..12],
                "{at} {value}"
            );
        }
    }
}

/// Leaves acquisitions in the target folder, with what was read of them, for `tests/python/test_readers.py` to read with LiberTEM.
#[test]
fn leaves_acquisitions_for_another_reader() {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"))
        .join("readers")
        .join("frms6");
    match fs::remove_dir_all(&folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => panic!("{error}"),
        _ => {}
    }
    let full = Camera {
        rows: 264,
        cols: 264,
        scan: (2, 2),
        n_frames: 4,
        per_file: 3,
        ..SMALL
    };
    let cameras = [
        ("whole", full),
        (
            "binned_2",
            Camera {
                rows: 132,
                bin: 2,
                ..full
            },
        ),
        (
            "binned_4_uncounted",
            Camera {
                rows: 66,
                bin: 4,
                counts_in_header: false,
                ..full
            },
        ),
        ("window", Camera { rows: 64, ..full }),
    ];
    for (name, camera) in cameras {
        let folder = folder.join(name);
        fs::create_dir_all(&folder).unwrap();
        let mut request = OpenRequest::new(write(&folder, name, &camera));
        for (corrections, file) in [
            (None, "corrected.f8"),
            (Some(Corrections::None), "stored.f8"),
        ] {
            request.frames.corrections = corrections;
            let samples = read_all(&request).1;
            let bytes: Vec<u8> = samples.iter().flat_map(|v| v.to_le_bytes()).collect();
            fs::write(folder.join(file), bytes).unwrap();
        }
    }
}
