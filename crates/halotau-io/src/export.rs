//! How do results get into the programs that people already use?
//!
//! - [`write_maps_csv`], [`write_series_csv`]: tables for spreadsheets, pandas and R;
//! - [`write_dynamics_csv`]: the tests of the dynamics as one long table;
//! - [`write_tiffs`]: maps as 32-bit floats with a calibrated scale, for Fiji and ImageJ;
//! - [`write_npys`]: maps for NumPy;
//! - [`write_hdf5`]: one file with NeXus plots, for h5py, silx and H5Web.
//!
//! Every file is written beside its place and renamed. NaN means "no value"; `quality` says why.

mod csv;
mod dynamics;
mod hdf5;
mod npy;
mod tiff;

pub use csv::{Comments, write_maps_csv, write_series_csv};
pub use dynamics::write_dynamics_csv;
pub use hdf5::write_hdf5;
pub use npy::{write_npys, write_pattern};
pub use tiff::write_tiffs;
