//! Namespace names and where they are kept (Namespaces in XML 1.0, RFC 6120 §4.8).

use bytes::Bytes;

use crate::characters::{self, NAMESPACE};
use crate::decoding::as_text;
use crate::error::XmlError;
use crate::span::Span;

/// The namespace of `<stream:stream/>` (RFC 6120 §4.8.1).
pub const STREAMS: &str = "http://etherx.jabber.org/streams";
/// What the prefix `xml` stands for, always.
pub(crate) const XML: &str = "http://www.w3.org/XML/1998/namespace";
/// What the prefix `xmlns` stands for; nobody may declare it.
const XMLNS: &str = "http://www.w3.org/2000/xmlns/";

/// An owned namespace name, cheap to clone; those of every stream cost no memory.
#[derive(Clone, Debug)]
pub(crate) enum Namespace {
    Known(&'static str),
    Other(Bytes),
}

impl Namespace {
    pub fn new(name: &str) -> Namespace {
        const KNOWN: [&str; 6] = [
            "",
            "jabber:client",
            "jabber:server",
            "jabber:component:accept",
            "urn:ietf:params:xml:ns:xmpp-framing",
            STREAMS,
        ];
        match KNOWN.into_iter().find(|known| *known == name) {
            Some(known) => Namespace::Known(known),
            None => Namespace::Other(Bytes::copy_from_slice(name.as_bytes())),
        }
    }

    pub fn as_str(&self) -> &str {
        match self {
            Namespace::Known(name) => name,
            Namespace::Other(name) => as_text(name),
        }
    }
}

/// A resolved namespace inside the element being scanned: says where its name is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NamespaceRef {
    /// The default namespace of the stream, which most elements inherit.
    Content,
    /// Declared in the element's own bytes, spelt as it is.
    Spelt(Span),
    /// Declared in the element's own bytes with references; the decoded name is in the scope's own memory.
    Decoded(Span),
    /// The prefix of this number in the stream header.
    Header(u32),
}

/// What a stream header leaves to the elements of its stream.
#[derive(Clone, Debug)]
pub(crate) struct StreamContext {
    /// The default namespace.
    pub content: Namespace,
    /// The prefixes, none of them twice.
    pub prefixes: Box<[(Box<[u8]>, Namespace)]>,
}

impl StreamContext {
    /// The context of bytes which stand in a default namespace, without any prefix.
    pub fn plain(content: Namespace) -> StreamContext {
        StreamContext { content, prefixes: Box::default() }
    }
}

/// Checks the decoded value of `xmlns` (`prefix` is `None`) or `xmlns:prefix`.
///
/// Namespace names are compared byte by byte everywhere and joined with local names by many a parser, so only the
/// characters of a URI (RFC 3986) pass: no white space, nothing a parser uses to separate, nothing to escape.
pub(crate) fn check_declaration(prefix: Option<&[u8]>, name: &[u8]) -> Result<(), XmlError> {
    if characters::run_of(name, NAMESPACE) != name.len() {
        return Err(XmlError::NotWellFormed("a namespace name with a character that no uri has"));
    }
    match prefix {
        Some(b"xmlns") => Err(XmlError::NotWellFormed("a declaration of the prefix xmlns")),
        Some(b"xml") if name == XML.as_bytes() => Ok(()),
        Some(b"xml") => Err(XmlError::NotWellFormed("another namespace for the prefix xml")),
        Some(_) if name.is_empty() => Err(XmlError::NotWellFormed("a prefix without a namespace")),
        _ if name == XML.as_bytes() || name == XMLNS.as_bytes() => {
            Err(XmlError::NotWellFormed("a declaration of a reserved namespace"))
        }
        _ => Ok(()),
    }
}
