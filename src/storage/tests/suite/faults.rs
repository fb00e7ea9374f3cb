//! What happens when the database is killed, stopped, silent or full: bounded answers, and service by itself when it is
//! back.

use std::time::{Duration, Instant};

use waxwing_storage::testing::{fresh, fresh_with};
use waxwing_storage::{Database, Engine, Settings, StorageError, values};

use crate::proxy::Proxy;
use crate::schema::{COUNT, INSERT, ITEMS};

/// No call may take longer, whatever the database does.
const BOUND: Duration = Duration::from_secs(10);

/// Service returns within this time after the database.
const RETURN: Duration = Duration::from_secs(10);

/// Two steps, lest the planner kills first and looks for the right database afterwards.
const KILL_ALL: &str = "WITH others AS MATERIALIZED (SELECT pid FROM pg_stat_activity \
    WHERE datname = current_database() AND pid <> pg_backend_pid()) \
    SELECT count(*) FROM others WHERE pg_terminate_backend(pid, 2000)";

async fn insert(database: &Database, id: i64) -> Result<u64, StorageError> {
    database.execute(INSERT, values![id, id.to_string(), b"body", 0]).await
}

/// Calls until it works again; returns how long that took.
async fn until_back(database: &Database, id: i64) -> Duration {
    let start = Instant::now();
    loop {
        match insert(database, id).await {
            Ok(_) => return start.elapsed(),
            // An earlier attempt was executed although its answer was lost.
            Err(error) if error.is_conflict() => return start.elapsed(),
            Err(error) => assert!(error.is_unavailable(), "{error}"),
        }
        assert!(start.elapsed() < RETURN, "service did not return in time");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn f3_killed_backends_are_noticed_and_replaced() {
    let (database, guard) = fresh_with(Engine::Postgres, &[ITEMS]).await;
    let other = Database::open(&guard.settings).await.unwrap();
    for round in 0..10 {
        // Fill the pool, so that there are several connections to be wrong about.
        let calls: Vec<_> = (0..10)
            .map(|_| {
                let database = database.clone();
                tokio::spawn(async move { database.fetch_all("SELECT pg_sleep(0.02)", &[]).await })
            })
            .collect();
        for call in calls {
            call.await.unwrap().unwrap();
        }
        let killed = other.fetch_optional(KILL_ALL, &[]).await.unwrap().unwrap().integer(0).unwrap();
        assert!(killed >= 5, "{killed} backends killed");
        if round % 2 == 0 {
            // What only reads does not even notice.
            database.fetch_all(COUNT, &[]).await.unwrap();
            insert(&database, round).await.unwrap();
        } else {
            // One statement that writes may fail, because nobody can know whether it was executed.
            if let Err(error) = insert(&database, round).await {
                assert!(error.is_unavailable(), "{error}");
                insert(&database, round).await.unwrap();
            }
        }
    }
    let rows = database.fetch_optional(COUNT, &[]).await.unwrap().unwrap();
    assert_eq!(rows.integer(0).unwrap(), 10);
}

#[tokio::test]
async fn f3_a_transaction_begins_on_a_living_connection_although_the_last_one_was_killed() {
    let (database, guard) = fresh_with(Engine::Postgres, &[ITEMS]).await;
    let other = Database::open(&guard.settings).await.unwrap();
    for id in 0..5 {
        database.fetch_all(COUNT, &[]).await.unwrap();
        other.fetch_all(KILL_ALL, &[]).await.unwrap();
        let mut transaction = database.begin().await.unwrap();
        transaction.execute(INSERT, values![id, id.to_string(), b"", 0]).await.unwrap();
        transaction.commit().await.unwrap();
    }
    // Killed in the middle: nothing of it stays, and the next one works.
    let mut transaction = database.begin().await.unwrap();
    transaction.execute(INSERT, values![10, "ten", b"", 0]).await.unwrap();
    other.fetch_all(KILL_ALL, &[]).await.unwrap();
    let error = transaction.execute(INSERT, values![11, "eleven", b"", 0]).await.unwrap_err();
    assert!(error.is_unavailable(), "{error}");
    assert!(transaction.commit().await.is_err());
    let rows = database.fetch_optional(COUNT, &[]).await.unwrap().unwrap();
    assert_eq!(rows.integer(0).unwrap(), 5);
}

#[tokio::test]
async fn who_gives_up_half_way_harms_nobody_else() {
    let (database, _guard) = fresh_with(Engine::Postgres, &[ITEMS]).await;
    let waverers: Vec<_> = (0..3)
        .map(|_| {
            let database = database.clone();
            tokio::spawn(async move {
                for _ in 0..60 {
                    // Nothing is under way here, and something there.
                    let mut transaction = database.begin().await.unwrap();
                    transaction.execute(INSERT, values![-1, "", b"", 0]).await.unwrap();
                    drop(transaction);
                    let slow = database.execute("SELECT pg_sleep(0.003)", &[]);
                    let _ = tokio::time::timeout(Duration::from_millis(1), slow).await;
                }
            })
        })
        .collect();
    for id in 0..300 {
        insert(&database, id).await.unwrap();
    }
    for waverer in waverers {
        waverer.await.unwrap();
    }
    let rows = database.fetch_optional(COUNT, &[]).await.unwrap().unwrap();
    assert_eq!(rows.integer(0).unwrap(), 300);
}

#[tokio::test]
async fn f3_a_stopped_database_fails_fast_and_returns_by_itself() {
    let (database, guard) = fresh_with(Engine::Postgres, &[ITEMS]).await;
    database.close().await;
    let (mut proxy, settings) = Proxy::to(&guard.settings).await;
    let database = Database::open(&settings).await.unwrap();
    insert(&database, 1).await.unwrap();
    proxy.cut();
    let start = Instant::now();
    assert!(insert(&database, 2).await.unwrap_err().is_unavailable());
    assert!(database.fetch_all(COUNT, &[]).await.err().unwrap().is_unavailable());
    assert!(!database.healthy().await);
    // Nobody waits while it is away: a thousand calls fail in a moment.
    for _ in 0..1000 {
        assert!(database.begin().await.err().unwrap().is_unavailable());
    }
    let took = start.elapsed();
    assert!(took < Duration::from_secs(2), "{took:?}");
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(database.fetch_all(COUNT, &[]).await.err().unwrap().is_unavailable());
    proxy.restore().await;
    let took = until_back(&database, 3).await;
    assert!(took < Duration::from_secs(2), "back after {took:?}");
    let rows = database.fetch_optional(COUNT, &[]).await.unwrap().unwrap();
    assert_eq!(rows.integer(0).unwrap(), 2);
}

#[tokio::test]
async fn f4_a_silent_database_is_given_up_in_bounded_time_and_returns_by_itself() {
    let (database, guard) = fresh_with(Engine::Postgres, &[ITEMS]).await;
    database.close().await;
    let (mut proxy, settings) = Proxy::to(&guard.settings).await;
    let database = Database::open(&settings).await.unwrap();
    insert(&database, 1).await.unwrap();
    proxy.silence();
    // More callers than connections, reading and writing, in the middle of a transaction and before it.
    let start = Instant::now();
    let calls: Vec<_> = (0i64..40)
        .map(|id| {
            let database = database.clone();
            tokio::spawn(async move {
                let start = Instant::now();
                let result = match id % 3 {
                    0 => insert(&database, 100 + id).await.map(|_| ()),
                    1 => database.fetch_all(COUNT, &[]).await.map(|_| ()),
                    _ => match database.begin().await {
                        Ok(mut transaction) => transaction.execute("DELETE FROM items", &[]).await.map(|_| ()),
                        Err(error) => Err(error),
                    },
                };
                (result, start.elapsed())
            })
        })
        .collect();
    for call in calls {
        let (result, took) = call.await.unwrap();
        let error = result.unwrap_err();
        assert!(error.is_unavailable(), "{error}");
        assert!(took < BOUND + Duration::from_millis(500), "{took:?}");
    }
    // From now on at most one waits.
    let quick = Instant::now();
    let mut refused = 0;
    for _ in 0..20 {
        let call = tokio::time::timeout(Duration::from_millis(10), database.fetch_all(COUNT, &[]));
        if let Ok(result) = call.await {
            assert!(result.err().unwrap().is_unavailable());
            refused += 1;
        }
    }
    assert!(refused >= 15, "{refused} of 20 failed fast within {:?}", quick.elapsed());
    assert!(start.elapsed() < Duration::from_secs(20));
    proxy.restore().await;
    let took = until_back(&database, 2).await;
    assert!(took < Duration::from_secs(7), "back after {took:?}");
}

#[tokio::test]
async fn f4_a_stall_shorter_than_a_statement_may_take_is_only_slow() {
    let (database, guard) = fresh_with(Engine::Postgres, &[ITEMS]).await;
    database.close().await;
    let (mut proxy, settings) = Proxy::to(&guard.settings).await;
    let database = Database::open(&settings).await.unwrap();
    insert(&database, 1).await.unwrap();
    proxy.silence();
    let call = tokio::spawn({
        let database = database.clone();
        async move { insert(&database, 2).await }
    });
    tokio::time::sleep(Duration::from_millis(1500)).await;
    proxy.restore().await;
    call.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_connection_that_was_cancelled_on_a_silent_line_does_not_hold_its_place_for_ever() {
    let (database, guard) = fresh_with(Engine::Postgres, &[ITEMS]).await;
    database.close().await;
    let (mut proxy, settings) = Proxy::to(&guard.settings).await;
    let patience = Duration::from_millis(300);
    let settings =
        Settings { connections: Some(2), acquire_timeout: patience, statement_timeout: patience, ..settings };
    let database = Database::open(&settings).await.unwrap();
    proxy.silence();
    for _ in 0..2 {
        let _ = tokio::time::timeout(Duration::from_millis(20), insert(&database, 1)).await;
    }
    tokio::time::sleep(patience * 3).await;
    proxy.restore().await;
    until_back(&database, 2).await;
}

#[tokio::test]
async fn connections_are_reused_and_bounded() {
    let (database, guard) = fresh_with(Engine::Postgres, &[ITEMS]).await;
    database.close().await;
    let (proxy, settings) = Proxy::to(&guard.settings).await;
    let database = Database::open(&Settings { connections: Some(3), ..settings }).await.unwrap();
    for id in 0..50 {
        insert(&database, id).await.unwrap();
    }
    assert_eq!(proxy.accepted(), 1, "one after the other needs one connection");
    let calls: Vec<_> = (50..100)
        .map(|id| {
            let database = database.clone();
            tokio::spawn(async move { insert(&database, id).await })
        })
        .collect();
    for call in calls {
        call.await.unwrap().unwrap();
    }
    assert!(proxy.accepted() <= 3, "{} connections", proxy.accepted());
}

#[tokio::test]
async fn a_statement_that_runs_too_long_is_ended_and_the_next_one_works() {
    let (database, guard) = fresh(Engine::Postgres).await;
    drop(database);
    let statement_timeout = Duration::from_millis(400);
    let database = Database::open(&Settings { statement_timeout, ..guard.settings.clone() }).await.unwrap();
    let start = Instant::now();
    let error = database.execute("SELECT pg_sleep(30)", &[]).await.unwrap_err();
    assert!(error.is_unavailable(), "{error}");
    assert!(start.elapsed() < Duration::from_secs(1), "{:?}", start.elapsed());
    database.fetch_all("SELECT 1", &[]).await.unwrap();
}

#[tokio::test]
async fn when_all_connections_are_taken_a_caller_waits_no_longer_than_configured() {
    for engine in Engine::ALL {
        let (database, guard) = fresh(engine).await;
        drop(database);
        let acquire_timeout = Duration::from_millis(300);
        let settings = Settings { acquire_timeout, connections: Some(1), ..guard.settings.clone() };
        let database = Database::open(&settings).await.unwrap();
        let held = database.begin().await.unwrap();
        let start = Instant::now();
        let error = database.begin().await.err().unwrap();
        assert!(error.is_unavailable(), "{error}");
        assert!(start.elapsed() < Duration::from_secs(1));
        held.rollback().await.unwrap();
        // It was busy, not away: nobody is refused for that.
        database.begin().await.unwrap().rollback().await.unwrap();
    }
}

#[tokio::test]
async fn a_plan_made_for_an_old_schema_is_made_again() {
    let (database, guard) = fresh_with(Engine::Postgres, &[ITEMS]).await;
    const ALL: &str = "SELECT * FROM items";
    insert(&database, 1).await.unwrap();
    database.fetch_all(ALL, &[]).await.unwrap();
    let other = Database::open(&guard.settings).await.unwrap();
    other.execute("ALTER TABLE items ADD COLUMN more TEXT", &[]).await.unwrap();
    let rows = database.fetch_all(ALL, &[]).await.unwrap();
    assert_eq!(rows[0].optional_text(4).unwrap(), None);
}

#[tokio::test]
async fn f8_a_full_disk_is_unavailable_and_reading_goes_on() {
    let (database, _guard) = fresh_with(Engine::Sqlite, &[ITEMS]).await;
    database.execute("PRAGMA max_page_count = 40", &[]).await.unwrap();
    let body = vec![7u8; 4000];
    let mut written = 0;
    let error = loop {
        match database.execute(INSERT, values![written, written.to_string(), &body, 0]).await {
            Ok(_) => written += 1,
            Err(error) => break error,
        }
        assert!(written < 100);
    };
    assert!(error.is_unavailable(), "{error}");
    let mut transaction = database.begin().await.unwrap();
    let error = transaction.execute(INSERT, values![1000, "x", &body, 0]).await.unwrap_err();
    assert!(error.is_unavailable(), "{error}");
    drop(transaction);
    let rows = database.fetch_optional(COUNT, &[]).await.unwrap().unwrap();
    assert_eq!(rows.integer(0).unwrap(), written);
    database.execute("PRAGMA max_page_count = 4000", &[]).await.unwrap();
    insert(&database, 1001).await.unwrap();
}

#[tokio::test]
async fn a_file_that_another_process_holds_is_waited_for_and_then_unavailable() {
    let (database, guard) = fresh_with(Engine::Sqlite, &[ITEMS]).await;
    let statement_timeout = Duration::from_millis(500);
    let other = Database::open(&Settings { statement_timeout, ..guard.settings.clone() }).await.unwrap();
    let mut held = database.begin().await.unwrap();
    held.execute(INSERT, values![1, "held", b"", 0]).await.unwrap();
    let start = Instant::now();
    let error = insert(&other, 2).await.unwrap_err();
    assert!(error.is_unavailable(), "{error}");
    assert!(start.elapsed() < Duration::from_secs(1), "{:?}", start.elapsed());
    // Reading is not held up.
    let rows = other.fetch_optional(COUNT, &[]).await.unwrap().unwrap();
    assert_eq!(rows.integer(0).unwrap(), 0);
    let waiting = tokio::spawn(async move { insert(&other, 2).await });
    tokio::time::sleep(Duration::from_millis(100)).await;
    held.commit().await.unwrap();
    waiting.await.unwrap().unwrap();
}
