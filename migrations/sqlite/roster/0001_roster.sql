-- One row for each account that ever had a contact. It is also what changes of a roster wait for, one after the other.
-- `version` grows with every change; what was removed up to `forgotten` is no longer known.
CREATE TABLE rosters (
    account TEXT NOT NULL PRIMARY KEY,
    version INTEGER NOT NULL,
    forgotten INTEGER NOT NULL
) STRICT;

-- The contacts. `version` is that of the item's last change, no two items of an account have the same. A removed item
-- stays for a while, so that a client that was away learns of it.
CREATE TABLE roster_items (
    account TEXT NOT NULL,
    contact TEXT NOT NULL,
    name TEXT,
    group_names TEXT NOT NULL,
    sees_contact INTEGER NOT NULL,
    seen_by_contact INTEGER NOT NULL,
    asked INTEGER NOT NULL,
    approved INTEGER NOT NULL,
    removed INTEGER NOT NULL,
    version INTEGER NOT NULL,
    PRIMARY KEY (account, contact)
) STRICT, WITHOUT ROWID;

-- Subscription requests that nobody has answered yet, each with the whole stanza.
CREATE TABLE roster_requests (
    account TEXT NOT NULL,
    contact TEXT NOT NULL,
    received INTEGER NOT NULL,
    stanza BLOB NOT NULL,
    PRIMARY KEY (account, contact)
) STRICT;
