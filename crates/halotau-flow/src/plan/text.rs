//! A plan as a page for the one who has the beam time.

use std::fmt::Write as _;

use halotau::analysis::Estimate;
use halotau::plan::{Aim, Change, Estimator, ExpectedMaps, Plan, PlanSettings};

use super::Predicted;

pub(super) fn text(predicted: &Predicted) -> String {
    let (settings, plan) = (&predicted.settings, &predicted.plan);
    let mut text = head(settings, plan);
    if let Some(taken) = &predicted.taken {
        let _ = writeln!(text, "taken     {taken}");
    }
    text.push('\n');
    text.push_str(&temperatures(plan));
    text.push('\n');
    text.push_str(&answers(settings, plan));
    text.push('\n');
    text.push_str(&changes(plan));
    text.push('\n');
    text.push_str(&advice(settings, plan));
    for note in &plan.notes {
        let _ = writeln!(text, "note: {note}");
    }
    text
}

fn head(settings: &PlanSettings, plan: &Plan) -> String {
    let expected = &plan.expected;
    let maps = &expected.temperatures[plan.reference];
    let estimator = match settings.estimator {
        Estimator::Paper => "the paper's fit",
        Estimator::PairWeighted => "least squares weighted with pairs",
        Estimator::PixelLikelihood => "the likelihood of the pixel mean",
        Estimator::Likelihood => "the likelihood of speckle modes",
    };
    let ring = &expected.ring;
    let range = settings.tau_range_per_nm;
    format!(
        "plan      {} x {} positions, step {} nm: {:.1} x {:.1} nm under a probe of {:.2} nm\n\
         scans     {}, one every {} s, {} s at {} K\n\
         beam      {} pA for {} ms: {:.0} electrons a pattern, {:.1} in a ring pixel, {} e/Å² in all\n\
         ring      {}-{} 1/nm: {} pixels, {:.0} speckles of {:.1} pixels; tau by {estimator}\n",
        settings.n_rows,
        settings.n_cols,
        settings.step_nm,
        settings.step_nm * settings.n_rows as f64,
        settings.step_nm * settings.n_cols as f64,
        expected.probe_fwhm_nm,
        settings.n_times,
        number(maps.step_s),
        number(maps.record_s),
        maps.temperature_k,
        settings.probe_current_pa,
        settings.dwell_at_ms(plan.reference),
        maps.dose.electrons,
        maps.electrons_per_pixel,
        number(maps.dose.total_per_a2),
        range.min_per_nm,
        range.max_per_nm,
        ring.n_pixels,
        ring.n_speckle_2,
        expected.speckle_px,
    )
}

fn temperatures(plan: &Plan) -> String {
    let mut text = "  T (K)  tau (s)  error of tau   interval (s)  too long  too short  reliable tau     V  effective positions  power\n".to_owned();
    for maps in &plan.expected.temperatures {
        let interval = maps.tau_interval_s.map(number).join("-");
        let _ = writeln!(
            text,
            "{:>7}{:>9}{:>14}{:>15}{:>10}{:>11}{:>14.2}{:>6.2}{:>21.0}{:>7}",
            maps.temperature_k,
            number(maps.tau_s),
            percent(maps.ln_tau_error),
            interval,
            percent(maps.beyond_record),
            percent(maps.below_step),
            maps.tau_reliability,
            maps.fluctuation_reliability,
            maps.relation.n_effective,
            percent(maps.relation.power),
        );
    }
    text
}

fn answers(settings: &PlanSettings, plan: &Plan) -> String {
    let maps: &ExpectedMaps = &plan.expected.temperatures[plan.reference];
    let relation = &maps.relation;
    let level = percent(settings.level);
    let mut text = format!(
        "relation  a true rank correlation of {} at {} K will read r = {}, and be found in {} of experiments\n",
        signed(settings.glass.spearman),
        maps.temperature_k,
        interval(&relation.correlation, 2),
        percent(relation.power),
    );
    match &relation.corrected {
        Some(corrected) => {
            let _ = writeln!(
                text,
                "          without the noise of the maps: {}",
                interval(corrected, 2)
            );
        }
        None => text
            .push_str("          how strong it is will not be told: the maps are mostly noise\n"),
    }
    let _ = match relation.detectable {
        Some(least) => writeln!(
            text,
            "          the weakest that four of five experiments find: {least:.2}"
        ),
        None => writeln!(
            text,
            "          not even a perfect relation is found in four of five experiments"
        ),
    };
    match &plan.expected.activation_energy_kj_per_mol {
        Some(energy) => {
            let _ = writeln!(
                text,
                "energy    {:.0} ± {:.0} kJ/mol, {level} between {:.0} and {:.0}",
                energy.value, energy.error, energy.lower, energy.upper
            );
        }
        None => text.push_str("energy    needs at least two temperatures\n"),
    }
    text
}

fn changes(plan: &Plan) -> String {
    let maps = &plan.expected.temperatures[plan.reference];
    let width = plan
        .changes
        .iter()
        .map(|change| change.what.chars().count())
        .max()
        .unwrap_or(0)
        .max(10);
    let energy = |error: Option<f64>| error.map_or("-".to_owned(), |error| format!("{error:.1}"));
    let mut text = format!(
        "{:<width$}  time  dose  error of tau  power  error of E  costs\n",
        "change",
    );
    let planned = plan.expected.activation_energy_kj_per_mol;
    let _ = writeln!(
        text,
        "{:<width$}{:>6}{:>6}{:>14}{:>7}{:>12}",
        "as planned",
        "1",
        "1",
        percent(maps.ln_tau_error),
        percent(maps.relation.power),
        energy(planned.map(|energy| energy.error)),
    );
    for change in &plan.changes {
        let Change {
            what,
            price,
            time,
            dose,
            ln_tau_error,
            power,
            activation_energy_error_kj_per_mol,
            ..
        } = change;
        let _ = writeln!(
            text,
            "{what:<width$}{:>6}{:>6}{:>14}{:>7}{:>12}  {price}",
            number(*time),
            number(*dose),
            percent(*ln_tau_error),
            percent(*power),
            energy(*activation_energy_error_kj_per_mol),
        );
    }
    text
}

fn advice(settings: &PlanSettings, plan: &Plan) -> String {
    let goal = &settings.goal;
    let mut text = String::new();
    for advice in &plan.advice {
        let (name, wanted) = match advice.aim {
            Aim::Tau => (
                "tau of a position",
                format!("an error of {}", percent(goal.ln_tau_error)),
            ),
            Aim::Relation => (
                "the relation",
                format!("a power of {}", percent(goal.power)),
            ),
            Aim::Energy => (
                "the energy",
                format!(
                    "an error of {:.0} kJ/mol",
                    goal.activation_energy_error_kj_per_mol
                ),
            ),
        };
        let state = if advice.reached {
            format!("{wanted} is reached")
        } else {
            format!("{wanted} is not reached")
        };
        let change = advice.first.and_then(|first| plan.changes.get(first));
        let first = match change {
            _ if advice.reached => String::new(),
            Some(change) => format!("; change first: {}", change.what),
            None => "; no single change helps clearly".to_owned(),
        };
        let needs = match advice.aim {
            Aim::Tau => plan
                .needs
                .n_times
                .map(|n_times| format!("; with more scans alone it takes {n_times}")),
            Aim::Relation => plan
                .needs
                .step_nm
                .map(|step_nm| format!("; with the step alone it takes {} nm", number(step_nm))),
            Aim::Energy => plan.needs.n_fields.map(|n_fields| {
                format!("; with more fields alone it takes {n_fields} a temperature")
            }),
        };
        let _ = writeln!(
            text,
            "For {name}, {state}{first}{}.",
            needs.unwrap_or_default()
        );
    }
    text
}

/// A number with four digits.
fn number(value: f64) -> String {
    if !value.is_finite() {
        return "-".to_owned();
    }
    if value.abs() >= 1e5 {
        return format!("{value:.1e}");
    }
    let rounded: f64 = format!("{value:.3e}").parse().unwrap_or(value);
    rounded.to_string()
}

fn percent(share: f64) -> String {
    let percent = 100.0 * share;
    if percent > 0.0 && percent < 0.5 {
        return "<1 %".to_owned();
    }
    format!("{percent:.0} %")
}

/// A minus as it is printed.
fn signed(value: f64) -> String {
    value.to_string().replace('-', "−")
}

fn interval(estimate: &Estimate, digits: usize) -> String {
    let Estimate {
        value,
        lower,
        upper,
        ..
    } = estimate;
    format!("{value:.digits$} [{lower:.digits$}, {upper:.digits$}]").replace('-', "−")
}
