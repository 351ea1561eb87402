//! Which pixels of the ring count as one, and which of them are taken apart together?
//!
//! ```text
//! side of a cell ≤ 0.2/(width of the probe)        a fifth of a speckle
//! blocks: four quarters of the circle, and the strips along its axes         sets: opposite quarters, and the strips
//! ```

use super::geometry::guard_per_nm;
use crate::likelihood::Cell;
use crate::recipe::Recipe;
use crate::reduce::Reduction;
use crate::ring::MIN_RING_PIXELS;

/// Cells of a ring at most: the largest block has a quarter of them and is diagonalized in a fraction of a second.
const MAX_CELLS: usize = 1_600;

/// A cell is at most this over the width of the probe: a fifth of a speckle.
const CELL_WIDTHS: f64 = 0.2;

/// The set of cells that are in neither half.
const STRIPS: usize = 2;

/// The cells of a ring with the counts that a mean pattern expects, in units of the ring's mean, and how wide they are.
pub(super) fn cells(
    reduction: &Reduction,
    recipe: &Recipe,
    ring: &[usize],
    flatten: &[f64],
) -> (Vec<Cell>, f64) {
    let annulus = &reduction.annulus;
    let q_step = annulus.q_step_per_nm(&reduction.calibration);
    let fine = CELL_WIDTHS / recipe.probe_fwhm_nm() / q_step;
    // What is not known is not coarser than need be.
    let mut side = if fine.is_finite() {
        (fine as u32).max(1)
    } else {
        1
    };
    while ring.len() > MAX_CELLS * (side * side) as usize {
        side += 1;
    }
    let guard = guard_per_nm(recipe, q_step);
    let mut numbered: Vec<(u32, u32, usize)> = ring
        .iter()
        .map(|&pixel| (annulus.row[pixel] / side, annulus.col[pixel] / side, pixel))
        .collect();
    numbered.sort_unstable();
    let mut cells: Vec<Cell> = numbered
        .chunk_by(|a, b| (a.0, a.1) == (b.0, b.1))
        .map(|run| {
            let pixels: Vec<usize> = run.iter().map(|&(_, _, pixel)| pixel).collect();
            let mean = |along: fn(f64) -> f64| {
                let place =
                    |&pixel: &usize| annulus.q_per_nm[pixel] * along(annulus.azimuth_rad[pixel]);
                pixels.iter().map(place).sum::<f64>() / pixels.len() as f64
            };
            let (along_row, along_col) = (mean(libm::sin), mean(libm::cos));
            let quarter = 2 * usize::from(along_row < 0.0) + usize::from(along_col < 0.0);
            let is_near = along_row.abs().min(along_col.abs()) < guard;
            Cell {
                row: run[0].0 as i32,
                col: run[0].1 as i32,
                expected: pixels
                    .iter()
                    .map(|&pixel| flatten[pixel] * annulus.coverage[pixel])
                    .sum(),
                block: if is_near { 4 } else { quarter },
                set: if is_near {
                    STRIPS
                } else {
                    usize::from((along_row < 0.0) != (along_col < 0.0))
                },
                pixels,
            }
        })
        .filter(|cell| cell.expected > 0.0)
        .collect();
    // Halves of a handful of pixels say nothing: then all directions are one block.
    let smallest = (0..2).map(|set| cells.iter().filter(|cell| cell.set == set).count());
    if smallest.min().unwrap_or(0) < MIN_RING_PIXELS {
        for cell in &mut cells {
            (cell.block, cell.set) = (0, STRIPS);
        }
    }
    (cells, q_step * f64::from(side))
}
