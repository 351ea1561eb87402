//! One result, whatever the number of threads, the memory and the processes.

use crate::experiment::Experiment;

#[test]
fn threads_memory_and_tasks_change_no_byte() {
    let experiment = Experiment::new();
    let too_small = experiment
        .call("reduce recipe.toml -o least -q --memory 1kB")
        .is(71);
    let least = smallest_budget(&too_small.stderr);
    experiment
        .call("run recipe.toml -o one -q --threads 1")
        .is(0);
    let one = experiment.arrays("one");
    for (threads, memory) in [(2, least.as_str()), (3, "60MB"), (8, "2GB")] {
        let limits = format!("--threads {threads} --memory {memory}");
        experiment
            .call(&format!("reduce recipe.toml -o out -q {limits}"))
            .is(0);
        experiment.call(&format!("analyze out -q {limits}")).is(0);
        assert!(experiment.arrays("out") == one, "{limits}");
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
