//! The parts of the report after the headline.

use halotau::analysis::Estimate;
use halotau::beam::Dose;
use halotau::drift::{Course, Drift};
use halotau::quality::Quality;
use halotau::series::Warning;

use super::ReportInput;
use super::dynamics;
use super::headline::{censored_share, name, percent};
use super::html::{Page, Table};
use super::methods::{BIBTEX, CITATION};
use super::{energy, heterogeneity, q_dependence, relation};
use crate::caption::level;
use crate::scale::{short_number, significant, with_interval};
use crate::svg::{POINTS_PER_MM, escape};

/// Links to the parts that are there.
pub(super) fn contents(page: &mut Page, input: &ReportInput<'_>) {
    page.raw("<nav aria-label=\"Contents\"><ul>");
    let parts = [
        ("figures", "Figures", !input.figures.is_empty()),
        ("results", "Numbers", true),
        ("dynamics", "Beyond one τ", dynamics::is_there(input)),
        ("truth", "Truth", input.truth.is_some()),
        (
            "comparison",
            "Paper and recommended",
            !input.comparison.is_empty(),
        ),
        ("warnings", "Warnings", true),
        ("flags", "Flags", true),
        ("methods", "Methods", true),
        ("provenance", "Provenance", true),
    ];
    for (anchor, text, _) in parts.iter().filter(|(.., there)| *there) {
        page.raw(&format!("<li><a href=\"#{anchor}\">{text}</a></li>"));
    }
    page.raw("</ul></nav>");
}

/// Every figure with its caption.
pub(super) fn figures(page: &mut Page, input: &ReportInput<'_>) {
    if input.figures.is_empty() {
        return;
    }
    page.heading("figures", "Figures");
    for (index, figure) in input.figures.iter().enumerate() {
        // The number keeps ids of glyphs apart, whatever the figures are called.
        let drawing = figure.svg.to_element(&format!("f{}-", index + 1));
        page.raw(&format!(
            "<figure id=\"figure-{}\">\n<div class=\"paper\" style=\"--millimeters:{}\">{drawing}</div>\n<figcaption><strong>Figure {}. {}.</strong> {}</figcaption>\n</figure>",
            index + 1,
            (figure.svg.width() / POINTS_PER_MM).round(),
            index + 1,
            escape(&figure.title),
            escape(&figure.caption)
        ));
    }
}

fn estimate(estimate: Estimate) -> String {
    with_interval(estimate.value, estimate.lower, estimate.upper)
}

/// Averages for each temperature, energies, and recovered numbers beside the truth.
pub(super) fn results(page: &mut Page, input: &ReportInput<'_>) {
    page.heading("results", "Numbers");
    let study = input.study;
    let interval = study
        .analyses
        .first()
        .map(|analysis| level(&analysis.recipe))
        .unwrap_or_default();
    let mut dynamics = Table::new(
        &format!("Relaxation time, averages over positions with {interval} intervals"),
        &[
            "temperature",
            "positions",
            "valid",
            "lower limits",
            "log mean (s)",
            "mean (s)",
            "Kaplan–Meier median (s)",
            "ensemble curve (s)",
            "log mean within the record (s)",
            "spread of ln τ",
        ],
    );
    let mut structure = Table::new(
        &format!(
            "Azimuthal variance, contrast and rank correlation, with {interval} intervals of means; V is lower than that of many speckles \
             because the mean of a ring holds a share of its own fluctuations; ρ holds what shared speckles make of it"
        ),
        &[
            "temperature",
            "mean V",
            "mean V of many speckles",
            "spread of V",
            "mean contrast",
            "Spearman ρ",
            "n",
        ],
    );
    for analysis in &study.analyses {
        let summary = &analysis.summary;
        dynamics.rows.push(vec![
            name(analysis),
            summary.n_positions.to_string(),
            summary.n_valid.to_string(),
            percent(censored_share(analysis)),
            estimate(summary.tau_log_mean_s),
            estimate(summary.tau_mean_s),
            estimate(summary.tau_median_s),
            estimate(summary.tau_ensemble_s),
            estimate(summary.tau_within_record_s),
            significant(summary.ln_tau_sd, 2),
        ]);
        structure.rows.push(vec![
            name(analysis),
            estimate(summary.fluctuation_mean),
            estimate(summary.fluctuation_unbiased_mean),
            significant(summary.fluctuation_sd, 2),
            estimate(summary.contrast_mean),
            significant(analysis.relation.spearman, 2),
            analysis.relation.n.to_string(),
        ]);
    }
    page.table(&dynamics);
    page.table(&structure);
    q_dependence::write(page, input);
    heterogeneity::write(page, input);
    relation::write(page, input);
    energy::write(page, input, &interval);
    if !study.zero_dose.is_empty() {
        page.table(&without_beam(input, &interval));
    }
    if let Some(microscope) = &input.microscope {
        page.table(microscope);
    }
    page.table(&beam_and_drift(input));
    if let Some(truth) = &input.truth {
        page.heading("truth", "Recovered numbers beside the truth");
        page.paragraph("The data are simulated: their truth is known.");
        page.table(truth);
    }
}

/// Relaxation without beam, where one temperature was measured at several dose rates.
fn without_beam(input: &ReportInput<'_>, interval: &str) -> Table {
    let mut table = Table::new(
        &format!(
            "Relaxation rate at no dose rate, with {interval} interval: 1/τ against electrons a second and position"
        ),
        &[
            "temperature",
            "series",
            "1/τ₀ (1/s)",
            "τ₀ (s)",
            "increase a unit of dose rate",
            "verdict",
        ],
    );
    for fit in &input.study.zero_dose {
        table.rows.push(vec![
            format!("{} K", short_number(fit.temperature_k)),
            fit.points.len().to_string(),
            with_interval(
                fit.rate_per_s,
                fit.rate_interval_per_s[0],
                fit.rate_interval_per_s[1],
            ),
            significant(fit.tau_s, 3),
            significant(fit.slope, 2),
            if fit.dominated_by_beam {
                "dominated by the beam"
            } else {
                "not dominated by the beam"
            }
            .to_owned(),
        ]);
    }
    table
}

/// What the microscope did, in numbers.
fn beam_and_drift(input: &ReportInput<'_>) -> Table {
    let mut table = Table::new(
        "Beam, drift and what was left out",
        &[
            "temperature",
            "drift along rows (steps)",
            "along columns (steps)",
            "drift-limited τ (s)",
            "spread of the beam current",
            "scans left out",
            "positions not looked at",
            "dose (e/Å²)",
            "dose rate (e/Å² s)",
        ],
    );
    for analysis in &input.study.analyses {
        let conditions = &analysis.conditions;
        let course = |pick: fn(&Drift) -> &Course| {
            conditions
                .drift
                .as_ref()
                .map(pick)
                .filter(|course| course.is_certain())
                .map_or_else(
                    || "not known".to_owned(),
                    |course| {
                        format!(
                            "{} ± {}",
                            significant(course.range(), 2),
                            significant(course.rms_error(), 1)
                        )
                    },
                )
        };
        let n_out = conditions
            .left_out
            .iter()
            .filter(|out| out.n_frames.is_none());
        let masked = conditions.region.masked.iter().filter(|&&masked| masked);
        let dose = |value: fn(&Dose) -> f64| {
            conditions.dose.as_ref().map_or_else(
                || "not known".to_owned(),
                |dose| significant(value(dose), 2),
            )
        };
        table.rows.push(vec![
            name(analysis),
            course(|drift| &drift.row),
            course(|drift| &drift.col),
            conditions
                .drift_limit
                .after_s
                .map_or_else(|| "not known".to_owned(), |limit| significant(limit, 2)),
            percent(conditions.current.spread),
            n_out.count().to_string(),
            masked.count().to_string(),
            dose(|dose| dose.total_per_a2),
            dose(|dose| dose.rate_per_a2_s),
        ]);
    }
    table
}

/// The same data with the choices of both profiles.
pub(super) fn comparison(page: &mut Page, input: &ReportInput<'_>) {
    if input.comparison.is_empty() {
        return;
    }
    page.heading(
        "comparison",
        "The choices of the paper and the recommended ones",
    );
    page.paragraph(
        "The same data, analyzed twice. The profile \"paper\" sets the published choices; \"recommended\" the estimators with the least bias \
         and scatter in simulation. Where they differ, the choice matters more than the interval says.",
    );
    let mut table = Table::new(
        "Paper against recommended",
        &[
            "quantity",
            "temperature",
            "paper",
            "recommended",
            "difference",
        ],
    );
    for row in &input.comparison {
        let difference = row.recommended / row.paper - 1.0;
        // A ratio says nothing where a number is near zero or may change its sign, as a correlation does.
        let difference = if difference.is_finite() && row.paper.abs() > 1.0 {
            format!("{:+.1} %", 100.0 * difference)
        } else {
            let difference = row.recommended - row.paper;
            let sign = if difference > 0.0 { "+" } else { "" };
            format!("{sign}{}", significant(difference, 2))
        };
        table.rows.push(vec![
            row.quantity.clone(),
            row.temperature_k
                .map_or_else(|| "all".to_owned(), |t| format!("{} K", short_number(t))),
            significant(row.paper, 3),
            significant(row.recommended, 3),
            difference.replace('-', "−"),
        ]);
    }
    page.table(&table);
}

/// Warnings of the input and of every analysis with where they belong; one that all share is said once.
pub(super) fn all_warnings<'a>(input: &'a ReportInput<'_>) -> Vec<(String, &'a Warning)> {
    let mut all: Vec<(Vec<String>, &Warning)> = Vec::new();
    let of_analyses = input.study.analyses.iter().flat_map(|analysis| {
        let place = name(analysis);
        analysis
            .warnings
            .iter()
            .map(move |warning| (place.clone(), warning))
    });
    let of_input = input
        .warnings
        .iter()
        .map(|warning| (String::new(), warning));
    for (place, warning) in of_input.chain(of_analyses) {
        match all.iter_mut().find(|(_, known)| *known == warning) {
            Some((places, _)) => places.push(place),
            None => all.push((vec![place], warning)),
        }
    }
    all.into_iter()
        .map(|(mut places, warning)| {
            places.retain(|place| !place.is_empty());
            (places.join(", "), warning)
        })
        .collect()
}

/// Warnings in words with their codes.
pub(super) fn warnings(page: &mut Page, input: &ReportInput<'_>) {
    page.heading("warnings", "Warnings");
    let all = all_warnings(input);
    if all.is_empty() {
        page.paragraph("There are none.");
        return;
    }
    page.raw("<ul class=\"warnings\">");
    for (places, warning) in all {
        let places = if places.is_empty() {
            String::new()
        } else {
            format!("<strong>{}:</strong> ", escape(&places))
        };
        page.raw(&format!(
            "<li><code>{}</code> {places}{}</li>",
            escape(&warning.code),
            escape(&crate::caption::capitalized(&warning.text))
        ));
    }
    page.raw("</ul>");
}

/// What a flag means for the reader.
fn flag_meaning(name: &str) -> &'static str {
    match name {
        "not_computed" => "Nothing was computed here.",
        "masked" => "Left out by the user, by an edge or by a mask.",
        "few_frames" => "Too few valid scans for a fit.",
        "zero_intensity" => "At least one scan has no counts in the ring; it was left out.",
        "nonfinite_input" => "Samples that are not numbers were seen and left out.",
        "saturated" => {
            "More than 0.1 % of the samples of the ring are at the highest value of their type: G and V are too low."
        }
        "low_counts" => {
            "Shot noise is more than half of the variance on the ring: V depends on its correction."
        }
        "drift" => {
            "The counts change by more than 20 % over the record, beyond the beam current: thickness or focus may have changed."
        }
        "fit_no_converge" => "The fit did not converge.",
        "fit_at_bound" => {
            "A fitted parameter ended at its bound: its value is the bound, not a measurement."
        }
        "tau_lt_step" => "τ is below two time steps: the decay was not resolved.",
        "tau_gt_window" => {
            "τ is beyond the record, or its interval is open above: a lower limit, dotted on maps."
        }
        "no_decay" => "A flat curve explains the data as well as a decay.",
        "poor_fit" => "The curve is not of the fitted form.",
        "ill_conditioned" => {
            "The parameters cannot be told apart; their errors are large and linked."
        }
        "partial_data" => "Frames are missing or left out; the others were used.",
        "drift_limited" => {
            "τ is above half of what drift that is left would give perfectly still speckle: it says more about the stage than about the glass. The likelihood reckons with a drift that is known, and does not set this flag there."
        }
        "changes_with_age" => {
            "The late half of the record differs from the early one by more than chance in 99 of 100 stationary records."
        }
        _ => "Not described in this version of the report.",
    }
}

/// Every flag in words with how many positions have it.
pub(super) fn flags(page: &mut Page, input: &ReportInput<'_>) {
    page.heading("flags", "Flags of positions");
    page.paragraph(
        "A position can have several flags. \"No number\" is left out of every statistic and hatched on maps; \"lower limit\" and \"note\" leave \
         the number standing, with the condition said here.",
    );
    let mut columns = vec!["flag".to_owned(), "kind".to_owned(), "meaning".to_owned()];
    columns.extend(input.study.analyses.iter().map(name));
    let mut table = Table {
        caption: "Positions with each flag".to_owned(),
        columns,
        rows: Vec::new(),
    };
    for (flag, flag_name) in Quality::NAMES {
        let kind = if flag.is_bad() {
            "no number"
        } else if flag.is_censored() {
            "lower limit"
        } else {
            "note"
        };
        let mut row = vec![
            flag_name.to_owned(),
            kind.to_owned(),
            flag_meaning(flag_name).to_owned(),
        ];
        for analysis in &input.study.analyses {
            let count = analysis
                .summary
                .flag_counts
                .iter()
                .find(|(name, _)| name == flag_name)
                .map_or(0, |(_, count)| *count);
            row.push(count.to_string());
        }
        table.rows.push(row);
    }
    page.table(&table);
}

/// The methods paragraph and how to cite.
pub(super) fn methods(page: &mut Page, input: &ReportInput<'_>) {
    page.heading("methods", "Methods, ready to paste");
    page.raw("<div class=\"copyable prose\">");
    page.raw(&format!(
        "<pre tabindex=\"0\" aria-label=\"methods paragraph\">{}</pre></div>",
        escape(&input.methods)
    ));
    if !input.methods.contains(CITATION) {
        page.paragraph(CITATION);
    }
    page.preformatted(BIBTEX, "citation in BibTeX");
}

/// Where the numbers come from and how to get them again.
pub(super) fn provenance(page: &mut Page, input: &ReportInput<'_>) {
    page.heading("provenance", "Provenance");
    let mut table = Table::new("Program, input and command", &["what", "value"]);
    for (key, value) in &input.provenance {
        table.rows.push(vec![key.clone(), value.clone()]);
    }
    page.table(&table);
    page.raw("<h3>Recipe</h3>");
    page.preformatted(&input.recipe_toml, "effective recipe");
}
