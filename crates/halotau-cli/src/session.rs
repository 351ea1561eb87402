//! How this call of the command prints and works.

use std::io::{self, ErrorKind, IsTerminal, Write};
use std::thread;
use std::time::{Duration, Instant};

use halotau::series::Warning;
use halotau_flow::follow::{self, Clock, FollowSettings};
use halotau_flow::recipe_file::{self, Loaded};
use halotau_flow::run::{self, Plan};
use halotau_flow::{Context, Error, Event, memory};
use serde::Serialize;

use crate::arguments::{FollowArguments, Global, RecipeArguments, When};
use crate::progress::Progress;

type Result<T, E = Error> = std::result::Result<T, E>;

/// The flags of every command, made up.
pub(crate) struct Session {
    pub(crate) json: bool,
    pub(crate) dry_run: bool,
    /// Whether stderr is colored.
    pub(crate) color: bool,
    progress: Progress,
    threads: Option<usize>,
    memory_bytes: Option<u64>,
    /// Whether to discard what an earlier run left.
    pub(crate) restart: bool,
    keep_going: bool,
    strict: bool,
    pub(crate) verbose: bool,
}

impl Session {
    pub(crate) fn new(global: &Global) -> Self {
        let is_terminal = io::stderr().is_terminal();
        let color = match global.color {
            When::Always => true,
            When::Never => false,
            // https://no-color.org: present and not empty.
            When::Auto => {
                is_terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
            }
        };
        Self {
            json: global.json,
            dry_run: global.dry_run,
            color,
            progress: Progress::new(global.quiet, is_terminal, color),
            threads: global.threads,
            memory_bytes: global.memory,
            restart: global.restart,
            keep_going: global.keep_going,
            strict: global.strict,
            verbose: global.verbose,
        }
    }

    /// Loads the recipe of a command with its overrides.
    pub(crate) fn load(&self, arguments: &RecipeArguments) -> Result<Loaded> {
        let mut loaded = recipe_file::load(&arguments.recipe, &arguments.overrides)?;
        if let Some(folder) = &arguments.output {
            let absolute = std::path::absolute(folder);
            loaded.recipe.output.folder =
                absolute.map_err(|source| Error::create(folder, source))?;
        }
        loaded
            .warnings
            .iter()
            .for_each(|warning| self.warn(warning));
        Ok(loaded)
    }

    /// Says what a run would do, with a trial of how fast the data are read.
    pub(crate) fn plan(&self, loaded: &Loaded) -> Result<Plan> {
        let begin = Instant::now();
        let clock = || begin.elapsed().as_secs_f64();
        self.with_context(|context| run::plan(loaded, context, &clock))
    }

    /// Waits for the end of a record, with maps meanwhile, where that was asked for. Gives the recipe of what was recorded.
    pub(crate) fn follow(&self, loaded: Loaded, arguments: &FollowArguments) -> Result<Loaded> {
        /// Between two looks: far below the time of a scan, and too long to be felt by disk or network.
        const PAUSE_S: f64 = 0.25;
        if !arguments.follow {
            return Ok(loaded);
        }
        let begin = Instant::now();
        let clock = Clock {
            now_s: &|| begin.elapsed().as_secs_f64(),
            wait_s: &|seconds| thread::sleep(Duration::from_secs_f64(seconds)),
        };
        let settings = FollowSettings {
            idle_s: arguments.follow_idle,
            pause_s: PAUSE_S,
        };
        self.with_context(|context| follow::follow(&loaded, settings, &clock, context))
    }

    /// Says what a person should know of the data, on stderr.
    pub(crate) fn warn(&self, warning: &Warning) {
        self.progress.hear(Event::Warning(warning.clone()));
    }

    /// Prints a result to stdout: as text for people, or as one JSON object.
    pub(crate) fn print(&self, text: &str, value: &impl Serialize) -> Result<()> {
        let text = if self.json {
            let mut json = serde_json::to_string_pretty(value)
                .map_err(|error| Error::usage("--json", error.to_string()))?;
            json.push('\n');
            json
        } else {
            text.to_owned()
        };
        let mut stdout = io::stdout().lock();
        match stdout
            .write_all(text.as_bytes())
            .and_then(|()| stdout.flush())
        {
            // `| head` has read enough.
            Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
            Err(error) => Err(Error::write("standard output".as_ref(), error)),
            Ok(()) => Ok(()),
        }
    }

    /// Calls work with a context whose events are shown.
    pub(crate) fn with_context<T>(
        &self,
        work: impl FnOnce(&Context<'_>) -> Result<T>,
    ) -> Result<T> {
        let listener = |event| self.progress.hear(event);
        let mut context = Context::new(&listener);
        context.threads = self.threads;
        context.memory_bytes = self.memory_bytes;
        context.restart = self.restart;
        context.keep_going = self.keep_going;
        context.strict = self.strict;
        if self.verbose {
            let memory = memory::size_text(context.memory_limit());
            context.note(format!(
                "{} threads, up to {memory} of memory",
                context.n_threads()
            ));
        }
        let result = work(&context);
        self.progress.finish();
        result
    }
}
