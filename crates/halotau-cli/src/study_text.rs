//! The numbers of a study as a table for people.

use halotau::analysis::{Analysis, Estimate, Study};

/// Stands where there is no number.
const NONE: &str = "-";

/// One row a temperature, then the activation energies and what would be without beam.
pub(crate) fn study_text(study: &Study) -> String {
    let mut text = format!(
        "{:>8}  {:<26} {:<26} {:>10}  {:<18} {:>6} {:>6}\n",
        "T (K)", "median tau (s)", "exp<ln tau> (s)", "tau > rec.", "<V>", "rho", "n"
    );
    for analysis in &study.analyses {
        text.push_str(&row(analysis));
    }
    for analysis in &study.analyses {
        if let Some(relation) = &analysis.decoupled {
            text.push_str(&format!("  {}: {}\n", analysis.name, relation.sentence()));
        }
    }
    if let Some(relation) = study.relation.as_ref().filter(|_| study.analyses.len() > 1) {
        text.push_str(&format!("  all: {}\n", relation.verdict));
    }
    for fit in &study.arrhenius {
        let [lower, upper] = fit.activation_energy_interval_kj_per_mol;
        let mark = if fit.average == study.headline {
            "*"
        } else {
            " "
        };
        text.push_str(&format!(
            "{mark} E = {} kJ/mol [{}, {}]   from {} of tau\n",
            short(fit.activation_energy_kj_per_mol),
            short(lower),
            short(upper),
            fit.average.name()
        ));
    }
    for fit in &study.zero_dose {
        let [lower, upper] = fit.rate_interval_per_s;
        text.push_str(&format!(
            "  {} K without beam: tau = {} s, 1/tau = {:.3e} [{lower:.3e}, {upper:.3e}] 1/s{}\n",
            fit.temperature_k,
            short(fit.tau_s),
            fit.rate_per_s,
            if fit.dominated_by_beam {
                "; dominated by the beam"
            } else {
                ""
            }
        ));
    }
    text
}

fn row(analysis: &Analysis) -> String {
    let summary = &analysis.summary;
    let censored = 100.0 * summary.n_censored as f64 / summary.n_valid.max(1) as f64;
    let known = |value: f64, text: String| {
        if value.is_nan() {
            NONE.to_owned()
        } else {
            text
        }
    };
    let (temperature_k, spearman) = (analysis.temperature_k, analysis.relation.spearman);
    format!(
        "{:>8}  {:<26} {:<26} {:>8.0} %  {:<18} {:>6} {:>6}\n",
        known(temperature_k, temperature_k.to_string()),
        interval(summary.tau_median_s),
        interval(summary.tau_log_mean_s),
        censored,
        with_error(summary.fluctuation_mean),
        known(spearman, format!("{spearman:.2}")),
        analysis.relation.n
    )
}

/// `930 [780, 1110]`.
fn interval(estimate: Estimate) -> String {
    if estimate.value.is_nan() {
        return NONE.to_owned();
    }
    format!(
        "{} [{}, {}]",
        short(estimate.value),
        short(estimate.lower),
        short(estimate.upper)
    )
}

fn with_error(estimate: Estimate) -> String {
    if estimate.value.is_nan() {
        return NONE.to_owned();
    }
    format!("{:.3} ± {:.3}", estimate.value, estimate.error)
}

/// Three significant digits.
pub(crate) fn short(value: f64) -> String {
    if !value.is_finite() || value == 0.0 {
        return value.to_string();
    }
    let digits = (2 - value.abs().log10().floor() as i32).clamp(0, 6) as usize;
    format!("{value:.digits$}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_three_digits() {
        for (value, text) in [
            (930.4, "930"),
            (12.345, "12.3"),
            (0.05678, "0.0568"),
            (f64::INFINITY, "inf"),
            (1234.5, "1234"),
        ] {
            assert_eq!(short(value), text);
        }
    }
}
