//! The tests of the dynamics as one long table.

use std::path::Path;

use halotau::analysis::{Analysis, Estimate};
use halotau::dynamics::{AtLag, Dynamics};

use super::csv::{Comments, number, push_line};
use crate::error::Result;
use crate::manifest::{Sync, write_whole};

/// Writes `dynamics.csv`: one row a number.
///
/// `quantity` says what it is, `at` where (a lag in seconds, a distance in nm, an age as a share of the record, a Q in 1/nm, or the number of a group),
/// `p` the probability of its test. A field is empty where there is no value, and `inf` where an interval is open. Writes the header alone where no
/// test was made.
///
/// # Errors
///
/// [`Error::Io`](crate::Error::Io).
pub fn write_dynamics_csv(path: &Path, analysis: &Analysis, comments: Comments) -> Result<()> {
    let mut text = String::new();
    if comments == Comments::With {
        push_line(
            &mut text,
            &format!(
                "# halotau {} tests of the dynamics; at: lag s, distance nm, age as a share of the record, Q 1/nm, or a number",
                env!("CARGO_PKG_VERSION")
            ),
        );
    }
    push_line(&mut text, "quantity,at,value,error,lower,upper,p");
    if let Some(dynamics) = &analysis.dynamics {
        for row in rows(dynamics) {
            push_line(&mut text, &row);
        }
    }
    write_whole(path, text.as_bytes(), Sync::Cache)
}

fn row(quantity: &str, at: f64, estimate: &Estimate, p: f64) -> String {
    let Estimate {
        value,
        error,
        lower,
        upper,
    } = *estimate;
    let numbers = [at, value, error, lower, upper, p].map(number);
    format!("{quantity},{}", numbers.join(","))
}

fn rows(dynamics: &Dynamics) -> Vec<String> {
    let none = f64::NAN;
    let mut rows = Vec::new();
    let lags = |rows: &mut Vec<String>, name: &str, values: &[AtLag]| {
        rows.extend(
            values
                .iter()
                .map(|at| row(name, at.lag_s, &at.estimate, none)),
        );
    };
    if let Some(aging) = &dynamics.aging {
        rows.push(row("aging_slope", none, &aging.slope, aging.p_value));
        lags(&mut rows, "aging_slope_at_lag", &aging.slopes);
        rows.push(row(
            "contrast_slope",
            none,
            &aging.contrast_slope,
            aging.contrast_p_value,
        ));
        rows.push(row("tau_early_s", none, &aging.tau_early_s, none));
        rows.push(row("tau_late_s", none, &aging.tau_late_s, none));
        rows.push(row("tau_late_over_early", none, &aging.ratio, none));
        let windows = aging.windows.iter();
        rows.extend(windows.map(|at| row("tau_of_window_s", at.age, &at.tau_s, none)));
    }
    if let Some(found) = &dynamics.fluctuations {
        rows.push(row("chi_t_local", none, &found.local, found.local_p_value));
        rows.push(row(
            "chi_t_common",
            none,
            &found.shared,
            found.shared_p_value,
        ));
        lags(&mut rows, "chi_t", &found.chi);
        lags(&mut rows, "variance_of_half", &found.half);
        lags(&mut rows, "variance_of_both", &found.both);
    }
    if let Some(four) = &dynamics.four_point {
        rows.push(row(
            "apparent_length",
            none,
            &four.apparent_length,
            four.p_value,
        ));
        if let Some(length) = &four.length {
            rows.push(row("length_beyond_probe", none, length, none));
        }
        lags(&mut rows, "chi4", &four.chi4);
        lags(&mut rows, "g4_at_zero", &four.variance);
        let distances = four.g4.iter();
        rows.extend(distances.map(|at| row("g4", at.distance, &at.estimate, none)));
        let waves = four.s4.iter();
        rows.extend(waves.map(|at| row("s4", at.wave, &at.estimate, none)));
    }
    if let Some(test) = &dynamics.stretch {
        rows.push(row("stretch_of_region", none, &test.region, none));
        rows.push(row("stretch_of_place", none, &test.local, none));
        rows.push(row("ln_tau_spread", none, &test.ln_tau_spread, none));
        for (index, group) in test.groups.iter().enumerate() {
            rows.push(row("group_tau_s", index as f64, &group.tau_s, none));
            rows.push(row("group_stretch", index as f64, &group.stretch, none));
        }
    }
    if let Some(rings) = &dynamics.rings {
        rows.push(row(
            "ln_tau_over_q_nm",
            none,
            &rings.slope_nm,
            rings.p_value,
        ));
        for ring in &rings.rings {
            rows.push(row("ring_tau_s", ring.q_per_nm, &ring.tau_s, none));
            rows.push(row("ring_contrast", ring.q_per_nm, &ring.contrast, none));
        }
    }
    rows
}
