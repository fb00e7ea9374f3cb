-- The archives of accounts and rooms (modules/mam, XEP-0313).

-- One row for each archive. `keep` is a number of milliseconds, NULL for what the host's setting says, -1 for ever.
-- `fallback`, `always` and `never` are the preferences of XEP-0441. A removed archive is seen by nobody; its messages are
-- deleted by and by, and whoever gets the name next begins with an empty one.
CREATE TABLE mam_archives (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    host TEXT NOT NULL,
    owner TEXT NOT NULL,
    keep INTEGER,
    fallback TEXT,
    always TEXT NOT NULL DEFAULT '',
    never TEXT NOT NULL DEFAULT '',
    removed_at INTEGER
) STRICT;

CREATE UNIQUE INDEX mam_archives_of_owner ON mam_archives (owner) WHERE removed_at IS NULL;
CREATE INDEX mam_archives_of_host ON mam_archives (host, number);

-- One row for each message in each archive. `id` is made by us and increases with time, so new rows are written at the
-- end of the table. `peer` and `resource` are who stands at the other end. `reference` is a hash of the direction and the
-- sender's id, to find what a retraction names.
CREATE TABLE mam_messages (
    id INTEGER PRIMARY KEY,
    archive INTEGER NOT NULL,
    reference INTEGER NOT NULL,
    peer TEXT NOT NULL,
    resource TEXT NOT NULL,
    stanza BLOB NOT NULL
) STRICT;

CREATE UNIQUE INDEX mam_messages_of_archive ON mam_messages (archive, id);
CREATE INDEX mam_messages_of_peer ON mam_messages (archive, peer, id, reference);

-- The words of messages, filled in the background; the archive's number stands beside them as a word of its own. The
-- text itself is not kept a second time.
CREATE VIRTUAL TABLE mam_texts USING fts5 (
    body, archive, content = '', contentless_delete = 1, tokenize = 'unicode61 remove_diacritics 2'
);

-- How far the words of a host's archives are there: everything that this writer (a node) has stored up to this id, cut
-- into words as this language wants.
CREATE TABLE mam_cursors (
    host TEXT NOT NULL,
    writer INTEGER NOT NULL,
    language TEXT NOT NULL,
    id INTEGER NOT NULL,
    PRIMARY KEY (host, writer)
) STRICT, WITHOUT ROWID;
