//! The suite of the tables of rooms, run on both engines.

use waxwing_core::storage::on_both_engines;

use super::*;
use crate::configuration::Preset;
use crate::hats::{Hat, Hats};

fn jid(text: &str) -> BareJid {
    BareJid::new(text).expect("an address")
}

fn room(name: &str) -> BareJid {
    jid(&format!("{name}@rooms.lit"))
}

fn owner() -> BareJid {
    jid("crone1@shakespeare.lit")
}

fn entry(affiliation: Affiliation, version: i64) -> Affiliated {
    Affiliated { affiliation, nick: None, reason: None, version }
}

fn message(xml: &str) -> Stanza {
    Stanza::read(element(xml.to_owned()).unwrap()).unwrap().unwrap()
}

/// Records with everything that can stand in them.
fn full() -> Records {
    let configuration = Configuration {
        name: "A 'Dark' <Cave> ♚".to_owned(),
        password: Some("cauldron\"burn\\".to_owned()),
        slow_mode: 20,
        ..Configuration::of(Preset::PublicChannel)
    };
    let mut records = Records::new(configuration, &owner(), 1000);
    let nick = Nick::new(ResourcePart::new("Third Witch ♛").unwrap().into_owned());
    let hag = Affiliated {
        nick: Some(nick),
        reason: Some("a 'worthy' \"witch\"".to_owned()),
        ..entry(Affiliation::Member, 1002)
    };
    records.affiliations.set(jid("hag66@shakespeare.lit"), hag);
    records.affiliations.set(jid("spam.lit"), entry(Affiliation::Outcast, 1003));
    records.version = 1003;
    let subject = message(
        "<message from='coven@rooms.lit/secondwitch' id='s1' type='groupchat' xml:lang='en'><subject>Fire &amp; Burn</subject>\
         <subject xml:lang='de'>Feuer</subject></message>",
    );
    records.subject = Some(Subject { message: subject, at: 1_700_000_000_123 });
    records.avatar = vec!["a31c4bd04de69663cfd7f424a8453f4674da37ff".to_owned()];
    let mut hats = Hats::default();
    hats.put(Hat { uri: "urn:hat".to_owned(), title: "Host".to_owned(), hue: Some("327.2".to_owned()) });
    hats.assign(owner(), "urn:hat");
    records.hats = hats;
    records
}

async fn create(store: &Store, name: &str, records: Records) {
    store.commit(&room(name), &[Change::Created(Box::new(records))], 0).await.unwrap();
}

async fn read(store: &Store, name: &str) -> Records {
    match store.read(&room(name)).await.unwrap() {
        Found::Room(records) => *records,
        other => panic!("{name}: {other:?}"),
    }
}

fn assert_same(one: &Records, other: &Records) {
    assert_eq!(one.configuration, other.configuration);
    assert_eq!(one.affiliations, other.affiliations);
    assert_eq!((one.version, one.forgotten, one.created), (other.version, other.forgotten, other.created));
    assert_eq!((&one.avatar, &one.hats), (&other.avatar, &other.hats));
    let subject = |records: &Records| records.subject.as_ref().map(|subject| (subject.message.to_bytes(), subject.at));
    assert_eq!(subject(one), subject(other));
}

on_both_engines! {
    [MIGRATIONS];

    async fn a_room_is_read_as_it_was_written(database: Database) {
        let store = Store(database);
        assert!(matches!(store.read(&room("coven")).await.unwrap(), Found::Nothing));
        create(&store, "coven", full()).await;
        assert_same(&read(&store, "coven").await, &full());
        create(&store, "heath", Records::new(Configuration::default(), &owner(), 7)).await;
        assert_same(&read(&store, "coven").await, &full());
    }

    async fn changes_take_effect_together(database: Database) {
        let store = Store(database);
        create(&store, "coven", full()).await;
        let mut expected = full();
        expected.configuration = Configuration { name: "B".to_owned(), ..Configuration::default() };
        let hecate = (jid("hecate@shakespeare.lit"), entry(Affiliation::Admin, 1004));
        let hag = (jid("hag66@shakespeare.lit"), entry(Affiliation::None, 1005));
        for (account, entry) in [&hecate, &hag] {
            expected.affiliations.set(account.clone(), entry.clone());
        }
        expected.version = 1005;
        let subject = Subject { message: message("<message from='coven@rooms.lit/x' type='groupchat'><subject/></message>"), at: 5 };
        expected.subject = Some(subject.clone());
        expected.hats = Hats::default();
        let changes = [
            Change::Configured(Box::new(expected.configuration.clone())),
            Change::Affiliated(vec![hecate, hag]),
            Change::Subject(subject),
            Change::Hats(Hats::default()),
        ];
        store.commit(&room("coven"), &changes, 0).await.unwrap();
        assert_same(&read(&store, "coven").await, &expected);
        // One that fails takes all with it.
        let broken = Affiliated { nick: Some(Nick::new(ResourcePart::new("x").unwrap().into_owned())), ..entry(Affiliation::Owner, 1) };
        let bad = Change::Configured(Box::new(Configuration { name: "nul\0".to_owned(), ..Configuration::default() }));
        let changes = [Change::Affiliated(vec![(jid("hecate@shakespeare.lit"), broken)]), bad];
        assert!(store.commit(&room("coven"), &changes, 0).await.is_err());
        assert_same(&read(&store, "coven").await, &expected);
    }

    async fn those_who_were_removed_are_forgotten_up_to_a_version(database: Database) {
        let store = Store(database);
        create(&store, "coven", full()).await;
        let gone = |number: i64| (jid(&format!("user{number}@a.lit")), entry(Affiliation::None, number));
        store.commit(&room("coven"), &[Change::Affiliated(vec![gone(2000), gone(2001), gone(2002)])], 0).await.unwrap();
        store.commit(&room("coven"), &[Change::Forgotten(2001)], 0).await.unwrap();
        let records = read(&store, "coven").await;
        assert_eq!((records.forgotten, records.version), (2001, 2002));
        assert_eq!(records.affiliations.since(1003).count(), 1);
        assert_eq!(records.affiliations.count(), 3);
    }

    async fn a_card_is_kept_beside_the_room(database: Database) {
        let store = Store(database);
        create(&store, "coven", full()).await;
        assert_eq!(store.card(&room("coven")).await.unwrap(), None);
        let card = Bytes::from_static(b"<vCard xmlns='vcard-temp'><FN>x</FN></vCard>");
        store.commit(&room("coven"), &[Change::Card(Some(card.clone()), vec!["hash".to_owned()])], 0).await.unwrap();
        assert_eq!(store.card(&room("coven")).await.unwrap(), Some(card));
        assert_eq!(read(&store, "coven").await.avatar, ["hash"]);
        store.commit(&room("coven"), &[Change::Card(None, vec![])], 0).await.unwrap();
        assert_eq!(store.card(&room("coven")).await.unwrap(), None);
    }

    async fn a_destroyed_room_leaves_its_name_sealed(database: Database) {
        let store = Store(database);
        create(&store, "coven", full()).await;
        store.commit(&room("coven"), &[Change::Destroyed { sealed: true }], 77).await.unwrap();
        assert!(matches!(store.read(&room("coven")).await.unwrap(), Found::Sealed(77)));
        assert_eq!(store.owned(&owner()).await.unwrap(), 0);
        assert_eq!(store.count(room("coven").domain()).await.unwrap(), 0);
        store.unseal(room("coven").domain(), 77).await.unwrap();
        assert!(matches!(store.read(&room("coven")).await.unwrap(), Found::Sealed(77)));
        store.unseal(room("coven").domain(), 78).await.unwrap();
        assert!(matches!(store.read(&room("coven")).await.unwrap(), Found::Nothing));
    }

    async fn a_room_that_was_not_sealed_may_be_made_again(database: Database) {
        let store = Store(database);
        create(&store, "coven", full()).await;
        store.commit(&room("coven"), &[Change::Destroyed { sealed: false }], 77).await.unwrap();
        assert!(matches!(store.read(&room("coven")).await.unwrap(), Found::Nothing));
        create(&store, "coven", full()).await;
        store.commit(&room("coven"), &[Change::Destroyed { sealed: true }], 77).await.unwrap();
        let plain = Records::new(Configuration::default(), &jid("new@a.lit"), 9);
        create(&store, "coven", plain.clone()).await;
        assert_same(&read(&store, "coven").await, &plain);
        assert_eq!(store.owned(&owner()).await.unwrap(), 0);
    }

    async fn public_rooms_are_listed_by_pages_in_both_directions(database: Database) {
        let store = Store(database);
        for name in ["c", "a", "e", "b", "d", "Ä"] {
            create(&store, name, full()).await;
        }
        create(&store, "hidden", Records::new(Configuration::default(), &owner(), 1)).await;
        create(&store, "gone", full()).await;
        store.commit(&room("gone"), &[Change::Destroyed { sealed: true }], 1).await.unwrap();
        let elsewhere = jid("x@elsewhere.lit");
        store.commit(&elsewhere, &[Change::Created(Box::new(full()))], 0).await.unwrap();
        let service = room("a").domain().to_owned();
        let (store, service) = (&store, &service);
        let names = |page| async move {
            let listed = store.list(service, page, 2).await.unwrap();
            listed.iter().map(|(room, name)| {
                assert_eq!(name, "A 'Dark' <Cave> ♚");
                room.node().unwrap().as_str().to_owned()
            }).collect::<String>()
        };
        assert_eq!(names(Page::After("")).await, "ab");
        assert_eq!(names(Page::After("b@rooms.lit")).await, "cd");
        assert_eq!(names(Page::After("d@rooms.lit")).await, "eä");
        assert_eq!(names(Page::Last).await, "eä");
        assert_eq!(names(Page::Before("d@rooms.lit")).await, "bc");
        assert_eq!(names(Page::Before("b@rooms.lit")).await, "a");
        assert_eq!(store.count(service).await.unwrap(), 6);
    }

    async fn the_rooms_of_an_account_are_found(database: Database) {
        let store = Store(database);
        for name in ["a", "b", "c"] {
            create(&store, name, full()).await;
        }
        assert_eq!(store.owned(&owner()).await.unwrap(), 3);
        assert_eq!(store.owned(&jid("hag66@shakespeare.lit")).await.unwrap(), 0);
        let left = Change::Affiliated(vec![(jid("hag66@shakespeare.lit"), entry(Affiliation::None, 2000))]);
        store.commit(&room("b"), &[left], 0).await.unwrap();
        let rooms = store.rooms_of(&jid("hag66@shakespeare.lit"), "", 10).await.unwrap();
        assert_eq!(rooms, [room("a"), room("c")]);
        assert_eq!(store.rooms_of(&owner(), "a@rooms.lit", 1).await.unwrap(), [room("b")]);
    }

    async fn when_something_was_said_and_who_was_there_is_noted_and_never_goes_back(database: Database) {
        let store = Store(database);
        let hag = jid("hag66@shakespeare.lit");
        for name in ["a", "b"] {
            create(&store, name, full()).await;
        }
        let service = room("a");
        let service = service.domain();
        let activity = async |account: &BareJid| store.activity(account, service, 10).await.unwrap();
        assert_eq!(activity(&hag).await, [(room("a"), 0, 0), (room("b"), 0, 0)]);
        assert_eq!(activity(&jid("spam.lit")).await, [], "an outcast is told of nothing");
        store.note_activity(&room("a"), 50, &[(hag.clone(), 40), (owner(), 30), (jid("x@y"), 5)]).await.unwrap();
        store.note_activity(&room("a"), 45, &[(hag.clone(), 35)]).await.unwrap();
        store.note_activity(&room("b"), 60, &[]).await.unwrap();
        assert_eq!(activity(&hag).await, [(room("a"), 50, 40), (room("b"), 60, 0)]);
        assert_eq!(activity(&owner()).await[0], (room("a"), 50, 30));
        assert_eq!(store.activity(&hag, service, 1).await.unwrap().len(), 1);
        assert_eq!(store.activity(&hag, jid("other.lit").domain(), 10).await.unwrap(), []);
        // What is noted of a member stays when he becomes an admin, and goes with the room.
        let admin = Change::Affiliated(vec![(hag.clone(), entry(Affiliation::Admin, 2000))]);
        store.commit(&room("a"), &[admin, Change::Configured(Box::default())], 0).await.unwrap();
        assert_eq!(activity(&hag).await[0], (room("a"), 50, 40));
        store.commit(&room("a"), &[Change::Destroyed { sealed: true }], 0).await.unwrap();
        store.commit(&room("b"), &[Change::Destroyed { sealed: false }], 0).await.unwrap();
        assert_eq!(activity(&hag).await, []);
        create(&store, "a", full()).await;
        assert_eq!(activity(&hag).await, [(room("a"), 0, 0)]);
    }

    async fn temporary_rooms_that_outlived_their_occupants_are_swept(database: Database) {
        let store = Store(database);
        for name in ["awake", "left", "over"] {
            create(&store, name, Records::new(Configuration::of(Preset::Temporary), &owner(), 1)).await;
        }
        create(&store, "kept", full()).await;
        let mut swept = store.sweep(room("kept").domain(), |room| room.node().unwrap().as_str() == "awake").await.unwrap();
        swept.sort();
        assert_eq!(swept, [room("left"), room("over")]);
        assert!(matches!(store.read(&room("left")).await.unwrap(), Found::Nothing));
        assert!(matches!(store.read(&room("awake")).await.unwrap(), Found::Room(_)));
        assert!(matches!(store.read(&room("kept")).await.unwrap(), Found::Room(_)));
        assert_eq!(store.owned(&owner()).await.unwrap(), 2);
    }

    async fn f31_what_cannot_be_read_is_left_out_and_the_room_stands(database: Database) {
        let store = Store(database.clone());
        create(&store, "coven", full()).await;
        for sql in [
            "UPDATE muc_rooms SET configuration = 'no json', hats = '7', subject = 'x' WHERE address = 'coven@rooms.lit'",
            "UPDATE muc_affiliations SET affiliation = 9 WHERE account = 'spam.lit'",
        ] {
            let sql = if database.engine() == Engine::Postgres { sql } else { sql_for_sqlite(sql) };
            database.execute(sql, &[]).await.unwrap();
        }
        let records = read(&store, "coven").await;
        assert_eq!(records.configuration, Configuration::default());
        assert!(records.configuration.members_only, "when in doubt, nobody else comes in");
        assert!(records.subject.is_none() && records.affiliations.has_owner());
        assert_eq!(records.affiliations.count(), 2);
    }
}

/// SQLite's strict tables want a blob where PostgreSQL reads a text as bytes.
fn sql_for_sqlite(sql: &'static str) -> &'static str {
    if sql.contains("subject = 'x'") {
        "UPDATE muc_rooms SET configuration = 'no json', hats = '7', subject = x'78' WHERE address = 'coven@rooms.lit'"
    } else {
        sql
    }
}
