//! What the operator may decide about other servers: `[modules.federation]`.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::de::{Deserializer, Error as _};
use serde::{Deserialize, Serialize, Serializer};
use waxwing_core::address::{self, DomainPart, DomainRef, is_subdomain};
use waxwing_core::limits::{ByteRate, ByteSize, Count, Period, Rate};

/// What the operator may decide for a host.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Settings {
    /// The only servers this host talks to, with everything below their names. Empty: all that are not blocked.
    #[schemars(with = "Vec<String>")]
    pub(crate) allow: Vec<Domain>,
    /// Servers this host does not talk to, with everything below their names.
    #[schemars(with = "Vec<String>")]
    pub(crate) block: Vec<Domain>,
    /// Where servers are that the DNS does not know, or knows wrongly: `"montague.lit=192.0.2.7:5269"`, and
    /// `"montague.lit=tls://192.0.2.7:5270"` for a server that begins with TLS. Only for exactly these names. What stands
    /// here may be an address of a private network.
    #[schemars(with = "Vec<String>")]
    pub(crate) addresses: Vec<Place>,
    /// The name servers to ask, as `"192.0.2.53:53"`. Empty: those of the system.
    #[schemars(with = "Vec<String>")]
    pub(crate) resolvers: Vec<SocketAddr>,
    /// How long one question to a name server may take. It is asked twice, by UDP and by TCP.
    pub(crate) resolver_timeout: Period,
    /// Whether answers of the DNS are validated (DNSSEC) by this server itself. Name servers that cut signatures off make
    /// all signed domains unreachable then.
    pub(crate) dnssec: bool,
    /// Whether TLSA records that are so proved decide about the certificates of other servers (DANE, RFC 7673): one that fits
    /// makes up for an unknown authority, one that does not ends the connection. Says nothing while `dnssec` is off.
    pub(crate) dane: bool,
    /// A file with the keys (DNSKEY records) that signatures must lead to, for a private DNS. Without it those of the root.
    pub(crate) dnssec_anchors: Option<PathBuf>,
    /// How many answers of the DNS are kept, each as long as it says, an hour at most.
    pub(crate) cached_names: Count,
    /// Whether servers may be at addresses of this machine or of a private network. Without it nobody can make this
    /// server knock at doors behind your firewall by what he writes into his DNS.
    pub(crate) private_addresses: bool,
    /// Whether a host whose name is `localhost` or an address takes part. Nobody outside could tell who that is.
    pub(crate) local_names: bool,
    /// Whether the public certificate authorities (those of Mozilla) are believed.
    pub(crate) public_authorities: bool,
    /// Files with certificates (PEM) of further authorities that are believed.
    pub(crate) authorities: Vec<PathBuf>,
    /// Servers that may prove themselves by calling back (XEP-0220) when they show no valid certificate themselves, as long
    /// as the server that answers the call shows one. For old servers that show none where they connect to others.
    #[schemars(with = "Vec<String>")]
    pub(crate) dialback: Vec<Domain>,
    /// Servers that may prove themselves by calling back without any valid certificate: whoever can forge their DNS can
    /// speak for them. The connection is encrypted all the same.
    #[schemars(with = "Vec<String>")]
    pub(crate) dialback_without_certificate: Vec<Domain>,
    /// Whether one connection may carry both directions (XEP-0288). It saves a connection; but on such a connection
    /// nothing can be resumed, and what is under way when it breaks may be lost.
    pub(crate) bidirectional: bool,

    /// How many stanzas may wait for one server. More are refused with resource-constraint.
    pub(crate) queue_stanzas: Count,
    /// How many bytes may wait for one server.
    pub(crate) queue_bytes: ByteSize,
    /// For how many servers a queue, or the memory of a failure, is kept at a time.
    pub(crate) servers: Count,
    /// How long reaching a server may take: names, connections, TLS and proofs of identity. After that the senders of what
    /// waits are told.
    pub(crate) connect_timeout: Period,
    /// After how long a server that could not be reached is tried again. Doubled with each failure, up to
    /// `retry_at_most`; what is sent to it meanwhile is refused at once.
    pub(crate) retry_after: Period,
    /// The longest such pause.
    pub(crate) retry_at_most: Period,
    /// After how long without a stanza a connection is closed.
    pub(crate) idle_timeout: Period,
    /// How long a connection that broke can be gone on with (XEP-0198), and for how long it is tried.
    pub(crate) resume_time: Period,
    /// How many broken connections of other servers are remembered for that.
    pub(crate) resumable_streams: Count,

    /// How many connections one server may have to this host.
    pub(crate) connections_per_server: Count,
    /// Bytes per second one server may send on average, over all its connections. A faster one is read more slowly.
    pub(crate) server_bytes: ByteRate,
    /// Bytes one server may send at once before that.
    pub(crate) server_bytes_burst: ByteSize,
    /// Stanzas per second one server may send on average. A faster one is read more slowly.
    pub(crate) server_stanzas: Rate,
    /// Stanzas one server may send at once before that.
    pub(crate) server_stanzas_burst: Count,
    /// How many domains one connection may try to prove by calling back at a time.
    pub(crate) dialbacks_per_connection: Count,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            allow: Vec::new(),
            block: Vec::new(),
            addresses: Vec::new(),
            resolvers: Vec::new(),
            resolver_timeout: Period::seconds(5),
            dnssec: false,
            dane: true,
            dnssec_anchors: None,
            cached_names: Count::of(4_096),
            private_addresses: false,
            local_names: false,
            public_authorities: true,
            authorities: Vec::new(),
            dialback: Vec::new(),
            dialback_without_certificate: Vec::new(),
            bidirectional: false,
            queue_stanzas: Count::of(1_000),
            queue_bytes: ByteSize::mebibytes(1),
            servers: Count::of(10_000),
            connect_timeout: Period::seconds(30),
            retry_after: Period::seconds(5),
            retry_at_most: Period::seconds(300),
            idle_timeout: Period::seconds(3_600),
            resume_time: Period::seconds(600),
            resumable_streams: Count::of(10_000),
            connections_per_server: Count::of(10),
            server_bytes: ByteRate::bytes_per_second(256_000),
            server_bytes_burst: ByteSize::mebibytes(4),
            server_stanzas: Rate::per_second(500),
            server_stanzas_burst: Count::of(5_000),
            dialbacks_per_connection: Count::of(16),
        }
    }
}

impl Settings {
    /// Whether this host talks to a server.
    pub(crate) fn allows(&self, domain: &DomainRef) -> bool {
        let names = |list: &[Domain]| list.iter().any(|one| *one.0 == *domain || is_subdomain(domain, &one.0));
        !names(&self.block) && (self.allow.is_empty() || names(&self.allow))
    }

    /// Whether a server may prove itself by calling back without a valid certificate.
    pub(crate) fn excepts(&self, domain: &DomainRef) -> bool {
        self.dialback_without_certificate.iter().any(|one| *one.0 == *domain)
    }

    /// Whether a server may prove itself by calling back.
    pub(crate) fn calls_back(&self, domain: &DomainRef) -> bool {
        self.excepts(domain) || self.dialback.iter().any(|one| *one.0 == *domain)
    }

    /// Whether there is any server that may.
    pub(crate) fn calls_anyone_back(&self) -> bool {
        !self.dialback.is_empty() || !self.dialback_without_certificate.is_empty()
    }
}

/// Whether nobody outside could tell who has this name.
pub(crate) fn is_local_name(domain: &DomainRef) -> bool {
    let name = domain.as_str();
    let is_address = name.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>().is_ok();
    is_address || name == "localhost" || name.ends_with(".localhost")
}

/// A domain as the operator writes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Domain(pub(crate) DomainPart);

impl<'de> Deserialize<'de> for Domain {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let read = address::read_domain(&text).map(|domain| Self(domain.into_owned()));
        read.map_err(|error| D::Error::custom(format_args!("{text:?} is no domain: {error}")))
    }
}

impl Serialize for Domain {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.0.as_str())
    }
}

/// Where a server is: an entry of `addresses`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) domain: DomainPart,
    pub(crate) address: SocketAddr,
    pub(crate) direct_tls: bool,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}{}", self.domain, if self.direct_tls { "tls://" } else { "" }, self.address)
    }
}

impl Serialize for Place {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Place {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        place(&text).ok_or_else(|| {
            D::Error::custom(format_args!("{text:?} names no server, write \"montague.lit=192.0.2.7:5269\""))
        })
    }
}

fn place(text: &str) -> Option<Place> {
    let (domain, rest) = text.split_once('=')?;
    let (direct_tls, address) = match rest.trim().strip_prefix("tls://") {
        Some(address) => (true, address),
        None => (false, rest.trim()),
    };
    let domain = address::read_domain(domain.trim()).ok()?.into_owned();
    Some(Place { domain, address: address.parse().ok()?, direct_tls })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn domain(name: &str) -> DomainPart {
        DomainPart::new(name).unwrap().into_owned()
    }

    #[test]
    fn c61_reaching_a_server_takes_half_a_minute_at_most() {
        assert_eq!(Settings::default().connect_timeout, Period::seconds(30));
    }

    #[test]
    fn lists_hold_names_and_what_is_below_them() {
        let lists = |allow: &[&str], block: &[&str]| Settings {
            allow: allow.iter().map(|name| Domain(domain(name))).collect(),
            block: block.iter().map(|name| Domain(domain(name))).collect(),
            ..Settings::default()
        };
        assert!(lists(&[], &[]).allows(&domain("montague.lit")));
        let blocking = lists(&[], &["evil.test"]);
        assert!(!blocking.allows(&domain("evil.test")) && !blocking.allows(&domain("muc.evil.test")));
        assert!(blocking.allows(&domain("notevil.test")));
        let allowing = lists(&["montague.lit"], &["bad.montague.lit"]);
        assert!(allowing.allows(&domain("conference.montague.lit")) && !allowing.allows(&domain("verona.lit")));
        assert!(!allowing.allows(&domain("bad.montague.lit")));
    }

    #[test]
    fn places_are_read_as_they_are_written() {
        for text in ["montague.lit=192.0.2.7:5269", "montague.lit=tls://[2001:db8::1]:5270"] {
            assert_eq!(place(text).unwrap().to_string(), text);
        }
        for text in ["montague.lit", "montague.lit=192.0.2.7", "=192.0.2.7:1", "montague.lit=http://192.0.2.7:1"] {
            assert_eq!(place(text), None, "{text}");
        }
    }

    #[test]
    fn local_names_are_known() {
        for name in ["localhost", "chat.localhost", "127.0.0.1", "[::1]"] {
            assert!(is_local_name(&domain(name)), "{name}");
        }
        assert!(!is_local_name(&domain("localhost.example.org")));
    }
}
