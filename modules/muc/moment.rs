//! A moment as a room knows it: for measuring how long something takes, and for stamping what is shown.

#[cfg(test)]
use std::time::Duration;
use std::time::Instant;

use waxwing_core::clock::{date_time, now_milliseconds};

/// Now, read once for everything that happens at the same time.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    /// For measuring; never goes back.
    pub instant: Instant,
    /// For showing: milliseconds since 1970.
    pub milliseconds: i64,
}

impl Moment {
    /// What the clocks show.
    pub fn now() -> Moment {
        Moment { instant: Instant::now(), milliseconds: now_milliseconds() }
    }

    /// So much later.
    #[cfg(test)]
    pub fn after(self, duration: Duration) -> Moment {
        let milliseconds = i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
        Moment {
            instant: self.instant.checked_add(duration).unwrap_or(self.instant),
            milliseconds: self.milliseconds.saturating_add(milliseconds),
        }
    }
}

/// Reads a time in the profile of XEP-0082 (`2002-10-13T23:58:37Z`, fractions and offsets allowed); milliseconds since
/// 1970.
pub fn read_date_time(text: &str) -> Option<i64> {
    let (date, rest) = text.split_once('T')?;
    let end = rest.find(['Z', '+', '-'])?;
    let (time, zone) = rest.split_at(end);
    let [year, month, day] = numbers(date, '-')?;
    let (time, fraction) = time.split_once('.').unwrap_or((time, ""));
    let [hour, minute, second] = numbers(time, ':')?;
    let in_range = (1..=12).contains(&month)
        && (1..=31).contains(&day)
        && (0..24).contains(&hour)
        && (0..60).contains(&minute)
        && (0..=60).contains(&second)
        && fraction.bytes().all(|byte| byte.is_ascii_digit());
    if !in_range {
        return None;
    }
    let offset = match zone {
        "Z" => 0,
        zone => {
            let [hours, minutes] = numbers(&zone[1..], ':')?;
            if hours > 14 || minutes > 59 {
                return None;
            }
            (hours * 60 + minutes) * if zone.starts_with('-') { -1 } else { 1 }
        }
    };
    let thousandths: i64 = format!("{:0<3}", fraction.get(..3.min(fraction.len()))?).parse().ok()?;
    let minutes = (days_from_civil(year, month, day) * 24 + hour) * 60 + minute - offset;
    Some((minutes * 60 + second) * 1000 + thousandths)
}

/// Exactly `N` numbers of digits between separators.
fn numbers<const N: usize>(text: &str, separator: char) -> Option<[i64; N]> {
    let mut numbers = [0; N];
    let mut parts = text.split(separator);
    for number in &mut numbers {
        let part = parts.next()?;
        let digits = !part.is_empty() && part.len() <= 4 && part.bytes().all(|byte| byte.is_ascii_digit());
        *number = if digits { part.parse().ok()? } else { return None };
    }
    parts.next().is_none().then_some(numbers)
}

/// Days since 1970-01-01 in the proleptic Gregorian calendar.
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    // A year that begins in March ends with its leap day.
    let year = if month <= 2 { year - 1 } else { year };
    let month_from_march = (month + 9) % 12;
    let day_of_year = (153 * month_from_march + 2) / 5 + day - 1;
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

/// The stamp of a `<delay/>` for a time in milliseconds since 1970.
pub fn stamp(milliseconds: i64) -> String {
    date_time(milliseconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_read_back_as_they_are_written() {
        for milliseconds in [0, 1, 951_782_399_999, 951_827_696_000, 1_795_351_919_123, 4_102_444_800_000] {
            assert_eq!(read_date_time(&stamp(milliseconds)), Some(milliseconds), "{}", stamp(milliseconds));
        }
        assert_eq!(read_date_time("1970-01-01T00:00:00Z"), Some(0));
        assert_eq!(read_date_time("1970-01-01T01:30:00.5+01:30"), Some(500));
        assert_eq!(read_date_time("1969-12-31T23:00:00-01:00"), Some(0));
    }

    #[test]
    fn what_is_no_time_is_not_read() {
        for text in [
            "",
            "now",
            "2002-10-13",
            "2002-13-13T00:00:00Z",
            "2002-10-13T24:00:00Z",
            "2002-10-13T00:00Z",
            "2002-10-13T00:00:00",
            "2002-10-13T00:00:00+99:00",
            "-2002-10-13T00:00:00Z",
            "2002-10-13T00:00:00.xZ",
            "2002-10-13T00:00:00+",
            "99999-10-13T00:00:00Z",
        ] {
            assert_eq!(read_date_time(text), None, "{text}");
        }
    }
}
