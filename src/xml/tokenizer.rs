//! The state machine that cuts bytes into tags (XML 1.0 §2 and §3), resumable after any byte.
//!
//! It sees one first-level element (or the stream header) from its `<` on and knows nothing of nesting or namespaces.
//! Between two calls it remembers where it stopped, so no byte is looked at twice, except for the few of a reference
//! or a UTF-8 sequence that was cut off.

use smallvec::SmallVec;

use crate::attributes::Attribute;
use crate::characters::{self, NAME, NAME_START, SPACE, TEXT_STOP, VALUE_STOP};
use crate::decoding;
use crate::error::XmlError;
use crate::limits::Limits;
use crate::span::{QualifiedName, Span};

/// What the tokenizer has read completely.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// A start tag, now in [`Tokenizer::tag`]; `empty` for `<a/>`.
    StartTag { empty: bool },
    /// An end tag; only the name in [`Tokenizer::tag`] counts.
    EndTag,
    /// A CDATA section with this content.
    Cdata(Span),
}

/// The tag read last, or being read.
#[derive(Debug, Default)]
pub(crate) struct Tag {
    pub name: QualifiedName,
    pub attributes: SmallVec<[Attribute; 8]>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// In character data; also before the first `<`.
    Text,
    /// After `<`.
    MarkupStart,
    /// After `<!`: nothing but `<![CDATA[` may follow.
    CdataStart,
    /// After `<![CDATA[`.
    Cdata,
    /// In the name of a start tag.
    StartTagName,
    /// Behind a tag's name or an attribute, where only white space, `/` or `>` may follow.
    AfterToken,
    /// Behind white space in a start tag: an attribute, `/` or `>`.
    BeforeAttribute,
    /// In an attribute's name.
    AttributeName,
    /// Behind it, before `=`.
    BeforeEquals,
    /// Behind `=`, before the quote.
    BeforeValue,
    /// Between the quotes.
    Value { quote: u8 },
    /// After the `/` of an empty element.
    EmptyTagEnd,
    /// In the name of an end tag.
    EndTagName,
    /// Behind it, before `>`.
    BeforeEndTagEnd,
}

/// See the [module](self).
#[derive(Debug)]
pub(crate) struct Tokenizer {
    state: State,
    /// The next byte to look at.
    position: usize,
    /// The `<` of the markup read last.
    markup: usize,
    /// Where the name or value being read begins.
    token: usize,
    /// The colon of the name being read, if one was seen.
    colon: Option<usize>,
    /// The attribute whose value is being read.
    attribute: QualifiedName,
    /// The tag read last.
    pub tag: Tag,
}

impl Tokenizer {
    pub fn new() -> Tokenizer {
        Tokenizer {
            state: State::Text,
            position: 0,
            markup: 0,
            token: 0,
            colon: None,
            attribute: QualifiedName::default(),
            tag: Tag::default(),
        }
    }

    /// Where the markup of the last event begins.
    pub fn markup(&self) -> usize {
        self.markup
    }

    /// Where the last event ends.
    pub fn position(&self) -> usize {
        self.position
    }

    /// Reads on, up to the next event; `None` at the end of `input`, which on the next call must begin with the same
    /// bytes.
    pub fn advance(&mut self, input: &[u8], limits: &Limits) -> Result<Option<Event>, XmlError> {
        // Every state needs a byte to go on.
        while let Some(&byte) = input.get(self.position) {
            match self.state {
                State::Text => {
                    if !self.read_text(input)? {
                        break;
                    }
                    self.markup = self.position;
                    self.step(State::MarkupStart);
                }
                State::MarkupStart => self.start_markup(byte)?,
                State::CdataStart => {
                    if !self.start_cdata(input)? {
                        break;
                    }
                    self.state = State::Cdata;
                }
                State::Cdata => {
                    if !self.read_cdata(input)? {
                        break;
                    }
                    self.state = State::Text;
                    return Ok(Some(Event::Cdata(Span::new(self.token, self.position - CDATA_END.len()))));
                }
                State::StartTagName => {
                    let Some(name) = self.read_name(input, limits)? else {
                        break;
                    };
                    self.tag.name = name;
                    self.tag.attributes.clear();
                    self.state = State::AfterToken;
                }
                State::AfterToken => match byte {
                    b'>' => return Ok(Some(self.end_tag(Event::StartTag { empty: false }))),
                    b'/' => self.step(State::EmptyTagEnd),
                    _ if characters::is(byte, SPACE) => self.step(State::BeforeAttribute),
                    _ => return Err(XmlError::NotWellFormed("no white space before an attribute")),
                },
                State::BeforeAttribute => match byte {
                    b'>' => return Ok(Some(self.end_tag(Event::StartTag { empty: false }))),
                    b'/' => self.step(State::EmptyTagEnd),
                    _ if characters::is(byte, SPACE) => self.skip_space(input),
                    _ => self.start_name(byte, State::AttributeName)?,
                },
                State::EmptyTagEnd => match byte {
                    b'>' => return Ok(Some(self.end_tag(Event::StartTag { empty: true }))),
                    _ => return Err(XmlError::NotWellFormed("a slash inside a tag")),
                },
                State::AttributeName => {
                    let Some(name) = self.read_name(input, limits)? else {
                        break;
                    };
                    self.attribute = name;
                    self.state = State::BeforeEquals;
                }
                State::BeforeEquals => match byte {
                    b'=' => self.step(State::BeforeValue),
                    _ if characters::is(byte, SPACE) => self.skip_space(input),
                    _ => return Err(XmlError::NotWellFormed("an attribute without a value")),
                },
                State::BeforeValue => match byte {
                    b'\'' | b'"' => {
                        self.step(State::Value { quote: byte });
                        self.token = self.position;
                    }
                    _ if characters::is(byte, SPACE) => self.skip_space(input),
                    _ => return Err(XmlError::NotWellFormed("an attribute value without quotes")),
                },
                State::Value { quote } => {
                    if !self.read_value(input, quote)? {
                        break;
                    }
                    if self.tag.attributes.len() >= limits.attributes {
                        return Err(XmlError::TooBig("attributes of an element"));
                    }
                    let value = Span::new(self.token, self.position);
                    self.tag.attributes.push(Attribute { name: self.attribute, value });
                    self.step(State::AfterToken);
                }
                State::EndTagName => {
                    let Some(name) = self.read_name(input, limits)? else {
                        break;
                    };
                    self.tag.name = name;
                    self.state = State::BeforeEndTagEnd;
                }
                State::BeforeEndTagEnd => match byte {
                    b'>' => return Ok(Some(self.end_tag(Event::EndTag))),
                    _ if characters::is(byte, SPACE) => self.skip_space(input),
                    _ => return Err(XmlError::NotWellFormed("an end tag with more than a name")),
                },
            }
        }
        Ok(None)
    }

    /// Steps over one byte.
    fn step(&mut self, state: State) {
        self.position += 1;
        self.state = state;
    }

    /// Steps over the `>` of a tag.
    fn end_tag(&mut self, event: Event) -> Event {
        self.step(State::Text);
        event
    }

    fn skip_space(&mut self, input: &[u8]) {
        self.position += characters::run_of(&input[self.position..], SPACE);
    }

    /// Decides by the byte after `<`.
    fn start_markup(&mut self, byte: u8) -> Result<(), XmlError> {
        match byte {
            b'/' => {
                self.step(State::EndTagName);
                self.token = self.position;
                self.colon = None;
                Ok(())
            }
            b'!' => {
                self.state = State::CdataStart;
                Ok(())
            }
            b'?' => Err(XmlError::Restricted("a processing instruction")),
            _ => self.start_name(byte, State::StartTagName),
        }
    }

    /// Compares what follows `<` with `<![CDATA[`; whether it was read completely.
    fn start_cdata(&mut self, input: &[u8]) -> Result<bool, XmlError> {
        let seen = &input[self.markup..input.len().min(self.markup + CDATA_START.len())];
        if !CDATA_START.starts_with(seen) {
            return Err(match seen {
                [b'<', b'!', b'-', ..] => XmlError::Restricted("a comment"),
                [b'<', b'!', b'[', ..] => XmlError::NotWellFormed("a misspelt cdata section"),
                _ => XmlError::Restricted("a document type declaration"),
            });
        }
        self.position = self.markup + seen.len();
        self.token = self.position;
        Ok(seen.len() == CDATA_START.len())
    }

    /// Begins a name with `byte`.
    fn start_name(&mut self, byte: u8, state: State) -> Result<(), XmlError> {
        if !begins_name(Some(&byte)) {
            return Err(WRONG_START);
        }
        self.token = self.position;
        self.colon = None;
        self.state = state;
        Ok(())
    }

    /// Reads on in a name; `None` at the end of `input`.
    fn read_name(&mut self, input: &[u8], limits: &Limits) -> Result<Option<QualifiedName>, XmlError> {
        loop {
            self.position += characters::run_of(&input[self.position..], NAME);
            if self.position - self.token > limits.name_bytes {
                return Err(XmlError::TooBig("a name"));
            }
            match input.get(self.position) {
                Some(b':') => {
                    if self.colon.is_some() {
                        return Err(XmlError::NotWellFormed("a name with two colons"));
                    }
                    self.colon = Some(self.position);
                    self.position += 1;
                }
                Some(0x80..) => match characters::decode(&input[self.position..])? {
                    Some((code, length)) if characters::is_name_letter(code) => self.position += length,
                    Some(_) => return Err(XmlError::NotWellFormed("a name with a wrong character")),
                    None => return Ok(None),
                },
                Some(_) => break,
                None => return Ok(None),
            }
        }
        let local = self.colon.map_or(self.token, |colon| colon + 1);
        let name = &input[..self.position];
        if !begins_name(name.get(self.token)) || !begins_name(name.get(local)) {
            return Err(WRONG_START);
        }
        Ok(Some(QualifiedName::new(self.token, self.position, self.colon)))
    }

    /// Reads character data; whether it ended with `<`, which is not consumed.
    fn read_text(&mut self, input: &[u8]) -> Result<bool, XmlError> {
        loop {
            self.position += characters::run_until(&input[self.position..], TEXT_STOP);
            let rest = &input[self.position..];
            match rest.first() {
                None => return Ok(false),
                Some(b'<') => return Ok(true),
                Some(b'&') => match decoding::reference(rest)? {
                    Some((_, length)) => self.position += length,
                    None => return Ok(false),
                },
                Some(b'>') => {
                    if input[..self.position].ends_with(b"]]") {
                        return Err(XmlError::NotWellFormed("the end of a cdata section in text"));
                    }
                    self.position += 1;
                }
                Some(0x80..) => match characters::decode(rest)? {
                    Some((_, length)) => self.position += length,
                    None => return Ok(false),
                },
                Some(_) => return Err(characters::FORBIDDEN),
            }
        }
    }

    /// Reads a CDATA section; whether it was read with its end.
    fn read_cdata(&mut self, input: &[u8]) -> Result<bool, XmlError> {
        loop {
            self.position += characters::run_until(&input[self.position..], TEXT_STOP);
            let rest = &input[self.position..];
            match rest.first() {
                None => return Ok(false),
                Some(b'<' | b'&') => self.position += 1,
                Some(b'>') => {
                    self.position += 1;
                    // The section's own start ends with `[`, so these two brackets stand inside it.
                    if input[..self.position].ends_with(CDATA_END) {
                        return Ok(true);
                    }
                }
                Some(0x80..) => match characters::decode(rest)? {
                    Some((_, length)) => self.position += length,
                    None => return Ok(false),
                },
                Some(_) => return Err(characters::FORBIDDEN),
            }
        }
    }

    /// Reads an attribute's value; whether it ended with its quote, which is not consumed.
    fn read_value(&mut self, input: &[u8], quote: u8) -> Result<bool, XmlError> {
        loop {
            self.position += characters::run_until(&input[self.position..], VALUE_STOP);
            let rest = &input[self.position..];
            match rest.first() {
                None => return Ok(false),
                Some(&byte) if byte == quote => return Ok(true),
                Some(b'\'' | b'"') => self.position += 1,
                Some(b'&') => match decoding::reference(rest)? {
                    Some((_, length)) => self.position += length,
                    None => return Ok(false),
                },
                Some(b'<') => return Err(XmlError::NotWellFormed("a < in an attribute value")),
                // A lone carriage return is allowed by the letter, written by no one, and read differently by two
                // parsers: the differential test found it.
                Some(b'\r') => match rest.get(1) {
                    Some(b'\n') => self.position += 2,
                    Some(_) => return Err(XmlError::NotWellFormed("a carriage return in an attribute value")),
                    None => return Ok(false),
                },
                Some(0x80..) => match characters::decode(rest)? {
                    Some((_, length)) => self.position += length,
                    None => return Ok(false),
                },
                Some(_) => return Err(characters::FORBIDDEN),
            }
        }
    }
}

const CDATA_START: &[u8] = b"<![CDATA[";
const CDATA_END: &[u8] = b"]]>";
const WRONG_START: XmlError = XmlError::NotWellFormed("a name begins with a wrong character");

/// Whether `byte` begins a name, or the part of one behind the colon. Beyond ASCII every character of a name may.
fn begins_name(byte: Option<&u8>) -> bool {
    byte.is_some_and(|byte| *byte >= 0x80 || characters::is(*byte, NAME_START))
}
