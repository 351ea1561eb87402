//! Where on the sample can be looked?
//!
//! Left out are positions outside the polygon or the mask of the recipe, vacuum, what lies within a margin of its edge (the surface
//! of a glass is faster than its inside, and an edge that drifts under a probe looks like dynamics), and thicknesses outside a window.
//!
//! ```text
//! thickness proxy = ring intensity / its median over the positions kept
//! ```
//!
//! The intensity of the ring grows with the thickness as long as most electrons scatter once or twice; it is a monotone stand-in
//! and no thickness in nm.

use ndarray::Array2;

use crate::drift::network::solve_small;
use crate::error::{Error, Result};
use crate::rank;
use crate::recipe::{MaskShape, Scan, VacuumSearch};
use crate::reduce::Reduction;

/// Vacuum is at most this share of the sample's intensity.
const MAX_VACUUM_LEVEL: f64 = 0.5;

/// Sample and vacuum must be apart by this many spreads of either; the halves of an even wedge are by 2.7.
const MIN_SEPARATION: f64 = 3.5;

/// Distance from the first, rough edge in scan steps beyond which a probe lies on the sample as a whole.
const FULL_COVER: f64 = 3.0;

/// Share of the scan below which a dark patch is a defect and not vacuum.
const MIN_VACUUM_SHARE: f64 = 0.01;

/// The margin takes at most this share of the way from the edge to the deepest point.
const MAX_MARGIN_SHARE: f64 = 0.5;

/// Which positions are looked at, and what distinguishes them.
#[derive(Debug, Clone, PartialEq)]
pub struct Region {
    /// Positions that are left out, `[row, col]`.
    pub masked: Array2<bool>,
    /// Positions in vacuum, `[row, col]`.
    pub vacuum: Array2<bool>,
    /// Distance to the nearest vacuum, `[row, col]`, in nm (scan steps where the step is not known); none without vacuum. 0 in vacuum.
    pub edge_distance: Option<Array2<f64>>,
    /// The margin kept, in the unit of `edge_distance`; 0 without vacuum.
    pub margin: f64,
    /// Ring intensity over its median, `[row, col]`; NaN in vacuum.
    pub thickness_proxy: Array2<f64>,
}

/// Decides on the region from the mean intensity of the ring at every point, `[row, col]` (NaN where nothing is known), and the mask file
/// of the recipe in the shape of the scan or of the analyzed part of it.
///
/// # Errors
///
/// [`Error::Shape`] for a mask of another shape; [`Error::Setting`] where nothing is left to look at.
pub fn region(
    reduction: &Reduction,
    scan: &Scan,
    mask_file: Option<&Array2<bool>>,
    intensity: &Array2<f64>,
) -> Result<Region> {
    let shape = intensity.dim();
    let mut masked = user_mask(reduction, scan, mask_file, shape)?;
    let vacuum = match scan.vacuum {
        VacuumSearch::Auto => vacuum(intensity),
        VacuumSearch::None => Array2::from_elem(shape, false),
    };
    let step_nm = reduction.step_nm;
    let unit = if step_nm.is_finite() { step_nm } else { 1.0 };
    let edge_distance = edge_distance(&vacuum).map(|steps| steps.mapv(|steps| steps * unit));
    let mut margin = 0.0;
    if let Some(distance) = &edge_distance {
        let deepest = distance.iter().copied().fold(0.0, f64::max);
        margin = scan.edge_margin_nm.min(MAX_MARGIN_SHARE * deepest);
        for (masked, &distance) in masked.iter_mut().zip(distance) {
            *masked |= distance == 0.0 || distance < margin;
        }
    }
    let inside: Vec<f64> = intensity
        .iter()
        .zip(&masked)
        .filter(|(value, masked)| !**masked && value.is_finite())
        .map(|(value, _)| *value)
        .collect();
    let level = rank::median(&inside);
    let mut thickness_proxy = intensity / level;
    for (proxy, &vacuum) in thickness_proxy.iter_mut().zip(&vacuum) {
        if vacuum {
            *proxy = f64::NAN;
        }
    }
    if let Some([thinnest, thickest]) = scan.thickness_window {
        for (masked, &proxy) in masked.iter_mut().zip(&thickness_proxy) {
            *masked |= !(thinnest..=thickest).contains(&proxy);
        }
    }
    if masked.iter().all(|&masked| masked) {
        return Err(Error::Setting {
            key: "scan".to_owned(),
            value: "region, polygon, mask_file, edge_margin_nm and thickness_window".to_owned(),
            problem: "together they leave no position to look at".to_owned(),
        });
    }
    Ok(Region {
        masked,
        vacuum,
        edge_distance,
        margin,
        thickness_proxy,
    })
}

/// Positions that the recipe leaves out.
fn user_mask(
    reduction: &Reduction,
    scan: &Scan,
    mask_file: Option<&Array2<bool>>,
    shape: (usize, usize),
) -> Result<Array2<bool>> {
    let [first_row, first_col] = [reduction.region.rows[0], reduction.region.cols[0]];
    let whole = (reduction.source_shape.n_rows, reduction.source_shape.n_cols);
    let mut masked = Array2::from_elem(shape, false);
    if let Some(keep) = mask_file {
        let (down, right) = if keep.dim() == whole {
            (first_row, first_col)
        } else if keep.dim() == shape {
            (0, 0)
        } else {
            return Err(Error::Shape {
                what: "the mask of scan positions (scan.mask_file)",
                expected: vec![whole.0, whole.1],
                found: vec![keep.nrows(), keep.ncols()],
            });
        };
        for ((row, col), masked) in masked.indexed_iter_mut() {
            *masked |= !keep[[row + down, col + right]];
        }
    }
    if !scan.polygon.is_empty() {
        if scan.polygon.len() < 3 {
            return Err(Error::Setting {
                key: "scan.polygon".to_owned(),
                value: format!("{} corners", scan.polygon.len()),
                problem: "a polygon has at least three corners, each [row, col]".to_owned(),
            });
        }
        let polygon = MaskShape::Polygon {
            corners: scan.polygon.clone(),
        };
        for ((row, col), masked) in masked.indexed_iter_mut() {
            *masked |= !polygon.covers((first_row + row) as f64, (first_col + col) as f64);
        }
    }
    Ok(masked)
}

/// Positions in vacuum, `[row, col]`: the dark one of two clearly separate classes of intensity, where it reaches the border of the scan.
pub fn vacuum(intensity: &Array2<f64>) -> Array2<bool> {
    let none = Array2::from_elem(intensity.dim(), false);
    let mut sorted: Vec<f64> = intensity
        .iter()
        .copied()
        .filter(|v| v.is_finite())
        .collect();
    sorted.sort_by(f64::total_cmp);
    let Some((low, high)) = two_classes(&sorted) else {
        return none;
    };
    let rough = at_border(&intensity.mapv(|value| value < (low + high) / 2.0));
    let Some(distance) = edge_distance(&rough) else {
        return none;
    };
    // The edge is where the intensity is half of what the sample beside it has, wedge or not.
    let inside = intensity
        .indexed_iter()
        .zip(&distance)
        .filter(|((_, value), distance)| value.is_finite() && **distance > FULL_COVER)
        .map(|((at, value), _)| (at, *value));
    let Some(sample) = plane(inside) else {
        return rough;
    };
    let dark = Array2::from_shape_fn(intensity.dim(), |(row, col)| {
        let beside = sample(row, col).clamp(0.3 * high, 3.0 * high);
        intensity[[row, col]] < (low + beside) / 2.0
    });
    at_border(&dark)
}

/// The dark patches that reach the border and are large enough.
fn at_border(dark: &Array2<bool>) -> Array2<bool> {
    let mut vacuum = Array2::from_elem(dark.dim(), false);
    for patch in patches(dark) {
        let at_border = patch.iter().any(|&(row, col)| {
            row == 0 || col == 0 || row + 1 == dark.nrows() || col + 1 == dark.ncols()
        });
        if at_border && patch.len() as f64 >= MIN_VACUUM_SHARE * dark.len() as f64 {
            for at in patch {
                vacuum[at] = true;
            }
        }
    }
    vacuum
}

/// The plane through values at positions (row, col); none where they do not determine one.
fn plane(
    values: impl Iterator<Item = ((usize, usize), f64)>,
) -> Option<impl Fn(usize, usize) -> f64> {
    let mut matrix = [[0.0; 3]; 3];
    let mut right = [0.0; 3];
    for ((row, col), value) in values {
        let terms = [1.0, row as f64, col as f64];
        for first in 0..3 {
            right[first] += terms[first] * value;
            for second in 0..3 {
                matrix[first][second] += terms[first] * terms[second];
            }
        }
    }
    let [level, down, across] = solve_small(matrix, right)?;
    Some(move |row: usize, col: usize| level + down * row as f64 + across * col as f64)
}

/// Levels of the two classes that sorted values fall into with the least variance inside each (Otsu), where they are separate
/// enough to be vacuum and sample.
fn two_classes(sorted: &[f64]) -> Option<(f64, f64)> {
    let n = sorted.len();
    if n < 8 {
        return None;
    }
    let total: f64 = sorted.iter().sum();
    let mut below = 0.0;
    let mut best = (0.0, 0);
    for split in 1..n {
        below += sorted[split - 1];
        let (low, high) = (below / split as f64, (total - below) / (n - split) as f64);
        let between = split as f64 * (n - split) as f64 * (high - low).powi(2);
        if between > best.0 {
            best = (between, split);
        }
    }
    let (low, high) = sorted.split_at(best.1);
    if low.is_empty() || high.is_empty() {
        return None;
    }
    // What lies between the classes, half on the edge, belongs to neither.
    let spread = |values: &[f64]| {
        let middle = rank::median(values);
        let away: Vec<f64> = values.iter().map(|value| (value - middle).abs()).collect();
        1.4826 * rank::median(&away)
    };
    let (low_level, high_level) = (rank::median(low), rank::median(high));
    // A narrow strip of vacuum is half edge: its own spread counts half, and its darkest tenth is its level.
    let separate = high_level - low_level > MIN_SEPARATION * (0.5 * spread(low)).max(spread(high));
    (separate && low_level < MAX_VACUUM_LEVEL * high_level)
        .then(|| (rank::quantile(low, 0.1), high_level))
}

/// Connected patches of true values, four neighbors each.
fn patches(values: &Array2<bool>) -> Vec<Vec<(usize, usize)>> {
    let (n_rows, n_cols) = values.dim();
    let mut seen = Array2::from_elem(values.dim(), false);
    let mut patches = Vec::new();
    for start in (0..n_rows).flat_map(|row| (0..n_cols).map(move |col| (row, col))) {
        if !values[start] || seen[start] {
            continue;
        }
        let mut patch = vec![start];
        seen[start] = true;
        let mut next = 0;
        while next < patch.len() {
            let (row, col) = patch[next];
            next += 1;
            let around = [
                (row.wrapping_sub(1), col),
                (row + 1, col),
                (row, col.wrapping_sub(1)),
                (row, col + 1),
            ];
            for at in around {
                if at.0 < n_rows && at.1 < n_cols && values[at] && !seen[at] {
                    seen[at] = true;
                    patch.push(at);
                }
            }
        }
        patches.push(patch);
    }
    patches
}

/// Distance of every position to the nearest vacuum, scan steps, less the half step to its border; none without vacuum.
fn edge_distance(vacuum: &Array2<bool>) -> Option<Array2<f64>> {
    // Only vacuum beside sample can be the nearest.
    let border: Vec<(f64, f64)> = vacuum
        .indexed_iter()
        .filter(|((row, col), is_vacuum)| {
            let around = [
                (row.wrapping_sub(1), *col),
                (row + 1, *col),
                (*row, col.wrapping_sub(1)),
                (*row, col + 1),
            ];
            **is_vacuum && around.iter().any(|&at| vacuum.get(at) == Some(&false))
        })
        .map(|((row, col), _)| (row as f64, col as f64))
        .collect();
    if border.is_empty() {
        return None;
    }
    Some(Array2::from_shape_fn(vacuum.dim(), |(row, col)| {
        if vacuum[[row, col]] {
            return 0.0;
        }
        let nearest = border
            .iter()
            .map(|at| libm::hypot(at.0 - row as f64, at.1 - col as f64))
            .fold(f64::INFINITY, f64::min);
        nearest - 0.5
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_edge_is_found_and_a_wedge_is_none() {
        let ripple = |row: usize, col: usize| 0.05 * ((row * 7 + col * 13) % 5) as f64;
        let edge = Array2::from_shape_fn((12, 20), |(row, col)| {
            let wedge = 0.8 + 0.02 * col as f64;
            if col < 4 {
                0.02
            } else {
                wedge + ripple(row, col)
            }
        });
        let found = vacuum(&edge);
        assert!(
            found
                .indexed_iter()
                .all(|((_, col), &vacuum)| vacuum == (col < 4))
        );
        let distance = edge_distance(&found).expect("there is an edge");
        assert_eq!((distance[[3, 4]], distance[[3, 9]]), (0.5, 5.5));
        let wedge = Array2::from_shape_fn((12, 20), |(row, col)| {
            0.2 + 0.05 * col as f64 + ripple(row, col)
        });
        assert!(!vacuum(&wedge).iter().any(|&vacuum| vacuum));
    }

    #[test]
    fn a_dark_defect_inside_is_no_vacuum() {
        let mut map = Array2::from_elem((20, 20), 1.0);
        for at in [(9, 9), (9, 10), (10, 9), (10, 10), (8, 9)] {
            map[at] = 0.0;
        }
        assert!(!vacuum(&map).iter().any(|&vacuum| vacuum));
    }
}
