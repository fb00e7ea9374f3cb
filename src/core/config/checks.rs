//! What must hold between settings: a configuration that cannot work or is not safe is refused before anything starts.

use std::collections::BTreeMap;

use super::error::{ConfigError, Origin, unknown};
use super::sections::MECHANISMS;
use super::tree::{self, Table};
use super::{Auth, Config, Limits, Listen, SECTIONS, Step, Storage, Web};
use crate::limits::SMALLEST_STANZA_LIMIT;

/// RFC 7677 forbids fewer rounds; more than the upper end would let every login burn a second of a telephone's battery.
const SCRAM_ITERATIONS: std::ops::RangeInclusive<u32> = 4096..=1_000_000;

/// What the head of a request may have in any case.
const SMALLEST_HEAD: super::ByteSize = super::ByteSize::kibibytes(8);

const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];

/// Refuses what stands at the beginning of a key and is no section.
pub(super) fn unknown_sections(root: &Table, errors: &mut Vec<ConfigError>) {
    for entry in &root.entries {
        if !SECTIONS.contains(&entry.key.as_str()) {
            let problem = unknown("section", &entry.key, SECTIONS);
            errors.push(ConfigError { origin: entry.origin.clone(), key: entry.key.clone(), problem });
        }
    }
}

/// Checks what the types alone do not.
pub(super) fn check(config: &Config, root: &Table, errors: &mut Vec<ConfigError>) {
    let mut found = Findings { root, errors };
    check_listen(&config.listen, &mut found);
    check_storage(&config.storage, &mut found);
    check_http(&config.http, &mut found);
    check_limits(&config.limits, &mut found);
    check_auth(&config.auth, &mut found);
    if let Err(problem) = check_filter(&config.log.filter) {
        found.add(["log", "filter"], problem);
    }
}

/// A filter is a list of levels, each for everything or for one crate. The subscriber itself would take a misspelt level
/// for the name of a crate, and then say nothing at all.
fn check_filter(filter: &str) -> Result<(), String> {
    if filter.trim().is_empty() {
        return Err("write a level such as \"info\"".to_owned());
    }
    for directive in filter.split(',').map(str::trim) {
        let level = directive.rsplit_once('=').map_or(directive, |(_, level)| level);
        // Filters for spans have a grammar of their own; whoever writes one knows it.
        if !directive.contains('[') && !LEVELS.contains(&level.to_ascii_lowercase().as_str()) {
            return Err(unknown("level", level, LEVELS));
        }
    }
    Ok(())
}

/// Collects problems together with the place of the key they concern.
struct Findings<'a> {
    root: &'a Table,
    errors: &'a mut Vec<ConfigError>,
}

impl Findings<'_> {
    fn add(&mut self, key: [&str; 2], problem: impl Into<String>) {
        self.add_at(&tree::keys(key), problem.into());
    }

    fn add_at(&mut self, path: &[Step], problem: String) {
        // A key that was not written has its section's place, or none: then two defaults or the environment clash.
        let origin =
            (1..=path.len()).rev().find_map(|length| self.root.find(&path[..length])).map(|node| node.origin.clone());
        self.errors.push(ConfigError { origin: origin.unwrap_or(Origin::Text), key: tree::written(path), problem });
    }
}

fn check_listen(listen: &Listen, found: &mut Findings<'_>) {
    let mut taken = BTreeMap::new();
    for (key, addresses) in listen.lists() {
        for (index, address) in addresses.iter().enumerate() {
            // Port 0 asks the system for any free port, so it is never the same one.
            let Some(other) = taken.insert(*address, key).filter(|_| address.port() != 0) else {
                continue;
            };
            let mut path = tree::keys(["listen", key]);
            path.push(Step::Index(index));
            found.add_at(&path, format!("the address {address} is there twice, already in listen.{other}"));
        }
    }
}

fn check_storage(storage: &Storage, found: &mut Findings<'_>) {
    if let Err(error) = storage.engine() {
        found.add(["storage", "url"], error.to_string());
    }
    if storage.connections == Some(0) {
        found.add(["storage", "connections"], "a database without connections answers nothing, write 1 or more");
    }
}

fn check_http(web: &Web, found: &mut Findings<'_>) {
    if web.header_bytes < SMALLEST_HEAD {
        found.add(
            ["http", "header_bytes"],
            format!("{} is too little, browsers send up to {SMALLEST_HEAD}", web.header_bytes),
        );
    }
    for (index, origin) in web.origins.iter().enumerate() {
        let rest = origin.strip_prefix("https://").or_else(|| origin.strip_prefix("http://"));
        if origin != "*" && !rest.is_some_and(|rest| !rest.is_empty() && !rest.contains(['/', ' ', '*', '?', '#'])) {
            let mut path = tree::keys(["http", "origins"]);
            path.push(Step::Index(index));
            let problem =
                format!("{origin:?} is no origin, write \"https://chat.example.org\" without a path, or \"*\"");
            found.add_at(&path, problem);
        }
    }
}

fn check_limits(limits: &Limits, found: &mut Findings<'_>) {
    for key in keys_that_are_zero(limits) {
        found.add(["limits", &key], "zero would lock everyone out, write \"unlimited\" to lift the limit");
    }
    let stanza = limits.stanza_bytes;
    if stanza < SMALLEST_STANZA_LIMIT && stanza.get() != 0 {
        let least = SMALLEST_STANZA_LIMIT.get();
        found.add(
            ["limits", "stanza_bytes"],
            format!("{stanza} is too little, RFC 6120 (13.12) demands {least} bytes or more"),
        );
    }
    for (key, size) in [("c2s_bytes_burst", limits.c2s_bytes_burst), ("send_buffer_bytes", limits.send_buffer_bytes)] {
        if size < stanza && size.get() != 0 {
            let problem = format!(
                "{size} is less than stanza_bytes ({stanza}), so the largest stanza would never pass; raise it too"
            );
            found.add(["limits", key], problem);
        }
    }
}

/// All limits are quantities, and zero is written the same way by all of them.
fn keys_that_are_zero(limits: &Limits) -> Vec<String> {
    let table = toml::Table::try_from(limits).unwrap_or_default();
    let is_zero = |value: &toml::Value| match value {
        toml::Value::Integer(number) => *number == 0,
        toml::Value::String(text) => text.starts_with('0'),
        _ => false,
    };
    table.into_iter().filter(|(_, value)| is_zero(value)).map(|(key, _)| key).collect()
}

fn check_auth(auth: &Auth, found: &mut Findings<'_>) {
    if auth.mechanisms.is_empty() {
        found.add(["auth", "mechanisms"], "without a mechanism nobody can log in, name one or leave the key out");
    }
    for (index, mechanism) in auth.mechanisms.iter().enumerate() {
        let problem = if !MECHANISMS.contains(&mechanism.as_str()) {
            unknown("mechanism", mechanism, MECHANISMS)
        } else if auth.mechanisms[..index].contains(mechanism) {
            format!("{mechanism:?} is there twice")
        } else {
            continue;
        };
        let mut path = tree::keys(["auth", "mechanisms"]);
        path.push(Step::Index(index));
        found.add_at(&path, problem);
    }
    if !SCRAM_ITERATIONS.contains(&auth.scram_iterations) {
        let (least, most) = (SCRAM_ITERATIONS.start(), SCRAM_ITERATIONS.end());
        let problem = format!("{} is not between {least} (RFC 7677) and {most}", auth.scram_iterations);
        found.add(["auth", "scram_iterations"], problem);
    }
    if auth.minimum_password_length == 0 {
        found.add(["auth", "minimum_password_length"], "an empty password protects nothing, write 1 or more");
    }
}
