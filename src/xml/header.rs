//! The stream header (RFC 6120 §4.7): reported as it is, for the stream's owner to judge.

use std::borrow::Cow;

use bytes::Bytes;

use crate::attributes::{self, Attribute};
use crate::decoding::as_text;
use crate::namespaces::Namespace;
use crate::span::QualifiedName;

/// The start tag of a stream's root element. It is well-formed; nothing else about it has been judged.
#[derive(Clone, Debug)]
pub struct Header {
    pub(crate) bytes: Bytes,
    pub(crate) name: QualifiedName,
    pub(crate) attributes: Box<[Attribute]>,
    pub(crate) namespace: Namespace,
    pub(crate) default: Namespace,
}

impl Header {
    /// The local name, which should be `stream`.
    pub fn name(&self) -> &str {
        as_text(self.name.local(&self.bytes))
    }

    /// The prefix of the name, usually `stream`.
    pub fn prefix(&self) -> Option<&str> {
        self.name.has_prefix().then(|| as_text(self.name.prefix(&self.bytes)))
    }

    /// The namespace of the root element, which should be [`STREAMS`](crate::STREAMS); empty when it is in none.
    pub fn namespace(&self) -> &str {
        self.namespace.as_str()
    }

    /// The default namespace declared for the stream, the content namespace (RFC 6120 §4.8.2); empty when there is
    /// none.
    pub fn default_namespace(&self) -> &str {
        self.default.as_str()
    }

    /// The value of the attribute `name`, which has no prefix; decoded.
    pub fn attribute(&self, name: &str) -> Option<Cow<'_, str>> {
        attributes::plain_value(self.attributes.iter().copied(), &self.bytes, name)
    }

    /// The value of the attribute `name` of this namespace, whose prefix the header itself declares; decoded.
    pub fn attribute_in(&self, namespace: &str, name: &str) -> Option<Cow<'_, str>> {
        let all = || self.attributes.iter();
        let prefix = all().find_map(|attribute| {
            let declares = attribute.name.has_prefix() && attribute.name.prefix(&self.bytes) == b"xmlns";
            let is_it = declares && attribute.decoded(&self.bytes) == namespace;
            is_it.then(|| attribute.name.local(&self.bytes))
        })?;
        let is_it = |attribute: &&Attribute| {
            let its = attribute.name;
            its.has_prefix() && its.prefix(&self.bytes) == prefix && its.local(&self.bytes) == name.as_bytes()
        };
        all().find(is_it).map(|attribute| attribute.decoded(&self.bytes))
    }

    /// The attributes, decoded, in order: those without a prefix and those of the prefix `xml`, under their names as
    /// written; no declarations.
    pub fn attributes(&self) -> impl Iterator<Item = (&str, Cow<'_, str>)> {
        attributes::plain(self.attributes.iter().copied(), &self.bytes)
    }

    /// The language of the stream (`xml:lang`).
    pub fn lang(&self) -> Option<Cow<'_, str>> {
        attributes::lang(self.attributes.iter().copied(), &self.bytes)
    }
}
