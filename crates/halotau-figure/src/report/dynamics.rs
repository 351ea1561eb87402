//! Is one relaxation time all there is? The tests, and what they say.

use halotau::analysis::{Analysis, Estimate};
use halotau::dynamics::Dynamics;

use super::ReportInput;
use super::headline::name;
use super::html::{Page, Table};
use crate::caption::level;
use crate::scale::{significant, with_interval};

/// What the tests are, before them.
const WHAT: &str = "A map of τ takes for granted that the record is stationary, that a position forgets at one rate and that \
    this rate does not depend on Q. Each of these is tested at 5 %: of the tests of one temperature, about one in three records in which nothing of \
    it is true shows at least one below 0.05. Errors come from leaving out blocks of the scan one after another, because positions under one \
    probe share speckles; what is called beyond noise is the product of two halves of the directions that share none. A departure is a \
    property of the record: drift, contamination and the beam make it as well as the glass.";

/// Whether there is anything to say.
pub(super) fn is_there(input: &ReportInput<'_>) -> bool {
    let mut found = input
        .study
        .analyses
        .iter()
        .filter_map(|analysis| analysis.dynamics.as_ref());
    found.any(|dynamics| !dynamics.sentences().is_empty())
}

/// Tables and sentences a temperature.
pub(super) fn write(page: &mut Page, input: &ReportInput<'_>) {
    let analyses = &input.study.analyses;
    let with_tests: Vec<(&Analysis, &Dynamics)> = analyses
        .iter()
        .filter_map(|analysis| Some((analysis, analysis.dynamics.as_ref()?)))
        .filter(|(_, dynamics)| !dynamics.sentences().is_empty())
        .collect();
    let Some((first, _)) = with_tests.first() else {
        return;
    };
    page.heading("dynamics", "Beyond one relaxation time");
    page.paragraph(WHAT);
    let level = level(&first.recipe);
    let mut time = Table::new(
        &format!("Change with age and time, {level} intervals"),
        &[
            "temperature",
            "τ late / early half",
            "p of aging",
            "p of the contrast changing",
            "positions flagged (by chance)",
            "fluctuation in time, variance",
            "p",
        ],
    );
    let mut space = Table::new(
        &format!("Dynamics in space and form of the decay, {level} intervals"),
        &[
            "temperature",
            "σ(ln τ) beyond noise",
            "p of G4",
            "ξ beyond the probe",
            "stretch of the mean curve",
            "stretch of a place",
            "p of a part at rest",
            "p of τ depending on Q",
        ],
    );
    let text = |estimate: &Estimate| with_interval(estimate.value, estimate.lower, estimate.upper);
    let none = || "–".to_owned();
    for (analysis, dynamics) in &with_tests {
        let aging = dynamics.aging.as_ref();
        let fluctuations = dynamics.fluctuations.as_ref();
        time.rows.push(vec![
            name(analysis),
            aging.map_or_else(none, |aging| text(&aging.ratio)),
            aging.map_or_else(none, |aging| significant(aging.p_value, 2)),
            aging.map_or_else(none, |aging| significant(aging.contrast_p_value, 2)),
            aging.map_or_else(none, |aging| {
                let by_chance = halotau::dynamics::aging::FLAG_RISK * aging.n_positions as f64;
                format!("{} ({by_chance:.0})", aging.n_changed)
            }),
            fluctuations.map_or_else(none, |found| text(&found.local)),
            fluctuations.map_or_else(none, |found| significant(found.local_p_value, 2)),
        ]);
        let four = dynamics.four_point.as_ref();
        let stretch = dynamics.stretch.as_ref();
        space.rows.push(vec![
            name(analysis),
            stretch.map_or_else(none, |test| text(&test.ln_tau_spread)),
            four.map_or_else(none, |four| significant(four.p_value, 2)),
            four.map_or_else(none, |four| match &four.length {
                Some(length) => format!("{} {}", text(length), four.unit),
                None => "not resolved".to_owned(),
            }),
            stretch.map_or_else(none, |test| text(&test.region)),
            stretch.map_or_else(none, |test| text(&test.local)),
            stretch.map_or_else(none, |test| {
                if test.static_p_value.is_finite() {
                    significant(test.static_p_value, 2)
                } else {
                    "record too short".to_owned()
                }
            }),
            dynamics
                .rings
                .as_ref()
                .map_or_else(none, |rings| significant(rings.p_value, 2)),
        ]);
    }
    page.table(&time);
    page.table(&space);
    for (analysis, dynamics) in &with_tests {
        page.paragraph(&format!(
            "{}: {}",
            name(analysis),
            dynamics.sentences().join(" ")
        ));
        page.table(&models(analysis, dynamics));
    }
}

/// The models of the mean curve.
fn models(analysis: &Analysis, dynamics: &Dynamics) -> Table {
    let mut table = Table::new(
        &format!(
            "Models of the mean curve at {}, by the covariance of its lags among blocks of the scan",
            name(analysis)
        ),
        &[
            "model",
            "parameters",
            "p of its misfit",
            "compared with",
            "p of its improvement",
            "AICc",
        ],
    );
    for model in dynamics.stretch.iter().flat_map(|test| &test.models) {
        table.rows.push(vec![
            model.name.clone(),
            model.n_parameters.to_string(),
            significant(model.fit_p_value, 2),
            model.against.clone().unwrap_or_else(|| "–".to_owned()),
            if model.p_value.is_finite() {
                significant(model.p_value, 2)
            } else {
                "–".to_owned()
            },
            format!("{:.1}", model.aicc).replace('-', "−"),
        ]);
    }
    table
}
