//! The workflow of halotau: what the command, the viewer and the wheel have in common.
//!
//! ```text
//! recipe file ─▶ Loaded ─▶ reduce ─▶ analyze ─▶ write · draw · report
//! ```
//!
//! Everything here is a function of its arguments and a [`Context`]: how many threads and how much memory may be used,
//! and who wants to hear how far the work is. Nothing is printed. Every [`Error`] knows its exit code, its stable code
//! and what to do next; `docs/errors.md` lists them.

pub mod alike;
pub mod analyze;
pub mod bench;
pub mod calibrate;
pub mod context;
pub mod convert;
pub mod demo;
pub mod draw;
pub mod error;
pub mod export;
pub mod fingerprint;
pub mod follow;
pub mod init;
pub mod inspect;
mod kept_shards;
pub mod memory;
pub mod plan;
pub mod prepare;
pub mod recipe_file;
pub mod reduce;
pub mod report;
pub mod results;
pub mod run;
pub mod series;
pub mod simulate;
pub mod study;
pub mod taken;
pub mod tasks;

pub use context::{Context, Event, Unit};
pub use error::{Error, Result};
pub use halotau::recipe;
pub use halotau_io::reduction_folder::Task;
pub use halotau_io::{OpenRequest, SeriesFormat};
