-- Rooms (XEP-0045). `address` is the bare address, `service` its domain. `name`, `public` and `persistent` repeat what is
-- in the configuration, for those who look for rooms. A row with `destroyed` keeps the address from being used again.
CREATE TABLE muc_rooms (
    address TEXT NOT NULL PRIMARY KEY,
    service TEXT NOT NULL,
    name TEXT NOT NULL,
    public INTEGER NOT NULL,
    persistent INTEGER NOT NULL,
    created INTEGER NOT NULL,
    destroyed INTEGER,
    version INTEGER NOT NULL,
    forgotten INTEGER NOT NULL,
    configuration TEXT NOT NULL,
    hats TEXT NOT NULL,
    avatar TEXT NOT NULL,
    subject BLOB,
    subject_at INTEGER,
    card BLOB
) STRICT;

-- Those that everyone may find.
CREATE INDEX muc_rooms_public ON muc_rooms (service, address) WHERE public = 1 AND destroyed IS NULL;
-- Those that are gone with their last occupant, and those that are gone.
CREATE INDEX muc_rooms_passing ON muc_rooms (service, persistent, destroyed) WHERE persistent = 0 OR destroyed IS NOT NULL;

-- Who is affiliated with a room: 0 banned, 1 nothing any more, 2 member, 3 admin, 4 owner. Who was removed stays for a
-- while, so that clients learn of it (XEP-0463).
CREATE TABLE muc_affiliations (
    room TEXT NOT NULL,
    account TEXT NOT NULL,
    affiliation INTEGER NOT NULL,
    nick TEXT,
    reason TEXT,
    version INTEGER NOT NULL,
    PRIMARY KEY (room, account)
) STRICT, WITHOUT ROWID;

-- The rooms of an account.
CREATE INDEX muc_affiliations_account ON muc_affiliations (account, room);
