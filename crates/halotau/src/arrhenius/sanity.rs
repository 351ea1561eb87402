//! Is the line what a relaxation can do?

use super::{ArrheniusFit, GAS_CONSTANT, vft};

/// A secondary relaxation of metallic glasses has about this many R T_g as activation energy.
///
/// Sources: Yu, Wang, Samwer, Mater. Today 16, 183 (2013), doi 10.1016/j.mattod.2013.05.002; Haruyama et al. (TMS 2013) found 28 in a Zr-based glass.
pub const SECONDARY_RTG: f64 = 26.0;

/// ln of the attempt time of an atom, 1e-13 s.
const LN_ATTEMPT: f64 = -29.934;

/// The attempt time may be off by this factor in ln without a remark: 1e-11 to 1e-15 s.
const LN_TOLERANCE: f64 = 4.6;

impl ArrheniusFit {
    /// What the line is like beside what is known of relaxations, a sentence each; `tg_k` is the glass transition where it is known.
    pub fn sanity(&self, tg_k: Option<f64>) -> Vec<String> {
        let mut lines = Vec::new();
        let [lower, upper] = self.activation_energy_interval_kj_per_mol;
        if let Some(tg_k) = tg_k.filter(|tg_k| tg_k.is_finite() && *tg_k > 0.0) {
            let rule = 1e-3 * SECONDARY_RTG * GAS_CONSTANT * tg_k;
            let where_it_is = if upper < rule {
                "E is below it"
            } else if lower > rule {
                "E is above it"
            } else {
                "it lies within the interval of E"
            };
            lines.push(format!(
                "Secondary relaxations of metallic glasses have about {SECONDARY_RTG:.0} R T_g, here {rule:.0} kJ/mol; {where_it_is} \
                 ({:.0} R T_g).",
                1e3 * self.activation_energy_kj_per_mol / (GAS_CONSTANT * tg_k)
            ));
        }
        let error = self.ln_tau_infinite_error;
        if error.is_finite() {
            let decades = |ln_s: f64| ln_s / std::f64::consts::LN_10;
            let away = (self.ln_tau_infinite - LN_ATTEMPT).abs();
            let judgment = if away < LN_TOLERANCE + 2.0 * error {
                "which agrees with the attempt time of an atom, about 10^−13 s"
            } else if self.ln_tau_infinite > LN_ATTEMPT {
                "far longer than the attempt time of an atom, about 10^−13 s: not one barrier that is crossed independently, or a tau that does \
                 not follow the temperature as the glass does"
            } else {
                "far shorter than the attempt time of an atom, about 10^−13 s: the barrier itself changes with temperature"
            };
            lines.push(
                format!(
                    "τ∞ = 10^({:.1} ± {:.1}) s (standard error), {judgment}.",
                    decades(self.ln_tau_infinite),
                    decades(error)
                )
                .replace("(-", "(−"),
            );
        }
        if let Some(curved) = vft(&self.points) {
            let [low, high] = curved.t0_interval_k;
            lines.push(if curved.bends() {
                format!(
                    "The line bends (p = {:.2} for a straight one): Vogel-Fulcher-Tammann with T₀ = {:.0} K [{low:.0}, {high:.0}].",
                    curved.straight_p, curved.t0_k
                )
            } else {
                format!(
                    "The range does not tell a bend: a straight line is enough (p = {:.2}), and any Vogel temperature T₀ from {low:.0} to \
                     {high:.0} K is compatible.",
                    curved.straight_p
                )
            });
        }
        lines
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests {
    use super::super::{ArrheniusPoint, Average, fit};

    #[test]
    fn the_lines_say_what_the_numbers_say() {
        // Made for the paper's sample: E = 97 kJ/mol, tau(633 K) = 1000 s.
        let points: Vec<ArrheniusPoint> = [633.0, 643.0, 653.0, 663.0, 673.0]
            .map(|temperature_k| ArrheniusPoint {
                temperature_k,
                tau_s: 1000.0 * (11_666.0 / temperature_k - 11_666.0_f64 / 633.0).exp(),
                ln_tau_error: 0.05,
            })
            .to_vec();
        let lines = fit(&points, Average::Median, 0.95)
            .unwrap()
            .sanity(Some(673.0));
        assert_eq!(lines.len(), 3);
        assert!(
            lines[0].contains("145 kJ/mol")
                && lines[0].contains("below")
                && lines[0].contains("(17 R T_g)")
        );
        // 1000 s · exp(−11666/633) = 1e-5 s
        assert!(lines[1].contains("10^(−5.0") && lines[1].contains("far longer"));
        assert!(lines[2].contains("does not tell a bend"));
        let without = fit(&points[..2], Average::Median, 0.95)
            .unwrap()
            .sanity(None);
        assert_eq!(without.len(), 1);
    }
}
