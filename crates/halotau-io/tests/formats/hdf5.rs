//! HDF5 files of every writer: do they read to the right numbers, and do links lead where they may?

use std::fs;
use std::path::{Path, PathBuf};

use halotau::series::{FrameBlock, FrameRun, SampleType};
use halotau_io::{Error, OpenRequest, open};
use rust_hdf5::{FilterPipeline, H5File};

use crate::hostile::{SpecimenFile, attack};
use crate::reading::{codes, missing_runs, read_all, shaped};
use crate::samples::{check, folder};

const ROWS: usize = 6;
const COLS: usize = 7;
const FRAME_LEN: usize = ROWS * COLS;

/// Sample of a frame at an index, of more bits than one byte.
fn sample(frame: usize, idx: usize) -> u32 {
    (frame * 1000 + idx) as u32 % 70_000
}

fn frames(range: std::ops::Range<usize>) -> Vec<u32> {
    range
        .flat_map(|frame| (0..FRAME_LEN).map(move |idx| sample(frame, idx)))
        .collect()
}

fn data_name(number: usize) -> String {
    format!("scan_data_{number:06}.h5")
}

/// Writes a data file with some frames, compressed as the detectors do.
fn write_data(folder: &Path, number: usize, frames_in: std::ops::Range<usize>) {
    let file = H5File::create(folder.join(data_name(number))).unwrap();
    let entry = file.create_group("entry").unwrap();
    let data = entry.create_group("data").unwrap();
    data.new_dataset::<u32>()
        .shape([frames_in.len(), ROWS, COLS])
        .chunk(&[1, ROWS, COLS])
        .filter_pipeline(FilterPipeline::bshuf_lz4(4))
        .create("data")
        .unwrap()
        .write_raw(&frames(frames_in))
        .unwrap();
    file.close().unwrap();
}

fn scalar(group: &rust_hdf5::H5Group, name: &str, value: f64) {
    let dataset = group.new_dataset::<f64>().scalar().create(name).unwrap();
    dataset.write_raw(&[value]).unwrap();
}

/// Writes a master file for so many images and triggers that links to so many data files.
fn write_master(folder: &Path, n_images: f64, n_triggers: f64, links: &[String]) {
    let file = H5File::create(folder.join("scan_master.h5")).unwrap();
    file.set_attr_string("default", "entry").unwrap();
    let entry = file.create_group("entry").unwrap();
    entry.set_attr_string("NX_class", "NXentry").unwrap();
    let data = entry.create_group("data").unwrap();
    for (idx, link) in links.iter().enumerate() {
        let name = format!("data_{:06}", idx + 1);
        data.create_external_link(&name, link, "/entry/data/data")
            .unwrap();
    }
    let instrument = entry.create_group("instrument").unwrap();
    let detector = instrument.create_group("detector").unwrap();
    scalar(&detector, "count_time", 2e-4);
    scalar(&detector, "frame_time", 2.5e-4);
    let specific = detector.create_group("detectorSpecific").unwrap();
    scalar(&specific, "nimages", n_images);
    scalar(&specific, "ntrigger", n_triggers);
    scalar(&specific, "photon_energy", 200e3);
    specific
        .write_vlen_strings("data_collection_date", &["2025-08-06T02:52:43.741+02:00"])
        .unwrap();
    let mask = specific
        .new_dataset::<u32>()
        .shape([ROWS, COLS])
        .create("pixel_mask")
        .unwrap();
    let mut bits = [0_u32; FRAME_LEN];
    bits[3] = 2;
    mask.write_raw(&bits).unwrap();
    file.close().unwrap();
}

fn write_sidecar(folder: &Path, rows: u32, cols: u32, prescan: u32) {
    let file = H5File::create(folder.join("scan.h5")).unwrap();
    let group = file.create_group("STEM Metadata").unwrap();
    for (name, value) in [
        ("NumPixelsX", cols),
        ("NumPixelsY", rows),
        ("NumPixelsPrescan", prescan),
    ] {
        group.set_attr_array_numeric(name, &[value]).unwrap();
    }
    group
        .set_attr_array_numeric("Pixel Size", &[1.6_f64])
        .unwrap();
    group
        .set_attr_array_numeric("High Tension", &[300e3_f64])
        .unwrap();
    file.close().unwrap();
}

/// Three data files of five, five and two frames.
fn write_recording(folder: &Path) {
    write_data(folder, 1, 0..5);
    write_data(folder, 2, 5..10);
    write_data(folder, 3, 10..12);
    write_master(folder, 1.0, 12.0, &[1, 2, 3].map(data_name));
}

fn as_f64(samples: &[u32]) -> Vec<f64> {
    samples.iter().map(|&sample| f64::from(sample)).collect()
}

#[test]
fn dectris_recordings_follow_their_links_and_sidecar() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    write_recording(folder);
    let master = folder.join("scan_master.h5");

    // Twelve frames are no square, and nothing states the scan.
    let (source, samples) = read_all(&OpenRequest::new(&master));
    assert_eq!(source.header().shape.n_cols, 12);
    assert_eq!(samples, as_f64(&frames(0..12)));
    assert_eq!(codes(&source), ["W134", "W105"]);
    let (source, _) = read_all(&shaped(&master, [0, 2, 3, 0, 0]));
    assert_eq!(
        source.header().shape.to_string(),
        "time 2 · scan 2 x 3 · pattern 6 x 7"
    );

    write_sidecar(folder, 3, 3, 1);
    for name in ["scan_master.h5", "scan.h5", "scan_data_000002.h5"] {
        let (source, samples) = read_all(&OpenRequest::new(folder.join(name)));
        let header = source.header();
        assert_eq!(
            header.shape.to_string(),
            "time 1 · scan 3 x 3 · pattern 6 x 7",
            "{name}"
        );
        let expected = [frames(1..4), frames(5..8), frames(9..12)].concat();
        assert_eq!(samples, as_f64(&expected), "{name}");
        assert_eq!(header.step_nm.as_ref().unwrap().value, 1.6);
        assert_eq!(header.voltage_kv.as_ref().unwrap().value, 300.0);
        assert_eq!(header.dwell_ms.as_ref().unwrap().value, 0.2);
        assert_eq!(header.start_unix_ns, Some(1_754_441_563_741_000_000));
        let counts: Vec<u64> = header.frame_counts.iter().map(|c| c.n_frames).collect();
        assert_eq!(counts, [12, 12]);
    }

    // A data file in the middle that is not there leaves a hole.
    fs::remove_file(folder.join("scan.h5")).unwrap();
    fs::remove_file(folder.join(data_name(2))).unwrap();
    let (source, samples) = read_all(&shaped(&master, [1, 3, 4, 0, 0]));
    let missing = FrameRun {
        first_time: 0,
        n_times: 1,
        first_frame: 5,
        n_frames: 5,
    };
    assert_eq!(source.header().missing, [missing]);
    let expected = [frames(0..5), vec![0; 5 * FRAME_LEN], frames(10..12)].concat();
    assert_eq!(samples, as_f64(&expected));
    assert!(codes(&source).contains(&"W132"));

    for number in [1, 3] {
        fs::remove_file(folder.join(data_name(number))).unwrap();
    }
    let error = open(&OpenRequest::new(&master)).err().unwrap();
    assert!(matches!(error, Error::MissingPart { .. }), "{error}");
    assert!(error.to_string().contains("scan_data_000001.h5"), "{error}");
    assert_eq!(error.exit_code(), 66);
}

#[test]
fn a_square_number_of_dectris_frames_is_taken_for_a_square_with_a_warning() {
    let folder = tempfile::tempdir().unwrap();
    write_data(folder.path(), 1, 0..8);
    write_master(folder.path(), 9.0, 1.0, &[data_name(1)]);
    let (source, _) = read_all(&OpenRequest::new(folder.path().join("scan_master.h5")));
    let header = source.header();
    assert_eq!(
        header.shape.to_string(),
        "time 1 · scan 3 x 3 · pattern 6 x 7"
    );
    assert!(codes(&source).contains(&"W133"));
    // The ninth frame was asked for and not recorded.
    assert_eq!(header.missing.len(), 1);
    assert_eq!(header.missing[0].first_frame, 8);
}

#[test]
fn links_out_of_the_folder_are_refused() {
    let outer = tempfile::tempdir().unwrap();
    let folder = outer.path().join("inner");
    fs::create_dir(&folder).unwrap();
    write_data(outer.path(), 1, 0..4);
    write_master(&folder, 4.0, 1.0, &[format!("../{}", data_name(1))]);
    let master = folder.join("scan_master.h5");
    let error = open(&OpenRequest::new(&master)).err().unwrap();
    assert!(
        error.to_string().contains("outside of its folder"),
        "{error}"
    );
    // The place where the detector stored it is another computer's, but the name is that of a file beside.
    write_data(&folder, 1, 0..4);
    write_master(
        &folder,
        4.0,
        1.0,
        &[format!("/mnt/images/{}", data_name(1))],
    );
    assert_eq!(
        read_all(&OpenRequest::new(&master)).1,
        as_f64(&frames(0..4))
    );
}

#[test]
fn blocks_that_were_never_written_at_the_end_are_missing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("scan.h5");
    let file = H5File::create(&path).unwrap();
    let dataset = file
        .new_dataset::<u16>()
        .shape([2, 2, 3, 2, 2])
        .chunk(&[1, 1, 2, 2, 2])
        .create("data")
        .unwrap();
    for (row, col) in [(0, 0), (0, 1), (1, 0)] {
        dataset
            .write_chunk_at(&[0, row, col, 0, 0], &[1, 0].repeat(8))
            .unwrap();
    }
    file.close().unwrap();
    let (source, samples) = read_all(&OpenRequest::new(&path));
    assert_eq!(missing_runs(&source), [(0, 5, 1), (1, 0, 6)]);
    assert_eq!(codes(&source), ["W103"]);
    assert_eq!(samples.iter().sum::<f64>(), 20.0);
}

/// A HyperSpy file whose data are 64-bit, with axes that say what they are.
fn write_hspy(path: &Path, values: &[i64], shape: &[usize], axes: &[(&str, f64, &str)]) {
    let file = H5File::create(path).unwrap();
    file.set_attr_string("file_format", "HyperSpy").unwrap();
    let experiments = file.create_group("Experiments").unwrap();
    let group = experiments.create_group("__unnamed__").unwrap();
    let dataset = group
        .new_dataset::<i64>()
        .shape(shape)
        .create("data")
        .unwrap();
    dataset.write_raw(values).unwrap();
    for (idx, (name, scale, units)) in axes.iter().enumerate() {
        let axis = group.create_group(&format!("axis-{idx}")).unwrap();
        axis.set_attr_string("name", name).unwrap();
        axis.set_attr_numeric("scale", scale).unwrap();
        axis.set_attr_string("units", units).unwrap();
        axis.set_attr_numeric("size", &(shape[idx] as i64)).unwrap();
    }
    file.close().unwrap();
}

#[test]
fn hyperspy_axes_make_the_series_and_wide_integers_become_narrow() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("series.hspy");
    let mut values: Vec<i64> = (0..24).map(|n| n * 1000 - 7).collect();
    let axes = [
        ("time", 0.5, "min"),
        ("kx", 0.2, "1/nm"),
        ("ky", 0.2, "1/nm"),
    ];
    write_hspy(&path, &values, &[6, 2, 2], &axes);
    let (source, samples) = read_all(&OpenRequest::new(&path));
    let header = source.header();
    assert_eq!(header.sample_type, SampleType::I32);
    assert_eq!(
        header.shape.to_string(),
        "time 6 · scan 1 x 1 · pattern 2 x 2"
    );
    assert_eq!(header.period_s.as_ref().unwrap().value, 30.0);
    assert_eq!(header.q_step_per_nm.as_ref().unwrap().value, 0.2);
    assert!(samples.iter().zip(&values).all(|(a, b)| *a == *b as f64));

    values[13] = 1 << 40;
    write_hspy(&path, &values, &[6, 2, 2], &axes);
    let source = open(&OpenRequest::new(&path)).unwrap();
    let mut block = FrameBlock::empty(SampleType::I32);
    let error = source
        .read(&source.header().shape.whole(), &mut block)
        .unwrap_err();
    let error = Error::from(error);
    assert!(
        error.to_string().contains("1099511627776 at [3, 0, 1]"),
        "{error}"
    );
    assert_eq!(error.exit_code(), 65);
}

#[test]
fn counters_of_fpd_are_chosen_and_velox_frames_are_the_last_axis() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("merlin.hdf5");
    let file = H5File::create(&path).unwrap();
    let group = file.create_group("fpd_expt").unwrap();
    let group = group.create_group("fpd_data").unwrap();
    group.set_attr_numeric("emd_group_type", &1_i32).unwrap();
    let values: Vec<u16> = (0..2 * 3 * 2 * 4).collect();
    let data = group
        .new_dataset::<u16>()
        .shape([2, 3, 2, 2, 2])
        .chunk(&[2, 3, 2, 2, 1])
        .create("data")
        .unwrap();
    data.write_raw(&values).unwrap();
    for (idx, name) in ["scanY", "scanX", "colour", "detY", "detX"]
        .iter()
        .enumerate()
    {
        let dim = group
            .new_dataset::<f64>()
            .shape([2])
            .create(&format!("dim{}", idx + 1))
            .unwrap();
        dim.write_raw(&[0.0, 2.5]).unwrap();
        let attribute = dim
            .new_attr::<rust_hdf5::VarLenUnicode>()
            .shape(())
            .create("name")
            .unwrap();
        attribute.write_string(name).unwrap();
    }
    file.close().unwrap();
    for counter in [0, 1] {
        let mut request = OpenRequest::new(&path);
        request.frames.counter = counter;
        let (source, samples) = read_all(&request);
        assert_eq!(
            source.header().shape.to_string(),
            "time 1 · scan 2 x 3 · pattern 2 x 2"
        );
        let expected: Vec<f64> = values
            .chunks(4)
            .skip(counter)
            .step_by(2)
            .flatten()
            .map(|&v| f64::from(v))
            .collect();
        assert_eq!(samples, expected);
    }

    let path = folder.path().join("camera.emd");
    for chunk in [None, Some([3, 2, 2]), Some([2, 2, 1])] {
        let file = H5File::create(&path).unwrap();
        let group = file.create_group("Data").unwrap();
        let group = group.create_group("Image").unwrap();
        let group = group.create_group("0123").unwrap();
        let mut builder = group.new_dataset::<i16>().shape([3, 2, 5]);
        if let Some(chunk) = &chunk {
            builder = builder.chunk(chunk);
        }
        let data = builder.create("Data").unwrap();
        let values: Vec<i16> = (0..30).map(|n| n - 10).collect();
        data.write_raw(&values).unwrap();
        file.close().unwrap();
        let (source, samples) = read_all(&OpenRequest::new(&path));
        assert_eq!(
            source.header().shape.to_string(),
            "time 5 · scan 1 x 1 · pattern 3 x 2"
        );
        let expected: Vec<f64> = (0..5)
            .flat_map(|frame| (0..6).map(move |idx| f64::from(idx * 5 + frame - 10)))
            .collect();
        assert_eq!(samples, expected, "{chunk:?}");
    }
}

#[test]
fn nexus_files_lead_to_their_signal_and_their_times() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("scan.nxs");
    let file = H5File::create(&path).unwrap();
    file.set_attr_string("default", "scan").unwrap();
    let entry = file.create_group("scan").unwrap();
    entry.set_attr_string("NX_class", "NXentry").unwrap();
    entry.set_attr_string("default", "plot").unwrap();
    let data = entry.create_group("plot").unwrap();
    data.set_attr_string("NX_class", "NXdata").unwrap();
    data.set_attr_string("signal", "frames").unwrap();
    data.set_attr_string_array("axes", &["moment", "y", "x", ".", "q"])
        .unwrap();
    data.set_attr_numeric("q_indices", &4_i32).unwrap();
    let values: Vec<u16> = (0..3 * 2 * 2 * 2 * 3).collect();
    let shape = [3, 2, 2, 2, 3];
    let frames = data
        .new_dataset::<u16>()
        .shape(shape)
        .create("frames")
        .unwrap();
    frames.write_raw(&values).unwrap();
    let larger = data
        .new_dataset::<u16>()
        .shape([9; 4])
        .create("larger")
        .unwrap();
    larger.write_raw(&[7_u16; 9 * 9 * 9 * 9]).unwrap();
    let text = |dataset: &rust_hdf5::H5Dataset, name: &str, value: &str| {
        let attribute = dataset.new_attr::<rust_hdf5::VarLenUnicode>().shape(());
        attribute.create(name).unwrap().write_string(value).unwrap();
    };
    let axis = |name: &str, positions: &[f64], unit: &str| {
        let axis = data.new_dataset::<f64>().shape([positions.len()]);
        let axis = axis.create(name).unwrap();
        axis.write_raw(positions).unwrap();
        text(&axis, "units", unit);
        axis
    };
    axis("x", &[1.0, 3.5], "nm");
    axis("q", &[0.0, 0.2, 0.4], "1/nm");
    // Not even, so that only the moments themselves can say it.
    let moment = axis("moment", &[1000.0, 3000.0, 9000.0], "ms");
    text(&moment, "start", "2000-03-01T00:00:00Z");
    file.close().unwrap();
    let (source, samples) = read_all(&OpenRequest::new(&path));
    let header = source.header();
    assert_eq!(
        header.shape.to_string(),
        "time 3 · scan 2 x 2 · pattern 2 x 3"
    );
    assert!(
        samples
            .iter()
            .zip(&values)
            .all(|(a, b)| *a == f64::from(*b))
    );
    assert_eq!(header.times_s, Some(vec![0.0, 2.0, 8.0]));
    assert_eq!(header.step_nm.as_ref().unwrap().value, 2.5);
    assert_eq!(header.q_step_per_nm.as_ref().unwrap().value, 0.2);
    assert_eq!(header.start_unix_ns, Some(951_868_800_000_000_000));
}

/// A zip archive of files that are stored as they are.
fn zip(files: &[(&str, &[u8])]) -> Vec<u8> {
    let (mut archive, mut list) = (Vec::new(), Vec::new());
    for (name, bytes) in files {
        let start = archive.len() as u32;
        let mut sizes = [0; 4].to_vec();
        sizes.extend([bytes.len() as u32; 2].map(u32::to_le_bytes).concat());
        sizes.extend((name.len() as u16).to_le_bytes());
        sizes.extend([0, 0]);
        archive.extend(b"PK\x03\x04\x0a\0\0\0\0\0\0\0\0\0");
        archive.extend(&sizes);
        archive.extend(name.as_bytes());
        archive.extend(*bytes);
        list.extend(b"PK\x01\x02\x0a\0\x0a\0\0\0\0\0\0\0\0\0");
        list.extend(&sizes);
        list.extend([0; 10]);
        list.extend(start.to_le_bytes());
        list.extend(name.as_bytes());
    }
    let n = (files.len() as u16).to_le_bytes();
    let (list_start, list_len) = (archive.len() as u32, list.len() as u32);
    archive.extend(list);
    archive.extend(b"PK\x05\x06\0\0\0\0");
    archive.extend([n, n].concat());
    archive.extend(list_len.to_le_bytes());
    archive.extend(list_start.to_le_bytes());
    archive.extend([0, 0]);
    archive
}

#[test]
fn ndata_archives_hold_a_series_or_are_errors() {
    let header = "{'descr': '<u2', 'fortran_order': False, 'shape': (3, 4, 2, 2), }\n";
    let mut array = b"\x93NUMPY\x01\x00".to_vec();
    array.extend((header.len() as u16).to_le_bytes());
    array.extend(header.as_bytes());
    array.extend((0..48_u16).flat_map(u16::to_le_bytes));
    let properties =
        br#"{"is_sequence": true, "collection_dimension_count": 1, "datum_dimension_count": 2,
        "dimensional_calibrations": [{"scale": 0.5, "units": "s"}, {"scale": 2, "units": "nm"},
        {"scale": 0.1, "units": "1/nm"}, {"scale": 0.1, "units": "1/nm"}]}"#;
    let archive = zip(&[("data.npy", &array), ("metadata.json", properties)]);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.ndata");
    fs::write(&path, &archive).unwrap();
    let (source, samples) = read_all(&OpenRequest::new(&path));
    let header = source.header();
    assert_eq!(
        header.shape.to_string(),
        "time 3 · scan 1 x 4 · pattern 2 x 2"
    );
    assert_eq!(header.step_nm.as_ref().unwrap().value, 2.0);
    assert_eq!(header.period_s.as_ref().unwrap().value, 0.5);
    assert!((0..48).map(f64::from).eq(samples));
    let specimen = SpecimenFile {
        name: "x.ndata",
        header_bytes: 60,
        bytes: archive,
    };
    attack(&[specimen], "x.ndata", |path| OpenRequest::new(path));
}

/// Files of the HDF5 library with every kind of filter, index and group; see `make_specimens.py` beside them.
fn specimens() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/specimens/hdf5");
    let entries = fs::read_dir(folder).unwrap();
    let mut paths: Vec<PathBuf> = entries
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|ending| ending == "h5"))
        .collect();
    paths.sort();
    paths
}

#[test]
fn every_kind_of_filter_index_and_group_gives_the_same_series() {
    let expected: Vec<f64> = (0..7 * 3 * 5 * 4 * 6)
        .map(|n| f64::from(n * 7919 % 60013))
        .collect();
    let paths = specimens();
    assert_eq!(paths.len(), 21);
    for path in paths {
        let mut names = vec![None];
        let has_links = path.to_string_lossy().contains("many_objects");
        if has_links {
            names.extend(["soft", "hard", "/group 7/link"].map(Some));
        }
        for name in names {
            let mut request = OpenRequest::new(&path);
            request.dataset = name.map(str::to_owned);
            let (source, samples) = read_all(&request);
            let header = source.header();
            assert_eq!(
                header.shape.to_string(),
                "time 7 · scan 3 x 5 · pattern 4 x 6",
                "{path:?}"
            );
            assert!(samples == expected, "{path:?} {name:?}");
            assert!(header.missing.is_empty(), "{path:?}");
            if has_links {
                assert_eq!(header.temperature_k.as_ref().unwrap().value, 633.0);
            }
        }
    }
}

#[test]
fn broken_specimens_are_errors() {
    for path in specimens() {
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        let specimen = SpecimenFile {
            name: "specimen.h5",
            bytes: fs::read(&path).unwrap(),
            header_bytes: 8,
        };
        println!("{name}");
        attack(&[specimen], "specimen.h5", |path| OpenRequest::new(path));
    }
}

#[test]
fn broken_recordings_are_errors() {
    let folder = tempfile::tempdir().unwrap();
    write_recording(folder.path());
    write_sidecar(folder.path(), 3, 4, 0);
    let file = |name: &'static str, header_bytes: usize| SpecimenFile {
        name,
        bytes: fs::read(folder.path().join(name)).unwrap(),
        header_bytes,
    };
    attack(
        &[
            file("scan_master.h5", 150),
            file("scan_data_000001.h5", 150),
            file("scan.h5", 100),
        ],
        "scan_master.h5",
        |path| OpenRequest::new(path),
    );
}

#[test]
fn real_files_have_the_values_of_the_index() {
    let Some(folder) = folder() else { return };
    for name in [
        "emd/py4DSTEM_size2x3x4x5.h5",
        "hspy/example2_v3.1.hspy",
        "zspy/signal1d_10x10-NestedDirectoryStore.zspy",
    ] {
        check(name, OpenRequest::new);
    }
    let dataset = |name: &str| {
        let name = name.to_owned();
        move |path| OpenRequest {
            dataset: Some(name),
            ..OpenRequest::new(path)
        }
    };
    check(
        "nexus/nexus_test_datakey.nxs",
        dataset("/entry1/testdata/nexustest2/data"),
    );
    let scan = "au_145mm_68kx_microprobe_01";
    check(
        &format!("dectris_arina_meta/{scan}.h5"),
        dataset(&format!("/{scan} [BF]/{scan} [BF]Image Data")),
    );
    check(
        &format!("dectris_arina_meta/{scan}_master.h5"),
        dataset("/entry/instrument/detector/detectorSpecific/flatfield"),
    );

    let (source, _) = read_all(&OpenRequest::new(folder.join("hspy/example2_v3.1.hspy")));
    let header = source.header();
    assert_eq!(header.voltage_kv.as_ref().unwrap().value, 200.0);
    assert_eq!(header.dwell_ms.as_ref().unwrap().value, 200.0);
    let q_step = header.q_step_per_nm.as_ref().unwrap().value;
    assert!((q_step - 0.174_432_858_824_729_92).abs() < 1e-15);
    let (source, _) = read_all(&OpenRequest::new(
        folder.join("emd/py4DSTEM_size2x3x4x5.h5"),
    ));
    let q_step = source.header().q_step_per_nm.as_ref().unwrap().value;
    assert!((q_step - 0.442_515_666_160_871_25).abs() < 1e-6);

    // Frames along the last axis: the index sums rows of the array, which are those of the pattern.
    let velox = folder.join("velox/Camera Ceta Diffraction Micro.emd");
    let (source, samples) = read_all(&OpenRequest::new(velox));
    assert_eq!(samples.iter().sum::<f64>(), -404_955.0);
    assert_eq!(samples[..512].iter().sum::<f64>(), -991.0);
    assert_eq!(samples[511 * 512..].iter().sum::<f64>(), -662.0);
    let header = source.header();
    assert_eq!(header.voltage_kv.as_ref().unwrap().value, 300.0);
    assert_eq!(header.dwell_ms.as_ref().unwrap().value, 400.0);
    assert_eq!(header.start_unix_ns, Some(1_596_041_325_000_000_000));

    // The frames of this recording are not among the samples.
    let master = folder.join(format!("dectris_arina_meta/{scan}_master.h5"));
    let error = open(&OpenRequest::new(master)).err().unwrap();
    assert!(
        error
            .to_string()
            .contains(&format!("{scan}_data_000001.h5")),
        "{error}"
    );
}
