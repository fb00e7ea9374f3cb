//! A house with one host for the tests of presence: everyone has an account, contacts stand in a table.

use std::collections::{HashMap, HashSet};
use std::io;
use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context as TaskContext, Poll};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::future::{BoxFuture, FutureExt};
use parking_lot::Mutex;
use tokio::sync::Notify;
use waxwing_core::address::{BareJid, Jid, ResourcePart};
use waxwing_core::config::{Config, KnownModule};
use waxwing_core::contracts::{Blocking, Contact, Contacts, Contract, Subscription};
use waxwing_core::departure::depart;
use waxwing_core::events::Event;
use waxwing_core::house::House;
use waxwing_core::module::{Context, Manifest, Module, Plan};
use waxwing_core::session::{Circumstances, Session};
use waxwing_core::stanza::element;
use waxwing_core::storage::StorageError;
use waxwing_core::stream_error::StreamError;
use waxwing_core::testing::Inhabitants;
use waxwing_core::wire::{Framing, Wire};

/// What the world knows, by its host's name: tests run side by side.
static TABLES: Mutex<Option<HashMap<String, Arc<Tables>>>> = Mutex::new(None);

#[derive(Default)]
struct Tables {
    contacts: HashMap<BareJid, Arc<[Contact]>>,
    blocked: Mutex<HashSet<(BareJid, BareJid)>>,
    looks: AtomicUsize,
    gate: Mutex<Option<(BareJid, Gate)>>,
}

/// Holds up who asks about one contact.
#[derive(Clone, Default)]
pub struct Gate(Arc<(Notify, Notify)>);

impl Gate {
    /// Somebody stands before the gate.
    pub async fn reached(&self) {
        self.0.0.notified().await;
    }

    /// Lets who stands there pass.
    pub fn open(&self) {
        self.0.1.notify_one();
    }
}

impl Module for Tables {}

/// Who has an account: everybody.
const EVERYBODY: Inhabitants = Inhabitants(|name| name != "nobody");

#[async_trait]
impl Contacts for Tables {
    async fn contacts(&self, account: &BareJid) -> Result<Arc<[Contact]>, StorageError> {
        self.looks.fetch_add(1, Ordering::Relaxed);
        Ok(self.contacts.get(account).cloned().unwrap_or_else(|| Arc::from([])))
    }
    async fn contact(&self, account: &BareJid, contact: &BareJid) -> Result<Option<Contact>, StorageError> {
        let contacts = self.contacts(account).await?;
        Ok(contacts.iter().find(|known| known.jid == *contact).cloned())
    }
}

#[async_trait]
impl Blocking for Tables {
    async fn is_blocked(&self, account: &BareJid, address: &Jid) -> Result<bool, StorageError> {
        let gate = self.gate.lock().clone().filter(|(contact, _)| *contact == address.to_bare());
        if let Some((_, gate)) = gate {
            *self.gate.lock() = None;
            gate.0.0.notify_one();
            gate.0.1.notified().await;
        }
        Ok(self.blocked.lock().contains(&(account.clone(), address.to_bare())))
    }
}

static TABLES_MANIFEST: Manifest = Manifest {
    name: "tables",
    offers: &[Contract::Accounts, Contract::Contacts, Contract::Blocking],
    ..Manifest::EMPTY
};

const TABLES_PLAN: Plan = Plan {
    manifest: &TABLES_MANIFEST,
    start: |context: Context| {
        async move {
            let tables = TABLES.lock().as_ref().and_then(|all| all.get(context.domain().as_str()).cloned());
            let tables = tables.expect("the world of this host is made before");
            context.contracts().offer_accounts(Arc::new(EVERYBODY));
            context.contracts().offer_contacts(tables.clone());
            context.contracts().offer_blocking(tables.clone());
            Ok(tables as Arc<dyn Module>)
        }
        .boxed()
    },
};

/// The house, its host and its tables.
pub struct World {
    house: Arc<House>,
    host: String,
    tables: Arc<Tables>,
}

impl World {
    pub async fn new(host: &str, contacts: &[(&str, &str, &str)]) -> World {
        World::with(host, contacts, "").await
    }

    /// A world with these contacts (account, contact, subscription) and more configuration.
    pub async fn with(host: &str, contacts: &[(&str, &str, &str)], toml: &str) -> World {
        let mut lists: HashMap<BareJid, Vec<Contact>> = HashMap::new();
        for (account, contact, subscription) in contacts {
            let subscription = match *subscription {
                "both" => Subscription::Both,
                "to" => Subscription::To,
                "from" => Subscription::From,
                _ => Subscription::None,
            };
            let contact = Contact { jid: jid(contact, host), subscription, groups: vec![] };
            lists.entry(jid(account, host)).or_default().push(contact);
        }
        let contacts = lists.into_iter().map(|(account, list)| (account, list.into())).collect();
        let tables = Arc::new(Tables { contacts, ..Tables::default() });
        TABLES.lock().get_or_insert_default().insert(host.to_owned(), tables.clone());
        let known = [KnownModule::from(waxwing_presence::PLAN.manifest)];
        let text = format!("[storage]\nurl = 'sqlite::memory:'\n{toml}\n[[hosts]]\nname = '{host}'");
        let config = Config::from_text(&text, &known).expect("a good configuration");
        let plans = [TABLES_PLAN, waxwing_presence::PLAN];
        let house = House::assemble(Arc::new(config), &plans).await.expect("the house stands");
        World { house, host: host.to_owned(), tables }
    }

    /// A client that has bound and said nothing yet.
    pub async fn session(&self, name: &str, resource: &str) -> Client {
        let host = self.house.hosts()[0].clone();
        let heard = Heard::default();
        let resource = ResourcePart::new(resource).expect("a resource").into_owned();
        let wire = Box::new(TestWire(heard.clone()));
        let opened = host
            .open_session(&jid(name, &self.host), Some(resource), Circumstances::default(), wire, |_| Bytes::new())
            .await;
        let Ok(session) = opened else { panic!("no session for {name}") };
        Client(Arc::new(Inner { session, heard }))
    }

    /// A client that has broadcast that it is there.
    pub async fn online(&self, name: &str, resource: &str) -> Client {
        let client = self.session(name, resource).await;
        client.says("<presence/>").await;
        client
    }

    pub async fn granted(&self, account: &str, contact: &str) {
        let (account, contact) = (jid(account, &self.host), jid(contact, &self.host));
        self.house.hosts()[0].tell(Event::SubscriptionGranted { account, contact }).await;
    }

    pub async fn ended(&self, account: &str, contact: &str) {
        let (account, contact) = (jid(account, &self.host), jid(contact, &self.host));
        self.house.hosts()[0].tell(Event::SubscriptionEnded { account, contact }).await;
    }

    pub fn block(&self, account: &str, contact: &str) {
        self.tables.blocked.lock().insert((jid(account, &self.host), jid(contact, &self.host)));
    }

    /// The next presence on its way to this contact is held up.
    pub fn hold_up_on_the_way_to(&self, contact: &str) -> Gate {
        let gate = Gate::default();
        *self.tables.gate.lock() = Some((jid(contact, &self.host), gate.clone()));
        gate
    }

    pub fn is_online(&self, client: &Client) -> bool {
        self.house.directory().session(client.session.jid()).is_some()
    }

    /// How often contacts were asked for.
    pub fn looks(&self) -> usize {
        self.tables.looks.load(Ordering::Relaxed)
    }
}

fn jid(name: &str, host: &str) -> BareJid {
    BareJid::new(&format!("{name}@{host}")).expect("an address")
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
        let element = element(stanza.to_owned()).expect("well-formed");
        depart(&self.session, self.session.wire_number(), element).await.expect("the stream goes on");
    }

    /// What the client was told since it was asked last.
    pub async fn heard(&self) -> Vec<String> {
        for _ in 0..500 {
            let progress = self.session.progress();
            if progress.put == progress.taken {
                // Taken out is not yet written; the writer does both in one go.
                tokio::time::sleep(Duration::from_millis(1)).await;
                return std::mem::take(&mut *self.heard.0.lock());
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        panic!("the writer of {} does not get on", self.session.jid());
    }

    /// Its connection breaks; returns when everyone was told.
    pub async fn dies(&self) {
        self.session.lost(self.session.wire_number());
        tokio::time::timeout(Duration::from_secs(10), self.session.wait_for_end()).await.expect("the session ends");
    }
}
