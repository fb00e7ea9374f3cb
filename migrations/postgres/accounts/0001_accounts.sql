-- Accounts, the keys of their passwords, and a journal for other processes on the same database (modules/accounts).
-- Times are milliseconds since 1970. An account with a time in removed_at exists no more; its row goes when everything
-- that was kept of it is gone, and only then can the name be taken again.
-- Names are ordered by their bytes, whatever the collation of the database: pages of a list begin after a name.
CREATE TABLE accounts (
    host TEXT COLLATE "C" NOT NULL,
    name TEXT COLLATE "C" NOT NULL,
    created_at BIGINT NOT NULL,
    changed_at BIGINT NOT NULL,
    disabled BIGINT NOT NULL DEFAULT 0,
    removed_at BIGINT,
    PRIMARY KEY (host, name)
);

CREATE INDEX accounts_removed ON accounts (host, removed_at) WHERE removed_at IS NOT NULL;

CREATE TABLE account_keys (
    host TEXT COLLATE "C" NOT NULL,
    name TEXT COLLATE "C" NOT NULL,
    hash TEXT COLLATE "C" NOT NULL,
    salt BYTEA NOT NULL,
    iterations BIGINT NOT NULL,
    stored_key BYTEA NOT NULL,
    server_key BYTEA NOT NULL,
    PRIMARY KEY (host, name, hash)
);

-- The newest number of the journal of each host. Its row is locked until the change it numbers is committed, so the
-- journal has no gaps and is read in the order of the commits.
CREATE TABLE account_counters (
    host TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    newest BIGINT NOT NULL
);

CREATE TABLE account_changes (
    host TEXT COLLATE "C" NOT NULL,
    number BIGINT NOT NULL,
    name TEXT COLLATE "C" NOT NULL,
    what TEXT NOT NULL,
    writer BIGINT NOT NULL,
    at BIGINT NOT NULL,
    PRIMARY KEY (host, number)
);
