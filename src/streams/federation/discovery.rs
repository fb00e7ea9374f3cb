//! Where a domain's servers are: the operator's word, SRV records, and the plain addresses; what signed records say
//! about certificates (RFC 6120 §3.2, XEP-0368, RFC 7673 §3).

use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesOrdered;
use hickory_resolver::TokioResolver;
use hickory_resolver::config::{LookupIpStrategy, NameServerConfig, ResolveHosts, ResolverConfig, ResolverOpts};
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::dnssec::TrustAnchors;
use hickory_resolver::proto::rr::{RData, RecordType};
use waxwing_core::address::DomainRef;
use waxwing_core::random;

use super::dane::Association;
use super::settings::{Place, Settings};
use super::targets::{Target, alternating, in_order, is_fit_for_a_server, is_public};
use crate::certificates::names::to_ascii;

/// The port of servers without a SRV record (RFC 6120 §3.2.2).
const PORT: u16 = 5269;
/// Machines of one domain that are looked at.
const MOST_TARGETS: usize = 8;
/// Addresses of one machine that are tried.
const MOST_ADDRESSES: usize = 6;
/// How long one question to a name server may take where nobody has decided otherwise; each is asked twice.
const PATIENCE: Duration = Duration::from_secs(5);
/// The longest it may be told to wait for a name server.
const MOST_PATIENCE: Duration = Duration::from_secs(3_600);
/// The longest an answer is kept, whatever it says.
const KEPT: Duration = Duration::from_secs(3_600);
/// The longest the answer that there is nothing is kept.
const NOTHING_KEPT: Duration = Duration::from_secs(60);

/// Somewhere to connect to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Endpoint {
    pub(crate) address: SocketAddr,
    /// Whether the connection begins with TLS.
    pub(crate) direct_tls: bool,
    /// What a validated DNS says about its certificate; nothing for most.
    pub(crate) dane: Option<Arc<Dane>>,
}

/// TLSA records that signatures prove, of a machine that a proved SRV record names (RFC 7673 §3).
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Dane {
    /// The name of the machine.
    pub(crate) host: String,
    pub(crate) associations: Vec<Association>,
}

/// Why there is nowhere to connect to.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Nowhere {
    /// There is no such domain, or no address of it.
    #[error("the domain has no server")]
    NoServer,
    /// The domain says that it has no such service.
    #[error("the domain says that it has no XMPP server")]
    Denied,
    /// All its addresses are of this machine or of a private network.
    #[error("its servers are at addresses that are not public")]
    NotPublic,
    /// The name servers did not answer properly.
    #[error("the name servers do not answer: {0}")]
    Unknown(String),
}

/// Finds servers.
pub(crate) struct Discovery {
    resolver: TokioResolver,
    places: Vec<Place>,
    private_addresses: bool,
    /// Whether TLSA records are asked for where the answers before them are proved.
    dane: bool,
}

/// The answer to one question for SRV records.
enum Answer {
    Records(Vec<Target>),
    Nothing,
    Failed(String),
}

impl Discovery {
    /// Prepares to ask the name servers of the settings, or those of the system.
    ///
    /// # Errors
    /// What is wrong with the resolver.
    pub(crate) fn new(settings: &Settings) -> Result<Discovery, String> {
        let anchors = settings.dnssec_anchors.as_deref().filter(|_| settings.dnssec);
        let resolver = resolver(&settings.resolvers, anchors, |options| {
            options.cache_size = settings.cached_names.get() as u64;
            options.validate = settings.dnssec;
            options.timeout = settings.resolver_timeout.get().min(MOST_PATIENCE);
        })?;
        Ok(Discovery {
            resolver,
            places: settings.addresses.clone(),
            private_addresses: settings.private_addresses,
            dane: settings.dnssec && settings.dane,
        })
    }

    /// Where to connect to for a domain, the best first.
    ///
    /// # Errors
    /// Why nowhere.
    pub(crate) async fn endpoints(&self, domain: &DomainRef) -> Result<Vec<Endpoint>, Nowhere> {
        let placed: Vec<Endpoint> = self
            .places
            .iter()
            .filter(|place| *place.domain == *domain)
            .map(|place| Endpoint { address: place.address, direct_tls: place.direct_tls, dane: None })
            .collect();
        if !placed.is_empty() {
            return Ok(placed);
        }
        let name = domain.as_str();
        if let Ok(address) = name.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>() {
            let endpoint = Endpoint { address: SocketAddr::new(address, PORT), direct_tls: false, dane: None };
            return self.allowed(vec![endpoint]);
        }
        let name = to_ascii(name).ok_or(Nowhere::NoServer)?;
        let (direct, plain) = tokio::join!(self.targets(&name, true), self.targets(&name, false));
        let mut failure = None;
        let mut targets = Vec::new();
        for answer in [direct, plain] {
            match answer {
                Answer::Records(records) => targets.extend(records),
                Answer::Nothing => {}
                Answer::Failed(why) => failure = Some(why),
            }
        }
        if targets.is_empty() {
            // RFC 6120 §3.2.1: only where there is no SRV record the plain addresses are asked for. A name server that
            // fails has not said so.
            return match failure {
                Some(why) => Err(Nowhere::Unknown(why)),
                None => {
                    let home = Target {
                        priority: 0,
                        weight: 0,
                        host: name,
                        port: PORT,
                        direct_tls: false,
                        // That there is no record was proved as well as the name's addresses are.
                        is_signed: self.dane,
                    };
                    self.allowed(self.machine(&home).await?)
                }
            };
        }
        targets.retain(|target| !target.is_denial());
        if targets.is_empty() {
            return Err(Nowhere::Denied);
        }
        let ordered = in_order(targets, draw);
        let mut looked_up: FuturesOrdered<_> =
            ordered.iter().take(MOST_TARGETS).map(|target| self.machine(target)).collect();
        let (mut found, mut last) = (Vec::new(), Nowhere::NoServer);
        while let Some(looked_up) = looked_up.next().await {
            match looked_up {
                Ok(endpoints) => found.extend(endpoints),
                Err(error) => last = error,
            }
        }
        if found.is_empty() { Err(last) } else { self.allowed(found) }
    }

    /// Leaves out what is no place for a server.
    fn allowed(&self, mut endpoints: Vec<Endpoint>) -> Result<Vec<Endpoint>, Nowhere> {
        if !self.private_addresses {
            endpoints.retain(|one| is_public(one.address.ip()) && is_fit_for_a_server(one.address.port()));
        }
        if endpoints.is_empty() { Err(Nowhere::NotPublic) } else { Ok(endpoints) }
    }

    async fn targets(&self, name: &str, direct_tls: bool) -> Answer {
        let service = if direct_tls { "_xmpps-server" } else { "_xmpp-server" };
        match self.resolver.lookup(format!("{service}._tcp.{name}."), RecordType::SRV).await {
            Ok(lookup) => {
                let targets = lookup.answers().iter().filter_map(|record| match &record.data {
                    RData::SRV(srv) => Some(Target {
                        priority: srv.priority,
                        weight: srv.weight,
                        host: srv.target.to_ascii(),
                        port: srv.port,
                        direct_tls,
                        is_signed: record.proof.is_secure(),
                    }),
                    _ => None,
                });
                let targets: Vec<Target> = targets.collect();
                if targets.is_empty() { Answer::Nothing } else { Answer::Records(targets) }
            }
            Err(error) if error.is_no_records_found() => Answer::Nothing,
            Err(error) => Answer::Failed(short(&error)),
        }
    }

    /// Where a machine is, and what is proved about its certificate.
    async fn machine(&self, target: &Target) -> Result<Vec<Endpoint>, Nowhere> {
        let (addresses, are_signed) = self.addresses(&target.host).await?;
        let dane = if target.is_signed && are_signed { self.associations(target).await? } else { None };
        let (port, direct_tls) = (target.port, target.direct_tls);
        let endpoint = |ip| Endpoint { address: SocketAddr::new(ip, port), direct_tls, dane: dane.clone() };
        Ok(addresses.into_iter().map(endpoint).collect())
    }

    /// The addresses of a machine, and whether signatures prove all of them.
    async fn addresses(&self, name: &str) -> Result<(Vec<IpAddr>, bool), Nowhere> {
        match self.resolver.lookup_ip(format!("{}.", name.trim_end_matches('.'))).await {
            Ok(lookup) => {
                let mut addresses =
                    lookup.as_lookup().answers().iter().filter(|record| record.record_type().is_ip_addr());
                let are_signed = self.dane && addresses.all(|record| record.proof.is_secure());
                Ok((alternating(lookup.iter(), MOST_ADDRESSES), are_signed))
            }
            Err(error) if error.is_no_records_found() => Err(Nowhere::NoServer),
            Err(error) => Err(Nowhere::Unknown(short(&error))),
        }
    }

    /// The TLSA records of a machine, if signatures prove them. Where it cannot be found out whether there are any, the
    /// machine is as good as away: else whoever can suppress an answer could do without them (RFC 7673 §3.3).
    async fn associations(&self, target: &Target) -> Result<Option<Arc<Dane>>, Nowhere> {
        let host = target.host.trim_end_matches('.');
        match self.resolver.lookup(format!("_{}._tcp.{host}.", target.port), RecordType::TLSA).await {
            Ok(lookup) => {
                let records = || lookup.answers().iter().filter(|record| record.record_type() == RecordType::TLSA);
                let associations: Vec<Association> = records().filter_map(|record| read_tlsa(&record.data)).collect();
                let are_signed = !associations.is_empty() && records().all(|record| record.proof.is_secure());
                Ok(are_signed.then(|| Arc::new(Dane { host: host.to_owned(), associations })))
            }
            Err(error) if error.is_no_records_found() => Ok(None),
            Err(error) => Err(Nowhere::Unknown(short(&error))),
        }
    }
}

/// A TLSA record as we judge it.
pub(crate) fn read_tlsa(data: &RData) -> Option<Association> {
    match data {
        RData::TLSA(tlsa) => Some(Association {
            usage: tlsa.cert_usage.into(),
            selector: tlsa.selector.into(),
            matching: tlsa.matching.into(),
            data: tlsa.cert_data.clone(),
        }),
        _ => None,
    }
}

/// What asks the name servers: these, or those of the system when there are none. `anchors` are the keys that signatures
/// lead to, instead of those of the root; `change` has the last word.
///
/// # Errors
/// What is wrong with it.
pub(crate) fn resolver(
    servers: &[SocketAddr],
    anchors: Option<&Path>,
    change: impl FnOnce(&mut ResolverOpts),
) -> Result<TokioResolver, String> {
    let system = servers.is_empty().then(|| TokioResolver::builder_tokio().ok()).flatten();
    let mut builder = system.unwrap_or_else(|| {
        let named = servers.iter().map(|address| {
            let mut server = NameServerConfig::udp_and_tcp(address.ip());
            for connection in &mut server.connections {
                connection.port = address.port();
            }
            server
        });
        let config = ResolverConfig::from_parts(None, Vec::new(), named.collect());
        TokioResolver::builder_with_config(config, TokioRuntimeProvider::default())
    });
    let options = builder.options_mut();
    options.timeout = PATIENCE;
    options.attempts = 1;
    options.ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
    options.positive_max_ttl = Some(KEPT);
    options.negative_max_ttl = Some(NOTHING_KEPT);
    if !servers.is_empty() {
        options.use_hosts_file = ResolveHosts::Never;
    }
    change(options);
    if let Some(file) = anchors {
        let wrong = |error| format!("dnssec_anchors: {}: {error}", file.display());
        builder = builder.with_trust_anchor(Arc::new(TrustAnchors::from_file(file).map_err(wrong)?));
    }
    builder.build().map_err(|error| format!("the resolver cannot be set up: {error}"))
}

/// A number from 0 to `most`.
fn draw(most: u32) -> u32 {
    let wide = u64::from_le_bytes(random::bytes());
    (wide % (u64::from(most) + 1)) as u32
}

pub(crate) fn short(error: &NetError) -> String {
    error.to_string().chars().take(200).collect()
}
