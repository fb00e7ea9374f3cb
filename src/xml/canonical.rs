//! The one form in which elements leave this crate (RFC 6120 §4.8, §11): what is not yet in it is written anew.
//!
//! An element is in canonical form when
//!
//! - no element's name has a prefix, so that the only namespace an element takes from outside is the default one;
//! - the prefix of an attribute is declared on the very element that carries the attribute;
//! - elements of the content namespace inside one another do not repeat it, so that the content of a stanza means the
//!   same in a stream of clients, of servers and in an archive, each with its own content namespace;
//! - there are no CDATA sections, and namespace names are spelt without references.
//!
//! What clients send is in this form with hardly an exception. The root of an element may declare the content
//! namespace itself, as it must over WebSocket (RFC 7395 §3.3.3).

use crate::attributes::Attribute;
use crate::decoding;
use crate::error::XmlError;
use crate::limits::Limits;
use crate::scope::{Scope, Surroundings};
use crate::tokenizer::{Event, Tokenizer};
use crate::writer::{escape_text, push_escaped};

/// Writes the complete, validated element `around.input` in canonical form.
///
/// # Errors
/// [`XmlError::TooBig`] when the form exceeds `limits.bytes`: a prefix of the header with a long name, used often, must
/// not make much of little.
pub(crate) fn rewrite(around: Surroundings<'_>, limits: &Limits) -> Result<Vec<u8>, XmlError> {
    let input = around.input;
    let mut tokenizer = Tokenizer::new();
    let mut scope = Scope::default();
    let mut out = Vec::with_capacity(input.len());
    let mut done = 0;
    while let Some(event) = tokenizer.advance(input, limits)? {
        push_text(&mut out, &input[done..tokenizer.markup()]);
        match event {
            Event::StartTag { empty } => {
                push_start_tag(&mut out, &mut scope, &tokenizer, around, limits)?;
                out.extend_from_slice(if empty { b"/>" } else { b">" });
                if empty {
                    scope.leave();
                }
            }
            Event::EndTag => {
                out.extend_from_slice(b"</");
                out.extend_from_slice(tokenizer.tag.name.local(input));
                out.push(b'>');
                scope.leave();
            }
            Event::Cdata(content) => escape_text(&mut out, &decoding::line_ends(content.of(input))),
        }
        done = tokenizer.position();
        if out.len() > limits.bytes {
            return Err(XmlError::TooBig("bytes of an element in canonical form"));
        }
    }
    Ok(out)
}

/// Writes `<name`, the declarations the element needs, and its attributes.
fn push_start_tag(
    out: &mut Vec<u8>,
    scope: &mut Scope,
    tokenizer: &Tokenizer,
    around: Surroundings<'_>,
    limits: &Limits,
) -> Result<(), XmlError> {
    let (input, tag) = (around.input, &tokenizer.tag);
    let outer = scope.current();
    let opened = scope.open(tag, around, limits)?;
    out.push(b'<');
    out.extend_from_slice(tag.name.local(input));
    let namespace = scope.name(opened.namespace, around);
    if namespace != scope.name(outer, around) {
        push_attribute(out, b"xmlns", b"", namespace);
    }
    for attribute in &tag.attributes {
        if attribute.declares_default(input) {
            continue;
        }
        let name = attribute.name;
        if name.has_prefix() && name.prefix(input) == b"xmlns" {
            let value = decoding::attribute(attribute.value.of(input));
            push_attribute(out, b"xmlns:", name.local(input), value.as_bytes());
        } else {
            push_as_it_stands(out, attribute, input);
        }
    }
    for (prefix, namespace) in scope.missing_declarations(tag, around)? {
        push_attribute(out, b"xmlns:", prefix, namespace);
    }
    Ok(())
}

/// Writes a namespace declaration; namespace names need no escaping.
fn push_attribute(out: &mut Vec<u8>, start: &[u8], rest: &[u8], value: &[u8]) {
    out.push(b' ');
    out.extend_from_slice(start);
    out.extend_from_slice(rest);
    out.extend_from_slice(b"='");
    out.extend_from_slice(value);
    out.push(b'\'');
}

/// Copies an attribute, without the white space around its equals sign.
fn push_as_it_stands(out: &mut Vec<u8>, attribute: &Attribute, input: &[u8]) {
    let quote = input[attribute.value.start as usize - 1];
    out.push(b' ');
    out.extend_from_slice(attribute.name.whole(input));
    out.extend_from_slice(&[b'=', quote]);
    out.extend_from_slice(attribute.value.of(input));
    out.push(quote);
}

/// Copies character data. Its references stay; a `>` is escaped, because next to what was a CDATA section it could
/// become part of `]]>`, and line ends are normalised, because two halves of one could meet there.
fn push_text(out: &mut Vec<u8>, raw: &[u8]) {
    push_escaped(out, &decoding::line_ends(raw), |character| (character == '>').then_some("&gt;"));
}
