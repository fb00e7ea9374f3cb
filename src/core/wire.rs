//! The outgoing half of a transport, as a session's writer sees it: TCP with TLS, WebSocket and BOSH are all wires.

use std::io;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::future::{BoxFuture, FutureExt};

use crate::parcel::Parcel;
use crate::session::Session;
use crate::stream_error::StreamError;

/// How elements are put on a wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// One open document: the stream header has declared the namespaces (RFC 6120 §4).
    Stream,
    /// Each element is a document of its own and declares its namespaces (RFC 7395 §3.3.3, XEP-0124).
    Standalone,
}

/// The outgoing half of a transport. A writer owns it; resumption hands the writer a new one.
pub trait Wire: Send + 'static {
    /// How elements are put on this wire.
    fn framing(&self) -> Framing;

    /// Takes one complete element, or with [`Framing::Stream`] several in a row. Never blocks: what the peer does not
    /// take at once waits in the wire, and the writer gives no more until [`Wire::poll_flush`] is ready.
    fn write(&mut self, elements: &[u8]);

    /// Ready when everything written has been handed to the operating system.
    fn poll_flush(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>>;

    /// Says the last words, closes the stream and the connection; bounded in time by the transport.
    fn close(self: Box<Self>, last_words: Option<StreamError>) -> BoxFuture<'static, ()>;
}

/// Keeps what was written to a session until its client has acknowledged it (stream management). A session with a keeper
/// outlives its wire.
pub trait Keeper: Send + Sync {
    /// Whether more may be written before the client has acknowledged something. When that changes, [`Session::go_on`]
    /// tells the writer.
    fn has_room(&self) -> bool {
        true
    }

    /// When the oldest stanza that the client has not acknowledged came, in milliseconds since 1970; none when it has
    /// acknowledged everything.
    fn unacknowledged_since(&self) -> Option<i64> {
        None
    }

    /// Asks the client now what it has received, unless it owes an answer.
    fn ask(&self, session: &Session) {
        let _ = session;
    }

    /// The wire is lost. How long the session waits for a new one.
    fn patience(&self, session: &Session) -> Duration;

    /// What the client has not acknowledged, in order: written again, first of all, to a new wire.
    fn again(&self) -> Vec<Parcel>;

    /// The session is over. What was not acknowledged, in order, and is to go to another device or be kept.
    fn give_up(&self) -> Vec<Parcel>;

    /// Whether the session goes on after a stop of the server, as far as can be said before.
    fn outlives_a_stop(&self) -> bool {
        false
    }

    /// The server stops. Stores the session, so that it goes on after the next start, with what `waiting` has not been
    /// written yet.
    ///
    /// # Errors
    /// Gives back what waited when the session cannot be stored: then it ends.
    fn suspend<'a>(&'a self, session: &'a Session, waiting: Vec<Parcel>) -> BoxFuture<'a, Result<(), Vec<Parcel>>> {
        let _ = session;
        std::future::ready(Err(waiting)).boxed()
    }
}
