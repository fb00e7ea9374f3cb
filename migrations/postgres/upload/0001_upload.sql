-- Files that were uploaded, and slots for those that will be (modules/upload, XEP-0363). `state` is 0 for a slot, 1 while
-- the file comes, 2 when it is there. Times are milliseconds since 1970; `keep_until` is the largest number for ever.
CREATE TABLE uploads (
    token TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    host TEXT COLLATE "C" NOT NULL,
    account TEXT COLLATE "C" NOT NULL,
    name TEXT NOT NULL,
    media_type TEXT NOT NULL,
    size BIGINT NOT NULL,
    asked_at BIGINT NOT NULL,
    slot_until BIGINT NOT NULL,
    keep_until BIGINT NOT NULL,
    state BIGINT NOT NULL
);

CREATE INDEX uploads_of_account ON uploads (account, asked_at, size);
CREATE INDEX uploads_by_end ON uploads (host, keep_until);
CREATE INDEX uploads_not_there ON uploads (host, slot_until) WHERE state < 2;
