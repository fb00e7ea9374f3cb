//! What the operator may set about rosters.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use waxwing_core::limits::{ByteSize, Count};

/// `[modules.roster]`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// How many contacts an account may have. One more is refused with policy-violation.
    pub contacts: Count,
    /// Length of the longest name a contact may be given.
    pub name_bytes: ByteSize,
    /// Length of the longest name of a group.
    pub group_bytes: ByteSize,
    /// How many groups a contact may be in.
    pub groups_per_contact: Count,
    /// How many subscription requests may wait for an account's answer. Further ones are dropped in silence, so that
    /// nobody can fill the database or drown a client at its next login.
    pub requests: Count,
    /// Size of the largest subscription request that is kept whole. Of a larger one only the request itself is kept,
    /// without what its sender put into it. All requests together are sent at each login: `requests` times
    /// `request_bytes` has to fit into `limits.send_buffer_bytes`.
    pub request_bytes: ByteSize,
    /// How many removed contacts of an account are remembered, so that a client that was away is told which they are
    /// and need not load its whole roster again.
    pub removed_contacts: Count,
    /// How many contacts, of all accounts together, are kept in memory. Enough for all who are online makes presence
    /// quick; each takes some 150 bytes.
    pub cached_contacts: Count,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            contacts: Count::of(1000),
            name_bytes: ByteSize::bytes(1023),
            group_bytes: ByteSize::bytes(511),
            groups_per_contact: Count::of(20),
            requests: Count::of(100),
            request_bytes: ByteSize::kibibytes(4),
            removed_contacts: Count::of(100),
            cached_contacts: Count::of(500_000),
        }
    }
}
