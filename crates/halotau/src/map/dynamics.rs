//! The tests of the dynamics on the way through the positions.

use rayon::prelude::*;

use super::position::PositionTask;
use super::{POSITIONS_AT_ONCE, Run, positions_of};
use crate::dynamics::rings::RingGeometry;
use crate::dynamics::{Collector, CurveSettings, RingCurves, RingTimes, Tiles};
use crate::error::{Error, Result};
use crate::quality::Quality;
use crate::reduce::Reduction;
use crate::relax::BaselineMode;
use crate::ring::MIN_RING_PIXELS;
use crate::series::{Position, Warning};

/// Positions whose rings of Q are correlated at most: all pixels of the band at these cost less than the ring at all positions of the paper.
const MAX_RING_POSITIONS: usize = 400;

/// Scans of a record that is tested at most: every tile of the scan keeps a two-time matrix, 36 of them 200 MB at this length.
const MAX_TIMES: usize = 600;

/// Rows and columns of the grid of those positions.
fn stride(n_positions: usize) -> usize {
    (1..)
        .find(|stride| n_positions.div_ceil(stride * stride) <= MAX_RING_POSITIONS)
        .unwrap_or(1)
}

impl Run<'_, '_> {
    /// An empty collection for the tests, where they are asked for.
    pub(super) fn collector(
        &self,
        task: &PositionTask<'_>,
        distant_baseline: Option<f64>,
        warnings: &mut Vec<Warning>,
    ) -> Option<Collector> {
        let time = &self.reduction.time;
        let recipe = self.recipe;
        if !recipe.dynamics.tests || time.len() < recipe.relaxation.min_times.max(12) {
            return None;
        }
        if time.len() > MAX_TIMES {
            warnings.push(Warning::new(
                "W044",
                format!(
                    "Aging, fluctuations and the form of the decay are tested in records of at most {MAX_TIMES} scans; this one has {}.",
                    time.len()
                ),
            ));
            return None;
        }
        let looked_at = self
            .measured
            .conditions
            .region
            .masked
            .mapv(|masked| !masked);
        let probe_steps = recipe.probe_fwhm_nm() / self.reduction.step_nm;
        let settings = CurveSettings {
            lag_s: task.lag_s.clone(),
            record_s: time.record_s(),
            valid: (0..time.len())
                .map(|scan| !self.measured.excluded.contains(&scan))
                .collect(),
            exponent_factor: recipe.relaxation.exponent_factor,
            stretch: recipe.relaxation.stretch,
            baseline: match task.baseline() {
                BaselineMode::Given(baseline) => baseline,
                BaselineMode::Free => distant_baseline.unwrap_or(1.0),
            },
            tau_bounds_s: task.tau_bounds_s,
            level: recipe.interval.level,
            step_nm: self.reduction.step_nm,
            probe_steps,
        };
        let tiles = Tiles::new(&looked_at, probe_steps);
        Some(Collector::new(settings, tiles))
    }

    /// tau of rings of Q over the band of the variance, from a grid of positions.
    pub(super) fn ring_times(
        &self,
        collector: &Collector,
        quality: &ndarray::Array2<Quality>,
        task: &PositionTask<'_>,
    ) -> Result<Option<RingTimes>> {
        let n_rings = self.recipe.dynamics.q_rings;
        if n_rings < 2 || !collector.tiles().are_enough() {
            return Ok(None);
        }
        let annulus = &self.reduction.annulus;
        let range = self.recipe.structure.q_range_per_nm;
        let width = annulus.q_step_per_nm(&self.reduction.calibration);
        let n_bins = (((range.max_per_nm - range.min_per_nm) / width).ceil() as usize).max(1);
        let n_rings = n_rings.min(n_bins);
        let edge = |ring: usize| {
            let bin = (ring * n_bins).div_ceil(n_rings);
            (range.min_per_nm + bin as f64 * width).min(range.max_per_nm)
        };
        // Annulus pixels of each ring at a position.
        let pixels = |place: &Position| -> Vec<Vec<usize>> {
            let band = &self.geometries.at(place).band;
            let mut rings = vec![Vec::new(); n_rings];
            for (&pixel, &bin) in band.pixels.iter().zip(&band.ring) {
                rings[(bin * n_rings / n_bins).min(n_rings - 1)].push(pixel);
            }
            rings
        };
        let Some(first) = collector.tiles().first() else {
            return Ok(None);
        };
        let at_first = pixels(&first);
        if at_first
            .iter()
            .any(|pixels| pixels.len() < 2 * MIN_RING_PIXELS)
        {
            return Ok(None);
        }
        let rings = (0..n_rings)
            .map(|ring| RingGeometry {
                q_min_per_nm: edge(ring),
                q_max_per_nm: edge(ring + 1),
                q_per_nm: 0.5 * (edge(ring) + edge(ring + 1)),
                n_pixels: at_first[ring].len(),
            })
            .collect();
        let profile = radial_profile(self.reduction);
        let n_tested = quality.iter().filter(|quality| !quality.is_bad()).count();
        let stride = stride(n_tested);
        let is_chosen = |place: &Position| {
            place.row.is_multiple_of(stride)
                && place.col.is_multiple_of(stride)
                && !quality[[place.row, place.col]].is_bad()
        };
        let settings = collector.settings().clone();
        let mut curves = RingCurves::new(settings, collector.tiles().clone(), rings);
        for shard in self.reduction.shards() {
            let rings = (self.load)(&shard)?;
            let chosen: Vec<(Position, Position)> = positions_of(&shard)
                .into_iter()
                .map(|at| (at, self.place(&rings, at)))
                .filter(|(_, place)| is_chosen(place))
                .collect();
            for chunk in chosen.chunks(POSITIONS_AT_ONCE) {
                let made: Vec<Vec<(Vec<f64>, f64)>> = chunk
                    .par_iter()
                    .map(|(at, place)| {
                        pixels(place)
                            .iter()
                            .map(|pixels| {
                                let (g, counts) = task.curve_of(&rings, *at, pixels, &profile);
                                let scale = mean(pixels, &profile);
                                (g, counts * scale)
                            })
                            .collect()
                    })
                    .collect();
                for ((_, place), made) in chunk.iter().zip(made) {
                    curves.add(*place, &made);
                }
                if !(self.done)(0) {
                    return Err(Error::Stopped);
                }
            }
        }
        Ok(curves.finish())
    }
}

fn mean(pixels: &[usize], values: &[f64]) -> f64 {
    pixels.iter().map(|&pixel| values[pixel]).sum::<f64>() / pixels.len() as f64
}

/// Mean counts a native pixel over positions and scans at the q of each annulus pixel, by straight lines between bins of q; 1 where none is
/// known. `[pixel]`.
fn radial_profile(reduction: &Reduction) -> Vec<f64> {
    let nodes: Vec<(f64, f64)> = (0..reduction.q_bins.len())
        .filter(|&bin| reduction.q_pixels[bin] > 0)
        .filter_map(|bin| {
            let range = reduction.q_bins[bin];
            let sums = reduction.q_sums.index_axis(ndarray::Axis(2), bin);
            let values = sums.iter().filter(|sum| sum.is_finite());
            let (sum, n) = values.fold((0.0, 0.0), |(sum, n), value| (sum + value, n + 1.0));
            let counts = sum / (n * reduction.q_pixels[bin] as f64);
            (counts > 0.0).then_some((0.5 * (range.min_per_nm + range.max_per_nm), counts))
        })
        .collect();
    let q = &reduction.annulus.q_per_nm;
    let at = |q: f64| match nodes.partition_point(|node| node.0 < q) {
        _ if nodes.len() < 2 => 1.0,
        upper => {
            let upper = upper.clamp(1, nodes.len() - 1);
            let ((x0, y0), (x1, y1)) = (nodes[upper - 1], nodes[upper]);
            y0 + (y1 - y0) * ((q - x0) / (x1 - x0)).clamp(0.0, 1.0)
        }
    };
    // Only its form matters; its height is that of the counts themselves.
    q.iter().map(|&q| at(q)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_grid_holds_at_most_the_positions_that_are_affordable() {
        assert_eq!(stride(3600), 3);
        assert_eq!(stride(400), 1);
        assert_eq!(stride(401), 2);
    }
}
