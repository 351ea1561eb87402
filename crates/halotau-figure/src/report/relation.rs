//! Are structure and dynamics related? The numbers, and what they say.

use super::ReportInput;
use super::headline::name;
use super::html::{Page, Table};
use crate::caption::level;
use crate::scale::{significant, with_interval};

/// What the numbers are, before them.
const WHAT: &str = "τ and V of one position come from the same speckles, so that ρ above is 0.2 to 0.8 even where nothing is \
    related. Here τ is taken from one half of the directions and V from the other, crossed, with a gap between them: r is the \
    correlation of the ranks of τ with V. Neighboring positions share the probe and the maps are smooth; the effective positions are as \
    many independent ones as the maps are worth, and p counts with them. Reliability is the correlation of a map with the same map from \
    the other half.";

/// One row and one sentence a temperature.
pub(super) fn write(page: &mut Page, input: &ReportInput<'_>) {
    let analyses = &input.study.analyses;
    let Some(first) = analyses
        .iter()
        .find(|analysis| analysis.decoupled.is_some())
    else {
        return;
    };
    let mut table = Table::new(
        &format!(
            "Structure and dynamics without shared speckles, {} intervals",
            level(&first.recipe)
        ),
        &[
            "temperature",
            "r",
            "p",
            "effective positions",
            "reliability of τ",
            "reliability of V",
            "r without noise",
        ],
    );
    for analysis in analyses {
        let Some(relation) = &analysis.decoupled else {
            continue;
        };
        let r = relation.correlation;
        table.rows.push(vec![
            name(analysis),
            with_interval(r.value, r.lower, r.upper),
            significant(relation.p_value, 2),
            significant(relation.n_effective, 2),
            significant(relation.tau_reliability, 2),
            significant(relation.fluctuation_reliability, 2),
            relation.corrected.map_or_else(
                || "not identifiable".to_owned(),
                |corrected| with_interval(corrected.value, corrected.lower, corrected.upper),
            ),
        ]);
    }
    page.paragraph(WHAT);
    page.table(&table);
    for analysis in analyses {
        if let Some(relation) = &analysis.decoupled {
            page.paragraph(&format!("{}: {}", name(analysis), relation.sentence()));
        }
    }
}
