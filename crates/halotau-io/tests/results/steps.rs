//! Every step of writing refused or killed in turn: does the next run end with the same bytes?

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use halotau::reduce::Reduction;
use halotau::series::SampleType;
use halotau_io::Error;
use halotau_io::reduction_folder::{ReductionReader, ReductionWriter, RingLayout};
use halotau_io::steps::{Granted, Step, Steps};
use tempfile::TempDir;

use crate::fabricated::{self, N_COLS, files, ring};
use crate::reduction::{params, sums};

const TYPE: SampleType = SampleType::U16;
const SHARD_ROWS: usize = 3;

/// Two shards are enough to lose one and keep the other.
fn layout() -> RingLayout {
    RingLayout {
        shard_rows: SHARD_ROWS,
        shard_cols: N_COLS,
        ..fabricated::layout(TYPE)
    }
}

fn reduction() -> Reduction {
    Reduction {
        shard_rows: SHARD_ROWS,
        shard_cols: N_COLS,
        ..fabricated::reduction(TYPE)
    }
}

/// A folder in memory where there is one, because thousands of files are flushed; and how many steps to go on by where there is not.
fn fresh() -> (TempDir, PathBuf, usize) {
    let in_memory = tempfile::tempdir_in("/dev/shm");
    let stride = if in_memory.is_ok() { 1 } else { 11 };
    let folder = in_memory.unwrap_or_else(|_| tempfile::tempdir().unwrap());
    let path = folder.path().join("reduction.zarr");
    (folder, path, stride)
}

/// What happens at one step.
#[derive(Debug, Clone, Copy)]
enum Event {
    /// The system refuses it, and nothing else.
    Refused(io::ErrorKind),
    /// The process is killed: half of what was to be written is there, and nothing is tidied up.
    Killed,
}

#[derive(Debug)]
struct At {
    step: usize,
    event: Event,
    n_asked: AtomicUsize,
}

impl At {
    fn new(step: usize, event: Event) -> Arc<Self> {
        let n_asked = AtomicUsize::new(0);
        Arc::new(Self {
            step,
            event,
            n_asked,
        })
    }
}

impl Steps for At {
    fn before(&self, step: Step, path: &Path) -> io::Result<()> {
        let number = self.n_asked.fetch_add(1, Ordering::Relaxed);
        match self.event {
            Event::Refused(kind) if number == self.step => Err(kind.into()),
            Event::Killed if number == self.step => {
                let half = b"{\"shard\":1,\"files\":[{\"pa";
                match step {
                    Step::Write => fs::write(path, half)?,
                    Step::Append => fs::File::options()
                        .append(true)
                        .open(path)?
                        .write_all(half)?,
                    _ => {}
                }
                Err(io::Error::other("killed"))
            }
            Event::Killed if number > self.step => Err(io::Error::other("dead")),
            _ => Ok(()),
        }
    }
}

/// One run: what is missing is written, and all is finished.
fn run(path: &Path, restart: bool, steps: Arc<dyn Steps>) -> halotau_io::Result<()> {
    let writer = ReductionWriter::create_with(path, &params(), layout(), restart, steps)?;
    for shard in writer.shards().to_vec() {
        if !writer.done(shard.index) {
            writer.write_shard(&shard, &ring(&shard, TYPE), &sums(shard.index))?;
        }
    }
    writer.finish(&reduction())
}

fn whole() -> BTreeMap<String, Vec<u8>> {
    let (_folder, path, _) = fresh();
    run(&path, false, Arc::new(Granted)).unwrap();
    files(&path)
}

/// Lets one run after another meet the event `by` steps later, until `end` or the last, each in what `begin` leaves, and the run
/// after it end the work.
fn at_every_step(event: Event, by: usize, end: usize, restart: bool, begin: &dyn Fn(&Path)) {
    let whole = whole();
    let mut n_steps = 0;
    while n_steps < end {
        let (_folder, path, stride) = fresh();
        begin(&path);
        let at = At::new(n_steps, event);
        let ended = run(&path, restart, at.clone());
        if at.n_asked.load(Ordering::Relaxed) <= n_steps {
            ended.unwrap();
            break;
        }
        // The courtesy of removing what was half written is all whose refusal goes unnoticed.
        match (event, ended) {
            (Event::Refused(_), Ok(())) => {}
            (Event::Refused(kind), Err(error)) => {
                assert!(
                    matches!(&error, Error::Io { source, .. } if source.kind() == kind),
                    "step {n_steps}: {error}"
                );
                assert_eq!(error.exit_code(), 74, "{error}");
            }
            (Event::Killed, ended) => assert!(ended.is_err(), "step {n_steps}"),
        }
        // Until all is complete nobody takes it for complete.
        if let Ok(reader) = ReductionReader::open(&path) {
            reader.reduction().unwrap();
            assert_eq!(reader.shards().len(), 2);
        }
        run(&path, restart, Arc::new(Granted))
            .unwrap_or_else(|error| panic!("step {n_steps}: {error}"));
        assert!(files(&path) == whole, "step {n_steps}");
        n_steps += by * stride;
    }
    assert!(n_steps >= 60, "only {n_steps} steps");
}

#[test]
fn killed_at_every_step_the_next_run_ends_with_the_same_bytes() {
    at_every_step(Event::Killed, 1, usize::MAX, false, &|_| ());
}

#[test]
fn refused_at_every_step_the_next_run_ends_with_the_same_bytes() {
    // A file takes six steps, so that five meet each kind of them.
    let full = Event::Refused(io::ErrorKind::StorageFull);
    at_every_step(full, 5, usize::MAX, false, &|_| ());
}

#[test]
fn killed_twice_the_third_run_ends_with_the_same_bytes() {
    // The first was killed while it wrote the second shard, in the middle of a file.
    let killed = |path: &Path| {
        let killed = run(path, false, At::new(62, Event::Killed));
        killed.unwrap_err();
        let left = files(path);
        assert!(left.keys().any(|name| name.ends_with(".tmp")));
    };
    // From there on it is the same as without an earlier run.
    at_every_step(Event::Killed, 1, 70, false, &killed);
}

#[test]
fn killed_while_it_discards_an_earlier_one_a_restart_ends_with_the_same_bytes() {
    let earlier = |path: &Path| {
        let other = serde_json::json!({"ring": "another"});
        let writer = ReductionWriter::create(path, &other, layout(), false).unwrap();
        let shard = writer.shards()[1];
        writer
            .write_shard(&shard, &ring(&shard, TYPE), &sums(0))
            .unwrap();
    };
    at_every_step(Event::Killed, 1, 60, true, &earlier);
}

#[derive(Debug, Default)]
struct Noted(Mutex<Vec<(Step, PathBuf)>>);

impl Steps for Noted {
    fn before(&self, step: Step, path: &Path) -> io::Result<()> {
        self.0.lock().unwrap().push((step, path.to_owned()));
        Ok(())
    }
}

#[test]
fn a_power_cut_finds_each_file_flushed_before_it_is_counted_on() {
    // A kill leaves the page cache; only the order of the flushes protects from a power cut.
    let (_folder, path, _) = fresh();
    let noted = Arc::new(Noted::default());
    run(&path, false, noted.clone()).unwrap();
    let steps = noted.0.lock().unwrap().clone();
    let mut unflushed: Vec<PathBuf> = Vec::new();
    let mut unflushed_folders: Vec<PathBuf> = Vec::new();
    let mut n_lines = 0;
    for (step, at) in &steps {
        let folder = at.parent().unwrap().to_owned();
        match step {
            Step::Write if !at.ends_with(".lock") => unflushed.push(at.clone()),
            Step::Flush => unflushed.retain(|file| file != at),
            Step::Rename => {
                assert!(unflushed.is_empty(), "{at:?} before {unflushed:?}");
                unflushed_folders.push(folder);
            }
            Step::FlushFolder => unflushed_folders.retain(|folder| folder != at),
            Step::Append => {
                assert!(unflushed_folders.is_empty(), "{unflushed_folders:?}");
                n_lines += 1;
            }
            _ => {}
        }
    }
    assert_eq!(n_lines, 2);
    let last: Vec<&(Step, PathBuf)> = steps
        .iter()
        .filter(|(step, _)| *step == Step::Rename)
        .rev()
        .take(2)
        .collect();
    // The list vouches for all files before the group says that it is complete.
    assert!(last[0].1.ends_with("reduction.zarr/zarr.json"));
    assert!(last[1].1.ends_with("manifest.jsonl"));
}
