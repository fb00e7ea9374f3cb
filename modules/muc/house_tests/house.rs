//! A house for the tests of rooms: clients in memory, accounts for everyone, an archive that can be told to misbehave.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::future::FutureExt;
use parking_lot::Mutex;
use waxwing_core::address::{BareJid, Jid};
use waxwing_core::answers::Request;
use waxwing_core::archive::{Archive, ArchiveId, Found, Kept, Stretch};
use waxwing_core::contracts::Contract;
use waxwing_core::house::House;
use waxwing_core::module::{Context, Manifest, Module, Plan};
use waxwing_core::push::{Push, Waiting};
use waxwing_core::refusal::Refusal;
use waxwing_core::session::Session;
use waxwing_core::stanza::{Stanza, element};
use waxwing_core::storage::StorageError;
pub use waxwing_core::testing::say;
use waxwing_core::testing::{EVERYONE, Paper, assemble, bind};

/// An archive in memory that can be told to misbehave.
#[derive(Default)]
pub struct Shelf {
    kept: Mutex<Vec<(BareJid, ArchiveId, Bytes)>>,
    pub is_away: AtomicBool,
    pub breaks: AtomicBool,
    /// How long it takes for a message, in milliseconds; the first of two may take longer than the second.
    pub delay: AtomicUsize,
    /// For how long messages were to be kept, each time somebody said.
    pub kept_for: Mutex<Vec<Option<Duration>>>,
    /// Whose devices were called, and how.
    pub called: Mutex<Vec<String>>,
}

impl Shelf {
    pub fn bodies(&self) -> Vec<String> {
        let read = |bytes: &Bytes| Stanza::read(element(bytes.clone()).unwrap()).unwrap().unwrap();
        self.kept.lock().iter().filter_map(|(_, _, bytes)| Some(read(bytes).text_of("body")?.into_owned())).collect()
    }
}

impl Push for Shelf {
    fn tell(&self, waiting: Waiting<'_>) {
        let Waiting { account, chat, sender, message, circle, is_mention, urgency, may_show_body } = waiting;
        assert!(message.payload("urn:xmpp:sid:0", "stanza-id").is_some(), "it is kept before anybody is called");
        let body = message.text_of("body").unwrap_or_default();
        let called = format!("{account} {chat} {sender} {circle:?} {is_mention} {urgency:?} {may_show_body} {body}");
        self.called.lock().push(called);
    }
}

#[async_trait]
impl Archive for Shelf {
    async fn store(&self, owner: &BareJid, _: &Jid, stanza: &Stanza) -> Result<ArchiveId, StorageError> {
        assert!(!self.breaks.load(Ordering::SeqCst), "the archive of the tests breaks, as it was told");
        let delay = self.delay.load(Ordering::SeqCst);
        if delay > 0 {
            // Later ones overtake earlier ones.
            let number = stanza.text_of("body").map_or(0, |body| body.len() % 3);
            tokio::time::sleep(Duration::from_millis((delay * (number + 1)) as u64)).await;
        }
        if self.is_away.load(Ordering::SeqCst) {
            return Err(StorageError::Unavailable("away".to_owned()));
        }
        let mut kept = self.kept.lock();
        let id = ArchiveId(1 + kept.len() as i64);
        kept.push((owner.clone(), id, stanza.to_bytes().into()));
        Ok(id)
    }
    async fn read(&self, owner: &BareJid, stretch: Stretch) -> Result<Vec<Kept>, StorageError> {
        let kept = self.kept.lock();
        let within = kept.iter().filter(|(of, id, _)| {
            of == owner
                && stretch.after.is_none_or(|after| *id > after)
                && stretch.before.is_none_or(|before| *id < before)
        });
        let mut found: Vec<Kept> = within.map(|(_, id, stanza)| Kept { id: *id, stanza: stanza.clone() }).collect();
        if stretch.newest {
            found.drain(..found.len().saturating_sub(stretch.most));
        }
        found.truncate(stretch.most);
        Ok(found)
    }
    async fn read_these(&self, _: &BareJid, _: &[ArchiveId]) -> Result<Vec<Kept>, StorageError> {
        Ok(Vec::new())
    }
    async fn newest_begin(&self, _: &BareJid, _: ArchiveId, _: usize) -> Result<Option<ArchiveId>, StorageError> {
        Ok(None)
    }
    async fn replace(&self, owner: &BareJid, id: ArchiveId, stanza: &Stanza) -> Result<bool, StorageError> {
        let mut kept = self.kept.lock();
        let Some(place) = kept.iter_mut().find(|(of, known, _)| of == owner && *known == id) else { return Ok(false) };
        place.2 = stanza.to_bytes().into();
        Ok(true)
    }
    async fn query(&self, owner: &BareJid, _: Request<'_>) -> Result<Found, Refusal> {
        let results = self.kept.lock().iter().filter(|(of, ..)| of == owner).map(|(_, id, stanza)| {
            let stanza = std::str::from_utf8(stanza).unwrap();
            let xml = format!(
                "<result xmlns='urn:xmpp:mam:2' id='{id}'><forwarded xmlns='urn:xmpp:forward:0'>{stanza}</forwarded></result>"
            );
            element(xml).unwrap()
        }).collect();
        Ok(Found { results, reach_the_end: true, answer: element("<fin xmlns='urn:xmpp:mam:2' complete='true'/>")? })
    }
    async fn keep_for(&self, _: &BareJid, duration: Option<Duration>) -> Result<(), StorageError> {
        self.kept_for.lock().push(duration);
        Ok(())
    }
    async fn remove(&self, owner: &BareJid) -> Result<(), StorageError> {
        self.kept.lock().retain(|(of, ..)| of != owner);
        Ok(())
    }
}

/// The shelves of the tests, by host.
static SHELVES: Mutex<Vec<(String, Arc<Shelf>)>> = Mutex::new(Vec::new());

pub fn shelf(host: &str) -> Arc<Shelf> {
    let mut shelves = SHELVES.lock();
    if let Some((_, shelf)) = shelves.iter().find(|(of, _)| of == host) {
        return shelf.clone();
    }
    let shelf = Arc::new(Shelf::default());
    shelves.push((host.to_owned(), shelf.clone()));
    shelf
}

struct Base;
impl Module for Base {}

static BASE: Manifest =
    Manifest { name: "base", offers: &[Contract::Accounts, Contract::Archive, Contract::Push], ..Manifest::EMPTY };
const BASE_PLAN: Plan = Plan {
    manifest: &BASE,
    start: |context: Context| {
        async move {
            context.contracts().offer_accounts(Arc::new(EVERYONE));
            context.contracts().offer_archive(shelf(context.domain().as_str()));
            context.contracts().offer_push(shelf(context.domain().as_str()));
            Ok(Arc::new(Base) as Arc<dyn Module>)
        }
        .boxed()
    },
};

/// A house with one host, whose rooms are open unless they are told otherwise.
async fn house(host: &str, settings: &str) -> Arc<House> {
    let url = "sqlite::memory:";
    let rooms = if settings.contains("new_rooms") { "" } else { "new_rooms = 'public-channel'" };
    let text = format!(
        "[storage]\nurl = '{url}'\n[modules.muc]\n{rooms}\nroom_messages = 'unlimited'\n\
         occupant_messages = 'unlimited'\noccupant_presences = 'unlimited'\n{settings}\n[[hosts]]\nname = '{host}'"
    );
    assemble(&text, &[BASE_PLAN, crate::PLAN]).await.unwrap()
}

pub async fn session(house: &Arc<House>, name: &str) -> (Arc<Session>, Paper) {
    let paper = Paper::default();
    let jid = format!("{name}@{}/x", house.hosts()[0].domain());
    (bind(house, &jid, &paper).await, paper)
}

/// A room of a host, with who is in it.
pub struct Scene {
    pub house: Arc<House>,
    pub room: String,
}

impl Scene {
    pub async fn new(host: &str, settings: &str) -> Scene {
        let house = house(host, settings).await;
        Scene { house, room: format!("coven@conference.{host}") }
    }

    pub async fn enter(&self, name: &str) -> (Arc<Session>, Paper) {
        let (session, sent) = session(&self.house, name).await;
        self.enter_again(&session, &sent, name).await;
        (session, sent)
    }

    pub async fn enter_again(&self, session: &Arc<Session>, sent: &Paper, name: &str) {
        say(
            session,
            &format!("<presence to='{}/{name}'><x xmlns='http://jabber.org/protocol/muc'/></presence>", self.room),
        )
        .await;
        sent.wait_for("<subject").await;
        sent.forget();
    }

    /// A room that somebody has made.
    pub async fn make(&self, name: &str) -> (Arc<Session>, Paper) {
        let (session, sent) = self.enter(name).await;
        say(&session, &self.owner("<x xmlns='jabber:x:data' type='submit'/>")).await;
        sent.wait_for("id='own' type='result'").await;
        sent.forget();
        (session, sent)
    }

    pub fn owner(&self, inside: &str) -> String {
        format!(
            "<iq to='{}' type='set' id='own'><query xmlns='http://jabber.org/protocol/muc#owner'>{inside}</query></iq>",
            self.room
        )
    }

    pub async fn talk(&self, session: &Arc<Session>, body: &str) {
        say(
            session,
            &format!("<message to='{}' type='groupchat' id='{body}'><body>{body}</body></message>", self.room),
        )
        .await;
    }

    pub async fn close(self) {
        self.house.shut_down(Duration::from_secs(5)).await;
    }
}
