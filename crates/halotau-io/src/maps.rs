//! Which maps does an analysis hold?
//!
//! The one table that folders of results and every export go by: name, unit, meaning, numbers.

use halotau::analysis::Analysis;
use halotau::ndarray::Array2;
use halotau::relax::FitOutcome;

/// One map of an analysis, `[row, col]`; NaN where there is no value.
#[derive(Debug, Clone, Copy)]
pub struct NamedMap<'a> {
    /// As in files and tables.
    pub name: &'static str,
    /// Unit in the spelling of UDUNITS; "1" where there is none.
    pub units: &'static str,
    /// In words.
    pub long_name: &'static str,
    /// The numbers.
    pub values: &'a Array2<f64>,
}

/// All maps of numbers, in the order in which they are written.
pub fn maps(analysis: &Analysis) -> Vec<NamedMap<'_>> {
    let relaxation = &analysis.relaxation;
    let fluctuation = &analysis.fluctuation;
    let map = |name, units, long_name, values| NamedMap {
        name,
        units,
        long_name,
        values,
    };
    let conditions = &analysis.conditions;
    let mut maps = vec![
        map("tau_s", "s", "relaxation time", &relaxation.tau_s),
        map(
            "tau_lower_s",
            "s",
            "relaxation time, lower end of the interval",
            &relaxation.tau_lower_s,
        ),
        map(
            "tau_upper_s",
            "s",
            "relaxation time, upper end of the interval",
            &relaxation.tau_upper_s,
        ),
        map(
            "ln_tau_error",
            "1",
            "standard error of the logarithm of the relaxation time",
            &relaxation.ln_tau_error,
        ),
        map("contrast", "1", "contrast", &relaxation.contrast),
        map(
            "contrast_error",
            "1",
            "standard error of the contrast",
            &relaxation.contrast_error,
        ),
        map("stretch", "1", "stretch exponent", &relaxation.stretch),
        map(
            "stretch_error",
            "1",
            "standard error of the stretch exponent",
            &relaxation.stretch_error,
        ),
        map(
            "baseline",
            "1",
            "correlation at infinite lag",
            &relaxation.baseline,
        ),
        map(
            "mean_relaxation_time_s",
            "s",
            "mean relaxation time of the intensity",
            &relaxation.mean_relaxation_time_s,
        ),
        map(
            "persistence",
            "1",
            "persistence of the correlation, without a fit",
            &relaxation.persistence,
        ),
        map(
            "residual",
            "1",
            "root mean square of the fit's residuals",
            &relaxation.residual,
        ),
        map(
            "fluctuation",
            "1",
            "normalized variance over azimuth",
            &fluctuation.values,
        ),
        map(
            "fluctuation_error",
            "1",
            "standard error of the normalized variance",
            &fluctuation.error,
        ),
        map(
            "fluctuation_raw_ring",
            "1",
            "normalized variance, raw, per ring",
            &fluctuation.raw_ring,
        ),
        map(
            "fluctuation_raw_band",
            "1",
            "normalized variance, raw, over the band",
            &fluctuation.raw_band,
        ),
        map(
            "fluctuation_counting",
            "1",
            "normalized variance, corrected for counting",
            &fluctuation.counting,
        ),
        map(
            "fluctuation_factorial",
            "1",
            "normalized variance, factorial moments",
            &fluctuation.factorial,
        ),
        map(
            "fluctuation_two_frame",
            "1",
            "normalized variance from consecutive scans",
            &fluctuation.two_frame,
        ),
        map(
            "mean_counts",
            "count",
            "mean counts a pixel of the band",
            &fluctuation.mean_counts,
        ),
        map(
            "ring_intensity",
            "count",
            "mean counts a pixel of the annulus at the median beam current",
            &conditions.ring_intensity,
        ),
        map(
            "thickness_proxy",
            "1",
            "ring intensity over its median, grows with thickness",
            &conditions.region.thickness_proxy,
        ),
    ];
    if let Some(distance) = &conditions.region.edge_distance {
        // Where the step is not known the distance is in scan steps.
        let (name, units) = if analysis.step_nm.is_finite() {
            ("edge_distance_nm", "nm")
        } else {
            ("edge_distance", "1")
        };
        maps.push(map(name, units, "distance to the nearest vacuum", distance));
    }
    maps
}

/// How a fit ended, with the number and the word that stand for it in files.
pub(crate) const OUTCOMES: [(FitOutcome, u8, &str); 8] = [
    (FitOutcome::NotTried, 0, "not_tried"),
    (FitOutcome::Converged, 1, "converged"),
    (FitOutcome::TauAtUpperBound, 2, "tau_at_upper_bound"),
    (FitOutcome::TauAtLowerBound, 3, "tau_at_lower_bound"),
    (FitOutcome::StretchAtBound, 4, "stretch_at_bound"),
    (FitOutcome::NoContrast, 5, "no_contrast"),
    (FitOutcome::TooFewLags, 6, "too_few_lags"),
    (FitOutcome::NotConverged, 7, "not_converged"),
];

/// The number that stands for an outcome.
pub(crate) fn outcome_code(outcome: FitOutcome) -> u8 {
    // The same order as in `OUTCOMES`, so that the compiler notices an outcome that has no number.
    match outcome {
        FitOutcome::NotTried => 0,
        FitOutcome::Converged => 1,
        FitOutcome::TauAtUpperBound => 2,
        FitOutcome::TauAtLowerBound => 3,
        FitOutcome::StretchAtBound => 4,
        FitOutcome::NoContrast => 5,
        FitOutcome::TooFewLags => 6,
        FitOutcome::NotConverged => 7,
    }
}

/// The outcome that a number stands for.
pub(crate) fn outcome_of(code: u8) -> Option<FitOutcome> {
    OUTCOMES
        .iter()
        .find(|(_, number, _)| *number == code)
        .map(|(outcome, ..)| *outcome)
}

/// Position of each index along an axis of the analyzed region, `None` where the step is not known.
///
/// `first` is the region's first index in the whole scan: coordinates count from the scan's first pixel.
pub(crate) fn positions_nm(first: usize, len: usize, step_nm: f64) -> Option<Vec<f64>> {
    step_nm.is_finite().then(|| {
        (first..first + len)
            .map(|idx| idx as f64 * step_nm)
            .collect()
    })
}

/// First row and column of the analyzed region in the whole scan.
pub(crate) fn region_start(analysis: &Analysis) -> [usize; 2] {
    analysis
        .recipe
        .scan
        .region
        .map_or([0, 0], |region| [region.rows[0], region.cols[0]])
}
