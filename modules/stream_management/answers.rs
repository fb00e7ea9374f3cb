//! When a client may be told how many of its stanzas were handled: once the number is stored, so that it is still known
//! after a crash (XEP-0198 §4, §5).

/// What to do about a request for an acknowledgement.
#[derive(Debug, PartialEq, Eq)]
pub enum Then {
    /// Answer it with this number.
    Answer(u32),
    /// Store this number, then call [`Answers::stored`].
    Store(u32),
    /// It is answered when what is being stored is stored.
    Wait,
}

/// The requests of one client. They are answered in their order, each by one answer, and no answer is smaller than one
/// before it; requests that come while a number is being stored share the next.
#[derive(Debug, Default)]
pub struct Answers {
    stored: u32,
    /// A number is being stored; so many requests wait for it.
    storing: Option<u32>,
    /// Requests that came after that number was taken.
    later: u32,
}

impl Answers {
    /// With this number stored already.
    pub fn stored_before(stored: u32) -> Answers {
        Answers { stored, ..Answers::default() }
    }

    /// The client asks, with so many of its stanzas handled.
    pub fn asked(&mut self, handled: u32) -> Then {
        if self.storing.is_some() {
            self.later += 1;
            Then::Wait
        } else if handled == self.stored {
            Then::Answer(handled)
        } else {
            self.storing = Some(1);
            Then::Store(handled)
        }
    }

    /// The number was stored, or could not be: the client is told in both cases, its stanzas are safe already. Gives how
    /// many answers with that number are due, and the next number to store, for `handled` stanzas now.
    pub fn stored(&mut self, number: u32, successfully: bool, handled: u32) -> (u32, Option<u32>) {
        if successfully {
            self.stored = number;
        }
        let mut due = self.storing.take().unwrap_or(0);
        if self.later == 0 {
            return (due, None);
        }
        let later = std::mem::take(&mut self.later);
        if handled == number {
            due += later;
            return (due, None);
        }
        self.storing = Some(later);
        (due, Some(handled))
    }

    /// Another stream has taken the place of the one on which was asked: nobody waits for an answer any more.
    pub fn forget_requests(&mut self) {
        self.storing = self.storing.map(|_| 0);
        self.later = 0;
    }

    /// The number was stored on another occasion.
    pub fn stored_besides(&mut self, number: u32) {
        if self.storing.is_none() {
            self.stored = number;
        }
    }

    /// Whether this number was stored.
    pub fn is_stored(&self, number: u32) -> bool {
        self.stored == number
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_stored_before_it_is_told() {
        let mut answers = Answers::default();
        assert_eq!(answers.asked(0), Then::Answer(0), "nothing was handled: nothing to store");
        assert_eq!(answers.asked(3), Then::Store(3));
        assert_eq!(answers.stored(3, true, 3), (1, None));
        assert_eq!(answers.asked(3), Then::Answer(3));
    }

    #[test]
    fn requests_that_come_meanwhile_share_the_next_number() {
        let mut answers = Answers::default();
        assert_eq!(answers.asked(1), Then::Store(1));
        assert_eq!(answers.asked(2), Then::Wait);
        assert_eq!(answers.asked(3), Then::Wait);
        assert_eq!(answers.stored(1, true, 4), (1, Some(4)));
        assert_eq!(answers.asked(4), Then::Wait);
        assert_eq!(answers.stored(4, true, 4), (3, None));
        assert_eq!(answers.asked(4), Then::Answer(4));
    }

    #[test]
    fn requests_of_an_old_stream_are_not_answered_on_a_new_one() {
        let mut answers = Answers::default();
        assert_eq!(answers.asked(1), Then::Store(1));
        assert_eq!(answers.asked(2), Then::Wait);
        answers.forget_requests();
        assert_eq!(answers.asked(3), Then::Wait);
        assert_eq!(answers.stored(1, true, 3), (0, Some(3)));
        assert_eq!(answers.stored(3, true, 3), (1, None));
        answers.forget_requests();
        assert_eq!(answers.asked(3), Then::Answer(3));
    }

    #[test]
    fn what_cannot_be_stored_is_told_and_tried_again() {
        let mut answers = Answers::stored_before(5);
        assert_eq!(answers.asked(6), Then::Store(6));
        assert_eq!(answers.stored(6, false, 6), (1, None));
        assert_eq!(answers.asked(6), Then::Store(6));
        assert!(!answers.is_stored(6) && answers.is_stored(5));
    }
}
