//! The real command in a fresh folder.

#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;
use tempfile::{TempDir, tempdir};

/// What a call gave.
struct Outcome {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

impl Outcome {
    fn json(&self) -> Value {
        serde_json::from_str(&self.stdout)
            .unwrap_or_else(|error| panic!("{error}: {}", self.stdout))
    }
}

fn halotau(folder: &TempDir, arguments: &[&str]) -> Outcome {
    let output = Command::new(env!("CARGO_BIN_EXE_halotau"))
        .args(arguments)
        .current_dir(folder)
        .env_remove("NO_COLOR")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    Outcome {
        code: output.status.code(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

/// A NumPy file of zeros, version 1.0, u16.
fn write_npy(path: &Path, shape: &[usize]) {
    let dims: Vec<String> = shape.iter().map(ToString::to_string).collect();
    let dict = format!(
        "{{'descr': '<u2', 'fortran_order': False, 'shape': ({}), }}",
        dims.join(", ")
    );
    // Magic, version and length take 10 bytes; all together is a multiple of 64 and ends with a new line.
    let padding = 63 - (10 + dict.len()) % 64;
    let header = format!("{dict}{}\n", " ".repeat(padding));
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend((header.len() as u16).to_le_bytes());
    bytes.extend(header.as_bytes());
    bytes.extend(vec![0; 2 * shape.iter().product::<usize>()]);
    fs::write(path, bytes).unwrap();
}

#[test]
fn help_begins_with_two_examples() {
    let folder = tempdir().unwrap();
    let help = halotau(&folder, &["--help"]);
    assert_eq!(help.code, Some(0));
    let commands: Vec<&str> = help
        .stdout
        .lines()
        .skip_while(|line| !line.starts_with("Commands:"))
        .skip(1)
        .take_while(|line| !line.is_empty())
        .filter_map(|line| line.split_whitespace().next())
        .filter(|&name| name != "help")
        .collect();
    assert!(commands.len() >= 3, "{}", help.stdout);
    for command in commands {
        let help = halotau(&folder, &[command, "--help"]);
        assert_eq!(help.code, Some(0), "{command}");
        let mut lines = help.stdout.lines();
        assert_eq!(lines.next(), Some("Examples:"), "{command}");
        for line in lines.take(2) {
            assert!(
                line.starts_with(&format!("  halotau {command}")),
                "{command}: {line}"
            );
        }
    }
    let version = halotau(&folder, &["--version"]);
    assert_eq!(
        version.stdout,
        concat!("halotau ", env!("CARGO_PKG_VERSION"), "\n")
    );
}

#[test]
fn slips_in_the_arguments_are_two_with_a_suggestion() {
    let folder = tempdir().unwrap();
    let slip = halotau(&folder, &["inspct", "a.npy"]);
    assert_eq!(slip.code, Some(2));
    assert!(slip.stderr.contains("'inspect'"), "{}", slip.stderr);
    let slip = halotau(&folder, &["inspect", "a.npy", "--memmory", "4GiB"]);
    assert_eq!(slip.code, Some(2));
    assert!(slip.stderr.contains("'--memory'"), "{}", slip.stderr);
    let slip = halotau(&folder, &["inspect", "a.npy", "--memory", "much", "--json"]);
    assert_eq!(slip.code, Some(2));
    assert_eq!(slip.json()["error"]["code"], "E0100");
    assert!(
        slip.json()["error"]["message"]
            .as_str()
            .unwrap()
            .contains("4GiB")
    );
}

#[test]
fn a_missing_file_is_66_in_words_and_as_json() {
    let folder = tempdir().unwrap();
    let missing = halotau(&folder, &["inspect", "none.npy"]);
    assert_eq!(missing.code, Some(66));
    assert_eq!(missing.stdout, "");
    assert!(
        missing.stderr.starts_with("error[E0401]: "),
        "{}",
        missing.stderr
    );
    assert!(missing.stderr.contains("none.npy"), "{}", missing.stderr);
    let missing = halotau(&folder, &["inspect", "none.npy", "--json"]);
    assert_eq!(missing.code, Some(66));
    assert_eq!(missing.stderr, "");
    let error = &missing.json()["error"];
    assert_eq!(error["code"], "E0401");
    assert!(error["message"].as_str().unwrap().contains("none.npy"));
}

#[test]
fn a_wrong_shape_is_65_with_three_that_fit() {
    let folder = tempdir().unwrap();
    write_npy(&folder.path().join("stack.npy"), &[24, 8, 8]);
    let wrong = halotau(&folder, &["inspect", "stack.npy", "--shape", "5,3,2,8,8"]);
    assert_eq!(wrong.code, Some(65), "{}", wrong.stderr);
    let (_, fitting) = wrong.stderr.split_once("would fit").unwrap();
    // Two in "time x row x col", two in each of three shapes.
    assert_eq!(fitting.matches(" x ").count(), 8, "{}", wrong.stderr);
    let right = halotau(
        &folder,
        &["inspect", "stack.npy", "--shape", "0,3,2,8,8", "--json"],
    );
    assert_eq!(right.code, Some(0), "{}", right.stderr);
    assert_eq!(right.json()["shape"]["n_times"], 4);
}

#[test]
fn inspect_says_what_the_recipe_must_give() {
    let folder = tempdir().unwrap();
    write_npy(&folder.path().join("a.npy"), &[3, 2, 2, 8, 8]);
    let found = halotau(&folder, &["inspect", "a.npy"]);
    assert_eq!((found.code, found.stderr.as_str()), (Some(0), ""));
    assert!(
        found.stdout.contains("time 3 · scan 2 x 2 · pattern 8 x 8"),
        "{}",
        found.stdout
    );
    assert!(
        found.stdout.contains("pattern.q_step_per_nm"),
        "{}",
        found.stdout
    );
    let two = halotau(&folder, &["inspect", "a.npy", "a.npy", "--json"]);
    assert_eq!(two.json().as_array().map(Vec::len), Some(2));
}

#[test]
fn init_writes_a_recipe_once() {
    let folder = tempdir().unwrap();
    write_npy(&folder.path().join("T633.npy"), &[3, 2, 2, 8, 8]);
    let first = halotau(&folder, &["init", "T633.npy", "--profile", "paper"]);
    assert_eq!(first.code, Some(0), "{}", first.stderr);
    assert!(
        first.stdout.contains("fill in pattern.q_step_per_nm"),
        "{}",
        first.stdout
    );
    let path = folder.path().join("recipe.toml");
    let text = fs::read_to_string(&path).unwrap();
    assert!(
        text.contains("path = \"T633.npy\"") && text.contains("temperature_k = 633.0"),
        "{text}"
    );
    fs::write(&path, "edited").unwrap();
    let second = halotau(&folder, &["init", "T633.npy"]);
    assert_eq!(second.code, Some(73));
    assert!(second.stderr.contains("--restart"), "{}", second.stderr);
    assert_eq!(fs::read_to_string(&path).unwrap(), "edited");
    let dry = halotau(&folder, &["init", "T633.npy", "--dry-run"]);
    assert!(dry.stdout.contains("[dynamics]"));
    assert_eq!(fs::read_to_string(&path).unwrap(), "edited");
    let replaced = halotau(&folder, &["init", "T633.npy", "--restart"]);
    assert_eq!(replaced.code, Some(0));
    assert!(fs::read_to_string(&path).unwrap().contains("[dynamics]"));
}

#[test]
fn an_unknown_key_is_pointed_at() {
    let folder = tempdir().unwrap();
    write_npy(&folder.path().join("a.npy"), &[3, 2, 2, 8, 8]);
    let text = "[[data]]\npath = \"a.npy\"\n\n[dynamics]\nq_range = [4.2, 4.6]\n";
    fs::write(folder.path().join("r.toml"), text).unwrap();
    let slip = halotau(&folder, &["check", "r.toml"]);
    assert_eq!(slip.code, Some(2));
    let lines: Vec<&str> = slip.stderr.lines().collect();
    assert_eq!(
        lines[0], "error[E0101]: unknown key `q_range`",
        "{}",
        slip.stderr
    );
    assert!(slip.stderr.contains("r.toml:5:1"), "{}", slip.stderr);
    assert!(
        slip.stderr.contains("q_range = [4.2, 4.6]"),
        "{}",
        slip.stderr
    );
    assert_eq!(
        lines.last(),
        Some(&"  next:  did you mean `q_range_per_nm`?"),
        "{}",
        slip.stderr
    );
    assert!(!slip.stderr.contains('\x1b'), "not a terminal: no color");
    let slip = halotau(&folder, &["check", "r.toml", "--json"]);
    let error = &slip.json()["error"];
    assert_eq!(error["help"], "did you mean `q_range_per_nm`?");
    assert!(error["where"].as_str().unwrap().ends_with("r.toml:5:1"));
    let colored = halotau(&folder, &["check", "r.toml", "--color", "always"]);
    assert!(colored.stderr.contains("\x1b["), "{}", colored.stderr);
    fs::write(
        folder.path().join("r.toml"),
        text.replace("q_range", "q_range_per_nm"),
    )
    .unwrap();
    let right = halotau(
        &folder,
        &["check", "r.toml", "-s", "pattern.bin=2", "--json"],
    );
    assert_eq!(right.code, Some(0), "{}", right.stderr);
    assert_eq!(right.json()["recipe"]["pattern"]["bin"], 2);
    let wrong = halotau(&folder, &["check", "r.toml", "-s", "pattern.bin=0"]);
    assert_eq!(wrong.code, Some(2));
    assert!(wrong.stderr.contains("pattern.bin = 0"), "{}", wrong.stderr);
}

#[test]
fn simulated_series_are_the_same_on_any_number_of_threads() {
    let folder = tempdir().unwrap();
    let simulate = |output: &str, limits: &[&str]| {
        let small = "simulate -s n_rows=3 -s n_cols=2 -s n_times=4 -s pattern_rows=16 -s pattern_cols=16 \
                     -s q_step_per_nm=0.9 -s temperature_k=[650.0] -s total_s=[40.0] -s dwell_ms=[1.0]";
        let mut arguments: Vec<&str> = small.split_whitespace().collect();
        arguments.extend(["--format", "npy", "-o", output]);
        arguments.extend(limits);
        let done = halotau(&folder, &arguments);
        assert_eq!(done.code, Some(0), "{}", done.stderr);
        fs::read(folder.path().join(output).join("650K.npy")).unwrap()
    };
    let one = simulate("one", &["--threads", "1"]);
    // A row is 4 x 2 x 256 samples of 2 bytes and counts three times.
    assert!(one == simulate("two", &["--threads", "2", "--memory", "13kB"]));
    assert_eq!(halotau(&folder, &["check", "one"]).code, Some(0));
    let again = halotau(
        &folder,
        &[
            "simulate",
            "-s",
            "temperature_k=[650.0]",
            "-s",
            "total_s=[40.0]",
            "-s",
            "dwell_ms=[1.0]",
            "--format",
            "npy",
            "-o",
            "one",
        ],
    );
    assert_eq!(again.code, Some(73), "{}", again.stderr);
}

#[test]
fn the_whole_job_runs_and_its_results_are_used_again() {
    let folder = tempdir().unwrap();
    let done = |arguments: &str| {
        let arguments: Vec<&str> = arguments.split_whitespace().collect();
        let done = halotau(&folder, &arguments);
        assert_eq!(done.code, Some(0), "{arguments:?}: {}", done.stderr);
        done
    };
    done(
        "simulate -q -o data -s n_rows=4 -s n_cols=4 -s n_times=30 -s temperature_k=[633.0,673.0] \
         -s total_s=[1048.0,524.0] -s dwell_ms=[1.0,0.5]",
    );
    let plan = done("run data/recipe.toml --dry-run --json").json();
    assert_eq!(plan["series"][1]["n_positions"], 16);
    assert!(plan["pass_s"].as_f64().unwrap() > 0.0);
    assert!(!folder.path().join("data/halotau-results").exists());
    let summary = done("run data/recipe.toml -o out -q --json").json();
    let temperatures = summary["temperatures"].as_array().unwrap();
    assert_eq!(temperatures.len(), 2);
    assert_eq!(temperatures[0]["temperature_k"], 633.0);
    for file in [
        "report.html",
        "summary.json",
        "series.csv",
        "figures/tau_maps.svg",
        "673K/maps.csv",
    ] {
        assert!(folder.path().join("out").join(file).is_file(), "{file}");
    }
    // The data is not needed any more.
    fs::remove_dir_all(folder.path().join("data")).unwrap();
    assert_eq!(done("analyze out -q --json").json(), summary);
    // The next experiment is planned from the series or from one temperature of it.
    for (folder, n_temperatures) in [("out", 2), ("out/673K", 1)] {
        let planned = done(&format!("plan --from {folder} --json")).json();
        let expected = planned["expected"]["temperatures"].as_array().unwrap();
        assert_eq!(expected.len(), n_temperatures);
        assert_eq!(planned["settings"]["n_times"], 30);
    }
    let series = done("series out/633K out/673K -o study -q --json").json();
    assert_eq!(series["arrhenius"], summary["arrhenius"]);
    done("figure out -o figures -q");
    assert!(
        folder
            .path()
            .join("figures/figures/arrhenius.svg")
            .is_file()
    );
    done("report out -o again -q");
    assert!(folder.path().join("again/report.html").is_file());
    let exported = done("export out -o maps --to csv,hdf5 --no-comments -q --json").json();
    assert_eq!(exported["files"].as_array().map(Vec::len), Some(5));
    let csv = fs::read_to_string(folder.path().join("maps/633K/maps.csv")).unwrap();
    assert_eq!(csv.lines().count(), 17);
}

#[test]
fn what_contradicts_the_data_is_78_and_keeps_what_is_there() {
    let folder = tempdir().unwrap();
    let call =
        |arguments: &str| halotau(&folder, &arguments.split_whitespace().collect::<Vec<_>>());
    let simulated = call(
        "simulate -q -o data -s n_rows=2 -s n_cols=2 -s n_times=12 -s temperature_k=[633.0] -s total_s=[120.0] \
         -s dwell_ms=[1.0]",
    );
    assert_eq!(simulated.code, Some(0), "{}", simulated.stderr);
    let outside = call("run data/recipe.toml -s dynamics.q_range_per_nm=[42.0,46.0] -o out");
    assert_eq!(outside.code, Some(78), "{}", outside.stderr);
    assert!(
        outside.stderr.contains("error[E0207]"),
        "{}",
        outside.stderr
    );
    assert!(
        outside.stderr.contains("[42.0,46.0]") && outside.stderr.contains("1/Å"),
        "{}",
        outside.stderr
    );
    let first = call("reduce data/recipe.toml -o out -q");
    assert_eq!(first.code, Some(0), "{}", first.stderr);
    let other = call("reduce data/recipe.toml -o out -q -s pattern.bin=2");
    assert_eq!(other.code, Some(78), "{}", other.stderr);
    assert!(
        other.stderr.contains("bin") && other.stderr.contains("--restart"),
        "{}",
        other.stderr
    );
    let kept = fs::read_to_string(folder.path().join("out/recipe.toml")).unwrap();
    assert!(kept.contains("\nbin = 1 "), "{kept}");
    // The folder that is given is used, wherever it was made.
    fs::rename(folder.path().join("out"), folder.path().join("moved")).unwrap();
    let again = call("analyze moved -q -s output.max_bad=1.0");
    assert_eq!(again.code, Some(0), "{}", again.stderr);
    assert!(folder.path().join("moved/report.html").is_file());
    fs::rename(folder.path().join("moved"), folder.path().join("out")).unwrap();
    assert_eq!(
        call("reduce data/recipe.toml -o out -q -s pattern.bin=2 --restart").code,
        Some(0)
    );
}

/// Path and content of every file below a folder.
fn contents(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(inner) = folders.pop() {
        for entry in fs::read_dir(inner).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let name = path.strip_prefix(folder).unwrap().display().to_string();
                found.push((name, fs::read(&path).unwrap()));
            }
        }
    }
    found.sort();
    found
}

#[cfg(unix)]
#[test]
fn an_array_of_tasks_leaves_what_one_process_does() {
    let folder = tempdir().unwrap();
    let call =
        |arguments: &str| halotau(&folder, &arguments.split_whitespace().collect::<Vec<_>>());
    let simulated = call(
        "simulate -q -o data -s n_rows=3 -s n_cols=4 -s n_times=10 -s temperature_k=[633.0,653.0] \
         -s total_s=[120.0,90.0] -s dwell_ms=[1.0,1.0]",
    );
    assert_eq!(simulated.code, Some(0), "{}", simulated.stderr);
    let early = call("reduce data/recipe.toml -o many --task 1/2");
    assert_eq!(early.code, Some(2), "{}", early.stderr);
    assert!(early.stderr.contains("--tasks"), "{}", early.stderr);

    let begun = call("reduce data/recipe.toml -o many --tasks 40 -q --json");
    assert_eq!(begun.code, Some(0), "{}", begun.stderr);
    // No more tasks than shards.
    assert_eq!(begun.json()["n_tasks"], 2, "{}", begun.stdout);
    let incomplete = call("reduce data/recipe.toml -o many --finish -q");
    assert_eq!(incomplete.code, Some(65), "{}", incomplete.stderr);
    // What Slurm does with the script.
    for task in ["2", "1", "2"] {
        let job = Command::new("sh")
            .arg(folder.path().join("many/reduce.sbatch"))
            .env("SLURM_ARRAY_TASK_ID", task)
            .output()
            .unwrap();
        let stderr = String::from_utf8(job.stderr).unwrap();
        assert_eq!(job.status.code(), Some(0), "{stderr}");
    }
    let other = call("reduce data/recipe.toml -o many --task 1/2 -q -s pattern.bin=2");
    assert_eq!(other.code, Some(78), "{}", other.stderr);
    let finished = call("reduce data/recipe.toml -o many --finish -q");
    assert_eq!(finished.code, Some(0), "{}", finished.stderr);
    assert_eq!(call("reduce data/recipe.toml -o one -q").code, Some(0));
    for temperature in ["633K", "653K"] {
        let of = |output: &str| {
            contents(
                &folder
                    .path()
                    .join(output)
                    .join(temperature)
                    .join("reduction.zarr"),
            )
        };
        assert_eq!(of("many"), of("one"), "{temperature}");
    }
    let analyzed = call("analyze many -q -s output.max_bad=1.0");
    assert_eq!(analyzed.code, Some(0), "{}", analyzed.stderr);
}

#[cfg(unix)]
#[test]
fn a_file_size_limit_is_an_error_with_a_name() {
    let folder = tempdir().unwrap();
    // The shell's blocks are 512 or 1024 bytes: either is less than the series.
    let command = format!(
        "ulimit -f 4; {} simulate -q -o out --format npy",
        env!("CARGO_BIN_EXE_halotau")
    );
    let output = Command::new("sh")
        .args(["-c", &format!("{command} -s n_times=8 -s n_rows=2 -s n_cols=2 -s temperature_k=[650.0] -s total_s=[40.0] -s dwell_ms=[1.0]")])
        .current_dir(&folder)
        .output()
        .unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(74), "{stderr}");
    assert!(stderr.starts_with("error[E0412]: "), "{stderr}");
}

#[test]
fn a_closed_pipe_is_quiet() {
    let folder = tempdir().unwrap();
    let mut child = Command::new(env!("CARGO_BIN_EXE_halotau"))
        .args(["completions", "bash"])
        .current_dir(&folder)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(String::from_utf8(output.stderr).unwrap(), "");
}

#[test]
fn a_calibration_is_printed_drawn_kept_and_used() {
    let folder = tempdir().unwrap();
    let call = |line: &str| halotau(&folder, &line.split(' ').collect::<Vec<_>>());
    let simulated = call(
        "simulate -q -o data -s n_rows=6 -s n_cols=6 -s n_times=8 -s temperature_k=[633.0] -s total_s=[800.0] \
         -s dwell_ms=[1.0] -s overlap=false -s artifacts.center_offset_px=[1.2,-0.7] -s artifacts.detector.n_dead=4 \
         -s artifacts.beam_stop={radius_per_nm=1.3}",
    );
    assert_eq!(simulated.code, Some(0), "{}", simulated.stderr);
    let data = folder.path().join("data/633K.zarr");
    let recipe = folder.path().join("recipe.toml");
    let text = format!(
        "[pattern]\nq_step_per_nm = 0.232\n\n[[data]]\npath = {:?}\ntotal_s = 800.0\n",
        data.display().to_string()
    );
    fs::write(&recipe, &text).unwrap();

    // The center outside: nothing is written but the picture.
    let lost = call("calibrate -q recipe.toml --write -s pattern.center=[90.0,3.0]");
    assert_eq!(lost.code, Some(78), "{}", lost.stderr);
    assert!(lost.stderr.contains("E0213"), "{}", lost.stderr);
    let picture = folder
        .path()
        .join("calibration-pictures/calibration_failed.svg");
    assert!(picture.is_file());
    assert_eq!(fs::read_to_string(&recipe).unwrap(), text);

    // A sample that left the field: the same.
    let moved = call(
        "calibrate -q recipe.toml --write -s drift.method=given -s drift.row_steps=[0,1,2,3,4,5,6,7] \
         -s drift.col_steps=[0,0,0,0,0,0,0,0]",
    );
    assert_eq!(moved.code, Some(78), "{}", moved.stderr);
    assert!(moved.stderr.contains("E0212"), "{}", moved.stderr);
    let picture = folder.path().join("calibration-pictures/drift_failed.svg");
    assert!(picture.is_file());
    assert_eq!(fs::read_to_string(&recipe).unwrap(), text);

    let found = call("calibrate -q recipe.toml --write --json");
    assert_eq!(found.code, Some(0), "{}", found.stderr);
    let drawn = folder
        .path()
        .join("calibration-633K/calibration_conditions.svg");
    assert!(drawn.is_file());
    assert_eq!(found.json()[0]["conditions"]["n_positions"], 36);
    let values = &found.json()[0]["calibration"];
    let center = &values["center"];
    for (axis, truth) in [34.2, 32.3].into_iter().enumerate() {
        let away = center["value"][axis].as_f64().unwrap() - truth;
        let error = center["error"][axis].as_f64().unwrap();
        assert!(away.abs() < 4.0 * error && error < 0.3, "{center}");
    }
    assert!(values["beam_stop"]["n_pixels"].as_u64().unwrap() > 100);
    for file in [
        "calibration-633K.toml",
        "calibration-633K-mask.npy",
        "calibration-633K/calibration_pattern.svg",
        "calibration-633K/calibration_descan.svg",
        "calibration-633K/calibration_profile.svg",
    ] {
        assert!(folder.path().join(file).is_file(), "{file}");
    }
    let linked = fs::read_to_string(&recipe).unwrap();
    assert!(
        linked.contains("calibration = \"calibration-633K.toml\""),
        "{linked}"
    );

    // The pass uses what was kept, and what the recipe states wins over it.
    let plan = call("run recipe.toml --dry-run --json").json();
    assert_eq!(plan["series"][0]["center"], center["value"]);
    let given = call("run recipe.toml --dry-run --json -s pattern.center=[33.0,33.0]").json();
    assert_eq!(
        given["series"][0]["center"],
        serde_json::json!([33.0, 33.0])
    );
}
