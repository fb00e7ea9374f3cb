//! Strict, incremental XML framing for XMPP streams (RFC 6120 §4, §11) and a small writer.

mod skeleton;
pub use skeleton::*;
