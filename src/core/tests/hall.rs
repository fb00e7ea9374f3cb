//! The hall with made-up modules in it: the four verbs, the order of stages, clashes, and what a session's end does.

use std::io;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::future::{BoxFuture, FutureExt};
use parking_lot::Mutex;
use waxwing_core::address::{BareJid, ResourcePart};
use waxwing_core::answers::{Answer, Request, Topic};
use waxwing_core::commands::{Command, Who};
use waxwing_core::config::Config;
use waxwing_core::contracts::Contract;
use waxwing_core::departure::depart;
use waxwing_core::events::{Event, Happening};
use waxwing_core::house::{AssembleError, House};
use waxwing_core::module::{Context, Entity, Manifest, Module, Plan};
use waxwing_core::parcel::{Origin, Parcel, Promise};
use waxwing_core::refusal::Refusal;
use waxwing_core::session::{Circumstances, Session};
use waxwing_core::stages::{Pass, Stage, Standing};
use waxwing_core::stanza::{Kind, Stanza, element};
use waxwing_core::stream_error::StreamError;
use waxwing_core::testing::Inhabitants;
use waxwing_core::wire::{Framing, Wire};

/// What a client of the tests has been sent.
#[derive(Clone, Default)]
struct Sent(Arc<Mutex<String>>);

impl Sent {
    async fn wait_for(&self, text: &str) {
        for _ in 0..500 {
            if self.0.lock().contains(text) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("{text} was not sent, only: {}", self.0.lock());
    }
}

struct TestWire(Sent);

impl Wire for TestWire {
    fn framing(&self) -> Framing {
        Framing::Stream
    }
    fn write(&mut self, elements: &[u8]) {
        self.0.0.lock().push_str(std::str::from_utf8(elements).unwrap());
    }
    fn poll_flush(&mut self, _: &mut TaskContext<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
    fn close(self: Box<Self>, last_words: Option<StreamError>) -> BoxFuture<'static, ()> {
        let text =
            last_words.map_or_else(|| "closed".to_owned(), |error| format!("closed: {}", error.condition.name()));
        self.0.0.lock().push_str(&text);
        std::future::ready(()).boxed()
    }
}

/// Romeo and Juliet have accounts.
const LOVERS: Inhabitants = Inhabitants(|name| matches!(name, "romeo" | "juliet"));

/// What the modules of the tests have seen, in order; each test has its own by its host's name.
static SEEN: Mutex<Vec<(String, String)>> = Mutex::new(Vec::new());

fn seen(host: &str) -> Vec<String> {
    SEEN.lock().iter().filter(|(of, _)| of == host).map(|(_, what)| what.clone()).collect()
}

/// A module that notes whatever happens to it.
struct Witness {
    name: &'static str,
    host: String,
}

impl Witness {
    fn note(&self, what: impl Into<String>) {
        SEEN.lock().push((self.host.clone(), format!("{} {}", self.name, what.into())));
    }
}

#[async_trait]
impl Module for Witness {
    async fn answer(&self, request: Request<'_>) -> Result<Answer, Refusal> {
        self.note(format!("answers {}", request.payload().namespace()));
        Ok(Answer::Payload(element("<answer xmlns='urn:test:answer'/>")?))
    }
    async fn pass(&self, stage: Stage, parcel: &mut Parcel) -> Result<Pass, Refusal> {
        self.note(format!("{stage:?}"));
        match parcel.stanza.text_of("subject").as_deref() {
            Some(word) if word == format!("{stage:?} refuses") => Err(Refusal::not_acceptable().saying("as was asked")),
            Some(word) if word == format!("{stage:?} takes") => Ok(Pass::Taken),
            _ => Ok(Pass::Onward),
        }
    }
    async fn hear(&self, event: &Event) {
        if self.host == "slow.test" && event.happening() == Happening::SessionEnded {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        self.note(format!("hears {:?}", event.happening()));
    }
    async fn receive(&self, parcel: Parcel) -> Result<(), Refusal> {
        self.note(format!("receives {}", parcel.stanza.to.as_ref().unwrap()));
        Ok(())
    }
}

const ALL_STAGES: &[Standing] = &[
    Standing::messages(Stage::Vet),
    Standing::messages(Stage::SettleSent),
    Standing::messages(Stage::ArchiveSent),
    Standing::messages(Stage::CopySent),
    Standing::messages(Stage::Guard),
    Standing::messages(Stage::SettleReceived),
    Standing::messages(Stage::ArchiveReceived),
    Standing::messages(Stage::Choose),
    Standing::messages(Stage::CopyReceived),
    Standing::messages(Stage::Hold),
    Standing::messages(Stage::Count),
];

static FIRST: Manifest = Manifest {
    name: "first",
    stages: ALL_STAGES,
    answers: &[Topic::account("urn:test:question")],
    hears: &[Happening::SessionOpened, Happening::SessionEnded],
    offers: &[Contract::Accounts],
    ..Manifest::EMPTY
};
static SECOND: Manifest = Manifest {
    name: "second",
    stages: &[
        Standing::messages(Stage::Guard),
        Standing::messages(Stage::Rescue),
        Standing::messages(Stage::Notice),
        Standing::presence(Stage::Vet),
    ],
    commands: &[PICK_BERRIES],
    needs: &[Contract::Accounts],
    ..Manifest::EMPTY
};
static THIEF: Manifest = Manifest {
    name: "thief",
    answers: &[Topic::account("urn:test:question")],
    commands: &[PICK_BERRIES],
    ..Manifest::EMPTY
};
const PICK_BERRIES: Command =
    Command { entity: Entity::Host, node: "urn:test:berries", name: "Pick berries", who: Who::Operators };

const FIRST_PLAN: Plan = Plan {
    manifest: &FIRST,
    start: |context: Context| {
        async move {
            context.contracts().offer_accounts(Arc::new(LOVERS));
            context.serve("rooms")?;
            Ok(Arc::new(Witness { name: "first", host: context.domain().to_string() }) as Arc<dyn Module>)
        }
        .boxed()
    },
};
const SECOND_PLAN: Plan = Plan {
    manifest: &SECOND,
    start: |context: Context| {
        async move {
            assert!(context.contracts().accounts().is_some(), "what it needs has started before");
            Ok(Arc::new(Witness { name: "second", host: context.domain().to_string() }) as Arc<dyn Module>)
        }
        .boxed()
    },
};
const THIEF_PLAN: Plan = Plan { manifest: &THIEF, ..FIRST_PLAN };

async fn house(host: &str, plans: &[Plan]) -> Result<Arc<House>, AssembleError> {
    let text = format!("[storage]\nurl = 'sqlite::memory:'\n[[hosts]]\nname = '{host}'");
    let config = Config::from_text(&text, &[]).unwrap();
    House::assemble(Arc::new(config), plans).await
}

async fn session(house: &Arc<House>, name: &str, resource: &str) -> (Arc<Session>, Sent) {
    let host = house.hosts()[0].clone();
    let account = BareJid::new(&format!("{name}@{}", host.domain())).unwrap();
    let sent = Sent::default();
    let resource = ResourcePart::new(resource).unwrap().into_owned();
    let wire = Box::new(TestWire(sent.clone()));
    let welcome = |_: &_| Bytes::from_static(b"<welcome/>");
    let opened = host.open_session(&account, Some(resource), Circumstances::default(), wire, welcome).await;
    (opened.unwrap(), sent)
}

async fn say(session: &Arc<Session>, xml: &str) {
    depart(session, session.wire_number(), element(xml.to_owned()).unwrap()).await.unwrap();
}

#[tokio::test]
async fn a_message_passes_every_stage_in_order_and_modules_stand_as_listed() {
    // Listed against the order in which they must start.
    let house = house("way.test", &[SECOND_PLAN, FIRST_PLAN]).await.unwrap();
    let (romeo, _) = session(&house, "romeo", "orchard").await;
    let (_, _) = session(&house, "romeo", "tomb").await;
    let (_, juliet) = session(&house, "juliet", "balcony").await;
    say(&romeo, "<message to='juliet@way.test/balcony' id='m1' from='tybalt@way.test'><body>hi</body></message>").await;
    juliet
        .wait_for("<message from='romeo@way.test/orchard' to='juliet@way.test/balcony' id='m1'><body>hi</body>")
        .await;
    let mut stages: Vec<String> = seen("way.test").into_iter().filter(|what| !what.contains("hears")).collect();
    // The writer works beside.
    stages.sort_by_key(|what| what.ends_with("Hold") || what.ends_with("Count"));
    assert_eq!(
        stages,
        [
            "first Vet",
            "first SettleSent",
            "first ArchiveSent",
            "second Guard",
            "first Guard",
            "first SettleReceived",
            "first ArchiveReceived",
            // Both copies are stored: now somebody may see it.
            "first CopySent",
            "first Choose",
            "first CopyReceived",
            "second Notice",
            "first Hold",
            "first Count",
        ]
    );
    house.shut_down(Duration::from_secs(5)).await;
    juliet.wait_for("closed: system-shutdown").await;
}

#[tokio::test]
async fn every_stage_can_refuse_and_take() {
    let house = house("refuse.test", &[FIRST_PLAN, SECOND_PLAN]).await.unwrap();
    let (romeo, to_romeo) = session(&house, "romeo", "orchard").await;
    let (_, _) = session(&house, "romeo", "tomb").await;
    let (_, to_juliet) = session(&house, "juliet", "balcony").await;
    for standing in ALL_STAGES.iter().filter(|standing| !matches!(standing.stage, Stage::Hold | Stage::Count)) {
        let stage = format!("{:?}", standing.stage);
        say(
            &romeo,
            &format!(
                "<message to='juliet@refuse.test/balcony' id='r{stage}'><subject>{stage} refuses</subject></message>"
            ),
        )
        .await;
        to_romeo.wait_for(&format!("<message from='juliet@refuse.test/balcony' to='romeo@refuse.test/orchard' id='r{stage}' type='error'><error type='modify'><not-acceptable")).await;
        say(
            &romeo,
            &format!(
                "<message to='juliet@refuse.test/balcony' id='t{stage}'><subject>{stage} takes</subject></message>"
            ),
        )
        .await;
    }
    say(&romeo, "<message to='juliet@refuse.test/balcony' id='last'/>").await;
    to_juliet.wait_for("id='last'").await;
    assert_eq!(to_juliet.0.lock().matches("<message").count(), 1, "refused and taken messages go no further");
    house.shut_down(Duration::from_secs(5)).await;
}

/// What a test promises: it is kept by telling.
struct Told(&'static str, Arc<Mutex<Vec<&'static str>>>);

#[async_trait]
impl Promise for Told {
    async fn keep(self: Box<Self>, _: &mut Parcel) -> Result<(), Refusal> {
        self.1.lock().push(self.0);
        match self.0 {
            "refused" => Err(Refusal::resource_constraint()),
            _ => Ok(()),
        }
    }
}

#[tokio::test]
async fn what_was_promised_is_kept_where_nobody_gets_the_parcel_and_not_when_it_is_refused() {
    let house = house("promise.test", &[FIRST_PLAN, SECOND_PLAN]).await.unwrap();
    let (romeo, sent) = session(&house, "romeo", "orchard").await;
    let kept: Arc<Mutex<Vec<&'static str>>> = Arc::default();
    for (name, to, subject) in [
        ("to nobody", "nobody@promise.test", ""),
        ("to a room", "garden@rooms.promise.test", ""),
        ("taken", "romeo@promise.test", "Guard takes"),
        ("turned back", "romeo@promise.test", "Guard refuses"),
        ("to another server", "benvolio@other.test", ""),
        ("refused", "romeo@promise.test", ""),
    ] {
        let xml = format!("<message to='{to}' type='chat' id='{name}'><subject>{subject}</subject></message>");
        let stanza = Stanza::read(element(xml).unwrap()).unwrap().unwrap().from(romeo.jid().clone());
        let mut parcel = Parcel::new(stanza, Origin::Session(romeo.clone()));
        parcel.promise(Told(name, kept.clone()));
        house.send(parcel).await;
    }
    sent.wait_for("id='refused' type='error'><error type='wait'><resource-constraint").await;
    assert_eq!(*kept.lock(), ["to nobody", "to a room", "taken", "to another server", "refused"]);
    house.shut_down(Duration::from_secs(5)).await;
}

#[test]
fn a_promise_is_taken_by_whoever_knows_its_type() {
    struct Other;
    #[async_trait]
    impl Promise for Other {
        async fn keep(self: Box<Self>, _: &mut Parcel) -> Result<(), Refusal> {
            Ok(())
        }
    }
    let stanza = Stanza::message(waxwing_core::stanza::MessageType::Chat);
    let mut parcel = Parcel::new(stanza, Origin::House);
    parcel.promise(Other);
    parcel.promise(Told("told", Arc::default()));
    assert_eq!(parcel.take_promise::<Told>().map(|told| told.0), Some("told"));
    assert!(parcel.take_promise::<Told>().is_none());
    assert!(parcel.take_promise::<Other>().is_some());
}

#[tokio::test]
async fn questions_reach_their_owner_and_nobody_else() {
    let house = house("ask.test", &[FIRST_PLAN, SECOND_PLAN]).await.unwrap();
    let (romeo, sent) = session(&house, "romeo", "orchard").await;
    say(&romeo, "<iq type='get' id='q1'><question xmlns='urn:test:question'/></iq>").await;
    sent.wait_for("id='q1' type='result'><answer xmlns='urn:test:answer'/></iq>").await;
    say(&romeo, "<iq type='get' id='q2' to='ask.test'><question xmlns='urn:test:question'/></iq>").await;
    sent.wait_for("id='q2' type='error'><error type='cancel'><service-unavailable").await;
    say(&romeo, "<iq type='get' id='q3' to='nobody@ask.test'><question xmlns='urn:test:question'/></iq>").await;
    sent.wait_for("id='q3' type='error'><error type='cancel'><service-unavailable").await;
    // The owner is asked for nobody too, so that the refusal is the one that a stranger would get; an answer is not given.
    assert_eq!(seen("ask.test").iter().filter(|what| what.contains("answers")).count(), 2);
    house.shut_down(Duration::from_secs(5)).await;
}

#[tokio::test]
async fn a_service_receives_and_what_is_below_us_is_never_looked_for_elsewhere() {
    let house = house("serve.test", &[FIRST_PLAN, SECOND_PLAN]).await.unwrap();
    let (romeo, sent) = session(&house, "romeo", "orchard").await;
    say(&romeo, "<message to='garden@rooms.serve.test' id='s1'/>").await;
    assert!(seen("serve.test").contains(&"first receives garden@rooms.serve.test".to_owned()));
    say(&romeo, "<message to='nobody@elsewhere.serve.test' id='s2'/>").await;
    sent.wait_for("id='s2' type='error'><error type='cancel'><item-not-found").await;
    say(&romeo, "<message to='benvolio@other.test' id='s3'/>").await;
    sent.wait_for("id='s3' type='error'><error type='cancel'><remote-server-not-found").await;
    house.shut_down(Duration::from_secs(5)).await;
}

#[tokio::test]
async fn what_a_session_could_not_be_given_goes_forward_to_rescue() {
    let house = house("rescue.test", &[FIRST_PLAN, SECOND_PLAN]).await.unwrap();
    let (romeo, _) = session(&house, "romeo", "orchard").await;
    let (older, to_older) = session(&house, "juliet", "balcony").await;
    let (_, _) = session(&house, "juliet", "balcony").await;
    to_older.wait_for("closed: conflict").await;
    assert!(older.has_ended());
    say(&romeo, "<message to='juliet@rescue.test/gone' type='chat' id='x'/>").await;
    assert_eq!(seen("rescue.test").last().unwrap(), "second Rescue", "what is refused calls nobody");
    let kept = "<message to='juliet@rescue.test/gone' type='chat' id='y'><subject>Rescue takes</subject></message>";
    say(&romeo, kept).await;
    assert_eq!(seen("rescue.test").last().unwrap(), "second Notice");
    assert_eq!(house.directory().count(), 2);
    house.shut_down(Duration::from_secs(5)).await;
    assert_eq!(house.directory().count(), 0);
}

#[tokio::test]
async fn a_session_begins_when_everyone_knows_that_the_one_before_it_is_over() {
    let house = house("slow.test", &[FIRST_PLAN]).await.unwrap();
    let (older, _) = session(&house, "juliet", "balcony").await;
    older.end(None);
    while house.directory().count() > 0 {
        tokio::task::yield_now().await;
    }
    assert!(!older.has_ended(), "it is being told");
    let (_, _) = session(&house, "juliet", "balcony").await;
    let (opened, ended) = ("first hears SessionOpened", "first hears SessionEnded");
    assert_eq!(seen("slow.test"), [opened, ended, opened]);
    house.shut_down(Duration::from_secs(5)).await;
}

#[tokio::test]
async fn clashes_and_missing_contracts_refuse_to_start() {
    let error = house("clash.test", &[FIRST_PLAN, THIEF_PLAN]).await.err().expect("two owners").to_string();
    assert!(error.contains("first and thief both own Account urn:test:question"), "{error}");
    let error =
        house("clash.test", &[FIRST_PLAN, SECOND_PLAN, THIEF_PLAN]).await.err().expect("two owners").to_string();
    assert!(error.contains("second and thief both own the command urn:test:berries of Host"), "{error}");
    let error = house("missing.test", &[SECOND_PLAN]).await.err().expect("no accounts").to_string();
    assert!(error.contains("second needs the contract Accounts"), "{error}");
}

#[test]
fn a_module_is_called_for_the_kinds_it_names() {
    assert_eq!(SECOND.stages[3].kinds, [Kind::Presence]);
    assert_eq!(Standing::all(Stage::Vet).kinds.len(), 3);
}
