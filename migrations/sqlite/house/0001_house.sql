-- Secrets of this installation (core/house.rs).
CREATE TABLE house_secrets (
    name TEXT NOT NULL PRIMARY KEY,
    value BLOB NOT NULL
) STRICT;
