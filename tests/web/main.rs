//! The web: the HTTP seam, WebSocket (RFC 7395), BOSH (XEP-0124, XEP-0206), discovery, health, one port for everything.

#[path = "../common/mod.rs"]
mod common;

mod bosh;
mod health;
mod host_meta;
mod seam;
mod websocket;
