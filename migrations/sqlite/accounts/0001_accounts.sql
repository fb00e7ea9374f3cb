-- Accounts, the keys of their passwords, and a journal for other processes on the same database (modules/accounts).
-- Times are milliseconds since 1970. An account with a time in removed_at exists no more; its row goes when everything
-- that was kept of it is gone, and only then can the name be taken again.
CREATE TABLE accounts (
    host TEXT NOT NULL,
    name TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    changed_at INTEGER NOT NULL,
    disabled INTEGER NOT NULL DEFAULT 0,
    removed_at INTEGER,
    PRIMARY KEY (host, name)
) STRICT, WITHOUT ROWID;

CREATE INDEX accounts_removed ON accounts (host, removed_at) WHERE removed_at IS NOT NULL;

CREATE TABLE account_keys (
    host TEXT NOT NULL,
    name TEXT NOT NULL,
    hash TEXT NOT NULL,
    salt BLOB NOT NULL,
    iterations INTEGER NOT NULL,
    stored_key BLOB NOT NULL,
    server_key BLOB NOT NULL,
    PRIMARY KEY (host, name, hash)
) STRICT, WITHOUT ROWID;

-- The newest number of the journal of each host. Its row is locked until the change it numbers is committed, so the
-- journal has no gaps and is read in the order of the commits.
CREATE TABLE account_counters (
    host TEXT NOT NULL PRIMARY KEY,
    newest INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE account_changes (
    host TEXT NOT NULL,
    number INTEGER NOT NULL,
    name TEXT NOT NULL,
    what TEXT NOT NULL,
    writer INTEGER NOT NULL,
    at INTEGER NOT NULL,
    PRIMARY KEY (host, number)
) STRICT, WITHOUT ROWID;
