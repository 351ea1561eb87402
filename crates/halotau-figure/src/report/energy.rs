//! How high is the barrier, and would it be as high had all temperatures been measured alike?

use halotau::alike::Alike;
use halotau::analysis::Study;
use halotau::arrhenius::{ArrheniusFit, Average};

use super::ReportInput;
use super::html::{Page, Table};
use super::methods::mixed_estimators;
use crate::figures::{average_name, energy_text};
use crate::scale::{short_number, significant, with_interval};

/// What the averages take for numbers.
const AVERAGES: &str = "No average takes a time that is only known to be long for a number. The means are Tobit's: those of the log-normal distribution of highest likelihood in which times \
    beyond three records are known to be beyond and no more; the median is that of Kaplan and Meier (with one limit for all Turnbull's as well), and there is none where half of the times are \
    beyond; the log mean within the record takes every time beyond one record for a lower limit, so that nothing rests on extrapolated times, and \
    is shown where there are such times. An energy that holds is the same from all of them, and without any one temperature.";

/// What the table of equal conditions is.
const ALIKE: &str = "Records, steps and doses that differ between temperatures can make an energy of their own. Here all temperatures were analyzed \
    again from the stored counts, each cut to what all of them have: the shortest record, the longest step, and electrons left out at random \
    down to the lowest dose. Fewer data make these intervals wider; an energy that moves by more than both intervals allow was made by the \
    conditions.";

/// Energies of all averages, without each temperature, under equal conditions, and beside what is known of relaxations.
pub(super) fn write(page: &mut Page, input: &ReportInput<'_>, interval: &str) {
    let study = input.study;
    let Some(headline) = headline(&study.arrhenius, study.headline) else {
        return;
    };
    page.paragraph(AVERAGES);
    page.table(&energies(study, interval));
    if let Some(left) = leave_one_out(study) {
        page.table(&left);
    }
    for line in headline.sanity(glass_transition_k(study)) {
        page.paragraph(&line);
    }
    if let Some(sentence) = mixed_estimators(study) {
        page.paragraph(&format!(
            "{sentence} An energy from both rests on the two having no bias against each other: compare it with that of \
             relaxation.estimator = \"least_squares\" at all temperatures."
        ));
    }
    match &study.alike {
        Some(alike) => {
            page.paragraph(ALIKE);
            page.table(&alike_table(alike, interval));
        }
        None => page.paragraph(
            "No analysis with the same record, step and dose at all temperatures is shown: they were measured alike (records and steps within \
             2 %, doses within 5 %), their counts were not kept, or too little is common to them.",
        ),
    }
    if let Some(sentence) = alike_sentence(study) {
        page.paragraph(&sentence);
    }
}

fn headline(fits: &[ArrheniusFit], average: Average) -> Option<&ArrheniusFit> {
    fits.iter()
        .find(|fit| fit.average == average)
        .or(fits.first())
}

fn glass_transition_k(study: &Study) -> Option<f64> {
    study
        .analyses
        .iter()
        .find_map(|analysis| analysis.recipe.sample.glass_transition_k)
}

/// What equal conditions do to the energy, as a sentence.
pub(super) fn alike_sentence(study: &Study) -> Option<String> {
    let alike = study.alike.as_ref()?;
    let measured = headline(&study.arrhenius, study.headline)?;
    let equal = alike
        .arrhenius
        .iter()
        .find(|fit| fit.average == measured.average)?;
    let [lower, upper] = equal.activation_energy_interval_kj_per_mol;
    let energy = measured.activation_energy_kj_per_mol;
    let what = if alike.equal_dose {
        "record, step and dose"
    } else {
        "record and step (the dose cannot be made equal after gain or dark correction)"
    };
    let judgment = if lower <= 0.0 && 0.0 <= upper {
        "under equal conditions no activation energy is shown, as zero lies within the interval"
    } else if lower <= energy && energy <= upper {
        "the energy as measured lies within that interval"
    } else {
        "the energy as measured lies outside that interval, so that part of it may have been made by the conditions"
    };
    Some(format!(
        "With the same {what} at all temperatures the activation energy is {} kJ/mol, as measured {} kJ/mol: {judgment}.",
        energy_text(equal),
        energy_text(measured)
    ))
}

fn energies(study: &Study, interval: &str) -> Table {
    let mut table = Table::new(
        &format!("Activation energy with {interval} interval, from each average"),
        &[
            "average",
            "E (kJ/mol)",
            "standard error (kJ/mol)",
            "ln(τ∞/s)",
            "standard error",
            "χ²",
            "degrees of freedom",
            "headline",
        ],
    );
    let mut row = |what: String, fit: &ArrheniusFit, is_headline: bool| {
        table.rows.push(vec![
            what,
            energy_text(fit),
            significant(fit.activation_energy_error_kj_per_mol, 2),
            significant(fit.ln_tau_infinite, 3),
            significant(fit.ln_tau_infinite_error, 2),
            significant(fit.chi2, 2),
            fit.degrees_of_freedom.to_string(),
            if is_headline { "yes" } else { "" }.to_owned(),
        ]);
    };
    for fit in &study.arrhenius {
        let name = average_name(fit.average).to_owned();
        row(name, fit, fit.average == study.headline);
    }
    for fit in study.alike.iter().flat_map(|alike| &alike.arrhenius) {
        let name = format!("{}, measured alike", average_name(fit.average));
        row(name, fit, false);
    }
    if let Some(fit) = &study.arrhenius_without_beam {
        let name = format!("{}, without beam", average_name(fit.average));
        row(name, fit, false);
    }
    table
}

fn leave_one_out(study: &Study) -> Option<Table> {
    let left: Vec<f64> = study
        .arrhenius
        .first()?
        .leave_one_out
        .iter()
        .map(|left| left.temperature_k)
        .collect();
    if left.is_empty() {
        return None;
    }
    let averages: Vec<Average> = study.arrhenius.iter().map(|fit| fit.average).collect();
    let mut columns = vec!["without"];
    columns.extend(averages.iter().map(|&average| average_name(average)));
    let mut table = Table::new(
        "Activation energy (kJ/mol) with one temperature left out",
        &columns,
    );
    for temperature_k in left {
        let mut row = vec![format!("{} K", short_number(temperature_k))];
        for &average in &averages {
            let energy = study
                .arrhenius
                .iter()
                .filter(|fit| fit.average == average)
                .flat_map(|fit| &fit.leave_one_out)
                .find(|left| left.temperature_k == temperature_k)
                .map_or(f64::NAN, |left| left.activation_energy_kj_per_mol);
            row.push(significant(energy, 3));
        }
        table.rows.push(row);
    }
    Some(table)
}

fn alike_table(alike: &Alike, interval: &str) -> Table {
    let mut table = Table::new(
        &format!(
            "All temperatures with a record of {} s, a step of {} s and {} counts a pixel, {interval} intervals",
            significant(alike.common.record_s, 3),
            significant(alike.common.step_s, 3),
            significant(alike.common.counts, 2)
        ),
        &[
            "temperature",
            "scans kept",
            "electrons kept",
            "log mean (s)",
            "mean (s)",
            "Kaplan–Meier median (s)",
            "ensemble curve (s)",
            "log mean within the record (s)",
        ],
    );
    for one in &alike.temperatures {
        let mut row = vec![
            format!("{} K", short_number(one.temperature_k)),
            format!("{} of {}", one.n_times, one.n_times_measured),
            format!("{:.0}\u{a0}%", 100.0 * one.kept_share),
        ];
        let summary = &one.summary;
        let averages = [
            summary.tau_log_mean_s,
            summary.tau_mean_s,
            summary.tau_median_s,
            summary.tau_ensemble_s,
            summary.tau_within_record_s,
        ];
        row.extend(averages.map(|tau| with_interval(tau.value, tau.lower, tau.upper)));
        table.rows.push(row);
    }
    table
}
