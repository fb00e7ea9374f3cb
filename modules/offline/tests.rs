//! The module inside a house: what is kept comes once, in order, to whoever is there, on both engines.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use waxwing_core::address::BareJid;
use waxwing_core::config::{Config, KnownModule};
use waxwing_core::house::House;
use waxwing_core::module::{Manifest, Plan};
use waxwing_core::session::Session;
use waxwing_core::stanza::{Stanza, element};
use waxwing_core::testing::{EVERYONE, Paper, bind, eventually, say};
use waxwing_storage::Engine;
use waxwing_storage::testing::{Guard, fresh_settings};

use super::*;

struct Nothing;
impl Module for Nothing {}

static ACCOUNTS: Manifest = Manifest { name: "accounts", offers: &[Contract::Accounts], ..Manifest::EMPTY };
const ACCOUNTS_PLAN: Plan = Plan {
    manifest: &ACCOUNTS,
    start: |context| {
        Box::pin(async move {
            assert!(context.contracts().offer_accounts(Arc::new(EVERYONE)));
            Ok(Arc::new(Nothing) as Arc<dyn Module>)
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

/// The words of the bodies that were read, in order.
fn bodies(paper: &Paper) -> Vec<String> {
    let text = paper.text();
    let bodies = text.split("<body>").skip(1);
    bodies.map(|rest| rest.split([' ', '<']).next().unwrap_or_default().to_owned()).collect()
}

/// Waits until these were read, and no others.
async fn has_read(paper: &Paper, expected: &[String]) {
    eventually(|| bodies(paper).len() >= expected.len(), || format!("{:?}", bodies(paper))).await;
    assert_eq!(bodies(paper), expected);
}

async fn session(house: &House, jid: &str) -> (Arc<Session>, Paper) {
    let paper = Paper::default();
    (bind(house, jid, &paper).await, paper)
}

/// What the presence module does.
async fn available(session: &Arc<Session>, priority: i8) {
    let presence = element(format!("<presence><priority>{priority}</priority></presence>")).unwrap();
    let before = session.set_presence(Some(Stanza::read(presence).unwrap().unwrap()));
    let event = Event::Available { session: session.clone(), first: before.is_none() };
    session.host().tell(event).await;
}

fn words(name: &str, numbers: std::ops::Range<usize>) -> Vec<String> {
    numbers.map(|number| format!("{name}{number}")).collect()
}

/// Chat messages of at least so many bytes each, one after the other.
async fn chat(from: &Arc<Session>, to: &str, words: &[String], bytes: usize) {
    for word in words {
        let padding = "x".repeat(bytes);
        say(from, &format!("<message type='chat' to='{to}' id='{word}'><body>{word} {padding}</body></message>")).await;
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
        has_read(&juliet_reads, &words("a", 0..31)).await;
        until_stored(&house, 0).await;
        let read = juliet_reads.text();
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
        has_read(&phone_reads, &words("live", 0..1)).await;
        has_read(&juliet_reads, &[words("a", 0..31), words("live", 0..1)].concat()).await;
        assert!(!phone_reads.text().contains("delay") && romeo_reads.text().is_empty());
    });
}

#[test]
fn what_comes_while_a_slow_client_is_served_stays_behind_and_the_client_stays() {
    on_both_engines("", async |house, _guard| {
        let (romeo, _) = session(&house, "romeo@verona.lit/orchard").await;
        // Three times what may wait for one client.
        chat(&romeo, "juliet@verona.lit", &words("a", 0..30), 100_000).await;
        let client = Paper::default();
        client.stick();
        let juliet = bind(&house, "juliet@verona.lit/balcony", &client).await;
        available(&juliet, 0).await;
        chat(&romeo, "juliet@verona.lit", &words("b", 0..3), 10).await;
        chat(&romeo, "juliet@verona.lit/balcony", &words("c", 0..3), 10).await;
        assert!(!juliet.has_ended() && bodies(&client).is_empty());
        client.let_go();
        has_read(&client, &[words("a", 0..30), words("b", 0..3), words("c", 0..3)].concat()).await;
        until_stored(&house, 0).await;
        chat(&romeo, "juliet@verona.lit", &words("d", 0..1), 10).await;
        eventually(|| bodies(&client).last() == Some(&"d0".to_owned()), || format!("{:?}", bodies(&client))).await;
        assert_eq!(stored(&house).await, 0, "whoever has caught up gets messages straight");
    });
}

#[test]
fn c70_what_is_for_one_device_reaches_no_other_while_they_catch_up() {
    on_both_engines("", async |house, _guard| {
        let (romeo, _) = session(&house, "romeo@verona.lit/orchard").await;
        chat(&romeo, "juliet@verona.lit", &words("a", 0..10), 100_000).await;
        let slow = Paper::default();
        slow.stick();
        let balcony = bind(&house, "juliet@verona.lit/balcony", &slow).await;
        available(&balcony, 0).await;
        let (phone, phone_reads) = session(&house, "juliet@verona.lit/phone").await;
        available(&phone, 0).await;
        chat(&romeo, "juliet@verona.lit/phone", &words("phone", 0..1), 10).await;
        chat(&romeo, "juliet@verona.lit/balcony", &words("balcony", 0..1), 10).await;
        has_read(&phone_reads, &words("phone", 0..1)).await;
        slow.let_go();
        has_read(&slow, &[words("a", 0..10), words("balcony", 0..1)].concat()).await;
        until_stored(&house, 0).await;
        assert_eq!(bodies(&phone_reads), words("phone", 0..1));
    });
}

#[test]
fn what_a_lost_client_has_not_got_goes_to_the_next_once_and_in_order() {
    on_both_engines("", async |house, _guard| {
        let (romeo, _) = session(&house, "romeo@verona.lit/orchard").await;
        let all = words("a", 0..25);
        chat(&romeo, "juliet@verona.lit", &all, 60_000).await;
        let client = Paper::default();
        let juliet = bind(&house, "juliet@verona.lit/balcony", &client).await;
        client.stick();
        available(&juliet, 0).await;
        // The writer has taken a first message, and the wire is stuck with it.
        eventually(|| client.keeps_waiting(), || "nothing was written".to_owned()).await;
        let taken = client.stuck().matches("<body>").count();
        assert!((1..25).contains(&taken), "{taken}");
        juliet.lost(juliet.wire_number());
        juliet.wait_for_end().await;
        chat(&romeo, "juliet@verona.lit", &words("b", 0..2), 10).await;
        let (phone, phone_reads) = session(&house, "juliet@verona.lit/phone").await;
        available(&phone, 0).await;
        // What its writer had taken, and the operating system had not, comes as well, with its old stamp.
        has_read(&phone_reads, &[all, words("b", 0..2)].concat()).await;
        assert_eq!(phone_reads.count("<delay "), 27);
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
        let total = || clients.iter().map(|(_, reads)| bodies(reads).len()).sum::<usize>();
        eventually(|| total() >= 200, || total().to_string()).await;
        until_stored(&house, 0).await;
        let got: Vec<_> = clients.iter().map(|(_, reads)| bodies(reads)).filter(|bodies| !bodies.is_empty()).collect();
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
            eventually(|| bodies(&reads).len() >= wanted, || format!("{got:?} {:?}", bodies(&reads))).await;
            let behind = || "she never catches up with him".to_owned();
            eventually(|| !is_behind(&juliet), behind).await;
            // Away for a moment, which stores what comes, and then gone.
            juliet.set_presence(None);
            tokio::time::sleep(Duration::from_millis(20)).await;
            juliet.finish(None);
            juliet.wait_for_end().await;
            got.extend(bodies(&reads));
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
        eventually(|| reads.text().contains("</message>"), || "no error".to_owned()).await;
        let read = reads.text();
        assert!(
            read.starts_with("<message from='juliet@verona.lit' to='romeo@verona.lit/orchard' id='a3' type='error'>")
        );
        assert!(read.contains("<error type='cancel'><service-unavailable "), "{read}");
        let (juliet, juliet_reads) = session(&house, "juliet@verona.lit/balcony").await;
        available(&juliet, 0).await;
        has_read(&juliet_reads, &words("a", 0..3)).await;
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
            say(&romeo, &format!("<message type='{of}' to='juliet@verona.lit'>{content}</message>")).await;
        }
        assert_eq!(stored(&house).await, 0);
        assert!(reads.text().is_empty());
        say(&romeo, "<message to='juliet@verona.lit'><body>x</body></message>").await;
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
        has_read(&reads, &words("a", 0..3)).await;
        assert_eq!(reads.count("stamp='1970-01-01T00:00:00.000Z'"), 3);
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
        has_read(&reads, &words("a", 1..3)).await;
        until_stored(&house, 1).await;
        chat(&romeo, "juliet@verona.lit", &words("live", 0..1), 10).await;
        has_read(&reads, &[words("a", 1..3), words("live", 0..1)].concat()).await;
    });
}

#[path = "return_tests.rs"]
mod return_tests;
