//! The gate: how many connections each address may have, and who is banned for failing to log in (security list, XEP-0205).

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use waxwing_core::limits::Limits;

/// An address, or the /64 network of an IPv6 address: what one subscriber of a provider has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Source(u64, bool);

impl From<IpAddr> for Source {
    fn from(address: IpAddr) -> Source {
        match address.to_canonical() {
            IpAddr::V4(address) => Source(u32::from(address).into(), false),
            IpAddr::V6(address) => Source((u128::from(address) >> 64) as u64, true),
        }
    }
}

#[derive(Debug)]
struct Record {
    open: usize,
    strangers: usize,
    failures: u32,
    failures_since: Instant,
    banned_until: Option<Instant>,
    touched: Instant,
}

impl Record {
    fn is_forgettable(&self, now: Instant) -> bool {
        self.open == 0 && self.banned_until.is_none_or(|until| until <= now)
    }
}

/// Counts connections and failed logins by address. Bounded by `limits.tracked_addresses`.
#[derive(Default)]
pub struct Gate {
    records: Mutex<HashMap<Source, Record>>,
}

/// Why a connection is not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TurnedAway {
    /// Too many failed logins from there.
    #[error("banned after failed logins")]
    Banned,
    /// Too many connections that have not logged in.
    #[error("too many connections that have not logged in")]
    TooManyStrangers,
    /// Too many connections.
    #[error("too many connections")]
    TooMany,
}

impl Gate {
    /// Lets a connection in, or says why not.
    ///
    /// # Errors
    /// The limit that is reached.
    pub fn enter(self: &Arc<Gate>, address: IpAddr, limits: &Limits, now: Instant) -> Result<Admission, TurnedAway> {
        let mut records = self.records.lock();
        let source = Source::from(address);
        if records.len() >= limits.tracked_addresses.get() && !records.contains_key(&source) {
            forget(&mut records, now);
        }
        let record = records.entry(source).or_insert(Record {
            open: 0,
            strangers: 0,
            failures: 0,
            failures_since: now,
            banned_until: None,
            touched: now,
        });
        record.touched = now;
        if record.banned_until.is_some_and(|until| until > now) {
            return Err(TurnedAway::Banned);
        }
        if !limits.unauthenticated_connections_per_address.allows(record.strangers + 1) {
            return Err(TurnedAway::TooManyStrangers);
        }
        if !limits.connections_per_address.allows(record.open + 1) {
            return Err(TurnedAway::TooMany);
        }
        record.open += 1;
        record.strangers += 1;
        Ok(Admission { gate: self.clone(), source, is_stranger: true })
    }

    /// How many addresses are remembered.
    #[cfg(test)]
    fn remembered(&self) -> usize {
        self.records.lock().len()
    }
}

/// Makes room: forgets the quarter of the idle addresses that were quiet longest.
fn forget(records: &mut HashMap<Source, Record>, now: Instant) {
    let mut idle: Vec<(Instant, Source)> = records
        .iter()
        .filter(|(_, record)| record.is_forgettable(now))
        .map(|(source, record)| (record.touched, *source))
        .collect();
    idle.sort_unstable_by_key(|(touched, _)| *touched);
    for (_, source) in idle.iter().take(idle.len().div_ceil(4)) {
        records.remove(source);
    }
}

/// A connection that was let in; leaves when it is dropped.
pub struct Admission {
    gate: Arc<Gate>,
    source: Source,
    is_stranger: bool,
}

impl Admission {
    /// The connection has logged in.
    pub fn authenticated(&mut self) {
        if std::mem::take(&mut self.is_stranger)
            && let Some(record) = self.gate.records.lock().get_mut(&self.source)
        {
            record.strangers = record.strangers.saturating_sub(1);
        }
    }

    /// A login has failed. Tells how long the answer is to be held back; bans the address when it has failed too often.
    pub fn failed(&self, limits: &Limits, now: Instant) -> Duration {
        let mut records = self.gate.records.lock();
        let Some(record) = records.get_mut(&self.source) else { return Duration::ZERO };
        let rate = limits.authentication_failures_per_address;
        if now.saturating_duration_since(record.failures_since) > rate.period() {
            record.failures = 0;
            record.failures_since = now;
        }
        record.failures = record.failures.saturating_add(1);
        if !rate.is_unlimited() && u64::from(record.failures) >= rate.amount() {
            record.banned_until = now.checked_add(limits.ban_time.get().min(Duration::from_secs(86_400 * 365)));
            record.failures = 0;
        }
        if limits.authentication_failures_per_stream.allows(record.failures as usize) {
            Duration::ZERO
        } else {
            limits.authentication_delay.get().min(Duration::from_secs(60))
        }
    }
}

impl Drop for Admission {
    fn drop(&mut self) {
        let mut records = self.gate.records.lock();
        let Some(record) = records.get_mut(&self.source) else { return };
        record.open = record.open.saturating_sub(1);
        record.strangers = record.strangers.saturating_sub(usize::from(self.is_stranger));
        if record.open == 0 && record.failures == 0 && record.banned_until.is_none() {
            records.remove(&self.source);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use waxwing_core::config::{Count, Rate};

    fn home() -> IpAddr {
        "2001:db8::1".parse().unwrap()
    }

    #[test]
    fn strangers_of_one_network_are_counted_together() {
        let limits = Limits { unauthenticated_connections_per_address: Count::of(2), ..Limits::default() };
        let (gate, now) = (Arc::new(Gate::default()), Instant::now());
        let mut first = gate.enter(home(), &limits, now).ok().unwrap();
        let _second = gate.enter("2001:db8::2".parse().unwrap(), &limits, now).ok().unwrap();
        assert_eq!(gate.enter(home(), &limits, now).err(), Some(TurnedAway::TooManyStrangers));
        assert!(gate.enter("2001:db8:0:1::1".parse().unwrap(), &limits, now).is_ok());
        first.authenticated();
        assert!(gate.enter(home(), &limits, now).is_ok());
    }

    #[test]
    fn an_address_that_keeps_failing_is_slowed_and_then_banned_for_a_while() {
        let limits = Limits { authentication_failures_per_address: Rate::per_hour(8), ..Limits::default() };
        let (gate, now) = (Arc::new(Gate::default()), Instant::now());
        let admission = gate.enter(home(), &limits, now).ok().unwrap();
        for failure in 1..8 {
            assert_eq!(admission.failed(&limits, now).is_zero(), failure <= 5);
        }
        assert!(gate.enter(home(), &limits, now).is_ok());
        admission.failed(&limits, now);
        assert_eq!(gate.enter(home(), &limits, now).err(), Some(TurnedAway::Banned));
        let later = now + limits.ban_time.get() + Duration::from_secs(1);
        assert!(gate.enter(home(), &limits, later).is_ok());
    }

    #[test]
    fn the_table_is_bounded() {
        let limits = Limits { tracked_addresses: Count::of(100), ..Limits::default() };
        let (gate, now) = (Arc::new(Gate::default()), Instant::now());
        for number in 0..10_000u32 {
            let address = IpAddr::V4(number.into());
            gate.enter(address, &limits, now).ok().unwrap().failed(&limits, now);
            assert!(gate.remembered() <= 100);
        }
    }
}
