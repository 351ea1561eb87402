use halotau::recipe::RawLayout;
use halotau::series::{FrameBlock, SampleType};
use halotau_io::{Error, OpenRequest, open};
use rust_hdf5::H5File;

use crate::containers::npy;
use crate::known::{SHAPE, bytes, whole};

#[test]
fn hostile_numpy_headers_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.npy");
    let refuse = |file: &[u8], what: &str| {
        std::fs::write(&path, file).unwrap();
        let error = open(&OpenRequest::new(&path)).err().expect(what);
        assert_eq!(error.exit_code(), 65, "{what}: {error}");
        error
    };
    let huge = "(4294967296, 4294967296, 4, 4)";
    assert!(matches!(
        refuse(&npy(1, "<u2", huge, &[0; 64]), "overflow"),
        Error::Size { .. }
    ));
    let many = "(18446744073709551615, 2, 2)";
    refuse(&npy(1, "<u2", many, &[0; 64]), "overflow in bytes");
    refuse(
        &npy(1, "<u2", "(99999999999999999999, 2, 2)", &[]),
        "number too large",
    );
    refuse(&npy(1, "<u2", "(0, 2, 2)", &[]), "no frames");
    assert!(matches!(
        refuse(&npy(1, "|O", "(1, 2, 2)", &[0; 64]), "object"),
        Error::ObjectArray { .. }
    ));
    for descr in [
        "<i8", "<u8", "<c8", "<f2", "=u2", "|u2", "u2", "", "<U3", "<M8[s]",
    ] {
        let error = refuse(&npy(1, descr, "(1, 1, 1)", &[0; 16]), descr);
        assert!(
            matches!(error, Error::SampleType { .. }),
            "{descr}: {error}"
        );
    }
    let texts = [
        "{'descr': '<u2', 'fortran_order': True, 'shape': (2, 2, 2), }",
        "{'descr': [('a', '<u2')], 'fortran_order': False, 'shape': (2, 2, 2), }",
        "{'descr': '<u2', 'shape': (2, 2, 2), }",
        "{'descr': '<u2', 'fortran_order': False, 'shape': (2, -2, 2), }",
        "{'descr': '<u2', 'fortran_order': False, 'shape': (2, 2, 2)} + exit()",
        "{'descr': '<u2', 'fortran_order': 0, 'shape': (2, 2, 2), }",
        "{'descr': '<u2', 'descr': '<u2', 'fortran_order': False, 'shape': (2, 2, 2), }",
        "{'descr': __import__('os').system('x'), 'fortran_order': False, 'shape': (2, 2, 2), }",
        "{'descr': '<u2', 'fortran_order': False, 'shape': (((((((((2, 2, 2), }",
        "{'descr': '<u\\x32', 'fortran_order': False, 'shape': (2, 2, 2), }",
        "",
    ];
    for text in texts {
        let mut file = b"\x93NUMPY\x01\x00".to_vec();
        file.extend((text.len() as u16).to_le_bytes());
        file.extend(text.as_bytes());
        file.extend([0; 16]);
        refuse(&file, text);
    }
    refuse(b"\x93NUMPY\x02\x00\xff\xff\xff\xff{}", "endless header");
    refuse(b"\x93NUMPY\x09\x00\x10\x00{}", "future version");
}

#[test]
fn files_cut_at_any_byte_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x");
    let good = npy(1, "<u2", "(2, 1, 1, 2, 2)", &[7; 16]);
    std::fs::write(&path, &good).unwrap();
    assert!(open(&OpenRequest::new(&path)).is_ok());
    for len in 0..good.len() {
        std::fs::write(&path, &good[..len]).unwrap();
        let error = open(&OpenRequest::new(&path)).err().expect("a cut file");
        assert_eq!(error.exit_code(), 65, "{len} bytes: {error}");
    }
    let file = H5File::create(&path).unwrap();
    let dataset = file
        .new_dataset::<u16>()
        .shape([7, 3, 5, 4, 6])
        .chunk(&[2, 1, 2, 4, 6])
        .deflate(1)
        .create("data")
        .unwrap();
    let halotau::series::Samples::U16(samples) = whole(SampleType::U16) else {
        panic!("u16 was asked for");
    };
    dataset.write_raw(&samples).unwrap();
    file.close().unwrap();
    let good = std::fs::read(&path).unwrap();
    for len in (0..good.len()).step_by(97) {
        std::fs::write(&path, &good[..len]).unwrap();
        let error = open(&OpenRequest::new(&path)).err().expect("a cut file");
        assert_eq!(
            error.exit_code(),
            65,
            "{len} of {} bytes: {error}",
            good.len()
        );
    }
}

#[test]
fn flipped_bits_in_hdf5_never_panic() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.h5");
    let file = H5File::create(&path).unwrap();
    let dataset = file
        .new_dataset::<u8>()
        .shape([3, 2, 2, 4, 4])
        .chunk(&[1, 1, 2, 4, 4])
        .deflate(1)
        .create("data")
        .unwrap();
    dataset.write_raw(&[5_u8; 192]).unwrap();
    file.close().unwrap();
    let good = std::fs::read(&path).unwrap();
    for bit in (0..good.len() * 8).step_by(29) {
        let mut file = good.clone();
        file[bit / 8] ^= 1 << (bit % 8);
        std::fs::write(&path, &file).unwrap();
        if let Ok(source) = open(&OpenRequest::new(&path)) {
            let run = source.header().shape.whole();
            let mut block = FrameBlock::empty(SampleType::U8);
            // Without checksums some flips cannot be seen; none may end the program.
            let _ = source.read(&run, &mut block);
        }
    }
}

#[test]
fn sizes_that_overflow_are_refused_before_memory_is_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.bin");
    std::fs::write(&path, [0; 100]).unwrap();
    let mut request = OpenRequest::new(&path);
    for header_bytes in [0, 1 << 40, u64::MAX] {
        request.raw = Some(RawLayout {
            sample_type: SampleType::F64,
            big_endian: false,
            header_bytes,
            frame_header_bytes: 0,
            frame_footer_bytes: 0,
            scan_header_bytes: 0,
        });
        for shape in [
            [usize::MAX; 5],
            [1 << 40, 1 << 40, 1, 1, 1],
            [0, usize::MAX, 2, 1, 1],
        ] {
            request.shape = Some(shape);
            let error = open(&request)
                .err()
                .expect("a hundred bytes hold no such series");
            assert_eq!(error.exit_code(), 65, "{error}");
        }
    }
    let store = folder.path().join("bomb.zarr");
    std::fs::create_dir(&store).unwrap();
    for chunk in ["1000000,1000000,1,1000,1000", "0,1,1,1,1", "1,1,1,1"] {
        let metadata = format!(
            r#"{{"zarr_format":3,"node_type":"array","shape":[1000000,1000000,1,1000,1000],"data_type":"uint8",
            "chunk_grid":{{"name":"regular","configuration":{{"chunk_shape":[{chunk}]}}}},
            "chunk_key_encoding":{{"name":"default","configuration":{{"separator":"/"}}}},
            "fill_value":0,"codecs":[{{"name":"bytes"}}],"attributes":{{}}}}"#
        );
        std::fs::write(store.join("zarr.json"), metadata).unwrap();
        let error = open(&OpenRequest::new(&store))
            .err()
            .expect("a block of a petabyte");
        assert_eq!(error.exit_code(), 65, "{error}");
    }
}

#[test]
fn other_files_are_named_for_what_they_are() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x");
    for (start, says) in [
        (&b"PK\x03\x04"[..], "zip"),
        (b"II\x2a\x00", "TIFF"),
        (b"", "empty"),
        (b"whatever", "no format"),
    ] {
        std::fs::write(&path, start).unwrap();
        let error = open(&OpenRequest::new(&path)).err().unwrap();
        assert!(error.to_string().contains(says), "{error}");
        assert_eq!(error.exit_code(), 65);
    }
    let empty = folder.path().join("empty");
    std::fs::create_dir(&empty).unwrap();
    assert_eq!(
        open(&OpenRequest::new(&empty)).err().unwrap().exit_code(),
        66
    );
    assert_eq!(
        open(&OpenRequest::new("no/such"))
            .err()
            .unwrap()
            .exit_code(),
        66
    );
}

#[test]
fn a_file_that_shrinks_while_it_is_read_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.npy");
    let data = bytes(&whole(SampleType::U16), false);
    let file = npy(1, "<u2", "(7, 3, 5, 4, 6)", &data);
    std::fs::write(&path, &file).unwrap();
    let source = open(&OpenRequest::new(&path)).unwrap();
    std::fs::write(&path, &file[..file.len() / 2]).unwrap();
    let mut block = FrameBlock::empty(SampleType::U16);
    let error = Error::from(source.read(&SHAPE.whole(), &mut block).unwrap_err());
    assert_eq!(error.exit_code(), 74, "{error}");
}
