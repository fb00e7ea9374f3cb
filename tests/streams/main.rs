//! Conformance, sections A and B: streams, XML, TLS, SASL and binding (RFC 6120 §4 to §7, §11), against a running server.

#[path = "../common/mod.rs"]
mod common;

mod binding;
mod endings;
mod headers;
mod sasl;
mod tls;
mod xml;
