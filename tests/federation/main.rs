//! Servers among themselves: two of ours, and peers that break the rules (RFC 6120, XEP-0178, 0198, 0220, 0288, 0368).

#[path = "../common/mod.rs"]
mod common;
#[path = "../names/mod.rs"]
mod names;
#[path = "../relay/mod.rs"]
mod relay;

mod authority;
mod broken_links;
mod conversations;
mod dane;
mod one_port;
mod peer;
mod proofs;
mod rooms;
mod rules;
mod unreachable;
mod world;
