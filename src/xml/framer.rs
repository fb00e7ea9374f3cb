//! Puts tags together to one first-level element and notes where its parts are (RFC 6120 §8).

use bytes::Bytes;
use smallvec::SmallVec;

use crate::canonical;
use crate::element::{Element, ElementSpan, Index};
use crate::error::XmlError;
use crate::limits::Limits;
use crate::namespaces::StreamContext;
use crate::scope::{Scope, Surroundings};
use crate::span::Span;
use crate::tokenizer::{Event, Tokenizer};

/// What stands at the front of the bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Framed {
    /// A part of something; more bytes are needed.
    Partial,
    /// A complete element of this many bytes.
    Element(usize),
    /// An end tag of this many bytes with nothing open; its name is still to be checked.
    EndTag(usize),
}

/// Reads one first-level element, in as many calls as its bytes take.
#[derive(Debug)]
pub(crate) struct Framer {
    tokenizer: Tokenizer,
    scope: Scope,
    index: Index,
    elements: usize,
    canonical: bool,
}

impl Framer {
    pub fn new() -> Framer {
        Framer {
            tokenizer: Tokenizer::new(),
            scope: Scope::default(),
            index: Index::default(),
            elements: 0,
            canonical: true,
        }
    }

    /// Reads on; `around.input` must begin with the same bytes on every call.
    pub fn advance(&mut self, around: Surroundings<'_>, limits: &Limits) -> Result<Framed, XmlError> {
        while let Some(event) = self.tokenizer.advance(around.input, limits)? {
            let position = self.tokenizer.position();
            match event {
                Event::StartTag { empty } => {
                    self.open(around, limits)?;
                    if empty {
                        self.close(position);
                    }
                }
                Event::EndTag if self.scope.depth() == 0 => return Ok(Framed::EndTag(position)),
                Event::EndTag => {
                    self.scope.check_end(self.tokenizer.tag.name, around.input)?;
                    self.close(self.tokenizer.markup());
                }
                Event::Cdata(_) if self.scope.depth() == 0 => {
                    return Err(XmlError::NotWellFormed("text between elements"));
                }
                Event::Cdata(_) => self.canonical = false,
            }
            if self.scope.depth() == 0 {
                return Ok(Framed::Element(position));
            }
        }
        Ok(Framed::Partial)
    }

    fn open(&mut self, around: Surroundings<'_>, limits: &Limits) -> Result<(), XmlError> {
        self.elements += 1;
        if self.elements > limits.elements {
            return Err(XmlError::TooBig("elements"));
        }
        let tag = &self.tokenizer.tag;
        let opened = self.scope.open(tag, around, limits)?;
        self.scope.check_in_stream(tag, opened, around)?;
        self.canonical &= opened.canonical;
        if self.scope.depth() > 2 {
            return Ok(());
        }
        let tag_span = Span::new(self.tokenizer.markup(), self.tokenizer.position());
        let span = ElementSpan::unfinished(tag_span, tag.name.length, opened.declared);
        if self.scope.depth() == 2 {
            self.index.children.push(span);
        } else {
            self.index.root = span;
            self.index.attributes = SmallVec::from_slice(&tag.attributes);
        }
        Ok(())
    }

    /// Leaves the innermost element, whose content ended at `content_end`.
    fn close(&mut self, content_end: usize) {
        let closed = match self.scope.depth() {
            1 => Some(&mut self.index.root),
            2 => self.index.children.last_mut(),
            _ => None,
        };
        if let Some(span) = closed {
            span.content_end = content_end as u32;
            span.end = self.tokenizer.position() as u32;
        }
        self.scope.leave();
    }

    /// The name, as written, of the end tag just found.
    pub fn end_tag_name<'a>(&self, input: &'a [u8]) -> &'a [u8] {
        self.tokenizer.tag.name.whole(input)
    }

    /// The element just framed: a copy of its bytes, in canonical form.
    pub fn element(&mut self, around: Surroundings<'_>, limits: &Limits) -> Result<Element, XmlError> {
        if !self.canonical {
            return rewritten(around, limits);
        }
        Ok(Element::new(Bytes::copy_from_slice(around.input), around.stream.content.clone(), self.take_index()))
    }

    /// The element just framed from `bytes`, which are kept as they are if they are in canonical form.
    pub fn element_of(&mut self, bytes: Bytes, stream: &StreamContext, limits: &Limits) -> Result<Element, XmlError> {
        if !self.canonical {
            return rewritten(Surroundings { input: &bytes, stream }, limits);
        }
        Ok(Element::new(bytes, stream.content.clone(), self.take_index()))
    }

    fn take_index(&mut self) -> Index {
        std::mem::take(&mut self.index)
    }
}

/// Rewrites an element and reads the result once more: what leaves this crate has been validated as it is.
fn rewritten(around: Surroundings<'_>, limits: &Limits) -> Result<Element, XmlError> {
    let bytes = canonical::rewrite(around, limits)?;
    let stream = StreamContext::plain(around.stream.content.clone());
    let mut framer = Framer::new();
    let framed = framer.advance(Surroundings { input: &bytes, stream: &stream }, limits)?;
    if framed != Framed::Element(bytes.len()) || !framer.canonical {
        debug_assert!(false, "the canonical form is not canonical");
        return Err(XmlError::NotWellFormed("no canonical form"));
    }
    Ok(Element::new(bytes.into(), stream.content, framer.take_index()))
}
