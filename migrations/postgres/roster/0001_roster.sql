-- One row for each account that ever had a contact. It is also what changes of a roster wait for, one after the other.
-- `version` grows with every change; what was removed up to `forgotten` is no longer known.
CREATE TABLE rosters (
    account TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    version BIGINT NOT NULL,
    forgotten BIGINT NOT NULL
);

-- The contacts. `version` is that of the item's last change, no two items of an account have the same. A removed item
-- stays for a while, so that a client that was away learns of it.
CREATE TABLE roster_items (
    account TEXT COLLATE "C" NOT NULL,
    contact TEXT COLLATE "C" NOT NULL,
    name TEXT,
    group_names TEXT NOT NULL,
    sees_contact BIGINT NOT NULL,
    seen_by_contact BIGINT NOT NULL,
    asked BIGINT NOT NULL,
    approved BIGINT NOT NULL,
    removed BIGINT NOT NULL,
    version BIGINT NOT NULL,
    PRIMARY KEY (account, contact)
);

-- Subscription requests that nobody has answered yet, each with the whole stanza.
CREATE TABLE roster_requests (
    account TEXT COLLATE "C" NOT NULL,
    contact TEXT COLLATE "C" NOT NULL,
    received BIGINT NOT NULL,
    stanza BYTEA NOT NULL,
    PRIMARY KEY (account, contact)
);
