//! The module inside a house: the contract, and what another process does to the same accounts.

use std::sync::Arc;
use std::time::{Duration, Instant};

use std::io;
use std::task::{Context as TaskContext, Poll};

use async_trait::async_trait;
use futures_util::future::{BoxFuture, FutureExt};
use parking_lot::Mutex;
use waxwing_core::address::{BareJid, DomainPart, NodePart};
use waxwing_core::config::{Config, KnownModule};
use waxwing_core::contracts::{AccountError, Accounts};
use waxwing_core::credentials::Hash;
use waxwing_core::events::{Event, Happening};
use waxwing_core::house::House;
use waxwing_core::module::{Manifest, Module, Plan};
use waxwing_core::session::{Circumstances, Session};
use waxwing_core::stream_error::StreamError;
use waxwing_core::wire::{Framing, Wire};
use waxwing_storage::testing::{Guard, fresh_settings};
use waxwing_storage::{Engine, values};

use super::PLAN;

/// A module that writes down what it hears.
static LISTENER: Manifest = Manifest {
    name: "listener",
    hears: &[Happening::AccountCreated, Happening::PasswordChanged, Happening::AccountRemoved],
    ..Manifest::EMPTY
};

struct Listener;

static HEARD: Mutex<Vec<(String, String)>> = Mutex::new(Vec::new());

#[async_trait]
impl Module for Listener {
    async fn hear(&self, event: &Event) {
        let (what, account) = match event {
            Event::AccountCreated(account) => ("created", account),
            Event::PasswordChanged(account) => ("password", account),
            Event::AccountRemoved(account) => ("removed", account),
            _ => return,
        };
        HEARD.lock().push((account.to_string(), what.to_owned()));
    }
}

const LISTENER_PLAN: Plan =
    Plan { manifest: &LISTENER, start: |_| Box::pin(async { Ok(Arc::new(Listener) as Arc<dyn Module>) }) };

fn heard(account: &str) -> Vec<String> {
    HEARD.lock().iter().filter(|(who, _)| who == account).map(|(_, what)| what.clone()).collect()
}

async fn house(guard: &Guard, host: &str) -> (Arc<House>, Arc<dyn Accounts>) {
    let known = [KnownModule::from(PLAN.manifest)];
    let text = format!("hosts = [{{ name = \"{host}\" }}]\n[auth]\nscram_iterations = 4096");
    let mut config = Config::from_text(&text, &known).unwrap_or_else(|errors| panic!("{errors:?}"));
    config.storage = guard.settings.clone();
    let house = House::assemble(Arc::new(config), &[PLAN, LISTENER_PLAN]).await.unwrap();
    let host = house.host(&DomainPart::new(host).unwrap()).unwrap();
    let accounts = host.contracts().accounts().unwrap().clone();
    (house, accounts)
}

fn name(text: &str) -> NodePart {
    NodePart::new(text).unwrap().into_owned()
}

#[tokio::test]
async fn the_contract_keeps_its_word() {
    let guard = fresh_settings(Engine::Sqlite).await;
    let (house, accounts) = house(&guard, "one.lit").await;
    let romeo = name("romeo");
    assert!(!accounts.exists(&romeo).await.unwrap());
    accounts.create(&romeo, "art thou, romeo?").await.unwrap();
    assert!(accounts.exists(&romeo).await.unwrap(), "the old answer is forgotten");
    assert!(matches!(accounts.create(&romeo, "another password").await, Err(AccountError::Exists)));
    for (name, password) in [("juliet", "short"), ("juliet", "password123"), ("love♥", "long enough for all")] {
        let refused = accounts.create(&NodePart::new(name).unwrap(), password).await;
        assert!(matches!(refused, Err(AccountError::NotAcceptable(_))), "{name} {password}");
    }
    assert!(accounts.check_password(&romeo, "art thou, romeo?").await.unwrap());
    for (who, password) in
        [("romeo", "art thou, rome?"), ("romeo", ""), ("romeo", "\0"), ("nobody", "art thou, romeo?")]
    {
        assert!(!accounts.check_password(&name(who), password).await.unwrap(), "{who} {password}");
    }
    let before = accounts.scram_keys(&romeo, Hash::Sha256).await.unwrap().unwrap();
    assert_eq!(before.iterations, 4096);
    accounts.set_password(&romeo, "what is in a name").await.unwrap();
    assert_ne!(accounts.scram_keys(&romeo, Hash::Sha256).await.unwrap().unwrap(), before);
    assert!(!accounts.check_password(&romeo, "art thou, romeo?").await.unwrap());
    assert!(matches!(accounts.set_password(&name("nobody"), "long enough for all").await, Err(AccountError::NotFound)));
    accounts.remove(&romeo).await.unwrap();
    assert!(!accounts.exists(&romeo).await.unwrap());
    assert!(matches!(accounts.remove(&romeo).await, Err(AccountError::NotFound)));
    accounts.create(&romeo, "the name is free").await.unwrap();
    accounts.retire(&romeo).await.unwrap();
    assert!(!accounts.exists(&romeo).await.unwrap());
    assert!(matches!(accounts.create(&romeo, "the name is not free").await, Err(AccountError::Exists)));
    accounts.remove(&romeo).await.unwrap();
    assert_eq!(heard("romeo@one.lit"), ["created", "password", "removed", "created", "removed"]);
    house.shut_down(Duration::from_secs(1)).await;
}

/// Waits, at most five seconds, until something is so.
async fn eventually<F: Future<Output = bool>>(what: &str, is_so: impl Fn() -> F) {
    let begun = Instant::now();
    while !is_so().await {
        assert!(begun.elapsed() < Duration::from_secs(5), "not within five seconds: {what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

async fn what_another_process_does_is_seen(engine: Engine, domain: &'static str) {
    let guard = fresh_settings(engine).await;
    let (server, here) = house(&guard, domain).await;
    let (command, there) = house(&guard, domain).await;
    let juliet = name("juliet");
    let account = format!("juliet@{domain}");
    assert!(!here.exists(&juliet).await.unwrap());
    there.create(&juliet, "parting is such sweet sorrow").await.unwrap();
    eventually("the account is there", || async { here.exists(&juliet).await.unwrap() }).await;
    eventually("both houses were told", || async { heard(&account) == ["created", "created"] }).await;
    // By now the answer is old, and believed because the journal is watched.
    tokio::time::sleep(Duration::from_millis(1500)).await;
    assert!(here.exists(&juliet).await.unwrap());
    there.set_password(&juliet, "a rose by any other name").await.unwrap();
    eventually("the new password", || async { heard(&account).len() == 4 }).await;
    there.remove(&juliet).await.unwrap();
    eventually("the account is gone", || async { !here.exists(&juliet).await.unwrap() }).await;
    eventually("the removal", || async { heard(&account)[4..] == ["removed", "removed"] }).await;
    command.shut_down(Duration::from_secs(1)).await;
    server.shut_down(Duration::from_secs(1)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_another_process_does_is_seen_sqlite() {
    what_another_process_does_is_seen(Engine::Sqlite, "two.lit").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_another_process_does_is_seen_postgres() {
    what_another_process_does_is_seen(Engine::Postgres, "three.lit").await;
}

/// A client that is told nothing but the last words.
struct LastWords(Arc<Mutex<Option<String>>>);

impl Wire for LastWords {
    fn framing(&self) -> Framing {
        Framing::Stream
    }
    fn write(&mut self, _: &[u8]) {}
    fn poll_flush(&mut self, _: &mut TaskContext<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
    fn close(self: Box<Self>, last_words: Option<StreamError>) -> BoxFuture<'static, ()> {
        *self.0.lock() = last_words.map(|words| words.condition.name().to_owned());
        std::future::ready(()).boxed()
    }
}

async fn session(house: &House, account: &str) -> (Arc<Session>, Arc<Mutex<Option<String>>>) {
    let account = BareJid::new(account).unwrap();
    let words = Arc::new(Mutex::new(None));
    let wire = Box::new(LastWords(words.clone()));
    let host = house.host(account.domain()).unwrap();
    let opened = host.open_session(&account, None, Circumstances::default(), wire, |_| Default::default()).await;
    (opened.unwrap(), words)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s27_sessions_end_soon_when_another_process_changes_the_password_or_removes_the_account() {
    let guard = fresh_settings(Engine::Sqlite).await;
    let (server, _) = house(&guard, "five.lit").await;
    let (command, there) = house(&guard, "five.lit").await;
    for who in ["romeo", "juliet", "nurse"] {
        there.create(&name(who), "a long enough password").await.unwrap();
    }
    let (romeo, romeos) = session(&server, "romeo@five.lit").await;
    let (juliet, juliets) = session(&server, "juliet@five.lit").await;
    let (nurse, _) = session(&server, "nurse@five.lit").await;
    there.set_password(&name("romeo"), "another long password").await.unwrap();
    there.remove(&name("juliet")).await.unwrap();
    let ended = async {
        romeo.wait_for_end().await;
        juliet.wait_for_end().await;
    };
    tokio::time::timeout(Duration::from_secs(4), ended).await.expect("both sessions end within some seconds");
    eventually("the last words", || async { juliets.lock().is_some() && romeos.lock().is_some() }).await;
    assert_eq!(romeos.lock().as_deref(), Some("reset"));
    assert_eq!(juliets.lock().as_deref(), Some("not-authorized"));
    assert!(!nurse.has_ended());
    command.shut_down(Duration::from_secs(1)).await;
    server.shut_down(Duration::from_secs(1)).await;
}

#[tokio::test]
async fn f01_what_a_dead_process_left_half_removed_is_finished() {
    let guard = fresh_settings(Engine::Sqlite).await;
    let (first, accounts) = house(&guard, "six.lit").await;
    let romeo = name("romeo");
    accounts.create(&romeo, "art thou, romeo?").await.unwrap();
    accounts.retire(&romeo).await.unwrap();
    // As if the process had died a minute ago, before anybody was told.
    first.database().execute("UPDATE accounts SET removed_at = removed_at - 61000", values![]).await.unwrap();
    first.shut_down(Duration::from_secs(1)).await;
    let (second, accounts) = house(&guard, "six.lit").await;
    eventually("everyone is told", || async { heard("romeo@six.lit") == ["created", "removed"] }).await;
    eventually("the name is free", || async { accounts.create(&romeo, "art thou, romeo?").await.is_ok() }).await;
    second.shut_down(Duration::from_secs(1)).await;
}

#[tokio::test]
async fn s25_an_unknown_name_costs_as_much_as_a_wrong_password() {
    let guard = fresh_settings(Engine::Sqlite).await;
    let (house, accounts) = house(&guard, "four.lit").await;
    accounts.create(&name("romeo"), "art thou, romeo?").await.unwrap();
    let mut spent = [Duration::ZERO; 2];
    // Turn by turn, so that whatever else the machine does falls on both.
    for _ in 0..60 {
        for (spent, who) in spent.iter_mut().zip(["romeo", "nobody"]) {
            let begun = Instant::now();
            assert!(!accounts.check_password(&name(who), "a wrong password").await.unwrap());
            *spent += begun.elapsed();
        }
    }
    let ratio = spent[0].as_secs_f64() / spent[1].as_secs_f64();
    assert!((0.6..1.6).contains(&ratio), "{spent:?}");
    house.shut_down(Duration::from_secs(1)).await;
}
