//! From a time series of 4D-STEM scans of a glass to its relaxation time, its structural order and their relation.
//!
//! A series is five-dimensional: `(time, scan row, scan column, pattern row, pattern column)`. The work has two halves:
//!
//! 1. **reduce**: every frame is read once; the counts on an annulus, a few per cent of the data, are kept;
//! 2. **analyze**: two-time correlation of the speckle ([`correlate`]), its relaxation time ([`relax`]),
//!    the azimuthal variance ([`fluctuate`]), the relation of the two ([`relate`]) and the activation energy
//!    over temperatures ([`arrhenius`]).
//!
//! The method is that of Nakazawa et al., NPG Asia Mater. 16 (2024), doi 10.1038/s41427-024-00577-1.
//! Read the modules in this order: [`error`], [`fluctuate`], [`quality`], [`recipe`], [`reduce`], [`relate`], [`relax`], [`ring`], [`series`], [`simulate`], [`source`].
//! `docs/notation.md` lists every symbol with its name and unit.
//!
//! Every number that depends on a convention names it: two published definitions of one quantity are two variants.
//! Library code does not print, read a clock or the environment; random numbers come from a seed argument.

pub mod analysis;
pub mod arrhenius;
pub mod axes;
pub mod calibrate;
pub mod correlate;
pub mod error;
pub mod fluctuate;
mod least_squares;
pub mod map;
pub mod nonfinite;
pub mod quality;
pub mod rank;
pub mod recipe;
pub mod reduce;
pub mod relate;
pub mod relax;
pub mod ring;
pub mod series;
pub mod simulate;
pub mod source;
pub mod statistics;

pub use error::{Error, Result};
pub use ndarray;
