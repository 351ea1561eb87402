//! TIA series files that the test writes itself.

use halotau_io::OpenRequest;

use crate::hostile::{SpecimenFile, attack};
use crate::reading::read_all;
use crate::samples;

/// A scan of 2 rows and 3 columns of patterns with 2 rows and 4 columns, `n_written` of its elements there.
/// `wide` is the version with offsets of 64 bits, `kind` the type of the pixels, one byte each.
fn series_file(wide: bool, kind: u16, n_written: u32, second: impl Fn(u32) -> u32) -> Vec<u8> {
    let total = 6_u32;
    let mut bytes = vec![0x49, 0x49, 0x97, 0x01];
    bytes.extend(if wide { 0x0220_u16 } else { 0x0210 }.to_le_bytes());
    bytes.extend(0x4122_u32.to_le_bytes());
    bytes.extend(0x4142_u32.to_le_bytes());
    bytes.extend(total.to_le_bytes());
    bytes.extend(n_written.to_le_bytes());
    let array_at = bytes.len();
    bytes.extend(vec![0; if wide { 8 } else { 4 }]);
    bytes.extend(2_u32.to_le_bytes());
    for size in [3_u32, 2] {
        bytes.extend(size.to_le_bytes());
        bytes.extend(0_f64.to_le_bytes());
        bytes.extend(2.5e-9_f64.to_le_bytes());
        bytes.extend(0_u32.to_le_bytes());
        for text in ["Position", "m"] {
            bytes.extend((text.len() as u32).to_le_bytes());
            bytes.extend(text.as_bytes());
        }
    }
    let array = bytes.len() as u64;
    let width = if wide { 8 } else { 4 };
    bytes.extend(vec![0; 2 * total as usize * width]);
    let put = |bytes: &mut Vec<u8>, at: usize, value: u64| {
        bytes[at..at + width].copy_from_slice(&value.to_le_bytes()[..width]);
    };
    put(&mut bytes, array_at, array);
    for frame in 0..n_written {
        let at = bytes.len() as u64;
        put(&mut bytes, array as usize + frame as usize * width, at);
        for _ in 0..2 {
            bytes.extend(0_f64.to_le_bytes());
            bytes.extend(5e7_f64.to_le_bytes());
            bytes.extend(0_u32.to_le_bytes());
        }
        bytes.extend(kind.to_le_bytes());
        bytes.extend(4_u32.to_le_bytes());
        bytes.extend(2_u32.to_le_bytes());
        bytes.extend((0..8).map(|pixel| (frame * 8 + pixel) as u8));
    }
    for frame in 0..n_written {
        let at = bytes.len() as u64;
        put(
            &mut bytes,
            array as usize + (total + frame) as usize * width,
            at,
        );
        bytes.extend(0x4142_u32.to_le_bytes());
        bytes.extend(second(frame).to_le_bytes());
        bytes.extend([0; 16]);
    }
    bytes
}

const EMI: &str = "\u{1}noise<ObjectInfo><AcceleratingVoltage>200000</AcceleratingVoltage>\
    <DwellTimePath>0.0625</DwellTimePath></ObjectInfo>more noise";

#[test]
fn a_scan_is_read_with_its_rows_turned_and_its_document() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("scan.emi"), EMI).unwrap();
    for wide in [false, true] {
        let path = folder.path().join("scan_1.ser");
        std::fs::write(&path, series_file(wide, 1, 6, |_| 1_500_000_000)).unwrap();
        // The document stands for its series.
        for name in ["scan_1.ser", "scan.emi"] {
            let (source, samples) = read_all(&OpenRequest::new(folder.path().join(name)));
            let header = source.header();
            let shape = header.shape;
            assert_eq!((shape.n_times, shape.n_rows, shape.n_cols), (1, 2, 3));
            assert_eq!((shape.pattern_rows, shape.pattern_cols), (2, 4));
            assert_eq!(header.step_nm.as_ref().unwrap().value, 2.5);
            assert_eq!(header.q_step_per_nm.as_ref().unwrap().value, 0.05);
            assert_eq!(header.voltage_kv.as_ref().unwrap().value, 200.0);
            assert_eq!(header.dwell_ms.as_ref().unwrap().value, 62.5);
            assert_eq!(header.start_unix_ns, Some(1_500_000_000_000_000_000));
            assert!(header.warnings.is_empty(), "{:?}", header.warnings);
            let turned = |sample: usize| (sample / 8 * 8 + (sample % 8 + 4) % 8) as f64;
            let expected: Vec<f64> = (0..48).map(turned).collect();
            assert_eq!(samples, expected);
        }
    }
}

#[test]
fn signed_bytes_keep_their_sign_and_an_aborted_scan_its_frames() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("scan_1.ser");
    let mut bytes = series_file(false, 4, 4, |frame| 100 + frame);
    let last = bytes.len() - 4 * 24 - 1;
    bytes[last] = 0xff;
    std::fs::write(&path, bytes).unwrap();
    let (source, samples) = read_all(&OpenRequest::new(&path));
    assert_eq!(source.header().missing[0].first_frame, 4);
    assert_eq!(source.header().missing[0].n_frames, 2);
    // The last stored row is the first that is read.
    assert_eq!(samples[3 * 8 + 3], -1.0);
}

#[test]
fn spectra_and_complex_numbers_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("scan_1.ser");
    let mut bytes = series_file(false, 1, 6, |_| 1);
    bytes[6] = 0x20;
    for (bytes, word) in [
        (bytes, "spectra"),
        (series_file(false, 9, 6, |_| 1), "complex"),
    ] {
        std::fs::write(&path, bytes).unwrap();
        let error = halotau_io::open(&OpenRequest::new(&path)).err().unwrap();
        assert!(error.to_string().contains(word), "{error}");
    }
}

#[test]
fn broken_files_give_errors() {
    let specimen = SpecimenFile {
        name: "scan_1.ser",
        bytes: series_file(true, 1, 6, |frame| frame),
        header_bytes: 320,
    };
    let document = SpecimenFile {
        name: "scan.emi",
        bytes: EMI.as_bytes().to_vec(),
        header_bytes: 0,
    };
    attack(&[specimen, document], "scan_1.ser", |path| {
        OpenRequest::new(path)
    });
}

#[test]
fn real_files() {
    samples::check("ser/64x64_diffraction_acquire_1.ser", OpenRequest::new);
    samples::check("ser/64x64x5_TEM_preview_1.ser", OpenRequest::new);
}
