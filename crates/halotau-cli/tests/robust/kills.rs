//! Killed at random moments and at single system calls, the next run ends with the same bytes.

use std::thread;
use std::time::Duration;

use crate::experiment::{Experiment, has};

/// Kills at random moments; `HALOTAU_KILLS` asks for more.
const N_KILLS: usize = 10;

#[test]
fn killed_at_random_moments_the_next_run_ends_with_the_same_bytes() {
    let experiment = Experiment::new();
    let whole = experiment.whole();
    let asked = std::env::var("HALOTAU_KILLS").ok();
    let n_kills = asked.map_or(N_KILLS, |number| number.parse().unwrap());
    // A Weyl sequence: moments that fill the length of a run evenly, in no order.
    let (mut fraction, mut longest_us) = (0.5_f64, 400_000.0);
    let (mut n_resumed, mut n_early, mut n_late) = (0, 0, 0);
    for number in 0..n_kills {
        fraction = (fraction + 0.618_033_988_75).fract();
        let mut child = experiment
            .command("reduce recipe.toml -o out -q")
            .spawn()
            .unwrap();
        thread::sleep(Duration::from_micros((longest_us * fraction) as u64));
        let ended = child.try_wait().unwrap().is_some();
        child.kill().unwrap();
        child.wait().unwrap();
        if ended {
            // The machine is faster than was thought.
            longest_us *= 0.9;
            n_late += 1;
        }
        let begun = experiment.path("out/reduction.zarr").exists();
        n_early += usize::from(!begun);
        let resumed = experiment.resumes_to(&whole, &format!("kill {number}"));
        n_resumed += usize::from(resumed.stderr.contains("resuming: "));
        std::fs::remove_dir_all(experiment.path("out")).unwrap();
    }
    println!(
        "{n_kills} kills: {n_early} before the first file, {n_late} after the end, {n_resumed} resumed"
    );
}

#[test]
fn killed_at_system_calls_the_next_run_ends_with_the_same_bytes() {
    if !has("strace", "killing at system calls") {
        return;
    }
    let experiment = Experiment::new();
    let whole = experiment.whole();
    let mut n_killed = 0;
    for (call, number) in [
        ("flock", 1),
        ("fsync", 1),
        ("fsync", 14),
        ("fsync", 3),
        ("rename", 2),
        ("rename", 9),
        ("mkdir", 6),
        ("ftruncate", 1),
    ] {
        let event = format!("signal=KILL:when={number}");
        let killed = experiment.injected(call, &event, "reduce recipe.toml -o out -q");
        n_killed += usize::from(killed.code != Some(0));
        experiment.resumes_to(&whole, &format!("{call}:{event}"));
        std::fs::remove_dir_all(experiment.path("out")).unwrap();
    }
    println!("{n_killed} of 8 runs were killed");
    assert!(n_killed >= 5, "only {n_killed} runs were killed");
}
