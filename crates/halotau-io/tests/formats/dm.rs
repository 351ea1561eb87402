//! DigitalMicrograph files and in-situ recordings that the test writes itself.

use std::fs;
use std::path::Path;

use halotau_io::{OpenRequest, open};

use crate::dm_writer::{DM4, Dialect, ImageSpec, Tag};
use crate::hostile::{SpecimenFile, attack};
use crate::reading::{read_all, shaped};
use crate::samples::check;

/// Tags that say that frames are stored one after another.
fn frames_first() -> (&'static str, Tag) {
    let tags = vec![
        ("Data Order Swapped", Tag::U32(1)),
        ("Format", Tag::Text("Diffraction image".to_owned())),
    ];
    ("Meta Data", Tag::Group(tags))
}

fn microscope() -> (&'static str, Tag) {
    (
        "Microscope Info",
        Tag::Group(vec![("Voltage", Tag::F64(200_000.0))]),
    )
}

/// A scan of 2 x 3 frames of 4 x 5.
fn scan() -> ImageSpec {
    ImageSpec {
        axes: vec![(0.05, "1/A"), (0.05, "1/A"), (1.5, "nm"), (1.5, "nm")],
        tags: vec![frames_first(), microscope()],
        ..ImageSpec::u16(&[5, 4, 3, 2], 0..120)
    }
}

fn counted() -> Vec<f64> {
    (0..120).map(f64::from).collect()
}

fn written(name: &str, bytes: &[u8]) -> (tempfile::TempDir, std::path::PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    fs::write(&path, bytes).unwrap();
    (folder, path)
}

#[test]
fn a_scan_is_read_with_its_axes_in_every_dialect() {
    for (version, big_endian) in [(3, false), (3, true), (4, false), (4, true)] {
        let dialect = Dialect {
            version,
            big_endian,
        };
        let (_folder, path) = written("scan.dm4", &scan().file(dialect));
        let (source, samples) = read_all(&OpenRequest::new(&path));
        let header = source.header();
        let shape = header.shape;
        assert_eq!((shape.n_times, shape.n_rows, shape.n_cols), (1, 2, 3));
        assert_eq!((shape.pattern_rows, shape.pattern_cols), (4, 5));
        assert!((header.q_step_per_nm.as_ref().unwrap().value - 0.5).abs() < 1e-6);
        assert_eq!(header.step_nm.as_ref().unwrap().value, 1.5);
        assert_eq!(header.voltage_kv.as_ref().unwrap().value, 200.0);
        assert!(header.warnings.is_empty(), "{:?}", header.warnings);
        assert_eq!(samples, counted());
    }
}

#[test]
fn angles_become_spatial_frequencies() {
    let mut scan = scan();
    scan.axes[0] = (0.2, "mrad");
    let (_folder, path) = written("scan.dm4", &scan.file(DM4));
    let source = open(&OpenRequest::new(&path)).unwrap();
    // 2.5079 pm at 200 kV.
    let q_step = source.header().q_step_per_nm.as_ref().unwrap().value;
    assert!((q_step - 0.2e-3 / 2.5079e-3).abs() < 1e-5, "{q_step}");
}

#[test]
fn files_with_the_scan_first_are_gathered() {
    // Sample of scan (y, x) and pattern (ky, kx) is 1000 y + 100 x + 10 ky + kx.
    let value = |y: u16, x: u16, ky: u16, kx: u16| 1000 * y + 100 * x + 10 * ky + kx;
    let mut stored = Vec::new();
    for (ky, kx, y, x) in axes(4, 5, 2, 3) {
        stored.push(value(y, x, ky, kx));
    }
    let spec = ImageSpec::u16(&[3, 2, 5, 4], stored.into_iter());
    let (_folder, path) = written("old.dm3", &spec.file(Dialect { version: 3, ..DM4 }));
    let (source, samples) = read_all(&OpenRequest::new(&path));
    let shape = source.header().shape;
    assert_eq!((shape.n_rows, shape.n_cols), (2, 3));
    assert_eq!((shape.pattern_rows, shape.pattern_cols), (4, 5));
    assert_eq!(source.header().warnings[0].code, "W115");
    let expected: Vec<f64> = axes(2, 3, 4, 5)
        .into_iter()
        .map(|(y, x, ky, kx)| f64::from(value(y, x, ky, kx)))
        .collect();
    assert_eq!(samples, expected);
    // Few of the frames are read without the others.
    let mut block = halotau::series::FrameBlock::empty(source.header().sample_type);
    let run = halotau::series::FrameRun {
        first_time: 0,
        n_times: 1,
        first_frame: 4,
        n_frames: 1,
    };
    source.read(&run, &mut block).unwrap();
    let halotau::series::Samples::U16(one) = &block.samples else {
        panic!("{:?}", block.samples.sample_type());
    };
    let one: Vec<f64> = one.iter().map(|&sample| f64::from(sample)).collect();
    assert_eq!(one, expected[80..100]);
}

/// All indices of four axes, the last fastest.
fn axes(a: u16, b: u16, c: u16, d: u16) -> Vec<(u16, u16, u16, u16)> {
    let ab = (0..a).flat_map(|a| (0..b).map(move |b| (a, b)));
    let abc = ab.flat_map(|(a, b)| (0..c).map(move |c| (a, b, c)));
    abc.flat_map(|(a, b, c)| (0..d).map(move |d| (a, b, c, d)))
        .collect()
}

#[test]
fn units_tell_the_axes_where_the_tag_does_not() {
    let mut scan = scan();
    scan.tags.clear();
    let (_folder, path) = written("scan.dm4", &scan.file(DM4));
    let (source, samples) = read_all(&OpenRequest::new(&path));
    assert_eq!(source.header().shape.n_cols, 3);
    assert_eq!(samples, counted());
}

#[test]
fn five_axes_are_a_series() {
    let spec = ImageSpec {
        axes: vec![
            (0.05, "1/nm"),
            (0.05, "1/nm"),
            (1.0, "nm"),
            (1.0, "nm"),
            (4.8, "s"),
        ],
        tags: vec![frames_first()],
        ..ImageSpec::u16(&[5, 4, 3, 1, 2], 0..120)
    };
    let (_folder, path) = written("series.dm4", &spec.file(DM4));
    let (source, samples) = read_all(&OpenRequest::new(&path));
    let header = source.header();
    assert_eq!((header.shape.n_times, header.shape.n_rows), (2, 1));
    assert!((header.period_s.as_ref().unwrap().value - 4.8).abs() < 1e-6);
    assert_eq!(samples, counted());
}

#[test]
fn stacks_are_recordings_and_times_where_their_axis_is_a_time() {
    let stack = |units| ImageSpec {
        axes: vec![(1.0, ""), (1.0, ""), (20.0, units)],
        ..ImageSpec::u16(&[5, 4, 6], 0..120)
    };
    let (_folder, path) = written("stack.dm4", &stack("").file(DM4));
    let source = open(&OpenRequest::new(&path)).unwrap();
    assert_eq!(source.header().shape.n_cols, 6);
    let (_folder, path) = written("stack.dm4", &stack("ms").file(DM4));
    let source = open(&OpenRequest::new(&path)).unwrap();
    assert_eq!(source.header().shape.n_times, 6);
    assert_eq!(source.header().period_s.as_ref().unwrap().value, 0.02);
    let (source, samples) = read_all(&shaped(&path, [0, 1, 3, 0, 0]));
    assert_eq!(source.header().shape.n_times, 2);
    assert_eq!(source.header().period_s, None);
    assert_eq!(source.header().dwell_ms.as_ref().unwrap().value, 20.0);
    assert_eq!(samples, counted());
}

#[test]
fn one_file_a_frame_in_folders_of_the_clock_is_a_recording() {
    let folder = tempfile::tempdir().unwrap();
    for (second, first) in [("Second_09", 0), ("Second_10", 40)] {
        let inner = folder.path().join("Hour_00/Minute_01").join(second);
        fs::create_dir_all(&inner).unwrap();
        for frame in 0..2 {
            let first = first + 20 * frame;
            let bytes = ImageSpec::u16(&[5, 4], first..first + 20).file(DM4);
            fs::write(inner.join(format!("Frame_{frame}.dm4")), bytes).unwrap();
        }
    }
    let (source, samples) = read_all(&shaped(folder.path(), [2, 1, 2, 0, 0]));
    assert_eq!(source.header().shape.n_times, 2);
    assert_eq!(samples, (0..80).map(f64::from).collect::<Vec<_>>());
}

#[test]
fn numbers_of_other_widths_are_read_or_refused() {
    let with = |data_type, array_code, pixels: Vec<u8>| {
        let spec = ImageSpec {
            data_type,
            array_code,
            pixels,
            ..ImageSpec::u16(&[2, 1], 0..2)
        };
        written("x.dm4", &spec.file(DM4))
    };
    let (_folder, path) = with(9, 9, vec![0xff, 5]);
    assert_eq!(read_all(&OpenRequest::new(&path)).1, [-1.0, 5.0]);
    let wide = |first: i64, second: i64| [first, second].map(i64::to_le_bytes).concat();
    let (_folder, path) = with(39, 11, wide(-70_000, 5));
    assert_eq!(read_all(&OpenRequest::new(&path)).1, [-70_000.0, 5.0]);
    let (_folder, path) = with(40, 12, wide(4_000_000_000, 5));
    assert_eq!(read_all(&OpenRequest::new(&path)).1, [4e9, 5.0]);
    let (_folder, path) = with(40, 12, wide(5_000_000_000, 5));
    let source = open(&OpenRequest::new(&path)).unwrap();
    let mut block = halotau::series::FrameBlock::empty(source.header().sample_type);
    let error = source.read(&source.header().shape.whole(), &mut block);
    let error = std::error::Error::source(&error.unwrap_err())
        .unwrap()
        .to_string();
    assert!(error.contains("5000000000"), "{error}");
    for (data_type, word) in [(3, "complex"), (23, "colors"), (99, "unknown")] {
        let (_folder, path) = with(data_type, 12, wide(0, 0));
        let error = open(&OpenRequest::new(&path)).err().unwrap().to_string();
        assert!(error.contains(word), "{error}");
    }
}

#[test]
fn spectra_are_refused() {
    let spec = ImageSpec {
        axes: vec![(1.0, "nm"), (1.0, "nm"), (0.5, "eV")],
        ..ImageSpec::u16(&[5, 4, 6], 0..120)
    };
    let (_folder, path) = written("si.dm3", &spec.file(DM4));
    let error = open(&OpenRequest::new(&path)).err().unwrap().to_string();
    assert!(error.contains("spectra"), "{error}");
}

/// A director of scans of 2 x 3 frames of 4 x 5, and its parts of so many bytes.
fn in_situ(n_stated: u32, part_bytes: &[usize]) -> Vec<(String, Vec<u8>)> {
    let recorded = vec![("# Frames", Tag::U32(n_stated))];
    let recorded = vec![("Recorded", Tag::Group(recorded))];
    let mut director = scan();
    director.tags.push(("In-situ", Tag::Group(recorded)));
    let mut files = vec![("run.dm4".to_owned(), director.file(DM4))];
    let stream: Vec<u8> = (0..u16::MAX).flat_map(u16::to_le_bytes).collect();
    let mut first = 0;
    for (number, &len) in part_bytes.iter().enumerate() {
        let name = match number {
            0 => "run.raw".to_owned(),
            _ => format!("run.raw_{number}"),
        };
        files.push((name, stream[first..first + len].to_vec()));
        first += len;
    }
    files
}

#[test]
fn parts_are_one_stream_by_whichever_file_it_is_opened() {
    // Three scans of 240 bytes; the second part ends inside a sample.
    let folder = tempfile::tempdir().unwrap();
    for (name, bytes) in in_situ(3, &[250, 251, 219]) {
        fs::write(folder.path().join(name), bytes).unwrap();
    }
    for name in ["run.dm4", "run.raw", "run.raw_2"] {
        let (source, samples) = read_all(&OpenRequest::new(folder.path().join(name)));
        let header = source.header();
        assert_eq!(
            (header.shape.n_times, header.shape.n_rows),
            (3, 2),
            "{name}"
        );
        assert_eq!(header.step_nm.as_ref().unwrap().value, 1.5);
        assert_eq!(header.frame_counts.len(), 2);
        assert!(header.warnings.is_empty(), "{:?}", header.warnings);
        let expected: Vec<f64> = (0..360).map(f64::from).collect();
        assert_eq!(samples, expected, "{name}");
    }
    // The folder holds one acquisition.
    let source = open(&OpenRequest::new(folder.path())).unwrap();
    assert_eq!(source.header().shape.n_times, 3);
    fs::remove_file(folder.path().join("run.raw_1")).unwrap();
    let error = open(&OpenRequest::new(folder.path().join("run.dm4")))
        .err()
        .unwrap();
    assert!(error.to_string().contains("run.raw_1"), "{error}");
}

#[test]
fn a_director_may_be_in_hdf5() {
    let folder = tempfile::tempdir().unwrap();
    for (name, bytes) in in_situ(3, &[250, 251, 219]).into_iter().skip(1) {
        fs::write(folder.path().join(name), bytes).unwrap();
    }
    let path = folder.path().join("run.dm5");
    let file = rust_hdf5::H5File::create(&path).unwrap();
    let group = |parent: &rust_hdf5::H5Group, path: &str| {
        path.split('/')
            .fold(None, |group: Option<rust_hdf5::H5Group>, name| {
                let parent = group.as_ref().unwrap_or(parent);
                Some(parent.create_group(name).unwrap())
            })
            .unwrap()
    };
    let root = file.root_group();
    let object = group(&root, "DocumentObjectList/[0]");
    object.set_attr_numeric("ImageSource", &0_u32).unwrap();
    let source = group(&root, "ImageSourceList/[0]");
    source.set_attr_numeric("ImageRef", &0_u32).unwrap();
    let image = group(&root, "ImageList/[0]");
    let data = image.create_group("ImageData").unwrap();
    let scan: Vec<u16> = (0..120).collect();
    data.new_dataset::<u16>()
        .shape([2, 3, 4, 5])
        .create("Data")
        .unwrap()
        .write_raw(&scan)
        .unwrap();
    let axes = group(&data, "Calibrations/Dimension");
    for (number, (scale, units)) in [(0.05, "1/A"), (0.05, "1/A"), (1.5, "nm"), (1.5, "nm")]
        .into_iter()
        .enumerate()
    {
        let axis = axes.create_group(&format!("[{number}]")).unwrap();
        axis.set_attr_numeric("Scale", &scale).unwrap();
        axis.set_attr_string("Units", units).unwrap();
    }
    let recorded = group(&image, "ImageTags/In-situ/Recorded");
    recorded.set_attr_numeric("# Frames", &3_u32).unwrap();
    file.close().unwrap();
    for name in ["run.dm5", "run.raw_1"] {
        let (source, samples) = read_all(&OpenRequest::new(folder.path().join(name)));
        let header = source.header();
        assert_eq!(
            (header.shape.n_times, header.shape.n_rows),
            (3, 2),
            "{name}"
        );
        assert_eq!(header.step_nm.as_ref().unwrap().value, 1.5);
        assert!((header.q_step_per_nm.as_ref().unwrap().value - 0.5).abs() < 1e-9);
        assert_eq!(header.frame_counts.len(), 2);
        assert_eq!(
            samples,
            (0..360).map(f64::from).collect::<Vec<_>>(),
            "{name}"
        );
    }
}

#[test]
fn a_recording_that_was_cut_short_keeps_its_whole_frames() {
    let folder = tempfile::tempdir().unwrap();
    for (name, bytes) in in_situ(4, &[250, 251, 60]) {
        fs::write(folder.path().join(name), bytes).unwrap();
    }
    // 561 bytes are 14 frames of 40: two scans and two frames.
    let (source, samples) = read_all(&OpenRequest::new(folder.path().join("run.dm4")));
    let header = source.header();
    assert_eq!(header.shape.n_times, 4);
    assert_eq!(
        header.missing.iter().map(|run| run.n_frames).sum::<usize>(),
        10
    );
    assert_eq!(header.warnings[0].code, "W103");
    assert_eq!(samples[279], 279.0);
    assert!(samples[280..].iter().all(|&sample| sample == 0.0));
}

/// Leaves files in the target folder, with what was read of them, for `tests/python/test_dm.py` to open in another program.
#[test]
fn files_are_left_for_another_program() {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("readers/dm");
    fs::create_dir_all(&folder).unwrap();
    let leave = |name: &str, bytes: &[u8]| {
        let path = folder.join(name);
        fs::write(&path, bytes).unwrap();
        let (_, samples) = read_all(&OpenRequest::new(&path));
        let bytes: Vec<u8> = samples.into_iter().flat_map(f64::to_le_bytes).collect();
        fs::write(folder.join(format!("{name}.f8")), bytes).unwrap();
    };
    for (name, version) in [("scan.dm3", 3), ("scan.dm4", 4)] {
        leave(name, &scan().file(Dialect { version, ..DM4 }));
    }
    for (name, bytes) in in_situ(3, &[250, 251, 219]).into_iter().rev() {
        if name.ends_with(".dm4") {
            leave(&name, &bytes);
        } else {
            fs::write(folder.join(name), bytes).unwrap();
        }
    }
}

#[test]
fn broken_files_give_errors() {
    let specimen = |bytes: Vec<u8>| SpecimenFile {
        name: "run.dm4",
        header_bytes: bytes.len(),
        bytes,
    };
    let dm3 = Dialect { version: 3, ..DM4 };
    for dialect in [dm3, DM4] {
        let bytes = ImageSpec::u16(&[2, 2, 2], 0..8).smallest_file(dialect);
        attack(&[specimen(bytes)], "run.dm4", |path| OpenRequest::new(path));
    }
    let whole = scan().file(DM4);
    attack(&[specimen(whole)], "run.dm4", |path| OpenRequest::new(path));
    let mut files = in_situ(2, &[230, 250]);
    let director = files.remove(0).1;
    let part = |name, bytes| SpecimenFile {
        name,
        bytes,
        header_bytes: 0,
    };
    let mut specimens = vec![specimen(director)];
    specimens[0].header_bytes = 16;
    for (name, (_, bytes)) in ["run.raw", "run.raw_1"].into_iter().zip(files) {
        specimens.push(part(name, bytes));
    }
    attack(&specimens, "run.dm4", |path| OpenRequest::new(path));
}

#[test]
fn groups_inside_groups_end() {
    let mut tag = Tag::U32(1);
    for _ in 0..2000 {
        tag = Tag::Group(vec![("a", tag)]);
    }
    let (_folder, path) = written("deep.dm4", &DM4.file(&[("ImageList", tag)]));
    let error = open(&OpenRequest::new(&path)).err().unwrap().to_string();
    assert!(error.contains("deep"), "{error}");
}

#[test]
fn sample_files() {
    for file in [
        "3D_test-10.dm3",
        "3D_test-10.dm4",
        "3D_test-2.dm3",
        "3D_test-2.dm4",
        "dmTest_float32_nonSquare_diffPixelSize.dm4",
        "test_STEM_image.dm3",
        "test_stackbuilder_imagestack.dm3",
    ] {
        check(&format!("dm/{file}"), OpenRequest::new);
    }
}
