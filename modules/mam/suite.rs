//! The suite of the archives, run on both engines.

mod expiring;
mod searching;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use waxwing_core::address::{BareJid, Jid};
use waxwing_core::answers::{Request, Scope};
use waxwing_core::archive::{Archive, ArchiveId, Found, Stretch};
use waxwing_core::clock::IdMaker;
use waxwing_core::refusal::Refusal;
use waxwing_core::stanza::{Stanza, element};
use waxwing_core::storage::{Database, Engine, on_both_engines};
use waxwing_core::xml::Element;

use crate::archives::{Archives, Item};
use crate::form::{FULL_TEXT, MAM};
use crate::preferences::{Fallback, Preferences};
use crate::settings::{Keep, Settings};
use crate::store::{MIGRATIONS, Store};
use crate::writer::NextId;

const HOST: &str = "capulet.lit";
const DAY: i64 = 86_400_000;

fn jid(text: &str) -> Jid {
    Jid::new(text).expect("an address")
}

fn juliet() -> BareJid {
    jid("juliet@capulet.lit").to_bare()
}

fn nurse() -> BareJid {
    jid("nurse@capulet.lit").to_bare()
}

fn message(xml: &str) -> Stanza {
    Stanza::read(element(xml.to_owned()).unwrap()).unwrap().unwrap()
}

fn said(from: &str, body: &str) -> Stanza {
    message(&format!(
        "<message type='chat' from='{from}' to='juliet@capulet.lit' id='{body}'><body>{body}</body></message>"
    ))
}

/// A clock that the test sets, and the ids it makes.
#[derive(Clone)]
struct Clock {
    now: Arc<AtomicI64>,
    ids: Arc<IdMaker>,
}

impl Clock {
    fn at(now: i64) -> Clock {
        Clock { now: Arc::new(AtomicI64::new(now)), ids: Arc::new(IdMaker::new(0)) }
    }

    fn set(&self, now: i64) {
        self.now.store(now, Ordering::Relaxed);
    }

    fn next_id(&self) -> NextId {
        let clock = self.clone();
        Arc::new(move || clock.ids.next_at(clock.now.load(Ordering::Relaxed)))
    }
}

fn now() -> i64 {
    waxwing_core::clock::now_milliseconds()
}

fn open(database: &Database, settings: Settings) -> (Archives, Clock) {
    let clock = Clock::at(0);
    let archives = Archives::new(Store(database.clone()), HOST, settings, clock.next_id());
    clock.set(now());
    (archives, clock)
}

async fn receive(archives: &Archives, owner: &BareJid, stanza: &Stanza) -> ArchiveId {
    archives.store(owner, stanza.from.as_ref().unwrap(), stanza).await.unwrap()
}

fn field(name: &str, value: &str) -> String {
    format!("<field var='{name}'><value>{value}</value></field>")
}

/// A query with these fields in its form, and this inside its `<set/>`.
fn query(fields: &str, set: &str) -> String {
    format!(
        "<query xmlns='{MAM}' queryid='q'><x xmlns='jabber:x:data' type='submit'><field var='FORM_TYPE' type='hidden'>\
         <value>{MAM}</value></field>{fields}</x><set xmlns='http://jabber.org/protocol/rsm'>{set}</set></query>"
    )
}

async fn ask(archives: &Archives, owner: &BareJid, of: &str, payload: &str) -> Result<Found, Refusal> {
    let from = owner.with_resource_str("r").unwrap();
    let stanza = message(&format!("<iq type='{of}' id='1' from='{from}' to='{owner}'>{payload}</iq>"));
    let request = Request { stanza: &stanza, scope: Scope::Account, session: None, stranger: None };
    archives.query(owner, request).await
}

/// The ids of a page and what was said of it.
async fn page(archives: &Archives, owner: &BareJid, payload: &str) -> Result<(Vec<ArchiveId>, Element), Refusal> {
    let found = ask(archives, owner, "set", payload).await?;
    let id = |result: &Element| ArchiveId::read(&result.attribute("id").unwrap()).unwrap();
    Ok((found.results.iter().map(id).collect(), found.answer))
}

fn text(element: &Element) -> String {
    String::from_utf8(element.as_bytes().to_vec()).unwrap()
}

/// Which of the messages are found by words.
async fn search(archives: &Archives, owner: &BareJid, words: &str) -> Vec<ArchiveId> {
    page(archives, owner, &query(&field(FULL_TEXT, words), "")).await.unwrap().0
}

async fn index(archives: &Archives) {
    archives.indexer.as_ref().unwrap().work().await.unwrap();
}

on_both_engines! {
    [MIGRATIONS];

    async fn what_is_stored_comes_back_byte_by_byte(database: Database) {
        let (archives, clock) = open(&database, Settings::default());
        clock.set(1_795_351_919_123);
        let stanza = message(
            "<message from='romeo@montague.lit/orchard' to='juliet@capulet.lit' type='chat' odd='&lt;' xml:lang='it'>\
             <body>è &amp; ò</body><x xmlns='urn:x' b=\"'\"><y/></x></message>",
        );
        let id = receive(&archives, &juliet(), &stanza).await;
        let found = ask(&archives, &juliet(), "set", &query("", "")).await.unwrap();
        let stored = String::from_utf8(stanza.to_bytes()).unwrap();
        assert_eq!(
            text(&found.results[0]),
            format!(
                "<result xmlns='urn:xmpp:mam:2' queryid='q' id='{id}'><forwarded xmlns='urn:xmpp:forward:0'>\
                 <delay xmlns='urn:xmpp:delay' stamp='2026-11-22T12:51:59.123Z'/>{stored}</forwarded></result>"
            )
        );
        assert_eq!(
            text(&found.answer),
            format!(
                "<fin xmlns='urn:xmpp:mam:2' complete='true'><set xmlns='http://jabber.org/protocol/rsm'>\
                 <first index='0'>{id}</first><last>{id}</last><count>1</count></set></fin>"
            )
        );
    }

    async fn f17_ids_increase_in_the_order_of_commits_also_when_the_clock_jumps_back(database: Database) {
        let (archives, clock) = open(&database, Settings::default());
        let archives = Arc::new(archives);
        let mut stored = Vec::new();
        for (round, hours) in [0, -1, 1, 0].into_iter().enumerate() {
            clock.set(now() + hours * 3_600_000);
            let work = (0..50).map(|number| {
                let archives = archives.clone();
                let owner = if number % 2 == 0 { juliet() } else { nurse() };
                let stanza = said("romeo@montague.lit/orchard", &format!("{round} {number}"));
                tokio::spawn(async move { (owner.clone(), receive(&archives, &owner, &stanza).await) })
            });
            let mut of_this_round = Vec::new();
            for task in work.collect::<Vec<_>>() {
                of_this_round.push(task.await.unwrap());
            }
            let oldest = of_this_round.iter().map(|(_, id)| *id).min();
            let newest = stored.iter().map(|(_, id)| *id).max();
            assert!(newest < oldest, "{newest:?} {oldest:?}");
            stored.extend(of_this_round);
        }
        for owner in [juliet(), nurse()] {
            let mut wanted: Vec<ArchiveId> =
                stored.iter().filter(|(of, _)| *of == owner).map(|(_, id)| *id).collect();
            wanted.sort();
            let stretch = Stretch { after: None, before: None, newest: false, most: 1000 };
            let kept: Vec<ArchiveId> = archives.read(&owner, stretch).await.unwrap().iter().map(|kept| kept.id).collect();
            assert_eq!(kept, wanted);
        }
    }

    async fn pages_are_what_a_list_would_give(database: Database) {
        let (archives, _) = open(&database, Settings::default());
        let peers = ["romeo@montague.lit/orchard", "romeo@montague.lit/tomb", "nurse@capulet.lit", "juliet@capulet.lit/r"];
        let mut stored: BTreeMap<i64, &str> = BTreeMap::new();
        for number in 0..40 {
            let peer = peers[(number * 7 + number / 5) % peers.len()];
            let id = receive(&archives, &juliet(), &said(peer, &number.to_string())).await;
            stored.insert(id.0, peer);
            receive(&archives, &nurse(), &said(peer, "of another")).await;
        }
        let ids: Vec<i64> = stored.keys().copied().collect();
        let id = prop::option::weighted(0.4, prop::sample::select(ids.clone()));
        let with = prop::option::of(prop::sample::select(vec![
            "romeo@montague.lit", "romeo@montague.lit/tomb", "nurse@capulet.lit", "juliet@capulet.lit", "nobody@capulet.lit",
        ]));
        let some = prop::option::weighted(0.2, prop::collection::vec(prop::sample::select(ids.clone()), 1..8));
        let cases = (with, id.clone(), id.clone(), id.clone(), id, some, (0usize..12, any::<bool>(), any::<bool>()));
        let mut runner = TestRunner::deterministic();
        for _ in 0..300 {
            let case = cases.new_tree(&mut runner).unwrap().current();
            let (with, after_id, before_id, after, before, some, (max, newest, flip)) = case.clone();
            let matches = |id: i64, peer: &str| {
                with.is_none_or(|with| peer == with || peer.split('/').next() == Some(with))
                    && after_id.is_none_or(|after| id > after)
                    && before_id.is_none_or(|before| id < before)
                    && after.is_none_or(|after| id > after)
                    && before.is_none_or(|before| id < before)
                    && some.as_ref().is_none_or(|some| some.contains(&id))
            };
            let within: Vec<i64> = stored.iter().filter(|(id, peer)| matches(**id, peer)).map(|(id, _)| *id).collect();
            let newest = newest || before.is_some();
            let take = max.min(within.len());
            let mut wanted = if newest { within[within.len() - take..].to_vec() } else { within[..take].to_vec() };
            let ends = wanted.first().zip(wanted.last()).map(|(first, last)| (first.to_string(), last.to_string()));
            if flip {
                wanted.reverse();
            }
            let mut fields = String::new();
            for (name, value) in [("after-id", after_id), ("before-id", before_id)] {
                fields += &value.map(|id| field(name, &id.to_string())).unwrap_or_default();
            }
            fields += &with.map(|with| field("with", with)).unwrap_or_default();
            if let Some(some) = &some {
                let values: String = some.iter().map(|id| format!("<value>{id}</value>")).collect();
                fields += &format!("<field var='ids'>{values}</field>");
            }
            let mut set = format!("<max>{max}</max>");
            set += &after.map(|id| format!("<after>{id}</after>")).unwrap_or_default();
            match before {
                Some(id) => set += &format!("<before>{id}</before>"),
                None if newest => set += "<before/>",
                None => {}
            }
            let mut asked = query(&fields, &set);
            if flip {
                asked = asked.replace("</query>", "<flip-page/></query>");
            }
            let (ids, fin) = page(&archives, &juliet(), &asked).await.unwrap();
            let ids: Vec<i64> = ids.iter().map(|id| id.0).collect();
            assert_eq!(ids, wanted, "{case:?}");
            assert_eq!(fin.attribute("complete").as_deref() == Some("true"), take == within.len(), "{case:?}");
            let rsm = "http://jabber.org/protocol/rsm";
            let set = fin.child(rsm, "set").unwrap();
            let told = |name: &str| set.child(rsm, name).map(|child| child.text().into_owned());
            assert_eq!(told("first").zip(told("last")), ends, "{case:?}");
            if let Some(count) = told("count") {
                assert_eq!(count, within.len().to_string(), "{case:?}");
            }
        }
    }

    async fn a_message_that_is_named_must_be_there(database: Database) {
        let (archives, _) = open(&database, Settings::default());
        let condition = async |fields: &str, set: &str| match page(&archives, &juliet(), &query(fields, set)).await {
            Ok((ids, _)) => ids.len().to_string(),
            Err(refusal) => refusal.condition.name().to_owned(),
        };
        assert_eq!(condition(&field("after-id", "5"), "").await, "item-not-found");
        assert_eq!(condition("", "").await, "0");
        let first = receive(&archives, &juliet(), &said("romeo@montague.lit", "1")).await;
        let second = receive(&archives, &juliet(), &said("romeo@montague.lit", "2")).await;
        let foreign = receive(&archives, &nurse(), &said("romeo@montague.lit", "3")).await;
        for id in [foreign.0.to_string(), (foreign.0 + 1).to_string(), "x".to_owned()] {
            assert_eq!(condition(&field("after-id", &id), "").await, "item-not-found");
            assert_eq!(condition(&field("before-id", &id), "").await, "item-not-found");
            assert_eq!(condition(&field("ids", &id), "").await, "item-not-found");
            assert_eq!(condition("", &format!("<after>{id}</after>")).await, "item-not-found");
            assert_eq!(condition("", &format!("<before>{id}</before>")).await, "item-not-found");
            assert_eq!(condition("", &format!("<max>0</max><before>{id}</before>")).await, "item-not-found");
            let both = field("ids", &first.to_string()) + &field("after-id", &id);
            assert_eq!(condition(&both, "").await, "item-not-found");
        }
        assert_eq!(condition("", &format!("<after>{second}</after>")).await, "0");
        assert_eq!(condition("", &format!("<before>{first}</before>")).await, "0");
        assert_eq!(condition(&field("ids", &second.to_string()), "").await, "1");
        // It need not match the rest of the query.
        let with = field("with", "mercutio@montague.lit");
        assert_eq!(condition(&with, &format!("<after>{first}</after>")).await, "0");
    }

    async fn times_and_metadata_are_told_by_ids(database: Database) {
        let (archives, clock) = open(&database, Settings::default());
        assert_eq!(text(&ask(&archives, &juliet(), "get", "<metadata xmlns='urn:xmpp:mam:2'/>").await.unwrap().answer),
            "<metadata xmlns='urn:xmpp:mam:2'/>");
        let mut ids = Vec::new();
        for second in 0..5 {
            clock.set(1_795_351_919_000 + second * 1000);
            ids.push(receive(&archives, &juliet(), &said("romeo@montague.lit", "x")).await);
        }
        let at = |second: i64| waxwing_core::clock::date_time(1_795_351_919_000 + second * 1000);
        let found = async |fields: String| page(&archives, &juliet(), &query(&fields, "")).await.unwrap().0;
        assert_eq!(found(field("start", &at(3))).await, ids[3..]);
        assert_eq!(found(field("end", &at(1))).await, ids[..2]);
        assert_eq!(found(field("start", &at(1)) + &field("end", &at(3))).await, ids[1..4]);
        assert_eq!(found(field("start", &at(4)) + &field("end", &at(3))).await, []);
        let metadata = ask(&archives, &juliet(), "get", "<metadata xmlns='urn:xmpp:mam:2'/>").await.unwrap().answer;
        let wanted = format!(
            "<metadata xmlns='urn:xmpp:mam:2'><start id='{}' timestamp='{}'/><end id='{}' timestamp='{}'/></metadata>",
            ids[0], at(0), ids[4], at(4)
        );
        assert_eq!(text(&metadata), wanted);
        for (of, payload) in [("set", "<metadata xmlns='urn:xmpp:mam:2'/>"), ("get", "<other xmlns='urn:xmpp:mam:2'/>")] {
            assert!(ask(&archives, &juliet(), of, payload).await.is_err());
        }
    }

    async fn s35_a_page_has_an_end_in_messages_and_in_bytes(database: Database) {
        let (archives, _) = open(&database, Settings { page: waxwing_core::limits::Count::of(20), ..Settings::default() });
        for _ in 0..30 {
            receive(&archives, &juliet(), &said("romeo@montague.lit", "x")).await;
        }
        for set in ["", "<max>1000000</max>", "<before/>"] {
            let (ids, fin) = page(&archives, &juliet(), &query("", set)).await.unwrap();
            assert_eq!((ids.len(), fin.attribute("complete")), (20, None));
        }
        let mut large = Vec::new();
        for _ in 0..12 {
            large.push(receive(&archives, &nurse(), &said("romeo@montague.lit", &"x".repeat(250_000))).await);
        }
        let mut seen = Vec::new();
        let mut set = String::new();
        loop {
            let (ids, fin) = page(&archives, &nurse(), &query("", &set)).await.unwrap();
            assert!(!ids.is_empty() && ids.len() < 12);
            set = format!("<after>{}</after>", ids[ids.len() - 1]);
            seen.extend(ids);
            if fin.attribute("complete").is_some() {
                break;
            }
        }
        assert_eq!(seen, large);
        let (ids, _) = page(&archives, &nurse(), &query("", "<before/>")).await.unwrap();
        assert!(large.ends_with(&ids), "{ids:?}");
    }

    async fn one_hundred_thousand_characters_of_any_script_arrive_intact(database: Database) {
        let (archives, _) = open(&database, Settings::default());
        for character in ['a', '&', 'ж', '愛', '\u{1F600}', '\u{10FFFD}'] {
            let body = String::from(character).repeat(100_000).replace('&', "&amp;");
            let stanza = message(&format!("<message from='a@b' type='chat'><body>{body}</body></message>"));
            let id = receive(&archives, &juliet(), &stanza).await;
            let stretch = Stretch { after: Some(ArchiveId(id.0 - 1)), before: None, newest: false, most: 1 };
            let kept = archives.read(&juliet(), stretch).await.unwrap();
            assert_eq!(kept[0].stanza, stanza.to_bytes(), "{character}");
            let read = Stanza::read(element(kept[0].stanza.clone()).unwrap()).unwrap().unwrap();
            assert_eq!(read.text_of("body").unwrap().chars().filter(|c| *c == character).count(), 100_000);
        }
        index(&archives).await;
    }

    async fn the_number_alone_is_told_when_it_is_asked_for(database: Database) {
        let (archives, _) = open(&database, Settings::default());
        for number in 0..7 {
            let peer = if number < 3 { "romeo@montague.lit" } else { "nurse@capulet.lit" };
            receive(&archives, &juliet(), &said(peer, "goodnight")).await;
        }
        index(&archives).await;
        let told = async |fields: &str| text(&page(&archives, &juliet(), &query(fields, "<max>0</max>")).await.unwrap().1);
        let fin = |count: &str| {
            format!("<fin xmlns='urn:xmpp:mam:2'><set xmlns='http://jabber.org/protocol/rsm'><count>{count}</count></set></fin>")
        };
        assert_eq!(told("").await, fin("7"));
        assert_eq!(told(&field("with", "romeo@montague.lit")).await, fin("3"));
        assert_eq!(told(&(field(FULL_TEXT, "goodnight") + &field("with", "nurse@capulet.lit"))).await, fin("4"));
        let fin = told(&field("with", "mercutio@montague.lit")).await;
        assert!(fin.contains("complete='true'") && fin.contains("<count>0</count>"), "{fin}");
    }

    async fn words_are_found_together_with_everything_else(database: Database) {
        let (archives, clock) = open(&database, Settings::default());
        let mut ids = Vec::new();
        let lines = [
            ("romeo@montague.lit/orchard", "But soft! What light through yonder window breaks?"),
            ("romeo@montague.lit/orchard", "It is the east, and Juliet is the sun"),
            ("nurse@capulet.lit", "Is it a light in the window, Juliet?"),
            ("romeo@montague.lit/tomb", "O speak again, bright angel! — the LIGHT"),
            ("paris@capulet.lit", "Das Licht weicht; das Leben erlischt"),
        ];
        for (number, (from, body)) in lines.into_iter().enumerate() {
            clock.set(1_795_351_919_000 + number as i64 * 1000);
            let stanza = message(&format!("<message type='chat' from='{from}' to='juliet@capulet.lit'><body>{body}</body></message>"));
            ids.push(receive(&archives, &juliet(), &stanza).await);
            receive(&archives, &nurse(), &stanza).await;
        }
        index(&archives).await;
        assert_eq!(search(&archives, &juliet(), "light").await, [ids[0], ids[2], ids[3]]);
        assert_eq!(search(&archives, &juliet(), "WINDOW light").await, [ids[0], ids[2]]);
        assert_eq!(search(&archives, &juliet(), "lich").await, []);
        assert_eq!(search(&archives, &juliet(), "").await, ids);
        for nothing in ["!!", "%", "' OR 1=1 --", "\"", "light AND NOT window", "li*"] {
            assert_eq!(search(&archives, &juliet(), nothing).await, [], "{nothing}");
        }
        let found = async |fields: &str, set: &str| {
            let fields = field(FULL_TEXT, "light") + fields;
            page(&archives, &juliet(), &query(&fields, set)).await.unwrap().0
        };
        assert_eq!(found(&field("with", "romeo@montague.lit"), "").await, [ids[0], ids[3]]);
        assert_eq!(found(&field("with", "romeo@montague.lit/tomb"), "").await, [ids[3]]);
        assert_eq!(found(&field("start", &waxwing_core::clock::date_time(1_795_351_921_000)), "").await, [ids[2], ids[3]]);
        assert_eq!(found(&field("end", &waxwing_core::clock::date_time(1_795_351_921_000)), "").await, [ids[0], ids[2]]);
        assert_eq!(found("", "<max>2</max>").await, [ids[0], ids[2]]);
        assert_eq!(found("", &format!("<max>2</max><after>{}</after>", ids[0])).await, [ids[2], ids[3]]);
        assert_eq!(found("", "<max>1</max><before/>").await, [ids[3]]);
        assert_eq!(found("", &format!("<max>1</max><before>{}</before>", ids[3])).await, [ids[2]]);
        assert_eq!(found(&field("after-id", &ids[1].to_string()), "").await, [ids[2], ids[3]]);
    }

    async fn words_are_caught_up_after_a_crash(database: Database) {
        let (crashed, _) = open(&database, Settings::default());
        let mut ids = vec![receive(&crashed, &juliet(), &said("romeo@montague.lit", "sun one")).await];
        index(&crashed).await;
        for number in 0..600 {
            ids.push(receive(&crashed, &juliet(), &said("romeo@montague.lit", &format!("sun {number}"))).await);
        }
        let secret = message("<message type='chat' from='a@b'><body>sun</body><encryption xmlns='urn:xmpp:eme:0'/></message>");
        receive(&crashed, &juliet(), &secret).await;
        assert_eq!(search(&crashed, &juliet(), "sun").await, ids[..1]);
        // Another server begins where the first one ended; what it stores itself is found, too.
        let (archives, clock) = open(&database, Settings::default());
        clock.ids.not_before(Store(database.clone()).last().await.unwrap());
        ids.push(receive(&archives, &juliet(), &said("romeo@montague.lit", "sun set")).await);
        index(&archives).await;
        let mut found = Vec::new();
        let mut set = String::new();
        loop {
            let (page, fin) = page(&archives, &juliet(), &query(&field(FULL_TEXT, "sun"), &set)).await.unwrap();
            set = format!("<after>{}</after>", page[page.len() - 1]);
            found.extend(page);
            if fin.attribute("complete").is_some() {
                break;
            }
        }
        assert_eq!(found, ids);
    }

    async fn another_language_indexes_everything_again(database: Database) {
        if database.engine() == Engine::Sqlite {
            return;
        }
        let (archives, _) = open(&database, Settings::default());
        let id = receive(&archives, &juliet(), &said("romeo@montague.lit", "the windows are breaking")).await;
        index(&archives).await;
        assert_eq!(search(&archives, &juliet(), "window breaks").await, []);
        assert_eq!(search(&archives, &juliet(), "the").await, [id]);
        let (english, _) = open(&database, Settings { language: "english".to_owned(), ..Settings::default() });
        index(&english).await;
        assert_eq!(search(&english, &juliet(), "window breaks").await, [id]);
        // Nothing is left of words that the language does not search for.
        assert_eq!(search(&english, &juliet(), "the").await, []);
        let store = Store(database.clone());
        assert!(store.knows_language("german").await.unwrap());
        assert!(!store.knows_language("klingon'; --").await.unwrap());
    }

    async fn a_retraction_leaves_a_tombstone_and_no_words(database: Database) {
        let (archives, _) = open(&database, Settings::default());
        let romeo = jid("romeo@montague.lit/orchard");
        let put = async |owner: &BareJid, peer: &Jid, is_outgoing: bool, stanza: &Stanza| {
            let item = Item { peer, is_outgoing, stanza, in_turn: false };
            archives.retract(owner, &item).await.unwrap();
            archives.put(owner, item).await.unwrap().0
        };
        let to = jid("juliet@capulet.lit");
        let line = "<message type='chat' from='romeo@montague.lit/orchard' to='juliet@capulet.lit' id='m1'>";
        let original = message(&format!("{line}<body>wherefore</body></message>"));
        let (his, hers) = (put(&romeo.to_bare(), &to, true, &original).await, put(&juliet(), &romeo, false, &original).await);
        // The same id, from her to him: not what he retracts.
        let answer = message(
            "<message type='chat' from='juliet@capulet.lit/b' to='romeo@montague.lit' id='m1'><body>wherefore</body></message>",
        );
        let hers_to_him = put(&juliet(), &romeo, true, &answer).await;
        index(&archives).await;
        let retraction = |from: &str| {
            message(&format!(
                "<message type='chat' from='{from}' to='juliet@capulet.lit' id='r1'><body>never mind</body>\
                 <retract xmlns='urn:xmpp:message-retract:1' id='m1'/></message>"
            ))
        };
        let stored = async |owner: &BareJid, id: ArchiveId| {
            let stretch =
                Stretch { after: Some(ArchiveId(id.0 - 1)), before: Some(ArchiveId(id.0 + 1)), newest: false, most: 1 };
            let stanza = archives.read(owner, stretch).await.unwrap().remove(0).stanza;
            String::from_utf8(stanza.to_vec()).unwrap()
        };
        put(&juliet(), &jid("mercutio@montague.lit/x"), false, &retraction("mercutio@montague.lit/x")).await;
        assert!(stored(&juliet(), hers).await.contains("wherefore"));
        put(&juliet(), &romeo, false, &retraction("romeo@montague.lit/tomb")).await;
        put(&romeo.to_bare(), &to, true, &retraction("romeo@montague.lit/tomb")).await;
        for (owner, id) in [(juliet(), hers), (romeo.to_bare(), his)] {
            let tombstone = stored(&owner, id).await;
            assert!(tombstone.contains("<retracted xmlns='urn:xmpp:message-retract:1' id='r1' stamp='"), "{tombstone}");
            assert!(tombstone.contains("id='m1'") && !tombstone.contains("wherefore"), "{tombstone}");
        }
        assert!(stored(&juliet(), hers_to_him).await.contains("wherefore"));
        index(&archives).await;
        assert_eq!(search(&archives, &juliet(), "wherefore").await, [hers_to_him]);
        assert_eq!(search(&archives, &juliet(), "never").await, []);
        assert_eq!(search(&archives, &romeo.to_bare(), "wherefore").await, []);
    }

    async fn what_is_over_is_deleted_where_it_is_over(database: Database) {
        let settings = Settings { keep: Keep::of(Duration::from_secs(30 * 86_400)), ..Settings::default() };
        let (archives, clock) = open(&database, settings);
        clock.set(0);
        let elsewhere = Archives::new(Store(database.clone()), "montague.lit", Settings::default(), clock.next_id());
        let room = jid("balcony@rooms.capulet.lit").to_bare();
        let hall = jid("hall@rooms.capulet.lit").to_bare();
        let romeo = jid("romeo@montague.lit").to_bare();
        let stanza = said("nurse@capulet.lit", "candle");
        for days in [100, 90, 40, 20, 1] {
            clock.set(now() - days * DAY);
            if days == 90 {
                // More than one piece.
                for _ in 0..450 {
                    receive(&archives, &juliet(), &stanza).await;
                }
                continue;
            }
            for owner in [&juliet(), &room, &hall] {
                receive(&archives, owner, &stanza).await;
            }
            receive(&elsewhere, &romeo, &stanza).await;
        }
        archives.keep_for(&room, Some(Duration::from_secs(10 * 86_400))).await.unwrap();
        archives.keep_for(&hall, Some(Duration::MAX)).await.unwrap();
        index(&archives).await;
        assert_eq!(archives.expire(Duration::ZERO).await.unwrap(), 2 + 450 + 3);
        let left = async |archives: &Archives, owner: &BareJid| {
            let stretch = Stretch { after: None, before: None, newest: false, most: 1000 };
            archives.read(owner, stretch).await.unwrap().len()
        };
        assert_eq!(left(&archives, &room).await, 1);
        assert_eq!(left(&archives, &hall).await, 4);
        assert_eq!(left(&archives, &juliet()).await, 2);
        assert_eq!(left(&elsewhere, &romeo).await, 4);
        assert_eq!(search(&archives, &juliet(), "candle").await.len(), 2);
        assert_eq!(archives.expire(Duration::ZERO).await.unwrap(), 0);
        archives.keep_for(&hall, None).await.unwrap();
        assert_eq!(archives.expire(Duration::ZERO).await.unwrap(), 2);
    }

    async fn a_removed_archive_is_gone_at_once_and_deleted_later(database: Database) {
        let (archives, _) = open(&database, Settings::default());
        for _ in 0..3 {
            receive(&archives, &juliet(), &said("romeo@montague.lit", "poison")).await;
            receive(&archives, &nurse(), &said("romeo@montague.lit", "poison")).await;
        }
        archives.prefer(&juliet(), &Preferences { fallback: Some(Fallback::Never), ..Preferences::default() }).await.unwrap();
        index(&archives).await;
        archives.remove(&juliet()).await.unwrap();
        assert_eq!(search(&archives, &juliet(), "poison").await, []);
        // Whoever has the name next begins anew.
        let id = receive(&archives, &juliet(), &said("romeo@montague.lit", "antidote")).await;
        assert_eq!(page(&archives, &juliet(), &query("", "")).await.unwrap().0, [id]);
        assert_eq!(archives.find(&juliet()).await.unwrap().unwrap().preferences, Preferences::default());
        assert_eq!(archives.expire(Duration::ZERO).await.unwrap(), 3);
        assert_eq!(search(&archives, &nurse(), "poison").await.len(), 3);
        assert_eq!(Store(database.clone()).removed(HOST, 10).await.unwrap().len(), 1);
        Store(database.clone()).forget(1, i64::MAX).await.unwrap();
        assert_eq!(Store(database.clone()).removed(HOST, 10).await.unwrap(), [0i64; 0]);
    }

    async fn preferences_are_kept(database: Database) {
        let (archives, _) = open(&database, Settings::default());
        let preferences = Preferences {
            fallback: Some(Fallback::Roster),
            always: vec![jid("romeo@montague.lit/orchard"), jid("montague.lit")],
            never: vec![jid("paris@capulet.lit")],
        };
        archives.prefer(&juliet(), &preferences).await.unwrap();
        assert_eq!(archives.find_or_make(&juliet()).await.unwrap().preferences, preferences);
        assert_eq!(open(&database, Settings::default()).0.find(&juliet()).await.unwrap().unwrap().preferences, preferences);
        assert_eq!(archives.find_or_make(&nurse()).await.unwrap().preferences, Preferences::default());
    }

    async fn what_is_not_committed_is_not_stored(database: Database) {
        let (archives, _) = open(&database, Settings::default());
        receive(&archives, &juliet(), &said("romeo@montague.lit", "x")).await;
        database.close().await;
        let stanza = said("romeo@montague.lit", "y");
        let item = Item { peer: &jid("romeo@montague.lit"), is_outgoing: false, stanza: &stanza, in_turn: true };
        let patience = Duration::from_secs(20);
        let error = tokio::time::timeout(patience, archives.put(&juliet(), item)).await.unwrap().err().unwrap();
        let refusal = Refusal::from(error);
        assert_eq!((refusal.condition.name(), refusal.kind.name()), ("resource-constraint", "wait"));
    }

    async fn messages_of_an_archive_are_delivered_in_turn(database: Database) {
        let (archives, _) = open(&database, Settings::default());
        let stanza = said("romeo@montague.lit", "x");
        let peer = jid("romeo@montague.lit");
        let put = async || {
            let item = Item { peer: &peer, is_outgoing: false, stanza: &stanza, in_turn: true };
            let (id, turn) = archives.put(&juliet(), item).await.unwrap();
            (id, turn.expect("a turn"))
        };
        let (first, one) = put().await;
        let (second, mut other) = put().await;
        assert!(first < second);
        let moment = Duration::from_millis(30);
        assert!(tokio::time::timeout(moment, other.come()).await.is_err());
        drop(one);
        tokio::time::timeout(Duration::from_secs(1), other.come()).await.unwrap();
    }
}
