//! Positions inside one first-level element: 32 bits for offsets, 16 for the lengths of names.

/// A stretch of bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Span {
    pub start: u32,
    pub end: u32,
}

impl Span {
    pub fn new(start: usize, end: usize) -> Span {
        // Limits::expressible keeps every position within 32 bits.
        Span { start: start as u32, end: end as u32 }
    }

    pub fn of(self, bytes: &[u8]) -> &[u8] {
        bytes.get(self.start as usize..self.end as usize).unwrap_or_default()
    }

    pub fn len(self) -> usize {
        (self.end - self.start) as usize
    }
}

/// A tag's or attribute's name as it stands, perhaps with a prefix.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct QualifiedName {
    pub start: u32,
    /// Length of the whole name.
    pub length: u16,
    /// Length of the prefix without its colon; 0 when there is none.
    pub prefix_length: u16,
}

impl QualifiedName {
    pub fn new(start: usize, end: usize, colon: Option<usize>) -> QualifiedName {
        // Limits::expressible keeps names within 16 bits.
        QualifiedName {
            start: start as u32,
            length: (end - start) as u16,
            prefix_length: colon.map_or(0, |colon| colon - start) as u16,
        }
    }

    pub fn has_prefix(self) -> bool {
        self.prefix_length != 0
    }

    /// The whole name, prefix and colon included.
    pub fn whole(self, bytes: &[u8]) -> &[u8] {
        Span { start: self.start, end: self.start + u32::from(self.length) }.of(bytes)
    }

    pub fn prefix(self, bytes: &[u8]) -> &[u8] {
        self.prefix_span().of(bytes)
    }

    pub fn prefix_span(self) -> Span {
        Span { start: self.start, end: self.start + u32::from(self.prefix_length) }
    }

    pub fn local(self, bytes: &[u8]) -> &[u8] {
        self.local_span().of(bytes)
    }

    pub fn local_span(self) -> Span {
        let skipped = if self.has_prefix() { u32::from(self.prefix_length) + 1 } else { 0 };
        Span { start: self.start + skipped, end: self.start + u32::from(self.length) }
    }
}
