//! XMPP over BOSH (XEP-0206): the line a stream is negotiated on, and what reads and writes for its session.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::future::{BoxFuture, FutureExt};
use futures_util::task::AtomicWaker;
use http::HeaderValue;
use parking_lot::Mutex;
use tokio::sync::{Notify, oneshot};
use tokio::time::{Instant as Deadline, sleep_until, timeout, timeout_at};
use tokio_util::sync::CancellationToken;
use waxwing_core::address::BareJid;
use waxwing_core::config::{Config, Period};
use waxwing_core::limits::Limits;
use waxwing_core::session::Session;
use waxwing_core::stream_error::{StreamCondition, StreamError};
use waxwing_core::wire::{Framing, Wire};
use waxwing_core::xml::Writer;

use super::exchange::{Answers, Exchange, Slot};
use crate::connection::Over;
use crate::gate::Admission;
use crate::line::{Line, Said};
use crate::module::Settings;
use crate::reading::{Reader, Source};
use crate::sasl::ChannelBindings;
use crate::tls::{TlsConfiguration, TlsError};
use crate::web::connection::timed;
use crate::web::standalone;

/// How much may wait for the client's next request before the session's writer waits, too.
const MOST_WAITING: usize = 64 * 1024;

/// Where the response to a request goes.
pub(crate) type Reply = oneshot::Sender<Bytes>;

impl Slot for Reply {
    fn is_gone(&self) -> bool {
        self.is_closed()
    }
}

/// A BOSH session, shared by the requests, the task that reads and the task that writes.
pub(crate) struct BoshSession {
    pub(crate) exchange: Mutex<Exchange<Reply>>,
    /// The media type of its responses.
    pub(crate) media_type: HeaderValue,
    /// How long a request is held.
    pub(crate) wait: Duration,
    /// Whether its client has logged in, and larger requests are read.
    pub(crate) is_known: AtomicBool,
    /// A client that did not say which version it speaks: errors are statuses of HTTP for it (XEP-0124 §17.1).
    pub(crate) is_legacy: bool,
    news: Notify,
    taken: AtomicWaker,
    /// Cancelled when it has ended.
    pub(crate) over: CancellationToken,
}

impl BoshSession {
    pub(crate) fn new(
        exchange: Exchange<Reply>,
        media_type: HeaderValue,
        wait: Duration,
        is_legacy: bool,
    ) -> BoshSession {
        BoshSession {
            exchange: Mutex::new(exchange),
            media_type,
            wait,
            is_known: AtomicBool::new(false),
            is_legacy,
            news: Notify::new(),
            taken: AtomicWaker::new(),
            over: CancellationToken::new(),
        }
    }

    /// Works on the exchange, and tells everyone what came of it.
    pub(crate) fn with(&self, work: impl FnOnce(&mut Exchange<Reply>, Instant) -> Answers<Reply>) {
        let mut exchange = self.exchange.lock();
        let answers = work(&mut exchange, Instant::now());
        let is_over = exchange.is_over();
        drop(exchange);
        for (reply, response) in answers {
            // Whoever is gone in this moment asks again.
            let _ = reply.send(response);
        }
        if is_over {
            self.over.cancel();
        }
        self.news.notify_one();
        self.taken.wake();
    }

    fn write(&self, element: &[u8]) {
        self.exchange.lock().write(element);
    }

    fn flush(&self) {
        self.with(|exchange, now| exchange.flush(now));
    }

    fn end(&self, error: Option<&StreamError>) {
        let (condition, content) = reason(error);
        self.with(|exchange, _| exchange.terminate(condition, &content));
    }
}

/// How a stream error is told over BOSH (XEP-0124 §17.2, XEP-0206 §6).
fn reason(error: Option<&StreamError>) -> (Option<&'static str>, Vec<u8>) {
    let Some(error) = error else { return (None, Vec::new()) };
    match error.condition {
        StreamCondition::HostUnknown => (Some("host-unknown"), Vec::new()),
        StreamCondition::SystemShutdown => (Some("system-shutdown"), Vec::new()),
        StreamCondition::SeeOtherHost => {
            let mut writer = Writer::new();
            writer.open("uri").text(error.address.as_deref().unwrap_or_default()).close();
            (Some("see-other-uri"), writer.finish().to_vec())
        }
        _ => (Some("remote-stream-error"), standalone::error(error)),
    }
}

/// Hears what a BOSH session's requests bring.
pub(crate) struct BoshSource {
    session: Arc<BoshSession>,
}

impl Source for BoshSource {
    fn take(&mut self) -> Result<Option<Said>, StreamError> {
        self.session.exchange.lock().next_heard().transpose()
    }

    async fn more(&mut self) -> io::Result<usize> {
        loop {
            let dead_at = {
                let mut exchange = self.session.exchange.lock();
                if let Some(bytes) = exchange.news() {
                    // Zero would mean the end.
                    return Ok(bytes.max(1));
                }
                if exchange.is_over() {
                    return Ok(0);
                }
                exchange.dead_at()
            };
            let news = self.session.news.notified();
            match dead_at {
                None => news.await,
                Some(dead_at) => {
                    if timeout_at(dead_at.into(), news).await.is_err() {
                        return Ok(0);
                    }
                }
            }
        }
    }

    fn quiet(&self, config: &Config) -> Period {
        // Its requests tell whether the client is there.
        let _ = config;
        Period::UNLIMITED
    }

    async fn finish(self, patience: Duration) {
        // The session's writer says the last words.
        let _ = timeout(patience, self.session.over.cancelled()).await;
    }
}

impl Drop for BoshSource {
    fn drop(&mut self) {
        // Nothing happens when the last words have been said.
        self.session.with(|exchange, _| exchange.terminate(Some("remote-connection-failed"), b""));
    }
}

/// Our side of a BOSH session.
struct BoshWire {
    session: Arc<BoshSession>,
}

impl Wire for BoshWire {
    fn framing(&self) -> Framing {
        Framing::Standalone
    }

    fn write(&mut self, element: &[u8]) {
        self.session.write(element);
    }

    fn poll_flush(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.session.flush();
        self.session.taken.register(context.waker());
        let exchange = self.session.exchange.lock();
        if exchange.is_over() {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        if exchange.waiting() <= MOST_WAITING { Poll::Ready(Ok(())) } else { Poll::Pending }
    }

    fn close(self: Box<Self>, last_words: Option<StreamError>) -> BoxFuture<'static, ()> {
        async move { self.session.end(last_words.as_ref()) }.boxed()
    }
}

/// A BOSH session on which a stream is negotiated.
pub(crate) struct BoshLine {
    source: BoshSource,
    address: IpAddr,
    is_encrypted: bool,
    deadline: Deadline,
    stopping: CancellationToken,
}

impl BoshLine {
    /// Over a session that has begun.
    pub(crate) fn new(
        session: Arc<BoshSession>,
        address: IpAddr,
        is_encrypted: bool,
        limits: &Limits,
        stopping: CancellationToken,
    ) -> BoshLine {
        let deadline = Deadline::now() + timed(limits.unauthenticated_timeout);
        BoshLine { source: BoshSource { session }, address, is_encrypted, deadline, stopping }
    }
}

impl Line for BoshLine {
    fn transport(&self) -> &'static str {
        "bosh"
    }

    fn framing(&self) -> Framing {
        Framing::Standalone
    }

    fn peer(&self) -> IpAddr {
        self.address
    }

    fn is_encrypted(&self) -> bool {
        self.is_encrypted
    }

    fn may_be_plain(&self, _: bool) -> bool {
        // Where it must not be, no session was made.
        true
    }

    fn may_start_tls(&self) -> bool {
        false
    }

    fn server_name(&self) -> Option<String> {
        None
    }

    fn bindings(&self) -> ChannelBindings {
        // Its requests may come over many connections.
        ChannelBindings::default()
    }

    fn redirect(&self, _: Settings) -> Option<String> {
        None
    }

    fn has_more_input(&self) -> bool {
        false
    }

    async fn next(&mut self) -> Result<Said, Over> {
        loop {
            if let Some(said) = self.source.take()? {
                return Ok(said);
            }
            let read = tokio::select! {
                read = self.source.more() => read,
                () = sleep_until(self.deadline) => return Err(StreamCondition::ConnectionTimeout.into()),
                () = self.stopping.cancelled() => return Err(StreamCondition::SystemShutdown.into()),
            };
            if let Ok(0) | Err(_) = read {
                return Err(Over::Gone);
            }
        }
    }

    async fn send(&mut self, element: &[u8]) -> Result<(), Over> {
        self.source.session.write(element);
        self.source.session.flush();
        Ok(())
    }

    async fn open(&mut self, _: &str, _: Option<&BareJid>, features: &[u8]) -> Result<(), Over> {
        // The session's attributes go out with the first response; there is no header.
        self.send(features).await
    }

    fn authenticated(&mut self, limits: &Limits) {
        self.source.session.is_known.store(true, Ordering::Release);
        self.deadline = Deadline::now() + timed(limits.bind_timeout);
    }

    async fn start_tls(self, _: &TlsConfiguration, _: Option<&str>) -> Result<Self, TlsError> {
        Err(TlsError::Closed)
    }

    async fn end(self, over: Over, _: &str) {
        match over {
            Over::Gone => {}
            Over::Closed => self.source.session.end(None),
            Over::Error(error) => self.source.session.end(Some(&error)),
        }
    }

    fn wire(&self, _: Duration) -> Box<dyn Wire> {
        Box::new(BoshWire { session: self.source.session.clone() })
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
