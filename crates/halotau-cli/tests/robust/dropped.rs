//! Frames that the camera lost: said, marked, and in no pair of scans.

use std::fs;

use crate::experiment::Experiment;

const N_TIMES: usize = 12;
const ROWS: usize = 4;
const COLS: usize = 4;
const SIDE: usize = 32;

/// Numbers of the frames that were lost: one of the third scan, three in a row of the sixth.
const LOST: [usize; 4] = [37, 90, 91, 92];

/// Counts that move from one pattern to another in the course of the record.
fn count(frame: usize, pixel: usize) -> u16 {
    let (time, position) = (frame / (ROWS * COLS), frame % (ROWS * COLS));
    let drawn = |which: usize| {
        let mixed = (which * 65_537 + position * 1_024 + pixel) as u32 + 1;
        f64::from(mixed.wrapping_mul(2_654_435_761) >> 26)
    };
    let late = time as f64 / N_TIMES as f64;
    ((1.0 - late) * drawn(1) + late * drawn(2)) as u16
}

/// A Merlin file whose frames are numbered by the camera.
fn recording() -> Vec<u8> {
    let mut bytes = Vec::new();
    for frame in (0..N_TIMES * ROWS * COLS).filter(|frame| !LOST.contains(frame)) {
        let text = format!(
            "MQ1,{:06},00384,01,{SIDE:04},{SIDE:04},U16,   1x1,0F,2021-04-15 16:00:00.{:06},0.000500,0,0,0,2.0E+0,5.11E+2,",
            frame + 1,
            frame * 1000
        );
        let mut header = text.into_bytes();
        header.resize(384, 0);
        bytes.extend(header);
        bytes.extend((0..SIDE * SIDE).flat_map(|pixel| count(frame, pixel).to_be_bytes()));
    }
    bytes
}

/// What is left of g after a quarter to a third of the record, by the definition: every pair of scans that are both there.
fn persistence(position: usize) -> f64 {
    let center = (SIDE as f64 - 1.0) / 2.0;
    let ring: Vec<usize> = (0..SIDE * SIDE)
        .filter(|pixel| {
            let (row, col) = ((pixel / SIDE) as f64, (pixel % SIDE) as f64);
            (4.2..4.6).contains(&(0.45 * (row - center).hypot(col - center)))
        })
        .collect();
    let scan = |time: usize| -> Option<Vec<f64>> {
        let frame = time * ROWS * COLS + position;
        let counts = ring.iter().map(|&pixel| f64::from(count(frame, pixel)));
        (!LOST.contains(&frame)).then(|| counts.collect())
    };
    let g = |lag: usize| {
        let pairs = (0..N_TIMES - lag).filter_map(|time| Some((scan(time)?, scan(time + lag)?)));
        let values: Vec<f64> = pairs
            .map(|(early, late)| {
                let product: f64 = early
                    .iter()
                    .zip(&late)
                    .map(|(early, late)| early * late)
                    .sum();
                product * ring.len() as f64 / (early.iter().sum::<f64>() * late.iter().sum::<f64>())
            })
            .collect();
        values.iter().sum::<f64>() / values.len() as f64
    };
    let excess = |lags: std::ops::RangeInclusive<usize>| {
        let n = lags.clone().count() as f64;
        lags.map(|lag| g(lag) - 1.0).sum::<f64>() / n
    };
    excess(N_TIMES / 4..=N_TIMES / 3) / excess(1..=3)
}

#[test]
fn dropped_frames_are_said_flagged_and_in_no_pair() {
    let experiment = Experiment::without_data([N_TIMES, ROWS, COLS, SIDE, SIDE]);
    fs::write(experiment.path("data.mib"), recording()).unwrap();
    let recipe = format!(
        "[[data]]\npath = \"data.mib\"\nshape = [{N_TIMES}, {ROWS}, {COLS}, {SIDE}, {SIDE}]\ntemperature_k = 633.0\nperiod_s = 10.0\n\
         [scan]\nstep_nm = 0.5\n\
         [drift]\nmethod = \"none\"\n\
         [pattern]\nq_step_per_nm = 0.45\ncenter = [15.5, 15.5]\nbin = 1\n\
         [dynamics]\nnormalization = \"ring\"\nq_range_per_nm = [4.2, 4.6]\n\
         [relaxation]\nestimator = \"least_squares\"\n\
         [structure]\nq_range_per_nm = [3.0, 6.0]\n\
         [output]\nmax_bad = 1.0\npng = false\n"
    );
    fs::write(experiment.path("recipe.toml"), recipe).unwrap();
    experiment
        .call("run recipe.toml -o out")
        .is(0)
        .says("4 frames were lost between the first and the last");
    experiment.call("export out -o maps --to npy -q").is(0);
    let numbers = |name: &str, width: usize| -> Vec<Vec<u8>> {
        let bytes = fs::read(experiment.path(&format!("maps/{name}.npy"))).unwrap();
        let values = &bytes[bytes.len() - width * ROWS * COLS..];
        values.chunks(width).map(<[u8]>::to_vec).collect()
    };
    let partial = |bytes: Vec<u8>| u32::from_le_bytes(bytes.try_into().unwrap()) >> 15 & 1 == 1;
    let flags: Vec<bool> = numbers("quality", 4).into_iter().map(partial).collect();
    let lost_at = |position: usize| LOST.iter().any(|lost| lost % (ROWS * COLS) == position);
    assert_eq!(flags, (0..ROWS * COLS).map(lost_at).collect::<Vec<_>>());
    for (position, bytes) in numbers("persistence", 8).into_iter().enumerate() {
        let found = f64::from_le_bytes(bytes.try_into().unwrap());
        let expected = persistence(position);
        assert!(
            (found - expected).abs() < 1e-9,
            "position {position}: {found} against {expected}"
        );
    }
}
