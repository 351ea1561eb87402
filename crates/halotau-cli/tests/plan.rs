//! `halotau plan` in a fresh folder.

#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::fs;
use std::process::{Command, Output, Stdio};

use serde_json::Value;
use tempfile::{TempDir, tempdir};

fn plan(folder: &TempDir, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_halotau"))
        .arg("plan")
        .args(arguments)
        .current_dir(folder)
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

/// One temperature, which is quicker than five.
const SETTINGS: &str = "\
temperature_k = [633.0]
total_s = [1048.0]
dwell_ms = [1.0]
n_scanned = 7200
[glass]
spearman = 0.4
";

fn json(folder: &TempDir, arguments: &[&str]) -> Value {
    let output = plan(folder, &[&["plan.toml", "--json"], arguments].concat());
    assert!(output.status.success(), "{output:?}");
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn a_file_and_overrides_make_a_plan() {
    let folder = tempdir().unwrap();
    fs::write(folder.path().join("plan.toml"), SETTINGS).unwrap();
    let planned = json(&folder, &[]);
    let maps = &planned["expected"]["temperatures"][0];
    assert_eq!(maps["temperature_k"], 633.0);
    assert_eq!(planned["settings"]["n_scanned"], 7200);
    // One temperature has no energy.
    assert!(planned["expected"]["activation_energy_kj_per_mol"].is_null());
    let wider = json(&folder, &["-s", "step_nm=0.32"]);
    let power = |planned: &Value| {
        let maps = &planned["expected"]["temperatures"][0];
        maps["relation"]["power"].as_f64().unwrap()
    };
    assert!(power(&wider) > power(&planned) + 0.05);

    let text = plan(&folder, &["plan.toml"]);
    let text = String::from_utf8(text.stdout).unwrap();
    for part in [
        "speckles",
        "as planned",
        "a step of 0.32 nm",
        "For the relation",
        "energy    needs",
    ] {
        assert!(text.contains(part), "no {part} in\n{text}");
    }
    // What is printed as settings plans the same.
    let settings = plan(&folder, &["plan.toml", "--settings-only"]);
    fs::write(folder.path().join("plan.toml"), settings.stdout).unwrap();
    assert_eq!(json(&folder, &[])["expected"], planned["expected"]);
}

#[test]
fn a_recipe_says_what_it_knows() {
    let folder = tempdir().unwrap();
    fs::write(
        folder.path().join("recipe.toml"),
        "profile = \"paper\"\n\
         [microscope]\nvoltage_kv = 300.0\nconvergence_mrad = 1.2\n\
         [scan]\nstep_nm = 0.2\n\
         [[data]]\npath = \"a.npy\"\ntemperature_k = 600.0\ntotal_s = 2000.0\ndwell_ms = 0.5\n",
    )
    .unwrap();
    fs::write(folder.path().join("plan.toml"), "step_nm = 0.25\n").unwrap();
    let planned = json(&folder, &["--from", "recipe.toml", "-s", "n_times=200"]);
    let settings = &planned["settings"];
    for (key, value) in [
        ("voltage_kv", 300.0),
        ("convergence_mrad", 1.2),
        // The file wins over the recipe, the command over both.
        ("step_nm", 0.25),
        ("n_times", 200.0),
    ] {
        assert_eq!(settings[key].as_f64().unwrap(), value, "{key}");
    }
    assert_eq!(settings["estimator"], "paper");
    assert_eq!(settings["temperature_k"][0], 600.0);
    assert!(planned["taken"].as_str().unwrap().contains("voltage_kv"));
}

#[test]
fn wrong_input_is_an_error_with_its_code() {
    let folder = tempdir().unwrap();
    fs::write(folder.path().join("plan.toml"), "step_mm = 0.16\n").unwrap();
    let cases: [(&[&str], i32, &str); 5] = [
        (&["plan.toml"], 2, "E0101"),
        (&["-s", "step_nm=-1"], 2, "E0103"),
        (&["-s", "n_scanned=100000"], 2, "E0103"),
        (&["-s", "tau_range_per_nm=[3.0, 58.0]"], 78, "E0207"),
        (&["missing.toml"], 66, "E0401"),
    ];
    for (arguments, exit_code, code) in cases {
        let output = plan(&folder, arguments);
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(
            output.status.code(),
            Some(exit_code),
            "{arguments:?}: {stderr}"
        );
        assert!(stderr.contains(code), "{arguments:?}: {stderr}");
        assert!(output.stdout.is_empty());
    }
}
