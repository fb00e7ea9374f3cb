//! A stream of TCP as a test writes it, on what carries elements one by one: `RawClient` over WebSocket and BOSH.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::mpsc::{Receiver, Sender, channel};

/// How much waits on a bridge in each direction; no test says or hears more at once.
const QUEUE: usize = 16 * 1024;

const FRAMING: &str = "urn:ietf:params:xml:ns:xmpp-framing";

/// What a test says.
pub(crate) enum Words {
    /// It opens a stream with these attributes, those of the namespaces left out.
    Open(String),
    /// It closes the stream.
    Close,
    /// Anything else.
    Other(String),
}

impl Words {
    /// Reads what a test has written with one call.
    pub(crate) fn of(bytes: &[u8]) -> Words {
        let text = String::from_utf8_lossy(bytes).into_owned();
        let bare = text.strip_prefix("<?xml version='1.0'?>").unwrap_or(&text);
        if let Some(tag) = bare.strip_prefix("<stream:stream ").and_then(|rest| rest.strip_suffix('>')) {
            let tag = tag.replace("xmlns='jabber:client'", "");
            return Words::Open(tag.replace("xmlns:stream='http://etherx.jabber.org/streams'", "").trim().to_owned());
        }
        if text == "</stream:stream>" { Words::Close } else { Words::Other(declared(text)) }
    }
}

/// A stanza that says its namespace: a test leaves that to the stream.
fn declared(text: String) -> String {
    for name in ["<message", "<presence", "<iq"] {
        let Some(rest) = text.strip_prefix(name) else { continue };
        let tag = rest.split('>').next().unwrap_or_default();
        let is_named = rest.starts_with([' ', '>', '/']);
        if is_named && !tag.contains(" xmlns=") {
            return format!("{name} xmlns='jabber:client'{rest}");
        }
    }
    text
}

/// The element that opens a stream on a WebSocket.
pub(crate) fn open_element(attributes: &str) -> String {
    format!("<open xmlns='{FRAMING}' {attributes}/>")
}

/// The element that closes a stream on a WebSocket.
pub(crate) fn close_element() -> String {
    format!("<close xmlns='{FRAMING}'/>")
}

/// The stream header with these attributes, as it would have come over TCP.
pub(crate) fn header(attributes: &str) -> String {
    format!(
        "<?xml version='1.0'?><stream:stream xmlns='jabber:client' \
         xmlns:stream='http://etherx.jabber.org/streams' {attributes}>"
    )
}

/// What came on a WebSocket, as it would have come over TCP.
pub(crate) fn from_frame(text: &str) -> String {
    let tag = |name: &str| {
        let rest = text.strip_prefix(&format!("<{name} "))?.strip_suffix("/>")?;
        rest.contains(FRAMING).then(|| rest.replace(&format!("xmlns='{FRAMING}'"), ""))
    };
    match (tag("open"), tag("close")) {
        (Some(attributes), _) => header(&attributes),
        (None, Some(_)) => "</stream:stream>".to_owned(),
        _ => text.to_owned(),
    }
}

/// The client's end of a bridge; the other belongs to a task.
pub(crate) struct Bridge {
    to: Option<Sender<Vec<u8>>>,
    from: Receiver<Result<Vec<u8>, String>>,
    left: Vec<u8>,
}

/// The task's end of a bridge. What it sends is what the server has said, or how the connection broke; dropped, the
/// connection has ended in good order.
pub(crate) struct Ends {
    pub(crate) said: Receiver<Vec<u8>>,
    pub(crate) heard: Sender<Result<Vec<u8>, String>>,
}

impl Bridge {
    /// A new bridge.
    pub(crate) fn new() -> (Bridge, Ends) {
        let (to, said) = channel(QUEUE);
        let (heard, from) = channel(QUEUE);
        (Bridge { to: Some(to), from, left: Vec::new() }, Ends { said, heard })
    }
}

impl AsyncRead for Bridge {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.left.is_empty() {
            match ready!(this.from.poll_recv(context)) {
                None => return Poll::Ready(Ok(())),
                Some(Ok(bytes)) => this.left = bytes,
                Some(Err(problem)) => return Poll::Ready(Err(io::Error::other(problem))),
            }
        }
        let length = this.left.len().min(buffer.remaining());
        buffer.put_slice(&this.left[..length]);
        this.left.drain(..length);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Bridge {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let sent = self.to.as_ref().is_some_and(|to| to.try_send(bytes.to_vec()).is_ok());
        Poll::Ready(if sent { Ok(bytes.len()) } else { Err(io::ErrorKind::BrokenPipe.into()) })
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().to = None;
        Poll::Ready(Ok(()))
    }
}
