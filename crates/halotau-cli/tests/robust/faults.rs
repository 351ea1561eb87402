//! Rows of the fault matrix: what the user reads, which code a script gets, what is kept.

use std::fs;
use std::io::Read as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::experiment::{
    Experiment, Outcome, SHAPE, has, is_superuser, noise, open_to_others, signal,
};
use crate::threads::smallest_budget;

const REDUCE: &str = "reduce recipe.toml -o out -q";

#[test]
fn truncated_data_are_65_with_the_whole_frames_and_scans() {
    let experiment = Experiment::without_data(SHAPE);
    let data = noise(SHAPE);
    let frame = 2 * 32 * 32;
    let scan = 256 * frame;
    for cut in [1, frame - 1, frame, frame + 1, scan, 5 * scan + 7] {
        let left = data.len() - cut;
        fs::write(experiment.path("data.raw"), &data[..left]).unwrap();
        let words = format!(
            "the file has {left}: {} whole frames, {} whole scans",
            left / frame,
            left / scan
        );
        experiment.call(REDUCE).is(65).says("E0309").says(&words);
    }
    fs::write(experiment.path("data.raw"), b"").unwrap();
    experiment.call(REDUCE).is(65);
}

#[test]
fn a_file_that_shrinks_while_it_is_read_is_74_and_the_process_lives() {
    let experiment = Experiment::long();
    let child = experiment.started("reduce recipe.toml -o out -q --threads 1");
    signal(&child, "STOP");
    let data = fs::File::options()
        .write(true)
        .open(experiment.path("data.raw"))
        .unwrap();
    data.set_len(1 << 20).unwrap();
    signal(&child, "CONT");
    let ended: Outcome = child.wait_with_output().unwrap().into();
    ended.is(74).says("did it change while it was read");
}

#[test]
fn missing_inputs_and_folders_without_data_are_66() {
    let experiment = Experiment::without_data(SHAPE);
    experiment.call(REDUCE).is(66).says("data.raw");
    fs::create_dir(experiment.path("data.raw")).unwrap();
    experiment.call(REDUCE).is(66).says("E0401");
}

#[test]
fn a_full_disk_is_74_and_the_same_command_goes_on() {
    let experiment = Experiment::new();
    let whole = experiment.whole();
    let out = experiment.path("out");
    fs::create_dir(&out).unwrap();
    let Some(_disk) = SmallDisk::mount(&out, "3m") else {
        eprintln!("skipped: a full disk needs the right to mount");
        return;
    };
    let full = experiment.call(REDUCE).is(74).says("E0412");
    assert!(full.stderr.contains("the disk is full"), "{}", full.stderr);
    assert!(full.stderr.contains("free space"), "{}", full.stderr);
    // Nothing half written takes room away, and what was complete stays.
    let kept = experiment.bytes("out");
    assert!(
        kept.keys()
            .any(|name| name.starts_with("reduction.zarr/sums/"))
    );
    assert!(mount(&["-o", "remount,size=64m"], &out));
    experiment
        .resumes_to(&whole, "full disk")
        .says("resuming: ");
}

/// A file system of its own that takes so much and no more.
struct SmallDisk<'a>(&'a Path);

impl<'a> SmallDisk<'a> {
    fn mount(folder: &'a Path, size: &str) -> Option<Self> {
        let size = format!("size={size}");
        let mounted = is_superuser() && mount(&["-t", "tmpfs", "-o", &size, "none"], folder);
        mounted.then_some(Self(folder))
    }
}

impl Drop for SmallDisk<'_> {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.0).status();
    }
}

fn mount(options: &[&str], folder: &Path) -> bool {
    let mut command = Command::new("mount");
    command.args(options).arg(folder).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

#[test]
fn a_limit_of_file_size_is_74_and_the_same_command_goes_on() {
    let experiment = Experiment::new();
    let whole = experiment.whole();
    let limited = experiment
        .below(&["sh", "-c", "ulimit -f 300; exec \"$0\" \"$@\""], REDUCE)
        .output()
        .unwrap();
    Outcome::from(limited).is(74).says("E0412");
    experiment.bytes("out");
    experiment.resumes_to(&whole, "file size limit");
}

#[test]
fn signals_end_it_with_their_code_and_the_same_command_goes_on() {
    let experiment = Experiment::long();
    for (name, code) in [("INT", 130), ("TERM", 143)] {
        let child = experiment.started("reduce recipe.toml -o out -q --threads 1");
        signal(&child, name);
        let ended: Outcome = child.wait_with_output().unwrap().into();
        ended.is(code).says("the same command goes on from there");
        let kept = experiment.bytes("out/reduction.zarr");
        let sums = kept.keys().filter(|name| name.starts_with("sums/")).count();
        assert!((1..7).contains(&sums), "{sums} shards after {name}");
    }
    let resumed = experiment.call("reduce recipe.toml -o out").is(0);
    resumed.says("resuming: ");
}

#[test]
fn a_read_that_fails_once_is_repeated_and_a_broken_disk_is_74() {
    if !has("strace", "reads that fail") {
        return;
    }
    let experiment = Experiment::new();
    let whole = experiment.whole();
    let inject = |call: &str, event: &str| {
        experiment.injected(call, event, "reduce recipe.toml -o out -q --threads 1")
    };
    inject("pread64", "error=EIO:when=7").is(0);
    assert!(experiment.bytes("out/reduction.zarr") == whole);
    fs::remove_dir_all(experiment.path("out")).unwrap();
    inject("pread64", "error=EINTR:when=7").is(0);
    fs::remove_dir_all(experiment.path("out")).unwrap();
    let broken = inject("pread64", "error=EIO:when=7+").is(74);
    assert!(
        broken.stderr.contains("data.raw")
            && broken.stderr.contains(" at byte ")
            && broken.stderr.contains("tried 3 times"),
        "{}",
        broken.stderr
    );
    experiment.resumes_to(&whole, "broken disk");
    fs::remove_dir_all(experiment.path("out")).unwrap();
    // One bad place: the other shards are there afterwards.
    let words = "reduce recipe.toml -o out --threads 1 --keep-going";
    let failed = experiment.injected("pread64", "error=EIO:when=40..42", words);
    failed.is(74).says("going on with the others");
    let resumed = experiment.resumes_to(&whole, "bad place");
    resumed.says("resuming: 7 of 8 shards");
    fs::remove_dir_all(experiment.path("out")).unwrap();
    // A flush that failed may have lost the bytes: the file does not count, and the flush is not repeated.
    inject("fsync", "error=EIO:when=3").is(74);
    experiment.bytes("out");
    experiment.resumes_to(&whole, "failed flush");
}

#[test]
fn missing_permissions_are_77_with_the_path() {
    let experiment = Experiment::new();
    let locked = experiment.path("locked");
    fs::create_dir(&locked).unwrap();
    open_to_others(&locked, 0o555);
    open_to_others(experiment.path("").as_path(), 0o755);
    let program = experiment.path("halotau");
    fs::copy(env!("CARGO_BIN_EXE_halotau"), &program).unwrap();
    // The superuser may do everything and becomes nobody for this.
    let call = |words: &str| -> Outcome {
        let mut command = Command::new(&program);
        command
            .args(words.split_whitespace())
            .current_dir(experiment.path(""));
        if is_superuser() {
            command.uid(65_534).gid(65_534);
        }
        command.output().unwrap().into()
    };
    call("reduce recipe.toml -o locked/out -q")
        .is(77)
        .says("locked");
    open_to_others(&experiment.path("data.raw"), 0o000);
    call("reduce recipe.toml -o locked/out -q")
        .is(77)
        .says("data.raw");
}

#[test]
fn a_second_run_is_75_and_says_who_is_at_work() {
    let experiment = Experiment::long();
    let mut first = experiment.started("reduce recipe.toml -o out -q");
    signal(&first, "STOP");
    let before = experiment.bytes("out");
    let second = experiment.call(REDUCE).is(75).says("E0406");
    let holder = format!("process {}", first.id());
    let mut host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    host.truncate(host.trim_end().len());
    assert!(
        second.stderr.contains(&holder)
            && second.stderr.contains(&host)
            && second.stderr.contains(" since 20"),
        "{}",
        second.stderr
    );
    experiment
        .call("reduce recipe.toml -o out -q --restart")
        .is(75);
    assert!(experiment.bytes("out") == before);
    signal(&first, "CONT");
    let mut words = String::new();
    let status = first.wait().unwrap();
    first
        .stderr
        .take()
        .unwrap()
        .read_to_string(&mut words)
        .unwrap();
    assert_eq!(status.code(), Some(0), "{words}");
}

#[test]
fn too_little_memory_is_71_with_the_smallest_that_works() {
    let experiment = Experiment::new();
    let refused = experiment
        .call("reduce recipe.toml -o out -q --memory 100kB")
        .is(71);
    assert!(!experiment.path("out/reduction.zarr").exists());
    let least = smallest_budget(&refused.stderr);
    experiment
        .call(&format!("reduce recipe.toml -o out -q --memory {least}"))
        .is(0);
    fs::remove_dir_all(experiment.path("out")).unwrap();
    // A limit of the process is planned with: refused with words, or kept; never an abort.
    for limit_kib in [150_000, 400_000, 1_000_000] {
        let limit = format!("ulimit -v {limit_kib}; exec \"$0\" \"$@\"");
        let output = experiment.below(
            &["sh", "-c", &limit],
            "reduce recipe.toml -o out -q --threads 2",
        );
        let outcome: Outcome = { output }.output().unwrap().into();
        assert!(
            matches!(outcome.code, Some(0 | 71)),
            "{limit_kib} KiB: {:?} {}",
            outcome.code,
            outcome.stderr
        );
    }
}

#[test]
fn what_was_begun_with_other_parameters_is_78_and_names_them() {
    let experiment = Experiment::new();
    experiment.call(REDUCE).is(0);
    let before = experiment.bytes("out/reduction.zarr");
    for (setting, named) in [
        ("pattern.bin=2", "pattern.bin: 1 -> 2"),
        (
            "pattern.center=[15.0,15.5]",
            "calibration.center_row: 15.5 -> 15.0",
        ),
        (
            "pattern.q_step_per_nm=0.44",
            "calibration.q_step_per_nm: 0.45 -> 0.44",
        ),
        (
            "pattern.ellipse={distortion=0.01,angle_rad=0.5}",
            "calibration.ellipse",
        ),
        (
            "pattern.mask=[{shape=\"circle\",center=[4.0,4.0],radius=3.0}]",
            "pattern.mask",
        ),
        (
            "structure.q_range_per_nm=[0.5,6.5]",
            "annulus_q_range_per_nm: [0.5,7.0] -> [0.5,6.5]",
        ),
        ("scan.region={rows=[0,8],cols=[0,16]}", "region.rows"),
        ("scan.step_nm=0.4", "header.step_nm"),
        ("time.basis=period", "time_basis"),
    ] {
        let words = format!("{REDUCE} -s {setting}");
        let refused = experiment.call(&words);
        assert_eq!(refused.code, Some(78), "{setting}: {}", refused.stderr);
        assert!(
            refused.stderr.contains(named),
            "{setting}: {}",
            refused.stderr
        );
    }
    // The data themselves: one count of the first frame.
    let mut data = fs::read(experiment.path("data.raw")).unwrap();
    data[0] ^= 1;
    fs::write(experiment.path("data.raw"), data).unwrap();
    experiment.call(REDUCE).is(78).says("fingerprint");
    assert!(experiment.bytes("out/reduction.zarr") == before);
}
