//! Reads what the server sends, as it arrives: stream headers, first-level elements, the closing tag.

use rxml::error::EndOrError;
use rxml::{Event, Options, Parse, Parser, WithOptions};

use crate::tree::Element;

/// The largest attribute or text a test can receive, in bytes.
const LARGEST_TOKEN: usize = 16 * 1024 * 1024;

/// What a stream is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Item {
    /// The start tag of the stream.
    Header(Element),
    /// A complete first-level element.
    Element(Element),
    /// The closing tag of the stream.
    Close,
}

/// A reader of one stream; a restarted stream has a new one.
pub(crate) struct StreamReader {
    parser: Parser,
    /// Elements that are open below the stream, the outermost first.
    open: Vec<Element>,
    has_begun: bool,
    is_over: bool,
}

impl StreamReader {
    pub(crate) fn new() -> StreamReader {
        let options = Options { max_token_length: LARGEST_TOKEN, ..Options::default() };
        StreamReader { parser: Parser::with_options(options), open: Vec::new(), has_begun: false, is_over: false }
    }

    /// Takes bytes and gives back what they complete.
    ///
    /// # Errors
    /// What the server has sent that it must not.
    pub(crate) fn feed(&mut self, mut bytes: &[u8]) -> Result<Vec<Item>, String> {
        let mut items = Vec::new();
        while !bytes.is_empty() {
            if self.is_over {
                return Err(format!("bytes after the closing tag: {}", String::from_utf8_lossy(bytes)));
            }
            match self.parser.parse(&mut bytes, false) {
                Ok(Some(event)) => self.take(event, &mut items)?,
                Ok(None) | Err(EndOrError::NeedMoreData) => break,
                Err(EndOrError::Error(error)) => return Err(format!("not an XML stream: {error}")),
            }
        }
        // An element without content ends with an event that costs no bytes.
        while !self.is_over {
            match self.parser.parse(&mut &b""[..], false) {
                Ok(Some(event)) => self.take(event, &mut items)?,
                Ok(None) | Err(EndOrError::NeedMoreData) => break,
                Err(EndOrError::Error(error)) => return Err(format!("not an XML stream: {error}")),
            }
        }
        Ok(items)
    }

    fn take(&mut self, event: Event, items: &mut Vec<Item>) -> Result<(), String> {
        match event {
            Event::XmlDeclaration(..) => {}
            Event::StartElement(_, (namespace, name), attributes) => {
                let mut element =
                    Element { namespace: namespace.to_string(), name: name.to_string(), ..Element::default() };
                for ((namespace, name), value) in attributes {
                    element.attributes.insert((namespace.to_string(), name.to_string()), value);
                }
                if self.has_begun {
                    self.open.push(element);
                } else {
                    self.has_begun = true;
                    items.push(Item::Header(element));
                }
            }
            Event::EndElement(_) => match self.open.pop() {
                None => {
                    self.is_over = true;
                    items.push(Item::Close);
                }
                Some(element) => match self.open.last_mut() {
                    Some(parent) => parent.children.push(crate::tree::Node::Element(element)),
                    None => items.push(Item::Element(element)),
                },
            },
            Event::Text(_, text) => match self.open.last_mut() {
                Some(parent) if !text.is_empty() => parent.push_text(&text),
                Some(_) => {}
                None if text.trim_ascii().is_empty() => {}
                None => return Err(format!("text between the elements of the stream: {text}")),
            },
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STREAM: &str = "<?xml version='1.0'?><stream:stream xmlns='jabber:client' id='1' \
                          xmlns:stream='http://etherx.jabber.org/streams'>";

    fn fed(pieces: impl IntoIterator<Item = String>) -> Result<Vec<Item>, String> {
        let mut reader = StreamReader::new();
        let mut items = Vec::new();
        for piece in pieces {
            items.extend(reader.feed(piece.as_bytes())?);
        }
        Ok(items)
    }

    #[test]
    fn pieces_do_not_matter() {
        let text = format!("{STREAM}<a/><b>x<c/>y</b> \n<stream:error/></stream:stream>");
        let whole = fed([text.clone()]).unwrap();
        assert_eq!(whole.len(), 5);
        assert!(matches!(&whole[0], Item::Header(header) if header.attribute("id") == Some("1")));
        assert!(matches!(&whole[2], Item::Element(element) if element.to_string() == "<b>x<c/>y</b>"));
        assert_eq!(whole[4], Item::Close);
        assert_eq!(fed(text.chars().map(String::from)).unwrap(), whole);
    }

    #[test]
    fn an_element_is_there_with_its_last_byte() {
        let mut reader = StreamReader::new();
        assert_eq!(reader.feed(STREAM.as_bytes()).unwrap().len(), 1);
        assert_eq!(reader.feed(b"<a/>").unwrap().len(), 1);
        assert_eq!(reader.feed(b"<a></a").unwrap().len(), 0);
        assert_eq!(reader.feed(b">").unwrap().len(), 1);
        assert_eq!(reader.feed(b"</stream:stream>").unwrap(), [Item::Close]);
        assert!(reader.feed(b"<a/>").is_err());
    }

    #[test]
    fn what_a_server_must_not_send_is_an_error() {
        for bad in ["text", "<!-- x -->", "<?x y?>", "<a", "<a b='1' b='2'/>", "<x:y/>", "&foo;", "</other>"] {
            let result = fed([format!("{STREAM}{bad}<z/>")]);
            assert!(result.is_err() || bad == "<a", "{bad}");
        }
        assert!(fed([format!("\u{feff}{STREAM}")]).is_err());
    }
}
