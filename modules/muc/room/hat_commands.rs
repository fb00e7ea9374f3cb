//! Ad-hoc commands with which hats are made and handed out (XEP-0317 §3.2 to §3.7, XEP-0050).

use waxwing_core::address::{self, BareJid, Jid};
use waxwing_core::refusal::Refusal;
use waxwing_core::stanza::Stanza;
use waxwing_core::xml::{Child, Writer};

use super::Room;
use crate::affiliation::{Affiliation, Role};
use crate::assemble::payload;
use crate::effects::{Change, Effects};
use crate::form::{Form, FormType, FormWriter, not_acceptable};
use crate::hats::Hat;
use crate::protocol::{COMMANDS, DISCO_INFO, FORM, HATS_COMMANDS, status};

const URI: &str = "hats#uri";
const TITLE: &str = "hats#title";
const HUE: &str = "hats#hue";
const JID: &str = "hats#jid";
/// Longest text about a hat, in bytes.
const MOST_TEXT: usize = 512;

/// The commands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Command {
    Create,
    Destroy,
    List,
    Assign,
    Unassign,
    ListAssigned,
}

impl Command {
    const ALL: [Command; 6] =
        [Command::Create, Command::Destroy, Command::List, Command::Assign, Command::Unassign, Command::ListAssigned];

    fn node(self) -> &'static str {
        match self {
            Command::Create => "urn:xmpp:hats:commands:create",
            Command::Destroy => "urn:xmpp:hats:commands:destroy",
            Command::List => "urn:xmpp:hats:commands:list",
            Command::Assign => "urn:xmpp:hats:commands:assign",
            Command::Unassign => "urn:xmpp:hats:commands:unassign",
            Command::ListAssigned => "urn:xmpp:hats:commands:list-assigned",
        }
    }

    fn name(self) -> &'static str {
        match self {
            Command::Create => "Create a hat",
            Command::Destroy => "Destroy a hat",
            Command::List => "List hats",
            Command::Assign => "Assign a hat to a user",
            Command::Unassign => "Remove a hat from a user",
            Command::ListAssigned => "List assigned hats",
        }
    }

    fn read(node: &str) -> Option<Command> {
        Command::ALL.into_iter().find(|command| command.node() == node)
    }
}

impl Room {
    /// Everyone in the room may see which hats there are; the rest is for admins.
    fn may_command(&self, account: &BareJid, command: Command) -> bool {
        let affiliation = self.affiliation(account);
        affiliation.is_admin()
            || command == Command::List && (affiliation >= Affiliation::Member || self.role(account) > Role::None)
    }

    /// Writes the commands that somebody may use.
    pub(super) fn write_commands(&self, writer: &mut Writer, account: &BareJid) {
        for command in Command::ALL.into_iter().filter(|command| self.may_command(account, *command)) {
            writer.open("item").attribute("jid", self.address.as_str()).attribute("node", command.node());
            writer.attribute("name", command.name()).close();
        }
    }

    /// Writes what a node is, if it is a command's.
    pub(super) fn write_command_information(&self, writer: &mut Writer, node: &str) -> bool {
        let Some(command) = Command::read(node) else { return false };
        writer.open("query").attribute("xmlns", DISCO_INFO).attribute("node", node);
        writer.open("identity").attribute("category", "automation").attribute("type", "command-node");
        writer.attribute("name", command.name()).close();
        for feature in [COMMANDS, FORM] {
            writer.open("feature").attribute("var", feature).close();
        }
        writer.close();
        true
    }

    /// Somebody uses a command. Each is one form; nothing is remembered between showing it and its return.
    pub(super) fn command(
        &mut self,
        request: &Stanza,
        from: &Jid,
        asked: Child<'_>,
        effects: &mut Effects,
    ) -> Result<(), Refusal> {
        let account = from.to_bare();
        let node = asked.attribute("node").unwrap_or_default().into_owned();
        let Some(command) = Command::read(&node) else {
            return Err(Refusal::item_not_found().saying("the room has no such command"));
        };
        if !self.may_command(&account, command) {
            return Err(Refusal::forbidden().saying("you may not use this command"));
        }
        let session =
            asked.attribute("sessionid").map_or_else(waxwing_core::random::token, |session| session.into_owned());
        let reply = |status: &str, inside: &dyn Fn(&mut Writer)| {
            payload(|writer| {
                writer.open("command").attribute("xmlns", COMMANDS).attribute("node", command.node());
                writer.attribute("sessionid", &session).attribute("status", status);
                inside(writer);
                writer.close();
            })
        };
        if asked.attribute("action").as_deref() == Some("cancel") {
            effects.answer(request, reply("canceled", &|_| {}));
            return Ok(());
        }
        let form = Form::inside(asked)?;
        match (command, form) {
            (Command::List, _) => effects.answer(request, reply("completed", &|writer| self.write_hats(writer))),
            (Command::ListAssigned, _) => {
                effects.answer(request, reply("completed", &|writer| self.write_worn(writer)))
            }
            (_, Some(form)) if form.kind == FormType::Cancel => effects.answer(request, reply("canceled", &|_| {})),
            (_, None) => effects.answer(request, reply("executing", &|writer| self.write_hat_form(writer, command))),
            (_, Some(form)) => {
                let touched = self.change_hats(command, &form)?;
                effects.changes.push(Change::Hats(self.records.hats.clone()));
                effects.answer(request, reply("completed", &|_| {}));
                if matches!(command, Command::Create | Command::Destroy) {
                    self.announce_statuses(&[status::CONFIGURATION_CHANGED], &mut effects.deliveries);
                }
                for account in touched {
                    self.show_again(&account, effects);
                }
            }
        }
        Ok(())
    }

    /// Does what a form asks for; whose hats have changed.
    fn change_hats(&mut self, command: Command, form: &Form) -> Result<Vec<BareJid>, Refusal> {
        let text = |name: &str| {
            let text = form.text(name).map(str::trim).filter(|text| !text.is_empty());
            match text {
                Some(text) if text.len() > MOST_TEXT || text.contains('\0') => Err(not_acceptable(name)),
                text => Ok(text.map(str::to_owned)),
            }
        };
        // The form of "Destroying a Hat" calls it otherwise than its answer.
        let uri = match text(URI)? {
            Some(uri) => uri,
            None => text("hat")?.ok_or_else(|| Refusal::bad_request().saying("which hat?"))?,
        };
        let hats = &mut self.records.hats;
        let too_many = || Refusal::resource_constraint().saying("there are too many hats in this room");
        if command == Command::Create {
            let title = text(TITLE)?.ok_or_else(|| Refusal::bad_request().saying("a hat needs a title"))?;
            let hue = text(HUE)?;
            if hue.as_ref().is_some_and(|hue| !hue.parse::<f64>().is_ok_and(|hue| (0.0..=360.0).contains(&hue))) {
                return Err(not_acceptable(HUE));
            }
            let wearers = hats.wearers(&uri);
            return if hats.put(Hat { uri, title, hue }) { Ok(wearers) } else { Err(too_many()) };
        }
        if hats.get(&uri).is_none() {
            return Err(Refusal::item_not_found().saying("the room has no such hat"));
        }
        if command == Command::Destroy {
            let wearers = hats.wearers(&uri);
            hats.remove(&uri);
            return Ok(wearers);
        }
        let jid = text(JID)?.and_then(|jid| address::read(&jid).ok()).ok_or_else(|| not_acceptable(JID))?.to_bare();
        let is_done = match command {
            Command::Assign => hats.assign(jid.clone(), &uri),
            _ => hats.unassign(&jid, &uri),
        };
        match (is_done, command) {
            (true, _) => Ok(vec![jid]),
            (false, Command::Assign) => Err(too_many()),
            (false, _) => Err(Refusal::item_not_found().saying("nobody of this address wears the hat")),
        }
    }

    fn write_hat_form(&self, writer: &mut Writer, command: Command) {
        let mut form = FormWriter::form(writer, HATS_COMMANDS, command.name(), "");
        if matches!(command, Command::Assign | Command::Unassign) {
            form.required("jid-single", JID, "User Address");
        }
        if command == Command::Create {
            form.required("text-single", TITLE, "Hat Title");
            form.required("text-single", URI, "Hat URI");
            form.field("text-single", HUE, "Hat Hue", []);
        } else {
            let hats = self.records.hats.all();
            let options: Vec<(&str, &str)> = hats.iter().map(|hat| (hat.uri.as_str(), hat.title.as_str())).collect();
            form.choice("list-single", URI, "The hat", [], &options);
        }
        form.close();
    }

    fn write_hats(&self, writer: &mut Writer) {
        let hats = self.records.hats.all().iter().map(|hat| (None, hat));
        write_table(writer, "Hats List", &[TITLE, URI, HUE], hats);
    }

    fn write_worn(&self, writer: &mut Writer) {
        let worn = self.records.hats.worn().map(|(account, hat)| (Some(account), hat));
        write_table(writer, "Assigned Hats List", &[JID, URI, TITLE, HUE], worn);
    }
}

fn write_table<'a>(
    writer: &mut Writer,
    title: &str,
    columns: &[&str],
    rows: impl Iterator<Item = (Option<&'a BareJid>, &'a Hat)>,
) {
    writer.open("x").attribute("xmlns", FORM).attribute("type", "result").open("title").text(title).close();
    writer.open("reported");
    for column in columns {
        writer.open("field").attribute("var", column).close();
    }
    writer.close();
    for (account, hat) in rows {
        writer.open("item");
        for column in columns {
            let value = match *column {
                JID => account.map_or("", |account| account.as_str()),
                URI => &hat.uri,
                TITLE => &hat.title,
                _ => hat.hue.as_deref().unwrap_or_default(),
            };
            writer.open("field").attribute("var", column).open("value").text(value).close().close();
        }
        writer.close();
    }
    writer.close();
}
