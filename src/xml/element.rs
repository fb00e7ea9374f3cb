//! One complete first-level element (RFC 6120 §8): its bytes, and an index of what is asked for most.

use std::borrow::Cow;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use smallvec::SmallVec;

use crate::attributes::{self, Attribute};
use crate::child::Child;
use crate::decoding::{self, as_text};
use crate::error::XmlError;
use crate::framer::{Framed, Framer};
use crate::limits::Limits;
use crate::namespaces::{Namespace, StreamContext};
use crate::scope::Surroundings;
use crate::span::Span;
use crate::walk;

/// Where an element stands; all positions are those of the outermost element's bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ElementSpan {
    pub start: u32,
    pub end: u32,
    pub content_start: u32,
    /// Equal to `content_start` when the element has no content.
    pub content_end: u32,
    pub name_length: u16,
    pub namespace_length: u16,
    /// The value of the element's own `xmlns`; 0 when it has none.
    pub namespace_start: u32,
}

impl ElementSpan {
    /// An element of which only the start tag is known.
    pub fn unfinished(tag: Span, name_length: u16, declared: Option<Span>) -> ElementSpan {
        ElementSpan {
            start: tag.start,
            end: tag.end,
            content_start: tag.end,
            content_end: tag.end,
            name_length,
            namespace_length: declared.map_or(0, |declared| declared.len() as u16),
            namespace_start: declared.map_or(0, |declared| declared.start),
        }
    }

    pub fn range(&self) -> Range<usize> {
        self.start as usize..self.end as usize
    }

    pub fn content(&self) -> Range<usize> {
        self.content_start as usize..self.content_end as usize
    }

    pub fn tag(&self) -> Range<usize> {
        self.start as usize..self.content_start as usize
    }

    pub fn name<'a>(&self, bytes: &'a [u8]) -> &'a str {
        let start = self.start + 1;
        as_text(Span { start, end: start + u32::from(self.name_length) }.of(bytes))
    }

    /// The namespace it declares itself.
    pub fn declared(&self) -> Option<Span> {
        let end = self.namespace_start + u32::from(self.namespace_length);
        (self.namespace_start != 0).then_some(Span { start: self.namespace_start, end })
    }
}

/// Where the parts of an element in canonical form stand.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Index {
    pub root: ElementSpan,
    pub attributes: SmallVec<[Attribute; 8]>,
    pub children: SmallVec<[ElementSpan; 6]>,
}

impl Index {
    /// Finds the parts of an element that was validated.
    fn of_validated(bytes: &[u8]) -> Index {
        let root = walk::next_element(bytes, 0..bytes.len()).unwrap_or_default();
        let mut rest = root.content();
        let children = std::iter::from_fn(|| {
            let child = walk::next_element(bytes, rest.clone())?;
            rest.start = child.end as usize;
            Some(child)
        });
        Index {
            root,
            children: children.collect(),
            attributes: walk::attributes(bytes.get(root.tag()).unwrap_or_default()).collect(),
        }
    }
}

/// One complete, validated first-level element in canonical form: of all that a stream header or an ancestor can
/// declare, it depends on the default namespace alone.
///
/// It is one pointer, and a clone is one more count on it. Its bytes are one allocation, shared by everything sliced
/// from it. They were checked to be well-formed XML 1.0 in UTF-8 with namespaces, without anything RFC 6120 §11.1
/// forbids, and may be written into any stream whose default namespace is [`namespace`](Element::namespace), or after a
/// start tag of your own as [`content`](Element::content) into a stream with another content namespace.
#[derive(Clone, Debug)]
pub struct Element(Arc<Parts>);

#[derive(Debug)]
struct Parts {
    bytes: Bytes,
    /// The default namespace the bytes stand in.
    outer: Namespace,
    index: Index,
}

impl Element {
    pub(crate) fn new(bytes: Bytes, outer: Namespace, index: Index) -> Element {
        Element(Arc::new(Parts { bytes, outer, index }))
    }

    /// Indexes `bytes` that are a slice of a validated element.
    pub(crate) fn of_validated(bytes: Bytes, outer: Namespace) -> Element {
        let index = Index::of_validated(&bytes);
        Element::new(bytes, outer, index)
    }

    /// Reads an element that stands alone: from the database, from a module, as the frame of a WebSocket.
    ///
    /// `content_namespace` is the default namespace it stands in if it does not declare its own. The bytes are kept,
    /// not copied, if they are in canonical form, as those of another `Element` are.
    ///
    /// # Errors
    /// All that the scanner refuses in a stream, and anything before or behind the element (RFC 7395 §3.3).
    pub fn parse(bytes: Bytes, content_namespace: &'static str, limits: &Limits) -> Result<Element, XmlError> {
        let limits = limits.expressible();
        if bytes.len() > limits.bytes {
            return Err(XmlError::TooBig("bytes of an element"));
        }
        if bytes.first() != Some(&b'<') {
            return Err(XmlError::NotWellFormed("something before the element"));
        }
        let stream = StreamContext::plain(Namespace::Known(content_namespace));
        let mut framer = Framer::new();
        match framer.advance(Surroundings { input: &bytes, stream: &stream }, &limits)? {
            Framed::Element(end) if end == bytes.len() => framer.element_of(bytes, &stream, &limits),
            Framed::Element(_) => Err(XmlError::NotWellFormed("something behind the element")),
            Framed::EndTag(_) => Err(XmlError::NotWellFormed("an end tag that does not match")),
            Framed::Partial => Err(XmlError::NotWellFormed("an element without its end")),
        }
    }

    /// The local name; there is no prefix.
    pub fn name(&self) -> &str {
        self.index().root.name(self.as_bytes())
    }

    /// The namespace name; empty when the element is in none.
    pub fn namespace(&self) -> &str {
        self.as_child().namespace()
    }

    /// Whether the start tag carries its own `xmlns`; otherwise the namespace is that of the stream.
    pub fn declares_namespace(&self) -> bool {
        self.index().root.declared().is_some()
    }

    /// The value of the attribute `name`, which has no prefix; decoded.
    pub fn attribute(&self, name: &str) -> Option<Cow<'_, str>> {
        attributes::plain_value(self.index().attributes.iter().copied(), self.as_bytes(), name)
    }

    /// The language stated on this element itself (`xml:lang`).
    pub fn lang(&self) -> Option<Cow<'_, str>> {
        attributes::lang(self.index().attributes.iter().copied(), self.as_bytes())
    }

    /// The attributes, decoded, in order: those without a prefix and those of the prefix `xml`, under their names as
    /// written. Declarations, and attributes of other namespaces, are left to [`raw_attributes`](Self::raw_attributes).
    pub fn attributes(&self) -> impl Iterator<Item = (&str, Cow<'_, str>)> {
        attributes::plain(self.index().attributes.iter().copied(), self.as_bytes())
    }

    /// The attributes as they stand (`name='value'`, in either kind of quotes), in order, each with its name as
    /// written: all of them except `xmlns`, together with the declarations of the prefixes they use. Written one by
    /// one behind a tag name of your own, they are complete; leave out those you set yourself.
    pub fn raw_attributes(&self) -> impl Iterator<Item = (&str, &[u8])> {
        let bytes = self.as_bytes();
        let others = self.index().attributes.iter().filter(|attribute| !attribute.declares_default(bytes));
        others.map(|attribute| (as_text(attribute.name.whole(bytes)), attribute.whole(bytes)))
    }

    /// The elements directly inside, in order.
    pub fn children(&self) -> impl Iterator<Item = Child<'_>> {
        self.index().children.iter().map(|span| Child::new(self, *span, self.namespace()))
    }

    /// The first child with this namespace and local name.
    pub fn child(&self, namespace: &str, name: &str) -> Option<Child<'_>> {
        self.children().find(|child| child.name() == name && child.namespace() == namespace)
    }

    /// The element itself, looked at like a child. Its range is the whole of the element's bytes.
    pub fn as_child(&self) -> Child<'_> {
        Child::new(self, self.index().root, self.0.outer.as_str())
    }

    /// The text directly inside, decoded; that of children is not part of it.
    pub fn text(&self) -> Cow<'_, str> {
        direct_text(self.as_bytes(), self.content_range(), self.index().children.iter().copied())
    }

    /// Everything between start and end tag, as it stands; a slice, not a copy. Empty for `<a/>`.
    pub fn content(&self) -> Bytes {
        self.as_bytes().slice(self.content_range())
    }

    /// The element as it stands. It may declare its namespace or leave that to its surroundings:
    /// see [`declares_namespace`](Self::declares_namespace).
    pub fn as_bytes(&self) -> &Bytes {
        &self.0.bytes
    }

    pub(crate) fn content_range(&self) -> Range<usize> {
        self.index().root.content()
    }

    fn index(&self) -> &Index {
        &self.0.index
    }
}

/// Two elements are equal when their bytes are the same and mean the same.
impl PartialEq for Element {
    fn eq(&self, other: &Element) -> bool {
        self.as_bytes() == other.as_bytes() && self.namespace() == other.namespace()
    }
}

impl Eq for Element {}

/// The text of `content` that stands outside of `children`, decoded.
pub(crate) fn direct_text(
    bytes: &[u8],
    content: Range<usize>,
    children: impl Iterator<Item = ElementSpan>,
) -> Cow<'_, str> {
    let mut text = Cow::Borrowed("");
    let mut add = |piece: Range<usize>| {
        let piece = decoding::text(bytes.get(piece).unwrap_or_default());
        if text.is_empty() {
            text = piece;
        } else if !piece.is_empty() {
            text.to_mut().push_str(&piece);
        }
    };
    let mut done = content.start;
    for child in children {
        add(done..child.start as usize);
        done = child.end as usize;
    }
    add(done..content.end);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The index made by the scanner and the one made by walking must be the same.
    #[test]
    fn walking_finds_what_scanning_found() {
        let elements = [
            "<a/>",
            "<a ></a >",
            "<message to='a@b' from = \"c@d/'e'\" xml:lang='de'\n id='>'>text<body>Hi &lt;b&gt;</body>\r\n\
             <x xmlns='urn:x' a='/>'><y/><y><z a='1'/>t</y></x ><empty xmlns='' /> tail</message>",
            "<é ö='ü' xmlns='urn:x' xmlns:p='urn:p' p:q='1'><ü/></é>",
        ];
        for xml in elements {
            let bytes = Bytes::from_static(xml.as_bytes());
            let scanned = Element::parse(bytes.clone(), "jabber:client", &Limits::AFTER_AUTHENTICATION).unwrap();
            let walked = Element::of_validated(bytes, Namespace::Known("jabber:client"));
            assert_eq!(scanned.index(), walked.index(), "{xml}");
        }
    }

    #[test]
    fn walking_through_anything_does_not_panic() {
        let xml = b"<a b='c' d=\"e\"><f g='>'/>text</a>";
        for cut in 0..xml.len() {
            for from in 0..cut {
                let element = Element::of_validated(Bytes::from_static(&xml[from..cut]), Namespace::Known(""));
                let _ = (element.name(), element.text(), element.attributes().count(), element.content());
                for child in element.children() {
                    let _ = (child.name(), child.namespace(), child.text(), child.children().count());
                }
            }
        }
    }
}
