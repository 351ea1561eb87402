//! One answer from several temperatures.
//!
//! ```text
//! z_i  = atanh r_i,  w_i = M_i − 3          each temperature by itself, M_i effective positions
//! z    = Σ w_i z_i / Σ w_i                  var z = 1 / Σ w_i
//! Q    = Σ w_i (z_i − z)²                   chi² with (temperatures − 1) degrees of freedom where all share one correlation
//! ```
//!
//! Positions of different temperatures are never put into one correlation: tau falls and V changes with temperature whatever the two have
//! to do with each other at one temperature.
//!
//! Source: Fisher's z; Hedges and Olkin, Statistical Methods for Meta-Analysis (1985), for Q.

use serde::{Deserialize, Serialize};

use super::checks::RelationChecks;
use super::decoupled::{DecoupledRelation, MIN_EFFECTIVE, p_text, probability, with_minus};
use crate::statistics::{Estimate, chi2_p_value, normal_p_value, normal_quantile};

/// Probability below which something is called found.
const FOUND: f64 = 0.05;

/// A correlation over temperatures.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Combined {
    /// tanh z, with its interval.
    pub correlation: Estimate,
    /// Probability of an |r| so large without a relation at any temperature.
    #[serde(with = "crate::nonfinite")]
    pub p_value: f64,
    /// Temperatures that entered.
    pub n_temperatures: usize,
    /// Sum of the effective positions.
    #[serde(with = "crate::nonfinite")]
    pub n_effective: f64,
    /// Q of the module; 0 for one temperature.
    #[serde(with = "crate::nonfinite")]
    pub homogeneity: f64,
    /// Probability of a Q so large where all temperatures share one correlation; NaN for one temperature.
    #[serde(with = "crate::nonfinite")]
    pub homogeneity_p: f64,
}

/// The relation over all temperatures, from all sides, with its verdict.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CombinedRelation {
    /// The number that is tested.
    pub decoupled: Combined,
    /// tau and V from separate spatial frequencies.
    pub apart: Option<Combined>,
    /// What is left without all covariates.
    pub partial: Option<Combined>,
    /// The covariates that were taken away.
    pub without: Vec<String>,
    /// Without the noise of the maps, over the temperatures where that can be told.
    pub corrected: Option<Estimate>,
    /// The smallest |r| that would be found with a probability of 80 % at 5 %.
    #[serde(with = "crate::nonfinite")]
    pub detectable: f64,
    /// What all of it says, in sentences for people.
    pub verdict: String,
}

/// Puts the relations of temperatures together. `None` where none of them can be tested.
pub fn combine(
    temperatures: &[(&DecoupledRelation, Option<&RelationChecks>)],
    level: f64,
) -> Option<CombinedRelation> {
    let decoupled = combined(
        temperatures
            .iter()
            .map(|(one, _)| (one.correlation.value, one.n_effective)),
        level,
    )?;
    let checks = || temperatures.iter().filter_map(|(_, checks)| *checks);
    let apart = combined(
        checks()
            .filter_map(|checks| checks.apart)
            .map(|apart| (apart.correlation.value, apart.n_effective)),
        level,
    );
    let lasts = || checks().filter_map(|checks| checks.partial.last());
    let partial = combined(
        lasts().map(|left| (left.correlation.value, left.n_effective)),
        level,
    );
    let without = lasts()
        .next()
        .map_or_else(Vec::new, |left| left.without.clone());
    let mut relation = CombinedRelation {
        detectable: libm::tanh(
            (normal_quantile(0.975) + normal_quantile(0.8))
                / libm::sqrt(decoupled.n_effective - 3.0 * decoupled.n_temperatures as f64),
        ),
        corrected: corrected(temperatures, level),
        decoupled,
        apart,
        partial,
        without,
        verdict: String::new(),
    };
    relation.verdict = relation.words(temperatures);
    Some(relation)
}

fn combined(relations: impl Iterator<Item = (f64, f64)>, level: f64) -> Option<Combined> {
    let used: Vec<(f64, f64)> = relations
        .filter(|&(r, m)| r.is_finite() && m >= MIN_EFFECTIVE)
        .map(|(r, m)| (r.clamp(-1.0 + 1e-12, 1.0 - 1e-12), m))
        .collect();
    let weight: f64 = used.iter().map(|(_, m)| m - 3.0).sum();
    let z = used
        .iter()
        .map(|(r, m)| (m - 3.0) * libm::atanh(*r))
        .sum::<f64>()
        / weight;
    if !z.is_finite() {
        return None;
    }
    let homogeneity = used
        .iter()
        .map(|(r, m)| (m - 3.0) * (libm::atanh(*r) - z) * (libm::atanh(*r) - z))
        .sum();
    let error = 1.0 / libm::sqrt(weight);
    let half = normal_quantile(0.5 + 0.5 * level) * error;
    let r = libm::tanh(z);
    Some(Combined {
        correlation: Estimate {
            value: r,
            error: error * (1.0 - r * r),
            lower: libm::tanh(z - half),
            upper: libm::tanh(z + half),
        },
        p_value: match used[..] {
            [(r, m)] => probability(r, m),
            _ => normal_p_value(z / error),
        },
        n_temperatures: used.len(),
        n_effective: used.iter().map(|(_, m)| m).sum(),
        homogeneity,
        homogeneity_p: match used.len() {
            1 => f64::NAN,
            n => chi2_p_value(homogeneity, n - 1),
        },
    })
}

/// Mean of what is left without noise, each temperature with its own error.
fn corrected(
    temperatures: &[(&DecoupledRelation, Option<&RelationChecks>)],
    level: f64,
) -> Option<Estimate> {
    let known: Vec<Estimate> = temperatures
        .iter()
        .filter_map(|(one, _)| one.corrected)
        .filter(|corrected| corrected.error > 0.0)
        .collect();
    let weight = |one: &Estimate| 1.0 / (one.error * one.error);
    let total: f64 = known.iter().map(weight).sum();
    (total > 0.0).then(|| {
        let value = known.iter().map(|one| weight(one) * one.value).sum::<f64>() / total;
        let error = 1.0 / libm::sqrt(total);
        let half = normal_quantile(0.5 + 0.5 * level) * error;
        Estimate {
            value,
            error,
            lower: value - half,
            upper: value + half,
        }
    })
}

impl CombinedRelation {
    fn words(&self, temperatures: &[(&DecoupledRelation, Option<&RelationChecks>)]) -> String {
        let headline = &self.decoupled;
        let number = |combined: &Combined| {
            let Estimate {
                value,
                lower,
                upper,
                ..
            } = combined.correlation;
            format!(
                "r = {value:.2} [{lower:.2}, {upper:.2}], {}",
                p_text(combined.p_value)
            )
        };
        let over = match headline.n_temperatures {
            1 => String::new(),
            n => format!(" over {n} temperatures"),
        };
        let numbers = format!(
            "{}, {:.0} effective positions{over}",
            number(headline),
            headline.n_effective
        );
        let found = |combined: &Combined| combined.p_value < FOUND;
        let sign = |combined: &Combined| combined.correlation.value > 0.0;
        let contradicts = |other: &Combined| {
            // Both come from the same sample; independent errors make the difference look less certain than it is.
            let difference = libm::atanh(other.correlation.value.clamp(-0.999, 0.999))
                - libm::atanh(headline.correlation.value.clamp(-0.999, 0.999));
            let variance = |combined: &Combined| {
                1.0 / (combined.n_effective - 3.0 * combined.n_temperatures as f64)
            };
            found(other) != found(headline)
                && (difference * difference) > 4.0 * (variance(other) + variance(headline))
                || found(other) && found(headline) && sign(other) != sign(headline)
        };
        let mut text = match (
            found(headline),
            self.apart.as_ref().is_some_and(contradicts),
        ) {
            (_, true) => format!(
                "Whether structure and dynamics are related is unsettled: separate directions say {numbers}"
            ),
            (true, false) => format!(
                "{} relaxation goes with larger V, beyond what shared speckles make of it: {numbers}",
                if sign(headline) { "Slower" } else { "Faster" }
            ),
            (false, false) => format!(
                "No relation of structure and dynamics was found: {numbers}. One of |r| = {:.2} in maps with this noise would have been \
                 found in four of five such measurements",
                self.detectable
            ),
        };
        if let Some(apart) = &self.apart {
            text.push_str(match (contradicts(apart), found(headline), found(apart)) {
                (true, ..) => "; separate spatial frequencies say otherwise: ",
                (false, true, true) => ". Separate spatial frequencies agree: ",
                (false, true, false) => {
                    ". Separate spatial frequencies alone do not show it, and do not contradict: "
                }
                (false, false, true) => ". Separate spatial frequencies alone would show one: ",
                (false, false, false) => ". Separate spatial frequencies show none either: ",
            });
            text.push_str(&number(apart));
        }
        text.push('.');
        if let Some(partial) = self.partial.as_ref().filter(|_| found(headline)) {
            let names = self.without.join(", ");
            text.push_str(&if found(partial) && sign(partial) == sign(headline) {
                format!(
                    " It is left without what {names} explain: {}.",
                    number(partial)
                )
            } else {
                format!(
                    " It is not shown without what {names} explain ({}): these may make it.",
                    number(partial)
                )
            });
        }
        if headline.homogeneity_p < FOUND {
            text.push_str(&format!(
                " The temperatures differ by more than chance (Q = {:.1}, {}): no one number stands for all of them.",
                headline.homogeneity,
                p_text(headline.homogeneity_p)
            ));
        }
        let doubtful = temperatures.iter().any(|(one, checks)| {
            one.p_value < FOUND
                && checks.is_some_and(|checks| checks.p_torus.min(checks.p_phases) > 2.0 * FOUND)
        });
        if doubtful {
            text.push_str(" Moved and phase-randomized maps are less certain of it at one temperature at least: see the table.");
        }
        if temperatures
            .iter()
            .filter_map(|(_, checks)| *checks)
            .any(|checks| checks.displaced.is_elsewhere())
        {
            text.push_str(
                " At one temperature at least the correlation is larger between displaced positions than at the same one: see the table.",
            );
        }
        match &self.corrected {
            Some(Estimate { value, lower, upper, .. }) => text.push_str(&format!(
                " Without the noise of the maps, taking their reliabilities as exact: {value:.2} [{lower:.2}, {upper:.2}]."
            )),
            None => text.push_str(
                " How strong a relation of the true maps would be cannot be told: too little of their spread comes back in an \
                 independent half.",
            ),
        }
        with_minus(&text)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests {
    use super::super::decoupled::{DecoupledRelation, decoupled};
    use super::super::simulated::Simulated;
    use super::*;

    fn with(r: f64, n_effective: f64) -> DecoupledRelation {
        let mut one = Simulated::new((12, 12), 0.5, 0.0, 1).relation();
        one.correlation.value = r;
        one.n_effective = n_effective;
        one.p_value = 0.5;
        one
    }

    #[test]
    fn temperatures_weigh_by_their_effective_positions() {
        // By hand: z = (97 · 0.3095 + 47 · 0.1003)/144, Q = 97·47/144 · (0.3095 − 0.1003)².
        let (one, two) = (with(0.3, 100.0), with(0.1, 50.0));
        let found = combine(&[(&one, None), (&two, None)], 0.95)
            .unwrap()
            .decoupled;
        let (a, b) = (0.3_f64.atanh(), 0.1_f64.atanh());
        let z = (97.0 * a + 47.0 * b) / 144.0;
        assert!((found.correlation.value - z.tanh()).abs() < 1e-12);
        assert!((found.homogeneity - 97.0 * 47.0 / 144.0 * (a - b).powi(2)).abs() < 1e-12);
        assert!((found.correlation.upper - (z + 1.959964 / 12.0).tanh()).abs() < 1e-6);
        // scipy.stats.norm.sf(z·12)·2 with z = 0.24122
        assert!((found.p_value - 0.003796).abs() < 2e-5, "{}", found.p_value);
    }

    #[test]
    fn a_common_trend_with_temperature_is_no_relation() {
        // Pooled, tau and V of these five temperatures are almost one line.
        let maps: Vec<Simulated> = (0..5)
            .map(|step| {
                let mut maps = Simulated::new((24, 24), 0.5, 0.0, 40 + step);
                maps.v.iter_mut().for_each(|v| *v += 5.0 * step as f64);
                maps.tau
                    .iter_mut()
                    .for_each(|tau| *tau *= 10.0_f64.powi(step as i32));
                maps
            })
            .collect();
        let relations: Vec<DecoupledRelation> = maps
            .iter()
            .map(|maps| decoupled(&maps.halves(), 0.95).unwrap())
            .collect();
        let all: Vec<_> = relations.iter().map(|one| (one, None)).collect();
        let found = combine(&all, 0.95).unwrap();
        assert!(found.decoupled.p_value > 0.01, "{found:?}");
        assert_eq!(found.decoupled.n_temperatures, 5);
        assert!(
            found.verdict.starts_with("No relation"),
            "{}",
            found.verdict
        );
    }

    #[test]
    fn temperatures_that_differ_are_told_apart() {
        let (one, two) = (with(0.6, 100.0), with(-0.4, 90.0));
        let found = combine(&[(&one, None), (&two, None)], 0.95).unwrap();
        assert!(found.decoupled.homogeneity_p < 1e-6);
        assert!(found.verdict.contains("no one number"), "{}", found.verdict);
        assert_eq!(combine(&[(&with(0.6, 4.0), None)], 0.95), None);
    }
}
