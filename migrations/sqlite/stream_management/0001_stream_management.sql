-- Managed sessions (modules/stream_management): how many stanzas of a client were handled, told when it comes back too
-- late or after a crash; and of a session that was stored when the server was stopped, everything to go on with it.
-- state: 0 only the number is known; 1 stored, to be brought back at the next start; 2 brought back, and if the server
-- crashes before its client is back, its stanzas are to be kept elsewhere.
CREATE TABLE stream_sessions (
    id TEXT NOT NULL PRIMARY KEY,
    host TEXT NOT NULL,
    account TEXT NOT NULL,
    handled INTEGER NOT NULL,
    changed_at INTEGER NOT NULL,
    state INTEGER NOT NULL DEFAULT 0,
    stored_bytes INTEGER NOT NULL DEFAULT 0,
    details TEXT
) STRICT;

CREATE INDEX stream_sessions_of_account ON stream_sessions (account);
CREATE INDEX stream_sessions_stored ON stream_sessions (host, state, id) WHERE state <> 0;

-- The stanzas of stored sessions, in order: first those that were sent and not acknowledged, then those that waited.
CREATE TABLE stream_stanzas (
    session TEXT NOT NULL,
    position INTEGER NOT NULL,
    was_sent INTEGER NOT NULL,
    delivered_at INTEGER NOT NULL,
    notes TEXT NOT NULL,
    stanza BLOB NOT NULL,
    PRIMARY KEY (session, position)
) STRICT;
