//! How was it done? A paragraph for a publication, with the numbers filled in.

use halotau::analysis::{Analysis, Study};
use halotau::axes::TimeBasis;
use halotau::correlate::LagSums;

use super::headline::name;
use crate::caption::{correlation, fit, level, variance};
use crate::figures::average_name;
use crate::scale::short_number;

/// How the program and the method are cited.
pub(super) const CITATION: &str = "The method is that of Nakazawa, Mitsuishi, Iakoubovskii, Kohara and Tsuchiya, \
NPG Asia Materials 16 (2024), doi 10.1038/s41427-024-00577-1.";

/// The same for a reference manager.
pub(super) const BIBTEX: &str = "@article{nakazawa2024structure,
  title   = {Structure-dynamics relation in metallic glass revealed by 5-dimensional scanning transmission electron microscopy},
  author  = {Nakazawa and Mitsuishi and Iakoubovskii and Kohara and Tsuchiya},
  journal = {NPG Asia Materials},
  volume  = {16},
  year    = {2024},
  doi     = {10.1038/s41427-024-00577-1}
}";

/// A methods paragraph of a study, from its recipe and results.
///
/// `version` is that of the program.
pub fn methods(study: &Study, version: &str) -> String {
    let Some(first) = study.analyses.first() else {
        return String::new();
    };
    let recipe = &first.recipe;
    let mut text = String::new();
    let microscope = &recipe.microscope;
    let mut conditions = Vec::new();
    let mut condition = |value: Option<f64>, before: &str, after: &str| {
        if let Some(value) = value {
            conditions.push(format!("{before}{}{after}", short_number(value)));
        }
    };
    condition(microscope.voltage_kv, "", " kV");
    condition(
        microscope.convergence_mrad,
        "a convergence semi-angle of ",
        " mrad",
    );
    condition(
        microscope.probe_fwhm_nm,
        "a probe of ",
        " nm full width at half maximum",
    );
    condition(microscope.probe_current_pa, "", " pA");
    let at = if conditions.is_empty() {
        String::new()
    } else {
        format!(" at {}", conditions.join(", "))
    };
    text.push_str(&format!("Time series of 4D-STEM scans were recorded{at}. "));
    // Temperatures that were recorded alike are named together.
    let mut records: Vec<(String, Vec<String>)> = Vec::new();
    for analysis in &study.analyses {
        let (n_rows, n_cols) = analysis.quality.dim();
        let step = if analysis.step_nm.is_finite() {
            format!(" with a step of {} nm", rounded(analysis.step_nm))
        } else {
            String::new()
        };
        let basis = match analysis.time.basis() {
            TimeBasis::Timestamps => "timestamps",
            TimeBasis::Total => "the total duration",
            TimeBasis::Period | TimeBasis::Auto => "the nominal period",
        };
        let record = format!(
            "{} scans of {n_rows} x {n_cols} positions{step}, {} s apart (from {basis})",
            analysis.time.len(),
            rounded(analysis.time.step_s()),
        );
        match records.iter_mut().find(|(known, _)| *known == record) {
            Some((_, names)) => names.push(name(analysis)),
            None => records.push((record, vec![name(analysis)])),
        }
    }
    for (record, names) in records {
        text.push_str(&format!("At {}: {record}. ", names.join(", ")));
    }
    let speckles = first.n_ring_speckles.map_or_else(String::new, |n| {
        format!(", about {n:.0} independent speckles by the aperture")
    });
    text.push_str(&format!(
        "Dynamics: {} ({} pixels{speckles}). ",
        correlation(recipe, first.flattening),
        first.n_ring_pixels
    ));
    if first.lag_sums == LagSums::MultiTau {
        text.push_str(
            "It was computed at lags of 1 to 15 scans and at eight lags each time they double, from counts added up in blocks of 2, 4, 8 … scans \
             (multiple tau, after Schätzel), and normalized by both blocks. ",
        );
    }
    text.push_str(&format!(
        "The correlation was averaged over the first time and fitted with {}. ",
        fit(&recipe.relaxation)
    ));
    let factors = || study.analyses.iter().filter_map(|one| one.interval_factor);
    if let Some(least) = factors().min_by(f64::total_cmp) {
        let most = factors().fold(least, f64::max);
        let factor = if format!("{least:.2}") == format!("{most:.2}") {
            format!("{least:.2}")
        } else {
            format!("{least:.2} to {most:.2}")
        };
        text.push_str(&format!(
            "The relaxation time and contrast of each position are those of highest likelihood of the fluctuations in spatial modes of the \
             speckle, with the shot noise of the position's own counts; their {} intervals are where the profile likelihood falls, \
             widened {factor} times (measured from how much the two halves of the directions differ). ",
            level(recipe)
        ));
        text.extend(mixed_estimators(study).map(|sentence| sentence + " "));
    }
    text.push_str(&format!("Structure: {}. ", variance(&recipe.structure)));
    text.push_str(&format!(
        "{} and {} intervals come from leaving out one of {} azimuthal sectors, opposite ones together. ",
        if factors().next().is_some() {
            "Other standard errors"
        } else {
            "Standard errors"
        },
        level(recipe),
        recipe.interval.sectors
    ));
    text.push_str(
        "Positions whose relaxation time lies beyond the record count as lower limits; positions without a number are left out. \
         The relation of structure and dynamics is the correlation of the ranks of τ from one half of the directions with V from the other, \
         crossed, within one temperature, with a variance from the correlograms of the maps (after Clifford, Richardson and Hémon); temperatures \
         are combined by Fisher's z. Spearman's rank correlation of τ and V from the same pixels is given without a probability. ",
    );
    if !study.arrhenius.is_empty() {
        text.push_str(&format!(
            "The activation energy is from a weighted fit of ln τ against 1/RT to the {} of each map. ",
            average_name(study.headline)
        ));
    }
    if study.alike.is_some() {
        text.push_str(
            "It was determined again with the same record, step and dose at all temperatures: scans were left out and counts thinned binomially. ",
        );
    }
    text.push_str(&format!(
        "The analysis was made with halotau {version}. {CITATION}"
    ));
    text
}

/// Which temperatures have relaxation times of the likelihood and which of the fit of g, where a study has both.
pub(super) fn mixed_estimators(study: &Study) -> Option<String> {
    let (likelihood, fit): (Vec<&Analysis>, Vec<&Analysis>) = study
        .analyses
        .iter()
        .partition(|analysis| analysis.interval_factor.is_some());
    let names = |analyses: &[&Analysis]| {
        let names: Vec<String> = analyses.iter().map(|analysis| name(analysis)).collect();
        names.join(", ")
    };
    (!likelihood.is_empty() && !fit.is_empty()).then(|| {
        format!(
            "Relaxation times at {} are those of the likelihood, at {} those of the fit of g, because the likelihood was not possible there or \
             contradicted the fit (W052).",
            names(&likelihood),
            names(&fit)
        )
    })
}

/// Four significant digits without trailing zeros.
fn rounded(value: f64) -> String {
    if !value.is_finite() || value == 0.0 {
        return short_number(value);
    }
    let unit = 10_f64.powf(value.abs().log10().floor() - 3.0);
    let text = format!("{:.6}", (value / unit).round() * unit);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_have_four_digits() {
        assert_eq!(rounded(9.886_792), "9.887");
        assert_eq!(rounded(0.1617), "0.1617");
        assert_eq!(rounded(5.0), "5");
    }
}
