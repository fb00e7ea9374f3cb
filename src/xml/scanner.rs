//! Bytes of a stream in, its header and first-level elements out (RFC 6120 §4, §11).

use bytes::Bytes;

use crate::characters::{self, SPACE};
use crate::declaration::{self, Beginning};
use crate::decoding;
use crate::element::Element;
use crate::error::XmlError;
use crate::framer::{Framed, Framer};
use crate::header::Header;
use crate::limits::Limits;
use crate::namespaces::{Namespace, StreamContext};
use crate::scope::{Scope, Surroundings};
use crate::tokenizer::{Event, Tokenizer};

/// What [`Scanner::next`] found at the front of its input.
#[derive(Debug)]
pub struct Step {
    /// Bytes to drop from the front. White space around elements is consumed with them, and when nothing was found.
    pub consumed: usize,
    /// What ended with them. `None`: more bytes are needed.
    pub token: Option<Token>,
}

impl Step {
    fn nothing(consumed: usize) -> Step {
        Step { consumed, token: None }
    }
}

/// A complete piece of a stream.
#[derive(Debug)]
#[allow(clippy::large_enum_variant)] // tokens are taken apart where they are made, never kept
pub enum Token {
    /// The stream header; the stream is open.
    Header(Header),
    /// A first-level element.
    Element(Element),
    /// The end tag of the root; the stream is over.
    Close,
}

/// Reads one direction of an XML stream, strictly and in pieces of any size.
///
/// It owns no copy of what it has not finished reading: the caller keeps the unconsumed bytes and shows all of them
/// again with more behind them, and the scanner goes on where it stopped. Between two elements it holds nothing but
/// what the stream header declared. An error is final: every later call returns it again.
#[derive(Debug)]
pub struct Scanner {
    limits: Limits,
    stage: Stage,
}

#[derive(Debug)]
enum Stage {
    /// Nothing has been read.
    Start,
    /// The XML declaration, if there was one, has been read; the header has not.
    Header(Option<Box<Tokenizer>>),
    /// Inside the stream, perhaps in the middle of an element.
    Open { stream: Box<OpenStream>, partial: Option<Box<Framer>> },
    /// The stream was closed.
    Closed,
    /// Something was refused.
    Failed(XmlError),
}

#[derive(Debug)]
struct OpenStream {
    /// The root's name as written.
    root: Box<[u8]>,
    context: StreamContext,
}

impl Scanner {
    /// A scanner for a new stream: it expects an XML declaration, perhaps, and then a stream header.
    pub fn new(limits: Limits) -> Scanner {
        Scanner { limits: limits.expressible(), stage: Stage::Start }
    }

    /// Changes the limits, as after authentication. They hold for an element that has already begun, too.
    pub fn set_limits(&mut self, limits: Limits) {
        self.limits = limits.expressible();
    }

    /// Forgets the stream and expects a new one (RFC 6120 §4.3.3). The caller decides what becomes of bytes it has
    /// not shown yet: before TLS they must be dropped, after SASL they belong to the new stream.
    pub fn restart(&mut self) {
        self.stage = Stage::Start;
    }

    /// Reads on. `input` is all that has been received and not been consumed.
    ///
    /// # Errors
    /// What [`XmlError`] lists. The stream is over; nothing after the error is ever read.
    #[allow(clippy::should_implement_trait)] // an iterator could not borrow its input anew each time
    pub fn next(&mut self, input: &[u8]) -> Result<Step, XmlError> {
        self.read(input).inspect_err(|error| self.stage = Stage::Failed(*error))
    }

    fn read(&mut self, input: &[u8]) -> Result<Step, XmlError> {
        let mut consumed = 0;
        match self.stage {
            Stage::Failed(error) => return Err(error),
            Stage::Start => {
                match declaration::read(input)? {
                    Beginning::Unclear => return Ok(Step::nothing(0)),
                    Beginning::Plain => {}
                    Beginning::Declared(length) => consumed = length,
                }
                self.stage = Stage::Header(None);
            }
            _ => {}
        }
        // White space never starts in the middle of anything: `partial` input begins with its `<`.
        consumed += characters::run_of(&input[consumed..], SPACE);
        let rest = &input[consumed..];
        let Some(&first) = rest.first() else { return Ok(Step::nothing(consumed)) };
        let window = &rest[..rest.len().min(self.limits.bytes)];
        let found = match &mut self.stage {
            Stage::Closed => return Err(XmlError::NotWellFormed("something behind the end of the stream")),
            _ if first != b'<' => return Err(XmlError::NotWellFormed("text between elements")),
            Stage::Start | Stage::Failed(_) => None, // left behind above
            Stage::Header(None) if !declaration::is_absent(window)? => None,
            Stage::Header(partial) => match read_header(partial, window, &self.limits)? {
                Some((length, header, stream)) => {
                    self.stage = Stage::Open { stream: Box::new(stream), partial: None };
                    Some((length, Token::Header(header)))
                }
                None => None,
            },
            Stage::Open { stream, partial } => {
                let found = read_element(stream, partial, window, &self.limits)?;
                if let Some((_, Token::Close)) = found {
                    self.stage = Stage::Closed;
                }
                found
            }
        };
        match found {
            Some((length, token)) => {
                // A newline sent behind an element must not stand before the header of a restarted stream.
                let space = characters::run_of(&rest[length..], SPACE);
                let consumed = consumed + length + space;
                Ok(Step { consumed, token: Some(token) })
            }
            None if window.len() < rest.len() => Err(XmlError::TooBig("bytes of an element")),
            None => Ok(Step::nothing(consumed)),
        }
    }
}

/// Reads on in the stream header: its length, what to report and what to remember.
fn read_header(
    partial: &mut Option<Box<Tokenizer>>,
    input: &[u8],
    limits: &Limits,
) -> Result<Option<(usize, Header, OpenStream)>, XmlError> {
    let mut tokenizer = partial.take().unwrap_or_else(|| Box::new(Tokenizer::new()));
    match tokenizer.advance(input, limits)? {
        None => {
            *partial = Some(tokenizer);
            return Ok(None);
        }
        Some(Event::StartTag { empty: false }) => {}
        Some(Event::StartTag { empty: true }) => return Err(XmlError::NotWellFormed("a stream without content")),
        Some(Event::EndTag) => return Err(XmlError::NotWellFormed("an end tag before the stream header")),
        Some(Event::Cdata(_)) => return Err(XmlError::NotWellFormed("text before the stream header")),
    }
    let length = tokenizer.position();
    let tag = &tokenizer.tag;
    let around = Surroundings { input, stream: &StreamContext::plain(Namespace::Known("")) };
    let mut scope = Scope::default();
    let opened = scope.open(tag, around, limits)?;
    let context = scope.to_stream_context(around);
    let header = Header {
        bytes: Bytes::copy_from_slice(&input[..length]),
        name: tag.name,
        attributes: tag.attributes.as_slice().into(),
        namespace: Namespace::new(decoding::as_text(scope.name(opened.namespace, around))),
        default: context.content.clone(),
    };
    let stream = OpenStream { root: tag.name.whole(input).into(), context };
    Ok(Some((length, header, stream)))
}

/// Reads on in a first-level element, or the end tag of the root.
fn read_element(
    stream: &OpenStream,
    partial: &mut Option<Box<Framer>>,
    input: &[u8],
    limits: &Limits,
) -> Result<Option<(usize, Token)>, XmlError> {
    if let Some(framer) = partial {
        let found = advance(framer, stream, input, limits)?;
        if found.is_some() {
            *partial = None;
        }
        return Ok(found);
    }
    // An element that arrives whole, as most do, never leaves the stack.
    let mut framer = Framer::new();
    let found = advance(&mut framer, stream, input, limits)?;
    if found.is_none() {
        *partial = Some(Box::new(framer));
    }
    Ok(found)
}

fn advance(
    framer: &mut Framer,
    stream: &OpenStream,
    input: &[u8],
    limits: &Limits,
) -> Result<Option<(usize, Token)>, XmlError> {
    let around = Surroundings { input, stream: &stream.context };
    match framer.advance(around, limits)? {
        Framed::Partial => Ok(None),
        Framed::Element(length) => {
            let around = Surroundings { input: &input[..length], ..around };
            Ok(Some((length, Token::Element(framer.element(around, limits)?))))
        }
        Framed::EndTag(length) if framer.end_tag_name(input) == &*stream.root => Ok(Some((length, Token::Close))),
        Framed::EndTag(_) => Err(XmlError::NotWellFormed("an end tag that does not match")),
    }
}
