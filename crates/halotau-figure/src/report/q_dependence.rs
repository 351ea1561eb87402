//! Is the relaxation time of the ring one relaxation time?

use halotau::analysis::{Analysis, Estimate};
use halotau::q_dependence::QDependence;

use super::ReportInput;
use super::headline::name;
use super::html::{Page, Table};
use crate::caption::level;
use crate::scale::{significant, with_interval};

/// What the table is.
const WHAT: &str = "The likelihood takes all spatial frequencies of its ring for one relaxation time. Here the likelihood of each band of the ring says \
    how far its own τ is from that of the position, over all positions; errors are those that places show, with as many independent places as \
    their correlation leaves, and 2 % of each band that the model of its speckle may be off by. A difference counts where chance is unlikely (p < 0.01) \
    and two bands are more than 6 % apart.";

/// The table with its sentences; nothing where the likelihood was not asked for or its ring is too narrow.
pub(super) fn write(page: &mut Page, input: &ReportInput<'_>) {
    let found: Vec<(&Analysis, &QDependence)> = input
        .study
        .analyses
        .iter()
        .filter_map(|analysis| Some((analysis, analysis.q_dependence.as_ref()?)))
        .collect();
    let Some((first, _)) = found.first() else {
        return;
    };
    page.paragraph(WHAT);
    let mut table = Table::new(
        &format!(
            "Relaxation time over the ring, with {} intervals",
            level(&first.recipe)
        ),
        &[
            "temperature",
            "τ of bands over their mean",
            "outer over inner",
            "d ln τ/d ln Q",
            "p of one τ",
            "positions",
            "effective positions",
        ],
    );
    for (analysis, found) in &found {
        let bands: Vec<String> = found
            .bands
            .iter()
            .map(|band| {
                format!(
                    "{:.1}-{:.1} 1/nm: {}",
                    band.q_min_per_nm,
                    band.q_max_per_nm,
                    text(&band.tau_ratio)
                )
            })
            .collect();
        table.rows.push(vec![
            name(analysis),
            bands.join("; "),
            text(&found.outer_over_inner),
            text(&found.slope),
            significant(found.p_value, 2),
            found.n_positions.to_string(),
            significant(found.n_effective, 2),
        ]);
    }
    page.table(&table);
    for (analysis, found) in &found {
        page.paragraph(&format!("{}: {}", name(analysis), found.sentence()));
    }
}

fn text(estimate: &Estimate) -> String {
    with_interval(estimate.value, estimate.lower, estimate.upper)
}

/// Where the map is a mean over different relaxation times, as a sentence of the headline.
pub(super) fn sentence(input: &ReportInput<'_>) -> Option<String> {
    let parts: Vec<String> = input
        .study
        .analyses
        .iter()
        .filter_map(|analysis| {
            let found = analysis.q_dependence.as_ref()?;
            found
                .is_dependent()
                .then(|| format!("{} at {}", text(&found.outer_over_inner), name(analysis)))
        })
        .collect();
    (!parts.is_empty()).then(|| {
        format!(
            "The relaxation time is not the same over the ring that is taken as one: its outer over its inner end is {}. Each τ is a mean over Q.",
            parts.join(", ")
        )
    })
}
