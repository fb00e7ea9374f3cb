//! A client without any XMPP library: it sends exactly the bytes a test gives it and reads exactly what comes.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::panic::Location;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::time::{Instant, timeout_at};

use crate::channel::{Carrier, Ending};
use crate::logs;
use crate::names::Names;
use crate::reader::{Item, StreamReader};
use crate::server::TestServer;
use crate::template;
use crate::tls::{TlsChoice, TlsFacts};
use crate::transcript::Transcript;
use crate::tree::Element;

/// How long a client waits for what it expects.
pub const PATIENCE: Duration = Duration::from_secs(5);

/// How many bytes a client remembers as they came.
const HEARD: usize = 4 * 1024 * 1024;

/// Where in a test something was asked for.
pub(crate) type Place = &'static Location<'static>;

/// What came next.
pub(crate) enum Next {
    Item(Item),
    /// The server has sent what no stream may contain.
    Nonsense(String),
    Ended(Ending),
    /// Nothing, for all the patience.
    Silence,
}

/// A client that speaks raw XML. Every wait is bounded; every failure panics with the place in the test and with all that
/// was said on the wires.
pub struct RawClient {
    pub(crate) who: String,
    pub(crate) names: Names,
    pub(crate) transcript: Transcript,
    pub(crate) host: String,
    pub(crate) certificates: PathBuf,
    pub(crate) carrier: Carrier,
    pub(crate) tls: Option<TlsFacts>,
    pub(crate) features: Option<Element>,
    pub(crate) jid: String,
    /// Attributes of every stream header it sends, beside `to` and `version`.
    pub(crate) attributes: String,
    heard: Vec<u8>,
    pub(crate) has_closed: bool,
    pub(crate) patience: Duration,
    reader: StreamReader,
    received: Vec<u8>,
    items: VecDeque<Item>,
    nonsense: Option<String>,
    ending: Option<Ending>,
    pub(crate) has_stream: bool,
    pub(crate) pings: u32,
}

impl RawClient {
    /// Connects to the listener that begins in the clear.
    pub async fn connect(server: &Arc<TestServer>) -> RawClient {
        server.scene().connect().await
    }

    /// Connects to the listener that begins with TLS, and shakes hands as a good client does.
    pub async fn connect_tls(server: &Arc<TestServer>) -> RawClient {
        server.scene().connect_tls().await
    }

    /// A bound session, without presence. The account is made if it is not there; it has exactly this name, so on a
    /// shared server prefer [`Scene::session`](crate::Scene::session).
    pub async fn session(server: &Arc<TestServer>, name: &str, resource: &str) -> RawClient {
        let scene = server.scene();
        scene.account_named(name, name).await;
        scene.session(&format!("{name}/{resource}")).await
    }

    /// A connection in the clear to this address.
    pub(crate) async fn open(
        who: &str,
        address: SocketAddr,
        names: Names,
        transcript: Transcript,
        host: &str,
        certificates: PathBuf,
    ) -> RawClient {
        let carrier =
            Carrier::open(address).await.unwrap_or_else(|error| panic!("cannot connect to {address}: {error}"));
        RawClient::over(carrier, who, names, transcript, host, certificates)
    }

    /// A connection that is there already.
    pub(crate) fn over(
        carrier: Carrier,
        who: &str,
        names: Names,
        transcript: Transcript,
        host: &str,
        certificates: PathBuf,
    ) -> RawClient {
        transcript.add(who, "--", b"connected");
        RawClient {
            who: who.to_owned(),
            names,
            transcript,
            host: host.to_owned(),
            certificates,
            carrier,
            tls: None,
            features: None,
            jid: String::new(),
            attributes: String::new(),
            heard: Vec::new(),
            has_closed: false,
            patience: PATIENCE,
            reader: StreamReader::new(),
            received: Vec::new(),
            items: VecDeque::new(),
            nonsense: None,
            ending: None,
            has_stream: false,
            pings: 0,
        }
    }

    // ---- what the client knows -------------------------------------------------------------------------------------

    /// Its full JID; empty before [`bind`](Self::bind).
    pub fn jid(&self) -> &str {
        &self.jid
    }

    /// Its bare JID; empty before [`bind`](Self::bind).
    pub fn bare(&self) -> &str {
        self.jid.split('/').next().unwrap_or_default()
    }

    /// What it knows of its TLS connection; `None` in the clear.
    pub fn tls(&self) -> Option<&TlsFacts> {
        self.tls.as_ref()
    }

    /// The newest stream features.
    ///
    /// # Panics
    /// When there were none.
    pub fn features(&self) -> &Element {
        self.features.as_ref().expect("stream features have come")
    }

    /// The names of its scene: what `{…}` stands for, and what was captured.
    pub fn names(&self) -> &Names {
        &self.names
    }

    /// What a `{capture:name}` has caught.
    ///
    /// # Panics
    /// When nothing was.
    pub fn captured(&self, name: &str) -> String {
        self.names.value(name)
    }

    /// The newest bytes the server has sent, at most 4 MiB, as they came: for what trees do not show.
    pub fn heard(&self) -> String {
        String::from_utf8_lossy(&self.heard).into_owned()
    }

    /// Writes these attributes into every stream header it sends from now on: `xml:lang='de' xmlns:x='urn:x'`.
    pub fn set_stream_attributes(&mut self, attributes: &str) {
        attributes.clone_into(&mut self.attributes);
    }

    /// Waits longer or shorter from now on.
    pub fn set_patience(&mut self, patience: Duration) {
        self.patience = patience;
    }

    /// Ends the test: what went wrong, where, and everything that was said.
    pub(crate) fn fail(&self, place: Place, problem: impl AsRef<str>) -> ! {
        let (problem, transcript, log) = (problem.as_ref(), self.transcript.shown(), logs::tail());
        panic!("{} at {place}: {problem}\n\n{transcript}\n{log}", self.who)
    }

    pub(crate) fn note(&self, what: &str) {
        self.transcript.add(&self.who, "--", what.as_bytes());
    }

    // ---- sending ---------------------------------------------------------------------------------------------------

    /// Sends XML, or any text, with `{names}` filled in. A connection that is closed by the server is noted and does not
    /// fail the test: what is expected next decides.
    #[track_caller]
    pub fn send(&mut self, xml: impl AsRef<str>) -> impl Future<Output = ()> {
        let place = Location::caller();
        async move {
            match template::fill(xml.as_ref(), &self.names) {
                Ok(text) => self.send_bytes(text).await,
                Err(problem) => self.fail(place, problem),
            }
        }
    }

    /// Sends these bytes as they are. A connection that is closed by the server is noted and does not fail the test.
    pub async fn send_bytes(&mut self, bytes: impl AsRef<[u8]>) {
        if let Err(problem) = self.try_send(bytes).await {
            self.note(&format!("not sent: {problem}"));
        }
    }

    /// Sends these bytes as they are.
    ///
    /// # Errors
    /// Why the server does not take them.
    pub async fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> Result<(), String> {
        let bytes = bytes.as_ref();
        self.transcript.add(&self.who, "->", bytes);
        self.has_closed |= bytes.ends_with(b"</stream:stream>");
        self.carrier.deliver(bytes, self.patience, &mut self.received).await
    }

    /// Sends bytes in pieces of this size, each as a packet of its own as far as the operating system allows.
    pub async fn send_in_pieces(&mut self, bytes: impl AsRef<[u8]>, size: usize) {
        for piece in bytes.as_ref().chunks(size.max(1)) {
            self.send_bytes(piece).await;
            tokio::task::yield_now().await;
        }
    }

    /// Sends XML byte by byte, with `{names}` filled in.
    #[track_caller]
    pub fn send_slowly(&mut self, xml: impl AsRef<str>) -> impl Future<Output = ()> {
        let place = Location::caller();
        async move {
            match template::fill(xml.as_ref(), &self.names) {
                Ok(text) => self.send_in_pieces(text, 1).await,
                Err(problem) => self.fail(place, problem),
            }
        }
    }

    /// Closes the client's direction: `close_notify` under TLS, and FIN.
    pub async fn shut_down(&mut self) {
        self.note("closes its direction");
        let _ = tokio::time::timeout(self.patience, self.carrier.shutdown()).await;
    }

    /// Drops the connection without a word, as a telephone in a tunnel does once its battery is empty.
    pub fn hang_up(&mut self) {
        self.note("hangs up");
        self.carrier.take();
        self.ending = Some(Ending::Broken("hung up".to_owned()));
    }

    // ---- receiving -------------------------------------------------------------------------------------------------

    /// A new stream begins on the same connection: nothing of the old one may be left.
    pub(crate) fn new_stream(&mut self, place: Place) {
        if let Some(item) = self.items.front() {
            self.fail(place, format!("this came before the stream was restarted: {item:?}"));
        }
        if !self.received.is_empty() {
            self.fail(place, "bytes came before the stream was restarted");
        }
        self.reader = StreamReader::new();
        self.has_stream = false;
    }

    /// Whether a stream header has come on the current stream.
    pub(crate) fn has_stream(&self) -> bool {
        self.has_stream
    }

    fn take_received(&mut self) {
        let bytes = std::mem::take(&mut self.received);
        if bytes.is_empty() {
            return;
        }
        self.transcript.add(&self.who, "<-", &bytes);
        self.heard.extend_from_slice(&bytes);
        if self.heard.len() > HEARD {
            self.heard.drain(..self.heard.len() - HEARD);
        }
        match self.reader.feed(&bytes) {
            Ok(items) => self.items.extend(items),
            Err(problem) => self.nonsense = Some(problem),
        }
    }

    /// The next thing that comes, at the latest at the deadline.
    pub(crate) async fn next(&mut self, deadline: Instant) -> Next {
        loop {
            self.take_received();
            if let Some(item) = self.items.pop_front() {
                self.has_stream |= matches!(item, Item::Header(_));
                return Next::Item(item);
            }
            if let Some(problem) = &self.nonsense {
                return Next::Nonsense(problem.clone());
            }
            if let Some(ending) = &self.ending {
                return Next::Ended(ending.clone());
            }
            match timeout_at(deadline, self.carrier.receive()).await {
                Err(_) => return Next::Silence,
                Ok(Ok(bytes)) => self.received = bytes,
                Ok(Err(ending)) => {
                    self.note(&format!("the connection has ended: {ending:?}"));
                    self.ending = Some(ending);
                }
            }
        }
    }

    pub(crate) async fn next_in_time(&mut self) -> Next {
        self.next(Instant::now() + self.patience).await
    }

    /// The next item, whatever it is.
    pub(crate) async fn item(&mut self, place: Place, expected: &str) -> Item {
        match self.next_in_time().await {
            Next::Item(item) => item,
            Next::Nonsense(problem) => self.fail(place, format!("expected {expected}, but {problem}")),
            Next::Ended(ending) => {
                self.fail(place, format!("expected {expected}, but the connection ended: {ending:?}"))
            }
            Next::Silence => self.fail(place, format!("expected {expected}, nothing came in {:?}", self.patience)),
        }
    }

    /// The next first-level element, whatever it is.
    #[track_caller]
    pub fn receive(&mut self) -> impl Future<Output = Element> {
        let place = Location::caller();
        async move { self.element(place, "an element").await }
    }

    /// The next first-level element, or `None` when the stream is closed; then the client closes it, too.
    #[track_caller]
    pub fn receive_or_close(&mut self) -> impl Future<Output = Option<Element>> {
        let place = Location::caller();
        async move {
            match self.item(place, "an element or the end of the stream").await {
                Item::Element(element) => Some(element),
                Item::Close => {
                    self.shut_down().await;
                    self.ending_at(place).await;
                    None
                }
                other => self.fail(place, format!("expected an element or the end of the stream, found {other:?}")),
            }
        }
    }

    pub(crate) async fn element(&mut self, place: Place, expected: &str) -> Element {
        match self.item(place, expected).await {
            Item::Element(element) => element,
            other => self.fail(place, format!("expected {expected}, found {other:?}")),
        }
    }

    /// Everything that still comes until the connection ends, as bytes: for what is not a stream.
    #[track_caller]
    pub fn rest(&mut self) -> impl Future<Output = Vec<u8>> {
        let place = Location::caller();
        async move {
            let deadline = Instant::now() + self.patience;
            let mut rest = std::mem::take(&mut self.received);
            loop {
                match timeout_at(deadline, self.carrier.receive()).await {
                    Ok(Ok(bytes)) => rest.extend(bytes),
                    Ok(Err(ending)) => {
                        self.transcript.add(&self.who, "<-", &rest);
                        self.ending = Some(ending);
                        return rest;
                    }
                    Err(_) => self.fail(place, format!("the connection is still open after {:?}", self.patience)),
                }
            }
        }
    }

    /// Shakes hands on the connection as it stands.
    ///
    /// # Errors
    /// Why there is no TLS now; the connection is gone then.
    pub(crate) async fn shake_hands(&mut self, choice: &TlsChoice, direct: bool) -> anyhow::Result<()> {
        let Carrier::Plain(stream) = self.carrier.take() else { anyhow::bail!("there is no connection in the clear") };
        let shaken = choice.connect(stream, &self.host, &self.certificates, direct);
        let (stream, facts) = tokio::time::timeout(self.patience, shaken).await??;
        self.note(&format!("TLS: {}, ALPN {:?}", facts.version, facts.alpn));
        self.carrier = Carrier::Tls(Box::new(stream));
        self.tls = Some(facts);
        Ok(())
    }
}
