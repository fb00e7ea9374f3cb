//! What was found out about a domain: what the names say, what listens, what it shows and offers. No judgement yet.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use rustls_pki_types::CertificateDer;

use crate::federation::dane::Association;
use crate::federation::identity::Untrusted;
use crate::federation::targets::Target;

/// What a domain of XMPP may offer to the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Service {
    /// Clients, beginning in the clear.
    Client,
    /// Clients, beginning with TLS (XEP-0368).
    ClientTls,
    /// Other servers, beginning in the clear.
    Server,
    /// Other servers, beginning with TLS (XEP-0368).
    ServerTls,
}

impl Service {
    /// All of them, in the order of the report.
    pub const ALL: [Service; 4] = [Service::Client, Service::ClientTls, Service::Server, Service::ServerTls];

    /// The first label of its SRV record.
    pub(crate) fn label(self) -> &'static str {
        match self {
            Service::Client => "_xmpp-client",
            Service::ClientTls => "_xmpps-client",
            Service::Server => "_xmpp-server",
            Service::ServerTls => "_xmpps-server",
        }
    }

    pub(crate) fn usual_port(self) -> u16 {
        match self {
            Service::Client => 5222,
            Service::ClientTls => 5223,
            Service::Server => 5269,
            Service::ServerTls => 5270,
        }
    }

    /// Its list in the section `[listen]` of a Waxwing's configuration.
    pub(crate) fn listen_key(self) -> &'static str {
        match self {
            Service::Client => "c2s",
            Service::ClientTls => "c2s_tls",
            Service::Server => "s2s",
            Service::ServerTls => "s2s_tls",
        }
    }

    /// Whether the connection begins with TLS.
    pub(crate) fn is_direct(self) -> bool {
        matches!(self, Service::ClientTls | Service::ServerTls)
    }

    /// Whether it is for other servers.
    pub(crate) fn is_for_servers(self) -> bool {
        matches!(self, Service::Server | Service::ServerTls)
    }

    /// Whom it is for, as a sentence wants it.
    pub(crate) fn people(self) -> &'static str {
        if self.is_for_servers() { "other servers" } else { "clients" }
    }

    pub(crate) fn alpn(self) -> &'static str {
        if self.is_for_servers() { "xmpp-server" } else { "xmpp-client" }
    }
}

/// The answer of the name servers to one question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Answer<T> {
    Found(Vec<T>),
    Nothing,
    Failed(String),
}

impl<T> Answer<T> {
    /// What was found; nothing is nothing, for whatever reason.
    pub(crate) fn found(&self) -> &[T] {
        match self {
            Answer::Found(found) => found,
            Answer::Nothing | Answer::Failed(_) => &[],
        }
    }
}

/// All that was found out.
#[derive(Debug)]
pub(crate) struct Facts {
    /// In ASCII.
    pub(crate) domain: String,
    /// Seconds since 1970.
    pub(crate) now: i64,
    /// Whether addresses of private networks are meant.
    pub(crate) private_addresses: bool,
    pub(crate) services: Vec<ServiceFacts>,
    pub(crate) web: WebFacts,
}

/// What was found out about one service.
#[derive(Debug)]
pub(crate) struct ServiceFacts {
    pub(crate) service: Service,
    pub(crate) source: Source,
    pub(crate) machines: Vec<Machine>,
}

/// How it is known where a service is.
#[derive(Debug)]
pub(crate) enum Source {
    /// The command line says so.
    CommandLine,
    /// What the DNS says. When there is nothing, the domain's own addresses were tried.
    Records(Answer<Target>),
}

/// A machine that a service is said to be on.
#[derive(Debug)]
pub(crate) struct Machine {
    pub(crate) host: String,
    pub(crate) port: u16,
    /// What the name stands for, if it is only another name.
    pub(crate) alias_of: Option<String>,
    pub(crate) addresses: Answer<IpAddr>,
    pub(crate) associations: Answer<Association>,
    /// Whether the DNS proves them.
    pub(crate) associations_are_signed: bool,
    pub(crate) doors: Vec<Door>,
}

/// An address of a machine, and what happened there.
#[derive(Debug)]
pub(crate) struct Door {
    pub(crate) address: SocketAddr,
    /// How long it took to connect, or why it did not.
    pub(crate) opened: Result<Duration, Closed>,
    pub(crate) visit: Option<Visit>,
}

/// Why nobody is behind a door.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Closed {
    Refused,
    Silent,
    /// This very machine has no way there: no IPv6, for instance.
    NoWay,
    Other(std::io::ErrorKind),
}

/// How far a stream got.
#[derive(Debug, Default)]
pub(crate) struct Visit {
    /// What is offered in the clear; nothing on a connection that begins with TLS.
    pub(crate) clear: Option<Features>,
    pub(crate) tls: Option<TlsFacts>,
    /// What is offered under TLS.
    pub(crate) features: Option<Features>,
    /// Where it ended too early.
    pub(crate) trouble: Option<Trouble>,
}

/// Why a visit ended too early.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// The server ended the stream with this condition and text.
    Ended(String),
    /// There is no STARTTLS.
    NoStartTls,
    /// TLS was not agreed on.
    Tls(String),
    /// What came is no XMPP.
    Protocol(String),
    /// The connection was closed without a word.
    Hung,
    TooLong,
}

/// What a server offers in a stream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Features {
    pub(crate) start_tls: bool,
    pub(crate) mechanisms: Vec<String>,
    /// Those of SASL2 (XEP-0388).
    pub(crate) mechanisms2: Vec<String>,
    pub(crate) bindings: Vec<String>,
    pub(crate) max_bytes: Option<u64>,
    pub(crate) idle_seconds: Option<u64>,
    /// Everybody may make an account (XEP-0077).
    pub(crate) registration: bool,
    pub(crate) dialback: bool,
    pub(crate) bidi: bool,
}

/// What TLS has shown.
#[derive(Debug)]
pub(crate) struct TlsFacts {
    pub(crate) version: &'static str,
    pub(crate) alpn: Option<String>,
    pub(crate) chain: Vec<CertificateDer<'static>>,
    pub(crate) trusted: Result<(), Untrusted>,
}

/// What the web of the domain says.
#[derive(Debug, Default)]
pub(crate) struct WebFacts {
    /// Host-meta in XML and in JSON.
    pub(crate) xml: Option<Result<HostMeta, String>>,
    pub(crate) json: Option<Result<HostMeta, String>>,
    /// What became of each link that is named in one of them.
    pub(crate) links: Vec<LinkFacts>,
}

/// A host-meta file (XEP-0156).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct HostMeta {
    pub(crate) status: u16,
    /// Whether pages of other domains may read it.
    pub(crate) open_to_pages: bool,
    pub(crate) links: Vec<(Relation, String)>,
}

/// The other ways to a server that browsers can take.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Relation {
    WebSocket,
    Bosh,
}

/// What became of one link.
#[derive(Debug)]
pub(crate) struct LinkFacts {
    pub(crate) relation: Relation,
    pub(crate) url: String,
    pub(crate) tried: Result<(), String>,
}
