//! When was an image of DigitalMicrograph taken?
//!
//! Newer files state the operating system's time, 100 ns since 1601 in UTC. Older ones state a date and a time as they were
//! shown on the screen, without zone: read as UTC, so that differences between files hold.

use super::tags::Group;

/// 100 ns from 1601 to 1970: 134774 days.
const UNIX_EPOCH: f64 = 134_774.0 * 86_400.0 * 1e7;
/// Times beyond this, some ten thousand years, are none.
const LATEST: f64 = 3.0e18;

/// Nanoseconds since 1970.
pub(super) fn start_unix_ns(tags: &Group) -> Option<i64> {
    let since_1601 = tags.number("DataBar.Acquisition Time (OS)");
    if let Some(ticks) = since_1601.filter(|&ticks| ticks > UNIX_EPOCH && ticks < LATEST) {
        // A float has 53 bits; what it resolves at this size is 1.6 µs.
        return ((ticks - UNIX_EPOCH) as i64).checked_mul(100);
    }
    let days = days_since_1970(tags.text("DataBar.Acquisition Date")?)?;
    let seconds = seconds_of_day(tags.text("DataBar.Acquisition Time")?)?;
    days.checked_mul(86_400)?
        .checked_add(seconds)?
        .checked_mul(1_000_000_000)
}

/// `5/17/2015` (month first unless that is none) or `2015-05-17`.
fn days_since_1970(date: &str) -> Option<i64> {
    let parts: Vec<i64> = date
        .split(['/', '-', '.'])
        .map(|part| part.trim().parse().ok())
        .collect::<Option<_>>()?;
    let [first, second, third] = parts[..] else {
        return None;
    };
    let (year, month, day) = match (first, second) {
        (1000.., _) => (first, second, third),
        (13.., _) => (third, second, first),
        _ => (third, first, second),
    };
    // Two digits are of this century.
    let year = if year < 100 { year + 2000 } else { year };
    let in_range =
        (1970..=9999).contains(&year) && (1..=12).contains(&month) && (1..=31).contains(&day);
    // Days of the civil calendar, counted in years that begin in March so that the leap day comes last.
    in_range.then(|| {
        let year = if month <= 2 { year - 1 } else { year };
        let month = (month + 9) % 12;
        let leap_days = year / 4 - year / 100 + year / 400;
        365 * year + leap_days + (153 * month + 2) / 5 + day - 1 - 719_468
    })
}

/// `5:00:16 PM` or `17:00:16`.
fn seconds_of_day(time: &str) -> Option<i64> {
    let time = time.trim();
    let (clock, half) = match time.split_once(' ') {
        Some((clock, half)) => (clock, Some(half.trim().to_uppercase())),
        None => (time, None),
    };
    let parts: Vec<i64> = clock
        .split(':')
        .map(|part| part.parse().ok())
        .collect::<Option<_>>()?;
    let [hour, minute, second] = parts[..] else {
        return None;
    };
    let hour = match half.as_deref() {
        Some("PM") if hour < 12 => hour + 12,
        Some("AM") if hour == 12 => 0,
        Some("AM" | "PM") | None => hour,
        Some(_) => return None,
    };
    let in_range =
        (0..24).contains(&hour) && (0..60).contains(&minute) && (0..60).contains(&second);
    in_range.then_some(hour * 3600 + minute * 60 + second)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_of_all_kinds_are_understood() {
        // date -d "2015-05-17 17:00:16 UTC" +%s gives 1431882016.
        let days = 1_431_882_016 / 86_400;
        for date in ["5/17/2015", "17/5/2015", "2015-05-17", "17.05.15"] {
            assert_eq!(days_since_1970(date), Some(days), "{date}");
        }
        assert_eq!(days_since_1970("1/1/1970"), Some(0));
        assert_eq!(days_since_1970("29/2/2024"), Some(19_782));
        for date in ["", "5/17", "a/b/c", "0/0/2015", "5/17/99999999999999999999"] {
            assert_eq!(days_since_1970(date), None, "{date}");
        }
        assert_eq!(seconds_of_day("5:00:16 PM"), Some(61_216));
        assert_eq!(seconds_of_day("12:00:01 AM"), Some(1));
        assert_eq!(seconds_of_day("17:00:16"), Some(61_216));
        assert_eq!(seconds_of_day("25:00:00"), None);
    }
}
