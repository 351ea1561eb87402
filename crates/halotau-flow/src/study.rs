//! Several temperatures together: sorted, with the activation energy of every average, and relaxation without beam where one
//! temperature was measured at several dose rates.

use halotau::analysis::{Analysis, MapSummary, Study};
use halotau::arrhenius::{self, ArrheniusFit, ArrheniusPoint, Average};
use halotau::beam::{self, DosePoint, ZeroDose};
use halotau::relate;

/// Puts analyses together, from the lowest temperature; Arrhenius fits from two distinct temperatures on.
pub fn study(mut analyses: Vec<Analysis>) -> Study {
    analyses.sort_by(|a, b| a.temperature_k.total_cmp(&b.temperature_k));
    let headline = analyses.first().map_or_else(Average::default, |analysis| {
        analysis.recipe.arrhenius.average
    });
    let relations: Vec<_> = analyses
        .iter()
        .filter_map(|analysis| {
            let relation = analysis.decoupled.as_ref()?;
            Some((relation, analysis.relation_checks.as_ref()))
        })
        .collect();
    let level = analyses
        .first()
        .map_or(0.95, |analysis| analysis.recipe.interval.level);
    let summaries: Vec<(f64, &MapSummary)> = analyses
        .iter()
        .map(|analysis| (analysis.temperature_k, &analysis.summary))
        .collect();
    let zero_dose = zero_dose(&analyses, headline);
    Study {
        relation: relate::combine(&relations, level),
        arrhenius: fits(&summaries, level),
        arrhenius_without_beam: without_beam(&zero_dose, headline, level),
        alike: None,
        zero_dose,
        analyses,
        headline,
    }
}

/// Temperatures that differ by less than this are one.
const SAME_TEMPERATURE_K: f64 = 0.5;

/// The regression to no dose rate, for each temperature that was measured at several.
fn zero_dose(analyses: &[Analysis], headline: Average) -> Vec<ZeroDose> {
    let mut fits = Vec::new();
    let mut rest = analyses;
    while let Some(first) = rest.first() {
        let same = |analysis: &&Analysis| {
            analysis.temperature_k - first.temperature_k < SAME_TEMPERATURE_K
        };
        // Sorted by temperature; a NaN is like no other.
        let n_same = rest.iter().take_while(same).count().max(1);
        let (group, later) = rest.split_at(n_same);
        rest = later;
        let points: Vec<DosePoint> = group
            .iter()
            .filter_map(|analysis| {
                let tau = analysis.summary.tau_s(headline);
                Some(DosePoint {
                    rate: analysis.conditions.dose?.electrons_per_s,
                    tau_s: tau.value,
                    ln_tau_error: tau.error / tau.value,
                })
            })
            .collect();
        let level = first.recipe.interval.level;
        fits.extend(beam::zero_dose(first.temperature_k, &points, level));
    }
    fits
}

/// Arrhenius fits of every average that has one: too few temperatures is no error of a study, it has no energy then.
pub(crate) fn fits(temperatures: &[(f64, &MapSummary)], level: f64) -> Vec<ArrheniusFit> {
    let fit = |average: Average| {
        let points: Vec<ArrheniusPoint> = temperatures
            .iter()
            .map(|(temperature_k, summary)| {
                let tau = summary.tau_s(average);
                ArrheniusPoint {
                    temperature_k: *temperature_k,
                    tau_s: tau.value,
                    ln_tau_error: tau.error / tau.value,
                }
            })
            .filter(|point| point.tau_s.is_finite() && point.temperature_k.is_finite())
            .collect();
        arrhenius::fit(&points, average, level).ok()
    };
    let is_beyond = |(_, summary): &(f64, &MapSummary)| {
        let within = summary.tau_within_record_s.value;
        within.is_finite() && within != summary.tau_log_mean_s.value
    };
    let averages = Average::ALL
        .into_iter()
        .filter(|&average| average != Average::WithinRecord || temperatures.iter().any(is_beyond));
    averages.filter_map(fit).collect()
}

/// The line through relaxation times without beam.
fn without_beam(fits: &[ZeroDose], average: Average, level: f64) -> Option<ArrheniusFit> {
    let points: Vec<ArrheniusPoint> = fits
        .iter()
        .filter(|fit| fit.tau_s.is_finite())
        .map(|fit| ArrheniusPoint {
            temperature_k: fit.temperature_k,
            tau_s: fit.tau_s,
            ln_tau_error: fit.rate_error_per_s * fit.tau_s,
        })
        .collect();
    arrhenius::fit(&points, average, level).ok()
}
