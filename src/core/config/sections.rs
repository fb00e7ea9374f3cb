//! The sections of the configuration that belong to no module, with the texts of the reference.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::de::{Deserializer, Error as _};
use serde::{Deserialize, Serialize};

/// Where the server listens, by what is spoken there. Each is a list of an IP address and a port, such as
/// `["0.0.0.0:5222", "[::]:5222"]` for every address of the machine; an empty list is off. The default is the machine
/// itself and nobody else.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Listen {
    /// Clients that begin in the clear and switch to TLS with STARTTLS before they log in. The usual port is 5222.
    #[serde(deserialize_with = "addresses")]
    #[schemars(with = "Vec<String>")]
    pub c2s: Vec<SocketAddr>,
    /// Clients that begin with TLS (XEP-0368). The usual port is 5223.
    #[serde(deserialize_with = "addresses")]
    #[schemars(with = "Vec<String>")]
    pub c2s_tls: Vec<SocketAddr>,
    /// Other servers that begin in the clear and switch to TLS. The usual port is 5269. Nothing listens here while no host
    /// talks to other servers.
    #[serde(deserialize_with = "addresses")]
    #[schemars(with = "Vec<String>")]
    pub s2s: Vec<SocketAddr>,
    /// Other servers that begin with TLS (XEP-0368). The usual port is 5270.
    #[serde(deserialize_with = "addresses")]
    #[schemars(with = "Vec<String>")]
    pub s2s_tls: Vec<SocketAddr>,
    /// The web in the clear: WebSocket, BOSH and files, for browsers on this machine and for a proxy in front of the
    /// server. From elsewhere nobody can log in here. The usual port is 5280.
    #[serde(deserialize_with = "addresses")]
    #[schemars(with = "Vec<String>")]
    pub http: Vec<SocketAddr>,
    /// The web over TLS, with the certificates of the hosts. The usual port is 5443.
    #[serde(deserialize_with = "addresses")]
    #[schemars(with = "Vec<String>")]
    pub https: Vec<SocketAddr>,
    /// One port for clients, other servers and the web over TLS, told apart by what they ask for
    /// in TLS (ALPN `xmpp-client`, `xmpp-server`, `h2`, `http/1.1`). On port 443 it passes nearly every firewall,
    /// and no proxy is needed in front of it.
    #[serde(deserialize_with = "addresses")]
    #[schemars(with = "Vec<String>")]
    pub all_tls: Vec<SocketAddr>,
    /// `/health/live`, `/health/ready` and `/metrics` (OpenMetrics), in the clear and for whoever asks: keep it to this
    /// machine or to a network of your own. The usual port is 5281.
    #[serde(deserialize_with = "addresses")]
    #[schemars(with = "Vec<String>")]
    pub health: Vec<SocketAddr>,
}

impl Default for Listen {
    fn default() -> Self {
        let loopback = |port| vec![(Ipv4Addr::LOCALHOST, port).into(), (Ipv6Addr::LOCALHOST, port).into()];
        Self {
            c2s: loopback(5222),
            c2s_tls: loopback(5223),
            s2s: loopback(5269),
            s2s_tls: vec![],
            http: loopback(5280),
            https: vec![],
            all_tls: vec![],
            health: loopback(5281),
        }
    }
}

impl Listen {
    /// Every list with the name of its key.
    pub fn lists(&self) -> [(&'static str, &[SocketAddr]); 8] {
        [
            ("c2s", &self.c2s),
            ("c2s_tls", &self.c2s_tls),
            ("s2s", &self.s2s),
            ("s2s_tls", &self.s2s_tls),
            ("http", &self.http),
            ("https", &self.https),
            ("all_tls", &self.all_tls),
            ("health", &self.health),
        ]
    }
}

fn addresses<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<SocketAddr>, D::Error> {
    let addresses = Vec::<Address>::deserialize(deserializer)?;
    Ok(addresses.into_iter().map(|address| address.0).collect())
}

/// An address whose error says how to write one.
struct Address(SocketAddr);

impl<'de> Deserialize<'de> for Address {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map(Self).map_err(|_| {
            D::Error::custom(format_args!(
                "{text:?} is not an address to listen on, write an IP address and a port such as \"127.0.0.1:5222\" or \
                 \"[::]:5222\""
            ))
        })
    }
}

/// Certificates and versions of TLS.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Tls {
    /// The folder of certificates: PEM files, a chain and its private key each, chosen by the name a client asks for.
    /// They are read again on SIGHUP, and nobody is disconnected. A relative path begins where the server is started.
    pub certificates: PathBuf,
    /// Whether a host without a certificate gets a self-signed one (ECDSA P-256), made in that folder at the first
    /// start. Good for a trial; clients rightly distrust it. Without it such a host refuses to start.
    pub self_signed: bool,
    /// Whether TLS 1.2 is refused. Some clients of old systems know no better.
    pub tls13_only: bool,
    /// Whether clients on this very machine may log in without TLS, for bridges and load tests. Clients elsewhere never
    /// may.
    pub plaintext_on_loopback: bool,
}

impl Default for Tls {
    fn default() -> Self {
        Self {
            certificates: PathBuf::from("certs"),
            self_signed: true,
            tls13_only: false,
            plaintext_on_loopback: false,
        }
    }
}

/// Every SASL mechanism for clients this server can offer, the best first.
pub const MECHANISMS: [&str; 7] = [
    "SCRAM-SHA-512-PLUS",
    "SCRAM-SHA-512",
    "SCRAM-SHA-256-PLUS",
    "SCRAM-SHA-256",
    "SCRAM-SHA-1-PLUS",
    "SCRAM-SHA-1",
    "PLAIN",
];

/// How clients prove who they are.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Auth {
    /// The SASL mechanisms that are offered, the best first. The -PLUS forms bind the login to the TLS connection, so
    /// that nobody in between can use it. Leave out the SHA-1 pair when no old client needs it. `"PLAIN"` can be added
    /// for clients that know nothing else: they show their password to the server, and to whoever poses as it.
    pub mechanisms: Vec<String>,
    /// How many rounds of PBKDF2 a new password goes through, from 4096 to 1000000. More make a stolen database harder
    /// to guess and every login slower on the client. Passwords that exist keep their number.
    pub scram_iterations: u32,
    /// How many characters a new password has at least.
    pub minimum_password_length: usize,
}

impl Default for Auth {
    fn default() -> Self {
        let mechanisms = MECHANISMS.iter().filter(|name| **name != "PLAIN").map(|name| (*name).to_owned()).collect();
        Self { mechanisms, scram_iterations: 10_000, minimum_password_length: 10 }
    }
}

/// What is written to standard error while the server runs. No level shows message bodies, passwords or tokens.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Log {
    /// How much is said: `"error"`, `"warn"`, `"info"`, `"debug"` or `"trace"`, or a list with crates, such as
    /// `"info,waxwing_streams=debug"`.
    pub filter: String,
    /// How a line looks: `"text"` for people, `"json"` for collectors.
    pub format: LogFormat,
}

impl Default for Log {
    fn default() -> Self {
        Self { filter: "info".to_owned(), format: LogFormat::Text }
    }
}

/// How a line of the log looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line, for collectors.
    Json,
}
