//! `waxwing doctor`: looks at a domain as clients and other servers see it, and says what is wrong and what mends it.
//!
//! Facts are gathered by `names`, `doors` and `web`, each bounded in time; `judging` and what it calls are pure functions
//! from these facts to findings.

mod certificates;
mod doors;
mod facts;
mod judging;
mod names;
mod report;
mod streams;
mod ways;
mod web;

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use futures_util::{StreamExt as _, stream};
use rustls_pki_types::UnixTime;
use tokio::time::{Instant, timeout_at};
use waxwing_core::address::DomainPart;

use crate::certificates::names::to_ascii;
use crate::federation::identity::Authorities;
use crate::federation::targets::alternating;
use doors::Caller;
use facts::{Answer, Facts, Machine, ServiceFacts, Source, WebFacts};
use names::Names;
use web::Browser;

pub use facts::Service;
pub use report::{Finding, Level, Report, Section};

/// Machines of one service that are looked at.
const MOST_TARGETS: usize = 8;
/// Addresses of one machine that are knocked at.
const MOST_ADDRESSES: usize = 6;

/// What is to be examined, and how.
#[derive(Clone, Debug)]
pub struct Options {
    /// The domain.
    pub domain: DomainPart,
    /// The name servers to ask; those of the system when empty.
    pub resolvers: Vec<SocketAddr>,
    /// Where services are, whatever the DNS says.
    pub services: Vec<(Service, SocketAddr)>,
    /// Where the web of the domain is, whatever the DNS says.
    pub web: Option<SocketAddr>,
    /// Files with certificates (PEM) of authorities that are believed besides the public ones.
    pub authorities: Vec<PathBuf>,
    /// Whom to say that we are when we knock as a server. Nobody when not given.
    pub from: Option<DomainPart>,
    /// Whether servers at addresses of private networks are meant.
    pub private_addresses: bool,
    /// How long all of it may take.
    pub timeout: Duration,
}

/// Examines a domain. Takes no longer than the options say, and a moment for the report.
///
/// # Errors
/// Why it cannot be examined at all: the domain is an address, or a file of authorities cannot be read.
pub async fn examine(options: &Options) -> Result<Report, String> {
    let to = options.domain.as_str();
    let domain = to_ascii(to).ok_or_else(|| format!("{to} is no name that the DNS could know"))?;
    if domain.trim_matches(['[', ']']).parse::<IpAddr>().is_ok() {
        return Err(format!("{domain} is an address, and only domains have records and certificates"));
    }
    let authorities = Authorities::load(true, &options.authorities)?;
    let names = Names::new(&options.resolvers)?;
    let caller = Caller {
        domain: &domain,
        to,
        from: options.from.as_ref().map(|from| from.as_str()).unwrap_or_default(),
        authorities: &authorities,
        deadline: Instant::now() + options.timeout,
    };
    let services = together(Service::ALL.map(|service| look_at(service, options, &names, &caller)));
    let browser = Browser { names: &names, caller: &caller, placed: options.web };
    let looked = timeout_at(caller.deadline, browser.look());
    let (services, web) = tokio::join!(services, looked);
    let facts = Facts {
        now: UnixTime::now().as_secs().try_into().unwrap_or(i64::MAX),
        private_addresses: options.private_addresses,
        services,
        web: web.unwrap_or_else(|_| WebFacts { xml: Some(Err("no answer in time".to_owned())), ..WebFacts::default() }),
        domain,
    };
    Ok(Report::of(&facts.domain, judging::judge(&facts)))
}

/// Does all of it, a few at a time, and gives what comes of each in their order.
async fn together<F: Future>(work: impl IntoIterator<Item = F>) -> Vec<F::Output> {
    stream::iter(work).buffered(MOST_TARGETS).collect().await
}

/// Everything about one service.
async fn look_at(service: Service, options: &Options, names: &Names, caller: &Caller<'_>) -> ServiceFacts {
    let placed: Vec<Machine> = options
        .services
        .iter()
        .filter(|(of, _)| *of == service)
        .map(|(_, address)| Machine {
            host: address.ip().to_string(),
            port: address.port(),
            alias_of: None,
            addresses: Answer::Found(vec![address.ip()]),
            associations: Answer::Nothing,
            associations_are_signed: false,
            doors: Vec::new(),
        })
        .collect();
    if !placed.is_empty() {
        let machines = together(placed.into_iter().map(|machine| visit(service, machine, caller))).await;
        return ServiceFacts { service, source: Source::CommandLine, machines };
    }
    let late = || "no answer in time".to_owned();
    let asked = timeout_at(caller.deadline, names.targets(caller.domain, service)).await;
    let records = asked.unwrap_or_else(|_| Answer::Failed(late()));
    let places: Vec<(String, u16)> = match &records {
        Answer::Found(targets) => {
            let real = targets.iter().filter(|target| !target.is_denial()).take(MOST_TARGETS);
            real.map(|target| (target.host.clone(), target.port)).collect()
        }
        // RFC 6120 §3.2.2; nobody falls back to direct TLS.
        Answer::Nothing if !service.is_direct() => vec![(caller.domain.to_owned(), service.usual_port())],
        Answer::Nothing | Answer::Failed(_) => Vec::new(),
    };
    let machines = places.into_iter().map(async |(host, port)| {
        let asked = async { tokio::join!(names.addresses(&host), names.associations(&host, port)) };
        let ((addresses, alias_of), (associations, associations_are_signed)) = timeout_at(caller.deadline, asked)
            .await
            .unwrap_or_else(|_| ((Answer::Failed(late()), None), (Answer::Failed(late()), false)));
        let doors = Vec::new();
        let machine = Machine { host, port, alias_of, addresses, associations, associations_are_signed, doors };
        visit(service, machine, caller).await
    });
    ServiceFacts { service, machines: together(machines).await, source: Source::Records(records) }
}

/// Knocks at all addresses of a machine.
async fn visit(service: Service, mut machine: Machine, caller: &Caller<'_>) -> Machine {
    let addresses = alternating(machine.addresses.found().iter().copied(), MOST_ADDRESSES);
    let port = machine.port;
    let doors = addresses.into_iter().map(|ip| caller.visit(service, SocketAddr::new(ip, port)));
    machine.doors = together(doors).await;
    machine
}
