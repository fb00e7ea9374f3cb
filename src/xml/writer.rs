//! Writes well-formed XML (XML 1.0 §2.4, §3.3.3) without a tree: for stanzas, errors and features of our own making.

use bytes::Bytes;
use smallvec::SmallVec;

use crate::characters;

/// Appends `text` as character data: `&`, `<` and `>` become entities, a carriage return a reference.
///
/// What XML cannot carry at all (most control characters) becomes U+FFFD, so that the result is well-formed whatever
/// the text is.
pub fn escape_text(out: &mut Vec<u8>, text: &str) {
    push_escaped(out, text, |character| match character {
        '&' => Some("&amp;"),
        '<' => Some("&lt;"),
        '>' => Some("&gt;"),
        '\r' => Some("&#13;"),
        _ => replacement(character),
    });
}

/// Appends `value` as it stands in an attribute between single quotes: like [`escape_text`], and tabs and line ends as
/// references, which keeps them from becoming spaces.
pub fn escape_attribute(out: &mut Vec<u8>, value: &str) {
    push_escaped(out, value, |character| match character {
        '&' => Some("&amp;"),
        '<' => Some("&lt;"),
        '>' => Some("&gt;"),
        '\'' => Some("&apos;"),
        '\t' => Some("&#9;"),
        '\n' => Some("&#10;"),
        '\r' => Some("&#13;"),
        _ => replacement(character),
    });
}

fn replacement(character: char) -> Option<&'static str> {
    if characters::is_char(character as u32) { None } else { Some("\u{FFFD}") }
}

/// Appends `text`, with those characters replaced for which `escape` has something else.
pub(crate) fn push_escaped(out: &mut Vec<u8>, text: &str, escape: impl Fn(char) -> Option<&'static str>) {
    let mut plain = 0;
    for (at, character) in text.char_indices() {
        if let Some(escaped) = escape(character) {
            out.extend_from_slice(&text.as_bytes()[plain..at]);
            out.extend_from_slice(escaped.as_bytes());
            plain = at + character.len_utf8();
        }
    }
    out.extend_from_slice(&text.as_bytes()[plain..]);
}

/// Builds XML into one buffer. Values are escaped; names are the caller's and must be names.
///
/// ```
/// # use waxwing_xml::Writer;
/// let bytes = Writer::new()
///     .open("iq").attribute("type", "result").optional_attribute("to", None).attribute("id", "a'b")
///     .open("ping").attribute("xmlns", "urn:xmpp:ping").close()
///     .finish();
/// assert_eq!(bytes, "<iq type='result' id='a&apos;b'><ping xmlns='urn:xmpp:ping'/></iq>");
/// ```
#[derive(Debug, Default)]
pub struct Writer {
    out: Vec<u8>,
    /// Where the names of the open elements stand in `out`.
    open: SmallVec<[(usize, usize); 8]>,
    /// Whether the last start tag still lacks its `>`.
    in_tag: bool,
}

impl Writer {
    /// An empty writer.
    pub fn new() -> Writer {
        Writer::default()
    }

    /// An empty writer with room for `bytes`.
    pub fn with_capacity(bytes: usize) -> Writer {
        Writer { out: Vec::with_capacity(bytes), ..Writer::default() }
    }

    /// Opens an element.
    pub fn open(&mut self, name: &str) -> &mut Writer {
        debug_assert!(is_name(name), "not a tag name: {name:?}");
        self.end_start_tag();
        self.out.push(b'<');
        let start = self.out.len();
        self.out.extend_from_slice(name.as_bytes());
        self.open.push((start, self.out.len()));
        self.in_tag = true;
        self
    }

    /// Adds an attribute (or a namespace declaration) to the element just opened. Behind content it would not be
    /// well-formed: there it is left out, and a debug build panics.
    pub fn attribute(&mut self, name: &str, value: &str) -> &mut Writer {
        debug_assert!(is_name(name), "not an attribute name: {name:?}");
        debug_assert!(self.in_tag, "attribute {name:?} behind the start tag");
        if self.in_tag {
            self.out.push(b' ');
            self.out.extend_from_slice(name.as_bytes());
            self.out.extend_from_slice(b"='");
            escape_attribute(&mut self.out, value);
            self.out.push(b'\'');
        }
        self
    }

    /// Adds an attribute if there is a value for it.
    pub fn optional_attribute(&mut self, name: &str, value: Option<&str>) -> &mut Writer {
        match value {
            Some(value) => self.attribute(name, value),
            None => self,
        }
    }

    /// Adds character data to the open element.
    pub fn text(&mut self, text: &str) -> &mut Writer {
        if !text.is_empty() {
            self.end_start_tag();
            escape_text(&mut self.out, text);
        }
        self
    }

    /// Adds content that is XML already, such as [`Element::content`](crate::Element::content).
    pub fn raw(&mut self, xml: &[u8]) -> &mut Writer {
        if !xml.is_empty() {
            self.end_start_tag();
            self.out.extend_from_slice(xml);
        }
        self
    }

    /// Closes the element opened last; one without content becomes `<a/>`.
    pub fn close(&mut self) -> &mut Writer {
        let Some((start, end)) = self.open.pop() else {
            return self;
        };
        if self.in_tag {
            self.out.extend_from_slice(b"/>");
            self.in_tag = false;
        } else {
            self.out.extend_from_slice(b"</");
            self.out.extend_from_within(start..end);
            self.out.push(b'>');
        }
        self
    }

    /// Closes what is still open and hands over the bytes; the writer is empty again.
    pub fn finish(&mut self) -> Bytes {
        while !self.open.is_empty() {
            self.close();
        }
        Bytes::from(std::mem::take(&mut self.out))
    }

    fn end_start_tag(&mut self) {
        if self.in_tag {
            self.out.push(b'>');
            self.in_tag = false;
        }
    }
}

/// Whether `name` looks like a name, as far as a debug build cares: no white space, quotes or markup.
fn is_name(name: &str) -> bool {
    let part = |part: &str| {
        let first = part.bytes().next().is_some_and(|byte| !byte.is_ascii_digit());
        first && part.bytes().all(|byte| byte >= 0x80 || characters::is(byte, characters::NAME))
    };
    name.splitn(2, ':').all(part)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn escaped(escape: impl Fn(&mut Vec<u8>, &str), text: &str) -> String {
        let mut out = Vec::new();
        escape(&mut out, text);
        String::from_utf8(out).expect("escaping keeps utf-8")
    }

    #[test]
    fn text_keeps_its_line_ends_and_loses_what_xml_cannot_carry() {
        assert_eq!(escaped(escape_text, "a<b>&'\"\t\n\r]]>"), "a&lt;b&gt;&amp;'\"\t\n&#13;]]&gt;");
        assert_eq!(escaped(escape_text, "\0\u{1}é\u{FFFE}\u{1F600}"), "\u{FFFD}\u{FFFD}é\u{FFFD}\u{1F600}");
    }

    #[test]
    fn an_attribute_keeps_its_tabs_and_line_ends() {
        assert_eq!(escaped(escape_attribute, "a'b\"\t\n\r<>&\u{7}"), "a&apos;b\"&#9;&#10;&#13;&lt;&gt;&amp;\u{FFFD}");
    }

    #[test]
    fn elements_close_as_they_were_opened() {
        let bytes = Writer::with_capacity(64)
            .open("a")
            .open("stream:b")
            .text("")
            .close()
            .raw(b"<c/>")
            .open("d")
            .text("x & y")
            .finish();
        assert_eq!(bytes, "<a><stream:b/><c/><d>x &amp; y</d></a>");
    }

    #[test]
    fn closing_more_than_was_opened_changes_nothing() {
        assert_eq!(Writer::new().close().open("a").close().close().finish(), "<a/>");
    }
}
