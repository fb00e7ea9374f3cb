//! The name of a message in a play: who sent it to whom, and which of the sender's messages it was.

use std::fmt;

/// Which message it is. Written as `m-from-to-count`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Id {
    /// The sender's number.
    pub from: usize,
    /// The recipient's number.
    pub to: usize,
    /// How many messages the sender had sent with it, to whomever.
    pub count: u32,
}

impl Id {
    /// Reads a name.
    pub fn read(text: &str) -> Option<Id> {
        let mut parts = text.strip_prefix("m-")?.splitn(3, '-');
        Some(Id {
            from: parts.next()?.parse().ok()?,
            to: parts.next()?.parse().ok()?,
            count: parts.next()?.parse().ok()?,
        })
    }
}

impl fmt::Display for Id {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "m-{}-{}-{}", self.from, self.to, self.count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_read_as_it_was_written() {
        let id = Id { from: 3, to: 12, count: 7 };
        assert_eq!(Id::read(&id.to_string()), Some(id));
        for bad in ["", "m-", "m-1-2", "m-1-2-x", "n-1-2-3"] {
            assert_eq!(Id::read(bad), None, "{bad}");
        }
    }
}
