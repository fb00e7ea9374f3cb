//! What is wrong with the streams that a domain's servers open.

use super::facts::{Door, Facts, Features, Machine, Service, ServiceFacts, TlsFacts, Trouble, Visit};
use super::judging::{finding, place};
use super::report::{Finding, Level, Section};

/// Judges every stream of a service.
pub(super) fn judge(facts: &Facts, service: &ServiceFacts, findings: &mut Vec<Finding>) {
    let section = if service.service.is_for_servers() { Section::Servers } else { Section::Clients };
    let any_good = service.machines.iter().flat_map(|machine| &machine.doors).any(is_good);
    for machine in &service.machines {
        for door in &machine.doors {
            let Some(visit) = &door.visit else { continue };
            let judged = judge_visit(facts, service.service, machine, visit, any_good);
            let at = match place(machine) {
                place if place == door.address.to_string() => place,
                place => format!("{place} at {}", door.address.ip()),
            };
            findings.extend(judged.into_iter().map(|(level, text, mend)| {
                let mut said = finding(section, level, text).at(&at);
                said.mend = mend;
                said
            }));
        }
    }
}

fn is_good(door: &Door) -> bool {
    door.visit.as_ref().is_some_and(|visit| visit.trouble.is_none())
}

type Said = (Level, String, Vec<String>);

fn judge_visit(facts: &Facts, service: Service, machine: &Machine, visit: &Visit, any_good: bool) -> Vec<Said> {
    let mut all = Vec::new();
    if let Some(clear) = &visit.clear
        && !(clear.mechanisms.is_empty() && clear.mechanisms2.is_empty())
        && !service.is_for_servers()
    {
        let text = "it takes passwords in the clear, before TLS";
        all.push((Level::Broken, text.to_owned(), in_all_servers(service, "require TLS")));
    }
    if let Some(trouble) = &visit.trouble {
        all.push(judge_trouble(facts, service, machine, visit, trouble, any_good));
    }
    if let Some(features) = &visit.features {
        match service.is_for_servers() {
            true => judge_for_servers(service, features, visit.tls.as_ref(), &mut all),
            false => judge_for_clients(service, features, visit.tls.as_ref(), &mut all),
        }
    }
    all
}

/// What makes servers insist on TLS.
fn in_all_servers(service: Service, what: &str) -> Vec<String> {
    let (prosody, ejabberd) = match service.is_for_servers() {
        true => ("s2s_require_encryption = true", "s2s_use_starttls: required"),
        false => ("c2s_require_encryption = true", "starttls_required: true, in the listener of ejabberd_c2s"),
    };
    vec![
        format!("{what}; Prosody: {prosody}, and a certificate for the host; ejabberd: {ejabberd}"),
        "Waxwing does so always: is another server, or a proxy, at this port?".to_owned(),
    ]
}

fn judge_trouble(
    facts: &Facts,
    service: Service,
    machine: &Machine,
    visit: &Visit,
    trouble: &Trouble,
    any_good: bool,
) -> Said {
    // One of several machines that fails is not the end.
    let level = if any_good { Level::Warning } else { Level::Broken };
    let people = service.people();
    match trouble {
        Trouble::NoStartTls => (
            Level::Broken,
            format!("it offers no STARTTLS, only the clear: {people} that know what is good for them stay away"),
            in_all_servers(service, "offer TLS"),
        ),
        Trouble::Tls(why) => {
            let steps = vec![
                format!("look closer: openssl s_client -connect {}{}", place(machine), start_tls(service, facts)),
                "the server must speak TLS 1.2 or 1.3 with modern ciphers (RFC 9325)".to_owned(),
            ];
            (level, format!("TLS is not agreed on: {why}"), steps)
        }
        Trouble::Ended(condition) if service.is_for_servers() && visit.tls.is_some() && is_refusal(condition) => (
            Level::Note,
            format!("without a certificate of a server nobody gets further here: {condition}"),
            Vec::new(),
        ),
        Trouble::Ended(condition) if condition.starts_with("host-unknown") => {
            let domain = &facts.domain;
            let steps = vec![
                format!("Waxwing: [[hosts]] name = \"{domain}\""),
                "or let the SRV record name the machine that serves it".to_owned(),
            ];
            (level, format!("the server there does not serve {domain}"), steps)
        }
        Trouble::Ended(condition) if service.is_for_servers() && is_refusal(condition) => (
            level,
            format!("it refuses other servers: {condition}"),
            vec![
                "Waxwing, [modules.federation]: enabled = true, and look into allow and block".to_owned(),
                "when it talks only to servers that it knows, knock as one of them: --from YOUR.DOMAIN".to_owned(),
            ],
        ),
        Trouble::Ended(condition) => {
            (level, format!("it ends the stream: {condition}"), vec!["its log says why".to_owned()])
        }
        Trouble::Protocol(what) => (
            level,
            format!("what is there is no XMPP server, or one for somebody else: {what}"),
            vec![format!("is port {} forwarded to the server's listener for {people}?", machine.port)],
        ),
        Trouble::Hung => (
            level,
            "it closes the connection without a word".to_owned(),
            vec![format!("is port {} forwarded to a listener that is there?", machine.port)],
        ),
        Trouble::TooLong => (
            level,
            "it says nothing, or too slowly".to_owned(),
            vec!["a port for direct TLS waits for TLS: is the SRV record of the right kind?".to_owned()],
        ),
    }
}

fn is_refusal(condition: &str) -> bool {
    ["policy-violation", "not-authorized", "remote-connection-failed", "undefined-condition"]
        .iter()
        .any(|one| condition.starts_with(one))
}

/// What `openssl s_client` needs to know.
fn start_tls(service: Service, facts: &Facts) -> String {
    let domain = &facts.domain;
    match service {
        Service::Client => format!(" -starttls xmpp -xmpphost {domain}"),
        Service::Server => format!(" -starttls xmpp-server -xmpphost {domain}"),
        Service::ClientTls | Service::ServerTls => format!(" -servername {domain} -alpn {}", service.alpn()),
    }
}

/// What the stream has, as one line.
fn described(service: Service, features: &Features, tls: Option<&TlsFacts>) -> String {
    let kind = if service.is_direct() { "direct TLS" } else { "STARTTLS" };
    let version = tls.map_or("TLS", |tls| tls.version);
    let mut parts = vec![format!("{kind} with {version}")];
    if !features.mechanisms.is_empty() {
        parts.push(format!("SASL {}", features.mechanisms.join(" ")));
    }
    if !features.mechanisms2.is_empty() {
        parts.push(format!("SASL2 {}", features.mechanisms2.join(" ")));
    }
    if !features.bindings.is_empty() {
        parts.push(format!("channel binding {}", features.bindings.join(" ")));
    }
    parts.extend(features.dialback.then(|| "dialback".to_owned()));
    parts.extend(features.bidi.then(|| "both directions on one connection".to_owned()));
    parts.extend(features.max_bytes.map(|bytes| format!("stanzas up to {bytes} bytes before login")));
    parts.extend(features.idle_seconds.map(|seconds| format!("silence up to {seconds} s")));
    parts.join("; ")
}

fn judge_for_clients(service: Service, features: &Features, tls: Option<&TlsFacts>, all: &mut Vec<Said>) {
    let mechanisms: Vec<&str> = features.mechanisms.iter().chain(&features.mechanisms2).map(String::as_str).collect();
    let has_modern =
        mechanisms.iter().any(|name| name.starts_with("SCRAM-SHA-256") || name.starts_with("SCRAM-SHA-512"));
    if mechanisms.is_empty() {
        let steps = vec!["the log of the server says which mechanisms it takes, and why none".to_owned()];
        all.push((Level::Broken, "it offers no way to log in".to_owned(), steps));
        return;
    }
    all.push((Level::Good, described(service, features, tls), Vec::new()));
    if mechanisms.iter().all(|name| *name == "PLAIN") {
        let text = "PLAIN is the only way to log in: the server learns every password";
        let steps = vec![
            "Prosody: authentication = \"internal_hashed\"; ejabberd: auth_password_format: scram; Waxwing does so always"
                .to_owned(),
        ];
        all.push((Level::Warning, text.to_owned(), steps));
    } else if !has_modern {
        all.push((Level::Note, "neither SCRAM-SHA-256 nor SCRAM-SHA-512 is offered".to_owned(), Vec::new()));
    }
    if features.registration {
        let steps = vec!["if that is not meant: Waxwing, [modules.register]: open = false".to_owned()];
        all.push((Level::Note, "everybody may make an account here (XEP-0077)".to_owned(), steps));
    }
}

fn judge_for_servers(service: Service, features: &Features, tls: Option<&TlsFacts>, all: &mut Vec<Said>) {
    all.push((Level::Good, described(service, features, tls), Vec::new()));
}

#[cfg(test)]
mod tests {
    use super::super::facts::{Answer, Source, WebFacts};
    use super::*;

    fn judged(service: Service, visit: Visit) -> Vec<(Level, String)> {
        let door =
            Door { address: "192.0.2.1:5222".parse().unwrap(), opened: Ok(Default::default()), visit: Some(visit) };
        let machine = Machine {
            host: "machine.capulet.lit.".to_owned(),
            port: 5222,
            alias_of: None,
            addresses: Answer::Nothing,
            associations: Answer::Nothing,
            associations_are_signed: false,
            doors: vec![door],
        };
        let facts_of = ServiceFacts { service, source: Source::Records(Answer::Nothing), machines: vec![machine] };
        let facts = Facts {
            domain: "capulet.lit".to_owned(),
            now: 0,
            private_addresses: false,
            services: Vec::new(),
            web: WebFacts::default(),
        };
        let mut findings = Vec::new();
        judge(&facts, &facts_of, &mut findings);
        assert!(findings.iter().all(|one| one.places == ["machine.capulet.lit:5222 at 192.0.2.1"]), "{findings:?}");
        assert!(findings.iter().all(|one| one.level < Level::Warning || !one.mend.is_empty()), "{findings:?}");
        findings.into_iter().map(|finding| (finding.level, finding.text)).collect()
    }

    fn offering(mechanisms: &[&str]) -> Features {
        Features { mechanisms: mechanisms.iter().map(|name| (*name).to_owned()).collect(), ..Features::default() }
    }

    fn in_trouble(trouble: Trouble) -> Visit {
        Visit { trouble: Some(trouble), ..Visit::default() }
    }

    #[test]
    fn what_clients_are_offered_is_judged() {
        let under_tls = |features| Visit { features: Some(features), ..Visit::default() };
        let good = judged(Service::Client, under_tls(offering(&["SCRAM-SHA-256", "PLAIN"])));
        assert!(matches!(&good[..], [(Level::Good, text)] if text.contains("SASL SCRAM-SHA-256 PLAIN")), "{good:?}");
        let plain = judged(Service::Client, under_tls(offering(&["PLAIN"])));
        assert!(matches!(&plain[..], [_, (Level::Warning, text)] if text.contains("PLAIN is the only")), "{plain:?}");
        let none = judged(Service::ClientTls, under_tls(offering(&[])));
        assert!(matches!(&none[..], [(Level::Broken, text)] if text.contains("no way to log in")), "{none:?}");
        let old = Features { registration: true, ..offering(&["SCRAM-SHA-1"]) };
        let levels: Vec<Level> = judged(Service::Client, under_tls(old)).into_iter().map(|(level, _)| level).collect();
        assert_eq!(levels, [Level::Good, Level::Note, Level::Note]);
        let clear = Visit { clear: Some(offering(&["PLAIN"])), ..in_trouble(Trouble::NoStartTls) };
        let clear = judged(Service::Client, clear);
        assert!(
            matches!(&clear[..], [(Level::Broken, text), (Level::Broken, _)] if text.contains("in the clear")),
            "{clear:?}"
        );
    }

    #[test]
    fn refusals_are_told_from_mistakes() {
        let refused = judged(Service::Server, in_trouble(Trouble::Ended("policy-violation: not welcome".to_owned())));
        assert!(
            matches!(&refused[..], [(Level::Broken, text)] if text.starts_with("it refuses other servers: policy-v"))
        );
        // Who shows no certificate is sent away by many, and that is their right.
        let tls = TlsFacts { version: "TLS 1.3", alpn: None, chain: Vec::new(), trusted: Ok(()) };
        let late =
            Visit { tls: Some(tls), ..in_trouble(Trouble::Ended("policy-violation: no certificate".to_owned())) };
        assert!(matches!(&judged(Service::Server, late)[..], [(Level::Note, _)]));
        let unknown = judged(Service::Client, in_trouble(Trouble::Ended("host-unknown".to_owned())));
        assert!(matches!(&unknown[..], [(Level::Broken, text)] if text.contains("does not serve capulet.lit")));
        for trouble in
            [Trouble::Hung, Trouble::TooLong, Trouble::Tls("x".to_owned()), Trouble::Protocol("x".to_owned())]
        {
            assert!(matches!(&judged(Service::ServerTls, in_trouble(trouble))[..], [(Level::Broken, _)]));
        }
    }
}
