//! How do frames come out of files, and results go into them?
//!
//! [`open`] recognizes a container by its content and gives a [`FrameSource`](halotau::source::FrameSource):
//! `.npy`, raw binary, Zarr, HDF5, or a folder or list of one-scan files. No size that a header states is
//! believed before it was compared with the length of the file.

pub mod error;

pub use error::{Error, Result};
