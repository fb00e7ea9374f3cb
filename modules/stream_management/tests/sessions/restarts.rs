//! Over a stop of the server, and over a crash.

use std::time::Duration;

use waxwing_core::storage::Engine;

use crate::world::{Word, World};

async fn a_session_goes_on(engine: Engine, host: &'static str) {
    let mut world = World::on(engine, host, "").await;
    let romeo = world.bind("romeo", "orchard").await;
    let mut juliet = world.enabled("juliet", "balcony").await;
    let to = format!("juliet@{host}");
    for text in ["0", "1", "2", "3"] {
        romeo.writes(&to, text).await;
    }
    assert_eq!(juliet.receives_many(2).await, ["0", "1"]);
    juliet.acknowledges().await;
    assert_eq!(juliet.receives().await, "2");
    juliet.says("<presence><show>away</show><priority>5</priority></presence>").await;
    juliet.session.set_interested();
    juliet.session.with_note(|word: &mut Word| word.0 = "O'Romeo\n<é>".to_owned());
    assert_eq!(juliet.asks().await, 1);
    let old = juliet.line.clone();
    // What comes while it waits is stored, too.
    juliet.is_cut_off().await;
    romeo.writes(&format!("{to}/balcony"), "4").await;
    world.restart().await;
    assert!(old.try_next().is_none_or(|element| element.contains(">3<")), "3 had been written");
    // Before its client is back the session is there for everyone.
    let romeo = world.bind("romeo", "orchard").await;
    romeo.writes(&to, "5").await;
    assert_eq!(world.resume(&mut juliet).await, 1);
    assert_eq!(juliet.receives_many(3).await, ["3", "4", "5"]);
    assert_eq!(juliet.session.priority(), Some(5));
    assert_eq!(juliet.session.presence().unwrap().text_of("show").unwrap(), "away");
    assert!(juliet.session.is_interested());
    assert_eq!(juliet.session.with_note(|word: &mut Word| word.0.clone()), "O'Romeo\n<é>");
    assert_eq!(
        world.diary(),
        ["ended orchard", "resumed balcony true"],
        "nobody has seen it go, nothing was kept elsewhere"
    );
    // It is a session like any other: counters go on, it can be cut off, and stopped again.
    juliet.writes(&format!("romeo@{host}/orchard"), "hi").await;
    assert_eq!(juliet.asks().await, 2);
    juliet.acknowledges().await;
    romeo.writes(&to, "6").await;
    world.restart().await;
    assert_eq!(world.resume(&mut juliet).await, 2);
    assert_eq!(juliet.receives().await, "6");
    assert_eq!(juliet.got, ["0", "1", "2", "3", "4", "5", "6"]);
    assert_eq!(world.rows("SELECT session FROM stream_stanzas").await, 0, "what is resumed is stored no more");
    assert_eq!(world.diary(), ["ended orchard", "resumed balcony true"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f18_a_session_goes_on_after_a_restart_on_sqlite() {
    a_session_goes_on(Engine::Sqlite, "sqlite.test").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f18_a_session_goes_on_after_a_restart_on_postgres() {
    a_session_goes_on(Engine::Postgres, "postgres.test").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f18_a_stop_under_load_loses_and_doubles_nothing() {
    let mut world = World::new("load.test").await;
    let mut juliet = world.enabled("juliet", "balcony").await;
    let mut written = 0;
    for _ in 0..5 {
        let romeo = world.bind("romeo", "orchard").await;
        let house = world.house.clone();
        let writing = async {
            // What departs is what was said before the server fell silent: the rest stays with its sender.
            for number in written.. {
                let handled = romeo.session.handled();
                romeo.writes("juliet@load.test", &number.to_string()).await;
                if romeo.session.handled() == handled {
                    return number;
                }
            }
            unreachable!()
        };
        let stopping = async {
            tokio::time::sleep(Duration::from_millis(20)).await;
            house.shut_down(Duration::from_secs(10)).await;
        };
        let (said, ()) = tokio::join!(writing, stopping);
        written = said;
        // Of what was written to her last stream she has read some.
        while let Some(element) = juliet.line.try_next() {
            if element.starts_with("<message") && juliet.received % 7 != 6 {
                juliet.received += 1;
                juliet.got.push(element.split("<body>").nth(1).unwrap().split('<').next().unwrap().to_owned());
            } else if element.starts_with("<message") {
                break;
            }
        }
        world.crash().await;
        world.resume(&mut juliet).await;
        let missing = written - juliet.got.len();
        for piece in 0..missing {
            juliet.receives().await;
            if piece % 100 == 99 {
                juliet.acknowledges().await;
            }
        }
        let expected: Vec<String> = (0..written).map(|number| number.to_string()).collect();
        assert_eq!(juliet.got, expected);
        juliet.acknowledges().await;
    }
    assert!(!world.diary().iter().any(|line| line.starts_with("kept")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_whose_client_does_not_come_back_ends_after_the_restart() {
    let settings = "[modules.stream_management]\nresume_for = '1s'";
    let mut world = World::with("never.test", settings).await;
    let romeo = world.bind("romeo", "orchard").await;
    let juliet = world.enabled("juliet", "balcony").await;
    romeo.writes("juliet@never.test", "0").await;
    romeo.writes("juliet@never.test", "1").await;
    world.restart().await;
    let romeo = world.bind("romeo", "orchard").await;
    romeo.writes("juliet@never.test", "2").await;
    let diary = world.diary_with("ended balcony").await;
    assert_eq!(diary, ["ended orchard", "kept 0", "kept 1", "kept 2", "ended balcony"]);
    assert!(world.try_to_resume("juliet", &juliet.id, 0).await.unwrap_err().contains("item-not-found"));
    for _ in 0..1000 {
        if world.rows("SELECT session FROM stream_stanzas").await == 0 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("what was kept elsewhere is still stored");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f1_after_a_crash_the_client_learns_what_has_arrived() {
    for engine in [Engine::Sqlite, Engine::Postgres] {
        let mut world = World::on(engine, "crash.test", "").await;
        let mut juliet = world.enabled("juliet", "balcony").await;
        for expected in 1..=20 {
            juliet.says(&format!("<presence id='{expected}'/>")).await;
            assert_eq!(juliet.asks().await, expected);
            if expected % 7 == 0 {
                let id = juliet.id.clone();
                world.crash().await;
                let failed = world.try_to_resume("juliet", &id, 0).await.unwrap_err();
                assert!(failed.contains(&format!(" h='{expected}'")) && failed.contains("item-not-found"), "{failed}");
                let failed = world.try_to_resume("tybalt", &id, 0).await.unwrap_err();
                assert!(!failed.contains(" h="), "nobody else learns it: {failed}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f1_a_crash_between_restart_and_resumption_loses_nothing() {
    let mut world = World::new("twice.test").await;
    let romeo = world.bind("romeo", "orchard").await;
    let mut juliet = world.enabled("juliet", "balcony").await;
    romeo.writes("juliet@twice.test", "0").await;
    juliet.receives().await;
    romeo.writes("juliet@twice.test", "1").await;
    romeo.writes("juliet@twice.test", "2").await;
    juliet.asks().await;
    world.restart().await;
    assert_eq!(world.diary(), ["ended orchard"]);
    world.crash().await;
    assert_eq!(world.diary(), ["kept 0", "kept 1", "kept 2"]);
    assert_eq!(world.rows("SELECT session FROM stream_stanzas").await, 0);
    assert!(world.try_to_resume("juliet", &juliet.id, 1).await.unwrap_err().contains("item-not-found"));
    world.restart().await;
    assert!(world.diary().is_empty(), "they are kept once");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sessions_that_cannot_be_resumed_end_when_the_server_stops() {
    let mut world = World::new("plain.test").await;
    let romeo = world.bind("romeo", "orchard").await;
    let mut juliet = world.bind("juliet", "balcony").await;
    juliet.says("<presence/>").await;
    juliet.enable("<enable xmlns='urn:xmpp:sm:3'/>").await;
    romeo.writes("juliet@plain.test", "0").await;
    let line = juliet.line.clone();
    world.restart().await;
    let mut diary = world.diary();
    diary.sort();
    assert_eq!(diary, ["ended balcony", "ended orchard", "kept 0"]);
    let mut last = String::new();
    while let Some(element) = line.try_next() {
        last = element;
    }
    assert_eq!(last, "closed system-shutdown");
    assert_eq!(world.rows("SELECT id FROM stream_sessions").await, 0);
}

/// A die whose throws can be repeated.
struct Die(u64);

impl Die {
    /// A number below `sides`.
    fn throw(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn c27_whatever_happens_in_between_everything_comes_once_and_in_order() {
    let seed = u64::from_le_bytes(waxwing_core::random::bytes());
    for round in 0..8 {
        let mut die = Die(seed.wrapping_add(round));
        let mut world = World::new("dice.test").await;
        let mut romeo = world.bind("romeo", "orchard").await;
        let mut juliet = world.enabled("juliet", "balcony").await;
        let mut story = Vec::new();
        let (mut written, mut said, mut is_connected) = (0, 0, true);
        for _ in 0..60 {
            let step = die.throw(12);
            story.push(step);
            match step {
                0..4 => {
                    let to = if die.throw(2) == 0 { "juliet@dice.test" } else { "juliet@dice.test/balcony" };
                    romeo.writes(to, &written.to_string()).await;
                    written += 1;
                }
                4..6 if is_connected => {
                    for _ in 0..die.throw(4) {
                        if juliet.got.len() < written {
                            juliet.receives().await;
                        }
                    }
                }
                6 if is_connected => juliet.acknowledges().await,
                7 if is_connected => {
                    juliet.says("<presence/>").await;
                    said += 1;
                    if die.throw(2) == 0 {
                        assert_eq!(juliet.asks().await, said, "seed {seed} round {round}: {story:?}");
                    }
                }
                8 if is_connected => {
                    juliet.is_cut_off().await;
                    is_connected = false;
                }
                9 | 10 => {
                    assert_eq!(world.resume(&mut juliet).await, said, "seed {seed} round {round}: {story:?}");
                    is_connected = true;
                }
                11 if die.throw(3) == 0 => {
                    world.restart().await;
                    romeo = world.bind("romeo", "orchard").await;
                    is_connected = false;
                }
                _ => {}
            }
        }
        world.resume(&mut juliet).await;
        while juliet.got.len() < written {
            juliet.receives().await;
        }
        let expected: Vec<String> = (0..written).map(|number| number.to_string()).collect();
        assert_eq!(juliet.got, expected, "seed {seed} round {round}: {story:?}");
        assert!(!world.diary().iter().any(|line| line.starts_with("kept")), "seed {seed} round {round}: {story:?}");
        world.house.shut_down(Duration::from_secs(10)).await;
    }
}
