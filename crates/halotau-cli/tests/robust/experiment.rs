//! A small experiment in a folder of its own.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::Duration;

use tempfile::TempDir;

/// Times, scan rows and columns, pattern rows and columns. A shard holds two rows.
pub(crate) const SHAPE: [usize; 5] = [24, 16, 16, 32, 32];

/// What a call gave.
pub(crate) struct Outcome {
    pub(crate) code: Option<i32>,
    pub(crate) stderr: String,
}

impl From<Output> for Outcome {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

impl Outcome {
    /// Checks the exit code; the words are shown where it is another.
    #[track_caller]
    pub(crate) fn is(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{}", self.stderr);
        self
    }

    #[track_caller]
    pub(crate) fn says(self, words: &str) -> Self {
        assert!(
            self.stderr.contains(words),
            "no `{words}` in: {}",
            self.stderr
        );
        self
    }
}

/// Data, recipe and results in one folder.
pub(crate) struct Experiment {
    folder: TempDir,
}

impl Experiment {
    /// Counts that look like noise: every one of them matters.
    pub(crate) fn new() -> Self {
        let experiment = Self::without_data(SHAPE);
        fs::write(experiment.path("data.raw"), noise(SHAPE)).unwrap();
        experiment
    }

    /// A larger file of zeros that takes no room and long enough to be interrupted.
    pub(crate) fn long() -> Self {
        let shape = [24, 96, 128, 32, 32];
        let experiment = Self::without_data(shape);
        let file = File::create(experiment.path("data.raw")).unwrap();
        file.set_len(n_bytes(shape)).unwrap();
        experiment
    }

    pub(crate) fn without_data(shape: [usize; 5]) -> Self {
        // In memory where that is possible, because results are flushed to the disk again and again.
        let folder = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir());
        let experiment = Self {
            folder: folder.unwrap(),
        };
        let recipe = format!(
            "[[data]]\npath = \"data.raw\"\nshape = {shape:?}\ntemperature_k = 633.0\nperiod_s = 10.0\n\
             raw = {{ sample_type = \"u16\" }}\n\
             [scan]\nstep_nm = 0.5\n\
             [pattern]\nq_step_per_nm = 0.45\ncenter = [15.5, 15.5]\n\
             [structure]\nq_range_per_nm = [0.5, 7.0]\n\
             [output]\nmax_bad = 1.0\n"
        );
        fs::write(experiment.path("recipe.toml"), recipe).unwrap();
        experiment
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The command with words as a shell would split them.
    pub(crate) fn command(&self, words: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_halotau"));
        self.dress(&mut command, words);
        command
    }

    /// The command below another program, such as `strace`.
    pub(crate) fn below(&self, program: &[&str], words: &str) -> Command {
        let mut command = Command::new(program[0]);
        command
            .args(&program[1..])
            .arg(env!("CARGO_BIN_EXE_halotau"));
        self.dress(&mut command, words);
        command
    }

    /// The command below `strace`, which makes a system call fail or kill it.
    pub(crate) fn injected(&self, call: &str, event: &str, words: &str) -> Outcome {
        let (trace, inject) = (format!("trace={call}"), format!("inject={call}:{event}"));
        let strace = [
            "strace",
            "-f",
            "-o",
            "/dev/null",
            "-e",
            &trace,
            "-e",
            &inject,
        ];
        self.below(&strace, words).output().unwrap().into()
    }

    fn dress(&self, command: &mut Command, words: &str) {
        command
            .args(words.split_whitespace())
            .current_dir(self.folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
    }

    pub(crate) fn call(&self, words: &str) -> Outcome {
        self.command(words).output().unwrap().into()
    }

    /// Starts the command and waits until it has completed a shard of `out`.
    pub(crate) fn started(&self, words: &str) -> Child {
        let manifest = self.path("out/reduction.zarr/manifest.jsonl");
        let len = || fs::metadata(&manifest).map_or(0, |file| file.len());
        let before = len();
        let mut child = self.command(words).spawn().unwrap();
        while len() <= before && child.try_wait().unwrap().is_none() {
            thread::sleep(Duration::from_millis(1));
        }
        child
    }

    /// All files below a folder of results but locks, with their bytes. None of them is temporary.
    pub(crate) fn bytes(&self, folder: &str) -> BTreeMap<String, Vec<u8>> {
        let root = self.path(folder);
        let mut found = BTreeMap::new();
        let mut folders = vec![root.clone()];
        while let Some(inner) = folders.pop() {
            for entry in fs::read_dir(inner).unwrap() {
                let path = entry.unwrap().path();
                let name = path.strip_prefix(&root).unwrap().display().to_string();
                assert!(!name.contains("tmp"), "{name} is left");
                if path.is_dir() {
                    folders.push(path);
                } else if !name.contains(".lock") {
                    found.insert(name, fs::read(&path).unwrap());
                }
            }
        }
        found
    }

    /// The chunks of all arrays of reduction and analysis. What stands beside the arrays of an analysis names its folder.
    pub(crate) fn arrays(&self, folder: &str) -> BTreeMap<String, Vec<u8>> {
        let mut arrays = self.bytes(&format!("{folder}/reduction.zarr"));
        let mut analysis = self.bytes(&format!("{folder}/analysis.zarr"));
        analysis.retain(|name, _| name.contains("/c/"));
        assert!(
            analysis.contains_key("tau_s/c/0/0"),
            "{:?}",
            analysis.keys()
        );
        arrays.extend(analysis);
        arrays
    }

    /// What an uninterrupted run leaves in `whole`.
    pub(crate) fn whole(&self) -> BTreeMap<String, Vec<u8>> {
        self.call("reduce recipe.toml -o whole -q").is(0);
        let whole = self.bytes("whole/reduction.zarr");
        let shards = whole
            .keys()
            .filter(|name| name.starts_with("ring_counts/c"));
        assert_eq!(shards.count(), 8, "shards of two rows");
        whole
    }

    /// Goes on with `out` and compares what it ends with.
    #[track_caller]
    pub(crate) fn resumes_to(&self, whole: &BTreeMap<String, Vec<u8>>, what: &str) -> Outcome {
        let resumed = self.call("reduce recipe.toml -o out").is(0);
        assert!(self.bytes("out/reduction.zarr") == *whole, "{what}");
        resumed
    }
}

fn n_bytes(shape: [usize; 5]) -> u64 {
    2 * shape.iter().product::<usize>() as u64
}

/// Small counts from a generator that needs no library.
pub(crate) fn noise(shape: [usize; 5]) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let count = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        ((state >> 60) as u16).to_le_bytes()
    };
    let n_samples = shape.iter().product();
    std::iter::repeat_with(count)
        .take(n_samples)
        .flatten()
        .collect()
}

/// Sends a signal by name, such as `STOP`.
pub(crate) fn signal(child: &Child, name: &str) {
    let sent = Command::new("kill")
        .args([&format!("-{name}"), &child.id().to_string()])
        .status();
    assert!(sent.unwrap().success(), "{name}");
}

/// Whether a program can be run here; where not, that is said.
pub(crate) fn has(program: &str, test: &str) -> bool {
    let found = std::env::var_os("PATH").is_some_and(|paths| {
        std::env::split_paths(&paths).any(|folder| folder.join(program).is_file())
    });
    if !found {
        eprintln!("skipped: {test} needs {program}");
    }
    found
}

/// Whether this is the superuser, who may mount and become another user.
pub(crate) fn is_superuser() -> bool {
    use std::os::unix::fs::MetadataExt;
    fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0)
}

/// Makes a folder and all above it in the temporary place readable for others.
pub(crate) fn open_to_others(folder: &Path, mode: u32) {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(folder, fs::Permissions::from_mode(mode)).unwrap();
}
