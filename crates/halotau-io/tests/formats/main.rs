//! Do the detectors' own files read to the right numbers, and do broken ones give an error?
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod blo;
mod hostile;
mod reading;
mod samples;
