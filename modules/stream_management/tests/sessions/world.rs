//! A house on a database of its own that can be stopped, started again and cut off, and clients that count as XEP-0198
//! wants.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::future::FutureExt;
use parking_lot::Mutex;
use waxwing_core::address::BareJid;
use waxwing_core::contracts::Contract;
use waxwing_core::departure::depart;
use waxwing_core::events::{Event, Happening};
use waxwing_core::house::House;
use waxwing_core::module::{Context, Manifest, Module, Plan};
use waxwing_core::notes::Note;
use waxwing_core::parcel::Parcel;
use waxwing_core::refusal::Refusal;
use waxwing_core::session::Session;
use waxwing_core::stages::{Pass, Stage, Standing};
use waxwing_core::stanza::{Kind, PresenceType, StanzaType, element};
use waxwing_core::storage::Engine;
use waxwing_core::storage::testing::{Guard, fresh_settings};
use waxwing_core::stream_error::StreamError;
use waxwing_core::testing::{EVERYONE, Paper, assemble, bind};
use waxwing_core::xml::Element;

/// What was kept elsewhere and which sessions have ended, by host: tests run side by side.
static DIARY: Mutex<Option<HashMap<String, Vec<String>>>> = Mutex::new(None);

fn write_down(host: &str, what: String) {
    DIARY.lock().get_or_insert_default().entry(host.to_owned()).or_default().push(what);
}

/// What nobody takes is written down. Presence without an address is a session's own.
struct Witness(String);

#[async_trait]
impl Module for Witness {
    async fn pass(&self, stage: Stage, parcel: &mut Parcel) -> Result<Pass, Refusal> {
        match (stage, parcel.stanza.what) {
            (Stage::Rescue, _) => {
                let text = parcel.stanza.text_of("body").unwrap_or_default();
                write_down(&self.0, format!("kept {text}"));
                Ok(Pass::Taken)
            }
            (Stage::SettleSent, StanzaType::Presence(PresenceType::Available)) if parcel.stanza.to.is_none() => {
                if let Some(session) = parcel.origin.session() {
                    session.set_presence(Some(parcel.stanza.clone()));
                }
                Ok(Pass::Taken)
            }
            _ => Ok(Pass::Onward),
        }
    }

    async fn hear(&self, event: &Event) {
        match event {
            Event::SessionEnded(session) => write_down(&self.0, format!("ended {}", session.jid().resource())),
            Event::SessionResumed { session, after_restart } => {
                write_down(&self.0, format!("resumed {} {after_restart}", session.jid().resource()));
            }
            _ => {}
        }
    }
}

static WITNESS: Manifest = Manifest {
    name: "witness",
    offers: &[Contract::Accounts],
    stages: &[Standing::messages(Stage::Rescue), Standing { stage: Stage::SettleSent, kinds: &[Kind::Presence] }],
    hears: &[Happening::SessionEnded, Happening::SessionResumed],
    ..Manifest::EMPTY
};

const WITNESS_PLAN: Plan = Plan {
    manifest: &WITNESS,
    start: |context: Context| {
        async move {
            context.contracts().offer_accounts(Arc::new(EVERYONE));
            Ok(Arc::new(Witness(context.domain().to_string())) as Arc<dyn Module>)
        }
        .boxed()
    },
};

/// A note about a session that outlives the process.
#[derive(Default)]
pub struct Word(pub String);

impl Note for Word {
    const WRITTEN_AS: Option<&'static str> = Some("word");
    fn write_down(&self) -> String {
        self.0.clone()
    }
    fn read_back(written: &str) -> Option<Word> {
        Some(Word(written.to_owned()))
    }
}

/// A server, and its database.
pub struct World {
    pub house: Arc<House>,
    host: &'static str,
    settings: &'static str,
    database: Guard,
}

impl World {
    pub async fn new(host: &'static str) -> World {
        World::with(host, "").await
    }

    /// With more configuration.
    pub async fn with(host: &'static str, settings: &'static str) -> World {
        World::on(Engine::Sqlite, host, settings).await
    }

    pub async fn on(engine: Engine, host: &'static str, settings: &'static str) -> World {
        let database = fresh_settings(engine).await;
        let house = start(&database, host, settings).await;
        World { house, host, settings, database }
    }

    /// The server is stopped in good order and started again.
    pub async fn restart(&mut self) {
        self.house.shut_down(Duration::from_secs(10)).await;
        self.crash().await;
    }

    /// The server is started again without having been stopped: whatever it still does, nobody hears of it.
    pub async fn crash(&mut self) {
        self.house = start(&self.database, self.host, self.settings).await;
    }

    pub fn account(&self, name: &str) -> BareJid {
        BareJid::new(&format!("{name}@{}", self.host)).unwrap()
    }

    /// A client that has bound.
    pub async fn bind(&self, name: &str, resource: &str) -> Client {
        let line = Line::default();
        let jid = format!("{name}@{}/{resource}", self.host);
        let session = bind(&self.house, &jid, &line.paper).await;
        let number = session.wire_number();
        Client { session, number, line, id: String::new(), received: 0, got: Vec::new(), unread: VecDeque::new() }
    }

    /// A client with presence and a managed session that can be resumed.
    pub async fn enabled(&self, name: &str, resource: &str) -> Client {
        let mut client = self.bind(name, resource).await;
        client.says("<presence/>").await;
        client.enable("<enable xmlns='urn:xmpp:sm:3' resume='true'/>").await;
        client
    }

    /// What a client is answered that asks to resume this session.
    pub async fn try_to_resume(
        &self,
        name: &str,
        id: &str,
        received: u32,
    ) -> Result<(Arc<Session>, u32, Line), String> {
        let host = self.house.hosts()[0].clone();
        let request = element(format!("<resume xmlns='urn:xmpp:sm:3' previd='{id}' h='{received}'/>")).unwrap();
        let resumption = host.contracts().resumption().unwrap().clone();
        let answer = |answer: Bytes| String::from_utf8(answer.to_vec()).unwrap();
        let resumed = resumption.resume(&self.account(name), &request).await.map_err(answer)?;
        let line = Line::default();
        let number = resumed.wire_number;
        let session = host.resume_session(resumed, line.paper.wire()).await.map_err(answer)?;
        Ok((session, number, line))
    }

    /// The client comes back.
    pub async fn resume(&self, client: &mut Client) -> u32 {
        let name = client.session.account().node().unwrap().to_string();
        let (session, number, line) = self.try_to_resume(&name, &client.id, client.received).await.unwrap();
        (client.session, client.number, client.line) = (session, number, line);
        // What it has not read is sent again.
        client.unread.clear();
        let resumed = client.line.next().await;
        let answer = element(resumed.clone()).unwrap();
        assert_eq!(answer.name(), "resumed", "{resumed}");
        assert_eq!(answer.attribute("previd").as_deref(), Some(&*client.id));
        answer.attribute("h").unwrap().parse().unwrap()
    }

    /// What was written down since it was asked last.
    pub fn diary(&self) -> Vec<String> {
        let mut diary = DIARY.lock();
        diary.get_or_insert_default().get_mut(self.host).map(std::mem::take).unwrap_or_default()
    }

    /// Waits until this was written down, and gives all that was.
    pub async fn diary_with(&self, what: &str) -> Vec<String> {
        let mut all = Vec::new();
        for _ in 0..1000 {
            all.extend(self.diary());
            if all.iter().any(|line| line == what) {
                return all;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        panic!("{what} was not written down, only {all:?}");
    }

    pub async fn rows(&self, sql: &'static str) -> usize {
        self.house.database().fetch_all(sql, &[]).await.unwrap().len()
    }
}

async fn start(database: &Guard, host: &str, settings: &str) -> Arc<House> {
    let url = &database.settings.url;
    let text = format!("[storage]\nurl = '{url}'\n[[hosts]]\nname = '{host}'\n{settings}");
    let house = assemble(&text, &[WITNESS_PLAN, waxwing_stream_management::PLAN]).await.expect("the house stands");
    house.open().await;
    house
}

/// What one connection of a client has been sent, element by element. A copy has taken what this one has.
#[derive(Clone, Default, Debug)]
pub struct Line {
    paper: Paper,
    taken: Arc<AtomicUsize>,
}

impl Line {
    /// The next element, soon.
    pub async fn next(&self) -> String {
        for _ in 0..1000 {
            if let Some(element) = self.try_next() {
                return element;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        panic!("nothing more comes");
    }

    /// The next element, if it is there.
    pub fn try_next(&self) -> Option<String> {
        let element = self.paper.writes_from(self.taken.load(Ordering::Relaxed)).into_iter().next();
        self.taken.fetch_add(usize::from(element.is_some()), Ordering::Relaxed);
        element
    }

    /// Nothing that is written leaves any more.
    pub fn sticks(&self) {
        self.paper.stick();
    }
}

/// One client: it counts what it receives and acknowledges nothing by itself.
pub struct Client {
    pub session: Arc<Session>,
    pub number: u32,
    pub line: Line,
    pub id: String,
    /// How many stanzas it has received since counting began.
    pub received: u32,
    /// The bodies of the messages it has received.
    pub got: Vec<String>,
    /// Stanzas that came while it waited for something else.
    unread: VecDeque<String>,
}

impl Client {
    pub async fn enable(&mut self, xml: &str) -> Element {
        self.says(xml).await;
        let enabled = loop {
            let next = self.line.next().await;
            if next.starts_with("<enabled") {
                break element(next).unwrap();
            }
        };
        self.id = enabled.attribute("id").map(|id| id.into_owned()).unwrap_or_default();
        enabled
    }

    /// Sends an element.
    pub async fn says(&self, xml: &str) {
        self.tries(xml).await.expect("the stream goes on");
    }

    /// Sends an element that may end the stream.
    pub async fn tries(&self, xml: &str) -> Result<(), StreamError> {
        depart(&self.session, self.number, element(xml.to_owned()).unwrap()).await
    }

    /// Writes a message.
    pub async fn writes(&self, to: &str, text: &str) {
        self.says(&format!("<message type='chat' to='{to}'><body>{text}</body></message>")).await;
    }

    /// Takes the next stanza that was sent to it, and passes over elements of the stream; its body if it has one.
    pub async fn receives(&mut self) -> String {
        loop {
            let next = match self.unread.pop_front() {
                Some(unread) => unread,
                None => self.line.next().await,
            };
            if next.starts_with("closed") {
                panic!("the stream is {next}");
            }
            let element = element(next.clone()).unwrap();
            if element.namespace() != "jabber:client" {
                continue;
            }
            self.received += 1;
            let body = element.child("jabber:client", "body").map(|body| body.text().into_owned());
            self.got.extend(body.clone());
            return body.unwrap_or(next);
        }
    }

    /// Takes this many messages.
    pub async fn receives_many(&mut self, count: usize) -> Vec<String> {
        let mut bodies = Vec::new();
        for _ in 0..count {
            bodies.push(self.receives().await);
        }
        bodies
    }

    /// Says what it has received.
    pub async fn acknowledges(&self) {
        self.says(&format!("<a xmlns='urn:xmpp:sm:3' h='{}'/>", self.received)).await;
    }

    /// Asks how many of its stanzas have arrived.
    pub async fn asks(&mut self) -> u32 {
        self.says("<r xmlns='urn:xmpp:sm:3'/>").await;
        loop {
            let next = self.line.next().await;
            let answer = element(next.clone()).unwrap();
            match (answer.namespace(), answer.name()) {
                ("urn:xmpp:sm:3", "a") => return answer.attribute("h").unwrap().parse().unwrap(),
                ("urn:xmpp:sm:3", _) => {}
                _ => self.unread.push_back(next),
            }
        }
    }

    /// Its connection breaks; returns when the session waits for it.
    pub async fn is_cut_off(&self) {
        self.session.lost(self.number);
        for _ in 0..1000 {
            if self.session.waits_since().is_some() || self.session.has_ended() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        panic!("the session does not wait");
    }

    /// Waits for the end of its session.
    pub async fn ends(&self) {
        tokio::time::timeout(Duration::from_secs(10), self.session.wait_for_end()).await.expect("the session ends");
    }

    /// The last words on its stream.
    pub async fn last_words(&self) -> String {
        loop {
            let next = self.line.next().await;
            if next.starts_with("closed") {
                return next;
            }
        }
    }
}
