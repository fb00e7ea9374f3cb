//! What is wrong, and what mends it: facts in, findings out.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};

use super::certificates;
use super::facts::{Answer, Closed, Door, Facts, Machine, Service, ServiceFacts, Source};
use super::report::{Finding, Level, Section};
use super::{streams, ways};
use crate::federation::dane::{Association, Verdict, judge as judge_associations};
use crate::federation::targets::{Target, is_public};

/// How long a record that we advise may be kept, in seconds.
const LIFETIME: u32 = 3_600;

/// A finding in a section.
pub(super) fn finding(section: Section, level: Level, text: impl Into<String>) -> Finding {
    Finding { section, level, text: text.into(), places: Vec::new(), mend: Vec::new() }
}

impl Finding {
    pub(super) fn at(mut self, place: impl ToString) -> Finding {
        self.places.push(place.to_string());
        self
    }

    pub(super) fn mend(mut self, line: impl Into<String>) -> Finding {
        self.mend.push(line.into());
        self
    }
}

/// Everything that there is to say.
pub(super) fn judge(facts: &Facts) -> Vec<Finding> {
    let mut findings = Vec::new();
    judge_records(facts, &mut findings);
    judge_machines(facts, &mut findings);
    for service in &facts.services {
        judge_associations_of(facts, service, &mut findings);
        judge_doors(service, &mut findings);
    }
    certificates::judge(facts, &mut findings);
    for service in &facts.services {
        streams::judge(facts, service, &mut findings);
    }
    ways::judge(facts, &mut findings);
    findings
}

/// An SRV record as it stands in a zone.
fn srv(service: Service, domain: &str, host: &str) -> String {
    let (label, port) = (service.label(), service.usual_port());
    let host = host.trim_end_matches('.');
    format!("{label}._tcp.{domain}. {LIFETIME} IN SRV 5 0 {port} {host}.")
}

// ---- where the services are said to be -------------------------------------------------------------------------------

fn judge_records(facts: &Facts, findings: &mut Vec<Finding>) {
    for pair in [[Service::Client, Service::ClientTls], [Service::Server, Service::ServerTls]] {
        let of = |service| facts.services.iter().find(|one| one.service == service);
        let [Some(plain), Some(direct)] = pair.map(of) else { continue };
        judge_pair(facts, plain, direct, findings);
    }
}

fn judge_pair(facts: &Facts, plain: &ServiceFacts, direct: &ServiceFacts, findings: &mut Vec<Finding>) {
    let domain = facts.domain.as_str();
    let say = |level, text: String| finding(Section::Names, level, text);
    let real = |service: &ServiceFacts| -> Vec<Target> {
        match &service.source {
            Source::Records(answer) => answer.found().iter().filter(|target| !target.is_denial()).cloned().collect(),
            Source::CommandLine => Vec::new(),
        }
    };
    let (plain_targets, direct_targets) = (real(plain), real(direct));
    let host = plain_targets.iter().chain(&direct_targets).next().map_or(domain, |target| target.host.as_str());
    for (facts_of, targets) in [(plain, &plain_targets), (direct, &direct_targets)] {
        let service = facts_of.service;
        let name = format!("{}._tcp.{domain}", service.label());
        let people = service.people();
        let answer = match &facts_of.source {
            Source::CommandLine => {
                findings.push(say(Level::Note, format!("{name} was not asked for: the command line says where it is")));
                continue;
            }
            Source::Records(answer) => answer,
        };
        match answer {
            Answer::Found(_) if targets.is_empty() => {
                let alone = plain_targets.is_empty() && direct_targets.is_empty();
                let level = if alone { Level::Broken } else { Level::Note };
                let text = format!("{name} says that there is no such service, so {people} do not come this way");
                let denied = say(level, text);
                findings.push(if alone { denied.mend(srv(service, domain, domain)) } else { denied });
            }
            Answer::Found(_) => findings.extend(targets.iter().map(|target| {
                let Target { priority, weight, port, host, .. } = target;
                say(Level::Good, format!("{name}: {priority} {weight} {port} {host}"))
            })),
            Answer::Failed(why) => findings.push(
                say(Level::Broken, format!("the name servers do not answer for {name}: {why}"))
                    .mend(format!("look what they say: dig SRV {name}")),
            ),
            Answer::Nothing if service.is_direct() => findings.push(
                say(Level::Note, format!("there is no {name}, so no {people} begin with TLS (XEP-0368)"))
                    .mend(srv(service, domain, host)),
            ),
            Answer::Nothing => {
                let found_at_home = facts_of.machines.iter().any(|machine| !machine.addresses.found().is_empty());
                let port = service.usual_port();
                let text = match (found_at_home, direct_targets.is_empty()) {
                    (true, _) => format!("there is no {name}: {people} fall back to {domain}, port {port}"),
                    (false, false) => format!("there is no {name}: {people} that know only STARTTLS find nothing"),
                    (false, true) => format!("there is no {name}, and {domain} has no address: {people} find nothing"),
                };
                let is_lost = !found_at_home && direct_targets.is_empty();
                let level = if is_lost { Level::Broken } else { Level::Warning };
                findings.push(say(level, text).mend(srv(service, domain, host)));
            }
        }
    }
}

fn judge_machines(facts: &Facts, findings: &mut Vec<Finding>) {
    let mut seen = BTreeSet::new();
    let mut any_ipv6 = false;
    let mut first = None;
    for service in &facts.services {
        let Source::Records(answer) = &service.source else { continue };
        for machine in &service.machines {
            any_ipv6 |= machine.addresses.found().iter().any(IpAddr::is_ipv6);
            // That the domain itself has no address was said where it matters.
            let is_fallback = answer.found().is_empty();
            if (is_fallback && machine.addresses.found().is_empty()) || !seen.insert(machine.host.clone()) {
                continue;
            }
            first.get_or_insert(machine.host.as_str());
            judge_machine(machine, is_fallback, facts.private_addresses, findings);
        }
    }
    if let Some(host) = first.filter(|_| !any_ipv6) {
        let host = host.trim_end_matches('.');
        findings.push(
            finding(Section::Names, Level::Note, "there is no IPv6 address")
                .mend(format!("{host}. {LIFETIME} IN AAAA <the server's IPv6 address>")),
        );
    }
}

fn judge_machine(machine: &Machine, is_fallback: bool, private: bool, findings: &mut Vec<Finding>) {
    let host = machine.host.trim_end_matches('.');
    let say = |level, text: String| finding(Section::Names, level, text);
    match &machine.addresses {
        Answer::Found(addresses) => {
            let all: Vec<String> = addresses.iter().map(ToString::to_string).collect();
            findings.push(say(Level::Good, format!("{host}: {}", all.join(", "))));
            let inside: Vec<String> =
                addresses.iter().filter(|address| !is_public(**address)).map(ToString::to_string).collect();
            if !inside.is_empty() && !private {
                findings.push(
                    say(Level::Warning, format!("{host} is at {}: nobody outside gets there", inside.join(", ")))
                        .mend(format!("{host}. {LIFETIME} IN A <the server's public address>"))
                        .mend("or, when a private network is meant: --private-addresses"),
                );
            }
        }
        Answer::Nothing => findings.push(
            say(Level::Broken, format!("{host}, which an SRV record names, has no address"))
                .mend(format!("{host}. {LIFETIME} IN A <the server's IPv4 address>"))
                .mend(format!("{host}. {LIFETIME} IN AAAA <the server's IPv6 address>")),
        ),
        Answer::Failed(why) => findings.push(
            say(Level::Broken, format!("the name servers do not answer for {host}: {why}"))
                .mend(format!("look what they say: dig A {host}")),
        ),
    }
    if let Some(real) = machine.alias_of.as_ref().filter(|_| !is_fallback) {
        let real = real.trim_end_matches('.');
        findings.push(
            say(
                Level::Warning,
                format!("{host}, which an SRV record names, is only another name (RFC 2782 forbids it)"),
            )
            .mend(format!("write {real}. in the SRV record instead of {host}.")),
        );
    }
}

// ---- what the DNS says about certificates ----------------------------------------------------------------------------

fn judge_associations_of(facts: &Facts, service: &ServiceFacts, findings: &mut Vec<Finding>) {
    for machine in &service.machines {
        let records = machine.associations.found();
        let tls = machine.doors.iter().filter_map(|door| door.visit.as_ref()?.tls.as_ref()).next();
        let (Some(tls), false) = (tls, records.is_empty()) else { continue };
        let host = machine.host.trim_end_matches('.');
        let name = format!("_{}._tcp.{host}", machine.port);
        let verdict = judge_associations(records, &tls.chain, [&facts.domain, host], &tls.trusted);
        let (level, text) = match (verdict, machine.associations_are_signed) {
            (Verdict::Proved, true) => (Level::Good, format!("TLSA of {name} fits the certificate")),
            (Verdict::Proved, false) => {
                (Level::Note, format!("TLSA of {name} fits the certificate, but is not signed, so nobody heeds it"))
            }
            (Verdict::Refused, true) => {
                (Level::Broken, format!("TLSA of {name} does not fit the certificate: who heeds it does not connect"))
            }
            (Verdict::Refused, false) => {
                (Level::Warning, format!("TLSA of {name} does not fit the certificate; it is not signed either"))
            }
            (Verdict::Silent, _) => (Level::Warning, format!("TLSA of {name} is nothing that anybody understands")),
        };
        let said = finding(Section::Names, level, text);
        let record = tls.chain.first().and_then(|leaf| Association::of(leaf)).filter(|_| level > Level::Note);
        findings.push(match record {
            Some(record) => said.mend(format!("{name}. {LIFETIME} IN TLSA {}", record.text())),
            None => said,
        });
    }
}

// ---- what accepts connections ----------------------------------------------------------------------------------------

/// Why nobody is there, as the end of a sentence that begins with the address.
pub(super) fn why_closed(closed: Closed) -> String {
    match closed {
        Closed::Refused => "refuses connections".to_owned(),
        Closed::Silent => "does not answer".to_owned(),
        Closed::NoWay => "cannot be reached from this machine".to_owned(),
        Closed::Other(kind) => format!("cannot be reached: {kind}"),
    }
}

/// A machine and its port.
pub(super) fn place(machine: &Machine) -> String {
    let host = machine.host.trim_end_matches('.');
    match host.parse() {
        Ok(address) => SocketAddr::new(address, machine.port).to_string(),
        Err(_) => format!("{host}:{}", machine.port),
    }
}

fn judge_doors(service: &ServiceFacts, findings: &mut Vec<Finding>) {
    let any_open = service.machines.iter().flat_map(|machine| &machine.doors).any(|door| door.opened.is_ok());
    for machine in &service.machines {
        let open: Vec<String> = machine
            .doors
            .iter()
            .filter_map(|door| {
                let milliseconds = door.opened.as_ref().ok()?.as_secs_f64() * 1_000.0;
                Some(format!("{} after {milliseconds:.0} ms", door.address))
            })
            .collect();
        let kind = if service.service.is_direct() { "direct TLS" } else { "STARTTLS" };
        let name = format!("{}, for {}, {kind}", place(machine), service.service.people());
        if !open.is_empty() {
            findings.push(finding(Section::Ports, Level::Good, format!("{name}: {}", open.join(", "))));
        }
        findings.extend(machine.doors.iter().filter_map(|door| closed_door(service.service, door, &name, any_open)));
    }
}

fn closed_door(service: Service, door: &Door, name: &str, any_open: bool) -> Option<Finding> {
    let closed = *door.opened.as_ref().err()?;
    let text = format!("{name}: {} {}", door.address, why_closed(closed));
    let level = match closed {
        Closed::NoWay => return Some(finding(Section::Ports, Level::Note, text)),
        _ if any_open => Level::Warning,
        _ => Level::Broken,
    };
    Some(
        finding(Section::Ports, level, text)
            .mend(format!("let TCP to {} through every firewall on the way", door.address))
            .mend(listen(service, door.address)),
    )
}

/// The line of the configuration that lets a Waxwing listen.
pub(super) fn listen(service: Service, address: SocketAddr) -> String {
    let (key, port) = (service.listen_key(), address.port());
    format!("Waxwing, [listen]: {key} = [\"0.0.0.0:{port}\", \"[::]:{port}\"]")
}
