//! Another project's client library, tokio-xmpp, against the running server: it logs in under TLS, talks with somebody,
//! and finds its way back.

mod common;
mod relay;

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use rustls::pki_types::ServerName;
use sasl::common::ChannelBinding;
use tokio::io::BufStream;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_xmpp::connect::ServerConnector;
use tokio_xmpp::jid::Jid;
use tokio_xmpp::minidom::Element;
use tokio_xmpp::parsers::message::{Lang, Message, MessageType};
use tokio_xmpp::parsers::presence::{Presence, Type as PresenceType};
use tokio_xmpp::xmlstream::{PendingFeaturesRecv, StreamHeader, Timeouts, initiate_stream};
use tokio_xmpp::{Client, Event, IqRequest, IqResponse, Stanza};
use waxwing_testkit::{RawClient, Scene, TestServer, TlsChoice};

use common::options;
use relay::Relay;

/// How long anything may take; the library waits a second and more before it tries again.
const PATIENCE: Duration = Duration::from_secs(30);

/// Direct TLS through a relay, trusting the server's certificate and no other, bound to the connection.
#[derive(Clone)]
struct Connector {
    relay: Arc<Relay>,
    certificates: PathBuf,
}

impl fmt::Debug for Connector {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Connector")
    }
}

impl ServerConnector for Connector {
    type Stream = BufStream<TlsStream<TcpStream>>;

    async fn connect(
        &self,
        jid: &Jid,
        namespace: &'static str,
        timeouts: Timeouts,
    ) -> Result<(PendingFeaturesRecv<Self::Stream>, ChannelBinding), tokio_xmpp::Error> {
        let domain = jid.domain().as_str();
        let config = TlsChoice::new().configuration(&self.certificates, true).map_err(io::Error::other)?;
        let name = ServerName::try_from(domain.to_owned()).map_err(io::Error::other)?;
        let stream = TcpStream::connect(self.relay.address()).await?;
        let stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await?;
        let exporter = stream
            .get_ref()
            .1
            .export_keying_material(vec![0; 32], b"EXPORTER-Channel-Binding", None)
            .map_err(io::Error::other)?;
        let (to, from) = (Some(domain.into()), Some(jid.to_bare().to_string().into()));
        let header = StreamHeader { to, from, id: None };
        let stream = initiate_stream(BufStream::new(stream), namespace, header, timeouts).await?;
        Ok((stream, ChannelBinding::TlsExporter(exporter)))
    }
}

/// Juliet, who uses the library, and Romeo, who does not.
struct Talk {
    server: Arc<TestServer>,
    scene: Scene,
    relay: Arc<Relay>,
    juliet: Client,
    romeo: RawClient,
}

impl Talk {
    /// Both are online.
    async fn begin() -> Talk {
        let server = TestServer::start(options()).await;
        let scene = server.scene();
        scene.account("juliet").await;
        let behind = server.clone();
        let relay = Arc::new(Relay::to(move || behind.addresses().c2s_tls[0]).await);
        let connector = Connector { relay: relay.clone(), certificates: server.certificates() };
        let jid: Jid = format!("{}/balcony", scene.jid("juliet")).parse().expect("an address");
        let mut juliet =
            Client::new_with_connector(jid.clone(), scene.password("juliet"), connector, Timeouts::tight());
        assert!(!online(&mut juliet).await, "there was nothing to resume");
        assert_eq!(juliet.bound_jid().map(ToString::to_string), Some(jid.to_string()));
        let romeo = scene.online("romeo/orchard").await;
        let mut talk = Talk { server, scene, relay, juliet, romeo };
        talk.show_juliet().await;
        talk
    }

    /// Juliet sends presence, and the server shows it to her.
    async fn show_juliet(&mut self) {
        self.juliet.send_stanza(Presence::new(PresenceType::None).into()).await.expect("it is sent");
        let own = self.juliet.bound_jid().map(ToString::to_string);
        loop {
            if let Stanza::Presence(presence) = next_stanza(&mut self.juliet).await
                && presence.from.as_ref().map(ToString::to_string) == own
            {
                assert_eq!(presence.type_, PresenceType::None);
                return;
            }
        }
    }

    /// Each says something to the other, who gets exactly that.
    async fn exchange(&mut self, words: &str) {
        self.romeo.send(format!("<message type='chat' to='{{juliet}}' id='m'><body>{words}</body></message>")).await;
        assert_eq!(self.next_words().await, words);
        let reply = Message::chat(self.scene.jid("romeo").parse::<Jid>().expect("an address"))
            .with_body(Lang::from(""), format!("{words}, too"));
        self.juliet.send_stanza(reply.into()).await.expect("it is sent");
        self.romeo
            .expect(format!(
                "<message type='chat' from='{{juliet/balcony}}' to='{{romeo}}' id='{{any}}'>{{…}}<body>{words}, too</body>{{…}}</message>"
            ))
            .await;
    }

    /// The next words that Romeo has said to Juliet.
    async fn next_words(&mut self) -> String {
        loop {
            if let Stanza::Message(message) = next_stanza(&mut self.juliet).await {
                assert_eq!(message.type_, MessageType::Chat);
                assert_eq!(message.from.map(|from| from.to_string()).as_deref(), Some(self.romeo.jid()));
                return message.bodies.into_values().next().unwrap_or_default();
            }
        }
    }
}

async fn next_event(client: &mut Client) -> Event {
    let next = tokio::time::timeout(PATIENCE, client.next()).await;
    next.expect("something comes in time").expect("the client goes on")
}

async fn next_stanza(client: &mut Client) -> Stanza {
    match next_event(client).await {
        Event::Stanza(stanza) => stanza,
        other => panic!("expected a stanza, found {other:?}"),
    }
}

/// Waits until the client is online; whether it has resumed what it had before.
async fn online(client: &mut Client) -> bool {
    loop {
        if let Event::Online { resumed, .. } = next_event(client).await {
            return resumed;
        }
    }
}

#[tokio::test]
async fn it_logs_in_and_talks() {
    let mut talk = Talk::begin().await;
    for words in ["Wherefore art thou Romeo?", "<&>\"' ü \u{1f339}"] {
        let words = words.replace('&', "&amp;").replace('<', "&lt;");
        talk.romeo.send(format!("<message type='chat' to='{{juliet}}' id='m'><body>{words}</body></message>")).await;
        let heard = talk.next_words().await;
        assert_eq!(heard.replace('&', "&amp;").replace('<', "&lt;"), words);
    }
    talk.exchange("good night").await;
    // Questions are answered: to the account, and to the server.
    for (to, payload, name) in [
        (None, "<query xmlns='jabber:iq:roster'/>", "query"),
        (Some(talk.scene.host().to_owned()), "<query xmlns='http://jabber.org/protocol/disco#info'/>", "query"),
    ] {
        let payload: Element = payload.parse().expect("XML");
        let to = to.map(|to| to.parse::<Jid>().expect("an address"));
        let answer = talk.juliet.send_iq(to, IqRequest::Get(payload)).await;
        match tokio::time::timeout(PATIENCE, answer).await.expect("an answer in time").expect("an answer") {
            IqResponse::Result(Some(payload)) => assert_eq!(payload.name(), name),
            other => panic!("expected a result, found {other:?}"),
        }
    }
    // It closes its stream as it should, and Juliet is gone for everyone.
    let Talk { juliet, mut romeo, scene, .. } = talk;
    tokio::time::timeout(PATIENCE, juliet.send_end()).await.expect("in time").expect("it closes");
    romeo.send("<iq type='get' id='p' to='{juliet/balcony}'><ping xmlns='urn:xmpp:ping'/></iq>").await;
    romeo.expect("<iq type='error' id='p' {…}>{error:cancel:service-unavailable}{…}</iq>").await;
    drop(scene);
}

#[tokio::test]
async fn it_survives_a_broken_connection_and_loses_nothing() {
    let mut talk = Talk::begin().await;
    for round in 0..2 {
        talk.exchange(&format!("before break {round}")).await;
        talk.relay.cut();
        // Said while she is away; a break is not the end of the session, so there is nothing to refuse.
        talk.romeo
            .send(format!("<message type='chat' to='{{juliet}}' id='m'><body>in break {round}</body></message>"))
            .await;
        talk.romeo.barrier().await;
        talk.relay.restore();
        assert!(online(&mut talk.juliet).await, "the session goes on");
        assert_eq!(talk.next_words().await, format!("in break {round}"));
        talk.exchange(&format!("after break {round}")).await;
    }
}

#[tokio::test]
async fn it_comes_back_to_a_server_that_was_started_again() {
    let mut talk = Talk::begin().await;
    talk.exchange("before").await;
    let Talk { server, scene, relay, mut juliet, romeo } = talk;
    relay.cut();
    server.stop().await;
    drop(romeo);
    server.start_again().await.expect("it starts again");
    relay.restore();
    let resumed = online(&mut juliet).await;
    let romeo = scene.online("romeo/orchard").await;
    let mut talk = Talk { server, scene, relay, juliet, romeo };
    if !resumed {
        talk.show_juliet().await;
    }
    talk.exchange("after").await;
}
