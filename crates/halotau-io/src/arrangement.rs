//! Which frame of a file is which time and scan position?
//!
//! A file holds frames in an order, along up to three leading axes: a frame, a stack, a scan, or a series of scans.
//! Frame `n` in that order is time `n / positions`, scan row `n % positions / columns`, scan column the rest.

use halotau::series::{SeriesHeader, SeriesShape, Warning};

use crate::error::{Error, Result, ScanShape, ShapeMismatch};

/// Frames above which no factorizations are searched: beyond it the divisors alone would take seconds.
const MOST_FRAMES_FACTORED: u64 = 10_000_000_000;

/// Finds the shape of a series from that of a dataset and the shape that a person gave.
///
/// Five axes are taken as they are; four are one scan, or several where a shape says so; three are a stack
/// of frames, one row of positions unless a shape says which scan they are (see [`note_unknown_scan`]); two are one frame.
/// One entry of the shape may be 0, "find out"; so may the pattern's where the file knows them.
///
/// # Errors
///
/// [`Error::Shape`] with the three nearest shapes that would hold as many frames.
pub(crate) fn arrange(what: &str, dims: &[u64], wanted: Option<[usize; 5]>) -> Result<SeriesShape> {
    let wanted = wanted.map(|w| w.map(|len| len as u64));
    let fail = |problem: &str, suggest: bool| {
        let n_frames = dims
            .get(..dims.len().saturating_sub(2))
            .and_then(|lead| lead.iter().try_fold(1_u64, |n, &len| n.checked_mul(len)));
        Err(Error::Shape {
            what: what.to_owned(),
            mismatch: Box::new(ShapeMismatch {
                wanted: wanted.map(Vec::from).unwrap_or_default(),
                found: dims.to_vec(),
                problem: problem.to_owned(),
                suggestions: n_frames.filter(|_| suggest).map_or_else(Vec::new, |n| {
                    nearest_shapes(n, wanted.map_or([0; 3], |w| [w[0], w[1], w[2]]))
                }),
            }),
        })
    };
    if !(2..=5).contains(&dims.len()) {
        return fail(
            "a series has 5 axes (time, scan row, scan column, pattern row, pattern column), a scan 4, a stack of frames 3, a frame 2",
            false,
        );
    }
    if dims.contains(&0) {
        return fail("an axis is empty", false);
    }
    let (lead, pattern) = dims.split_at(dims.len() - 2);
    // The largest sample has 8 bytes; later products of lengths cannot overflow once all of them together do not.
    let n_bytes = dims.iter().try_fold(8_u64, |n, &len| n.checked_mul(len));
    if n_bytes.is_none_or(|n| usize::try_from(n).is_err()) {
        return fail("more samples than can be counted", false);
    }
    let n_frames = lead.iter().product();
    if let Some(w) = wanted
        && ((w[3] != 0 && w[3] != pattern[0]) || (w[4] != 0 && w[4] != pattern[1]))
    {
        return fail("the patterns have another size", false);
    }
    let scan = wanted.map_or([0; 3], |w| [w[0], w[1], w[2]]);
    let fits = |given: u64, found: u64| given == 0 || given == found;
    let found = match *lead {
        [times, rows, cols] => {
            if !(fits(scan[0], times) && fits(scan[1], rows) && fits(scan[2], cols)) {
                return fail("the file's own axes are another shape", false);
            }
            [times, rows, cols]
        }
        [rows, cols] if fits(scan[0], 1) && fits(scan[1], rows) && fits(scan[2], cols) => {
            [1, rows, cols]
        }
        [n_frames] if wanted.is_none() => [1, 1, n_frames],
        [] if wanted.is_none() => [1, 1, 1],
        _ => {
            let Some(solved) = solve(n_frames, scan) else {
                return fail("the frames do not fill the shape", true);
            };
            // Two leading axes must be split or joined at an axis of the scan, or rows and columns would mix.
            if let [first, second] = *lead {
                let [times, rows, cols] = solved;
                let splits = (first == times && second == rows * cols)
                    || (first == times * rows && second == cols)
                    || first == 1
                    || second == 1;
                if !splits {
                    return fail("the file's scan axes cannot be split like this", true);
                }
            }
            solved
        }
    };
    let as_len = |len: u64| usize::try_from(len).ok();
    match (
        as_len(found[0]),
        as_len(found[1]),
        as_len(found[2]),
        as_len(pattern[0]),
        as_len(pattern[1]),
    ) {
        (Some(n_times), Some(n_rows), Some(n_cols), Some(pattern_rows), Some(pattern_cols)) => {
            Ok(SeriesShape {
                n_times,
                n_rows,
                n_cols,
                pattern_rows,
                pattern_cols,
            })
        }
        _ => fail("an axis is longer than this computer can count", false),
    }
}

/// Notes that nothing says which scan a stack of frames is, where that is so.
pub(crate) fn note_unknown_scan(
    header: &mut SeriesHeader,
    dims: &[u64],
    wanted: Option<[usize; 5]>,
) {
    if let (&[n_frames, _, _], None) = (dims, wanted)
        && n_frames > 1
    {
        header.scan_origin = Some(NOT_STATED.to_owned());
        header
            .warnings
            .push(Warning::new("W105", not_stated(n_frames)));
    }
}

/// Origin of a scan that nothing states.
pub(crate) const NOT_STATED: &str = "not stated, frames read as one row";

/// The text of the warning that the shape of a scan is not known.
pub(crate) fn not_stated(n_frames: u64) -> String {
    let shapes: Vec<String> = nearest_shapes(n_frames, [0; 3])
        .iter()
        .map(|s| format!("{} x {} x {}", s.n_times, s.n_rows, s.n_cols))
        .collect();
    format!(
        "The shape of the scan is not stated, so the {n_frames} frames are read as one row of positions; give data.shape (--shape) as times, scan rows, scan columns, 0, 0. These would fit (time x row x col): {}.",
        shapes.join(", ")
    )
}

/// Fills in the one length that is 0 so that the product is the number of frames.
fn solve(n_frames: u64, scan: [u64; 3]) -> Option<[u64; 3]> {
    let known = scan
        .iter()
        .filter(|&&len| len != 0)
        .try_fold(1_u64, |n, &len| n.checked_mul(len))?;
    let n_unknown = scan.iter().filter(|&&len| len == 0).count();
    let unknown = n_frames / known;
    if n_unknown > 1 || unknown.checked_mul(known) != Some(n_frames) || unknown == 0 {
        return None;
    }
    if n_unknown == 0 && unknown != 1 {
        return None;
    }
    Some(scan.map(|len| if len == 0 { unknown } else { len }))
}

/// The three ways to arrange frames that are nearest to what was wanted.
///
/// Near is a small sum of `|ln(length / wanted length)|`; lengths wanted as 0 do not count. Where nothing
/// was wanted, square scans with as many times as rows come first.
pub fn nearest_shapes(n_frames: u64, wanted: [u64; 3]) -> Vec<ScanShape> {
    if n_frames == 0 || n_frames > MOST_FRAMES_FACTORED {
        return Vec::new();
    }
    let divisors = divisors(n_frames);
    let log = |n: u64| (n as f64).ln();
    let distance = |shape: &ScanShape| {
        let lens = [shape.n_times, shape.n_rows, shape.n_cols];
        if wanted == [0; 3] {
            return (log(shape.n_rows) - log(shape.n_cols)).abs()
                + (log(shape.n_times) - log(n_frames) / 3.0).abs();
        }
        lens.iter()
            .zip(wanted)
            .filter(|&(_, w)| w != 0)
            .map(|(&len, w)| (log(len) - log(w)).abs())
            .sum()
    };
    let mut best: Vec<(f64, ScanShape)> = Vec::with_capacity(4);
    for &n_times in &divisors {
        let positions = n_frames / n_times;
        for &n_rows in divisors.iter().take_while(|&&rows| rows <= positions) {
            if !positions.is_multiple_of(n_rows) {
                continue;
            }
            let shape = ScanShape {
                n_times,
                n_rows,
                n_cols: positions / n_rows,
            };
            let d = distance(&shape);
            let at = best.partition_point(|(other, _)| *other <= d);
            if at < 3 {
                best.insert(at, (d, shape));
                best.truncate(3);
            }
        }
    }
    best.into_iter().map(|(_, shape)| shape).collect()
}

fn divisors(n: u64) -> Vec<u64> {
    let mut small: Vec<u64> = (1..)
        .take_while(|d| d * d <= n)
        .filter(|&d| n.is_multiple_of(d))
        .collect();
    let large: Vec<u64> = small
        .iter()
        .rev()
        .map(|d| n / d)
        .filter(|d| d * d > n)
        .collect();
    small.extend(large);
    small
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lens(shape: &SeriesShape) -> [usize; 5] {
        [
            shape.n_times,
            shape.n_rows,
            shape.n_cols,
            shape.pattern_rows,
            shape.pattern_cols,
        ]
    }

    #[test]
    fn the_axes_of_a_file_become_those_of_a_series() {
        type Case = (&'static [u64], Option<[usize; 5]>, Option<[usize; 5]>);
        let cases: [Case; 16] = [
            (&[7, 2, 3, 4, 5], None, Some([7, 2, 3, 4, 5])),
            (
                &[7, 2, 3, 4, 5],
                Some([0, 2, 3, 0, 0]),
                Some([7, 2, 3, 4, 5]),
            ),
            (&[7, 2, 3, 4, 5], Some([7, 3, 2, 4, 5]), None),
            (&[2, 3, 4, 5], None, Some([1, 2, 3, 4, 5])),
            (&[14, 3, 4, 5], Some([7, 2, 3, 4, 5]), Some([7, 2, 3, 4, 5])),
            (&[7, 6, 4, 5], Some([7, 2, 0, 0, 0]), Some([7, 2, 3, 4, 5])),
            (&[3, 2, 4, 5], Some([1, 2, 3, 4, 5]), None),
            (&[6, 7, 4, 5], Some([7, 2, 3, 4, 5]), None),
            (&[42, 4, 5], Some([0, 2, 3, 4, 5]), Some([7, 2, 3, 4, 5])),
            (&[42, 4, 5], Some([7, 2, 3, 5, 4]), None),
            (&[41, 4, 5], Some([0, 2, 3, 4, 5]), None),
            (&[42, 4, 5], None, Some([1, 1, 42, 4, 5])),
            (&[4, 5], None, Some([1, 1, 1, 4, 5])),
            (&[4, 5], Some([1, 1, 1, 4, 5]), Some([1, 1, 1, 4, 5])),
            (&[5], None, None),
            (&[0, 2, 3, 4, 5], None, None),
        ];
        for (dims, wanted, expected) in cases {
            let found = arrange("file", dims, wanted).ok();
            assert_eq!(found.as_ref().map(lens), expected, "{dims:?} {wanted:?}");
        }
    }

    #[test]
    fn three_nearest_shapes_hold_all_frames() {
        let shapes = nearest_shapes(848 * 9, [106, 9, 8]);
        assert_eq!(shapes.len(), 3);
        assert_eq!(
            (shapes[0].n_times, shapes[0].n_rows, shapes[0].n_cols),
            (106, 9, 8)
        );
        for s in &shapes {
            assert_eq!(s.n_times * s.n_rows * s.n_cols, 848 * 9);
        }
        assert_eq!(nearest_shapes(0, [1, 1, 1]), []);
        // A file that claims more frames than any disk holds is not factored.
        assert_eq!(nearest_shapes(u64::MAX, [1, 1, 1]), []);
        assert_eq!(nearest_shapes(7, [0; 3]).len(), 3);
    }
}
