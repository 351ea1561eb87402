//! Kills, full disks, broken reads, two runs at once, any number of threads: the real command, and the bytes it leaves.
//!
//! What needs rights or tools that are not there is skipped, and says so.

#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod dropped;
mod experiment;
mod faults;
mod follow;
mod kills;
mod threads;
