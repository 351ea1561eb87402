//! Which numbers stand at an axis?

/// How numbers spread along an axis.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scale {
    /// Evenly.
    Linear,
    /// By their logarithm.
    Log,
}

/// A scale with its ends.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Axis {
    /// How numbers spread.
    pub scale: Scale,
    /// Number at the low end.
    pub min: f64,
    /// Number at the high end.
    pub max: f64,
}

/// Marks of an axis.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Ticks {
    /// Numbers with their labels.
    pub major: Vec<(f64, String)>,
    /// Numbers without.
    pub minor: Vec<f64>,
}

impl Axis {
    /// From one number to another, evenly. An empty or broken range becomes one that can be drawn.
    pub fn linear(min: f64, max: f64) -> Self {
        let (min, max) = match (min.is_finite(), max.is_finite()) {
            (true, true) if min < max => (min, max),
            (true, _) => {
                let half = if min == 0.0 { 0.5 } else { 0.1 * min.abs() };
                (min - half, min + half)
            }
            _ => (0.0, 1.0),
        };
        Self {
            scale: Scale::Linear,
            min,
            max,
        }
    }

    /// From one positive number to another, by logarithm. An empty or broken range becomes one that can be drawn.
    pub fn log(min: f64, max: f64) -> Self {
        let (min, max) = match (min.is_finite() && min > 0.0, max.is_finite() && max > 0.0) {
            // Below a ratio of 1.05 the marks of a logarithmic axis cannot be told apart.
            (true, true) if max > 1.05 * min => (min, max),
            (true, _) => (min / 1.5, min * 1.5),
            _ => (1.0, 10.0),
        };
        Self {
            scale: Scale::Log,
            min,
            max,
        }
    }

    /// The range of finite numbers (for a log scale positive ones), widened by a share of its length at both ends.
    pub fn around(scale: Scale, values: impl IntoIterator<Item = f64>, margin: f64) -> Self {
        let (mut min, mut max) = (f64::INFINITY, f64::NEG_INFINITY);
        for value in values {
            if value.is_finite() && (scale == Scale::Linear || value > 0.0) {
                min = min.min(value);
                max = max.max(value);
            }
        }
        match scale {
            Scale::Linear => {
                let axis = Self::linear(min, max);
                let pad = margin * (axis.max - axis.min);
                Self::linear(axis.min - pad, axis.max + pad)
            }
            Scale::Log => {
                let axis = Self::log(min, max);
                let pad = (axis.max / axis.min).powf(margin);
                Self::log(axis.min / pad, axis.max * pad)
            }
        }
    }

    /// The range that holds all finite numbers but a share of outliers at each end.
    pub fn percentiles(scale: Scale, mut values: Vec<f64>, share: f64) -> Self {
        values.retain(|value| value.is_finite() && (scale == Scale::Linear || *value > 0.0));
        values.sort_by(f64::total_cmp);
        let at = |share: f64| -> f64 {
            let last = values.len().saturating_sub(1);
            let index = (share * last as f64).round() as usize;
            values.get(index).copied().unwrap_or(f64::NAN)
        };
        match scale {
            Scale::Linear => Self::linear(at(share), at(1.0 - share)),
            Scale::Log => Self::log(at(share), at(1.0 - share)),
        }
    }

    /// Place of a number, 0 at the low end and 1 at the high end.
    pub fn fraction(&self, value: f64) -> f64 {
        match self.scale {
            Scale::Linear => (value - self.min) / (self.max - self.min),
            Scale::Log => (value / self.min).ln() / (self.max / self.min).ln(),
        }
    }

    /// Whether a number lies between the ends, with room for rounding.
    pub fn holds(&self, value: f64) -> bool {
        (-1e-9..=1.0 + 1e-9).contains(&self.fraction(value))
    }

    /// Round numbers between the ends, about as many as asked for.
    pub fn ticks(&self, about: usize) -> Ticks {
        match self.scale {
            Scale::Linear => self.linear_ticks(about),
            Scale::Log => self.log_ticks(about),
        }
    }

    fn linear_ticks(&self, about: usize) -> Ticks {
        let length = self.max - self.min;
        let mut step = nice_step(length / about.max(1) as f64);
        let n_marks = |step: f64| (self.max / step).floor() - (self.min / step).ceil() + 1.0;
        // A step that leaves one or two marks tells little: the next smaller one.
        if n_marks(step) < about.min(3) as f64 {
            step = nice_length(step * 0.9);
        }
        let mantissa = step / 10_f64.powf(step.log10().floor());
        let parts = if (mantissa - 2.0).abs() < 0.1 { 4 } else { 5 };
        let decimals = decimals_of(step);
        let mut ticks = Ticks::default();
        let minor_step = step / f64::from(parts);
        let first = (self.min / minor_step).floor() as i64;
        let last = (self.max / minor_step).ceil() as i64;
        for count in first..=last {
            let value = count as f64 * minor_step;
            if !self.holds(value) {
                continue;
            }
            if count % i64::from(parts) == 0 {
                ticks.major.push((value, format_number(value, decimals)));
            } else {
                ticks.minor.push(value);
            }
        }
        ticks
    }

    fn log_ticks(&self, about: usize) -> Ticks {
        let decades = (self.max / self.min).log10();
        if decades < 0.35 {
            // Too short for powers of ten: evenly spaced round numbers, at their logarithmic places.
            return self.linear_ticks(about.min(4));
        }
        // The densest set of mantissas that does not exceed the number asked for.
        let candidates: [&[f64]; 4] = [
            &[1.0, 2.0, 3.0, 5.0, 7.0],
            &[1.0, 2.0, 5.0],
            &[1.0, 3.0],
            &[1.0],
        ];
        let (low, high) = (
            self.min.log10().floor() as i32,
            self.max.log10().ceil() as i32,
        );
        let values_of = |mantissas: &[f64], every: i32| -> Vec<f64> {
            (low..=high)
                .filter(|exponent| exponent.rem_euclid(every) == 0)
                .flat_map(|exponent| {
                    mantissas
                        .iter()
                        .map(move |mantissa| mantissa * 10_f64.powi(exponent))
                })
                .filter(|value| self.holds(*value))
                .collect()
        };
        let mut chosen = candidates
            .iter()
            .map(|mantissas| values_of(mantissas, 1))
            .find(|values| values.len() <= about + 1)
            .unwrap_or_default();
        if chosen.len() < 2 {
            chosen = values_of(&[1.0, 2.0, 5.0], 1);
        }
        let mut every = 1;
        while chosen.len() > about + 1 {
            every += 1;
            chosen = values_of(&[1.0], every);
        }
        let minor = (low..=high)
            .flat_map(|exponent| (1..10).map(move |m| f64::from(m) * 10_f64.powi(exponent)))
            .filter(|value| {
                self.holds(*value)
                    && decades < 8.0
                    && !chosen
                        .iter()
                        .any(|major| (major / value - 1.0).abs() < 1e-6)
            })
            .collect();
        Ticks {
            major: chosen
                .into_iter()
                .map(|value| (value, short_number(value)))
                .collect(),
            minor,
        }
    }
}

/// The smallest of 1, 2, 5 times a power of ten that is not below a length.
pub(crate) fn nice_step(length: f64) -> f64 {
    if !(length.is_finite() && length > 0.0) {
        return 1.0;
    }
    let power = 10_f64.powf(length.log10().floor());
    let mantissa = length / power;
    // A hair of tolerance, so that 2.0000001 still gives 2.
    let nice = [1.0, 2.0, 5.0]
        .into_iter()
        .find(|nice| mantissa <= nice * 1.000_001)
        .unwrap_or(10.0);
    nice * power
}

/// The largest of 1, 2, 5 times a power of ten that is not above a length.
pub(crate) fn nice_length(length: f64) -> f64 {
    if !(length.is_finite() && length > 0.0) {
        return 1.0;
    }
    let power = 10_f64.powf(length.log10().floor());
    let mantissa = length / power;
    let nice = [5.0, 2.0]
        .into_iter()
        .find(|nice| mantissa >= nice * 0.999_999)
        .unwrap_or(1.0);
    nice * power
}

fn decimals_of(step: f64) -> usize {
    (-(step.log10() + 1e-9).floor()).clamp(0.0, 12.0) as usize
}

/// With a true minus sign; very large and small numbers as powers of ten.
fn format_number(value: f64, decimals: usize) -> String {
    let value = if value.abs() < 1e-12 { 0.0 } else { value };
    if value.abs() >= 1e6 || decimals > 5 {
        return exponent_number(value);
    }
    format!("{value:.decimals$}").replace('-', "−")
}

/// Without superfluous digits: 0.05, 2, 3000, 2·10⁵.
pub fn short_number(value: f64) -> String {
    if value == 0.0 || (1e-3..1e5).contains(&value.abs()) {
        let decimals = if value == 0.0 {
            0
        } else {
            decimals_of(value.abs())
        };
        let text = format!("{value:.*}", decimals + 1);
        let text = if text.contains('.') {
            text.trim_end_matches('0').trim_end_matches('.')
        } else {
            &text
        };
        return text.replace('-', "−");
    }
    exponent_number(value)
}

fn exponent_number(value: f64) -> String {
    let exponent = value.abs().log10().floor();
    let mantissa = value / 10_f64.powf(exponent);
    let mut text = if (mantissa - 1.0).abs() < 1e-6 {
        String::new()
    } else {
        let rounded = format!("{mantissa:.1}");
        format!("{}·", rounded.trim_end_matches(".0").replace('-', "−"))
    };
    text.push_str("10");
    for digit in format!("{exponent:.0}").chars() {
        text.push(match digit {
            '-' => '⁻',
            '1' => '¹',
            '2' => '²',
            '3' => '³',
            '4' => '⁴',
            '5' => '⁵',
            '6' => '⁶',
            '7' => '⁷',
            '8' => '⁸',
            '9' => '⁹',
            _ => '⁰',
        });
    }
    text
}

/// A number with its significant digits, for text: "1092", "0.56", "97".
pub fn significant(value: f64, digits: usize) -> String {
    if !value.is_finite() {
        return if value == f64::INFINITY {
            "∞".to_owned()
        } else if value == f64::NEG_INFINITY {
            "−∞".to_owned()
        } else {
            "–".to_owned()
        };
    }
    if value == 0.0 {
        return "0".to_owned();
    }
    if !(1e-4..1e7).contains(&value.abs()) {
        return exponent_number(value);
    }
    let exponent = value.abs().log10().floor() as i32;
    let decimals = (digits as i32 - 1 - exponent).max(0) as usize;
    // Digits beyond those that count become zeros in large numbers: 10 921 with three digits is 10 900.
    let unit = 10_f64.powi((exponent + 1 - digits as i32).max(0));
    let kept = if unit > 1.0 {
        (value / unit).round() * unit
    } else {
        value
    };
    format!("{kept:.decimals$}").replace('-', "−")
}

/// A number with its interval, all with the decimals that the width of the interval deserves: "97 [84, 110]".
pub fn with_interval(value: f64, lower: f64, upper: f64) -> String {
    if value.is_nan() && lower.is_finite() && upper == f64::INFINITY {
        return format!("> {}", significant(lower, 3));
    }
    let half_width = if upper.is_finite() && lower.is_finite() {
        (upper - lower) / 2.0
    } else if lower.is_finite() {
        // Open above: what is known is how far below the lower end lies.
        value - lower
    } else {
        f64::NAN
    };
    if !(half_width > 0.0 && value.is_finite()) {
        return format!("{} [–]", significant(value, 3));
    }
    // Two digits of the half width; more would pretend to know it.
    let exponent = half_width.log10().floor() as i32 - 1;
    let show = |number: f64| {
        if !number.is_finite() {
            return significant(number, 3);
        }
        let unit = 10_f64.powi(exponent.max(0));
        let decimals = (-exponent).clamp(0, 9) as usize;
        let kept = if unit > 1.0 {
            (number / unit).round() * unit
        } else {
            number
        };
        let kept = if kept == 0.0 { 0.0 } else { kept };
        format!("{kept:.decimals$}").replace('-', "−")
    };
    format!("{} [{}, {}]", show(value), show(lower), show(upper))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(axis: Axis, about: usize) -> Vec<String> {
        axis.ticks(about)
            .major
            .into_iter()
            .map(|(_, label)| label)
            .collect()
    }

    #[test]
    fn linear_ticks_are_round() {
        assert_eq!(labels(Axis::linear(0.0, 1048.0), 5), ["0", "500", "1000"]);
        assert_eq!(
            labels(Axis::linear(-0.1, 0.1), 4),
            ["−0.10", "−0.05", "0.00", "0.05", "0.10"]
        );
    }

    #[test]
    fn log_ticks_are_round() {
        assert_eq!(
            labels(Axis::log(150.0, 6000.0), 5),
            ["200", "500", "1000", "2000", "5000"]
        );
        assert_eq!(labels(Axis::log(1e-9, 1e9), 6).len(), 7);
        assert_eq!(
            labels(Axis::log(900.0, 1100.0), 4),
            ["900", "950", "1000", "1050", "1100"]
        );
    }

    #[test]
    fn broken_ranges_can_be_drawn() {
        for axis in [
            Axis::linear(f64::NAN, 1.0),
            Axis::linear(3.0, 3.0),
            Axis::linear(f64::INFINITY, f64::NEG_INFINITY),
            Axis::log(0.0, 0.0),
            Axis::log(5.0, 5.0),
            Axis::percentiles(Scale::Log, vec![f64::NAN], 0.01),
        ] {
            assert!(axis.min < axis.max && axis.min.is_finite() && axis.max.is_finite());
            assert!(!axis.ticks(5).major.is_empty(), "{axis:?}");
        }
    }

    #[test]
    fn lengths_are_one_two_five() {
        assert_eq!(nice_length(3.3), 2.0);
        assert_eq!(nice_length(0.99), 0.5);
        assert_eq!(nice_length(5.0), 5.0);
        assert_eq!(nice_step(3.3), 5.0);
    }

    #[test]
    fn numbers_in_text() {
        assert_eq!(significant(1092.4, 3), "1090");
        assert_eq!(significant(0.5601, 3), "0.560");
        assert_eq!(significant(-11.63, 3), "−11.6");
        assert_eq!(significant(f64::NAN, 3), "–");
        assert_eq!(with_interval(97.04, 83.96, 110.1), "97 [84, 110]");
        assert_eq!(
            with_interval(0.5512, 0.5424, 0.56),
            "0.5512 [0.5424, 0.5600]"
        );
        assert_eq!(
            with_interval(2350.0, 1570.0, f64::INFINITY),
            "2350 [1570, ∞]"
        );
        assert_eq!(short_number(0.05), "0.05");
        assert_eq!(short_number(2e5), "2·10⁵");
    }
}
