//! What files may not say themselves, as arguments of the commands that open one.

use std::path::Path;

use clap::{Args, ValueEnum};
use halotau_flow::OpenRequest;
use halotau_flow::recipe::{BinnedRows, Corrections, FrameLayout, Orientation};

/// Which frames belong to which positions; the same as `data.shape`, `data.dataset` and `data.frames` of a recipe.
#[derive(Debug, Args)]
pub(crate) struct Layout {
    /// Path of the dataset inside an HDF5 file or Zarr group
    #[arg(long, value_name = "NAME")]
    dataset: Option<String>,
    /// Time, scan rows, scan columns, pattern rows, pattern columns; 0 for "find out"
    #[arg(long, value_name = "T,R,C,R,C", value_parser = shape)]
    shape: Option<[usize; 5]>,
    /// Frames before the first line; negative: positions before the first frame
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    sync_offset: Option<i64>,
    /// Frames before the first column of each line that belong to no position
    #[arg(long, value_name = "N")]
    prescan_cols: Option<usize>,
    /// Frames after the last column of each line that belong to no position
    #[arg(long, value_name = "N")]
    flyback_cols: Option<usize>,
    /// Frames between two scans that belong to no position
    #[arg(long, value_name = "N", default_value_t = 0)]
    between_scans: usize,
    /// Every second line was scanned backward
    #[arg(long)]
    snake: bool,
    /// Turns of the scan, in this order
    #[arg(long, value_name = "TURNS", value_enum, value_delimiter = ',')]
    turn_scan: Vec<Turn>,
    /// Turns of each pattern, in this order
    #[arg(long, value_name = "TURNS", value_enum, value_delimiter = ',')]
    turn_pattern: Vec<Turn>,
    /// Dark and gain references that lie beside the frames
    #[arg(long, value_enum)]
    corrections: Option<References>,
    /// Which counter (energy threshold) of the detector, from 0
    #[arg(long, value_name = "N", default_value_t = 0)]
    counter: usize,
    /// Rows of a pattern that the camera summed to one
    #[arg(long, value_enum, default_value_t = Rows::Repeat)]
    binned_rows: Rows,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Rows {
    /// Repeated, so that pixels are square
    Repeat,
    /// As they are stored, higher than wide
    Keep,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Turn {
    /// Exchange rows and columns
    Transpose,
    /// Last row first
    FlipRows,
    /// Last column first
    FlipCols,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum References {
    /// Frames as they are stored
    None,
    /// (stored - dark) * gain
    Apply,
}

fn shape(text: &str) -> Result<[usize; 5], String> {
    let lengths = text.split(',').map(|length| length.trim().parse().ok());
    let lengths: Option<Vec<usize>> = lengths.collect();
    lengths
        .and_then(|lengths| lengths.try_into().ok())
        .ok_or_else(|| "write five whole numbers, such as 106,60,120,264,264".to_owned())
}

/// The exchange always comes first: flips before it are the other flips after it.
fn orientation(turns: &[Turn]) -> Orientation {
    let mut turned = Orientation::default();
    for turn in turns {
        match turn {
            Turn::Transpose => {
                turned = Orientation {
                    transpose: !turned.transpose,
                    flip_rows: turned.flip_cols,
                    flip_cols: turned.flip_rows,
                }
            }
            Turn::FlipRows => turned.flip_rows = !turned.flip_rows,
            Turn::FlipCols => turned.flip_cols = !turned.flip_cols,
        }
    }
    turned
}

impl Layout {
    /// The request to open a path with this layout.
    pub(crate) fn request(&self, path: &Path) -> OpenRequest {
        OpenRequest {
            dataset: self.dataset.clone(),
            shape: self.shape,
            frames: FrameLayout {
                sync_offset: self.sync_offset,
                prescan_cols: self.prescan_cols,
                flyback_cols: self.flyback_cols,
                between_scans: self.between_scans,
                snake: self.snake,
                scan: orientation(&self.turn_scan),
                pattern: orientation(&self.turn_pattern),
                corrections: self.corrections.map(|corrections| match corrections {
                    References::None => Corrections::None,
                    References::Apply => Corrections::Apply,
                }),
                counter: self.counter,
                binned_rows: match self.binned_rows {
                    Rows::Repeat => BinnedRows::Repeat,
                    Rows::Keep => BinnedRows::Keep,
                },
            },
            ..OpenRequest::new(path)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn turns_are_done_in_the_order_given() {
        // A flip of the rows followed by an exchange is an exchange followed by a flip of the columns.
        let turned = orientation(&[Turn::FlipRows, Turn::Transpose]);
        let other = orientation(&[Turn::Transpose, Turn::FlipCols]);
        assert_eq!(turned, other);
        assert_eq!(
            orientation(&[Turn::FlipRows, Turn::FlipRows]),
            Orientation::default()
        );
    }
}
