-- Where in an account's archive (modules/mam) that begins which nobody was there to receive: everything behind this id. An
-- account without a row has received all of it.
CREATE TABLE offline_cursors (
    owner TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    after_id BIGINT NOT NULL
);
