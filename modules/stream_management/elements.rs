//! The elements of stream management, read and written (XEP-0198 §3 to §6).

use bytes::Bytes;
use waxwing_core::module::StreamElement;
use waxwing_core::namespaces;
use waxwing_core::refusal::Condition;
use waxwing_core::xml::{Element, Writer};

/// The protocol's namespace.
pub const SM: &str = "urn:xmpp:sm:3";

/// The elements a client sends.
pub const ELEMENTS: &[StreamElement] = &[element("enable"), element("resume"), element("r"), element("a")];

const fn element(name: &'static str) -> StreamElement {
    StreamElement { namespace: SM, name }
}

/// Asks the client what it has received.
pub fn request() -> Bytes {
    Bytes::from_static(b"<r xmlns='urn:xmpp:sm:3'/>")
}

/// The stream feature.
pub fn feature() -> Bytes {
    Bytes::from_static(b"<sm xmlns='urn:xmpp:sm:3'/>")
}

/// Tells the client how many of its stanzas were handled.
pub fn answer(handled: u32) -> Bytes {
    Writer::new().open("a").attribute("xmlns", SM).attribute("h", &handled.to_string()).finish()
}

/// The session's counting begins; with the id under which it can be resumed, if it can, and for how many seconds.
pub fn enabled(resumable: Option<(&str, u64)>, location: Option<&str>) -> Bytes {
    let mut writer = Writer::new();
    writer.open("enabled").attribute("xmlns", SM);
    if let Some((id, seconds)) = resumable {
        writer.attribute("id", id).attribute("resume", "true").attribute("max", &seconds.to_string());
        writer.optional_attribute("location", location);
    }
    writer.finish()
}

/// The session goes on.
pub fn resumed(id: &str, handled: u32) -> Bytes {
    let mut writer = Writer::new();
    writer.open("resumed").attribute("xmlns", SM);
    writer.attribute("previd", id).attribute("h", &handled.to_string()).finish()
}

/// It cannot be done; with how many of the client's stanzas were handled in the session it has named, if that is known.
pub fn failed(condition: Condition, handled: Option<u32>) -> Bytes {
    let mut writer = Writer::new();
    writer.open("failed").attribute("xmlns", SM);
    writer.optional_attribute("h", handled.map(|handled| handled.to_string()).as_deref());
    writer.open(condition.name()).attribute("xmlns", namespaces::STANZA_ERRORS).finish()
}

/// The number in `h`.
pub fn number(element: &Element) -> Option<u32> {
    element.attribute("h")?.trim().parse().ok()
}

/// Whether the client wants to be able to resume the session.
pub fn wants_resumption(enable: &Element) -> bool {
    enable.attribute("resume").is_some_and(|value| matches!(value.trim(), "true" | "1"))
}

/// For how many seconds the client would like the session to wait for it.
pub fn preferred_seconds(enable: &Element) -> Option<u64> {
    enable.attribute("max")?.trim().parse().ok().filter(|seconds| *seconds > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_are_written_as_the_schema_has_them() {
        assert_eq!(answer(u32::MAX), "<a xmlns='urn:xmpp:sm:3' h='4294967295'/>");
        assert_eq!(enabled(None, Some("a:1")), "<enabled xmlns='urn:xmpp:sm:3'/>");
        assert_eq!(
            enabled(Some(("i", 600)), Some("[::1]:5222")),
            "<enabled xmlns='urn:xmpp:sm:3' id='i' resume='true' max='600' location='[::1]:5222'/>"
        );
        assert_eq!(resumed("i", 7), "<resumed xmlns='urn:xmpp:sm:3' previd='i' h='7'/>");
        assert_eq!(
            failed(Condition::ItemNotFound, Some(3)),
            "<failed xmlns='urn:xmpp:sm:3' h='3'><item-not-found xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></failed>"
        );
    }

    #[test]
    fn attributes_are_read_as_xml_schema_has_them() {
        let read = |xml: &str| waxwing_core::stanza::element(xml.to_owned()).unwrap();
        for (xml, wanted) in [
            ("<enable xmlns='urn:xmpp:sm:3'/>", (false, None)),
            ("<enable xmlns='urn:xmpp:sm:3' resume='1' max='60'/>", (true, Some(60))),
            ("<enable xmlns='urn:xmpp:sm:3' resume='true' max='0'/>", (true, None)),
            ("<enable xmlns='urn:xmpp:sm:3' resume='TRUE' max='-1'/>", (false, None)),
        ] {
            let element = read(xml);
            assert_eq!((wants_resumption(&element), preferred_seconds(&element)), wanted, "{xml}");
        }
        for (h, wanted) in
            [("0", Some(0)), ("4294967295", Some(u32::MAX)), ("4294967296", None), ("-1", None), ("", None)]
        {
            assert_eq!(number(&read(&format!("<a xmlns='urn:xmpp:sm:3' h='{h}'/>"))), wanted, "{h}");
        }
    }
}
