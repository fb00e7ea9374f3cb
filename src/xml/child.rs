//! A look at an element inside another; copied freely, owning nothing.

use std::borrow::Cow;
use std::ops::Range;

use crate::attributes;
use crate::decoding::as_text;
use crate::element::{Element, ElementSpan, direct_text};
use crate::namespaces::Namespace;
use crate::walk;

/// An element inside an [`Element`], at any depth.
#[derive(Clone, Copy, Debug)]
pub struct Child<'a> {
    owner: &'a Element,
    span: ElementSpan,
    namespace: &'a str,
}

impl<'a> Child<'a> {
    /// The child at `span` of `owner`, inside an element of the namespace `outer`.
    pub(crate) fn new(owner: &'a Element, span: ElementSpan, outer: &'a str) -> Child<'a> {
        let namespace = span.declared().map_or(outer, |declared| as_text(declared.of(owner.as_bytes())));
        Child { owner, span, namespace }
    }

    /// The local name; there is no prefix.
    pub fn name(&self) -> &'a str {
        self.span.name(self.owner.as_bytes())
    }

    /// The namespace name, its own or inherited; empty when it is in none.
    pub fn namespace(&self) -> &'a str {
        self.namespace
    }

    /// Whether its start tag carries its own `xmlns`; otherwise it inherits the namespace of the element around it.
    pub fn declares_namespace(&self) -> bool {
        self.span.declared().is_some()
    }

    /// The value of the attribute `name`, which has no prefix; decoded.
    pub fn attribute(&self, name: &str) -> Option<Cow<'a, str>> {
        attributes::plain_value(walk::attributes(self.start_tag()), self.start_tag(), name)
    }

    /// The attributes, decoded, in order: those without a prefix and those of the prefix `xml`, under their names as
    /// written; no declarations.
    pub fn attributes(&self) -> impl Iterator<Item = (&'a str, Cow<'a, str>)> + use<'a> {
        attributes::plain(walk::attributes(self.start_tag()), self.start_tag())
    }

    /// The language stated on this element itself (`xml:lang`).
    pub fn lang(&self) -> Option<Cow<'a, str>> {
        attributes::lang(walk::attributes(self.start_tag()), self.start_tag())
    }

    /// The text directly inside, decoded; that of its children is not part of it.
    pub fn text(&self) -> Cow<'a, str> {
        direct_text(self.owner.as_bytes(), self.span.content(), self.spans())
    }

    /// The elements directly inside, in order, found by walking.
    pub fn children(&self) -> impl Iterator<Item = Child<'a>> + use<'a> {
        let (owner, namespace) = (self.owner, self.namespace);
        self.spans().map(move |span| Child::new(owner, span, namespace))
    }

    /// The first child with this namespace and local name.
    pub fn child(&self, namespace: &str, name: &str) -> Option<Child<'a>> {
        self.children().find(|child| child.name() == name && child.namespace() == namespace)
    }

    /// The whole element as it stands.
    pub fn bytes(&self) -> &'a [u8] {
        self.owner.as_bytes().get(self.span.range()).unwrap_or_default()
    }

    /// Everything between its start and end tag, as it stands.
    pub fn content(&self) -> &'a [u8] {
        self.owner.as_bytes().get(self.span.content()).unwrap_or_default()
    }

    /// Where it stands inside [`content`](Element::content) of the [`Element`] it was found in.
    pub fn range(&self) -> Range<usize> {
        let range = self.span.range();
        // An element that is looked at like a child does not stand inside its own content.
        let base = if range.start == 0 { 0 } else { self.owner.content_range().start };
        range.start - base..range.end - base
    }

    /// The element on its own; its bytes are a slice of the outer element's, not a copy.
    pub fn to_element(&self) -> Element {
        // One that declares its namespace takes nothing from around it.
        let outer = if self.declares_namespace() { "" } else { self.namespace };
        Element::of_validated(self.owner.as_bytes().slice(self.span.range()), Namespace::new(outer))
    }

    fn start_tag(&self) -> &'a [u8] {
        self.owner.as_bytes().get(self.span.tag()).unwrap_or_default()
    }

    fn spans(&self) -> impl Iterator<Item = ElementSpan> + use<'a> {
        let bytes = self.owner.as_bytes();
        let mut rest = self.span.content();
        std::iter::from_fn(move || {
            let child = walk::next_element(bytes, rest.clone())?;
            rest.start = child.end as usize;
            Some(child)
        })
    }
}
