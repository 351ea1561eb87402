//! MRC files and movies of Direct Electron that the test writes itself.

use std::fs;
use std::path::Path;

use halotau_io::{OpenRequest, open};

use crate::hostile::{SpecimenFile, attack};
use crate::reading::{read_all, shaped};
use crate::samples::{check, folder};

/// A file of a mode; `stated` is NZ, which nobody believes.
fn mrc(mode: i32, (rows, cols): (i32, i32), stated: i32, big_endian: bool, data: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0_u8; 1024];
    let mut put = |at: usize, value: i32| {
        let word = if big_endian {
            value.to_be_bytes()
        } else {
            value.to_le_bytes()
        };
        bytes[at..at + 4].copy_from_slice(&word);
    };
    for (at, value) in [(0, cols), (4, rows), (8, stated), (12, mode), (92, 8)] {
        put(at, value);
    }
    bytes[208..212].copy_from_slice(b"MAP ");
    bytes[212] = if big_endian { 0x11 } else { 0x44 };
    // The extended header.
    bytes.extend([7; 8]);
    bytes.extend(data);
    bytes
}

/// A movie of frames of 1 x 2 16-bit counts, `10 · frame` and one more.
fn movie(n_frames: u16) -> Vec<u8> {
    let data: Vec<u8> = (0..n_frames)
        .flat_map(|frame| [10 * frame, 10 * frame + 1])
        .flat_map(u16::to_le_bytes)
        .collect();
    mrc(6, (1, 2), 32_766, false, &data)
}

fn info(lines: &str) -> String {
    format!(
        "Server Software Version = 2.7\nTimestamp (seconds since Epoch) = 1729539410\nScan - Enable = Enable\nScan - Type = Raster\n\
         Scan - Size X = 3\nScan - Size Y = 2\nScan - Dwell Time (microseconds) = 1500\nInstrument Accelerating Voltage (V) = 300000\n\
         Specimen Pixel Size X (nanometers) = 0.5\nDiffraction Pixel Size X = 0.1\n{lines}"
    )
}

fn write(folder: &Path, files: &[(&str, &[u8])]) {
    for (name, bytes) in files {
        fs::write(folder.join(name), bytes).unwrap();
    }
}

fn first_samples(samples: &[f64]) -> Vec<f64> {
    samples.iter().step_by(2).map(|v| v / 10.0).collect()
}

#[test]
fn every_mode_is_read() {
    let read = |bytes: &[u8]| {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("stack.mrc");
        fs::write(&path, bytes).unwrap();
        read_all(&OpenRequest::new(path)).1
    };
    let signed = mrc(0, (1, 3), 1, false, &[255, 0, 127]);
    assert_eq!(read(&signed), [-1.0, 0.0, 127.0]);
    // The highest value in the header tells that bytes are unsigned.
    let mut unsigned = signed.clone();
    unsigned[80..84].copy_from_slice(&255_f32.to_le_bytes());
    assert_eq!(read(&unsigned), [255.0, 0.0, 127.0]);
    let words = [(-2_i16).to_be_bytes(), 300_i16.to_be_bytes()].concat();
    assert_eq!(read(&mrc(1, (1, 2), 1, true, &words)), [-2.0, 300.0]);
    let floats = [1.5_f32, -2.0].map(f32::to_le_bytes).concat();
    assert_eq!(read(&mrc(2, (2, 1), 1, false, &floats)), [1.5, -2.0]);
    let halves = [0x3c00_u16, 0xc000].map(u16::to_le_bytes).concat();
    assert_eq!(read(&mrc(12, (1, 2), 1, false, &halves)), [1.0, -2.0]);
    // Rows of three 4-bit pixels take two bytes.
    let packed = mrc(101, (2, 3), 1, false, &[0x21, 0x03, 0x54, 0x06]);
    assert_eq!(read(&packed), [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
}

#[test]
fn repeats_are_times_and_the_length_decides() {
    let folder = tempfile::tempdir().unwrap();
    let lines = "Scan - Repeats = 3\nScan - Time Per Scan (seconds) = 0.5\nScan - Repeat Delay (seconds) = 3\n";
    write(
        folder.path(),
        &[
            ("20241021_1_movie.mrc", &movie(14)),
            ("20241021_1_info.txt", info(lines).as_bytes()),
            ("20241021_1_0_Virt 0_sum.mrc", &movie(1)),
            ("20241021_1_final.mrc", &movie(1)),
        ],
    );
    for name in ["20241021_1_movie.mrc", "20241021_1_info.txt", ""] {
        let (source, samples) = read_all(&OpenRequest::new(folder.path().join(name)));
        let header = source.header();
        let shape = header.shape;
        assert_eq!(
            (shape.n_times, shape.n_rows, shape.n_cols),
            (3, 2, 3),
            "{name}"
        );
        assert_eq!(header.period_s.as_ref().unwrap().value, 3.5);
        assert_eq!(header.dwell_ms.as_ref().unwrap().value, 1.5);
        assert_eq!(header.voltage_kv.as_ref().unwrap().value, 300.0);
        assert_eq!(header.step_nm.as_ref().unwrap().value, 0.5);
        assert_eq!(header.start_unix_ns, Some(1_729_539_410_000_000_000));
        assert_eq!(header.missing[0].n_frames, 4);
        assert_eq!(
            first_samples(&samples)[..14],
            (0..14).map(f64::from).collect::<Vec<_>>()
        );
    }
    // Images of the server open by their own name.
    let image = open(&OpenRequest::new(
        folder.path().join("20241021_1_final.mrc"),
    ))
    .unwrap();
    assert_eq!(image.header().shape.n_cols, 1);
}

#[test]
fn frames_of_a_point_are_summed() {
    let folder = tempfile::tempdir().unwrap();
    let lines = "Scan - Camera Frames Per Point = 4\nAutosave Movie Sum Count = 2\n";
    write(
        folder.path(),
        &[
            ("a_movie.mrc", &movie(12)),
            ("a_info.txt", info(lines).as_bytes()),
        ],
    );
    let (source, samples) = read_all(&OpenRequest::new(folder.path().join("a_movie.mrc")));
    assert_eq!(
        source.header().sample_type,
        halotau::series::SampleType::U32
    );
    assert_eq!(source.header().shape.n_cols, 3);
    assert_eq!(samples[..4], [10.0, 12.0, 50.0, 52.0]);
}

#[test]
fn coordinates_put_frames_into_rows() {
    let folder = tempfile::tempdir().unwrap();
    let text = info("").replace("Raster", "XY Array");
    // Position (x, y) of each frame; the last was not recorded.
    let list = "1,0\n0,0\n0,1\n2,1\n2,0\n1,1\n";
    write(
        folder.path(),
        &[
            ("a_movie.mrc", &movie(5)),
            ("a_info.txt", text.as_bytes()),
            ("a_scan_coordinates.csv", list.as_bytes()),
        ],
    );
    let path = folder.path().join("a_movie.mrc");
    let (source, samples) = read_all(&OpenRequest::new(&path));
    let shape = source.header().shape;
    assert_eq!((shape.n_times, shape.n_rows, shape.n_cols), (1, 2, 3));
    assert_eq!(first_samples(&samples), [1.0, 0.0, 4.0, 2.0, 0.0, 3.0]);
    let missing = &source.header().missing;
    assert_eq!((missing.len(), missing[0].first_frame), (1, 4));
    // Scattered positions are no scan, unless a person says so.
    fs::write(
        folder.path().join("a_scan_coordinates.csv"),
        "0,0\n1,1\n2,2\n",
    )
    .unwrap();
    let error = open(&OpenRequest::new(&path)).err().unwrap();
    assert!(error.to_string().contains("data.shape"), "{error}");
    let (source, samples) = read_all(&shaped(&path, [1, 1, 5, 0, 0]));
    assert_eq!(source.header().warnings[0].code, "W118");
    assert_eq!(first_samples(&samples), [0.0, 1.0, 2.0, 3.0, 4.0]);
}

#[test]
fn broken_files_give_errors() {
    // The fields that are read; the rest of the header is labels.
    let mut bytes = movie(6);
    let stack = SpecimenFile {
        name: "stack.mrc",
        header_bytes: 100,
        bytes: bytes.clone(),
    };
    attack(&[stack], "stack.mrc", |path| OpenRequest::new(path));
    bytes.truncate(1024 + 8 + 24);
    let lines = "Scan - Repeats = 1\nScan - Camera Frames Per Point = 2\n";
    let text = info(lines).replace("Raster", "Other").into_bytes();
    let files = [
        SpecimenFile {
            name: "a_info.txt",
            header_bytes: 120,
            bytes: text,
        },
        SpecimenFile {
            name: "a_scan_coordinates.csv",
            header_bytes: 12,
            bytes: b"0,0\n1,0\n2,0\n".to_vec(),
        },
        SpecimenFile {
            name: "a_movie.mrc",
            header_bytes: 16,
            bytes,
        },
    ];
    attack(&files, "a_movie.mrc", |path| OpenRequest::new(path));
}

#[test]
fn sample_files() {
    for file in [
        "0_Virt 0_sum.mrc",
        "1_Virt 1_sum.mrc",
        "ext1_Ext 1.mrc",
        "final.mrc",
        "movie.mrc",
    ] {
        check(&format!("mrc_de/20241021_00405_{file}"), OpenRequest::new);
    }
    let Some(folder) = folder() else { return };
    let source = open(&OpenRequest::new(folder.join("mrc_de"))).unwrap();
    let shape = source.header().shape;
    assert_eq!((shape.n_times, shape.n_rows, shape.n_cols), (1, 4, 8));
}
