//! Made-up results of the tests of the dynamics.

use halotau::analysis::Estimate;
use halotau::dynamics::aging::{AtAge, Course};
use halotau::dynamics::four_point::{AtDistance, AtWave};
use halotau::dynamics::rings::RingTime;
use halotau::dynamics::stretch::{Group, Model};
use halotau::dynamics::{Aging, AtLag, Dynamics, Fluctuations, FourPoint, RingTimes, StretchTest};

/// A number whose interval is twice its error.
pub(crate) fn estimate(value: f64, error: f64) -> Estimate {
    Estimate {
        value,
        error,
        lower: value - 2.0 * error,
        upper: value + 2.0 * error,
    }
}

/// Results of a record with a little of everything.
pub(crate) fn dynamics(record_s: f64) -> Dynamics {
    let lags: Vec<f64> = [1.0, 2.5, 5.5, 10.0, 18.0, 28.0, 43.0]
        .map(|lag| lag * record_s / 106.0)
        .to_vec();
    let decay = |lag: f64| (-2.0 * lag / (0.3 * record_s)).exp();
    let at_lags = |value: &dyn Fn(f64) -> f64, error: f64| -> Vec<AtLag> {
        lags.iter()
            .map(|&lag_s| AtLag {
                lag_s,
                estimate: estimate(value(lag_s), error),
            })
            .collect()
    };
    let peak = |lag: f64| decay(lag) * (1.0 - decay(lag));
    let tau = 0.3 * record_s;
    Dynamics {
        n_tiles: 16,
        n_positions: 168,
        aging: Some(Aging {
            slope: estimate(0.14, 0.05),
            p_value: 0.008,
            slopes: at_lags(&|_| 0.14, 0.06),
            contrast_slope: estimate(-0.01, 0.02),
            contrast_p_value: 0.6,
            tau_early_s: estimate(0.9 * tau, 0.05 * tau),
            tau_late_s: estimate(1.1 * tau, 0.06 * tau),
            ratio: estimate(1.22, 0.08),
            windows: [0.17, 0.39, 0.61, 0.83]
                .map(|age| AtAge {
                    age,
                    tau_s: estimate(tau * (0.85 + 0.3 * age), 0.07 * tau),
                })
                .to_vec(),
            course: lags
                .iter()
                .step_by(2)
                .map(|&lag_s| Course {
                    lag_s,
                    points: (0..23)
                        .map(|block| (f64::from(block) + 0.5) / 23.0)
                        .map(|age| (age, estimate(decay(lag_s) * (0.95 + 0.1 * age), 0.02)))
                        .collect(),
                })
                .collect(),
            n_changed: 4,
            n_positions: 168,
        }),
        fluctuations: Some(Fluctuations {
            chi: at_lags(&|lag| 0.05 * peak(lag), 0.004),
            common: at_lags(&|_| 0.001, 0.001),
            half: at_lags(&|lag| 0.08 * decay(lag), 0.003),
            both: at_lags(&|lag| 0.045 * decay(lag), 0.002),
            local: estimate(0.006, 0.002),
            local_p_value: 0.01,
            shared: estimate(0.001, 0.001),
            shared_p_value: 0.3,
            seen: estimate(0.03, 0.002),
        }),
        four_point: Some(FourPoint {
            chi4: at_lags(&|lag| 2.5 * peak(lag), 0.15),
            variance: at_lags(&|lag| 0.1 * peak(lag), 0.004),
            lag_s: lags[4],
            p_value: 0.0003,
            g4: (0..20)
                .map(|step| 0.16 * f64::from(step))
                .map(|distance| AtDistance {
                    distance,
                    estimate: estimate(0.022 * (-(distance / 1.4_f64).powi(2)).exp(), 0.0015),
                })
                .collect(),
            s4: (0..12)
                .map(|wave| 1.28 * f64::from(wave) / 11.0)
                .map(|wave| AtWave {
                    wave,
                    estimate: estimate(0.6 / (1.0 + (6.0 * wave).powi(2)), 0.05),
                })
                .collect(),
            apparent_length: estimate(1.4, 0.15),
            probe_length: 0.66,
            length: Some(estimate(1.23, 0.17)),
            unit: "nm".to_owned(),
        }),
        stretch: Some(StretchTest {
            region: estimate(0.82, 0.03),
            region_tau_s: estimate(tau, 0.04 * tau),
            ln_tau_spread: estimate(0.55, 0.05),
            local: estimate(0.98, 0.04),
            groups: [0.5, 0.8, 1.2, 2.0]
                .map(|factor| Group {
                    n: 84,
                    tau_s: estimate(factor * tau, 0.06 * tau),
                    stretch: estimate(0.92, 0.05),
                })
                .to_vec(),
            models: vec![Model {
                name: "exponential".to_owned(),
                n_parameters: 2,
                fit_p_value: 0.001,
                against: None,
                p_value: f64::NAN,
                aicc: 31.0,
            }],
            static_share: 0.02,
            static_p_value: 0.4,
            records_of_tau: 3.3,
            curve: at_lags(&decay, 0.01),
        }),
        rings: Some(RingTimes {
            rings: [(3.0, 6.0), (3.7, 9.0), (4.2, 14.0), (4.6, 11.0), (5.3, 7.0)]
                .map(|(q, counts)| RingTime {
                    q_min_per_nm: q,
                    q_max_per_nm: q + 0.55,
                    q_per_nm: q + 0.275,
                    n_pixels: 200,
                    tau_s: estimate(tau * (0.8 + 0.02 * counts), 0.06 * tau),
                    contrast: estimate(0.3, 0.01),
                    mean_counts: counts,
                })
                .to_vec(),
            n_positions: 168,
            p_value: 0.2,
            slope_nm: estimate(0.02, 0.03),
            slope_p_value: 0.5,
        }),
    }
}
