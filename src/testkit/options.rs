//! What a test wants of its server, and the configuration that comes of it.

use std::path::Path;

use waxwing_storage::Engine;

use crate::server::Assembly;

/// Every listener on a free port of its own.
const PORTS: &str = r#"
[listen]
c2s = ["127.0.0.1:0"]
c2s_tls = ["127.0.0.1:0"]
s2s = []
http = ["127.0.0.1:0"]
https = ["127.0.0.1:0"]
health = ["127.0.0.1:0"]

[modules.federation]
enabled = false
"#;

/// Lifts every limit that many tests on one loopback address would run into; what one peer may send stays bounded.
const LIFTED: &str = r#"
[auth]
scram_iterations = 4096

[limits]
connections = "unlimited"
connections_burst = "unlimited"
connections_per_address = "unlimited"
unauthenticated_connections_per_address = "unlimited"
authentication_failures_per_address = "unlimited"
authentication_delay = "1ms"
c2s_bytes = "unlimited"
c2s_bytes_burst = "unlimited"
c2s_stanzas = "unlimited"
c2s_stanzas_burst = "unlimited"
recipients = "unlimited"
subscriptions = "unlimited"
presences = "unlimited"
"#;

/// What a test wants of its server.
#[derive(Clone)]
pub struct TestOptions {
    pub(crate) assembly: Assembly,
    pub(crate) hosts: Vec<String>,
    pub(crate) storage: Engine,
    lifted: bool,
    own: Vec<String>,
}

impl TestOptions {
    /// One host, `capulet.lit`; the limits that count connections, stanzas and requests are lifted; everything else is
    /// the default of an empty file, but that the server talks to no others. The database is what `WAXWING_TEST_STORAGE` says: `sqlite` (also when it says
    /// nothing) or `postgres`.
    ///
    /// # Panics
    /// When the variable names no database.
    pub fn new(assembly: Assembly) -> TestOptions {
        let storage = match std::env::var("WAXWING_TEST_STORAGE").as_deref() {
            Ok("postgres") => Engine::Postgres,
            Ok("sqlite" | "") | Err(_) => Engine::Sqlite,
            Ok(other) => panic!("WAXWING_TEST_STORAGE is {other:?}, write sqlite or postgres"),
        };
        TestOptions { assembly, hosts: vec!["capulet.lit".to_owned()], storage, lifted: true, own: Vec::new() }
    }

    /// Serves these hosts: `{host}`, `{host2}` and so on.
    pub fn hosts(mut self, hosts: &[&str]) -> TestOptions {
        self.hosts = hosts.iter().map(|host| (*host).to_owned()).collect();
        self
    }

    /// Lays this over the configuration, key by key: `.toml("[limits]\nsessions_per_user = 2")`. May be called again.
    pub fn toml(mut self, own: impl Into<String>) -> TestOptions {
        self.own.push(own.into());
        self
    }

    /// Lifts no limit: everything is as with an empty configuration file, but for ports, folders and hosts.
    pub fn safe_defaults(mut self) -> TestOptions {
        self.lifted = false;
        self
    }

    /// The configuration for a server that keeps its files in this folder and its data at this URL.
    pub(crate) fn configuration(&self, folder: &Path, url: &str) -> anyhow::Result<String> {
        let mut table = toml::Table::new();
        lay_over(&mut table, PORTS.parse()?);
        if self.lifted {
            lay_over(&mut table, LIFTED.parse()?);
        }
        let hosts = self.hosts.iter().map(|host| toml::Value::Table(toml::toml! { name = (host.as_str()) }));
        table.insert("hosts".to_owned(), hosts.collect::<Vec<_>>().into());
        let certificates = folder.join("certs").display().to_string();
        lay_over(
            &mut table,
            toml::toml! {
                [storage]
                url = url
                connections = 4
                [tls]
                certificates = certificates
            },
        );
        for own in &self.own {
            lay_over(&mut table, own.parse()?);
        }
        Ok(table.to_string())
    }
}

/// Tables are merged; anything else is replaced.
fn lay_over(below: &mut toml::Table, above: toml::Table) {
    for (key, value) in above {
        match (below.get_mut(&key), value) {
            (Some(toml::Value::Table(below)), toml::Value::Table(above)) => lay_over(below, above),
            (_, value) => {
                below.insert(key, value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_test_writes_lies_over_the_rest_key_by_key() {
        let mut below = "[limits]\na = 1\nb = 2\n[x]\ny = [1]".parse().unwrap();
        lay_over(&mut below, "x.y = [2, 3]\n[limits]\nb = 3".parse().unwrap());
        assert_eq!(below, "[limits]\na = 1\nb = 3\n[x]\ny = [2, 3]".parse().unwrap());
    }
}
