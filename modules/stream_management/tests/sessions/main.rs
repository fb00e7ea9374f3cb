//! Managed sessions from the outside: what clients see when streams break, come back, collide, or never do.

mod live;
mod restarts;
mod world;
