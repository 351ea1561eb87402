//! Several temperatures together: sorted, with the activation energy of every average.

use halotau::analysis::{Analysis, Study};
use halotau::arrhenius::{self, ArrheniusFit, ArrheniusPoint, Average};

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
    Study {
        analyses,
        arrhenius,
        headline,
    }
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
