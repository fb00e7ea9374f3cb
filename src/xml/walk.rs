//! Walks through elements that were validated before: no checks, no allocation, and no panic whatever the bytes are.

use std::ops::Range;

use memchr::{memchr, memchr3};

use crate::attributes::Attribute;
use crate::characters::{self, SPACE};
use crate::element::ElementSpan;
use crate::span::{QualifiedName, Span};

/// The attributes of the start tag `tag`, which begins with `<`; positions are those of the tag.
pub(crate) fn attributes(tag: &[u8]) -> impl Iterator<Item = Attribute> {
    let mut at = name_end(tag, 1);
    std::iter::from_fn(move || {
        let start = at + characters::run_of(tag.get(at..)?, SPACE);
        let end = name_end(tag, start);
        let quote = end + tag.get(end..)?.iter().position(|byte| matches!(byte, b'\'' | b'"'))?;
        let value_start = quote + 1;
        let value_end = value_start + memchr(tag[quote], tag.get(value_start..)?)?;
        at = value_end + 1;
        let colon = memchr(b':', &tag[start..end]).map(|colon| start + colon);
        Some(Attribute { name: QualifiedName::new(start, end, colon), value: Span::new(value_start, value_end) })
    })
}

/// Where the name that begins at `start` ends.
fn name_end(tag: &[u8], start: usize) -> usize {
    let rest = tag.get(start..).unwrap_or_default();
    let stop = |byte: &u8| matches!(byte, b'=' | b'/' | b'>') || characters::is(*byte, SPACE);
    start + rest.iter().position(stop).unwrap_or(rest.len())
}

/// Where the start tag that begins at `start` ends, and whether it is an empty element's.
fn start_tag_end(bytes: &[u8], start: usize) -> Option<(usize, bool)> {
    let mut at = start;
    loop {
        at += memchr3(b'>', b'\'', b'"', bytes.get(at..)?)?;
        if bytes[at] == b'>' {
            return Some((at + 1, bytes[..at].ends_with(b"/")));
        }
        at += 1 + memchr(bytes[at], bytes.get(at + 1..)?)? + 1;
    }
}

/// The next element within `range` of `bytes`, text before it skipped.
pub(crate) fn next_element(bytes: &[u8], range: Range<usize>) -> Option<ElementSpan> {
    let start = range.start + memchr(b'<', bytes.get(range.clone())?)?;
    let (content_start, empty) = start_tag_end(bytes, start)?;
    let (content_end, end) = if empty { (content_start, content_start) } else { end_of_content(bytes, content_start)? };
    let tag = &bytes[start..content_start];
    let declared = attributes(tag).find(|attribute| attribute.declares_default(tag)).map(|attribute| attribute.value);
    Some(ElementSpan {
        start: start as u32,
        end: end as u32,
        content_start: content_start as u32,
        content_end: content_end as u32,
        name_length: (name_end(tag, 1) - 1) as u16,
        namespace_length: declared.map_or(0, |declared| declared.len() as u16),
        namespace_start: declared.map_or(0, |declared| start as u32 + declared.start),
    })
}

/// Where the content that begins at `start` ends, and where its end tag ends.
fn end_of_content(bytes: &[u8], start: usize) -> Option<(usize, usize)> {
    let mut at = start;
    let mut depth = 1_usize;
    loop {
        let markup = at + memchr(b'<', bytes.get(at..)?)?;
        if bytes.get(markup + 1) == Some(&b'/') {
            at = markup + memchr(b'>', &bytes[markup..])? + 1;
            depth -= 1;
            if depth == 0 {
                return Some((markup, at));
            }
        } else {
            let (end, empty) = start_tag_end(bytes, markup)?;
            at = end;
            depth += usize::from(!empty);
        }
    }
}
