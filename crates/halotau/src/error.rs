//! What can be wrong with data or settings, said for the person who can cure it.

use crate::drift::Drift;
use crate::series::{Position, SampleType};

/// The result of every fallible function of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An error of the caller's data or settings.
///
/// A fit that does not converge is not an error: see [`FitOutcome`](crate::relax::FitOutcome).
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A source could not deliver frames; the reader's own error is inside.
    #[error("{name}: {source}")]
    Source {
        /// What was read, as a person calls it.
        name: String,
        /// The reader's error.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// An array does not have the shape that its use demands.
    #[error("{what} has shape {found:?}, expected {expected:?}")]
    Shape {
        /// Which array.
        what: &'static str,
        /// The shape needed.
        expected: Vec<usize>,
        /// The shape given.
        found: Vec<usize>,
    },
    /// Frames asked for lie outside the series.
    #[error(
        "frames {first_frame}..{end_frame} of times {first_time}..{end_time} lie outside the series of {n_times} times and {n_frames} frames a scan"
    )]
    RunOutside {
        /// First frame of the run.
        first_frame: usize,
        /// One past the last frame.
        end_frame: usize,
        /// First time of the run.
        first_time: usize,
        /// One past the last time.
        end_time: usize,
        /// Times in the series.
        n_times: usize,
        /// Frames a scan.
        n_frames: usize,
    },
    /// The samples are of another number type than the operation needs.
    #[error("samples are {found}, but {what} needs {expected}")]
    SampleType {
        /// The operation.
        what: &'static str,
        /// What it needs, in words.
        expected: &'static str,
        /// What was found.
        found: SampleType,
    },
    /// A setting has a value that makes no sense.
    #[error("{key} = {value}: {problem}")]
    Setting {
        /// The key as written in the recipe, for example `dynamics.q_range_per_nm`.
        key: String,
        /// The value given.
        value: String,
        /// What is wrong with it and what would be right.
        problem: String,
    },
    /// A ring lies outside the detector or outside the pixels that were kept.
    #[error(
        "the ring {q_min_per_nm}-{q_max_per_nm} 1/nm is outside {what}, which holds {available_min_per_nm:.3}-{available_max_per_nm:.3} 1/nm"
    )]
    RingOutside {
        /// "the detector" or "the stored annulus".
        what: &'static str,
        /// Lower edge asked for.
        q_min_per_nm: f64,
        /// Upper edge asked for.
        q_max_per_nm: f64,
        /// Lowest spatial frequency there is.
        available_min_per_nm: f64,
        /// Highest spatial frequency there is.
        available_max_per_nm: f64,
    },
    /// A ring holds no valid pixel, or too few.
    #[error(
        "the ring {q_min_per_nm}-{q_max_per_nm} 1/nm holds {n_pixels} valid pixels; at least {needed} are needed (is the mask too large, or the q scale wrong?)"
    )]
    EmptyRing {
        /// Lower edge.
        q_min_per_nm: f64,
        /// Upper edge.
        q_max_per_nm: f64,
        /// Valid pixels found.
        n_pixels: usize,
        /// Pixels needed.
        needed: usize,
    },
    /// A scan has no counts in the ring, so that nothing can be divided by its mean.
    #[error("no counts in the ring at time {time}")]
    DarkFrame {
        /// Index of the scan.
        time: usize,
    },
    /// Fewer time points than the quantity needs.
    #[error("{n_times} time point{} given; {what} needs at least {needed}", if *.n_times == 1 { "" } else { "s" })]
    TooFewTimes {
        /// The quantity.
        what: &'static str,
        /// Times given.
        n_times: usize,
        /// Times needed.
        needed: usize,
    },
    /// The times of a series are not finite and increasing.
    #[error("the times do not increase at index {time}: {before} s, then {after} s")]
    TimesNotIncreasing {
        /// Index of the later time.
        time: usize,
        /// The earlier time.
        before: f64,
        /// The later time.
        after: f64,
    },
    /// The center of the pattern could not be found.
    #[error(
        "the center of the pattern was not found: {problem}; give it as pattern.center = [row, col]"
    )]
    CenterNotFound {
        /// Why not.
        problem: String,
    },
    /// A position outside the scan.
    #[error("position row {}, col {} is outside the scan of {n_rows} x {n_cols}", .position.row, .position.col)]
    PositionOutside {
        /// The position asked for.
        position: Position,
        /// Scan rows.
        n_rows: usize,
        /// Scan columns.
        n_cols: usize,
    },
    /// Fewer temperatures, positions or points than a statistic needs.
    #[error("{what} needs at least {needed}, {found} given")]
    TooFew {
        /// The statistic and of what it needs more.
        what: &'static str,
        /// How many it needs.
        needed: usize,
        /// How many there are.
        found: usize,
    },
    /// The sum of a binned pixel does not fit in the 32 bits that counts are kept in.
    #[error("counts of {bin} x {bin} binned pixels exceed 32 bits; choose a smaller pattern.bin")]
    CountOverflow {
        /// Native pixels along a side.
        bin: usize,
    },
    /// The sample moved so far that too little of the scan is seen in every scan.
    #[error(
        "the sample moved by {rows:.1} x {cols:.1} scan steps during the record, and the scan has {n_rows} x {n_cols}: too few points stay inside; use fewer scans, or drift.method = \"none\""
    )]
    DriftBeyondField {
        /// Movement along rows, scan steps.
        rows: f64,
        /// Movement along columns, scan steps.
        cols: f64,
        /// Rows of the scan.
        n_rows: usize,
        /// Columns of the scan.
        n_cols: usize,
        /// The course, to be looked at.
        drift: Box<Drift>,
    },
    /// The caller asked to stop.
    #[error("stopped on request")]
    Stopped,
}
