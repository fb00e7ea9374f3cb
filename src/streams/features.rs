//! Stream features: what is offered at each step of the negotiation (RFC 6120 §4.3.2, XEP-0440, XEP-0478).

use waxwing_core::host::Host;
use waxwing_core::limits::Limits;
use waxwing_core::module::Phase;
use waxwing_core::namespaces;
use waxwing_core::wire::Framing;
use waxwing_core::xml::Writer;

use crate::sasl::Offered;

/// What a peer may send at most, and how long it may be silent (XEP-0478).
fn limits(writer: &mut Writer, bytes: usize, limits: &Limits) {
    writer.open("limits");
    writer.attribute("xmlns", "urn:xmpp:stream-limits:0");
    writer.open("max-bytes").text(&bytes.to_string()).close();
    if !limits.ping_after.is_unlimited() && !limits.ping_timeout.is_unlimited() {
        let silence = limits.ping_after.get() + limits.ping_timeout.get();
        writer.open("idle-seconds").text(&silence.as_secs().to_string()).close();
    }
    writer.close();
}

fn from_modules(writer: &mut Writer, host: &Host, phase: Phase) {
    for running in host.catalogue().running() {
        for feature in running.module.stream_features(phase) {
            writer.raw(&feature);
        }
    }
}

/// Opens `<stream:features/>`, which declares its prefix where it stands alone (RFC 7395 §3.3.3).
fn open(writer: &mut Writer, framing: Framing) {
    writer.open("stream:features");
    if framing == Framing::Standalone {
        writer.attribute("xmlns:stream", namespaces::STREAM);
    }
}

/// Before TLS: STARTTLS and nothing else (RFC 6120 §5.3.1).
pub(crate) fn before_tls() -> Vec<u8> {
    b"<stream:features><starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'><required/></starttls></stream:features>"
        .to_vec()
}

/// Encrypted and not yet authenticated; or, where the operator allows it on loopback, not encrypted either.
pub(crate) fn authenticating(
    host: &Host,
    offered: &Offered,
    bounds: &Limits,
    may_start_tls: bool,
    framing: Framing,
) -> Vec<u8> {
    let mut writer = Writer::new();
    open(&mut writer, framing);
    if may_start_tls {
        writer.open("starttls").attribute("xmlns", namespaces::TLS).close();
    }
    writer.open("mechanisms").attribute("xmlns", namespaces::SASL);
    for mechanism in offered.mechanisms() {
        writer.open("mechanism").text(mechanism.name()).close();
    }
    writer.close();
    let bindings = offered.channel_bindings();
    if !bindings.is_empty() {
        writer.open("sasl-channel-binding").attribute("xmlns", "urn:xmpp:sasl-cb:0");
        for binding in bindings {
            writer.open("channel-binding").attribute("type", binding).close();
        }
        writer.close();
    }
    from_modules(&mut writer, host, Phase::Authenticating);
    limits(&mut writer, bounds.unauthenticated_stanza_bytes.get(), bounds);
    writer.close();
    writer.finish().to_vec()
}

/// Authenticated and not yet bound.
pub(crate) fn binding(host: &Host, bounds: &Limits, framing: Framing) -> Vec<u8> {
    let mut writer = Writer::new();
    open(&mut writer, framing);
    writer.open("bind").attribute("xmlns", namespaces::BIND).close();
    writer.open("session").attribute("xmlns", namespaces::SESSION).open("optional").close().close();
    from_modules(&mut writer, host, Phase::Binding);
    limits(&mut writer, bounds.stanza_bytes.get(), bounds);
    writer.close();
    writer.finish().to_vec()
}
