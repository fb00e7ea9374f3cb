//! The suite of the tables of managed sessions, run on both engines.

use std::time::Duration;

use waxwing_core::storage::on_both_engines;

use super::*;

const HOST: &str = "verona.lit";

fn account(name: &str) -> BareJid {
    BareJid::new(&format!("{name}@{HOST}")).unwrap()
}

fn counted(id: &str, handled: u32, forget: bool) -> Change {
    Change::Counted { id: id.into(), account: account("romeo"), handled, forget }
}

fn session(id: &str, stanzas: &[&str]) -> StoredSession {
    let stanzas = stanzas.iter().enumerate().map(|(place, text)| StoredStanza {
        was_sent: place == 0,
        delivered_at: 1_795_351_919_123 + place as i64,
        notes: if place == 1 { "[]".to_owned() } else { String::new() },
        stanza: text.as_bytes().to_vec(),
    });
    StoredSession {
        id: id.into(),
        account: account("romeo"),
        handled: u32::MAX,
        stored_at: 0,
        details: format!("{{\"of\": \"{id} ' \\\" é\"}}"),
        stanzas: stanzas.collect(),
    }
}

async fn write(database: &Database, changes: &[Change]) {
    Changes::of(HOST).write(database, changes).await.unwrap();
}

async fn stored(database: &Database, sessions: &[StoredSession]) {
    let changes: Vec<Change> = sessions.iter().cloned().map(|session| Change::Stored(Box::new(session))).collect();
    write(database, &changes).await;
}

/// All of a kind, in pages of two.
async fn take(database: &Database, state: State) -> Vec<StoredSession> {
    let store = Store(database.clone());
    let (mut all, mut after) = (Vec::new(), Some(String::new()));
    while let Some(begin) = after {
        let page = store.take(HOST, state, &begin, 2, 1000).await.unwrap();
        assert!(page.sessions.len() <= 2);
        all.extend(page.sessions);
        after = page.next;
    }
    all.into_iter().map(|session| StoredSession { stored_at: 0, ..session }).collect()
}

on_both_engines! {
    [MIGRATIONS];

    async fn f1_the_newest_number_of_a_batch_is_remembered(database: Database) {
        let store = Store(database.clone());
        write(&database, &[counted("a", 1, false), counted("b", 7, false), counted("a", 3, false)]).await;
        write(&database, &[counted("a", 4, false), counted("a", u32::MAX, false)]).await;
        assert_eq!(store.handled("a", &account("romeo")).await.unwrap(), Some(u32::MAX));
        assert_eq!(store.handled("b", &account("romeo")).await.unwrap(), Some(7));
        assert_eq!(store.handled("c", &account("romeo")).await.unwrap(), None);
        // It begins again at 0.
        write(&database, &[counted("a", 0, false)]).await;
        assert_eq!(store.handled("a", &account("romeo")).await.unwrap(), Some(0));
    }

    async fn s27_a_number_is_told_to_its_own_account_only(database: Database) {
        write(&database, &[counted("a", 3, false)]).await;
        assert_eq!(Store(database).handled("a", &account("tybalt")).await.unwrap(), None);
    }

    async fn a_stored_session_is_read_as_it_was_written(database: Database) {
        let sessions = [session("a", &["<message>é'\u{1F600}</message>", "<presence/>", ""]), session("b", &[]), session("c", &["x"])];
        write(&database, &[counted("a", 3, false)]).await;
        stored(&database, &sessions).await;
        assert_eq!(take(&database, State::Stored).await, sessions);
        assert_eq!(Store(database).handled("a", &account("romeo")).await.unwrap(), Some(u32::MAX));
    }

    async fn what_was_taken_counts_as_lost_until_it_is_forgotten_or_stored_again(database: Database) {
        let sessions = [session("a", &["1", "2"]), session("b", &["3"])];
        stored(&database, &sessions).await;
        assert_eq!(take(&database, State::Stored).await.len(), 2);
        assert!(take(&database, State::Stored).await.is_empty());
        assert_eq!(take(&database, State::Lost).await, sessions);
        // One is resumed; the other is stored again when the server stops, with other stanzas.
        write(&database, &[counted("a", 9, true)]).await;
        let again = session("b", &["4", "5"]);
        stored(&database, std::slice::from_ref(&again)).await;
        assert!(take(&database, State::Lost).await.is_empty());
        assert_eq!(take(&database, State::Stored).await, [again]);
        assert_eq!(Store(database).handled("a", &account("romeo")).await.unwrap(), Some(9));
    }

    async fn within_a_batch_the_last_change_of_a_session_counts(database: Database) {
        write(&database, &[Change::Stored(Box::new(session("a", &["1"]))), counted("a", 5, true)]).await;
        assert!(take(&database, State::Stored).await.is_empty());
        write(&database, &[counted("a", 6, true), Change::Stored(Box::new(session("a", &["2"])))]).await;
        assert_eq!(take(&database, State::Stored).await, [session("a", &["2"])]);
    }

    async fn pages_are_bounded_in_bytes_and_hold_one_session_at_least(database: Database) {
        let large = "x".repeat(900);
        let sessions = ["a", "b", "c", "d", "e"].map(|id| session(id, &[&large]));
        stored(&database, &sessions).await;
        let store = Store(database.clone());
        let page = store.take(HOST, State::Stored, "", 4, 500).await.unwrap();
        assert_eq!((page.sessions.len(), page.next.as_deref()), (1, Some("a")));
        let page = store.take(HOST, State::Stored, "a", 4, 2000).await.unwrap();
        assert_eq!((page.sessions.len(), page.next.as_deref()), (2, Some("c")));
        let page = store.take(HOST, State::Stored, "c", 4, 5000).await.unwrap();
        assert_eq!((page.sessions.len(), page.next), (2, None));
    }

    async fn hosts_are_apart(database: Database) {
        stored(&database, &[session("a", &["1"])]).await;
        assert!(Store(database.clone()).take("mantua.lit", State::Stored, "", 10, 1000).await.unwrap().sessions.is_empty());
        assert_eq!(take(&database, State::Stored).await.len(), 1);
    }

    async fn s27_sessions_of_an_account_are_refused_and_deleted(database: Database) {
        let store = Store(database.clone());
        let other = StoredSession { account: account("juliet"), ..session("j", &["9"]) };
        stored(&database, &[session("a", &["1"]), other.clone()]).await;
        store.refuse_account(&account("romeo")).await.unwrap();
        assert_eq!(take(&database, State::Lost).await, [session("a", &["1"])], "its stanzas are not lost");
        store.delete_account(&account("romeo")).await.unwrap();
        assert!(take(&database, State::Lost).await.is_empty());
        assert_eq!(store.handled("a", &account("romeo")).await.unwrap(), None);
        let rows = database.fetch_all("SELECT DISTINCT session FROM stream_stanzas", values![]).await.unwrap();
        assert_eq!(rows.len(), 1);
        assert_eq!(take(&database, State::Stored).await, [other]);
    }

    async fn old_numbers_are_forgotten_and_stored_sessions_are_not(database: Database) {
        let store = Store(database.clone());
        write(&database, &[counted("old", 1, false)]).await;
        stored(&database, &[session("kept", &["1"])]).await;
        tokio::time::sleep(Duration::from_millis(5)).await;
        let between = now_milliseconds();
        write(&database, &[counted("new", 1, false)]).await;
        assert_eq!(store.delete_old("mantua.lit", between).await.unwrap(), 0);
        assert_eq!(store.delete_old(HOST, between).await.unwrap(), 1);
        assert_eq!(store.handled("new", &account("romeo")).await.unwrap(), Some(1));
        assert_eq!(take(&database, State::Stored).await.len(), 1);
    }
}
