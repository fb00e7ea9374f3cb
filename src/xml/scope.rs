//! The open elements and the namespaces they declare (Namespaces in XML 1.0 §6): a stack, never a recursion.

use memchr::memchr;
use smallvec::SmallVec;

use crate::attributes::Attribute;
use crate::decoding;
use crate::error::XmlError;
use crate::limits::Limits;
use crate::namespaces::{Namespace, NamespaceRef, STREAMS, StreamContext, check_declaration};
use crate::span::{QualifiedName, Span};
use crate::tokenizer::Tag;

/// What the tags are read in: the bytes of the element, and what the header of its stream declared.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Surroundings<'a> {
    pub input: &'a [u8],
    pub stream: &'a StreamContext,
}

/// An element whose end tag has not come yet.
#[derive(Clone, Copy, Debug)]
struct Frame {
    name: QualifiedName,
    namespace: NamespaceRef,
    /// The default namespace for its children.
    default: NamespaceRef,
    /// How many prefix declarations were in force around it.
    bindings: usize,
    /// Whether it and all of its ancestors are in the content namespace.
    in_content: bool,
}

#[derive(Clone, Copy, Debug)]
struct Binding {
    prefix: Span,
    namespace: NamespaceRef,
}

/// What [`Scope::open`] finds out about an element.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Opened {
    pub namespace: NamespaceRef,
    /// The value of the element's own `xmlns`.
    pub declared: Option<Span>,
    /// Whether its start tag is in canonical form: see [`canonical`](crate::canonical).
    pub canonical: bool,
}

/// Prefixes with their namespace names.
pub(crate) type Declarations<'a> = SmallVec<[(&'a [u8], &'a [u8]); 4]>;

/// Where a prefix is declared.
enum Declared {
    OnThisElement,
    Elsewhere,
}

/// See the [module](self).
#[derive(Debug, Default)]
pub(crate) struct Scope {
    frames: SmallVec<[Frame; 8]>,
    bindings: SmallVec<[Binding; 4]>,
    /// Namespace names that were written with references.
    decoded: Vec<u8>,
}

impl Scope {
    pub fn depth(&self) -> usize {
        self.frames.len()
    }

    /// The namespace of the innermost open element; the content namespace outside of all.
    pub fn current(&self) -> NamespaceRef {
        self.frames.last().map_or(NamespaceRef::Content, |frame| frame.namespace)
    }

    /// The name behind a reference.
    pub fn name<'a>(&'a self, namespace: NamespaceRef, around: Surroundings<'a>) -> &'a [u8] {
        match namespace {
            NamespaceRef::Content => around.stream.content.as_str().as_bytes(),
            NamespaceRef::Spelt(span) => span.of(around.input),
            NamespaceRef::Decoded(span) => span.of(&self.decoded),
            NamespaceRef::Header(index) => {
                around.stream.prefixes.get(index as usize).map_or(&[], |(_, name)| name.as_str().as_bytes())
            }
        }
    }

    /// Enters an element: takes in its declarations, resolves its prefixes and checks that its attributes are unique.
    pub fn open(&mut self, tag: &Tag, around: Surroundings<'_>, limits: &Limits) -> Result<Opened, XmlError> {
        if self.frames.len() >= limits.depth {
            return Err(XmlError::TooBig("depth of elements"));
        }
        let input = around.input;
        let outer_bindings = self.bindings.len();
        let outer = self.frames.last();
        let mut in_content = outer.is_none_or(|frame| frame.in_content);
        let mut default = outer.map_or(NamespaceRef::Content, |frame| frame.default);
        let mut declared = None;
        let mut canonical = true;
        let mut prefixed = 0;
        for attribute in &tag.attributes {
            if attribute.declares_default(input) {
                default = self.declare(None, attribute.value, around, limits)?;
                declared = Some(attribute.value);
                canonical &= !matches!(default, NamespaceRef::Decoded(_));
            } else if attribute.name.has_prefix() {
                match attribute.name.prefix(input) {
                    b"xml" => {}
                    b"xmlns" => canonical &= self.bind(attribute, around, limits)?,
                    _ => prefixed += 1,
                }
            }
        }
        check_unique(tag.attributes.len(), |at| tag.attributes[at].name.whole(input))?;
        if prefixed > 0 {
            canonical &= self.resolve_attributes(tag, outer_bindings, around)?;
        }
        let namespace = if tag.name.has_prefix() {
            canonical = false;
            self.resolve(tag.name.prefix(input), outer_bindings, around)?.0
        } else {
            default
        };
        let repeats_content = namespace == NamespaceRef::Content && declared.is_some();
        canonical &= !(repeats_content && in_content && !self.frames.is_empty());
        in_content &= namespace == NamespaceRef::Content;
        self.frames.push(Frame { name: tag.name, namespace, default, bindings: outer_bindings, in_content });
        Ok(Opened { namespace, declared, canonical })
    }

    /// Checks that an end tag of this name belongs to the innermost element.
    pub fn check_end(&self, name: QualifiedName, input: &[u8]) -> Result<(), XmlError> {
        match self.frames.last() {
            Some(frame) if frame.name.whole(input) == name.whole(input) => Ok(()),
            _ => Err(XmlError::NotWellFormed("an end tag that does not match")),
        }
    }

    /// Leaves the innermost element and forgets what it declared.
    pub fn leave(&mut self) {
        if let Some(frame) = self.frames.pop() {
            self.bindings.truncate(frame.bindings);
        }
    }

    /// What the stream header, which is open now, leaves to its stream.
    pub fn to_stream_context(&self, around: Surroundings<'_>) -> StreamContext {
        let owned = |namespace| Namespace::new(decoding::as_text(self.name(namespace, around)));
        let content = owned(self.frames.last().map_or(NamespaceRef::Content, |frame| frame.default));
        let prefix = |binding: &Binding| Box::from(binding.prefix.of(around.input));
        StreamContext {
            content,
            prefixes: self.bindings.iter().map(|binding| (prefix(binding), owned(binding.namespace))).collect(),
        }
    }

    /// Refuses what may not stand inside a stream: see [`Opened`] for what was found.
    pub fn check_in_stream(&self, tag: &Tag, opened: Opened, around: Surroundings<'_>) -> Result<(), XmlError> {
        let is_root = self.frames.len() == 1;
        if is_root && tag.name.has_prefix() && self.is_content(opened.namespace, around) {
            return Err(XmlError::BadNamespacePrefix("a stanza with a prefix"));
        }
        // Only what a tag says itself needs a look: what it inherits was looked at before.
        if opened.declared.is_some() || tag.name.has_prefix() {
            let in_streams = self.name(opened.namespace, around) == STREAMS.as_bytes();
            if in_streams && !is_root {
                return Err(XmlError::InvalidNamespace("the namespace of streams inside an element"));
            }
            if in_streams && tag.name.local(around.input) == b"stream" {
                return Err(XmlError::NotWellFormed("a stream header inside a stream"));
            }
        }
        for binding in &self.bindings[self.frames.last().map_or(0, |frame| frame.bindings)..] {
            let rebinds = binding.prefix.of(around.input) == b"stream";
            if rebinds && self.name(binding.namespace, around) != STREAMS.as_bytes() {
                return Err(XmlError::Restricted("another namespace for the prefix stream"));
            }
        }
        Ok(())
    }

    fn is_content(&self, namespace: NamespaceRef, around: Surroundings<'_>) -> bool {
        self.name(namespace, around) == around.stream.content.as_str().as_bytes()
    }

    /// Takes in `xmlns:prefix`; whether its value is spelt as it is.
    fn bind(&mut self, attribute: &Attribute, around: Surroundings<'_>, limits: &Limits) -> Result<bool, XmlError> {
        let prefix = attribute.name.local_span();
        let namespace = self.declare(Some(prefix.of(around.input)), attribute.value, around, limits)?;
        if prefix.of(around.input) != b"xml" {
            if self.bindings.len() >= limits.namespaces {
                return Err(XmlError::TooBig("namespace prefixes"));
            }
            self.bindings.push(Binding { prefix, namespace });
        }
        Ok(!matches!(namespace, NamespaceRef::Decoded(_)))
    }

    /// Checks a declaration's value and says where it is kept.
    fn declare(
        &mut self,
        prefix: Option<&[u8]>,
        value: Span,
        around: Surroundings<'_>,
        limits: &Limits,
    ) -> Result<NamespaceRef, XmlError> {
        if value.len() > limits.name_bytes {
            return Err(XmlError::TooBig("a namespace name"));
        }
        let spelt = value.of(around.input);
        if prefix.is_none() && spelt == around.stream.content.as_str().as_bytes() {
            return Ok(NamespaceRef::Content);
        }
        if memchr(b'&', spelt).is_none() {
            check_declaration(prefix, spelt)?;
            return Ok(NamespaceRef::Spelt(value));
        }
        let decoded = decoding::attribute(spelt);
        check_declaration(prefix, decoded.as_bytes())?;
        let start = self.decoded.len();
        self.decoded.extend_from_slice(decoded.as_bytes());
        Ok(NamespaceRef::Decoded(Span::new(start, self.decoded.len())))
    }

    /// The prefixes of the innermost element's attributes that are declared elsewhere, each with its namespace, once.
    pub fn missing_declarations<'a>(
        &'a self,
        tag: &Tag,
        around: Surroundings<'a>,
    ) -> Result<Declarations<'a>, XmlError> {
        let own = self.frames.last().map_or(0, |frame| frame.bindings);
        let mut missing = Declarations::new();
        for attribute in tag.attributes.iter().filter(|attribute| needs_declaration(attribute, around.input)) {
            let prefix = attribute.name.prefix(around.input);
            let (namespace, place) = self.resolve(prefix, own, around)?;
            if matches!(place, Declared::Elsewhere) && missing.iter().all(|(known, _)| *known != prefix) {
                missing.push((prefix, self.name(namespace, around)));
            }
        }
        Ok(missing)
    }

    /// What `prefix` stands for, and whether the element's own declarations (those from `own` on) say so.
    fn resolve(
        &self,
        prefix: &[u8],
        own: usize,
        around: Surroundings<'_>,
    ) -> Result<(NamespaceRef, Declared), XmlError> {
        let binding = self.bindings.iter().rposition(|binding| binding.prefix.of(around.input) == prefix);
        if let Some(at) = binding {
            let place = if at >= own { Declared::OnThisElement } else { Declared::Elsewhere };
            return Ok((self.bindings[at].namespace, place));
        }
        let header = around.stream.prefixes.iter().position(|(known, _)| **known == *prefix);
        header
            .map(|index| (NamespaceRef::Header(index as u32), Declared::Elsewhere))
            .ok_or(XmlError::NotWellFormed("a prefix that is not declared"))
    }

    /// Resolves the attributes with a prefix and checks that no two have the same expanded name; whether all of their
    /// prefixes are declared on the element itself.
    fn resolve_attributes(&self, tag: &Tag, own: usize, around: Surroundings<'_>) -> Result<bool, XmlError> {
        let mut declared_here = true;
        let mut names: SmallVec<[(&[u8], &[u8]); 8]> = SmallVec::new();
        for attribute in tag.attributes.iter().filter(|attribute| needs_declaration(attribute, around.input)) {
            let (namespace, place) = self.resolve(attribute.name.prefix(around.input), own, around)?;
            declared_here &= matches!(place, Declared::OnThisElement);
            names.push((self.name(namespace, around), attribute.name.local(around.input)));
        }
        check_unique(names.len(), |at| names[at])?;
        Ok(declared_here)
    }
}

/// Whether an attribute has a prefix that somebody must have declared.
fn needs_declaration(attribute: &Attribute, input: &[u8]) -> bool {
    attribute.name.has_prefix() && !matches!(attribute.name.prefix(input), b"xml" | b"xmlns")
}

/// Refuses equal names among `count` of them: a few are compared each with each, many are sorted.
fn check_unique<T: Ord + Copy>(count: usize, name: impl Fn(usize) -> T) -> Result<(), XmlError> {
    const FEW: usize = 8;
    let repeated = if count <= FEW {
        (1..count).any(|at| (0..at).any(|before| name(before) == name(at)))
    } else {
        let mut names: SmallVec<[T; 64]> = (0..count).map(name).collect();
        names.sort_unstable();
        names.windows(2).any(|pair| pair[0] == pair[1])
    };
    if repeated { Err(XmlError::NotWellFormed("an attribute twice")) } else { Ok(()) }
}
