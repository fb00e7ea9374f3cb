//! What a client that is not available yet has found in its archive: that it needs no second time.
//!
//! Ids are given before the commit, so "now" says nothing of what a client was shown. What counts is what was committed
//! when it asked, and what its page held.

use waxwing_core::archive::{ArchiveId, Found};

/// An answer, and what it tells of the newest end of the archive.
pub struct Answered {
    /// The answer.
    pub found: Found,
    /// The newest message it shows or names, if nothing newer was left out when it was read.
    pub newest: Option<ArchiveId>,
    /// Whether it is about the messages of everybody: who asks for those of one, or for some words, has not begun to
    /// catch up.
    pub is_for_all: bool,
}

impl Answered {
    /// An answer that shows no messages.
    pub fn without_messages(found: Found) -> Answered {
        Answered { found, newest: None, is_for_all: false }
    }

    /// Up to which id the client knows the archive now, or will read it by itself; none when that has not changed.
    /// `known`: what was noted of it before. `committed`: the newest message that was committed before the archive was
    /// read for this answer.
    pub fn catches_up(&self, known: Option<ArchiveId>, committed: ArchiveId) -> Option<ArchiveId> {
        let says_so = self.is_for_all && (known.is_none() || self.found.reach_the_end);
        says_so
            .then(|| committed.max(self.newest.unwrap_or(committed)))
            .filter(|until| known.is_none_or(|known| known < *until))
    }
}

#[cfg(test)]
mod tests {
    use waxwing_core::stanza::element;

    use super::*;

    fn catches_up(is_for_all: bool, reach_the_end: bool, newest: Option<i64>, known: Option<i64>) -> Option<i64> {
        let answer = element("<fin xmlns='urn:xmpp:mam:2'/>").unwrap();
        let found = Found { results: Vec::new(), reach_the_end, answer };
        let answered = Answered { found, newest: newest.map(ArchiveId), is_for_all };
        answered.catches_up(known.map(ArchiveId), ArchiveId(10)).map(|until| until.0)
    }

    #[test]
    fn what_was_committed_or_shown_is_known_and_nothing_else() {
        // The first question: what is there already it will read.
        assert_eq!(catches_up(true, false, None, None), Some(10));
        // What came between the question and the reading is on the page.
        assert_eq!(catches_up(true, true, Some(12), None), Some(12));
        assert_eq!(catches_up(true, false, Some(12), None), Some(12));
        // Nothing is behind what it knew.
        assert_eq!(catches_up(true, true, None, None), Some(10));
        // Page by page: the last one counts, the others do not.
        assert_eq!(catches_up(true, false, None, Some(7)), None);
        assert_eq!(catches_up(true, false, Some(12), Some(7)), None);
        assert_eq!(catches_up(true, true, Some(12), Some(7)), Some(12));
        assert_eq!(catches_up(true, true, None, Some(11)), None);
        // Who asks for the messages of one person will not find those of the others.
        assert_eq!(catches_up(false, false, None, None), None);
        assert_eq!(catches_up(false, false, Some(12), None), None);
    }
}
