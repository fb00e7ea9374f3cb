//! A fault: our own failure. Logged once, here, with an id that the peer is told too.

use std::fmt::Display;

/// A failure of the server that has been logged under its id.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("fault {id}")]
pub struct Fault {
    id: String,
}

impl Fault {
    /// Logs the cause and gives it an id.
    pub fn new(cause: impl Display) -> Fault {
        let [a, b, c, d] = crate::random::bytes::<4>();
        let id = format!("{a:02x}{b:02x}{c:02x}{d:02x}");
        tracing::error!(fault = %id, cause = %cause, "fault");
        Fault { id }
    }

    /// What the log and the peer call it.
    pub fn id(&self) -> &str {
        &self.id
    }
}
