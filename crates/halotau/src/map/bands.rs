//! The likelihood of each band of Q on a grid of the scan: is the tau of the ring one tau?
//!
//! Bands take their cells from those of the ring and have modes, level and noise of their own. Under a probe that is several steps wide a grid of
//! two thirds of its width knows nearly what all positions know, for a fraction of the time.

use super::geometry::gap_per_nm;
use super::likelihood::{PositionLikelihood, of_times};
use super::position::PositionResult;
use crate::axes::QRange;
use crate::drift::ProbesLeft;
use crate::likelihood::{
    Cell, CellSeries, ClassSums, Coherence, Likelihood, Maximum, Memory, N_SETS, Overlap,
    SpeckleModes,
};
use crate::q_dependence::{
    BandProfiles, BandsInput, MAX_BANDS, N_NODES, NODES, QDependence, q_dependence,
};
use crate::recipe::Recipe;
use crate::reduce::Reduction;
use crate::ring::MIN_RING_PIXELS;
use crate::series::Position;

/// Cells that a band must have.
const MIN_CELLS: usize = 2 * MIN_RING_PIXELS;

/// Step of the grid over the width of the probe: errors of neighbors on it are alike by more than a half.
const STRIDE_WIDTHS: f64 = 0.65;

/// What the model of modes may make of one tau in a band; `studies/src/over_ring.rs` says how much it is.
const SYSTEMATIC: f64 = 0.02;

/// Positions whose tau is beyond this many records do not enter: most of them are limits.
const MAX_RECORDS: f64 = 4.0;

/// Bands of the ring from the lowest Q: as many as are at least the radius of a speckle wide, at most four; fewer than two are none.
pub(super) fn q_bands(reduction: &Reduction, recipe: &Recipe) -> Vec<QRange> {
    let ring = recipe.dynamics.q_range_per_nm;
    let width = ring.max_per_nm - ring.min_per_nm;
    let n = ((width / gap_per_nm(reduction, recipe)) as usize).min(MAX_BANDS);
    if n < 2 {
        return Vec::new();
    }
    let edge = |band: usize| ring.min_per_nm + width * band as f64 / n as f64;
    (0..n)
        .map(|band| QRange::new(edge(band), edge(band + 1)))
        .collect()
}

/// The modes of every band, and where they are looked at.
#[derive(Debug, Clone, Default)]
pub(super) struct Bands {
    stride: usize,
    bands: Vec<Band>,
}

#[derive(Debug, Clone)]
struct Band {
    /// Numbers among the cells of the ring.
    of: Vec<usize>,
    cells: Vec<Cell>,
    modes: SpeckleModes,
    overlaps: Vec<Overlap>,
}

impl Bands {
    /// The modes of each band of the ring that `cells` are of.
    pub(super) fn new(
        reduction: &Reduction,
        recipe: &Recipe,
        cells: &[Cell],
        coherence: &Coherence,
    ) -> Self {
        let q = |cell: &Cell| {
            let all = cell.pixels.iter();
            let sum: f64 = all.map(|&pixel| reduction.annulus.q_per_nm[pixel]).sum();
            sum / cell.pixels.len() as f64
        };
        let bands: Vec<Band> = q_bands(reduction, recipe)
            .into_iter()
            .map(|range| {
                let of: Vec<usize> = (0..cells.len())
                    .filter(|&cell| range.contains(q(&cells[cell])))
                    .collect();
                let own: Vec<Cell> = of.iter().map(|&cell| cells[cell].clone()).collect();
                Band {
                    of,
                    modes: SpeckleModes::new(&own, coherence),
                    cells: own,
                    overlaps: Vec::new(),
                }
            })
            .collect();
        if bands.iter().any(|band| band.of.len() < MIN_CELLS) {
            return Self::default();
        }
        let stride = STRIDE_WIDTHS * recipe.probe_fwhm_nm() / reduction.step_nm;
        Self {
            // What is not known is taken for narrow.
            stride: if stride.is_finite() {
                (stride as usize).max(1)
            } else {
                1
            },
            bands,
        }
    }

    /// Tells the bands where the probes of all scans were.
    pub(super) fn follow(&mut self, n_times: usize, left: Option<&ProbesLeft>) {
        for band in &mut self.bands {
            band.overlaps = left.map_or_else(
                || vec![Overlap::whole(n_times)],
                |left| band.modes.overlaps(n_times, left.likeness()),
            );
        }
    }

    /// Sums of nothing, one a band.
    pub(super) fn no_sums(&self) -> Vec<ClassSums> {
        vec![ClassSums::default(); self.bands.len()]
    }

    /// What a position of the sample adds for each band.
    pub(super) fn sums(&self, counts: &CellSeries) -> Vec<ClassSums> {
        let of_band = |band: &Band| band.modes.sums(&band.cells, &counts.of_cells(&band.of));
        self.bands.iter().map(of_band).collect()
    }

    /// As [`SpeckleModes::calibrate`], each band from its sums.
    pub(super) fn calibrate(&mut self, sums: &[ClassSums], n_areas: f64, is_counted: bool) {
        for (band, sums) in self.bands.iter_mut().zip(sums) {
            band.modes.calibrate(sums, n_areas, is_counted);
        }
    }

    /// D of each band around the maximum of the whole ring; `None` off the grid.
    pub(super) fn profiles(
        &self,
        place: &Position,
        (counts, used): (&CellSeries, &[usize]),
        maximum: &Maximum,
        memory: &Memory,
    ) -> Option<BandProfiles> {
        let on_grid = |at: usize| self.stride > 0 && at.is_multiple_of(self.stride);
        if !on_grid(place.row) || !on_grid(place.col) {
            return None;
        }
        let mut profiles = [[f64::NAN; N_NODES]; MAX_BANDS];
        for (band, profile) in self.bands.iter().zip(&mut profiles) {
            let classes = band.modes.classes(&band.cells, &counts.of_cells(&band.of));
            let sets: [&[_]; N_SETS] = classes.each_ref().map(Vec::as_slice);
            let memory = Memory {
                overlaps: of_times(&band.overlaps, used),
                steps_s: memory.steps_s.clone(),
                exponent_factor: memory.exponent_factor,
            };
            let likelihood = Likelihood {
                sets: &sets,
                memory: &memory,
                // Nothing is searched in tau.
                bounds: [f64::NEG_INFINITY, f64::INFINITY],
            };
            *profile = likelihood.around(maximum, &NODES);
        }
        Some(profiles)
    }
}

/// Mean Q of the pixels of a band. While tau is long against a scan, what noisy speckle tells grows with the root of its counts: they weigh as much.
fn mean_q_per_nm(reduction: &Reduction, range: QRange, pattern: &[f64]) -> f64 {
    let annulus = &reduction.annulus;
    let (mut sum, mut weights) = (0.0, 0.0);
    for (&q, (&counts, &coverage)) in annulus
        .q_per_nm
        .iter()
        .zip(pattern.iter().zip(&annulus.coverage))
    {
        if range.contains(q) && counts > 0.0 {
            let weight = (counts * coverage).sqrt();
            (sum, weights) = (sum + weight * q, weights + weight);
        }
    }
    sum / weights
}

/// What the positions say together; `pattern` is the mean pattern that is divided by.
pub(super) fn conclude(
    (reduction, recipe, pattern): (&Reduction, &Recipe, &[f64]),
    found: &[Option<PositionLikelihood>],
    results: &[PositionResult],
    probe_steps: f64,
) -> Option<QDependence> {
    let (step_s, record_s) = (reduction.time.step_s(), reduction.time.record_s());
    let compared = 2.0 * step_s..MAX_RECORDS * record_s;
    let n_cols = reduction.n_cols();
    let mut places = Vec::new();
    let mut profiles = Vec::new();
    for (index, (found, result)) in found.iter().zip(results).enumerate() {
        let Some((tau_s, own)) = found.as_ref().and_then(PositionLikelihood::bands) else {
            continue;
        };
        if result.enters_ensemble() && compared.contains(&tau_s) {
            places.push((index / n_cols, index % n_cols));
            profiles.push(*own);
        }
    }
    let bands: Vec<(QRange, f64)> = q_bands(reduction, recipe)
        .into_iter()
        .map(|range| (range, mean_q_per_nm(reduction, range, pattern)))
        .collect();
    q_dependence(&BandsInput {
        bands: &bands,
        places: &places,
        profiles: &profiles,
        probe_steps,
        systematic: SYSTEMATIC,
        level: recipe.interval.level,
    })
}
