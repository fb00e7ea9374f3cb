//! The words of the stream between us and a component (XEP-0114 §3): headers, the proof that it knows the secret.

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest;
use waxwing_core::limits::Limits;
use waxwing_core::namespaces;
use waxwing_core::stream_error::{StreamCondition, StreamError};
use waxwing_core::xml::{self, Element, Header, Writer, XmlError, escape_attribute};

/// Our header for a component.
pub fn header(from: &str, id: &str) -> Vec<u8> {
    let mut out = b"<?xml version='1.0'?><stream:stream xmlns='".to_vec();
    out.extend_from_slice(namespaces::COMPONENT.as_bytes());
    out.extend_from_slice(b"' xmlns:stream='");
    out.extend_from_slice(namespaces::STREAM.as_bytes());
    out.extend_from_slice(b"' from='");
    escape_attribute(&mut out, from);
    out.extend_from_slice(b"' id='");
    escape_attribute(&mut out, id);
    out.extend_from_slice(b"'>");
    out
}

/// Checks the header of a component, and gives the name it wants to have.
///
/// # Errors
/// The stream error for one that is none, or of the wrong kind.
pub fn wanted_name(header: &Header) -> Result<String, StreamError> {
    if header.namespace() != namespaces::STREAM || header.name() != "stream" {
        return Err(StreamCondition::InvalidNamespace.into());
    }
    if header.default_namespace() != namespaces::COMPONENT {
        let text = format!("the default namespace of this stream is {}", namespaces::COMPONENT);
        return Err(StreamError::saying(StreamCondition::InvalidNamespace, text));
    }
    match header.attribute("to") {
        Some(name) => Ok(name.into_owned()),
        None => Err(StreamError::saying(StreamCondition::ImproperAddressing, "`to` names the component")),
    }
}

/// Whether a handshake proves that the component knows the secret: SHA-1 over stream id and secret, in lower case. The
/// protocol is older than better hashes; the id of each stream is unguessable and used once.
pub fn is_proof(element: &Element, id: &str, secret: &str) -> bool {
    if element.name() != "handshake" || element.namespace() != namespaces::COMPONENT || secret.is_empty() {
        return false;
    }
    verify_slices_are_equal(element.text().trim().as_bytes(), proof(id, secret).as_bytes()).is_ok()
}

/// The proof that belongs to an id and a secret.
pub fn proof(id: &str, secret: &str) -> String {
    let mut hash = digest::Context::new(&digest::SHA1_FOR_LEGACY_USE_ONLY);
    hash.update(id.as_bytes());
    hash.update(secret.as_bytes());
    hash.finish().as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A stream error, if it is one, and the end of the stream.
pub fn closing(error: Option<&StreamError>) -> Vec<u8> {
    let mut writer = Writer::new();
    if let Some(error) = error {
        error.write(&mut writer, false);
    }
    let mut bytes = writer.finish().to_vec();
    bytes.extend_from_slice(b"</stream:stream>");
    bytes
}

/// The stream error for XML that cannot be read.
pub fn error_for(error: &XmlError) -> StreamError {
    match error {
        XmlError::NotWellFormed(text) => StreamError::saying(StreamCondition::NotWellFormed, *text),
        XmlError::Restricted(text) => StreamError::saying(StreamCondition::RestrictedXml, *text),
        XmlError::TooBig(text) => StreamError::saying(StreamCondition::PolicyViolation, *text),
        _ => StreamCondition::BadFormat.into(),
    }
}

/// The bounds of what is read, before the handshake and after it.
pub fn bounds(limits: &Limits, is_known: bool) -> xml::Limits {
    xml::Limits {
        bytes: if is_known { limits.stanza_bytes } else { limits.unauthenticated_stanza_bytes }.get(),
        depth: limits.stanza_depth.get(),
        elements: if is_known { limits.stanza_elements } else { limits.unauthenticated_stanza_elements }.get(),
        attributes: limits.stanza_attributes.get(),
        name_bytes: limits.name_bytes.get(),
        namespaces: limits.stanza_attributes.get().saturating_mul(4),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    fn handshake(text: &str) -> Element {
        let xml = format!("<handshake>{text}</handshake>");
        Element::parse(Bytes::from(xml), namespaces::COMPONENT, &bounds(&Limits::default(), false)).unwrap()
    }

    #[test]
    fn who_knows_the_secret_is_let_in() {
        // Computed with sha1sum.
        assert_eq!(proof("3BF96D32", "hello"), "eeebec5d1d7aeb83b708659882839ad27a750577");
        assert!(is_proof(&handshake(&proof("3BF96D32", "hello")), "3BF96D32", "hello"));
        assert!(!is_proof(&handshake(&proof("3BF96D33", "hello")), "3BF96D32", "hello"), "for another stream");
        assert!(!is_proof(&handshake(""), "3BF96D32", "hello"));
        assert!(!is_proof(&handshake(&proof("3BF96D32", "")), "3BF96D32", ""), "no secret was configured");
    }
}
