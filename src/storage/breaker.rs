//! When the database is away, ask it now and then instead of letting everybody wait: a circuit breaker as a pure state
//! machine, told the time.

use std::time::{Duration, Instant};

/// After a failed attempt to connect, nobody tries for this long.
const PAUSE: Duration = Duration::from_millis(500);

/// An attempt that was never reported back counts as lost after this long.
const LONGEST_TRIAL: Duration = Duration::from_secs(15);

/// Whether connecting worked when it was last tried.
#[derive(Debug, Default)]
pub(crate) struct Breaker {
    outage: Option<Outage>,
}

#[derive(Debug)]
struct Outage {
    since: Instant,
    /// Nobody may try before this moment.
    not_before: Instant,
}

/// What a caller may do.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Admission {
    /// Go on as usual.
    Usual,
    /// The database was away; this one caller finds out whether it still is. Report back.
    Trial,
    /// Fail at once.
    Refused,
}

impl Breaker {
    /// Asks whether to go on.
    pub(crate) fn admit(&mut self, now: Instant) -> Admission {
        match &mut self.outage {
            None => Admission::Usual,
            Some(outage) if now < outage.not_before => Admission::Refused,
            Some(outage) => {
                outage.not_before = now + LONGEST_TRIAL;
                Admission::Trial
            }
        }
    }

    /// The database answered. Returns how long it was away, if it was.
    pub(crate) fn succeeded(&mut self, now: Instant) -> Option<Duration> {
        self.outage.take().map(|outage| now.saturating_duration_since(outage.since))
    }

    /// The database could not be reached. Returns whether that is news.
    pub(crate) fn failed(&mut self, now: Instant) -> bool {
        let news = self.outage.is_none();
        let since = self.outage.as_ref().map_or(now, |outage| outage.since);
        self.outage = Some(Outage { since, not_before: now + PAUSE });
        news
    }

    /// A trial ended without an answer to the question; the next caller may try.
    pub(crate) fn undecided(&mut self, now: Instant) {
        if let Some(outage) = &mut self.outage {
            outage.not_before = now;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_attempt_refuses_the_others_until_one_may_try_again() {
        let start = Instant::now();
        let mut breaker = Breaker::default();
        assert_eq!(breaker.admit(start), Admission::Usual);
        assert!(breaker.failed(start));
        assert!(!breaker.failed(start), "the second failure of an outage is no news");
        assert_eq!(breaker.admit(start + PAUSE / 2), Admission::Refused);
        assert_eq!(breaker.admit(start + PAUSE), Admission::Trial);
        assert_eq!(breaker.admit(start + PAUSE * 3), Admission::Refused, "one at a time");
        assert_eq!(breaker.succeeded(start + PAUSE * 4), Some(PAUSE * 4));
        assert_eq!(breaker.admit(start + PAUSE * 4), Admission::Usual);
        assert_eq!(breaker.succeeded(start + PAUSE * 5), None);
    }

    #[test]
    fn a_trial_that_was_given_up_or_forgotten_lets_the_next_one_try() {
        let start = Instant::now();
        let mut breaker = Breaker::default();
        breaker.failed(start);
        assert_eq!(breaker.admit(start + PAUSE), Admission::Trial);
        breaker.undecided(start + PAUSE);
        assert_eq!(breaker.admit(start + PAUSE), Admission::Trial);
        assert_eq!(breaker.admit(start + PAUSE + LONGEST_TRIAL / 2), Admission::Refused);
        assert_eq!(breaker.admit(start + PAUSE + LONGEST_TRIAL), Admission::Trial);
    }
}
