//! The likelihood of every position: which cells there are, what the modes hold, and what is made of each fit.

use rayon::prelude::*;

use super::bands::Bands;
use super::cells::cells;
use super::curves::PositionCurves;
use super::geometry::{Geometries, Geometry};
use super::position::{PositionResult, PositionTask, valid_times};
use crate::conditions::Measured;
use crate::correlate::Lags;
use crate::drift::{Drift, ProbesLeft};
use crate::error::Result;
use crate::likelihood::{
    Cell, CellSeries, ClassSums, Coherence, CoherencePairs, CoherenceSums, Likelihood, Maximum,
    Memory, N_SETS, Overlap, Profile, SpeckleModes, interval_factor,
};
use crate::q_dependence::{BandProfiles, MAX_BANDS, N_NODES};
use crate::quality::Quality;
use crate::rank;
use crate::recipe::Recipe;
use crate::reduce::Reduction;
use crate::relax::{
    BaselineMode, ExponentFactor, FitOutcome, KwwFit, KwwProblem, Stretch, Weights, fit,
    n_lags_within,
};
use crate::ring::{PixelSeries, RingSeries};
use crate::series::Position;
use crate::speckle::Aperture;
use crate::statistics::normal_quantile;

/// Positions from which the modes are learned. What is learned wrong is wrong at all positions alike: with 128 tau of a whole map was off
/// by one or two per cent, with 512 by half of a per cent.
const MAX_SAMPLE: usize = 512;

/// Positions of the sample whose counts are in memory at once.
const SAMPLE_AT_ONCE: usize = 32;

/// Up to this many records the halves say how wide intervals are; beyond, some end at the bound.
const MAX_RECORDS: f64 = 4.0;

/// The search is for the relaxation time of the field whatever the recipe's convention: so it needs no repetition in another one.
const SEARCHED: ExponentFactor = ExponentFactor::Two;

/// Share of the record whose lags are fitted for the start of the search.
const START_LAG_FRACTION: f64 = 0.5;

/// Below this no division by an overlap.
const LEAST_OVERLAP: f64 = 1e-3;

/// Sees positions of one shard.
pub(super) type SeePositions<'a> = dyn FnMut(&RingSeries, &[(Position, &Geometry)]) + 'a;

/// Shows the positions of the sample to a function, those of a shard at once.
pub(super) type ShowSample<'a> = dyn FnMut(&mut SeePositions<'_>) -> Result<()> + 'a;

/// What the likelihood found at one position.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct PositionLikelihood {
    /// In the time of the field; `None` where there is no speckle that could decay.
    maximum: Option<(Maximum, Profile)>,
    /// ln tau of the field and its error by curvature from each half; NaN where there is none.
    halves: [(f64, f64); 2],
    /// ln tau of the field by least squares on g, without what drift takes of it; NaN where there is none.
    ln_fit: f64,
    /// D of bands of Q, where it was asked for.
    bands: Option<BandProfiles>,
}

impl PositionLikelihood {
    /// Where the maximum, the profile and the halves begin.
    const PROFILE: usize = 1 + Maximum::N_NUMBERS;
    const HALVES: usize = Self::PROFILE + Profile::N_NUMBERS;
    const FIT: usize = Self::HALVES + 4;
    const BANDS: usize = Self::FIT + 1;
    /// Numbers that it is kept as; the first, which is never NaN, says whether there is a maximum and whether there are bands.
    pub(super) const N_NUMBERS: usize = Self::BANDS + MAX_BANDS * N_NODES;

    /// tau of the field in seconds and D of bands of Q, where there are both.
    pub(super) fn bands(&self) -> Option<(f64, &BandProfiles)> {
        let (maximum, _) = self.maximum.as_ref().filter(|(found, _)| found.converged)?;
        Some((libm::exp(maximum.ln_tau), self.bands.as_ref()?))
    }

    /// As numbers, for those who keep it.
    pub(super) fn to_numbers(&self) -> [f64; Self::N_NUMBERS] {
        let mut numbers = [f64::NAN; Self::N_NUMBERS];
        let has_bands = u8::from(self.bands.is_some());
        numbers[0] = f64::from(u8::from(self.maximum.is_some()) + 2 * has_bands);
        if let Some((maximum, profile)) = &self.maximum {
            numbers[1..Self::PROFILE].copy_from_slice(&maximum.to_numbers());
            numbers[Self::PROFILE..Self::HALVES].copy_from_slice(&profile.to_numbers());
        }
        let [(one, one_error), (other, other_error)] = self.halves;
        numbers[Self::HALVES..Self::FIT].copy_from_slice(&[one, one_error, other, other_error]);
        numbers[Self::FIT] = self.ln_fit;
        if let Some(bands) = &self.bands {
            numbers[Self::BANDS..].copy_from_slice(bands.as_flattened());
        }
        numbers
    }

    /// What [`PositionLikelihood::to_numbers`] gave.
    pub(super) fn from_numbers(numbers: &[f64; Self::N_NUMBERS]) -> Option<Self> {
        let maximum = numbers[1..].first_chunk()?;
        let profile = numbers[Self::PROFILE..].first_chunk()?;
        let &[one, one_error, other, other_error] = numbers[Self::HALVES..].first_chunk()?;
        let what = numbers[0] as u8;
        let mut bands = [[f64::NAN; N_NODES]; MAX_BANDS];
        bands
            .as_flattened_mut()
            .copy_from_slice(&numbers[Self::BANDS..]);
        Some(Self {
            ln_fit: numbers[Self::FIT],
            bands: (what & 2 != 0).then_some(bands),
            maximum: (what & 1 != 0).then(|| {
                (
                    Maximum::from_numbers(maximum),
                    Profile::from_numbers(profile),
                )
            }),
            halves: [(one, one_error), (other, other_error)],
        })
    }
}

/// The likelihood with the modes of one ring.
#[derive(Debug)]
pub(super) struct LikelihoodTask<'a> {
    reduction: &'a Reduction,
    measured: &'a Measured,
    lags: Lags,
    tau_bounds_s: [f64; 2],
    cells: Vec<Cell>,
    modes: SpeckleModes,
    bands: Bands,
    /// What of its speckle each scan shares with others in spite of the drift, by class of modes.
    overlaps: Vec<Overlap>,
    /// Its mean over pairs of scans, `[lag]`.
    lag_overlap: Vec<f64>,
}

/// Positions of the region from which the modes are learned, spread evenly.
pub(super) fn sample(measured: &Measured) -> Vec<Position> {
    let masked = &measured.conditions.region.masked;
    let open: Vec<Position> = masked
        .indexed_iter()
        .filter(|(_, masked)| !**masked)
        .map(|((row, col), _)| Position { row, col })
        .collect();
    let n = open.len().min(MAX_SAMPLE);
    (0..n).map(|number| open[number * open.len() / n]).collect()
}

impl<'a> LikelihoodTask<'a> {
    /// Learns the modes of the ring from the counts of the sample, which `with_sample` shows: how bright positions are, how far a speckle
    /// reaches, and how much of it each mode holds. `None` where no speckle lasts from one scan to the next.
    pub(super) fn new(
        task: &PositionTask<'a>,
        reduction: &'a Reduction,
        geometries: &Geometries,
        flatten: &[f64],
        n_areas: f64,
        with_sample: &mut ShowSample<'_>,
    ) -> Result<Option<Self>> {
        let (recipe, measured) = (task.recipe, task.measured);
        let drift = measured.conditions.drift.as_ref();
        let left = drift.and_then(Drift::probes_left);
        let n_times = reduction.time.len();
        let (cells, cell_per_nm) = cells(reduction, recipe, &geometries.usual_ring(), flatten);
        let mut made = Self {
            reduction,
            measured,
            lags: task.lags.clone(),
            tau_bounds_s: task.tau_bounds_s,
            cells,
            modes: SpeckleModes::default(),
            bands: Bands::default(),
            overlaps: vec![Overlap::whole(n_times)],
            lag_overlap: lag_overlap(left.as_ref(), n_times, &task.lags),
        };
        let mut levels = Vec::new();
        let pairs = CoherencePairs::new(&made.cells);
        let mut sums = CoherenceSums::default();
        let level_and_products = |counts: &CellSeries| {
            let level = counts.level(&made.cells, |_| true);
            (level, pairs.of_position(&made.cells, counts))
        };
        made.learn(with_sample, &level_and_products, &mut |(
            level,
            products,
        )| {
            levels.push(level);
            sums.add(&products);
        })?;
        let n_sample = levels.len();
        levels.retain(|level| level.is_finite());
        let level = levels.iter().sum::<f64>() / levels.len() as f64;
        if level.is_nan() || level <= 0.0 {
            return Ok(None);
        }
        made.cells
            .iter_mut()
            .for_each(|cell| cell.expected *= level);
        let Some(mut coherence): Option<Coherence> = sums.coherence() else {
            return Ok(None);
        };
        if let Some(aperture) = Aperture::round(recipe) {
            coherence = coherence.seen_through(&aperture, cell_per_nm);
        }
        made.modes = SpeckleModes::new(&made.cells, &coherence);
        if let Some(left) = &left {
            made.overlaps = made.modes.overlaps(n_times, left.likeness());
        }
        made.bands = Bands::new(reduction, recipe, &made.cells, &coherence);
        made.bands.follow(n_times, left.as_ref());
        let mut sums = ClassSums::default();
        let mut of_bands = made.bands.no_sums();
        let classes_of = |counts: &CellSeries| {
            let of_ring = made.modes.sums(&made.cells, counts);
            (of_ring, made.bands.sums(counts))
        };
        made.learn(with_sample, &classes_of, &mut |(ring, bands)| {
            sums.add(&ring);
            for (sum, band) in of_bands.iter_mut().zip(&bands) {
                sum.add(band);
            }
        })?;
        let n_areas = n_areas.min(n_sample as f64);
        // Dark-corrected counts and units of charge are real numbers and have a shot noise of their own.
        let is_counted = reduction.sample_type.is_unsigned();
        made.modes.calibrate(&sums, n_areas, is_counted);
        made.bands.calibrate(&of_bands, n_areas, is_counted);
        Ok(Some(made))
    }

    /// What is made of the counts of each position of the sample, to a function that takes it in the order of the positions.
    fn learn<T: Send>(
        &self,
        with_sample: &mut ShowSample<'_>,
        make: &(dyn Fn(&CellSeries) -> T + Sync),
        take: &mut dyn FnMut(T),
    ) -> Result<()> {
        with_sample(&mut |rings, sample| {
            for chunk in sample.chunks(SAMPLE_AT_ONCE) {
                let made: Vec<Option<T>> = chunk
                    .par_iter()
                    .map(|&(at, geometry)| {
                        let (counts, _) = self.counts(rings, at, geometry)?;
                        Some(make(&counts))
                    })
                    .collect();
                made.into_iter().flatten().for_each(&mut *take);
            }
        })
    }

    /// Counts of a position in cells, and the scans that are used; `None` below three.
    fn counts(
        &self,
        rings: &RingSeries,
        at: Position,
        geometry: &Geometry,
    ) -> Option<(CellSeries, Vec<usize>)> {
        let valid = valid_times(rings, at, self.measured);
        let current = &self.measured.conditions.current.relative;
        let used: Vec<usize> = (0..valid.len())
            .filter(|&time| valid[time] && current[time] > 0.0)
            .collect();
        if used.len() < 3 {
            return None;
        }
        let mut there = vec![false; self.reduction.annulus.len()];
        geometry.ring.iter().for_each(|&pixel| there[pixel] = true);
        let pixels: Vec<usize> = self
            .cells
            .iter()
            .flat_map(|cell| cell.pixels.iter().copied())
            .collect();
        let series = PixelSeries::gather(rings, (at.row, at.col), &pixels, None);
        let array = series.array(0..series.n_pixels());
        let n_times = used.len();
        let mut counts = CellSeries {
            counts: vec![0.0; self.cells.len() * n_times],
            noise: Vec::with_capacity(self.cells.len()),
            missing: Vec::with_capacity(self.cells.len()),
            n_times,
        };
        let mut first = 0;
        let cells = self
            .cells
            .iter()
            .zip(counts.counts.chunks_exact_mut(n_times));
        for (cell, sums) in cells {
            let columns = first..first + cell.pixels.len();
            first = columns.end;
            let mut noise = 0.0;
            for (sum, &time) in sums.iter_mut().zip(&used) {
                let recorded: f64 = columns.clone().map(|pixel| array[[time, pixel]]).sum();
                *sum = recorded / current[time];
                if recorded.is_finite() {
                    noise += recorded / (current[time] * current[time]);
                }
            }
            counts.noise.push(noise / n_times as f64);
            counts
                .missing
                .push(!cell.pixels.iter().all(|&pixel| there[pixel]));
        }
        Some((counts, used))
    }

    /// How speckle decays over some scans.
    fn memory(&self, used: &[usize]) -> Memory {
        let times_s = self.reduction.time.times_s();
        let steps = used.windows(2);
        Memory {
            steps_s: steps
                .map(|pair| times_s[pair[1]] - times_s[pair[0]])
                .collect(),
            exponent_factor: SEARCHED.value(),
            overlaps: of_times(&self.overlaps, used),
        }
    }

    /// The likelihood of a position, and of each half of its directions.
    pub(super) fn fit(
        &self,
        rings: &RingSeries,
        at: Position,
        geometry: &Geometry,
        curves: &PositionCurves,
    ) -> Option<PositionLikelihood> {
        if curves.quality.has(Quality::MASKED) {
            return None;
        }
        let (counts, used) = self.counts(rings, at, geometry)?;
        let memory = self.memory(&used);
        let classes = self.modes.classes(&self.cells, &counts);
        let sets: [&[_]; N_SETS] = classes.each_ref().map(Vec::as_slice);
        let [low, high] = self.tau_bounds_s;
        let likelihood = |sets| Likelihood {
            sets,
            memory: &memory,
            // The bounds of either convention: tau of the intensity is half of that of the field.
            bounds: [libm::log(low), libm::log(2.0 * high)],
        };
        let time = &self.reduction.time;
        let (step_s, record_s) = (time.step_s(), time.record_s());
        let start = self.start(curves);
        let start_s = if start.tau_s.is_finite() {
            start
                .tau_s
                .clamp(2.0 * step_s, (2.0 * record_s).max(2.0 * step_s))
        } else {
            0.3 * record_s
        };
        let contrast = if start.contrast > 0.0 {
            start.contrast
        } else {
            0.1
        };
        let whole = likelihood(&sets);
        let maximum = whole
            .maximum(libm::log(start_s), libm::log(contrast))
            .filter(|maximum| whole.has_speckle(maximum));
        let halves = [0, 1].map(|half| {
            let sets = &sets[half..=half];
            let start = maximum.filter(|_| !sets[0].is_empty());
            let own =
                start.and_then(|start| likelihood(sets).maximum(start.ln_tau, start.ln_variance));
            own.filter(|own| own.converged)
                .map_or((f64::NAN, f64::NAN), |own| (own.ln_tau, own.ln_tau_sd))
        });
        let place = Position {
            row: rings.first_row + at.row,
            col: rings.first_col + at.col,
        };
        let bands = maximum.and_then(|maximum| {
            self.bands
                .profiles(&place, (&counts, &used), &maximum, &memory)
        });
        let maximum = maximum.map(|maximum| (maximum, whole.profile(&maximum)));
        Some(PositionLikelihood {
            maximum,
            halves,
            ln_fit: libm::log(start.tau_s),
            bands,
        })
    }

    /// Where the search begins, and what it is compared with: least squares on g, over what drift leaves of it. Its own settings, so that no choice of
    /// the recipe's fit changes a digit of what is found.
    fn start(&self, curves: &PositionCurves) -> KwwFit {
        let time = &self.reduction.time;
        let lag_s = self.lags.times_s(time);
        let n_pairs = self.lags.n_pairs(&curves.valid);
        let mut weights = self.lags.weights(&n_pairs, Weights::LagCount);
        let n_lags = n_lags_within(&lag_s, time.record_s(), START_LAG_FRACTION);
        // What is divided by little is noise.
        let mut g = curves.g.clone();
        for ((g, weight), left) in g.iter_mut().zip(&mut weights).zip(&self.lag_overlap) {
            *g = 1.0 + (*g - 1.0) / left.max(LEAST_OVERLAP);
            *weight *= left * left;
        }
        weights
            .iter_mut()
            .skip(n_lags)
            .for_each(|weight| *weight = 0.0);
        fit(&KwwProblem {
            lag_s: &lag_s,
            g: &g,
            weights: &weights,
            exponent_factor: SEARCHED,
            stretch: Stretch::Fixed(1.0),
            baseline: BaselineMode::Given(1.0),
            tau_bounds_s: self.tau_bounds_s,
            finite_window: None,
        })
    }
}

/// Likelihood and fit of g are compared where tau is at least this many scans: both are unbiased there, however long it is.
const SHORTEST_COMPARED: f64 = 4.0;

/// Positions that are needed to compare them.
const MIN_COMPARED: usize = 12;

/// The share of all that must lie there: a few that do may do so by chance.
const MIN_COMPARED_SHARE: f64 = 0.2;

/// A median of ln tau that differs by this is another tau.
const MAX_CONTRADICTION: f64 = 0.12;

/// A median that differs by this many of its errors is no chance.
const MIN_CONTRADICTION_ERRORS: f64 = 4.0;

/// What is made of the likelihoods of all positions.
#[derive(Debug)]
pub(super) struct Conclusion<'a> {
    reduction: &'a Reduction,
    recipe: &'a Recipe,
    /// Above half of this drift takes more of the decay than the glass; none where it is not known, or the likelihood knows the drift.
    drift_limit_s: Option<f64>,
    tau_bounds_s: [f64; 2],
}

impl<'a> Conclusion<'a> {
    pub(super) fn new(task: &PositionTask<'a>, reduction: &'a Reduction) -> Self {
        let conditions = &task.measured.conditions;
        let is_known = conditions.drift.as_ref().is_some_and(Drift::is_known);
        Self {
            reduction,
            recipe: task.recipe,
            drift_limit_s: conditions.drift_limit.after_s.filter(|_| !is_known),
            tau_bounds_s: task.tau_bounds_s,
        }
    }

    /// tau in the recipe's convention over tau of the field; a power of two, so that nothing is rounded.
    fn scale(&self) -> f64 {
        self.recipe.relaxation.exponent_factor.value() / SEARCHED.value()
    }

    /// Median of ln(tau of the likelihood / tau of the fit of g), where the two differ beyond chance. None where they agree, or where
    /// tau of too few positions is longer than some scans.
    ///
    /// Both take the speckle for one exponential decay. The likelihood knows the shot noise as well, so that whatever else a scan forgets of the scan before, such as
    /// what positions that jitter do not share, shortens its tau; in g it lowers the contrast alone.
    pub(super) fn contradiction(&self, results: &[PositionResult], n_areas: f64) -> Option<f64> {
        let shortest_s = SHORTEST_COMPARED * self.reduction.time.step_s();
        let n_found = results.iter().filter(|result| result.has_tau()).count() as f64;
        let ratios: Vec<f64> = results
            .iter()
            .filter(|result| result.has_tau())
            .filter_map(|result| {
                let found = result.likelihood.as_ref()?;
                let (maximum, _) = found.maximum.as_ref()?;
                // By both: a choice by one of them would prefer its errors.
                let middle_s = libm::exp(0.5 * (maximum.ln_tau + found.ln_fit));
                (maximum.converged && middle_s >= shortest_s)
                    .then_some(maximum.ln_tau - found.ln_fit)
            })
            .collect();
        let n = ratios.len() as f64;
        if ratios.len() < MIN_COMPARED || n < MIN_COMPARED_SHARE * n_found {
            return None;
        }
        let median = rank::median(&ratios);
        let away: Vec<f64> = ratios.iter().map(|ratio| (ratio - median).abs()).collect();
        // Of a normal distribution: 1.48 medians to a standard deviation, 1.25 of its errors to that of a median.
        let error = 1.25 * 1.48 * rank::median(&away) / n.min(n_areas).sqrt();
        (median.abs() > MAX_CONTRADICTION.max(MIN_CONTRADICTION_ERRORS * error)).then_some(median)
    }

    /// Puts what the likelihood found in the place of the fits of g. Returns how many times wider than curvature intervals are.
    pub(super) fn finish(&self, results: &mut [PositionResult], n_areas: f64) -> f64 {
        let record_s = self.reduction.time.record_s();
        let shortest_s = 2.0 * self.reduction.time.step_s();
        let halves: Vec<[(f64, f64); 2]> = results
            .iter()
            .filter_map(|result| result.likelihood.as_ref())
            .filter(|found| {
                // Chosen by the whole: a choice by the halves would leave out the large differences.
                found.maximum.as_ref().is_some_and(|(maximum, _)| {
                    (shortest_s..MAX_RECORDS * record_s).contains(&libm::exp(maximum.ln_tau))
                })
            })
            .map(|found| found.halves)
            .collect();
        let factor = interval_factor(&halves, n_areas);
        for result in results {
            let Some(found) = result.likelihood.take() else {
                continue;
            };
            self.finish_position(result, &found, factor);
        }
        factor
    }

    fn finish_position(
        &self,
        result: &mut PositionResult,
        found: &PositionLikelihood,
        factor: f64,
    ) {
        let replaced = Quality::FIT_NO_CONVERGE.0
            | Quality::FIT_AT_BOUND.0
            | Quality::TAU_LT_STEP.0
            | Quality::TAU_GT_WINDOW.0
            | Quality::ILL_CONDITIONED.0
            | Quality::DRIFT_LIMITED.0;
        result.quality.0 &= !replaced;
        result.fits_without.clear();
        result.stretch_error = 0.0;
        let Some((maximum, profile)) = &found.maximum else {
            result
                .quality
                .set(Quality(Quality::FIT_NO_CONVERGE.0 | Quality::NO_DECAY.0));
            result.fit = KwwFit {
                tau_s: f64::NAN,
                outcome: FitOutcome::NoContrast,
                ..result.fit
            };
            (result.ln_tau_error, result.tau_interval_s) = (f64::NAN, [f64::NAN; 2]);
            for half in &mut result.halves {
                half.tau_s = f64::NAN;
            }
            return;
        };
        let quantile = normal_quantile(0.5 + self.recipe.interval.level / 2.0);
        let height = (quantile * factor) * (quantile * factor);
        let [low, high] = self.tau_bounds_s;
        let scale = self.scale();
        let tau_s = (scale * libm::exp(maximum.ln_tau)).clamp(low, high);
        let [lower_s, upper_s] = profile
            .interval(height)
            .map(|ln_tau| scale * libm::exp(ln_tau));
        // Nothing is looked for beyond the bounds: there the interval is open.
        let upper_s = if upper_s > high {
            f64::INFINITY
        } else {
            upper_s
        };
        result.tau_interval_s = [lower_s.min(high), upper_s];
        result.ln_tau_error = factor * maximum.ln_tau_sd;
        let contrast = libm::exp(maximum.ln_variance);
        result.contrast_error = factor * maximum.ln_variance_sd * contrast;
        let outcome = if !maximum.converged {
            FitOutcome::NotConverged
        } else if tau_s >= high * (1.0 - 1e-9) {
            FitOutcome::TauAtUpperBound
        } else if tau_s <= low * (1.0 + 1e-9) {
            FitOutcome::TauAtLowerBound
        } else {
            FitOutcome::Converged
        };
        result.fit = KwwFit {
            tau_s,
            contrast,
            stretch: 1.0,
            baseline: 1.0,
            outcome,
            iterations: maximum.n_steps,
            ..result.fit
        };
        let time = &self.reduction.time;
        let quality = &mut result.quality;
        quality.set_if(!maximum.converged, Quality::FIT_NO_CONVERGE);
        quality.set_if(
            matches!(
                outcome,
                FitOutcome::TauAtUpperBound | FitOutcome::TauAtLowerBound
            ),
            Quality::FIT_AT_BOUND,
        );
        quality.set_if(tau_s < 2.0 * time.step_s(), Quality::TAU_LT_STEP);
        quality.set_if(
            result.tau_interval_s[1].is_infinite() || tau_s > time.record_s(),
            Quality::TAU_GT_WINDOW,
        );
        // Rates add.
        quality.set_if(
            self.drift_limit_s
                .is_some_and(|limit_s| tau_s > limit_s / 2.0),
            Quality::DRIFT_LIMITED,
        );
        for (half, &(ln_tau, _)) in result.halves.iter_mut().zip(&found.halves) {
            half.tau_s = scale * libm::exp(ln_tau);
        }
    }
}

/// The part of some overlaps that belongs to the scans that are used.
pub(super) fn of_times(overlaps: &[Overlap], used: &[usize]) -> Vec<Overlap> {
    overlaps
        .iter()
        .map(|overlap| overlap.of_times(used))
        .collect()
}

/// What drift leaves of g at each lag: its mean over pairs of scans.
fn lag_overlap(left: Option<&ProbesLeft>, n_times: usize, lags: &Lags) -> Vec<f64> {
    let mean = |lag: usize, left: &ProbesLeft| {
        let pairs = 0..n_times - lag;
        let n = pairs.len() as f64;
        let sum: f64 = pairs
            .map(|first| left.overlap(first, first + lag, 1.0))
            .sum();
        sum / n
    };
    let of_lag = |lag| left.map_or(1.0, |left| mean(lag, left));
    lags.steps().into_iter().map(of_lag).collect()
}
