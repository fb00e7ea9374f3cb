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
use crate::compare::{Captures, compare};
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
    has_closed: bool,
    patience: Duration,
    reader: StreamReader,
    received: Vec<u8>,
    items: VecDeque<Item>,
    nonsense: Option<String>,
    ending: Option<Ending>,
    has_stream: bool,
    pings: u32,
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

    pub(crate) async fn element(&mut self, place: Place, expected: &str) -> Element {
        match self.item(place, expected).await {
            Item::Element(element) => element,
            other => self.fail(place, format!("expected {expected}, found {other:?}")),
        }
    }

    /// The next element must fit the template.
    #[track_caller]
    pub fn expect(&mut self, template: impl AsRef<str>) -> impl Future<Output = Element> {
        let place = Location::caller();
        async move { self.expect_at(place, template.as_ref()).await }
    }

    pub(crate) async fn expect_at(&mut self, place: Place, template: &str) -> Element {
        let pattern = self.pattern(place, template);
        let element = self.element(place, &template::shown(&pattern)).await;
        match compare(&pattern, &element) {
            Ok(captures) => self.keep(captures),
            Err(problem) => {
                self.fail(place, format!("{problem}\nexpected: {}\n   found: {element}", template::shown(&pattern)))
            }
        }
        element
    }

    /// The next elements, one for each template, must fit them in some order; given back in the order of the templates.
    #[track_caller]
    pub fn expect_in_any_order(&mut self, templates: &[impl AsRef<str>]) -> impl Future<Output = Vec<Element>> {
        let place = Location::caller();
        async move {
            let mut waiting: Vec<_> =
                templates.iter().map(|template| Some(self.pattern(place, template.as_ref()))).collect();
            let mut found = vec![Element::default(); waiting.len()];
            for _ in 0..found.len() {
                let left = waiting.iter().flatten().map(template::shown).collect::<Vec<_>>().join("\n          ");
                let element = self.element(place, &format!("one of {left}")).await;
                let fitting = waiting
                    .iter()
                    .enumerate()
                    .find_map(|(index, pattern)| Some((index, compare(pattern.as_ref()?, &element).ok()?)));
                let Some((index, captures)) = fitting else {
                    self.fail(place, format!("none fits\nexpected: {left}\n   found: {element}"));
                };
                self.keep(captures);
                waiting[index] = None;
                found[index] = element;
            }
            found
        }
    }

    fn pattern(&self, place: Place, template: &str) -> Element {
        template::pattern(template, &self.names).unwrap_or_else(|problem| self.fail(place, problem))
    }

    fn keep(&self, captures: Captures) {
        for (name, value) in captures {
            self.names.set(&name, value);
        }
    }

    // ---- nothing comes ---------------------------------------------------------------------------------------------

    /// Nothing comes for this long. Slow by nature: [`barrier`](Self::barrier) proves nearly as much and is fast.
    #[track_caller]
    pub fn expect_silence(&mut self, duration: Duration) -> impl Future<Output = ()> {
        let place = Location::caller();
        async move {
            match self.next(Instant::now() + duration).await {
                Next::Silence => {}
                Next::Item(item) => self.fail(place, format!("expected silence, found {item:?}")),
                Next::Nonsense(problem) => self.fail(place, format!("expected silence, but {problem}")),
                Next::Ended(ending) => {
                    self.fail(place, format!("expected silence, but the connection ended: {ending:?}"))
                }
            }
        }
    }

    /// A ping to the server and its answer, and nothing before the answer: all the client has sent is done, and nobody
    /// has sent it anything. Works on bound sessions.
    #[track_caller]
    pub fn barrier(&mut self) -> impl Future<Output = ()> {
        let place = Location::caller();
        async move {
            let before = self.drain_at(place).await;
            if let Some(element) = before.first() {
                self.fail(place, format!("expected nothing more, found {element}"));
            }
        }
    }

    /// A ping to the server and its answer; gives back what came before the answer.
    #[track_caller]
    pub fn drain(&mut self) -> impl Future<Output = Vec<Element>> {
        let place = Location::caller();
        async move { self.drain_at(place).await }
    }

    pub(crate) async fn drain_at(&mut self, place: Place) -> Vec<Element> {
        self.pings += 1;
        let id = format!("kit-ping-{}", self.pings);
        let host = self.bare().split('@').next_back().unwrap_or_default().to_owned();
        self.send_bytes(format!("<iq type='get' id='{id}' to='{host}'><ping xmlns='urn:xmpp:ping'/></iq>")).await;
        let mut before = Vec::new();
        loop {
            let element = self.element(place, "the answer to a ping").await;
            if element.name == "iq" && element.attribute("id") == Some(&id) {
                return before;
            }
            before.push(element);
        }
    }

    // ---- the end ---------------------------------------------------------------------------------------------------

    /// The stream ends with this error (`a|b` where the rules leave a choice): our header before it if none has come yet
    /// (RFC 6120 §4.9.1.2), `<stream:error/>`, the closing tag, and the end of the connection, in good order.
    #[track_caller]
    pub fn expect_stream_error(&mut self, condition: &str) -> impl Future<Output = Element> {
        let place = Location::caller();
        async move {
            let expected = format!("a stream error <{condition}/>");
            if !self.has_stream {
                self.header_at(place, &format!("a stream header before {expected}")).await;
            }
            let error = self.element(place, &expected).await;
            if let Err(problem) = check_stream_error(&error, condition) {
                self.fail(place, format!("expected {expected}: {problem}: {error}"));
            }
            self.expect_end_at(place).await;
            error
        }
    }

    /// The closing tag of the stream comes, and then the end of the connection in good order; the client closes its
    /// direction, too.
    #[track_caller]
    pub fn expect_end(&mut self) -> impl Future<Output = ()> {
        let place = Location::caller();
        async move { self.expect_end_at(place).await }
    }

    async fn expect_end_at(&mut self, place: Place) {
        let item = self.item(place, "</stream:stream>").await;
        if item != Item::Close {
            self.fail(place, format!("expected </stream:stream>, found {item:?}"));
        }
        if !self.has_closed {
            self.send_bytes("</stream:stream>").await;
        }
        self.shut_down().await;
        match self.ending_at(place).await {
            Ending::Proper => {}
            Ending::Broken(how) => self.fail(place, format!("the connection did not end in good order: {how}")),
        }
    }

    /// The connection ends without another word on the stream.
    #[track_caller]
    pub fn expect_close(&mut self) -> impl Future<Output = Ending> {
        let place = Location::caller();
        async move { self.ending_at(place).await }
    }

    async fn ending_at(&mut self, place: Place) -> Ending {
        match self.next_in_time().await {
            Next::Ended(ending) => ending,
            Next::Item(item) => self.fail(place, format!("expected the end of the connection, found {item:?}")),
            Next::Nonsense(problem) => self.fail(place, format!("expected the end of the connection, but {problem}")),
            Next::Silence => self.fail(place, format!("the connection is still open after {:?}", self.patience)),
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

/// RFC 6120 §4.9.2: one defined condition first, then at most one text, then at most one condition of an application.
fn check_stream_error(error: &Element, conditions: &str) -> Result<(), String> {
    const STREAMS: &str = "urn:ietf:params:xml:ns:xmpp-streams";
    if (error.namespace.as_str(), error.name.as_str()) != ("http://etherx.jabber.org/streams", "error") {
        return Err("it is no stream error".to_owned());
    }
    let mut children = error.elements();
    match children.next() {
        Some(first) if first.namespace == STREAMS && conditions.split('|').any(|name| name == first.name) => {}
        first => return Err(format!("the condition is {}", first.map_or("missing", |first| first.name.as_str()))),
    }
    let rest: Vec<_> = children.collect();
    let texts = rest.iter().filter(|child| child.namespace == STREAMS).count();
    let is_text = |child: &&&Element| child.namespace == STREAMS && child.name == "text";
    if texts != rest.iter().filter(is_text).count() || texts > 1 || rest.len() - texts > 1 {
        return Err("there is more than one condition".to_owned());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_error_has_one_condition() {
        let judge = |inside: &str, conditions: &str| {
            let error = Element::parse(&format!("<stream:error>{inside}</stream:error>")).unwrap();
            check_stream_error(&error, conditions)
        };
        let condition = "<reset xmlns='urn:ietf:params:xml:ns:xmpp-streams'/>";
        let text = "<text xmlns='urn:ietf:params:xml:ns:xmpp-streams'>why</text>";
        judge(condition, "reset").unwrap();
        judge(&format!("{condition}{text}<x xmlns='urn:x'/>"), "conflict|reset").unwrap();
        judge(condition, "conflict").unwrap_err();
        judge("", "reset").unwrap_err();
        judge(&format!("{text}{condition}"), "reset").unwrap_err();
        judge(&format!("{condition}{condition}"), "reset").unwrap_err();
        judge("<reset/>", "reset").unwrap_err();
    }
}
