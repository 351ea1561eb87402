//! StreamPix files that the test writes itself.

use std::fs;
use std::path::Path;

use halotau::recipe::Corrections;
use halotau_io::{OpenRequest, open};

use crate::hostile::{SpecimenFile, attack};
use crate::reading::{read_all, shaped};
use crate::samples::{check, check_values, folder};

const STRIDE: usize = 64;

/// Records of `rows` x 2 16-bit counts that count on from `first`; `stamps` are milliseconds, 0 for an empty slot.
fn seq(rows: u32, first: u16, stated: u32, stamps: &[u64]) -> Vec<u8> {
    let mut bytes = vec![0_u8; 8192];
    bytes[..4].copy_from_slice(&0xfeed_u32.to_le_bytes());
    for (idx, unit) in "Norpix seq".encode_utf16().enumerate() {
        bytes[4 + 2 * idx..6 + 2 * idx].copy_from_slice(&unit.to_le_bytes());
    }
    let n_bytes = 4 * rows;
    let fields = [
        (28, 5),
        (548, 2),
        (552, rows),
        (556, 16),
        (560, 12),
        (564, n_bytes),
        (572, stated),
        (580, STRIDE as u32),
    ];
    for (at, value) in fields {
        bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
    }
    bytes[584..592].copy_from_slice(&50_f64.to_le_bytes());
    for (idx, stamp) in stamps.iter().enumerate() {
        let start = bytes.len();
        let len = 2 * rows as u16;
        let samples = (0..len).map(|sample| first + idx as u16 * len + sample);
        bytes.extend(samples.flat_map(u16::to_le_bytes));
        bytes.extend(((stamp / 1000) as u32).to_le_bytes());
        bytes.extend(((stamp % 1000) as u16).to_le_bytes());
        bytes.resize(start + STRIDE, 0);
    }
    bytes
}

fn stamps(n: u64) -> Vec<u64> {
    (0..n).map(|frame| 1_600_000_000_000 + 20 * frame).collect()
}

fn reference(values: [f32; 8]) -> Vec<u8> {
    let mut bytes = vec![0_u8; 1024];
    for (at, value) in [(0, 2_i32), (4, 4), (8, 32_766), (12, 2)] {
        bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
    }
    bytes[208..214].copy_from_slice(b"MAP DA");
    bytes.extend(values.map(f32::to_le_bytes).concat());
    bytes
}

fn write(folder: &Path, name: &str, bytes: &[u8]) -> std::path::PathBuf {
    let path = folder.join(name);
    fs::write(&path, bytes).unwrap();
    path
}

#[test]
fn slots_without_a_time_hold_no_frame() {
    let folder = tempfile::tempdir().unwrap();
    let mut times = stamps(6);
    times.extend([0, 0, 0]);
    // The header's count is smaller, larger, or was never written.
    for (stated, n_frames) in [(4, 4), (8, 6), (0, 6), (1000, 6)] {
        let path = write(folder.path(), "a.seq.seq", &seq(4, 0, stated, &times));
        let (source, samples) = read_all(&OpenRequest::new(&path));
        assert_eq!(source.header().shape.n_cols, n_frames, "{stated}");
        let expected: Vec<f64> = (0..8 * n_frames as u32).map(f64::from).collect();
        assert_eq!(samples, expected);
    }
    // The last record may lack its padding, but not its time.
    let whole = seq(4, 0, 6, &stamps(6));
    for (cut, n_frames) in [(40, 6), (41, 5)] {
        let path = write(folder.path(), "a.seq.seq", &whole[..whole.len() - cut]);
        let source = open(&OpenRequest::new(&path)).unwrap();
        assert_eq!(source.header().shape.n_cols, n_frames);
    }
}

#[test]
fn times_are_those_of_the_frames_or_of_the_rate() {
    let folder = tempfile::tempdir().unwrap();
    let path = write(folder.path(), "a.seq", &seq(4, 0, 6, &stamps(6)));
    let source = open(&shaped(&path, [3, 1, 2, 0, 0])).unwrap();
    assert_eq!(source.header().times_s, Some(vec![0.0, 0.04, 0.08]));
    assert_eq!(source.header().dwell_ms.as_ref().unwrap().value, 20.0);
    // A burst, of which all frames have one time.
    let path = write(
        folder.path(),
        "a.seq",
        &seq(4, 0, 6, &[1_600_000_000_000; 6]),
    );
    let source = open(&shaped(&path, [3, 1, 2, 0, 0])).unwrap();
    assert_eq!(source.header().times_s, Some(vec![0.0, 0.04, 0.08]));
    assert_eq!(source.header().warnings[0].code, "W119");
}

#[test]
fn lists_of_lost_frames_are_told() {
    let folder = tempfile::tempdir().unwrap();
    let path = write(folder.path(), "a.seq", &seq(4, 0, 6, &stamps(6)));
    let list = folder.path().join("a.seq.Missing_Frame_Info.txt");
    for (text, n_warnings) in [
        ("Frame number of missing frames: \r\n", 0),
        ("Frames: 3\r\n5", 1),
    ] {
        fs::write(&list, text).unwrap();
        let source = open(&shaped(&path, [3, 1, 2, 0, 0])).unwrap();
        assert_eq!(source.header().warnings.len(), n_warnings, "{text}");
    }
}

#[test]
fn references_are_applied_when_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let path = write(folder.path(), "a.seq", &seq(4, 10, 1, &stamps(1)));
    write(
        folder.path(),
        "a.seq.dark.mrc",
        &reference([1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0]),
    );
    // The gain of an earlier recording.
    write(folder.path(), "b.seq.gain.mrc", &reference([0.5; 8]));
    let mut request = OpenRequest::new(&path);
    let (source, samples) = read_all(&request);
    assert_eq!(source.header().warnings[0].code, "W117");
    assert_eq!(samples[..2], [10.0, 11.0]);
    request.frames.corrections = Some(Corrections::None);
    assert!(open(&request).unwrap().header().warnings.is_empty());
    request.frames.corrections = Some(Corrections::Apply);
    let (source, samples) = read_all(&request);
    assert_eq!(
        source.header().sample_type,
        halotau::series::SampleType::F32
    );
    assert_eq!(samples, [4.5; 8]);
    // The folder is one recording.
    assert_eq!(read_all(&OpenRequest::new(folder.path())).1.len(), 8);
    write(
        folder.path(),
        "a.seq.dark.mrc",
        &reference([0.0; 8])[..1040],
    );
    let error = open(&request).err().unwrap();
    assert!(error.to_string().contains("dark.mrc"), "{error}");
}

#[test]
fn halves_are_stitched_by_whichever_is_opened() {
    let folder = tempfile::tempdir().unwrap();
    // Each record holds two half frames of two rows; the bottom has a record less.
    let top = write(
        folder.path(),
        "m_Top_13-49-04.160.seq",
        &seq(4, 0, 3, &stamps(3)),
    );
    let bottom = seq(4, 100, 2, &stamps(2));
    let bottom = write(folder.path(), "m_Bottom_13-49-04.196.seq", &bottom);
    let config =
        r#"<C><FileInfo><ImageSizeY Value="4" /><SegmentPreBuffer Value="2" /></FileInfo></C>"#;
    write(
        folder.path(),
        "m.seq.Config.Metadata.xml",
        config.as_bytes(),
    );
    for path in [&top, &bottom, &folder.path().to_owned()] {
        let (source, samples) = read_all(&OpenRequest::new(path));
        let shape = source.header().shape;
        assert_eq!(
            (shape.n_cols, shape.pattern_rows, shape.pattern_cols),
            (4, 4, 2)
        );
        let first = [2.0, 3.0, 0.0, 1.0, 100.0, 101.0, 102.0, 103.0];
        assert_eq!(samples[..8], first);
        let last = [14.0, 15.0, 12.0, 13.0, 112.0, 113.0, 114.0, 115.0];
        assert_eq!(samples[24..], last);
        assert_eq!(source.header().warnings[0].code, "W119");
    }
    fs::remove_file(bottom).unwrap();
    let source = open(&OpenRequest::new(&top)).unwrap();
    assert_eq!(source.header().shape.n_cols, 3);
    assert_eq!(source.header().warnings[0].code, "W119");
}

#[test]
fn broken_files_give_errors() {
    let specimen = |name, first| SpecimenFile {
        name,
        bytes: seq(4, first, 3, &stamps(3)),
        header_bytes: 0,
    };
    // Only the fields from 548 on are read; those before are attacked by the flips.
    let mut fields = specimen("a.seq", 0);
    fields.header_bytes = 32;
    attack(&[fields], "a.seq", |path| OpenRequest::new(path));
    let good = seq(4, 0, 3, &stamps(3));
    let folder = tempfile::tempdir().unwrap();
    for at in 548..632 {
        for (width, value) in [(1, 0xff), (4, 0xff), (4, 0), (4, 0x7f), (8, 0xff)] {
            let mut bytes = good.clone();
            bytes[at..at + width].fill(value);
            let path = write(folder.path(), "a.seq", &bytes);
            crate::hostile::survive(&OpenRequest::new(&path), &format!("byte {at} {value:#x}"));
        }
    }
    let config = SpecimenFile {
        name: "m.seq.Config.Metadata.xml",
        bytes: br#"<SegmentPreBuffer Value="1" /><ImageSizeY Value="8" />"#.to_vec(),
        header_bytes: 40,
    };
    let files = [
        specimen("m_Top_1.seq", 0),
        specimen("m_Bottom_1.seq", 50),
        config,
    ];
    attack(&files, "m_Top_1.seq", |path| OpenRequest::new(path));
}

#[test]
fn sample_files() {
    for half in ["Bottom_13-49-04.196", "Top_13-49-04.160"] {
        // By itself, each half is a recording of half frames.
        let alone = tempfile::tempdir().unwrap();
        check(
            &format!("seq_de_celeritas_256/Movie_00785_{half}.seq"),
            |path| {
                let copy = alone.path().join("half.seq");
                fs::copy(path, &copy).unwrap();
                OpenRequest::new(copy)
            },
        );
    }
    for reference in ["Movie_00784.seq.gain.mrc", "Movie_00785.seq.dark.mrc"] {
        check(
            &format!("seq_de_celeritas_256/{reference}"),
            OpenRequest::new,
        );
    }
    let Some(folder) = folder() else { return };
    let index = fs::read_to_string(folder.join("INDEX.md")).unwrap();
    let stitched = index.split_once("Stitched").unwrap().1;
    let stitched = stitched.split('`').nth(1).unwrap();
    let expected = serde_json::from_str(stitched).unwrap();
    let request = OpenRequest::new(folder.join("seq_de_celeritas_256"));
    check_values("the stitched halves", &expected, &request);
}
