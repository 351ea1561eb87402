//! How do frames come out of files, and results go into them?
//!
//! [`open()`] recognizes a file by its content and gives a [`FrameSource`](halotau::source::FrameSource): the detectors' own
//! formats ([`format_names`]), `.npy`, raw binary, Zarr, HDF5, or a folder or list of any of them. No size that a header states is
//! believed before it was compared with the length of the file.
//!
//! [`reduction_folder`] keeps the one pass over the data, shard by shard, so that a killed run goes on where it was;
//! [`analysis_folder`] keeps the results of one temperature, [`taken`] what they were made from; [`export`] hands them to other programs. Every byte that is
//! read back is one that was written, or an error that names the file.

pub mod analysis_folder;
pub mod error;
pub mod export;
mod manifest;
pub mod maps;
pub mod reduction_folder;
pub mod steps;
pub mod taken;
mod zarr_store;

mod arrangement;
mod candidates;
mod chunked;
mod clock;
mod extent;
mod file_names;
mod first_scans;
mod folder;
mod formats;
mod hdf5;
mod metadata;
mod npy;
mod number_type;
mod open;
mod positioned;
mod raw;
mod sample_bytes;
mod series_writer;
mod stream;
mod zarr_source;
mod zarr_tree;

pub use arrangement::nearest_shapes;
pub use error::{Error, Result};
pub use export::write_pattern;
pub use extent::{Extent, extent};
pub use formats::names as format_names;
pub use npy::{read_pattern, read_patterns};
pub use open::{BoxedSource, OpenRequest, open};
pub use series_writer::{SeriesBlock, SeriesFormat, SeriesWriter};
