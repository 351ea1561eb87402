//! Does the first command of the README do what it says?

use std::fs;
use std::path::Path;

use crate::workspace::Workspace;
use crate::{Done, Failure};

/// What a person finds in the folder that the demo leaves, beside a folder for each temperature.
const OF_THE_STUDY: [&str; 5] = [
    "recipe.toml",
    "summary.json",
    "series.csv",
    "report.html",
    "figures",
];

/// What each temperature's folder holds.
const OF_A_TEMPERATURE: [&str; 5] = [
    "recipe.toml",
    "summary.json",
    "maps.csv",
    "analysis.zarr",
    "figures",
];

/// The temperatures of the paper.
const TEMPERATURES_K: [u32; 5] = [633, 643, 653, 663, 673];

/// Runs the demo in a fresh folder, and looks for its files.
///
/// Users build it with `--release`; here it is the binary that the tests have built, which is optimized too: another
/// build of all dependencies would take longer than all tests together.
pub(crate) fn check(workspace: &Workspace) -> Result<Done, Failure> {
    let folder = workspace.target().join("demo");
    if folder.exists() {
        fs::remove_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    }
    fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let binary = format!("debug/halotau{}", std::env::consts::EXE_SUFFIX);
    workspace.run(
        workspace
            .command(workspace.target().join(binary))
            .arg("demo")
            .current_dir(&folder),
    )?;
    let results = folder.join("halotau-demo");
    expect(&results, &OF_THE_STUDY)?;
    for temperature_k in TEMPERATURES_K {
        expect(
            &results.join(format!("{temperature_k}K")),
            &OF_A_TEMPERATURE,
        )?;
    }
    println!("all files are in {}", results.display());
    Ok(Done::Passed)
}

/// Files that are not empty, or folders that hold something.
fn expect(folder: &Path, names: &[&str]) -> Result<(), Failure> {
    for name in names {
        let path = folder.join(name);
        let holds_something = if path.is_dir() {
            fs::read_dir(&path).is_ok_and(|mut entries| entries.next().is_some())
        } else {
            fs::metadata(&path).is_ok_and(|metadata| metadata.len() > 0)
        };
        if !holds_something {
            return Err(format!("the demo left no {}", path.display()));
        }
    }
    Ok(())
}
