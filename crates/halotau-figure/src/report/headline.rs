//! What is the result, in plain sentences, and how far can it be trusted?

use std::fmt::Write as _;

use halotau::analysis::{Analysis, Study};

use super::ReportInput;
use super::html::Page;
use crate::caption::level;
use crate::figures::{average_name, energy_text, relation_text};
use crate::scale::short_number;
use crate::svg::escape;

/// How far the maps can be trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Light {
    /// Nothing speaks against them.
    Green,
    /// They hold with conditions.
    Yellow,
    /// Too little is known to build on them.
    Red,
}

impl Light {
    fn class(self) -> &'static str {
        match self {
            Self::Green => "green",
            Self::Yellow => "yellow",
            Self::Red => "red",
        }
    }

    /// A sign beside the color.
    fn words(self) -> &'static str {
        match self {
            Self::Green => "● Good",
            Self::Yellow => "▲ With conditions",
            Self::Red => "■ Not reliable",
        }
    }
}

/// More lower limits than this share turn the light yellow: the mean of tau then rests on extrapolation.
const MANY_CENSORED: f64 = 1.0 / 3.0;
/// More positions without a number than this share turn the light yellow.
const MANY_BAD: f64 = 0.1;

/// The light of a study with the reasons for it.
pub fn light(study: &Study) -> (Light, Vec<String>) {
    if study.analyses.is_empty() {
        return (Light::Red, vec!["There is no result.".to_owned()]);
    }
    // Of the analyses that meet a condition: their names with the share that met it.
    let where_holds = |condition: &dyn Fn(&Analysis) -> Option<f64>| -> Option<String> {
        let names: Vec<String> = study
            .analyses
            .iter()
            .filter_map(|analysis| {
                let share = condition(analysis)?;
                Some(format!("{} ({})", name(analysis), percent(share)))
            })
            .collect();
        (!names.is_empty()).then(|| names.join(", "))
    };
    let mut light = Light::Green;
    let mut reasons = Vec::new();
    let mut raise = |to: Light, places: Option<String>, reason: &str| {
        if let Some(places) = places {
            light = light.max(to);
            reasons.push(format!("{reason} at {places}."));
        }
    };
    let too_bad = |analysis: &Analysis| {
        analysis.summary.n_valid == 0 || bad_share(analysis) > analysis.recipe.output.max_bad
    };
    raise(
        Light::Red,
        where_holds(&|analysis| too_bad(analysis).then(|| bad_share(analysis))),
        "Too many positions have no number",
    );
    raise(
        Light::Yellow,
        where_holds(&|analysis| {
            let share = bad_share(analysis);
            (!too_bad(analysis) && share > MANY_BAD).then_some(share)
        }),
        "Many positions have no number",
    );
    raise(
        Light::Yellow,
        where_holds(&|analysis| {
            let share = censored_share(analysis);
            (share > 0.5).then_some(share)
        }),
        "All averages, the median too, rest on extrapolation, because more than half of the relaxation times are lower limits,",
    );
    raise(
        Light::Yellow,
        where_holds(&|analysis| {
            let share = censored_share(analysis);
            (share > MANY_CENSORED && share <= 0.5).then_some(share)
        }),
        "Prefer the median to the means, because many relaxation times are lower limits,",
    );
    (light, reasons)
}

fn bad_share(analysis: &Analysis) -> f64 {
    let n = analysis.summary.n_positions.max(1) as f64;
    1.0 - analysis.summary.n_valid as f64 / n
}

/// Share of the valid positions whose tau is a lower limit.
pub(super) fn censored_share(analysis: &Analysis) -> f64 {
    analysis.summary.n_censored as f64 / analysis.summary.n_valid.max(1) as f64
}

/// "42 %"
pub(super) fn percent(share: f64) -> String {
    if share > 0.0 && share < 0.005 {
        return "<\u{a0}1\u{a0}%".to_owned();
    }
    format!("{:.0}\u{a0}%", 100.0 * share)
}

/// "633 K", or the name of the series.
pub(super) fn name(analysis: &Analysis) -> String {
    if analysis.temperature_k.is_finite() {
        format!("{}\u{a0}K", short_number(analysis.temperature_k))
    } else {
        analysis.name.clone()
    }
}

pub(super) fn write(page: &mut Page, input: &ReportInput<'_>) {
    let (light, reasons) = light(input.study);
    page.raw("<header>");
    page.raw(&format!("<h1>{}</h1>", escape(&input.title)));
    page.raw(&format!(
        "<section class=\"headline {}\" aria-label=\"Headline\">\n<p class=\"light\"><strong>{}</strong></p>\n<ul>",
        light.class(),
        light.words()
    ));
    for sentence in sentences(input).into_iter().chain(reasons) {
        page.raw(&format!("<li>{}</li>", escape(&sentence)));
    }
    let n_warnings = super::sections::all_warnings(input).len();
    if n_warnings > 0 {
        let (noun, verb) = if n_warnings == 1 {
            ("warning", "is")
        } else {
            ("warnings", "are")
        };
        page.raw(&format!(
            "<li>There {verb} <a href=\"#warnings\">{n_warnings} {noun}</a>.</li>"
        ));
    }
    page.raw("</ul>\n</section>\n</header>");
}

fn sentences(input: &ReportInput<'_>) -> Vec<String> {
    let study = input.study;
    let mut sentences = Vec::new();
    let (Some(first), Some(last)) = (study.analyses.first(), study.analyses.last()) else {
        return sentences;
    };
    let sample = match first.recipe.sample.composition.as_str() {
        "" => "The sample",
        composition => composition,
    };
    let mut what = format!("{sample} at ");
    if study.analyses.len() == 1 {
        what.push_str(&name(first));
    } else {
        let _ = write!(
            what,
            "{} temperatures from {} to {}",
            study.analyses.len(),
            name(first),
            name(last)
        );
    }
    let n_positions: usize = study.analyses.iter().map(|a| a.summary.n_positions).sum();
    let n_valid: usize = study.analyses.iter().map(|a| a.summary.n_valid).sum();
    let _ = write!(
        what,
        ": {n_valid} of {n_positions} positions have a relaxation time."
    );
    sentences.push(what);
    if let Some(fit) = study
        .arrhenius
        .iter()
        .find(|fit| fit.average == study.headline)
    {
        sentences.push(format!(
            "The activation energy is {} kJ/mol ({} interval), from the {} of τ at {} temperatures.",
            energy_text(fit),
            level(&first.recipe),
            average_name(fit.average),
            fit.points.len()
        ));
    }
    if let Some(alike) = super::energy::alike_sentence(study) {
        sentences.push(alike);
    }
    sentences.extend(super::q_dependence::sentence(input));
    sentences.extend(super::heterogeneity::sentence(input));
    let relations: Vec<String> = study
        .analyses
        .iter()
        .map(|analysis| format!("{} at {}", relation_text(analysis), name(analysis)))
        .collect();
    sentences.push(format!(
        "Spearman's rank correlation of relaxation time and azimuthal variance from the same pixels: {}. Shared speckles make part or all \
         of it, so that it has no significance.",
        relations.join("; ")
    ));
    if let Some(relation) = &study.relation {
        sentences.push(relation.verdict.clone());
    }
    let censored: Vec<String> = study
        .analyses
        .iter()
        .map(|analysis| {
            format!(
                "{} at {}",
                percent(censored_share(analysis)),
                name(analysis)
            )
        })
        .collect();
    sentences.push(format!(
        "Relaxation times that are only lower limits, because they lie beyond the record: {}.",
        censored.join("; ")
    ));
    sentences
}
