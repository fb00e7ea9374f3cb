//! The units an operator writes in the configuration: sizes, times, counts and rates, each of which may be lifted with
//! the word `"unlimited"`.
//!
//! Zero never means "without end": it means zero, and where zero makes no sense the key refuses it.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{self, Deserialize, Deserializer, Visitor};
use serde::ser::{Serialize, Serializer};

const UNLIMITED: &str = "unlimited";

/// A number of bytes: `1048576`, `"1 MiB"`, `"16 kB"` or `"unlimited"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ByteSize(u64);

/// A length of time: a number of seconds, `"30s"`, `"1h 30min"`, `"250ms"`, `"7d"` or `"unlimited"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Period(Duration);

/// A number of things: `10` or `"unlimited"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Count(u64);

/// So many events in a stretch of time: `"50/s"`, `"60/min"`, `"20/h"`, `"1000/d"` or `"unlimited"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Rate {
    amount: u64,
    per: Duration,
}

/// So many bytes each second: `"16 kB/s"`, `"1 MiB/s"`, a plain number of bytes, or `"unlimited"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ByteRate(u64);

/// A text that is no such quantity; the message says what to write instead.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct UnitError(String);

impl ByteSize {
    /// No limit at all.
    pub const UNLIMITED: Self = Self(u64::MAX);

    /// A size in bytes.
    pub const fn bytes(bytes: u64) -> Self {
        Self(bytes)
    }

    /// A size in kibibytes (1024 bytes).
    pub const fn kibibytes(kibibytes: u64) -> Self {
        Self(kibibytes * 1024)
    }

    /// A size in mebibytes (1024 × 1024 bytes).
    pub const fn mebibytes(mebibytes: u64) -> Self {
        Self(mebibytes * 1024 * 1024)
    }

    /// The size in bytes; `usize::MAX` when unlimited, so never add to it without saturating.
    pub fn get(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }

    /// Whether the operator lifted this limit.
    pub fn is_unlimited(self) -> bool {
        self == Self::UNLIMITED
    }

    /// Whether so many bytes still fit.
    pub fn allows(self, bytes: usize) -> bool {
        bytes <= self.get()
    }
}

impl Period {
    /// Without end.
    pub const UNLIMITED: Self = Self(Duration::MAX);

    /// A time in whole seconds.
    pub const fn seconds(seconds: u64) -> Self {
        Self(Duration::from_secs(seconds))
    }

    /// A time in milliseconds.
    pub const fn milliseconds(milliseconds: u64) -> Self {
        Self(Duration::from_millis(milliseconds))
    }

    /// The time itself; `Duration::MAX` when unlimited, which tokio's timers take for "never", so never add to it
    /// without saturating.
    pub const fn get(self) -> Duration {
        self.0
    }

    /// Whether the operator lifted this limit.
    pub fn is_unlimited(self) -> bool {
        self == Self::UNLIMITED
    }
}

impl Count {
    /// No limit at all.
    pub const UNLIMITED: Self = Self(u64::MAX);

    /// A limit of so many.
    pub const fn of(number: u64) -> Self {
        Self(number)
    }

    /// The number; `usize::MAX` when unlimited, so never add to it without saturating.
    pub fn get(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }

    /// Whether the operator lifted this limit.
    pub fn is_unlimited(self) -> bool {
        self == Self::UNLIMITED
    }

    /// Whether so many, counted with the one that is about to come, are still within the limit.
    pub fn allows(self, number: usize) -> bool {
        number <= self.get()
    }
}

impl Rate {
    /// No limit at all.
    pub const UNLIMITED: Self = Self { amount: u64::MAX, per: Duration::from_secs(1) };

    /// So many events per second.
    pub const fn per_second(amount: u64) -> Self {
        Self { amount, per: Duration::from_secs(1) }
    }

    /// So many events per minute.
    pub const fn per_minute(amount: u64) -> Self {
        Self { amount, per: Duration::from_secs(60) }
    }

    /// So many events per hour.
    pub const fn per_hour(amount: u64) -> Self {
        Self { amount, per: Duration::from_secs(3600) }
    }

    /// How many events are allowed within [`period`](Self::period); `u64::MAX` when unlimited.
    pub const fn amount(self) -> u64 {
        self.amount
    }

    /// The stretch of time the amount is counted in: a second, a minute, an hour or a day.
    pub const fn period(self) -> Duration {
        self.per
    }

    /// Whether the operator lifted this limit.
    pub fn is_unlimited(self) -> bool {
        self.amount == u64::MAX
    }
}

impl ByteRate {
    /// No limit at all.
    pub const UNLIMITED: Self = Self(u64::MAX);

    /// A rate in bytes per second.
    pub const fn bytes_per_second(bytes: u64) -> Self {
        Self(bytes)
    }

    /// The rate in bytes per second; `u64::MAX` when unlimited.
    pub const fn get(self) -> u64 {
        self.0
    }

    /// Whether the operator lifted this limit.
    pub fn is_unlimited(self) -> bool {
        self == Self::UNLIMITED
    }
}

const SIZE_UNITS: [(&str, u64); 9] = [
    ("TiB", 1 << 40),
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("TB", 1_000_000_000_000),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("kB", 1_000),
    ("B", 1),
];

fn parse_size(text: &str) -> Option<u64> {
    let (number, unit) = split_number(text.trim())?;
    let factor = match unit {
        "" => 1,
        unit => SIZE_UNITS.iter().find(|(name, _)| name.eq_ignore_ascii_case(unit))?.1,
    };
    number.checked_mul(factor).filter(|size| *size != u64::MAX)
}

fn write_size(bytes: u64, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
    let unit = SIZE_UNITS.iter().find(|(_, factor)| bytes != 0 && bytes.is_multiple_of(*factor));
    match unit {
        Some((name, factor)) => write!(formatter, "{} {name}", bytes / factor),
        None => write!(formatter, "{bytes} B"),
    }
}

const TIME_UNITS: [(&[&str], u64); 5] = [
    (&["d", "day", "days"], 86_400_000),
    (&["h", "hour", "hours"], 3_600_000),
    (&["min", "m", "minute", "minutes"], 60_000),
    (&["s", "sec", "second", "seconds"], 1_000),
    (&["ms", "millisecond", "milliseconds"], 1),
];

fn time_unit(name: &str) -> Option<u64> {
    TIME_UNITS.iter().find(|(names, _)| names.contains(&name)).map(|(_, factor)| *factor)
}

fn parse_time(text: &str) -> Option<Duration> {
    let mut rest = text.trim();
    let mut milliseconds = 0u64;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let (number, after) = split_number(rest)?;
        let end = after.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(after.len());
        let (unit, remainder) = after.split_at(end);
        // A bare number is seconds, but only when it stands alone: "1h 30" would be a guess.
        let factor =
            if unit.is_empty() && rest == text.trim() && remainder.is_empty() { 1_000 } else { time_unit(unit)? };
        milliseconds = milliseconds.checked_add(number.checked_mul(factor)?)?;
        rest = remainder.trim_start();
    }
    Some(Duration::from_millis(milliseconds))
}

fn split_number(text: &str) -> Option<(u64, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '_').unwrap_or(text.len());
    let number = text[..end].replace('_', "").parse().ok()?;
    Some((number, text[end..].trim_start()))
}

impl FromStr for ByteSize {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        if text.trim() == UNLIMITED {
            return Ok(Self::UNLIMITED);
        }
        parse_size(text).map(Self).ok_or_else(|| {
            UnitError(format!(
                "{text:?} is not a size, write bytes or a text such as \"512 KiB\", \"2 MB\" or \"unlimited\""
            ))
        })
    }
}

impl FromStr for Period {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        if text.trim() == UNLIMITED {
            return Ok(Self::UNLIMITED);
        }
        parse_time(text).map(Self).ok_or_else(|| {
            UnitError(format!(
                "{text:?} is not a time, write seconds or a text such as \"250ms\", \"30s\", \"5min\", \"1h 30min\", \"7d\" or \
                 \"unlimited\""
            ))
        })
    }
}

impl FromStr for Count {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        if text.trim() == UNLIMITED {
            return Ok(Self::UNLIMITED);
        }
        match split_number(text.trim()) {
            Some((number, "")) => Ok(Self(number)),
            _ => Err(UnitError(format!("{text:?} is not a number, write digits or \"unlimited\""))),
        }
    }
}

impl FromStr for Rate {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        if text.trim() == UNLIMITED {
            return Ok(Self::UNLIMITED);
        }
        let parsed = text.split_once('/').and_then(|(amount, per)| {
            let (amount, rest) = split_number(amount.trim())?;
            let per = Duration::from_millis(time_unit(per.trim())?);
            rest.is_empty().then_some(Self { amount, per })
        });
        parsed.ok_or_else(|| {
            UnitError(format!(
                "{text:?} is not a rate, write a text such as \"50/s\", \"60/min\", \"20/h\", \"1000/d\" or \"unlimited\""
            ))
        })
    }
}

impl FromStr for ByteRate {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        if text.trim() == UNLIMITED {
            return Ok(Self::UNLIMITED);
        }
        let trimmed = text.trim();
        parse_size(trimmed.strip_suffix("/s").unwrap_or(trimmed)).map(Self).ok_or_else(|| {
            UnitError(format!(
                "{text:?} is not a rate of bytes, write bytes per second or a text such as \"16 kB/s\", \"1 MiB/s\" or \
                 \"unlimited\""
            ))
        })
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.is_unlimited() {
            true => formatter.write_str(UNLIMITED),
            false => write_size(self.0, formatter),
        }
    }
}

impl fmt::Display for Period {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_unlimited() {
            return formatter.write_str(UNLIMITED);
        }
        let milliseconds = u64::try_from(self.0.as_millis()).unwrap_or(u64::MAX);
        let unit = TIME_UNITS.iter().find(|(_, factor)| milliseconds != 0 && milliseconds.is_multiple_of(*factor));
        match unit {
            Some((names, factor)) => write!(formatter, "{}{}", milliseconds / factor, names[0]),
            None => formatter.write_str("0s"),
        }
    }
}

impl fmt::Display for Count {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.is_unlimited() {
            true => formatter.write_str(UNLIMITED),
            false => write!(formatter, "{}", self.0),
        }
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_unlimited() {
            return formatter.write_str(UNLIMITED);
        }
        let per = match self.per.as_secs() {
            86_400 => "d",
            3_600 => "h",
            60 => "min",
            1 => "s",
            _ => "ms",
        };
        write!(formatter, "{}/{per}", self.amount)
    }
}

impl fmt::Display for ByteRate {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_unlimited() {
            return formatter.write_str(UNLIMITED);
        }
        write_size(self.0, formatter)?;
        formatter.write_str("/s")
    }
}

/// Reads a whole number or a text, the two ways every quantity may be written.
struct QuantityVisitor<T> {
    expected: &'static str,
    from_number: Option<fn(u64) -> T>,
}

impl<T: FromStr<Err = UnitError>> Visitor<'_> for QuantityVisitor<T> {
    type Value = T;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.expected)
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<T, E> {
        match self.from_number {
            Some(make) => Ok(make(number)),
            None => Err(E::invalid_type(de::Unexpected::Unsigned(number), &self)),
        }
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<T, E> {
        match u64::try_from(number) {
            Ok(number) => self.visit_u64(number),
            Err(_) => Err(E::invalid_value(de::Unexpected::Signed(number), &self)),
        }
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
        text.parse().map_err(E::custom)
    }
}

macro_rules! quantity {
    ($type:ident, $expected:literal, $from_number:expr, $schema:tt) => {
        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                deserializer.deserialize_any(QuantityVisitor { expected: $expected, from_number: $from_number })
            }
        }

        impl JsonSchema for $type {
            fn inline_schema() -> bool {
                true
            }

            fn schema_name() -> Cow<'static, str> {
                Cow::Borrowed(stringify!($type))
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({ "type": $schema })
            }
        }
    };
}

quantity!(ByteSize, "a number of bytes or a text such as \"512 KiB\"", Some(ByteSize), ["integer", "string"]);
quantity!(Period, "a number of seconds or a text such as \"30s\"", Some(Period::seconds), ["integer", "string"]);
quantity!(Count, "a number or \"unlimited\"", Some(Count), ["integer", "string"]);
quantity!(Rate, "a text such as \"50/s\"", None, "string");
quantity!(ByteRate, "bytes per second or a text such as \"16 kB/s\"", Some(ByteRate), ["integer", "string"]);

macro_rules! serialized_as_text {
    ($($type:ident),*) => {$(
        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }
    )*};
}

serialized_as_text!(ByteSize, Period, Rate, ByteRate);

impl Serialize for Count {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.is_unlimited() {
            true => serializer.serialize_str(UNLIMITED),
            false => serializer.serialize_u64(self.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_in_both_families_of_units() {
        for (text, bytes) in
            [("8192", 8192), ("8 KiB", 8192), ("8kib", 8192), ("16 kB", 16_000), ("1 MiB", 1 << 20), ("1_000 B", 1000)]
        {
            assert_eq!(text.parse::<ByteSize>().unwrap(), ByteSize::bytes(bytes), "{text}");
        }
        assert!("unlimited".parse::<ByteSize>().unwrap().is_unlimited());
        for text in ["", "MiB", "-1", "1.5 MiB", "5 parsecs", "99999999 TiB", "18446744073709551615"] {
            assert!(text.parse::<ByteSize>().is_err(), "{text}");
        }
    }

    #[test]
    fn times_are_read_with_one_or_several_units() {
        for (text, milliseconds) in [
            ("30", 30_000),
            ("30s", 30_000),
            ("250ms", 250),
            ("5min", 300_000),
            ("1h 30m", 5_400_000),
            ("1h30m", 5_400_000),
            ("7d", 604_800_000),
        ] {
            assert_eq!(text.parse::<Period>().unwrap().get(), Duration::from_millis(milliseconds), "{text}");
        }
        for text in ["", "s", "1h 30", "5 fortnights", "-3s", "1.5h"] {
            assert!(text.parse::<Period>().is_err(), "{text}");
        }
    }

    #[test]
    fn rates_are_read_with_their_unit_of_time() {
        assert_eq!("50/s".parse::<Rate>().unwrap(), Rate::per_second(50));
        assert_eq!("60 / min".parse::<Rate>().unwrap(), Rate::per_minute(60));
        assert_eq!("20/hour".parse::<Rate>().unwrap(), Rate::per_hour(20));
        assert_eq!("16 kB/s".parse::<ByteRate>().unwrap().get(), 16_000);
        for text in ["50", "50/fortnight", "/s", "fast"] {
            assert!(text.parse::<Rate>().is_err(), "{text}");
        }
    }

    #[test]
    fn what_is_written_reads_back_the_same() {
        for size in [0, 1, 1000, 8192, 10_000, 16_000, 1 << 20, u64::MAX] {
            assert_eq!(ByteSize(size).to_string().parse::<ByteSize>().unwrap(), ByteSize(size));
            assert_eq!(ByteRate(size).to_string().parse::<ByteRate>().unwrap(), ByteRate(size));
        }
        for milliseconds in [0, 1, 250, 1000, 30_000, 90_000, 5_400_000, 86_400_000] {
            let period = Period::milliseconds(milliseconds);
            assert_eq!(period.to_string().parse::<Period>().unwrap(), period);
        }
        assert_eq!(Period::UNLIMITED.to_string().parse::<Period>().unwrap(), Period::UNLIMITED);
        for rate in [Rate::per_second(50), Rate::per_minute(60), Rate::per_hour(20), Rate::UNLIMITED] {
            assert_eq!(rate.to_string().parse::<Rate>().unwrap(), rate);
        }
        assert_eq!(ByteSize::mebibytes(1).to_string(), "1 MiB");
        assert_eq!(ByteRate::bytes_per_second(16_000).to_string(), "16 kB/s");
        assert_eq!(Period::seconds(180).to_string(), "3min");
    }

    #[test]
    fn an_unlimited_quantity_allows_everything() {
        assert!(Count::UNLIMITED.allows(usize::MAX) && ByteSize::UNLIMITED.allows(usize::MAX));
        assert!(Count::of(10).allows(10) && !Count::of(10).allows(11));
        assert!(!Count::of(0).allows(1));
    }
}
