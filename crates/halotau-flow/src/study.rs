//! Several temperatures together: sorted, with the activation energy of every average, and relaxation without beam where one
//! temperature was measured at several dose rates.

use halotau::analysis::{Analysis, Study};
use halotau::arrhenius::{self, ArrheniusFit, ArrheniusPoint, Average};
use halotau::beam::{self, DosePoint, ZeroDose};
use halotau::relate;

/// Puts analyses together, from the lowest temperature; Arrhenius fits from two distinct temperatures on.
pub fn study(mut analyses: Vec<Analysis>) -> Study {
    analyses.sort_by(|a, b| a.temperature_k.total_cmp(&b.temperature_k));
    let headline = analyses.first().map_or_else(Average::default, |analysis| {
        analysis.recipe.arrhenius.average
    });
    let arrhenius = Average::ALL
        .into_iter()
        .filter_map(|average| fit(&analyses, average))
        .collect();
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
    Study {
        relation: relate::combine(&relations, level),
        zero_dose: zero_dose(&analyses, headline),
        analyses,
        arrhenius,
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

fn fit(analyses: &[Analysis], average: Average) -> Option<ArrheniusFit> {
    let level = analyses.first()?.recipe.interval.level;
    let points: Vec<ArrheniusPoint> = analyses
        .iter()
        .map(|analysis| {
            let tau = analysis.summary.tau_s(average);
            ArrheniusPoint {
                temperature_k: analysis.temperature_k,
                tau_s: tau.value,
                ln_tau_error: tau.error / tau.value,
            }
        })
        .filter(|point| point.tau_s.is_finite() && point.temperature_k.is_finite())
        .collect();
    // Too few temperatures is no error of the study: it has no energy then.
    arrhenius::fit(&points, average, level).ok()
}
