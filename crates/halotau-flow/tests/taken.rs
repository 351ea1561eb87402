//! An analysis that starts from what another one took from the counts says the same, bit for bit, and one that must not does not.

#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use halotau_flow::context::{Context, Event};
use halotau_flow::recipe_file::load;
use halotau_flow::simulate::{load_settings, simulate};
use halotau_flow::taken::TAKEN;
use halotau_flow::{SeriesFormat, run};

/// A simulated glass, reduced and analyzed; figures are no part of the question.
struct Results {
    _folder: tempfile::TempDir,
    results: PathBuf,
}

/// What is said where an analysis starts from what was kept. The comparison has a line of its own, and may start from what the analysis
/// just took.
const USED: &str = "analyze 633K.npy: ";

/// Everything that an analysis computes, file by file.
type Answer = BTreeMap<PathBuf, Vec<u8>>;

impl Results {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let given = [
            "n_rows=9",
            "n_cols=8",
            "n_times=20",
            "temperature_k=[633.0]",
            "total_s=[1000.0]",
            "dwell_ms=[1.0]",
            "glass.tau_median_s=150.0",
        ];
        let settings = load_settings(None, &given.map(str::to_owned)).unwrap();
        let context = Context::new(&|_| {});
        simulate(&settings, folder.path(), SeriesFormat::Npy, &context).unwrap();
        let results = folder.path().join("results");
        let one = Self {
            _folder: folder,
            results,
        };
        let given = [
            format!("output.folder={:?}", one.results),
            "output.png=false".to_owned(),
            "output.max_bad=1.0".to_owned(),
            // The modes of the likelihood take most of an analysis as small as this; one test asks for them.
            "relaxation.estimator=least_squares".to_owned(),
        ];
        let recipe = one.results.with_file_name("recipe.toml");
        run::run(&load(&recipe, &given).unwrap(), &context).unwrap();
        one
    }

    /// Analyzes again; gives what was said and what came out.
    fn again(&self, changes: &[&str]) -> (String, Answer) {
        let notes = Mutex::new(String::new());
        let listener = |event: Event| {
            if let Event::Note(text) = event {
                *notes.lock().unwrap() += &(text + "\n");
            }
        };
        let given: Vec<String> = changes.iter().map(|&change| change.to_owned()).collect();
        let loaded = load(&self.results, &given).unwrap();
        run::analyze_again(&loaded, &Context::new(&listener)).unwrap();
        (notes.into_inner().unwrap(), self.answer())
    }

    /// The same without anything that was kept.
    fn anew(&self, changes: &[&str]) -> Answer {
        fs::remove_dir_all(self.results.join(TAKEN)).unwrap();
        let (notes, answer) = self.again(changes);
        assert!(!notes.contains(USED), "{notes}");
        answer
    }

    fn answer(&self) -> Answer {
        let mut files = files_below(self.results.join("analysis.zarr"));
        let others = ["summary.json", "maps.csv", "series.csv", "report.html"];
        files.extend(others.map(|name| self.results.join(name)));
        let read = |path: PathBuf| (path.clone(), fs::read(path).unwrap());
        files.into_iter().map(read).collect()
    }

    /// The folder of a part; there is one of each in these tests but for the other profile's.
    fn parts(&self, part: &str) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.results.join(TAKEN)).unwrap();
        let paths = entries.map(|entry| entry.unwrap().path());
        let is_it = |path: &PathBuf| name_of(path).starts_with(part);
        paths.filter(is_it).collect()
    }

    /// Makes every count unreadable without changing a length.
    fn spoil_counts(&self) {
        for path in files_below(self.results.join("reduction.zarr/ring_counts/c")) {
            let length = fs::metadata(&path).unwrap().len();
            fs::write(path, vec![0_u8; length as usize]).unwrap();
        }
    }
}

fn files_below(folder: PathBuf) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut folders = vec![folder];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let list = if path.is_dir() {
                &mut folders
            } else {
                &mut files
            };
            list.push(path);
        }
    }
    files
}

fn name_of(path: &Path) -> String {
    path.file_name().unwrap().to_string_lossy().into_owned()
}

fn assert_same(one: &Answer, other: &Answer, what: &str) {
    assert_eq!(
        one.keys().collect::<Vec<_>>(),
        other.keys().collect::<Vec<_>>()
    );
    for (path, bytes) in one {
        assert!(other[path] == *bytes, "{what}: {} differs", path.display());
    }
}

#[test]
fn other_fits_start_from_curves_and_say_the_same() {
    let results = Results::new();
    // Each is on top of the ones before, as a person tries one after another; only what is said here changes.
    let same = |change: &[&str], estimator: &str| {
        let (notes, from_kept) = results.again(change);
        let said = format!("{USED}{estimator} of the analysis before are used");
        assert!(notes.contains(&said), "{change:?}: {notes}");
        let anew = results.anew(change);
        assert_same(&from_kept, &anew, &change.join(" "));
    };
    same(
        &["relaxation.exponent_factor=one", "interval.level=0.9"],
        "curves",
    );
    same(
        &[
            "relaxation.stretch={free={min=0.3,max=3.0}}",
            "relaxation.weights=none",
            "relaxation.lag_fraction=0.8",
            "relaxation.baseline=free",
            "relaxation.min_times=12",
            "arrhenius.average=median",
        ],
        "curves",
    );
    let likelihood = [
        "relaxation.estimator=likelihood",
        "relaxation.stretch={fixed=1.0}",
        "relaxation.baseline=one",
    ];
    results.again(&likelihood);
    same(
        &[
            "relaxation.exponent_factor=two",
            "relaxation.weights=lag_count",
        ],
        "curves and likelihoods",
    );

    // Nothing of the counts is looked at.
    results.spoil_counts();
    let (notes, _) = results.again(&["arrhenius.average=mean"]);
    assert!(notes.contains("curves and likelihoods"), "{notes}");
}

#[test]
fn what_is_not_the_same_is_taken_from_the_counts() {
    let results = Results::new();
    for change in [
        "dynamics.q_range_per_nm=[3.2, 5.6]",
        "structure.noise=none",
        "interval.sectors=5",
        "scan.polygon=[[0.0, 0.0], [0.0, 7.0], [7.0, 7.0], [7.0, 0.0]]",
    ] {
        let (notes, answer) = results.again(&[change]);
        assert!(!notes.contains(USED), "{change}: {notes}");
        assert_same(&answer, &results.anew(&[change]), change);
    }

    // One byte of a part, a part without its last file, and one under another's name.
    let (_, right) = results.again(&[]);
    let damage: [fn(&Path); 3] = [
        |part| {
            let chunk = part.join("g/c/0/0/0");
            let mut bytes = fs::read(&chunk).unwrap();
            let middle = bytes.len() / 2;
            bytes[middle] ^= 1;
            fs::write(chunk, bytes).unwrap();
        },
        |part| fs::remove_file(part.join("manifest.jsonl")).unwrap(),
        |part| {
            let metadata = part.join("zarr.json");
            let text = fs::read_to_string(&metadata).unwrap();
            fs::write(metadata, text.replace("curves", "curved")).unwrap();
        },
    ];
    for spoil in damage {
        results.parts("curves").iter().for_each(|part| spoil(part));
        let (notes, answer) = results.again(&[]);
        assert!(notes.contains("made again"), "{notes}");
        assert_same(&answer, &right, "after damage");
    }
    for part in ["conditions", "matrices", "pictures"] {
        for path in results.parts(part) {
            fs::write(path.join("zarr.json"), b"{").unwrap();
        }
        let (notes, answer) = results.again(&[]);
        assert!(
            notes.contains(part) && notes.contains("made again"),
            "{notes}"
        );
        assert_same(&answer, &right, part);
    }
}

#[test]
fn another_reduction_is_another_question() {
    let results = Results::new();
    let before: Vec<String> = results.parts("").iter().map(|path| name_of(path)).collect();
    let recipe = results.results.with_file_name("recipe.toml");
    let given = [
        format!("output.folder={:?}", results.results),
        "output.png=false".to_owned(),
        "output.max_bad=1.0".to_owned(),
        "relaxation.estimator=least_squares".to_owned(),
        "reduction.q_range_per_nm=[2.8, 6.0]".to_owned(),
    ];
    fs::remove_dir_all(results.results.join("reduction.zarr")).unwrap();
    let context = Context::new(&|_| {});
    run::run(&load(&recipe, &given).unwrap(), &context).unwrap();
    let after: Vec<String> = results.parts("").iter().map(|path| name_of(path)).collect();
    assert!(after.len() >= 4, "{after:?}");
    assert!(
        after.iter().all(|name| !before.contains(name)),
        "{before:?} {after:?}"
    );
    let answer = results.answer();
    assert_same(&answer, &results.anew(&[]), "another reduction");
}
