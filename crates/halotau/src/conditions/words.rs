//! The conditions in full sentences, with a code each.

use super::Conditions;
use crate::current::{LeftOut, Reason};
use crate::drift::speckle::Untracked;
use crate::drift::{Course, Drift, DriftMethod, DriftOrigin};
use crate::rank;
use crate::recipe::Recipe;
use crate::reduce::Reduction;
use crate::series::Warning;

/// Movement below this many steps is none that matters.
const MIN_TOLD: f64 = 0.5;

/// Change of the beam current that is told.
const MIN_CURRENT_SPREAD: f64 = 0.01;

/// Spread of the thickness proxy from the 5th to the 95th percentile that is told: V changes in proportion to it at most.
const MIN_THICKNESS_SPREAD: f64 = 0.2;

/// Scans that are listed by number before the rest is counted.
const MAX_LISTED: usize = 12;

/// All that a person should know about the conditions.
pub(super) fn warnings(reduction: &Reduction, conditions: &Conditions) -> Vec<Warning> {
    let mut warnings = Vec::new();
    if let Some(drift) = &conditions.drift {
        moved(reduction, drift, &mut warnings);
        contradictions(drift, &mut warnings);
        limits(reduction, conditions, &mut warnings);
    }
    left_out(conditions, &mut warnings);
    current(conditions, &mut warnings);
    region(reduction, conditions, &mut warnings);
    warnings
}

fn in_nm(reduction: &Reduction, steps: f64) -> String {
    if reduction.step_nm.is_finite() {
        format!(" ({:.2} nm)", steps * reduction.step_nm)
    } else {
        String::new()
    }
}

fn source(course: &Course) -> &'static str {
    match course.origin {
        DriftOrigin::Speckle => "speckle",
        DriftOrigin::Images => "images",
        DriftOrigin::Both => "speckle and images",
        DriftOrigin::Given => "the recipe",
        DriftOrigin::Unknown => "nothing",
    }
}

fn moved(reduction: &Reduction, drift: &Drift, warnings: &mut Vec<Warning>) {
    let told: Vec<String> = [("rows", &drift.row), ("columns", &drift.col)]
        .into_iter()
        .filter(|(_, course)| {
            course.is_certain() && course.range() > MIN_TOLD.max(4.0 * course.rms_error())
        })
        .map(|(direction, course)| {
            format!(
                "{:.2} ± {:.2} scan steps{} along {direction} (from {})",
                course.range(),
                course.rms_error(),
                in_nm(reduction, course.range()),
                source(course)
            )
        })
        .collect();
    if !told.is_empty() {
        warnings.push(Warning::new(
            "W071",
            format!(
                "Sample drift: the sample moved by {}. Whole steps are corrected by an index, the rest is kept in drift_row and drift_col.",
                told.join(" and ")
            ),
        ));
    }
}

fn contradictions(drift: &Drift, warnings: &mut Vec<Warning>) {
    for (direction, course) in [("rows", &drift.row), ("columns", &drift.col)] {
        if let (true, Some(found), Some(expected)) = (
            course.is_contradicted(),
            course.disagreement,
            course.expected_disagreement,
        ) {
            warnings.push(Warning::new(
                "W072",
                format!(
                    "Drift along {direction} is not the same from speckle as from images: they differ by {found:.2} scan steps, \
                     {expected:.2} were expected from their errors. The speckle is believed; the sample may have moved within scans."
                ),
            ));
        }
    }
}

fn limits(reduction: &Reduction, conditions: &Conditions, warnings: &mut Vec<Warning>) {
    let record_s = reduction.time.record_s();
    if let Some(limit_s) = conditions
        .drift_limit
        .after_s
        .filter(|limit| *limit < 10.0 * record_s)
    {
        warnings.push(Warning::new(
            "W074",
            format!(
                "Drift that is left would make perfectly still speckle forget itself in {limit_s:.0} s. A tau fitted to g above half of that has \
                 the flag drift_limited; the likelihood reckons with drift that is known."
            ),
        ));
    }
}

fn listed(times: &[usize]) -> String {
    let shown: Vec<String> = times
        .iter()
        .take(MAX_LISTED)
        .map(usize::to_string)
        .collect();
    let more = times.len().saturating_sub(MAX_LISTED);
    if more > 0 {
        format!("{} and {more} more", shown.join(", "))
    } else {
        shown.join(", ")
    }
}

fn left_out(conditions: &Conditions, warnings: &mut Vec<Warning>) {
    let reasons = [
        Reason::Blink,
        Reason::Doubled,
        Reason::Distorted,
        Reason::Lost,
    ];
    for reason in reasons {
        let of: Vec<&LeftOut> = conditions
            .left_out
            .iter()
            .filter(|out| out.reason == reason)
            .collect();
        let whole: Vec<usize> = of
            .iter()
            .filter(|out| out.n_frames.is_none())
            .map(|out| out.time)
            .collect();
        if let [only] = whole[..] {
            let change = of
                .iter()
                .find(|out| out.time == only)
                .map_or(0.0, |out| 100.0 * (out.relative_current - 1.0));
            let counts = if reason == Reason::Blink {
                format!(" (counts {change:+.0} %)")
            } else {
                String::new()
            };
            warnings.push(Warning::new(
                "W075",
                format!("Scan {only} is left out{counts}: {}.", reason.words()),
            ));
        } else if !whole.is_empty() {
            warnings.push(Warning::new(
                "W075",
                format!("Scans {} are left out: {}.", listed(&whole), reason.words()),
            ));
        }
        let frames: usize = of.iter().filter_map(|out| out.n_frames).sum();
        if frames > 0 {
            let times: Vec<usize> = of
                .iter()
                .filter(|out| out.n_frames.is_some())
                .map(|out| out.time)
                .collect();
            warnings.push(Warning::new(
                "W076",
                format!(
                    "{frames} frame{} of scan{} {} {} left out: {}.",
                    if frames == 1 { "" } else { "s" },
                    if times.len() == 1 { "" } else { "s" },
                    listed(&times),
                    if frames == 1 { "is" } else { "are" },
                    reason.words()
                ),
            ));
        }
    }
}

fn current(conditions: &Conditions, warnings: &mut Vec<Warning>) {
    let current = &conditions.current;
    if current.spread > MIN_CURRENT_SPREAD.max(3.0 * current.spread_expected) {
        warnings.push(Warning::new(
            "W077",
            format!(
                "Beam current: it varies by {:.1} % (standard deviation) from scan to scan. G and V are normalized frame by frame and do \
                 not depend on it.",
                100.0 * current.spread
            ),
        ));
    }
    if current.flicker > MIN_CURRENT_SPREAD {
        warnings.push(Warning::new(
            "W077",
            format!(
                "Beam flicker: the current varies by {:.1} % from frame to frame, beyond counting noise. G and V are normalized frame by \
                 frame and do not depend on it.",
                100.0 * current.flicker
            ),
        ));
    }
    for jump in &current.jumps {
        warnings.push(Warning::new(
            "W078",
            format!(
                "Beam current: it jumps by {:+.0} % at scan {} and stays there.",
                100.0 * (jump.ratio - 1.0),
                jump.time
            ),
        ));
    }
}

fn region(reduction: &Reduction, conditions: &Conditions, warnings: &mut Vec<Warning>) {
    let region = &conditions.region;
    let n_vacuum = region.vacuum.iter().filter(|&&vacuum| vacuum).count();
    let unit = if reduction.step_nm.is_finite() {
        "nm"
    } else {
        "scan steps"
    };
    if n_vacuum > 0 {
        let n_masked = region.masked.iter().filter(|&&masked| masked).count();
        warnings.push(Warning::new(
            "W079",
            format!(
                "Vacuum edge: {n_vacuum} of {} positions see vacuum. A margin of {:.2} {unit} along the edge is left out as well; \
                 {n_masked} positions in all are not looked at (scan.edge_margin_nm, scan.vacuum).",
                region.vacuum.len(),
                region.margin
            ),
        ));
    }
    let proxies: Vec<f64> = region
        .thickness_proxy
        .iter()
        .zip(&region.masked)
        .filter(|(proxy, masked)| !**masked && proxy.is_finite())
        .map(|(proxy, _)| *proxy)
        .collect();
    let (thin, thick) = (
        rank::quantile(&proxies, 0.05),
        rank::quantile(&proxies, 0.95),
    );
    if thick - thin > MIN_THICKNESS_SPREAD {
        warnings.push(Warning::new(
            "W080",
            format!(
                "Thickness: the intensity of the ring varies from {thin:.2} to {thick:.2} of its median over the region (5th to 95th \
                 percentile). Contrast and V depend on thickness; thickness_proxy is kept beside the maps, and scan.thickness_window \
                 narrows the region."
            ),
        ));
    }
}

/// Why drift could not be measured, where that matters.
pub(super) fn untracked(
    recipe: &Recipe,
    conditions: &Conditions,
    why: Option<Untracked>,
) -> Option<Warning> {
    if !matches!(
        recipe.drift.method,
        DriftMethod::Auto | DriftMethod::Speckle | DriftMethod::Images
    ) {
        return None;
    }
    let drift = conditions.drift.as_ref()?;
    let blind: Vec<&str> = [("rows", &drift.row), ("columns", &drift.col)]
        .into_iter()
        .filter(|(_, course)| !course.is_certain())
        .map(|(direction, _)| direction)
        .collect();
    if blind.is_empty() {
        return None;
    }
    let because = match why {
        // Too few scans or positions to drift visibly.
        Some(Untracked::TooFew) if recipe.drift.method == DriftMethod::Auto => return None,
        Some(Untracked::TooFew) => "there are too few scans or positions",
        Some(Untracked::NoLikeness) => "consecutive scans share no speckle",
        Some(Untracked::NoOverlap { still: true }) => {
            return Some(Warning::new(
                "W073",
                format!(
                    "Drift along {} could not be measured below half of a step, because neighboring positions share no speckle (the step is wider than \
                     the probe). Scans far apart are alike at the same position, so that it is not more than that; none is corrected.",
                    blind.join(" and ")
                ),
            ));
        }
        Some(Untracked::NoOverlap { still: false }) => {
            "neighboring positions share no speckle (the step is wider than the probe)"
        }
        None => "the images show no structure",
    };
    Some(Warning::new(
        "W073",
        format!(
            "Drift along {} could not be measured, because {because} and no edge shows it; none is corrected.",
            blind.join(" and ")
        ),
    ))
}
