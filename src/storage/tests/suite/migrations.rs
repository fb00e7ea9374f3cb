//! Migrations: applied once, in order, by one server, and never guessed about.

use waxwing_storage::testing::fresh;
use waxwing_storage::{Database, Engine, Migration, Migrations, StorageError, migrations, on_both_engines};

use crate::schema::{COUNT, ITEMS};

const FIRST: Migration = Migration { number: 1, name: "0001_notes", sql: "CREATE TABLE notes (id BIGINT PRIMARY KEY)" };
const SECOND: Migration = Migration {
    number: 2,
    name: "0002_text",
    sql: "ALTER TABLE notes ADD COLUMN text TEXT; INSERT INTO notes VALUES (1, 'a')",
};

const fn notes(files: &'static [Migration]) -> Migrations {
    Migrations { module: "notes", sqlite: files, postgres: files }
}

const NOTES_1: Migrations = notes(&[FIRST]);
const NOTES_2: Migrations = notes(&[FIRST, SECOND]);

async fn tables(database: &Database, name: &'static str) -> bool {
    database.fetch_all(name, &[]).await.is_ok()
}

on_both_engines! {
    [];

    async fn migrations_are_applied_once_and_in_order(database: Database) {
        let applied = database.migrate(&[ITEMS, NOTES_1]).await.unwrap();
        let names: Vec<_> = applied.iter().map(|applied| (applied.module, applied.number, applied.name)).collect();
        assert_eq!(names, [("items", 1, "0001_items"), ("notes", 1, "0001_notes")]);
        assert!(database.migrate(&[ITEMS, NOTES_1]).await.unwrap().is_empty());
        let applied = database.migrate(&[NOTES_2]).await.unwrap();
        assert_eq!(applied.len(), 1);
        assert_eq!(applied[0].name, "0002_text");
        let remembered = database
            .fetch_all("SELECT module, number, name, checksum, applied_at FROM migrations ORDER BY module, number", &[])
            .await
            .unwrap();
        assert_eq!(remembered.len(), 3);
        assert_eq!(remembered[2].text(2).unwrap(), "0002_text");
        assert_eq!(remembered[2].text(3).unwrap().len(), 64);
        assert!(remembered[2].integer(4).unwrap() > 1_700_000_000_000);
    }

    async fn a_database_newer_than_the_program_is_refused_untouched(database: Database) {
        database.migrate(&[NOTES_2]).await.unwrap();
        let error = database.migrate(&[ITEMS, NOTES_1]).await.unwrap_err();
        assert!(
            matches!(&error, StorageError::TooNew { module, found: 2, known: 1 } if module == "notes"),
            "{error}"
        );
        assert!(error.to_string().contains("newer than this program"), "{error}");
        assert!(!tables(&database, COUNT).await, "nothing was applied before all was compared");
    }

    async fn a_migration_that_was_changed_afterwards_is_refused(database: Database) {
        const CHANGED: Migrations = notes(&[Migration { sql: "CREATE TABLE notes (id BIGINT)", ..FIRST }, SECOND]);
        const OTHER_LINE_ENDS: Migrations =
            notes(&[Migration { sql: "CREATE TABLE notes (id BIGINT PRIMARY KEY)", ..FIRST }]);
        database.migrate(&[NOTES_1]).await.unwrap();
        let error = database.migrate(&[ITEMS, CHANGED]).await.unwrap_err();
        assert!(
            matches!(&error, StorageError::Changed { module, name } if module == "notes" && name == "0001_notes"),
            "{error}"
        );
        assert!(!tables(&database, COUNT).await);
        database.migrate(&[OTHER_LINE_ENDS]).await.unwrap();
    }

    async fn a_migration_that_fails_leaves_nothing_behind(database: Database) {
        const BROKEN: Migrations = notes(&[
            FIRST,
            Migration { number: 2, name: "0002_broken", sql: "CREATE TABLE more (id BIGINT); CREATE TABLE notes (id BIGINT)" },
        ]);
        let error = database.migrate(&[BROKEN]).await.unwrap_err();
        assert!(error.to_string().contains("notes/0002_broken"), "{error}");
        assert!(tables(&database, "SELECT id FROM notes").await, "the one before it stays");
        assert!(!tables(&database, "SELECT id FROM more").await);
        assert_eq!(database.migrate(&[NOTES_2]).await.unwrap().len(), 1);
    }

    async fn modules_that_are_switched_off_do_not_matter(database: Database) {
        database.migrate(&[ITEMS, NOTES_2]).await.unwrap();
        assert!(database.migrate(&[ITEMS]).await.unwrap().is_empty());
    }

    async fn a_set_that_makes_no_sense_is_refused(database: Database) {
        const GAP: Migrations = notes(&[FIRST, Migration { number: 3, ..SECOND }]);
        const ONE_SIDED: Migrations = Migrations { module: "notes", sqlite: &[FIRST], postgres: &[] };
        for sets in [&[GAP][..], &[ONE_SIDED], &[NOTES_1, NOTES_2]] {
            let error = database.migrate(sets).await.unwrap_err();
            assert!(matches!(error, StorageError::Other(_)), "{error}");
        }
    }

    async fn a_gap_in_what_was_applied_is_refused(database: Database) {
        database.migrate(&[NOTES_2]).await.unwrap();
        database.execute("DELETE FROM migrations WHERE number = 1", &[]).await.unwrap();
        let error = database.migrate(&[NOTES_2]).await.unwrap_err();
        assert!(matches!(error, StorageError::Other(_)), "{error}");
    }
}

/// Two servers that start at once must not both apply the same file.
async fn start_together(engine: Engine) {
    let (first, guard) = fresh(engine).await;
    let mut servers = vec![first];
    for _ in 0..4 {
        servers.push(Database::open(&guard.settings).await.unwrap());
    }
    let starts: Vec<_> = servers
        .into_iter()
        .map(|database| tokio::spawn(async move { database.migrate(&[ITEMS, NOTES_2]).await.unwrap().len() }))
        .collect();
    let mut applied = 0;
    for start in starts {
        applied += start.await.unwrap();
    }
    assert_eq!(applied, 3, "each file was applied by one of them");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn servers_that_start_together_apply_each_file_once_sqlite() {
    start_together(Engine::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn servers_that_start_together_apply_each_file_once_postgres() {
    start_together(Engine::Postgres).await;
}

#[test]
fn the_macro_takes_the_text_and_the_number_from_the_file() {
    // Seen from both `migrations/sqlite` and `migrations/postgres`, this folder is the same one.
    const SET: Migrations = migrations!("../../src/storage/tests/example", "0012_example");
    for migration in [SET.sqlite[0], SET.postgres[0]] {
        assert_eq!((migration.number, migration.name), (12, "0012_example"));
        assert!(migration.sql.contains("CREATE TABLE example"));
    }
}
