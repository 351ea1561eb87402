//! Which annulus pixels are the ring and the band at a position, and in which sector each lies.
//!
//! Patterns are shifted by whole native pixels; the remainder moves the center of a position by up to half a pixel,
//! and with it the pixels that belong to a ring. Nothing is interpolated. Without descan all positions share one geometry.

use std::collections::BTreeMap;

use ndarray::Array2;

use crate::axes::QRange;
use crate::drift::align::{Alignment, moved_pixels};
use crate::error::Result;
use crate::fluctuate::BandGeometry;
use crate::recipe::Recipe;
use crate::reduce::Reduction;
use crate::ring::{Annulus, RingSeries};
use crate::series::Position;

/// Pixels of one position.
#[derive(Debug)]
pub(super) struct Geometry {
    /// Annulus index of each pixel of the ring that is correlated.
    pub(super) ring: Vec<usize>,
    /// Its folded sector.
    pub(super) ring_sector: Vec<usize>,
    /// The band of the variance.
    pub(super) band: BandGeometry,
    /// Ring and band of two halves of the directions that share no speckle.
    pub(super) halves: [Half; 2],
    /// A narrow ring, and the band without what shares speckle with it.
    pub(super) apart: Half,
}

/// Pixels for tau and pixels for V: a half of the directions, that is a quarter of the circle and its opposite without what lies near the
/// boundary; or spatial frequencies apart.
#[derive(Debug)]
pub(super) struct Half {
    /// Annulus index of each pixel of the ring.
    pub(super) ring: Vec<usize>,
    /// The band of the variance.
    pub(super) band: BandGeometry,
}

/// Speckles end at this distance times the width of the probe: pixels so near to the boundary of the halves are in neither.
/// Two pixels of 0.23 1/nm with a probe of 0.78 nm.
const GUARD_WIDTHS: f64 = 0.36;

/// The distance in pixels where the width of the probe is not known.
const GUARD_PX: f64 = 2.0;

/// Speckles are as wide as the aperture, α/λ in radius; the full width of the probe is 0.51 λ/α.
const APERTURE_WIDTHS: f64 = 0.51;

/// The radius in pixels where the width of the probe is not known, as for 1.6 mrad and pixels of 0.23 1/nm.
const APERTURE_PX: f64 = 3.0;

/// Half the width of the ring that is left of a wide one, so that something of the band is far from it; the paper's ring.
const HALF_RING_PER_NM: f64 = 0.2;

/// The ring whose tau is compared with V of other spatial frequencies: the ring that is correlated, or its middle where that is wide.
fn narrow_ring(range: QRange) -> QRange {
    let middle = 0.5 * (range.min_per_nm + range.max_per_nm);
    QRange::new(
        range.min_per_nm.max(middle - HALF_RING_PER_NM),
        range.max_per_nm.min(middle + HALF_RING_PER_NM),
    )
}

/// Distance of spatial frequencies that share no speckle, 1/nm.
pub(super) fn gap_per_nm(reduction: &Reduction, recipe: &Recipe) -> f64 {
    let fwhm_nm = recipe.probe_fwhm_nm();
    if fwhm_nm.is_finite() {
        APERTURE_WIDTHS / fwhm_nm
    } else {
        APERTURE_PX * reduction.annulus.q_step_per_nm(&reduction.calibration)
    }
}

/// The geometry of every position.
#[derive(Debug)]
pub(super) struct Geometries {
    distinct: Vec<Geometry>,
    /// Index into `distinct`, `[row, col]`.
    of: Array2<usize>,
}

impl Geometries {
    pub(super) fn new(
        reduction: &Reduction,
        recipe: &Recipe,
        alignment: &Alignment,
    ) -> Result<Self> {
        let annulus = &reduction.annulus;
        // Said once for the common center, with the ranges that are there.
        annulus.ring(recipe.dynamics.q_range_per_nm)?;
        annulus.ring(recipe.structure.q_range_per_nm)?;
        let mut distinct = Vec::new();
        let mut known: BTreeMap<GeometryKey, usize> = BTreeMap::new();
        let of = Array2::from_shape_fn((reduction.n_rows(), reduction.n_cols()), |(row, col)| {
            let remainder = reduction.center_remainder(row, col);
            let shift = (
                reduction.shift_row[[row, col]],
                reduction.shift_col[[row, col]],
            );
            let moves = alignment.pattern_moves(reduction, (row, col));
            let key = (
                remainder.0.to_bits(),
                remainder.1.to_bits(),
                shift,
                moves.clone(),
            );
            *known.entry(key).or_insert_with(|| {
                let valid = valid_in_all(reduction, shift, &moves);
                distinct.push(Geometry::new(reduction, recipe, remainder, &valid));
                distinct.len() - 1
            })
        });
        Ok(Self { distinct, of })
    }

    pub(super) fn at(&self, position: &Position) -> &Geometry {
        &self.distinct[self.of[[position.row, position.col]]]
    }

    /// Annulus pixels that are in the ring of at least half of the positions.
    pub(super) fn usual_ring(&self) -> Vec<usize> {
        let mut n_positions = vec![0_usize; self.distinct.len()];
        self.of
            .iter()
            .for_each(|&geometry| n_positions[geometry] += 1);
        let mut n_of_pixel: BTreeMap<usize, usize> = BTreeMap::new();
        for (geometry, n) in self.distinct.iter().zip(n_positions) {
            for &pixel in &geometry.ring {
                *n_of_pixel.entry(pixel).or_default() += n;
            }
        }
        n_of_pixel
            .into_iter()
            .filter(|&(_, n)| 2 * n >= self.of.len())
            .map(|(pixel, _)| pixel)
            .collect()
    }

    /// Whether all positions share one geometry.
    pub(super) fn is_common(&self) -> bool {
        self.distinct.len() == 1
    }
}

/// Remainder of the center, shift of the pattern, and what other shifts the point was seen with.
type GeometryKey = (u64, u64, (i32, i32), Vec<(i32, i32)>);

/// Annulus pixels that a point has at every time, `[pixel]`.
fn valid_in_all(reduction: &Reduction, shift: (i32, i32), moves: &[(i32, i32)]) -> Vec<bool> {
    let annulus = &reduction.annulus;
    let pixel_valid = &reduction.calibration.pixel_valid;
    let mut valid = annulus.valid_at(pixel_valid, shift);
    for &moved in moves {
        let there: Vec<bool> = if annulus.bin == 1 {
            let places = moved_pixels(reduction, moved);
            places.iter().map(Option::is_some).collect()
        } else {
            annulus.valid_at(pixel_valid, (shift.0 - moved.0, shift.1 - moved.1))
        };
        valid
            .iter_mut()
            .zip(there)
            .for_each(|(valid, there)| *valid &= there);
    }
    valid
}

impl Geometry {
    fn new(reduction: &Reduction, recipe: &Recipe, remainder: (f64, f64), valid: &[bool]) -> Self {
        let annulus = &reduction.annulus;
        let (q, azimuth) = annulus.polar_at(&reduction.calibration, remainder);
        let n_sectors = recipe.interval.sectors.max(1);
        let inside = |range: QRange| -> Vec<usize> {
            (0..annulus.len())
                .filter(|&pixel| valid[pixel] && range.contains(q[pixel]))
                .collect()
        };
        let sectors = |pixels: &[usize]| {
            pixels
                .iter()
                .map(|&pixel| folded_sector(azimuth[pixel], n_sectors))
                .collect()
        };
        let mut ring = inside(recipe.dynamics.q_range_per_nm);
        // Sector by sector, as they are correlated.
        ring.sort_by_key(|&pixel| folded_sector(azimuth[pixel], n_sectors));
        let half_of = |pixel: usize, guard_per_nm: f64| {
            let (along_row, along_col) = (
                q[pixel] * libm::sin(azimuth[pixel]),
                q[pixel] * libm::cos(azimuth[pixel]),
            );
            let is_near = along_row.abs().min(along_col.abs()) < guard_per_nm;
            (!is_near).then(|| usize::from((along_row < 0.0) != (along_col < 0.0)))
        };
        let range = recipe.structure.q_range_per_nm;
        let width = annulus.q_step_per_nm(&reduction.calibration);
        let ring_of = |pixel: usize| ((q[pixel] - range.min_per_nm) / width) as usize;
        let mut pixels = inside(range);
        // Cell by cell, which is the order in which they are summed.
        pixels.sort_by_key(|&pixel| (ring_of(pixel), folded_sector(azimuth[pixel], n_sectors)));
        let band = |pixels: Vec<usize>, sector: Vec<usize>, n_sectors: usize| {
            let rings: Vec<usize> = pixels.iter().map(|&pixel| ring_of(pixel)).collect();
            BandGeometry {
                n_rings: rings.iter().max().map_or(0, |&last| last + 1),
                ring: rings,
                sector,
                coverage: pixels
                    .iter()
                    .map(|&pixel| annulus.coverage[pixel])
                    .collect(),
                n_sectors,
                pixels,
            }
        };
        let guard_per_nm = guard_per_nm(recipe, width);
        let halves = [0, 1].map(|half| {
            let own = |pixels: &[usize]| -> Vec<usize> {
                let own = |&pixel: &usize| half_of(pixel, guard_per_nm) == Some(half);
                pixels.iter().copied().filter(own).collect()
            };
            let of_band = own(&pixels);
            let sector = vec![0; of_band.len()];
            Half {
                ring: own(&ring),
                band: band(of_band, sector, 1),
            }
        });
        let narrow = narrow_ring(recipe.dynamics.q_range_per_nm);
        let gap_per_nm = gap_per_nm(reduction, recipe);
        let is_far = |&pixel: &usize| {
            q[pixel] < narrow.min_per_nm - gap_per_nm || q[pixel] >= narrow.max_per_nm + gap_per_nm
        };
        let far: Vec<usize> = pixels.iter().copied().filter(is_far).collect();
        let sector = vec![0; far.len()];
        let is_narrow = |&pixel: &usize| narrow.contains(q[pixel]);
        let apart = Half {
            ring: ring.iter().copied().filter(is_narrow).collect(),
            band: band(far, sector, 1),
        };
        Self {
            ring_sector: sectors(&ring),
            ring,
            halves,
            apart,
            band: band(pixels.clone(), sectors(&pixels), n_sectors),
        }
    }
}

/// Distance from the boundary of the halves within which pixels are in neither; `q_step_per_nm` is the size of a pixel.
pub(super) fn guard_per_nm(recipe: &Recipe, q_step_per_nm: f64) -> f64 {
    let fwhm_nm = recipe.probe_fwhm_nm();
    if fwhm_nm.is_finite() {
        GUARD_WIDTHS / fwhm_nm
    } else {
        GUARD_PX * q_step_per_nm
    }
}

/// Sector of an azimuth folded into `[0, π)`: opposite directions share one.
fn folded_sector(azimuth_rad: f64, n_sectors: usize) -> usize {
    let folded = azimuth_rad.rem_euclid(std::f64::consts::PI) / std::f64::consts::PI;
    ((folded * n_sectors as f64) as usize).min(n_sectors - 1)
}

/// Counts of a position on some annulus pixels, divided by their coverage and by a mean pattern, `[time, pixel]`.
pub(super) fn counts(
    rings: &RingSeries,
    at: Position,
    pixels: &[usize],
    annulus: &Annulus,
    flatten: Option<&[f64]>,
) -> Array2<f64> {
    let mut counts = rings.position(at.row, at.col, pixels);
    let Some(factors) = factors(pixels, annulus, flatten) else {
        return counts;
    };
    for mut scan in counts.rows_mut() {
        scan.iter_mut()
            .zip(&factors)
            .for_each(|(count, factor)| *count *= factor);
    }
    counts
}

/// What the counts of some annulus pixels are multiplied by for their coverage and a mean pattern; `None` where that is 1.
pub(super) fn factors(
    pixels: &[usize],
    annulus: &Annulus,
    flatten: Option<&[f64]>,
) -> Option<Vec<f64>> {
    let whole = pixels.iter().all(|&pixel| annulus.coverage[pixel] == 1.0);
    if whole && flatten.is_none() {
        return None;
    }
    let factor = |&pixel: &usize| {
        1.0 / (annulus.coverage[pixel] * flatten.map_or(1.0, |flatten| flatten[pixel]))
    };
    Some(pixels.iter().map(factor).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::f64::consts::PI;

    #[test]
    fn opposite_directions_share_a_sector() {
        for step in 0..24 {
            let azimuth = -PI + (f64::from(step) + 0.5) * PI / 12.0;
            let opposite = if azimuth > 0.0 {
                azimuth - PI
            } else {
                azimuth + PI
            };
            assert_eq!(folded_sector(azimuth, 6), folded_sector(opposite, 6));
        }
        assert_eq!(folded_sector(PI, 6), 0);
    }
}
