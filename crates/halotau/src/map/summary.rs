//! A map in a few numbers, and all positions as maps.
//!
//! Statistics use positions that are not BAD. Times up to [`CENSORED_AT_RECORDS`] records are told apart in simulations, beyond they are
//! not: a longer one is known to be longer and no more. It is censored there, and no average takes it for a number: means and
//! spread are those of the log-normal distribution under which times within are as likely as they are, and as many lie beyond; the
//! median does not depend on where they are put (it is that of Kaplan and Meier), as long as they are fewer than half.
//!
//! Errors of averages are the larger of two: the sector jackknife of the average (speckle noise, which positions
//! under one probe share), and the spread over the square root of the number of independent probe areas.

use ndarray::{Array2, Array3};

use super::geometry;
use super::position::{PositionResult, PositionTask};
use crate::analysis::{Analysis, Estimate, MapSummary};
use crate::censored::{self, LogNormal};
use crate::correlate::CorrelationCurves;
use crate::fluctuate::{Fluctuation, FluctuationMap};
use crate::heterogeneity::{Heterogeneity, HeterogeneityInput, heterogeneity};
use crate::quality::Quality;
use crate::rank;
use crate::recipe::Recipe;
use crate::reduce::Reduction;
use crate::relate::{
    self, ChecksInput, Covariate, HalfMaps, RelationChecks, StructureDynamics, decoupled, relate,
};
use crate::relax::{KwwFit, RelaxationMap, fit, mean_relaxation_time_s};
use crate::series::{Position, Warning};
use crate::speckle::Aperture;
use crate::statistics::{jackknife_error, student_quantile};

/// Relaxation times beyond this many records are not told apart: they are censored.
pub(super) const CENSORED_AT_RECORDS: f64 = 3.0;

/// Puts the results of all positions, row by row, together.
pub(super) fn assemble(
    reduction: &Reduction,
    task: &PositionTask<'_>,
    results: Vec<PositionResult>,
    mut warnings: Vec<Warning>,
) -> Analysis {
    let recipe = task.recipe;
    let shape = (reduction.n_rows(), reduction.n_cols());
    let map = |value: &dyn Fn(&PositionResult) -> f64| {
        Array2::from_shape_fn(shape, |(row, col)| value(&results[row * shape.1 + col]))
    };
    let factor = recipe.relaxation.exponent_factor;
    let relaxation = RelaxationMap {
        tau_s: map(&|result| result.fit.tau_s),
        tau_lower_s: map(&|result| result.tau_interval_s[0]),
        tau_upper_s: map(&|result| result.tau_interval_s[1]),
        ln_tau_error: map(&|result| result.ln_tau_error),
        contrast: map(&|result| result.fit.contrast),
        contrast_error: map(&|result| result.contrast_error),
        stretch: map(&|result| result.fit.stretch),
        stretch_error: map(&|result| result.stretch_error),
        baseline: map(&|result| result.fit.baseline),
        mean_relaxation_time_s: map(&|result| {
            mean_relaxation_time_s(result.fit.tau_s, result.fit.stretch, factor)
        }),
        persistence: map(&|result| result.persistence),
        residual: map(&|result| result.residual),
        outcome: Array2::from_shape_fn(shape, |(row, col)| {
            results[row * shape.1 + col].fit.outcome
        }),
    };
    let fluctuation = FluctuationMap {
        values: map(&|result| result.curves.fluctuation.value),
        error: map(&|result| result.fluctuation_error),
        raw_ring: map(&|result| result.curves.fluctuation.raw_ring),
        raw_band: map(&|result| result.curves.fluctuation.raw_band),
        counting: map(&|result| result.curves.fluctuation.counting),
        factorial: map(&|result| result.curves.fluctuation.factorial),
        two_frame: map(&|result| result.curves.fluctuation.two_frame),
        mean_counts: map(&|result| result.curves.fluctuation.mean_counts),
    };
    let quality = Array2::from_shape_fn(shape, |(row, col)| results[row * shape.1 + col].quality);
    let n_lags = task.lag_s.len();
    let cube = |value: &dyn Fn(&PositionResult, usize) -> f64| {
        Array3::from_shape_fn((shape.0, shape.1, n_lags), |(row, col, lag)| {
            value(&results[row * shape.1 + col], lag)
        })
    };
    let n_pairs = (0..n_lags)
        .map(|lag| {
            results
                .iter()
                .map(|result| result.n_pairs[lag])
                .max()
                .unwrap_or(0)
        })
        .collect();
    let curves = CorrelationCurves {
        lag_s: task.lag_s.clone(),
        n_pairs,
        g: cube(&|result, lag| result.curves.g[lag]),
        g_error: cube(&|result, lag| result.g_error[lag]),
    };
    let averages = Averages {
        reduction,
        recipe,
        results: &results,
    };
    let ensemble = averages.ensemble(task);
    let summary = averages.summary(&ensemble);
    let relation = relate(
        relaxation.tau_s.view(),
        fluctuation.values.view(),
        quality.view(),
    );
    let halves = [0, 1].map(|half| {
        (
            map(&|result| result.halves[half].tau_s),
            map(&|result| result.halves[half].fluctuation),
        )
    });
    let decoupled = decoupled(&half_maps(&halves), recipe.interval.level);
    let apart = [
        map(&|result| result.apart.tau_s),
        map(&|result| result.apart.fluctuation),
    ];
    let relation_checks = checks(&halves, &apart, reduction, task);
    let heterogeneity = Some(of_halves(&halves, reduction, task));
    data_warnings(reduction, &summary, &mut warnings);
    warnings.extend(heterogeneity.as_ref().and_then(noise_warning));
    let ring = reduction.annulus.ring(recipe.dynamics.q_range_per_nm);
    let ring = ring.map_or_else(|_| Vec::new(), |ring| ring.pixels);
    Analysis {
        decoupled,
        relation_checks,
        heterogeneity,
        name: reduction.name.clone(),
        temperature_k: reduction.temperature_k,
        step_nm: reduction.step_nm,
        time: reduction.time.clone(),
        recipe: recipe.clone(),
        n_ring_pixels: ring.len(),
        n_ring_speckles: Aperture::of(recipe).map(|aperture| {
            let q_step = reduction.annulus.q_step_per_nm(&reduction.calibration);
            let place = |&pixel: &usize| {
                let annulus = &reduction.annulus;
                (annulus.row[pixel], annulus.col[pixel])
            };
            let pixels: Vec<(u32, u32)> = ring.iter().map(place).collect();
            aperture.speckles(&pixels, q_step).n_2
        }),
        lag_sums: task.lag_sums(),
        flattening: None,
        interval_factor: None,
        q_dependence: None,
        distant_baseline: None,
        examples: averages.examples(shape.1),
        curves,
        relaxation,
        fluctuation,
        quality,
        conditions: task.measured.conditions.clone(),
        two_time: Vec::new(),
        two_time_all: None,
        dynamics: None,
        ensemble_g: ensemble.g,
        ensemble_fit: ensemble.fit,
        summary,
        relation,
        warnings,
    }
}

/// An estimate without the part of its bias that falls with the number of speckles: with one of G sectors left out that part is G/(G − 1) times as large.
fn unbiased(estimate: Estimate, replicates: &[f64]) -> Estimate {
    if replicates.len() < 2 {
        return Estimate::not_known();
    }
    let bias = (replicates.len() - 1) as f64 * (mean(replicates) - estimate.value);
    Estimate {
        value: estimate.value - bias,
        lower: estimate.lower - bias,
        upper: estimate.upper - bias,
        ..estimate
    }
}

/// A quantile of times that are censored at a limit: at the limit it is only known to be beyond it.
fn known_to(limit: f64, quantile: Estimate) -> Estimate {
    if quantile.value < limit {
        return quantile;
    }
    Estimate {
        lower: limit,
        upper: f64::INFINITY,
        ..Estimate::not_known()
    }
}

/// The numbers of a comparison alone.
pub(super) fn numbers(
    reduction: &Reduction,
    task: &PositionTask<'_>,
    results: &[PositionResult],
) -> (MapSummary, StructureDynamics) {
    let shape = (reduction.n_rows(), reduction.n_cols());
    let map = |value: &dyn Fn(&PositionResult) -> f64| {
        Array2::from_shape_fn(shape, |(row, col)| value(&results[row * shape.1 + col]))
    };
    let averages = Averages {
        reduction,
        recipe: task.recipe,
        results,
    };
    let summary = averages.summary(&averages.ensemble(task));
    let quality = Array2::from_shape_fn(shape, |(row, col)| results[row * shape.1 + col].quality);
    let relation = relate(
        map(&|result| result.fit.tau_s).view(),
        map(&|result| result.curves.fluctuation.value).view(),
        quality.view(),
    );
    (summary, relation)
}

fn half_maps(halves: &[(Array2<f64>, Array2<f64>); 2]) -> HalfMaps<'_> {
    HalfMaps {
        tau_s: halves.each_ref().map(|(tau_s, _)| tau_s.view()),
        fluctuation: halves.each_ref().map(|(_, fluctuation)| fluctuation.view()),
    }
}

/// How the maps vary beyond their noise.
fn of_halves(
    halves: &[(Array2<f64>, Array2<f64>); 2],
    reduction: &Reduction,
    task: &PositionTask<'_>,
) -> Heterogeneity {
    let looked_at = task
        .measured
        .conditions
        .region
        .masked
        .mapv(|masked| !masked);
    heterogeneity(&HeterogeneityInput {
        halves: half_maps(halves),
        looked_at: looked_at.view(),
        limit_s: CENSORED_AT_RECORDS * reduction.time.record_s(),
        probe_steps: task.recipe.probe_fwhm_nm() / reduction.step_nm,
        step_nm: reduction.step_nm,
        level: task.recipe.interval.level,
        seed: task.recipe.seed,
    })
}

/// Whether the map of tau is all noise.
fn noise_warning(heterogeneity: &Heterogeneity) -> Option<Warning> {
    let of_tau = heterogeneity.ln_tau.as_ref()?;
    (!of_tau.is_beyond_noise()).then(|| {
        Warning::new(
            "W053",
            format!(
                "The map of tau shows no differences between places beyond its noise: a standard deviation of ln tau below {:.2} would not \
                 be seen. Averages hold; the map's pattern does not.",
                of_tau.sd.upper
            ),
        )
    })
}

/// The relation from other sides.
fn checks(
    halves: &[(Array2<f64>, Array2<f64>); 2],
    apart: &[Array2<f64>; 2],
    reduction: &Reduction,
    task: &PositionTask<'_>,
) -> Option<RelationChecks> {
    let conditions = &task.measured.conditions;
    let dim = conditions.ring_intensity.dim();
    let row = Array2::from_shape_fn(dim, |(row, _)| row as f64);
    let col = Array2::from_shape_fn(dim, |(_, col)| col as f64);
    let mut maps = vec![("intensity (thickness)", &conditions.ring_intensity)];
    if let Some(distance) = &conditions.region.edge_distance {
        maps.push(("distance to the edge", distance));
    }
    // What changes in the course of a scan changes along its slow axis, and a wedge along any.
    maps.push(("place along the rows", &row));
    maps.push(("place along the columns", &col));
    let covariates: Vec<Covariate<'_>> = maps
        .into_iter()
        .map(|(name, values)| Covariate {
            name,
            values: values.view(),
        })
        .collect();
    relate::checks(&ChecksInput {
        halves: half_maps(halves),
        apart: apart.each_ref().map(|map| map.view()),
        gap_per_nm: geometry::gap_per_nm(reduction, task.recipe),
        covariates: &covariates,
        level: task.recipe.interval.level,
        seed: task.recipe.seed,
    })
}

/// The mean curve over the region, its fit, and the fits without each sector.
struct Ensemble {
    g: Vec<f64>,
    fit: KwwFit,
    without: Vec<KwwFit>,
}

struct Averages<'a> {
    reduction: &'a Reduction,
    recipe: &'a Recipe,
    results: &'a [PositionResult],
}

impl Averages<'_> {
    fn ensemble(&self, task: &PositionTask<'_>) -> Ensemble {
        let n_lags = task.lag_s.len();
        let taken: Vec<&PositionResult> = self
            .results
            .iter()
            .filter(|result| result.enters_ensemble())
            .collect();
        let n_pairs: Vec<usize> = (0..n_lags)
            .map(|lag| taken.iter().map(|result| result.n_pairs[lag]).sum())
            .collect();
        let weights = task.weights(&n_pairs);
        let mean = |curve: &dyn Fn(&PositionResult, usize) -> f64| -> Vec<f64> {
            (0..n_lags)
                .map(|lag| {
                    let values = taken
                        .iter()
                        .map(|result| curve(result, lag))
                        .filter(|value| value.is_finite());
                    let (sum, n) =
                        values.fold((0.0, 0.0), |(sum, n), value| (sum + value, n + 1.0));
                    sum / n
                })
                .collect()
        };
        let g = mean(&|result, lag| result.curves.g[lag]);
        let whole = fit(&task.problem(&g, &weights));
        let n_sectors = taken
            .iter()
            .map(|result| result.curves.without.len())
            .max()
            .unwrap_or(0);
        let without = (0..n_sectors)
            .map(|sector| {
                let g = mean(&|result, lag| {
                    result
                        .curves
                        .without
                        .get(sector)
                        .unwrap_or(&result.curves.g)[lag]
                });
                fit(&task.problem(&g, &weights))
            })
            .collect();
        Ensemble {
            g,
            fit: whole,
            without,
        }
    }

    fn summary(&self, ensemble: &Ensemble) -> MapSummary {
        let valid: Vec<&PositionResult> = self
            .results
            .iter()
            .filter(|result| result.has_tau())
            .collect();
        let largest = CENSORED_AT_RECORDS * self.reduction.time.record_s();
        let capped = |fit: &KwwFit| {
            if fit.tau_s.is_finite() {
                fit.tau_s.min(largest)
            } else {
                largest
            }
        };
        let taus: Vec<f64> = valid.iter().map(|result| capped(&result.fit)).collect();
        let n_sectors = valid
            .iter()
            .map(|result| result.fits_without.len())
            .max()
            .unwrap_or(0);
        let taus_without: Vec<Vec<f64>> = (0..n_sectors)
            .map(|sector| {
                valid
                    .iter()
                    .map(|result| capped(result.fits_without.get(sector).unwrap_or(&result.fit)))
                    .collect()
            })
            .collect();
        let ln_tau_sd = LogNormal::of(&taus, largest).sd;
        let sampling = ln_tau_sd / self.n_areas(valid.len()).sqrt();
        // Averages of tau vary in proportion to themselves: their errors are those of their logarithms.
        let tau = |average: &dyn Fn(&[f64]) -> f64| {
            let replicates: Vec<f64> = taus_without
                .iter()
                .map(|taus| libm::log(average(taus)))
                .collect();
            self.logarithmic(average(&taus), &replicates, sampling, valid.len())
        };
        // The limit of a tau here is the record itself, wherever its estimate lies.
        let record_s = self.reduction.time.record_s();
        let within = |taus: &[f64]| {
            let taus: Vec<f64> = taus.iter().map(|tau| tau.min(record_s)).collect();
            libm::exp(LogNormal::of(&taus, record_s).mean)
        };
        let within_record = if taus.iter().any(|&tau| tau >= record_s) {
            tau(&within)
        } else {
            tau(&|taus| libm::exp(LogNormal::of(taus, largest).mean))
        };
        let ensemble_logs: Vec<f64> = ensemble
            .without
            .iter()
            .map(|fit| libm::log(capped(fit)))
            .collect();
        let seen: Vec<&Fluctuation> = self
            .results
            .iter()
            .filter(|result| !result.quality.has(Quality::MASKED))
            .map(|result| &result.curves.fluctuation)
            .filter(|fluctuation| fluctuation.value.is_finite())
            .collect();
        let fluctuations: Vec<f64> = seen.iter().map(|fluctuation| fluctuation.value).collect();
        let fluctuations_without = self.replicates(&|sector| {
            let value = |seen: &&Fluctuation| without(&seen.without, sector, seen.value);
            seen.iter().map(value).collect()
        });
        let fluctuation_mean = self.linear(&fluctuations, &fluctuations_without);
        let contrasts: Vec<f64> = valid.iter().map(|result| result.fit.contrast).collect();
        let contrasts_without = self.replicates(&|sector| {
            let fit = |result: &&PositionResult| {
                let fit = result.fits_without.get(sector).unwrap_or(&result.fit);
                fit.contrast
            };
            valid.iter().map(fit).collect()
        });
        MapSummary {
            n_positions: self.results.len(),
            n_valid: valid.len(),
            n_censored: valid
                .iter()
                .filter(|result| result.quality.is_censored())
                .count(),
            tau_mean_s: tau(&|taus| censored::mean(taus, largest)),
            tau_log_mean_s: tau(&|taus| libm::exp(LogNormal::of(taus, largest).mean)),
            tau_median_s: known_to(largest, tau(&|taus| rank::quantile(taus, 0.5))),
            tau_ensemble_s: self.logarithmic(
                ensemble.fit.tau_s,
                &ensemble_logs,
                sampling,
                valid.len(),
            ),
            tau_within_record_s: within_record,
            tau_spread_s: [rank::quantile(&taus, 0.16), rank::quantile(&taus, 0.84)],
            ln_tau_sd,
            fluctuation_mean,
            fluctuation_unbiased_mean: unbiased(fluctuation_mean, &fluctuations_without),
            fluctuation_sd: standard_deviation(&fluctuations),
            contrast_mean: self.linear(&contrasts, &contrasts_without),
            flag_counts: Quality::NAMES
                .iter()
                .map(|&(flag, name)| {
                    (
                        name.to_owned(),
                        self.results
                            .iter()
                            .filter(|result| result.quality.has(flag))
                            .count(),
                    )
                })
                .collect(),
        }
    }

    /// Independent probe areas among that many positions.
    fn n_areas(&self, n_positions: usize) -> f64 {
        let width = self.recipe.probe_fwhm_nm() / self.reduction.step_nm;
        let width = if width.is_finite() {
            width.max(1.0)
        } else {
            1.0
        };
        (n_positions as f64 / (width * width)).max(1.0)
    }

    fn quantile(&self, n_replicates: usize) -> f64 {
        let level = self.recipe.interval.level;
        student_quantile(0.5 + level / 2.0, n_replicates.saturating_sub(1).max(1))
    }

    /// Without replicates the error is that of sampling, with as many degrees of freedom as there are areas.
    fn logarithmic(
        &self,
        value: f64,
        log_replicates: &[f64],
        sampling: f64,
        n_positions: usize,
    ) -> Estimate {
        let ln_error = jackknife_error(log_replicates).max(sampling);
        let n_samples = match log_replicates.len() {
            0 => self.n_areas(n_positions) as usize,
            n => n,
        };
        let half = self.quantile(n_samples) * ln_error;
        Estimate {
            value,
            error: value * ln_error,
            lower: value * libm::exp(-half),
            upper: value * libm::exp(half),
        }
    }

    /// Means over positions with each sector left out.
    fn replicates(&self, without: &dyn Fn(usize) -> Vec<f64>) -> Vec<f64> {
        let n_sectors = self
            .results
            .iter()
            .map(|result| result.curves.without.len())
            .max()
            .unwrap_or(0);
        (0..n_sectors)
            .map(|sector| mean(&without(sector)))
            .collect()
    }

    fn linear(&self, values: &[f64], replicates: &[f64]) -> Estimate {
        let value = mean(values);
        let sampling = standard_deviation(values) / self.n_areas(values.len()).sqrt();
        let error = jackknife_error(replicates).max(sampling);
        let half = self.quantile(replicates.len()) * error;
        Estimate {
            value,
            error,
            lower: value - half,
            upper: value + half,
        }
    }

    /// A slow and a fast position for the figures: near the 90th and 10th percentile, among good fits inside the record.
    fn examples(&self, n_cols: usize) -> Option<[Position; 2]> {
        let doubtful = Quality(
            Quality::POOR_FIT.0
                | Quality::TAU_GT_WINDOW.0
                | Quality::NO_DECAY.0
                | Quality::FIT_AT_BOUND.0,
        );
        let has_tau: Vec<usize> = (0..self.results.len())
            .filter(|&index| self.results[index].has_tau())
            .collect();
        let good: Vec<usize> = has_tau
            .iter()
            .copied()
            .filter(|&index| !self.results[index].quality.has(doubtful))
            .collect();
        let mut chosen = if good.len() >= 2 { good } else { has_tau };
        if chosen.len() < 2 {
            return None;
        }
        let tau = |index: usize| self.results[index].fit.tau_s;
        chosen.sort_by(|&a, &b| tau(a).total_cmp(&tau(b)));
        let at = |share: f64| {
            let index = chosen[(share * (chosen.len() - 1) as f64).round() as usize];
            Position {
                row: index / n_cols,
                col: index % n_cols,
            }
        };
        Some([at(0.9), at(0.1)])
    }
}

fn without(replicates: &[f64], sector: usize, whole: f64) -> f64 {
    replicates.get(sector).copied().unwrap_or(whole)
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

fn standard_deviation(values: &[f64]) -> f64 {
    let mean = mean(values);
    let squares: f64 = values
        .iter()
        .map(|value| (value - mean) * (value - mean))
        .sum();
    (squares / (values.len() as f64 - 1.0)).sqrt()
}

fn data_warnings(reduction: &Reduction, summary: &MapSummary, warnings: &mut Vec<Warning>) {
    let mut warn = |n: u64, code: &str, text: &str| {
        if n > 0 {
            warnings.push(Warning::new(code, format!("{n} {text}")));
        }
    };
    warn(
        reduction.n_nonfinite,
        "W031",
        "samples are NaN or infinite; each is left out of its scan.",
    );
    warn(
        reduction.n_saturated,
        "W032",
        "samples are at the highest value of their type: the detector may be saturated.",
    );
    warn(
        reduction.n_missing_frames,
        "W033",
        "frames are missing; pairs of scans with them are left out.",
    );
    if reduction.n_negative > 0 && reduction.sample_type.is_unsigned() {
        return;
    }
    warn(
        reduction.n_negative,
        "W034",
        "samples are below zero; they are kept, because cutting them off would bias V and g.",
    );
    let share = summary.n_censored as f64 / summary.n_valid.max(1) as f64;
    if share > 0.3 {
        warnings.push(Warning::new(
            "W051",
            format!(
                "At {:.0} % of the positions tau is only a lower limit (longer than the record, or its interval is open): \
                 the arithmetic mean is not a number to quote; use the median or the ensemble curve.",
                100.0 * share
            ),
        ));
    }
}
