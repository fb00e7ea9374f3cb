//! What the operator may set about the nodes of accounts.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use waxwing_core::limits::{ByteSize, Count};

/// `[modules.pubsub]`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// How many nodes an account may have. One more is refused with policy-violation.
    pub nodes: Count,
    /// How many items a node keeps at most: what a client means by `max`. Bookmarks and read positions need one for each
    /// conversation.
    pub items: Count,
    /// Size of the largest item. Pictures of people are items.
    pub item_bytes: ByteSize,
    /// How much all nodes of an account hold together. Beyond it nothing is published, with policy-violation.
    pub account_bytes: ByteSize,
    /// How many items are sent at most when somebody asks for them; clients ask for the next page when they want more.
    pub page: Count,
    /// How much is sent at most when somebody asks for items. At least `item_bytes`, and well below
    /// `limits.send_buffer_bytes`.
    pub page_bytes: ByteSize,
    /// How many addresses may have subscribed to a node, and how many its owner may put on its lists.
    pub addresses: Count,
    /// For how many nodes the server remembers how they are configured and who may see them. About 500 bytes each.
    pub remembered_nodes: Count,
    /// How much memory is used to remember what clients of which kind want to be told (XEP-0115).
    pub capabilities_bytes: ByteSize,
    /// How many clients may be asked at a time what they want to be told.
    pub questions: Count,
    /// How many clients of contacts on other servers are remembered as online, each once for every account it has told.
    /// About 250 bytes each. Further ones are told nothing until they come online again.
    pub remote_clients: Count,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            nodes: Count::of(500),
            items: Count::of(10_000),
            item_bytes: ByteSize::kibibytes(256),
            account_bytes: ByteSize::mebibytes(20),
            page: Count::of(1_000),
            page_bytes: ByteSize::kibibytes(384),
            addresses: Count::of(1_000),
            remembered_nodes: Count::of(200_000),
            capabilities_bytes: ByteSize::mebibytes(4),
            questions: Count::of(10_000),
            remote_clients: Count::of(100_000),
        }
    }
}
