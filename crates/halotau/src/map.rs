//! Every position of a scan, one after another: from counts on the annulus to all results of a temperature.
//!
//! What is taken from the counts and what is concluded from it are two stages; [`curves`] is what lies between them.
//!
//! The counts pass by shard by shard, at most six times: once for the [conditions], once for the mean pattern where
//! curves are flattened, once for the baseline of distant positions where that is fitted or tested with, twice in part for the modes of the
//! likelihood, once for everything else. A position here is a point of the sample:
//! where it moved under the scan its frames are gathered from the positions that saw it. Threads share the positions of a shard; what is
//! summed over positions is summed in their order, so results are the same bits for any number of threads.

mod bands;
mod cells;
pub mod curves;
mod dynamics;
mod flags;
mod geometry;
mod halves;
mod likelihood;
mod matrices;
mod position;
mod shared;
mod summary;

use std::borrow::Cow;
use std::sync::Arc;

use ndarray::{Array2, Array3, s};
use rayon::prelude::*;

use crate::analysis::{Analysis, MapSummary};
use crate::conditions::{self, Measured};
use crate::correlate::{DistantPairs, LagSums, TwoTimeKept};
use crate::drift::align::AlignedCounts;
use crate::dynamics::Collector;
use crate::error::{Error, Result};
use crate::q_dependence::QDependence;
use crate::recipe::Recipe;
use crate::reduce::{Reduction, Shard};
use crate::relate::StructureDynamics;
use crate::relax::Estimator;
use crate::ring::{PixelSeries, RingSeries};
use crate::series::{Position, Warning};

use curves::{Common, Curves, Likelihoods, PositionCurves, RegionSum, Taken};
use geometry::{Geometries, Geometry};
use likelihood::{Conclusion, LikelihoodTask, PositionLikelihood, SeePositions};
use position::{PositionResult, PositionTask};

/// Positions whose intermediate results are in memory at once; a constant, so that sums do not depend on the machine.
const POSITIONS_AT_ONCE: usize = 64;

/// A matrix of more scans is computed only for positions that are named: 32 MiB each, as much again while it is made, and eight of them at the end.
pub const MAX_MATRIX_TIMES: usize = 2_048;

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
    analyze_from(
        reduction,
        recipe,
        measured,
        &mut Taken::default(),
        load,
        done,
    )
}

/// As [`analyze_under`], from what an earlier analysis took from the counts. `taken` must come from the same counts and conditions under the
/// same [settings](curves::curve_settings); it is left with what this analysis took. `load` is called only for what is missing.
///
/// # Errors
///
/// As [`analyze_under`].
pub fn analyze_from(
    reduction: &Reduction,
    recipe: &Recipe,
    measured: &Measured,
    taken: &mut Taken,
    load: &LoadShard<'_>,
    done: &(dyn Fn(u64) -> bool + Sync),
) -> Result<Analysis> {
    let on = (reduction, recipe, measured);
    with_run(on, taken, load, done, |run, taken| run.analyze(taken))
}

/// The numbers of an analysis that a comparison needs, and nothing that takes more: as [`analyze_from`] has them.
///
/// # Errors
///
/// As [`analyze_under`].
pub fn numbers_from(
    reduction: &Reduction,
    recipe: &Recipe,
    measured: &Measured,
    taken: &mut Taken,
    load: &LoadShard<'_>,
    done: &(dyn Fn(u64) -> bool + Sync),
) -> Result<(MapSummary, StructureDynamics)> {
    let on = (reduction, recipe, measured);
    with_run(on, taken, load, done, |run, taken| run.numbers(taken))
}

fn with_run<T>(
    (reduction, recipe, measured): (&Reduction, &Recipe, &Measured),
    taken: &mut Taken,
    load: &LoadShard<'_>,
    done: &(dyn Fn(u64) -> bool + Sync),
    analyze: impl FnOnce(&Run<'_, '_>, &mut Taken) -> Result<T>,
) -> Result<T> {
    check(reduction, recipe)?;
    let n_positions = reduction.n_rows() * reduction.n_cols();
    let lags = recipe.dynamics.lags(reduction.time.len());
    taken.drop_unfitting(n_positions, &lags);
    let counts = AlignedCounts::new(reduction, &measured.alignment, load);
    let run = Run {
        reduction,
        recipe,
        measured,
        geometries: Geometries::new(reduction, recipe, &measured.alignment)?,
        load: &|shard: &Shard| counts.shard(shard),
        done,
    };
    analyze(&run, taken)
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

/// What the positions of an analysis gave, before maps are made of it.
struct Concluded<'a> {
    task: PositionTask<'a>,
    results: Vec<PositionResult>,
    interval_factor: Option<f64>,
    distant_baseline: Option<f64>,
    q_dependence: Option<QDependence>,
    collector: Option<Collector>,
    /// Every position's G where asked for.
    all: Option<Array3<f64>>,
    warnings: Vec<Warning>,
}

impl Run<'_, '_> {
    fn analyze(&self, taken: &mut Taken) -> Result<Analysis> {
        let common = self.common(taken)?;
        let concluded = self.conclude(&common, taken, true)?;
        let Concluded {
            task,
            results,
            interval_factor,
            distant_baseline,
            q_dependence,
            collector,
            all,
            mut warnings,
        } = concluded;
        warnings.extend(q_dependence.as_ref().and_then(q_warning));
        let n_times = self.reduction.time.len();
        let has_matrices = self.has_matrices(&task);
        let mut matrices = taken.matrices.take().unwrap_or_default();
        if has_matrices {
            self.region(&task, &results, &mut matrices.region)?;
            if task.lag_sums() != LagSums::Pairs {
                let n = matrices.region.n;
                let text = format!(
                    "With {n_times} scans g is computed without G(t1, t2) of every position: G of the region is the mean over {n} positions, and \
                     the tests of the dynamics that need all of them are not made (dynamics.two_time = \"all\" computes them).",
                );
                warnings.push(Warning::new("W044", text));
            }
        } else {
            let text = format!(
                "With {n_times} scans G(t1, t2) is computed for no position but those named in dynamics.two_time_positions, and the tests of the \
                 dynamics that need G of every position are not made.",
            );
            warnings.push(Warning::new("W044", text));
        }
        let mut analysis = summary::assemble(self.reduction, &task, results, warnings);
        analysis.flattening = common.flattening;
        analysis.interval_factor = interval_factor;
        analysis.distant_baseline = distant_baseline;
        analysis.q_dependence = q_dependence;
        analysis.two_time_all = all;
        let mut kept: Vec<Position> = self.recipe.dynamics.two_time_positions.clone();
        if has_matrices {
            analysis.two_time.push(matrices.region.two_time());
            kept.extend(analysis.examples.into_iter().flatten());
        }
        kept.sort_unstable();
        kept.dedup();
        matrices.positions = self.two_time_of(&task, &kept, matrices.positions)?;
        analysis.two_time.extend(matrices.positions.iter().cloned());
        taken.matrices = Some(matrices);
        if let Some(collector) = collector {
            let (mut found, changed) = collector.finish();
            found.rings = self.ring_times(&collector, &analysis.quality, &task)?;
            analysis.note_changes(&changed);
            analysis.dynamics = Some(found);
        }
        Ok(analysis)
    }

    fn numbers(&self, taken: &mut Taken) -> Result<(MapSummary, StructureDynamics)> {
        let common = self.common(taken)?;
        let concluded = self.conclude(&common, taken, false)?;
        Ok(summary::numbers(
            self.reduction,
            &concluded.task,
            &concluded.results,
        ))
    }

    fn has_matrices(&self, task: &PositionTask<'_>) -> bool {
        self.reduction.time.len() <= MAX_MATRIX_TIMES || task.lag_sums() == LagSums::Pairs
    }

    /// All positions, from what was taken of them before or from their counts; with all that an analysis shows, or the numbers alone.
    fn conclude<'s>(
        &'s self,
        common: &'s Common,
        taken: &mut Taken,
        whole: bool,
    ) -> Result<Concluded<'s>> {
        let mut warnings = self.measured.warnings.clone();
        warnings.extend(common.warnings.iter().cloned());
        let distant_baseline = common.distant_baseline;
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
            common.pattern.as_deref(),
            distant_baseline,
        );
        // The tests need G of every position.
        let collector = match task.lag_sums() {
            LagSums::Pairs => self.collector(&task, distant_baseline, &mut warnings),
            LagSums::Fourier | LagSums::MultiTau => None,
        };
        task.classes = collector
            .as_ref()
            .map(|collector| (collector.classes().clone(), collector.settings().baseline));
        let (n_rows, n_cols) = (self.reduction.n_rows(), self.reduction.n_cols());
        let n_times = self.reduction.time.len();
        // Where it was not measured before.
        let distant = (taken.curves.is_none() && !self.needs_distant_baseline())
            .then(|| self.distant_pairs())
            .flatten();
        task.wants_means = distant.is_some();
        let mut gathered = Gathered {
            distant,
            results: vec![None; n_rows * n_cols],
            collector,
            all: (whole && self.recipe.dynamics.two_time == TwoTimeKept::All)
                .then(|| Array3::from_elem((n_rows * n_cols, n_times, n_times), f64::NAN)),
            region: (whole && task.lag_sums() == LagSums::Pairs)
                .then(|| RegionSum::new(n_times, n_rows * n_cols)),
        };
        let modes = self.modes(&task, common, taken, &mut warnings)?;
        let curves = taken.curves.take().map(|curves| curves.positions);
        let likelihoods = taken.likelihoods.take();
        match (&curves, &modes) {
            (Some(curves), None) => self.conclude_kept(&task, curves, &mut gathered)?,
            _ => self.conclude_counts(&task, curves.as_deref(), modes.as_ref(), &mut gathered)?,
        }
        let mut results: Vec<PositionResult> = gathered.results.into_iter().flatten().collect();
        let positions = results.iter().map(|result| Arc::clone(&result.curves));
        let distant_baseline = match gathered.distant {
            Some(pairs) => pairs.baseline(),
            None => distant_baseline,
        };
        taken.curves = Some(Curves {
            common: Common {
                distant_baseline,
                ..common.clone()
            },
            positions: positions.collect(),
        });
        if let Some(sum) = gathered.region {
            // Without G of any position nothing was asked for, and the earlier sum may still be the answer.
            if sum.asked.contains(&true) {
                taken.matrices.get_or_insert_default().region = sum;
            }
        }
        if self.wants_likelihood(common) {
            taken.likelihoods = match &modes {
                Some(_) => {
                    let found = results.iter_mut().map(|result| result.likelihood.take());
                    Some(Likelihoods::new(Some(found.collect())))
                }
                None => likelihoods.or_else(|| Some(Likelihoods::new(None))),
            };
        }
        let found = taken
            .likelihoods
            .as_ref()
            .filter(|_| self.wants_likelihood(common));
        let found = found.and_then(Likelihoods::positions);
        let q_dependence = found
            .zip(common.pattern.as_deref())
            .and_then(|(found, pattern)| {
                let of = (self.reduction, self.recipe, pattern);
                bands::conclude(of, found, &results, self.probe_steps())
            });
        let interval_factor =
            found.and_then(|found| self.likelihood(&task, found, &mut results, &mut warnings));
        // Bands of a likelihood that is not to be used say nothing either.
        let q_dependence = q_dependence.filter(|_| interval_factor.is_some());
        Ok(Concluded {
            task,
            results,
            interval_factor,
            distant_baseline,
            q_dependence,
            collector: gathered.collector,
            all: gathered.all,
            warnings,
        })
    }

    /// All positions from what was taken before.
    fn conclude_kept(
        &self,
        task: &PositionTask<'_>,
        curves: &[Arc<PositionCurves>],
        gathered: &mut Gathered,
    ) -> Result<()> {
        let n_cols = self.reduction.n_cols();
        let chunks = curves.chunks(POSITIONS_AT_ONCE);
        for (number, chunk) in chunks.enumerate() {
            let first = number * POSITIONS_AT_ONCE;
            let made: Vec<PositionResult> = chunk
                .par_iter()
                .enumerate()
                .map(|(at, curves)| {
                    let place = Position {
                        row: (first + at) / n_cols,
                        col: (first + at) % n_cols,
                    };
                    task.conclude(place, curves, None)
                })
                .collect();
            for (at, result) in made.into_iter().enumerate() {
                gathered.results[first + at] = Some(result);
            }
            if !(self.done)(chunk.len() as u64) {
                return Err(Error::Stopped);
            }
        }
        Ok(())
    }

    /// All positions from their counts; curves that are there are not computed again.
    fn conclude_counts(
        &self,
        task: &PositionTask<'_>,
        curves: Option<&[Arc<PositionCurves>]>,
        modes: Option<&LikelihoodTask<'_>>,
        gathered: &mut Gathered,
    ) -> Result<()> {
        let n_cols = self.reduction.n_cols();
        for shard in self.reduction.shards() {
            let rings = (self.load)(&shard)?;
            let positions = positions_of(&shard);
            for chunk in positions.chunks(POSITIONS_AT_ONCE) {
                // Memory that was used is faster than fresh one, which the system clears page by page.
                let made: Vec<Made> = chunk
                    .par_iter()
                    .map_init(PixelSeries::default, |memory, &at| {
                        let place = self.place(&rings, at);
                        let geometry = self.geometry(&rings, at);
                        let (taken, two_time, records, ring_means) = match curves {
                            Some(curves) => {
                                let curves = &curves[place.row * n_cols + place.col];
                                (Arc::clone(curves), None, None, None)
                            }
                            None => {
                                let taken = task.take(&rings, at, geometry, memory);
                                let curves = Arc::new(taken.curves);
                                (curves, taken.two_time, taken.records, taken.ring_means)
                            }
                        };
                        let mut result = task.conclude(place, &taken, records);
                        result.likelihood =
                            modes.and_then(|modes| modes.fit(&rings, at, geometry, &taken));
                        Made {
                            result,
                            two_time,
                            ring_means: ring_means.filter(|_| self.enters_distant_baseline(place)),
                        }
                    })
                    .collect();
                for (&at, made) in chunk.iter().zip(made) {
                    gathered.add(self.place(&rings, at), n_cols, made);
                }
                if !(self.done)(chunk.len() as u64) {
                    return Err(Error::Stopped);
                }
            }
        }
        Ok(())
    }

    /// Whether tau is to be found by the likelihood, and can be.
    fn wants_likelihood(&self, common: &Common) -> bool {
        self.recipe.uses_likelihood() && common.pattern.is_some()
    }

    /// The likelihood's modes, where it is wanted and was not found before.
    fn modes<'s>(
        &'s self,
        task: &PositionTask<'s>,
        common: &'s Common,
        taken: &Taken,
        warnings: &mut Vec<Warning>,
    ) -> Result<Option<LikelihoodTask<'s>>> {
        if self.recipe.relaxation.estimator != Estimator::Likelihood {
            return Ok(None);
        }
        let mut why = None;
        let mut made = None;
        match &common.pattern {
            Some(pattern) if self.wants_likelihood(common) => {
                let is_known = |found: &Likelihoods| found.positions().is_none();
                made = match &taken.likelihoods {
                    Some(_) => None,
                    None => LikelihoodTask::new(
                        task,
                        self.reduction,
                        &self.geometries,
                        pattern,
                        self.n_areas(),
                        &mut |see| self.show_sample(see),
                    )?,
                };
                if made.is_none() && taken.likelihoods.as_ref().is_none_or(is_known) {
                    why = Some("no speckle was found that lasts from one scan to the next");
                }
            }
            _ => {
                why = Some(
                    "it needs relaxation.stretch fixed at 1, relaxation.baseline = \"one\" and dynamics.normalization = \"flattened\"",
                );
            }
        }
        warnings.extend(why.map(|why| {
            let text = format!("The likelihood was not used, tau is that of least squares: {why}.");
            Warning::new("W052", text)
        }));
        Ok(made)
    }

    /// Puts what the likelihood found in the place of the fits, and tells how many times wider than curvature intervals are.
    fn likelihood(
        &self,
        task: &PositionTask<'_>,
        positions: &[Option<PositionLikelihood>],
        results: &mut [PositionResult],
        warnings: &mut Vec<Warning>,
    ) -> Option<f64> {
        for (result, found) in results.iter_mut().zip(positions) {
            result.likelihood = found.clone().filter(|_| result.enters_ensemble());
        }
        let conclusion = Conclusion::new(task, self.reduction);
        if let Some(ln_ratio) = conclusion.contradiction(results, self.n_areas()) {
            results
                .iter_mut()
                .for_each(|result| result.likelihood = None);
            warnings.push(Warning::new(
                "W052",
                format!(
                    "The likelihood was not used, tau is that of least squares: the likelihood's would be {:.0} % {} (median), more than chance \
                     makes of it. Then speckle is lost from scan to scan by something else than relaxation, such as positions that jitter or \
                     a drift that is not known, or its decay is not a simple exponential.",
                    100.0 * (libm::exp(ln_ratio) - 1.0).abs(),
                    if ln_ratio < 0.0 { "shorter" } else { "longer" }
                ),
            ));
            return None;
        }
        Some(conclusion.finish(results, self.n_areas()))
    }

    /// Shows the positions from which modes are learned, those of a shard at once.
    fn show_sample(&self, see: &mut SeePositions<'_>) -> Result<()> {
        let sample = likelihood::sample(self.measured);
        for shard in self.reduction.shards() {
            let rows = shard.first_row..shard.first_row + shard.n_rows;
            let cols = shard.first_col..shard.first_col + shard.n_cols;
            let inside = |at: &&Position| rows.contains(&at.row) && cols.contains(&at.col);
            let chosen: Vec<&Position> = sample.iter().filter(inside).collect();
            if chosen.is_empty() {
                continue;
            }
            let rings = (self.load)(&shard)?;
            let positions: Vec<(Position, &Geometry)> = chosen
                .into_iter()
                .map(|place| {
                    let at = Position {
                        row: place.row - rings.first_row,
                        col: place.col - rings.first_col,
                    };
                    (at, self.geometry(&rings, at))
                })
                .collect();
            see(&rings, &positions);
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
}

/// Whether the ring has more than one tau.
fn q_warning(found: &QDependence) -> Option<Warning> {
    let ratio = found.outer_over_inner;
    found.is_dependent().then(|| {
        let text = format!(
            "tau is not the same over the ring that is taken as one: its bands of Q differ by up to {:.0} %, and at its outer end it is {:.2} [{:.2}, {:.2}] \
             times that at its inner end. The map is a mean over Q; a narrower dynamics.q_range_per_nm gives that of one Q.",
            100.0 * (libm::exp(found.largest_difference()) - 1.0),
            ratio.value,
            ratio.lower,
            ratio.upper
        );
        Warning::new("W054", text)
    })
}

/// What was made of one position, and what sums over positions need of it.
struct Made {
    result: PositionResult,
    two_time: Option<Array2<f64>>,
    ring_means: Option<Vec<f64>>,
}

/// What is gathered on the way through the positions.
struct Gathered {
    /// Where the baseline of distant positions is measured on the way.
    distant: Option<DistantPairs>,
    results: Vec<Option<PositionResult>>,
    collector: Option<Collector>,
    all: Option<Array3<f64>>,
    region: Option<RegionSum>,
}

impl Gathered {
    fn add(&mut self, place: Position, n_cols: usize, made: Made) {
        let Made {
            mut result,
            two_time,
            ring_means,
        } = made;
        let index = place.row * n_cols + place.col;
        if let (Some(distant), Some(means)) = (&mut self.distant, ring_means) {
            distant.add(place.row, place.col, means);
        }
        if let Some(collector) = &mut self.collector {
            if let (true, Some(two_time)) = (result.enters_ensemble(), &two_time) {
                collector.add_matrix(place, two_time.view());
            }
            if let Some(halves) = result.records.take() {
                collector.add_halves(place, halves);
            }
        }
        if let (Some(region), true, Some(two_time)) =
            (&mut self.region, result.enters_ensemble(), &two_time)
        {
            region.add(index, two_time, &result.curves.valid);
        }
        if let (Some(all), Some(two_time)) = (&mut self.all, two_time) {
            all.slice_mut(s![index, .., ..]).assign(&two_time);
        }
        self.results[index] = Some(result);
    }
}

/// The positions of a shard, counted in the shard, row by row.
fn positions_of(shard: &Shard) -> Vec<Position> {
    (0..shard.n_rows)
        .flat_map(|row| (0..shard.n_cols).map(move |col| Position { row, col }))
        .collect()
}
