//! Databases for tests: fresh, empty, cheap, and gone when the test ends. Not for use in the server.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};

use crate::{Database, Engine, Migrations, Settings};

/// The environment variable that names a PostgreSQL server for tests.
pub const POSTGRES: &str = "WAXWING_TEST_POSTGRES";

static COUNT: AtomicU32 = AtomicU32::new(0);

/// Keeps a test's database alive; dropped, the database is removed, whoever still uses it.
pub struct Guard {
    /// How to open the same database once more.
    pub settings: Settings,
    remains: Remains,
}

enum Remains {
    Folder(PathBuf),
    Database(String),
}

/// A fresh, empty database of this engine: a file in the folder for temporary files, or a database on the server that
/// the environment variable `WAXWING_TEST_POSTGRES` names.
///
/// # Panics
/// When it cannot be made; tests fail loudly, they do not skip.
pub async fn fresh(engine: Engine) -> (Database, Guard) {
    let guard = fresh_settings(engine).await;
    let database = Database::open(&guard.settings).await.unwrap_or_else(|error| panic!("{error}"));
    (database, guard)
}

/// A fresh database with the tables of these modules.
///
/// # Panics
/// When it cannot be made.
pub async fn fresh_with(engine: Engine, sets: &[Migrations]) -> (Database, Guard) {
    let (database, guard) = fresh(engine).await;
    database.migrate(sets).await.unwrap_or_else(|error| panic!("{error}"));
    (database, guard)
}

/// A fresh, empty database that nobody has opened yet, for a test that hands its URL to a server.
///
/// # Panics
/// When it cannot be made.
pub async fn fresh_settings(engine: Engine) -> Guard {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let name = format!("waxwing_test_{}_{}_{count}", since.as_micros(), std::process::id());
    let (url, remains) = match engine {
        Engine::Sqlite => {
            let folder = std::env::temp_dir().join(name);
            (format!("sqlite:{}", folder.join("test.db").display()), Remains::Folder(folder))
        }
        Engine::Postgres => {
            on_server(&format!("CREATE DATABASE {name} TEMPLATE template0")).await;
            (url_of(&server_url(), &name), Remains::Database(name))
        }
    };
    Guard { settings: Settings::for_url(url), remains }
}

/// Runs a test with a fresh database with the tables of these modules, in a runtime of its own with two threads. The
/// body of what [`on_both_engines!`](crate::on_both_engines) makes.
///
/// # Panics
/// When the test does.
pub fn run<F, R>(engine: Engine, sets: &[Migrations], test: F)
where
    F: FnOnce(Database) -> R,
    R: Future<Output = ()>,
{
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.expect("a runtime starts").block_on(async {
        let (database, _guard) = fresh_with(engine, sets).await;
        test(database).await;
    });
}

/// Makes two tests of each function: `name::sqlite` and `name::postgres`, each with a fresh database that has the tables
/// of the given modules.
///
/// ```text
/// waxwing_storage::on_both_engines! {
///     [MIGRATIONS];
///
///     async fn a_contact_is_found_again(database: Database) {
///         …
///     }
/// }
/// ```
#[macro_export]
macro_rules! on_both_engines {
    ($sets:expr; $($(#[$attribute:meta])* async fn $name:ident($database:ident: $type:ty) $body:block)+) => { $(
        mod $name {
            #[allow(unused_imports)]
            use super::*;

            $(#[$attribute])*
            #[test]
            fn sqlite() {
                $crate::testing::run($crate::Engine::Sqlite, &$sets, test);
            }

            $(#[$attribute])*
            #[test]
            fn postgres() {
                $crate::testing::run($crate::Engine::Postgres, &$sets, test);
            }

            async fn test($database: $type) $body
        }
    )+ };
}

impl Drop for Guard {
    fn drop(&mut self) {
        match &self.remains {
            Remains::Folder(folder) => {
                // The folder for temporary files is emptied by others, too.
                let _ = std::fs::remove_dir_all(folder);
            }
            Remains::Database(name) => {
                // Dropping happens inside a runtime, which must not be blocked on itself.
                let sql = format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)");
                let thread = std::thread::spawn(move || {
                    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
                    runtime.expect("a runtime starts").block_on(on_server(&sql));
                });
                let _ = thread.join();
            }
        }
    }
}

fn server_url() -> String {
    std::env::var(POSTGRES).unwrap_or_else(|_| {
        panic!(
            "{POSTGRES} is not set: tests need a PostgreSQL server where they may make databases; scripts/test starts one, \
             or set it yourself, such as {POSTGRES}=postgres://waxwing@127.0.0.1:5432/postgres"
        )
    })
}

/// The same server, another database.
fn url_of(server: &str, database: &str) -> String {
    let (address, parameters) = match server.split_once('?') {
        Some((address, parameters)) => (address, format!("?{parameters}")),
        None => (server, String::new()),
    };
    let start = address.find("://").map_or(0, |scheme| scheme + 3);
    let end = address[start..].find('/').map_or(address.len(), |path| start + path);
    format!("{}/{database}{parameters}", &address[..end])
}

/// Runs one statement of ours (its only variable part is a name made of numbers) beside all test databases.
async fn on_server(sql: &str) {
    let connection = PgConnection::connect(&server_url()).await;
    let mut connection =
        connection.unwrap_or_else(|error| panic!("the server named by {POSTGRES} does not answer: {error}"));
    let result = connection.execute(sqlx::raw_sql(AssertSqlSafe(sql))).await;
    result.unwrap_or_else(|error| panic!("{sql}: {error}"));
    let _ = connection.close().await;
}
