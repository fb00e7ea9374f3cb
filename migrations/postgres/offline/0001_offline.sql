-- Messages for accounts that are away (modules/offline), in the order of their ids, which are times.
CREATE TABLE offline_messages (
    id BIGINT NOT NULL PRIMARY KEY,
    owner TEXT COLLATE "C" NOT NULL,
    stored_at BIGINT NOT NULL,
    size BIGINT NOT NULL,
    stanza BYTEA NOT NULL
);

-- Counting what an account has, and finding its next page, reads this and no message.
CREATE INDEX offline_messages_of_owner ON offline_messages (owner, id) INCLUDE (size);
