//! What do the fits of a position say about its quality?

use super::curves::PositionCurves;
use super::position::PositionTask;
use crate::quality::Quality;
use crate::relax::{FitOutcome, KwwFit, fitted_curve};
use crate::statistics::jackknife_error;

impl PositionTask<'_> {
    /// Flags that the fits of a position give.
    pub(super) fn fit_quality(
        &self,
        whole: &KwwFit,
        open_above: bool,
        curves: &PositionCurves,
        without: &[KwwFit],
        fitted: &[f64],
        weights: &[f64],
    ) -> Quality {
        let mut quality = Quality::default();
        let time = &self.reduction.time;
        match whole.outcome {
            FitOutcome::NotTried | FitOutcome::TooFewLags => quality.set(Quality::FEW_FRAMES),
            FitOutcome::NotConverged => quality.set(Quality::FIT_NO_CONVERGE),
            FitOutcome::NoContrast => quality.0 |= Quality::FIT_NO_CONVERGE.0 | Quality::NO_DECAY.0,
            FitOutcome::Converged => {}
            _ => quality.set(Quality::FIT_AT_BOUND),
        }
        if !whole.tau_s.is_finite() {
            return quality;
        }
        quality.set_if(whole.tau_s < 2.0 * time.step_s(), Quality::TAU_LT_STEP);
        // Rates add: from half of the limit on, drift takes more of the decay than the glass.
        let limit_s = self.measured.conditions.drift_limit.after_s;
        quality.set_if(
            limit_s.is_some_and(|limit_s| whole.tau_s > limit_s / 2.0),
            Quality::DRIFT_LIMITED,
        );
        quality.set_if(
            open_above || whole.tau_s > time.record_s(),
            Quality::TAU_GT_WINDOW,
        );
        // Above this the parameters share less than half of the digits of a double.
        quality.set_if(whole.condition > 1e8, Quality::ILL_CONDITIONED);
        if without.len() < 2 {
            return quality;
        }
        // Three windows of fitted lags; sectors are independent, lags are not, so each mean is judged by its sectors.
        let lags: Vec<usize> = (0..weights.len())
            .filter(|&lag| weights[lag] > 0.0)
            .collect();
        let third = (lags.len() / 3).max(1);
        let windows: Vec<&[usize]> = lags.chunks(third).take(3).collect();
        let quantiles = &self.quantiles[without.len() - 1];
        let mean = |of: &dyn Fn(usize) -> f64, window: &[usize]| {
            window.iter().map(|&lag| of(lag)).sum::<f64>() / window.len() as f64
        };
        // The last third of the time that is fitted, however many lags it holds.
        let longest = lags.last().map_or(0, |&lag| self.steps[lag]);
        let before = longest - (longest / 3).max(1).min(longest);
        let n_before = lags.partition_point(|&lag| self.steps[lag] <= before);
        let decay = |g: &[f64]| {
            let short = &lags[..lags.len().min(3)];
            mean(&|lag| g[lag], short) - mean(&|lag| g[lag], &lags[n_before..])
        };
        let decays: Vec<f64> = curves.without.iter().map(|g| decay(g)).collect();
        let flat = decay(&curves.g) < quantiles.no_decay * jackknife_error(&decays);
        quality.set_if(flat, Quality::NO_DECAY);
        let fitted_without: Vec<Vec<f64>> = curves
            .without
            .iter()
            .zip(without)
            .map(|(g, fit)| fitted_curve(&self.problem(g, weights), fit))
            .collect();
        let poor = windows.iter().any(|window| {
            let misfit = mean(&|lag| curves.g[lag] - fitted[lag], window);
            let replicates: Vec<f64> = curves
                .without
                .iter()
                .zip(&fitted_without)
                .map(|(g, fitted)| mean(&|lag| g[lag] - fitted[lag], window))
                .collect();
            misfit.abs() > quantiles.poor_fit * jackknife_error(&replicates)
        });
        quality.set_if(poor, Quality::POOR_FIT);
        quality
    }
}
