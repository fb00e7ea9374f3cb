//! Common transactions: order, whom a failure concerns, how much may wait, what happens while the database is away.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::time::timeout;
use waxwing_storage::testing::fresh_with;
use waxwing_storage::{
    Batch, Database, Engine, GroupCommit, GroupCommitSettings, Receipt, Settings, StorageError, on_both_engines, values,
};

use crate::proxy::Proxy;
use crate::schema::{COUNT, ITEMS};

type Line = (i64, String);

/// Writes lines, and counts its transactions.
#[derive(Default, Clone)]
struct Lines {
    batches: Arc<AtomicUsize>,
    largest: Arc<AtomicUsize>,
    repeatable: bool,
    pause: Duration,
    stuck: Arc<AtomicBool>,
}

impl Batch<Line> for Lines {
    async fn write(&self, database: &Database, rows: &[Line]) -> Result<(), StorageError> {
        self.batches.fetch_add(1, Ordering::Relaxed);
        self.largest.fetch_max(rows.len(), Ordering::Relaxed);
        tokio::time::sleep(self.pause).await;
        while self.stuck.load(Ordering::Relaxed) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert!(rows.iter().all(|(_, label)| label != "panic"), "asked to");
        let statement = match (database.engine(), self.repeatable) {
            (Engine::Sqlite, _) => "INSERT INTO items (id, label) VALUES ($1, $2)",
            (Engine::Postgres, false) => "INSERT INTO items (id, label) SELECT * FROM UNNEST($1, $2)",
            (Engine::Postgres, true) => {
                "INSERT INTO items (id, label) SELECT * FROM UNNEST($1, $2) ON CONFLICT (id) DO NOTHING"
            }
        };
        match database.engine() {
            Engine::Sqlite => {
                let mut transaction = database.begin().await?;
                for (id, label) in rows {
                    transaction.execute(statement, values![*id, label]).await?;
                }
                transaction.commit().await
            }
            Engine::Postgres => {
                let ids: Vec<i64> = rows.iter().map(|(id, _)| *id).collect();
                let labels: Vec<&str> = rows.iter().map(|(_, label)| label.as_str()).collect();
                database.execute(statement, values![&ids, &labels]).await.map(|_| ())
            }
        }
    }

    fn can_undo(&self) -> bool {
        self.repeatable
    }

    async fn undo(&self, database: &Database, rows: &[Line]) -> Result<(), StorageError> {
        let ids: Vec<i64> = rows.iter().map(|(id, _)| *id).collect();
        let statement = match database.engine() {
            Engine::Sqlite => "DELETE FROM items WHERE id IN (SELECT value FROM json_each($1))",
            Engine::Postgres => "DELETE FROM items WHERE id = ANY($1)",
        };
        database.execute(statement, values![&ids]).await.map(|_| ())
    }

    fn is_repeatable(&self) -> bool {
        self.repeatable
    }

    fn size(&self, (_, label): &Line) -> usize {
        label.len()
    }
}

fn line(id: i64) -> Line {
    (id, id.to_string())
}

async fn count(database: &Database) -> i64 {
    database.fetch_optional(COUNT, &[]).await.unwrap().unwrap().integer(0).unwrap()
}

on_both_engines! {
    [ITEMS];

    async fn rows_of_many_callers_share_transactions(database: Database) {
        let lines = Lines { pause: Duration::from_millis(5), ..Lines::default() };
        let settings = GroupCommitSettings { batch_rows: 64, ..GroupCommitSettings::default() };
        let writer = GroupCommit::start(database.clone(), &settings, lines.clone());
        let callers: Vec<_> = (0..300)
            .map(|id| {
                let (writer, database) = (writer.clone(), database.clone());
                tokio::spawn(async move {
                    writer.write(line(id)).await.unwrap();
                    // Whoever was answered finds the row.
                    let found = database.fetch_optional("SELECT label FROM items WHERE id = $1", values![id]).await.unwrap();
                    assert_eq!(found.unwrap().text(0).unwrap(), id.to_string());
                })
            })
            .collect();
        for caller in callers {
            caller.await.unwrap();
        }
        let batches = lines.batches.load(Ordering::Relaxed);
        assert!((5..100).contains(&batches), "{batches} transactions for 300 rows");
        assert_eq!(lines.largest.load(Ordering::Relaxed), 64);
    }

    async fn an_idle_writer_does_not_wait_for_company(database: Database) {
        let writer = GroupCommit::start(database.clone(), &GroupCommitSettings::default(), Lines::default());
        writer.write(line(0)).await.unwrap();
        let start = Instant::now();
        for id in 1..11 {
            writer.write(line(id)).await.unwrap();
        }
        assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    }

    async fn the_order_of_one_caller_is_kept(database: Database) {
        database.execute("CREATE TABLE journal (place BIGINT, id BIGINT)", &[]).await.unwrap();
        struct Journal(AtomicUsize);
        impl Batch<i64> for Journal {
            async fn write(&self, database: &Database, rows: &[i64]) -> Result<(), StorageError> {
                let mut transaction = database.begin().await?;
                for id in rows {
                    let place = self.0.fetch_add(1, Ordering::Relaxed) as i64;
                    transaction.execute("INSERT INTO journal (place, id) VALUES ($1, $2)", values![place, *id]).await?;
                }
                transaction.commit().await
            }
        }
        let settings = GroupCommitSettings { batch_rows: 7, ..GroupCommitSettings::default() };
        let writer = GroupCommit::start(database.clone(), &settings, Journal(AtomicUsize::new(0)));
        let mut receipts = Vec::new();
        for id in 0..100i64 {
            receipts.push(writer.submit(id).await.unwrap());
        }
        for receipt in receipts {
            receipt.committed().await.unwrap();
        }
        let rows = database.fetch_all("SELECT id FROM journal ORDER BY place", &[]).await.unwrap();
        let order: Vec<i64> = rows.iter().map(|row| row.integer(0).unwrap()).collect();
        assert_eq!(order, (0..100).collect::<Vec<_>>());
    }

    async fn one_bad_row_fails_alone(database: Database) {
        database.execute("INSERT INTO items (id, label) VALUES (13, 'in the way')", &[]).await.unwrap();
        let lines = Lines::default();
        lines.stuck.store(true, Ordering::Relaxed);
        let writer = GroupCommit::start(database.clone(), &GroupCommitSettings::default(), lines.clone());
        let mut receipts = Vec::new();
        for id in 0..50 {
            let label = if id == 31 { "panic".to_owned() } else { id.to_string() };
            receipts.push(writer.submit((id, label)).await.unwrap());
        }
        lines.stuck.store(false, Ordering::Relaxed);
        for (id, receipt) in receipts.into_iter().enumerate() {
            match (id, receipt.committed().await) {
                (13, result) => assert!(result.unwrap_err().is_conflict()),
                (31, result) => assert!(matches!(result.unwrap_err(), StorageError::Other(_))),
                (_, result) => result.unwrap(),
            }
        }
        assert_eq!(count(&database).await, 49);
        writer.write(line(99)).await.unwrap();
    }

    async fn f18_closing_writes_what_was_taken(database: Database) {
        let lines = Lines { pause: Duration::from_millis(20), ..Lines::default() };
        let settings = GroupCommitSettings { batch_rows: 10, ..GroupCommitSettings::default() };
        let writer = GroupCommit::start(database.clone(), &settings, lines);
        let mut receipts = Vec::new();
        for id in 0..100 {
            receipts.push(writer.submit(line(id)).await.unwrap());
        }
        writer.close().await;
        assert_eq!(count(&database).await, 100);
        for receipt in receipts {
            receipt.committed().await.unwrap();
        }
        assert!(writer.write(line(100)).await.unwrap_err().is_unavailable());
    }

    async fn the_writer_ends_with_its_last_user_and_loses_nothing(database: Database) {
        let writer = GroupCommit::start(database.clone(), &GroupCommitSettings::default(), Lines::default());
        let mut receipts = Vec::new();
        for id in 0..20 {
            receipts.push(writer.submit(line(id)).await.unwrap());
        }
        drop(writer);
        for receipt in receipts {
            receipt.committed().await.unwrap();
        }
        assert_eq!(count(&database).await, 20);
    }

    async fn what_waits_is_bounded_in_rows_and_in_bytes(database: Database) {
        let lines = Lines::default();
        lines.stuck.store(true, Ordering::Relaxed);
        let patience = Duration::from_secs(60);
        for (settings, label) in [
            (GroupCommitSettings { waiting_rows: 5, patience, ..GroupCommitSettings::default() }, "short".to_owned()),
            (GroupCommitSettings { waiting_bytes: 5 * 1024, patience, ..GroupCommitSettings::default() }, "x".repeat(1024)),
        ] {
            let writer = GroupCommit::start(database.clone(), &settings, lines.clone());
            let mut receipts = Vec::new();
            // Whoever finds no room waits for it.
            let briefly = Duration::from_millis(200);
            let before = lines.batches.load(Ordering::Relaxed);
            let mut row = 0..;
            let mut next = || writer.submit((row.next().unwrap(), label.clone()));
            while let Ok(taken) = timeout(briefly, next()).await {
                receipts.push(taken.unwrap());
                assert!(receipts.len() < 20, "nothing bounds what waits");
                while lines.batches.load(Ordering::Relaxed) == before {
                    // The writer takes the first one.
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            }
            assert!((5..=6).contains(&receipts.len()), "{} rows were taken", receipts.len());
        }
        let patience = Duration::from_millis(200);
        // Nobody waits for room longer than that either.
        let settings = GroupCommitSettings { waiting_rows: 1, patience, ..GroupCommitSettings::default() };
        let writer = GroupCommit::start(database.clone(), &settings, lines.clone());
        let before = lines.batches.load(Ordering::Relaxed);
        let _first = writer.submit(line(2000)).await.unwrap();
        while lines.batches.load(Ordering::Relaxed) == before {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let _second = writer.submit(line(2001)).await.unwrap();
        assert!(writer.submit(line(2002)).await.err().unwrap().is_unavailable());
        // Rows that waited longer than their patience are refused rather than written late.
        let settings = GroupCommitSettings { batch_rows: 1, patience, ..GroupCommitSettings::default() };
        let writer = GroupCommit::start(database.clone(), &settings, lines.clone());
        let first = writer.submit(line(1000)).await.unwrap();
        tokio::time::sleep(Duration::from_millis(20)).await;
        let second = writer.submit(line(1001)).await.unwrap();
        tokio::time::sleep(patience * 2).await;
        lines.stuck.store(false, Ordering::Relaxed);
        first.committed().await.unwrap();
        assert!(second.committed().await.unwrap_err().is_unavailable());
        let late = database.fetch_optional("SELECT id FROM items WHERE id = $1", values![1001]).await.unwrap();
        assert!(late.is_none());
    }

    async fn limits_that_were_lifted_do_no_harm(database: Database) {
        let settings = GroupCommitSettings {
            batch_rows: usize::MAX,
            waiting_rows: usize::MAX,
            waiting_bytes: usize::MAX,
            patience: Duration::MAX,
            gather: Duration::ZERO,
            lanes: usize::MAX,
        };
        let writer = GroupCommit::start(database.clone(), &settings, Lines::default());
        writer.write(line(1)).await.unwrap();
        assert_eq!(count(&database).await, 1);
    }

    async fn gathering_makes_fewer_transactions(database: Database) {
        let lines = Lines::default();
        let settings = GroupCommitSettings { gather: Duration::from_millis(50), ..GroupCommitSettings::default() };
        let writer = GroupCommit::start(database.clone(), &settings, lines.clone());
        let callers: Vec<_> = (0..20)
            .map(|id| {
                let writer = writer.clone();
                tokio::spawn(async move {
                    tokio::time::sleep(Duration::from_millis(id as u64)).await;
                    writer.write(line(id)).await.unwrap();
                })
            })
            .collect();
        for caller in callers {
            caller.await.unwrap();
        }
        assert!(lines.batches.load(Ordering::Relaxed) <= 8, "{:?}", lines.batches);
    }
}

#[tokio::test]
async fn lanes_write_side_by_side_and_keep_the_order_within() {
    struct Lanes(Arc<AtomicUsize>, Arc<AtomicUsize>);
    impl Batch<(u64, i64)> for Lanes {
        async fn write(&self, database: &Database, rows: &[(u64, i64)]) -> Result<(), StorageError> {
            let now = self.0.fetch_add(1, Ordering::SeqCst) + 1;
            self.1.fetch_max(now, Ordering::SeqCst);
            let owners: Vec<i64> = rows.iter().map(|(owner, _)| *owner as i64).collect();
            let ids: Vec<i64> = rows.iter().map(|(_, id)| *id).collect();
            const MANY: &str = "INSERT INTO journal (owner, id) SELECT owner, id \
                FROM UNNEST($1, $2) WITH ORDINALITY AS row(owner, id, place) ORDER BY place";
            let result = database.execute(MANY, values![&owners, &ids]).await.map(|_| ());
            tokio::time::sleep(Duration::from_millis(3)).await;
            self.0.fetch_sub(1, Ordering::SeqCst);
            result
        }
        fn lane(&self, (owner, _): &(u64, i64)) -> u64 {
            *owner
        }
    }
    let (database, _guard) = fresh_with(Engine::Postgres, &[]).await;
    database
        .execute("CREATE TABLE journal (place BIGINT GENERATED ALWAYS AS IDENTITY, owner BIGINT, id BIGINT)", &[])
        .await
        .unwrap();
    let most = Arc::new(AtomicUsize::new(0));
    let settings = GroupCommitSettings { lanes: 4, batch_rows: 9, ..GroupCommitSettings::default() };
    let writer = GroupCommit::start(database.clone(), &settings, Lanes(Arc::default(), most.clone()));
    let mut receipts = Vec::new();
    for id in 0..200 {
        for owner in 0..8 {
            receipts.push(writer.submit((owner, id)).await.unwrap());
        }
    }
    for receipt in receipts {
        receipt.committed().await.unwrap();
    }
    assert!((2..=4).contains(&most.load(Ordering::SeqCst)), "{most:?} transactions at once");
    for owner in 0..8i64 {
        let rows =
            database.fetch_all("SELECT id FROM journal WHERE owner = $1 ORDER BY place", values![owner]).await.unwrap();
        let ids: Vec<i64> = rows.iter().map(|row| row.integer(0).unwrap()).collect();
        assert_eq!(ids, (0..200).collect::<Vec<_>>(), "archive {owner}");
    }
}

#[tokio::test]
async fn f3_repeatable_rows_outlast_an_outage_without_loss_or_duplicates() {
    let (database, guard) = fresh_with(Engine::Postgres, &[ITEMS]).await;
    let (mut proxy, settings) = Proxy::to(&guard.settings).await;
    let through = Database::open(&settings).await.unwrap();
    let lines = Lines { repeatable: true, ..Lines::default() };
    let writer = GroupCommit::start(through, &GroupCommitSettings::default(), lines);
    writer.write(line(-1)).await.unwrap();
    let mut callers = Vec::new();
    for id in 0..200 {
        if id == 50 {
            proxy.cut();
        }
        if id == 150 {
            tokio::time::sleep(Duration::from_secs(2)).await;
            proxy.restore().await;
        }
        let writer = writer.clone();
        callers.push(tokio::spawn(async move { writer.write(line(id)).await }));
        tokio::task::yield_now().await;
    }
    for caller in callers {
        caller.await.unwrap().unwrap();
    }
    assert_eq!(count(&database).await, 201);
}

#[tokio::test]
async fn f3_rows_that_may_not_be_written_twice_are_refused_at_once() {
    let (_database, guard) = fresh_with(Engine::Postgres, &[ITEMS]).await;
    let (mut proxy, settings) = Proxy::to(&guard.settings).await;
    let through = Database::open(&settings).await.unwrap();
    let writer = GroupCommit::start(through, &GroupCommitSettings::default(), Lines::default());
    writer.write(line(1)).await.unwrap();
    proxy.cut();
    let start = Instant::now();
    assert!(writer.write(line(2)).await.unwrap_err().is_unavailable());
    assert!(start.elapsed() < Duration::from_secs(1), "{:?}", start.elapsed());
    proxy.restore().await;
    tokio::time::sleep(Duration::from_millis(600)).await;
    writer.write(line(3)).await.unwrap();
}

#[tokio::test]
async fn f4_patience_ends_even_while_the_database_is_away() {
    let (_database, guard) = fresh_with(Engine::Postgres, &[ITEMS]).await;
    let (proxy, settings) = Proxy::to(&guard.settings).await;
    let through = Database::open(&settings).await.unwrap();
    let lines = Lines { repeatable: true, ..Lines::default() };
    let patience = Duration::from_millis(1200);
    let settings = GroupCommitSettings { patience, ..GroupCommitSettings::default() };
    let writer = GroupCommit::start(through, &settings, lines);
    writer.write(line(1)).await.unwrap();
    proxy.cut();
    let start = Instant::now();
    assert!(writer.write(line(2)).await.unwrap_err().is_unavailable());
    let took = start.elapsed();
    assert!(took >= patience && took < patience * 2, "{took:?}");
}

/// A writer whose transaction is committed by a server that never gets to say so.
async fn with_a_lost_answer(patience: Duration) -> (Database, Proxy, GroupCommit<Line>, Receipt, impl Sized) {
    let (database, guard) = fresh_with(Engine::Postgres, &[ITEMS]).await;
    let (proxy, settings) = Proxy::to(&guard.settings).await;
    let through = Database::open(&settings).await.unwrap();
    let batch = Lines { repeatable: true, ..Lines::default() };
    let writer =
        GroupCommit::start(through, &GroupCommitSettings { patience, ..GroupCommitSettings::default() }, batch);
    writer.write((1, "before".to_owned())).await.unwrap();
    proxy.lose_the_answer_to(b"last words");
    let receipt = writer.submit((2, "last words".to_owned())).await.unwrap();
    while count(&database).await < 2 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(proxy.has_lost_an_answer());
    proxy.cut();
    (database, proxy, writer, receipt, guard)
}

#[tokio::test]
async fn f3_a_commit_of_which_nobody_heard_is_told_when_the_database_is_back_and_stands_once() {
    let (database, mut proxy, writer, receipt, _guard) = with_a_lost_answer(Duration::from_secs(12)).await;
    let mut told = tokio::spawn(receipt.committed());
    assert!(tokio::time::timeout(Duration::from_millis(700), &mut told).await.is_err(), "nobody knows");
    proxy.restore().await;
    told.await.unwrap().unwrap();
    assert_eq!(count(&database).await, 2);
    writer.write((3, "after".to_owned())).await.unwrap();
    assert_eq!(count(&database).await, 3);
}

#[tokio::test]
async fn f3_what_was_refused_and_had_been_committed_is_taken_away_before_anything_else_is_written() {
    let (database, mut proxy, writer, receipt, _guard) = with_a_lost_answer(Duration::from_millis(300)).await;
    assert!(receipt.committed().await.unwrap_err().is_unavailable());
    assert_eq!(count(&database).await, 2, "it is there, and its sender was told that it is not");
    proxy.restore().await;
    while writer.write((3, "after".to_owned())).await.is_err() {}
    let rows = database.fetch_all("SELECT id FROM items ORDER BY id", &[]).await.unwrap();
    let ids: Vec<i64> = rows.iter().map(|row| row.integer(0).unwrap()).collect();
    assert_eq!(ids, [1, 3]);
}

#[tokio::test]
async fn f3_what_was_refused_is_taken_away_although_nobody_writes() {
    let (database, mut proxy, _writer, receipt, _guard) = with_a_lost_answer(Duration::from_millis(300)).await;
    receipt.committed().await.unwrap_err();
    proxy.restore().await;
    for _ in 0..500 {
        if count(&database).await == 1 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("{} rows", count(&database).await);
}

#[tokio::test]
async fn f4_what_was_given_up_while_the_server_stood_still_does_not_take_effect_behind_its_undoing() {
    let (database, guard) = fresh_with(Engine::Postgres, &[ITEMS]).await;
    let (proxy, settings) = Proxy::to(&guard.settings).await;
    let settings = Settings { statement_timeout: Duration::from_secs(20), ..settings };
    let through = Database::open(&settings).await.unwrap();
    let batch = Lines { repeatable: true, ..Lines::default() };
    let patience = Duration::from_millis(300);
    let writer =
        GroupCommit::start(through, &GroupCommitSettings { patience, ..GroupCommitSettings::default() }, batch);
    writer.write((1, "before".to_owned())).await.unwrap();
    // The row is on its way, and waits for somebody who holds its key.
    let mut other = database.begin().await.unwrap();
    other.execute("INSERT INTO items (id, label) VALUES (2, 'of another')", &[]).await.unwrap();
    let refused = writer.write((2, "given up".to_owned())).await.unwrap_err();
    assert!(refused.is_unavailable(), "{refused}");
    assert!(writer.settled().await.is_ok(), "the other connection is ended although its statement is stuck");
    // Now it would go through.
    other.rollback().await.unwrap();
    writer.write((3, "after".to_owned())).await.unwrap();
    let rows = database.fetch_all("SELECT id FROM items ORDER BY id", &[]).await.unwrap();
    let ids: Vec<i64> = rows.iter().map(|row| row.integer(0).unwrap()).collect();
    assert_eq!(ids, [1, 3]);
    drop(proxy);
}

#[tokio::test]
async fn f4_once_something_was_given_up_nobody_waits_for_long_until_something_is_committed() {
    let (_database, guard) = fresh_with(Engine::Postgres, &[ITEMS]).await;
    let (mut proxy, settings) = Proxy::to(&guard.settings).await;
    let through = Database::open(&settings).await.unwrap();
    let patience = Duration::from_secs(4);
    let settings = GroupCommitSettings { patience, ..GroupCommitSettings::default() };
    let writer = GroupCommit::start(through, &settings, Lines { repeatable: true, ..Lines::default() });
    writer.write(line(1)).await.unwrap();
    proxy.silence();
    let begun = Instant::now();
    let first = writer.submit(line(2)).await.unwrap();
    tokio::time::sleep(Duration::from_millis(1000)).await;
    // Behind it, and refused with it: not four seconds after itself.
    let second = writer.submit(line(3)).await.unwrap();
    assert!(first.committed().await.unwrap_err().is_unavailable());
    let took = begun.elapsed();
    assert!(took >= patience && took < patience + Duration::from_millis(900), "{took:?}");
    assert!(second.committed().await.unwrap_err().is_unavailable());
    let took = begun.elapsed();
    assert!(took < patience + Duration::from_millis(900), "{took:?}");
    let begun = Instant::now();
    assert!(writer.write(line(4)).await.unwrap_err().is_unavailable());
    let took = begun.elapsed();
    assert!(took < Duration::from_millis(1400), "{took:?}");
    proxy.restore().await;
    while writer.write(line(5)).await.is_err() {}
    // And everybody is patient again: one that comes in a short trouble is taken.
    proxy.cut();
    let next = writer.submit(line(6)).await.unwrap();
    tokio::time::sleep(Duration::from_millis(1900)).await;
    proxy.restore().await;
    next.committed().await.unwrap();
}

#[tokio::test]
async fn f3_whoever_reads_waits_until_it_is_known_what_was_written() {
    let (database, mut proxy, writer, receipt, _guard) = with_a_lost_answer(Duration::from_millis(300)).await;
    receipt.committed().await.unwrap_err();
    assert!(writer.settled().await.unwrap_err().is_unavailable());
    proxy.restore().await;
    writer.settled().await.unwrap();
    assert_eq!(count(&database).await, 1, "what was refused is gone before anybody reads");
}

#[tokio::test]
async fn f3_what_is_read_before_a_message_is_stored_is_read_again_while_the_database_is_away() {
    let (_database, guard) = fresh_with(Engine::Postgres, &[ITEMS]).await;
    let (mut proxy, settings) = Proxy::to(&guard.settings).await;
    let through = Database::open(&settings).await.unwrap();
    proxy.cut();
    let reading = {
        let through = through.clone();
        tokio::spawn(async move { through.patiently(|| through.fetch_all(COUNT, &[])).await.map(|rows| rows.len()) })
    };
    tokio::time::sleep(Duration::from_millis(700)).await;
    assert!(!reading.is_finished());
    proxy.restore().await;
    assert_eq!(reading.await.unwrap().unwrap(), 1);
}
