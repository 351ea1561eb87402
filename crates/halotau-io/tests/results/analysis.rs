//! The folder of an analysis.

use std::fs;

use halotau::analysis::Analysis;
use halotau::axes::{TimeAxis, TimeBasis};
use halotau::conditions::Conditions;
use halotau::ndarray::Array3;
use halotau_io::Error;
use halotau_io::analysis_folder::{read_analysis, write_analysis};

use crate::fabricated::{Stream, analysis, exactly, files};

#[test]
fn comes_back_bit_for_bit() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("analysis.zarr");
    write_analysis(&path, &analysis(), "seed = 1\n").unwrap();
    assert_eq!(
        exactly(&read_analysis(&path).unwrap()),
        exactly(&analysis())
    );
    // Nothing is left beside it.
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn the_same_analysis_gives_the_same_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let [first, second] = ["first.zarr", "second.zarr"].map(|name| folder.path().join(name));
    write_analysis(&first, &analysis(), "").unwrap();
    write_analysis(&second, &analysis(), "").unwrap();
    assert_eq!(files(&first), files(&second));
}

#[test]
fn what_is_absent_stays_absent() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("analysis.zarr");
    let (n_rows, n_cols) = analysis().quality.dim();
    let mut bare = Analysis {
        step_nm: f64::NAN,
        temperature_k: f64::NAN,
        time: TimeAxis::uniform(1, 1.0, TimeBasis::Period).unwrap(),
        two_time: Vec::new(),
        two_time_all: None,
        flattening: None,
        interval_factor: None,
        q_dependence: None,
        distant_baseline: None,
        examples: None,
        ensemble_g: Vec::new(),
        ..analysis()
    };
    bare.conditions = Conditions::ideal(1, (n_rows, n_cols));
    bare.curves.lag_s.clear();
    bare.curves.n_pairs.clear();
    bare.curves.g = Array3::zeros((n_rows, n_cols, 0));
    bare.curves.g_error = Array3::zeros((n_rows, n_cols, 0));
    write_analysis(&path, &bare, "").unwrap();
    assert_eq!(exactly(&read_analysis(&path).unwrap()), exactly(&bare));
}

#[test]
fn earlier_results_stay_until_the_new_ones_are_whole() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("analysis.zarr");
    let first = analysis();
    write_analysis(&path, &first, "").unwrap();
    // A part that does not fit is noticed in the middle of writing.
    let mut broken = analysis();
    broken.ensemble_g.pop();
    assert!(matches!(
        write_analysis(&path, &broken, ""),
        Err(Error::Value { .. })
    ));
    assert_eq!(exactly(&read_analysis(&path).unwrap()), exactly(&first));
    // A run that was killed between the two renames is put right by the next.
    fs::rename(&path, folder.path().join(".analysis.zarr.old")).unwrap();
    assert!(write_analysis(&path, &broken, "").is_err());
    assert_eq!(exactly(&read_analysis(&path).unwrap()), exactly(&first));
    let second = Analysis {
        name: "second".to_owned(),
        ..analysis()
    };
    write_analysis(&path, &second, "").unwrap();
    assert_eq!(read_analysis(&path).unwrap().name, "second");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn damage_is_an_error_that_names_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("analysis.zarr");
    write_analysis(&path, &analysis(), "").unwrap();
    let good = files(&path);
    let mut stream = Stream::new(3);
    let names: Vec<&String> = good.keys().collect();
    for _ in 0..60 {
        let name = names[stream.bits() as usize % names.len()];
        let mut bytes = good[name].clone();
        let bit = stream.bits() as usize % (8 * bytes.len());
        bytes[bit / 8] ^= 1 << (bit % 8);
        fs::write(path.join(name), bytes).unwrap();
        assert!(read_analysis(&path).is_err(), "{name} bit {bit}");
        fs::write(path.join(name), &good[name]).unwrap();
    }
    fs::remove_file(path.join("tau_s/c/0/0")).unwrap();
    let error = read_analysis(&path).unwrap_err();
    assert!(
        error.to_string().ends_with(
            "tau_s/c/0/0: the file is missing; restore it from a copy, or analyze again"
        )
    );
    assert_eq!(error.exit_code(), 65);
}

#[test]
fn a_folder_of_something_else_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("analysis.zarr");
    fs::create_dir(&path).unwrap();
    fs::write(path.join("thesis.tex"), b"years").unwrap();
    assert!(matches!(
        write_analysis(&path, &analysis(), ""),
        Err(Error::NotResults { .. })
    ));
    assert_eq!(fs::read(path.join("thesis.tex")).unwrap(), b"years");
}
