//! What all positions share: the mean pattern that is divided by, and the baseline of positions that share no speckle.

use rayon::prelude::*;

use super::curves::{Common, Taken};
use super::{POSITIONS_AT_ONCE, Run, geometry, positions_of};
use crate::correlate::{
    DistantPairs, FlattenSums, Flattening, MIN_AREAS_FOR_PIXEL_FLATTENING, Normalization,
};
use crate::error::Result;
use crate::relax::Baseline;
use crate::ring::{PixelSeries, RingSeries};
use crate::series::{Position, Warning};

/// Positions that enter the baseline of distant pairs at most.
const MAX_DISTANT_POSITIONS: usize = 2_000;

impl Run<'_, '_> {
    /// What all positions share.
    pub(super) fn common(&self, taken: &Taken) -> Result<Common> {
        if let Some(curves) = &taken.curves {
            return Ok(curves.common.clone());
        }
        let mut warnings = Vec::new();
        let (flattening, pattern) = self.flatten(&mut warnings)?;
        let distant_baseline = if self.needs_distant_baseline() {
            self.distant_baseline(pattern.as_deref())?
        } else {
            None
        };
        Ok(Common {
            flattening,
            pattern,
            distant_baseline,
            warnings,
        })
    }

    /// The mean pattern to divide by, on the annulus.
    fn flatten(
        &self,
        warnings: &mut Vec<Warning>,
    ) -> Result<(Option<Flattening>, Option<Vec<f64>>)> {
        let dynamics = &self.recipe.dynamics;
        if dynamics.normalization != Normalization::Flattened {
            return Ok((None, None));
        }
        let annulus = &self.reduction.annulus;
        let mut sums = FlattenSums::new(annulus.len());
        for shard in self.reduction.shards() {
            let rings = (self.load)(&shard)?;
            for chunk in positions_of(&shard).chunks(POSITIONS_AT_ONCE) {
                let parts: Vec<FlattenSums> = chunk
                    .par_iter()
                    .map(|&at| {
                        let geometry = self.geometry(&rings, at);
                        self.normalized_sums(&rings, at, &geometry.ring)
                    })
                    .collect();
                parts.iter().for_each(|part| sums.add(part));
            }
        }
        let n_areas = self.n_areas();
        let flattening = match dynamics.flattening {
            Flattening::Auto if n_areas >= MIN_AREAS_FOR_PIXEL_FLATTENING => Flattening::Pixel,
            Flattening::Auto => Flattening::Radial,
            chosen => chosen,
        };
        if flattening == Flattening::Pixel && n_areas < MIN_AREAS_FOR_PIXEL_FLATTENING {
            warnings.push(Warning::new(
                "W042",
                format!(
                    "The mean pattern of each pixel rests on about {n_areas:.0} independent probe areas; below 300 it \
                     removes some of the speckle and shortens tau by a few per cent. Flattening by the radial profile avoids this."
                ),
            ));
        }
        let pattern = match flattening {
            Flattening::Pixel => sums.per_pixel(),
            _ => sums.radial(
                &annulus.q_per_nm,
                dynamics.q_range_per_nm.min_per_nm,
                annulus.q_step_per_nm(&self.reduction.calibration),
            ),
        };
        Ok((Some(flattening), Some(pattern)))
    }

    /// Whether the baseline of distant positions must be known before any position is looked at: it is fitted with, or tested with. Else
    /// it is measured on the way.
    pub(super) fn needs_distant_baseline(&self) -> bool {
        self.recipe.relaxation.baseline == Baseline::DistantPairs || self.recipe.dynamics.tests
    }

    /// No positions yet, of which there will be a baseline.
    pub(super) fn distant_pairs(&self) -> Option<DistantPairs> {
        // Positions whose rings are of different pixels cannot be multiplied pixel by pixel.
        let can_be = self.geometries.is_common()
            && self.recipe.dynamics.normalization != Normalization::PerPixel;
        can_be.then(|| DistantPairs::new(2.0 * self.probe_steps()))
    }

    /// Whether a position is one of those that the baseline is made of.
    pub(super) fn enters_distant_baseline(&self, place: Position) -> bool {
        let n_cols = self.reduction.n_cols();
        let stride = (self.reduction.n_rows() * n_cols).div_ceil(MAX_DISTANT_POSITIONS);
        (place.row * n_cols + place.col).is_multiple_of(stride)
    }

    fn distant_baseline(&self, flatten: Option<&[f64]>) -> Result<Option<f64>> {
        let Some(mut pairs) = self.distant_pairs() else {
            return Ok(None);
        };
        let annulus = &self.reduction.annulus;
        for shard in self.reduction.shards() {
            let rings = (self.load)(&shard)?;
            let chosen: Vec<(Position, Position)> = positions_of(&shard)
                .into_iter()
                .map(|at| (at, self.place(&rings, at)))
                .filter(|&(_, place)| self.enters_distant_baseline(place))
                .collect();
            let means: Vec<Vec<f64>> = chosen
                .par_iter()
                .map(|&(at, _)| {
                    let ring = &self.geometry(&rings, at).ring;
                    let factors = geometry::factors(ring, annulus, flatten);
                    let place = (at.row, at.col);
                    let series = PixelSeries::gather(&rings, place, ring, factors.as_deref());
                    DistantPairs::series_mean(&series, ring.len(), &self.valid_times(&rings, at))
                })
                .collect();
            for ((_, place), mean) in chosen.into_iter().zip(means) {
                pairs.add(place.row, place.col, mean);
            }
        }
        Ok(pairs.baseline())
    }

    /// Sums of the counts of some pixels of a position over their mean in each scan.
    fn normalized_sums(&self, rings: &RingSeries, at: Position, pixels: &[usize]) -> FlattenSums {
        let annulus = &self.reduction.annulus;
        let valid = self.valid_times(rings, at);
        let factors = geometry::factors(pixels, annulus, None);
        let place = (at.row, at.col);
        FlattenSums::of_counts(rings, place, pixels, factors.as_deref(), &valid).unwrap_or_else(
            || {
                let mut sums = FlattenSums::new(annulus.len());
                let counts = geometry::counts(rings, at, pixels, annulus, None);
                sums.add_position(counts.view(), pixels, &valid);
                sums
            },
        )
    }
}
