//! Do the detectors' own files read to the right numbers, and do broken ones give an error?
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod blo;
mod counted;
mod described_raw;
mod dm;
mod dm_writer;
mod empad;
mod equal;
mod frms6;
mod fuzz;
mod hdf5;
mod hdf5_growth;
mod hostile;
mod mib;
mod mrc;
mod reading;
mod samples;
mod seq;
mod ser;
mod tiff;
mod timepix3;
mod tvips;
