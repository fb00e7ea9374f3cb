//! Stream headers: what a client's must say, and ours (RFC 6120 §4.7).

use waxwing_core::address::BareJid;
use waxwing_core::namespaces;
use waxwing_core::random;
use waxwing_core::stream_error::{StreamCondition, StreamError};
use waxwing_core::xml::{Header, XmlError, escape_attribute};

/// Our own stream header for a client. `from` is the host, or nothing when we do not know which host is meant.
pub(crate) fn ours(from: &str, to: Option<&BareJid>) -> Vec<u8> {
    let mut out = Vec::with_capacity(256);
    out.extend_from_slice(b"<?xml version='1.0'?><stream:stream xmlns='jabber:client' xmlns:stream='");
    out.extend_from_slice(namespaces::STREAM.as_bytes());
    out.extend_from_slice(b"' version='1.0' xml:lang='en' id='");
    out.extend_from_slice(random::token().as_bytes());
    out.extend_from_slice(b"' from='");
    escape_attribute(&mut out, from);
    if let Some(to) = to {
        out.extend_from_slice(b"' to='");
        escape_attribute(&mut out, to.as_str());
    }
    out.extend_from_slice(b"'>");
    out
}

/// Checks what does not depend on who is served: namespaces, prefix and version.
///
/// # Errors
/// The stream error that RFC 6120 wants.
pub(crate) fn check(header: &Header, content: &str) -> Result<(), StreamError> {
    if header.namespace() != namespaces::STREAM || header.name() != "stream" {
        return Err(StreamCondition::InvalidNamespace.into());
    }
    if header.prefix() != Some("stream") {
        let text = "the stream namespace is bound to the prefix stream";
        return Err(StreamError::saying(StreamCondition::BadNamespacePrefix, text));
    }
    if header.default_namespace() != content {
        let text = format!("the default namespace of this stream is {content}");
        return Err(StreamError::saying(StreamCondition::InvalidNamespace, text));
    }
    check_version(header.attribute("version").as_deref())
}

/// Checks the version that a client says it speaks.
///
/// # Errors
/// `unsupported-version`.
pub(crate) fn check_version(version: Option<&str>) -> Result<(), StreamError> {
    match version.and_then(major_version) {
        Some(major) if major >= 1 => Ok(()),
        _ => Err(StreamError::saying(StreamCondition::UnsupportedVersion, "this server speaks XMPP 1.0")),
    }
}

/// The number before the dot, compared as a number: `01.0` is 1 (RFC 6120 §4.7.5).
fn major_version(version: &str) -> Option<u32> {
    let (major, minor) = version.split_once('.')?;
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if digits(major) && digits(minor) { major.parse().ok() } else { None }
}

/// The stream error for XML that cannot be read (RFC 6120 §4.9.3, §11).
pub(crate) fn error_for(error: &XmlError) -> StreamError {
    match error {
        XmlError::NotWellFormed(text) => StreamError::saying(StreamCondition::NotWellFormed, *text),
        XmlError::Restricted(text) => StreamError::saying(StreamCondition::RestrictedXml, *text),
        XmlError::UnsupportedEncoding => StreamCondition::UnsupportedEncoding.into(),
        XmlError::BadNamespacePrefix(text) => StreamError::saying(StreamCondition::BadNamespacePrefix, *text),
        XmlError::InvalidNamespace(text) => StreamError::saying(StreamCondition::InvalidNamespace, *text),
        XmlError::TooBig(text) => {
            StreamError::saying(StreamCondition::PolicyViolation, *text).because("stanza-too-big", namespaces::ERRORS)
        }
        _ => StreamCondition::BadFormat.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn c08_versions_are_compared_as_numbers() {
        assert_eq!(major_version("1.0"), Some(1));
        assert_eq!(major_version("1.10"), Some(1));
        assert_eq!(major_version("01.0"), Some(1));
        assert_eq!(major_version("2.0"), Some(2));
        assert_eq!(major_version("0.9"), Some(0));
        for bad in ["", "1", "1.", ".0", "+1.0", "a.b"] {
            assert_eq!(major_version(bad), None, "{bad}");
        }
    }
}
