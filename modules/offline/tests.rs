//! The module inside a house: what is kept comes once, in order, to whoever is there, on both engines.

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll, Waker};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::{BoxFuture, FutureExt};
use parking_lot::Mutex;
use waxwing_core::address::{BareJid, FullJid, NodePart, NodeRef, ResourcePart};
use waxwing_core::config::{Config, KnownModule};
use waxwing_core::contracts::{AccountError, Accounts};
use waxwing_core::credentials::{Hash, ScramKeys};
use waxwing_core::departure::depart;
use waxwing_core::house::House;
use waxwing_core::module::{Manifest, Plan};
use waxwing_core::session::{Circumstances, Session};
use waxwing_core::stanza::{Stanza, element};
use waxwing_core::stream_error::StreamError;
use waxwing_core::wire::{Framing, Wire};
use waxwing_storage::Engine;
use waxwing_storage::testing::{Guard, fresh_settings};

use super::*;

/// Everybody has an account.
struct Everybody;

#[async_trait]
impl Accounts for Everybody {
    async fn exists(&self, _: &NodeRef) -> Result<bool, StorageError> {
        Ok(true)
    }
    async fn scram_keys(&self, _: &NodeRef, _: Hash) -> Result<Option<ScramKeys>, StorageError> {
        Ok(None)
    }
    async fn check_password(&self, _: &NodeRef, _: &str) -> Result<bool, StorageError> {
        Ok(false)
    }
    async fn is_disabled(&self, _: &NodeRef) -> Result<bool, StorageError> {
        Ok(false)
    }
    async fn create(&self, _: &NodeRef, _: &str) -> Result<(), AccountError> {
        Err(AccountError::Exists)
    }
    async fn set_password(&self, _: &NodeRef, _: &str) -> Result<(), AccountError> {
        Err(AccountError::NotFound)
    }
    async fn remove(&self, _: &NodeRef) -> Result<(), AccountError> {
        Err(AccountError::NotFound)
    }
    async fn list(&self, _: Option<&NodeRef>, _: u32) -> Result<Vec<NodePart>, StorageError> {
        Ok(Vec::new())
    }
}

impl Module for Everybody {}

static ACCOUNTS: Manifest = Manifest { name: "accounts", offers: &[Contract::Accounts], ..Manifest::EMPTY };
const ACCOUNTS_PLAN: Plan = Plan {
    manifest: &ACCOUNTS,
    start: |context| {
        Box::pin(async move {
            assert!(context.contracts().offer_accounts(Arc::new(Everybody)));
            Ok(Arc::new(Everybody) as Arc<dyn Module>)
        })
    },
};

async fn house(guard: &Guard, settings: &str) -> Arc<House> {
    let known = [KnownModule::from(PLAN.manifest), KnownModule::from(&ACCOUNTS)];
    let text = format!("hosts = [\"verona.lit\"]\n[modules.offline]\n{settings}");
    let mut config = Config::from_text(&text, &known).unwrap_or_else(|errors| panic!("{errors:?}"));
    config.storage = guard.settings.clone();
    House::assemble(Arc::new(config), &[PLAN, ACCOUNTS_PLAN]).await.unwrap()
}

/// A client that reads as long as its gate is open, and what it has read.
#[derive(Clone, Default)]
struct Client(Arc<Mutex<Reading>>);

#[derive(Default)]
struct Reading {
    read: String,
    /// Written, and not taken because the gate is closed.
    stuck: String,
    is_closed: bool,
    waker: Option<Waker>,
}

impl Client {
    fn open_gate(&self) {
        let mut reading = self.0.lock();
        reading.is_closed = false;
        let stuck = std::mem::take(&mut reading.stuck);
        reading.read.push_str(&stuck);
        if let Some(waker) = reading.waker.take() {
            waker.wake();
        }
    }

    /// The words of the bodies that were read, in order.
    fn bodies(&self) -> Vec<String> {
        let reading = self.0.lock();
        let bodies = reading.read.split("<body>").skip(1);
        bodies.map(|rest| rest.split([' ', '<']).next().unwrap_or_default().to_owned()).collect()
    }

    async fn reads(&self, expected: &[String]) {
        eventually(|| self.bodies().len() >= expected.len(), || format!("{:?}", self.bodies())).await;
        assert_eq!(self.bodies(), expected);
    }
}

impl Wire for Client {
    fn framing(&self) -> Framing {
        Framing::Stream
    }
    fn write(&mut self, elements: &[u8]) {
        let mut reading = self.0.lock();
        let text = std::str::from_utf8(elements).unwrap();
        if reading.is_closed { reading.stuck.push_str(text) } else { reading.read.push_str(text) }
    }
    fn poll_flush(&mut self, context: &mut TaskContext<'_>) -> Poll<io::Result<()>> {
        let mut reading = self.0.lock();
        if reading.stuck.is_empty() {
            return Poll::Ready(Ok(()));
        }
        reading.waker = Some(context.waker().clone());
        Poll::Pending
    }
    fn close(self: Box<Self>, _: Option<StreamError>) -> BoxFuture<'static, ()> {
        std::future::ready(()).boxed()
    }
}

async fn eventually(is_so: impl Fn() -> bool, what: impl Fn() -> String) {
    for _ in 0..2000 {
        if is_so() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("not within ten seconds: {}", what());
}

async fn session(house: &House, jid: &str) -> (Arc<Session>, Client) {
    let client = Client::default();
    (open(house, jid, &client).await, client)
}

async fn open(house: &House, jid: &str, client: &Client) -> Arc<Session> {
    let jid = FullJid::new(jid).unwrap();
    let resource: ResourcePart = jid.resource().to_owned();
    let host = house.host(jid.domain()).unwrap();
    let wire = Box::new(client.clone());
    host.open_session(&jid.to_bare(), Some(resource), Circumstances::default(), wire, |_| Default::default())
        .await
        .unwrap()
}

/// What the presence module does.
async fn available(session: &Arc<Session>, priority: i8) {
    let presence = element(format!("<presence><priority>{priority}</priority></presence>")).unwrap();
    let before = session.set_presence(Some(Stanza::read(presence).unwrap().unwrap()));
    let event = Event::Available { session: session.clone(), first: before.is_none() };
    session.host().tell(event).await;
}

async fn send(session: &Arc<Session>, xml: String) {
    depart(session, session.wire_number(), element(xml).unwrap()).await.unwrap();
}

fn words(name: &str, numbers: std::ops::Range<usize>) -> Vec<String> {
    numbers.map(|number| format!("{name}{number}")).collect()
}

/// Chat messages of at least so many bytes each, one after the other.
async fn chat(from: &Arc<Session>, to: &str, words: &[String], bytes: usize) {
    for word in words {
        let padding = "x".repeat(bytes);
        send(from, format!("<message type='chat' to='{to}' id='{word}'><body>{word} {padding}</body></message>")).await;
    }
}

async fn stored(house: &House) -> i64 {
    let row = house.database().fetch_optional("SELECT count(*) FROM offline_messages", &[]).await.unwrap();
    row.unwrap().integer(0).unwrap()
}

/// Waits until so many messages are stored: what was delivered is deleted a moment later.
async fn until_stored(house: &House, count: i64) {
    for _ in 0..400 {
        if stored(house).await == count {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("{} messages are stored, not {count}", stored(house).await);
}

/// A test with a house on each engine.
fn on_both_engines<F: Future<Output = ()>>(settings: &str, test: impl Fn(Arc<House>, Arc<Guard>) -> F) {
    for engine in Engine::ALL {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        runtime.block_on(async {
            let guard = Arc::new(fresh_settings(engine).await);
            let house = house(&guard, settings).await;
            test(house.clone(), guard.clone()).await;
            house.shut_down(Duration::from_secs(2)).await;
        });
    }
}

#[test]
fn c70_what_is_kept_comes_once_in_order_and_stamped() {
    on_both_engines("", async |house, _guard| {
        let (romeo, romeo_reads) = session(&house, "romeo@verona.lit/orchard").await;
        let first = words("a", 0..30);
        chat(&romeo, "juliet@verona.lit", &first, 10).await;
        assert_eq!(stored(&house).await, 30);
        let (juliet, juliet_reads) = session(&house, "juliet@verona.lit/balcony").await;
        available(&juliet, -1).await;
        chat(&romeo, "juliet@verona.lit", &words("a", 30..31), 10).await;
        assert_eq!(stored(&house).await, 31, "a negative priority gets nothing");
        available(&juliet, 0).await;
        assert_eq!(juliet.progress().put, 32, "with the welcome everything is in the mailbox before anything else");
        juliet_reads.reads(&words("a", 0..31)).await;
        until_stored(&house, 0).await;
        let read = juliet_reads.0.lock().read.clone();
        assert_eq!(read.matches("<delay xmlns='urn:xmpp:delay' from='verona.lit' stamp='20").count(), 31);
        assert!(
            read.starts_with("<message from='romeo@verona.lit/orchard' to='juliet@verona.lit' id='a0' type='chat'>")
        );
        available(&juliet, 1).await;
        let (_, phone_reads) = {
            let (phone, reads) = session(&house, "juliet@verona.lit/phone").await;
            available(&phone, 5).await;
            (phone, reads)
        };
        chat(&romeo, "juliet@verona.lit", &words("live", 0..1), 10).await;
        phone_reads.reads(&words("live", 0..1)).await;
        juliet_reads.reads(&[words("a", 0..31), words("live", 0..1)].concat()).await;
        assert!(!phone_reads.0.lock().read.contains("delay") && romeo_reads.0.lock().read.is_empty());
    });
}

#[test]
fn what_comes_while_a_slow_client_is_served_stays_behind_and_the_client_stays() {
    on_both_engines("", async |house, _guard| {
        let (romeo, _) = session(&house, "romeo@verona.lit/orchard").await;
        // Three times what may wait for one client.
        chat(&romeo, "juliet@verona.lit", &words("a", 0..30), 100_000).await;
        let client = Client::default();
        client.0.lock().is_closed = true;
        let juliet = open(&house, "juliet@verona.lit/balcony", &client).await;
        available(&juliet, 0).await;
        chat(&romeo, "juliet@verona.lit", &words("b", 0..3), 10).await;
        chat(&romeo, "juliet@verona.lit/balcony", &words("c", 0..3), 10).await;
        assert!(!juliet.has_ended() && client.bodies().is_empty());
        client.open_gate();
        client.reads(&[words("a", 0..30), words("b", 0..3), words("c", 0..3)].concat()).await;
        until_stored(&house, 0).await;
        chat(&romeo, "juliet@verona.lit", &words("d", 0..1), 10).await;
        eventually(|| client.bodies().last() == Some(&"d0".to_owned()), || format!("{:?}", client.bodies())).await;
        assert_eq!(stored(&house).await, 0, "whoever has caught up gets messages straight");
    });
}

#[test]
fn c70_what_is_for_one_device_reaches_no_other_while_they_catch_up() {
    on_both_engines("", async |house, _guard| {
        let (romeo, _) = session(&house, "romeo@verona.lit/orchard").await;
        chat(&romeo, "juliet@verona.lit", &words("a", 0..10), 100_000).await;
        let slow = Client::default();
        slow.0.lock().is_closed = true;
        let balcony = open(&house, "juliet@verona.lit/balcony", &slow).await;
        available(&balcony, 0).await;
        let (phone, phone_reads) = session(&house, "juliet@verona.lit/phone").await;
        available(&phone, 0).await;
        chat(&romeo, "juliet@verona.lit/phone", &words("phone", 0..1), 10).await;
        chat(&romeo, "juliet@verona.lit/balcony", &words("balcony", 0..1), 10).await;
        phone_reads.reads(&words("phone", 0..1)).await;
        slow.open_gate();
        slow.reads(&[words("a", 0..10), words("balcony", 0..1)].concat()).await;
        until_stored(&house, 0).await;
        assert_eq!(phone_reads.bodies(), words("phone", 0..1));
    });
}

#[test]
fn what_a_lost_client_has_not_got_goes_to_the_next_once_and_in_order() {
    on_both_engines("", async |house, _guard| {
        let (romeo, _) = session(&house, "romeo@verona.lit/orchard").await;
        let all = words("a", 0..25);
        chat(&romeo, "juliet@verona.lit", &all, 60_000).await;
        let client = Client::default();
        let juliet = open(&house, "juliet@verona.lit/balcony", &client).await;
        client.0.lock().is_closed = true;
        available(&juliet, 0).await;
        // The writer has taken a first message, and the wire is stuck with it.
        eventually(|| client.0.lock().waker.is_some(), || "nothing was written".to_owned()).await;
        let taken = client.0.lock().stuck.matches("<body>").count();
        assert!((1..25).contains(&taken), "{taken}");
        juliet.lost(juliet.wire_number());
        juliet.wait_for_end().await;
        chat(&romeo, "juliet@verona.lit", &words("b", 0..2), 10).await;
        let (phone, phone_reads) = session(&house, "juliet@verona.lit/phone").await;
        available(&phone, 0).await;
        // What its writer had taken, and the operating system had not, comes as well, with its old stamp.
        phone_reads.reads(&[all, words("b", 0..2)].concat()).await;
        assert_eq!(phone_reads.0.lock().read.matches("<delay ").count(), 27);
        until_stored(&house, 0).await;
    });
}

#[test]
fn c70_two_devices_that_come_at_once_share_one_delivery() {
    on_both_engines("", async |house, _guard| {
        let (romeo, _) = session(&house, "romeo@verona.lit/orchard").await;
        let all = words("a", 0..200);
        chat(&romeo, "juliet@verona.lit", &all, 2_000).await;
        let mut clients = Vec::new();
        for number in 0..5 {
            clients.push(session(&house, &format!("juliet@verona.lit/{number}")).await);
        }
        let coming = clients.iter().map(|(session, _)| {
            let session = session.clone();
            tokio::spawn(async move { available(&session, 0).await })
        });
        for task in coming.collect::<Vec<_>>() {
            task.await.unwrap();
        }
        let total = || clients.iter().map(|(_, reads)| reads.bodies().len()).sum::<usize>();
        eventually(|| total() >= 200, || total().to_string()).await;
        until_stored(&house, 0).await;
        let got: Vec<_> = clients.iter().map(|(_, reads)| reads.bodies()).filter(|bodies| !bodies.is_empty()).collect();
        assert_eq!(got, [all]);
        assert!(clients.iter().all(|(session, _)| !is_behind(session)), "each had its turn, and found nothing left");
        chat(&romeo, "juliet@verona.lit", &words("live", 0..1), 10).await;
        eventually(|| total() == 205, || total().to_string()).await;
    });
}

#[test]
fn messages_of_one_sender_are_never_turned_around_by_a_login() {
    on_both_engines("", async |house, _guard| {
        let (romeo, _) = session(&house, "romeo@verona.lit/orchard").await;
        let sending = tokio::spawn(async move { chat(&romeo, "juliet@verona.lit", &words("a", 0..400), 100).await });
        let mut got = Vec::new();
        while got.len() < 400 {
            let (juliet, reads) = session(&house, "juliet@verona.lit/balcony").await;
            available(&juliet, 0).await;
            let wanted = (got.len() + 60).min(400) - got.len();
            eventually(|| reads.bodies().len() >= wanted, || format!("{got:?} {:?}", reads.bodies())).await;
            let behind = || "she never catches up with him".to_owned();
            eventually(|| !is_behind(&juliet), behind).await;
            // Away for a moment, which stores what comes, and then gone.
            juliet.set_presence(None);
            tokio::time::sleep(Duration::from_millis(20)).await;
            juliet.finish(None);
            juliet.wait_for_end().await;
            got.extend(reads.bodies());
        }
        sending.await.unwrap();
        assert_eq!(got, words("a", 0..400));
        until_stored(&house, 0).await;
    });
}

#[test]
fn s34_a_full_store_is_said_and_takes_again_when_emptied() {
    on_both_engines("messages = 3", async |house, _guard| {
        let (romeo, reads) = session(&house, "romeo@verona.lit/orchard").await;
        chat(&romeo, "juliet@verona.lit", &words("a", 0..4), 10).await;
        eventually(|| reads.0.lock().read.contains("</message>"), || "no error".to_owned()).await;
        let read = reads.0.lock().read.clone();
        assert!(
            read.starts_with("<message from='juliet@verona.lit' to='romeo@verona.lit/orchard' id='a3' type='error'>")
        );
        assert!(read.contains("<error type='cancel'><service-unavailable "), "{read}");
        let (juliet, juliet_reads) = session(&house, "juliet@verona.lit/balcony").await;
        available(&juliet, 0).await;
        juliet_reads.reads(&words("a", 0..3)).await;
        until_stored(&house, 0).await;
        juliet.set_presence(None);
        chat(&romeo, "juliet@verona.lit", &words("a", 4..5), 10).await;
        assert_eq!(stored(&house).await, 1);
    });
}

#[test]
fn what_is_not_worth_keeping_is_dropped_silently() {
    on_both_engines("", async |house, _guard| {
        let (romeo, reads) = session(&house, "romeo@verona.lit/orchard").await;
        for (of, content) in [
            ("chat", "<composing xmlns='http://jabber.org/protocol/chatstates'/>"),
            ("chat", "<body>x</body><no-store xmlns='urn:xmpp:hints'/>"),
            ("headline", "<body>x</body>"),
            ("error", "<body>x</body>"),
        ] {
            send(&romeo, format!("<message type='{of}' to='juliet@verona.lit'>{content}</message>")).await;
        }
        assert_eq!(stored(&house).await, 0);
        assert!(reads.0.lock().read.is_empty());
        send(&romeo, "<message to='juliet@verona.lit'><body>x</body></message>".to_owned()).await;
        assert_eq!(stored(&house).await, 1);
        house.hosts()[0].tell(Event::AccountRemoved(BareJid::new("juliet@verona.lit").unwrap())).await;
        assert_eq!(stored(&house).await, 0, "nothing outlives its account");
    });
}

#[test]
fn f01_messages_and_their_stamps_outlive_the_server() {
    on_both_engines("", async |house, guard| {
        let (romeo, _) = session(&house, "romeo@verona.lit/orchard").await;
        chat(&romeo, "juliet@verona.lit", &words("a", 0..3), 10).await;
        house.database().execute("UPDATE offline_messages SET stored_at = 0", &[]).await.unwrap();
        house.shut_down(Duration::from_secs(1)).await;
        let again = super::tests::house(&guard, "").await;
        let (juliet, reads) = session(&again, "juliet@verona.lit/balcony").await;
        available(&juliet, 0).await;
        reads.reads(&words("a", 0..3)).await;
        assert_eq!(reads.0.lock().read.matches("stamp='1970-01-01T00:00:00.000Z'").count(), 3);
        again.shut_down(Duration::from_secs(1)).await;
    });
}

#[test]
fn f31_a_message_that_cannot_be_read_hides_no_other() {
    on_both_engines("", async |house, _guard| {
        let (romeo, _) = session(&house, "romeo@verona.lit/orchard").await;
        chat(&romeo, "juliet@verona.lit", &words("a", 0..3), 10).await;
        let spoil = match house.database().engine() {
            Engine::Sqlite => {
                "UPDATE offline_messages SET stanza = x'FF00' WHERE id = (SELECT min(id) FROM offline_messages)"
            }
            Engine::Postgres => {
                "UPDATE offline_messages SET stanza = '\\xFF00' WHERE id = (SELECT min(id) FROM offline_messages)"
            }
        };
        house.database().execute(spoil, &[]).await.unwrap();
        let (juliet, reads) = session(&house, "juliet@verona.lit/balcony").await;
        available(&juliet, 0).await;
        reads.reads(&words("a", 1..3)).await;
        until_stored(&house, 1).await;
        chat(&romeo, "juliet@verona.lit", &words("live", 0..1), 10).await;
        reads.reads(&[words("a", 1..3), words("live", 0..1)].concat()).await;
    });
}

#[path = "return_tests.rs"]
mod return_tests;
