//! When was an image of DigitalMicrograph taken?
//!
//! Newer files state the operating system's time, 100 ns since 1601 in UTC. Older ones state a date and a time as they were
//! shown on the screen, without zone: read as UTC, so that differences between files hold.

use jiff::civil::{Date, Time};

use super::tags::Group;
use crate::clock::unix_ns_of;

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
    let date = date(tags.text("DataBar.Acquisition Date")?)?;
    let time = time(tags.text("DataBar.Acquisition Time")?)?;
    unix_ns_of(date.to_datetime(time))
}

/// `5/17/2015` (month first unless that is none) or `2015-05-17`.
fn date(text: &str) -> Option<Date> {
    let parts: Vec<i16> = text
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
    Date::new(year, month.try_into().ok()?, day.try_into().ok()?).ok()
}

/// `5:00:16 PM` or `17:00:16`.
fn time(text: &str) -> Option<Time> {
    let formats = ["%I:%M:%S %p", "%H:%M:%S"];
    formats
        .iter()
        .find_map(|format| Time::strptime(format, text.trim()).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_of_all_kinds_are_understood() {
        let expected = Date::constant(2015, 5, 17);
        for text in ["5/17/2015", "17/5/2015", "2015-05-17", "17.05.15"] {
            assert_eq!(date(text), Some(expected), "{text}");
        }
        assert_eq!(date("29/2/2024"), Some(Date::constant(2024, 2, 29)));
        for text in [
            "",
            "5/17",
            "a/b/c",
            "0/0/2015",
            "29/2/2023",
            "5/17/99999999999999999999",
        ] {
            assert_eq!(date(text), None, "{text}");
        }
        let expected = Time::constant(17, 0, 16, 0);
        for text in ["5:00:16 PM", "17:00:16", "05:00:16 pm"] {
            assert_eq!(time(text), Some(expected), "{text}");
        }
        assert_eq!(time("12:00:01 AM"), Some(Time::constant(0, 0, 1, 0)));
        assert_eq!(time("25:00:00"), None);
        // date -d "2015-05-17 17:00:16 UTC" +%s gives 1431882016.
        let both = date("5/17/2015").zip(time("5:00:16 PM"));
        let ns = both.and_then(|(date, time)| unix_ns_of(date.to_datetime(time)));
        assert_eq!(ns, Some(1_431_882_016_000_000_000));
    }
}
