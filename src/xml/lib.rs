//! Strict, incremental XML for XMPP streams (RFC 6120 §4, §8, §11), and a small writer.
//!
//! A [`Scanner`] takes the bytes of a stream as they arrive and yields its [`Header`] and each complete first-level
//! [`Element`]; [`Element::parse`] takes one that stands alone. Both accept a strict subset of XML 1.0 with
//! namespaces: nothing that RFC 6120 §11.1 forbids, nothing that two parsers could read in two ways, and nothing beyond
//! the [`Limits`]. An element that was accepted is one block of validated bytes in a canonical form that depends on no
//! stream header, so that it can be stored, shared and written to other streams as it stands.
//!
//! Beyond what RFC 6120 §11.1 forbids these are refused, because parsers disagree about them or nobody needs them:
//!
//! - namespace names with other characters than those of a URI, or with any that must be escaped (`&`, `'`);
//! - names with letters on which the fourth and the fifth edition of XML 1.0 disagree;
//! - a carriage return in an attribute value that is not part of a line end;
//! - character references of more than eight digits; elements with the prefix `xml`;
//! - another namespace for the prefix `stream`, and the namespace of streams further inside than a first-level element;
//! - `standalone='no'`, or `standalone` without an encoding before it; white space before the first byte of a stream.
//!
//! How it is built, from the bytes up:
//!
//! | file | subject |
//! |---|---|
//! | `characters` | which characters stand where; UTF-8 |
//! | `decoding` | references, line ends, attribute values |
//! | `tokenizer` | the state machine that cuts bytes into tags |
//! | `namespaces`, `scope` | the stack of open elements and what their prefixes stand for |
//! | `framer` | tags become one first-level element with an index |
//! | `canonical` | the rare element that is not in canonical form is rewritten |
//! | `declaration`, `header`, `scanner` | a whole stream |
//! | `walk`, `attributes`, `element`, `child` | looking into an element that was validated |
//! | `writer` | XML of our own making |
//!
//! Nothing here recurses, so no depth of elements can exhaust the stack.

#![forbid(unsafe_code)]

mod attributes;
mod canonical;
mod characters;
mod child;
mod declaration;
mod decoding;
mod element;
mod error;
mod framer;
mod header;
mod limits;
mod namespaces;
mod scanner;
mod scope;
mod span;
mod tokenizer;
mod walk;
mod writer;

pub use child::Child;
pub use element::Element;
pub use error::XmlError;
pub use header::Header;
pub use limits::Limits;
pub use namespaces::STREAMS;
pub use scanner::{Scanner, Step, Token};
pub use writer::{Writer, escape_attribute, escape_text};
