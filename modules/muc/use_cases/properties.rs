//! No sequence of events breaks what a room must always be: whoever says whatever, in whichever order.

use std::collections::BTreeMap;

use proptest::prelude::*;
use waxwing_core::stanza::Kind;

use super::*;
use crate::affiliation::Role;
use crate::records::Affiliations;
use crate::room::Gone;

/// So few people, nicknames and places that everything meets.
const PEOPLE: usize = 7;
const PLACES: usize = 4;

fn person(number: usize) -> String {
    match number % PEOPLE {
        0 => "crone1@shakespeare.lit".to_owned(),
        1 => "wiccarocks@shakespeare.lit".to_owned(),
        number => format!("user{number}@{}.lit", if number % 2 == 0 { "elsewhere" } else { "shakespeare" }),
    }
}

fn device(number: usize) -> String {
    format!("{}/{}", person(number), number / PEOPLE % 2)
}

fn nick(number: usize) -> &'static str {
    ["one", "One", "two", "three ", "three", "four", "five"][number % 7]
}

fn affiliation() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec!["outcast", "none", "member", "admin", "owner"])
}

fn role() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec!["none", "visitor", "participant", "moderator"])
}

/// Something that somebody says, as XML, or that happens.
#[derive(Clone, Debug)]
enum Step {
    Hear(String),
    Gone(String, Gone),
    Removed(String),
    Later(u64),
    Broken,
    ShutDown,
}

fn step() -> impl Strategy<Value = Step> {
    let who = 0..2 * PEOPLE;
    let hear = |strategy: BoxedStrategy<String>| strategy.prop_map(Step::Hear);
    prop_oneof![
        6 => hear((who.clone(), 0..7usize).prop_map(|(who, number)| join(&device(who), nick(number), "")).boxed()),
        3 => hear((who.clone(), 0..7usize).prop_map(|(who, number)| {
            format!("<presence from='{}' to='{COVEN}/{}'/>", device(who), nick(number))
        }).boxed()),
        2 => hear((who.clone(), 0..7usize).prop_map(|(who, number)| {
            format!("<presence from='{}' to='{COVEN}/{}' type='unavailable'/>", device(who), nick(number))
        }).boxed()),
        5 => hear((who.clone(), prop::collection::vec((0..PEOPLE, affiliation()), 1..4)).prop_map(|(who, items)| {
            let items: String = items.iter().map(|(whom, affiliation)| {
                format!("<item affiliation='{affiliation}' jid='{}'/>", person(*whom))
            }).collect();
            admin(&device(who), "set", &items)
        }).boxed()),
        1 => hear((who.clone(), affiliation()).prop_map(|(who, affiliation)| {
            admin(&device(who), "set", &format!("<item affiliation='{affiliation}' jid='elsewhere.lit'/>"))
        }).boxed()),
        4 => hear((who.clone(), prop::collection::vec((0..7usize, role()), 1..3)).prop_map(|(who, items)| {
            let items: String = items.iter().map(|(whom, role)| format!("<item nick='{}' role='{role}'/>", nick(*whom))).collect();
            admin(&device(who), "set", &items)
        }).boxed()),
        2 => hear((who.clone(), any::<[bool; 5]>(), prop::option::of(prop::collection::vec(0..PEOPLE, 0..3))).prop_map(|(who, flags, owners)| {
            let names = ["membersonly", "moderatedroom", "persistentroom", "passwordprotectedroom"];
            let mut fields: String = names.iter().zip(flags).map(|(name, flag)| {
                format!("<field var='muc#roomconfig_{name}'><value>{}</value></field>", u8::from(flag && *name != "passwordprotectedroom"))
            }).collect();
            let whois = if flags[4] { "anyone" } else { "moderators" };
            fields.push_str(&format!("<field var='muc#roomconfig_whois'><value>{whois}</value></field>"));
            if let Some(owners) = owners {
                let values: String = owners.iter().map(|owner| format!("<value>{}</value>", person(*owner))).collect();
                fields.push_str(&format!("<field var='muc#roomconfig_roomowners'>{values}</field>"));
            }
            iq(&device(who), "set", &format!(
                "<query xmlns='http://jabber.org/protocol/muc#owner'><x xmlns='jabber:x:data' type='submit'>{fields}</x></query>"
            ))
        }).boxed()),
        2 => hear(who.clone().prop_map(|who| groupchat(&device(who), "<body>x</body>")).boxed()),
        1 => hear(who.clone().prop_map(|who| groupchat(&device(who), "<subject>x</subject>")).boxed()),
        1 => hear((who.clone(), 0..PEOPLE).prop_map(|(who, whom)| {
            format!(
                "<message from='{}' to='{COVEN}'><x xmlns='http://jabber.org/protocol/muc#user'><invite to='{}'/></x></message>",
                device(who), person(whom)
            )
        }).boxed()),
        1 => hear((who.clone(), 0..7usize).prop_map(|(who, number)| iq(&device(who), "set", &format!(
            "<query xmlns='jabber:iq:register'><x xmlns='jabber:x:data' type='submit'><field var='muc#register_roomnick'>\
             <value>{}</value></field></x></query>", nick(number)
        ))).boxed()),
        1 => hear(who.clone().prop_map(|who| iq(&device(who), "set", "<query xmlns='jabber:iq:register'><remove/></query>")).boxed()),
        1 => (who.clone(), prop::sample::select(vec![Gone::Ended, Gone::Failed]))
            .prop_map(|(who, why)| Step::Gone(device(who), why)),
        1 => (0..PEOPLE).prop_map(|who| Step::Removed(person(who))),
        1 => (1..2000u64).prop_map(Step::Later),
        1 => prop::sample::select(vec![Step::Broken, Step::ShutDown]),
    ]
}

/// What a room is at any time.
fn check(cave: &Cave) {
    let records = cave.room.records();
    let configuration = &records.configuration;
    if !cave.is_over {
        assert!(records.affiliations.has_owner(), "there is always an owner");
    }
    let occupants: Vec<_> = cave.room.occupants().iter().collect();
    assert!(occupants.len() <= PLACES, "{} occupants", occupants.len());
    for (index, occupant) in occupants.iter().enumerate() {
        let affiliation = records.affiliations.of(&occupant.account);
        assert_ne!(affiliation, Affiliation::Outcast, "an outcast is in the room");
        assert!(
            !configuration.members_only || affiliation >= Affiliation::Member,
            "a stranger is in a members-only room"
        );
        assert_ne!(occupant.role, Role::None);
        assert!(!affiliation.is_admin() || occupant.role == Role::Moderator, "{affiliation:?} is {:?}", occupant.role);
        assert!(!occupant.devices.is_empty());
        for device in &occupant.devices {
            assert_eq!(device.jid.to_bare(), occupant.account);
        }
        for other in &occupants[index + 1..] {
            assert_ne!(occupant.nick.likeness, other.nick.likeness, "two have the same nickname");
            for device in &occupant.devices {
                assert!(other.device(&device.jid).is_none(), "a device is in the room twice");
            }
        }
    }
    let mut reserved: Vec<_> = records.affiliations.all().filter_map(|(_, entry)| entry.nick.as_ref()).collect();
    reserved.sort_by(|one, other| one.likeness.cmp(&other.likeness));
    assert!(reserved.windows(2).all(|pair| pair[0].likeness != pair[1].likeness), "a nickname is reserved twice");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    /// And what a listener has put together from the presence he got is who is in the room; everyone hears what is said,
    /// once; nobody hears what is none of his business; who is refused has changed nothing; and what is written to the
    /// database is what the room remembers.
    #[test]
    fn no_sequence_of_events_breaks_a_room(steps in prop::collection::vec(step(), 1..120)) {
        let mut configuration = configuration();
        configuration.invites = true;
        let mut cave = Cave::of(records(configuration), places(PLACES as u64));
        let (mut views, mut moves, mut shelf) = (Views::default(), Moves::default(), Shelf::of(&cave));
        for step in steps {
            let before = Picture::of(&cave);
            let heard = match &step {
                Step::Hear(xml) => cave.hear(xml),
                Step::Gone(device, why) => cave.event(Event::Gone(jid(device), *why)).unwrap(),
                Step::Removed(account) => cave.event(Event::Removed(bare(account))).unwrap(),
                Step::Later(seconds) => {
                    cave.later(*seconds);
                    cave.event(Event::Time).unwrap()
                }
                Step::Broken => cave.event(Event::Broken).unwrap(),
                Step::ShutDown => cave.event(Event::ShutDown).unwrap(),
            };
            check(&cave);
            let after = Picture::of(&cave);
            check_refusal(&heard, &before, &after);
            check_listeners(&step, &heard, &before, &after);
            check_speech(&step, &heard, &before, &after);
            check_places(&step, &before, &after);
            moves.follow(&mut cave);
            views.see(&heard);
            if cave.is_over || matches!(step, Step::Broken | Step::ShutDown) {
                assert!(cave.room.occupants().is_empty(), "nobody is left behind");
                break;
            }
            shelf.follow(&mut cave);
            views.check(&cave);
        }
    }
}

/// What a room is like at one moment.
#[derive(PartialEq, Debug)]
struct Picture {
    /// Each device with the nickname, affiliation and role of its owner.
    devices: BTreeMap<String, (String, Affiliation, Role)>,
    shows_addresses: bool,
    affiliations: Affiliations,
    configuration: Configuration,
}

impl Picture {
    fn of(cave: &Cave) -> Picture {
        let records = cave.room.records();
        let devices = cave.room.occupants().devices().map(|(occupant, device)| {
            let affiliation = records.affiliations.of(&occupant.account);
            (device.jid.to_string(), (occupant.nick.name.to_string(), affiliation, occupant.role))
        });
        Picture {
            devices: devices.collect(),
            shows_addresses: cave.room.shows_addresses(),
            affiliations: records.affiliations.clone(),
            configuration: records.configuration.clone(),
        }
    }

    /// The greatest role of a person, who may be there under several nicknames.
    fn role(&self, device: &str) -> Role {
        let of_him = self.devices.iter().filter(|(known, _)| bare(known) == bare(device));
        of_him.map(|(_, (.., role))| *role).max().unwrap_or(Role::None)
    }
}

/// Who is refused has changed nothing.
fn check_refusal(heard: &Heard, before: &Picture, after: &Picture) {
    if let [only] = &heard.0[..]
        && only.is_error()
    {
        assert_eq!(before, after, "{}", plain(only));
    }
}

/// Every stanza goes to somebody who is, or just was, in the room, to who has said something, or to whom that was about;
/// and real addresses only to who sees them.
fn check_listeners(step: &Step, heard: &Heard, before: &Picture, after: &Picture) {
    // One list may make somebody a moderator and take it back again.
    let promotes =
        matches!(step, Step::Hear(xml) if ["'moderator'", "'admin'", "'owner'"].iter().any(|of| xml.contains(of)));
    for stanza in &heard.0 {
        let to = stanza.to.as_ref().expect("to somebody").as_str();
        let is_or_was_here = before.devices.contains_key(to) || after.devices.contains_key(to);
        let is_concerned = match step {
            Step::Hear(xml) => xml.contains(&format!("'{to}'")) || xml.contains(&format!(">{to}<")),
            _ => false,
        };
        assert!(is_or_was_here || is_concerned, "to nobody: {}", plain(stanza));
        let sees = |picture: &Picture| picture.shows_addresses || picture.role(to) == Role::Moderator;
        if !is_or_was_here || sees(before) || sees(after) || promotes || stanza.kind() == Kind::Iq {
            continue;
        }
        for item in stanza.payloads().flat_map(|payload| payload.children()).filter(|child| child.name() == "item") {
            let shown = item.attribute("jid");
            let own = bare(to);
            assert!(shown.as_ref().is_none_or(|shown| bare(shown) == own), "{to} learns {shown:?}: {}", plain(stanza));
        }
    }
}

/// What is said to all comes to every device once, from somebody who has voice.
fn check_speech(step: &Step, heard: &Heard, before: &Picture, after: &Picture) {
    // Who enters is shown what was said before.
    if !matches!(step, Step::Hear(xml) if xml.contains("type='groupchat'")) {
        return;
    }
    let spoken: Vec<_> =
        heard.0.iter().filter(|stanza| stanza.text_of("body").is_some() && !stanza.is_error()).collect();
    let Some(first) = spoken.first() else { return };
    let mut listeners: Vec<_> =
        spoken.iter().map(|stanza| stanza.to.as_ref().expect("to somebody").to_string()).collect();
    listeners.sort();
    assert_eq!(listeners, after.devices.keys().cloned().collect::<Vec<_>>());
    let nick = first.from.as_ref().and_then(|from| from.resource()).expect("an occupant speaks").as_str();
    assert!(before.devices.values().any(|(name, _, role)| name == nick && role.has_voice()), "{nick} has no voice");
}

/// Whoever enters takes nobody's place who is affiliated.
fn check_places(step: &Step, before: &Picture, after: &Picture) {
    let enters = matches!(step, Step::Hear(xml) if xml.contains("protocol/muc'"));
    if !enters {
        return;
    }
    for (device, (nick, affiliation, _)) in &before.devices {
        assert!(after.devices.contains_key(device) || *affiliation == Affiliation::None, "{nick} has lost his place");
    }
}

/// The database: what was written is what the room remembers.
struct Shelf(Records);

impl Shelf {
    fn of(cave: &Cave) -> Shelf {
        Shelf(cave.room.records().clone())
    }

    fn follow(&mut self, cave: &mut Cave) {
        for change in cave.changes.drain(..) {
            match change {
                Change::Configured(configuration) => self.0.configuration = *configuration,
                Change::Affiliated(entries) => {
                    for (account, entry) in entries {
                        self.0.version = self.0.version.max(entry.version);
                        self.0.affiliations.set(account, entry);
                    }
                }
                Change::Forgotten(version) => self.0.forgotten = version,
                Change::Subject(subject) => self.0.subject = Some(subject),
                other => panic!("not of these steps: {other:?}"),
            }
        }
        let records = cave.room.records();
        assert_eq!(self.0.configuration, records.configuration);
        let all =
            |of: &Affiliations| of.all().map(|(account, entry)| (account.clone(), entry.clone())).collect::<Vec<_>>();
        assert_eq!(all(&self.0.affiliations), all(&records.affiliations));
        assert_eq!(self.0.version, records.version);
        let subject = |of: &Records| of.subject.as_ref().map(|subject| (subject.message.to_bytes(), subject.at));
        assert_eq!(subject(&self.0), subject(records));
    }
}

/// Who is in the room, as those believe who are told of comings and goings.
#[derive(Default)]
struct Moves(std::collections::BTreeSet<Jid>);

impl Moves {
    fn follow(&mut self, cave: &mut Cave) {
        for step in cave.room.take_moves() {
            let is_news = if step.comes { self.0.insert(step.device.clone()) } else { self.0.remove(&step.device) };
            assert!(is_news, "{step:?}");
        }
        let devices: std::collections::BTreeSet<Jid> =
            cave.room.occupants().devices().map(|(_, device)| device.jid.clone()).collect();
        assert_eq!(self.0, devices);
    }
}

/// Who is in the room, as each device sees it from the presence it got.
#[derive(Default)]
struct Views(std::collections::BTreeMap<String, std::collections::BTreeSet<String>>);

impl Views {
    fn see(&mut self, heard: &Heard) {
        for stanza in heard.0.iter().filter(|stanza| stanza.kind().name() == "presence" && !stanza.is_error()) {
            let (Some(to), Some(from)) = (&stanza.to, &stanza.from) else { continue };
            let Some(nick) = from.resource() else { continue };
            let text = plain(stanza);
            let is_self = text.contains("<status code='110'/>");
            let leaves = text.contains("type='unavailable'");
            let renames = text.contains("<status code='303'/>");
            if leaves && is_self && !renames {
                self.0.remove(to.as_str());
            } else if leaves {
                if let Some(view) = self.0.get_mut(to.as_str()) {
                    view.remove(nick.as_str());
                }
            } else {
                self.0.entry(to.as_str().to_owned()).or_default().insert(nick.as_str().to_owned());
            }
        }
    }

    fn check(&self, cave: &Cave) {
        let names: std::collections::BTreeSet<String> =
            cave.room.occupants().iter().map(|occupant| occupant.nick.name.as_str().to_owned()).collect();
        for occupant in cave.room.occupants().iter() {
            for device in &occupant.devices {
                assert_eq!(self.0.get(device.jid.as_str()), Some(&names), "what {} sees", device.jid);
            }
        }
        let devices: usize = cave.room.occupants().iter().map(|occupant| occupant.devices.len()).sum();
        assert_eq!(self.0.len(), devices, "only who is in the room believes so: {:?}", self.0.keys());
    }
}
