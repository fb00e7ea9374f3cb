//! XMPP on a WebSocket (RFC 7395): the line a stream is negotiated on, and what reads and writes for its session.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::BytesMut;
use futures_util::future::{BoxFuture, FutureExt};
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;
use tungstenite::protocol::frame::coding::{CloseCode, Control, Data, OpCode};
use waxwing_core::address::BareJid;
use waxwing_core::config::{Config, Period};
use waxwing_core::limits::Limits;
use waxwing_core::session::Session;
use waxwing_core::stream_error::{StreamCondition, StreamError};
use waxwing_core::wire::{Framing, Wire};
use waxwing_core::xml::{self, Element};

use super::frames::{Broken, Message, Messages, head};
use crate::connection::{Over, close, drain, scanner_limits};
use crate::gate::Admission;
use crate::header;
use crate::line::{Line, Said};
use crate::module::Settings;
use crate::reading::{Reader, Source};
use crate::sasl::ChannelBindings;
use crate::tls::{TlsConfiguration, TlsError, Transport};
use crate::web::connection::timed;
use crate::web::standalone;

/// A WebSocket, shared by the task that reads and the task that writes.
struct WebSocket {
    transport: Arc<Transport>,
    /// The code it will be closed with.
    code: AtomicU16,
}

impl WebSocket {
    fn write(&self, opcode: OpCode, content: &[u8]) {
        let (head, used) = head(opcode, content.len());
        self.transport.write_parts([&head[..used], content]);
    }

    fn write_text(&self, element: &[u8]) {
        self.write(OpCode::Data(Data::Text), element);
    }

    /// Says the last words and closes: the error, `<close/>`, the closing frame (RFC 7395 §3.6).
    fn say_goodbye(&self, error: Option<&StreamError>) {
        let moved = error.and_then(|error| moved_to(error));
        if let Some(error) = error.filter(|_| moved.is_none()) {
            self.write_text(&standalone::error(error));
        }
        self.write_text(&standalone::close(moved));
        self.write(OpCode::Control(Control::Close), &self.code.load(Ordering::Acquire).to_be_bytes());
    }

    fn set_code(&self, code: CloseCode) {
        self.code.store(code.into(), Ordering::Release);
    }
}

/// Where a client is sent with `see-other-uri` (RFC 7395 §3.6.1).
fn moved_to(error: &StreamError) -> Option<&str> {
    let is_moved = error.condition == StreamCondition::SeeOtherHost;
    error.address.as_deref().filter(|address| is_moved && address.starts_with("wss://"))
}

/// Reads elements from a WebSocket.
pub(crate) struct WebSocketSource {
    socket: Arc<WebSocket>,
    messages: Messages,
    limits: xml::Limits,
    input: BytesMut,
    /// The client has closed the WebSocket without a word of XMPP: as if the connection had broken.
    is_gone: bool,
}

impl WebSocketSource {
    /// The next element that is here whole.
    fn next_element(&mut self) -> Result<Option<Element>, StreamError> {
        while !self.is_gone {
            // RFC 7395 §3.3: what is a little too large is told so, what is far too large is not gathered at all.
            let message = match self.messages.next(&mut self.input, self.limits.bytes.saturating_mul(2)) {
                Ok(message) => message,
                Err(broken) => return Err(self.refuse(broken)),
            };
            match message {
                None => break,
                Some(Message::Text(text)) => {
                    return Element::parse(text, "", &self.limits).map(Some).map_err(|error| header::error_for(&error));
                }
                Some(Message::Ping(content)) => {
                    // A client that asks and does not listen is not answered.
                    if self.socket.transport.pending() == 0 {
                        self.socket.write(OpCode::Control(Control::Pong), &content);
                    }
                }
                Some(Message::Pong) => {}
                Some(Message::Close) => {
                    self.socket.write(OpCode::Control(Control::Close), &u16::from(CloseCode::Normal).to_be_bytes());
                    self.is_gone = true;
                }
            }
        }
        if self.input.is_empty() {
            // An idle session holds no buffers.
            self.input = BytesMut::new();
        }
        Ok(None)
    }

    fn refuse(&self, broken: Broken) -> StreamError {
        self.socket.set_code(broken.code());
        match broken {
            Broken::TooBig => StreamError::saying(StreamCondition::PolicyViolation, "a message is too long")
                .because("stanza-too-big", waxwing_core::namespaces::ERRORS),
            Broken::Binary => StreamError::saying(StreamCondition::BadFormat, "XMPP is text"),
            Broken::NotText => StreamError::saying(StreamCondition::BadFormat, "this is not UTF-8"),
            Broken::Protocol => StreamError::saying(StreamCondition::BadFormat, "this is not the WebSocket protocol"),
        }
    }
}

impl Source for WebSocketSource {
    fn take(&mut self) -> Result<Option<Said>, StreamError> {
        Ok(self.next_element()?.map(standalone::said))
    }

    async fn more(&mut self) -> io::Result<usize> {
        if self.is_gone {
            return Ok(0);
        }
        self.socket.transport.read(&mut self.input).await
    }

    fn quiet(&self, config: &Config) -> Period {
        // The shorter of the two: proxies forget a connection sooner than we do.
        if config.http.websocket_ping.get() < config.limits.ping_after.get() {
            config.http.websocket_ping
        } else {
            config.limits.ping_after
        }
    }

    fn ask(&mut self, _: &Session) {
        self.socket.write(OpCode::Control(Control::Ping), b"");
    }

    async fn finish(self, patience: Duration) {
        drain(&self.socket.transport, patience).await;
    }
}

/// Our side of a WebSocket.
struct WebSocketWire {
    socket: Arc<WebSocket>,
    patience: Duration,
}

impl Wire for WebSocketWire {
    fn framing(&self) -> Framing {
        Framing::Standalone
    }

    fn write(&mut self, element: &[u8]) {
        self.socket.write_text(element);
    }

    fn poll_flush(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.socket.transport.poll_flush(context)
    }

    fn close(self: Box<Self>, last_words: Option<StreamError>) -> BoxFuture<'static, ()> {
        async move {
            self.socket.say_goodbye(last_words.as_ref());
            close(&self.socket.transport, self.patience).await;
        }
        .boxed()
    }
}

/// What the upgrade has found out about a client.
pub(crate) struct Client {
    pub(crate) address: IpAddr,
    pub(crate) is_encrypted: bool,
}

/// A WebSocket on which a stream is negotiated.
pub(crate) struct WebSocketLine {
    source: WebSocketSource,
    client: Client,
    deadline: Instant,
    stopping: CancellationToken,
    /// The client has opened its stream.
    is_open: bool,
    /// We have opened ours.
    has_opened: bool,
    patience: Duration,
}

impl WebSocketLine {
    /// Over a connection that has become a WebSocket, of which `input` was read already.
    pub(crate) fn new(
        transport: Arc<Transport>,
        input: BytesMut,
        client: Client,
        config: &Config,
        stopping: CancellationToken,
    ) -> WebSocketLine {
        let limits = &config.limits;
        WebSocketLine {
            source: WebSocketSource {
                socket: Arc::new(WebSocket { transport, code: AtomicU16::new(CloseCode::Normal.into()) }),
                messages: Messages::new(config.http.websocket_fragments.get()),
                limits: scanner_limits(limits, false),
                input,
                is_gone: false,
            },
            client,
            deadline: Instant::now() + timed(limits.unauthenticated_timeout),
            stopping,
            is_open: false,
            has_opened: false,
            patience: timed(limits.close_timeout),
        }
    }

    async fn flush(&self) -> Result<(), Over> {
        match timeout_at(self.deadline, self.source.socket.transport.flush()).await {
            Ok(Ok(())) => Ok(()),
            _ => Err(Over::Gone),
        }
    }
}

impl Line for WebSocketLine {
    fn transport(&self) -> &'static str {
        "websocket"
    }

    fn framing(&self) -> Framing {
        Framing::Standalone
    }

    fn peer(&self) -> IpAddr {
        self.client.address
    }

    fn is_encrypted(&self) -> bool {
        self.client.is_encrypted
    }

    fn may_be_plain(&self, _: bool) -> bool {
        // Where it must not be, there was no upgrade.
        true
    }

    fn may_start_tls(&self) -> bool {
        false
    }

    fn server_name(&self) -> Option<String> {
        None
    }

    fn bindings(&self) -> ChannelBindings {
        // Behind a proxy there is no TLS connection that both ends know.
        let info = self.source.socket.transport.info();
        let bindings =
            info.map(|info| ChannelBindings { exporter: info.exporter, server_end_point: info.server_end_point });
        bindings.unwrap_or_default()
    }

    fn redirect(&self, settings: Settings) -> Option<String> {
        settings.redirect_websocket.filter(|_| self.client.is_encrypted)
    }

    fn has_more_input(&self) -> bool {
        !self.source.input.is_empty()
    }

    async fn next(&mut self) -> Result<Said, Over> {
        loop {
            if let Some(element) = self.source.next_element()? {
                let said = standalone::said(element);
                match &said {
                    Said::Opening(_) => self.is_open = true,
                    Said::Close => {}
                    Said::Element(element) if !self.is_open => return Err(standalone::not_open(element).into()),
                    Said::Element(_) => {}
                }
                return Ok(said);
            }
            let read = tokio::select! {
                read = timeout_at(self.deadline, self.source.more()) => read,
                () = self.stopping.cancelled() => return Err(StreamCondition::SystemShutdown.into()),
            };
            match read {
                Ok(Ok(0) | Err(_)) => return Err(Over::Gone),
                Ok(Ok(_)) => {}
                Err(_) => return Err(StreamCondition::ConnectionTimeout.into()),
            }
        }
    }

    async fn send(&mut self, element: &[u8]) -> Result<(), Over> {
        self.source.socket.write_text(element);
        self.flush().await
    }

    async fn open(&mut self, from: &str, to: Option<&BareJid>, features: &[u8]) -> Result<(), Over> {
        self.has_opened = true;
        self.source.socket.write_text(&standalone::open(from, to));
        if !features.is_empty() {
            self.source.socket.write_text(features);
        }
        self.flush().await
    }

    fn authenticated(&mut self, limits: &Limits) {
        self.source.limits = scanner_limits(limits, true);
        self.deadline = Instant::now() + timed(limits.bind_timeout);
        (self.is_open, self.has_opened) = (false, false);
    }

    async fn start_tls(self, _: &TlsConfiguration, _: Option<&str>) -> Result<Self, TlsError> {
        Err(TlsError::Closed)
    }

    async fn end(self, over: Over, from: &str) {
        let error = match over {
            Over::Gone if self.source.is_gone => None,
            Over::Gone => return,
            Over::Closed => None,
            Over::Error(error) => Some(error),
        };
        let socket = &self.source.socket;
        if !self.source.is_gone {
            let is_moved = error.as_ref().is_some_and(|error| moved_to(error).is_some());
            if !self.has_opened && !is_moved {
                socket.write_text(&standalone::open(from, None));
            }
            socket.say_goodbye(error.as_ref());
        }
        close(&socket.transport, self.patience).await;
        drain(&socket.transport, self.patience).await;
    }

    fn wire(&self, patience: Duration) -> Box<dyn Wire> {
        Box::new(WebSocketWire { socket: self.source.socket.clone(), patience })
    }

    fn read(
        self,
        session: Arc<Session>,
        wire_number: u32,
        admission: Admission,
    ) -> impl Future<Output = ()> + Send + 'static {
        Reader { session, wire_number, source: self.source, admission }.run()
    }
}

/// What a client's WebSocket speaks.
pub(crate) const SUBPROTOCOL: &str = "xmpp";
