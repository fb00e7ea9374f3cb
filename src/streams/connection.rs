//! A connection while its stream is negotiated: bytes in and out, one deadline, and a proper end.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, BytesMut};
use rustls::client::ClientConfig;
use rustls_pki_types::ServerName;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::sync::CancellationToken;
use waxwing_core::address::BareJid;
use waxwing_core::limits::Limits;
use waxwing_core::stream_error::{StreamCondition, StreamError};
use waxwing_core::xml::{self, Scanner, Token, Writer};

use crate::header;
use crate::tls::{TlsConfiguration, TlsError, Transport};

/// Why a negotiation is over.
#[derive(Debug)]
pub(crate) enum Over {
    /// The stream ends with this error.
    Error(StreamError),
    /// The client has closed the stream.
    Closed,
    /// The connection is gone, or nothing may be said on it any more.
    Gone,
}

impl From<StreamError> for Over {
    fn from(error: StreamError) -> Over {
        Over::Error(error)
    }
}

impl From<StreamCondition> for Over {
    fn from(condition: StreamCondition) -> Over {
        Over::Error(condition.into())
    }
}

/// The bounds of the scanner before and after a login.
pub(crate) fn scanner_limits(limits: &Limits, authenticated: bool) -> xml::Limits {
    xml::Limits {
        bytes: if authenticated { limits.stanza_bytes } else { limits.unauthenticated_stanza_bytes }.get(),
        depth: limits.stanza_depth.get(),
        elements: if authenticated { limits.stanza_elements } else { limits.unauthenticated_stanza_elements }.get(),
        attributes: limits.stanza_attributes.get(),
        name_bytes: limits.name_bytes.get(),
        // Each declaration is an attribute of some element that is open.
        namespaces: limits.stanza_attributes.get().saturating_mul(4),
    }
}

/// A connection whose stream is being negotiated.
pub(crate) struct Connection {
    pub(crate) transport: Arc<Transport>,
    scanner: Scanner,
    input: BytesMut,
    /// When the negotiation must have got further.
    deadline: Instant,
    stopping: CancellationToken,
    header_sent: bool,
    close_timeout: Duration,
}

/// The longest a timer runs; limits that are lifted become this.
const A_LONG_TIME: Duration = Duration::from_secs(86_400 * 365);

impl Connection {
    pub(crate) fn new(transport: Transport, limits: &Limits, stopping: CancellationToken) -> Connection {
        Connection {
            transport: Arc::new(transport),
            scanner: Scanner::new(scanner_limits(limits, false)),
            input: BytesMut::new(),
            deadline: Instant::now() + limits.unauthenticated_timeout.get().min(A_LONG_TIME),
            stopping,
            header_sent: false,
            close_timeout: limits.close_timeout.get().min(A_LONG_TIME),
        }
    }

    /// The same connection, of which this was read already.
    pub(crate) fn after(mut self, input: BytesMut) -> Connection {
        self.input = input;
        self
    }

    /// From here on the client has logged in: other limits and another deadline hold, and the stream begins anew.
    pub(crate) fn authenticated(&mut self, limits: &Limits) {
        self.scanner.set_limits(scanner_limits(limits, true));
        self.restart();
        self.deadline = Instant::now() + limits.bind_timeout.get().min(A_LONG_TIME);
    }

    /// The stream begins anew (RFC 6120 §4.3.3).
    pub(crate) fn restart(&mut self) {
        self.scanner.restart();
        self.header_sent = false;
    }

    /// The next token of the stream.
    pub(crate) async fn next(&mut self) -> Result<Token, Over> {
        loop {
            let step = self.scanner.next(&self.input).map_err(|error| header::error_for(&error))?;
            self.input.advance(step.consumed);
            if let Some(token) = step.token {
                return Ok(token);
            }
            if self.input.is_empty() {
                self.input = BytesMut::new();
            }
            let read = tokio::select! {
                read = timeout_at(self.deadline, self.transport.read(&mut self.input)) => read,
                () = self.stopping.cancelled() => return Err(StreamCondition::SystemShutdown.into()),
            };
            match read {
                Ok(Ok(0)) | Ok(Err(_)) => return Err(Over::Gone),
                Ok(Ok(_)) => {}
                Err(_) => return Err(StreamCondition::ConnectionTimeout.into()),
            }
        }
    }

    /// Whether bytes wait that were not looked at: plaintext behind `<starttls/>` (security row S9).
    pub(crate) fn has_more_input(&self) -> bool {
        !self.input.is_empty()
    }

    /// Writes and waits until it has left.
    pub(crate) async fn send(&mut self, bytes: &[u8]) -> Result<(), Over> {
        self.transport.write(bytes);
        match timeout_at(self.deadline, self.transport.flush()).await {
            Ok(Ok(())) => Ok(()),
            _ => Err(Over::Gone),
        }
    }

    /// Writes our stream header; with what follows it when the client is let in.
    pub(crate) async fn send_header(&mut self, from: &str, to: Option<&BareJid>, features: &[u8]) -> Result<(), Over> {
        let mut bytes = header::ours(from, to);
        bytes.extend_from_slice(features);
        self.header_sent = true;
        self.send(&bytes).await
    }

    /// Only our header has gone out, nothing behind it yet.
    pub(crate) async fn greet(&mut self, from: &str, to: Option<&BareJid>) -> Result<(), Over> {
        self.send_header(from, to, b"").await
    }

    /// Writes an opening of our own making: a header between servers, with what follows it.
    pub(crate) async fn open(&mut self, opening: &[u8]) -> Result<(), Over> {
        self.header_sent = true;
        self.send(opening).await
    }

    /// The same connection under TLS, with us as the client.
    pub(crate) async fn start_tls_as_client(
        mut self,
        configuration: Arc<ClientConfig>,
        name: ServerName<'static>,
    ) -> Result<Connection, TlsError> {
        let transport = Arc::into_inner(self.transport).ok_or(TlsError::Closed)?;
        let shaken = timeout_at(self.deadline, transport.start_tls_as_client(configuration, name)).await;
        self.transport = Arc::new(shaken.map_err(|_| TlsError::Closed)??);
        self.restart();
        Ok(self)
    }

    /// The peer is known: it may send what an authenticated one may. The stream goes on.
    pub(crate) fn trust(&mut self, limits: &Limits) {
        self.scanner.set_limits(scanner_limits(limits, true));
    }

    /// Until when something must come.
    pub(crate) fn wait_until(&mut self, deadline: Instant) {
        self.deadline = deadline;
    }

    /// The same connection under TLS. When the handshake fails, nothing more is said on it (RFC 6120 §5.4.3.2).
    pub(crate) async fn start_tls(
        mut self,
        configuration: &TlsConfiguration,
        host: Option<&str>,
    ) -> Result<Connection, TlsError> {
        let transport = Arc::into_inner(self.transport).ok_or(TlsError::Closed)?;
        let shaken = timeout_at(self.deadline, transport.start_tls(configuration, host)).await;
        self.transport = Arc::new(shaken.map_err(|_| TlsError::Closed)??);
        self.scanner.restart();
        self.header_sent = false;
        Ok(self)
    }

    /// Takes the parts a session goes on with: the transport, the scanner, and what was read and not looked at yet.
    pub(crate) fn into_parts(self) -> (Arc<Transport>, Scanner, BytesMut) {
        (self.transport, self.scanner, self.input)
    }

    /// Ends the stream: our header if it has not gone out (RFC 6120 §4.9.1.2), the error, the closing tag, the connection.
    pub(crate) async fn end(self, over: Over, from: &str) {
        let opening = header::ours(from, None);
        self.end_after(over, opening).await;
    }

    /// As [`Connection::end`], with this opening if none has gone out.
    pub(crate) async fn end_after(self, over: Over, opening: Vec<u8>) {
        let error = match over {
            Over::Gone => return,
            Over::Closed => None,
            Over::Error(error) => Some(error),
        };
        let mut last_words = if self.header_sent { Vec::new() } else { opening };
        last_words.extend_from_slice(&closing(error.as_ref()));
        self.transport.write(&last_words);
        close(&self.transport, self.close_timeout).await;
        drain(&self.transport, self.close_timeout).await;
    }
}

/// A stream error, if it is one, and the closing tag.
pub(crate) fn closing(error: Option<&StreamError>) -> Vec<u8> {
    let mut writer = Writer::new();
    if let Some(error) = error {
        error.write(&mut writer, false);
    }
    let mut bytes = writer.finish().to_vec();
    bytes.extend_from_slice(b"</stream:stream>");
    bytes
}

/// Sends what waits and closes our direction: `close_notify` and FIN. A peer that does not read is not waited for.
pub(crate) async fn close(transport: &Transport, patience: Duration) {
    let _ = timeout(patience.min(A_LONG_TIME), transport.close()).await;
}

/// Reads and throws away until the peer closes its direction too, or the patience ends (RFC 6120 §4.4). Without it the
/// operating system would answer late bytes with a reset, and our last words could be lost.
pub(crate) async fn drain(transport: &Transport, patience: Duration) {
    let mut thrown_away = BytesMut::new();
    let drained = async {
        while let Ok(1..) = transport.read(&mut thrown_away).await {
            thrown_away = BytesMut::new();
        }
    };
    let _ = timeout(patience.min(A_LONG_TIME), drained).await;
}
