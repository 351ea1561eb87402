//! Which moment does a written date and time name?

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
    let (date, time) = text.split_once(['T', ' '])?;
    let (year, month, day) = if date.contains('/') {
        let [day, month, year] = numbers(date, '/')?;
        (year, month, day)
    } else {
        let [year, month, day] = numbers(date, '-')?;
        (year, month, day)
    };
    let (whole, fraction) = time.trim().split_once('.').unwrap_or((time.trim(), ""));
    let [hour, minute, second] = numbers(whole, ':')?;
    let valid = (1..=12).contains(&month)
        && (1..=31).contains(&day)
        && (1900..=2250).contains(&year)
        && hour < 24
        && minute < 60
        && second <= 60;
    if !valid || fraction.len() > 9 || !fraction.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let mut ns = 0_i64;
    for place in 0..9 {
        let digit = fraction.as_bytes().get(place).map_or(0, |b| b - b'0');
        ns = ns * 10 + i64::from(digit);
    }
    let seconds = ((days_since_1970(year, month, day) * 24 + hour) * 60 + minute) * 60 + second;
    Some(Moment {
        ns: seconds.checked_mul(1_000_000_000)?.checked_add(ns)?,
        is_utc,
    })
}

/// Three numbers of at most four digits.
fn numbers(text: &str, separator: char) -> Option<[i64; 3]> {
    let mut parts = text.split(separator);
    let mut next = || {
        let part = parts.next()?;
        let digits = (1..=4).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_digit());
        digits.then(|| part.parse().ok()).flatten()
    };
    let found = [next()?, next()?, next()?];
    parts.next().is_none().then_some(found)
}

/// Days in the Gregorian calendar, counted in years that begin in March, so that the leap day is the last.
fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    let (year, month) = if month > 2 {
        (year, month - 3)
    } else {
        (year - 1, month + 9)
    };
    let leap_days = year / 4 - year / 100 + year / 400;
    // Months from March on have 31 30 31 30 31 days, again and again.
    let before_month = (153 * month + 2) / 5;
    365 * year + leap_days + before_month + day - 1 - 719_468
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
}
