//! Does every container give back the samples that were written, and an error for everything else?

#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod containers;
mod hostile;
mod known;
mod real_files;
mod writer;
