//! All results of one position.

use std::sync::Arc;

use ndarray::{Array2, s};

use super::curves::{PartCurves, PositionCurves};
use super::geometry::{self, Geometry};
use super::halves::HalfValues;
use super::likelihood::PositionLikelihood;
use crate::conditions::Measured;
use crate::correlate::{
    FourierSums, LagSums, Lags, MultiTau, Normalization, SectorCurves, TwoTimeKept, pair_matrix,
};
use crate::dynamics::{HalfRecord, LagClasses};
use crate::fluctuate::{Fluctuation, Grouping};
use crate::quality::Quality;
use crate::recipe::Recipe;
use crate::reduce::Reduction;
use crate::relax::{
    Baseline, BaselineMode, FiniteWindow, FitOutcome, KwwFit, KwwFitter, KwwProblem, fit, fit_from,
    fitted_curve, n_lags_within, persistence,
};
use crate::ring::{MIN_RING_PIXELS, PixelSeries, RingCounts, RingSeries};
use crate::series::Position;
use crate::statistics::{jackknife_error, student_quantile};
use crate::with_counts;

/// Share of saturated samples above which a position is flagged.
const MAX_SATURATED: f64 = 1e-3;

/// Relative change of a position's total counts over the record above which it is flagged: thickness, contamination
/// or beam, but not speckle, whose share of the total is far smaller.
const MAX_DRIFT: f64 = 0.2;

/// Probability that a good fit is called poor, over the three windows of lags that are looked at.
const POOR_FIT_RISK: f64 = 1e-3;

/// Probability that a flat curve is called a decay.
const NO_DECAY_RISK: f64 = 0.05;

/// What all positions share.
#[derive(Debug)]
pub(super) struct PositionTask<'a> {
    pub(super) reduction: &'a Reduction,
    pub(super) recipe: &'a Recipe,
    pub(super) measured: &'a Measured,
    pub(super) flatten: Option<&'a [f64]>,
    baseline: BaselineMode,
    pub(super) lags: Lags,
    /// Each lag in scans.
    pub(super) steps: Vec<usize>,
    pub(super) lag_s: Vec<f64>,
    n_fit_lags: usize,
    pub(super) tau_bounds_s: [f64; 2],
    /// By degrees of freedom: one less than the sectors.
    pub(super) quantiles: Vec<Quantiles>,
    /// For positions that lack no scan but those that all lack.
    fitter: Option<KwwFitter>,
    /// Classes of lag and age, and the baseline, for the tests of the dynamics; `None` where they are not asked for.
    pub(super) classes: Option<(LagClasses, f64)>,
    /// How g is computed.
    pub(super) sums: Sums,
    /// Whether the means of the ring's pixels are taken, for the baseline of distant positions.
    pub(super) wants_means: bool,
}

/// How g of a position is computed, prepared for all of them.
#[derive(Debug)]
pub(super) enum Sums {
    Pairs,
    Fourier(FourierSums),
    MultiTau(MultiTau),
}

/// What is taken from the counts of one position.
pub(super) struct FromCounts {
    pub(super) curves: PositionCurves,
    /// G, where g is computed from it.
    pub(super) two_time: Option<Array2<f64>>,
    /// What the tests of the dynamics keep of each half.
    pub(super) records: Option<[HalfRecord; 2]>,
    /// Mean over scans of each pixel over its ring's mean.
    pub(super) ring_means: Option<Vec<f64>>,
}

/// Student's quantiles that the intervals and flags of a position need.
#[derive(Debug)]
pub(super) struct Quantiles {
    interval: f64,
    pub(super) no_decay: f64,
    pub(super) poor_fit: f64,
}

impl Quantiles {
    fn new(level: f64, degrees: usize) -> Self {
        Self {
            interval: student_quantile(0.5 + level / 2.0, degrees),
            no_decay: student_quantile(1.0 - NO_DECAY_RISK, degrees),
            poor_fit: student_quantile(1.0 - POOR_FIT_RISK / 6.0, degrees),
        }
    }
}

/// All results of one position.
#[derive(Debug, Clone)]
pub(super) struct PositionResult {
    /// What was taken from its counts.
    pub(super) curves: Arc<PositionCurves>,
    pub(super) g_error: Vec<f64>,
    pub(super) n_pairs: Vec<usize>,
    pub(super) fit: KwwFit,
    pub(super) fits_without: Vec<KwwFit>,
    pub(super) tau_interval_s: [f64; 2],
    pub(super) ln_tau_error: f64,
    pub(super) contrast_error: f64,
    pub(super) stretch_error: f64,
    pub(super) persistence: f64,
    pub(super) residual: f64,
    pub(super) fluctuation_error: f64,
    pub(super) quality: Quality,
    /// From each half of the directions; NaN where the position is BAD.
    pub(super) halves: [HalfValues; 2],
    /// From spatial frequencies apart.
    pub(super) apart: HalfValues,
    /// What the tests of the dynamics keep of each half.
    pub(super) records: Option<[HalfRecord; 2]>,
    /// What the likelihood found, until it takes the place of the fit.
    pub(super) likelihood: Option<PositionLikelihood>,
}

impl PositionResult {
    /// Whether the position's curve enters the mean over the region.
    pub(super) fn enters_ensemble(&self) -> bool {
        !self
            .quality
            .has(Quality(Quality::MASKED.0 | Quality::FEW_FRAMES.0))
    }

    /// Whether tau enters statistics.
    pub(super) fn has_tau(&self) -> bool {
        !self.quality.is_bad() && self.fit.tau_s.is_finite()
    }
}

/// Scans that hold data at a position and are not left out; none where the position is not looked at.
pub(super) fn valid_times(rings: &RingSeries, at: Position, measured: &Measured) -> Vec<bool> {
    let n_times = rings.dim().2;
    let place = [rings.first_row + at.row, rings.first_col + at.col];
    let masked = measured.conditions.region.masked[place];
    (0..n_times)
        .map(|time| {
            !masked
                && rings.frame_valid[[at.row, at.col, time]]
                && !measured.excluded.contains(&time)
        })
        .collect()
}

impl<'a> PositionTask<'a> {
    pub(super) fn new(
        reduction: &'a Reduction,
        recipe: &'a Recipe,
        measured: &'a Measured,
        flatten: Option<&'a [f64]>,
        distant_baseline: Option<f64>,
    ) -> Self {
        let relaxation = &recipe.relaxation;
        let lags = recipe.dynamics.lags(reduction.time.len());
        let lag_s = lags.times_s(&reduction.time);
        let (step_s, record_s) = (reduction.time.step_s(), reduction.time.record_s());
        let mut task = Self {
            reduction,
            recipe,
            measured,
            flatten,
            baseline: match relaxation.baseline {
                Baseline::One => BaselineMode::Given(1.0),
                Baseline::Free => BaselineMode::Free,
                Baseline::DistantPairs => BaselineMode::Given(distant_baseline.unwrap_or(1.0)),
            },
            n_fit_lags: n_lags_within(&lag_s, record_s, relaxation.lag_fraction),
            tau_bounds_s: relaxation.tau_bounds_s(step_s, record_s),
            lag_s,
            steps: lags.steps(),
            lags,
            quantiles: (0..recipe.interval.sectors.max(1))
                .map(|degrees| Quantiles::new(recipe.interval.level, degrees))
                .collect(),
            fitter: None,
            classes: None,
            sums: Sums::Pairs,
            wants_means: false,
        };
        if !task.lags.is_all() {
            task.sums = Sums::MultiTau(MultiTau::new(task.lags.clone()));
        } else if task.prefers_fourier() {
            task.sums = Sums::Fourier(FourierSums::new(reduction.time.len()));
        }
        let is_used = |time| !measured.excluded.contains(&time);
        let used: Vec<bool> = (0..reduction.time.len()).map(is_used).collect();
        let weights = task.weights(&task.lags.n_pairs(&used));
        task.fitter = Some(KwwFitter::new(&task.problem(&[], &weights)));
        task
    }

    /// Whether g is had without G: never where G of every position is kept.
    fn prefers_fourier(&self) -> bool {
        let dynamics = &self.recipe.dynamics;
        let ring = self.reduction.annulus.ring(dynamics.q_range_per_nm);
        let n_pixels = ring.map_or(0, |ring| ring.pixels.len());
        let n_sectors = self.recipe.interval.sectors.max(1);
        dynamics.two_time != TwoTimeKept::All
            && LagSums::cheaper(self.reduction.time.len(), n_pixels, n_sectors) == LagSums::Fourier
    }

    /// How the mean over pairs of scans is computed.
    pub(super) fn lag_sums(&self) -> LagSums {
        match self.sums {
            Sums::Pairs => LagSums::Pairs,
            Sums::Fourier(_) => LagSums::Fourier,
            Sums::MultiTau(_) => LagSums::MultiTau,
        }
    }

    /// The prepared fit, where it has these weights.
    fn fitter(&self, weights: &[f64]) -> Option<&KwwFitter> {
        self.fitter
            .as_ref()
            .filter(|fitter| fitter.weights() == weights)
    }

    fn fit(&self, g: &[f64], weights: &[f64]) -> KwwFit {
        match self.fitter(weights) {
            Some(fitter) => fitter.fit(g),
            None => fit(&self.problem(g, weights)),
        }
    }

    pub(super) fn fit_from(&self, g: &[f64], weights: &[f64], start: &KwwFit) -> KwwFit {
        match self.fitter(weights) {
            Some(fitter) => fitter.fit_from(g, start),
            None => fit_from(&self.problem(g, weights), start),
        }
    }

    /// G of one position, `[time_1, time_2]`.
    pub(super) fn two_time(
        &self,
        rings: &RingSeries,
        at: Position,
        geometry: &Geometry,
    ) -> Array2<f64> {
        pair_matrix(&self.series(rings, at, &geometry.ring))
    }

    /// G of one position as it enters the mean over the region: summed sector by sector, where g is computed from it.
    pub(super) fn whole_two_time(
        &self,
        rings: &RingSeries,
        at: Position,
        geometry: &Geometry,
    ) -> Array2<f64> {
        match self.lag_sums() {
            LagSums::Pairs => {
                let place = (at.row, at.col);
                let counts = PixelSeries::gather(rings, place, &geometry.pixels, None);
                let valid = valid_times(rings, at, self.measured);
                self.curves(&counts, &valid, geometry).0.two_time
            }
            LagSums::Fourier | LagSums::MultiTau => None,
        }
        .unwrap_or_else(|| self.two_time(rings, at, geometry))
    }

    /// What is taken from the counts of one position; `memory` is what they are gathered in.
    pub(super) fn take(
        &self,
        rings: &RingSeries,
        at: Position,
        geometry: &Geometry,
        memory: &mut PixelSeries,
    ) -> FromCounts {
        let valid = valid_times(rings, at, self.measured);
        let place = (at.row, at.col);
        let counts = std::mem::take(memory).gathered_again(rings, place, &geometry.pixels, None);
        let (curves, part_curves, ring_means) = self.curves(&counts, &valid, geometry);
        let (fluctuation, of_parts) =
            self.fluctuation(&counts, &valid, geometry, rings.is_integer());
        let quality = self.data_quality(rings, at, geometry, &counts, &curves, &fluctuation);
        let (parts, records) = if quality.is_bad() {
            Default::default()
        } else {
            self.parts(part_curves, &of_parts)
        };
        *memory = counts;
        FromCounts {
            curves: PositionCurves {
                g: curves.g,
                without: curves.without,
                valid: curves.valid,
                fluctuation,
                quality,
                parts,
            },
            two_time: curves.two_time,
            records,
            ring_means,
        }
    }

    /// All results of one position, `place` in the region.
    pub(super) fn conclude(
        &self,
        place: Position,
        curves: &Arc<PositionCurves>,
        records: Option<[HalfRecord; 2]>,
    ) -> PositionResult {
        let mut quality = curves.quality;
        if !self.measured.conditions.region.masked[[place.row, place.col]] {
            let n_valid = curves.valid.iter().filter(|&&valid| valid).count();
            let needed = self.recipe.relaxation.min_times.max(2);
            quality.set_if(n_valid < needed, Quality::FEW_FRAMES);
        }
        let n_pairs = self.lags.n_pairs(&curves.valid);
        let weights = self.weights(&n_pairs);
        let enough = !quality.has(Quality(Quality::FEW_FRAMES.0 | Quality::MASKED.0));
        let whole = if enough {
            self.fit(&curves.g, &weights)
        } else {
            not_tried()
        };
        let fits_without: Vec<KwwFit> = if enough {
            curves
                .without
                .iter()
                .map(|g| self.fit_from(g, &weights, &whole))
                .collect()
        } else {
            Vec::new()
        };
        let open_above = whole.outcome == FitOutcome::TauAtUpperBound
            || fits_without
                .iter()
                .any(|fit| fit.outcome == FitOutcome::TauAtUpperBound || !fit.tau_s.is_finite());
        let (ln_tau_error, tau_interval_s) = self.tau_interval(&whole, &fits_without, open_above);
        let error_of = |value: fn(&KwwFit) -> f64| {
            let replicates: Vec<f64> = fits_without.iter().map(value).collect();
            jackknife_error(&replicates)
        };
        let fitted = fitted_curve(&self.problem(&curves.g, &weights), &whole);
        quality.0 |= self
            .fit_quality(&whole, open_above, curves, &fits_without, &fitted, &weights)
            .0;
        let n_lags = curves.g.len();
        let g_error = (0..n_lags)
            .map(|lag| {
                let replicates: Vec<f64> = curves.without.iter().map(|g| g[lag]).collect();
                jackknife_error(&replicates)
            })
            .collect();
        let is_read = !quality.is_bad() && whole.tau_s.is_finite();
        let [first, second, apart] = curves.parts.each_ref().map(|part| {
            let part = part.as_ref().filter(|_| is_read);
            part.map_or_else(HalfValues::default, |part| self.half(part, &whole))
        });
        let records = records
            .filter(|_| is_read)
            .map(|[one, other]| [one.with_tau(first.tau_s), other.with_tau(second.tau_s)]);
        PositionResult {
            halves: [first, second],
            apart,
            records,
            likelihood: None,
            g_error,
            persistence: if enough {
                persistence(&self.steps, self.lags.n_times(), &curves.g, whole.baseline)
            } else {
                f64::NAN
            },
            residual: root_mean_square(&curves.g, &fitted, &weights),
            ln_tau_error,
            tau_interval_s,
            contrast_error: error_of(|fit| fit.contrast),
            stretch_error: error_of(|fit| fit.stretch),
            fluctuation_error: jackknife_error(&curves.fluctuation.without),
            n_pairs,
            fit: whole,
            fits_without,
            quality,
            curves: Arc::clone(curves),
        }
    }

    /// The fit of a curve with the settings of the recipe.
    pub(super) fn problem<'b>(&'b self, g: &'b [f64], weights: &'b [f64]) -> KwwProblem<'b> {
        let recipe = self.recipe;
        let time = &self.reduction.time;
        let finite_window =
            (recipe.dynamics.normalization == Normalization::PerPixel).then(|| FiniteWindow {
                n_times: time.len(),
                step_s: time.step_s(),
            });
        KwwProblem {
            lag_s: &self.lag_s,
            g,
            weights,
            exponent_factor: recipe.relaxation.exponent_factor,
            stretch: recipe.relaxation.stretch,
            baseline: self.baseline,
            tau_bounds_s: self.tau_bounds_s,
            finite_window,
        }
    }

    /// Weights of the lags that are fitted; 0 for the others.
    pub(super) fn weights(&self, n_pairs: &[usize]) -> Vec<f64> {
        let mut weights = self.lags.weights(n_pairs, self.recipe.relaxation.weights);
        weights
            .iter_mut()
            .skip(self.n_fit_lags)
            .for_each(|weight| *weight = 0.0);
        weights
    }

    /// tau and V of some of the pixels alone.
    fn half(&self, part: &PartCurves, start: &KwwFit) -> HalfValues {
        let weights = self.weights(&self.lags.n_pairs(&part.valid));
        let fit = self.fit_from(&part.g, &weights, start);
        let has_contrast = fit.outcome != FitOutcome::NoContrast;
        HalfValues {
            tau_s: if has_contrast { fit.tau_s } else { f64::NAN },
            fluctuation: part.fluctuation,
        }
    }

    /// The baseline of the fits.
    pub(super) fn baseline(&self) -> BaselineMode {
        self.baseline
    }

    /// The counts that are correlated.
    fn series(&self, rings: &RingSeries, at: Position, pixels: &[usize]) -> PixelSeries {
        let factors = geometry::factors(pixels, &self.reduction.annulus, self.flatten);
        PixelSeries::gather(rings, (at.row, at.col), pixels, factors.as_deref())
    }

    fn tau_interval(
        &self,
        whole: &KwwFit,
        without: &[KwwFit],
        open_above: bool,
    ) -> (f64, [f64; 2]) {
        if !whole.tau_s.is_finite() || without.len() < 2 {
            return (f64::NAN, [f64::NAN; 2]);
        }
        let quantile = self.quantiles[without.len() - 1].interval;
        let logs: Vec<f64> = without.iter().map(|fit| libm::log(fit.tau_s)).collect();
        let error = jackknife_error(&logs);
        if !open_above {
            let half = quantile * error;
            let ln_tau = libm::log(whole.tau_s);
            return (error, [libm::exp(ln_tau - half), libm::exp(ln_tau + half)]);
        }
        // Times beyond the bound have no spread, their rates do: the rate has an upper limit, tau a lower one.
        let rates: Vec<f64> = without
            .iter()
            .map(|fit| {
                if fit.tau_s.is_finite() {
                    1.0 / fit.tau_s
                } else {
                    0.0
                }
            })
            .collect();
        let rate = 1.0 / whole.tau_s + quantile * jackknife_error(&rates);
        (error, [1.0 / rate, f64::INFINITY])
    }

    fn data_quality(
        &self,
        rings: &RingSeries,
        at: Position,
        geometry: &Geometry,
        counts: &PixelSeries,
        curves: &SectorCurves,
        fluctuation: &Fluctuation,
    ) -> Quality {
        let mut quality = Quality::default();
        let valid = valid_times(rings, at, self.measured);
        let place = [rings.first_row + at.row, rings.first_col + at.col];
        if self.measured.conditions.region.masked[place] {
            return Quality::MASKED;
        }
        quality.set_if(geometry.ring.len() < MIN_RING_PIXELS, Quality::MASKED);
        quality.set_if(
            valid
                .iter()
                .zip(&curves.valid)
                .any(|(valid, counted)| valid != counted),
            Quality::ZERO_INTENSITY,
        );
        let lost = (0..valid.len()).any(|time| !rings.frame_valid[[at.row, at.col, time]]);
        quality.set_if(lost, Quality::PARTIAL_DATA);
        let (broken, saturated) = self.broken_and_saturated(rings, at, geometry, counts);
        quality.set_if(broken > 0.0, Quality::NONFINITE_INPUT);
        quality.set_if(saturated > MAX_SATURATED, Quality::SATURATED);
        let raw = match self.recipe.structure.grouping {
            Grouping::PerRing => fluctuation.raw_ring,
            Grouping::Band => fluctuation.raw_band,
        };
        quality.set_if(fluctuation.counting < 0.5 * raw, Quality::LOW_COUNTS);
        quality.set_if(self.drifts(rings, at, &valid), Quality::DRIFT);
        quality
    }

    /// Shares of the ring's samples that are NaN, and that are at the highest value of an unbinned integer type.
    fn broken_and_saturated(
        &self,
        rings: &RingSeries,
        at: Position,
        geometry: &Geometry,
        gathered: &PixelSeries,
    ) -> (f64, f64) {
        let unbinned = self.reduction.annulus.bin == 1;
        let highest = match rings.counts {
            RingCounts::U8(_) if unbinned => f64::from(u8::MAX),
            RingCounts::U16(_) if unbinned => f64::from(u16::MAX),
            RingCounts::F32(_) => f64::NAN,
            _ => return (0.0, 0.0),
        };
        if gathered.largest().is_some_and(|largest| largest < highest) {
            return (0.0, 0.0);
        }
        // Few positions hold any such sample; looking at all of their counts in order is faster than picking the ring out.
        let any = with_counts!(&rings.counts, counts => {
            let counts = counts.slice(s![at.row, at.col, .., ..]);
            counts.iter().fold(false, |any, &count| {
                let count = f64::from(count);
                any | (count >= highest) | count.is_nan()
            })
        });
        if !any {
            return (0.0, 0.0);
        }
        let counts = rings.position(at.row, at.col, &geometry.ring);
        let share = |hit: &dyn Fn(f64) -> bool| {
            counts.iter().filter(|&&count| hit(count)).count() as f64 / counts.len().max(1) as f64
        };
        (
            share(&|count| count.is_nan()),
            share(&|count| count >= highest),
        )
    }

    /// Whether the counts of the position, at equal current, change between the first and the last quarter of the record.
    fn drifts(&self, rings: &RingSeries, at: Position, valid: &[bool]) -> bool {
        let (row, col) = (rings.first_row + at.row, rings.first_col + at.col);
        let n = valid.len();
        let mean = |times: std::ops::Range<usize>| {
            let totals = times
                .filter(|&time| valid[time])
                .map(|time| self.measured.level_counts[[time, row, col]]);
            let (sum, n) = totals
                .filter(|total| total.is_finite())
                .fold((0.0, 0.0), |(sum, n), total| (sum + total, n + 1.0));
            sum / n
        };
        let quarter = n.div_ceil(4);
        let (early, late) = (mean(0..quarter), mean(n - quarter..n));
        2.0 * (late - early).abs() > MAX_DRIFT * (late + early)
    }
}

/// What a position without enough data has instead of a fit.
fn not_tried() -> KwwFit {
    KwwFit {
        tau_s: f64::NAN,
        contrast: f64::NAN,
        stretch: f64::NAN,
        baseline: f64::NAN,
        outcome: FitOutcome::NotTried,
        cost: f64::NAN,
        condition: f64::INFINITY,
        iterations: 0,
    }
}

fn root_mean_square(g: &[f64], fitted: &[f64], weights: &[f64]) -> f64 {
    let (mut sum, mut n) = (0.0, 0.0);
    for ((g, fitted), &weight) in g.iter().zip(fitted).zip(weights) {
        if weight > 0.0 {
            sum += (g - fitted) * (g - fitted);
            n += 1.0;
        }
    }
    (sum / n).sqrt()
}
