//! Time: wall-clock stamps, and ids that sort by time and never go back (DESIGN §5).

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

/// Milliseconds since 1970-01-01T00:00:00Z.
pub fn now_milliseconds() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// The XEP-0082 profile of a time: `2026-11-22T12:51:59.123Z`.
pub fn date_time(milliseconds: i64) -> String {
    let seconds = milliseconds.div_euclid(1000);
    let thousandths = milliseconds.rem_euclid(1000);
    let (days, of_day) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    let (year, month, day) = civil_from_days(days);
    format!(
        "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}.{thousandths:03}Z",
        of_day / 3600,
        of_day / 60 % 60,
        of_day % 60
    )
}

/// Year, month and day of a count of days since 1970-01-01 in the proleptic Gregorian calendar.
fn civil_from_days(days: i64) -> (i64, i64, i64) {
    // Counted in eras of 400 years that begin on a first of March, so that a leap day ends its year.
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

/// Bits of an id that count within one millisecond of one node.
const SEQUENCE_BITS: u32 = 12;
/// Bits of an id that name the node.
const NODE_BITS: u32 = 10;

/// Makes 63-bit ids: 41 bits of milliseconds since 2020, 10 bits of node, 12 bits of sequence.
///
/// Strictly increasing on one node, also when the clock jumps back or more than 4,096 ids fall into a millisecond:
/// then the id runs ahead of the clock. After a restart [`IdMaker::not_before`] keeps it above what was stored.
pub struct IdMaker {
    node: u64,
    /// Milliseconds and sequence of the newest id, node bits left out.
    newest: AtomicU64,
}

/// 2020-01-01T00:00:00Z in milliseconds since 1970.
const EPOCH: i64 = 1_577_836_800_000;

impl IdMaker {
    /// A maker for the node of this number (0 to 1023).
    pub fn new(node: u16) -> IdMaker {
        IdMaker { node: u64::from(node) & ((1 << NODE_BITS) - 1), newest: AtomicU64::new(0) }
    }

    /// The next id by the clock of the machine.
    pub fn next(&self) -> i64 {
        self.next_at(now_milliseconds())
    }

    /// The next id when the clock shows `milliseconds`.
    pub fn next_at(&self, milliseconds: i64) -> i64 {
        let clock = u64::try_from(milliseconds - EPOCH).unwrap_or(0) << SEQUENCE_BITS;
        let mut newest = self.newest.load(Ordering::Relaxed);
        let counted = loop {
            let candidate = clock.max(newest + 1);
            match self.newest.compare_exchange_weak(newest, candidate, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => break candidate,
                Err(seen) => newest = seen,
            }
        };
        let (millis, sequence) = (counted >> SEQUENCE_BITS, counted & ((1 << SEQUENCE_BITS) - 1));
        let id = millis << (SEQUENCE_BITS + NODE_BITS) | self.node << SEQUENCE_BITS | sequence;
        (id & (i64::MAX as u64)) as i64
    }

    /// From now on every id is greater than `id`, one that an earlier run has stored.
    pub fn not_before(&self, id: i64) {
        let id = id.max(0) as u64;
        let millis = id >> (SEQUENCE_BITS + NODE_BITS);
        let sequence = id & ((1 << SEQUENCE_BITS) - 1);
        self.newest.fetch_max(millis << SEQUENCE_BITS | sequence, Ordering::Relaxed);
    }

    /// When an id was made, in milliseconds since 1970 (ahead of the clock at most by what was made in a burst).
    pub fn milliseconds_of(id: i64) -> i64 {
        (id >> (SEQUENCE_BITS + NODE_BITS)) + EPOCH
    }

    /// The smallest id that can be made in this millisecond since 1970, on whichever node: 0 for any time before 2020,
    /// the greatest number there is for a time that no id can tell.
    pub fn first_of(milliseconds: i64) -> i64 {
        let since = milliseconds.saturating_sub(EPOCH).max(0);
        since.checked_mul(1 << (SEQUENCE_BITS + NODE_BITS)).unwrap_or(i64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_as_xep_0082_wants() {
        assert_eq!(date_time(0), "1970-01-01T00:00:00.000Z");
        assert_eq!(date_time(951_782_399_999), "2000-02-28T23:59:59.999Z");
        assert_eq!(date_time(951_782_400_000), "2000-02-29T00:00:00.000Z");
        assert_eq!(date_time(1_795_351_919_123), "2026-11-22T12:51:59.123Z");
    }

    #[test]
    fn ids_increase_when_the_clock_jumps_back_and_within_a_burst() {
        let maker = IdMaker::new(3);
        let noon = 1_795_351_919_000;
        let mut newest = maker.next_at(noon);
        for clock in [noon, noon - 3_600_000, noon + 1, noon] {
            for _ in 0..10_000 {
                let id = maker.next_at(clock);
                assert!(id > newest);
                newest = id;
            }
        }
        assert!(IdMaker::milliseconds_of(newest) < noon + 20);
    }

    #[test]
    fn the_first_id_of_a_time_divides_before_from_after() {
        let noon = 1_795_351_919_000;
        let first = IdMaker::first_of(noon);
        assert_eq!(IdMaker::milliseconds_of(first), noon);
        assert!(IdMaker::new(0).next_at(noon - 1) < first && IdMaker::new(0).next_at(noon) >= first);
        assert_eq!((IdMaker::first_of(0), IdMaker::first_of(i64::MAX)), (0, i64::MAX));
    }

    #[test]
    fn ids_stay_above_what_an_earlier_run_stored() {
        let noon = 1_795_351_919_000;
        let stored = IdMaker::new(1).next_at(noon + 60_000);
        let maker = IdMaker::new(0);
        maker.not_before(stored);
        let next = maker.next_at(noon);
        assert!(next > stored || IdMaker::milliseconds_of(next) >= IdMaker::milliseconds_of(stored));
        assert!(maker.next_at(noon) > next);
    }
}
