//! Which characters stand where in XML 1.0 (fifth edition, §2.2 and §2.3), and their UTF-8.

use crate::error::XmlError;

/// Part of a name: letters, digits, `-`, `.`, `_`. The colon is left to the reader of names.
pub(crate) const NAME: u8 = 1;
/// May begin a name.
pub(crate) const NAME_START: u8 = 1 << 1;
/// Ends a run of plain character data.
pub(crate) const TEXT_STOP: u8 = 1 << 2;
/// Ends a run of plain attribute value.
pub(crate) const VALUE_STOP: u8 = 1 << 3;
/// The four white space characters of XML.
pub(crate) const SPACE: u8 = 1 << 4;
/// May stand in a namespace name.
pub(crate) const NAMESPACE: u8 = 1 << 5;

static CLASSES: [u8; 256] = classes();

const fn classes() -> [u8; 256] {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        table[byte] = class_of(byte as u8);
        byte += 1;
    }
    table
}

const fn class_of(byte: u8) -> u8 {
    match byte {
        b'A'..=b'Z' | b'a'..=b'z' => NAME | NAME_START | NAMESPACE,
        b'_' => NAME | NAME_START | NAMESPACE,
        b'0'..=b'9' | b'-' | b'.' => NAME | NAMESPACE,
        b' ' | b'\t' | b'\n' => SPACE,
        b'\r' => SPACE | VALUE_STOP,
        b'\'' | b'"' => VALUE_STOP,
        b'<' | b'&' => TEXT_STOP | VALUE_STOP,
        b'>' => TEXT_STOP,
        0..=0x1F | 0x80..=0xFF => TEXT_STOP | VALUE_STOP,
        // RFC 3986 without `&` and `'`: a namespace name is the same bytes in a table, in memory and between quotes.
        b'~' | b':' | b'/' | b'?' | b'#' | b'[' | b']' | b'@' => NAMESPACE,
        b'!' | b'$' | b'(' | b')' | b'*' | b'+' | b',' | b';' | b'=' | b'%' => NAMESPACE,
        _ => 0,
    }
}

/// Whether `byte` belongs to any of the classes in `mask`.
#[inline(always)]
pub(crate) fn is(byte: u8, mask: u8) -> bool {
    CLASSES[byte as usize] & mask != 0
}

/// How many bytes at the front of `bytes` belong to `mask`.
#[inline(always)]
pub(crate) fn run_of(bytes: &[u8], mask: u8) -> usize {
    bytes.iter().position(|byte| !is(*byte, mask)).unwrap_or(bytes.len())
}

/// How many bytes at the front of `bytes` do not belong to `mask`.
#[inline(always)]
pub(crate) fn run_until(bytes: &[u8], mask: u8) -> usize {
    bytes.iter().position(|byte| is(*byte, mask)).unwrap_or(bytes.len())
}

/// The character at the front of `bytes` and its length, when its first byte is not ASCII; `None` if it is cut off.
///
/// Refuses what is not UTF-8 (overlong forms, surrogates, beyond U+10FFFF, stray bytes) as soon as it can be seen,
/// and the two characters of that range which XML forbids.
pub(crate) fn decode(bytes: &[u8]) -> Result<Option<(u32, usize)>, XmlError> {
    const NOT_UTF8: XmlError = XmlError::NotWellFormed("invalid utf-8");
    let Some(&first) = bytes.first() else { return Ok(None) };
    let (length, second) = match first {
        0xC2..=0xDF => (2, 0x80..=0xBF),
        0xE0 => (3, 0xA0..=0xBF),
        0xED => (3, 0x80..=0x9F),
        0xE1..=0xEF => (3, 0x80..=0xBF),
        0xF0 => (4, 0x90..=0xBF),
        0xF1..=0xF3 => (4, 0x80..=0xBF),
        0xF4 => (4, 0x80..=0x8F),
        _ => return Err(NOT_UTF8),
    };
    let mut code = u32::from(first) & (0x7F >> length);
    for at in 1..length {
        let Some(&byte) = bytes.get(at) else { return Ok(None) };
        let fits = if at == 1 { second.contains(&byte) } else { matches!(byte, 0x80..=0xBF) };
        if !fits {
            return Err(NOT_UTF8);
        }
        code = code << 6 | u32::from(byte & 0x3F);
    }
    if is_char(code) { Ok(Some((code, length))) } else { Err(FORBIDDEN) }
}

/// A character that XML 1.0 allows neither as it is nor as a reference.
pub(crate) const FORBIDDEN: XmlError = XmlError::NotWellFormed("a character that xml forbids");

/// XML 1.0 §2.2 `Char`.
pub(crate) fn is_char(code: u32) -> bool {
    matches!(code, 0x09 | 0x0A | 0x0D | 0x20..=0xD7FF | 0xE000..=0xFFFD | 0x1_0000..=0x10_FFFF)
}

/// Characters beyond ASCII that may stand anywhere in a name: letters of the scripts in use on which the fourth and the fifth
/// edition of XML 1.0 agree.
///
/// The fifth edition allows far more, but parsers in wide use (expat) follow the fourth: a name they reject would end
/// the stream of everyone to whom it is delivered.
pub(crate) fn is_name_letter(code: u32) -> bool {
    matches!(
        code,
        0xC0..=0xD6 | 0xD8..=0xF6 | 0xF8..=0x131 | 0x134..=0x13E | 0x141..=0x148 | 0x14A..=0x17E // Latin
            | 0x388..=0x38A | 0x38E..=0x3A1 | 0x3A3..=0x3CE // Greek
            | 0x401..=0x40C | 0x40E..=0x44F | 0x451..=0x45C | 0x45E..=0x481 // Cyrillic
            | 0x531..=0x556 | 0x561..=0x586 // Armenian
            | 0x5D0..=0x5EA // Hebrew
            | 0x621..=0x63A | 0x641..=0x64A // Arabic
            | 0x905..=0x939 // Devanagari
            | 0xE01..=0xE2E // Thai
            | 0x10D0..=0x10F6 // Georgian
            | 0x3041..=0x3094 | 0x30A1..=0x30FA // Hiragana, Katakana
            | 0x4E00..=0x9FA5 // Han
            | 0xAC00..=0xD7A3 // Hangul
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_character_is_decoded_as_the_standard_library_does() {
        for character in (0x80..=0x10_FFFF).filter_map(char::from_u32) {
            let mut buffer = [0; 4];
            let bytes = character.encode_utf8(&mut buffer).as_bytes();
            let code = character as u32;
            let expected = if matches!(code, 0xFFFE | 0xFFFF) { Err(FORBIDDEN) } else { Ok(Some((code, bytes.len()))) };
            assert_eq!(decode(bytes), expected, "U+{code:04X}");
            for cut in 1..bytes.len() {
                assert_eq!(decode(&bytes[..cut]), Ok(None), "U+{code:04X} cut off after {cut} bytes");
            }
        }
    }

    #[test]
    fn every_sequence_of_two_bytes_is_refused_exactly_when_no_utf8_begins_with_it() {
        for first in 0x80..=0xFF_u8 {
            for second in 0..=0xFF_u8 {
                let ours = decode(&[first, second]).is_ok();
                let theirs = match std::str::from_utf8(&[first, second]) {
                    Ok(_) => true,
                    Err(error) => error.error_len().is_none(),
                };
                assert_eq!(ours, theirs, "{first:02X} {second:02X}");
            }
        }
    }
}
