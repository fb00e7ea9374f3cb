-- Messages for accounts that are away (modules/offline), in the order of their ids, which are times.
CREATE TABLE offline_messages (
    id INTEGER PRIMARY KEY,
    owner TEXT NOT NULL,
    stored_at INTEGER NOT NULL,
    size INTEGER NOT NULL,
    stanza BLOB NOT NULL
) STRICT;

-- Counting what an account has, and finding its next page, reads this and no message.
CREATE INDEX offline_messages_of_owner ON offline_messages (owner, id, size);
