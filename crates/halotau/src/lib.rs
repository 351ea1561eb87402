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
//! Read the modules in this order: [`error`], [`fluctuate`], [`plan`], [`quality`], [`recipe`], [`reduce`], [`relate`], [`relax`], [`ring`], [`series`], [`simulate`], [`source`].
//! `docs/notation.md` lists every symbol with its name and unit.
//!
//! # Example
//!
//! ```
//! use halotau::calibrate::Calibration;
//! use halotau::map;
//! use halotau::ndarray::Array2;
//! use halotau::recipe::Recipe;
//! use halotau::reduce::{ReducePlan, ReduceSettings};
//! use halotau::simulate::{Simulation, SimulationSettings};
//! use halotau::source::FrameSource;
//!
//! // Nine positions of one simulated temperature, whose relaxation time is 100 s everywhere.
//! let mut settings = SimulationSettings { n_rows: 3, n_cols: 3, ..SimulationSettings::default() };
//! settings.glass.tau_median_s = 100.0;
//! settings.glass.ln_tau_spread = 0.0;
//! let series = Simulation::new(&settings, 0)?.series()?;
//!
//! let every_pixel = Array2::from_elem((66, 66), true);
//! let calibration = Calibration::centered(settings.center_px(), settings.q_step_per_nm, every_pixel);
//! let recipe = Recipe::default();
//! let plan = ReduceSettings::of(series.header(), calibration, recipe.annulus_range())?;
//! let (reduction, rings) = ReducePlan::new(series.header(), plan)?.reduce(&series, 1 << 24)?;
//! let analysis = map::analyze_in_memory(&reduction, &rings, &recipe)?;
//!
//! let tau = analysis.summary.tau_median_s;
//! assert!(tau.lower < 100.0 && 100.0 < tau.upper);
//! # Ok::<(), halotau::Error>(())
//! ```
//!
//! Every number that depends on a convention names it: two published definitions of one quantity are two variants.
//! Library code does not print, read a clock or the environment; random numbers come from a seed argument.

pub mod alike;
pub mod analysis;
pub mod arrhenius;
pub mod axes;
pub mod beam;
pub mod calibrate;
mod censored;
pub mod conditions;
pub mod correlate;
mod correlogram;
pub mod current;
pub mod drift;
pub mod dynamics;
pub mod error;
mod exponential;
pub mod fluctuate;
pub mod heterogeneity;
mod least_squares;
mod likelihood;
pub mod live;
pub mod map;
pub mod nonfinite;
pub mod plan;
pub mod q_dependence;
pub mod quality;
pub mod rank;
pub mod recipe;
pub mod reduce;
pub mod region;
pub mod relate;
pub mod relax;
pub mod ring;
pub mod series;
mod simd;
pub mod simulate;
pub mod source;
mod speckle;
pub mod statistics;
pub mod survey;

pub use error::{Error, Result};
pub use ndarray;
