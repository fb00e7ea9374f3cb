//! Attributes of elements that were validated: where they stand, and what is asked of them.

use std::borrow::Cow;

use crate::decoding::{self, as_text};
use crate::span::{QualifiedName, Span};

/// One attribute: its name, and its value between the quotes, not decoded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Attribute {
    pub name: QualifiedName,
    pub value: Span,
}

impl Attribute {
    /// Whether this is `xmlns`, the declaration of the default namespace.
    pub fn declares_default(&self, bytes: &[u8]) -> bool {
        self.name.length == 5 && self.name.whole(bytes) == b"xmlns"
    }

    /// The whole of it as it stands, quotes included.
    pub fn whole<'a>(&self, bytes: &'a [u8]) -> &'a [u8] {
        Span { start: self.name.start, end: self.value.end + 1 }.of(bytes)
    }

    pub(crate) fn decoded<'a>(&self, bytes: &'a [u8]) -> Cow<'a, str> {
        decoding::attribute(self.value.of(bytes))
    }

    /// Whether it has no prefix, or `xml`, and is no declaration.
    fn is_plain(&self, bytes: &[u8]) -> bool {
        if self.name.has_prefix() { self.name.prefix(bytes) == b"xml" } else { !self.declares_default(bytes) }
    }
}

/// The decoded value of the attribute with this name as written.
fn value<'a>(mut attributes: impl Iterator<Item = Attribute>, bytes: &'a [u8], name: &[u8]) -> Option<Cow<'a, str>> {
    let found = attributes.find(|attribute| attribute.name.whole(bytes) == name)?;
    Some(found.decoded(bytes))
}

/// The decoded value of the attribute `name` without a prefix.
pub(crate) fn plain_value<'a>(
    attributes: impl Iterator<Item = Attribute>,
    bytes: &'a [u8],
    name: &str,
) -> Option<Cow<'a, str>> {
    // A name without a prefix has no colon, so comparing the whole is enough.
    if name.contains(':') { None } else { value(attributes, bytes, name.as_bytes()) }
}

/// The decoded value of `xml:lang`.
pub(crate) fn lang<'a>(attributes: impl Iterator<Item = Attribute>, bytes: &'a [u8]) -> Option<Cow<'a, str>> {
    value(attributes, bytes, b"xml:lang")
}

/// Names as written and decoded values of the attributes without a prefix and of those of `xml`; no declarations.
pub(crate) fn plain<'a>(
    attributes: impl Iterator<Item = Attribute>,
    bytes: &'a [u8],
) -> impl Iterator<Item = (&'a str, Cow<'a, str>)> {
    attributes
        .filter(|attribute| attribute.is_plain(bytes))
        .map(|attribute| (as_text(attribute.name.whole(bytes)), attribute.decoded(bytes)))
}
