//! Two servers that know each other by way of relays: lines that can be cut, at addresses that stay.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tempfile::TempDir;
use waxwing_testkit::{Element, RawClient, Scene, TestServer};

use crate::authority::{Authority, Signed};
use crate::common;
use crate::relay::Relay;

/// How the two servers are set up.
#[derive(Clone, Copy, Default)]
pub struct Setup {
    /// Connections begin with TLS.
    pub direct_tls: bool,
    /// One connection for both directions.
    pub bidirectional: bool,
    /// No certificate is good, and each is the other's exception.
    pub dialback: bool,
    /// What both have in `[modules.federation]` besides, and behind it.
    pub more: &'static str,
}

/// One of the two, and the line to it.
pub struct Side {
    pub server: Arc<TestServer>,
    pub line: Relay,
    there: Arc<Mutex<SocketAddr>>,
    direct_tls: bool,
    /// Where its certificate lies.
    pub certificates: TempDir,
}

impl Side {
    /// Gives it another certificate while it runs.
    pub fn take_certificate(&self, signed: &Signed) {
        signed.write(self.certificates.path(), self.server.host());
        self.server.reload();
    }

    /// Stops the server and starts it again.
    pub async fn restart(&self) {
        self.server.stop().await;
        self.server.start_again().await.expect("it starts again");
        self.tell_the_line();
    }

    /// Lets it die and starts it again.
    pub async fn crash(&self) {
        self.server.crash();
        self.server.start_again().await.expect("it starts again");
        self.tell_the_line();
    }

    fn tell_the_line(&self) {
        let addresses = self.server.addresses();
        let list = if self.direct_tls { addresses.s2s_tls } else { addresses.s2s };
        *self.there.lock().expect("not poisoned") = list[0];
    }

    pub fn scene(&self) -> Scene {
        self.server.scene()
    }
}

/// `capulet.lit` and `montague.lit`.
pub struct World {
    pub capulet: Side,
    pub montague: Side,
    pub authority: Authority,
}

/// An address where nobody listens, until it is known where somebody does.
fn nobody() -> SocketAddr {
    "127.0.0.1:1".parse().expect("an address")
}

/// A line to wherever this address says.
pub async fn line() -> (Relay, Arc<Mutex<SocketAddr>>) {
    let there = Arc::new(Mutex::new(nobody()));
    let known = there.clone();
    (Relay::to(move || *known.lock().expect("not poisoned")).await, there)
}

/// The configuration of a server that talks to others.
pub fn federating(authority: &Path, certificates: &Path, addresses: &[String], more: &str) -> String {
    format!(
        "[listen]\ns2s = [\"127.0.0.1:0\"]\ns2s_tls = [\"127.0.0.1:0\"]\n[tls]\ncertificates = \"{}\"\n\
         [modules.federation]\nenabled = true\npublic_authorities = false\nauthorities = [\"{}\"]\n\
         addresses = {addresses:?}\nretry_after = \"200ms\"\n{more}\n",
        certificates.display(),
        authority.display(),
    )
}

impl World {
    pub async fn new(setup: Setup) -> World {
        let authority = Authority::new();
        let (to_capulet, at_capulet) = line().await;
        let (to_montague, at_montague) = line().await;
        let scheme = if setup.direct_tls { "tls://" } else { "" };
        let addresses = |names: &[&str], line: &Relay| -> Vec<String> {
            names.iter().map(|name| format!("{name}={scheme}{}", line.address())).collect()
        };
        let capulet = addresses(&["montague.lit", "conference.montague.lit"], &to_montague);
        let montague = addresses(&["capulet.lit", "conference.capulet.lit"], &to_capulet);
        World {
            capulet: side("capulet.lit", "montague.lit", &setup, &authority, &capulet, to_capulet, at_capulet).await,
            montague: side("montague.lit", "capulet.lit", &setup, &authority, &montague, to_montague, at_montague)
                .await,
            authority,
        }
    }

    /// Romeo at `montague.lit` and Juliet at `capulet.lit`, both online.
    pub async fn lovers(&self) -> (RawClient, RawClient) {
        let mut romeo = self.montague.scene().online("romeo/orchard").await;
        let mut juliet = self.capulet.scene().online("juliet/balcony").await;
        for client in [&mut romeo, &mut juliet] {
            client.set_patience(Duration::from_secs(20));
        }
        (romeo, juliet)
    }
}

async fn side(
    domain: &str,
    other: &str,
    setup: &Setup,
    authority: &Authority,
    addresses: &[String],
    line: Relay,
    there: Arc<Mutex<SocketAddr>>,
) -> Side {
    let certificates = tempfile::tempdir().expect("a folder");
    let signed = if setup.dialback { Signed::by_itself(domain) } else { authority.sign(domain) };
    signed.write(certificates.path(), domain);
    let mut more = format!("bidirectional = {}\n", setup.bidirectional);
    if setup.dialback {
        more += &format!("dialback_without_certificate = [\"{other}\", \"conference.{other}\"]\n");
    }
    more += setup.more;
    let text = federating(&authority.file(), certificates.path(), addresses, &more);
    let server = TestServer::start(common::options().hosts(&[domain]).toml(text)).await;
    trust(&server, certificates.path(), authority);
    let side = Side { server, line, there, direct_tls: setup.direct_tls, certificates };
    side.tell_the_line();
    side
}

/// Lets the clients of the test trust a server whose certificates lie elsewhere.
pub fn trust(server: &TestServer, certificates: &Path, authority: &Authority) {
    let here = server.certificates();
    std::fs::copy(authority.file(), here.join("authority.crt")).expect("it is copied");
    for entry in std::fs::read_dir(certificates).expect("a folder").flatten() {
        if entry.path().extension().is_some_and(|extension| extension == "crt") {
            std::fs::copy(entry.path(), here.join(entry.file_name())).expect("it is copied");
        }
    }
}

/// A message between two people, and proof that it has come.
pub async fn say(from: &mut RawClient, to: &mut RawClient, text: &str) {
    let (sender, recipient) = (from.jid().to_owned(), to.jid().to_owned());
    from.send_bytes(message(&recipient, text)).await;
    to.expect(format!(
        "<message from='{sender}' to='{recipient}' id='{text}' type='chat'><body>{text}</body>{{…}}</message>"
    ))
    .await;
}

/// A message that says what its id says.
pub fn message(to: &str, text: &str) -> String {
    format!("<message to='{to}' id='{text}' type='chat'><body>{text}</body></message>")
}

/// The bodies of what comes until the last of them does.
pub async fn bodies_until(client: &mut RawClient, last: &str) -> Vec<String> {
    let mut bodies = Vec::new();
    loop {
        let element: Element = client.receive().await;
        assert_ne!(element.attribute("type"), Some("error"), "{element}");
        if let Some(body) = element.child("body") {
            bodies.push(body.text());
            if bodies.last().is_some_and(|body| body == last) {
                return bodies;
            }
        }
    }
}
