//! What can go wrong while drawing.

/// The result of every fallible function of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A figure that cannot be drawn.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// There is nothing to draw.
    #[error("{figure} needs {needed}, and there is none")]
    Nothing {
        /// The figure.
        figure: &'static str,
        /// What it shows.
        needed: &'static str,
    },
    /// Arrays that belong together differ in shape.
    #[error("{what} has {found} entries, expected {expected}")]
    Length {
        /// Which array.
        what: &'static str,
        /// Entries needed.
        expected: usize,
        /// Entries given.
        found: usize,
    },
    /// The drawing is not valid.
    #[error("the drawing \"{title}\" cannot be turned into an image: {problem}")]
    Drawing {
        /// Title of the drawing.
        title: String,
        /// What is wrong.
        problem: String,
    },
    /// The image would be too large.
    #[error(
        "the drawing \"{title}\" does not fit in memory at {width} x {height} pixels; ask for a lower resolution"
    )]
    TooLarge {
        /// Title of the drawing.
        title: String,
        /// Pixels across.
        width: u32,
        /// Pixels down.
        height: u32,
    },
    /// An image could not be encoded.
    #[error("a PNG image could not be written: {0}")]
    Png(#[from] png::EncodingError),
}
