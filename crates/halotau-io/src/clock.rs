//! Which moment does a written date and time name?
//!
//! All readers ask here, so that one calendar ([`jiff`]'s) decides which dates exist. Moments are nanoseconds since 1970.

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

/// A moment as a file writes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Moment {
    /// Nanoseconds since 1970; of the zone of the clock where none is written.
    pub(crate) ns: i64,
    /// Whether the text says that it is UTC.
    pub(crate) is_utc: bool,
}

/// Reads `2021-04-15T14:03:32.852759401Z` and `2021-04-15 15:03:32.852759`; also the day first, with slashes.
pub(crate) fn moment(text: &str) -> Option<Moment> {
    let text = text.trim();
    let (text, is_utc) = match text.strip_suffix('Z') {
        Some(text) => (text, true),
        None => (text, false),
    };
    let format = match text.contains('/') {
        true => "%d/%m/%Y %H:%M:%S%.f",
        false => "%Y-%m-%d %H:%M:%S%.f",
    };
    let time = DateTime::strptime(format, text.replacen('T', " ", 1)).ok()?;
    let ns = unix_ns_of(time)?;
    Some(Moment { ns, is_utc })
}

/// A date and time with its zone, `2025-08-06T02:52:43.741+02:00`, as nanoseconds since 1970 in UTC.
///
/// `None` where the text is no such date, or its zone is not stated: a moment that may be off by hours would
/// put files in a wrong order.
pub(crate) fn unix_ns(text: &str) -> Option<i64> {
    nanoseconds(text.trim().parse().ok()?)
}

/// A date and time without zone, read as UTC.
pub(crate) fn unix_ns_of(time: DateTime) -> Option<i64> {
    nanoseconds(TimeZone::UTC.to_timestamp(time).ok()?)
}

/// A number of seconds since 1970; `None` where 64 bits do not hold its nanoseconds.
pub(crate) fn unix_ns_of_seconds(seconds: f64) -> Option<i64> {
    // The year 2255; whole and fraction apart, because 53 bits do not hold the nanoseconds of today.
    (0.0..9e9)
        .contains(&seconds)
        .then(|| seconds as i64 * 1_000_000_000 + (seconds.fract() * 1e9).round() as i64)
}

/// Nanoseconds since 1970 where 64 bits hold them, until 2262.
fn nanoseconds(time: Timestamp) -> Option<i64> {
    i64::try_from(time.as_nanosecond()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_seconds_since_1970() {
        let cases = [
            ("1970-01-01 00:00:00", 0, false),
            ("1970-01-01T00:00:01.5Z", 1_500_000_000, true),
            // Computed with GNU date.
            (
                "2021-04-15T14:03:32.852759401Z",
                1_618_495_412_852_759_401,
                true,
            ),
            ("2000-02-29 23:59:59.000001", 951_868_799_000_001_000, false),
            ("29/02/2000 23:59:59", 951_868_799_000_000_000, false),
        ];
        for (text, ns, is_utc) in cases {
            assert_eq!(moment(text), Some(Moment { ns, is_utc }), "{text}");
        }
        for text in [
            "",
            "2021-04-15",
            "2021-13-15 00:00:00",
            "2021-04-15 24:00:00",
            "2021-04-15 00:00:00.1234567890",
            "2021-04-15 00:00:+1",
            "99999-01-01 00:00:00",
            "2021-04-15 00:00:00.é",
        ] {
            assert_eq!(moment(text), None, "{text}");
        }
    }

    #[test]
    fn dates_with_a_zone_count_from_1970_in_utc() {
        assert_eq!(unix_ns("1970-01-01T00:00:00Z"), Some(0));
        assert_eq!(
            unix_ns("2000-03-01 00:00:00.5Z"),
            Some(951_868_800_500_000_000)
        );
        assert_eq!(
            unix_ns("2025-08-06T02:52:43.741+02:00"),
            Some(1_754_441_563_741_000_000)
        );
        assert_eq!(
            unix_ns("2024-02-29T23:00-0130"),
            Some(1_709_253_000_000_000_000)
        );
        for other in [
            "",
            "2025-08-06",
            "2025-08-06T02:52:43",
            "2025-13-06T02:52:43Z",
            "T-",
            "x T+",
        ] {
            assert_eq!(unix_ns(other), None, "{other}");
        }
    }
}
