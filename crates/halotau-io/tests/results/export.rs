//! Exports.

use std::fs;
use std::path::Path;

use halotau::series::SampleType;
use halotau_io::analysis_folder::write_analysis;
use halotau_io::export::{
    Comments, write_hdf5, write_maps_csv, write_npys, write_series_csv, write_tiffs,
};
use halotau_io::reduction_folder::ReductionWriter;
use serde_json::json;

use crate::fabricated::{N_COLS, N_ROWS, analysis, layout, reduction, ring, study};

#[test]
fn maps_are_a_tidy_table() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("maps.csv");
    let analysis = analysis();
    write_maps_csv(&path, &analysis, Comments::Without).unwrap();
    let text = fs::read_to_string(&path).unwrap();
    let mut lines = text.lines();
    assert_eq!(
        lines.next().unwrap(),
        "row,col,row_nm,col_nm,tau_s,tau_lower_s,tau_upper_s,contrast,stretch,fluctuation,fluctuation_error,\
         persistence,mean_counts,ring_intensity,thickness_proxy,quality,flags"
    );
    let rows: Vec<Vec<&str>> = lines.map(|line| line.split(',').collect()).collect();
    assert_eq!(rows.len(), N_ROWS * N_COLS);
    // Row 2, col 2 of a region that begins at row 1, col 2 of the scan, in steps of 0.8 nm.
    let row = &rows[2 * N_COLS + 2];
    assert_eq!(row[..2], ["2", "2"]);
    assert_eq!(row[2].parse::<f64>().unwrap(), 3.0 * 0.8);
    assert_eq!(row[3].parse::<f64>().unwrap(), 4.0 * 0.8);
    assert_eq!(
        row[4].parse::<f64>().unwrap(),
        analysis.relaxation.tau_s[[2, 2]]
    );
    assert_eq!(row[6], "inf");
    assert_eq!(row[15..], ["2112", "low_counts tau_gt_window"]);
    // No value is an empty field.
    assert_eq!(rows[1][4], "");

    write_maps_csv(&path, &analysis, Comments::With).unwrap();
    let commented = fs::read_to_string(&path).unwrap();
    let without: String = commented
        .lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| format!("{line}\n"))
        .collect();
    assert_eq!(without, text);
    assert!(commented.starts_with(&format!("# halotau {}", env!("CARGO_PKG_VERSION"))));
}

#[test]
fn a_series_has_one_row_a_temperature() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("series.csv");
    let mut study = study();
    study.analyses[0].name = "a, \"quoted\" name".to_owned();
    write_series_csv(&path, &study, Comments::Without).unwrap();
    let text = fs::read_to_string(&path).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 4);
    assert!(lines[0].starts_with(
        "temperature_k,name,n_positions,n_valid,n_censored,tau_mean_s,tau_mean_error_s,"
    ));
    assert!(lines[1].starts_with("633.15,\"a, \"\"quoted\"\" name\",20,19,1,"));
    assert_eq!(lines[3].split(',').count(), lines[0].split(',').count());
}

#[test]
fn tiffs_and_npys_hold_every_map() {
    let folder = tempfile::tempdir().unwrap();
    let analysis = analysis();
    let tiffs = write_tiffs(&folder.path().join("tiff"), &analysis).unwrap();
    let npys = write_npys(&folder.path().join("npy"), &analysis).unwrap();
    assert_eq!(tiffs.len() + 1, npys.len());
    let mut decoder =
        tiff::decoder::Decoder::new(fs::File::open(folder.path().join("tiff/tau_s.tif")).unwrap())
            .unwrap();
    assert_eq!(
        decoder.dimensions().unwrap(),
        (N_COLS as u32, N_ROWS as u32)
    );
    let tiff::decoder::DecodingResult::F32(values) = decoder.read_image().unwrap() else {
        panic!("not 32-bit floats");
    };
    for (written, &value) in values.iter().zip(&analysis.relaxation.tau_s) {
        assert_eq!(written.to_bits(), (value as f32).to_bits());
    }
    let npy = fs::read(folder.path().join("npy/tau_s.npy")).unwrap();
    let numbers: Vec<u8> = analysis
        .relaxation
        .tau_s
        .iter()
        .flat_map(|value| value.to_le_bytes())
        .collect();
    assert_eq!(npy.len() % 64, numbers.len() % 64);
    assert!(npy.ends_with(&numbers));
}

#[test]
fn hdf5_reads_back() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("results.h5");
    let analysis = analysis();
    write_hdf5(&path, &analysis, "seed = 1\n").unwrap();
    let file = rust_hdf5::H5File::open(&path).unwrap();
    let values = file
        .dataset("entry/fluctuation/fluctuation")
        .unwrap()
        .read_raw::<f64>()
        .unwrap();
    assert_eq!(
        values,
        analysis
            .fluctuation
            .values
            .iter()
            .copied()
            .collect::<Vec<_>>()
    );
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}

/// Leaves one of everything in the target folder, for `tests/python/test_interop.py` to open in other programs.
#[test]
fn leaves_results_for_other_programs() {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("interop");
    match fs::remove_dir_all(&folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => panic!("{error}"),
        _ => {}
    }
    let analysis = analysis();
    write_analysis(&folder.join("analysis.zarr"), &analysis, "seed = 1\n").unwrap();
    write_maps_csv(&folder.join("maps.csv"), &analysis, Comments::With).unwrap();
    write_series_csv(&folder.join("series.csv"), &study(), Comments::With).unwrap();
    write_tiffs(&folder.join("tiff"), &analysis).unwrap();
    write_npys(&folder.join("npy"), &analysis).unwrap();
    write_hdf5(&folder.join("results.h5"), &analysis, "seed = 1\n").unwrap();
    let path = folder.join("reduction.zarr");
    let writer =
        ReductionWriter::create(&path, &json!({"ring": 1}), layout(SampleType::U16), false)
            .unwrap();
    for shard in writer.shards().to_vec() {
        writer
            .write_shard(&shard, &ring(&shard, SampleType::U16), &())
            .unwrap();
    }
    writer.finish(&reduction(SampleType::U16)).unwrap();
}
