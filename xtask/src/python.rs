//! Do other programs read what halotau writes, and do the stored reference values still follow from their script?
//!
//! Packages are pinned in `requirements-test.txt` and installed once into `target/`; a change of that file installs anew.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use crate::workspace::{Workspace, in_ci};
use crate::{Done, Failure};

/// Exact versions of all packages, the indirect ones included.
const REQUIREMENTS: &str = "requirements-test.txt";

/// Tests that open written results with zarr-python, xarray, h5py, silx and tifffile, and that read recordings of detectors with
/// the readers of other programs. The Rust tests of the same crate leave one of everything in the target folder.
const INTEROP_TESTS: &str = "crates/halotau-io/tests/python";

/// The independent implementation; `--check` recomputes every stored value.
const REFERENCE: &str = "crates/halotau/tests/reference/make_reference.py";

/// The benchmark's Python twin.
const BENCH: &str = "bench/reference.py";

/// Runs pytest on results that halotau writes, and the reference script against its stored values.
pub(crate) fn check(workspace: &Workspace) -> Result<Done, Failure> {
    let Some(python) = environment(workspace)? else {
        return missing();
    };
    workspace.run(workspace.command(&python).args([REFERENCE, "--check"]))?;
    workspace.run(
        workspace
            .command(&python)
            .args([
                "-m",
                "pytest",
                "-q",
                "-p",
                "no:cacheprovider",
                INTEROP_TESTS,
            ])
            .env(
                "HALOTAU_RESULTS",
                workspace.target().join("tmp").join("interop"),
            )
            .env(
                "HALOTAU_READERS",
                workspace.target().join("tmp").join("readers"),
            )
            .env("PYTHONDONTWRITEBYTECODE", "1"),
    )
}

/// Writes one scan in every format whose reading is timed.
const BENCH_FILES: &str = "bench/make_files.py";

/// Writes the files of the benchmark of reading.
pub(crate) fn bench_files(workspace: &Workspace) -> Result<Done, Failure> {
    match environment(workspace)? {
        Some(python) => workspace.run(
            workspace
                .command(&python)
                .arg(BENCH_FILES)
                .arg(workspace.path("bench/target/files")),
        ),
        None => missing(),
    }
}

/// Runs the benchmark's Python twin.
pub(crate) fn bench(workspace: &Workspace) -> Result<Done, Failure> {
    match environment(workspace)? {
        Some(python) => workspace.run(workspace.command(&python).arg(BENCH)),
        None => missing(),
    }
}

/// Runs the Python twin of the benchmark from the file to the answer.
pub(crate) fn bench_pipeline(workspace: &Workspace) -> Result<Done, Failure> {
    match environment(workspace)? {
        Some(python) => workspace.run(workspace.command(&python).arg("bench/pipeline.py")),
        None => missing(),
    }
}

fn missing() -> Result<Done, Failure> {
    let cure = "python3 (3.11 or later, with venv) was not found; install it, \
                on Debian with `apt-get install python3-venv`"
        .to_owned();
    if in_ci() {
        Err(cure)
    } else {
        Ok(Done::Skipped(cure))
    }
}

/// The interpreter of the environment in `target/`, made where it is missing or of other versions;
/// `None` where this computer has no Python that can make one.
fn environment(workspace: &Workspace) -> Result<Option<PathBuf>, Failure> {
    let wanted = fs::read_to_string(workspace.path(REQUIREMENTS))
        .map_err(|error| format!("{REQUIREMENTS}: {error}"))?;
    let folder = workspace.target().join("python");
    let interpreter = if cfg!(windows) {
        folder.join("Scripts").join("python.exe")
    } else {
        folder.join("bin").join("python")
    };
    let stamp = folder.join(REQUIREMENTS);
    if fs::read_to_string(&stamp).is_ok_and(|installed| installed == wanted) {
        return Ok(Some(interpreter));
    }
    let system = if cfg!(windows) { "python" } else { "python3" };
    let has_venv = workspace
        .command(system)
        .args([
            "-c",
            "import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))",
        ])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success());
    if !has_venv {
        return Ok(None);
    }
    install(workspace, system, &folder, &interpreter)?;
    fs::write(&stamp, wanted).map_err(|error| format!("{}: {error}", stamp.display()))?;
    Ok(Some(interpreter))
}

fn install(
    workspace: &Workspace,
    system: &str,
    folder: &Path,
    interpreter: &Path,
) -> Result<(), Failure> {
    workspace.run(
        workspace
            .command(system)
            .args(["-m", "venv", "--clear"])
            .arg(folder),
    )?;
    workspace.run(workspace.command(interpreter).args([
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
        "--no-deps",
        "--requirement",
        REQUIREMENTS,
    ]))?;
    Ok(())
}
