//! Group chat: rooms (XEP-0045) of up to a hundred people, kept in the database while nobody is in them.
//!
//! `room.rs` and the files below it decide and do nothing else; `resident.rs` is the task around one room, `rooms.rs`
//! knows those that are awake, `courier.rs` brings what they say. `store.rs` keeps what they remember, `records.rs` is
//! what that is. `service.rs` answers for the domain itself.

mod activity;
mod affiliation;
mod archive_query;
mod assemble;
mod configuration;
mod configuration_form;
mod courier;
mod effects;
mod form;
mod ghosts;
mod hats;
mod history;
#[cfg(test)]
mod house_tests;
mod listening;
mod mentions;
mod moment;
mod nickname;
mod occupants;
mod privileges;
mod protocol;
mod records;
mod refusing;
mod resident;
mod room;
mod rooms;
mod service;
mod settings;
mod shield;
mod store;
#[cfg(test)]
mod use_cases;
mod visits;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use aws_lc_rs::hmac;
use waxwing_core::address::{BareJid, DomainPart, DomainRef};
use waxwing_core::clock::now_milliseconds;
use waxwing_core::contracts::Contract;
use waxwing_core::events::{Event as HouseEvent, Happening};
use waxwing_core::fabric::Home;
use waxwing_core::module::{Context, Manifest, Module, Plan, SettingsDescription, StartError, Xep};
use waxwing_core::parcel::{Origin, Parcel};
use waxwing_core::refusal::Refusal;
use waxwing_core::session::Session;
use waxwing_core::stanza::{IqType, Kind, PresenceType, Stanza, StanzaType, element};

use courier::Courier;
use refusing::error_for;
use room::{Event, Gone, Rules};
use rooms::{Granted, Rooms};
use service::Service;
pub use settings::Settings;
use store::Store;

/// The module as the assembly lists it.
pub const PLAN: Plan = Plan { manifest: &MANIFEST, start: |context| Box::pin(start(context)) };

/// What the module is.
pub static MANIFEST: Manifest = Manifest {
    name: "muc",
    summary: "group chat in rooms of up to a hundred people",
    xeps: &[
        Xep::complete(45, "1.35.5"),
        Xep::complete(249, "1.2"),
        Xep::complete(317, "0.3.1"),
        Xep::complete(410, "1.1.0"),
        Xep::complete(421, "1.0.1"),
        Xep::partial(424, "0.4.2", "in rooms: authors' retractions leave tombstones"),
        Xep::complete(425, "0.3.0"),
        Xep::complete(437, "0.2.0"),
        Xep::complete(452, "0.2.2"),
        Xep::complete(463, "0.2.0"),
        Xep::complete(486, "0.1.0"),
        Xep::complete(500, "0.1.1"),
        Xep::partial(
            513,
            "0.1.0",
            "persons, the room, roles and affiliations can be mentioned; no hats, spaces or servers",
        ),
    ],
    hears: &[
        Happening::Opening,
        Happening::Closing,
        Happening::SessionEnded,
        Happening::SessionResumed,
        Happening::AccountRemoved,
    ],
    likes: &[Contract::Archive, Contract::Blocking, Contract::Push],
    migrations: Some(store::MIGRATIONS),
    settings: Some(SettingsDescription::of::<Settings>),
    ..Manifest::EMPTY
};

/// How long after the start those who were in a temporary room may come back to it.
const SWEEP_AFTER: Duration = Duration::from_secs(3_600);
/// How often names of destroyed rooms are looked for that may be used again.
const UNSEAL_EVERY: Duration = Duration::from_secs(3_600);
/// How many rooms of an account that was removed are told at a time.
const PAGE: u32 = 100;

/// What stands in for rooms on a host that cannot have any.
struct NoRooms;

impl Module for NoRooms {}

/// Whether a host is named by an address of a machine, `192.0.2.1` or `[2001:db8::1]`.
fn is_machine(domain: &DomainRef) -> bool {
    domain.as_str().trim_matches(['[', ']']).parse::<std::net::IpAddr>().is_ok()
}

async fn start(context: Context) -> Result<Arc<dyn Module>, StartError> {
    let settings: Settings = context.settings()?;
    if is_machine(context.domain()) && !settings.service.contains('.') {
        tracing::warn!(host = %context.domain(), "no names stand below the address of a machine, so it has no rooms");
        return Ok(Arc::new(NoRooms));
    }
    let domain = context.serve(&settings.service)?;
    let secret = context.house().secret("muc").await.map_err(|fault| StartError::Other(fault.to_string()))?;
    let archive = context.contracts().archive().cloned();
    let house = context.house().clone();
    let service =
        Service { domain: domain.clone(), name: settings.name.clone(), store: Store(context.database().clone()) };
    let sealed_for = settings.tombstones.get();
    let rules = Arc::new(Rules {
        settings,
        occupant_key: hmac::Key::new(hmac::HMAC_SHA256, &secret),
        is_ours: Box::new(move |domain| house.host(domain).is_some()),
        has_archive: archive.is_some(),
        tells_absent: context.contracts().push().is_some(),
    });
    let store = Store(context.database().clone());
    let courier = Courier::new(context.clone());
    let rooms = Arc::new(Rooms::new(context.clone(), rules, store.clone(), archive, courier));
    let unsealed = domain.clone();
    context.every(UNSEAL_EVERY, move || {
        let (store, domain) = (store.clone(), unsealed.clone());
        async move {
            let age = i64::try_from(sealed_for.as_millis()).unwrap_or(i64::MAX);
            if let Err(error) = store.unseal(&domain, now_milliseconds().saturating_sub(age)).await {
                tracing::warn!(%error, "muc.not_unsealed");
            }
        }
    });
    Ok(Arc::new(GroupChat { context, domain, service, rooms }))
}

/// The rooms of one host.
struct GroupChat {
    context: Context,
    domain: DomainPart,
    service: Service,
    rooms: Arc<Rooms>,
}

#[async_trait]
impl Module for GroupChat {
    async fn receive(&self, parcel: Parcel) -> Result<(), Refusal> {
        let Some(to) = parcel.stanza.to.clone() else { return Err(Refusal::bad_request()) };
        let address = to.to_bare();
        if to.node().is_none() {
            if parcel.stanza.kind() == Kind::Presence {
                let heard = listening::hear(&self.rooms, &self.domain, &parcel.stanza, &parcel.origin).await;
                return match heard {
                    Ok(()) => Ok(()),
                    Err(refusal) => self.refuse(&parcel.stanza, &parcel.origin, &refusal, &address).await,
                };
            }
            return match self.service.receive(&parcel.stanza).await {
                Ok(None) => Ok(()),
                Ok(Some(reply)) => {
                    self.rooms.courier.reply(&parcel.origin, reply).await;
                    Ok(())
                }
                Err(refusal) => self.refuse(&parcel.stanza, &parcel.origin, &refusal, &address).await,
            };
        }
        if let Home::There(node) = self.context.house().fabric().home(&address) {
            return self.context.house().fabric().forward(&node, parcel).await;
        }
        self.hear_for(address, parcel).await
    }

    async fn hear(&self, event: &HouseEvent) {
        match event {
            HouseEvent::Opening => self.sweep_later(),
            HouseEvent::Closing => self.rooms.close().await,
            HouseEvent::SessionEnded(session) => {
                listening::stop(&self.rooms, session);
                self.leave_all(session).await;
            }
            HouseEvent::SessionResumed { session, after_restart: true } => {
                self.tell_lost(session).await;
                self.listen_again(session).await;
            }
            HouseEvent::AccountRemoved(account) => self.forget(account).await,
            _ => {}
        }
    }
}

impl GroupChat {
    /// Something is said to a room. When this returns, what had to be kept is stored, and everyone has been told.
    async fn hear_for(&self, room: BareJid, parcel: Parcel) -> Result<(), Refusal> {
        let Parcel { stanza, origin, .. } = parcel;
        let before = origin.session().and_then(|session| visits::note(session, &stanza));
        let is_final = stanza.is_error()
            || matches!(stanza.what, StanzaType::Iq(IqType::Result) | StanzaType::Presence(PresenceType::Unavailable));
        match (&origin, is_final) {
            // What wakes nobody. A room that is asleep has no occupants who could leave it or be lost.
            (Origin::Session(_) | Origin::Remote(_) | Origin::Component(_), true) => {
                self.rooms.tell_if_awake(&room, Event::Stanza(stanza)).await;
                Ok(())
            }
            // A room may be waiting for what the house does: the house never waits for a room.
            (Origin::House, _) => {
                let concerns_it = !is_final || self.rooms.is_awake(&room);
                if concerns_it && !self.rooms.tell(&room, Event::Stanza(stanza)) {
                    tracing::debug!(%room, "muc.too_much_waits");
                }
                Ok(())
            }
            _ => {
                let heard = match self.rooms.ask(&room, Event::Stanza(stanza.clone())).await {
                    Ok(granted) => self.grant(granted, &room, &origin).await,
                    Err(refusal) => Err(refusal),
                };
                let Err(refusal) = heard else { return Ok(()) };
                if let Some(session) = origin.session() {
                    visits::undo(session, &stanza, before);
                }
                self.refuse(&stanza, &origin, &refusal, &room).await
            }
        }
    }

    /// Sends the error for what a room or the service has refused.
    async fn refuse(&self, stanza: &Stanza, origin: &Origin, refusal: &Refusal, by: &BareJid) -> Result<(), Refusal> {
        if let Some(error) = error_for(stanza, refusal, by) {
            self.rooms.courier.reply(origin, error).await;
        }
        Ok(())
    }

    /// Does what a room has allowed and does not do itself, because it takes its time.
    async fn grant(&self, granted: Granted, room: &BareJid, origin: &Origin) -> Result<(), Refusal> {
        match granted {
            Granted::Done => Ok(()),
            Granted::Archive { request, hides_addresses } => {
                let Some(archive) = &self.rooms.archive else { return Err(Refusal::service_unavailable()) };
                archive_query::answer(&self.rooms, archive, room, &request, origin, hides_addresses).await
            }
            Granted::Card(request) => {
                let card = self.rooms.store.card(room).await?;
                let Some(card) = card else { return Err(Refusal::item_not_found().saying("the room has no card")) };
                let result = Stanza::result_of(&request).with(element(card)?);
                self.rooms.courier.reply(origin, result).await;
                Ok(())
            }
        }
    }

    /// A session of ours is over: it leaves the rooms it was in, wherever they live.
    async fn leave_all(&self, session: &Arc<Session>) {
        for occupant in visits::take(session) {
            let room = occupant.to_bare();
            let is_here = *occupant.domain() == *self.domain && self.context.house().fabric().home(&room) == Home::Here;
            if is_here {
                let gone = Event::Gone(visits::device(session), Gone::Ended);
                self.rooms.tell_if_awake(&room, gone).await;
            } else {
                let leaves = Stanza::presence(PresenceType::Unavailable);
                self.context.send(leaves.from(session.jid().clone()).to(occupant)).await;
            }
        }
    }

    /// A client is back after the server was stopped, and believes to be in its rooms. It is told that it is not (XEP-0045
    /// §11.1).
    async fn tell_lost(&self, session: &Arc<Session>) {
        for occupant in visits::take(session) {
            let lost = room::not_in_the_room(&occupant, &visits::device(session));
            self.rooms.courier.reply(&Origin::Session(session.clone()), lost).await;
        }
    }

    /// A client that wanted to know where something is said still believes that it is told.
    async fn listen_again(&self, session: &Arc<Session>) {
        if session.has_note::<activity::Listens>()
            && let Err(refusal) = listening::listen(&self.rooms, &self.domain, session).await
        {
            tracing::warn!(session = %session.jid(), %refusal, "muc.not_listening");
        }
    }

    /// An account is gone: so is its place in every room of this service.
    async fn forget(&self, account: &BareJid) {
        let mut after = String::new();
        loop {
            let page = match self.rooms.store.rooms_of(account, &after, PAGE).await {
                Ok(page) => page,
                Err(error) => {
                    tracing::error!(%account, %error, "muc.account_not_forgotten");
                    return;
                }
            };
            let Some(last) = page.last() else { return };
            after = last.as_str().to_owned();
            for room in page.iter().filter(|room| *room.domain() == *self.domain) {
                if let Err(refusal) = self.rooms.ask(room, Event::Removed(account.clone())).await {
                    tracing::error!(%account, %room, %refusal, "muc.account_not_forgotten");
                }
            }
        }
    }

    /// Temporary rooms that were left over when the server stopped are gone if nobody comes back to them.
    fn sweep_later(&self) {
        let (rooms, domain) = (self.rooms.clone(), self.domain.clone());
        let stopped = self.context.house().stopped();
        self.context.house().tasks().spawn(async move {
            tokio::select! {
                () = stopped.cancelled() => return,
                () = tokio::time::sleep(SWEEP_AFTER) => {}
            }
            let swept = rooms.store.sweep(&domain, |room| rooms.is_awake(room)).await;
            match (swept, &rooms.archive) {
                (Ok(swept), Some(archive)) => {
                    for room in swept {
                        if let Err(error) = archive.remove(&room).await {
                            tracing::error!(%room, %error, "muc.archive_not_removed");
                        }
                    }
                }
                (Ok(_), None) => {}
                (Err(error), _) => tracing::warn!(%error, "muc.not_swept"),
            }
        });
    }
}
