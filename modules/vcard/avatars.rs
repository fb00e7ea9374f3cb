//! One picture in two places: what is published in nodes comes into the card, and the other way round (XEP-0398).

use std::sync::Arc;

use waxwing_core::address::BareJid;
use waxwing_core::contracts::Nodes;
use waxwing_core::nodes::Audience;
use waxwing_core::refusal::Refusal;
use waxwing_core::stanza::element;

use crate::Settings;
use crate::card::{DATA, METADATA, Photo, Told, no_metadata, photo_of_data, told, with_photo};
use crate::store::Store;

/// How often a card that changes meanwhile is read again.
const MOST_TRIES: usize = 3;

/// The nodes of pictures.
pub struct Avatars(pub Arc<dyn Nodes>);

impl Avatars {
    async fn told(&self, account: &BareJid) -> Result<Told, Refusal> {
        let newest = self.0.items(account, METADATA, 1).await?;
        Ok(told(newest.first().and_then(|item| item.payload.as_ref())))
    }

    /// What a node tells now comes into the card, if everybody may see it there (§7).
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn fill_card(&self, store: &Store, account: &BareJid, settings: &Settings) -> Result<(), Refusal> {
        let told = self.told(account).await?;
        for _ in 0..MOST_TRIES {
            let read = store.get(account).await?;
            let before = read.as_ref().and_then(|kept| kept.photo.as_deref());
            let photo = match &told {
                // What came from the card is there already, whoever may see the node.
                Told::Here { id, .. } if before == Some(id.as_str()) => return Ok(()),
                Told::Nothing if before.is_none() => return Ok(()),
                Told::Elsewhere => return Ok(()),
                _ if !self.0.is_open(account, DATA).await? => return Ok(()),
                Told::Nothing => None,
                Told::Here { id, kind } => {
                    let item = self.0.item(account, DATA, id).await?;
                    let data = item.and_then(|item| item.payload);
                    // It may come later, or be something else; then nothing is known about it.
                    let Some(photo) = data.and_then(|data| photo_of_data(&data, id, kind)) else { return Ok(()) };
                    Some(photo)
                }
            };
            let card = read.as_ref().map(|kept| element(kept.card.clone())).transpose()?;
            let card = with_photo(card.as_ref(), photo.as_ref())?;
            if !settings.card_bytes.allows(card.as_bytes().len()) {
                return Ok(());
            }
            let hash = photo.as_ref().map(|photo| photo.hash.as_str());
            if store.replace(account, read.as_ref(), card.as_bytes(), hash).await? {
                return Ok(());
            }
        }
        Ok(())
    }

    /// The picture of a new card is published, first itself and then what tells of it (§3.2). One that was taken out of the
    /// card is no longer told of, if it was that one.
    ///
    /// # Errors
    /// What the nodes refuse with.
    pub async fn publish_from_card(
        &self,
        account: &BareJid,
        photo: Option<&Photo>,
        before: Option<&str>,
    ) -> Result<(), Refusal> {
        let shown = match self.told(account).await? {
            Told::Here { id, .. } => Some(id),
            Told::Nothing | Told::Elsewhere => None,
        };
        match photo {
            Some(photo) if shown.as_deref() != Some(photo.hash.as_str()) => {
                let id: Box<str> = photo.hash.as_str().into();
                let data = vec![(id.clone(), photo.to_data()?)];
                self.0.publish(account, DATA, data, Audience::Everyone).await?;
                self.0.publish(account, METADATA, vec![(id, photo.to_metadata()?)], Audience::Everyone).await
            }
            None if before.is_some() && shown.as_deref() == before => {
                let nothing = vec![("current".into(), no_metadata()?)];
                self.0.publish(account, METADATA, nothing, Audience::Everyone).await
            }
            _ => Ok(()),
        }
    }
}
