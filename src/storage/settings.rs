//! What the operator decides about the database.

use std::fmt;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

const SHORTEST: Duration = Duration::from_millis(10);

/// The longest time that is waited for anything.
pub(crate) const LONGEST: Duration = Duration::from_secs(24 * 3600);

/// Which database, and how patiently it is asked.
#[derive(Clone, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Which database: `sqlite:` and a path (relative to the folder the server is started in; folder and file are made
    /// when missing), or `postgres://user:password@host:port/database` with the parameters libpq knows, such as
    /// `?sslmode=verify-full&sslrootcert=/etc/ssl/db.pem`. `sqlite::memory:` forgets everything at the end.
    pub url: String,
    /// How many connections at most: by default 10 to PostgreSQL, 4 readers (beside the one writer) on SQLite.
    pub connections: Option<u32>,
    /// How long a request waits for a free connection, or for a new one to be made, before it is answered with
    /// "try again later". Seconds, or a text such as `"500ms"` or `"5s"`.
    #[serde(with = "duration")]
    #[schemars(with = "String")]
    pub acquire_timeout: Duration,
    /// How long one statement may run before it is given up. Seconds, or a text such as `"500ms"` or `"5s"`.
    #[serde(with = "duration")]
    #[schemars(with = "String")]
    pub statement_timeout: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            url: "sqlite:data/waxwing.db".to_owned(),
            connections: None,
            acquire_timeout: Duration::from_secs(5),
            statement_timeout: Duration::from_secs(5),
        }
    }
}

impl Settings {
    /// The defaults for this URL.
    pub fn for_url(url: impl Into<String>) -> Settings {
        Settings { url: url.into(), ..Settings::default() }
    }

    /// Which engine the URL names.
    ///
    /// # Errors
    /// [`crate::StorageError::Other`] when it names neither.
    pub fn engine(&self) -> Result<Engine, crate::StorageError> {
        let scheme = self.url.split(':').next().unwrap_or_default();
        match scheme {
            "sqlite" => Ok(Engine::Sqlite),
            "postgres" | "postgresql" => Ok(Engine::Postgres),
            _ => Err(crate::StorageError::Other(format!(
                "{:?} names no database this server knows, write \"sqlite:data/waxwing.db\" or \
                 \"postgres://user:password@host/database\"",
                self.redacted_url()
            ))),
        }
    }

    /// With times that can be reckoned with: "without end" is a day, and nothing is quicker than it can be.
    pub(crate) fn within_reason(&self) -> Settings {
        Settings {
            acquire_timeout: self.acquire_timeout.clamp(SHORTEST, LONGEST),
            statement_timeout: self.statement_timeout.clamp(SHORTEST, LONGEST),
            ..self.clone()
        }
    }

    /// The URL without its password, for logs and messages.
    pub fn redacted_url(&self) -> String {
        redact(&self.url)
    }
}

/// The password of a URL stands between the first `:` after `://` and the last `@` before the path, or in a parameter.
fn redact(url: &str) -> String {
    let (start, rest) = match url.split_once("://") {
        Some((scheme, rest)) => (format!("{scheme}://"), rest),
        None if url.starts_with("sqlite:") || !url.contains('@') => return url.to_owned(),
        // Not a URL as it should be, and perhaps with a password in it.
        None => return format!("{}:…", url.split(':').next().unwrap_or_default()),
    };
    let (rest, parameters) = match rest.split_once('?') {
        Some((rest, parameters)) => (rest, Some(parameters)),
        None => (rest, None),
    };
    if parameters.is_some_and(|parameters| parameters.contains('@')) {
        // Perhaps a password with a '?' that nobody encoded: nothing of this is safe to show.
        return format!("{start}…");
    }
    // A password may hold '/' and '@' when somebody forgot to encode them, so what precedes the last '@' is the user.
    let mut redacted = start;
    match rest.rsplit_once('@') {
        Some((user, host)) => {
            redacted.push_str(user.split(':').next().unwrap_or_default());
            redacted.push('@');
            redacted.push_str(host);
        }
        None => redacted.push_str(rest),
    }
    if let Some(parameters) = parameters {
        let kept: Vec<&str> =
            parameters.split('&').filter(|parameter| !parameter.to_ascii_lowercase().contains("password")).collect();
        if !kept.is_empty() {
            redacted.push('?');
            redacted.push_str(&kept.join("&"));
        }
    }
    redacted
}

impl fmt::Debug for Settings {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Settings")
            .field("url", &self.redacted_url())
            .field("connections", &self.connections)
            .field("acquire_timeout", &self.acquire_timeout)
            .field("statement_timeout", &self.statement_timeout)
            .finish()
    }
}

/// Which of the two databases.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Engine {
    /// SQLite, inside this process.
    Sqlite,
    /// PostgreSQL, version 13 or later.
    Postgres,
}

impl Engine {
    /// Both, for tests that run on each.
    pub const ALL: [Engine; 2] = [Engine::Sqlite, Engine::Postgres];
}

impl fmt::Display for Engine {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Engine::Sqlite => "SQLite",
            Engine::Postgres => "PostgreSQL",
        })
    }
}

pub(crate) mod duration {
    //! A time in a configuration: a number of seconds, or a number with its unit.

    use std::fmt;
    use std::time::Duration;

    use serde::de::{Deserializer, Error, Visitor};
    use serde::ser::Serializer;

    pub fn serialize<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        let milliseconds = duration.as_millis();
        if milliseconds.is_multiple_of(1000) {
            serializer.collect_str(&format_args!("{}s", milliseconds / 1000))
        } else {
            serializer.collect_str(&format_args!("{milliseconds}ms"))
        }
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        deserializer.deserialize_any(Time)
    }

    struct Time;

    impl Visitor<'_> for Time {
        type Value = Duration;

        fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
            formatter.write_str("seconds, or a text such as \"500ms\", \"5s\" or \"1min\"")
        }

        fn visit_i64<E: Error>(self, seconds: i64) -> Result<Duration, E> {
            self.visit_u64(u64::try_from(seconds).map_err(|_| E::custom("a time cannot be negative"))?)
        }

        fn visit_u64<E: Error>(self, seconds: u64) -> Result<Duration, E> {
            Ok(Duration::from_secs(seconds))
        }

        fn visit_str<E: Error>(self, text: &str) -> Result<Duration, E> {
            let text = text.trim();
            let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
            let number: Option<u64> = text[..digits].parse().ok();
            let factor = match text[digits..].trim() {
                "ms" => Some(1),
                "s" | "" => Some(1000),
                "m" | "min" => Some(60_000),
                _ => None,
            };
            number
                .zip(factor)
                .and_then(|(number, factor)| number.checked_mul(factor))
                .map(Duration::from_millis)
                .ok_or_else(|| E::invalid_value(serde::de::Unexpected::Str(text), &self))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_shown_without_its_password() {
        for (url, shown) in [
            ("postgres://waxwing:hunter2@db.example:5432/waxwing", "postgres://waxwing@db.example:5432/waxwing"),
            ("postgres://waxwing@db.example/waxwing", "postgres://waxwing@db.example/waxwing"),
            ("postgres://db.example/waxwing", "postgres://db.example/waxwing"),
            ("postgres://w:hun/ter2@x@db/waxwing", "postgres://w@db/waxwing"),
            ("postgres://w:hun?ter2@db/waxwing", "postgres://…"),
            ("postgres://db/w?password=hunt@er2", "postgres://…"),
            ("postgres://db/w?user=x&password=hunter2&sslmode=require", "postgres://db/w?user=x&sslmode=require"),
            ("postgres://db/w?PASSWORD=hunter2", "postgres://db/w"),
            ("sqlite:data/wax@wing.db", "sqlite:data/wax@wing.db"),
        ] {
            assert_eq!(Settings::for_url(url).redacted_url(), shown);
        }
        let settings = Settings::for_url("postgres://waxwing:hunter2@db/waxwing");
        assert!(!format!("{settings:?}").contains("hunter2"));
    }

    #[test]
    fn an_empty_table_gives_the_defaults_and_unknown_keys_are_refused() {
        assert_eq!(toml::from_str::<Settings>("").unwrap(), Settings::default());
        let settings: Settings = toml::from_str(
            "url = 'postgres://w@db/w'\nconnections = 20\nacquire_timeout = '500ms'\nstatement_timeout = 7",
        )
        .unwrap();
        assert_eq!(settings.engine().unwrap(), Engine::Postgres);
        assert_eq!(settings.connections, Some(20));
        assert_eq!(settings.acquire_timeout, Duration::from_millis(500));
        assert_eq!(settings.statement_timeout, Duration::from_secs(7));
        let again: Settings = toml::from_str(&toml::to_string(&settings).unwrap()).unwrap();
        assert_eq!(again, settings);
        for wrong in ["pool = 3", "acquire_timeout = '5 parsecs'", "acquire_timeout = -1", "statement_timeout = ''"] {
            assert!(toml::from_str::<Settings>(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn times_without_end_can_be_reckoned_with() {
        let endless =
            Settings { acquire_timeout: Duration::MAX, statement_timeout: Duration::ZERO, ..Settings::default() };
        let settings = endless.within_reason();
        assert_eq!((settings.acquire_timeout, settings.statement_timeout), (LONGEST, SHORTEST));
    }
}
