//! Whom an account has written to lately: distinct addresses within the period of a rate.

use std::collections::HashMap;
use std::time::Instant;

use waxwing_core::limits::Rate;

/// The addresses of the last period, as hashes with a secret key: never more than the rate's amount.
#[derive(Debug, Default)]
pub(crate) struct Recipients {
    seen: HashMap<u64, Instant>,
    /// Before this moment nothing can be forgotten, so a search would be wasted.
    next_search: Option<Instant>,
}

impl Recipients {
    /// Whether the account may write to this address now. Someone it has just written to never counts again.
    pub(crate) fn admit(&mut self, recipient: u64, rate: Rate, now: Instant) -> bool {
        if rate.is_unlimited() {
            return true;
        }
        let is_recent = |last: Instant| now.saturating_duration_since(last) < rate.period();
        if let Some(last) = self.seen.get_mut(&recipient)
            && is_recent(*last)
        {
            *last = now;
            return true;
        }
        let most = usize::try_from(rate.amount()).unwrap_or(usize::MAX);
        if self.seen.len() >= most {
            if self.next_search.is_some_and(|next| now < next) {
                return false;
            }
            self.seen.retain(|_, last| is_recent(*last));
            let oldest = self.seen.values().min().copied();
            self.next_search = oldest.map(|oldest| oldest + rate.period());
            if self.seen.len() >= most {
                return false;
            }
        }
        self.seen.insert(recipient, now);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    const RATE: Rate = Rate::per_minute(60);

    #[test]
    fn so_many_different_addresses_and_no_more() {
        let start = Instant::now();
        let mut recipients = Recipients::default();
        assert!((0..60).all(|recipient| recipients.admit(recipient, RATE, start)));
        assert!((60..1_000).all(|recipient| !recipients.admit(recipient, RATE, start)));
        // Whom it writes to already, it may go on writing to.
        assert!((0..60).all(|recipient| recipients.admit(recipient, RATE, start + Duration::from_secs(1))));
        assert_eq!(recipients.seen.len(), 60);
    }

    #[test]
    fn an_address_is_forgotten_after_the_period() {
        let start = Instant::now();
        let mut recipients = Recipients::default();
        for recipient in 0..60 {
            assert!(recipients.admit(recipient, RATE, start + Duration::from_millis(500 * recipient)));
        }
        assert!(!recipients.admit(100, RATE, start + Duration::from_millis(59_999)));
        assert!(recipients.admit(100, RATE, start + Duration::from_secs(60)));
        assert!(!recipients.admit(101, RATE, start + Duration::from_secs(60)));
        assert!(recipients.admit(101, RATE, start + Duration::from_millis(60_500)));
    }

    #[test]
    fn a_lifted_limit_remembers_nobody() {
        let mut recipients = Recipients::default();
        assert!((0..1_000).all(|recipient| recipients.admit(recipient, Rate::UNLIMITED, Instant::now())));
        assert!(recipients.seen.is_empty());
    }
}
