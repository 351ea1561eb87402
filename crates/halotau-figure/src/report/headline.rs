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
    let mut light = Light::Green;
    let mut reasons = Vec::new();
    if study.analyses.is_empty() {
        return (Light::Red, vec!["There is no result.".to_owned()]);
    }
    let mut raise = |to: Light, reason: String| {
        light = light.max(to);
        reasons.push(reason);
    };
    for analysis in &study.analyses {
        let name = name(analysis);
        let (bad, censored) = (bad_share(analysis), censored_share(analysis));
        let most = analysis.recipe.output.max_bad;
        if analysis.summary.n_valid == 0 {
            raise(Light::Red, format!("At {name} no position has a number."));
        } else if bad > most {
            raise(
                Light::Red,
                format!(
                    "At {name} {} of the positions have no number.",
                    percent(bad)
                ),
            );
        } else if bad > MANY_BAD {
            raise(
                Light::Yellow,
                format!(
                    "At {name} {} of the positions have no number.",
                    percent(bad)
                ),
            );
        }
        if censored > 0.5 {
            raise(
                Light::Yellow,
                format!(
                    "At {name} more than half of the relaxation times are lower limits ({}): averages there, the median too, rest on extrapolation.",
                    percent(censored)
                ),
            );
        } else if censored > MANY_CENSORED {
            raise(
                Light::Yellow,
                format!(
                    "At {name} {} of the relaxation times are lower limits: prefer the median to the means.",
                    percent(censored)
                ),
            );
        }
    }
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
        return "< 1 %".to_owned();
    }
    format!("{:.0} %", 100.0 * share)
}

/// "633 K", or the name of the series.
pub(super) fn name(analysis: &Analysis) -> String {
    if analysis.temperature_k.is_finite() {
        format!("{} K", short_number(analysis.temperature_k))
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
    for sentence in sentences(input.study).into_iter().chain(reasons) {
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

fn sentences(study: &Study) -> Vec<String> {
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
    let relations: Vec<String> = study
        .analyses
        .iter()
        .map(|analysis| format!("{} at {}", relation_text(analysis), name(analysis)))
        .collect();
    sentences.push(format!(
        "Spearman's rank correlation of relaxation time and azimuthal variance: {}. Its significance is not judged here.",
        relations.join("; ")
    ));
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
