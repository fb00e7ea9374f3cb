//! Bytes become stanzas: listeners, TLS, certificates, framing, negotiation, SASL, binding (RFC 6120 §4 to §7).

mod authentication;
mod binding;
pub mod bucket;
pub mod certificates;
mod client;
mod connection;
pub mod doctor;
mod features;
mod federation;
mod gate;
mod header;
mod line;
mod listeners;
mod module;
mod reading;
pub mod sasl;
mod tcp_wire;
pub mod tls;
mod web;

pub use federation::PLAN as FEDERATION;
pub use listeners::{ListenError, Listeners, Service};
pub use module::PLAN;
