//! The schema of each module, grown by numbered files under `migrations/<engine>/<module>/`.

use std::time::Duration;

/// The migrations of one module, the same numbers on both engines. Made by [`migrations!`](crate::migrations!).
#[derive(Debug, Clone, Copy)]
pub struct Migrations {
    /// The name of the module, as its folder is called.
    pub module: &'static str,
    /// What to run on SQLite, in order.
    pub sqlite: &'static [Migration],
    /// What to run on PostgreSQL, in order.
    pub postgres: &'static [Migration],
}

/// One file: the statements that lead from one state of a module's tables to the next.
#[derive(Debug, Clone, Copy)]
pub struct Migration {
    /// Its number, counted from 1 without gaps; the first four digits of its name.
    pub number: u32,
    /// The name of the file without `.sql`, such as `0001_roster`.
    pub name: &'static str,
    /// Its text: one or more statements, all run in one transaction.
    pub sql: &'static str,
}

/// A migration that was applied just now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AppliedMigration {
    /// The module it belongs to.
    pub module: &'static str,
    /// Its number.
    pub number: u32,
    /// Its name.
    pub name: &'static str,
    /// How long it took.
    pub took: Duration,
}

/// The migrations of a module: `migrations!("roster", "0001_roster", "0002_versions")` takes the files of these names
/// from `migrations/sqlite/roster/` and `migrations/postgres/roster/` at the root of the repository.
///
/// The calling crate lies two folders below the root (`modules/<name>` or `src/<name>`). A name begins with its number.
/// A file that was released is never changed again: the database remembers its checksum and refuses another one.
#[macro_export]
macro_rules! migrations {
    ($module:literal, $($name:literal),+ $(,)?) => {
        $crate::Migrations {
            module: $module,
            sqlite: &[$($crate::Migration {
                number: $crate::number_of($name),
                name: $name,
                sql: include_str!(concat!(
                    env!("CARGO_MANIFEST_DIR"), "/../../migrations/sqlite/", $module, "/", $name, ".sql"
                )),
            }),+],
            postgres: &[$($crate::Migration {
                number: $crate::number_of($name),
                name: $name,
                sql: include_str!(concat!(
                    env!("CARGO_MANIFEST_DIR"), "/../../migrations/postgres/", $module, "/", $name, ".sql"
                )),
            }),+],
        }
    };
}

/// The number at the start of a migration's name; a name without one does not compile.
#[doc(hidden)]
pub const fn number_of(name: &str) -> u32 {
    let name = name.as_bytes();
    let mut number = 0;
    let mut at = 0;
    while at < name.len() && name[at].is_ascii_digit() {
        number = number * 10 + (name[at] - b'0') as u32;
        at += 1;
    }
    assert!(
        at > 0 && at < name.len() && name[at] == b'_',
        "a migration is named like 0001_what_it_does"
    );
    number
}
