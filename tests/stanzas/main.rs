//! Conformance, sections C and D: stanzas, routing and delivery (RFC 6120 §8, §10; RFC 6121 §8), against a running server.

#[path = "../common/mod.rs"]
mod common;

mod addressing;
mod delivery;
mod offline;
mod rates;
mod refusals;
mod routing;
