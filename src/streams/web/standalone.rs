//! A stream whose elements stand alone: how it is opened and closed, and its errors (RFC 7395 §3.3 to §3.6).

use waxwing_core::address::BareJid;
use waxwing_core::random;
use waxwing_core::stream_error::{StreamCondition, StreamError};
use waxwing_core::xml::{Element, Writer};

use crate::header;
use crate::line::{Opening, Said};

/// The namespace of `<open/>` and `<close/>`.
pub(crate) const FRAMING: &str = "urn:ietf:params:xml:ns:xmpp-framing";

/// What an element of a client means.
pub(crate) fn said(element: Element) -> Said {
    match (element.namespace(), element.name()) {
        (FRAMING, "open") => Said::Opening(opening(&element)),
        (FRAMING, "close") => Said::Close,
        _ => Said::Element(element),
    }
}

fn opening(open: &Element) -> Opening {
    let attribute = |name: &str| open.attribute(name).map(std::borrow::Cow::into_owned);
    Opening {
        to: attribute("to"),
        from: attribute("from"),
        lang: open.lang().map(|lang| lang.into_owned().into()),
        problem: header::check_version(attribute("version").as_deref()).err(),
    }
}

/// What is wrong with an element that stands where a stream must be opened.
pub(crate) fn not_open(element: &Element) -> StreamError {
    match element.name() {
        "open" | "stream" => {
            let text = format!("a stream is opened with <open/> in {FRAMING}");
            StreamError::saying(StreamCondition::InvalidNamespace, text)
        }
        _ => StreamError::saying(StreamCondition::BadFormat, "a stream begins with <open/>"),
    }
}

/// Our `<open/>`.
pub(crate) fn open(from: &str, to: Option<&BareJid>) -> Vec<u8> {
    let mut writer = Writer::new();
    writer.open("open").attribute("xmlns", FRAMING).attribute("version", "1.0").attribute("xml:lang", "en");
    writer.attribute("id", &random::token()).attribute("from", from);
    if let Some(to) = to {
        writer.attribute("to", to.as_str());
    }
    writer.close();
    writer.finish().to_vec()
}

/// Our `<close/>`, to a client that goes elsewhere when it says so.
pub(crate) fn close(elsewhere: Option<&str>) -> Vec<u8> {
    let mut writer = Writer::new();
    writer.open("close").attribute("xmlns", FRAMING);
    if let Some(uri) = elsewhere {
        writer.attribute("see-other-uri", uri);
    }
    writer.close();
    writer.finish().to_vec()
}

/// A stream error that declares its prefix.
pub(crate) fn error(error: &StreamError) -> Vec<u8> {
    let mut writer = Writer::new();
    error.write(&mut writer, true);
    writer.finish().to_vec()
}
