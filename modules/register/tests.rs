//! The module inside a house, with accounts that are only kept in memory.

use std::collections::HashMap;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::{BoxFuture, FutureExt};
use parking_lot::Mutex;
use waxwing_core::address::{BareJid, DomainPart, NodePart, NodeRef, ResourcePart};
use waxwing_core::answers::{Answer, Request, Scope};
use waxwing_core::config::{Config, KnownModule};
use waxwing_core::contracts::{AccountError, Accounts, Contract};
use waxwing_core::credentials::{Hash, ScramKeys};
use waxwing_core::departure::depart;
use waxwing_core::events::Event;
use waxwing_core::house::House;
use waxwing_core::module::{Context, Manifest, Module, Phase, Plan};
use waxwing_core::session::{Circumstances, Session};
use waxwing_core::stanza::{Stanza, element};
use waxwing_core::storage::StorageError;
use waxwing_core::stream_error::StreamError;
use waxwing_core::wire::{Framing, Wire};
use waxwing_storage::Settings as StorageSettings;

use super::PLAN;

/// Accounts in memory: names and passwords. The password "storage fails" does just that.
struct TestAccounts {
    context: Context,
    known: Mutex<HashMap<String, String>>,
}

fn unavailable() -> StorageError {
    StorageError::Unavailable("away".to_owned())
}

#[async_trait]
impl Accounts for TestAccounts {
    async fn exists(&self, name: &NodeRef) -> Result<bool, StorageError> {
        Ok(self.known.lock().contains_key(name.as_str()))
    }
    async fn scram_keys(&self, _: &NodeRef, _: Hash) -> Result<Option<ScramKeys>, StorageError> {
        Ok(None)
    }
    async fn check_password(&self, name: &NodeRef, password: &str) -> Result<bool, StorageError> {
        Ok(self.known.lock().get(name.as_str()).is_some_and(|known| known == password))
    }
    async fn is_disabled(&self, _: &NodeRef) -> Result<bool, StorageError> {
        Ok(false)
    }
    async fn create(&self, name: &NodeRef, password: &str) -> Result<(), AccountError> {
        if self.known.lock().contains_key(name.as_str()) {
            return Err(AccountError::Exists);
        }
        self.set(name, password)
    }
    async fn set_password(&self, name: &NodeRef, password: &str) -> Result<(), AccountError> {
        self.set(name, password)
    }
    async fn retire(&self, name: &NodeRef) -> Result<(), AccountError> {
        match self.known.lock().remove(name.as_str()).as_deref() {
            Some("storage fails") => Err(unavailable().into()),
            Some(_) => Ok(()),
            None => Err(AccountError::NotFound),
        }
    }
    async fn remove(&self, name: &NodeRef) -> Result<(), AccountError> {
        let account = waxwing_core::address::account(name, self.context.domain());
        self.context.tell(Event::AccountRemoved(account)).await;
        Ok(())
    }
    async fn list(&self, _: Option<&NodeRef>, _: u32) -> Result<Vec<NodePart>, StorageError> {
        Ok(Vec::new())
    }
}

impl TestAccounts {
    fn set(&self, name: &NodeRef, password: &str) -> Result<(), AccountError> {
        match password {
            "short" => Err(AccountError::NotAcceptable("the password is too short".to_owned())),
            "storage" => Err(unavailable().into()),
            password => {
                self.known.lock().insert(name.as_str().to_owned(), password.to_owned());
                Ok(())
            }
        }
    }
}

static ACCOUNTS: Manifest = Manifest { name: "accounts", offers: &[Contract::Accounts], ..Manifest::EMPTY };

struct Silent;
impl Module for Silent {}

const ACCOUNTS_PLAN: Plan = Plan {
    manifest: &ACCOUNTS,
    start: |context| {
        Box::pin(async move {
            let known = ["romeo", "juliet"].map(|name| (name.to_owned(), "wherefore".to_owned())).into();
            let accounts = TestAccounts { context: context.clone(), known: Mutex::new(known) };
            assert!(context.contracts().offer_accounts(Arc::new(accounts)));
            Ok(Arc::new(Silent) as Arc<dyn Module>)
        })
    },
};

async fn house(settings: &str) -> Arc<House> {
    let known = [KnownModule::from(PLAN.manifest), KnownModule::from(&ACCOUNTS)];
    let text = format!("hosts = [\"verona.lit\", \"mantua.lit\"]\n[modules.register]\n{settings}");
    let mut config = Config::from_text(&text, &known).unwrap_or_else(|errors| panic!("{errors:?}"));
    config.storage = StorageSettings::for_url("sqlite::memory:");
    House::assemble(Arc::new(config), &[PLAN, ACCOUNTS_PLAN]).await.unwrap()
}

fn accounts(house: &House) -> Arc<dyn Accounts> {
    let host = house.host(&DomainPart::new("verona.lit").unwrap()).unwrap();
    host.contracts().accounts().unwrap().clone()
}

#[derive(Clone, Default)]
struct Sent(Arc<Mutex<String>>);

impl Sent {
    async fn ends_with(&self, text: &str) -> String {
        for _ in 0..500 {
            let sent = self.0.lock().clone();
            if sent.ends_with(text) {
                return sent;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        panic!("{text} was not sent last: {}", self.0.lock());
    }
}

impl Wire for Sent {
    fn framing(&self) -> Framing {
        Framing::Stream
    }
    fn write(&mut self, elements: &[u8]) {
        self.0.lock().push_str(std::str::from_utf8(elements).unwrap());
    }
    fn poll_flush(&mut self, _: &mut TaskContext<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
    fn close(self: Box<Self>, last_words: Option<StreamError>) -> BoxFuture<'static, ()> {
        let text = last_words.map_or("", |error| error.condition.name()).to_owned();
        self.0.lock().push_str(&format!("closed {text}"));
        std::future::ready(()).boxed()
    }
}

async fn session(house: &House, jid: &str) -> (Arc<Session>, Sent) {
    let (account, resource) = jid.split_once('/').unwrap();
    let (account, resource) = (BareJid::new(account).unwrap(), ResourcePart::new(resource).unwrap().into_owned());
    let (host, wire) = (house.host(account.domain()).unwrap(), Sent::default());
    let boxed = Box::new(wire.clone());
    let opened = host.open_session(&account, Some(resource), Circumstances::default(), boxed, |_| Default::default());
    (opened.await.unwrap(), wire)
}

async fn send(session: &Arc<Session>, xml: &str) {
    depart(session, session.wire_number(), element(xml.to_owned()).unwrap()).await.unwrap();
}

/// An IQ with a query for registration.
fn iq(of: &str, to: &str, content: &str) -> String {
    let to = if to.is_empty() { String::new() } else { format!(" to='{to}'") };
    format!("<iq id='1' type='{of}'{to}><query xmlns='jabber:iq:register'>{content}</query></iq>")
}

const NEW_PASSWORD: &str = "<username>Romeo</username><password>a rose by any name</password>";

#[tokio::test]
async fn s32_a_closed_server_offers_nothing_and_makes_no_accounts() {
    let house = house("").await;
    let catalogue = house.host(&DomainPart::new("verona.lit").unwrap()).unwrap().catalogue();
    let module = catalogue.module("register").unwrap();
    assert!(module.stream_features(Phase::Authenticating).is_empty());
    assert_eq!(ask(&house, None, "get", "").await, "service-unavailable cancel");
    let wish = "<username>tybalt</username><password>prince of cats</password>";
    assert_eq!(ask(&house, None, "set", wish).await, "not-allowed cancel");
    assert!(!accounts(&house).exists(&NodePart::new("tybalt").unwrap()).await.unwrap());
    house.shut_down(Duration::from_secs(1)).await;
}

/// What a stranger is answered: the payload, nothing, or the condition and type of the error.
async fn ask(house: &House, from: Option<&str>, of: &str, content: &str) -> String {
    let host = house.host(&DomainPart::new("verona.lit").unwrap()).unwrap();
    let stanza = Stanza::read(element(iq(of, "verona.lit", content)).unwrap()).unwrap().unwrap();
    let stranger = Some(from.unwrap_or("192.0.2.1").parse::<IpAddr>().unwrap());
    let request = Request { stanza: &stanza, scope: Scope::Stranger, session: None, stranger };
    match host.catalogue().module("register").unwrap().answer(request).await {
        Ok(Answer::Payload(payload)) => String::from_utf8(payload.as_bytes().to_vec()).unwrap(),
        Ok(answer) => format!("{answer:?}"),
        Err(refusal) => format!("{} {}", refusal.condition.name(), refusal.kind.name()),
    }
}

#[tokio::test]
async fn s32_an_open_server_makes_so_many_accounts_for_an_address() {
    let house = house("open = true\nregistrations = \"3/h\"\ninstructions = \"Be nice.\"").await;
    let catalogue = house.host(&DomainPart::new("verona.lit").unwrap()).unwrap().catalogue();
    let module = catalogue.module("register").unwrap();
    let offered = module.stream_features(Phase::Authenticating);
    assert_eq!(offered, ["<register xmlns='http://jabber.org/features/iq-register'/>".as_bytes()]);
    assert!(module.stream_features(Phase::Binding).is_empty());
    let blank = "<query xmlns='jabber:iq:register'><instructions>Be nice.</instructions><username/><password/></query>";
    assert_eq!(ask(&house, None, "get", "").await, blank);
    let wish = |name: &str, password: &str| format!("<username>{name}</username><password>{password}</password>");
    for (content, answer) in [
        (wish("tybalt", ""), "not-acceptable modify"),
        ("<password>prince of cats</password>".to_owned(), "not-acceptable modify"),
        ("<remove/>".to_owned(), "unexpected-request wait"),
        (wish("a b", "prince of cats"), "jid-malformed modify"),
        (wish("tybalt", "short"), "not-acceptable modify"),
        (wish("tybalt", "storage"), "resource-constraint wait"),
        (wish("Romeo", "prince of cats"), "conflict cancel"),
        (wish("tybalt", "prince of cats"), "Empty"),
        (wish("paris", "a proper man"), "Empty"),
        (wish("nurse", "where is my fan"), "policy-violation wait"),
    ] {
        assert_eq!(ask(&house, None, "set", &content).await, answer, "{content}");
    }
    assert_eq!(ask(&house, Some("192.0.2.2"), "set", &wish("nurse", "where is my fan")).await, "Empty");
    assert!(accounts(&house).check_password(&NodePart::new("tybalt").unwrap(), "prince of cats").await.unwrap());
    house.shut_down(Duration::from_secs(1)).await;
}

#[tokio::test]
async fn a_password_is_changed_and_other_sessions_end() {
    let house = house("").await;
    let (romeo, sent) = session(&house, "romeo@verona.lit/orchard").await;
    let (other, other_sent) = session(&house, "romeo@verona.lit/street").await;
    send(&romeo, &iq("get", "verona.lit", "")).await;
    sent.ends_with("<registered/><username>romeo</username><password/></query></iq>").await;
    send(&romeo, &iq("set", "verona.lit", NEW_PASSWORD)).await;
    sent.ends_with("<iq from='verona.lit' to='romeo@verona.lit/orchard' id='1' type='result'/>").await;
    let name = NodePart::new("romeo").unwrap();
    assert!(accounts(&house).check_password(&name, "a rose by any name").await.unwrap());
    other.wait_for_end().await;
    other_sent.ends_with("closed reset").await;
    // Without an address it is about the same account.
    send(&romeo, &iq("set", "", &NEW_PASSWORD.replace("any name", "another name"))).await;
    sent.ends_with("<iq from='romeo@verona.lit' to='romeo@verona.lit/orchard' id='1' type='result'/>").await;
    assert!(accounts(&house).check_password(&name, "a rose by another name").await.unwrap() && !romeo.has_ended());
    house.shut_down(Duration::from_secs(1)).await;
}

#[tokio::test]
async fn s32_nobody_changes_the_password_of_somebody_else() {
    let house = house("").await;
    let (romeo, sent) = session(&house, "romeo@verona.lit/orchard").await;
    let (stranger, stranger_sent) = session(&house, "romeo@mantua.lit/exile").await;
    for (to, content, condition) in [
        ("verona.lit", NEW_PASSWORD.replace("Romeo", "juliet"), "forbidden"),
        ("juliet@verona.lit", NEW_PASSWORD.to_owned(), "service-unavailable"),
        ("juliet@verona.lit", "<remove/>".to_owned(), "service-unavailable"),
        ("verona.lit", "<username>romeo</username><password/>".to_owned(), "bad-request"),
        ("verona.lit", "<password>long enough for all</password>".to_owned(), "bad-request"),
        ("verona.lit", "<remove/><username>romeo</username>".to_owned(), "bad-request"),
        ("verona.lit", "<username>romeo</username><password>short</password>".to_owned(), "not-acceptable"),
        ("verona.lit", "<username>romeo</username><password>storage</password>".to_owned(), "resource-constraint"),
    ] {
        send(&romeo, &iq("set", to, &content)).await;
        let answer = sent.ends_with("</error></iq>").await;
        assert!(answer.contains(&format!("<{condition} ")), "{condition} for {content}: {answer}");
        sent.0.lock().clear();
    }
    send(&stranger, &iq("set", "verona.lit", "<remove/>")).await;
    assert!(stranger_sent.ends_with("</error></iq>").await.contains("<service-unavailable "));
    for name in ["romeo", "juliet"] {
        assert!(accounts(&house).check_password(&NodePart::new(name).unwrap(), "wherefore").await.unwrap());
    }
    house.shut_down(Duration::from_secs(1)).await;
}

#[tokio::test]
async fn whoever_leaves_is_answered_before_the_sessions_end() {
    let house = house("").await;
    let (romeo, sent) = session(&house, "romeo@verona.lit/orchard").await;
    let (other, other_sent) = session(&house, "romeo@verona.lit/street").await;
    send(&romeo, &iq("set", "", "<remove/>")).await;
    romeo.wait_for_end().await;
    other.wait_for_end().await;
    sent.ends_with(
        "<iq from='romeo@verona.lit' to='romeo@verona.lit/orchard' id='1' type='result'/>closed not-authorized",
    )
    .await;
    other_sent.ends_with("closed not-authorized").await;
    assert!(!accounts(&house).exists(&NodePart::new("romeo").unwrap()).await.unwrap());
    house.shut_down(Duration::from_secs(1)).await;
}

#[tokio::test]
async fn what_the_operator_forbids_is_not_done() {
    let house = house("password_change = false\nremoval = false").await;
    let (romeo, sent) = session(&house, "romeo@verona.lit/orchard").await;
    for content in [NEW_PASSWORD, "<remove/>"] {
        send(&romeo, &iq("set", "verona.lit", content)).await;
        assert!(sent.ends_with("</error></iq>").await.contains("<not-allowed "));
        sent.0.lock().clear();
    }
    assert!(accounts(&house).check_password(&NodePart::new("romeo").unwrap(), "wherefore").await.unwrap());
    house.shut_down(Duration::from_secs(1)).await;
}
