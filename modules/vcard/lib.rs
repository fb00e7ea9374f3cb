//! Cards that people show of themselves (XEP-0054), and one picture for those who look into cards and those who look at nodes
//! (XEP-0153, XEP-0398).

mod avatars;
mod card;
mod photos;
mod store;

use std::sync::Arc;

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use waxwing_core::address::BareJid;
use waxwing_core::answers::{Answer, Request, Topic};
use waxwing_core::contracts::Contract;
use waxwing_core::events::{Event, Happening};
use waxwing_core::limits::{ByteSize, Count};
use waxwing_core::module::{Context, Entity, Manifest, Module, Plan, SettingsDescription, StartError, Xep};
use waxwing_core::parcel::Parcel;
use waxwing_core::refusal::Refusal;
use waxwing_core::stages::{Pass, Stage, Standing};
use waxwing_core::stanza::{PresenceType, StanzaType, element};
use waxwing_core::xml::{Child, Element};

use avatars::Avatars;
use card::{CARD, METADATA, photo_of, says_none, stamp, with_photo};
use photos::Photos;
use store::Store;

/// The module as the assembly lists it.
pub const PLAN: Plan = Plan { manifest: &MANIFEST, start: |context| Box::pin(start(context)) };

/// What the module is. It stands before whoever shows presence to others.
pub static MANIFEST: Manifest = Manifest {
    name: "vcard",
    summary: "keeps the cards of accounts, and shows one picture in cards, nodes and presence",
    xeps: &[Xep::complete(54, "1.3"), Xep::complete(153, "1.1.1"), Xep::complete(398, "1.0.0")],
    features: &[(Entity::Host, CARD), (Entity::Account, CARD)],
    answers: &[Topic::account(CARD)],
    stages: &[Standing::presence(Stage::SettleSent)],
    hears: &[Happening::NodeChanged, Happening::AccountRemoved],
    likes: &[Contract::Nodes],
    migrations: Some(store::MIGRATIONS),
    settings: Some(SettingsDescription::of::<Settings>),
    ..Manifest::EMPTY
};

/// What the operator may set.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Size of the largest card, its picture included. `limits.stanza_bytes` bounds it as well.
    pub card_bytes: ByteSize,
    /// Of how many accounts it is known without asking the database which picture they have.
    pub known_photos: Count,
}

impl Default for Settings {
    fn default() -> Self {
        Settings { card_bytes: ByteSize::kibibytes(256), known_photos: Count::of(10_000) }
    }
}

async fn start(context: Context) -> Result<Arc<dyn Module>, StartError> {
    let settings: Settings = context.settings()?;
    let avatars = context.contracts().nodes().cloned().map(Avatars);
    let photos = Photos::new(settings.known_photos.get());
    Ok(Arc::new(Cards { store: Store(context.database().clone()), settings, photos, avatars }))
}

struct Cards {
    store: Store,
    settings: Settings,
    photos: Photos,
    /// None where no module keeps nodes: then pictures are in cards only.
    avatars: Option<Avatars>,
}

#[async_trait]
impl Module for Cards {
    async fn answer(&self, request: Request<'_>) -> Result<Answer, Refusal> {
        // Whoever has no card looks like whoever is not there, to all but himself (XEP-0054 §3.1).
        let owner = request.account().or_else(|| request.session.map(|session| session.account().clone()));
        let owner = owner.ok_or_else(Refusal::service_unavailable)?;
        if request.payload().name() != "vCard" {
            return Err(Refusal::bad_request());
        }
        if request.is_set() {
            if !request.is_from_owner() {
                return Err(Refusal::forbidden().saying("a card is changed by its owner alone"));
            }
            return self.set(&owner, request.payload()).await.map(|()| Answer::Empty);
        }
        match self.store.get(&owner).await? {
            Some(kept) => Ok(Answer::Payload(element(kept.card)?)),
            None if request.is_from_owner() => Ok(Answer::Payload(with_photo(None, None)?)),
            None => Err(Refusal::service_unavailable()),
        }
    }

    async fn pass(&self, _: Stage, parcel: &mut Parcel) -> Result<Pass, Refusal> {
        let Some(session) = parcel.origin.session().cloned() else { return Ok(Pass::Onward) };
        if parcel.stanza.what == StanzaType::Presence(PresenceType::Available) && !says_none(&parcel.stanza) {
            match self.photos.of(&self.store, session.account()).await {
                Ok(Some(hash)) => stamp(&mut parcel.stanza, &hash)?,
                Ok(None) => {}
                // Presence is worth more than the picture.
                Err(error) => tracing::warn!(account = %session.account(), %error, "vcard.photo_unknown"),
            }
        }
        Ok(Pass::Onward)
    }

    async fn hear(&self, event: &Event) {
        match event {
            Event::NodeChanged { account, node } if &**node == METADATA => {
                let Some(avatars) = &self.avatars else { return };
                if let Err(error) = avatars.fill_card(&self.store, account, &self.settings).await {
                    tracing::warn!(%account, %error, "vcard.photo_not_taken");
                }
                self.photos.forget(account);
            }
            Event::AccountRemoved(account) => {
                if let Err(error) = self.store.forget(account).await {
                    tracing::error!(%account, %error, "vcard.not_forgotten");
                }
                self.photos.forget(account);
            }
            _ => {}
        }
    }

    fn more_features(&self, of: Entity) -> Vec<String> {
        match (of, &self.avatars) {
            (Entity::Account, Some(_)) => vec!["urn:xmpp:pep-vcard-conversion:0".to_owned()],
            _ => Vec::new(),
        }
    }
}

impl Cards {
    async fn set(&self, owner: &BareJid, card: Child<'_>) -> Result<(), Refusal> {
        if !self.settings.card_bytes.allows(card.bytes().len()) {
            return Err(Refusal::not_acceptable().saying("the card is too large"));
        }
        let photo = photo_of(card)?;
        let before = self.store.photo(owner).await?;
        let kept: Element = card.to_element();
        let hash = photo.as_ref().map(|photo| photo.hash.as_str());
        let done = self.store.set(owner, kept.as_bytes(), hash).await;
        // Also when it is not known what became of it.
        self.photos.forget(owner);
        done?;
        if let Some(avatars) = &self.avatars
            && let Err(refusal) = avatars.publish_from_card(owner, photo.as_ref(), before.as_deref()).await
        {
            // The card is what was asked for, and it is kept.
            tracing::debug!(account = %owner, %refusal, "vcard.photo_not_published");
        }
        Ok(())
    }
}
