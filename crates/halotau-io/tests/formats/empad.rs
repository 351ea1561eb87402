//! Recordings of the EMPAD that the test writes itself, and reads with rosettasciio, too: `tests/python/test_rosettasciio.py`.

use std::path::Path;

use halotau_io::OpenRequest;

use crate::hostile::{SpecimenFile, attack};
use crate::reading::{for_other_readers, read_all};
use crate::samples;

/// Frames of 128 x 128 samples `frame + row / 128 + col / 65536` and two rows of metadata that are no samples.
fn raw(n_frames: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(n_frames * 66_560);
    for frame in 0..n_frames {
        for row in 0..130 {
            for col in 0..128 {
                let value = match row {
                    128.. => -999.0,
                    _ => frame as f32 + row as f32 / 128.0 + col as f32 / 65_536.0,
                };
                bytes.extend(value.to_le_bytes());
            }
        }
    }
    bytes
}

/// A sidecar that states three sizes.
fn xml(raw_name: &str, pix: usize, acquire: usize) -> String {
    format!(
        "<root name=\"acquisition_1\"><timestamp timestamp=\"1559820600.25\" isoformat=\"2019-06-06T13:30:00.25\"/>\
         <type>scan</type><pix_x>{pix}</pix_x><pix_y>{pix}</pix_y><raw_file filename=\"/home/user/{raw_name}\"/>\
         <exposure_time>1</exposure_time>\
         <scan_parameters mode=\"search\"><scan_resolution_x>64</scan_resolution_x><scan_resolution_y>64</scan_resolution_y></scan_parameters>\
         <scan_parameters mode=\"acquire\"><scan_resolution_x>{acquire}</scan_resolution_x><scan_resolution_y>{acquire}</scan_resolution_y></scan_parameters>\
         <iom_measurements><source.get_voltage>300000.0</source.get_voltage>\
         <optics.get_full_scan_field_of_view>[4e-06, 4e-06]</optics.get_full_scan_field_of_view></iom_measurements></root>"
    )
}

fn write(folder: &Path, raw_name: &str, n_frames: usize, xml: &str) {
    std::fs::write(folder.join(raw_name), raw(n_frames)).unwrap();
    std::fs::write(folder.join("acquisition_1.xml"), xml).unwrap();
}

#[test]
fn the_length_of_the_file_tells_which_size_is_right() {
    // In pix, in the block of the acquisition, in the name.
    for (raw_name, pix, acquire) in [
        ("frames.raw", 2, 128),
        ("frames.raw", 5, 2),
        ("scan_x2_y2.raw", 5, 128),
    ] {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), raw_name, 4, &xml(raw_name, pix, acquire));
        for name in [raw_name, "acquisition_1.xml"] {
            let (source, samples) = read_all(&OpenRequest::new(folder.path().join(name)));
            let header = source.header();
            let shape = header.shape;
            assert_eq!((shape.n_times, shape.n_rows, shape.n_cols), (1, 2, 2));
            assert_eq!((shape.pattern_rows, shape.pattern_cols), (128, 128));
            assert_eq!(header.dwell_ms.as_ref().unwrap().value, 1.0);
            assert_eq!(header.voltage_kv.as_ref().unwrap().value, 300.0);
            assert_eq!(header.step_nm.as_ref().unwrap().value, 2000.0);
            assert_eq!(header.start_unix_ns, Some(1_559_820_600_250_000_000));
            assert!(header.warnings.is_empty(), "{:?}", header.warnings);
            assert_eq!(samples.len(), 4 * 128 * 128);
            assert_eq!(samples[128 * 128 + 129], 1.0 + 1.0 / 128.0 + 1.0 / 65_536.0);
            assert!(samples.iter().all(|&sample| sample >= 0.0));
        }
    }
}

#[test]
fn what_is_missing_is_marked_and_what_repeats_is_time() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "frames.raw", 3, &xml("frames.raw", 2, 128));
    let (source, _) = read_all(&OpenRequest::new(folder.path().join("acquisition_1.xml")));
    assert_eq!(source.header().missing[0].first_frame, 3);
    let codes: Vec<_> = source.header().warnings.iter().map(|w| &w.code).collect();
    assert_eq!(codes, ["W120", "W103"]);

    write(folder.path(), "frames.raw", 8, &xml("frames.raw", 2, 128));
    let (source, _) = read_all(&OpenRequest::new(folder.path()));
    assert_eq!(source.header().shape.n_times, 2);

    let series = xml("frames.raw", 2, 128)
        .replace("<type>scan", "<series_count>3</series_count><type>series");
    write(folder.path(), "frames.raw", 3, &series);
    let (source, _) = read_all(&OpenRequest::new(folder.path().join("frames.raw")));
    let shape = source.header().shape;
    assert_eq!((shape.n_times, shape.n_rows, shape.n_cols), (3, 1, 1));
}

#[test]
fn names_are_enough_where_there_is_no_sidecar() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("scan_x3_y1.raw");
    std::fs::write(&path, raw(3)).unwrap();
    let shape = read_all(&OpenRequest::new(&path)).0.header().shape;
    assert_eq!((shape.n_rows, shape.n_cols), (1, 3));
    // A name that says nothing says nothing.
    let unnamed = folder.path().join("frames.raw");
    std::fs::rename(&path, &unnamed).unwrap();
    assert!(halotau_io::open(&OpenRequest::new(&unnamed)).is_err());
}

#[test]
fn a_sidecar_without_its_file_says_which() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("acquisition_1.xml");
    std::fs::write(&path, xml("gone.raw", 2, 2)).unwrap();
    let error = halotau_io::open(&OpenRequest::new(&path)).err().unwrap();
    assert!(error.to_string().contains("gone.raw"), "{error}");
    // Depth costs no stack.
    let deep = format!(
        "<root><raw_file filename=\"a.raw\"/>{}{}</root>",
        "<a>".repeat(100_000),
        "</a>".repeat(100_000)
    );
    std::fs::write(&path, deep).unwrap();
    assert!(halotau_io::open(&OpenRequest::new(&path)).is_err());
}

#[test]
fn other_readers_are_given_a_recording() {
    let folder = for_other_readers("empad");
    // Others take the path as it is, so that there must be none.
    let xml = xml("scan_x2_y2.raw", 2, 2).replace("/home/user/", "");
    write(&folder, "scan_x2_y2.raw", 4, &xml);
    assert_eq!(read_all(&OpenRequest::new(&folder)).1.len(), 4 << 14);
}

#[test]
fn broken_files_give_errors() {
    let sidecar = xml("a.raw", 1, 1);
    let files = [
        SpecimenFile {
            name: "a.xml",
            header_bytes: 60,
            bytes: sidecar.into_bytes(),
        },
        SpecimenFile {
            name: "a.raw",
            header_bytes: 4,
            bytes: raw(1),
        },
    ];
    attack(&files, "a.xml", |path| OpenRequest::new(path));
}

#[test]
fn the_sizes_of_a_real_sidecar_are_found() {
    let Some(samples) = samples::folder() else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let xml = std::fs::read_to_string(samples.join("empad_xml/map4x4.xml")).unwrap();
    write(folder.path(), "scan_x4_y4.raw", 16, &xml);
    let (source, _) = read_all(&OpenRequest::new(folder.path().join("scan_x4_y4.raw")));
    let shape = source.header().shape;
    assert_eq!((shape.n_times, shape.n_rows, shape.n_cols), (1, 4, 4));
    assert_eq!(source.header().voltage_kv.as_ref().unwrap().value, 300.0);
}
