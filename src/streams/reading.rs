//! A bound client's reader: bytes become stanzas and depart, one after the other (RFC 6120 §4.4, §4.6).

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Buf, Bytes, BytesMut};
use tokio::time::timeout;
use waxwing_core::config::{Config, Period};
use waxwing_core::departure::depart;
use waxwing_core::limits::Limits;
use waxwing_core::namespaces;
use waxwing_core::parcel::{Origin, Parcel};
use waxwing_core::session::Session;
use waxwing_core::stanza::{IqType, Stanza, element};
use waxwing_core::stream_error::{StreamCondition, StreamError};
use waxwing_core::xml::{Scanner, Token};

use crate::bucket::Bucket;
use crate::connection::drain;
use crate::gate::Admission;
use crate::header;
use crate::line::{Opening, Said};
use crate::tls::Transport;

const TLS_FAILURE: &[u8] = b"<failure xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>";

/// Where a bound client's elements come from.
pub(crate) trait Source: Send + 'static {
    /// What is here whole; nothing when more must come first. Holds no buffer while nothing is here.
    ///
    /// # Errors
    /// What ends the stream.
    fn take(&mut self) -> Result<Option<Said>, StreamError>;

    /// Waits for more; how many bytes came, 0 at the end. Can be dropped at any time without loss.
    fn more(&mut self) -> impl Future<Output = io::Result<usize>> + Send;

    /// After how long a silence the client is asked whether it is there.
    fn quiet(&self, config: &Config) -> Period {
        config.limits.ping_after
    }

    /// Asks the client whether it is there. Any answer will do, an error too (XEP-0199 §4.1).
    fn ask(&mut self, session: &Session) {
        ping(session);
    }

    /// Reads and throws away until the client closes its direction, too.
    fn finish(self, patience: Duration) -> impl Future<Output = ()> + Send;
}

/// Reads elements from a TCP stream.
pub(crate) struct TcpSource {
    pub(crate) transport: Arc<Transport>,
    pub(crate) scanner: Scanner,
    pub(crate) input: BytesMut,
}

impl Source for TcpSource {
    fn take(&mut self) -> Result<Option<Said>, StreamError> {
        let step = self.scanner.next(&self.input).map_err(|error| header::error_for(&error))?;
        self.input.advance(step.consumed);
        let Some(token) = step.token else {
            if self.input.is_empty() {
                // An idle session holds no buffers.
                self.input = BytesMut::new();
            }
            return Ok(None);
        };
        Ok(Some(match token {
            Token::Header(header) => Said::Opening(Opening::from(&header)),
            Token::Element(element) => Said::Element(element),
            Token::Close => Said::Close,
        }))
    }

    async fn more(&mut self) -> io::Result<usize> {
        self.transport.read(&mut self.input).await
    }

    async fn finish(self, patience: Duration) {
        drain(&self.transport, patience).await;
    }
}

/// What a reader needs.
pub(crate) struct Reader<S: Source> {
    pub(crate) session: Arc<Session>,
    /// The number of the wire that belongs to this stream.
    pub(crate) wire_number: u32,
    pub(crate) source: S,
    pub(crate) admission: Admission,
}

/// How fast this client may send.
struct Pace {
    bytes: Bucket,
    stanzas: Bucket,
}

impl Pace {
    fn new(limits: &Limits) -> Pace {
        let now = Instant::now();
        let per_second = if limits.c2s_bytes.is_unlimited() { f64::INFINITY } else { limits.c2s_bytes.get() as f64 };
        Pace {
            bytes: Bucket::new(per_second, limits.c2s_bytes_burst.get() as f64, now),
            stanzas: Bucket::for_rate(limits.c2s_stanzas, limits.c2s_stanzas_burst.get(), now),
        }
    }
}

/// How the reading ended.
enum Ending {
    /// The client has closed the stream.
    Closed,
    /// The stream ends with this error.
    Error(StreamError),
    /// The connection is gone.
    Lost,
    /// The client does not answer, so the connection counts as gone.
    Silent,
    /// The session has ended from our side, or goes on with another stream.
    Ended,
}

/// Ends the session if the reader dies of a fault of ours, and only then.
struct Guard(Option<(Arc<Session>, u32)>);

impl Drop for Guard {
    fn drop(&mut self) {
        if let Some((session, wire_number)) = self.0.take() {
            session.stream_ended(wire_number, Some(StreamCondition::InternalServerError.into()));
        }
    }
}

impl<S: Source> Reader<S> {
    /// Reads until the session is over, or is on another stream.
    pub(crate) async fn run(mut self) {
        let number = self.wire_number;
        let mut guard = Guard(Some((self.session.clone(), number)));
        let ending = self.read().await;
        guard.0 = None;
        match ending {
            Ending::Closed => self.session.stream_ended(number, None),
            Ending::Error(error) => self.session.stream_ended(number, Some(error)),
            Ending::Silent => {
                let error = StreamError::saying(StreamCondition::ConnectionTimeout, "the client did not answer");
                self.session.give_up_wire(number, error);
            }
            // The session may go on with another stream; this one has nothing more to wait for.
            Ending::Lost => return self.session.lost(number),
            Ending::Ended => {}
        }
        self.session.wait_for_detachment(number).await;
        let patience = self.session.host().house().config().limits.close_timeout.get();
        Box::pin(self.source.finish(patience)).await;
        drop(self.admission);
    }

    async fn read(&mut self) -> Ending {
        let mut pace = Pace::new(&self.session.host().house().config().limits);
        loop {
            // In a box: what a departure needs is large, and an idle session does not carry it.
            if let Some(ending) = Box::pin(self.take_stanzas(&mut pace)).await {
                return ending;
            }
            match self.wait_for_bytes().await {
                Ok(bytes) => {
                    let wait = pace.bytes.take(bytes as f64, Instant::now());
                    if let Some(ending) = self.slow_down(wait).await {
                        return ending;
                    }
                }
                Err(ending) => return ending,
            }
        }
    }

    /// Lets every complete stanza of the input depart.
    async fn take_stanzas(&mut self, pace: &mut Pace) -> Option<Ending> {
        loop {
            let said = match self.source.take() {
                Ok(said) => said,
                Err(error) => return Some(Ending::Error(error)),
            };
            match said {
                Some(Said::Element(element)) if element.namespace() == namespaces::TLS => {
                    // RFC 6120 §5.4.2.2: nothing to start here; the stream is over.
                    self.session.send_element(Bytes::from_static(TLS_FAILURE));
                    return Some(Ending::Closed);
                }
                Some(Said::Element(element)) => {
                    if let Err(error) = depart(&self.session, self.wire_number, element).await {
                        return Some(Ending::Error(error));
                    }
                    if self.session.has_ended() || self.session.wire_number() != self.wire_number {
                        return Some(Ending::Ended);
                    }
                    let wait = pace.stanzas.take(1.0, Instant::now());
                    if let Some(ending) = self.slow_down(wait).await {
                        return Some(ending);
                    }
                }
                Some(Said::Close) => return Some(Ending::Closed),
                Some(Said::Opening(_)) => {
                    let text = "the stream has begun already";
                    return Some(Ending::Error(StreamError::saying(StreamCondition::NotAuthorized, text)));
                }
                None => return None,
            }
        }
    }

    /// A client that sends too fast is read more slowly; TCP tells it.
    async fn slow_down(&self, wait: Duration) -> Option<Ending> {
        if wait.is_zero() {
            return None;
        }
        tokio::select! {
            () = tokio::time::sleep(wait) => None,
            () = self.session.wait_for_detachment(self.wire_number) => Some(Ending::Ended),
        }
    }

    /// Waits for bytes; asks a silent client whether it is still there (RFC 6120 §4.6.1).
    async fn wait_for_bytes(&mut self) -> Result<usize, Ending> {
        let config = self.session.host().house().config();
        let (quiet, patience) = (self.source.quiet(&config), config.limits.ping_timeout);
        drop(config);
        if quiet.is_unlimited() {
            return self.read_some().await;
        }
        if let Ok(read) = timeout(quiet.get(), self.read_some()).await {
            return read;
        }
        self.source.ask(&self.session);
        match timeout(patience.get().min(Duration::from_secs(86_400)), self.read_some()).await {
            Ok(read) => read,
            Err(_) => Err(Ending::Silent),
        }
    }

    async fn read_some(&mut self) -> Result<usize, Ending> {
        tokio::select! {
            read = self.source.more() => match read {
                Ok(0) | Err(_) => Err(Ending::Lost),
                Ok(bytes) => Ok(bytes),
            },
            () = self.session.wait_for_detachment(self.wire_number) => Err(Ending::Ended),
        }
    }
}

/// Asks with a ping of XMPP (XEP-0199).
fn ping(session: &Session) {
    let Ok(payload) = element("<ping xmlns='urn:xmpp:ping'/>") else { return };
    let ping = Stanza::iq(IqType::Get).from(session.host().address().clone()).to(session.jid().clone()).with(payload);
    let _ = session.deliver(Parcel::new(ping, Origin::House));
}
