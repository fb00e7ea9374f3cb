//! What the operator may set about archives.

use std::fmt;
use std::time::Duration;

use schemars::JsonSchema;
use serde::de::{Deserializer, Error, Visitor};
use serde::{Deserialize, Serialize, Serializer};
use waxwing_core::limits::{Count, Period};

use crate::preferences::Fallback;

/// `[modules.mam]`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// For how long messages are kept: `"forever"`, or a time such as `"365d"` after which they are deleted in the
    /// background. Rooms may have a time of their own.
    #[schemars(with = "String")]
    pub keep: Keep,
    /// Whose messages are archived for an account that has not chosen: `"always"` everybody's, `"roster"` those of its
    /// contacts, `"never"` nobody's.
    pub default: Fallback,
    /// How many addresses an account may list in its preferences. More are refused with not-acceptable.
    pub listed_addresses: Count,
    /// How many characters a message's body may have. A longer one is refused with policy-violation, whether it would be
    /// archived or not.
    pub body_characters: Count,
    /// How many messages are sent for one query at most; clients ask for the next page when they want more.
    pub page: Count,
    /// How many queries are worked on at a time on this host. Further ones wait, and so does the second one of the same
    /// account.
    pub queries: Count,
    /// Whether messages can be searched by their words. The index is filled in the background, some seconds behind.
    pub search: bool,
    /// How PostgreSQL cuts words for the search: the name of one of its text search configurations, such as `"english"`
    /// or `"german"`, which also find other forms of a word. `"simple"` takes words of any language as they are. After a
    /// change all messages are indexed again in the background. SQLite always takes them as they are.
    pub language: String,
    /// How many archives are known in memory, so that storing a message need not ask for the preferences of its account.
    /// Each takes some 200 bytes.
    pub cached_archives: Count,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            keep: Keep::FOREVER,
            default: Fallback::Always,
            listed_addresses: Count::of(500),
            body_characters: Count::of(100_000),
            page: Count::of(100),
            queries: Count::of(4),
            search: true,
            language: "simple".to_owned(),
            cached_archives: Count::of(100_000),
        }
    }
}

/// For how long messages are kept: a [`Period`], or for ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Keep(Period);

/// Who wants nothing kept turns the module off; a shorter time is more likely a slip.
const SHORTEST: Duration = Duration::from_secs(60);
/// Times beyond it cannot be told by an id.
const LONGEST: Duration = Duration::from_secs(50 * 365 * 86_400);

impl Keep {
    /// Without end.
    pub const FOREVER: Keep = Keep(Period::UNLIMITED);

    /// This long; for ever when it is longer than a server lives.
    pub fn of(period: Duration) -> Keep {
        if period > LONGEST { Keep::FOREVER } else { Keep(Period::milliseconds(period.as_millis() as u64)) }
    }

    /// How long, in milliseconds; `None` for ever.
    pub fn milliseconds(self) -> Option<i64> {
        if self.0.is_unlimited() { None } else { i64::try_from(self.0.get().as_millis()).ok() }
    }
}

impl fmt::Display for Keep {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_unlimited() { formatter.write_str("forever") } else { self.0.fmt(formatter) }
    }
}

impl Serialize for Keep {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Keep {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;

        impl Visitor<'_> for Text {
            type Value = Keep;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("\"forever\" or a time such as \"365d\"")
            }

            fn visit_i64<E: Error>(self, seconds: i64) -> Result<Keep, E> {
                self.visit_u64(u64::try_from(seconds).map_err(|_| E::custom("a time cannot be negative"))?)
            }

            fn visit_u64<E: Error>(self, seconds: u64) -> Result<Keep, E> {
                let period = Duration::from_secs(seconds);
                if period < SHORTEST {
                    return Err(E::custom(
                        "messages are kept for a minute at least; to keep none, turn the module off",
                    ));
                }
                Ok(Keep::of(period))
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Keep, E> {
                match text.trim() {
                    "forever" => Ok(Keep::FOREVER),
                    text => self.visit_u64(text.parse::<Period>().map_err(E::custom)?.get().as_secs()),
                }
            }
        }

        deserializer.deserialize_any(Text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::de::IntoDeserializer;
    use serde::de::value::Error as ValueError;

    fn read(text: &str) -> Result<Keep, ValueError> {
        Keep::deserialize(text.into_deserializer())
    }

    #[test]
    fn a_time_or_forever() {
        assert_eq!(read("forever").unwrap().milliseconds(), None);
        assert_eq!(read("unlimited").unwrap(), Keep::FOREVER);
        assert_eq!(read("365d").unwrap().milliseconds(), Some(365 * 86_400_000));
        let seconds: Result<Keep, ValueError> = Keep::deserialize(7200i64.into_deserializer());
        assert_eq!(seconds.unwrap().milliseconds(), Some(7_200_000));
        for wrong in ["0", "5s", "a while", ""] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
        for text in ["forever", "30d", "36h"] {
            assert_eq!(read(text).unwrap().to_string(), text);
        }
        // Longer than ids can tell is for ever.
        assert_eq!(Keep::of(Duration::MAX), Keep::FOREVER);
    }
}
