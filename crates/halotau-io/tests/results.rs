//! Do results come back bit for bit, survive a kill, and notice damage?

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "results/analysis.rs"]
mod analysis;
#[path = "results/export.rs"]
mod export;
#[path = "results/fabricated.rs"]
mod fabricated;
#[path = "results/processes.rs"]
mod processes;
#[path = "results/reduction.rs"]
mod reduction;
#[path = "results/steps.rs"]
mod steps;
