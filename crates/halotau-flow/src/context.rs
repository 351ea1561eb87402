//! How may the work be done, and who wants to hear about it?

use std::sync::OnceLock;
use std::thread;

use halotau::series::Warning;
use rayon::{ThreadPool, ThreadPoolBuilder};

use crate::error::{Error, Result};
use crate::memory;

/// What a step counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Bytes read or written.
    Bytes,
    /// Scan positions.
    Positions,
    /// Anything else: figures, temperatures.
    Items,
}

/// How far the work is. Events of one stage come between its `Stage` and its `StageDone`; stages do not overlap.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// A step begins.
    Stage {
        /// Such as "reduce 633 K".
        name: String,
        /// How much there is to do.
        total: u64,
        /// Of what.
        unit: Unit,
    },
    /// So much more is done.
    Advance(u64),
    /// The step is over.
    StageDone,
    /// A sentence for people.
    Note(String),
    /// Something a person should know about the data.
    Warning(Warning),
}

/// How the work may be done. None of it changes a result.
pub struct Context<'a> {
    /// Threads; all that the process may use where `None`.
    pub threads: Option<usize>,
    /// Memory limit; where `None`, [`memory::ENOUGH`], and up to [`memory::default_limit`] where that is not.
    pub memory_bytes: Option<u64>,
    /// Discard what an earlier run left, instead of going on with it.
    pub restart: bool,
    /// Where a disk fails to read a shard, reduce the others before that is an error.
    pub keep_going: bool,
    /// More than half of the positions BAD is an error.
    pub strict: bool,
    listener: &'a (dyn Fn(Event) + Sync),
    pool: OnceLock<ThreadPool>,
}

impl<'a> Context<'a> {
    /// All threads, no more memory than is of use, resuming, not strict; events go to the listener, from any thread.
    pub fn new(listener: &'a (dyn Fn(Event) + Sync)) -> Self {
        Self {
            threads: None,
            memory_bytes: None,
            restart: false,
            keep_going: false,
            strict: false,
            listener,
            pool: OnceLock::new(),
        }
    }

    /// Number of threads that will be used.
    pub fn n_threads(&self) -> usize {
        let available = || thread::available_parallelism().map_or(1, usize::from);
        self.threads.unwrap_or_else(available).max(1)
    }

    /// The most bytes that may be planned with.
    pub fn memory_limit(&self) -> u64 {
        self.memory_bytes.unwrap_or_else(memory::default_limit)
    }

    /// Does work on the context's own threads; parallel iterators inside use these and no others.
    ///
    /// # Errors
    ///
    /// Those of the work; [`Error::Threads`] where the system refuses threads.
    pub fn install<T: Send>(&self, work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        if self.pool.get().is_none() {
            let n_threads = self.n_threads();
            let pool = ThreadPoolBuilder::new()
                .num_threads(n_threads)
                .thread_name(|thread| format!("halotau-{thread}"))
                .build()
                .map_err(|error| Error::Threads {
                    n_threads,
                    source: Box::new(error),
                })?;
            // A pool that another thread made meanwhile is as good.
            let _ = self.pool.set(pool);
        }
        self.pool
            .get()
            .expect("the pool was set above")
            .install(work)
    }

    /// A step begins.
    pub fn stage(&self, name: impl Into<String>, total: u64, unit: Unit) {
        let name = name.into();
        (self.listener)(Event::Stage { name, total, unit });
    }

    /// So much more of the step is done.
    pub fn advance(&self, amount: u64) {
        (self.listener)(Event::Advance(amount));
    }

    /// The step is over.
    pub fn stage_done(&self) {
        (self.listener)(Event::StageDone);
    }

    /// A sentence for people.
    pub fn note(&self, text: impl Into<String>) {
        (self.listener)(Event::Note(text.into()));
    }

    /// Something a person should know about the data.
    pub fn warn(&self, warning: &Warning) {
        (self.listener)(Event::Warning(warning.clone()));
    }
}

impl std::fmt::Debug for Context<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Context")
            .field("threads", &self.threads)
            .field("memory_bytes", &self.memory_bytes)
            .field("restart", &self.restart)
            .field("strict", &self.strict)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests {
    use std::sync::Mutex;

    use super::*;

    #[test]
    fn work_runs_on_as_many_threads_as_asked_for() {
        let ignore = |_| ();
        let mut context = Context::new(&ignore);
        context.threads = Some(3);
        let n_threads = context.install(|| Ok(rayon::current_num_threads()));
        assert_eq!(n_threads.unwrap(), 3);
        assert!(Context::new(&ignore).n_threads() >= 1);
    }

    #[test]
    fn events_reach_the_listener_in_order() {
        let heard = Mutex::new(Vec::new());
        let listener = |event| heard.lock().unwrap().push(event);
        let context = Context::new(&listener);
        context.stage("read", 10, Unit::Bytes);
        context.advance(10);
        context.stage_done();
        let stage = Event::Stage {
            name: "read".to_owned(),
            total: 10,
            unit: Unit::Bytes,
        };
        let expected = vec![stage, Event::Advance(10), Event::StageDone];
        assert_eq!(*heard.lock().unwrap(), expected);
    }
}
