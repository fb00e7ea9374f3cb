//! What the operator decides: the configuration file and the environment, read into one plain, immutable snapshot.

pub mod secret;
pub mod units;

use std::path::PathBuf;

use jid::DomainPart;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use crate::limits::Limits;
pub use secret::Secret;
pub use units::{ByteRate, ByteSize, Count, Period, Rate};

/// Everything the operator decided, checked and complete. Shared as `Arc<Config>` and replaced whole on a reload.
#[derive(Debug, Clone)]
pub struct Config {
    /// The domains this server speaks for, in the order of the file; never empty.
    pub hosts: Vec<HostConfig>,
    /// Where it listens.
    pub listen: Listen,
    /// Where it keeps what must last.
    pub storage: Storage,
    /// Certificates and versions of TLS.
    pub tls: Tls,
    /// What a peer may cost.
    pub limits: Limits,
    /// How clients prove who they are.
    pub auth: Auth,
    /// What is written to the log.
    pub log: Log,
}

/// One domain this server speaks for.
#[derive(Debug, Clone)]
pub struct HostConfig {
    /// Its name, prepared and normalised as the domain of a JID.
    pub name: DomainPart,
}

/// `[listen]`: the addresses to listen on, by what is spoken there.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Listen {
    /// Clients that begin in the clear and switch to TLS with STARTTLS (port 5222).
    pub c2s: Vec<std::net::SocketAddr>,
    /// Clients that begin with TLS (XEP-0368; port 5223).
    pub c2s_tls: Vec<std::net::SocketAddr>,
    /// Other servers that begin in the clear and switch to TLS (port 5269).
    pub s2s: Vec<std::net::SocketAddr>,
    /// Other servers that begin with TLS (port 5270).
    pub s2s_tls: Vec<std::net::SocketAddr>,
    /// Plain HTTP, for a proxy on the same machine.
    pub http: Vec<std::net::SocketAddr>,
    /// HTTP over TLS.
    pub https: Vec<std::net::SocketAddr>,
}

impl Default for Listen {
    fn default() -> Self {
        let loopback = |port| {
            vec![
                (std::net::Ipv4Addr::LOCALHOST, port).into(),
                (std::net::Ipv6Addr::LOCALHOST, port).into(),
            ]
        };
        Self {
            c2s: loopback(5222),
            c2s_tls: loopback(5223),
            s2s: vec![],
            s2s_tls: vec![],
            http: vec![],
            https: vec![],
        }
    }
}

/// `[storage]`: the database.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Storage {
    /// Which database.
    pub url: Secret,
}

impl Default for Storage {
    fn default() -> Self {
        Self {
            url: Secret::new("sqlite:data/waxwing.db"),
        }
    }
}

/// `[tls]`: certificates and versions.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Tls {
    /// A folder of PEM files.
    pub certificates: PathBuf,
    /// Refuse TLS 1.2.
    pub tls13_only: bool,
    /// Make a self-signed certificate for a host that has none.
    pub self_signed: bool,
    /// Let clients on the same machine log in without TLS.
    pub plaintext_on_loopback: bool,
}

impl Default for Tls {
    fn default() -> Self {
        Self {
            certificates: PathBuf::from("certs"),
            tls13_only: false,
            self_signed: true,
            plaintext_on_loopback: false,
        }
    }
}

/// `[auth]`: how clients prove who they are.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Auth {
    /// The SASL mechanisms offered, the best first.
    pub mechanisms: Vec<String>,
    /// Iterations of PBKDF2.
    pub scram_iterations: u32,
    /// Fewest characters of a new password.
    pub minimum_password_length: usize,
}

impl Default for Auth {
    fn default() -> Self {
        let mechanisms = [
            "SCRAM-SHA-512-PLUS",
            "SCRAM-SHA-512",
            "SCRAM-SHA-256-PLUS",
            "SCRAM-SHA-256",
            "SCRAM-SHA-1-PLUS",
            "SCRAM-SHA-1",
        ];
        Self {
            mechanisms: mechanisms.map(str::to_owned).to_vec(),
            scram_iterations: 10_000,
            minimum_password_length: 10,
        }
    }
}

/// `[log]`: what is written to standard error.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Log {
    /// A level, or a filter in the words of tracing-subscriber.
    pub filter: String,
    /// Text or JSON.
    pub format: LogFormat,
}

impl Default for Log {
    fn default() -> Self {
        Self {
            filter: "info".to_owned(),
            format: LogFormat::Text,
        }
    }
}

/// How a line of the log looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line, for collectors.
    Json,
}
