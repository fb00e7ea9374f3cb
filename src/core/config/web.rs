//! What the web listeners do: the section `http` of the configuration.

use std::net::IpAddr;

use ipnet::IpNet;
use schemars::JsonSchema;
use serde::de::{Deserializer, Error as _};
use serde::ser::Serializer;
use serde::{Deserialize, Serialize};

use super::units::{ByteSize, Count, Period};

/// The web: what the listeners `http`, `https` and `all_tls` serve, and to whom.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Web {
    /// Whether clients may come over WebSocket (RFC 7395), at the path `/xmpp-websocket`.
    pub websocket: bool,
    /// Whether clients may come over BOSH (XEP-0124), at the path `/http-bind`. For browsers behind proxies that know no
    /// WebSocket, and old clients.
    pub bosh: bool,
    /// The web pages that may use WebSocket and BOSH, beside those of the same host name: origins such as
    /// `"https://chat.example.org"`, or `"*"` for every page there is.
    pub origins: Vec<String>,
    /// The proxies in front of this server, as addresses or networks (`"10.0.0.0/8"`). What they say about the client's
    /// address and its TLS is believed; nobody else is.
    pub trusted_proxies: Networks,
    /// In which header listed proxies say it: `"x-forwarded-for"` (with `X-Forwarded-Proto`) or `"forwarded"` (RFC 7239).
    /// The other one may come from the client and is not looked at.
    pub forwarded_header: ForwardedHeader,
    /// The proxies that begin each connection with the PROXY protocol, version 2. It is demanded of them and taken from
    /// nobody else.
    pub proxy_protocol: Networks,
    /// Size of the largest head of a request: its line and its headers. At least 8 KiB.
    pub header_bytes: ByteSize,
    /// Size of the largest body of a request, where what it is for has no limit of its own.
    pub body_bytes: ByteSize,
    /// How long a request's head may take, from when the connection is ready for it; so also how long a connection may
    /// idle between two requests.
    pub header_timeout: Period,
    /// How long a body may be silent.
    pub body_timeout: Period,
    /// How many requests one HTTP/2 connection may have open.
    pub requests_at_once: Count,
    /// After how long a silence a client on a WebSocket is asked whether it is there, with a ping of the WebSocket. It has
    /// `limits.ping_timeout` to answer. Proxies close connections that are silent for a minute or so.
    pub websocket_ping: Period,
    /// In how many pieces one message of a WebSocket may come.
    pub websocket_fragments: Count,
    /// How long the server holds a BOSH request at most before it answers with nothing, whatever a client wishes.
    pub bosh_wait: Period,
    /// How many BOSH requests of one session the server holds at most, whatever a client wishes.
    pub bosh_hold: Count,
    /// How long a BOSH session is kept while its client has no request open.
    pub bosh_inactivity: Period,
    /// The longest pause a BOSH client may ask for.
    pub bosh_pause: Period,
    /// How long a BOSH client that polls must wait between two polls.
    pub bosh_polling: Period,
    /// How many BOSH sessions there may be. A session costs some 10 KiB.
    pub bosh_sessions: Count,
}

impl Default for Web {
    fn default() -> Self {
        Self {
            websocket: true,
            bosh: true,
            origins: vec![],
            trusted_proxies: Networks::default(),
            forwarded_header: ForwardedHeader::XForwardedFor,
            proxy_protocol: Networks::default(),
            header_bytes: ByteSize::kibibytes(16),
            body_bytes: ByteSize::kibibytes(64),
            header_timeout: Period::seconds(30),
            body_timeout: Period::seconds(30),
            requests_at_once: Count::of(32),
            websocket_ping: Period::seconds(60),
            websocket_fragments: Count::of(8),
            bosh_wait: Period::seconds(60),
            bosh_hold: Count::of(2),
            bosh_inactivity: Period::seconds(60),
            bosh_pause: Period::seconds(120),
            bosh_polling: Period::seconds(2),
            bosh_sessions: Count::of(10_000),
        }
    }
}

/// The header in which proxies name their clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(inline)]
pub enum ForwardedHeader {
    /// `X-Forwarded-For` and `X-Forwarded-Proto`.
    XForwardedFor,
    /// `Forwarded` (RFC 7239).
    Forwarded,
}

/// Addresses and networks.
#[derive(Debug, Clone, Default, PartialEq, Eq, JsonSchema)]
#[schemars(inline, with = "Vec<String>")]
pub struct Networks(Vec<IpNet>);

impl Networks {
    /// Whether the address is in one of them. An IPv4 address in IPv6 clothes is an IPv4 address.
    pub fn contain(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0.iter().any(|network| network.contains(&address))
    }
}

impl<'de> Deserialize<'de> for Networks {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let texts = Vec::<String>::deserialize(deserializer)?;
        let networks = texts.iter().map(|text| {
            let network = text.parse::<IpNet>().ok().or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from));
            network.ok_or_else(|| {
                D::Error::custom(format_args!(
                    "{text:?} is neither an address nor a network, write \"192.0.2.1\" or \"192.0.2.0/24\""
                ))
            })
        });
        networks.collect::<Result<_, _>>().map(Networks)
    }
}

impl Serialize for Networks {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.iter().map(ToString::to_string))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_hold_addresses_of_both_families() {
        let networks: Web = toml::from_str("trusted_proxies = ['127.0.0.1', '10.0.0.0/8', '2001:db8::/32']").unwrap();
        let networks = networks.trusted_proxies;
        for inside in ["127.0.0.1", "10.1.2.3", "::ffff:10.1.2.3", "2001:db8::5"] {
            assert!(networks.contain(inside.parse().unwrap()), "{inside}");
        }
        for outside in ["127.0.0.2", "11.0.0.1", "::1", "2001:db9::"] {
            assert!(!networks.contain(outside.parse().unwrap()), "{outside}");
        }
        assert!(toml::from_str::<Web>("trusted_proxies = ['proxy.example']").is_err());
    }
}
