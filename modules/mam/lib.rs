//! Message archives (XEP-0313): what is said is stored in a committed transaction before anyone sees it.
//!
//! A message for or from an account becomes a row of that account's archive in the stages ArchiveSent and
//! ArchiveReceived; rooms store theirs by the contract [`Archive`]. `worth.rs` decides what is kept and `preferences.rs`
//! whose, `writer.rs` writes many rows in one transaction, `turns.rs` keeps delivery in the order of the ids. `form.rs`
//! and `paging.rs` read a query, `query.rs` answers it. `search.rs` and `expiry.rs` work in the background.

mod archives;
mod catching_up;
mod expiry;
mod form;
mod gate;
mod paging;
mod preferences;
mod query;
mod retraction;
mod search;
mod settings;
mod store;
#[cfg(test)]
mod suite;
mod turns;
mod worth;
mod writer;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::time::{Instant, sleep};
use waxwing_core::address::{self, BareJid, Jid};
use waxwing_core::answers::{Answer, Request, Topic};
use waxwing_core::archive::{Archive, ArchiveId, CatchesUp, Found, KeptForRecipient, KeptForSender};
use waxwing_core::contracts::Contract;
use waxwing_core::events::{Event, Happening};
use waxwing_core::fail_point;
use waxwing_core::fault::Fault;
use waxwing_core::module::{Context, Entity, Manifest, Module, Plan, SettingsDescription, StartError, Xep};
use waxwing_core::namespaces::STANZA_IDS;
use waxwing_core::notes::Note;
use waxwing_core::parcel::{ForThisSession, Origin, Parcel, Promise};
use waxwing_core::refusal::Refusal;
use waxwing_core::session::Session;
use waxwing_core::stages::{Pass, Stage, Standing};
use waxwing_core::stanza::{MessageType, Stanza, decode, element};
use waxwing_core::xml::{Child, Element, Writer};
use xmpp_parsers::mam_prefs::Prefs;

pub use archives::{Archives, Item};
use form::MAM;
pub use paging::Window;
use preferences::{Preferences, Verdict};
pub use settings::{Keep, Settings};
pub use store::{MIGRATIONS, NewMessage, Page, PageRow, Peer, Shelf, Store};
use turns::Turn;
pub use writer::NextId;
use writer::Row;

/// The module as the assembly lists it.
pub const PLAN: Plan = Plan { manifest: &MANIFEST, start: |context| Box::pin(start(context)) };

/// What the module is.
pub static MANIFEST: Manifest = Manifest {
    name: "mam",
    summary: "stores messages before anyone sees them, and finds them again",
    xeps: &[
        Xep::partial(313, "1.1.3", "ids are unique and in the order of time, so they are not unpredictable"),
        Xep::complete(59, "1.0"),
        Xep::complete(203, "2.0"),
        Xep::complete(297, "1.0"),
        Xep::complete(334, "1.0.0"),
        Xep::partial(359, "0.7.0", "ids are in the order of time, so they are not unpredictable"),
        Xep::partial(424, "0.4.2", "tombstones for conversations between two; rooms have their own"),
        Xep::complete(431, "0.2.0"),
        Xep::complete(441, "0.2.0"),
    ],
    features: &[
        // The archives are those of accounts (§7). Clients in use look for them at the host alone, as ejabberd tells it too:
        // profanity up to 0.15.
        (Entity::Host, MAM),
        (Entity::Host, EXTENDED),
        (Entity::Account, MAM),
        (Entity::Account, EXTENDED),
        (Entity::Account, "urn:xmpp:mam:2#groupchat-field"),
        (Entity::Account, STANZA_IDS),
        (Entity::Account, "urn:xmpp:message-retract:1"),
        (Entity::Account, "urn:xmpp:message-retract:1#tombstone"),
    ],
    answers: &[Topic::account(MAM)],
    stages: &[
        Standing::messages(Stage::Vet),
        Standing::messages(Stage::ArchiveSent),
        Standing::messages(Stage::Guard),
        Standing::messages(Stage::ArchiveReceived),
        Standing::messages(Stage::Choose),
    ],
    hears: &[Happening::AccountCreated, Happening::AccountRemoved],
    offers: &[Contract::Archive],
    likes: &[Contract::Contacts],
    migrations: Some(MIGRATIONS),
    settings: Some(SettingsDescription::of::<Settings>),
    ..Manifest::EMPTY
};

/// Ids in queries, flipped pages and metadata (XEP-0313 §7).
const EXTENDED: &str = "urn:xmpp:mam:2#extended";

/// How long results wait for a client that reads slowly.
const PATIENCE: Duration = Duration::from_secs(30);
/// Between two looks at how much it has read.
const PAUSE: Duration = Duration::from_millis(10);
/// How often the archive of an account that is removed is tried to be removed while the database is away.
const ATTEMPTS: u32 = 10;
/// Between two attempts.
const BETWEEN_ATTEMPTS: Duration = Duration::from_secs(1);

async fn start(context: Context) -> Result<Arc<dyn Module>, StartError> {
    let settings: Settings = context.settings()?;
    let store = Store(context.database().clone());
    if settings.search && !store.knows_language(&settings.language).await? {
        return Err(StartError::Other(format!(
            "language = {:?} is not a text search configuration of the database; write \"simple\", or one of what \
             \\dF shows in psql",
            settings.language
        )));
    }
    let house = context.house().clone();
    // Also when the clock was set back while the server was down.
    house.ids().not_before(store.last().await?);
    let next_id = Arc::new(move || house.ids().next());
    let archives = Arc::new(Archives::new(store, context.domain().as_str(), settings, next_id));
    context.contracts().offer_archive(archives.clone());
    let (tasks, stopped) = (context.house().tasks(), context.house().stopped());
    if let Some(indexer) = &archives.indexer {
        tasks.spawn(indexer.clone().run(stopped.clone()));
    }
    tasks.spawn(expiry::run(archives.clone(), stopped));
    Ok(Arc::new(Mam { context, archives }))
}

/// The archives of one host, in the way of its messages.
struct Mam {
    context: Context,
    archives: Arc<Archives>,
}

#[async_trait]
impl Module for Mam {
    async fn answer(&self, request: Request<'_>) -> Result<Answer, Refusal> {
        // Security row S18: an account's archive is shown to its owner, on his own stream, and to nobody else.
        let (Some(session), true) = (request.session, request.is_from_owner()) else {
            return Err(Refusal::forbidden().saying("an archive is shown to its owner only"));
        };
        if request.payload().name() == "prefs" {
            return self.answer_preferences(session.account(), request).await;
        }
        let found = self.show(session, request).await?;
        for result in found.results {
            deliver(session, result).await?;
        }
        Ok(Answer::Payload(found.answer))
    }

    async fn pass(&self, stage: Stage, parcel: &mut Parcel) -> Result<Pass, Refusal> {
        match stage {
            Stage::Vet => self.vet(parcel)?,
            // What our own clients send was vetted when it left.
            Stage::Guard if parcel.origin.session().is_none() => self.vet(parcel)?,
            Stage::ArchiveSent => self.keep_for_sender(parcel).await?,
            Stage::ArchiveReceived => self.keep_for_recipient(parcel).await?,
            // The sender's other devices have been told.
            Stage::Choose => drop(parcel.notes.take::<SendersTurn>()),
            _ => {}
        }
        Ok(Pass::Onward)
    }

    async fn hear(&self, event: &Event) {
        match event {
            // A new account begins with an empty archive, whatever was remembered of an older one of its name.
            Event::AccountCreated(account) => self.archives.forget(account),
            Event::AccountRemoved(account) => self.remove(account).await,
            _ => {}
        }
    }

    fn more_features(&self, of: Entity) -> Vec<String> {
        match of {
            Entity::Account if self.archives.settings.search => vec!["urn:xmpp:fulltext:0".to_owned()],
            _ => Vec::new(),
        }
    }
}

impl Mam {
    /// Answers the owner. A client that asks before it is available finds for itself what it has missed: it needs no
    /// offline messages of what was there when it began, or when it had read everything up to the end.
    async fn show(&self, session: &Session, request: Request<'_>) -> Result<Found, Refusal> {
        let account = session.account();
        if session.priority().is_some() {
            return self.archives.query(account, request).await;
        }
        // Before the archive is read for the answer: in every archive ids are committed in their order, so all up to this
        // one are seen by whoever looks from now on.
        let committed = self.archives.ends(account).await?.map_or(ArchiveId(0), |(_, newest)| newest);
        let answered = self.archives.answer(account, request).await?;
        let known = session.note::<CatchesUp>().map(|CatchesUp(until)| until);
        if let Some(until) = answered.catches_up(known, committed) {
            session.put_note(CatchesUp(until));
        }
        Ok(answered.found)
    }

    /// Refuses a message with a body that is too long.
    fn vet(&self, parcel: &Parcel) -> Result<(), Refusal> {
        let most = self.archives.settings.body_characters;
        if !parcel.stanza.is_error() && worth::has_longer_body(&parcel.stanza, most.get()) {
            return Err(Refusal::policy_violation().saying(format!("a message has {most} characters at most")));
        }
        Ok(())
    }

    async fn keep_for_sender(&self, parcel: &mut Parcel) -> Result<(), Refusal> {
        let (Some(session), Some(peer)) = (parcel.origin.session(), parcel.stanza.to.as_ref()) else { return Ok(()) };
        let account = session.account();
        let is_to_self = peer.to_bare() == *account;
        // When there is no other device nobody has to be told in the order of the ids.
        let in_turn = is_to_self || self.context.directory().sessions(account).len() > 1;
        let item = Item { peer, is_outgoing: true, stanza: &parcel.stanza, in_turn };
        let Some(row) = self.row(account, item).await? else { return Ok(()) };
        let copy = SendersCopy { archives: self.archives.clone(), owner: account.clone(), row };
        parcel.promise(copy);
        Ok(())
    }

    async fn keep_for_recipient(&self, parcel: &mut Parcel) -> Result<(), Refusal> {
        let Some(to) = parcel.stanza.to.as_ref() else { return Ok(()) };
        let owner = to.to_bare();
        // That of another host. Whoever waits for it must not wait for the recipient's, too: they are not taken together.
        drop(parcel.notes.take::<SendersTurn>());
        let copy = parcel.take_promise::<SendersCopy>();
        let (copy, row) = match copy {
            // A message to oneself stands in the archive once (XEP-0313 §6.1.1).
            Some(SendersCopy { owner: sender, row, .. }) if sender == owner => (None, row),
            copy => {
                let host = Jid::from(self.context.host().address().clone());
                let peer = parcel.stanza.from.as_ref().unwrap_or(&host);
                let item = Item { peer, is_outgoing: false, stanza: &parcel.stanza, in_turn: true };
                match (self.row(&owner, item).await?, copy) {
                    (Some(row), copy) => (copy, row),
                    (None, Some(copy)) => {
                        parcel.promise(copy);
                        return Ok(());
                    }
                    (None, None) => return Ok(()),
                }
            }
        };
        fail_point::reached("archive", &parcel.stanza);
        // Everything that can fail by reading is read. From here on both are stored or none.
        let rows = copy.map(|copy| copy.row).into_iter().chain([row]).collect();
        let mut told = self.archives.submit(rows).await?.committed().await?;
        let Some((id, turn)) = told.pop() else { return Ok(()) };
        if let Some(of_sender) = told.pop() {
            note_for_sender(parcel, of_sender).await;
        }
        if let Some(mut turn) = turn {
            turn.come().await;
            parcel.notes.put(turn);
        }
        announce(parcel, &owner, id)
    }

    /// A message as it will stand in an account's archive, if it is worth it and wanted there.
    async fn row(&self, owner: &BareJid, item: Item<'_>) -> Result<Option<Row>, Refusal> {
        if !worth::is_worth_keeping(item.stanza) || !self.wants(owner, item.peer).await? {
            return Ok(None);
        }
        // First, so that a retraction that could not take effect is not stored as if it had.
        self.archives.retract(owner, &item).await?;
        Ok(Some(self.archives.row(owner, item).await?))
    }

    /// Whether an account wants messages from or for somebody archived (XEP-0441).
    async fn wants(&self, owner: &BareJid, peer: &Jid) -> Result<bool, Refusal> {
        let shelf = self.archives.find_or_make(owner).await?;
        match shelf.preferences.verdict(self.archives.settings.default, peer) {
            Verdict::Keep => Ok(true),
            Verdict::Pass => Ok(false),
            Verdict::AskRoster if peer.to_bare() == *owner => Ok(true),
            Verdict::AskRoster => match self.context.contracts().contacts() {
                Some(contacts) => {
                    let peer = peer.to_bare();
                    let contact = self.context.database().patiently(|| contacts.contact(owner, &peer)).await?;
                    Ok(contact.is_some())
                }
                None => Ok(true),
            },
        }
    }

    async fn answer_preferences(&self, account: &BareJid, request: Request<'_>) -> Result<Answer, Refusal> {
        let otherwise = self.archives.settings.default;
        if !request.is_set() {
            let shelf = self.archives.find(account).await?;
            let preferences = shelf.map(|shelf| shelf.preferences.clone()).unwrap_or_default();
            return Ok(Answer::with(&preferences.shown(otherwise))?);
        }
        let asked: Prefs = decode(request.payload())?;
        let preferences = Preferences::of(asked, self.archives.settings.listed_addresses.get())?;
        self.archives.prefer(account, &preferences).await?;
        Ok(Answer::with(&preferences.shown(otherwise))?)
    }

    /// An account is gone: so is its archive, at once for whoever looks and by and by in the database.
    async fn remove(&self, account: &BareJid) {
        for attempt in 1.. {
            match self.archives.remove(account).await {
                Ok(()) => return,
                Err(error) if error.is_unavailable() && attempt < ATTEMPTS => sleep(BETWEEN_ATTEMPTS).await,
                Err(error) => {
                    tracing::error!(%account, %error, "mam.archive_not_removed");
                    return;
                }
            }
        }
    }
}

/// The sender's copy of a message: written together with the recipient's, or alone when that is not stored here.
struct SendersCopy {
    archives: Arc<Archives>,
    owner: BareJid,
    row: Row,
}

#[async_trait]
impl Promise for SendersCopy {
    async fn keep(self: Box<Self>, parcel: &mut Parcel) -> Result<(), Refusal> {
        for told in self.archives.submit(vec![self.row]).await?.committed().await? {
            note_for_sender(parcel, told).await;
        }
        Ok(())
    }
}

/// The turn of the sender's archive. It lasts until the sender's other devices have been told.
struct SendersTurn(#[expect(dead_code, reason = "it is held")] Turn);

impl Note for SendersTurn {}

/// Waits until it is the message's turn to be shown to the sender's other devices, and tells them its id.
async fn note_for_sender(parcel: &mut Parcel, (id, turn): (ArchiveId, Option<Turn>)) {
    parcel.notes.put(KeptForSender(id));
    if let Some(mut turn) = turn {
        turn.come().await;
        parcel.notes.put(SendersTurn(turn));
    }
}

/// Tells the recipient's devices, and nobody else, under which id his archive holds the message (XEP-0313 §3.5).
fn announce(parcel: &mut Parcel, owner: &BareJid, id: ArchiveId) -> Result<(), Refusal> {
    // Core has stripped what came from outside; what a service of ours passed on may still claim to be from here.
    parcel.stanza.remove_payloads(|payload: Child<'_>| {
        payload.namespace() == STANZA_IDS
            && payload.name() == "stanza-id"
            && payload.attribute("by").is_some_and(|by| address::read_bare(&by).is_ok_and(|by| by == *owner))
    })?;
    parcel.stanza.add(stanza_id(owner, id)?);
    parcel.notes.put(KeptForRecipient(id));
    Ok(())
}

fn stanza_id(owner: &BareJid, id: ArchiveId) -> Result<Element, Fault> {
    let mut writer = Writer::new();
    writer.open("stanza-id").attribute("xmlns", STANZA_IDS).attribute("by", owner.as_str());
    writer.attribute("id", &id.to_string());
    element(writer.finish())
}

/// Hands a result to the client that asked (XEP-0313 §4.2), and waits when it has too much to read already.
async fn deliver(session: &Arc<Session>, result: Element) -> Result<(), Refusal> {
    let message =
        Stanza::message(MessageType::Normal).from(session.account().clone()).to(session.jid().clone()).with(result);
    let patience = Instant::now() + PATIENCE;
    while session.room() < message.size() {
        if Instant::now() >= patience || session.has_ended() {
            return Err(Refusal::resource_constraint().saying("the results are not read"));
        }
        sleep(PAUSE).await;
    }
    let gone = |_| Refusal::resource_constraint().saying("the results are not read");
    session.deliver(Parcel::new(message, Origin::House).noting(ForThisSession)).map_err(gone)
}
