use halotau::series::{SampleType, Samples, SeriesHeader, Stated};
use halotau_io::{Error, OpenRequest, SeriesFormat, SeriesWriter, open};

use crate::known::{ALL_TYPES, SHAPE, check, pick, whole};
use halotau::recipe::RawLayout;
use halotau::series::FrameRun;

fn rows(all: &Samples, first_row: usize, n_rows: usize) -> Samples {
    let run = FrameRun {
        first_time: 0,
        n_times: SHAPE.n_times,
        first_frame: first_row * SHAPE.n_cols,
        n_frames: n_rows * SHAPE.n_cols,
    };
    pick(all, &SHAPE, &run)
}

#[test]
fn what_is_written_in_bands_is_read_as_a_whole() {
    let folder = tempfile::tempdir().unwrap();
    for sample_type in ALL_TYPES {
        let expected = whole(sample_type);
        let mut header = SeriesHeader::new("series", "memory", SHAPE, sample_type);
        header.temperature_k = Some(Stated::new(633.0, "truth"));
        header.times_s = Some((0..7).map(|time| f64::from(time) * 9.2).collect());
        for format in [SeriesFormat::Zarr, SeriesFormat::Npy, SeriesFormat::Raw] {
            let path = folder.path().join(format!("{sample_type}-{format:?}"));
            let mut writer = SeriesWriter::create(&path, &header, format).unwrap();
            writer.write_block(2, 1, &rows(&expected, 2, 1)).unwrap();
            assert!(!path.exists(), "half a series has the name of a whole one");
            writer.write_block(0, 2, &rows(&expected, 0, 2)).unwrap();
            writer.finish().unwrap();
            let mut request = OpenRequest::new(&path);
            if format == SeriesFormat::Raw {
                request.shape = Some([7, 3, 5, 4, 6]);
                request.raw = Some(RawLayout {
                    sample_type,
                    big_endian: false,
                    header_bytes: 0,
                    frame_header_bytes: 0,
                    frame_footer_bytes: 0,
                    scan_header_bytes: 0,
                });
            }
            let source = open(&request).unwrap();
            check(
                &source,
                SHAPE,
                &expected,
                &format!("{sample_type} {format:?}"),
            );
            if format == SeriesFormat::Zarr {
                let read = source.header();
                assert_eq!(read.temperature_k.as_ref().unwrap().value, 633.0);
                assert_eq!(read.times_s, header.times_s);
            }
        }
    }
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 21);
}

#[test]
fn an_unfinished_or_wrong_series_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("series.zarr");
    let header = SeriesHeader::new("series", "memory", SHAPE, SampleType::U16);
    let expected = whole(SampleType::U16);
    for format in [SeriesFormat::Zarr, SeriesFormat::Npy] {
        let mut writer = SeriesWriter::create(&path, &header, format).unwrap();
        let wrong = writer.write_block(2, 2, &rows(&expected, 0, 2));
        assert!(matches!(wrong, Err(Error::Value { .. })));
        writer.write_block(0, 1, &rows(&expected, 0, 1)).unwrap();
        let error = writer.finish().unwrap_err();
        assert!(
            error.to_string().contains("no samples for row 1"),
            "{error}"
        );
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }
    std::fs::write(&path, "mine").unwrap();
    let error = SeriesWriter::create(&path, &header, SeriesFormat::Zarr).unwrap_err();
    assert_eq!(error.exit_code(), 73);
    assert_eq!(std::fs::read(&path).unwrap(), b"mine");
}
