//! Rosters and presence subscriptions (RFC 6121 §2 and §3): who an account's contacts are, and who may see whom.
//!
//! `subscription.rs` decides, `store.rs` keeps, `rosters.rs` caches and orders, and the verbs are in two files:
//! `query.rs` answers clients that read and change their roster, `signals.rs` leads the four kinds of presence that
//! change a subscription. What one account says to another always travels by the router, also between neighbours.

mod item;
mod query;
mod rosters;
mod settings;
mod signals;
mod store;
mod subscription;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use waxwing_core::address::BareJid;
use waxwing_core::answers::{Answer, Request, Topic};
use waxwing_core::contracts::Contract;
use waxwing_core::events::{Event, Happening};
use waxwing_core::fault::Fault;
use waxwing_core::module::{Context, Manifest, Module, Phase, Plan, SettingsDescription, StartError, Xep};
use waxwing_core::parcel::{Origin, Parcel};
use waxwing_core::refusal::Refusal;
use waxwing_core::session::Session;
use waxwing_core::stages::{Pass, Stage, Standing};
use waxwing_core::stanza::{IqType, PresenceType, Stanza, element};
use waxwing_core::xml::{Element, Writer};

use item::ROSTER;
use rosters::{Rosters, Turn};
use settings::Settings;
use store::Store;
use subscription::State;

/// The module as the assembly lists it.
pub const PLAN: Plan = Plan { manifest: &MANIFEST, start: |context| Box::pin(start(context)) };

/// What the module is.
pub static MANIFEST: Manifest = Manifest {
    name: "roster",
    summary: "keeps who an account's contacts are, and who may see whose presence",
    xeps: &[Xep::complete(237, "1.3")],
    answers: &[Topic::account(ROSTER)],
    stages: &[Standing::presence(Stage::SettleSent), Standing::presence(Stage::SettleReceived)],
    hears: &[Happening::Available, Happening::AccountRemoved],
    offers: &[Contract::Contacts],
    likes: &[Contract::Privileges],
    migrations: Some(store::MIGRATIONS),
    settings: Some(SettingsDescription::of::<Settings>),
    ..Manifest::EMPTY
};

/// How long the sessions of an account that is removed may take to end before its roster is deleted all the same.
const LAST_SESSIONS: Duration = Duration::from_secs(5);

async fn start(context: Context) -> Result<Arc<dyn Module>, StartError> {
    let settings: Settings = context.settings()?;
    let store = Store(context.database().clone());
    let rosters = Arc::new(Rosters::new(store, settings.cached_contacts.get()));
    context.contracts().offer_contacts(rosters.clone());
    Ok(Arc::new(Roster { context, settings, rosters }))
}

/// The rosters of one host.
struct Roster {
    context: Context,
    settings: Settings,
    rosters: Arc<Rosters>,
}

#[async_trait]
impl Module for Roster {
    async fn answer(&self, request: Request<'_>) -> Result<Answer, Refusal> {
        self.answer_query(request).await
    }

    async fn pass(&self, stage: Stage, parcel: &mut Parcel) -> Result<Pass, Refusal> {
        match stage {
            Stage::SettleSent => self.settle_sent(parcel).await,
            _ => self.settle_received(parcel).await,
        }
    }

    async fn hear(&self, event: &Event) {
        match event {
            Event::Available { session, first: true } => self.deliver_requests(session).await,
            Event::AccountRemoved(account) => self.delete(account).await,
            _ => {}
        }
    }

    fn stream_features(&self, phase: Phase) -> Vec<Bytes> {
        match phase {
            Phase::Authenticating => vec![],
            Phase::Binding => vec![
                Bytes::from_static(b"<ver xmlns='urn:xmpp:features:rosterver'/>"),
                Bytes::from_static(b"<sub xmlns='urn:xmpp:features:pre-approval'/>"),
            ],
        }
    }
}

impl Roster {
    /// Pushes what became of a contact to every client that has asked for the roster (RFC 6121 §2.1.6).
    fn push(&self, turn: &Turn<'_>, account: &BareJid, contact: &BareJid, version: i64, item: impl Fn(&mut Writer)) {
        let Ok(payload) = payload(Some(version), |writer| item(writer)) else { return };
        // Without `from`: so it comes from the account itself, which no client can mistake (security row S17).
        let push = Stanza::iq(IqType::Set).with(payload);
        turn.push(contact, version, || {
            for session in self.context.directory().sessions(account) {
                if session.is_interested() {
                    let push = push.clone().to(session.jid().clone());
                    let _ = session.deliver(Parcel::new(push, Origin::House));
                }
            }
        });
    }

    /// Says something about a subscription in an account's name.
    async fn say(&self, what: PresenceType, account: &BareJid, contact: &BareJid) {
        let stanza = Stanza::presence(what).from(account.clone()).to(contact.clone());
        self.context.send(stanza).await;
    }

    /// Ends what stood between an account and a contact that is on its roster no more (§2.5.2).
    async fn say_farewell(&self, state: State, account: &BareJid, contact: &BareJid) {
        for word in state.farewell() {
            self.say(word, account, contact).await;
        }
        if state.seen_by_contact {
            let event = Event::SubscriptionEnded { account: account.clone(), contact: contact.clone() };
            self.context.tell(event).await;
        }
    }

    /// An account is gone: so is its roster, and its contacts hear of it.
    async fn delete(&self, account: &BareJid) {
        // Its last sessions say that they are gone to whoever the roster still names.
        let directory = self.context.directory();
        // First those that are there: who leaves meanwhile is among the others.
        let (there, leaving) = (directory.sessions(account), directory.leaving(account));
        let ends = async {
            for session in there.iter().chain(&leaving) {
                session.wait_for_end().await;
            }
        };
        if tokio::time::timeout(LAST_SESSIONS, ends).await.is_err() {
            tracing::warn!(%account, "roster.sessions_outlive_their_account");
        }
        let mut turn = self.rosters.turn(account);
        turn.will_change();
        let contacts = match self.rosters.store.delete(account).await {
            Ok(contacts) => contacts,
            Err(error) => {
                tracing::error!(%account, %error, "roster.not_deleted");
                return;
            }
        };
        turn.changed();
        drop(turn);
        for (contact, state) in contacts {
            self.say_farewell(state, account, &contact).await;
        }
    }
}

/// A `<query/>` with the items that `items` writes.
fn payload(version: Option<i64>, items: impl FnOnce(&mut Writer)) -> Result<Element, Fault> {
    let mut writer = Writer::with_capacity(256);
    let version = version.map(|version| version.to_string());
    writer.open("query").attribute("xmlns", ROSTER).optional_attribute("ver", version.as_deref());
    items(&mut writer);
    element(writer.finish())
}

/// Whether so many bytes fit into a session's mailbox, now or when its client has read a little: whoever reads is not
/// disconnected for having a long roster.
async fn has_room(session: &Session, bytes: usize) -> bool {
    const PAUSE: Duration = Duration::from_millis(10);
    const ATTEMPTS: usize = 200;
    for _ in 0..ATTEMPTS {
        if session.room() >= bytes {
            return true;
        }
        if session.has_ended() {
            return false;
        }
        tokio::time::sleep(PAUSE).await;
    }
    false
}
