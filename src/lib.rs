//! The roof of the house as a library, so that tests can start the very server that `main.rs` starts.

pub mod assembly;
pub mod command_line;
pub mod doctor;
pub mod server;
pub mod start_up;
