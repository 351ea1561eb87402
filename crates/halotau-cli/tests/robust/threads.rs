//! One result, whatever the number of threads, the memory and the processes.

use crate::experiment::Experiment;

#[test]
fn threads_memory_and_tasks_change_no_byte() {
    let experiment = Experiment::new();
    let least = |command: &str| {
        let too_small = experiment
            .call(&format!("{command} recipe.toml -o least -q --memory 1kB"))
            .is(71);
        smallest_budget(&too_small.stderr)
    };
    // An analysis takes more than the pass before it.
    let (reduce, run) = (least("reduce"), least("run"));
    experiment
        .call("run recipe.toml -o one -q --threads 1")
        .is(0);
    let one = experiment.arrays("one");
    let budgets = [
        (2, reduce.as_str(), run.as_str()),
        (3, "60MB", "60MB"),
        (8, "2GB", "2GB"),
    ];
    for (threads, reduce, analyze) in budgets {
        let call = |words: &str, memory: &str| {
            let limits = format!("-q --threads {threads} --memory {memory}");
            experiment.call(&format!("{words} {limits}")).is(0);
        };
        call("reduce recipe.toml -o out", reduce);
        call("analyze out", analyze);
        assert!(experiment.arrays("out") == one, "{threads} {reduce}");
        std::fs::remove_dir_all(experiment.path("out")).unwrap();
    }
    // Tasks of two numberings, of which two at a time do the same shards.
    experiment
        .call("reduce recipe.toml -o out -q --tasks 3")
        .is(0);
    let tasks: Vec<_> = ["1/3", "1/1", "3/3", "2/3"]
        .into_iter()
        .map(|task| {
            let words = format!("reduce recipe.toml -o out -q --threads 1 --task {task}");
            experiment.command(&words).spawn().unwrap()
        })
        .collect();
    for task in tasks {
        let done: crate::experiment::Outcome = task.wait_with_output().unwrap().into();
        done.is(0);
    }
    experiment
        .call("reduce recipe.toml -o out -q --finish")
        .is(0);
    experiment.call("analyze out -q --threads 3").is(0);
    assert!(experiment.arrays("out") == one, "tasks");
}

/// The budget that the message names, as the flag takes it.
pub(crate) fn smallest_budget(stderr: &str) -> String {
    let (_, after) = stderr.split_once(" needs ").unwrap();
    let line = after.lines().next().unwrap();
    line.chars().filter(|c| !c.is_whitespace()).collect()
}
