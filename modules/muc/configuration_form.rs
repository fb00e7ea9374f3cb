//! The form in which an owner sees and changes a room's configuration (XEP-0045 §10.1.3, §10.2).

use waxwing_core::address::BareJid;
use waxwing_core::refusal::Refusal;
use waxwing_core::xml::Writer;

use crate::configuration::{Allowed, Configuration, Preset, Registration, Roles, Whois};
use crate::form::{Form, FormWriter, not_acceptable};
use crate::protocol::{FORM_VALIDATE, ROOM_CONFIG};

/// A kind of room in one field.
const PRESET: &str = "waxwing#roomconfig_preset";
const REGISTRATION: &str = "waxwing#roomconfig_registration";
const ARCHIVE_DAYS: &str = "waxwing#roomconfig_archive_days";
/// As other servers call it, so that clients know it.
const ARCHIVING: &str = "muc#roomconfig_enablearchiving";
const NAME: &str = "muc#roomconfig_roomname";
const DESCRIPTION: &str = "muc#roomconfig_roomdesc";
const LANGUAGE: &str = "muc#roomconfig_lang";
const PUBSUB: &str = "muc#roomconfig_pubsub";
const LOGGING: &str = "muc#roomconfig_enablelogging";
const CHANGE_SUBJECT: &str = "muc#roomconfig_changesubject";
const INVITES: &str = "muc#roomconfig_allowinvites";
const PRIVATE_MESSAGES: &str = "muc#roomconfig_allowpm";
const MOST_OCCUPANTS: &str = "muc#roomconfig_maxusers";
const BROADCAST: &str = "muc#roomconfig_presencebroadcast";
const MEMBER_LIST: &str = "muc#roomconfig_getmemberlist";
const PUBLIC: &str = "muc#roomconfig_publicroom";
const PERSISTENT: &str = "muc#roomconfig_persistentroom";
const MODERATED: &str = "muc#roomconfig_moderatedroom";
const MEMBERS_ONLY: &str = "muc#roomconfig_membersonly";
const PROTECTED: &str = "muc#roomconfig_passwordprotectedroom";
const PASSWORD: &str = "muc#roomconfig_roomsecret";
const WHOIS: &str = "muc#roomconfig_whois";
const HISTORY: &str = "muc#maxhistoryfetch";
const ADMINS: &str = "muc#roomconfig_roomadmins";
const OWNERS: &str = "muc#roomconfig_roomowners";
const SLOW_MODE: &str = "muc#roomconfig_slow_mode_duration";
const FORWARD_MENTIONS: &str = "muc#roomconfig_forwardmentions";

/// Longest value of a field with a name, a language or an address, in bytes.
const MOST_NAME: usize = 512;
/// Longest description, in bytes.
const MOST_DESCRIPTION: usize = 4096;
/// The longest time between two messages that slow mode may demand: a day, in seconds.
const MOST_SLOW_MODE: u32 = 86_400;

const YES: [(&str, &str); 2] = [("moderators", "Moderators only"), ("anyone", "Anyone")];

/// Bounds that the server sets.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// How many people fit into a room.
    pub occupants: usize,
    /// How many messages newcomers may be shown.
    pub history: usize,
}

/// Writes the form for an owner.
pub fn write(
    writer: &mut Writer,
    configuration: &Configuration,
    address: &BareJid,
    bounds: Bounds,
    admins: &[&BareJid],
    owners: &[&BareJid],
) {
    let title = format!("Configuration of {address}");
    let instructions = "Complete this form to change your room. A kind of room sets several of the fields at once.";
    let mut form = FormWriter::form(writer, ROOM_CONFIG, &title, instructions);
    form.choice("list-single", PRESET, "Kind of room", [""], &Preset::OPTIONS);
    form.field("text-single", NAME, "Name", [configuration.name.as_str()]);
    form.field("text-single", DESCRIPTION, "Description", [configuration.description.as_str()]);
    form.field("text-single", LANGUAGE, "Language of the discussion", [configuration.language.as_str()]);
    form.boolean(PERSISTENT, "Keep it when nobody is in it", configuration.persistent);
    form.boolean(PUBLIC, "List it for everyone", configuration.public);
    form.boolean(MEMBERS_ONLY, "Only members may enter", configuration.members_only);
    form.choice(
        "list-single",
        REGISTRATION,
        "Who may become a member by himself",
        [configuration.registration.name()],
        &Registration::OPTIONS,
    );
    form.boolean(INVITES, "Members may invite others", configuration.invites);
    form.boolean(PROTECTED, "A password is needed to enter", configuration.password.is_some());
    form.field("text-private", PASSWORD, "Password", configuration.password.as_deref());
    let whois = if configuration.is_non_anonymous() { "anyone" } else { "moderators" };
    form.choice("list-single", WHOIS, "Who sees real addresses", [whois], &YES);
    form.boolean(MODERATED, "Newcomers must ask for voice", configuration.moderated);
    form.boolean(CHANGE_SUBJECT, "Everyone with voice may change the subject", configuration.change_subject);
    form.choice(
        "list-single",
        PRIVATE_MESSAGES,
        "Who may send private messages",
        [configuration.private_messages.name()],
        &Allowed::OPTIONS,
    );
    most_occupants(&mut form, configuration, bounds);
    form.choice(
        "list-multi",
        BROADCAST,
        "Roles whose presence everyone sees",
        configuration.broadcast.names(),
        &Roles::OPTIONS,
    );
    form.choice(
        "list-multi",
        MEMBER_LIST,
        "Roles that may ask for the list of members",
        configuration.member_list.names(),
        &Roles::OPTIONS,
    );
    form.boolean(ARCHIVING, "Keep its messages in an archive", configuration.archiving);
    form.boolean(LOGGING, "The archive is open to everyone", configuration.is_logged());
    form.field(
        "text-single",
        ARCHIVE_DAYS,
        "Days to keep messages; 0 for as long as the server does",
        [configuration.archive_days.to_string().as_str()],
    );
    form.field(
        "text-single",
        HISTORY,
        "Messages that newcomers are shown",
        [usize::from(configuration.history).min(bounds.history).to_string().as_str()],
    );
    slow_mode(&mut form, configuration.slow_mode);
    form.boolean(FORWARD_MENTIONS, "Tell members who are away when they are mentioned", configuration.forward_mentions);
    form.field("text-single", PUBSUB, "Address of a node that belongs to the room", [configuration.pubsub.as_str()]);
    form.field("jid-multi", ADMINS, "All admins", admins.iter().map(|jid| jid.as_str()));
    form.field("jid-multi", OWNERS, "All owners", owners.iter().map(|jid| jid.as_str()));
    form.close();
}

fn most_occupants(form: &mut FormWriter<'_>, configuration: &Configuration, bounds: Bounds) {
    let current = usize::from(configuration.most_occupants).min(bounds.occupants);
    let mut choices: Vec<usize> = vec![10, 20, 30, 50, 100, current, bounds.occupants];
    choices.retain(|choice| *choice <= bounds.occupants);
    choices.sort_unstable();
    choices.dedup();
    let choices: Vec<String> = choices.iter().map(usize::to_string).collect();
    let options: Vec<(&str, &str)> = choices.iter().map(|choice| (choice.as_str(), choice.as_str())).collect();
    form.choice("list-single", MOST_OCCUPANTS, "Most occupants", [current.to_string().as_str()], &options);
}

/// XEP-0500 §5.1: with the rule for its value.
fn slow_mode(form: &mut FormWriter<'_>, seconds: u32) {
    let writer = form.writer();
    writer.open("field").attribute("var", SLOW_MODE).attribute("type", "text-single");
    writer.attribute("label", "Seconds between two messages of one person; 0 for none");
    writer.open("validate").attribute("xmlns", FORM_VALIDATE).attribute("datatype", "xs:integer");
    writer.open("range").attribute("min", "0").attribute("max", &MOST_SLOW_MODE.to_string()).close().close();
    writer.open("value").text(&seconds.to_string()).close().close();
}

/// What a form asks for.
#[derive(Debug)]
pub struct Wish {
    /// The configuration from now on.
    pub configuration: Configuration,
    /// The full list of admins, when the form has one (§10.8).
    pub admins: Option<Vec<BareJid>>,
    /// The full list of owners, when the form has one (§10.5).
    pub owners: Option<Vec<BareJid>>,
}

/// Reads a form that an owner has filled in. Fields that are missing stay as they are, unknown ones are passed over.
///
/// # Errors
/// `not-acceptable` when a value cannot be (§10.1.3).
pub fn read(form: &Form, before: &Configuration, bounds: Bounds) -> Result<Wish, Refusal> {
    if !form.is_of(ROOM_CONFIG) {
        return Err(Refusal::bad_request().saying("this is not the form of a room's configuration"));
    }
    let mut after = before.clone();
    for (name, field, most) in [
        (NAME, &mut after.name, MOST_NAME),
        (DESCRIPTION, &mut after.description, MOST_DESCRIPTION),
        (LANGUAGE, &mut after.language, MOST_NAME),
        (PUBSUB, &mut after.pubsub, MOST_NAME),
    ] {
        if let Some(text) = form.text(name) {
            if text.len() > most || text.contains('\0') {
                return Err(not_acceptable(name));
            }
            *field = text.trim().to_owned();
        }
    }
    for (name, field) in [
        (PERSISTENT, &mut after.persistent),
        (PUBLIC, &mut after.public),
        (MEMBERS_ONLY, &mut after.members_only),
        (MODERATED, &mut after.moderated),
        (CHANGE_SUBJECT, &mut after.change_subject),
        (INVITES, &mut after.invites),
        (ARCHIVING, &mut after.archiving),
        (FORWARD_MENTIONS, &mut after.forward_mentions),
    ] {
        if let Some(value) = form.boolean(name)? {
            *field = value;
        }
    }
    read_choices(form, &mut after)?;
    read_numbers(form, &mut after, bounds)?;
    after.password = password(form, before)?;
    if let Some(preset) = form.text(PRESET).filter(|preset| !preset.is_empty()) {
        Preset::read(preset).ok_or_else(|| not_acceptable(PRESET))?.apply(&mut after);
    }
    Ok(Wish { configuration: after, admins: addresses(form, ADMINS)?, owners: addresses(form, OWNERS)? })
}

fn read_choices(form: &Form, after: &mut Configuration) -> Result<(), Refusal> {
    match form.text(WHOIS) {
        None => {}
        Some("anyone") => after.whois = Whois::Anyone,
        Some("moderators") => after.whois = Whois::Moderators,
        Some(_) => return Err(not_acceptable(WHOIS)),
    }
    if let Some(value) = form.text(PRIVATE_MESSAGES) {
        after.private_messages = Allowed::read(value).ok_or_else(|| not_acceptable(PRIVATE_MESSAGES))?;
    }
    if let Some(value) = form.text(REGISTRATION) {
        after.registration = Registration::read(value).ok_or_else(|| not_acceptable(REGISTRATION))?;
    }
    for (name, field) in [(BROADCAST, &mut after.broadcast), (MEMBER_LIST, &mut after.member_list)] {
        if let Some(values) = form.values(name) {
            *field = Roles::read(values).ok_or_else(|| not_acceptable(name))?;
        }
    }
    Ok(())
}

fn read_numbers(form: &Form, after: &mut Configuration, bounds: Bounds) -> Result<(), Refusal> {
    match form.text(MOST_OCCUPANTS) {
        None => {}
        // As many as the server allows.
        Some("none" | "") => after.most_occupants = u16::MAX,
        Some(_) => {
            let most = form.number(MOST_OCCUPANTS)?.unwrap_or(u32::MAX);
            if most == 0 || most as usize > bounds.occupants {
                return Err(not_acceptable(MOST_OCCUPANTS));
            }
            after.most_occupants = u16::try_from(most).unwrap_or(u16::MAX);
        }
    }
    if let Some(number) = form.number(HISTORY)? {
        after.history = u16::try_from((number as usize).min(bounds.history)).unwrap_or(u16::MAX);
    }
    if let Some(days) = form.number(ARCHIVE_DAYS)? {
        after.archive_days = days.min(36_500);
    }
    if let Some(seconds) = form.number(SLOW_MODE)? {
        if seconds > MOST_SLOW_MODE {
            return Err(not_acceptable(SLOW_MODE));
        }
        after.slow_mode = seconds;
    }
    Ok(())
}

/// The password from now on. Clients send either field without the other.
fn password(form: &Form, before: &Configuration) -> Result<Option<String>, Refusal> {
    let wanted = form.text(PASSWORD).map(str::to_owned);
    if wanted.as_ref().is_some_and(|password| password.len() > MOST_NAME || password.contains('\0')) {
        return Err(not_acceptable(PASSWORD));
    }
    let wanted = match wanted {
        Some(password) => Some(password).filter(|password| !password.is_empty()),
        None => before.password.clone(),
    };
    match form.boolean(PROTECTED)? {
        Some(false) => Ok(None),
        Some(true) if wanted.is_none() => {
            Err(Refusal::not_acceptable().saying("a room that is protected by a password needs one"))
        }
        Some(true) | None => Ok(wanted),
    }
}

/// The addresses in a field of a form, one in each value or one in each line.
fn addresses(form: &Form, name: &str) -> Result<Option<Vec<BareJid>>, Refusal> {
    let Some(values) = form.values(name) else { return Ok(None) };
    let lines = values.iter().flat_map(|value| value.lines()).map(str::trim).filter(|line| !line.is_empty());
    let jids = lines.map(|line| {
        let jid = waxwing_core::address::read(line).map_err(|_| not_acceptable(name))?;
        Ok(jid.to_bare())
    });
    jids.collect::<Result<Vec<BareJid>, Refusal>>().map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;
    use waxwing_core::stanza::element;

    const BOUNDS: Bounds = Bounds { occupants: 100, history: 50 };

    fn form(fields: &[(&str, &[&str])]) -> Form {
        let mut writer = Writer::new();
        writer.open("x").attribute("xmlns", "jabber:x:data").attribute("type", "submit");
        for (name, values) in fields {
            writer.open("field").attribute("var", name);
            for value in *values {
                writer.open("value").text(value).close();
            }
            writer.close();
        }
        Form::read(element(writer.finish()).unwrap().as_child()).unwrap()
    }

    fn read_all(fields: &[(&str, &[&str])]) -> Result<Wish, &'static str> {
        read(&form(fields), &Configuration::default(), BOUNDS).map_err(|refusal| refusal.condition.name())
    }

    /// The form as it was filled in by "Owner Submits Configuration Form".
    #[test]
    fn example_10_1_3_the_form_of_the_example_is_read() {
        let wish = read_all(&[
            ("FORM_TYPE", &["http://jabber.org/protocol/muc#roomconfig"]),
            ("muc#roomconfig_roomname", &["A Dark Cave"]),
            ("muc#roomconfig_roomdesc", &["The place for all good witches!"]),
            ("muc#roomconfig_enablelogging", &["0"]),
            ("muc#roomconfig_changesubject", &["1"]),
            ("muc#roomconfig_allowinvites", &["0"]),
            ("muc#roomconfig_allowpm", &["anyone"]),
            ("muc#roomconfig_maxusers", &["10"]),
            ("muc#roomconfig_publicroom", &["0"]),
            ("muc#roomconfig_persistentroom", &["0"]),
            ("muc#roomconfig_moderatedroom", &["0"]),
            ("muc#roomconfig_membersonly", &["0"]),
            ("muc#roomconfig_passwordprotectedroom", &["1"]),
            ("muc#roomconfig_roomsecret", &["cauldronburn"]),
            ("muc#roomconfig_whois", &["moderators"]),
            ("muc#maxhistoryfetch", &["50"]),
            ("muc#roomconfig_roomadmins", &["wiccarocks@shakespeare.lit", "hecate@shakespeare.lit"]),
        ])
        .unwrap();
        let expected = Configuration {
            name: "A Dark Cave".to_owned(),
            description: "The place for all good witches!".to_owned(),
            change_subject: true,
            most_occupants: 10,
            persistent: false,
            members_only: false,
            password: Some("cauldronburn".to_owned()),
            whois: Whois::Moderators,
            history: 50,
            ..Configuration::default()
        };
        assert_eq!(wish.configuration, expected);
        assert_eq!(wish.admins.unwrap().len(), 2);
        assert!(wish.owners.is_none());
    }

    #[test]
    fn what_is_not_in_a_form_stays() {
        let wish = read_all(&[("some#field_of_the_future", &["1"])]).unwrap();
        assert_eq!(wish.configuration, Configuration::default());
    }

    #[test]
    fn a_preset_wins_over_the_fields_that_a_client_sends_along() {
        let wish = read_all(&[(PRESET, &["public-channel"]), (MEMBERS_ONLY, &["1"]), (NAME, &["x"])]).unwrap();
        let expected = Configuration { name: "x".to_owned(), ..Configuration::of(Preset::PublicChannel) };
        assert_eq!(wish.configuration, expected);
    }

    /// "Service Informs Owner that Requested Configuration Options Are Unacceptable", and its kin.
    #[test]
    fn example_10_1_3_what_cannot_be_is_not_acceptable() {
        for field in [
            (PROTECTED, &["1"] as &[&str]),
            (WHOIS, &["none"]),
            (PRIVATE_MESSAGES, &["everybody"]),
            (MOST_OCCUPANTS, &["101"]),
            (MOST_OCCUPANTS, &["0"]),
            (MOST_OCCUPANTS, &["many"]),
            (MEMBERS_ONLY, &["maybe"]),
            (HISTORY, &["-1"]),
            (SLOW_MODE, &["1000000"]),
            (OWNERS, &["@"]),
            (BROADCAST, &["king"]),
            (PRESET, &["palace"]),
        ] {
            assert_eq!(read_all(&[field]).unwrap_err(), "not-acceptable", "{field:?}");
        }
        assert_eq!(read_all(&[("FORM_TYPE", &["jabber:iq:search"])]).unwrap_err(), "bad-request");
    }

    #[test]
    fn a_password_comes_and_goes_with_either_field() {
        let protected = Configuration { password: Some("old".to_owned()), ..Configuration::default() };
        let after =
            |fields: &[(&str, &[&str])]| read(&form(fields), &protected, BOUNDS).unwrap().configuration.password;
        assert_eq!(after(&[]), Some("old".to_owned()));
        assert_eq!(after(&[(PROTECTED, &["1"])]), Some("old".to_owned()));
        assert_eq!(after(&[(PASSWORD, &["new"])]), Some("new".to_owned()));
        assert_eq!(after(&[(PROTECTED, &["0"]), (PASSWORD, &["new"])]), None);
        assert_eq!(after(&[(PASSWORD, &[""])]), None);
    }

    #[test]
    fn a_form_that_comes_back_unchanged_changes_nothing() {
        let configuration = Configuration {
            name: "<&>".to_owned(),
            password: Some("p".to_owned()),
            most_occupants: 100,
            history: 20,
            ..Configuration::of(Preset::PublicChannel)
        };
        let (room, owner) = (BareJid::new("coven@chat.lit").unwrap(), BareJid::new("crone1@shakespeare.lit").unwrap());
        let mut writer = Writer::new();
        write(&mut writer, &configuration, &room, BOUNDS, &[], &[&owner]);
        let text = String::from_utf8(writer.finish().to_vec()).unwrap().replacen("type='form'", "type='submit'", 1);
        let form = Form::read(element(text).unwrap().as_child()).unwrap();
        let wish = read(&form, &configuration, BOUNDS).unwrap();
        assert_eq!(wish.configuration, configuration);
        assert_eq!((wish.admins, wish.owners), (Some(vec![]), Some(vec![owner])));
    }
}
