//! Walks through elements that were validated before: no checks, no allocation, and no panic whatever the bytes are.

use std::ops::Range;

use memchr::{memchr, memchr3};

use crate::characters::{self, SPACE};
use crate::element::ChildSpan;

/// An attribute as it stands in a start tag.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RawAttribute<'a> {
    pub name: &'a [u8],
    /// Between the quotes, not decoded.
    pub value: &'a [u8],
    /// Where the value stands in the tag.
    pub value_start: usize,
    /// Name, equals sign and quoted value.
    pub whole: &'a [u8],
}

/// The attributes of the start tag `tag`, which begins with `<`.
pub(crate) fn attributes(tag: &[u8]) -> impl Iterator<Item = RawAttribute<'_>> {
    let mut at = name_end(tag, 1);
    std::iter::from_fn(move || {
        let start = at + characters::run_of(tag.get(at..)?, SPACE);
        let name_end = name_end(tag, start);
        let open = name_end + tag.get(name_end..)?.iter().position(|byte| matches!(byte, b'\'' | b'"'))?;
        let value_start = open + 1;
        let close = value_start + memchr(tag[open], tag.get(value_start..)?)?;
        at = close + 1;
        Some(RawAttribute {
            name: &tag[start..name_end],
            value: &tag[value_start..close],
            value_start,
            whole: &tag[start..at],
        })
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
pub(crate) fn next_child(bytes: &[u8], range: Range<usize>) -> Option<ChildSpan> {
    let start = range.start + memchr(b'<', bytes.get(range.clone())?)?;
    let (content_start, empty) = start_tag_end(bytes, start)?;
    let (content_end, end) = if empty { (content_start, content_start) } else { end_of_content(bytes, content_start)? };
    let tag = &bytes[start..content_start];
    let declared = attributes(tag).find(|attribute| attribute.name == b"xmlns");
    Some(ChildSpan {
        start: start as u32,
        end: end as u32,
        content_start: content_start as u32,
        content_end: content_end as u32,
        name_length: (name_end(tag, 1) - 1) as u16,
        namespace_length: declared.map_or(0, |declared| declared.value.len() as u16),
        namespace_start: declared.map_or(0, |declared| (start + declared.value_start) as u32),
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
