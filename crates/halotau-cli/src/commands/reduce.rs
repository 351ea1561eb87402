//! `halotau reduce`

use std::path::PathBuf;

use clap::Args;
use halotau_flow::recipe_file::Loaded;
use halotau_flow::{Context, Error, Result, Task, results, run, tasks};
use serde_json::json;

use super::run::plan_text;
use crate::arguments::{FollowArguments, RecipeArguments};
use crate::session::Session;

const EXAMPLES: &str = "\
Examples:
  halotau reduce recipe.toml --memory 4GiB
  halotau reduce recipe.toml && halotau analyze recipe.toml -s profile=paper
  halotau reduce recipe.toml --tasks 20       # then each --task 1/20 and so on, then --finish: see docs/cluster.md";

/// Read every frame once and keep the counts on the annulus
#[derive(Debug, Args)]
#[command(before_help = EXAMPLES)]
pub(crate) struct Reduce {
    #[command(flatten)]
    recipe: RecipeArguments,
    #[command(flatten)]
    follow: FollowArguments,
    /// Begin the work of N processes: calibrate, and write a script for Slurm
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    tasks: Option<u32>,
    /// Do the part of one process, such as 3/20
    #[arg(long, value_name = "I/N", conflicts_with = "tasks")]
    task: Option<Task>,
    /// Complete the reduction after all processes
    #[arg(long, conflicts_with_all = ["tasks", "task"])]
    finish: bool,
}

impl Reduce {
    pub(crate) fn run(&self, session: &Session) -> Result<()> {
        let loaded = session.load(&self.recipe)?;
        if session.restart && (self.task.is_some() || self.finish) {
            return Err(Error::usage(
                "--restart",
                "would discard the work of the other processes; give it with --tasks",
            ));
        }
        if session.dry_run {
            let plan = session.plan(&loaded)?;
            return session.print(&plan_text(&plan), &plan);
        }
        if self.follow.follow && (self.tasks.is_some() || self.task.is_some() || self.finish) {
            return Err(Error::usage(
                "--follow",
                "is for one process; tasks need a record that has ended",
            ));
        }
        let loaded = session.follow(loaded, &self.follow)?;
        if let Some(n_tasks) = self.tasks {
            return self.begin(session, &loaded, n_tasks as usize);
        }
        if let Some(task) = self.task {
            let work = |context: &Context<'_>| tasks::reduce_task(&loaded, task, context);
            let done = session.with_context(work)?;
            let text = format!(
                "task {task}: {} of {} shards reduced, the others were there\n",
                done.n_reduced, done.n_shards
            );
            return session.print(&text, &done);
        }
        let written = session.with_context(|context| match self.finish {
            true => tasks::finish(&loaded, context),
            false => run::reduce_all(&loaded, context),
        })?;
        let mut text = String::new();
        for path in &written {
            text.push_str(&format!("wrote {}\n", path.display()));
        }
        session.print(&text, &json!({"reductions": written}))
    }

    /// Begins the work of several processes and says how to go on.
    fn begin(&self, session: &Session, loaded: &Loaded, n_tasks: usize) -> Result<()> {
        let begun = session.with_context(|context| tasks::begin(loaded, context))?;
        let n_tasks = n_tasks.min(begun.n_shards.max(1));
        let script = run::output_folder(loaded).join("reduce.sbatch");
        let command = self.command()?;
        let text = tasks::slurm_script(&command, n_tasks);
        results::write_file(&script, text.as_bytes())?;
        let text = format!(
            "begun  {} shards in {n_tasks} tasks\n\
             wrote {}\n\
             next: sbatch that file, or repeat this command with --task 1/{n_tasks} to --task {n_tasks}/{n_tasks} instead of \
             --tasks; then with --finish\n",
            begun.n_shards,
            script.display()
        );
        session.print(
            &text,
            &json!({"begun": begun, "n_tasks": n_tasks, "script": script}),
        )
    }

    /// This command with absolute paths and without the flags that differ from process to process.
    fn command(&self) -> Result<Vec<String>> {
        let absolute = |path: &PathBuf| {
            std::path::absolute(path)
                .map(|path| path.display().to_string())
                .map_err(|source| Error::read(path, source))
        };
        let program = std::env::current_exe().map_or_else(
            |_| "halotau".to_owned(),
            |program| program.display().to_string(),
        );
        let mut words = vec![program, "reduce".to_owned(), absolute(&self.recipe.recipe)?];
        for setting in &self.recipe.overrides {
            words.extend(["-s".to_owned(), setting.clone()]);
        }
        if let Some(folder) = &self.recipe.output {
            words.extend(["-o".to_owned(), absolute(folder)?]);
        }
        Ok(words)
    }
}
