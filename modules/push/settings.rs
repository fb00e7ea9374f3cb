//! What the operator may set.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use waxwing_core::limits::{ByteSize, Count, Period};

/// What the operator may set.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// How many devices of one account may be registered. With one more, the one that has registered the longest time ago
    /// is forgotten: it is most likely one that is no longer in use.
    pub registrations_per_account: Count,
    /// How large the form with the options of one registration may be.
    pub option_bytes: ByteSize,
    /// Whether app servers learn who has written. They belong to the makers of apps, and whatever they are told they can
    /// tell others.
    pub show_sender: bool,
    /// Whether app servers learn what was written. Clients fetch messages themselves, so few need it; encrypted messages
    /// are never shown.
    pub show_body: bool,
    /// How many characters of a body are shown at most.
    pub body_characters: Count,
    /// What stands in the place of the body of something important when the body is not shown. App servers take a call
    /// without any text for one that may wait, and phones may drop it. Empty for nothing.
    pub placeholder: String,
    /// How much time there is between two calls for the same conversation. What comes in between is called for at the end
    /// of that time, together.
    pub pause: Period,
    /// How long a client that is connected may take to acknowledge a message (XEP-0198) before its device is called.
    pub unacknowledged_for: Period,
    /// How long an app server may take to answer.
    pub answer_within: Period,
    /// How long a device is not called after its app server did not answer, or could not for the moment. Doubled each time
    /// until `retry_at_most`.
    pub retry_after: Period,
    /// The longest time a device is not called after failures.
    pub retry_at_most: Period,
    /// How many messages may wait to be looked at. What comes when there is no room causes no call and is counted.
    pub queue: Count,
    /// How many calls may wait for the answers of app servers at a time. More wait for a second and are put together.
    pub under_way: Count,
    /// How many messages may wait for the acknowledgement of a client, to decide whether its device is called.
    pub watched: Count,
    /// Of how many devices the server remembers how much is unread and when they were called. Some 300 bytes each.
    pub devices: Count,
    /// Of how many accounts the server remembers which devices they have registered, none for most. Some 100 bytes each.
    pub remembered: Count,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            registrations_per_account: Count::of(20),
            option_bytes: ByteSize::kibibytes(8),
            show_sender: false,
            show_body: false,
            body_characters: Count::of(200),
            placeholder: "New message".to_owned(),
            pause: Period::seconds(5),
            unacknowledged_for: Period::seconds(10),
            answer_within: Period::seconds(30),
            retry_after: Period::seconds(60),
            retry_at_most: Period::seconds(3_600),
            queue: Count::of(10_000),
            under_way: Count::of(1_000),
            watched: Count::of(10_000),
            devices: Count::of(100_000),
            remembered: Count::of(100_000),
        }
    }
}
