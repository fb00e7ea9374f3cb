//! The card of a room, and the picture in it (XEP-0486, XEP-0054).

use aws_lc_rs::digest;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use waxwing_core::address::Jid;
use waxwing_core::refusal::Refusal;
use waxwing_core::stanza::Stanza;
use waxwing_core::xml::Child;

use super::Room;
use crate::effects::{Change, Effects};
use crate::protocol::{VCARD, status};

/// So many forms of the picture may be in a card.
const MOST_PHOTOS: usize = 8;

impl Room {
    /// An owner gives the room another card; an empty one takes it away.
    pub(super) fn set_card(
        &mut self,
        request: &Stanza,
        from: &Jid,
        card: Child<'_>,
        effects: &mut Effects,
    ) -> Result<(), Refusal> {
        self.check_owner(from)?;
        if !self.settings().vcard_bytes.allows(card.bytes().len()) {
            return Err(Refusal::not_acceptable().saying("the card is too large"));
        }
        let hashes = hashes(card)?;
        // It is kept as it stands, complete with its namespace: that of the payload of an IQ is always its own.
        let is_empty = card.children().next().is_none() || !card.declares_namespace();
        let kept = (!is_empty).then(|| Bytes::copy_from_slice(card.bytes()));
        self.records.avatar.clone_from(&hashes);
        effects.changes.push(Change::Card(kept, hashes));
        effects.answer(request, None);
        self.announce_statuses(&[status::CONFIGURATION_CHANGED], &mut effects.deliveries);
        Ok(())
    }
}

/// The hashes of the pictures, as XEP-0153 makes them.
fn hashes(card: Child<'_>) -> Result<Vec<String>, Refusal> {
    let mut hashes = Vec::new();
    for photo in card.children().filter(|child| child.namespace() == VCARD && child.name() == "PHOTO") {
        let Some(data) = photo.child(VCARD, "BINVAL") else { continue };
        let data: String = data.text().split_ascii_whitespace().collect();
        if data.is_empty() {
            continue;
        }
        if hashes.len() >= MOST_PHOTOS {
            return Err(Refusal::not_acceptable().saying("there are too many pictures in the card"));
        }
        let picture =
            STANDARD.decode(data).map_err(|_| Refusal::bad_request().saying("the picture is not in base64"))?;
        let hash = digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, &picture);
        hashes.push(hash.as_ref().iter().map(|byte| format!("{byte:02x}")).collect());
    }
    Ok(hashes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use waxwing_core::stanza::element;

    /// The pictures and hashes of XEP-0486 §3 and §5.1.
    #[test]
    fn pictures_have_the_hashes_of_the_specification() {
        let svg = "PHN2ZyB4bWxucz0iaHR0cDovL3d3dy53My5vcmcvMjAwMC9zdmciIHdpZHRoPSIzMiIgaGVpZ2h0PSIzMiI+CiA8cmVjdCB4PSIwIiB5PSIw\
                   IiB3aWR0aD0iMzIiIGhlaWdodD0iMzIiIGZpbGw9InJlZCIvPgo8L3N2Zz4K";
        let card = format!(
            "<vCard xmlns='vcard-temp'><PHOTO><TYPE>image/svg+xml</TYPE><BINVAL>{svg}</BINVAL></PHOTO></vCard>"
        );
        let card = element(card).unwrap();
        assert_eq!(hashes(card.as_child()).unwrap(), ["a31c4bd04de69663cfd7f424a8453f4674da37ff"]);
        let broken = element("<vCard xmlns='vcard-temp'><PHOTO><BINVAL>?</BINVAL></PHOTO></vCard>").unwrap();
        assert!(hashes(broken.as_child()).is_err());
        let empty = element("<vCard xmlns='vcard-temp'><FN>x</FN><PHOTO/></vCard>").unwrap();
        assert!(hashes(empty.as_child()).unwrap().is_empty());
    }
}
