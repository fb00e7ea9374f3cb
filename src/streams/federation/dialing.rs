//! Reaching another server: addresses in turn, TLS, and the proofs both sides give (RFC 6120 §3 to §6, XEP-0178, XEP-0220,
//! XEP-0495).

use std::io;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use rustls_pki_types::ServerName;
use socket2::{SockRef, TcpKeepalive};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};
use waxwing_core::house::House;
use waxwing_core::namespaces;
use waxwing_core::refusal::Refusal;
use waxwing_core::xml::{Element, Token, Writer};

use super::dane;
use super::dialback::{self, Expected, Keys, Says, Word};
use super::discovery::{Discovery, Endpoint, Nowhere};
use super::greeting::{self, Offered};
use super::identity::{Authorities, Untrusted, client_configuration};
use super::link::Pair;
use super::settings::Settings;
use crate::certificates::Certificates;
use crate::certificates::names::to_ascii;
use crate::connection::{Connection, Over};
use crate::header;
use crate::tls::{TlsError, Transport};

/// After how long the next address is tried beside the one that has not answered yet (RFC 8305 §5).
const STAGGER: Duration = Duration::from_millis(250);
/// How long one address may take to accept a connection.
const ACCEPTING: Duration = Duration::from_secs(10);
/// How long is waited before a server that seems to be away for a moment only is tried again; together a third of the usual
/// time for reaching it.
const PAUSES: [Duration; 3] = [Duration::from_millis(250), Duration::from_millis(1_750), Duration::from_secs(8)];
/// After how long the operating system looks whether a silent peer is still there.
const KEEP_ALIVE: Duration = Duration::from_secs(120);

/// Why another server cannot be reached.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// There is nowhere to connect to.
    #[error("{0}")]
    Nowhere(#[from] Nowhere),
    /// No address accepts connections.
    #[error("none of its addresses accepts connections: {0}")]
    Unreachable(io::Error),
    /// TLS could not be agreed on, or is not offered.
    #[error("no TLS: {0}")]
    Tls(String),
    /// Its certificate does not prove who it is.
    #[error("{0}")]
    Untrusted(#[from] Untrusted),
    /// It does not accept our proof of who we are.
    #[error("it does not accept us: {0}")]
    NotAccepted(String),
    /// The connection broke.
    #[error("the connection broke while it was set up")]
    Broken,
    /// It ended the stream.
    #[error("it ended the stream: {0}")]
    Ended(String),
    /// It says what makes no sense.
    #[error("it breaks the protocol: {0}")]
    Protocol(String),
    /// It took too long.
    #[error("it took too long")]
    TooLong,
}

impl Failure {
    /// What the senders of what waited are told (RFC 6120 §8.3.3.16 and .17).
    pub(crate) fn refusal(&self) -> Refusal {
        match self {
            Failure::Nowhere(Nowhere::NoServer | Nowhere::Denied | Nowhere::NotPublic) => {
                Refusal::remote_server_not_found().saying(self.to_string())
            }
            _ => Refusal::remote_server_timeout().saying(self.to_string()),
        }
    }

    /// Whether it may be over in a moment: the line broke, or the server starts again.
    fn is_passing(&self) -> bool {
        match self {
            Failure::Broken | Failure::Unreachable(_) => true,
            Failure::Ended(condition) => condition.starts_with("system-shutdown") || condition.starts_with("reset"),
            _ => false,
        }
    }

    /// Whether another address of the same domain may do better.
    fn is_of_this_address(&self) -> bool {
        !matches!(self, Failure::Nowhere(_) | Failure::TooLong)
    }
}

impl From<Over> for Failure {
    fn from(over: Over) -> Failure {
        match over {
            Over::Error(error) => Failure::Protocol(error.to_string()),
            Over::Closed => Failure::Ended("closed".to_owned()),
            Over::Gone => Failure::Broken,
        }
    }
}

/// A server that has greeted us under TLS.
pub(crate) struct Greeted {
    pub(crate) connection: Connection,
    /// The id of its stream.
    pub(crate) id: String,
    pub(crate) offered: Offered,
    /// Whether its certificate proves who it is.
    pub(crate) trusted: Result<(), Untrusted>,
}

/// A stream on which we may send.
pub(crate) struct Established {
    pub(crate) connection: Connection,
    pub(crate) offered: Offered,
    /// By what we have proved who we are: `EXTERNAL` or `dialback`.
    pub(crate) proof: &'static str,
    /// Whether the other server may send on it, too.
    pub(crate) bidi: bool,
}

/// What a server is connected to for.
#[derive(Clone, Copy)]
enum Errand<'a> {
    /// To send.
    Prove,
    /// To ask about a key.
    Ask { id: &'a str, key: &'a str },
}

/// What came of it.
enum Done {
    Established(Box<Established>),
    Answered(bool),
}

/// Connects to other servers.
pub(crate) struct Dialer {
    pub(crate) house: Arc<House>,
    pub(crate) settings: Arc<Settings>,
    pub(crate) discovery: Discovery,
    pub(crate) authorities: Authorities,
    pub(crate) keys: Keys,
    /// Who has been given a key and may ask whether it is ours.
    pub(crate) expected: Expected,
    /// Our certificates, once the listeners are opened.
    pub(crate) certificates: OnceLock<Arc<Certificates>>,
}

impl Dialer {
    /// How long reaching a server may take in all.
    pub(crate) fn patience(&self) -> Duration {
        self.settings.connect_timeout.get().min(Duration::from_secs(3_600))
    }

    /// Reaches a server, proves who we are and makes sure who it is. Takes no longer than the settings allow.
    ///
    /// # Errors
    /// Why it failed; of several addresses that of the last one.
    pub(crate) async fn reach(&self, pair: &Pair) -> Result<Established, Failure> {
        match timeout(self.patience(), self.try_again(pair)).await {
            Ok(Ok(Done::Established(established))) => Ok(*established),
            Ok(Ok(Done::Answered(_))) => Err(Failure::Protocol("an answer without a question".to_owned())),
            Ok(Err(failure)) => Err(failure),
            Err(_) => Err(Failure::TooLong),
        }
    }

    /// Tries a few times, where the trouble looks as if it passed.
    async fn try_again(&self, pair: &Pair) -> Result<Done, Failure> {
        for pause in PAUSES {
            match self.try_addresses(pair, Errand::Prove).await {
                Err(failure) if failure.is_passing() => {
                    tracing::debug!(domain = %pair.theirs, %failure, "federation.tried_again");
                    tokio::time::sleep(pause).await;
                }
                done => return done,
            }
        }
        self.try_addresses(pair, Errand::Prove).await
    }

    /// Asks the server of `theirs` whether a key for a stream is its own (XEP-0220 §2.3). Always on a connection of its own,
    /// so that the answer is to this question and from there (security row S13).
    ///
    /// # Errors
    /// Why it could not be found out.
    pub(crate) async fn verify(&self, pair: &Pair, id: &str, key: &str) -> Result<bool, Failure> {
        match timeout(self.patience(), self.try_addresses(pair, Errand::Ask { id, key })).await {
            Ok(Ok(done)) => Ok(matches!(done, Done::Answered(true))),
            Ok(Err(failure)) => Err(failure),
            Err(_) => Err(Failure::TooLong),
        }
    }

    /// Tries the addresses of a server until the errand is done at one.
    async fn try_addresses(&self, pair: &Pair, errand: Errand<'_>) -> Result<Done, Failure> {
        let mut endpoints = self.discovery.endpoints(&pair.theirs).await?;
        let mut last = Failure::Nowhere(Nowhere::NoServer);
        while !endpoints.is_empty() {
            let (index, socket) = match connect(&endpoints).await {
                Ok(connected) => connected,
                // An address that accepts connections and then does not do says more than one that does not.
                Err(error) if matches!(last, Failure::Nowhere(_)) => return Err(Failure::Unreachable(error)),
                Err(_) => return Err(last),
            };
            let endpoint = endpoints.remove(index);
            let done = match self.greet(pair, &endpoint, socket).await {
                Ok(greeted) => match errand {
                    Errand::Prove => self.prove(pair, greeted).await.map(|done| Done::Established(Box::new(done))),
                    Errand::Ask { id, key } => self.ask(pair, greeted, id, key).await.map(Done::Answered),
                },
                Err(failure) => Err(failure),
            };
            match done {
                Err(failure) if failure.is_of_this_address() => {
                    tracing::debug!(domain = %pair.theirs, address = %endpoint.address, %failure, "federation.address_failed");
                    last = failure;
                }
                done => return done,
            }
        }
        Err(last)
    }

    /// From a connection to the features under TLS.
    async fn greet(&self, pair: &Pair, endpoint: &Endpoint, socket: TcpStream) -> Result<Greeted, Failure> {
        keep_alive(&socket);
        let config = self.house.config();
        let transport = Transport::plain(socket).map_err(Failure::Unreachable)?;
        let mut connection = Connection::new(transport, &config.limits, self.house.stopped());
        connection.wait_until(Instant::now() + self.patience());
        if !endpoint.direct_tls {
            let (_, offered) = open(&mut connection, pair).await?;
            if !offered.start_tls {
                return Err(Failure::Tls("it does not offer STARTTLS".to_owned()));
            }
            connection.send(b"<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>").await?;
            let answer = element(&mut connection).await?;
            if (answer.namespace(), answer.name()) != (namespaces::TLS, "proceed") {
                return Err(Failure::Tls("it refuses STARTTLS".to_owned()));
            }
            // As for clients: what comes in the clear behind it is an attack (security row S9).
            if connection.has_more_input() {
                return Err(Failure::Tls("something came in the clear behind <proceed/>".to_owned()));
            }
        }
        let domain = to_ascii(pair.theirs.as_str()).ok_or(Nowhere::NoServer)?;
        let name = ServerName::try_from(domain.trim_start_matches('[').trim_end_matches(']').to_owned())
            .map_err(|error| Failure::Tls(error.to_string()))?;
        let ours = self.certificates.get().and_then(|certificates| {
            let set = certificates.current();
            set.find(pair.ours.as_str()).map(|index| set.certificates()[index].key().clone())
        });
        let configuration = client_configuration(ours, endpoint.direct_tls, config.tls.tls13_only)
            .map_err(|error| Failure::Tls(error.to_string()))?;
        let mut connection =
            connection.start_tls_as_client(configuration, name).await.map_err(|error| match error {
                // The line broke, which has nothing to do with TLS: it is tried again.
                TlsError::Io(_) | TlsError::Closed => Failure::Broken,
                other => Failure::Tls(other.to_string()),
            })?;
        let chain = connection.transport.peer_certificates();
        let mut trusted = self.authorities.check(&chain, pair.theirs.as_str());
        if let Some(dane) = &endpoint.dane {
            match dane::judge(&dane.associations, &chain, [pair.theirs.as_str(), &dane.host], &trusted) {
                dane::Verdict::Silent => {}
                dane::Verdict::Proved => trusted = Ok(()),
                // No exception helps: this is not the server that the domain itself has announced.
                dane::Verdict::Refused => return Err(Untrusted::NotAnnounced.into()),
            }
        }
        let (id, offered) = open(&mut connection, pair).await?;
        Ok(Greeted { connection, id, offered, trusted })
    }

    /// Both sides prove who they are.
    async fn prove(&self, pair: &Pair, greeted: Greeted) -> Result<Established, Failure> {
        let Greeted { mut connection, id, offered, trusted } = greeted;
        if let Err(untrusted) = trusted
            && !self.settings.excepts(&pair.theirs)
        {
            return Err(untrusted.into());
        }
        let bidi = self.settings.bidirectional && offered.bidi;
        if bidi {
            connection.send(format!("<bidi xmlns='{}'/>", greeting::BIDI).as_bytes()).await?;
        }
        let mut why = "it offers neither EXTERNAL nor dialback to us".to_owned();
        if offered.external {
            match external(&mut connection, pair).await? {
                Ok(()) => {
                    connection.restart();
                    let (_, now_offered) = open(&mut connection, pair).await?;
                    let max_bytes = now_offered.max_bytes.or(offered.max_bytes);
                    let offered = Offered { max_bytes, ..now_offered };
                    return Ok(Established { connection, offered, proof: "EXTERNAL", bidi });
                }
                Err(refused) => why = refused,
            }
        }
        // By now it is clear who they are. How they make sure who we are is theirs to decide: many old servers know nothing
        // but dialback, or take no certificate that is for servers only.
        if !offered.dialback {
            return Err(Failure::NotAccepted(why));
        }
        let _expected = self.expected.add(pair);
        let key = self.keys.key(&pair.theirs, &pair.ours, &id);
        connection.send(&dialback::ask(&pair.ours, &pair.theirs, &key)).await?;
        loop {
            let answer = element(&mut connection).await?;
            match dialback_word(&answer) {
                Some(Word { is_verify: false, from, to, says, .. }) if from == pair.theirs && to == pair.ours => {
                    return match says {
                        Says::Valid => Ok(Established { connection, offered, proof: "dialback", bidi }),
                        _ => Err(Failure::NotAccepted(format!("{why}; dialback failed"))),
                    };
                }
                // Words about others were not asked for, so they say nothing (security row S13).
                Some(_) => {}
                None => return Err(Failure::Protocol(format!("<{}/> in the middle of dialback", answer.name()))),
            }
        }
    }

    /// Asks about a key, once it is clear who is asked.
    async fn ask(&self, pair: &Pair, greeted: Greeted, id: &str, key: &str) -> Result<bool, Failure> {
        let Greeted { mut connection, trusted, .. } = greeted;
        if !self.settings.excepts(&pair.theirs) {
            trusted?;
        }
        connection.send(&dialback::check(&pair.ours, &pair.theirs, id, key)).await?;
        loop {
            let answer = element(&mut connection).await?;
            match dialback_word(&answer) {
                Some(Word { is_verify: true, from, to, id: Some(of), says })
                    if from == pair.theirs && to == pair.ours && of == id =>
                {
                    self.house.tasks().spawn(connection.end(Over::Closed, ""));
                    return Ok(says == Says::Valid);
                }
                _ => {}
            }
        }
    }
}

fn dialback_word(element: &Element) -> Option<Word> {
    (element.namespace() == dialback::NAMESPACE).then(|| dialback::read(element)).flatten()
}

/// Connects to the first address that accepts it, beginning with the first; which it was.
async fn connect(endpoints: &[Endpoint]) -> Result<(usize, TcpStream), io::Error> {
    let mut attempts: FuturesUnordered<_> = endpoints
        .iter()
        .enumerate()
        .map(async |(index, endpoint)| {
            // A failure of those before does not make it sooner; a quarter of a second is little.
            tokio::time::sleep(STAGGER * index as u32).await;
            match timeout(ACCEPTING, TcpStream::connect(endpoint.address)).await {
                Ok(connected) => connected.map(|socket| (index, socket)),
                Err(_) => Err(io::ErrorKind::TimedOut.into()),
            }
        })
        .collect();
    let mut last = io::ErrorKind::AddrNotAvailable.into();
    while let Some(connected) = attempts.next().await {
        match connected {
            Ok(connected) => return Ok(connected),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// Lets the operating system notice a peer that has vanished without a word.
pub(crate) fn keep_alive(socket: &TcpStream) {
    let socket = SockRef::from(socket);
    let parameters = TcpKeepalive::new().with_time(KEEP_ALIVE).with_interval(Duration::from_secs(30));
    if let Err(error) = socket.set_tcp_keepalive(&parameters) {
        tracing::debug!(%error, "federation.no_keep_alive");
    }
}

/// Sends our header; gives the id of the stream and what is offered.
async fn open(connection: &mut Connection, pair: &Pair) -> Result<(String, Offered), Failure> {
    connection.open(&greeting::header(pair.ours.as_str(), pair.theirs.as_str(), None)).await?;
    let id = match connection.next().await? {
        Token::Header(theirs) => {
            header::check(&theirs, namespaces::SERVER).map_err(|error| Failure::Protocol(error.to_string()))?;
            theirs.attribute("id").map(|id| id.into_owned()).unwrap_or_default()
        }
        _ => return Err(Failure::Protocol("no stream header".to_owned())),
    };
    let features = element(connection).await?;
    if (features.namespace(), features.name()) != (namespaces::STREAM, "features") {
        return Err(Failure::Protocol(format!("<{}/> instead of features", features.name())));
    }
    Ok((id, greeting::offered(&features)))
}

/// SASL EXTERNAL (XEP-0178 §3): whether we are accepted, and if not, why.
async fn external(connection: &mut Connection, pair: &Pair) -> Result<Result<(), String>, Failure> {
    let identity = STANDARD.encode(pair.ours.as_str());
    let mut writer = Writer::new();
    writer.open("auth").attribute("xmlns", namespaces::SASL).attribute("mechanism", "EXTERNAL").text(&identity);
    connection.send(&writer.finish()).await?;
    for _ in 0..2 {
        let answer = element(connection).await?;
        match (answer.namespace(), answer.name()) {
            (namespaces::SASL, "success") => return Ok(Ok(())),
            (namespaces::SASL, "failure") => {
                let reason = answer.children().next().map(|child| child.name().to_owned()).unwrap_or_default();
                return Ok(Err(format!("EXTERNAL failed: {reason}")));
            }
            (namespaces::SASL, "challenge") => {
                let mut writer = Writer::new();
                writer.open("response").attribute("xmlns", namespaces::SASL).text(&identity);
                connection.send(&writer.finish()).await?;
            }
            (_, name) => return Err(Failure::Protocol(format!("<{name}/> in the middle of SASL"))),
        }
    }
    Err(Failure::Protocol("SASL does not end".to_owned()))
}

/// The next element; a stream error is a failure with its condition.
async fn element(connection: &mut Connection) -> Result<Element, Failure> {
    match connection.next().await? {
        Token::Element(element) if is_stream_error(&element) => Err(Failure::Ended(condition_of(&element))),
        Token::Element(element) => Ok(element),
        Token::Close => Err(Failure::Ended("closed".to_owned())),
        Token::Header(_) => Err(Failure::Protocol("a second header".to_owned())),
    }
}

/// Whether it is `<stream:error/>`.
pub(crate) fn is_stream_error(element: &Element) -> bool {
    (element.namespace(), element.name()) == (namespaces::STREAM, "error")
}

/// The condition of a stream error, and what else it says, for the log.
pub(crate) fn condition_of(error: &Element) -> String {
    let mut texts = error.children().filter(|child| child.namespace() == namespaces::STREAM_ERRORS);
    let condition = texts.next().map(|child| child.name().to_owned()).unwrap_or_default();
    match texts.find(|child| child.name() == "text") {
        Some(text) => format!("{condition}: {}", text.text().chars().take(200).collect::<String>()),
        None => condition,
    }
}

#[cfg(test)]
mod tests {
    use socket2::{Domain, Socket, Type};

    use super::*;

    /// XEP-0495, RFC 8305 §5: an address that says nothing costs a quarter of a second, not its timeout.
    #[tokio::test]
    async fn the_next_address_is_tried_beside_one_that_says_nothing() {
        // Nobody accepts and the queue of those who wait is full: what comes is dropped.
        let mute = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        mute.bind(&"127.0.0.1:0".parse::<std::net::SocketAddr>().unwrap().into()).unwrap();
        mute.listen(0).unwrap();
        let silent = mute.local_addr().unwrap().as_socket().unwrap();
        let mut waiting = Vec::new();
        while let Ok(Ok(socket)) = timeout(Duration::from_millis(300), TcpStream::connect(silent)).await {
            waiting.push(socket);
        }
        let good = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        // Somewhere nobody listens at all.
        let gone = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let refused = gone.local_addr().unwrap();
        drop(gone);
        let endpoint = |address| Endpoint { address, direct_tls: false, dane: None };
        let endpoints = [endpoint(silent), endpoint(refused), endpoint(good.local_addr().unwrap())];
        let began = Instant::now();
        let (index, _socket) = connect(&endpoints).await.unwrap();
        assert_eq!(index, 2);
        assert!((STAGGER..ACCEPTING / 2).contains(&began.elapsed()), "{:?}", began.elapsed());
        assert!(connect(&endpoints[1..2]).await.is_err());
    }
}
