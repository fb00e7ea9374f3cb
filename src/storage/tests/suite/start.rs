//! Opening: what the operator reads when it does not work, and who may read the file.

use std::time::{Duration, Instant};

use waxwing_storage::testing::{fresh, fresh_settings};
use waxwing_storage::{Database, Engine, Settings, StorageError};

async fn refusal(url: &str) -> StorageError {
    let start = Instant::now();
    let settings = Settings { acquire_timeout: Duration::from_secs(2), ..Settings::for_url(url) };
    let error = Database::open(&settings).await.err().unwrap_or_else(|| panic!("{url} opened"));
    assert!(start.elapsed() < Duration::from_secs(4), "{url}: {:?}", start.elapsed());
    let text = error.to_string();
    assert!(!text.contains('\n'), "one line: {text}");
    assert!(!text.contains("hunter2"), "no password: {text}");
    error
}

#[tokio::test]
async fn an_unreachable_server_is_told_in_one_line_without_the_password() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let silent = refusal(&format!("postgres://waxwing:hunter2@127.0.0.1:{port}/waxwing")).await;
    assert!(silent.is_unavailable(), "{silent}");
    drop(listener);
    let refused = refusal(&format!("postgres://waxwing:hunter2@127.0.0.1:{port}/waxwing")).await;
    assert!(refused.is_unavailable(), "{refused}");
    assert_eq!(
        refused.to_string(),
        format!(
            "cannot reach the database postgres://waxwing@127.0.0.1:{port}/waxwing: nothing listens there; is PostgreSQL \
             running, and are host and port of [storage] url right?"
        )
    );
}

#[tokio::test]
async fn a_missing_database_says_how_to_make_it() {
    let guard = fresh_settings(Engine::Postgres).await;
    let (server, _) = guard.settings.url.rsplit_once('/').unwrap();
    let error = refusal(&format!("{server}/no_such_database")).await.to_string();
    assert!(error.contains("does not exist") && error.contains("createdb --owner="), "{error}");
}

#[tokio::test]
async fn a_url_that_names_no_database_is_refused() {
    for url in [
        "mysql://waxwing:hunter2@localhost/waxwing",
        "",
        "waxwing.db",
        "sqlite:",
        "sqlite:waxwing.db?mode=ro",
        "postgres://waxwing:hunter2@localhost:notaport/waxwing",
    ] {
        let error = refusal(url).await;
        assert!(matches!(error, StorageError::Other(_)), "{url}: {error}");
    }
}

#[tokio::test]
async fn a_database_that_cannot_keep_every_character_is_refused() {
    let (database, guard) = fresh(Engine::Postgres).await;
    database
        .execute("CREATE DATABASE latin_1_for_a_test TEMPLATE template0 ENCODING 'LATIN1' LOCALE 'C'", &[])
        .await
        .unwrap();
    let (server, _) = guard.settings.url.rsplit_once('/').unwrap();
    let error = refusal(&format!("{server}/latin_1_for_a_test")).await;
    database.execute("DROP DATABASE latin_1_for_a_test WITH (FORCE)", &[]).await.unwrap();
    assert!(error.to_string().contains("LATIN1"), "{error}");
}

#[cfg(unix)]
#[tokio::test]
async fn the_sqlite_file_and_its_folder_are_for_the_owner_only() {
    use std::os::unix::fs::PermissionsExt;
    let guard = fresh_settings(Engine::Sqlite).await;
    let path = std::path::PathBuf::from(guard.settings.url.strip_prefix("sqlite:").unwrap());
    let folder = path.parent().unwrap();
    let deep = folder.join("a/b/waxwing.db");
    let database = Database::open(&Settings::for_url(format!("sqlite:{}", deep.display()))).await.unwrap();
    database.execute("CREATE TABLE t (id BIGINT)", &[]).await.unwrap();
    let mode = |path: &std::path::Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(deep.parent().unwrap()), 0o700);
    for file in ["waxwing.db", "waxwing.db-wal", "waxwing.db-shm"] {
        assert_eq!(mode(&deep.with_file_name(file)), 0o600, "{file}");
    }
    let pragma = async |sql| database.fetch_optional(sql, &[]).await.unwrap().unwrap();
    assert_eq!(pragma("PRAGMA journal_mode").await.text(0).unwrap(), "wal");
    assert_eq!(pragma("PRAGMA synchronous").await.integer(0).unwrap(), 2, "FULL");
    assert_eq!(pragma("PRAGMA foreign_keys").await.integer(0).unwrap(), 1);
    database.close().await;
    assert!(!deep.with_file_name("waxwing.db-wal").exists(), "everything is in the one file");
}

#[tokio::test]
async fn a_path_that_cannot_be_used_says_why() {
    let guard = fresh_settings(Engine::Sqlite).await;
    let path = guard.settings.url.strip_prefix("sqlite:").unwrap();
    let folder = std::path::Path::new(path).parent().unwrap();
    std::fs::create_dir_all(folder).unwrap();
    let error = refusal(&format!("sqlite:{}", folder.display())).await;
    assert!(error.to_string().contains("must be able to read and write"), "{error}");
    std::fs::write(path, "this is not a database, but it is long enough to be taken for one".repeat(20)).unwrap();
    let error = refusal(&guard.settings.url).await;
    assert!(matches!(&error, StorageError::Other(text) if text.contains("damaged")), "{error}");
}

#[tokio::test]
async fn times_without_end_do_no_harm() {
    for engine in Engine::ALL {
        let guard = fresh_settings(engine).await;
        let (acquire_timeout, statement_timeout) = (Duration::MAX, Duration::MAX);
        let settings = Settings { acquire_timeout, statement_timeout, ..guard.settings.clone() };
        let database = Database::open(&settings).await.unwrap();
        assert!(database.healthy().await);
    }
}

#[tokio::test]
async fn a_fresh_database_is_cheap_and_gone_afterwards() {
    for engine in Engine::ALL {
        // The first one may find cold caches.
        drop(fresh(engine).await);
        let start = Instant::now();
        let (database, guard) = fresh(engine).await;
        let took = start.elapsed();
        assert!(took < Duration::from_secs(2), "{engine}: {took:?}");
        let settings = guard.settings.clone();
        assert!(database.healthy().await);
        drop(guard);
        match engine {
            Engine::Sqlite => assert!(!std::path::Path::new(settings.url.strip_prefix("sqlite:").unwrap()).exists()),
            Engine::Postgres => assert!(Database::open(&settings).await.is_err()),
        }
    }
}
