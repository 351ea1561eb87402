//! How much of the maps is the sample, and over which distance is it alike?

use halotau::analysis::{Analysis, Estimate};
use halotau::heterogeneity::{Heterogeneity, MapVariation};

use super::ReportInput;
use super::headline::{name, percent};
use super::html::{Page, Table};
use crate::caption::level;
use crate::scale::{significant, with_interval};

/// What the table is.
const WHAT: &str = "A map shows the sample and the error of each of its numbers. Two halves of the directions share no speckle: what \
    their maps have in common is the sample's. The spread without noise is the square root of their covariance; the reliability is the share of \
    the variance of a half's map that comes back in the other, and of the whole map as two halves give it. ξ is the distance at which \
    the covariance has fallen to 1/e, beyond the probe, which alone makes neighbors alike. Intervals are those of normal \
    fields with the same variance and length. A map may be read place by place where its reliability is near 1; below 0.5 most of its pattern is noise.";

/// The table with its sentences; nothing for results that were written before it was measured.
pub(super) fn write(page: &mut Page, input: &ReportInput<'_>) {
    let found: Vec<(&Analysis, &Heterogeneity)> = input
        .study
        .analyses
        .iter()
        .filter_map(|analysis| Some((analysis, analysis.heterogeneity.as_ref()?)))
        .collect();
    let Some((first, _)) = found.first() else {
        return;
    };
    page.paragraph(WHAT);
    let mut table = Table::new(
        &format!(
            "Variation of the maps over the field without noise, with {} intervals",
            level(&first.recipe)
        ),
        &[
            "temperature",
            "map of",
            "spread as mapped",
            "spread without noise",
            "p of no differences",
            "reliability of a half",
            "of the map",
            "ξ as seen",
            "ξ of the probe alone",
            "ξ beyond the probe",
            "positions (lower limits)",
            "effective positions",
        ],
    );
    for (analysis, heterogeneity) in &found {
        let summary = &analysis.summary;
        let maps = [
            ("ln τ", summary.ln_tau_sd, &heterogeneity.ln_tau),
            ("V", summary.fluctuation_sd, &heterogeneity.fluctuation),
        ];
        for (of, mapped, variation) in maps {
            if let Some(variation) = variation {
                table
                    .rows
                    .push(row(analysis, heterogeneity, of, mapped, variation));
            }
        }
    }
    page.table(&table);
    for (analysis, heterogeneity) in &found {
        page.paragraph(&format!(
            "{}: {}",
            name(analysis),
            heterogeneity.sentences().join(" ")
        ));
    }
}

fn row(
    analysis: &Analysis,
    heterogeneity: &Heterogeneity,
    of: &str,
    mapped: f64,
    variation: &MapVariation,
) -> Vec<String> {
    let unit = &heterogeneity.unit;
    let length = |estimate: &Estimate| format!("{} {unit}", text(estimate));
    vec![
        name(analysis),
        of.to_owned(),
        significant(mapped, 2),
        text(&variation.sd),
        significant(variation.p_value, 2),
        text(&variation.reliability),
        significant(variation.map_reliability, 2),
        if variation.apparent_length.value.is_finite() {
            length(&variation.apparent_length)
        } else {
            "–".to_owned()
        },
        if heterogeneity.probe_length.is_finite() {
            format!("{} {unit}", significant(heterogeneity.probe_length, 2))
        } else {
            "not known".to_owned()
        },
        variation
            .length
            .as_ref()
            .map_or_else(|| "not resolved".to_owned(), length),
        format!("{} ({})", variation.n_positions, variation.n_censored),
        significant(variation.n_effective, 2),
    ]
}

fn text(estimate: &Estimate) -> String {
    with_interval(estimate.value, estimate.lower, estimate.upper)
}

/// The spread of ln tau without noise at every temperature, as a sentence of the headline.
pub(super) fn sentence(input: &ReportInput<'_>) -> Option<String> {
    let parts: Vec<String> = input
        .study
        .analyses
        .iter()
        .filter_map(|analysis| {
            let of_tau = analysis.heterogeneity.as_ref()?.ln_tau.as_ref()?;
            Some(if of_tau.is_beyond_noise() {
                format!(
                    "{} at {} ({} of the variance of the map)",
                    text(&of_tau.sd),
                    name(analysis),
                    percent(of_tau.map_reliability)
                )
            } else {
                format!("none seen at {}", name(analysis))
            })
        })
        .collect();
    (!parts.is_empty()).then(|| {
        format!(
            "Standard deviation of ln τ from place to place, without noise: {}.",
            parts.join("; ")
        )
    })
}
