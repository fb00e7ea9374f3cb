-- When the last session of an account ended (milliseconds since 1970), and what its client said at the end.
CREATE TABLE last_activity (
    account TEXT NOT NULL PRIMARY KEY,
    ended INTEGER NOT NULL,
    status TEXT
) STRICT;
