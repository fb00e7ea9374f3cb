//! How many accounts were made from which address lately (security row S32). Bounded; the quietest are forgotten first.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::time::{Duration, Instant};

use waxwing_core::limits::Rate;

/// Counts by address, in two halves: who asks again moves to the newer one, and when that is full, the older goes.
pub struct Addresses {
    half: usize,
    newer: HashMap<IpAddr, Window>,
    older: HashMap<IpAddr, Window>,
}

/// What was counted since when.
#[derive(Clone, Copy)]
struct Window {
    since: Instant,
    count: u64,
}

impl Window {
    fn is_over(&self, period: Duration, now: Instant) -> bool {
        now.duration_since(self.since) >= period
    }
}

impl Addresses {
    /// Counts for so many addresses at a time.
    pub fn new(most: usize) -> Addresses {
        Addresses { half: (most / 2).max(1), newer: HashMap::new(), older: HashMap::new() }
    }

    /// Counts one more; false, and nothing is counted, when the address has had as many as `rate` allows.
    pub fn take(&mut self, address: IpAddr, rate: Rate, now: Instant) -> bool {
        if rate.is_unlimited() {
            return true;
        }
        let address = network(address);
        let known = self.newer.remove(&address).or_else(|| self.older.remove(&address));
        let mut window = match known {
            Some(window) if !window.is_over(rate.period(), now) => window,
            _ => Window { since: now, count: 0 },
        };
        let is_allowed = window.count < rate.amount();
        window.count += u64::from(is_allowed);
        if self.newer.len() >= self.half {
            self.older = std::mem::take(&mut self.newer);
        }
        self.newer.insert(address, window);
        is_allowed
    }

    /// Takes one back that came to nothing.
    pub fn give_back(&mut self, address: IpAddr) {
        let address = network(address);
        if let Some(window) = self.newer.get_mut(&address).or_else(|| self.older.get_mut(&address)) {
            window.count = window.count.saturating_sub(1);
        }
    }
}

/// What counts as one address: a household has one of IPv4 and a /64 of IPv6.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() >> 64 << 64)),
        address => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn s32_an_address_gets_so_many_an_hour_and_no_more() {
        let (mut addresses, rate, now) = (Addresses::new(100), Rate::per_hour(3), Instant::now());
        let minutes = |minutes: u32| now + Duration::from_secs(60 * u64::from(minutes));
        let home = address("192.0.2.1");
        assert_eq!(
            [0, 1, 2, 3, 59].map(|at| addresses.take(home, rate, minutes(at))),
            [true, true, true, false, false]
        );
        assert!(addresses.take(address("192.0.2.2"), rate, minutes(3)), "another address");
        assert!(addresses.take(home, rate, minutes(60)), "another hour");
        assert!(addresses.take(home, Rate::UNLIMITED, minutes(60)));
    }

    #[test]
    fn what_came_to_nothing_is_not_counted() {
        let (mut addresses, rate, now) = (Addresses::new(100), Rate::per_hour(1), Instant::now());
        let home = address("192.0.2.1");
        assert!(addresses.take(home, rate, now));
        addresses.give_back(home);
        assert!(addresses.take(home, rate, now) && !addresses.take(home, rate, now));
    }

    #[test]
    fn a_network_of_ipv6_is_one_address() {
        let (mut addresses, rate, now) = (Addresses::new(100), Rate::per_hour(1), Instant::now());
        assert!(addresses.take(address("2001:db8::1"), rate, now));
        assert!(!addresses.take(address("2001:db8::ffff:2"), rate, now));
        assert!(addresses.take(address("2001:db8:0:1::1"), rate, now));
        assert!(
            addresses.take(address("192.0.2.1"), rate, now) && !addresses.take(address("::ffff:192.0.2.1"), rate, now)
        );
    }

    #[test]
    fn the_table_is_bounded_and_remembers_who_keeps_asking() {
        let (mut addresses, rate, now) = (Addresses::new(1000), Rate::per_hour(1), Instant::now());
        let home = address("192.0.2.1");
        addresses.take(home, rate, now);
        for number in 0..100_000 {
            addresses.take(IpAddr::V4(number.into()), rate, now);
            if number % 100 == 0 {
                assert!(!addresses.take(home, rate, now), "forgotten after {number} others");
            }
        }
        assert!(addresses.newer.len() + addresses.older.len() <= 1001);
    }
}
