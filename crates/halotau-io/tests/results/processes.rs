//! One reduction by several processes.

use std::fs;
use std::path::Path;

use halotau::series::SampleType;
use halotau_io::Error;
use halotau_io::reduction_folder::{ReductionReader, ReductionWriter, Task};

use crate::fabricated::{files, layout, reduction, ring};
use crate::reduction::{begin, fresh, params, sums, write_all};

const TYPE: SampleType = SampleType::U16;

fn join(path: &Path, task: &str) -> halotau_io::Result<ReductionWriter> {
    let task: Task = task.parse().unwrap();
    ReductionWriter::join(path, &params(), layout(TYPE), task)
}

fn write(writer: &ReductionWriter, shard: usize) {
    let shard = writer.shards()[shard];
    writer
        .write_shard(&shard, &ring(&shard, TYPE), &sums(shard.index))
        .unwrap();
}

#[test]
fn tasks_leave_the_bytes_of_one_process() {
    let (_folder, whole) = fresh();
    write_all(&whole, TYPE);
    let (_folder, path) = fresh();
    drop(begin(&path, TYPE));
    // Tasks of two numberings at once, two of which do shard 2 at the same time.
    let (first, second, other) = (
        join(&path, "1/3").unwrap(),
        join(&path, "2/3").unwrap(),
        join(&path, "1/2").unwrap(),
    );
    for shard in 0..2 {
        write(&first, shard);
    }
    for shard in 2..4 {
        write(&second, shard);
    }
    write(&other, 2);
    assert!(second.done(3) && !second.done(0), "it knows its own");
    assert!(join(&path, "3/3").unwrap().done(0), "and what was there");
    let error = ReductionReader::open(&path).unwrap_err();
    assert!(
        matches!(error, Error::Incomplete { done: 4, .. }),
        "{error}"
    );
    drop((first, second, other));
    // The third was killed while it wrote a line.
    let third = join(&path, "3/3").unwrap();
    write(&third, 4);
    drop(third);
    let manifest = path.join("manifest-3-of-3.jsonl");
    let mut lines = fs::read(&manifest).unwrap();
    lines.extend(b"{\"shard\":5,\"fi");
    fs::write(&manifest, lines).unwrap();
    let third = join(&path, "3/3").unwrap();
    assert!(third.done(4) && !third.done(5));
    write(&third, 5);
    // A task cannot finish: others may still write.
    assert!(third.finish(&reduction(TYPE)).is_err());

    let writer = begin(&path, TYPE);
    assert_eq!(writer.n_done(), 6);
    writer.finish(&reduction(TYPE)).unwrap();
    assert_eq!(files(&path), files(&whole));
    // A task that comes late finds everything done and changes nothing.
    assert!(join(&path, "2/3").unwrap().is_complete());
    assert_eq!(files(&path), files(&whole));
    assert_eq!(ReductionReader::open(&path).unwrap().shards().len(), 6);
}

#[test]
fn a_task_is_alone_and_nobody_else_writes_meanwhile() {
    let (_folder, path) = fresh();
    let refused = join(&path, "1/2").unwrap_err();
    assert!(matches!(refused, Error::NotResults { .. }), "{refused}");
    let alone = begin(&path, TYPE);
    let refused = join(&path, "1/2").unwrap_err();
    assert!(matches!(refused, Error::Locked { .. }), "{refused}");
    drop(alone);

    let first = join(&path, "1/2").unwrap();
    let twice = join(&path, "1/2").unwrap_err();
    assert!(
        matches!(twice, Error::Locked { holder: Some(ref holder), .. } if holder.process == std::process::id()),
        "{twice}"
    );
    let restarted = ReductionWriter::create(&path, &params(), layout(TYPE), true).unwrap_err();
    assert!(matches!(restarted, Error::Locked { .. }), "{restarted}");
    drop(first);
    drop(begin(&path, TYPE));

    let other = serde_json::json!({"ring": "another"});
    let stale = ReductionWriter::join(&path, &other, layout(TYPE), "1/2".parse().unwrap());
    assert!(matches!(stale, Err(Error::StaleParameters { .. })));
}
