//! Blocking: whom an account does not want to hear, and who sees nothing of it (XEP-0191).

mod command;
mod list;
mod store;

use std::sync::Arc;

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use waxwing_core::address::{BareJid, Jid};
use waxwing_core::answers::{Answer, Request, Topic};
use waxwing_core::contracts::{Blocking, Contract};
use waxwing_core::events::{Event, Happening};
use waxwing_core::limits::Count;
use waxwing_core::module::{Context, Entity, Manifest, Module, Plan, SettingsDescription, StartError, Xep};
use waxwing_core::notes::Note;
use waxwing_core::parcel::{Origin, Parcel};
use waxwing_core::refusal::{ErrorType, Refusal};
use waxwing_core::session::Session;
use waxwing_core::stages::{Pass, Stage, Standing};
use waxwing_core::stanza::{IqType, Kind, MessageType, PresenceType, Stanza, StanzaType};
use waxwing_storage::StorageError;
use waxwing_xml::Element;

use command::{Command, ERRORS, NAMESPACE};
use list::{Affected, BlockList, affected, is_exempt};
use store::{Change, Store};

/// The module as the assembly lists it.
pub const PLAN: Plan = Plan { manifest: &MANIFEST, start: |context| Box::pin(start(context)) };

/// What the module is.
pub static MANIFEST: Manifest = Manifest {
    name: "blocking",
    summary: "keeps away whom an account has blocked, and blocked people see nobody",
    xeps: &[Xep::complete(191, "1.3")],
    features: &[(Entity::Host, NAMESPACE)],
    answers: &[Topic::account(NAMESPACE)],
    stages: &[Standing::all(Stage::Vet), Standing::all(Stage::Guard)],
    hears: &[Happening::AccountRemoved],
    offers: &[Contract::Blocking],
    likes: &[Contract::Contacts],
    migrations: Some(store::MIGRATIONS),
    settings: Some(SettingsDescription::of::<Settings>),
    ..Manifest::EMPTY
};

/// What the operator may set.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// How many addresses one account may block. One more is refused with policy-violation.
    pub addresses: Count,
    /// How many lists and blocked addresses together the server remembers, because every stanza asks for them. Some 100
    /// bytes each.
    pub remembered: Count,
}

impl Default for Settings {
    fn default() -> Self {
        Self { addresses: Count::of(1_000), remembered: Count::of(100_000) }
    }
}

async fn start(context: Context) -> Result<Arc<dyn Module>, StartError> {
    let settings: Settings = context.settings()?;
    let store = Store::new(context.database().clone(), settings.remembered.get());
    let blocker = Arc::new(Blocker { context: context.clone(), settings, store });
    if !context.contracts().offer_blocking(blocker.clone()) {
        return Err(StartError::Other("another module offers the block lists already".to_owned()));
    }
    Ok(Arc::new(BlockingModule(blocker)))
}

/// The session has asked for the list and is told of its changes (§3.3).
#[derive(Default)]
struct Watching;
impl Note for Watching {}

struct Blocker {
    context: Context,
    settings: Settings,
    store: Store,
}

#[async_trait]
impl Blocking for Blocker {
    async fn is_blocked(&self, account: &BareJid, address: &Jid) -> Result<bool, StorageError> {
        Ok(!is_exempt(account, address) && self.store.list(account).await?.matches(address))
    }
}

struct BlockingModule(Arc<Blocker>);

#[async_trait]
impl Module for BlockingModule {
    async fn answer(&self, request: Request<'_>) -> Result<Answer, Refusal> {
        match request.session.filter(|_| request.is_from_owner()) {
            Some(session) => self.0.obey(session, request).await,
            // Nobody learns here whether somebody else has an account.
            None => Err(Refusal::service_unavailable()),
        }
    }

    async fn pass(&self, stage: Stage, parcel: &mut Parcel) -> Result<Pass, Refusal> {
        match stage {
            Stage::Vet => self.0.vet(parcel).await,
            _ => self.0.guard(parcel).await,
        }
    }

    async fn hear(&self, event: &Event) {
        if let Event::AccountRemoved(account) = event
            && let Err(error) = self.0.store.unblock(account, None).await
        {
            tracing::warn!(%account, %error, "blocking.not_forgotten");
        }
    }
}

impl Blocker {
    /// Whether the account has blocked the address. Because of a short trouble of the database no message is turned back.
    async fn turns_away(&self, account: &BareJid, address: &Jid, stanza: &Stanza) -> Result<bool, StorageError> {
        match stanza.kind() {
            Kind::Message => self.context.database().patiently(|| self.is_blocked(account, address)).await,
            Kind::Presence | Kind::Iq => self.is_blocked(account, address).await,
        }
    }

    /// Nothing leaves for a blocked address, and its sender is told so (§3.3).
    async fn vet(&self, parcel: &Parcel) -> Result<Pass, Refusal> {
        let (Some(session), Some(to)) = (parcel.origin.session(), &parcel.stanza.to) else { return Ok(Pass::Onward) };
        if self.turns_away(session.account(), to, &parcel.stanza).await? {
            let text = "you have blocked this address";
            return Err(Refusal::not_acceptable().of_type(ErrorType::Cancel).because("blocked", ERRORS).saying(text));
        }
        Ok(Pass::Onward)
    }

    /// Nothing arrives from a blocked address, to which the account looks as if nobody were there (§3.3).
    async fn guard(&self, parcel: &Parcel) -> Result<Pass, Refusal> {
        let (Some(from), Some(to)) = (&parcel.stanza.from, &parcel.stanza.to) else { return Ok(Pass::Onward) };
        if !self.turns_away(&to.to_bare(), from, &parcel.stanza).await? {
            return Ok(Pass::Onward);
        }
        match parcel.stanza.what {
            StanzaType::Message(MessageType::Normal | MessageType::Chat)
            | StanzaType::Iq(IqType::Get | IqType::Set) => Err(Refusal::service_unavailable()),
            // As for everyone who has no resource there (RFC 6121 §8.5.4).
            StanzaType::Message(MessageType::Groupchat) if to.resource().is_none() => {
                Err(Refusal::service_unavailable())
            }
            _ => Ok(Pass::Taken),
        }
    }

    async fn obey(&self, session: &Session, request: Request<'_>) -> Result<Answer, Refusal> {
        let owner = session.account();
        let most = self.settings.addresses.get();
        match command::read(request.payload(), request.is_set(), owner, most)? {
            Command::Show => {
                let list = self.store.list(owner).await?;
                session.with_note::<Watching, _>(|_| ());
                Ok(Answer::Payload(command::write("blocklist", list.iter())?))
            }
            Command::Block(addresses) => {
                let Change::From(before) = self.store.block(owner, &addresses, most).await? else {
                    return Err(command::too_many(most));
                };
                self.push(owner, &command::write("block", addresses.iter().map(Jid::as_str))?);
                let new: Vec<Jid> = addresses.into_iter().filter(|address| !before.holds(address.as_str())).collect();
                self.disappear(owner, &new, &before).await;
                Ok(Answer::Empty)
            }
            Command::Unblock(addresses) => {
                let before = self.store.unblock(owner, Some(&addresses)).await?;
                self.push(owner, &command::write("unblock", addresses.iter().map(Jid::as_str))?);
                let old: Vec<Jid> = addresses.into_iter().filter(|address| before.holds(address.as_str())).collect();
                self.appear(owner, &old, &before.without(&old)).await;
                Ok(Answer::Empty)
            }
            Command::UnblockAll => {
                let before = self.store.unblock(owner, None).await?;
                self.push(owner, &command::write("unblock", std::iter::empty())?);
                let old: Vec<Jid> = before.iter().filter_map(|address| Jid::new(address).ok()).collect();
                self.appear(owner, &old, &BlockList::default()).await;
                Ok(Answer::Empty)
            }
        }
    }

    /// Tells every session that has asked for the list what has changed in it.
    fn push(&self, owner: &BareJid, change: &Element) {
        for session in self.context.directory().sessions(owner) {
            if session.has_note::<Watching>() {
                let push = Stanza::iq(IqType::Set).from(owner.clone()).to(session.jid().clone()).with(change.clone());
                // Who cannot be told ends, and asks for the whole list the next time.
                let _ = session.deliver(Parcel::new(push, Origin::House));
            }
        }
    }

    /// Contacts who could see the account and are blocked now see it go (§3.3).
    async fn disappear(&self, owner: &BareJid, blocked: &[Jid], less: &BlockList) {
        let sessions = self.context.directory().available(owner);
        for contact in self.affected(owner, blocked, less).await.iter().filter(|contact| contact.sees_account) {
            for session in &sessions {
                let gone = Stanza::presence(PresenceType::Unavailable).from(session.jid().clone());
                self.context.send(gone.to(contact.address.clone())).await;
            }
        }
    }

    /// Contacts who may see the account and are not blocked any more see it again (§3.4), and the account asks for what
    /// it has missed of them.
    async fn appear(&self, owner: &BareJid, unblocked: &[Jid], less: &BlockList) {
        let sessions = self.context.directory().available(owner);
        if sessions.is_empty() {
            return;
        }
        for contact in self.affected(owner, unblocked, less).await {
            let shown = sessions.iter().filter(|_| contact.sees_account);
            for (session, presence) in shown.filter_map(|session| Some((session, session.presence()?))) {
                let here = Stanza::clone(&presence).from(session.jid().clone());
                self.context.send(here.to(contact.address.clone())).await;
            }
            if contact.is_seen {
                let probe = Stanza::presence(PresenceType::Probe).from(owner.clone());
                self.context.send(probe.to(contact.address)).await;
            }
        }
    }

    /// The contacts for whom a change of the list makes a difference.
    async fn affected(&self, owner: &BareJid, changed: &[Jid], less: &BlockList) -> Vec<Affected> {
        let Some(contacts) = self.context.contracts().contacts() else { return Vec::new() };
        match contacts.contacts(owner).await {
            Ok(contacts) => affected(owner, &contacts, changed, less),
            Err(error) => {
                // The list is changed all the same, and from now on it holds for every stanza.
                tracing::warn!(account = %owner, %error, "blocking.contacts_unknown");
                Vec::new()
            }
        }
    }
}

#[cfg(test)]
mod tests;
