//! Headers and features between servers (RFC 6120 §4.7, XEP-0220 §2.1, XEP-0288 §2.1, XEP-0478).

use waxwing_core::address::DomainRef;
use waxwing_core::limits::Limits;
use waxwing_core::namespaces;
use waxwing_core::xml::{Element, Writer, escape_attribute};

use super::dialback;
use super::management;

/// XEP-0288 as a feature, and as the wish for it.
const BIDI_FEATURE: &str = "urn:xmpp:features:bidi";
pub(crate) const BIDI: &str = "urn:xmpp:bidi";
const DIALBACK_FEATURE: &str = "urn:xmpp:features:dialback";
const LIMITS: &str = "urn:xmpp:stream-limits:0";

/// A header of ours. `id` when we answer one. Unknown domains are empty.
pub(crate) fn header(from: &str, to: &str, id: Option<&str>) -> Vec<u8> {
    let mut out = Vec::with_capacity(256);
    out.extend_from_slice(b"<?xml version='1.0'?><stream:stream xmlns='jabber:server' xmlns:stream='");
    out.extend_from_slice(namespaces::STREAM.as_bytes());
    out.extend_from_slice(b"' xmlns:db='");
    out.extend_from_slice(dialback::NAMESPACE.as_bytes());
    out.extend_from_slice(b"' version='1.0' xml:lang='en");
    for (name, value) in [("id", id.unwrap_or_default()), ("from", from), ("to", to)] {
        if !value.is_empty() {
            out.extend_from_slice(format!("' {name}='").as_bytes());
            escape_attribute(&mut out, value);
        }
    }
    out.extend_from_slice(b"'>");
    out
}

/// What we offer to a server that connects to us.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Offer {
    /// The connection is not encrypted: nothing but STARTTLS.
    pub(crate) start_tls: bool,
    /// The server's certificate has proved it.
    pub(crate) external: bool,
    pub(crate) dialback: bool,
    pub(crate) bidi: bool,
    /// Stream management: only on an authenticated stream of one direction.
    pub(crate) management: bool,
}

/// `<stream:features/>` with what is offered. `bytes` is the largest element we take now.
pub(crate) fn features(offer: Offer, bytes: usize, limits: &Limits, idle_seconds: Option<u64>) -> Vec<u8> {
    let mut writer = Writer::new();
    writer.open("stream:features");
    if offer.start_tls {
        writer.open("starttls").attribute("xmlns", namespaces::TLS).open("required").close().close();
        return writer.finish().to_vec();
    }
    if offer.external {
        writer.open("mechanisms").attribute("xmlns", namespaces::SASL);
        writer.open("mechanism").text("EXTERNAL").close().close();
    }
    if offer.dialback {
        writer.open("dialback").attribute("xmlns", DIALBACK_FEATURE).open("errors").close().close();
    }
    if offer.bidi {
        writer.open("bidi").attribute("xmlns", BIDI_FEATURE).close();
    }
    if offer.management {
        writer.open("sm").attribute("xmlns", management::NAMESPACE).close();
    }
    let bytes = bytes.min(limits.stanza_bytes.get());
    writer.open("limits").attribute("xmlns", LIMITS).open("max-bytes").text(&bytes.to_string()).close();
    if let Some(seconds) = idle_seconds {
        writer.open("idle-seconds").text(&seconds.to_string()).close();
    }
    writer.finish().to_vec()
}

/// What a server that we have connected to offers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Offered {
    pub(crate) start_tls: bool,
    pub(crate) external: bool,
    pub(crate) dialback: bool,
    pub(crate) bidi: bool,
    pub(crate) management: bool,
    /// The largest stanza it takes.
    pub(crate) max_bytes: Option<usize>,
}

/// Reads `<stream:features/>`.
pub(crate) fn offered(features: &Element) -> Offered {
    let has = |namespace, name| features.child(namespace, name).is_some();
    let external = features.child(namespaces::SASL, "mechanisms").is_some_and(|mechanisms| {
        mechanisms.children().any(|mechanism| mechanism.name() == "mechanism" && mechanism.text().trim() == "EXTERNAL")
    });
    let max_bytes = features
        .child(LIMITS, "limits")
        .and_then(|limits| limits.child(LIMITS, "max-bytes")?.text().trim().parse().ok())
        // RFC 6120 §13.12: nobody may take less.
        .map(|bytes: usize| bytes.max(10_000));
    Offered {
        start_tls: has(namespaces::TLS, "starttls"),
        external,
        dialback: has(DIALBACK_FEATURE, "dialback"),
        bidi: has(BIDI_FEATURE, "bidi"),
        management: has(management::NAMESPACE, "sm"),
        max_bytes,
    }
}

/// The domain as it is written into a header.
pub(crate) fn text(domain: Option<&DomainRef>) -> &str {
    domain.map(DomainRef::as_str).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use waxwing_core::stanza::element;

    fn read(offer: Offer) -> Offered {
        let bytes = features(offer, 65_536, &Limits::default(), Some(60));
        let text = String::from_utf8(bytes).unwrap().replace("stream:features>", "features>");
        offered(&element(text).unwrap())
    }

    #[test]
    fn features_are_read_as_they_were_written() {
        let offer = Offer { external: true, dialback: true, bidi: true, management: true, start_tls: false };
        let all = Offered {
            external: true,
            dialback: true,
            bidi: true,
            management: true,
            start_tls: false,
            max_bytes: Some(65_536),
        };
        assert_eq!(read(offer), all);
        // In the clear nothing is offered but TLS (security row S13: no dialback).
        let plain = read(Offer { start_tls: true, ..offer });
        assert_eq!(plain, Offered { start_tls: true, ..Offered::default() });
    }

    #[test]
    fn a_header_says_what_is_known() {
        let text = String::from_utf8(header("a'b", "", Some("7"))).unwrap();
        assert!(text.contains(" id='7' from='a&apos;b'>") && !text.contains(" to="), "{text}");
    }
}
