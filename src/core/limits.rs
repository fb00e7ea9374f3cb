//! Every bound the streams, the core and the rates module keep: `[limits]` of the configuration.
//!
//! The defaults are the last column of "Secure defaults" in the security checklist; they hold with an empty file. Every
//! limit can be lifted for a load test by writing `"unlimited"`; zero is refused, because it would lock everyone out.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use crate::config::units::{ByteRate, ByteSize, Count, Period, Rate};

/// The smallest stanza size a server may be configured to (RFC 6120 §13.12).
pub const SMALLEST_STANZA_LIMIT: ByteSize = ByteSize::bytes(10_000);

/// What one peer may cost the server, before and after it has logged in.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Size of the largest stanza accepted from anyone who has logged in, markup included. A larger one ends the stream
    /// with policy-violation. The default holds a message of 100,000 characters of four bytes each, encrypted and coded
    /// in base64. RFC 6120 (13.12) forbids less than 10,000 bytes.
    pub stanza_bytes: ByteSize,
    /// How deep elements may be nested inside one stanza.
    pub stanza_depth: Count,
    /// How many elements one stanza may hold, however nested.
    pub stanza_elements: Count,
    /// How many attributes one element may bear, namespace declarations included.
    pub stanza_attributes: Count,
    /// Length of the longest element or attribute name, prefix included.
    pub name_bytes: ByteSize,
    /// Size of the largest element accepted before the peer has logged in. Strangers need a few hundred bytes; little
    /// memory here is what makes floods of unauthenticated connections harmless.
    pub unauthenticated_stanza_bytes: ByteSize,
    /// How many elements one element may hold, itself included, before the peer has logged in.
    pub unauthenticated_stanza_elements: Count,

    /// Bytes per second a client may send on average. A faster client is not refused: the server reads it more slowly.
    pub c2s_bytes: ByteRate,
    /// Bytes a client may send at once before `c2s_bytes` slows it down. At least `stanza_bytes`, so that one message of
    /// the full size passes without a wait.
    pub c2s_bytes_burst: ByteSize,
    /// Stanzas per second a client may send on average. A faster client is read more slowly.
    pub c2s_stanzas: Rate,
    /// Stanzas a client may send at once before `c2s_stanzas` slows it down. Clients ask many questions right after
    /// login; lower this only when they cost too much.
    pub c2s_stanzas_burst: Count,
    /// How many different addresses an account may write to. Beyond it messages are refused with policy-violation. This
    /// is what makes an account useless to a spammer.
    pub recipients: Rate,
    /// How many subscription requests an account may send. Beyond it they are refused with policy-violation.
    pub subscriptions: Rate,
    /// How often one session may change its presence. Beyond it changes are refused with policy-violation.
    pub presences: Rate,

    /// How many sessions (devices) of one account may be online at a time. One more is refused with resource-constraint.
    pub sessions_per_user: Count,
    /// How many new connections are accepted by each listener.
    pub connections: Rate,
    /// How many new connections a listener accepts at once before `connections` slows it down.
    pub connections_burst: Count,
    /// How many connections from one address (IPv6: from one /64) may be open without having logged in.
    pub unauthenticated_connections_per_address: Count,
    /// How many connections from one address (IPv6: from one /64) may be open in all. Raise it when many people share
    /// an address.
    pub connections_per_address: Count,
    /// For how many addresses connections and failures are counted at a time. When the table is full, the addresses that
    /// were quiet longest are forgotten. An entry costs some 100 bytes.
    pub tracked_addresses: Count,

    /// How long a connection may take from its first byte until login, TLS included.
    pub unauthenticated_timeout: Period,
    /// How long a client that has logged in may take to bind its session.
    pub bind_timeout: Period,
    /// After how long a silence the server asks a client whether it is still there.
    pub ping_after: Period,
    /// How long a client may take to answer that question (with anything at all) before it counts as gone.
    pub ping_timeout: Period,
    /// How long the server waits for the peer's closing tag after it has sent its own.
    pub close_timeout: Period,
    /// How long a peer may refuse to take a single byte of what is written to it before it counts as gone.
    pub send_timeout: Period,
    /// How much may wait to be written to one session. At least `stanza_bytes`. A client that lets more pile up is
    /// disconnected; what it has not received goes to offline storage.
    pub send_buffer_bytes: ByteSize,

    /// How many failed logins end a stream.
    pub authentication_failures_per_stream: Count,
    /// How many failed logins one address (IPv6: one /64) may cause before it is banned for `ban_time`. Accounts are
    /// never locked: that would let anyone lock anybody out.
    pub authentication_failures_per_address: Rate,
    /// How long the answer to a failed login is held back once its address has failed more than
    /// `authentication_failures_per_stream` times within the time of `authentication_failures_per_address`.
    pub authentication_delay: Period,
    /// How long connections of a banned address are refused.
    pub ban_time: Period,
    /// How many failed attempts to bind a session end a stream.
    pub bind_failures: Count,

    /// How many questions of the server's own, to clients and to other services, may wait for their answers at a time,
    /// for each host. What would be one more is not asked.
    pub open_questions: Count,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            stanza_bytes: ByteSize::mebibytes(1),
            stanza_depth: Count::of(64),
            stanza_elements: Count::of(4096),
            stanza_attributes: Count::of(64),
            name_bytes: ByteSize::bytes(256),
            unauthenticated_stanza_bytes: ByteSize::kibibytes(8),
            unauthenticated_stanza_elements: Count::of(32),
            c2s_bytes: ByteRate::bytes_per_second(16_000),
            c2s_bytes_burst: ByteSize::mebibytes(1),
            c2s_stanzas: Rate::per_second(50),
            c2s_stanzas_burst: Count::of(500),
            recipients: Rate::per_minute(60),
            subscriptions: Rate::per_hour(20),
            presences: Rate::per_minute(10),
            sessions_per_user: Count::of(10),
            connections: Rate::per_second(20),
            connections_burst: Count::of(50),
            unauthenticated_connections_per_address: Count::of(50),
            connections_per_address: Count::of(500),
            tracked_addresses: Count::of(100_000),
            unauthenticated_timeout: Period::seconds(30),
            bind_timeout: Period::seconds(60),
            ping_after: Period::seconds(180),
            ping_timeout: Period::seconds(30),
            close_timeout: Period::seconds(5),
            send_timeout: Period::seconds(60),
            send_buffer_bytes: ByteSize::mebibytes(1),
            authentication_failures_per_stream: Count::of(5),
            authentication_failures_per_address: Rate::per_hour(20),
            authentication_delay: Period::seconds(2),
            ban_time: Period::seconds(3600),
            bind_failures: Count::of(10),
            open_questions: Count::of(20_000),
        }
    }
}
