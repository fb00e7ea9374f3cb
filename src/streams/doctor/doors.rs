//! The doctor at the doors: connects, greets, agrees on TLS, reads what is offered, and leaves.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustls::ProtocolVersion;
use rustls::client::ClientConfig;
use rustls_pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::sync::CancellationToken;
use waxwing_core::limits::Limits;
use waxwing_core::namespaces;
use waxwing_core::stream_error::StreamCondition;
use waxwing_core::xml::{Element, Token, escape_attribute};

use super::facts::{Closed, Door, Features, Service, TlsFacts, Trouble, Visit};
use crate::connection::{Connection, Over, close};
use crate::federation::dialing::{condition_of, is_stream_error};
use crate::federation::identity::{Authorities, client_configuration};
use crate::header;
use crate::tls::Transport;

/// How long an address may take to accept a connection.
const ACCEPTING: Duration = Duration::from_secs(5);
/// How long a stream may take, from the first byte to what is offered under TLS.
const TALKING: Duration = Duration::from_secs(10);
/// How long is waited for the last words to go out.
const LEAVING: Duration = Duration::from_millis(300);

/// Who knocks, and for whom.
pub(super) struct Caller<'a> {
    /// The domain that is asked for, in ASCII.
    pub(super) domain: &'a str,
    /// The same as XMPP writes it.
    pub(super) to: &'a str,
    /// Whom we say we are to servers; empty when we do not.
    pub(super) from: &'a str,
    pub(super) authorities: &'a Authorities,
    /// When all must be over.
    pub(super) deadline: Instant,
}

impl Caller<'_> {
    fn until(&self, patience: Duration) -> Instant {
        self.deadline.min(Instant::now() + patience)
    }

    /// Connects to an address; in what time.
    pub(super) async fn knock(&self, address: SocketAddr) -> Result<(TcpStream, Duration), Closed> {
        let began = Instant::now();
        match timeout_at(self.until(ACCEPTING), TcpStream::connect(address)).await {
            Ok(Ok(socket)) => Ok((socket, began.elapsed())),
            Ok(Err(error)) => Err(match error.kind() {
                ErrorKind::ConnectionRefused => Closed::Refused,
                ErrorKind::TimedOut => Closed::Silent,
                ErrorKind::NetworkUnreachable | ErrorKind::AddrNotAvailable => Closed::NoWay,
                other => Closed::Other(other),
            }),
            Err(_) => Err(Closed::Silent),
        }
    }

    /// Looks behind a door.
    pub(super) async fn visit(&self, service: Service, address: SocketAddr) -> Door {
        let (socket, after) = match self.knock(address).await {
            Ok(opened) => opened,
            Err(closed) => return Door { address, opened: Err(closed), visit: None },
        };
        let mut visit = Visit::default();
        if let Err(trouble) = self.talk(service, socket, &mut visit).await {
            visit.trouble = Some(trouble);
        }
        Door { address, opened: Ok(after), visit: Some(visit) }
    }

    async fn talk(&self, service: Service, socket: TcpStream, visit: &mut Visit) -> Result<(), Trouble> {
        let transport = Transport::plain(socket).map_err(|_| Trouble::Hung)?;
        let limits = Limits::default();
        let mut connection = Connection::new(transport, &limits, CancellationToken::new());
        // Features may be long, and nobody has forced us to come here.
        connection.trust(&limits);
        connection.wait_until(self.until(TALKING));
        if !service.is_direct() {
            let features = self.open(&mut connection, service).await?;
            let offers_tls = features.start_tls;
            visit.clear = Some(features);
            if !offers_tls {
                leave(&connection).await;
                return Err(Trouble::NoStartTls);
            }
            connection.send(b"<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>").await?;
            let answer = element(&mut connection).await?;
            if (answer.namespace(), answer.name()) != (namespaces::TLS, "proceed") {
                return Err(Trouble::Tls("STARTTLS is offered and then refused".to_owned()));
            }
        }
        let name = ServerName::try_from(self.domain.to_owned()).map_err(|error| Trouble::Tls(error.to_string()))?;
        let alpn = service.is_direct().then_some(service.alpn());
        let mut connection = connection
            .start_tls_as_client(configuration(alpn)?, name)
            .await
            .map_err(|error| Trouble::Tls(error.to_string()))?;
        visit.tls = Some(shown(&connection.transport, self.authorities, self.domain));
        visit.features = Some(self.open(&mut connection, service).await?);
        leave(&connection).await;
        Ok(())
    }

    /// Sends our header; what is offered.
    async fn open(&self, connection: &mut Connection, service: Service) -> Result<Features, Trouble> {
        let content = if service.is_for_servers() { namespaces::SERVER } else { namespaces::CLIENT };
        let from = if service.is_for_servers() { self.from } else { "" };
        connection.open(&opening(content, from, self.to)).await?;
        match connection.next().await? {
            Token::Header(theirs) => {
                header::check(&theirs, content).map_err(|error| Trouble::Protocol(error.to_string()))?;
            }
            _ => return Err(Trouble::Protocol("it does not begin with a stream header".to_owned())),
        }
        let element = element(connection).await?;
        if (element.namespace(), element.name()) != (namespaces::STREAM, "features") {
            return Err(Trouble::Protocol(format!("<{}/> comes instead of features", element.name())));
        }
        Ok(features(&element))
    }
}

/// Our header. Servers that know dialback want its namespace declared.
fn opening(content: &str, from: &str, to: &str) -> Vec<u8> {
    let mut out = format!("<?xml version='1.0'?><stream:stream xmlns='{content}' xmlns:stream='").into_bytes();
    out.extend_from_slice(namespaces::STREAM.as_bytes());
    if content == namespaces::SERVER {
        out.extend_from_slice(b"' xmlns:db='jabber:server:dialback");
    }
    out.extend_from_slice(b"' version='1.0' xml:lang='en");
    for (name, value) in [("from", from), ("to", to)] {
        if !value.is_empty() {
            out.extend_from_slice(format!("' {name}='").as_bytes());
            escape_attribute(&mut out, value);
        }
    }
    out.extend_from_slice(b"'>");
    out
}

/// How we speak TLS here: every certificate is taken, and judged afterwards.
pub(super) fn configuration(alpn: Option<&str>) -> Result<Arc<ClientConfig>, Trouble> {
    let shared = client_configuration(None, false, false).map_err(|error| Trouble::Tls(error.to_string()))?;
    let mut configuration = ClientConfig::clone(&shared);
    configuration.alpn_protocols = alpn.into_iter().map(|alpn| alpn.as_bytes().to_vec()).collect();
    Ok(Arc::new(configuration))
}

/// What TLS has shown on a connection.
pub(super) fn shown(transport: &Transport, authorities: &Authorities, domain: &str) -> TlsFacts {
    let chain = transport.peer_certificates();
    let info = transport.info();
    let version = match info.as_ref().map(|info| info.version) {
        Some(ProtocolVersion::TLSv1_3) => "TLS 1.3",
        Some(ProtocolVersion::TLSv1_2) => "TLS 1.2",
        _ => "TLS",
    };
    let alpn = info.and_then(|info| info.alpn).map(|alpn| String::from_utf8_lossy(&alpn).into_owned());
    TlsFacts { version, alpn, trusted: authorities.check(&chain, domain), chain }
}

impl From<Over> for Trouble {
    fn from(over: Over) -> Trouble {
        match over {
            Over::Error(error) if error.condition == StreamCondition::ConnectionTimeout => Trouble::TooLong,
            Over::Error(error) => Trouble::Protocol(error.to_string()),
            Over::Closed | Over::Gone => Trouble::Hung,
        }
    }
}

async fn element(connection: &mut Connection) -> Result<Element, Trouble> {
    match connection.next().await? {
        Token::Element(element) if is_stream_error(&element) => Err(Trouble::Ended(condition_of(&element))),
        Token::Element(element) => Ok(element),
        Token::Close => Err(Trouble::Hung),
        Token::Header(_) => Err(Trouble::Protocol("a second stream header comes".to_owned())),
    }
}

/// Says goodbye without waiting for an answer.
async fn leave(connection: &Connection) {
    connection.transport.write(b"</stream:stream>");
    let _ = timeout(LEAVING, close(&connection.transport, LEAVING)).await;
}

/// Reads `<stream:features/>`.
fn features(element: &Element) -> Features {
    const SASL2: &str = "urn:xmpp:sasl:2";
    const BINDINGS: &str = "urn:xmpp:sasl-cb:0";
    const LIMITS: &str = "urn:xmpp:stream-limits:0";
    let has = |namespace, name| element.child(namespace, name).is_some();
    let list = |namespace: &str, parent: &str| -> Vec<String> {
        let children = element.child(namespace, parent).into_iter().flat_map(|parent| {
            let named = parent.children().filter(|child| child.name() == "mechanism");
            named.map(|child| child.text().trim().to_owned()).collect::<Vec<_>>()
        });
        children.collect()
    };
    let limit = |name| {
        let limits = element.child(LIMITS, "limits")?;
        limits.child(LIMITS, name)?.text().trim().parse().ok()
    };
    let bindings = element.child(BINDINGS, "sasl-channel-binding").map(|bindings| {
        bindings.children().filter_map(|child| child.attribute("type").map(|kind| kind.into_owned())).collect()
    });
    Features {
        start_tls: has(namespaces::TLS, "starttls"),
        mechanisms: list(namespaces::SASL, "mechanisms"),
        mechanisms2: list(SASL2, "authentication"),
        bindings: bindings.unwrap_or_default(),
        max_bytes: limit("max-bytes"),
        idle_seconds: limit("idle-seconds"),
        registration: has("http://jabber.org/features/iq-register", "register"),
        dialback: has("urn:xmpp:features:dialback", "dialback"),
        bidi: has("urn:xmpp:features:bidi", "bidi"),
    }
}

#[cfg(test)]
mod tests {
    use waxwing_core::stanza::element;

    use super::*;

    #[test]
    fn features_are_read() {
        let text = "<features xmlns='http://etherx.jabber.org/streams'>\
            <mechanisms xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><mechanism>PLAIN</mechanism>\
            <mechanism> SCRAM-SHA-256 </mechanism><hostname xmlns='urn:xmpp:domain-based-name:1'>x</hostname></mechanisms>\
            <authentication xmlns='urn:xmpp:sasl:2'><mechanism>SCRAM-SHA-1</mechanism><inline/></authentication>\
            <sasl-channel-binding xmlns='urn:xmpp:sasl-cb:0'><channel-binding type='tls-exporter'/></sasl-channel-binding>\
            <limits xmlns='urn:xmpp:stream-limits:0'><max-bytes>10000</max-bytes></limits>\
            <register xmlns='http://jabber.org/features/iq-register'/></features>";
        let expected = Features {
            mechanisms: vec!["PLAIN".to_owned(), "SCRAM-SHA-256".to_owned()],
            mechanisms2: vec!["SCRAM-SHA-1".to_owned()],
            bindings: vec!["tls-exporter".to_owned()],
            max_bytes: Some(10_000),
            registration: true,
            ..Features::default()
        };
        assert_eq!(features(&element(text).unwrap()), expected);
    }

    #[test]
    fn a_header_says_only_what_it_may() {
        let text = String::from_utf8(opening(namespaces::CLIENT, "", "capulet.lit")).unwrap();
        assert!(text.contains(" to='capulet.lit'>") && !text.contains("from=") && !text.contains("db="), "{text}");
        let text = String::from_utf8(opening(namespaces::SERVER, "montague.lit", "capulet.lit")).unwrap();
        assert!(text.contains("xmlns:db='jabber:server:dialback'") && text.contains(" from='montague.lit'"), "{text}");
    }
}
