//! NanoMEGAS block files that the test writes itself.

use halotau::recipe::{FrameLayout, Orientation};
use halotau_io::OpenRequest;

use crate::hostile::{SpecimenFile, attack};
use crate::reading::{codes, missing_runs, read_all, shaped};

/// Sample `col` of row `row` of pattern `frame`.
fn value(frame: usize, row: usize, col: usize) -> u8 {
    (frame * 16 + row * 4 + col) as u8
}

/// Patterns of 4 x 4; `numbers` are those that the camera gave the frames.
pub(crate) fn block_file(n_rows: u16, n_cols: u16, numbers: &[u32]) -> Vec<u8> {
    let mut bytes = vec![0_u8; 256];
    bytes[..6].copy_from_slice(b"IMGBLO");
    bytes[6..8].copy_from_slice(&0x0102_u16.to_le_bytes());
    bytes[12..16].copy_from_slice(&256_u32.to_le_bytes());
    bytes[20..22].copy_from_slice(&4_u16.to_le_bytes());
    bytes[24..26].copy_from_slice(&n_cols.to_le_bytes());
    bytes[26..28].copy_from_slice(&n_rows.to_le_bytes());
    bytes[30..38].copy_from_slice(&1.25_f64.to_le_bytes());
    bytes[46..50].copy_from_slice(&200_000_u32.to_le_bytes());
    // Noon of 2020-01-01, days since 1899-12-30, and as many minutes as the number of the first frame.
    let days = 43_831.5 + numbers.first().map_or(0.0, |&n| f64::from(n) / 1440.0);
    bytes[56..64].copy_from_slice(&days.to_le_bytes());
    for (frame, number) in numbers.iter().enumerate() {
        bytes.extend([0xaa, 0x55]);
        bytes.extend(number.to_le_bytes());
        bytes.extend((0..16).map(|idx| value(frame, idx / 4, idx % 4)));
    }
    bytes
}

fn written(bytes: &[u8]) -> (tempfile::TempDir, std::path::PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("scan.blo");
    std::fs::write(&path, bytes).unwrap();
    (folder, path)
}

#[test]
fn a_scan_is_read_with_its_axes() {
    let (_folder, path) = written(&block_file(2, 3, &[1, 2, 3, 4, 5, 6]));
    let (source, samples) = read_all(&OpenRequest::new(&path));
    let header = source.header();
    assert_eq!((header.shape.n_rows, header.shape.n_cols), (2, 3));
    assert_eq!(header.step_nm.as_ref().unwrap().value, 1.25);
    assert_eq!(header.voltage_kv.as_ref().unwrap().value, 200.0);
    let start = header.start_unix_ns.unwrap();
    assert!(
        (start - 1_577_880_060_000_000_000).abs() < 1_000_000,
        "{start}"
    );
    assert_eq!(header.frame_counts.len(), 2);
    assert!(header.warnings.is_empty(), "{:?}", header.warnings);
    let expected: Vec<f64> = (0..96).map(f64::from).collect();
    assert_eq!(samples, expected);
}

#[test]
fn lost_and_cut_frames_are_missing_and_read_as_zeros() {
    // Frame 3 was lost, and the last one is cut in the middle.
    let mut bytes = block_file(2, 3, &[1, 2, 4, 5, 6]);
    bytes.truncate(bytes.len() - 5);
    let (_folder, path) = written(&bytes);
    let (source, samples) = read_all(&OpenRequest::new(&path));
    assert_eq!(missing_runs(&source), [(0, 2, 1), (0, 5, 1)]);
    assert_eq!(codes(&source), ["W108", "W103"]);
    assert!(samples[32..48].iter().all(|&sample| sample == 0.0));
    assert_eq!(samples[48], 32.0);
}

#[test]
fn a_layout_puts_frames_where_they_belong() {
    // Two scans of 2 x 2 with one frame before each line and one after, two frames early and one between the scans.
    let numbers: Vec<u32> = (1..=19).collect();
    let (_folder, path) = written(&block_file(1, 19, &numbers));
    let mut request = shaped(&path, [2, 2, 2, 0, 0]);
    request.frames = FrameLayout {
        sync_offset: Some(2),
        prescan_cols: Some(1),
        flyback_cols: Some(1),
        between_scans: 1,
        ..FrameLayout::default()
    };
    let first_samples = |request: &OpenRequest| -> Vec<f64> {
        read_all(request)
            .1
            .iter()
            .step_by(16)
            .map(|v| v / 16.0)
            .collect()
    };
    let expected = [3, 4, 7, 8, 12, 13, 16, 17].map(|frame| f64::from(frame % 16));
    assert_eq!(first_samples(&request), expected);
    request.frames.snake = true;
    let snake = [3, 4, 8, 7, 12, 13, 17, 16].map(|frame| f64::from(frame % 16));
    assert_eq!(first_samples(&request), snake);
    request.frames.snake = false;
    request.frames.scan.transpose = true;
    let transposed = [3, 7, 4, 8, 12, 16, 13, 17].map(|frame| f64::from(frame % 16));
    assert_eq!(first_samples(&request), transposed);
    // Positions before the first frame.
    request.frames = FrameLayout {
        sync_offset: Some(-1),
        ..FrameLayout::default()
    };
    let (source, _) = read_all(&request);
    assert_eq!(source.header().missing[0].n_frames, 1);
}

#[test]
fn patterns_turn() {
    let (_folder, path) = written(&block_file(1, 1, &[1]));
    let mut request = OpenRequest::new(&path);
    request.frames.pattern = Orientation {
        transpose: true,
        flip_rows: true,
        flip_cols: false,
    };
    // Transposed, then the last row first: [r][c] is what was at [c][3 - r].
    let expected: Vec<f64> = (0..16)
        .map(|idx| f64::from(value(0, idx % 4, 3 - idx / 4)))
        .collect();
    assert_eq!(read_all(&request).1, expected);
}

#[test]
fn a_folder_is_a_series() {
    let folder = tempfile::tempdir().unwrap();
    for (name, first) in [("scan10.blo", 40), ("scan2.blo", 0)] {
        let bytes = block_file(1, 2, &[first, first + 1]);
        std::fs::write(folder.path().join(name), bytes).unwrap();
    }
    std::fs::write(folder.path().join("notes.txt"), "hello").unwrap();
    let (source, samples) = read_all(&OpenRequest::new(folder.path()));
    let shape = source.header().shape;
    assert_eq!((shape.n_times, shape.n_rows, shape.n_cols), (2, 1, 2));
    assert_eq!(samples.len(), 64);
    assert_eq!(source.header().warnings[0].code, "W102");
    let times = source.header().times_s.as_ref().unwrap();
    assert!((times[1] - 2400.0).abs() < 1e-3, "{times:?}");
}

#[test]
fn broken_files_give_errors() {
    let specimen = SpecimenFile {
        name: "scan.blo",
        bytes: block_file(2, 3, &[1, 2, 3, 4, 5, 6]),
        header_bytes: 64,
    };
    attack(&[specimen], "scan.blo", |path| OpenRequest::new(path));
}
