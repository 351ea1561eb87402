//! HDF5 files that an acquisition program is still writing: how many scans are complete?

use std::fs;
use std::path::Path;

use halotau_io::{Error, OpenRequest, extent};
use rust_hdf5::H5File;

/// Two times of two rows and three columns, and the first row of the third of four.
fn write_growing(path: &Path, max_shape: &[Option<usize>], n_rows: usize) -> usize {
    let file = H5File::create(path).unwrap();
    let dataset = file
        .new_dataset::<u16>()
        .shape([4, 2, 3, 2, 2])
        .chunk(&[1, 1, 3, 2, 2])
        .max_shape(max_shape)
        .create("data")
        .unwrap();
    for number in 0..n_rows {
        let place = [number / 2, number % 2, 0, 0, 0];
        dataset.write_chunk_at(&place, &[1, 0].repeat(12)).unwrap();
    }
    file.close().unwrap();
    fs::metadata(path).unwrap().len() as usize
}

#[test]
fn scans_of_a_file_that_grows_count_when_their_chunks_are_indexed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("scan.h5");
    let request = OpenRequest::new(&path);
    let fixed = [4, 2, 3, 2, 2].map(Some);
    let mut unlimited = fixed;
    unlimited[0] = None;
    for (max_shape, at_the_end) in [(fixed, Some(4)), (unlimited, None)] {
        for n_rows in 1..=8 {
            write_growing(&path, &max_shape, n_rows);
            let found = extent(&request, 0).unwrap();
            assert_eq!(found.n_times, n_rows / 2, "{n_rows} rows");
            let expected = if n_rows == 8 { at_the_end } else { Some(4) };
            assert_eq!(found.expected, expected, "{n_rows} rows");
        }
    }
    // Cut anywhere, as a writer may have left it: never more than there is, and no error.
    let len = write_growing(&path, &unlimited, 5);
    let bytes = fs::read(&path).unwrap();
    for keep in (0..len).step_by(61) {
        fs::write(&path, &bytes[..keep]).unwrap();
        assert!(extent(&request, 0).unwrap().n_times <= 2, "{keep} bytes");
    }
}

#[test]
fn a_dataset_without_chunks_does_not_tell_what_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("scan.h5");
    let file = H5File::create(&path).unwrap();
    let dataset = file
        .new_dataset::<u16>()
        .shape([2, 2, 3, 2, 2])
        .create("data");
    dataset.unwrap().write_raw(&[1_u16; 48]).unwrap();
    file.close().unwrap();
    let error = extent(&OpenRequest::new(&path), 0).unwrap_err();
    assert!(matches!(error, Error::NotFollowed { .. }), "{error}");
    assert!(error.to_string().contains("leave out --follow"), "{error}");
}
