//! Every position of a scan, one after another: from counts on the annulus to all results of a temperature.
//!
//! The counts pass by shard by shard, at most five times: once for the [conditions], once for the mean pattern where
//! curves are flattened, once for the baseline of distant positions, once in part for the modes of the likelihood, once for everything else. A position here is a point of the sample:
//! where it moved under the scan its frames are gathered from the positions that saw it. Threads share the positions of a shard; what is
//! summed over positions is summed in their order, so results are the same bits for any number of threads.

mod dynamics;
mod geometry;
mod likelihood;
mod position;
mod summary;

use std::borrow::Cow;

use ndarray::{Array2, Array3, s};
use rayon::prelude::*;

use crate::analysis::Analysis;
use crate::conditions::{self, Measured};
use crate::correlate::{
    DistantPairs, FlattenSums, Flattening, LagSums, MIN_AREAS_FOR_PIXEL_FLATTENING, Normalization,
    TwoTime, TwoTimeKept,
};
use crate::drift::align::AlignedCounts;
use crate::error::{Error, Result};
use crate::recipe::Recipe;
use crate::reduce::{Reduction, Shard};
use crate::relax::Estimator;
use crate::ring::RingSeries;
use crate::series::{Position, Warning};

use geometry::{Geometries, Geometry};
use likelihood::LikelihoodTask;
use position::{PositionResult, PositionTask};

/// Positions whose intermediate results are in memory at once; a constant, so that sums do not depend on the machine.
const POSITIONS_AT_ONCE: usize = 64;

/// Positions that enter the baseline of distant pairs at most.
const MAX_DISTANT_POSITIONS: usize = 2_000;

/// Positions whose G is averaged for the region where g is computed without it: each costs as many products as there are pairs of
/// scans, and speckles of a few tens average out as well as a picture shows.
const MATRICES_OF_LONG_SERIES: usize = 32;

/// A matrix of more scans is computed only for positions that are named: 128 MiB each, and as much again while it is made.
const MAX_MATRIX_TIMES: usize = 4_096;

/// The counts of a shard, from memory or from a file.
pub type LoadShard<'a> = dyn Fn(&Shard) -> Result<Cow<'a, RingSeries>> + Sync + 'a;

/// Analyzes one temperature whose counts are in memory, `rings` as [`ReducePlan::reduce`](crate::reduce::ReducePlan::reduce)
/// gives them.
///
/// # Errors
///
/// As [`analyze`].
pub fn analyze_in_memory(
    reduction: &Reduction,
    rings: &[RingSeries],
    recipe: &Recipe,
) -> Result<Analysis> {
    let load = |shard: &Shard| Ok(Cow::Borrowed(&rings[shard.index]));
    analyze(reduction, recipe, &load, &|_| true)
}

/// Analyzes one temperature: correlation, relaxation, azimuthal variance, and their relation.
///
/// `load` delivers the counts of a shard, and is called up to six times for each. `done` is called with the number of
/// positions that were finished; it may return `false` to stop.
///
/// # Errors
///
/// As [`conditions::measure`] and [`analyze_under`].
pub fn analyze(
    reduction: &Reduction,
    recipe: &Recipe,
    load: &LoadShard<'_>,
    done: &(dyn Fn(u64) -> bool + Sync),
) -> Result<Analysis> {
    check(reduction, recipe)?;
    let measured = conditions::measure(reduction, recipe, None, load)?;
    analyze_under(reduction, recipe, &measured, load, done)
}

/// As [`analyze`], under conditions that were measured before.
///
/// # Errors
///
/// [`Error::RingOutside`] and [`Error::EmptyRing`] for rings that the reduction does not hold;
/// [`Error::TooFewTimes`] for a single scan; [`Error::PositionOutside`]; what `load` returns;
/// [`Error::Stopped`] where `done` said so.
pub fn analyze_under(
    reduction: &Reduction,
    recipe: &Recipe,
    measured: &Measured,
    load: &LoadShard<'_>,
    done: &(dyn Fn(u64) -> bool + Sync),
) -> Result<Analysis> {
    check(reduction, recipe)?;
    let counts = AlignedCounts::new(reduction, &measured.alignment, load);
    let run = Run {
        reduction,
        recipe,
        measured,
        geometries: Geometries::new(reduction, recipe, &measured.alignment)?,
        load: &|shard: &Shard| counts.shard(shard),
        done,
    };
    run.analyze()
}

fn check(reduction: &Reduction, recipe: &Recipe) -> Result<()> {
    let (n_rows, n_cols) = (reduction.n_rows(), reduction.n_cols());
    let n_times = reduction.time.len();
    if n_times < 2 {
        return Err(Error::TooFewTimes {
            what: "a correlation",
            n_times,
            needed: 2,
        });
    }
    for &position in &recipe.dynamics.two_time_positions {
        if position.row >= n_rows || position.col >= n_cols {
            return Err(Error::PositionOutside {
                position,
                n_rows,
                n_cols,
            });
        }
    }
    Ok(())
}

struct Run<'a, 'rings> {
    reduction: &'a Reduction,
    recipe: &'a Recipe,
    measured: &'a Measured,
    geometries: Geometries,
    load: &'a LoadShard<'rings>,
    done: &'a (dyn Fn(u64) -> bool + Sync),
}

impl Run<'_, '_> {
    fn analyze(&self) -> Result<Analysis> {
        let (n_rows, n_cols) = (self.reduction.n_rows(), self.reduction.n_cols());
        let mut warnings = self.measured.warnings.clone();
        let (flattening, flatten) = self.flatten(&mut warnings)?;
        let distant_baseline = self.distant_baseline(flatten.as_deref())?;
        if self.recipe.relaxation.baseline == crate::relax::Baseline::DistantPairs
            && distant_baseline.is_none()
        {
            warnings.push(Warning::new(
                "W041",
                "No two positions are farther apart than two probe widths, so the baseline of g could not be measured; 1 is used.",
            ));
        }
        let mut task = PositionTask::new(
            self.reduction,
            self.recipe,
            self.measured,
            flatten.as_deref(),
            distant_baseline,
        );
        // The tests need G of every position.
        let mut collector = match task.lag_sums() {
            LagSums::Pairs => self.collector(&task, distant_baseline, &mut warnings),
            LagSums::Fourier => None,
        };
        task.classes = collector
            .as_ref()
            .map(|collector| (collector.classes().clone(), collector.settings().baseline));

        let likelihood = self.likelihood(&task, flatten.as_deref(), &mut warnings)?;

        let keep_all = self.recipe.dynamics.two_time == TwoTimeKept::All;
        let n_times = self.reduction.time.len();
        let mut all =
            keep_all.then(|| Array3::from_elem((n_rows * n_cols, n_times, n_times), f64::NAN));
        let has_matrices = n_times <= MAX_MATRIX_TIMES || task.lag_sums() == LagSums::Pairs;
        let mut region = RegionMean::new(if has_matrices { n_times } else { 0 });
        let mut results: Vec<Option<PositionResult>> = vec![None; n_rows * n_cols];
        for shard in self.reduction.shards() {
            let rings = (self.load)(&shard)?;
            let positions = positions_of(&shard);
            for chunk in positions.chunks(POSITIONS_AT_ONCE) {
                let made: Vec<(PositionResult, Option<Array2<f64>>)> = chunk
                    .par_iter()
                    .map(|&at| {
                        let geometry = self.geometry(&rings, at);
                        let (mut result, two_time) = task.analyze(&rings, at, geometry);
                        result.likelihood = likelihood
                            .as_ref()
                            .and_then(|likelihood| likelihood.fit(&rings, at, geometry, &result));
                        (result, two_time)
                    })
                    .collect();
                for (&at, (mut result, two_time)) in chunk.iter().zip(made) {
                    let index = (rings.first_row + at.row) * n_cols + rings.first_col + at.col;
                    if let Some(collector) = &mut collector {
                        let place = self.place(&rings, at);
                        if let (true, Some(two_time)) = (result.enters_ensemble(), &two_time) {
                            collector.add_matrix(place, two_time.view());
                        }
                        if let Some(halves) = result.records.take() {
                            collector.add_halves(place, halves);
                        }
                    }
                    if let Some(two_time) = &two_time {
                        region.add(&result, two_time);
                    }
                    if let (Some(all), Some(two_time)) = (&mut all, two_time) {
                        all.slice_mut(s![index, .., ..]).assign(&two_time);
                    }
                    results[index] = Some(result);
                }
                if !(self.done)(chunk.len() as u64) {
                    return Err(Error::Stopped);
                }
            }
        }
        let mut results: Vec<PositionResult> = results.into_iter().flatten().collect();
        let interval_factor = likelihood
            .as_ref()
            .map(|likelihood| likelihood.finish(&mut results, self.n_areas()));
        if has_matrices && task.lag_sums() == LagSums::Fourier {
            self.add_matrices(&task, &results, &mut region)?;
            let text = format!(
                "With {n_times} scans g is computed without G(t1, t2) of every position: G of the region is the mean over {} positions, and \
                 the tests of the dynamics that need all of them are not made (dynamics.two_time = \"all\" computes them).",
                region.n
            );
            warnings.push(Warning::new("W044", text));
        }
        let mut analysis = summary::assemble(self.reduction, &task, results, warnings);
        analysis.flattening = flattening;
        analysis.interval_factor = interval_factor;
        analysis.distant_baseline = distant_baseline;
        analysis.two_time_all = all;
        let mut kept: Vec<Position> = self.recipe.dynamics.two_time_positions.clone();
        if has_matrices {
            analysis.two_time.push(region.two_time());
            kept.extend(analysis.examples.into_iter().flatten());
        }
        kept.sort_unstable();
        kept.dedup();
        self.keep_two_time(&task, &kept, &mut analysis)?;
        if let Some(collector) = collector {
            let (mut found, changed) = collector.finish();
            found.rings = self.ring_times(&collector, &analysis.quality, &task)?;
            analysis.note_changes(&changed);
            analysis.dynamics = Some(found);
        }
        Ok(analysis)
    }

    /// The likelihood of the ring's modes, where the recipe asks for it.
    fn likelihood<'s>(
        &'s self,
        task: &PositionTask<'s>,
        flatten: Option<&[f64]>,
        warnings: &mut Vec<Warning>,
    ) -> Result<Option<LikelihoodTask<'s>>> {
        if self.recipe.relaxation.estimator != Estimator::Likelihood {
            return Ok(None);
        }
        let flatten = flatten.filter(|_| self.recipe.uses_likelihood());
        let made = match flatten {
            None => None,
            Some(flatten) => LikelihoodTask::new(
                task,
                self.reduction,
                &self.geometries,
                flatten,
                self.n_areas(),
                &mut |see| self.show_sample(see),
            )?,
        };
        if made.is_none() {
            let why = if flatten.is_none() {
                "it needs relaxation.stretch fixed at 1, relaxation.baseline = \"one\" and dynamics.normalization = \"flattened\""
            } else {
                "no speckle was found that lasts from one scan to the next"
            };
            warnings.push(Warning::new(
                "W052",
                format!("The likelihood was not used, tau is that of least squares: {why}."),
            ));
        }
        Ok(made)
    }

    /// Shows the positions from which modes are learned one after another.
    fn show_sample(&self, see: &mut dyn FnMut(&RingSeries, Position, &Geometry)) -> Result<()> {
        let sample = likelihood::sample(self.measured);
        for shard in self.reduction.shards() {
            let inside = |at: &&Position| {
                (shard.first_row..shard.first_row + shard.n_rows).contains(&at.row)
                    && (shard.first_col..shard.first_col + shard.n_cols).contains(&at.col)
            };
            let chosen: Vec<&Position> = sample.iter().filter(inside).collect();
            if chosen.is_empty() {
                continue;
            }
            let rings = (self.load)(&shard)?;
            for &place in &chosen {
                let at = Position {
                    row: place.row - rings.first_row,
                    col: place.col - rings.first_col,
                };
                see(&rings, at, self.geometry(&rings, at));
            }
        }
        Ok(())
    }

    /// G of some positions, evenly spread in the order of the scan.
    fn add_matrices(
        &self,
        task: &PositionTask<'_>,
        results: &[PositionResult],
        region: &mut RegionMean,
    ) -> Result<()> {
        let n_cols = self.reduction.n_cols();
        let entering: Vec<usize> = (0..results.len())
            .filter(|&index| results[index].enters_ensemble())
            .collect();
        let stride = entering.len().div_ceil(MATRICES_OF_LONG_SERIES).max(1);
        let chosen: Vec<usize> = entering.into_iter().step_by(stride).collect();
        for shard in self.reduction.shards() {
            let index =
                |at: &Position| (shard.first_row + at.row) * n_cols + shard.first_col + at.col;
            let positions = positions_of(&shard).into_iter();
            let wanted: Vec<Position> = positions
                .filter(|at| chosen.binary_search(&index(at)).is_ok())
                .collect();
            if wanted.is_empty() {
                continue;
            }
            let rings = (self.load)(&shard)?;
            for at in wanted {
                let two_time = task.two_time(&rings, at, self.geometry(&rings, at));
                region.add(&results[index(&at)], &two_time);
            }
        }
        Ok(())
    }

    /// The position of a block in the region.
    fn place(&self, rings: &RingSeries, at: Position) -> Position {
        Position {
            row: rings.first_row + at.row,
            col: rings.first_col + at.col,
        }
    }

    fn geometry(&self, rings: &RingSeries, at: Position) -> &Geometry {
        self.geometries.at(&self.place(rings, at))
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
                        let mut part = FlattenSums::new(annulus.len());
                        let ring = geometry::counts(&rings, at, &geometry.ring, annulus, None);
                        part.add_position(
                            ring.view(),
                            &geometry.ring,
                            &self.valid_times(&rings, at),
                        );
                        part
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

    fn distant_baseline(&self, flatten: Option<&[f64]>) -> Result<Option<f64>> {
        // Positions whose rings are of different pixels cannot be multiplied pixel by pixel.
        if !self.geometries.is_common()
            || self.recipe.dynamics.normalization == Normalization::PerPixel
        {
            return Ok(None);
        }
        let n_cols = self.reduction.n_cols();
        let stride = (self.reduction.n_rows() * n_cols).div_ceil(MAX_DISTANT_POSITIONS);
        let mut pairs = DistantPairs::new(2.0 * self.probe_steps());
        for shard in self.reduction.shards() {
            let rings = (self.load)(&shard)?;
            let chosen: Vec<(Position, Position)> = positions_of(&shard)
                .into_iter()
                .map(|at| (at, self.place(&rings, at)))
                .filter(|(_, place)| (place.row * n_cols + place.col).is_multiple_of(stride))
                .collect();
            let means: Vec<Vec<f64>> = chosen
                .par_iter()
                .map(|&(at, _)| {
                    let geometry = self.geometry(&rings, at);
                    let ring = geometry::counts(
                        &rings,
                        at,
                        &geometry.ring,
                        &self.reduction.annulus,
                        flatten,
                    );
                    DistantPairs::position_mean(ring.view(), &self.valid_times(&rings, at))
                })
                .collect();
            for ((_, place), mean) in chosen.into_iter().zip(means) {
                pairs.add(place.row, place.col, mean);
            }
        }
        Ok(pairs.baseline())
    }

    /// Probe width in scan steps; 1 where nothing is known: neighbors share speckle at most.
    fn probe_steps(&self) -> f64 {
        let width = self.recipe.probe_fwhm_nm() / self.reduction.step_nm;
        if width.is_finite() { width } else { 1.0 }
    }

    /// Independent probe areas in the region: at most one a position.
    fn n_areas(&self) -> f64 {
        let masked = &self.measured.conditions.region.masked;
        let n_positions = masked.iter().filter(|&&masked| !masked).count() as f64;
        let width = self.probe_steps().max(1.0);
        n_positions / (width * width)
    }

    fn valid_times(&self, rings: &RingSeries, at: Position) -> Vec<bool> {
        position::valid_times(rings, at, self.measured)
    }

    fn keep_two_time(
        &self,
        task: &PositionTask<'_>,
        kept: &[Position],
        analysis: &mut Analysis,
    ) -> Result<()> {
        for shard in self.reduction.shards() {
            let inside = |position: &&Position| {
                (shard.first_row..shard.first_row + shard.n_rows).contains(&position.row)
                    && (shard.first_col..shard.first_col + shard.n_cols).contains(&position.col)
            };
            let wanted: Vec<&Position> = kept.iter().filter(inside).collect();
            if wanted.is_empty() {
                continue;
            }
            let rings = (self.load)(&shard)?;
            for &&place in &wanted {
                let at = Position {
                    row: place.row - rings.first_row,
                    col: place.col - rings.first_col,
                };
                let values = task.two_time(&rings, at, self.geometry(&rings, at));
                analysis.two_time.push(TwoTime {
                    position: Some(place),
                    values,
                });
            }
        }
        // The region mean, which has no position, is the first.
        analysis.two_time.sort_by_key(|two_time| two_time.position);
        Ok(())
    }
}

/// The mean of G over positions, added in their order.
struct RegionMean {
    sum: Array2<f64>,
    n: usize,
}

impl RegionMean {
    fn new(n_times: usize) -> Self {
        Self {
            sum: Array2::zeros((n_times, n_times)),
            n: 0,
        }
    }

    /// Adds G of a position that enters averages and has a value at every pair of scans.
    fn add(&mut self, result: &PositionResult, two_time: &Array2<f64>) {
        if result.enters_ensemble() && two_time.iter().all(|value| value.is_finite()) {
            self.sum += two_time;
            self.n += 1;
        }
    }

    fn two_time(self) -> TwoTime {
        TwoTime {
            position: None,
            values: self.sum / self.n as f64,
        }
    }
}

/// The positions of a shard, counted in the shard, row by row.
fn positions_of(shard: &Shard) -> Vec<Position> {
    (0..shard.n_rows)
        .flat_map(|row| (0..shard.n_cols).map(move |col| Position { row, col }))
        .collect()
}
