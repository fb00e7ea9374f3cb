//! A scene: one test's people on a server. Their accounts have names nobody else has, so scenes can share a server.

use std::collections::BTreeSet;
use std::panic::Location;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::net::TcpStream;

use crate::bosh;
use crate::channel::Carrier;
use crate::client::RawClient;
use crate::names::Names;
use crate::server::TestServer;
use crate::tls::TlsChoice;
use crate::transcript::Transcript;
use crate::websocket;

static COUNT: AtomicU32 = AtomicU32::new(1);

/// The people of one test, by short names: `romeo` is `{romeo}` in templates, and some `romeo-17@capulet.lit` on the
/// server. A name with a host, `nurse@host2`, has its account on the second host; `{nurse}` it is all the same.
pub struct Scene {
    server: Arc<TestServer>,
    names: Names,
    transcript: Transcript,
    number: u32,
    accounts: Mutex<BTreeSet<String>>,
}

/// A transport of the web. On it what a test sends with one call is one frame, or the content of one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Web {
    /// WebSocket in the clear.
    Socket,
    /// WebSocket over TLS.
    SecureSocket,
    /// BOSH in the clear.
    Bosh,
}

impl Scene {
    pub(crate) fn new(server: Arc<TestServer>) -> Scene {
        let names = Names::default();
        for (index, host) in server.hosts().iter().enumerate() {
            let name = if index == 0 { "host".to_owned() } else { format!("host{}", index + 1) };
            names.set(&name, host);
        }
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        Scene { server, names, transcript: Transcript::default(), number, accounts: Mutex::default() }
    }

    /// The server.
    pub fn server(&self) -> &Arc<TestServer> {
        &self.server
    }

    /// What `{…}` stands for in this scene.
    pub fn names(&self) -> &Names {
        &self.names
    }

    /// The first host.
    pub fn host(&self) -> &str {
        self.server.host()
    }

    /// The bare JID of someone, `jid("romeo")`, or with a resource a full one, `jid("romeo/orchard")`.
    pub fn jid(&self, name: &str) -> String {
        self.names.value(name)
    }

    /// The name that someone's account has on the server, whether it is there or not.
    pub fn local(&self, name: &str) -> String {
        format!("{}-{}", name.split('@').next().unwrap_or(name), self.number)
    }

    /// The password of someone's account, found nowhere else.
    pub fn password(&self, name: &str) -> String {
        format!("secret of {}", self.local(name))
    }

    /// Names someone without making an account: a stranger, `{stranger}`.
    pub fn stranger(&self, name: &str) {
        self.names.set(name, format!("{}@{}", self.local(name), self.host()));
    }

    /// Makes someone's account, once; gives the name it has on the server.
    pub async fn account(&self, name: &str) -> String {
        let local = self.local(name);
        self.account_named(name, &local).await;
        local
    }

    /// Makes an account of exactly this name on the server, once, for someone; its password is as of any other.
    pub async fn account_named(&self, name: &str, local: &str) {
        let (short, host) = self.place(name);
        if self.accounts.lock().unwrap_or_else(PoisonError::into_inner).insert(short.clone()) {
            self.names.set(&short, format!("{local}@{host}"));
            if !self.server.has_account(&host, local).await {
                self.server.add_account(&host, local, &self.password(&short)).await;
            }
        }
    }

    /// Splits `nurse@host2` into the short name and the host.
    fn place(&self, name: &str) -> (String, String) {
        match name.split_once('@') {
            Some((short, host)) => (short.to_owned(), self.names.value(host)),
            None => (name.to_owned(), self.host().to_owned()),
        }
    }

    /// A connection in the clear, on which nothing has been said.
    pub async fn connect(&self) -> RawClient {
        self.connect_as("client", self.host()).await
    }

    async fn connect_as(&self, who: &str, host: &str) -> RawClient {
        let address = self.server.addresses().c2s[0];
        let (names, transcript) = (self.names.clone(), self.transcript.clone());
        RawClient::open(who, address, names, transcript, host, self.server.certificates()).await
    }

    /// A connection under TLS, on which nothing has been said.
    #[track_caller]
    pub fn connect_tls(&self) -> impl Future<Output = RawClient> {
        let place = Location::caller();
        async move {
            let host = self.host().to_owned();
            match self.tls_as("client", &host, &TlsChoice::new()).await {
                Ok(client) => client,
                Err(error) => panic!("no TLS at {place}: {error:#}\n{}", crate::logs::tail()),
            }
        }
    }

    /// A connection under TLS with a handshake of one's choice, which may fail.
    ///
    /// # Errors
    /// Why it failed.
    pub async fn try_connect_tls(&self, choice: TlsChoice) -> anyhow::Result<RawClient> {
        self.tls_as("client", self.host(), &choice).await
    }

    async fn tls_as(&self, who: &str, host: &str, choice: &TlsChoice) -> anyhow::Result<RawClient> {
        let address = self.server.addresses().c2s_tls[0];
        let (names, transcript) = (self.names.clone(), self.transcript.clone());
        let mut client = RawClient::open(who, address, names, transcript, host, self.server.certificates()).await;
        client.shake_hands(choice, true).await?;
        Ok(client)
    }

    /// Someone who has logged in and bound nothing: `logged_in("romeo")`. The account is made when it is not there.
    #[track_caller]
    pub fn logged_in(&self, name: &str) -> impl Future<Output = RawClient> {
        let place = Location::caller();
        async move { self.let_in(name, name, "", place).await }
    }

    async fn let_in(&self, who: &str, name: &str, attributes: &str, place: &Location<'_>) -> RawClient {
        let (short, host) = self.place(name);
        if self.names.get(&short).is_none() {
            self.account(name).await;
        }
        let mut client = match self.tls_as(who, &host, &TlsChoice::new().name(&host)).await {
            Ok(client) => client,
            Err(error) => panic!("no TLS at {place}: {error:#}\n{}", crate::logs::tail()),
        };
        let bare = self.names.value(&short);
        let local = bare.split('@').next().unwrap_or_default();
        client.set_stream_attributes(attributes);
        client.login(local, &self.password(&short)).await;
        client
    }

    /// A session of someone: logged in over direct TLS and bound, `session("romeo/orchard")`, without presence and
    /// without the roster. The account is made when it is not there.
    #[track_caller]
    pub fn session(&self, name: &str) -> impl Future<Output = RawClient> {
        self.session_with(name, "")
    }

    /// A session whose stream headers have these attributes beside the usual ones.
    #[track_caller]
    pub fn session_with(&self, name: &str, attributes: &str) -> impl Future<Output = RawClient> {
        let place = Location::caller();
        async move {
            let (someone, resource) = name.split_once('/').unwrap_or((name, ""));
            let mut client = self.let_in(name, someone, attributes, place).await;
            client.bind(resource).await;
            client
        }
    }

    /// A connection over this transport of the web, on which nothing has been said.
    ///
    /// # Panics
    /// When it cannot be had.
    pub async fn connect_web(&self, web: Web) -> RawClient {
        self.web_as("client", self.host(), web).await
    }

    async fn web_as(&self, who: &str, host: &str, web: Web) -> RawClient {
        let addresses = self.server.addresses();
        let mut facts = None;
        let bridge = match web {
            Web::Socket => websocket::bridge(websocket::connect(addresses.http[0], host).await),
            Web::Bosh => bosh::bridge(addresses.http[0], host),
            Web::SecureSocket => {
                let socket = TcpStream::connect(addresses.https[0]).await.expect("the web listens");
                let choice = TlsChoice::new().alpn(&["http/1.1"]);
                let certificates = self.server.certificates();
                let (socket, known) = choice.connect(socket, host, &certificates, true).await.expect("TLS");
                facts = Some(known);
                let protocol = [("sec-websocket-protocol", "xmpp")];
                websocket::bridge(websocket::upgrade(socket, host, &protocol).await.expect("a WebSocket"))
            }
        };
        let (names, transcript) = (self.names.clone(), self.transcript.clone());
        let carrier = Carrier::Bridge(bridge);
        let mut client = RawClient::over(carrier, who, names, transcript, host, self.server.certificates());
        client.tls = facts;
        client
    }

    /// As [`Scene::logged_in`], over a transport of the web.
    pub async fn web_logged_in(&self, name: &str, web: Web) -> RawClient {
        let (short, host) = self.place(name);
        if self.names.get(&short).is_none() {
            self.account(name).await;
        }
        let mut client = self.web_as(name, &host, web).await;
        let bare = self.names.value(&short);
        let local = bare.split('@').next().unwrap_or_default();
        client.login(local, &self.password(&short)).await;
        client
    }

    /// As [`Scene::session`], over a transport of the web.
    pub async fn web_session(&self, name: &str, web: Web) -> RawClient {
        let (someone, resource) = name.split_once('/').unwrap_or((name, ""));
        let mut client = self.web_logged_in(someone, web).await;
        client.bind(resource).await;
        client
    }

    /// A session that has sent initial presence, and taken in what came of it.
    #[track_caller]
    pub fn online(&self, name: &str) -> impl Future<Output = RawClient> {
        self.online_with(name, 0)
    }

    /// A session that has sent initial presence with this priority, and taken in what came of it.
    #[track_caller]
    pub fn online_with(&self, name: &str, priority: i8) -> impl Future<Output = RawClient> {
        let session = self.session(name);
        async move {
            let mut client = session.await;
            client.go_online(priority).await;
            client
        }
    }

    /// Lets two people who are online see each other's presence (both `both`), and takes in all that comes of it.
    pub async fn befriend(&self, one: &mut RawClient, other: &mut RawClient) {
        subscribe(one, other).await;
        subscribe(other, one).await;
        one.drain().await;
        other.drain().await;
    }
}

/// One asks for the other's presence, and gets it.
async fn subscribe(asking: &mut RawClient, asked: &mut RawClient) {
    asking.send_bytes(format!("<presence type='subscribe' to='{}'/>", asked.bare())).await;
    asking.drain().await;
    asked.send_bytes(format!("<presence type='subscribed' to='{}'/>", asking.bare())).await;
    asked.drain().await;
}
