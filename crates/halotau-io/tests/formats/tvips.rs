//! TVIPS recordings that the test writes itself. Those of version 2 are read by rosettasciio, too: `tests/python/test_rosettasciio.py`.

use std::path::Path;

use halotau::recipe::FrameLayout;
use halotau_io::OpenRequest;

use crate::hostile::{SpecimenFile, attack};
use crate::reading::{for_other_readers, read_all, shaped};
use crate::samples;

/// What one frame header says.
#[derive(Clone, Copy, Default)]
struct Frame {
    counter: u32,
    rotator: u32,
    scan: (f32, f32),
    celsius: f32,
}

/// Bytes of a series header and of frames of 3 rows and 2 columns of u16; sample = 6 · frame + place.
fn series_header(version: u32, frame_header: u32) -> Vec<u8> {
    let mut bytes = vec![0; 256];
    let mut put = |at: usize, value: u32| bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
    for (at, value) in [
        (0, 256),
        (4, version),
        (8, 2),
        (12, 3),
        (16, 16),
        (40, 200),
        (48, frame_header),
    ] {
        put(at, value);
    }
    bytes
}

fn frames(frame_header: usize, first: usize, frames: &[Frame]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (idx, frame) in frames.iter().enumerate() {
        let mut header = vec![0; frame_header.max(76)];
        let mut put =
            |at: usize, value: u32| header[at..at + 4].copy_from_slice(&value.to_le_bytes());
        put(0, frame.counter);
        put(4, 1_600_000_000 + frame.counter / 10);
        put(8, frame.counter % 10 * 100);
        put(48, frame.rotator);
        put(52, frame.celsius.to_bits());
        put(56, frame.celsius.to_bits());
        put(68, frame.scan.0.to_bits());
        put(72, frame.scan.1.to_bits());
        bytes.extend(&header[..frame_header]);
        for place in 0..6 {
            bytes.extend((((first + idx) * 6 + place) as u16).to_le_bytes());
        }
    }
    bytes
}

fn counted(n: u32) -> Vec<Frame> {
    (0..n)
        .map(|counter| Frame {
            counter,
            ..Frame::default()
        })
        .collect()
}

fn recording(version: u32, frame_header: u32, list: &[Frame]) -> Vec<u8> {
    let mut bytes = series_header(version, frame_header);
    let header = if version == 1 { 12 } else { frame_header };
    bytes.extend(frames(header as usize, 0, list));
    bytes
}

fn firsts(samples: &[f64]) -> Vec<f64> {
    samples
        .iter()
        .step_by(6)
        .map(|sample| sample / 6.0)
        .collect()
}

fn written(name: &str, bytes: &[u8]) -> (tempfile::TempDir, std::path::PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    std::fs::write(&path, bytes).unwrap();
    (folder, path)
}

#[test]
fn both_versions_are_read_in_parts() {
    for (version, header) in [(1, 12), (2, 76)] {
        let (folder, path) = written("a_000.tvips", &recording(version, header, &counted(3)));
        let mut rest = counted(6);
        rest.drain(..3);
        let second = folder.path().join("a_001.tvips");
        std::fs::write(&second, frames(header as usize, 3, &rest)).unwrap();
        // Any part stands for the recording.
        for path in [&path, &second] {
            let mut request = shaped(path, [1, 2, 3, 0, 0]);
            let (source, samples) = read_all(&request);
            let about = source.header();
            assert_eq!(samples, (0..36).map(f64::from).collect::<Vec<_>>());
            assert_eq!((about.shape.pattern_rows, about.shape.pattern_cols), (3, 2));
            assert_eq!(about.voltage_kv.as_ref().unwrap().value, 200.0);
            assert_eq!(about.start_unix_ns, Some(1_600_000_000_000_000_000));
            assert!(about.warnings.is_empty(), "{:?}", about.warnings);
            request.frames.snake = true;
            assert_eq!(
                firsts(&read_all(&request).1),
                [0.0, 1.0, 2.0, 5.0, 4.0, 3.0]
            );
        }
    }
}

#[test]
fn frames_that_the_camera_lost_are_missing() {
    let mut list = counted(6);
    list.remove(2);
    let (_folder, path) = written("a_000.tvips", &recording(2, 60, &list));
    let (source, samples) = read_all(&shaped(&path, [1, 2, 3, 0, 0]));
    assert_eq!(source.header().missing[0].first_frame, 2);
    assert_eq!(firsts(&samples), [0.0, 1.0, 0.0, 2.0, 3.0, 4.0]);
}

#[test]
fn the_rotator_index_puts_frames_to_positions() {
    // Two before the scan, position 2 twice, position 3 missed, and a second scan.
    let indices = [0, 0, 1, 2, 2, 4, 1, 2, 3, 4];
    let list: Vec<Frame> = counted(10)
        .into_iter()
        .zip(indices)
        .map(|(frame, rotator)| Frame { rotator, ..frame })
        .collect();
    let (_folder, path) = written("a_000.tvips", &recording(2, 60, &list));
    let (source, samples) = read_all(&OpenRequest::new(&path));
    let shape = source.header().shape;
    assert_eq!((shape.n_times, shape.n_rows, shape.n_cols), (2, 2, 2));
    assert_eq!(firsts(&samples), [2.0, 3.0, 0.0, 5.0, 6.0, 7.0, 8.0, 9.0]);
    let missing = &source.header().missing;
    assert_eq!((missing[0].first_time, missing[0].first_frame), (0, 2));
    assert_eq!(source.header().warnings[0].code, "W120");
    // A person who counts frames counts all of them.
    let mut request = shaped(&path, [1, 2, 4, 0, 0]);
    request.frames = FrameLayout {
        sync_offset: Some(1),
        ..FrameLayout::default()
    };
    let all = read_all(&request).1;
    assert_eq!(firsts(&all), (1..9).map(f64::from).collect::<Vec<_>>());
}

#[test]
fn scan_coordinates_tell_start_and_shape() {
    let places = [
        (0, 0),
        (0, 0),
        (0, 0),
        (1, 0),
        (2, 0),
        (0, 1),
        (1, 1),
        (2, 1),
    ];
    let list: Vec<Frame> = counted(8)
        .into_iter()
        .zip(places)
        .map(|(frame, (x, y))| Frame {
            scan: (x as f32, y as f32),
            celsius: 350.0,
            ..frame
        })
        .collect();
    let (_folder, path) = written("a_000.tvips", &recording(2, 76, &list));
    let (source, samples) = read_all(&OpenRequest::new(&path));
    let header = source.header();
    assert_eq!((header.shape.n_rows, header.shape.n_cols), (2, 3));
    assert_eq!(firsts(&samples), [2.0, 3.0, 4.0, 5.0, 6.0, 7.0]);
    // The unit is not in the file, so that a person is told which one was taken.
    assert_eq!(header.temperature_k.as_ref().unwrap().value, 350.0 + 273.15);
    assert!(header.warnings.iter().any(|warning| warning.code == "W121"));
}

#[test]
fn other_readers_are_given_a_recording() {
    let folder = for_other_readers("tvips");
    let bytes = recording(2, 76, &counted(6));
    let cut = 256 + 4 * (76 + 12);
    write(&folder.join("written_000.tvips"), &bytes[..cut]);
    write(&folder.join("written_001.tvips"), &bytes[cut..]);
    let request = OpenRequest::new(folder.join("written_000.tvips"));
    assert_eq!(firsts(&read_all(&request).1).len(), 6);
}

fn write(path: &Path, bytes: &[u8]) {
    std::fs::write(path, bytes).unwrap();
}

#[test]
fn broken_files_give_errors() {
    let bytes = recording(2, 76, &counted(4));
    let cut = 256 + 2 * (76 + 12);
    let files = [
        ("a_000.tvips", &bytes[..cut], 330),
        ("a_001.tvips", &bytes[cut..], 76),
    ]
    .map(|(name, bytes, header_bytes)| SpecimenFile {
        name,
        bytes: bytes.to_vec(),
        header_bytes: header_bytes.min(110),
    });
    attack(&files, "a_000.tvips", |path| OpenRequest::new(path));
}

#[test]
fn real_files() {
    for file in ["2233_000", "2345_000", "2345_split_000"] {
        samples::check(&format!("tvips/test_tvips_{file}.tvips"), OpenRequest::new);
    }
}
