-- Whom an account does not want to hear (modules/blocking). Both are addresses as JIDs are prepared.
CREATE TABLE blocked (
    owner TEXT COLLATE "C" NOT NULL,
    jid TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (owner, jid)
);
