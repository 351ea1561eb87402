use std::path::Path;
use std::sync::Arc;

use halotau::recipe::RawLayout;
use halotau::series::{ChunkShape, FrameBlock, SampleType, Samples, SeriesShape};
use halotau_io::{Error, OpenRequest, extent, open};
use rust_hdf5::{DatatypeMessage, H5File};
use serde_json::json;
use zarrs::array::{Array, ArrayBytes, ArrayMetadata, ArraySubset};
use zarrs::filesystem::FilesystemStore;

use crate::known::{ALL_TYPES, SHAPE, bytes, check, samples, whole};

fn descr(sample_type: SampleType, big_endian: bool) -> String {
    let order = if big_endian { '>' } else { '<' };
    match sample_type {
        SampleType::U8 => "|u1".to_owned(),
        SampleType::U16 => format!("{order}u2"),
        SampleType::U32 => format!("{order}u4"),
        SampleType::I16 => format!("{order}i2"),
        SampleType::I32 => format!("{order}i4"),
        SampleType::F32 => format!("{order}f4"),
        SampleType::F64 => format!("{order}f8"),
    }
}

pub(crate) fn npy(version: u8, descr: &str, shape: &str, data: &[u8]) -> Vec<u8> {
    let text = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}\n");
    let mut file = b"\x93NUMPY".to_vec();
    file.extend([version, 0]);
    if version == 1 {
        file.extend((text.len() as u16).to_le_bytes());
    } else {
        file.extend((text.len() as u32).to_le_bytes());
    }
    file.extend(text.as_bytes());
    file.extend(data);
    file
}

#[test]
fn numpy_files_of_every_type_order_and_version() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("series.npy");
    for sample_type in ALL_TYPES {
        let expected = whole(sample_type);
        for (big_endian, version) in [(false, 1), (true, 2), (false, 3)] {
            let descr = descr(sample_type, big_endian);
            let data = bytes(&expected, big_endian);
            std::fs::write(&path, npy(version, &descr, "(7, 3, 5, 4, 6)", &data)).unwrap();
            let source = open(&OpenRequest::new(&path)).unwrap();
            check(&source, SHAPE, &expected, &descr);
        }
    }
}

#[test]
fn stacks_and_single_scans_take_the_shape_that_is_given() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("stack.npy");
    let expected = whole(SampleType::U16);
    let data = bytes(&expected, false);
    for dims in ["(105, 4, 6)", "(7, 15, 4, 6)", "(21, 5, 4, 6)"] {
        std::fs::write(&path, npy(1, "<u2", dims, &data)).unwrap();
        let mut request = OpenRequest::new(&path);
        request.shape = Some([0, 3, 5, 4, 6]);
        check(&open(&request).unwrap(), SHAPE, &expected, dims);
    }
    std::fs::write(&path, npy(1, "<u2", "(7, 15, 4, 6)", &data)).unwrap();
    let one_scan = SeriesShape {
        n_times: 1,
        n_rows: 7,
        n_cols: 15,
        ..SHAPE
    };
    check(
        &open(&OpenRequest::new(&path)).unwrap(),
        one_scan,
        &expected,
        "4D",
    );

    std::fs::write(&path, npy(1, "<u2", "(105, 4, 6)", &data)).unwrap();
    let mut request = OpenRequest::new(&path);
    request.shape = Some([8, 3, 5, 4, 6]);
    let error = open(&request).err().unwrap();
    assert_eq!(error.exit_code(), 65);
    assert!(error.to_string().contains("7 x 3 x 5"), "{error}");
}

#[test]
fn raw_files_with_gaps_of_every_kind() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("series.bin");
    for (sample_type, big_endian) in [(SampleType::U16, true), (SampleType::F32, false)] {
        let expected = whole(sample_type);
        let data = bytes(&expected, big_endian);
        let frame_bytes = SHAPE.frame_len() * sample_type.n_bytes();
        let mut file = vec![0xee; 11];
        for scan in data.chunks(frame_bytes * SHAPE.n_positions()) {
            file.extend([0xdd; 3]);
            for frame in scan.chunks(frame_bytes) {
                file.extend([0xaa; 5]);
                file.extend(frame);
                file.extend([0xbb; 2]);
            }
        }
        std::fs::write(&path, &file).unwrap();
        let mut request = OpenRequest::new(&path);
        request.raw = Some(RawLayout {
            sample_type,
            big_endian,
            header_bytes: 11,
            frame_header_bytes: 5,
            frame_footer_bytes: 2,
            scan_header_bytes: 3,
        });
        for shape in [
            [7, 3, 5, 4, 6],
            [0, 3, 5, 4, 6],
            [7, 3, 0, 4, 6],
            [7, 3, 5, 0, 6],
        ] {
            request.shape = Some(shape);
            check(
                &open(&request).unwrap(),
                SHAPE,
                &expected,
                &format!("{shape:?}"),
            );
        }
        // Cut inside the third scan: two whole scans and one whole frame are left.
        let scan_bytes = 3 + SHAPE.n_positions() * (frame_bytes + 7);
        file.truncate(11 + 2 * scan_bytes + 3 + frame_bytes + 7 + 1);
        std::fs::write(&path, &file).unwrap();
        for shape in [[7, 3, 5, 4, 6], [0, 3, 5, 4, 6]] {
            request.shape = Some(shape);
            let Err(Error::Size { size, .. }) = open(&request) else {
                panic!("a cut file was opened with {shape:?}");
            };
            assert_eq!((size.whole_times, size.whole_frames), (2, 31), "{shape:?}");
            assert_eq!(size.actual_bytes, file.len() as u64);
        }
    }
}

#[test]
fn one_scan_files_in_natural_order() {
    let folder = tempfile::tempdir().unwrap();
    let expected = whole(SampleType::I16);
    let data = bytes(&expected, false);
    let scan_bytes = SHAPE.n_positions() * SHAPE.frame_len() * 2;
    let names = [
        "s1.npy", "s2.npy", "s3.npy", "s9.npy", "s10.npy", "s11.npy", "s100.npy",
    ];
    for (name, scan) in names.iter().zip(data.chunks(scan_bytes)) {
        let file = npy(1, "<i2", "(3, 5, 4, 6)", scan);
        std::fs::write(folder.path().join(name), file).unwrap();
    }
    std::fs::write(folder.path().join("notes.txt"), "a fine day").unwrap();
    let source = open(&OpenRequest::new(folder.path())).unwrap();
    check(&source, SHAPE, &expected, "folder");
    assert_eq!(source.header().warnings.len(), 1);

    let mut request = OpenRequest::new("");
    request.files = names.iter().map(|name| folder.path().join(name)).collect();
    request.shape = Some([7, 3, 5, 4, 6]);
    check(&open(&request).unwrap(), SHAPE, &expected, "list");

    let odd = npy(1, "<i2", "(5, 3, 4, 6)", &data[..scan_bytes]);
    std::fs::write(folder.path().join("s9.npy"), odd).unwrap();
    let error = open(&OpenRequest::new(folder.path())).err().unwrap();
    assert!(matches!(&error, Error::FilesDiffer { path, .. } if path.ends_with("s9.npy")));
}

/// Writes a Zarr array by its metadata.
fn write_zarr(folder: &Path, metadata: serde_json::Value, data: &[u8]) {
    std::fs::create_dir_all(folder).unwrap();
    let store = Arc::new(FilesystemStore::new(folder).unwrap());
    let metadata = if metadata["zarr_format"] == 2 {
        ArrayMetadata::V2(serde_json::from_value(metadata).unwrap())
    } else {
        ArrayMetadata::V3(serde_json::from_value(metadata).unwrap())
    };
    let array = Array::new_with_metadata(store, "/", metadata).unwrap();
    let version = if matches!(array.metadata(), ArrayMetadata::V2(_)) {
        zarrs::config::MetadataConvertVersion::Default
    } else {
        zarrs::config::MetadataConvertVersion::V3
    };
    array.store_metadata_opt(&array_options(version)).unwrap();
    let all = ArraySubset::new_with_shape(array.shape().to_vec());
    array
        .store_array_subset(&all, ArrayBytes::new_flen(data.to_vec()))
        .unwrap();
}

fn array_options(
    version: zarrs::config::MetadataConvertVersion,
) -> zarrs::array::ArrayMetadataOptions {
    zarrs::array::ArrayMetadataOptions::default().with_metadata_convert_version(version)
}

fn zarr_v3(data_type: &str, chunk: [u64; 5], codecs: serde_json::Value) -> serde_json::Value {
    json!({
        "zarr_format": 3, "node_type": "array", "shape": [7, 3, 5, 4, 6], "data_type": data_type,
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": chunk}},
        "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
        "fill_value": 0, "codecs": codecs,
        "attributes": {"DK_invnm": 0.23, "dt_s": 4.8, "times_s": [0, 5, 10, 15, 20, 25, 31]},
    })
}

#[test]
fn zarr_of_both_versions_sharded_and_not() {
    let folder = tempfile::tempdir().unwrap();
    let expected = whole(SampleType::U16);
    let data = bytes(&expected, false);
    let endian = |e: &str| json!({"name": "bytes", "configuration": {"endian": e}});
    let gzip = json!({"name": "gzip", "configuration": {"level": 1}});
    let zstd = json!({"name": "zstd", "configuration": {"level": 1, "checksum": true}});
    let blosc = json!({"name": "blosc", "configuration":
        {"cname": "lz4", "clevel": 3, "shuffle": "bitshuffle", "typesize": 2, "blocksize": 0}});
    let shard = json!({"name": "sharding_indexed", "configuration": {
        "chunk_shape": [2, 1, 2, 4, 6], "codecs": [endian("little"), zstd.clone()],
        "index_codecs": [endian("little"), {"name": "crc32c"}], "index_location": "end"}});
    let cases = [
        ("big", [2, 1, 2, 4, 6], [2, 1, 2], json!([endian("big")])),
        (
            "plain",
            [2, 1, 2, 4, 6],
            [2, 1, 2],
            json!([endian("little")]),
        ),
        (
            "plain, all times",
            [7, 2, 3, 4, 6],
            [7, 2, 3],
            json!([endian("little")]),
        ),
        (
            "parts of patterns",
            [2, 2, 2, 3, 4],
            [2, 2, 2],
            json!([endian("little")]),
        ),
        (
            "zstd",
            [3, 2, 2, 4, 6],
            [3, 2, 2],
            json!([endian("little"), zstd]),
        ),
        (
            "gzip",
            [1, 3, 5, 3, 4],
            [1, 3, 5],
            json!([endian("big"), gzip]),
        ),
        (
            "blosc",
            [7, 1, 1, 4, 6],
            [7, 1, 1],
            json!([endian("little"), blosc]),
        ),
        ("shard", [4, 3, 4, 4, 6], [2, 1, 2], json!([shard])),
    ];
    for (name, chunk, decoded, codecs) in cases {
        let path = folder.path().join(name);
        write_zarr(&path, zarr_v3("uint16", chunk, codecs), &data);
        let source = open(&OpenRequest::new(&path)).unwrap();
        check(&source, SHAPE, &expected, name);
        let header = source.header();
        let [n_times, n_rows, n_cols] = decoded;
        assert_eq!(
            header.chunk,
            ChunkShape {
                n_times,
                n_rows,
                n_cols
            },
            "{name}"
        );
        assert_eq!(header.q_step_per_nm.as_ref().unwrap().value, 0.23);
        assert_eq!(header.times_s.as_ref().unwrap()[6], 31.0);
    }
    for (order, big_endian) in [("<", false), (">", true)] {
        let path = folder.path().join(format!("v2{order}"));
        let v2 = json!({"zarr_format": 2, "shape": [7, 3, 5, 4, 6], "chunks": [2, 2, 2, 4, 6],
            "dtype": format!("{order}u2"), "compressor": null, "fill_value": 0, "order": "C",
            "filters": null});
        write_zarr(&path, v2, &data);
        let first = std::fs::read(path.join("0.0.0.0.0")).unwrap();
        assert_eq!(first[..2], bytes(&expected, big_endian)[..2], "{order}");
        check(
            &open(&OpenRequest::new(&path)).unwrap(),
            SHAPE,
            &expected,
            order,
        );
    }
    // HyperSpy's tree: version 2, a group whose name is reserved inside a store, an axis group.
    let tree = folder.path().join("untitled.zspy");
    let node = tree.join("Experiments/__unnamed__");
    std::fs::create_dir_all(node.join("axis-3")).unwrap();
    for group in [
        tree.clone(),
        tree.join("Experiments"),
        node.clone(),
        node.join("axis-3"),
    ] {
        std::fs::write(group.join(".zgroup"), r#"{"zarr_format": 2}"#).unwrap();
    }
    let axis = r#"{"scale": 0.1, "units": "1/nm", "size": 4}"#;
    std::fs::write(node.join("axis-3/.zattrs"), axis).unwrap();
    let v2 = json!({"zarr_format": 2, "shape": [7, 3, 5, 4, 6], "chunks": [2, 2, 2, 4, 6], "dtype": ">i4",
        "compressor": {"id": "blosc", "cname": "zstd", "clevel": 1, "shuffle": 1, "blocksize": 0},
        "fill_value": 0, "order": "C", "filters": null, "dimension_separator": "/"});
    let expected = whole(SampleType::I32);
    write_zarr(&node.join("data"), v2, &bytes(&expected, false));
    let source = open(&OpenRequest::new(&tree)).unwrap();
    check(&source, SHAPE, &expected, "zspy");
    assert_eq!(source.header().q_step_per_nm.as_ref().unwrap().value, 0.1);
}

#[test]
fn a_missing_or_cut_zarr_chunk_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("series.zarr");
    let endian = json!({"name": "bytes", "configuration": {"endian": "little"}});
    let data = bytes(&whole(SampleType::U16), false);
    // Without a checksum a block is known only by its length.
    let plain = zarr_v3("uint16", [2, 3, 5, 4, 6], json!([endian]));
    write_zarr(&path, plain, &data);
    let chunk = path.join("c/1/0/0/0/0");
    let stored = std::fs::read(&chunk).unwrap();
    let source = open(&OpenRequest::new(&path)).unwrap();
    for bytes in [
        &stored[..0],
        &stored[1..],
        &[stored.as_slice(), &[0]].concat(),
    ] {
        std::fs::write(&chunk, bytes).unwrap();
        let mut block = FrameBlock::empty(SampleType::U16);
        let error = source.read(&SHAPE.whole(), &mut block).unwrap_err();
        assert_eq!(Error::from(error).exit_code(), 65);
    }
    std::fs::remove_dir_all(&path).unwrap();
    let codecs = json!([endian, {"name": "crc32c"}]);
    write_zarr(&path, zarr_v3("uint16", [2, 3, 5, 4, 6], codecs), &data);
    let stored = std::fs::read(&chunk).unwrap();
    let source = open(&OpenRequest::new(&path)).unwrap();
    let mut block = FrameBlock::empty(SampleType::U16);
    let mut read = || {
        let error = source.read(&SHAPE.whole(), &mut block).unwrap_err();
        Error::from(error)
    };
    for keep in [0, 1, stored.len() / 2, stored.len() - 1] {
        std::fs::write(&chunk, &stored[..keep]).unwrap();
        assert_eq!(read().exit_code(), 65, "{keep} bytes");
    }
    let mut flipped = stored.clone();
    flipped[100] ^= 4;
    std::fs::write(&chunk, &flipped).unwrap();
    assert_eq!(read().exit_code(), 65);
    std::fs::remove_file(&chunk).unwrap();
    let error = read();
    assert_eq!(error.exit_code(), 65);
    assert!(error.to_string().contains("c/1/0/0/0/0"), "{error}");
}

#[test]
fn scans_of_a_zarr_store_that_grows_count_when_their_chunks_are_whole() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("series.zarr");
    let endian = json!({"name": "bytes", "configuration": {"endian": "little"}});
    for codecs in [
        json!([endian]),
        json!([endian, {"name": "gzip", "configuration": {"level": 1}}]),
    ] {
        let metadata = zarr_v3("uint16", [1, 1, 5, 4, 6], codecs);
        write_zarr(
            &path,
            metadata.clone(),
            &bytes(&whole(SampleType::U16), false),
        );
        let chunk = |time: usize, row: usize| path.join(format!("c/{time}/{row}/0/0/0"));
        let request = OpenRequest::new(&path);
        let whole_of = |known: usize| {
            let found = extent(&request, known).unwrap();
            (found.n_times, found.expected)
        };
        // Everything is there; whether more comes, the store does not say.
        assert_eq!(whole_of(0), (7, None));
        std::fs::remove_file(chunk(4, 2)).unwrap();
        for (time, row) in (5..7).flat_map(|time| (0..3).map(move |row| (time, row))) {
            std::fs::remove_file(chunk(time, row)).unwrap();
        }
        assert_eq!(whole_of(0), (4, Some(7)), "the half of a scan was counted");
        // The last chunk is being written.
        let stored = std::fs::read(chunk(3, 2)).unwrap();
        for keep in [0, 1, stored.len() / 2, stored.len() - 1] {
            std::fs::write(chunk(3, 2), &stored[..keep]).unwrap();
            assert_eq!(whole_of(3), (3, Some(7)), "{keep} bytes");
        }
        std::fs::write(chunk(3, 2), &stored).unwrap();
        assert_eq!(whole_of(3), (4, Some(7)));
        // A store whose shape grows has that of the scans so far; their number is stated.
        let mut grown = metadata.clone();
        grown["shape"][0] = json!(4);
        let text = serde_json::to_string(&grown).unwrap();
        std::fs::write(path.join("zarr.json"), &text).unwrap();
        assert_eq!(whole_of(3), (4, None));
        let mut stated = OpenRequest::new(&path);
        stated.shape = Some([7, 3, 5, 0, 0]);
        assert_eq!(extent(&stated, 0).unwrap().expected, Some(7));
        stated.n_times = Some(3);
        let first = open(&stated).unwrap();
        assert_eq!(first.header().shape.n_times, 3);
        // Metadata that are half written are none yet.
        std::fs::write(path.join("zarr.json"), &text[..text.len() / 2]).unwrap();
        assert_eq!(extent(&request, 0).unwrap().n_times, 0);
        std::fs::remove_dir_all(&path).unwrap();
    }
}

/// An HDF5 file with one dataset, as `(name, chunk, compressed)` says.
fn write_hdf5(path: &Path, name: &str, chunk: Option<[usize; 5]>, gzip: bool, samples: &Samples) {
    let file = H5File::create(path).unwrap();
    macro_rules! write {
        ($t:ty, $samples:expr) => {{
            let mut builder = file.new_dataset::<$t>().shape([7, 3, 5, 4, 6]);
            if let Some(chunk) = chunk {
                builder = builder.chunk(&chunk);
            }
            if gzip {
                builder = builder.shuffle_deflate(4);
            }
            let dataset = builder.create(name).unwrap();
            dataset.write_raw($samples).unwrap();
            dataset
                .new_attr::<f64>()
                .shape(())
                .create("dt_s")
                .unwrap()
                .write_numeric(&4.8)
                .unwrap();
            dataset
                .new_attr::<i32>()
                .shape(())
                .create("voltage_kV")
                .unwrap()
                .write_numeric(&200)
                .unwrap();
        }};
    }
    match samples {
        Samples::U8(s) => write!(u8, s),
        Samples::U16(s) => write!(u16, s),
        Samples::U32(s) => write!(u32, s),
        Samples::I16(s) => write!(i16, s),
        Samples::I32(s) => write!(i32, s),
        Samples::F32(s) => write!(f32, s),
        Samples::F64(s) => write!(f64, s),
    }
    file.close().unwrap();
}

#[test]
fn hdf5_of_every_type_contiguous_chunked_and_compressed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("series.h5");
    for sample_type in ALL_TYPES {
        let expected = whole(sample_type);
        for (chunk, gzip) in [
            (None, false),
            (Some([2, 1, 2, 4, 6]), false),
            (Some([3, 2, 3, 3, 4]), false),
            (Some([3, 2, 3, 3, 4]), true),
        ] {
            write_hdf5(&path, "data", chunk, gzip, &expected);
            let source = open(&OpenRequest::new(&path)).unwrap();
            check(
                &source,
                SHAPE,
                &expected,
                &format!("{sample_type} {chunk:?} {gzip}"),
            );
            assert_eq!(source.header().period_s.as_ref().unwrap().value, 4.8);
            assert_eq!(source.header().voltage_kv.as_ref().unwrap().value, 200.0);
        }
    }
}

#[test]
fn hdf5_big_endian_is_read_and_other_types_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("series.h5");
    let expected = whole(SampleType::U16);
    let mut big = DatatypeMessage::u16_type();
    if let DatatypeMessage::FixedPoint { byte_order, .. } = &mut big {
        *byte_order = rust_hdf5::ByteOrder::BigEndian;
    }
    for chunk in [None, Some([2_usize, 1, 2, 4, 6])] {
        let file = H5File::create(&path).unwrap();
        let mut builder = file
            .new_dataset::<u16>()
            .datatype(big.clone())
            .shape([7, 3, 5, 4, 6]);
        if let Some(chunk) = &chunk {
            builder = builder.chunk(chunk);
        }
        let dataset = builder.create("frames").unwrap();
        dataset.write_raw_bytes(&bytes(&expected, true)).unwrap();
        file.close().unwrap();
        check(
            &open(&OpenRequest::new(&path)).unwrap(),
            SHAPE,
            &expected,
            "big-endian",
        );
    }
    let file = H5File::create(&path).unwrap();
    let dataset = file
        .new_dataset::<rust_hdf5::Complex32>()
        .shape([2, 1, 1, 2, 2])
        .create("data")
        .unwrap();
    dataset.write_raw_bytes(&[0; 64]).unwrap();
    file.close().unwrap();
    let error = open(&OpenRequest::new(&path)).err().unwrap();
    assert!(matches!(error, Error::SampleType { .. }), "{error}");
}

#[test]
fn an_hdf5_chunk_that_was_never_written_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("series.h5");
    // Few blocks are looked up one by one, many through the reader's own index; both must notice.
    for n_times in [4_usize, 5000] {
        let file = H5File::create(&path).unwrap();
        let dataset = file
            .new_dataset::<u8>()
            .shape([n_times, 1, 1, 2, 2])
            .chunk(&[1, 1, 1, 2, 2])
            .create("data")
            .unwrap();
        for time in (0..n_times).filter(|&time| time != 2) {
            dataset
                .write_chunk_at(&[time, 0, 0, 0, 0], &[1, 2, 3, 4])
                .unwrap();
        }
        file.close().unwrap();
        let source = open(&OpenRequest::new(&path)).unwrap();
        let mut block = FrameBlock::empty(SampleType::U8);
        let mut run = source.header().shape.whole();
        let error = Error::from(source.read(&run, &mut block).unwrap_err());
        assert!(
            error.to_string().contains("[2, 0, 0, 0, 0]"),
            "{n_times}: {error}"
        );
        assert_eq!(error.exit_code(), 65);
        run.first_time = 3;
        run.n_times = n_times - 3;
        source.read(&run, &mut block).unwrap();
        assert_eq!(block.samples, Samples::U8([1, 2, 3, 4].repeat(n_times - 3)));
    }
}

#[test]
fn many_hdf5_chunks_give_the_same_samples_as_few() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("series.h5");
    let shape = SeriesShape {
        n_times: 50,
        n_rows: 10,
        n_cols: 10,
        pattern_rows: 3,
        pattern_cols: 5,
    };
    let expected = samples(SampleType::U16, 50 * 100 * 15);
    let Samples::U16(values) = &expected else {
        panic!("u16 was asked for");
    };
    for dims in [vec![50, 10, 10, 3, 5], vec![5000, 3, 5]] {
        let file = H5File::create(&path).unwrap();
        let mut chunk = vec![1; dims.len()];
        chunk[dims.len() - 2..].copy_from_slice(&[3, 5]);
        let dataset = file
            .new_dataset::<u16>()
            .shape(&dims)
            .chunk(&chunk)
            .create("data")
            .unwrap();
        dataset.write_raw(values).unwrap();
        file.close().unwrap();
        let mut request = OpenRequest::new(&path);
        request.shape = Some([50, 10, 10, 3, 5]);
        check(
            &open(&request).unwrap(),
            shape,
            &expected,
            &format!("{dims:?}"),
        );
    }
}
