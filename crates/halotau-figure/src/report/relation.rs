//! Are structure and dynamics related? The numbers, and what they say.

use halotau::analysis::{Analysis, Estimate};
use halotau::relate::{Combined, RelationChecks};

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
    the other half. Temperatures are combined by Fisher's z and never pooled; Q asks whether they share one correlation.";

/// What the second table is.
const COUPLED: &str = "ρ is the correlation of the paper, from the same pixels. Without any relation it would lie about between the next \
    two numbers, which are estimated from what the errors of τ and V of one half have in common: where both maps vary as reliably as \
    here, and where neither varies. It has no p-value.";

/// What the third table is.
const CHECKS: &str = "The same question from other sides. Separate spatial frequencies: τ from a narrow ring, V from pixels that share no \
    speckle with it; τ is nearly the same as above, so that the two numbers are not independent of each other. Kendall: order of pairs, with \
    the same effective positions. Dutilleul: another estimate of the effective positions, of one of the two crossed correlations. Moved maps \
    and random phases: share of surrogate maps of V with an |r| at least as large; these are checks and tend to small p. Largest at: the \
    displacement from τ to V, rows and columns in steps, at which the correlation is largest; far from 0, 0 it speaks for a displacement or for \
    chance.";

/// Tables, then sentences.
pub(super) fn write(page: &mut Page, input: &ReportInput<'_>) {
    let analyses = &input.study.analyses;
    let Some(first) = analyses
        .iter()
        .find(|analysis| analysis.decoupled.is_some())
    else {
        return;
    };
    page.paragraph(WHAT);
    page.table(&decoupled(input, &level(&first.recipe)));
    let checks: Vec<(&Analysis, &RelationChecks)> = analyses
        .iter()
        .filter_map(|analysis| Some((analysis, analysis.relation_checks.as_ref()?)))
        .collect();
    if !checks.is_empty() {
        page.paragraph(COUPLED);
        page.table(&coupled(&checks));
        page.paragraph(CHECKS);
        page.table(&other_sides(&checks));
        let partial = partial(&checks);
        if !partial.rows.is_empty() {
            page.table(&partial);
        }
    }
    if let Some(relation) = &input.study.relation {
        page.paragraph(&format!("Verdict: {}", relation.verdict));
    }
    if analyses.len() > 1 || input.study.relation.is_none() {
        for analysis in analyses {
            if let Some(relation) = &analysis.decoupled {
                page.paragraph(&format!("{}: {}", name(analysis), relation.sentence()));
            }
        }
    }
}

fn estimate(estimate: Estimate) -> String {
    with_interval(estimate.value, estimate.lower, estimate.upper)
}

fn decoupled(input: &ReportInput<'_>, interval: &str) -> Table {
    let mut table = Table::new(
        &format!("Structure and dynamics without shared speckles, {interval} intervals"),
        &[
            "temperature",
            "r",
            "p",
            "positions",
            "effective positions",
            "reliability of τ",
            "reliability of V",
            "r without noise",
        ],
    );
    let without_noise = |corrected: Option<Estimate>| {
        corrected.map_or_else(|| "not identifiable".to_owned(), estimate)
    };
    for analysis in &input.study.analyses {
        let Some(relation) = &analysis.decoupled else {
            continue;
        };
        table.rows.push(vec![
            name(analysis),
            estimate(relation.correlation),
            significant(relation.p_value, 2),
            relation.n.to_string(),
            significant(relation.n_effective, 2),
            significant(relation.tau_reliability, 2),
            significant(relation.fluctuation_reliability, 2),
            without_noise(relation.corrected),
        ]);
    }
    let Some(all) = &input.study.relation else {
        return table;
    };
    if all.decoupled.n_temperatures > 1 {
        let mut row = |what: &str, combined: &Combined, corrected: String| {
            table.rows.push(vec![
                format!(
                    "{what} (Q = {}, p = {})",
                    significant(combined.homogeneity, 2),
                    significant(combined.homogeneity_p, 2)
                ),
                estimate(combined.correlation),
                significant(combined.p_value, 2),
                String::new(),
                significant(combined.n_effective, 2),
                String::new(),
                String::new(),
                corrected,
            ]);
        };
        row(
            "all, combined",
            &all.decoupled,
            without_noise(all.corrected),
        );
        if let Some(apart) = &all.apart {
            row("all, separate spatial frequencies", apart, String::new());
        }
        if let Some(partial) = &all.partial {
            row("all, without all covariates", partial, String::new());
        }
    }
    table
}

fn coupled(checks: &[(&Analysis, &RelationChecks)]) -> Table {
    let mut table = Table::new(
        "The coupled rank correlation beside what it is without a relation",
        &[
            "temperature",
            "Spearman ρ, same pixels",
            "positions",
            "without a relation, maps as here",
            "without a relation, one τ and one V",
        ],
    );
    for (analysis, checks) in checks {
        table.rows.push(vec![
            name(analysis),
            significant(analysis.relation.spearman, 2),
            analysis.relation.n.to_string(),
            significant(checks.coupled.as_here, 2),
            significant(checks.coupled.one_tau, 2),
        ]);
    }
    table
}

fn other_sides(checks: &[(&Analysis, &RelationChecks)]) -> Table {
    let mut table = Table::new(
        "The relation from other sides",
        &[
            "temperature",
            "r, separate spatial frequencies",
            "p",
            "effective positions",
            "apart by (1/nm)",
            "Kendall τ_b",
            "p",
            "effective positions (Dutilleul)",
            "p, moved maps",
            "p, random phases",
            "largest at (steps)",
            "r there",
        ],
    );
    for (analysis, checks) in checks {
        let (r, p, n_effective) = checks.apart.map_or_else(
            || {
                (
                    "annulus too narrow".to_owned(),
                    String::new(),
                    String::new(),
                )
            },
            |apart| {
                (
                    estimate(apart.correlation),
                    significant(apart.p_value, 2),
                    significant(apart.n_effective, 2),
                )
            },
        );
        let [rows, cols] = checks.displaced.peak;
        table.rows.push(vec![
            name(analysis),
            r,
            p,
            n_effective,
            significant(checks.gap_per_nm, 2),
            significant(checks.kendall.kendall, 2),
            significant(checks.kendall.p_value, 2),
            significant(checks.n_effective_dutilleul, 2),
            significant(checks.p_torus, 2),
            significant(checks.p_phases, 2),
            format!("{rows}, {cols}").replace('-', "−"),
            significant(checks.displaced.peak_correlation, 2),
        ]);
    }
    table
}

fn partial(checks: &[(&Analysis, &RelationChecks)]) -> Table {
    let mut table = Table::new(
        "The relation without what covariates explain of τ and V",
        &["temperature", "without", "r", "p", "effective positions"],
    );
    for (analysis, checks) in checks {
        for left in &checks.partial {
            table.rows.push(vec![
                name(analysis),
                left.without.join(", "),
                estimate(left.correlation),
                significant(left.p_value, 2),
                significant(left.n_effective, 2),
            ]);
        }
    }
    table
}
