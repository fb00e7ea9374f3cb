-- When the last session of an account ended (milliseconds since 1970), and what its client said at the end.
CREATE TABLE last_activity (
    account TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    ended BIGINT NOT NULL,
    status TEXT
);
