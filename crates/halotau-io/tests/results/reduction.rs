//! The folder of a reduction.

use std::fs;
use std::path::{Path, PathBuf};

use halotau::ndarray::Array2;
use halotau::series::SampleType;
use halotau_io::Error;
use halotau_io::reduction_folder::{ReductionReader, ReductionWriter};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::fabricated::{Stream, exactly, files, layout, reduction, ring};

#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Sums {
    shard: usize,
    pattern: Array2<f64>,
}

pub(crate) fn sums(shard: usize) -> Sums {
    let mut stream = Stream::new(100 + shard as u64);
    Sums {
        shard,
        pattern: Array2::from_shape_simple_fn((3, 4), || stream.number() / 3.0),
    }
}

pub(crate) fn params() -> Value {
    json!({"ring": {"q_min": 3.0, "q_max": 4.6}, "input": {"size": 123, "blake3": "ab"}})
}

pub(crate) fn begin(path: &Path, sample_type: SampleType) -> ReductionWriter {
    ReductionWriter::create(path, &params(), layout(sample_type), false).unwrap()
}

pub(crate) fn write_all(path: &Path, sample_type: SampleType) {
    let writer = begin(path, sample_type);
    for shard in writer.shards().to_vec() {
        writer
            .write_shard(&shard, &ring(&shard, sample_type), &sums(shard.index))
            .unwrap();
    }
    writer.finish(&reduction(sample_type)).unwrap();
}

pub(crate) fn fresh() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("reduction.zarr");
    (folder, path)
}

#[test]
fn comes_back_bit_for_bit_in_every_number_type() {
    for sample_type in [
        SampleType::U8,
        SampleType::U16,
        SampleType::U32,
        SampleType::F32,
    ] {
        let (_folder, path) = fresh();
        write_all(&path, sample_type);
        let reader = ReductionReader::open(&path).unwrap();
        assert_eq!(
            exactly(&reader.reduction().unwrap()),
            exactly(&reduction(sample_type))
        );
        assert_eq!(reader.shards().len(), 6);
        for shard in reader.shards() {
            assert_eq!(
                exactly(&reader.shard(shard).unwrap()),
                exactly(&ring(shard, sample_type))
            );
        }
        assert_eq!(*reader.parameters(), params());
    }
}

#[test]
fn a_killed_run_keeps_the_shards_that_are_whole() {
    let (_folder, path) = fresh();
    let writer = begin(&path, SampleType::U16);
    let shards = writer.shards().to_vec();
    // Threads finish shards in any order.
    for index in [4, 1, 2] {
        writer
            .write_shard(
                &shards[index],
                &ring(&shards[index], SampleType::U16),
                &sums(index),
            )
            .unwrap();
    }
    drop(writer);
    // The kill came while shard 0 was written: a temporary file, files that the manifest does not know,
    // and a line that was cut short. Shard 2 lost its tail in a power cut.
    fs::create_dir_all(path.join("ring_counts/c/0/0/0")).unwrap();
    fs::write(path.join("ring_counts/c/0/0/0/0.tmp"), b"half").unwrap();
    fs::write(path.join("sums/0"), b"unknown").unwrap();
    let mut manifest = fs::read(path.join("manifest.jsonl")).unwrap();
    manifest.extend(b"{\"shard\":0,\"files\":[{\"pa");
    fs::write(path.join("manifest.jsonl"), manifest).unwrap();
    let cut = path.join("ring_counts/c/1/0/0/0");
    let bytes = fs::read(&cut).unwrap();
    fs::write(&cut, &bytes[..bytes.len() / 2]).unwrap();

    let error = ReductionReader::open(&path).unwrap_err();
    assert!(
        matches!(
            error,
            Error::Incomplete {
                done: 3,
                total: 6,
                ..
            }
        ),
        "{error}"
    );
    let writer = begin(&path, SampleType::U16);
    let done: Vec<bool> = (0..6).map(|index| writer.done(index)).collect();
    assert_eq!(done, [false, true, false, false, true, false]);
    assert_eq!(writer.read_sums::<Sums>(4).unwrap(), sums(4));
    drop(writer);
    assert!(matches!(
        begin(&path, SampleType::U16).finish(&reduction(SampleType::U16)),
        Err(Error::Incomplete { done: 2, .. })
    ));
}

#[test]
fn resumed_bytes_equal_uninterrupted_ones() {
    let (_folder, whole) = fresh();
    write_all(&whole, SampleType::U16);
    let (_folder, path) = fresh();
    for stop_after in [2, 1, 3] {
        let writer = begin(&path, SampleType::U16);
        let open: Vec<_> = writer
            .shards()
            .iter()
            .filter(|shard| !writer.done(shard.index))
            .copied()
            .collect();
        for shard in open.iter().rev().take(stop_after) {
            writer
                .write_shard(shard, &ring(shard, SampleType::U16), &sums(shard.index))
                .unwrap();
        }
    }
    begin(&path, SampleType::U16)
        .finish(&reduction(SampleType::U16))
        .unwrap();
    assert_eq!(files(&path), files(&whole));
    // A second run finds nothing to do and changes nothing.
    let again = begin(&path, SampleType::U16);
    assert!(again.is_complete() && again.done(3));
    again.finish(&reduction(SampleType::U16)).unwrap();
    assert_eq!(files(&path), files(&whole));
}

#[test]
fn every_flipped_bit_cut_and_missing_file_is_an_error() {
    let (_folder, path) = fresh();
    write_all(&path, SampleType::U16);
    let read_all = || -> halotau_io::Result<()> {
        let reader = ReductionReader::open(&path)?;
        reader.reduction()?;
        reader
            .shards()
            .iter()
            .try_for_each(|shard| reader.shard(shard).map(drop))
    };
    read_all().unwrap();
    let good = files(&path);
    let counted: Vec<&String> = good
        .keys()
        .filter(|name| name.as_str() != ".lock")
        .collect();
    let mut stream = Stream::new(20_261_122);
    let damage = |name: &str, bytes: Option<Vec<u8>>| {
        let file = path.join(name);
        match bytes {
            Some(bytes) => fs::write(&file, bytes).unwrap(),
            None => fs::remove_file(&file).unwrap(),
        }
        let error = read_all().expect_err(name);
        assert!(!error.to_string().is_empty());
        fs::write(&file, &good[name]).unwrap();
        error
    };
    for _ in 0..200 {
        let name = counted[stream.bits() as usize % counted.len()];
        let mut bytes = good[name].clone();
        let bit = stream.bits() as usize % (8 * bytes.len());
        bytes[bit / 8] ^= 1 << (bit % 8);
        damage(name, Some(bytes));
    }
    for name in counted {
        let bytes = good[name].clone();
        damage(name, Some(bytes[..bytes.len() - 1].to_vec()));
        damage(name, Some(Vec::new()));
        damage(name, None);
    }
    let error = damage("ring_counts/c/0/1/0/0", None).to_string();
    assert!(
        error.contains("ring_counts/c/0/1/0/0: the file is missing; restore it"),
        "{error}"
    );
    read_all().unwrap();
}

#[test]
fn zarr_checksums_alone_notice_every_flipped_bit_of_the_counts() {
    // Other programs know no manifest; what protects their readers is the CRC-32C inside the chunks.
    use zarrs::array::{Array, ArraySubset};
    let (_folder, path) = fresh();
    write_all(&path, SampleType::U16);
    let read = || -> Option<Vec<u16>> {
        let store = std::sync::Arc::new(zarrs::filesystem::FilesystemStore::new(&path).ok()?);
        let array = Array::open(store, "/ring_counts").ok()?;
        array
            .retrieve_array_subset::<Vec<u16>>(&ArraySubset::new_with_shape(array.shape().to_vec()))
            .ok()
    };
    assert!(read().is_some());
    let chunk = path.join("ring_counts/c/0/0/0/0");
    let good = fs::read(&chunk).unwrap();
    let mut stream = Stream::new(5);
    for _ in 0..60 {
        let bit = stream.bits() as usize % (8 * good.len());
        let mut bytes = good.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        fs::write(&chunk, bytes).unwrap();
        assert_eq!(read(), None, "bit {bit}");
    }
}

#[test]
fn a_second_run_on_the_same_folder_is_refused() {
    let (_folder, path) = fresh();
    let first = begin(&path, SampleType::U8);
    let error =
        ReductionWriter::create(&path, &params(), layout(SampleType::U8), false).unwrap_err();
    let Error::Locked {
        holder: Some(holder),
        ..
    } = &error
    else {
        panic!("{error}");
    };
    assert_eq!(holder.process, std::process::id());
    assert!(holder.since.is_some());
    let host = fs::read_to_string("/proc/sys/kernel/hostname").ok();
    assert_eq!(holder.host.as_deref(), host.as_deref().map(str::trim));
    assert!(error.to_string().contains(" since 20"), "{error}");
    assert_eq!(error.exit_code(), 75);
    drop(first);
    begin(&path, SampleType::U8);
}

#[test]
fn other_parameters_are_refused_by_name_until_restart() {
    let (_folder, path) = fresh();
    write_all(&path, SampleType::U8);
    let other =
        json!({"ring": {"q_min": 3.0, "q_max": 4.8}, "input": {"size": 123, "blake3": "ab"}});
    let error = ReductionWriter::create(&path, &other, layout(SampleType::U16), false).unwrap_err();
    let Error::StaleParameters { differences, .. } = &error else {
        panic!("{error}");
    };
    assert_eq!(
        differences,
        &[
            "layout.sample_type: \"u8\" -> \"u16\"",
            "ring.q_max: 4.6 -> 4.8"
        ]
    );
    assert_eq!(error.exit_code(), 78);
    ReductionReader::open(&path).unwrap();
    let writer = ReductionWriter::create(&path, &other, layout(SampleType::U16), true).unwrap();
    assert!(!writer.is_complete());
    assert_eq!(writer.n_done(), 0);
}

#[test]
fn a_folder_of_something_else_is_left_alone() {
    let (_folder, path) = fresh();
    fs::create_dir(&path).unwrap();
    fs::write(path.join("thesis.tex"), b"years").unwrap();
    let error =
        ReductionWriter::create(&path, &params(), layout(SampleType::U8), true).unwrap_err();
    assert!(matches!(error, Error::NotResults { .. }), "{error}");
    assert_eq!(fs::read(path.join("thesis.tex")).unwrap(), b"years");
    assert_eq!(ReductionReader::open(&path).unwrap_err().exit_code(), 66);
}

#[test]
fn a_series_of_another_shape_or_type_is_refused() {
    let (_folder, path) = fresh();
    let writer = begin(&path, SampleType::U16);
    let shards = writer.shards().to_vec();
    let wrong_type = writer.write_shard(&shards[0], &ring(&shards[0], SampleType::U8), &());
    assert!(matches!(wrong_type, Err(Error::Value { .. })));
    let wrong_shape = writer.write_shard(&shards[0], &ring(&shards[1], SampleType::U16), &());
    assert!(matches!(wrong_shape, Err(Error::Value { .. })));
    assert_eq!(writer.n_done(), 0);
}

#[test]
fn a_full_disk_has_its_own_words_and_exit_code() {
    let error = Error::Io {
        path: "reduction.zarr/ring_counts/c/0/0/0/0".into(),
        action: "write",
        source: std::io::ErrorKind::StorageFull.into(),
    };
    assert_eq!(error.exit_code(), 74);
    assert!(error.to_string().contains("disk is full"), "{error}");
}

#[cfg(unix)]
#[test]
fn a_folder_without_permission_is_77_and_nothing_is_lost() {
    use std::os::unix::fs::PermissionsExt as _;
    let (folder, path) = fresh();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o500)).unwrap();
    // The superuser may write anywhere; there is nothing to see then.
    let is_superuser = fs::write(folder.path().join("probe"), b"").is_ok();
    let created = ReductionWriter::create(&path, &params(), layout(SampleType::U8), false);
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o700)).unwrap();
    if !is_superuser {
        assert_eq!(created.unwrap_err().exit_code(), 77);
    }
}
