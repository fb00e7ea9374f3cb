//! Devices that are away are called through the servers of their apps (XEP-0357), over real sockets. The app server is a
//! client of the same host that answers what it is sent.

#[path = "../common/mod.rs"]
mod common;

mod app;
mod calling;
mod devices;
mod failures;
mod managing;
