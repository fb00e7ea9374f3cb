//! Why XML is refused, in the terms of RFC 6120 §4.9.3.

/// What is wrong with the bytes a peer sent. Every variant ends the stream.
///
/// The texts are fixed: nothing a peer wrote finds its way into a log line through them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum XmlError {
    /// Not XML 1.0, not UTF-8, or not namespace-well-formed: `<not-well-formed/>`.
    #[error("xml is not well-formed: {0}")]
    NotWellFormed(&'static str),
    /// A feature of XML which XMPP does not allow (RFC 6120 §11.1): `<restricted-xml/>`.
    #[error("restricted xml: {0}")]
    Restricted(&'static str),
    /// The declaration, or the first byte, announces something else than UTF-8: `<unsupported-encoding/>`.
    #[error("encoding is not utf-8")]
    UnsupportedEncoding,
    /// A prefix where RFC 6120 §4.8.5 wants none: `<bad-namespace-prefix/>`.
    #[error("bad namespace prefix: {0}")]
    BadNamespacePrefix(&'static str),
    /// A namespace in a place where it cannot stand: `<invalid-namespace/>`.
    #[error("invalid namespace: {0}")]
    InvalidNamespace(&'static str),
    /// One of the [`Limits`](crate::Limits) is exceeded: `<policy-violation/>`.
    #[error("limit exceeded: {0}")]
    TooBig(&'static str),
}
