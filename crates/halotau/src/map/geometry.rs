//! Which annulus pixels are the ring and the band at a position, and in which sector each lies.
//!
//! Patterns are shifted by whole native pixels; the remainder moves the center of a position by up to half a pixel,
//! and with it the pixels that belong to a ring. Nothing is interpolated. Without descan all positions share one geometry.

use std::collections::BTreeMap;

use ndarray::Array2;

use crate::axes::{AIRY_FWHM, QRange};
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
    /// Annulus index of each pixel of ring and band, in the order in which they are computed with: the ring first, the band last,
    /// and pixels that are always summed together next to one another.
    pub(super) pixels: Vec<usize>,
    /// Annulus index of each pixel of the ring that is correlated.
    pub(super) ring: Vec<usize>,
    /// Its folded sector.
    pub(super) ring_sector: Vec<usize>,
    /// The parts that it belongs to, a bit each.
    pub(super) ring_parts: Vec<u8>,
    /// The band of the variance.
    pub(super) band: BandGeometry,
    /// The parts that each pixel of the band belongs to, a bit each.
    pub(super) band_parts: Vec<u8>,
    /// Numbers of pixels of ring and band in each part.
    pub(super) n_of_parts: [[usize; 2]; N_PARTS],
}

/// Parts of the ring that give tau and of the band that give V from pixels that share no speckle: two halves of the directions, each a
/// quarter of the circle and its opposite without what lies near the boundary; and spatial frequencies apart, a narrow ring and
/// the band without what shares speckle with it.
pub(super) const N_PARTS: usize = 3;

/// The number of the part of spatial frequencies apart, after the halves.
pub(super) const APART: usize = 2;

/// Speckles end at this distance times the width of the probe: pixels so near to the boundary of the halves are in neither.
/// Two pixels of 0.23 1/nm with a probe of 0.78 nm.
const GUARD_WIDTHS: f64 = 0.36;

/// The distance in pixels where the width of the probe is not known.
const GUARD_PX: f64 = 2.0;

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

/// Distance of spatial frequencies that share no speckle, 1/nm: the radius of the aperture.
pub(super) fn gap_per_nm(reduction: &Reduction, recipe: &Recipe) -> f64 {
    let fwhm_nm = recipe.probe_fwhm_nm();
    if fwhm_nm.is_finite() {
        AIRY_FWHM / fwhm_nm
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
        let inside = |range: QRange| -> Vec<bool> {
            (0..annulus.len())
                .map(|pixel| valid[pixel] && range.contains(q[pixel]))
                .collect()
        };
        let sector = |pixel: usize| folded_sector(azimuth[pixel], n_sectors);
        let width = annulus.q_step_per_nm(&reduction.calibration);
        let guard_per_nm = guard_per_nm(recipe, width);
        let half = |pixel: usize| -> u8 {
            let (along_row, along_col) = (
                q[pixel] * libm::sin(azimuth[pixel]),
                q[pixel] * libm::cos(azimuth[pixel]),
            );
            if along_row.abs().min(along_col.abs()) < guard_per_nm {
                0
            } else {
                1 << u8::from((along_row < 0.0) != (along_col < 0.0))
            }
        };
        let narrow = narrow_ring(recipe.dynamics.q_range_per_nm);
        let gap_per_nm = gap_per_nm(reduction, recipe);
        let ring_parts = |pixel: usize| half(pixel) | u8::from(narrow.contains(q[pixel])) << APART;
        let band_parts = |pixel: usize| {
            let is_far = q[pixel] < narrow.min_per_nm - gap_per_nm
                || q[pixel] >= narrow.max_per_nm + gap_per_nm;
            half(pixel) | u8::from(is_far) << APART
        };
        let range = recipe.structure.q_range_per_nm;
        let ring_of = |pixel: usize| ((q[pixel] - range.min_per_nm) / width) as usize;
        let in_ring = inside(recipe.dynamics.q_range_per_nm);
        let in_band = inside(range);
        let mut pixels: Vec<usize> = (0..annulus.len())
            .filter(|&pixel| in_ring[pixel] || in_band[pixel])
            .collect();
        // The ring sector by sector, as it is correlated, and the band cell by cell, as it is summed.
        pixels.sort_by_cached_key(|&pixel| {
            let (ring, sector) = (ring_of(pixel), sector(pixel));
            let (of_ring, of_band) = (ring_parts(pixel), band_parts(pixel));
            match (in_ring[pixel], in_band[pixel]) {
                (true, in_band) => (
                    usize::from(in_band),
                    [sector, usize::from(of_ring), ring, usize::from(of_band)],
                ),
                (false, _) => (2, [ring, sector, usize::from(of_band), 0]),
            }
        });
        let only = |inside: &[bool]| -> Vec<usize> {
            pixels
                .iter()
                .copied()
                .filter(|&pixel| inside[pixel])
                .collect()
        };
        let (ring, band) = (only(&in_ring), only(&in_band));
        let rings: Vec<usize> = band.iter().map(|&pixel| ring_of(pixel)).collect();
        let band_parts: Vec<u8> = band.iter().map(|&pixel| band_parts(pixel)).collect();
        let ring_parts: Vec<u8> = ring.iter().map(|&pixel| ring_parts(pixel)).collect();
        let n_of =
            |parts: &[u8], part: usize| parts.iter().filter(|&&own| own >> part & 1 == 1).count();
        Self {
            n_of_parts: std::array::from_fn(|part| {
                [n_of(&ring_parts, part), n_of(&band_parts, part)]
            }),
            ring_sector: ring.iter().map(|&pixel| sector(pixel)).collect(),
            band: BandGeometry {
                n_rings: rings.iter().max().map_or(0, |&last| last + 1),
                ring: rings,
                sector: band.iter().map(|&pixel| sector(pixel)).collect(),
                coverage: band.iter().map(|&pixel| annulus.coverage[pixel]).collect(),
                n_sectors,
                pixels: band,
            },
            pixels,
            ring,
            ring_parts,
            band_parts,
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
