//! Do the real sample files read to the values that other programs give?
//!
//! The files have licenses of their own and are not part of this project: the variable `HALOTAU_SAMPLES` names the folder that
//! holds `formats/INDEX.md` and the files. Without it the tests say that they skipped.

use std::path::PathBuf;

use halotau_io::OpenRequest;
use serde_json::Value;

use crate::reading::read_all;

/// The folder of the samples.
pub(crate) fn folder() -> Option<PathBuf> {
    let folder =
        std::env::var_os("HALOTAU_SAMPLES").map(|folder| PathBuf::from(folder).join("formats"));
    if folder.is_none() {
        eprintln!("skipped: HALOTAU_SAMPLES does not name a folder of sample files");
    }
    folder
}

/// The values of the index for a file, one object a line that follows its name.
fn expected(index: &str, file: &str) -> Option<Value> {
    let start = index.find(&format!("`{file}`"))?;
    let line = index[start..].lines().nth(1)?;
    serde_json::from_str(line.trim().trim_start_matches("- ").trim_matches('`')).ok()
}

/// Reads a file and compares it with the index.
pub(crate) fn check(file: &str, request: impl FnOnce(PathBuf) -> OpenRequest) {
    let Some(folder) = folder() else { return };
    let index = std::fs::read_to_string(folder.join("INDEX.md")).unwrap();
    let expected = expected(&index, file).unwrap();
    check_values(file, &expected, &request(folder.join(file)));
}

/// Reads a request and compares it with values of the index.
pub(crate) fn check_values(file: &str, expected: &Value, request: &OpenRequest) {
    let (source, samples) = read_all(request);
    let shape = source.header().shape;
    let lens: Vec<u64> = expected["shape"]
        .as_array()
        .unwrap()
        .iter()
        .map(|len| len.as_u64().unwrap())
        .collect();
    assert_eq!(
        lens.iter().product::<u64>() as usize,
        samples.len(),
        "{file}: {shape}"
    );
    assert_eq!(
        lens[lens.len() - 2..],
        [shape.pattern_rows as u64, shape.pattern_cols as u64],
        "{file}"
    );
    let frame_len = shape.frame_len();
    let last = &samples[samples.len() - frame_len..];
    let wsum = |(idx, value): (usize, &f64)| {
        let (row, col) = (idx / shape.pattern_cols, idx % shape.pattern_cols);
        value * (3 * row + 7 * col + 1) as f64
    };
    let values = [
        ("sum", samples.iter().sum::<f64>()),
        ("min", samples.iter().copied().fold(f64::INFINITY, f64::min)),
        (
            "max",
            samples.iter().copied().fold(f64::NEG_INFINITY, f64::max),
        ),
        ("frame0_sum", samples[..frame_len].iter().sum()),
        ("frameN_sum", last.iter().sum()),
        ("lastframe_wsum", last.iter().enumerate().map(wsum).sum()),
    ];
    for (key, found) in values {
        if let Some(value) = expected[key].as_f64() {
            let close = (found - value).abs() <= 1e-6 * value.abs();
            assert!(close, "{file}: {key} is {found}, not {value}");
        }
    }
}

#[test]
fn block_files() {
    check("blo/test2.blo", OpenRequest::new);
}

#[test]
fn merlin_recordings() {
    for file in [
        "mib/Quad_1_Frame_CounterDepth_12_Rows_256.mib",
        "mib/Quad_1_Frame_CounterDepth_1_Rows_256RAW.mib",
        "mib/Quad_1_Frame_CounterDepth_6_Rows_256.mib",
        "mib/Single_1_Frame_CounterDepth_1_Rows_256RAW.mib",
        "mib/Single_1_Frame_CounterDepth_24_Rows_256.mib",
        "mib/Single_9_Frame_CounterDepth_12_Rows_256.mib",
        "mib/Single_9_Frame_CounterDepth_6_Rows_256.mib",
        "mib_nist/300kV_CL_160mm.mib",
        "mib_scan/001_4x2_6bit.mib",
    ] {
        check(file, OpenRequest::new);
    }
}
