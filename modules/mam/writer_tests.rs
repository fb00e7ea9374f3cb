//! Units of the writer: both copies of a message or none, and what is left of one that was refused too late.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use waxwing_storage::{on_both_engines, values};

use super::*;
use crate::store::MIGRATIONS;

const TEXTS: &str = "SELECT count(*) FROM mam_texts";
const KEYS: &str = "SELECT archive, id FROM mam_messages ORDER BY id";

fn next_id() -> NextId {
    let last = AtomicI64::new(1_000);
    Arc::new(move || last.fetch_add(1, Ordering::Relaxed))
}

fn row(archive: i64, peer: &str) -> Row {
    Row {
        archive,
        peer: peer.into(),
        resource: "".into(),
        reference: 0,
        stanza: b"<message/>".to_vec(),
        words: Some("poison".to_owned()),
        in_turn: true,
        place: Arc::default(),
    }
}

/// No database takes this.
const BAD: &str = "romeo\0@montague.lit";
const GOOD: &str = "romeo@montague.lit";

async fn keys(database: &Database) -> Vec<(i64, i64)> {
    let rows = database.fetch_all(KEYS, values![]).await.unwrap();
    rows.iter().map(|row| (row.integer(0).unwrap(), row.integer(1).unwrap())).collect()
}

on_both_engines! {
    [MIGRATIONS];

    async fn f8_of_a_unit_every_row_is_stored_or_none(database: Database) {
        // For each unit the archives it is for, and which of its rows cannot be stored, if one cannot.
        let unit = (prop::collection::vec(1..5i64, 1..3), prop::option::weighted(0.2, 0..2usize));
        let units = prop::collection::vec(unit, 1..60);
        let writer = Writer::start(Store(database.clone()), next_id(), None, 16);
        let (mut runner, mut stored) = (TestRunner::deterministic(), Vec::new());
        for _ in 0..6 {
            let units = units.new_tree(&mut runner).unwrap().current();
            let mut pending = Vec::new();
            for (archives, bad) in &units {
                let peer = |place| if *bad == Some(place) { BAD } else { GOOD };
                let rows = archives.iter().enumerate().map(|(place, archive)| row(*archive, peer(place))).collect();
                pending.push(writer.submit(rows).await.unwrap());
            }
            for ((archives, bad), pending) in units.into_iter().zip(pending) {
                let is_bad = bad.is_some_and(|place| place < archives.len());
                match pending.committed().await {
                    Ok(told) => {
                        assert!(!is_bad);
                        stored.extend(archives.iter().zip(told).map(|(archive, (id, _))| (*archive, id.0)));
                    }
                    Err(error) => assert!(is_bad, "{error}"),
                }
            }
        }
        // In the order in which they were submitted, and nothing besides.
        assert_eq!(keys(&database).await, stored);
    }

    async fn f3_what_was_refused_and_stored_is_taken_away_with_its_words(database: Database) {
        let store = Store(database.clone());
        let messages = Messages { store: store.clone(), next_id: next_id(), turns: Turns::default(), indexer: None };
        let units = [Unit(vec![row(1, GOOD), row(2, GOOD)]), Unit(vec![row(2, GOOD)]), Unit(vec![row(1, GOOD)])];
        messages.write(&database, &units).await.unwrap();
        // Whoever tries again finds them there, under the same ids.
        messages.write(&database, &units).await.unwrap();
        let before = keys(&database).await;
        assert_eq!(before.len(), 4);
        let cursor = crate::store::Cursor { host: "capulet.lit", writer: 1, language: "simple" };
        store.begin_texts(cursor).await.unwrap();
        let text = |(archive, id): &(i64, i64)| Text { archive: *archive, id: *id, body: "poison".to_owned() };
        let texts: Vec<Text> = before.iter().map(text).collect();
        store.write_texts(cursor, &texts, 2_000).await.unwrap();
        messages.undo(&database, &units[..2]).await.unwrap();
        assert_eq!(keys(&database).await, before[3..]);
        let left = database.fetch_all(TEXTS, values![]).await.unwrap()[0].integer(0).unwrap();
        assert_eq!(left, 1);
        // Nothing is left to be taken away, nor was there ever of what was never tried.
        messages.undo(&database, &units[..2]).await.unwrap();
        messages.undo(&database, &[Unit(vec![row(1, GOOD)])]).await.unwrap();
        assert_eq!(keys(&database).await, before[3..]);
    }

    async fn f3_nobody_waits_for_the_delivery_of_what_was_refused(database: Database) {
        let store = Store(database.clone());
        let messages = Messages { store, next_id: next_id(), turns: Turns::default(), indexer: None };
        let units = [Unit(vec![row(1, GOOD), row(2, GOOD)]), Unit(vec![row(2, GOOD)])];
        messages.write(&database, &units).await.unwrap();
        let Unit(second) = &units[1];
        let mut turn = second[0].place.turn.lock().take().unwrap();
        assert!(tokio::time::timeout(Duration::from_millis(20), turn.come()).await.is_err());
        messages.refused(&units[0]);
        tokio::time::timeout(Duration::from_secs(1), turn.come()).await.unwrap();
    }
}
