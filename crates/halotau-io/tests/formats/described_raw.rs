//! Raw samples with a sidecar.

use std::path::{Path, PathBuf};

use halotau::series::SampleType;
use halotau_io::{OpenRequest, open};

use crate::hostile::{SpecimenFile, attack};
use crate::reading::{all_samples, read_all};
use crate::samples;

fn write(folder: &Path, name: &str, bytes: &[u8], toml: &str) -> PathBuf {
    std::fs::write(folder.join(format!("{name}.toml")), toml).unwrap();
    let path = folder.join(name);
    std::fs::write(&path, bytes).unwrap();
    path
}

const FULL: &str = r#"
shape = [2, 1, 2, 2, 2]
sample_type = "u16"
big_endian = true
header_bytes = 3
frame_header_bytes = 1
frame_footer_bytes = 2
scan_header_bytes = 4
step_nm = 0.5
temperature_k = 300.0
times_s = [10.0, 15.0]
"#;

/// Bytes of the layout of [`FULL`], samples counted from 0.
fn full() -> Vec<u8> {
    let mut bytes = vec![9; 3];
    for scan in 0..2_u16 {
        bytes.extend([8; 4]);
        for frame in 0..2 {
            bytes.push(7);
            bytes.extend((0..4).flat_map(|place| (scan * 8 + frame * 4 + place).to_be_bytes()));
            bytes.extend([6; 2]);
        }
    }
    bytes
}

#[test]
fn every_part_of_the_layout_is_in_its_place() {
    let folder = tempfile::tempdir().unwrap();
    let path = write(folder.path(), "frames.raw", &full(), FULL);
    for name in [path.clone(), folder.path().join("frames.raw.toml")] {
        let (source, samples) = read_all(&OpenRequest::new(name));
        let header = source.header();
        assert_eq!(samples, (0..16).map(f64::from).collect::<Vec<_>>());
        assert_eq!(header.step_nm.as_ref().unwrap().value, 0.5);
        assert_eq!(header.temperature_k.as_ref().unwrap().value, 300.0);
        assert_eq!(header.times_s, Some(vec![0.0, 5.0]));
        assert!(header.warnings.is_empty(), "{:?}", header.warnings);
    }
    // One frame of four was not written.
    std::fs::write(&path, &full()[..full().len() - 1]).unwrap();
    let (source, samples) = read_all(&OpenRequest::new(&path));
    let missing = &source.header().missing;
    assert_eq!((missing[0].first_time, missing[0].first_frame), (1, 1));
    assert_eq!(samples[8..], [8.0, 9.0, 10.0, 11.0, 0.0, 0.0, 0.0, 0.0]);
}

#[test]
fn packed_samples_and_unknown_lengths_are_found_out() {
    let folder = tempfile::tempdir().unwrap();
    let toml = "shape = [0, 1, 2, 1, 3]\nsample_type = \"u12\"\nbig_endian = true\n";
    let frame = [0xab, 0xc4, 0x56, 0x12, 0x30];
    let path = write(folder.path(), "a.bin", &frame.repeat(6), toml);
    let (source, samples) = read_all(&OpenRequest::new(&path));
    assert_eq!(source.header().shape.n_times, 3);
    assert_eq!(source.header().sample_type, SampleType::U16);
    assert_eq!(samples[..6], [2748.0, 1110.0, 291.0].repeat(2));
    // Flyback that the sidecar states.
    let toml = "shape = [1, 0, 1, 1, 3]\nsample_type = \"u12\"\nflyback_cols = 1\nsync_offset = 2";
    let path = write(folder.path(), "a.bin", &frame.repeat(6), toml);
    let shape = open(&OpenRequest::new(&path)).unwrap().header().shape;
    assert_eq!((shape.n_rows, shape.n_cols), (2, 1));
}

#[test]
fn mistakes_in_the_sidecar_are_told() {
    let folder = tempfile::tempdir().unwrap();
    for (toml, word) in [
        ("sample_type = \"u16\"", "shape"),
        ("sample_type = \"u7\"\nshape = [1, 1, 1, 1, 1]", "u7"),
        (
            "sample_type = \"u8\"\nshape = [1, 1, 1, 1, 1]\nsteps_nm = 3",
            "steps_nm",
        ),
        (
            "sample_type = \"u8\"\nshape = [1, 1, 1, 1, 1]\nstep_nm = -3",
            "step_nm",
        ),
        (
            "sample_type = \"u8\"\nshape = [1, 0, 0, 1, 1]",
            "at most one",
        ),
        ("sample_type = \"u8\"\nshape = [1, 1, 1, 1, 0]", "pattern"),
        ("sample_type = \"u8\"\nshape = [1, 1, 1, 99, 99]", "9801"),
        (
            "sample_type = \"f64\"\nshape = [1, 1, 1, 9223372036854775807, 9]",
            "bytes",
        ),
        ("shape = [", "array"),
    ] {
        let path = write(folder.path(), "a.raw", &[0; 16], toml);
        let error = open(&OpenRequest::new(&path)).err().unwrap();
        assert_eq!(error.exit_code(), 65);
        assert!(error.to_string().contains(word), "{toml}: {error}");
    }
}

#[test]
fn a_folder_of_scans_is_a_series() {
    let folder = tempfile::tempdir().unwrap();
    for scan in [10_u8, 2] {
        let toml = format!(
            "shape = [1, 1, 2, 1, 2]\nsample_type = \"u8\"\nstart_unix_s = {}.5",
            1_600_000_000 + u64::from(scan)
        );
        let name = format!("scan{scan}.raw");
        write(folder.path(), &name, &[scan, 1, 2, 3], &toml);
    }
    let (source, samples) = read_all(&OpenRequest::new(folder.path()));
    assert_eq!(samples, [2.0, 1.0, 2.0, 3.0, 10.0, 1.0, 2.0, 3.0]);
    assert_eq!(source.header().times_s, Some(vec![0.0, 8.0]));
}

#[test]
fn broken_files_give_errors() {
    let files = [
        SpecimenFile {
            name: "frames.raw",
            bytes: full(),
            header_bytes: 8,
        },
        SpecimenFile {
            name: "frames.raw.toml",
            bytes: FULL.as_bytes().to_vec(),
            header_bytes: FULL.len(),
        },
    ];
    attack(&files, "frames.raw", |path| OpenRequest::new(path));
}

#[test]
fn a_real_file() {
    let Some(samples) = samples::folder() else {
        return;
    };
    let bytes = std::fs::read(samples.join("hdf5_4d_ebsd/nordif_Pattern.dat")).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let toml = "shape = [1, 3, 3, 60, 60]\nsample_type = \"u8\"";
    let path = write(folder.path(), "Pattern.dat", &bytes, toml);
    let samples = all_samples(&open(&OpenRequest::new(&path)).unwrap());
    assert_eq!(samples.iter().sum::<f64>(), 4_732_574.0);
}
