//! What the operator decides about components: which there may be, where they connect, and what they may do.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use waxwing_core::config::{ByteSize, Period, Secret};

/// The settings of the module.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Where components connect. Nothing listens while none is named below. The protocol has no encryption of its own, so
    /// this is the machine itself or a network that nobody else reads. Two hosts with components need two addresses.
    pub listen: Vec<SocketAddr>,
    /// The components there may be, each with the `domain` it speaks for (without a dot, one below the host) and the
    /// `secret` that it was told, too: `components = [{ domain = "irc", secret = "what both know" }]`. What a bridge may do
    /// beyond its own domain (XEP-0356) is granted beside them: `roster = "both"`, `message = "outgoing"`,
    /// `presence = "roster"`, `iq = { "jabber:iq:private" = "get" }`.
    pub components: Vec<ComponentSettings>,
    /// How many bytes may wait for a component that reads slowly. What comes beyond that is refused.
    pub queue: ByteSize,
    /// How long a component may take from its connection to its handshake.
    pub handshake_timeout: Period,
    /// How many connections may be at their handshake at a time.
    pub strangers: usize,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            listen: vec![SocketAddr::from(([127, 0, 0, 1], 5347))],
            components: Vec::new(),
            queue: ByteSize::mebibytes(16),
            handshake_timeout: Period::seconds(10),
            strangers: 20,
        }
    }
}

/// One component.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ComponentSettings {
    /// Its domain; without a dot it stands below the host.
    pub domain: String,
    /// What both sides know.
    pub secret: Secret,
    /// Which roster requests it may make in the name of the host's accounts.
    pub roster: Access,
    /// Which messages it may send in the name of the host's accounts.
    pub message: Messages,
    /// Whose presence it is told.
    pub presence: Presences,
    /// Which other IQs it may send in the name of the host's accounts, by the namespace of their payload.
    pub iq: BTreeMap<String, Access>,
}

/// Which types of IQ are allowed (XEP-0356 §4.1).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs, reason = "the names are the XEP's")]
pub enum Access {
    #[default]
    None,
    Get,
    Set,
    Both,
}

impl Access {
    /// Whether questions are allowed.
    pub fn may_get(self) -> bool {
        matches!(self, Access::Get | Access::Both)
    }

    /// Whether changes are allowed.
    pub fn may_set(self) -> bool {
        matches!(self, Access::Set | Access::Both)
    }

    /// Its name on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Access::None => "none",
            Access::Get => "get",
            Access::Set => "set",
            Access::Both => "both",
        }
    }
}

/// Which messages are allowed (XEP-0356 §5.1).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs, reason = "the names are the XEP's")]
pub enum Messages {
    #[default]
    None,
    Outgoing,
}

/// Whose presence is told (XEP-0356 §7).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs, reason = "the names are the XEP's")]
pub enum Presences {
    #[default]
    None,
    ManagedEntity,
    Roster,
}
