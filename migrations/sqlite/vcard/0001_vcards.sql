-- The cards that people show of themselves (modules/vcard, XEP-0054). `photo` is the SHA-1 of the picture in it (XEP-0153),
-- `revision` counts changes.
CREATE TABLE vcards (
    owner TEXT PRIMARY KEY,
    card BLOB NOT NULL,
    photo TEXT,
    revision INTEGER NOT NULL
) STRICT;
