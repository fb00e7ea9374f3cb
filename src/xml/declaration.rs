//! The XML declaration at the very start of a stream (XML 1.0 §2.8, RFC 6120 §11.5 and §11.6).

use memchr::memmem;

use crate::characters::{self, SPACE};
use crate::error::XmlError;

/// A declaration needs some 60 bytes; white space may make it longer, but not without end.
const MOST_BYTES: usize = 256;

const START: &[u8] = b"<?xml";

/// What a stream begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Beginning {
    /// Too few bytes to say.
    Unclear,
    /// No declaration.
    Plain,
    /// A declaration of this many bytes.
    Declared(usize),
}

/// Looks for the declaration at the front of `input`, the first bytes of a stream.
pub(crate) fn read(input: &[u8]) -> Result<Beginning, XmlError> {
    match input.first() {
        None => return Ok(Beginning::Unclear),
        Some(b'<') => {}
        // The byte order mark of UTF-16, or half a character of it.
        Some(0x00 | 0xFE | 0xFF) => return Err(XmlError::UnsupportedEncoding),
        Some(_) => return Err(XmlError::NotWellFormed("something before the stream header")),
    }
    let common = START.iter().zip(input).take_while(|(expected, byte)| expected == byte).count();
    if common < START.len() {
        return match (common == input.len(), input.get(1)) {
            (true, _) => Ok(Beginning::Unclear),
            (false, Some(b'?')) => Err(INSTRUCTION),
            _ => Ok(Beginning::Plain),
        };
    }
    match input.get(START.len()) {
        None => return Ok(Beginning::Unclear),
        Some(byte) if characters::is(*byte, SPACE) => {}
        Some(b'?') => return Err(MALFORMED),
        Some(_) => return Err(INSTRUCTION),
    }
    let window = &input[..input.len().min(MOST_BYTES)];
    match memmem::find(window, b"?>") {
        Some(end) => {
            check(&window[START.len()..end])?;
            Ok(Beginning::Declared(end + 2))
        }
        None if window.len() == MOST_BYTES => Err(XmlError::TooBig("bytes of the xml declaration")),
        None => Ok(Beginning::Unclear),
    }
}

/// Whether it is certain that `input` does not begin with a declaration, which is too late for one (XML 1.0 §2.8).
pub(crate) fn is_absent(input: &[u8]) -> Result<bool, XmlError> {
    match read(input)? {
        Beginning::Unclear => Ok(false),
        Beginning::Plain => Ok(true),
        Beginning::Declared(_) => Err(XmlError::NotWellFormed("an xml declaration that is not at the very beginning")),
    }
}

const INSTRUCTION: XmlError = XmlError::Restricted("a processing instruction");
const MALFORMED: XmlError = XmlError::NotWellFormed("the xml declaration");

/// Checks what stands between `<?xml` and `?>`: the version, then perhaps the encoding, then perhaps `standalone`.
fn check(body: &[u8]) -> Result<(), XmlError> {
    let (version, rest) = pseudo_attribute(body, b"version")?.ok_or(MALFORMED)?;
    if version != b"1.0" {
        return Err(XmlError::NotWellFormed("another version than xml 1.0"));
    }
    let Some((encoding, rest)) = pseudo_attribute(rest, b"encoding")? else {
        // Well-formed, but who speaks of `standalone` and not of the encoding wants more of XML than we have.
        return match pseudo_attribute(rest, b"standalone")? {
            Some((b"yes" | b"no", rest)) => check_rest(rest).and(Err(XmlError::Restricted("a standalone declaration"))),
            Some(_) => Err(MALFORMED),
            None => check_rest(rest),
        };
    };
    if !encoding.eq_ignore_ascii_case(b"utf-8") {
        return Err(XmlError::UnsupportedEncoding);
    }
    let Some((standalone, rest)) = pseudo_attribute(rest, b"standalone")? else {
        return check_rest(rest);
    };
    match standalone {
        b"yes" => check_rest(rest),
        b"no" => Err(XmlError::Restricted("a document that does not stand alone")),
        _ => Err(MALFORMED),
    }
}

fn check_rest(rest: &[u8]) -> Result<(), XmlError> {
    if characters::run_of(rest, SPACE) == rest.len() { Ok(()) } else { Err(MALFORMED) }
}

type ValueAndRest<'a> = (&'a [u8], &'a [u8]);

/// Reads white space, `name`, `=` and a quoted value: the value and what follows; `None` if another name follows.
fn pseudo_attribute<'a>(body: &'a [u8], name: &[u8]) -> Result<Option<ValueAndRest<'a>>, XmlError> {
    let rest = skip_space(body);
    let Some(rest) = rest.strip_prefix(name).filter(|_| rest.len() < body.len()) else {
        return Ok(None);
    };
    let rest = skip_space(skip_space(rest).strip_prefix(b"=").ok_or(MALFORMED)?);
    let (quote, rest) = match rest.split_first() {
        Some((quote @ (b'\'' | b'"'), rest)) => (quote, rest),
        _ => return Err(MALFORMED),
    };
    let end = rest.iter().position(|byte| byte == quote).ok_or(MALFORMED)?;
    Ok(Some((&rest[..end], &rest[end + 1..])))
}

fn skip_space(bytes: &[u8]) -> &[u8] {
    &bytes[characters::run_of(bytes, SPACE)..]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn declarations_of_utf8_are_accepted() {
        let accepted = [
            "<?xml version='1.0'?>",
            "<?xml version=\"1.0\" encoding=\"utf-8\"?>",
            "<?xml\tversion = '1.0'\r\nencoding\n=\n'UTF-8' standalone='yes' ?>",
        ];
        for xml in accepted {
            assert_eq!(read(xml.as_bytes()), Ok(Beginning::Declared(xml.len())), "{xml}");
            for cut in 0..xml.len() {
                assert_eq!(read(&xml.as_bytes()[..cut]), Ok(Beginning::Unclear), "{xml} cut at {cut}");
            }
        }
        assert_eq!(read(b"<stream"), Ok(Beginning::Plain));
    }

    #[test]
    fn everything_else_is_refused() {
        let restricted = Err(INSTRUCTION);
        let cases = [
            ("<?xmlversion='1.0'?>", restricted),
            ("<?XML version='1.0'?>", restricted),
            ("<?php ?>", restricted),
            ("<?xml?>", Err(MALFORMED)),
            ("<?xml ?>", Err(MALFORMED)),
            ("<?xml encoding='utf-8'?>", Err(MALFORMED)),
            ("<?xml version='1.0'encoding='utf-8'?>", Err(MALFORMED)),
            ("<?xml version='1.0' standalone='yes'?>", Err(XmlError::Restricted("a standalone declaration"))),
            ("<?xml version='1.0' standalone='no'?>", Err(XmlError::Restricted("a standalone declaration"))),
            ("<?xml version='1.0' standalone='maybe'?>", Err(MALFORMED)),
            ("<?xml version='1.0' encoding='utf-8' encoding='utf-8'?>", Err(MALFORMED)),
            ("<?xml version='1.0\"?>", Err(MALFORMED)),
            ("<?xml version=1.0?>", Err(MALFORMED)),
            ("<?xml version'1.0'?>", Err(MALFORMED)),
            ("<?xml version='1.1'?>", Err(XmlError::NotWellFormed("another version than xml 1.0"))),
            ("<?xml version='1.0' encoding='UTF-16'?>", Err(XmlError::UnsupportedEncoding)),
            ("\u{FEFF}<?xml version='1.0'?>", Err(XmlError::NotWellFormed("something before the stream header"))),
        ];
        for (xml, expected) in cases {
            assert_eq!(read(xml.as_bytes()), expected, "{xml}");
        }
        let endless = format!("<?xml {}", " ".repeat(300));
        assert_eq!(read(endless.as_bytes()), Err(XmlError::TooBig("bytes of the xml declaration")));
    }
}
