//! What is wrong with a configuration, where it stands, and how to mend it.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

/// Where a setting was written.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Origin {
    /// In the configuration file; lines and columns count from one.
    File {
        /// The file as the operator named it.
        path: Arc<Path>,
        /// Line of the key or value.
        line: usize,
        /// Column of the key or value, in characters.
        column: usize,
    },
    /// In a variable of the environment.
    Environment(Arc<str>),
    /// In a configuration made by a program, such as a test.
    Text,
}

impl fmt::Display for Origin {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { path, line, column } => write!(formatter, "{}:{line}:{column}", path.display()),
            Self::Environment(name) => write!(formatter, "environment variable {name}"),
            Self::Text => formatter.write_str("configuration"),
        }
    }
}

/// One thing that is wrong with the configuration. Printed as one line: place, key, what is wrong and what to write
/// instead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    /// Where it was written.
    pub origin: Origin,
    /// The key as written with dots (`limits.stanza_bytes`); empty when the whole file is meant.
    pub key: String,
    /// What is wrong and how to mend it; it never quotes a secret.
    pub problem: String,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.key.as_str() {
            "" => write!(formatter, "{}: {}", self.origin, self.problem),
            key => write!(formatter, "{}: {key}: {}", self.origin, self.problem),
        }
    }
}

impl std::error::Error for ConfigError {}

/// The name among `known` that was most likely meant by `written`.
pub(crate) fn did_you_mean<'a>(written: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let closest = known.into_iter().map(|name| (strsim::damerau_levenshtein(written, name), name)).min()?;
    // A third of the letters may be wrong; beyond that a suggestion is a guess that misleads.
    (closest.0 * 3 <= written.chars().count().max(closest.1.chars().count())).then_some(closest.1)
}

/// The words for a key (or module, or mechanism) nobody knows.
pub(crate) fn unknown<'a>(what: &str, written: &str, known: impl IntoIterator<Item = &'a str> + Clone) -> String {
    if let Some(name) = did_you_mean(written, known.clone()) {
        return format!("unknown {what} `{written}`, did you mean `{name}`?");
    }
    let names: Vec<String> = known.into_iter().map(|name| format!("`{name}`")).collect();
    match names.as_slice() {
        [] => format!("unknown {what} `{written}`, there are none here"),
        names => format!("unknown {what} `{written}`, known here: {}", names.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_is_suggested_and_a_stranger_is_not() {
        let known = ["stanza_bytes", "sessions_per_user", "ping_after"];
        assert_eq!(did_you_mean("sesions_per_user", known), Some("sessions_per_user"));
        assert_eq!(did_you_mean("stanza_byte", known), Some("stanza_bytes"));
        assert_eq!(did_you_mean("colour", known), None);
        assert!(
            unknown("key", "colour", known).ends_with("known here: `stanza_bytes`, `sessions_per_user`, `ping_after`")
        );
    }
}
