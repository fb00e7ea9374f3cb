//! A house with one host for the tests of rosters: everyone but nobody has an account, clients write into strings.

use std::io;
use std::ops::Deref;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::future::{BoxFuture, FutureExt};
use parking_lot::Mutex;
use waxwing_core::address::{BareJid, NodeRef, ResourcePart};
use waxwing_core::config::{Config, KnownModule};
use waxwing_core::contracts::{Contacts, Contract};
use waxwing_core::departure::depart;
use waxwing_core::events::{Event, Happening};
use waxwing_core::house::House;
use waxwing_core::module::{Context, Manifest, Module, Plan};
use waxwing_core::parcel::{Origin, Parcel};
use waxwing_core::refusal::Refusal;
use waxwing_core::session::{Circumstances, Session};
use waxwing_core::stages::{Pass, Stage, Standing};
use waxwing_core::stanza::{PresenceType, Stanza, StanzaType, element};
use waxwing_core::stream_error::StreamError;
use waxwing_core::testing::Inhabitants;
use waxwing_core::wire::{Framing, Wire};

/// Who has an account: everybody.
const EVERYBODY: Inhabitants = Inhabitants(|name| name != "nobody");

/// Makes clients available, and notes what the roster tells about who may see whom.
struct Neighbour {
    context: Context,
}

/// What neighbours have heard, with their hosts: tests run side by side.
static HEARD: Mutex<Vec<(String, String)>> = Mutex::new(Vec::new());

#[async_trait]
impl Module for Neighbour {
    async fn pass(&self, _: Stage, parcel: &mut Parcel) -> Result<Pass, Refusal> {
        let (StanzaType::Presence(PresenceType::Available), None, Some(session)) =
            (parcel.stanza.what, &parcel.stanza.to, parcel.origin.session().cloned())
        else {
            return Ok(Pass::Onward);
        };
        let first = session.set_presence(Some(parcel.stanza.clone())).is_none();
        self.context.tell(Event::Available { session, first }).await;
        Ok(Pass::Taken)
    }

    async fn hear(&self, event: &Event) {
        let (word, account, contact) = match event {
            Event::SubscriptionGranted { account, contact } => ("sees", account, contact),
            Event::SubscriptionEnded { account, contact } => ("sees no more", account, contact),
            _ => return,
        };
        let names = (account.node().map(NodeRef::to_string), contact.node().map(NodeRef::to_string));
        if let (Some(account), Some(contact)) = names {
            HEARD.lock().push((self.context.domain().to_string(), format!("{contact} {word} {account}")));
        }
    }
}

static NEIGHBOUR: Manifest = Manifest {
    name: "neighbour",
    stages: &[Standing::presence(Stage::SettleSent)],
    hears: &[Happening::SubscriptionGranted, Happening::SubscriptionEnded],
    offers: &[Contract::Accounts],
    ..Manifest::EMPTY
};

const NEIGHBOUR_PLAN: Plan = Plan {
    manifest: &NEIGHBOUR,
    start: |context: Context| {
        async move {
            context.contracts().offer_accounts(Arc::new(EVERYBODY));
            Ok(Arc::new(Neighbour { context }) as Arc<dyn Module>)
        }
        .boxed()
    },
};

/// The house and its host.
pub struct World {
    pub house: Arc<House>,
    host: String,
}

impl World {
    pub async fn new(host: &str) -> World {
        World::with(host, "").await
    }

    /// A world with these settings of rosters.
    pub async fn with(host: &str, settings: &str) -> World {
        let known = [KnownModule::from(waxwing_roster::PLAN.manifest)];
        let text =
            format!("[storage]\nurl = 'sqlite::memory:'\n[modules.roster]\n{settings}\n[[hosts]]\nname = '{host}'");
        let config = Config::from_text(&text, &known).expect("a good configuration");
        let plans = [waxwing_roster::PLAN, NEIGHBOUR_PLAN];
        let house = House::assemble(Arc::new(config), &plans).await.expect("the house stands");
        World { house, host: host.to_owned() }
    }

    /// A client that has bound and said nothing yet.
    pub async fn session(&self, name: &str, resource: &str) -> Client {
        let host = self.house.hosts()[0].clone();
        let heard = Heard::default();
        let resource = ResourcePart::new(resource).expect("a resource").into_owned();
        let wire = Box::new(TestWire(heard.clone()));
        let opened =
            host.open_session(&self.jid(name), Some(resource), Circumstances::default(), wire, |_| Bytes::new()).await;
        let Ok(session) = opened else { panic!("no session for {name}") };
        Client(Arc::new(Inner { session, heard, host: self.host.clone(), version: Mutex::default() }))
    }

    /// A client that has asked for its roster and is available; it has read what it was told.
    pub async fn online(&self, name: &str, resource: &str) -> Client {
        let client = self.session(name, resource).await;
        client.says("<iq type='get' id='r'><query xmlns='jabber:iq:roster'/></iq>").await;
        client.says("<presence/>").await;
        client.heard().await;
        client
    }

    /// The contacts of an account as other modules see them, in short.
    pub async fn contacts(&self, name: &str) -> Vec<String> {
        let contacts = self.house.hosts()[0].contracts().contacts().expect("the roster offers them").clone();
        let contacts = Contacts::contacts(&*contacts, &self.jid(name)).await.expect("the database answers");
        contacts
            .iter()
            .map(|contact| {
                format!("{}: {}", contact.jid.node().map_or("", |node| node.as_str()), contact.subscription.name())
            })
            .collect()
    }

    /// What the roster has told other modules since they were asked last.
    pub fn told(&self) -> Vec<String> {
        let mut heard = HEARD.lock();
        let (ours, others) = heard.drain(..).partition(|(host, _)| *host == self.host);
        *heard = others;
        let ours: Vec<(String, String)> = ours;
        ours.into_iter().map(|(_, what)| what).collect()
    }

    /// Another server says something.
    pub async fn elsewhere_says(&self, stanza: &str) {
        let stanza = stanza.replace("{host}", &self.host);
        let stanza = Stanza::read(element(stanza).expect("well-formed")).expect("a stanza").expect("a good one");
        let domain = stanza.from.as_ref().expect("it has a sender").domain().to_owned();
        self.house.send(Parcel::new(stanza, Origin::Remote(domain))).await;
    }

    pub async fn remove_account(&self, name: &str) {
        self.house.hosts()[0].tell(Event::AccountRemoved(self.jid(name))).await;
    }

    pub fn jid(&self, name: &str) -> BareJid {
        BareJid::new(&format!("{name}@{}", self.host)).expect("an address")
    }
}

/// What was written to a client.
#[derive(Clone, Default)]
struct Heard(Arc<Mutex<Vec<String>>>);

struct TestWire(Heard);

impl Wire for TestWire {
    fn framing(&self) -> Framing {
        Framing::Stream
    }
    fn write(&mut self, elements: &[u8]) {
        if !elements.is_empty() {
            self.0.0.lock().push(String::from_utf8_lossy(elements).into_owned());
        }
    }
    fn poll_flush(&mut self, _: &mut TaskContext<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
    fn close(self: Box<Self>, _: Option<StreamError>) -> BoxFuture<'static, ()> {
        std::future::ready(()).boxed()
    }
}

/// One bound client.
#[derive(Clone)]
pub struct Client(Arc<Inner>);

pub struct Inner {
    pub session: Arc<Session>,
    heard: Heard,
    host: String,
    version: Mutex<String>,
}

impl Deref for Client {
    type Target = Inner;
    fn deref(&self) -> &Inner {
        &self.0
    }
}

impl Inner {
    /// Sends a stanza; everyone it concerns has it in the mailbox when this returns.
    pub async fn says(&self, stanza: &str) {
        let element = element(stanza.replace("{host}", &self.host)).expect("well-formed");
        depart(&self.session, self.session.wire_number(), element).await.expect("the stream goes on");
    }

    /// What the client was told since it was asked last.
    pub async fn heard(&self) -> Vec<String> {
        for _ in 0..500 {
            let progress = self.session.progress();
            if progress.put == progress.taken {
                // Taken out is not yet written; the writer does both in one go.
                tokio::time::sleep(Duration::from_millis(1)).await;
                let heard = std::mem::take(&mut *self.heard.0.lock());
                return heard.into_iter().map(|stanza| self.shortened(&stanza)).collect();
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        panic!("the writer of {} does not get on", self.session.jid());
    }

    /// The version that the newest of what it has heard bears.
    pub fn latest_version(&self) -> String {
        self.version.lock().clone()
    }

    /// Its connection breaks; returns when everyone was told.
    pub async fn dies(&self) {
        self.session.lost(self.session.wire_number());
        tokio::time::timeout(Duration::from_secs(10), self.session.wait_for_end()).await.expect("the session ends");
    }

    /// A stanza without what no test can know: ids of pushes and versions; and without the host's name.
    fn shortened(&self, stanza: &str) -> String {
        if let Some((version, _)) = stanza.split_once(" ver='").and_then(|(_, rest)| rest.split_once('\'')) {
            version.clone_into(&mut self.version.lock());
        }
        let mut short = stanza.replace(&format!("@{}", self.host), "");
        if short.contains("type='set'") {
            short = without(&short, " id='");
        }
        without(&short, " ver='")
    }
}

/// The text without the first attribute that begins so.
fn without(text: &str, start: &str) -> String {
    let Some((before, rest)) = text.split_once(start) else { return text.to_owned() };
    let after = rest.split_once('\'').map_or("", |(_, after)| after);
    format!("{before}{after}")
}
