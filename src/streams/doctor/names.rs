//! The doctor's questions to the name servers.

use std::net::{IpAddr, SocketAddr};

use hickory_resolver::TokioResolver;
use hickory_resolver::lookup::Lookup;
use hickory_resolver::proto::rr::{RData, RecordType};

use super::facts::{Answer, Service};
use crate::federation::dane::Association;
use crate::federation::discovery::{read_tlsa, resolver, short};
use crate::federation::targets::Target;

/// Addresses of one machine that are tried.
const MOST_ADDRESSES: usize = 6;

/// Asks name servers.
pub(super) struct Names {
    resolver: TokioResolver,
    /// The same, but that it believes only what is signed, up to the root.
    validating: TokioResolver,
}

impl Names {
    /// Those of the system when none is named.
    pub(super) fn new(servers: &[SocketAddr]) -> Result<Names, String> {
        Ok(Names {
            resolver: resolver(servers, None, |_| {})?,
            validating: resolver(servers, None, |options| options.validate = true)?,
        })
    }

    async fn ask<T>(&self, name: String, kind: RecordType, read: impl Fn(&RData) -> Option<T>) -> Answer<T> {
        let answered = self.resolver.lookup(format!("{}.", name.trim_end_matches('.')), kind).await;
        match answered {
            Ok(lookup) => {
                let found: Vec<T> = lookup.answers().iter().filter_map(|record| read(&record.data)).collect();
                if found.is_empty() { Answer::Nothing } else { Answer::Found(found) }
            }
            Err(error) if error.is_no_records_found() => Answer::Nothing,
            Err(error) => Answer::Failed(short(&error)),
        }
    }

    /// The SRV records of a service, the best first.
    pub(super) async fn targets(&self, domain: &str, service: Service) -> Answer<Target> {
        let name = format!("{}._tcp.{domain}", service.label());
        let direct_tls = service.is_direct();
        let read = |data: &RData| match data {
            RData::SRV(srv) => Some(Target {
                priority: srv.priority,
                weight: srv.weight,
                host: srv.target.to_ascii(),
                port: srv.port,
                direct_tls,
                is_signed: false,
            }),
            _ => None,
        };
        match self.ask(name, RecordType::SRV, read).await {
            Answer::Found(mut targets) => {
                targets.sort_by_key(|target| (target.priority, u16::MAX - target.weight));
                Answer::Found(targets)
            }
            other => other,
        }
    }

    /// The addresses of a machine, and what its name stands for, if it is only another name.
    pub(super) async fn addresses(&self, host: &str) -> (Answer<IpAddr>, Option<String>) {
        let address = |data: &RData| match data {
            RData::A(address) => Some((Some(IpAddr::V4(address.0)), None)),
            RData::AAAA(address) => Some((Some(IpAddr::V6(address.0)), None)),
            RData::CNAME(name) => Some((None, Some(name.to_ascii()))),
            _ => None,
        };
        let (four, six) = tokio::join!(
            self.ask(host.to_owned(), RecordType::A, address),
            self.ask(host.to_owned(), RecordType::AAAA, address)
        );
        let alias = four.found().iter().chain(six.found()).find_map(|(_, alias)| alias.clone());
        let of = |answer: &Answer<(Option<IpAddr>, Option<String>)>| -> Vec<IpAddr> {
            answer.found().iter().filter_map(|(address, _)| *address).take(MOST_ADDRESSES).collect()
        };
        let all = [of(&four), of(&six)].concat();
        let answer = match (all.is_empty(), four, six) {
            (false, _, _) => Answer::Found(all),
            (true, Answer::Failed(why), _) | (true, _, Answer::Failed(why)) => Answer::Failed(why),
            (true, _, _) => Answer::Nothing,
        };
        (answer, alias)
    }

    /// The TLSA records of a port of a machine, and whether the DNS proves them.
    pub(super) async fn associations(&self, host: &str, port: u16) -> (Answer<Association>, bool) {
        let name = format!("_{port}._tcp.{}", host.trim_end_matches('.'));
        let answer = self.ask(name.clone(), RecordType::TLSA, read_tlsa).await;
        if answer.found().is_empty() {
            return (answer, false);
        }
        let signed = self.validating.lookup(format!("{name}."), RecordType::TLSA).await;
        (answer, signed.is_ok_and(|lookup| is_signed(&lookup, RecordType::TLSA)))
    }
}

/// Whether every record of this kind was proved by signatures.
fn is_signed(lookup: &Lookup, kind: RecordType) -> bool {
    let mut of_kind = lookup.answers().iter().filter(|record| record.record_type() == kind).peekable();
    of_kind.peek().is_some() && of_kind.all(|record| record.proof.is_secure())
}
