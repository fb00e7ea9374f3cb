-- When an account was last online, in milliseconds since 1970 (modules/basics/last.rs).
CREATE TABLE last_activity (
    account TEXT NOT NULL PRIMARY KEY,
    since BIGINT NOT NULL
);
