//! External components over real sockets: the handshake, stanzas both ways, and what they may do for others (XEP-0114,
//! XEP-0356).

#[path = "../common/mod.rs"]
mod common;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;
use waxwing_testkit::TestServer;

use common::options;

const PATIENCE: Duration = Duration::from_secs(5);
const PRIVILEGE: &str = "urn:xmpp:privilege:2";

/// A program that speaks for a domain.
struct Component {
    socket: TcpStream,
    read: String,
    domain: String,
}

impl Component {
    async fn header(address: SocketAddr, domain: &str) -> Component {
        let mut socket = TcpStream::connect(address).await.unwrap();
        let header = format!(
            "<stream:stream xmlns='jabber:component:accept' xmlns:stream='http://etherx.jabber.org/streams' to='{domain}'>"
        );
        socket.write_all(header.as_bytes()).await.unwrap();
        Component { socket, read: String::new(), domain: domain.to_owned() }
    }

    async fn connect(address: SocketAddr, domain: &str, secret: &str) -> Component {
        let mut component = Component::header(address, domain).await;
        let header = component.until("'>").await;
        let id = header.split("id='").nth(1).unwrap().split('\'').next().unwrap();
        let hash = digest(&SHA1_FOR_LEGACY_USE_ONLY, format!("{id}{secret}").as_bytes());
        let hash: String = hash.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        component.send(&format!("<handshake>{hash}</handshake>")).await;
        component
    }

    /// Connects, and is let in.
    async fn accepted(address: SocketAddr, domain: &str, secret: &str) -> Component {
        let mut component = Component::connect(address, domain, secret).await;
        component.until("<handshake/>").await;
        component
    }

    async fn send(&mut self, xml: &str) {
        self.socket.write_all(xml.as_bytes()).await.unwrap();
    }

    /// Reads until this text has come, and gives everything up to its end.
    async fn until(&mut self, text: &str) -> String {
        loop {
            if let Some(at) = self.read.find(text) {
                let rest = self.read.split_off(at + text.len());
                return std::mem::replace(&mut self.read, rest);
            }
            let mut bytes = [0u8; 4096];
            let read = timeout(PATIENCE, self.socket.read(&mut bytes)).await;
            let read = read.unwrap_or_else(|_| panic!("{text} does not come; so far: {}", self.read)).unwrap();
            assert!(read > 0, "the connection was closed before {text}; so far: {}", self.read);
            self.read.push_str(std::str::from_utf8(&bytes[..read]).unwrap());
        }
    }

    /// Everything until the connection is closed.
    async fn rest(mut self) -> String {
        let reading = self.socket.read_to_string(&mut self.read);
        timeout(PATIENCE, reading).await.expect("the connection is closed").unwrap();
        self.read
    }

    /// What the server has sent before it answers a question that is asked now.
    async fn so_far(&mut self) -> String {
        let host = self.domain.split_once('.').unwrap().1.to_owned();
        let ping =
            format!("<iq type='get' id='so-far' from='{}' to='{host}'><ping xmlns='urn:xmpp:ping'/></iq>", self.domain);
        self.send(&ping).await;
        let said = self.until("id='so-far'").await;
        self.until(">").await;
        said
    }
}

/// A server with the component `bridge`, and where components connect.
async fn server(grants: &str) -> (Arc<TestServer>, SocketAddr, String) {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = free.local_addr().unwrap();
    drop(free);
    let settings = format!(
        "[modules.component]\nlisten = [\"{address}\"]\n\
         components = [{{ domain = \"bridge\", secret = \"berries\", {grants} }}]\n"
    );
    let server = TestServer::start(options().toml(&settings)).await;
    let domain = format!("bridge.{}", server.host());
    (server, address, domain)
}

#[tokio::test]
async fn a_component_talks_for_everyone_of_its_domain() {
    let (server, address, domain) = server("").await;
    let scene = server.scene();
    scene.names().set("bridge", &domain);
    let mut romeo = scene.online("romeo/orchard").await;
    romeo.send("<message to='juliet@{bridge}' id='early' type='chat'><body>hey</body></message>").await;
    romeo.expect("<message from='juliet@{bridge}' to='{romeo/orchard}' id='early' type='error'>{error:wait:remote-server-timeout}</message>").await;
    let mut component = Component::accepted(address, &domain, "berries").await;
    romeo.send("<message to='juliet@{bridge}/x' id='1' type='chat'><body>wherefore</body></message>").await;
    let came = component.until("</message>").await;
    assert!(came.contains(&format!("from='{}'", scene.jid("romeo/orchard"))), "{came}");
    assert!(came.contains("<body>wherefore</body>"), "{came}");
    let to = scene.jid("romeo");
    component
        .send(&format!("<message from='juliet@{domain}/x' to='{to}' id='2' type='chat'><body>art</body></message>"))
        .await;
    romeo
        .expect(
            "<message from='juliet@{bridge}/x' to='{romeo}' id='2' type='chat'><body>art</body>{stanza-id}</message>",
        )
        .await;
    // Errors come back to whoever of the domain has caused them.
    component.send(&format!("<iq from='nurse@{domain}' to='{to}/gone' id='3' type='get'><x xmlns='y'/></iq>")).await;
    let error = component.until("</iq>").await;
    assert!(error.contains("id='3'") && error.contains("service-unavailable"), "{error}");
    // It is a service of the host.
    romeo.send("<iq type='get' id='d' to='{host}'><query xmlns='http://jabber.org/protocol/disco#items'/></iq>").await;
    romeo.expect("<iq type='result' id='d' {…}><query xmlns='http://jabber.org/protocol/disco#items'><item jid='{bridge}' {…}/>{…}</query></iq>").await;
}

#[tokio::test]
async fn who_does_not_know_the_secret_is_not_let_in() {
    let (_server, address, domain) = server("").await;
    let refused = Component::connect(address, &domain, "cherries").await.rest().await;
    assert!(refused.contains("<not-authorized") && refused.ends_with("</stream:stream>"), "{refused}");
    let unknown = Component::header(address, &format!("other.{domain}")).await.rest().await;
    assert!(unknown.contains("<host-unknown") && unknown.contains("<stream:stream"), "{unknown}");
    let mut client = Component::header(address, &domain).await;
    client.send("<message to='x' from='y'/>").await;
    assert!(client.rest().await.contains("<not-authorized"), "no stanza before the handshake");
}

#[tokio::test]
async fn s15_a_component_speaks_for_its_own_domain_alone() {
    let (server, address, domain) = server("").await;
    let scene = server.scene();
    let mut romeo = scene.online("romeo/orchard").await;
    for forged in [format!("admin@{}", server.host()), format!("x@sub.{domain}"), server.host().to_owned()] {
        let mut component = Component::accepted(address, &domain, "berries").await;
        component.send(&format!("<message from='{forged}' to='{}'><body>x</body></message>", scene.jid("romeo"))).await;
        let ended = component.rest().await;
        assert!(ended.contains("<invalid-from"), "{forged}: {ended}");
    }
    let mut component = Component::accepted(address, &domain, "berries").await;
    component.send(&format!("<message from='x@{domain}'><body>x</body></message>")).await;
    assert!(component.rest().await.contains("<improper-addressing"));
    assert!(romeo.drain().await.is_empty());
}

#[tokio::test]
async fn a_newer_connection_takes_the_place_of_an_older_one() {
    let (server, address, domain) = server("").await;
    let scene = server.scene();
    scene.names().set("bridge", &domain);
    let mut romeo = scene.online("romeo/orchard").await;
    let older = Component::accepted(address, &domain, "berries").await;
    let mut newer = Component::accepted(address, &domain, "berries").await;
    assert!(older.rest().await.contains("<conflict"));
    romeo.send("<message to='{bridge}' id='n'><body>who is there?</body></message>").await;
    assert!(newer.until("</message>").await.contains("who is there?"));
}

#[tokio::test]
async fn without_privileges_a_component_is_a_stranger() {
    let (server, address, domain) = server("").await;
    let scene = server.scene();
    let _romeo = scene.online("romeo/orchard").await;
    let mut component = Component::accepted(address, &domain, "berries").await;
    assert!(!component.so_far().await.contains("privilege"));
    let romeo = scene.jid("romeo");
    component
        .send(&format!("<iq from='{domain}' to='{romeo}' type='get' id='r'><query xmlns='jabber:iq:roster'/></iq>"))
        .await;
    assert!(component.until("</iq>").await.contains("<service-unavailable"));
    let host = server.host();
    component
        .send(&format!(
            "<message from='{domain}' to='{host}' id='p'><privilege xmlns='{PRIVILEGE}'><forwarded xmlns='urn:xmpp:forward:0'>\
             <message xmlns='jabber:client' from='{romeo}' to='{romeo}'/></forwarded></privilege></message>"
        ))
        .await;
    assert!(component.until("</message>").await.contains("<forbidden"));
}

#[tokio::test]
async fn privileges_are_what_the_operator_has_granted() {
    let grants = "roster = \"both\", message = \"outgoing\", presence = \"managed_entity\", iq = { \"jabber:iq:version\" = \"get\" }";
    let (server, address, domain) = server(grants).await;
    let scene = server.scene();
    let mut orchard = scene.online("romeo/orchard").await;
    let (host, romeo) = (server.host().to_owned(), scene.jid("romeo"));
    let mut component = Component::accepted(address, &domain, "berries").await;
    let told = component.until("</message>").await;
    assert!(
        told.contains("access='roster' type='both'") && told.contains("access='message' type='outgoing'"),
        "{told}"
    );
    let there = component.until("<presence").await + &component.until(">").await;
    assert!(there.contains(&scene.jid("romeo/orchard")), "who is there already: {there}");
    // Rosters are read and changed.
    component
        .send(&format!(
            "<iq from='{domain}' to='{romeo}' type='set' id='s'><query xmlns='jabber:iq:roster'>\
             <item jid='nurse@{domain}' name='Nurse'/></query></iq>"
        ))
        .await;
    assert!(component.until("id='s'").await.contains(&format!("from='{romeo}'")));
    component.until("/>").await;
    component
        .send(&format!("<iq from='{domain}' to='{romeo}' type='get' id='g'><query xmlns='jabber:iq:roster'/></iq>"))
        .await;
    let roster = component.until("</iq>").await;
    assert!(roster.contains(&format!("jid='nurse@{domain}'")) && roster.contains("name='Nurse'"), "{roster}");
    // Not by somebody of its domain.
    component
        .send(&format!("<iq from='x@{domain}' to='{romeo}' type='get' id='h'><query xmlns='jabber:iq:roster'/></iq>"))
        .await;
    assert!(component.until("</iq>").await.contains("<service-unavailable"));
    // A message in somebody's name.
    component
        .send(&format!(
            "<message from='{domain}' to='{host}' id='p'><privilege xmlns='{PRIVILEGE}'><forwarded xmlns='urn:xmpp:forward:0'>\
             <message xmlns='jabber:client' from='{host}' to='{romeo}' id='note' type='headline'><body>news</body></message>\
             </forwarded></privilege></message>"
        ))
        .await;
    orchard
        .expect("<message from='{host}' to='{romeo}' id='note' type='headline'><body>news</body>{…}</message>")
        .await;
    // An IQ in somebody's name.
    component
        .send(&format!(
            "<iq from='{domain}' to='{romeo}' type='get' id='i'><privileged_iq xmlns='{PRIVILEGE}'>\
             <iq xmlns='jabber:client' type='get' to='{host}' id='v'><query xmlns='jabber:iq:version'/></iq></privileged_iq></iq>"
        ))
        .await;
    let answer = component.until("</privilege></iq>").await;
    assert!(
        answer.contains("id='i'") && answer.contains("id='v'") && answer.contains("<name>Waxwing</name>"),
        "{answer}"
    );
    // Presence: who goes.
    orchard.send("<presence type='unavailable'/>").await;
    let gone = component.until("type='unavailable'").await;
    assert!(gone.contains(&scene.jid("romeo/orchard")), "{gone}");
}
