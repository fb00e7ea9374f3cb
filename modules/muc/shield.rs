//! How much may be said and done in a room before it is refused: by one account, and by all (XEP-0045 §14.6, XEP-0500).

use std::collections::HashMap;
use std::time::{Duration, Instant};

use waxwing_core::address::BareJid;
use waxwing_core::limits::Rate;
use waxwing_core::refusal::{ErrorType, Refusal};

use crate::settings::Settings;

/// So many accounts are remembered with what they have used. Who is not remembered has used nothing.
const MOST_ACCOUNTS: usize = 1000;

/// A token bucket without a timer. Full when new; whoever finds one token may overdraw it, and waits longer afterwards.
#[derive(Clone, Copy, Debug, Default)]
struct Bucket {
    full_at: Option<Instant>,
}

impl Bucket {
    /// What it would be after taking `tokens`; `None` when there is not even one.
    fn after(self, rate: Rate, tokens: u32, now: Instant) -> Option<Bucket> {
        let each = rate.period() / u32::try_from(rate.amount().max(1)).unwrap_or(u32::MAX);
        if rate.is_unlimited() || each.is_zero() {
            return Some(self);
        }
        let missing = self.full_at.map_or(Duration::ZERO, |full_at| full_at.saturating_duration_since(now));
        if missing + each > rate.period() {
            return None;
        }
        Some(Bucket { full_at: now.checked_add(missing + each.saturating_mul(tokens)) })
    }

    fn is_full(self, now: Instant) -> bool {
        self.full_at.is_none_or(|full_at| full_at <= now)
    }
}

/// What one account has used.
#[derive(Clone, Copy, Debug, Default)]
struct Used {
    messages: Bucket,
    presences: Bucket,
    /// When it may speak again in slow mode.
    silent_until: Option<Instant>,
}

/// What was used of a room.
#[derive(Clone, Debug, Default)]
pub struct Shield {
    room: Bucket,
    accounts: HashMap<BareJid, Used>,
}

impl Shield {
    /// Counts a message of this size.
    ///
    /// # Errors
    /// `policy-violation` to try again later.
    pub fn message(
        &mut self,
        account: &BareJid,
        bytes: usize,
        settings: &Settings,
        now: Instant,
    ) -> Result<(), Refusal> {
        let tokens = u32::try_from(bytes.div_ceil(settings.message_unit.get().max(1))).unwrap_or(u32::MAX).max(1);
        let used = self.used(account, now)?;
        let Some(messages) = used.messages.after(settings.occupant_messages, tokens, now) else {
            return Err(later("you say more in this room than is allowed"));
        };
        let Some(room) = self.room.after(settings.room_messages, tokens, now) else {
            return Err(later("more is said in this room than is allowed"));
        };
        self.room = room;
        self.used(account, now)?.messages = messages;
        Ok(())
    }

    /// Counts an entry, a change of nickname or availability, an invitation.
    ///
    /// # Errors
    /// `policy-violation` to try again later.
    pub fn presence(&mut self, account: &BareJid, settings: &Settings, now: Instant) -> Result<(), Refusal> {
        let used = self.used(account, now)?;
        let after = used.presences.after(settings.occupant_presences, 1, now);
        used.presences = after.ok_or_else(|| later("you do this too often in this room"))?;
        Ok(())
    }

    /// Counts a message with a body in slow mode (XEP-0500 §6): by account, whatever the nickname and device.
    ///
    /// # Errors
    /// `policy-violation` to try again later, with how long to wait between two.
    pub fn slow(&mut self, account: &BareJid, seconds: u32, now: Instant) -> Result<(), Refusal> {
        let used = self.used(account, now)?;
        if used.silent_until.is_some_and(|until| until > now) {
            return Err(later(format!("slow mode: wait {seconds} seconds between two messages in this room")));
        }
        used.silent_until = now.checked_add(Duration::from_secs(seconds.into()));
        Ok(())
    }

    fn used(&mut self, account: &BareJid, now: Instant) -> Result<&mut Used, Refusal> {
        if self.accounts.len() >= MOST_ACCOUNTS && !self.accounts.contains_key(account) {
            self.accounts.retain(|_, used| {
                let is_slow = used.silent_until.is_some_and(|until| until > now);
                is_slow || !used.messages.is_full(now) || !used.presences.is_full(now)
            });
            if self.accounts.len() >= MOST_ACCOUNTS {
                return Err(later("too many people do something in this room"));
            }
        }
        if !self.accounts.contains_key(account) {
            self.accounts.insert(account.clone(), Used::default());
        }
        self.accounts.get_mut(account).ok_or_else(|| later("too many people do something in this room"))
    }
}

fn later(text: impl Into<std::borrow::Cow<'static, str>>) -> Refusal {
    Refusal::policy_violation().of_type(ErrorType::Wait).saying(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use waxwing_core::limits::ByteSize;

    fn settings() -> Settings {
        Settings {
            occupant_messages: Rate::per_second(5),
            room_messages: Rate::per_second(8),
            message_unit: ByteSize::bytes(100),
            occupant_presences: Rate::per_minute(2),
            ..Settings::default()
        }
    }

    fn jid(number: usize) -> BareJid {
        BareJid::new(&format!("user{number}@a.lit")).unwrap()
    }

    #[test]
    fn one_account_and_the_room_have_their_measure() {
        let (mut shield, now) = (Shield::default(), Instant::now());
        let mut said =
            |number| (0..20).take_while(|_| shield.message(&jid(number), 50, &settings(), now).is_ok()).count();
        assert_eq!((said(1), said(1), said(2), said(3)), (5, 0, 3, 0));
    }

    #[test]
    fn f29_the_largest_message_passes_and_is_paid_for_afterwards() {
        let (mut shield, now) = (Shield::default(), Instant::now());
        let mut say =
            |bytes, seconds| shield.message(&jid(1), bytes, &settings(), now + Duration::from_secs(seconds)).is_ok();
        assert!(say(400_000, 0), "4,000 times the unit");
        assert!(!say(1, 0) && !say(1, 700), "at 5 units a second it is paid for in 800 seconds");
        assert!(say(1, 801));
    }

    #[test]
    fn a_refused_message_costs_nothing() {
        let (mut shield, now) = (Shield::default(), Instant::now());
        for number in 0..8 {
            assert!(shield.message(&jid(number), 1, &settings(), now).is_ok());
        }
        // The room is exhausted: whoever tries keeps his own measure.
        for _ in 0..20 {
            assert!(shield.message(&jid(9), 1, &settings(), now).is_err());
        }
        let later = now + Duration::from_secs(1);
        assert_eq!((0..9).take_while(|_| shield.message(&jid(9), 1, &settings(), later).is_ok()).count(), 5);
    }

    #[test]
    fn presences_have_a_measure_of_their_own() {
        let (mut shield, now) = (Shield::default(), Instant::now());
        let mut enter = |number| shield.presence(&jid(number), &settings(), now).map_err(|refusal| refusal.kind);
        assert_eq!((enter(1), enter(1), enter(1), enter(2)), (Ok(()), Ok(()), Err(ErrorType::Wait), Ok(())));
    }

    #[test]
    fn slow_mode_counts_by_account() {
        let (mut shield, now) = (Shield::default(), Instant::now());
        let mut say = |number, seconds| shield.slow(&jid(number), 20, now + Duration::from_secs(seconds)).is_ok();
        assert!(say(1, 0) && !say(1, 19) && say(2, 19) && say(1, 20) && !say(1, 30));
    }

    #[test]
    fn memory_is_bounded() {
        let (mut shield, now) = (Shield::default(), Instant::now());
        let refused = (0..2 * MOST_ACCOUNTS).filter(|number| shield.presence(&jid(*number), &settings(), now).is_err());
        assert_eq!(refused.count(), MOST_ACCOUNTS);
        let later = now + Duration::from_secs(120);
        assert!(shield.presence(&jid(5000), &settings(), later).is_ok());
        assert_eq!(shield.accounts.len(), 1);
    }
}
