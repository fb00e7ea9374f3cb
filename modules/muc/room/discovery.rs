//! What a room tells about itself (XEP-0045 §6.4, §6.5, §7.12, §18.1.1).

use waxwing_core::address::Jid;
use waxwing_core::refusal::Refusal;
use waxwing_core::stanza::Stanza;
use waxwing_core::xml::{Child, Writer};

use super::Room;
use crate::affiliation::{Affiliation, Role};
use crate::assemble::payload;
use crate::configuration::Registration;
use crate::effects::Effects;
use crate::form::FormWriter;
use crate::mentions;
use crate::protocol::{
    COMMANDS, DISCO_INFO, DISCO_ITEMS, HATS, MAM, MAM_EXTENDED, MENTIONS, MODERATE, MUC, OCCUPANT_ID, OLD_MODERATE,
    PING, REGISTER, REGISTER_FORM, REQUEST, RESERVED_NICK, RETRACT, ROOM_CONFIG, ROOM_INFO, SELF_PING, STABLE_ID,
    TOMBSTONE, TRAFFIC, VCARD, VERSIONS,
};

impl Room {
    /// Somebody asks what the room is.
    pub(super) fn describe(
        &self,
        request: &Stanza,
        from: &Jid,
        query: Child<'_>,
        effects: &mut Effects,
    ) -> Result<(), Refusal> {
        let answer = match query.attribute("node").as_deref() {
            None | Some("") => payload(|writer| {
                writer.open("query").attribute("xmlns", DISCO_INFO);
                self.write_information(writer, from);
                writer.close();
            }),
            Some(RESERVED_NICK) => {
                let entry = self.records.affiliations.entry(&from.to_bare());
                let nick = entry.and_then(|entry| entry.nick.as_ref());
                payload(|writer| {
                    writer.open("query").attribute("xmlns", DISCO_INFO).attribute("node", RESERVED_NICK);
                    if let Some(nick) = nick {
                        writer.open("identity").attribute("category", "conference");
                        writer.attribute("name", nick.name.as_str()).attribute("type", "text").close();
                    }
                    writer.close();
                })
            }
            // A room that lets everything through has no list of it.
            Some(TRAFFIC) => return Err(Refusal::service_unavailable()),
            Some(node) => payload(|writer| {
                if !self.write_command_information(writer, node) {
                    writer.open("none").close();
                }
            })
            .filter(|element| element.name() == "query"),
        };
        match answer {
            Some(answer) => {
                effects.answer(request, Some(answer));
                Ok(())
            }
            None => Err(Refusal::item_not_found().saying("the room has no such node")),
        }
    }

    fn write_information(&self, writer: &mut Writer, from: &Jid) {
        let configuration = self.configuration();
        let name = match configuration.name.as_str() {
            "" => self.address.node().map_or("", |node| node.as_str()),
            name => name,
        };
        writer.open("identity").attribute("category", "conference").attribute("name", name);
        writer.attribute("type", "text").close();
        for feature in self.features() {
            writer.open("feature").attribute("var", feature).close();
        }
        self.write_facts(writer, from);
    }

    fn features(&self) -> Vec<&'static str> {
        let configuration = self.configuration();
        let either = |holds: bool, yes: &'static str, no: &'static str| if holds { yes } else { no };
        let mut features = vec![
            MUC,
            STABLE_ID,
            SELF_PING,
            OCCUPANT_ID,
            "urn:xmpp:sid:0",
            DISCO_INFO,
            DISCO_ITEMS,
            PING,
            VCARD,
            HATS,
            COMMANDS,
            VERSIONS,
            MENTIONS,
            mentions::CHANNEL,
            mentions::ASSOCIATIONS,
            REQUEST,
            ROOM_CONFIG,
            ROOM_INFO,
            either(configuration.public, "muc_public", "muc_hidden"),
            either(configuration.persistent, "muc_persistent", "muc_temporary"),
            either(configuration.members_only, "muc_membersonly", "muc_open"),
            either(configuration.moderated, "muc_moderated", "muc_unmoderated"),
            either(configuration.is_non_anonymous(), "muc_nonanonymous", "muc_semianonymous"),
            either(configuration.password.is_some(), "muc_passwordprotected", "muc_unsecured"),
        ];
        if configuration.registration != Registration::Closed {
            features.extend([REGISTER, REGISTER_FORM]);
        }
        if self.archives() {
            features.extend([MAM, MAM_EXTENDED, RETRACT, TOMBSTONE, MODERATE, OLD_MODERATE]);
        }
        features
    }

    /// The form of §6.4. What is going on inside is told to those who may look inside only (§14.4).
    fn write_facts(&self, writer: &mut Writer, from: &Jid) {
        let configuration = self.configuration();
        let account = from.to_bare();
        let may_look = configuration.public
            || self.affiliation(&account) >= Affiliation::Member
            || self.role(&account) > Role::None;
        let number = |number: usize| number.to_string();
        let mut form = FormWriter::result(writer, ROOM_INFO);
        form.field("text-single", "muc#roominfo_description", "Description", [configuration.description.as_str()]);
        if may_look {
            let count = number(self.occupants.count());
            form.field("text-single", "muc#roominfo_occupants", "Number of occupants", [count.as_str()]);
            let subject = self.records.subject.as_ref().and_then(|subject| subject.message.text_of("subject"));
            form.field("text-single", "muc#roominfo_subject", "Current discussion topic", subject.as_deref());
        }
        let most = number(self.most_occupants());
        form.field("text-single", "muc#roomconfig_maxusers", "Most occupants", [most.as_str()]);
        form.boolean("muc#roominfo_subjectmod", "Participants may change the subject", configuration.change_subject);
        form.boolean(
            "muc#roomconfig_changesubject",
            "Participants may change the subject",
            configuration.change_subject,
        );
        form.boolean("muc#roomconfig_allowinvites", "Members may invite others", configuration.invites);
        form.field(
            "list-single",
            "muc#roomconfig_allowpm",
            "Who may send private messages",
            [configuration.private_messages.name()],
        );
        if !configuration.language.is_empty() {
            form.field("text-single", "muc#roominfo_lang", "Language of discussion", [configuration.language.as_str()]);
        }
        let history = number(usize::from(configuration.history).min(self.settings().history.get()));
        form.field("text-single", "muc#maxhistoryfetch", "Messages that newcomers are shown", [history.as_str()]);
        if !configuration.pubsub.is_empty() {
            form.field(
                "text-single",
                "muc#roomconfig_pubsub",
                "Associated pubsub node",
                [configuration.pubsub.as_str()],
            );
        }
        if !self.records.avatar.is_empty() {
            let hashes = self.records.avatar.iter().map(String::as_str);
            form.field("text-multi", "muc#roominfo_avatarhash", "Avatar hash", hashes);
        }
        let slow_mode = configuration.slow_mode.to_string();
        form.field("text-single", "muc#roominfo_slow_mode_duration", "Slow mode", [slow_mode.as_str()]);
        if let Some(hash) = self.records.hats.hash() {
            form.field("text-single", "hats#hash", "Hats hash", [hash.as_str()]);
        }
        configuration.mentions.write_fields(&mut form, None);
        form.close();
    }

    /// Somebody asks what is in the room (§6.5): who is in it may know who else is.
    pub(super) fn list_items(
        &self,
        request: &Stanza,
        from: &Jid,
        query: Child<'_>,
        effects: &mut Effects,
    ) -> Result<(), Refusal> {
        let account = from.to_bare();
        let node = query.attribute("node").unwrap_or_default().into_owned();
        if !node.is_empty() && node != COMMANDS {
            return Err(Refusal::item_not_found().saying("the room has no such node"));
        }
        let viewer = self.occupants.of_account(&account).map(|occupant| occupant.role).max();
        let items = payload(|writer| {
            writer.open("query").attribute("xmlns", DISCO_ITEMS);
            if node == COMMANDS {
                writer.attribute("node", COMMANDS);
                self.write_commands(writer, &account);
            } else {
                for occupant in self.occupants.iter() {
                    let is_shown = self.shows(occupant.role) || viewer == Some(Role::Moderator);
                    if viewer.is_some() && is_shown {
                        let address = self.occupant_address(&occupant.nick.name);
                        writer.open("item").attribute("jid", address.as_str()).close();
                    }
                }
            }
            writer.close();
        });
        effects.answer(request, items);
        Ok(())
    }
}
