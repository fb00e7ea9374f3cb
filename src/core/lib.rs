//! The hall of the house: what a stanza is, its way, and who may touch it. No sockets, no SQL text.

pub mod address;
pub mod answers;
pub mod archive;
pub mod arrival;
pub mod catalogue;
pub mod clock;
pub mod config;
pub mod contracts;
pub mod credentials;
pub mod departure;
pub mod directory;
pub mod events;
pub mod fabric;
pub mod fault;
pub mod handover;
pub mod held;
pub mod host;
pub mod house;
pub mod limits;
pub mod mailbox;
pub mod module;
pub mod namespaces;
pub mod nodes;
pub mod notes;
pub mod parcel;
pub mod push;
pub mod random;
pub mod refusal;
pub mod router;
pub mod session;
pub mod stages;
pub mod stanza;
pub mod stream_error;
pub mod wire;

pub use waxwing_storage as storage;
pub use waxwing_xml as xml;
