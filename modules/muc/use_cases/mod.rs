//! The use cases of XEP-0045 and its kin, driven against the pure room: who says what, and what everyone hears then.
//!
//! Tests are named by the numbers of the examples in version 1.35.5 of the specification, which are counted through the
//! document.

mod administrating;
mod discovering;
mod entering;
mod examples;
mod extending;
mod inviting;
mod leaving;
mod moderating;
mod owning;
mod properties;
mod registering;
mod speaking;

use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::hmac;
use waxwing_core::address::{BareJid, Jid, ResourcePart};
use waxwing_core::archive::{ArchiveId, Kept};
use waxwing_core::clock::IdMaker;
use waxwing_core::limits::{Count, Rate};
use waxwing_core::stanza::{Stanza, element};

use crate::affiliation::Affiliation;
use crate::configuration::{Configuration, Registration, Roles, Whois};
use crate::effects::Change;
use crate::moment::Moment;
use crate::protocol::{HATS, OCCUPANT_ID};
use crate::records::{Affiliated, Nick, Records};
use crate::refusing::error_for;
use crate::room::{Event, Room, Rules};
use crate::settings::Settings;

const CRONE: &str = "crone1@shakespeare.lit/desktop";
const WICCA: &str = "wiccarocks@shakespeare.lit/laptop";
const HAG: &str = "hag66@shakespeare.lit/pda";
const HECATE: &str = "hecate@shakespeare.lit/broom";
const BARD: &str = "bard@elsewhere.lit/globe";
const COVEN: &str = "coven@chat.shakespeare.lit";

/// A room with its keeper: an archive, a clock, and what was written to the database.
struct Cave {
    room: Room,
    now: Moment,
    ids: IdMaker,
    archive: Vec<(ArchiveId, Stanza)>,
    changes: Vec<Change>,
    is_over: bool,
}

fn jid(text: &str) -> Jid {
    Jid::new(text).unwrap()
}

fn bare(text: &str) -> BareJid {
    jid(text).to_bare()
}

/// Settings in which nobody is too fast.
fn patient() -> Settings {
    Settings {
        occupant_messages: Rate::UNLIMITED,
        room_messages: Rate::UNLIMITED,
        occupant_presences: Rate::UNLIMITED,
        ..Settings::default()
    }
}

fn rules(settings: Settings) -> Arc<Rules> {
    Arc::new(Rules {
        settings,
        occupant_key: hmac::Key::new(hmac::HMAC_SHA256, b"key"),
        is_ours: Box::new(|domain| domain.as_str() == "shakespeare.lit"),
        has_archive: true,
        tells_absent: false,
    })
}

/// The room of the examples: open, semi-anonymous, with an owner and an admin; nobody is in it.
fn configuration() -> Configuration {
    Configuration {
        name: "A Dark Cave".to_owned(),
        members_only: false,
        whois: Whois::Moderators,
        member_list: Roles::MODERATORS,
        registration: Registration::Open,
        archiving: false,
        ..Configuration::default()
    }
}

fn records(configuration: Configuration) -> Records {
    let mut records = Records::new(configuration, &bare(CRONE), 1000);
    records.affiliations.set(bare(WICCA), affiliated(Affiliation::Admin));
    records
}

fn affiliated(affiliation: Affiliation) -> Affiliated {
    Affiliated { affiliation, nick: None, reason: None, version: 1000 }
}

impl Cave {
    /// The room of the examples.
    fn open() -> Cave {
        Cave::with(|_| {})
    }

    /// The same, configured otherwise.
    fn with(change: impl FnOnce(&mut Configuration)) -> Cave {
        let mut configuration = configuration();
        change(&mut configuration);
        Cave::of(records(configuration), patient())
    }

    fn of(records: Records, settings: Settings) -> Cave {
        let room = Room::load(bare(COVEN), rules(settings), records);
        Cave::around(room)
    }

    fn around(room: Room) -> Cave {
        let now = Moment { milliseconds: 1_700_000_000_000, ..Moment::now() };
        let mut cave = Cave { room, now, ids: IdMaker::new(0), archive: vec![], changes: vec![], is_over: false };
        cave.room.history_mut().set_loaded();
        cave
    }

    /// A room that is just being made.
    fn new_room(settings: Settings) -> Cave {
        Cave::around(Room::create(bare(COVEN), rules(settings), &bare(CRONE), Moment::now()))
    }

    /// The three witches are in it.
    fn full() -> Cave {
        Cave::open().witches()
    }

    fn witches(mut self) -> Cave {
        self.join(CRONE, "firstwitch");
        self.join(WICCA, "secondwitch");
        self.join(HAG, "thirdwitch");
        self
    }

    fn affiliate(&mut self, account: &str, affiliation: Affiliation, nick: Option<&str>) {
        let nick = nick.map(|nick| Nick::new(ResourcePart::new(nick).unwrap().into_owned()));
        let mut records = self.room.records().clone();
        records.affiliations.set(bare(account), Affiliated { nick, ..affiliated(affiliation) });
        self.room = Room::load(bare(COVEN), self.room.rules_for_tests(), records);
        self.room.history_mut().set_loaded();
    }

    fn later(&mut self, seconds: u64) {
        self.now = self.now.after(Duration::from_secs(seconds));
    }

    fn join(&mut self, who: &str, nick: &str) -> Heard {
        self.hear(&join(who, nick, ""))
    }

    /// Somebody says something; everyone's ears.
    fn hear(&mut self, xml: &str) -> Heard {
        let stanza = Stanza::read(element(xml.to_owned()).unwrap_or_else(|_| panic!("{xml}"))).unwrap().unwrap();
        match self.event(Event::Stanza(stanza.clone())) {
            Ok(heard) => heard,
            Err(refusal) => Heard(error_for(&stanza, &refusal, &bare(COVEN)).into_iter().collect()),
        }
    }

    fn event(&mut self, event: Event) -> Result<Heard, waxwing_core::refusal::Refusal> {
        let now = self.now;
        let mut effects = self.room.handle(event, now)?;
        let mut heard = std::mem::take(&mut effects.deliveries);
        if let Some(retraction) = effects.retraction.take() {
            let original = self.archive.iter().find(|(id, _)| *id == retraction.id).map(|(_, stanza)| stanza.clone());
            let tombstone = self.room.retract(&retraction, original.as_ref(), now)?;
            if let (Some(stone), Some(place)) =
                (tombstone, self.archive.iter_mut().find(|(id, _)| *id == retraction.id))
            {
                place.1 = stone;
            }
            effects.utterance = Some(retraction.utterance);
            heard.extend(retraction.request.map(|request| Stanza::result_of(&request)));
        }
        if let Some(utterance) = effects.utterance.take() {
            let id = (utterance.keep && self.room.archives()).then(|| ArchiveId(self.ids.next_at(now.milliseconds)));
            if let Some(id) = id {
                let mut kept = utterance.message.clone();
                if let Some(beside) = &utterance.archived_only {
                    kept.add(beside.clone());
                }
                self.archive.push((id, kept));
            }
            heard.extend(self.room.reflect(utterance, id, now).deliveries);
        }
        self.changes.append(&mut effects.changes);
        self.is_over |= effects.over;
        heard.extend(effects.archive_query.iter().map(Stanza::result_of));
        Ok(Heard(heard))
    }

    /// The newest message of the archive.
    fn archived(&self) -> Kept {
        let (id, stanza) = self.archive.last().expect("something is archived");
        Kept { id: *id, stanza: stanza.to_bytes().into() }
    }

    /// Who is in the room, by nickname with affiliation and role.
    fn present(&self) -> Vec<String> {
        let records = self.room.records();
        let mut all: Vec<_> = self
            .room
            .occupants()
            .iter()
            .map(|occupant| {
                let affiliation = records.affiliations.of(&occupant.account);
                format!("{} {} {}", occupant.nick.name, affiliation.name(), occupant.role.name())
            })
            .collect();
        all.sort();
        all
    }
}

fn join(who: &str, nick: &str, inside: &str) -> String {
    format!(
        "<presence from='{who}' to='{COVEN}/{nick}' id='n13mt3l'><x xmlns='http://jabber.org/protocol/muc'>{inside}</x></presence>"
    )
}

fn iq(who: &str, kind: &str, payload: &str) -> String {
    format!("<iq from='{who}' to='{COVEN}' id='iq1' type='{kind}'>{payload}</iq>")
}

fn admin(who: &str, kind: &str, items: &str) -> String {
    iq(who, kind, &format!("<query xmlns='http://jabber.org/protocol/muc#admin'>{items}</query>"))
}

fn groupchat(who: &str, inside: &str) -> String {
    format!("<message from='{who}' to='{COVEN}' id='hysf1v37' type='groupchat'>{inside}</message>")
}

/// What was said to everyone.
struct Heard(Vec<Stanza>);

impl Heard {
    /// What one device has heard, without what is the same in every stanza: ids that the room made, occupant ids and the
    /// versions of lists.
    fn by(&self, who: &str) -> Vec<String> {
        self.0.iter().filter(|stanza| stanza.to == Some(jid(who))).map(plain).collect()
    }

    /// The only stanza that one device has heard.
    fn one(&self, who: &str) -> String {
        let mut heard = self.by(who);
        assert_eq!(heard.len(), 1, "{who} heard {heard:#?}");
        heard.remove(0)
    }

    /// Whether nobody has heard anything.
    fn is_nothing(&self) -> bool {
        self.0.is_empty()
    }

    /// Whom something was said to, in order, each time.
    fn order(&self) -> Vec<String> {
        self.0
            .iter()
            .map(|stanza| {
                let to =
                    stanza.to.as_ref().and_then(|to| to.node()).map_or(String::new(), |node| node.as_str().to_owned());
                format!("{} {to}", stanza.kind().name())
            })
            .collect()
    }

    /// The condition of the error that is all there is.
    fn error(&self) -> String {
        assert_eq!(self.0.len(), 1, "{:#?}", self.0.iter().map(plain).collect::<Vec<_>>());
        assert!(self.0[0].is_error(), "{}", plain(&self.0[0]));
        let error = self.0[0].own_payload("error").expect("an error");
        let kind = error.attribute("type").unwrap_or_default().into_owned();
        let condition = error.children().next().map_or("", |condition| condition.name());
        format!("{kind} {condition}")
    }

    /// The payload of the result that is all there is.
    fn result(&self) -> String {
        assert_eq!(self.0.len(), 1, "{:#?}", self.0.iter().map(plain).collect::<Vec<_>>());
        let payload = self.0[0].payloads().next();
        payload.map_or(String::new(), |payload| String::from_utf8(payload.bytes().to_vec()).unwrap())
    }

    /// The whole of it, without what is not plain.
    fn all(&self) -> Vec<String> {
        self.0.iter().map(plain).collect()
    }
}

fn plain(stanza: &Stanza) -> String {
    let mut stanza = stanza.clone();
    stanza.remove_payloads(|payload| matches!(payload.namespace(), OCCUPANT_ID | HATS)).unwrap();
    if stanza.id.as_ref().is_some_and(|id| id.len() == 24) {
        stanza.id = None;
    }
    let mut out = Vec::new();
    stanza.write(&mut out, None);
    let mut text = String::from_utf8(out).unwrap();
    while let Some(start) = text.find("<mav ") {
        let end = start + text[start..].find("/>").unwrap() + 2;
        text.replace_range(start..end, "");
    }
    text
}

/// Presence from an occupant as the room sends it.
fn presence(nick: &str, to: &str, kind: &str, item: &str, rest: &str) -> String {
    let kind = if kind.is_empty() { String::new() } else { format!(" type='{kind}'") };
    format!(
        "<presence from='{COVEN}/{nick}' to='{to}'{kind}><x xmlns='http://jabber.org/protocol/muc#user'><item {item}/>{rest}</x></presence>"
    )
}

fn status(codes: &[u16]) -> String {
    codes.iter().map(|code| format!("<status code='{code}'/>")).collect()
}

/// Settings with few places.
fn places(count: u64) -> Settings {
    Settings { occupants: Count::of(count), ..patient() }
}
