//! Which number belongs to which index: times, spatial frequencies, lags.
//!
//! Spatial frequency is s = 1/d in 1/nm, without 2π. Coordinates count from 0 at the center of the first pixel.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::rank;
use crate::series::{SeriesHeader, Stated, Warning};

/// A half-open range of spatial frequency, `min <= q < max`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(from = "[f64; 2]", into = "[f64; 2]")]
pub struct QRange {
    /// Lower edge, included.
    pub min_per_nm: f64,
    /// Upper edge, excluded.
    pub max_per_nm: f64,
}

impl QRange {
    /// The range `min <= q < max`.
    pub const fn new(min_per_nm: f64, max_per_nm: f64) -> Self {
        Self {
            min_per_nm,
            max_per_nm,
        }
    }

    /// Whether a spatial frequency belongs to the range.
    pub fn contains(&self, q_per_nm: f64) -> bool {
        self.min_per_nm <= q_per_nm && q_per_nm < self.max_per_nm
    }

    /// The smallest range that holds both.
    pub fn union(&self, other: &Self) -> Self {
        Self::new(
            self.min_per_nm.min(other.min_per_nm),
            self.max_per_nm.max(other.max_per_nm),
        )
    }

    /// Whether the other range lies inside this one.
    pub fn covers(&self, other: &Self) -> bool {
        self.min_per_nm <= other.min_per_nm && other.max_per_nm <= self.max_per_nm
    }

    /// Checks that the range is not empty, for a key of the recipe.
    ///
    /// # Errors
    ///
    /// [`Error::Setting`].
    pub fn check(&self, key: &str) -> Result<()> {
        if self.min_per_nm.is_finite()
            && self.max_per_nm.is_finite()
            && 0.0 <= self.min_per_nm
            && self.min_per_nm < self.max_per_nm
        {
            return Ok(());
        }
        Err(Error::Setting {
            key: key.to_owned(),
            value: format!("[{}, {}]", self.min_per_nm, self.max_per_nm),
            problem: "a range is [lower, upper] in 1/nm with 0 <= lower < upper".to_owned(),
        })
    }
}

impl From<[f64; 2]> for QRange {
    fn from([min_per_nm, max_per_nm]: [f64; 2]) -> Self {
        Self {
            min_per_nm,
            max_per_nm,
        }
    }
}

impl From<QRange> for [f64; 2] {
    fn from(range: QRange) -> Self {
        [range.min_per_nm, range.max_per_nm]
    }
}

/// Which statement of the file or the user the time axis rests on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TimeBasis {
    /// Timestamps where there are any, else the total, else the period.
    #[default]
    Auto,
    /// The measured start of each scan.
    Timestamps,
    /// The total duration divided by the number of scans.
    Total,
    /// The nominal period.
    Period,
}

/// Start of each scan, in seconds from the first.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TimeAxis {
    times_s: Vec<f64>,
    basis: TimeBasis,
}

/// Above this relative difference two statements about time contradict each other.
/// tau scales with the time axis, and a per cent is below every other error of it.
const TIME_TOLERANCE: f64 = 0.01;

/// A step of more than this many usual ones is a gap.
const GAP: f64 = 1.5;

/// Jitter that is told: a per cent of a step is nothing beside tau, a tenth shows at short lags.
const MAX_JITTER: f64 = 0.05;

impl TimeAxis {
    /// A time axis from the start of each scan.
    ///
    /// # Errors
    ///
    /// [`Error::TimesNotIncreasing`].
    pub fn new(times_s: Vec<f64>, basis: TimeBasis) -> Result<Self> {
        for (time, pair) in times_s.windows(2).enumerate() {
            if !(pair[0].is_finite() && pair[1].is_finite() && pair[0] < pair[1]) {
                return Err(Error::TimesNotIncreasing {
                    time: time + 1,
                    before: pair[0],
                    after: pair[1],
                });
            }
        }
        Ok(Self { times_s, basis })
    }

    /// `n_times` scans, `step_s` apart.
    ///
    /// # Errors
    ///
    /// [`Error::TimesNotIncreasing`] unless the step is positive.
    pub fn uniform(n_times: usize, step_s: f64, basis: TimeBasis) -> Result<Self> {
        Self::new(
            (0..n_times).map(|time| time as f64 * step_s).collect(),
            basis,
        )
    }

    /// The time axis of a series, and a warning where its statements about time differ by more than 1 %.
    ///
    /// The total is from the start of the first scan to the end of the last: the step is `total / n_times`.
    /// In the paper 106 scans of 9.2 s are 975 s, but the total is 1048 s; the measured total is believed.
    ///
    /// # Errors
    ///
    /// [`Error::Setting`] where the series states no time of the kind asked for;
    /// [`Error::TimesNotIncreasing`] for broken timestamps.
    pub fn of(header: &SeriesHeader, basis: TimeBasis) -> Result<(Self, Vec<Warning>)> {
        let n_times = header.shape.n_times;
        let total = header.total_s.as_ref();
        let period = header.period_s.as_ref();
        let chosen = match basis {
            TimeBasis::Auto if header.times_s.is_some() => TimeBasis::Timestamps,
            TimeBasis::Auto if total.is_some() => TimeBasis::Total,
            TimeBasis::Auto => TimeBasis::Period,
            given => given,
        };
        let missing = |what: &str| Error::Setting {
            key: "time.basis".to_owned(),
            value: format!("{basis:?}").to_lowercase(),
            problem: format!(
                "{} states no {what}; give period_s or total_s in its [[data]] block",
                header.name
            ),
        };
        let axis = match chosen {
            TimeBasis::Timestamps => {
                let times = header
                    .times_s
                    .clone()
                    .ok_or_else(|| missing("timestamps"))?;
                if times.len() != n_times {
                    return Err(Error::Shape {
                        what: "the list of timestamps",
                        expected: vec![n_times],
                        found: vec![times.len()],
                    });
                }
                let start = times.first().copied().unwrap_or(0.0);
                Self::new(times.iter().map(|time| time - start).collect(), chosen)?
            }
            TimeBasis::Total => Self::uniform(
                n_times,
                total.ok_or_else(|| missing("total"))?.value / n_times as f64,
                chosen,
            )?,
            // A single scan starts at 0, whatever the time to the next.
            _ if n_times == 1 && period.is_none() => Self::new(vec![0.0], chosen)?,
            _ => Self::uniform(
                n_times,
                period
                    .ok_or_else(|| missing("time from scan to scan"))?
                    .value,
                chosen,
            )?,
        };
        let mut warnings = axis.contradictions(total, period);
        warnings.extend(axis.too_short(header));
        warnings.extend(axis.irregularities());
        Ok((axis, warnings))
    }

    /// Median time from scan to scan; NaN below two scans.
    pub fn usual_step_s(&self) -> f64 {
        let steps: Vec<f64> = self
            .times_s
            .windows(2)
            .map(|pair| pair[1] - pair[0])
            .collect();
        rank::median(&steps)
    }

    /// Relative standard deviation of the time from scan to scan about its median, without gaps.
    pub fn jitter(&self) -> f64 {
        let usual_s = self.usual_step_s();
        let away: Vec<f64> = self
            .times_s
            .windows(2)
            .map(|pair| (pair[1] - pair[0]) / usual_s - 1.0)
            .filter(|away| away.abs() < GAP - 1.0)
            .collect();
        (away.iter().map(|away| away * away).sum::<f64>() / away.len() as f64).sqrt()
    }

    /// A scan cannot take less than the dwell time of all its positions.
    fn too_short(&self, header: &SeriesHeader) -> Option<Warning> {
        let dwell_ms = header.dwell_ms.as_ref()?.value;
        let least_s = 1e-3 * dwell_ms * header.shape.n_positions() as f64;
        let usual_s = self.usual_step_s();
        (usual_s < (1.0 - TIME_TOLERANCE) * least_s).then(|| {
            Warning::new(
                "W025",
                format!(
                    "{dwell_ms} ms at each of {} positions are {least_s:.2} s, but scans start every {usual_s:.2} s: dwell_ms, the scan shape or the \
                     times are wrong. tau scales with the times.",
                    header.shape.n_positions()
                ),
            )
        })
    }

    /// Gaps and jitter of timestamps. Lags are means over pairs of scans: an irregular axis is right where its pairs are alike.
    fn irregularities(&self) -> Vec<Warning> {
        let usual_s = self.usual_step_s();
        if self.basis != TimeBasis::Timestamps || self.times_s.len() < 3 {
            return Vec::new();
        }
        let mut warnings = Vec::new();
        let steps = || {
            let pairs = self.times_s.windows(2).enumerate();
            pairs.map(|(before, pair)| (before, (pair[1] - pair[0]) / usual_s))
        };
        let gaps: Vec<String> = steps()
            .filter(|(_, step)| *step > GAP)
            .map(|(before, step)| {
                format!("{:.0} after scan {before}", (step - 1.0).round().max(1.0))
            })
            .collect();
        if !gaps.is_empty() {
            warnings.push(Warning::new(
                "W022",
                format!(
                    "The timestamps have gaps of {usual_s:.2} s and more: scans seem to be lost, {}. The lag of a pair of scans is its place in the \
                     list, so lags across a gap are averaged with others.",
                    gaps.join(", ")
                ),
            ));
        }
        let early: Vec<String> = steps()
            .filter(|(_, step)| *step < 1.0 / GAP)
            .map(|(before, _)| (before + 1).to_string())
            .collect();
        if !early.is_empty() {
            warnings.push(Warning::new(
                "W024",
                format!(
                    "Scans {} start less than two thirds of the usual {usual_s:.2} s after the scan before: doubled, or the scan before was cut short.",
                    early.join(", ")
                ),
            ));
        }
        if self.jitter() > MAX_JITTER {
            warnings.push(Warning::new(
                "W023",
                format!(
                    "The time from scan to scan varies by {:.1} % (standard deviation): lags are means over pairs of scans.",
                    100.0 * self.jitter()
                ),
            ));
        }
        warnings
    }

    fn contradictions(&self, total: Option<&Stated>, period: Option<&Stated>) -> Vec<Warning> {
        let step_s = self.step_s();
        let n_times = self.times_s.len() as f64;
        let used = match self.basis {
            TimeBasis::Timestamps => "the timestamps",
            TimeBasis::Total => "the total",
            TimeBasis::Auto | TimeBasis::Period => "the nominal period",
        };
        let mut warnings = Vec::new();
        let mut compare = |what: &str, stated_s: f64, other_step_s: f64| {
            let difference = step_s / other_step_s - 1.0;
            if n_times > 1.0 && difference.abs() > TIME_TOLERANCE {
                warnings.push(Warning::new(
                    "W021",
                    format!(
                        "{what} {stated_s} s means {:.1} s for {n_times} scans, but {used} mean{} {:.1} s ({:+.1} %). \
                         {} {} used; tau scales with it.",
                        other_step_s * n_times,
                        if self.basis == TimeBasis::Timestamps { "" } else { "s" },
                        step_s * n_times,
                        100.0 * difference,
                        used[..1].to_uppercase() + &used[1..],
                        if self.basis == TimeBasis::Timestamps { "are" } else { "is" },
                    ),
                ));
            }
        };
        if let Some(period) = period {
            compare("the period of", period.value, period.value);
        }
        if let Some(total) = total {
            compare("the total of", total.value, total.value / n_times);
        }
        warnings
    }

    /// Start of each scan.
    pub fn times_s(&self) -> &[f64] {
        &self.times_s
    }

    /// What the axis rests on.
    pub fn basis(&self) -> TimeBasis {
        self.basis
    }

    /// Number of scans.
    pub fn len(&self) -> usize {
        self.times_s.len()
    }

    /// Whether there is no scan.
    pub fn is_empty(&self) -> bool {
        self.times_s.is_empty()
    }

    /// Mean time from scan to scan; 0 for a single scan.
    pub fn step_s(&self) -> f64 {
        match self.times_s.as_slice() {
            [first, .., last] => (last - first) / (self.times_s.len() - 1) as f64,
            _ => 0.0,
        }
    }

    /// Length of the record: number of scans times the mean step.
    pub fn record_s(&self) -> f64 {
        self.step_s() * self.times_s.len() as f64
    }

    /// Mean time between scans `lag` apart, for lags 1 to `n_times - 1`, `[lag]`.
    pub fn lags_s(&self) -> Vec<f64> {
        let n = self.times_s.len();
        (1..n)
            .map(|lag| {
                let sum: f64 = self.times_s[lag..]
                    .iter()
                    .zip(&self.times_s)
                    .map(|(late, early)| late - early)
                    .sum();
                sum / (n - lag) as f64
            })
            .collect()
    }
}

/// Wavelength of electrons of an acceleration voltage, relativistic.
///
/// ```text
/// λ = h c / sqrt(e U (e U + 2 m c²))
/// ```
///
/// # Example
///
/// ```
/// // 2.508 pm at 200 kV.
/// assert!((halotau::axes::wavelength_nm(200.0) - 2.5079e-3).abs() < 1e-7);
/// ```
pub fn wavelength_nm(voltage_kv: f64) -> f64 {
    // h, e, m and c of CODATA 2018; the first three exact or known to 1e-10.
    const PLANCK_J_S: f64 = 6.626_070_15e-34;
    const CHARGE_C: f64 = 1.602_176_634e-19;
    const MASS_KG: f64 = 9.109_383_701_5e-31;
    const LIGHT_M_PER_S: f64 = 299_792_458.0;
    let energy_j = CHARGE_C * voltage_kv * 1e3;
    let rest_j = MASS_KG * LIGHT_M_PER_S * LIGHT_M_PER_S;
    1e9 * PLANCK_J_S * LIGHT_M_PER_S / (energy_j * (energy_j + 2.0 * rest_j)).sqrt()
}

/// Full width at half maximum of the probe of a round aperture, an Airy pattern, times the radius α/λ of the aperture: as it is quoted,
/// to three digits 0.514.
pub const AIRY_FWHM: f64 = 0.51;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::series::{SampleType, SeriesShape};

    #[test]
    fn gaps_doubles_and_jitter_of_timestamps_are_told() {
        let codes = |times_s: &[f64]| -> Vec<String> {
            let axis = TimeAxis::new(times_s.to_vec(), TimeBasis::Timestamps);
            let warnings = axis.expect("the times increase").irregularities();
            warnings.into_iter().map(|warning| warning.code).collect()
        };
        assert_eq!(codes(&[0.0, 10.0, 20.05, 30.0, 40.0]), Vec::<String>::new());
        assert_eq!(codes(&[0.0, 10.0, 20.0, 40.0, 50.0]), ["W022"]);
        assert_eq!(codes(&[0.0, 10.0, 14.0, 24.0, 34.0, 44.0]), ["W024"]);
        assert_eq!(codes(&[0.0, 12.0, 20.0, 30.0, 42.0, 50.0]), ["W023"]);
    }

    #[test]
    fn a_scan_is_no_shorter_than_its_frames() {
        let shape = SeriesShape {
            n_times: 5,
            n_rows: 60,
            n_cols: 120,
            pattern_rows: 4,
            pattern_cols: 4,
        };
        let mut header = SeriesHeader::new("a", "memory", shape, SampleType::U8);
        header.dwell_ms = Some(Stated::new(1.0, "recipe"));
        let codes = |period_s: f64| -> Vec<String> {
            let mut header = header.clone();
            header.period_s = Some(Stated::new(period_s, "recipe"));
            let (_, warnings) = TimeAxis::of(&header, TimeBasis::Auto).expect("a period is stated");
            warnings.into_iter().map(|warning| warning.code).collect()
        };
        assert_eq!(codes(9.2), [""; 0]);
        assert_eq!(codes(4.8), ["W025"]);
    }

    #[test]
    fn only_a_series_needs_a_time_from_scan_to_scan() {
        let of = |n_times| {
            let shape = SeriesShape {
                n_times,
                n_rows: 1,
                n_cols: 1,
                pattern_rows: 4,
                pattern_cols: 4,
            };
            let header = SeriesHeader::new("a", "memory", shape, SampleType::U8);
            TimeAxis::of(&header, TimeBasis::Auto).map(|(axis, _)| axis.times_s)
        };
        assert!(matches!(of(1).as_deref(), Ok([0.0])));
        assert!(of(2).is_err());
    }
}
