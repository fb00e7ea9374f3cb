//! Templates: the XML a test sends and expects, with names and wildcards in braces.

use crate::names::Names;
use crate::tree::{Element, escape};

/// Opens and closes a wildcard in the text that is given to the parser: letters no test writes.
const OPEN: char = '\u{e000}';
const CLOSE: char = '\u{e001}';

/// The attribute that stands for "and any others".
pub(crate) const MORE_ATTRIBUTES: &str = "kit-more";

/// The flags of an element's content.
pub(crate) const MORE: &str = "…";
pub(crate) const UNORDERED: &str = "unordered";

/// A part of a pattern for an attribute or a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// Exactly this.
    Literal(String),
    /// Anything, also nothing; remembered under the name, if there is one.
    Any(Option<String>),
}

/// A piece of a template: text as it stands, or the inside of braces.
enum Piece<'a> {
    Text(&'a str),
    Braces(&'a str),
}

/// Cuts a template. Braces count when their inside looks like a placeholder; JSON in a body does not.
fn pieces(template: &str) -> Vec<Piece<'_>> {
    let mut pieces = Vec::new();
    let mut rest = template;
    let mut start = 0;
    while let Some(open) = rest[start..].find('{').map(|at| at + start) {
        let inside = rest[open + 1..].find('}').map(|length| &rest[open + 1..open + 1 + length]);
        match inside.filter(|inside| is_placeholder(inside)) {
            Some(inside) => {
                pieces.push(Piece::Text(&rest[..open]));
                pieces.push(Piece::Braces(inside));
                rest = &rest[open + inside.len() + 2..];
                start = 0;
            }
            None => start = open + 1,
        }
    }
    pieces.push(Piece::Text(rest));
    pieces
}

fn is_placeholder(inside: &str) -> bool {
    let is_sign = |sign: char| sign.is_alphanumeric() || "_-:/.@ …".contains(sign);
    !inside.is_empty() && inside.chars().all(is_sign) && !inside.starts_with(' ')
}

/// Fills in the names of a text that is sent.
///
/// # Errors
/// A name nobody has.
pub(crate) fn fill(text: &str, names: &Names) -> Result<String, String> {
    let mut filled = String::with_capacity(text.len());
    for piece in pieces(text) {
        match piece {
            Piece::Text(text) => filled.push_str(text),
            Piece::Braces(name) => filled.push_str(&escape(&look_up(name, names)?)),
        }
    }
    Ok(filled)
}

fn look_up(name: &str, names: &Names) -> Result<String, String> {
    names.get(name).ok_or_else(|| format!("nothing is named {{{name}}} here, only {}", names.known()))
}

/// Reads a template of an element that is expected.
///
/// # Errors
/// A name nobody has, or XML that is not one element.
pub(crate) fn pattern(template: &str, names: &Names) -> Result<Element, String> {
    let mut text = String::with_capacity(template.len());
    let mut place = Place::default();
    for piece in pieces(template) {
        match piece {
            Piece::Text(piece) => {
                place.pass(piece);
                text.push_str(piece);
            }
            Piece::Braces("…" | "...") if place.is_among_attributes() => {
                text.push_str(&format!(" {MORE_ATTRIBUTES}='1'"));
            }
            Piece::Braces(inside @ ("…" | "..." | "any" | "unordered")) => {
                text.push(OPEN);
                text.push_str(if inside == "..." { MORE } else { inside });
                text.push(CLOSE);
            }
            // What the archive adds for the recipient (XEP-0359 §3).
            Piece::Braces("stanza-id") => text
                .push_str(&format!("<stanza-id xmlns='urn:xmpp:sid:0' by='{OPEN}any{CLOSE}' id='{OPEN}any{CLOSE}'/>")),
            Piece::Braces(inside) => match inside.split_once(':') {
                Some(("capture", _)) => text.push_str(&format!("{OPEN}{inside}{CLOSE}")),
                Some(("error", error)) => text.push_str(&error_pattern(error)?),
                _ => text.push_str(&escape(&look_up(inside, names)?)),
            },
        }
    }
    Element::parse(&text).map_err(|problem| format!("the template cannot be read: {problem}: {template}"))
}

/// `cancel:item-not-found` becomes the `<error/>` of a stanza, whatever else the server says in it.
fn error_pattern(error: &str) -> Result<String, String> {
    let (kind, condition) = error.split_once(':').ok_or_else(|| format!("write {{error:type:{error}}}"))?;
    Ok(format!(
        "<error type='{kind}' {MORE_ATTRIBUTES}='1'><{condition} xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/>\
         {OPEN}{MORE}{CLOSE}</error>"
    ))
}

/// Where in the XML a piece of a template ends.
#[derive(Default)]
struct Place {
    in_tag: bool,
    quote: Option<char>,
}

impl Place {
    fn pass(&mut self, text: &str) {
        for sign in text.chars() {
            match (self.in_tag, self.quote, sign) {
                (true, Some(quote), sign) if sign == quote => self.quote = None,
                (true, Some(_), _) => {}
                (true, None, '\'' | '"') => self.quote = Some(sign),
                (true, None, '>') => self.in_tag = false,
                (false, _, '<') => self.in_tag = true,
                _ => {}
            }
        }
    }

    fn is_among_attributes(&self) -> bool {
        self.in_tag && self.quote.is_none()
    }
}

/// Takes the wildcards of a value apart.
pub(crate) fn parts(value: &str) -> Vec<Part> {
    let mut parts = Vec::new();
    let mut rest = value;
    while let Some((before, after)) = rest.split_once(OPEN) {
        let Some((inside, behind)) = after.split_once(CLOSE) else { break };
        if !before.is_empty() {
            parts.push(Part::Literal(before.to_owned()));
        }
        parts.push(Part::Any(inside.strip_prefix("capture:").map(str::to_owned)));
        rest = behind;
    }
    if !rest.is_empty() {
        parts.push(Part::Literal(rest.to_owned()));
    }
    parts
}

/// Takes a flag out of the text of an element; whether it was there.
pub(crate) fn take_flag(text: &mut String, flag: &str) -> bool {
    let written = format!("{OPEN}{flag}{CLOSE}");
    let found = text.contains(&written);
    *text = text.replace(&written, "");
    found
}

/// A pattern as a person would write it.
pub(crate) fn shown(pattern: &Element) -> String {
    pattern.to_string().replace(OPEN, "{").replace(CLOSE, "}").replace(&format!("{MORE_ATTRIBUTES}='1'"), "{…}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names() -> Names {
        let names = Names::default();
        names.set("romeo", "romeo-1@a.b");
        names.set("odd", "<&'\">");
        names
    }

    #[test]
    fn names_are_filled_in_and_escaped() {
        let filled = fill("<x to='{romeo}' from='{romeo/orchard}'>{odd} {\"json\": 1} { }</x>", &names()).unwrap();
        let expected = "<x to='romeo-1@a.b' from='romeo-1@a.b/orchard'>&lt;&amp;&apos;&quot;&gt; {\"json\": 1} { }</x>";
        assert_eq!(filled, expected);
        assert!(fill("<x to='{juliet}'/>", &names()).unwrap_err().contains("{juliet}"));
        assert!(fill("<x to='{any}'/>", &names()).is_err(), "a wildcard cannot be sent");
    }

    #[test]
    fn wildcards_know_where_they_stand() {
        let pattern = pattern("<a id='{any}-{capture:id}' {…}><b>{...}</b>{unordered}</a>", &names()).unwrap();
        let (any, id) = (Part::Any(None), Part::Any(Some("id".to_owned())));
        assert_eq!(parts(pattern.attribute("id").unwrap()), [any, Part::Literal("-".to_owned()), id]);
        assert!(pattern.attribute(MORE_ATTRIBUTES).is_some());
        let mut text = pattern.child("b").unwrap().text();
        assert!(take_flag(&mut text, MORE) && text.is_empty());
        assert_eq!(shown(&pattern), "<a id='{any}-{capture:id}' {…}><b>{…}</b>{unordered}</a>");
    }

    #[test]
    fn an_error_is_written_short() {
        let pattern = pattern("<iq>{error:cancel:item-not-found}</iq>", &names()).unwrap();
        let error = pattern.child("error").unwrap();
        assert_eq!(error.attribute("type"), Some("cancel"));
        assert!(error.child_in("urn:ietf:params:xml:ns:xmpp-stanzas", "item-not-found").is_some());
    }
}
