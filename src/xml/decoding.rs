//! What stands in the bytes and what it means: references (XML 1.0 §4.1), line ends (§2.11), attribute values (§3.3.3).

use std::borrow::Cow;

use memchr::{memchr, memchr2, memchr3};

use crate::characters::{self, FORBIDDEN, NAME};
use crate::error::XmlError;

/// The longest thing between `&` and `;`: eight digits are enough for every character, with two zeros to spare.
const REFERENCE_BYTES: usize = 8;

/// Reads the reference at the front of `bytes`, which is an ampersand: the character it stands for and its length.
/// `None` if it is cut off.
///
/// # Errors
/// Entities other than the five predefined ones are restricted; everything else that is no reference is not
/// well-formed. Both are seen at the first byte that gives them away.
pub(crate) fn reference(bytes: &[u8]) -> Result<Option<(char, usize)>, XmlError> {
    let body = bytes.get(1..).unwrap_or_default();
    let marks = usize::from(body.first() == Some(&b'#'));
    let length = marks + characters::run_of(&body[marks..], NAME);
    if length > REFERENCE_BYTES + 2 * marks {
        return Err(if marks == 0 { UNDECLARED } else { XmlError::NotWellFormed("a character reference too long") });
    }
    match body.get(length) {
        None => return Ok(None),
        Some(b';') => {}
        Some(_) => return Err(XmlError::NotWellFormed("an ampersand that begins no reference")),
    }
    let character = match &body[..length] {
        b"amp" => '&',
        b"lt" => '<',
        b"gt" => '>',
        b"apos" => '\'',
        b"quot" => '"',
        [b'#', b'x', digits @ ..] => numbered(digits, 16)?,
        [b'#', digits @ ..] => numbered(digits, 10)?,
        b"" => return Err(XmlError::NotWellFormed("an empty reference")),
        _ => return Err(UNDECLARED),
    };
    Ok(Some((character, length + 2)))
}

const UNDECLARED: XmlError = XmlError::Restricted("an entity that is not predefined");

fn numbered(digits: &[u8], radix: u32) -> Result<char, XmlError> {
    if digits.is_empty() || digits.len() > REFERENCE_BYTES {
        return Err(XmlError::NotWellFormed("a character reference of a wrong length"));
    }
    let mut code = 0;
    for digit in digits {
        let digit = char::from(*digit).to_digit(radix);
        // Eight hexadecimal digits fill 32 bits exactly, so this cannot overflow.
        code = code * radix + digit.ok_or(XmlError::NotWellFormed("a character reference with a wrong digit"))?;
    }
    char::from_u32(code).filter(|_| characters::is_char(code)).ok_or(FORBIDDEN)
}

/// Bytes that were validated as UTF-8 before.
pub(crate) fn as_text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap_or_default()
}

/// The value of validated character data: references resolved, every line end a single `\n`.
pub(crate) fn text(raw: &[u8]) -> Cow<'_, str> {
    decode(raw, '\n', |rest| memchr2(b'&', b'\r', rest))
}

/// Validated character data with every line end a single `\n`; its references stay.
pub(crate) fn line_ends(raw: &[u8]) -> Cow<'_, str> {
    decode(raw, '\n', |rest| memchr(b'\r', rest))
}

/// The value of a validated attribute: references resolved, every white space character and line end a space.
pub(crate) fn attribute(raw: &[u8]) -> Cow<'_, str> {
    decode(raw, ' ', |rest| {
        let stop = memchr3(b'&', b'\r', b'\n', rest);
        memchr(b'\t', &rest[..stop.unwrap_or(rest.len())]).or(stop)
    })
}

/// Replaces what `find` finds: references by their character, everything else (line ends, tabs) by `blank`.
fn decode(raw: &[u8], blank: char, find: impl Fn(&[u8]) -> Option<usize>) -> Cow<'_, str> {
    let Some(first) = find(raw) else {
        return Cow::Borrowed(as_text(raw));
    };
    let mut value = String::with_capacity(raw.len());
    let mut rest = raw;
    let mut next = Some(first);
    while let Some(at) = next {
        value.push_str(as_text(&rest[..at]));
        let (character, length) = match &rest[at..] {
            [b'&', ..] => reference(&rest[at..]).ok().flatten().unwrap_or(('&', 1)),
            [b'\r', b'\n', ..] => (blank, 2),
            _ => (blank, 1),
        };
        value.push(character);
        rest = &rest[at + length..];
        next = find(rest);
    }
    value.push_str(as_text(rest));
    Cow::Owned(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_read_as_soon_as_they_are_complete() {
        assert_eq!(reference(b"&amp;x"), Ok(Some(('&', 5))));
        assert_eq!(reference(b"&#x41;"), Ok(Some(('A', 6))));
        assert_eq!(reference(b"&#00000065;"), Ok(Some(('A', 11))));
        for cut in 1..6 {
            assert_eq!(reference(&b"&quot;"[..cut]), Ok(None));
        }
    }

    #[test]
    fn what_is_no_reference_is_refused_at_the_first_wrong_byte() {
        let wrong: [&[u8]; 12] = [
            b"&<",
            b"& ",
            b"&;",
            b"&#;",
            b"&#x;",
            b"&#X41;",
            b"&#0;",
            b"&#xD800;",
            b"&#x110000;",
            b"&#xFFFE;",
            b"&#000000065;",
            b"&#x1F", // the last is only cut off
        ];
        for (index, bytes) in wrong.iter().enumerate() {
            let refused = matches!(reference(bytes), Err(XmlError::NotWellFormed(_)));
            assert_eq!(refused, index < 11, "{}", String::from_utf8_lossy(bytes));
        }
        assert_eq!(reference(b"&foo;"), Err(UNDECLARED));
        assert_eq!(reference(b"&averyverylongname"), Err(UNDECLARED));
    }

    #[test]
    fn line_ends_and_white_space_are_normalised() {
        assert_eq!(text(b"a\r\nb\rc\nd\te&#13;f"), "a\nb\nc\nd\te\rf");
        assert_eq!(attribute(b"a\r\nb\tc\nd&#10;e&amp;"), "a b c d\ne&");
        assert!(matches!(text(b"plain"), Cow::Borrowed("plain")));
        assert!(matches!(attribute(b"plain text"), Cow::Borrowed("plain text")));
    }
}
