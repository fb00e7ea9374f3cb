//! Stream management over real sockets (XEP-0198): what clients see when connections break, come back, collide, and when
//! the server is stopped or dies under them.

#[path = "../common/mod.rs"]
mod common;

mod collisions;
mod endings;
mod managed;
mod protocol;
mod restarts;
