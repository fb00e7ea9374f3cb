//! Conformance, sections E to G: rosters, presence, and the tables of subscription states (RFC 6121 §2 to §4, appendix A).

#[path = "../common/mod.rs"]
mod common;

mod blocking;
mod items;
mod pair;
mod presence;
mod probes;
mod states;
mod subscriptions;
mod versions;
