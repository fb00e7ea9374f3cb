//! What a room says about its occupants: presence with `<x/>` and `<item/>`, to each what he may see (XEP-0045 §7.2, §17.3).

use waxwing_core::address::{BareJid, Jid};
use waxwing_core::stanza::{Kind, MessageType, PresenceType, Stanza, StanzaType};
use waxwing_core::xml::{Child, Writer};

use super::Room;
use crate::affiliation::{Affiliation, Role};
use crate::assemble::{assemble, message, presence_payloads, write_occupant_id};
use crate::occupants::Occupant;
use crate::protocol::{USER, VERSIONS, status};

/// What is said about an occupant, besides who he is.
#[derive(Clone, Copy, Default)]
pub(super) struct Word<'a> {
    /// Whether he is gone from the room, or from this nickname.
    pub leaves: bool,
    /// Status codes for everyone.
    pub statuses: &'a [u16],
    /// Status codes for himself, besides 110.
    pub own_statuses: &'a [u16],
    /// His new nickname.
    pub new_nick: Option<&'a str>,
    /// Which nickname did this to him.
    pub actor: Option<&'a str>,
    /// Why.
    pub reason: Option<&'a str>,
    /// What he says himself in place of what he has said before: when leaving.
    pub payloads: Option<&'a Stanza>,
    /// Which of his devices it is about, if not the one that is shown.
    pub device: Option<&'a Jid>,
    /// From and to which version the lists of affiliations have come (XEP-0463).
    pub versions: Option<Versions>,
    /// The id of what he has said, for himself (§7.2.2).
    pub id: Option<&'a str>,
}

/// From and to which version the lists of affiliations have come; both are known only for a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Versions {
    pub since: Option<i64>,
    pub until: i64,
}

/// A presence with payloads that stay and others that `own` writes.
pub(super) fn presence_with<'a>(
    of: PresenceType,
    payloads: impl Iterator<Item = Child<'a>>,
    own: impl FnOnce(&mut Writer),
) -> Stanza {
    assemble(StanzaType::Presence(of), payloads, own)
}

/// Writes status codes, the smallest first.
pub(super) fn write_statuses(writer: &mut Writer, codes: impl IntoIterator<Item = u16>) {
    let mut codes: Vec<u16> = codes.into_iter().collect();
    codes.sort_unstable();
    codes.dedup();
    for code in codes {
        writer.open("status").attribute("code", &code.to_string()).close();
    }
}

/// Writes what XEP-0463 puts before the items.
pub(super) fn write_versions(writer: &mut Writer, versions: Versions) {
    let since = versions.since.map(|since| since.to_string());
    writer.open("mav").attribute("xmlns", VERSIONS).optional_attribute("since", since.as_deref());
    writer.attribute("until", &versions.until.to_string()).close();
}

/// Who is told something about an occupant, and what he sees of it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Listener {
    /// He himself.
    Himself,
    /// Somebody who sees real addresses.
    Knowing,
    /// Somebody else.
    Other,
}

impl Room {
    /// The presence of an occupant as a listener sees it, not yet addressed.
    fn presence_of(&self, occupant: &Occupant, word: &Word<'_>, listener: Listener) -> Stanza {
        let shown = occupant.shown();
        let said = if word.leaves { word.payloads } else { Some(word.payloads.unwrap_or(&shown.presence)) };
        let payloads = said.into_iter().flat_map(presence_payloads);
        let of = if word.leaves { PresenceType::Unavailable } else { PresenceType::Available };
        let is_himself = listener == Listener::Himself;
        let jid = (listener != Listener::Other).then(|| word.device.unwrap_or(&shown.jid));
        // §7.6: who only changes his nickname is still there.
        let role = if word.leaves && word.new_nick.is_none() { Role::None } else { occupant.role };
        let mut presence = presence_with(of, payloads, |writer| {
            writer.open("x").attribute("xmlns", USER);
            if let Some(versions) = word.versions.filter(|versions| is_himself || versions.since.is_some()) {
                write_versions(writer, versions);
            }
            writer.open("item").attribute("affiliation", self.affiliation(&occupant.account).name());
            writer.optional_attribute("jid", jid.map(Jid::as_str)).optional_attribute("nick", word.new_nick);
            writer.attribute("role", role.name());
            if let Some(actor) = word.actor {
                writer.open("actor").attribute("nick", actor).close();
            }
            if let Some(reason) = word.reason {
                writer.open("reason").text(reason).close();
            }
            writer.close();
            let own = is_himself.then(|| word.own_statuses.iter().copied().chain([status::SELF]));
            write_statuses(writer, word.statuses.iter().copied().chain(own.into_iter().flatten()));
            writer.close();
            write_occupant_id(writer, &occupant.id);
            self.records.hats.write_of(writer, &occupant.account);
        });
        presence.from = Some(self.occupant_address(&occupant.nick.name).into());
        if is_himself {
            presence.id = word.id.map(Into::into);
        }
        presence
    }

    /// Tells an occupant something about himself, on all of his devices.
    pub(super) fn tell_self(&self, occupant: &Occupant, word: &Word<'_>, deliveries: &mut Vec<Stanza>) {
        let presence = self.presence_of(occupant, word, Listener::Himself);
        deliveries.extend(occupant.devices.iter().map(|device| presence.clone().to(device.jid.clone())));
    }

    /// Tells one device something about its owner.
    pub(super) fn tell_device(&self, occupant: &Occupant, device: &Jid, word: &Word<'_>, deliveries: &mut Vec<Stanza>) {
        let presence = self.presence_of(occupant, word, Listener::Himself);
        deliveries.push(presence.to(device.clone()));
    }

    /// Tells everyone else who may see him something about an occupant.
    pub(super) fn tell_others(&self, occupant: &Occupant, word: &Word<'_>, deliveries: &mut Vec<Stanza>) {
        self.tell_others_if(occupant, word, self.shows(occupant.role), deliveries);
    }

    /// The same, where it is decided whether those who are no moderators see him.
    pub(super) fn tell_others_if(
        &self,
        occupant: &Occupant,
        word: &Word<'_>,
        is_shown: bool,
        deliveries: &mut Vec<Stanza>,
    ) {
        // Made when the first needs it; each is encoded once for all who see the same.
        let (mut knowing, mut other) = (None, None);
        for listener in self.occupants.iter().filter(|listener| listener.nick.name != occupant.nick.name) {
            if !is_shown && listener.role != Role::Moderator {
                continue;
            }
            let presence: &Stanza = if self.sees_addresses(listener) {
                knowing.get_or_insert_with(|| self.presence_of(occupant, word, Listener::Knowing))
            } else {
                other.get_or_insert_with(|| self.presence_of(occupant, word, Listener::Other))
            };
            deliveries.extend(listener.devices.iter().map(|device| presence.clone().to(device.jid.clone())));
        }
    }

    /// Tells one listener something about an occupant.
    pub(super) fn tell_one(
        &self,
        occupant: &Occupant,
        listener: &Occupant,
        word: &Word<'_>,
        deliveries: &mut Vec<Stanza>,
    ) {
        let kind = if self.sees_addresses(listener) { Listener::Knowing } else { Listener::Other };
        let presence = self.presence_of(occupant, word, kind);
        deliveries.extend(listener.devices.iter().map(|device| presence.clone().to(device.jid.clone())));
    }

    /// Tells everyone, himself included.
    pub(super) fn tell_all(&self, occupant: &Occupant, word: &Word<'_>, deliveries: &mut Vec<Stanza>) {
        self.tell_others(occupant, word, deliveries);
        self.tell_self(occupant, word, deliveries);
    }

    /// Shows everyone else whom a listener may see to one of his devices (§7.2.2).
    pub(super) fn show_room(&self, listener: &Occupant, device: &Jid, deliveries: &mut Vec<Stanza>) {
        let kind = if self.sees_addresses(listener) { Listener::Knowing } else { Listener::Other };
        for occupant in self.occupants.iter().filter(|occupant| occupant.nick.name != listener.nick.name) {
            if self.shows(occupant.role) || listener.role == Role::Moderator {
                let presence = self.presence_of(occupant, &Word::default(), kind);
                deliveries.push(presence.to(device.clone()));
            }
        }
    }

    /// Says something that `own` writes from the room to every device in it.
    pub(super) fn announce(&self, of: MessageType, own: impl FnOnce(&mut Writer), deliveries: &mut Vec<Stanza>) {
        let mut said = message(of, own).from(self.address.clone());
        said.id = Some(waxwing_core::random::token().into());
        deliveries.extend(self.occupants.devices().map(|(_, device)| said.clone().to(device.jid.clone())));
    }

    /// Says status codes to everyone: the configuration has changed (§10.2.1).
    pub(super) fn announce_statuses(&self, codes: &[u16], deliveries: &mut Vec<Stanza>) {
        if codes.is_empty() {
            return;
        }
        let own = |writer: &mut Writer| {
            writer.open("x").attribute("xmlns", USER);
            write_statuses(writer, codes.iter().copied());
            writer.close();
        };
        self.announce(MessageType::Groupchat, own, deliveries);
    }

    /// Tells those who may see the lists that somebody who is not in the room has another affiliation (§10.3, XEP-0463
    /// §5.2.2).
    pub(super) fn announce_affiliation(
        &self,
        account: &BareJid,
        affiliation: Affiliation,
        versions: Versions,
        deliveries: &mut Vec<Stanza>,
    ) {
        let mut said = message(MessageType::Normal, |writer| {
            writer.open("x").attribute("xmlns", USER);
            write_versions(writer, versions);
            writer.open("item").attribute("affiliation", affiliation.name()).attribute("jid", account.as_str());
            writer.attribute("role", "none").close().close();
        });
        said.from = Some(self.address.clone().into());
        said.id = Some(waxwing_core::random::token().into());
        for (occupant, device) in self.occupants.devices() {
            if self.may_see_list(&occupant.account, affiliation) {
                deliveries.push(said.clone().to(device.jid.clone()));
            }
        }
    }
}

/// Whether two presences say the same about their sender.
pub(super) fn says_the_same(one: &Stanza, other: &Stanza) -> bool {
    debug_assert!(one.kind() == Kind::Presence && other.kind() == Kind::Presence);
    let mut rest = presence_payloads(other);
    presence_payloads(one).all(|payload| rest.next().is_some_and(|same| same.bytes() == payload.bytes()))
        && rest.next().is_none()
}
