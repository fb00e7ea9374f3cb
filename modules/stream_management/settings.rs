//! What the operator may set.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use waxwing_core::limits::{ByteSize, Count, Period};

use crate::queue::Bounds;

/// However long an operator allows, a session waits no longer.
const LONGEST: Duration = Duration::from_secs(30 * 86_400);

/// What the operator may set.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// How long a session waits for its client to come back after the connection was lost. Its contacts see it as before
    /// meanwhile. A client may ask for less. Phones that lose their network for an hour or more are served well by `"1h"`.
    pub resume_for: Period,
    /// How many stanzas may be on their way to one client without an acknowledgement. Beyond it the client is sent nothing
    /// more until it acknowledges some; what comes for it waits in `limits.send_buffer_bytes`.
    pub unacknowledged_stanzas: Count,
    /// How many bytes may be on their way to one client without an acknowledgement.
    pub unacknowledged_bytes: ByteSize,
    /// After how many stanzas a client is asked at once what it has received.
    pub ask_after_stanzas: Count,
    /// After how many bytes a client is asked at once what it has received.
    pub ask_after_bytes: ByteSize,
    /// How often clients are asked that have something to acknowledge and were not asked at once. A client that does not
    /// answer within `limits.ping_timeout` counts as gone, and its session waits for it.
    pub ask_every: Period,
    /// How many sessions of one account may wait for their clients. With one more, the one that waits for the longest time
    /// ends; what it has not received is kept for later.
    pub waiting_sessions_per_account: Count,
    /// How much memory all sessions that wait for their clients may use together. Beyond it those that wait for the longest
    /// time end.
    pub waiting_bytes: ByteSize,
    /// Whether the number of stanzas handled is stored each time before a client is told. Then a client that comes back
    /// after a crash of the server learns exactly which of its stanzas arrived. It costs one small row for each
    /// acknowledgement, committed together with those of other clients.
    pub exact_after_crash: bool,
    /// How long the number of stanzas handled is known after a session has ended.
    pub remember_for: Period,
    /// Where clients are to connect to when they come back, as `"host:port"`, if not where they came from.
    pub location: Option<String>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            resume_for: Period::seconds(600),
            unacknowledged_stanzas: Count::of(1_000),
            unacknowledged_bytes: ByteSize::mebibytes(1),
            ask_after_stanzas: Count::of(10),
            ask_after_bytes: ByteSize::kibibytes(32),
            ask_every: Period::seconds(5),
            waiting_sessions_per_account: Count::of(10),
            waiting_bytes: ByteSize::mebibytes(256),
            exact_after_crash: true,
            remember_for: Period::seconds(86_400),
            location: None,
        }
    }
}

impl Settings {
    /// The bounds of one client's queue.
    pub fn bounds(&self) -> Bounds {
        Bounds {
            stanzas: self.unacknowledged_stanzas.get(),
            bytes: self.unacknowledged_bytes.get(),
            ask_after_stanzas: self.ask_after_stanzas.get().max(1),
            ask_after_bytes: self.ask_after_bytes.get().max(1),
        }
    }

    /// How long a session waits whose client would like `preferred` seconds.
    pub fn patience(&self, preferred: Option<u64>) -> Duration {
        let most = self.resume_for.get().min(LONGEST);
        preferred.map_or(most, |seconds| most.min(Duration::from_secs(seconds)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_may_ask_for_less_time_and_not_for_more() {
        let settings = Settings { resume_for: Period::seconds(600), ..Settings::default() };
        assert_eq!(settings.patience(None).as_secs(), 600);
        assert_eq!(settings.patience(Some(60)).as_secs(), 60);
        assert_eq!(settings.patience(Some(u64::MAX)).as_secs(), 600);
    }
}
