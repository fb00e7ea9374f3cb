//! The cursor of one account: where in its archive that begins which nobody has received. A plain state machine; the
//! table holds what it says a moment later.
//!
//! Everything up to `from` has been handed to a session, was delivered when it came, or is not for offline delivery. What
//! was handed over and is not with its client yet is under way; the table's row stands before the oldest of it. While the
//! cursor is open, everything behind `from` is to be delivered; while it is closed, somebody is there and receives what
//! comes at once.

use std::collections::BTreeSet;

/// What is known of the row in the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Row {
    /// It was not read yet. If something was written blindly, it says this or less.
    Unread(Option<i64>),
    /// It was read or written: it says this, or there is none.
    Known(Option<i64>),
    /// It was known, and then written with an unknown outcome.
    Uncertain,
}

impl Row {
    /// What it says at most.
    fn says(self) -> Option<i64> {
        match self {
            Row::Unread(says) | Row::Known(says) => says,
            Row::Uncertain => None,
        }
    }
}

/// What is to be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Write {
    /// The row says this at most, and is made if there is none.
    Lower(i64),
    /// The row says this.
    Set(i64),
    /// There is no row.
    Clear,
}

/// How a message is covered by the cursor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cover {
    /// The table says that it is to be delivered, or it was handed to somebody already.
    Done,
    /// Something has to be written first.
    MustWrite,
}

/// The cursor of an account in whose messages something moves.
#[derive(Debug)]
pub struct Cursor {
    row: Row,
    is_writing: bool,
    is_open: bool,
    from: i64,
    /// Up to here the archive was read for delivery.
    read_until: i64,
    under_way: BTreeSet<i64>,
}

impl Cursor {
    /// One of which only this is known: that the table says `at_most`, or nothing.
    pub fn new(at_most: Option<i64>) -> Cursor {
        let row = Row::Unread(at_most);
        Cursor { row, is_writing: false, is_open: false, from: 0, read_until: 0, under_way: BTreeSet::new() }
    }

    /// A message that nobody receives now is in the archive under this id.
    pub fn cover(&mut self, id: i64) -> Cover {
        if id <= self.read_until {
            return Cover::Done;
        }
        if !self.is_open {
            if !matches!(self.row, Row::Unread(Some(_))) {
                self.is_open = true;
                self.from = id - 1;
            }
        } else if id <= self.from {
            self.from = id - 1;
        }
        let covered = self.row.says().is_some_and(|says| says < id);
        if covered && !self.is_writing {
            return Cover::Done;
        }
        if !self.is_open {
            // The row says more than this id: nobody knows how much less than what we know of.
            self.is_open = true;
            self.from = id - 1;
        }
        Cover::MustWrite
    }

    /// Whether the row has to be read before anything is delivered.
    pub fn is_unread(&self) -> bool {
        matches!(self.row, Row::Unread(_))
    }

    /// The row was read.
    pub fn learn(&mut self, says: Option<i64>) {
        if !self.is_unread() || self.is_writing {
            return;
        }
        if let Some(says) = says {
            self.from = if self.is_open { self.from.min(says) } else { says };
            self.is_open = true;
        }
        self.row = Row::Known(says);
    }

    /// Behind which id there is something to be delivered, if there is.
    pub fn begins(&self) -> Option<i64> {
        self.is_open.then_some(self.from)
    }

    /// What lies before this id is not delivered.
    pub fn skip_to(&mut self, id: i64) {
        self.from = self.from.max(id);
        self.read_until = self.read_until.max(self.from);
    }

    /// The archive was read up to `until`, and these messages of it are handed over.
    pub fn hand_over(&mut self, until: i64, ids: impl Iterator<Item = i64>) {
        self.skip_to(until);
        self.under_way.extend(ids);
    }

    /// These messages were not handed over after all; they are read again.
    pub fn take_back(&mut self, ids: &[i64]) {
        for id in ids {
            self.under_way.remove(id);
        }
        if let Some(first) = ids.iter().min() {
            self.is_open = true;
            self.from = self.from.min(first - 1);
            self.read_until = self.read_until.min(first - 1);
        }
    }

    /// These messages are with their client, or were kept in another way.
    pub fn arrived(&mut self, ids: &[i64]) {
        for id in ids {
            self.under_way.remove(id);
        }
    }

    /// Everything is handed over, and what comes from now on is received at once.
    pub fn close(&mut self) {
        self.is_open = false;
    }

    /// What the row should say.
    fn wanted(&self) -> Option<i64> {
        let begins = self.begins();
        let oldest = self.under_way.first().map(|id| id - 1);
        match (begins, oldest) {
            (Some(begins), Some(oldest)) => Some(begins.min(oldest)),
            (begins, oldest) => begins.or(oldest),
        }
    }

    /// What has to be written now, if the row does not say what it should and nobody is at it.
    pub fn begin_to_write(&mut self) -> Option<Write> {
        if self.is_writing {
            return None;
        }
        let write = match (self.row, self.wanted()) {
            (Row::Unread(Some(says)), Some(wanted)) if says <= wanted => return None,
            (Row::Unread(_), Some(wanted)) => Write::Lower(wanted),
            (Row::Unread(_), None) => return None,
            (Row::Known(says), wanted) if says == wanted => return None,
            (_, Some(wanted)) => Write::Set(wanted),
            (_, None) => Write::Clear,
        };
        self.is_writing = true;
        Some(write)
    }

    /// It was written, or nobody knows whether it was.
    pub fn end_writing(&mut self, write: Write, is_certain: bool) {
        self.is_writing = false;
        self.row = match (write, self.row) {
            // Whatever it says now: the next attempt says it again.
            (_, Row::Unread(says)) if !is_certain => Row::Unread(says),
            (_, _) if !is_certain => Row::Uncertain,
            (Write::Lower(to), Row::Unread(says)) => Row::Unread(Some(says.map_or(to, |says| says.min(to)))),
            (Write::Lower(to) | Write::Set(to), _) => Row::Known(Some(to)),
            (Write::Clear, _) => Row::Known(None),
        };
    }

    /// Whether the table says all that is known, and nothing is under way. (Of a row that was never read nothing is known
    /// but by those who are about to write it.)
    pub fn is_at_rest(&self) -> bool {
        let is_written = match self.row {
            Row::Unread(_) => true,
            Row::Known(says) => says == self.wanted(),
            Row::Uncertain => false,
        };
        is_written && !self.is_writing && self.under_way.is_empty()
    }

    /// What is worth remembering of it: the row says this at most.
    pub fn at_most(&self) -> Option<i64> {
        self.row.says()
    }
}

#[cfg(test)]
#[path = "cursor_tests.rs"]
mod tests;
