//! Which messages of a device were copied lately, to copy the errors that answer them (XEP-0280 §6.1).

use std::collections::VecDeque;

use waxwing_core::notes::Note;

/// How many are remembered for each device. An error comes soon or never.
const MOST: usize = 32;

/// The newest messages of a device that were copied, each as the hash of who stands at the other end and of its id.
#[derive(Default)]
pub struct Recent(VecDeque<u64>);

impl Note for Recent {}

impl Recent {
    /// One more.
    pub fn remember(&mut self, message: u64) {
        if self.0.len() == MOST {
            self.0.pop_front();
        }
        self.0.push_back(message);
    }

    /// Whether it is remembered.
    pub fn has(&self, message: u64) -> bool {
        self.0.contains(&message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_are_remembered() {
        let mut recent = Recent::default();
        (0..40).for_each(|message| recent.remember(message));
        assert!(recent.has(39) && recent.has(8) && !recent.has(7));
    }
}
