//! Counted events read as the dense frames that they came from.

use std::fs;
use std::path::Path;

use halotau::series::SampleType;
use halotau_io::OpenRequest;
use rust_hdf5::H5File;

use crate::hostile::{SpecimenFile, attack};
use crate::reading::read_all;

const SHAPE: [usize; 5] = [2, 2, 3, 4, 5];

/// Few counts, up to 3, in a twelfth of the pixels.
fn dense() -> Vec<u8> {
    let count = |idx: u32| {
        let noise = idx.wrapping_mul(0x9e37_79b9) >> 16;
        if noise.is_multiple_of(12) {
            (noise % 3 + 1) as u8
        } else {
            0
        }
    };
    (0..SHAPE.iter().product::<usize>() as u32)
        .map(count)
        .collect()
}

/// Writes the events of dense frames, with counts or, several times each, without.
fn write(path: &Path, dense: &[u8], with_counts: bool, chunk: Option<usize>) {
    let (mut indptr, mut indices, mut data) = (vec![0_u64], Vec::new(), Vec::new());
    for frame in dense.chunks_exact(SHAPE[3] * SHAPE[4]) {
        for (pixel, &count) in frame.iter().enumerate().filter(|(_, count)| **count > 0) {
            let times = if with_counts { 1 } else { count };
            for _ in 0..times {
                indices.push(pixel as u32);
                data.push(count);
            }
        }
        indptr.push(indices.len() as u64);
    }
    let file = H5File::create(path).unwrap();
    let group = file.create_group("events").unwrap();
    let shape = SHAPE.map(|len| len as u64);
    group.set_attr_array_numeric("shape", &shape).unwrap();
    group
        .new_dataset::<u64>()
        .shape([indptr.len()])
        .create("indptr")
        .unwrap()
        .write_raw(&indptr)
        .unwrap();
    let mut builder = group.new_dataset::<u32>().shape([indices.len()]);
    if let Some(chunk) = chunk {
        builder = builder.chunk(&[chunk]).shuffle_deflate(4);
    }
    builder
        .create("indices")
        .unwrap()
        .write_raw(&indices)
        .unwrap();
    if with_counts {
        group
            .new_dataset::<u8>()
            .shape([data.len()])
            .create("data")
            .unwrap()
            .write_raw(&data)
            .unwrap();
    }
}

#[test]
fn events_are_the_dense_frames() {
    let folder = tempfile::tempdir().unwrap();
    let dense = dense();
    let expected: Vec<f64> = dense.iter().map(|&count| f64::from(count)).collect();
    for (with_counts, chunk, sample_type) in [
        (true, None, SampleType::U8),
        (true, Some(3), SampleType::U8),
        (false, Some(4), SampleType::U16),
    ] {
        let path = folder.path().join("counted.h5");
        write(&path, &dense, with_counts, chunk);
        let (source, samples) = read_all(&OpenRequest::new(&path));
        let shape = source.header().shape;
        assert_eq!([shape.n_times, shape.n_rows, shape.n_cols], SHAPE[..3]);
        assert_eq!(source.header().sample_type, sample_type);
        assert_eq!(samples, expected);
        assert!(source.events().is_some(), "read_all compares them");
        fs::remove_file(&path).unwrap();
    }
}

#[test]
fn broken_files_give_errors() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("counted.h5");
    write(&path, &dense(), true, Some(16));
    let specimen = SpecimenFile {
        name: "counted.h5",
        bytes: fs::read(&path).unwrap(),
        header_bytes: 200,
    };
    attack(&[specimen], "counted.h5", |path| OpenRequest::new(path));
}
