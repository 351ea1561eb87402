//! Maps while scans arrive, from writers that flush half frames; the end is that of the finished record.

use std::fs::{self, File};
use std::io::Write as _;
use std::process::Child;
use std::thread;
use std::time::Duration;

use serde_json::Value;

use crate::experiment::{Experiment, Outcome, SHAPE, noise, signal};

const SCAN: usize = 2 * 16 * 16 * 32 * 32;

/// Starts following in `out`.
fn follow(experiment: &Experiment, idle_s: &str) -> Child {
    let words = format!("run recipe.toml -o out --follow --follow-idle {idle_s}");
    experiment.command(&words).spawn().unwrap()
}

/// The state that was written last; `Null` before the first.
fn state(experiment: &Experiment) -> Value {
    let text = fs::read(experiment.path("out/live.json")).unwrap_or_default();
    match text.is_empty() {
        true => Value::Null,
        // Whoever looks finds a whole file.
        false => serde_json::from_slice(&text).unwrap(),
    }
}

/// Waits for the maps of so many scans, half a minute at most.
fn wait_for(experiment: &Experiment, n_times: usize, child: &mut Child) {
    for _ in 0..1500 {
        let found = state(experiment)["n_times"].as_u64().unwrap_or(0);
        if found >= n_times as u64 {
            return;
        }
        assert!(
            child.try_wait().unwrap().is_none(),
            "it ended at {found} scans"
        );
        thread::sleep(Duration::from_millis(20));
    }
    panic!("no maps of {n_times} scans: {}", state(experiment));
}

/// Writes bytes in pieces that end anywhere.
fn write_in_pieces(file: &mut File, bytes: &[u8]) {
    for piece in bytes.chunks(177_777) {
        file.write_all(piece).unwrap();
        file.flush().unwrap();
        thread::sleep(Duration::from_millis(2));
    }
}

/// Compares the end with a run on what is there now.
fn compare(experiment: &Experiment, settings: &str) {
    experiment
        .call(&format!("run recipe.toml -o whole -q {settings}"))
        .is(0);
    assert!(experiment.arrays("out") == experiment.arrays("whole"));
}

#[test]
fn a_growing_file_is_followed_scan_by_scan_and_after_a_stop() {
    let experiment = Experiment::without_data(SHAPE);
    let data = noise(SHAPE);
    let mut following = follow(&experiment, "30");
    // The file need not be there yet.
    thread::sleep(Duration::from_millis(100));
    let mut file = File::create(experiment.path("data.raw")).unwrap();
    let half_frame = 10 * SCAN + SCAN / 2 + 1023;
    write_in_pieces(&mut file, &data[..half_frame]);
    wait_for(&experiment, 10, &mut following);
    thread::sleep(Duration::from_millis(700));
    let state = state(&experiment);
    assert_eq!(state["n_times"], 10, "half a scan was read: {state}");
    assert_eq!(state["expected"], 24);
    assert!(state["behind_s"].as_f64().unwrap() < 30.0);
    assert!(state["calibration"]["measured_on_scans"].as_u64().unwrap() <= 10);
    let maps = fs::read_to_string(experiment.path("out/live.csv")).unwrap();
    assert!(
        maps.starts_with("# halotau live maps: scans 1 to 10 of 24"),
        "{maps}"
    );
    assert_eq!(maps.lines().count(), 2 + 256);

    signal(&following, "INT");
    let stopped: Outcome = following.wait_with_output().unwrap().into();
    stopped.is(130);
    assert!(experiment.path("out/live.csv").is_file());
    let mut following = follow(&experiment, "30");
    write_in_pieces(&mut file, &data[half_frame..20 * SCAN + 1]);
    wait_for(&experiment, 20, &mut following);
    write_in_pieces(&mut file, &data[20 * SCAN + 1..]);
    let ended: Outcome = following.wait_with_output().unwrap().into();
    let ended = ended.is(0).says("scan 24 of 24 · ").says(" s behind");
    assert!(!ended.stderr.contains("no new scan"), "{}", ended.stderr);
    compare(&experiment, "");
}

#[test]
fn a_record_that_ends_early_is_its_whole_scans() {
    let experiment = Experiment::without_data(SHAPE);
    let data = noise(SHAPE);
    fs::write(experiment.path("data.raw"), &data[..9 * SCAN + 2049]).unwrap();
    let ended: Outcome = follow(&experiment, "0.6")
        .wait_with_output()
        .unwrap()
        .into();
    ended.is(0).says("taken as ended after 9 scans");
    let recipe = fs::read_to_string(experiment.path("out/recipe.toml")).unwrap();
    assert!(recipe.contains("\nn_times = 9"), "{recipe}");
    compare(&experiment, "-s data[0].n_times=9");
}

#[test]
fn files_that_appear_in_a_folder_are_scans() {
    let experiment = Experiment::without_data(SHAPE);
    let data = noise(SHAPE);
    let recipe = fs::read_to_string(experiment.path("recipe.toml")).unwrap();
    let recipe = recipe
        .replace("data.raw", "scans")
        .replace("shape = [24,", "shape = [12,");
    fs::write(experiment.path("recipe.toml"), recipe).unwrap();
    fs::create_dir(experiment.path("scans")).unwrap();
    let mut following = follow(&experiment, "30");
    for (number, scan) in data.chunks(SCAN).take(12).enumerate() {
        let path = experiment.path(&format!("scans/scan{number}.raw"));
        let mut file = File::create(path).unwrap();
        file.write_all(&scan[..SCAN / 3]).unwrap();
        if number == 9 {
            wait_for(&experiment, 9, &mut following);
            thread::sleep(Duration::from_millis(600));
            assert_eq!(state(&experiment)["n_times"], 9);
        }
        file.write_all(&scan[SCAN / 3..]).unwrap();
    }
    let ended: Outcome = following.wait_with_output().unwrap().into();
    ended.is(0);
    compare(&experiment, "");
}
