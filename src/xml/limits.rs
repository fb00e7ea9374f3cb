//! How much XML a peer may send before it is refused (RFC 6120 §13.12, XEP-0205).

/// Limits on one first-level element, its start tag and everything inside; also on the stream header.
///
/// They are applied while the bytes arrive, long before an element is complete, and they bound the memory and the
/// time a peer can cost us. Sizes are counted in bytes as received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of one first-level element, tags included. RFC 6120 §13.12 asks for at least 10,000 after authentication.
    pub bytes: usize,
    /// Elements inside one another, the first-level element being the first.
    pub depth: usize,
    /// Elements in one first-level element, itself included.
    pub elements: usize,
    /// Attributes of one element, namespace declarations included.
    pub attributes: usize,
    /// Bytes of one tag name, attribute name or namespace name.
    pub name_bytes: usize,
    /// Namespace prefixes declared at one place inside the element, counted over all of its ancestors.
    pub namespaces: usize,
}

impl Limits {
    /// For peers we do not know yet.
    pub const BEFORE_AUTHENTICATION: Limits =
        Limits { bytes: 8 * 1024, depth: 16, elements: 32, attributes: 32, name_bytes: 1024, namespaces: 16 };

    /// For authenticated peers: a body of 100,000 characters, encrypted and in base64, must fit.
    pub const AFTER_AUTHENTICATION: Limits =
        Limits { bytes: 1024 * 1024, depth: 64, elements: 4096, attributes: 64, name_bytes: 1024, namespaces: 64 };

    /// The same limits, no larger than positions (32 bits) and name lengths (16 bits) can express.
    pub(crate) fn expressible(self) -> Limits {
        Limits {
            bytes: self.bytes.min(u32::MAX as usize),
            name_bytes: self.name_bytes.min(u16::MAX as usize),
            namespaces: self.namespaces.min(u32::MAX as usize),
            ..self
        }
    }
}
