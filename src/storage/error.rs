//! What can go wrong with a database, sorted by what the caller should do about it.

/// Why storage did not do what it was asked.
///
/// Cheap to clone, because one failed batch answers many callers. The texts never hold a value of the statement, so
/// they are safe to log.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StorageError {
    /// The database cannot be reached, does not answer in time, is full or is busy. What was asked may be tried again
    /// later; the peer is told `<resource-constraint type='wait'/>`. Nothing took effect.
    #[error("{0}")]
    Unavailable(String),
    /// As [`StorageError::Unavailable`], and nobody knows whether what was asked took effect: the connection broke, or
    /// nothing was heard for too long, while it was under way. Whatever is asked next finds out: the pool sees to it that
    /// what was under way has come to its end before.
    #[error("{0}")]
    Uncertain(String),
    /// A row with this key exists already (a unique index or primary key was violated). Nothing was written.
    #[error("{0}")]
    Conflict(String),
    /// A value in the database is not what the program expects there: wrong type, not UTF-8, out of range. Whoever
    /// reads many rows skips this one, so that one bad row does not hide the others.
    #[error("column {column}: {reason}")]
    Corrupt {
        /// The name of the column, or its index counted from 0 where it has no name.
        column: String,
        /// What was found.
        reason: String,
    },
    /// The database was migrated by a newer program than this one. Refused at start.
    #[error(
        "the database is newer than this program: it holds migration {found} of module {module:?}, this program knows \
         {known} at most; start the newer program, or restore a backup made before the upgrade"
    )]
    TooNew {
        /// The module the migration belongs to.
        module: String,
        /// The highest number the database holds.
        found: i64,
        /// The highest number the program knows.
        known: i64,
    },
    /// A migration that was applied differs from the one in this program. Refused at start.
    #[error(
        "migration {module}/{name} was changed after it had been applied to this database; put the file back as it was and \
         write the change as a new migration"
    )]
    Changed {
        /// The module the migration belongs to.
        module: String,
        /// The migration, such as `0001_roster`.
        name: String,
    },
    /// A fault of ours: a wrong statement, a broken rule of the schema, a setting that makes no sense.
    #[error("{0}")]
    Other(String),
}

impl StorageError {
    /// Whether the same call may succeed later: the caller answers "wait".
    pub fn is_unavailable(&self) -> bool {
        matches!(self, StorageError::Unavailable(_) | StorageError::Uncertain(_))
    }

    /// Whether nobody knows if what was asked took effect.
    pub fn is_uncertain(&self) -> bool {
        matches!(self, StorageError::Uncertain(_))
    }

    /// Whether a row with this key exists already.
    pub fn is_conflict(&self) -> bool {
        matches!(self, StorageError::Conflict(_))
    }
}
