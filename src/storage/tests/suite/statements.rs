//! Statements, values, rows and transactions.

use std::time::Duration;

use waxwing_storage::{Database, Engine, Kind, Row, StorageError, Value, on_both_engines, values};

use crate::schema::{COUNT, INSERT, ITEMS};

const BY_ID: &str = "SELECT id, label, body, flag FROM items WHERE id = $1";
const ALL: &str = "SELECT id, label, body, flag FROM items ORDER BY id";

async fn count(database: &Database) -> i64 {
    let row = database.fetch_optional(COUNT, &[]).await.unwrap().unwrap();
    row.integer(0).unwrap()
}

fn shape(row: &Row) -> (i64, Option<String>, Option<Vec<u8>>, i64) {
    (row.integer(0).unwrap(), row.optional_text(1).unwrap(), row.optional_bytes(2).unwrap(), row.integer(3).unwrap())
}

/// What attackers write into text fields, and what breaks careless quoting.
const HOSTILE: [&str; 24] = [
    "'",
    "''",
    "\"",
    "`",
    "\\",
    "\\'",
    ";",
    "--",
    "/*",
    "' OR '1'='1",
    "' OR 1=1 --",
    "'); DROP TABLE items; --",
    "1; DELETE FROM items",
    "$1",
    "$2::text",
    "?",
    ":name",
    "%",
    "_%_",
    "' UNION SELECT id, label, body, flag FROM items --",
    "'||(SELECT label FROM items)||'",
    "\u{feff}ＳＥＬＥＣＴ＇",
    "e\u{301}\u{202e}\u{10ffff}",
    "pg_sleep(10)",
];

on_both_engines! {
    [ITEMS];

    async fn values_come_back_as_they_went_in(database: Database) {
        let body: Vec<u8> = (0..=255).collect();
        assert_eq!(database.execute(INSERT, values![1, "Romeo", &body, true]).await.unwrap(), 1);
        assert_eq!(database.execute(INSERT, values![i64::MIN, "", b"", false]).await.unwrap(), 1);
        let nothing: Option<&str> = None;
        let no_bytes: Option<&[u8]> = None;
        database.execute(INSERT, values![i64::MAX, nothing, no_bytes, 7u8]).await.unwrap();
        let rows = database.fetch_all(ALL, &[]).await.unwrap();
        let rows: Vec<_> = rows.iter().map(shape).collect();
        assert_eq!(
            rows,
            [
                (i64::MIN, Some(String::new()), Some(vec![]), 0),
                (1, Some("Romeo".to_owned()), Some(body), 1),
                (i64::MAX, None, None, 7),
            ]
        );
        assert!(database.fetch_optional(BY_ID, values![2]).await.unwrap().is_none());
    }

    async fn a_null_of_any_kind_can_take_the_place_of_a_value(database: Database) {
        const PUT: &str = "INSERT INTO items (id, label, body, flag) VALUES ($1, $2, $3, COALESCE($4, 9))";
        // The untyped one first: it must not decide the types of the prepared statement (flag is 32 bits wide).
        database.execute(PUT, values![1, Value::Null, Value::Null, Value::Null]).await.unwrap();
        database.execute(PUT, values![2, "two", b"2", 2]).await.unwrap();
        database.execute(PUT, values![3, None::<String>, None::<Vec<u8>>, None::<i64>]).await.unwrap();
        database.execute(PUT, values![4, Value::Missing(Kind::Text), Value::Null, Some(4)]).await.unwrap();
        let rows = database.fetch_all(ALL, &[]).await.unwrap();
        let flags: Vec<i64> = rows.iter().map(|row| row.integer(3).unwrap()).collect();
        assert_eq!(flags, [9, 2, 9, 4]);
        assert_eq!(rows[1].text(1).unwrap(), "two");
        assert_eq!(rows[2].optional_bytes(2).unwrap(), None);
    }

    async fn the_shared_subset_of_sql_works(database: Database) {
        const UPSERT: &str = "INSERT INTO items (id, label) VALUES ($1, $2) \
            ON CONFLICT (id) DO UPDATE SET label = excluded.label, flag = items.flag + 1 RETURNING label, flag";
        for (label, flag) in [("one", 0), ("uno", 1), ("eins", 2)] {
            let row = database.fetch_optional(UPSERT, values![1, label]).await.unwrap().unwrap();
            assert_eq!((row.text(0).unwrap().as_str(), row.integer(1).unwrap()), (label, flag));
        }
        // Places out of order, and one used twice.
        const SWAPPED: &str = "SELECT id FROM items WHERE label = $2 AND id = $1 AND flag <> $1";
        assert!(database.fetch_optional(SWAPPED, values![1, "eins"]).await.unwrap().is_some());
        const IGNORE: &str = "INSERT INTO items (id, label) VALUES ($1, $2) ON CONFLICT DO NOTHING";
        assert_eq!(database.execute(IGNORE, values![1, "x"]).await.unwrap(), 0);
        assert_eq!(database.execute(IGNORE, values![2, "y"]).await.unwrap(), 1);
        let changed = database.execute("UPDATE items SET flag = $1", values![5]).await.unwrap();
        assert_eq!(changed, 2);
        let gone = database.fetch_all("DELETE FROM items WHERE flag = $1 RETURNING id", values![5]).await.unwrap();
        assert_eq!(gone.len(), 2);
        assert_eq!(count(&database).await, 0);
        let sum = database.fetch_optional("SELECT CAST(sum(flag) AS BIGINT) FROM items", &[]).await.unwrap().unwrap();
        assert_eq!(sum.optional_integer(0).unwrap(), None);
    }

    async fn s39_hostile_text_is_kept_as_text(database: Database) {
        for (id, text) in (0i64..).zip(HOSTILE) {
            database.execute(INSERT, values![id, text, text.as_bytes(), 0]).await.unwrap();
        }
        for (id, text) in (0i64..).zip(HOSTILE) {
            const BY_LABEL: &str = "SELECT id, label, body, flag FROM items WHERE label = $1";
            let rows = database.fetch_all(BY_LABEL, values![text]).await.unwrap();
            let rows: Vec<_> = rows.iter().map(shape).collect();
            assert_eq!(rows, [(id, Some(text.to_owned()), Some(text.as_bytes().to_vec()), 0)]);
        }
        let among = match database.engine() {
            Engine::Sqlite => "SELECT label FROM items WHERE label IN (SELECT value FROM json_each($1)) ORDER BY id",
            Engine::Postgres => "SELECT label FROM items WHERE label = ANY($1) ORDER BY id",
        };
        let rows = database.fetch_all(among, values![&HOSTILE[..]]).await.unwrap();
        let found: Vec<String> = rows.iter().map(|row| row.text(0).unwrap()).collect();
        assert_eq!(found, HOSTILE);
        assert_eq!(count(&database).await, HOSTILE.len() as i64);
    }

    async fn s39_a_nul_character_is_refused_on_both_engines(database: Database) {
        let error = database.execute(INSERT, values![1, "a\0b", b"a\0b", 0]).await.unwrap_err();
        assert!(matches!(error, StorageError::Other(_)), "{error}");
        let error = database.fetch_all(BY_ID, values![&["a\0"][..]]).await.err().unwrap();
        assert!(matches!(error, StorageError::Other(_)), "{error}");
        assert_eq!(database.execute(INSERT, values![1, "ab", b"a\0b", 0]).await.unwrap(), 1);
    }

    async fn a_column_of_numbers_can_be_asked_for_at_once(database: Database) {
        for id in 0i64..20 {
            database.execute(INSERT, values![id, format!("n{id}"), None::<&[u8]>, id % 2 == 0]).await.unwrap();
        }
        let among = match database.engine() {
            Engine::Sqlite => "SELECT id FROM items WHERE id IN (SELECT value FROM json_each($1)) ORDER BY id",
            Engine::Postgres => "SELECT id FROM items WHERE id = ANY($1) ORDER BY id",
        };
        let wanted = vec![i64::MIN, 3, 5, 19, i64::MAX];
        let rows = database.fetch_all(among, values![&wanted]).await.unwrap();
        let found: Vec<i64> = rows.iter().map(|row| row.integer(0).unwrap()).collect();
        assert_eq!(found, [3, 5, 19]);
        assert!(database.fetch_all(among, values![&Vec::<i64>::new()]).await.unwrap().is_empty());
    }

    async fn a_batch_is_one_statement_on_postgres_and_one_transaction_on_sqlite(database: Database) {
        let ids: Vec<i64> = (0..500).collect();
        let labels: Vec<String> = ids.iter().map(|id| format!("label {id}")).collect();
        let labels: Vec<&str> = labels.iter().map(String::as_str).collect();
        let bodies: Vec<&[u8]> = labels.iter().map(|label| label.as_bytes()).collect();
        match database.engine() {
            Engine::Postgres => {
                const MANY: &str = "INSERT INTO items (id, label, body) SELECT * FROM UNNEST($1, $2, $3)";
                assert_eq!(database.execute(MANY, values![&ids, &labels, &bodies]).await.unwrap(), 500);
            }
            Engine::Sqlite => {
                let mut transaction = database.begin().await.unwrap();
                for ((id, label), body) in ids.iter().zip(&labels).zip(&bodies) {
                    transaction.execute(INSERT, values![*id, *label, *body, 0]).await.unwrap();
                }
                transaction.commit().await.unwrap();
                let error = database.execute("SELECT $1", values![&bodies]).await.unwrap_err();
                assert!(matches!(error, StorageError::Other(_)), "{error}");
            }
        }
        let row = database.fetch_optional(BY_ID, values![321]).await.unwrap().unwrap();
        assert_eq!(row.bytes(2).unwrap(), b"label 321");
        assert_eq!(count(&database).await, 500);
    }

    async fn a_second_row_with_the_same_key_is_a_conflict(database: Database) {
        database.execute(INSERT, values![1, "Juliet", b"", 0]).await.unwrap();
        for (id, label) in [(1, "Romeo"), (2, "Juliet")] {
            let error = database.execute(INSERT, values![id, label, b"secret", 0]).await.unwrap_err();
            assert!(error.is_conflict() && !error.is_unavailable(), "{error}");
            assert!(!error.to_string().contains(label), "the message must not hold values: {error}");
        }
        assert_eq!(count(&database).await, 1);
    }

    async fn what_the_schema_or_the_grammar_forbids_is_our_fault(database: Database) {
        for sql in ["INSERT INTO items (label) VALUES ('x')", "SELECT nothing FROM items", "SELEKT 1"] {
            let error = database.execute(sql, &[]).await.unwrap_err();
            assert!(matches!(error, StorageError::Other(_)), "{error}");
        }
        assert!(database.healthy().await);
    }

    async fn f31_a_row_that_is_not_what_we_expect_is_corrupt_and_hides_no_other(database: Database) {
        database.execute(INSERT, values![1, "good", b"good", 0]).await.unwrap();
        match database.engine() {
            Engine::Sqlite => {
                let break_it = "INSERT INTO items (id, label, body, flag) VALUES \
                    (2, CAST(X'ff80' AS TEXT), 'text', 'many'), (3, X'00ff', 1.5, 2.5)";
                database.execute(break_it, &[]).await.unwrap();
            }
            Engine::Postgres => {
                database.execute("ALTER TABLE items ADD COLUMN odd DOUBLE PRECISION DEFAULT 1.5", &[]).await.unwrap();
            }
        }
        let rows = database.fetch_all(ALL, &[]).await.unwrap();
        assert_eq!(shape(&rows[0]), (1, Some("good".to_owned()), Some(b"good".to_vec()), 0));
        let corrupt = |error: StorageError, name: &str| {
            let StorageError::Corrupt { column, .. } = &error else { panic!("{error}") };
            assert_eq!(column, name);
        };
        for row in rows.iter().skip(1) {
            corrupt(row.text(1).unwrap_err(), "label");
            corrupt(row.optional_bytes(2).unwrap_err(), "body");
            corrupt(row.integer(3).unwrap_err(), "flag");
        }
        corrupt(rows[0].integer(1).unwrap_err(), "label");
        corrupt(rows[0].text(0).unwrap_err(), "id");
        corrupt(rows[0].bytes(1).unwrap_err(), "label");
        corrupt(rows[0].integer(99).unwrap_err(), "99");
        let null = database.fetch_optional("SELECT NULL AS gone, 1.5 AS odd", &[]).await.unwrap().unwrap();
        corrupt(null.text(0).unwrap_err(), "gone");
        corrupt(null.integer(1).unwrap_err(), "odd");
        corrupt(null.text(1).unwrap_err(), "odd");
    }

    async fn a_transaction_takes_effect_whole_or_not_at_all(database: Database) {
        let mut transaction = database.begin().await.unwrap();
        transaction.execute(INSERT, values![1, "one", b"", 0]).await.unwrap();
        let row = transaction.fetch_optional(BY_ID, values![1]).await.unwrap();
        assert!(row.is_some(), "a transaction sees what it wrote");
        transaction.commit().await.unwrap();
        assert_eq!(count(&database).await, 1);

        let mut transaction = database.begin().await.unwrap();
        transaction.execute(INSERT, values![2, "two", b"", 0]).await.unwrap();
        assert_eq!(transaction.fetch_all(ALL, &[]).await.unwrap().len(), 2);
        transaction.rollback().await.unwrap();
        assert_eq!(count(&database).await, 1);

        let mut transaction = database.begin().await.unwrap();
        transaction.execute(INSERT, values![3, "three", b"", 0]).await.unwrap();
        drop(transaction);
        // The writer is given back by itself, and at once.
        let values = values![4, "four", b"", 0];
        let again = tokio::time::timeout(Duration::from_secs(2), database.execute(INSERT, values));
        again.await.expect("the connection is free again").unwrap();
        assert_eq!(count(&database).await, 2);
    }

    async fn others_do_not_see_a_transaction_before_it_is_committed(database: Database) {
        let mut transaction = database.begin().await.unwrap();
        transaction.execute(INSERT, values![1, "one", b"", 0]).await.unwrap();
        assert_eq!(count(&database).await, 0);
        transaction.commit().await.unwrap();
        assert_eq!(count(&database).await, 1);
    }

    async fn after_a_failed_statement_a_transaction_cannot_be_committed(database: Database) {
        database.execute(INSERT, values![1, "one", b"", 0]).await.unwrap();
        let mut transaction = database.begin().await.unwrap();
        transaction.execute(INSERT, values![2, "two", b"", 0]).await.unwrap();
        assert!(transaction.execute(INSERT, values![1, "other", b"", 0]).await.unwrap_err().is_conflict());
        assert!(transaction.execute(INSERT, values![3, "three", b"", 0]).await.is_err());
        assert!(transaction.fetch_all(ALL, &[]).await.is_err());
        assert!(transaction.commit().await.is_err());
        assert_eq!(count(&database).await, 1);
        database.execute(INSERT, values![5, "five", b"", 0]).await.unwrap();
    }

    async fn many_tasks_may_write_and_read_at_once(database: Database) {
        let tasks: Vec<_> = (0i64..50)
            .map(|task| {
                let database = database.clone();
                tokio::spawn(async move {
                    for step in 0..4 {
                        let id = task * 10 + step;
                        if step % 2 == 0 {
                            database.execute(INSERT, values![id, id.to_string(), b"x", 0]).await.unwrap();
                        } else {
                            let mut transaction = database.begin().await.unwrap();
                            transaction.execute(INSERT, values![id, id.to_string(), b"x", 0]).await.unwrap();
                            transaction.commit().await.unwrap();
                        }
                        assert!(database.fetch_optional(BY_ID, values![id]).await.unwrap().is_some());
                    }
                })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
        assert_eq!(count(&database).await, 200);
    }

    async fn a_cancelled_call_leaves_no_connection_behind(database: Database) {
        let sleep = match database.engine() {
            Engine::Sqlite => {
                "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 300000) SELECT max(i) FROM n"
            }
            Engine::Postgres => "SELECT count(*) FROM generate_series(1, 3) WHERE pg_sleep(0.05) IS NOT NULL",
        };
        for _ in 0..40 {
            let call = database.fetch_all(sleep, &[]);
            let _ = tokio::time::timeout(Duration::from_millis(5), call).await;
            let begin = async {
                let mut transaction = database.begin().await.unwrap();
                transaction.fetch_all(sleep, &[]).await.unwrap();
            };
            let _ = tokio::time::timeout(Duration::from_millis(5), begin).await;
        }
        for id in 0..20 {
            database.execute(INSERT, values![id, id.to_string(), b"", 0]).await.unwrap();
        }
        assert_eq!(count(&database).await, 20);
    }

    async fn after_closing_nothing_is_taken(database: Database) {
        database.execute(INSERT, values![1, "one", b"", 0]).await.unwrap();
        database.close().await;
        assert!(database.execute(INSERT, values![2, "two", b"", 0]).await.unwrap_err().is_unavailable());
        assert!(database.fetch_all(ALL, &[]).await.err().unwrap().is_unavailable());
        assert!(!database.healthy().await);
    }
}

#[tokio::test]
async fn a_database_in_memory_serves_many_tasks_and_ends_with_its_last_user() {
    let settings = waxwing_storage::Settings::for_url("sqlite::memory:");
    let database = Database::open(&settings).await.unwrap();
    database.migrate(&[ITEMS]).await.unwrap();
    let tasks: Vec<_> = (0i64..20)
        .map(|id| {
            let database = database.clone();
            tokio::spawn(async move {
                database.execute(INSERT, values![id, id.to_string(), b"", 0]).await.unwrap();
                let mut transaction = database.begin().await.unwrap();
                transaction.execute(INSERT, values![id + 100, format!("t{id}"), b"", 0]).await.unwrap();
                // Given up half way: the database must survive that.
                drop(transaction);
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!(count(&database).await, 20);
    let another = Database::open(&settings).await.unwrap();
    another.migrate(&[ITEMS]).await.unwrap();
    assert_eq!(count(&another).await, 0, "each is a database of its own");
}
