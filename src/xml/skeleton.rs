//! The crate's names and signatures, ahead of their bodies.
#![allow(missing_docs)]
use bytes::Bytes;
use std::borrow::Cow;
use std::ops::Range;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    pub bytes: usize,
    pub depth: usize,
    pub elements: usize,
    pub attributes: usize,
    pub name_bytes: usize,
    pub namespaces: usize,
}
impl Limits {
    pub const BEFORE_AUTHENTICATION: Limits =
        Limits { bytes: 8 << 10, depth: 16, elements: 32, attributes: 64, name_bytes: 1024, namespaces: 32 };
    pub const AFTER_AUTHENTICATION: Limits =
        Limits { bytes: 1 << 20, depth: 64, elements: 4096, attributes: 64, name_bytes: 1024, namespaces: 256 };
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum XmlError {
    #[error("not well-formed: {0}")]
    NotWellFormed(&'static str),
    #[error("restricted xml: {0}")]
    Restricted(&'static str),
    #[error("unsupported encoding")]
    UnsupportedEncoding,
    #[error("bad namespace prefix: {0}")]
    BadNamespacePrefix(&'static str),
    #[error("invalid namespace")]
    InvalidNamespace,
    #[error("too big: {0}")]
    TooBig(&'static str),
}

#[derive(Debug)]
pub struct Scanner;
impl Scanner {
    pub fn new(_limits: Limits) -> Self {
        Scanner
    }
    pub fn set_limits(&mut self, _limits: Limits) {}
    pub fn restart(&mut self) {}
    #[allow(clippy::should_implement_trait)]
    pub fn next(&mut self, _input: &[u8]) -> Result<Step, XmlError> {
        Ok(Step { consumed: 0, token: None })
    }
}

#[derive(Debug)]
pub struct Step {
    pub consumed: usize,
    pub token: Option<Token>,
}

#[derive(Debug)]
#[allow(clippy::large_enum_variant)]
pub enum Token {
    Header(Header),
    Element(Element),
    Close,
}

#[derive(Clone, Debug)]
pub struct Header;
impl Header {
    pub fn name(&self) -> &str {
        ""
    }
    pub fn namespace(&self) -> &str {
        ""
    }
    /// The prefix of the root's name, if it has one (usually `stream`).
    pub fn prefix(&self) -> Option<&str> {
        None
    }
    /// The default namespace in force inside the stream; empty when none is declared.
    pub fn default_namespace(&self) -> &str {
        ""
    }
    pub fn attribute(&self, _name: &str) -> Option<Cow<'_, str>> {
        None
    }
    pub fn lang(&self) -> Option<Cow<'_, str>> {
        None
    }
}

#[derive(Clone, Debug)]
pub struct Element {
    bytes: Bytes,
}
impl Element {
    pub fn parse(bytes: Bytes, _content_namespace: &'static str, _limits: &Limits) -> Result<Element, XmlError> {
        Ok(Element { bytes })
    }
    pub fn name(&self) -> &str {
        ""
    }
    pub fn namespace(&self) -> &str {
        ""
    }
    pub fn attribute(&self, _name: &str) -> Option<Cow<'_, str>> {
        None
    }
    /// Attributes without a prefix, and those of the `xml` prefix; decoded.
    pub fn attributes(&self) -> impl Iterator<Item = (&str, Cow<'_, str>)> {
        std::iter::empty()
    }
    pub fn lang(&self) -> Option<Cow<'_, str>> {
        None
    }
    pub fn children(&self) -> impl Iterator<Item = Child<'_>> {
        std::iter::empty()
    }
    pub fn child(&self, _namespace: &str, _name: &str) -> Option<Child<'_>> {
        None
    }
    pub fn text(&self) -> Cow<'_, str> {
        Cow::Borrowed("")
    }
    pub fn content(&self) -> Bytes {
        self.bytes.clone()
    }
    pub fn as_bytes(&self) -> &Bytes {
        &self.bytes
    }
}

#[derive(Clone, Copy, Debug)]
pub struct Child<'a> {
    owner: &'a Element,
}
impl<'a> Child<'a> {
    pub fn name(&self) -> &'a str {
        ""
    }
    pub fn namespace(&self) -> &'a str {
        ""
    }
    pub fn attribute(&self, _name: &str) -> Option<Cow<'a, str>> {
        None
    }
    pub fn attributes(&self) -> impl Iterator<Item = (&'a str, Cow<'a, str>)> {
        std::iter::empty()
    }
    pub fn lang(&self) -> Option<Cow<'a, str>> {
        None
    }
    pub fn text(&self) -> Cow<'a, str> {
        Cow::Borrowed("")
    }
    pub fn bytes(&self) -> &'a [u8] {
        &self.owner.bytes
    }
    /// Where the child stands inside its element's `content()`.
    pub fn range(&self) -> Range<usize> {
        0..0
    }
    /// Whether its start tag carries its own `xmlns`; otherwise it inherits its parent's namespace.
    pub fn declares_namespace(&self) -> bool {
        false
    }
    pub fn to_element(&self) -> Element {
        self.owner.clone()
    }
    pub fn children(&self) -> impl Iterator<Item = Child<'a>> + use<'a> {
        std::iter::empty()
    }
    pub fn child(&self, _namespace: &str, _name: &str) -> Option<Child<'a>> {
        None
    }
}

pub fn escape_text(_out: &mut Vec<u8>, _text: &str) {}
pub fn escape_attribute(_out: &mut Vec<u8>, _value: &str) {}

/// Builds well-formed XML; names are the caller's own, values are escaped.
#[derive(Debug, Default)]
pub struct Writer {
    out: Vec<u8>,
}
impl Writer {
    pub fn new() -> Self {
        Self::default()
    }
    pub fn open(&mut self, _name: &'static str) -> &mut Self {
        self
    }
    pub fn attribute(&mut self, _name: &'static str, _value: &str) -> &mut Self {
        self
    }
    pub fn optional_attribute(&mut self, _name: &'static str, _value: Option<&str>) -> &mut Self {
        self
    }
    pub fn text(&mut self, _text: &str) -> &mut Self {
        self
    }
    pub fn raw(&mut self, _xml: &[u8]) -> &mut Self {
        self
    }
    pub fn close(&mut self) -> &mut Self {
        self
    }
    /// Closes whatever is still open.
    pub fn finish(&mut self) -> Bytes {
        Bytes::from(std::mem::take(&mut self.out))
    }
}
